package kernel_test

import (
	"strings"
	"testing"

	"github.com/pitopt/pitopt/runtime/kernel"
	"github.com/pitopt/pitopt/runtime/kernel/kerneltest"
)

// What goes across the vectors takes four of them at once where it is short, and small windows are no loops.
func TestAcross(t *testing.T) {
	for _, c := range []struct {
		name, results, src string
		abreast            bool
		loops              int
	}{
		{"a sum", "y: [m] f32", "y[j < m] = sum(i < n) x[i, j]", true, 2 + 2},
		{"a sum, and what is made of it", "y: [m] f32", "t[j < m] f32 = sum(i < n) x[i, j]\ny[j < m] = (t[j] / f32({n}))", true, 2 + 2},
		{"a scan", "y: [n, m] f32", "y[i < n, j < m] = scan sum(i) x[i, j]", true, 2 + 2},
		{"a long one", "y: [m] f32", "y[j < m] = sum(i < n) tanh((exp(x[i, j]) + erf(x[i, j])))", false, 2},
		{"a map", "y: [n, m] f32", "y[i < n, j < m] = (x[i, j] + f32 1)", false, 1},
		{"a window", "y: [n, m] f32", "y[i < n, j < m] = sum(k < 3) guard(((i - k) >= 0), x[(i - k), j], f32 0)", false, 2},
		{"a window of what is much", "y: [n, m] f32", "y[i < n, j < m] = sum(k < 3) " + strings.Repeat("tanh(", 9) + "guard(((i - k) >= 0), x[(i - k), j], f32 0)" + strings.Repeat(")", 9), false, 3},
	} {
		p := kerneltest.Program(t, "program @p[n, m](x: [n, m] f32) -> ("+c.results+") {\n"+c.src+"\n}")
		text := kernel.New(p, kernel.Options{Lanes: 16}).Groups[0].Kernel.String()
		abreast := strings.Contains(text, "step 64 {")
		if loops := strings.Count(text, "for %"); abreast != c.abreast || loops != c.loops {
			t.Errorf("%s: four at once %v, %d loops; want %v, %d\n%s", c.name, abreast, loops, c.abreast, c.loops, text)
		}
	}
}
