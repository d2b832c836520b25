// Package runtimetest is the suite that every executor of modules passes: the reference
// interpreter, the machine of package runtime on each of its devices. A case is a module
// in the textual form and calls of its @main, with what comes out of them (cases/*.txt),
// or products, convolutions and conversions in many shapes, which come from tables here.
package runtimetest

import (
	"context"
	"fmt"
	"hash/fnv"
	"strings"
	"sync"
	"testing"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/ir"
	_ "github.com/pitopt/pitopt/core/op" // the operators that cases use
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/core/text"
)

// Load readies a valid module to run.
type Load func(t testing.TB, m *ir.Module) Runner

// Runner runs @main with inputs in the order of its parameters. It is called from several
// goroutines.
type Runner func(ctx context.Context, inputs []tensor.Value) ([]tensor.Value, error)

// Run runs the suite. Results must be within tensor.DefaultTolerance of those that are
// written down, and of the reference interpreter's where none are.
func Run(t *testing.T, load Load) { run(t, load, true) }

// RunReference runs the cases whose results are written down, or computed by loops of the
// suite's own. It is for the reference interpreter, which gives the results of the others.
func RunReference(t *testing.T, load Load) { run(t, load, false) }

func run(t *testing.T, load Load, drawn bool) {
	for _, file := range files(t) {
		t.Run(file.name, func(t *testing.T) {
			for _, c := range file.cases {
				t.Run(c.name, func(t *testing.T) { c.run(t, load, drawn) })
			}
		})
	}
	t.Run("products", func(t *testing.T) { products(t, load) })
	t.Run("convolutions", func(t *testing.T) { convolutions(t, load) })
	t.Run("element types", func(t *testing.T) { elementTypes(t, load) })
	t.Run("interruption", func(t *testing.T) { interruption(t, load) })
}

// call is one call of a case's @main.
type call struct {
	line   string
	inputs []tensor.Value
	want   []tensor.Value
	fails  string // part of the error; empty: it succeeds
}

// check runs calls one after the other, with one executable, and then all of them at the
// same time.
func check(t *testing.T, r Runner, calls []call) {
	t.Helper()
	one := func(c call) error {
		got, err := r(context.Background(), c.inputs)
		switch {
		case c.fails != "" && err == nil:
			return fmt.Errorf("%s\n  got %v, want the error %q", c.line, got, c.fails)
		case c.fails != "" && (!strings.Contains(err.Error(), c.fails) || diag.CodeOf(err) != diag.Run):
			return fmt.Errorf("%s\n  got the error %q (code %d), want %q (code %d)", c.line, err, diag.CodeOf(err), c.fails, diag.Run)
		case c.fails != "":
			return nil
		case err != nil:
			return fmt.Errorf("%s\n  %w", c.line, err)
		case len(got) != len(c.want):
			return fmt.Errorf("%s\n  got %d results, want %d", c.line, len(got), len(c.want))
		}
		for i := range got {
			if err := compare(got[i], c.want[i]); err != nil {
				return fmt.Errorf("%s\n  result %d: %w", c.line, i, err)
			}
		}
		return nil
	}
	for _, c := range calls {
		if err := one(c); err != nil {
			t.Error(err)
		}
	}
	if t.Failed() || len(calls) < 2 {
		return
	}
	var all sync.WaitGroup
	for _, c := range calls {
		all.Go(func() {
			if err := one(c); err != nil {
				t.Errorf("at the same time as others: %v", err)
			}
		})
	}
	all.Wait()
}

// compare is tensor.Compare that tells optionals from what they hold, with the tolerance
// of the element type.
func compare(got, want tensor.Value) error {
	switch w := want.(type) {
	case *tensor.Tensor:
		return tensor.Compare(got, w, tensor.DefaultTolerance(w.DType()))
	case *tensor.Sequence:
		g, ok := got.(*tensor.Sequence)
		if !ok || len(g.Elems) != len(w.Elems) {
			return fmt.Errorf("got %v, want a sequence of %d", got, len(w.Elems))
		}
		for i := range w.Elems {
			if err := compare(g.Elems[i], w.Elems[i]); err != nil {
				return fmt.Errorf("element %d: %w", i, err)
			}
		}
		return nil
	case *tensor.Optional:
		g, ok := got.(*tensor.Optional)
		if !ok || (g.Elem == nil) != (w.Elem == nil) {
			return fmt.Errorf("got %v, want an optional, empty: %v", got, w.Elem == nil)
		}
		if w.Elem == nil {
			return nil
		}
		return compare(g.Elem, w.Elem)
	}
	return fmt.Errorf("got %v, and nothing to compare it with", got)
}

// parse reads a module, which must be valid.
func parse(t testing.TB, name, src string) *ir.Module {
	t.Helper()
	m, err := text.Parse(name, []byte(src), nil)
	if err == nil {
		err = ir.Verify(m)
	}
	if err != nil {
		t.Fatalf("%v\n%s", err, src)
	}
	return m
}

// reference gives the interpreter's results.
func reference(m *ir.Module, inputs []tensor.Value) ([]tensor.Value, error) {
	return interp.Run(context.Background(), m, inputs, interp.Options{})
}

// seed makes a seed of a text.
func seed(s string) uint64 {
	h := fnv.New64a()
	_, _ = h.Write([]byte(s))
	return h.Sum64()
}
