package pitopt_test

import (
	"context"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/pitopt/pitopt"
	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/frontend/onnx/wire"
)

// info declares an input or output: a dim is a name or a number.
func info(name string, d tensor.DType, dims ...any) *wire.ValueInfo {
	shape := &wire.Shape{}
	for _, dim := range dims {
		if n, ok := dim.(int); ok {
			shape.Dims = append(shape.Dims, &wire.Dim{HasValue: true, Value: int64(n)})
		} else {
			shape.Dims = append(shape.Dims, &wire.Dim{Param: dim.(string)})
		}
	}
	return &wire.ValueInfo{Name: name, Type: &wire.Type{Tensor: &wire.TensorType{ElemType: d.ONNX(), Shape: shape}}}
}

func node(op, output string, inputs ...string) *wire.Node {
	return &wire.Node{Name: output, OpType: op, Inputs: inputs, Outputs: []string{output}}
}

func encode(g *wire.Graph) []byte {
	g.Name = "test"
	return wire.Encode(&wire.Model{IRVersion: 10, OpsetImport: []*wire.OperatorSet{{Version: 21}}, Graph: g})
}

// scaled is y = x * w + b, where x and b are [n, 3].
func scaled() []byte {
	return encode(&wire.Graph{
		Nodes:        []*wire.Node{node("Mul", "xw", "x", "w"), node("Add", "y", "xw", "b")},
		Inputs:       []*wire.ValueInfo{info("x", tensor.F32, "n", 3), info("b", tensor.F32, "n", 3)},
		Outputs:      []*wire.ValueInfo{info("y", tensor.F32, "n", 3)},
		Initializers: []*wire.Tensor{wire.NewTensor("w", tensor.Of([]float32{1, 10, 100}))},
	})
}

// same gives out what went in, in other order, and what it is made of.
func same() []byte {
	return encode(&wire.Graph{
		Nodes:  []*wire.Node{node("Identity", "copy", "x"), node("Reshape", "column", "w", "shape"), node("Identity", "words2", "words")},
		Inputs: []*wire.ValueInfo{info("x", tensor.F32, "n"), info("z", tensor.F32, "n")},
		Outputs: []*wire.ValueInfo{info("z", tensor.F32, "n"), info("x", tensor.F32, "n"), info("copy", tensor.F32, "n"),
			info("w", tensor.F32, 1000), info("column", tensor.F32, 1000, 1), info("words2", tensor.String, 1)},
		Initializers: []*wire.Tensor{wire.NewTensor("w", rising(1000)), wire.NewTensor("shape", tensor.Of([]int64{1000, 1})),
			wire.NewTensor("words", tensor.Of([]string{"word"}))},
	})
}

func rising(shape ...int64) *tensor.Tensor {
	x := tensor.New(tensor.F32, shape...)
	for i := range x.Len() {
		x.SetInt(i, i)
	}
	return x
}

// load loads a model from memory for each target.
func load(t *testing.T, data []byte, opts ...pitopt.Option) map[string]*pitopt.Model {
	t.Helper()
	out := map[string]*pitopt.Model{}
	for _, target := range []string{"cpu", "interp"} {
		m, err := pitopt.LoadBytes("test.onnx", data, append(opts, pitopt.Target(target))...)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := m.Close(); err != nil {
				t.Error(err)
			}
		})
		out[target] = m
	}
	return out
}

func equal(t *testing.T, got, want tensor.Value) {
	t.Helper()
	if err := tensor.Compare(got, want, tensor.Tolerance{}); err != nil {
		t.Error(err)
	}
}

// failed checks an error: its code, and words of it.
func failed(t *testing.T, err error, code diag.Code, words string) {
	t.Helper()
	if err == nil || diag.CodeOf(err) != code || !strings.Contains(err.Error(), words) {
		t.Errorf("got %v (code %d), want %q (code %d)", err, diag.CodeOf(err), words, code)
	}
}

type tensors = map[string]*tensor.Tensor

