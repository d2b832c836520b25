// Package sym computes with integers that are known only at run time: the dims of
// tensors. Expressions are polynomials over symbols and over floor divisions,
// remainders, minima and maxima, kept in a normal form; a Context holds what is known
// of the symbols and proves facts from it, soundly and incompletely.
//
// Arithmetic is that of the integers: where a result does not fit int64, evaluation is
// an error and never a wrong number. Division rounds down and the remainder has the
// sign of the divisor, as in Python. Rewriting keeps the value of an expression
// wherever it has one; where it has none (a division by 0, an overflow on the way),
// the rewritten expression may have one.
package sym

import (
	"errors"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// Expr is an immutable integer expression in normal form. The zero value is 0.
// Equality with == is not equality of expressions; use Equal.
type Expr struct{ p *poly }

// poly is a sum of terms in the order of compareMono, none with coefficient 0 and no
// two with the same monomial. A nil poly is 0.
type poly struct {
	terms []term
	shape
	bad     error                    // why there is no value; then there are no terms
	symbols atomic.Pointer[[]string] // once somebody asked
}

// term is coef times a product of atoms.
type term struct {
	coef int64
	mono mono
}

// mono is a product of atoms in order, repeated for powers. The empty product is 1.
type mono []*atom

type atomKind uint8

const (
	symbolAtom atomKind = iota
	floorDivAtom
	modAtom
	minAtom
	maxAtom
)

// atom is a symbol or a function of expressions that no rule of the normal form
// takes apart.
type atom struct {
	kind atomKind
	name string // of a symbol
	args []Expr // two for divisions, two or more for minima and maxima
	shape
}

// shape is the extent of an expression as a tree.
type shape struct{ size, depth int }

// Limits of an expression. Beyond them it has no value, so that no input makes the
// algebra slow: every algorithm here is polynomial in these.
const (
	maxTerms  = 4096
	maxDegree = 64
	maxDepth  = 100
	maxSize   = 1 << 15
)

var (
	errOverflow = errors.New("integer overflow in a symbolic expression")
	errTooLarge = errors.New("symbolic expression is too large")
	errDivZero  = errors.New("division by zero in a symbolic expression")
)

// smallConsts are the constants from 0 on that most sizes and indices are.
var smallConsts = func() (list [256]Expr) {
	for v := range list[1:] {
		list[v+1] = constant(int64(v + 1))
	}
	return list
}()

// Const is a constant.
func Const(v int64) Expr {
	if v >= 0 && v < int64(len(smallConsts)) {
		return smallConsts[v]
	}
	return constant(v)
}

func constant(v int64) Expr {
	return Expr{&poly{terms: []term{{coef: v}}, shape: shape{1, 0}}}
}

// Var is the symbol of a name. Unless a Context says otherwise it is at least 0.
func Var(name string) Expr {
	vars.mu.RLock()
	e, ok := vars.of[name]
	vars.mu.RUnlock()
	if !ok {
		e = ofAtom(&atom{kind: symbolAtom, name: name, shape: shape{1, 0}})
		vars.mu.Lock()
		defer vars.mu.Unlock()
		if vars.of == nil || len(vars.of) >= maxVars {
			vars.of = map[string]Expr{}
		}
		vars.of[name] = e
	}
	return e
}

// vars are symbols that were asked for: there are few names, and each is asked for many times. What is
// the same expression is most often seen by where it is.
var vars struct {
	mu sync.RWMutex
	of map[string]Expr
}

// maxVars bounds vars.
const maxVars = 1 << 10

// invalid has no value, and nothing made of it has.
func invalid(err error) Expr { return Expr{&poly{bad: err}} }

func ofAtom(a *atom) Expr { return fromTerms([]term{{1, mono{a}}}) }

func newAtom(kind atomKind, args ...Expr) Expr {
	a := &atom{kind: kind, args: args, shape: shape{1, 1}}
	for _, x := range args {
		if x.p != nil {
			a.size += x.p.size
			a.depth = max(a.depth, x.p.depth+1)
		}
	}
	return ofAtom(a)
}

// fromTerms makes an expression of terms that are in order and distinct.
func fromTerms(ts []term) Expr {
	if len(ts) == 0 {
		return Expr{}
	}
	p := &poly{terms: ts}
	for _, t := range ts {
		p.size++
		for _, a := range t.mono {
			p.size += a.size
			p.depth = max(p.depth, a.depth)
		}
	}
	if len(ts) > maxTerms || p.size > maxSize || p.depth > maxDepth {
		return invalid(errTooLarge)
	}
	return Expr{p}
}

// collect makes an expression of terms in any order; it owns the slice.
func collect(ts []term) Expr {
	slices.SortFunc(ts, func(a, b term) int { return compareMono(a.mono, b.mono) })
	out := ts[:0]
	for i := 0; i < len(ts); {
		var sum wide
		j := i
		for ; j < len(ts) && compareMono(ts[i].mono, ts[j].mono) == 0; j++ {
			sum.add(ts[j].coef)
		}
		c, ok := sum.int64()
		if !ok {
			return invalid(errOverflow)
		}
		if c != 0 {
			out = append(out, term{c, ts[i].mono})
		}
		i = j
	}
	return fromTerms(out)
}

func (e Expr) terms() []term {
	if e.p == nil {
		return nil
	}
	return e.p.terms
}

// Err says why the expression has no value whatever its symbols are, nil if it may
// have one.
func (e Expr) Err() error {
	if e.p == nil {
		return nil
	}
	return e.p.bad
}

func firstErr(list ...Expr) error {
	for _, e := range list {
		if err := e.Err(); err != nil {
			return err
		}
	}
	return nil
}

// Sum adds up; of nothing it is 0.
func Sum(list ...Expr) Expr {
	if err := firstErr(list...); err != nil {
		return invalid(err)
	}
	n := 0
	for _, e := range list {
		n += len(e.terms())
	}
	ts := make([]term, 0, n)
	for _, e := range list {
		ts = append(ts, e.terms()...)
	}
	return collect(ts)
}

// Prod multiplies; of nothing it is 1.
func Prod(list ...Expr) Expr {
	out := Const(1)
	for _, e := range list {
		out = out.Mul(e)
	}
	return out
}

// Add is e + f.
func (e Expr) Add(f Expr) Expr {
	switch {
	case e.p == nil:
		return f
	case f.p == nil:
		return e
	}
	return Sum(e, f)
}

// Sub is e - f.
func (e Expr) Sub(f Expr) Expr {
	if e.p == f.p && e.Err() == nil {
		return Expr{}
	}
	return e.Add(f.Neg())
}

// Neg is -e.
func (e Expr) Neg() Expr { return e.scale(-1) }

// scale is c*e for c not 0.
func (e Expr) scale(c int64) Expr {
	if e.p == nil || e.p.bad != nil || c == 1 {
		return e
	}
	ts := make([]term, len(e.p.terms))
	for i, t := range e.p.terms {
		p, ok := mulInt64(t.coef, c)
		if !ok {
			return invalid(errOverflow)
		}
		ts[i] = term{p, t.mono}
	}
	return Expr{&poly{terms: ts, shape: e.p.shape}}
}

// Mul is e * f.
func (e Expr) Mul(f Expr) Expr {
	if err := firstErr(e, f); err != nil {
		return invalid(err)
	}
	if c, ok := f.Int(); ok && c != 0 {
		return e.scale(c)
	}
	if c, ok := e.Int(); ok && c != 0 {
		return f.scale(c)
	}
	if len(e.terms())*len(f.terms()) > maxTerms {
		return invalid(errTooLarge)
	}
	ts := make([]term, 0, len(e.terms())*len(f.terms()))
	for _, a := range e.terms() {
		for _, b := range f.terms() {
			c, ok := mulInt64(a.coef, b.coef)
			if !ok {
				return invalid(errOverflow)
			}
			if len(a.mono)+len(b.mono) > maxDegree {
				return invalid(errTooLarge)
			}
			ts = append(ts, term{c, a.mono.times(b.mono)})
		}
	}
	return collect(ts)
}

func (m mono) times(n mono) mono {
	if len(m) == 0 {
		return n
	}
	out := append(slices.Clone(m), n...)
	slices.SortFunc(out, compareAtom)
	return out
}

// over is the monomial m/n if n divides m.
func (m mono) over(n mono) (mono, bool) {
	if len(n) > len(m) {
		return nil, false
	}
	out := make(mono, 0, len(m)-len(n))
	for _, a := range m {
		if len(n) > 0 && compareAtom(a, n[0]) == 0 {
			n = n[1:]
		} else {
			out = append(out, a)
		}
	}
	return out, len(n) == 0
}

// over is the term t/u if u divides t.
func (t term) over(u term) (term, bool) {
	if u.coef == 0 || t.coef%u.coef != 0 || u.coef == -1 && t.coef == -t.coef {
		return term{}, false
	}
	m, ok := t.mono.over(u.mono)
	return term{t.coef / u.coef, m}, ok
}

func (t term) expr() Expr { return fromTerms([]term{t}) }

// compareExpr orders expressions; 0 means the same normal form.
func compareExpr(e, f Expr) int {
	if e.p == f.p {
		return 0
	}
	if x, y := e.Err(), f.Err(); x != nil || y != nil {
		return strings.Compare(errText(x), errText(y))
	}
	return compareTerms(e.terms(), f.terms())
}

func errText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func compareTerms(a, b []term) int {
	for i := range min(len(a), len(b)) {
		if c := compareMono(a[i].mono, b[i].mono); c != 0 {
			return c
		}
		if a[i].coef != b[i].coef {
			if a[i].coef < b[i].coef {
				return -1
			}
			return 1
		}
	}
	return len(b) - len(a) // more terms first, so that 0 comes last
}

// compareMono puts higher degrees first and the constant last.
func compareMono(m, n mono) int {
	if len(m) != len(n) {
		return len(n) - len(m)
	}
	for i := range m {
		if c := compareAtom(m[i], n[i]); c != 0 {
			return c
		}
	}
	return 0
}

func compareAtom(a, b *atom) int {
	switch {
	case a == b:
		return 0
	case a.kind != b.kind:
		return int(a.kind) - int(b.kind)
	case a.kind == symbolAtom:
		return strings.Compare(a.name, b.name)
	case len(a.args) != len(b.args):
		return len(a.args) - len(b.args)
	}
	for i := range a.args {
		if c := compareExpr(a.args[i], b.args[i]); c != 0 {
			return c
		}
	}
	return 0
}

// Int gives the value of a constant.
func (e Expr) Int() (int64, bool) {
	if e.p == nil {
		return 0, true
	}
	if ts := e.p.terms; len(ts) == 1 && len(ts[0].mono) == 0 {
		return ts[0].coef, true
	}
	return 0, false
}

// IsInt says whether e is the constant v.
func (e Expr) IsInt(v int64) bool { n, ok := e.Int(); return ok && n == v }

// Symbol gives the name if e is just one symbol.
func (e Expr) Symbol() (string, bool) {
	if a := e.loneAtom(); a != nil && a.kind == symbolAtom {
		return a.name, true
	}
	return "", false
}

// loneAtom is the atom that e is, nil if e is not one atom with coefficient 1.
func (e Expr) loneAtom() *atom {
	if ts := e.terms(); len(ts) == 1 && ts[0].coef == 1 && len(ts[0].mono) == 1 {
		return ts[0].mono[0]
	}
	return nil
}

// splitConst gives the terms of e without the constant, and the constant.
func (e Expr) splitConst() ([]term, int64) {
	ts := e.terms()
	if n := len(ts); n > 0 && len(ts[n-1].mono) == 0 {
		return ts[:n-1], ts[n-1].coef
	}
	return ts, 0
}

// eachAtom visits every atom, those in arguments of others after these, until f says
// false.
func (e Expr) eachAtom(f func(*atom) bool) bool {
	for _, t := range e.terms() {
		for _, a := range t.mono {
			if !f(a) {
				return false
			}
			for _, x := range a.args {
				if !x.eachAtom(f) {
					return false
				}
			}
		}
	}
	return true
}

// Symbols gives the names of all symbols, sorted, each once. The list must not be changed.
func (e Expr) Symbols() []string {
	if e.p == nil {
		return nil
	}
	if known := e.p.symbols.Load(); known != nil {
		return *known
	}
	var out []string
	e.eachAtom(func(a *atom) bool {
		if a.kind == symbolAtom {
			out = append(out, a.name)
		}
		return true
	})
	slices.Sort(out)
	out = slices.Clip(slices.Compact(out))
	e.p.symbols.Store(&out)
	return out
}

// Uses says whether e mentions a symbol.
func (e Expr) Uses(name string) bool {
	return !e.eachAtom(func(a *atom) bool { return a.kind != symbolAtom || a.name != name })
}

// Size counts the coefficients, symbols and functions that e is written with.
func (e Expr) Size() int {
	if e.p == nil {
		return 1
	}
	return e.p.size
}

// Equal says whether two expressions have the same normal form. Two expressions
// without value are equal when they lack it for the same reason.
func (e Expr) Equal(f Expr) bool { return compareExpr(e, f) == 0 }

// Key is the same for two expressions just when Equal says so.
func (e Expr) Key() string { return e.String() }

// Subst puts expressions in the place of symbols, all at once.
func (e Expr) Subst(get func(name string) (Expr, bool)) Expr {
	return e.replace(func(a *atom) (Expr, bool) {
		if a.kind == symbolAtom {
			return get(a.name)
		}
		return Expr{}, false
	})
}

// replace puts expressions in the place of atoms, outermost first. Most expressions stay
// as they are, so nothing is made before something changes.
func (e Expr) replace(get func(*atom) (Expr, bool)) Expr {
	if e.p == nil || e.p.bad != nil {
		return e
	}
	var same []term // the terms that stay, once one has changed
	var rest []Expr
	for i, t := range e.p.terms {
		out, changed := t.replace(get)
		switch {
		case changed && rest == nil:
			same, rest = slices.Clone(e.p.terms[:i]), append(rest, out)
		case changed:
			rest = append(rest, out)
		case rest != nil:
			same = append(same, t)
		}
	}
	if rest == nil {
		return e
	}
	return Sum(append(rest, fromTerms(same))...)
}

// replace gives the term with expressions in the place of atoms, if there are any.
func (t term) replace(get func(*atom) (Expr, bool)) (out Expr, changed bool) {
	var kept mono // the atoms that stay, once one has changed
	for i, a := range t.mono {
		x, ok := get(a)
		if !ok && a.kind != symbolAtom {
			x, ok = a.mapArgs(func(y Expr) Expr { return y.replace(get) })
		}
		switch {
		case ok && !changed:
			out, kept, changed = x.scale(t.coef), slices.Clone(t.mono[:i]), true
		case ok:
			out = out.Mul(x)
		case changed:
			kept = append(kept, a)
		}
	}
	if len(kept) > 0 {
		out = out.Mul(fromTerms([]term{{1, kept}}))
	}
	return out, changed
}

// mapArgs applies the atom's function to changed arguments, if f changes one.
func (a *atom) mapArgs(f func(Expr) Expr) (Expr, bool) {
	var args []Expr
	for i, x := range a.args {
		y := f(x)
		if args == nil && y.p != x.p {
			args = slices.Clone(a.args)
		}
		if args != nil {
			args[i] = y
		}
	}
	if args == nil {
		return Expr{}, false
	}
	return build(a.kind, args), true
}

// build applies the function of an atom kind.
func build(kind atomKind, args []Expr) Expr {
	switch kind {
	case floorDivAtom:
		return args[0].FloorDiv(args[1])
	case modAtom:
		return args[0].Mod(args[1])
	}
	return extreme(kind, args)
}
