package x86

import (
	"fmt"
	"math/bits"
	"slices"
)

// flow is what the register allocator knows of a program: the form of every instruction,
// its blocks, and where each register holds a value that is still needed. Registers are
// numbered: the real ones first, then the virtual ones.
type flow struct {
	p      *Prog
	forms  []*Form
	starts []int // of blocks, and the end
	next   [][]int
	depth  []int // of loops, by instruction
	lives  [][]span
}

// span is a part of a register's life. Instruction i reads at 2i and writes at 2i+1.
type span struct{ from, to int }

// Where the files of real registers start among the numbers, and how many numbers they have.
const (
	firstVector = 16
	firstMask   = 48
	reals       = 56
)

// number tells registers apart, whatever part of them is meant.
func number(r Reg) int {
	switch {
	case r.Virtual():
		return reals - 1 + r.Num() // virtual registers count from 1
	case r.Class() == Vector:
		return firstVector + r.Num()
	case r.Class() == Masks:
		return firstMask + r.Num()
	}
	return r.Num()
}

// real is the register of a number, whole.
func real(n int) Reg {
	switch {
	case n < firstVector:
		return reg(GP64, n)
	case n < firstMask:
		return Z(n - firstVector)
	}
	return K(n - firstMask)
}

// access calls f for every register that an instruction reads or writes.
func access(in *Inst, form *Form, f func(r Reg, read, write bool)) {
	free := form.self && sameSources(in.Args)
	for i := range form.args {
		s := &form.args[i]
		switch o := in.Args[i].(type) {
		case Reg:
			f(o, s.read && !free, s.write)
		case Masked:
			keeps := s.write && !o.Zero && s.mask != condition
			f(o.Reg, s.read && !free || keeps, s.write)
			f(o.Mask, true, s.mask == mustMask)
		case Mem:
			for _, r := range []Reg{o.Base, o.Index} {
				if r != NoReg {
					f(r, true, false)
				}
			}
			if o.Mask != NoReg {
				f(o.Mask, true, s.mask == mustMask)
			}
		}
	}
	for _, r := range form.reads {
		f(r, true, false)
	}
	for _, r := range form.writes {
		f(r, false, true)
	}
}

// sameSources tells whether the last two registers are the same, so that an instruction like
// exclusive or depends on nothing; so does any function of bits that is always 0 or 1.
func sameSources(args []Operand) bool {
	n := len(args)
	if n > 0 {
		if v, ok := args[n-1].(Imm); ok {
			if v != 0 && v != 255 {
				return false
			}
			n--
		}
	}
	if n < 2 {
		return false
	}
	a, ok := args[n-1].(Reg)
	b, ok2 := args[n-2].(Reg)
	return ok && ok2 && a == b
}

// target gives the label to which an instruction jumps, and whether it always does.
func (i *Inst) target() (l Label, jumps, always bool) {
	if i.Op != nil && len(i.Args) == 1 {
		if l, ok := i.Args[0].(Label); ok {
			return l, true, i.Op == JMP
		}
	}
	return 0, false, i.Op == RET || i.Op == UD2
}

// analyse finds blocks, loops and lives.
func analyse(p *Prog, f Features) (*flow, error) {
	fl := &flow{p: p, forms: make([]*Form, len(p.Insts)), depth: make([]int, len(p.Insts))}
	fail := func(i int, err error) error {
		return fmt.Errorf("x86: %s: instruction %d: %s: %w", p.Name, i, p.Insts[i].text(nil, nil), err)
	}
	places := make([]int, len(p.labels))
	for i := range places {
		places[i] = -1
	}
	for i := range p.Insts {
		in := &p.Insts[i]
		if in.Op != nil {
			form, err := in.Op.find(in.Args, f)
			if err != nil {
				return nil, fail(i, err)
			}
			fl.forms[i] = form
		} else if len(in.Args) == 1 {
			places[in.Args[0].(Label)] = i
		}
	}
	leader := make([]bool, len(p.Insts)+1)
	leader[0], leader[len(p.Insts)] = true, true
	for i := range p.Insts {
		l, jumps, always := p.Insts[i].target()
		if jumps {
			to := places[l]
			if to < 0 {
				return nil, fail(i, fmt.Errorf("the label %s stands nowhere", p.labels[l]))
			}
			leader[to] = true
			if to <= i {
				for j := to; j <= i; j++ {
					fl.depth[j]++
				}
			}
		}
		if jumps || always {
			leader[i+1] = true
		}
	}
	block := make([]int, len(p.Insts)+1)
	for i, b := range leader {
		if b {
			fl.starts = append(fl.starts, i)
		}
		block[i] = len(fl.starts) - 1
	}
	n := len(fl.starts) - 1
	fl.next = make([][]int, n)
	for b := range n {
		end := fl.starts[b+1]
		l, jumps, always := p.Insts[end-1].target()
		if jumps {
			fl.next[b] = append(fl.next[b], block[places[l]])
		}
		if !always {
			if b+1 == n && !slices.ContainsFunc(p.Insts[fl.starts[b]:end], func(in Inst) bool { return in.Op != nil || len(in.Args) > 0 }) {
				continue // a comment at the end
			}
			if b+1 == n {
				return nil, fmt.Errorf("x86: %s: the end can be reached: ret comes last", p.Name)
			}
			fl.next[b] = append(fl.next[b], b+1)
		}
	}
	return fl, fl.liveness()
}

