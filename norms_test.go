package pitopt_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pitopt/pitopt"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

// finitelyMasked has attentions of two heads, of which a number far from 0 hides padding as models before 2022 do it.
const finitelyMasked = `module {
  const @table: [4, 4] f32 = {0, 4, 1, 1, 2, -1, 3, 0.5, -2, 1, 0, 1, 1, 3, -1, 2}
  const @gain: [4] f32 = {1, 0.5, 1, 2}
  const @shift: [4] f32 = {0, 1, 0, -1}
  const @wq: [4, 4] f32 = {WQ}
  const @bq: [4] f32 = {1, 0, 0, 0.5}
  const @wk: [4, 4] f32 = {1, 0.5, 0, 0, 0, 1, 0, 0, -1, 0, 1, 0, 0, 1, 0, 1}
  const @wv: [4, 4] f32 = {1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1}
  const @one: [] f32 = {1}
  const @low: [] f32 = {MASK}
  const @scale: [] f32 = {0.70703125}
  const @ax: [2] i64 = {1, 2}
  const @first: [] i64 = {0}
  func @main(%ids: [batch, seq] i64, %mask: [batch, seq] i64) -> ("y": [batch, 4] f32) {
    %x: [batch, seq, 4] f32 = onnx.Gather(@table, %ids)
    %n: [batch, seq, 4] f32 = onnx.LayerNormalization(%x, @gain, @shift)
    %q1: [batch, seq, 4] f32 = onnx.MatMul(%n, @wq)
    %q2: [batch, seq, 4] f32 = onnx.Add(%q1, @bq)
    %q3: [batch, seq, 2, 2] f32 = vm.view(%q2) {type = type [batch, seq, 2, 2] f32}
    %q: [batch, 2, seq, 2] f32 = onnx.Transpose(%q3) {perm = [0, 2, 1, 3]}
    %k1: [batch, seq, 4] f32 = onnx.MatMul(%n, @wk)
    %k3: [batch, seq, 2, 2] f32 = vm.view(%k1) {type = type [batch, seq, 2, 2] f32}
    %k: [batch, 2, 2, seq] f32 = onnx.Transpose(%k3) {perm = [0, 2, 3, 1]}
    %v1: [batch, seq, 4] f32 = onnx.MatMul(%n, @wv)
    %v3: [batch, seq, 2, 2] f32 = vm.view(%v1) {type = type [batch, seq, 2, 2] f32}
    %v: [batch, 2, seq, 2] f32 = onnx.Transpose(%v3) {perm = [0, 2, 1, 3]}
    %m: [batch, seq] f32 = onnx.Cast(%mask) {to = TO}
    %m4: [batch, 1, 1, seq] f32 = onnx.Unsqueeze(%m, @ax)
    %away: [batch, 1, 1, seq] f32 = onnx.Sub(@one, %m4)
    %add: [batch, 1, 1, seq] f32 = onnx.Mul(%away, @low)
    %s: [batch, 2, seq, seq] f32 = onnx.MatMul(%q, %k)
    %scaled: [batch, 2, seq, seq] f32 = onnx.Mul(%s, @scale)
    %masked: [batch, 2, seq, seq] f32 = onnx.Add(%scaled, %add)
    %p: [batch, 2, seq, seq] f32 = onnx.Softmax(%masked)
    %a: [batch, 2, seq, 2] f32 = onnx.MatMul(%p, %v)
    %q4: [batch, 2, 2, seq] f32 = onnx.Transpose(%q3) {perm = [0, 2, 3, 1]}
    %k4: [batch, 2, seq, 2] f32 = onnx.Transpose(%k3) {perm = [0, 2, 1, 3]}
    %s2: [batch, 2, seq, seq] f32 = onnx.MatMul(%k4, %q4)
    %scaled2: [batch, 2, seq, seq] f32 = onnx.Mul(%s2, @scale)
    %masked2: [batch, 2, seq, seq] f32 = onnx.Add(%scaled2, %add)
    %p2: [batch, 2, seq, seq] f32 = onnx.Softmax(%masked2)
    %b: [batch, 2, seq, 2] f32 = onnx.MatMul(%p2, %v)
    %ab: [batch, 2, seq, 2] f32 = onnx.Add(%a, %b)
    %a1: [batch, seq, 2, 2] f32 = onnx.Transpose(%ab) {perm = [0, 2, 1, 3]}
    %a2: [batch, seq, 4] f32 = vm.view(%a1) {type = type [batch, seq, 4] f32}
    %h: [batch, seq, 4] f32 = onnx.Add(%a2, %n)
    %y: [batch, 4] f32 = onnx.Gather(%h, @first) {axis = 1}
    return %y
  }
}
`

