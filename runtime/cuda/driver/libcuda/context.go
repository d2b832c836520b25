//go:build cuda && linux && (amd64 || arm64)

package libcuda

import (
	"runtime"
	"strings"
	"time"
	"unsafe"

	"github.com/pitopt/pitopt/runtime/cuda/driver"
)

// context is a context of a device. It is made current on the thread of each call.
type context struct {
	*api
	info driver.Info
	ctx  uintptr
}

// do makes a call with the context current.
func (c *context) do(call string, f func() int32) error {
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := check("cuCtxSetCurrent", c.ctxSetCurrent(c.ctx)); err != nil {
		return err
	}
	return check(call, f())
}

func (c *context) Info() driver.Info { return c.info }

func (c *context) Alloc(bytes int64) (driver.Ptr, error) {
	if bytes <= 0 {
		return 0, driver.Errorf("cuMemAlloc", driver.InvalidValue, "%d bytes", bytes)
	}
	var p uint64
	err := c.do("cuMemAlloc", func() int32 { return c.memAlloc(&p, uintptr(bytes)) })
	return driver.Ptr(p), err
}

func (c *context) Free(p driver.Ptr) error {
	return c.do("cuMemFree", func() int32 { return c.memFree(uint64(p)) })
}

func (c *context) MemInfo() (free, total int64, err error) {
	var f, t uintptr
	err = c.do("cuMemGetInfo", func() int32 { return c.memGetInfo(&f, &t) })
	return int64(f), int64(t), err
}

