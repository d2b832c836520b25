package op

import (
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
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

// Append writes what is new of a state into the state's storage, behind what is there. The
// third operand has no elements: its first dim is how far the storage is filled along axis,
// and that of the second result how far it is then. The first result is the storage, for
// what reads it afterwards. What is in the storage already stays as it is, so that it does
// not matter when that is read.
var Append = ir.Register(&ir.OpDef{
	Name: ir.AppendName, Doc: "writes what is new of a state behind what is in its storage",
	In:     ops(in("storage", "T", anyTensor), in("new", "T", anyTensor), in("filled", "", []tensor.DType{tensor.U8})),
	Out:    ops(in("storage", "T", anyTensor), in("filled", "", []tensor.DType{tensor.U8})),
	Attrs:  attrs(attrReq("axis", int64(0)), attrReq("state", "")),
	Effect: ir.Ordered,
	Deduce: func(c *call) error {
		axis, err := c.Axis(c.Int("axis"), c.Rank(0))
		if err != nil {
			return err
		}
		if c.Rank(1) != c.Rank(0) || c.Rank(2) != 2 || !c.Dims(2)[1].IsInt(0) {
			return c.Errorf("it takes a storage, as many dims of what is new, and [n, 0] u8; not %s, %s and %s", c.In[0], c.In[1], c.In[2])
		}
		for i, d := range c.Dims(1) {
			if i != axis && c.Syms.Equal(d, c.Dims(0)[i]) == sym.False {
				return c.Errorf("dim %d of what is new is %s, that of the storage is %s", i, d, c.Dims(0)[i])
			}
		}
		c.SetOut(0, c.DType(0), c.Dims(0)...)
		c.SetOut(1, tensor.U8, c.Dims(2)[0].Add(c.Dims(1)[axis]), sym.Const(0))
		return nil
	},
})

// Release ends the life of values: their memory may be used again.
var Release = ir.Register(&ir.OpDef{
	Name: ir.ReleaseName, Doc: "ends the life of values",
	In:      ops(variadic("values", "", nil)),
	Effect:  ir.Ordered,
	AnyRank: true,
	Deduce:  func(*call) error { return nil },
})
