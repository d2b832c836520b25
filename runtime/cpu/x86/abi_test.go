package x86

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"regexp"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"runtime/trace"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unsafe"
)

// The tests of docs/abi.md, one for each rule.

// runnable skips a test where this machine can not run code that needs f.
func runnable(t testing.TB, f Features) {
	t.Helper()
	if !callable {
		t.Skipf("code for x86-64 can not be called on %s/%s", runtime.GOOS, runtime.GOARCH)
	}
	if f&^Processor() != 0 {
		t.Skipf("the processor has %q, the test needs %q", Processor(), f)
	}
}

// load makes a function of a program.
func load(t testing.TB, p *Prog) Func {
	t.Helper()
	c, err := Assemble(p, Processor())
	if err != nil {
		t.Fatal(err)
	}
	return loadCode(t, c)
}

func loadCode(t testing.TB, c *Code) Func {
	t.Helper()
	var a Arena
	fs, err := a.Load(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := a.Close(); err != nil {
			t.Error(err)
		}
	})
	return fs[0]
}

// spin is a loop of args[0] steps that writes its count to args[1].
func spin() *Prog {
	p := NewProg("spin")
	p.Emit(MOV, RCX, At(ArgBase, 0))
	p.Emit(XOR, RAX.As(GP32), RAX.As(GP32))
	top := p.Label("top")
	p.Bind(top)
	p.Emit(INC, RAX)
	p.Emit(DEC, RCX)
	p.Emit(JNE, top)
	p.Emit(MOV, At(ArgBase, 8), RAX)
	p.Emit(RET)
	return p
}

// TestArguments: the code gets the address of its block, and what it writes there is seen.
func TestArguments(t *testing.T) {
	runnable(t, 0)
	f := load(t, spin())
	args := [2]int64{12345, 0} // on the stack of this goroutine
	f.Call(unsafe.Pointer(&args))
	if args[1] != 12345 {
		t.Errorf("the loop counted %d", args[1])
	}
}

// TestRegisters: the code may change every register but SP and BP, and the upper
// halves of vectors; Go goes on with its own.
func TestRegisters(t *testing.T) {
	runnable(t, V3)
	p := NewProg("clobber")
	p.Emit(MOV, RAX, Imm(-0x123456789abcdef))
	for r := RCX; r <= R15; r++ {
		if r != RSP && r != RBP {
			p.Emit(MOV, r, RAX)
		}
	}
	for i := range 16 {
		p.Emit(VPCMPEQD, Y(i), Y(i), Y(i))
	}
	if Processor()&V4 != 0 {
		for i := range 32 {
			p.Emit(VPTERNLOGD, Z(i), Z(i), Z(i), Imm(255))
		}
		for i := range 8 {
			p.Emit(KXNORQ, K(i), K(i), K(i))
		}
	}
	p.Emit(CMP, RAX, Imm(-1))
	p.Emit(RET)
	f := load(t, p)
	var sink [][]byte
	for i := range 1000 {
		f.Call(nil)
		big := new([64]uint64) // zeroed through X15
		if *big != [64]uint64{} {
			t.Fatal("memory that Go zeroes is not zero")
		}
		sink = append(sink[:i%16], make([]byte, 1000)) // g, from R14
		runtime.Gosched()
	}
	if len(sink) == 0 {
		t.Fatal("nothing was kept")
	}
}

// TestStackPointer: no program that changes SP or BP is assembled.
func TestStackPointer(t *testing.T) {
	for _, r := range []Reg{RSP, RBP, RSP.As(GP32), RBP.As(GP32)} {
		p := NewProg("sp")
		p.Emit(MOV, r, r.As(r.Kind()))
		if _, err := Assemble(p, 0); err == nil || !strings.Contains(err.Error(), "docs/abi.md") {
			t.Errorf("%s is written: %v", r, err)
		}
	}
}

// TestNothingCalled: there is no instruction that calls, enters the system, moves the
// stack, or changes modes that Go relies on.
func TestNothingCalled(t *testing.T) {
	forbidden := regexp.MustCompile(`^(call|syscall|sysenter|int[0-9o]?$|push|pop[af]?$|enter|leave|std|cld|v?ldmxcsr|fldcw|xrstor|wr[fg]sbase|swapgs|vzeroall)`)
	for _, o := range ops {
		if forbidden.MatchString(o.Name) {
			t.Errorf("%s is in the table", o.Name)
		}
	}
}

