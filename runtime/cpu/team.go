package cpu

import (
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/pitopt/pitopt/core/diag"
)

// team are the goroutines that help those that call the device, one for each thread but the
// caller's. They start with the first work, and live until the team is closed. Callers lay work out
// in places that all see, and whoever has time claims a part of it by one atomic addition: waking a
// goroutine takes 50 µs, as long as many stages do. So a helper that finds nothing looks for
// some time, in which the next stage of a run comes, before it sleeps. A caller waits for parts
// that were claimed, and never for somebody to come.
type team struct {
	size   int
	places [16]job
	asleep atomic.Int32
	wake   chan struct{}
	quit   chan struct{}

	start, stop sync.Once
}

// patience is how long a helper looks for work before it sleeps, and a caller for the end
// of parts that others do before it blocks; looks is how often without asking for the time, and
// letting other goroutines run, which takes a µs. A caller looks at one place alone, and most parts end soon.
const (
	patience    = 200 * time.Microsecond
	looks       = 64
	callerLooks = 64 * looks
)

func newTeam(threads int) *team {
	size := threads - 1
	t := &team{size: size, wake: make(chan struct{}, size), quit: make(chan struct{})}
	for i := range t.places {
		t.places[i].done = make(chan struct{}, 1)
	}
	return t
}

// close ends the team. Work that comes later is done by its caller alone.
func (t *team) close() { t.stop.Do(func() { close(t.quit) }) }

// task is work in parts, which may be done at the same time. Thread 0 is the caller's, and the others are helpers:
// what is kept by thread is used by one at a time, and is near the core that used it last.
type task interface{ part(thread, i int) error }

// line is more than a line of the cache, and the one beside it, which processors fetch along.
type line [128]byte

// job is a task on its way. What helpers look at again and again, what all write at each part, and what is the
// caller's lie apart: a line that two write goes from core to core for 100 ns.
type job struct {
	_ line

	// The part that nobody does yet, and 1<<32 times the end of those: so who claims one sees both as they were at the
	// same time. The caller claims from the front, and helpers from the back, so that what a thread does of one task is
	// about what it did of the one before, and what that left near. Where there is nothing to claim nobody looks at the task.
	open atomic.Uint64
	_    line
	left atomic.Int64 // parts that are not done
	_    line

	taken   atomic.Bool // somebody's task is here
	task    task
	errs    []error
	blocked atomic.Bool // the caller waits for done
	done    chan struct{}
}

// parallel does parts 0 .. n-1 of a task, here and where the team has time, and gives the error
// of the first part that has one.
func (t *team) parallel(n int, x task) error {
	j := t.place(n)
	if j == nil {
		for i := range n {
			if err := try(x, 0, i); err != nil {
				return err
			}
		}
		return nil
	}
	if cap(j.errs) < n {
		j.errs = make([]error, n)
	}
	j.task, j.errs = x, j.errs[:n]
	j.left.Store(int64(n))
	j.open.Store(uint64(n)<<32 | 1) // part 0 is the caller's
	for range min(n-1, int(t.asleep.Load())) {
		select {
		case t.wake <- struct{}{}:
		default: // all were told
		}
	}
	for i, more := 0, true; more; i, more = j.first() {
		j.do(0, i)
	}
	j.wait()
	var first error
	for i, err := range j.errs {
		if err == nil {
			continue
		}
		if first == nil {
			first = err
		}
		j.errs[i] = nil
	}
	j.task = nil
	j.taken.Store(false)
	return first
}

// place is where a task of some parts is laid out; nil where the caller does it alone: there is
// nobody to help, or help is all taken.
func (t *team) place(n int) *job {
	if n <= 1 || t.size < 1 {
		return nil
	}
	t.start.Do(func() {
		for i := range t.size {
			go t.help(i + 1)
		}
	})
	for i := range t.places {
		if j := &t.places[i]; !j.taken.Load() && j.taken.CompareAndSwap(false, true) {
			return j
		}
	}
	return nil
}

// first claims the first part that nobody does.
func (j *job) first() (int, bool) {
	for {
		s := j.open.Load()
		i, end := uint32(s), uint32(s>>32)
		if i >= end {
			return 0, false
		}
		if j.open.CompareAndSwap(s, s+1) {
			return int(i), true
		}
	}
}

// last claims the last one.
func (j *job) last() (int, bool) {
	for {
		s := j.open.Load()
		i, end := uint32(s), uint32(s>>32)
		if i >= end {
			return 0, false
		}
		if j.open.CompareAndSwap(s, s-1<<32) {
			return int(end - 1), true
		}
	}
}

// do does a part that was claimed.
func (j *job) do(thread, i int) {
	if err := try(j.task, thread, i); err != nil {
		j.errs[i] = err
	}
	if j.left.Add(-1) == 0 && j.blocked.Load() && j.blocked.CompareAndSwap(true, false) {
		select {
		case j.done <- struct{}{}:
		default: // it was told
		}
	}
}

// wait returns when all parts are done. A token in done may be that of a task before.
func (j *job) wait() {
	var since time.Time
	for i := 1; j.left.Load() > 0; i++ {
		if i%callerLooks != 0 {
			continue
		}
		if since.IsZero() {
			since = time.Now()
		} else if time.Since(since) > patience {
			break
		}
		runtime.Gosched()
	}
	for j.left.Load() > 0 {
		j.blocked.Store(true)
		if j.left.Load() == 0 && j.blocked.CompareAndSwap(true, false) {
			return
		}
		<-j.done
	}
}

// help works until the team is closed: a part of each task by turns, so that callers share
// the team.
func (t *team) help(thread int) {
	since := time.Now()
	for i := 1; ; i++ {
		j := &t.places[i%len(t.places)]
		if i, ok := j.last(); ok {
			j.do(thread, i)
			since = time.Time{}
			continue
		}
		if i%(looks*len(t.places)) != 0 {
			continue
		}
		select {
		case <-t.quit:
			return
		default:
		}
		if since.IsZero() {
			since = time.Now()
		} else if time.Since(since) > patience {
			if !t.sleep() {
				return
			}
			since = time.Time{}
		}
		runtime.Gosched()
	}
}

// sleep returns when there is work, false where the team is closed. Who lays out work after
// asleep has counted this one wakes it; what was there before it sees itself.
func (t *team) sleep() bool {
	t.asleep.Add(1)
	defer t.asleep.Add(-1)
	for i := range t.places {
		if s := t.places[i].open.Load(); uint32(s) < uint32(s>>32) {
			return true
		}
	}
	select {
	case <-t.wake:
		return true
	case <-t.quit:
		return false
	}
}

// try makes an error of a panic: in a goroutine it would end the process.
func try(x task, thread, i int) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = diag.New(diag.Run, "it failed: %v", v)
		}
	}()
	return x.part(thread, i)
}
