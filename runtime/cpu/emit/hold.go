package emit

import (
	"github.com/pitopt/pitopt/runtime/kernel"
)

// hold puts constants and addresses of buffers in registers around an innermost loop, as many as its values leave:
// from memory they take turns with what the loop loads. What it gives ends that.
func (e *emitter) hold(l *kernel.Loop) (end func()) {
	var held []*kernel.Value
	end = func() {
		for _, a := range held {
			delete(e.regs, a)
		}
	}
	for _, v := range l.Body.List {
		if v.Op == kernel.OpLoop {
			return end
		}
	}
	free := e.vectors() - 2 - len(l.Carries) - most(l.Body) // two for what instructions need beside their results
	bases := mostBases
	for _, v := range l.Body.List {
		for _, a := range v.Args {
			if _, ok := e.regs[a]; ok {
				continue
			}
			switch {
			case a.Op == kernel.OpBase && bases > 0:
				bases--
			case a.Op == kernel.OpConst && (a.Kind == kernel.F32 || a.Kind == kernel.I32) && a.N != 0 && free > 0:
				free--
			default:
				continue
			}
			e.regs[a] = e.reg(a)
			held = append(held, a)
		}
	}
	return end
}

// mostBases leaves the positions and ends of some loops, and other addresses, their registers.
const mostBases = 5

// vectors is how many registers there are for vectors.
func (e *emitter) vectors() int {
	if e.v4 {
		return 32
	}
	return 16
}

// most is how many vectors are alive at once in a block, with those that come from outside.
func most(b *kernel.Block) (n int) {
	vector := func(v *kernel.Value) bool {
		return v.Op != kernel.OpConst && v.Kind != kernel.None && v.Kind != kernel.Int && v.Kind != kernel.Addr
	}
	own, last := map[*kernel.Value]bool{}, map[*kernel.Value]int{}
	alive := 0
	for i, v := range b.List {
		own[v] = true
		for _, a := range v.Args {
			if vector(a) {
				if _, ok := last[a]; !ok && !own[a] {
					alive++ // all along
				}
				last[a] = i
			}
		}
	}
	n = alive
	for i, v := range b.List {
		if _, used := last[v]; used {
			alive++
		}
		n = max(n, alive)
		for _, a := range v.Args {
			if own[a] && vector(a) && last[a] == i {
				last[a] = -1
				alive--
			}
		}
	}
	return n
}
