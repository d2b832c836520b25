package op_test

import (
	"math"
	"testing"

	"github.com/pitopt/pitopt/core/tensor"
)

func TestGemm(t *testing.T) {
	a, b := shaped(f32(1, 2, 3, 4, 5, 6), 2, 3), shaped(f32(1, 0, 0, 1, 1, 1), 3, 2)
	check(t, "Gemm", nil, list(a, b), shaped(f32(4, 5, 10, 11), 2, 2))
	check(t, "Gemm", attrs("alpha", 0.5, "beta", 2.0), list(a, b, f32(1, 2)), shaped(f32(4, 6.5, 7, 9.5), 2, 2))
	check(t, "Gemm", attrs("transA", 1, "transB", 1), list(shaped(f32(1, 2, 3), 3, 1), shaped(f32(1, 1, 1), 1, 3), shaped(f32(10), 1, 1)), shaped(f32(16), 1, 1))
	check(t, "Gemm", attrs("alpha", 2.0), list(shaped(ints(2), 1, 1), shaped(ints(3), 1, 1)), shaped(ints(12), 1, 1))
	check(t, "Gemm", nil, list(tensor.New(tensor.F32, 2, 0), tensor.New(tensor.F32, 0, 1), tensor.Scalar[float32](3)), shaped(f32(3, 3), 2, 1))
	refuse(t, "Gemm", attrs("alpha", 0.5), list(shaped(ints(2), 1, 1), shaped(ints(3), 1, 1)), "unsupported: alpha = 0.5 for i64")
	refuse(t, "Gemm", nil, list(a, a), "inner dims 3 and 2 differ")
	refuse(t, "Gemm", nil, list(a, b, f32(1, 2, 3)), "does not broadcast")
	refuse(t, "Gemm", nil, list(f32(1), b), "two matrices")
}

func TestMatMul(t *testing.T) {
	m := shaped(f32(1, 2, 3, 4), 2, 2)
	check(t, "MatMul", nil, list(m, f32(1, 10)), f32(21, 43))
	check(t, "MatMul", nil, list(f32(1, 10), m), f32(31, 42))
	check(t, "MatMul", nil, list(f32(1, 10), f32(2, 3)), tensor.Scalar[float32](32))
	check(t, "MatMul", nil, list(shaped(f32(1, 2), 2, 1, 1), shaped(f32(3, 4), 1, 1, 2)), shaped(f32(3, 4, 6, 8), 2, 1, 2))
	refuse(t, "MatMul", nil, list(tensor.Scalar[float32](1), m), "scalar is no matrix")
}

func TestEinsum(t *testing.T) {
	a, b := shaped(f32(1, 2, 3, 4), 2, 2), shaped(f32(5, 6, 7, 8), 2, 2)
	eq := func(s string) any { return s }
	for _, c := range []struct {
		equation string
		args     []tensor.Value
		want     *tensor.Tensor
	}{
		{"ij,jk->ik", list(a, b), shaped(f32(19, 22, 43, 50), 2, 2)},
		{"ij,jk", list(a, b), shaped(f32(19, 22, 43, 50), 2, 2)},
		{" ij , kj -> ki", list(a, b), shaped(f32(17, 39, 23, 53), 2, 2)},
		{"ba", list(a), shaped(f32(1, 3, 2, 4), 2, 2)}, // names in order of their codes
		{"ii", list(a), tensor.Scalar[float32](5)},
		{"ii->i", list(a), f32(1, 4)},
		{"ij->", list(a), tensor.Scalar[float32](10)},
		{"i,i,i->i", list(f32(1, 2), f32(3, 4), f32(5, 6)), f32(15, 48)},
		{"i,i", list(f32(1, 2), f32(3)), tensor.Scalar[float32](9)},
		{"...i->...", list(a), f32(3, 7)},
		{"...i,...i", list(a, f32(1, 10)), f32(21, 43)},
		{"i...,i->...", list(a, f32(1, 10)), f32(31, 42)},
		{"...,...", list(shaped(f32(1, 2), 2, 1), f32(3, 4)), shaped(f32(3, 4, 6, 8), 2, 2)},
		{"Aa->aA", list(a), shaped(f32(1, 3, 2, 4), 2, 2)},
		{",i->i", list(tensor.Scalar[float32](2), f32(1, 2)), f32(2, 4)},
		{"ij,jk->ik", list(tensor.New(tensor.F32, 1, 0), tensor.New(tensor.F32, 0, 1)), shaped(f32(0), 1, 1)},
	} {
		check(t, "Einsum", attrs("equation", eq(c.equation)), c.args, c.want)
	}
	for _, c := range []struct {
		equation string
		args     []tensor.Value
		want     string
	}{
		{"ij,jk->ik", list(a), "2 operands, there are 1"},
		{"ijk->i", list(a), "names 3 dims"},
		{"ij->k", list(a), "in no operand"},
		{"ij->ii", list(a), "comes twice"},
		{"ij,jk->ik", list(a, shaped(f32(1, 2, 3), 3, 1)), "do not broadcast"},
		{"ii", list(shaped(f32(1, 2), 1, 2)), "diagonal of dims 1 and 2"},
		{"i1->i", list(a), "no name of a dim"},
		{"....i->i", list(a), "no name of a dim"},
	} {
		refuse(t, "Einsum", attrs("equation", eq(c.equation)), c.args, c.want)
	}
}

