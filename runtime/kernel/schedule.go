package kernel

import (
	"fmt"
	"slices"

	"github.com/pitopt/pitopt/core/analysis"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
)

// Options of a schedule.
type Options struct {
	Lanes int // of vectors: a power of two
	Wide  int // where there are vectors of 64 bits; 0: as many
	// AnyNaN says that the extreme that a stage reduces to need be no NaN where an operand is
	// one, nor tell zeros apart.
	AnyNaN  bool
	Alone   bool                    // each stage is a kernel by itself, which can be cut where fused ones can not
	Taken   func(i int) bool        // stages that are computed in another way; nil: none
	Blocks  Blocks                  // of contractions; none: they are reductions as others
	Repeats func(b *ir.Scalar) bool // whether an ir.OpBcast gives 0, which sizes decide
	// Scatters says that who runs a kernel puts into a buffer with a Base what that holds. A row that comes in pieces comes one
	// after the other, which takes a processor that is fast by itself.
	Scatters bool
	// Blocked says that a processor computes vectors one after the other, by a cache of lines: maps that read along another
	// loop than that of the vectors go along it inside of a vector, and in blocks.
	Blocked bool
	// Squares says that lanes are exchanged easily, so that such maps transpose squares in registers.
	Squares bool
}

// Schedule says how the stages of a program are computed.
type Schedule struct {
	Groups  []Group        // in order; no stage is in two
	Refused map[int]string // why stages are in none
}

// Group is stages that one kernel computes.
type Group struct {
	First, Count int
	Before       []*Kernel // to be run before, one after the other; they write buffers that are none of the program's
	Kernel       *Kernel
}

// refusal is why stages can not be scheduled together.
type refusal string

func refuse(format string, args ...any) { panic(refusal(fmt.Sprintf(format, args...))) }

// New schedules a program. Stages that are neighbours and go over the same rows become one
// kernel, with what is between them in temporaries of one row; as many as can be.
func New(p *ir.Program, o Options) *Schedule {
	s := &scheduler{p: p, Options: o}
	for _, st := range p.Stages {
		s.stages = append(s.stages, s.prepare(st))
	}
	s.soft = findSoftmaxes(s.decided())
	out := &Schedule{Refused: map[int]string{}}
	for i := 0; i < len(s.stages); {
		if o.Taken != nil && o.Taken(i) {
			i++
			continue
		}
		if k := s.stages[i].tiled; k != nil {
			out.Groups = append(out.Groups, Group{First: i, Count: 1, Kernel: k, Before: s.stages[i].before})
			i++
			continue
		}
		g, why := s.best(i)
		if g.Kernel == nil {
			out.Refused[i] = why
			i++
			continue
		}
		out.Groups = append(out.Groups, g)
		i += g.Count
	}
	return out
}

type scheduler struct {
	Options
	p      *ir.Program
	stages []*stage
	soft   *softmaxes
}

// decided are the stages as they are where broadcasts are decided.
func (s *scheduler) decided() (out []*ir.Stage) {
	for _, st := range s.stages {
		out = append(out, st.Stage)
	}
	return out
}

// stage is a stage whose broadcasts are decided, without axes of one position.
type stage struct {
	*ir.Stage
	axes, red []*ir.Axis
	along     bool // a reduction whose innermost axis is gone over by vectors
	single    bool // a scan along the innermost axis, element by element
	refused   string
	tiled     *Kernel   // of a contraction in tiles
	before    []*Kernel // what it reads by
}

