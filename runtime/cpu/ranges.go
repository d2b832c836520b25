package cpu

import (
	"math"
	"slices"
	"unsafe"

	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/runtime/kernel"
)

// Which keys count for a row, where comparisons of the key's position with one number of the row tell: a causal
// mask, a window, keys up to a length, sequences that lie behind each other. Blocks of rows go over the keys that count
// for any of their rows.

// need is a comparison of a position, a leaf, with 0, which holds where X is not masked.
type need struct {
	leaf int
	op   ir.ScalarOp
}

// rowNumber is a number of the row that takes part in a position.
type rowNumber struct {
	buf        *ir.Buffer
	sign, base int64
	step       map[*ir.Axis]int64
	batch, row []int64 // steps of loops
	id         int     // among all of the attention
}

// reachable is what numbers of rows are at most, so that f32 holds a position exactly.
const reachable = 1 << 23

// rowsBlock is some panels of rows, and the keys that count for any of them.
type rowsBlock struct {
	rowPanels
	row0     int64 // the first row of what is cut into panels
	from, to int64 // panels
	number   int64 // of the first panel, among all
	keys     span
}

type span struct{ from, to int64 }

func (s span) empty() bool { return s.from >= s.to }

func (s span) or(t span) span {
	switch {
	case s.empty():
		return t
	case t.empty():
		return s
	}
	return span{min(s.from, t.from), max(s.to, t.to)}
}

// findMask finds what there is to be known of masks.
func (x *attention) findMask(scores *interp.Stage) {
	m := x.Masking(scores.Symbol)
	if m == nil || math.IsInf(m.Slack.Times+m.Slack.Plus, 0) {
		return
	}
	x.mask = m
	low := math.Inf(-1)
	for _, n := range m.Needs {
		i := slices.IndexFunc(x.leaves, func(l leaf) bool { return l.Compares(n.Cond) })
		if i < 0 {
			continue
		}
		low = max(low, n.Low)
		x.needs = append(x.needs, need{i, n.Op})
	}
	x.low = low
}

// regular says whether a leaf lies, or is, as far from row to row and from key to key everywhere, for what its form says.
func regular(l kernel.Leaf) bool {
	if !l.Position {
		return accessOf(l.Node).linear
	}
	var is func(x *ir.Scalar) bool
	is = func(x *ir.Scalar) bool {
		if _, ok := linear(x); ok {
			return true
		}
		switch x.Op {
		case ir.OpAdd, ir.OpSub:
			return is(x.Args[0]) && is(x.Args[1])
		case ir.OpCast:
			x = x.Args[0]
		}
		return x.Op == ir.OpLoad && accessOf(x).linear
	}
	return is(l.Node)
}

// positionOf splits a position into what is linear in the axes and numbers of rows.
func positionOf(s *interp.Stage, x *ir.Scalar, sign int64) (form linearForm, list []rowNumber, ok bool) {
	if f, ok := linear(x); ok {
		f, _ = f.times(linearForm{{coef: sym.Const(sign)}})
		return f, nil, true
	}
	switch x.Op {
	case ir.OpAdd, ir.OpSub:
		by := sign
		if x.Op == ir.OpSub {
			by = -sign
		}
		a, l, ok := positionOf(s, x.Args[0], sign)
		b, m, ok2 := positionOf(s, x.Args[1], by)
		return slices.Concat(a, b), slices.Concat(l, m), ok && ok2
	case ir.OpCast:
		if x = x.Args[0]; x.DType != tensor.I32 {
			return nil, nil, false
		}
	}
	if x.Op != ir.OpLoad {
		return nil, nil, false
	}
	a := accessOf(x)
	if !a.linear {
		return nil, nil, false
	}
	o, ok := loaded(s, a)
	if !ok || o.pad != nil {
		return nil, nil, false
	}
	n := rowNumber{buf: o.buf, sign: sign, base: o.base}
	if n.step, ok = bare(o.step); !ok {
		return nil, nil, false
	}
	return nil, []rowNumber{n}, true
}

// plain says whether a position is compared with numbers as they are read.
func (x *attention) plain(l kernel.Leaf) bool {
	plain := true
	x.X.Walk(func(c *ir.Scalar) bool {
		if l.Compares(c) {
			for _, side := range c.Args {
				if side.Op != ir.OpLoad {
					side.Walk(func(y *ir.Scalar) bool {
						plain = plain && y.Op != ir.OpLoad
						return plain
					})
				}
			}
		}
		return plain
	})
	return plain
}

// moderate says whether sums of numbers of rows do not overflow: positions are told as if none did.
func (x *attention) moderate(run *interp.Execution) bool {
	for _, b := range x.summed {
		if slices.ContainsFunc(tensor.Data[int64](run.Tensor(b)), func(n int64) bool { return !moderate(n) }) {
			return false
		}
	}
	return true
}

// rowNumbers fills in what a position is at the first key, for rows from one on.
func (w *attender) rowNumbers(i int, row0 int64, out []int64) {
	x := w.x
	l := &x.leaves[i]
	last := len(x.qk.m) - 1
	step := func(row []int64) int64 {
		if last < 0 {
			return 0
		}
		return row[last]
	}
	for r := 0; r < len(out); {
		run := w.stretch(row0+int64(r), len(out)-r)
		at, by := w.leafAt(i, 0), step(l.row)
		for j := range run {
			out[r+j] = at + int64(j)*by
		}
		for k := range l.numbers {
			n := &l.numbers[k]
			at, by := n.base, step(n.row)
			for j, s := range n.batch {
				at += s * w.spot[j]
			}
			for j, s := range n.row {
				at += s * w.spot[len(n.batch)+j]
			}
			for j := range run {
				v := int64(0)
				if p := w.numbers[n.id]; n.buf.DType == tensor.I32 {
					v = int64(*(*int32)(unsafe.Add(p, 4*(at+int64(j)*by))))
				} else {
					v = *(*int64)(unsafe.Add(p, 8*(at+int64(j)*by)))
				}
				out[r+j] += n.sign * min(max(v, -far), far)
			}
		}
		if len(l.numbers) > 0 {
			for j := range run {
				out[r+j] = min(max(out[r+j], -reachable), reachable)
			}
		}
		r += run
	}
}

