//go:build standin

// Command standin is a libcuda that has the emulator for a device: the C functions that the bindings of the driver call. It is
// for their tests, which build it with
//
//	go build -tags standin -buildmode=c-shared -o libcuda.so.1 ./runtime/cuda/driver/standin
//
// and name it in PITOPT_LIBCUDA.
package main

// #include <stdint.h>
// #include <stddef.h>
import "C"

import (
	"math"
	"sync"
	"unsafe"

	"github.com/pitopt/pitopt/runtime/cuda/driver"
	"github.com/pitopt/pitopt/runtime/cuda/emu"
)

var (
	device = emu.New(emu.Options{})

	mu       sync.Mutex
	contexts = map[uintptr]driver.Context{} // by handle
	params   = map[driver.Function][]int{}
	last     uintptr
	current  uintptr // of all threads: the tests use one context at a time
)

func main() {}

func result(err error) C.int { return C.int(driver.ResultOf(err)) }

// ctx is the current context.
func ctx() driver.Context {
	mu.Lock()
	defer mu.Unlock()
	return contexts[current]
}

// with calls f with the current context.
func with(f func(c driver.Context) error) C.int {
	c := ctx()
	if c == nil {
		return C.int(driver.InvalidContext)
	}
	return result(f(c))
}

//export cuInit
func cuInit(flags C.uint) C.int { return 0 }

//export cuDriverGetVersion
func cuDriverGetVersion(v *C.int) C.int {
	n, err := device.Version()
	*v = C.int(n)
	return result(err)
}

//export cuDeviceGetCount
func cuDeviceGetCount(n *C.int) C.int {
	*n = 1
	return 0
}

//export cuDeviceGet
func cuDeviceGet(dev *C.int, ordinal C.int) C.int {
	*dev = ordinal
	_, err := device.Info(int(ordinal))
	return result(err)
}

//export cuDeviceGetName
func cuDeviceGetName(name *C.char, n, dev C.int) C.int {
	info, err := device.Info(int(dev))
	out := unsafe.Slice((*byte)(unsafe.Pointer(name)), int(n))
	out[copy(out[:n-1], info.Name)] = 0
	return result(err)
}

//export cuDeviceGetAttribute
func cuDeviceGetAttribute(v *C.int, attr, dev C.int) C.int {
	i, err := device.Info(int(dev))
	n, ok := map[C.int]int{1: i.MaxThreadsPerBlock, 2: i.MaxBlock.X, 3: i.MaxBlock.Y, 4: i.MaxBlock.Z, 5: i.MaxGrid.X, 6: i.MaxGrid.Y,
		7: i.MaxGrid.Z, 8: i.SharedPerBlock, 10: i.WarpSize, 12: i.RegistersPerBlock, 13: i.ClockKHz, 16: i.Multiprocessors,
		36: i.MemoryClockKHz, 37: i.MemoryBusBits, 38: i.L2Bytes, 39: i.ThreadsPerMultiproc, 75: i.Major, 76: i.Minor,
		81: i.SharedPerMultiproc, 97: i.SharedPerBlockOptin}[attr]
	if !ok {
		return C.int(driver.InvalidValue)
	}
	*v = C.int(n)
	return result(err)
}

//export cuDeviceTotalMem_v2
func cuDeviceTotalMem_v2(n *C.size_t, dev C.int) C.int {
	info, err := device.Info(int(dev))
	*n = C.size_t(info.TotalMem)
	return result(err)
}

//export cuCtxCreate_v2
func cuCtxCreate_v2(out *C.uintptr_t, flags C.uint, dev C.int) C.int {
	c, err := device.Open(int(dev))
	if err != nil {
		return result(err)
	}
	mu.Lock()
	defer mu.Unlock()
	last++
	contexts[last], current = c, last
	*out = C.uintptr_t(last)
	return 0
}

//export cuCtxDestroy_v2
func cuCtxDestroy_v2(h C.uintptr_t) C.int {
	mu.Lock()
	c := contexts[uintptr(h)]
	delete(contexts, uintptr(h))
	mu.Unlock()
	if c == nil {
		return C.int(driver.InvalidContext)
	}
	return result(c.Close())
}

//export cuCtxPopCurrent_v2
func cuCtxPopCurrent_v2(out *C.uintptr_t) C.int {
	*out = C.uintptr_t(current)
	return 0
}

