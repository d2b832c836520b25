package kernel_test

import (
	"strings"
	"testing"

	"github.com/pitopt/pitopt/runtime/kernel"
	"github.com/pitopt/pitopt/runtime/kernel/kerneltest"
)

// What the stages of a softmax prove of each other, and what takes the proof away.
func TestSoftmaxes(t *testing.T) {
	const head = "program @p[n, m](x: [n, m] f32) -> (y: [n, m] f32, z: [n] f32, w: [n, m] f32) {\n"
	const largest = "a[i < n] f32 = max(l < m) x[i, l]\n"
	const sum = "s[i < n] f32 = sum(l < m) exp((x[i, l] - a[i]))\n"
	const y = "y[i < n, l < m] = (exp((x[i, l] - a[i])) / s[i])\n"
	const rest = "z[i < n] = s[i]\nw[i < n, l < m] = y[i, l]\n}"
	for _, c := range []struct {
		name, src             string
		loose, product, below bool
	}{
		{"in three", head + largest + sum + y + rest, true, true, true},
		{"with weights", head + largest + "e[i < n, l < m] f32 = exp((x[i, l] - a[i]))\ns[i < n] f32 = sum(l < m) e[i, l]\ny[i < n, l < m] = (e[i, l] / s[i])\n" + rest, true, true, true},
		{"NaN counts 0", head + largest + sum + "y[i < n, l < m] = select(isnan((exp((x[i, l] - a[i])) / s[i])), f32 0, (exp((x[i, l] - a[i])) / s[i]))\n" + rest, true, true, true},
		{"the maximum is a result", head + largest + sum + y + "z[i < n] = a[i]\nw[i < n, l < m] = y[i, l]\n}", false, true, true},
		{"weights are a result", head + largest + sum + y + "z[i < n] = s[i]\nw[i < n, l < m] = exp((x[i, l] - a[i]))\n}", false, true, true},
		{"weights are compared", head + largest + sum + y + "z[i < n] = s[i]\nw[i < n, l < m] = select((exp((x[i, l] - a[i])) > f32 0), f32 1, f32 0)\n}", false, true, true},
		{"of something else", head + largest + sum + "y[i < n, l < m] = (exp(((x[i, l] * f32 2) - a[i])) / s[i])\n" + rest, false, false, false},
		{"of part of the sum", head + largest + "s[i < n] f32 = sum(l < m) (exp((x[i, l] - a[i])) * f32(l))\n" + y + rest, false, false, true},
	} {
		s := kernel.New(kerneltest.Program(t, c.src), kernel.Options{Lanes: 16})
		text := ""
		for _, g := range s.Groups {
			text += g.Kernel.String()
		}
		has := func(what string) bool { return strings.Contains(text, what) }
		if loose, product, below := !has(" and "), has("div 1, "), !has("lesser 89, "); loose != c.loose || product != c.product || below != c.below {
			t.Errorf("%s: any maximum %v, a product %v, not cut above %v; want %v, %v, %v\n%s", c.name, loose, product, below, c.loose, c.product, c.below, text)
		}
	}
}

// The second pass fetches what the next row is read from, and what this row is written to; a map needs none.
func TestFetch(t *testing.T) {
	const rows = "program @p[n, m](x: [n, m] f32) -> (y: [n, m] f32) {\ns[i < n] f32 = sum(k < m) x[i, k]\nt[i < n] f32 = sum(k < m) (x[i, k] - s[i])\ny[i < n, k < m] = (x[i, k] - t[i])\n}"
	text := kernel.New(kerneltest.Program(t, rows), kernel.Options{Lanes: 16}).Groups[0].Kernel.String()
	passes := strings.Split(text, "barrier")
	for i, want := range []int{0, 0, 2 * 5, 0} { // a loop by four vectors, and one by one
		if n := strings.Count(passes[i], " fetch "); n != want {
			t.Errorf("%d fetches behind barrier %d, want %d\n%s", n, i, want, text)
		}
	}
	if !strings.Contains(text, "add %0, 1") {
		t.Errorf("no next row\n%s", text)
	}
	text = kernel.New(kerneltest.Program(t, "program @p[n, m](x: [n, m] f32) -> (y: [m, n] f32) {\ny[i < m, k < n] = (x[k, i] + f32 1)\n}"), kernel.Options{Lanes: 16}).Groups[0].Kernel.String()
	if strings.Contains(text, " fetch ") {
		t.Errorf("a map fetches\n%s", text)
	}
}
