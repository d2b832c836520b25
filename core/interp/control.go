package interp

import (
	"fmt"
	"slices"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

// region runs a region of a statement: it sees the values and symbols around it, and
// what it defines is gone afterwards.
func (x *machine) region(a *activation, b *ir.Block, args []tensor.Value) ([]tensor.Value, error) {
	if len(args) != len(b.Params) {
		return nil, diag.New(diag.Run, "%d operands for a region that takes %d", len(args), len(b.Params))
	}
	inner := &activation{m: a.m, outer: a, env: ir.NewEnv(a.env), vals: map[*ir.Value]tensor.Value{}}
	return x.block(inner, b, args, func(p *ir.Value) string { return fmt.Sprintf("parameter %d of the region", p.Index) })
}

// runIf runs onnx.If: the regions are then_branch and else_branch.
func (x *machine) runIf(a *activation, s *ir.Stmt, args []tensor.Value) ([]tensor.Value, error) {
	cond, err := truth(args, 0, "the condition")
	if err != nil {
		return nil, err
	}
	if len(s.Regions) != 2 {
		return nil, diag.New(diag.Run, "%d regions, it takes 2", len(s.Regions))
	}
	if cond {
		return x.region(a, s.Regions[0], nil)
	}
	return x.region(a, s.Regions[1], nil)
}

// truth reads a truth value of one element; one that is left out is true.
func truth(args []tensor.Value, i int, what string) (bool, error) {
	if i >= len(args) || args[i] == nil {
		return true, nil
	}
	t, ok := args[i].(*tensor.Tensor)
	if !ok || t.DType() != tensor.Bool || t.Len() != 1 {
		return false, diag.New(diag.Run, "%s must be one truth value", what)
	}
	return t.Bool(0), nil
}

// runLoop runs onnx.Loop. Operands are the trip count and the first condition, either
// may be left out, then what is carried. The body gets the iteration number, the
// condition and what is carried; it gives the next condition, what is carried on, and
// one slice of each scan output. Results are what was carried last, and the scan
// outputs: the slices stacked along a new axis 0.
func (x *machine) runLoop(a *activation, s *ir.Stmt, args []tensor.Value) ([]tensor.Value, error) {
	if len(s.Regions) != 1 {
		return nil, diag.New(diag.Run, "%d regions, it takes 1", len(s.Regions))
	}
	body := s.Regions[0]
	trips := int64(-1)
	if len(args) > 0 && args[0] != nil {
		t, ok := args[0].(*tensor.Tensor)
		if !ok || !t.DType().IsInt() || t.Len() != 1 {
			return nil, diag.New(diag.Run, "the trip count must be one integer")
		}
		trips = max(0, t.Int(0))
	}
	keep, err := truth(args, 1, "the condition")
	if err != nil {
		return nil, err
	}
	carried := slices.Clone(args[min(2, len(args)):])
	scans := len(body.Results) - 1 - len(carried)
	if len(body.Params) != 2+len(carried) || scans < 0 {
		return nil, diag.New(diag.Run, "a body of %d parameters and %d results does not carry %d values", len(body.Params), len(body.Results), len(carried))
	}
	stacks := make([][]*tensor.Tensor, scans)
	for _, v := range carried {
		x.mem.hold(v)
	}
	defer func() {
		for _, v := range carried {
			x.mem.drop(v)
		}
		for _, list := range stacks {
			for _, t := range list {
				x.mem.drop(t)
			}
		}
	}()
	for i := int64(0); i != trips && keep; i++ {
		if err := x.ctx.Err(); err != nil {
			return nil, diag.Stopped(err)
		}
		in := append([]tensor.Value{tensor.Scalar(i), tensor.Scalar(keep)}, carried...)
		out, err := x.region(a, body, in)
		if err != nil {
			return nil, err
		}
		if keep, err = truth(out, 0, "the condition that the body gives"); err != nil {
			return nil, err
		}
		for _, v := range out[1:] {
			x.mem.hold(v)
		}
		for j := range carried {
			x.mem.drop(carried[j])
			carried[j] = out[1+j]
		}
		for j := range stacks {
			t, ok := out[1+len(carried)+j].(*tensor.Tensor)
			if !ok {
				return nil, diag.New(diag.Run, "scan output %d is no tensor", j)
			}
			stacks[j] = append(stacks[j], t)
		}
		if err := x.mem.room(0); err != nil {
			return nil, err
		}
	}
	results := slices.Clone(carried)
	for j, list := range stacks {
		if len(list) == 0 {
			t, err := tensor.Make(ir.NoSlices(s, len(carried)+j, a.env.Eval))
			if err != nil {
				return nil, diag.As(err, diag.Run)
			}
			results = append(results, t)
			continue
		}
		t, err := x.stack(list)
		if err != nil {
			return nil, err
		}
		results = append(results, t)
	}
	return results, nil
}

// stack joins slices along a new axis 0; there is one at least.
func (x *machine) stack(list []*tensor.Tensor) (*tensor.Tensor, error) {
	first := list[0]
	for i, t := range list {
		if t.DType() != first.DType() || !slices.Equal(t.Shape(), first.Shape()) {
			return nil, diag.New(diag.Run, "a scan output is %s in iteration 0 and %s in iteration %d; all must have one shape", describe(first), describe(t), i)
		}
	}
	out, err := x.mem.Alloc(first.DType(), append([]int64{int64(len(list))}, first.Shape()...))
	if err != nil {
		return nil, err
	}
	x.mem.drop(out) // the statement will hold it
	n := first.Len()
	for i, t := range list {
		at := int64(i) * n
		switch {
		case t.DType() == tensor.String:
			copy(out.Strings()[at:], t.Strings())
		case !t.DType().IsSmall():
			copy(out.Bytes()[at*int64(t.DType().Bits())/8:], t.Bytes())
		default: // slices do not begin at bytes
			for j := range n {
				tensor.CopyElem(out, at+j, t, j)
			}
		}
	}
	return out, nil
}