//export cuCtxSetCurrent
func cuCtxSetCurrent(h C.uintptr_t) C.int {
	mu.Lock()
	defer mu.Unlock()
	if contexts[uintptr(h)] == nil {
		return C.int(driver.InvalidContext)
	}
	current = uintptr(h)
	return 0
}

//export cuCtxSynchronize
func cuCtxSynchronize() C.int { return with(driver.Context.SynchronizeAll) }

//export cuMemGetInfo_v2
func cuMemGetInfo_v2(free, total *C.size_t) C.int {
	return with(func(c driver.Context) error {
		f, t, err := c.MemInfo()
		*free, *total = C.size_t(f), C.size_t(t)
		return err
	})
}

//export cuMemAlloc_v2
func cuMemAlloc_v2(p *C.uint64_t, n C.size_t) C.int {
	return with(func(c driver.Context) error {
		a, err := c.Alloc(int64(n))
		*p = C.uint64_t(a)
		return err
	})
}

//export cuMemFree_v2
func cuMemFree_v2(p C.uint64_t) C.int {
	return with(func(c driver.Context) error { return c.Free(driver.Ptr(p)) })
}

//export cuMemcpyHtoDAsync_v2
func cuMemcpyHtoDAsync_v2(dst C.uint64_t, src unsafe.Pointer, n C.size_t, s C.uintptr_t) C.int {
	return with(func(c driver.Context) error {
		return c.HtoD(driver.Ptr(dst), unsafe.Slice((*byte)(src), int(n)), driver.Stream(s))
	})
}

//export cuMemcpyDtoHAsync_v2
func cuMemcpyDtoHAsync_v2(dst unsafe.Pointer, src C.uint64_t, n C.size_t, s C.uintptr_t) C.int {
	return with(func(c driver.Context) error {
		return c.DtoH(unsafe.Slice((*byte)(dst), int(n)), driver.Ptr(src), driver.Stream(s))
	})
}

//export cuMemcpyDtoDAsync_v2
func cuMemcpyDtoDAsync_v2(dst, src C.uint64_t, n C.size_t, s C.uintptr_t) C.int {
	return with(func(c driver.Context) error {
		return c.DtoD(driver.Ptr(dst), driver.Ptr(src), int64(n), driver.Stream(s))
	})
}

//export cuMemsetD8Async
func cuMemsetD8Async(dst C.uint64_t, v C.uchar, n C.size_t, s C.uintptr_t) C.int {
	return with(func(c driver.Context) error { return c.Memset(driver.Ptr(dst), byte(v), int64(n), driver.Stream(s)) })
}

// text is a C string.
func text(p unsafe.Pointer) string {
	n := 0
	for *(*byte)(unsafe.Add(p, n)) != 0 {
		n++
	}
	return string(unsafe.Slice((*byte)(p), n))
}

//export cuModuleLoadDataEx
func cuModuleLoadDataEx(mod *C.uintptr_t, image unsafe.Pointer, n C.uint, options *C.int, values *unsafe.Pointer) C.int {
	return with(func(c driver.Context) error {
		m, err := c.Load(text(image))
		*mod = C.uintptr_t(m)
		if err == nil {
			return nil
		}
		// The log goes where the options say.
		var log unsafe.Pointer
		size := 0
		for i, o := range unsafe.Slice(options, int(n)) {
			v := unsafe.Slice(values, int(n))[i]
			switch o {
			case 5:
				log = v
			case 6:
				size = int(uintptr(v))
			}
		}
		if log != nil && size > 0 {
			out := unsafe.Slice((*byte)(log), size)
			out[copy(out[:size-1], err.Error())] = 0
		}
		return err
	})
}

//export cuModuleUnload
func cuModuleUnload(mod C.uintptr_t) C.int {
	return with(func(c driver.Context) error { return c.Unload(driver.Module(mod)) })
}

//export cuModuleGetFunction
func cuModuleGetFunction(f *C.uintptr_t, mod C.uintptr_t, name *C.char) C.int {
	return with(func(c driver.Context) error {
		h, err := c.Function(driver.Module(mod), text(unsafe.Pointer(name)))
		*f = C.uintptr_t(h)
		if err == nil {
			mu.Lock()
			defer mu.Unlock()
			params[h] = c.(*emu.Context).ParamSizes(h)
		}
		return err
	})
}

