package emu

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/runtime/cuda/driver"
)

// warpRegs is registers of 32 bits of a warp: [register][lane].
type warpRegs [][32]uint32

// warpKernel makes a kernel of one warp: %a0, %a1, ... are read, text runs, and %b0, %b1, ... are written.
func warpKernel(name, text string, in, out int) string {
	var b strings.Builder
	fmt.Fprintf(&b, ".visible .entry %s(.param .u64 pin, .param .u64 pout)\n{\n", name)
	b.WriteString(`	.shared .align 128 .b8 sh[2048];
	.reg .b32 %a<16>, %b<16>, %l, %s, %t;
	.reg .f32 %f<16>;
	.reg .b64 %pi, %po, %x, %y;
	.reg .b16 %h<4>;
	.reg .pred %p<8>;
	ld.param.u64 %pi, [pin];
	ld.param.u64 %po, [pout];
	mov.u32 %l, %laneid;
	mad.wide.u32 %pi, %l, 4, %pi;
	mad.wide.u32 %po, %l, 4, %po;
	mov.u32 %s, sh;
`)
	for i := range in {
		fmt.Fprintf(&b, "\tld.global.u32 %%a%d, [%%pi+%d];\n", i, 128*i)
	}
	for i := range out {
		fmt.Fprintf(&b, "\tmov.u32 %%b%d, 0;\n", i)
	}
	b.WriteString("\t" + text + "\n")
	for i := range out {
		fmt.Fprintf(&b, "\tst.global.u32 [%%po+%d], %%b%d;\n", 128*i, i)
	}
	b.WriteString("\tret;\n}\n")
	return b.String()
}

func (b *bench) warp(name string, in warpRegs, out int) warpRegs {
	b.Helper()
	var data []byte
	for _, r := range in {
		for _, v := range r {
			data = binary.LittleEndian.AppendUint32(data, v)
		}
	}
	pin, pout := b.put(append(data, make([]byte, 4)...)), b.alloc(128*out)
	b.run(name, driver.Launch{Grid: driver.D(1), Block: driver.D(32), Params: []uint64{uint64(pin), uint64(pout)}})
	got := b.get(pout, 128*out)
	res := make(warpRegs, out)
	for i := range res {
		for l := range 32 {
			res[i][l] = binary.LittleEndian.Uint32(got[128*i+4*l:])
		}
	}
	return res
}

// warpCase is something that a warp does together, and what comes of it.
type warpCase struct {
	text    string
	in, out int
	gen     func(r *rand.Rand) uint32 // values of the registers; nil for any
	want    func(a, b warpRegs)
}

const header = ".version 7.8\n.target sm_90\n.address_size 64\n"

func anyBits(r *rand.Rand) uint32 { return r.Uint32() }

// shuffle is shfl as PTX defines it, without its predicate: what lane reads from.
func shuffle(mode string, lane, b, c int) (from int, in bool) {
	seg, clamp := c>>8&31, c&31
	lo, hi := lane&seg, lane&seg|clamp&(31^seg)
	switch mode {
	case "up":
		from = lane - b
		in = from >= hi
	case "down":
		from = lane + b
		in = from <= hi
	case "bfly":
		from = lane ^ b
		in = from <= hi
	default:
		from = lo | b&(31^seg)
		in = from <= hi
	}
	if !in {
		from = lane
	}
	return from, in
}

