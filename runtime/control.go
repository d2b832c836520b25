package runtime

import (
	"slices"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

// enter makes symbols that a region binds ready to be bound anew.
func (f *frame) enter(b *ir.Block) {
	for _, i := range f.c.local[b] {
		f.bound[i] = false
	}
}

func truth(v tensor.Value) (bool, error) {
	t, ok := v.(*tensor.Tensor)
	if !ok || t.DType() != tensor.Bool || t.Len() != 1 {
		return false, diag.New(diag.Run, "the condition is %v, not one truth value", v)
	}
	return t.Bool(0), nil
}

func (mc *machine) runIf(f *frame, s *ir.Stmt, args []tensor.Value) ([]tensor.Value, error) {
	yes, err := truth(args[0])
	if err != nil {
		return nil, err
	}
	b := s.Regions[1]
	if yes {
		b = s.Regions[0]
	}
	f.enter(b)
	return mc.block(f, b)
}

func (mc *machine) runLoop(f *frame, s *ir.Stmt, args []tensor.Value) ([]tensor.Value, error) {
	body := s.Regions[0]
	trips := int64(-1)
	if len(args) > 0 && args[0] != nil {
		t, ok := args[0].(*tensor.Tensor)
		if !ok || t.Len() != 1 {
			return nil, diag.New(diag.Run, "the trip count is %v, not one number", args[0])
		}
		trips = t.Int(0)
	}
	cond := tensor.Value(tensor.Scalar(true))
	if len(args) > 1 && args[1] != nil {
		cond = args[1]
	}
	var carried []tensor.Value
	if len(args) > 2 {
		carried = slices.Clone(args[2:])
	}
	stacked := make([][]*tensor.Tensor, len(body.Results)-1-len(carried))
	for i := int64(0); trips < 0 || i < trips; i++ {
		if on, err := truth(cond); err != nil || !on {
			if err != nil {
				return nil, err
			}
			break
		}
		if err := mc.ctx.Err(); err != nil {
			return nil, interrupted(err)
		}
		f.enter(body)
		params := append([]tensor.Value{tensor.Scalar(i), cond}, carried...)
		for j, p := range body.Params {
			if err := f.bind(p.Type, params[j], "%"+p.Name); err != nil {
				return nil, err
			}
			f.vals[f.c.values[p]] = params[j]
		}
		out, err := mc.block(f, body)
		if err != nil {
			return nil, err
		}
		for _, v := range out { // they outlive the values that hold them
			mc.mem.hold(v)
		}
		if i > 0 { // what the iteration before gave
			mc.mem.drop(cond)
			for _, v := range carried {
				mc.mem.drop(v)
			}
		}
		cond = out[0]
		carried = out[1 : 1+len(carried)]
		for j, v := range out[1+len(carried):] {
			t, ok := v.(*tensor.Tensor)
			if !ok {
				return nil, diag.New(diag.Run, "stacked output %d is no tensor", j)
			}
			stacked[j] = append(stacked[j], t)
		}
	}
	results := carried
	for j, list := range stacked {
		t, err := mc.stack(list, body.Results[1+len(carried)+j], s, len(carried)+j)
		if err != nil {
			return nil, err
		}
		for _, e := range list {
			mc.mem.drop(e)
		}
		results = append(results, t)
	}
	return results[:min(len(results), len(s.Results))], nil
}

// stack puts tensors of one shape along a new first axis. Of none it makes an empty
// tensor, its other dims from the type of an element where they are numbers, else 0.
func (mc *machine) stack(list []*tensor.Tensor, elem *ir.Value, s *ir.Stmt, i int) (*tensor.Tensor, error) {
	if len(list) == 0 {
		t, _ := elem.Tensor()
		shape := []int64{0}
		for _, d := range t.Dims {
			n, _ := d.Int()
			shape = append(shape, n)
		}
		return mc.mem.Alloc(t.DType, shape)
	}
	shape := append([]int64{int64(len(list))}, list[0].Shape()...)
	out, err := mc.mem.Alloc(list[0].DType(), shape)
	if err != nil {
		return nil, err
	}
	n := list[0].Len()
	small := out.DType().IsSmall()
	for k, t := range list {
		if !sameShape(t.Shape(), list[0].Shape()) {
			return nil, diag.New(diag.Run, "stacked output %d is %v in one iteration, %v in another", i, list[0].Shape(), t.Shape())
		}
		switch {
		case small:
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
