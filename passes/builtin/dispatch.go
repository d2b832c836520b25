package builtin

import (
	"fmt"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/pass"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/target"
)

// Dispatch gives programs to kernels of the target.
var Dispatch = &pass.Pass{
	Name:   "dispatch",
	Lowers: true,
	Doc: `Gives programs to kernels of the target, where those cost less.

    %y: [n, 8] f32 = call @MatMul[n](%x, @w)  =>  %y: [n, 8] f32 = call kernel @cpu.product.MatMul[n](%x, @w)
                                                  kernel @cpu.product.MatMul = @MatMul {staged = 1}

A kernel names the program that says what it computes, so any executor runs it. The target says
which programs a kernel takes, what a call costs, and what one costs without; sizes that are not
known count as the middle of their range, or as 64 where there is no end to it, and as more where
values that are computed of it would be empty: a window of 256 gives nothing at 64. Programs that no
kernel takes, or none for less, stay as they are. ` + "`pitopt inspect -kernels`" + ` tells of each why.

It stands after fuse, since a kernel takes all of a program, and before plan-memory.`,
	After: []pass.Order{pass.Because("legalize", "kernels compute programs"),
		pass.Because("fuse", "what is joined goes to one kernel")},
	Before: []pass.Order{pass.Because("plan-memory", "a kernel's results are placed as a program's are")},
	Run: func(c *pass.Context, m *ir.Module) error {
		kernels := map[string]*ir.Kernel{}
		EachDispatch(c.Target, m, func(s *ir.Stmt, p *ir.Program, best target.Choice) {
			if best.Kernel == nil {
				return
			}
			key := fmt.Sprint(best.Kernel.Name, " ", p.Name)
			if kernels[key] == nil {
				kernels[key] = &ir.Kernel{Name: target.KernelName(c.Target.Name, best.Kernel.Name, p.Name), Program: p}
				if best.Kernel.Staged {
					kernels[key].Attrs = ir.MakeAttrs(ir.StagedAttr, 1)
					if best.Kernel.Together != nil {
						kernels[key].Attrs = together(kernels[key].Attrs, best.Kernel.Together(p))
					}
				}
				m.Kernels = append(m.Kernels, kernels[key])
			}
			s.Callee = kernels[key]
		})
		return nil
	},
}

// together notes which stages are computed as one.
func together(as ir.Attrs, ranges []ir.Range) ir.Attrs {
	var list []int64
	for _, r := range ranges {
		list = append(list, int64(r.First), int64(r.Last-r.First+1))
	}
	if list == nil {
		return as
	}
	return as.With(ir.TogetherAttr, list)
}

// EachDispatch visits the calls of programs and says how a target computes each best.
func EachDispatch(t *target.Target, m *ir.Module, visit func(s *ir.Stmt, p *ir.Program, best target.Choice)) {
	typical := typicalSizes(m)
	guess := func(symbol string) (int64, bool) { return typical(symbol), true }
	for _, f := range m.Funcs {
		f.Walk(func(s *ir.Stmt) {
			p, ok := s.Callee.(*ir.Program)
			if !ok {
				return
			}
			sizes := map[string]int64{}
			for i, name := range p.Syms {
				if n, err := s.Bind[i].Eval(guess); err == nil {
					sizes[name] = n
				}
			}
			visit(s, p, t.Choose(p, func(symbol string) int64 { return sizes[symbol] }))
		})
	}
}

// typicalSizes tells what the symbols of a module may be about: the middle of their ranges, and more
// where a value would be empty that longer ones fill. What costs nothing at the sizes that are
// compared says nothing of others.
func typicalSizes(m *ir.Module) target.Sizes {
	larger := map[string]int64{}
	typical := func(symbol string) int64 {
		if n, ok := larger[symbol]; ok {
			return n
		}
		return middle(m.Syms, symbol)
	}
	for _, f := range m.Funcs {
		f.Walk(func(s *ir.Stmt) {
			for _, r := range s.Results {
				if r == nil {
					continue
				}
				if t, ok := r.Tensor(); ok {
					for _, dim := range t.Dims {
						if symbol, n := filling(m.Syms, dim, typical); symbol != "" {
							larger[symbol] = n
						}
					}
				}
			}
		})
	}
	return typical
}

// filling gives a symbol that a dim is positive with, and how large it is then, where at typical
// sizes the dim is not; "" where it is, or no symbol by itself makes it so.
func filling(known *sym.Context, dim sym.Expr, typical target.Sizes) (symbol string, size int64) {
	positive := func(symbol string, size int64) bool {
		n, err := dim.Eval(func(name string) (int64, bool) {
			if name == symbol {
				return size, true
			}
			return typical(name), true
		})
		return err != nil || n > 0
	}
	if _, fixed := dim.Int(); fixed || positive("", 0) {
		return "", 0
	}
	for _, name := range dim.Symbols() {
		_, most := known.Range(name)
		most = min(most, longest)
		for n := typical(name); n < most; {
			if n = min(max(2*n, 1), most); positive(name, n) && (symbol == "" || n < size) {
				symbol, size = name, n
				break
			}
		}
	}
	return symbol, size
}

// longest is the largest size that is tried so that a value is not empty.
const longest = 1 << 20

// middle is what a symbol may be about.
func middle(known *sym.Context, symbol string) int64 {
	lo, hi := known.Range(symbol)
	if hi == sym.Inf {
		return max(lo, 64)
	}
	return lo + (hi-lo)/2
}