// TestRemovePaddingByNorms: that a finite number hides tokens of padding is known of small weights as they are, of others by their
// norms, which the first run with padding looks at. Where these are too large, tokens of padding count, and are computed.
func TestRemovePaddingByNorms(t *testing.T) {
	const (
		plain = "1, 0, 0.5, 0, 0, 1, 0, -0.5, 1, 0, 1, 0, 0, 1, 0, 1"
		large = "30, 0, 0.5, 0, 0, 30, 0, -0.5, 1, 0, 20, 0, 0, 1, 0, 10"
		huge  = "-1e5, 0, 0.5, 0, 0, -1e5, 0, -0.5, 1, 0, -1e5, 0, 0, 1, 0, -1e5"
	)
	for name, c := range map[string]struct {
		low, wq, d   string
		norms, packs bool
	}{
		"small":           {"-10000", plain, "f32", false, true},
		"by norms":        {"-10000", large, "f32", true, true},
		"far away":        {"-1e9", huge, "f32", false, true},
		"too large":       {"-10000", huge, "f32", true, false},
		"near":            {"-10", plain, "f32", false, false},
		"NaN":             {"-10000", strings.Replace(large, "30", "nan", 1), "f32", false, false},
		"infinite":        {"-10000", strings.Replace(large, "30", "inf", 1), "f32", false, false},
		"f16":             {"-10000", plain, "f16", false, true},
		"f16 by norms":    {"-10000", large, "f16", true, true},
		"f16, the lowest": {"-65504", large, "f16", false, true},
		"f16, near":       {"-10", plain, "f16", false, false},
	} {
		t.Run(name, func(t *testing.T) {
			src := strings.NewReplacer("MASK", c.low, "WQ", c.wq, "f32", c.d, "TO", map[string]string{"f32": "1", "f16": "10"}[c.d]).Replace(finitelyMasked)
			packed := false
			m := parsed(t, src, pipelineOf(t, unpadded), pitopt.Trace(func(s *ir.Stmt, _ []tensor.Value) { packed = packed || s.OpName() == "onnx.NonZero" }))
			dense := parsed(t, src, pipelineOf(t, padded))
			norms := false
			m.Module().Main().Walk(func(s *ir.Stmt) { norms = norms || s.OpName() == "pit.Norm" })
			if norms != c.norms {
				t.Errorf("norms are looked at: %v, want %v", norms, c.norms)
			}
			rng := rand.New(rand.NewPCG(5, 6))
			for title, rows := range batches {
				in := map[string]*tensor.Tensor{"ids": tensor.New(tensor.I64, int64(len(rows)), 12), "mask": tensor.New(tensor.I64, int64(len(rows)), 12)}
				for i := range in["ids"].Len() {
					in["ids"].SetInt(i, rng.Int64N(4))
					in["mask"].SetInt(i, int64(rows[i/12][i%12]-'0'))
				}
				packed = false
				got, err := m.Run(context.Background(), in)
				if err != nil {
					t.Fatal(err)
				}
				may := title == "prefixes" || title == "one sequence" || title == "empty" // each sequence begins with a token
				if packed != (c.packs && may) {
					t.Errorf("%s: padding is left out: %v, want %v", title, packed, c.packs && may)
				}
				want, err := dense.Run(context.Background(), in)
				if err != nil {
					t.Fatal(err)
				}
				if err := tensor.Compare(got["y"], want["y"], tensor.Tolerance{ATol: 1e-4, RTol: map[string]float64{"f32": 1e-4, "f16": 1e-2}[c.d]}); err != nil {
					t.Errorf("%s: %v", title, err)
				}
			}
		})
	}
}