// TestScratch: the code has MaxScratch bytes, aligned to a cache line; more is refused.
func TestScratch(t *testing.T) {
	runnable(t, 0)
	p := NewProg("scratch")
	p.Scratch = MaxScratch
	for i := 0; i < MaxScratch; i += 8 {
		p.Emit(MOV, At(ScratchBase, i), R9)
	}
	p.Emit(MOV, At(ArgBase, 0), ScratchBase)
	p.Emit(RET)
	f := load(t, p)
	var check func(depth int)
	check = func(depth int) {
		var at uintptr
		f.Call(unsafe.Pointer(&at))
		if at%lineBytes != 0 {
			t.Fatalf("scratch lies at %#x", at)
		}
		if depth > 0 {
			check(depth - 1)
		}
	}
	// At every depth of a fresh stack: the stack grows where it must.
	for range 8 {
		done := make(chan bool)
		go func() { defer close(done); check(200) }()
		<-done
	}
	p.Scratch++
	if _, err := Assemble(p, 0); err == nil || !strings.Contains(err.Error(), "of scratch") {
		t.Errorf("more scratch than there is: %v", err)
	}
}

// TestRounding: the code runs with Go's modes: round to nearest even, denormals kept.
func TestRounding(t *testing.T) {
	runnable(t, V3)
	p := NewProg("rounding")
	p.Emit(VMOVSS, X(0), At(ArgBase, 0))
	p.Emit(VADDSS, X(0), X(0), At(ArgBase, 4))
	p.Emit(VMOVSS, At(ArgBase, 8), X(0))
	p.Emit(RET)
	f := load(t, p)
	for _, v := range [][2]float32{{1e-45, 1e-45}, {1 << 24, 1}, {1 << 24, 3}, {1e38, 3e38}} {
		a := [3]float32{v[0], v[1]}
		f.Call(unsafe.Pointer(&a))
		if a[2] != v[0]+v[1] {
			t.Errorf("%g + %g is %g", v[0], v[1], a[2])
		}
	}
}

// TestUpperHalves: after a call no upper half of a vector is in use, so Go's own SSE code
// runs at full speed.
func TestUpperHalves(t *testing.T) {
	runnable(t, V4)                                                        // all of these have the instruction that tells
	xgetbv := []byte{0xB9, 1, 0, 0, 0, 0x0F, 0x01, 0xD0, 0x89, 0x07, 0xC3} // mov ecx, 1; xgetbv; mov [rdi], eax; ret
	dirty := []byte{0xC5, 0xFD, 0x76, 0xC0}                                // vpcmpeqd ymm0, ymm0, ymm0
	zeroed := []byte{0xC5, 0xF8, 0x77}                                     // vzeroupper
	const upper = 1 << 2
	used := loadCode(t, &Code{Name: "used", Bytes: slices.Concat(dirty, xgetbv)})
	cleared := loadCode(t, &Code{Name: "cleared", Bytes: slices.Concat(dirty, zeroed, xgetbv)})
	after := loadCode(t, &Code{Name: "after", Bytes: xgetbv})
	var x, y uint32
	used.Call(unsafe.Pointer(&x))
	cleared.Call(unsafe.Pointer(&y))
	if x&upper == 0 || y&upper != 0 {
		t.Skip("this processor does not tell whether upper halves are in use")
	}
	used.Call(unsafe.Pointer(&x))
	after.Call(unsafe.Pointer(&x))
	if x&upper != 0 {
		t.Errorf("in use after a call: %#x", x)
	}
}

// TestPinned: what the block points to lives as long as the call, and does not move.
func TestPinned(t *testing.T) {
	runnable(t, 0)
	f := load(t, spin())
	var freed atomic.Bool
	type block struct {
		n, count int64
		p        unsafe.Pointer
	}
	start := func() *block {
		data := new([1 << 12]int64)
		runtime.AddCleanup(data, func(int) { freed.Store(true) }, 0)
		return &block{n: 20_000, p: unsafe.Pointer(data)}
	}
	b := start()
	addr := uintptr(b.p)
	var collections atomic.Int64
	go func() {
		for collections.Load() < 5 {
			runtime.GC()
			collections.Add(1)
		}
	}()
	for collections.Load() < 5 {
		f.Call(unsafe.Pointer(b))
		if freed.Load() || uintptr(b.p) != addr {
			t.Fatal("memory of a block was freed or moved while code ran on it")
		}
	}
	runtime.KeepAlive(b)
}

// TestPreemption: a goroutine that does nothing but call is stopped after a call.
func TestPreemption(t *testing.T) {
	runnable(t, 0)
	f := load(t, spin())
	var stop atomic.Bool
	var wg sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		wg.Go(func() {
			args := [2]int64{100_000, 0} // tens of microseconds
			for !stop.Load() {
				for range 100_000 { // much longer than the test waits
					f.Call(unsafe.Pointer(&args))
					if stop.Load() {
						return
					}
				}
			}
		})
	}
	var pauses []time.Duration
	var m runtime.MemStats
	for range 20 {
		time.Sleep(time.Millisecond)
		start := time.Now()
		runtime.ReadMemStats(&m) // stops the world
		pauses = append(pauses, time.Since(start))
	}
	stop.Store(true)
	wg.Wait()
	slices.Sort(pauses)
	t.Logf("stopping the world took %v (median), %v at most", pauses[10], pauses[19])
	if pauses[10] > 300*time.Millisecond { // all of the calls take seconds
		t.Errorf("stopping the world took %v (median): calls are not where goroutines stop", pauses[10])
	}
}

