//go:build cu && cgo && linux

package gorgonia

// #cgo CFLAGS: -I${SRCDIR}/include
// #cgo LDFLAGS: -L${SRCDIR}/lib -ldl
// #include <cuda.h>
// CUresult pitopt_cu_started(const char **why);
import "C"

import (
	"fmt"
	"runtime"
	"unsafe"

	"gorgonia.org/cu"

	"github.com/pitopt/pitopt/runtime/cuda/driver"
)

// Built says whether this binary can open libcuda.
const Built = true

// Open says whether there is a driver, with one error where there is none. PITOPT_LIBCUDA names another library.
func Open() (driver.Driver, error) {
	var why *C.char
	switch r := driver.Result(C.pitopt_cu_started(&why)); {
	case r == driver.NoDevice && C.GoString(why) != "":
		return nil, fmt.Errorf("there is no CUDA driver on this machine: %s", C.GoString(why))
	case r != driver.Success:
		return nil, fmt.Errorf("the CUDA driver does not start: %w", &driver.Error{Call: "cuInit", Result: r})
	}
	return lib{}, nil
}

// lib is gorgonia.org/cu as a driver.
type lib struct{}

// check makes an error of gorgonia.org/cu, which is a number, ours.
func check(call string, err error) error {
	if err == nil {
		return nil
	}
	return &driver.Error{Call: call, Result: resultOf(err), Err: err}
}

// resultOf is the number behind an error of gorgonia.org/cu: its type is not exported.
func resultOf(err error) driver.Result {
	var n int
	if _, e := fmt.Sscanf(fmt.Sprintf("%d", err), "%d", &n); e == nil && n != 0 {
		return driver.Result(n)
	}
	return driver.Unknown
}

func (lib) Name() string { return "gorgonia.org/cu" }

func (lib) Version() (int, error) {
	v := cu.Version()
	if v < 0 {
		return 0, &driver.Error{Call: "cuDriverGetVersion", Result: driver.Unknown}
	}
	return v, nil
}

func (lib) Devices() (int, error) {
	n, err := cu.NumDevices()
	if err == nil && n == 0 {
		return 0, &driver.Error{Call: "cuDeviceGetCount", Result: driver.NoDevice}
	}
	return n, check("cuDeviceGetCount", err)
}

func (lib) Info(device int) (driver.Info, error) {
	var i driver.Info
	dev, err := cu.GetDevice(device)
	if err != nil {
		return i, check("cuDeviceGet", err)
	}
	if i.Name, err = dev.Name(); err != nil {
		return i, check("cuDeviceGetName", err)
	}
	for attr, to := range map[cu.DeviceAttribute]*int{
		cu.MaxThreadsPerBlock: &i.MaxThreadsPerBlock, cu.MaxBlockDimX: &i.MaxBlock.X, cu.MaxBlockDimY: &i.MaxBlock.Y,
		cu.MaxBlockDimZ: &i.MaxBlock.Z, cu.MaxGridDimX: &i.MaxGrid.X, cu.MaxGridDimY: &i.MaxGrid.Y, cu.MaxGridDimZ: &i.MaxGrid.Z,
		cu.MaxSharedMemoryPerBlock: &i.SharedPerBlock, cu.WarpSize: &i.WarpSize, cu.MaxRegistersPerBlock: &i.RegistersPerBlock,
		cu.ClockRate: &i.ClockKHz, cu.MultiprocessorCount: &i.Multiprocessors, cu.MemoryClockRate: &i.MemoryClockKHz,
		cu.GlobalMemoryBusWidth: &i.MemoryBusBits, cu.L2CacheSize: &i.L2Bytes, cu.MaxThreadsPerMultiprocessor: &i.ThreadsPerMultiproc,
		cu.ComputeCapabilityMajor: &i.Major, cu.ComputeCapabilityMinor: &i.Minor,
		cu.MaxSharedMemoryPerMultiprocessor: &i.SharedPerMultiproc, sharedPerBlockOptin: &i.SharedPerBlockOptin,
	} {
		if *to, err = dev.Attribute(attr); err != nil {
			return i, check("cuDeviceGetAttribute", err)
		}
	}
	i.TotalMem, err = dev.TotalMem()
	return i, check("cuDeviceTotalMem", err)
}

// sharedPerBlockOptin is CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN.
const sharedPerBlockOptin = cu.DeviceAttribute(97)

func (l lib) Open(device int) (driver.Context, error) {
	info, err := l.Info(device)
	if err != nil {
		return nil, err
	}
	dev, err := cu.GetDevice(device)
	if err != nil {
		return nil, check("cuDeviceGet", err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ctx, err := dev.MakeContext(cu.SchedAuto)
	if err != nil {
		return nil, check("cuCtxCreate", err)
	}
	// It is made current by each call.
	_, err = cu.PopCurrentCtx()
	return &context{info: info, ctx: ctx}, check("cuCtxPopCurrent", err)
}

// handle is the pointer behind a value of gorgonia.org/cu, each of which is a struct of one.
func handle[H any](h *H) *unsafe.Pointer { return (*unsafe.Pointer)(unsafe.Pointer(h)) }

func stream(s driver.Stream) (out cu.Stream) {
	*(*uintptr)(unsafe.Pointer(&out)) = uintptr(s)
	return out
}

func event(e driver.Event) (out cu.Event) {
	*(*uintptr)(unsafe.Pointer(&out)) = uintptr(e)
	return out
}

func module(m driver.Module) (out cu.Module) {
	*(*uintptr)(unsafe.Pointer(&out)) = uintptr(m)
	return out
}

func function(f driver.Function) (out cu.Function) {
	*(*uintptr)(unsafe.Pointer(&out)) = uintptr(f)
	return out
}

// setMaxDynamicShared is what gorgonia.org/cu does not have.
func setMaxDynamicShared(f driver.Function, bytes int) error {
	fn := function(f)
	r := C.cuFuncSetAttribute(C.CUfunction(*handle(&fn)), maxDynamicShared, C.int(bytes))
	if r == C.CUDA_SUCCESS {
		return nil
	}
	return &driver.Error{Call: "cuFuncSetAttribute", Result: driver.Result(r)}
}

// maxDynamicShared is CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES.
const maxDynamicShared = 8
