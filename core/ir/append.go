package ir

import (
	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/tensor"
)

// Append runs an append: it writes what is new into the storage that the first operand is.
// It gives the storage, how far it is filled then, and the number of bytes that were written.
func Append(s *Stmt, args []tensor.Value) (room *tensor.Tensor, end, written int64, err error) {
	var t [3]*tensor.Tensor
	for i := range t {
		if i < len(args) {
			t[i], _ = args[i].(*tensor.Tensor)
		}
		if t[i] == nil {
			return nil, 0, 0, diag.New(diag.Run, "operand %d is no tensor", i)
		}
	}
	room, add, filled := t[0], t[1], t[2]
	axis, _ := s.Attrs.Get("axis").(int64)
	if axis < 0 || int(axis) >= room.Rank() || add.Rank() != room.Rank() || filled.Rank() == 0 {
		return nil, 0, 0, diag.New(diag.Run, "%v along axis %d into %v", add.Shape(), axis, room.Shape())
	}
	has, at, n := room.Shape()[axis], filled.Shape()[0], add.Shape()[axis]
	if n > has-at {
		return nil, 0, 0, diag.New(diag.Run, "the state %q is full: it has room for %d, has %d, and gets %d more", s.Attrs.Get("state"), has, at, n).
			Hint("raise its capacity, or start again with Reset")
	}
	if written, err = tensor.Paste(room, int(axis), at, add); err != nil {
		return nil, 0, 0, diag.As(err, diag.Run)
	}
	return room, at + n, written, nil
}
