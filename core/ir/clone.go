package ir

import "slices"

// Clone copies a module, so that the copy can be changed on its own. Operators, and the
// data of tensors, are shared.
func (m *Module) Clone() *Module {
	x := &cloner{values: map[*Value]*Value{}, callees: map[Callee]Callee{}}
	out := &Module{Name: m.Name, Syms: m.Syms.Clone(), Ops: m.Ops, Meta: m.Meta}
	for _, c := range m.Consts {
		n := &Const{Name: c.Name, Tensor: c.Tensor, Source: c.Source}
		x.values[c.Value()] = n.Value()
		out.Consts = append(out.Consts, n)
	}
	for _, p := range m.Programs {
		n := p.Clone(nil)
		x.callees[p] = n
		out.Programs = append(out.Programs, n)
	}
	for _, k := range m.Kernels {
		n := &Kernel{Name: k.Name, Program: x.callees[k.Program].(*Program), Attrs: k.Attrs}
		x.callees[k] = n
		out.Kernels = append(out.Kernels, n)
	}
	for _, f := range m.Funcs {
		n := &Func{Name: f.Name, ResultNames: slices.Clone(f.ResultNames)}
		x.callees[f] = n
		out.Funcs = append(out.Funcs, n)
	}
	for i, f := range m.Funcs {
		x.block(&f.Block, &out.Funcs[i].Block)
	}
	return out
}

type cloner struct {
	values  map[*Value]*Value
	callees map[Callee]Callee
}

func (x *cloner) block(b, out *Block) {
	out.Params = x.define(b.Params, nil)
	for _, s := range b.Stmts {
		n := &Stmt{Kind: s.Kind, Op: s.Op, Callee: x.callees[s.Callee], Bind: slices.Clone(s.Bind), Args: x.uses(s.Args),
			Attrs: slices.Clone(s.Attrs), Into: x.uses(s.Into), Node: s.Node}
		for _, r := range s.Regions {
			inner := &Block{}
			x.block(r, inner)
			n.Regions = append(n.Regions, inner)
		}
		n.Results = x.define(s.Results, n)
		out.Stmts = append(out.Stmts, n)
	}
	out.Results = x.uses(b.Results)
}

func (x *cloner) define(list []*Value, def *Stmt) []*Value {
	return mapValues(list, func(v *Value) *Value {
		n := &Value{Name: v.Name, Type: v.Type, Def: def, Index: v.Index}
		x.values[v] = n
		return n
	})
}

func (x *cloner) uses(list []*Value) []*Value {
	return mapValues(list, func(v *Value) *Value { return x.values[v] })
}

// mapValues keeps what is left out left out.
func mapValues(list []*Value, f func(*Value) *Value) []*Value {
	if list == nil {
		return nil
	}
	out := make([]*Value, len(list))
	for i, v := range list {
		if v != nil {
			out[i] = f(v)
		}
	}
	return out
}
