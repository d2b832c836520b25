package protocol

import (
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/irpb"
	_ "github.com/pitopt/pitopt/core/op"
	"github.com/pitopt/pitopt/core/pass"
	"github.com/pitopt/pitopt/core/tensor"
)

func TestValues(t *testing.T) {
	for kind, v := range map[pass.Kind]any{
		pass.Bool: true, pass.Int: int64(-3), pass.Float: 0.5, pass.String: "a", pass.Size: int64(1) << 40,
		pass.Duration: 3 * time.Second, pass.Enum: "fast", pass.Strings: []string{"a", "b"},
	} {
		msg, err := ValueMessage(v)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ValueOf(kind, msg)
		if err != nil || !reflect.DeepEqual(got, v) {
			t.Errorf("%s: got %v (%v), want %v", kind, got, err, v)
		}
		other := pass.Bool
		if kind == pass.Bool {
			other = pass.Int
		}
		if v, err := ValueOf(other, msg); err == nil {
			t.Errorf("a value of kind %s is read as %s: %v", kind, other, v)
		}
	}
	if _, err := ValueMessage(struct{}{}); err == nil {
		t.Error("a struct is a value")
	}
}

func TestOperatorRefused(t *testing.T) {
	const good = "program @p[n](X: [n] f32) -> (Y: [n] f32) { Y[i < n] = X[i] }"
	if _, err := OperatorOf(&Operator{Name: "a.B", Program: good}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, program, want string }{
		{"B", good, "DOMAIN.NAME"},
		{"a.", good, "DOMAIN.NAME"},
		{"onnx.Relu", good, "already"},
		{"a.B", "", "one program"},
		{"a.B", good + strings.Replace(good, "@p", "@q", 1), "one program"},
		{"a.B", "const @c: [1] f32 = {1}\n" + good, "nothing else"},
		{"a.B", "program @p[n](X: [n] f32", "expected"},
		{"a.B", strings.Replace(good, "X: [n]", "X: [2*n]", 1), `the symbol "n"`},
		{"a.B", strings.Replace(good, "= X[i]", "= X[i, i]", 1), "a.B"},
	} {
		_, err := OperatorOf(&Operator{Name: c.name, Program: c.program})
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s, %q: error %v, want %q", c.name, c.program, err, c.want)
		}
	}
}

// arenaModule has one constant in the arena.
func arenaModule(t *testing.T, src *ir.Source) *ir.Module {
	t.Helper()
	m := ir.NewModule("m")
	m.Funcs = []*ir.Func{{Name: "main"}}
	m.AddConst("w", tensor.Of(make([]float32, irpb.InlineBytes), irpb.InlineBytes), src)
	return m
}

func TestReceiveRefused(t *testing.T) {
	s, err := Send(arenaModule(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	inFile, _, err := irpb.Marshal(arenaModule(t, &ir.Source{File: "/etc/passwd", Length: 4 * irpb.InlineBytes}))
	if err != nil {
		t.Fatal(err)
	}
	streamed := func(n int64) []*Slice { return []*Slice{{Place: &Slice_Streamed{Streamed: n}}} }
	for _, c := range []struct {
		name   string
		result *Result
		want   string
	}{
		{"no such slice", &Result{Module: s.Module, Arena: []*Slice{{Place: &Slice_OfRequest{OfRequest: 1}}}}, "which has 1"},
		{"nowhere", &Result{Module: s.Module, Arena: []*Slice{{}}}, "nowhere"},
		{"more than came", &Result{Module: s.Module, Arena: streamed(1 << 50)}, "8 are there"},
		{"negative", &Result{Module: s.Module, Arena: streamed(-1)}, "8 are there"},
		{"too short", &Result{Module: s.Module, Arena: streamed(8)}, ""},
		{"no arena", &Result{Module: s.Module}, "arena"},
		{"a file of the host", &Result{Module: inFile}, "no part of the module that was sent"},
		{"no module", &Result{}, "no module"},
	} {
		_, err := s.Receive(c.result, make([]byte, 8), ir.Lookup)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.want)
		}
	}
	if _, err := s.Receive(&Result{Module: s.Module, Arena: []*Slice{{Place: &Slice_OfRequest{}}}}, nil, ir.Lookup); err != nil {
		t.Errorf("what was sent does not come back: %v", err)
	}
}

func TestReceiveRequestRefused(t *testing.T) {
	s, err := Send(arenaModule(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	inFile, _, err := irpb.Marshal(arenaModule(t, &ir.Source{File: s.Arena.Path, Offset: 1, Length: 4 * irpb.InlineBytes}))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		req  *RunRequest
		want string
	}{
		{"no file", &RunRequest{Module: s.Module, Arena: &Arena{Path: "/nowhere", Lengths: []int64{1}}}, "/nowhere"},
		{"longer than the file", &RunRequest{Module: s.Module, Arena: &Arena{Path: s.Arena.Path, Lengths: []int64{1 << 40}}}, "shorter"},
		{"negative", &RunRequest{Module: s.Module, Arena: &Arena{Path: s.Arena.Path, Lengths: []int64{-1}}}, "shorter"},
		{"over the end of a file", &RunRequest{Module: inFile}, "are not in it"},
	} {
		_, err := ReceiveRequest(c.req, ir.Lookup)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.want)
		}
	}
	r, err := ReceiveRequest(&RunRequest{Module: s.Module, Arena: s.Arena}, ir.Lookup)
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}
