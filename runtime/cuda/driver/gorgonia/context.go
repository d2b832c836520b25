//go:build cu && cgo && linux

package gorgonia

import (
	"bytes"
	"runtime"
	"strings"
	"time"
	"unsafe"

	"gorgonia.org/cu"

	"github.com/pitopt/pitopt/runtime/cuda/driver"
)

// context is a context of a device. It is made current on the thread of each call.
type context struct {
	info driver.Info
	ctx  cu.CUContext
}

// do makes a call with the context current.
func (c *context) do(call string, f func() error) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cu.SetCurrentContext(c.ctx); err != nil {
		return check("cuCtxSetCurrent", err)
	}
	return check(call, f())
}

func (c *context) Info() driver.Info { return c.info }

func (c *context) Alloc(n int64) (p driver.Ptr, err error) {
	if n <= 0 {
		return 0, driver.Errorf("cuMemAlloc", driver.InvalidValue, "%d bytes", n)
	}
	err = c.do("cuMemAlloc", func() error {
		d, err := cu.MemAlloc(n)
		p = driver.Ptr(d)
		return err
	})
	return p, err
}

func (c *context) Free(p driver.Ptr) error {
	return c.do("cuMemFree", func() error { return cu.MemFree(cu.DevicePtr(p)) })
}

func (c *context) MemInfo() (free, total int64, err error) {
	err = c.do("cuMemGetInfo", func() (err error) {
		free, total, err = cu.MemInfo()
		return err
	})
	return free, total, err
}

// HtoD copies from pageable memory: the driver may stage it later, so it is waited for.
func (c *context) HtoD(dst driver.Ptr, src []byte, s driver.Stream) error {
	if len(src) == 0 {
		return nil
	}
	var pin runtime.Pinner
	pin.Pin(&src[0])
	defer pin.Unpin()
	err := c.do("cuMemcpyHtoD", func() error {
		return cu.MemcpyHtoDAsync(cu.DevicePtr(dst), unsafe.Pointer(&src[0]), int64(len(src)), stream(s))
	})
	if err != nil {
		return err
	}
	return c.Synchronize(s)
}

func (c *context) DtoH(dst []byte, src driver.Ptr, s driver.Stream) error {
	if len(dst) == 0 {
		return nil
	}
	var pin runtime.Pinner
	pin.Pin(&dst[0])
	defer pin.Unpin()
	err := c.do("cuMemcpyDtoH", func() error {
		return cu.MemcpyDtoHAsync(unsafe.Pointer(&dst[0]), cu.DevicePtr(src), int64(len(dst)), stream(s))
	})
	if err != nil {
		return err
	}
	return c.Synchronize(s)
}

func (c *context) DtoD(dst, src driver.Ptr, n int64, s driver.Stream) error {
	switch {
	case n < 0:
		return driver.Errorf("cuMemcpyDtoD", driver.InvalidValue, "%d bytes", n)
	case n == 0:
		return nil
	}
	return c.do("cuMemcpyDtoD", func() error {
		return cu.MemcpyDtoDAsync(cu.DevicePtr(dst), cu.DevicePtr(src), n, stream(s))
	})
}

func (c *context) Memset(dst driver.Ptr, value byte, n int64, s driver.Stream) error {
	switch {
	case n < 0:
		return driver.Errorf("cuMemsetD8", driver.InvalidValue, "%d bytes", n)
	case n == 0:
		return nil
	}
	return c.do("cuMemsetD8", func() error { return cu.MemsetD8Async(cu.DevicePtr(dst), value, n, stream(s)) })
}

func (c *context) Load(ptx string) (m driver.Module, err error) {
	log := make([]byte, 16<<10)
	var pin runtime.Pinner
	pin.Pin(&log[0])
	defer pin.Unpin()
	err = c.do("cuModuleLoadData", func() error {
		mod, err := cu.LoadDataEx(ptx, &cu.JITErrorLogBuffer{Buffer: log})
		m = driver.Module(*handle(&mod))
		return err
	})
	if e, ok := err.(*driver.Error); ok {
		text, _, _ := bytes.Cut(log, []byte{0})
		e.Detail = strings.TrimSpace(string(text))
	}
	return m, err
}

func (c *context) Unload(m driver.Module) error {
	return c.do("cuModuleUnload", func() error { return module(m).Unload() })
}

// named adds to an error what was looked for.
func named(err error, name string) error {
	if e, ok := err.(*driver.Error); ok && e.Detail == "" {
		e.Detail = name
	}
	return err
}

