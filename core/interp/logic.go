package interp

import (
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

func (k boolClass) node(c *compiler, x *ir.Scalar) any {
	if fn := common[bool](c, x); fn != nil {
		return fn
	}
	switch {
	case x.Op.Compares():
		return classOf(x.Args[0].DType).compare(c, x)
	case x.Op == ir.OpIsNaN:
		return classOf(x.Args[0].DType).isNaN(c, x)
	}
	switch x.Op {
	case ir.OpCast:
		return k.cast(c, x)
	case ir.OpAnd, ir.OpMin:
		return zip(c, x, both)
	case ir.OpOr, ir.OpMax:
		return zip(c, x, either)
	case ir.OpXor:
		return zip(c, x, each(func(a, b bool) bool { return a != b }))
	case ir.OpNot:
		return map1(c, operand[bool](c, x.Args[0]), func(v bool) bool { return !v })
	}
	return undefined[bool](c, x)
}

func both(out, a, b []bool) {
	a, b = a[:len(out)], b[:len(out)]
	for i := range out {
		out[i] = a[i] && b[i]
	}
}

func either(out, a, b []bool) {
	a, b = a[:len(out)], b[:len(out)]
	for i := range out {
		out[i] = a[i] || b[i]
	}
}

// Of strings there is nothing to do but choose one.
func (stringClass) node(c *compiler, x *ir.Scalar) any {
	if fn := common[string](c, x); fn != nil {
		return fn
	}
	return undefined[string](c, x)
}

func (floatClass[T]) compare(c *compiler, x *ir.Scalar) lanes[bool]      { return order[T](c, x) }
func (intClass[T]) compare(c *compiler, x *ir.Scalar) lanes[bool]        { return order[T](c, x) }
func (stringClass) compare(c *compiler, x *ir.Scalar) lanes[bool]        { return order[string](c, x) }
func (boolClass) compare(c *compiler, x *ir.Scalar) lanes[bool]          { return equal[bool](c, x) }
func (complexClass[T, R]) compare(c *compiler, x *ir.Scalar) lanes[bool] { return equal[T](c, x) }

func equal[T tensor.Elem](c *compiler, x *ir.Scalar) lanes[bool] {
	switch x.Op {
	case ir.OpEq:
		return zip(c, x, func(out []bool, a, b []T) {
			for i := range out {
				out[i] = a[i] == b[i]
			}
		})
	case ir.OpNe:
		return zip(c, x, func(out []bool, a, b []T) {
			for i := range out {
				out[i] = a[i] != b[i]
			}
		})
	}
	c.fail("%s is not defined for %s", x.Op, x.Args[0].DType)
	return none[bool]()
}

func order[T numbers | string](c *compiler, x *ir.Scalar) lanes[bool] {
	switch x.Op {
	case ir.OpLt:
		return zip(c, x, func(out []bool, a, b []T) {
			for i := range out {
				out[i] = a[i] < b[i]
			}
		})
	case ir.OpLe:
		return zip(c, x, func(out []bool, a, b []T) {
			for i := range out {
				out[i] = a[i] <= b[i]
			}
		})
	case ir.OpGt:
		return zip(c, x, func(out []bool, a, b []T) {
			for i := range out {
				out[i] = a[i] > b[i]
			}
		})
	case ir.OpGe:
		return zip(c, x, func(out []bool, a, b []T) {
			for i := range out {
				out[i] = a[i] >= b[i]
			}
		})
	}
	return equal[T](c, x)
}

func (floatClass[T]) isNaN(c *compiler, x *ir.Scalar) lanes[bool] { return unequalToItself[T](c, x) }
func (complexClass[T, R]) isNaN(c *compiler, x *ir.Scalar) lanes[bool] {
	return unequalToItself[T](c, x)
}

func unequalToItself[T floats | complexes](c *compiler, x *ir.Scalar) lanes[bool] {
	return map1(c, operand[T](c, x.Args[0]), func(v T) bool { return v != v })
}

// What is no float is no NaN.
func (e elems[T]) isNaN(c *compiler, _ *ir.Scalar) lanes[bool] {
	out := kept[bool](c)
	return func(_ *frame, n int) []bool { return out[:n] }
}
