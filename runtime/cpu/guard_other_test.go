//go:build !linux && !darwin

package cpu

import "testing"

// guarded gives bytes; the system has no page that stands guard behind them.
func guarded(t testing.TB, n int) []byte { return make([]byte, n) }
