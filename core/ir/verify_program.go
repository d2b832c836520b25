package ir

import (
	"slices"

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
		if v.syms[s] || s == "" {
			return v.fail(rulePSymbols, "symbol %q is declared twice, or has no name", s)
		}
		v.syms[s] = true
	}
	for _, b := range p.Params {
		if err := v.buffer(b); err != nil {
			return err
		}
		if err := v.room(b); err != nil {
			return err
		}
		v.params[b] = true
	}
	for _, s := range p.Stages {
		if s == nil {
			return v.fail(ruleComplete, "a stage is missing")
		}
		if err := v.stage(s); err != nil {
			return err
		}
	}
	for i, b := range p.Results {
		switch {
		case b == nil:
			return v.fail(ruleComplete, "result %d is missing", i)
		case !v.written[b]:
			return v.fail(ruleBuffers, "result %s is not written", b.Name)
		case slices.Contains(p.Results[:i], b):
			return v.fail(ruleBuffers, "%s is a result twice", b.Name)
		}
	}
	return nil
}

func (v *programVerifier) fail(r *Rule, format string, args ...any) *diag.Error {
	return broken(r, "in program @%s: "+format, append([]any{v.p.Name}, args...)...)
}

// buffer takes a parameter, or what a stage defines.
func (v *programVerifier) buffer(b *Buffer) error {
	if b == nil {
		return v.fail(ruleComplete, "a buffer is missing")
	}
	if b.Name == "" || v.names[b.Name] {
		return v.fail(ruleBuffers, "buffer name %q is empty or taken", b.Name)
	}
	v.names[b.Name] = true
	if !dtypes[b.DType] {
		return v.fail(ruleTypes, "buffer %s has no element type", b.Name)
	}
	for i, d := range b.Dims {
		if err := checkDim(d); err != nil {
			return v.fail(ruleTypes, "dim %d of buffer %s %v", i, b.Name, err)
		}
		if err := v.expr(d); err != nil {
			return err
		}
	}
	return nil
}

// room checks the tensor that a parameter is the first part of.
func (v *programVerifier) room(b *Buffer) error {
	if b.Room != nil && len(b.Room) != len(b.Dims) {
		return v.fail(ruleBuffers, "buffer %s has %d dims in room for %d", b.Name, len(b.Dims), len(b.Room))
	}
	for i, d := range b.Room {
		if err := checkDim(d); err != nil {
			return v.fail(ruleTypes, "dim %d of the room of buffer %s %v", i, b.Name, err)
		}
		if err := v.expr(d); err != nil {
			return err
		}
		n, ok := b.Dims[i].Int()
		if has, ok2 := d.Int(); ok && ok2 && n > has {
			return v.fail(ruleBuffers, "dim %d of buffer %s is %d in room for %d", i, b.Name, n, has)
		}
	}
	return nil
}

func (v *programVerifier) expr(e sym.Expr) error {
	for _, s := range e.Symbols() {
		if !v.syms[s] {
			return v.fail(rulePSymbols, "symbol %q is not declared", s)
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
			return v.fail(ruleAxes, "axis %q comes twice or has no name, in the stage of %s", a.Name, s.Out().Name)
		}
		axes[a], names[a.Name] = true, true
		if err := checkDim(a.Extent); err != nil {
			return v.fail(ruleTypes, "the extent of axis %s %v, in the stage of %s", a.Name, err, s.Out().Name)
		}
		if err := v.expr(a.Extent); err != nil {
			return err
		}
	}
	var err error
	s.Walk(func(x *Scalar) bool {
		if err == nil {
			err = v.scalar(s, x, axes)
		}
		return err == nil
	})
	if err != nil {
		return err
	}
	if err := v.hints(s, axes); err != nil {
		return err
	}
	if s.Base != nil && s.Base.Room != nil {
		return v.fail(ruleBuffers, "%s, the base of a scatter, is part of a larger tensor", s.Base.Name)
	}
	if s.Base != nil && !v.params[s.Base] && !v.written[s.Base] {
		return v.fail(ruleBuffers, "%s is read before it is written", s.Base.Name)
	}
	for _, e := range s.Index {
		if e.DType != tensor.I64 {
			return v.fail(ruleScalars, "an index of the scatter to %s is %s, not i64", s.Out().Name, e.DType)
		}
	}
	if !s.Monoid.takes(s.Exprs) {
		return v.fail(ruleScalars, "%s is not defined for %s, in the stage of %s", s.Monoid, s.Exprs[0].DType, s.Out().Name)
	}
	for i, b := range s.Outs {
		if v.params[b] || v.written[b] {
			return v.fail(ruleBuffers, "%s is written twice, or a parameter", b.Name)
		}
		if err := v.buffer(b); err != nil {
			return err
		}
		if computes := s.outType(i); computes != b.DType {
			return v.fail(ruleScalars, "%s is %s, its stage computes %s", b.Name, b.DType, computes)
		}
	}
	for _, b := range s.Outs {
		v.written[b] = true
	}
	return nil
}

// outType is the element type of what a stage computes for its i-th buffer.
func (s *Stage) outType(i int) tensor.DType {
	switch s.Monoid {
	case SoftmaxSum:
		i = min(i, 1)
	case MeanVar:
		i = 0
	}
	return s.Exprs[i].DType
}

