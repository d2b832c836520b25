package reduce

import (
	"slices"

	"github.com/pitopt/pitopt/core/ir"
)

// programs makes tensor programs simpler: an operand in the place of what is computed of
// it, and parameters that nothing reads out.
func (r *reducer) programs() {
	for arg := range 3 {
		r.each(nodes, func(m *ir.Module, i int) (done bool) {
			eachNode(m, func(x *ir.Scalar) *ir.Scalar {
				i--
				if i == -1 && x.Op != ir.OpLoad && x.Op != ir.OpBcast && arg < len(x.Args) && x.Args[arg].DType == x.DType {
					done = true
					return x.Args[arg]
				}
				return x
			})
			return done
		})
	}
	params := func(m *ir.Module) (n int) {
		for _, p := range m.Programs {
			n += len(p.Params)
		}
		return n
	}
	r.each(params, func(m *ir.Module, i int) bool {
		for _, p := range m.Programs {
			if i < len(p.Params) {
				return dropParam(m, p, i)
			}
			i -= len(p.Params)
		}
		return false
	})
}

// nodes counts the nodes of scalar expressions.
func nodes(m *ir.Module) (n int) {
	eachNode(m, func(x *ir.Scalar) *ir.Scalar { n++; return x })
	return n
}

// eachNode rewrites every node of the expressions of programs, in order.
func eachNode(m *ir.Module, f func(*ir.Scalar) *ir.Scalar) {
	for _, p := range m.Programs {
		for _, s := range p.Stages {
			s.Rewrite(f)
		}
	}
}

// dropParam takes out a parameter that the program does not read.
func dropParam(m *ir.Module, p *ir.Program, i int) bool {
	for _, s := range p.Stages {
		if slices.Contains(s.Reads(), p.Params[i]) {
			return false
		}
	}
	p.Params = slices.Delete(p.Params, i, i+1)
	for _, f := range m.Funcs {
		f.Walk(func(s *ir.Stmt) {
			k, isKernel := s.Callee.(*ir.Kernel)
			if s.Callee == ir.Callee(p) || isKernel && k.Program == p {
				s.Args = slices.Delete(s.Args, i, i+1)
			}
		})
	}
	return true
}
