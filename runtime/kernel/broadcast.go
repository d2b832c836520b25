package kernel

import (
	"strings"

	"github.com/pitopt/pitopt/core/ir"
)

// Broadcasts are those of a program that sizes decide, for some of these.
type Broadcasts struct {
	repeats map[*ir.Scalar]bool
	Key     string // equal where all are decided alike: then kernels are the same
}

// BroadcastsOf decides the broadcasts of a program. It is false where shapes do not broadcast.
func BroadcastsOf(p *ir.Program, symbol func(string) (int64, bool)) (b Broadcasts, ok bool) {
	b.repeats, ok = map[*ir.Scalar]bool{}, true
	var key strings.Builder
	for _, s := range p.Stages {
		s.Walk(func(x *ir.Scalar) bool {
			if _, seen := b.repeats[x]; seen || x.Op != ir.OpBcast {
				return true
			}
			dim, _ := x.Args[1].Symbolic()
			extent, _ := x.Args[2].Symbolic()
			n, err := dim.Eval(symbol)
			m, err2 := extent.Eval(symbol)
			ok = ok && err == nil && err2 == nil && (n == m || n == 1)
			b.repeats[x] = n != m
			if n != m {
				key.WriteByte('1')
			} else {
				key.WriteByte('0')
			}
			return true
		})
	}
	b.Key = key.String()
	return b, ok
}

// Repeats says whether a broadcast gives 0 (Options.Repeats).
func (b Broadcasts) Repeats(x *ir.Scalar) bool { return b.repeats[x] }
