package pitopt_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/pitopt/pitopt"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/passes"
)

const (
	unpadded = "version = 1\nextends = \"default\"\n"
	padded   = unpadded + "[[pass]]\nname = \"remove-padding\"\nremove = true\n"
	declared = unpadded + "[inputs]\nattention_mask = { padding = true }\n"
)

// encoderWith loads a model with a pipeline, on two threads.
func encoderWith(t *testing.T, path, pipeline string, opts ...pitopt.Option) *pitopt.Model {
	t.Helper()
	m, err := pitopt.Load(path, append(opts, pipelineOf(t, pipeline), pitopt.Threads(2))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

func pipelineOf(t *testing.T, text string) pitopt.Option {
	t.Helper()
	f, err := passes.Parse("padding.toml", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return pitopt.WithPipeline(f)
}

// batches are masks of some sequences of 12 positions.
var batches = map[string][]string{
	"prefixes":       {"111100000000", "111111111100", "100000000000", "111111000000"},
	"holes":          {"101100100001", "010000000000", "000111000111", "111111111111"},
	"one token each": {"100000000000", "000000000001", "000010000000", "010000000000"},
	"one sequence":   {"111110000000"},
	"nothing masked": {"111111111111", "111111111111"},
	"all masked":     {"111100000000", "000000000000"},
	"not 0 or 1":     {"112200000000", "111111111100"},
	"empty":          {},
}

// TestRemovePadding holds encoders that compute the tokens of their mask alone against
// themselves as they stand. Where results have rows of padding and the user says that they do not
// matter, they are zero. The mask changes between calls of one model.
func TestRemovePadding(t *testing.T) {
	dir := os.Getenv("PITOPT_MODELS")
	if dir == "" {
		t.Skip("PITOPT_MODELS names no folder of models")
	}
	for name, pipeline := range map[string]string{"minilm_l6": unpadded, "encoder_tiny": declared} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, name, "model.onnx")
			m := encoderWith(t, path, pipeline)
			is := encoderWith(t, path, padded)
			branches := 0
			m.Module().Main().Walk(func(s *ir.Stmt) {
				for _, r := range s.Regions {
					if len(r.Stmts) > 4 { // of what only looks at weights there are fewer
						branches++
					}
				}
			})
			if branches != 2 { // that of the tokens, and that of all
				t.Errorf("%d regions, want 2", branches)
			}
			rng := rand.New(rand.NewPCG(1, 2))
			for title, rows := range batches {
				in := encoderInput(rng, m, rows)
				got, err := m.Run(context.Background(), in)
				if err != nil {
					t.Fatalf("%s: %v", title, err)
				}
				want, err := is.Run(context.Background(), in)
				if err != nil {
					t.Fatalf("%s: %v", title, err)
				}
				for name, w := range want {
					if err := sameRows(got[name], w, in["attention_mask"], pipeline == declared); err != nil {
						t.Errorf("%s: %s: %v", title, name, err)
					}
				}
			}
		})
	}
}

// TestRemovePaddingLooksAtWeights: what no sample of a weight shows is found in a run, and padding is left in where it changes
// results: an infinity in the row of a token that stands in padding alone.
func TestRemovePaddingLooksAtWeights(t *testing.T) {
	dir := os.Getenv("PITOPT_MODELS")
	if dir == "" {
		t.Skip("PITOPT_MODELS names no folder of models")
	}
	data, err := os.ReadFile(filepath.Join(dir, "minilm_l6", "model.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	encoder := func(pipeline string) *pitopt.Model {
		m, err := pitopt.LoadBytes("minilm_l6.onnx", data, pipelineOf(t, pipeline), pitopt.Threads(2))
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	const token, hidden = 500, 384
	for _, bad := range []float32{0, float32(math.Inf(1)), 1e30} {
		if bad != 0 {
			m := encoder(unpadded)
			var table *tensor.Tensor // over data
			for _, c := range m.Module().Consts {
				if s := c.Tensor.Shape(); len(s) == 2 && s[0] > 30000 && s[1] == hidden {
					table = c.Tensor
				}
			}
			m.Close()
			tensor.Data[float32](table)[token*hidden+3] = bad
		}
		m, dense := encoder(unpadded), encoder(padded)
		for range 2 {
			in := map[string]*tensor.Tensor{}
			for _, v := range m.Inputs() {
				x := tensor.New(tensor.I64, 2, 12)
				for i := range x.Len() {
					x.SetInt(i, map[string]int64{"input_ids": 100 + 7*i, "attention_mask": 1}[v.Name])
					if i >= 20 {
						x.SetInt(i, map[string]int64{"input_ids": token}[v.Name])
					}
				}
				in[v.Name] = x
			}
			got, err := m.Run(context.Background(), in)
			if err != nil {
				t.Fatal(err)
			}
			want, err := dense.Run(context.Background(), in)
			if err != nil {
				t.Fatal(err)
			}
			for k, w := range want {
				if err := tensor.Compare(got[k], w, tensor.Tolerance{ATol: 1e-5, RTol: 1e-4}); err != nil {
					t.Errorf("with a weight of %v: %s: %v", bad, k, err)
				}
				if nan := w.Float(w.Len()-1) != w.Float(w.Len()-1); nan != math.IsInf(float64(bad), 1) {
					t.Errorf("with a weight of %v, NaN is %v: the test tests nothing", bad, nan)
				}
			}
		}
		m.Close()
		dense.Close()
	}
}

func encoderInput(rng *rand.Rand, m *pitopt.Model, rows []string) map[string]*tensor.Tensor {
	seq := 12
	ids, mask, zero := make([]int64, len(rows)*seq), make([]int64, len(rows)*seq), make([]int64, len(rows)*seq)
	for i, r := range rows {
		for j, c := range r {
			ids[i*seq+j] = 1 + rng.Int64N(2000)
			mask[i*seq+j] = int64(c - '0')
		}
	}
	in := map[string]*tensor.Tensor{}
	for _, v := range m.Inputs() {
		data := map[string][]int64{"input_ids": ids, "attention_mask": mask}[v.Name]
		if data == nil {
			data = zero
		}
		in[v.Name] = tensor.Of(data, int64(len(rows)), int64(seq))
	}
	return in
}

// sameRows compares results; of one with a row for each position, rows that the mask does not have
// are to be zero.
func sameRows(got, want, mask *tensor.Tensor, zeroed bool) error {
	for i := range want.Len() {
		g, w := got.Float(i), want.Float(i)
		if want.Rank() == 3 && zeroed && mask.Int(i/want.Shape()[2]) == 0 {
			w = 0
		}
		if !(math.Abs(g-w) <= 1e-5+1e-4*math.Abs(w)) && !(g != g && w != w) {
			return fmt.Errorf("element %d is %g, want %g", i, g, w)
		}
	}
	return nil
}
