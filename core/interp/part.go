package interp

import (
	"fmt"
	"slices"
	"sync"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
)

// Stage is a stage of a program for the values of its symbols. It is compiled when it runs
// first; what was compiled is kept for the runs to come.
type Stage struct {
	*ir.Stage
	code    *Code
	extents []int64 // of all axes
	err     error   // why they are not known
	window  *window // nil: it is a stage of the program

	mu    sync.Mutex
	idle  []*compiled
	bytes int64 // of all that is compiled
}

// Shape is the shape of a buffer of the program.
func (s *Stage) Shape(b *ir.Buffer) []int64 { return s.code.shapes[s.code.number[b]] }

// Room is the shape of the tensor that a buffer lies in; of most it is the buffer's.
func (s *Stage) Room(b *ir.Buffer) []int64 { return s.code.rooms[s.code.number[b]] }

// Symbol gives the value of a symbol.
func (s *Stage) Symbol(name string) (int64, bool) { return s.code.symbol(name) }

// Points is how many times the stage's expressions are evaluated, 2^40 at most.
func (s *Stage) Points() int64 {
	n := int64(1)
	for _, e := range s.extents {
		if n *= max(e, 0); n > 1<<40 {
			return 1 << 40
		}
	}
	return n
}

// Parts says whether the stage may be cut into parts that run at the same time: every
// point is then computed as it would be in one piece, so the bits are the same.
func (s *Stage) Parts() bool {
	if s.Kind == ir.ScanStage || !slices.ContainsFunc(s.Axes, s.apart) {
		return false
	}
	for _, b := range s.Outs {
		if b.DType.IsSmall() { // neighbours share a byte
			return false
		}
	}
	return true
}

// apart says whether points at different positions of an axis are written to different places.
func (s *Stage) apart(a *ir.Axis) bool {
	return s.Kind != ir.ScatterStage || slices.ContainsFunc(s.Index, func(x *ir.Scalar) bool { return x.Op == ir.OpAxis && x.Axis == a })
}

// run computes part of parts of the stage.
func (s *Stage) run(x *Execution, part, parts int) (err error) {
	k, err := s.take()
	if err != nil {
		return err
	}
	defer func() {
		if v := recover(); v != nil {
			err = diag.New(diag.Run, "program @%s failed: %v", s.code.p.Name, v)
		}
		k.scratch.release()
		s.mu.Lock()
		defer s.mu.Unlock()
		if err != nil { // it may hold what the run had
			s.bytes -= k.bytes
			return
		}
		s.idle = append(s.idle, k)
	}()
	return k.run(x, s, part, parts)
}

// take gives compiled code that nobody uses, with its scratch.
func (s *Stage) take() (k *compiled, err error) {
	if k := s.takeIdle(); k != nil {
		return k, nil
	}
	mem := acquire()
	defer func() {
		if k == nil {
			mem.release()
		}
	}()
	if k, err = s.compile(mem); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.bytes += k.bytes
	return k, nil
}

func (s *Stage) takeIdle() *compiled {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, k := range s.idle {
		if k.scratch.tryAcquire() {
			s.idle = slices.Delete(s.idle, i, i+1)
			return k
		}
	}
	return nil
}

// cut restricts it to a part of the points: a range of the spatial axis with the
// largest extent, the lane axis last. It is false for a part without points.
func (k *compiled) cut(s *Stage, part, parts int) bool {
	split := -1
	for i := range s.Axes {
		if i != k.lane && s.apart(s.Axes[i]) && s.extents[i] >= int64(parts) && (split < 0 || s.extents[i] > s.extents[split]) {
			split = i
		}
	}
	if split < 0 && k.lane >= 0 && k.lane < len(s.Axes) && s.apart(s.Axes[k.lane]) {
		split = k.lane
	}
	if split < 0 {
		return part == 0
	}
	n := s.extents[split]
	k.box[split] = Span{n * int64(part) / int64(parts), n * int64(part+1) / int64(parts)}
	return k.box[split].Lo < k.box[split].Hi
}

// errorf is an error about the stage.
func (s *Stage) errorf(format string, args ...any) error {
	e := diag.New(diag.Run, format, args...)
	e.Msg = fmt.Sprintf("program @%s, stage %s: %s", s.code.p.Name, s.Out().Name, e.Msg)
	return e
}
