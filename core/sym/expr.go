// Package sym computes with integers that are known only at run time: the dims of
// tensors. Expressions are polynomials over symbols and over floor divisions,
// remainders, minima and maxima, kept in a normal form; a Context holds what is known
// of the symbols and proves facts from it, soundly and incompletely.
//
// Symbols are sizes: unless a Context says more they are known to be at least 0.
package sym

import (
	"errors"
	"fmt"
	"math"
	"math/bits"
	"slices"
	"sort"
	"strconv"
	"strings"
)

// Expr is an immutable integer expression in normal form. The zero value is 0.
type Expr struct{ p *poly }

// poly is a sum of terms, sorted by monomial, no coefficient 0. A nil poly is 0.
type poly struct {
	terms []term
	key   string
	bad   error // arithmetic on constants overflowed, or it grew too large: Eval gives this
}

type term struct {
	coef int64
	mono mono
	key  string // of mono
}

// mono is a product of atoms, sorted by key, repeated for powers. Empty is 1.
type mono []*atom

type atomKind uint8

const (
	symbolAtom atomKind = iota
	floorDivAtom
	modAtom
	minAtom
	maxAtom
)

// atom is a symbol or a function of expressions.
type atom struct {
	kind atomKind
	name string // of a symbol
	args []Expr
	key  string
}

// Limits on the size of an expression; beyond them it is an error when evaluated.
const (
	maxTerms  = 4096
	maxDegree = 64
)

var (
	errOverflow = errors.New("integer overflow in a symbolic expression")
	errTooLarge = errors.New("symbolic expression too large")
	errDivZero  = errors.New("division by zero in a symbolic expression")
)

// Const is a constant.
func Const(v int64) Expr {
	if v == 0 {
		return Expr{}
	}
	return fromTerms([]term{{coef: v}})
}

// Var is the symbol of a name.
func Var(name string) Expr { return ofAtom(&atom{kind: symbolAtom, name: name, key: "s" + name}) }

func ofAtom(a *atom) Expr { return fromTerms([]term{newTerm(1, mono{a})}) }

func badExpr(err error) Expr { return Expr{&poly{bad: err, key: "!" + err.Error()}} }

func (m mono) key() string {
	var b strings.Builder
	for _, a := range m {
		b.WriteString(strconv.Itoa(len(a.key)))
		b.WriteByte(':')
		b.WriteString(a.key)
	}
	return b.String()
}

func newTerm(coef int64, m mono) term { return term{coef, m, m.key()} }

// fromTerms makes an expression of sorted terms.
func fromTerms(ts []term) Expr {
	if len(ts) == 0 {
		return Expr{}
	}
	var b strings.Builder
	for _, t := range ts {
		b.WriteString(strconv.FormatInt(t.coef, 10))
		b.WriteByte('*')
		b.WriteString(t.key)
		b.WriteByte('+')
	}
	return Expr{&poly{terms: ts, key: b.String()}}
}

// collect adds up terms of one monomial and sorts, in the slice it is given.
func collect(ts []term) Expr {
	if len(ts) > maxTerms {
		return badExpr(errTooLarge)
	}
	slices.SortStableFunc(ts, func(a, b term) int {
		if len(a.mono) != len(b.mono) { // higher degree first, the constant last
			return len(b.mono) - len(a.mono)
		}
		return strings.Compare(a.key, b.key)
	})
	out := ts[:0]
	for _, t := range ts {
		n := len(out)
		if n > 0 && out[n-1].key == t.key {
			c, ok := addOK(out[n-1].coef, t.coef)
			if !ok {
				return badExpr(errOverflow)
			}
			out[n-1].coef = c
			continue
		}
		if n > 0 && out[n-1].coef == 0 {
			out = out[:n-1]
		}
		out = append(out, t)
	}
	if n := len(out); n > 0 && out[n-1].coef == 0 {
		out = out[:n-1]
	}
	return fromTerms(out)
}

func mulOK(a, b int64) (int64, bool) {
	if a == 0 || b == 0 {
		return 0, true
	}
	neg := (a < 0) != (b < 0)
	hi, lo := bits.Mul64(abs(a), abs(b))
	if hi != 0 || lo > 1<<63 || lo == 1<<63 && !neg {
		return 0, false
	}
	if neg {
		return -int64(lo), true
	}
	return int64(lo), true
}

func abs(a int64) uint64 {
	if a < 0 {
		return uint64(-a)
	}
	return uint64(a)
}

