package emu

import (
	"encoding/binary"
	"errors"
	"math"
	"runtime"
	"testing"
	"weak"

	"github.com/pitopt/pitopt/runtime/cuda/driver"
)

// bench is a context with a module, for tests.
type bench struct {
	testing.TB
	c   *Context
	mod driver.Module
}

func load(t testing.TB, o Options, ptx string) *bench {
	t.Helper()
	c, err := New(o).Open(0)
	if err != nil {
		t.Fatal(err)
	}
	m, err := c.Load(ptx)
	if err != nil {
		t.Fatal(err)
	}
	return &bench{t, c.(*Context), m}
}

func (b *bench) alloc(n int) driver.Ptr {
	b.Helper()
	p, err := b.c.Alloc(int64(n))
	if err != nil {
		b.Fatal(err)
	}
	return p
}

func (b *bench) put(data []byte) driver.Ptr {
	b.Helper()
	p := b.alloc(len(data))
	if err := b.c.HtoD(p, data, 0); err != nil {
		b.Fatal(err)
	}
	return p
}

func (b *bench) get(p driver.Ptr, n int) []byte {
	b.Helper()
	out := make([]byte, n)
	if err := b.c.DtoH(out, p, 0); err != nil {
		b.Fatal(err)
	}
	return out
}

func (b *bench) launch(name string, cfg driver.Launch) error {
	b.Helper()
	f, err := b.c.Function(b.mod, name)
	if err != nil {
		b.Fatal(err)
	}
	return b.c.Launch(f, cfg)
}

func (b *bench) run(name string, cfg driver.Launch) {
	b.Helper()
	if err := b.launch(name, cfg); err != nil {
		b.Fatal(err)
	}
}

func floats(v ...float32) []byte {
	var out []byte
	for _, x := range v {
		out = binary.LittleEndian.AppendUint32(out, math.Float32bits(x))
	}
	return out
}

func toFloats(p []byte) []float32 {
	out := make([]float32, len(p)/4)
	for i := range out {
		out[i] = math.Float32frombits(binary.LittleEndian.Uint32(p[4*i:]))
	}
	return out
}

const vadd = `
.version 7.0
.target sm_80
.address_size 64

.visible .entry vadd(
	.param .u64 a, .param .u64 b, .param .u64 c, .param .u32 n
)
{
	.reg .pred %p<2>;
	.reg .f32 %f<4>;
	.reg .b32 %r<6>;
	.reg .b64 %rd<11>;

	ld.param.u64 %rd1, [a];
	ld.param.u64 %rd2, [b];
	ld.param.u64 %rd3, [c];
	ld.param.u32 %r2, [n];
	mov.u32 %r3, %ctaid.x;
	mov.u32 %r4, %ntid.x;
	mov.u32 %r5, %tid.x;
	mad.lo.s32 %r1, %r3, %r4, %r5;
	setp.ge.s32 %p1, %r1, %r2;
	@%p1 bra $done;
	cvta.to.global.u64 %rd4, %rd1;
	mul.wide.s32 %rd5, %r1, 4;
	add.s64 %rd6, %rd4, %rd5;
	cvta.to.global.u64 %rd7, %rd2;
	add.s64 %rd8, %rd7, %rd5;
	ld.global.nc.f32 %f1, [%rd6];
	ld.global.nc.f32 %f2, [%rd8];
	add.f32 %f3, %f1, %f2;
	cvta.to.global.u64 %rd9, %rd3;
	add.s64 %rd10, %rd9, %rd5;
	st.global.f32 [%rd10], %f3;
$done:
	ret;
}
`

func TestVectorAdd(t *testing.T) {
	for _, o := range []Options{{}, {Races: true}, {Races: true, Seed: 7}, {Workers: 3}} {
		b := load(t, o, vadd)
		n := 1000
		x, y := make([]float32, n), make([]float32, n)
		for i := range x {
			x[i], y[i] = float32(i), float32(2*i)
		}
		px, py, pz := b.put(floats(x...)), b.put(floats(y...)), b.alloc(4*n)
		cfg := driver.Launch{Grid: driver.D(8), Block: driver.D(128), Params: []uint64{uint64(px), uint64(py), uint64(pz), uint64(n)}}
		b.run("vadd", cfg)
		for i, v := range toFloats(b.get(pz, 4*n)) {
			if v != float32(3*i) {
				t.Fatalf("%+v: element %d is %v", o, i, v)
			}
		}
		// One element too many.
		cfg.Params[3]++
		err := b.launch("vadd", cfg)
		var f *Fault
		if !errors.As(err, &f) || f.Kind != OutOfBounds || f.Line != 30 {
			t.Fatalf("%+v: %v", o, err)
		}
	}
}

// What is freed, the host has back while the context is open.
func TestFreeGivesBack(t *testing.T) {
	b := load(t, Options{}, vadd)
	p := b.alloc(1 << 20)
	a := b.c.mem.find(uint64(p))
	first := weak.Make(&a.data[0])
	if err := b.c.Free(p); err != nil {
		t.Fatal(err)
	}
	runtime.GC()
	if first.Value() != nil {
		t.Error("the bytes are still held")
	}
	runtime.KeepAlive(b)
}
