//go:build !unix

package wire

import (
	"io"
	"io/fs"
	"os"
)

func mapFile(name string) ([]byte, func() error, error) {
	b, err := os.ReadFile(name)
	return b, func() error { return nil }, err
}

// mapOpen reads a whole open file: there is no mapping on this system.
func mapOpen(f *os.File, size int64) ([]byte, func() error, error) {
	b, err := io.ReadAll(io.LimitReader(f, size))
	return b, func() error { return nil }, err
}

// links is the number of names a file has; this system does not tell.
func links(fs.FileInfo) uint64 { return 1 }
