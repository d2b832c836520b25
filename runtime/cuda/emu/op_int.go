package emu

import "math/bits"

// intOps are integer arithmetic and logic, and what floats share the names of.
var intOps = map[string]func(d *decoder){
	"add": decodeAdd, "sub": decodeAdd, "mul": decodeMul, "mad": decodeMad, "mul24": decodeMul24, "mad24": decodeMul24,
	"div": decodeDivRem, "rem": decodeDivRem, "min": decodeMinMax, "max": decodeMinMax, "abs": decodeAbsNeg, "neg": decodeAbsNeg,
	"sad": decodeSad, "and": decodeLogic, "or": decodeLogic, "xor": decodeLogic, "not": decodeNot, "cnot": decodeNot,
	"shl": decodeShift, "shr": decodeShift, "shf": decodeFunnel, "lop3": decodeLop3, "prmt": decodePrmt,
	"popc": decodeCount, "clz": decodeCount, "brev": decodeCount, "bfind": decodeBfind,
	"bfe": decodeBfe, "bfi": decodeBfi, "dp4a": decodeDp4a, "szext": decodeSzext, "bmsk": decodeBmsk,
}

// signExtend widens a value of t.
func signExtend(v uint64, t typ) int64 {
	n := uint(64 - t.bits())
	return int64(v<<n) >> n
}

// as widens a value of t by its sign, if it has one.
func as(v uint64, t typ) uint64 {
	if t.signed() {
		return uint64(signExtend(v, t))
	}
	return v
}

// less compares two values of t.
func less(x, y uint64, t typ) bool {
	if t.signed() {
		return signExtend(x, t) < signExtend(y, t)
	}
	return x < y
}

// ranking gives a shift and bits to flip that make values of t compare as unsigned words.
func ranking(t typ) (shift uint, flip uint64) {
	if t.signed() {
		return uint(64 - t.bits()), 1 << 63
	}
	return 0, 0
}

func decodeAdd(d *decoder) {
	if len(d.types) == 1 && d.types[0].float() {
		floatBinary(d, d.types[0])
		return
	}
	t := d.typ(0, 1)
	d.among(t, u16, u32, u64, s16, s32, s64)
	sat := d.take("sat")
	if sat && t != s32 {
		d.fail(".sat is for .s32")
	}
	if !d.operands(3, 3) {
		return
	}
	dst, a, b := d.dst(0, t), d.src(1, t), d.src(2, t)
	mask := t.mask()
	sub := d.in.op == "sub"
	switch {
	case sat:
		d.out.run = binary2(dst, a, b, func(x, y uint64) uint64 {
			v := signExtend(x, s32) + signExtend(y, s32)
			if sub {
				v = signExtend(x, s32) - signExtend(y, s32)
			}
			return uint64(min(max(v, -1<<31), 1<<31-1)) & mask
		})
	case sub:
		d.out.run = binary2(dst, a, b, func(x, y uint64) uint64 { return (x - y) & mask })
	default:
		slow := binary2(dst, a, b, func(x, y uint64) uint64 { return (x + y) & mask })
		d.out.run = func(w *warp, m uint32) {
			if m != ^uint32(0) {
				slow(w, m)
				return
			}
			r, x, y := &w.regs[dst], &w.regs[a], &w.regs[b]
			for l := range r {
				r[l] = (x[l] + y[l]) & mask
			}
		}
	}
}

// product is x*y in t: its low half, its high half, or all of it, in twice the bits.
func product(x, y uint64, t typ, part string) uint64 {
	switch {
	case part == "lo":
		return x * y & t.mask()
	case t.bits() == 64:
		hi, _ := bits.Mul64(x, y)
		if t.signed() {
			if int64(x) < 0 {
				hi -= y
			}
			if int64(y) < 0 {
				hi -= x
			}
		}
		return hi
	}
	p := as(x, t) * as(y, t)
	if part == "hi" {
		return p >> t.bits() & t.mask()
	}
	return p & twice(t).mask()
}

// twice is the type of twice the bits.
func twice(t typ) typ {
	switch t {
	case u16:
		return u32
	case s16:
		return s32
	case u32:
		return u64
	case s32:
		return s64
	}
	return noType
}

