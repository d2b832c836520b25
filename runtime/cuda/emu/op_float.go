package emu

import (
	"math"
	"math/bits"
)

// floatOps are floating-point arithmetic. Those that integers have too are reached from op_int.go.
var floatOps = map[string]func(d *decoder){
	"fma": decodeFma, "rcp": decodeRoot, "sqrt": decodeRoot, "rsqrt": decodeRoot,
	"ex2": decodeApprox, "lg2": decodeApprox, "sin": decodeApprox, "cos": decodeApprox, "tanh": decodeApprox,
	"testp": decodeTestp, "copysign": decodeCopysign,
}

// floatMods are the modifiers of arithmetic.
type floatMods struct {
	round    rounding
	rounded  bool // a mode was given
	ftz, sat bool
	relu     bool
}

func (d *decoder) floatMods(t typ) floatMods {
	var m floatMods
	switch d.oneOf("rn", "rz", "rm", "rp") {
	case "rn":
		m.rounded = true
	case "rz":
		m.round, m.rounded = toZero, true
	case "rm":
		m.round, m.rounded = down, true
	case "rp":
		m.round, m.rounded = up, true
	}
	m.ftz = d.take("ftz")
	m.sat = d.take("sat")
	m.relu = d.take("relu")
	if m.ftz && t != f32 && t != f16 && t != f16x2 {
		d.fail("modifier .ftz is not for .%v", t)
	}
	if (m.sat || m.relu) && t == f64 {
		d.fail("modifiers .sat and .relu are not for .f64")
	}
	if m.round != nearest && t != f32 && t != f64 {
		d.fail("only .rn is for .%v", t)
	}
	return m
}

// plain says whether no modifier changes anything.
func (m floatMods) plain() bool { return !m.ftz && !m.sat && !m.relu && m.round == nearest }

func (m floatMods) in32(v uint64) uint64 {
	if m.ftz {
		return flush32(v)
	}
	return v
}

func (m floatMods) out32(v uint64) uint64 {
	if m.ftz {
		v = flush32(v)
	}
	if m.sat {
		v = saturate32(v)
	}
	if m.relu && v>>31 != 0 {
		v = 0
	}
	return v
}

// out16 finishes a result of 16 bits.
func (m floatMods) out16(s *small, v uint64) uint64 {
	if m.ftz && v&0x7c00 == 0 && s == half {
		v &= 0x8000
	}
	f := s.get(v)
	if m.sat {
		switch {
		case f != f || f <= 0:
			return 0
		case f > 1:
			return uint64(s.to(1))
		}
	}
	if m.relu && f == f && v>>15 != 0 {
		return 0
	}
	return v
}

func (m floatMods) in16(s *small, v uint64) float64 {
	if m.ftz && s == half && v&0x7c00 == 0 {
		v &= 0x8000
	}
	return s.get(v)
}

// smallOf gives the 16-bit float that t is made of, and whether it is two of them.
func smallOf(t typ) (s *small, two bool) {
	switch t {
	case f16:
		return half, false
	case f16x2:
		return half, true
	case bf16:
		return brain, false
	case bf16x2:
		return brain, true
	}
	return nil, false
}

// floatBinary decodes add, sub, mul and div of floats.
func floatBinary(d *decoder, t typ) {
	name := d.in.op
	if name == "div" {
		decodeDiv(d, t)
		return
	}
	mods := d.floatMods(t)
	if !d.operands(3, 3) {
		return
	}
	dst, a, b := d.dst(0, t), d.src(1, t), d.src(2, t)
	switch t {
	case f32:
		if mods.plain() {
			d.out.run = hot32(name, dst, a, b)
			return
		}
		d.out.run = binary2(dst, a, b, func(x, y uint64) uint64 {
			p, q := fromF32(mods.in32(x)), fromF32(mods.in32(y))
			switch name {
			case "add":
				p = add32(p, q, mods.round)
			case "sub":
				p = add32(p, -q, mods.round)
			default:
				p = mul32(p, q, mods.round)
			}
			return mods.out32(toF32(p))
		})
	case f64:
		d.out.run = binary2(dst, a, b, func(x, y uint64) uint64 {
			p, q := fromF64(x), fromF64(y)
			switch name {
			case "add":
				return toF64(add64(p, q, mods.round))
			case "sub":
				return toF64(add64(p, -q, mods.round))
			}
			return toF64(mul64(p, q, mods.round))
		})
	default:
		s, two := smallOf(t)
		if s == nil {
			d.fail("type .%v is not one of its types", t)
			return
		}
		f := func(x, y uint64) uint64 {
			p, q := mods.in16(s, x), mods.in16(s, y)
			var v, e float64
			switch name {
			case "add":
				v, e = sum64(p, q)
			case "sub":
				v, e = sum64(p, -q)
			default:
				v = p * q
			}
			return mods.out16(s, s.round(v, e, nearest))
		}
		if two {
			f = pairs2(f)
		}
		d.out.run = binary2(dst, a, b, f)
	}
}

