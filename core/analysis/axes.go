package analysis

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
)

// Axis is an axis of a program: axes of its stages, and dims of its buffers, that stand for
// one another, since stages read and write at the bare position. What operands have along
// it may be permuted, or compacted, all of them alike: results are permuted alike, or stay
// what they are where the axis is summed over. That is permutation invariance (PIT, SOSP'23,
// section 3.1), where Why is empty; otherwise Why tells what stands against it.
type Axis struct {
	Name    string      // by its size where that is a symbol, otherwise by a stage
	Extent  sym.Expr    // of its first stage or dim
	Stages  []StageAxis // the axes of stages that it goes through
	Dims    []BufferDim // the dims of parameters and results along it
	Spatial bool        // a result has it
	Monoids []ir.Monoid // what reduces it, each once
	Why     string      // why its points may not be permuted; empty: they may
}

// StageAxis is an axis of a stage.
type StageAxis struct {
	Stage *ir.Stage
	Axis  *ir.Axis
}

// BufferDim is a dim of a buffer.
type BufferDim struct {
	Buffer *ir.Buffer
	Dim    int
}

func (d BufferDim) String() string { return fmt.Sprintf("%s.%d", d.Buffer.Name, d.Dim) }

// Rule tells in words why points along the axis may be permuted, or why not.
func (a *Axis) Rule() string {
	if a.Why != "" {
		return "not: " + a.Why
	}
	var rules []string
	if a.Spatial {
		rules = append(rules, "spatial")
	}
	for _, m := range a.Monoids {
		rules = append(rules, m.String()+" commutes")
	}
	if rules == nil {
		return "nothing is computed along it"
	}
	return strings.Join(rules, ", ")
}

// PITAxes gives the axes of a stage whose points may be taken in any order, or some of
// them left out, without changing what is computed for the others: it is spatial or its
// monoid commutes, and every index that depends on it is the axis itself, broadcast or not. A
// convolution reads at x+i, so that neither x nor i is one.
func PITAxes(s *ir.Stage) []*ir.Axis {
	var out []*ir.Axis
	for _, a := range Axes(&ir.Program{Params: s.Reads(), Results: s.Outs, Stages: []*ir.Stage{s}}) {
		if a.Why == "" {
			for _, x := range a.Stages {
				out = append(out, x.Axis)
			}
		}
	}
	all := s.AllAxes()
	slices.SortFunc(out, func(a, b *ir.Axis) int { return slices.Index(all, a) - slices.Index(all, b) })
	return out
}

// Axes gives all axes of a program, in the order of its stages, then those dims of parameters
// that no stage's axis runs along.
func Axes(p *ir.Program) []*Axis {
	g := &axisGraph{up: map[any]any{}, why: map[any]string{}, one: map[BufferDim]bool{}, syms: sym.NewContext()}
	for _, s := range p.Stages {
		g.stage(s)
	}
	var out []*Axis
	byRoot := map[any]*Axis{}
	axis := func(member any, extent sym.Expr) *Axis {
		root := g.root(member)
		a := byRoot[root]
		if a == nil {
			a = &Axis{Extent: extent, Why: g.why[root]}
			byRoot[root] = a
			out = append(out, a)
		}
		return a
	}
	for _, s := range p.Stages {
		for i, x := range s.AllAxes() {
			a := axis(x, x.Extent)
			a.Stages = append(a.Stages, StageAxis{s, x})
			if i >= len(s.Axes) && !slices.Contains(a.Monoids, s.Monoid) {
				a.Monoids = append(a.Monoids, s.Monoid)
			}
			if s.Kind == ir.ScatterStage && !g.placed(s, x) && !slices.Contains(a.Monoids, s.Monoid) {
				a.Monoids = append(a.Monoids, s.Monoid)
			}
		}
	}
	for i, list := range [][]*ir.Buffer{p.Params, p.Results} {
		for _, b := range list {
			for d, extent := range b.Dims {
				slot := BufferDim{b, d}
				if _, used := g.up[slot]; !used || g.one[slot] {
					continue // nobody reads along it
				}
				a := axis(slot, extent)
				a.Dims = append(a.Dims, slot)
				a.Spatial = a.Spatial || i == 1
			}
		}
	}
	for _, a := range out {
		a.name()
	}
	return out
}

// name calls the axis by the symbol that its size is, or by its place.
func (a *Axis) name() {
	extents := []sym.Expr{a.Extent}
	for _, x := range a.Stages {
		extents = append(extents, x.Axis.Extent)
	}
	for _, d := range a.Dims {
		extents = append(extents, d.Buffer.Dims[d.Dim])
	}
	for _, e := range extents {
		if name, ok := e.Symbol(); ok {
			a.Name = name
			return
		}
	}
	if len(a.Stages) > 0 {
		a.Name = a.Stages[0].Axis.Name
		return
	}
	a.Name = a.Dims[0].String()
}

