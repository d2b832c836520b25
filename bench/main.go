// Command bench measures pitopt against other engines, and writes docs/performance.md. README.md
// in this folder says how to call it and how it measures.
package main

import (
	_ "embed"
	"errors"
	"flag"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

//go:embed rivals/worker.py
var rivalsWorker []byte

// bench is one call of the program.
type bench struct {
	root    string // of the repository
	dir     string // for what is thrown away afterwards
	worker  string // executables
	gomlx   string
	python  string
	script  string
	cores   []string
	quick   bool
	match   *regexp.Regexp    // names of workloads that are measured; nil: all
	missing map[string]string // rivals that are not run, and why

	pitopt string

	time         time.Duration // of a workload
	sample       time.Duration // at least
	limits       time.Duration // of measuring what the machine can do
	profiled     time.Duration // of a profile
	fewest, most int           // rounds

	results []*result         // of the group that is measured
	titles  map[string]string // of engines that were started for it, with their versions
	failed  []string          // what could not be measured, and why
	out     []string          // what was left out, and why
	began   time.Time
}

func main() {
	runtime.LockOSThread() // workers end with the thread that has started them
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run() (err error) {
	b := &bench{missing: map[string]string{}, began: time.Now(), sample: 10 * time.Millisecond, limits: 40 * time.Millisecond, profiled: 300 * time.Millisecond, fewest: 6, most: 15}
	only := flag.String("only", "", "`GROUPS` to measure, with commas between; default: all of them")
	threads := flag.String("threads", "1,2", "`LIST` of numbers of threads")
	rivals := flag.String("rivals", strings.Join(rivalOrder[:6], ","), "`LIST` of rivals")
	cores := flag.String("cores", "", "`LIST` of cores; the last ones are taken first; default: all")
	flag.StringVar(&b.python, "python", defaultPython(), "`FILE` Python that has the rivals; default: $PITOPT_RIVALS, or what ./rivals.sh made")
	flag.BoolVar(&b.quick, "quick", false, "small workloads, few rounds: whether it all works")
	flag.DurationVar(&b.time, "time", time.Second, "`TIME` for a workload, unless it needs more for six rounds")
	match := flag.String("match", "", "`REGEXP` of names of workloads to measure, of groups that are lists of them; the others of a group stay as they were")
	list := flag.Bool("list", false, "list the groups")
	results := flag.String("results", defaultResults(), "`FILE` that keeps what was measured last of each group")
	docs := flag.String("docs", "", "`DIR` write performance.md and sparsity.md there, plots, and rows of the history; what is there of groups that are not kept stays")
	write := flag.Bool("write", false, "measure nothing, and write what is kept to -docs")
	flag.Parse()
	if *list {
		for _, g := range groups {
			fmt.Printf("%-12s %s\n", g.name, g.title)
		}
		return nil
	}
	kept, err := readStore(*results)
	if err != nil {
		return err
	}
	if *write {
		if *docs == "" {
			return errors.New("-write needs -docs, the folder to write to")
		}
		return kept.report(*docs)
	}
	counts, err := numbers(*threads)
	if err != nil {
		return err
	}
	chosen, err := choose(*only)
	if err != nil {
		return err
	}
	if b.quick {
		b.time, b.sample, b.limits, b.profiled, b.fewest, b.most = 0, time.Millisecond, 5*time.Millisecond, 10*time.Millisecond, 2, 2
	}
	if *cores != "" {
		b.cores = strings.Split(*cores, ",")
	} else {
		if b.cores, err = allowed(); err != nil {
			return err
		}
	}
	if b.root, err = filepath.Abs(".."); err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "pitopt-bench"); err != nil {
		return err
	}
	defer os.RemoveAll(b.dir)
	go func() {
		stop := make(chan os.Signal, 1)
		signal.Notify(stop, os.Interrupt, syscall.SIGTERM)
		<-stop
		_ = os.RemoveAll(b.dir)
		os.Exit(130)
	}()
	if err := b.build(); err != nil {
		return err
	}
	b.probe(strings.Split(*rivals, ","), chosen)
	if *match != "" {
		if b.match, err = regexp.Compile(*match); err != nil {
			return fmt.Errorf("-match: %w", err)
		}
	}
	if b.quick { // times of a hurry are none
		*results, *docs, kept = filepath.Join(b.dir, "results.json"), b.dir, &store{}
	}
	for _, g := range chosen {
		for _, n := range counts {
			if g.threads != nil && !slices.Contains(g.threads, n) {
				continue
			}
			if n > len(b.cores) {
				b.leave("%s on %d threads (there are %d cores)", g.name, n, len(b.cores))
				continue
			}
			b.say("%s on %d threads", g.name, n)
			b.results, b.titles = nil, map[string]string{}
			start := time.Now()
			if err := g.run(b, g, n); err != nil {
				b.failed = append(b.failed, fmt.Sprintf("%s on %d threads: %v", g.name, n, err))
				b.say("%s fails: %v", g.name, err)
				continue
			}
			if len(b.results) == 0 {
				b.leave("all of %s (none of its workloads was run)", g.name)
			}
			b.summary(g, n)
			b.say("%s on %d threads took %.0f s", g.name, n, time.Since(start).Seconds())
			if err := kept.merge(b, g, n, *results); err != nil {
				return err
			}
			if *docs == "" {
				continue
			}
			if err := kept.report(*docs); err != nil {
				return err
			}
		}
	}
	for _, what := range b.out {
		fmt.Println("left out:", what)
	}
	if len(b.failed) > 0 {
		return fmt.Errorf("not everything could be measured:\n  %s", strings.Join(b.failed, "\n  "))
	}
	return nil
}

// defaultResults is in the user's cache folder.
func defaultResults() string {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "results.json"
	}
	return filepath.Join(cache, "pitopt", "bench.json")
}

