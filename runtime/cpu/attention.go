package cpu

import (
	"fmt"
	"runtime"
	"slices"
	"unsafe"

	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/runtime/cpu/emit"
	"github.com/pitopt/pitopt/runtime/cpu/x86"
	"github.com/pitopt/pitopt/runtime/kernel"
)

// attention is an attention with sizes. Its work is cut into batches, which are
// all positions of axes that keys or values differ along; there into blocks of rows, which are all
// other positions of queries; and there into blocks of keys.
type attention struct {
	*kernel.Attention
	code *attentionCode

	qk, pv       *product     // rows of queries times keys, of depth features; columns of values, of depth keys
	reads        []*ir.Buffer // that must not be written over
	leaves       []leaf
	keys         int64
	thin         bool            // keys and values are read where they lie
	top, weights []*kernel.Bound // by the number of keys: see which
	state        *kernel.Bound
	finish       *kernel.Bound
	scored       []*kernel.Bound // where it is thin
	extents      []*kernel.Bound // of numbers: see extentsOf
	first        []*kernel.Bound // as weights, of a block's first keys
	hidden       []*kernel.Bound // by rows; nil: comparisons tell all that is to be known of the mask
	closed       []*kernel.Bound // likewise; nil: nothing is known to be open
	open         []*kernel.Bound // as top, of what a mask leaves as it is; nil: nothing is known to be that
	widest       *kernel.Bound
	tells        bool            // bits of the mask are made: see toTell
	strict       []*kernel.Bound // as hidden, where bits are made
	shown        []*kernel.Bound // as open, where keys are shown one by one
	moving       bool            // rows and keys may be put in another order
	moved        *kernel.Bound   // as finish, of rows that are moved after it
	direct       bool            // the result is written where it belongs, else by way of scratch
	rows         rowPanels
	mr, nr       int // rows and columns of a panel

	mask    *kernel.Masking // nil: nothing is masked, for all that is known
	needs   []need
	low     float64      // X at most, where a need does not hold
	numbers int          // of rows that are read for positions
	summed  []*ir.Buffer // of those: which sums are made of, in i64, that must not overflow
}

// leaf is a kernel.Leaf with sizes: what its address, or its value, is at a point.
type leaf struct {
	kernel.Leaf
	buf        *ir.Buffer
	elem       int64
	base       int64
	batch, row []int64 // steps of loops
	key        int64
	back       int64       // how far it goes backwards from row to row of the last loop
	numbers    []rowNumber // that a position also has
	at         int         // of positions: which
}

// Blocks of rows are as many panels, and of keys as long, as keep scores in the first-level
// cache. Rows up to fewRows read keys and values where they lie: they would be packed to be used so few
// times. In portable Go, up to stageRows are computed stage by stage: what a block costs beside its points is more than that.
const (
	rowBlock  = 6
	keyBlock  = 256
	fewRows   = 4
	stageRows = 12
	keyLine   = keyBlock + 16 // elements from row to row of scores
)

// attentionID says what code an attention has.
type attentionID struct {
	p     *ir.Program
	first int
	steps string
}

// attentionCode is the kernels of an attention as machine code.
type attentionCode struct {
	top, state, weights, first, finish, scored, extent *codeOf // behind top, portable Go has loops for them
	hidden, widest, closed, open, strict, shown        *codeOf // which may be nil
	reads                                              []int   // leaves, for what is open
}

// codeOf is machine code of a kernel.
type codeOf struct {
	*kernel.Kernel
	fn    x86.Func
	inGo  *kernel.Compiled // in place of it
	slots []int            // of its buffers
}

// kernelOptions are those of kernels that machine code for some features computes, or portable Go.
func kernelOptions(f x86.Features) kernel.Options {
	if f == 0 {
		return kernel.Options{Lanes: kernel.GoLanes}
	}
	return kernel.Options{Lanes: emit.Lanes(f), Wide: emit.Wide(f)}
}

