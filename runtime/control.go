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
func truth(v tensor.Value, what string) (bool, error) {
	if v == nil {
		return true, nil
	}
	t, ok := v.(*tensor.Tensor)
	if !ok || t.DType() != tensor.Bool || t.Len() != 1 {
		return false, diag.New(diag.Run, "%s must be one truth value", what)
	}
	return t.Bool(0), nil
}

func (mc *machine) runIf(f *frame, s *stmt) ([]tensor.Value, error) {
	if len(s.regions) != 2 || len(s.args) != 1 || s.args[0].v == nil {
		return nil, diag.New(diag.Run, "%d regions and %d operands, it takes 2 and 1", len(s.regions), len(s.args))
	}
	yes, err := truth(f.get(s.args[0]), "the condition")
	if err != nil {
		return nil, err
	}
	if yes {
		return mc.region(f, s.regions[0])
	}
	return mc.region(f, s.regions[1])
}

// arg gives operand i of a statement, nil where it is left out.
func (f *frame) arg(s *stmt, i int) tensor.Value {
	if i >= len(s.args) {
		return nil
	}
	return f.get(s.args[i])
}

// runLoop runs onnx.Loop: operands are the trip count and the first condition, then what
// is carried. The body gives the next condition, what is carried on, and one slice of
// each stacked output.
func (mc *machine) runLoop(f *frame, s *stmt) ([]tensor.Value, error) {
	if len(s.regions) != 1 {
		return nil, diag.New(diag.Run, "%d regions, it takes 1", len(s.regions))
	}
	body := s.regions[0]
	trips := int64(-1)
	if v := f.arg(s, 0); v != nil {
		t, ok := v.(*tensor.Tensor)
		if !ok || !t.DType().IsInt() || t.Len() != 1 {
			return nil, diag.New(diag.Run, "the trip count must be one integer")
		}
		trips = max(0, t.Int(0))
	}
	keep, err := truth(f.arg(s, 1), "the condition")
	if err != nil {
		return nil, err
	}
	carried := f.values(s.args[min(2, len(s.args)):])
	stacks := len(body.results) - 1 - len(carried)
	if len(body.params) != 2+len(carried) || stacks < 0 {
		return nil, diag.New(diag.Run, "a body of %d parameters and %d results does not carry %d values", len(body.params), len(body.results), len(carried))
	}
	slicesOf := make([][]*tensor.Tensor, stacks)
	for i, v := range carried {
		if tensor.Missing(v) {
			return nil, diag.New(diag.Run, "carried value %d is missing", i)
		}
		mc.mem.hold(v)
	}
	for i := int64(0); i != trips && keep; i++ {
		if err := mc.ctx.Err(); err != nil {
			return nil, diag.Stopped(err)
		}
		for n := -1; n != f.told; { // a dim may need a symbol that a later parameter tells
			n = f.told
			for j, p := range body.params {
				switch j {
				case 0:
					f.vals[p.n] = tensor.Scalar(i)
				case 1:
					f.vals[p.n] = tensor.Scalar(true)
				default:
					f.vals[p.n] = carried[j-2]
				}
				if err := f.bind(p, f.vals[p.n]); err != nil {
					return nil, err
				}
			}
		}
		out, err := mc.region(f, body)
		if err != nil {
			return nil, err
		}
		if keep, err = truth(out[0], "the condition that the body gives"); err != nil {
			return nil, err
		}
		mc.mem.drop(out[0])
		for j, v := range out[1:] {
			if j < len(carried) {
				mc.mem.drop(carried[j])
				carried[j] = v
				continue
			}
			t, ok := v.(*tensor.Tensor)
			if !ok {
				return nil, diag.New(diag.Run, "scan output %d is no tensor", j-len(carried))
			}
			slicesOf[j-len(carried)] = append(slicesOf[j-len(carried)], t)
		}
	}
	results := slices.Clip(carried)
	for j, list := range slicesOf {
		t, err := mc.stacked(f, s, len(carried)+j, list)
		if err != nil {
			return nil, err
		}
		for _, e := range list {
			mc.mem.drop(e)
		}
		results = append(results, t)
	}
	return results, nil
}

// stacked is a result of a loop that stacks slices.
func (mc *machine) stacked(f *frame, s *stmt, result int, list []*tensor.Tensor) (*tensor.Tensor, error) {
	if len(list) > 0 {
		return mc.stack(list)
	}
	d, shape := ir.NoSlices(s.Stmt, result, f.env().Eval)
	return mc.mem.Alloc(d, shape)
}

// stack puts tensors of one shape along a new first axis; there is one at least.
func (mc *machine) stack(list []*tensor.Tensor) (*tensor.Tensor, error) {
	first := list[0]
	for i, t := range list {
		if t.DType() != first.DType() || !slices.Equal(t.Shape(), first.Shape()) {
			return nil, diag.New(diag.Run, "a scan output is %s%v in iteration 0 and %s%v in iteration %d; all must have one shape",
				first.DType(), first.Shape(), t.DType(), t.Shape(), i)
		}
	}
	out, err := mc.mem.Alloc(first.DType(), append([]int64{int64(len(list))}, first.Shape()...))
	if err != nil {
		return nil, err
	}
	n := first.Len()
	for k, t := range list {
		switch {
		case t.DType().IsSmall(): // slices do not begin at bytes
			for e := range n {
				tensor.CopyElem(out, int64(k)*n+e, t, e)
			}
		case t.DType() == tensor.String:
			copy(out.Strings()[int64(k)*n:], t.Strings())
		default:
			copy(out.Bytes()[k*len(t.Bytes()):], t.Bytes())
		}
	}
	return out, nil
}
