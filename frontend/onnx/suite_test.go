package onnx

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/frontend/onnx/wire"
)

// eachModel calls f for every model below the folder that an environment variable names.
func eachModel(t *testing.T, variable string, f func(t *testing.T, file *wire.File)) {
	dir := os.Getenv(variable)
	if dir == "" {
		t.Skipf("%s is not set: it names a folder of models", variable)
	}
	n := 0
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".onnx" {
			return err
		}
		n++
		file, err := wire.Open(path, wire.Limits{})
		if err != nil {
			t.Errorf("%v", err)
			return nil
		}
		defer file.Close()
		f(t, file)
		return nil
	})
	if err != nil || n == 0 {
		t.Errorf("%d models below %s: %v", n, dir, err)
	}
}

// Every case of the suite imports, with stand-ins for what is not there.
func TestSuiteImports(t *testing.T) {
	eachModel(t, "PITOPT_SUITE", func(t *testing.T, file *wire.File) {
		m, _, err := Import(file)
		if err != nil {
			t.Errorf("%v", err)
		} else if err := ir.Verify(m); err != nil {
			t.Errorf("%s: %v", file.Path, err)
		}
	})
}

// Real models import fully, say nothing that contradicts what is found, and weights
// stay where they are.
func TestModelsImport(t *testing.T) {
	eachModel(t, "PITOPT_MODELS", func(t *testing.T, file *wire.File) {
		m, notes, err := Import(file)
		if err != nil {
			t.Errorf("%v", err)
			return
		}
		for _, s := range Unsupported(m) {
			t.Errorf("%s: %v", file.Path, ir.UnsupportedError(s))
		}
		for _, n := range notes {
			t.Logf("%s: %s: %s", file.Path, n.Node, n.Msg)
		}
		for _, c := range m.Consts {
			if c.Source == nil && c.Tensor.Len() > 1<<16 {
				t.Errorf("%s: the %d elements of %s were copied", file.Path, c.Tensor.Len(), c.Name)
			}
		}
	})
}
