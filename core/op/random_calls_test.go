package op_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// Whatever operands and attributes an operator gets: there is an error or a result, never
// a panic, and what is built verifies.
func TestRandomCalls(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var ops []*ir.OpDef
	for _, d := range ir.Registered() {
		if strings.Contains(d.Name, "onnx.") && len(d.Regions) == 0 && len(d.Out) > 0 {
			ops = append(ops, d)
		}
	}
	for range 60 * len(ops) {
		c := randomCall{r: r, op: ops[r.IntN(len(ops))]}
		if err := c.run(); err != nil {
			t.Errorf("%s: %v", c, err)
		}
	}
}

type randomCall struct {
	r     *rand.Rand
	op    *ir.OpDef
	types []ir.Type
	args  []tensor.Value // nil: left out
	attrs ir.Attrs
}

func (c randomCall) String() string {
	s := c.op.Name
	for i, x := range c.args {
		switch x := x.(type) {
		case nil:
			s += " -"
		case *tensor.Tensor:
			s += fmt.Sprintf(" %s%v:%s", x.DType(), x.Shape(), c.types[i])
		default:
			s += fmt.Sprintf(" %v", c.types[i])
		}
	}
	return fmt.Sprint(s, c.attrs)
}

func pick[T any](r *rand.Rand, list ...T) T { return list[r.IntN(len(list))] }

func (c *randomCall) draw() {
	n := len(c.op.In)
	if n > 0 && c.op.In[n-1].Variadic {
		n += c.r.IntN(3) - 1
	}
	vars := map[string]tensor.DType{}
	for i := range n {
		o, _ := c.op.Operand(i)
		if o.Optional && c.r.IntN(3) == 0 {
			c.args, c.types = append(c.args, nil), append(c.types, nil)
			continue
		}
		if o.Types == nil && c.r.IntN(5) > 0 { // any kind of value
			v := c.held()
			c.args, c.types = append(c.args, v), append(c.types, ir.TypeOf(v))
			continue
		}
		d := tensor.F32
		if len(o.Types) > 0 {
			d = pick(c.r, o.Types...)
		}
		if v, ok := vars[o.Var]; ok && o.Var != "" {
			d = v
		}
		vars[o.Var] = d
		shape := make([]int64, pick(c.r, 0, 1, 1, 2, 2, 3, 4))
		dims := make([]sym.Expr, len(shape))
		for j := range shape {
			shape[j] = pick[int64](c.r, 0, 1, 2, 2, 3)
			dims[j] = sym.Const(shape[j])
			if c.r.IntN(2) == 0 { // equal sizes may share a symbol
				dims[j] = sym.Var(fmt.Sprintf("n%d", shape[j]))
			}
		}
		t := ir.TensorOf(d, dims...)
		if c.r.IntN(5) == 0 {
			t = ir.UnrankedOf(d)
		}
		c.args, c.types = append(c.args, c.tensor(d, shape)), append(c.types, t)
	}
	for _, a := range c.op.Attrs {
		if !a.Required && c.r.IntN(3) > 0 {
			continue
		}
		if v := c.attr(a.Zero); v != nil {
			c.attrs = c.attrs.With(a.Name, v)
		}
	}
}

// held draws a sequence or an optional.
func (c *randomCall) held() tensor.Value {
	s := &tensor.Sequence{}
	for range c.r.IntN(4) {
		shape := []int64{2, 1, 3}[:c.r.IntN(4)]
		s.Elems = append(s.Elems, c.tensor(tensor.F32, append([]int64{}, shape...)))
	}
	switch c.r.IntN(5) {
	case 0:
		return &tensor.Optional{}
	case 1:
		return &tensor.Optional{Elem: s}
	}
	return s
}

func (c *randomCall) tensor(d tensor.DType, shape []int64) *tensor.Tensor {
	x := tensor.New(d, shape...)
	for j := range x.Len() {
		switch v := float64(c.r.IntN(7) - 2); {
		case d == tensor.String:
			x.SetStr(j, pick(c.r, "", "1", "a b"))
		case d.IsSigned():
			x.SetFloat(j, v)
		default: // what wraps is a size too large to be allocated
			x.SetFloat(j, max(v, 0))
		}
	}
	return x
}

func (c *randomCall) attr(zero any) any {
	switch zero.(type) {
	case int64:
		return pick[int64](c.r, -3, -2, -1, 0, 1, 1, 2, 3, 7, 10, 16)
	case float64:
		return pick(c.r, 0, 1, -1, 0.5, 3)
	case string:
		return pick(c.r, "", "mean", "none", "ij->i", "ij,jk->ik", "...,i", "LEFT", "linear", "cubic", "border", "max", "TF", "nesterov", "SOFTMAX", "SOFTMAX_ZERO", "constant", "VALID", "SAME_UPPER", "DCR")
	case []int64:
		list := make([]int64, c.r.IntN(4))
		for i := range list {
			list[i] = int64(c.r.IntN(5) - 1)
		}
		return list
	case []float64:
		return []float64{1, 2}[:c.r.IntN(3)]
	case []string:
		return []string{"Tanh", "x"}[:c.r.IntN(3)]
	case *tensor.Tensor:
		return c.tensor(pick(c.r, tensor.F32, tensor.U8, tensor.I64, tensor.String), []int64{int64(c.r.IntN(4))})
	}
	return nil
}

// run says what should not have happened.
func (c *randomCall) run() (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v", p)
		}
	}()
	c.draw()
	m := ir.NewModule("test")
	f := &ir.Func{Name: "main"}
	m.Funcs = append(m.Funcs, f)
	b := ir.NewBuilder(m, f)
	operands := make([]*ir.Value, len(c.args))
	var inputs []tensor.Value
	for i, x := range c.args {
		k, isTensor := x.(*tensor.Tensor)
		switch {
		case x == nil:
		case isTensor && c.r.IntN(3) == 0:
			operands[i] = b.Const(k)
		default:
			operands[i] = b.Param(fmt.Sprintf("x%d", i), c.types[i])
			inputs = append(inputs, x)
		}
	}
	b.Return(b.OpN(len(c.op.Out), c.op.Name, operands, c.attrs)...)
	if b.Err() != nil {
		return nil // refused when it is built
	}
	if err := ir.Verify(m); err != nil {
		return err
	}
	if p, _, err := b.Call(f.Stmts[0]).Program(); err == nil {
		if err := ir.VerifyProgram(p); err != nil {
			return err
		}
	}
	if _, err := interp.Run(context.Background(), m, inputs, interp.Options{MaxBytes: 1 << 24}); err != nil {
		for _, bad := range []string{"it failed", "runtime error", "is not defined for", "the model fixes it"} {
			if strings.Contains(err.Error(), bad) {
				return err
			}
		}
	}
	return nil
}
