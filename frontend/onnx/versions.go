package onnx

import (
	"math"
	"slices"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

// Passes see one version of every operator, the newest. An adapter turns older forms
// into it: it changes the call, and is done; or it adds other statements and gives
// the results itself. Versions that only allow more element types need none.
var adapters = map[string]func(*call) ([]*ir.Value, error){}

func init() {
	adapt := func(f func(*call) ([]*ir.Value, error), names ...string) {
		for _, n := range names {
			adapters["onnx."+n] = f
		}
	}
	adapt(axesToInput(13), "Squeeze", "Unsqueeze", "ReduceSum")
	adapt(axesToInput(18), "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceLogSum", "ReduceLogSumExp", "ReduceSumSquare")
	adapt(legacyBroadcast, "Add", "Sub", "Mul", "Div", "Pow", "And", "Or", "Xor", "Equal", "Greater", "Less", "PRelu", "Gemm")
	adapt(legacySoftmax, "Softmax", "LogSoftmax", "Hardmax")
	adapt(legacySlice, "Slice")
	adapt(legacySplit, "Split")
	adapt(legacyPad, "Pad")
	adapt(legacyClip, "Clip")
	adapt(legacyTopK, "TopK")
	adapt(legacyDropout, "Dropout")
	adapt(legacyBatchNorm, "BatchNormalization")
	adapt(legacyCast, "Cast")
	adapt(legacyReshape, "Reshape")
	adapt(legacyResize, "Resize")
	adapt(upsample, "Upsample")
	adapt(legacyConcat, "Concat")
	adapt(legacyTile, "Tile")
	adapt(legacyGroupNorm, "GroupNormalization")
	adapt(legacyScan, "Scan")
	adapt(legacySelu, "Selu")
	adapt(legacyRecurrent, "RNN", "GRU", "LSTM")
	adapt(scatter, "Scatter")
}

func (c *call) ints(name string) ([]int64, bool) { v, ok := c.attrs.Get(name).([]int64); return v, ok }

// input sets operand i, leaving those between out.
func (c *call) input(i int, v *ir.Value) {
	for len(c.args) <= i {
		c.args = append(c.args, nil)
	}
	c.args[i] = v
}

// toInput turns an integer list attribute into operand i.
func (c *call) toInput(i int, name string) {
	if v, ok := c.ints(name); ok {
		c.input(i, c.im.b.Ints(v...))
	}
	c.attrs = c.attrs.Without(name)
}

// axesToInput: before a version the axes were an attribute.
func axesToInput(version int64) func(*call) ([]*ir.Value, error) {
	return func(c *call) ([]*ir.Value, error) {
		if c.version < version {
			c.toInput(1, "axes")
		}
		return nil, nil
	}
}

// legacyBroadcast: before version 7 operand 1 was broadcast on request (broadcast=1),
// its dims matched with those of operand 0 from axis on. The slopes of a PRelu were those
// of channels, dim 1.
func legacyBroadcast(c *call) ([]*ir.Value, error) {
	if c.version >= 7 {
		return nil, nil
	}
	on, _ := c.attrs.Get("broadcast").(int64)
	axis, hasAxis := c.attrs.Get("axis").(int64)
	c.attrs = c.attrs.Without("broadcast").Without("axis")
	if c.name == "onnx.PRelu" {
		on, axis, hasAxis = 1, 1, true
	}
	if c.name == "onnx.Gemm" || on == 0 || !hasAxis || len(c.args) < 2 {
		return nil, nil
	}
	x, ok := c.args[0].Tensor()
	y, ok2 := c.args[1].Tensor()
	if !ok || !ok2 || x.Unranked || y.Unranked {
		return nil, diag.New(diag.Unsupported, "unsupported broadcast along axis %d of tensors of unknown rank", axis)
	}
	if axis < 0 {
		axis += int64(x.Rank())
	}
	var tail []int64
	for i := int(axis) + y.Rank(); i < x.Rank(); i++ {
		tail = append(tail, int64(y.Rank()+len(tail)))
	}
	if len(tail) > 0 {
		c.args = slices.Clone(c.args)
		c.args[1] = c.op("onnx.Unsqueeze", []*ir.Value{c.args[1], c.im.b.Ints(tail...)})
	}
	return nil, nil
}

// legacySoftmax: before version 13 the operand was taken as a matrix, dims before axis
// by dims from it on (axis 1 by default). Over the last axis that is the same.
func legacySoftmax(c *call) ([]*ir.Value, error) {
	if c.version >= 13 {
		return nil, nil
	}
	axis, ok := c.attrs.Get("axis").(int64)
	if !ok {
		axis = 1
	}
	t, isTensor := c.args[0].Tensor()
	if !isTensor || t.Unranked {
		return nil, diag.New(diag.Unsupported, "unsupported: version %d on a tensor of unknown rank", c.version)
	}
	if axis < 0 {
		axis += int64(t.Rank())
	}
	if axis == int64(t.Rank())-1 {
		c.attrs = c.attrs.With("axis", int64(-1))
		return nil, nil
	}
	x := c.args[0]
	flat := c.op("onnx.Flatten", []*ir.Value{x}, "axis", axis)
	y := c.op(c.name, []*ir.Value{flat}, "axis", int64(-1))
	shape := c.op("onnx.Shape", []*ir.Value{x})
	return []*ir.Value{c.op("onnx.Reshape", []*ir.Value{y, shape}, "allowzero", 1)}, c.im.b.Err()
}

func legacySlice(c *call) ([]*ir.Value, error) {
	if c.version < 10 {
		c.toInput(1, "starts")
		c.toInput(2, "ends")
		c.toInput(3, "axes")
	}
	return nil, nil
}

func legacySplit(c *call) ([]*ir.Value, error) {
	if c.version < 13 {
		c.toInput(1, "split")
	}
	return nil, nil
}

func legacyPad(c *call) ([]*ir.Value, error) {
	if c.version >= 11 {
		return nil, nil
	}
	if c.version == 1 {
		c.toInput(1, "paddings")
	}
	c.toInput(1, "pads")
	if v, ok := c.attrs.Get("value").(float64); ok {
		c.input(2, c.scalar(v))
	}
	c.attrs = c.attrs.Without("value")
	return nil, nil
}

// scalar is a constant of operand 0's element type.
func (c *call) scalar(v float64) *ir.Value {
	d := tensor.F32
	if t, ok := c.args[0].Tensor(); ok && t.DType != tensor.Invalid {
		d = t.DType
	}
	x := tensor.New(d)
	x.SetFloat(0, v)
	return c.im.b.Const(x)
}

func legacyClip(c *call) ([]*ir.Value, error) {
	if c.version >= 11 {
		return nil, nil
	}
	for i, name := range []string{"min", "max"} {
		if v, ok := c.attrs.Get(name).(float64); ok && math.Abs(v) < math.MaxFloat32 {
			c.input(1+i, c.scalar(v))
		}
		c.attrs = c.attrs.Without(name)
	}
	return nil, nil
}

func legacyTopK(c *call) ([]*ir.Value, error) {
	if c.version < 10 {
		k, _ := c.attrs.Get("k").(int64)
		c.attrs = c.attrs.Without("k")
		c.input(1, c.im.b.Ints(k))
	}
	return nil, nil
}

// legacyDropout: before version 12 an operator at inference, its ratio an attribute.
func legacyDropout(c *call) ([]*ir.Value, error) {
	if c.version < 12 {
		c.attrs = c.attrs.Without("ratio").Without("is_test")
	}
	return nil, nil
}

// legacyBatchNorm: before version 14 inference alone; before 9 statistics could be per
// activation (spatial=0).
func legacyBatchNorm(c *call) ([]*ir.Value, error) {
	if c.version >= 14 {
		return nil, nil
	}
	if s, ok := c.attrs.Get("spatial").(int64); ok && s == 0 {
		return nil, diag.New(diag.Unsupported, "unsupported: version %d with spatial=0", c.version)
	}
	c.attrs = c.attrs.Without("spatial").Without("is_test")
	if c.results() > 1 {
		return nil, diag.New(diag.Unsupported, "unsupported: version %d in training mode", c.version)
	}
	return nil, nil
}

// legacyCast: in version 1 the type was a name.
func legacyCast(c *call) ([]*ir.Value, error) {
	if s, ok := c.attrs.Get("to").(string); ok {
		names := map[string]tensor.DType{"FLOAT": tensor.F32, "DOUBLE": tensor.F64, "FLOAT16": tensor.F16, "INT8": tensor.I8, "INT16": tensor.I16,
			"INT32": tensor.I32, "INT64": tensor.I64, "UINT8": tensor.U8, "UINT16": tensor.U16, "UINT32": tensor.U32, "UINT64": tensor.U64, "BOOL": tensor.Bool}
		d, ok := names[s]
		if !ok {
			return nil, diag.New(diag.Malformed, "attribute \"to\" is %q, which is no element type", s)
		}
		c.attrs = c.attrs.With("to", int64(d.ONNX()))
	}
	return nil, nil
}

func legacyReshape(c *call) ([]*ir.Value, error) {
	if c.version < 5 {
		c.toInput(1, "shape")
	}
	return nil, nil
}

// legacyResize: version 10 had scales as operand 1 and one rule of coordinates.
func legacyResize(c *call) ([]*ir.Value, error) {
	if c.version >= 11 {
		return nil, nil
	}
	if len(c.args) != 2 {
		return nil, diag.New(diag.Malformed, "%d inputs, it takes 2", len(c.args))
	}
	c.asymmetric(c.args[1])
	return nil, nil
}

// asymmetric makes the call the Resize that old ones were.
func (c *call) asymmetric(scales *ir.Value) {
	c.name = "onnx.Resize"
	c.version = since(c.name, MaxOpset)
	c.args = []*ir.Value{c.args[0], nil, scales}
	c.attrs = c.attrs.With("coordinate_transformation_mode", "asymmetric").With("nearest_mode", "floor")
	if m, _ := c.attrs.Get("mode").(string); m == "bilinear" {
		c.attrs = c.attrs.With("mode", "linear")
	}
}

// upsample is an old Resize.
func upsample(c *call) ([]*ir.Value, error) {
	var scales *ir.Value
	switch {
	case c.version >= 9:
		if len(c.args) != 2 {
			return nil, diag.New(diag.Malformed, "%d inputs, it takes 2", len(c.args))
		}
		scales = c.args[1]
	case c.version >= 7:
		list, _ := c.attrs.Get("scales").([]float64)
		scales = c.floats(list)
	default:
		h, _ := c.attrs.Get("height_scale").(float64)
		w, _ := c.attrs.Get("width_scale").(float64)
		scales = c.floats([]float64{1, 1, h, w})
	}
	c.attrs = c.attrs.Without("scales").Without("height_scale").Without("width_scale")
	c.asymmetric(scales)
	return nil, nil
}

func (c *call) floats(list []float64) *ir.Value {
	out := make([]float32, len(list))
	for i, v := range list {
		out[i] = float32(v)
	}
	return c.im.b.Const(tensor.Of(out, int64(len(out))))
}

func legacyConcat(c *call) ([]*ir.Value, error) {
	if c.version < 4 && c.attrs.Get("axis") == nil {
		c.attrs = c.attrs.With("axis", int64(1))
	}
	return nil, nil
}

func legacyTile(c *call) ([]*ir.Value, error) {
	if c.version < 6 {
		return nil, diag.New(diag.Unsupported, "unsupported operator version: Tile 1")
	}
	return nil, nil
}

// legacyGroupNorm: in version 18 scale and bias were per group; each is repeated for
// the channels of its group.
func legacyGroupNorm(c *call) ([]*ir.Value, error) {
	if c.version >= 21 {
		return nil, nil
	}
	t, ok := c.args[0].Tensor()
	if !ok || t.Rank() < 2 || len(c.args) < 3 {
		return nil, diag.New(diag.Unsupported, "unsupported: version 18 on a tensor of unknown rank")
	}
	channels, ok := t.Dims[1].Int()
	groups, _ := c.attrs.Get("num_groups").(int64)
	if !ok || groups < 1 || channels%groups != 0 {
		return nil, diag.New(diag.Unsupported, "unsupported: version 18 with %s channels in %d groups", t.Dims[1], groups)
	}
	c.args = slices.Clone(c.args)
	for i := 1; i <= 2; i++ {
		col := c.op("onnx.Unsqueeze", []*ir.Value{c.args[i], c.im.b.Ints(1)})
		wide := c.op("onnx.Expand", []*ir.Value{col, c.im.b.Ints(groups, channels/groups)})
		c.args[i] = c.op("onnx.Reshape", []*ir.Value{wide, c.im.b.Ints(-1)})
	}
	c.version = 21
	return nil, c.im.b.Err()
}

// legacyScan: version 8 scanned each example of a batch by itself.
func legacyScan(c *call) ([]*ir.Value, error) {
	if c.version < 9 {
		return c.unknown()
	}
	return nil, nil
}

// legacySelu: version 1 had other defaults.
func legacySelu(c *call) ([]*ir.Value, error) {
	if c.version < 6 {
		if c.attrs.Get("alpha") == nil {
			c.attrs = c.attrs.With("alpha", float64(float32(1.6732)))
		}
		if c.attrs.Get("gamma") == nil {
			c.attrs = c.attrs.With("gamma", float64(float32(1.0507)))
		}
	}
	return nil, nil
}

// legacyRecurrent: before version 7 an attribute told whether Y is wanted, which the
// node's outputs tell too.
func legacyRecurrent(c *call) ([]*ir.Value, error) {
	if c.version < 7 {
		c.attrs = c.attrs.Without("output_sequence")
	}
	return nil, nil
}

// scatter was renamed ScatterElements.
func scatter(c *call) ([]*ir.Value, error) {
	c.name, c.version = "onnx.ScatterElements", 11
	return nil, nil
}
