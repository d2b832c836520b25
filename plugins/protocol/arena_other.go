//go:build !linux

package protocol

import (
	"errors"
	"os"
)

// arenaFile puts slices into a temporary file that is readable for this user alone.
func arenaFile(slices [][]byte) (*os.File, string, error) {
	f, err := os.CreateTemp("", "pitopt-arena-*")
	if err != nil {
		return nil, "", err
	}
	for _, b := range slices {
		if _, err := f.Write(b); err != nil {
			return nil, "", errors.Join(err, closeArena(f))
		}
	}
	return f, f.Name(), nil
}

func closeArena(f *os.File) error { return errors.Join(f.Close(), os.Remove(f.Name())) }
