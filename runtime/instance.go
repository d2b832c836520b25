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
	kernel string    // that computes its program
	shapes [][]int64 // of what it gives; nil entry: not known, though all operands are
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
func (mc *machine) instance(s *ir.Stmt, args []tensor.Value) (*instance, error) {
	x := mc.x
	var ok bool
	if mc.key, ok = keyOf(mc.key[:0], args); !ok {
		return x.instantiate(s, args)
	}
	x.mu.Lock()
	in := x.instances[instanceKey{s, string(mc.key)}]
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
	x.instances[instanceKey{s, string(mc.key)}] = in
	return in, nil
}

// keyOf appends what tells operands apart; it is false for those that bytes can not tell.
func keyOf(b []byte, args []tensor.Value) ([]byte, bool) {
	for _, v := range args {
		switch t := v.(type) {
		case nil:
			b = append(b, 0)
		case *tensor.Tensor:
			if t.DType() == tensor.String {
				return b, false
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
			return b, false
		}
	}
	return b, true
}

func (x *Executable) instantiate(s *ir.Stmt, args []tensor.Value) (*instance, error) {
	in, err := ir.Instantiate(s, args)
	if err != nil {
		return nil, err
	}
	out := &instance{Instance: in}
	for _, t := range in.Out {
		shape, ok := t.Static()
		if ok && shape == nil {
			shape = []int64{}
		}
		out.shapes = append(out.shapes, shape)
	}
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
