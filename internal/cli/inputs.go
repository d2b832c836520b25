package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/frontend/onnx"
	"github.com/pitopt/pitopt/passes"
)

// inputFlags say what a model is run on.
type inputFlags struct {
	files  map[string]string
	dir    string
	dims   map[string]int64
	states []passes.State // inputs that begin as a session has it, unless they are given
}

func (a *app) inputFlags() *inputFlags {
	f := &inputFlags{files: map[string]string{}, dims: map[string]int64{}}
	a.flags.Func("input", "`NAME=FILE` .npy or a TensorProto .pb; repeatable; inputs that are not given are drawn, states begin empty", func(s string) error {
		name, file, ok := strings.Cut(s, "=")
		if !ok || name == "" || file == "" {
			return errors.New("NAME=FILE")
		}
		if f.files[name] != "" {
			return fmt.Errorf("the only file for input %q", name)
		}
		f.files[name] = file
		return nil
	})
	a.flags.StringVar(&f.dir, "inputs", "", "`DIR` has input_0.pb ... in the model's order")
	a.flags.Func("dim", "`NAME=N` size of a symbolic dim for drawn inputs; repeatable", func(s string) error {
		return f.setDim(s)
	})
	return f
}

func (f *inputFlags) setDim(s string) error {
	name, num, ok := cutLast(s, "=")
	n, err := strconv.ParseInt(num, 10, 64)
	if !ok || name == "" || err != nil || n < 0 {
		return errors.New("NAME=N with a size from 0")
	}
	f.dims[name] = n
	return nil
}

func cutLast(s, sep string) (string, string, bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// values gives every input a value: from files where they are given, drawn otherwise.
// What is drawn is told. budget bounds its bytes; 0: none.
func (f *inputFlags) values(m *ir.Module, seed uint64, budget int64) (map[string]tensor.Value, drawn, error) {
	params := m.Main().Params
	paths, err := f.paths(params)
	if err != nil {
		return nil, drawn{}, err
	}
	have := map[string]tensor.Value{}
	for _, p := range params {
		if path := paths[p.Name]; path != "" {
			if have[p.Name], err = readInput(p, path); err != nil {
				return nil, drawn{}, err
			}
		}
	}
	return f.draw(m, have, paths, seed, budget)
}

// paths are the files of inputs, by name.
func (f *inputFlags) paths(params []*ir.Value) (map[string]string, error) {
	var names []string
	paths := map[string]string{}
	for _, p := range params {
		names = append(names, p.Name)
	}
	if f.dir != "" {
		list, err := os.ReadDir(f.dir)
		if err != nil {
			return nil, diag.New(diag.Usage, "-inputs: %v", withoutPath(err)).In(f.dir)
		}
		for _, e := range list {
			n, ok := inputNumber(e.Name())
			if ok && n >= len(names) {
				return nil, diag.New(diag.Usage, "-inputs: the model has %d inputs, %s is one too many", len(names), filepath.Join(f.dir, e.Name())).Hint("check that the data are of this model")
			}
			if ok {
				paths[names[n]] = filepath.Join(f.dir, e.Name())
			}
		}
		if len(paths) == 0 && len(names) > 0 {
			return nil, diag.New(diag.Usage, "-inputs: %s has no input_0.pb", f.dir).Hint("give files one by one with -input NAME=FILE")
		}
	}
	for _, name := range slices.Sorted(maps.Keys(f.files)) {
		if !slices.Contains(names, name) {
			return nil, diag.New(diag.Usage, "-input: there is no input %q", name).Hint("%s", diag.DidYouMean(name, names))
		}
		paths[name] = f.files[name]
	}
	return paths, nil
}

// inputNumber is the 3 of input_3.pb.
func inputNumber(file string) (int, bool) {
	s, ok := strings.CutPrefix(file, "input_")
	s, ok2 := strings.CutSuffix(s, ".pb")
	n, err := strconv.Atoi(s)
	return n, ok && ok2 && err == nil && n >= 0
}

// readInput reads the file of an input: .npy by its name, else a TensorProto, or what the
// input's type asks for.
func readInput(p *ir.Value, path string) (tensor.Value, error) {
	v, err := readValue(path, p.Type)
	if err != nil {
		e := *diag.As(err, diag.Run)
		e.Msg = fmt.Sprintf("input %q: %s", p.Name, e.Msg)
		return nil, e.In(path)
	}
	return v, nil
}

func readValue(path string, t ir.Type) (tensor.Value, error) {
	st, err := os.Stat(path)
	if err == nil && st.IsDir() {
		return nil, diag.New(diag.Usage, "it is a folder").Hint("-inputs takes a folder")
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, diag.New(diag.Usage, "%v", withoutPath(err)).Hint("check the path")
	}
	if strings.HasSuffix(path, ".npy") {
		x, err := tensor.ReadNPY(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return nil, diag.New(diag.Run, "%v", err)
		}
		return x, nil
	}
	v, err := onnx.DecodeValue(b, t)
	if err != nil {
		return nil, diag.New(diag.Run, "%s", diag.As(err, diag.Run).Msg).Hint("it is read as a protobuf of ONNX; the name of a NumPy file ends in .npy")
	}
	return v, nil
}

// withoutPath is what is wrong with a file, for a message that names it already.
func withoutPath(err error) error {
	var p *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errors.New("there is no such file or folder")
	case errors.As(err, &p):
		return p.Err
	}
	return err
}
