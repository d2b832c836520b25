package op

import (
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// Sequences and optionals. They hold values, they do not copy them; each element has
// sizes of its own.

// elemOf is the element type of operand i, a sequence. What an operator gave that is not
// there may be one.
func elemOf(c *call, i int) (ir.Type, error) {
	switch t := c.In[i].(type) {
	case ir.SequenceType:
		return t.Elem, nil
	case ir.TensorType:
		if t.Unranked && t.DType == tensor.Invalid {
			return t, nil
		}
	}
	o, _ := c.Op.Operand(i)
	return nil, c.Errorf("operand %d (%s) is a %s, it takes a sequence", i, o.Name, c.In[i])
}

// joined is the type of an element that has one type or another.
func joined(c *call, a, b ir.Type) (ir.Type, error) {
	t, ok := ir.Join(a, b, func() sym.Expr { return c.Fresh(nil) })
	if !ok {
		return nil, c.Errorf("a %s among elements of type %s", b, a)
	}
	return t, nil
}

func setSequence(c *call, elem ir.Type, err error) error {
	c.SetOutType(0, ir.SequenceType{Elem: elem})
	return err
}

// SequenceConstruct makes a sequence of its operands.
var SequenceConstruct = ir.Register(&ir.OpDef{
	Name: "onnx.SequenceConstruct", Since: since(11), Doc: "a sequence of its operands",
	In: ops(variadic("inputs", "T", anyTensor)), Out: ops(ir.Operand{Name: "output_sequence"}),
	AnyRank: true,
	Deduce: func(c *call) error {
		if len(c.In) == 0 || slices.Contains(c.In, nil) {
			return c.Errorf("it needs at least one operand, and all of them")
		}
		elem := c.In[0]
		for _, t := range c.In[1:] {
			var err error
			if elem, err = joined(c, elem, t); err != nil {
				return err
			}
		}
		return setSequence(c, elem, nil)
	},
	Kernel: func(k *ir.KernelCall) ([]tensor.Value, error) {
		return []tensor.Value{&tensor.Sequence{Elems: slices.Clone(k.Args)}}, nil
	},
})

// SequenceEmpty is a sequence without elements.
var SequenceEmpty = ir.Register(&ir.OpDef{
	Name: "onnx.SequenceEmpty", Since: since(11), Doc: "a sequence without elements",
	Out: ops(ir.Operand{Name: "output"}), Attrs: attrs(attrOpt("dtype", int64(0))),
	Deduce: func(c *call) error {
		d, err := dtypeAttr(c, "dtype", anyTensor, tensor.F32)
		return setSequence(c, ir.UnrankedOf(d), err)
	},
	Kernel: func(k *ir.KernelCall) ([]tensor.Value, error) { return []tensor.Value{&tensor.Sequence{}}, nil },
})

// elements are those of operand 0.
func elements(k *ir.KernelCall) ([]tensor.Value, error) {
	s, ok := k.Args[0].(*tensor.Sequence)
	if !ok {
		return nil, k.Errorf("operand 0 is a %s, it takes a sequence", k.In[0])
	}
	return s.Elems, nil
}

// elemPosition is what operand i says, a negative one counted from the end n; otherwise def.
func elemPosition(k *ir.KernelCall, i int, n, last, def int) (int, error) {
	t := k.Arg(i)
	if t == nil {
		return def, nil
	}
	p := t.Int(0)
	if p < int64(-n) || p > int64(last) {
		return 0, k.Errorf("position %d in a sequence of %d elements", p, n).Hint("valid positions are %d to %d", -n, last)
	}
	if p < 0 {
		p += int64(n)
	}
	return int(p), nil
}

// SequenceInsert puts an element in front of a position, by default at the end.
var SequenceInsert = ir.Register(&ir.OpDef{
	Name: "onnx.SequenceInsert", Since: since(11), Doc: "a sequence with one more element",
	In:      ops(ir.Operand{Name: "input_sequence"}, in("tensor", "T", anyTensor), opt("position", "", indices)),
	Out:     ops(ir.Operand{Name: "output_sequence"}),
	AnyRank: true,
	Deduce: func(c *call) error {
		elem, err := elemOf(c, 0)
		if err == nil {
			elem, err = joined(c, elem, c.In[1])
		}
		if err != nil {
			return err
		}
		return setSequence(c, elem, single(c, 2))
	},
	Kernel: func(k *ir.KernelCall) ([]tensor.Value, error) {
		elems, err := elements(k)
		if err != nil {
			return nil, err
		}
		p, err := elemPosition(k, 2, len(elems), len(elems), len(elems))
		if err != nil {
			return nil, err
		}
		return []tensor.Value{&tensor.Sequence{Elems: slices.Insert(slices.Clone(elems), p, k.Args[1])}}, nil
	},
})

// SequenceErase takes the element at a position away, by default the last one.
var SequenceErase = ir.Register(&ir.OpDef{
	Name: "onnx.SequenceErase", Since: since(11), Doc: "a sequence with one element less",
	In:      ops(ir.Operand{Name: "input_sequence"}, opt("position", "", indices)),
	Out:     ops(ir.Operand{Name: "output_sequence"}),
	AnyRank: true,
	Deduce: func(c *call) error {
		elem, err := elemOf(c, 0)
		if err != nil {
			return err
		}
		return setSequence(c, elem, single(c, 1))
	},
	Kernel: func(k *ir.KernelCall) ([]tensor.Value, error) {
		elems, err := elements(k)
		if err != nil {
			return nil, err
		}
		if len(elems) == 0 {
			return nil, k.Errorf("a sequence without elements has none to take away")
		}
		p, err := elemPosition(k, 1, len(elems), len(elems)-1, len(elems)-1)
		if err != nil {
			return nil, err
		}
		return []tensor.Value{&tensor.Sequence{Elems: slices.Delete(slices.Clone(elems), p, p+1)}}, nil
	},
})

// SequenceAt is the element at a position.
var SequenceAt = ir.Register(&ir.OpDef{
	Name: "onnx.SequenceAt", Since: since(11), Doc: "an element of a sequence",
	In:      ops(ir.Operand{Name: "input_sequence"}, in("position", "", indices)),
	Out:     ops(ir.Operand{Name: "tensor"}),
	AnyRank: true,
	Deduce: func(c *call) error {
		elem, err := elemOf(c, 0)
		if err != nil {
			return err
		}
		c.SetOutType(0, outside(c, elem))
		return single(c, 1)
	},
	Kernel: func(k *ir.KernelCall) ([]tensor.Value, error) {
		elems, err := elements(k)
		if err != nil {
			return nil, err
		}
		p, err := elemPosition(k, 1, len(elems), len(elems)-1, 0)
		if err != nil {
			return nil, err
		}
		return elems[p : p+1], nil
	},
})

// SequenceLength counts the elements.
var SequenceLength = ir.Register(&ir.OpDef{
	Name: "onnx.SequenceLength", Since: since(11), Doc: "the number of elements",
	In: ops(ir.Operand{Name: "input_sequence"}), Out: ops(in("length", "", i64s)),
	AnyRank: true,
	Deduce: func(c *call) error {
		_, err := elemOf(c, 0)
		c.SetOut(0, tensor.I64)
		return err
	},
	Kernel: func(k *ir.KernelCall) ([]tensor.Value, error) {
		elems, err := elements(k)
		return []tensor.Value{tensor.Scalar(int64(len(elems)))}, err
	},
})

// SplitToSequence cuts a tensor along an axis: into the sizes that a list names, into
// chunks of a size, the last one smaller where it does not divide, or into single
// positions, whose dim may be dropped.
var SplitToSequence = ir.Register(&ir.OpDef{
	Name: "onnx.SplitToSequence", Since: since(11, 24), Doc: "a sequence of the parts of a tensor",
	In: ops(in("input", "T", anyTensor), opt("split", "", indices)), Out: ops(ir.Operand{Name: "output_sequence"}),
	Attrs:   attrs(attr("axis", 0), attr("keepdims", 1)),
	AnyRank: true,
	Deduce: func(c *call) error {
		if c.Tensor(0).Unranked || c.Has(1) && c.Tensor(1).Unranked {
			return setSequence(c, ir.UnrankedOf(c.DType(0)), nil)
		}
		a, err := c.Axis(c.Int("axis"), c.Rank(0))
		if err != nil {
			return err
		}
		dims := slices.Clone(c.Dims(0))
		switch {
		case c.Has(1) && c.Rank(1) > 1:
			return c.Errorf("split has rank %d, it is a size or a list of sizes", c.Rank(1))
		case c.Has(1):
			size := c.Fresh(&dims[a])
			if list, ok := c.Ints(1); ok {
				if c.Rank(1) == 1 && c.Syms.Equal(sym.Sum(list...), dims[a]) == sym.False {
					return c.Errorf("the sizes %s do not add up to dim %d of %s", ir.ShapeString(list), a, c.Tensor(0))
				}
				if c.Rank(1) == 0 && c.Syms.LE(list[0], sym.Const(0)) == sym.True {
					return c.Errorf("chunks of size %s", list[0])
				}
				if c.Rank(1) == 0 && c.Syms.Divides(list[0], dims[a]) == sym.True {
					size = list[0]
				}
			}
			dims[a] = size
		case c.Flag("keepdims"):
			dims[a] = sym.Const(1)
		default:
			dims = slices.Delete(dims, a, a+1)
		}
		return setSequence(c, ir.TensorOf(c.DType(0), dims...), nil)
	},
	Kernel: func(k *ir.KernelCall) ([]tensor.Value, error) {
		x, split := k.Arg(0), k.Arg(1)
		a, err := k.Axis(k.Int("axis"), x.Rank())
		if err != nil {
			return nil, err
		}
		n := x.Shape()[a]
		var sizes []int64
		switch {
		case split != nil && split.Rank() == 1:
			left := n
			for _, s := range tensor.Ints(split) {
				if s < 0 || s > left {
					return nil, k.Errorf("the sizes %v do not add up to %d", split, n)
				}
				sizes, left = append(sizes, s), left-s
			}
			if left != 0 {
				return nil, k.Errorf("the sizes %v do not add up to %d", split, n)
			}
		default:
			chunk := int64(1)
			if split != nil {
				chunk = split.Int(0)
			}
			if chunk < 1 {
				return nil, k.Errorf("chunks of size %d", chunk)
			}
			const header = 160 // bytes of a tensor beside its elements
			if err := k.Need((n/chunk + 1) * header); err != nil {
				return nil, err
			}
			for at := int64(0); at < n; at += min(chunk, n-at) {
				sizes = append(sizes, min(chunk, n-at))
			}
		}
		out := &tensor.Sequence{}
		at := int64(0)
		for _, s := range sizes {
			if err := k.Context.Err(); err != nil {
				return nil, err
			}
			positions := make([]int64, s)
			for i := range positions {
				positions[i] = at + int64(i)
			}
			at += s
			part, err := takeAlong(k, x, a, positions)
			if err != nil {
				return nil, err
			}
			if split == nil && !k.Flag("keepdims") {
				if part, err = part.View(slices.Delete(slices.Clone(part.Shape()), a, a+1)...); err != nil {
					return nil, err
				}
			}
			out.Elems = append(out.Elems, part)
		}
		return []tensor.Value{out}, nil
	},
})

// ConcatFromSequence joins the elements along an axis, which new_axis adds to them.
var ConcatFromSequence = ir.Register(&ir.OpDef{
	Name: "onnx.ConcatFromSequence", Since: since(11), Doc: "the elements of a sequence, joined along an axis",
	In: ops(ir.Operand{Name: "input_sequence"}), Out: ops(ir.Operand{Name: "concat_result"}),
	Attrs:   attrs(attrReq("axis", int64(0)), attr("new_axis", 0)),
	AnyRank: true,
	Deduce: func(c *call) error {
		elem, err := elemOf(c, 0)
		if err != nil {
			return err
		}
		t, ok := outside(c, elem).(ir.TensorType)
		if !ok {
			return c.Errorf("its elements are %s, it joins tensors", elem)
		}
		if t.Unranked {
			c.SetOutType(0, t)
			return nil
		}
		rank := t.Rank()
		if c.Flag("new_axis") {
			rank++
		}
		a, err := c.Axis(c.Int("axis"), rank)
		if err != nil {
			return err
		}
		dims := slices.Clone(t.Dims)
		if c.Flag("new_axis") {
			dims = slices.Insert(dims, a, sym.Const(0))
		}
		dims[a] = c.Fresh(nil)
		c.SetOut(0, t.DType, dims...)
		return nil
	},
	Kernel: func(k *ir.KernelCall) ([]tensor.Value, error) {
		elems, err := elements(k)
		if err != nil {
			return nil, err
		}
		if len(elems) == 0 {
			return nil, k.Errorf("a sequence without elements says nothing of the shape of what they are joined to")
		}
		list := make([]*tensor.Tensor, len(elems))
		for i, e := range elems {
			t, ok := e.(*tensor.Tensor)
			if !ok {
				return nil, k.Errorf("element %d is no tensor", i)
			}
			if k.Flag("new_axis") {
				a, err := k.Axis(k.Int("axis"), t.Rank()+1)
				if err != nil {
					return nil, err
				}
				if t, err = t.View(slices.Insert(slices.Clone(t.Shape()), a, 1)...); err != nil {
					return nil, err
				}
			}
			list[i] = t
		}
		return joinAlong(k, list)
	},
})

// joinAlong joins tensors along attribute axis.
func joinAlong(k *ir.KernelCall, list []*tensor.Tensor) ([]tensor.Value, error) {
	first := list[0]
	a, err := k.Axis(k.Int("axis"), first.Rank())
	if err != nil {
		return nil, err
	}
	shape := slices.Clone(first.Shape())
	shape[a] = 0
	for i, t := range list {
		other := slices.Clone(t.Shape())
		if a < len(other) {
			other[a] = shape[a]
		}
		if t.DType() != first.DType() || !slices.Equal(other, shape) {
			return nil, k.Errorf("element 0 is %s%v, element %d is %s%v; along axis %d they do not join", first.DType(), first.Shape(), i, t.DType(), t.Shape(), a)
		}
		shape[a] += t.Shape()[a]
	}
	out, err := k.Make(first.DType(), shape)
	if err != nil {
		return nil, err
	}
	outer, _ := tensor.Count(shape[:a])
	inner, _ := tensor.Count(shape[a+1:])
	row := int64(0) // where the elements so far end in each row
	for _, t := range list {
		if err := k.Context.Err(); err != nil {
			return nil, err
		}
		n := t.Shape()[a] * inner
		for o := range outer {
			for i := range n {
				tensor.CopyElem(out, o*shape[a]*inner+row+i, t, o*n+i)
			}
		}
		row += n
	}
	return []tensor.Value{out}, nil
}

// SequenceMap applies its body to the elements of its sequences, in the order of their
// positions; operands that are no sequences are the same for all. It is a Loop, expanded
// where a module is built: executors know If and Loop alone.
var SequenceMap = ir.Register(&ir.OpDef{
	Name: "onnx.SequenceMap", Since: since(17), Doc: "a body applied to each element",
	In:      ops(ir.Operand{Name: "input_sequence"}, variadic("additional_inputs", "", nil)),
	Out:     ops(variadic("out_sequence", "", nil)),
	Regions: []string{"body"},
	AnyRank: true,
	Deduce: func(c *call) error {
		if _, err := elemOf(c, 0); err != nil {
			return err
		}
		body := c.Regions[0]
		if len(body.Params) != len(c.In) || len(body.Results) < len(c.Out) {
			return c.Errorf("its body has %d parameters and %d results for %d operands and %d results",
				len(body.Params), len(body.Results), len(c.In), len(c.Out))
		}
		for i := range c.Out {
			c.SetOutType(i, ir.SequenceType{Elem: outside(c, body.Results[i].Type)})
		}
		return nil
	},
	Expand: func(c *call, b *ir.Builder, args []*ir.Value) ([]*ir.Value, error) {
		if err := c.Op.Deduce(c); err != nil {
			return nil, err
		}
		body := c.Regions[0]
		var trip *ir.Value
		isSeq := make([]bool, len(args))
		for i, a := range args {
			if _, isSeq[i] = a.Type.(ir.SequenceType); !isSeq[i] {
				continue
			}
			n := b.Op("onnx.SequenceLength", []*ir.Value{a})
			if trip == nil {
				trip = n
			} else { // all must be of one length: a shorter one fails at the first element it lacks
				trip = b.Op("onnx.Max", []*ir.Value{trip, n})
			}
		}
		if trip == nil {
			return nil, c.Unsupported("operands of unknown kind")
		}
		states := make([]*ir.Value, len(c.Out))
		for i := range states {
			t, ok := body.Results[i].Tensor()
			if !ok || t.DType == tensor.Invalid {
				return nil, c.Unsupported("result %d of its body is a %s", i, body.Results[i].Type)
			}
			states[i] = b.Op("onnx.SequenceEmpty", nil, "dtype", t.DType)
		}
		region := b.Region(func() []*ir.Value {
			iter := b.Param("", ir.TensorOf(tensor.I64))
			results := []*ir.Value{b.Param("", ir.TensorOf(tensor.Bool))}
			lists := make([]*ir.Value, len(states))
			for i, s := range states {
				lists[i] = b.Param("", s.Type)
			}
			subst := map[*ir.Value]*ir.Value{}
			for i, p := range body.Params {
				subst[p] = args[i]
				if isSeq[i] {
					subst[p] = b.Op("onnx.SequenceAt", []*ir.Value{args[i], iter})
				}
			}
			for i, v := range b.Inline(body, subst)[:len(lists)] {
				results = append(results, b.Op("onnx.SequenceInsert", []*ir.Value{lists[i], v}))
			}
			return results
		})
		out := b.OpN(len(states), "onnx.Loop", append([]*ir.Value{trip, nil}, states...), nil, region)
		for i := range out { // the loop starts from sequences of which nothing is known
			out[i] = b.MatchCast(out[i], c.Out[i])
		}
		return out, nil
	},
})
