package pitopt_test

import (
	"context"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/pitopt/pitopt"
	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/frontend/onnx/wire"
	"github.com/pitopt/pitopt/passes"
)

// with gives a node attributes: integers and lists of them, by name.
func with(n *wire.Node, attrs ...any) *wire.Node {
	for i := 0; i < len(attrs); i += 2 {
		a := &wire.Attribute{Name: attrs[i].(string)}
		switch v := attrs[i+1].(type) {
		case int:
			a.Type, a.I = wire.AttrInt, int64(v)
		case []int64:
			a.Type, a.Ints = wire.AttrInts, v
		}
		n.Attributes = append(n.Attributes, a)
	}
	return n
}

// decoder is a step of attention over a cache: x is [batch, seq, 8], the mask
// [batch, 1, 1, total], and two heads of four have their keys and values in the cache. The
// sum of all x goes on in "sum", of one size, and all x, joined, in "seen".
func decoder() []byte {
	heads := func(name, weights string) []*wire.Node {
		return []*wire.Node{node("MatMul", name+".flat", "x", weights), node("Reshape", name+".split", name+".flat", "split"),
			with(node("Transpose", name, name+".split"), "perm", []int64{0, 2, 1, 3})}
	}
	g := &wire.Graph{
		Inputs: []*wire.ValueInfo{info("x", tensor.F32, "batch", "seq", 8), info("mask", tensor.F32, "batch", 1, 1, "total"),
			info("past.key", tensor.F32, "batch", 2, "past", 4), info("past.value", tensor.F32, "batch", 2, "past", 4), info("sum", tensor.F32, "batch", 8)},
		Outputs: []*wire.ValueInfo{info("y", tensor.F32, "batch", "seq", 8), info("present.key", tensor.F32, "batch", 2, "all", 4),
			info("present.value", tensor.F32, "batch", 2, "all", 4), info("sum.next", tensor.F32, "batch", 8)},
		Initializers: []*wire.Tensor{wire.NewTensor("split", tensor.Of([]int64{0, 0, 2, 4})), wire.NewTensor("join", tensor.Of([]int64{0, 0, 8})),
			wire.NewTensor("one", tensor.Of([]int64{1}))},
	}
	for i, name := range []string{"wq", "wk", "wv"} {
		w := tensor.New(tensor.F32, 8, 8)
		for j := range w.Len() {
			w.SetFloat(j, math.Sin(float64(j*int64(i+2)))/2)
		}
		g.Initializers = append(g.Initializers, wire.NewTensor(name, w))
		g.Nodes = append(g.Nodes, heads(name[1:], name)...)
	}
	g.Nodes = append(g.Nodes,
		with(node("Concat", "present.key", "past.key", "k"), "axis", 2),
		with(node("Concat", "present.value", "past.value", "v"), "axis", -2),
		with(node("Transpose", "kt", "present.key"), "perm", []int64{0, 1, 3, 2}),
		node("MatMul", "scores", "q", "kt"), node("Add", "masked", "scores", "mask"),
		with(node("Softmax", "probs", "masked"), "axis", -1),
		node("MatMul", "mixed", "probs", "present.value"),
		with(node("Transpose", "back", "mixed"), "perm", []int64{0, 2, 1, 3}), node("Reshape", "out", "back", "join"),
		with(node("ReduceSum", "part", "x", "one"), "keepdims", 0), node("Add", "sum.next", "sum", "part"),
		node("Unsqueeze", "wide", "sum.next", "one"), node("Add", "y", "out", "wide"))
	return encode(g)
}

// states of the decoder.
func states(capacity int64) []pitopt.Carried {
	return []pitopt.Carried{pitopt.Carry("past.key", "present.key", "past", capacity), pitopt.Carry("past.value", "present.value", "past", capacity),
		pitopt.Carry("sum", "sum.next", "", 0)}
}

