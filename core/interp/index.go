package interp

import (
	"fmt"
	"math"
	"slices"

	"github.com/pitopt/pitopt/core/ir"
)

// A form is an i64 expression as a constant plus multiples of atoms. Sizes are numbers
// here, so what a model says with products, quotients and remainders mostly melts into
// multiples of axes: the address of a reshaped tensor is its flat position again.
type form struct {
	c     int64
	terms []term // by atom, no zero factor
}

type term struct {
	atom int
	k    int64
}

// atom is what forms are made of.
type atom struct {
	kind atomKind
	axis int        // axisAtom
	of   form       // quotAtom, remAtom: of divided by a positive constant
	by   int64      //
	expr *ir.Scalar // exprAtom
	span span
}

type atomKind uint8

const (
	axisAtom atomKind = iota // the position along an axis
	quotAtom                 // floor(of / by)
	remAtom                  // of - by*floor(of / by)
	exprAtom                 // anything else
)

// span is the range of an integer, both ends included. An end that is the least or
// greatest int64 is unknown.
type span struct{ lo, hi int64 }

var anywhere = span{math.MinInt64, math.MaxInt64}

func (s span) known() bool { return s.lo != math.MinInt64 && s.hi != math.MaxInt64 }

// within says whether the span surely lies in 0 .. n-1.
func (s span) within(n int64) bool { return s.known() && s.lo >= 0 && s.hi < n }

func (s span) add(t span) span {
	lo, ok1 := addInt(s.lo, t.lo)
	hi, ok2 := addInt(s.hi, t.hi)
	if !s.known() || !t.known() || !ok1 || !ok2 {
		return anywhere
	}
	return span{lo, hi}
}

func (s span) mul(k int64) span {
	lo, ok1 := mulInt(s.lo, k)
	hi, ok2 := mulInt(s.hi, k)
	if !s.known() || !ok1 || !ok2 {
		return anywhere
	}
	return span{min(lo, hi), max(lo, hi)}
}

func addInt(a, b int64) (int64, bool) {
	s := a + b
	return s, (s > a) == (b > 0)
}

func mulInt(a, b int64) (int64, bool) {
	if a == 0 || b == 0 {
		return 0, true
	}
	p := a * b
	return p, p/b == a && !(a == -1 && b == math.MinInt64) && !(b == -1 && a == math.MinInt64)
}

// floorDiv and floorMod round towards minus infinity; by zero they give 0.
func floorDiv(a, b int64) int64 {
	if b == 0 {
		return 0
	}
	q := a / b
	if a%b != 0 && (a < 0) != (b < 0) {
		q--
	}
	return q
}

func floorMod(a, b int64) int64 {
	if b == 0 {
		return 0
	}
	r := a % b
	if r != 0 && (r < 0) != (b < 0) {
		r += b
	}
	return r
}

func constForm(n int64) form { return form{c: n} }

// constant says whether the form is a number.
func (f form) constant() bool { return len(f.terms) == 0 }

// factor gives the factor of an atom.
func (f form) factor(a int) int64 {
	for _, t := range f.terms {
		if t.atom == a {
			return t.k
		}
	}
	return 0
}

// plus is f + k*g.
func (f form) plus(g form, k int64) form {
	if k == 0 {
		return f
	}
	out := form{c: f.c + k*g.c, terms: make([]term, 0, len(f.terms)+len(g.terms))}
	i, j := 0, 0
	for i < len(f.terms) || j < len(g.terms) {
		switch {
		case j == len(g.terms) || i < len(f.terms) && f.terms[i].atom < g.terms[j].atom:
			out.terms = append(out.terms, f.terms[i])
			i++
		case i == len(f.terms) || g.terms[j].atom < f.terms[i].atom:
			out.terms = append(out.terms, term{g.terms[j].atom, k * g.terms[j].k})
			j++
		default:
			out.terms = append(out.terms, term{f.terms[i].atom, f.terms[i].k + k*g.terms[j].k})
			i, j = i+1, j+1
		}
	}
	out.terms = slices.DeleteFunc(out.terms, func(t term) bool { return t.k == 0 })
	return out
}

// span gives the range of a form.
func (c *compiler) span(f form) span {
	s := span{f.c, f.c}
	for _, t := range f.terms {
		s = s.add(c.atoms[t.atom].span.mul(t.k))
	}
	return s
}

