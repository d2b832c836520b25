package coverage_test

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/pitopt/pitopt"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/pass"
	"github.com/pitopt/pitopt/passes"
)

// BenchmarkCompile times the way from a file to an executable, and each pass with the
// verifier behind it: go test ./scripts/coverage -run '^$' -bench Compile -cpu 1.
func BenchmarkCompile(b *testing.B) {
	for _, g := range []struct{ variable, name string }{
		{"PITOPT_ZOO", "bert-base-12l-ts"}, {"PITOPT_ZOO", "llama-4l-prefill-dyn"}, {"PITOPT_ZOO", "llama-4l-decode-ts"}, {"PITOPT_ZOO", "llama-4l-decode-dyn"},
		{"PITOPT_MODELS", "ppocr_v3_det"},
	} {
		b.Run(g.name, func(b *testing.B) {
			path := filepath.Join(os.Getenv(g.variable), g.name, "model.onnx")
			if _, err := os.Stat(path); err != nil {
				b.Skipf("%s has no %s", g.variable, g.name)
			}
			spent := map[string]time.Duration{}
			for b.Loop() {
				last := time.Now()
				lap := func(name string) {
					now := time.Now()
					spent[name] += now.Sub(last)
					last = now
				}
				m, err := pitopt.Load(path, pitopt.WithPipeline(passes.Default()), pitopt.Threads(1), pitopt.Observe(pitopt.Observer{
					Imported: func(*ir.Module, time.Duration) error { lap("import"); return nil },
					After:    func(_ int, s pass.Step, _ *ir.Module, _ time.Duration) error { lap(s.Pass.Name); return nil },
				}))
				if err != nil {
					b.Fatal(err)
				}
				lap("load")
				if err := m.Close(); err != nil {
					b.Fatal(err)
				}
			}
			for name, d := range spent {
				b.ReportMetric(d.Seconds()*1e3/float64(b.N), name+"-ms")
			}
		})
	}
}