// attentions are those of a program that machine code for some features, or portable Go, can compute.
func attentions(p *ir.Program, f x86.Features) (out []*kernel.Attention) {
	for _, a := range kernel.Attentions(p) {
		leaves, why := a.Leaves()
		if why != "" || slices.ContainsFunc(leaves, func(l kernel.Leaf) bool { return !regular(l) }) {
			continue
		}
		steps := make([]kernel.Steps, len(leaves))
		for i := range steps {
			steps[i] = kernel.Steps{Row: kernel.Far, Key: kernel.Next}
		}
		if t, err := a.Softmax(steps); err == nil {
			if _, err := t.Top.Kernel(kernelOptions(f)); err == nil {
				out = append(out, a)
			}
		}
	}
	return out
}

// attentionsOf gives what attentions finds, which is kept as long as programs are.
func (c *codes) attentionsOf(p *ir.Program, f x86.Features) []*kernel.Attention {
	c.mu.Lock()
	defer c.mu.Unlock()
	list, ok := c.found[p]
	if !ok {
		list = attentions(p, f)
		if c.found == nil {
			c.found = map[*ir.Program][]*kernel.Attention{}
		}
		c.found[p] = list
	}
	return list
}

// together are the stages of attentions.
func together(p *ir.Program, f x86.Features) (out []ir.Range) {
	for _, a := range attentions(p, f) {
		out = append(out, a.Range)
	}
	return out
}

// attend finds the attentions of a program with sizes that are computed as one.
func (d *Device) attend(c *code, p *ir.Program) {
	for _, a := range d.codes.attentionsOf(p, d.machine.features) {
		x, ok := d.sized(c, p, a)
		if !ok {
			continue
		}
		c.attentions[a.First] = x
		for i := a.First; i <= a.Last; i++ {
			c.products[i] = nil
			c.taken[i] = true
		}
		c.Join(a.First, a.Last-a.First+1)
		c.Inside(p.Inside(a.Range))
	}
}

// sized is an attention with the sizes of its stages; false where it is computed stage by stage.
func (d *Device) sized(c *code, p *ir.Program, a *kernel.Attention) (*attention, bool) {
	scores, out := c.Stages[slices.Index(p.Stages, a.Scores)], c.Stages[slices.Index(p.Stages, a.Out)]
	x := &attention{Attention: a}
	if !x.nests(scores, out, c.Stages[a.Last], d.tileBlocks()) || !x.leafSteps(scores) {
		return nil, false
	}
	if x.code = d.attentionCode(x, p); x.code == nil {
		return nil, false
	}
	inside := p.Inside(a.Range)
	for _, s := range p.Stages[a.First : a.Last+1] {
		for _, b := range s.Reads() {
			if !slices.Contains(inside, b) && !slices.Contains(x.reads, b) {
				x.reads = append(x.reads, b)
			}
		}
	}
	return x, x.bind()
}

