package ir

import (
	"maps"
	"slices"

	"github.com/pitopt/pitopt/core/sym"
)

// Scope is the set of symbols that have a value at a point of a function. It grows with
// the types that values are bound to, exactly as Env.Bind gives symbols values in a run.
// The zero value is empty.
type Scope struct {
	has map[string]bool
	log []string // in the order in which they got their values
}

// Has says whether the symbol has a value.
func (s *Scope) Has(symbol string) bool { return s.has[symbol] }

// Missing gives a symbol of e that has no value, "" when all have one.
func (s *Scope) Missing(e sym.Expr) string {
	for _, name := range e.Symbols() {
		if !s.Has(name) {
			return name
		}
	}
	return ""
}

// Mark remembers how many symbols have values, for Reset and Since.
func (s *Scope) Mark() int { return len(s.log) }

// Since gives the symbols that got values since a mark, in order.
func (s *Scope) Since(mark int) []string { return s.log[mark:] }

// Reset takes back the values that were given since a mark.
func (s *Scope) Reset(mark int) {
	for _, name := range s.log[mark:] {
		delete(s.has, name)
	}
	s.log = s.log[:mark]
}

// clone is a copy that grows on its own.
func (s *Scope) clone() Scope { return Scope{maps.Clone(s.has), slices.Clone(s.log)} }

func (s *Scope) add(symbol string) {
	if s.Has(symbol) {
		return
	}
	if s.has == nil {
		s.has = map[string]bool{}
	}
	s.has[symbol] = true
	s.log = append(s.log, symbol)
}

// Bind gives values to the symbols that values of the types tell: those that are a dim by
// themselves, and those that a dim is linear in, once the dim's other symbols have values.
// What a sequence or an optional holds tells nothing: each element has sizes of its own.
func (s *Scope) Bind(types ...Type) {
	var open []sym.Expr
	for _, t := range types {
		EachOwnDim(t, func(d sym.Expr) {
			if name, ok := d.Symbol(); ok {
				s.add(name)
			} else if _, fixed := d.Int(); !fixed {
				open = append(open, d)
			}
		})
	}
	for n := -1; n != len(s.log); {
		n = len(s.log)
		for _, d := range open {
			if name, ok := s.solvable(d); ok {
				s.add(name)
			}
		}
	}
}

// Params binds parameters, which come in together.
func (s *Scope) Params(params []*Value) {
	types := make([]Type, len(params))
	for i, p := range params {
		types[i] = p.Type
	}
	s.Bind(types...)
}

// Results binds what a statement gives, one result after the other.
func (s *Scope) Results(results []*Value) {
	for _, r := range results {
		if r != nil {
			s.Bind(r.Type)
		}
	}
}

// solvable gives the symbol that d = n has a solution for, whatever n is: the only one
// without a value, in which d is linear.
func (s *Scope) solvable(d sym.Expr) (string, bool) {
	open := ""
	for _, name := range d.Symbols() {
		if !s.Has(name) {
			if open != "" {
				return "", false
			}
			open = name
		}
	}
	return open, open != "" && linearIn(d, open)
}

// linearIn says whether e changes by the same amount, other than 0, with every step of a
// symbol, whatever the others are.
func linearIn(e sym.Expr, symbol string) bool {
	at := func(x sym.Expr) sym.Expr {
		return e.Subst(func(name string) (sym.Expr, bool) { return x, name == symbol })
	}
	zero := at(sym.Const(0))
	k, ok := at(sym.Const(1)).Sub(zero).Int()
	return ok && k != 0 && e.Equal(zero.Add(sym.Var(symbol).Mul(sym.Const(k))))
}
