package cpu

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/pitopt/pitopt/core/tensor"
)

// Of a few rows with zeros here and there each is multiplied by itself, by what the built-in table says, with the same bits on
// more threads, and whether there is room for packed weights or not. Where there are hardly any zeros, or weights are not finite, all of the product is computed.
func TestSparseFewRows(t *testing.T) {
	r := rand.New(rand.NewPCG(21, 22))
	for _, tier := range tiers(t) {
		if tier.features == 0 {
			continue // it has one way
		}
		t.Run(tier.name, func(t *testing.T) {
			one, many := tier.inParts(1), tier.inParts(3)
			defer one.Close()
			defer many.Close()
			for _, d := range []*Device{one, many} {
				d.tiled.Do(func() { d.table = d.builtIn() })
			}
			for _, m := range []int64{1, 8, 40} {
				for form, src := range []string{
					fmt.Sprintf("program @p(X: [%[1]d, 1030] f32, W: [1030, 1616] f32) -> (Y: [%[1]d, 1616] f32) {\nY[i < %[1]d, j < 1616] = sum(k < 1030) (X[i, k] * W[k, j]) sparse(X)\n}", m),
					fmt.Sprintf("program @p(X: [%[1]d, 10, 96] f32, W: [96, 10, 1616] f32) -> (Y: [%[1]d, 1616] f32) {\nY[i < %[1]d, j < 1616] = sum(g < 10, k < 96) (X[i, g, k] * W[k, g, j]) sparse(X finite)\n}", m),
					fmt.Sprintf("program @p(X: [%[1]d, 1030] f32, W: [1616, 1030] f32) -> (Y: [%[1]d, 1616] f32) {\nY[i < %[1]d, j < 1616] = sum(k < 1030) (X[i, k] * W[j, k]) sparse(X)\n}", m),
					fmt.Sprintf("program @p(X: [%[1]d, 1030] f32, W: [1616, 1030] f32) -> (Y: [%[1]d, 1616] f32) {\nY[i < %[1]d, j < 1616] = sum(k < 1030) (X[i, k] * (W[j, k] * f32 0.5)) sparse(X)\n}", m),
				} {
					p, plain := sparseProgram(t, src), sparseProgram(t, src[:strings.Index(src, "sparse")]+"\n}")
					for _, left := range []float64{0, 0.02, 0.08, 0.9} {
						args := make([]*tensor.Tensor, 2)
						for i, b := range p.Params {
							dims := make([]int64, len(b.Dims))
							for j, d := range b.Dims {
								dims[j], _ = d.Int()
							}
							args[i] = normal(r, dims...)
						}
						x := tensor.Data[float32](args[0])
						drawZeros(r, x, len(x), 1, 1, left)
						if left == 0.02 {
							clear(x[:len(x)/int(m)*int(m/4)]) // rows that have nothing
						}
						for _, bad := range []bool{false, form != 1} {
							var bits *tensor.Tensor
							if bad {
								w := tensor.Data[float32](args[1])
								w[len(w)/2+3] = float32(math.Inf(1))
							}
							want := tensor.New(tensor.F32, m, 1616)
							if err := one.Run(context.Background(), kernelProduct, plain, nil, args, []*tensor.Tensor{want}, &heap{room: 1 << 30}); err != nil {
								t.Fatal(err)
							}
							for i, d := range []*Device{one, many, one} {
								var taken way
								d.decided = func(w way) { taken = w }
								got := tensor.New(tensor.F32, m, 1616)
								for i := range tensor.Data[float32](got) {
									tensor.Data[float32](got)[i] = 7
								}
								h := &heap{constant: map[int]bool{1: true}, room: []int64{1 << 30, 1 << 30, -1 << 30}[i]}
								if err := d.Run(context.Background(), kernelProduct, p, nil, args, []*tensor.Tensor{got}, h); err != nil {
									t.Fatal(err)
								}
								what := fmt.Sprintf("%d rows, form %d, %g of them left, not finite: %t", m, form, left, bad)
								if !bad && (0 < left && left < 0.1 && !taken.wide || left == 0.9 && !taken.dense) {
									t.Errorf("%s: %v", what, taken)
								}
								if err := tensor.Compare(got, want, tensor.Tolerance{RTol: 1e-4, ATol: 1e-4}); err != nil {
									t.Errorf("%s: %v", what, err)
								}
								if bits != nil && !sameBits(bits, got) {
									t.Errorf("%s: other bits with %d threads, run %d", what, d.threads, i)
								}
								bits = got
							}
						}
					}
				}
			}
		})
	}
}

// Rows whose elements do not lie along k, or lie there backwards, are multiplied one by one as well.
func TestSparseFewRowsBackwards(t *testing.T) {
	r := rand.New(rand.NewPCG(23, 24))
	for _, tier := range tiers(t) {
		if tier.features == 0 {
			continue // it has one way
		}
		d, taken := tier.inParts(2), way{}
		defer d.Close()
		d.decided = func(w way) { taken = w }
		d.weigh = func(w way) float64 {
			if w.wide {
				return 1
			}
			return 100
		}
		for _, src := range []string{
			"program @p(X: [3, 300] f32, W: [300, 64] f32) -> (Y: [3, 64] f32) {\nY[i < 3, j < 64] = sum(k < 300) (X[i, (299 - k)] * W[k, j]) sparse(X finite)\n}",
			"program @p(X: [300, 3] f32, W: [300, 64] f32) -> (Y: [3, 64] f32) {\nY[i < 3, j < 64] = sum(k < 300) (X[k, i] * W[(299 - k), j]) sparse(X finite)\n}",
		} {
			p, plain := sparseProgram(t, src), sparseProgram(t, src[:strings.Index(src, "sparse")]+"\n}")
			m, k := int64(3), int64(300)
			if strings.Contains(src, "X[k") {
				m, k = k, m
			}
			args := []*tensor.Tensor{normal(r, m, k), normal(r, 300, 64)}
			x := tensor.Data[float32](args[0])
			drawZeros(r, x, len(x), 1, 1, 0.2)
			want, got := tensor.New(tensor.F32, 3, 64), tensor.New(tensor.F32, 3, 64)
			if err := d.Run(context.Background(), kernelProduct, plain, nil, args, []*tensor.Tensor{want}, &heap{}); err != nil {
				t.Fatal(err)
			}
			if err := d.Run(context.Background(), kernelProduct, p, nil, args, []*tensor.Tensor{got}, &heap{}); err != nil {
				t.Fatalf("%s: %s: %v", tier.name, src, err)
			}
			if err := tensor.Compare(got, want, tensor.Tolerance{RTol: 1e-4, ATol: 1e-4}); err != nil || !taken.wide {
				t.Errorf("%s: %s: %v, %v", tier.name, src, taken, err)
			}
		}
	}
}

// A part of a factor that has no zeros says of all of it that no block may be left out.
func TestCoverOfAPart(t *testing.T) {
	cut := &blocks{mr: 14, nr: 32}
	for _, depth := range []int{128, 640, 3072} {
		s := &sparse{table: &tableV4, cut: cut, rows: 112, cols: 768, depth: depth, beside: true}
		part := &bitmap{row: 2, bits: slices.Repeat([]uint64{^uint64(0)}, 2*56)}
		s.cover(part, 56, 128)
		for i, d := range s.covers.depths {
			if want := float64(s.rows) * float64(depth) / float64(d); d <= depth && s.covers.blocks[i] != want {
				t.Errorf("of %d terms: %v blocks of %d, not %v", depth, s.covers.blocks[i], d, want)
			}
		}
	}
}