// TestFaults: a fault in code is a panic of the goroutine that called, with a traceback
// that has the caller, and the goroutine goes on.
func TestFaults(t *testing.T) {
	runnable(t, V3)
	if runtime.GOOS == "windows" {
		t.Skip("on Windows a fault in code ends the process")
	}
	p := NewProg("fault")
	p.Emit(VPCMPEQD, Y(15), Y(15), Y(15))
	p.Emit(MOV, R14, At(ArgBase, 0))
	p.Emit(MOV, At(R14, 0), RAX)
	p.Emit(RET)
	f := load(t, p)
	guard, err := memory.reserve(1 << 16) // which nothing else takes the place of while it is there
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := memory.release(guard); err != nil {
			t.Error(err)
		}
	}()
	if err := memory.seal(guard); err != nil {
		t.Fatal(err)
	}
	bad := uintptr(unsafe.Pointer(&guard[0]))
	try := func(addr uintptr) (stack string, err error) {
		defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
		defer func() {
			if v := recover(); v != nil {
				stack, err = string(debug.Stack()), v.(error)
			}
		}()
		f.Call(unsafe.Pointer(&addr))
		return "", nil
	}
	for range 100 {
		for _, addr := range []uintptr{8, bad} {
			stack, err := try(addr)
			if err == nil || !strings.Contains(stack, "x86.TestFaults") {
				t.Fatalf("a fault at %#x: %v\n%s", addr, err, stack)
			}
			if fault, ok := err.(interface{ Addr() uintptr }); addr == bad && (!ok || fault.Addr() != bad) {
				t.Fatalf("the fault at %#x is told as %v", bad, err)
			}
			runtime.Gosched()
		}
	}
}

// TestStress runs code in eight goroutines while collections, a profile, a trace, tracebacks of
// all goroutines and growing stacks go on.
func TestStress(t *testing.T) {
	runnable(t, V3)
	d := 300 * time.Millisecond
	if s := os.Getenv("PITOPT_STRESS"); s != "" {
		var err error
		if d, err = time.ParseDuration(s); err != nil {
			t.Fatal(err)
		}
	}
	p := spin()
	p.Insts = p.Insts[:len(p.Insts)-1]
	for i := range 16 {
		p.Emit(VPCMPEQD, Y(i), Y(i), Y(i))
		if i < 8 {
			p.Emit(MOV, R8+Reg(i), RAX)
		}
	}
	p.Emit(RET)
	f := load(t, p)
	var profile bytes.Buffer
	if err := pprof.StartCPUProfile(&profile); err != nil {
		t.Log("no profile beside another one:", err)
	} else {
		defer pprof.StopCPUProfile()
	}
	if err := trace.Start(io.Discard); err != nil {
		t.Log("no trace beside another one:", err)
	} else {
		defer trace.Stop()
	}
	stop := time.Now().Add(d)
	var calls atomic.Int64
	var wg sync.WaitGroup
	var work func(depth int, n int64) int64
	work = func(depth int, n int64) int64 {
		var args [64]int64 // makes the stack grow, with the block on it
		args[0] = n
		f.Call(unsafe.Pointer(&args))
		calls.Add(1)
		if depth > 0 {
			return args[1] + work(depth-1, n)
		}
		return args[1]
	}
	errs := make(chan error, 8)
	for g := range 8 {
		wg.Go(func() {
			for time.Now().Before(stop) {
				done := make(chan int64)
				go func() { done <- work(30, int64(1000+g)) }()
				if got := <-done; got != 31*int64(1000+g) {
					errs <- fmt.Errorf("the loops counted %d", got)
					return
				}
			}
		})
	}
	buf := make([]byte, 1<<20)
	rounds := 0
	for time.Now().Before(stop) || rounds < 4 {
		runtime.GC()
		runtime.Stack(buf, true)
		rounds++
	}
	wg.Wait()
	close(errs)
	for err := range errs {
		t.Error(err)
	}
	t.Logf("%d calls, %d collections and tracebacks", calls.Load(), rounds)
}

// BenchmarkCall is the cost of a call of code that does nothing.
func BenchmarkCall(b *testing.B) {
	runnable(b, V3)
	p := NewProg("nothing")
	p.Emit(RET)
	f := load(b, p)
	var args [2]int64
	for b.Loop() {
		f.Call(unsafe.Pointer(&args))
	}
}