func decodeMul(d *decoder) {
	if len(d.types) == 1 && d.types[0].float() {
		floatBinary(d, d.types[0])
		return
	}
	t := d.typ(0, 1)
	d.among(t, u16, u32, u64, s16, s32, s64)
	part := d.oneOf("lo", "hi", "wide")
	if !d.operands(3, 3) {
		return
	}
	to := t
	if part == "wide" {
		to = twice(t)
	}
	if part == "" || to == noType {
		d.fail("one of .lo, .hi and .wide is needed, and .wide is for 16 and 32 bits")
		return
	}
	dst, a, b := d.dst(0, to), d.src(1, t), d.src(2, t)
	d.out.run = binary2(dst, a, b, func(x, y uint64) uint64 { return product(x, y, t, part) })
	if part == "lo" {
		mask := t.mask()
		d.out.run = func(w *warp, m uint32) {
			r, x, y := &w.regs[dst], &w.regs[a], &w.regs[b]
			if m == ^uint32(0) {
				for l := range r {
					r[l] = x[l] * y[l] & mask
				}
				return
			}
			for ; m != 0; m &= m - 1 {
				l := bits.TrailingZeros32(m) & 31
				r[l] = x[l] * y[l] & mask
			}
		}
		return
	}
	if part != "wide" || t != s32 {
		return
	}
	slow := d.out.run
	d.out.run = func(w *warp, m uint32) {
		if m != ^uint32(0) {
			slow(w, m)
			return
		}
		r, x, y := &w.regs[dst], &w.regs[a], &w.regs[b]
		for l := range r {
			r[l] = uint64(int64(int32(x[l])) * int64(int32(y[l])))
		}
	}
}

func decodeMad(d *decoder) {
	if len(d.types) == 1 && d.types[0].float() {
		if d.types[0] == f32 && !d.flag("rn", "rz", "rm", "rp") {
			d.fail("a rounding modifier is needed")
		}
		decodeFma(d)
		return
	}
	t := d.typ(0, 1)
	d.among(t, u16, u32, u64, s16, s32, s64)
	part := d.oneOf("lo", "hi", "wide")
	sat := d.take("sat")
	if sat && (t != s32 || part != "hi") {
		d.fail(".sat is for .hi.s32")
	}
	if !d.operands(4, 4) {
		return
	}
	to := t
	if part == "wide" {
		to = twice(t)
	}
	if part == "" || to == noType {
		d.fail("one of .lo, .hi and .wide is needed, and .wide is for 16 and 32 bits")
		return
	}
	dst, a, b, c := d.dst(0, to), d.src(1, t), d.src(2, t), d.src(3, to)
	mask := to.mask()
	d.out.run = ternary(dst, a, b, c, func(x, y, z uint64) uint64 {
		v := product(x, y, t, part)
		if sat {
			return uint64(min(max(signExtend(v, s32)+signExtend(z, s32), -1<<31), 1<<31-1)) & mask
		}
		return (v + z) & mask
	})
	if part != "lo" {
		return
	}
	slow := d.out.run
	d.out.run = func(w *warp, m uint32) {
		if m != ^uint32(0) {
			slow(w, m)
			return
		}
		r, x, y, z := &w.regs[dst], &w.regs[a], &w.regs[b], &w.regs[c]
		for l := range r {
			r[l] = (x[l]*y[l] + z[l]) & mask
		}
	}
}

// flag says whether one of the modifiers is there, and leaves it.
func (d *decoder) flag(names ...string) bool {
	for _, n := range names {
		for _, f := range d.flags {
			if f == n {
				return true
			}
		}
	}
	return false
}

func decodeMul24(d *decoder) {
	t := d.typ(0, 1)
	d.among(t, u32, s32)
	part := d.oneOf("lo", "hi")
	if part == "" {
		d.fail("one of .lo and .hi is needed")
	}
	n := 3
	if d.in.op == "mad24" {
		n = 4
	}
	if !d.operands(n, n) {
		return
	}
	dst, a, b := d.dst(0, t), d.src(1, t), d.src(2, t)
	c := int32(d.f.constSlot(0))
	if n == 4 {
		c = d.src(3, t)
	}
	cut := func(v uint64) int64 {
		if t == s32 {
			return int64(v<<40) >> 40
		}
		return int64(v & 0xffffff)
	}
	d.out.run = ternary(dst, a, b, c, func(x, y, z uint64) uint64 {
		p := uint64(cut(x) * cut(y))
		if part == "hi" {
			p >>= 16
		}
		return (p + z) & 0xffffffff
	})
}

