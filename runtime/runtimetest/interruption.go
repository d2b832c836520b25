package runtimetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/tensor"
)

// endless are modules that would run for hours.
var endless = []struct{ name, module string }{
	{"a product", `module {
  func @main(%x: [64, 300] f32, %y: [300, 600] f32) -> ([64, 600] f32) {
    %z: [64, 600] f32 = call @p(%x, %y)
    return %z
  }
  program @p(X: [64, 300] f32, Y: [300, 600] f32) -> (Z: [64, 600] f32) {
    Z[i < 64, j < 600] = sum(l < 1000000, k < 300) (X[i, k] * Y[k, j])
  }
}`},
	{"a reduction", `module {
  func @main(%x: [64, 300] f32, %y: [300, 600] f32) -> ([64] f32) {
    %z: [64] f32 = call @p(%x)
    return %z
  }
  program @p(X: [64, 300] f32) -> (Z: [64] f32) {
    Z[i < 64] = max(l < 1000000000, k < 300) tanh(X[i, k])
  }
}`},
	{"one long reduction", `module {
  func @main(%x: [64, 300] f32, %y: [300, 600] f32) -> ([] f32) {
    %z: [] f32 = call @p(%x)
    return %z
  }
  program @p(X: [64, 300] f32) -> (Z: [] f32) {
    Z[] = max(k < 1000000000000) tanh(X[0, (k % 300)])
  }
}`},
	{"a scatter", `module {
  func @main(%x: [64, 300] f32, %y: [300, 600] f32) -> ([64, 300] f32) {
    %z: [64, 300] f32 = call @p(%x)
    return %z
  }
  program @p(X: [64, 300] f32) -> (Z: [64, 300] f32) {
    Z[i < 1000000000000] = scatter sum(X, [(i % 64), (i % 300)]) f32 1
  }
}`},
	{"a loop", `module {
  func @main(%x: [64, 300] f32, %y: [300, 600] f32) -> ([64, 300] f32) {
    %z: [64, 300] f32 = onnx.Loop(_, _, %x) { (%i: [] i64, %keep: [] bool, %v: [64, 300] f32)
      %w: [64, 300] f32 = onnx.Tanh(%v)
      yield %keep, %w
    }
    return %z
  }
}`},
}

// interruption stops runs that would not end in the time of a test.
func interruption(t *testing.T, load Load) {
	for _, e := range endless {
		t.Run(e.name, func(t *testing.T) {
			r := load(t, parse(t, e.name, e.module))
			inputs := []tensor.Value{tensor.New(tensor.F32, 64, 300), tensor.New(tensor.F32, 300, 600)}
			for _, after := range []time.Duration{0, 30 * time.Millisecond} {
				ctx, cancel := context.WithTimeout(context.Background(), after)
				start := time.Now()
				_, err := r(ctx, inputs)
				cancel()
				if diag.CodeOf(err) != diag.Interrupted || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("got %v (code %d)", err, diag.CodeOf(err))
				}
				t.Logf("asked to stop after %v, it stopped after %v", after, time.Since(start).Round(time.Millisecond))
			}
		})
	}
}
