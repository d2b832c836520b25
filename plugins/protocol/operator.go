package protocol

import (
	"fmt"
	"strings"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/core/text"
)

// OperatorOf makes the operator that a message describes. It expands to a call of its
// program, so whatever runs programs runs it.
func OperatorOf(msg *Operator) (*ir.OpDef, error) {
	name := msg.GetName()
	fail := func(format string, args ...any) (*ir.OpDef, error) {
		return nil, fmt.Errorf("operator %q: "+format, append([]any{name}, args...)...)
	}
	if i := strings.LastIndexByte(name, '.'); i <= 0 || i == len(name)-1 {
		return fail("its name is not DOMAIN.NAME")
	}
	if ir.Lookup(name) != nil {
		return fail("there is one of this name already")
	}
	m, err := text.Parse(name, []byte("module {\n"+msg.GetProgram()+"\n}"), nil)
	if err != nil {
		return fail("%v", err)
	}
	if len(m.Programs) != 1 || len(m.Funcs)+len(m.Kernels)+len(m.Consts) > 0 {
		return fail("one program is needed, and nothing else")
	}
	p := m.Programs[0]
	if err := ir.VerifyProgram(p); err != nil {
		return fail("%v", err)
	}
	bound := map[string]bool{}
	for _, b := range p.Params {
		for _, d := range b.Dims {
			if s, ok := d.Symbol(); ok {
				bound[s] = true
			}
		}
	}
	for _, s := range p.Syms {
		if !bound[s] {
			return fail("nothing tells the symbol %q: no dim of a parameter is it alone", s)
		}
	}
	def := &ir.OpDef{Name: name, Doc: msg.GetDoc(), In: operands(p.Params), Out: operands(p.Results)}
	def.Deduce = func(c *ir.Call) error {
		env, err := bind(c, p)
		if err != nil {
			return err
		}
		for i, r := range p.Results {
			c.SetOut(i, r.DType, substitute(r.Dims, env)...)
		}
		return nil
	}
	def.Expand = func(c *ir.Call, b *ir.Builder, args []*ir.Value) ([]*ir.Value, error) {
		env, err := bind(c, p)
		if err != nil {
			return nil, err
		}
		q := p.Clone(env)
		q.Finish()
		cast := make([]*ir.Value, len(args))
		for i, a := range args {
			cast[i] = a
			if want := q.Params[i].Type(); !ir.SameType(a.Type, want) {
				cast[i] = b.MatchCast(a, want)
			}
		}
		return b.CallProgram(q, cast), b.Err()
	}
	return def, nil
}

func operands(list []*ir.Buffer) (out []ir.Operand) {
	for _, b := range list {
		out = append(out, ir.Operand{Name: b.Name, Types: []tensor.DType{b.DType}})
	}
	return out
}

// bind gives the symbols of the program the sizes that the operands have. Dims that
// must agree and are not known to are left to a cast, which checks them when it runs.
func bind(c *ir.Call, p *ir.Program) (func(string) (sym.Expr, bool), error) {
	env := map[string]sym.Expr{}
	get := func(s string) (sym.Expr, bool) { e, ok := env[s]; return e, ok }
	for i, b := range p.Params {
		if c.Rank(i) != len(b.Dims) {
			return nil, c.Errorf("operand %d (%s) has rank %d, it takes %d", i, b.Name, c.Rank(i), len(b.Dims))
		}
		for j, d := range b.Dims {
			if s, ok := d.Symbol(); ok {
				if _, known := env[s]; !known {
					env[s] = c.Dims(i)[j]
				}
			}
		}
	}
	for i, b := range p.Params {
		for j, d := range substitute(b.Dims, get) {
			want, ok1 := d.Int()
			got, ok2 := c.Dims(i)[j].Int()
			if ok1 && ok2 && want != got {
				return nil, c.Errorf("dim %d of operand %d (%s) is %d, it takes %d", j, i, b.Name, got, want)
			}
		}
	}
	return get, nil
}

func substitute(dims []sym.Expr, get func(string) (sym.Expr, bool)) []sym.Expr {
	out := make([]sym.Expr, len(dims))
	for i, d := range dims {
		out[i] = d.Subst(get)
	}
	return out
}
