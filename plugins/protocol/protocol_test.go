package protocol

import (
	"io"
	"os"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

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
		option := func(kind pass.Kind) pass.Option {
			return pass.Option{Name: "o", Kind: kind, Values: []string{"fast", "slow"}}
		}
		got, err := ValueOf(option(kind), msg)
		if err != nil || !reflect.DeepEqual(got, v) {
			t.Errorf("%s: got %v (%v), want %v", kind, got, err, v)
		}
		other := pass.Bool
		if kind == pass.Bool {
			other = pass.Int
		}
		if v, err := ValueOf(option(other), msg); err == nil {
			t.Errorf("a value of kind %s is read as %s: %v", kind, other, v)
		}
	}
	if _, err := ValueMessage(struct{}{}); err == nil {
		t.Error("a struct is a value")
	}
	if v, err := ValueOf(pass.Option{Name: "o", Kind: pass.Enum, Values: []string{"fast"}}, &Value{Kind: &Value_String_{String_: "slow"}}); err == nil {
		t.Errorf("an enum takes %v", v)
	}
	if v, err := ValueOf(pass.Option{Name: "o", Kind: pass.Bool}, nil); err == nil {
		t.Errorf("no value is %v", v)
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

// request keeps what a host sends, and gives it to a plugin.
type request []*Request

func (r *request) send(m *Request) error { *r = append(*r, m); return nil }

func (r *request) recv() (*Request, error) {
	if len(*r) == 0 {
		return nil, io.EOF
	}
	m := (*r)[0]
	*r = (*r)[1:]
	return m, nil
}

// TestCrossing sends a module over and back in messages that every gRPC takes, and looks
// at what crosses: no constant that the other side has already.
func TestCrossing(t *testing.T) {
	m := arenaModule(t, nil)
	m.AddConst("strings", tensor.Of([]string{strings.Repeat("x", 5<<20)}), nil) // strings are part of the message
	sent, err := Pack(m)
	if err != nil {
		t.Fatal(err)
	}
	defer sent.Close()
	var req request
	if err := sent.Send(&Start{Pass: "p"}, req.send); err != nil {
		t.Fatal(err)
	}
	for _, r := range req {
		if n := proto.Size(r); n > MessageBytes {
			t.Errorf("a request of %d bytes", n)
		}
	}
	start, data, err := ReadRequest(req.recv)
	if err != nil {
		t.Fatal(err)
	}
	in, err := Unpack(start, data, ir.Lookup)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	fresh := make([]float32, 3<<20/4)
	fresh[len(fresh)-1] = 42
	in.Module.AddConst("fresh", tensor.Of(fresh), nil)
	in.Module.AddConst("other", tensor.Of(make([]byte, irpb.InlineBytes+1)), nil)
	answer, err := in.Answer()
	if err != nil {
		t.Fatal(err)
	}
	var events []*Event
	constants := 0
	_ = answer.Send(func(e *Event) error {
		events = append(events, e)
		constants += len(e.GetConstants())
		return nil
	})
	if want := 3<<20 + irpb.InlineBytes + 1; constants != want {
		t.Errorf("%d bytes of constants cross, want the %d of the new ones", constants, want)
	}
	got, err := sent.Expect(events[0].GetResult())
	if err != nil {
		t.Fatal(err)
	}
	for i, e := range events[1:] {
		if n := proto.Size(e); n > MessageBytes {
			t.Errorf("an event of %d bytes", n)
		}
		if _, err := got.Module(ir.Lookup); err == nil || !strings.Contains(err.Error(), "missing") {
			t.Fatalf("after %d of %d chunks: %v", i, len(events)-1, err)
		}
		if err := got.Add(e); err != nil {
			t.Fatal(err)
		}
	}
	back, err := got.Module(ir.Lookup)
	if err != nil {
		t.Fatal(err)
	}
	if c := back.Consts[2].Tensor; tensor.Data[float32](c)[len(fresh)-1] != 42 {
		t.Error("the new constant is not what was sent")
	}
	if &back.Consts[0].Tensor.Bytes()[0] != &m.Consts[0].Tensor.Bytes()[0] {
		t.Error("a constant that was there already is a copy")
	}
	for _, e := range []*Event{{Kind: &Event_Module{Module: []byte{0}}}, {Kind: &Event_Constants{Constants: []byte{0}}}, {Kind: &Event_Note{}}, {Kind: &Event_Result{}}} {
		if got.Add(e) == nil {
			t.Errorf("after the last chunk %T is taken", e.GetKind())
		}
	}
	if err := got.Add(&Event{}); err != nil {
		t.Errorf("an event that is not known: %v", err)
	}
}

func TestExpectRefused(t *testing.T) {
	s, err := Pack(arenaModule(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	inFile, _, err := irpb.Marshal(arenaModule(t, &ir.Source{File: "/etc/passwd", Length: 4 * irpb.InlineBytes}))
	if err != nil {
		t.Fatal(err)
	}
	old := &Slice{Place: &Slice_OfRequest{}}
	streamed := func(n int64) *Slice { return &Slice{Place: &Slice_Streamed{Streamed: n}} }
	for _, c := range []struct {
		name   string
		module []byte
		bytes  int64
		arena  []*Slice
		want   string // "": it is taken
	}{
		{"what was sent", s.module, int64(len(s.module)), []*Slice{old}, ""},
		{"negative module", nil, -1, nil, "limit"},
		{"endless module", nil, 1 << 50, nil, "limit"},
		{"no such slice", s.module, int64(len(s.module)), []*Slice{{Place: &Slice_OfRequest{OfRequest: 1}}}, "which has 1"},
		{"nowhere", s.module, int64(len(s.module)), []*Slice{{}}, "nowhere"},
		{"endless constant", s.module, int64(len(s.module)), []*Slice{streamed(1 << 50)}, "more than 8 GiB"},
		{"endless constants", s.module, int64(len(s.module)), []*Slice{streamed(8 << 30), streamed(1)}, "more than 8 GiB"},
		{"sum beyond an int64", s.module, int64(len(s.module)), []*Slice{streamed(8 << 30), streamed(1<<63 - 1)}, "more than 8 GiB"},
		{"negative constant", s.module, int64(len(s.module)), []*Slice{streamed(-1)}, "more than 8 GiB"},
		{"missing constant", s.module, int64(len(s.module)), []*Slice{streamed(8)}, "8 bytes of it are missing"},
		{"missing module", s.module, int64(len(s.module)) + 3, []*Slice{old}, "3 bytes of it are missing"},
		{"longer module", s.module, int64(len(s.module)) - 1, []*Slice{old}, "longer than the result says"},
		{"no arena", s.module, int64(len(s.module)), nil, "arena"},
		{"a file of the host", inFile, int64(len(inFile)), nil, "no part of the module that was sent"},
		{"rubbish", []byte("rubbish"), 7, nil, "no module"},
		{"no module", nil, 0, nil, "no module"},
	} {
		in, err := s.Expect(&Result{ModuleBytes: c.bytes, Arena: c.arena})
		if err == nil {
			err = in.Add(&Event{Kind: &Event_Module{Module: c.module}})
		}
		if err == nil {
			_, err = in.Module(ir.Lookup)
		}
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.want)
		}
	}
}

func TestReadRequestRefused(t *testing.T) {
	start := func(n int64) *Request { return &Request{Kind: &Request_Start{Start: &Start{ModuleBytes: n}}} }
	chunk := &Request{Kind: &Request_Module{Module: make([]byte, 8)}}
	for _, c := range []struct {
		name string
		req  request
		want string
	}{
		{"nothing", nil, "EOF"},
		{"no start", request{chunk}, "no start"},
		{"cut off", request{start(9), chunk}, "1 bytes of the module are missing: EOF"},
		{"longer", request{start(7), chunk}, "longer"},
		{"endless", request{start(1 << 50)}, "limit"},
		{"negative", request{start(-1)}, "limit"},
	} {
		if _, _, err := ReadRequest(c.req.recv); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.want)
		}
	}
}

