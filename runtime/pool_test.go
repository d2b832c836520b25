package runtime

import "testing"

func TestClasses(t *testing.T) {
	last := 0
	for n := int64(1); n < 1<<20; n += 1 + n/97 {
		c, size := class(n)
		again, same := class(size)
		if size < n || size > max(64, n+n/4+1) || again != c || same != size || c < last {
			t.Fatalf("%d bytes: class %d of %d bytes, whose class is %d of %d", n, c, size, again, same)
		}
		if double, _ := class(2 * size); double != c+octave {
			t.Fatalf("class %d of %d bytes: twice the size is class %d", c, size, double)
		}
		last = c
	}
}

// The same bytes, cut another way each time.
func TestPoolKeepsABound(t *testing.T) {
	var p Pool
	for round := range 3 {
		for n := int64(1 << 20); n >= 64; n /= 8 {
			var out [][]byte
			for range (1 << 20) / n {
				b, err := p.get(n)
				if err != nil || int64(len(b)) != n {
					t.Fatal(len(b), err)
				}
				out = append(out, b)
			}
			if p.used < 1<<20 || p.used+p.idle > p.most() {
				t.Fatalf("round %d, %d bytes each: %d bytes are used, %d kept, %d were used at most", round, n, p.used, p.idle, p.peak)
			}
			for _, b := range out {
				p.put(b)
			}
			if p.used != 0 {
				t.Fatalf("%d bytes are used", p.used)
			}
		}
	}
	kept := int64(0)
	for _, list := range p.free {
		for _, b := range list {
			kept += int64(cap(b))
		}
	}
	if kept != p.idle || kept > p.most() {
		t.Errorf("%d bytes are kept, %d are counted, %d were used at most", kept, p.idle, p.peak)
	}
	if _, err := p.get(1 << 60); err == nil || p.used != 0 || p.peak > 2<<20 {
		t.Errorf("got %v, %d bytes are used, %d were used at most", err, p.used, p.peak)
	}
}

// What comes back at the end of a run may be part of anything that is kept.
func TestPoolLends(t *testing.T) {
	var p Pool
	big, err := p.lend(1 << 20)
	if err != nil {
		t.Fatal(err)
	}
	p.put(big)
	small, err := p.lend(100)
	if err != nil || len(small) != 100 || &small[0] != &big[0] || p.idle != 0 {
		t.Errorf("%d bytes, %v; %d are kept", len(small), err, p.idle)
	}
	if other, err := p.get(100); err != nil || &other[0] == &big[0] {
		t.Errorf("%v; the same bytes twice", err)
	}
	p.put(small)
	if kept, err := p.get(100); err != nil || cap(kept) >= 1<<20 {
		t.Errorf("%v; what is given away has %d bytes of room", err, cap(kept))
	}
}