// atomForm is the form of an atom, known by its key.
func (c *compiler) atomForm(key any, a atom) form {
	id, ok := c.atomIDs[key]
	if !ok {
		id = len(c.atoms)
		c.atoms = append(c.atoms, a)
		c.atomIDs[key] = id
	}
	return form{terms: []term{{id, 1}}}
}

// axisForm is the position along an axis.
func (c *compiler) axisForm(a *ir.Axis) form {
	i := c.axisIndex[a]
	return c.atomForm(a, atom{kind: axisAtom, axis: i, span: span{0, max(c.extents[i]-1, 0)}})
}

// formOf takes an i64 expression apart.
func (c *compiler) formOf(x *ir.Scalar) form {
	if f, ok := c.forms[x]; ok {
		return f
	}
	f := c.takeApart(x)
	c.forms[x] = f
	return f
}

func (c *compiler) takeApart(x *ir.Scalar) form {
	arg := func(i int) form { return c.formOf(x.Args[i]) }
	switch x.Op {
	case ir.OpLit:
		return constForm(x.Lit.Int(0))
	case ir.OpSym:
		return constForm(c.eval(x.Sym))
	case ir.OpAxis:
		return c.axisForm(x.Axis)
	case ir.OpBcast:
		return c.bcast(x)
	case ir.OpAdd:
		return arg(0).plus(arg(1), 1)
	case ir.OpSub:
		return arg(0).plus(arg(1), -1)
	case ir.OpNeg:
		return form{}.plus(arg(0), -1)
	case ir.OpMul:
		a, b := arg(0), arg(1)
		if a.constant() {
			a, b = b, a
		}
		if b.constant() {
			return form{}.plus(a, b.c)
		}
	case ir.OpFloorDiv, ir.OpMod, ir.OpDiv, ir.OpRem:
		a, b := arg(0), arg(1)
		floors := x.Op == ir.OpFloorDiv || x.Op == ir.OpMod
		if s := c.span(a); b.constant() && b.c > 0 && (floors || s.known() && s.lo >= 0) {
			q, r := c.divide(a, b.c)
			if x.Op == ir.OpDiv || x.Op == ir.OpFloorDiv {
				return q
			}
			return r
		}
	}
	return c.atomForm(x, atom{kind: exprAtom, expr: x, span: anywhere})
}

// bcast is the index along a dim that is 1, or the extent of what indexes it.
func (c *compiler) bcast(x *ir.Scalar) form {
	dim, extent := c.formOf(x.Args[1]).c, c.formOf(x.Args[2]).c
	switch {
	case dim == extent:
		return c.formOf(x.Args[0])
	case dim != 1:
		c.fail("the shapes do not broadcast: a dim is %d where %d is wanted, and only a dim of 1 is repeated", dim, extent)
	}
	return form{}
}

// divide gives floor(f/by) and the remainder, by > 0.
func (c *compiler) divide(f form, by int64) (quot, rem form) {
	rest := f
	if c.span(f).known() { // nothing wraps around: multiples of by can be taken out
		quot.c = floorDiv(f.c, by)
		rest = form{c: floorMod(f.c, by)}
		for _, t := range f.terms {
			if t.k%by == 0 {
				quot.terms = append(quot.terms, term{t.atom, t.k / by})
			} else {
				rest.terms = append(rest.terms, t)
			}
		}
	}
	s := c.span(rest)
	if s.within(by) {
		return quot, rest
	}
	q, key := anywhere, fmt.Sprint(rest, by)
	if s.known() {
		q = span{floorDiv(s.lo, by), floorDiv(s.hi, by)}
	}
	quot = quot.plus(c.atomForm("quot "+key, atom{kind: quotAtom, of: rest, by: by, span: q}), 1)
	rem = c.atomForm("rem "+key, atom{kind: remAtom, of: rest, by: by, span: span{0, by - 1}})
	return quot, rem
}

// join puts quotients and remainders together again: by*floor(f/by) + f mod by = f.
func (c *compiler) join(f form) form {
again:
	for _, t := range f.terms {
		q := c.atoms[t.atom]
		if q.kind != quotAtom || t.k%q.by != 0 {
			continue
		}
		rem, ok := c.atomIDs["rem "+fmt.Sprint(q.of, q.by)]
		if k := t.k / q.by; ok && f.factor(rem) == k {
			f = f.plus(form{terms: []term{t}}, -1).plus(form{terms: []term{{rem, k}}}, -1).plus(q.of, k)
			goto again
		}
	}
	return f
}

