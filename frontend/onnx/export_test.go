package onnx

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/ir"
	_ "github.com/pitopt/pitopt/core/op"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/core/text"
	"github.com/pitopt/pitopt/frontend/onnx/wire"
)

func parse(t *testing.T, src string) *ir.Module {
	t.Helper()
	m, err := text.Parse(t.Name(), []byte("module {\n"+src+"\n}"), nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func exported(t *testing.T, m *ir.Module) *wire.Model {
	t.Helper()
	b, err := Export(m)
	if err != nil {
		t.Fatal(err)
	}
	model, err := wire.Decode(b, wire.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if err := wire.Check(model); err != nil {
		t.Fatal(err)
	}
	return model
}

// What is exported and imported again computes the same.
func TestExportKeepsMeaning(t *testing.T) {
	x := tensor.Of([]float32{1, -2, 3, -4, 5, -6}, 3, 2)
	yes := tensor.Scalar(true)
	for name, src := range map[string]string{
		"operators": `
			const @two: [] f32 = {2}
			func @main(%x: [n, 2] f32, %c: [] bool) -> ("y/1": [n, 2] f32, "sum": [] f32) {
				%a: [n, 2] f32 = onnx.Mul(%x, @two) @ "same name"
				%b: [n, 2] f32 = onnx.Relu(%a) @ "same name"
				%s: [] f32 = onnx.ReduceSum(%b) {keepdims = 0}
				return %b, %s
			}`,
		"results that no node makes": `
			const @k: [2] i64 = {7, 8}
			func @main(%x: [n, 2] f32, %c: [] bool) -> ("x": [n, 2] f32, "x again": [n, 2] f32, "k": [2] i64) {
				return %x, %x, @k
			}`,
		"region": `
			func @main(%x: [n, 2] f32, %c: [] bool) -> ("y": [n, 2] f32) {
				%y: [n, 2] f32 = onnx.If(%c) { ()
					%n: [n, 2] f32 = onnx.Neg(%x)
					yield %n
				} { ()
					yield %x
				}
				return %y
			}`,
		"sequence": `
			func @main(%x: [n, 2] f32, %c: [] bool) -> ("s": seq([n, 2] f32)) {
				%s: seq([n, 2] f32) = onnx.SequenceConstruct(%x, %x)
				return %s
			}`,
		"dims": `
			program @shape[n]() -> (S: [2] i64) {
				S[i < 2] = select((i == 0), {2*n // 3}, {n % 2 + 5})
			}
			func @main(%x: [n, 2] f32, %c: [] bool) -> ("s": [2] i64) {
				%s: [2] i64 = call @shape[n]()
				return %s
			}`,
		"match_cast": `
			func @main(%x: [n, 2] f32, %c: [] bool) -> ("y": [3, 2] f32) {
				%y: [3, 2] f32 = match_cast(%x)
				return %y
			}`,
	} {
		t.Run(name, func(t *testing.T) {
			m := parse(t, src)
			want, err := interp.Run(t.Context(), m, []tensor.Value{x, yes}, interp.Options{})
			if err != nil {
				t.Fatal(err)
			}
			model := exported(t, m)
			f, err := wire.FromBytes("m.onnx", wire.Encode(model), wire.Limits{})
			if err != nil {
				t.Fatal(err)
			}
			again, _, err := Import(f)
			if err != nil {
				t.Fatal(err)
			}
			got, err := interp.Run(t.Context(), again, []tensor.Value{x, yes}, interp.Options{})
			if err != nil {
				t.Fatal(err)
			}
			for i := range want {
				if again.Main().ResultName(i) != m.Main().ResultName(i) {
					t.Errorf("result %d is %q, it was %q", i, again.Main().ResultName(i), m.Main().ResultName(i))
				}
				if err := tensor.Compare(got[i], want[i], tensor.Tolerance{}); err != nil {
					t.Errorf("result %d: %v", i, err)
				}
			}
		})
	}
}

// What ONNX has no words for is an error that names the place.
func TestExportRefuses(t *testing.T) {
	for name, c := range map[string]struct{ src, want string }{
		"program": {`
			program @double[n](X: [n] f32) -> (Y: [n] f32) {
				Y[i < n] = (X[i] + X[i])
			}
			func @main(%x: [n] f32) -> ([n] f32) {
				%y: [n] f32 = call @double[n](%x) @ "twice"
				return %y
			}`, `node "twice" (call @double): ONNX can not say call @double; write ONNX earlier`},
		"machine": {`
			func @main(%x: [n] f32) -> ([n] f32) {
				%y: [n] f32 = onnx.Neg(%x)
				vm.release(%x)
				return %y
			}`, "ONNX can not say vm.release"},
		"storage": {`
			func @main(%x: storage) -> (storage) {
				return %x
			}`, `"x" has type storage, which ONNX does not have`},
		"unknown": {`
			func @main(%x: [n] f32) -> ([*] ?) {
				%y: [*] ? = unknown 3 "com.acme.Foo"(%x)
				return %y
			}`, "unsupported operator com.acme.Foo, version 3"},
		"no main": {``, "no function @main"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Export(parse(t, c.src))
			if diag.CodeOf(err) != diag.Unsupported || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want %q", err, c.want)
			}
		})
	}
}

// Range takes scalars: a constant of one element and rank 1 is written as one.
func TestExportScalars(t *testing.T) {
	model := exported(t, parse(t, `
		const @from: [] i64 = {0}
		const @to: [1] i64 = {5}
		func @main() -> ([5] i64, [1] i64) {
			%r: [5] i64 = onnx.Range(@from, @to, @to)
			return %r, @to
		}`))
	shapes := map[string]int{}
	for _, x := range model.Graph.Initializers {
		shapes[x.Name] = len(x.Dims)
	}
	for _, name := range model.Graph.Nodes[0].Inputs {
		if rank, ok := shapes[name]; !ok || rank != 0 {
			t.Errorf("operand %q has rank %d", name, rank)
		}
	}
}

// An output is declared as the model it comes from declares it, where that is another kind.
func TestExportOutputKind(t *testing.T) {
	m := parse(t, `
		func @main(%x: optional(seq([*] f32))) -> (optional(seq([*] f32))) {
			return %x
		}`)
	m.Meta.Outputs = []ir.Type{ir.SequenceType{Elem: ir.UnrankedOf(tensor.F32)}}
	if o := exported(t, m).Graph.Outputs[0]; o.Type.Sequence == nil {
		t.Errorf("the output is declared as %+v", o.Type)
	}
}

// The operator set is one that has the element types and the forms of operators.
func TestExportOperatorSet(t *testing.T) {
	for src, want := range map[string]int64{
		`func @main(%x: [n] f32) -> ([n] f32) { %y: [n] f32 = onnx.Neg(%x) return %y }`:               13,
		`func @main(%x: [n] f32) -> ([n] f32) { %y: [n] f32 = onnx.Gelu(%x) return %y }`:              20,
		`func @main(%x: [n] f8e5m2) -> ([n] f8e5m2) { %y: [n] f8e5m2 = onnx.Identity(%x) return %y }`: 19,
		`func @main(%x: [n] u4) -> ([n] u4) { %y: [n] u4 = onnx.Identity(%x) return %y }`:             21,
		`func @main(%x: [n] i2) -> ([n] i2) { %y: [n] i2 = onnx.Identity(%x) return %y }`:             25,
	} {
		model := exported(t, parse(t, src))
		if got := model.OpsetImport[0]; got.Domain != "" || got.Version != want {
			t.Errorf("%s\nhas operator set %q %d, want %d", src, got.Domain, got.Version, want)
		}
	}
}

// Large weights go into a file beside the model, at pages; small ones stay.
func TestExternalData(t *testing.T) {
	big := make([]float32, 1500)
	for i := range big {
		big[i] = float32(i)
	}
	m := parse(t, `
		const @small: [2] f32 = {1, 2}
		func @main() -> ([2] f32) {
			return @small
		}`)
	for _, name := range []string{"a", "b"} {
		c := &ir.Const{Name: name, Tensor: tensor.Of(big)}
		m.Consts = append(m.Consts, c)
		v := &ir.Value{Name: name, Type: ir.TypeOf(c.Tensor), Const: c}
		m.Main().Results, m.Main().ResultNames = append(m.Main().Results, v), append(m.Main().ResultNames, "out_"+name)
	}
	x, model, err := export(m)
	if err != nil {
		t.Fatal(err)
	}
	var data bytes.Buffer
	if err := x.external(&data, "m.data"); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "m.onnx")
	for name, b := range map[string][]byte{path: wire.Encode(model), filepath.Join(dir, "m.data"): data.Bytes()} {
		if err := os.WriteFile(name, b, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	f, err := wire.Open(path, wire.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	outside := 0
	for _, w := range f.Model.Graph.Initializers {
		got, err := w.Tensor(f)
		if err != nil {
			t.Fatal(err)
		}
		if w.DataLocation == 0 {
			continue
		}
		outside++
		_, offset, ok := f.Source(got.Bytes())
		if err := tensor.Compare(got, tensor.Of(big), tensor.Tolerance{}); err != nil || !ok || offset%pageSize != 0 {
			t.Errorf("%s at byte %d (%v): %v", w.Name, offset, ok, err)
		}
	}
	if outside != 2 {
		t.Errorf("%d tensors lie outside, want 2", outside)
	}
}
