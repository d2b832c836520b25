package analysis

import (
	"maps"
	"math"
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// Norm bounds the root of the sum of squares of some elements, unless one of them is NaN: a sum of numbers times norms of
// matrices that nobody has read.
type Norm []NormTerm

// NormTerm is a number times norms of matrices.
type NormTerm struct {
	By float64
	Of []MatrixNorm
}

// MatrixNorm is by how much a constant matrix makes a vector longer at most, of what it makes of it one part, as that of a
// head: the largest of all parts. With Shifted it is the length of what it makes of Shift.
type MatrixNorm struct {
	Matrix      *ir.Value
	In          int       // the dim along which a vector is multiplied
	Part        int64     // how many elements along the other one are a part
	Gain, Shift *ir.Value // the vector is first multiplied by Gain, and then Shift is added; nil for none
	Shifted     bool
}

const (
	normTerms = 16 // longer sums are not followed
	normDepth = 64 // statements and stages that are gone back
)

func (n Norm) plus(o Norm) Norm {
	out := slices.Clone(n)
	for _, t := range o {
		i := slices.IndexFunc(out, func(have NormTerm) bool { return slices.Equal(have.Of, t.Of) })
		if i < 0 {
			out = append(out, t)
		} else {
			out[i].By += t.By
		}
	}
	return out
}

// times is n times a number, and a norm of a matrix where there is one.
func (n Norm) times(by float64, of ...MatrixNorm) Norm {
	out := make(Norm, len(n))
	for i, t := range n {
		out[i] = NormTerm{t.By * by, append(t.Of[:len(t.Of):len(t.Of)], of...)}
	}
	return out
}

// value is what a norm is where it depends on no matrix.
func (n Norm) value() (v float64, ok bool) {
	for _, t := range n {
		if len(t.Of) > 0 {
			return 0, false
		}
		v += t.By
	}
	return v, true
}

// spans says of axes, or dims, along which squares are summed up how many positions side by side are a part: whatever part
// it is. Of others it is one position, whatever it is.
type spans map[*ir.Axis]int64

func (l spans) count() float64 {
	n := 1.0
	for _, part := range l {
		n *= float64(part)
	}
	return n
}

// wholly are axes with all their positions, which are known.
func wholly(axes []*ir.Axis) (spans, bool) {
	out := spans{}
	for _, a := range axes {
		n, ok := a.Extent.Int()
		if !ok {
			return nil, false
		}
		out[a] = n
	}
	return out, true
}

// made is a stage that defines a value, with what is known of its program.
type made struct {
	*RaggedProgram
	*ir.Stage
}

// roomFor is what rounding may add to a sum of n products, of the product of norms; false where nothing is left of it. What is
// summed up as f64 may have been f32 before.
func roomFor(d tensor.DType, n float64) (float64, bool) {
	room := 1 + 4*max(epsOf(d), epsOf(tensor.F32))*(n+64)
	return room, room < 2
}

// isConst says whether an expression is an element of a constant.
func (a *RaggedProgram) isConst(x *ir.Scalar) bool {
	x = uncast(x)
	return x.Op == ir.OpLoad && a.constant(x.Buf) != nil
}

// constant is the constant that a buffer is, if it is one of floats: pit.Norm reads no others.
func (a *RaggedProgram) constant(b *ir.Buffer) *ir.Value {
	if _, floats := largestOf(b.DType); !floats {
		return nil
	}
	if i := slices.Index(a.params, b); i >= 0 && a.args[i].Const != nil {
		return a.args[i]
	}
	return nil
}

// norm bounds the norm of an expression along some axes, wherever the others are.
func (a *RaggedProgram) norm(s *ir.Stage, x *ir.Scalar, over spans, deep int) (Norm, bool) {
	is := a.eval(s, x)
	most := is.largest() * math.Sqrt(over.count())
	wide := !is.NaN && !math.IsInf(most, 1) && most == most
	n, ok := a.normBy(s, x, over, deep)
	if len(n) > normTerms {
		ok = false
	}
	if v, known := n.value(); wide && (!ok || known && most < v) {
		return Norm{{By: most}}, true
	}
	return n, ok
}

// normBy knows more of the norm than how large an element is.
func (a *RaggedProgram) normBy(s *ir.Stage, x *ir.Scalar, over spans, deep int) (Norm, bool) {
	if deep > normDepth || !x.DType.IsFloat() {
		return nil, false
	}
	both := func(x, y *ir.Scalar) (Norm, bool) {
		n, ok := a.norm(s, x, over, deep+1)
		m, ok2 := a.norm(s, y, over, deep+1)
		return n.plus(m), ok && ok2
	}
	scaled := func(x *ir.Scalar, by float64) (Norm, bool) {
		n, ok := a.norm(s, x, over, deep+1)
		return n.times(by), ok && by < math.Inf(1)
	}
	switch x.Op {
	case ir.OpLoad:
		return a.normOfLoad(x, over, deep)
	case ir.OpAdd, ir.OpSub, ir.OpMin, ir.OpMax:
		return both(x.Args[0], x.Args[1])
	case ir.OpSelect, ir.OpGuard:
		return both(x.Args[1], x.Args[2])
	case ir.OpNeg, ir.OpAbs:
		return scaled(x.Args[0], 1)
	case ir.OpCast:
		if !x.Args[0].DType.IsFloat() {
			return nil, false
		}
		if x.DType.Bits() >= 32 {
			return scaled(x.Args[0], 1)
		}
		n, ok := scaled(x.Args[0], 1+halfStep(x.DType))
		return n.plus(Norm{{By: 0x1p-24 * math.Sqrt(over.count())}}), ok && a.eval(s, x).Finite()
	case ir.OpMul, ir.OpDiv:
		if n, ok := a.normalised(s, x, over); ok {
			return n, true
		}
		f, g := a.eval(s, x.Args[0]), a.eval(s, x.Args[1])
		switch {
		case x.Op == ir.OpDiv:
			return scaled(x.Args[0], 1/max(g.Lo, -g.Hi, 0))
		case f.Finite() && (!g.Finite() || f.largest() < g.largest()):
			return scaled(x.Args[1], f.largest())
		case g.Finite():
			return scaled(x.Args[0], g.largest())
		}
	}
	return nil, false
}

// normalised is the norm of what a normalisation gives, along axes that it goes over.
func (a *RaggedProgram) normalised(s *ir.Stage, x *ir.Scalar, over spans) (Norm, bool) {
	e := a.evaluator(nil)
	most, axes, ok := e.normed(x)
	if !ok {
		return nil, false
	}
	for k, n := range over {
		if !slices.Contains(axes, k) {
			most *= math.Sqrt(float64(n))
		}
	}
	room, ok := roomFor(x.DType, over.count())
	return Norm{{By: most * room}}, ok
}

// reads says along which parts of the dims of its buffer a load goes where its axes go along some, each element at most
// once; and how often it goes along them.
func (a *RaggedProgram) reads(x *ir.Scalar, over spans) (parts []int64, times float64, ok bool) {
	rest := maps.Clone(over)
	for i, ix := range x.Args {
		parts = append(parts, 1)
		f, affine := AffineOf(ix)
		if !affine {
			if slices.ContainsFunc(slices.Collect(maps.Keys(over)), func(k *ir.Axis) bool { return mentions(ix, k) }) {
				return nil, 0, false
			}
			continue
		}
		var of, others []Term
		for _, t := range f.Terms {
			if over[t.Axis] > 0 {
				of = append(of, t)
			} else {
				others = append(others, t)
			}
		}
		if len(of) == 0 {
			continue
		}
		n, ok := x.Buf.Dims[i].Int()
		if !ok || !(Affine{Terms: of}).Injective() {
			return nil, 0, false
		}
		parts[i] = n
		if part := over[of[0].Axis]; len(of) == 1 && of[0].K.IsInt(1) && n%part == 0 && multiple(f.C, part) &&
			!slices.ContainsFunc(others, func(t Term) bool { return !multiple(t.K, part) }) {
			parts[i] = part
		}
		for _, t := range of {
			delete(rest, t.Axis)
		}
	}
	return parts, math.Sqrt(rest.count()), true
}

func multiple(e sym.Expr, of int64) bool {
	n, ok := e.Int()
	return ok && n%of == 0
}

func mentions(x *ir.Scalar, k *ir.Axis) bool {
	found := false
	x.Walk(func(y *ir.Scalar) bool {
		found = found || y.Op == ir.OpAxis && y.Axis == k
		return !found
	})
	return found
}

func (a *RaggedProgram) normOfLoad(x *ir.Scalar, over spans, deep int) (Norm, bool) {
	parts, times, ok := a.reads(x, over)
	if !ok {
		return nil, false
	}
	from, v, parts, ok := a.source(x.Buf, parts)
	switch {
	case !ok:
		return nil, false
	case v != nil:
		n, ok := normOfConst(v, parts)
		return Norm{{By: n * times}}, ok
	}
	n, ok := from.normOf(parts, deep)
	return n.times(times), ok
}

// source is the stage that defines a buffer, or the value that nothing computes, with the same parts of its dims.
func (a *RaggedProgram) source(b *ir.Buffer, parts []int64) (from made, v *ir.Value, at []int64, ok bool) {
	if s := a.defs[b]; s != nil {
		return made{a, s}, nil, parts, true
	}
	i := slices.Index(a.params, b)
	if i < 0 {
		return from, nil, nil, false
	}
	v = a.args[i]
	for v.Def != nil && v.Def.Kind == ir.OpStmt && v.Def.Op.IsView() {
		from, ok1 := v.Def.Args[0].Tensor()
		to, ok2 := v.Tensor()
		if !ok1 || !ok2 || from.Unranked {
			return made{}, nil, nil, false
		}
		if parts, ok = partsBefore(from.Dims, to.Dims, parts); !ok {
			return made{}, nil, nil, false
		}
		v = v.Def.Args[0]
	}
	if from, ok := a.made[v]; ok {
		return from, nil, parts, true
	}
	return from, v, parts, true
}

// partsBefore gives the parts of what a view is of: they hold what parts of the view do, and perhaps more.
func partsBefore(from, to []sym.Expr, parts []int64) ([]int64, bool) {
	out := make([]int64, len(from))
	for i := range out {
		out[i] = 1
	}
	i, j := len(from), len(to)
	for i > 0 && j > 0 && from[i-1].Equal(to[j-1]) { // the same dims behind
		i, j = i-1, j-1
		out[i] = parts[j]
	}
	// What is left are elements side by side, as many as the last dims in which there are several have.
	run, inside := int64(1), int64(1)
	for j--; j >= 0; j-- {
		n, ok := to[j].Int()
		if parts[j] > 1 {
			if run = inside * parts[j]; inside == 0 {
				return nil, false
			}
		}
		if inside *= n; !ok {
			inside = 0
		}
	}
	for i--; i >= 0 && run > 1; i-- {
		n, ok := from[i].Int()
		switch {
		case !ok || n == 0:
			return nil, false
		case run%n == 0:
			out[i], run = n, run/n
		case n%run == 0:
			out[i], run = run, 1
		default:
			return nil, false
		}
	}
	return out, run == 1
}

// normOf is the norm of parts of what a stage defines.
func (m made) normOf(parts []int64, deep int) (Norm, bool) {
	over := spans{}
	for i, n := range parts {
		if n > 1 {
			over[m.Axes[i]] = n
		}
	}
	switch {
	case len(m.Outs) != 1 || !m.Out().DType.IsFloat():
		return nil, false
	case m.Kind == ir.MapStage:
		return m.norm(m.Stage, m.Exprs[0], over, deep+1)
	}
	if n, ok := m.multiplied(over, deep); ok {
		return n, true
	}
	if share, x, ok := m.averaged(m.Stage); ok { // which is no longer than the longest
		times, rest := spans{}, maps.Clone(over)
		for k, n := range over {
			if mentions(share, k) {
				times[k] = n
				delete(rest, k)
			}
		}
		n, ok := m.norm(m.Stage, x, rest, deep+1)
		_, most := m.extent(m.Red[0].Extent)
		room, ok2 := roomFor(m.Out().DType, most)
		return n.times(room * math.Sqrt(times.count())), ok && ok2
	}
	is := m.Rows(m.Out()).Any
	return Norm{{By: is.largest() * math.Sqrt(over.count())}}, is.Finite()
}

// multiplied is the norm of a product of a vector and a constant matrix, along some of its elements.
func (m made) multiplied(over spans, deep int) (Norm, bool) {
	x := uncast(m.Exprs[0])
	if m.Kind != ir.ReduceStage || m.Monoid != ir.Sum || len(m.Red) != 1 || x.Op != ir.OpMul {
		return nil, false
	}
	k := m.Red[0]
	for i, w := range x.Args {
		w, vector := uncast(w), x.Args[1-i]
		if w.Op != ir.OpLoad || len(w.Args) != 2 || m.constant(w.Buf) == nil {
			continue
		}
		of := MatrixNorm{Matrix: m.constant(w.Buf)}
		if a, ok := bare(w.Args[1]); ok && a == k {
			of.In = 1
		}
		in, ok := bare(w.Args[of.In])
		if !ok || in != k || !k.Extent.Equal(w.Buf.Dims[of.In]) || mentions(w.Args[1-of.In], k) || slices.ContainsFunc(slices.Collect(maps.Keys(over)), func(o *ir.Axis) bool { return mentions(vector, o) }) {
			continue
		}
		parts, times, ok := m.reads(w, over)
		all, known := k.Extent.Int()
		if !ok || !known || times != 1 {
			continue
		}
		of.Part = parts[1-of.In]
		room, ok := roomFor(m.Out().DType, float64(all)*math.Sqrt(float64(of.Part)))
		plain := of
		var length, lost Norm
		ok2 := false
		if of.Part == 1 { // of an element the norm is to tell that it is no infinity, and no more
			length, ok2 = m.norm(m.Stage, vector, spans{k: all}, deep+1)
		} else {
			length, lost, ok2 = m.vector(m.Stage, vector, k, &of, deep+1)
		}
		if !ok || !ok2 {
			continue
		}
		out := length.times(room, of).plus(lost.times(room, plain))
		if of.Shift != nil {
			of.Shifted = true
			out = out.plus(Norm{{room, []MatrixNorm{of}}})
		}
		return out, true
	}
	return nil, false
}

// vector is the norm of a vector along an axis before it is multiplied by constants and others are added to it, which it notes; what
// rounding to 16 bits adds is lost.
func (a *RaggedProgram) vector(s *ir.Stage, x *ir.Scalar, k *ir.Axis, of *MatrixNorm, deep int) (is, lost Norm, ok bool) {
	n, ok := k.Extent.Int()
	if !ok || deep > normDepth {
		return nil, nil, false
	}
	over := spans{k: n}
	whole := func(x *ir.Scalar) (Norm, Norm, bool) {
		is, ok := a.norm(s, x, over, deep+1)
		return is, nil, ok
	}
	switch x.Op {
	case ir.OpLoad:
		parts, _, ok := a.reads(x, over)
		if !ok {
			break
		}
		from, v, parts, ok := a.source(x.Buf, parts)
		if !ok || v != nil || from.Kind != ir.MapStage || len(from.Outs) != 1 {
			break
		}
		var in *ir.Axis
		for i, part := range parts {
			if part > 1 && (in != nil || !from.Axes[i].Extent.Equal(k.Extent)) || part > 1 && part != n {
				return whole(x)
			} else if part > 1 {
				in = from.Axes[i]
			}
		}
		if in != nil {
			return from.vector(from.Stage, from.Exprs[0], in, of, deep+1)
		}
	case ir.OpCast:
		if !x.Args[0].DType.IsFloat() {
			break
		}
		if uncast(x) != x {
			return a.vector(s, x.Args[0], k, of, deep+1)
		}
		all, ok := a.norm(s, x.Args[0], over, deep+1)
		is, lost, ok2 := a.vector(s, x.Args[0], k, of, deep+1)
		all = all.times(halfStep(x.DType)).plus(Norm{{By: 0x1p-24 * math.Sqrt(float64(n))}})
		return is, lost.plus(all), ok && ok2 && a.eval(s, x).Finite()
	case ir.OpAdd, ir.OpMul:
		for i, c := range x.Args {
			if v := a.elementOf(c, k); v != nil && x.Op == ir.OpAdd && of.Shift == nil && of.Gain == nil {
				of.Shift = v
				return a.vector(s, x.Args[1-i], k, of, deep+1)
			} else if v != nil && x.Op == ir.OpMul && of.Gain == nil {
				of.Gain = v
				return whole(x.Args[1-i])
			}
		}
	}
	return whole(x)
}

// halfStep is by how much a number of 16 bits is rounded at most, of its size.
func halfStep(d tensor.DType) float64 {
	if d == tensor.F16 {
		return 0x1p-11
	}
	return 0x1p-8
}

// elementOf is a constant that has an element for each position of an axis, which an expression is.
func (a *RaggedProgram) elementOf(x *ir.Scalar, k *ir.Axis) *ir.Value {
	x = uncast(x)
	if x.Op != ir.OpLoad || a.constant(x.Buf) == nil || len(x.Args) == 0 {
		return nil
	}
	last := len(x.Args) - 1
	for i, ix := range x.Args {
		at, ok := bare(ix)
		n, one := ix.AsInt()
		if i < last && !(one && n == 0) || i == last && !(ok && at == k) || i < last && !x.Buf.Dims[i].IsInt(1) || i == last && !x.Buf.Dims[i].Equal(k.Extent) {
			return nil
		}
	}
	return a.constant(x.Buf)
}

// normOfConst is the largest norm of a part of a constant that is small enough to be read as a whole.
func normOfConst(v *ir.Value, parts []int64) (float64, bool) {
	if v.Const == nil || len(parts) == 0 || v.Const.Tensor.Len() > lookedAt || !v.Const.Tensor.DType().IsFloat() {
		return 0, false
	}
	last := len(parts) - 1
	for i, n := range v.Const.Tensor.Shape() {
		if i < last && parts[i] != 1 || i == last && n%parts[i] != 0 {
			return 0, false
		}
	}
	t, part := v.Const.Tensor, parts[last]
	most := 0.0
	for from := int64(0); from < t.Len(); from += part {
		sum := 0.0
		for i := range part {
			sum += t.Float(from+i) * t.Float(from+i)
		}
		if !(sum <= most) {
			most = sum
		}
	}
	return math.Sqrt(most) * (1 + rounding), most < math.Inf(1)
}

// averaged says that a stage sums up something times shares of a whole, which are its quotients by their sum.
func (a *RaggedProgram) averaged(s *ir.Stage) (share, x *ir.Scalar, ok bool) {
	y := uncast(s.Exprs[0])
	if s.Kind != ir.ReduceStage || s.Monoid != ir.Sum || len(s.Red) != 1 || y.Op != ir.OpMul {
		return nil, nil, false
	}
	for i, share := range y.Args {
		q, _ := a.inline(uncast(share))
		if q.Op != ir.OpDiv {
			continue
		}
		all, sub := a.defined(q.Args[1])
		if all == nil || all.Kind != ir.ReduceStage || all.Monoid != ir.Sum || len(all.Red) != 1 || !alike(all.Exprs[0], sub, q.Args[0]) || !within(all, sub) {
			continue
		}
		if sub[all.Red[0]].Axis == s.Red[0] && a.eval(s, q.Args[0]).Lo >= 0 {
			return q, y.Args[1-i], true
		}
	}
	return nil, nil, false
}

// mean bounds a sum of shares of a whole times something by what that is.
func (a *RaggedProgram) mean(s *ir.Stage) (Interval, bool) {
	_, x, ok := a.averaged(s)
	if !ok {
		return Interval{}, false
	}
	_, n := a.extent(s.Red[0].Extent)
	room, ok := roomFor(s.Out().DType, n)
	most := a.eval(s, x).largest() * room
	return Interval{-most, most, true}, ok && most < math.Inf(1)
}