func (c *context) Function(m driver.Module, name string) (f driver.Function, err error) {
	err = c.do("cuModuleGetFunction", func() error {
		fn, err := module(m).Function(name)
		f = driver.Function(*handle(&fn))
		return err
	})
	return f, named(err, name)
}

func (c *context) Global(m driver.Module, name string) (p driver.Ptr, n int64, err error) {
	err = c.do("cuModuleGetGlobal", func() error {
		d, size, err := module(m).Global(name)
		p, n = driver.Ptr(d), size
		return err
	})
	return p, n, named(err, name)
}

func (c *context) FunctionInfo(f driver.Function) (driver.FunctionInfo, error) {
	var i driver.FunctionInfo
	for attr, to := range map[cu.FunctionAttribute]*int{0: &i.MaxThreadsPerBlock, 1: &i.Shared, 2: &i.Const, 3: &i.Local,
		4: &i.Registers, 5: &i.PTXVersion, 6: &i.BinaryVersion, maxDynamicShared: &i.MaxDynamicShared} {
		if err := c.do("cuFuncGetAttribute", func() (err error) {
			*to, err = function(f).Attribute(attr)
			return err
		}); err != nil {
			return i, err
		}
	}
	return i, nil
}

func (c *context) SetMaxDynamicShared(f driver.Function, bytes int) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := cu.SetCurrentContext(c.ctx); err != nil {
		return check("cuCtxSetCurrent", err)
	}
	return setMaxDynamicShared(f, bytes)
}

func (c *context) Launch(f driver.Function, l driver.Launch) error {
	if l.Grid.X < 1 || l.Grid.Y < 1 || l.Grid.Z < 1 || l.Block.X < 1 || l.Block.Y < 1 || l.Block.Z < 1 || l.Shared < 0 {
		return driver.Errorf("cuLaunchKernel", driver.InvalidValue, "grid %v, block %v, %d bytes of shared memory", l.Grid, l.Block, l.Shared)
	}
	params := make([]unsafe.Pointer, len(l.Params))
	for i := range params {
		params[i] = unsafe.Pointer(&l.Params[i]) // it is copied
	}
	return c.do("cuLaunchKernel", func() error {
		return function(f).Launch(l.Grid.X, l.Grid.Y, l.Grid.Z, l.Block.X, l.Block.Y, l.Block.Z, l.Shared, stream(l.Stream), params)
	})
}

func (c *context) NewStream() (s driver.Stream, err error) {
	err = c.do("cuStreamCreate", func() error {
		h, err := cu.MakeStream(cu.DefaultStream)
		s = driver.Stream(*handle(&h))
		return err
	})
	return s, err
}

func (c *context) Synchronize(s driver.Stream) error {
	return c.do("cuStreamSynchronize", func() error { return stream(s).Synchronize() })
}

func (c *context) FreeStream(s driver.Stream) error {
	return c.do("cuStreamDestroy", func() error {
		h := stream(s)
		return h.Destroy()
	})
}

func (c *context) NewEvent() (e driver.Event, err error) {
	err = c.do("cuEventCreate", func() error {
		h, err := cu.MakeEvent(cu.DefaultEvent)
		e = driver.Event(*handle(&h))
		return err
	})
	return e, err
}

func (c *context) Record(e driver.Event, s driver.Stream) error {
	return c.do("cuEventRecord", func() error { return event(e).Record(stream(s)) })
}

func (c *context) Wait(s driver.Stream, e driver.Event) error {
	return c.do("cuStreamWaitEvent", func() error { return stream(s).Wait(event(e), 0) })
}

func (c *context) SynchronizeEvent(e driver.Event) error {
	return c.do("cuEventSynchronize", func() error { return event(e).Synchronize() })
}

func (c *context) Elapsed(from, to driver.Event) (d time.Duration, err error) {
	err = c.do("cuEventElapsedTime", func() error {
		ms, err := event(from).Elapsed(event(to))
		d = time.Duration(ms * float64(time.Millisecond))
		return err
	})
	return d, err
}

func (c *context) FreeEvent(e driver.Event) error {
	return c.do("cuEventDestroy", func() error {
		h := event(e)
		return cu.DestroyEvent(&h)
	})
}

func (c *context) SynchronizeAll() error {
	return c.do("cuCtxSynchronize", cu.Synchronize)
}

func (c *context) Close() error { return check("cuCtxDestroy", c.ctx.Destroy()) }