// shapeOfStage checks what a stage is made of.
func (v *programVerifier) shapeOfStage(s *Stage) error {
	if slices.Contains(s.Outs, nil) {
		return v.fail(ruleComplete, "a buffer of a stage is missing")
	}
	if slices.Contains(s.AllAxes(), nil) || slices.Contains(s.Exprs, nil) || slices.Contains(s.Index, nil) {
		return v.fail(ruleComplete, "an axis or expression of a stage is missing")
	}
	in, out := 1, 1
	if s.Kind != MapStage {
		in, out = s.Monoid.Inputs(), s.Monoid.Outputs()
	}
	ok := s.Monoid < numMonoids && len(s.Exprs) == in && len(s.Outs) == out && (s.Kind == MapStage) == (s.Monoid == NoMonoid) &&
		(s.Kind == ReduceStage || len(s.Red) == 0) && (s.Kind == ScanStage) == (s.ScanAxis != nil) &&
		(s.Kind == ScatterStage) == (s.Base != nil) && (s.Kind == ScatterStage || len(s.Index) == 0)
	switch s.Kind {
	case MapStage:
	case ReduceStage:
		ok = ok && s.Monoid.Commutes()
	case ScanStage:
		ok = ok && s.Monoid.Commutes() && in == 1 && out == 1
	case ScatterStage:
		ok = ok && in == 1 && out == 1
	default:
		ok = false
	}
	if !ok {
		return v.fail(ruleMonoid, "a stage of kind %d with monoid %d is put together wrongly: %d expressions, %d results, %d reduction axes, %d indices",
			s.Kind, s.Monoid, len(s.Exprs), len(s.Outs), len(s.Red), len(s.Index))
	}
	for _, b := range s.Outs {
		if s.Kind == ScatterStage {
			if len(s.Index) != len(b.Dims) || !SameDims(s.Base.Dims, b.Dims) || s.Base.DType != b.DType {
				return v.fail(ruleAxes, "the scatter to %s needs an index for each dim and a base of its type", b.Name)
			}
			continue
		}
		if len(s.Axes) != len(b.Dims) {
			return v.fail(ruleAxes, "%s has %d dims, its stage %d axes", b.Name, len(b.Dims), len(s.Axes))
		}
		for i, a := range s.Axes {
			var none *sym.Context
			if none.Equal(a.Extent, b.Dims[i]) == sym.False {
				return v.fail(ruleAxes, "dim %d of %s is %s, its axis runs to %s", i, b.Name, b.Dims[i], a.Extent)
			}
		}
	}
	if s.Kind == ScanStage && !slices.Contains(s.Axes, s.ScanAxis) {
		return v.fail(ruleAxes, "the scan of %s runs along an axis that is not its own", s.Out().Name)
	}
	return nil
}

// scalar checks one node of an expression; its operands are looked at after it.
func (v *programVerifier) scalar(s *Stage, x *Scalar, axes map[*Axis]bool) error {
	bad := func() error {
		return v.fail(ruleScalars, "%s of type %s has operands that it is not defined for, in the stage of %s", x.Op, x.DType, s.Out().Name)
	}
	if x.Op >= numScalarOps {
		return v.fail(ruleScalars, "operation %d is none that there is, in the stage of %s", x.Op, s.Out().Name)
	}
	if slices.Contains(x.Args, nil) {
		return v.fail(ruleComplete, "an operand of %s is missing, in the stage of %s", x.Op, s.Out().Name)
	}
	if n := x.Op.Arity(); n >= 0 && len(x.Args) != n || !dtypes[x.DType] {
		return bad()
	}
	arg := func(i int) tensor.DType { return x.Args[i].DType }
	ok := true
	switch {
	case x.Op == OpLit:
		ok = x.Lit != nil && x.Lit.Len() == 1 && x.Lit.DType() == x.DType
	case x.Op == OpAxis:
		if !axes[x.Axis] {
			return v.fail(ruleAxes, "an expression of %s uses an axis that is not its stage's", s.Out().Name)
		}
		ok = x.DType == tensor.I64
	case x.Op == OpSym:
		ok = x.DType == tensor.I64 && x.Sym.Err() == nil
		if err := v.expr(x.Sym); err != nil {
			return err
		}
	case x.Op == OpBcast:
		_, dim := x.Args[1].Symbolic()
		_, extent := x.Args[2].Symbolic()
		ok = x.DType == tensor.I64 && arg(0) == tensor.I64 && dim && extent
	case x.Op == OpLoad:
		if x.Buf == nil {
			return v.fail(ruleComplete, "a load from nothing, in the stage of %s", s.Out().Name)
		}
		if !v.params[x.Buf] && !v.written[x.Buf] {
			return v.fail(ruleBuffers, "%s is read before it is written", x.Buf.Name)
		}
		if len(x.Args) != len(x.Buf.Dims) {
			return v.fail(ruleAxes, "%s has %d dims, it is loaded with %d indices", x.Buf.Name, len(x.Buf.Dims), len(x.Args))
		}
		ok = x.DType == x.Buf.DType
		for i := range x.Args {
			ok = ok && arg(i) == tensor.I64
		}
	case x.Op == OpGuard || x.Op == OpSelect:
		ok = arg(0) == tensor.Bool && arg(1) == x.DType && arg(2) == x.DType
	case x.Op == OpCast:
	case x.Op == OpIsNaN:
		ok = x.DType == tensor.Bool
	case x.Op.Compares():
		ok = x.DType == tensor.Bool && arg(0) == arg(1) && x.Op.takes(arg(0))
	case x.Op == OpComplex:
		ok = arg(0) == arg(1) && x.DType.IsComplex() && arg(0) == realOf(x.DType)
	case x.Op == OpReal || x.Op == OpImag || x.Op == OpAbs:
		ok = x.DType == realOf(arg(0)) && x.Op.takes(arg(0))
	default:
		for i := range x.Args {
			ok = ok && arg(i) == x.DType
		}
		ok = ok && x.Op.takes(x.DType) && x.DType.Compute() == x.DType
	}
	if !ok {
		return bad()
	}
	return nil
}
