package emu

import "math/bits"

// controlOps compare, branch and wait.
var controlOps = map[string]func(d *decoder){
	"cvt": decodeCvt, "setp": decodeSetp, "set": decodeSet, "bra": decodeBra, "ret": decodeExit, "exit": decodeExit,
	"trap": decodeTrap, "brkpt": decodeTrap, "bar": decodeBar, "barrier": decodeBar, "membar": decodeFence, "fence": decodeFence,
	"nanosleep": decodeNothing, "pmevent": decodeNothing, "griddepcontrol": decodeNothing,
	"call": decodeCall, "brx": decodeCall,
}

func decodeCall(d *decoder) {
	d.fail("calls and indirect branches are not known: everything must be inlined")
}

func decodeNothing(d *decoder) {
	d.types, d.flags = nil, nil
	d.out.run = func(w *warp, m uint32) {}
}

func decodeTrap(d *decoder) {
	d.out.run = func(w *warp, m uint32) {
		w.fault(Trapped, bits.TrailingZeros32(m), "the kernel says that something is wrong")
	}
}

func decodeBra(d *decoder) {
	d.out.uniform = d.take("uni")
	if !d.operands(1, 1) {
		return
	}
	d.out.kind = branchInstr
	d.out.target = d.findLabel(&d.in.args[0])
}

func decodeExit(d *decoder) {
	d.take("uni")
	d.operands(0, 0)
	d.out.kind = exitInstr
}

func decodeFence(d *decoder) {
	block := d.take("cta")
	d.ignore("gl", "sys", "gpu", "cluster", "sc", "acq_rel", "proxy", "async", "alias", "async::generic", "acquire", "release")
	d.out.run = func(w *warp, m uint32) {
		if !block {
			w.fence()
		}
	}
}

// comparison compares two values of t, and reads the operator from the modifiers.
func (d *decoder) comparison(t typ) func(x, y uint64) bool {
	cmp := d.oneOf("eq", "ne", "lt", "le", "gt", "ge", "lo", "ls", "hi", "hs", "equ", "neu", "ltu", "leu", "gtu", "geu", "num", "nan")
	ftz := d.take("ftz")
	if t.float() {
		get := func(x uint64) float64 { return widen(x, t, ftz) }
		if t == f16x2 || t == bf16x2 {
			d.fail("pairs are not known here")
			return nil
		}
		f := map[string]func(x, y float64) bool{
			"eq": func(x, y float64) bool { return x == y }, "ne": func(x, y float64) bool { return x < y || x > y },
			"lt": func(x, y float64) bool { return x < y }, "le": func(x, y float64) bool { return x <= y },
			"gt": func(x, y float64) bool { return x > y }, "ge": func(x, y float64) bool { return x >= y },
			"equ": func(x, y float64) bool { return !(x < y || x > y) }, "neu": func(x, y float64) bool { return x != y },
			"ltu": func(x, y float64) bool { return !(x >= y) }, "leu": func(x, y float64) bool { return !(x > y) },
			"gtu": func(x, y float64) bool { return !(x <= y) }, "geu": func(x, y float64) bool { return !(x < y) },
			"num": func(x, y float64) bool { return x == x && y == y }, "nan": func(x, y float64) bool { return x != x || y != y },
		}[cmp]
		if f == nil {
			d.fail("no comparison of .%v", t)
			return nil
		}
		return func(x, y uint64) bool { return f(get(x), get(y)) }
	}
	unsigned := map[string]string{"lo": "lt", "ls": "le", "hi": "gt", "hs": "ge"}
	if u, ok := unsigned[cmp]; ok {
		if t.signed() {
			d.fail(".%s is for unsigned integers", cmp)
		}
		cmp = u
	}
	if typeInfo[t].class == 'b' && cmp != "eq" && cmp != "ne" {
		d.fail("bits are equal or not")
	}
	n, flip := ranking(t)
	switch cmp {
	case "eq":
		return func(x, y uint64) bool { return x == y }
	case "ne":
		return func(x, y uint64) bool { return x != y }
	case "lt":
		return func(x, y uint64) bool { return x<<n^flip < y<<n^flip }
	case "le":
		return func(x, y uint64) bool { return x<<n^flip <= y<<n^flip }
	case "gt":
		return func(x, y uint64) bool { return x<<n^flip > y<<n^flip }
	case "ge":
		return func(x, y uint64) bool { return x<<n^flip >= y<<n^flip }
	}
	d.fail("no comparison of .%v", t)
	return nil
}

