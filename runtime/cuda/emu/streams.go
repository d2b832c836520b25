package emu

import (
	"time"

	"github.com/pitopt/pitopt/runtime/cuda/driver"
)

func (c *Context) NewStream() (driver.Stream, error) {
	if err := c.enter("cuStreamCreate"); err != nil {
		return 0, err
	}
	defer c.mu.Unlock()
	return driver.Stream(c.handle(&stream{})), nil
}

func (c *Context) Synchronize(s driver.Stream) error {
	const call = "cuStreamSynchronize"
	if err := c.enter(call); err != nil {
		return err
	}
	defer c.mu.Unlock()
	return c.stream(call, s)
}

func (c *Context) FreeStream(s driver.Stream) error {
	const call = "cuStreamDestroy"
	if err := c.enter(call); err != nil {
		return err
	}
	defer c.mu.Unlock()
	if _, err := lookup[*stream](c, call, uintptr(s)); err != nil {
		return err
	}
	delete(c.handles, uintptr(s))
	return nil
}

func (c *Context) NewEvent() (driver.Event, error) {
	if err := c.enter("cuEventCreate"); err != nil {
		return 0, err
	}
	defer c.mu.Unlock()
	return driver.Event(c.handle(&event{})), nil
}

func (c *Context) Record(e driver.Event, s driver.Stream) error {
	const call = "cuEventRecord"
	if err := c.enter(call); err != nil {
		return err
	}
	defer c.mu.Unlock()
	ev, err := lookup[*event](c, call, uintptr(e))
	if err != nil {
		return err
	}
	ev.at, ev.recorded = time.Now(), true
	return c.stream(call, s)
}

func (c *Context) Wait(s driver.Stream, e driver.Event) error {
	const call = "cuStreamWaitEvent"
	if err := c.enter(call); err != nil {
		return err
	}
	defer c.mu.Unlock()
	if _, err := lookup[*event](c, call, uintptr(e)); err != nil {
		return err
	}
	return c.stream(call, s)
}

func (c *Context) SynchronizeEvent(e driver.Event) error {
	const call = "cuEventSynchronize"
	if err := c.enter(call); err != nil {
		return err
	}
	defer c.mu.Unlock()
	_, err := lookup[*event](c, call, uintptr(e))
	return err
}

// Elapsed is time on the host: that of the emulation.
func (c *Context) Elapsed(from, to driver.Event) (time.Duration, error) {
	const call = "cuEventElapsedTime"
	if err := c.enter(call); err != nil {
		return 0, err
	}
	defer c.mu.Unlock()
	a, err := lookup[*event](c, call, uintptr(from))
	if err != nil {
		return 0, err
	}
	b, err := lookup[*event](c, call, uintptr(to))
	if err != nil {
		return 0, err
	}
	if !a.recorded || !b.recorded {
		return 0, driver.Errorf(call, driver.InvalidHandle, "an event that was not recorded")
	}
	return b.at.Sub(a.at), nil
}

func (c *Context) FreeEvent(e driver.Event) error {
	const call = "cuEventDestroy"
	if err := c.enter(call); err != nil {
		return err
	}
	defer c.mu.Unlock()
	if _, err := lookup[*event](c, call, uintptr(e)); err != nil {
		return err
	}
	delete(c.handles, uintptr(e))
	return nil
}

func (c *Context) SynchronizeAll() error {
	if err := c.enter("cuCtxSynchronize"); err != nil {
		return err
	}
	c.mu.Unlock()
	return nil
}

func (c *Context) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed, c.handles, c.mem = true, nil, memory{}
	return nil
}
