package op

import (
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
)

// composed registers an operator that is made of others, and whose result types follow
// from them: they are what the composition gives for operands of these types.
func composed(d *ir.OpDef) *ir.OpDef {
	d.Deduce = func(c *call) error {
		was := map[string]bool{}
		for _, s := range c.Syms.Symbols() {
			was[s] = true
		}
		for _, t := range c.In { // of which nothing needs to be known
			if t != nil {
				ir.MapDims(t, func(e sym.Expr) sym.Expr {
					for _, s := range e.Symbols() {
						was[s] = true
					}
					return e
				})
			}
		}
		out, _, err := writtenOut(c, d)
		if err != nil {
			return err
		}
		for i, v := range out {
			if v == nil || !c.Wants(i) {
				continue
			}
			c.SetOutType(i, ir.MapDims(v.Type, func(e sym.Expr) sym.Expr {
				if slices.ContainsFunc(e.Symbols(), func(s string) bool { return !was[s] }) {
					return c.Fresh(nil)
				}
				return e
			}))
		}
		return nil
	}
	return ir.Register(d)
}

// writtenOut writes a call of an operator out in a module of its own, and gives its results and the
// symbols that they are over: those of values inside are no symbols of the call's module.
func writtenOut(c *ir.Call, d *ir.OpDef) ([]*ir.Value, *sym.Context, error) {
	m := ir.NewModule("")
	m.Syms = c.Syms.Clone()
	b := ir.NewBuilder(m, &ir.Func{Name: "main"})
	args := make([]*ir.Value, len(c.In))
	for i, t := range c.In {
		if k := c.Const(i); k != nil {
			args[i] = b.Const(k)
		} else if t != nil {
			args[i] = b.Param("", t)
			if e, ok := c.Ints(i); ok {
				b.SetKnown(args[i], e)
			}
		}
	}
	inner := *c
	inner.Syms, inner.Bound = m.Syms, b.Bound
	out, err := d.Expand(&inner, b, args)
	if err == nil {
		err = b.Err()
	}
	return out, m.Syms, err
}

// composition makes it short to write out an operator.
type composition struct {
	*call
	b    *ir.Builder
	args []*ir.Value
}

// expand is an Expand that is given a composition.
func expand(f func(x composition) ([]*ir.Value, error)) func(*call, *ir.Builder, []*ir.Value) ([]*ir.Value, error) {
	return func(c *call, b *ir.Builder, args []*ir.Value) ([]*ir.Value, error) { return f(composition{c, b, args}) }
}

// arg is operand i, nil where it is left out.
func (x composition) arg(i int) *ir.Value {
	if i < len(x.args) {
		return x.args[i]
	}
	return nil
}

// op applies an operator of ONNX that takes no attributes.
func (x composition) op(name string, args ...*ir.Value) *ir.Value {
	return x.b.Op("onnx."+name, args)
}

// with applies an operator of ONNX with attributes.
func (x composition) with(name string, attrs ir.Attrs, args ...*ir.Value) *ir.Value {
	return x.b.OpN(1, "onnx."+name, args, attrs)[0]
}

// plus adds operand i, where it is there.
func (x composition) plus(v *ir.Value, i int) *ir.Value {
	if x.arg(i) == nil {
		return v
	}
	return x.op("Add", v, x.arg(i))
}

// reshape gives a value other dims.
func (x composition) reshape(v *ir.Value, dims ...sym.Expr) *ir.Value {
	return x.b.Op("onnx.Reshape", []*ir.Value{v, x.b.Dims(dims...)}, "allowzero", 1)
}

// transpose permutes dims.
func (x composition) transpose(v *ir.Value, perm ...int64) *ir.Value {
	return x.b.Op("onnx.Transpose", []*ir.Value{v}, "perm", perm)
}

// dims are the dims of a value that the composition has made.
func (x composition) dims(v *ir.Value) []sym.Expr {
	t, _ := v.Tensor()
	return t.Dims
}
