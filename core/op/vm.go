package op

import (
	"github.com/pitopt/pitopt/core/ir"
)

// The vm namespace: steps of a run that have no counterpart in ONNX.

// View gives its operand the shape of the attribute type, whose symbols are visible
// where it stands. Executors evaluate the shape and share the memory.
var View = ir.Register(&ir.OpDef{
	Name: ir.ViewName, Doc: "the same elements in another shape, without copying them",
	In: ops(in("x", "T", anyTensor)), Out: ops(in("y", "T", anyTensor)),
	Attrs: attrs(ir.AttrDef{Name: "type", Required: true}),
	View:  true,
	Deduce: func(c *call) error {
		t, ok := c.Attrs.Get("type").(ir.TensorType)
		if !ok || t.Unranked || t.DType != c.DType(0) {
			return c.Errorf("its type must be a ranked tensor of %s", c.DType(0))
		}
		c.SetOutType(0, t)
		return nil
	},
	Body: viewBody,
})

// Alloc is a piece of memory that results are placed in; bytes is its size as an
// expression of visible symbols.
var Alloc = ir.Register(&ir.OpDef{
	Name: ir.AllocName, Doc: "memory for results",
	Out:    ops(ir.Operand{Name: "storage"}),
	Attrs:  attrs(attrReq("bytes", "")),
	Deduce: func(c *call) error { c.SetOutType(0, ir.Storage); return nil },
})

// Release ends the life of values: their memory may be used again.
var Release = ir.Register(&ir.OpDef{
	Name: ir.ReleaseName, Doc: "ends the life of values",
	In:      ops(variadic("values", "", nil)),
	Effect:  ir.Ordered,
	AnyRank: true,
	Deduce:  func(*call) error { return nil },
})
