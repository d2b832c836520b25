package main

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/pitopt/pitopt/passes/builtin"
)

var update = flag.Bool("update", false, "write docs/passes.md")

// The document is what the pass table says now.
func TestDocument(t *testing.T) {
	const path = "../../docs/passes.md"
	var b strings.Builder
	if err := write(&b); err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(path, []byte(b.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	was, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if string(was) != b.String() {
		t.Error("docs/passes.md is stale; `go run ./scripts/passes > docs/passes.md` makes it anew")
	}
}

// A doc says in its first line what the pass does, then shows an example before and after,
// and ends with why it stands where it stands.
func TestDocs(t *testing.T) {
	for _, p := range builtin.Registry().Passes() {
		parts := strings.Split(p.Doc, "\n\n")
		first, last := parts[0], parts[len(parts)-1]
		if strings.Contains(first, "\n") || !strings.HasSuffix(first, ".") || len(first) > 100 {
			t.Errorf("%s: the first line is %q", p.Name, first)
		}
		if len(parts) < 3 || !strings.HasPrefix(parts[1], "    ") || !strings.Contains(parts[1], "=>") {
			t.Errorf("%s has no example behind its first line", p.Name)
		}
		if !strings.HasPrefix(last, "It stands ") {
			t.Errorf("%s does not end with why it stands where it stands: %q", p.Name, last)
		}
		for _, o := range append(p.After, p.Before...) {
			if builtin.Registry().Lookup(o.Pass) == nil {
				t.Errorf("%s: there is no pass %q to stand beside", p.Name, o.Pass)
			}
		}
	}
}