// hot32 are the commonest operations, without a call for each lane.
//
//go:noinline
func hot32(name string, d, a, b int32) op {
	slow := binary2(d, a, b, func(x, y uint64) uint64 {
		p, q := fromF32(x), fromF32(y)
		switch name {
		case "add":
			return toF32(p + q)
		case "sub":
			return toF32(p - q)
		}
		return toF32(p * q)
	})
	switch name {
	case "add":
		return func(w *warp, m uint32) {
			if m != ^uint32(0) {
				slow(w, m)
				return
			}
			r, x, y := &w.regs[d], &w.regs[a], &w.regs[b]
			for l := range r {
				r[l] = toF32(fromF32(x[l]) + fromF32(y[l]))
			}
		}
	case "mul":
		return func(w *warp, m uint32) {
			if m != ^uint32(0) {
				slow(w, m)
				return
			}
			r, x, y := &w.regs[d], &w.regs[a], &w.regs[b]
			for l := range r {
				r[l] = toF32(fromF32(x[l]) * fromF32(y[l]))
			}
		}
	}
	return slow
}

func decodeFma(d *decoder) {
	t := d.typ(0, 1)
	mods := d.floatMods(t)
	if !d.operands(4, 4) {
		return
	}
	if !mods.rounded {
		d.fail("a rounding modifier is needed")
	}
	dst, a, b, c := d.dst(0, t), d.src(1, t), d.src(2, t), d.src(3, t)
	switch t {
	case f32:
		if mods.plain() {
			d.out.run = hotFma(dst, a, b, c)
			return
		}
		d.out.run = ternary(dst, a, b, c, func(x, y, z uint64) uint64 {
			return mods.out32(toF32(fma32(fromF32(mods.in32(x)), fromF32(mods.in32(y)), fromF32(mods.in32(z)), mods.round)))
		})
	case f64:
		d.out.run = ternary(dst, a, b, c, func(x, y, z uint64) uint64 {
			return toF64(fma64(fromF64(x), fromF64(y), fromF64(z), mods.round))
		})
	default:
		s, two := smallOf(t)
		if s == nil {
			d.fail("type .%v is not one of its types", t)
			return
		}
		f := func(x, y, z uint64) uint64 {
			v, e := sum64(mods.in16(s, x)*mods.in16(s, y), mods.in16(s, z))
			return mods.out16(s, s.round(v, e, nearest))
		}
		if two {
			f = pairs3(f)
		}
		d.out.run = ternary(dst, a, b, c, f)
	}
}

//go:noinline
func hotFma(d, a, b, c int32) op {
	return func(w *warp, m uint32) {
		r, x, y, z := &w.regs[d], &w.regs[a], &w.regs[b], &w.regs[c]
		if m == ^uint32(0) {
			for l := range r {
				s := float64(fromF32(x[l]))*float64(fromF32(y[l])) + float64(fromF32(z[l]))
				// Ties, and what is no normal number in f32, go the long way.
				if u := math.Float64bits(s); u&0x1fffffff == 0x10000000 || u>>52&0x7ff-0x381 > 0x7fe-0x381 {
					r[l] = toF32(fma32(fromF32(x[l]), fromF32(y[l]), fromF32(z[l]), nearest))
					continue
				}
				r[l] = uint64(math.Float32bits(float32(s)))
			}
			return
		}
		for ; m != 0; m &= m - 1 {
			l := bits.TrailingZeros32(m) & 31
			r[l] = toF32(fma32(fromF32(x[l]), fromF32(y[l]), fromF32(z[l]), nearest))
		}
	}
}

