package cpu

import (
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/runtime/cpu/x86"
)

// inParts is a device for which every stage is worth all threads.
func inParts(threads int) *Device {
	d := New(threads)
	d.alone = 0
	return d
}

// tier is what machine code is made for.
type tier struct {
	name     string
	features x86.Features
}

// tiers are those that this machine has, with what PITOPT_CPU allows, and portable Go.
func tiers(t testing.TB) []tier {
	t.Helper()
	f, err := x86.Usable()
	if err != nil {
		t.Fatal(err)
	}
	list := []tier{{"portable", 0}}
	if f&x86.V3 != 0 {
		list = append(list, tier{"v3", f & (x86.V3 | x86.AVXVNNI)})
	}
	if f&x86.V4 != 0 {
		list = append(list, tier{"v4", f})
	}
	if len(list) < 3 {
		t.Logf("of machine code there is only what %q allows: the tiers above it are not tested", f)
	}
	return list
}

func (x tier) device(threads int) *Device { return newDevice(threads, x.features) }

func (x tier) inParts(threads int) *Device {
	d := x.device(threads)
	d.alone = 0
	return d
}

type parts func(i int) error

func (f parts) part(_, i int) error { return f(i) }

// What a thread panics with is an error; the others end.
func TestParallel(t *testing.T) {
	for threads := 1; threads <= 3; threads++ {
		team := newTeam(threads)
		defer team.close()
		for n := 1; n <= 5; n++ {
			err := team.parallel(n, parts(func(i int) error {
				if i == n-1 {
					var list []int
					_ = list[i]
				}
				return nil
			}))
			if err == nil || !strings.Contains(err.Error(), "it failed: ") || diag.CodeOf(err) != diag.Run {
				t.Errorf("%d parts: %v", n, err)
			}
			stop := errors.New("stop")
			if err := team.parallel(n, parts(func(i int) error { return stop })); err != stop {
				t.Errorf("%d parts: %v", n, err)
			}
			var sum atomic.Int64
			if err := team.parallel(n, parts(func(i int) error { sum.Add(int64(1) << i); return nil })); err != nil || sum.Load() != 1<<n-1 {
				t.Errorf("%d parts: %v, done are %b", n, err, sum.Load())
			}
		}
	}
}

// A team helps many callers, who share nothing but its time, and one that is closed helps none.
func TestTeamOfManyCallers(t *testing.T) {
	team := newTeam(3)
	var callers sync.WaitGroup
	for range 8 {
		callers.Go(func() {
			for n := range 200 {
				done := make([]int, n)
				if err := team.parallel(n, parts(func(i int) error { done[i]++; return nil })); err != nil {
					t.Error(err)
				}
				for i, times := range done {
					if times != 1 {
						t.Errorf("part %d of %d was done %d times", i, n, times)
					}
				}
			}
		})
	}
	callers.Wait()
	team.close()
	team.close()
	if err := team.parallel(9, parts(func(int) error { return nil })); err != nil {
		t.Error(err)
	}
}

// Both threads work: each part waits for the other.
func TestTeamWorksAtTheSameTime(t *testing.T) {
	team := newTeam(2)
	defer team.close()
	for range 20 {
		var both sync.WaitGroup
		both.Add(2)
		met := make(chan struct{})
		go func() { both.Wait(); close(met) }()
		err := team.parallel(2, parts(func(int) error {
			both.Done()
			select {
			case <-met:
				return nil
			case <-time.After(10 * time.Second):
				return errors.New("the other part did not start")
			}
		}))
		if err != nil {
			t.Fatal(err)
		}
	}
}

// The threads of a device that nobody has any more are told to end, though nobody closed it.
func TestThreadsEndWithTheirDevice(t *testing.T) {
	quit := func() chan struct{} {
		d := New(4)
		if err := d.team.parallel(8, parts(func(int) error { return nil })); err != nil {
			t.Fatal(err)
		}
		select {
		case <-d.team.quit:
			t.Fatal("they end while there is the device")
		default:
		}
		runtime.KeepAlive(d)
		return d.team.quit
	}()
	for range 200 {
		runtime.GC()
		select {
		case <-quit:
			return
		case <-time.After(10 * time.Millisecond):
		}
	}
	t.Error("they are not told to end")
}