func TestLoadErrors(t *testing.T) {
	_, err := pitopt.Load(filepath.Join(t.TempDir(), "none.onnx"))
	failed(t, err, diag.Usage, "none.onnx: there is no such file")
	_, err = pitopt.LoadBytes("cut.onnx", scaled()[:40])
	failed(t, err, diag.Malformed, "cut.onnx: ")
	unknown := encode(&wire.Graph{Nodes: []*wire.Node{node("Magic", "y", "x")}, Inputs: []*wire.ValueInfo{info("x", tensor.F32, "n")}, Outputs: []*wire.ValueInfo{info("y", tensor.F32, "n")}})
	_, err = pitopt.LoadBytes("magic.onnx", unknown)
	failed(t, err, diag.Unsupported, `magic.onnx: node "y" (Magic): unsupported operator`)
	_, err = pitopt.LoadBytes("test.onnx", scaled(), pitopt.Target("cup"))
	failed(t, err, diag.Usage, `unknown target "cup"; did you mean "cpu"?`)
	_, err = pitopt.LoadBytes("test.onnx", scaled(), pitopt.Target("cuda"))
	failed(t, err, diag.Usage, "-tags cuda")
	_, err = pitopt.LoadBytes("test.onnx", scaled(), pitopt.Pipeline("no.toml"))
	failed(t, err, diag.Pipeline, "no.toml")
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	_, err = pitopt.LoadBytes("test.onnx", scaled(), pitopt.WithContext(ctx))
	failed(t, err, diag.Interrupted, "")
}

func TestRun(t *testing.T) {
	for target, m := range load(t, scaled(), pitopt.Threads(2)) {
		if in, out := m.Inputs(), m.Outputs(); len(in) != 2 || in[0].Name != "x" || in[1].Name != "b" || in[0].Type.String() != "[n, 3] f32" ||
			len(out) != 1 || out[0].Name != "y" || out[0].Type.String() != "[n, 3] f32" || m.TargetName() != target {
			t.Errorf("%s: inputs %v, outputs %v", m.TargetName(), in, out)
		}
		for n := range int64(4) { // one executable, any sizes
			x, b, want := rising(n, 3), rising(n, 3), rising(n, 3)
			for i := range want.Len() {
				want.SetInt(i, i*[]int64{1, 10, 100}[i%3]+i)
			}
			out, err := m.Run(t.Context(), tensors{"x": x, "b": b})
			if err != nil {
				t.Fatal(err)
			}
			equal(t, out["y"], want)
			values, err := m.RunValues(t.Context(), map[string]tensor.Value{"x": x, "b": b})
			if err != nil {
				t.Fatal(err)
			}
			equal(t, values["y"], want)
			y := tensor.New(tensor.F32, n, 3)
			if err := m.RunInto(t.Context(), tensors{"x": x, "b": b}, tensors{"y": y}); err != nil {
				t.Fatal(err)
			}
			equal(t, y, want)
			if err := m.RunInto(t.Context(), tensors{"x": x, "b": b}, tensors{"y": b}); err != nil { // b = x * w + b
				t.Fatal(err)
			}
			equal(t, b, want)
		}
	}
}

func TestRunErrors(t *testing.T) {
	for _, m := range load(t, scaled()) {
		x, b, y := rising(2, 3), rising(2, 3), rising(2, 3)
		for _, c := range []struct {
			in    tensors
			words string
		}{
			{tensors{"x": x}, `test.onnx: input "b" is missing; its type is [n, 3] f32`},
			{tensors{"x": x, "b": nil}, `input "b" is missing`},
			{tensors{"x": x, "b": b, "xx": b}, `there is no input "xx"; there are "x" and "b"`},
			{tensors{"x": x, "b": rising(3, 3)}, `dim 0 of input "b" is 3 (shape [3 3]), but "n" is 2, bound by dim 0 of input "x"`},
			{tensors{"x": x, "b": rising(2, 4)}, `dim 1 of input "b" is 4 (shape [2 4]), the model fixes it at 3`},
			{tensors{"x": rising(2), "b": b}, `input "x" has shape [2], of rank 1; its type is [n, 3] f32, of rank 2`},
			{tensors{"x": tensor.New(tensor.F64, 2, 3), "b": b}, `input "x" has element type f64, its type is [n, 3] f32`},
		} {
			_, err := m.Run(t.Context(), c.in)
			failed(t, err, diag.Run, c.words)
			failed(t, m.RunInto(t.Context(), c.in, tensors{"y": y}), diag.Run, c.words)
		}
		in := tensors{"x": x, "b": b}
		failed(t, m.RunInto(t.Context(), in, tensors{}), diag.Run, `test.onnx: output "y" is missing; its type is [n, 3] f32`)
		failed(t, m.RunInto(t.Context(), in, tensors{"y": y, "z": y}), diag.Run, `there is no output "z"`)
		failed(t, m.RunInto(t.Context(), in, tensors{"y": rising(3, 3)}), diag.Run, `test.onnx: output "y" is [2, 3] f32, the tensor given for it is [3, 3] f32`)
		_, err := m.RunValues(t.Context(), map[string]tensor.Value{"x": (*tensor.Sequence)(nil), "b": b})
		failed(t, err, diag.Run, `input "x" is missing`)
		_, err = m.RunValues(t.Context(), map[string]tensor.Value{"x": &tensor.Sequence{}, "b": b})
		failed(t, err, diag.Run, `input "x" is no tensor`)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err = m.Run(ctx, in)
		failed(t, err, diag.Interrupted, "the run was stopped")
		if out, err := m.Run(t.Context(), in); err != nil || out["y"] == nil {
			t.Error(err)
		}
	}
}

