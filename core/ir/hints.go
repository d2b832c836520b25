package ir

import (
	"slices"

	"github.com/pitopt/pitopt/core/tensor"
)

// Sparse is a hint of a sum: where an element of Buffer is zero, the terms that have it for a
// factor add nothing, and a run may find many that are. Whoever leaves such terms out relies
// on what is multiplied by the zero being finite.
type Sparse struct {
	Buffer *Buffer // that the stage loads from
	Finite bool    // everything else in the term is proved finite; otherwise a run is to look
}

// UnwantedBound is how far from zero a point may be at most for Wanted to leave it out, unless Stage.Any: what is multiplied by
// a zero further on must not become infinite on its way there, since zero times infinity is not zero. Whoever leaves
// points out proves it, or looks.
const UnwantedBound = 1 << 100

// hints checks what a stage says beside what it computes.
func (v *programVerifier) hints(s *Stage, axes map[*Axis]bool) error {
	if (len(s.Sparse) > 0 || s.Wanted != nil) && (s.Kind != ReduceStage || s.Monoid != Sum) {
		return v.fail(ruleHints, "the stage of %s is no sum, and has hints of one", s.Out().Name)
	}
	loads := s.loads()
	for i, h := range s.Sparse {
		switch {
		case h.Buffer == nil:
			return v.fail(ruleComplete, "a sparse buffer of the stage of %s is missing", s.Out().Name)
		case !loads[h.Buffer]:
			return v.fail(ruleHints, "the stage of %s does not load from %s, which is said to be sparse", s.Out().Name, h.Buffer.Name)
		case slices.ContainsFunc(s.Sparse[:i], func(o Sparse) bool { return o.Buffer == h.Buffer }):
			return v.fail(ruleHints, "%s is said to be sparse twice, in the stage of %s", h.Buffer.Name, s.Out().Name)
		}
	}
	if s.Wanted == nil {
		if s.Any {
			return v.fail(ruleHints, "what is not wanted of %s may be anything, and all of it is wanted", s.Out().Name)
		}
		return nil
	}
	for _, a := range s.Red {
		axes[a] = false
	}
	var err error
	s.Wanted.Walk(func(x *Scalar) bool {
		if err == nil {
			err = v.scalar(s, x, axes)
		}
		return err == nil
	})
	if err == nil && s.Wanted.DType != tensor.Bool {
		return v.fail(ruleHints, "what is wanted of %s is %s, no truth value", s.Out().Name, s.Wanted.DType)
	}
	return err
}

// loads are the buffers that the stage's expressions load from.
func (s *Stage) loads() map[*Buffer]bool {
	out := map[*Buffer]bool{}
	s.Walk(func(x *Scalar) bool {
		if x.Op == OpLoad {
			out[x.Buf] = true
		}
		return true
	})
	return out
}

// keepHints drops hints of buffers that the stage no longer loads from.
func (s *Stage) keepHints() {
	if len(s.Sparse) == 0 {
		return
	}
	loads := s.loads()
	var kept []Sparse
	for _, h := range s.Sparse {
		if loads[h.Buffer] {
			kept = append(kept, h)
		}
	}
	s.Sparse = kept
}
