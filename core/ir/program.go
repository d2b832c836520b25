package ir

import (
	"fmt"
	"slices"

	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// Program is a tensor program: what an operator, or a group of them, computes, as a
// list of stages over buffers. It says nothing of loop order, tiles, vectors or
// threads; those belong to the schedule that a target chooses.
type Program struct {
	Name    string
	Syms    []string  // symbols that a call binds, in the order of Stmt.Bind
	Params  []*Buffer // what is read
	Results []*Buffer // what is written, each by one stage
	Stages  []*Stage  // in dependency order
}

// Buffer is a tensor of a program: a parameter, a result, or a temporary.
type Buffer struct {
	Name  string // unique in its program
	DType tensor.DType
	Dims  []sym.Expr // over the program's symbols

	// Room are the dims of the tensor that a parameter is the first part of, along each
	// dim: a cache with room for more than is in it. It is nil where the parameter is all of
	// its tensor.
	Room []sym.Expr
}

// Type is the buffer's type.
func (b *Buffer) Type() TensorType { return TensorOf(b.DType, b.Dims...) }

// RoomDims are the dims of the tensor that the buffer lies in.
func (b *Buffer) RoomDims() []sym.Expr {
	if b.Room != nil {
		return b.Room
	}
	return b.Dims
}

// Passed is the type of what a call passes for a parameter.
func (b *Buffer) Passed() TensorType { return TensorOf(b.DType, b.RoomDims()...) }

// StageKind says what a stage does with the points of its axes.
type StageKind uint8

// The stages.
const (
	MapStage     StageKind = iota // Out[axes] = Expr
	ReduceStage                   // Out[axes] = Monoid over Red of Expr
	ScanStage                     // Out[axes] = Monoid of Expr over the positions up to this one along ScanAxis
	ScatterStage                  // Out = Base, then for each point of the axes: Out[Index] = Monoid(Out[Index], Expr)
)

// Monoid combines values. Sum .. Or take one component; ArgMax and ArgMin take a pair
// (value, position) and keep the first position of the extreme, a NaN counting as
// the extreme; MeanVar takes (value) and gives (mean, sum of squared deviations);
// SoftmaxSum takes (score, value) and gives (max, sum of exp(score-max),
// sum of exp(score-max)*value). Last keeps the latest in index order; it serves
// scatters alone.
type Monoid uint8

// The monoids.
const (
	NoMonoid Monoid = iota
	Sum
	Prod
	Max
	Min
	And
	Or
	ArgMax
	ArgMin
	MeanVar
	SoftmaxSum
	Last
	numMonoids
)

var monoidNames = [numMonoids]string{"", "sum", "prod", "max", "min", "and", "or", "argmax", "argmin", "meanvar", "softmaxsum", "last"}

func (m Monoid) String() string { return monoidNames[m] }

// MonoidByName finds a monoid by the name String gives.
func MonoidByName(name string) (Monoid, bool) {
	for i, n := range monoidNames {
		if n == name && i > 0 {
			return Monoid(i), true
		}
	}
	return 0, false
}

// Inputs is the number of expressions a stage with this monoid has; Outputs the
// number of buffers it defines.
func (m Monoid) Inputs() int {
	switch m {
	case ArgMax, ArgMin, SoftmaxSum:
		return 2
	}
	return 1
}

// Outputs is the number of buffers that a stage with this monoid defines.
func (m Monoid) Outputs() int {
	switch m {
	case ArgMax, ArgMin, MeanVar:
		return 2
	case SoftmaxSum:
		return 3
	}
	return 1
}

// Commutes says whether operands may come in any order; then a reduction axis may
// be permuted without changing the result (but for rounding).
func (m Monoid) Commutes() bool { return m != Last && m != NoMonoid }

// Stage defines its Out buffers, all of one shape.
type Stage struct {
	Kind  StageKind
	Outs  []*Buffer
	Axes  []*Axis // spatial: one for each dim of Outs, in order; of a scatter: over the updates
	Red   []*Axis // reduction axes, the last one innermost
	Exprs []*Scalar

	Monoid Monoid // of reduce, scan and scatter

	ScanAxis  *Axis // one of Axes
	Exclusive bool  // a scan that leaves the point itself out
	Reverse   bool  // a scan from the end

	Base  *Buffer   // scatter: what Out holds before
	Index []*Scalar // scatter: where the point is written, one for each dim of Outs[0]; out of range traps

	// Hints of a sum, which change nothing that anybody reads; to leave them out is always right.
	Sparse []Sparse
	Wanted *Scalar // over Axes; nobody cares for points where it is false, and they may hold zeros. nil: all count
	Any    bool    // whatever would be there; otherwise that is to be within ±UnwantedBound, or all counts after all
}

// Out is the first buffer that the stage defines.
func (s *Stage) Out() *Buffer { return s.Outs[0] }

// AllAxes are the spatial axes and the reduction axes.
func (s *Stage) AllAxes() []*Axis {
	if len(s.Red) == 0 {
		return s.Axes
	}
	return append(append([]*Axis(nil), s.Axes...), s.Red...)
}

// Walk visits every node of the expressions that say what the stage computes, indices included.
func (s *Stage) Walk(f func(*Scalar) bool) {
	var seen made[bool]
	for _, e := range s.Exprs {
		e.walk(f, &seen)
	}
	for _, e := range s.Index {
		e.walk(f, &seen)
	}
}

// Reads gives the buffers the stage loads from, each once, in order of appearance. Those of
// Wanted come last.
func (s *Stage) Reads() []*Buffer {
	var out []*Buffer
	add := func(b *Buffer) {
		if b != nil && !slices.Contains(out, b) {
			out = append(out, b)
		}
	}
	load := func(x *Scalar) bool {
		if x.Op == OpLoad {
			add(x.Buf)
		}
		return true
	}
	add(s.Base)
	s.Walk(load)
	if s.Wanted != nil {
		s.Wanted.Walk(load)
	}
	return out
}

// Temps gives the buffers that are neither parameters nor results, in order of
// definition.
func (p *Program) Temps() []*Buffer {
	io := map[*Buffer]bool{}
	for _, b := range p.Params {
		io[b] = true
	}
	for _, b := range p.Results {
		io[b] = true
	}
	var out []*Buffer
	for _, s := range p.Stages {
		for _, b := range s.Outs {
			if !io[b] {
				out = append(out, b)
			}
		}
	}
	return out
}

// symsOf collects the symbols a program mentions, sorted by first appearance.
func (p *Program) symsOf() []string {
	var out []string
	seen := map[string]bool{}
	add := func(e sym.Expr) {
		for _, s := range e.Symbols() {
			if !seen[s] {
				seen[s] = true
				out = append(out, s)
			}
		}
	}
	for _, list := range [][]*Buffer{p.Params, p.Results} {
		for _, b := range list {
			for _, d := range b.Dims {
				add(d)
			}
			for _, d := range b.Room {
				add(d)
			}
		}
	}
	for _, s := range p.Stages {
		for _, b := range s.Outs {
			for _, d := range b.Dims {
				add(d)
			}
		}
		for _, a := range s.AllAxes() {
			add(a.Extent)
		}
		symbol := func(x *Scalar) bool {
			if x.Op == OpSym {
				add(x.Sym)
			}
			return true
		}
		s.Walk(symbol)
		if s.Wanted != nil {
			s.Wanted.Walk(symbol)
		}
	}
	return out
}

// Finish brings a program that was put together by hand into order: names of buffers
// and axes become unique, and Syms lists what it mentions.
func (p *Program) Finish() {
	names := map[string]bool{}
	for _, list := range [][]*Buffer{p.Params, p.Results, p.Temps()} {
		for _, b := range list {
			base := b.Name
			for i := 1; names[b.Name] || b.Name == ""; i++ {
				b.Name = fmt.Sprintf("%s_%d", base, i)
			}
			names[b.Name] = true
		}
	}
	p.Syms = p.symsOf()
	p.NameAxes()
}

// Clone copies a program: buffers, axes and stages are new. Its symbols are replaced
// by what bind gives for them; nil leaves them.
func (p *Program) Clone(bind func(string) (sym.Expr, bool)) *Program {
	if bind == nil {
		bind = func(string) (sym.Expr, bool) { return sym.Expr{}, false }
	}
	expr := func(e sym.Expr) sym.Expr { return e.Subst(bind) }
	bufs := map[*Buffer]*Buffer{}
	buffer := func(b *Buffer) *Buffer {
		if b == nil {
			return nil
		}
		if bufs[b] == nil {
			n := &Buffer{Name: b.Name, DType: b.DType, Dims: make([]sym.Expr, len(b.Dims))}
			for i, d := range b.Dims {
				n.Dims[i] = expr(d)
			}
			for _, d := range b.Room {
				n.Room = append(n.Room, expr(d))
			}
			bufs[b] = n
		}
		return bufs[b]
	}
	buffers := func(list []*Buffer) []*Buffer {
		out := make([]*Buffer, len(list))
		for i, b := range list {
			out[i] = buffer(b)
		}
		return out
	}
	out := &Program{Name: p.Name, Syms: p.Syms, Params: buffers(p.Params), Results: buffers(p.Results)}
	for _, s := range p.Stages {
		axes := map[*Axis]*Axis{}
		copyAxes := func(list []*Axis) []*Axis {
			var out []*Axis
			for _, a := range list {
				axes[a] = &Axis{Name: a.Name, Extent: expr(a.Extent)}
				out = append(out, axes[a])
			}
			return out
		}
		n := *s
		n.Outs, n.Base = buffers(s.Outs), buffer(s.Base)
		n.Axes, n.Red = copyAxes(s.Axes), copyAxes(s.Red)
		if s.ScanAxis != nil {
			n.ScanAxis = axes[s.ScanAxis]
		}
		n.Sparse = slices.Clone(s.Sparse)
		for i := range n.Sparse {
			n.Sparse[i].Buffer = buffer(n.Sparse[i].Buffer)
		}
		n.Rewrite(func(x *Scalar) *Scalar {
			switch x.Op {
			case OpAxis:
				return axes[x.Axis].Ix()
			case OpLoad:
				y := *x
				y.Buf = buffer(x.Buf)
				return &y
			case OpSym:
				return SymVal(expr(x.Sym))
			case OpBcast:
				dim, _ := x.Args[1].Symbolic()
				extent, _ := x.Args[2].Symbolic()
				return Bcast(x.Args[0], dim, extent)
			}
			return x
		})
		out.Stages = append(out.Stages, &n)
	}
	return out
}

// Rewrite rewrites every expression of the stage, indices and Wanted included. Hints of buffers
// that it no longer loads from then are dropped.
func (s *Stage) Rewrite(f func(*Scalar) *Scalar) {
	var done made[*Scalar]
	each := func(list []*Scalar) []*Scalar {
		var out []*Scalar
		for _, e := range list {
			out = append(out, e.rewrite(f, &done))
		}
		return out
	}
	s.Exprs, s.Index = each(s.Exprs), each(s.Index)
	if s.Wanted != nil {
		s.Wanted = s.Wanted.rewrite(f, &done)
	}
	s.keepHints()
}

// CountLoads is the number of loads of b in the program's expressions.
func (p *Program) CountLoads(b *Buffer) int {
	n := 0
	count := func(x *Scalar) bool {
		if x.Op == OpLoad && x.Buf == b {
			n++
		}
		return true
	}
	for _, s := range p.Stages {
		s.Walk(count)
		if s.Wanted != nil {
			s.Wanted.Walk(count)
		}
	}
	return n
}
