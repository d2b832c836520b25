package cpu

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"testing"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/pass"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/passes/builtin"
	"github.com/pitopt/pitopt/runtime"
	"github.com/pitopt/pitopt/runtime/runtimetest"
)

// load readies a module whose programs have gone to the kernels that take them.
func load(t testing.TB, m *ir.Module, d *Device) *runtime.Executable {
	t.Helper()
	m = m.Clone()
	mg := pass.Manager{Target: d.Target()}
	if err := mg.Run(context.Background(), m, []pass.Step{{Pass: builtin.Dispatch}}); err != nil {
		t.Fatal(err)
	}
	x, err := runtime.Load(m, d, runtime.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return x
}

// The suite as users run it.
func TestSuite(t *testing.T) {
	for _, tier := range tiers(t) {
		t.Run(tier.name, func(t *testing.T) {
			runtimetest.Run(t, func(t testing.TB, m *ir.Module) runtimetest.Runner { return load(t, m, tier.device(2)).Run })
		})
	}
}

// The suite with every stage cut into parts: one, two and three threads give the same
// bits.
func TestSuiteInParts(t *testing.T) {
	for _, tier := range tiers(t) {
		t.Run(tier.name, func(t *testing.T) { suiteInParts(t, tier) })
	}
}

func suiteInParts(t *testing.T, tier tier) {
	runtimetest.Run(t, func(t testing.TB, m *ir.Module) runtimetest.Runner {
		var list []*runtime.Executable
		for threads := 1; threads <= 3; threads++ {
			list = append(list, load(t, m, tier.inParts(threads)))
		}
		return func(ctx context.Context, inputs []tensor.Value) ([]tensor.Value, error) {
			first, err := list[0].Run(ctx, inputs)
			for i, x := range list[1:] {
				got, err2 := x.Run(ctx, inputs)
				if diag.CodeOf(err) != diag.CodeOf(err2) {
					return nil, fmt.Errorf("with one thread: %v, with %d: %v", err, i+2, err2)
				}
				if err != nil {
					continue
				}
				for j := range got {
					if !sameBits(got[j], first[j]) {
						return nil, fmt.Errorf("result %d is %v with %d threads, %v with one", j, got[j], i+2, first[j])
					}
				}
			}
			return first, err
		}
	})
}

func sameBits(a, b tensor.Value) bool {
	switch a := a.(type) {
	case *tensor.Tensor:
		b, ok := b.(*tensor.Tensor)
		return ok && a.DType() == b.DType() && slices.Equal(a.Shape(), b.Shape()) && bytes.Equal(a.Bytes(), b.Bytes()) && slices.Equal(a.Strings(), b.Strings())
	case *tensor.Sequence:
		b, ok := b.(*tensor.Sequence)
		return ok && slices.EqualFunc(a.Elems, b.Elems, sameBits)
	case *tensor.Optional:
		b, ok := b.(*tensor.Optional)
		return ok && (a.Elem == nil) == (b.Elem == nil) && (a.Elem == nil || sameBits(a.Elem, b.Elem))
	}
	return false
}