func decodeDiv(d *decoder, t typ) {
	how := d.oneOf("approx", "full")
	mods := d.floatMods(t)
	d.among(t, f32, f64)
	if !d.operands(3, 3) {
		return
	}
	if how == "" && !mods.rounded || how != "" && (mods.rounded || t != f32) {
		d.fail("one of .approx, .full (of .f32) and a rounding modifier is needed")
	}
	dst, a, b := d.dst(0, t), d.src(1, t), d.src(2, t)
	if t == f64 {
		d.out.run = binary2(dst, a, b, func(x, y uint64) uint64 { return toF64(div64(fromF64(x), fromF64(y), mods.round)) })
		return
	}
	d.out.run = binary2(dst, a, b, func(x, y uint64) uint64 {
		p, q := fromF32(mods.in32(x)), fromF32(mods.in32(y))
		if big := math.Abs(float64(q)); how == "approx" && big > 0x1p126 && !math.IsInf(big, 0) {
			// The reciprocal of so large a number is 0.
			return toF32(p * float32(math.Copysign(0, float64(q))))
		}
		return mods.out32(toF32(div32(p, q, mods.round)))
	})
}

// decodeRoot decodes rcp, sqrt and rsqrt.
func decodeRoot(d *decoder) {
	name := d.in.op
	t := d.typ(0, 1)
	approx := d.take("approx")
	mods := d.floatMods(t)
	d.among(t, f32, f64)
	if !d.operands(2, 2) {
		return
	}
	if approx == mods.rounded {
		d.fail("one of .approx and a rounding modifier is needed")
	}
	if name == "rsqrt" && !approx {
		d.fail("only .approx is there")
	}
	dst, a := d.dst(0, t), d.src(1, t)
	if t == f64 {
		// rcp.approx.ftz.f64 gives 20 bits of the result.
		cut := func(v uint64) uint64 {
			if approx && v&^(1<<63) < 0x7ff<<52 {
				return v &^ (1<<32 - 1)
			}
			return v
		}
		d.out.run = unary(dst, a, func(x uint64) uint64 {
			v := fromF64(x)
			switch name {
			case "rcp":
				return cut(toF64(div64(1, v, mods.round)))
			case "sqrt":
				return toF64(sqrt64(v, mods.round))
			}
			return cut(toF64(1 / math.Sqrt(v)))
		})
		return
	}
	d.out.run = unary(dst, a, func(x uint64) uint64 {
		v := fromF32(mods.in32(x))
		switch name {
		case "rcp":
			v = div32(1, v, mods.round)
		case "sqrt":
			v = sqrt32(v, mods.round)
		default:
			v = float32(1 / math.Sqrt(float64(v)))
		}
		return mods.out32(toF32(v))
	})
}

// decodeApprox decodes what only exists as an approximation.
func decodeApprox(d *decoder) {
	name := d.in.op
	t := d.typ(0, 1)
	if !d.take("approx") {
		d.fail(".approx is needed")
	}
	mods := d.floatMods(t)
	if mods.rounded || mods.sat {
		d.fail("a modifier is not for it")
	}
	if !d.operands(2, 2) {
		return
	}
	f := map[string]func(float64) float64{"ex2": math.Exp2, "lg2": log2, "sin": math.Sin, "cos": math.Cos, "tanh": math.Tanh}[name]
	dst, a := d.dst(0, t), d.src(1, t)
	switch {
	case t == f32:
		if name == "tanh" {
			d.needs(75, 70)
		}
		d.out.run = unary(dst, a, func(x uint64) uint64 {
			return mods.out32(toF32(float32(f(float64(fromF32(mods.in32(x)))))))
		})
	case name == "ex2" || name == "tanh":
		s, two := smallOf(t)
		if s == nil {
			d.fail("type .%v is not one of its types", t)
			return
		}
		d.needs(75, 70)
		if s == brain {
			d.needs(90, 78)
		}
		g := func(x uint64) uint64 { return mods.out16(s, s.round(f(mods.in16(s, x)), 0, nearest)) }
		if two {
			g = pairs1(g)
		}
		d.out.run = unary(dst, a, g)
	default:
		d.fail("type .%v is not one of its types", t)
	}
}

func log2(x float64) float64 {
	// math.Log2 is exact for powers of two, and takes denormals of f32 for what they are.
	return math.Log2(x)
}

