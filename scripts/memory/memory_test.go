// Package memory_test measures what the plans of real models take, and holds docs/memory.md
// against it.
//
//	go test ./scripts/memory           compares
//	go test ./scripts/memory -update   writes the document
//
// $PITOPT_ZOO and $PITOPT_MODELS name the folders of the graphs. Rows of graphs that are not
// there stay in the document as they are.
package memory_test

import (
	"bytes"
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/pitopt/pitopt"
	"github.com/pitopt/pitopt/passes"
)

var update = flag.Bool("update", false, "write docs/memory.md")

const document = "../../docs/memory.md"

const head = `# Memory

<!-- made by ` + "`go test ./scripts/memory -update`" + ` -->

What a run of real models takes beside inputs, weights and outputs, on one thread of the CPU, in KiB: models of ` + "`$PITOPT_MODELS`" + `
and exports of ` + "`$PITOPT_ZOO`" + `. ` + "`pitopt inspect -memory`" + ` tells the same of any model.

- **each its own**: every result and every temporary of a program has memory by itself.
- **equal sizes**: those whose sizes are proved equal take turns, which is what Relax's StaticPlanBlockMemory does.
- **plan**: what a run takes.
- **live**: the most that is in use at the same step. No plan for these lives takes less.

All of them hold the workspace that the device packs products into, in portable Go, so that the figures are those of any
machine. Machine code takes up to a few hundred KiB more or less, and less than that for attention, whose scores it never
has in memory; it packs weights once, and keeps that as long as the model is loaded. Where bounds are declared in ` + "`[dims]`" + ` for all sizes, one
piece of memory is placed before the first run, and every run takes just that. Otherwise each call takes what its own
sizes need.

`

var columns = []string{"graph", "bounds", "sizes", "each its own", "equal sizes", "plan", "live", "plan / each its own", "plan / live"}

// a plan must be at most so large.
const (
	ofNaive = 0.5
	ofLive  = 1.15
)

// graph is a model, the sizes that it is measured at, and the bounds that are declared when
// it is measured at those.
type graph struct {
	variable, name string
	bounds         map[string][2]int64
	sizes          []map[string]int64
}

func graphs() []graph {
	type dims = map[string]int64
	var prefill, decode, encoder, detector, tagger []dims
	for _, batch := range []int64{1, 8} {
		for _, seq := range []int64{128, 512, 1024} {
			prefill = append(prefill, dims{"batch": batch, "seq": seq})
		}
		for _, past := range []int64{0, 1, 511, 2047} {
			decode = append(decode, dims{"batch": batch, "seq": 1, "past_seq": past, "total_seq": past + 1})
		}
	}
	for _, x := range [][2]int64{{1, 16}, {1, 128}, {8, 128}, {32, 512}} {
		encoder = append(encoder, dims{"batch": x[0], "seq": x[1]})
	}
	for _, x := range [][2]int64{{1, 16}, {8, 128}} { // recurrent layers, which are loops
		tagger = append(tagger, dims{"batch": x[0], "seq": x[1]})
	}
	const axis = "p2o.DynamicDimension."
	for _, x := range [][3]int64{{1, 320, 320}, {1, 640, 960}, {4, 960, 960}} {
		detector = append(detector, dims{axis + "0": x[0], axis + "1": x[1], axis + "2": x[2]})
	}
	return []graph{
		{"PITOPT_ZOO", "llama-4l-prefill-dyn", map[string][2]int64{"batch": {1, 8}, "seq": {128, 1024}}, prefill},
		{"PITOPT_ZOO", "llama-4l-decode-dyn", map[string][2]int64{"batch": {1, 8}, "seq": {1, 1}, "past_seq": {0, 2047}, "total_seq": {1, 2048}}, decode},
		{"PITOPT_ZOO", "lstm-tagger-ts", map[string][2]int64{"batch": {1, 8}, "seq": {1, 128}}, tagger},
		{"PITOPT_MODELS", "minilm_l6", map[string][2]int64{"batch": {1, 32}, "seq": {1, 512}}, encoder},
		{"PITOPT_MODELS", "ppocr_v3_det", map[string][2]int64{axis + "0": {1, 4}, axis + "1": {32, 960}, axis + "2": {32, 960}}, detector},
	}
}

