package cli

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/pitopt/pitopt"
	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/runtime"
	"github.com/pitopt/pitopt/runtime/cpu"
)

// profile is where the time of runs goes.
type profile struct {
	runs   int
	took   time.Duration // of all runs
	limits cpu.Limits
	rows   []*profileRow // the one that takes longest first
}

// profileRow is stages that are computed together, of one node or of several that are alike.
type profileRow struct {
	runtime.Work       // of all calls together
	nodes        int   // alike
	calls        int   // in a run
	ns           int64 // of all runs
}

// profile runs a set for about so long, and tells where its time goes. What the machine can do is
// measured before and after.
func (a *app) profile(m *pitopt.Model, s *timedSet, minTime time.Duration) (*profile, error) {
	device := cpu.New(m.Threads())
	defer device.Close()
	bytes := int64(1 << 24)
	for _, c := range m.Module().Consts {
		bytes += int64(len(c.Tensor.Bytes()))
	}
	const measuring = 100 * time.Millisecond
	before, err := device.Limits(measuring, int(min(bytes, 1<<30)))
	if err != nil {
		return nil, err
	}
	out, t := &profile{}, runtime.NewTimeline()
	ctx := runtime.Record(a.ctx, t)
	const fewest = 3
	for start := time.Now(); time.Since(start) < minTime || out.runs < fewest; out.runs++ {
		took, err := a.once(ctx, m, s)
		if err != nil {
			return nil, err
		}
		out.took += took
		spans, dropped := t.Spans()
		if dropped > 0 {
			return nil, diag.New(diag.Run, "a run has more than %d stages and parts to tell of", len(spans)).Hint("profile a smaller input")
		}
		out.add(spans)
		t = runtime.NewTimeline()
		ctx = runtime.Record(a.ctx, t)
	}
	after, err := device.Limits(measuring, int(min(bytes, 1<<30)))
	if err != nil {
		return nil, err
	}
	out.limits = cpu.Limits{Flops: (before.Flops + after.Flops) / 2, Bandwidth: (before.Bandwidth + after.Bandwidth) / 2}
	for _, r := range out.rows {
		r.calls /= out.runs
		r.Flops /= float64(out.runs)
		r.Bytes /= float64(out.runs)
	}
	slices.SortStableFunc(out.rows, func(a, b *profileRow) int { return cmp.Compare(b.ns, a.ns) })
	return out, nil
}

// add adds the stages of a run.
func (p *profile) add(spans []runtime.Span) {
	for _, s := range spans {
		if s.Work == nil {
			continue
		}
		w := *s.Work
		i := slices.IndexFunc(p.rows, func(r *profileRow) bool {
			return r.Node == w.Node && r.Program == w.Program && r.Stages == w.Stages && r.By == w.By
		})
		if i < 0 {
			i = len(p.rows)
			p.rows = append(p.rows, &profileRow{Work: runtime.Work{Node: w.Node, Program: w.Program, Stages: w.Stages, By: w.By}, nodes: 1})
		}
		r := p.rows[i]
		r.calls++
		r.ns += s.Took.Nanoseconds()
		r.Flops += w.Flops
		r.Bytes += w.Bytes
	}
}

// perRun is what a row takes of a run, in seconds: not 0, which a clock with coarse ticks may say.
func (p *profile) perRun(r *profileRow) float64 {
	return float64(max(r.ns, 1)) / 1e9 / float64(p.runs)
}

// limit is the share of what the machine can do at least as much of: arithmetic, or memory.
func (p *profile) limit(r *profileRow) float64 {
	return max(r.Flops/p.limits.Flops, r.Bytes/p.limits.Bandwidth) / p.perRun(r)
}

// alike puts rows of one program together.
func (p *profile) alike() (out []*profileRow) {
	for _, r := range p.rows {
		i := slices.IndexFunc(out, func(o *profileRow) bool {
			return o.Program == r.Program && o.Stages == r.Stages && o.By == r.By
		})
		if i < 0 {
			one := *r
			out = append(out, &one)
			continue
		}
		o := out[i]
		o.nodes, o.calls, o.ns, o.Flops, o.Bytes = o.nodes+1, o.calls+r.calls, o.ns+r.ns, o.Flops+r.Flops, o.Bytes+r.Bytes
	}
	slices.SortStableFunc(out, func(a, b *profileRow) int { return cmp.Compare(b.ns, a.ns) })
	return out
}

// rest is the time of a run that no stage takes, in seconds.
func (p *profile) rest() float64 {
	rest := p.took.Seconds() / float64(p.runs)
	for _, r := range p.rows {
		rest -= p.perRun(r)
	}
	return max(rest, 0)
}

func (a *app) printProfile(p *profile, inputs string) {
	fmt.Fprintf(a.out, "\n%s: %s a run over %s, which tell of each stage\n", inputs, round(p.took/time.Duration(p.runs)), count(p.runs, "run"))
	fmt.Fprintf(a.out, "the machine can do %.1f GFLOP/s, and read %.1f GB/s\n", p.limits.Flops/1e9, p.limits.Bandwidth/1e9)
	fmt.Fprintf(a.out, "%12s %7s %6s %9s %8s %6s  %-11s %s\n", "time", "share", "calls", "GFLOP/s", "GB/s", "limit", "by", "node and stages")
	rows, all := p.alike(), p.took.Seconds()/float64(p.runs)
	if a.common.verbose {
		rows = p.rows
	}
	for _, r := range rows {
		what := r.Node
		if r.nodes > 1 {
			what += fmt.Sprintf(" and %d more", r.nodes-1)
		}
		s := p.perRun(r)
		fmt.Fprintf(a.out, "%9.4f ms %5.1f %% %6d %9.1f %8.1f %4.0f %%  %-11s %s: @%s %s\n", s*1e3, 100*s/all, r.calls, r.Flops/s/1e9, r.Bytes/s/1e9, 100*p.limit(r), r.By, what, r.Program, shortened(r.Stages))
	}
	fmt.Fprintf(a.out, "%9.4f ms %5.1f %%  between stages\n", p.rest()*1e3, 100*p.rest()/all)
}

// shortened keeps the first and the last of long lists.
func shortened(stages string) string {
	list := strings.Split(stages, ", ")
	if len(list) > 3 {
		return list[0] + " ... " + list[len(list)-1]
	}
	return stages
}

func (p *profile) json() map[string]any {
	rows := []map[string]any{}
	for _, r := range p.rows {
		rows = append(rows, map[string]any{"node": r.Node, "program": r.Program, "stages": strings.Split(r.Stages, ", "), "by": r.By, "calls": r.calls,
			"ns": int64(p.perRun(r) * 1e9), "flops": r.Flops, "bytes": r.Bytes, "limit": p.limit(r)})
	}
	return map[string]any{"runs": p.runs, "run_ns": p.took.Nanoseconds() / int64(p.runs), "limit_flops": p.limits.Flops, "limit_bandwidth": p.limits.Bandwidth,
		"stages": rows, "rest_ns": int64(p.rest() * 1e9)}
}
