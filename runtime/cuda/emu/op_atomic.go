package emu

import "math/bits"

// atomicOps update memory.
var atomicOps = map[string]func(d *decoder){"atom": decodeAtom, "red": decodeAtom}

// atomicFunc is what an update makes of the old value and the operand.
func atomicFunc(name string, t typ) func(x, y uint64) uint64 {
	mask := t.mask()
	switch name {
	case "and":
		return func(x, y uint64) uint64 { return x & y }
	case "or":
		return func(x, y uint64) uint64 { return x | y }
	case "xor":
		return func(x, y uint64) uint64 { return x ^ y }
	case "exch":
		return func(x, y uint64) uint64 { return y }
	case "inc":
		return func(x, y uint64) uint64 {
			if x >= y {
				return 0
			}
			return x + 1
		}
	case "dec":
		return func(x, y uint64) uint64 {
			if x == 0 || x > y {
				return y
			}
			return x - 1
		}
	case "min":
		return func(x, y uint64) uint64 {
			if less(y, x, t) {
				return y
			}
			return x
		}
	case "max":
		return func(x, y uint64) uint64 {
			if less(x, y, t) {
				return y
			}
			return x
		}
	}
	switch t {
	case f32:
		return func(x, y uint64) uint64 { return toF32(fromF32(x) + fromF32(y)) }
	case f64:
		return func(x, y uint64) uint64 { return toF64(fromF64(x) + fromF64(y)) }
	case f16, bf16, f16x2, bf16x2:
		s, two := smallOf(t)
		f := func(x, y uint64) uint64 {
			v, e := sum64(s.get(x), s.get(y))
			return s.round(v, e, nearest)
		}
		if two {
			f = pairs2(f)
		}
		return f
	}
	return func(x, y uint64) uint64 { return (x + y) & mask }
}

func decodeAtom(d *decoder) {
	red := d.in.op == "red"
	t := d.typ(0, 1)
	name := d.oneOf("add", "min", "max", "and", "or", "xor", "exch", "cas", "inc", "dec")
	switch name {
	case "add":
		d.among(t, u32, s32, u64, s64, f32, f64, f16, f16x2, bf16, bf16x2)
	case "min", "max":
		d.among(t, u32, s32, u64, s64)
	case "and", "or", "xor":
		d.among(t, b32, b64)
	case "exch", "cas":
		if name == "cas" {
			d.among(t, b16, b32, b64)
		} else {
			d.among(t, b32, b64)
		}
		if red {
			d.fail("red does not exchange")
		}
	case "inc", "dec":
		d.among(t, u32)
	default:
		d.fail("an operation is needed")
	}
	d.hints("relaxed", "cta", "gpu", "sys", "cluster")
	if d.take("noftz") && t.bytes() > 4 {
		d.fail("modifier .noftz is not for .%v", t)
	}
	release := d.oneOf("acq_rel", "release") != ""
	d.take("acquire") // every one acquires
	n := 3
	if red {
		n = 2
	}
	if name == "cas" {
		n++
	}
	if !d.operands(n, n) {
		return
	}
	args := d.in.args
	dst := int32(-1)
	if !red {
		dst = d.result(&args[0], t, false)
		args = args[1:]
	}
	sp := d.space(&args[0])
	if sp == local || sp == param || sp == constant {
		d.fail("space %v has no atomics", sp)
	}
	base, off := d.address(&args[0])
	b := d.value(&args[1], t, false)
	c := int32(-1)
	if name == "cas" {
		c = d.value(&args[2], t, false)
	}
	f := atomicFunc(name, t)
	size := uint64(t.bytes())
	d.out.run = func(w *warp, m uint32) {
		w.stats.Atomics++
		mu := &w.blk.l.atomicMu
		// In the order of lanes; hardware has no order.
		for mm := m; mm != 0; mm &= mm - 1 {
			l := bits.TrailingZeros32(mm)
			addr := w.regs[base][l] + off
			w.addrs[l] = addr
			in := sp
			data, at, al := w.place(&in, l, addr, size, atomics)
			w.note(in, l, at, size, al, atomics, false)
			if in == global {
				mu.Lock()
			}
			old := get(data[at:], size)
			v := w.regs[b][l]
			if c < 0 {
				put(data[at:], size, f(old, v))
			} else if old == v {
				put(data[at:], size, w.regs[c][l])
			}
			if in == global {
				mu.Unlock()
				w.synchronise(addr, 1, release)
			}
			if dst >= 0 {
				w.regs[dst][l] = old
			}
		}
	}
}
