package x86

import (
	"fmt"
	"math"
	"slices"
)

// Allocate gives virtual registers real ones, by linear scan over lives with holes. Real
// registers that the program names stay as they are. What finds no place is made again where it is read, if
// it is a constant, or lies in scratch memory; then [ScratchBase] is kept for that. The
// result is a program of its own, and has been replayed against the one that came in.
func Allocate(p *Prog, f Features) (*Prog, error) {
	for _, scratch := range []bool{false, true} {
		a := &allocator{from: p, f: f, scratch: scratch}
		switch err := a.run(); err {
		case nil:
			return a.work, a.replay()
		case errNeedsScratch:
		default:
			return nil, err
		}
	}
	return nil, fmt.Errorf("x86: %s: no place for spilled registers: the program itself uses %s", p.Name, ScratchBase)
}

var errNeedsScratch = fmt.Errorf("x86: registers are spilled")

// allocator is one try.
type allocator struct {
	from    *Prog // with virtual registers
	f       Features
	scratch bool // ScratchBase is kept for spilled registers

	work    *Prog // from, with what spilling put in, and in the end with real registers
	sources []source
	slots   map[int]int // where a spilled register lies, by number
	size    int         // of scratch
	made    map[int]int // constants that are read where they lie: by number, what makes them in from
	stands  map[int]Reg // the register of from for which a short-lived one stands
	kept    []Kind      // how much of each virtual register is ever used
	place   []int       // the real register of each virtual one
	forms   []*Form     // of from
	flow    *flow       // of work, in the end
}

// source tells where an instruction of work comes from.
type source struct {
	at   int // in from
	kind sourceKind
	reg  Reg // of from: what is loaded, stored or made again; of a copy, the real one
}

type sourceKind uint8

const (
	original sourceKind = iota
	loaded              // reg from its slot
	stored              // reg to its slot
	remade              // reg, by the instruction that makes it
	dropped             // a copy of a register to itself
)

func (a *allocator) run() error {
	a.work = &Prog{Name: a.from.Name, Insts: make([]Inst, len(a.from.Insts)), Scratch: a.from.Scratch,
		labels: a.from.labels, consts: slices.Clone(a.from.consts), virtual: a.from.virtual}
	copy(a.work.Insts, a.from.Insts)
	a.sources = make([]source, len(a.work.Insts))
	for i := range a.sources {
		a.sources[i].at = i
	}
	a.size = (a.from.Scratch + lineBytes - 1) &^ (lineBytes - 1)
	a.slots, a.made, a.stands = map[int]int{}, map[int]int{}, map[int]Reg{}
	for {
		fl, err := analyse(a.work, a.f)
		if err != nil {
			return err
		}
		if a.kept == nil {
			a.kept, a.forms = widths(fl), fl.forms
		}
		spilled, err := a.assign(fl)
		if err != nil {
			return err
		}
		if len(spilled) == 0 {
			a.flow = fl
			a.rewrite()
			return nil
		}
		if err := a.spill(fl, spilled); err != nil {
			return err
		}
	}
}

// widths tells how much of each virtual register is ever used.
func widths(fl *flow) []Kind {
	w := make([]Kind, reals+fl.p.virtual)
	for i, form := range fl.forms {
		if form != nil {
			access(&fl.p.Insts[i], form, func(r Reg, _, _ bool) {
				k := r.Kind()
				if r.Class() == General {
					k = GP64
				}
				w[number(r)] = max(w[number(r)], k)
			})
		}
	}
	return w
}

// order is the real registers of a class, those with the shortest encodings first.
var order = func() (o [Masks + 1][]int) {
	for _, r := range []Reg{RAX, RCX, RDX, RBX, RSI, RDI, R8, R9, R10, R11, R14, R15, R13, R12} {
		o[General] = append(o[General], number(r))
	}
	for i := range 32 {
		o[Vector] = append(o[Vector], firstVector+i)
	}
	for i := 1; i < 8; i++ { // k0 can not be a mask of elements
		o[Masks] = append(o[Masks], firstMask+i)
	}
	return o
}()