func TestMemory(t *testing.T) {
	for _, m := range load(t, scaled(), pitopt.Memory(1000)) {
		if _, err := m.Run(t.Context(), tensors{"x": rising(2, 3), "b": rising(2, 3)}); err != nil {
			t.Error(err)
		}
		_, err := m.Run(t.Context(), tensors{"x": rising(200, 3), "b": rising(200, 3)})
		failed(t, err, diag.Run, "the run needs more than its budget of 1000 bytes: 0 are in use, 2400 more are needed; raise `memory`")
	}
}

// Results are the caller's alone: they outlive the model, whose file is not mapped any
// more then, and writing to them changes nothing else.
func TestResultsOutliveTheModel(t *testing.T) {
	path := filepath.Join(t.TempDir(), "same.onnx")
	if err := os.WriteFile(path, same(), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{"cpu", "interp"} {
		m, err := pitopt.Load(path, pitopt.Target(target))
		if err != nil {
			t.Fatal(err)
		}
		x, z := rising(2), rising(2)
		var out tensors
		for range 2 {
			if out, err = m.Run(t.Context(), tensors{"x": x, "z": z}); err != nil {
				t.Fatal(err)
			}
			equal(t, out["w"], rising(1000))
			for _, name := range []string{"w", "x", "z"} {
				out[name].SetInt(1, -1)
			}
			equal(t, out["copy"], rising(2))
			equal(t, out["column"], rising(1000, 1))
			out["column"].SetInt(1, -1)
			out["words2"].SetStr(0, "changed")
		}
		equal(t, x, rising(2))
		equal(t, z, rising(2))
		if out, err = m.Run(t.Context(), tensors{"x": x, "z": z}); err != nil {
			t.Fatal(err)
		}
		for range 2 { // it may be closed again
			if err := m.Close(); err != nil {
				t.Error(err)
			}
		}
		wants := tensors{"x": rising(2), "z": rising(2), "copy": rising(2), "w": rising(1000), "column": rising(1000, 1), "words2": tensor.Of([]string{"word"})}
		for name, want := range wants {
			equal(t, out[name], want)
		}
		_, err = m.Run(t.Context(), tensors{"x": x, "z": z})
		failed(t, err, diag.Run, "the model is closed")
		failed(t, m.RunInto(t.Context(), tensors{"x": x, "z": z}, out), diag.Run, "the model is closed")
	}
}

// An input may be given the memory of an output, and the other way round.
func TestRunIntoItsInputs(t *testing.T) {
	for _, m := range load(t, same()) {
		x, z := tensor.Of([]float32{1, 2}), tensor.Of([]float32{3, 4})
		w, column, copied := rising(1000), rising(1000, 1), rising(2)
		out := tensors{"z": x, "x": z, "copy": copied, "w": w, "column": column, "words2": tensor.New(tensor.String, 1)}
		if err := m.RunInto(t.Context(), tensors{"x": x, "z": z}, out); err != nil {
			t.Fatal(err)
		}
		equal(t, x, tensor.Of([]float32{3, 4}))
		equal(t, z, tensor.Of([]float32{1, 2}))
		equal(t, copied, tensor.Of([]float32{1, 2}))
	}
}

// Runs at the same time do not disturb each other, and Close waits for them.
func TestConcurrentRuns(t *testing.T) {
	path := filepath.Join(t.TempDir(), "scaled.onnx")
	if err := os.WriteFile(path, scaled(), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := pitopt.Load(path)
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	for i := range int64(8) {
		all.Go(func() {
			for n := range int64(50) {
				x := rising(n*i%17, 3)
				out, err := m.Run(context.Background(), tensors{"x": x, "b": x})
				if err != nil {
					if !strings.Contains(err.Error(), "the model is closed") {
						t.Error(err)
					}
					return
				}
				for j := range x.Len() {
					if want := float64(j * ([]int64{1, 10, 100}[j%3] + 1)); out["y"].Float(j) != want {
						t.Errorf("element %d is %g, want %g", j, out["y"].Float(j), want)
						return
					}
				}
				if i == 7 && n == 40 {
					if err := m.Close(); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	all.Wait()
}

// pipeline is the default pipeline with more said.
func pipeline(t *testing.T, s string) pitopt.Option {
	t.Helper()
	path := filepath.Join(t.TempDir(), "pipeline.toml")
	if err := os.WriteFile(path, []byte("version = 1\nextends = \"default\"\n"+s), 0o600); err != nil {
		t.Fatal(err)
	}
	return pitopt.Pipeline(path)
}

// What the pipeline says of symbols and values holds, or the run says what does not.
func TestKnowledge(t *testing.T) {
	data := encode(&wire.Graph{
		Nodes:        []*wire.Node{node("NonZero", "at", "x"), node("Reshape", "flat", "x", "all"), node("Relu", "y", "flat")},
		Inputs:       []*wire.ValueInfo{info("x", tensor.F32, "n", "m")},
		Outputs:      []*wire.ValueInfo{info("y", tensor.F32, "k"), info("at", tensor.I64, 2, "nz")},
		Initializers: []*wire.Tensor{wire.NewTensor("all", tensor.Of([]int64{-1}))},
	})
	known := pipeline(t, `
[dims]
n = { min = 1, max = 4 }
m = { multiple = 2 }
[[match]]
value = "at"
type = "[2, n] i64"
[[match]]
value = "flat"
type = "[2*half] f32"
`)
	for _, m := range load(t, data, known) {
		if got := m.Outputs()[1]; got.Name != "at" || got.Type.String() != "[2, n] i64" {
			t.Errorf("got %v", got)
		}
		out, err := m.Run(t.Context(), tensors{"x": tensor.Of([]float32{1, 0, 0, -2}, 2, 2)})
		if err != nil {
			t.Fatal(err)
		}
		equal(t, out["y"], tensor.Of([]float32{1, 0, 0, 0}))
		equal(t, out["at"], tensor.Of([]int64{0, 1, 0, 1}, 2, 2))
		for _, c := range []struct {
			x     *tensor.Tensor
			words string
		}{
			{rising(0, 2), `"n" is 0, bound by dim 0 of input "x", but it must be in [1, 4]`},
			{rising(5, 2), `"n" is 5, bound by dim 0 of input "x", but it must be in [1, 4]`},
			{rising(1, 3), `"m" is 3, bound by dim 1 of input "x", but it must be a multiple of 2`},
			{rising(2, 2), `test.onnx: node "at" (match_cast): dim 1 of result 0 of "at" is 3 (shape [2 3]), but "n" is 2, bound by dim 0 of input "x"`},
		} {
			_, err := m.Run(t.Context(), tensors{"x": c.x})
			failed(t, err, diag.Run, c.words)
		}
	}
	for _, c := range []struct{ text, words string }{
		{"[dims]\nnn = { max = 3 }\n", `[dims] speaks of "nn", which is no symbol of the model's inputs; there are "m" and "n"`},
		{"[dims]\nn = { min = 3, max = 2 }\n", "pipeline.toml"},
		{"[[match]]\nvalue = \"flot\"\ntype = \"[k] f32\"\n", `there is no value "flot"; did you mean "flat"?`},
		{"[[match]]\nvalue = \"flat\"\ntype = \"[k] f33\"\n", "f33"},
	} {
		_, err := pitopt.LoadBytes("test.onnx", data, pipeline(t, c.text))
		failed(t, err, diag.Pipeline, c.words)
	}
	// What can not be is found when the model is compiled.
	_, err := pitopt.LoadBytes("test.onnx", data, pipeline(t, "[[match]]\nvalue = \"flat\"\ntype = \"[k] i64\"\n"))
	failed(t, err, diag.Verifier, "f32 can not be [k] i64")
}

// encoder is the example, with inputs and outputs for RunInto.
func encoder(t testing.TB, opts ...pitopt.Option) (m *pitopt.Model, in, out tensors) {
	t.Helper()
	m, err := pitopt.Load("examples/encoder/model.onnx", opts...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = m.Close() })
	mask := tensor.New(tensor.I64, 2, 8)
	for i := range mask.Len() {
		mask.SetInt(i, 1)
	}
	return m, tensors{"input_ids": tensor.New(tensor.I64, 2, 8), "attention_mask": mask}, tensors{"embedding": tensor.New(tensor.F32, 2, 64)}
}

// A run with sizes that were there before compiles nothing: it takes little from Go beside
// the headers of tensors, a few for each statement.
func TestRunIntoAgain(t *testing.T) {
	m, in, out := encoder(t, pitopt.Threads(1))
	n := testing.AllocsPerRun(20, func() {
		if err := m.RunInto(t.Context(), in, out); err != nil {
			t.Fatal(err)
		}
	})
	if stmts := len(m.Module().Main().Stmts); n > float64(6*stmts) {
		t.Errorf("%v allocations for %d statements", n, stmts)
	}
}

// sized is an input of the example, with a ragged mask.
func sized(batch, seq int64, seed uint64) tensors {
	r := rand.New(rand.NewPCG(seed, uint64(batch<<20|seq)))
	ids, mask := tensor.New(tensor.I64, batch, seq), tensor.New(tensor.I64, batch, seq)
	for i := range ids.Len() {
		ids.SetInt(i, r.Int64N(100))
		if i%seq <= r.Int64N(seq) {
			mask.SetInt(i, 1)
		}
	}
	return tensors{"input_ids": ids, "attention_mask": mask}
}

// One model takes 200 sizes in a row, and callers at the same time: all get what the
// reference gives, and the same bits as one caller by himself.
func TestManySizes(t *testing.T) {
	m, _, _ := encoder(t)
	reference, _, _ := encoder(t, pitopt.Target("interp"))
	sizes := 200
	if testing.Short() {
		sizes = 20
	}
	r := rand.New(rand.NewPCG(4, 200))
	in, alone := make([]tensors, sizes), make([]*tensor.Tensor, sizes)
	for i := range sizes {
		in[i] = sized(1+r.Int64N(4), 1+r.Int64N(40), uint64(i))
		got, err := m.Run(t.Context(), in[i])
		if err != nil {
			t.Fatal(err)
		}
		alone[i] = got["embedding"]
		if i%8 == 0 {
			want, err := reference.Run(t.Context(), in[i])
			if err != nil {
				t.Fatal(err)
			}
			if err := tensor.Compare(alone[i], want["embedding"], tensor.DefaultTolerance(tensor.F32)); err != nil {
				t.Errorf("sizes %v: %v", in[i]["input_ids"].Shape(), err)
			}
		}
	}
	var callers sync.WaitGroup
	for caller := range 8 {
		callers.Go(func() {
			for k := range sizes / 4 {
				i := (k*7 + caller*sizes/8) % sizes
				got, err := m.Run(t.Context(), in[i])
				if err != nil {
					t.Error(err)
					return
				}
				if !tensor.Equal(got["embedding"], alone[i]) {
					t.Errorf("caller %d, sizes %v: other bits than alone", caller, in[i]["input_ids"].Shape())
				}
			}
		})
	}
	callers.Wait()
}

// BenchmarkRunInto tells what a run of the example takes from Go.
func BenchmarkRunInto(b *testing.B) {
	m, in, out := encoder(b)
	b.ReportAllocs()
	for b.Loop() {
		if err := m.RunInto(b.Context(), in, out); err != nil {
			b.Fatal(err)
		}
	}
}
