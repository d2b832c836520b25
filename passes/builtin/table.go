// Package builtin holds pitopt's own passes, one file each, and the table of them.
package builtin

import (
	"fmt"

	"github.com/pitopt/pitopt/core/pass"
)

// Registry is a new registry with all built-in passes; plugins' may be added to it.
func Registry() *pass.Registry {
	r, err := pass.NewRegistry(FoldConstants, Deduce, Simplify, Decompose, Raise, Legalize, State, RemovePadding, Fuse, PIT, Dispatch, PlanMemory, Lower)
	if err != nil {
		panic(fmt.Sprintf("builtin: the pass table is broken: %v", err)) // a mistake in this package, seen by any test
	}
	return r
}
