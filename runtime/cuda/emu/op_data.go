package emu

import "math/bits"

// dataOps move, load, store and choose.
var dataOps = map[string]func(d *decoder){
	"mov": decodeMov, "ld": decodeLoad, "ldu": decodeLoad, "st": decodeStore, "cvta": decodeCvta, "isspacep": decodeIsspacep,
	"selp": decodeSelp, "slct": decodeSlct, "prefetch": decodePrefetch, "prefetchu": decodePrefetch, "discard": decodePrefetch,
}

// unary makes an op that applies f to each lane. What makes ops is not inlined: in a closure that comes of
// inlining, Go inlines no calls.
//
//go:noinline
func unary(d, a int32, f func(x uint64) uint64) op {
	return func(w *warp, m uint32) {
		dst, x := &w.regs[d], &w.regs[a]
		for ; m != 0; m &= m - 1 {
			l := bits.TrailingZeros32(m) & 31
			dst[l] = f(x[l])
		}
	}
}

//go:noinline
func binary2(d, a, b int32, f func(x, y uint64) uint64) op {
	return func(w *warp, m uint32) {
		dst, x, y := &w.regs[d], &w.regs[a], &w.regs[b]
		for ; m != 0; m &= m - 1 {
			l := bits.TrailingZeros32(m) & 31
			dst[l] = f(x[l], y[l])
		}
	}
}

//go:noinline
func ternary(d, a, b, c int32, f func(x, y, z uint64) uint64) op {
	return func(w *warp, m uint32) {
		dst, x, y, z := &w.regs[d], &w.regs[a], &w.regs[b], &w.regs[c]
		for ; m != 0; m &= m - 1 {
			l := bits.TrailingZeros32(m) & 31
			dst[l] = f(x[l], y[l], z[l])
		}
	}
}

// copyLanes moves a register.
//
//go:noinline
func copyLanes(d, a int32) op {
	return func(w *warp, m uint32) {
		dst, x := &w.regs[d], &w.regs[a]
		if m == ^uint32(0) {
			*dst = *x
			return
		}
		for ; m != 0; m &= m - 1 {
			l := bits.TrailingZeros32(m) & 31
			dst[l] = x[l]
		}
	}
}

func decodeMov(d *decoder) {
	t := d.typ(0, 1)
	if !d.operands(2, 2) {
		return
	}
	a, b := &d.in.args[0], &d.in.args[1]
	switch {
	case t == pred:
		dst := d.predResult(a)
		if b.kind == immOperand && !b.typ.float() {
			d.out.run = func(w *warp, m uint32) { w.setPred(dst, m, b.imm != 0) }
			return
		}
		src, not := d.predicate(b)
		d.out.run = func(w *warp, m uint32) {
			v := w.preds[src]
			if not {
				v = ^v
			}
			w.preds[dst] = w.preds[dst]&^m | v&m
		}
	case a.kind == vecOperand: // unpack
		n := len(a.vec)
		part := d.partType(t, n)
		src := d.value(b, t, false)
		dst := make([]int32, n)
		for i := range a.vec {
			dst[i] = d.result(&a.vec[i], part, false)
		}
		shift, mask := uint(part.bits()), part.mask()
		d.out.run = func(w *warp, m uint32) {
			x := w.regs[src]
			for ; m != 0; m &= m - 1 {
				l := bits.TrailingZeros32(m)
				for i, r := range dst {
					w.regs[r][l] = x[l] >> (uint(i) * shift) & mask
				}
			}
		}
	case b.kind == vecOperand: // pack
		n := len(b.vec)
		part := d.partType(t, n)
		dst := d.result(a, t, false)
		src := make([]int32, n)
		for i := range b.vec {
			src[i] = d.value(&b.vec[i], part, false)
		}
		shift := uint(part.bits())
		d.out.run = func(w *warp, m uint32) {
			for ; m != 0; m &= m - 1 {
				l := bits.TrailingZeros32(m)
				var v uint64
				for i, r := range src {
					v |= w.regs[r][l] << (uint(i) * shift)
				}
				w.regs[dst][l] = v
			}
		}
	default:
		dst := d.result(a, t, false)
		if b.kind == specialOperand && (b.spec == clock || b.spec == clock64 || b.spec == globaltimer) {
			mask := t.mask()
			d.out.run = func(w *warp, m uint32) {
				for ; m != 0; m &= m - 1 {
					w.regs[dst][bits.TrailingZeros32(m)] = uint64(w.steps) & mask
				}
			}
			return
		}
		d.out.run = copyLanes(dst, d.value(b, t, false))
	}
}