// step is the input of a call that takes seq positions to total.
func step(batch, seq, total int64, seed float64) tensors {
	x := tensor.New(tensor.F32, batch, seq, 8)
	for i := range x.Len() {
		x.SetFloat(i, math.Cos(float64(i)+seed))
	}
	mask := tensor.New(tensor.F32, batch, 1, 1, total)
	mask.SetFloat(0, -3)
	return tensors{"x": x, "mask": mask}
}

// open makes a session.
func open(t testing.TB, m *pitopt.Model, states ...pitopt.Carried) *pitopt.Session {
	t.Helper()
	s, err := m.Session(states...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// near compares results of a session with those of the model, which may be computed in
// another order.
func near(t testing.TB, what string, got, want *tensor.Tensor) {
	t.Helper()
	if got == nil {
		t.Errorf("%s is not there", what)
	} else if err := tensor.Compare(got, want, tensor.Tolerance{ATol: 1e-5, RTol: 1e-5}); err != nil {
		t.Errorf("%s: %v", what, err)
	}
}

// A session gives what the model gives whose results are its next inputs, and writes
// nothing of its caches but what is new.
func TestSession(t *testing.T) {
	for target, m := range load(t, decoder()) {
		t.Run(target, func(t *testing.T) {
			s := open(t, m, states(32)...)
			for round := range 2 { // again, after a reset, with another batch
				batch := int64(3 - round)
				past := tensors{"past.key": tensor.New(tensor.F32, batch, 2, 0, 4), "past.value": tensor.New(tensor.F32, batch, 2, 0, 4), "sum": tensor.New(tensor.F32, batch, 8)}
				length := int64(0)
				for i, seq := range []int64{5, 1, 1, 0, 3, 1} {
					in := step(batch, seq, length+seq, float64(i+round))
					before := s.Appended()
					got, err := s.Run(context.Background(), in)
					if err != nil {
						t.Fatal(err)
					}
					for name, v := range past {
						in[name] = v
					}
					want, err := m.Run(context.Background(), in)
					if err != nil {
						t.Fatal(err)
					}
					past = tensors{"past.key": want["present.key"], "past.value": want["present.value"], "sum": want["sum.next"]}
					length += seq
					near(t, fmt.Sprintf("y of call %d", i), got["y"], want["y"])
					if len(got) != 1 {
						t.Errorf("%d outputs, 3 of 4 are states", len(got))
					}
					for name, v := range past {
						has, err := s.State(name)
						if err != nil {
							t.Fatal(err)
						}
						near(t, fmt.Sprintf("%s after call %d", name, i), has, v)
					}
					// Two caches, two heads, four floats.
					if n := s.Appended() - before; n != 2*batch*2*seq*4*4 && target == "cpu" {
						t.Errorf("call %d wrote %d bytes of caches, what is new has %d", i, n, 2*batch*2*seq*4*4)
					}
					if s.Length("past") != length {
						t.Errorf("the length is %d after call %d, not %d", s.Length("past"), i, length)
					}
				}
				s.Reset()
				if v, err := s.State("past.key"); v != nil || err != nil || s.Length("past") != 0 {
					t.Errorf("after a reset the state is %v, %v", v, err)
				}
			}
		})
	}
}

// A state may be given: what a session starts with, or goes on with. RunInto is the same.
func TestSessionGiven(t *testing.T) {
	for target, m := range load(t, decoder()) {
		t.Run(target, func(t *testing.T) {
			a, b := open(t, m, states(16)...), open(t, m, states(9)...)
			if _, err := a.Run(context.Background(), step(1, 4, 4, 1)); err != nil {
				t.Fatal(err)
			}
			in := step(1, 2, 6, 2)
			want, err := a.Run(context.Background(), in)
			if err != nil {
				t.Fatal(err)
			}
			c := open(t, m, states(16)...)
			if _, err := c.Run(context.Background(), step(1, 4, 4, 1)); err != nil {
				t.Fatal(err)
			}
			for _, name := range []string{"past.key", "past.value", "sum"} {
				if in[name], err = c.State(name); err != nil {
					t.Fatal(err)
				}
			}
			y := tensor.New(tensor.F32, 1, 2, 8)
			if err := b.RunInto(context.Background(), in, tensors{"y": y}); err != nil {
				t.Fatal(err)
			}
			near(t, "y", y, want["y"])
			k, _ := b.State("present.key")
			k2, _ := a.State("present.key")
			near(t, "the cache", k, k2)
		})
	}
}

// Sessions of one model go on by themselves, at the same time.
func TestSessionsAtTheSameTime(t *testing.T) {
	m := load(t, decoder())["cpu"]
	var all sync.WaitGroup
	for i := range int64(8) {
		all.Go(func() {
			s, err := m.Session(states(40)...)
			if err != nil {
				t.Error(err)
				return
			}
			past := tensors{"past.key": tensor.New(tensor.F32, 2, 2, 0, 4), "past.value": tensor.New(tensor.F32, 2, 2, 0, 4), "sum": tensor.New(tensor.F32, 2, 8)}
			for n := range int64(12) {
				in := step(2, 1+(i+n)%3, past["past.key"].Shape()[2]+1+(i+n)%3, float64(i*n))
				got, err := s.Run(context.Background(), in)
				if err != nil {
					t.Error(err)
					return
				}
				for name, v := range past {
					in[name] = v
				}
				want, err := m.Run(context.Background(), in)
				if err != nil {
					t.Error(err)
					return
				}
				near(t, fmt.Sprintf("y of session %d, call %d", i, n), got["y"], want["y"])
				past = tensors{"past.key": want["present.key"], "past.value": want["present.value"], "sum": want["sum.next"]}
			}
		})
	}
	all.Wait()
}

// What can not be goes wrong by name, and leaves states as they were.
func TestSessionErrors(t *testing.T) {
	for target, m := range load(t, decoder()) {
		t.Run(target, func(t *testing.T) {
			for _, c := range []struct {
				state pitopt.Carried
				words string
			}{
				{pitopt.Carry("past.keys", "present.key", "past", 9), `there is no input "past.keys" to carry a state; did you mean "past.key"?`},
				{pitopt.Carry("past.key", "present.kye", "past", 9), `there is no output "present.kye" to carry a state; did you mean "present.key"?`},
				{pitopt.Carry("past.key", "present.key", "seq", 9), `input "past.key", of type [batch, 2, past, 4] f32, has no dim "seq" to grow along`},
				{pitopt.Carry("past.key", "present.key", "past", 0), `the state "past.key" has the axis "past" and the capacity 0; a state that grows has both, another one neither`},
			} {
				_, err := m.Session(c.state)
				failed(t, err, diag.Usage, c.words)
			}
			_, err := m.Session(states(9)[0], states(9)[0])
			failed(t, err, diag.Usage, `the state from "present.key" to "past.key" shares a name with another`)

			s := open(t, m, states(6)...)
			if _, err := s.Run(context.Background(), step(2, 5, 5, 0)); err != nil {
				t.Fatal(err)
			}
			before, _ := s.State("past.value")
			for _, c := range []struct {
				in    tensors
				words string
			}{
				{step(2, 2, 7, 0), `the state "past.key" is full: it has room for 6, has 5, and gets 2 more; raise its capacity, or start again with Reset`},
				{step(3, 1, 6, 0), `"batch" is`},
				{step(2, 1, 9, 0), ``},
				{tensors{"x": step(2, 1, 6, 0)["x"]}, `input "mask" is missing`},
				{tensors{"x": step(2, 1, 6, 0)["x"], "mask": step(2, 1, 6, 0)["mask"], "z": before}, `there is no input "z"`},
			} {
				_, err := s.Run(context.Background(), c.in)
				failed(t, err, diag.Run, c.words)
			}
			in := step(2, 1, 6, 0)
			in["past.key"] = tensor.New(tensor.F32, 2, 2, 4, 4)
			_, err = s.Run(context.Background(), in)
			failed(t, err, diag.Run, `is 5 along "past", another one 4; states that grow along one dim start alike`)
			if after, _ := s.State("past.value"); after == nil || s.Length("past") != 5 {
				t.Errorf("the state is %v after what failed", after)
			} else {
				near(t, "the state after what failed", after, before)
			}
			if _, err := s.Run(context.Background(), step(2, 1, 6, 3)); err != nil {
				t.Errorf("the last place: %v", err)
			}
			_, err = s.State("y")
			failed(t, err, diag.Usage, `there is no state "y"`)
		})
	}
}

// A pipeline may name the states.
func TestSessionOfThePipeline(t *testing.T) {
	text := ""
	for _, s := range states(12) {
		text += fmt.Sprintf("[[state]]\nin = %q\nout = %q\n", s.In, s.Out)
		if s.Axis != "" {
			text += fmt.Sprintf("axis = %q\ncapacity = %d\n", s.Axis, s.Capacity)
		}
	}
	for _, m := range load(t, decoder(), pipeline(t, text)) {
		s := open(t, m)
		if _, err := s.Run(context.Background(), step(1, 12, 12, 0)); err != nil {
			t.Fatal(err)
		}
		_, err := s.Run(context.Background(), step(1, 1, 13, 0))
		failed(t, err, diag.Run, `the state "past.key" is full`)
	}
	_, err := pitopt.LoadBytes("test.onnx", decoder(), pipeline(t, "[[state]]\nin = \"past.kee\"\nout = \"present.key\"\n"))
	failed(t, err, diag.Pipeline, `there is no input "past.kee" to carry a state; did you mean "past.key"?`)
}

// Decoders as they are exported, step by step: prompts and tokens, in a session and without.
// Every cache is found, and written in place.
func TestSessionOfExports(t *testing.T) {
	zoo := os.Getenv("PITOPT_ZOO")
	if zoo == "" {
		t.Skip("PITOPT_ZOO names no folder of exports")
	}
	for _, name := range []string{"llama-4l-decode-ts", "llama-4l-decode-dyn", "llama-4l-decode-op23-dyn", "opt-125m-4l-decode-ts", "opt-125m-4l-decode-dyn"} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(zoo, name, "model.onnx")
			if _, err := os.Stat(file); err != nil {
				t.Skip("it is not in the folder of exports")
			}
			var notes []string
			m, err := pitopt.Load(file, pitopt.Observe(pitopt.Observer{Note: func(pass, msg string) {
				if pass == "state" {
					notes = append(notes, msg)
				}
			}}))
			if err != nil {
				t.Fatal(err)
			}
			defer m.Close()
			var caches []pitopt.Carried
			past := tensors{}
			heads, layers := int64(0), int64(0)
			for _, in := range m.Inputs() {
				if rest, ok := strings.CutPrefix(in.Name, "past_key_values."); ok {
					caches = append(caches, pitopt.Carry(in.Name, "present."+rest, "past_seq", 64))
					heads, _ = in.Type.(ir.TensorType).Dims[1].Int()
					layers++
				}
			}
			const batch = 2
			for _, c := range caches {
				past[c.In] = tensor.New(tensor.F32, batch, heads, 0, 64)
			}
			s := open(t, m, caches...)
			for _, n := range notes {
				t.Error(n)
			}
			length := int64(0)
			for i, seq := range []int64{7, 1, 1, 3, 1} {
				ids, mask := tensor.New(tensor.I64, batch, seq), tensor.New(tensor.I64, batch, length+seq)
				for j := range ids.Len() {
					ids.SetInt(j, (j*31+int64(i)*17)%1000+5)
				}
				for j := range mask.Len() {
					mask.SetInt(j, 1)
				}
				in := tensors{"input_ids": ids, "attention_mask": mask}
				before := s.Appended()
				got, err := s.Run(context.Background(), in)
				if err != nil {
					t.Fatal(err)
				}
				if n, want := s.Appended()-before, layers*batch*heads*seq*64*4; n != want {
					t.Errorf("call %d wrote %d bytes of caches, what is new has %d", i, n, want)
				}
				for name, v := range past {
					in[name] = v
				}
				want, err := m.Run(context.Background(), in)
				if err != nil {
					t.Fatal(err)
				}
				length += seq
				for _, c := range caches {
					past[c.In] = want[c.Out]
				}
				if err := tensor.Compare(got["logits"], want["logits"], tensor.Tolerance{ATol: 1e-4, RTol: 1e-4}); err != nil {
					t.Errorf("call %d: %v", i, err)
				}
			}
			for _, c := range caches {
				has, err := s.State(c.Out)
				if err != nil {
					t.Fatal(err)
				}
				if err := tensor.Compare(has, past[c.In], tensor.Tolerance{ATol: 1e-4, RTol: 1e-4}); err != nil {
					t.Errorf("%s: %v", c.Out, err)
				}
			}
		})
	}
}

