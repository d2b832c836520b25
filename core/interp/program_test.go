package interp

import (
	"context"
	"testing"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

// run verifies and runs a program of constant shapes.
func run(t *testing.T, p *ir.Program, args ...*tensor.Tensor) []*tensor.Tensor {
	t.Helper()
	if err := ir.VerifyProgram(p); err != nil {
		t.Fatal(err)
	}
	out, err := RunProgram(context.Background(), p, make([]int64, len(p.Syms)), args)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// want compares a result with the value it must be.
func want(t *testing.T, got, want *tensor.Tensor) {
	t.Helper()
	if !tensor.Equal(got, want) {
		t.Fatalf("got %s, want %s", got.Format(-1), want.Format(-1))
	}
}

func TestContraction(t *testing.T) {
	x := newProgram("matmul")
	A, B := x.param("A", tensor.F32, 5, 300), x.param("B", tensor.F32, 300, 7)
	i, j, k := ax(5), ax(7), ax(300)
	x.reduce("Y", tensor.F32, []*ir.Axis{i, j}, ir.Sum, []*ir.Axis{k}, ir.Load(A, i.Ix(), k.Ix()).Mul(ir.Load(B, k.Ix(), j.Ix())))
	a, b := ramp(5, 300), ramp(300, 7)
	y := tensor.New(tensor.F32, 5, 7)
	da, db, dy := tensor.Data[float32](a), tensor.Data[float32](b), tensor.Data[float32](y)
	for i := range 5 {
		for j := range 7 {
			for k := range 300 {
				dy[i*7+j] += float32(da[i*300+k] * db[k*7+j])
			}
		}
	}
	want(t, run(t, x.done(), a, b)[0], y)
}