func decodeDivRem(d *decoder) {
	if len(d.types) == 1 && d.types[0].float() && d.in.op == "div" {
		floatBinary(d, d.types[0])
		return
	}
	t := d.typ(0, 1)
	d.among(t, u16, u32, u64, s16, s32, s64)
	if !d.operands(3, 3) {
		return
	}
	dst, a, b := d.dst(0, t), d.src(1, t), d.src(2, t)
	rem := d.in.op == "rem"
	mask := t.mask()
	d.out.run = func(w *warp, m uint32) {
		for ; m != 0; m &= m - 1 {
			l := bits.TrailingZeros32(m)
			x, y := as(w.regs[a][l], t), as(w.regs[b][l], t)
			var q, r uint64
			switch {
			case y == 0:
				w.fault(Trapped, l, "an integer is divided by zero, which PTX leaves open")
			case t.signed() && int64(y) == -1:
				q = -x
			case t.signed():
				q, r = uint64(int64(x)/int64(y)), uint64(int64(x)%int64(y))
			default:
				q, r = x/y, x%y
			}
			if rem {
				q = r
			}
			w.regs[dst][l] = q & mask
		}
	}
}

func decodeMinMax(d *decoder) {
	if len(d.types) == 1 && d.types[0].float() {
		floatMinMax(d, d.types[0])
		return
	}
	t := d.typ(0, 1)
	d.among(t, u16, u32, u64, s16, s32, s64)
	if !d.operands(3, 3) {
		return
	}
	dst, a, b := d.dst(0, t), d.src(1, t), d.src(2, t)
	least := d.in.op == "min"
	n, flip := ranking(t)
	d.out.run = binary2(dst, a, b, func(x, y uint64) uint64 {
		if (x<<n^flip < y<<n^flip) == least {
			return x
		}
		return y
	})
}

func decodeAbsNeg(d *decoder) {
	if len(d.types) == 1 && d.types[0].float() {
		floatAbsNeg(d, d.types[0])
		return
	}
	t := d.typ(0, 1)
	d.among(t, s16, s32, s64)
	if !d.operands(2, 2) {
		return
	}
	dst, a := d.dst(0, t), d.src(1, t)
	neg, mask := d.in.op == "neg", t.mask()
	d.out.run = unary(dst, a, func(x uint64) uint64 {
		if neg || signExtend(x, t) < 0 {
			return -x & mask
		}
		return x
	})
}

func decodeSad(d *decoder) {
	t := d.typ(0, 1)
	d.among(t, u16, u32, u64, s16, s32, s64)
	if !d.operands(4, 4) {
		return
	}
	dst, a, b, c := d.dst(0, t), d.src(1, t), d.src(2, t), d.src(3, t)
	mask := t.mask()
	d.out.run = ternary(dst, a, b, c, func(x, y, z uint64) uint64 {
		if less(x, y, t) {
			x, y = y, x
		}
		return (z + x - y) & mask
	})
}

func decodeLogic(d *decoder) {
	t := d.typ(0, 1)
	if !d.operands(3, 3) {
		return
	}
	f := map[string]func(x, y uint64) uint64{
		"and": func(x, y uint64) uint64 { return x & y },
		"or":  func(x, y uint64) uint64 { return x | y },
		"xor": func(x, y uint64) uint64 { return x ^ y },
	}[d.in.op]
	if t == pred {
		dst := d.predResult(&d.in.args[0])
		a, na := d.predicate(&d.in.args[1])
		b, nb := d.predicate(&d.in.args[2])
		d.out.run = func(w *warp, m uint32) {
			v := uint32(f(uint64(flip(w.preds[a], na)), uint64(flip(w.preds[b], nb))))
			w.preds[dst] = w.preds[dst]&^m | v&m
		}
		return
	}
	d.among(t, b16, b32, b64)
	d.out.run = binary2(d.dst(0, t), d.src(1, t), d.src(2, t), f)
}

func flip(v uint32, not bool) uint32 {
	if not {
		return ^v
	}
	return v
}

func decodeNot(d *decoder) {
	t := d.typ(0, 1)
	if !d.operands(2, 2) {
		return
	}
	if t == pred && d.in.op == "not" {
		dst := d.predResult(&d.in.args[0])
		a, not := d.predicate(&d.in.args[1])
		d.out.run = func(w *warp, m uint32) {
			w.preds[dst] = w.preds[dst]&^m | ^flip(w.preds[a], not)&m
		}
		return
	}
	d.among(t, b16, b32, b64)
	mask := t.mask()
	f := func(x uint64) uint64 { return ^x & mask }
	if d.in.op == "cnot" {
		f = func(x uint64) uint64 {
			if x == 0 {
				return 1
			}
			return 0
		}
	}
	d.out.run = unary(d.dst(0, t), d.src(1, t), f)
}

