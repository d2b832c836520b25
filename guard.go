//go:build guard

package pitopt

import (
	"github.com/pitopt/pitopt/runtime"
	"github.com/pitopt/pitopt/runtime/guards"
)

// Built with the tag guard, all memory of a run lies between pages that can not be touched.
func init() {
	around = func(d runtime.Device) runtime.Device { return guards.New(d, guards.Behind) }
}
