package text_test

import (
	"fmt"
	"testing"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/core/text"
)

// programs builds the programs of the registered operators for operands of several
// ranks and element types, as far as an operator takes them.
func programs() []*ir.Program {
	n, m := sym.Var("n"), sym.Var("m")
	shapes := [][]sym.Expr{{}, {n}, {n, m}, {n, n}, {n, sym.Const(3), m}, {sym.Const(2), sym.Const(4), n, m}}
	var out []*ir.Program
	for _, op := range ir.Registered() {
		if op.Body == nil {
			continue
		}
		for _, d := range tensor.DTypes() {
			for _, dims := range shapes {
				for operands := 1; operands <= 4; operands++ {
					if p := program(op, d, dims, operands); p != nil {
						out = append(out, p)
					}
				}
			}
		}
	}
	return out
}

func program(op *ir.OpDef, d tensor.DType, dims []sym.Expr, operands int) *ir.Program {
	c := &ir.Call{Op: op, Syms: sym.NewContext(), In: make([]ir.Type, operands), Want: make([]bool, len(op.Out))}
	for i := range c.In {
		o, ok := op.Operand(i)
		if !ok {
			return nil
		}
		c.In[i] = ir.TensorOf(d, dims...)
		if o.Var != "T" && len(o.Types) > 0 {
			c.In[i] = ir.TensorOf(o.Types[0], dims...)
		}
	}
	for i := range c.Want {
		c.Want[i] = true
	}
	for _, a := range op.Attrs {
		if a.Name == "to" {
			c.Attrs = ir.MakeAttrs("to", tensor.F8E4M3FN, "saturate", 0)
		}
	}
	if c.Infer() != nil {
		return nil
	}
	p, _, err := c.Program()
	if err != nil || ir.VerifyProgram(p) != nil {
		return nil
	}
	return p
}

func TestProgramsOfOperatorsRoundTrip(t *testing.T) {
	ops := map[string]bool{}
	list := programs()
	for _, p := range list {
		ops[p.Name] = true
		src := "module {\n" + p.String() + "}\n"
		m, err := text.Parse("p", []byte(src), nil)
		if err != nil {
			t.Fatalf("%v\n%s", err, src)
		}
		got := m.Programs[0]
		if err := ir.VerifyProgram(got); err != nil {
			t.Fatalf("%v\n%s", err, src)
		}
		if got.String() != p.String() || got.Key() != p.Key() {
			t.Fatalf("got:\n%s\nwant:\n%s", got, p)
		}
	}
	if len(ops) < 90 {
		t.Errorf("only %d operators gave a program", len(ops))
	}
	t.Logf("%d programs of %d operators", len(list), len(ops))
}

