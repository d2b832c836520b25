package main

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/pitopt/pitopt/bench/protocol"
	"github.com/pitopt/pitopt/core/tensor"
)

type tensors = map[string]*tensor.Tensor

// workload is one model on one set of inputs.
type workload struct {
	group string
	name  string
	model string // path
	draw  func() (tensors, error)

	flops float64 // of a run, where that is known
	bytes float64 // that a run must read and write at least

	active func(out *tensor.Tensor) float64 // operations of a run, told by what comes out of it; nil: flops are all

	profile []string // arguments of a profile that is to be shown; nil: none

	fresh  int                       // sets of inputs that are drawn, which the runs of a sample have in turn; 0: one for all
	base   *base                     // what pitopt also runs in each round; nil: nothing
	values func() map[string]float64 // what is said of the inputs, by name, once they are drawn; nil: nothing
}

// base is another model that a workload is held against: samples of it have its name.
type base struct {
	name, model string
	draw        func() (tensors, error)
}

// result is what came of a workload: ns of a run, a value for each round, by engine. Values at
// the same place are of the same round.
type result struct {
	Group    string               `json:"group"`
	Name     string               `json:"name"`
	Threads  int                  `json:"threads"`
	Commit   string               `json:"commit"`
	Date     string               `json:"date"`
	CPU      string               `json:"cpu"`
	Engines  map[string]string    `json:"engines"` // names and versions
	Samples  map[string][]float64 `json:"samples"`
	Failed   map[string]string    `json:"failed,omitempty"` // what went wrong with an engine
	Absent   map[string]string    `json:"absent,omitempty"` // why rivals were not run
	Flops    float64              `json:"flops,omitempty"`
	Bytes    float64              `json:"bytes,omitempty"`
	Retaken  int                  `json:"retaken,omitempty"` // samples that others had disturbed
	Distance float64              `json:"distance"`          // to the first rival's results, the largest
	Values   map[string]float64   `json:"values,omitempty"`  // what is not a time, by name
	Profile  *profile             `json:"profile,omitempty"`
}

// against is a rival's time, and the ratio to pitopt's, as tables have them.
func (r *result) against(rival string) (took, ratio string) {
	if x := r.ratios(rival); x != nil {
		return duration(median(r.Samples[rival])), medianOf(x).String()
	}
	if r.Failed[rival] != "" {
		return "fails", ""
	}
	return "not run", ""
}

// ratios are those of a rival's times to pitopt's, round by round.
func (r *result) ratios(rival string) []float64 {
	a, b := r.Samples["pitopt"], r.Samples[rival]
	if len(a) == 0 || len(a) != len(b) {
		return nil
	}
	out := make([]float64, len(a))
	for i := range a {
		out[i] = b[i] / a[i]
	}
	return out
}

// pool is engines of one number of threads. Those that fail on a model are left out of it.
type pool struct {
	b       *bench
	threads int
	engines []*engine
}

func (b *bench) newPool(threads int, keys []string, env ...string) (*pool, error) {
	p := &pool{b: b, threads: threads}
	for _, key := range keys {
		e, err := b.startEngine(key, threads, env...)
		if errors.Is(err, errMissing) {
			continue
		}
		if err != nil {
			p.close()
			return nil, err
		}
		e.hold()
		p.engines = append(p.engines, e)
	}
	return p, nil
}

func (p *pool) close() {
	for _, e := range p.engines {
		e.close()
	}
}

// run measures workloads of one model after another: those of the same model stand together.
func (p *pool) run(list []workload) error {
	for len(list) > 0 {
		n := 1
		for n < len(list) && list[n].model == list[0].model {
			n++
		}
		if err := p.model(list[:n]); err != nil {
			return err
		}
		list = list[n:]
	}
	return nil
}

func (p *pool) model(list []workload) error {
	failed := map[string]string{}
	var ready []*engine
	for _, e := range p.engines {
		_, err := e.ask(protocol.Request{Op: "load", Model: "m", Path: list[0].model})
		e.hold()
		if err != nil {
			if e.key == "pitopt" || errors.Is(err, errEnded) {
				return fmt.Errorf("%s: %w", list[0].model, err)
			}
			failed[e.key] = err.Error()
			continue
		}
		ready = append(ready, e)
	}
	defer func() {
		for _, e := range ready {
			_, _ = e.ask(protocol.Request{Op: "drop", Model: "m"})
			e.hold()
		}
	}()
	for _, w := range list {
		r := &result{Group: w.group, Name: w.name, Threads: p.threads, Samples: map[string][]float64{}, Failed: map[string]string{}, Absent: map[string]string{}, Flops: w.flops, Bytes: w.bytes}
		for k, v := range failed {
			r.Failed[k] = v
		}
		err := p.measure(r, ready, w)
		if err == nil && w.profile != nil {
			r.Profile, err = p.b.profileOf(p.threads, w.model, w.profile...)
		}
		if errors.Is(err, errEnded) {
			return fmt.Errorf("%s: %w", w.name, err)
		}
		if err != nil { // the others are not to be lost
			r.Samples = map[string][]float64{}
			r.Failed["pitopt"] = err.Error()
			p.b.failed = append(p.b.failed, fmt.Sprintf("%s, %s, %d threads: %v", w.group, w.name, p.threads, err))
		}
		p.b.add(r)
	}
	return nil
}

