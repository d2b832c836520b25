package ir

import (
	"slices"

	"github.com/pitopt/pitopt/core/sym"
)

// Verifier verifies a module again and again while it changes. A statement whose types were found to go together is not
// asked again as long as it has what it had, and its operands have the types that they had; all else is looked at each time.
// So what it overlooks, Verify finds: a program, a constant or an attribute that was changed where it lies, and what follows from
// constraints on symbols that were not there.
type Verifier struct{ settled map[*Stmt]*settled }

// Verify checks a module against all Rules.
func (x *Verifier) Verify(m *Module) error {
	if x.settled == nil {
		x.settled = map[*Stmt]*settled{}
	}
	return x.verify(m)
}

// settled is all of a statement that decides whether its types go together.
type settled struct {
	op     *OpDef
	callee Callee
	attrs  Attrs
	bind   []sym.Expr
	args   []*Value
	types  []Type // of operands, then of results
}

// asBefore says whether it is known already that the types of a statement go together.
func (v *verifier) asBefore(s *Stmt) bool {
	k := v.settled[s]
	if k == nil || k.op != s.Op || k.callee != s.Callee || !same(k.attrs, s.Attrs) || !same(k.bind, s.Bind) ||
		!slices.Equal(k.args, s.Args) || len(k.types) != len(s.Args)+len(s.Results) {
		return false
	}
	for i, t := range k.types {
		if !unchanged(t, typeAt(s, i)) {
			return false
		}
	}
	return true
}

// settle notes that the types of a statement go together. What a region or a function gives may change while they stay.
func (v *verifier) settle(s *Stmt) {
	if _, function := s.Callee.(*Func); v.settled == nil || function || len(s.Regions) > 0 {
		return
	}
	k := &settled{s.Op, s.Callee, s.Attrs, s.Bind, slices.Clone(s.Args), make([]Type, len(s.Args)+len(s.Results))}
	for i := range k.types {
		k.types[i] = typeAt(s, i)
	}
	v.settled[s] = k
}

// typeAt is the type of an operand, or behind those of a result; nil: it is left out.
func typeAt(s *Stmt, i int) Type {
	list := s.Args
	if i >= len(list) {
		list, i = s.Results, i-len(list)
	}
	if list[i] == nil {
		return nil
	}
	return list[i].Type
}

// unchanged says whether a type is still what it was: nobody writes into dims that a type has.
func unchanged(a, b Type) bool {
	x, ok := a.(TensorType)
	y, ok2 := b.(TensorType)
	if !ok || !ok2 {
		return a == nil && b == nil
	}
	return x.DType == y.DType && x.Unranked == y.Unranked && same(x.Dims, y.Dims)
}

// same says whether two slices are one.
func same[T any](a, b []T) bool {
	return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0])
}
