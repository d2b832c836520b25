package cpu

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/pitopt/pitopt/core/tensor"
)

// Of two factors that may have many zeros, those of the one are left out that make the product faster, whichever stands first.
func TestSparseSides(t *testing.T) {
	for _, tier := range tiers(t) {
		if tier.features == 0 {
			continue // it takes the first one that is worth it
		}
		r := rand.New(rand.NewPCG(15, 16))
		d := tier.device(1)
		head := "program @p(X: [256, 512] f32, W: [768, 512] f32) -> (Y: [256, 768] f32) {\nY[i < 256, j < 768] = sum(k < 512) (X[i, k] * W[j, k]) sparse"
		x, w := normal(r, 256, 512), normal(r, 768, 512)
		drawZeros(r, tensor.Data[float32](x), 512, 14, 1, 0.5)
		drawZeros(r, tensor.Data[float32](w), 512, 32, 64, 0.05)
		taken := map[string]way{}
		for _, hints := range []string{"(X)\n}", "(W)\n}", "(X, W)\n}", "(W, X)\n}"} {
			p := sparseProgram(t, head+hints)
			d.decided = func(w way) { taken[hints] = w }
			if err := d.Run(context.Background(), kernelProduct, p, nil, []*tensor.Tensor{x, w}, []*tensor.Tensor{tensor.New(tensor.F32, 256, 768)}, &heap{room: 1 << 30}); err != nil {
				t.Fatal(err)
			}
		}
		better := taken["(W)\n}"]
		if first := taken["(X)\n}"]; first.dense || better.dense || better.ns > 0.8*first.ns {
			t.Fatalf("%s: zeros of X and of W are left out by %v and %v: there is nothing to choose", tier.name, first, better)
		}
		if taken["(X, W)\n}"] != better || taken["(W, X)\n}"] != better {
			t.Errorf("%s: %v, and not %v", tier.name, taken, better)
		}
		d.Close()
	}
}

// A factor that only looks up where it is by what may have zeros has none to look for: what its own zeros are multiplied by is
// not proved finite.
func TestSparseSideThatLooksUp(t *testing.T) {
	p := sparseProgram(t, `program @p(M: [200] f32, V: [2, 512] f32, X: [256, 200] f32) -> (Y: [256, 512] f32) {
Y[i < 256, j < 512] = sum(k < 200) ((M[k] * X[i, k]) * V[select((M[k] > f32 0), 1, 0), j]) sparse(M finite)
}`)
	r := rand.New(rand.NewPCG(17, 18))
	m, v, x := normal(r, 200), tensor.New(tensor.F32, 2, 512), normal(r, 256, 200) // V is zero
	tensor.Data[float32](m)[5] = float32(math.Inf(1))
	for _, tier := range tiers(t) {
		d := tier.device(1)
		got := tensor.New(tensor.F32, 256, 512)
		if err := d.Run(context.Background(), kernelProduct, p, nil, []*tensor.Tensor{m, v, x}, []*tensor.Tensor{got}, &heap{room: 1 << 30}); err != nil {
			t.Fatal(err)
		}
		for i, y := range tensor.Data[float32](got) {
			if y == y {
				t.Errorf("%s: element %d is %g, and infinity times zero is no number", tier.name, i, y)
				break
			}
		}
		d.Close()
	}
}
