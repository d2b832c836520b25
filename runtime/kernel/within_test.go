package kernel_test

import (
	"strings"
	"testing"

	"github.com/pitopt/pitopt/runtime/kernel"
	"github.com/pitopt/pitopt/runtime/kernel/kerneltest"
)

// A window that reads where its indices are within their dims can not fail, and compares each once; where the condition
// says too little, the kernel holds the index against its dim.
func TestWithin(t *testing.T) {
	for _, c := range []struct {
		name, condition string
		fails           bool
	}{
		{"within", "(((k + b) - 1) >= 0) & (((k + b) - 1) < {m})", false},
		{"within, and more", "((((k + b) - 1) < {m}) & ((k * 3) < 7)) & (((k + b) - 1) >= 0)", false},
		{"no lower bound", "((k + b) - 1) < {m}", true},
		{"another dim", "(((k + b) - 1) >= 0) & (((k + b) - 1) < {m + 1})", true},
		{"another index", "((k + b) >= 0) & ((k + b) < {m})", true},
		{"either", "(((k + b) - 1) >= 0) | (((k + b) - 1) < {m})", true},
	} {
		src := "program @p[m](x: [m] f32) -> (y: [m] f32) {\ny[k < m] = sum(b < 3) guard((" + c.condition + "), x[((k + b) - 1)], f32 0)\n}"
		k := kernel.New(kerneltest.Program(t, src), kernel.Options{Lanes: 16}).Groups[0].Kernel
		if text := k.String(); k.MayFail != c.fails || strings.Contains(text, " ge ") && !c.fails {
			t.Errorf("%s: fails %v, want %v\n%s", c.name, k.MayFail, c.fails, text)
		}
	}
}