func decodeShift(d *decoder) {
	t := d.typ(0, 1)
	right := d.in.op == "shr"
	if right {
		d.among(t, b16, b32, b64, u16, u32, u64, s16, s32, s64)
	} else {
		d.among(t, b16, b32, b64)
	}
	if !d.operands(3, 3) {
		return
	}
	dst, a, b := d.dst(0, t), d.src(1, t), d.src(2, u32)
	n, mask := uint64(t.bits()), t.mask()
	if o := &d.in.args[2]; !right && o.kind == immOperand && o.imm < n {
		by := o.imm & 63
		d.out.run = func(w *warp, m uint32) {
			r, x := &w.regs[dst], &w.regs[a]
			if m == ^uint32(0) {
				for l := range r {
					r[l] = x[l] << by & mask
				}
				return
			}
			for ; m != 0; m &= m - 1 {
				l := bits.TrailingZeros32(m) & 31
				r[l] = x[l] << by & mask
			}
		}
		return
	}
	signed := t.signed()
	d.out.run = binary2(dst, a, b, func(x, y uint64) uint64 {
		if signed {
			return uint64(signExtend(x, t)>>min(y, 63)) & mask
		}
		if y >= n {
			return 0
		}
		if right {
			return x >> y
		}
		return x << y & mask
	})
}

func decodeFunnel(d *decoder) {
	t := d.typ(0, 1)
	d.among(t, b32)
	dir, mode := d.oneOf("l", "r"), d.oneOf("clamp", "wrap")
	if dir == "" || mode == "" {
		d.fail("a direction (.l or .r) and .clamp or .wrap are needed")
	}
	if !d.operands(4, 4) {
		return
	}
	d.out.run = ternary(d.dst(0, t), d.src(1, t), d.src(2, t), d.src(3, u32), func(x, y, z uint64) uint64 {
		n := min(z, 32)
		if mode == "wrap" {
			n = z & 31
		}
		v := y<<32 | x
		if dir == "l" {
			return v << n >> 32
		}
		return v >> n & 0xffffffff
	})
}

// constant gives the value of an operand that must be an integer constant.
func (d *decoder) constant(n int) uint64 {
	o := &d.in.args[n]
	if o.kind != immOperand || o.typ.float() {
		d.fail("operand %d must be a constant", n+1)
		return 0
	}
	return o.imm
}

func decodeLop3(d *decoder) {
	t := d.typ(0, 1)
	d.among(t, b32)
	if !d.operands(5, 5) {
		return
	}
	lut := d.constant(4)
	if lut > 255 {
		d.fail("a table of %d: at most 255", lut)
	}
	d.out.run = ternary(d.dst(0, t), d.src(1, t), d.src(2, t), d.src(3, t), func(x, y, z uint64) uint64 {
		var v uint64
		for i := range uint64(8) {
			if lut>>i&1 == 0 {
				continue
			}
			p, q, r := x, y, z
			if i&4 == 0 {
				p = ^p
			}
			if i&2 == 0 {
				q = ^q
			}
			if i&1 == 0 {
				r = ^r
			}
			v |= p & q & r
		}
		return v & 0xffffffff
	})
}

func decodePrmt(d *decoder) {
	t := d.typ(0, 1)
	d.among(t, b32)
	mode := d.oneOf("f4e", "b4e", "rc8", "ecl", "ecr", "rc16")
	if !d.operands(4, 4) {
		return
	}
	d.out.run = ternary(d.dst(0, t), d.src(1, t), d.src(2, t), d.src(3, t), func(x, y, sel uint64) uint64 {
		v := y<<32 | x
		s := sel & 3
		var pick [4]uint64
		for i := range pick {
			k := uint64(i)
			switch mode {
			case "":
				pick[i] = sel >> (4 * k) & 15
			case "f4e":
				pick[i] = (s + k) & 7
			case "b4e":
				pick[i] = (s - k) & 7
			case "rc8":
				pick[i] = s
			case "ecl":
				pick[i] = max(s, k)
			case "ecr":
				pick[i] = min(s, k)
			case "rc16":
				pick[i] = s&1*2 + k&1
			}
		}
		var out uint64
		for i, p := range pick {
			b := v >> (8 * (p & 7)) & 0xff
			if p&8 != 0 { // its sign
				b = uint64(int64(int8(b))>>7) & 0xff
			}
			out |= b << (8 * i)
		}
		return out
	})
}

func decodeCount(d *decoder) {
	t := d.typ(0, 1)
	d.among(t, b32, b64)
	if !d.operands(2, 2) {
		return
	}
	n := t.bits()
	to := u32
	f := func(x uint64) uint64 { return uint64(bits.OnesCount64(x)) }
	switch d.in.op {
	case "clz":
		f = func(x uint64) uint64 { return uint64(bits.LeadingZeros64(x) - (64 - n)) }
	case "brev":
		to = t
		f = func(x uint64) uint64 { return bits.Reverse64(x) >> (64 - n) }
	}
	d.out.run = unary(d.dst(0, to), d.src(1, t), f)
}

