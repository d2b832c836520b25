package op_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/ir"
	_ "github.com/pitopt/pitopt/core/op"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// knowledge is how much of an operator's operands is known when its module is built.
type knowledge int

const (
	exact     knowledge = iota // types have numbers
	constants                  // the contents too
	symbolic                   // every dim is a symbol of its own
	unranked                   // not even the rank
	lowered                    // as symbolic, and what can be a tensor program is one; lists of integers are constants
	numKnowledge
)

func (k knowledge) String() string {
	return [...]string{"exact", "constants", "symbolic", "unranked", "lowered"}[k]
}

// fullName puts a name without namespace into ONNX's.
func fullName(name string) string {
	if strings.Contains(name, ".") {
		return name
	}
	return "onnx." + name
}

// operator makes a module that applies an operator to args, nil entries left out.
func operator(k knowledge, name string, attrs ir.Attrs, results int, args []tensor.Value) (*ir.Module, []tensor.Value, error) {
	m := ir.NewModule("test")
	f := &ir.Func{Name: "main"}
	m.Funcs = append(m.Funcs, f)
	b := ir.NewBuilder(m, f)
	operands := make([]*ir.Value, len(args))
	var inputs []tensor.Value
	for i, a := range args {
		if a == nil {
			continue
		}
		x, isTensor := a.(*tensor.Tensor)
		if isTensor && (k == constants || k == lowered && x.DType() == tensor.I64 && x.Rank() < 2) {
			operands[i] = b.Const(x)
			continue
		}
		t := ir.TypeOf(a)
		switch {
		case isTensor && (k == symbolic || k == lowered):
			dims := make([]sym.Expr, x.Rank())
			for j := range dims {
				dims[j] = sym.Var(fmt.Sprintf("d%d_%d", i, j))
			}
			t = ir.TensorOf(x.DType(), dims...)
		case isTensor && k == unranked:
			t = ir.UnrankedOf(x.DType())
		}
		operands[i] = b.Param(fmt.Sprintf("x%d", i), t)
		inputs = append(inputs, a)
	}
	out := b.OpN(results, fullName(name), operands, attrs)
	b.Return(out...)
	if err := b.Err(); err != nil {
		return nil, nil, err
	}
	if k == lowered {
		if err := lower(m, f); err != nil {
			return nil, nil, err
		}
	}
	return m, inputs, ir.Verify(m)
}

// lower puts a call of its tensor program in the place of a function's only operator.
func lower(m *ir.Module, f *ir.Func) error {
	d := ir.NewDeducer(m)
	d.Params(f.Params)
	s := f.Stmts[0]
	c := d.Call(s)
	p, args, err := c.Program()
	if errors.Is(err, ir.ErrDynamic) || errors.Is(err, ir.ErrNoProgram) {
		return nil
	}
	if err != nil {
		return err
	}
	var bind []sym.Expr
	for _, name := range p.Syms {
		if !c.Bound(name) {
			return nil // the operator defines the symbol, which a call could not
		}
		bind = append(bind, sym.Var(name))
	}
	operands := s.Args
	s.Args = nil
	for _, i := range args {
		s.Args = append(s.Args, operands[i])
	}
	s.Kind, s.Op, s.Attrs, s.Callee, s.Bind = ir.CallStmt, nil, nil, m.AddProgram(p), bind
	return ir.VerifyProgram(p)
}

// each runs an operator with every degree of knowledge, and checks that all give the
// results of the first.
func each(t *testing.T, name string, attrs ir.Attrs, results int, args ...tensor.Value) []tensor.Value {
	t.Helper()
	var first []tensor.Value
	for k := range numKnowledge {
		m, inputs, err := operator(k, name, attrs, results, args)
		if err != nil {
			t.Fatalf("%s, %s: %v", name, k, err)
		}
		got, err := interp.Run(context.Background(), m, inputs, interp.Options{Seed: 7})
		if err != nil {
			t.Fatalf("%s, %s: %v", name, k, err)
		}
		if k == exact {
			first = got
			continue
		}
		for i := range got {
			if !tensor.Equal(got[i], first[i]) {
				t.Fatalf("%s, %s: result %d is %v; with exact types it is %v", name, k, i, got[i], first[i])
			}
		}
	}
	return first
}