// nests sorts the axes.
func (x *attention) nests(scores, out, result *interp.Stage, cut *blocks) bool {
	keyOf := func(s access) bool { return s.uses(x.Scores.Axes[x.Key]) }
	a, b := accessOf(x.Scores.Exprs[0].Args[0]), accessOf(x.Scores.Exprs[0].Args[1])
	if keyOf(a) {
		a, b = b, a
	}
	if keyOf(a) || !keyOf(b) {
		return false
	}
	q, k, v := factor(scores, a), factor(scores, b), factor(out, accessOf(x.Value))
	if q.pad != nil || k.pad != nil || v.pad != nil {
		return false
	}
	stepQ, ok := bare(q.step)
	stepK, ok2 := bare(k.step)
	stepV, ok3 := bare(v.step)
	if !ok || !ok2 || !ok3 {
		return false
	}
	x.qk = &product{a: q, b: k, out: x.Scores.Out()}
	x.pv = &product{b: v, out: x.Result.Out()}
	steps := map[*ir.Axis]int64{} // through the result
	stride := int64(1)
	for i, n := range slices.Backward(result.Shape(x.pv.out)) {
		ax := x.Result.Axes[i]
		if e, ok := extent(result, ax); !ok || e != n {
			return false
		}
		steps[ax] = stride
		stride = times(stride, n)
	}
	to := map[*ir.Axis]int64{}
	for i, ax := range x.Out.Axes {
		by, err := x.To[i].Times.Eval(result.Symbol)
		if err != nil || !moderate(by) {
			return false
		}
		to[ax] = by * steps[x.To[i].Axis]
	}
	for i, ax := range x.Scores.Axes {
		n, ok := extent(scores, ax)
		if !ok || n < 1 {
			return false
		}
		o := x.At[i]
		if i == x.Key {
			x.keys = n
			x.qk.n = []loop{{axis: ax, extent: n, b: stepK[ax]}}
			x.pv.k = []loop{{axis: o, extent: n, b: stepV[o]}}
			continue
		}
		if n == 1 {
			continue
		}
		s, w := loop{axis: ax, extent: n, a: stepQ[ax], b: stepK[ax], out: to[o]}, loop{axis: o, extent: n, b: stepV[o], out: to[o]}
		if uses(k, ax) || uses(v, o) {
			x.qk.batch, x.pv.batch = append(x.qk.batch, s), append(x.pv.batch, w)
		} else {
			x.qk.m, x.pv.m = append(x.qk.m, s), append(x.pv.m, w)
		}
	}
	for _, ax := range x.Out.Axes {
		n, ok := extent(out, ax)
		if !ok || n < 1 {
			return false
		}
		if !slices.Contains(x.At, ax) && n > 1 {
			x.pv.n = append(x.pv.n, loop{axis: ax, extent: n, b: stepV[ax], out: to[ax]})
		}
	}
	for _, ax := range x.Scores.Red {
		n, ok := extent(scores, ax)
		if !ok || n < 1 {
			return false
		}
		if n > 1 {
			x.qk.k = append(x.qk.k, loop{axis: ax, extent: n, a: stepQ[ax], b: stepK[ax]})
		}
	}
	depth, cols := total(x.qk.k), total(x.pv.n)
	if depth > cut.depth || cols > cut.wide || times(total(x.qk.batch), total(x.qk.m), x.keys, depth+cols) >= far {
		return false
	}
	x.rows, x.mr, x.nr = cut.panelsOf(total(x.qk.m)), cut.mr, cut.nr
	lanes := int64(cut.nr) / 2
	if cut.code == nil && total(x.qk.m) <= stageRows {
		return false
	}
	x.thin = total(x.qk.m) <= fewRows && k.buf != nil && q.buf != nil && v.buf != nil && len(x.qk.k) == 1 && x.qk.k[0].a == 1 && x.qk.k[0].b == 1 &&
		len(x.qk.m) <= 1 && len(x.pv.n) == 1 && x.pv.n[0].b == 1 && cols%lanes == 0 && x.qk.n[0].b >= depth && keyBlock*x.pv.k[0].b < 1<<28 && x.pv.k[0].b >= 0
	if !x.thin {
		x.qk.a.through(scores, x.qk.batch, x.qk.m, x.qk.k)
		x.qk.b.through(scores, x.qk.batch, x.qk.n, x.qk.k)
		x.pv.b.through(out, x.pv.batch, x.pv.n, x.pv.k)
	}
	return true
}

// bare are steps along axes; false where they go by runs.
func bare(step map[along]int64) (map[*ir.Axis]int64, bool) {
	out := map[*ir.Axis]int64{}
	for x, n := range step {
		if x.runs != 1 {
			return nil, false
		}
		out[x.axis] = n
	}
	return out, true
}

// leafSteps finds where leaves lie.
func (x *attention) leafSteps(scores *interp.Stage) bool {
	list, _ := x.Leaves()
	positions := 0
	for _, l := range list {
		f := leaf{Leaf: l}
		var step map[*ir.Axis]int64
		if l.Position {
			form, numbers, ok := positionOf(scores, l.Node, 1)
			if !ok {
				return false
			}
			at, ok := form.at(scores)
			if !ok {
				return false
			}
			if step, ok = bare(at.k); !ok {
				return false
			}
			f.base = at.c
			most := max(at.c, -at.c)
			for ax, k := range step {
				n, _ := extent(scores, ax)
				most += times(max(k, -k), n)
			}
			if most >= reachable { // such numbers are exact in f32
				return false
			}
			for _, n := range numbers {
				if n.step[x.Scores.Axes[x.Key]] != 0 {
					return false
				}
				n.batch, n.row = x.stepsAlong(n.step)
				n.id = x.numbers
				x.numbers++
				f.numbers = append(f.numbers, n)
				if n.buf.DType == tensor.I64 && !x.plain(l) && !slices.Contains(x.summed, n.buf) {
					x.summed = append(x.summed, n.buf)
				}
			}
			f.at = positions
			positions++
		} else {
			a := accessOf(l.Node)
			if !a.linear {
				return false
			}
			o, ok := loaded(scores, a)
			if !ok || o.pad != nil {
				return false
			}
			if step, ok = bare(o.step); !ok {
				return false
			}
			f.buf, f.elem, f.base = o.buf, int64(o.buf.DType.Bits()/8), o.base
		}
		f.batch, f.row = x.stepsAlong(step)
		f.key = step[x.Scores.Axes[x.Key]]
		if n := len(f.row); !l.Position && n > 0 && f.row[n-1] < 0 {
			f.back = -f.row[n-1]
		}
		if !l.Position && (f.key < 0 || f.back > 0 && !x.backs(&f)) {
			return false
		}
		x.leaves = append(x.leaves, f)
	}
	x.findMask(scores)
	return true
}