func warpCases() []warpCase {
	var all []warpCase
	for _, s := range []struct {
		mode string
		b, c int
	}{{"bfly", 5, 31}, {"bfly", 16, 31}, {"up", 3, 0}, {"down", 7, 31}, {"idx", 11, 31}, {"bfly", 4, 0x181f}, {"up", 2, 0x1800}, {"down", 3, 0x181f}, {"idx", 5, 0x181f}} {
		all = append(all, warpCase{fmt.Sprintf("shfl.sync.%s.b32 %%b0|%%p1, %%a0, %d, %d, -1; selp.b32 %%b1, 1, 0, %%p1;", s.mode, s.b, s.c), 1, 2, nil,
			func(a, b warpRegs) {
				for l := range 32 {
					from, in := shuffle(s.mode, l, s.b, s.c)
					b[0][l], b[1][l] = a[0][from], uint32(yes(in))
				}
			}})
	}
	few := func(r *rand.Rand) uint32 { return uint32(r.IntN(5)) }
	fold := func(f func(x, y uint32) uint32) func(a, b warpRegs) {
		return func(a, b warpRegs) {
			v := a[0][0]
			for _, x := range a[0][1:] {
				v = f(v, x)
			}
			for l := range 32 {
				b[0][l] = v
			}
		}
	}
	all = append(all,
		warpCase{"shfl.sync.idx.b32 %b0, %a0, %a1, 31, -1;", 2, 1, nil, func(a, b warpRegs) {
			for l := range 32 {
				b[0][l] = a[0][a[1][l]&31]
			}
		}},
		warpCase{"setp.gt.u32 %p1, %a0, 2; vote.sync.ballot.b32 %b0, %p1, -1; vote.sync.any.pred %p2, %p1, -1; selp.u32 %b1, 1, 0, %p2; vote.sync.all.pred %p2, !%p1, -1; selp.u32 %b2, 1, 0, %p2;", 1, 3, few,
			func(a, b warpRegs) {
				var m uint32
				for l, v := range a[0] {
					m |= uint32(yes(v > 2)) << l
				}
				for l := range 32 {
					b[0][l], b[1][l], b[2][l] = m, uint32(yes(m != 0)), uint32(yes(m == 0))
				}
			}},
		warpCase{"match.any.sync.b32 %b0, %a0, -1; match.all.sync.b32 %b1|%p1, %a0, -1; match.all.sync.b32 %b2|%p1, 7, -1; selp.u32 %b3, 1, 0, %p1;", 1, 4, few,
			func(a, b warpRegs) {
				for l, v := range a[0] {
					for k, u := range a[0] {
						b[0][l] |= uint32(yes(u == v)) << k
					}
					b[1][l], b[2][l], b[3][l] = 0, 0xffffffff, 1
				}
			}},
		warpCase{"redux.sync.add.s32 %b0, %a0, -1;", 1, 1, nil, fold(func(x, y uint32) uint32 { return x + y })},
		warpCase{"redux.sync.max.s32 %b0, %a0, -1;", 1, 1, nil, fold(func(x, y uint32) uint32 { return uint32(max(int32(x), int32(y))) })},
		warpCase{"redux.sync.min.u32 %b0, %a0, -1;", 1, 1, nil, fold(func(x, y uint32) uint32 { return min(x, y) })},
		warpCase{"redux.sync.xor.b32 %b0, %a0, -1;", 1, 1, nil, fold(func(x, y uint32) uint32 { return x ^ y })},
		warpCase{"setp.lt.u32 %p1, %a0, 3; @%p1 activemask.b32 %b0;", 1, 1, few, func(a, b warpRegs) {
			var m uint32
			for l, v := range a[0] {
				m |= uint32(yes(v < 3)) << l
			}
			for l := range 32 {
				if m>>l&1 != 0 {
					b[0][l] = m
				}
			}
		}},
		// Loads and stores of all sizes, with and without signs, through shared memory.
		warpCase{"shl.b32 %t, %l, 4; add.u32 %t, %s, %t; st.shared.v4.u32 [%t], {%a0, %a1, %a2, %a3}; ld.shared.v2.b32 {%b0, _}, [%t+8]; ld.shared.s8 %b1, [%t+5]; ld.shared.u16 %b2, [%t+14]; ld.shared.s16 %b3, [%t]; ld.shared.u8 %b4, [%t+15]; bar.warp.sync -1; xor.b32 %t, %t, 16; ld.shared.b32 %b5, [%t+4];", 4, 6, nil,
			func(a, b warpRegs) {
				for l := range 32 {
					b[0][l], b[1][l], b[2][l] = a[2][l], uint32(int8(a[1][l]>>8)), a[3][l]>>16
					b[3][l], b[4][l], b[5][l] = uint32(int16(a[0][l])), a[3][l]>>24, a[1][l^1]
				}
			}},
		warpCase{"shl.b32 %t, %l, 3; add.u32 %t, %s, %t; mov.b64 %x, {%a0, %a1}; st.shared.u64 [%t], %x; cvta.shared.u64 %x, sh; isspacep.shared %p1, %x; isspacep.global %p2, %pi; and.pred %p1, %p1, %p2; selp.u32 %b2, 1, 0, %p1; mad.wide.u32 %y, %l, 8, %x; ld.u64 %x, [%y]; mov.b64 {%b0, %b1}, %x;", 2, 3, nil,
			func(a, b warpRegs) {
				for l := range 32 {
					b[0][l], b[1][l], b[2][l] = a[0][l], a[1][l], 1
				}
			}},
		// Copies: of 4 bytes, of 16, of fewer than 16, and none.
		warpCase{"shl.b32 %t, %l, 2; add.u32 %t, %s, %t; cp.async.ca.shared.global [%t], [%pi], 4; cp.async.commit_group; cp.async.ca.shared.global [%t+128], [%pi+128], 4, 0; cp.async.commit_group; cp.async.wait_group 1; ld.shared.b32 %b0, [%t]; cp.async.wait_all; ld.shared.b32 %b1, [%t+128];", 2, 2, nil,
			func(a, b warpRegs) { b[0] = a[0] }},
		warpCase{"setp.lt.u32 %p1, %l, 8; mad.wide.u32 %x, %l, 12, %pi; shl.b32 %t, %l, 4; add.u32 %t, %s, %t; @%p1 cp.async.cg.shared.global [%t], [%x], 16, 8; cp.async.wait_all; bar.warp.sync -1; shl.b32 %t, %l, 2; add.u32 %t, %s, %t; ld.shared.b32 %b0, [%t];", 1, 1, nil,
			func(a, b warpRegs) {
				for l := range 32 {
					if l%4 < 2 {
						b[0][l] = a[0][l]
					}
				}
			}})
	// Atomics on one word of shared memory that starts as 5: what is there behind it.
	for _, c := range []struct {
		op string
		f  func(x, y uint32) uint32
	}{
		{"add.u32", func(x, y uint32) uint32 { return x + y }}, {"min.s32", func(x, y uint32) uint32 { return uint32(min(int32(x), int32(y))) }},
		{"max.u32", func(x, y uint32) uint32 { return max(x, y) }}, {"and.b32", func(x, y uint32) uint32 { return x & y }},
		{"or.b32", func(x, y uint32) uint32 { return x | y }}, {"xor.b32", func(x, y uint32) uint32 { return x ^ y }},
		{"inc.u32", func(x, y uint32) uint32 {
			if x >= y {
				return 0
			}
			return x + 1
		}},
		{"dec.u32", func(x, y uint32) uint32 {
			if x == 0 || x > y {
				return y
			}
			return x - 1
		}},
	} {
		for _, sp := range []string{"shared", "global"} {
			at := map[string]string{"shared": "[%x]", "global": "[%y]"}[sp]
			text := "mov.u64 %x, sh; sub.s64 %y, %po, 0; mul.wide.u32 %y, %l, 4; sub.s64 %y, %po, %y; setp.eq.u32 %p1, %l, 0; @%p1 st." + sp + ".u32 " + at + ", 5; bar.warp.sync -1; "
			text += "atom." + sp + "." + c.op + " %b1, " + at + ", %a0; bar.warp.sync -1; ld." + sp + ".u32 %b0, " + at + "; mov.u32 %b1, 0; bar.warp.sync -1;"
			all = append(all, warpCase{text, 1, 2, nil, func(a, b warpRegs) {
				v := uint32(5)
				for _, x := range a[0] {
					v = c.f(v, x)
				}
				for l := range 32 {
					b[0][l] = v
				}
			}})
		}
	}
	return append(all, append(mmaCases(), ldmatrixCases()...)...)
}

