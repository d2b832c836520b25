package ir

import (
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// NoSlices is what a loop stacks in a result when there was no iteration: the type of the
// body's slices says its dims, and that of the result where the body's does not. eval gives
// the value of a dim, an error where it has none; such a dim is 0, as in ONNX Runtime.
func NoSlices(s *Stmt, result int, eval func(sym.Expr) (int64, error)) (tensor.DType, []int64) {
	d := tensor.F32
	shape := []int64{0}
	known := []bool{true}
	take := func(t TensorType, dims []sym.Expr) {
		d = t.DType
		for i, e := range dims {
			if len(shape) <= i+1 {
				shape, known = append(shape, 0), append(known, false)
			}
			if n, err := eval(e); err == nil && !known[i+1] {
				shape[i+1], known[i+1] = n, true
			}
		}
	}
	if t, ok := s.Regions[0].Results[1+result].Type.(TensorType); ok && !t.Unranked {
		take(t, t.Dims)
	}
	if result < len(s.Results) && s.Results[result] != nil {
		if t, ok := s.Results[result].Type.(TensorType); ok && !t.Unranked && len(t.Dims) > 0 && (len(shape) == 1 || len(shape) == len(t.Dims)) {
			take(t, t.Dims[1:])
		}
	}
	return d, shape
}
