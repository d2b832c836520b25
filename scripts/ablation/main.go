// Command ablation prints docs/ablation.md: what single passes of the default pipeline are
// worth, by `pitopt bench` with each of them left out in turn.
//
//	go run ./scripts/ablation > docs/ablation.md
//
// $PITOPT_MODELS and $PITOPT_ZOO name the folders of the models; it says which are missing.
package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
)

// model is a model with what it is run on: sizes of dims, or a folder of inputs.
type model struct {
	name, env string
	sizes     []string
	data      string
}

var models = []model{
	{"minilm_l6", "PITOPT_MODELS", []string{"batch=1", "seq=64"}, ""},
	{"ppocr_v3_det", "PITOPT_MODELS", []string{"p2o.DynamicDimension.0=1", "p2o.DynamicDimension.1=64", "p2o.DynamicDimension.2=128"}, ""},
	{"llama-4l-decode-dyn", "PITOPT_ZOO", nil, "test_data_set_0"},
	{"switch-8-allexperts-dyn", "PITOPT_ZOO", nil, "test_data_set_0"},
}

// left are the passes that are left out, one after the other; "" is the default pipeline.
var left = []string{"", "raise", "fuse", "plan-memory", "dispatch"}

// measured is what pitopt bench prints.
type measured struct {
	Median  float64 `json:"median_ns"`
	Peak    float64 `json:"peak_rss"`
	CPU     string  `json:"cpu"`
	Threads int     `json:"threads"`
	Message string  `json:"message"`
}

func main() {
	rounds := flag.Int("rounds", 3, "how often each pipeline has its turn")
	minTime := flag.Duration("min-time", 0, "how long a turn measures at least; three runs are the least")
	threads := flag.Int("threads", 1, "of a run")
	flag.Parse()
	if err := run(*rounds, *threads, minTime.String()); err != nil {
		fmt.Fprintln(os.Stderr, "ablation:", err)
		os.Exit(1)
	}
}

func run(rounds, threads int, minTime string) error {
	dir, err := os.MkdirTemp("", "ablation")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	pitopt := filepath.Join(dir, "pitopt")
	if out, err := exec.Command("go", "build", "-o", pitopt, "./cmd/pitopt").CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	for _, p := range left {
		text := "version = 1\nextends = \"default\"\n"
		if p != "" {
			text += fmt.Sprintf("[[pass]]\nname = %q\nremove = true\n", p)
		}
		if err := os.WriteFile(filepath.Join(dir, p+".toml"), []byte(text), 0o666); err != nil {
			return err
		}
	}
	load := ""
	if b, err := os.ReadFile("/proc/loadavg"); err == nil { // what else the machine does
		load = ", load average " + strings.Fields(string(b))[0] + " at the start"
	}
	var rows strings.Builder
	var missing []string
	cpu := ""
	for _, m := range models {
		folder := filepath.Join(os.Getenv(m.env), m.name)
		if _, err := os.Stat(filepath.Join(folder, "model.onnx")); os.Getenv(m.env) == "" || err != nil {
			missing = append(missing, fmt.Sprintf("%s (of $%s)", m.name, m.env))
			continue
		}
		args := []string{"bench", "-q", "-json", "-min-time", minTime, "-threads", fmt.Sprint(threads)}
		for _, s := range m.sizes {
			args = append(args, "-dim", s)
		}
		if m.data != "" {
			args = append(args, "-inputs", filepath.Join(folder, m.data))
		}
		times, peaks := map[string][]float64{}, map[string][]float64{}
		for round := range rounds {
			for _, p := range left { // in turn, so that a machine that slows down slows all of them
				fmt.Fprintf(os.Stderr, "%s, round %d of %d, without %q\n", m.name, round+1, rounds, p)
				out, err := exec.Command(pitopt, append(args, "-pipeline", filepath.Join(dir, p+".toml"), filepath.Join(folder, "model.onnx"))...).Output()
				var x measured
				if e := json.Unmarshal(bytes.TrimSpace(out), &x); err != nil || e != nil {
					return fmt.Errorf("%s without %q: %v %s", m.name, p, err, x.Message)
				}
				cpu = x.CPU
				times[p], peaks[p] = append(times[p], x.Median), append(peaks[p], x.Peak)
			}
		}
		fmt.Fprintf(&rows, "| %s | %.0f ms, %.0f MiB |", m.describe(), median(times[""])/1e6, median(peaks[""])/(1<<20))
		for _, p := range left[1:] {
			fmt.Fprintf(&rows, " %.2f, %.2f |", median(times[p])/median(times[""]), median(peaks[p])/median(peaks[""]))
		}
		rows.WriteString("\n")
	}
	for _, m := range missing {
		fmt.Fprintln(os.Stderr, "ablation: left out, since it is not there:", m)
	}
	if rows.Len() == 0 {
		return fmt.Errorf("there is no model; $PITOPT_MODELS and $PITOPT_ZOO name their folders")
	}
	fmt.Printf("# What passes are worth\n\n"+
		"<!-- made by `go run ./scripts/ablation > docs/ablation.md` -->\n\n"+
		"Each pass left out of the default pipeline by itself (`remove = true`), timed by `pitopt bench` on the target `cpu`, %s\n"+
		"of %s (%s/%s, %d processors%s). The pipelines take turns, %d each,\n"+
		"every turn a process of its own; what counts is the median of the turns' medians. The first column has the time of a run and\n"+
		"the peak memory of the process, weights included, with the default pipeline; the others have ratios to these, time first:\n"+
		"2 is twice as slow, or twice as much memory. On a machine that does other things at the same time, whose load average is\n"+
		"above 1, the ratios of times say little.\n\n"+
		"| model | default | without %s |\n|---|---|%s\n%s",
		count(threads, "thread"), cpu, runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), load, rounds,
		strings.Join(left[1:], " | without "), strings.Repeat("---|", len(left)-1), rows.String())
	if len(missing) > 0 {
		fmt.Printf("\nNot measured, since they were not there: %s.\n", strings.Join(missing, ", "))
	}
	return nil
}

func (m model) describe() string {
	on := strings.ReplaceAll(strings.Join(m.sizes, ", "), "p2o.DynamicDimension.", "dim ")
	if m.data != "" {
		on = m.data
	}
	return fmt.Sprintf("%s (%s)", m.name, on)
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func median(list []float64) float64 {
	list = slices.Clone(list)
	slices.Sort(list)
	n := len(list)
	return (list[(n-1)/2] + list[n/2]) / 2
}