// backs says whether in front of all that a leaf reads for one row there is room for as many rows as a block has: kernels begin with
// the last of them, though there may be fewer.
func (x *attention) backs(l *leaf) bool {
	least := l.base
	for i, m := range x.qk.batch {
		least += min(0, l.batch[i]*(m.extent-1))
	}
	for i, m := range x.qk.m {
		least += min(0, l.row[i]*(m.extent-1))
	}
	return least >= l.back*min(x.rows.rows, rowBlock*int64(x.mr))
}

// stepsAlong are the steps along the loops of batches, and of rows.
func (x *attention) stepsAlong(step map[*ir.Axis]int64) (batch, row []int64) {
	for _, l := range x.qk.batch {
		batch = append(batch, step[l.axis])
	}
	for _, l := range x.qk.m {
		row = append(row, step[l.axis])
	}
	return batch, row
}

// steps say which kernel computes X.
func (x *attention) steps() (out []kernel.Steps) {
	of := func(n int64) kernel.Step {
		switch n {
		case 0:
			return kernel.Still
		case 1:
			return kernel.Next
		}
		return kernel.Far
	}
	for _, l := range x.leaves {
		s := kernel.Steps{Key: of(l.key)}
		if len(l.row) > 0 && l.row[len(l.row)-1] != 0 {
			s.Row = kernel.Far
		}
		if l.back > 0 {
			s.Row = kernel.Back
		}
		if l.Position && l.key != 0 {
			s.Key = kernel.Far
		}
		out = append(out, s)
	}
	return out
}

// attentionCode makes machine code, or gives what is kept; nil where there is none.
func (d *Device) attentionCode(x *attention, p *ir.Program) *attentionCode {
	c := &d.codes
	steps := x.steps()
	id := attentionID{p: p, first: x.First, steps: fmt.Sprint(steps)}
	c.mu.Lock()
	defer c.mu.Unlock()
	if a, ok := c.attentions[id]; ok {
		return a
	}
	if c.attentions == nil {
		c.attentions = map[attentionID]*attentionCode{}
	}
	a, err := d.newAttentionCode(x.Attention, steps)
	if err != nil {
		a = nil
	}
	c.attentions[id] = a
	return a
}

