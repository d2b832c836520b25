package ir

import (
	"errors"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// Instance is an operator made ready for operands that are there: their exact shapes
// and contents decide what was open while compiling. Exactly one of Program, Func
// and Kernel is set.
type Instance struct {
	Call    *Call
	Out     []TensorType // of a Program: exact types of its results
	Program *Program     // without symbols; Args tells which operand each parameter is
	Args    []int
	Module  *Module // of a Func: where its constants and programs are
	Func    *Func   // one parameter for each operand that is there, in order
	Kernel  bool    // the operator's reference implementation
}

// Instantiate makes the operator of a statement ready for operands; a nil operand is
// left out. Operators with regions are the executor's business and have no instance.
func Instantiate(s *Stmt, args []tensor.Value) (*Instance, error) {
	if s.Op.IsUnknown() {
		return nil, UnsupportedError(s)
	}
	c := &Call{Op: s.Op, Node: s.Place(), Attrs: s.Attrs, Regions: s.Regions, Syms: sym.NewContext(),
		In: make([]Type, len(args)), Want: make([]bool, len(s.Results)), Out: make([]Type, len(s.Results))}
	for i, a := range args {
		if a != nil {
			c.In[i] = TypeOf(a)
		}
	}
	for i, r := range s.Results {
		c.Want[i] = r != nil
	}
	c.ConstOf = func(i int) *tensor.Tensor { // small ones alone: an instance serves all operands that differ in large ones
		if t, ok := args[i].(*tensor.Tensor); ok && t.Len() <= MaxKnown {
			return t
		}
		return nil
	}
	if err := c.Infer(); err != nil {
		return nil, runTime(err)
	}
	in := &Instance{Call: c}
	switch p, pargs, err := c.Program(); {
	case err == nil:
		in.Program, in.Args = p, pargs
		for _, r := range p.Results {
			in.Out = append(in.Out, r.Type())
		}
		return in, nil
	case !errors.Is(err, ErrNoProgram) && !errors.Is(err, ErrDynamic):
		return nil, runTime(err)
	case s.Op.Expand != nil:
		return in, in.expand(s)
	case s.Op.Kernel != nil:
		in.Kernel = true
		return in, nil
	default:
		return nil, c.Unsupported("%s in this form (%v)", s.Op.Name, err)
	}
}

// expand builds the function that the operator stands for.
func (in *Instance) expand(s *Stmt) error {
	c := in.Call
	in.Module = NewModule(s.Op.Name)
	in.Module.Syms = c.Syms
	in.Func = &Func{Name: "main"}
	b := NewBuilder(in.Module, in.Func)
	b.Node(s.Place())
	args := make([]*Value, len(c.In))
	for i, t := range c.In {
		if t == nil {
			continue
		}
		args[i] = b.Param("", t)
		if known := c.ConstOf(i); known != nil && known.DType().IsInt() && known.Len() <= MaxKnown {
			e, _ := c.Ints(i)
			b.SetKnown(args[i], e)
		}
	}
	results, err := c.Op.Expand(c, b, args)
	if err == nil {
		err = b.Err()
	}
	if err != nil {
		return runTime(err)
	}
	b.Return(results...)
	return nil
}

// runTime turns what would be a malformed model into a failed run: the operands came
// with the run.
func runTime(err error) error {
	if e := diag.As(err, diag.Run); e.Code == diag.Malformed {
		c := *e
		c.Code = diag.Run
		return &c
	}
	return err
}

// UnsupportedError names an operator that is not there.
func UnsupportedError(s *Stmt) error {
	v := int64(0)
	if len(s.Op.Since) > 0 {
		v = s.Op.Since[0]
	}
	return diag.New(diag.Unsupported, "unsupported operator %s, version %d", s.Op.Name, v).At(s.Place(), localName(s.Op.Name)).
		Hint("a plugin can bring it as signature plus program; `pitopt ops` lists what is there")
}
