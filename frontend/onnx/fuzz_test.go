package onnx_test

import (
	"testing"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/frontend/onnx"
	"github.com/pitopt/pitopt/frontend/onnx/wire"
	"github.com/pitopt/pitopt/frontend/onnx/wire/corpus"
)

// FuzzImport imports bytes as a model: an error says what is wrong with the model, and what
// is imported is a valid module.
func FuzzImport(f *testing.F) {
	f.Add(corpus.Valid())
	for _, c := range corpus.Cases() {
		if len(c.Model) < 1<<16 {
			f.Add(c.Model)
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := wire.FromBytes("fuzz.onnx", data, wire.Limits{})
		if err != nil {
			return // FuzzDecode looks at these
		}
		defer file.Close()
		m, _, err := onnx.Import(file)
		if err != nil {
			if code := diag.CodeOf(err); code != diag.Malformed && code != diag.Unsupported {
				t.Fatalf("code %d: %v", code, err)
			}
			return
		}
		if err := ir.Verify(m); err != nil {
			t.Fatal(err)
		}
	})
}
