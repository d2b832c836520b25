package cpu

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"testing"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/tensor"
)

// bounded is a heap that refuses what is beyond a number of bytes, and keeps how many there were at most.
type bounded struct {
	heap
	limit      int64 // 0: none
	used, most atomic.Int64
}

func (h *bounded) Alloc(d tensor.DType, shape []int64) (*tensor.Tensor, error) {
	t, err := h.heap.Alloc(d, shape)
	if err != nil {
		return nil, err
	}
	n := h.used.Add(int64(len(t.Bytes())))
	if h.limit > 0 && n > h.limit {
		h.Free(t)
		return nil, diag.New(diag.Run, "no memory")
	}
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

// Where there is no memory for what is found, all of the product is computed.
func TestSparseWithoutMemory(t *testing.T) {
	for _, tier := range tiers(t) {
		if tier.features == 0 {
			continue // it takes none
		}
		for _, src := range []string{
			"program @p(X: [600, 400] f32, W: [400, 64] f32) -> (Y: [600, 64] f32) {\nY[i < 600, j < 64] = sum(k < 400) (X[i, k] * W[k, j]) sparse(X)\n}",
			"program @p(X: [600, 400] f32, W: [400, 64] f32) -> (Y: [600, 64] f32) {\nY[i < 600, j < 64] = sum(k < 400) (max(X[i, k], f32 0) * W[k, j]) sparse(X)\n}",
		} {
			p := sparseProgram(t, src)
			r := rand.New(rand.NewPCG(9, 9))
			x, w := normal(r, 600, 400), normal(r, 400, 64)
			drawZeros(r, tensor.Data[float32](x), 400, 1, 1, 0.3)
			args := []*tensor.Tensor{x, w}
			want, err := interp.RunProgram(context.Background(), p, nil, args)
			if err != nil {
				t.Fatal(err)
			}
			d := tier.device(1)
			d.weigh = func(w way) float64 { return map[bool]float64{true: 1, false: 1e6}[w.list] }
			h := &bounded{}
			got := tensor.New(tensor.F32, 600, 64)
			if err := d.Run(context.Background(), kernelProduct, p, nil, args, []*tensor.Tensor{got}, h); err != nil {
				t.Fatal(err)
			}
			most := h.most.Load()
			for _, part := range []int64{1, 10, 50, 90} {
				h := &bounded{limit: 400<<10 + (most-400<<10)*part/100}
				got := tensor.New(tensor.F32, 600, 64)
				if err := d.Run(context.Background(), kernelProduct, p, nil, args, []*tensor.Tensor{got}, h); err != nil {
					t.Errorf("%s, of %d bytes %d %%: %v", tier.name, most, part, err)
				} else if err := tensor.Compare(got, want[0], tensor.Tolerance{RTol: 1e-4, ATol: 1e-4}); err != nil {
					t.Errorf("%s, of %d bytes %d %%: %v", tier.name, most, part, err)
				}
				if h.live.Load() != 0 {
					t.Errorf("%d tensors were not given back", h.live.Load())
				}
			}
			d.Close()
		}
	}
}
