package cpu

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// groupedProgram is Y[i, j] = sum(k) X[i, k] * W[G[1, i], k, j], where X may be looked up, too, and what is looked up
// may count from the end.
func groupedProgram(rows, depth, cols, groups int64, swapped, gathered, factorsSwapped, wraps bool) *ir.Program {
	p, i, j, k := &ir.Program{Name: "grouped"}, &ir.Axis{Extent: sym.Const(rows)}, &ir.Axis{Extent: sym.Const(cols)}, &ir.Axis{Extent: sym.Const(depth)}
	buffer := func(name string, d tensor.DType, dims ...int64) *ir.Buffer {
		return &ir.Buffer{Name: name, DType: d, Dims: ir.Consts(dims)}
	}
	x, at, y := buffer("x", tensor.F32, rows, depth), buffer("g", tensor.I64, 2, rows), buffer("y", tensor.F32, rows, cols)
	w := buffer("w", tensor.F32, groups, depth, cols)
	in := []*ir.Scalar{k.Ix(), j.Ix()}
	if swapped {
		w.Dims[1], w.Dims[2] = w.Dims[2], w.Dims[1]
		slices.Reverse(in)
	}
	lookup := func(which, dim int64) *ir.Scalar {
		e := ir.Load(at, ir.IntLit(which), i.Ix())
		if !wraps {
			return e
		}
		return ir.Select(e.Lt(ir.IntLit(0)), e.Add(ir.IntLit(dim)), e)
	}
	row := i.Ix()
	if gathered {
		row = lookup(0, rows)
	}
	a, b := ir.Load(x, row, k.Ix()), ir.Load(w, lookup(1, groups), in[0], in[1])
	if factorsSwapped {
		a, b = b, a
	}
	p.Params, p.Results = []*ir.Buffer{x, w, at}, []*ir.Buffer{y}
	p.Stages = []*ir.Stage{{Kind: ir.ReduceStage, Monoid: ir.Sum, Axes: []*ir.Axis{i, j}, Red: []*ir.Axis{k},
		Outs: []*ir.Buffer{y}, Exprs: []*ir.Scalar{a.Mul(b)}}}
	p.Finish()
	return p
}

// Rows that look up what they are multiplied by: of a few groups or as many as there are
// rows, in order or not, in rows that are looked up themselves.
func TestGroupedProducts(t *testing.T) {
	for _, tier := range tiers(t) {
		t.Run(tier.name, func(t *testing.T) { groupedProducts(t, tier) })
	}
}

func groupedProducts(t *testing.T, tier tier) {
	devices := []*Device{tier.device(1), tier.inParts(3)}
	cut := devices[0].blocks(tensor.F32, false)
	r := rand.New(rand.NewPCG(3, 4))
	for round := range 120 {
		rows, depth, cols := []int64{1, 2, 5, 17, 70, 130, 400}[r.IntN(7)], []int64{1, 3, 40, cut.depth + 9}[r.IntN(4)], []int64{4, 9, cut.few + 3}[r.IntN(3)]
		groups := []int64{1, 2, 3, 8}[r.IntN(4)]
		gathered, wraps := r.IntN(2) == 0, r.IntN(2) == 0
		p := groupedProgram(rows, depth, cols, groups, r.IntN(2) == 0, gathered, r.IntN(2) == 0, wraps)
		w, _ := p.Params[1].Type().Static()
		args := []*tensor.Tensor{tensor.New(tensor.F32, rows, depth), tensor.New(tensor.F32, w...), tensor.New(tensor.I64, 2, rows)}
		for _, a := range args[:2] {
			for i := range tensor.Data[float32](a) {
				tensor.Data[float32](a)[i] = float32(r.IntN(9) - 4) // sums are exact
			}
		}
		at := tensor.Data[int64](args[2])
		for i := range rows {
			at[i], at[rows+i] = r.Int64N(rows), r.Int64N(groups)
			if wraps && r.IntN(2) == 0 {
				at[i], at[rows+i] = at[i]-rows, at[rows+i]-groups
			}
		}
		if r.IntN(2) == 0 {
			slices.Sort(at[rows:])
		}
		wrong := r.IntN(6) == 0
		if wrong {
			at[rows+r.Int64N(rows)] = []int64{-1 - groups, groups, 1 << 40}[r.IntN(3)]
		}
		run := func(compute func(y *tensor.Tensor) error) ([]float32, string) {
			y := tensor.New(tensor.F32, rows, cols)
			if err := compute(y); err != nil {
				return nil, err.Error()
			}
			return tensor.Data[float32](y), ""
		}
		what := fmt.Sprintf("round %d: %d rows, %d of %d columns, %d groups", round, rows, depth, cols, groups)
		want, wantErr := run(func(y *tensor.Tensor) error {
			return interp.RunProgramInto(context.Background(), p, nil, args, []*tensor.Tensor{y})
		})
		if wrong == (wantErr == "") {
			t.Fatalf("%s: the interpreter says %q", what, wantErr)
		}
		for _, d := range devices {
			for _, constant := range []bool{false, true} { // matrices: then all are packed for all runs
				got, err := run(func(y *tensor.Tensor) error {
					return d.Run(context.Background(), kernelProduct, p, nil, args, []*tensor.Tensor{y}, &heap{constant: map[int]bool{1: constant}, room: 1 << 30})
				})
				if err != wantErr || !slices.Equal(got, want) {
					t.Fatalf("%s, on %d threads, constants: %v: %v, %s\nwant %v, %s", what, d.threads, constant, got, err, want, wantErr)
				}
			}
			c, _ := d.codes.get(d, kernelProduct, p, nil)
			if g := c.products[0]; g == nil && rows*depth*cols >= 512 || g != nil && g.table == nil && rows > 1 {
				t.Errorf("%s: no product by groups", what)
			}
			if g := c.products[0]; g != nil && rows > 1 && (g.from != nil) != gathered {
				t.Errorf("%s: rows of X are looked up: %v, and that is seen: %v", what, gathered, g.from != nil)
			}
		}
	}
}

