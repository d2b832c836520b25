package onnx

import (
	"fmt"
	"slices"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/frontend/onnx/wire"
)

// Adapters of versions that mean something else.

// alignFrom gives operand i dims of 1 at the end, so that its dims fall on those of
// operand 0 from axis on.
func (c *call) alignFrom(i int, axis int64) error {
	x, ok := c.args[0].Tensor()
	y, ok2 := c.args[i].Tensor()
	if !ok || !ok2 || x.Unranked || y.Unranked {
		return diag.New(diag.Unsupported, "unsupported: version %d, along axis %d of tensors of unknown rank", c.version, axis)
	}
	if axis < 0 {
		axis += int64(x.Rank())
	}
	var tail []int64
	for n := int(axis) + y.Rank(); n < x.Rank(); n++ {
		tail = append(tail, int64(y.Rank()+len(tail)))
	}
	if len(tail) > 0 {
		c.args[i] = c.op("Unsqueeze", []*ir.Value{c.args[i], c.im.b.Ints(tail...)})
	}
	return nil
}

// legacyBroadcast: operand 1 was broadcast on request (broadcast=1), its dims matched
// with those of operand 0 from axis on, by default at the end. A Gemm broadcast C as it
// does today.
func legacyBroadcast(c *call) ([]*ir.Value, error) {
	axis, has := c.attrs.Get("axis").(int64)
	on := c.int("broadcast", 0) != 0
	c.drop("broadcast", "axis")
	if c.name == "onnx.Gemm" || !on || !has {
		return nil, nil
	}
	if err := c.takes(2); err != nil {
		return nil, err
	}
	return nil, c.alignFrom(1, axis)
}

// legacySlopes: slopes were one for each channel, dim 1, or one for all.
func legacySlopes(c *call) ([]*ir.Value, error) {
	if err := c.takes(2); err != nil {
		return nil, err
	}
	if x, ok := c.args[0].Tensor(); ok && x.Rank() == 1 {
		return nil, nil
	}
	return nil, c.alignFrom(1, 1)
}

// legacySoftmax: the operand was taken as a matrix, dims before axis by dims from it on.
// Over the last axis that is the same.
func legacySoftmax(c *call) ([]*ir.Value, error) {
	if err := c.takes(1); err != nil {
		return nil, err
	}
	axis, x := c.int("axis", 1), c.args[0]
	if t, ok := x.Tensor(); ok && (axis == -1 || axis == int64(t.Rank())-1) {
		c.attrs = c.attrs.With("axis", int64(-1))
		return nil, nil
	}
	flat := c.op("Flatten", []*ir.Value{x}, "axis", axis)
	y := c.im.b.Op(c.name, []*ir.Value{flat}, "axis", -1)
	shape := c.op("Shape", []*ir.Value{x})
	return []*ir.Value{c.op("Reshape", []*ir.Value{y, shape}, "allowzero", 1)}, c.im.b.Err()
}

// legacyTile repeated along one axis.
func legacyTile(c *call) ([]*ir.Value, error) {
	if err := c.takes(3); err != nil {
		return nil, err
	}
	t, ok := c.args[0].Tensor()
	k := c.args[2].Const
	if !ok || t.Unranked || k == nil || k.Tensor.Len() != 1 {
		return nil, diag.New(diag.Unsupported, "unsupported: version %d along an axis that is not constant, or of a tensor of unknown rank", c.version)
	}
	axis := k.Tensor.Int(0)
	if k.Tensor.DType().IsFloat() {
		axis = int64(k.Tensor.Float(0))
	}
	if axis < 0 || axis >= int64(t.Rank()) {
		return nil, diag.New(diag.Malformed, "axis %d of a rank-%d operand", axis, t.Rank())
	}
	tiles := c.op("Reshape", []*ir.Value{c.op("Cast", []*ir.Value{c.args[1]}, "to", tensor.I64), c.im.b.Ints(1)})
	ones := func(n int64) *ir.Value { return c.im.b.Ints(slices.Repeat([]int64{1}, int(n))...) }
	c.args = []*ir.Value{c.args[0], c.op("Concat", []*ir.Value{ones(axis), tiles, ones(int64(t.Rank()) - axis - 1)}, "axis", 0)}
	return nil, c.im.b.Err()
}

