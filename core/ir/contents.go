package ir

import (
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// Contents finds out what the integer results of a statement hold: small ones as a list,
// others as functions of the index where they are.
func (d *Deducer) Contents(s *Stmt) {
	if s.Kind == OpStmt && s.Op.Control != NoControl {
		d.controlled(s)
		return
	}
	if len(s.Results) == 0 || s.Results[0] == nil || d.known[s.Results[0]] != nil || d.grids[s.Results[0]] != nil {
		return
	}
	switch s.Kind {
	case CastStmt:
		d.same(s.Results[0], s.Args[0])
	case CallStmt:
		p := programOf(s.Callee)
		if p == nil || !integers(s) {
			return
		}
		args := make([]int, len(s.Args))
		for i := range args {
			args[i] = i
		}
		d.holds(s, p, s.Bind, args)
	case OpStmt:
		if s.Op.Effect != Pure || len(s.Regions) > 0 || !integers(s) {
			return
		}
		if s.Op.View {
			d.same(s.Results[0], s.Args[0])
		}
		if d.known[s.Results[0]] != nil {
			return
		}
		if p, args, err := d.Call(s).Program(); err == nil {
			d.holds(s, p, nil, args)
		}
	}
}

// same notes that a value holds the elements of another one, in the same order.
func (d *Deducer) same(v, of *Value) {
	if k, ok := d.Known(of); ok {
		d.known[v] = k
	}
}

// integers says whether all results of a statement are integers or truth values, of known
// rank.
func integers(s *Stmt) bool {
	for _, r := range s.Results {
		if r == nil {
			continue
		}
		t, ok := r.Type.(TensorType)
		if !ok || t.Unranked || !t.DType.IsInt() && t.DType != tensor.Bool {
			return false
		}
	}
	return true
}

// holds finds out what the results of a program are; args tells which operands of the
// statement it reads.
func (d *Deducer) holds(s *Stmt, p *Program, bind []sym.Expr, args []int) {
	small := true
	for _, r := range s.Results {
		if r != nil {
			n, ok := r.Type.(TensorType).Size().Int()
			small = small && ok && n <= MaxKnown
		}
	}
	if small {
		in, known := make([][]sym.Expr, len(args)), true
		for i, a := range args {
			if in[i], known = d.Known(s.Args[a]); !known {
				break
			}
		}
		if known && d.evaluate(s, p, bind, in) {
			return
		}
	}
	if len(s.Results) != 1 {
		return
	}
	for _, a := range args {
		if _, ok := d.Grid(s.Args[a]); !ok {
			return
		}
	}
	if bind != nil {
		p = p.Clone(func(name string) (sym.Expr, bool) {
			for i, s := range p.Syms {
				if s == name {
					return bind[i], true
				}
			}
			return sym.Expr{}, false
		})
	}
	if len(d.inlineGrids(p, s, args, func(*Grid) bool { return true })) > 0 {
		return
	}
	if small && d.evaluate(s, p, nil, nil) {
		return
	}
	if g := p.grid(); g != nil {
		d.grids[s.Results[0]] = g
	}
}

// evaluate runs a program over symbolic integers. A size that the statement makes an integer
// of 32 bits is one from then on, where the statement always runs: the module says so, and a
// run holds its sizes against that.
func (d *Deducer) evaluate(s *Stmt, p *Program, bind []sym.Expr, in [][]sym.Expr) bool {
	e := &symEval{ctx: d.M.Syms, narrows: d.Learns && d.regions == 0}
	out, ok := p.evalSym(e, bind, in)
	for _, n := range e.small {
		ok = ok && d.visible([]sym.Expr{n.e}) && d.M.Syms.LE(n.e, sym.Const(n.most)) != sym.False
	}
	if !ok {
		return false
	}
	for _, n := range e.small {
		if d.M.Syms.AssumeLE(n.e, sym.Const(n.most)) != nil {
			return false
		}
	}
	for _, r := range s.Results {
		if r != nil {
			d.known[r] = out[0]
		}
		if r != nil || s.Kind == CallStmt { // an operator's program has the results alone that are asked for
			out = out[1:]
		}
	}
	return true
}
