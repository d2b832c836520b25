package ir

import (
	"fmt"
	"maps"
	"slices"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// MaxKnown is the largest integer tensor whose contents are followed symbolically.
const MaxKnown = 64

// Deducer deduces result types statement by statement, in order. Beside types it
// follows the contents of small integer tensors as symbolic integers, by running
// their tensor programs over symbols: so the Shape, Gather, Concat chain in front of
// a Reshape is known without a rule for any of these operators.
type Deducer struct {
	M     *Module
	known map[*Value][]sym.Expr
	grids map[*Value]*Grid    // nil: looked at, and none
	outer *Deducer            // of a trial: what is known around it
	scope Scope               // symbols visible at this point
	lists map[string]*Program // that write integers, by key

	// Learns says that the module may come to say more of its symbols.
	Learns  bool
	regions int // around this point

	iterations []*sym.Expr // of the loops around: how many there are at most, nil where that is not known
}

// NewDeducer starts at the beginning of a function of m.
func NewDeducer(m *Module) *Deducer {
	return &Deducer{M: m, known: map[*Value][]sym.Expr{}, grids: map[*Value]*Grid{}, lists: map[string]*Program{}}
}

// Params takes in the parameters of a block: their symbols become visible.
func (d *Deducer) Params(params []*Value) { d.scope.Params(params) }

// Bound says whether a symbol is visible at this point.
func (d *Deducer) Bound(symbol string) bool { return d.scope.Has(symbol) }

// Scope runs f for a region: what becomes visible inside is not visible after it.
func (d *Deducer) Scope(f func()) {
	mark := d.scope.Mark()
	d.regions++
	f()
	d.regions--
	d.scope.Reset(mark)
}

// Known gives the contents of a small integer value where they are known; truth values are
// 0 and 1.
func (d *Deducer) Known(v *Value) ([]sym.Expr, bool) {
	if v == nil {
		return nil, false
	}
	if v.Const != nil {
		t := v.Const.Tensor
		if !t.DType().IsInt() && t.DType() != tensor.Bool || t.Len() > MaxKnown {
			return nil, false
		}
		out := make([]sym.Expr, t.Len())
		for i := range out {
			out[i] = sym.Const(t.Int(int64(i)))
		}
		return out, true
	}
	e, ok := d.known[v]
	if !ok && d.outer != nil {
		return d.outer.Known(v)
	}
	return e, ok
}

// SetKnown records contents that a pass has proved.
func (d *Deducer) SetKnown(v *Value, e []sym.Expr) { d.known[v] = e }

// Call makes the call that a statement is, for its operator's functions.
func (d *Deducer) Call(s *Stmt) *Call {
	c := &Call{Op: s.Op, Node: s.Place(), Attrs: s.Attrs, Regions: s.Regions, Syms: d.M.Syms,
		In: make([]Type, len(s.Args)), Out: make([]Type, len(s.Results)), Want: make([]bool, len(s.Results))}
	for i, a := range s.Args {
		if a != nil {
			c.In[i] = a.Type
		}
	}
	for i, r := range s.Results {
		if r != nil {
			c.Want[i], c.Out[i] = true, r.Type
		}
	}
	c.Bound, c.iterations = d.Bound, d.iterations
	c.Known = func(i int) ([]sym.Expr, bool) { return d.Known(s.Args[i]) }
	c.ConstOf = func(i int) *tensor.Tensor {
		if k := s.Args[i].Const; k != nil {
			return k.Tensor
		}
		return nil
	}
	return c
}

// Stmt deduces the results of a statement whose operands have types, and follows it. For
// an operator it sets the results' types; those of a call or a cast are what the callee or
// the cast says. Regions must be deduced before.
func (d *Deducer) Stmt(s *Stmt) error {
	types, err := d.infer(s, false, false)
	if err != nil {
		return err
	}
	for i, r := range s.Results {
		if r != nil {
			r.Type = types[i]
		}
	}
	d.Follow(s)
	return nil
}

// Infer gives the types of the statement's results as they follow from its operands; nil
// for those that nobody asked for. The statement keeps the types it has, and symbols that
// stand for new sizes are thrown away: they differ from all that the module knows, and
// mean nothing to it.
func (d *Deducer) Infer(s *Stmt) ([]Type, error) { return d.infer(s, true, false) }

// InferExact is Infer that has dims as they are computed, however long they are written,
// where Infer has a new symbol.
func (d *Deducer) InferExact(s *Stmt) ([]Type, error) { return d.infer(s, true, true) }

func (d *Deducer) infer(s *Stmt, trial, exact bool) ([]Type, error) {
	switch s.Kind {
	case OpStmt:
		c := d.Call(s)
		c.trial, c.Exact = trial, exact
		c.Out = make([]Type, len(s.Results))
		if err := c.Infer(); err != nil {
			return nil, err
		}
		return c.Out, nil
	case CallStmt:
		types, err := callTypes(s)
		if f, ok := s.Callee.(*Func); ok && err == nil {
			d.functionTypes(s, f, types)
		}
		return types, err
	}
	return []Type{s.Results[0].Type}, nil
}

// functionTypes makes the types of a function's results the caller's: what the call says
// of them, and else sizes that the function's symbols stand for are new ones.
func (d *Deducer) functionTypes(s *Stmt, f *Func, types []Type) {
	for i, r := range s.Results {
		if r != nil && r.Type != nil {
			types[i] = r.Type
			continue
		}
		types[i] = MapDims(f.Results[i].Type, func(e sym.Expr) sym.Expr {
			if _, fixed := e.Int(); fixed {
				return e
			}
			return d.M.Syms.Fresh("u")
		})
	}
}

// Follow takes in a statement as it is: what its small integer results hold, and the
// symbols that they make visible.
func (d *Deducer) Follow(s *Stmt) {
	d.scope.Results(s.Results)
	d.Contents(s)
}

// callTypes gives the result types of a call from the callee's signature.
func callTypes(s *Stmt) ([]Type, error) {
	if p := programOf(s.Callee); p != nil {
		if len(s.Bind) != len(p.Syms) {
			return nil, diag.New(diag.Verifier, "binds %d symbols, the program has %d", len(s.Bind), len(p.Syms)).At(s.Place(), s.OpName())
		}
		if len(s.Results) > len(p.Results) {
			return nil, diag.New(diag.Verifier, "%d results, the program has %d", len(s.Results), len(p.Results)).At(s.Place(), s.OpName())
		}
		types := make([]Type, len(p.Results))
		for i, r := range p.Results {
			types[i] = MapDims(r.Type(), func(e sym.Expr) sym.Expr { return p.bindDim(e, s.Bind) })
		}
		return types, nil
	}
	f := s.Callee.(*Func)
	if len(s.Results) > len(f.Results) {
		return nil, diag.New(diag.Verifier, "%d results, the function has %d", len(s.Results), len(f.Results)).At(s.Place(), s.OpName())
	}
	types := make([]Type, len(f.Results))
	for i := range types {
		types[i] = f.Results[i].Type
	}
	return types, nil
}

// bindDim puts a call's values in the place of the program's symbols.
func (p *Program) bindDim(e sym.Expr, bind []sym.Expr) sym.Expr {
	return e.Subst(func(name string) (sym.Expr, bool) {
		for i, s := range p.Syms {
			if s == name {
				return bind[i], true
			}
		}
		return sym.Expr{}, false
	})
}

// Builder adds statements to a function and deduces their types as it goes. The
// first error sticks: later calls do nothing, and Err gives it.
type Builder struct {
	*Deducer
	block *Block
	node  string
	names map[string]int
	err   error
}

// NewBuilder builds the body of f, a function of m; its parameters must be there.
func NewBuilder(m *Module, f *Func) *Builder {
	b := &Builder{Deducer: NewDeducer(m), block: &f.Block, names: map[string]int{}}
	b.Learns = true
	b.Params(f.Params)
	for _, p := range f.Params {
		b.names[p.Name]++
	}
	return b
}

// At makes a builder that adds to a block with the facts of a deducer that has come
// there; it serves passes that replace one statement by several.
func (d *Deducer) At(block *Block, node string) *Builder {
	return &Builder{Deducer: d, block: block, node: node}
}

// Err is the first error.
func (b *Builder) Err() error { return b.err }

// Fail records an error unless there is one.
func (b *Builder) Fail(err error) {
	if b.err == nil {
		b.err = err
	}
}

// Node sets the name of the model's node that following statements come from.
func (b *Builder) Node(name string) { b.node = name }

// Param adds a parameter to the block that is being built.
func (b *Builder) Param(name string, t Type) *Value {
	v := &Value{Name: b.name(name), Type: t, Index: len(b.block.Params)}
	b.block.Params = append(b.block.Params, v)
	b.scope.Bind(t)
	return v
}

// name makes a value's name unique; an empty one stays empty, and is numbered when
// the function is finished.
func (b *Builder) name(want string) string {
	if want == "" || b.names == nil {
		return ""
	}
	n := b.names[want]
	b.names[want]++
	if n == 0 {
		return want
	}
	return b.name(fmt.Sprintf("%s_%d", want, n))
}

// Rename names a value, made unique.
func (b *Builder) Rename(v *Value, want string) { v.Name = b.name(want) }

// Try runs f; when f says that its work is to be thrown away, names it gave are free
// again.
func (b *Builder) Try(f func() bool) {
	saved := maps.Clone(b.names)
	if !f() {
		b.names = saved
	}
}

// Mark is how far a block is built.
type Mark struct{ stmts, scope int }

// Mark remembers how far the block is built, for Reset to go back to.
func (b *Builder) Mark() Mark { return Mark{len(b.block.Stmts), b.scope.Mark()} }

// Reset takes back the statements since a mark, and the error if there was one.
func (b *Builder) Reset(m Mark) {
	b.block.Stmts, b.err = b.block.Stmts[:m.stmts], nil
	b.scope.Reset(m.scope)
}

// Add appends a statement made by hand, deduces it, and says whether that went well.
func (b *Builder) Add(s *Stmt) bool {
	if b.err != nil {
		return false
	}
	if s.Node == "" {
		s.Node = b.node
	}
	for i, r := range s.Results {
		if r != nil {
			r.Def, r.Index = s, i
			r.Name = b.name(r.Name)
		}
	}
	if err := b.Deducer.Stmt(s); err != nil {
		b.err = err
		return false
	}
	b.block.Stmts = append(b.block.Stmts, s)
	return true
}

// OpN applies an operator and gives n results.
func (b *Builder) OpN(n int, name string, args []*Value, attrs Attrs, regions ...*Block) []*Value {
	results := make([]*Value, n)
	for i := range results {
		results[i] = &Value{Type: UnrankedOf(tensor.Invalid)}
	}
	def := b.M.Lookup(name)
	if def == nil {
		b.Fail(diag.New(diag.Unsupported, "unsupported operator %s", name))
		return results
	}
	// The statement has slices of its own: callers go on working with theirs.
	b.Add(&Stmt{Kind: OpStmt, Op: def, Args: slices.Clone(args), Results: slices.Clone(results), Attrs: attrs, Regions: regions})
	return results
}

// Op applies an operator of one result.
func (b *Builder) Op(name string, args []*Value, attrs ...any) *Value {
	return b.OpN(1, name, args, MakeAttrs(attrs...))[0]
}

// Const is a constant operand.
func (b *Builder) Const(t *tensor.Tensor) *Value { return b.M.AddConst("", t, nil) }

// Ints is a 1-D i64 constant.
func (b *Builder) Ints(v ...int64) *Value {
	return b.Const(tensor.Of(append([]int64{}, v...), int64(len(v))))
}

// Dims is a 1-D i64 value that holds the given dims, computed at run time where they
// are not constant.
func (b *Builder) Dims(dims ...sym.Expr) *Value {
	v, _ := b.Holding(TensorOf(tensor.I64, sym.Const(int64(len(dims)))), dims)
	return v
}

// Holding is a value of a type of static shape that holds the given integers, computed at
// run time where they are not constant. There is none where one is not known to fit the
// element type.
func (b *Builder) Holding(t TensorType, list []sym.Expr) (*Value, bool) {
	for _, e := range list {
		lo, hi := b.M.Syms.Bounds(e)
		if !fitsDType(lo, hi, t.DType) {
			return nil, false
		}
	}
	out := &Buffer{Name: "Y", DType: t.DType, Dims: t.Dims}
	g := &Grid{Axes: newAxes(t.Dims)}
	g.list(list, t)
	p := &Program{Name: "dims", Results: []*Buffer{out}, Stages: []*Stage{{Kind: MapStage, Outs: []*Buffer{out}, Axes: g.Axes, Exprs: []*Scalar{g.Expr}}}}
	p.Syms = p.symsOf()
	p.NameAxes()
	key := p.Key()
	shared := b.lists[key]
	if shared == nil {
		shared = b.M.AddProgram(p)
		b.lists[key] = shared
	}
	r := &Value{Type: t}
	b.Add(&Stmt{Kind: CallStmt, Callee: shared, Bind: vars(p.Syms), Results: []*Value{r}})
	return r, true
}

// CallProgram calls a program whose symbols are the function's own, and adds it to
// the module.
func (b *Builder) CallProgram(p *Program, args []*Value) []*Value {
	results := make([]*Value, len(p.Results))
	for i := range results {
		results[i] = &Value{Type: p.Results[i].Type()}
	}
	b.M.AddProgram(p)
	b.Add(&Stmt{Kind: CallStmt, Callee: p, Bind: vars(p.Syms), Args: args, Results: results})
	return results
}

func vars(names []string) []sym.Expr {
	out := make([]sym.Expr, len(names))
	for i, s := range names {
		out[i] = sym.Var(s)
	}
	return out
}

// MatchCast asserts that v has type t; symbols of t that are not visible yet are
// bound by it.
func (b *Builder) MatchCast(v *Value, t Type) *Value {
	r := &Value{Type: t}
	b.Add(&Stmt{Kind: CastStmt, Args: []*Value{v}, Results: []*Value{r}})
	return r
}

// Region builds a block inside the current one: f adds to it and gives its results.
func (b *Builder) Region(f func() []*Value) *Block {
	outer := b.block
	r := &Block{}
	b.block = r
	b.Scope(func() { r.Results = f() })
	b.block = outer
	return r
}

// Return sets the results of the block that is being built.
func (b *Builder) Return(results ...*Value) { b.block.Results = results }

// Inline copies a block's statements here, with values put in the place of its
// parameters (and of whatever else subst names), and gives its results. Types are deduced
// anew; symbols that the block bound become what the copies have in their place.
func (b *Builder) Inline(block *Block, subst map[*Value]*Value) []*Value {
	x := &Subst{Values: subst}
	for _, p := range block.Params {
		if v := subst[p]; v != nil {
			subst[p] = b.Replace(x, p.Type, v)
		}
	}
	return b.inline(block, x)
}

func (b *Builder) inline(block *Block, x *Subst) []*Value {
	for _, s := range block.Stmts {
		n := &Stmt{Kind: s.Kind, Op: s.Op, Callee: s.Callee, Bind: s.Bind, Attrs: s.Attrs, Node: s.Node, Args: slices.Clone(s.Args)}
		for _, r := range s.Results {
			if r != nil {
				r = &Value{Type: r.Type}
			}
			n.Results = append(n.Results, r)
		}
		x.Stmt(n)
		for _, r := range s.Regions {
			n.Regions = append(n.Regions, b.Region(func() []*Value {
				inner := &Subst{Values: x.Values, Syms: maps.Clone(x.Syms)}
				for _, p := range r.Params {
					x.Values[p] = b.Param("", inner.Type(p.Type))
				}
				return b.inline(r, inner)
			}))
		}
		if !b.Add(n) {
			break
		}
		for i, r := range s.Results {
			if r != nil {
				x.Values[r] = b.Replace(x, r.Type, n.Results[i])
			}
		}
	}
	out := make([]*Value, len(block.Results))
	for i, r := range block.Results {
		out[i] = x.Value(r)
	}
	return out
}
