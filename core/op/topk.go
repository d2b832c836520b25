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
	Fill: topK,
})

func topK(k *ir.KernelCall, out []*tensor.Tensor) error {
	x := k.Arg(0)
	a, err := k.Axis(k.Call.Int("axis"), x.Rank())
	if err != nil {
		return err
	}
	values, positions := out[0], (*tensor.Tensor)(nil)
	if len(out) > 1 {
		positions = out[1]
	}
	if positions == nil {
		positions = tensor.New(tensor.I64, values.Shape()...)
	}
	sel := selection{x: x, compare: elementOrder(x.DType()), largest: k.Flag("largest"), n: x.Shape()[a], stride: 1}
	for _, d := range x.Shape()[a+1:] {
		sel.stride *= d
	}
	count := positions.Shape()[a]
	all := tensor.Data[int64](positions)
	if len(all) == 0 {
		return nil
	}
	rows := positions.Len() / count
	for row := range rows {
		if err := k.Context.Err(); err != nil {
			return err
		}
		o, i := row/sel.stride, row%sel.stride
		sel.from, sel.best = o*sel.n*sel.stride+i, all[o*count*sel.stride+i:]
		sel.take(count)
		for p := range count {
			if values != nil {
				tensor.CopyElem(values, (o*count+p)*sel.stride+i, x, sel.at(sel.best[p*sel.stride]))
			}
		}
	}
	return nil
}

// selection finds the best elements of a row, which lie a stride apart, and writes their positions
// likewise.
type selection struct {
	x       *tensor.Tensor
	compare func(x *tensor.Tensor, i, j int64) int
	largest bool
	n       int64 // elements of the row
	from    int64 // where the row begins
	stride  int64
	best    []int64
}

func (s *selection) at(p int64) int64 { return s.from + p*s.stride }

// before says whether the element at p is better than that at q, or equal and before it.
func (s *selection) before(p, q int64) bool {
	d := s.compare(s.x, s.at(p), s.at(q))
	if s.largest {
		d = -d
	}
	return d < 0 || d == 0 && p < q
}

// take finds the best count elements: a heap of them has the worst one on top, so that each of the
// others is compared with that. Taken apart, it leaves them in order.
func (s *selection) take(count int64) {
	for p := range count {
		s.best[p*s.stride] = p
	}
	for p := count/2 - 1; p >= 0; p-- {
		s.sink(p, count)
	}
	for p := count; p < s.n; p++ {
		if s.before(p, s.best[0]) {
			s.best[0] = p
			s.sink(0, count)
		}
	}
	for end := count - 1; end > 0; end-- {
		s.best[0], s.best[end*s.stride] = s.best[end*s.stride], s.best[0]
		s.sink(0, end)
	}
}

// sink moves what is at a place of a heap of count elements down to where it belongs.
func (s *selection) sink(place, count int64) {
	for {
		worst := place
		for child := 2*place + 1; child <= 2*place+2 && child < count; child++ {
			if s.before(s.best[worst*s.stride], s.best[child*s.stride]) {
				worst = child
			}
		}
		if worst == place {
			return
		}
		a, b := place*s.stride, worst*s.stride
		s.best[a], s.best[b] = s.best[b], s.best[a]
		place = worst
	}
}

// elementOrder compares elements of a tensor of a type by their positions; NaN comes last.
func elementOrder(d tensor.DType) func(x *tensor.Tensor, i, j int64) int {
	switch {
	case d == tensor.String:
		return func(x *tensor.Tensor, i, j int64) int { return cmp.Compare(x.Str(i), x.Str(j)) }
	case d.IsComplex():
		return func(x *tensor.Tensor, i, j int64) int {
			a, b := x.Complex(i), x.Complex(j)
			return cmp.Or(floatOrder(real(a), real(b)), floatOrder(imag(a), imag(b)))
		}
	case d == tensor.U64:
		return func(x *tensor.Tensor, i, j int64) int { return cmp.Compare(x.Uint(i), x.Uint(j)) }
	case d.IsInt() || d == tensor.Bool:
		return func(x *tensor.Tensor, i, j int64) int { return cmp.Compare(x.Int(i), x.Int(j)) }
	}
	return func(x *tensor.Tensor, i, j int64) int { return floatOrder(x.Float(i), x.Float(j)) }
}

func floatOrder(a, b float64) int {
	if nanA, nanB := a != a, b != b; nanA != nanB {
		return -cmp.Compare(a, b) // cmp has NaN first
	}
	return cmp.Compare(a, b)
}