func numbers(list string) (out []int, err error) {
	for _, s := range strings.Split(list, ",") {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 {
			return nil, fmt.Errorf("-threads: %q is no list of numbers", list)
		}
		out = append(out, n)
	}
	return out, nil
}

func choose(only string) ([]*group, error) {
	if only == "" {
		return groups, nil
	}
	var out []*group
	for _, name := range strings.Split(only, ",") {
		i := slices.IndexFunc(groups, func(g *group) bool { return g.name == name })
		if i < 0 {
			return nil, fmt.Errorf("-only: there is no group %q; -list lists them", name)
		}
		out = append(out, groups[i])
	}
	return out, nil
}

// defaultPython is the interpreter of the environment that rivals.sh makes.
func defaultPython() string {
	if p := os.Getenv("PITOPT_RIVALS"); p != "" {
		return p
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return ""
	}
	return filepath.Join(cache, "pitopt", "rivals", "bin", "python")
}

// build makes the workers.
func (b *bench) build() error {
	if _, err := exec.LookPath("taskset"); err != nil {
		return errors.New("processes are pinned with taskset (util-linux), which is not here")
	}
	b.worker, b.pitopt = filepath.Join(b.dir, "worker"), filepath.Join(b.dir, "pitopt")
	for file, pkg := range map[string]string{b.worker: "bench/worker", b.pitopt: "cmd/pitopt"} {
		c := exec.Command("go", "build", "-o", file, ".")
		c.Dir = filepath.Join(b.root, pkg)
		c.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := c.CombinedOutput(); err != nil {
			return fmt.Errorf("go build %s: %w\n%s", pkg, err, out)
		}
	}
	b.script = filepath.Join(b.dir, "worker.py")
	return os.WriteFile(b.script, rivalsWorker, 0o666)
}

