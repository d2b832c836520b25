package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"

	"github.com/pitopt/pitopt"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/runtime"
)

// zeroPattern is a product whose first factor has blocks of zeros.
type zeroPattern struct {
	what       string
	m, k, n    int64
	rows, cols int64 // of a block
	left       []float64
}

var zeroBlocks = []zeroPattern{
	{"32x1", 2048, 2048, 2048, 32, 1, []float64{1, .5, .1, .05, .01}},
	{"1x64", 2048, 2048, 2048, 1, 64, []float64{.5, .1, .05, .01}},
	{"32x64", 2048, 2048, 2048, 32, 64, []float64{.5, .1, .05, .01}},
	{"large 32x1", 4096, 4096, 4096, 32, 1, []float64{.05}},
}

// sparsePeers multiply by all of the factor, or by what they make of it first.
var sparsePeers = []string{"ort", "torch-csr", "scipy-csr"}

var zeroRows = []zeroPattern{
	{"rows", 512, 768, 3072, 1, 768, []float64{1, .5, .25, .1, .05}},
	{"single", 1, 3072, 768, 1, 1, []float64{1, .1, .05, .01}},
	{"single", 8, 3072, 768, 1, 1, []float64{1, .1, .05, .01}},
	{"single", 64, 3072, 768, 1, 1, []float64{1, .1, .05, .01}},
}

// fresh is how many matrices are drawn: so many that what they read of the weights together does not fit the caches
// that are near, though each of them reads little.
func (p zeroPattern) fresh() int { return int(min(max(1<<22/(p.m*p.k), 2), 64)) }

// sparsity is products with constant weights, of a factor that comes with each call and has zeros somewhere else each
// time. The pipeline says of the input that it may have some.
func sparsity(list []zeroPattern) func(*bench, *group) ([]workload, error) {
	return func(b *bench, _ *group) ([]workload, error) { return b.withZeros(list) }
}

func (b *bench) withZeros(list []zeroPattern) ([]workload, error) {
	if b.quick {
		list = []zeroPattern{{"32x1", 64, 128, 64, 32, 1, []float64{1, .1}}}
	}
	model := func(k, n int64, hinted bool) (string, error) {
		x := newBuilder()
		x.input("x", tensor.F32, "m", int(k))
		x.node("MatMul", "y", []string{"x", x.weights("w", k, n)})
		x.output("y", "m", int(n))
		if !hinted {
			return b.save(fmt.Sprintf("dense-%dx%d", k, n), x)
		}
		dir := fmt.Sprintf("sparse-%dx%d", k, n)
		if err := os.MkdirAll(filepath.Join(b.dir, dir), 0o755); err != nil {
			return "", err
		}
		pipeline := "version = 1\nextends = \"default\"\n[[pass]]\nname = \"pit\"\ninputs = [\"x\"]\n"
		if err := os.WriteFile(filepath.Join(b.dir, dir, "pipeline.toml"), []byte(pipeline), 0o666); err != nil {
			return "", err
		}
		return b.save(filepath.Join(dir, "model"), x)
	}
	var out []workload
	for i, p := range list {
		file, err := model(p.k, p.n, true)
		if err != nil {
			return nil, err
		}
		plain, err := model(p.k, p.n, false)
		if err != nil {
			return nil, err
		}
		for j, left := range p.left {
			r := rand.New(rand.NewPCG(uint64(i), uint64(j)))
			draw := func() (tensors, error) { return tensors{"x": p.draw(r, left)}, nil }
			out = append(out, workload{name: fmt.Sprintf("%s, %d x (%d x %d), %g %% zeros", p.what, p.m, p.k, p.n, 100-100*left), model: file, fresh: p.fresh(), draw: draw,
				base:   &base{name: "dense", model: plain, draw: draw},
				values: func() map[string]float64 { return map[string]float64{"share": denseShare(file, draw)} }})
		}
	}
	return out, nil
}

// draw is normal numbers, of whose blocks a part is left.
func (p zeroPattern) draw(r *rand.Rand, left float64) *tensor.Tensor {
	t := normal(r, 1, p.m, p.k)
	data := tensor.Data[float32](t)
	for i := int64(0); i < p.m; i += p.rows {
		for j := int64(0); j < p.k; j += p.cols {
			if r.Float64() < left {
				continue
			}
			for y := i; y < min(i+p.rows, p.m); y++ {
				clear(data[y*p.k+j : y*p.k+min(j+p.cols, p.k)])
			}
		}
	}
	return t
}