// combine decodes the predicate that a comparison is combined with.
func (d *decoder) combine(at int) func(w *warp, v uint32) uint32 {
	op := d.oneOf("and", "or", "xor")
	if op == "" {
		if len(d.in.args) > at {
			d.fail("%d operands", len(d.in.args))
		}
		return nil
	}
	if len(d.in.args) != at+1 {
		d.fail("%d operands", len(d.in.args))
		return nil
	}
	p, not := d.predicate(&d.in.args[at])
	return func(w *warp, v uint32) uint32 {
		c := flip(w.preds[p], not)
		switch op {
		case "and":
			return v & c
		case "or":
			return v | c
		}
		return v ^ c
	}
}

func decodeSetp(d *decoder) {
	t := d.typ(0, 1)
	d.among(t, b16, b32, b64, u16, u32, u64, s16, s32, s64, f16, bf16, f32, f64)
	if !d.operands(3, 4) {
		return
	}
	cmp := d.comparison(t)
	dst := d.in.args[0]
	pair := dst.pair
	dst.pair = nil
	p, q := d.predResult(&dst), int32(-1)
	if pair != nil {
		q = d.predResult(pair)
	}
	a, b := d.src(1, t), d.src(2, t)
	comb := d.combine(3)
	if d.err != nil {
		return
	}
	d.out.run = func(w *warp, m uint32) {
		x, y := &w.regs[a], &w.regs[b]
		var v uint32
		for mm := m; mm != 0; mm &= mm - 1 {
			l := bits.TrailingZeros32(mm) & 31
			if cmp(x[l], y[l]) {
				v |= 1 << l
			}
		}
		not := ^v
		if comb != nil {
			v, not = comb(w, v), comb(w, not)
		}
		w.preds[p] = w.preds[p]&^m | v&m
		if q >= 0 {
			w.preds[q] = w.preds[q]&^m | not&m
		}
	}
}

func decodeSet(d *decoder) {
	to, t := d.typ(0, 2), d.typ(1, 2)
	d.among(to, u32, s32, f32)
	if !d.operands(3, 4) {
		return
	}
	cmp := d.comparison(t)
	dst, a, b := d.dst(0, to), d.src(1, t), d.src(2, t)
	comb := d.combine(3)
	if d.err != nil {
		return
	}
	yes := uint64(0xffffffff)
	if to == f32 {
		yes = 0x3f800000
	}
	d.out.run = func(w *warp, m uint32) {
		var v uint32
		eachLane(m, func(l int) {
			if cmp(w.regs[a][l], w.regs[b][l]) {
				v |= 1 << l
			}
		})
		if comb != nil {
			v = comb(w, v)
		}
		eachLane(m, func(l int) {
			w.regs[dst][l] = 0
			if v>>l&1 != 0 {
				w.regs[dst][l] = yes
			}
		})
	}
}

// decodeBar decodes bar and barrier: of a block, and bar.warp.
func decodeBar(d *decoder) {
	if d.take("warp") {
		if !d.take("sync") {
			d.fail(".sync is needed")
		}
		if !d.operands(1, 1) {
			return
		}
		d.out.kind = warpInstr
		d.out.member = d.src(0, b32)
		d.out.run = func(w *warp, m uint32) { w.clocks.tick(w.index) }
		return
	}
	if d.take("cluster") {
		d.fail("clusters are not known")
		return
	}
	o := &barrierOp{count: -1, aligned: d.in.op == "bar"}
	d.take("cta")
	o.aligned = d.take("aligned") || o.aligned
	kind := d.oneOf("sync", "arrive", "red")
	d.out.kind, d.out.bar = barInstr, o
	args := d.in.args
	switch kind {
	case "sync", "arrive":
		if !d.operands(1, 2) {
			return
		}
		o.arrive = kind == "arrive"
		o.id = d.src(0, u32)
		if len(args) == 2 {
			o.count = d.src(1, u32)
		} else if o.arrive {
			d.fail("a number of threads is needed")
		}
	case "red":
		if !d.operands(3, 4) {
			return
		}
		switch d.oneOf("popc", "and", "or") {
		case "popc":
			o.red = '+'
			d.among(d.typ(0, 1), u32)
			o.dst = d.dst(0, u32)
		case "and":
			o.red = '&'
		case "or":
			o.red = '|'
		default:
			d.fail("one of .popc, .and and .or is needed")
		}
		if o.red != '+' {
			d.among(d.typ(0, 1), pred)
			o.dst = d.predResult(&args[0])
		}
		o.id = d.src(1, u32)
		if len(args) == 4 {
			o.count = d.src(2, u32)
		}
		o.src, o.srcNot = d.predicate(&args[len(args)-1])
	default:
		d.fail("one of .sync, .arrive and .red is needed")
	}
}
