package wire

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"unsafe"

	"github.com/pitopt/pitopt/core/diag"
)

// File is a model file, mapped into memory. What was decoded from it views the mapping
// and must not be used after Close. The file must not be made shorter meanwhile: reading
// what is gone ends the program. Its methods may be called at the same time.
type File struct {
	Path  string
	Model *Model

	data  []byte
	mu    sync.Mutex
	maps  map[string]*mapping // external data files, by path
	unmap func() error
}

type mapping struct {
	data  []byte
	unmap func() error
}

// Open maps a model and decodes its structure; the values of tensors are not touched.
func Open(name string, lim Limits) (*File, error) {
	file, err := openRegular(name, os.Stat, os.Open)
	if err != nil {
		return nil, openError(name, err)
	}
	defer file.Close()
	data, unmap, err := mapOpen(file)
	if err != nil {
		return nil, openError(name, err)
	}
	f := &File{Path: name, data: data, unmap: unmap}
	if f.Model, err = Decode(data, lim); err != nil {
		_ = unmap()
		return nil, diag.As(err, diag.Malformed).In(name)
	}
	return f, nil
}

func openError(name string, err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return diag.New(diag.Usage, "there is no such file").In(name).Hint("check the path")
	}
	wrong := diag.New(diag.Usage, "can not be read: %v", err).In(name)
	if inside := filepath.Join(name, "model.onnx"); isRegular(inside) { // a folder of a test case
		return wrong.Hint("the model in it is %s", inside)
	}
	return wrong.Hint("a model is a regular file that you may read")
}

func isRegular(name string) bool {
	st, err := os.Stat(name)
	return err == nil && st.Mode().IsRegular()
}

// openRegular opens a file that is none of the special ones. It looks before it opens,
// for opening a pipe waits for a writer.
func openRegular(name string, stat func(string) (fs.FileInfo, error), open func(string) (*os.File, error)) (*os.File, error) {
	st, err := stat(name)
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, errors.New("it is no regular file")
	}
	if size := st.Size(); size != int64(int(size)) {
		return nil, fmt.Errorf("%d bytes do not fit the memory of this machine", size)
	}
	return open(name)
}

// FromBytes is a file that is in memory already; b must stay as it is while the file is
// used. External data are looked for beside path, where that is not empty.
func FromBytes(path string, b []byte, lim Limits) (*File, error) {
	m, err := Decode(b, lim)
	if err != nil {
		return nil, diag.As(err, diag.Malformed).In(path)
	}
	return &File{Path: path, Model: m, data: b}, nil
}

// Close unmaps the file and its external data. It may be called again.
func (f *File) Close() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	var errs []error
	for _, m := range f.maps {
		errs = append(errs, m.unmap())
	}
	f.maps = nil
	if f.unmap != nil {
		errs = append(errs, f.unmap())
		f.unmap = nil
	}
	return errors.Join(errs...)
}

// Source tells where bytes that view the file or its external data lie: the path and the
// offset. ok is false for other bytes.
func (f *File) Source(b []byte) (file string, offset int64, ok bool) {
	if off, ok := within(f.data, b); ok {
		return f.Path, off, true
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for name, m := range f.maps {
		if off, ok := within(m.data, b); ok {
			return name, off, true
		}
	}
	return "", 0, false
}

// within gives the offset of b in outer, if that is where it lies.
func within(outer, b []byte) (int64, bool) {
	if len(b) == 0 || len(b) > len(outer) {
		return 0, false
	}
	off := uintptr(unsafe.Pointer(&b[0])) - uintptr(unsafe.Pointer(&outer[0]))
	return int64(off), off <= uintptr(len(outer)-len(b))
}

// External gives the external data of a tensor as a view: a range of a file in the
// model's folder or below. An absolute path, one that leaves the folder, be it through a
// symbolic link, and a file that has a second name (hard link) are refused: a model from
// somewhere must not read what it pleases. So is a range that is not in the file or does
// not have the size of the tensor.
func (f *File) External(t *Tensor) ([]byte, error) {
	_, _, size, err := t.size()
	if err != nil {
		return nil, err
	}
	return f.external(t, size)
}

// external is External for a tensor of so many bytes; f may be nil.
func (f *File) external(t *Tensor, size int64) ([]byte, error) {
	var location string
	offset, length := int64(0), size
	for _, e := range t.ExternalData {
		var err error
		switch e.Key {
		case "location":
			location = e.Value
		case "offset":
			offset, err = strconv.ParseInt(e.Value, 10, 64)
		case "length":
			length, err = strconv.ParseInt(e.Value, 10, 64)
		}
		if err != nil || offset < 0 || length < 0 {
			return nil, t.Errorf("its external data have %s %q", e.Key, e.Value).Hint("it is a count of bytes")
		}
	}
	if length != size {
		return nil, t.Errorf("its external data have %d bytes, shape %v takes %d", length, t.Dims, size).Hint("export the model again")
	}
	local := path.Clean(strings.ReplaceAll(location, "\\", "/"))
	switch {
	case location == "":
		return nil, t.Errorf("its external data have no location").Hint("export the model again")
	case !filepath.IsLocal(filepath.FromSlash(local)):
		return nil, t.Errorf("its external data lie at %q, which is not in the model's folder", location).
			Hint("put the file beside the model and export it with that name")
	case f == nil || f.Path == "":
		return nil, t.Errorf("its external data lie at %q, and there is no folder in which to look", location).Hint("open the model from its file")
	}
	data, err := f.mapExternal(filepath.FromSlash(local))
	if err != nil {
		if p, ok := errors.AsType[*fs.PathError](err); ok {
			err = p.Err
		}
		return nil, t.Errorf("its external data %q: %v", location, err).
			Hint("put the file itself, or a copy, into %q", filepath.Dir(f.Path))
	}
	if offset > int64(len(data)) || length > int64(len(data))-offset {
		return nil, t.Errorf("its external data are %d bytes from byte %d of %q, which has %d", length, offset, location, len(data)).
			Hint("the file is cut short, or of another model")
	}
	return data[offset : offset+length : offset+length], nil
}

// mapExternal maps a file of the model's folder, once.
func (f *File) mapExternal(local string) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	dir := filepath.Dir(f.Path)
	name := filepath.Join(dir, local)
	if m := f.maps[name]; m != nil {
		return m.data, nil
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	file, err := openRegular(local, root.Stat, root.Open) // root refuses links that lead out
	if err != nil {
		return nil, err
	}
	defer file.Close()
	n, err := links(file)
	if err != nil {
		return nil, err
	}
	if n > 1 {
		return nil, errors.New("it has a second name (hard link), which may lie outside the model's folder")
	}
	data, unmap, err := mapOpen(file)
	if err != nil {
		return nil, err
	}
	if f.maps == nil {
		f.maps = map[string]*mapping{}
	}
	f.maps[name] = &mapping{data, unmap}
	return data, nil
}
