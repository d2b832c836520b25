package ir

import (
	"slices"

	"github.com/pitopt/pitopt/core/sym"
)

// Subst puts values in the place of others, and dims in the place of symbols. The zero
// value is empty.
type Subst struct {
	Values map[*Value]*Value
	Syms   map[string]sym.Expr
}

// Value gives what stands for v.
func (x *Subst) Value(v *Value) *Value {
	for v != nil {
		n, ok := x.Values[v]
		if !ok {
			break
		}
		v = n
	}
	return v
}

// Expr gives e with what stands for its symbols.
func (x *Subst) Expr(e sym.Expr) sym.Expr {
	if len(x.Syms) == 0 {
		return e
	}
	return e.Subst(func(name string) (sym.Expr, bool) { n, ok := x.Syms[name]; return n, ok })
}

// Type gives t with what stands for its symbols.
func (x *Subst) Type(t Type) Type {
	if len(x.Syms) == 0 {
		return t
	}
	return MapDims(t, x.Expr)
}

// Stmt puts what stands for values and symbols into a statement; regions are not looked
// into.
func (x *Subst) Stmt(s *Stmt) {
	for i, a := range s.Args {
		s.Args[i] = x.Value(a)
	}
	for i, a := range s.Into {
		s.Into[i] = x.Value(a)
	}
	if len(x.Syms) == 0 {
		return
	}
	for _, v := range s.Results {
		if v != nil {
			v.Type = x.Type(v.Type)
		}
	}
	bind := make([]sym.Expr, len(s.Bind)) // other statements may have the same slice
	for i, e := range s.Bind {
		bind[i] = x.Expr(e)
	}
	s.Bind = bind
	for _, a := range s.Attrs {
		if t, ok := a.Value.(Type); ok {
			s.Attrs = s.Attrs.With(a.Name, x.Type(t))
		}
	}
	if bytes, ok := s.AllocBytes(); ok {
		s.Attrs = s.Attrs.With("bytes", x.Expr(bytes).String())
	}
}

// Define lets symbols that the type of a value defined, and that have no value where d
// stands, be the dims that it has now. Symbols that were defined before stay as they are.
func (x *Subst) Define(d *Deducer, old, now Type) {
	a, ok := old.(TensorType)
	b, ok2 := now.(TensorType)
	if !ok || !ok2 || a.Unranked || b.Unranked || len(a.Dims) != len(b.Dims) {
		return
	}
	for i, dim := range a.Dims {
		name, bare := dim.Symbol()
		if _, known := x.Syms[name]; !bare || known || d.Bound(name) || b.Dims[i].Uses(name) || b.Dims[i].Size() > maxDefined {
			continue
		}
		if x.Syms == nil {
			x.Syms = map[string]sym.Expr{}
		}
		x.Syms[name] = b.Dims[i]
	}
}

// maxDefined is the size of a dim above which a symbol does not become it: what follows from
// it would grow with every statement. A cast gives the symbol its value.
const maxDefined = 16

// Copy copies a block, with what stands for values and symbols in it.
func (x *Subst) Copy(b *Block) *Block {
	out := &Block{}
	value := func(v *Value) *Value {
		if v == nil {
			return nil
		}
		n := &Value{Name: v.Name, Type: v.Type, Index: v.Index}
		x.Values[v] = n
		return n
	}
	for _, p := range b.Params {
		n := value(p)
		n.Type = x.Type(p.Type)
		out.Params = append(out.Params, n)
	}
	for _, s := range b.Stmts {
		n := *s
		n.Args, n.Into, n.Results, n.Regions = slices.Clone(s.Args), slices.Clone(s.Into), nil, nil
		for _, r := range s.Results {
			v := value(r)
			if v != nil {
				v.Def = &n
			}
			n.Results = append(n.Results, v)
		}
		x.Stmt(&n)
		for _, r := range s.Regions {
			if r != nil {
				r = x.Copy(r)
			}
			n.Regions = append(n.Regions, r)
		}
		out.Stmts = append(out.Stmts, &n)
	}
	for _, r := range b.Results {
		out.Results = append(out.Results, x.Value(r))
	}
	return out
}

// Replace lets v, which the builder has just added or which is visible where it stands,
// take the place of a value of type old: symbols that the old one defined become the dims
// of v. Where v is not known to be what the old type said, a cast sees to it; the result
// is v or that.
func (b *Builder) Replace(x *Subst, old Type, v *Value) *Value {
	x.Define(b.Deducer, old, v.Type)
	if t := x.Type(old); !b.Proves(v.Type, t) {
		return b.MatchCast(v, t)
	}
	return v
}

// Proves says whether a value of type t is known to be of type want, too.
func (d *Deducer) Proves(t, want Type) bool {
	b, ok := want.(TensorType)
	if !ok {
		return true // what is inside has sizes of its own
	}
	a, ok := t.(TensorType)
	switch {
	case !ok:
		return b.nothingKnown()
	case a.DType != b.DType && b.DType != 0:
		return false
	case b.Unranked:
		return true
	case a.Unranked || len(a.Dims) != len(b.Dims):
		return false
	}
	for i := range a.Dims {
		if d.M.Syms.Equal(a.Dims[i], b.Dims[i]) != sym.True {
			return false
		}
	}
	return true
}