// measure runs a workload on each engine in turn, round by round, every other one the other way
// round.
func (p *pool) measure(r *result, ready []*engine, w workload) error {
	sets := []string{"s"} // which take the place of those of the workload before
	var drawn []map[string]string
	for i := range max(1, w.fresh) {
		in, err := w.draw()
		if err != nil {
			return err
		}
		files, err := p.b.write(in)
		if err != nil {
			return err
		}
		if drawn = append(drawn, files); i > 0 {
			sets = append(sets, fmt.Sprint(sets[0], "-", i))
		}
	}
	runs := map[*engine]int{} // in a sample
	warm := map[*engine]int{} // before it
	var engines []*engine
	for _, e := range ready {
		var took float64
		var err error
		for i := range sets {
			if took, err = p.prepare(e, "m", sets[i], drawn[i], preparing(len(sets))); err != nil {
				break
			}
		}
		if err == nil && w.base != nil && e.key == "pitopt" {
			err = p.prepareBase(e, w.base, sets)
		}
		e.hold()
		if err != nil {
			if e.key == "pitopt" || errors.Is(err, errEnded) {
				return err
			}
			r.Failed[e.key] = err.Error()
			continue
		}
		if e.key == "ort-opt" && took > 5e8 {
			r.Absent[e.key] = "it takes long, and is there as it comes"
			continue
		}
		engines = append(engines, e)
		took *= float64(len(sets))
		runs[e] = max(1, min(5000, int(math.Ceil(float64(p.b.sample)/took))))
		if took < 1e7 {
			warm[e] = min(runs[e], 3)
		}
	}
	for _, set := range sets {
		d, out, err := p.compare(engines, set)
		if err != nil {
			return err
		}
		r.Distance = max(r.Distance, d)
		if w.active != nil {
			r.Flops = w.active(out[0])
		}
	}
	start := time.Now()
	for round := 0; round < p.b.most && (round < p.b.fewest || time.Since(start) < p.b.time); round++ {
		for i := range engines {
			e := engines[i]
			if round%2 == 1 {
				e = engines[len(engines)-1-i]
			}
			ns, err := p.sample(e, protocol.Request{Op: "run", Model: "m", Set: sets[0], More: sets[1:], Warm: warm[e], N: runs[e]}, r)
			if err != nil {
				return err
			}
			r.Samples[e.key] = append(r.Samples[e.key], ns)
			if w.base == nil || e.key != "pitopt" {
				continue
			}
			if ns, err = p.sample(e, protocol.Request{Op: "run", Model: w.base.name, Set: sets[0], More: sets[1:], Warm: warm[e], N: runs[e]}, r); err != nil {
				return err
			}
			r.Samples[w.base.name] = append(r.Samples[w.base.name], ns)
		}
	}
	if w.base != nil {
		if _, err := engines[0].ask(protocol.Request{Op: "drop", Model: w.base.name}); err != nil {
			return err
		}
		engines[0].hold()
	}
	if w.flops > 0 {
		a, err := engines[0].ask(protocol.Request{Op: "limits", N: int(p.b.limits / time.Millisecond)})
		engines[0].hold()
		if err != nil {
			return err
		}
		r.Values = map[string]float64{"peak": a.Flops, "bandwidth": a.Bandwidth}
	}
	if w.values != nil {
		if r.Values == nil {
			r.Values = map[string]float64{}
		}
		maps.Copy(r.Values, w.values())
	}
	return nil
}

// sample asks for one, again where others took the cores for more than 2 % of its time, unless it takes seconds: another one would
// hardly be left alone. It gives ns of a run.
func (p *pool) sample(e *engine, q protocol.Request, r *result) (float64, error) {
	defer e.hold()
	best, least := 0., math.Inf(1)
	for range 3 {
		before := e.waited()
		a, err := e.ask(q)
		if err != nil {
			return 0, err
		}
		waited := float64(e.waited()-before) / float64(a.NS)
		if waited < least {
			best, least = float64(a.NS)/float64(q.N*(1+len(q.More))), waited
		}
		if waited < .02 || a.NS > 2e9 || q.Op == "decode" { // which can not be repeated
			break
		}
		r.Retaken++
	}
	return best, nil
}

