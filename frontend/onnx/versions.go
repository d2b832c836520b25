package onnx

import (
	"math"
	"slices"
	"strings"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

// adapter brings forms of an operator from before a version into the form that the
// operator has since then, which is the one that passes see. It changes the call; or it
// adds other statements and gives the results itself. Versions that only allow more
// element types, or more operands and attributes whose absence means what it always
// meant, need none.
type adapter struct {
	below int64
	adapt func(*call) ([]*ir.Value, error)
}

// never is a version that no form has: the operator's name is history.
const never = math.MaxInt64

var adapters = map[string]adapter{}

func init() {
	add := func(below int64, adapt func(*call) ([]*ir.Value, error), names ...string) {
		for _, n := range names {
			if !strings.Contains(n, ".") {
				n = "onnx." + n
			}
			adapters[n] = adapter{below, adapt}
		}
	}
	// Attributes that became operands.
	add(13, axesToInput, "Squeeze", "Unsqueeze", "ReduceSum")
	add(18, axesToInput, "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare")
	add(5, legacyReshape, "Reshape")
	add(10, legacySlice, "Slice")
	add(10, legacyTopK, "TopK")
	add(11, legacyPad, "Pad")
	add(11, legacyClip, "Clip")
	add(18, legacySplit, "Split")
	add(20, legacyDFT, "DFT")
	// Attributes with another kind, spelling or default.
	add(2, legacyNorm, "LpPool", "GlobalLpPool")
	add(4, legacyConcat, "Concat")
	add(6, legacyCast, "Cast")
	add(6, legacySelu, "Selu")
	add(7, legacyRecurrent, "RNN", "GRU", "LSTM")
	add(16, legacyRoiAlign, "RoiAlign")
	add(20, legacyGridSample, "GridSample")
	add(2, legacyLabels, "ai.onnx.ml.LabelEncoder")
	// Another meaning.
	add(7, legacyBroadcast, "Add", "Sub", "Mul", "Div", "Pow", "And", "Or", "Xor", "Equal", "Greater", "Less", "Gemm")
	add(7, legacySlopes, "PRelu")
	add(13, legacySoftmax, "Softmax", "LogSoftmax", "Hardmax")
	add(6, legacyTile, "Tile")
	add(12, legacyDropout, "Dropout")
	add(14, legacyBatchNorm, "BatchNormalization")
	add(21, legacyGroupNorm, "GroupNormalization")
	add(9, legacyScan, "Scan")
	add(11, legacyResize, "Resize")
	add(never, upsample, "Upsample")
	add(never, scatter, "Scatter")
}

func (c *call) ints(name string) ([]int64, bool) { v, ok := c.attrs.Get(name).([]int64); return v, ok }

func (c *call) int(name string, otherwise int64) int64 {
	if v, ok := c.attrs.Get(name).(int64); ok {
		return v
	}
	return otherwise
}

// drop takes attributes away.
func (c *call) drop(names ...string) {
	for _, n := range names {
		c.attrs = c.attrs.Without(n)
	}
}

// rename renames an attribute's value.
func (c *call) respell(name string, spelling map[string]string) {
	if s, ok := c.attrs.Get(name).(string); ok && spelling[s] != "" {
		c.attrs = c.attrs.With(name, spelling[s])
	}
}

// input sets operand i, leaving those between out.
func (c *call) input(i int, v *ir.Value) {
	for len(c.args) <= i {
		c.args = append(c.args, nil)
	}
	c.args[i] = v
}

// takes checks the number of operands of an old form.
func (c *call) takes(n int) error {
	if len(c.args) < n || slices.Contains(c.args[:n], nil) {
		return diag.New(diag.Malformed, "%d operands, version %d takes %d", len(c.args), c.version, n)
	}
	return nil
}

// toInput turns an integer list attribute into operand i.
func (c *call) toInput(i int, name string) {
	if v, ok := c.ints(name); ok {
		c.input(i, c.im.b.Ints(v...))
	}
	c.drop(name)
}

// op adds another operator in front of, or behind, the call.
func (c *call) op(name string, args []*ir.Value, attrs ...any) *ir.Value {
	return c.im.b.Op("onnx."+name, args, attrs...)
}

// dtype is the element type of operand 0.
func (c *call) dtype() tensor.DType {
	if len(c.args) > 0 && c.args[0] != nil {
		if t, ok := c.args[0].Tensor(); ok {
			return t.DType
		}
	}
	return tensor.Invalid
}

// scalar is a constant of operand 0's element type.
func (c *call) scalar(v float64) *ir.Value {
	d := c.dtype()
	if d == tensor.Invalid {
		d = tensor.F32
	}
	x := tensor.New(d)
	x.SetFloat(0, v)
	return c.im.b.Const(x)
}

func axesToInput(c *call) ([]*ir.Value, error) {
	c.toInput(1, "axes")
	return nil, nil
}

func legacyReshape(c *call) ([]*ir.Value, error) {
	c.toInput(1, "shape")
	return nil, nil
}

func legacySlice(c *call) ([]*ir.Value, error) {
	c.toInput(1, "starts")
	c.toInput(2, "ends")
	c.toInput(3, "axes")
	return nil, nil
}

func legacyTopK(c *call) ([]*ir.Value, error) {
	c.input(1, c.im.b.Ints(c.int("k", 0)))
	c.drop("k")
	return nil, nil
}

// legacyPad: version 1 had another name for the pads.
func legacyPad(c *call) ([]*ir.Value, error) {
	if c.version == 1 {
		c.toInput(1, "paddings")
	}
	c.toInput(1, "pads")
	if v, ok := c.attrs.Get("value").(float64); ok {
		c.input(2, c.scalar(v))
	}
	c.drop("value")
	return nil, nil
}

// legacyClip: version 6 bounds by the largest finite f32 where nothing is said, so that
// it also clips infinities.
func legacyClip(c *call) ([]*ir.Value, error) {
	for i, name := range []string{"min", "max"} {
		v, ok := c.attrs.Get(name).(float64)
		if !ok && c.version >= 6 {
			v, ok = []float64{-math.MaxFloat32, math.MaxFloat32}[i], true
		}
		if ok {
			c.input(1+i, c.scalar(v))
		}
		c.drop(name)
	}
	return nil, nil
}

// legacySplit: before version 13 the sizes could be an attribute; before 18 the number
// of outputs was not said beside the outputs themselves.
func legacySplit(c *call) ([]*ir.Value, error) {
	c.toInput(1, "split")
	if len(c.args) < 2 {
		c.attrs = c.attrs.With("num_outputs", int64(len(c.node.Outputs)))
	}
	return nil, nil
}

func legacyDFT(c *call) ([]*ir.Value, error) {
	c.input(2, c.im.b.Const(tensor.Scalar(c.int("axis", 1))))
	c.drop("axis")
	return nil, nil
}

// legacyNorm: the order of the norm was a float.
func legacyNorm(c *call) ([]*ir.Value, error) {
	if p, ok := c.attrs.Get("p").(float64); ok {
		if p != math.Trunc(p) {
			return nil, diag.New(diag.Unsupported, "unsupported: version %d with p = %g", c.version, p)
		}
		c.attrs = c.attrs.With("p", int64(p))
	}
	return nil, nil
}

func legacyConcat(c *call) ([]*ir.Value, error) {
	c.attrs = c.attrs.With("axis", c.int("axis", 1))
	return nil, nil
}

// legacyCast: the type was a name.
func legacyCast(c *call) ([]*ir.Value, error) {
	names := map[string]tensor.DType{"FLOAT": tensor.F32, "DOUBLE": tensor.F64, "FLOAT16": tensor.F16, "INT8": tensor.I8, "INT16": tensor.I16,
		"INT32": tensor.I32, "INT64": tensor.I64, "UINT8": tensor.U8, "UINT16": tensor.U16, "UINT32": tensor.U32, "UINT64": tensor.U64, "BOOL": tensor.Bool}
	s, _ := c.attrs.Get("to").(string)
	d, ok := names[s]
	if !ok {
		return nil, diag.New(diag.Malformed, "attribute \"to\" is %q, which is no element type", s)
	}
	c.attrs = c.attrs.With("to", int64(d.ONNX()))
	return nil, nil
}

// legacySelu: other defaults.
func legacySelu(c *call) ([]*ir.Value, error) {
	for name, v := range map[string]float32{"alpha": 1.6732, "gamma": 1.0507} {
		if c.attrs.Get(name) == nil {
			c.attrs = c.attrs.With(name, float64(v))
		}
	}
	return nil, nil
}

// legacyRecurrent: an attribute told whether Y is wanted, which the node's outputs tell
// too.
func legacyRecurrent(c *call) ([]*ir.Value, error) {
	c.drop("output_sequence")
	return nil, nil
}

// legacyRoiAlign: there was one rule of coordinates, now the default is another.
func legacyRoiAlign(c *call) ([]*ir.Value, error) {
	c.attrs = c.attrs.With("coordinate_transformation_mode", "output_half_pixel")
	return nil, nil
}

func legacyGridSample(c *call) ([]*ir.Value, error) {
	c.respell("mode", map[string]string{"bilinear": "linear", "bicubic": "cubic"})
	return nil, nil
}

// legacyLabels: one list, whose positions are the integers.
func legacyLabels(c *call) ([]*ir.Value, error) {
	labels, _ := c.attrs.Get("classes_strings").([]string)
	c.drop("classes_strings")
	numbers := make([]int64, len(labels))
	for i := range numbers {
		numbers[i] = int64(i)
	}
	if c.dtype() == tensor.String {
		c.attrs = c.attrs.With("keys_strings", labels).With("values_int64s", numbers)
	} else {
		c.attrs = c.attrs.With("keys_int64s", numbers).With("values_strings", labels)
	}
	return nil, nil
}