// formVaries says whether a form differs between lanes.
func (c *compiler) formVaries(f form) bool {
	return slices.ContainsFunc(f.terms, func(t term) bool { return c.atomVaries(t.atom) })
}

func (c *compiler) atomVaries(id int) bool {
	switch a := c.atoms[id]; a.kind {
	case axisAtom:
		return a.axis == c.lane
	case exprAtom:
		return c.argsVary(a.expr)
	default:
		return c.formVaries(a.of)
	}
}

// address is a form ready to be evaluated: base plus steps along axes, then what needs
// computing for each lane.
type address struct {
	base int64
	axes []term // atom is the axis's number here
	step int64  // from one lane to the next
	rest []offset
}

// offset is a multiple of a computed integer.
type offset struct {
	k    int64
	at   lanes[int64]
	each bool // it differs between lanes
}

// addressOf makes a form ready.
func (c *compiler) addressOf(f form) *address {
	a := &address{base: f.c}
	for _, t := range f.terms {
		switch x := c.atoms[t.atom]; x.kind {
		case axisAtom:
			a.axes = append(a.axes, term{x.axis, t.k})
			if x.axis == c.lane {
				a.step = t.k
			}
		default:
			a.rest = append(a.rest, offset{t.k, c.atomLanes(t.atom), c.atomVaries(t.atom)})
		}
	}
	return a
}

// start is the address of lane 0, without what differs between lanes otherwise.
func (a *address) start(f *frame) int64 {
	at := a.base
	for _, t := range a.axes {
		at += t.k * f.at[t.atom]
	}
	for _, o := range a.rest {
		if !o.each {
			at += o.k * o.at(f, 1)[0]
		}
	}
	return at
}

// regular says that lanes lie step apart.
func (a *address) regular() bool {
	return !slices.ContainsFunc(a.rest, func(o offset) bool { return o.each })
}

// fill computes the address of n lanes.
func (a *address) fill(f *frame, out []int64) {
	at := a.start(f)
	for i := range out {
		out[i] = at
		at += a.step
	}
	for _, o := range a.rest {
		if !o.each {
			continue
		}
		for i, v := range o.at(f, len(out)) {
			out[i] += o.k * v
		}
	}
}

// formLanes computes a form.
func (c *compiler) formLanes(f form) lanes[int64] {
	a, out := c.addressOf(f), room[int64](c)
	return func(f *frame, n int) []int64 {
		a.fill(f, out[:n])
		return out[:n]
	}
}

// atomLanes computes an atom that is no axis.
func (c *compiler) atomLanes(id int) lanes[int64] {
	if fn, ok := c.scope.atoms[id]; ok {
		return fn
	}
	var fn lanes[int64]
	if a := c.atoms[id]; a.kind == exprAtom {
		fn = node[int64](c, a.expr)
	} else {
		fn = c.divideLanes(a)
	}
	fn = once(fn)
	c.scope.atoms[id] = fn
	return fn
}

// divideLanes computes quotients or remainders. Along lanes that lie step apart the
// next one follows from the last without a division, if nothing can wrap around.
func (c *compiler) divideLanes(a atom) lanes[int64] {
	of, by, out, quot := c.addressOf(a.of), a.by, room[int64](c), a.kind == quotAtom
	if of.regular() && c.span(a.of).known() {
		dq, dr := floorDiv(of.step, by), floorMod(of.step, by)
		return func(f *frame, n int) []int64 {
			at := of.start(f)
			q, r := floorDiv(at, by), floorMod(at, by)
			for i := range out[:n] {
				if quot {
					out[i] = q
				} else {
					out[i] = r
				}
				q, r = q+dq, r+dr
				if r >= by {
					q, r = q+1, r-by
				}
			}
			return out[:n]
		}
	}
	return func(f *frame, n int) []int64 {
		of.fill(f, out[:n])
		for i, v := range out[:n] {
			if quot {
				out[i] = floorDiv(v, by)
			} else {
				out[i] = floorMod(v, by)
			}
		}
		return out[:n]
	}
}
