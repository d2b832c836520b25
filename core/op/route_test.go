package op_test

import (
	"math"
	"testing"
)

func TestRoute(t *testing.T) {
	const name = "pit.Route"
	x := shaped(f32(0, 1, 2, 1, 3, 3, 3, 3), 2, 4)
	e, e2 := float32(math.E), float32(math.E*math.E)
	all := 1 + 2*e + e2
	check(t, name, nil, list(x), shaped(f32(e2/all, 0.25), 2, 1), shaped(ints(2, 0), 2, 1))
	check(t, name, attrs("k", 3), list(x), shaped(f32(e2/all, e/all, e/all, 0.25, 0.25, 0.25), 2, 3), shaped(ints(2, 1, 3, 0, 1, 2), 2, 3))
	chosen := list(shaped(f32(e/(1+e), 1/(1+e), 0.5, 0.5), 2, 2), shaped(ints(2, 1, 0, 1), 2, 2))
	check(t, name, attrs("k", 2, "normalize", 1), list(x), chosen...)
	check(t, name, attrs("k", 2, "softmax", "chosen"), list(x), chosen...)
	check(t, name, attrs("softmax", "chosen"), list(x), shaped(f32(1, 1), 2, 1), shaped(ints(2, 0), 2, 1))
	check(t, name, attrs("normalize", 1), list(f32(1, 2)), f32(1), ints(1)) // one token
	check(t, name, attrs("k", 2), list(shaped(f32(), 0, 4)), shaped(f32(), 0, 2), shaped(ints(), 0, 2))

	// One logit that is NaN makes all shares NaN, of which the first is the largest; the
	// largest logit is the NaN.
	nan := float32(math.NaN())
	odd := list(f32(0, nan, 1, nan))
	check(t, name, nil, odd, f32(nan), ints(0))
	check(t, name, attrs("k", 2), odd, f32(nan, nan), ints(0, 1))
	check(t, name, attrs("softmax", "chosen"), odd, f32(nan), ints(1))
	check(t, name, attrs("softmax", "chosen", "k", 2), odd, f32(nan, nan), ints(1, 3))

	refuse(t, name, attrs("k", 5), list(x), "k is 5, of 4 experts")
	refuse(t, name, nil, list(shaped(f32(), 2, 0)), "k is 1, of 0 experts")
	refuse(t, name, attrs("k", 0), list(x), "k 0")
	refuse(t, name, attrs("softmax", "none"), list(x), `softmax "none"`)
	refuse(t, name, nil, list(shaped(f32(1))), "logits")
}
