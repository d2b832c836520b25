package main

import (
	"cmp"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// short are names of rivals in tables.
var short = map[string]string{"ort": "ONNX Runtime", "ort-opt": "after its optimiser", "openvino": "OpenVINO", "torch-csr": "torch CSR", "scipy-csr": "SciPy CSR", "gomlx": "onnx-gomlx",
	"single": "each by itself", "dense": "dense", "unmasked": "without a mask"}

// report writes docs/performance.md and docs/sparsity.md, their plots, and rows of the history. What the documents
// have of groups that the store does not have stays.
func (s *store) report(docs string) error {
	for _, d := range []struct {
		file, head string
		sparse     bool
	}{{"performance.md", performanceHead, false}, {"sparsity.md", sparsityHead, true}} {
		file := filepath.Join(docs, d.file)
		all, err := readDocument(file)
		if err != nil {
			return err
		}
		for _, g := range groups {
			if g.sparse != d.sparse {
				continue
			}
			for _, n := range s.threads(g.name) {
				p := part{g.title, n}
				all.wanted[p], all.slower[p] = s.wanted(g, n), s.slower(g, n)
				if all.sections[p], err = s.section(g, n, docs); err != nil {
					return err
				}
			}
		}
		if err := all.write(file, d.head, d.sparse); err != nil {
			return err
		}
	}
	return s.history(filepath.Join(docs, "performance-history.csv"))
}

const sparsityHead = `# Sparsity

Written by ` + "`bench/`" + ` from what it measured: do not edit. [performance.md](performance.md) says how it measures.
`

const performanceHead = `# Performance

Written by ` + "`bench/`" + ` from what it measured: do not edit. How to measure is in [bench/README.md](../bench/README.md), the
geometric means of each commit that was measured in [performance-history.csv](performance-history.csv).

- Each engine is a process of its own, pinned to as many cores as it has threads, and stopped while another is measured. All
  compute in f32. Inputs and results are bound before; results are compared before a time counts. A sample is runs of 10 ms together,
  or one; engines take turns, and a sample in which threads waited for a core for more than 2 % of its time is taken again, if it takes less than 2 s.
- A ratio is the rival's time / pitopt's in the same round: over 1, pitopt is the faster one. Shown are medians over rounds, and
  in brackets 95 % intervals: order statistics for a workload, bootstrap over rounds for geometric means. Below six rounds the
  interval is all of them.
- The peak is multiply-adds on registers, and bandwidth reading memory, both measured beside each workload.
`

type sayer func(format string, args ...any)

// wanted are rows that hold what is measured against what is wanted.
func (s *store) wanted(g *group, threads int) (rows []string) {
	for i := range targets {
		t := &targets[i]
		if t.group != g.name {
			continue
		}
		m, ok := t.reached(s.Results, threads)
		if !ok {
			continue
		}
		sign, verdict := "at least", "reached"
		if t.atMost {
			sign = "at most"
		}
		if !t.met(m) {
			verdict = "**missed**"
		}
		rows = append(rows, fmt.Sprintf("| %s | %d | %s | %s %.4g | %s | %s |", g.title, threads, t.what, sign, t.bound, m, verdict))
	}
	return rows
}

func (m interval) String() string {
	if m.Low == m.High {
		return fmt.Sprintf("%.2f", m.Median)
	}
	return fmt.Sprintf("%.2f (%.2f to %.2f)", m.Median, m.Low, m.High)
}

// slower are rows of where a rival is the faster one beyond doubt, and what takes pitopt's time there.
func (s *store) slower(g *group, threads int) (rows []string) {
	type loss struct {
		r     *result
		rival string
		m     interval
	}
	var list []loss
	for _, r := range s.of(g.name, threads) {
		for _, key := range rivalOrder {
			if x := r.ratios(key); x != nil && key != "single" && r.Group != "memory" {
				if m := medianOf(x); m.High < 1 {
					list = append(list, loss{r, key, m})
				}
			}
		}
	}
	slices.SortStableFunc(list, func(a, b loss) int { return cmp.Compare(a.m.Median, b.m.Median) })
	for _, l := range list {
		rows = append(rows, fmt.Sprintf("| %s | %d | %s | %s | %.0f %% of pitopt's time | %s |", g.title, threads, l.r.Name, short[l.rival], 100*l.m.Median, s.most(l.r)))
	}
	return rows
}

// most tells what a profile has on top: of the workload, or of one of the same model.
func (s *store) most(r *result) string {
	p := r.Profile
	model, _, _ := strings.Cut(r.Name, ",")
	for _, o := range s.Results {
		if om, _, _ := strings.Cut(o.Name, ","); p == nil && o.Group == r.Group && o.Threads == r.Threads && om == model {
			p = o.Profile
		}
	}
	if p == nil {
		if r.Flops > 0 {
			return fmt.Sprintf("%.0f %% of the peak", 100*median(ofPeak(r)))
		}
		return ""
	}
	var out []string
	for _, x := range p.top(2) {
		out = append(out, fmt.Sprintf("%s (%s) %.0f %%", x.what, x.by, 100*x.ns/p.RunNS))
	}
	return strings.Join(out, "; ")
}

// section shows a group on some threads.
func (s *store) section(g *group, threads int, docs string) ([]string, error) {
	var b strings.Builder
	say := func(format string, args ...any) { fmt.Fprintf(&b, format+"\n", args...) }
	list := s.of(g.name, threads)
	say("%s, commit %s.\n", plural(threads, "thread"), circumstances(list))
	series := g.series
	if series == nil {
		series = ratiosTo(slices.DeleteFunc(slices.Clone(rivalOrder), func(key string) bool {
			return !slices.ContainsFunc(list, func(r *result) bool { return len(r.Samples[key]) > 0 || r.Failed[key] != "" })
		})...)
	}
	if g.show != nil {
		g.show(say, list)
	} else {
		showTimes(say, list, series)
	}
	file := fmt.Sprintf("performance-%s-%d.svg", g.name, threads)
	drawn, err := plotRatios(filepath.Join(docs, file), fmt.Sprintf("%s, %s: %s / pitopt's", g.title, plural(threads, "thread"), cmp.Or(g.unit, "time")), list, series)
	if err != nil {
		return nil, err
	}
	for _, line := range without(list) {
		say("%s\n", line)
	}
	if drawn {
		say("![Ratios](%s)\n", file)
	}
	if g.show == nil {
		s.profiles(say, list)
	}
	return strings.Split(strings.TrimSpace(b.String()), "\n"), nil
}

// without tells why tables have no times of rivals: those that were not run, and those that failed.
func without(list []*result) (lines []string) {
	for _, key := range rivalOrder {
		for _, kind := range []struct {
			what string
			why  func(*result) string
		}{{"not run", func(r *result) string { return r.Absent[key] }}, {"fails", func(r *result) string { return r.Failed[key] }}} {
			var reasons []string
			for _, r := range list {
				if why, _, _ := strings.Cut(kind.why(r), "\n"); why != "" && !slices.Contains(reasons, why) {
					reasons = append(reasons, why)
				}
			}
			if len(reasons) > 0 {
				lines = append(lines, fmt.Sprintf("%s: %s (%s).", short[key], kind.what, strings.Join(reasons, "; ")))
			}
		}
	}
	return lines
}

// circumstances tell which commits results are of, when they were measured, and of what on what.
func circumstances(list []*result) string {
	var commits, dates, machines, engines []string
	add := func(to *[]string, x string) {
		if x != "" && !slices.Contains(*to, x) {
			*to = append(*to, x)
		}
	}
	for _, r := range list {
		add(&commits, r.Commit)
		add(&dates, r.Date)
		add(&machines, r.CPU)
		for _, key := range append([]string{"pitopt"}, rivalOrder...) {
			add(&engines, r.Engines[key])
		}
	}
	return strings.Join([]string{strings.Join(commits, " and "), strings.Join(dates, " and "), strings.Join(machines, " and ")}, ", ") + ": " + strings.Join(engines, "; ")
}

// showTimes shows times of all engines.
func showTimes(say sayer, list []*result, rivals []series) {
	head, line := "| workload | pitopt |", "|---|---|"
	for _, x := range rivals {
		head, line = head+" "+x.name+" | ratio |", line+"---|---|"
	}
	peak := slices.ContainsFunc(list, func(r *result) bool { return r.Flops > 0 })
	if peak {
		head, line = head+" GFLOP/s | of the peak |", line+"---|---|"
	}
	say("%s\n%s", head, line)
	for _, r := range list {
		if f := r.Failed["pitopt"]; f != "" {
			say("| %s | %s |%s", r.Name, strings.ReplaceAll(f, "\n", " "), strings.Repeat(" |", strings.Count(line, "|")-3))
			continue
		}
		row := fmt.Sprintf("| %s | %s |", r.Name, duration(median(r.Samples["pitopt"])))
		for _, x := range rivals {
			took, ratio := r.against(x.key)
			row += fmt.Sprintf(" %s | %s |", took, ratio)
		}
		if peak {
			row += fmt.Sprintf(" %.1f | %.0f %% |", r.Flops/median(r.Samples["pitopt"]), 100*median(ofPeak(r)))
		}
		say("%s", row)
	}
	for _, x := range rivals {
		var lists [][]float64
		for _, r := range list {
			if ratios := r.ratios(x.key); ratios != nil {
				lists = append(lists, ratios)
			}
		}
		if len(lists) > 1 {
			say("\nGeometric mean against %s: %s.", x.name, geomeanOf(lists))
		}
	}
	say("")
}

func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// topRow is a stage of a profile, of all nodes that are alike.
type topRow struct {
	what, by         string
	calls            int
	ns, flops, bytes float64
}

// top are the n that take longest.
func (p *profile) top(n int) []*topRow {
	var out []*topRow
	for _, x := range p.Stages {
		what := "`" + x.Program + "` " + x.Stages[0]
		if len(x.Stages) > 1 {
			what += " to " + x.Stages[len(x.Stages)-1]
		}
		i := slices.IndexFunc(out, func(o *topRow) bool { return o.what == what && o.by == x.By })
		if i < 0 {
			i = len(out)
			out = append(out, &topRow{what: what, by: x.By})
		}
		o := out[i]
		o.calls, o.ns, o.flops, o.bytes = o.calls+x.Calls, o.ns+x.NS, o.flops+x.Flops, o.bytes+x.Bytes
	}
	slices.SortStableFunc(out, func(a, b *topRow) int { return cmp.Compare(b.ns, a.ns) })
	return out[:min(n, len(out))]
}

// profiles show where the time goes.
func (s *store) profiles(say sayer, list []*result) {
	for _, r := range list {
		p := r.Profile
		if p == nil {
			continue
		}
		say("Where the time of %s goes, on %s (`pitopt bench -profile`; the machine can do %.0f GFLOP/s and read %.0f GB/s):\n", r.Name, plural(r.Threads, "thread"), p.Flops/1e9, p.Bandwidth/1e9)
		say("| stages | by | calls | share | GFLOP/s | GB/s | of the limit |\n|---|---|---|---|---|---|---|")
		for _, x := range p.top(5) {
			say("| %s | %s | %d | %.1f %% | %.1f | %.1f | %.0f %% |", x.what, x.by, x.calls, 100*x.ns/p.RunNS, x.flops/x.ns, x.bytes/x.ns, 100e9*max(x.flops/p.Flops, x.bytes/p.Bandwidth)/x.ns)
		}
		say("| between stages | | | %.1f %% | | | |\n", 100*p.RestNS/p.RunNS)
	}
}

func mb(x float64) string { return fmt.Sprintf("%.1f MB", x/1e6) }

func showMemory(say sayer, list []*result) {
	say("Peak memory of a process with one run, less that of one over 8 words.\n")
	say("| | pitopt | ONNX Runtime |\n|---|---|---|")
	for _, r := range list {
		say("| %s | %s | %s |", r.Name, mb(r.Values["pitopt memory"]), mb(r.Values["ort memory"]))
	}
	say("")
}

func showFirst(say sayer, list []*result) {
	say("pitopt's time is from the start of the process, a rival's from where it begins to load: neither Python nor its packages count. Peak")
	say("memory is that of the process after six runs; what a rival's process had before it loaded the model is in brackets.\n")
	say("| | first result | pitopt's time in it | peak memory |\n|---|---|---|---|")
	for _, r := range list {
		for _, key := range append([]string{"pitopt"}, rivalOrder...) {
			x := r.Samples[key]
			if len(x) == 0 {
				continue
			}
			name, share, before := "pitopt", "", ""
			if key != "pitopt" {
				name, share, before = short[key], medianOf(inverse(key)(r)).String(), fmt.Sprintf(" (%s)", mb(r.Values[key+" before"]))
			}
			say("| %s, %s | %s | %s | %s%s |", r.Name, name, duration(median(x)), share, mb(r.Values[key+" peak"]), before)
		}
	}
	say("")
}

func showBinary(say sayer, list []*result) {
	say("Static, stripped, without cgo: %s.\n", mb(list[0].Values["bytes"]))
}
