package cpu

import (
	"context"
	"math"
	"testing"

	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/tensor"
)

// Sums of integers that overflow are what they are in the stages.
func TestAttentionRangesOverflow(t *testing.T) {
	const n, depth = 70, 8
	for _, x := range []string{
		"select((m >= (start[l] + 1)), score, f32 -inf)",
		"select(((m - start[l]) >= 0), score, f32 -inf)",
		"select((m < start[l]), score, f32 -inf)",
	} {
		p := attentionForm{params: "start: [s] i64", x: x}.program(t, 1)
		sizes := map[string]int64{"b": 1, "h": 1, "g": 1, "s": n, "t": n, "d": depth, "e": depth}
		var bind []int64
		for _, s := range p.Syms {
			bind = append(bind, sizes[s])
		}
		start := tensor.New(tensor.I64, n)
		for i := range int64(n) {
			start.SetInt(i, []int64{math.MaxInt64, 5, math.MinInt64, -3, math.MinInt64 + 30, 1 << 41, 40}[i%7])
		}
		args := []*tensor.Tensor{random(1, n, 1, 1, depth), random(1, n, 1, depth), random(1, n, 1, depth), start}
		want, err := interp.RunProgram(context.Background(), p, bind, args)
		if err != nil {
			t.Fatal(err)
		}
		for _, tier := range tiers(t) {
			d := tier.inParts(2)
			got := tensor.New(tensor.F32, want[0].Shape()...)
			if err := d.Run(context.Background(), kernelProduct, p, bind, args, []*tensor.Tensor{got}, &heap{}); err != nil {
				t.Fatal(err)
			}
			if err := tensor.Compare(got, want[0], tensor.Tolerance{RTol: 3e-5, ATol: 3e-5}); err != nil {
				t.Errorf("%s, %s: %v", tier.name, x, err)
			}
			d.Close()
		}
	}
}
