package corpus

import (
	"bytes"
	"slices"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/pitopt/pitopt/frontend/onnx/wire"
)

// Fields of the messages that are written by hand here.
const (
	modelIR    = 1
	modelGraph = 7

	graphNode        = 1
	graphName        = 2
	graphInitializer = 5
	graphInput       = 11

	nodeName      = 3
	nodeOp        = 4
	nodeAttribute = 5

	attributeName  = 1
	attributeGraph = 6
	attributeInts  = 8

	valueName = 1
	valueType = 2

	typeTensor   = 1
	typeSequence = 4

	tensorDims   = 1
	tensorType   = 2
	tensorFloats = 4
	tensorInts   = 7
	tensorName   = 8
	tensorRaw    = 9
)

// inGraph is a model with such fields in its graph.
func inGraph(fields ...[]byte) []byte {
	return slices.Concat(intField(modelIR, 8), bytesField(modelGraph, fields...))
}

// inTensor is a model whose graph has an initializer "w" with such fields.
func inTensor(fields ...[]byte) []byte {
	return inGraph(bytesField(graphInitializer, textField(tensorName, "w"), slices.Concat(fields...)))
}

// inNode is a model whose graph has a node "n" with such fields.
func inNode(fields ...[]byte) []byte {
	return inGraph(bytesField(graphNode, textField(nodeName, "n"), textField(nodeOp, "Abs"), slices.Concat(fields...)))
}

// encodings are files that are no protobuf, or not the one of ONNX.
func encodings() []Case {
	whole := model()
	group := protowire.AppendTag(nil, 50, protowire.StartGroupType)
	fixed := protowire.AppendFixed32(protowire.AppendTag(nil, graphName, protowire.Fixed32Type), 7)
	return []Case{
		{Name: "empty", Model: []byte{}, Want: "empty"},
		{Name: "text", Model: []byte("This is not a model.\n"), Want: "byte 0"},
		{Name: "zip", Model: []byte("PK\x03\x04\x14\x00\x00\x00\x08\x00"), Want: "byte"},
		{Name: "zeros", Model: make([]byte, 4096), Want: "byte 0"},
		{Name: "ones", Model: bytes.Repeat([]byte{0xff}, 4096), Want: "byte 0"},
		{Name: "cut-at-half", Model: whole[:len(whole)/2], Want: "are left"},
		{Name: "cut-by-one", Model: whole[:len(whole)-1], Want: "byte"},
		{Name: "cut-in-length", Model: []byte{modelGraph<<3 | 2, 0x80}, Want: "the length can not be read"},
		{Name: "cut-in-varint", Model: []byte{modelIR << 3, 0xff}, Want: "byte 0"},
		{Name: "long-varint", Model: append([]byte{modelIR << 3}, bytes.Repeat([]byte{0x80}, 11)...), Want: "byte 0"},
		{Name: "field-zero", Model: inTensor([]byte{0, 1}), Want: `tensor "w"`},
		{Name: "field-too-large", Model: inTensor([]byte{0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 1}), Want: `tensor "w"`},
		{Name: "reserved-wire-type", Model: inNode([]byte{6<<3 | 6, 1}), Want: `node "n" (Abs)`},
		{Name: "group", Model: inNode(group), Want: "a group"},
		{Name: "group-end", Model: inNode(protowire.AppendTag(nil, 50, protowire.EndGroupType)), Want: `node "n" (Abs)`},
		{Name: "groups-nested", Model: inNode(bytes.Repeat(group, 1<<16)), Want: "a group"},
		{Name: "string-as-number", Model: inGraph(intField(graphName, 7)), Want: "wire type 0 (varint) where 2 (bytes) is right"},
		{Name: "string-as-fixed", Model: inGraph(fixed), Want: "field 2 of Graph"},
		{Name: "number-as-string", Model: inTensor(textField(tensorType, "f32")), Want: `tensor "w"`},
		{Name: "message-as-number", Model: intField(modelGraph, 1), Want: "field 7 of Model"},
		{Name: "floats-as-varints", Model: inTensor(intField(tensorFloats, 1)), Want: `tensor "w"`},
		{Name: "floats-cut", Model: inTensor(bytesField(tensorFloats, []byte{0, 0, 128})), Want: `tensor "w"`},
		{Name: "integers-cut", Model: inTensor(bytesField(tensorInts, []byte{1, 0x80})), Want: `tensor "w"`},
		{Name: "dims-cut", Model: inTensor(bytesField(tensorDims, []byte{1, 0x80})), Want: `tensor "w"`},
		{Name: "name-not-utf8", Model: inGraph(bytesField(graphNode, bytesField(nodeName, []byte{'n', 0xff}))), Want: `"n\xff" is not UTF-8`},
		{Name: "attribute-broken", Model: inNode(bytesField(nodeAttribute, textField(attributeName, "axes"),
			bytesField(attributeInts, []byte{0x80}))), Want: `attribute "axes"`},
	}
}

