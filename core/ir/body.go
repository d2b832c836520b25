package ir

import (
	"fmt"
	"strconv"

	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// Body builds the tensor program of a call. Loads of small float types come as f32
// and stores round back, so an operator is written once for all element types.
type Body struct {
	P    *Program
	call *Call
	ins  []*Buffer
	outs []*Buffer
	tmp  int
}

// Program builds the tensor program of the call, whose types must be deduced, and
// tells which operand each parameter is. A program that needs what is not known
// yet is ErrDynamic; what no program says is ErrNoProgram.
func (c *Call) Program() (*Program, []int, error) {
	if c.Op.Body == nil {
		return nil, nil, ErrNoProgram
	}
	for _, list := range [][]Type{c.In, c.Out} {
		for _, t := range list {
			if t == nil {
				continue
			}
			tt, ok := t.(TensorType)
			if !ok {
				return nil, nil, ErrNoProgram
			}
			if tt.Unranked || tt.DType == tensor.Invalid {
				return nil, nil, ErrDynamic
			}
		}
	}
	b := &Body{P: &Program{Name: localName(c.Op.Name)}, call: c, ins: make([]*Buffer, len(c.In)), outs: make([]*Buffer, len(c.Out))}
	for i := range c.Out {
		if c.Wants(i) {
			b.Out(i)
		}
	}
	if err := c.Op.Body(c, b); err != nil {
		return nil, nil, err
	}
	return b.finish()
}

func (b *Body) finish() (*Program, []int, error) {
	p := b.P
	read := map[*Buffer]bool{}
	for _, s := range p.Stages {
		for _, r := range s.Reads() {
			read[r] = true
		}
	}
	var args []int
	for i, buf := range b.ins {
		if buf != nil && read[buf] {
			p.Params = append(p.Params, buf)
			args = append(args, i)
		}
	}
	for i, buf := range b.outs {
		if b.call.Wants(i) {
			p.Results = append(p.Results, buf)
		}
	}
	p.Syms = p.symsOf()
	p.NameAxes()
	return p, args, nil
}

// NameAxes gives the axes of every stage the names i, j, k ... in order, keeping clear
// of symbols and buffers.
func (p *Program) NameAxes() {
	taken := map[string]bool{}
	for _, s := range p.Syms {
		taken[s] = true
	}
	for _, list := range [][]*Buffer{p.Params, p.Results, p.Temps()} {
		for _, b := range list {
			taken[b.Name] = true
		}
	}
	var names []string // as many as were needed so far
	next := 0
	for _, s := range p.Stages {
		for i, a := range s.AllAxes() {
			for ; i >= len(names); next++ {
				if name := axisName(next); !taken[name] {
					names = append(names, name)
				}
			}
			a.Name = names[i]
		}
	}
}

// axisName is the n-th name of an axis: i, j, ... z, i1, j1, ...
func axisName(n int) string {
	const letters = "ijklmnpqrstuvxyz"
	name := letters[n%len(letters):][:1]
	if n >= len(letters) {
		name += strconv.Itoa(n / len(letters))
	}
	return name
}

// In is the buffer of operand i, nil when it is left out.
func (b *Body) In(i int) *Buffer {
	if !b.call.Has(i) {
		return nil
	}
	if b.ins[i] == nil {
		o, _ := b.call.Op.Operand(i)
		name := bufferName(o.Name, i, o.Variadic)
		t := b.call.Tensor(i)
		b.ins[i] = &Buffer{Name: b.unique(name), DType: t.DType, Dims: t.Dims}
	}
	return b.ins[i]
}

// Out is the buffer of result i; one that nobody asked for is a temporary.
func (b *Body) Out(i int) *Buffer {
	if b.outs[i] == nil {
		o, _ := b.call.Op.Result(i)
		t, _ := b.call.Out[i].(TensorType)
		b.outs[i] = &Buffer{Name: b.unique(bufferName(o.Name, i, o.Variadic)), DType: t.DType, Dims: t.Dims}
	}
	return b.outs[i]
}

func bufferName(name string, i int, variadic bool) string {
	if name == "" || variadic {
		return fmt.Sprintf("%s%d", name, i)
	}
	return name
}

// unique keeps buffer names apart from each other.
func (b *Body) unique(name string) string {
	for _, list := range [][]*Buffer{b.ins, b.outs} {
		for _, x := range list {
			if x != nil && x.Name == name {
				b.tmp++
				return fmt.Sprintf("%s_%d", name, b.tmp)
			}
		}
	}
	return name
}

// Temp is a temporary.
func (b *Body) Temp(d tensor.DType, dims ...sym.Expr) *Buffer {
	b.tmp++
	return &Buffer{Name: fmt.Sprintf("t%d", b.tmp), DType: d, Dims: dims}
}

// Axis is a new axis.
func (b *Body) Axis(extent sym.Expr) *Axis { return &Axis{Extent: extent} }

// Axes are new axes, one for each dim.
func (b *Body) Axes(dims []sym.Expr) []*Axis {
	out := make([]*Axis, len(dims))
	for i, d := range dims {
		out[i] = &Axis{Extent: d}
	}
	return out
}

// Ix are the positions along axes.
func Ix(axes []*Axis) []*Scalar {
	out := make([]*Scalar, len(axes))
	for i, a := range axes {
		out[i] = a.Ix()
	}
	return out
}

// Load reads buf; a small float type comes as f32, a sub-byte integer as i8 or u8.
func (b *Body) Load(buf *Buffer, index ...*Scalar) *Scalar {
	return Load(buf, index...).To(buf.DType.Compute())
}

// LoadIx reads an index tensor as i64.
func (b *Body) LoadIx(buf *Buffer, index ...*Scalar) *Scalar {
	return Load(buf, index...).To(tensor.I64)
}

// LoadBcast reads buf at a point of axes as NumPy broadcasts it: dims are aligned at
// the end, and one that is 1 is read at 0.
func (b *Body) LoadBcast(buf *Buffer, axes []*Axis) *Scalar {
	return b.Load(buf, BcastIx(buf, axes)...)
}

// BcastIx is the index at which buf is read when it is broadcast over axes.
func BcastIx(buf *Buffer, axes []*Axis) []*Scalar {
	skip := len(axes) - len(buf.Dims)
	ix := make([]*Scalar, len(buf.Dims))
	for i, d := range buf.Dims {
		ix[i] = Bcast(axes[skip+i].Ix(), d, axes[skip+i].Extent)
	}
	return ix
}

// Map adds the stage dst[axes] = e.
func (b *Body) Map(dst *Buffer, axes []*Axis, e *Scalar) {
	b.add(&Stage{Kind: MapStage, Outs: []*Buffer{dst}, Axes: axes, Exprs: []*Scalar{e.To(dst.DType)}})
}

// Reduce adds dst[axes] = m over red of e, in e's type. The destination has e's
// type; Reduced makes a temporary for it.
func (b *Body) Reduce(dst *Buffer, axes []*Axis, m Monoid, red []*Axis, e *Scalar) {
	if dst.DType != e.DType {
		t := b.Temp(e.DType, dst.Dims...)
		b.Reduce(t, axes, m, red, e)
		out := b.Axes(dst.Dims)
		b.Map(dst, out, Load(t, Ix(out)...))
		return
	}
	b.add(&Stage{Kind: ReduceStage, Outs: []*Buffer{dst}, Axes: axes, Red: red, Monoid: m, Exprs: []*Scalar{e}})
}

// Reduced is Reduce into a new temporary with one dim for each axis.
func (b *Body) Reduced(axes []*Axis, m Monoid, red []*Axis, e *Scalar) *Buffer {
	t := b.Temp(e.DType, extents(axes)...)
	b.Reduce(t, axes, m, red, e)
	return t
}

// Mapped is Map into a new temporary of e's type.
func (b *Body) Mapped(axes []*Axis, e *Scalar) *Buffer {
	t := b.Temp(e.DType, extents(axes)...)
	b.Map(t, axes, e)
	return t
}

// Stage adds any stage.
func (b *Body) Stage(s *Stage) { b.add(s) }

func (b *Body) add(s *Stage) { b.P.Stages = append(b.P.Stages, s) }

func extents(axes []*Axis) []sym.Expr {
	dims := make([]sym.Expr, len(axes))
	for i, a := range axes {
		dims[i] = a.Extent
	}
	return dims
}

// Elementwise is the whole body of an operator that computes each point of its
// results from the same point of its operands, broadcast. f gets the operands that
// are there, in order, and gives one expression for each wanted result.
func (b *Body) Elementwise(f func(x []*Scalar) []*Scalar) error {
	for i := range b.outs {
		if !b.call.Wants(i) {
			continue
		}
		out := b.Out(i)
		axes := b.Axes(out.Dims)
		var xs []*Scalar
		for j := range b.call.In {
			if buf := b.In(j); buf != nil {
				xs = append(xs, b.LoadBcast(buf, axes))
			}
		}
		b.Map(out, axes, f(xs)[i])
	}
	return nil
}

// localName is the operator's name without namespace.
func localName(name string) string {
	for i := len(name) - 1; i >= 0; i-- {
		if name[i] == '.' {
			return name[i+1:]
		}
	}
	return name
}
