package ptx

import (
	"fmt"

	"github.com/pitopt/pitopt/runtime/kernel"
)

// limits says what of a kernel is not printed: vectors of 64 bits, integers of more than 8, loads by lists, and what notes that a
// call has failed.
func limits(b *kernel.Block) error {
	for _, v := range b.List {
		switch {
		case v.Kind.Wide():
			return fmt.Errorf("%s of %s", v.Op, v.Kind)
		case v.Op == kernel.OpLoad && (v.Access == kernel.Listed || v.Kind == kernel.Int):
			return fmt.Errorf("a load by a list, or of a single integer")
		}
		switch v.Op {
		case kernel.OpMust, kernel.OpClamp, kernel.OpQuo, kernel.OpWiden, kernel.OpShort, kernel.OpCut:
			return fmt.Errorf("%s", v.Op)
		case kernel.OpLesser, kernel.OpGreater:
			if v.Kind == kernel.I32 {
				return fmt.Errorf("%s of %s", v.Op, v.Kind)
			}
		case kernel.OpLoad, kernel.OpStore:
			if d := v.Buf.DType; d.IsInt() && d.Bits() > 8 {
				return fmt.Errorf("elements of %s", d)
			}
		}
		for _, a := range v.Args {
			if a.Kind.Wide() {
				return fmt.Errorf("%s of %s", v.Op, a.Kind)
			}
		}
		if v.Op == kernel.OpLoop {
			if err := limits(v.Loop.Body); err != nil {
				return err
			}
		}
	}
	return nil
}