// legacyDropout: an operator at inference, whose ratio is of no matter. Before version
// 10 the mask had the element type of the data.
func legacyDropout(c *call) ([]*ir.Value, error) {
	if err := c.takes(1); err != nil {
		return nil, err
	}
	c.drop("ratio", "is_test")
	if c.version >= 10 || !c.wants(1) {
		return nil, nil
	}
	out := c.im.b.OpN(2, c.name, c.args, c.attrs)
	out[1] = c.op("Cast", out[1:2], "to", c.dtype())
	return out, c.im.b.Err()
}

// legacyBatchNorm: an operator at inference; before version 9 its statistics could be
// those of each point of an example (spatial=0).
func legacyBatchNorm(c *call) ([]*ir.Value, error) {
	if err := c.takes(5); err != nil {
		return nil, err
	}
	for i := 1; i < len(c.node.Outputs); i++ {
		if c.wants(i) {
			return nil, diag.New(diag.Unsupported, "unsupported: version %d in training mode", c.version)
		}
	}
	points := c.int("spatial", 1) == 0
	c.drop("spatial", "is_test")
	if !points {
		return nil, nil
	}
	eps := 1e-5
	if v, ok := c.attrs.Get("epsilon").(float64); ok {
		eps = v
	}
	dev := c.op("Sqrt", []*ir.Value{c.op("Add", []*ir.Value{c.args[4], c.scalar(eps)})})
	y := c.op("Div", []*ir.Value{c.op("Sub", []*ir.Value{c.args[0], c.args[3]}), dev})
	y = c.op("Add", []*ir.Value{c.op("Mul", []*ir.Value{y, c.args[1]}), c.args[2]})
	return []*ir.Value{y}, c.im.b.Err()
}

// legacyGroupNorm: scale and bias were per group; each is repeated for the channels of
// its group.
func legacyGroupNorm(c *call) ([]*ir.Value, error) {
	if err := c.takes(3); err != nil {
		return nil, err
	}
	groups := c.im.b.Ints(c.int("num_groups", 1))
	channels := c.op("Shape", c.args[:1], "start", 1, "end", 2)
	shape := c.op("Concat", []*ir.Value{groups, c.op("Div", []*ir.Value{channels, groups})}, "axis", 0)
	for i := 1; i <= 2; i++ {
		column := c.op("Unsqueeze", []*ir.Value{c.args[i], c.im.b.Ints(1)})
		wide := c.op("Expand", []*ir.Value{column, shape})
		c.args[i] = c.op("Reshape", []*ir.Value{wide, c.im.b.Ints(-1)})
	}
	return nil, c.im.b.Err()
}