// partType is the type of each of n parts of a value.
func (d *decoder) partType(t typ, n int) typ {
	if n > 0 && t.bits()%n == 0 {
		switch t.bits() / n {
		case 8:
			return b8
		case 16:
			return b16
		case 32:
			return b32
		}
	}
	d.fail("a vector of %d does not make .%v", n, t)
	return b32
}

// memAccess decodes the modifiers of a load or store, the address and the registers.
func (d *decoder) memAccess(at, val *operand, load bool) *memRef {
	r := &memRef{count: 1, mode: writes}
	if load {
		r.mode = reads
	}
	r.space = d.space(at)
	d.hints("weak", "nc", "ca", "cg", "cs", "lu", "cv", "wb", "wt")
	strong := d.oneOf("relaxed", "acquire", "release", "volatile", "mmio") != ""
	d.ignore("cta", "gpu", "sys", "cluster")
	if strong {
		r.mode = strongWrites
		if load {
			r.mode = strongReads
		}
	}
	switch d.oneOf("v2", "v4", "v8") {
	case "v2":
		r.count = 2
	case "v4":
		r.count = 4
	case "v8":
		r.count = 8
	}
	r.typ = d.typ(0, 1)
	if d.err != nil {
		return r
	}
	if r.typ == pred || r.typ == b128 || r.typ == f16x2 || r.typ == bf16x2 || r.typ == bf16 || r.typ == tf32 {
		d.fail("type .%v is not one of its types", r.typ)
		return r
	}
	r.size = uint64(r.typ.bytes())
	if r.size*uint64(r.count) > 16 {
		d.fail("%d bytes a thread: at most 16", r.size*uint64(r.count))
	}
	vals := []operand{*val}
	if val.kind == vecOperand {
		vals = val.vec
	}
	if len(vals) != r.count || (val.kind == vecOperand) != (r.count > 1) {
		d.fail("%d registers for %d elements", len(vals), r.count)
		return r
	}
	signed := r.typ.signed()
	for i := range vals {
		o := &vals[i]
		if load {
			if o.kind == sinkOperand {
				r.regs = append(r.regs, -1)
				continue
			}
			r.regs = append(r.regs, d.result(o, r.typ, true))
			if signed && o.kind == regOperand && o.reg.typ.bytes() > r.typ.bytes() {
				n, mask := uint(64-r.typ.bits()), o.reg.typ.mask()
				r.fixup = func(v uint64) uint64 { return uint64(int64(v<<n)>>n) & mask }
			}
		} else {
			r.regs = append(r.regs, d.value(o, r.typ, true))
		}
	}
	if load && r.count == 1 && r.regs[0] < 0 {
		r.regs[0] = d.result(&operand{kind: sinkOperand}, r.typ, true)
	}
	return r
}

func decodeLoad(d *decoder) {
	if !d.operands(2, 2) {
		return
	}
	at := &d.in.args[1]
	r := d.memAccess(at, &d.in.args[0], true)
	if r.space == param && at.kind == memOperand && at.base.kind == symOperand && d.err == nil {
		v, off := at.base.sym, at.off
		n := int64(r.size) * int64(r.count)
		if off < 0 || off+n > v.bytes {
			d.fail("reads bytes %d to %d of parameter %q, which has %d", off, off+n, v.name, v.bytes)
			return
		}
		if (int64(v.addr)+off)%n != 0 {
			d.fail("reads %d bytes at byte %d of the parameters: not aligned", n, int64(v.addr)+off)
			return
		}
		d.out.run = loadParam(v.addr+uint64(off), r)
		return
	}
	r.base, r.off = d.address(at)
	d.out.run = r.load
}

