package pitopt

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/text"
	"github.com/pitopt/pitopt/frontend/onnx"
	"github.com/pitopt/pitopt/frontend/onnx/wire"
)

// TextExt is how the names of files end that hold a module in the text form.
const TextExt = ".pit"

// source is the file of a model: ONNX, or a module in the text form.
type source struct {
	path string
	onnx *wire.File // nil: text
	text []byte
}

func openSource(path string) (source, error) {
	if filepath.Ext(path) != TextExt {
		f, err := wire.Open(path, wire.Limits{})
		return source{path: path, onnx: f}, err
	}
	b, err := os.ReadFile(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return source{}, diag.New(diag.Usage, "there is no such file").In(path).Hint("check the path")
	case err != nil:
		return source{}, diag.New(diag.Usage, "can not be read: %v", err).In(path)
	}
	return source{path: path, text: b}, nil
}

// module is what the file holds, with operators that plugins bring.
func (s source) module(ops []*ir.OpDef) (*ir.Module, []onnx.Note, error) {
	if s.onnx != nil {
		return onnx.Import(s.onnx, ops...)
	}
	own := map[string]*ir.OpDef{}
	for _, d := range ops {
		own[d.Name] = d
	}
	m, err := text.Parse(s.path, s.text, func(name string) *ir.OpDef {
		if d := own[name]; d != nil {
			return d
		}
		return ir.Lookup(name)
	})
	if err != nil {
		return nil, nil, err
	}
	if m.Main() == nil {
		return nil, nil, diag.New(diag.Malformed, "the module has no function @main").In(s.path)
	}
	if err := ir.Verify(m); err != nil {
		return nil, nil, diag.As(err, diag.Verifier).In(s.path)
	}
	return m, nil, nil
}

func (s source) Close() error {
	if s.onnx != nil {
		return s.onnx.Close()
	}
	return nil
}
