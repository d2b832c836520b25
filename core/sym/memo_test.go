package sym

import (
	"sync"
	"testing"
)

// What a context learns is in the answers after it, also to what was asked before.
func TestAnswersChangeWithWhatIsKnown(t *testing.T) {
	c := NewContext()
	n, m := Var("n"), Var("m")
	e := n.Min(m)
	if lo, hi := c.Bounds(n); lo != 0 || hi != Inf {
		t.Fatalf("n is in %d..%d", lo, hi)
	}
	if c.Equal(e, n) != Unknown || !c.Simplify(e).Equal(e) {
		t.Fatal("nothing is known of n and m")
	}
	if err := c.AssumeLE(n, m); err != nil {
		t.Fatal(err)
	}
	if c.Equal(e, n) != True || !c.Simplify(e).Equal(n) {
		t.Error("n <= m is forgotten")
	}
	copied := c.Clone()
	if err := copied.SetRange("n", 2, 7); err != nil {
		t.Fatal(err)
	}
	if lo, hi := copied.Bounds(n); lo != 2 || hi != 7 {
		t.Errorf("n is in %d..%d", lo, hi)
	}
	if lo, hi := c.Bounds(n); lo != 0 || hi != Inf {
		t.Errorf("a copy told n to be in %d..%d", lo, hi)
	}
}

// Many may ask at the same time.
func TestConcurrentQuestions(t *testing.T) {
	c := NewContext()
	if err := c.SetRange("n", 1, 64); err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for k := range int64(50) {
				e := Var("n").Mul(Const(k + 1)).FloorDiv(Const(2)).Max(Const(k))
				if lo, hi := c.Bounds(e); lo < k || hi > 32*(k+1) {
					t.Errorf("%s is in %d..%d", e, lo, hi)
				}
				if c.Equal(c.Simplify(e), e) != True {
					t.Errorf("%s is not what it is", e)
				}
			}
		})
	}
	wg.Wait()
}