func decodeBfind(d *decoder) {
	t := d.typ(0, 1)
	d.among(t, u32, u64, s32, s64)
	shift := d.take("shiftamt")
	if !d.operands(2, 2) {
		return
	}
	d.out.run = unary(d.dst(0, u32), d.src(1, t), func(x uint64) uint64 {
		if t.signed() && signExtend(x, t) < 0 {
			x = ^x & t.mask()
		}
		if x == 0 {
			return 0xffffffff
		}
		at := bits.Len64(x) - 1
		if shift {
			at = t.bits() - 1 - at
		}
		return uint64(at)
	})
}

func decodeBfe(d *decoder) {
	t := d.typ(0, 1)
	d.among(t, u32, u64, s32, s64)
	if !d.operands(4, 4) {
		return
	}
	n := uint64(t.bits())
	d.out.run = ternary(d.dst(0, t), d.src(1, t), d.src(2, u32), d.src(3, u32), func(x, pos, length uint64) uint64 {
		pos, length = pos&255, length&255
		if length == 0 {
			return 0
		}
		var sign uint64
		if t.signed() {
			sign = x >> min(pos+length-1, n-1) & 1
		}
		var v uint64
		if pos < n {
			v = x >> pos
		}
		keep := min(length, n)
		if pos < n {
			keep = min(keep, n-pos)
		} else {
			keep = 0
		}
		if keep < 64 {
			v &= 1<<keep - 1
			if sign != 0 {
				v |= ^uint64(0) << keep
			}
		}
		return v & t.mask()
	})
}

func decodeBfi(d *decoder) {
	t := d.typ(0, 1)
	d.among(t, b32, b64)
	if !d.operands(5, 5) {
		return
	}
	dst, a, b, c, e := d.dst(0, t), d.src(1, t), d.src(2, t), d.src(3, u32), d.src(4, u32)
	n := uint64(t.bits())
	d.out.run = func(w *warp, m uint32) {
		eachLane(m, func(l int) {
			pos, length := w.regs[c][l]&255, w.regs[e][l]&255
			var mask uint64
			if pos < n {
				mask = ^uint64(0)
				if length < 64 {
					mask = 1<<length - 1
				}
				mask = mask << pos & t.mask()
			}
			w.regs[dst][l] = w.regs[b][l]&^mask | w.regs[a][l]<<min(pos, 63)&mask
		})
	}
}

func decodeDp4a(d *decoder) {
	ta, tb := d.typ(0, 2), d.typ(1, 2)
	d.among(ta, u32, s32)
	d.among(tb, u32, s32)
	if !d.operands(4, 4) {
		return
	}
	tc := s32
	if ta == u32 && tb == u32 {
		tc = u32
	}
	part := func(v uint64, t typ, i int) uint64 {
		v = v >> (8 * i) & 0xff
		if t == s32 {
			return uint64(int64(int8(v)))
		}
		return v
	}
	d.out.run = ternary(d.dst(0, tc), d.src(1, ta), d.src(2, tb), d.src(3, tc), func(x, y, z uint64) uint64 {
		for i := range 4 {
			z += part(x, ta, i) * part(y, tb, i)
		}
		return z & 0xffffffff
	})
}

func decodeSzext(d *decoder) {
	t := d.typ(0, 1)
	d.among(t, u32, s32)
	mode := d.oneOf("clamp", "wrap")
	if mode == "" {
		d.fail(".clamp or .wrap is needed")
	}
	if !d.operands(3, 3) {
		return
	}
	d.out.run = binary2(d.dst(0, t), d.src(1, t), d.src(2, u32), func(x, y uint64) uint64 {
		n := y & 31
		if mode == "clamp" {
			n = min(y, 32)
		}
		if n == 0 {
			return 0
		}
		k := 64 - n
		if t == s32 {
			return uint64(int64(x<<k)>>k) & 0xffffffff
		}
		return x << k >> k
	})
}

func decodeBmsk(d *decoder) {
	t := d.typ(0, 1)
	d.among(t, b32)
	mode := d.oneOf("clamp", "wrap")
	if mode == "" {
		d.fail(".clamp or .wrap is needed")
	}
	if !d.operands(3, 3) {
		return
	}
	d.out.run = binary2(d.dst(0, t), d.src(1, u32), d.src(2, u32), func(x, y uint64) uint64 {
		if mode == "wrap" {
			x, y = x&31, y&31
		}
		if x >= 32 {
			return 0
		}
		return (1<<min(y, 32) - 1) << x & 0xffffffff
	})
}
