package ir

import (
	"fmt"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// Rule is one thing that holds of every valid module. A violation names its rule.
type Rule struct{ Name, Doc string }

// Rules are all rules of the verifier. Those of programs are checked by verifyProgram,
// the others by verifier.
var Rules = []Rule{
	{"unique-names", "functions, programs, kernels and constants each have a name of their own; so have the named values of a function"},
	{"one-definition", "a value is defined once, and says by whom"},
	{"visible-operands", "an operand is a constant, or defined before its use in the same block or one around it"},
	{"no-recursion", "functions do not call themselves, directly or through others"},
	{"signature", "operands and attributes are as the operator declares them"},
	{"regions", "a statement has the regions that its operator declares, others none"},
	{"deduced-types", "a result's type does not contradict what follows from the operands"},
	{"callee-in-module", "what is called is in the module"},
	{"call-types", "operands of a call fit the callee's parameters under the symbols it binds"},
	{"visible-symbols", "a type mentions symbols that are visible: bound by parameters, by a match_cast, or by an operator whose result's size the data tell"},
	{"cast-types", "a match_cast asserts a type that its operand can have"},
	{"storage", "a statement is placed in nothing, or in one storage for each result"},
	{"program-buffers", "a program's buffers have names of their own, each result and temporary is written by one stage, before it is read; parameters are not written"},
	{"program-axes", "a stage has one axis for each dim of what it writes, of the same extent (a scatter: an index); expressions use axes of their stage, spatial or reduced"},
	{"program-symbols", "a program mentions the symbols it declares, and no others"},
	{"program-types", "scalar operations get operands of the types they are defined for; what is stored has the type of the buffer"},
	{"program-monoid", "a stage has the expressions and results that its kind and monoid call for"},
}

// Verify checks a module against all rules. The error, with code Verifier, names rule,
// function and statement.
func Verify(m *Module) error {
	v := &verifier{m: m}
	names := func(kind string, name string, seen map[string]bool) error {
		if name == "" || seen[name] {
			return v.fail("unique-names", nil, "%s name %q is empty or taken", kind, name)
		}
		seen[name] = true
		return nil
	}
	seen := map[string]bool{}
	for _, f := range m.Funcs {
		if err := names("function", f.Name, seen); err != nil {
			return err
		}
	}
	for _, p := range m.Programs {
		if err := names("program", p.Name, seen); err != nil {
			return err
		}
	}
	for _, k := range m.Kernels {
		if err := names("kernel", k.Name, seen); err != nil {
			return err
		}
	}
	seen = map[string]bool{}
	for _, c := range m.Consts {
		if err := names("constant", c.Name, seen); err != nil {
			return err
		}
	}
	v.consts = make(map[*Const]bool, len(m.Consts))
	for _, c := range m.Consts {
		v.consts[c] = true
	}
	for _, p := range m.Programs {
		if err := VerifyProgram(p); err != nil {
			return err
		}
	}
	for _, k := range m.Kernels {
		if k.Program == nil || m.Program(k.Program.Name) != k.Program {
			return v.fail("callee-in-module", nil, "kernel %s computes no program of the module", k.Name)
		}
	}
	if err := v.recursion(); err != nil {
		return err
	}
	for _, f := range m.Funcs {
		v.fn = f
		v.defined = map[*Value]bool{}
		v.visible = map[*Value]bool{}
		v.syms = map[string]bool{}
		v.names = map[string]*Value{}
		if err := v.block(&f.Block); err != nil {
			return err
		}
	}
	return nil
}

type verifier struct {
	m       *Module
	fn      *Func
	consts  map[*Const]bool
	defined map[*Value]bool // ever, in this function
	visible map[*Value]bool
	syms    map[string]bool
	names   map[string]*Value
}

func (v *verifier) fail(rule string, s *Stmt, format string, args ...any) error {
	msg := fmt.Sprintf(format, args...)
	if v.fn != nil {
		msg = "in @" + v.fn.Name + ": " + msg
	}
	e := diag.New(diag.Verifier, "%s (rule %s)", msg, rule)
	if s != nil {
		_ = e.At(s.Place(), s.OpName())
	}
	return e
}

func (v *verifier) recursion() error {
	state := map[*Func]int{}
	var visit func(f *Func) error
	var walk func(b *Block) error
	walk = func(b *Block) error {
		for _, s := range b.Stmts {
			if f, ok := s.Callee.(*Func); ok {
				if err := visit(f); err != nil {
					return err
				}
			}
			for _, r := range s.Regions {
				if err := walk(r); err != nil {
					return err
				}
			}
		}
		return nil
	}
	visit = func(f *Func) error {
		switch state[f] {
		case 1:
			return v.fail("no-recursion", nil, "function @%s calls itself", f.Name)
		case 2:
			return nil
		}
		state[f] = 1
		if err := walk(&f.Block); err != nil {
			return err
		}
		state[f] = 2
		return nil
	}
	for _, f := range v.m.Funcs {
		if err := visit(f); err != nil {
			return err
		}
	}
	return nil
}

func (v *verifier) define(x *Value, def *Stmt, index int) error {
	if x.Const != nil || x.Def != def || x.Index != index {
		return v.fail("one-definition", def, "%%%s does not say that it is defined here", x.Name)
	}
	if v.defined[x] {
		return v.fail("one-definition", def, "%%%s is defined twice", x.Name)
	}
	if x.Name != "" {
		if v.names[x.Name] != nil {
			return v.fail("unique-names", def, "two values have the name %%%s", x.Name)
		}
		v.names[x.Name] = x
	}
	v.defined[x], v.visible[x] = true, true
	return nil
}

func (v *verifier) use(x *Value, s *Stmt) error {
	if x.Const != nil {
		if !v.consts[x.Const] {
			return v.fail("visible-operands", s, "constant @%s is not in the module", x.Const.Name)
		}
		return nil
	}
	if !v.visible[x] {
		return v.fail("visible-operands", s, "%%%s is used where it is not visible", x.Name)
	}
	return nil
}

func (v *verifier) bind(t Type) {
	EachOwnDim(t, func(e sym.Expr) {
		for _, s := range e.Symbols() {
			v.syms[s] = true
		}
	})
}

func (v *verifier) block(b *Block) error {
	for i, p := range b.Params {
		if p.Type == nil {
			return v.fail("one-definition", nil, "parameter %d has no type", i)
		}
		if err := v.define(p, nil, i); err != nil {
			return err
		}
		v.bind(p.Type)
	}
	for _, s := range b.Stmts {
		if err := v.stmt(s); err != nil {
			return err
		}
	}
	for _, r := range b.Results {
		if r == nil {
			return v.fail("visible-operands", nil, "a result of the block is missing")
		}
		if err := v.use(r, nil); err != nil {
			return err
		}
	}
	return nil
}

func (v *verifier) stmt(s *Stmt) error {
	for _, a := range s.Args {
		if a == nil {
			if s.Kind != OpStmt {
				return v.fail("visible-operands", s, "an operand is missing")
			}
			continue
		}
		if err := v.use(a, s); err != nil {
			return err
		}
	}
	if s.Into != nil {
		if len(s.Into) != len(s.Results) {
			return v.fail("storage", s, "%d storages for %d results", len(s.Into), len(s.Results))
		}
		for _, st := range s.Into {
			if st == nil {
				continue
			}
			if err := v.use(st, s); err != nil {
				return err
			}
			if !SameType(st.Type, Storage) {
				return v.fail("storage", s, "%%%s is no storage", st.Name)
			}
		}
	}
	want := 0
	if s.Kind == OpStmt {
		want = len(s.Op.Regions)
	}
	if len(s.Regions) != want && !(s.Kind == OpStmt && s.Op.IsUnknown()) {
		return v.fail("regions", s, "%d regions, it takes %d", len(s.Regions), want)
	}
	for _, r := range s.Regions {
		visible, syms := v.visible, v.syms
		v.visible, v.syms = clone(visible), clone(syms)
		err := v.block(r)
		v.visible, v.syms = visible, syms
		if err != nil {
			return err
		}
	}
	if err := v.types(s); err != nil {
		return err
	}
	for i, r := range s.Results {
		if r == nil {
			continue
		}
		if r.Type == nil {
			return v.fail("deduced-types", s, "result %d has no type", i)
		}
		if err := v.define(r, s, i); err != nil {
			return err
		}
		if s.Kind != CallStmt {
			v.bind(r.Type)
		} else if err := v.seesSymbols(s, r.Type); err != nil {
			return err
		}
	}
	return nil
}

func clone[K comparable](m map[K]bool) map[K]bool {
	out := make(map[K]bool, len(m))
	for k := range m {
		out[k] = true
	}
	return out
}

func (v *verifier) seesSymbols(s *Stmt, t Type) error {
	var bad string
	EachOwnDim(t, func(e sym.Expr) {
		for _, n := range e.Symbols() {
			if !v.syms[n] {
				bad = n
			}
		}
	})
	if bad != "" {
		return v.fail("visible-symbols", s, "symbol %q is not visible", bad)
	}
	return nil
}

// types checks what a statement says of its results against what follows from its
// operands.
func (v *verifier) types(s *Stmt) error {
	switch s.Kind {
	case OpStmt:
		if s.Op == nil {
			return v.fail("signature", s, "an operator statement without operator")
		}
		c := (&Deducer{M: v.m}).Call(s)
		if _, err := c.checkSignature(); err != nil {
			return v.fail("signature", s, "%v", diag.As(err, diag.Verifier).Msg)
		}
		if s.Op.Deduce != nil && (s.Op.AnyRank || c.ranked()) && len(s.Regions) == 0 {
			syms := v.m.Syms.Clone() // deduction may define symbols, a check must not
			c.Syms = syms
			c.Out = make([]Type, len(s.Results))
			if err := s.Op.Deduce(c); err != nil {
				return v.fail("deduced-types", s, "%v", diag.As(err, diag.Verifier).Msg)
			}
			for i, r := range s.Results {
				if r != nil && c.Out[i] != nil && !compatible(syms, r.Type, c.Out[i]) {
					return v.fail("deduced-types", s, "result %%%s has type %s, but %s follows from the operands", r.Name, r.Type, c.Out[i])
				}
			}
		}
	case CallStmt:
		return v.call(s)
	case CastStmt:
		if len(s.Args) != 1 || len(s.Results) != 1 || s.Results[0] == nil {
			return v.fail("cast-types", s, "a match_cast has one operand and one result")
		}
		if !compatible(v.m.Syms, s.Args[0].Type, s.Results[0].Type) {
			return v.fail("cast-types", s, "%s can not be %s", s.Args[0].Type, s.Results[0].Type)
		}
	}
	return nil
}

func (v *verifier) call(s *Stmt) error {
	var params []Type
	var p *Program
	inModule := false
	switch c := s.Callee.(type) {
	case *Program:
		p, inModule = c, v.m.Program(c.Name) == c
	case *Kernel:
		p, inModule = c.Program, v.m.Kernel(c.Name) == c
	case *Func:
		inModule = v.m.Func(c.Name) == c
		for _, x := range c.Params {
			params = append(params, x.Type)
		}
	}
	if !inModule {
		return v.fail("callee-in-module", s, "what is called is not in the module")
	}
	types, err := callTypes(s)
	if err != nil {
		return v.fail("call-types", s, "%v", diag.As(err, diag.Verifier).Msg)
	}
	if p != nil {
		for _, b := range p.Params {
			params = append(params, MapDims(b.Type(), func(e sym.Expr) sym.Expr { return p.bindDim(e, s.Bind) }))
		}
		for _, e := range s.Bind {
			if err := v.seesSymbols(s, TensorOf(tensor.I64, e)); err != nil {
				return err
			}
		}
	}
	if len(s.Args) != len(params) {
		return v.fail("call-types", s, "%d operands, it takes %d", len(s.Args), len(params))
	}
	if p == nil { // the function has symbols of its own: compare what does not mention any
		for i, t := range params {
			if !looselyCompatible(s.Args[i].Type, t) {
				return v.fail("call-types", s, "operand %d has type %s, the parameter is %s", i, s.Args[i].Type, t)
			}
		}
		return nil
	}
	for i, t := range params {
		if !compatible(v.m.Syms, s.Args[i].Type, t) {
			return v.fail("call-types", s, "operand %d has type %s, the parameter is %s", i, s.Args[i].Type, t)
		}
	}
	for i, r := range s.Results {
		if r != nil && !compatible(v.m.Syms, r.Type, types[i]) {
			return v.fail("call-types", s, "result %%%s has type %s, the callee gives %s", r.Name, r.Type, types[i])
		}
	}
	return nil
}

// compatible says that a value may have both types: nothing proves otherwise.
func compatible(ctx *sym.Context, a, b Type) bool {
	switch a := a.(type) {
	case TensorType:
		b, ok := b.(TensorType)
		if !ok {
			return false
		}
		if a.DType != b.DType && a.DType != tensor.Invalid && b.DType != tensor.Invalid {
			return false
		}
		if a.Unranked || b.Unranked {
			return true
		}
		if len(a.Dims) != len(b.Dims) {
			return false
		}
		for i := range a.Dims {
			if ctx.Equal(a.Dims[i], b.Dims[i]) == sym.False {
				return false
			}
		}
		return true
	case SequenceType:
		b, ok := b.(SequenceType)
		return ok && compatible(ctx, a.Elem, b.Elem)
	case OptionalType:
		if b, ok := b.(OptionalType); ok {
			return compatible(ctx, a.Elem, b.Elem)
		}
		return compatible(ctx, a.Elem, b)
	}
	return SameType(a, b)
}

// looselyCompatible compares across scopes of symbols: kind of value, element type,
// rank.
func looselyCompatible(a, b Type) bool {
	x, ok := a.(TensorType)
	y, ok2 := b.(TensorType)
	if !ok || !ok2 {
		return ok == ok2
	}
	return (x.DType == y.DType || x.DType == tensor.Invalid || y.DType == tensor.Invalid) &&
		(x.Unranked || y.Unranked || len(x.Dims) == len(y.Dims))
}
