package ir

import (
	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

type programVerifier struct {
	p       *Program
	written map[*Buffer]bool
	params  map[*Buffer]bool
	names   map[string]bool
	syms    map[string]bool
}

// VerifyProgram checks one tensor program against the rules of programs.
func VerifyProgram(p *Program) error {
	v := &programVerifier{p: p, written: map[*Buffer]bool{}, params: map[*Buffer]bool{}, names: map[string]bool{}, syms: map[string]bool{}}
	for _, s := range p.Syms {
		if v.syms[s] {
			return v.fail("program-symbols", "symbol %q is declared twice", s)
		}
		v.syms[s] = true
	}
	for _, b := range p.Params {
		v.params[b] = true
		if err := v.buffer(b); err != nil {
			return err
		}
	}
	for _, s := range p.Stages {
		if err := v.stage(s); err != nil {
			return err
		}
	}
	for _, b := range p.Results {
		if !v.written[b] {
			return v.fail("program-buffers", "result %s is not written", b.Name)
		}
	}
	return nil
}

func (v *programVerifier) fail(rule, format string, args ...any) error {
	e := diag.New(diag.Verifier, format, args...)
	e.Msg = "in program @" + v.p.Name + ": " + e.Msg + " (rule " + rule + ")"
	return e
}

// buffer takes a parameter, or what a stage defines.
func (v *programVerifier) buffer(b *Buffer) error {
	if b.Name == "" || v.names[b.Name] {
		return v.fail("program-buffers", "buffer name %q is empty or taken", b.Name)
	}
	v.names[b.Name] = true
	if b.DType == tensor.Invalid {
		return v.fail("program-types", "buffer %s has no element type", b.Name)
	}
	for _, d := range b.Dims {
		if err := v.expr(d); err != nil {
			return err
		}
	}
	return nil
}

func (v *programVerifier) expr(e sym.Expr) error {
	for _, s := range e.Symbols() {
		if !v.syms[s] {
			return v.fail("program-symbols", "symbol %q is not declared", s)
		}
	}
	return nil
}

func (v *programVerifier) stage(s *Stage) error {
	if err := v.shapeOfStage(s); err != nil {
		return err
	}
	axes := map[*Axis]bool{}
	names := map[string]bool{}
	for _, a := range s.AllAxes() {
		if axes[a] || a.Name == "" || names[a.Name] {
			return v.fail("program-axes", "axis %q comes twice or has no name, in the stage of %s", a.Name, s.Out().Name)
		}
		axes[a], names[a.Name] = true, true
		if err := v.expr(a.Extent); err != nil {
			return err
		}
	}
	var err error
	check := func(x *Scalar) bool {
		if err == nil {
			err = v.scalar(s, x, axes)
		}
		return err == nil
	}
	for _, e := range s.Exprs {
		e.Walk(check)
	}
	for _, e := range s.Index {
		e.Walk(check)
		if err == nil && e.DType != tensor.I64 {
			err = v.fail("program-types", "an index of the scatter to %s is %s, not i64", s.Out().Name, e.DType)
		}
	}
	if err == nil && s.Base != nil && !v.params[s.Base] && !v.written[s.Base] {
		err = v.fail("program-buffers", "%s is read before it is written", s.Base.Name)
	}
	if err != nil {
		return err
	}
	for i, b := range s.Outs {
		if v.params[b] || v.written[b] {
			return v.fail("program-buffers", "%s is written twice, or a parameter", b.Name)
		}
		if err := v.buffer(b); err != nil {
			return err
		}
		if want, ok := s.outType(i); ok && want != b.DType {
			return v.fail("program-types", "%s is %s, its stage computes %s", b.Name, b.DType, want)
		}
	}
	for _, b := range s.Outs {
		v.written[b] = true
	}
	return nil
}

// outType is the element type of what a stage computes for its i-th buffer.
func (s *Stage) outType(i int) (tensor.DType, bool) {
	switch s.Monoid {
	case SoftmaxSum:
		return s.Exprs[min(i, 1)].DType, true
	case MeanVar:
		return s.Exprs[0].DType, true
	}
	if i < len(s.Exprs) {
		return s.Exprs[i].DType, true
	}
	return 0, false
}

func (v *programVerifier) shapeOfStage(s *Stage) error {
	in, out := 1, 1
	if s.Kind != MapStage {
		in, out = s.Monoid.Inputs(), s.Monoid.Outputs()
	}
	ok := len(s.Exprs) == in && len(s.Outs) == out && (s.Kind == MapStage) == (s.Monoid == NoMonoid)
	switch s.Kind {
	case MapStage:
		ok = ok && len(s.Red) == 0
	case ReduceStage:
		ok = ok && s.Monoid.Commutes()
	case ScanStage:
		ok = ok && len(s.Red) == 0 && s.Monoid.Commutes() && out == 1
	case ScatterStage:
		ok = ok && len(s.Red) == 0 && out == 1 && in == 1 && s.Base != nil
	}
	if !ok {
		return v.fail("program-monoid", "a stage of kind %d with monoid %q has %d expressions and %d results", s.Kind, s.Monoid, len(s.Exprs), len(s.Outs))
	}
	for _, b := range s.Outs {
		if s.Kind == ScatterStage {
			if len(s.Index) != len(b.Dims) || !SameDims(s.Base.Dims, b.Dims) || s.Base.DType != b.DType {
				return v.fail("program-axes", "the scatter to %s needs an index for each dim and a base of its type", b.Name)
			}
			continue
		}
		if len(s.Axes) != len(b.Dims) {
			return v.fail("program-axes", "%s has %d dims, its stage %d axes", b.Name, len(b.Dims), len(s.Axes))
		}
		for i, a := range s.Axes {
			var none *sym.Context
			if none.Equal(a.Extent, b.Dims[i]) == sym.False {
				return v.fail("program-axes", "dim %d of %s is %s, its axis runs to %s", i, b.Name, b.Dims[i], a.Extent)
			}
		}
	}
	if s.Kind == ScanStage {
		found := false
		for _, a := range s.Axes {
			found = found || a == s.ScanAxis
		}
		if !found {
			return v.fail("program-axes", "the scan of %s runs along an axis that is not its own", s.Out().Name)
		}
	}
	return nil
}

func (v *programVerifier) scalar(s *Stage, x *Scalar, axes map[*Axis]bool) error {
	if n := x.Op.Arity(); n >= 0 && len(x.Args) != n {
		return v.fail("program-types", "%s with %d operands", x.Op, len(x.Args))
	}
	arg := func(i int) tensor.DType { return x.Args[i].DType }
	ok := true
	switch {
	case x.Op == OpLit:
		ok = x.Lit != nil && x.Lit.Len() == 1 && x.Lit.DType() == x.DType
	case x.Op == OpAxis:
		if !axes[x.Axis] {
			return v.fail("program-axes", "an expression of %s uses an axis that is not its stage's", s.Out().Name)
		}
		ok = x.DType == tensor.I64
	case x.Op == OpSym:
		ok = x.DType == tensor.I64
		if err := v.expr(x.Sym); err != nil {
			return err
		}
	case x.Op == OpBcast:
		_, dim := x.Args[1].Symbolic()
		_, extent := x.Args[2].Symbolic()
		ok = x.DType == tensor.I64 && arg(0) == tensor.I64 && dim && extent
	case x.Op == OpLoad:
		if !v.params[x.Buf] && !v.written[x.Buf] {
			return v.fail("program-buffers", "%s is read before it is written", x.Buf.Name)
		}
		if len(x.Args) != len(x.Buf.Dims) {
			return v.fail("program-axes", "%s has %d dims, it is loaded with %d indices", x.Buf.Name, len(x.Buf.Dims), len(x.Args))
		}
		ok = x.DType == x.Buf.DType
		for i := range x.Args {
			ok = ok && arg(i) == tensor.I64
		}
	case x.Op == OpGuard || x.Op == OpSelect:
		ok = arg(0) == tensor.Bool && arg(1) == x.DType && arg(2) == x.DType
	case x.Op == OpCast:
	case x.Op.Compares():
		ok = x.DType == tensor.Bool && arg(0) == arg(1)
	case x.Op == OpComplex:
		ok = arg(0) == arg(1) && x.DType.IsComplex()
	case x.Op == OpReal || x.Op == OpImag:
		ok = x.DType == realOf(arg(0))
	case x.Op == OpIsNaN:
		ok = x.DType == tensor.Bool
	case x.Op == OpAbs:
		ok = x.DType == realOf(arg(0))
	default:
		for i := range x.Args {
			ok = ok && arg(i) == x.DType
		}
		ok = ok && x.DType.Compute() == x.DType && x.DType != tensor.String
	}
	if !ok {
		return v.fail("program-types", "%s of type %s has operands of types that it is not defined for, in the stage of %s", x.Op, x.DType, s.Out().Name)
	}
	return nil
}
