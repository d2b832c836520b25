package corpus

import (
	"fmt"

	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/frontend/onnx/wire"
)

// values are tensors that do not hold what they say.
func values() []Case {
	typed := func(d tensor.DType, change func(t *wire.Tensor)) []byte {
		return weight(func(t *wire.Tensor) {
			t.DataType, t.RawData, t.HasRaw = d.ONNX(), nil, false
			change(t)
		})
	}
	return []Case{
		{Name: "raw-short", Model: weight(func(t *wire.Tensor) { t.RawData = t.RawData[:11] }), Want: `tensor "w": raw_data has 11 bytes, shape [3] of f32 takes 12`},
		{Name: "raw-long", Model: weight(func(t *wire.Tensor) { t.RawData = make([]byte, 13) }), Want: "raw_data has 13 bytes"},
		{Name: "raw-nibbles", Model: weight(func(t *wire.Tensor) { t.DataType = tensor.U4.ONNX() }), Want: "takes 2"},
		{Name: "floats-short", Model: typed(tensor.F32, func(t *wire.Tensor) { t.FloatData = make([]byte, 8) }), Want: "float_data has 8 bytes"},
		{Name: "doubles-long", Model: typed(tensor.F64, func(t *wire.Tensor) { t.DoubleData = make([]byte, 32) }), Want: "double_data has 32 bytes"},
		{Name: "integers-short", Model: typed(tensor.I64, func(t *wire.Tensor) { t.Int64Data = []byte{1, 2} }), Want: "int64_data has 2 integers"},
		{Name: "integers-overlong", Model: typed(tensor.I64, func(t *wire.Tensor) {
			t.Int64Data = []byte{1, 2, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 1}
		}), Want: "integer 2 can not be read"},
		{Name: "byte-too-large", Model: typed(tensor.I8, func(t *wire.Tensor) { t.Int32Data = []byte{1, 2, 0xac, 2} }), Want: "integer 2 is 300"},
		{Name: "strings-short", Model: typed(tensor.String, func(t *wire.Tensor) { t.StringData = [][]byte{[]byte("a")} }), Want: "1 strings"},
		{Name: "strings-raw", Model: weight(func(t *wire.Tensor) { t.DataType = tensor.String.ONNX() }), Want: "raw_data"},
		{Name: "no-values", Model: typed(tensor.F32, func(*wire.Tensor) {}), Want: "no values"},
		{Name: "values-twice", Model: weight(func(t *wire.Tensor) { t.FloatData = make([]byte, 12) }), Want: "in raw_data and in float_data"},
		{Name: "values-elsewhere", Model: typed(tensor.F32, func(t *wire.Tensor) { t.Int32Data = []byte{1, 2, 3} }), Want: "they belong in float_data"},
		{Name: "type-undefined", Model: weight(func(t *wire.Tensor) { t.DataType = 0 }), Want: "element type 0"},
		{Name: "type-unknown", Model: weight(func(t *wire.Tensor) { t.DataType = 99 }), Want: "element type 99"},
		{Name: "segment", Model: weight(func(t *wire.Tensor) { t.Segment = &wire.Segment{Begin: 0, End: 3} }), Want: "segment"},
		{Name: "location-unknown", Model: weight(func(t *wire.Tensor) { t.DataLocation = 7 }), Want: "data location 7"},
		{Name: "constant-short", Model: changed(func(g *wire.Graph) {
			t := &wire.Tensor{Name: "c", DataType: 1, Dims: []int64{2}, RawData: make([]byte, 7), HasRaw: true}
			g.Nodes = append(g.Nodes, node("constant", "Constant", "", "z", &wire.Attribute{Name: "value", Type: wire.AttrTensor, T: t}))
		}), Want: `tensor "c": raw_data has 7 bytes`},
	}
}

