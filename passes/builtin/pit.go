package builtin

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pitopt/pitopt/core/analysis"
	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/pass"
)

// PIT tells sums of products where there may be many zeros.
var PIT = &pass.Pass{
	Name:   "pit",
	Lowers: true,
	Doc: `Tells sums of products where there may be many zeros, whose terms a run may leave out.

    h[i, j] = max(a[i, j], f32 0)                        h[i, j] = max(a[i, j], f32 0)
    y[i, j] = sum(k < 3072) (h[i, k] * W[k, j])    =>    y[i, j] = sum(k < 3072) (h[i, k] * W[k, j]) sparse(h finite)

Zeros come of what a map computes (ReLU, a closed gate), of masks, indices and positions, of pruned
weights, and of what is scattered into zeros; programs tell, and no operator's name. A buffer is
marked where it has an axis that may be permuted, so that a run can leave positions out that are
zero throughout: which ones, and whether it pays, it finds out each time. It is finite where all
else in the terms is proved to be, from ranges that go forward from constants; otherwise zero
times infinity would be lost, and a run looks first. A factor that is computed of a mask becomes a
stage of its own: all of it is looked at, so the mask may as well say where it is zero.

    d[i, j] = sum(k < n) (x[k, i] * g[k, j])             d[i, j] = sum(k < n) (x[k, i] * g[k, j]) wanted(m[i, j] != f32 0)
    v[i, j] = w[i, j] - d[i, j] * m[i, j]          =>    v[i, j] = w[i, j] - d[i, j] * m[i, j]

A sum that is only read to be multiplied by a mask, or to be chosen by one, is marked with where it is
wanted: gradients of masked weights are. Elsewhere it may be zero, provided that it would be no infinity
or NaN, which a run proves first; "any" where that makes no difference. Calls of one program about
which different things are known get programs of their own. Nothing that is computed changes, but for
the sign that a zero has where the mask is zero, and of what is divided by it.

` + "`pitopt inspect -sparsity`" + ` tells of each what is known, and why not more.

It stands after fuse, whose programs it marks, and before dispatch, whose kernels make use of it.`,
	After: []pass.Order{pass.Because("legalize", "zeros are found in programs"),
		pass.Because("fuse", "what is fused is marked as a whole")},
	Before: []pass.Order{pass.Because("dispatch", "kernels make use of the marks")},
	Options: []pass.Option{
		{Name: "look", Kind: pass.Size, Doc: "constants up to this are read while compiling, to prove that they are finite; a run looks at larger ones", Default: int64(256 << 10)},
		{Name: "inputs", Kind: pass.Strings, Doc: "inputs of the model that may be full of zeros, beside masks", Default: []string(nil)},
	},
	Run: func(c *pass.Context, m *ir.Module) error {
		if err := areInputs(m, pass.Get[[]string](c, "inputs")); err != nil {
			return err
		}
		markZeros(m, Facts(c, m))
		return nil
	},
}

// areInputs checks that names are those of inputs of the model.
func areInputs(m *ir.Module, names []string) error {
	var inputs []string
	if main := m.Main(); main != nil {
		for _, p := range main.Params {
			inputs = append(inputs, p.Name)
		}
	}
	for _, name := range names {
		if !slices.Contains(inputs, name) {
			return diag.New(diag.Pipeline, "the option inputs speaks of %q, which is no input of the model", name).Hint("%s", diag.DidYouMean(name, inputs))
		}
	}
	return nil
}

// Facts are the facts that the pass goes by.
func Facts(c *pass.Context, m *ir.Module) *analysis.Facts {
	return analysis.NewFacts(m, pass.Get[int64](c, "look"), pass.Get[[]string](c, "inputs")...)
}

// markZeros gives each call of a program marks of what is known there, and a program of its own where
// others know something else.
func markZeros(m *ir.Module, facts *analysis.Facts) {
	type marked struct {
		calls []*ir.Stmt
		marks []marks
	}
	ways := map[*ir.Program]map[string]*marked{}
	order := map[*ir.Program][]string{}
	var programs []*ir.Program
	for _, f := range m.Funcs {
		f.Walk(func(s *ir.Stmt) {
			p, ok := s.Callee.(*ir.Program)
			if !ok {
				return
			}
			marks := marksOf(facts.Call(s))
			key := keyOf(marks)
			if ways[p] == nil {
				ways[p] = map[string]*marked{}
				programs = append(programs, p)
			}
			w := ways[p][key]
			if w == nil {
				w = &marked{marks: marks}
				ways[p][key] = w
				order[p] = append(order[p], key)
			}
			w.calls = append(w.calls, s)
		})
	}
	for _, p := range programs {
		for _, key := range order[p][1:] {
			w := ways[p][key]
			mark(p, w.marks)
			q := m.AddProgram(p.Clone(nil))
			unmark(p, w.marks)
			stageFactors(q, w.marks)
			for _, s := range w.calls {
				s.Callee = q
			}
		}
		mark(p, ways[p][order[p][0]].marks) // now that the others are made of it
		stageFactors(p, ways[p][order[p][0]].marks)
	}
}

// marks are those of a stage.
type marks struct {
	sparse []ir.Sparse
	wanted *analysis.Demand // nil: all is wanted
	factor int              // that becomes a stage; -1: none does
	finite bool             // the other one is proved finite
}

// mark sets the marks of a program's stages.
func mark(p *ir.Program, list []marks) {
	for i, k := range list {
		s := p.Stages[i]
		s.Sparse = append(s.Sparse, k.sparse...)
		if k.wanted != nil {
			s.Wanted, s.Any = k.wanted.Cond, k.wanted.Any
		}
	}
}

// unmark takes them back.
func unmark(p *ir.Program, list []marks) {
	for i, k := range list {
		s := p.Stages[i]
		if len(k.sparse) > 0 {
			s.Sparse = nil
		}
		if k.wanted != nil {
			s.Wanted, s.Any = nil, false
		}
	}
}

// marksOf are the marks of a program's stages in a call, nil where there are none.
func marksOf(c *analysis.CallFacts) []marks {
	if c == nil {
		return nil
	}
	out, some := make([]marks, len(c.Program.Stages)), false
	for i, s := range c.Program.Stages {
		out[i].factor = -1
		if len(s.Sparse) == 0 { // else it is marked already
			skips := c.Skips(s)
			for _, k := range skips {
				if k.Why == "" && !k.Inverse {
					out[i].sparse = append(out[i].sparse, ir.Sparse{Buffer: k.Buffer, Finite: k.Finite})
				}
			}
			out[i].factor, out[i].finite = c.MaskedFactor(s, skips)
		}
		if s.Wanted == nil {
			out[i].wanted = c.Demand(s)
		}
		some = some || out[i].sparse != nil || out[i].factor >= 0 || out[i].wanted != nil
	}
	if !some {
		return nil
	}
	return out
}

func keyOf(list []marks) string {
	var b strings.Builder
	for i, k := range list {
		for _, h := range k.sparse {
			fmt.Fprintf(&b, "%d %s %t;", i, h.Buffer.Name, h.Finite)
		}
		if k.factor >= 0 {
			fmt.Fprintf(&b, "%d factor %d %t;", i, k.factor, k.finite)
		}
		if k.wanted != nil {
			fmt.Fprintf(&b, "%d wanted %s %t;", i, k.wanted.Cond, k.wanted.Any)
		}
	}
	return b.String()
}
