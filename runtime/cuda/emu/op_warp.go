package emu

import "math/bits"

// warpOps exchange between the lanes of a warp.
var warpOps = map[string]func(d *decoder){
	"shfl": decodeShfl, "vote": decodeVote, "match": decodeMatch, "redux": decodeRedux, "activemask": decodeActivemask,
	"elect": decodeElect,
}

// warpWide makes the instruction one that waits for the lanes of operand n.
func (d *decoder) warpWide(n int) {
	if !d.take("sync") {
		d.fail(".sync is needed: sm_70 and later have nothing else")
	}
	d.out.kind = warpInstr
	d.out.member = d.src(n, b32)
}

func decodeShfl(d *decoder) {
	t := d.typ(0, 1)
	d.among(t, b32, u32, s32, f32)
	mode := d.oneOf("up", "down", "bfly", "idx")
	if mode == "" {
		d.fail("one of .up, .down, .bfly and .idx is needed")
	}
	if !d.operands(5, 5) {
		return
	}
	d.warpWide(4)
	res := d.in.args[0]
	pair := res.pair
	res.pair = nil
	dst, p := d.result(&res, b32, false), int32(-1)
	if pair != nil {
		p = d.predResult(pair)
	}
	a, b, c := d.value(&d.in.args[1], b32, false), d.src(2, b32), d.src(3, b32)
	// Of the source, the lanes that are read must be there, and they alone.
	for i, r := range d.out.reads {
		if r == a && a != b && a != c && a != d.out.member {
			d.out.reads = append(d.out.reads[:i:i], d.out.reads[i+1:]...)
			break
		}
	}
	fromReg := d.in.args[1].kind == regOperand
	d.out.run = func(w *warp, m uint32) {
		x := w.regs[a]
		for mm := m; mm != 0; mm &= mm - 1 {
			l := bits.TrailingZeros32(mm)
			bv, cv := int(w.regs[b][l]&31), w.regs[c][l]
			clamp, seg := int(cv&31), int(cv>>8&31)
			last := l&seg | clamp&^seg
			first := l & seg
			var j int
			var in bool
			switch mode {
			case "up":
				j = l - bv
				in = j >= last
			case "down":
				j = l + bv
				in = j <= last
			case "bfly":
				j = l ^ bv
				in = j <= last
			default:
				j = first | bv&^seg
				in = j <= last
			}
			if !in {
				j = l
			}
			if m>>j&1 == 0 {
				w.fault(Divergence, l, "takes the value of lane %d, which does not run it", j)
			}
			if fromReg && w.init[a]>>j&1 == 0 {
				w.fault(Uninitialised, l, "takes register %s of lane %d, which was not written", w.blk.fn.regNames[a], j)
			}
			w.regs[dst][l] = x[j]
			if p >= 0 {
				w.setPred(p, 1<<l, in)
			}
		}
	}
}

func decodeVote(d *decoder) {
	mode := d.oneOf("all", "any", "uni", "ballot")
	if mode == "" {
		d.fail("one of .all, .any, .uni and .ballot is needed")
	}
	if !d.operands(3, 3) {
		return
	}
	d.warpWide(2)
	p, not := d.predicate(&d.in.args[1])
	if mode == "ballot" {
		d.among(d.typ(0, 1), b32)
		dst := d.dst(0, b32)
		d.out.run = func(w *warp, m uint32) {
			v := uint64(flip(w.preds[p], not) & m)
			eachLane(m, func(l int) { w.regs[dst][l] = v })
		}
		return
	}
	d.among(d.typ(0, 1), pred)
	dst := d.predResult(&d.in.args[0])
	d.out.run = func(w *warp, m uint32) {
		v := flip(w.preds[p], not) & m
		r := v == m
		switch mode {
		case "any":
			r = v != 0
		case "uni":
			r = v == m || v == 0
		}
		w.setPred(dst, m, r)
	}
}

func decodeMatch(d *decoder) {
	t := d.typ(0, 1)
	d.among(t, b32, b64)
	mode := d.oneOf("any", "all")
	if mode == "" {
		d.fail("one of .any and .all is needed")
	}
	if !d.operands(3, 3) {
		return
	}
	d.warpWide(2)
	res := d.in.args[0]
	pair := res.pair
	res.pair = nil
	dst, p := d.result(&res, b32, false), int32(-1)
	if pair != nil {
		if mode == "any" {
			d.fail("no predicate comes of .any")
		}
		p = d.predResult(pair)
	}
	a := d.src(1, t)
	d.out.run = func(w *warp, m uint32) {
		x := w.regs[a]
		all := true
		eachLane(m, func(l int) { all = all && x[l] == x[bits.TrailingZeros32(m)] })
		eachLane(m, func(l int) {
			var v uint32
			if mode == "any" {
				eachLane(m, func(k int) {
					if x[k] == x[l] {
						v |= 1 << k
					}
				})
			} else if all {
				v = m
			}
			w.regs[dst][l] = uint64(v)
		})
		if p >= 0 {
			w.setPred(p, m, all)
		}
	}
}

func decodeRedux(d *decoder) {
	t := d.typ(0, 1)
	name := d.oneOf("add", "min", "max", "and", "or", "xor")
	switch name {
	case "add", "min", "max":
		d.among(t, u32, s32)
	case "and", "or", "xor":
		d.among(t, b32)
	default:
		d.fail("an operation is needed")
	}
	d.needs(80, 70)
	if !d.operands(3, 3) {
		return
	}
	d.warpWide(2)
	dst, a := d.dst(0, t), d.src(1, t)
	f := atomicFunc(name, t)
	d.out.run = func(w *warp, m uint32) {
		x := w.regs[a]
		first := bits.TrailingZeros32(m)
		v := x[first]
		eachLane(m&(m-1), func(l int) { v = f(v, x[l]) })
		eachLane(m, func(l int) { w.regs[dst][l] = v })
	}
}

func decodeActivemask(d *decoder) {
	d.among(d.typ(0, 1), b32)
	if !d.operands(1, 1) {
		return
	}
	dst := d.dst(0, b32)
	d.out.run = func(w *warp, m uint32) { eachLane(m, func(l int) { w.regs[dst][l] = uint64(m) }) }
}

func decodeElect(d *decoder) {
	d.needs(90, 80)
	if !d.operands(2, 2) {
		return
	}
	d.warpWide(1)
	res := d.in.args[0]
	pair := res.pair
	res.pair = nil
	if pair == nil {
		d.fail("a result of the form d|p is needed")
		return
	}
	dst, p := d.result(&res, b32, false), d.predResult(pair)
	d.out.run = func(w *warp, m uint32) {
		first := bits.TrailingZeros32(m)
		eachLane(m, func(l int) {
			w.regs[dst][l] = uint64(first)
			w.setPred(p, 1<<l, l == first)
		})
	}
}
