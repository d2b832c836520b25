// Package drivertest is the suite that every implementation of driver.Driver passes.
package drivertest

import (
	"bytes"
	"encoding/binary"
	"math"
	"strings"
	"sync"
	"testing"

	"github.com/pitopt/pitopt/runtime/cuda/driver"
)

// ptx is the module of the suite.
const ptx = `
.version 7.0
.target sm_80
.address_size 64

.visible .global .align 4 .u32 counter = 41;
.visible .const .align 4 .f32 table[4] = {0f3F800000, 0f40000000, 0f40400000, 0f40800000};
.extern .shared .align 16 .b8 dynamic[];

// y[i] = a * x[i] + y[i]
.visible .entry saxpy(.param .u64 py, .param .u64 px, .param .f32 pa, .param .u32 pn)
{
	.reg .pred %p<2>;
	.reg .f32 %f<5>;
	.reg .b32 %r<6>;
	.reg .b64 %rd<8>;
	ld.param.u64 %rd1, [py];
	ld.param.u64 %rd2, [px];
	ld.param.f32 %f1, [pa];
	ld.param.u32 %r1, [pn];
	mov.u32 %r2, %ctaid.x;
	mov.u32 %r3, %ntid.x;
	mov.u32 %r4, %tid.x;
	mad.lo.s32 %r5, %r2, %r3, %r4;
	setp.ge.u32 %p1, %r5, %r1;
	@%p1 ret;
	cvta.to.global.u64 %rd3, %rd1;
	cvta.to.global.u64 %rd4, %rd2;
	mul.wide.u32 %rd5, %r5, 4;
	add.s64 %rd6, %rd3, %rd5;
	add.s64 %rd7, %rd4, %rd5;
	ld.global.f32 %f2, [%rd7];
	ld.global.f32 %f3, [%rd6];
	fma.rn.f32 %f4, %f1, %f2, %f3;
	st.global.f32 [%rd6], %f4;
	ret;
}

// Reverses the elements of each block through shared memory.
.visible .entry reverse(.param .u64 p)
{
	.reg .b32 %r<9>;
	.reg .b64 %rd<4>;
	ld.param.u64 %rd1, [p];
	cvta.to.global.u64 %rd1, %rd1;
	mov.u32 %r1, %tid.x;
	mov.u32 %r2, %ntid.x;
	mov.u32 %r3, %ctaid.x;
	mad.lo.s32 %r4, %r3, %r2, %r1;
	mul.wide.u32 %rd2, %r4, 4;
	add.s64 %rd3, %rd1, %rd2;
	ld.global.u32 %r5, [%rd3];
	mov.u32 %r6, dynamic;
	shl.b32 %r7, %r1, 2;
	add.s32 %r7, %r6, %r7;
	st.shared.u32 [%r7], %r5;
	bar.sync 0;
	sub.s32 %r8, %r2, %r1;
	sub.s32 %r8, %r8, 1;
	shl.b32 %r8, %r8, 2;
	add.s32 %r8, %r6, %r8;
	ld.shared.u32 %r5, [%r8];
	st.global.u32 [%rd3], %r5;
	ret;
}

// Each thread adds one to the counter.
.visible .entry count()
{
	.reg .b32 %r<2>;
	.reg .b64 %rd<2>;
	mov.u64 %rd1, counter;
	atom.global.add.u32 %r1, [%rd1], 1;
	ret;
}

// Writes through a null pointer.
.visible .entry crash()
{
	.reg .b64 %rd<2>;
	mov.u64 %rd1, 0;
	st.global.u32 [%rd1], 1;
	ret;
}
`

