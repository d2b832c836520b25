package diag

import (
	"math/rand/v2"
	"strings"
	"testing"
)

func TestNearest(t *testing.T) {
	passes := []string{"fold-constants", "deduce", "simplify", "decompose", "legalize", "fuse", "plan-memory", "lower"}
	for _, c := range []struct {
		word string
		from []string
		want string
	}{
		{"simplfy", passes, "simplify"},
		{"simplify", passes, "simplify"},
		{"Legalise", passes, "legalize"},
		{"fold-constant", passes, "fold-constants"},
		{"plan_memory", passes, "plan-memory"},
		{"fsue", passes, "fuse"},
		{"lower-all-of-it", passes, ""},
		{"quantize", passes, ""},
		{"x", []string{"a", "b"}, ""}, // replacing everything is no likeness
		{"", passes, ""},
		{"axes", []string{"axis", "taxes"}, "axis"}, // equally near: the first
		{"word", nil, ""},
		{strings.Repeat("a", 1<<20), []string{strings.Repeat("a", 1<<20)}, ""},
	} {
		if got := Nearest(c.word, c.from); got != c.want {
			t.Errorf("Nearest(%.20q) = %q, want %q", c.word, got, c.want)
		}
	}
}

func TestDidYouMean(t *testing.T) {
	for _, c := range []struct {
		word string
		from []string
		want string
	}{
		{"devcie", []string{"device", "memory"}, `did you mean "device"?`},
		{"color", []string{"device", "memory", "threads"}, `there are "device", "memory" and "threads"`},
		{"color", []string{"padding"}, `there is only "padding"`},
		{"color", nil, "there are none"},
	} {
		if got := DidYouMean(c.word, c.from); got != c.want {
			t.Errorf("DidYouMean(%q) = %q, want %q", c.word, got, c.want)
		}
	}
}

// slips is the definition of distance, as a recursion without a table.
func slips(a, b string) int {
	if a == "" || b == "" {
		return len(a) + len(b)
	}
	i, j := len(a)-1, len(b)-1
	same := slips(a[:i], b[:j])
	if a[i] != b[j] {
		same++
	}
	d := min(slips(a[:i], b)+1, slips(a, b[:j])+1, same)
	if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
		d = min(d, slips(a[:i-1], b[:j-1])+1)
	}
	return d
}

func TestDistance(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	word := func() string {
		w := make([]byte, rnd.IntN(6))
		for i := range w {
			w[i] = "abc"[rnd.IntN(3)]
		}
		return string(w)
	}
	for range 2000 {
		a, b := word(), word()
		if got, want := distance(a, b), slips(a, b); got != want {
			t.Fatalf("distance(%q, %q) = %d, want %d", a, b, got, want)
		}
	}
}
