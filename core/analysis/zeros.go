package analysis

import (
	"fmt"
	"math"
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

// ZerosKind says where zeros come from.
type ZerosKind uint8

// The kinds.
const (
	Computed  ZerosKind = iota // a map gives exactly zero for many numbers: a ReLU, a closed gate
	Masked                     // where a mask that comes with the run says
	OneHot                     // but where an index is the position
	Positions                  // where positions say: a causal mask
	Scattered                  // but where something was written
	Contained                  // a constant has them
	Declared                   // whoever gives an input said so
)

var zerosNames = [...]string{"computed", "mask", "one-hot", "positions", "scattered", "constant", "declared"}

func (k ZerosKind) String() string { return zerosNames[k] }

// Zeros says that there may be many zeros in a value, and why; or, of a mask that is added, many
// numbers so low that an exponential of them is zero.
type Zeros struct {
	Kind  ZerosKind
	Of    *ir.Value // what tells where: a mask, an index, a constant; nil: the value itself
	Why   string    // in words, such as "max(X[i], 0)"
	Node  string    // where in the model
	Low   float64   // of a mask that is added: -inf, or how low
	Share float64   // of a constant: which part is zero
	Also  *Zeros    // another source, which is in the same factor or product
}

func (z *Zeros) String() string {
	s := z.Kind.String() + ": " + z.Why
	if z.Node != "" {
		s += fmt.Sprintf(" (%s)", z.Node)
	}
	if z.Also != nil {
		s += "; " + z.Also.String()
	}
	return s
}

// with is z beside another source.
func (z *Zeros) with(o *Zeros) *Zeros {
	n := 0
	for x := z; x != nil; x = x.Also {
		if n++; x.Kind == o.Kind && x.Why == o.Why && x.Node == o.Node || n == 3 {
			return z
		}
	}
	out := *z
	if z.Also == nil {
		o := *o
		o.Also = nil
		out.Also = &o
	} else {
		out.Also = z.Also.with(o)
	}
	return &out
}

// veryLow is so low that an exponential of it is nothing beside one of a score.
const veryLow = -1000

// enough is the part of a constant that is zero for it to count as full of them.
const enough = 0.25

// Zeros says whether there may be many zeros in a value, and why; nil: nothing is known of any.
func (f *Facts) Zeros(v *ir.Value) *Zeros {
	z, _ := f.marks(v)
	return z
}

// marks gives what is known of zeros of a value, and of very low numbers.
func (f *Facts) marks(v *ir.Value) (zero, low *Zeros) {
	if v == nil {
		return nil, nil
	}
	if z, ok := f.zeros[v]; ok {
		return z, f.low[v]
	}
	f.zeros[v] = nil // what goes in a circle has none
	zero, low = f.findMarks(v)
	f.zeros[v], f.low[v] = zero, low
	return zero, low
}

func (f *Facts) findMarks(v *ir.Value) (zero, low *Zeros) {
	if _, ok := v.Tensor(); !ok {
		return nil, nil
	}
	if v.Const != nil {
		if k := f.Const(v.Const); k.Share() >= enough {
			return &Zeros{Kind: Contained, Of: v, Share: k.Share(), Why: fmt.Sprintf("%.0f%% of @%s is zero", 100*k.Share(), v.Name)}, nil
		}
		return nil, nil
	}
	s := v.Def
	switch {
	case s == nil && f.inputs[v]:
		return &Zeros{Kind: Declared, Of: v, Why: fmt.Sprintf("%%%s is said to be full of them", v.Name)}, nil
	case s == nil:
	case s.Kind == ir.CastStmt || s.Kind == ir.OpStmt && s.Op.View:
		return f.marks(s.Args[0])
	case s.Kind == ir.CallStmt:
		if fn, ok := s.Callee.(*ir.Func); ok {
			return f.marks(fn.Results[v.Index])
		}
		if c := f.Call(s); c != nil && v.Index < len(c.Program.Results) {
			return c.marks(c.Program.Results[v.Index])
		}
	case s.Op.Control == ir.Branches && len(s.Regions) == 2 && s.Regions[0] != nil && s.Regions[1] != nil:
		z, l := f.marks(s.Regions[0].Results[v.Index])
		z2, l2 := f.marks(s.Regions[1].Results[v.Index])
		if z == nil {
			z = z2
		}
		if l == nil {
			l = l2
		}
		return z, l
	}
	return nil, nil
}

// Zeros says whether there may be many zeros in a buffer of the program.
func (c *CallFacts) Zeros(b *ir.Buffer) *Zeros {
	z, _ := c.marks(b)
	return z
}

func (c *CallFacts) marks(b *ir.Buffer) (zero, low *Zeros) {
	if z, ok := c.zeros[b]; ok {
		return z, c.low[b]
	}
	c.zeros[b] = nil
	if s := c.stage[b]; s != nil {
		zero, low = c.stageMarks(s, b)
	} else {
		zero, low = c.f.marks(c.arg(b))
	}
	c.zeros[b], c.low[b] = zero, low
	return zero, low
}

// stageMarks looks whether a stage gives zeros, or passes on those that it reads.
func (c *CallFacts) stageMarks(s *ir.Stage, b *ir.Buffer) (zero, low *Zeros) {
	if b.DType.IsComplex() || b.DType == tensor.String {
		return nil, nil
	}
	switch {
	case s.Kind == ir.ScatterStage:
		if zero, low = c.marks(s.Base); zero != nil || low != nil {
			return zero, low
		}
		if c.quickRange(s.Base).Zero() {
			return &Zeros{Kind: Scattered, Why: "scattered into zeros", Node: c.stmt.Place()}, nil
		}
		return nil, nil
	case s.Kind == ir.MapStage, s.Kind == ir.ReduceStage && (s.Monoid == ir.Max || s.Monoid == ir.Min):
	default:
		return nil, nil
	}
	x := s.Exprs[0]
	for _, t := range c.trials(s, x) {
		r := c.try(x, t)
		switch {
		case r.Lo == 0 && r.Hi == 0 && zero == nil:
			zero = c.zeroBy(s, x, t)
		case r.Lo == 0 && r.Hi == 0 && t.of != nil && t.of.Low == 0:
			zero = zero.with(t.of) // a product of several
		case low == nil && t.low && r.Hi <= veryLow && b.DType.IsFloat():
			low = c.lowBy(t, r)
		}
	}
	return zero, low
}

// trial is what is assumed of one buffer that an expression reads: that it is within a range.
type trial struct {
	b      *ir.Buffer
	r      Interval
	of     *Zeros // what is known of it; nil: nothing
	low    bool   // what comes of it may be a mask that is added
	mask   bool   // it is a truth value, or an integer
	branch int    // a choice by positions is taken so; 0: the one that reads the buffer
}

// trials are what is tried of the buffers that an expression reads.
func (c *CallFacts) trials(s *ir.Stage, x *ir.Scalar) (out []trial) {
	var loads []*ir.Buffer
	positions := false
	x.Walk(func(y *ir.Scalar) bool {
		if y.Op == ir.OpLoad && !slices.Contains(loads, y.Buf) {
			loads = append(loads, y.Buf)
		}
		positions = positions || y.Op == ir.OpSelect && byPosition(y.Args[0])
		return true
	})
	// What is known already first, then masks, then what the stage itself makes zero.
	for _, b := range loads {
		z, l := c.marks(b)
		if z != nil && z.Kind == Contained && c.constant(b) != nil && !atPositions(x, b) {
			z = nil // one element of it
		}
		if z != nil {
			out = append(out, trial{b: b, r: Exactly(0), of: z})
		}
		if l != nil {
			out = append(out, trial{b: b, r: Exactly(l.Low), of: l, low: true})
		}
		if z == nil {
			out = append(out, c.rowsOf(x, b)...)
		}
	}
	for _, b := range loads {
		if tried := c.masks(x, b); tried != nil {
			out = append(out, tried...)
		} else if b.DType.IsFloat() && c.constant(b) == nil && c.gate(s, x, b) {
			out = append(out, trial{b: b, r: Exactly(0), mask: true, low: true})
		}
	}
	if positions {
		out = append(out, trial{branch: 1, low: true}, trial{branch: 2, low: true})
	}
	if s.Out().DType.IsFloat() {
		for _, b := range loads {
			if b.DType.IsFloat() && c.constant(b) == nil {
				for _, p := range [...]Interval{{Lo: -8, Hi: -6}, {Lo: -0.25, Hi: -0.125}, {Lo: 0.125, Hi: 0.25}, {Lo: 6, Hi: 8}} {
					out = append(out, trial{b: b, r: p})
				}
			}
		}
	}
	return out
}

// masks are trials of a buffer that may be a mask: truth values and integers are, of fewer bits where they are an input of the model and
// so nothing that was quantized, and numbers that are an input and compared with a constant.
func (c *CallFacts) masks(x *ir.Scalar, b *ir.Buffer) []trial {
	switch {
	case c.constant(b) != nil:
	case b.DType == tensor.Bool, b.DType == tensor.I32, b.DType == tensor.I64,
		len(b.Dims) > 0 && c.input(b) != nil && (b.DType.IsInt() || b.DType.IsFloat() && c.compared(x, b)):
		return []trial{{b: b, r: Exactly(0), low: true, mask: true}, {b: b, r: Exactly(1), low: true, mask: true}}
	}
	return nil
}

// compared says whether all that an expression asks of elements of a buffer is how they compare with a constant.
func (c *CallFacts) compared(x *ir.Scalar, b *ir.Buffer) bool {
	asked, loads := 0, 0
	load := func(y *ir.Scalar) bool { y = uncast(y); return y.Op == ir.OpLoad && y.Buf == b }
	x.Walk(func(y *ir.Scalar) bool {
		switch {
		case load(y) && y.Op == ir.OpLoad:
			loads++
		case y.Op == ir.OpCast && y.DType == tensor.Bool && load(y.Args[0]):
			asked++
		case y.Op.Compares() && (load(y.Args[0]) && c.fixed(y.Args[1]) || load(y.Args[1]) && c.fixed(y.Args[0])):
			asked++
		}
		return true
	})
	return asked > 0 && asked == loads
}

// fixed says whether an expression is a constant.
func (c *CallFacts) fixed(x *ir.Scalar) bool {
	x = uncast(x)
	return x.Op == ir.OpLit || x.Op == ir.OpLoad && len(x.Args) == 0 && c.constant(x.Buf) != nil
}

// nonzero is what an expression asks of whether it is zero: a load; nil: it asks nothing of the kind.
func (c *CallFacts) nonzero(x *ir.Scalar) *ir.Scalar {
	switch {
	case x.Op == ir.OpCast && x.DType == tensor.Bool:
		x = x.Args[0]
	case (x.Op == ir.OpEq || x.Op == ir.OpNe) && c.zero(x.Args[1]):
		x = x.Args[0]
	case (x.Op == ir.OpEq || x.Op == ir.OpNe) && c.zero(x.Args[0]):
		x = x.Args[1]
	default:
		return nil
	}
	if x = uncast(x); x.Op != ir.OpLoad {
		return nil
	}
	return x
}

// zero says whether an expression is the number zero.
func (c *CallFacts) zero(x *ir.Scalar) bool {
	x = uncast(x)
	return c.fixed(x) && (x.DType.IsFloat() || x.DType.IsInt()) && (x.Op == ir.OpLit && x.Lit.Float(0) == 0 || x.Op == ir.OpLoad && c.Range(x.Buf).Zero())
}

// input is the input of the model that a buffer is, in another shape perhaps; nil: it is none.
func (c *CallFacts) input(b *ir.Buffer) *ir.Value {
	v := c.arg(b)
	for v != nil && v.Def != nil && (v.Def.Kind == ir.CastStmt || v.Def.Kind == ir.OpStmt && v.Def.Op.View) {
		v = v.Def.Args[0]
	}
	if _, ok := c.f.inputs[v]; !ok {
		return nil
	}
	return v
}

// atPositions says whether an expression reads a buffer at other elements for other points.
func atPositions(x *ir.Scalar, b *ir.Buffer) bool {
	found := false
	x.Walk(func(y *ir.Scalar) bool {
		if y.Op == ir.OpLoad && y.Buf == b {
			y.Walk(func(z *ir.Scalar) bool { found = found || z.Op == ir.OpAxis; return !found })
		}
		return !found
	})
	return found
}

// rowsOf is the trial of rows that are zero, of a constant from which rows are picked.
func (c *CallFacts) rowsOf(x *ir.Scalar, b *ir.Buffer) (out []trial) {
	k := c.constant(b)
	if k == nil || len(b.Dims) < 2 || !b.DType.IsFloat() {
		return nil
	}
	var picked *ir.Value
	x.Walk(func(y *ir.Scalar) bool {
		if y.Op == ir.OpLoad && y.Buf == b && picked == nil {
			y.Args[0].Walk(func(i *ir.Scalar) bool {
				if i.Op == ir.OpLoad && picked == nil {
					picked = c.arg(i.Buf)
				}
				return true
			})
		}
		return true
	})
	if picked == nil || picked.Const != nil {
		return nil
	}
	if l := c.f.Const(k); l.ZeroRows > 0 {
		why := fmt.Sprintf("%d of %d rows of @%s are zero", l.ZeroRows, l.Rows, k.Name)
		return []trial{{b: b, r: Exactly(0), of: &Zeros{Kind: Contained, Of: k.Value(), Share: float64(l.ZeroRows) / float64(l.Rows), Why: why, Node: c.stmt.Place()}}}
	}
	return nil
}

// gate says whether a buffer is an input of the model that only ever switches off what it is
// multiplied with, element by element: a mask in numbers.
func (c *CallFacts) gate(s *ir.Stage, x *ir.Scalar, b *ir.Buffer) bool {
	v := c.input(b)
	return v != nil && len(b.Dims) > 0 && c.f.gating(v) && partner(x, b)
}

// gating says whether all that reads an input multiplies another value with it, element by element.
func (f *Facts) gating(v *ir.Value) bool {
	if g := f.gates[v]; g != nil {
		return *g
	}
	ok := false
	f.gates[v] = &ok
	switches := true
	var look func(v *ir.Value)
	look = func(v *ir.Value) {
		for _, u := range f.uses[v] {
			switch c := f.Call(u.stmt); {
			case u.stmt.Kind == ir.CastStmt || u.stmt.Kind == ir.OpStmt && u.stmt.Op.View:
				look(u.stmt.Results[0])
			case c == nil:
				switches = false
			default:
				b := c.Program.Params[u.arg]
				for _, s := range c.Program.Stages {
					switches = switches && s.Base != b
					for _, x := range append(slices.Clone(s.Exprs), s.Index...) {
						switches = switches && (onlyFactor(x, b) || moves(x))
					}
				}
			}
		}
	}
	look(v)
	for _, fn := range f.m.Funcs {
		switches = switches && !slices.Contains(fn.Results, v)
	}
	ok = switches
	return ok
}

// moves says whether an expression is a load, converted or not.
func moves(x *ir.Scalar) bool {
	for x.Op == ir.OpCast {
		x = x.Args[0]
	}
	return x.Op == ir.OpLoad
}

// partner says whether an expression multiplies a load of a buffer with other loads at the same index.
func partner(x *ir.Scalar, b *ir.Buffer) bool {
	found := false
	x.Walk(func(y *ir.Scalar) bool {
		found = found || y.Op == ir.OpMul && (factors(y.Args[0], y.Args[1], b) || factors(y.Args[1], y.Args[0], b))
		return !found
	})
	return found
}

// onlyFactor says whether all loads of a buffer in an expression are multiplied with other loads at the same index.
func onlyFactor(x *ir.Scalar, b *ir.Buffer) bool {
	loads, factor := 0, 0
	x.Walk(func(y *ir.Scalar) bool {
		if y.Op == ir.OpLoad && y.Buf == b {
			loads++
		}
		if y.Op == ir.OpMul && (factors(y.Args[0], y.Args[1], b) || factors(y.Args[1], y.Args[0], b)) {
			factor++
		}
		return true
	})
	return loads == factor
}

// factors says whether one of two factors is a load of a buffer, and the other one loads another at the same index, times a
// number perhaps.
func factors(m, other *ir.Scalar, b *ir.Buffer) bool {
	m, other = unconverted(m), unconverted(other)
	for other.Op == ir.OpMul {
		switch x, y := unconverted(other.Args[0]), unconverted(other.Args[1]); {
		case len(x.Args) == 0:
			other = y
		case len(y.Args) == 0:
			other = x
		default:
			return false
		}
	}
	return m.Op == ir.OpLoad && m.Buf == b && m.DType.IsFloat() && other.Op == ir.OpLoad && other.Buf != b && covers(other.Args, m.Args)
}

// covers says whether all axes of one index are bare in another, too.
func covers(index, of []*ir.Scalar) bool {
	n := 0
	for _, ix := range of {
		a, ok := Bare(ix)
		if !ok {
			continue
		}
		if !slices.ContainsFunc(index, func(y *ir.Scalar) bool { b, ok := Bare(y); return ok && a == b }) {
			return false
		}
		n++
	}
	return n > 0
}

// byPosition says whether a condition depends on positions and sizes alone.
func byPosition(x *ir.Scalar) bool {
	axis, load := false, false
	x.Walk(func(y *ir.Scalar) bool {
		axis, load = axis || y.Op == ir.OpAxis, load || y.Op == ir.OpLoad
		return !load
	})
	return axis && !load
}

// try evaluates an expression under a trial. What else is read may be any small number.
func (c *CallFacts) try(x *ir.Scalar, t trial) Interval {
	e := &ranger{bounds: c.ranges.bounds, generic: true, done: map[*ir.Scalar]Interval{}}
	e.load = func(y *ir.Scalar) Interval {
		if y.Buf == t.b && t.b != nil {
			return t.r
		}
		if r, ok := c.ranges.element(y); ok {
			return r
		}
		return c.quickRange(y.Buf)
	}
	e.decide = func(y *ir.Scalar) (int, bool) {
		if !byPosition(y.Args[0]) {
			return 0, false
		}
		if t.branch > 0 {
			return t.branch, y.Op == ir.OpSelect
		}
		for _, branch := range []int{1, 2} {
			reads := false
			y.Args[branch].Walk(func(l *ir.Scalar) bool { reads = reads || l.Op == ir.OpLoad && l.Buf == t.b; return !reads })
			if reads {
				return branch, true
			}
		}
		return 0, false
	}
	return e.eval(x)
}

// quickRange is what a buffer may be about: a small constant is what it is, and so is what is
// computed of none; others are small numbers.
func (c *CallFacts) quickRange(b *ir.Buffer) Interval {
	if k := c.constant(b); k != nil && k.Tensor.Len() <= 4096 {
		return c.f.constRange(k)
	}
	if s := c.stage[b]; s != nil && s.Kind == ir.MapStage && len(s.Reads()) == 0 {
		return c.Range(b)
	}
	switch {
	case b.DType == tensor.Bool:
		return Interval{0, 1, false}
	case !b.DType.IsFloat():
		return Anything(b.DType)
	}
	if v := c.arg(b); v != nil && v.Def != nil && c.f.Call(v.Def) != nil {
		d := c.f.Call(v.Def)
		return d.quickRange(d.Program.Results[v.Index])
	}
	return Interval{Lo: -1, Hi: 1}
}

// zeroBy tells of zeros that a trial has shown.
func (c *CallFacts) zeroBy(s *ir.Stage, x *ir.Scalar, t trial) *Zeros {
	node := c.stmt.Place()
	switch {
	case t.of != nil && t.of.Low != 0:
		return &Zeros{Kind: t.of.Kind, Of: t.of.Of, Why: t.of.Why, Node: t.of.Node}
	case t.of != nil:
		return t.of
	case t.branch > 0:
		return &Zeros{Kind: Positions, Why: positionsOf(x), Node: node}
	case t.mask && equals(x, t.b):
		return &Zeros{Kind: OneHot, Of: c.origin(t.b), Why: fmt.Sprintf("but where %s is the position", c.nameOf(t.b)), Node: node}
	case t.mask:
		return &Zeros{Kind: Masked, Of: c.origin(t.b), Why: fmt.Sprintf("where %s is %s", c.nameOf(t.b), maskValue(t)), Node: node}
	}
	return &Zeros{Kind: Computed, Why: short(x), Node: node}
}

// lowBy tells of very low numbers that a trial has shown.
func (c *CallFacts) lowBy(t trial, r Interval) *Zeros {
	low := max(r.Hi, -math.MaxFloat64)
	if math.IsInf(r.Hi, -1) {
		low = r.Hi
	}
	what := fmt.Sprintf("masked by %.3g", low)
	switch {
	case t.of != nil:
		z := *t.of
		z.Low = low
		return &z
	case t.branch > 0:
		return &Zeros{Kind: Positions, Why: what + " by positions", Low: low, Node: c.stmt.Place()}
	}
	return &Zeros{Kind: Masked, Of: c.origin(t.b), Why: fmt.Sprintf("%s where %s is %s", what, c.nameOf(t.b), maskValue(t)), Low: low, Node: c.stmt.Place()}
}

func maskValue(t trial) string {
	if t.b.DType == tensor.Bool {
		return [...]string{"false", "true"}[int(t.r.Lo)]
	}
	return fmt.Sprint(t.r.Lo)
}

// equals says whether an expression compares an integer of a buffer with a position.
func equals(x *ir.Scalar, b *ir.Buffer) bool {
	found := false
	x.Walk(func(y *ir.Scalar) bool {
		if (y.Op == ir.OpEq || y.Op == ir.OpNe) && y.Args[0].DType.IsInt() {
			axis, load := false, false
			y.Walk(func(z *ir.Scalar) bool {
				axis, load = axis || z.Op == ir.OpAxis, load || z.Op == ir.OpLoad && z.Buf == b
				return z.Op != ir.OpLoad
			})
			found = found || axis && load
		}
		return !found
	})
	return found
}

// positionsOf is the condition on positions of an expression.
func positionsOf(x *ir.Scalar) string {
	cond := ""
	x.Walk(func(y *ir.Scalar) bool {
		if y.Op == ir.OpSelect && byPosition(y.Args[0]) && cond == "" {
			cond = "by positions: " + y.Args[0].String()
		}
		return cond == ""
	})
	return cond
}

// short is an expression for people.
func short(x *ir.Scalar) string {
	for x.Op == ir.OpCast {
		x = x.Args[0]
	}
	return x.String()
}

// origin is the value of the model that a buffer is, or was made of by what only moves or converts it.
func (c *CallFacts) origin(b *ir.Buffer) *ir.Value {
	v := c.arg(b)
	for v != nil && v.Def != nil {
		s := v.Def
		switch {
		case s.Kind == ir.CastStmt || s.Kind == ir.OpStmt && s.Op.View:
			v = s.Args[0]
			continue
		case s.Kind == ir.CallStmt:
			if d := c.f.Call(s); d != nil && v.Index < len(d.Program.Results) {
				if st := d.stage[d.Program.Results[v.Index]]; st.Kind == ir.MapStage && moves(st.Exprs[0]) {
					x := st.Exprs[0]
					for x.Op == ir.OpCast {
						x = x.Args[0]
					}
					if up := d.origin(x.Buf); up != nil {
						return up
					}
				}
			}
		}
		break
	}
	return v
}

// nameOf is the name that a buffer has in the model, or where it comes from.
func (c *CallFacts) nameOf(b *ir.Buffer) string {
	if v := c.origin(b); v != nil && v.Name != "" {
		if v.Const != nil {
			return "@" + v.Name
		}
		return "%" + v.Name
	}
	return b.Name
}
