package reuse

import "testing"

func TestList(t *testing.T) {
	var l List[[4]int]
	a, b := l.Get(), l.Get()
	if a == nil || a == b {
		t.Fatal("two values in use are one")
	}
	a[0] = 7
	l.Put(a)
	l.Put(b)
	if l.Get() != b || l.Get() != a || a[0] != 7 {
		t.Error("what was put is not what is there")
	}
	l.Put(a)
	l.Clear()
	if l.Get() == a {
		t.Error("it was cleared")
	}
	l.Put(a)
	if n := testing.AllocsPerRun(100, func() { l.Put(l.Get()) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
