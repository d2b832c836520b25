package cpu

import (
	"testing"
	"time"

	"github.com/pitopt/pitopt/runtime/cpu/x86"
)

// Whatever code there is, the machine can do something, and no more than any machine can.
func TestLimits(t *testing.T) {
	f, err := x86.Usable()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range []x86.Features{f, 0} {
		for _, threads := range []int{1, 3} {
			d := newDevice(threads, f)
			l, err := d.Limits(10*time.Millisecond, 1<<20)
			if err != nil || l.Flops < 1e6 || l.Flops > 1e14 || l.Bandwidth < 1e6 || l.Bandwidth > 1e14 {
				t.Errorf("%v, %d threads: %+v, %v", f, threads, l, err)
			}
			t.Logf("%v, %d threads: %.3g FLOP/s, %.3g B/s", f, threads, l.Flops, l.Bandwidth)
			d.Close()
		}
	}
}
