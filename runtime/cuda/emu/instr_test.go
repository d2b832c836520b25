package emu

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/big"
	"math/bits"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/runtime/cuda/driver"
)

// instrCase is an instruction, and what it computes. Its operands are, by letter: h, r and d, 16, 32 and 64
// bits; f and g, f32 and f64; p, a predicate. The first is the result, unless it is also in src.
type instrCase struct {
	text string // the instruction with $0 for the result, and $1 to $3
	dst  byte
	src  string
	want func(a, b, c uint64) uint64
}

func i32(v uint64) int64     { return int64(int32(v)) }
func lo32(v int64) uint64    { return uint64(uint32(v)) }
func fl(v uint64) float32    { return math.Float32frombits(uint32(v)) }
func dbl(v uint64) float64   { return math.Float64frombits(v) }
func yes(b bool) uint64      { return map[bool]uint64{false: 0, true: 1}[b] }
func h2f(v uint64) float64   { return float64(tensor.F16ToF32(uint16(v))) }
func f2h(v float64) uint64   { return canonical(uint64(tensor.F64ToF16(v)), v, 0x7fff) }
func f2bf(v float64) uint64  { return canonical(uint64(tensor.F64ToBF16(v)), v, 0x7fff) }
func out32(v float32) uint64 { return canonical(uint64(math.Float32bits(v)), float64(v), 0x7fffffff) }
func out64(v float64) uint64 { return canonical(math.Float64bits(v), v, 0x7fffffffffffffff) }

func canonical(bits uint64, v float64, nan uint64) uint64 {
	if v != v {
		return nan
	}
	return bits
}

// bigFMA is a*b + c, rounded once.
func bigFMA(a, b, c float64, prec uint, mode big.RoundingMode) (float64, bool) {
	for _, v := range []float64{a, b, c} {
		if v != v || math.IsInf(v, 0) {
			return 0, false
		}
	}
	x := new(big.Float).SetPrec(5000).SetFloat64(a)
	x.Mul(x, new(big.Float).SetPrec(5000).SetFloat64(b))
	x.Add(x, new(big.Float).SetPrec(5000).SetFloat64(c))
	if x.Sign() == 0 {
		return 0, false
	}
	r := new(big.Float).SetPrec(prec).SetMode(mode).Set(x)
	v, _ := r.Float64()
	return v, true
}

var cmpOps = []struct {
	name string
	f    func(o, u bool, c int) bool // ordered, unordered, comparison
}{
	{"eq", func(o, u bool, c int) bool { return o && c == 0 }}, {"ne", func(o, u bool, c int) bool { return o && c != 0 }},
	{"lt", func(o, u bool, c int) bool { return o && c < 0 }}, {"le", func(o, u bool, c int) bool { return o && c <= 0 }},
	{"gt", func(o, u bool, c int) bool { return o && c > 0 }}, {"ge", func(o, u bool, c int) bool { return o && c >= 0 }},
	{"equ", func(o, u bool, c int) bool { return u || c == 0 }}, {"neu", func(o, u bool, c int) bool { return u || c != 0 }},
	{"ltu", func(o, u bool, c int) bool { return u || c < 0 }}, {"leu", func(o, u bool, c int) bool { return u || c <= 0 }},
	{"gtu", func(o, u bool, c int) bool { return u || c > 0 }}, {"geu", func(o, u bool, c int) bool { return u || c >= 0 }},
	{"num", func(o, u bool, c int) bool { return o }}, {"nan", func(o, u bool, c int) bool { return u }},
}

