// Package op defines pitopt's operators, one file per family. An operator is its
// signature, its shape rule, and its meaning: a tensor program where one can say it,
// other operators where it is a composition, else a reference implementation.
//
// Each operator stands here once, in the form of its newest version; the importer
// turns older versions into it.
package op

import (
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// Sets of element types, as ONNX's schemas name them.
var (
	floats     = []tensor.DType{tensor.F32, tensor.F64, tensor.F16, tensor.BF16}
	floats8    = []tensor.DType{tensor.F8E4M3FN, tensor.F8E4M3FNUZ, tensor.F8E5M2, tensor.F8E5M2FNUZ}
	signed     = []tensor.DType{tensor.I8, tensor.I16, tensor.I32, tensor.I64}
	unsigned   = []tensor.DType{tensor.U8, tensor.U16, tensor.U32, tensor.U64}
	ints       = slices.Concat(signed, unsigned)
	numeric    = slices.Concat(ints, floats)
	indices    = []tensor.DType{tensor.I32, tensor.I64}
	bools      = []tensor.DType{tensor.Bool}
	i64s       = []tensor.DType{tensor.I64}
	float64s   = []tensor.DType{tensor.F64}
	anyTensor  = tensor.DTypes()
	signedNums = slices.Concat(signed, floats)
)

// operand descriptions: in("X", "T", floats) is an operand X of a type variable T.
func in(name, tv string, types []tensor.DType) ir.Operand {
	return ir.Operand{Name: name, Var: tv, Types: types}
}

// opt is an operand that may be left out.
func opt(name, tv string, types []tensor.DType) ir.Operand {
	return ir.Operand{Name: name, Var: tv, Types: types, Optional: true}
}

// variadic is a last operand that may come any number of times.
func variadic(name, tv string, types []tensor.DType) ir.Operand {
	return ir.Operand{Name: name, Var: tv, Types: types, Variadic: true}
}

func ops(list ...ir.Operand) []ir.Operand { return list }

// attr is an attribute with a default, whose Go type is the attribute's. ONNX keeps
// floats as f32, so the default is what that makes of it.
func attr(name string, def any) ir.AttrDef {
	switch v := def.(type) {
	case int:
		def = int64(v)
	case float64:
		def = float64(float32(v))
	}
	return ir.AttrDef{Name: name, Zero: def, Default: def}
}

// attrOpt is an attribute without default; zero gives its type.
func attrOpt(name string, zero any) ir.AttrDef { return ir.AttrDef{Name: name, Zero: zero} }

// attrReq is an attribute that must be given.
func attrReq(name string, zero any) ir.AttrDef {
	return ir.AttrDef{Name: name, Zero: zero, Required: true}
}

func attrs(list ...ir.AttrDef) []ir.AttrDef { return list }

// since lists versions.
func since(v ...int64) []int64 { return v }

// sameAs is the shape rule of operators whose result is like operand i.
func sameAs(i int) func(*ir.Call) error {
	return func(c *ir.Call) error {
		c.SetOut(0, c.DType(i), c.Dims(i)...)
		return nil
	}
}

// broadcast is the shape rule of operators whose operands broadcast against each
// other; the result has the element type of the first operand.
func broadcast(c *ir.Call) error {
	dims, err := broadcastDims(c, present(c)...)
	if err != nil {
		return err
	}
	c.SetOut(0, c.DType(0), dims...)
	return nil
}

// broadcastTo is broadcast with a result of a given element type.
func broadcastTo(d tensor.DType) func(*ir.Call) error {
	return func(c *ir.Call) error {
		dims, err := broadcastDims(c, present(c)...)
		if err != nil {
			return err
		}
		c.SetOut(0, d, dims...)
		return nil
	}
}

// present gives the shapes of the operands that are there.
func present(c *ir.Call) [][]sym.Expr {
	var out [][]sym.Expr
	for i := range c.In {
		if c.Has(i) {
			out = append(out, c.Dims(i))
		}
	}
	return out
}

// broadcastDims broadcasts shapes as NumPy does: aligned at the end, dims equal or 1.
// Dims of which neither is proved become sym.Broadcast, right for every legal case;
// what is illegal fails when it runs.
func broadcastDims(c *ir.Call, shapes ...[]sym.Expr) ([]sym.Expr, error) {
	rank := 0
	for _, s := range shapes {
		rank = max(rank, len(s))
	}
	out := make([]sym.Expr, rank)
	for i := range out {
		d := sym.Const(1)
		for _, s := range shapes {
			j := i - (rank - len(s))
			if j < 0 {
				continue
			}
			if !canBroadcast(c.Syms, d, s[j]) {
				return nil, c.Errorf("shapes %s do not broadcast: dims %s and %s", shapesString(shapes), d, s[j])
			}
			d = broadcastDim(c.Syms, d, s[j])
		}
		if len(d.String()) > maxBroadcast && !c.Exact && !isDimOf(shapes, d) {
			d = c.Fresh(nil) // nested ones grow with every operator; the run tells what it is
		}
		out[i] = d
	}
	return out, nil
}

// broadcastsTo checks that operand i broadcasts to dims without changing them.
func broadcastsTo(c *ir.Call, i int, dims []sym.Expr) error {
	d := c.Dims(i)
	skip := len(dims) - len(d)
	ok := skip >= 0
	for j := 0; ok && j < len(d); j++ {
		ok = c.Syms.Equal(d[j], dims[skip+j]) != sym.False || c.Syms.Equal(d[j], sym.Const(1)) != sym.False
	}
	if !ok {
		o, _ := c.Op.Operand(i)
		return c.Errorf("operand %d (%s) of shape %s does not broadcast to %s", i, o.Name, ir.ShapeString(d), ir.ShapeString(dims))
	}
	return nil
}

// listedAxes are the axes of operand 0 that the attribute axes lists, all where it is left
// out.
func listedAxes(c *call) ([]int, error) {
	if c.HasAttr("axes") {
		return c.Axes(c.IntList("axes"), c.Rank(0))
	}
	axes := make([]int, c.Rank(0))
	for i := range axes {
		axes[i] = i
	}
	return axes, nil
}

// single checks that operands, where they are there, have one element, of any rank: some
// exporters give [1] for a scalar.
func single(c *ir.Call, operands ...int) error {
	for _, i := range operands {
		if c.Has(i) && c.Syms.Equal(c.Tensor(i).Size(), sym.Const(1)) == sym.False {
			o, _ := c.Op.Operand(i)
			return c.Errorf("operand %d (%s) has shape %s, it takes one element", i, o.Name, ir.ShapeString(c.Dims(i)))
		}
	}
	return nil
}

// loadSingle reads operand i, of one element.
func loadSingle(b *ir.Body, i int) *ir.Scalar { return b.Load(b.In(i), origin(len(b.In(i).Dims))...) }

// origin is the first index of a tensor of rank n.
func origin(n int) []*ir.Scalar {
	ix := make([]*ir.Scalar, n)
	for i := range ix {
		ix[i] = ir.IntLit(0)
	}
	return ix
}

func canBroadcast(ctx *sym.Context, a, b sym.Expr) bool {
	one := sym.Const(1)
	if a.IsInt(1) || b.IsInt(1) || a.Equal(b) { // what needs no proof is most of what there is
		return true
	}
	return ctx.Equal(a, b) != sym.False || ctx.Equal(a, one) != sym.False || ctx.Equal(b, one) != sym.False
}

func broadcastDim(ctx *sym.Context, a, b sym.Expr) sym.Expr {
	switch {
	case b.IsInt(1):
		return a
	case a.IsInt(1):
		return b
	case ctx.Equal(a, b) == sym.True:
		return a
	}
	if ctx.Swallows(b, a) {
		return b
	}
	if ctx.Swallows(a, b) {
		return a
	}
	return ctx.Simplify(sym.Broadcast(a, b))
}

// isDimOf says whether d is written like this in one of the shapes.
func isDimOf(shapes [][]sym.Expr, d sym.Expr) bool {
	for _, s := range shapes {
		if slices.ContainsFunc(s, d.Equal) {
			return true
		}
	}
	return false
}

// maxBroadcast is the length of a broadcast dim's text above which it is not carried on.
const maxBroadcast = 80

func shapesString(shapes [][]sym.Expr) string {
	s := ""
	for i, d := range shapes {
		if i > 0 {
			s += ", "
		}
		s += ir.ShapeString(d)
	}
	return s
}

// elementwise makes a body from a function over scalars.
func elementwise(f func(c *ir.Call, x []*ir.Scalar) *ir.Scalar) func(*ir.Call, *ir.Body) error {
	return func(c *ir.Call, b *ir.Body) error {
		return b.Elementwise(func(x []*ir.Scalar) []*ir.Scalar { return []*ir.Scalar{f(c, x)} })
	}
}

// unary registers an elementwise operator of one operand.
func unary(name string, versions []int64, types []tensor.DType, doc string, f func(c *ir.Call, x *ir.Scalar) *ir.Scalar, as ...ir.AttrDef) *ir.OpDef {
	return ir.Register(&ir.OpDef{
		Name: name, Doc: doc, Since: versions,
		In: ops(in("X", "T", types)), Out: ops(in("Y", "T", types)), Attrs: as,
		Deduce: sameAs(0),
		Body:   elementwise(func(c *ir.Call, x []*ir.Scalar) *ir.Scalar { return f(c, x[0]) }),
	})
}