// mmaCases are the products of tensor cores: their fragments as PTX's manual draws them.
func mmaCases() []warpCase {
	halfOf := func(f func(uint16) float32) func(v uint32, i int) float64 {
		return func(v uint32, i int) float64 { return float64(f(uint16(v >> (16 * i)))) }
	}
	f16Elem, bf16Elem := halfOf(tensor.F16ToF32), halfOf(tensor.BF16ToF32)
	tf32Elem := func(v uint32, _ int) float64 { return float64(math.Float32frombits(v &^ 0x1fff)) }
	s8Elem := func(v uint32, i int) float64 { return float64(int8(v >> (8 * i))) }
	u8Elem := func(v uint32, i int) float64 { return float64(uint8(v >> (8 * i))) }
	small := func(to func(float32) uint16) func(r *rand.Rand) uint32 {
		v := func(r *rand.Rand) uint32 { return uint32(to(float32(r.IntN(65)-32) / 8)) }
		return func(r *rand.Rand) uint32 { return v(r) | v(r)<<16 }
	}
	floatBits := func(r *rand.Rand) uint32 { return math.Float32bits(float32(r.IntN(65)-32) / 8) }
	var out []warpCase
	for _, c := range []struct {
		k          int
		a, b, cd   string
		per        int // elements in a register
		elemA      func(v uint32, i int) float64
		elemB      func(v uint32, i int) float64
		gen        func(r *rand.Rand) uint32
		regA, regB int
	}{
		{16, "f16", "f16", "f32", 2, f16Elem, f16Elem, small(tensor.F32ToF16), 4, 2}, {8, "f16", "f16", "f32", 2, f16Elem, f16Elem, small(tensor.F32ToF16), 2, 1},
		{16, "f16", "f16", "f16", 2, f16Elem, f16Elem, small(tensor.F32ToF16), 4, 2}, {16, "bf16", "bf16", "f32", 2, bf16Elem, bf16Elem, small(tensor.F32ToBF16), 4, 2},
		{8, "bf16", "bf16", "f32", 2, bf16Elem, bf16Elem, small(tensor.F32ToBF16), 2, 1}, {8, "tf32", "tf32", "f32", 1, tf32Elem, tf32Elem, floatBits, 4, 2},
		{4, "tf32", "tf32", "f32", 1, tf32Elem, tf32Elem, floatBits, 2, 1}, {32, "s8", "s8", "s32", 4, s8Elem, s8Elem, anyBits, 4, 2},
		{16, "u8", "s8", "s32", 4, u8Elem, s8Elem, anyBits, 2, 1},
	} {
		nC := 4
		if c.cd == "f16" {
			nC = 2
		}
		list := func(p string, from, n int) string {
			var r []string
			for i := range n {
				r = append(r, fmt.Sprintf("%s%d", p, from+i))
			}
			return "{" + strings.Join(r, ", ") + "}"
		}
		regA, regB := list("%a", 0, c.regA), list("%a", c.regA, c.regB)
		text := ""
		regC := list("%a", c.regA+c.regB, nC)
		regD := list("%b", 0, nC)
		if c.cd == "f32" {
			for i := range nC {
				text += fmt.Sprintf("cvt.rn.f32.s32 %%f%d, %%a%d; shr.s32 %%t, %%a%d, 28; cvt.rn.f32.s32 %%f%d, %%t; ", i, c.regA+c.regB+i, c.regA+c.regB+i, i)
			}
			regC, regD = list("%f", 0, nC), list("%f", 4, nC)
		}
		text += fmt.Sprintf("mma.sync.aligned.m16n8k%d.row.col.%s.%s.%s.%s %s, %s, %s, %s;", c.k, c.cd, c.a, c.b, c.cd, regD, regA, regB, regC)
		if c.cd == "f32" {
			for i := range nC {
				text += fmt.Sprintf(" mov.b32 %%b%d, %%f%d;", i, 4+i)
			}
		}
		out = append(out, warpCase{text, c.regA + c.regB + nC, nC, c.gen, func(a, b warpRegs) {
			// The matrices, element by element.
			elemA := func(row, col int) float64 {
				lane := row%8*4 + col/c.per%4
				reg := row/8 + 2*(col/(4*c.per))
				return c.elemA(a[reg][lane], col%c.per)
			}
			elemB := func(row, col int) float64 {
				lane := col*4 + row/c.per%4
				return c.elemB(a[c.regA+row/(4*c.per)][lane], row%c.per)
			}
			for row := range 16 {
				for col := range 8 {
					var sum float64
					for k := range c.k {
						sum += elemA(row, k) * elemB(k, col)
					}
					lane := row%8*4 + col/2
					i := row/8*2 + col%2
					acc := a[c.regA+c.regB:]
					switch c.cd {
					case "f32":
						b[i][lane] = math.Float32bits(float32(sum + float64(int32(acc[i][lane])>>28)))
					case "s32":
						b[i][lane] = uint32(int64(sum) + int64(int32(acc[i][lane])))
					default:
						s := f16Elem(acc[i/2][lane], i%2) + sum
						b[i/2][lane] |= uint32(tensor.F64ToF16(s)) << (16 * (i % 2))
					}
				}
			}
		}})
	}
	return out
}