// external are tensors whose values lie where they must not, or not where they should.
func external() []Case {
	in := func(entries ...string) []byte {
		return weight(func(t *wire.Tensor) {
			t.RawData, t.HasRaw, t.DataLocation = nil, false, 1
			for i := 0; i < len(entries); i += 2 {
				t.ExternalData = append(t.ExternalData, &wire.StringEntry{Key: entries[i], Value: entries[i+1]})
			}
		})
	}
	beside := map[string][]byte{"w.bin": make([]byte, 64), "../secret.bin": make([]byte, 64)}
	const outside = "not in the model's folder"
	return []Case{
		{Name: "external-nowhere", Model: in(), Want: "no location"},
		{Name: "external-missing", Model: in("location", "w.bin"), Want: `"w.bin"`},
		{Name: "external-folder", Model: in("location", "sub"), Files: map[string][]byte{"sub/w.bin": make([]byte, 12)}, Want: "regular"},
		{Name: "external-up", Model: in("location", "../secret.bin"), Files: beside, Want: outside},
		{Name: "external-up-hidden", Model: in("location", "a/../../secret.bin"), Files: beside, Want: outside},
		{Name: "external-up-backslash", Model: in("location", `..\secret.bin`), Files: beside, Want: outside},
		{Name: "external-absolute", Model: in("location", "/etc/hostname"), Want: outside},
		{Name: "external-symlink", Model: in("location", "link.bin"), Files: beside, Symlinks: map[string]string{"link.bin": "../secret.bin"}, Want: `"link.bin"`},
		{Name: "external-symlink-folder", Model: in("location", "up/secret.bin"), Files: beside, Symlinks: map[string]string{"up": ".."}, Want: `"up/secret.bin"`},
		{Name: "external-hardlink", Model: in("location", "link.bin"), Files: beside, Hardlinks: map[string]string{"link.bin": "../secret.bin"}, Want: "second name"},
		{Name: "external-behind-end", Model: in("location", "w.bin", "offset", "56"), Files: beside, Want: "12 bytes from byte 56"},
		{Name: "external-offset-huge", Model: in("location", "w.bin", "offset", "9223372036854775807"), Files: beside, Want: "which has 64"},
		{Name: "external-offset-negative", Model: in("location", "w.bin", "offset", "-4"), Files: beside, Want: `offset "-4"`},
		{Name: "external-offset-words", Model: in("location", "w.bin", "offset", "four"), Files: beside, Want: `offset "four"`},
		{Name: "external-length-wrong", Model: in("location", "w.bin", "length", "13"), Files: beside, Want: "13 bytes, shape [3] takes 12"},
		{Name: "external-length-negative", Model: in("location", "w.bin", "length", "-12"), Files: beside, Want: `length "-12"`},
	}
}