// The voice detector keeps a state of one size, which is handed over.
func TestSessionOfVoices(t *testing.T) {
	models := os.Getenv("PITOPT_MODELS")
	if models == "" {
		t.Skip("PITOPT_MODELS names no folder of models")
	}
	m, err := pitopt.Load(filepath.Join(models, "silero_vad", "model.onnx"))
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	s := open(t, m, pitopt.Carry("state", "stateN", "", 0))
	state := tensor.New(tensor.F32, 2, 1, 128)
	for i := range 6 {
		x := tensor.New(tensor.F32, 1, 576)
		for j := range x.Len() {
			x.SetFloat(j, math.Sin(float64(j*int64(i+3))/20)/3)
		}
		in := tensors{"input": x, "sr": tensor.Scalar(int64(16000))}
		if i == 0 {
			_, err := s.Run(context.Background(), in)
			failed(t, err, diag.Run, `how large the state "state" is at first is not known`)
			in["state"] = state
		}
		got, err := s.Run(context.Background(), in)
		if err != nil {
			t.Fatal(err)
		}
		in["state"] = state
		want, err := m.Run(context.Background(), in)
		if err != nil {
			t.Fatal(err)
		}
		state = want["stateN"]
		near(t, fmt.Sprintf("the output of call %d", i), got["output"], want["output"])
		has, err := s.State("stateN")
		if err != nil {
			t.Fatal(err)
		}
		near(t, fmt.Sprintf("the state after call %d", i), has, state)
	}
}

