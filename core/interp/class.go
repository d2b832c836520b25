package interp

import (
	"math"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

// A class is what elements of one Go type can do. Every element type is kept as some
// Go type while it is computed with: small floats as the float32 of the same value,
// sub-byte integers as int8 and uint8, the others as they are.
type class interface {
	// node compiles a node of the class to a lanes[T].
	node(c *compiler, x *ir.Scalar) any
	// compare compiles a comparison of two nodes of the class, isNaN the test for NaN.
	compare(c *compiler, x *ir.Scalar) lanes[bool]
	isNaN(c *compiler, x *ir.Scalar) lanes[bool]
	// number and spill compile the source of a conversion.
	number(c *compiler, x *ir.Scalar) number
	spill(c *compiler, x *ir.Scalar) func(f *frame, t *tensor.Tensor)
	// write compiles the assignment of a node of the class to a buffer.
	write(c *compiler, b *ir.Buffer, x *ir.Scalar) func(f *frame, n int)
	// reduce, scan and scatter compile the stages; what is stored is of the class.
	reduce(c *compiler) reducer
	scan(c *compiler) scanner
	scatter(c *compiler) func(f *frame, n int)
}

// classOf is the class that elements of a type are computed with.
func classOf(d tensor.DType) class {
	switch d {
	case tensor.Bool:
		return boolClass{elems[bool]{boolMonoid}}
	case tensor.String:
		return stringClass{elems[string]{noMonoid[string]}}
	case tensor.F64:
		return floatClass[float64]{elems[float64]{floatMonoid[float64]}}
	case tensor.C64:
		return complexClass[complex64, float32]{elems[complex64]{ringMonoid[complex64]}}
	case tensor.C128:
		return complexClass[complex128, float64]{elems[complex128]{ringMonoid[complex128]}}
	case tensor.I64:
		return intClassOf[int64](math.MinInt64, math.MaxInt64)
	case tensor.I32:
		return intClassOf[int32](math.MinInt32, math.MaxInt32)
	case tensor.I16:
		return intClassOf[int16](math.MinInt16, math.MaxInt16)
	case tensor.I8:
		return intClassOf[int8](math.MinInt8, math.MaxInt8)
	case tensor.U64:
		return intClassOf[uint64](0, math.MaxUint64)
	case tensor.U32:
		return intClassOf[uint32](0, math.MaxUint32)
	case tensor.U16:
		return intClassOf[uint16](0, math.MaxUint16)
	case tensor.U8:
		return intClassOf[uint8](0, math.MaxUint8)
	}
	switch bits := d.Bits(); {
	case !d.IsInt():
		return floatClass[float32]{elems[float32]{floatMonoid[float32]}}
	case d.IsSigned():
		return intClassOf[int8](-1<<(bits-1), 1<<(bits-1)-1)
	default:
		return intClassOf[uint8](0, 1<<bits-1)
	}
}

// elems is what all classes share.
type elems[T tensor.Elem] struct {
	monoid func(ir.Monoid) (monoid[T], bool)
}

type (
	floatClass[T floats]                struct{ elems[T] }
	intClass[T ints]                    struct{ elems[T] }
	complexClass[T complexes, R floats] struct{ elems[T] }
	boolClass                           struct{ elems[bool] }
	stringClass                         struct{ elems[string] }
)

func intClassOf[T ints](least, greatest T) class {
	return intClass[T]{elems[T]{func(m ir.Monoid) (monoid[T], bool) { return intMonoid(m, least, greatest) }}}
}

// monoid is a way to combine values of T.
type monoid[T tensor.Elem] struct {
	identity T
	op       func(a, b T) T
	zip      func(out, a, b []T)  // op, lane by lane
	total    func(acc T, v []T) T // op over all lanes, in order
}

func monoidOf[T tensor.Elem](identity T, op func(a, b T) T, zip func(out, a, b []T)) monoid[T] {
	return monoid[T]{identity, op, zip, func(acc T, v []T) T {
		for _, x := range v {
			acc = op(acc, x)
		}
		return acc
	}}
}

func noMonoid[T tensor.Elem](ir.Monoid) (m monoid[T], ok bool) { return }

// ringMonoid has sum and product.
func ringMonoid[T numbers | complexes](m ir.Monoid) (monoid[T], bool) {
	switch m {
	case ir.Sum:
		return monoid[T]{0, func(a, b T) T { return a + b }, add[T], func(acc T, v []T) T {
			for _, x := range v {
				acc += x
			}
			return acc
		}}, true
	case ir.Prod:
		return monoidOf(1, func(a, b T) T { return a * b }, mul[T]), true
	}
	return monoid[T]{}, false
}

// orderMonoid has the extremes, which start at the other end of the type.
func orderMonoid[T numbers](m ir.Monoid, lo, hi T) (monoid[T], bool) {
	switch m {
	case ir.Max:
		return monoidOf(lo, func(a, b T) T { return max(a, b) }, greater[T]), true
	case ir.Min:
		return monoidOf(hi, func(a, b T) T { return min(a, b) }, lesser[T]), true
	}
	return ringMonoid[T](m)
}

func floatMonoid[T floats](m ir.Monoid) (monoid[T], bool) {
	return orderMonoid(m, T(math.Inf(-1)), T(math.Inf(1)))
}

func intMonoid[T ints](m ir.Monoid, lo, hi T) (monoid[T], bool) {
	switch m {
	case ir.And:
		return monoidOf(^T(0), func(a, b T) T { return a & b }, and[T]), true
	case ir.Or:
		return monoidOf(0, func(a, b T) T { return a | b }, or[T]), true
	}
	return orderMonoid(m, lo, hi)
}

func boolMonoid(m ir.Monoid) (monoid[bool], bool) {
	switch m {
	case ir.And, ir.Min:
		return monoidOf(true, func(a, b bool) bool { return a && b }, both), true
	case ir.Or, ir.Max:
		return monoidOf(false, func(a, b bool) bool { return a || b }, either), true
	}
	return monoid[bool]{}, false
}

// monoidFor gives the stage's monoid; one that the class does not have is a mistake.
func (e elems[T]) monoidFor(c *compiler) monoid[T] {
	m, ok := e.monoid(c.Monoid)
	if !ok {
		c.fail("monoid %s is not defined for %s", c.Monoid, c.Exprs[0].DType)
		m.op = func(a, _ T) T { return a }
	}
	return m
}