// Run runs the suite on what open gives. It skips, and says why, where open fails or there is no device.
func Run(t *testing.T, open func() (driver.Driver, error)) {
	d, err := open()
	if err != nil {
		t.Skipf("no driver: %v", err)
	}
	n, err := d.Devices()
	if err != nil || n == 0 {
		t.Skipf("%s: no device: %v", d.Name(), err)
	}
	if v, err := d.Version(); err != nil || v < 11000 {
		t.Fatalf("version %d: %v", v, err)
	}
	if _, err := d.Info(n); driver.ResultOf(err) != driver.InvalidDevice {
		t.Errorf("device %d of %d: %v", n, n, err)
	}
	info, err := d.Info(0)
	if err != nil {
		t.Fatal(err)
	}
	if info.Major < 8 {
		t.Skipf("%s has compute capability %d.%d: the suite needs 8.0", info.Name, info.Major, info.Minor)
	}
	if info.Name == "" || info.WarpSize != 32 || info.MaxThreadsPerBlock < 1024 || info.SharedPerBlock < 48<<10 ||
		info.SharedPerBlockOptin < info.SharedPerBlock || info.TotalMem <= 0 || info.MaxBlock.Z < 64 || info.MaxGrid.Y < 65535 {
		t.Errorf("%+v", info)
	}
	for _, c := range []struct {
		name string
		test func(t *testing.T, s *suite)
	}{{"memory", memory}, {"modules", modules}, {"launches", launches}, {"shared", sharedMemory}, {"globals", globals},
		{"streams", streams}, {"goroutines", goroutines}, {"limits", limits}, {"contexts", contexts}, {"crash", crash}, {"again", launches}} {
		t.Run(c.name, func(t *testing.T) {
			ctx, err := d.Open(0)
			if err != nil {
				t.Fatal(err)
			}
			s := &suite{Context: ctx, t: t, driver: d, info: info}
			c.test(t, s)
			for _, p := range s.held {
				s.must(ctx.Free(p))
			}
			if err := ctx.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}

// suite is a context in a test.
type suite struct {
	driver.Context
	t      *testing.T
	driver driver.Driver
	info   driver.Info
	held   []driver.Ptr
}

func (s *suite) must(err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatal(err)
	}
}

func (s *suite) want(r driver.Result, err error) {
	s.t.Helper()
	if driver.ResultOf(err) != r {
		s.t.Errorf("%v, not %v", err, r)
	}
}

func (s *suite) alloc(n int64) driver.Ptr {
	s.t.Helper()
	p, err := s.Alloc(n)
	s.must(err)
	s.held = append(s.held, p)
	return p
}

func (s *suite) function(name string) driver.Function {
	s.t.Helper()
	m, err := s.Load(ptx)
	s.must(err)
	f, err := s.Function(m, name)
	s.must(err)
	return f
}

func memory(t *testing.T, s *suite) {
	free, total, err := s.MemInfo()
	if err != nil || free <= 0 || free > total {
		t.Fatalf("%d of %d bytes free: %v", free, total, err)
	}
	_, err = s.Alloc(0)
	s.want(driver.InvalidValue, err)
	_, err = s.Alloc(total + 1)
	s.want(driver.OutOfMemory, err)
	a, b := s.alloc(1000), s.alloc(1000)
	if a%256 != 0 || b%256 != 0 || a == b {
		t.Errorf("allocations at %#x and %#x", a, b)
	}
	data := make([]byte, 1000)
	for i := range data {
		data[i] = byte(i * 7)
	}
	s.must(s.HtoD(a, data, 0))
	s.must(s.DtoD(b, a, 1000, 0))
	s.must(s.Memset(b+100, 0xAB, 50, 0))
	got := make([]byte, 1000)
	s.must(s.DtoH(got, b, 0))
	want := bytes.Clone(data)
	copy(want[100:150], bytes.Repeat([]byte{0xAB}, 50))
	if !bytes.Equal(got, want) {
		t.Error("what came back differs")
	}
	// Nothing is copied nowhere.
	s.must(s.HtoD(a, nil, 0))
	s.must(s.DtoH(nil, a, 0))
	s.must(s.DtoD(b, a, 0, 0))
	s.must(s.Memset(a, 1, 0, 0))
	s.want(driver.InvalidValue, s.Free(a+4))
}

func modules(t *testing.T, s *suite) {
	_, err := s.Load(".version 7.0\n.target sm_80\n.address_size 64\n.visible .entry f() { .reg .b32 %r<2>; add.s32 %r1, %r1; ret; }")
	s.want(driver.InvalidPTX, err)
	if err == nil || !strings.Contains(err.Error(), "line 4") || !strings.Contains(err.Error(), "CUDA_ERROR_INVALID_PTX") {
		t.Errorf("the error does not say what is wrong, and where: %v", err)
	}
	m, err := s.Load(ptx)
	s.must(err)
	_, err = s.Function(m, "none")
	s.want(driver.NotFound, err)
	_, _, err = s.Global(m, "none")
	s.want(driver.NotFound, err)
	f, err := s.Function(m, "reverse")
	s.must(err)
	i, err := s.FunctionInfo(f)
	if err != nil || i.MaxThreadsPerBlock < 32 || i.Registers < 1 || i.Shared != 0 || i.PTXVersion != 70 || i.MaxDynamicShared < 48<<10 {
		t.Errorf("%+v: %v", i, err)
	}
	s.must(s.Unload(m))
}

func (s *suite) put(v ...float32) driver.Ptr {
	s.t.Helper()
	p := s.alloc(int64(4 * len(v)))
	var data []byte
	for _, x := range v {
		data = binary.LittleEndian.AppendUint32(data, math.Float32bits(x))
	}
	s.must(s.HtoD(p, data, 0))
	return p
}

func (s *suite) floats(p driver.Ptr, n int, st driver.Stream) []float32 {
	s.t.Helper()
	data := make([]byte, 4*n)
	s.must(s.DtoH(data, p, st))
	out := make([]float32, n)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(data[4*i:]))
	}
	return out
}

