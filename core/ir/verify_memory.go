package ir

import (
	"slices"

	"github.com/pitopt/pitopt/core/sym"
)

// memory checks what a statement says of memory: what it allocates, where its results
// are placed, and what it releases. Its results are defined already.
func (v *verifier) memory(s *Stmt) error {
	if s.Kind == OpStmt {
		switch s.Op.Name {
		case AllocName:
			return v.alloc(s)
		case ReleaseName:
			return v.release(s)
		}
	}
	if len(s.Into) == 0 {
		return nil
	}
	owns := s.Owns()
	var temps []string
	var types []Type
	if len(s.Into) > len(s.Results) {
		temps, types = s.Temps()
	}
	if len(s.Into) != len(s.Results)+len(temps) {
		return v.fail(ruleStorage, s, "%d storages for %d results and %d temporaries", len(s.Into), len(s.Results), len(temps))
	}
	for i, st := range s.Into {
		if st != nil && len(owns) > 0 && !owns[i%len(owns)] && (i < len(owns) || len(s.Regions) > 0) {
			return v.fail(ruleStorage, s, "result %d can not be placed: it may be an operand, or no program computes it", i%len(owns))
		}
		if st == nil {
			continue
		}
		if err := v.use(st, s); err != nil {
			return err
		}
		has, ok := v.bytes[st]
		switch {
		case !ok || v.visible[st] != v.depth:
			return v.fail(ruleStorage, s, "%s is no storage that this block allocates", label(st))
		case i < len(s.Results) && s.Results[i] == nil:
			return v.fail(ruleStorage, s, "result %d is not asked for, and yet placed in %s", i, label(st))
		}
		what, t := "", Type(nil)
		if i < len(s.Results) {
			what, t = label(s.Results[i]), s.Results[i].Type
		} else {
			what, t = "temporary "+temps[i-len(s.Results)], types[i-len(s.Results)]
		}
		needs, ok := BytesOf(t)
		if !ok {
			return v.fail(ruleStorage, s, "%s of type %s has no size in bytes", what, t)
		}
		if !has.Equal(needs) && v.m.Syms.LT(has, needs) == sym.True {
			return v.fail(ruleStorage, s, "%s takes %s bytes, %s has %s", what, needs, label(st), has)
		}
		v.places = true
	}
	return nil
}

func (v *verifier) alloc(s *Stmt) error {
	bytes, ok := s.AllocBytes()
	if !ok {
		return v.fail(ruleStorage, s, "bytes = %q is no size", s.Attrs.Get("bytes"))
	}
	if err := checkDim(bytes); err != nil {
		return v.fail(ruleStorage, s, "bytes = %q %v", s.Attrs.Get("bytes"), err)
	}
	if missing := v.scope.Missing(bytes); missing != "" {
		return v.fail(ruleSymbols, s, "nothing tells the symbol %q of bytes = %q here", missing, s.Attrs.Get("bytes"))
	}
	if len(s.Results) != 1 || s.Results[0] == nil {
		return v.fail(ruleStorage, s, "an allocation that nobody has")
	}
	v.bytes[s.Results[0]] = bytes
	return nil
}

func (v *verifier) release(s *Stmt) error {
	for i, a := range s.Args {
		switch {
		case a == nil:
			return v.fail(ruleComplete, s, "operand %d is missing", i)
		case v.visible[a] != v.depth || v.released[a]: // a constant is not visible
			return v.fail(ruleReleased, s, "%s is released twice, or not where it is defined", label(a))
		}
		v.released[a] = true
	}
	return nil
}

// storageLives follows what lies in the storages of a function, whose statements are
// otherwise valid. What may share memory with a value: a cast or a view of it, and
// whatever an operator may hand on, which is not computed by a program.
type storageLives struct {
	v      *verifier
	shares map[*Value][]*Value // values placed in storages whose memory a value may share
	gone   map[*Value]string   // placed values, and what took their place
	reads  map[Callee]map[*Buffer]int
}

func (l *storageLives) block(b *Block) error {
	holds := map[*Value]*Value{} // what lies in the storages of this block
	for _, s := range b.Stmts {
		if s.Kind == OpStmt && s.Op.Name == ReleaseName { // gives memory up, and does not look at it
			continue
		}
		if err := l.read(s, s.EachUse); err != nil {
			return err
		}
		if len(s.Regions) > 0 {
			for i, st := range s.Into { // what regions compute is written there while they run
				if was := holds[st]; st != nil && was != nil {
					name := "temporary"
					if i < len(s.Results) {
						name = label(s.Results[i])
					}
					l.gone[was] = name
				}
			}
		}
		for _, r := range s.Regions {
			if err := l.block(r); err != nil {
				return err
			}
		}
		if err := l.stmt(s, holds); err != nil {
			return err
		}
	}
	return l.read(nil, func(visit func(*Value)) {
		for _, r := range b.Results {
			visit(r)
		}
	})
}

// read checks that what is read is still there.
func (l *storageLives) read(s *Stmt, each func(func(*Value))) (err error) {
	each(func(x *Value) {
		for _, placed := range l.shares[x] {
			if by := l.gone[placed]; by != "" && err == nil {
				err = l.v.fail(ruleReuse, s, "%s is read, but %s is placed where it lay", label(x), by)
			}
		}
	})
	return err
}

