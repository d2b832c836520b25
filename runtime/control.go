package runtime

import (
	"slices"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

// region runs a region whose parameters are set.
func (mc *machine) region(f *frame, b *block) ([]tensor.Value, error) {
	out, err := mc.block(f, b)
	f.leave(b)
	return out, err
}

// truth reads a truth value of one element; one that is left out is true.
func (mc *machine) truth(v tensor.Value, what string) (bool, error) {
	if v == nil {
		return true, nil
	}
	t, ok := v.(*tensor.Tensor)
	if !ok || t.DType() != tensor.Bool || t.Len() != 1 {
		return false, diag.New(diag.Run, "%s must be one truth value", what)
	}
	if err := mc.home(t); err != nil {
		return false, err
	}
	return t.Bool(0), nil
}

func (mc *machine) runIf(f *frame, s *stmt) ([]tensor.Value, error) {
	if len(s.regions) != 2 || len(s.args) != 1 || s.args[0].v == nil {
		return nil, diag.New(diag.Run, "%d regions and %d operands, it takes 2 and 1", len(s.regions), len(s.args))
	}
	yes, err := mc.truth(f.get(s.args[0]), "the condition")
	if err != nil {
		return nil, err
	}
	taken, name := s.regions[1], "else"
	if yes {
		taken, name = s.regions[0], "then"
	}
	out, err := mc.region(f, taken)
	if mc.recorder != nil {
		mc.recorder.branch = name
	}
	return out, err
}

// arg gives operand i of a statement, nil where it is left out.
func (f *frame) arg(s *stmt, i int) tensor.Value {
	if i >= len(s.args) {
		return nil
	}
	return f.get(s.args[i])
}

// loop is where a loop stands.
type loop struct {
	trips            int64 // as many iterations at most; negative: no end
	turn             int   // of the storages of carried values, the one that the iteration writes: 0, the result's, or 1
	carried, results []tensor.Value
	stacks           []stack
}

// runLoop runs onnx.Loop: operands are the trip count and the first condition, then what
// is carried. The body gives the next condition, what is carried on, and one slice of
// each stacked output.
func (mc *machine) runLoop(f *frame, s *stmt) ([]tensor.Value, error) {
	if len(s.regions) != 1 {
		return nil, diag.New(diag.Run, "%d regions, it takes 1", len(s.regions))
	}
	body, l := s.regions[0], &f.loops[s.loop]
	l.trips = -1
	if v := f.arg(s, 0); v != nil {
		t, ok := v.(*tensor.Tensor)
		if !ok || !t.DType().IsInt() || t.Len() != 1 {
			return nil, diag.New(diag.Run, "the trip count must be one integer")
		}
		if err := mc.home(t); err != nil {
			return nil, err
		}
		l.trips = max(0, t.Int(0))
	}
	keep, err := mc.truth(f.arg(s, 1), "the condition")
	if err != nil {
		return nil, err
	}
	l.carried = f.values(s.args[min(2, len(s.args)):], l.carried[:0])
	n := len(l.carried)
	if len(body.params) != 2+n || len(body.results) < 1+n {
		return nil, diag.New(diag.Run, "a body of %d parameters and %d results does not carry %d values", len(body.params), len(body.results), n)
	}
	for i, v := range l.carried {
		if tensor.Missing(v) {
			return nil, diag.New(diag.Run, "carried value %d is missing", i)
		}
		mc.mem.hold(v)
	}
	l.stacks = l.stacks[:0]
	for r := n; r < len(body.results)-1; r++ {
		x, err := mc.reserve(f, s, r, l.trips)
		if err != nil {
			return nil, err
		}
		l.stacks = append(l.stacks, x)
	}
	l.turn = 0
	if l.trips > 0 {
		l.turn = int((l.trips - 1) & 1) // the last iteration writes the result, if it is not ended before
	}
	done := int64(0)
	for ; done != l.trips && keep; done++ {
		i := done
		if err := mc.ctx.Err(); err != nil {
			return nil, diag.Stopped(err)
		}
		out, err := mc.iterate(f, body, l, i)
		if err != nil {
			return nil, err
		}
		if keep, err = mc.truth(out[0], "the condition that the body gives"); err != nil {
			return nil, err
		}
		mc.mem.drop(out[0])
		for j := range l.stacks {
			if err := mc.push(f, s, n+j, out[1+n+j]); err != nil {
				return nil, err
			}
			mc.mem.drop(out[1+n+j])
		}
		if err := mc.carry(f, s, out[1:1+n], i); err != nil {
			return nil, err
		}
		l.turn ^= 1
	}
	l.results = append(l.results[:0], l.carried...)
	for j := range l.carried {
		var err error
		if l.results[j], err = mc.ended(f, s, j, done); err != nil {
			return nil, err
		}
	}
	for j := range l.stacks {
		t, err := mc.stacked(f, s, n+j)
		if err != nil {
			return nil, err
		}
		l.results = append(l.results, t)
	}
	return l.results, nil
}

// iterate runs the body of a loop once.
func (mc *machine) iterate(f *frame, body *block, l *loop, i int64) ([]tensor.Value, error) {
	number, err := mc.mem.allocAs(&f.heads[body.params[0].n], tensor.I64, nil)
	if err != nil {
		return nil, err
	}
	defer mc.mem.drop(number)
	number.SetInt(0, i)
	on, err := mc.mem.allocAs(&f.heads[body.params[1].n], tensor.Bool, nil)
	if err != nil {
		return nil, err
	}
	defer mc.mem.drop(on)
	on.SetBool(0, true)
	f.vals[body.params[0].n], f.vals[body.params[1].n] = number, on
	for j, v := range l.carried {
		f.vals[body.params[2+j].n] = v
	}
	for n := -1; n != f.told; { // a dim may need a symbol that a later parameter tells
		n = f.told
		for _, p := range body.params {
			if err := f.bind(p, f.vals[p.n]); err != nil {
				return nil, err
			}
		}
	}
	return mc.region(f, body)
}

// own gives one of two tensors of a loop for a value that it carries, or a stack: what an
// iteration is given with is another one in the next iteration.
func (f *frame) own(s *stmt, result int, turn int64) *tensor.Tensor {
	return &f.heads[f.c.values+s.extra+len(s.Results)+2*result+int(turn&1)]
}

// carry makes what an iteration gave what the next one gets.
func (mc *machine) carry(f *frame, s *stmt, out []tensor.Value, i int64) (err error) {
	l := &f.loops[s.loop]
	for j, v := range out {
		h := f.own(s, j, i)
		if x := s.turn(j, l.turn); x != nil {
			if out[j], err = mc.settle(f, x, h, v); err != nil {
				return err
			}
		} else if t, ok := v.(*tensor.Tensor); ok {
			if err := h.OwnView(t, t.Shape()); err != nil {
				return err
			}
			out[j] = h
		}
	}
	carried := l.carried
	for j, v := range out {
		mc.mem.drop(carried[j])
		carried[j] = v
	}
	return nil
}

// turn gives one of the two storages of a carried value; nil where it is not placed.
func (s *stmt) turn(j, turn int) *share {
	i := j + turn*len(s.results)
	if i >= len(s.into) || j >= len(s.results) {
		return nil
	}
	return s.into[i]
}

// ended gives what is carried after the last iteration. What is memory of its own is, if there was
// no iteration, a copy of what it was at first.
func (mc *machine) ended(f *frame, s *stmt, j int, iterations int64) (tensor.Value, error) {
	v := f.loops[s.loop].carried[j]
	t, ok := v.(*tensor.Tensor)
	if !ok || j >= len(s.results) || s.results[j] == nil || !s.owns[j] {
		return v, nil
	}
	if x := s.turn(j, 0); x != nil {
		return mc.settle(f, x, f.head(s, j), v)
	}
	if iterations > 0 {
		return v, nil
	}
	own, err := mc.alloc(f, s, j, t.DType(), t.Shape())
	if err != nil {
		return nil, err
	}
	if err := mc.home(t); err != nil {
		return nil, err
	}
	mc.mem.over(own.Bytes())
	copy(own.Bytes(), t.Bytes())
	copy(own.Strings(), t.Strings())
	mc.mem.drop(t)
	return own, nil
}

// landedInLoop is landed of a result of a loop's body: where the value that is carried is in this
// iteration, or the place of the next slice.
func (mc *machine) landedInLoop(f *frame, at landing, t *tensor.Tensor, d tensor.DType, shape []int64) (bool, error) {
	l := &f.loops[at.s.loop]
	if at.result < len(l.carried) {
		x := at.s.turn(at.result, l.turn)
		if x == nil {
			return false, nil
		}
		return true, mc.within(f, x, t, d, shape)
	}
	x := &l.stacks[at.result-len(l.carried)]
	n, _ := tensor.Count(shape)
	size, ok := d.ByteLen(n)
	if !ok || x.t == nil || x.count == x.t.Shape()[0] || x.t.DType() != d || d.IsSmall() || d == tensor.String || n*x.t.Shape()[0] != x.t.Len() {
		return false, nil
	}
	if err := t.Own(d, shape, x.t.Bytes()[x.count*size:][:size:size]); err != nil {
		return false, err
	}
	mc.mem.hold(t) // the first slice begins where the stack does
	return true, nil
}

// stack is a result that has a slice of each iteration.
type stack struct {
	t     *tensor.Tensor // with room for some slices; nil: there was none yet
	count int64          // of slices that are there
	grown int64          // how often it was
}

// reserve makes the room for a result of which all dims are known before the loop runs.
func (mc *machine) reserve(f *frame, s *stmt, result int, trips int64) (x stack, err error) {
	if result >= len(s.results) || s.results[result] == nil || len(s.results[result].dims) == 0 {
		return x, nil
	}
	p := s.results[result]
	for i := range p.dims {
		if !f.ready(&p.dims[i]) {
			return x, nil
		}
	}
	if mc.shape, err = f.evalAll(p.dims, mc.shape[:0]); err != nil || mc.shape[0] != trips {
		return x, err
	}
	if x.t, err = mc.alloc(f, s, result, p.typ.DType, mc.shape); err == nil {
		mc.mem.over(x.t.Bytes())
	}
	return x, err
}

// push puts a slice behind those that are there. Where the room is used up there is twice as much
// afterwards, as far as that can be used.
func (mc *machine) push(f *frame, s *stmt, result int, v tensor.Value) error {
	l := &f.loops[s.loop]
	x := &l.stacks[result-len(l.carried)]
	t, ok := v.(*tensor.Tensor)
	switch {
	case !ok:
		return diag.New(diag.Run, "scan output %d is no tensor", result-len(l.carried))
	case x.t == nil:
	case x.t.DType() == t.DType() && slices.Equal(x.t.Shape()[1:], t.Shape()):
	case x.count > 0:
		return diag.New(diag.Run, "a scan output is %s%v in iteration 0 and %s%v in iteration %d; all must have one shape",
			x.t.DType(), x.t.Shape()[1:], t.DType(), t.Shape(), x.count)
	default: // it is not as its type says, which its check will tell
		mc.mem.drop(x.t)
		x.t = nil
	}
	if x.t == nil || x.count == x.t.Shape()[0] {
		room := max(4, 2*x.count)
		if l.trips >= 0 {
			room = min(room, l.trips)
		}
		mc.shape = append(append(mc.shape[:0], room), t.Shape()...)
		grown, err := mc.mem.allocAs(f.own(s, result, x.grown), t.DType(), mc.shape)
		if err != nil {
			return err
		}
		if x.t != nil {
			if err := mc.home(x.t); err != nil {
				return err
			}
			copySlice(grown, 0, x.t)
			mc.mem.drop(x.t)
		}
		x.t = grown
		x.grown++
	}
	if from, to := t.Bytes(), x.t.Bytes(); len(from) == 0 || t.DType().IsSmall() || &from[0] != &to[x.count*int64(len(from))] {
		if err := mc.home(t); err != nil {
			return err
		}
		if t.DType().IsSmall() {
			mc.mem.over(to)
		} else if n := int64(len(from)); n > 0 {
			mc.mem.over(to[x.count*n:][:n])
		}
		copySlice(x.t, x.count, t)
	}
	x.count++
	return nil
}

// copySlice copies a tensor to where slice i of another one is.
func copySlice(to *tensor.Tensor, i int64, t *tensor.Tensor) {
	n := t.Len()
	switch {
	case t.DType().IsSmall(): // slices do not begin at bytes
		for e := range n {
			tensor.CopyElem(to, i*n+e, t, e)
		}
	case t.DType() == tensor.String:
		copy(to.Strings()[i*n:], t.Strings())
	default:
		copy(to.Bytes()[i*int64(len(t.Bytes())):], t.Bytes())
	}
}

// stacked is a result of a loop that has slices.
func (mc *machine) stacked(f *frame, s *stmt, result int) (*tensor.Tensor, error) {
	l := &f.loops[s.loop]
	x := &l.stacks[result-len(l.carried)]
	switch {
	case x.count == 0:
		if x.t != nil {
			mc.mem.drop(x.t)
		}
		d, shape := ir.NoSlices(s.Stmt, result, f.env().Eval)
		return mc.mem.Alloc(d, shape)
	case x.count == x.t.Shape()[0]:
		h := f.head(s, result)
		if x.t == h {
			return h, nil
		}
		return h, h.OwnView(x.t, x.t.Shape())
	}
	if err := mc.home(x.t); err != nil {
		return nil, err
	}
	mc.shape = append(append(mc.shape[:0], x.count), x.t.Shape()[1:]...)
	t, err := mc.mem.allocAs(f.own(s, result, x.grown), x.t.DType(), mc.shape)
	if err != nil {
		return nil, err
	}
	copy(t.Bytes(), x.t.Bytes())                               // as much as there is room for
	if last := t.Len() - 1; t.DType().IsSmall() && last >= 0 { // other slices begin in its last byte
		t.Bytes()[len(t.Bytes())-1] = 0
		for e := last; e >= 0 && e >= last-8; e-- {
			tensor.CopyElem(t, e, x.t, e)
		}
	}
	copy(t.Strings(), x.t.Strings())
	mc.mem.drop(x.t)
	return t, nil
}
