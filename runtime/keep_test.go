package runtime

import "testing"

// Large pieces leave what a chunk has left to small ones, and take no more than they are.
func TestKeptLiesInChunks(t *testing.T) {
	k := &keeper{}
	place := func(bytes int64) {
		t.Helper()
		if b, err := k.place(bytes); err != nil || int64(len(b)) != bytes {
			t.Fatalf("%d bytes for %d: %v", len(b), bytes, err)
		}
	}
	place(1)
	left := len(k.room)
	for _, n := range []int64{mostChunk/2 + 1, mostChunk + 1} {
		if place(n); len(k.room) != left || k.chunk != leastChunk {
			t.Errorf("beside %d bytes there is a chunk of %d, with %d left of %d", n, k.chunk, len(k.room), left)
		}
	}
	if place(1); len(k.room) != left-64 {
		t.Errorf("%d bytes are left of %d", len(k.room), left)
	}
	for range 8 {
		place(mostChunk / 2)
	}
	if k.chunk != mostChunk {
		t.Errorf("the last chunk has %d bytes", k.chunk)
	}
}