// axisGraph joins axes of stages and dims of buffers that are one axis of the program.
type axisGraph struct {
	up   map[any]any        // *ir.Axis or BufferDim: a member nearer to the root
	why  map[any]string     // of roots: what stands against permuting them
	one  map[BufferDim]bool // dims of size 1, which are read at 0
	syms *sym.Context
}

func (g *axisGraph) root(x any) any {
	for {
		up, ok := g.up[x]
		if !ok {
			g.up[x] = x
			return x
		}
		if up == x {
			return x
		}
		x = up
	}
}

func (g *axisGraph) join(x, y any) {
	x, y = g.root(x), g.root(y)
	if x == y {
		return
	}
	g.up[y] = x
	if g.why[x] == "" {
		g.why[x] = g.why[y]
	}
}

// fix says that positions along x count. The first reason is kept.
func (g *axisGraph) fix(x any, why string) {
	if x = g.root(x); g.why[x] == "" {
		g.why[x] = why
	}
}

func (g *axisGraph) stage(s *ir.Stage) {
	for _, a := range s.AllAxes() {
		g.root(a)
	}
	for i := range s.Out().Dims {
		for _, b := range s.Outs {
			slot := BufferDim{b, i}
			switch {
			case s.Kind != ir.ScatterStage:
				g.join(s.Axes[i], slot)
			default:
				g.join(BufferDim{s.Base, i}, slot)
				g.index(slot, s.Index[i], "written")
			}
		}
	}
	if s.Kind == ir.ScanStage {
		g.fix(s.ScanAxis, fmt.Sprintf("a scan goes along %s", s.ScanAxis.Name))
	}
	seen := map[*ir.Scalar]bool{}
	for _, x := range s.Exprs {
		g.value(SimplifyIndex(g.syms, x), nil, seen)
	}
	for _, x := range s.Index {
		if _, ok := bare(x); !ok {
			g.value(x, nil, seen)
		}
	}
	for _, a := range s.Red {
		switch {
		case s.Monoid == ir.ArgMax || s.Monoid == ir.ArgMin:
			g.fix(a, s.Monoid.String()+" keeps the first of equals")
		case !s.Monoid.Commutes():
			g.fix(a, s.Monoid.String()+" does not commute")
		}
	}
	if s.Kind == ir.ScatterStage && !s.Monoid.Commutes() {
		for _, a := range s.Axes {
			if !g.placed(s, a) {
				g.fix(a, "the last of those that are written to one place stays")
			}
		}
	}
}

// placed says whether a scatter writes to another place at each position of the axis.
func (g *axisGraph) placed(s *ir.Stage, a *ir.Axis) bool {
	return slices.ContainsFunc(s.Index, func(ix *ir.Scalar) bool { b, ok := bare(ix); return ok && b == a })
}

// bare gives the axis that an index is, broadcast or not; axes of size 1 count as 0.
func bare(ix *ir.Scalar) (*ir.Axis, bool) {
	if a, ok := Bare(ix); ok {
		return a, true
	}
	if f, ok := AffineOf(ix); ok && len(f.Terms) == 1 && f.C.IsInt(0) && f.Terms[0].K.IsInt(1) {
		return f.Terms[0].Axis, true
	}
	return nil, false
}

// value looks for loads in an expression, and for positions that are more than an index.
func (g *axisGraph) value(x, parent *ir.Scalar, seen map[*ir.Scalar]bool) {
	if x.Op == ir.OpAxis {
		switch {
		case x.Axis.Extent.IsInt(1): // 0
		case parent == nil:
			g.fix(x.Axis, fmt.Sprintf("the position %s is a value", x.Axis.Name))
		default:
			g.fix(x.Axis, fmt.Sprintf("%s is in %s", x.Axis.Name, parent))
		}
		return
	}
	if seen[x] {
		return
	}
	seen[x] = true
	if x.Op != ir.OpLoad {
		for _, a := range x.Args {
			g.value(a, x, seen)
		}
		return
	}
	for d, ix := range x.Args {
		slot := BufferDim{x.Buf, d}
		g.root(slot)
		if _, ok := bare(ix); !ok {
			g.value(ix, nil, seen)
		}
		g.index(slot, ix, "read")
	}
}

// index looks at how one dim of a buffer is read or written.
func (g *axisGraph) index(slot BufferDim, ix *ir.Scalar, how string) {
	axis, ok := bare(ix)
	switch {
	case ok:
		g.join(axis, slot)
	case slot.Buffer.Dims[slot.Dim].IsInt(1):
		g.one[slot] = true // the only point there is
	default:
		g.fix(slot, fmt.Sprintf("%s is %s at %s", slot.Buffer.Name, how, ix))
	}
}