func (s *scheduler) prepare(of *ir.Stage) *stage {
	c := *of
	st := &stage{Stage: &c}
	c.Rewrite(func(x *ir.Scalar) *ir.Scalar {
		if x.Op != ir.OpBcast {
			return x
		}
		if s.Repeats != nil && s.Repeats(x) {
			return ir.IntLit(0)
		}
		return x.Args[0]
	})
	long := func(axes []*ir.Axis) (out []*ir.Axis) {
		for _, a := range axes {
			if !a.Extent.IsInt(1) {
				out = append(out, a)
			}
		}
		return out
	}
	st.axes, st.red = long(of.Axes), long(of.Red)
	if of.Kind == ir.ScanStage { // it goes along its axis as a reduction does
		st.red = long([]*ir.Axis{of.ScanAxis})
		st.single = len(st.axes) > 0 && st.axes[len(st.axes)-1] == of.ScanAxis
		st.axes = slices.DeleteFunc(st.axes, func(a *ir.Axis) bool { return a == of.ScanAxis })
	}
	if of.Kind == ir.ScatterStage { // to one place come positions of these axes, one after the other
		own, others := scattered(of)
		st.axes, st.red = long(own), long(others)
	}
	st.refused = refusesKind(of)
	if of.Kind == ir.ScatterStage && !s.Scatters {
		st.refused = "a scatter has no schedule"
	}
	if n := len(st.red); n > 0 && of.Kind == ir.ReduceStage {
		st.along = !(finds(of) && n > 1) && (len(st.axes) == 0 || st.steps(st.red[n-1]) <= st.steps(st.axes[len(st.axes)-1]) && !short(st.red[n-1], st.axes[len(st.axes)-1]))
	}
	st.tiled, st.before = s.contract(st)
	return st
}

// short says whether one axis has too few positions for vectors, and fewer than another one may have.
func short(a, than *ir.Axis) bool {
	n, ok := a.Extent.Int()
	m, ok2 := than.Extent.Int()
	return ok && n < 8 && (!ok2 || n < m)
}

// steps counts the loads that are not contiguous along an axis, and do go along it.
func (st *stage) steps(a *ir.Axis) (n int) {
	st.Walk(func(x *ir.Scalar) bool {
		if x.Op == ir.OpLoad {
			f, rest := flat(x.Buf, x.Args)
			if c := coef(f, a); !c.IsInt(0) && !c.IsInt(1) {
				n++
			}
			for _, i := range rest {
				x.Args[i].Walk(func(y *ir.Scalar) bool {
					if y.Op == ir.OpAxis && y.Axis == a {
						n++
					}
					return true
				})
			}
		}
		return true
	})
	return n
}

// best makes the kernel of most stages that begin with stage i.
func (s *scheduler) best(i int) (best Group, why string) {
	st := s.stages[i]
	if st.refused != "" {
		return best, st.refused
	}
	tries := []int{len(st.axes)}
	if !st.along && !st.single {
		tries = nil
		for r := len(st.axes) - 1; r >= 0; r-- {
			tries = append(tries, r)
		}
		if len(st.axes) == 0 {
			tries = []int{0}
		}
	}
	for _, rows := range tries {
		f := &fused{scheduler: s, first: i, rows: rows, of: map[*ir.Buffer]int{}}
		for j := i; j < len(s.stages) && (s.Taken == nil || !s.Taken(j)) && len(f.list) < maxStages && (j == i || s.stages[j].tiled == nil && !s.Alone); j++ {
			if w := f.add(s.stages[j]); w != "" {
				if j == i && why == "" {
					why = w
				}
				break
			}
		}
		for ; len(f.list) > max(best.Count, 0); f = f.without() {
			k, w := f.kernel()
			if k != nil {
				best = Group{First: i, Count: len(f.list), Kernel: k}
				break
			}
			if why == "" || len(f.list) == 1 {
				why = w
			}
		}
	}
	return best, why
}

// maxStages bounds a kernel, so that its code stays small.
const maxStages = 24

// fused is stages that go over the same rows, in passes over the rest of each row.
type fused struct {
	*scheduler
	first  int
	rows   int // leading axes that all stages share
	list   []*stage
	of     map[*ir.Buffer]int // which stage defines it
	pass   []int              // of each stage
	passes []*pass
}

// pass is a loop nest inside of a row, or none. The stages in it have the same extents.
type pass struct {
	extents []sym.Expr
	stages  []*stage
}

// without is the same without the last stage.
func (f *fused) without() *fused {
	g := &fused{scheduler: f.scheduler, first: f.first, rows: f.rows, of: map[*ir.Buffer]int{}}
	for _, st := range f.list[:len(f.list)-1] {
		g.add(st)
	}
	return g
}