func TestMemory(t *testing.T) {
	t.Setenv("PITOPT_CPU", "portable")
	was := rows(t)
	var table []string
	for _, g := range graphs() {
		path := filepath.Join(os.Getenv(g.variable), g.name, "model.onnx")
		if _, err := os.Stat(path); os.Getenv(g.variable) == "" || err != nil {
			t.Logf("%s is left out: $%s has no %s", g.name, g.variable, path)
			table = append(table, was[g.name]...)
			continue
		}
		table = append(table, measure(t, g, path)...)
	}
	var doc bytes.Buffer
	fmt.Fprintf(&doc, "%s| %s |\n|---|---|---|%s\n", head, strings.Join(columns, " | "), strings.Repeat("---:|", len(columns)-3))
	for _, row := range table {
		doc.WriteString(row)
	}
	if old, _ := os.ReadFile(document); bytes.Equal(old, doc.Bytes()) {
		return
	}
	if !*update {
		t.Errorf("docs/memory.md is stale: run go test ./scripts/memory -update; it would be\n%s", doc.Bytes())
	} else if err := os.WriteFile(document, doc.Bytes(), 0o644); err != nil {
		t.Error(err)
	}
}

// measure gives the rows of a graph, and holds the figures against what they must be.
func measure(t *testing.T, g graph, path string) (out []string) {
	row := func(m *pitopt.Model, bounds, at string, dims map[string]int64) {
		use, err := m.Memory(dims)
		if err != nil {
			t.Fatalf("%s %s: %v", g.name, at, err)
		}
		naive, live := float64(use.Planned)/float64(use.Naive), float64(use.Planned)/float64(use.Largest)
		if naive > ofNaive || live > ofLive || live < 1 || use.Planned >= use.Equal {
			t.Errorf("%s, bounds %s, %s: the plan takes %d bytes; each value its own %d, equal sizes %d, in use at a time %d",
				g.name, bounds, at, use.Planned, use.Naive, use.Equal, use.Largest)
		}
		kib := func(n int64) string { return fmt.Sprint((n + 1023) / 1024) }
		out = append(out, fmt.Sprintf("| %s |\n", strings.Join([]string{g.name, bounds, at, kib(use.Naive), kib(use.Equal), kib(use.Planned), kib(use.Largest),
			fmt.Sprintf("%.3f", naive), fmt.Sprintf("%.3f", live)}, " | ")))
	}
	m := load(t, path, "")
	for _, dims := range g.sizes {
		var at []string
		for _, s := range slices.Sorted(maps.Keys(dims)) {
			at = append(at, fmt.Sprintf("%s %d", short(s), dims[s]))
		}
		row(m, "none", strings.Join(at, ", "), dims)
	}
	var toml, bounds []string
	for _, s := range slices.Sorted(maps.Keys(g.bounds)) {
		b := g.bounds[s]
		toml = append(toml, fmt.Sprintf("%q = { min = %d, max = %d }\n", s, b[0], b[1]))
		bounds = append(bounds, fmt.Sprintf("%s %d-%d", short(s), b[0], b[1]))
	}
	row(load(t, path, "[dims]\n"+strings.Join(toml, "")), strings.Join(bounds, ", "), "any", nil)
	return out
}

// short is the name of a symbol as far as it tells anything.
func short(symbol string) string { return strings.TrimPrefix(symbol, "p2o.") }

func load(t *testing.T, path, dims string) *pitopt.Model {
	p, err := passes.Parse("memory.toml", []byte("version = 1\nextends = \"default\"\n"+dims))
	if err != nil {
		t.Fatal(err)
	}
	m, err := pitopt.Load(path, pitopt.WithPipeline(p), pitopt.Target("cpu"), pitopt.Threads(1))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.Close() })
	return m
}

// rows are the rows of the document by graph.
func rows(t *testing.T) map[string][]string {
	data, err := os.ReadFile(document)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	out := map[string][]string{}
	for line := range strings.Lines(string(data)) {
		if cells := strings.Split(line, " | "); len(cells) == len(columns) {
			name := strings.TrimPrefix(cells[0], "| ")
			out[name] = append(out[name], line)
		}
	}
	return out
}
