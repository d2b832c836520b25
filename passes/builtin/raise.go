package builtin

import (
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/pass"
	"github.com/pitopt/pitopt/core/sym"
)

// Raise finds what exporters have taken apart.
var Raise = &pass.Pass{
	Name:   "raise",
	Lowers: true,
	Doc: `Finds attention, normalisations, activations and experts that exporters have taken apart.

    %d = onnx.Div(%x, @sqrt2)
    %e = onnx.Erf(%d)                        =>   %y: [n, 8] f32 = onnx.Gelu(%x)
    %f = onnx.Add(%e, @one)
    %g = onnx.Mul(%x, %f)
    %y: [n, 8] f32 = onnx.Mul(%g, @half)

A rule is a pattern in the text form, and what takes its place. Order and grouping of
operands, casts between float types, and how arithmetic is spelled (Pow or Mul, Div or
Reciprocal) make no difference. What is read elsewhere too is not taken apart: it would be
computed twice.

Experts of a mixture that are spelled one by one, or by a loop, become one: rows of all of them
stand behind one another, each with its expert, and products with an expert's weights are
pit.GroupedMatMul.

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
	for range maxSweeps {
		x := &raiser{rules: rules}
		x.terms = terms{points: known, uses: uses(m), made: map[*ir.Value]*term{}, inner: map[*ir.Value]*term{}}
		x.replace = x.stmt
		if err := x.module(m); err != nil {
			return err
		}
		if !x.changed {
			break
		}
		removeDead(m)
	}
	return nil
}

type raiser struct {
	rewriter
	terms
	rules   []*rule
	changed bool
}

func (x *raiser) stmt(b *ir.Builder, s *ir.Stmt) ([]*ir.Value, bool, error) {
	if s.Kind != ir.OpStmt || s.Effect() != ir.Pure || len(s.Regions) > 0 || len(s.Results) == 0 || s.Results[0] == nil {
		return nil, false, nil
	}
	for _, r := range s.Results[1:] {
		if r != nil {
			return nil, false, nil
		}
	}
	x.d = x.Deducer
	root := x.root(s)
	for _, r := range x.rules {
		mark := b.Mark()
		v := x.apply(b, r, s, root)
		if v == nil || sameStmt(v.Def, s) {
			b.Reset(mark)
			continue
		}
		x.changed = true
		x.uses[v] += x.uses[s.Results[0]]
		return []*ir.Value{v}, true, nil
	}
	return nil, false, nil
}

// apply gives the value that takes the place of a statement's result, whose term is root;
// nil where the rule does not fit.
func (x *raiser) apply(b *ir.Builder, r *rule, s *ir.Stmt, root *term) *ir.Value {
	if root == nil || r.op != root.op || r.kind != root.kind {
		return nil
	}
	m := &match{terms: &x.terms, b: b, root: s, bound: map[*term]*term{}, dims: map[string]sym.Expr{}, names: r.names}
	var out *ir.Value
	mark := b.Mark()
	m.fits(r.pattern, root, func() bool {
		if !m.inside(x.path[len(x.path)-1]) {
			return false
		}
		out = r.rewrite(m)
		if out != nil && b.Err() == nil && (x.Proves(out.Type, s.Results[0].Type) || m.checked && x.Compatible(out.Type, s.Results[0].Type)) {
			return true
		}
		b.Reset(mark)
		out, m.checked = nil, false
		return false
	})
	return out
}

// root is the term of a statement's result, an operator's where it is no arithmetic.
func (x *raiser) root(s *ir.Stmt) *term {
	v := s.Results[0]
	if t := x.within(v); t != nil {
		return t
	}
	return &term{kind: leafTerm, op: s.Op.Name, value: v}
}

// sameStmt says whether a rule has made what was there.
func sameStmt(a, b *ir.Stmt) bool {
	return a != nil && a.Kind == b.Kind && a.Op == b.Op && slices.Equal(a.Args, b.Args) &&
		slices.EqualFunc(a.Attrs, b.Attrs, func(x, y ir.Attr) bool { return x.Name == y.Name && ir.SameAttr(x.Value, y.Value) })
}
