package pass_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	_ "github.com/pitopt/pitopt/core/op"
	"github.com/pitopt/pitopt/core/pass"
	"github.com/pitopt/pitopt/core/target"
	"github.com/pitopt/pitopt/core/text"
)

// named is a pass that does nothing.
func named(name string) *pass.Pass {
	return &pass.Pass{Name: name, Doc: "Does nothing.", Run: func(*pass.Context, *ir.Module) error { return nil }}
}

func after(p *pass.Pass, others ...string) *pass.Pass {
	for _, o := range others {
		p.After = append(p.After, pass.Because(o, "it reads what "+o+" writes"))
	}
	return p
}

func before(p *pass.Pass, others ...string) *pass.Pass {
	for _, o := range others {
		p.Before = append(p.Before, pass.Because(o, "it spoils what "+o+" reads"))
	}
	return p
}

func option(o pass.Option) *pass.Pass {
	p := named("with-option")
	p.Options = []pass.Option{o}
	return p
}

func TestRegistryRefuses(t *testing.T) {
	for _, c := range []struct {
		passes []*pass.Pass
		says   string
	}{
		{[]*pass.Pass{named("")}, "pass name"},
		{[]*pass.Pass{named("Fold")}, "pass name"},
		{[]*pass.Pass{named("-fold")}, "pass name"},
		{[]*pass.Pass{named("fold-")}, "pass name"},
		{[]*pass.Pass{named("fold it")}, "pass name"},
		{[]*pass.Pass{named("acme/")}, "pass name"},
		{[]*pass.Pass{named("acme/fold/all")}, "pass name"},
		{[]*pass.Pass{{Name: "fold", Run: named("x").Run}}, "lacks doc or function"},
		{[]*pass.Pass{{Name: "fold", Doc: "Folds."}}, "lacks doc or function"},
		{[]*pass.Pass{named("fold"), named("fold")}, "pass fold is there twice"},
		{[]*pass.Pass{{Name: "fold", Doc: "Folds.", Run: named("x").Run, After: []pass.Order{{Pass: "deduce"}}}}, "constraint on deduce has no reason"},
		{[]*pass.Pass{{Name: "fold", Doc: "Folds.", Run: named("x").Run, Before: []pass.Order{{Pass: "deduce"}}}}, "constraint on deduce has no reason"},

		{[]*pass.Pass{after(named("a"), "a")}, "a after a"},
		{[]*pass.Pass{after(named("a"), "b"), after(named("b"), "a")}, "a after b after a"},
		{[]*pass.Pass{after(named("a"), "b"), before(named("a2"), "b"), before(named("b"), "a2")}, "b after a2 after b"},
		{[]*pass.Pass{after(named("a"), "b"), after(named("b"), "c"), before(named("a2"), "c"), after(named("c"), "a")}, "a after b after c after a"},

		{[]*pass.Pass{option(pass.Option{Name: "Max", Kind: pass.Int, Doc: "d", Default: int64(1)})}, "lower-case words"},
		{[]*pass.Pass{option(pass.Option{Name: "a/b", Kind: pass.Int, Doc: "d", Default: int64(1)})}, "lower-case words"},
		{[]*pass.Pass{option(pass.Option{Name: "after", Kind: pass.String, Doc: "d", Default: ""})}, "something else in a pipeline file"},
		{[]*pass.Pass{option(pass.Option{Name: "max", Kind: pass.Int, Default: int64(1)})}, "has no doc"},
		{[]*pass.Pass{option(pass.Option{Name: "max", Kind: "number", Doc: "d", Default: int64(1)})}, `kind that there is not: "number"`},
		{[]*pass.Pass{option(pass.Option{Name: "max", Kind: pass.Int, Doc: "d"})}, `is of kind "int", its default is <nil>`},
		{[]*pass.Pass{option(pass.Option{Name: "max", Kind: pass.Int, Doc: "d", Default: 1})}, "its default is 1"},
		{[]*pass.Pass{option(pass.Option{Name: "max", Kind: pass.Duration, Doc: "d", Default: int64(1)})}, "its default is 1"},
		{[]*pass.Pass{option(pass.Option{Name: "mode", Kind: pass.Enum, Doc: "d", Default: "slow", Values: []string{"fast"}})}, `its default is "slow"`},
		{[]*pass.Pass{{Name: "p", Doc: "d", Run: named("x").Run, Options: []pass.Option{
			{Name: "max", Kind: pass.Bool, Doc: "d", Default: true}, {Name: "max", Kind: pass.Bool, Doc: "d", Default: true}}}}, `"max" is there twice`},
	} {
		if _, err := pass.NewRegistry(c.passes...); err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("got %v, want %q", err, c.says)
		}
	}
}

