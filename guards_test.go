package pitopt

import (
	"bytes"
	"context"
	"testing"

	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/runtime"
	"github.com/pitopt/pitopt/runtime/guards"
)

// A whole model between guards, on every tier: it reads and writes nothing beside its buffers, and gives the same bits.
func TestModelBetweenGuards(t *testing.T) {
	if !guards.Works {
		t.Skip("there are no guards on this system")
	}
	run := func(seq int64) []byte {
		m, err := Load("examples/encoder/model.onnx", Threads(1))
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		ids, mask := tensor.New(tensor.I64, 3, seq), tensor.New(tensor.I64, 3, seq)
		for i := range ids.Len() {
			ids.SetInt(i, i*7%50)
			mask.SetInt(i, min(1, i%5))
		}
		out, err := m.Run(context.Background(), map[string]*tensor.Tensor{"input_ids": ids, "attention_mask": mask})
		if err != nil {
			t.Fatal(err)
		}
		return out["embedding"].Bytes()
	}
	was := around
	defer func() { around = was }()
	for _, level := range []string{"", "avx2", "portable"} {
		t.Setenv("PITOPT_CPU", level)
		for _, seq := range []int64{1, 7, 33} {
			around = was
			want := run(seq)
			for _, side := range []guards.Side{guards.Behind, guards.Before} {
				around = func(d runtime.Device) runtime.Device { return guards.New(d, side) }
				if got := run(seq); !bytes.Equal(got, want) {
					t.Errorf("PITOPT_CPU=%s, %d tokens: with guards the result is another one", level, seq)
				}
			}
		}
	}
}