// ldmatrixCases load matrices that a warp has put in shared memory: 512 bytes, rows of 16.
func ldmatrixCases() []warpCase {
	var out []warpCase
	for _, n := range []int{1, 2, 4} {
		for _, trans := range []bool{false, true} {
			name := fmt.Sprintf("ldmatrix.sync.aligned.m8n8.x%d", n)
			if trans {
				name += ".trans"
			}
			regs := []string{"{%b0}", "{%b0}", "{%b0, %b1}", "", "{%b0, %b1, %b2, %b3}"}[n]
			text := "shl.b32 %t, %l, 4; add.u32 %t, %s, %t; st.shared.v4.b32 [%t], {%a0, %a1, %a2, %a3}; bar.warp.sync -1; xor.b32 %t, %t, 48; " +
				name + ".shared.b16 " + regs + ", [%t];"
			out = append(out, warpCase{text, 4, n, nil, func(a, b warpRegs) {
				elem := func(m, row, col int) uint32 { // of matrix m, whose rows lanes 8m to 8m+7 name
					r := (8*m + row) ^ 3
					return a[col/2][r] >> (16 * (col % 2)) & 0xffff
				}
				for m := range n {
					for l := range 32 {
						if trans {
							b[m][l] = elem(m, l%4*2, l/4) | elem(m, l%4*2+1, l/4)<<16
						} else {
							b[m][l] = elem(m, l/4, l%4*2) | elem(m, l/4, l%4*2+1)<<16
						}
					}
				}
			}})
		}
	}
	return out
}