func TestUnpackRefused(t *testing.T) {
	s, err := Pack(arenaModule(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	inFile, _, err := irpb.Marshal(arenaModule(t, &ir.Source{File: s.arena.Path, Offset: 1, Length: 4 * irpb.InlineBytes}))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name   string
		module []byte
		arena  *Arena
		want   string
	}{
		{"no file", s.module, &Arena{Path: "/nowhere", Lengths: []int64{1}}, "/nowhere"},
		{"longer than the file", s.module, &Arena{Path: s.arena.Path, Lengths: []int64{1 << 40}}, "shorter"},
		{"negative", s.module, &Arena{Path: s.arena.Path, Lengths: []int64{-1}}, "shorter"},
		{"over the end of a file", inFile, nil, "are not in it"},
	} {
		_, err := Unpack(&Start{Arena: c.arena}, c.module, ir.Lookup)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.want)
		}
	}
}

// TestArena looks at what a plugin may do with the constants that it is shown.
func TestArena(t *testing.T) {
	s, err := Pack(arenaModule(t, nil))
	if err != nil {
		t.Fatal(err)
	}
	path := s.arena.Path
	if data, err := os.ReadFile(path); err != nil || len(data) != 4*irpb.InlineBytes {
		t.Fatalf("the arena has %d bytes (%v)", len(data), err)
	}
	if runtime.GOOS == "linux" {
		f, err := os.OpenFile(path, os.O_RDWR, 0)
		if err == nil {
			_, err = f.Write([]byte{1})
			_ = f.Close()
		}
		if err == nil {
			t.Error("the arena can be written to")
		}
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the arena is still there")
	}
}
