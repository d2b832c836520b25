package runtime

import (
	"encoding/binary"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

// instanceKey says which instance of an operator fits: the statement, and of every
// operand element type, shape, and contents where they are few enough to decide
// anything.
type instanceKey struct {
	s    *ir.Stmt
	args string
}

// maxInstances bounds the cache of instances.
const maxInstances = 4096

// instance gives the instance of an operator for operands, from the cache where one
// like it ran before.
func (x *Executable) instance(s *ir.Stmt, args []tensor.Value) (*ir.Instance, error) {
	key := instanceKey{s, ""}
	b := []byte{}
	for _, v := range args {
		switch t := v.(type) {
		case nil:
			b = append(b, 0)
		case *tensor.Tensor:
			if t.DType() == tensor.String {
				return ir.Instantiate(s, args)
			}
			b = append(b, 1, byte(t.DType()), byte(t.Rank()))
			for _, n := range t.Shape() {
				b = binary.AppendVarint(b, n)
			}
			if t.Len() <= ir.MaxKnown {
				b = append(b, t.Bytes()...)
			}
		default:
			return ir.Instantiate(s, args)
		}
	}
	key.args = string(b)
	x.mu.Lock()
	in := x.instances[key]
	x.mu.Unlock()
	if in != nil && (in.Program != nil || in.Kernel) {
		return in, nil
	}
	in, err := ir.Instantiate(s, args)
	if err != nil {
		return nil, err
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	if len(x.instances) >= maxInstances {
		clear(x.instances)
	}
	x.instances[key] = in
	return in, nil
}