func TestRegistry(t *testing.T) {
	every := named("every-kind")
	every.Options = []pass.Option{
		{Name: "b", Kind: pass.Bool, Doc: "d", Default: false},
		{Name: "i", Kind: pass.Int, Doc: "d", Default: int64(0)},
		{Name: "f", Kind: pass.Float, Doc: "d", Default: 0.5},
		{Name: "s", Kind: pass.String, Doc: "d", Default: ""},
		{Name: "n", Kind: pass.Size, Doc: "d", Default: int64(1)},
		{Name: "t", Kind: pass.Duration, Doc: "d", Default: time.Second},
		{Name: "e", Kind: pass.Enum, Doc: "d", Default: "b", Values: []string{"a", "b"}},
		{Name: "l", Kind: pass.Strings, Doc: "d", Default: []string(nil)},
	}
	r, err := pass.NewRegistry(named("simplify"), after(before(every, "not-there"), "simplify"), named("acme/strip-2"))
	if err != nil {
		t.Fatal(err)
	}
	if err := r.Add(after(named("late"), "every-kind")); err != nil {
		t.Error(err)
	}
	if err := r.Add(before(after(named("in-a-circle"), "late"), "simplify")); err == nil {
		t.Error("a circle with what is there was taken")
	}
	if got, want := r.Names(), []string{"acme/strip-2", "every-kind", "late", "simplify"}; !slices.Equal(got, want) {
		t.Errorf("names are %v, want %v", got, want)
	}
	if r.Lookup("every-kind") != every || r.Lookup("in-a-circle") != nil || r.Passes()[1] != every {
		t.Error("passes are not found by name, or not in the order they came")
	}
	r.Passes()[0] = nil
	if r.Lookup("simplify") == nil {
		t.Error("the list that was given out is the registry's own")
	}
}

// steps makes a pipeline of passes by name; the ones with constraints are given.
func steps(list string, passes ...*pass.Pass) []pass.Step {
	var out []pass.Step
	for i, name := range strings.Fields(list) {
		p := named(name)
		for _, x := range passes {
			if x.Name == name {
				p = x
			}
		}
		out = append(out, pass.Step{Pass: p, Where: fmt.Sprintf("p.toml:%d:1", i+1)})
	}
	return out
}

func TestOrder(t *testing.T) {
	fuse := after(named("fuse"), "legalize")
	strip := before(named("strip"), "legalize")
	for _, c := range []struct{ list, says string }{
		{"", ""},
		{"fuse", ""}, // what it wants before it is not there
		{"legalize fuse", ""},
		{"strip legalize fuse", ""},
		{"legalize fuse legalize fuse", ""},     // again, later
		{"legalize fuse simplify legalize", ""}, // what must come first did
		{"strip legalize strip", ""},
		{"fuse legalize", `p.toml:1:1: pass "fuse" must stand after "legalize": it reads what legalize writes; move the entry`},
		{"fuse legalize fuse", `p.toml:1:1: pass "fuse" must stand after`},
		{"legalize strip", `p.toml:2:1: pass "strip" must stand before "legalize": it spoils what legalize reads`},
		{"simplify legalize fuse strip", `p.toml:4:1: pass "strip"`},
	} {
		err := pass.CheckOrder(steps(c.list, fuse, strip))
		switch {
		case c.says == "" && err != nil:
			t.Errorf("%s: %v", c.list, err)
		case c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says) || diag.CodeOf(err) != diag.Pipeline):
			t.Errorf("%s: got %v, want %q", c.list, err, c.says)
		}
	}
}

func TestRef(t *testing.T) {
	for n, want := range []string{"fold", "fold", "fold#2", "fold#3"} {
		if got := (pass.Step{Pass: named("fold"), Number: n}).Ref(); got != want {
			t.Errorf("number %d: %s", n, got)
		}
	}
}

