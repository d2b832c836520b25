package cpu

import (
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"unsafe"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
	rt "github.com/pitopt/pitopt/runtime"
	"github.com/pitopt/pitopt/runtime/cpu/x86"
)

// Where B is made of constants alone, all of it is packed once for all runs and all sizes: matrix by
// matrix (of the batches that it is along, or the groups of rows), and there panel by panel, each to
// the whole depth.

// identify finds what B is made of, and a key that tells how: products with the same one
// share what is packed.
func (p *product) identify(program *ir.Program, stage int, bind []int64) {
	p.align = true
	step := int64(1)
	for _, l := range slices.Backward(p.n) {
		p.align = p.align && l.out == step
		step *= l.extent
	}
	var key []byte
	add := func(n ...int64) {
		for _, x := range n {
			key = binary.AppendVarint(key, x)
		}
	}
	add(int64(p.out.DType))
	if p.b.buf != nil {
		i := slices.Index(program.Params, p.b.buf)
		if i < 0 || p.b.pad != nil {
			return
		}
		p.kept = []int{i}
		add(0, p.b.base)
	} else {
		constant, sized := true, false // whether it depends on sizes beside its own
		p.b.expr.Walk(func(x *ir.Scalar) bool {
			sized = sized || x.Op == ir.OpSym
			if x.Op == ir.OpLoad {
				sized = sized || slices.ContainsFunc(x.Buf.RoomDims(), func(e sym.Expr) bool { _, ok := e.Int(); return !ok })
				i := slices.Index(program.Params, x.Buf)
				if constant = constant && i >= 0; constant && !slices.Contains(p.kept, i) {
					p.kept = append(p.kept, i)
				}
			}
			return true
		})
		if !constant || len(p.kept) == 0 {
			p.kept = nil
			return
		}
		p.half = widened(p.b.expr)
		is := sha256.Sum256([]byte(program.Key())) // another one may lie where it does when it is gone
		key = append(key, is[:]...)
		add(1, int64(stage))
		if sized {
			add(bind...)
		}
	}
	axes := program.Stages[stage].AllAxes()
	for i, nest := range [][]loop{p.batch, p.n, p.k} {
		add(int64(len(nest)))
		for _, l := range nest {
			if l.inB || i == 2 { // panels have an element for each k, whoever goes along it
				add(l.extent, l.b)
				if p.b.buf == nil { // no step tells which axis it is
					add(int64(slices.Index(axes, l.axis)))
				}
			}
		}
	}
	if p.table != nil {
		add(p.table.size, p.table.stride)
	}
	p.keyB, p.keyFinite = string(key), string(key)+"finite"
}

// widened is the type of a load that is only widened to f32.
func widened(x *ir.Scalar) x86.Weights {
	if x.Op == ir.OpCast && x.DType == tensor.F32 && x.Args[0].Op == ir.OpLoad {
		switch x.Args[0].DType {
		case tensor.F16:
			return x86.WeightsF16
		case tensor.BF16:
			return x86.WeightsBF16
		}
	}
	return x86.WeightsF32
}

// keeps says whether B is made of constants.
func (p *product) keeps(constant func(param int) bool) bool {
	return p.kept != nil && !slices.ContainsFunc(p.kept, func(i int) bool { return !constant(i) })
}

// matrices is how many matrices B has.
func (p *product) matrices() int64 {
	n := int64(1)
	for _, l := range p.batch {
		if l.inB {
			n = times(n, l.extent)
		}
	}
	if p.table != nil {
		n = times(n, p.table.size)
	}
	return n
}

// matrix is which of them a batch and a segment are multiplied by.
func (p *product) matrix(batch int64, s *segment) (at int64) {
	step := int64(1)
	for _, l := range slices.Backward(p.batch) {
		if l.inB {
			at += batch % l.extent * step
			step *= l.extent
		}
		batch /= l.extent
	}
	if p.table != nil && p.table.stride > 0 {
		at += s.b / p.table.stride * step
	}
	return at
}

// packedB says whether B is made of constants, and gives all of it as it is packed; it is packed
// where nobody did. nil: for this run it is not.
func (x *multiplication[T]) packedB(run *interp.Execution, mem rt.Memory) (constant bool, whole []byte, err error) {
	p := x.p
	if p.kept == nil || x.cut.code == nil {
		return false, nil, nil
	}
	k := mem.Keep(p.kept, p.keyB)
	if k == nil {
		return false, nil, nil
	}
	t := k.Get()
	if t == nil {
		if t, err = x.keepB(run, k); err != nil || t == nil {
			return true, nil, err
		}
	}
	return true, t.Bytes(), nil
}

