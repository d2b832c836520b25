package x86

import (
	"bytes"
	"fmt"
)

// replay checks an allocation without looking at how it was made: it follows, through all
// ways that the program can take, which register of the program that came in each real
// register and each slot of scratch holds, and every instruction must find its own.
func (a *allocator) replay() error {
	r := &replayer{allocator: a, slot: map[int64]int{}}
	for _, at := range a.slots {
		r.slot[int64(at)] = reals + len(r.slot)
	}
	fl := a.flow
	n := len(fl.starts) - 1
	in := make([][]int, n)
	if n == 0 {
		return nil
	}
	in[0] = make([]int, reals+len(r.slot))
	for i := range in[0] {
		in[0][i] = nothing
	}
	for _, k := range []Reg{ArgBase, ScratchBase} {
		in[0][number(k)] = number(k)
	}
	work := []int{0}
	for len(work) > 0 {
		b := work[len(work)-1]
		work = work[:len(work)-1]
		r.state = append(r.state[:0], in[b]...)
		for i := fl.starts[b]; i < fl.starts[b+1]; i++ {
			r.step(i)
		}
		for _, c := range fl.next[b] {
			changed := false
			if in[c] == nil {
				in[c], changed = append([]int(nil), r.state...), true
			}
			for l, v := range r.state {
				if in[c][l] != v && in[c][l] != nothing {
					in[c][l], changed = nothing, true
				}
			}
			if changed {
				work = append(work, c)
			}
		}
	}
	for b := range n {
		if in[b] == nil {
			continue // never reached
		}
		r.state = append(r.state[:0], in[b]...)
		for i := fl.starts[b]; i < fl.starts[b+1]; i++ {
			r.wrong = nil
			r.step(i)
			if r.wrong != nil {
				return fmt.Errorf("x86: %s: the register allocator made a mistake: instruction %d: %s: %w",
					a.from.Name, i, a.work.Insts[i].text(nil, nil), r.wrong)
			}
		}
	}
	return nil
}

const nothing = -1

// replayer is where replaying is: the state says for each real register and slot
// which register of the first program it holds, by number.
type replayer struct {
	*allocator
	slot  map[int64]int
	state []int
	wrong error

	// What stands where in an instruction: registers of the first program, in the order of
	// access, and their places; and which of them are written.
	before  []Reg
	after   []int
	written []int
}

// holds notes a mistake if a place does not hold a register.
func (r *replayer) holds(place int, of Reg) {
	if place == nothing {
		return // a constant
	}
	if r.state[place] != number(of) && r.wrong == nil {
		r.wrong = fmt.Errorf("it reads a place that does not hold %s", of)
	}
}

// becomes: the register is written, and this place alone has the new value.
func (r *replayer) becomes(place int, of Reg) {
	for l, v := range r.state {
		if v == number(of) {
			r.state[l] = nothing
		}
	}
	r.state[place] = number(of)
}

// spillSlot is the place of a memory operand that is a slot.
func (r *replayer) spillSlot(o Operand) (int, bool) {
	m, ok := o.(Mem)
	if !ok || m.Base != ScratchBase || m.Index != NoReg {
		return 0, false
	}
	l, ok := r.slot[m.Disp]
	if ok {
		r.holds(number(ScratchBase), ScratchBase)
	}
	return l, ok
}

// isConstant tells whether memory has what a register would hold.
func (r *replayer) isConstant(o Reg, x Operand, s *argSpec) bool {
	m, ok := x.(Mem)
	maker, made := r.made[number(o)]
	if !ok || !made || m.sym <= 0 || r.from.Insts[maker].Args[0].(Reg).whole() != o.whole() {
		return false
	}
	n := s.mem / 8
	data := r.work.consts[m.sym-1].data[m.Disp:]
	if m.Bcast {
		data = bytes.Repeat(data[:s.bcast/8], n/(s.bcast/8))
	}
	return len(data) >= n && bytes.Equal(data[:n], r.from.contents(&r.from.Insts[maker], n))
}

// step follows an instruction.
func (r *replayer) step(i int) {
	in, src := &r.work.Insts[i], r.sources[i]
	was := &r.from.Insts[src.at]
	bad := func() {
		if r.wrong == nil {
			r.wrong = fmt.Errorf("it is not what became of %s", was.text(nil, nil))
		}
	}
	switch src.kind {
	case dropped:
		to, from, _ := was.copied()
		r.holds(number(src.reg), from)
		r.becomes(number(src.reg), to)
		return
	case loaded, stored:
		at, where := 1, 0
		if src.kind == stored {
			at, where = 0, 1
		}
		l, ok := r.spillSlot(in.Args[at])
		if !ok {
			bad()
			return
		}
		t := number(in.Args[where].(Reg))
		if src.kind == loaded {
			r.holds(l, src.reg)
			r.state[t] = r.state[l]
		} else {
			r.holds(t, src.reg)
			r.state[l] = r.state[t]
		}
		return
	case remade:
		to, ok := in.Args[0].(Reg)
		if !ok || in.Op != was.Op {
			bad()
			return
		}
		r.state[number(to)] = number(src.reg)
		return
	}
	if in.Op != was.Op || len(in.Args) != len(was.Args) {
		bad()
		return
	}
	if was.Op == nil {
		return
	}
	before, after, written := r.before[:0], r.after[:0], r.written[:0]
	both := func(x, y Reg) {
		if x == NoReg && y == NoReg {
			return
		}
		if x.Kind() != y.Kind() || !x.Virtual() && x != y || y.Virtual() {
			bad()
			return
		}
		before, after = append(before, x), append(after, number(y))
	}
	for j, o := range was.Args {
		switch o := o.(type) {
		case Reg:
			if l, ok := r.spillSlot(in.Args[j]); ok {
				before, after = append(before, o), append(after, l)
			} else if r.isConstant(o, in.Args[j], &r.flow.forms[i].args[j]) {
				before, after = append(before, o), append(after, nothing)
			} else if y, ok := in.Args[j].(Reg); ok {
				both(o, y)
			} else {
				bad()
			}
		case Masked:
			y, ok := in.Args[j].(Masked)
			if !ok || y.Zero != o.Zero {
				bad()
				return
			}
			both(o.Reg, y.Reg)
			both(o.Mask, y.Mask)
		case Mem:
			y, ok := in.Args[j].(Mem)
			same := y
			same.Base, same.Index, same.Mask = o.Base, o.Index, o.Mask
			if !ok || same != o {
				bad()
				return
			}
			both(o.Base, y.Base)
			both(o.Index, y.Index)
			both(o.Mask, y.Mask)
		default:
			if in.Args[j] != o {
				bad()
			}
		}
	}
	form := r.forms[src.at]
	for _, x := range form.reads {
		both(x, x)
	}
	for _, x := range form.writes {
		both(x, x)
	}
	if form.self && sameSources(was.Args) && !sameSources(in.Args) {
		bad()
		return
	}
	j := 0
	access(was, form, func(x Reg, read, write bool) {
		if j >= len(before) || before[j] != x {
			bad()
			return
		}
		if read {
			r.holds(after[j], x)
		}
		if write {
			written = append(written, j)
		}
		j++
	})
	for _, j := range written {
		r.becomes(after[j], before[j])
	}
	r.before, r.after, r.written = before, after, written
}
