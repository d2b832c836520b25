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
	Out     []TensorType // of a Program, and of a Kernel that fills results: their exact types
	Program *Program     // without symbols; Args tells which operand each parameter is
	Args    []int
	Module  *Module // of a Func: where its constants and programs are
	Func    *Func   // one parameter for each operand that is there, in order, and each value that is captured
	Kernel  bool    // the operator's reference implementation
}

// Instantiate makes the operator of a statement ready for operands; a nil operand is
// left out. Behind them stand the values that its regions capture. What If and Loop do is
// the executor's business: they have no instance.
func Instantiate(s *Stmt, args []tensor.Value) (*Instance, error) {
	if len(args) < len(s.Args) {
		return nil, diag.New(diag.Run, "%d operands, it takes %d", len(args), len(s.Args))
	}
	args, captured := args[:len(s.Args)], args[len(s.Args):]
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
	known := make([]*tensor.Tensor, len(args)) // small ones alone: an instance serves all operands that differ in large ones
	for i, a := range args {
		if t, ok := a.(*tensor.Tensor); ok && t.Len() <= MaxKnown {
			known[i] = t.Clone() // it outlives the operand
		}
	}
	c.ConstOf = func(i int) *tensor.Tensor { return known[i] }
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
		return in, in.expand(s, args, captured)
	case s.Op.Fill != nil:
		in.Kernel = true
		for _, t := range c.Out {
			tt, _ := t.(TensorType)
			in.Out = append(in.Out, tt)
		}
		return in, nil
	case s.Op.Kernel != nil:
		in.Kernel = true
		return in, nil
	default:
		return nil, c.Unsupported("%s in this form (%v)", s.Op.Name, err)
	}
}

// expand builds the function that the operator stands for.
func (in *Instance) expand(s *Stmt, given, captured []tensor.Value) error {
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
	if len(s.Regions) > 0 {
		c.Regions = around(s, b, given, captured)
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

// around copies the regions of a statement, with parameters in the place of the values that
// they capture, and numbers in that of symbols that the operands tell.
func around(s *Stmt, b *Builder, given, captured []tensor.Value) []*Block {
	x := &Subst{Values: map[*Value]*Value{}, Syms: map[string]sym.Expr{}}
	e := NewEnv(nil)
	tell := func(v *Value, is tensor.Value) {
		if v != nil && is != nil && v.Type != nil {
			_ = e.Bind(v.Type, is, "") // what does not fit is said elsewhere
		}
	}
	for i, v := range s.Args {
		tell(v, given[i])
	}
	for i, v := range s.Captured() {
		tell(v, captured[i])
		x.Values[v] = b.Param("", TypeOf(captured[i]))
	}
	for name, is := range e.vals {
		x.Syms[name] = sym.Const(is.n)
	}
	out := make([]*Block, len(s.Regions))
	for i, r := range s.Regions {
		if r != nil {
			out[i] = x.Copy(r)
		}
	}
	return out
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