// floatMinMax decodes min and max of floats.
func floatMinMax(d *decoder, t typ) {
	max := d.in.op == "max"
	nan := d.take("NaN")
	xorsign := d.take("xorsign")
	if xorsign && !d.take("abs") {
		d.fail(".xorsign goes with .abs")
	}
	mods := d.floatMods(t)
	if mods.rounded || mods.sat || mods.relu {
		d.fail("a modifier is not for it")
	}
	if (nan || xorsign || t != f32 && t != f64) && d.mod.sm < 80 {
		d.needs(80, 70)
	}
	if !d.operands(3, 3) {
		return
	}
	dst, a, b := d.dst(0, t), d.src(1, t), d.src(2, t)
	// pick works on bits, with the sign at bit n.
	pick := func(x, y uint64, p, q float64, n uint, canon uint64) uint64 {
		var sign uint64
		if xorsign {
			sign = (x ^ y) >> n & 1 << n
			x, y = x&^(1<<n), y&^(1<<n)
			p, q = math.Abs(p), math.Abs(q)
		}
		var v uint64
		switch {
		case p != p && q != q || nan && (p != p || q != q):
			return canon
		case p != p:
			v = y
		case q != q:
			v = x
		case p == q: // -0 is less than +0
			v = x
			if (x>>n != 0) == max {
				v = y
			}
		case (p > q) == max:
			v = x
		default:
			v = y
		}
		return v | sign
	}
	switch t {
	case f32:
		d.out.run = binary2(dst, a, b, func(x, y uint64) uint64 {
			x, y = mods.in32(x), mods.in32(y)
			return pick(x, y, float64(fromF32(x)), float64(fromF32(y)), 31, nan32)
		})
	case f64:
		d.out.run = binary2(dst, a, b, func(x, y uint64) uint64 { return pick(x, y, fromF64(x), fromF64(y), 63, nan64) })
	default:
		s, two := smallOf(t)
		if s == nil {
			d.fail("type .%v is not one of its types", t)
			return
		}
		f := func(x, y uint64) uint64 {
			return mods.out16(s, pick(x, y, mods.in16(s, x), mods.in16(s, y), 15, s.nan))
		}
		if two {
			f = pairs2(f)
		}
		d.out.run = binary2(dst, a, b, f)
	}
}

// floatAbsNeg decodes abs and neg of floats.
func floatAbsNeg(d *decoder, t typ) {
	neg := d.in.op == "neg"
	mods := d.floatMods(t)
	if !d.operands(2, 2) {
		return
	}
	dst, a := d.dst(0, t), d.src(1, t)
	sign := map[typ]uint64{f32: 1 << 31, f64: 1 << 63, f16: 1 << 15, bf16: 1 << 15, f16x2: 0x80008000, bf16x2: 0x80008000}[t]
	if sign == 0 {
		d.fail("type .%v is not one of its types", t)
	}
	d.out.run = unary(dst, a, func(x uint64) uint64 {
		if t == f32 {
			x = mods.in32(x)
		}
		if neg {
			return x ^ sign
		}
		return x &^ sign
	})
}

func decodeTestp(d *decoder) {
	t := d.typ(0, 1)
	d.among(t, f32, f64)
	what := d.oneOf("finite", "infinite", "number", "notanumber", "normal", "subnormal")
	if what == "" {
		d.fail("what to test is missing")
	}
	if !d.operands(2, 2) {
		return
	}
	p, a := d.predResult(&d.in.args[0]), d.src(1, t)
	exp, frac := uint64(0x7f800000), uint64(0x7fffff)
	if t == f64 {
		exp, frac = 0x7ff<<52, 1<<52-1
	}
	test := func(x uint64) bool {
		e, f := x&exp, x&frac
		switch what {
		case "finite":
			return e != exp
		case "infinite":
			return e == exp && f == 0
		case "number":
			return e != exp || f == 0
		case "notanumber":
			return e == exp && f != 0
		case "normal":
			return e != exp && e != 0
		}
		return e == 0 && f != 0
	}
	d.out.run = func(w *warp, m uint32) {
		eachLane(m, func(l int) { w.setPred(p, 1<<l, test(w.regs[a][l])) })
	}
}

func decodeCopysign(d *decoder) {
	t := d.typ(0, 1)
	d.among(t, f32, f64)
	if !d.operands(3, 3) {
		return
	}
	dst, a, b := d.dst(0, t), d.src(1, t), d.src(2, t)
	sign := uint64(1) << (t.bits() - 1)
	d.out.run = binary2(dst, a, b, func(x, y uint64) uint64 { return x&sign | y&^sign })
}
