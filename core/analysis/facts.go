package analysis

import (
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// Facts tell of the values of a module in which range they are, whether they are finite, and
// whether there may be many zeros among them. They go forward from inputs and constants
// through programs, and are found when they are asked for. A module that changes needs new ones.
type Facts struct {
	m    *ir.Module
	most int64 // bytes of a constant that is looked at as a whole

	ranges map[*ir.Value]Interval
	calls  map[*ir.Stmt]*CallFacts
	zeros  map[*ir.Value]*Zeros
	low    map[*ir.Value]*Zeros
	consts map[*ir.Const]*constLook
	inputs map[*ir.Value]bool // parameters of @main: whether they were said to be full of zeros
	gates  map[*ir.Value]*bool
	uses   map[*ir.Value][]reader
}

// constLook is a constant that was looked at.
type constLook struct {
	zeros *ConstFacts
	whole *Interval
}

// reader is where a call reads a value.
type reader struct {
	stmt *ir.Stmt
	arg  int
}

// NewFacts starts on a module. Constants of up to look bytes are read as a whole, to find out
// in which range they are; larger ones may hold anything. Zeros are counted in pieces. In the inputs
// that are named there may be many zeros.
func NewFacts(m *ir.Module, look int64, inputs ...string) *Facts {
	f := &Facts{m: m, most: look, ranges: map[*ir.Value]Interval{}, calls: map[*ir.Stmt]*CallFacts{}, zeros: map[*ir.Value]*Zeros{},
		low: map[*ir.Value]*Zeros{}, consts: map[*ir.Const]*constLook{}, inputs: map[*ir.Value]bool{}, gates: map[*ir.Value]*bool{},
		uses: map[*ir.Value][]reader{}}
	if main := m.Main(); main != nil {
		for _, p := range main.Params {
			f.inputs[p] = slices.Contains(inputs, p.Name)
		}
	}
	for _, fn := range m.Funcs {
		fn.Walk(func(s *ir.Stmt) {
			for i, v := range s.Args {
				if v != nil {
					f.uses[v] = append(f.uses[v], reader{s, i})
				}
			}
		})
	}
	return f
}

// CallFacts are the facts of the buffers of a program, in one of its calls.
type CallFacts struct {
	Program *ir.Program
	f       *Facts
	stmt    *ir.Stmt
	bound   func(symbol string) (sym.Expr, bool) // what it is in the call
	ranges  *ranges
	zeros   map[*ir.Buffer]*Zeros
	low     map[*ir.Buffer]*Zeros
	stage   map[*ir.Buffer]*ir.Stage
}

// Call gives the facts of a call's program, nil where the statement calls none.
func (f *Facts) Call(s *ir.Stmt) *CallFacts {
	if c, ok := f.calls[s]; ok {
		return c
	}
	p, _ := s.Callee.(*ir.Program)
	if k, ok := s.Callee.(*ir.Kernel); ok {
		p = k.Program
	}
	if p == nil || len(p.Params) != len(s.Args) {
		f.calls[s] = nil
		return nil
	}
	c := &CallFacts{Program: p, f: f, stmt: s, zeros: map[*ir.Buffer]*Zeros{}, low: map[*ir.Buffer]*Zeros{}}
	f.calls[s] = c
	bind := map[string]sym.Expr{}
	for i, name := range p.Syms {
		if i < len(s.Bind) {
			bind[name] = s.Bind[i]
		}
	}
	c.bound = func(name string) (sym.Expr, bool) { x, ok := bind[name]; return x, ok }
	bounds := func(e sym.Expr) (lo, hi int64) { return f.m.Syms.Bounds(e.Subst(c.bound)) }
	c.ranges = newRanges(p, bounds, func(i int) Interval { return f.Range(s.Args[i]) })
	c.ranges.constant = func(b *ir.Buffer) *tensor.Tensor {
		if k := c.constant(b); k != nil {
			return k.Tensor
		}
		return nil
	}
	c.ranges.sums = func(t *tensor.Tensor, over []bool) (float64, bool) {
		if int64(len(t.Bytes())) > f.most {
			return 0, false
		}
		by := absSums(t, over)
		return by, by == by
	}
	c.stage = c.ranges.stage
	return c
}

// arg is the value that a call passes for a parameter, nil for other buffers.
func (c *CallFacts) arg(b *ir.Buffer) *ir.Value {
	for i, p := range c.Program.Params {
		if p == b {
			return c.stmt.Args[i]
		}
	}
	return nil
}

// constant is the constant that a buffer is, nil if it is none.
func (c *CallFacts) constant(b *ir.Buffer) *ir.Const {
	if v := c.arg(b); v != nil {
		return v.Const
	}
	return nil
}

// Constant says whether a buffer is a constant.
func (c *CallFacts) Constant(b *ir.Buffer) bool { return c.constant(b) != nil }

// Name is what the model calls what a buffer holds; a temporary has its own name.
func (c *CallFacts) Name(b *ir.Buffer) string {
	if v := c.arg(b); v != nil && v.Name != "" {
		if v.Const != nil {
			return "@" + v.Name
		}
		return "%" + v.Name
	}
	return b.Name
}

// Say is a size of the program in the symbols of the call.
func (c *CallFacts) Say(e sym.Expr) sym.Expr { return e.Subst(c.bound) }

// Range is the range of a buffer of the program.
func (c *CallFacts) Range(b *ir.Buffer) Interval { return c.ranges.of(b) }

// Range says in which range all elements of a value are.
func (f *Facts) Range(v *ir.Value) Interval {
	if v == nil {
		return anything
	}
	if r, ok := f.ranges[v]; ok {
		return r
	}
	r := f.findRange(v)
	f.ranges[v] = r
	return r
}

func (f *Facts) findRange(v *ir.Value) Interval {
	t, ok := v.Tensor()
	if !ok {
		return anything
	}
	if v.Const != nil {
		return f.constRange(v.Const)
	}
	s := v.Def
	switch {
	case s == nil:
	case s.Kind == ir.CastStmt || s.Kind == ir.OpStmt && s.Op.View:
		return f.Range(s.Args[0])
	case s.Kind == ir.CallStmt:
		if fn, ok := s.Callee.(*ir.Func); ok {
			return f.Range(fn.Results[v.Index])
		}
		if c := f.Call(s); c != nil && v.Index < len(c.Program.Results) {
			return c.Range(c.Program.Results[v.Index])
		}
	case s.Op.Control == ir.Branches && len(s.Regions) == 2 && s.Regions[0] != nil && s.Regions[1] != nil:
		return f.Range(s.Regions[0].Results[v.Index]).Or(f.Range(s.Regions[1].Results[v.Index]))
	}
	return Anything(t.DType)
}

// look is what was found in a constant so far.
func (f *Facts) look(c *ir.Const) *constLook {
	k := f.consts[c]
	if k == nil {
		k = &constLook{}
		f.consts[c] = k
	}
	return k
}

// constRange is the range of a constant.
func (f *Facts) constRange(c *ir.Const) Interval {
	k := f.look(c)
	if k.whole == nil {
		r := Anything(c.Tensor.DType())
		if int64(len(c.Tensor.Bytes())) <= f.most {
			r = intervalOf(c.Tensor)
		}
		k.whole = &r
	}
	return *k.whole
}

// Const tells of the zeros of a constant.
func (f *Facts) Const(c *ir.Const) *ConstFacts {
	k := f.look(c)
	if k.zeros == nil {
		k.zeros = countZeros(c.Tensor)
	}
	return k.zeros
}
