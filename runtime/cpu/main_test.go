package cpu

import (
	"fmt"
	"os"
	"testing"
)

// TestMain keeps the table of tiles that somebody has measured on this machine out of the tests: which ways they
// go is to be the same everywhere.
func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "pitopt-cache")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	_ = os.Setenv("XDG_CACHE_HOME", dir)
	code := m.Run()
	_ = os.RemoveAll(dir)
	os.Exit(code)
}
