package x86

import (
	"fmt"
	"os"
	"runtime"
	"sync"
	"unsafe"
)

// Arena is executable memory. Code that is loaded together lies together, in memory of its
// own that is written first and then made executable, and is never both; it stays
// until the arena is closed. The zero value is ready. It may be used from
// several goroutines.
type Arena struct {
	// PerfMap writes the names of functions to /tmp/perf-PID.map, where Linux's perf
	// looks for them. The file outlives the process.
	PerfMap bool
	// Watch is told of each call of code that is loaded after it is set, before it. Calls at the
	// same time tell it at the same time.
	Watch func(*Code)

	mu      sync.Mutex
	regions [][]byte
	size    int
}

// Load makes code executable. The error is the system's refusal, where it
// forbids executable memory; then nothing is loaded.
func (a *Arena) Load(codes ...*Code) ([]Func, error) {
	if !callable {
		return nil, fmt.Errorf("x86: machine code for x86-64 can not run on %s/%s", runtime.GOOS, runtime.GOARCH)
	}
	size := 0
	starts := make([]int, len(codes))
	for i, c := range codes {
		starts[i] = size
		size += (len(c.Bytes) + lineBytes - 1) &^ (lineBytes - 1)
	}
	if size == 0 {
		return nil, nil
	}
	page := os.Getpagesize()
	size = (size + page - 1) &^ (page - 1)
	mem, err := memory.reserve(size)
	if err != nil {
		return nil, fmt.Errorf("x86: %d bytes for code: %w", size, err)
	}
	for i := range mem {
		mem[i] = trap
	}
	for i, c := range codes {
		copy(mem[starts[i]:], c.Bytes)
	}
	if err := memory.seal(mem); err != nil {
		memory.release(mem)
		return nil, fmt.Errorf("x86: memory could not be made executable: %w", err)
	}
	fs := make([]Func, len(codes))
	for i, c := range codes {
		fs[i] = Func{Name: c.Name, addr: uintptr(unsafe.Pointer(&mem[starts[i]]))}
		if a.Watch != nil {
			fs[i].watched = &watched{c, a.Watch}
		}
	}
	if a.PerfMap {
		if err := perfMap.write(codes, fs); err != nil {
			memory.release(mem)
			return nil, fmt.Errorf("x86: names for perf: %w", err)
		}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.regions = append(a.regions, mem)
	a.size += size
	return fs, nil
}

// trap is the instruction that fills what is not code: running into it ends in a fault.
const trap = 0xCC

// Size is how many bytes the arena has taken from the system.
func (a *Arena) Size() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.size
}

// Close gives the memory back. None of its functions may be running, or be called again.
func (a *Arena) Close() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	var first error
	for _, r := range a.regions {
		if err := memory.release(r); err != nil && first == nil {
			first = fmt.Errorf("x86: %w", err)
		}
	}
	a.regions, a.size = nil, 0
	return first
}

// system is what executable memory takes: memory that can be written; the same as memory that
// can be executed and no longer written; giving it back.
type system struct {
	reserve func(size int) ([]byte, error)
	seal    func([]byte) error
	release func([]byte) error
}

// names is the file where perf looks for names. What another process with the same number has left
// there goes with the first function.
type names struct {
	mu   sync.Mutex
	file *os.File
}

var perfMap names

func (n *names) write(codes []*Code, fs []Func) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.file == nil {
		f, err := os.Create(fmt.Sprintf("/tmp/perf-%d.map", os.Getpid()))
		if err != nil {
			return err
		}
		n.file = f
	}
	var b []byte
	for i, c := range codes {
		b = fmt.Appendf(b, "%x %x %s\n", fs[i].addr, len(c.Bytes), c.Name)
	}
	_, err := n.file.Write(b)
	return err
}
