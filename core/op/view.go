package op

import (
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// Views: operators that give operand 0 another shape and leave its elements in order.

// Reshape takes the new shape as operand 1: 0 copies a dim of the input (unless
// allowzero), one -1 takes what is left over.
var Reshape = ir.Register(&ir.OpDef{
	Name: "onnx.Reshape", Since: since(1, 5, 13, 14, 19, 21, 23, 24, 25), Doc: "the same elements in another shape",
	In:      ops(in("data", "T", anyTensor), in("shape", "", i64s)),
	Out:     ops(in("reshaped", "T", anyTensor)),
	Attrs:   attrs(attr("allowzero", 0)),
	View:    true,
	Deduce:  deduceReshape,
	Body:    viewBody,
	AnyRank: true,
})

func deduceReshape(c *ir.Call) error {
	shape, ok := c.Ints(1)
	if !ok {
		if c.DType(0) == tensor.Invalid || c.Tensor(1).Unranked {
			c.SetOutType(0, ir.UnrankedOf(c.DType(0)))
			return nil
		}
		if n, ok := c.Tensor(1).Static(); ok && len(n) == 1 && n[0] <= 64 {
			dims := make([]sym.Expr, n[0])
			for i := range dims {
				dims[i] = c.Fresh(nil)
			}
			c.SetOut(0, c.DType(0), dims...)
			return nil
		}
		c.SetOutType(0, ir.UnrankedOf(c.DType(0)))
		return nil
	}
	if c.Rank(1) != 1 {
		return c.Errorf("the new shape must be a list, it has rank %d", c.Rank(1))
	}
	if c.DType(0) == tensor.Invalid {
		c.SetOutType(0, ir.UnrankedOf(tensor.Invalid))
		return nil
	}
	if c.Tensor(0).Unranked {
		c.SetOut(0, c.DType(0), fromUnknown(c, shape)...)
		return nil
	}
	in := c.Dims(0)
	dims := make([]sym.Expr, len(shape))
	rest := -1
	known := sym.Const(1)
	for i, d := range shape {
		switch lo, hi := c.Syms.Bounds(d); {
		case d.IsInt(0) && !c.Flag("allowzero"):
			if i >= len(in) {
				return c.Errorf("dim %d of the new shape copies a dim that %s does not have", i, ir.ShapeString(in))
			}
			dims[i] = in[i]
		case d.IsInt(-1):
			if rest >= 0 {
				return c.Errorf("the new shape %s has -1 twice", ir.ShapeString(shape))
			}
			rest = i
			continue
		case hi < -1:
			return c.Errorf("dim %d of the new shape is %s", i, d)
		case lo < 0 || lo == 0 && !c.Flag("allowzero") && !isDim(c, d, i, in):
			// What it is depends on a value that may be 0 or -1: the run tells.
			dims[i] = c.Fresh(nil)
		default:
			dims[i] = d
		}
		known = known.Mul(dims[i])
	}
	size := sym.Prod(in...)
	if rest >= 0 {
		dims[rest] = c.Syms.Simplify(quotient(c, in, dims, rest))
		if n, ok := size.Int(); ok {
			k, ok := known.Int()
			if ok && (k == 0 && n != 0 || k != 0 && n%k != 0) {
				return c.Errorf("%s does not divide into %s", ir.ShapeString(in), ir.ShapeString(shape))
			}
		}
	} else if c.Syms.Equal(size, known) == sym.False {
		return c.Errorf("%s has %s elements, the new shape %s has %s", ir.ShapeString(in), size, ir.ShapeString(dims), known)
	}
	c.SetOut(0, c.DType(0), dims...)
	return nil
}

// fromUnknown are the dims of a new shape for a tensor of which not even the rank is known:
// those that are numbers of their own.
func fromUnknown(c *ir.Call, shape []sym.Expr) []sym.Expr {
	dims := make([]sym.Expr, len(shape))
	for i, d := range shape {
		least := sym.Const(1) // 0 and -1 have meanings
		if c.Flag("allowzero") {
			least = sym.Const(0)
		}
		if dims[i] = d; c.Syms.LE(least, d) != sym.True {
			dims[i] = c.Fresh(nil)
		}
	}
	return dims
}

// isDim says whether a symbolic entry of a new shape may be taken as the dim it says:
// were it 0, the dim of the input in its place would be copied, which must be the same.
func isDim(c *ir.Call, d sym.Expr, i int, in []sym.Expr) bool {
	if i < len(in) && c.Syms.Equal(d, in[i]) == sym.True {
		return true
	}
	// A symbolic size that is 0 makes the whole tensor empty; with 0 elements on both
	// sides any copied dim is only legal where the element counts agree.
	return c.Syms.Equal(d, sym.Const(0)) != sym.True && dividesSize(d, in)
}

// dividesSize says whether every symbol of d is one of the input's: then d is 0 only
// where the input is empty, and the result is empty either way.
func dividesSize(d sym.Expr, in []sym.Expr) bool {
	size := sym.Prod(in...)
	for _, s := range d.Symbols() {
		if !size.Uses(s) {
			return false
		}
	}
	return true
}

// quotient is the dim that -1 stands for: the input's size over that of the other
// dims, with dims that occur on both sides cancelled first, so that it holds for empty
// tensors too where it can.
func quotient(c *ir.Call, in, dims []sym.Expr, rest int) sym.Expr {
	left := append([]sym.Expr(nil), in...)
	div := sym.Const(1)
next:
	for i, d := range dims {
		if i == rest {
			continue
		}
		for j, l := range left {
			if c.Syms.Equal(l, d) == sym.True {
				left = append(left[:j:j], left[j+1:]...)
				continue next
			}
		}
		div = div.Mul(d)
	}
	size := sym.Prod(left...)
	if div.IsInt(1) {
		return size
	}
	if div.IsInt(0) {
		return sym.Const(0)
	}
	return size.FloorDiv(div)
}

// viewBody reads the element with the same position in row-major order. Dims are
// matched in groups of equal size, so that only what really is merged or split needs
// arithmetic.
func viewBody(c *ir.Call, b *ir.Body) error {
	X, Y := b.In(0), b.Out(0)
	axes := b.Axes(Y.Dims)
	ix := make([]*ir.Scalar, 0, len(X.Dims))
	i, j := 0, 0 // dims of X and Y that are matched
	for i < len(X.Dims) {
		i1, j1 := matchGroup(c.Syms, X.Dims, Y.Dims, i, j)
		if i1-i == 1 && j1-j == 1 {
			ix = append(ix, axes[j].Ix())
		} else {
			ix = append(ix, unflatten(flatten(ir.Ix(axes[j:j1]), Y.Dims[j:j1]), X.Dims[i:i1])...)
		}
		i, j = i1, j1
	}
	b.Map(Y, axes, ir.Load(X, ix...))
	return nil
}

// matchGroup finds the next group: the fewest dims of x from i and of y from j with
// provably the same product. Where none is found everything left is one group.
func matchGroup(ctx *sym.Context, x, y []sym.Expr, i, j int) (int, int) {
	px := sym.Const(1)
	for i1 := i + 1; i1 <= len(x); i1++ {
		px = px.Mul(x[i1-1])
		py := sym.Const(1)
		for j1 := j; j1 <= len(y); j1++ {
			if j1 > j {
				py = py.Mul(y[j1-1])
			}
			if ctx.Equal(px, py) == sym.True && ctx.Equal(sym.Prod(x[i1:]...), sym.Prod(y[j1:]...)) == sym.True {
				if i1 == len(x) { // trailing 1s of y belong to the last group
					j1 = len(y)
				}
				return i1, j1
			}
		}
	}
	return len(x), len(y)
}

// flatten is the row-major position of an index.
func flatten(ix []*ir.Scalar, dims []sym.Expr) *ir.Scalar {
	flat := ir.IntLit(0)
	for i, x := range ix {
		flat = flat.Mul(ir.SymVal(dims[i])).Add(x)
	}
	return flat
}

// unflatten is the index of a row-major position.
func unflatten(flat *ir.Scalar, dims []sym.Expr) []*ir.Scalar {
	out := make([]*ir.Scalar, len(dims))
	first := 0 // outer dims of 1 take no part
	for first < len(dims)-1 && dims[first].IsInt(1) {
		out[first] = ir.IntLit(0)
		first++
	}
	for i := len(dims) - 1; i > first; i-- {
		if dims[i].IsInt(1) {
			out[i] = ir.IntLit(0)
			continue
		}
		d := ir.SymVal(dims[i])
		out[i] = flat.Mod(d)
		flat = flat.FloorDiv(d)
	}
	if len(dims) > 0 {
		out[first] = flat
	}
	return out
}

// Flatten makes a matrix: dims before axis, and dims from axis on.
var Flatten = ir.Register(&ir.OpDef{
	Name: "onnx.Flatten", Since: since(1, 9, 11, 13, 21, 23, 24, 25), Doc: "a matrix of the dims before axis and those from it on",
	In: ops(in("input", "T", anyTensor)), Out: ops(in("output", "T", anyTensor)),
	Attrs: attrs(attr("axis", 1)),
	View:  true,
	Deduce: func(c *ir.Call) error {
		r, a := int64(c.Rank(0)), c.Int("axis")
		if a < -r || a > r {
			return c.Errorf("axis %d of a rank-%d operand", a, r).Hint("valid axes are %d to %d", -r, r)
		}
		if a < 0 {
			a += r
		}
		d := c.Dims(0)
		c.SetOut(0, c.DType(0), sym.Prod(d[:a]...), sym.Prod(d[a:]...))
		return nil
	},
	Body: viewBody,
})

// Squeeze drops dims of size 1: those of operand 1, or all.
var Squeeze = ir.Register(&ir.OpDef{
	Name: "onnx.Squeeze", Since: since(1, 11, 13, 21, 23, 24, 25), Doc: "drops dims of size 1",
	In: ops(in("data", "T", anyTensor), opt("axes", "", i64s)), Out: ops(in("squeezed", "T", anyTensor)),
	View: true,
	Deduce: func(c *ir.Call) error {
		d := c.Dims(0)
		drop := make([]bool, len(d))
		if c.Has(1) {
			list, ok := c.ConstInts(1)
			if !ok {
				return openRank(c, 1, -1)
			}
			axes, err := c.Axes(list, len(d))
			if err != nil {
				return err
			}
			for _, a := range axes {
				if c.Syms.Equal(d[a], sym.Const(1)) == sym.False {
					return c.Errorf("dim %d of %s is not 1", a, ir.ShapeString(d))
				}
				drop[a] = true
			}
		} else {
			for i, e := range d {
				one := c.Syms.Equal(e, sym.Const(1))
				if one == sym.Unknown {
					c.SetOutType(0, ir.UnrankedOf(c.DType(0)))
					return nil
				}
				drop[i] = one == sym.True
			}
		}
		var out []sym.Expr
		for i, e := range d {
			if !drop[i] {
				out = append(out, e)
			}
		}
		c.SetOut(0, c.DType(0), out...)
		return nil
	},
	Body: viewBody,
})

// Unsqueeze inserts dims of size 1 at the positions that operand 1 lists, counted in
// the result.
var Unsqueeze = ir.Register(&ir.OpDef{
	Name: "onnx.Unsqueeze", Since: since(1, 11, 13, 21, 23, 24, 25), Doc: "inserts dims of size 1",
	In: ops(in("data", "T", anyTensor), in("axes", "", i64s)), Out: ops(in("expanded", "T", anyTensor)),
	View: true,
	Deduce: func(c *ir.Call) error {
		list, ok := c.ConstInts(1)
		if !ok {
			return openRank(c, 1, +1)
		}
		d := c.Dims(0)
		axes, err := c.Axes(list, len(d)+len(list))
		if err != nil {
			return err
		}
		out := make([]sym.Expr, len(d)+len(list))
		one := make([]bool, len(out))
		for _, a := range axes {
			one[a] = true
		}
		for i := range out {
			if one[i] {
				out[i] = sym.Const(1)
			} else {
				out[i], d = d[0], d[1:]
			}
		}
		c.SetOut(0, c.DType(0), out...)
		return nil
	},
	Body: viewBody,
})

// openRank is the type of a result whose axes only a run tells: where their number is
// known the rank is, by is +1 or -1 for each; the dims are open.
func openRank(c *ir.Call, axes, by int) error {
	n, ok := c.Tensor(axes).Static()
	if !ok || len(n) != 1 || n[0] > 64 || len(c.Dims(0))+by*int(n[0]) < 0 {
		c.SetOutType(0, ir.UnrankedOf(c.DType(0)))
		return nil
	}
	dims := make([]sym.Expr, len(c.Dims(0))+by*int(n[0]))
	for i := range dims {
		dims[i] = c.Fresh(nil)
	}
	c.SetOut(0, c.DType(0), dims...)
	return nil
}
