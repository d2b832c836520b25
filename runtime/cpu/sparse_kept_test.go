package cpu

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/pitopt/pitopt/core/tensor"
)

// Which zeros are left out is the same whether there is room for what is packed of weights or not: which of several products
// gets the last of it depends on who comes first.
func TestSparseWithoutRoomForWeights(t *testing.T) {
	r := rand.New(rand.NewPCG(23, 24))
	for _, tier := range tiers(t) {
		if tier.features == 0 {
			continue // it packs none
		}
		d := tier.device(1)
		d.tiled.Do(func() { d.table = d.builtIn() })
		var taken way
		d.decided = func(w way) { taken = w }
		for _, weights := range []tensor.DType{tensor.F32, tensor.F16} {
			w := normal(r, 1030, 784)
			load := "W[k, j]"
			if weights != tensor.F32 {
				half := tensor.New(weights, w.Shape()...)
				for i := range w.Len() {
					half.SetFloat(i, w.Float(i))
				}
				w, load = half, "f32(W[k, j])"
			}
			sparse := 0
			for _, m := range []int64{1, 4, 48} {
				p := sparseProgram(t, fmt.Sprintf("program @p(X: [%[1]d, 1030] f32, W: [1030, 784] %[2]s) -> (Y: [%[1]d, 784] f32) {\nY[i < %[1]d, j < 784] = sum(k < 1030) (X[i, k] * %[3]s) sparse(X)\n}", m, weights, load))
				for _, left := range []float64{0.02, 0.1, 0.3, 0.5} {
					x := normal(r, m, 1030)
					drawZeros(r, tensor.Data[float32](x), 1030, 1, 1, left)
					var ways [2]way
					var bits [2]*tensor.Tensor
					for i, room := range []int64{1 << 30, -1 << 30} {
						bits[i] = tensor.New(tensor.F32, m, 784)
						h := &heap{constant: map[int]bool{1: true}, room: room}
						if err := d.Run(context.Background(), kernelProduct, p, nil, []*tensor.Tensor{x, w}, []*tensor.Tensor{bits[i]}, h); err != nil {
							t.Fatal(err)
						}
						ways[i] = taken
					}
					if !ways[0].dense {
						sparse++
					}
					if ways[0] != ways[1] || !sameBits(bits[0], bits[1]) {
						t.Errorf("%s, %d rows of %s, %g left: %+v, and without room %+v", tier.name, m, weights, left, ways[0], ways[1])
					}
				}
			}
			if sparse == 0 {
				t.Errorf("%s, %s: none is left out", tier.name, weights)
			}
		}
		d.Close()
	}
}