func (e Expr) terms() []term {
	if e.p == nil {
		return nil
	}
	return e.p.terms
}

func (e Expr) bad() error {
	if e.p == nil {
		return nil
	}
	return e.p.bad
}

// Sum adds up.
func Sum(list ...Expr) Expr {
	var out Expr
	for _, e := range list {
		out = out.Add(e)
	}
	return out
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
	if err := firstBad(e, f); err != nil {
		return badExpr(err)
	}
	if e.p == nil {
		return f
	}
	if f.p == nil {
		return e
	}
	return collect(append(slices.Clone(e.terms()), f.terms()...))
}

func firstBad(list ...Expr) error {
	for _, e := range list {
		if err := e.bad(); err != nil {
			return err
		}
	}
	return nil
}

// Neg is -e.
func (e Expr) Neg() Expr { return Const(-1).Mul(e) }

// Sub is e - f.
func (e Expr) Sub(f Expr) Expr { return e.Add(f.Neg()) }

// Mul is e * f.
func (e Expr) Mul(f Expr) Expr {
	if err := firstBad(e, f); err != nil {
		return badExpr(err)
	}
	if len(e.terms())*len(f.terms()) > maxTerms {
		return badExpr(errTooLarge)
	}
	var out []term
	for _, a := range e.terms() {
		for _, b := range f.terms() {
			c, ok := mulOK(a.coef, b.coef)
			if !ok {
				return badExpr(errOverflow)
			}
			if len(a.mono)+len(b.mono) > maxDegree {
				return badExpr(errTooLarge)
			}
			m := append(slices.Clone(a.mono), b.mono...)
			sort.SliceStable(m, func(i, j int) bool { return m[i].key < m[j].key })
			out = append(out, newTerm(c, m))
		}
	}
	return collect(out)
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b != 0 && (a < 0) != (b < 0) {
		q--
	}
	return q
}

func floorMod(a, b int64) int64 { return a - floorDiv(a, b)*b }

// FloorDiv is e / f rounded down. By 0 it is an error when evaluated.
func (e Expr) FloorDiv(f Expr) Expr {
	if err := firstBad(e, f); err != nil {
		return badExpr(err)
	}
	d, isConst := f.Int()
	if isConst {
		if d == 0 {
			return badExpr(errDivZero)
		}
		if n, ok := e.Int(); ok {
			if n == math.MinInt64 && d == -1 {
				return badExpr(errOverflow)
			}
			return Const(floorDiv(n, d))
		}
		if d == 1 {
			return e
		}
		if d < 0 {
			if d == math.MinInt64 {
				return ofAtom(newAtom(floorDivAtom, e, f))
			}
			return e.Neg().FloorDiv(Const(-d))
		}
		whole, rest := e.splitMultiples(d)
		if rest.p == nil {
			return whole
		}
		if _, ok := rest.Int(); ok { // in [0, d)
			return whole
		}
		// (a//b)//d = a//(b*d) for positive constants
		if a, ok := rest.loneAtom(); ok && a.kind == floorDivAtom {
			if b, ok := a.args[1].Int(); ok && b > 0 {
				if bd, ok := mulOK(b, d); ok {
					return whole.Add(a.args[0].FloorDiv(Const(bd)))
				}
			}
		}
		// a common factor of the rest and the divisor cancels
		if g := rest.content(); g > 1 {
			if g = gcd(g, d); g > 1 {
				return whole.Add(rest.divExact(g).FloorDiv(Const(d / g)))
			}
		}
		return whole.Add(ofAtom(newAtom(floorDivAtom, rest, f)))
	}
	return ofAtom(newAtom(floorDivAtom, e, f))
}

// splitMultiples gives q and r with e = d*q + r, where r has coefficients in [0, d).
func (e Expr) splitMultiples(d int64) (q, r Expr) {
	var qs, rs []term
	for _, t := range e.terms() {
		if c := floorDiv(t.coef, d); c != 0 {
			qs = append(qs, term{c, t.mono, t.key})
		}
		if c := floorMod(t.coef, d); c != 0 {
			rs = append(rs, term{c, t.mono, t.key})
		}
	}
	return fromTerms(qs), fromTerms(rs)
}

// content is the greatest common divisor of the coefficients.
func (e Expr) content() int64 {
	g := int64(0)
	for _, t := range e.terms() {
		if t.coef == math.MinInt64 {
			return 1
		}
		g = gcd(g, int64(abs(t.coef)))
	}
	return g
}