// prepare gives an engine inputs, asks it for some runs at most, and tells how long one takes, in ns.
func (p *pool) prepare(e *engine, model, set string, files map[string]string, most int) (float64, error) {
	if _, err := e.ask(protocol.Request{Op: "inputs", Model: model, Set: set, Files: files}); err != nil {
		return 0, err
	}
	best := math.Inf(1)
	for i := range most {
		a, err := e.ask(protocol.Request{Op: "run", Model: model, Set: set, Warm: min(i, 1), N: 1})
		if err != nil {
			return 0, err
		}
		best = min(best, float64(max(a.NS, 1)))
		if best > 2e8 {
			break
		}
	}
	return best, nil
}

// preparing is how often an engine is asked to run on each of some inputs before its time counts: of one alone it is to be known
// how long a run takes, too.
func preparing(sets int) int {
	if sets > 1 {
		return 2
	}
	return 4
}

// prepareBase gives an engine what a workload is held against, with as many inputs.
func (p *pool) prepareBase(e *engine, base *base, sets []string) error {
	if _, err := e.ask(protocol.Request{Op: "load", Model: base.name, Path: base.model}); err != nil {
		return err
	}
	for _, set := range sets {
		in, err := base.draw()
		if err != nil {
			return err
		}
		files, err := p.b.write(in)
		if err != nil {
			return err
		}
		if _, err = p.prepare(e, base.name, set, files, preparing(len(sets))); err != nil {
			return err
		}
	}
	return nil
}

// compare holds the results of rivals against pitopt's: times of a wrong result count nothing. It
// gives the largest distance to the first rival.
func (p *pool) compare(engines []*engine, set string) (float64, []*tensor.Tensor, error) {
	var want []*tensor.Tensor
	worst := 0.
	for i, e := range engines {
		dir, err := os.MkdirTemp(p.b.dir, "out")
		if err != nil {
			return 0, nil, err
		}
		a, err := e.ask(protocol.Request{Op: "write", Model: "m", Set: set, Dir: dir})
		e.hold()
		if err != nil {
			return 0, nil, err
		}
		var got []*tensor.Tensor
		for j := range a.Outputs {
			t, err := readNPY(filepath.Join(dir, fmt.Sprint(j)+".npy"))
			if err != nil {
				return 0, nil, err
			}
			got = append(got, t)
		}
		_ = os.RemoveAll(dir)
		if i == 0 {
			want = got
			continue
		}
		for j, t := range got {
			if j >= len(want) || t.DType() != want[j].DType() {
				continue
			}
			d, err := apart(t, want[j])
			if err != nil {
				return 0, nil, fmt.Errorf("output %d: %s and %s: %w", j, engines[0].key, e.key, err)
			}
			if i == 1 {
				worst = max(worst, d)
			}
		}
	}
	return worst, want, nil
}

// apart is |a-b| / |b| over all elements (Euclidean). More than 5 %, and by more than .03 an element, is an
// error: quantised models may round a few to another step, no more.
func apart(a, b *tensor.Tensor) (float64, error) {
	if a.Len() != b.Len() {
		return 0, fmt.Errorf("%v and %v", a.Shape(), b.Shape())
	}
	num, den, sum := 0., 1e-12*float64(a.Len()), 0.
	for i := range a.Len() {
		x, y := a.Float(i), b.Float(i)
		if x != y && !(math.IsNaN(x) && math.IsNaN(y)) {
			num += (x - y) * (x - y)
			sum += math.Abs(x - y)
		}
		if !math.IsNaN(y) && !math.IsInf(y, 0) {
			den += y * y
		}
	}
	d := math.Sqrt(num / den)
	if !(d <= .05 || sum/float64(a.Len()) <= .03) {
		return d, fmt.Errorf("results are %.3g apart", d)
	}
	return d, nil
}

func readNPY(name string) (*tensor.Tensor, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return tensor.ReadNPY(f, 1<<32)
}

// write writes inputs where workers can read them.
func (b *bench) write(in tensors) (map[string]string, error) {
	dir, err := os.MkdirTemp(b.dir, "in")
	if err != nil {
		return nil, err
	}
	files := map[string]string{}
	for name, t := range in {
		file := filepath.Join(dir, strings.NewReplacer("/", "_", ":", "_").Replace(name)+".npy")
		f, err := os.Create(file)
		if err != nil {
			return nil, err
		}
		if err := tensor.WriteNPY(f, t); err != nil {
			return nil, err
		}
		if err := f.Close(); err != nil {
			return nil, err
		}
		files[name] = file
	}
	return files, nil
}
