package cli

import (
	"context"
	"fmt"
	"maps"
	"os"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/pitopt/pitopt"
	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

// timing is what bench measured.
type timing struct {
	load, first time.Duration // file to ready, and to the first result
	sets        []timedSet
	peak        int64 // memory that the process had at most, in bytes
}

// timedSet is a set of inputs with the times of its runs.
type timedSet struct {
	values map[string]tensor.Value
	drawn  drawn
	times  []time.Duration

	session  *pitopt.Session // nil: the model is run as it is
	begun    bool            // it is
	appended int64           // bytes that a call writes to states

	profile *profile // nil: nobody asks
}

// bench times a model over one or several sets of sizes, in turn.
func (a *app) bench(args []string) error {
	fs := a.begin("bench", "MODEL", "Times a model, after one run of each set of sizes to warm up. With several sets, runs go round robin over them.\n"+
		"With [[state]] in the pipeline a run is a call in a session, and each begins with the states as they were given,\n"+
		"or drawn with -dim AXIS=N, else empty.")
	a.runFlags()
	in := a.inputFlags()
	shapes := fs.String("shapes", "", "`SETS` of sizes for drawn inputs: 'batch=1,seq=16 batch=8,seq=128'")
	profiled := fs.Bool("profile", false, "tell where the time goes, stage by stage: by node with -v")
	tr := a.traceFlag()
	minTime := fs.Duration("min-time", time.Second, "`TIME` to measure at least")
	rest, err := a.parse(args)
	if err != nil {
		return err
	}
	path, err := a.one(rest, "model")
	if err != nil {
		return err
	}
	if *minTime < 0 {
		return diag.New(diag.Usage, "-min-time is %s", *minTime).Hint("write a time such as 500ms or 2s")
	}
	p, err := a.findPipeline(path)
	if err != nil {
		return err
	}
	in.states = p.State
	flags, err := in.each(*shapes)
	if err != nil {
		return err
	}
	t, drawing := &timing{}, time.Duration(0)
	tr.begin(false)
	start := time.Now()
	m, err := a.load(path, p, pitopt.ForSessions(), pitopt.Observe(pitopt.Observer{Imported: func(m *ir.Module, _ time.Duration) error {
		start := time.Now()
		defer func() { drawing = time.Since(start) }()
		for _, f := range flags {
			values, drawn, err := f.values(m, a.common.seed, p.Target.Memory)
			if err != nil {
				return err
			}
			a.noteDrawn(drawn)
			t.sets = append(t.sets, timedSet{values: values, drawn: drawn})
		}
		return nil
	}}))
	if err != nil {
		return err
	}
	defer m.Close()
	if *profiled && m.TargetName() != "cpu" {
		return diag.New(diag.Usage, "-profile is for the target cpu, and the model runs on %s", m.TargetName())
	}
	t.load = time.Since(start) - drawing
	tr.compiled("load", time.Since(start))
	for i := range t.sets {
		if len(p.State) > 0 {
			if t.sets[i].session, err = m.Session(); err != nil {
				return err
			}
		}
	}
	if err := a.measure(m, t, *minTime, tr); err != nil {
		return err
	}
	t.peak = peakRSS()
	for i := range t.sets {
		if s := &t.sets[i]; *profiled {
			if s.profile, err = a.profile(m, s, *minTime/time.Duration(len(t.sets))); err != nil {
				return err
			}
		}
	}
	if a.common.json {
		a.emit(a.benchJSON(path, m, t))
	} else {
		a.printBench(path, m, t)
	}
	return tr.write()
}

// each gives the inputs of every set of sizes in shapes; those of the flags alone where
// there is none.
func (f *inputFlags) each(shapes string) ([]*inputFlags, error) {
	sets := strings.Fields(shapes)
	if len(sets) == 0 {
		return []*inputFlags{f}, nil
	}
	if f.dir != "" || len(f.files) > 0 {
		return nil, diag.New(diag.Usage, "-shapes is for drawn inputs, and files have sizes of their own").Hint("leave out -shapes, or -input and -inputs")
	}
	var out []*inputFlags
	for _, set := range sets {
		g := &inputFlags{dims: maps.Clone(f.dims), states: f.states}
		for _, d := range strings.Split(set, ",") {
			if err := g.setDim(d); err != nil {
				return nil, diag.New(diag.Usage, "-shapes: %q is not %v", d, err)
			}
		}
		out = append(out, g)
	}
	return out, nil
}

// once times a run of a set.
func (a *app) once(ctx context.Context, m *pitopt.Model, s *timedSet) (time.Duration, error) {
	if s.session != nil {
		return a.callAgain(ctx, m, s)
	}
	start := time.Now()
	_, err := m.RunValues(ctx, s.values)
	return time.Since(start), s.drawn.blame(err)
}

// measure runs the sets in turn. The first run of each is not counted. A trace shows that run,
// and one more.
func (a *app) measure(m *pitopt.Model, t *timing, minTime time.Duration, tr *trace) error {
	for i := range t.sets {
		a.progress("warming up, %d of %d", i+1, len(t.sets))
		took, err := a.once(tr.ctx(a), m, &t.sets[i])
		if err != nil {
			return err
		}
		if i == 0 {
			t.first = t.load + took
		}
	}
	const fewest = 3 // runs of a set
	shown := time.Time{}
	for start, runs := time.Now(), 0; time.Since(start) < minTime || runs < fewest; runs++ {
		if time.Since(shown) > 100*time.Millisecond {
			shown = time.Now()
			a.progress("%d runs in %s", runs*len(t.sets), time.Since(start).Round(100*time.Millisecond))
		}
		for i := range t.sets {
			took, err := a.once(a.ctx, m, &t.sets[i])
			if err != nil {
				return err
			}
			t.sets[i].times = append(t.sets[i].times, took)
		}
	}
	for i := range t.sets {
		if tr.Timeline != nil {
			if _, err := a.once(tr.ctx(a), m, &t.sets[i]); err != nil {
				return err
			}
		}
	}
	a.clear()
	return nil
}

// quantiles gives values at parts q of a list, each that of a run.
func quantiles(list []time.Duration, q ...float64) []int64 {
	list = slices.Sorted(slices.Values(list))
	out := make([]int64, len(q))
	for i, x := range q {
		out[i] = list[int(x*float64(len(list)-1)+.5)].Nanoseconds()
	}
	return out
}

func (a *app) benchJSON(path string, m *pitopt.Model, t *timing) map[string]any {
	var all []time.Duration
	sets := []map[string]any{}
	for _, s := range t.sets {
		all = append(all, s.times...)
		q := quantiles(s.times, .5, .9, .99)
		set := map[string]any{"inputs": shapesOf(s.values), "runs": len(s.times), "median_ns": q[0], "p90_ns": q[1], "p99_ns": q[2]}
		if s.session != nil {
			set["appended_bytes"] = s.appended
		}
		if s.profile != nil {
			set["profile"] = s.profile.json()
		}
		sets = append(sets, set)
	}
	q := quantiles(all, .5, .9, .99)
	return map[string]any{"kind": "bench", "model": path, "target": m.TargetName(), "threads": m.Threads(), "cpu": cpuName(),
		"median_ns": q[0], "p90_ns": q[1], "p99_ns": q[2], "runs": len(all),
		"load_ns": t.load.Nanoseconds(), "first_ns": t.first.Nanoseconds(), "peak_rss": t.peak, "shapes": sets}
}

func (a *app) printBench(path string, m *pitopt.Model, t *timing) {
	fmt.Fprintf(a.out, "%s on %s, %s, %s\n", path, m.TargetName(), count(m.Threads(), "thread"), cpuName())
	width := 0
	names := make([]string, len(t.sets))
	for i, s := range t.sets {
		names[i] = shapesText(s.values)
		width = max(width, len(names[i]))
	}
	for i, s := range t.sets {
		q := quantiles(s.times, .5, .9, .99)
		fmt.Fprintf(a.out, "%-*s  median %s, p90 %s, p99 %s, %d runs", width, names[i], round(time.Duration(q[0])), round(time.Duration(q[1])), round(time.Duration(q[2])), len(s.times))
		if s.session != nil {
			fmt.Fprintf(a.out, ", %d bytes written to states in each", s.appended)
		}
		fmt.Fprintln(a.out)
	}
	fmt.Fprintf(a.out, "load %s, first result after %s", round(t.load), round(t.first))
	if rss := t.peak; rss > 0 {
		fmt.Fprintf(a.out, ", peak memory %s", size(rss))
	}
	fmt.Fprintln(a.out)
	for i, s := range t.sets {
		if s.profile != nil {
			a.printProfile(s.profile, strings.TrimSpace(names[i]))
		}
	}
}

// shapesOf are the shapes of inputs that are tensors, by name.
func shapesOf(v map[string]tensor.Value) map[string][]int64 {
	out := map[string][]int64{}
	for name, x := range v {
		if t, ok := x.(*tensor.Tensor); ok {
			out[name] = t.Shape()
		}
	}
	return out
}

func shapesText(v map[string]tensor.Value) string {
	var parts []string
	for name, x := range v {
		if t, ok := x.(*tensor.Tensor); ok {
			parts = append(parts, name+" "+typeText(t))
		}
	}
	slices.Sort(parts)
	return strings.Join(parts, ", ")
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
