package emu

import "slices"

// maxLoops is how deep loops in one another are looked for; what is deeper keeps its order.
const maxLoops = 32

// order numbers the instructions of a function in a weak topological order of its control flow:
// each comes behind those that lead to it, but for the ways back in loops, and what is in a loop
// lies together, before what follows the loop. The group of lanes that is first in it has no way to meet
// the others but ahead of them, so it is the one that runs.
func order(code []instr) {
	// Basic blocks.
	leader := make([]bool, len(code)+1)
	if len(code) == 0 {
		return
	}
	leader[0] = true
	for i := range code {
		switch code[i].kind {
		case branchInstr:
			leader[code[i].target], leader[i+1] = true, true
		case exitInstr:
			leader[i+1] = true
		}
	}
	blockOf := make([]int, len(code))
	var starts []int
	for i := range code {
		if leader[i] {
			starts = append(starts, i)
		}
		blockOf[i] = len(starts) - 1
	}
	succ := make([][]int, len(starts))
	for b := range starts {
		end := len(code)
		if b+1 < len(starts) {
			end = starts[b+1]
		}
		last := &code[end-1]
		if end < len(code) && !(last.guard < 0 && (last.kind == branchInstr || last.kind == exitInstr)) {
			succ[b] = append(succ[b], b+1)
		}
		if last.kind == branchInstr {
			succ[b] = append(succ[b], blockOf[last.target])
		}
	}
	rank := int32(0)
	in := make([]int, len(starts)) // the call of components that a block belongs to
	calls := 0
	emit := func(b int) {
		end := len(code)
		if b+1 < len(starts) {
			end = starts[b+1]
		}
		for i := starts[b]; i < end; i++ {
			code[i].order = rank
			rank++
		}
		in[b] = -1
	}
	// A list of work, so that depth in the text is not depth of the stack.
	type work struct {
		nodes []int
		emit  int // a block to number, where nodes is nil
		depth int
	}
	all := make([]int, len(starts))
	for i := range all {
		all[i] = i
	}
	todo := []work{{nodes: all}}
	for len(todo) > 0 {
		t := todo[len(todo)-1]
		todo = todo[:len(todo)-1]
		if t.nodes == nil {
			emit(t.emit)
			continue
		}
		calls++
		for _, n := range t.nodes {
			in[n] = calls
		}
		comps := components(t.nodes, succ, func(n int) bool { return in[n] == calls })
		// components are in reverse topological order: the last goes on the stack first.
		for _, c := range comps {
			head := c[0]
			for _, n := range c {
				head = min(head, n)
			}
			if len(c) == 1 {
				todo = append(todo, work{emit: head})
				continue
			}
			// The loop without its head, and before it the head.
			rest := make([]int, 0, len(c)-1)
			for _, n := range c {
				if n != head {
					rest = append(rest, n)
				}
			}
			if t.depth >= maxLoops {
				slices.Sort(rest)
				for i := len(rest) - 1; i >= 0; i-- {
					todo = append(todo, work{emit: rest[i]})
				}
				todo = append(todo, work{emit: head})
				continue
			}
			todo = append(todo, work{nodes: rest, depth: t.depth + 1}, work{emit: head})
		}
	}
}

// components gives the strongly connected components of the nodes, each behind those it leads to.
func components(nodes []int, succ [][]int, inside func(int) bool) [][]int {
	index := map[int]int{}
	low := map[int]int{}
	on := map[int]bool{}
	var stack []int
	var out [][]int
	type frame struct{ n, i int }
	next := 1
	for _, root := range nodes {
		if index[root] != 0 {
			continue
		}
		frames := []frame{{root, 0}}
		index[root], low[root] = next, next
		next++
		stack, on[root] = append(stack, root), true
		for len(frames) > 0 {
			f := &frames[len(frames)-1]
			if f.i < len(succ[f.n]) {
				s := succ[f.n][f.i]
				f.i++
				switch {
				case !inside(s):
				case index[s] == 0:
					index[s], low[s] = next, next
					next++
					stack, on[s] = append(stack, s), true
					frames = append(frames, frame{s, 0})
				case on[s]:
					low[f.n] = min(low[f.n], index[s])
				}
				continue
			}
			n := f.n
			frames = frames[:len(frames)-1]
			if len(frames) > 0 {
				p := frames[len(frames)-1].n
				low[p] = min(low[p], low[n])
			}
			if low[n] != index[n] {
				continue
			}
			var c []int
			for {
				m := stack[len(stack)-1]
				stack = stack[:len(stack)-1]
				on[m] = false
				c = append(c, m)
				if m == n {
					break
				}
			}
			out = append(out, c)
		}
	}
	return out
}
