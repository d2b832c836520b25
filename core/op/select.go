package op

import (
	"cmp"
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// Unique gives each value once, or each slice along an axis: sorted, or in the order in
// which they come. Its other results are where each comes first, which of them each
// element is, and how often each comes. NaN is one value, the last one.
var Unique = ir.Register(&ir.OpDef{
	Name: "onnx.Unique", Since: since(11), Doc: "each value, or slice along an axis, once",
	In:    ops(in("X", "T", anyTensor)),
	Out:   ops(in("Y", "T", anyTensor), opt("indices", "", i64s), opt("inverse_indices", "", i64s), opt("counts", "", i64s)),
	Attrs: attrs(attrOpt("axis", int64(0)), attr("sorted", 1)),
	Deduce: func(c *call) error {
		all := c.Tensor(0).Size()
		if c.HasAttr("axis") {
			a, err := c.Axis(c.Int("axis"), c.Rank(0))
			if err != nil {
				return err
			}
			all = c.Dims(0)[a]
			n := c.Fresh(&all)
			d := slices.Clone(c.Dims(0))
			d[a] = n
			c.SetOut(0, c.DType(0), d...)
			c.SetOut(1, tensor.I64, n)
			c.SetOut(3, tensor.I64, n)
		} else {
			n := c.Fresh(&all)
			c.SetOut(0, c.DType(0), n)
			c.SetOut(1, tensor.I64, n)
			c.SetOut(3, tensor.I64, n)
		}
		c.SetOut(2, tensor.I64, all)
		return nil
	},
	Kernel: func(k *ir.KernelCall) ([]tensor.Value, error) {
		x, a := k.Arg(0), 0
		if k.HasAttr("axis") {
			var err error
			if a, err = k.Axis(k.Int("axis"), x.Rank()); err != nil {
				return nil, err
			}
		} else {
			x, _ = x.View(x.Len())
		}
		const lists = 5 * 8 // bytes that each slice takes in the lists below
		if err := k.Need(x.Shape()[a] * lists); err != nil {
			return nil, err
		}
		order := sliceOrder(x, a)
		sorted := make([]int64, x.Shape()[a])
		for i := range sorted {
			sorted[i] = int64(i)
		}
		slices.SortStableFunc(sorted, order)
		var first []int64 // of each group of equal slices, which stand side by side
		group := make([]int, len(sorted))
		for i, p := range sorted {
			if i == 0 || order(sorted[i-1], p) != 0 {
				first = append(first, p)
			}
			group[p] = len(first) - 1
		}
		rank := make([]int, len(first)) // of each group in the result
		for i := range rank {
			rank[i] = i
		}
		if !k.Flag("sorted") {
			slices.SortFunc(rank, func(i, j int) int { return cmp.Compare(first[i], first[j]) })
		}
		at := make([]int64, len(first))
		place := make([]int64, len(first))
		for i, g := range rank {
			at[i], place[g] = first[g], int64(i)
		}
		inverse := make([]int64, len(sorted))
		counts := make([]int64, len(first))
		for p, g := range group {
			inverse[p] = place[g]
			counts[place[g]]++
		}
		list := func(v []int64) tensor.Value { return tensor.Of(v, int64(len(v))) }
		y, err := takeAlong(k, x, a, at)
		return []tensor.Value{y, list(at), list(inverse), list(counts)}, err
	},
})

// sliceOrder compares slices along an axis, element by element.
func sliceOrder(x *tensor.Tensor, a int) func(p, q int64) int {
	outer, _ := tensor.Count(x.Shape()[:a])
	inner, _ := tensor.Count(x.Shape()[a+1:])
	n := x.Shape()[a]
	compare := elementOrder(x.DType())
	return func(p, q int64) int {
		for o := range outer {
			for i := range inner {
				if d := compare(x, (o*n+p)*inner+i, (o*n+q)*inner+i); d != 0 {
					return d
				}
			}
		}
		return 0
	}
}

// NonMaxSuppression picks, in every class of every batch entry, boxes in the order of
// their scores that do not overlap a picked one by more than a threshold. Boxes that do
// not score above the score threshold are not picked: like ONNX's reference, and unlike
// its text, one that is equal is not either. A row is batch entry, class, box.
var NonMaxSuppression = ir.Register(&ir.OpDef{
	Name: "onnx.NonMaxSuppression", Since: since(10, 11), Doc: "the best boxes that do not overlap",
	In: ops(in("boxes", "", f32s), in("scores", "", f32s), opt("max_output_boxes_per_class", "", i64s), opt("iou_threshold", "", f32s),
		opt("score_threshold", "", f32s)),
	Out:   ops(in("selected_indices", "", i64s)),
	Attrs: attrs(attr("center_point_box", 0)),
	Deduce: func(c *call) error {
		x, s := c.Dims(0), c.Dims(1)
		if len(x) != 3 || len(s) != 3 || c.Syms.Equal(x[2], sym.Const(4)) == sym.False || c.Syms.Equal(x[0], s[0]) == sym.False || c.Syms.Equal(x[1], s[2]) == sym.False {
			return c.Errorf("boxes %s and scores %s, it takes [batch, n, 4] and [batch, classes, n]", c.Tensor(0), c.Tensor(1))
		}
		if f := c.Int("center_point_box"); f != 0 && f != 1 {
			return c.Errorf("center_point_box is %d, it is 0 or 1", f)
		}
		most := sym.Const(0)
		if c.Has(2) {
			most = x[1]
			if list, ok := c.Ints(2); ok && len(list) == 1 {
				most = most.Min(list[0].Max(sym.Const(0)))
			}
		}
		bound := c.Syms.Simplify(s[0].Mul(s[1]).Mul(most))
		c.SetOut(0, tensor.I64, c.Fresh(&bound), sym.Const(3))
		return single(c, 2, 3, 4)
	},
	Kernel: func(k *ir.KernelCall) ([]tensor.Value, error) {
		boxes, scores := tensor.Data[float32](k.Arg(0)), tensor.Data[float32](k.Arg(1))
		batch, classes, n := k.Arg(1).Shape()[0], k.Arg(1).Shape()[1], k.Arg(1).Shape()[2]
		most, overlap := int64(0), float32(0)
		if t := k.Arg(2); t != nil {
			most = t.Int(0)
		}
		if t := k.Arg(3); t != nil {
			overlap = float32(t.Float(0))
		}
		var rows []int64
		for entry := range batch {
			edges := make([]box, n)
			for i := range edges {
				edges[i] = boxOf(boxes[(entry*n+int64(i))*4:][:4], k.Flag("center_point_box"))
			}
			for class := range classes {
				score := scores[(entry*classes+class)*n:][:n]
				var order []int64
				for i, v := range score {
					if t := k.Arg(4); t == nil || v > float32(t.Float(0)) {
						order = append(order, int64(i))
					}
				}
				slices.SortStableFunc(order, func(i, j int64) int { return cmp.Compare(score[j], score[i]) })
				var picked []int64
				for _, i := range order {
					if int64(len(picked)) >= most {
						break
					}
					if err := k.Context.Err(); err != nil {
						return nil, err
					}
					if !slices.ContainsFunc(picked, func(j int64) bool { return edges[i].overlap(edges[j]) > overlap }) {
						picked = append(picked, i)
						rows = append(rows, entry, class, i)
					}
				}
			}
		}
		return []tensor.Value{tensor.Of(append([]int64{}, rows...), int64(len(rows)/3), 3)}, nil
	},
})

var f32s = []tensor.DType{tensor.F32}

// box is where a box begins and ends along two dims.
type box struct{ lo, hi [2]float32 }

// boxOf reads a box: two corners, or its centre and size.
func boxOf(v []float32, centred bool) box {
	b := box{[2]float32{v[0], v[1]}, [2]float32{v[2], v[3]}}
	for d := range 2 {
		if centred {
			b.lo[d], b.hi[d] = v[d]-v[2+d]/2, v[d]+v[2+d]/2
		} else if b.lo[d] > b.hi[d] {
			b.lo[d], b.hi[d] = b.hi[d], b.lo[d]
		}
	}
	return b
}

// overlap is the area of what two boxes share over that of what either covers; 0 where one
// of them has no area.
func (b box) overlap(o box) float32 {
	shared, own, other := float32(1), float32(1), float32(1)
	for d := range 2 {
		w := min(b.hi[d], o.hi[d]) - max(b.lo[d], o.lo[d])
		if !(w > 0) {
			return 0
		}
		shared *= w
		own *= b.hi[d] - b.lo[d]
		other *= o.hi[d] - o.lo[d]
	}
	if !(own > 0 && other > 0 && shared > 0) {
		return 0
	}
	return shared / (own + other - shared)
}