func (l *storageLives) stmt(s *Stmt, holds map[*Value]*Value) error {
	switch {
	case s.Kind == CastStmt || s.Kind == OpStmt && s.Op.View:
		if s.Results[0] != nil && s.Args[0] != nil {
			l.shares[s.Results[0]] = l.shares[s.Args[0]]
		}
	case s.MayHandOn():
		var all []*Value
		s.EachUse(func(x *Value) { all = append(all, l.shares[x]...) })
		owns := s.Owns()
		for i, r := range s.Results { // what is handed on may be another result, too
			if r != nil && owns[i] && i < len(s.Into) && s.Into[i] != nil {
				all = append(all, r)
			}
		}
		for i, r := range s.Results {
			if r != nil && len(all) > 0 && !owns[i] {
				l.shares[r] = all
			}
		}
	}
	if len(s.Into) == 0 {
		return nil
	}
	p, ok := s.Staged()
	if !ok {
		return l.placeAll(s, holds)
	}
	together := s.Together()
	c := &placedCall{l: l, s: s, p: p, together: together, last: l.lastReads(s.Callee, p, together), holds: holds, inside: map[*Value]*Buffer{}}
	for i, stage := range p.Stages {
		if err := c.stage(stage, i); err != nil {
			return err
		}
	}
	return nil
}

// placeAll places the results of a statement whose order only the one that runs it knows:
// none lies where an operand does, or another result.
func (l *storageLives) placeAll(s *Stmt, holds map[*Value]*Value) error {
	for i, st := range s.Into {
		if st == nil {
			continue
		}
		if slices.Contains(s.Into[:i], st) {
			return l.v.fail(ruleReuse, s, "two results are placed in %s", label(st))
		}
		was := holds[st]
		for _, a := range s.Args {
			if was != nil && slices.Contains(l.shares[a], was) {
				return l.v.fail(ruleReuse, s, "what it computes is placed in %s, where its operand %s lies", label(st), label(a))
			}
		}
		if i >= len(s.Results) { // of a loop that has ended
			delete(holds, st)
			continue
		}
		if was != nil {
			l.gone[was] = label(s.Results[i])
		}
		holds[st] = s.Results[i]
		l.shares[s.Results[i]] = []*Value{s.Results[i]}
	}
	return nil
}

// lastReads tells which stage of a program reads a buffer last, or is done with it last.
func (l *storageLives) lastReads(callee Callee, p *Program, together []Range) map[*Buffer]int {
	last, ok := l.reads[callee]
	if !ok {
		last = map[*Buffer]int{}
		for i, stage := range p.Stages {
			for _, b := range stage.Reads() {
				last[b] = together[i].Last
			}
		}
		l.reads[callee] = last
	}
	return last
}

// placedCall is a call of a program that places what it computes.
type placedCall struct {
	l        *storageLives
	s        *Stmt
	p        *Program
	together []Range
	last     map[*Buffer]int
	holds    map[*Value]*Value  // values in the storages
	inside   map[*Value]*Buffer // buffers of the program in the storages
}

// into is the storage of a buffer and what to call the buffer, nil where it is not placed.
func (c *placedCall) into(b *Buffer) (st *Value, name string) {
	i := slices.Index(c.p.Results, b)
	if i >= 0 {
		if st = c.s.Into[i]; st != nil {
			name = label(c.s.Results[i])
		}
		return st, name
	}
	if len(c.s.Into) == len(c.s.Results) {
		return nil, ""
	}
	return c.s.Into[len(c.s.Results)+slices.Index(c.p.Temps(), b)], "temporary " + b.Name
}

// stage checks that what a stage writes takes the place of nothing that is read later, nor
// by the stage itself, unless it may write in place.
func (c *placedCall) stage(stage *Stage, n int) error {
	written := map[*Value]bool{}
	for _, b := range stage.Outs {
		st, name := c.into(b)
		if st == nil {
			continue
		}
		if written[st] {
			return c.l.v.fail(ruleReuse, c.s, "two results of a stage are placed in %s", label(st))
		}
		written[st] = true
		free := func(old *Buffer) bool {
			last, read := c.last[old]
			r := c.together[n]
			return !read || last < r.First || last == n && r.First == n && stage.InPlace(old)
		}
		if old := c.inside[st]; old != nil {
			if !free(old) {
				return c.l.v.fail(ruleReuse, c.s, "%s is placed in %s, where %s of its program lies", name, label(st), old.Name)
			}
			if i := slices.Index(c.p.Results, old); i >= 0 {
				c.l.gone[c.s.Results[i]] = name
			}
		} else if was := c.holds[st]; was != nil {
			for i, a := range c.s.Args {
				if slices.Contains(c.l.shares[a], was) && !free(c.p.Params[i]) {
					return c.l.v.fail(ruleReuse, c.s, "%s is placed in %s, where its operand %s lies", name, label(st), label(a))
				}
			}
			c.l.gone[was] = name
		}
		c.inside[st] = b
		delete(c.holds, st)
		if i := slices.Index(c.p.Results, b); i >= 0 {
			r := c.s.Results[i]
			c.holds[st] = r
			c.l.shares[r] = []*Value{r}
		}
	}
	return nil
}