// A cache of all positions that are to come, written by an index, is handed over, too; so
// is a sequence that grows, and what is in front of which something is put.
func TestSessionOfOtherForms(t *testing.T) {
	path := filepath.Join(t.TempDir(), "forms.pit")
	src := `module {
  const @zero: [1] i64 = {0}
  func @main(%x: [1, 2] f32, %at: [1, 1] i64, %cache: [8, 2] f32, %past: [p, 2] f32) -> ("sum": [2] f32, "cache.next": [8, 2] f32, "present": [p + 1, 2] f32) {
    %next: [8, 2] f32 = onnx.ScatterND(%cache, %at, %x)
    %present: [p + 1, 2] f32 = onnx.Concat(%x, %past) {axis = 0}
    %a: [2] f32 = onnx.ReduceSum(%next, @zero) {keepdims = 0}
    %b: [2] f32 = onnx.ReduceSum(%present, @zero) {keepdims = 0}
    %sum: [2] f32 = onnx.Mul(%a, %b)
    return %sum, %next, %present
  }
}`
	if err := os.WriteFile(path, []byte(src), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{"cpu", "interp"} {
		var notes []string
		m, err := pitopt.Load(path, pitopt.Target(target), pitopt.Observe(pitopt.Observer{Note: func(_, msg string) { notes = append(notes, msg) }}))
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		s := open(t, m, pitopt.Carry("cache", "cache.next", "", 0), pitopt.Carry("past", "present", "p", 3))
		if len(notes) != 1 || !strings.Contains(notes[0], `the state "past" is not appended to in place`) {
			t.Errorf("the notes are %q", notes)
		}
		for i := range int64(3) {
			got, err := s.Run(context.Background(), tensors{"x": tensor.Of([]float32{float32(i + 1), 10}, 1, 2), "at": tensor.Of([]int64{i + 2}, 1, 1)})
			if err != nil {
				t.Fatal(err)
			}
			n := float32((i + 1) * (i + 2) / 2)
			equal(t, got["sum"], tensor.Of([]float32{n * n, float32(100 * (i + 1) * (i + 1))}))
			if s.Length("p") != i+1 || s.Appended() != 0 {
				t.Errorf("the length is %d, %d bytes were appended", s.Length("p"), s.Appended())
			}
		}
		present, _ := s.State("present")
		equal(t, present, tensor.Of([]float32{3, 10, 2, 10, 1, 10}, 3, 2))
		cache, _ := s.State("cache")
		equal(t, cache, tensor.Of([]float32{0, 0, 0, 0, 1, 10, 2, 10, 3, 10, 0, 0, 0, 0, 0, 0}, 8, 2))
		_, err = s.Run(context.Background(), tensors{"x": tensor.New(tensor.F32, 1, 2), "at": tensor.New(tensor.I64, 1, 1)})
		failed(t, err, diag.Run, `the state "past" is full: it has room for 3, and is 4 now`)
	}
}

// A session that is taken back goes on as if what came behind had not been.
func TestSessionRewind(t *testing.T) {
	ctx := context.Background()
	for target, m := range load(t, decoder()) {
		t.Run(target, func(t *testing.T) {
			run := func(s *pitopt.Session, seq, total int64, seed float64) *tensor.Tensor {
				out, err := s.Run(ctx, step(2, seq, total, seed))
				if err != nil {
					t.Fatal(err)
				}
				return out["y"]
			}
			caches := states(32)[:2]
			s, want := open(t, m, append(caches, pitopt.Carry("sum", "sum.next", "", 0))...), open(t, m, states(32)...)
			for _, x := range []*pitopt.Session{s, want} {
				run(x, 5, 5, 1)
			}
			sum, err := s.State("sum")
			if err != nil {
				t.Fatal(err)
			}
			run(s, 3, 8, 2)
			if err := s.Rewind("past", 5); err != nil || s.Length("past") != 5 {
				t.Fatalf("%v, it is %d long", err, s.Length("past"))
			}
			in := step(2, 1, 6, 3)
			in["sum"] = sum // of one size: it stays what it was
			out, err := s.Run(ctx, in)
			if err != nil {
				t.Fatal(err)
			}
			near(t, "y", out["y"], run(want, 1, 6, 3))
			if err := s.Rewind("past", 7); err == nil || !strings.Contains(err.Error(), `the state "past.key" is 6 along "past", and can not be taken back to 7`) {
				t.Errorf("got %v", err)
			}
		})
	}
}

// A model that is compiled for sessions runs in them alone, and has the inputs that it says.
func TestForSessions(t *testing.T) {
	p, err := passes.Parse("p.toml", []byte("version = 1\nextends = \"default\"\n[[state]]\nin = \"past.key\"\nout = \"present.key\"\naxis = \"past\"\ncapacity = 16\n"+
		"[[state]]\nin = \"past.value\"\nout = \"present.value\"\naxis = \"past\"\ncapacity = 16\n"))
	if err != nil {
		t.Fatal(err)
	}
	m, err := pitopt.LoadBytes("decoder", decoder(), pitopt.WithPipeline(p), pitopt.ForSessions())
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	plain := load(t, decoder())["cpu"]
	for i, in := range plain.Inputs() {
		if got := m.Inputs(); len(got) != len(plain.Inputs()) || got[i].Name != in.Name || !ir.SameType(got[i].Type, in.Type) {
			t.Errorf("inputs are %v", got)
		}
	}
	if _, err := m.Run(context.Background(), tensors{}); err == nil || diag.CodeOf(err) != diag.Usage {
		t.Errorf("got %v", err)
	}
	s, want := open(t, m), open(t, plain, states(16)[:2]...)
	for n := range int64(3) {
		in := step(2, 1, n+1, 0)
		in["sum"] = tensor.New(tensor.F32, 2, 8)
		got, err := s.Run(context.Background(), in)
		if err != nil {
			t.Fatal(err)
		}
		ref, err := want.Run(context.Background(), in)
		if err != nil {
			t.Fatal(err)
		}
		near(t, "y", got["y"], ref["y"])
	}
}
