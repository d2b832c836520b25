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
	p := programOf(s.Callee)
	if p == nil {
		return v.fail(ruleStorage, s, "its results can not be placed: it calls no program")
	}
	if len(s.Into) != len(s.Results) {
		return v.fail(ruleStorage, s, "%d storages for %d results", len(s.Into), len(s.Results))
	}
	for i, st := range s.Into {
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
		case s.Results[i] == nil:
			return v.fail(ruleStorage, s, "result %d is not asked for, and yet placed in %s", i, label(st))
		case slices.Contains(s.Into[:i], st):
			return v.fail(ruleStorage, s, "two results are placed in %s", label(st))
		}
		needs, ok := bytesOf(s.Results[i].Type)
		if !ok {
			return v.fail(ruleStorage, s, "%s of type %s has no size in bytes", label(s.Results[i]), s.Results[i].Type)
		}
		if !has.Equal(needs) && v.m.Syms.LT(has, needs) == sym.True {
			return v.fail(ruleStorage, s, "%s takes %s bytes, %s has %s", label(s.Results[i]), needs, label(st), has)
		}
		v.places = true
	}
	return nil
}

// bytesOf is the size of a tensor in bytes.
func bytesOf(t Type) (sym.Expr, bool) {
	tt, ok := t.(TensorType)
	bits := int64(tt.DType.Bits())
	if !ok || tt.Unranked || bits == 0 {
		return sym.Expr{}, false
	}
	return tt.Size().Mul(sym.Const(bits)).CeilDiv(sym.Const(8)), true
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
	gone   map[*Value]*Value   // placed values, and what took their place
}

func (l *storageLives) block(b *Block) error {
	holds := map[*Value]*Value{} // what lies in the storages of this block
	for _, s := range b.Stmts {
		if err := l.read(s, s.EachUse); err != nil {
			return err
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
			if by := l.gone[placed]; by != nil && err == nil {
				err = l.v.fail(ruleReuse, s, "%s is read, but %s is placed where it lay", label(x), label(by))
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
		for _, r := range s.Results {
			if r != nil && len(all) > 0 {
				l.shares[r] = all
			}
		}
	}
	for i, st := range s.Into {
		if st == nil {
			continue
		}
		was := holds[st]
		for _, a := range s.Args {
			if was != nil && slices.Contains(l.shares[a], was) {
				return l.v.fail(ruleReuse, s, "%s is placed in %s, where its operand %s lies", label(s.Results[i]), label(st), label(a))
			}
		}
		if was != nil {
			l.gone[was] = s.Results[i]
		}
		holds[st] = s.Results[i]
		l.shares[s.Results[i]] = []*Value{s.Results[i]}
	}
	return nil
}