// TestRemovePaddingOfWholeWeights: pit.Norm reads no integers. What they make of a vector is bounded by how large they are.
func TestRemovePaddingOfWholeWeights(t *testing.T) {
	const matrix = "30, 0, 0.5, 0, 0, 30, 0, -0.5, 1, 0, 20, 0, 0, 1, 0, 10"
	for name, by := range map[string][4]string{
		"matrix": {"@wq: [4, 4] f32 = {" + matrix, "@wq: [4, 4] i8 = {" + strings.ReplaceAll(matrix, "0.5", "1"), "call @whole[batch, seq](%n, @wq)",
			"W: [4, 4] i8) -> (Y: [batch, seq, 4] f32) {\n    Y[i < batch, j < seq, k < 4] = sum(l < 4) (X[i, j, l] * f32(W[l, k]))"},
		"gain": {"const @wq", "const @g: [4] i8 = {1, 2, 3, 4}\n  const @wq", "onnx.MatMul(%g, @wq)",
			"W: [4] i8) -> (Y: [batch, seq, 4] f32) {\n    Y[i < batch, j < seq, k < 4] = (X[i, j, k] * f32(W[k]))"},
	} {
		t.Run(name, func(t *testing.T) {
			src := strings.NewReplacer("MASK", "-10000", "WQ", matrix, "TO", "1").Replace(finitelyMasked)
			src = strings.NewReplacer(by[0], by[1], "onnx.MatMul(%n, @wq)", by[2]).Replace(src)
			if name == "gain" {
				src = strings.Replace(src, "    %q1:", "    %g: [batch, seq, 4] f32 = call @whole[batch, seq](%n, @g)\n    %q1:", 1)
			}
			src = strings.TrimSuffix(src, "}\n") + "  program @whole[batch, seq](X: [batch, seq, 4] f32, " + by[3] + "\n  }\n}\n"
			packed := false
			m := parsed(t, src, pipelineOf(t, unpadded), pitopt.Trace(func(s *ir.Stmt, _ []tensor.Value) { packed = packed || s.OpName() == "onnx.NonZero" }))
			in := map[string]*tensor.Tensor{"ids": tensor.Of([]int64{1, 2, 3, 0, 2, 1, 0, 3}, 2, 4), "mask": tensor.Of([]int64{1, 1, 1, 0, 1, 0, 0, 0}, 2, 4)}
			got, err := m.Run(context.Background(), in)
			if err != nil {
				t.Fatal(err)
			}
			want, err := parsed(t, src, pipelineOf(t, padded)).Run(context.Background(), in)
			if err != nil {
				t.Fatal(err)
			}
			if err := tensor.Compare(got["y"], want["y"], tensor.Tolerance{ATol: 1e-4, RTol: 1e-4}); err != nil || !packed {
				t.Errorf("padding is left out: %v, %v", packed, err)
			}
		})
	}
}