func (e Expr) divExact(g int64) Expr {
	ts := slices.Clone(e.terms())
	for i := range ts {
		ts[i].coef /= g
	}
	return fromTerms(ts)
}

func gcd(a, b int64) int64 {
	for b != 0 {
		a, b = b, a%b
	}
	return a
}

// loneAtom gives the atom that e is, if it is just one with coefficient 1.
func (e Expr) loneAtom() (*atom, bool) {
	ts := e.terms()
	if len(ts) == 1 && ts[0].coef == 1 && len(ts[0].mono) == 1 {
		return ts[0].mono[0], true
	}
	return nil, false
}

func newAtom(kind atomKind, args ...Expr) *atom {
	var b strings.Builder
	b.WriteByte("sdmnx"[kind])
	for _, a := range args {
		fmt.Fprintf(&b, "(%s)", a.Key())
	}
	return &atom{kind: kind, args: args, key: b.String()}
}

// CeilDiv is e / f rounded up.
func (e Expr) CeilDiv(f Expr) Expr { return e.Neg().FloorDiv(f).Neg() }

// Mod is e - f*floor(e/f): it has the sign of f.
func (e Expr) Mod(f Expr) Expr {
	if err := firstBad(e, f); err != nil {
		return badExpr(err)
	}
	if d, ok := f.Int(); ok {
		if d == 0 {
			return badExpr(errDivZero)
		}
		if n, ok := e.Int(); ok {
			return Const(floorMod(n, d))
		}
		if d == 1 || d == -1 {
			return Expr{}
		}
		if d > 0 {
			_, r := e.splitMultiples(d)
			if n, ok := r.Int(); ok {
				return Const(n)
			}
			e = r
		}
	}
	return ofAtom(newAtom(modAtom, e, f))
}

// Min is the smaller one.
func (e Expr) Min(f Expr) Expr { return extreme(minAtom, e, f) }

// Max is the larger one.
func (e Expr) Max(f Expr) Expr { return extreme(maxAtom, e, f) }

// extreme flattens, sorts and drops operands that a constant distance decides.
func extreme(kind atomKind, list ...Expr) Expr {
	if err := firstBad(list...); err != nil {
		return badExpr(err)
	}
	var flat []Expr
	for _, e := range list {
		if a, ok := e.loneAtom(); ok && a.kind == kind {
			flat = append(flat, a.args...)
		} else {
			flat = append(flat, e)
		}
	}
	var keep []Expr
next:
	for _, e := range flat {
		for i, k := range keep {
			if d, ok := e.Sub(k).Int(); ok {
				if kind == minAtom && d < 0 || kind == maxAtom && d > 0 {
					keep[i] = e
				}
				continue next
			}
		}
		keep = append(keep, e)
	}
	if len(keep) == 1 {
		return keep[0]
	}
	sort.SliceStable(keep, func(i, j int) bool { return keep[i].Key() < keep[j].Key() })
	return ofAtom(newAtom(kind, keep...))
}

// Broadcast is the dim that broadcasting dims a and b gives, for every pair that may
// be broadcast: equal ones, and 1 with any, 0 included.
func Broadcast(a, b Expr) Expr {
	switch {
	case a.Equal(b), b.IsInt(1):
		return a
	case a.IsInt(1):
		return b
	}
	if n, ok := a.Int(); ok && n != 1 {
		return a
	}
	if n, ok := b.Int(); ok && n != 1 {
		return b
	}
	return a.Max(b).Mul(extreme(minAtom, Const(1), a, b))
}

// Int gives the value of a constant.
func (e Expr) Int() (int64, bool) {
	if e.p == nil {
		return 0, true
	}
	if e.p.bad == nil && len(e.p.terms) == 1 && len(e.p.terms[0].mono) == 0 {
		return e.p.terms[0].coef, true
	}
	return 0, false
}

// IsInt says whether e is the constant v.
func (e Expr) IsInt(v int64) bool { n, ok := e.Int(); return ok && n == v }

// Symbol gives the name when e is just one symbol.
func (e Expr) Symbol() (string, bool) {
	if a, ok := e.loneAtom(); ok && a.kind == symbolAtom {
		return a.name, true
	}
	return "", false
}

func (e Expr) eachAtom(f func(*atom)) {
	for _, t := range e.terms() {
		for _, a := range t.mono {
			f(a)
			for _, arg := range a.args {
				arg.eachAtom(f)
			}
		}
	}
}