func (d *Device) newAttentionCode(x *kernel.Attention, steps []kernel.Steps) (*attentionCode, error) {
	f, program := d.machine.features, emit.Program
	if d.watch != nil {
		program = emit.Annotated
	}
	a := &attentionCode{}
	soft, err := x.Softmax(steps)
	if err != nil {
		return nil, err
	}
	arena := d.newArena()
	var codes []*x86.Code
	var kernels []*codeOf
	add := func(to **codeOf, t *kernel.Tile) error {
		k, err := t.Kernel(kernelOptions(f))
		if err != nil {
			return err
		}
		if f == 0 {
			c, err := kernel.Compile(k)
			if err != nil {
				return err
			}
			*to = &codeOf{Kernel: k, inGo: c, slots: slotsOf(t, k)}
			return nil
		}
		prog, err := program(k, f)
		if err != nil {
			return err
		}
		code, err := x86.Compile(prog, f)
		if err != nil {
			return err
		}
		*to = &codeOf{Kernel: k, slots: slotsOf(t, k)}
		kernels, codes = append(kernels, *to), append(codes, code)
		return nil
	}
	for _, k := range []struct {
		to **codeOf
		of *kernel.Tile
	}{{&a.top, soft.Top}, {&a.state, soft.State}, {&a.weights, soft.Weights}, {&a.first, soft.First}, {&a.finish, x.Finish()}, {&a.scored, kernel.Scored()}, {&a.extent, kernel.Extent()}} {
		if f == 0 && k.to != &a.top {
			continue
		}
		if err := add(k.to, k.of); err != nil {
			return nil, err
		}
	}
	if m := x.Masking(nil); m != nil && !m.Whole {
		looks, err := x.Looks(m, steps, int64(panelCols(f)))
		if err == nil && add(&a.hidden, looks.Hidden) == nil && add(&a.widest, looks.Widest) != nil {
			a.widest = nil
		}
		if a.widest != nil && m.Open != nil && add(&a.closed, looks.Closed) == nil {
			if err := a.addOpen(x, m, steps, looks.Strict, add); err != nil {
				a.closed, a.open = nil, nil
			}
		}
	}
	if f == 0 {
		return a, nil
	}
	fns, err := arena.Load(codes...)
	if err != nil {
		return nil, err
	}
	for i, k := range kernels {
		k.fn = fns[i]
	}
	runtime.AddCleanup(a, func(a *x86.Arena) { a.Close() }, arena)
	return a, nil
}

// addOpen makes kernels of what a mask leaves as it is; it is no error that there are none for rows and keys in another order.
func (a *attentionCode) addOpen(x *kernel.Attention, m *kernel.Masking, steps []kernel.Steps, strict *kernel.Tile, add func(**codeOf, *kernel.Tile) error) error {
	open, err := x.Top(m.Open, steps, false)
	if err != nil {
		return err
	}
	if err := add(&a.open, open); err != nil {
		return err
	}
	for i, b := range open.Leaves {
		if b != nil {
			a.reads = append(a.reads, i)
		}
	}
	if add(&a.strict, strict) != nil {
		return nil
	}
	if shown, err := x.Top(m.Open, steps, true); err == nil && add(&a.shown, shown) != nil {
		a.shown = nil
	}
	return nil
}

// bind binds the kernels to the sizes of tiles; false where they do not fit.
func (x *attention) bind() bool {
	rows := x.mostRows()
	sizes := map[string]int64{"n": rows, "d": total(x.pv.n), "f": total(x.qk.k), "as": keyLine, "ao": x.lineO(), "ay": x.lineO(), "ak": x.qk.n[0].b}
	for i, l := range x.leaves {
		sizes[numbered("c", i)] = l.key
		if len(l.row) > 0 {
			sizes[numbered("r", i)] = max(l.row[len(l.row)-1], l.back)
		}
	}
	sizes["aq"] = sizes["f"]
	if n := len(x.qk.m); n > 0 {
		sizes["aq"] = x.qk.m[n-1].a
		x.direct = x.qk.m[n-1].out >= sizes["d"]
		if x.direct = x.direct && x.pv.beside(); x.direct {
			sizes["ay"] = x.qk.m[n-1].out
		}
	} else {
		x.direct = x.pv.beside()
	}
	ok := true
	bound := func(k *codeOf) *kernel.Bound {
		if k == nil { // a loop in Go
			return nil
		}
		b, err := k.Bind(func(name string) (int64, bool) { n, ok := sizes[name]; return n, ok })
		ok = ok && err == nil
		return b
	}
	x.top = make([]*kernel.Bound, 2*keyBlock/x.nr+1)
	x.weights, x.first = make([]*kernel.Bound, len(x.top)), make([]*kernel.Bound, len(x.top))
	x.scored, x.open = make([]*kernel.Bound, len(x.top)), make([]*kernel.Bound, len(x.top))
	if x.tells = x.code.widest != nil && x.toTell(); x.tells {
		x.shown = make([]*kernel.Bound, len(x.top))
	}
	for _, n := range x.widths() {
		i := x.which(n)
		sizes["c"] = n
		for j, l := range x.leaves {
			if !l.Position {
				sizes[numbered("n", j)] = sizes[numbered("r", j)]*(rows-1) + l.key*(n-1) + 1
			}
		}
		x.top[i], x.weights[i], x.first[i] = bound(x.code.top), bound(x.code.weights), bound(x.code.first)
		if x.code.open != nil && x.mask != nil {
			x.open[i] = bound(x.code.open)
		}
		if x.tells {
			x.shown[i] = bound(x.code.shown)
		}
		if x.thin {
			x.scored[i] = bound(x.code.scored)
		}
	}
	x.state, x.finish = bound(x.code.state), bound(x.code.finish)
	for _, n := range x.extentsOf() {
		sizes["c"] = n
		x.extents = append(x.extents, bound(x.code.extent))
	}
	if x.mask == nil || x.mask.Whole || x.thin || x.code.widest == nil {
		return ok
	}
	sizes["q"] = hiddenKeys / int64(x.nr)
	x.widest = bound(x.code.widest)
	sizes["c"] = min(hiddenKeys, x.keys)
	x.hidden = make([]*kernel.Bound, x.mr+1)
	if x.code.closed != nil {
		x.closed = make([]*kernel.Bound, x.mr+1)
	}
	if x.tells {
		x.strict = make([]*kernel.Bound, x.mr+1)
	}
	for n := int64(1); n <= int64(x.mr); n++ {
		sizes["n"] = n
		for j, l := range x.leaves {
			if !l.Position {
				sizes[numbered("n", j)] = sizes[numbered("r", j)]*(n-1) + l.key*(sizes["c"]-1) + 1
			}
		}
		if x.hidden[n] = bound(x.code.hidden); x.closed != nil {
			x.closed[n] = bound(x.code.closed)
		}
		if x.tells {
			x.strict[n] = bound(x.code.strict)
		}
	}
	if x.moving = x.tells && x.moves(); x.moving {
		sizes["n"], sizes["ay"] = rows, x.lineO()
		x.moved = bound(x.code.finish)
	}
	return ok
}

