package ir

import "slices"

// Landing tells what the results of a block are made of: the value whose memory a result is, where
// a statement of the block writes that memory for it alone; nil for what is handed on. Casts and
// views have the memory of their operand.
func Landing(b *Block) []*Value {
	out := make([]*Value, len(b.Results))
	defs := map[*Value]*Stmt{}
	for _, s := range b.Stmts {
		for _, r := range s.Results {
			if r != nil {
				defs[r] = s
			}
		}
	}
	for i, v := range b.Results {
		for s := defs[v]; s != nil && (s.Kind == CastStmt || s.Kind == OpStmt && s.Op.View) && s.Args[0] != nil; s = defs[v] {
			v = s.Args[0]
		}
		if s := defs[v]; s != nil && !slices.Contains(out[:i], v) && s.Owns()[slices.Index(s.Results, v)] {
			out[i] = v
		}
	}
	return out
}

// Owns tells which results are memory of their own, and never an operand or part of one: what a
// program computes or a kernel fills, and what control flow gives, where each branch, or the body
// of a loop, writes it and hands nothing else on. Slices that a loop stacks are written to such
// memory.
func (s *Stmt) Owns() []bool {
	out := make([]bool, len(s.Results))
	switch {
	case s.Placeable():
		for i := range out {
			out[i] = true
		}
	case s.Kind == OpStmt && s.Op.Control == Branches:
		for i := range out {
			out[i] = len(s.Regions) > 0
		}
		for _, r := range s.Regions {
			for i, v := range Landing(r) {
				if i < len(out) {
					out[i] = out[i] && v != nil
				}
			}
		}
	case s.Kind == OpStmt && s.Op.Control == Repeats && len(s.Regions) == 1:
		body, carried := s.Regions[0], s.Carried()
		alone := true // else an iteration may hand on what the one before it computed
		for i, v := range Landing(body) {
			if i > 0 && i-1 < carried && v == nil {
				alone = alone && i+1 < len(body.Params) && body.Results[i] == body.Params[i+1]
			}
			if i > 0 && i-1 < len(out) {
				out[i-1] = v != nil || i-1 >= carried
			}
		}
		for i := range min(carried, len(out)) {
			out[i] = out[i] && alone
		}
	}
	for i, r := range s.Results {
		if r != nil && out[i] {
			_, out[i] = r.Type.(TensorType)
		}
	}
	return out
}

// Carried is how many values a loop carries.
func (s *Stmt) Carried() int { return max(0, len(s.Args)-2) }

// Temps are what a statement may place beside its results: the temporaries of the program that is
// called, or, of a loop, what each carried value is in every other iteration. Their types may have
// no size that is known.
func (s *Stmt) Temps() (names []string, types []Type) {
	if p, ok := s.Staged(); ok {
		for _, b := range p.Temps() {
			names, types = append(names, b.Name), append(types, s.TypeOf(b))
		}
	}
	if s.Kind == OpStmt && s.Op.Control == Repeats {
		for _, r := range s.Results[:min(len(s.Results), s.Carried())] {
			name, t := "", Type(nil)
			if r != nil {
				name, t = r.Name, r.Type
			}
			names, types = append(names, name+" in turn"), append(types, t)
		}
	}
	return names, types
}
