package analysis

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
)

// Check is something that could not be proved of shapes, and that a run looks at.
type Check struct {
	Stmt  *ir.Stmt
	Value string // the value that is cast, or "": an operand of the statement
	Dim   int    // of the value; -1: its shape
	Is    string // what is known
	Must  string // what it must be
	OrOne bool   // or one of the two is 1: they are broadcast
	Why   string // where the symbols come from
}

// Checks lists what a run checks of a module's shapes: what casts assert beyond what is
// known, and dims of programs that are broadcast without a proof.
func Checks(m *ir.Module) []Check {
	var out []Check
	for _, f := range m.Funcs {
		c := &checks{m: m, tellers: map[string]string{}, listed: map[[2]string]bool{}}
		for _, p := range f.Params {
			c.told(p, fmt.Sprintf("input %q", p.Name))
		}
		c.block(&f.Block)
		out = append(out, c.out...)
	}
	return out
}

type checks struct {
	m       *ir.Module
	scope   ir.Scope
	tellers map[string]string  // of symbols
	listed  map[[2]string]bool // pairs of dims that are broadcast, by their keys
	out     []Check
}

// told notes who tells the symbols that a value makes visible.
func (c *checks) told(v *ir.Value, who string) {
	mark := c.scope.Mark()
	c.scope.Bind(v.Type)
	for _, name := range c.scope.Since(mark) {
		c.tellers[name] = who
		if t, ok := v.Tensor(); ok {
			if i := slices.IndexFunc(t.Dims, func(d sym.Expr) bool { return d.Uses(name) }); i >= 0 {
				c.tellers[name] = fmt.Sprintf("dim %d of %s", i, who)
			}
		}
	}
}

func (c *checks) block(b *ir.Block) {
	for _, s := range b.Stmts {
		switch {
		case s.Kind == ir.CastStmt:
			c.cast(s)
		case s.Kind == ir.CallStmt:
			c.call(s)
		}
		for _, r := range s.Regions {
			if r == nil {
				continue
			}
			mark := c.scope.Mark()
			for i, p := range r.Params {
				c.told(p, fmt.Sprintf("parameter %d of %s", i, s.OpName()))
			}
			c.block(r)
			c.scope.Reset(mark)
		}
		for _, v := range s.Results {
			if v != nil {
				c.told(v, fmt.Sprintf("%s, node %q", s.OpName(), s.Place()))
			}
		}
	}
}

// cast lists what a cast asserts that is not proved. A symbol that it gives a value is
// no check.
func (c *checks) cast(s *ir.Stmt) {
	v := s.Args[0]
	is, ok := v.Tensor()
	says, ok2 := s.Results[0].Tensor()
	if !ok || !ok2 || says.Unranked {
		return
	}
	name := v.Name
	if name == "" && v.Def != nil {
		name = v.Def.Place()
	}
	if is.Unranked || len(is.Dims) != len(says.Dims) {
		why := "its rank is not known"
		if v.Def != nil {
			why = fmt.Sprintf("it comes of %s, node %q, whose rank only a run tells", v.Def.OpName(), v.Def.Place())
		}
		c.out = append(c.out, Check{Stmt: s, Value: name, Dim: -1, Is: is.String(), Must: says.String(), Why: why})
		return
	}
	for i, d := range says.Dims {
		if c.scope.Missing(d) == "" && c.m.Syms.Equal(is.Dims[i], d) != sym.True {
			c.out = append(c.out, Check{Stmt: s, Value: name, Dim: i, Is: is.Dims[i].String(), Must: d.String(), Why: c.why(is.Dims[i], d)})
		}
	}
}

// call lists the dims that a program broadcasts without a proof. What comes of broadcasting is
// as its operands are, which are listed once.
func (c *checks) call(s *ir.Stmt) {
	p, ok := s.Callee.(*ir.Program)
	if !ok {
		return
	}
	for _, group := range p.Broadcasts(s.Bind) {
		var dims []sym.Expr
		for _, d := range group {
			for _, e := range c.m.Syms.Simplify(d).BroadcastOf() {
				if !slices.ContainsFunc(dims, func(f sym.Expr) bool { return c.m.Syms.Equal(e, f) == sym.True }) {
					dims = append(dims, e)
				}
			}
		}
		for i := 1; i < len(dims); i++ {
			pair := [2]string{min(dims[0].Key(), dims[i].Key()), max(dims[0].Key(), dims[i].Key())}
			if c.listed[pair] {
				continue
			}
			c.listed[pair] = true
			c.out = append(c.out, Check{Stmt: s, Dim: -1, Is: dims[0].String(), Must: dims[i].String(), OrOne: true, Why: c.why(dims[0], dims[i])})
		}
	}
}

// why tells where the symbols of dims come from.
func (c *checks) why(list ...sym.Expr) string {
	var out []string
	for _, e := range list {
		for _, name := range e.Symbols() {
			if by := fmt.Sprintf("%s is %s", sym.Var(name), c.tellers[name]); !slices.Contains(out, by) {
				out = append(out, by)
			}
		}
	}
	return strings.Join(out, ", ")
}

func (c Check) String() string {
	of := ""
	switch {
	case c.Value != "" && c.Dim >= 0:
		of = fmt.Sprintf("dim %d of %q, ", c.Dim, c.Value)
	case c.Value != "":
		of = fmt.Sprintf("%q, ", c.Value)
	}
	text := fmt.Sprintf("%s%s, must be %s", of, c.Is, c.Must)
	if c.OrOne {
		text = fmt.Sprintf("%s and %s must be equal, or one of them 1", c.Is, c.Must)
	}
	if c.Value == "" || c.Stmt.Place() != c.Value {
		text = fmt.Sprintf("node %q (%s): %s", c.Stmt.Place(), c.Stmt.OpName(), text)
	}
	if c.Why != "" {
		text += ": " + c.Why
	}
	return text
}
