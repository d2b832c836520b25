//go:build guard

package cpu

import "github.com/pitopt/pitopt/runtime/guards"

func init() {
	scratch.make = func(n int64) []byte { return guards.Bytes(n, guards.Behind) }
	scratch.round = func(n int64) int64 { return n }
}