// keptB is where the panels of a block lie in all of B, and those of the block that comes next: behind
// the whole depth that is the one beside it, and behind all columns the first one of the matrix that begins at after.
func (w *worker[T]) keptB(s *segment, b *block, after int64) (panels unsafe.Pointer, next uintptr) {
	nr, cols, depth := int64(w.cut.nr), roundUp(total(w.p.n), int64(w.cut.nr)), w.cut.along(total(w.p.k))
	at := func(n0, k0 int64) int64 { return (n0*depth + k0*nr) * int64(w.half.Bytes()) }
	here := w.p.matrix(b.batch, s) * at(cols, 0)
	then, k0, n0 := here, b.k0+int64(b.depth), b.col0
	if k0 == depth {
		k0, n0 = 0, roundUp(b.col0+int64(b.cols), nr)
		if n0 == cols {
			then, n0 = w.p.matrix(b.batch, &segment{b: after})*at(cols, 0), 0
		}
	}
	return unsafe.Pointer(&w.whole[here+at(b.col0, b.k0)]), uintptr(unsafe.Pointer(&w.whole[then])) + uintptr(at(n0, k0))
}

func (x *multiplication[T]) keepB(run *interp.Execution, k *rt.Kept) (*tensor.Tensor, error) {
	p, cut := x.p, x.cut
	size := times(p.matrices(), roundUp(x.cols, int64(cut.nr)), cut.along(total(p.k)))
	if size >= far {
		return nil, nil
	}
	d := p.out.DType
	switch p.half {
	case x86.WeightsF16:
		d = tensor.F16
	case x86.WeightsBF16:
		d = tensor.BF16
	}
	return k.Make(d, size, func(t *tensor.Tensor) error {
		if len(x.workers) == 0 {
			x.workers = append(x.workers, newWorker[T]())
		}
		w := worker[T]{lists: x.workers[0].lists, b: new(source[T]), ctx: run.Context(), p: p, cut: cut}
		var data []T
		if p.b.buf != nil {
			data = tensor.Data[T](run.Tensor(p.b.buf))
		}
		if err := w.b.open(run, &p.b, data, cut.pairs); err != nil {
			return err
		}
		defer w.b.close()
		w.lists.fit(cut)
		if p.half == x86.WeightsF32 {
			all := tensor.Data[T](t)
			return w.packMatrices(func(at int64, batch, n0 int64, cols int, k0 int64, depth int) error {
				return w.fillB(all[at:], cut.nr*int(cut.along(total(p.k))), batch, n0, cols, k0, depth)
			})
		}
		part := make([]T, cut.depth*roundUp(cut.wide, int64(cut.nr)))
		to := tensor.Data[uint16](t)
		return w.packMatrices(func(at int64, batch, n0 int64, cols int, k0 int64, depth int) error {
			one := cut.nr * depth
			if err := w.fillB(part, one, batch, n0, cols, k0, depth); err != nil {
				return err
			}
			for i := 0; i < cols; i += cut.nr {
				for j, v := range part[i/cut.nr*one:][:one] {
					if p.half == x86.WeightsF16 {
						to[at+int64(j)] = tensor.F32ToF16(float32(v))
					} else {
						to[at+int64(j)] = tensor.F32ToBF16(float32(v))
					}
				}
				at += int64(cut.nr) * total(p.k)
			}
			return nil
		})
	})
}

// packMatrices calls pack for all parts of all matrices of B, with where in all of B the part begins.
func (w *worker[T]) packMatrices(pack func(at int64, batch, n0 int64, cols int, k0 int64, depth int) error) error {
	p, groups := w.p, int64(1)
	if p.table != nil {
		groups = p.table.size
	}
	depth, cols := w.cut.along(total(p.k)), total(p.n)
	one := roundUp(cols, int64(w.cut.nr)) * depth
	done := int64(0)
	for batch := range total(p.batch) {
		for g := range groups {
			s := segment{}
			if p.table != nil {
				s.b = g * p.table.stride
			}
			if m := p.matrix(batch, &s); m != done { // a batch that B does not tell from another
				continue
			}
			done++
			w.stand(&s, batch)
			for k0 := int64(0); k0 < depth; k0 += w.cut.depth {
				n := min(w.cut.depth, depth-k0)
				addresses(w.kB[:n], p.k, k0, stepB)
				for n0 := int64(0); n0 < cols; n0 += w.cut.wide {
					if err := w.ctx.Err(); err != nil {
						return diag.Stopped(err)
					}
					count := min(w.cut.wide, cols-n0)
					addresses(w.colB[:count], p.n, n0, stepB)
					at := (done-1)*one + n0*depth + k0*int64(w.cut.nr)
					if err := pack(at, batch, n0, int(count), k0, int(n)); err != nil {
						return err
					}
				}
			}
		}
	}
	return nil
}