// Symbols gives the names of all symbols, sorted, each once.
func (e Expr) Symbols() []string {
	var out []string
	e.eachAtom(func(a *atom) {
		if a.kind == symbolAtom {
			out = append(out, a.name)
		}
	})
	sort.Strings(out)
	return slices.Compact(out)
}

// Uses says whether e mentions a symbol.
func (e Expr) Uses(name string) bool {
	found := false
	e.eachAtom(func(a *atom) { found = found || a.kind == symbolAtom && a.name == name })
	return found
}

// Key is equal for two expressions just when Equal says so.
func (e Expr) Key() string {
	if e.p == nil {
		return ""
	}
	return e.p.key
}

// Equal says whether two expressions have the same normal form.
func (e Expr) Equal(f Expr) bool { return e.p == f.p || e.Key() == f.Key() }

// Subst puts expressions in the place of symbols.
func (e Expr) Subst(get func(string) (Expr, bool)) Expr {
	if e.p == nil || e.p.bad != nil {
		return e
	}
	var out Expr
	for _, t := range e.p.terms {
		x := Const(t.coef)
		for _, a := range t.mono {
			x = x.Mul(a.subst(get))
		}
		out = out.Add(x)
	}
	return out
}

func (a *atom) subst(get func(string) (Expr, bool)) Expr {
	if a.kind == symbolAtom {
		if e, ok := get(a.name); ok {
			return e
		}
		return ofAtom(a)
	}
	args := make([]Expr, len(a.args))
	for i, x := range a.args {
		args[i] = x.Subst(get)
	}
	return build(a.kind, args)
}

// build applies an atom's function anew.
func build(kind atomKind, args []Expr) Expr {
	switch kind {
	case floorDivAtom:
		return args[0].FloorDiv(args[1])
	case modAtom:
		return args[0].Mod(args[1])
	}
	return extreme(kind, args...)
}

// Eval computes e. Overflow, division by zero and a symbol without value are errors.
func (e Expr) Eval(lookup func(string) (int64, bool)) (int64, error) {
	if e.p == nil {
		return 0, nil
	}
	if e.p.bad != nil {
		return 0, e.p.bad
	}
	sum := int64(0)
	for _, t := range e.p.terms {
		v := t.coef
		for _, a := range t.mono {
			n, err := a.eval(lookup)
			if err != nil {
				return 0, err
			}
			var ok bool
			if v, ok = mulOK(v, n); !ok {
				return 0, errOverflow
			}
		}
		var ok bool
		if sum, ok = addOK(sum, v); !ok {
			return 0, errOverflow
		}
	}
	return sum, nil
}

func addOK(a, b int64) (int64, bool) {
	c := a + b
	if a > 0 && b > 0 && c < 0 || a < 0 && b < 0 && c >= 0 {
		return 0, false
	}
	return c, true
}

func (a *atom) eval(lookup func(string) (int64, bool)) (int64, error) {
	if a.kind == symbolAtom {
		if v, ok := lookup(a.name); ok {
			return v, nil
		}
		return 0, fmt.Errorf("symbol %q has no value", a.name)
	}
	v, err := a.args[0].Eval(lookup)
	if err != nil {
		return 0, err
	}
	for _, arg := range a.args[1:] {
		w, err := arg.Eval(lookup)
		if err != nil {
			return 0, err
		}
		switch a.kind {
		case minAtom:
			v = min(v, w)
		case maxAtom:
			v = max(v, w)
		default:
			switch {
			case w == 0:
				return 0, errDivZero
			case w == -1 && v == math.MinInt64:
				return 0, errOverflow
			case a.kind == floorDivAtom:
				v = floorDiv(v, w)
			default:
				v = floorMod(v, w)
			}
		}
	}
	return v, nil
}

// Code is an expression with symbols resolved to slots, for evaluation without look-ups.
type Code struct {
	e     Expr
	slots map[string]int
}

// Compile resolves symbols to slots.
func (e Expr) Compile(slot func(string) int) *Code {
	c := &Code{e: e, slots: map[string]int{}}
	for _, s := range e.Symbols() {
		c.slots[s] = slot(s)
	}
	return c
}

// Eval computes the expression over slots.
func (c *Code) Eval(slots []int64) (int64, error) {
	if n, ok := c.e.Int(); ok {
		return n, nil
	}
	return c.e.Eval(func(s string) (int64, bool) { return slots[c.slots[s]], true })
}
