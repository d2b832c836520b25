package builtin_test

import (
	"fmt"
	"testing"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/runtime/cpu"
)

// TestDispatchWindows holds what is chosen for convolutions of which no size is known against
// windows and strides: what they give is not taken for nothing because a window is longer than
// what a size counts as.
func TestDispatchWindows(t *testing.T) {
	device := cpu.New(1)
	defer device.Close()
	for _, c := range []struct {
		dims, length string
		window       int64
		product      bool
	}{
		{"", "n", 3, true},
		{"", "n", 256, true},
		{"", "n", 5000, true},
		{"", "n + m", 300, true},
		{"dims n in [0, 500]", "n", 400, true},  // the middle is too short, the end is not
		{"dims n in [0, 200]", "n", 256, false}, // there is never anything to compute
		{"", "n", 1 << 21, false},               // longer than all that is tried
	} {
		name := fmt.Sprintf("%d over %s %s", c.window, c.length, c.dims)
		m := parseModule(t, name, fmt.Sprintf(`module {
			%s
			func @main(%%x: [b, 1, %s] f32, %%w: [8, 1, %d] f32, %%v: [8, 8, 3] f32, %%q: [m] f32) -> ([*] f32) {
				%%y: [*] f32 = onnx.Conv(%%x, %%w) {strides = [%d]}
				%%z: [*] f32 = onnx.Conv(%%y, %%v) {strides = [2], pads = [1, 1]}
				return %%z
			}
		}`, c.dims, c.length, c.window, max(c.window/2, 1)))
		if _, err := runPassesFor(device.Target(), m, []casePass{{name: "deduce"}, {name: "legalize"}, {name: "fuse"}, {name: "dispatch"}}); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		products := 0
		m.Main().Walk(func(s *ir.Stmt) {
			if _, ok := s.Callee.(*ir.Kernel); ok {
				products++
			}
		})
		if want := map[bool]int{true: 2}[c.product]; products != want {
			t.Errorf("%s: %d of 2 convolutions go to the kernel, want %d", name, products, want)
		}
	}
}
