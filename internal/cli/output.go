package cli

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/pitopt/pitopt"
	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/disk"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/core/text"
	"github.com/pitopt/pitopt/frontend/onnx"
)

// notWritten is the error about a file that a flag asked for.
func notWritten(flag string, err error) error {
	return diag.New(diag.Run, "%s: can not be written: %v", flag, withoutTemporary(err))
}

// withoutTemporary leaves a temporary name, which the user has never heard of, out of an
// error.
func withoutTemporary(err error) error {
	var path *fs.PathError
	var link *os.LinkError
	switch {
	case errors.As(err, &path):
		return fmt.Errorf("%s: %w", filepath.Dir(path.Path), path.Err)
	case errors.As(err, &link):
		return fmt.Errorf("%s: %w", link.New, link.Err)
	}
	return err
}

// outputFile is an output that is to be written.
type outputFile struct {
	output, name string
	data         []byte
}

// writeOutputs writes all outputs or none, and gives the path of each. A folder that is
// not there yet appears with all files in it; in one that is there, files are replaced
// when all new ones are complete.
func writeOutputs(dir, format string, m *pitopt.Model, out map[string]tensor.Value) (map[string]string, error) {
	files, err := encodeOutputs(format, m, out)
	if err != nil {
		return nil, err
	}
	paths := map[string]string{}
	for _, f := range files {
		paths[f.output] = filepath.Join(dir, f.name)
	}
	if _, err := os.Stat(dir); errors.Is(err, fs.ErrNotExist) {
		return paths, writeFolder(dir, files)
	}
	var pending []*disk.File
	defer func() {
		for _, p := range pending {
			_ = p.Close()
		}
	}()
	for _, f := range files {
		p, err := disk.Create(filepath.Join(dir, f.name))
		if err == nil {
			pending = append(pending, p)
			_, err = p.Write(f.data)
		}
		if err != nil {
			return nil, notWritten("-output", err)
		}
	}
	for _, p := range pending {
		if err := p.Commit(); err != nil {
			return nil, notWritten("-output", err)
		}
	}
	return paths, nil
}

// writeFolder makes a folder with files in it: it gets its name when it is complete.
func writeFolder(dir string, files []outputFile) error {
	dir = filepath.Clean(dir)
	if err := os.MkdirAll(filepath.Dir(dir), 0o777); err != nil {
		return notWritten("-output", err)
	}
	tmp := filepath.Join(filepath.Dir(dir), fmt.Sprintf(".%s-%d", filepath.Base(dir), os.Getpid()))
	if err := os.Mkdir(tmp, 0o777); err != nil {
		return notWritten("-output", err)
	}
	defer os.RemoveAll(tmp)
	for _, f := range files {
		if err := os.WriteFile(filepath.Join(tmp, f.name), f.data, 0o666); err != nil {
			return notWritten("-output", err)
		}
	}
	if err := os.Rename(tmp, dir); err != nil {
		return notWritten("-output", err)
	}
	return nil
}

// encodeOutputs gives what stands in the file of each output.
func encodeOutputs(format string, m *pitopt.Model, out map[string]tensor.Value) ([]outputFile, error) {
	var files []outputFile
	taken := map[string]bool{}
	for i, o := range m.Outputs() {
		if format == "pb" {
			files = append(files, outputFile{o.Name, fmt.Sprintf("output_%d.pb", i), onnx.EncodeValue(o.Name, out[o.Name])})
			continue
		}
		t, ok := out[o.Name].(*tensor.Tensor)
		if !ok {
			return nil, diag.New(diag.Run, "output %q is no tensor, which .npy can not hold", o.Name).Hint("write it with -output-format pb")
		}
		var b bytes.Buffer
		if err := tensor.WriteNPY(&b, t); err != nil {
			return nil, diag.New(diag.Run, "output %q: %v", o.Name, err)
		}
		name := safeName(o.Name)
		for n := i; name != o.Name && taken[name]; n++ {
			name = fmt.Sprintf("%d_%s", n, safeName(o.Name))
		}
		taken[name] = true
		files = append(files, outputFile{o.Name, name + ".npy", b.Bytes()})
	}
	return files, nil
}

// safeName makes a file name of an output's name, which may be anything.
func safeName(name string) string {
	s := strings.Map(func(r rune) rune {
		if r == '-' || r == '_' || r == '.' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z' {
			return r
		}
		return '_'
	}, name)
	const longest = 200 // of what file systems take
	if len(s) > longest {
		s = s[:longest]
	}
	if strings.Trim(s, ".") == "" || strings.HasPrefix(s, ".") {
		s = "_" + s
	}
	return s
}

// write is -emit.
func (a *app) write(m *pitopt.Model, f *runOptions, asm *assembly) error {
	if f.emit == "onnx" && f.file != "" {
		return onnx.ExportFile(f.file, m.Module())
	}
	var b bytes.Buffer
	switch f.emit {
	case "ir":
		if err := text.Print(&b, m.Module(), text.Options{}); err != nil {
			return err
		}
	case "onnx":
		data, err := onnx.Export(m.Module())
		if err != nil {
			return err
		}
		b.Write(data)
	case "asm":
		asm.print(&b, m)
	case "ptx":
		list, _ := m.PTX()
		b.WriteString(strings.Join(list, "\n"))
	}
	if f.file == "" {
		_, err := a.out.Write(b.Bytes())
		return err
	}
	if err := disk.Write(f.file, b.Bytes()); err != nil {
		return notWritten("-o", err)
	}
	return nil
}
