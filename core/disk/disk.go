// Package disk writes files that appear whole or not at all.
package disk

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
)

// File is a file that is being written beside the one it will replace. Commit gives it its
// name; Close without Commit leaves everything as it was.
type File struct {
	*os.File
	path string // where it goes; "" once it is there
}

// Create starts a file that will be at path, with the permissions of the file that is
// there, if there is one. A symbolic link is followed, and a device or a pipe is written to
// at once, for it must not be replaced. Errors name path's folder, not the temporary file.
func Create(path string) (*File, error) {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	perm := fs.FileMode(0o666)
	st, err := os.Stat(path)
	switch {
	case err != nil:
	case st.IsDir():
		return nil, fmt.Errorf("%s is a folder", path)
	case !st.Mode().IsRegular():
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		return &File{File: f}, err
	default:
		perm = st.Mode().Perm()
	}
	const tries = 1000 // of names that others may have taken
	for range tries {
		name := filepath.Join(filepath.Dir(path), fmt.Sprintf(".%s-%08x", filepath.Base(path), rand.Uint32()))
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, perm)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, named(path, err)
		}
		if st != nil { // the umask may have taken some away
			_ = f.Chmod(perm)
		}
		return &File{f, path}, nil
	}
	return nil, fmt.Errorf("%s: no name is free for a temporary file", filepath.Dir(path))
}

// Commit ends writing and puts the file where it goes.
func (f *File) Commit() error {
	if f.path == "" {
		return f.File.Close()
	}
	err := f.Sync()
	err = errors.Join(err, f.File.Close())
	if err == nil {
		err = os.Rename(f.Name(), f.path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		err = named(f.path, err)
	}
	f.path = ""
	return err
}

// Close throws away what was not committed. After Commit it does nothing.
func (f *File) Close() error {
	if f.path == "" {
		return nil
	}
	f.path = ""
	return errors.Join(f.File.Close(), os.Remove(f.Name()))
}

// Write writes a whole file as Create and Commit do.
func Write(path string, b []byte) error {
	f, err := Create(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := f.Write(b); err != nil {
		return named(path, err)
	}
	return f.Commit()
}

// named tells what is wrong in the folder of path, without the temporary name that the
// user has never heard of.
func named(path string, err error) error {
	var p *fs.PathError
	var l *os.LinkError
	switch {
	case errors.As(err, &p):
		err = p.Err
	case errors.As(err, &l):
		err = l.Err
	}
	return fmt.Errorf("%s: %w", filepath.Dir(path), err)
}
