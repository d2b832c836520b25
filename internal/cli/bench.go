package cli

import (
	"fmt"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/tensor"
)

// bench times a model over one or several sets of sizes, in turn.
func (a *app) bench(args []string) error {
	fs := a.begin("bench", "MODEL", "Times a model. With several shapes, runs go round robin over them.")
	in := a.inputFlags()
	shapes := fs.String("shapes", "", "sets of sizes, `'batch=1,seq=16 batch=8,seq=128'`")
	minTime := fs.Duration("min-time", time.Second, "time for at least this long")
	rest, err := a.parse(args)
	if err != nil {
		return err
	}
	path, err := one(rest, "model")
	if err != nil {
		return err
	}
	start := time.Now()
	m, err := a.load(path)
	if err != nil {
		return err
	}
	defer m.Close()
	load := time.Since(start)
	var sets []map[string]tensor.Value
	for _, shape := range append(strings.Fields(*shapes), "")[:max(1, len(strings.Fields(*shapes)))] {
		f := &inputFlags{files: in.files, dir: in.dir, dims: map[string]int64{}}
		for k, v := range in.dims {
			f.dims[k] = v
		}
		for _, d := range strings.FieldsFunc(shape, func(r rune) bool { return r == ',' }) {
			if err := f.setDim(d); err != nil {
				return diag.New(diag.Usage, "-shapes: %v", err)
			}
		}
		v, _, err := f.values(m.Module(), a.common.seed)
		if err != nil {
			return err
		}
		sets = append(sets, v)
	}
	first := time.Duration(0)
	for i, v := range sets { // warm up, and time to the first result
		begin := time.Now()
		if _, err := m.RunValues(a.ctx, v); err != nil {
			return err
		}
		if i == 0 {
			first = load + time.Since(begin)
		}
	}
	times := make([][]time.Duration, len(sets))
	var all []time.Duration
	for begin := time.Now(); time.Since(begin) < *minTime || len(all) < 3*len(sets); {
		for i, v := range sets {
			t := time.Now()
			if _, err := m.RunValues(a.ctx, v); err != nil {
				return err
			}
			d := time.Since(t)
			times[i], all = append(times[i], d), append(all, d)
		}
	}
	quantile := func(list []time.Duration, q float64) time.Duration {
		list = slices.Clone(list)
		slices.Sort(list)
		return list[int(q*float64(len(list)-1))]
	}
	if a.common.json {
		per := []map[string]any{}
		for i, t := range times {
			per = append(per, map[string]any{"inputs": inputShapes(sets[i]), "median_ns": quantile(t, .5).Nanoseconds()})
		}
		a.emit(map[string]any{"kind": "bench", "model": path, "target": m.TargetName(), "threads": a.threads(), "median_ns": quantile(all, .5).Nanoseconds(),
			"p90_ns": quantile(all, .9).Nanoseconds(), "p99_ns": quantile(all, .99).Nanoseconds(), "runs": len(all), "load_ns": load.Nanoseconds(),
			"first_ns": first.Nanoseconds(), "peak_rss": peakRSS(), "shapes": per, "cpu": cpuName()})
		return nil
	}
	fmt.Fprintf(a.out, "%s on %s, %d threads, %s\n", path, m.TargetName(), a.threads(), cpuName())
	for i, t := range times {
		fmt.Fprintf(a.out, "%-40s median %s, p90 %s, %d runs\n", inputShapes(sets[i]), round(quantile(t, .5)), round(quantile(t, .9)), len(t))
	}
	fmt.Fprintf(a.out, "load %s, first result after %s, peak memory %d MiB\n", round(load), round(first), peakRSS()>>20)
	return nil
}

func (a *app) threads() int {
	if a.common.threads > 0 {
		return a.common.threads
	}
	return runtime.GOMAXPROCS(0)
}

func inputShapes(v map[string]tensor.Value) string {
	var parts []string
	for name, x := range v {
		if t, ok := x.(*tensor.Tensor); ok {
			parts = append(parts, fmt.Sprintf("%s%v", name, t.Shape()))
		}
	}
	slices.Sort(parts)
	return strings.Join(parts, " ")
}

// procField reads a line of a file of /proc: what stands behind a key; "" where there is
// none.
func procField(file, key string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	for _, line := range strings.Split(string(b), "\n") {
		if k, v, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(k) == key {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

func cpuName() string {
	if n := procField("/proc/cpuinfo", "model name"); n != "" {
		return n
	}
	return runtime.GOARCH
}

// peakRSS is the largest memory the process had, in bytes; 0 where the system does not
// tell.
func peakRSS() int64 {
	var kb int64
	_, _ = fmt.Sscanf(procField("/proc/self/status", "VmHWM"), "%d kB", &kb)
	return kb << 10
}
