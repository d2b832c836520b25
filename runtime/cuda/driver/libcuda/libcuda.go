//go:build cuda && linux && (amd64 || arm64)

package libcuda

import (
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"unsafe"

	"github.com/ebitengine/purego"

	"github.com/pitopt/pitopt/runtime/cuda/driver"
)

// Built says whether this binary can open libcuda.
const Built = true

// api is the functions of libcuda that are used.
type api struct {
	init              func(flags uint32) int32
	driverGetVersion  func(v *int32) int32
	deviceGetCount    func(n *int32) int32
	deviceGet         func(dev *int32, ordinal int32) int32
	deviceGetName     func(name *byte, n, dev int32) int32
	deviceAttribute   func(v *int32, attr, dev int32) int32
	deviceTotalMem    func(n *uintptr, dev int32) int32
	ctxCreate         func(ctx *uintptr, flags uint32, dev int32) int32
	ctxDestroy        func(ctx uintptr) int32
	ctxPopCurrent     func(ctx *uintptr) int32
	ctxSetCurrent     func(ctx uintptr) int32
	ctxSynchronize    func() int32
	memGetInfo        func(free, total *uintptr) int32
	memAlloc          func(p *uint64, n uintptr) int32
	memFree           func(p uint64) int32
	copyHtoD          func(dst uint64, src unsafe.Pointer, n, stream uintptr) int32
	copyDtoH          func(dst unsafe.Pointer, src uint64, n, stream uintptr) int32
	copyDtoD          func(dst, src uint64, n, stream uintptr) int32
	memset            func(dst uint64, v uint8, n, stream uintptr) int32
	moduleLoad        func(mod *uintptr, image unsafe.Pointer, n uint32, options *int32, values *uintptr) int32
	moduleUnload      func(mod uintptr) int32
	moduleGetFunction func(f *uintptr, mod uintptr, name string) int32
	moduleGetGlobal   func(p *uint64, n *uintptr, mod uintptr, name string) int32
	funcGetAttribute  func(v *int32, attr int32, f uintptr) int32
	funcSetAttribute  func(f uintptr, attr, v int32) int32
	launch            func(f uintptr, gx, gy, gz, bx, by, bz, shared uint32, stream uintptr, params, extra *unsafe.Pointer) int32
	streamCreate      func(s *uintptr, flags uint32) int32
	streamDestroy     func(s uintptr) int32
	streamSynchronize func(s uintptr) int32
	streamWaitEvent   func(s, e uintptr, flags uint32) int32
	eventCreate       func(e *uintptr, flags uint32) int32
	eventDestroy      func(e uintptr) int32
	eventRecord       func(e, s uintptr) int32
	eventSynchronize  func(e uintptr) int32
	eventElapsed      func(ms *float32, from, to uintptr) int32
}

// symbols are the names of the functions, those of the ABI that all drivers since CUDA 11 keep.
func (a *api) symbols() map[string]any {
	return map[string]any{
		"cuInit": &a.init, "cuDriverGetVersion": &a.driverGetVersion, "cuDeviceGetCount": &a.deviceGetCount,
		"cuDeviceGet": &a.deviceGet, "cuDeviceGetName": &a.deviceGetName, "cuDeviceGetAttribute": &a.deviceAttribute,
		"cuDeviceTotalMem_v2": &a.deviceTotalMem, "cuCtxCreate_v2": &a.ctxCreate,
		"cuCtxDestroy_v2": &a.ctxDestroy, "cuCtxPopCurrent_v2": &a.ctxPopCurrent, "cuCtxSetCurrent": &a.ctxSetCurrent, "cuCtxSynchronize": &a.ctxSynchronize,
		"cuMemGetInfo_v2": &a.memGetInfo, "cuMemAlloc_v2": &a.memAlloc, "cuMemFree_v2": &a.memFree,
		"cuMemcpyHtoDAsync_v2": &a.copyHtoD, "cuMemcpyDtoHAsync_v2": &a.copyDtoH, "cuMemcpyDtoDAsync_v2": &a.copyDtoD,
		"cuMemsetD8Async": &a.memset, "cuModuleLoadDataEx": &a.moduleLoad, "cuModuleUnload": &a.moduleUnload,
		"cuModuleGetFunction": &a.moduleGetFunction, "cuModuleGetGlobal_v2": &a.moduleGetGlobal,
		"cuFuncGetAttribute": &a.funcGetAttribute, "cuFuncSetAttribute": &a.funcSetAttribute, "cuLaunchKernel": &a.launch,
		"cuStreamCreate": &a.streamCreate, "cuStreamDestroy_v2": &a.streamDestroy, "cuStreamSynchronize": &a.streamSynchronize,
		"cuStreamWaitEvent": &a.streamWaitEvent, "cuEventCreate": &a.eventCreate, "cuEventDestroy_v2": &a.eventDestroy,
		"cuEventRecord": &a.eventRecord, "cuEventSynchronize": &a.eventSynchronize, "cuEventElapsedTime": &a.eventElapsed,
	}
}

