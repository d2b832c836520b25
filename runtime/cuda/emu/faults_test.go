package emu

import (
	"errors"
	"strings"
	"testing"

	"github.com/pitopt/pitopt/runtime/cuda/driver"
)

// small is a kernel of one parameter, from the statements of its body.
func smallKernel(body string) string {
	return `.version 7.0
.target sm_80
.address_size 64
.visible .entry k(.param .u64 p)
{
	.shared .align 16 .b8 sh[256];
	.local .align 16 .b8 lo[32];
	.reg .pred %p<8>;
	.reg .f32 %f<8>;
	.reg .b32 %r<16>;
	.reg .b64 %d<8>;
	.reg .b16 %h<4>;
	ld.param.u64 %d1, [p];
	mov.u32 %r1, %tid.x;
	mul.wide.u32 %d2, %r1, 4;
	add.s64 %d2, %d1, %d2;
` + body + "\n\tret;\n}\n"
}

// TestFaults makes one mistake each.
func TestFaults(t *testing.T) {
	for _, c := range []struct {
		name, body string
		kind       Kind
		says       string
	}{
		{"before the allocation", "ld.global.u32 %r2, [%d1+-4];", OutOfBounds, "4 bytes before"},
		{"null", "mov.u64 %d3, 0; ld.global.u32 %r2, [%d3];", OutOfBounds, "nothing was allocated"},
		{"through a generic address", "ld.u32 %r2, [%d1+4096];", OutOfBounds, "behind the end"},
		{"half in", "ld.global.v2.u32 {%r2, %r3}, [%d1+1020]; ", Misaligned, "not aligned to 8"},
		{"a pair", "st.global.v4.u32 [%d2], {%r1, %r1, %r1, %r1};", Misaligned, "not aligned to 16"},
		{"a predicate that was not written", "@%p1 add.u32 %r2, %r1, 1;", Uninitialised, "predicate %p1"},
		{"a register that some lanes wrote", "setp.lt.u32 %p1, %r1, 5; @%p1 mov.u32 %r2, 0; add.u32 %r3, %r2, 1;", Uninitialised, "thread (5,0,0): reads register %r2"},
		{"local memory", "ld.local.u32 %r2, [lo+8];", Uninitialised, "local memory"},
		{"behind local memory", "mov.u32 %r2, lo; st.local.u32 [%r2+32], %r1;", OutOfBounds, "the thread has 32"},
		{"a store to a parameter", "mov.u64 %d3, p; cvta.param.u64 %d3, %d3; st.u64 [%d3], %d1;", ReadOnly, "parameter"},
		{"lanes that write one place", "st.global.u32 [%d1], %r1;", Race, "with no barrier"},
		{"bytes of a word", "cvt.u64.u32 %d3, %r1; shr.u64 %d3, %d3, 1; add.s64 %d3, %d1, %d3; cvt.u16.u32 %h1, %r1; st.global.u8 [%d3], %h1;", Race, "with no barrier"},
		{"neighbours in a warp", "st.global.u32 [%d2], %r1; bar.sync 1, 96;", Divergence, "a barrier of 96 threads in a block of 64"},
		{"lanes that see each other", "mov.u32 %r2, sh; shl.b32 %r3, %r1, 2; add.u32 %r3, %r2, %r3; st.shared.u32 [%r3], %r1; xor.b32 %r4, %r1, 1; shl.b32 %r4, %r4, 2; add.u32 %r4, %r2, %r4; ld.shared.u32 %r5, [%r4];", Race, "shared memory"},
		{"a branch that is not uniform", "setp.lt.u32 %p1, %r1, 5; @%p1 bra.uni L; L:", Divergence, "bra.uni"},
		{"an exit before the barrier", "setp.lt.u32 %p1, %r1, 5; @%p1 ret; bar.sync 0;", Divergence, "have exited"},
		{"a warp that does not come", "setp.lt.u32 %p1, %r1, 32; @%p1 ret; bar.sync 0;", Deadlock, "32 of 64 threads"},
		{"a shuffle from a lane that is gone", "mov.u32 %r2, 0xffff; setp.ge.u32 %p1, %r1, 16; @%p1 ret; shfl.sync.idx.b32 %r3, %r1, 20, 31, %r2;", Divergence, "lane 20"},
		{"a division by zero", "div.u32 %r2, %r1, 0;", Trapped, "zero"},
		{"a trap", "trap;", Trapped, ""},
		{"a vote of lanes that went", "setp.lt.u32 %p1, %r1, 8; @%p1 ret; vote.sync.ballot.b32 %r2, %p1, -1;", Divergence, "have exited"},
		{"a loop", "L: bra L;", Budget, "does it end"},
		{"a place in no window", "cvta.to.shared.u64 %d3, %d1;", OutOfBounds, "not in shared memory"},
		{"a read while others write", "st.global.u32 [%d2], %r1; ld.global.u32 %r2, [%d1];", Race, "reads global memory"},
	} {
		b := load(t, Options{Races: true, Budget: 1 << 16}, smallKernel("\t"+c.body))
		p := b.put(make([]byte, 1024))
		err := b.launch("k", driver.Launch{Grid: driver.D(1), Block: driver.D(64), Params: []uint64{uint64(p)}})
		var f *Fault
		if !errors.As(err, &f) || f.Kind != c.kind || !strings.Contains(err.Error(), c.says) || f.Line != 17 {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// TestNoFaults are kernels that look like mistakes and are none.
func TestNoFaults(t *testing.T) {
	for _, c := range []struct{ name, body string }{
		{"a warp barrier between lanes", "mov.u32 %r2, sh; shl.b32 %r3, %r1, 2; add.u32 %r3, %r2, %r3; st.shared.u32 [%r3], %r1; bar.warp.sync -1; xor.b32 %r4, %r1, 1; shl.b32 %r4, %r4, 2; add.u32 %r4, %r2, %r4; ld.shared.u32 %r5, [%r4];"},
		{"all write the same", "st.global.u32 [%d1], 7;"},
		{"halves of a warp shuffle by themselves", "setp.lt.u32 %p1, %r1, 16; mov.u32 %r2, 0xffff; @!%p1 mov.u32 %r2, 0xffff0000; setp.ge.u32 %p2, %r1, 32; @%p2 ret; @%p1 bra A; shfl.sync.bfly.b32 %r3, %r1, 1, 31, %r2; bra B; A: shfl.sync.bfly.b32 %r3, %r1, 2, 31, %r2; B: add.u32 %r3, %r3, 1;"},
		{"masks of their own at one place", "and.b32 %r4, %r1, 31; setp.lt.u32 %p1, %r4, 16; mov.u32 %r2, 0xffff; @!%p1 mov.u32 %r2, 0xffff0000; shfl.sync.bfly.b32 %r3, %r1, 1, 31, %r2; add.u32 %r3, %r3, 1;"},
		{"a lock of each warp", "setp.lt.u32 %p1, %r1, 3; L: @!%p1 bra E; atom.global.cas.b32 %r2, [%d1], 0, 1; setp.ne.s32 %p2, %r2, 0; @%p2 bra L; atom.global.exch.b32 %r3, [%d1], 0; E: bar.sync 0;"},
		{"two barriers", "setp.lt.u32 %p1, %r1, 32; @%p1 bra A; bar.arrive 1, 64; bra B; A: bar.sync 1, 64; B: bar.sync 0;"},
		{"a count at a barrier", "setp.lt.u32 %p1, %r1, 3; bar.red.popc.u32 %r2, 0, %p1; setp.ne.u32 %p2, %r2, 3; @%p2 trap; bar.red.or.pred %p3, 0, %p1; @!%p3 trap;"},
		{"atomics meet", "atom.global.add.u32 %r2, [%d1], 1; red.global.max.s32 [%d1+4], %r1;"},
		{"groups meet again behind a loop", "mov.u32 %r2, 0; L: add.u32 %r2, %r2, 1; setp.le.u32 %p1, %r2, %r1; @%p1 bra L; activemask.b32 %r3; setp.ne.u32 %p2, %r3, -1; @%p2 trap;"},
	} {
		for seed := range uint64(4) {
			b := load(t, Options{Races: true, Budget: 1 << 18, Seed: seed}, smallKernel("\t"+c.body))
			p := b.put(make([]byte, 1024))
			if err := b.launch("k", driver.Launch{Grid: driver.D(1), Block: driver.D(64), Params: []uint64{uint64(p)}}); err != nil {
				t.Errorf("%s: %v", c.name, err)
			}
		}
	}
}

// TestFreed uses memory that was freed.
func TestFreed(t *testing.T) {
	b := load(t, Options{}, smallKernel("\tst.global.u32 [%d2], %r1;"))
	p := b.alloc(1024)
	cfg := driver.Launch{Grid: driver.D(1), Block: driver.D(64), Params: []uint64{uint64(p)}}
	b.run("k", cfg)
	if err := b.c.Free(p); err != nil {
		t.Fatal(err)
	}
	if err := b.c.Free(p); driver.ResultOf(err) != driver.InvalidValue {
		t.Errorf("freed twice: %v", err)
	}
	if err := b.launch("k", cfg); err == nil || !strings.Contains(err.Error(), "was freed") {
		t.Errorf("%v", err)
	}
}

// TestInvalid are texts that are not taken, with the line and what is wrong.
func TestInvalid(t *testing.T) {
	for _, c := range []struct{ body, says string }{
		{"add.s32 %r1, %r2;", "line 17: add.s32 %r1, %r2;: add.s32: 2 operands"},
		{"add.s32 %r1, %r2, %d1;", "register %d1 is .b64, the instruction takes .s32"},
		{"add.f32 %f1, %f2, 1;", "an integer constant for .f32"},
		{"add.q32 %r1, %r2, %r3;", "0 types, it takes 1"},
		{"frob.u32 %r1;", `instruction "frob.u32" is not known`},
		{"add.s32 %r1, %r99, %r2;", `register "%r99" is not declared`},
		{"bra NOWHERE;", `no label "NOWHERE"`},
		{"@%r1 bra L; L:", `"%r1" is no predicate`},
		{"ld.global.f32 %f1, %d1;", "an address in [] is needed"},
		{"ld.shared.f32 %f1, [p];", `variable "p" is in space param`},
		{"ld.param.u64 %d1, [p+8];", "reads bytes 8 to 16"},
		{"fma.f32 %f1, %f1, %f1, %f1;", "a rounding modifier is needed"},
		{"mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%f1,%f2}, {%r1,%r2,%r3,%r4}, {%r1,%r2}, {%f1,%f2,%f3,%f4};", "operand 1 has 2 registers, not 4"},
		{"shfl.bfly.b32 %r1, %r2, 1, 31, -1;", ".sync is needed"},
		{"add.frob.s32 %r1, %r2, %r3;", "modifier .frob is not known"},
		{"call foo;", "inlined"},
		{".reg .b32 %r<3>;", "are there already"},
		{"L: L: ret;", "is there already"},
		{"cp.async.cg.shared.global [sh], [%d1], 8;", "copies of 8 bytes"},
		{"{", "a brace that is not closed"},
	} {
		c2, _ := New(Options{}).Open(0)
		_, err := c2.Load(smallKernel("\t" + c.body))
		if driver.ResultOf(err) != driver.InvalidPTX || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.body, err)
		}
	}
	c, _ := New(Options{}).Open(0)
	for text, want := range map[string]string{
		"":                                 "a module starts with .version",
		".version 9.9 .target sm_80":       "at most",
		".version 7.8 .target sm_90":       "the module is for sm_90, the device is sm_80",
		".version 7.0 .target sm_80 .frob": "is not known here",
		".version 7.0 .target sm_80 \x01":  "none of PTX's",
		".version 7.0 .target sm_80 .global .u32 x[1000000000];": "takes more than",
	} {
		if _, err := c.Load(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// FuzzLoad gives texts to the parser: it takes them or says what is wrong. What it takes runs, or
// fails with a fault.
func FuzzLoad(f *testing.F) {
	f.Add(vadd)
	for _, s := range subjects {
		f.Add(testdata(f, s.file))
	}
	f.Add(smallKernel("\tst.global.u32 [%d2], %r1;"))
	f.Fuzz(func(t *testing.T, text string) {
		ctx, _ := New(Options{Memory: 1 << 20, Budget: 1 << 12, Races: true, Seed: 1}).Open(0)
		m, err := ctx.Load(text)
		if err != nil {
			return
		}
		p, err := ctx.Alloc(1 << 12)
		if err != nil {
			return
		}
		for name, fn := range ctx.(*Context).handles[uintptr(m)].(*loaded).mod.funcs {
			h, err := ctx.Function(m, name)
			if err != nil {
				return
			}
			params := make([]uint64, len(fn.params))
			for i := range params {
				params[i] = uint64(p)
			}
			_ = ctx.Launch(h, driver.Launch{Grid: driver.D(2), Block: driver.D(64), Params: params})
		}
	})
}
