package pitopt_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"runtime/pprof"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pitopt/pitopt"
	"github.com/pitopt/pitopt/core/tensor"
)

// stressed is a model under stress, and what came out of its first run of each size.
type stressed struct {
	name  string
	model *pitopt.Model
	sizes [][2]int64 // batch, tokens

	mu   sync.Mutex
	want map[[2]int64]map[string][]byte
}

// inputs are the same for the same sizes.
func (s *stressed) inputs(size [2]int64) map[string]*tensor.Tensor {
	in := map[string]*tensor.Tensor{}
	for _, v := range s.model.Inputs() {
		t := tensor.New(tensor.I64, size[0], size[1])
		for i := range t.Len() {
			switch v.Name {
			case "attention_mask":
				t.SetInt(i, min(1, size[1]-i%size[1])) // all
			case "input_ids":
				t.SetInt(i, (i*7919+size[1])%97)
			}
		}
		in[v.Name] = t
	}
	return in
}

func (s *stressed) run(size [2]int64) error {
	out, err := s.model.Run(context.Background(), s.inputs(size))
	if err != nil {
		return fmt.Errorf("%s, %v: %w", s.name, size, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.want[size] == nil {
		s.want[size] = map[string][]byte{}
		for name, t := range out {
			s.want[size][name] = t.Bytes()
		}
		return nil
	}
	for name, t := range out {
		if !bytes.Equal(t.Bytes(), s.want[size][name]) {
			return fmt.Errorf("%s, %v: %s has other bits than in the first run", s.name, size, name)
		}
	}
	return nil
}

// TestStress runs models of mixed sizes from eight goroutines while the world is stopped again and again: by collections,
// stack dumps of all goroutines, and a profile. Each result has the bits of the first one of its sizes, and memory stays
// what it was. PITOPT_STRESS=30m makes it long; then it tells the pauses, too:
//
//	PITOPT_STRESS=30m go test -run TestStress -timeout 40m -v .
func TestStress(t *testing.T) {
	length := time.Duration(0) // 0: by count
	runs := int64(160)
	if s := os.Getenv("PITOPT_STRESS"); s != "" {
		var err error
		if length, err = time.ParseDuration(s); err != nil {
			t.Fatal(err)
		}
		runs = math.MaxInt64
	}
	models := []*stressed{{name: "examples/encoder", sizes: [][2]int64{{1, 1}, {1, 16}, {2, 7}, {3, 33}, {8, 64}, {1, 100}, {5, 5}, {16, 12}}}}
	if dir := os.Getenv("PITOPT_MODELS"); dir != "" {
		models = append(models, &stressed{name: filepath.Join(dir, "minilm_l6"), sizes: [][2]int64{{1, 16}, {1, 33}, {2, 20}, {1, 128}, {4, 5}, {1, 3}, {3, 64}, {1, 64}}})
	} else {
		t.Log("PITOPT_MODELS is not set: the example alone is run")
	}
	for _, m := range models {
		var err error
		if m.model, err = pitopt.Load(filepath.Join(m.name, "model.onnx"), pitopt.Threads(2)); err != nil {
			t.Fatal(err)
		}
		defer m.model.Close()
		m.want = map[[2]int64]map[string][]byte{}
		for _, size := range m.sizes {
			if err := m.run(size); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := pprof.StartCPUProfile(io.Discard); err != nil {
		t.Log("no profile beside another one:", err)
	} else {
		defer pprof.StopCPUProfile()
	}
	before := pauses()
	end := time.Now().Add(length)
	var done, disturbed atomic.Int64
	var all, disturbing sync.WaitGroup
	quit := make(chan struct{})
	for i := range 2 {
		disturbing.Go(func() {
			stacks := make([]byte, 1<<20)
			for {
				select {
				case <-quit:
					return
				case <-time.After(3 * time.Millisecond):
				}
				if i == 0 {
					runtime.GC()
				} else {
					runtime.Stack(stacks, true)
				}
				disturbed.Add(1)
			}
		})
	}
	work := func(seed uint64, more func() bool) {
		r := rand.New(rand.NewPCG(seed, 1))
		for more() && !t.Failed() {
			m := models[r.IntN(len(models))]
			if err := m.run(m.sizes[r.IntN(len(m.sizes))]); err != nil {
				t.Error(err)
				return
			}
			done.Add(1)
		}
	}
	spell := func(n int64, until time.Time) {
		done.Store(0)
		for g := range uint64(8) {
			all.Go(func() {
				work(g, func() bool { return done.Load() < n && (length == 0 || time.Now().Before(until)) })
			})
		}
		all.Wait()
	}
	spell(runs/2, time.Now().Add(length/4)) // as many at the same time as there will ever be
	first, total := memoryNow(), done.Load()
	spell(runs, end)
	close(quit)
	disturbing.Wait()
	last := memoryNow()
	t.Logf("%d runs, %d disturbances; memory %v, at first %v", total+done.Load(), disturbed.Load(), last, first)
	if last.heap > first.heap+first.heap/4+(8<<20) {
		t.Errorf("the heap grew from %d to %d bytes", first.heap, last.heap)
	}
	if length > 0 && last.resident > first.resident+first.resident/10+(32<<20) {
		t.Errorf("resident memory grew from %d to %d bytes", first.resident, last.resident)
	}
	for name, h := range pauses() {
		t.Logf("%s: %s", name, told(h, before[name]))
	}
}

// used is memory after a collection.
type used struct{ heap, resident int64 }

func (u used) String() string {
	return fmt.Sprintf("%d MiB of heap, %d MiB resident", u.heap>>20, u.resident>>20)
}

func memoryNow() (u used) {
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	u.heap = int64(m.HeapAlloc)
	if b, err := os.ReadFile("/proc/self/statm"); err == nil {
		var size, resident int64
		if _, err := fmt.Sscan(string(b), &size, &resident); err == nil {
			u.resident = resident * int64(os.Getpagesize())
		}
	}
	return u
}

// pauses are the times that stopping the world took.
func pauses() map[string]*metrics.Float64Histogram {
	out := map[string]*metrics.Float64Histogram{}
	for _, name := range []string{"/sched/pauses/stopping/gc:seconds", "/sched/pauses/stopping/other:seconds"} {
		s := []metrics.Sample{{Name: name}}
		metrics.Read(s)
		if s[0].Value.Kind() != metrics.KindFloat64Histogram {
			continue
		}
		h := s[0].Value.Float64Histogram()
		out[name] = &metrics.Float64Histogram{Counts: append([]uint64{}, h.Counts...), Buckets: h.Buckets}
	}
	return out
}

// told are some quantiles of what came since before.
func told(h, before *metrics.Float64Histogram) string {
	total := uint64(0)
	counts := make([]uint64, len(h.Counts))
	for i := range counts {
		counts[i] = h.Counts[i] - before.Counts[i]
		total += counts[i]
	}
	at := func(q float64) float64 {
		sum := uint64(0)
		for i, n := range counts {
			if sum += n; float64(sum) >= q*float64(total) && sum > 0 {
				return 1e6 * h.Buckets[i+1]
			}
		}
		return 0
	}
	return fmt.Sprintf("%d times; below %.0f µs half of them, %.0f µs 90 %%, %.0f µs 99 %%, %.0f µs all", total, at(0.5), at(0.9), at(0.99), at(1))
}