var (
	once    sync.Once
	loaded  *api
	loadErr error
)

// Open loads the library and initialises it. There is one error where there is no driver, or no device.
// PITOPT_LIBCUDA names another library.
func Open() (driver.Driver, error) {
	once.Do(func() { loaded, loadErr = load() })
	if loadErr != nil {
		return nil, loadErr
	}
	return &lib{loaded}, nil
}

func load() (*api, error) {
	name := "libcuda.so.1"
	if s := os.Getenv("PITOPT_LIBCUDA"); s != "" {
		name = s
	}
	h, err := purego.Dlopen(name, purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		return nil, fmt.Errorf("there is no CUDA driver on this machine: %s", strings.TrimSpace(err.Error()))
	}
	a := &api{}
	for sym, f := range a.symbols() {
		p, err := purego.Dlsym(h, sym)
		if err != nil || p == 0 {
			return nil, fmt.Errorf("the CUDA driver %s is too old: it has no %s", name, sym)
		}
		purego.RegisterFunc(f, p)
	}
	if err := check("cuInit", a.init(0)); err != nil {
		return nil, fmt.Errorf("the CUDA driver does not start: %w", err)
	}
	return a, nil
}

func check(call string, r int32) error {
	if r == 0 {
		return nil
	}
	return &driver.Error{Call: call, Result: driver.Result(r)}
}

// lib is the library as a driver.
type lib struct{ *api }

func (l *lib) Name() string { return "libcuda" }

func (l *lib) Version() (int, error) {
	var v int32
	err := check("cuDriverGetVersion", l.driverGetVersion(&v))
	return int(v), err
}

func (l *lib) Devices() (int, error) {
	var n int32
	err := check("cuDeviceGetCount", l.deviceGetCount(&n))
	if err == nil && n == 0 {
		err = &driver.Error{Call: "cuDeviceGetCount", Result: driver.NoDevice}
	}
	return int(n), err
}

// attributes are CU_DEVICE_ATTRIBUTE_*, and where they go.
func attributes(i *driver.Info) map[int32]*int {
	return map[int32]*int{
		1: &i.MaxThreadsPerBlock, 2: &i.MaxBlock.X, 3: &i.MaxBlock.Y, 4: &i.MaxBlock.Z, 5: &i.MaxGrid.X, 6: &i.MaxGrid.Y,
		7: &i.MaxGrid.Z, 8: &i.SharedPerBlock, 10: &i.WarpSize, 12: &i.RegistersPerBlock, 13: &i.ClockKHz,
		16: &i.Multiprocessors, 36: &i.MemoryClockKHz, 37: &i.MemoryBusBits, 38: &i.L2Bytes, 39: &i.ThreadsPerMultiproc,
		75: &i.Major, 76: &i.Minor, 81: &i.SharedPerMultiproc, 97: &i.SharedPerBlockOptin,
	}
}

func (l *lib) Info(device int) (driver.Info, error) {
	var info driver.Info
	var dev int32
	if err := check("cuDeviceGet", l.deviceGet(&dev, int32(device))); err != nil {
		return info, err
	}
	name := make([]byte, 256)
	if err := check("cuDeviceGetName", l.deviceGetName(&name[0], int32(len(name)), dev)); err != nil {
		return info, err
	}
	info.Name, _, _ = strings.Cut(string(name), "\x00")
	for attr, to := range attributes(&info) {
		var v int32
		if err := check("cuDeviceGetAttribute", l.deviceAttribute(&v, attr, dev)); err != nil {
			return info, err
		}
		*to = int(v)
	}
	var n uintptr
	err := check("cuDeviceTotalMem", l.deviceTotalMem(&n, dev))
	info.TotalMem = int64(n)
	return info, err
}

// Open makes a context of its own: the primary one would be shared by all that are open, with their memory.
func (l *lib) Open(device int) (driver.Context, error) {
	info, err := l.Info(device)
	if err != nil {
		return nil, err
	}
	var dev int32
	if err := check("cuDeviceGet", l.deviceGet(&dev, int32(device))); err != nil {
		return nil, err
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	c := &context{api: l.api, info: info}
	if err := check("cuCtxCreate", l.ctxCreate(&c.ctx, 0, dev)); err != nil {
		return nil, err
	}
	// It is made current by each call.
	var popped uintptr
	return c, check("cuCtxPopCurrent", l.ctxPopCurrent(&popped))
}