// denseShare is in how many of some calls all of the product was computed.
func denseShare(file string, draw func() (tensors, error)) float64 {
	m, err := pitopt.Load(file, pitopt.Threads(1))
	if err != nil {
		return -1
	}
	defer m.Close()
	const calls = 5
	dense := 0.
	for range calls {
		in, err := draw()
		if err != nil {
			return -1
		}
		t := runtime.NewTimeline()
		if _, err := m.Run(runtime.Record(context.Background(), t), in); err != nil {
			return -1
		}
		spans, _ := t.Spans()
		skipped := false
		for _, s := range spans {
			skipped = skipped || s.Work != nil && s.Work.Zeros != nil && !strings.HasPrefix(s.Work.Zeros.Way, "dense")
		}
		if !skipped {
			dense++
		}
	}
	return dense / calls
}

// showSparsity shows times beside those of all of the product.
func showSparsity(say sayer, list []*result) {
	say("A factor that comes with each call, times constant weights. Zeros come in blocks of rows x columns, in whole rows, or single; several matrices are drawn, and no run")
	say("has that of the run before. Looking for zeros, choosing and gathering are in pitopt's time, and making CSR of the factor is in that of torch and SciPy, which has one")
	say("thread; dense is pitopt without being told that there may be zeros. The error is the largest distance to ONNX Runtime's dense product, and the last column in how many of")
	say("five calls pitopt computed all of the product.\n")
	say("| factor | pitopt | dense | ratio | ONNX Runtime | ratio | torch CSR | ratio | SciPy CSR | ratio | error | chosen dense |\n|---|---|---|---|---|---|---|---|---|---|---|---|")
	for _, r := range list {
		if f := r.Failed["pitopt"]; f != "" {
			say("| %s | %s | | | | | | | | | | |", r.Name, strings.ReplaceAll(f, "\n", " "))
			continue
		}
		row := fmt.Sprintf("| %s | %s |", r.Name, duration(median(r.Samples["pitopt"])))
		for _, key := range append([]string{"dense"}, sparsePeers...) {
			took, ratio := r.against(key)
			row += fmt.Sprintf(" %s | %s |", took, ratio)
		}
		say("%s %.1e | %.0f %% |", row, r.Distance, 100*r.Values["share"])
	}
	say("")
}

// zeros chooses results of a pattern, of so many per cent of zeros.
func zeros(pattern string, percent float64) func(*result) bool {
	return func(r *result) bool {
		return strings.HasPrefix(r.Name, pattern+",") && strings.HasSuffix(r.Name, fmt.Sprintf(", %g %% zeros", percent))
	}
}

// zeroTargets are the bounds of the patterns, by per cent of zeros.
func zeroTargets() (out []target) {
	add := func(pattern string, rival string, percents, bounds []float64) {
		for i, p := range percents {
			what := fmt.Sprintf("%s, %g %% zeros", pattern, p)
			if rival == "dense" {
				what += ", against all of the product"
			}
			group := "sparsity"
			if pattern == "rows" || strings.HasPrefix(pattern, "single") {
				group = "zeros"
			}
			out = append(out, target{group, what, 1, zeros(pattern, p), ratioTo(rival), false, bounds[i], false})
		}
	}
	grid := []float64{50, 90, 95, 99}
	for i, pattern := range []string{"32x1", "1x64", "32x64"} {
		add(pattern, "ort", grid, [][]float64{{2.3, 8, 10.5, 24}, {2.2, 8.5, 12.5, 20}, {2, 8, 13.5, 36}}[i])
		add(pattern, "dense", grid, []float64{1.4, 5, 6.6, 14})
	}
	add("rows", "ort", []float64{50, 75, 90, 95}, []float64{1.7, 3.2, 5.5, 8})
	for i, m := range []int{1, 8, 64} {
		add(fmt.Sprintf("single, %d x (3072 x 768)", m), "ort", []float64{90, 95, 99}, [][]float64{{8, 16, 60}, {1.7, 2.6, 7}, {2.3, 2.7, 5}}[i])
	}
	for _, group := range []string{"sparsity", "zeros"} {
		out = append(out, target{group, "without zeros, in the time of all of the product, the worst", 1,
			func(r *result) bool { return strings.HasSuffix(r.Name, ", 0 % zeros") }, inverse("dense"), false, 1.03, true})
	}
	return out
}

func init() { targets = append(targets, zeroTargets()...) }