func module(t *testing.T) *ir.Module {
	t.Helper()
	m, err := text.Parse("m", []byte(`module {
  func @main(%x: [n] f32) -> ([n] f32) {
    %y: [n] f32 = onnx.Abs(%x)
    return %y
  }
}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// doing is a pass that does something.
func doing(name string, run func(*pass.Context, *ir.Module) error) *pass.Pass {
	return &pass.Pass{Name: name, Doc: "Does something.", Run: run}
}

// A run calls passes in order with complete options, the hooks around each, and hands on
// what passes say.
func TestManager(t *testing.T) {
	var seen []string
	tgt := target.Interp()
	p := doing("talk", func(c *pass.Context, m *ir.Module) error {
		seen = append(seen, fmt.Sprintf("run %v %v %v", pass.Get[int64](c, "max"), pass.Get[bool](c, "deep"), pass.Get[string](c, "none")))
		c.Note("%d statements", len(m.Main().Stmts))
		if c.Target != tgt {
			t.Error("the pass does not see the target")
		}
		return nil
	})
	p.Options = []pass.Option{{Name: "max", Kind: pass.Int, Doc: "d", Default: int64(7)}, {Name: "deep", Kind: pass.Bool, Doc: "d", Default: false}}
	mg := pass.Manager{
		Target: tgt,
		Before: func(i int, s pass.Step, m *ir.Module) error {
			seen = append(seen, fmt.Sprintf("before %d %s", i, s.Ref()))
			return nil
		},
		After: func(i int, s pass.Step, m *ir.Module, took time.Duration) error {
			seen = append(seen, fmt.Sprintf("after %d %s", i, s.Ref()))
			if took < 0 {
				t.Errorf("%s took %v", s.Ref(), took)
			}
			return nil
		},
		Note: func(pass, msg string) { seen = append(seen, pass+" says "+msg) },
	}
	list := []pass.Step{{Pass: p}, {Pass: p, Number: 2, Options: map[string]any{"deep": true}}}
	if err := mg.Run(context.Background(), module(t), list); err != nil {
		t.Fatal(err)
	}
	want := []string{"before 0 talk", "run 7 false ", "talk says 1 statements", "after 0 talk",
		"before 1 talk#2", "run 7 true ", "talk#2 says 1 statements", "after 1 talk#2"}
	if !slices.Equal(seen, want) {
		t.Errorf("got  %q\nwant %q", seen, want)
	}
	if err := (&pass.Manager{Target: tgt}).Run(context.Background(), module(t), list); err != nil { // without hooks
		t.Error(err)
	}
}

func TestManagerStops(t *testing.T) {
	bad := errors.New("bad luck")
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	during, stop := context.WithCancel(context.Background())
	for _, c := range []struct {
		name string
		ctx  context.Context
		mg   pass.Manager
		run  func(*pass.Context, *ir.Module) error
		code diag.Code
		says []string
	}{
		{name: "fails", run: func(*pass.Context, *ir.Module) error { return bad }, code: diag.Run, says: []string{"second: bad luck"}},
		{name: "says where", run: func(*pass.Context, *ir.Module) error {
			return diag.New(diag.Malformed, "axis 3").At("node", "Gather")
		}, code: diag.Malformed, says: []string{`node "node" (Gather): second: axis 3`}},
		{name: "panics", run: func(*pass.Context, *ir.Module) error {
			var none []int
			_ = none[3]
			return nil
		}, code: diag.Run, says: []string{"second: the pass panicked", "index out of range", "pass_test.go"}},
		{name: "leaves rubbish", run: func(_ *pass.Context, m *ir.Module) error {
			m.Main().Stmts = nil
			return nil
		}, code: diag.Verifier, says: []string{"second: ", "%y is used where it is not visible (rule visible-operands)", "run with -print-before second"}},
		{name: "before it starts", ctx: cancelled, run: func(*pass.Context, *ir.Module) error { t.Error("it ran"); return nil },
			code: diag.Interrupted, says: []string{"first: interrupted"}},
		{name: "while it runs", ctx: during, run: func(c *pass.Context, m *ir.Module) error {
			stop()
			return fmt.Errorf("half way: %w", c.Err())
		}, code: diag.Interrupted, says: []string{"second: interrupted"}},
		{name: "by the hook before", mg: pass.Manager{Before: func(i int, _ pass.Step, _ *ir.Module) error {
			if i == 1 {
				return bad
			}
			return nil
		}}, run: func(*pass.Context, *ir.Module) error { t.Error("it ran"); return nil }, code: diag.Run, says: []string{"bad luck"}},
		{name: "by the hook after", mg: pass.Manager{After: func(i int, _ pass.Step, _ *ir.Module, _ time.Duration) error {
			if i == 1 {
				return bad
			}
			return nil
		}}, run: func(*pass.Context, *ir.Module) error { return nil }, code: diag.Run, says: []string{"bad luck"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			if c.ctx == nil {
				c.ctx = context.Background()
			}
			list := []pass.Step{{Pass: named("first")}, {Pass: doing("second", c.run)}, {Pass: doing("third", func(*pass.Context, *ir.Module) error {
				t.Error("the pass behind it ran")
				return nil
			})}}
			err := c.mg.Run(c.ctx, module(t), list)
			if diag.CodeOf(err) != c.code {
				t.Errorf("got %v, code %d, want code %d", err, diag.CodeOf(err), c.code)
			}
			for _, s := range c.says {
				if err == nil || !strings.Contains(err.Error(), s) {
					t.Errorf("got %v, want %q", err, s)
				}
			}
		})
	}
	err := (&pass.Manager{}).Run(context.Background(), module(t), steps("fuse legalize", after(named("fuse"), "legalize")))
	if diag.CodeOf(err) != diag.Pipeline {
		t.Errorf("an order that can not be: got %v", err)
	}
}

// What a pass changes where it lies, without touching a type, is found behind the last pass.
func TestManagerVerifiesAllAtTheEnd(t *testing.T) {
	m, err := text.Parse("m", []byte(`module {
  func @main(%x: [n] f32) -> ([2*n] f32) {
    %y: [2*n] f32 = onnx.Concat(%x, %x) {axis = 0}
    return %y
  }
}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	breaks := doing("breaks", func(_ *pass.Context, m *ir.Module) error {
		m.Main().Stmts[0].Attrs[0].Value = int64(3)
		return nil
	})
	var mg pass.Manager
	if err := mg.Verifier.Verify(m); err != nil {
		t.Fatal(err)
	}
	err = mg.Run(context.Background(), m, []pass.Step{{Pass: breaks}, {Pass: named("idle")}})
	if err == nil || !strings.Contains(err.Error(), "this pass or one before it left an invalid module") {
		t.Errorf("got %v", err)
	}
}
