package op

import (
	"slices"
	"strings"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

var einsumTypes = slices.DeleteFunc(slices.Clone(numeric), func(d tensor.DType) bool { return d == tensor.BF16 })

// Einsum multiplies its operands and sums as the equation says, which names their dims.
// Dims of one name broadcast; one that the result does not have is summed over; a name
// that comes twice in an operand takes its diagonal. An ellipsis stands for dims without
// name, which broadcast. Without "->" the result has the ellipsis, then the names that
// come once, in the order of their codes.
var Einsum = ir.Register(&ir.OpDef{
	Name: "onnx.Einsum", Since: since(12), Doc: "a sum of products, over named dims",
	In: ops(variadic("Inputs", "T", einsumTypes)), Out: ops(in("Output", "T", einsumTypes)),
	Attrs: attrs(attrReq("equation", "")),
	Deduce: func(c *call) error {
		e, err := parseEinsum(c)
		if err != nil {
			return err
		}
		dims := make([]sym.Expr, len(e.result))
		for i, l := range e.result {
			dims[i] = e.extent[l]
		}
		c.SetOut(0, c.DType(0), dims...)
		return nil
	},
	Body: func(c *call, b *ir.Body) error {
		e, err := parseEinsum(c)
		if err != nil {
			return err
		}
		axis := map[label]*ir.Axis{}
		var axes, red []*ir.Axis
		for _, l := range e.result {
			axis[l] = b.Axis(e.extent[l])
			axes = append(axes, axis[l])
		}
		var product *scalar
		for i, labels := range e.operands {
			ix := make([]*scalar, len(labels))
			for j, l := range labels {
				if axis[l] == nil {
					axis[l] = b.Axis(e.extent[l])
					red = append(red, axis[l])
				}
				ix[j] = ir.Bcast(axis[l].Ix(), b.In(i).Dims[j], e.extent[l])
			}
			x := b.Load(b.In(i), ix...)
			if product != nil {
				x = product.Mul(x)
			}
			product = x
		}
		if len(red) == 0 {
			b.Map(b.Out(0), axes, product)
		} else {
			b.Reduce(b.Out(0), axes, ir.Sum, red, product)
		}
		return nil
	},
})

// label is the name of a dim: a letter; or, of the dims of an ellipsis, minus their
// place from the end.
type label int

// einsum is an equation with what the operands' shapes say of it.
type einsum struct {
	operands [][]label
	result   []label
	extent   map[label]sym.Expr
}

func parseEinsum(c *call) (*einsum, error) {
	equation := strings.Join(strings.Fields(c.Str("equation")), "")
	left, right, explicit := strings.Cut(equation, "->")
	terms := strings.Split(left, ",")
	if len(terms) != len(c.In) {
		return nil, c.Errorf("equation %q is for %d operands, there are %d", equation, len(terms), len(c.In))
	}
	e := &einsum{extent: map[label]sym.Expr{}}
	uses := map[label]int{}
	dots := 0 // most dims that an ellipsis stands for
	for i, term := range terms {
		d := c.Dims(i)
		labels, err := einsumLabels(c, term, len(d)-len(strings.Replace(term, "...", "", 1)))
		if err != nil {
			return nil, err
		}
		if len(labels) != len(d) {
			return nil, c.Errorf("equation %q names %d dims for operand %d of shape %s", equation, len(labels), i, ir.ShapeString(d))
		}
		for j, l := range labels {
			if l < 0 {
				dots = max(dots, int(-l))
			}
			uses[l]++
			before, seen := e.extent[l]
			if !seen {
				e.extent[l] = d[j]
				continue
			}
			if slices.Contains(labels[:j], l) && c.Syms.Equal(d[slices.Index(labels, l)], d[j]) == sym.False {
				return nil, c.Errorf("equation %q takes the diagonal of dims %s and %s", equation, d[slices.Index(labels, l)], d[j])
			}
			b, err := broadcastDims(c, []sym.Expr{before}, []sym.Expr{d[j]})
			if err != nil {
				return nil, err
			}
			e.extent[l] = b[0]
		}
		e.operands = append(e.operands, labels)
	}
	if explicit {
		var err error
		if e.result, err = einsumLabels(c, right, dots); err != nil {
			return nil, err
		}
	} else {
		for l := range uses {
			if l > 0 && uses[l] == 1 {
				e.result = append(e.result, l)
			}
		}
		slices.Sort(e.result)
		e.result = append(ellipsis(dots), e.result...)
	}
	for i, l := range e.result {
		if uses[l] == 0 || slices.Contains(e.result[:i], l) {
			return nil, c.Errorf("equation %q: a dim of the result is in no operand, or comes twice", equation)
		}
	}
	return e, nil
}

// einsumLabels reads a term in which an ellipsis stands for dots dims.
func einsumLabels(c *call, term string, dots int) ([]label, error) {
	front, back, _ := strings.Cut(term, "...")
	var out []label
	for i, part := range []string{front, back} {
		if i == 1 && len(front) < len(term) {
			out = append(out, ellipsis(dots)...)
		}
		for _, r := range part {
			if (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') {
				return nil, c.Errorf("%q in equation %q is no name of a dim", r, c.Str("equation"))
			}
			out = append(out, label(r))
		}
	}
	return out, nil
}

// ellipsis gives the labels of n dims without name.
func ellipsis(n int) []label {
	var out []label
	for ; n > 0; n-- {
		out = append(out, label(-n))
	}
	return out
}