// legacyScan: each example of a batch was scanned by itself. That is a scan over the
// examples, whose body is the scan of one.
func legacyScan(c *call) ([]*ir.Value, error) {
	if len(c.args) < 2 || c.args[0] != nil {
		return nil, diag.New(diag.Unsupported, "unsupported: version %d with sequence_lens", c.version)
	}
	body := c.graphs["body"].Graph
	if body == nil {
		return nil, diag.New(diag.Malformed, "attribute %q is missing", "body")
	}
	one := &wire.Node{OpType: "Scan", Name: c.node.Name, Attributes: []*wire.Attribute{
		{Name: "body", Type: wire.AttrGraph, G: body},
		{Name: "num_scan_inputs", Type: wire.AttrInt, I: c.int("num_scan_inputs", 0)},
	}}
	if d, ok := c.ints("directions"); ok {
		one.Attributes = append(one.Attributes, &wire.Attribute{Name: "scan_input_directions", Type: wire.AttrInts, Ints: d})
	}
	example := &wire.Graph{Name: body.Name, Nodes: []*wire.Node{one}}
	for _, p := range body.Inputs {
		example.Inputs = append(example.Inputs, &wire.ValueInfo{Name: p.Name})
		one.Inputs = append(one.Inputs, p.Name)
	}
	for i := range body.Outputs {
		name := fmt.Sprintf("%s_%d", nodeName(c.node), i)
		example.Outputs = append(example.Outputs, &wire.ValueInfo{Name: name})
		one.Outputs = append(one.Outputs, name)
	}
	c.im.modern[one] = true
	c.args = c.args[1:]
	c.drop("directions")
	c.attrs = c.attrs.With("num_scan_inputs", int64(len(c.args)))
	c.graphs = map[string]subgraph{"body": {example, c.sc}}
	c.version = since(c.name, MaxOpset)
	return nil, nil
}

// asymmetric makes the call a Resize with the coordinates that all had before version
// 11: position times scale.
func (c *call) asymmetric(x, scales *ir.Value, nearest string) {
	c.name, c.version = "onnx.Resize", since("onnx.Resize", MaxOpset)
	c.args = []*ir.Value{x, nil, scales}
	c.attrs = c.attrs.With("coordinate_transformation_mode", "asymmetric").With("nearest_mode", nearest)
	c.respell("mode", map[string]string{"bilinear": "linear"})
}

// legacyResize took the nearest element below where it made an axis longer, and above
// where it made it shorter: where one does both, it is two.
func legacyResize(c *call) ([]*ir.Value, error) {
	if err := c.takes(2); err != nil {
		return nil, err
	}
	x, scales := c.args[0], c.args[1]
	mode, _ := c.attrs.Get("mode").(string)
	longer, shorter := true, true
	if k := scales.Const; k != nil && k.Tensor.DType() == tensor.F32 {
		list := tensor.Data[float32](k.Tensor)
		longer = slices.ContainsFunc(list, func(s float32) bool { return s > 1 })
		shorter = slices.ContainsFunc(list, func(s float32) bool { return s < 1 })
	}
	switch {
	case mode != "" && mode != "nearest" || !shorter:
		c.asymmetric(x, scales, "floor")
	case !longer:
		c.asymmetric(x, scales, "ceil")
	default:
		one := c.im.b.Const(tensor.Scalar(float32(1)))
		up := c.op("Max", []*ir.Value{scales, one})
		x = c.op("Resize", []*ir.Value{x, nil, up}, "mode", "nearest", "coordinate_transformation_mode", "asymmetric", "nearest_mode", "floor")
		c.asymmetric(x, c.op("Min", []*ir.Value{scales, one}), "ceil")
	}
	return nil, c.im.b.Err()
}

// upsample is a Resize that only makes longer.
func upsample(c *call) ([]*ir.Value, error) {
	var scales *ir.Value
	switch {
	case c.version >= 9:
		if err := c.takes(2); err != nil {
			return nil, err
		}
		scales = c.args[1]
	case c.version >= 7:
		list, _ := c.attrs.Get("scales").([]float64)
		scales = c.im.b.Const(floats(list))
	default:
		h, _ := c.attrs.Get("height_scale").(float64)
		w, _ := c.attrs.Get("width_scale").(float64)
		scales = c.im.b.Const(floats([]float64{1, 1, h, w}))
	}
	if err := c.takes(1); err != nil {
		return nil, err
	}
	c.drop("scales", "height_scale", "width_scale")
	c.asymmetric(c.args[0], scales, "floor")
	return nil, nil
}

// scatter was renamed ScatterElements.
func scatter(c *call) ([]*ir.Value, error) {
	c.name, c.version = "onnx.ScatterElements", since("onnx.ScatterElements", MaxOpset)
	return nil, nil
}
