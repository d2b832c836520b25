package wire_test

import (
	"bytes"
	"testing"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/frontend/onnx/wire"
	"github.com/pitopt/pitopt/frontend/onnx/wire/corpus"
)

// FuzzDecode reads bytes as a model: an error is about a malformed model, and what is read
// is written back as it was, and after a change still says the rest.
func FuzzDecode(f *testing.F) {
	f.Add(corpus.Valid())
	for _, c := range corpus.Cases() {
		if len(c.Model) < 1<<16 {
			f.Add(c.Model)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := wire.FromBytes("fuzz.onnx", data, wire.Limits{})
		if err != nil {
			malformed(t, err)
			return
		}
		defer file.Close()
		m := file.Model
		if got := wire.Encode(m); !bytes.Equal(got, data) {
			t.Fatalf("read %x, written %x", data, got)
		}
		if err := wire.Check(m); err != nil {
			malformed(t, err)
		}
		if m.Graph != nil {
			for _, x := range m.Graph.Initializers {
				if _, err := x.Tensor(file); err != nil {
					malformed(t, err)
				}
			}
		}
		m.ProducerName += "x"
		again, err := wire.FromBytes("again.onnx", wire.Encode(m), wire.Limits{})
		if err != nil {
			t.Fatalf("a changed model is not read: %v", err)
		}
		if again.Model.ProducerName != m.ProducerName || (again.Model.Graph == nil) != (m.Graph == nil) {
			t.Fatal("a changed model says something else")
		}
		if m.Graph != nil && !bytes.Equal(wire.Encode(again.Model.Graph), wire.Encode(m.Graph)) {
			t.Fatal("a changed model has another graph")
		}
	})
}

func malformed(t *testing.T, err error) {
	t.Helper()
	if code := diag.CodeOf(err); code != diag.Malformed && code != diag.Unsupported {
		t.Fatalf("code %d: %v", code, err)
	}
}
