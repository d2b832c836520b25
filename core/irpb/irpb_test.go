package irpb_test

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/irpb"
	_ "github.com/pitopt/pitopt/core/op"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/core/text"
)

func parse(t testing.TB, src string) *ir.Module {
	t.Helper()
	m, err := text.Parse("t", []byte(src), nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// everything is a module with every construct.
func everything(t testing.TB) *ir.Module {
	src, err := os.ReadFile("../text/testdata/everything.pit")
	if err != nil {
		t.Fatal(err)
	}
	m := parse(t, string(src))
	if err := ir.Verify(m); err != nil {
		t.Fatal(err)
	}
	return m
}

func marshal(t testing.TB, m *ir.Module) ([]byte, [][]byte) {
	t.Helper()
	data, arena, err := irpb.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return data, arena
}

func TestEverythingRoundTrips(t *testing.T) {
	m := everything(t)
	m.Meta.Outputs = []ir.Type{ir.UnrankedOf(tensor.Invalid), ir.SequenceType{Elem: ir.TensorOf(tensor.F16, sym.Var("n"), sym.Const(2))}} // no part of the text
	data, arena := marshal(t, m)
	got, err := irpb.Unmarshal(data, irpb.Options{Arena: arena})
	if err != nil {
		t.Fatal(err)
	}
	if err := ir.Verify(got); err != nil {
		t.Fatal(err)
	}
	if got, want := text.String(got), text.String(m); got != want {
		t.Errorf("got:\n%s\nwant:\n%s", got, want)
	}
	if got, want := fmt.Sprint(got.Meta.Outputs), fmt.Sprint(m.Meta.Outputs); got != want {
		t.Errorf("declared outputs: got %s, want %s", got, want)
	}
	again, _ := marshal(t, got)
	if !bytes.Equal(again, data) {
		t.Error("the second message differs from the first")
	}
}

// Small constants stand in the message, large ones in the arena, each once, and those
// of files stay there.
func TestPlacesOfConstants(t *testing.T) {
	m := ir.NewModule("m")
	big := tensor.New(tensor.U8, irpb.InlineBytes+1)
	big.SetFloat(irpb.InlineBytes, 15)
	m.AddConst("small", tensor.New(tensor.U8, irpb.InlineBytes), nil)
	m.AddConst("big", big, nil)
	m.AddConst("same", big, nil)
	src := ir.Source{File: "weights.bin", Offset: 128, Length: 8}
	m.AddConst("filed", tensor.Of([]float32{3, 4}), &src)
	strs := make([]string, 5000)
	m.AddConst("strings", tensor.Of(strs), nil)
	data, arena := marshal(t, m)
	if len(arena) != 1 || &arena[0][0] != &big.Bytes()[0] {
		t.Fatalf("%d arena entries, want the one of the large tensor", len(arena))
	}
	got, err := irpb.Unmarshal(data, irpb.Options{Arena: arena, File: func(s ir.Source) ([]byte, error) {
		if s != src {
			t.Errorf("asks for %v", s)
		}
		return m.Consts[3].Tensor.Bytes(), nil
	}})
	if err != nil {
		t.Fatal(err)
	}
	for i, c := range got.Consts {
		if !tensor.Equal(c.Tensor, m.Consts[i].Tensor) {
			t.Errorf("%s differs", c.Name)
		}
	}
	if got.Consts[3].Source == nil || *got.Consts[3].Source != src {
		t.Error("a constant of a file has forgotten its place")
	}
	for name, o := range map[string]irpb.Options{"no arena": {File: func(ir.Source) ([]byte, error) { return make([]byte, 8), nil }}, "no files": {Arena: arena},
		"short file": {Arena: arena, File: func(ir.Source) ([]byte, error) { return nil, nil }}} {
		if _, err := irpb.Unmarshal(data, o); diag.CodeOf(err) != diag.Malformed {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// What a message may say wrong is an error, never a panic.
func TestBadMessages(t *testing.T) {
	node := func(op string, args ...uint32) *irpb.Scalar { return &irpb.Scalar{Op: op, Dtype: 7, Args: args} }
	lit := node("lit")
	lit.Literal = &irpb.Tensor{Dtype: 7, Place: &irpb.Tensor_Inline{Inline: make([]byte, 8)}}
	stage := func(nodes ...*irpb.Scalar) *irpb.Module {
		return &irpb.Module{Programs: []*irpb.Program{{Name: "p", Results: []*irpb.Buffer{{Name: "y", Dtype: 7}},
			Stages: []*irpb.Stage{{Outs: []uint32{0}, Nodes: nodes, Exprs: []uint32{uint32(len(nodes)) - 1}}}}}}
	}
	stmt := func(s *irpb.Statement) *irpb.Module {
		return &irpb.Module{Functions: []*irpb.Function{{Name: "f", Body: &irpb.Block{Statements: []*irpb.Statement{s}}}}}
	}
	constant := func(x *irpb.Tensor) *irpb.Module {
		return &irpb.Module{Constants: []*irpb.Constant{{Name: "c", Tensor: x}}}
	}
	doubling := []*irpb.Scalar{lit} // a tree of 2^60 nodes
	deep := []*irpb.Scalar{lit}
	for i := range uint32(60) {
		doubling = append(doubling, node("add", i, i))
	}
	for i := range uint32(20000) {
		deep = append(deep, node("neg", i))
	}
	relu := &irpb.Statement_Op{Op: "onnx.Relu"}
	for _, c := range []struct {
		name, msg string
		m         *irpb.Module
	}{
		{"tree size", "too large", stage(doubling...)},
		{"tree depth", "nested deeper", stage(deep...)},
		{"forward node", "expression 1 of 0", stage(node("neg", 1))},
		{"arity", "add with 1 operands", stage(lit, node("add", 0))},
		{"operation", "no scalar operation", stage(node("frob"))},
		{"axis", "axis 0 of 0", stage(node("axis"))},
		{"literal", "no element type 0", stage(node("lit"))},
		{"expression", "symbolic", stage(&irpb.Scalar{Op: "sym", Dtype: 7, Symbolic: "a +"})},
		{"no operator", "no operator \"x.Y\"", stmt(&irpb.Statement{Applied: &irpb.Statement_Op{Op: "x.Y"}})},
		{"nothing applied", "applies nothing", stmt(&irpb.Statement{})},
		{"callee", "kernel 7 of 0", stmt(&irpb.Statement{Applied: &irpb.Statement_Call{Call: &irpb.Call{Callee: &irpb.Call_Kernel{Kernel: 7}}}})},
		{"no callee", "calls nothing", stmt(&irpb.Statement{Applied: &irpb.Statement_Call{}})},
		{"own value", "before it is defined", stmt(&irpb.Statement{Applied: relu, Args: []int64{1}})},
		{"constant", "before it is defined", stmt(&irpb.Statement{Applied: relu, Args: []int64{-1}})},
		{"lowest", "before it is defined", stmt(&irpb.Statement{Applied: relu, Args: []int64{-1 << 63}})},
		{"no type", "type is missing", stmt(&irpb.Statement{Applied: relu, Results: []*irpb.Value{{Name: "y"}}})},
		{"attribute", "has no value", stmt(&irpb.Statement{Applied: relu, Attributes: []*irpb.Attribute{{Name: "a"}}})},
		{"short tensor", "do not hold", constant(&irpb.Tensor{Dtype: 1, Shape: []int64{1 << 40}, Place: &irpb.Tensor_Inline{Inline: []byte{1}}})},
		{"negative dim", "do not hold", constant(&irpb.Tensor{Dtype: 1, Shape: []int64{-1}})},
		{"strings", "do not fill", constant(&irpb.Tensor{Dtype: 8, Shape: []int64{1 << 40}})},
		{"arena", "arena 3 of 0", constant(&irpb.Tensor{Dtype: 1, Place: &irpb.Tensor_Arena{Arena: 3}})},
		{"newer", "version 9", &irpb.Module{Version: 9}},
	} {
		if c.m.Version == 0 {
			c.m.Version = irpb.Version
		}
		data, err := proto.Marshal(c.m)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := irpb.Unmarshal(data, irpb.Options{}); err == nil || !strings.Contains(err.Error(), c.msg) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.msg)
		}
	}
	if _, err := irpb.Unmarshal(nil, irpb.Options{}); diag.CodeOf(err) != diag.Malformed {
		t.Errorf("nothing: got %v", err)
	}
}

// No bytes make Unmarshal panic; what it takes can be printed, verified, and written
// so that it reads the same again.
func FuzzUnmarshal(f *testing.F) {
	data, _ := marshal(f, everything(f))
	f.Add(data)
	f.Add([]byte{8, 1})
	f.Fuzz(func(t *testing.T, data []byte) {
		m, err := irpb.Unmarshal(data, irpb.Options{})
		if err != nil {
			return
		}
		if ir.Verify(m) != nil {
			return
		}
		again, arena, err := irpb.Marshal(m)
		if err != nil {
			t.Fatal(err)
		}
		back, err := irpb.Unmarshal(again, irpb.Options{Arena: arena})
		if err != nil {
			t.Fatal(err)
		}
		if got, want := text.String(back), text.String(m); got != want {
			t.Errorf("got:\n%s\nwant:\n%s", got, want)
		}
	})
}
