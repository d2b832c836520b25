package main

import (
	"math"
	"math/rand/v2"
	"slices"
)

// interval is a median with the bounds of its 95 % interval.
type interval struct {
	Median float64 `json:"median"`
	Low    float64 `json:"low"`
	High   float64 `json:"high"`
}

func median(x []float64) float64 {
	if len(x) == 0 {
		return math.NaN()
	}
	x = slices.Sorted(slices.Values(x))
	return (x[(len(x)-1)/2] + x[len(x)/2]) / 2
}

// medianOf gives the median of independent values, and as its interval the narrowest pair of order
// statistics, as far from one end as from the other, between which it is with a probability of at
// least 95 % (binomial, no assumption about the distribution). Of fewer than six values that is
// less than 95 %, and the interval is all of them.
func medianOf(x []float64) interval {
	n := len(x)
	if n == 0 {
		return interval{math.NaN(), math.NaN(), math.NaN()}
	}
	sorted := slices.Sorted(slices.Values(x))
	below, k := math.Exp2(-float64(n)), 0 // P(fewer than k+1 of n values lie below the median)
	for term := below; ; k++ {
		term *= float64(n-k) / float64(k+1)
		if k+1 >= n-1-k || 2*(below+term) > .05 {
			break
		}
		below += term
	}
	return interval{median(x), sorted[k], sorted[n-1-k]}
}

// geomeanOf gives the geometric mean of the medians of several lists, and the middle 95 % of what
// it is when each list is drawn anew from itself (bootstrap, 2,000 times).
func geomeanOf(lists [][]float64) interval {
	mean := func(of func([]float64) float64) float64 {
		sum := 0.
		for _, l := range lists {
			sum += math.Log(of(l))
		}
		return math.Exp(sum / float64(len(lists)))
	}
	r := rand.New(rand.NewPCG(3, 4))
	again := make([]float64, 2000)
	for i := range again {
		again[i] = mean(func(l []float64) float64 {
			drawn := make([]float64, len(l))
			for j := range drawn {
				drawn[j] = l[r.IntN(len(l))]
			}
			return median(drawn)
		})
	}
	slices.Sort(again)
	return interval{mean(median), again[50], again[1949]}
}
