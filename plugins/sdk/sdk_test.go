package sdk

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"google.golang.org/grpc"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/pass"
	"github.com/pitopt/pitopt/core/text"
	"github.com/pitopt/pitopt/plugins/protocol"
)

func nothing(*pass.Context, *ir.Module) error { return nil }

const twice = `program @twice[n](X: [n] f32) -> (Y: [n] f32) { Y[i < n] = (X[i] * f32 2) }`

// TestRefused has plugins that must not be served: their authors see why at the start.
func TestRefused(t *testing.T) {
	good := pass.Pass{Name: "p", Doc: "Does nothing.", Run: nothing}
	with := func(change func(*pass.Pass)) []*pass.Pass {
		p := good
		change(&p)
		return []*pass.Pass{&p}
	}
	option := func(o pass.Option) []*pass.Pass { return with(func(p *pass.Pass) { p.Options = []pass.Option{o} }) }
	for _, c := range []struct {
		name string
		p    Plugin
		want string // "": it is served
	}{
		{"good", Plugin{Passes: []*pass.Pass{&good}, Ops: []Op{{Name: "a.Twice", Program: twice}}}, ""},
		{"twice the same pass", Plugin{Passes: []*pass.Pass{&good, &good}}, "twice"},
		{"no doc", Plugin{Passes: with(func(p *pass.Pass) { p.Doc = "" })}, "doc"},
		{"the name of a plugin in a pass", Plugin{Passes: with(func(p *pass.Pass) { p.Name = "a/p" })}, `"/"`},
		{"an int that is no int64", Plugin{Passes: option(pass.Option{Name: "o", Doc: "d", Kind: pass.Int, Default: 1})}, "its default is 1"},
		{"a default of another kind", Plugin{Passes: option(pass.Option{Name: "o", Doc: "d", Kind: pass.Bool, Default: "yes"})}, `kind "bool"`},
		{"a default that is no value", Plugin{Passes: option(pass.Option{Name: "o", Doc: "d", Kind: pass.Enum, Default: "a", Values: []string{"b"}})}, `kind "enum"`},
		{"twice the same operator", Plugin{Ops: []Op{{Name: "a.Twice", Program: twice}, {Name: "a.Twice", Program: twice}}}, "twice"},
		{"an operator without a program", Plugin{Ops: []Op{{Name: "a.Twice"}}}, "program"},
	} {
		_, err := newServer(c.p)
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: error %v, want %q", c.name, err, c.want)
		}
	}
}

// stream is the server's side of a call of Run.
type stream struct {
	grpc.ServerStream
	requests []*protocol.Request
	events   []*protocol.Event
}

func (s *stream) Context() context.Context { return context.Background() }

func (s *stream) Recv() (*protocol.Request, error) {
	if len(s.requests) == 0 {
		return nil, io.EOF
	}
	r := s.requests[0]
	s.requests = s.requests[1:]
	return r, nil
}

func (s *stream) Send(e *protocol.Event) error {
	s.events = append(s.events, e)
	return nil
}

// TestRun has a pass run in every way that it may go.
func TestRun(t *testing.T) {
	m, err := text.Parse("m", []byte("module {\n func @main(%x: [n] f32) -> (\"y\": [n] f32) {\n return %x\n }\n}"), nil)
	if err != nil {
		t.Fatal(err)
	}
	sent, err := protocol.Pack(m)
	if err != nil {
		t.Fatal(err)
	}
	defer sent.Close()
	works := func(c *pass.Context, m *ir.Module) error {
		c.Note("mode %s", pass.Get[string](c, "mode"))
		return nil
	}
	mode := func(v string) map[string]*protocol.Value {
		return map[string]*protocol.Value{"mode": {Kind: &protocol.Value_String_{String_: v}}}
	}
	foreign := []*protocol.Operator{{Name: "other.Twice", Program: "program @twice"}}
	for _, c := range []struct {
		name  string
		run   func(*pass.Context, *ir.Module) error
		start *protocol.Start
		want  string // of the error, or of the last event but chunks
	}{
		{"works", works, &protocol.Start{Pass: "p", Options: mode("fast")}, "result after note mode fast"},
		{"fails", func(*pass.Context, *ir.Module) error { return errors.New("broken") }, &protocol.Start{Pass: "p", Options: mode("fast")}, "failure 6: broken"},
		{"does not do that", func(*pass.Context, *ir.Module) error { return diag.New(diag.Unsupported, "no").At("n", "Op") }, &protocol.Start{Pass: "p", Options: mode("fast")}, "failure 4: n no"},
		{"panics", func(*pass.Context, *ir.Module) error { panic("oh") }, &protocol.Start{Pass: "p", Options: mode("fast")}, "failure 6: the pass panicked: oh"},
		{"leaves nothing", func(_ *pass.Context, m *ir.Module) error { m.Main().Results[0] = &ir.Value{Name: "z"}; return nil }, &protocol.Start{Pass: "p", Options: mode("fast")}, "failure 6: the pass"},
		{"no such pass", works, &protocol.Start{Pass: "q"}, `there is no pass "q"`},
		{"no such mode", works, &protocol.Start{Pass: "p", Options: mode("slow")}, `kind is "enum"`},
		{"no mode", works, &protocol.Start{Pass: "p"}, `kind is "enum"`},
		{"an operator of another plugin is wrong", works, &protocol.Start{Pass: "p", Options: mode("fast"), Operators: foreign}, "other.Twice"},
	} {
		s, err := newServer(Plugin{Name: "x", Passes: []*pass.Pass{{Name: "p", Doc: "Tests.", Run: c.run,
			Options: []pass.Option{{Name: "mode", Doc: "how", Kind: pass.Enum, Default: "fast", Values: []string{"fast"}}}}}})
		if err != nil {
			t.Fatal(err)
		}
		st := &stream{}
		if err := sent.Send(c.start, func(r *protocol.Request) error { st.requests = append(st.requests, r); return nil }); err != nil {
			t.Fatal(err)
		}
		got := ""
		if err := s.Run(st); err != nil {
			got = err.Error()
		}
		for _, e := range st.events {
			switch k := e.GetKind().(type) {
			case *protocol.Event_Note:
				got += "note " + k.Note
			case *protocol.Event_Failure:
				got = strings.TrimSpace(fmt.Sprintf("failure %d: %s", k.Failure.GetCode(), strings.TrimSpace(k.Failure.GetNode()+" "+k.Failure.GetMessage())))
			case *protocol.Event_Result:
				got = "result after " + got
			}
		}
		if !strings.Contains(got, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}