func decodeStore(d *decoder) {
	if !d.operands(2, 2) {
		return
	}
	at := &d.in.args[0]
	r := d.memAccess(at, &d.in.args[1], false)
	r.base, r.off = d.address(at)
	if r.space == param || r.space == constant {
		d.fail("a store to space %v", r.space)
	}
	d.out.run = r.store
}

func decodePrefetch(d *decoder) {
	d.hints("L1", "L2")
	if d.operands(1, 2) {
		d.space(&d.in.args[0])
		d.address(&d.in.args[0])
	}
	d.out.run = func(w *warp, m uint32) {}
}

// windows are where spaces lie among generic addresses.
var windows = map[space]uint64{global: 0, constant: 0, shared: sharedBase, local: localBase, param: paramBase}

func decodeCvta(d *decoder) {
	to := d.take("to")
	sp := generic
	for _, n := range []string{"global", "shared", "shared::cta", "local", "const", "param", "param::entry"} {
		if d.take(n) {
			sp = spaceNames[n]
		}
	}
	t := d.typ(0, 1)
	d.among(t, u64, s64, b64)
	if sp == generic {
		d.fail("a state space is needed")
	}
	if !d.operands(2, 2) {
		return
	}
	dst, src := d.dst(0, t), d.src(1, t)
	base := windows[sp]
	if base == 0 {
		d.out.run = copyLanes(dst, src)
		return
	}
	if !to {
		d.out.run = unary(dst, src, func(x uint64) uint64 { return x + base })
		return
	}
	d.out.run = func(w *warp, m uint32) {
		x := &w.regs[src]
		eachLane(m, func(l int) {
			if x[l]>>windowBits != base>>windowBits {
				w.fault(OutOfBounds, l, "address %#x is not in %v memory", x[l], sp)
			}
			w.regs[dst][l] = x[l] - base
		})
	}
}

func decodeIsspacep(d *decoder) {
	sp := generic
	for _, n := range []string{"global", "shared", "shared::cta", "local", "const", "param", "param::entry"} {
		if d.take(n) {
			sp = spaceNames[n]
		}
	}
	if !d.operands(2, 2) {
		return
	}
	dst := d.predResult(&d.in.args[0])
	src := d.src(1, u64)
	d.out.run = func(w *warp, m uint32) {
		eachLane(m, func(l int) {
			p := w.regs[src][l]
			in := global
			switch p >> windowBits {
			case sharedBase >> windowBits:
				in = shared
			case localBase >> windowBits:
				in = local
			case paramBase >> windowBits:
				in = param
			default:
				if a := w.blk.l.mem.find(p); a == nil || a.readOnly {
					in = constant
				}
			}
			w.setPred(dst, 1<<l, in == sp)
		})
	}
}

func decodeSelp(d *decoder) {
	t := d.typ(0, 1)
	if !d.operands(4, 4) {
		return
	}
	dst, a, b := d.dst(0, t), d.src(1, t), d.src(2, t)
	p, not := d.predicate(&d.in.args[3])
	d.out.run = func(w *warp, m uint32) {
		c := w.preds[p]
		if not {
			c = ^c
		}
		r, x, y := &w.regs[dst], &w.regs[a], &w.regs[b]
		for ; m != 0; m &= m - 1 {
			l := bits.TrailingZeros32(m) & 31
			if c>>l&1 != 0 {
				r[l] = x[l]
			} else {
				r[l] = y[l]
			}
		}
	}
}

func decodeSlct(d *decoder) {
	d.take("ftz")
	t, s := d.typ(0, 2), d.typ(1, 2)
	d.among(s, s32, f32)
	if !d.operands(4, 4) {
		return
	}
	dst, a, b, c := d.dst(0, t), d.src(1, t), d.src(2, t), d.src(3, s)
	ge := func(z uint64) bool { return int32(z) >= 0 }
	if s == f32 {
		ge = func(z uint64) bool { return fromF32(z) >= 0 }
	}
	d.out.run = ternary(dst, a, b, c, func(x, y, z uint64) uint64 {
		if ge(z) {
			return x
		}
		return y
	})
}
