package wire

import (
	"errors"
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
// and must not be used after Close.
type File struct {
	Path  string
	Model *Model

	data  []byte
	mu    sync.Mutex
	maps  map[string]*mapping // external data files
	unmap func() error
}

type mapping struct {
	data  []byte
	unmap func() error
}

// Open maps a model and decodes its structure; tensors are not touched.
func Open(name string, lim Limits) (*File, error) {
	data, unmap, err := mapFile(name)
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
		return diag.New(diag.Malformed, "there is no such file").In(name).Hint("check the path")
	}
	return diag.New(diag.Malformed, "can not be read: %v", err).In(name)
}

// FromBytes is a file that is in memory already. External data are looked for beside
// path, where that is not empty.
func FromBytes(path string, b []byte, lim Limits) (*File, error) {
	m, err := Decode(b, lim)
	if err != nil {
		return nil, diag.As(err, diag.Malformed).In(path)
	}
	return &File{Path: path, Model: m, data: b}, nil
}

// Close unmaps the file and its external data.
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

// Source tells where bytes that view the file lie: the file's path and the offset.
// ok is false for bytes that are not of this file.
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

// external gives the external data of a tensor: a range of a file beside the model.
func (f *File) external(t *Tensor, want int64) ([]byte, error) {
	var location string
	var offset int64
	length := want
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
			return nil, t.Errorf("its external data have %s %q", e.Key, e.Value)
		}
	}
	if length != want {
		return nil, t.Errorf("its external data have %d bytes, shape %v takes %d", length, t.Dims, want)
	}
	local := path.Clean(strings.ReplaceAll(location, "\\", "/"))
	if location == "" || !filepath.IsLocal(filepath.FromSlash(local)) {
		return nil, t.Errorf("its external data lie at %q, which is not in the model's folder", location).
			Hint("external data must be files beside the model")
	}
	data, err := f.mapExternal(local)
	if err != nil {
		return nil, t.Errorf("its external data %q: %v", location, err)
	}
	if offset > int64(len(data)) || length > int64(len(data))-offset {
		return nil, t.Errorf("its external data are bytes %d to %d of %q, which has %d", offset, offset+length, location, len(data))
	}
	return data[offset : offset+length : offset+length], nil
}

// mapExternal maps a file of the model's folder, once. A link that leads out of the
// folder, and a file with a second name elsewhere, are refused: they may be anything.
func (f *File) mapExternal(local string) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	name := filepath.Join(filepath.Dir(f.Path), filepath.FromSlash(local))
	if m := f.maps[name]; m != nil {
		return m.data, nil
	}
	root, err := os.OpenRoot(filepath.Dir(f.Path))
	if err != nil {
		return nil, err
	}
	defer root.Close()
	file, err := root.Open(filepath.FromSlash(local)) // refuses links that lead out
	if err != nil {
		return nil, err
	}
	defer file.Close()
	st, err := file.Stat()
	if err != nil {
		return nil, err
	}
	if !st.Mode().IsRegular() {
		return nil, errors.New("it is no regular file")
	}
	if n := links(st); n > 1 {
		return nil, errors.New("it has a second name (hard link), which may lie outside the model's folder; copy it")
	}
	data, unmap, err := mapOpen(file, st.Size())
	if err != nil {
		return nil, err
	}
	if f.maps == nil {
		f.maps = map[string]*mapping{}
	}
	f.maps[name] = &mapping{data, unmap}
	return data, nil
}

// within gives the offset of b in outer, if that is where it lies.
func within(outer, b []byte) (int64, bool) {
	if len(outer) == 0 || len(b) == 0 {
		return 0, false
	}
	off := uintptr(unsafe.Pointer(&b[0])) - uintptr(unsafe.Pointer(&outer[0]))
	return int64(off), off <= uintptr(len(outer)-len(b))
}