// count narrows down which keys count by a comparison of at + step·key with 0.
func (s *span) count(op ir.ScalarOp, at, step int64) {
	if step < 0 {
		at, step = -at, -step
		switch op {
		case ir.OpLt:
			op = ir.OpGt
		case ir.OpLe:
			op = ir.OpGe
		case ir.OpGt:
			op = ir.OpLt
		case ir.OpGe:
			op = ir.OpLe
		}
	}
	if step == 0 {
		holds := false
		switch op {
		case ir.OpLt:
			holds = at < 0
		case ir.OpLe:
			holds = at <= 0
		case ir.OpGt:
			holds = at > 0
		case ir.OpGe:
			holds = at >= 0
		case ir.OpEq:
			holds = at == 0
		case ir.OpNe:
			holds = at != 0
		}
		if !holds {
			s.to = s.from
		}
		return
	}
	down, up := floorDiv(-at, step), -floorDiv(at, step) // the key where it is 0, rounded
	switch op {
	case ir.OpLt:
		s.to = min(s.to, up)
	case ir.OpLe:
		s.to = min(s.to, down+1)
	case ir.OpGt:
		s.from = max(s.from, down+1)
	case ir.OpGe:
		s.from = max(s.from, up)
	case ir.OpEq:
		s.from, s.to = max(s.from, up), min(s.to, down+1)
	}
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}

// plan cuts the rows of the batch into blocks. Where rows of which no key counts for both lie behind each
// other, blocks end: they would go over the keys of either.
func (w *attender) plan() {
	x := w.x
	rows := total(x.qk.m)
	if len(x.needs) > 0 {
		w.stretch(0, 1) // where the batch is
		w.key = w.key[:0]
		for _, n := range x.needs {
			l := &x.leaves[n.leaf]
			w.key = append(w.key, w.leafAt(n.leaf, 0))
			for _, m := range l.numbers {
				at := int64(0)
				for j, s := range m.batch {
					at += s * w.spot[j]
				}
				w.key = append(w.key, at)
			}
		}
	}
	if len(w.blocks) > 0 && slices.Equal(w.key, w.planned) {
		return
	}
	w.planned = append(w.planned[:0], w.key...)
	w.blocks, w.panels = w.blocks[:0], 0
	if len(x.needs) == 0 {
		w.segment(0, rows)
		return
	}
	w.spans = w.spans[:0]
	for r := int64(0); r < rows; r += int64(len(w.column)) {
		some := w.column[:min(int64(len(w.column)), rows-r)]
		for range some {
			w.spans = append(w.spans, span{0, x.keys})
		}
		for _, n := range x.needs {
			w.rowNumbers(n.leaf, r, some)
			step := x.leaves[n.leaf].key
			for j, at := range some {
				w.spans[int(r)+j].count(n.op, at, step)
			}
		}
	}
	from, all := int64(0), span{}
	for r, s := range w.spans {
		if s.empty() {
			continue
		}
		if !all.empty() && (s.from >= all.to || s.to <= all.from) && int64(r)-from >= int64(w.cut.mr) {
			w.segment(from, int64(r))
			from, all = int64(r), span{}
		}
		all = all.or(s)
	}
	w.segment(from, rows)
}

// maskRows is where rows are cut that a mask hides tiles of: masks of blocks mostly change at such rows.
const maskRows = 64

// segment cuts rows evenly.
func (w *attender) segment(from, to int64) {
	for w.x.hidden != nil && to-from > maskRows {
		next := (from/maskRows + 1) * maskRows
		w.evenly(from, next)
		from = next
	}
	w.evenly(from, to)
}

func (w *attender) evenly(from, to int64) {
	p := w.cut.panelsOf(to - from)
	for i := int64(0); i < p.n; i += rowBlock {
		b := rowsBlock{rowPanels: p, row0: from, from: i, to: min(i+rowBlock, p.n), number: w.panels, keys: span{0, w.x.keys}}
		if len(w.x.needs) > 0 {
			b.keys = span{}
			for _, s := range w.spans[from+p.start(b.from) : from+p.start(b.to)] {
				b.keys = b.keys.or(s)
			}
		}
		w.panels += b.to - b.from
		w.blocks = append(w.blocks, b)
	}
}

// beside says whether what was left out, where Upper is low at most, counts nothing beside what rows have: the
// largest X must be far above it.
func (w *attender) beside(rows int, low, slack float64) bool {
	if math.IsInf(low, -1) && w.x.mask.Exact {
		return true // a row without anything that counts is NaN in any case
	}
	if math.IsInf(low, -1) {
		for _, m := range w.m[:rows] {
			if !(m >= -math.MaxFloat32) {
				return false
			}
		}
		return true
	}
	// Where low is large, neither f32 nor f64 know the rest from nothing.
	margin := math.Inf(1)
	for _, m := range w.m[:rows] {
		if v := float64(m) - low - nothing + 1e-6*low; !(v >= margin) {
			margin = v
		}
	}
	w.margin = min(w.margin, margin)
	return margin >= slack
}

// nothing is how far X lies below another one of which it is no part in f32: the exponential is 0.
const nothing = 110
