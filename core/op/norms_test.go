package op_test

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

func TestNorm(t *testing.T) {
	scalar := func(v float64) tensor.Value { return tensor.Scalar(v) }
	part := func(axis, n int64) ir.Attrs { return ir.MakeAttrs("axis", axis, "part", n) }
	rounded := func(sum, size float64, rows int) tensor.Value { return scalar(sum + size*0x1p-21*float64(rows+64)) }
	m := shaped(f32(3, 0, 0, 4, 0, 0), 2, 3) // columns (3, 4), (0, 0), (0, 0)
	check(t, "pit.Norm", part(0, 1), list(m), scalar(5), scalar(0))
	check(t, "pit.Norm", part(0, 3), list(m), scalar(5), scalar(0))
	check(t, "pit.Norm", part(1, 1), list(m), scalar(4), scalar(0))
	check(t, "pit.Norm", part(1, 2), list(m), scalar(5), scalar(0))
	check(t, "pit.Norm", part(0, 2), list(shaped(f32(3, 0, 0, 4), 2, 2)), scalar(math.Pow(6561+65536, 1./8)), scalar(0)) // of 3 and 4
	check(t, "pit.Norm", part(0, 3), list(m, f32(2, 0)), scalar(6), scalar(0))
	check(t, "pit.Norm", part(0, 3), list(m, nil, f32(1, -1)), scalar(5), rounded(1, 7, 2))
	check(t, "pit.Norm", part(0, 3), list(m, f32(0, 0), f32(1, 1)), scalar(0), rounded(7, 7, 2)) // what is added is multiplied by nothing
	check(t, "pit.Norm", part(0, 1), list(as(tensor.F16, f32(0.5, 2), 1, 2)), scalar(2), scalar(0))
	check(t, "pit.Norm", part(0, 1), list(as(tensor.F16, f32(0.5, nan), 1, 2)), scalar(math.NaN()), scalar(math.NaN()))
	check(t, "pit.Norm", part(0, 2), list(shaped(f32(0.5, nan), 1, 2)), scalar(math.NaN()), scalar(math.NaN()))
	check(t, "pit.Norm", part(0, 2), list(shaped(f32(0.5, -inf), 1, 2), nil, f32(1)), scalar(math.Inf(1)), scalar(math.Inf(1)))
	check(t, "pit.Norm", part(0, 2), list(shaped(f32(3e38, 1e-40), 1, 2)), scalar(float64(float32(3e38))), scalar(0))
	check(t, "pit.Norm", part(0, 2), list(tensor.New(tensor.F32, 0, 4)), scalar(0), scalar(0))
	check(t, "pit.Norm", part(0, 2), list(tensor.New(tensor.F32, 4, 0)), scalar(0), scalar(0))
	check(t, "pit.Norm", part(0, 1), list(shaped(f32(1, 1, 1), 3, 1), nil, f32(1e6, 0, -1e6)), scalar(math.Sqrt(3)), rounded(0, 2e6, 3))
	refuse(t, "pit.Norm", part(0, 2), list(m), "parts of 2 columns of 3")
	refuse(t, "pit.Norm", part(0, 0), list(m), "parts of 0 columns of 3")
	refuse(t, "pit.Norm", part(2, 1), list(m), "axis 2 of a tensor of rank 2")
	refuse(t, "pit.Norm", part(0, 1), list(m, f32(1, 2, 3)), "3 elements for 2 rows")
}

// No vector becomes longer than a norm says, and one nearly as long as it says, where it looks at products of columns: those of a part
// are the least to miss.
func TestNormBounds(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 4))
	for range 60 {
		rows, part, parts, axis := 1+rng.Int64N(40), 1+rng.Int64N(40), 1+rng.Int64N(3), rng.Int64N(2)
		if rng.IntN(8) == 0 {
			part = 130
		}
		columns := part * parts
		w := tensor.New(tensor.F32, []int64{rows, columns}[axis], []int64{columns, rows}[axis])
		at := func(r, c int64) float64 {
			if axis == 1 {
				r, c = c, r
			}
			return w.Float(r*w.Shape()[1] + c)
		}
		for i := range w.Len() {
			w.SetFloat(i, rng.NormFloat64())
		}
		if rng.IntN(2) == 0 { // one direction is longer than others
			for i := range w.Len() {
				w.SetFloat(i, w.Float(i)+10)
			}
		}
		gain, shift := tensor.New(tensor.F32, rows), tensor.New(tensor.F32, rows)
		for i := range rows {
			gain.SetFloat(i, rng.NormFloat64())
			shift.SetFloat(i, rng.NormFloat64())
		}
		out := each(t, "pit.Norm", ir.MakeAttrs("axis", axis, "part", part), 2, w, gain, shift)
		norm, shifted := out[0].(*tensor.Tensor).Float(0), out[1].(*tensor.Tensor).Float(0)
		most, added := 0.0, 0.0
		for p := range parts {
			x := make([]float64, rows)
			for i := range x {
				x[i] = rng.NormFloat64()
			}
			length := 0.0
			for range 200 { // of power iteration
				y := make([]float64, part)
				for c := range y {
					for r := range x {
						y[c] += x[r] * gain.Float(int64(r)) * at(int64(r), p*part+int64(c))
					}
				}
				length = size(y) / size(x)
				for r := range x {
					x[r] = 0
					for c := range y {
						x[r] += y[c] * gain.Float(int64(r)) * at(int64(r), p*part+int64(c))
					}
				}
				by := size(x)
				for r := range x {
					x[r] /= by
				}
			}
			most = max(most, length)
			y := make([]float64, part)
			for c := range y {
				rounded := 0.0
				for r := range rows {
					v := shift.Float(r) * at(r, p*part+int64(c))
					y[c] += v
					rounded += math.Abs(v) * 0x1p-21 * float64(rows+64)
				}
				y[c] = math.Abs(y[c]) + rounded
			}
			added = max(added, size(y))
		}
		if !(norm >= most*(1-1e-12)) || part <= 128 && norm > most*math.Pow(float64(min(part, rows)), 1./8)*1.01 {
			t.Errorf("[%d, %d] in parts of %d along %d: norm %g, a vector becomes %g long", rows, columns, part, axis, norm, most)
		}
		if !(math.Abs(shifted-added) <= 1e-6*added) {
			t.Errorf("[%d, %d] in parts of %d along %d: what is added becomes %g long, not %g", rows, columns, part, axis, added, shifted)
		}
	}
}

func size(x []float64) float64 {
	sum := 0.0
	for _, v := range x {
		sum += v * v
	}
	return math.Sqrt(sum)
}
