package op

import (
	"math"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// RoiAlign averages, or takes the largest of, samples in the bins of regions. Where the
// number of samples follows from each region's size no program says it.
var RoiAlign = ir.Register(&ir.OpDef{
	Name: "onnx.RoiAlign", Since: since(10, 16, 22), Doc: "pools samples in the bins of regions",
	In:  ops(in("X", "T1", floats), in("rois", "T1", floats), in("batch_indices", "", i64s)),
	Out: ops(in("Y", "T1", floats)),
	Attrs: attrs(attr("coordinate_transformation_mode", "half_pixel"), attr("mode", "avg"), attr("output_height", 1), attr("output_width", 1),
		attr("sampling_ratio", 0), attr("spatial_scale", 1.0)),
	Deduce: func(c *call) error {
		x, rois, batch := c.Dims(0), c.Dims(1), c.Dims(2)
		if len(x) != 4 || len(rois) != 2 || len(batch) != 1 || c.Syms.Equal(rois[1], sym.Const(4)) == sym.False || c.Syms.Equal(rois[0], batch[0]) == sym.False {
			return c.Errorf("data %s, regions %s and their batch entries %s; it takes [n, c, h, w], [k, 4] and [k]", c.Tensor(0), c.Tensor(1), c.Tensor(2))
		}
		h, w := c.Int("output_height"), c.Int("output_width")
		if h < 1 || w < 1 || c.Int("sampling_ratio") < 0 {
			return c.Errorf("bins of %d by %d with sampling_ratio %d", h, w, c.Int("sampling_ratio"))
		}
		if m := c.Str("mode"); m != "avg" && m != "max" {
			return c.Errorf("mode %q is neither avg nor max", m)
		}
		if m := c.Str("coordinate_transformation_mode"); m != "half_pixel" && m != "output_half_pixel" {
			return c.Errorf("coordinate_transformation_mode %q is neither half_pixel nor output_half_pixel", m)
		}
		c.SetOut(0, c.DType(0), rois[0], x[1], sym.Const(h), sym.Const(w))
		return nil
	},
	Body: func(c *call, b *ir.Body) error {
		if c.Int("sampling_ratio") == 0 {
			return ir.ErrNoProgram
		}
		return roiAlign(c, b)
	},
	Kernel: roiAlignEach,
})

// roiAlign is the program of a fixed number of samples in each bin. A sample reads the
// four elements around it, which are axes of the reduction too; max takes the largest of
// these weighted readings, as ONNX's reference has it.
func roiAlign(c *call, b *ir.Body) error {
	X, rois := b.In(0), b.In(1)
	ratio := sym.Const(c.Int("sampling_ratio"))
	axes := b.Axes(b.Out(0).Dims)
	region := axes[0].Ix()
	samples, around := b.Axes([]sym.Expr{ratio, ratio}), b.Axes([]sym.Expr{sym.Const(2), sym.Const(2)})
	ix := []*scalar{b.LoadIx(b.In(2), region), axes[1].Ix()}
	var inside, weight *scalar
	for i := range 2 { // height, width
		corner := func(j int) *scalar {
			x := b.Load(rois, region, ir.IntLit(int64(j)))
			return x.Mul(x.Const(c.Float("spatial_scale"))).Sub(x.Const(roiShift(c)))
		}
		start, end := corner(1-i), corner(3-i)
		f := func(x *scalar) *scalar { return x.To(start.DType) }
		size := end.Sub(start)
		if roiShift(c) == 0 {
			size = size.Max(size.Const(1))
		}
		bin := size.Div(f(ir.SymVal(axes[2+i].Extent)))
		x := start.Add(f(axes[2+i].Ix()).Mul(bin)).Add(f(samples[i].Ix()).Add(bin.Const(0.5)).Mul(bin).Div(f(ir.SymVal(ratio))))
		n := f(ir.SymVal(X.Dims[2+i]))
		last := n.Sub(n.Const(1))
		valid := x.Ge(x.Const(-1)).And(x.Le(n))
		x = x.Max(x.Const(0)).Min(last)
		low := x.Floor()
		w := linearTaps.weight(x.Sub(low), around[i].Ix())
		p := low.Add(f(around[i].Ix())).Min(last).To(tensor.I64)
		ix = append(ix, p)
		inside = both(inside, valid.And(p.Ge(ir.IntLit(0))).And(p.Lt(ir.SymVal(X.Dims[2+i]))))
		if weight == nil {
			weight = w
		} else {
			weight = weight.Mul(w)
		}
	}
	x := b.Load(X, ix...)
	term := ir.Guard(inside, x, x.Const(0)).Mul(weight)
	red := append(samples, around...)
	if c.Str("mode") == "max" {
		b.Reduce(b.Out(0), axes, ir.Max, red, term)
		return nil
	}
	sum := b.Reduced(axes, ir.Sum, red, term)
	out := b.Axes(b.Out(0).Dims)
	y := ir.Load(sum, ir.Ix(out)...)
	b.Map(b.Out(0), out, y.Div(ir.SymVal(ratio.Mul(ratio)).To(y.DType)))
	return nil
}

// roiShift is how far regions are moved, so that their coordinates are those of elements'
// centres.
func roiShift(c *call) float64 {
	if c.Str("coordinate_transformation_mode") == "half_pixel" {
		return 0.5
	}
	return 0
}

// maxSamples bounds the samples along one dim of a bin: a region that would take more has
// coordinates that are none.
const maxSamples = 1 << 20

// roiAlignEach is roiAlign with as many samples for each region as its bins are large.
func roiAlignEach(k *ir.KernelCall) ([]tensor.Value, error) {
	x, rois, batch := k.Arg(0), k.Arg(1), k.Arg(2)
	shape, _ := k.Out[0].(ir.TensorType).Static()
	y, err := tensor.Make(x.DType(), shape)
	if err != nil {
		return nil, err
	}
	size := x.Shape()[2:]
	round := func(v float64) float64 { return float64(float32(v)) }
	if x.DType() == tensor.F64 {
		round = func(v float64) float64 { return v }
	}
	for r := range shape[0] {
		entry := batch.Int(r)
		if entry < 0 || entry >= x.Shape()[0] {
			return nil, k.Errorf("region %d is in entry %d of a batch of %d", r, entry, x.Shape()[0])
		}
		var start, bin [2]float64
		var count [2]int64
		for i := range 2 {
			corner := func(j int) float64 {
				return round(round(rois.Float(4*r+int64(j))*k.Float("spatial_scale")) - roiShift(k.Call))
			}
			extent := round(corner(3-i) - corner(1-i))
			if roiShift(k.Call) == 0 {
				extent = max(extent, 1)
			}
			start[i], bin[i] = corner(1-i), round(extent/float64(shape[2+i]))
			n := math.Ceil(bin[i])
			if math.IsNaN(n) || n > maxSamples {
				return nil, k.Errorf("region %d takes %g samples in a bin", r, n)
			}
			count[i] = int64(max(n, 0))
		}
		for at := range shape[2] * shape[3] {
			if err := k.Context.Err(); err != nil {
				return nil, err
			}
			taps := roiTaps(at/shape[3], at%shape[3], start, bin, count, size)
			for ch := range shape[1] {
				plane := (entry*shape[1] + ch) * size[0] * size[1]
				sum, largest := 0.0, math.Inf(-1)
				for _, t := range taps {
					v := 0.0
					if t.at >= 0 {
						v = t.weight * x.Float(plane+t.at)
					}
					sum, largest = sum+v, max(largest, v)
				}
				if sum /= float64(max(count[0]*count[1], 1)); k.Str("mode") == "max" {
					if sum = largest; len(taps) == 0 {
						sum = 0
					}
				}
				y.SetFloat(((r*shape[1]+ch)*shape[2])*shape[3]+at, sum)
			}
		}
	}
	return []tensor.Value{y}, nil
}

// roiTap is a weighted reading of an element of a plane, -1 where it is outside.
type roiTap struct {
	at     int64
	weight float64
}

// roiTaps are the readings of all samples in one bin.
func roiTaps(row, col int64, start, bin [2]float64, count [2]int64, size []int64) []roiTap {
	type along struct {
		low, high int64
		frac      float64
		valid     bool
	}
	place := func(i int, cell, s int64) along {
		n := float64(size[i])
		x := start[i] + float64(cell)*bin[i] + (float64(s)+0.5)*bin[i]/float64(count[i])
		if !(x >= -1 && x <= n) || size[i] == 0 {
			return along{}
		}
		x = min(max(x, 0), n-1)
		low := int64(x)
		return along{low, min(low+1, size[i]-1), x - float64(low), true}
	}
	var out []roiTap
	for sy := range count[0] {
		y := place(0, row, sy)
		for sx := range count[1] {
			x := place(1, col, sx)
			if !y.valid || !x.valid {
				out = append(out, roiTap{-1, 0})
				continue
			}
			at := func(r, c int64) int64 { return r*size[1] + c }
			out = append(out, roiTap{at(y.low, x.low), (1 - y.frac) * (1 - x.frac)}, roiTap{at(y.low, x.high), (1 - y.frac) * x.frac},
				roiTap{at(y.high, x.low), y.frac * (1 - x.frac)}, roiTap{at(y.high, x.high), y.frac * x.frac})
		}
	}
	return out
}

// MaxRoiPool takes the largest element in each bin of regions, whose corners are rounded
// (halves away from 0) to elements that belong to them. Bins overlap where they share an
// element; an empty one is 0.
var MaxRoiPool = ir.Register(&ir.OpDef{
	Name: "onnx.MaxRoiPool", Since: since(1, 22), Doc: "the largest elements in the bins of regions",
	In: ops(in("X", "T", floats), in("rois", "T", floats)), Out: ops(in("Y", "T", floats)),
	Attrs: attrs(attrReq("pooled_shape", []int64(nil)), attr("spatial_scale", 1.0)),
	Deduce: func(c *call) error {
		x, rois, bins := c.Dims(0), c.Dims(1), c.IntList("pooled_shape")
		if len(x) != 4 || len(rois) != 2 || c.Syms.Equal(rois[1], sym.Const(5)) == sym.False {
			return c.Errorf("data %s and regions %s, it takes [n, c, h, w] and [k, 5]", c.Tensor(0), c.Tensor(1))
		}
		if len(bins) != 2 || bins[0] < 1 || bins[1] < 1 {
			return c.Errorf("pooled_shape %v, it takes a height and a width", bins)
		}
		c.SetOut(0, c.DType(0), rois[0], x[1], sym.Const(bins[0]), sym.Const(bins[1]))
		return nil
	},
	Body: func(c *call, b *ir.Body) error {
		X, rois := b.In(0), b.In(1)
		axes, red := b.Axes(b.Out(0).Dims), b.Axes(X.Dims[2:])
		entry := func(j int) *scalar { return b.Load(rois, axes[0].Ix(), ir.IntLit(int64(j))) }
		var inside *scalar
		for i := range 2 { // height, width
			corner := func(j int) *scalar {
				x := entry(j).Mul(entry(j).Const(c.Float("spatial_scale")))
				away := x.Abs().Add(x.Const(0.5)).Floor()
				return ir.Select(x.Lt(x.Const(0)), away.Neg(), away)
			}
			start, end := corner(2-i), corner(4-i)
			f := func(x *scalar) *scalar { return x.To(start.DType) }
			size := end.Sub(start).Add(start.Const(1)).Max(start.Const(1))
			bin := size.Div(f(ir.SymVal(axes[2+i].Extent)))
			from := start.Add(f(axes[2+i].Ix()).Mul(bin).Floor())
			to := start.Add(f(axes[2+i].Ix().Add(ir.IntLit(1))).Mul(bin).Ceil())
			at := f(red[i].Ix())
			inside = both(inside, at.Ge(from).And(at.Lt(to)))
		}
		x := b.Load(X, append([]*scalar{entry(0).To(tensor.I64), axes[1].Ix()}, ir.Ix(red)...)...)
		none := x.Const(math.Inf(-1))
		top := b.Reduced(axes, ir.Max, red, ir.Guard(inside, x, none))
		found := b.Reduced(axes, ir.Or, red, inside)
		out := b.Axes(b.Out(0).Dims)
		y := ir.Load(top, ir.Ix(out)...)
		b.Map(b.Out(0), out, ir.Select(ir.Load(found, ir.Ix(out)...), y, y.Const(0)))
		return nil
	},
})
