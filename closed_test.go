package pitopt_test

import (
	"context"
	"fmt"
	"os"
	"runtime/debug"
	"testing"

	"github.com/pitopt/pitopt"
	"github.com/pitopt/pitopt/core/tensor"
)

// A model that is closed has given back what was packed of its weights, though Go's collector did not come.
func TestCloseGivesMemoryBack(t *testing.T) {
	const src = `module {
  const @from: [] f32 = {0}
  const @to: [] f32 = {1100000}
  const @by: [] f32 = {1}
  const @shape: [2] i64 = {1100, 1000}
  func @main(%x: [3, 1100] f32) -> ("y": [3, 1000] f32) {
    %all: [1100000] f32 = onnx.Range(@from, @to, @by)
    %w: [1100, 1000] f32 = onnx.Reshape(%all, @shape)
    %y: [3, 1000] f32 = onnx.MatMul(%x, %w)
    return %y
  }
}`
	m := parsed(t, src, pitopt.Threads(1))
	in := map[string]*tensor.Tensor{"x": tensor.New(tensor.F32, 3, 1100)}
	if _, err := m.Run(context.Background(), in); err != nil {
		t.Fatal(err)
	}
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	before := mapped(t)
	m.Close()
	if after := mapped(t); after > before-4<<20 {
		t.Errorf("of %d mapped bytes %d are left", before, after)
	}
	if _, err := m.Run(context.Background(), in); err == nil {
		t.Error("it still runs")
	}
	m.Close()
}

// mapped is how much memory the process has asked for.
func mapped(t *testing.T) int64 {
	data, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skip(err)
	}
	var pages int64
	if _, err := fmt.Sscan(string(data), &pages); err != nil {
		t.Skip(err)
	}
	return pages * int64(os.Getpagesize())
}
