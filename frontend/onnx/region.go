package onnx

import (
	"slices"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// graph imports a subgraph as a region whose parameters have the given types. What the
// graph itself declares of them is not believed: it may be less, or another size.
func (im *importer) graph(g subgraph, params []ir.Type) (*ir.Block, error) {
	var err error
	r := im.b.Region(func() []*ir.Value {
		in := newScope(g.sc, g.sc.call)
		for i, p := range g.Inputs {
			var t ir.Type = ir.UnrankedOf(tensor.Invalid)
			if i < len(params) {
				t = params[i]
			}
			in.vals[p.Name] = im.b.Param(in.call.path+p.Name, t)
		}
		var results []*ir.Value
		results, err = im.body(g.Graph, in)
		return results
	})
	return r, err
}

// regions imports the subgraphs of an operator in the order of its definition.
func (c *call) regions(def *ir.OpDef) ([]*ir.Block, error) {
	for _, name := range def.Regions {
		if c.graphs[name].Graph == nil && !def.OptRegions {
			return nil, diag.New(diag.Malformed, "attribute %q is missing", name)
		}
	}
	for i, a := range c.args {
		if a == nil && (c.name != "onnx.Loop" || i > 1) {
			return nil, diag.New(diag.Malformed, "operand %d is missing", i)
		}
	}
	switch c.name {
	case "onnx.Loop":
		params := []ir.Type{ir.TensorOf(tensor.I64), ir.TensorOf(tensor.Bool)}
		return c.loopBody(append(params, typesOf(c.args[min(2, len(c.args)):])...), 2, 1)
	case "onnx.Scan":
		n, _ := c.attrs.Get("num_scan_inputs").(int64)
		states := len(c.args) - int(n)
		if n < 1 || states < 0 {
			return nil, diag.New(diag.Malformed, "%d of %d operands are scanned", n, len(c.args))
		}
		params := typesOf(c.args[:states])
		for i := range int(n) {
			params = append(params, c.sliceType(c.args[states+i], i))
		}
		return c.loopBody(params[:len(params):len(params)], 0, 0)
	}
	var params []ir.Type // those of SequenceMap: an element of each sequence
	for _, t := range typesOf(c.args) {
		if s, ok := t.(ir.SequenceType); ok {
			t = c.elemType(s)
		}
		params = append(params, t)
	}
	var out []*ir.Block
	if c.name == "ai.onnx.preview.FlexAttention" {
		params = []ir.Type{c.scoreType()}
	}
	for _, name := range def.Regions {
		if c.graphs[name].Graph == nil {
			out = append(out, nil)
			continue
		}
		r, err := c.im.graph(c.graphs[name], params)
		if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// scoreType is the type of the scores that an attention's graphs change: [batch, heads,
// queries, keys], in the precision of the softmax.
func (c *call) scoreType() ir.Type {
	d := c.dtype().Compute()
	if n, ok := c.attrs.Get("softmax_precision").(int64); ok {
		d, _ = tensor.DTypeFromONNX(int32(n)) // deduction says what is wrong
	}
	if len(c.args) > 1 {
		q, _ := c.args[0].Tensor()
		k, _ := c.args[1].Tensor()
		if q.Rank() == 4 && k.Rank() == 4 {
			return ir.TensorOf(d, q.Dims[0], q.Dims[1], q.Dims[2], k.Dims[2])
		}
	}
	return ir.UnrankedOf(d)
}

func typesOf(vals []*ir.Value) []ir.Type {
	out := make([]ir.Type, len(vals))
	for i, v := range vals {
		out[i] = v.Type
	}
	return out
}

// elemType is the type of one element: sizes that nothing binds outside are its own.
func (c *call) elemType(s ir.SequenceType) ir.Type {
	return ir.MapDims(s.Elem, func(e sym.Expr) sym.Expr {
		for _, name := range e.Symbols() {
			if !c.im.b.Bound(name) {
				return c.fresh()
			}
		}
		return e
	})
}

func (c *call) fresh() sym.Expr { return c.im.m.Syms.Fresh("u") }

// sliceType is the type of a slice of scan input i.
func (c *call) sliceType(v *ir.Value, i int) ir.Type {
	t, ok := v.Tensor()
	if !ok || t.Rank() < 1 {
		return ir.UnrankedOf(t.DType)
	}
	axis := int64(0)
	if list, _ := c.attrs.Get("scan_input_axes").([]int64); i < len(list) {
		axis = list[i]
	}
	if axis < 0 {
		axis += int64(t.Rank())
	}
	if axis < 0 || axis >= int64(t.Rank()) {
		return ir.UnrankedOf(t.DType) // deduction says what is wrong
	}
	return ir.TensorOf(t.DType, slices.Delete(slices.Clone(t.Dims), int(axis), int(axis)+1)...)
}

// Rounds of loopBody after which it gives up shapes, and then element types.
const (
	exactRounds  = 8
	dtypedRounds = 10
)

// loopBody imports a body whose parameters from lead on are carried from one iteration
// to the next; the body gives parameter lead+i anew as its result first+i. The type of
// each is one that both the initial value and what the body gives have. It is found by
// importing until nothing changes: a dim that changes becomes a symbol that every
// iteration binds anew, another rank makes it unranked.
func (c *call) loopBody(params []ir.Type, lead, first int) ([]*ir.Block, error) {
	open := map[string]bool{} // symbols that stand for any size
	fresh := func() sym.Expr {
		e := c.fresh()
		s, _ := e.Symbol()
		open[s] = true
		return e
	}
	for round := 0; ; round++ {
		var region *ir.Block
		var err error
		stable := true
		c.im.b.Try(func() bool {
			region, err = c.im.graph(c.graphs["body"], params)
			if err != nil {
				return false
			}
			for i := lead; i < len(params) && first+i-lead < len(region.Results); i++ {
				t := widen(params[i], region.Results[first+i-lead].Type, open, fresh)
				if !ir.SameType(t, params[i]) {
					params[i], stable = t, false
				}
			}
			return stable
		})
		if err != nil {
			return nil, err
		}
		if stable {
			return []*ir.Block{region}, nil
		}
		for i := lead; round >= exactRounds && i < len(params); i++ {
			t, ok := params[i].(ir.TensorType)
			if !ok || round >= dtypedRounds {
				t = ir.UnrankedOf(tensor.Invalid)
			}
			params[i] = ir.UnrankedOf(t.DType)
		}
	}
}

// widen gives the type that a value of type a or b has, a where that already is it.
// Where there is none it is a: deduction says what is wrong.
func widen(a, b ir.Type, open map[string]bool, fresh func() sym.Expr) ir.Type {
	if t, ok := b.(ir.TensorType); ok && t.Unranked && t.DType == tensor.Invalid {
		return b
	}
	if _, ok := a.(ir.OptionalType); !ok {
		if o, ok := b.(ir.OptionalType); ok {
			return ir.OptionalType{Elem: widen(a, o.Elem, open, fresh)}
		}
	}
	switch a := a.(type) {
	case ir.SequenceType:
		if b, ok := b.(ir.SequenceType); ok {
			return ir.SequenceType{Elem: widen(a.Elem, b.Elem, open, fresh)}
		}
	case ir.OptionalType:
		if o, ok := b.(ir.OptionalType); ok {
			b = o.Elem
		}
		return ir.OptionalType{Elem: widen(a.Elem, b, open, fresh)}
	case ir.TensorType:
		b, ok := b.(ir.TensorType)
		if !ok || a.Unranked {
			break
		}
		if b.Unranked || len(a.Dims) != len(b.Dims) {
			return ir.UnrankedOf(a.DType)
		}
		dims := slices.Clone(a.Dims)
		for i, d := range dims {
			if s, _ := d.Symbol(); !open[s] && !d.Equal(b.Dims[i]) {
				dims[i] = fresh()
			}
		}
		return ir.TensorOf(a.DType, dims...)
	}
	return a
}
