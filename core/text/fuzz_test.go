package text_test

import (
	"strings"
	"testing"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/text"
)

// What parses is printed so that it parses to the same text again; nothing panics,
// the verifier included.
func FuzzParse(f *testing.F) {
	f.Add(everything)
	f.Add("module { where 64*q <= b, n <= a, -n == d }") // the equality says that n is 0
	f.Add("module {\n" + everyScalar().String() + "}\n")
	for line := range strings.Lines(everything) {
		f.Add("module {" + line + "}")
	}
	f.Fuzz(func(t *testing.T, src string) {
		m, err := text.Parse("f", []byte(src), nil)
		if err != nil {
			return
		}
		first := text.String(m)
		again, err := text.Parse("f", []byte(first), nil)
		if err != nil {
			t.Fatalf("%v\n%s", err, first)
		}
		if second := text.String(again); second != first {
			t.Fatalf("printed first:\n%s\nthen:\n%s", first, second)
		}
		_ = ir.Verify(m) // must not panic; most inputs break rules
	})
}