func warpModule(cases []warpCase) string {
	var text strings.Builder
	text.WriteString(header)
	for i, c := range cases {
		text.WriteString(warpKernel(fmt.Sprintf("w%d", i), c.text, c.in, c.out))
	}
	return text.String()
}

// TestWarps compares what a warp does together with what Go computes.
func TestWarps(t *testing.T) {
	cases := warpCases()
	for _, o := range []Options{{Arch: 90}, {Arch: 90, Races: true, Seed: 9}} {
		b := load(t, o, warpModule(cases))
		r := rand.New(rand.NewPCG(11, 12))
		for i, c := range cases {
			gen := c.gen
			if gen == nil {
				gen = anyBits
			}
			runs := 5
			if testing.Short() {
				runs = 1
			}
			for range runs {
				in, want := make(warpRegs, c.in), make(warpRegs, c.out)
				for j := range in {
					for l := range 32 {
						in[j][l] = gen(r)
					}
				}
				c.want(in, want)
				got := b.warp(fmt.Sprintf("w%d", i), in, c.out)
				for j := range want {
					if got[j] != want[j] {
						t.Fatalf("%s\nregister %d: %x\nnot         %x", c.text, j, got[j], want[j])
					}
				}
			}
		}
	}
	t.Logf("%d cases", len(cases))
}

// TestCounters counts what a known kernel does.
func TestCounters(t *testing.T) {
	for _, c := range []struct {
		body string
		want Counters
	}{
		{"ld.global.u32 %r2, [%d2];", Counters{GlobalLoads: 2, GlobalLoadBytes: 256, GlobalSectors: 8}},
		{"mul.wide.u32 %d3, %r1, 32; add.s64 %d3, %d1, %d3; ld.global.v2.u32 {%r2, %r3}, [%d3];", Counters{GlobalLoads: 2, GlobalLoadBytes: 512, GlobalSectors: 64}},
		{"mov.u32 %r2, sh; mov.u32 %r4, %laneid; shl.b32 %r3, %r4, 2; shl.b32 %r5, %r1, 2; and.b32 %r5, %r5, 128; add.u32 %r3, %r3, %r5; add.u32 %r3, %r3, %r2; st.shared.u32 [%r3], %r1;",
			Counters{SharedStores: 2, SharedBytes: 256}},
		{"setp.lt.u32 %p1, %r1, 2; mov.u32 %r2, sh; shl.b32 %r3, %r1, 7; add.u32 %r3, %r3, %r2; @%p1 st.shared.u32 [%r3], %r1;",
			Counters{SharedStores: 1, SharedBytes: 8, BankConflicts: 1}},
		{"setp.lt.u32 %p1, %r1, 5; @%p1 bra L; mov.u32 %r2, 1; L: bar.sync 0;", Counters{DivergentBranches: 1, Barriers: 2}},
	} {
		b := load(t, Options{}, smallKernel("\t"+c.body))
		p := b.put(make([]byte, 4096))
		b.run("k", driver.Launch{Grid: driver.D(1), Block: driver.D(64), Params: []uint64{uint64(p)}})
		got, kernels := b.c.Counters()
		if kernels["k"] != got || got.Launches != 1 || got.Blocks != 1 || got.Instructions == 0 || got.ThreadInstructions <= got.Instructions {
			t.Errorf("%+v, of the kernel %+v", got, kernels["k"])
		}
		got.Launches, got.Blocks, got.Instructions, got.ThreadInstructions = 0, 0, 0, 0
		if got != c.want {
			t.Errorf("%s\n%+v, not\n%+v", c.body, got, c.want)
		}
	}
}