// inner are the axes that a stage's pass goes over.
func (f *fused) inner(st *stage) []*ir.Axis {
	if st.along {
		return st.red
	}
	return st.axes[f.rows:]
}

// add takes one more stage, or says why it does not go with the others.
func (f *fused) add(st *stage) string {
	if st.refused != "" {
		return st.refused
	}
	alone := func(st *stage) bool { return st.Kind == ir.ScanStage || st.Kind == ir.ScatterStage }
	if len(f.list) > 0 && (alone(st) || alone(f.list[0])) {
		return "a scan or a scatter is a kernel by itself"
	}
	if len(st.axes) < f.rows || st.along && len(st.axes) != f.rows {
		return "it goes over other rows"
	}
	if len(f.list) > 0 {
		for r := range f.rows {
			if !st.axes[r].Extent.Equal(f.list[0].axes[r].Extent) {
				return "it goes over other rows"
			}
		}
	}
	inner := f.inner(st)
	least, why := 0, ""
	st.Walk(func(x *ir.Scalar) bool {
		if x.Op != ir.OpLoad {
			return true
		}
		j, ok := f.of[x.Buf]
		if !ok {
			return true
		}
		from := f.list[j]
		own, same := f.place(st, from, x)
		switch {
		case !own:
			why = fmt.Sprintf("it reads other rows of %s", x.Buf.Name)
		case same && !from.along && f.sameExtents(f.passes[f.pass[j]], inner):
			least = max(least, f.pass[j])
		default:
			least = max(least, f.pass[j]+1)
		}
		return true
	})
	if why != "" {
		return why
	}
	n := len(f.passes)
	for i := least; i < n; i++ {
		if f.sameExtents(f.passes[i], inner) {
			n = i
			break
		}
	}
	if n == len(f.passes) {
		p := &pass{}
		for _, a := range inner {
			p.extents = append(p.extents, a.Extent)
		}
		f.passes = append(f.passes, p)
	}
	f.passes[n].stages = append(f.passes[n].stages, st)
	for _, b := range st.Outs {
		f.of[b] = len(f.list)
	}
	f.list, f.pass = append(f.list, st), append(f.pass, n)
	return ""
}

func (f *fused) sameExtents(p *pass, axes []*ir.Axis) bool {
	return slices.EqualFunc(p.extents, axes, func(e sym.Expr, a *ir.Axis) bool { return e.Equal(a.Extent) })
}

// place says whether a load of what another stage of the kernel defines reads its own row, and
// whether it reads at the very point.
func (f *fused) place(st, from *stage, x *ir.Scalar) (own, same bool) {
	rows, inner := st.axes[:f.rows], f.inner(st)
	own, same = true, len(from.axes)-f.rows == len(inner)
	n := 0 // dims that are more than one
	for i, a := range from.Axes {
		ix, ok := analysis.AffineOf(x.Args[i])
		if !ok {
			return false, false
		}
		if a.Extent.IsInt(1) {
			if len(ix.Terms) > 0 || !ix.C.IsInt(0) {
				return false, false
			}
			continue
		}
		bare := func(a *ir.Axis) bool {
			return ix.C.IsInt(0) && len(ix.Terms) == 1 && ix.Terms[0].Axis == a && ix.Terms[0].K.IsInt(1)
		}
		switch {
		case n < f.rows:
			own = own && bare(rows[n])
		default:
			same = same && n-f.rows < len(inner) && bare(inner[n-f.rows])
			for _, t := range ix.Terms {
				own = own && !slices.Contains(rows, t.Axis)
			}
		}
		n++
	}
	return own, same && own
}

// kept says whether what a stage defines is read outside of the kernel.
func (f *fused) kept(b *ir.Buffer) bool {
	if slices.Contains(f.p.Results, b) {
		return true
	}
	for i := f.first + len(f.list); i < len(f.stages); i++ {
		if slices.Contains(f.stages[i].Reads(), b) {
			return true
		}
	}
	return false
}
