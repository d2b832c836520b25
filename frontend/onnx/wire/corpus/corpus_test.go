package corpus_test

import (
	"errors"
	"regexp"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/frontend/onnx/wire"
	"github.com/pitopt/pitopt/frontend/onnx/wire/corpus"
)

// read reads a model whole: its structure, its rules, and every tensor in it.
func read(path string) error {
	f, err := wire.Open(path, wire.Limits{})
	if err != nil {
		return err
	}
	defer f.Close()
	if err := wire.Check(f.Model); err != nil {
		return err
	}
	for _, t := range f.Model.Graph.Initializers {
		if _, err := t.Tensor(f); err != nil {
			return err
		}
	}
	return nil
}

// Every case is refused for the reason it was made for, in time and memory that a user
// does not notice.
func TestCases(t *testing.T) {
	cases := corpus.Cases()
	if len(cases) < 40 {
		t.Fatalf("there are just %d cases", len(cases))
	}
	names := map[string]bool{}
	fileName := regexp.MustCompile(`^[a-z0-9-]+$`)
	for _, c := range cases {
		if names[c.Name] || !fileName.MatchString(c.Name) {
			t.Errorf("%q is there twice, or no name of a file", c.Name)
		}
		names[c.Name] = true
		t.Run(c.Name, func(t *testing.T) {
			path, err := c.Write(t.TempDir())
			if err != nil {
				if len(c.Symlinks)+len(c.Hardlinks) > 0 {
					t.Skipf("this system makes no links: %v", err)
				}
				t.Fatal(err)
			}
			// The best of a few: other work on the machine is not the case's fault. The
			// time is told, not asserted: what hangs is ended by the test's own timeout.
			took, bytes := time.Hour, uint64(1<<62)
			for range 5 {
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				start := time.Now()
				err = read(path)
				took = min(took, time.Since(start))
				runtime.ReadMemStats(&after)
				bytes = min(bytes, after.TotalAlloc-before.TotalAlloc)
			}
			if err == nil {
				t.Fatal("is read without an error")
			}
			var e *diag.Error
			if !errors.As(err, &e) || e.Code != diag.Malformed {
				t.Errorf("not an error about a malformed model: %v", err)
			}
			if !strings.Contains(err.Error(), c.Want) {
				t.Errorf("the error is\n\t%v\nand says nothing of\n\t%s", err, c.Want)
			}
			if len(err.Error()) > 1000 {
				t.Errorf("an error of %d characters: %.200s...", len(err.Error()), err)
			}
			if bytes > 10<<20 {
				t.Errorf("allocated %d bytes", bytes)
			}
			t.Logf("in %v and %d bytes: %v", took, bytes, err)
		})
	}
}
