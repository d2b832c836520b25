package interp

import (
	"context"
	"fmt"
	"math"
	"math/cmplx"
	"strings"
	"testing"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

// apply runs an expression over the elements of lists of one length.
func apply(t *testing.T, expr func(x []*ir.Scalar) *ir.Scalar, args ...*tensor.Tensor) *tensor.Tensor {
	t.Helper()
	b := newProgram("p")
	i := ax(args[0].Len())
	var xs []*ir.Scalar
	for n, a := range args {
		xs = append(xs, ir.Load(b.param(fmt.Sprintf("X%d", n), a.DType(), a.Shape()...), i.Ix()))
	}
	e := expr(xs)
	b.stageMap("Y", e.DType, []*ir.Axis{i}, e)
	return run(t, b.done(), args...)[0]
}

func unary(op ir.ScalarOp) func(x []*ir.Scalar) *ir.Scalar {
	return func(x []*ir.Scalar) *ir.Scalar { return ir.Unary(op, x[0]) }
}

func binary(op ir.ScalarOp) func(x []*ir.Scalar) *ir.Scalar {
	return func(x []*ir.Scalar) *ir.Scalar { return ir.Binary(op, x[0], x[1]) }
}

func list[T tensor.Elem](v ...T) *tensor.Tensor { return tensor.Of(v, int64(len(v))) }

func TestIntegers(t *testing.T) {
	i8 := list[int8]
	for _, c := range []struct {
		op         ir.ScalarOp
		a, b, want *tensor.Tensor
	}{
		{ir.OpAdd, i8(127, -128, 3), i8(1, -1, 4), i8(-128, 127, 7)},
		{ir.OpSub, list[uint8](0, 9), list[uint8](1, 3), list[uint8](255, 6)},
		{ir.OpMul, list[int32](1<<20, -3), list[int32](1<<20, 5), list[int32](0, -15)},
		{ir.OpDiv, i8(7, -7, 7, -128, 5), i8(2, 2, -2, -1, 0), i8(3, -3, -3, -128, 0)},
		{ir.OpFloorDiv, i8(7, -7, 7, -7, 5), i8(2, 2, -2, -2, 0), i8(3, -4, -4, 3, 0)},
		{ir.OpMod, i8(7, -7, 7, -7, 5), i8(3, 3, -3, -3, 0), i8(1, 2, -2, -1, 0)},
		{ir.OpRem, i8(7, -7, 7, -7, 5), i8(3, 3, -3, -3, 0), i8(1, -1, 1, -1, 0)},
		{ir.OpPow, list[int32](2, -2, 3, 0, -1, -1, 2, 10), list[int32](10, 3, 0, 0, -3, -4, -1, 10), list[int32](1024, -8, 1, 1, -1, 1, 0, 1410065408)},
		{ir.OpMin, list[uint64](1<<63, 2), list[uint64](1, 3), list[uint64](1, 2)},
		{ir.OpMax, list[uint64](1<<63, 2), list[uint64](1, 3), list[uint64](1<<63, 3)},
		{ir.OpAnd, list[int16](12, -1), list[int16](10, 255), list[int16](8, 255)},
		{ir.OpOr, list[uint16](12), list[uint16](10), list[uint16](14)},
		{ir.OpXor, list[uint32](12), list[uint32](10), list[uint32](6)},
		{ir.OpShl, i8(1, 1, 1, 1), i8(3, 7, 8, 100), i8(8, -128, 0, 0)},
		{ir.OpShr, list[uint8](200, 200), list[uint8](3, 8), list[uint8](25, 0)},
		{ir.OpShr, i8(-128, -128), i8(3, 8), i8(-16, -1)},
		{ir.OpEq, i8(1, 2), i8(1, 3), list(true, false)},
		{ir.OpNe, i8(1, 2), i8(1, 3), list(false, true)},
		{ir.OpLt, list[uint8](200, 2), list[uint8](100, 3), list(false, true)},
		{ir.OpLe, i8(1, 4), i8(1, 3), list(true, false)},
		{ir.OpGt, i8(1, 4), i8(1, 3), list(false, true)},
		{ir.OpGe, i8(1, 2), i8(1, 3), list(true, false)},
	} {
		t.Run(fmt.Sprint(c.op, c.a.DType()), func(t *testing.T) { want(t, apply(t, binary(c.op), c.a, c.b), c.want) })
	}
	for _, c := range []struct {
		op      ir.ScalarOp
		a, want *tensor.Tensor
	}{
		{ir.OpNeg, i8(5, -128), i8(-5, -128)},
		{ir.OpNeg, list[uint8](5, 0), list[uint8](251, 0)},
		{ir.OpAbs, i8(5, -5, -128), i8(5, 5, -128)},
		{ir.OpNot, list[uint8](1), list[uint8](254)},
		{ir.OpRound, list[int64](7), list[int64](7)},
		{ir.OpIsNaN, list[int32](7), list(false)},
	} {
		t.Run(fmt.Sprint(c.op, c.a.DType()), func(t *testing.T) { want(t, apply(t, unary(c.op), c.a), c.want) })
	}
}

// i64 arithmetic goes another way than that of the other integers.
func TestLongIntegersWrap(t *testing.T) {
	big := list[int64](math.MaxInt64, math.MinInt64, 6)
	want(t, apply(t, func(x []*ir.Scalar) *ir.Scalar { return x[0].Add(ir.IntLit(1)) }, big), list[int64](math.MinInt64, math.MinInt64+1, 7))
	want(t, apply(t, func(x []*ir.Scalar) *ir.Scalar { return x[0].Mul(ir.IntLit(2)).FloorDiv(ir.IntLit(2)) }, big), list[int64](-1, 0, 6))
	want(t, apply(t, func(x []*ir.Scalar) *ir.Scalar { return x[0].Div(x[0].Sub(x[0])) }, big), list[int64](0, 0, 0))
	want(t, apply(t, func(x []*ir.Scalar) *ir.Scalar { return ir.Binary(ir.OpDiv, x[0], ir.IntLit(-1)) }, big), list[int64](-math.MaxInt64, math.MinInt64, -6))
}

var nan, inf = math.NaN(), math.Inf(1)

func TestFloats(t *testing.T) {
	f := list[float64]
	for _, c := range []struct {
		op         ir.ScalarOp
		a, b, want *tensor.Tensor
	}{
		{ir.OpAdd, list[float32](1<<24, 0.5), list[float32](1, 0.25), list[float32](1<<24, 0.75)},
		{ir.OpSub, f(1, inf), f(3, inf), f(-2, nan)},
		{ir.OpMul, f(2, 0), f(3, inf), f(6, nan)},
		{ir.OpDiv, f(1, 1, 0), f(4, 0, 0), f(0.25, inf, nan)},
		{ir.OpFloorDiv, f(7, -7), f(2, 2), f(3, -4)},
		{ir.OpMod, f(7, -7, 7, -7, 1, -6), f(3, 3, -3, -3, 0, 3), f(1, 2, -2, -1, nan, 0)},
		{ir.OpRem, f(7, -7, 7, 1), f(3, 3, -3, 0), f(1, -1, 1, nan)},
		{ir.OpPow, f(2, 2, -8, 0), f(10, -1, 1./3, 0), f(1024, 0.5, nan, 1)},
		{ir.OpMin, f(1, nan, 1), f(2, 1, nan), f(1, nan, nan)},
		{ir.OpMax, f(1, nan, 1), f(2, 1, nan), f(2, nan, nan)},
		{ir.OpAtan2, f(1, -1), f(0, -1), f(math.Pi/2, -3*math.Pi/4)},
		{ir.OpEq, f(1, nan), f(1, nan), list(true, false)},
		{ir.OpNe, f(1, nan), f(1, nan), list(false, true)},
		{ir.OpLt, f(1, nan), f(2, 1), list(true, false)},
		{ir.OpGe, f(1, nan), f(2, 1), list(false, false)},
	} {
		t.Run(fmt.Sprint(c.op), func(t *testing.T) { want(t, apply(t, binary(c.op), c.a, c.b), c.want) })
	}
	x := []float64{0.3, -0.4, 2.5, 3.5, 0, inf, nan}
	for op, fn := range floatFunctions {
		y, x32, y32 := make([]float64, len(x)), make([]float32, len(x)), make([]float32, len(x))
		for i, v := range x {
			x32[i] = float32(v)
			y[i], y32[i] = fn(v), float32(fn(float64(x32[i])))
		}
		t.Run(fmt.Sprint(op), func(t *testing.T) {
			want(t, apply(t, unary(op), f(x...)), f(y...))
			want(t, apply(t, unary(op), list(x32...)), list(y32...))
		})
	}
	want(t, apply(t, unary(ir.OpRound), f(0.5, 1.5, -2.5)), f(0, 2, -2))
	want(t, apply(t, unary(ir.OpAbs), f(-3, math.Copysign(0, -1))), f(3, 0))
	want(t, apply(t, unary(ir.OpNeg), f(-3, 2)), f(3, -2))
	want(t, apply(t, unary(ir.OpIsNaN), f(nan, inf, 0)), list(true, false, false))
	want(t, apply(t, unary(ir.OpErf), f(0.5)), f(math.Erf(0.5)))
}

func TestTruthValues(t *testing.T) {
	a, b := list(false, false, true, true), list(false, true, false, true)
	for op, w := range map[ir.ScalarOp]*tensor.Tensor{
		ir.OpAnd: list(false, false, false, true), ir.OpOr: list(false, true, true, true), ir.OpXor: list(false, true, true, false),
		ir.OpEq: list(true, false, false, true), ir.OpNe: list(false, true, true, false),
	} {
		t.Run(fmt.Sprint(op), func(t *testing.T) { want(t, apply(t, binary(op), a, b), w) })
	}
	want(t, apply(t, unary(ir.OpNot), a), list(true, true, false, false))
}

func TestComplexNumbers(t *testing.T) {
	a, b := list(complex(1, 2), complex(-3, 0)), list(complex(0, 1), complex(2, -1))
	for op, f := range map[ir.ScalarOp]func(x, y complex128) complex128{
		ir.OpAdd: func(x, y complex128) complex128 { return x + y },
		ir.OpSub: func(x, y complex128) complex128 { return x - y },
		ir.OpMul: func(x, y complex128) complex128 { return x * y },
		ir.OpDiv: func(x, y complex128) complex128 { return x / y },
		ir.OpPow: cmplx.Pow,
	} {
		x, y := tensor.Data[complex128](a), tensor.Data[complex128](b)
		t.Run(fmt.Sprint(op), func(t *testing.T) { want(t, apply(t, binary(op), a, b), list(f(x[0], y[0]), f(x[1], y[1]))) })
	}
	z := list(complex64(complex(3, -4)))
	want(t, apply(t, unary(ir.OpAbs), z), list(float32(5)))
	want(t, apply(t, unary(ir.OpReal), z), list(float32(3)))
	want(t, apply(t, unary(ir.OpImag), a), list(2.0, 0.0))
	want(t, apply(t, unary(ir.OpNeg), z), list(complex64(complex(-3, 4))))
	want(t, apply(t, unary(ir.OpExp), list(complex(0, math.Pi/2))), list(cmplx.Exp(complex(0, math.Pi/2))))
	want(t, apply(t, unary(ir.OpIsNaN), list(complex(inf, nan), 1)), list(true, false))
	want(t, apply(t, binary(ir.OpEq), a, a), list(true, true))
	want(t, apply(t, binary(ir.OpComplex), list(float32(1)), list(float32(2))), list(complex64(complex(1, 2))))
	want(t, apply(t, binary(ir.OpComplex), list(1.0), list(2.0)), list(complex(1, 2)))
}

func TestStrings(t *testing.T) {
	a, b := list("x", "yy", ""), list("x", "y", "z")
	want(t, apply(t, binary(ir.OpEq), a, b), list(true, false, false))
	want(t, apply(t, binary(ir.OpLt), a, b), list(false, false, true))
	want(t, apply(t, func(x []*ir.Scalar) *ir.Scalar { return ir.Select(x[0].Eq(x[1]), ir.LitOf(list("same"), 0), x[0]) }, a, b), list("same", "yy", ""))
}

// samples has the awkward values of each element type.
func samples(d tensor.DType) *tensor.Tensor {
	if d == tensor.String {
		return list("1", "-2.5", "1e3", "INF", "-7", "0")
	}
	var t *tensor.Tensor
	switch {
	case d == tensor.Bool:
		return list(true, false)
	case d == tensor.U64:
		return list[uint64](0, 1, math.MaxUint64, 1<<63+12345, 1<<53+1)
	case d.IsInt():
		v := []int64{0, 1, 2, -1, -2, 7, 100, -129, 1 << 15, 1 << 31, -1 << 31, math.MaxInt64, math.MinInt64, 1<<53 + 1}
		t = tensor.New(d, int64(len(v)))
		for i, n := range v {
			t.SetInt(int64(i), n)
		}
	case d.IsComplex():
		t = tensor.New(d, 3)
		for i, z := range []complex128{complex(2.5, 1), complex(0, 3), complex(-1e10, 0)} {
			t.SetComplex(int64(i), z)
		}
	default:
		v := []float64{0, math.Copysign(0, -1), 1, -1, 0.5, 1.5, 2.5, -2.5, 3.4, 65504, 65519, 65520, 70000, 1e-8, 3e-8, 448, 464, 470, 5.9e-8,
			1 << 24, 1<<24 + 2, 3e9, -3e9, 9.3e18, 1.9e19, 1e30, 1e39, 1e300, inf, -inf, nan, 0.1, 1.0009765625, 1.00048828125}
		t = tensor.New(d, int64(len(v)))
		for i, x := range v {
			t.SetFloat(int64(i), x)
		}
	}
	return t
}

// TestCasts compares every conversion with tensor.Convert, bit by bit; with it goes
// reading and writing every element type.
func TestCasts(t *testing.T) {
	for _, from := range tensor.DTypes() {
		for _, to := range tensor.DTypes() {
			for _, o := range []tensor.CastOpts{{}, {NoSaturate: true}, {RoundMode: "nearest"}} {
				x := samples(from)
				w, err := tensor.Convert(x, to, o)
				if err != nil {
					t.Fatal(err)
				}
				got := apply(t, func(x []*ir.Scalar) *ir.Scalar { return ir.Cast(x[0], to, o) }, x)
				if !tensor.Equal(got, w) {
					t.Errorf("%s to %s under %+v of %s: got %s, want %s", from, to, o, x.Format(-1), got.Format(-1), w.Format(-1))
				}
			}
		}
	}
}

func TestCastOfNoNumber(t *testing.T) {
	b := newProgram("p")
	i := ax(1)
	b.stageMap("Y", tensor.F32, []*ir.Axis{i}, ir.Load(b.param("X", tensor.String, 1), i.Ix()).To(tensor.F32))
	_, err := RunProgram(context.Background(), b.done(), nil, []*tensor.Tensor{list("one")})
	if err == nil || !strings.Contains(err.Error(), `"one" is no number`) {
		t.Fatalf("got %v", err)
	}
}

func TestUndefinedOperation(t *testing.T) {
	b := newProgram("p")
	i := ax(1)
	b.stageMap("Y", tensor.I32, []*ir.Axis{i}, ir.Unary(ir.OpExp, ir.Load(b.param("X", tensor.I32, 1), i.Ix())))
	_, err := RunProgram(context.Background(), b.done(), nil, []*tensor.Tensor{list[int32](1)})
	if err == nil || !strings.Contains(err.Error(), "exp is not defined for i32") {
		t.Fatalf("got %v", err)
	}
}