// everyScalar has each scalar operation, each monoid and each kind of stage.
func everyScalar() *ir.Program {
	n := sym.Var("n")
	one := []sym.Expr{n}
	x := &ir.Buffer{Name: "x", DType: tensor.F32, Dims: one}
	z := &ir.Buffer{Name: "z", DType: tensor.C64, Dims: one}
	ix := &ir.Buffer{Name: "i64", DType: tensor.I64, Dims: one}
	p := &ir.Program{Name: "every op", Params: []*ir.Buffer{x, z, ix}}
	count := 0
	add := func(s *ir.Stage, types ...tensor.DType) {
		for _, d := range types {
			b := &ir.Buffer{Name: fmt.Sprintf("b%d", count), DType: d, Dims: one}
			count++
			s.Outs = append(s.Outs, b)
			if count%3 == 0 {
				p.Results = append(p.Results, b)
			}
		}
		p.Stages = append(p.Stages, s)
	}
	mapped := func(f func(i *ir.Scalar) *ir.Scalar) {
		a := &ir.Axis{Extent: n}
		e := f(a.Ix())
		add(&ir.Stage{Axes: []*ir.Axis{a}, Exprs: []*ir.Scalar{e}}, e.DType)
	}
	for op := ir.OpAdd; op.String() != "complex"; op++ {
		mapped(func(i *ir.Scalar) *ir.Scalar {
			v := ir.Load(x, i)
			switch {
			case op == ir.OpSelect:
				return ir.Select(v.Lt(v.Const(-1.5)), v, v.Const(1e-30))
			case op >= ir.OpAnd && op <= ir.OpShr && op != ir.OpNot:
				return ir.Binary(op, i, ir.IntLit(-3))
			case op == ir.OpNot:
				return ir.Unary(op, i)
			case op.Arity() == 1:
				return ir.Unary(op, v)
			}
			return ir.Binary(op, v, ir.Lit(tensor.F32, 0.1))
		})
	}
	for _, f := range []func(i *ir.Scalar) *ir.Scalar{
		func(i *ir.Scalar) *ir.Scalar { return ir.Binary(ir.OpComplex, ir.Load(x, i), ir.Load(x, i)) },
		func(i *ir.Scalar) *ir.Scalar { return ir.Unary(ir.OpImag, ir.Load(z, i)) },
		func(i *ir.Scalar) *ir.Scalar { return ir.Load(z, i).Add(ir.Lit(tensor.C64, 2)) },
		func(i *ir.Scalar) *ir.Scalar { return i },
		func(i *ir.Scalar) *ir.Scalar { return ir.SymVal(n.FloorDiv(sym.Const(2))) },
		func(i *ir.Scalar) *ir.Scalar { return ir.Load(x, ir.Bcast(i, n, n.Add(sym.Const(1)))) },
		func(i *ir.Scalar) *ir.Scalar {
			return ir.Guard(i.Lt(ir.IntLit(3)), ir.Load(x, i), ir.Lit(tensor.F32, 0))
		},
		func(i *ir.Scalar) *ir.Scalar {
			return ir.Cast(ir.Load(x, i), tensor.F8E8M0, tensor.CastOpts{NoSaturate: true, RoundMode: "down"})
		},
		func(i *ir.Scalar) *ir.Scalar { return ir.Cast(ir.Load(z, i), tensor.String, tensor.CastOpts{}) },
		func(i *ir.Scalar) *ir.Scalar { return ir.LitOf(tensor.Of([]string{"a\n\"b"}), 0) },
		func(i *ir.Scalar) *ir.Scalar { return ir.Lit(tensor.Bool, 1) },
	} {
		mapped(f)
	}
	for m := ir.Sum; m <= ir.Last; m++ {
		var exprs []*ir.Scalar
		a, k := &ir.Axis{Extent: n}, &ir.Axis{Extent: n.Mul(n)}
		v := ir.Load(x, a.Ix())
		if m == ir.And || m == ir.Or {
			v = v.Lt(v)
		}
		for range m.Inputs() {
			exprs = append(exprs, v)
		}
		outs := []tensor.DType{v.DType, v.DType, v.DType}[:m.Outputs()]
		if m == ir.ArgMax || m == ir.ArgMin {
			exprs[1], outs = k.Ix(), []tensor.DType{v.DType, tensor.I64}
		}
		if m != ir.Last {
			add(&ir.Stage{Kind: ir.ReduceStage, Axes: []*ir.Axis{a}, Red: []*ir.Axis{k}, Monoid: m, Exprs: exprs}, outs...)
		}
		if m.Outputs() != 1 {
			continue
		}
		if m != ir.Last {
			add(&ir.Stage{Kind: ir.ScanStage, Axes: []*ir.Axis{a}, ScanAxis: a, Exclusive: m == ir.Sum, Reverse: m == ir.Prod || m == ir.Sum, Monoid: m, Exprs: exprs}, outs...)
		}
		if v.DType == tensor.F32 {
			u := &ir.Axis{Extent: sym.Const(4)}
			add(&ir.Stage{Kind: ir.ScatterStage, Axes: []*ir.Axis{u}, Monoid: m, Base: x, Index: []*ir.Scalar{ir.Load(ix, u.Ix())}, Exprs: []*ir.Scalar{ir.Lit(tensor.F32, 1)}}, outs...)
		}
	}
	p.Finish()
	return p
}

func TestEveryScalarRoundTrips(t *testing.T) {
	p := everyScalar()
	if err := ir.VerifyProgram(p); err != nil {
		t.Fatal(err)
	}
	src := "module {\n" + p.String() + "}\n"
	got := parse(t, src).Programs[0]
	if err := ir.VerifyProgram(got); err != nil {
		t.Fatal(err)
	}
	if got.String() != p.String() {
		t.Errorf("got:\n%s\nwant:\n%s", got, p)
	}
}
