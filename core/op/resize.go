package op

import (
	"math"
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// Resize samples a tensor on another grid: by scales or to sizes, nearest, linear or
// cubic, dim by dim.
var Resize = ir.Register(&ir.OpDef{
	Name: "onnx.Resize", Since: since(10, 11, 13, 18, 19), Doc: "samples a tensor on another grid",
	In:  ops(in("X", "T", anyTensor), opt("roi", "T2", floats), opt("scales", "", []tensor.DType{tensor.F32}), opt("sizes", "", i64s)),
	Out: ops(in("Y", "T", anyTensor)),
	Attrs: attrs(attr("antialias", 0), attrOpt("axes", []int64(nil)), attr("coordinate_transformation_mode", "half_pixel"),
		attr("cubic_coeff_a", -0.75), attr("exclude_outside", 0), attr("extrapolation_value", 0.0), attr("keep_aspect_ratio_policy", "stretch"),
		attr("mode", "nearest"), attr("nearest_mode", "round_prefer_floor")),
	Deduce: func(c *call) error {
		grid, err := resizing(c)
		if err != nil {
			return err
		}
		axes, err := listedAxes(c)
		if err != nil {
			return err
		}
		out := slices.Clone(c.Dims(0))
		for _, a := range axes {
			if grid == nil || grid[a].open {
				out[a] = c.Fresh(nil)
			} else {
				out[a] = grid[a].size
			}
		}
		c.SetOut(0, c.DType(0), out...)
		return nil
	},
	Body: resizeBody,
})

// resample is what Resize does to one dim.
type resample struct {
	same  bool // nothing
	open  bool // only a run tells
	size  sym.Expr
	scale float64 // of the coordinates; 0: size over input size
	start float64 // region of interest, as a share of the input
	end   float64
}

// resizing gives what happens to every dim; nil where only a run tells.
func resizing(c *call) ([]resample, error) {
	d := c.Dims(0)
	grid := make([]resample, len(d))
	for i := range grid {
		grid[i] = resample{same: true, size: d[i], scale: 1, end: 1}
	}
	axes, err := listedAxes(c)
	if err != nil {
		return nil, err
	}
	if c.Str("coordinate_transformation_mode") == "tf_crop_and_resize" {
		roi := c.Const(1)
		if roi == nil {
			return nil, nil
		}
		if roi.Len() != int64(2*len(axes)) {
			return nil, c.Errorf("roi has %d entries for %d axes", roi.Len(), len(axes))
		}
		for i, a := range axes {
			grid[a].start, grid[a].end = roi.Float(int64(i)), roi.Float(int64(len(axes)+i))
		}
	}
	scales, hasScales := c.Const(2), c.Has(2) && !emptyOperand(c, 2)
	if hasScales {
		if c.Has(3) && !emptyOperand(c, 3) {
			return nil, c.Errorf("both scales and sizes are given")
		}
		if scales == nil {
			return nil, nil
		}
		if scales.Len() != int64(len(axes)) {
			return nil, c.Errorf("%d scales for %d axes", scales.Len(), len(axes))
		}
		for i, a := range axes {
			s := scales.Float(int64(i))
			if !(s > 0) || math.IsInf(s, 0) {
				return nil, c.Errorf("scale %g", s)
			}
			grid[a].same, grid[a].scale = s == 1 && grid[a].start == 0 && grid[a].end == 1, s
			span := grid[a].end - grid[a].start
			p, q, exact := fraction(s)
			switch n, ok := d[a].Int(); {
			case s == 1 && span == 1:
			case exact && span == 1:
				grid[a].size = d[a].Mul(sym.Const(p)).FloorDiv(sym.Const(q))
			case ok:
				grid[a].size = sym.Const(int64(math.Floor(float64(n) * span * s)))
			default:
				grid[a].open = true
			}
		}
		return grid, nil
	}
	if !c.Has(3) {
		return nil, c.Errorf("neither scales nor sizes are given")
	}
	sizes, ok := c.Ints(3)
	if !ok {
		return nil, nil
	}
	if len(sizes) != len(axes) {
		return nil, c.Errorf("%d sizes for %d axes", len(sizes), len(axes))
	}
	if policy := c.Str("keep_aspect_ratio_policy"); policy != "stretch" {
		return keepAspect(c, grid, axes, sizes, policy)
	}
	for i, a := range axes {
		if _, hi := c.Syms.Bounds(sizes[i]); hi < 0 {
			return nil, c.Errorf("size %s", sizes[i])
		}
		grid[a].size, grid[a].scale = sizes[i], 0
		grid[a].same = c.Syms.Equal(sizes[i], d[a]) == sym.True && grid[a].start == 0 && grid[a].end == 1
	}
	return grid, nil
}

// fraction is x as p/q; not ok where these are no small numbers. A scale is an f32, which is
// a fraction of powers of two.
func fraction(x float64) (p, q int64, ok bool) {
	const most = 1 << 30
	for q = 1; x != math.Trunc(x) && q < most; q *= 2 {
		x *= 2
	}
	return int64(x), q, x == math.Trunc(x) && x < most
}

func emptyOperand(c *call, i int) bool {
	n, ok := c.Tensor(i).Size().Int()
	return ok && n == 0
}

// keepAspect scales all axes alike, by the smallest or the largest of their scales.
func keepAspect(c *call, grid []resample, axes []int, sizes []sym.Expr, policy string) ([]resample, error) {
	scale := math.NaN()
	for i, a := range axes {
		n, ok := c.Dims(0)[a].Int()
		m, ok2 := sizes[i].Int()
		if !ok || !ok2 || n == 0 {
			return nil, nil
		}
		s := float64(m) / float64(n)
		switch {
		case math.IsNaN(scale), policy == "not_larger" && s < scale, policy == "not_smaller" && s > scale:
			scale = s
		case policy != "not_larger" && policy != "not_smaller":
			return nil, c.Errorf("keep_aspect_ratio_policy %q is none of stretch, not_larger, not_smaller", policy)
		}
	}
	for _, a := range axes {
		n, _ := c.Dims(0)[a].Int()
		grid[a].size, grid[a].scale = sym.Const(int64(math.Floor(float64(n)*scale+0.5))), scale
		grid[a].same = scale == 1
	}
	return grid, nil
}

// resizeBody resamples dim after dim: each is a sum over the few input positions near a
// coordinate, with weights that depend on the coordinate alone.
func resizeBody(c *call, b *ir.Body) error {
	grid, err := resizing(c)
	if err != nil {
		return err
	}
	if grid == nil {
		return ir.ErrDynamic
	}
	mode := c.Str("mode")
	if mode != "nearest" && mode != "linear" && mode != "cubic" {
		return c.Errorf("mode %q is none of nearest, linear, cubic", mode)
	}
	var todo []int
	for i, g := range grid {
		if g.open {
			return ir.ErrDynamic
		}
		if !g.same {
			todo = append(todo, i)
		}
	}
	if mode == "nearest" {
		return nearest(c, b, grid)
	}
	cur := b.In(0)
	dims := append([]sym.Expr(nil), c.Dims(0)...)
	crop := c.Str("coordinate_transformation_mode") == "tf_crop_and_resize"
	for _, a := range todo {
		next := append([]sym.Expr(nil), dims...)
		next[a] = grid[a].size
		t, err := resampleDim(c, b, cur, dims, next, a, grid[a], mode)
		if err != nil {
			return err
		}
		cur, dims = t, next
	}
	out := b.Axes(b.Out(0).Dims)
	x := b.Load(cur, ir.Ix(out)...)
	if crop {
		x = ir.Select(outsideRegion(c, grid, todo, out, x), x.Const(c.Float("extrapolation_value")), x)
	}
	b.Map(b.Out(0), out, x)
	return nil
}

// outsideRegion is true where a coordinate falls outside the operand.
func outsideRegion(c *call, grid []resample, todo []int, out []*ir.Axis, x *scalar) *scalar {
	cond := ir.Lit(tensor.Bool, 0)
	for _, a := range todo {
		p := coordinate(c, grid[a], c.Dims(0)[a], out[a])
		last := ir.SymVal(c.Dims(0)[a]).Sub(ir.IntLit(1)).To(p.DType)
		cond = cond.Or(p.Lt(p.Const(0))).Or(p.Gt(last))
	}
	return cond
}

// coordinate is the position in the operand, as an f32, of a position in the result.
// Formulas: ONNX Resize, coordinate_transformation_mode.
func coordinate(c *call, g resample, in sym.Expr, o *ir.Axis) *scalar {
	f := func(e *scalar) *scalar { return e.To(tensor.F32) }
	x := f(o.Ix())
	nIn, nOut := f(ir.SymVal(in)), f(ir.SymVal(o.Extent))
	scale := nOut.Div(nIn)
	if g.scale != 0 {
		scale = x.Const(g.scale)
	}
	half := x.Const(0.5)
	switch c.Str("coordinate_transformation_mode") {
	case "asymmetric":
		return x.Div(scale)
	case "align_corners":
		steps := nOut.Sub(x.Const(1))
		if g.scale != 0 {
			steps = nIn.Mul(scale).Sub(x.Const(1))
		}
		return ir.Select(nOut.Le(x.Const(1)), x.Const(0), x.Mul(nIn.Sub(x.Const(1))).Div(steps))
	case "pytorch_half_pixel":
		return ir.Select(nOut.Le(x.Const(1)), x.Const(0), x.Add(half).Div(scale).Sub(half))
	case "half_pixel_symmetric":
		adjust := nOut.Div(nIn.Mul(scale))
		center := nIn.Mul(half)
		return center.Mul(x.Const(1).Sub(adjust)).Add(x.Add(half).Div(scale)).Sub(half)
	case "tf_crop_and_resize":
		start, end, one := x.Const(g.start), x.Const(g.end), x.Const(1)
		many := start.Mul(nIn.Sub(one)).Add(x.Mul(end.Sub(start)).Mul(nIn.Sub(one)).Div(nOut.Sub(one)))
		single := half.Mul(start.Add(end)).Mul(nIn.Sub(one))
		return ir.Select(nOut.Le(one), single, many)
	case "tf_half_pixel_for_nn":
		return x.Add(half).Div(scale)
	}
	return x.Add(half).Div(scale).Sub(half)
}

// nearest reads one element for each point.
func nearest(c *call, b *ir.Body, grid []resample) error {
	out := b.Axes(b.Out(0).Dims)
	ix := make([]*scalar, len(grid))
	var todo []int
	for i, g := range grid {
		if g.same {
			ix[i] = out[i].Ix()
			continue
		}
		todo = append(todo, i)
		p := coordinate(c, g, c.Dims(0)[i], out[i])
		half := p.Const(0.5)
		switch c.Str("nearest_mode") {
		case "round_prefer_floor":
			p = p.Sub(half).Ceil()
		case "round_prefer_ceil":
			p = p.Add(half).Floor()
		case "floor":
			p = p.Floor()
		case "ceil":
			p = p.Ceil()
		default:
			return c.Errorf("nearest_mode %q", c.Str("nearest_mode"))
		}
		ix[i] = p.To(tensor.I64).Max(ir.IntLit(0)).Min(ir.SymVal(c.Dims(0)[i]).Sub(ir.IntLit(1)))
	}
	x := ir.Load(b.In(0), ix...)
	if c.Str("coordinate_transformation_mode") == "tf_crop_and_resize" {
		x = ir.Select(outsideRegion(c, grid, todo, out, x), ir.Lit(x.DType, c.Float("extrapolation_value")), x)
	}
	b.Map(b.Out(0), out, x)
	return nil
}

// resampleDim interpolates along dim a: a weighted sum over taps around the coordinate,
// the weights normalised where the filter is widened (antialias) or taps outside do not
// count (exclude_outside).
func resampleDim(c *call, b *ir.Body, src *ir.Buffer, from, to []sym.Expr, a int, g resample, mode string) (*ir.Buffer, error) {
	support := 1.0 // half the width of the filter
	if mode == "cubic" {
		support = 2
	}
	shrink := 1.0 // how much the filter is widened
	if c.Flag("antialias") {
		s := g.scale
		if s == 0 {
			n, ok := from[a].Int()
			m, ok2 := to[a].Int()
			if !ok || !ok2 || n == 0 {
				return nil, ir.ErrDynamic
			}
			s = float64(m) / float64(n)
		}
		if s > 0 && s < 1 {
			shrink = s
		}
	}
	reach := int64(math.Ceil(support / shrink))
	taps := sym.Const(2 * reach)
	n := ir.SymVal(from[a])
	last := n.Sub(ir.IntLit(1))
	tap := func(o *ir.Axis, k *ir.Axis) (at, weight *scalar) {
		p := coordinate(c, g, from[a], o)
		at = p.Floor().To(tensor.I64).Add(k.Ix()).Sub(ir.IntLit(reach - 1))
		d := at.To(tensor.F32).Sub(p).Abs()
		weight = filter(mode, d.Mul(d.Const(shrink)), c.Float("cubic_coeff_a"))
		if c.Flag("exclude_outside") {
			inside := at.Ge(ir.IntLit(0)).And(at.Le(last))
			weight = ir.Select(inside, weight, weight.Const(0))
		}
		return at, weight
	}
	line := b.Axis(to[a])
	k := b.Axis(taps)
	_, w := tap(line, k)
	total := b.Reduced([]*ir.Axis{line}, ir.Sum, []*ir.Axis{k}, w)
	out, k2 := b.Axes(to), b.Axis(taps)
	at, w := tap(out[a], k2)
	ix := ir.Ix(out)
	ix[a] = at.Max(ir.IntLit(0)).Min(last)
	x := b.Load(src, ix...)
	if !x.DType.IsFloat() {
		x = x.To(tensor.F32)
	}
	sum := ir.Load(total, out[a].Ix())
	return b.Reduced(out, ir.Sum, []*ir.Axis{k2}, x.Mul(w.Div(sum).To(x.DType))), nil
}

// filter is the weight of a tap at a distance: the triangle, or Keys' cubic (IEEE TASSP
// 1981) with parameter a.
func filter(mode string, d *scalar, a float64) *scalar {
	one, zero := d.Const(1), d.Const(0)
	if mode == "linear" {
		return one.Sub(d).Max(zero)
	}
	k := d.Const(a)
	near := k.Add(d.Const(2)).Mul(d).Sub(k.Add(d.Const(3))).Mul(d).Mul(d).Add(one)
	far := k.Mul(d).Sub(k.Mul(d.Const(5))).Mul(d).Add(k.Mul(d.Const(8))).Mul(d).Sub(k.Mul(d.Const(4)))
	return ir.Select(d.Le(one), near, ir.Select(d.Lt(d.Const(2)), far, zero))
}
