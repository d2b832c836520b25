package irpb

import (
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

// program fills in a program.
func (d *decoder) program(out *ir.Program, p *Program) {
	var bufs []*ir.Buffer
	buffers := func(list []*Buffer) []*ir.Buffer {
		first := len(bufs)
		for _, b := range list {
			bufs = append(bufs, &ir.Buffer{Name: b.GetName(), DType: d.dtype(b.GetDtype(), false), Dims: d.exprList(b.GetDims()), Room: d.exprList(b.GetRoom())})
		}
		return bufs[first:len(bufs):len(bufs)]
	}
	out.Params, out.Results = buffers(p.GetParams()), buffers(p.GetResults())
	buffers(p.GetTemporaries())
	for _, s := range p.GetStages() {
		if d.err != nil {
			return
		}
		r := &stageReader{decoder: d, bufs: bufs}
		out.Stages = append(out.Stages, r.stage(s))
	}
}

// stageReader reads one stage.
type stageReader struct {
	*decoder
	bufs  []*ir.Buffer
	axes  []*ir.Axis
	nodes []*ir.Scalar
	size  []int // of the tree below each node
	depth []int
}

func (r *stageReader) stage(s *Stage) *ir.Stage {
	out := &ir.Stage{Kind: ir.StageKind(s.GetKind()), Exclusive: s.GetExclusive(), Reverse: s.GetReverse()}
	if _, ok := Stage_Kind_name[int32(s.GetKind())]; !ok {
		r.fail("there is no kind %d of stages", s.GetKind())
	}
	for _, i := range s.GetOuts() {
		out.Outs = append(out.Outs, at(r.decoder, "buffer", r.bufs, i))
	}
	if len(out.Outs) == 0 {
		r.fail("a stage without results")
	}
	out.Axes, out.Red = r.loops(s.GetAxes()), r.loops(s.GetReduced())
	if name := s.GetMonoid(); name != "" {
		var ok bool
		if out.Monoid, ok = ir.MonoidByName(name); !ok {
			r.fail("there is no monoid %q", name)
		}
	}
	switch out.Kind {
	case ir.ScanStage:
		out.ScanAxis = at(r.decoder, "axis", out.Axes, s.GetScanAxis())
	case ir.ScatterStage:
		out.Base = at(r.decoder, "buffer", r.bufs, s.GetBase())
	}
	for _, x := range s.GetNodes() {
		if r.err != nil {
			return out
		}
		r.nodes = append(r.nodes, r.scalar(x))
	}
	out.Exprs, out.Index = r.roots(s.GetExprs()), r.roots(s.GetIndex())
	for _, h := range s.GetSparse() {
		out.Sparse = append(out.Sparse, ir.Sparse{Buffer: at(r.decoder, "buffer", r.bufs, h.GetBuffer()), Finite: h.GetFinite()})
	}
	if n := s.GetWanted(); n > 0 {
		out.Wanted, out.Any = r.roots([]uint32{n - 1})[0], s.GetAny()
	}
	return out
}

func (r *stageReader) loops(list []*Axis) []*ir.Axis {
	var out []*ir.Axis
	for _, a := range list {
		out = append(out, &ir.Axis{Name: a.GetName(), Extent: r.expr(a.GetExtent())})
	}
	r.axes = append(r.axes, out...)
	return out
}

// roots are the expressions that a stage computes.
func (r *stageReader) roots(list []uint32) []*ir.Scalar {
	var out []*ir.Scalar
	for _, i := range list {
		out = append(out, at(r.decoder, "expression", r.nodes, i))
		if r.scalars += at(r.decoder, "expression", r.size, i); r.scalars > maxScalarNodes {
			r.fail("the expressions of the programs are too large: more than %d nodes", maxScalarNodes)
		}
	}
	return out
}

func (r *stageReader) scalar(x *Scalar) *ir.Scalar {
	op, ok := ir.ScalarOpByName(x.GetOp())
	if !ok {
		r.fail("there is no scalar operation %q", x.GetOp())
	}
	out := &ir.Scalar{Op: op, DType: r.dtype(x.GetDtype(), false), Cast: tensor.CastOpts{NoSaturate: x.GetNoSaturate(), RoundMode: x.GetRoundMode()}}
	size, depth := 1, 0
	for _, i := range x.GetArgs() {
		out.Args = append(out.Args, at(r.decoder, "expression", r.nodes, i))
		size = min(size+at(r.decoder, "expression", r.size, i), maxScalarNodes+1)
		depth = max(depth, at(r.decoder, "expression", r.depth, i)+1)
	}
	r.size, r.depth = append(r.size, size), append(r.depth, depth)
	if n := op.Arity(); n >= 0 && n != len(out.Args) {
		r.fail("%s with %d operands", op, len(out.Args))
	}
	if depth > maxScalarDepth {
		r.fail("expressions nested deeper than %d", maxScalarDepth)
	}
	switch op {
	case ir.OpCast:
		if !slices.Contains([]string{"", "up", "down", "nearest"}, x.GetRoundMode()) {
			r.fail("a cast can not round %q", x.GetRoundMode())
		}
	case ir.OpLit:
		if out.Lit, _ = r.tensor(x.GetLiteral()); out.Lit != nil && out.Lit.Len() != 1 {
			r.fail("a literal of %d elements", out.Lit.Len())
		}
	case ir.OpAxis:
		out.Axis = at(r.decoder, "axis", r.axes, x.GetAxis())
	case ir.OpSym:
		out.Sym = r.expr(x.GetSymbolic())
	case ir.OpLoad:
		out.Buf = at(r.decoder, "buffer", r.bufs, x.GetBuffer())
	}
	return out
}