// probe finds which of the rivals can be started, and says which not.
func (b *bench) probe(wanted []string, chosen []*group) {
	needs := map[string]string{"ort": "onnxruntime", "ort-opt": "onnxruntime.transformers.optimizer", "openvino": "openvino", "torch-csr": "torch, onnx", "scipy-csr": "scipy.sparse, onnx"}
	for _, key := range rivalOrder[:6] {
		if !slices.ContainsFunc(chosen, func(g *group) bool { return slices.Contains(g.rivals, key) }) {
			continue
		}
		if !slices.Contains(wanted, key) {
			b.missing[key] = "it was not asked for"
			b.leave("%s (not among -rivals)", key)
			continue
		}
		c, advice := exec.Command(b.python, "-c", "import "+needs[key]), "./rivals.sh installs it"
		if key == "gomlx" {
			b.gomlx = filepath.Join(b.dir, "gomlx")
			c, advice = exec.Command("go", "build", "-o", b.gomlx, "."), "go build ./gomlx"
			c.Dir = filepath.Join(b.root, "bench", "gomlx")
		}
		if out, err := c.CombinedOutput(); err != nil {
			b.missing[key] = "it was not installed"
			text := strings.TrimSpace(string(out))
			if text == "" {
				text = err.Error()
			}
			b.leave("%s (%s; %s)", key, text[strings.LastIndexByte(text, '\n')+1:], advice)
		}
	}
}

// leave says that something is left out: at once, and in the end.
func (b *bench) leave(format string, args ...any) {
	what := fmt.Sprintf(format, args...)
	if b.say("left out: %s", what); !slices.Contains(b.out, what) {
		b.out = append(b.out, what)
	}
}

func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(os.Stderr, "%4.0f s  %s\n", time.Since(b.began).Seconds(), fmt.Sprintf(format, args...))
}

// add keeps a result, and shows it.
func (b *bench) add(r *result) {
	b.results = append(b.results, r)
	line := fmt.Sprintf("%s, %d threads:", r.Name, r.Threads)
	if f := r.Failed["pitopt"]; f != "" {
		line += " " + f
	}
	if x := r.Samples["pitopt"]; len(x) > 0 {
		line += " pitopt " + duration(median(x))
	}
	for _, key := range slices.Sorted(maps.Keys(r.Values)) {
		line += fmt.Sprintf(", %s %.3g", key, r.Values[key])
	}
	for _, key := range append(slices.Clone(rivalOrder), "dense", "unmasked") {
		if x := r.ratios(key); x != nil {
			m := medianOf(x)
			line += fmt.Sprintf(", %s %s (%.2f, %.2f-%.2f)", key, duration(median(r.Samples[key])), m.Median, m.Low, m.High)
		}
		if f := r.Failed[key]; f != "" {
			line += fmt.Sprintf(", %s fails: %.200s", key, f)
		}
	}
	b.say("%s", line)
}

var rivalOrder = []string{"ort", "ort-opt", "openvino", "torch-csr", "scipy-csr", "gomlx", "single"}

// summary prints geometric means of a group.
func (b *bench) summary(g *group, threads int) {
	for _, key := range rivalOrder {
		var lists [][]float64
		for _, r := range b.results {
			if x := r.ratios(key); x != nil {
				lists = append(lists, x)
			}
		}
		if len(lists) > 1 {
			m := geomeanOf(lists)
			fmt.Printf("%s, %d threads, %s: geometric mean of %d ratios %.3f (%.3f to %.3f)\n", g.name, threads, key, len(lists), m.Median, m.Low, m.High)
		}
	}
}

// duration shows ns with three digits.
func duration(ns float64) string {
	switch {
	case ns < 1e3:
		return fmt.Sprintf("%.0f ns", ns)
	case ns < 1e6:
		return fmt.Sprintf("%.3g µs", ns/1e3)
	case ns < 1e9:
		return fmt.Sprintf("%.3g ms", ns/1e6)
	}
	return fmt.Sprintf("%.3g s", ns/1e9)
}