// TestRemovePaddingOfHalves: an element of a token of padding that may be too large for f16 is NaN times zero. By norms it is known
// not to be, and where it is not, all are computed.
func TestRemovePaddingOfHalves(t *testing.T) {
	for _, c := range []struct {
		weight       float64
		norms, packs bool
	}{{100, false, true}, {1100, true, true}, {4000, true, false}, {60000, true, false}, {math.NaN(), false, false}} {
		rng := rand.New(rand.NewPCG(9, 10))
		list := func(n int, f func() float64) string {
			var out []string
			for range n {
				out = append(out, fmt.Sprint(f()))
			}
			return strings.ToLower(strings.Join(out, ", "))
		}
		m := fmt.Sprintf(`module {
  const @table: [4, 16] f16 = {%s}
  const @gain: [16] f16 = {%s}
  const @w: [16, 16] f16 = {%s}
  func @main(%%ids: [batch, seq] i64, %%mask: [batch, seq] i64) -> ("y": [batch, 16] f16) {
    %%x: [batch, seq, 16] f16 = onnx.Gather(@table, %%ids)
    %%n: [batch, seq, 16] f16 = onnx.LayerNormalization(%%x, @gain)
    %%h: [batch, seq, 16] f16 = onnx.MatMul(%%n, @w)
    %%m: [batch, seq] f16 = onnx.Cast(%%mask) {to = 10}
    %%m3: [batch, seq, 1] f16 = vm.view(%%m) {type = type [batch, seq, 1] f16}
    %%kept: [batch, seq, 16] f16 = onnx.Mul(%%h, %%m3)
    %%y: [batch, 16] f16 = call @pool[batch, seq](%%kept)
    return %%y
  }
  program @pool[batch, seq](X: [batch, seq, 16] f16) -> (Y: [batch, 16] f16) {
    y[i < batch, j < 16] f32 = sum(k < seq) f32(X[i, k, j])
    Y[i < batch, j < 16] = f16((y[i, j] * f32 0.01))
  }
}`, list(64, rng.NormFloat64), list(16, func() float64 { return 1 }), list(256, func() float64 { return c.weight * float64(2*rng.IntN(2)-1) }))
		packed := false
		is := parsed(t, m, pipelineOf(t, unpadded), pitopt.Trace(func(s *ir.Stmt, _ []tensor.Value) { packed = packed || s.OpName() == "onnx.NonZero" }))
		dense := parsed(t, m, pipelineOf(t, padded))
		norms := false
		is.Module().Main().Walk(func(s *ir.Stmt) { norms = norms || s.OpName() == "pit.Norm" })
		if norms != c.norms {
			t.Errorf("weights of %g: norms are looked at: %v, want %v", c.weight, norms, c.norms)
		}
		in := map[string]*tensor.Tensor{"ids": tensor.Of([]int64{1, 2, 3, 0, 2, 1, 0, 3}, 2, 4), "mask": tensor.Of([]int64{0, 1, 1, 0, 1, 0, 0, 0}, 2, 4)}
		got, err := is.Run(context.Background(), in)
		if err != nil {
			t.Fatal(err)
		}
		want, err := dense.Run(context.Background(), in)
		if err != nil {
			t.Fatal(err)
		}
		if packed != c.packs {
			t.Errorf("weights of %g: padding is left out: %v, want %v", c.weight, packed, c.packs)
		}
		if err := tensor.Compare(got["y"], want["y"], tensor.Tolerance{ATol: 1e-2, RTol: 1e-2}); err != nil {
			t.Errorf("weights of %g: %v", c.weight, err)
		}
	}
}

// TestRemovePaddingOfTrainedWeights: the weights of a trained encoder, which nobody has read when it is loaded, are small enough for a mask
// of -10000, and large ones are found out.
func TestRemovePaddingOfTrainedWeights(t *testing.T) {
	dir := os.Getenv("PITOPT_MODELS")
	if dir == "" {
		t.Skip("PITOPT_MODELS names no folder of models")
	}
	data, err := os.ReadFile(filepath.Join(dir, "minilm_l6", "model.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	packed := false
	load := func(pipeline string) *pitopt.Model {
		m, err := pitopt.LoadBytes("minilm_l6.onnx", data, pipelineOf(t, pipeline), pitopt.Threads(2),
			pitopt.Trace(func(s *ir.Stmt, _ []tensor.Value) { packed = packed || s.OpName() == "onnx.NonZero" }))
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	rng := rand.New(rand.NewPCG(7, 8))
	for _, times := range []float32{1, 40} {
		m := load(padded)
		edited := 0
		for _, c := range m.Module().Consts { // over data
			switch f := c.Tensor; {
			case f.DType() == tensor.F32 && f.Len() == 1 && f.Float(0) < -1e38:
				f.SetFloat(0, -10000)
				edited++
			case f.DType() == tensor.F32 && f.Rank() == 2 && f.Shape()[0] == 384 && f.Shape()[1] == 384:
				for i := range f.Len() {
					f.SetFloat(i, f.Float(i)*float64(times))
				}
				edited++
			}
		}
		m.Close()
		if edited < 24 {
			t.Fatalf("%d weights and masks", edited)
		}
		m, dense := load(unpadded), load(padded)
		in := encoderInput(rng, m, batches["prefixes"])
		packed = false
		got, err := m.Run(context.Background(), in)
		if err != nil {
			t.Fatal(err)
		}
		if packed != (times == 1) {
			t.Errorf("weights %g times as large: padding is left out: %v", times, packed)
		}
		want, err := dense.Run(context.Background(), in)
		if err != nil {
			t.Fatal(err)
		}
		for name, w := range want {
			if err := sameRows(got[name], w, in["attention_mask"], false); err != nil {
				t.Errorf("weights %g times as large: %s: %v", times, name, err)
			}
		}
		m.Close()
		dense.Close()
	}
}