// beside says whether the columns of a result lie one behind the other.
func (p *product) beside() bool { return len(p.n) == 0 || len(p.n) == 1 && p.n[0].out == 1 }

func numbered(s string, i int) string { return fmt.Sprint(s, i) }

// mostRows is the rows of the largest block.
func (x *attention) mostRows() int64 {
	if x.mask != nil {
		return min(x.rows.rows, rowBlock*int64(x.mr))
	}
	return x.rows.start(min(rowBlock, x.rows.n))
}

// lineO and lineV are how far rows of sums lie apart, and how many columns of values are packed.
func (x *attention) lineO() int64 { return roundUp(total(x.pv.n), 32) }
func (x *attention) lineV() int64 { return roundUp(total(x.pv.n), int64(x.nr)) }

// widths are the numbers of keys that blocks of keys have: where some are left out, they are panels, of which the
// last one may be short.
func (x *attention) widths() (list []int64) {
	if x.mask == nil {
		return []int64{min(keyBlock, x.keys), x.keys - (ceilDiv(x.keys, keyBlock)-1)*keyBlock}
	}
	nr := int64(x.nr)
	for n := nr; n <= min(keyBlock, x.keys); n += nr {
		list = append(list, n)
	}
	if rest := x.keys % nr; rest > 0 {
		for n := rest; n <= min(keyBlock, x.keys); n += nr {
			list = append(list, n)
		}
	}
	return list
}

// extentsOf is of how many numbers calls find the extent.
func (x *attention) extentsOf() [3]int64 { return [...]int64{1 << 15, 1 << 10, int64(x.nr)} }

// which is the number of a width.
func (x *attention) which(n int64) int {
	nr := int64(x.nr)
	if n%nr == 0 {
		return int(n / nr)
	}
	return int(keyBlock/nr + n/nr + 1)
}

// apart says whether the result lies apart from all that is read.
func (x *attention) apart(run *interp.Execution) bool {
	out := run.Tensor(x.pv.out).Bytes()
	for _, b := range x.reads {
		if overlap(out, run.Tensor(b).Bytes()) {
			return false
		}
	}
	return true
}

func overlap(a, b []byte) bool {
	if len(a) == 0 || len(b) == 0 {
		return false
	}
	from, to := uintptr(unsafe.Pointer(&a[0])), uintptr(unsafe.Pointer(&b[0]))
	return from < to+uintptr(len(b)) && to < from+uintptr(len(a))
}
