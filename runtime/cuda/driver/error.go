package driver

import (
	"errors"
	"fmt"
)

// Result is a CUresult.
type Result int

// The results that drivers of this project give or tests look for.
const (
	Success                Result = 0
	InvalidValue           Result = 1
	OutOfMemory            Result = 2
	NotInitialized         Result = 3
	Deinitialized          Result = 4
	StubLibrary            Result = 34
	NoDevice               Result = 100
	InvalidDevice          Result = 101
	InvalidContext         Result = 201
	InvalidPTX             Result = 218
	UnsupportedPTXVersion  Result = 222
	SharedObjectInitFailed Result = 303
	InvalidHandle          Result = 400
	NotFound               Result = 500
	NotReady               Result = 600
	IllegalAddress         Result = 700
	LaunchOutOfResources   Result = 701
	LaunchTimeout          Result = 702
	IllegalInstruction     Result = 715
	MisalignedAddress      Result = 716
	InvalidAddressSpace    Result = 717
	InvalidPC              Result = 718
	LaunchFailed           Result = 719
	NotPermitted           Result = 800
	NotSupported           Result = 801
	Unknown                Result = 999
)

var results = map[Result]string{
	Success: "CUDA_SUCCESS", InvalidValue: "CUDA_ERROR_INVALID_VALUE", OutOfMemory: "CUDA_ERROR_OUT_OF_MEMORY",
	NotInitialized: "CUDA_ERROR_NOT_INITIALIZED", Deinitialized: "CUDA_ERROR_DEINITIALIZED",
	StubLibrary: "CUDA_ERROR_STUB_LIBRARY", NoDevice: "CUDA_ERROR_NO_DEVICE", InvalidDevice: "CUDA_ERROR_INVALID_DEVICE",
	InvalidContext: "CUDA_ERROR_INVALID_CONTEXT", InvalidPTX: "CUDA_ERROR_INVALID_PTX",
	UnsupportedPTXVersion:  "CUDA_ERROR_UNSUPPORTED_PTX_VERSION",
	SharedObjectInitFailed: "CUDA_ERROR_SHARED_OBJECT_INIT_FAILED", InvalidHandle: "CUDA_ERROR_INVALID_HANDLE",
	NotFound: "CUDA_ERROR_NOT_FOUND", NotReady: "CUDA_ERROR_NOT_READY", IllegalAddress: "CUDA_ERROR_ILLEGAL_ADDRESS",
	LaunchOutOfResources: "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", LaunchTimeout: "CUDA_ERROR_LAUNCH_TIMEOUT",
	IllegalInstruction: "CUDA_ERROR_ILLEGAL_INSTRUCTION", MisalignedAddress: "CUDA_ERROR_MISALIGNED_ADDRESS",
	InvalidAddressSpace: "CUDA_ERROR_INVALID_ADDRESS_SPACE", InvalidPC: "CUDA_ERROR_INVALID_PC",
	LaunchFailed: "CUDA_ERROR_LAUNCH_FAILED", NotPermitted: "CUDA_ERROR_NOT_PERMITTED",
	NotSupported: "CUDA_ERROR_NOT_SUPPORTED", Unknown: "CUDA_ERROR_UNKNOWN",
}

// String is CUDA's name of the result.
func (r Result) String() string {
	if s, ok := results[r]; ok {
		return s
	}
	return fmt.Sprintf("CUDA error %d", int(r))
}

// Error is a call that failed. Its text is
//
//	CALL: RESULT: DETAIL
//
// with CUDA's names, such as cuMemAlloc and CUDA_ERROR_OUT_OF_MEMORY.
type Error struct {
	Call   string
	Result Result
	Detail string // what more is known: the compiler's log, the instruction, the sizes; "" where nothing is
	Err    error  // what it wraps, if anything
}

func (e *Error) Unwrap() error { return e.Err }

func (e *Error) Error() string {
	s := e.Call + ": " + e.Result.String()
	if e.Detail != "" {
		s += ": " + e.Detail
	}
	return s
}

// Errorf makes an error of a call; an empty format says nothing more.
func Errorf(call string, r Result, format string, args ...any) *Error {
	return &Error{Call: call, Result: r, Detail: fmt.Sprintf(format, args...)}
}

// ResultOf is the result that err holds: Success where it is nil, Unknown where it is not a driver's.
func ResultOf(err error) Result {
	if err == nil {
		return Success
	}
	var e *Error
	if errors.As(err, &e) {
		return e.Result
	}
	return Unknown
}