// line is 0, 1, 2, ...
func line(n int) []float32 {
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(i)
	}
	return v
}

func launches(t *testing.T, s *suite) {
	f := s.function("saxpy")
	const n = 1000
	x, y := s.put(line(n)...), s.put(line(n)...)
	s.must(s.Launch(f, driver.Launch{Grid: driver.D(8), Block: driver.D(128),
		Params: []uint64{uint64(y), uint64(x), uint64(math.Float32bits(3)), n}}))
	s.must(s.SynchronizeAll())
	for i, v := range s.floats(y, n, 0) {
		if v != float32(4*i) {
			t.Fatalf("element %d is %v", i, v)
		}
	}
}

func sharedMemory(t *testing.T, s *suite) {
	f := s.function("reverse")
	const n = 512
	p := s.put(line(2 * n)...)
	s.must(s.Launch(f, driver.Launch{Grid: driver.D(2), Block: driver.D(n), Shared: 4 * n, Params: []uint64{uint64(p)}}))
	for i, v := range s.floats(p, 2*n, 0) {
		if want := i/n*n + n - 1 - i%n; v != float32(want) {
			t.Fatalf("element %d is %v, not %d", i, v, want)
		}
	}
	// More than 48 KiB must be asked for.
	big := driver.Launch{Grid: driver.D(1), Block: driver.D(n), Shared: s.info.SharedPerBlockOptin, Params: []uint64{uint64(p)}}
	s.want(driver.InvalidValue, s.Launch(f, big))
	s.want(driver.InvalidValue, s.SetMaxDynamicShared(f, s.info.SharedPerBlockOptin+1))
	s.must(s.SetMaxDynamicShared(f, s.info.SharedPerBlockOptin))
	s.must(s.Launch(f, big))
	if i, err := s.FunctionInfo(f); err != nil || i.MaxDynamicShared != s.info.SharedPerBlockOptin {
		t.Errorf("%+v: %v", i, err)
	}
	s.must(s.SynchronizeAll())
}

func globals(t *testing.T, s *suite) {
	m, err := s.Load(ptx)
	s.must(err)
	f, err := s.Function(m, "count")
	s.must(err)
	p, n, err := s.Global(m, "counter")
	if err != nil || n != 4 {
		t.Fatalf("%d bytes: %v", n, err)
	}
	s.must(s.Launch(f, driver.Launch{Grid: driver.D(5, 2), Block: driver.D(8, 4, 2)}))
	got := make([]byte, 4)
	s.must(s.DtoH(got, p, 0))
	if v := binary.LittleEndian.Uint32(got); v != 41+640 {
		t.Errorf("%d", v)
	}
	p, n, err = s.Global(m, "table")
	if err != nil || n != 16 {
		t.Fatalf("%d bytes: %v", n, err)
	}
	if v := s.floats(p, 4, 0); v[0] != 1 || v[3] != 4 {
		t.Errorf("%v", v)
	}
}

