package runtime

import (
	"fmt"
	"slices"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

// frame is a call of a function: its values and symbols by number.
type frame struct {
	c     *code
	main  bool // the parameters are the model's inputs
	ran   bool // in the run that goes on
	vals  []tensor.Value
	slots []int64
	from  []origin // what bound each symbol
	fresh []int    // bound, and not held against the rules yet
	told  int      // how many symbols were bound, ever
	slabs []slab   // by group

	memories []*memory // of slabs that are in use

	heads []tensor.Tensor  // by place, and behind those for what has none: tensors over what is computed here
	gives [][]tensor.Value // by block: its results
	loops []loop
}

// origin is what a symbol has its value from; the zero origin: it has none.
type origin struct {
	v   *ir.Value
	dim int
	who string // where that says it better
}

// frame gives the frame of a call of c, which is empty. There is one for each function: none
// calls itself.
func (mc *machine) frame(c *code) *frame {
	f := mc.frames[c]
	if f == nil {
		if len(mc.frames) >= maxInstances {
			clear(mc.frames)
		}
		f = &frame{c: c, vals: make([]tensor.Value, c.values), slots: make([]int64, len(c.symbols)), from: make([]origin, len(c.symbols)),
			slabs: make([]slab, len(c.groups)), heads: make([]tensor.Tensor, c.values+c.extra), gives: make([][]tensor.Value, c.blocks), loops: make([]loop, c.loops)}
		mc.frames[c] = f
	}
	if f.ran {
		f.clear()
	} else { // the end of a run leaves it empty
		f.ran = true
		mc.ran = append(mc.ran, f)
	}
	return f
}

// head gives the tensor that result i of a statement, or, behind those, a temporary, is made with:
// each time the statement runs it is another one, and what was handed on has one of its own.
func (f *frame) head(s *stmt, i int) *tensor.Tensor {
	if i < len(s.results) && s.results[i] != nil {
		return &f.heads[s.results[i].n]
	}
	return &f.heads[f.c.values+s.extra+i]
}

// clear forgets all values and symbols.
func (f *frame) clear() {
	clear(f.vals)
	clear(f.from)
	for i := range f.slabs {
		f.slabs[i].forget()
	}
	clear(f.memories)
	f.memories = f.memories[:0]
	for i := range f.heads {
		f.heads[i].Disown()
	}
	for _, list := range f.gives {
		clear(list)
	}
	for i := range f.loops {
		l := &f.loops[i]
		clear(l.carried[:cap(l.carried)])
		clear(l.results[:cap(l.results)])
		clear(l.stacks[:cap(l.stacks)])
	}
	f.fresh = f.fresh[:0]
}

// who names a value in messages.
func (f *frame) who(v *ir.Value) string {
	switch {
	case v.Def == nil && slices.Contains(f.c.f.Params, v) && f.main:
		return fmt.Sprintf("input %q", v.Name)
	case v.Def == nil && slices.Contains(f.c.f.Params, v) && v.Name != "":
		return fmt.Sprintf("operand %d (%s)", v.Index, v.Name)
	case v.Def == nil && slices.Contains(f.c.f.Params, v):
		return fmt.Sprintf("operand %d", v.Index)
	case v.Name != "":
		return "%" + v.Name
	case v.Def == nil:
		return fmt.Sprintf("parameter %d of the region", v.Index)
	}
	return fmt.Sprintf("result %d of %q", v.Index, v.Def.Place())
}

func (f *frame) bound(symbol int) bool { return f.from[symbol] != origin{} }

func (f *frame) set(symbol int, n int64, by origin) {
	f.slots[symbol], f.from[symbol] = n, by
	f.fresh = append(f.fresh, symbol)
	f.told++
}

// env gives the symbols of a frame as an environment, for what is rare: messages, and
// dims that must be solved for a symbol.
func (f *frame) env() *ir.Env {
	e := ir.NewEnv(nil)
	for i, name := range f.c.symbols {
		if by := f.from[i]; by != (origin{}) {
			if by.who == "" {
				by.who = fmt.Sprintf("dim %d of %s", by.dim, f.who(by.v))
			}
			e.Set(name, f.slots[i], by.who)
		}
	}
	return e
}

// bind checks a value against the type of its place, and gives symbols their values,
// which must keep to what is known of them. The common case touches numbers alone;
// everything else is left to ir.Env, which says what is wrong.
func (f *frame) bind(p *place, v tensor.Value) error {
	if !f.fits(p, v) && p.v.Type != nil {
		e := f.env()
		if err := e.BindAll([]ir.Type{p.v.Type}, []tensor.Value{v}, func(int) string { return f.who(p.v) }); err != nil {
			return err
		}
		for i, name := range f.c.symbols {
			if n, ok := e.Lookup(name); ok && !f.bound(i) {
				f.set(i, n, origin{v: p.v, who: e.Who(name)})
			}
		}
	}
	for _, symbol := range f.fresh {
		for _, r := range f.c.rulesOf[symbol] {
			if !f.holds(&f.c.rules[r]) {
				if err := f.env().Check(f.c.known); err != nil {
					return err
				}
				return diag.New(diag.Run, "%s and %s are not as the module says", f.c.rules[r].a.expr, f.c.rules[r].b.expr)
			}
		}
	}
	f.fresh = f.fresh[:0]
	return nil
}

// fits binds a tensor to a type whose open dims are bare symbols; it is false where that
// can not be done, or the type is not that of the tensor.
func (f *frame) fits(p *place, v tensor.Value) bool {
	x, ok := v.(*tensor.Tensor)
	if !ok || p.typ.DType != x.DType() || p.typ.Unranked || len(p.dims) != x.Rank() {
		return false
	}
	good := true
	for i, n := range x.Shape() {
		d := &p.dims[i]
		if d.symbol >= 0 && !f.bound(d.symbol) {
			f.set(d.symbol, n, origin{v: p.v, dim: i})
			continue
		}
		good = good && f.ready(d)
		if good {
			k, err := d.eval(f.slots)
			good = err == nil && k == n
		}
	}
	return good
}

// holds says whether a rule is kept; one whose symbols do not all have values is.
func (f *frame) holds(r *rule) bool {
	if !f.ready(&r.a) || !f.ready(&r.b) {
		return true
	}
	a, aerr := r.a.eval(f.slots)
	b, berr := r.b.eval(f.slots)
	return aerr != nil || berr != nil || a == b || !r.equal && a < b
}

// leave forgets symbols that mean nothing after a region.
func (f *frame) leave(b *block) {
	for _, i := range b.local {
		f.from[i] = origin{}
	}
}

// ready says whether the symbols of a dim have values.
func (f *frame) ready(d *dim) bool {
	if d.symbol >= 0 {
		return f.bound(d.symbol)
	}
	for _, i := range d.needs {
		if !f.bound(i) {
			return false
		}
	}
	return true
}

// eval computes a symbolic integer of the function.
func (f *frame) eval(d *dim) (int64, error) {
	if !f.ready(d) {
		return 0, diag.New(diag.Run, "%s can not be computed: not all of its symbols have a value here", d.expr)
	}
	return d.eval(f.slots)
}

// eval computes the dim from the values of symbols.
func (d *dim) eval(slots []int64) (int64, error) {
	switch {
	case d.symbol >= 0:
		return slots[d.symbol], nil
	case d.code != nil:
		return d.code.Eval(slots)
	}
	return d.number, nil
}

// evalAll appends the values of dims of the function to out.
func (f *frame) evalAll(dims []dim, out []int64) ([]int64, error) {
	for i := range dims {
		n, err := f.eval(&dims[i])
		if err == nil && n < 0 {
			err = diag.New(diag.Run, "dim %d is %s = %d", i, dims[i].expr, n)
		}
		if err != nil {
			return nil, diag.As(err, diag.Run)
		}
		out = append(out, n)
	}
	return out, nil
}

// get gives the value of an operand, nil for one that is left out.
func (f *frame) get(o operand) tensor.Value {
	switch {
	case o.v == nil:
		return nil
	case o.n < 0:
		return o.v.Const.Tensor
	}
	return f.vals[o.n]
}
