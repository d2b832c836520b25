package kernel_test

import (
	"testing"

	"github.com/pitopt/pitopt/runtime/kernel"
)

// What is left of X where a mask does nothing is known of masks that are selected by or added, of nothing else.
func TestOpen(t *testing.T) {
	for _, c := range []struct{ x, open string }{
		{"select(mask[l, m], (s[l, m] * f32 0.25), f32 -inf)", "(s[l, m] * f32 0.25)"},
		{"select(mask[l, m], f32 -1e9, s[l, m])", "s[l, m]"},
		{"((s[l, m] / f32 4) + bias[l, m])", "(s[l, m] / f32 4)"},
		{"((bias[l, m] + s[l, m]) * f32 2)", "(s[l, m] * f32 2)"},
		{"(f32 2 * (s[l, m] - bias[l, m]))", "(f32 2 * s[l, m])"},
		{"((tanh(s[l, m]) * f32 30) + bias[l, m])", "(tanh(s[l, m]) * f32 30)"},
		{"((s[l, m] + select((m <= l), f32 0, f32 -inf)) + select(mask[l, m], f32 0, f32 -inf))", "s[l, m]"},
		{"select(mask[l, m], (s[l, m] + select((m <= l), f32 0, f32 -inf)), f32 -inf)", "s[l, m]"},
		{"select(mask[l, m], (s[l, m] + bias[l, m]), (s[l, m] * f32 3))", "select(mask[l, m], s[l, m], (s[l, m] * f32 3))"},
		{"(select(mask[l, m], s[l, m], f32 -1e-45) * f32 0.1)", "(select(mask[l, m], s[l, m], f32 0) * f32 0.1)"},
		{"((s[l, m] + bias[l, m]) + bias[m, l])", ""}, // a sum of 0 is of more than zeros
		{"((s[l, m] + bias[l, m]) + f32 1)", ""},
	} {
		p := programOf(t, `
program @p[n](q: [n, 4] f32, k: [n, 4] f32, v: [n, 4] f32, mask: [n, n] bool, bias: [n, n] f32) -> (o: [n, 4] f32) {
  s[l < n, m < n] f32 = sum(d < 4) (q[l, d] * k[m, d])
  x[l < n, m < n] f32 = `+c.x+`
  top[l < n] f32 = max(m < n) x[l, m]
  e[l < n, m < n] f32 = exp((x[l, m] - top[l]))
  all[l < n] f32 = sum(m < n) e[l, m]
  w[l < n, m < n] f32 = (e[l, m] / all[l])
  o[l < n, d < 4] = sum(m < n) (w[l, m] * v[m, d])
}`)
		list := kernel.Attentions(p)
		if len(list) != 1 {
			t.Fatalf("%s: %d attentions", c.x, len(list))
		}
		got := ""
		if m := list[0].Masking(nil); m == nil {
			t.Errorf("%s: no mask", c.x)
		} else if m.Open != nil {
			got = m.Open.String()
		}
		if got != c.open {
			t.Errorf("%s: open where it is %q, not %q", c.x, got, c.open)
		}
	}
}
