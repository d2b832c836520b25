package op

import (
	"math"
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

var labelTypes = []tensor.DType{tensor.String, tensor.I64, tensor.F32, tensor.I32, tensor.I16, tensor.F64}

// LabelEncoder replaces each element that is a key by the value of that key, others by a
// default. NaN is a key like others; of equal keys the last one counts.
var LabelEncoder = ir.Register(&ir.OpDef{
	Name: "ai.onnx.ml.LabelEncoder", Since: since(1, 2, 4), Doc: "values for keys",
	In: ops(in("X", "", labelTypes)), Out: ops(in("Y", "", labelTypes)),
	Attrs: attrs(attr("default_float", math.Copysign(0, -1)), attr("default_int64", -1), attr("default_string", "_Unused"), attrOpt("default_tensor", (*tensor.Tensor)(nil)),
		attrOpt("keys_floats", []float64(nil)), attrOpt("keys_int64s", []int64(nil)), attrOpt("keys_strings", []string(nil)), attrOpt("keys_tensor", (*tensor.Tensor)(nil)),
		attrOpt("values_floats", []float64(nil)), attrOpt("values_int64s", []int64(nil)), attrOpt("values_strings", []string(nil)), attrOpt("values_tensor", (*tensor.Tensor)(nil))),
	Deduce: func(c *call) error {
		t, err := labelsOf(c)
		if err != nil {
			return err
		}
		c.SetOut(0, t.values.DType(), c.Dims(0)...)
		return nil
	},
	Kernel: func(k *ir.KernelCall) ([]tensor.Value, error) {
		t, err := labelsOf(k.Call)
		if err != nil {
			return nil, err
		}
		return t.replace(k.Arg(0))
	},
})

// CategoryMapper replaces strings by integers, or integers by strings, that stand at the
// same place of two lists; others by a default.
var CategoryMapper = ir.Register(&ir.OpDef{
	Name: "ai.onnx.ml.CategoryMapper", Since: since(1), Doc: "integers for strings, and the reverse",
	In: ops(in("X", "", labelTypes[:2])), Out: ops(in("Y", "", labelTypes[:2])),
	Attrs: attrs(attrOpt("cats_int64s", []int64(nil)), attrOpt("cats_strings", []string(nil)), attr("default_int64", -1), attr("default_string", "_Unused")),
	Deduce: func(c *call) error {
		t, err := categoriesOf(c)
		if err != nil {
			return err
		}
		c.SetOut(0, t.values.DType(), c.Dims(0)...)
		return nil
	},
	Kernel: func(k *ir.KernelCall) ([]tensor.Value, error) {
		t, err := categoriesOf(k.Call)
		if err != nil {
			return nil, err
		}
		return t.replace(k.Arg(0))
	},
})

// labels are keys, their values, and the value of what is no key.
type labels struct{ keys, values, other *tensor.Tensor }

func categoriesOf(c *call) (labels, error) {
	ints, strs := tensorOf(c.IntList("cats_int64s")), tensorOf(c.StrList("cats_strings"))
	if ints.Len() != strs.Len() {
		return labels{}, c.Errorf("%d cats_int64s and %d cats_strings", ints.Len(), strs.Len())
	}
	if c.DType(0) == tensor.String {
		return labels{strs, ints, tensor.Scalar(c.Int("default_int64"))}, nil
	}
	return labels{ints, strs, tensor.Scalar(c.Str("default_string"))}, nil
}

func tensorOf[T tensor.Elem](list []T) *tensor.Tensor {
	return tensor.Of(append([]T{}, list...), int64(len(list)))
}

// list is what one of the attributes prefix_floats, prefix_int64s, prefix_strings and
// prefix_tensor holds.
func list(c *call, prefix string) (*tensor.Tensor, error) {
	var found []*tensor.Tensor
	if v := c.FloatList(prefix + "_floats"); v != nil {
		t := tensor.New(tensor.F32, int64(len(v)))
		for i, x := range v {
			t.SetFloat(int64(i), x)
		}
		found = append(found, t)
	}
	if v := c.IntList(prefix + "_int64s"); v != nil {
		found = append(found, tensorOf(v))
	}
	if v := c.StrList(prefix + "_strings"); v != nil {
		found = append(found, tensorOf(v))
	}
	if t := c.TensorAttr(prefix + "_tensor"); t != nil {
		found = append(found, t)
	}
	if len(found) != 1 || found[0].Rank() != 1 || !slices.Contains(labelTypes, found[0].DType()) {
		return nil, c.Errorf("it takes one list of %s of an element type that it knows; %d are given", prefix, len(found))
	}
	return found[0], nil
}

func labelsOf(c *call) (t labels, err error) {
	if t.keys, err = list(c, "keys"); err != nil {
		return
	}
	if t.values, err = list(c, "values"); err != nil {
		return
	}
	if t.keys.Len() != t.values.Len() {
		return t, c.Errorf("%d keys and %d values", t.keys.Len(), t.values.Len())
	}
	if t.keys.DType() != c.DType(0) {
		return t, c.Errorf("keys are %s, the operand is %s", t.keys.DType(), c.DType(0))
	}
	d := t.values.DType()
	if t.other = c.TensorAttr("default_tensor"); t.other != nil {
		if t.other.DType() != d || t.other.Len() != 1 {
			return t, c.Errorf("default_tensor is %s, values are %s", t.other, d)
		}
		return t, nil
	}
	t.other = tensor.New(d)
	switch {
	case d == tensor.String:
		t.other.SetStr(0, c.Str("default_string"))
	case d.IsInt():
		t.other.SetInt(0, c.Int("default_int64"))
	default:
		t.other.SetFloat(0, c.Float("default_float"))
	}
	return t, nil
}

// key is element i of x as the key of a map.
func key(x *tensor.Tensor, i int64) any {
	switch d := x.DType(); {
	case d == tensor.String:
		return x.Str(i)
	case d.IsInt():
		return x.Int(i)
	}
	if v := x.Float(i); v == v {
		return v
	}
	return "NaN" // which no map finds
}

func (t labels) replace(x *tensor.Tensor) ([]tensor.Value, error) {
	at := make(map[any]int64, t.keys.Len())
	for i := range t.keys.Len() {
		at[key(t.keys, i)] = i
	}
	y, err := tensor.Make(t.values.DType(), x.Shape())
	if err != nil {
		return nil, err
	}
	for i := range x.Len() {
		if j, ok := at[key(x, i)]; ok {
			tensor.CopyElem(y, i, t.values, j)
		} else {
			tensor.CopyElem(y, i, t.other, 0)
		}
	}
	return []tensor.Value{y}, nil
}
