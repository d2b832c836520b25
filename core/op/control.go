package op

import (
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// Control flow. If and Loop are what an executor runs itself; Scan is a Loop.

// If runs one of two regions.
var If = ir.Register(&ir.OpDef{
	Name: "onnx.If", Since: since(1, 11, 13, 16, 19, 21, 23, 24, 25), Doc: "runs one of two regions",
	In: ops(in("cond", "", bools)), Out: ops(variadic("outputs", "", nil)),
	Regions: []string{"then_branch", "else_branch"},
	Control: ir.Branches,
	AnyRank: true,
	Deduce: func(c *ir.Call) error {
		for _, r := range c.Regions {
			if len(r.Params) > 0 {
				return c.Errorf("a branch has %d parameters, it gets none", len(r.Params))
			}
		}
		a, b := c.Regions[0].Results, c.Regions[1].Results
		if len(a) != len(b) || len(a) < len(c.Out) {
			return c.Errorf("its branches give %d and %d results, it has %d", len(a), len(b), len(c.Out))
		}
		taken, decided := int64(0), false
		if cond, ok := c.ConstInts(0); ok && len(cond) == 1 {
			taken, decided = 1-cond[0], true
		}
		for i := range c.Out {
			if decided {
				c.SetOutType(i, outside(c, c.Regions[taken].Results[i].Type))
				continue
			}
			t, ok := ir.Join(outside(c, a[i].Type), outside(c, b[i].Type), func() sym.Expr { return c.Fresh(nil) })
			if !ok {
				return c.Errorf("result %d is %s in one branch, %s in the other", i, a[i].Type, b[i].Type)
			}
			c.SetOutType(i, t)
		}
		return nil
	},
})

// outside is a region's type as it is seen after the region: dims that mention symbols
// bound inside become fresh.
func outside(c *ir.Call, t ir.Type) ir.Type {
	return ir.MapDims(t, func(e sym.Expr) sym.Expr {
		if !isVisible(c, e) {
			return c.Fresh(nil)
		}
		return e
	})
}

// isVisible says whether all symbols of e have values where the call stands.
func isVisible(c *ir.Call, e sym.Expr) bool {
	return c.Bound == nil || !slices.ContainsFunc(e.Symbols(), func(s string) bool { return !c.Bound(s) })
}

// Loop runs its body while the condition holds, at most M times. The body's
// parameters are the iteration number, the condition, and the carried values; its
// results the condition, the carried values, and an element of each stacked output.
var Loop = ir.Register(&ir.OpDef{
	Name: "onnx.Loop", Since: since(1, 11, 13, 16, 19, 21, 23, 24, 25), Doc: "runs its body while a condition holds",
	In: ops(ir.Operand{Name: "M", Types: i64s, Optional: true}, ir.Operand{Name: "cond", Types: bools, Optional: true},
		variadic("v_initial", "", nil)),
	Out:     ops(variadic("v_final_and_scan_outputs", "", nil)),
	Regions: []string{"body"},
	Control: ir.Repeats,
	AnyRank: true,
	Deduce: func(c *ir.Call) error {
		body := c.Regions[0]
		carried := max(len(c.In)-2, 0)
		if len(body.Params) != carried+2 || len(body.Results) < carried+1 || len(body.Results)-1 < len(c.Out) {
			return c.Errorf("its body has %d parameters and %d results for %d carried values and %d results",
				len(body.Params), len(body.Results), carried, len(c.Out))
		}
		iter, on, next := body.Params[0].Type, body.Params[1].Type, body.Results[0].Type
		if !c.Compatible(iter, ir.TensorOf(tensor.I64)) {
			return c.Errorf("its body takes %s for the iteration number, which is [] i64", iter)
		}
		for _, t := range []ir.Type{on, next} {
			tt, ok := t.(ir.TensorType)
			if !ok || tt.DType != tensor.Bool && tt.DType != tensor.Invalid || !tt.Unranked && c.Syms.Equal(tt.Size(), sym.Const(1)) == sym.False {
				return c.Errorf("its body takes %s for the condition and gives %s; it is one truth value", on, next)
			}
		}
		for i := range carried {
			p := body.Params[2+i].Type
			for _, t := range []ir.Type{c.In[2+i], body.Results[1+i].Type} {
				if t != nil && !c.Compatible(p, outside(c, t)) {
					return c.Errorf("carried value %d is %s, the body takes %s", i, t, p)
				}
			}
		}
		most, exact := c.Trips(body)
		trips := &trips{most: most, exact: exact}
		results := trips.settle(c, c.In[min(2, len(c.In)):], body.Params[2:], body.Results[1:])
		for i := range c.Out {
			if i < carried {
				// With no iteration the initial value comes out.
				t, ok := trips.carry(c, c.In[i+2], body.Params[i+2].Type, results[i])
				if !ok {
					return c.Errorf("carried value %d starts as %s, the body gives %s", i, c.In[i+2], body.Results[i+1].Type)
				}
				c.SetOutType(i, t)
				continue
			}
			t, ok := outside(c, results[i]).(ir.TensorType)
			if !ok {
				return c.Errorf("stacked output %d is no tensor", i-carried)
			}
			if t.Unranked {
				c.SetOutType(i, t)
				continue
			}
			c.SetOut(i, t.DType, append([]sym.Expr{trips.number(c)}, t.Dims...)...)
		}
		return nil
	},
})

// trips is how often a loop runs its body.
type trips struct {
	most  *sym.Expr // nil: no end is known
	exact bool      // as often as that
	n     *sym.Expr // the number, once something depends on it
}

// settle gives the types of what a body gives, where dims of carried values that no iteration
// changes are what they start as.
func (t *trips) settle(c *ir.Call, start []ir.Type, params, results []*ir.Value) []ir.Type {
	same := map[string]sym.Expr{}
	for i, typ := range start {
		a, p, z, ok := carriedDims(typ, params[i].Type, results[i].Type)
		for j := 0; ok && j < len(p); j++ {
			if s, bare := p[j].Symbol(); bare && !isVisible(c, p[j]) && z[j].Equal(p[j]) {
				same[s] = a[j]
			}
		}
	}
	out := make([]ir.Type, len(results))
	for i, r := range results {
		out[i] = ir.MapDims(r.Type, func(e sym.Expr) sym.Expr {
			return e.Subst(func(s string) (sym.Expr, bool) { d, ok := same[s]; return d, ok })
		})
	}
	return out
}

// carriedDims are the dims that a value starts with, that a body takes, and that it gives.
func carriedDims(start, param, next ir.Type) (a, p, z []sym.Expr, ok bool) {
	x, ok1 := start.(ir.TensorType)
	y, ok2 := param.(ir.TensorType)
	w, ok3 := next.(ir.TensorType)
	a, p, z = x.Dims, y.Dims, w.Dims
	return a, p, z, ok1 && ok2 && ok3 && !x.Unranked && !y.Unranked && !w.Unranked && len(a) == len(p) && len(p) == len(z)
}

// number is the trip count where nothing can end the loop earlier, else a new symbol.
func (t *trips) number(c *ir.Call) sym.Expr {
	if t.n == nil {
		n := t.most
		if !t.exact {
			fresh := c.Fresh(t.most)
			n = &fresh
		}
		t.n = n
	}
	return *t.n
}

// carry is the type of a value after the last iteration, that starts as one type, and that
// the body takes as another and gives as a third. A dim that changes by the same amount
// each time has changed by that times the number of iterations.
func (t *trips) carry(c *ir.Call, start, param, next ir.Type) (ir.Type, bool) {
	if a, p, z, ok := carriedDims(start, param, next); ok {
		a, z = slices.Clone(a), slices.Clone(z)
		for i, d := range p {
			if _, bare := d.Symbol(); !bare || isVisible(c, d) {
				continue // the body takes one size alone
			}
			step := c.Syms.Simplify(z[i].Sub(d))
			if z[i].Equal(a[i]) { // what does not change is what it starts as
				step = sym.Expr{}
			}
			if isVisible(c, step) && step.Err() == nil {
				a[i] = t.changed(c, a[i], step)
				z[i] = a[i]
			}
		}
		start, next = ir.TensorOf(start.(ir.TensorType).DType, a...), ir.TensorOf(next.(ir.TensorType).DType, z...)
	}
	return ir.Join(start, outside(c, next), func() sym.Expr { return c.Fresh(nil) })
}

// changed is a dim after all iterations, each of which changes it by step.
func (t *trips) changed(c *ir.Call, start, step sym.Expr) sym.Expr {
	by, fixed := step.Int()
	switch {
	case fixed && by == 0:
		return start
	case t.exact || fixed:
		n := t.number(c)
		if by < 0 && !t.exact {
			_ = c.Syms.AssumeLE(step.Neg().Mul(n), start) // no dim is less than 0
		}
		return c.Syms.Simplify(start.Add(n.Mul(step)))
	}
	var bound *sym.Expr
	if lo, _ := c.Syms.Bounds(step); lo >= 0 && t.most != nil {
		most := c.Syms.Simplify(start.Add(t.most.Mul(step)))
		bound = &most
	}
	return c.Fresh(bound)
}

// Scan is a Loop over slices of its scan inputs, which stacks its scan outputs. Axes
// are moved to the front and back, directions reverse the order of slices. It is
// expanded where a module is built: executors know If and Loop alone.
var Scan = ir.Register(&ir.OpDef{
	Name: "onnx.Scan", Since: since(9, 11, 16, 19, 21, 23, 24, 25), Doc: "a loop over slices",
	In: ops(variadic("initial_state_and_scan_inputs", "", nil)), Out: ops(variadic("final_state_and_scan_outputs", "", nil)),
	Attrs: attrs(attrReq("num_scan_inputs", int64(0)), attrOpt("scan_input_axes", []int64(nil)), attrOpt("scan_input_directions", []int64(nil)),
		attrOpt("scan_output_axes", []int64(nil)), attrOpt("scan_output_directions", []int64(nil))),
	Regions: []string{"body"},
	AnyRank: true,
	Deduce: func(c *ir.Call) error {
		s, err := scanOf(c)
		if err != nil {
			return err
		}
		body := c.Regions[0]
		trips := &trips{most: s.length, exact: s.length != nil}
		results := trips.settle(c, c.In[:s.states], body.Params, body.Results)
		for i := range c.Out {
			if i < s.states {
				t, ok := trips.carry(c, c.In[i], body.Params[i].Type, results[i])
				if !ok {
					return c.Errorf("state %d starts as %s, the body gives %s", i, c.In[i], body.Results[i].Type)
				}
				c.SetOutType(i, t)
				continue
			}
			t := outside(c, results[i])
			tt, ok := t.(ir.TensorType)
			if !ok || tt.Unranked || s.length == nil {
				c.SetOutType(i, ir.UnrankedOf(tt.DType))
				continue
			}
			axis, err := c.Axis(s.outAxis(i-s.states), len(tt.Dims)+1)
			if err != nil {
				return err
			}
			dims := append([]sym.Expr(nil), tt.Dims[:axis]...)
			c.SetOut(i, tt.DType, append(append(dims, *s.length), tt.Dims[axis:]...)...)
		}
		return nil
	},
	Expand: expandScan,
})

type scan struct {
	states, inputs          int
	inAxes, outAxes         []int64
	inReversed, outReversed []int64
	length                  *sym.Expr // of the scan; nil where no scan input has a rank
}

func nthOr(list []int64, i int) int64 {
	if i < len(list) {
		return list[i]
	}
	return 0
}

func (s *scan) outAxis(i int) int64 { return nthOr(s.outAxes, i) }

func scanOf(c *ir.Call) (*scan, error) {
	n := int(c.Int("num_scan_inputs"))
	s := &scan{states: len(c.In) - n, inputs: n, inAxes: c.IntList("scan_input_axes"), outAxes: c.IntList("scan_output_axes"),
		inReversed: c.IntList("scan_input_directions"), outReversed: c.IntList("scan_output_directions")}
	body := c.Regions[0]
	if n < 1 || s.states < 0 || len(body.Params) != len(c.In) || len(body.Results) < max(s.states, len(c.Out)) {
		return nil, c.Errorf("%d operands, %d of them scanned; its body has %d parameters and %d results", len(c.In), n, len(body.Params), len(body.Results))
	}
	for i := range n {
		t := c.Tensor(s.states + i)
		if t.Unranked {
			continue
		}
		axis, err := c.Axis(nthOr(s.inAxes, i), t.Rank())
		if err != nil {
			return nil, err
		}
		if s.length != nil && c.Syms.Equal(*s.length, t.Dims[axis]) == sym.False {
			return nil, c.Errorf("scan inputs have lengths %s and %s", *s.length, t.Dims[axis])
		}
		s.length = &t.Dims[axis]
	}
	return s, nil
}

func expandScan(c *ir.Call, b *ir.Builder, args []*ir.Value) ([]*ir.Value, error) {
	s, err := scanOf(c)
	if err != nil {
		return nil, err
	}
	body := c.Regions[0]
	states := args[:s.states]
	shape := b.Op("onnx.Shape", []*ir.Value{args[s.states]})
	trip := b.Op("onnx.Gather", []*ir.Value{shape, b.Const(tensor.Scalar(nthOr(s.inAxes, 0)))})
	region := b.Region(func() []*ir.Value {
		iter := b.Param("", ir.TensorOf(tensor.I64))
		cond := b.Param("", ir.TensorOf(tensor.Bool))
		subst := map[*ir.Value]*ir.Value{}
		for i := range states {
			subst[body.Params[i]] = b.Param("", body.Params[i].Type)
		}
		for i := range s.inputs {
			at := iter
			if nthOr(s.inReversed, i) != 0 {
				last := b.Op("onnx.Sub", []*ir.Value{trip, b.Const(tensor.Scalar(int64(1)))})
				at = b.Op("onnx.Sub", []*ir.Value{last, iter})
			}
			subst[body.Params[s.states+i]] = b.Op("onnx.Gather", []*ir.Value{args[s.states+i], at}, "axis", nthOr(s.inAxes, i))
		}
		results := b.Inline(body, subst)
		return append([]*ir.Value{cond}, results...)
	})
	out := b.OpN(len(body.Results), "onnx.Loop", append([]*ir.Value{trip, nil}, states...), nil, region)
	for i := s.states; i < len(out); i++ {
		j := i - s.states
		if nthOr(s.outReversed, j) != 0 {
			out[i] = b.Op("onnx.Slice", []*ir.Value{out[i], b.Ints(-1), b.Ints(-1 << 62), b.Ints(0), b.Ints(-1)})
		}
		t, _ := out[i].Tensor()
		if s.outAxis(j) == 0 {
			continue
		}
		if t.Unranked {
			return nil, c.Unsupported("a scan output of unknown rank along axis %d", s.outAxis(j))
		}
		axis, err := c.Axis(s.outAxis(j), t.Rank())
		if err != nil {
			return nil, err
		}
		var perm []int64 // the stacked axis moves from the front to its place
		for k := 1; k < t.Rank(); k++ {
			perm = append(perm, int64(k))
		}
		perm = append(perm[:axis:axis], append([]int64{0}, perm[axis:]...)...)
		out[i] = b.Op("onnx.Transpose", []*ir.Value{out[i]}, "perm", perm)
	}
	return out, nil
}