//export cuModuleGetGlobal_v2
func cuModuleGetGlobal_v2(p *C.uint64_t, n *C.size_t, mod C.uintptr_t, name *C.char) C.int {
	return with(func(c driver.Context) error {
		a, size, err := c.Global(driver.Module(mod), text(unsafe.Pointer(name)))
		*p, *n = C.uint64_t(a), C.size_t(size)
		return err
	})
}

//export cuFuncGetAttribute
func cuFuncGetAttribute(v *C.int, attr C.int, f C.uintptr_t) C.int {
	return with(func(c driver.Context) error {
		i, err := c.FunctionInfo(driver.Function(f))
		*v = C.int(map[C.int]int{0: i.MaxThreadsPerBlock, 1: i.Shared, 2: i.Const, 3: i.Local, 4: i.Registers, 5: i.PTXVersion,
			6: i.BinaryVersion, 8: i.MaxDynamicShared}[attr])
		return err
	})
}

//export cuFuncSetAttribute
func cuFuncSetAttribute(f C.uintptr_t, attr, v C.int) C.int {
	return with(func(c driver.Context) error { return c.SetMaxDynamicShared(driver.Function(f), int(v)) })
}

//export cuLaunchKernel
func cuLaunchKernel(f C.uintptr_t, gx, gy, gz, bx, by, bz, shared C.uint, s C.uintptr_t, args, extra *unsafe.Pointer) C.int {
	return with(func(c driver.Context) error {
		l := driver.Launch{Grid: driver.Dim{X: int(gx), Y: int(gy), Z: int(gz)}, Block: driver.Dim{X: int(bx), Y: int(by), Z: int(bz)},
			Shared: int(shared), Stream: driver.Stream(s)}
		mu.Lock()
		sizes := params[driver.Function(f)]
		mu.Unlock()
		for i, n := range sizes {
			var v uint64
			copy(unsafe.Slice((*byte)(unsafe.Pointer(&v)), 8), unsafe.Slice((*byte)(unsafe.Slice(args, len(sizes))[i]), n))
			l.Params = append(l.Params, v)
		}
		return c.Launch(driver.Function(f), l)
	})
}

//export cuStreamCreate
func cuStreamCreate(s *C.uintptr_t, flags C.uint) C.int {
	return with(func(c driver.Context) error {
		h, err := c.NewStream()
		*s = C.uintptr_t(h)
		return err
	})
}

//export cuStreamDestroy_v2
func cuStreamDestroy_v2(s C.uintptr_t) C.int {
	return with(func(c driver.Context) error { return c.FreeStream(driver.Stream(s)) })
}

//export cuStreamSynchronize
func cuStreamSynchronize(s C.uintptr_t) C.int {
	return with(func(c driver.Context) error { return c.Synchronize(driver.Stream(s)) })
}

//export cuStreamWaitEvent
func cuStreamWaitEvent(s, e C.uintptr_t, flags C.uint) C.int {
	return with(func(c driver.Context) error { return c.Wait(driver.Stream(s), driver.Event(e)) })
}

//export cuEventCreate
func cuEventCreate(e *C.uintptr_t, flags C.uint) C.int {
	return with(func(c driver.Context) error {
		h, err := c.NewEvent()
		*e = C.uintptr_t(h)
		return err
	})
}

//export cuEventDestroy_v2
func cuEventDestroy_v2(e C.uintptr_t) C.int {
	return with(func(c driver.Context) error { return c.FreeEvent(driver.Event(e)) })
}

//export cuEventRecord
func cuEventRecord(e, s C.uintptr_t) C.int {
	return with(func(c driver.Context) error { return c.Record(driver.Event(e), driver.Stream(s)) })
}

//export cuEventSynchronize
func cuEventSynchronize(e C.uintptr_t) C.int {
	return with(func(c driver.Context) error { return c.SynchronizeEvent(driver.Event(e)) })
}

//export cuEventElapsedTime
func cuEventElapsedTime(ms *C.float, from, to C.uintptr_t) C.int {
	return with(func(c driver.Context) error {
		d, err := c.Elapsed(driver.Event(from), driver.Event(to))
		*ms = C.float(math.Max(0, d.Seconds()*1000))
		return err
	})
}
