package op

import (
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

// Optional holds its operand, or, without one, nothing of the type that an attribute
// names.
var Optional = ir.Register(&ir.OpDef{
	Name: "onnx.Optional", Since: since(15), Doc: "an optional that holds its operand, or nothing",
	In: ops(ir.Operand{Name: "input", Optional: true}), Out: ops(ir.Operand{Name: "output"}),
	Attrs:   attrs(attrOpt("type", nil)),
	AnyRank: true,
	Deduce: func(c *call) error {
		t, named := c.Attrs.Get("type").(ir.Type)
		switch {
		case c.Has(0) && named:
			if _, err := joined(c, c.In[0], t); err != nil {
				return err
			}
			fallthrough
		case c.Has(0):
			t = c.In[0]
		case !named:
			return c.Errorf("it has neither an operand nor a type")
		}
		c.SetOutType(0, ir.OptionalType{Elem: t})
		return nil
	},
	Kernel: func(k *ir.KernelCall) ([]tensor.Value, error) {
		o := &tensor.Optional{}
		if len(k.Args) > 0 && k.Args[0] != nil {
			o.Elem = k.Args[0]
		}
		return []tensor.Value{o}, nil
	},
})

// OptionalHasElement says whether there is a value: anything but an operand that is left
// out, or an optional that holds nothing.
var OptionalHasElement = ir.Register(&ir.OpDef{
	Name: "onnx.OptionalHasElement", Since: since(15, 18), Doc: "whether there is a value",
	In: ops(ir.Operand{Name: "input", Optional: true}), Out: ops(in("output", "", bools)),
	AnyRank: true,
	Deduce: func(c *call) error {
		c.SetOut(0, tensor.Bool)
		return nil
	},
	Kernel: func(k *ir.KernelCall) ([]tensor.Value, error) {
		has := len(k.Args) > 0 && k.Args[0] != nil
		if has {
			if o, ok := k.Args[0].(*tensor.Optional); ok {
				has = o.Elem != nil
			}
		}
		return []tensor.Value{tensor.Scalar(has)}, nil
	},
})

// OptionalGetElement is what an optional holds; any other value is what it is.
var OptionalGetElement = ir.Register(&ir.OpDef{
	Name: "onnx.OptionalGetElement", Since: since(15, 18), Doc: "what an optional holds",
	In: ops(ir.Operand{Name: "input"}), Out: ops(ir.Operand{Name: "output"}),
	AnyRank: true,
	Deduce: func(c *call) error {
		t := c.In[0]
		if o, ok := t.(ir.OptionalType); ok {
			t = outside(c, o.Elem)
		}
		c.SetOutType(0, t)
		return nil
	},
	Kernel: func(k *ir.KernelCall) ([]tensor.Value, error) {
		o, ok := k.Args[0].(*tensor.Optional)
		if !ok {
			return k.Args[:1], nil
		}
		if o.Elem == nil {
			return nil, k.Errorf("the optional holds nothing")
		}
		return []tensor.Value{o.Elem}, nil
	},
})