// HtoD copies from pageable memory: the driver may stage it later, so it is waited for.
func (c *context) HtoD(dst driver.Ptr, src []byte, s driver.Stream) error {
	if len(src) == 0 {
		return nil
	}
	var pin runtime.Pinner
	pin.Pin(&src[0])
	defer pin.Unpin()
	err := c.do("cuMemcpyHtoD", func() int32 {
		return c.copyHtoD(uint64(dst), unsafe.Pointer(&src[0]), uintptr(len(src)), uintptr(s))
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
	err := c.do("cuMemcpyDtoH", func() int32 {
		return c.copyDtoH(unsafe.Pointer(&dst[0]), uint64(src), uintptr(len(dst)), uintptr(s))
	})
	if err != nil {
		return err
	}
	return c.Synchronize(s)
}

func (c *context) DtoD(dst, src driver.Ptr, bytes int64, s driver.Stream) error {
	switch {
	case bytes < 0:
		return driver.Errorf("cuMemcpyDtoD", driver.InvalidValue, "%d bytes", bytes)
	case bytes == 0:
		return nil
	}
	return c.do("cuMemcpyDtoD", func() int32 { return c.copyDtoD(uint64(dst), uint64(src), uintptr(bytes), uintptr(s)) })
}

func (c *context) Memset(dst driver.Ptr, value byte, bytes int64, s driver.Stream) error {
	switch {
	case bytes < 0:
		return driver.Errorf("cuMemsetD8", driver.InvalidValue, "%d bytes", bytes)
	case bytes == 0:
		return nil
	}
	return c.do("cuMemsetD8", func() int32 { return c.memset(uint64(dst), value, uintptr(bytes), uintptr(s)) })
}

// What cuModuleLoadDataEx is asked for: CU_JIT_ERROR_LOG_BUFFER and its size.
const (
	jitErrorLog      = 5
	jitErrorLogBytes = 6
)

func (c *context) Load(ptx string) (driver.Module, error) {
	image := append([]byte(ptx), 0)
	log := make([]byte, 16<<10)
	options := [2]int32{jitErrorLog, jitErrorLogBytes}
	var pin runtime.Pinner
	defer pin.Unpin()
	pin.Pin(&log[0])
	values := [2]uintptr{uintptr(unsafe.Pointer(&log[0])), uintptr(len(log))}
	var mod uintptr
	err := c.do("cuModuleLoadData", func() int32 {
		return c.moduleLoad(&mod, unsafe.Pointer(&image[0]), 2, &options[0], &values[0])
	})
	if e, ok := err.(*driver.Error); ok {
		text, _, _ := strings.Cut(string(log), "\x00")
		e.Detail = strings.TrimSpace(text)
	}
	return driver.Module(mod), err
}

func (c *context) Unload(m driver.Module) error {
	return c.do("cuModuleUnload", func() int32 { return c.moduleUnload(uintptr(m)) })
}

func (c *context) Function(m driver.Module, name string) (driver.Function, error) {
	var f uintptr
	err := c.do("cuModuleGetFunction", func() int32 { return c.moduleGetFunction(&f, uintptr(m), name) })
	return driver.Function(f), named(err, name)
}

// named adds to an error what was looked for.
func named(err error, name string) error {
	if e, ok := err.(*driver.Error); ok && e.Detail == "" {
		e.Detail = name
	}
	return err
}

func (c *context) Global(m driver.Module, name string) (driver.Ptr, int64, error) {
	var p uint64
	var n uintptr
	err := c.do("cuModuleGetGlobal", func() int32 { return c.moduleGetGlobal(&p, &n, uintptr(m), name) })
	return driver.Ptr(p), int64(n), named(err, name)
}

// maxDynamicShared is CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES.
const maxDynamicShared = 8

func (c *context) FunctionInfo(f driver.Function) (driver.FunctionInfo, error) {
	var i driver.FunctionInfo
	for attr, to := range map[int32]*int{0: &i.MaxThreadsPerBlock, 1: &i.Shared, 2: &i.Const, 3: &i.Local, 4: &i.Registers,
		5: &i.PTXVersion, 6: &i.BinaryVersion, maxDynamicShared: &i.MaxDynamicShared} {
		var v int32
		if err := c.do("cuFuncGetAttribute", func() int32 { return c.funcGetAttribute(&v, attr, uintptr(f)) }); err != nil {
			return i, err
		}
		*to = int(v)
	}
	return i, nil
}

func (c *context) SetMaxDynamicShared(f driver.Function, bytes int) error {
	return c.do("cuFuncSetAttribute", func() int32 { return c.funcSetAttribute(uintptr(f), maxDynamicShared, int32(bytes)) })
}

func (c *context) Launch(f driver.Function, l driver.Launch) error {
	if l.Grid.X < 1 || l.Grid.Y < 1 || l.Grid.Z < 1 || l.Block.X < 1 || l.Block.Y < 1 || l.Block.Z < 1 || l.Shared < 0 {
		return driver.Errorf("cuLaunchKernel", driver.InvalidValue, "grid %v, block %v, %d bytes of shared memory", l.Grid, l.Block, l.Shared)
	}
	// The driver reads each parameter through a pointer: both arrays stay where they are while it does.
	var pin runtime.Pinner
	defer pin.Unpin()
	var params *unsafe.Pointer
	if n := len(l.Params); n > 0 {
		list := make([]unsafe.Pointer, n)
		pin.Pin(&l.Params[0])
		for i := range l.Params {
			list[i] = unsafe.Pointer(&l.Params[i])
		}
		params = &list[0]
	}
	err := c.do("cuLaunchKernel", func() int32 {
		return c.launch(uintptr(f), uint32(l.Grid.X), uint32(l.Grid.Y), uint32(l.Grid.Z),
			uint32(l.Block.X), uint32(l.Block.Y), uint32(l.Block.Z), uint32(l.Shared), uintptr(l.Stream), params, nil)
	})
	runtime.KeepAlive(params)
	return err
}

func (c *context) NewStream() (driver.Stream, error) {
	var s uintptr
	err := c.do("cuStreamCreate", func() int32 { return c.streamCreate(&s, 0) })
	return driver.Stream(s), err
}

func (c *context) Synchronize(s driver.Stream) error {
	return c.do("cuStreamSynchronize", func() int32 { return c.streamSynchronize(uintptr(s)) })
}

func (c *context) FreeStream(s driver.Stream) error {
	return c.do("cuStreamDestroy", func() int32 { return c.streamDestroy(uintptr(s)) })
}

func (c *context) NewEvent() (driver.Event, error) {
	var e uintptr
	err := c.do("cuEventCreate", func() int32 { return c.eventCreate(&e, 0) })
	return driver.Event(e), err
}

func (c *context) Record(e driver.Event, s driver.Stream) error {
	return c.do("cuEventRecord", func() int32 { return c.eventRecord(uintptr(e), uintptr(s)) })
}

func (c *context) Wait(s driver.Stream, e driver.Event) error {
	return c.do("cuStreamWaitEvent", func() int32 { return c.streamWaitEvent(uintptr(s), uintptr(e), 0) })
}

func (c *context) SynchronizeEvent(e driver.Event) error {
	return c.do("cuEventSynchronize", func() int32 { return c.eventSynchronize(uintptr(e)) })
}

func (c *context) Elapsed(from, to driver.Event) (time.Duration, error) {
	var ms float32
	err := c.do("cuEventElapsedTime", func() int32 { return c.eventElapsed(&ms, uintptr(from), uintptr(to)) })
	return time.Duration(float64(ms) * float64(time.Millisecond)), err
}

func (c *context) FreeEvent(e driver.Event) error {
	return c.do("cuEventDestroy", func() int32 { return c.eventDestroy(uintptr(e)) })
}

func (c *context) SynchronizeAll() error {
	return c.do("cuCtxSynchronize", func() int32 { return c.ctxSynchronize() })
}

func (c *context) Close() error {
	return check("cuCtxDestroy", c.ctxDestroy(c.ctx))
}