func streams(t *testing.T, s *suite) {
	f := s.function("saxpy")
	const n = 1 << 12
	a, err := s.NewStream()
	s.must(err)
	b, err := s.NewStream()
	s.must(err)
	from, err := s.NewEvent()
	s.must(err)
	done, err := s.NewEvent()
	s.must(err)
	x, y, z := s.put(line(n)...), s.put(line(n)...), s.put(line(n)...)
	cfg := driver.Launch{Grid: driver.D(n / 128), Block: driver.D(128), Stream: a,
		Params: []uint64{uint64(y), uint64(x), uint64(math.Float32bits(1)), n}}
	s.must(s.Record(from, a))
	for range 3 {
		s.must(s.Launch(f, cfg)) // y += x
	}
	s.must(s.Record(done, a))
	s.must(s.Wait(b, done))
	cfg.Stream, cfg.Params = b, []uint64{uint64(z), uint64(y), uint64(math.Float32bits(1)), n}
	s.must(s.Launch(f, cfg)) // z += y
	for i, v := range s.floats(z, n, b) {
		if v != float32(5*i) {
			t.Fatalf("element %d is %v", i, v)
		}
	}
	s.must(s.SynchronizeEvent(done))
	if d, err := s.Elapsed(from, done); err != nil || d < 0 {
		t.Errorf("%v: %v", d, err)
	}
	s.must(s.Synchronize(a))
	s.must(s.FreeEvent(from))
	s.must(s.FreeEvent(done))
	s.must(s.FreeStream(a))
	s.must(s.FreeStream(b))
}

// goroutines use one context at once.
func goroutines(t *testing.T, s *suite) {
	f := s.function("saxpy")
	const n = 1000
	x := s.put(line(n)...)
	var ys [4]driver.Ptr
	for i := range ys {
		ys[i] = s.put(line(n)...)
	}
	var wg sync.WaitGroup
	for _, y := range ys {
		wg.Go(func() {
			st, err := s.NewStream()
			if err != nil {
				t.Error(err)
				return
			}
			for range 5 {
				if err := s.Launch(f, driver.Launch{Grid: driver.D(8), Block: driver.D(128), Stream: st,
					Params: []uint64{uint64(y), uint64(x), uint64(math.Float32bits(2)), n}}); err != nil {
					t.Error(err)
				}
			}
			if err := s.Synchronize(st); err != nil {
				t.Error(err)
			}
			if err := s.FreeStream(st); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	for _, y := range ys {
		for i, v := range s.floats(y, n, 0) {
			if v != float32(11*i) {
				t.Fatalf("element %d is %v", i, v)
			}
		}
	}
}

func limits(t *testing.T, s *suite) {
	f := s.function("count")
	for _, l := range []driver.Launch{
		{Grid: driver.D(0), Block: driver.D(1)},
		{Grid: driver.D(1), Block: driver.D(0)},
		{Grid: driver.D(1), Block: driver.D(s.info.MaxThreadsPerBlock + 1)},
		{Grid: driver.D(1), Block: driver.D(1, 1, s.info.MaxBlock.Z+1)},
		{Grid: driver.D(1, s.info.MaxGrid.Y+1), Block: driver.D(1)},
	} {
		if err := s.Launch(f, l); driver.ResultOf(err) != driver.InvalidValue {
			t.Errorf("%+v: %v", l, err)
		}
	}
	// None of them harms the context.
	s.must(s.Launch(f, driver.Launch{Grid: driver.D(1), Block: driver.D(1)}))
	s.must(s.SynchronizeAll())
}

// contexts has two, of which one is closed: what it had is gone, and the other goes on.
func contexts(t *testing.T, s *suite) {
	const bytes = 16 << 20
	p := s.alloc(16)
	s.must(s.Memset(p, 7, 16, 0))
	s.must(s.SynchronizeAll())
	other, err := s.driver.Open(0)
	s.must(err)
	q, err := other.Alloc(bytes)
	s.must(err)
	s.must(other.Memset(q, 1, bytes, 0))
	s.must(other.SynchronizeAll())
	held, _, err := other.MemInfo()
	s.must(err)
	s.must(other.Close())
	b := make([]byte, 16)
	s.must(s.DtoH(b, p, 0))
	if b[0] != 7 || b[15] != 7 {
		t.Errorf("memory of a context after another one was closed: %v", b)
	}
	if free, _, err := s.MemInfo(); err != nil || free < held+bytes/2 {
		t.Errorf("%d bytes are free after a context with %d was closed, %d before: %v", free, bytes, held, err)
	}
}

// crash is a kernel that fails: every call after it does, and a new context works.
func crash(t *testing.T, s *suite) {
	f := s.function("crash")
	err := s.Launch(f, driver.Launch{Grid: driver.D(1), Block: driver.D(1)})
	if err == nil {
		err = s.SynchronizeAll()
	}
	s.want(driver.IllegalAddress, err)
	_, err = s.Alloc(16)
	s.want(driver.IllegalAddress, err)
}