// check runs an operator and compares its results within the tolerance of their type.
func check(t *testing.T, name string, attrs ir.Attrs, args []tensor.Value, want ...tensor.Value) {
	t.Helper()
	got := each(t, name, attrs, len(want), args...)
	for i, w := range want {
		if err := tensor.Compare(got[i], w, tensor.DefaultTolerance(w.(*tensor.Tensor).DType())); err != nil {
			t.Errorf("%s %v: result %d: %v", name, attrs, i, err)
		}
	}
}

// refuse checks that an operator does not take its operands, and what it says.
func refuse(t *testing.T, name string, attrs ir.Attrs, args []tensor.Value, want string) {
	t.Helper()
	m, inputs, err := operator(exact, name, attrs, 1, args)
	if err == nil {
		_, err = interp.Run(context.Background(), m, inputs, interp.Options{})
	}
	if err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("%s %v: got error %v, want %q", name, attrs, err, want)
	}
	if code := diag.CodeOf(err); err != nil && code != diag.Malformed && code != diag.Run && code != diag.Unsupported {
		t.Errorf("%s %v: error %v has code %v", name, attrs, err, code)
	}
}

func list(args ...tensor.Value) []tensor.Value { return args }

func ints(v ...int64) *tensor.Tensor { return tensor.Of(append([]int64{}, v...), int64(len(v))) }

func f32(v ...float32) *tensor.Tensor { return tensor.Of(v, int64(len(v))) }

// as gives numbers another element type and shape.
func as(d tensor.DType, x *tensor.Tensor, shape ...int64) *tensor.Tensor {
	y, err := tensor.Convert(x, d, tensor.CastOpts{})
	if err == nil {
		y, err = y.View(shape...)
	}
	if err != nil {
		panic(err)
	}
	return y
}

// shaped gives numbers a shape.
func shaped(x *tensor.Tensor, shape ...int64) *tensor.Tensor { return as(x.DType(), x, shape...) }

var attrs = ir.MakeAttrs

// typed reads a type: "[n, 3] f32", "[*] f32".
func typed(t *testing.T, s string) ir.Type {
	t.Helper()
	shape, name, ok := strings.Cut(strings.TrimPrefix(s, "["), "] ")
	d, known := tensor.ParseDType(name)
	if !ok || !known {
		t.Fatalf("type %q", s)
	}
	if shape == "*" {
		return ir.UnrankedOf(d)
	}
	var dims []sym.Expr
	for _, f := range strings.Split(shape, ",") {
		if f = strings.TrimSpace(f); f != "" {
			dims = append(dims, sym.ParseDim(f))
		}
	}
	return ir.TensorOf(d, dims...)
}

// deduce gives the type of result 0 of an operator on operands of types in its text form;
// an operand may also be a constant, "= 1 2", or left out, "".
func deduce(t *testing.T, name string, attrs ir.Attrs, in ...string) string {
	t.Helper()
	m := ir.NewModule("test")
	f := &ir.Func{Name: "main"}
	b := ir.NewBuilder(m, f)
	args := make([]*ir.Value, len(in))
	for i, s := range in {
		switch v, isConst := strings.CutPrefix(s, "="); {
		case isConst:
			var list []int64
			for _, w := range strings.Fields(v) {
				var n int64
				if _, err := fmt.Sscan(w, &n); err != nil {
					t.Fatal(err)
				}
				list = append(list, n)
			}
			args[i] = b.Ints(list...)
		case s != "":
			args[i] = b.Param(fmt.Sprintf("x%d", i), typed(t, s))
		}
	}
	out := b.OpN(1, fullName(name), args, attrs)
	if err := b.Err(); err != nil {
		return err.Error()
	}
	return out[0].Type.String()
}

// Operands of other element types than an operator takes are told with those that it takes.
func TestElementTypes(t *testing.T) {
	refuse(t, "ReduceSum", nil, list(f32(1, 2), tensor.New(tensor.F32, 0)), "operand 1 (axes) has element type f32, it takes i64")
}
