// Package corpus makes malformed models: damaged, hostile, or against the rules of ONNX.
// Each must be refused with an error of code diag.Malformed that names the place, in
// milliseconds and a few megabytes. Reading one whole takes wire.Open, wire.Check, and
// Payload or Strings of each tensor.
package corpus

import (
	"os"
	"path/filepath"
	"strings"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/frontend/onnx/wire"
)

// Case is a malformed model.
type Case struct {
	Name  string
	Model []byte            // what lies in model.onnx
	Files map[string][]byte // other files, by paths relative to the model's folder
	// Links maps names to what they link to: symbolic links, or hard ones of files that
	// Files has. Not every system lets everybody make these.
	Symlinks, Hardlinks map[string]string
	Want                string // a part of the error's text
}

// Write puts the case's files below dir, the model into a folder of its own, and gives
// the model's path.
func (c Case) Write(dir string) (string, error) {
	home := filepath.Join(dir, "model")
	path := filepath.Join(home, "model.onnx")
	put := func(name string, b []byte) error {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		return os.WriteFile(name, b, 0o644)
	}
	if err := put(path, c.Model); err != nil {
		return "", err
	}
	for name, b := range c.Files {
		if err := put(filepath.Join(home, name), b); err != nil {
			return "", err
		}
	}
	for name, to := range c.Symlinks {
		if err := os.Symlink(to, filepath.Join(home, name)); err != nil {
			return "", err
		}
	}
	for name, to := range c.Hardlinks {
		if err := os.Link(filepath.Join(home, to), filepath.Join(home, name)); err != nil {
			return "", err
		}
	}
	return path, nil
}

// Cases gives all cases; their names differ and can be names of files.
func Cases() []Case {
	var out []Case
	for _, group := range [][]Case{encodings(), claims(), values(), external(), graphs(), functions()} {
		out = append(out, group...)
	}
	return out
}

// Valid gives a model that nothing is wrong with: symbolic dims, a subgraph, initializers.
func Valid() []byte {
	dims := &wire.Shape{Dims: []*wire.Dim{{Param: "n"}, {HasValue: true, Value: 3}}}
	typ := &wire.Type{Tensor: &wire.TensorType{ElemType: tensor.F32.ONNX(), Shape: dims}}
	then := &wire.Graph{Name: "then", Nodes: []*wire.Node{{OpType: "Relu", Inputs: []string{"x"}, Outputs: []string{"z"}}}, Outputs: []*wire.ValueInfo{{Name: "z"}}}
	return wire.Encode(&wire.Model{
		IRVersion:   10,
		OpsetImport: []*wire.OperatorSet{{Version: 21}},
		Graph: &wire.Graph{
			Name:    "main",
			Inputs:  []*wire.ValueInfo{{Name: "x", Type: typ}},
			Outputs: []*wire.ValueInfo{{Name: "y", Type: typ}},
			Initializers: []*wire.Tensor{
				wire.NewTensor("w", tensor.Of([]float32{1, 2, 3})),
				wire.NewTensor("c", tensor.Scalar(true)),
				wire.NewTensor("s", tensor.Of([]string{"a", "b"})),
			},
			Nodes: []*wire.Node{
				{Name: "if", OpType: "If", Inputs: []string{"c"}, Outputs: []string{"a"}, Attributes: []*wire.Attribute{
					{Name: "then_branch", Type: wire.AttrGraph, G: then}, {Name: "else_branch", Type: wire.AttrGraph, G: then}}},
				{Name: "add", OpType: "Add", Inputs: []string{"a", "w"}, Outputs: []string{"y"}},
			},
		},
	})
}

// Fields as bytes, for what the encoder would not write.

func bytesField(n protowire.Number, parts ...[]byte) []byte {
	var all []byte
	for _, p := range parts {
		all = append(all, p...)
	}
	return protowire.AppendBytes(protowire.AppendTag(nil, n, protowire.BytesType), all)
}

func textField(n protowire.Number, s string) []byte { return bytesField(n, []byte(s)) }

func intField(n protowire.Number, v int64) []byte {
	return protowire.AppendVarint(protowire.AppendTag(nil, n, protowire.VarintType), uint64(v))
}

// model is a model of one node, Add of x and w, with changes.
func model(changes ...func(*wire.Model)) []byte {
	w := wire.NewTensor("w", tensor.Of([]float32{1, 2, 3}))
	m := &wire.Model{
		IRVersion:   8,
		OpsetImport: []*wire.OperatorSet{{Version: 17}},
		Graph: &wire.Graph{
			Name:         "main",
			Nodes:        []*wire.Node{node("sum", "Add", "x w", "y")},
			Initializers: []*wire.Tensor{w},
			Inputs:       []*wire.ValueInfo{value("x", 3)},
			Outputs:      []*wire.ValueInfo{value("y", 3)},
		},
	}
	for _, change := range changes {
		change(m)
	}
	return wire.Encode(m)
}

// node makes a node; inputs and outputs are names with blanks between them.
func node(name, op, inputs, outputs string, attributes ...*wire.Attribute) *wire.Node {
	return &wire.Node{Name: name, OpType: op, Inputs: strings.Fields(inputs), Outputs: strings.Fields(outputs), Attributes: attributes}
}

// value is the type of a vector of f32.
func value(name string, n int64) *wire.ValueInfo {
	shape := &wire.Shape{Dims: []*wire.Dim{{HasValue: true, Value: n}}}
	return &wire.ValueInfo{Name: name, Type: &wire.Type{Tensor: &wire.TensorType{ElemType: tensor.F32.ONNX(), Shape: shape}}}
}

// branch is a graph attribute.
func branch(name string, g *wire.Graph) *wire.Attribute {
	return &wire.Attribute{Name: name, Type: wire.AttrGraph, G: g}
}

// weight changes the initializer of model.
func weight(change func(t *wire.Tensor)) []byte {
	return model(func(m *wire.Model) { change(m.Graph.Initializers[0]) })
}

// changed is model with its graph changed.
func changed(change func(g *wire.Graph)) []byte {
	return model(func(m *wire.Model) { change(m.Graph) })
}
