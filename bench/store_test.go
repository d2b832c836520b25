package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// What is written without measuring has its rows in the history as well, each once.
func TestReportKeepsHistory(t *testing.T) {
	dir := t.TempDir()
	s := &store{Results: []*result{
		{Group: "norms", Name: "Softmax", Threads: 1, CPU: "a processor", Commit: "abc", Date: "2026-01-02", Samples: map[string][]float64{"pitopt": {100, 100}, "ort": {150, 150}}},
	}}
	for range 2 {
		if err := s.report(dir); err != nil {
			t.Fatal(err)
		}
	}
	b, err := os.ReadFile(filepath.Join(dir, "performance-history.csv"))
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Join(historyHead, ",") + "\n2026-01-02,abc,a processor,norms,1,ort,1,1.5000,1.5000,1.5000,100\n"
	if string(b) != want {
		t.Errorf("the history is\n%s\nnot\n%s", b, want)
	}
}

// What documents have of groups that were not measured anew stays, and what was takes the place of the same group
// on as many threads.
func TestReportKeepsOtherGroups(t *testing.T) {
	dir := t.TempDir()
	of := func(group, name string, threads int, commit string, ort float64) *result {
		return &result{Group: group, Name: name, Threads: threads, CPU: "a processor", Commit: commit, Date: "2026-01-02",
			Engines: map[string]string{"pitopt": "pitopt, code", "ort": "ONNX Runtime 1"}, Samples: map[string][]float64{"pitopt": {100, 100}, "ort": {ort, ort}}}
	}
	write := func(list ...*result) string {
		t.Helper()
		if err := (&store{Results: list}).report(dir); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(filepath.Join(dir, "performance.md"))
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	products, norms := of("products", "1 x (768 x 768)", 1, "old", 50), of("norms", "Softmax", 1, "old", 150)
	both := of("products", "1 x (768 x 768)", 2, "old", 50)
	all := write(products, both, norms)
	for _, want := range []string{"| Products with constant weights | 1 | products, all | at least 1.03 | 0.50 | **missed** |",
		"| Products with constant weights | 2 | 1 x (768 x 768) | ONNX Runtime | 50 % of pitopt's time |",
		"2 threads, commit old, 2026-01-02, a processor: pitopt, code; ONNX Runtime 1", "| Softmax | 100 ns | 150 ns | 1.50 |"} {
		if !strings.Contains(all, want) {
			t.Errorf("%q is not in\n%s", want, all)
		}
	}
	if again := write(norms); again != all {
		t.Errorf("written of a part it is\n%s\nnot\n%s", again, all)
	}
	if again := write(of("products", "1 x (768 x 768)", 2, "old", 50)); again != all {
		t.Errorf("written of another part it is\n%s\nnot\n%s", again, all)
	}
	now := write(of("products", "1 x (768 x 768)", 2, "new", 300))
	for _, want := range []string{"1 thread, commit old", "2 threads, commit new", "| Products with constant weights | 1 | 1 x (768 x 768) | ONNX Runtime |", "| Products with constant weights | 2 | products, all | at least 1.03 | 3.00 | reached |"} {
		if !strings.Contains(now, want) {
			t.Errorf("%q is not in\n%s", want, now)
		}
	}
	if strings.Contains(now, "| Products with constant weights | 2 | 1 x (768 x 768) | ONNX Runtime |") {
		t.Errorf("a row that is no more is in\n%s", now)
	}
}

// A part of a group takes the place of the same workloads, where the others are there.
func TestMergeOfAPart(t *testing.T) {
	of := func(name string, ns float64) *result {
		return &result{Group: "norms", Name: name, Threads: 1, Samples: map[string][]float64{"pitopt": {ns}}}
	}
	s, file, g := &store{}, filepath.Join(t.TempDir(), "kept.json"), &group{name: "norms"}
	merge := func(match *regexp.Regexp, list ...*result) string {
		t.Helper()
		if err := s.merge(&bench{match: match, results: list}, g, 1, file); err != nil {
			t.Fatal(err)
		}
		out := ""
		for _, r := range s.Results {
			out += fmt.Sprintf("%s %g, ", r.Name, r.Samples["pitopt"][0])
		}
		return out
	}
	part := regexp.MustCompile("a")
	for _, x := range []struct {
		got, want string
	}{
		{merge(part, of("a", 1)), ""},
		{merge(nil, of("a", 2), of("b", 2)), "a 2, b 2, "},
		{merge(part, of("a", 3)), "a 3, b 2, "},
		{merge(part), "a 3, b 2, "},
		{merge(nil, of("b", 4)), "b 4, "},
	} {
		if x.got != x.want {
			t.Errorf("kept is %q, not %q", x.got, x.want)
		}
	}
}

// What was not run is not said to fail.
func TestAbsentRivals(t *testing.T) {
	dir := t.TempDir()
	s, g := &store{}, &group{name: "zeros", rivals: sparsePeers}
	r := &result{Group: "zeros", Name: "rows, 50 % zeros", Threads: 1, Samples: map[string][]float64{"pitopt": {100, 100}, "ort": {200, 200}}, Failed: map[string]string{"torch-csr": "torch-csr: no memory\n  at a line"}}
	b := &bench{results: []*result{r}, missing: map[string]string{"scipy-csr": "it was not asked for", "openvino": "it was not installed"}}
	if err := s.merge(b, g, 1, filepath.Join(dir, "kept.json")); err != nil {
		t.Fatal(err)
	}
	if err := s.report(dir); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "sparsity.md"))
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"| 200 ns | 2.00 | fails |  | not run |  |", "\ntorch CSR: fails (torch-csr: no memory).\n", "\nSciPy CSR: not run (it was not asked for).\n"} {
		if !strings.Contains(string(text), want) {
			t.Errorf("%q is not in\n%s", want, text)
		}
	}
	if strings.Contains(string(text), "OpenVINO") {
		t.Errorf("a rival that the group does not have is in\n%s", text)
	}
}

// Groups with tables of their own have plots, too.
func TestPlots(t *testing.T) {
	dir := t.TempDir()
	s := &store{}
	for _, g := range groups {
		for i := range 3 {
			r := &result{Group: g.name, Name: fmt.Sprint("a, ", i, " tokens"), Threads: 1, Samples: map[string][]float64{}, Flops: 1, Bytes: 1,
				Values: map[string]float64{"peak": 1, "bandwidth": 1, "share": 1, "covered": 1, "bytes": 1, "tokens": 1, "positions": 1, "ort memory": 2, "pitopt memory": 1}}
			for _, key := range []string{"pitopt", "pitopt-cut", "ort", "ort-cut", "ort-one", "ort-sorted", "openvino", "gomlx", "dense", "unmasked", "single", "torch-csr", "scipy-csr"} {
				r.Samples[key] = []float64{1, 2, 3}
			}
			s.Results = append(s.Results, r)
		}
	}
	if err := s.report(dir); err != nil {
		t.Fatal(err)
	}
	for _, g := range groups {
		doc := "performance.md"
		if g.sparse {
			doc = "sparsity.md"
		}
		text, err := os.ReadFile(filepath.Join(dir, doc))
		if err != nil {
			t.Fatal(err)
		}
		plot := fmt.Sprintf("performance-%s-1.svg", g.name)
		if _, err := os.Stat(filepath.Join(dir, plot)); err != nil || !strings.Contains(string(text), "![Ratios]("+plot+")") {
			t.Errorf("%s has no plot (%v)", g.name, err)
		}
	}
}
