package op

import (
	"cmp"
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// TopK gives the k largest or smallest elements along an axis, best first, and their
// positions. Of equal elements the first wins; a NaN counts as the largest value.
var TopK = ir.Register(&ir.OpDef{
	Name: "onnx.TopK", Since: since(1, 10, 11, 24), Doc: "the k largest or smallest elements along an axis",
	In:    ops(in("X", "T", numeric), in("K", "", i64s)),
	Out:   ops(in("Values", "T", numeric), in("Indices", "", i64s)),
	Attrs: attrs(attr("axis", -1), attr("largest", 1), attr("sorted", 1)),
	Deduce: func(c *call) error {
		a, err := c.Axis(c.Int("axis"), c.Rank(0))
		if err != nil {
			return err
		}
		if err := single(c, 1); err != nil {
			return err
		}
		dims := slices.Clone(c.Dims(0))
		if k, ok := c.Ints(1); !ok {
			dims[a] = c.Fresh(&dims[a])
		} else {
			if c.Syms.LE(k[0], dims[a]) == sym.False || c.Syms.LE(sym.Const(0), k[0]) == sym.False {
				return c.Errorf("%s of the %s elements along axis %d", k[0], dims[a], a)
			}
			dims[a] = k[0]
		}
		c.SetOut(0, c.DType(0), dims...)
		c.SetOut(1, tensor.I64, dims...)
		return nil
	},
	Kernel: topK,
})

func topK(k *ir.KernelCall) ([]tensor.Value, error) {
	x := k.Arg(0)
	a, err := k.Axis(k.Call.Int("axis"), x.Rank())
	if err != nil {
		return nil, err
	}
	shape := slices.Clone(x.Shape())
	n := shape[a]
	count := k.Arg(1).Int(0)
	shape[a] = count
	values, err := tensor.Make(x.DType(), shape)
	if err != nil {
		return nil, err
	}
	positions, err := tensor.Make(tensor.I64, shape)
	if err != nil {
		return nil, err
	}
	inner, _ := tensor.Count(shape[a+1:])
	outer, _ := tensor.Count(shape[:a])
	less := elementOrder(x)
	if k.Flag("largest") {
		ascending := less
		less = func(i, j int64) int { return ascending(j, i) }
	}
	order := make([]int64, n)
	for row := range outer * inner {
		if err := k.Context.Err(); err != nil {
			return nil, err
		}
		o, i := row/inner, row%inner
		at := func(p int64) int64 { return (o*n+p)*inner + i }
		for p := range order {
			order[p] = int64(p)
		}
		slices.SortFunc(order, func(p, q int64) int { return cmp.Or(less(at(p), at(q)), cmp.Compare(p, q)) })
		for p, from := range order[:count] {
			to := (o*count+int64(p))*inner + i
			tensor.CopyElem(values, to, x, at(from))
			positions.SetInt(to, from)
		}
	}
	return []tensor.Value{values, positions}, nil
}

// elementOrder compares elements of a tensor by their positions; NaN comes last.
func elementOrder(x *tensor.Tensor) func(i, j int64) int {
	switch d := x.DType(); {
	case d == tensor.String:
		return func(i, j int64) int { return cmp.Compare(x.Str(i), x.Str(j)) }
	case d.IsComplex():
		return func(i, j int64) int {
			a, b := x.Complex(i), x.Complex(j)
			return cmp.Or(floatOrder(real(a), real(b)), floatOrder(imag(a), imag(b)))
		}
	case d == tensor.U64:
		return func(i, j int64) int { return cmp.Compare(x.Uint(i), x.Uint(j)) }
	case d.IsInt() || d == tensor.Bool:
		return func(i, j int64) int { return cmp.Compare(x.Int(i), x.Int(j)) }
	}
	return func(i, j int64) int { return floatOrder(x.Float(i), x.Float(j)) }
}

func floatOrder(a, b float64) int {
	if nanA, nanB := a != a, b != b; nanA != nanB {
		return -cmp.Compare(a, b) // cmp has NaN first
	}
	return cmp.Compare(a, b)
}
