package cpu

import (
	"sync"
	"sync/atomic"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/reuse"
)

// team are the goroutines that help those that call the device, one for each thread but the
// caller's. They start with the first work, and live until the team is closed.
type team struct {
	size int
	work chan *job
	quit chan struct{}

	start, stop sync.Once
	idle        reuse.List[job]
}

func newTeam(threads int) *team {
	size := threads - 1
	return &team{size: size, work: make(chan *job, 4*size), quit: make(chan struct{})}
}

// close ends the team. Work that comes later is done by its caller alone.
func (t *team) close() { t.stop.Do(func() { close(t.quit) }) }

// task is work in parts, which may be done at the same time.
type task interface{ part(i int) error }

// job is a task on its way.
type job struct {
	task task
	n    int64
	next atomic.Int64 // the part that nobody does yet
	refs atomic.Int32 // the caller, and entries of the channel: the last one keeps the job
	wg   sync.WaitGroup
	errs []error
}

// parallel does parts 0 .. n-1 of a task, here and where the team has time, and gives the error
// of the first part that has one.
func (t *team) parallel(n int, x task) error {
	if n <= 1 || t.size < 1 {
		for i := range n {
			if err := try(x, i); err != nil {
				return err
			}
		}
		return nil
	}
	t.start.Do(func() {
		for range t.size {
			go help(t.work, t.quit, &t.idle)
		}
	})
	j := t.idle.Get()
	if cap(j.errs) < n {
		j.errs = make([]error, n)
	}
	j.task, j.n, j.errs = x, int64(n), j.errs[:n]
	j.next.Store(0)
	j.refs.Store(1)
	j.wg.Add(n)
	for range min(n-1, t.size) {
		j.refs.Add(1)
		select {
		case t.work <- j:
		default: // all are busy
			j.refs.Add(-1)
		}
	}
	j.do()
	j.wg.Wait()
	var first error
	for _, err := range j.errs {
		if first = err; err != nil {
			break
		}
	}
	clear(j.errs)
	j.task = nil
	j.leave(&t.idle)
	return first
}

// help works until the team is closed.
func help(work chan *job, quit chan struct{}, idle *reuse.List[job]) {
	for {
		select {
		case j := <-work:
			j.do()
			j.leave(idle)
		case <-quit:
			return
		}
	}
}

// do does parts until all are done or being done.
func (j *job) do() {
	for {
		i := j.next.Add(1) - 1
		if i >= j.n {
			return
		}
		j.errs[i] = try(j.task, int(i))
		j.wg.Done()
	}
}

// leave gives up a reference.
func (j *job) leave(idle *reuse.List[job]) {
	if j.refs.Add(-1) == 0 {
		idle.Put(j)
	}
}

// try makes an error of a panic: in a goroutine it would end the process.
func try(x task, i int) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = diag.New(diag.Run, "it failed: %v", v)
		}
	}()
	return x.part(i)
}