// terabyte is a length of 2^40 bytes that are not there.
func terabyte(n protowire.Number) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, n, protowire.BytesType), 1<<40)
}

// nested puts a message into itself so many times. around gives what comes in front of a
// message of so many bytes, which ends with its length.
func nested(times int, around func(size int) []byte) []byte {
	fronts := make([][]byte, 0, times)
	size := 0
	for range times {
		f := around(size)
		size += len(f)
		fronts = append(fronts, f)
	}
	slices.Reverse(fronts)
	return slices.Concat(fronts...)
}

// lengthOf is the tag and length of a field of so many bytes.
func lengthOf(n protowire.Number, size int) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, n, protowire.BytesType), uint64(size))
}

// claims are files that would take absurd time or memory if they were believed.
func claims() []Case {
	graphsInGraphs := nested(10_000, func(size int) []byte {
		graph := lengthOf(attributeGraph, size)
		attribute := slices.Concat(textField(attributeName, "then_branch"), graph)
		node := slices.Concat(textField(nodeName, "if"), textField(nodeOp, "If"), lengthOf(nodeAttribute, len(attribute)+size), attribute)
		return slices.Concat(lengthOf(graphNode, len(node)+size), node)
	})
	typesInTypes := nested(10_000, func(size int) []byte {
		elem := lengthOf(1, size)
		return slices.Concat(lengthOf(typeSequence, len(elem)+size), elem)
	})
	dims := func(n ...int64) []byte {
		var out []byte
		for _, d := range n {
			out = append(out, intField(tensorDims, d)...)
		}
		return out
	}
	float := intField(tensorType, 1)
	return []Case{
		{Name: "terabyte-of-graph", Model: slices.Concat(intField(modelIR, 8), terabyte(modelGraph)), Want: "a length of 1099511627776 bytes where 0 are left"},
		{Name: "terabyte-of-raw", Model: inTensor(terabyte(tensorRaw)), Want: `tensor "w"`},
		{Name: "terabyte-of-name", Model: inGraph(bytesField(graphNode, textField(nodeOp, "Abs"), terabyte(nodeName))), Want: "1099511627776"},
		{Name: "length-near-2-to-64", Model: append([]byte{modelGraph<<3 | 2}, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1), Want: "18446744073709551615"},
		{Name: "terabyte-of-floats", Model: model(func(m *wire.Model) { m.Graph.Initializers[0].Dims = []int64{1 << 40} }), Want: `tensor "w"`},
		{Name: "terabyte-without-data", Model: slices.Concat(model(), bytesField(modelGraph, bytesField(graphInitializer, dims(1<<20, 1<<20), float, textField(tensorName, "huge")))), Want: `tensor "huge"`},
		{Name: "dims-overflow", Model: slices.Concat(model(), bytesField(modelGraph, bytesField(graphInitializer, dims(1<<32, 1<<32), float, textField(tensorName, "huge")))), Want: "too large"},
		{Name: "dims-overflow-by-zero", Model: slices.Concat(model(), bytesField(modelGraph, bytesField(graphInitializer, dims(1<<62, 1<<62, 0, -1), float, textField(tensorName, "huge")))), Want: "negative"},
		{Name: "dims-negative", Model: weight(func(t *wire.Tensor) { t.Dims = []int64{-3} }), Want: "negative"},
		{Name: "dims-too-many", Model: inTensor(bytesField(tensorDims, bytes.Repeat([]byte{1}, 1<<16))), Want: `tensor "w"`},
		{Name: "shape-too-many", Model: inGraph(bytesField(graphInput, textField(valueName, "x"), bytesField(valueType,
			bytesField(typeTensor, bytesField(2, bytes.Repeat(bytesField(1), 1<<16)))))), Want: `value "x"`},
		{Name: "nested-graphs", Model: inGraph(graphsInGraphs), Want: `node "if" (If)`},
		{Name: "nested-types", Model: inGraph(bytesField(graphInput, textField(valueName, "x"), bytesField(valueType, typesInTypes))), Want: `value "x"`},
		{Name: "empty-attributes", Model: inNode(bytes.Repeat(bytesField(nodeAttribute), 50_000)), Want: "memory"},
	}
}
