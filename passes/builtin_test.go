package passes_test

import (
	"testing"

	"github.com/pitopt/pitopt/passes"
	"github.com/pitopt/pitopt/passes/builtin"
)

// The default pipeline names passes that exist, with options they have, in an order that
// keeps their constraints; and it uses all of them.
func TestDefaultOfBuiltin(t *testing.T) {
	r := builtin.Registry()
	steps, err := passes.Default().Assemble(r)
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	for _, s := range steps {
		used[s.Pass.Name] = true
	}
	for _, name := range r.Names() {
		if !used[name] {
			t.Errorf("the default pipeline does not have the pass %q", name)
		}
	}
}
