// Command worker runs models with pitopt's library, as the driver in the folder above says.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/pitopt/pitopt"
	"github.com/pitopt/pitopt/bench/protocol"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/runtime/cpu"
)

type tensors = map[string]*tensor.Tensor

// model is a model that was loaded, with inputs and where results go, by set.
type model struct {
	*pitopt.Model
	in, out map[string]tensors
	decode  *decoder
}

type worker struct {
	threads int
	models  map[string]*model
}

func main() {
	threads := flag.Int("threads", 1, "`N` threads that work on a run")
	flag.Parse()
	w := &worker{threads: *threads, models: map[string]*model{}}
	code, err := cpu.New(1).Code()
	if err == nil {
		err = protocol.Serve(os.Stdin, os.Stdout, "pitopt, "+code, w.do)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func (w *worker) do(r *protocol.Request) (a protocol.Answer, err error) {
	switch r.Op {
	case "load":
		start := time.Now()
		m, err := pitopt.Load(r.Path, pitopt.Threads(w.threads))
		if err != nil {
			return a, err
		}
		a.NS = time.Since(start).Nanoseconds()
		w.models[r.Model] = &model{Model: m, in: map[string]tensors{}, out: map[string]tensors{}}
		return a, nil
	case "limits":
		d := cpu.New(w.threads)
		defer d.Close()
		l, err := d.Limits(time.Duration(r.N)*time.Millisecond, 1<<26)
		a.Flops, a.Bandwidth = l.Flops, l.Bandwidth
		return a, err
	case "memory":
		a.Peak, a.Resident = status("VmHWM"), status("VmRSS")
		return a, nil
	}
	m := w.models[r.Model]
	if m == nil {
		return a, fmt.Errorf("%s: there is no model %q", r.Op, r.Model)
	}
	switch r.Op {
	case "inputs":
		delete(m.out, r.Set) // these may be of other sizes
		m.in[r.Set], err = read(r.Files)
	case "run":
		a.NS, err = m.run(r)
	case "write":
		a.Outputs, err = m.write(r.Set, r.Dir)
	case "session":
		m.decode, err = newDecoder(m.Model, r.Session)
	case "decode":
		a.NS, err = m.decode.run(r.N)
	case "drop":
		delete(w.models, r.Model)
		err = m.Close()
	default:
		err = fmt.Errorf("there is no request %q", r.Op)
	}
	return a, err
}

func read(files map[string]string) (tensors, error) {
	out := tensors{}
	for name, file := range files {
		f, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		out[name], err = tensor.ReadNPY(f, 1<<32)
		f.Close()
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// run times runs. Results go where those of the first run went.
func (m *model) run(r *protocol.Request) (int64, error) {
	ctx := context.Background()
	sets := append([]string{r.Set}, r.More...)
	for _, set := range sets {
		in, ok := m.in[set]
		if !ok {
			return 0, fmt.Errorf("there are no inputs %q", set)
		}
		if m.out[set] != nil {
			continue
		}
		start := time.Now()
		first, err := m.Run(ctx, in)
		if err != nil {
			return 0, err
		}
		m.out[set] = first
		if r.Warm == 0 && r.N == 1 && len(sets) == 1 { // the first result is what is asked for
			return time.Since(start).Nanoseconds(), nil
		}
	}
	passes := func(n int) error {
		for range n {
			for _, set := range sets {
				if err := m.RunInto(ctx, m.in[set], m.out[set]); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if err := passes(r.Warm); err != nil {
		return 0, err
	}
	start := time.Now()
	err := passes(r.N)
	return time.Since(start).Nanoseconds(), err
}

func (m *model) write(set, dir string) (int, error) {
	outputs := m.Outputs()
	for i, o := range outputs {
		f, err := os.Create(filepath.Join(dir, strconv.Itoa(i)+".npy"))
		if err != nil {
			return 0, err
		}
		if err := tensor.WriteNPY(f, m.out[set][o.Name]); err != nil {
			return 0, err
		}
		if err := f.Close(); err != nil {
			return 0, err
		}
	}
	return len(outputs), nil
}

// decoder makes token after token in a session.
type decoder struct {
	s     *pitopt.Session
	in    tensors
	out   tensors
	mask  string
	masks []*tensor.Tensor // by past
	past  int
}

func newDecoder(m *pitopt.Model, p *protocol.Session) (*decoder, error) {
	var states []pitopt.Carried
	for _, s := range p.States {
		states = append(states, pitopt.Carry(s[0], s[1], p.Axis, int64(p.Capacity)))
	}
	s, err := m.Session(states...)
	if err != nil {
		return nil, err
	}
	d := &decoder{s: s, in: tensors{p.Token: tensor.New(tensor.I64, 1, 1)}, mask: p.Mask}
	d.in[p.Token].SetInt(0, 17)
	ones := make([]int64, p.Capacity)
	for i := range ones {
		ones[i] = 1
		d.masks = append(d.masks, tensor.Of(ones[:i+1], 1, int64(i+1)))
	}
	return d, nil
}

func (d *decoder) run(n int) (int64, error) {
	ctx := context.Background()
	start := time.Now()
	for range n {
		d.in[d.mask] = d.masks[d.past]
		d.past++
		var err error
		if d.out == nil {
			d.out, err = d.s.Run(ctx, d.in)
		} else {
			err = d.s.RunInto(ctx, d.in, d.out)
		}
		if err != nil {
			return 0, err
		}
	}
	return time.Since(start).Nanoseconds(), nil
}

// status is a size that the system tells of the process, in bytes; 0 where it does not.
func status(key string) int64 {
	b, _ := os.ReadFile("/proc/self/status")
	for _, line := range strings.Split(string(b), "\n") {
		if k, v, ok := strings.Cut(line, ":"); ok && k == key {
			var kb int64
			_, _ = fmt.Sscanf(strings.TrimSpace(v), "%d kB", &kb)
			return kb << 10
		}
	}
	return 0
}
