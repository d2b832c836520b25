package op_test

import (
	"context"
	"testing"

	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

func seq(elems ...tensor.Value) *tensor.Sequence { return &tensor.Sequence{Elems: elems} }

// equals runs an operator with every degree of knowledge and compares its result exactly.
func equals(t *testing.T, name string, attrs ir.Attrs, args []tensor.Value, want tensor.Value) {
	t.Helper()
	if got := each(t, name, attrs, 1, args...)[0]; !tensor.Equal(got, want) {
		t.Errorf("%s %v: got %v, want %v", name, attrs, got, want)
	}
}

func TestSequences(t *testing.T) {
	a, b, c := f32(1), f32(2, 3), f32()
	words := tensor.Of([]string{"x", ""}, 2)
	zero, one, last, i32 := tensor.Scalar(int64(0)), tensor.Scalar(int64(1)), tensor.Scalar(int64(-1)), tensor.Scalar(int32(-2))

	equals(t, "SequenceConstruct", nil, list(a, b, c), seq(a, b, c))
	equals(t, "SequenceConstruct", nil, list(words), seq(words))
	equals(t, "SequenceEmpty", nil, nil, seq())
	equals(t, "SequenceLength", nil, list(seq()), zero)
	equals(t, "SequenceLength", nil, list(seq(a, b)), tensor.Scalar(int64(2)))

	equals(t, "SequenceInsert", nil, list(seq(a), b), seq(a, b))
	equals(t, "SequenceInsert", nil, list(seq(a), b, one), seq(a, b)) // the end is a position
	equals(t, "SequenceInsert", nil, list(seq(a, c), b, last), seq(a, b, c))
	equals(t, "SequenceInsert", nil, list(seq(), b, zero), seq(b))
	refuse(t, "SequenceInsert", nil, list(seq(a), b, tensor.Scalar(int64(2))), "position 2 in a sequence of 1 elements")
	refuse(t, "SequenceInsert", nil, list(seq(a), b, i32), "position -2")
	refuse(t, "SequenceInsert", nil, list(seq(a), words), "among elements of type")

	equals(t, "SequenceErase", nil, list(seq(a, b, c)), seq(a, b))
	equals(t, "SequenceErase", nil, list(seq(a, b, c), i32), seq(a, c))
	refuse(t, "SequenceErase", nil, list(seq()), "has none to take away")
	refuse(t, "SequenceErase", nil, list(seq(a), one), "position 1")

	equals(t, "SequenceAt", nil, list(seq(a, b, c), one), b)
	equals(t, "SequenceAt", nil, list(seq(a, b, c), last), c)
	refuse(t, "SequenceAt", nil, list(seq(a), one), "position 1 in a sequence of 1 elements")
	refuse(t, "SequenceAt", nil, list(seq(), zero), "position 0")
	refuse(t, "SequenceAt", nil, list(a, zero), "it takes a sequence")
	refuse(t, "SequenceAt", nil, list(seq(a), ints(0, 1)), "it takes one element")
}

func TestSplitToSequence(t *testing.T) {
	x := shaped(f32(0, 1, 2, 3, 4, 5), 2, 3)
	column := func(v ...float32) tensor.Value { return shaped(f32(v...), 2, int64(len(v)/2)) }
	equals(t, "SplitToSequence", nil, list(x), seq(shaped(f32(0, 1, 2), 1, 3), shaped(f32(3, 4, 5), 1, 3)))
	equals(t, "SplitToSequence", attrs("keepdims", 0, "axis", -1), list(x), seq(f32(0, 3), f32(1, 4), f32(2, 5)))
	// With a size, or sizes, the dim stays.
	equals(t, "SplitToSequence", attrs("keepdims", 0, "axis", 1), list(x, tensor.Scalar(int64(2))), seq(column(0, 1, 3, 4), column(2, 5)))
	equals(t, "SplitToSequence", attrs("axis", 1), list(x, tensor.Scalar(int32(7))), seq(x))
	equals(t, "SplitToSequence", attrs("axis", 1), list(x, ints(1, 0, 2)), seq(column(0, 3), shaped(f32(), 2, 0), column(1, 2, 4, 5)))
	equals(t, "SplitToSequence", nil, list(shaped(f32(), 0, 3)), seq())
	refuse(t, "SplitToSequence", attrs("axis", 1), list(x, ints(1, 1)), "do not add up")
	refuse(t, "SplitToSequence", attrs("axis", 1), list(x, ints(-1, 4)), "do not add up")
	refuse(t, "SplitToSequence", nil, list(x, tensor.Scalar(int64(0))), "chunks of size 0")
	refuse(t, "SplitToSequence", attrs("axis", 2), list(x), "axis 2")
	refuse(t, "SplitToSequence", nil, list(x, shaped(ints(1), 1, 1)), "split has rank 2")
	refuse(t, "SplitToSequence", nil, list(tensor.Scalar(float32(1))), "axis 0")
}

func TestConcatFromSequence(t *testing.T) {
	a, b := shaped(f32(1, 2), 1, 2), shaped(f32(3, 4, 5, 6), 2, 2)
	equals(t, "ConcatFromSequence", attrs("axis", 0), list(seq(a, b)), shaped(f32(1, 2, 3, 4, 5, 6), 3, 2))
	equals(t, "ConcatFromSequence", attrs("axis", -1), list(seq(b, b)), shaped(f32(3, 4, 3, 4, 5, 6, 5, 6), 2, 4))
	equals(t, "ConcatFromSequence", attrs("axis", -1, "new_axis", 1), list(seq(a, a)), shaped(f32(1, 1, 2, 2), 1, 2, 2))
	scalar := tensor.Scalar(float32(7))
	equals(t, "ConcatFromSequence", attrs("axis", 0, "new_axis", 1), list(seq(scalar, scalar)), f32(7, 7))
	tiny := as(tensor.I4, f32(1, -2, 3), 3)
	equals(t, "ConcatFromSequence", attrs("axis", 0), list(seq(tiny, tiny)), as(tensor.I4, f32(1, -2, 3, 1, -2, 3), 6))
	refuse(t, "ConcatFromSequence", attrs("axis", 1), list(seq(a, b)), "do not join")
	refuse(t, "ConcatFromSequence", attrs("axis", 0), list(seq()), "without elements")
	refuse(t, "ConcatFromSequence", attrs("axis", 2), list(seq(a)), "axis 2")
	refuse(t, "ConcatFromSequence", attrs("axis", 0), list(seq(scalar)), "axis 0")
}

func TestOptionals(t *testing.T) {
	some, none := &tensor.Optional{Elem: f32(1)}, &tensor.Optional{}
	yes, no := tensor.Scalar(true), tensor.Scalar(false)
	equals(t, "Optional", nil, list(f32(1)), some)
	equals(t, "Optional", nil, list(seq(f32(1))), &tensor.Optional{Elem: seq(f32(1))})
	equals(t, "Optional", attrs("type", ir.UnrankedOf(tensor.F32)), nil, none)
	refuse(t, "Optional", nil, nil, "neither an operand nor a type")
	refuse(t, "Optional", attrs("type", ir.UnrankedOf(tensor.I64)), list(f32(1)), "among elements of type")

	for _, c := range []struct{ v, want tensor.Value }{{some, yes}, {none, no}, {f32(1), yes}, {f32(), yes}, {seq(), yes}, {nil, no}} {
		equals(t, "OptionalHasElement", nil, list(c.v), c.want)
	}
	equals(t, "OptionalGetElement", nil, list(some), f32(1))
	equals(t, "OptionalGetElement", nil, list(f32(1)), f32(1))
	equals(t, "OptionalGetElement", nil, list(seq()), seq())
	refuse(t, "OptionalGetElement", nil, list(none), "holds nothing")
}

// An element of a sequence has sizes of its own: two of them are not taken for equal.
func TestElementSizes(t *testing.T) {
	m := ir.NewModule("test")
	f := &ir.Func{Name: "main"}
	m.Funcs = append(m.Funcs, f)
	b := ir.NewBuilder(m, f)
	s := b.Param("s", ir.SequenceType{Elem: ir.TensorOf(tensor.F32, sym.Var("n"))})
	first := b.Op("onnx.SequenceAt", []*ir.Value{s, b.Const(tensor.Scalar(int64(0)))})
	second := b.Op("onnx.SequenceAt", []*ir.Value{s, b.Const(tensor.Scalar(int64(1)))})
	b.Return(first, second)
	if err := b.Err(); err != nil {
		t.Fatal(err)
	}
	x, _ := first.Tensor()
	y, _ := second.Tensor()
	if x.Dims[0].Equal(y.Dims[0]) || b.Bound("n") {
		t.Errorf("elements are %s and %s", x, y)
	}
	if err := ir.Verify(m); err != nil {
		t.Fatal(err)
	}
	if _, err := interp.Run(context.Background(), m, list(seq(f32(1), f32(1, 2))), interp.Options{}); err != nil {
		t.Error(err)
	}
}