// A table along an axis that is summed over groups no rows: Y[i, j] = sum(k) X[i, k] * W[G[k], j].
func TestTablesAlongSums(t *testing.T) {
	const rows, depth, cols, size = 20, 30, 24, 5
	p, i, j, k := &ir.Program{Name: "looked"}, &ir.Axis{Extent: sym.Const(rows)}, &ir.Axis{Extent: sym.Const(cols)}, &ir.Axis{Extent: sym.Const(depth)}
	x := &ir.Buffer{Name: "x", DType: tensor.F32, Dims: ir.Consts([]int64{rows, depth})}
	w := &ir.Buffer{Name: "w", DType: tensor.F32, Dims: ir.Consts([]int64{size, cols})}
	g := &ir.Buffer{Name: "g", DType: tensor.I64, Dims: ir.Consts([]int64{depth})}
	y := &ir.Buffer{Name: "y", DType: tensor.F32, Dims: ir.Consts([]int64{rows, cols})}
	p.Params, p.Results = []*ir.Buffer{x, w, g}, []*ir.Buffer{y}
	p.Stages = []*ir.Stage{{Kind: ir.ReduceStage, Monoid: ir.Sum, Axes: []*ir.Axis{i, j}, Red: []*ir.Axis{k}, Outs: []*ir.Buffer{y},
		Exprs: []*ir.Scalar{ir.Load(x, i.Ix(), k.Ix()).Mul(ir.Load(w, ir.Load(g, k.Ix()), j.Ix()))}}}
	p.Finish()
	args := []*tensor.Tensor{tensor.New(tensor.F32, rows, depth), tensor.New(tensor.F32, size, cols), tensor.New(tensor.I64, depth)}
	for _, a := range args[:2] {
		for i := range tensor.Data[float32](a) {
			tensor.Data[float32](a)[i] = float32(i%7 - 3)
		}
	}
	for i := range depth {
		tensor.Data[int64](args[2])[i] = int64(i*i) % size
	}
	want, err := interp.RunProgram(t.Context(), p, nil, args)
	if err != nil {
		t.Fatal(err)
	}
	for _, tier := range tiers(t) {
		got := tensor.New(tensor.F32, rows, cols)
		if err := tier.inParts(2).Run(t.Context(), kernelProduct, p, nil, args, []*tensor.Tensor{got}, &heap{}); err != nil {
			t.Fatal(err)
		}
		if !tensor.Equal(got, want[0]) {
			t.Errorf("got %v, want %v", got, want[0])
		}
	}
}

// Segments of a few rows have tiles of more columns than all rows together would, as long as those are packed; all columns are
// in one tile.
func TestTilesOfSegments(t *testing.T) {
	for _, tier := range tiers(t) {
		d := tier.device(2)
		defer d.Close()
		c, err := d.codes.get(d, kernelProduct, groupedProgram(512, 768, 2048, 64, false, false, false, false), nil)
		if err != nil {
			t.Fatal(err)
		}
		p, cut := c.products[0], d.blocks(tensor.F32, false)
		all := p.tiling(d, cut, true)
		last := int64(1 << 40)
		for _, rows := range []int64{1, 8, 64, 512} {
			cols := p.segmentCols(cut, all, rows, true)
			if cols < all.cols || cols > last || rows == 512 && cols != all.cols || rows == 1 && tier.features != 0 && (cols <= all.cols || cols*768 < leastTile) || cols%int64(cut.nr) != 0 {
				t.Errorf("%s: %d rows have tiles of %d columns, all of %d", tier.name, rows, cols, all.cols)
			}
			if p.segmentCols(cut, all, rows, false) != all.cols {
				t.Errorf("%s: %d rows have other tiles where nothing is packed", tier.name, rows)
			}
			last = cols
		}
	}
}
