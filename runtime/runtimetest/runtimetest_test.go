package runtimetest_test

import (
	"context"
	"testing"

	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/runtime/runtimetest"
)

func TestInterpreter(t *testing.T) {
	runtimetest.RunReference(t, func(_ testing.TB, m *ir.Module) runtimetest.Runner {
		return func(ctx context.Context, inputs []tensor.Value) ([]tensor.Value, error) {
			return interp.Run(ctx, m, inputs, interp.Options{})
		}
	})
}