// set is a set of register numbers.
type set []uint64

func (s set) has(n int) bool { return s[n/64]>>(n%64)&1 != 0 }
func (s set) add(n int)      { s[n/64] |= 1 << (n % 64) }
func (s set) drop(n int)     { s[n/64] &^= 1 << (n % 64) }

// each calls f for every member.
func (s set) each(f func(n int)) {
	for w, x := range s {
		for ; x != 0; x &= x - 1 {
			f(64*w + bits.TrailingZeros64(x))
		}
	}
}

// liveness finds the spans of every register, from the ends of blocks backward.
func (fl *flow) liveness() error {
	p := fl.p
	count := reals + p.virtual
	words := (count + 63) / 64
	n := len(fl.starts) - 1
	in := make([]set, n)
	reads, writes := make([]set, n), make([]set, n)
	for b := range n {
		in[b], reads[b], writes[b] = make(set, words), make(set, words), make(set, words)
		for i := fl.starts[b]; i < fl.starts[b+1]; i++ {
			if fl.forms[i] == nil {
				continue
			}
			access(&p.Insts[i], fl.forms[i], func(r Reg, read, write bool) {
				if read && !writes[b].has(number(r)) {
					reads[b].add(number(r))
				}
			})
			access(&p.Insts[i], fl.forms[i], func(r Reg, read, write bool) {
				if write {
					writes[b].add(number(r))
				}
			})
		}
		copy(in[b], reads[b])
	}
	out := func(b int) set {
		s := make(set, words)
		for _, c := range fl.next[b] {
			for w := range s {
				s[w] |= in[c][w]
			}
		}
		return s
	}
	for changed := true; changed; {
		changed = false
		for b := n - 1; b >= 0; b-- {
			for w, x := range out(b) {
				if x = reads[b][w] | x&^writes[b][w]; x != in[b][w] {
					in[b][w], changed = x, true
				}
			}
		}
	}
	if n > 0 {
		var undefined []string
		in[0].each(func(r int) {
			if r >= reals {
				undefined = append(undefined, fmt.Sprintf("virtual register %d", r-reals+1))
			} else if r := real(r); r != ArgBase && r != ScratchBase {
				undefined = append(undefined, r.String())
			}
		})
		if undefined != nil {
			return fmt.Errorf("x86: %s: read where it may not have been written: %v", p.Name, undefined)
		}
	}
	fl.lives = make([][]span, count)
	open := make([]int, count) // where a life that goes on ends
	for b := n - 1; b >= 0; b-- {
		live := out(b)
		live.each(func(r int) { open[r] = 2 * fl.starts[b+1] })
		for i := fl.starts[b+1] - 1; i >= fl.starts[b]; i-- {
			if fl.forms[i] == nil {
				continue
			}
			access(&p.Insts[i], fl.forms[i], func(r Reg, read, write bool) {
				if k := number(r); write {
					to := 2*i + 2
					if live.has(k) {
						to = max(to, open[k])
						live.drop(k)
					}
					fl.lives[k] = append(fl.lives[k], span{2*i + 1, to})
				}
			})
			access(&p.Insts[i], fl.forms[i], func(r Reg, read, write bool) {
				if k := number(r); read && !live.has(k) {
					live.add(k)
					open[k] = 2*i + 1
				}
			})
		}
		live.each(func(r int) { fl.lives[r] = append(fl.lives[r], span{2 * fl.starts[b], open[r]}) })
	}
	for r := range fl.lives {
		fl.lives[r] = join(fl.lives[r])
	}
	return nil
}

// join sorts spans and makes one of those that touch.
func join(s []span) []span {
	slices.SortFunc(s, func(a, b span) int { return a.from - b.from })
	out := s[:0]
	for _, x := range s {
		if n := len(out); n > 0 && x.from <= out[n-1].to {
			out[n-1].to = max(out[n-1].to, x.to)
			continue
		}
		out = append(out, x)
	}
	return out
}

// meet tells whether two lives overlap.
func meet(a, b []span) bool {
	for len(a) > 0 && len(b) > 0 {
		switch {
		case a[0].to <= b[0].from:
			a = a[1:]
		case b[0].to <= a[0].from:
			b = b[1:]
		default:
			return true
		}
	}
	return false
}