// assign gives every virtual register a real one, or says which find none.
func (a *allocator) assign(fl *flow) (spilled []int, err error) {
	p := a.work
	count := reals + p.virtual
	class := make([]Class, count)
	low := make([]bool, count) // only registers under 16 can be encoded
	cost := make([]float64, count)
	hints := make([][]int, count)
	for i, form := range fl.forms {
		if form == nil {
			continue
		}
		in := &p.Insts[i]
		w := math.Pow(10, float64(min(fl.depth[i], 8)))
		vexOnly := !hasEvex(in, a.f)
		access(in, form, func(r Reg, read, write bool) {
			k := number(r)
			class[k] = r.Class()
			cost[k] += w
			low[k] = low[k] || vexOnly && r.Class() == Vector
		})
		if d, s, ok := in.copied(); ok {
			hints[number(d)] = append(hints[number(d)], number(s))
			hints[number(s)] = append(hints[number(s)], number(d))
		}
	}
	var todo []int
	for k := reals; k < count; k++ {
		if len(fl.lives[k]) == 0 {
			continue
		}
		todo = append(todo, k)
		length := 0
		for _, s := range fl.lives[k] {
			length += s.to - s.from
		}
		cost[k] /= float64(length)
		if _, ok := a.stands[k]; ok {
			cost[k] = math.Inf(1)
		}
	}
	slices.SortStableFunc(todo, func(x, y int) int { return fl.lives[x][0].from - fl.lives[y][0].from })
	holders := make([][]int, reals) // which registers have lives in a real one
	for r := range reals {
		if len(fl.lives[r]) > 0 {
			holders[r] = append(holders[r], r)
			cost[r] = math.Inf(1)
		}
	}
	if a.scratch {
		if fl.writes(ScratchBase) {
			return nil, fmt.Errorf("x86: %s: no place for spilled registers: the program itself writes %s", p.Name, ScratchBase)
		}
		s := number(ScratchBase)
		fl.lives[s] = []span{{0, 2 * len(p.Insts)}}
		cost[s] = math.Inf(1)
		holders[s] = []int{s}
	}
	a.place = make([]int, count)
	for i := range a.place {
		a.place[i] = -1
		if i >= reals && class[i] != NoClass && len(fl.lives[i]) == 0 {
			a.place[i] = order[class[i]][0] // what it holds makes no difference
		}
	}
	for _, k := range todo {
		best, bestCost := -1, cost[k]
		try := func(r int) bool {
			if low[k] && r >= firstVector+16 && r < firstMask || a.f&V4 == 0 && r >= firstVector+16 {
				return false
			}
			worst := 0.0
			for _, h := range holders[r] {
				if meet(fl.lives[h], fl.lives[k]) {
					worst = max(worst, cost[h])
				}
			}
			if worst < bestCost {
				best, bestCost = r, worst
			}
			return worst == 0
		}
		done := false
		for _, h := range hints[k] {
			if h >= reals {
				h = a.place[h]
			}
			if h >= 0 && slices.Contains(order[class[k]], h) && try(h) {
				done = true
				break
			}
		}
		for i := 0; !done && i < len(order[class[k]]); i++ {
			done = try(order[class[k]][i])
		}
		if best < 0 {
			if math.IsInf(cost[k], 1) {
				return nil, fmt.Errorf("x86: %s: an instruction needs more registers than there are", p.Name)
			}
			spilled = append(spilled, k)
			continue
		}
		holders[best] = slices.DeleteFunc(holders[best], func(h int) bool {
			if h < reals || !meet(fl.lives[h], fl.lives[k]) {
				return false
			}
			a.place[h] = -1
			spilled = append(spilled, h)
			return true
		})
		holders[best] = append(holders[best], k)
		a.place[k] = best
	}
	return spilled, nil
}

// writes tells whether the program writes a real register.
func (fl *flow) writes(r Reg) bool {
	found := false
	for i, form := range fl.forms {
		if form != nil {
			access(&fl.p.Insts[i], form, func(q Reg, _, write bool) { found = found || write && q.whole() == r.whole() })
		}
	}
	return found
}

// hasEvex tells whether the instruction can name all registers: without vectors, or in EVEX.
func hasEvex(in *Inst, f Features) bool {
	forms := in.Op.Forms()
	for i := range forms {
		if g := &forms[i]; g.space != vex && g.Needs&^f == 0 && g.match(in.Args) {
			return true
		}
	}
	return false
}

// copies are the instructions that copy a whole register.
var copies = map[*Op]Kind{MOV: GP64, VMOVUPS: ZMM, VMOVAPS: ZMM, VMOVUPD: ZMM, VMOVAPD: ZMM, VMOVDQU: YMM, VMOVDQU32: ZMM, VMOVDQU64: ZMM, KMOVQ: Mask}

// copied gives the registers of a copy.
func (i *Inst) copied() (to, from Reg, ok bool) {
	if i.Op == nil || copies[i.Op] == NoKind || len(i.Args) != 2 {
		return
	}
	to, ok = i.Args[0].(Reg)
	if !ok {
		return
	}
	from, ok = i.Args[1].(Reg)
	return to, from, ok && to.Kind() == from.Kind() && to.Class() == copies[i.Op].Class()
}

// rewrite puts real registers in the places of virtual ones, and drops copies of a register to
// itself.
func (a *allocator) rewrite() {
	for i := range a.work.Insts {
		in := &a.work.Insts[i]
		if in.Op == nil {
			continue
		}
		to, from, ok := in.copied()
		whole := ok && a.whole(to)
		in.Args = slices.Clone(in.Args)
		for j := range in.Args {
			in.Args[j] = substitute(in.Args[j], func(r Reg) Reg {
				if !r.Virtual() {
					return r
				}
				return real(a.place[number(r)]).As(r.Kind())
			})
		}
		if whole && in.Args[0] == in.Args[1] {
			a.sources[i].kind, a.sources[i].reg = dropped, in.Args[0].(Reg)
			*in = Inst{Comment: fmt.Sprintf("%s is %s", to, from)}
		}
	}
	a.work.Scratch = max(a.work.Scratch, a.size)
	if len(a.slots) == 0 {
		a.work.Scratch = a.from.Scratch
	}
}

// whole tells whether an operand is all that is ever used of its register.
func (a *allocator) whole(r Reg) bool {
	if !r.Virtual() {
		return r.whole() == r
	}
	if s, ok := a.stands[number(r)]; ok {
		r = s.As(r.Kind())
	}
	return r.Kind() >= a.kept[number(r)]
}

// substitute replaces the registers of an operand.
func substitute(o Operand, f func(Reg) Reg) Operand {
	switch o := o.(type) {
	case Reg:
		return f(o)
	case Masked:
		o.Reg, o.Mask = f(o.Reg), f(o.Mask)
		return o
	case Mem:
		if o.Base != NoReg {
			o.Base = f(o.Base)
		}
		if o.Index != NoReg {
			o.Index = f(o.Index)
		}
		if o.Mask != NoReg {
			o.Mask = f(o.Mask)
		}
		return o
	}
	return o
}