// graphs are graphs that can not be run, whatever their operators mean.
func graphs() []Case {
	graphNodes := func(nodes ...*wire.Node) []byte {
		return changed(func(g *wire.Graph) { g.Nodes = nodes })
	}
	ring := make([]*wire.Node, 10_000)
	for i := range ring {
		ring[i] = node(fmt.Sprintf("n%d", i), "Abs", fmt.Sprintf("v%d", i), fmt.Sprintf("v%d", (i+1)%len(ring)))
	}
	ring = append(ring, node("last", "Abs", "v0", "y"))
	inner := func(nodes ...*wire.Node) *wire.Graph {
		return &wire.Graph{Name: "inner", Nodes: nodes, Outputs: []*wire.ValueInfo{value("o", 3)}}
	}
	return []Case{
		{Name: "no-graph", Model: model(func(m *wire.Model) { m.Graph = nil }), Want: "no graph"},
		{Name: "no-opset", Model: model(func(m *wire.Model) { m.OpsetImport = nil }), Want: "operator set"},
		{Name: "opset-twice", Model: model(func(m *wire.Model) {
			m.OpsetImport = append(m.OpsetImport, &wire.OperatorSet{Domain: "ai.onnx", Version: 11})
		}), Want: "versions 17 and 11"},
		{Name: "cycle", Model: graphNodes(node("a", "Add", "x q", "p"), node("b", "Abs", "p", "q"), node("c", "Abs", "q", "y")), Want: `cycle through "a", "b"`},
		{Name: "cycle-of-one", Model: graphNodes(node("a", "Add", "x y", "y")), Want: `cycle through "a"`},
		{Name: "cycle-long", Model: graphNodes(ring...), Want: "cycle"},
		{Name: "cycle-through-branch", Model: graphNodes(node("if", "If", "x", "p", branch("then_branch", inner(node("in", "Abs", "q", "o")))),
			node("b", "Abs", "p", "q"), node("c", "Abs", "q", "y")), Want: `cycle through "if", "b"`},
		{Name: "undefined", Model: graphNodes(node("sum", "Add", "x weight", "y")), Want: `node "sum" (Add): "weight" is used and not defined`},
		{Name: "undefined-near", Model: changed(func(g *wire.Graph) {
			g.Nodes = []*wire.Node{node("abs", "Abs", "x", "hidden_state"), node("sum", "Add", "hiden_state w", "y")}
		}), Want: `did you mean "hidden_state"?`},
		{Name: "undefined-output", Model: changed(func(g *wire.Graph) { g.Outputs[0].Name = "z" }), Want: `output "z"`},
		{Name: "undefined-in-branch", Model: graphNodes(node("if", "If", "x", "y", branch("then_branch", inner(node("in", "Abs", "q", "o"))))), Want: `"q" is used and not defined`},
		{Name: "branch-does-not-leak", Model: graphNodes(node("if", "If", "x", "p", branch("then_branch", inner(node("in", "Abs", "x", "o")))),
			node("out", "Abs", "o", "y")), Want: `"o" is used and not defined`},
		{Name: "defined-twice", Model: graphNodes(node("a", "Abs", "x", "y"), node("b", "Neg", "x", "y")), Want: `"y" is defined twice`},
		{Name: "defined-over-input", Model: graphNodes(node("a", "Abs", "w", "x"), node("b", "Neg", "x", "y")), Want: `"x" is defined twice`},
		{Name: "input-twice", Model: changed(func(g *wire.Graph) { g.Inputs = append(g.Inputs, value("x", 3)) }), Want: `the name "x"`},
		{Name: "input-without-name", Model: changed(func(g *wire.Graph) { g.Inputs = append(g.Inputs, value("", 3)) }), Want: "no name"},
		{Name: "initializer-twice", Model: changed(func(g *wire.Graph) { g.Initializers = append(g.Initializers, g.Initializers[0]) }), Want: `tensor "w": there are two`},
		{Name: "sparse-without-values", Model: changed(func(g *wire.Graph) { g.SparseInitializers = []*wire.SparseTensor{{}} }), Want: "sparse"},
		{Name: "attribute-twice", Model: changed(func(g *wire.Graph) {
			g.Nodes[0].Attributes = []*wire.Attribute{{Name: "axis", Type: wire.AttrInt, I: 1}, {Name: "axis", Type: wire.AttrInt, I: 2}}
		}), Want: `node "sum" (Add): attribute "axis" is given twice`},
		{Name: "operator-without-name", Model: changed(func(g *wire.Graph) { g.Nodes[0].OpType = "" }), Want: "no operator"},
	}
}

// functions are models whose own functions are wrong.
func functions() []Case {
	function := func(name string, nodes ...*wire.Node) *wire.Function {
		return &wire.Function{Name: name, Domain: "own", Inputs: []string{"a"}, Outputs: []string{"b"}, Nodes: nodes, OpsetImport: []*wire.OperatorSet{{Version: 17}}}
	}
	call := func(name, to, inputs, outputs string) *wire.Node {
		n := node(name, to, inputs, outputs)
		n.Domain = "own"
		return n
	}
	with := func(list ...*wire.Function) []byte {
		return model(func(m *wire.Model) {
			m.OpsetImport = append(m.OpsetImport, &wire.OperatorSet{Domain: "own", Version: 1})
			m.Functions = list
			m.Graph.Nodes = []*wire.Node{call("call", "F", "x", "y")}
		})
	}
	abs := node("abs", "Abs", "a", "b")
	chain := []*wire.Function{function("F", call("c", "F0", "a", "b"))}
	for i := range 5000 {
		chain = append(chain, function(fmt.Sprintf("F%d", i), call("c", fmt.Sprintf("F%d", (i+1)%5000), "a", "b")))
	}
	return []Case{
		{Name: "function-without-name", Model: with(function("F", abs), function("", abs)), Want: "function 1 has no name"},
		{Name: "function-twice", Model: with(function("F", abs), function("F", abs)), Want: `function "F"`},
		{Name: "function-calls-itself", Model: with(function("F", call("c", "F", "a", "b"))), Want: "F calls F"},
		{Name: "function-calls-back", Model: with(function("F", call("c", "G", "a", "b")), function("G", call("c", "F", "a", "b"))), Want: "F calls G calls F"},
		{Name: "function-calls-far", Model: with(chain...), Want: "calls itself"},
		{Name: "function-undefined", Model: with(function("F", node("abs", "Abs", "z", "b"))), Want: `"z" is used and not defined`},
		{Name: "function-output-undefined", Model: with(function("F", node("abs", "Abs", "a", "c"))), Want: `output "b"`},
	}
}