// A caller finishes alone where all helpers are busy with others' work, and more callers than
// there are places for do, too.
func TestNobodyIsWaitedFor(t *testing.T) {
	team := newTeam(2)
	defer team.close()
	stop := make(chan struct{})
	var busy sync.WaitGroup
	for range len(team.places) + 2 {
		var started sync.WaitGroup
		started.Add(1)
		var first sync.Once
		busy.Go(func() {
			team.parallel(2, parts(func(int) error { first.Do(started.Done); <-stop; return nil }))
		})
		started.Wait()
	}
	var sum atomic.Int64
	if err := team.parallel(5, parts(func(int) error { sum.Add(1); return nil })); err != nil || sum.Load() != 5 {
		t.Errorf("%v, %d parts are done", err, sum.Load())
	}
	close(stop)
	busy.Wait()
}

type threaded func(thread, i int) error

func (f threaded) part(thread, i int) error { return f(thread, i) }

// The caller does the first parts, and a helper the last ones: so what is next to each other in memory is near one of
// them in one task after the other. No two are the same thread.
func TestThreadsKeepTheirSide(t *testing.T) {
	for threads := 2; threads <= 3; threads++ {
		team := newTeam(threads)
		defer team.close()
		for n := 2; n < 100; n++ {
			by := make([]int, n)
			var working [3]atomic.Int32
			err := team.parallel(n, threaded(func(thread, i int) error {
				if working[thread].Add(1) > 1 {
					t.Errorf("two are thread %d", thread)
				}
				by[i] = thread
				time.Sleep(time.Microsecond)
				working[thread].Add(-1)
				return nil
			}))
			if err != nil {
				t.Fatal(err)
			}
			if by[0] != 0 {
				t.Errorf("thread %d does part 0 of %d", by[0], n)
			}
			for i := 1; i < n; i++ {
				if by[i] == 0 && by[i-1] != 0 {
					t.Errorf("of %d parts the caller does %d, and thread %d the one before", n, i, by[i-1])
				}
			}
		}
	}
}

// Helpers sleep when there is nothing to do, and come back.
func TestHelpersSleep(t *testing.T) {
	team := newTeam(3)
	defer team.close()
	for range 3 {
		var met sync.WaitGroup
		met.Add(3)
		err := team.parallel(3, parts(func(int) error { met.Done(); met.Wait(); return nil }))
		if err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(10 * time.Second); team.asleep.Load() != 2; time.Sleep(time.Millisecond) {
			if time.Now().After(deadline) {
				t.Fatalf("%d of 2 sleep", team.asleep.Load())
			}
		}
	}
}

// Products of constants are shared by what they take: reading B makes those of one row worth a second thread, and
// each has about half of the columns.
func TestProductsOfOneRowAreShared(t *testing.T) {
	for _, tier := range tiers(t) {
		if tier.features == 0 {
			continue // nothing is packed for all runs
		}
		d := tier.device(2)
		defer d.Close()
		for _, size := range [][2]int64{{384, 384}, {384, 1536}, {768, 3072}} {
			program := matmul(1, size[0], size[1])
			code, err := interp.Compile(program, nil)
			if err != nil {
				t.Fatal(err)
			}
			p, ok := match(code.Stages[0])
			if !ok {
				t.Fatalf("%v is no product", size)
			}
			p.identify(program, 0, nil)
			got := p.tiling(d, d.machine.blocks, true)
			first := min(got.tiles/2*got.cols, size[1])
			if got.workers != 2 || first < size[1]*2/5 || first > size[1]*3/5 {
				t.Errorf("%s, %v: %d workers, of which the first has %d columns", tier.name, size, got.workers, first)
			}
		}
	}
}