func compare[T int64 | uint64 | float64](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

func instrCases() []instrCase {
	two := func(op, cls string, f func(a, b uint64) uint64) instrCase {
		return instrCase{op + " $0, $1, $2;", cls[0], cls + cls, func(a, b, _ uint64) uint64 { return f(a, b) }}
	}
	one := func(op string, dst byte, src string, f func(a uint64) uint64) instrCase {
		return instrCase{op + " $0, $1;", dst, src, func(a, _, _ uint64) uint64 { return f(a) }}
	}
	three := func(op, cls string, f func(a, b, c uint64) uint64) instrCase {
		return instrCase{op + " $0, $1, $2, $3;", cls[0], cls + cls + cls, f}
	}
	f32op := func(op string, f func(a, b float32) float32) instrCase {
		return two(op, "f", func(a, b uint64) uint64 { return out32(f(fl(a), fl(b))) })
	}
	f64op := func(op string, f func(a, b float64) float64) instrCase {
		return two(op, "g", func(a, b uint64) uint64 { return out64(f(dbl(a), dbl(b))) })
	}
	all := []instrCase{
		two("add.s32", "r", func(a, b uint64) uint64 { return lo32(i32(a) + i32(b)) }),
		two("sub.u32", "r", func(a, b uint64) uint64 { return lo32(i32(a) - i32(b)) }),
		two("add.s64", "d", func(a, b uint64) uint64 { return a + b }),
		two("sub.s64", "d", func(a, b uint64) uint64 { return a - b }),
		two("add.u16", "h", func(a, b uint64) uint64 { return (a + b) & 0xffff }),
		two("add.sat.s32", "r", func(a, b uint64) uint64 { return lo32(max(min(i32(a)+i32(b), math.MaxInt32), math.MinInt32)) }),
		two("mul.lo.s32", "r", func(a, b uint64) uint64 { return lo32(i32(a) * i32(b)) }),
		two("mul.hi.s32", "r", func(a, b uint64) uint64 { return lo32(i32(a) * i32(b) >> 32) }),
		two("mul.hi.u32", "r", func(a, b uint64) uint64 { return a * b >> 32 }),
		two("mul.lo.u64", "d", func(a, b uint64) uint64 { return a * b }),
		two("mul.hi.u64", "d", func(a, b uint64) uint64 { h, _ := bits.Mul64(a, b); return h }),
		two("mul.hi.s64", "d", func(a, b uint64) uint64 {
			p := new(big.Int).Mul(big.NewInt(int64(a)), big.NewInt(int64(b)))
			return uint64(p.Rsh(p, 64).Int64())
		}),
		{"mul.wide.s32 $0, $1, $2;", 'd', "rr", func(a, b, _ uint64) uint64 { return uint64(i32(a) * i32(b)) }},
		{"mul.wide.u32 $0, $1, $2;", 'd', "rr", func(a, b, _ uint64) uint64 { return a * b }},
		{"mul.wide.u16 $0, $1, $2;", 'r', "hh", func(a, b, _ uint64) uint64 { return a * b }},
		{"mul.wide.s16 $0, $1, $2;", 'r', "hh", func(a, b, _ uint64) uint64 { return lo32(int64(int16(a)) * int64(int16(b))) }},
		three("mad.lo.s32", "r", func(a, b, c uint64) uint64 { return lo32(i32(a)*i32(b) + i32(c)) }),
		three("mad.hi.u32", "r", func(a, b, c uint64) uint64 { return (a*b>>32 + c) & 0xffffffff }),
		three("mad.lo.u64", "d", func(a, b, c uint64) uint64 { return a*b + c }),
		{"mad.wide.s32 $0, $1, $2, $3;", 'd', "rrd", func(a, b, c uint64) uint64 { return uint64(i32(a)*i32(b)) + c }},
		{"mad.wide.u32 $0, $1, $2, $3;", 'd', "rrd", func(a, b, c uint64) uint64 { return a*b + c }},
		two("mul24.lo.s32", "r", func(a, b uint64) uint64 { return lo32(i32(a<<8) >> 8 * (i32(b<<8) >> 8)) }),
		three("sad.s32", "r", func(a, b, c uint64) uint64 { return lo32(i32(c) + max(i32(a)-i32(b), i32(b)-i32(a))) }),
		{"or.b32 $0, $2, 1; div.s32 $0, $1, $0;", 'r', "rr", func(a, b, _ uint64) uint64 { return lo32(i32(a) / i32(b|1)) }},
		{"or.b32 $0, $2, 1; rem.u32 $0, $1, $0;", 'r', "rr", func(a, b, _ uint64) uint64 { return a % (b | 1) }},
		{"or.b64 $0, $2, 1; rem.s64 $0, $1, $0;", 'd', "dd", func(a, b, _ uint64) uint64 { return uint64(int64(a) % int64(b|1)) }},
		{"or.b64 $0, $2, 1; div.u64 $0, $1, $0;", 'd', "dd", func(a, b, _ uint64) uint64 { return a / (b | 1) }},
		two("min.s32", "r", func(a, b uint64) uint64 { return lo32(min(i32(a), i32(b))) }),
		two("max.u32", "r", func(a, b uint64) uint64 { return max(a, b) }),
		two("max.s64", "d", func(a, b uint64) uint64 { return uint64(max(int64(a), int64(b))) }),
		one("abs.s32", 'r', "r", func(a uint64) uint64 { return lo32(max(i32(a), -i32(a))) }),
		one("neg.s64", 'd', "d", func(a uint64) uint64 { return -a }),
		two("and.b32", "r", func(a, b uint64) uint64 { return a & b }), two("or.b64", "d", func(a, b uint64) uint64 { return a | b }),
		two("xor.b16", "h", func(a, b uint64) uint64 { return a ^ b }),
		one("not.b32", 'r', "r", func(a uint64) uint64 { return ^a & 0xffffffff }), one("cnot.b32", 'r', "r", func(a uint64) uint64 { return yes(a == 0) }),
		{"shl.b32 $0, $1, $2;", 'r', "rr", func(a, b, _ uint64) uint64 { return uint64(uint32(a) << min(uint32(b), 32)) }},
		{"shr.u32 $0, $1, $2;", 'r', "rr", func(a, b, _ uint64) uint64 { return uint64(uint32(a) >> min(uint32(b), 32)) }},
		{"shr.s32 $0, $1, $2;", 'r', "rr", func(a, b, _ uint64) uint64 { return uint64(uint32(int32(a) >> min(uint32(b), 32))) }},
		{"and.b32 %x, $2, 127; shl.b64 $0, $1, %x;", 'd', "dr", func(a, b, _ uint64) uint64 { return a << (b & 127) }},
		{"and.b32 %x, $2, 127; shr.s64 $0, $1, %x;", 'd', "dr", func(a, b, _ uint64) uint64 { return uint64(int64(a) >> (b & 127)) }},
		{"and.b32 %x, $3, 63; shf.l.clamp.b32 $0, $1, $2, %x;", 'r', "rrr", func(a, b, c uint64) uint64 { return (b<<32 | a) << min(c&63, 32) >> 32 }},
		{"and.b32 %x, $3, 63; shf.r.wrap.b32 $0, $1, $2, %x;", 'r', "rrr", func(a, b, c uint64) uint64 { return (b<<32 | a) >> (c & 31) & 0xffffffff }},
		{"lop3.b32 $0, $1, $2, $3, 0x96;", 'r', "rrr", func(a, b, c uint64) uint64 { return a ^ b ^ c }},
		{"lop3.b32 $0, $1, $2, $3, 0xca;", 'r', "rrr", func(a, b, c uint64) uint64 { return a&b | ^a&c&0xffffffff }},
		{"prmt.b32 $0, $1, $2, 0x0123;", 'r', "rr", func(a, b, _ uint64) uint64 { return uint64(bits.ReverseBytes32(uint32(a))) }},
		{"prmt.b32 $0, $1, $2, 0x5410;", 'r', "rr", func(a, b, _ uint64) uint64 { return a&0xffff | b<<16&0xffffffff }},
		{"prmt.b32 $0, $1, $2, 0xba98;", 'r', "rr", func(a, b, _ uint64) uint64 {
			var v uint64
			for i := range 4 {
				if a>>(8*i+7)&1 != 0 {
					v |= 0xff << (8 * i)
				}
			}
			return v
		}},
		one("popc.b32", 'r', "r", func(a uint64) uint64 { return uint64(bits.OnesCount32(uint32(a))) }),
		one("popc.b64", 'r', "d", func(a uint64) uint64 { return uint64(bits.OnesCount64(a)) }),
		one("clz.b32", 'r', "r", func(a uint64) uint64 { return uint64(bits.LeadingZeros32(uint32(a))) }),
		one("clz.b64", 'r', "d", func(a uint64) uint64 { return uint64(bits.LeadingZeros64(a)) }),
		one("brev.b32", 'r', "r", func(a uint64) uint64 { return uint64(bits.Reverse32(uint32(a))) }),
		one("brev.b64", 'd', "d", bits.Reverse64),
		one("bfind.u32", 'r', "r", func(a uint64) uint64 { return lo32(int64(bits.Len32(uint32(a))) - 1) }),
		{"and.b32 %x, $2, 31; bfe.u32 $0, $1, %x, 7;", 'r', "rr", func(a, b, _ uint64) uint64 { return a >> (b & 31) & 127 }},
		{"bfe.s32 $0, $1, 4, 8;", 'r', "r", func(a, _, _ uint64) uint64 { return uint64(uint32(int8(a >> 4))) }},
		{"bfe.s64 $0, $1, 40, 60;", 'd', "d", func(a, _, _ uint64) uint64 { return uint64(int64(a) >> 40) }},
		{"bfi.b32 $0, $1, $2, 5, 9;", 'r', "rr", func(a, b, _ uint64) uint64 { return b&^(511<<5) | a&511<<5 }},
		{"bfi.b64 $0, $1, $2, 60, 9;", 'd', "dd", func(a, b, _ uint64) uint64 { return b&^(15<<60) | a<<60 }},
		{"dp4a.s32.s32 $0, $1, $2, $3;", 'r', "rrr", func(a, b, c uint64) uint64 {
			s := int64(c)
			for i := range 4 {
				s += int64(int8(a>>(8*i))) * int64(int8(b>>(8*i)))
			}
			return lo32(s)
		}},
		// Choosing and moving.
		{"selp.b32 $0, $1, $2, $3;", 'r', "rrp", func(a, b, c uint64) uint64 { return map[uint64]uint64{1: a, 0: b}[c] }},
		{"slct.f32.s32 $0, $1, $2, $3;", 'f', "ffr", func(a, b, c uint64) uint64 { return map[bool]uint64{true: a, false: b}[i32(c) >= 0] }},
		{"mov.b64 {$0, %x}, $1;", 'r', "d", func(a, _, _ uint64) uint64 { return a & 0xffffffff }},
		{"mov.b64 $0, {$1, $2};", 'd', "rr", func(a, b, _ uint64) uint64 { return a | b<<32 }},
		{"mov.b32 $0, {$1, $2};", 'r', "hh", func(a, b, _ uint64) uint64 { return a | b<<16 }},
		{"@$3 mov.b32 $0, $1; @!$3 mov.b32 $0, $2;", 'r', "rrp", func(a, b, c uint64) uint64 { return map[uint64]uint64{1: a, 0: b}[c] }},
		{"set.lt.u32.s32 $0, $1, $2;", 'r', "rr", func(a, b, _ uint64) uint64 { return yes(i32(a) < i32(b)) * 0xffffffff }},
		{"setp.lt.and.s32 $0, $1, $2, $3;", 'p', "rrp", func(a, b, c uint64) uint64 { return yes(i32(a) < i32(b)) & c }},
		{"setp.hi.or.u32 $0|%q, $1, $2, !$3; mov.pred $0, %q;", 'p', "rrp", func(a, b, c uint64) uint64 { return yes(a <= b) | (c ^ 1) }},
		{"xor.pred $0, $1, $2;", 'p', "pp", func(a, b, _ uint64) uint64 { return a ^ b }},
		{"not.pred $0, $1;", 'p', "p", func(a, _, _ uint64) uint64 { return a ^ 1 }},
		// Floats.
		f32op("add.f32", func(a, b float32) float32 { return a + b }), f32op("sub.rn.f32", func(a, b float32) float32 { return a - b }),
		f32op("mul.f32", func(a, b float32) float32 { return a * b }), f32op("div.rn.f32", func(a, b float32) float32 { return a / b }),
		f64op("add.f64", func(a, b float64) float64 { return a + b }), f64op("mul.rn.f64", func(a, b float64) float64 { return a * b }),
		f64op("div.rn.f64", func(a, b float64) float64 { return a / b }),
		three("fma.rn.f64", "g", func(a, b, c uint64) uint64 { return out64(math.FMA(dbl(a), dbl(b), dbl(c))) }),
		one("sqrt.rn.f32", 'f', "f", func(a uint64) uint64 { return out32(float32(math.Sqrt(float64(fl(a))))) }),
		one("rcp.rn.f32", 'f', "f", func(a uint64) uint64 { return out32(1 / fl(a)) }),
		one("sqrt.rn.f64", 'g', "g", func(a uint64) uint64 { return out64(math.Sqrt(dbl(a))) }),
		one("abs.f32", 'f', "f", func(a uint64) uint64 { return a &^ (1 << 31) }), one("neg.f64", 'g', "g", func(a uint64) uint64 { return a ^ 1<<63 }),
		one("ex2.approx.f32", 'f', "f", func(a uint64) uint64 { return out32(float32(math.Exp2(float64(fl(a))))) }),
		one("lg2.approx.f32", 'f', "f", func(a uint64) uint64 { return out32(float32(math.Log2(float64(fl(a))))) }),
		one("tanh.approx.f32", 'f', "f", func(a uint64) uint64 { return out32(float32(math.Tanh(float64(fl(a))))) }),
		one("sin.approx.f32", 'f', "f", func(a uint64) uint64 { return out32(float32(math.Sin(float64(fl(a))))) }),
		one("rsqrt.approx.f32", 'f', "f", func(a uint64) uint64 { return out32(float32(1 / math.Sqrt(float64(fl(a))))) }),
		two("copysign.f32", "f", func(a, b uint64) uint64 { return a&0x80000000 | b&0x7fffffff }),
		{"testp.subnormal.f32 $0, $1;", 'p', "f", func(a, _, _ uint64) uint64 { return yes(a&0x7f800000 == 0 && a&0x7fffff != 0) }},
		{"add.ftz.sat.f32 $0, $1, $2;", 'f', "ff", func(a, b, _ uint64) uint64 {
			flush := func(v float32) float32 {
				if math.Abs(float64(v)) < 0x1p-126 {
					return 0
				}
				return v
			}
			v := flush(flush(fl(a)) + flush(fl(b)))
			if !(v > 0) {
				return 0
			}
			return out32(min(v, 1))
		}},
		// Small floats.
		two("add.f16", "h", func(a, b uint64) uint64 { return f2h(h2f(a) + h2f(b)) }),
		two("mul.rn.f16", "h", func(a, b uint64) uint64 { return f2h(h2f(a) * h2f(b)) }),
		two("mul.f16x2", "r", func(a, b uint64) uint64 {
			return f2h(h2f(a&0xffff)*h2f(b&0xffff)) | f2h(h2f(a>>16)*h2f(b>>16))<<16
		}),
		{"cvt.f32.f16 $0, $1;", 'f', "h", func(a, _, _ uint64) uint64 { return out32(float32(h2f(a))) }},
		{"cvt.rn.f16.f32 $0, $1;", 'h', "f", func(a, _, _ uint64) uint64 { return f2h(float64(fl(a))) }},
		{"cvt.rn.bf16.f32 $0, $1;", 'h', "f", func(a, _, _ uint64) uint64 { return f2bf(float64(fl(a))) }},
		{"cvt.rn.f16x2.f32 $0, $1, $2;", 'r', "ff", func(a, b, _ uint64) uint64 { return f2h(float64(fl(a)))<<16 | f2h(float64(fl(b))) }},
		{"cvt.rn.bf16x2.f32 $0, $1, $2;", 'r', "ff", func(a, b, _ uint64) uint64 { return f2bf(float64(fl(a)))<<16 | f2bf(float64(fl(b))) }},
		{"cvt.rna.tf32.f32 $0, $1;", 'r', "f", func(a, _, _ uint64) uint64 {
			f := float64(fl(a))
			if f != f {
				return 0x7fffffff
			}
			if math.IsInf(f, 0) {
				return a
			}
			fr, e := math.Frexp(f) // 11 bits, ties away
			if e < -125 {
				return lo32(int64(a+0x1000) &^ 0x1fff)
			}
			return out32(float32(math.Ldexp(math.Round(fr*2048)/2048, e)))
		}},
		// Conversions.
		{"cvt.u32.u64 $0, $1;", 'r', "d", func(a, _, _ uint64) uint64 { return a & 0xffffffff }},
		{"cvt.s64.s32 $0, $1;", 'd', "r", func(a, _, _ uint64) uint64 { return uint64(i32(a)) }},
		{"cvt.s32.s8 $0, $1;", 'r', "r", func(a, _, _ uint64) uint64 { return lo32(int64(int8(a))) }},
		{"cvt.u16.u32 $0, $1;", 'h', "r", func(a, _, _ uint64) uint64 { return a & 0xffff }},
		{"cvt.sat.s8.s32 $0, $1;", 'r', "r", func(a, _, _ uint64) uint64 { return lo32(max(min(i32(a), 127), -128)) }},
		{"cvt.sat.u8.s32 $0, $1;", 'r', "r", func(a, _, _ uint64) uint64 { return lo32(max(min(i32(a), 255), 0)) }},
		{"cvt.rn.f32.s32 $0, $1;", 'f', "r", func(a, _, _ uint64) uint64 { return out32(float32(int32(a))) }},
		{"cvt.rn.f32.u32 $0, $1;", 'f', "r", func(a, _, _ uint64) uint64 { return out32(float32(uint32(a))) }},
		{"cvt.rn.f32.s64 $0, $1;", 'f', "d", func(a, _, _ uint64) uint64 { return out32(float32(int64(a))) }},
		{"cvt.rn.f32.u64 $0, $1;", 'f', "d", func(a, _, _ uint64) uint64 { return out32(float32(a)) }},
		{"cvt.rn.f64.u64 $0, $1;", 'g', "d", func(a, _, _ uint64) uint64 { return out64(float64(a)) }},
		{"cvt.rn.f32.f64 $0, $1;", 'f', "g", func(a, _, _ uint64) uint64 { return out32(float32(dbl(a))) }},
		{"cvt.f64.f32 $0, $1;", 'g', "f", func(a, _, _ uint64) uint64 { return out64(float64(fl(a))) }},
	}
	for _, r := range []struct {
		name string
		f    func(float64) float64
	}{{"rni", math.RoundToEven}, {"rzi", math.Trunc}, {"rmi", math.Floor}, {"rpi", math.Ceil}} {
		clamp := func(v, lo, hi float64) float64 {
			if v != v {
				return 0
			}
			return max(min(r.f(v), hi), lo)
		}
		all = append(all,
			instrCase{"cvt." + r.name + ".s32.f32 $0, $1;", 'r', "f", func(a, _, _ uint64) uint64 {
				return lo32(int64(clamp(float64(fl(a)), math.MinInt32, math.MaxInt32)))
			}},
			instrCase{"cvt." + r.name + ".u32.f64 $0, $1;", 'r', "g", func(a, _, _ uint64) uint64 {
				if v := dbl(a); v != v { // of 64 bits
					return 1 << 31
				}
				return uint64(clamp(dbl(a), 0, math.MaxUint32))
			}},
			instrCase{"cvt." + r.name + ".s64.f32 $0, $1;", 'd', "f", func(a, _, _ uint64) uint64 {
				v := r.f(float64(fl(a)))
				switch {
				case v != v:
					return 1 << 63
				case v >= 0x1p63:
					return math.MaxInt64
				case v < -0x1p63:
					return 1 << 63
				}
				return uint64(int64(v))
			}},
			instrCase{"cvt." + r.name + ".f32.f32 $0, $1;", 'f', "f", func(a, _, _ uint64) uint64 { return out32(float32(r.f(float64(fl(a))))) }})
	}
	for _, m := range []struct {
		name string
		mode big.RoundingMode
	}{{"rn", big.ToNearestEven}, {"rz", big.ToZero}, {"rm", big.ToNegativeInf}, {"rp", big.ToPositiveInf}} {
		// Where big.Float has no answer (zeros, infinities, what is too small or large), nearest does.
		round := func(a, b, c float64) (float64, bool) {
			v, ok := bigFMA(a, b, c, 24, m.mode)
			return v, ok && math.Abs(v) >= 0x1p-126 && math.Abs(v) < 0x1p128
		}
		all = append(all,
			three("fma."+m.name+".f32", "f", func(a, b, c uint64) uint64 {
				if v, ok := round(float64(fl(a)), float64(fl(b)), float64(fl(c))); ok {
					return out32(float32(v))
				}
				return skip
			}),
			two("add."+m.name+".f32", "f", func(a, b uint64) uint64 {
				if v, ok := round(float64(fl(a)), 1, float64(fl(b))); ok {
					return out32(float32(v))
				}
				return skip
			}),
			two("mul."+m.name+".f32", "f", func(a, b uint64) uint64 {
				if v, ok := round(float64(fl(a)), float64(fl(b)), 0); ok {
					return out32(float32(v))
				}
				return skip
			}),
			two("mul."+m.name+".f64", "g", func(a, b uint64) uint64 {
				if v, ok := bigFMA(dbl(a), dbl(b), 0, 53, m.mode); ok && math.Abs(v) >= 0x1p-1022 && math.Abs(v) <= math.MaxFloat64 {
					return out64(v)
				}
				return skip
			}),
			instrCase{"cvt." + m.name + ".f32.s64 $0, $1;", 'f', "d", func(a, _, _ uint64) uint64 {
				v, _ := new(big.Float).SetPrec(24).SetMode(m.mode).SetInt64(int64(a)).Float32()
				return out32(v)
			}})
	}
	for _, c := range cmpOps {
		all = append(all, instrCase{"setp." + c.name + ".f32 $0, $1, $2;", 'p', "ff", func(a, b, _ uint64) uint64 {
			x, y := float64(fl(a)), float64(fl(b))
			u := x != x || y != y
			return yes(c.f(!u, u, compare(x, y)))
		}})
		if len(c.name) == 2 {
			all = append(all, instrCase{"setp." + c.name + ".s32 $0, $1, $2;", 'p', "rr", func(a, b, _ uint64) uint64 {
				return yes(c.f(true, false, compare(i32(a), i32(b))))
			}}, instrCase{"setp." + c.name + ".u64 $0, $1, $2;", 'p', "dd", func(a, b, _ uint64) uint64 {
				return yes(c.f(true, false, compare(a, b)))
			}})
		}
	}
	for _, nan := range []bool{false, true} {
		for _, most := range []bool{false, true} {
			op := map[bool]string{false: "min", true: "max"}[most] + map[bool]string{true: ".NaN"}[nan] + ".f32"
			all = append(all, two(op, "f", func(a, b uint64) uint64 {
				x, y := float64(fl(a)), float64(fl(b))
				switch {
				case x != x && y != y, nan && (x != x || y != y):
					return 0x7fffffff
				case x != x:
					return b
				case y != y:
					return a
				case most:
					return out32(float32(math.Max(x, y)))
				}
				return out32(float32(math.Min(x, y)))
			}))
		}
	}
	return all
}

// skip is the result of a reference that has none.
const skip = 0xdeadbeefdeadbeef

// kernelOf makes a kernel of an instruction: each thread takes three values of 64 bits, and stores one.
func kernelOf(name string, c instrCase) string {
	var b strings.Builder
	fmt.Fprintf(&b, ".visible .entry %s(.param .u64 pin, .param .u64 pout)\n{\n", name)
	b.WriteString(`	.reg .b64 %in<3>, %out, %pi, %po;
	.reg .b32 %x, %t, %r<4>;
	.reg .b64 %d<4>;
	.reg .b16 %h<4>;
	.reg .f32 %f<4>;
	.reg .f64 %g<4>;
	.reg .pred %q, %p<4>;
	ld.param.u64 %pi, [pin];
	ld.param.u64 %po, [pout];
	mov.u32 %t, %ctaid.x;
	mov.u32 %x, %ntid.x;
	mul.lo.u32 %t, %t, %x;
	mov.u32 %x, %tid.x;
	add.u32 %t, %t, %x;
	mad.wide.u32 %pi, %t, 24, %pi;
	mad.wide.u32 %po, %t, 8, %po;
`)
	args := []string{string("%"+string(c.dst)) + "0"}
	for i, k := range c.src {
		r := fmt.Sprintf("%%%c%d", k, i+1)
		args = append(args, r)
		fmt.Fprintf(&b, "\tld.global.u64 %%in%d, [%%pi+%d];\n", i, 8*i)
		switch k {
		case 'h':
			fmt.Fprintf(&b, "\tcvt.u16.u64 %s, %%in%d;\n", r, i)
		case 'r':
			fmt.Fprintf(&b, "\tcvt.u32.u64 %s, %%in%d;\n", r, i)
		case 'd', 'g':
			fmt.Fprintf(&b, "\tmov.b64 %s, %%in%d;\n", r, i)
		case 'f':
			fmt.Fprintf(&b, "\tcvt.u32.u64 %%x, %%in%d;\n\tmov.b32 %s, %%x;\n", i, r)
		case 'p':
			fmt.Fprintf(&b, "\tand.b64 %%in%d, %%in%d, 1;\n\tsetp.ne.s64 %s, %%in%d, 0;\n", i, i, r, i)
		}
	}
	text := c.text
	for i, a := range args {
		text = strings.ReplaceAll(text, fmt.Sprintf("$%d", i), a)
	}
	b.WriteString("\t" + text + "\n")
	switch c.dst {
	case 'h':
		b.WriteString("\tcvt.u64.u16 %out, %h0;\n")
	case 'r':
		b.WriteString("\tcvt.u64.u32 %out, %r0;\n")
	case 'd', 'g':
		b.WriteString("\tmov.b64 %out, " + args[0] + ";\n")
	case 'f':
		b.WriteString("\tmov.b32 %x, %f0;\n\tcvt.u64.u32 %out, %x;\n")
	case 'p':
		b.WriteString("\tselp.u64 %out, 1, 0, %p0;\n")
	}
	b.WriteString("\tst.global.u64 [%po], %out;\n\tret;\n}\n")
	return b.String()
}

// operandValues are values worth trying, of all classes at once: as bits.
func operandValues(r *rand.Rand, k byte) uint64 {
	special := map[byte][]uint64{
		'f': {0, 1 << 31, 0x3f800000, 0xbf800000, 0x7f800000, 0xff800000, 0x7fc00001, 1, 0x807fffff, 0x00800000, 0x7f7fffff, 0x4b000001, 0x33800000, 0x3f000000, 0x40200000, 0xc0600000},
		'g': {0, 1 << 63, 0x3ff0000000000000, 0x7ff0000000000000, 0xfff0000000000000, 0x7ff8000000000001, 1, 0x7fefffffffffffff, 0x47efffffe0000000, 0x41dfffffffc00000, 0x4004000000000000},
		'r': {0, 1, 2, 31, 32, 33, 0x7fffffff, 0x80000000, 0xffffffff, 0x80000001, 127, 128, 255, 256, 0xffff8000},
		'd': {0, 1, 63, 64, 1<<63 - 1, 1 << 63, ^uint64(0), 1 << 32, 1<<53 + 1, 1<<24 + 1},
		'h': {0, 1, 0x8000, 0x7fff, 0xffff, 0x3c00, 0x7c00, 0xfc00, 0x7bff, 0x0400, 0x03ff, 0x3555},
		'p': {0, 1},
	}[k]
	if r.IntN(2) == 0 {
		return special[r.IntN(len(special))]
	}
	v := r.Uint64()
	switch {
	case k == 'f' && r.IntN(2) == 0:
		return uint64(math.Float32bits(float32(r.NormFloat64() * 100)))
	case k == 'g' && r.IntN(2) == 0:
		return math.Float64bits(r.NormFloat64() * 1000)
	case k == 'f' || k == 'r':
		return v & 0xffffffff
	case k == 'h':
		return v & 0xffff
	case k == 'p':
		return v & 1
	}
	return v
}

// instrModule has a kernel for each instruction.
func instrModule(cases []instrCase) string {
	var text strings.Builder
	text.WriteString(".version 7.8\n.target sm_90\n.address_size 64\n")
	for i, c := range cases {
		text.WriteString(kernelOf(fmt.Sprintf("k%d", i), c))
	}
	return text.String()
}

// TestInstructions compares instructions with what Go computes.
func TestInstructions(t *testing.T) {
	threads, blocks := 128, 8
	if testing.Short() {
		blocks = 1
	}
	r := rand.New(rand.NewPCG(1, 2))
	cases := instrCases()
	b := load(t, Options{Arch: 90, Races: true, Seed: 1}, instrModule(cases))
	for i, c := range cases {
		in := make([]uint64, 3*threads*blocks)
		var data []byte
		for j := range in {
			if k := j % 3; k < len(c.src) {
				in[j] = operandValues(r, c.src[k])
			}
			data = binary.LittleEndian.AppendUint64(data, in[j])
		}
		pin, pout := b.put(data), b.alloc(8*threads*blocks)
		b.run(fmt.Sprintf("k%d", i), driver.Launch{Grid: driver.D(blocks), Block: driver.D(threads), Params: []uint64{uint64(pin), uint64(pout)}})
		out := b.get(pout, 8*threads*blocks)
		compared, bad := 0, 0
		for j := range threads * blocks {
			x, y, z := in[3*j], in[3*j+1], in[3*j+2]
			want := c.want(x, y, z)
			if want == skip {
				continue
			}
			compared++
			if got := binary.LittleEndian.Uint64(out[8*j:]); got != want {
				if bad++; bad < 4 {
					t.Errorf("%s of %#x, %#x, %#x: %#x, not %#x", c.text, x, y, z, got, want)
				}
			}
		}
		if compared < threads*blocks/8 {
			t.Errorf("%s: only %d results were compared", c.text, compared)
		}
	}
	t.Logf("%d instructions", len(cases))
}
