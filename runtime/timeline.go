package runtime

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/pitopt/pitopt/core/ir"
)

// Timeline keeps what happens while a model is compiled and run, as spans of time. It is safe for
// concurrent use. Runs whose context comes from Record tell it of themselves; others cost nothing.
type Timeline struct {
	start time.Time

	mu      sync.Mutex
	spans   []Span
	dropped int
	busy    [tracks][]bool // rows in use
}

// Track is a group of rows, on each of which spans lie apart or inside one another.
type Track int

// The tracks.
const (
	Compiling Track = iota // reading, passes
	Calls                  // calls of the model, and in them statements, and in these stages: a row for each call at a time
	Threads                // parts of stages: a row for each thread that works at a time
	tracks
)

// Span is something that took time.
type Span struct {
	Track Track
	Row   int
	Name  string
	Start time.Duration // since the timeline began
	Took  time.Duration
	Work  *Work // of a stage that a device has computed
}

// Work is what a device has done in one go: stages of a program, computed together.
type Work struct {
	Node    string // of the model, whose statement called the program
	Program string
	Stages  string // what they define
	By      string // the way in which the device computes them
	Flops   float64
	Bytes   float64 // of operands and results, each once
	Zeros   *Zeros  // that were looked for; nil: none were
}

// Zeros is what a device has made of a factor that may have many zeros, or of scores of which a mask may hide many.
type Zeros struct {
	Operand  string
	Unseen   bool          // nobody looked for zeros, as the product is too small or too large for that to be worth it
	Share    float64       // of it that is not zero, of what was looked at
	Way      string        // how terms were left out, or "dense"
	Expected time.Duration // that it was to take, without looking for zeros; 0 where a glance at some of them was enough
	Dense    time.Duration // that all terms were to take
	Computed float64       // of scores: the share that was computed, as the mask does not hide it or stands beside what it does not; 0: these are none
}

// mostSpans bounds what a timeline keeps: 100 MB.
const mostSpans = 1 << 20

// NewTimeline begins one.
func NewTimeline() *Timeline { return &Timeline{start: time.Now()} }

// Add keeps a span that began at some time and ends now.
func (t *Timeline) Add(track Track, row int, name string, start time.Time, work *Work) {
	t.add(Span{Track: track, Row: row, Name: name, Start: start.Sub(t.start), Took: time.Since(start), Work: work})
}

func (t *Timeline) add(s Span) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.spans) >= mostSpans {
		t.dropped++
		return
	}
	t.spans = append(t.spans, s)
}

// Spans are those that were kept, in the order in which they began, and how many were not for want
// of room.
func (t *Timeline) Spans() (spans []Span, dropped int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	spans = slices.Clone(t.spans)
	slices.SortStableFunc(spans, func(a, b Span) int {
		if a.Start != b.Start {
			return int(a.Start - b.Start)
		}
		return int(b.Took - a.Took)
	})
	return spans, t.dropped
}

// Enter takes the first row of a track that is free, until Leave.
func (t *Timeline) Enter(track Track) (row int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	row = slices.Index(t.busy[track], false)
	if row < 0 {
		row = len(t.busy[track])
		t.busy[track] = append(t.busy[track], false)
	}
	t.busy[track][row] = true
	return row
}

// Leave gives a row back.
func (t *Timeline) Leave(track Track, row int) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.busy[track][row] = false
}

type timelineKey struct{}

// Record lets runs with the context it gives tell a timeline of themselves.
func Record(ctx context.Context, t *Timeline) context.Context {
	return context.WithValue(ctx, timelineKey{}, &Recorder{Timeline: t})
}

// Recorder is how a call writes to a timeline.
type Recorder struct {
	*Timeline
	row    int
	stmt   *ir.Stmt // that runs
	branch string   // that it took
}

// RecorderOf gives the recorder of a run; nil where there is none.
func RecorderOf(ctx context.Context) *Recorder {
	r, _ := ctx.Value(timelineKey{}).(*Recorder)
	return r
}

// Stage keeps that a device has computed stages. It says of which node.
func (r *Recorder) Stage(start time.Time, w Work) {
	if r.stmt != nil {
		w.Node = r.stmt.Place()
	}
	r.Add(Calls, r.row, w.By+" "+w.Stages, start, &w)
}

// Part keeps what a thread did of it, on a row from Enter.
func (r *Recorder) Part(row int, name string, start time.Time) { r.Add(Threads, row, name, start, nil) }

// call begins the record of a run; ctx is the one to run with.
func (r *Recorder) call(ctx context.Context) (context.Context, *Recorder) {
	one := &Recorder{Timeline: r.Timeline, row: r.Enter(Calls)}
	return context.WithValue(ctx, timelineKey{}, one), one
}

// statement runs one and keeps how long it took.
func (r *Recorder) statement(s *ir.Stmt, run func() error) error {
	if s.Op != nil && (s.Op.Name == ir.AllocName || s.Op.Name == ir.ReleaseName) {
		return run()
	}
	around, start := r.stmt, time.Now()
	r.stmt = s
	err := run()
	what := s.OpName()
	if r.branch != "" {
		what += ", " + r.branch
	}
	r.stmt, r.branch = around, ""
	r.Add(Calls, r.row, s.Place()+" ("+what+")", start, nil)
	return err
}
