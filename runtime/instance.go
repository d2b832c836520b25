package runtime

import (
	"encoding/binary"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
)

// instance is an operator made ready for operands. One that stands for a function has
// the function's code; as anywhere else, it is used for all operands of the same key.
type instance struct {
	*ir.Instance
	code   *code
	kernel string // that computes its program
}

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
func (x *Executable) instance(s *ir.Stmt, args []tensor.Value) (*instance, error) {
	key, ok := keyOf(s, args)
	if !ok {
		return x.instantiate(s, args)
	}
	x.mu.Lock()
	in := x.instances[key]
	x.mu.Unlock()
	if in != nil {
		return in, nil
	}
	in, err := x.instantiate(s, args)
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

// keyOf is false for operands that can not be told apart by bytes.
func keyOf(s *ir.Stmt, args []tensor.Value) (instanceKey, bool) {
	var b []byte
	for _, v := range args {
		switch t := v.(type) {
		case nil:
			b = append(b, 0)
		case *tensor.Tensor:
			if t.DType() == tensor.String {
				return instanceKey{}, false
			}
			b = append(b, 1, byte(t.DType()))
			b = binary.AppendUvarint(b, uint64(t.Rank()))
			for _, n := range t.Shape() {
				b = binary.AppendVarint(b, n)
			}
			if t.Len() <= ir.MaxKnown {
				b = append(b, t.Bytes()...)
			}
		default:
			return instanceKey{}, false
		}
	}
	return instanceKey{s, string(b)}, true
}

func (x *Executable) instantiate(s *ir.Stmt, args []tensor.Value) (*instance, error) {
	in, err := ir.Instantiate(s, args)
	if err != nil {
		return nil, err
	}
	out := &instance{Instance: in}
	if in.Func != nil {
		if out.code, err = compile(in.Module, in.Func, x.dev, x.opts.MaxBytes); err != nil {
			return nil, err
		}
	}
	if in.Program != nil { // as the pass dispatch chooses, but for sizes that are known
		if k := x.dev.Target().Choose(in.Program, func(string) int64 { return 1 }).Kernel; k != nil {
			out.kernel = k.Name
		}
	}
	return out, nil
}
