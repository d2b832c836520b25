package builtin

import (
	"slices"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/pass"
	"github.com/pitopt/pitopt/core/sym"
)

// Raise finds what exporters have taken apart.
var Raise = &pass.Pass{
	Name:   "raise",
	Lowers: true,
	Doc: `Finds attention, normalisations, activations, routers and experts that exporters have taken apart.

    %d = onnx.Div(%x, @sqrt2)
    %e = onnx.Erf(%d)                        =>   %y: [n, 8] f32 = onnx.Gelu(%x)
    %f = onnx.Add(%e, @one)
    %g = onnx.Mul(%x, %f)
    %y: [n, 8] f32 = onnx.Mul(%g, @half)

A rule is a pattern in the text form, and what takes its place. Order and grouping of
operands, casts between float types, and how arithmetic is spelled (Pow or Mul, Div or
Reciprocal) make no difference. A pattern may have several results, as a router has weights
and experts: what takes their place stands where the first of them stood. What else is read
elsewhere too is not taken apart: it would be computed twice.

Experts of a mixture that are spelled one by one, or by a loop, become one: rows of all of them
stand behind one another, each with its expert, and products with an expert's weights are
pit.GroupedMatMul.
So do experts that get every row, where a weight that may be zero is multiplied by what each makes of a row.
Rows so large that an expert's values might overflow, or NaN, then go to all of them.

What it makes may be newer than the operator set of the model, or not be ONNX's: ONNX is
written before it.

It stands after simplify and decompose: patterns are of operators that compute, without the
arithmetic of shapes between them.`,
	After: []pass.Order{pass.Because("simplify", "arithmetic of shapes hides patterns"),
		pass.Because("decompose", "what is written out may be a part of a pattern")},
	Before: []pass.Order{pass.Because("legalize", "patterns are of operators")},
	Options: []pass.Option{{Name: "rules", Kind: pass.Strings, Default: []string(nil),
		Doc: "more rules, which are tried first: modules in the text form, as [[rewrite]] names files of"}},
	Run: func(c *pass.Context, m *ir.Module) error {
		var list []*rule
		for _, text := range pass.Get[[]string](c, "rules") {
			more, err := readRules("rules", []byte(text), m.Lookup, nil)
			if err != nil {
				return err
			}
			list = append(list, more...)
		}
		if err := raise(m, append(list, rules()...)); err != nil {
			return err
		}
		return mergeExperts(m)
	},
}

// maxSweeps bounds how often a module is gone through. Each time finds what the one before
// has made room for; rules do not undo each other, so a few will do.
const maxSweeps = 16

func raise(m *ir.Module, rules []*rule) error {
	known := points{}
	for i := range maxSweeps {
		x := &raiser{rules: rules}
		x.terms = newTerms(m, known, x.subst.Value)
		x.replace = x.stmt
		if err := x.module(m); err != nil {
			return err
		}
		removeDead(m) // what matches were, and what was made for matches that were none
		if x.last == nil {
			break
		}
		if i == maxSweeps-1 {
			return diag.New(diag.Pipeline, "rule %s finds what it looks for in what it makes, %d times over", x.last.name, maxSweeps).
				Hint("write a replacement that has no match of the pattern")
		}
	}
	return nil
}

type raiser struct {
	rewriter
	terms
	rules []*rule
	last  *rule // of which there was a match
}

// stmt looks for a match whose first result a statement gives. What takes its place stands in
// front of the statement; nobody needs the statement then, nor what gives the other results.
func (x *raiser) stmt(b *ir.Builder, s *ir.Stmt) ([]*ir.Value, bool, error) {
	if !x.computes(s) {
		return nil, false, nil
	}
	x.d = x.Deducer
	for _, r := range x.rules {
		if m := x.find(b, r, s); m != nil {
			x.put(m)
			break
		}
	}
	return nil, false, nil
}

// find gives a match that starts at a statement, with what takes its place; nil where the
// rule does not fit.
func (x *raiser) find(b *ir.Builder, r *rule, s *ir.Stmt) *match {
	mark := b.Mark()
	block := x.path[len(x.path)-1]
	for _, o := range r.outputs {
		if !o.may(&x.terms, s) {
			continue
		}
		m := &match{terms: &x.terms, rule: r, b: b, start: s, before: block.Stmts, rest: x.rest,
			results: make([]*ir.Value, len(r.results)), bound: map[*term]*term{}, dims: map[string]sym.Expr{}}
		if m.output(o, s, func() bool {
			if !m.inside() {
				return false
			}
			m.with = r.rewrite(m)
			if m.with != nil && b.Err() == nil && m.stands(block.Stmts[len(m.before):]) {
				return true
			}
			b.Reset(mark)
			m.checked = false
			return false
		}) {
			return m
		}
	}
	return nil
}

// put lets what takes a match's place do so.
func (x *raiser) put(m *match) {
	x.last = m.rule
	for i, v := range m.wanted {
		if v == nil {
			continue
		}
		n := m.b.Replace(&x.subst, v.Type, x.subst.Value(m.with[i]))
		if n.Name == "" && n.Def != nil {
			n.Name, v.Name = v.Name, ""
		}
		x.subst.Values[v] = n
		x.uses[n] += x.uses[v] - m.reads[v]
		x.uses[v] = 0
	}
	x.forget() // what is behind reads other values now
}

// sameStmt says whether a rule has made what was there.
func sameStmt(a, b *ir.Stmt) bool {
	return a != nil && a.Kind == b.Kind && a.Op == b.Op && slices.Equal(a.Args, b.Args) &&
		slices.EqualFunc(a.Attrs, b.Attrs, func(x, y ir.Attr) bool { return x.Name == y.Name && ir.SameAttr(x.Value, y.Value) })
}
