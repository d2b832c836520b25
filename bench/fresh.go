package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/pitopt/pitopt/bench/protocol"
)

// fresh runs a model once in a process of its own: the time to the first result, and the memory
// that it takes. Pitopt's time is that of the whole process; that of a rival begins where it begins to
// load, so that neither Python nor its packages count.
func (b *bench) fresh(key string, threads int, model string, files map[string]string, more int) (ns float64, peak, before int64, err error) {
	start := time.Now()
	e, err := b.startEngine(key, threads)
	if err != nil {
		return 0, 0, 0, err
	}
	defer e.close()
	a := protocol.Answer{}
	if key != "pitopt" {
		if a, err = e.ask(protocol.Request{Op: "memory"}); err != nil {
			return 0, 0, 0, err
		}
		before = a.Resident
	}
	total := int64(0)
	for _, q := range []protocol.Request{{Op: "load", Path: model}, {Op: "inputs", Files: files}, {Op: "run", N: 1}} {
		q.Model, q.Set = "m", "s"
		if a, err = e.ask(q); err != nil {
			return 0, 0, 0, err
		}
		total += a.NS
	}
	if key == "pitopt" {
		total = time.Since(start).Nanoseconds()
	}
	if more > 0 {
		if _, err = e.ask(protocol.Request{Op: "run", Model: "m", Set: "s", N: more}); err != nil {
			return 0, 0, 0, err
		}
	}
	a, err = e.ask(protocol.Request{Op: "memory"})
	return float64(total), a.Peak, before, err
}

// firstResults are times from a file to its first result, and the memory of five more runs.
func firstResults(b *bench, g *group, threads int) error {
	file, ok := b.real("PITOPT_MODELS", "minilm_l6")
	if !ok {
		return nil
	}
	names, err := inputNames(file)
	if err != nil {
		return err
	}
	files, err := b.write(words(names, 1, 16, b.quick))
	if err != nil {
		return err
	}
	r := &result{Group: g.name, Name: "minilm_l6, 1 x 16", Threads: threads, Samples: map[string][]float64{}, Values: map[string]float64{}}
	for range b.fewest + 1 {
		for _, key := range append([]string{"pitopt"}, g.rivals...) {
			ns, peak, before, err := b.fresh(key, threads, file, files, 5)
			if errors.Is(err, errMissing) {
				continue
			}
			if err != nil {
				return err
			}
			r.Samples[key] = append(r.Samples[key], ns)
			r.Values[key+" peak"] = max(r.Values[key+" peak"], float64(peak))
			r.Values[key+" before"] = max(r.Values[key+" before"], float64(before))
		}
	}
	b.add(r)
	return nil
}

// memoryBySeq is what attention takes beside its operands, by length.
func memoryBySeq(b *bench, g *group, threads int) error {
	list, err := attention(b, g)
	if err != nil {
		return err
	}
	lengths := []int64{1024, 2048, 4096}
	if b.quick {
		lengths = lengths[:1]
	}
	before := map[string]float64{}
	for _, l := range lengths {
		files, err := b.write(attended(l, false))
		if err != nil {
			return err
		}
		r := &result{Group: g.name, Name: fmt.Sprintf("seq %d", l), Threads: threads, Samples: map[string][]float64{}, Values: map[string]float64{}}
		short, err := b.write(attended(8, false))
		if err != nil {
			return err
		}
		for _, key := range append([]string{"pitopt"}, g.rivals...) {
			_, small, _, err := b.fresh(key, threads, list[0].model, short, 0)
			if errors.Is(err, errMissing) {
				continue
			}
			if err != nil {
				return err
			}
			ns, peak, _, err := b.fresh(key, threads, list[0].model, files, 1)
			if err != nil {
				return err
			}
			r.Samples[key] = []float64{ns}
			r.Values[key+" memory"], r.Values[key+" half"] = float64(peak-small), before[key]
			before[key] = float64(peak - small)
		}
		b.add(r)
	}
	return nil
}

// binarySize is that of the stripped static executable.
func binarySize(b *bench, g *group, threads int) error {
	file := filepath.Join(b.dir, "stripped")
	c := exec.Command("go", "build", "-ldflags", "-s -w", "-o", file, "./cmd/pitopt")
	c.Dir = b.root
	c.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := c.CombinedOutput(); err != nil {
		return fmt.Errorf("go build: %w\n%s", err, out)
	}
	st, err := os.Stat(file)
	if err != nil {
		return err
	}
	r := &result{Group: g.name, Name: "pitopt", Threads: threads, Samples: map[string][]float64{}, Values: map[string]float64{"bytes": float64(st.Size())}}
	b.add(r)
	return nil
}
