package cpu

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

// bounded is a heap that keeps how many bytes there were at most.
type bounded struct {
	heap
	used, most atomic.Int64
}

func (h *bounded) Alloc(d tensor.DType, shape []int64) (*tensor.Tensor, error) {
	t, err := h.heap.Alloc(d, shape)
	if err != nil {
		return nil, err
	}
	n := h.used.Add(int64(len(t.Bytes())))
	for most := h.most.Load(); n > most && !h.most.CompareAndSwap(most, n); most = h.most.Load() {
	}
	return t, nil
}

func (h *bounded) Free(t *tensor.Tensor) {
	h.used.Add(-int64(len(t.Bytes())))
	h.heap.Free(t)
}

// Each batch has a way of its own, and takes the place of the one before.
func TestSparseBatches(t *testing.T) {
	const batches = 24
	p := sparseProgram(t, fmt.Sprintf("program @p(X: [%[1]d, 40, 128] f32, W: [%[1]d, 128, 64] f32) -> (Y: [%[1]d, 40, 64] f32) {\nY[b < %[1]d, i < 40, j < 64] = sum(k < 128) (X[b, i, k] * W[b, k, j]) sparse(X finite)\n}", batches))
	r := rand.New(rand.NewPCG(9, 9))
	x, w := normal(r, batches, 40, 128), normal(r, batches, 128, 64)
	drawZeros(r, tensor.Data[float32](x), 128, 1, 16, 0.3)
	args := []*tensor.Tensor{x, w}
	want, err := interp.RunProgram(context.Background(), p, nil, args)
	if err != nil {
		t.Fatal(err)
	}
	for _, tier := range tiers(t) {
		if tier.features == 0 {
			continue // there is one way
		}
		t.Run(tier.name, func(t *testing.T) {
			d := tier.device(1)
			defer d.Close()
			names, weigh := ways(d)
			at := -1
			d.weigh = func(x way) float64 {
				if x.dense {
					at++
				}
				return weigh[at%len(names)](x)
			}
			got := tensor.New(tensor.F32, batches, 40, 64)
			h := &bounded{}
			if err := d.Run(context.Background(), kernelProduct, p, nil, args, []*tensor.Tensor{got}, h); err != nil {
				t.Fatal(err)
			}
			if at != batches-1 {
				t.Fatalf("%d batches were decided", at+1)
			}
			if err := tensor.Compare(got, want[0], tensor.Tolerance{RTol: 1e-4, ATol: 1e-4}); err != nil {
				t.Error(err)
			}
			if most := h.most.Load(); most > 200<<10 {
				t.Errorf("%d bytes were in use at a time", most)
			}
		})
	}
}

// What is planned is enough for every way, so that no way depends on what else is in memory; what is large is gathered
// portion by portion.
func TestSparseIsPlanned(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 9))
	for _, c := range []struct {
		src        string
		m, k, left int64
	}{
		{"program @p(X: [600, 400] f32, W: [400, 64] f32) -> (Y: [600, 64] f32) {\nY[i < 600, j < 64] = sum(k < 400) (X[i, k] * W[k, j]) sparse(X)\n}", 600, 400, 30},
		{"program @p(X: [600, 400] f32, W: [400, 64] f32) -> (Y: [600, 64] f32) {\nY[i < 600, j < 64] = sum(k < 400) (max(X[i, k], f32 0) * W[k, j]) sparse(X)\n}", 600, 400, 30},
		{"program @p(X: [1300, 500] f32, W: [500, 33] f32) -> (Y: [33, 1300] f32) {\nY[j < 33, i < 1300] = sum(k < 500) (X[i, k] * W[k, j]) sparse(X)\n}", 1300, 500, 95},
		{"program @p(X: [70, 9000] f32, W: [9000, 32] f32) -> (Y: [70, 32] f32) {\nY[i < 70, j < 32] = sum(k < 9000) (X[i, k] * W[k, j]) sparse(X)\n}", 70, 9000, 90},
	} {
		p := sparseProgram(t, c.src)
		x := normal(r, c.m, c.k)
		drawZeros(r, tensor.Data[float32](x), int(c.k), 1, 1, float64(c.left)/100)
		var dims [2][]int64
		for i, b := range [2]*ir.Buffer{p.Params[1], p.Results[0]} {
			for _, d := range b.Dims {
				n, _ := d.Int()
				dims[i] = append(dims[i], n)
			}
		}
		w := normal(r, dims[0]...)
		args := []*tensor.Tensor{x, w}
		want, err := interp.RunProgram(context.Background(), p, nil, args)
		if err != nil {
			t.Fatal(err)
		}
		for _, tier := range tiers(t) {
			if tier.features == 0 {
				continue // it takes none
			}
			for _, constant := range []bool{false, true} {
				one, many := tier.inParts(1), tier.inParts(3)
				names, weigh := ways(one)
				for i, name := range names {
					var bits *tensor.Tensor
					for _, d := range []*Device{one, many} {
						d.weigh = weigh[i]
						needs, err := d.Workspace(kernelProduct, p, nil, func(i int) bool { return constant && i == 1 })
						if err != nil {
							t.Fatal(err)
						}
						h := &refusing{planned{heap{constant: map[int]bool{1: constant}, room: 1 << 30}, make([]byte, needs[0])}}
						got := tensor.New(tensor.F32, dims[1]...)
						if err := d.Run(context.Background(), kernelProduct, p, nil, args, []*tensor.Tensor{got}, h); err != nil {
							t.Fatalf("%s, %s: %v\n%s", tier.name, name, err, c.src)
						}
						if err := tensor.Compare(got, want[0], tensor.Tolerance{RTol: 1e-3, ATol: 1e-3}); err != nil {
							t.Errorf("%s, %s: %v\n%s", tier.name, name, err, c.src)
						}
						if bits != nil && !sameBits(bits, got) {
							t.Errorf("%s, %s: other bits with %d threads\n%s", tier.name, name, d.threads, c.src)
						}
						bits = got
					}
				}
				one.Close()
				many.Close()
			}
		}
	}
}

// refusing has what was planned, and no more.
type refusing struct{ planned }

func (r *refusing) Alloc(tensor.DType, []int64) (*tensor.Tensor, error) {
	return nil, diag.New(diag.Run, "it was not planned")
}
