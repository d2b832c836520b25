package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/pitopt/pitopt/core/disk"
	"github.com/pitopt/pitopt/runtime"
)

// trace is what -trace asks for: a time line, and the file that it is written to.
type trace struct {
	*runtime.Timeline // nil: nobody asks
	file              string
}

func (a *app) traceFlag() *trace {
	t := &trace{}
	a.flags.StringVar(&t.file, "trace", "", "`FILE` write the time line there, in the Chrome trace format")
	return t
}

// begin begins the time line, if there is to be one, or somebody wants to be told more.
func (t *trace) begin(verbose bool) {
	if t.file != "" || verbose {
		t.Timeline = runtime.NewTimeline()
	}
}

// ctx is for runs that tell the time line of themselves.
func (t *trace) ctx(a *app) context.Context {
	if t.Timeline == nil {
		return a.ctx
	}
	return runtime.Record(a.ctx, t.Timeline)
}

func us(d time.Duration) float64 { return float64(d.Nanoseconds()) / 1e3 }

// zeros tells what became of factors that may have many zeros, and of scores of which a mask may hide many.
func (a *app) zeros(t *runtime.Timeline) {
	spans, _ := t.Spans()
	for _, s := range spans {
		if s.Work == nil || s.Work.Zeros == nil {
			continue
		}
		z := s.Work.Zeros
		if z.Computed > 0 {
			a.note("%s, stage %s: %.1f %% of the scores %s are computed, the mask hides the others; took %.0f µs", s.Work.Node, s.Work.Stages, 100*z.Computed, z.Operand, us(s.Took))
			continue
		}
		found, expected, other := fmt.Sprintf("%.1f %% of %s are not zero", 100*z.Share, z.Operand), "", ""
		switch {
		case z.Unseen:
			found = fmt.Sprintf("no zeros are looked for in %s, as the product is too small, or too large", z.Operand)
		case z.Share == 1:
			found = "hardly a zero in " + z.Operand
		}
		if z.Expected > 0 && !z.Unseen {
			expected = fmt.Sprintf("expected %.0f µs, ", us(z.Expected))
		}
		if z.Dense > 0 && !strings.HasPrefix(z.Way, "dense") {
			other = fmt.Sprintf("; dense: expected %.0f µs", us(z.Dense))
		}
		a.note("%s, stage %s: %s; %s: %stook %.0f µs%s", s.Work.Node, s.Work.Stages, found, z.Way, expected, us(s.Took), other)
	}
}

// compiled keeps that something of the compilation took so long, until now.
func (t *trace) compiled(name string, took time.Duration) {
	if t != nil && t.Timeline != nil {
		t.Add(runtime.Compiling, 0, name, time.Now().Add(-took), nil)
	}
}

// event is one of the trace format: https://chromium.googlesource.com/catapult, "Trace Event Format".
type event struct {
	Name  string         `json:"name"`
	Phase string         `json:"ph"`
	Start float64        `json:"ts"`
	Took  float64        `json:"dur,omitempty"`
	PID   runtime.Track  `json:"pid"`
	TID   int            `json:"tid"`
	Args  map[string]any `json:"args,omitempty"`
}

// write writes the file, if there is to be one.
func (t *trace) write() error {
	if t.file == "" {
		return nil
	}
	spans, dropped := t.Spans()
	events := []event{}
	named := map[[2]int]bool{}
	rows := map[runtime.Track][2]string{runtime.Compiling: {"compile", ""}, runtime.Calls: {"calls", "call"}, runtime.Threads: {"threads", "thread"}}
	for _, s := range spans {
		key := [2]int{int(s.Track), s.Row}
		if !named[key] {
			named[key] = true
			what := rows[s.Track]
			events = append(events, event{Name: "process_name", Phase: "M", PID: s.Track, Args: map[string]any{"name": what[0]}},
				event{Name: "process_sort_index", Phase: "M", PID: s.Track, Args: map[string]any{"sort_index": s.Track}})
			if what[1] != "" {
				events = append(events, event{Name: "thread_name", Phase: "M", PID: s.Track, TID: s.Row, Args: map[string]any{"name": fmt.Sprintf("%s %d", what[1], s.Row+1)}})
			}
		}
		e := event{Name: s.Name, Phase: "X", Start: float64(s.Start.Nanoseconds()) / 1e3, Took: max(float64(s.Took.Nanoseconds())/1e3, .001), PID: s.Track, TID: s.Row}
		if w := s.Work; w != nil {
			e.Args = map[string]any{"node": w.Node, "program": w.Program, "stages": w.Stages, "by": w.By, "flops": w.Flops, "bytes": w.Bytes}
			if z := w.Zeros; z != nil && z.Computed > 0 {
				e.Args["scores"] = map[string]any{"operand": z.Operand, "computed": z.Computed, "way": z.Way}
			} else if z != nil {
				zeros := map[string]any{"operand": z.Operand, "way": z.Way, "expected_us": us(z.Expected), "dense_us": us(z.Dense)}
				if !z.Unseen {
					zeros["share"] = z.Share
				}
				e.Args["zeros"] = zeros
			}
		}
		events = append(events, e)
	}
	b, err := json.Marshal(map[string]any{"traceEvents": events, "displayTimeUnit": "ms", "otherData": map[string]any{"cpu": cpuName(), "dropped_spans": dropped}})
	if err != nil {
		return err
	}
	if err := disk.Write(t.file, b); err != nil {
		return notWritten("-trace", err)
	}
	return nil
}
