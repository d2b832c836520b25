package kernel

import (
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

// softmaxes are what is known of stages that compare exponentials with the largest one of a row, in any number of
// stages:
//
//	M[r] = max(k) X
//	L[r] = sum(k) exp(X - M[r])
//	Y    = exp(X - M[r]) / L[r]
//
// X - M is 0 at most, or NaN; so exponentials are 1 at most. One of them is 1, so L is 1 at least, and the quotient a
// product with 1/L that neither overflows nor loses anything. Where X is NaN somewhere in the row, L is NaN, and every
// quotient, whatever M is; and exp(X - M) does not tell zeros apart.
type softmaxes struct {
	below  map[*ir.Scalar]bool        // exponentials of what is 0 at most
	shares map[*ir.Scalar]bool        // quotients by L
	loose  map[*ir.Stage][]*ir.Buffer // maxima that need be none in a row with NaN, nor tell zeros apart, if what is outside of the kernel reads none of these
}

// findSoftmaxes looks at the stages of a program.
func findSoftmaxes(stages []*ir.Stage) *softmaxes {
	out := &softmaxes{below: map[*ir.Scalar]bool{}, shares: map[*ir.Scalar]bool{}, loose: map[*ir.Stage][]*ir.Buffer{}}
	f := &finder{p: &ir.Program{Stages: stages}, defs: map[*ir.Buffer]definition{}, used: map[int]bool{}}
	for i, s := range stages {
		for j, b := range s.Outs {
			f.defs[b] = definition{i, j}
		}
	}
	for i, s := range stages {
		if s.Kind == ir.ReduceStage && s.Monoid == ir.Max && len(s.Red) == 1 && s.Out().DType == tensor.F32 {
			out.of(f, i)
		}
	}
	return out
}

// of looks for what is made of the maximum that stage n is.
func (o *softmaxes) of(f *finder, n int) {
	m := f.p.Stages[n]
	f.scored = make([]bool, len(f.p.Stages))             // what depends on the maximum
	hands, loose := []*ir.Buffer{m.Out()}, true          // the maximum and exponentials
	weight := func(z *ir.Stage, x *ir.Scalar) *ir.Axis { // whether x is an exponential, along which axis
		if x.Op != ir.OpExp || x.DType != tensor.F32 || x.Args[0].Op != ir.OpSub || x.Args[0].Args[1].Op != ir.OpLoad || x.Args[0].Args[1].Buf != m.Out() {
			return nil
		}
		for _, a := range z.AllAxes() {
			if f.reduces(x.Args[0].Args[1], ir.Max, a, x.Args[0].Args[0]) {
				return a
			}
		}
		return nil
	}
	for i, z := range f.p.Stages[n+1:] {
		depends := slices.ContainsFunc(z.Reads(), func(b *ir.Buffer) bool {
			d, ok := f.defs[b]
			return b == m.Out() || ok && f.scored[d.stage]
		})
		if !depends {
			continue
		}
		f.scored[n+1+i] = true
		seen := map[*ir.Scalar]bool{}
		var visit func(x *ir.Scalar)
		visit = func(x *ir.Scalar) {
			if seen[x] {
				return
			}
			seen[x] = true
			if x.Op == ir.OpDiv {
				w := f.inline(x.Args[0])
				if a := weight(z, w); a != nil && f.reduces(x.Args[1], ir.Sum, a, w) {
					o.shares[x] = true
					o.below[x.Args[0]] = x.Args[0].Op == ir.OpExp
					return
				}
			}
			if weight(z, x) != nil {
				o.below[x], loose = true, false
				return
			}
			if x.Op == ir.OpLoad && slices.Contains(hands, x.Buf) {
				loose = false
			}
			for _, a := range x.Args {
				visit(a)
			}
		}
		for j, x := range z.Exprs {
			w := f.inline(x)
			switch a := weight(z, w); {
			case a != nil && z.Kind == ir.MapStage:
				hands = append(hands, z.Outs[j])
			case a != nil && z.Kind == ir.ReduceStage && z.Monoid == ir.Sum && len(z.Red) == 1 && z.Red[0] == a:
			default:
				visit(x)
				continue
			}
			o.below[x] = x.Op == ir.OpExp
		}
	}
	if loose {
		o.loose[m] = hands
	}
}

// isLoose says whether a stage's maximum need be none in a row with NaN, nor tell zeros apart.
func (f *fused) isLoose(st *stage) bool {
	hands, ok := f.soft.loose[st.Stage]
	return ok && !slices.ContainsFunc(hands, f.kept)
}