func TestContractionTypes(t *testing.T) {
	for _, c := range []struct {
		op, equation string
		in           []string
		want         string
	}{
		{"MatMul", "", []string{"[b, h, s, 64] f32", "[b, h, 64, t] f32"}, "[b, h, s, t] f32"},
		{"MatMul", "", []string{"[b, 64] f32", "[*] f32"}, "[*] f32"},
		{"Einsum", "bhsd,bhtd->bhst", []string{"[b, h, s, 64] f32", "[b, h, t, 64] f32"}, "[b, h, s, t] f32"},
		{"Einsum", "...i,i->...", []string{"[b, s, 8] f32", "[8] f32"}, "[b, s] f32"},
		{"Gemm", "", []string{"[m, k] f32", "[k, n] f32"}, "[m, n] f32"},
	} {
		a := attrs()
		if c.equation != "" {
			a = attrs("equation", c.equation)
		}
		if got := deduce(t, c.op, a, c.in...); got != c.want {
			t.Errorf("%s%q is %s, want %s", c.op, c.in, got, c.want)
		}
	}
}

func TestMatrices(t *testing.T) {
	x := shaped(f32(1, 2, 3, 4, 5, 6), 2, 3)
	check(t, "Trilu", nil, list(x), shaped(f32(1, 2, 3, 0, 5, 6), 2, 3))
	check(t, "Trilu", attrs("upper", 0), list(x, tensor.Scalar[int64](1)), shaped(f32(1, 2, 0, 4, 5, 6), 2, 3))
	check(t, "Trilu", nil, list(x, ints(math.MinInt32)), x)
	check(t, "Trilu", attrs("upper", 0), list(tensor.Of([]string{"a", "b"}, 1, 2)), tensor.Of([]string{"a", ""}, 1, 2))
	check(t, "EyeLike", attrs("k", -1), list(shaped(ints(9, 9, 9, 9), 2, 2)), shaped(ints(0, 0, 1, 0), 2, 2))
	check(t, "EyeLike", attrs("dtype", tensor.Bool), list(shaped(ints(9), 1, 1)), shaped(tensor.Of([]bool{true}), 1, 1))
	check(t, "Det", nil, list(shaped(f32(0, 2, 3, 1, 1, 2, 2, 4), 2, 2, 2)), f32(-6, 0))
	check(t, "Det", nil, list(tensor.New(tensor.F32, 0, 0)), tensor.Scalar[float32](1))
	refuse(t, "Trilu", nil, list(f32(1)), "holds no matrix")
	refuse(t, "Trilu", nil, list(x, ints(1, 2)), "takes one element")
	refuse(t, "Det", nil, list(x), "not square")
	refuse(t, "EyeLike", nil, list(f32(1)), "no matrix")
}

func TestGroupedMatMul(t *testing.T) {
	x := shaped(f32(1, 2, 3, 4, 5, 6), 3, 2)
	w := shaped(f32(1, 0, 0, 1, 2, 1, 1, 0), 2, 2, 2)
	equals(t, "pit.GroupedMatMul", nil, list(x, w, ints(1, 0, 1)), shaped(f32(4, 1, 3, 4, 16, 5), 3, 2))
	equals(t, "pit.GroupedMatMul", attrs("transB", 1), list(x, w, ints(1, 0, 1)), shaped(f32(4, 1, 3, 4, 16, 5), 3, 2))
	equals(t, "pit.GroupedMatMul", nil, list(shaped(f32(), 0, 2), w, shaped(ints(), 0)), shaped(f32(), 0, 2))
	refuse(t, "pit.GroupedMatMul", nil, list(x, w, ints(0, 1)), "do not fit")
	refuse(t, "pit.GroupedMatMul", nil, list(x, shaped(f32(1, 2), 2, 1), ints(0, 1, 0)), "[groups, k, n]")
	refuse(t, "pit.GroupedMatMul", nil, list(x, w, ints(0, 2, 0)), "")
}
