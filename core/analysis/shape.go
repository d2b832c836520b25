package analysis

import (
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// ShapeArithmetic gives the statements of a module that only compute shapes, those of
// regions included: what symbols could say in their place. Such a statement is pure, gives
// integers or truth values, and reads nothing but sizes: its operands' types, constants,
// and what others of this kind give. And
//
//   - it has operands, and each of its results is small enough for its contents to be
//     followed (ir.MaxKnown): one step could compute it from symbols; or
//   - whatever reads its results reads them to find out a shape, or only computes one.
//
// Views and casts, which compute nothing, are looked through and not counted. Which
// operands say a shape is asked of the operators: those whose contents they deduce their
// result types from. Sizes that only the data tell are no shape arithmetic.
func ShapeArithmetic(m *ir.Module) []*ir.Stmt {
	a := &shapeWalk{sizes: map[*ir.Value]bool{}, uses: map[*ir.Value][]use{}}
	scratch := *m
	scratch.Syms = m.Syms.Clone() // what deduction makes anew is thrown away
	for _, f := range m.Funcs {
		d := ir.NewDeducer(&scratch)
		a.block(d, &f.Block)
	}
	var out []*ir.Stmt
	only := map[*ir.Stmt]bool{}
	// A reader stands behind what it reads, so one way back decides all.
	for i := len(a.order) - 1; i >= 0; i-- {
		s := a.order[i]
		only[s] = a.onlyRead(s, only)
	}
	for _, s := range a.order {
		if counts(s) && (only[s] || reads(s) && small(s)) {
			out = append(out, s)
		}
	}
	return out
}

// use is a place where a value is read; nil statements are results of blocks.
type use struct {
	by      *ir.Stmt
	decides bool // a shape
}

type shapeWalk struct {
	sizes map[*ir.Value]bool // values that depend on sizes alone
	uses  map[*ir.Value][]use
	order []*ir.Stmt // statements that compute from sizes alone
}

func (a *shapeWalk) block(d *ir.Deducer, b *ir.Block) {
	d.Params(b.Params)
	for _, s := range b.Stmts {
		if s.Op != nil && s.Op.Name == ir.ReleaseName {
			continue // it ends lives, and reads nothing
		}
		for i, r := range s.Regions {
			d.Region(s, i, func() { a.block(d, r) })
		}
		a.stmt(d, s)
		d.Follow(s)
	}
	for _, v := range b.Results {
		a.uses[v] = append(a.uses[v], use{})
	}
}

func (a *shapeWalk) stmt(d *ir.Deducer, s *ir.Stmt) {
	decides, reads := operands(d, s)
	fromSizes := s.Effect() == ir.Pure && len(s.Regions) == 0
	for i, v := range s.Args {
		if v == nil {
			continue
		}
		a.uses[v] = append(a.uses[v], use{s, decides[i]})
		fromSizes = fromSizes && (!reads[i] || v.Const != nil && !weights(v.Const.Tensor) || a.sizes[v])
	}
	for _, r := range s.Results {
		if r != nil {
			t, ok := r.Tensor()
			fromSizes = fromSizes && ok && (t.DType.IsInt() || t.DType == tensor.Bool)
		}
	}
	if !fromSizes {
		return
	}
	a.order = append(a.order, s)
	for _, r := range s.Results {
		if r != nil {
			a.sizes[r] = true
		}
	}
}

// weights says whether a constant is more than numbers that sizes are computed with.
func weights(t *tensor.Tensor) bool { return t.DType().IsFloat() && t.Len() > ir.MaxKnown }

// operands says which operands of a statement decide the shape of a result by what they
// hold, and of which the contents are read at all.
func operands(d *ir.Deducer, s *ir.Stmt) (decides, reads []bool) {
	decides, reads = make([]bool, len(s.Args)), make([]bool, len(s.Args))
	switch {
	case s.Kind == ir.OpStmt:
		c := d.Call(s)
		known, constant := c.Known, c.ConstOf
		c.Known = func(i int) ([]sym.Expr, bool) { decides[i] = true; return known(i) }
		c.ConstOf = func(i int) *tensor.Tensor { decides[i] = true; return constant(i) }
		if c.Op.Deduce != nil && len(s.Regions) == 0 { // what regions run on, a trip count above all, is no shape alone
			c.Out = make([]ir.Type, len(s.Results))
			_ = c.Infer() // the verifier tells what is wrong with it
		}
		if p, args, err := d.Call(s).Program(); err == nil {
			markLoaded(p, func(param int) { reads[args[param]] = true })
			return decides, reads
		}
	case s.Kind == ir.CallStmt:
		p, ok := s.Callee.(*ir.Program)
		if k, isKernel := s.Callee.(*ir.Kernel); isKernel {
			p, ok = k.Program, true
		}
		if ok {
			markLoaded(p, func(param int) { reads[param] = true })
			return decides, reads
		}
	}
	for i := range reads {
		reads[i] = true
	}
	return decides, reads
}

// markLoaded tells the parameters that a program loads from.
func markLoaded(p *ir.Program, mark func(param int)) {
	at := map[*ir.Buffer]int{}
	for i, b := range p.Params {
		at[b] = i
	}
	for _, s := range p.Stages {
		s.Walk(func(x *ir.Scalar) bool {
			if x.Op == ir.OpLoad {
				if i, ok := at[x.Buf]; ok {
					mark(i)
				}
			}
			return true
		})
	}
}

// onlyRead says whether all that reads a statement's results reads them for a shape.
func (a *shapeWalk) onlyRead(s *ir.Stmt, only map[*ir.Stmt]bool) bool {
	for _, r := range s.Results {
		if r == nil {
			continue
		}
		for _, u := range a.uses[r] {
			if u.by == nil || !u.decides && !only[u.by] {
				return false
			}
		}
	}
	return true
}

// counts leaves out what computes nothing.
func counts(s *ir.Stmt) bool { return s.Kind != ir.CastStmt && (s.Op == nil || !s.Op.View) }

// reads says whether a statement has operands.
func reads(s *ir.Stmt) bool {
	for _, a := range s.Args {
		if a != nil {
			return true
		}
	}
	return false
}

// small says whether the contents of all results could be followed.
func small(s *ir.Stmt) bool {
	for _, r := range s.Results {
		if r != nil {
			t, _ := r.Tensor()
			if n, ok := t.Size().Int(); t.Unranked || !ok || n > ir.MaxKnown {
				return false
			}
		}
	}
	return true
}
