package sym

import "testing"

// Under a condition more is known than elsewhere; what is learned there of symbols that were
// made there is known elsewhere, too.
func TestBranch(t *testing.T) {
	c := constrain(t, "n <= 2*m")
	n, m, one := Var("n"), Var("m"), Const(1)
	b := c.Branch(func(given *Context) {
		if err := given.AssumeEqual(n, one); err != nil {
			t.Fatal(err)
		}
	})
	if b.Equal(n, one) != True || b.LE(one, m) != True {
		t.Error("the condition does not hold in the branch")
	}
	u := b.Fresh("u")
	if err := b.AssumeLE(u, m); err != nil {
		t.Fatal(err)
	}
	b.End()
	if c.Equal(n, one) != Unknown || c.LE(one, m) != Unknown {
		t.Error("the condition holds outside")
	}
	if c.LE(u, m) != True {
		t.Errorf("%s <= %s is not known outside", u, m)
	}
	if again := c.Fresh("u"); again.Equal(u) {
		t.Errorf("%s is made twice", u)
	}
}
