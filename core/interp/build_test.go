package interp

import (
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// builder writes small programs.
type builder struct{ p *ir.Program }

func newProgram(name string, syms ...string) *builder {
	return &builder{&ir.Program{Name: name, Syms: syms}}
}

func consts(shape []int64) []sym.Expr { return ir.Consts(shape) }

func ax(n int64) *ir.Axis { return &ir.Axis{Extent: sym.Const(n)} }

func axes(shape ...int64) []*ir.Axis {
	out := make([]*ir.Axis, len(shape))
	for i, n := range shape {
		out[i] = ax(n)
	}
	return out
}

func (b *builder) param(name string, d tensor.DType, shape ...int64) *ir.Buffer {
	buf := &ir.Buffer{Name: name, DType: d, Dims: consts(shape)}
	b.p.Params = append(b.p.Params, buf)
	return buf
}

func (b *builder) out(name string, d tensor.DType, axes []*ir.Axis) *ir.Buffer {
	buf := &ir.Buffer{Name: name, DType: d}
	for _, a := range axes {
		buf.Dims = append(buf.Dims, a.Extent)
	}
	b.p.Results = append(b.p.Results, buf)
	return buf
}

func (b *builder) stage(s *ir.Stage) { b.p.Stages = append(b.p.Stages, s) }

func (b *builder) stageMap(name string, d tensor.DType, axes []*ir.Axis, e *ir.Scalar) *ir.Buffer {
	out := b.out(name, d, axes)
	b.stage(&ir.Stage{Kind: ir.MapStage, Outs: []*ir.Buffer{out}, Axes: axes, Exprs: []*ir.Scalar{e}})
	return out
}

func (b *builder) reduce(name string, d tensor.DType, axes []*ir.Axis, m ir.Monoid, red []*ir.Axis, e ...*ir.Scalar) *ir.Buffer {
	out := b.out(name, d, axes)
	b.stage(&ir.Stage{Kind: ir.ReduceStage, Outs: []*ir.Buffer{out}, Axes: axes, Red: red, Monoid: m, Exprs: e})
	return out
}

func (b *builder) done() *ir.Program {
	b.p.NameAxes()
	return b.p
}

// ramp is a tensor of small different numbers.
func ramp(shape ...int64) *tensor.Tensor {
	t := tensor.New(tensor.F32, shape...)
	d := tensor.Data[float32](t)
	for i := range d {
		d[i] = float32(i%97)/16 - 3
	}
	return t
}
