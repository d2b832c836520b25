package cuda

import (
	"slices"
	"sort"
	"unsafe"

	rt "github.com/pitopt/pitopt/runtime"
	"github.com/pitopt/pitopt/runtime/cuda/driver"
)

// abroad is what a run has on the device: contents of the host's memory, each range of it once. All of the run's work is in one
// stream, so memory that the run is done with can be taken for what comes behind. It goes back to the device's pool when the
// run ends.
type abroad struct {
	d       *Device
	stream  driver.Stream
	places  []*place // by where they lie on the host; none overlaps another one
	free    map[int64][]block
	retired []block // of what a kernel reads that has not been started yet
	queued  float64 // operations that were started since the host has waited
}

// place is a range of the host's memory whose contents the device has.
type place struct {
	host  []byte
	at    block
	alone bool // the host does not have them
}

func addressOf(b []byte) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(b))) }

func (p *place) from() uintptr { return addressOf(p.host) }
func (p *place) to() uintptr   { return p.from() + uintptr(len(p.host)) }

// meet says whether two ranges have memory in common.
func meet(a, b []byte) bool {
	return len(a) > 0 && len(b) > 0 && addressOf(a) < addressOf(b)+uintptr(len(b)) && addressOf(b) < addressOf(a)+uintptr(len(a))
}

// Enter begins a run.
func (d *Device) Enter() (rt.Abroad, error) {
	if err := d.enter(); err != nil {
		return nil, err
	}
	a, err := d.newAbroad()
	if err != nil {
		d.leave()
		return nil, err
	}
	return a, nil
}

func (d *Device) newAbroad() (*abroad, error) {
	stream, err := d.stream()
	if err != nil {
		return nil, err
	}
	return &abroad{d: d, stream: stream, free: map[int64][]block{}}, nil
}

// Leave ends the run.
func (a *abroad) Leave() error {
	defer a.d.leave()
	return a.end()
}

// end gives back what the run took, when the device does nothing with it any more.
func (a *abroad) end() error {
	err := a.d.ctx.Synchronize(a.stream)
	for _, p := range a.places {
		a.d.pool.put(p.at)
	}
	a.started()
	a.spare()
	a.d.mu.Lock()
	a.d.streams = append(a.d.streams, a.stream)
	a.d.mu.Unlock()
	return wrap(err)
}

// take gives so many bytes of the device.
func (a *abroad) take(n int64) (block, error) {
	size := classSize(n)
	if list := a.free[size]; len(list) > 0 {
		a.free[size] = list[:len(list)-1]
		return list[len(list)-1], nil
	}
	m, err := a.d.pool.get(n)
	if driver.ResultOf(err) == driver.OutOfMemory && len(a.free) > 0 { // what the run is done with may be another size
		if err := a.d.ctx.Synchronize(a.stream); err != nil {
			return m, wrap(err)
		}
		a.spare()
		return a.d.pool.get(n)
	}
	return m, err
}

// spare gives back what the run is done with, when the device is, too.
func (a *abroad) spare() {
	for size, list := range a.free {
		for _, m := range list {
			a.d.pool.put(m)
		}
		delete(a.free, size)
	}
}

func (a *abroad) give(m block) { a.free[m.size] = append(a.free[m.size], m) }

// started says that a kernel was started: what it alone still reads is free for what comes behind it.
func (a *abroad) started() {
	for _, m := range a.retired {
		a.give(m)
	}
	a.retired = a.retired[:0]
}

// meets finds the places that overlap a range, as indices from and up to below.
func (a *abroad) meets(b []byte) (from, to int) {
	lo := addressOf(b)
	hi := lo + uintptr(len(b))
	from = sort.Search(len(a.places), func(i int) bool { return a.places[i].to() > lo })
	for to = from; to < len(a.places) && a.places[to].from() < hi; to++ {
	}
	return from, to
}

// Home brings contents to the host that the device has alone.
func (a *abroad) Home(b []byte) error {
	from, to := a.meets(b)
	for _, p := range a.places[from:to] {
		if !p.alone {
			continue
		}
		if err := a.d.ctx.DtoH(p.host, p.at.at, a.stream); err != nil {
			return wrap(err)
		}
		a.d.work.down(len(p.host))
		p.alone, a.queued = false, 0
	}
	return nil
}

// Over says that contents count no more. A place that goes on beside them is forgotten as a whole: values do not overlap, so
// it is of one that is gone, or the host has it.
func (a *abroad) Over(b []byte) {
	from, to := a.meets(b)
	for _, p := range a.places[from:to] {
		a.retired = append(a.retired, p.at)
	}
	a.places = slices.Delete(a.places, from, to)
}

// read is where the device has contents, which are copied there if it has not.
func (a *abroad) read(b []byte) (driver.Ptr, error) {
	from, to := a.meets(b)
	if to == from+1 {
		if p := a.places[from]; p.from() <= addressOf(b) && addressOf(b)+uintptr(len(b)) <= p.to() {
			return p.at.at + driver.Ptr(addressOf(b)-p.from()), nil
		}
	}
	if err := a.Home(b); err != nil {
		return 0, err
	}
	p, err := a.define(b)
	if err != nil {
		return 0, err
	}
	p.alone = false
	a.d.work.up(len(b))
	return p.at.at, wrap(a.d.ctx.HtoD(p.at.at, b, a.stream))
}

// define makes a place of what the device is about to write.
func (a *abroad) define(b []byte) (*place, error) {
	m, err := a.take(int64(len(b))) // another one than what is there, which may be read on the way
	if err != nil {
		return nil, err
	}
	a.Over(b)
	p := &place{host: b, at: m, alone: true}
	i, _ := a.meets(b)
	a.places = slices.Insert(a.places, i, p)
	return p, nil
}
