package runtime

import (
	"errors"
	"testing"
	"time"

	"github.com/pitopt/pitopt/core/tensor"
)

// Of runs that want the same thing one makes it, and others wait for it; where that fails, another one makes it.
func TestKeptIsMadeOnce(t *testing.T) {
	k := NewKept(1 << 10)
	begun, failed := make(chan bool), errors.New("it failed")
	first, second := make(chan error), make(chan *tensor.Tensor)
	go func() {
		_, err := k.Make(tensor.U8, 8, func(*tensor.Tensor) error {
			begun <- true
			<-begun
			return failed
		})
		first <- err
	}()
	<-begun
	makes := func() {
		got, err := k.Make(tensor.U8, 8, func(t *tensor.Tensor) error { t.SetInt(0, 7); return nil })
		if err != nil {
			t.Error(err)
		}
		second <- got
	}
	go makes()
	go makes()
	select {
	case got := <-second:
		t.Fatalf("while it is made there is %v", got)
	case <-time.After(10 * time.Millisecond):
	}
	begun <- true
	if err := <-first; err != failed {
		t.Error(err)
	}
	if a, b := <-second, <-second; a == nil || a != b || a != k.Get() || a.Int(0) != 7 {
		t.Errorf("%v and %v were made, and %v is kept", a, b, k.Get())
	}
}

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

// A verdict on a constant is kept even where there is no room for what else is made of it.
func TestKeptVerdict(t *testing.T) {
	k := NewKept(-2 * keptAnyway)
	fill := func(*tensor.Tensor) error { return nil }
	if got, err := k.Make(tensor.Bool, 2*keptAlways, fill); got != nil || err != nil {
		t.Errorf("%d bytes are kept without room: %v", 2*keptAlways, err)
	}
	if got, err := k.Make(tensor.Bool, 1, fill); got == nil || err != nil || k.Get() != got {
		t.Errorf("a verdict is not kept: %v, %v", got, err)
	}
}
