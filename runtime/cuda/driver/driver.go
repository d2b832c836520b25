// Package driver is the CUDA driver as the rest of the runtime sees it: one interface, which
// the emulator (runtime/cuda/emu) and the bindings of libcuda implement. What it says holds
// for all of them; package drivertest is the suite that each passes.
//
// A handle (Ptr, Module, Function, Stream, Event) belongs to the context that gave it. A driver
// and its contexts may be used from several goroutines at once.
package driver

import "time"

// Driver finds devices.
type Driver interface {
	// Name says which implementation this is.
	Name() string
	// Version is that of the CUDA API: 1000 * major + 10 * minor.
	Version() (int, error)
	// Devices counts the devices. None is an error, too: NoDevice.
	Devices() (int, error)
	// Info describes a device, counted from 0.
	Info(device int) (Info, error)
	// Open makes a context on a device.
	Open(device int) (Context, error)
}

// Info is what a device is and what it can do. Sizes are in bytes.
type Info struct {
	Name     string
	Emulated bool
	Major    int // compute capability: 8.0 is sm_80
	Minor    int

	TotalMem            int64
	Multiprocessors     int
	WarpSize            int
	MaxThreadsPerBlock  int
	MaxBlock            Dim
	MaxGrid             Dim
	SharedPerBlock      int // without SetMaxDynamicShared
	SharedPerBlockOptin int // with it
	SharedPerMultiproc  int
	RegistersPerBlock   int
	ThreadsPerMultiproc int
	ClockKHz            int
	MemoryClockKHz      int
	MemoryBusBits       int
	L2Bytes             int
}

// Dim counts blocks or threads along x, y and z. None is 0.
type Dim struct{ X, Y, Z int }

// D makes a Dim; what is left out is 1.
func D(x int, yz ...int) Dim {
	d := Dim{x, 1, 1}
	if len(yz) > 0 {
		d.Y = yz[0]
	}
	if len(yz) > 1 {
		d.Z = yz[1]
	}
	return d
}

// Count is the product.
func (d Dim) Count() int { return d.X * d.Y * d.Z }

type (
	// Ptr is an address in the memory of a device. 0 is none.
	Ptr uint64
	// Module is loaded code.
	Module uintptr
	// Function is an entry of a module.
	Function uintptr
	// Stream is a queue of work. What is in one stream runs in order. 0 is the default stream,
	// which waits for all others, and they for it.
	Stream uintptr
	// Event is a mark in a stream.
	Event uintptr
)

// FunctionInfo is what the driver knows about a function. Sizes are in bytes.
type FunctionInfo struct {
	MaxThreadsPerBlock int
	Registers          int // of a thread
	Shared             int // declared in the module, without what a launch adds
	Const              int
	Local              int // of a thread
	MaxDynamicShared   int // what a launch may add
	PTXVersion         int // 10 * major + minor
	BinaryVersion      int // 10 * major + minor
}

// Launch is one run of a function.
type Launch struct {
	Grid, Block Dim
	// Shared counts the bytes of the shared memory that the module leaves open.
	Shared int
	Stream Stream
	// Params are the values of the parameters, in order. Of each the low bytes count, as many as
	// the parameter has: at most eight.
	Params []uint64
}

// Context is a device in use. Whatever runs on the device can fail later than the call that
// started it: the next call that waits for it returns its error, and all calls after that.
type Context interface {
	Info() Info

	// Alloc gives memory, aligned to 256 bytes, that holds anything. No bytes are an error, as in CUDA.
	Alloc(bytes int64) (Ptr, error)
	Free(p Ptr) error
	MemInfo() (free, total int64, err error)

	// HtoD copies src to the device behind what is in the stream. When it returns, src may be changed.
	HtoD(dst Ptr, src []byte, s Stream) error
	// DtoH copies to dst what is there behind what is in the stream. When it returns, dst is complete.
	DtoH(dst []byte, src Ptr, s Stream) error
	// DtoD and Memset are put in the stream. Memset sets bytes.
	DtoD(dst, src Ptr, bytes int64, s Stream) error
	Memset(dst Ptr, value byte, bytes int64, s Stream) error

	// Load compiles a module from PTX. The error of what does not compile holds the compiler's log.
	Load(ptx string) (Module, error)
	Unload(m Module) error
	Function(m Module, name string) (Function, error)
	// Global finds a variable of a module.
	Global(m Module, name string) (Ptr, int64, error)
	FunctionInfo(f Function) (FunctionInfo, error)
	// SetMaxDynamicShared allows launches of f to add as much shared memory, up to
	// Info.SharedPerBlockOptin less what f declares.
	SetMaxDynamicShared(f Function, bytes int) error
	Launch(f Function, l Launch) error

	NewStream() (Stream, error)
	// Synchronize waits for what is in the stream.
	Synchronize(s Stream) error
	FreeStream(s Stream) error

	NewEvent() (Event, error)
	// Record puts the event in the stream.
	Record(e Event, s Stream) error
	// Wait makes what is put in the stream from now on wait for the event.
	Wait(s Stream, e Event) error
	SynchronizeEvent(e Event) error
	// Elapsed is the time between two events that were recorded and have been reached.
	Elapsed(from, to Event) (time.Duration, error)
	FreeEvent(e Event) error

	// SynchronizeAll waits for all that was started in this context.
	SynchronizeAll() error
	// Close frees the context and all that belongs to it.
	Close() error
}
