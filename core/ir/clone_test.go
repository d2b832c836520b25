package ir_test

import (
	"os"
	"testing"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/text"
)

// A copy prints alike, is valid where the module is, and shares nothing that can be changed.
func TestClone(t *testing.T) {
	everything, err := os.ReadFile("../text/testdata/everything.pit")
	if err != nil {
		t.Fatal(err)
	}
	for name, src := range map[string]string{"whole": whole, "everything": string(everything)} {
		m, err := text.Parse(name, []byte(src), nil)
		if err != nil {
			t.Fatal(err)
		}
		was := text.String(m)
		c := m.Clone()
		if got := text.String(c); got != was {
			t.Errorf("%s: the copy prints as\n%s\nthe module as\n%s", name, got, was)
		}
		if (ir.Verify(m) == nil) != (ir.Verify(c) == nil) {
			t.Errorf("%s: the module: %v, the copy: %v", name, ir.Verify(m), ir.Verify(c))
		}
		for _, f := range c.Funcs {
			f.Name += "_"
			for _, p := range f.Params {
				p.Name += "_"
			}
			f.Walk(func(s *ir.Stmt) {
				s.Node += "_"
				for i, v := range s.Results {
					if v != nil {
						v.Name += "_"
					}
					s.Results[i] = nil
				}
				for i := range s.Args {
					s.Args[i] = nil
				}
				for i := range s.Into {
					s.Into[i] = nil
				}
				for i := range s.Attrs {
					s.Attrs[i].Name += "_"
				}
				for _, r := range s.Regions {
					for _, p := range r.Params {
						p.Name += "_"
					}
					r.Results = nil
				}
			})
			f.Results, f.Stmts = nil, nil
		}
		for _, p := range c.Programs {
			p.Name += "_"
			for _, b := range append(p.Params, p.Temps()...) {
				b.Name += "_"
			}
			for _, s := range p.Stages {
				s.Axes, s.Monoid = nil, ir.Prod
			}
		}
		for _, x := range c.Consts {
			x.Name += "_"
		}
		c.Syms.Reserve("new")
		if got := text.String(m); got != was {
			t.Errorf("%s: a change of the copy changed the module:\n%s\nit was\n%s", name, got, was)
		}
	}
}
