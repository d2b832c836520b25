package ir

import (
	"fmt"
	"slices"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// Verify checks a module against all Rules. The error, with code Verifier, names rule,
// function and statement; Broken gives the rule. It reads every statement once.
func Verify(m *Module) error { return (&Verifier{}).verify(m) }

func (x *Verifier) verify(m *Module) error {
	v := &verifier{m: m, callees: map[Callee]bool{}, consts: make(map[*Const]bool, len(m.Consts)), known: map[*OpDef]bool{}, calls: map[*Func][]*Func{}, settled: x.settled}
	if err := v.module(); err != nil {
		return err
	}
	for _, p := range m.Programs {
		if err := VerifyProgram(p); err != nil {
			return err
		}
	}
	for _, f := range m.Funcs {
		if err := v.function(f); err != nil {
			return err
		}
	}
	return v.recursion()
}

type verifier struct {
	m       *Module
	callees map[Callee]bool
	consts  map[*Const]bool
	known   map[*OpDef]bool // operators that were found in the module already
	calls   map[*Func][]*Func
	settled map[*Stmt]*settled // nil: nothing is

	// Of the function that is looked at.
	fn       *Func
	names    map[string]bool
	depth    int            // of blocks inside each other
	visible  map[*Value]int // the depth of the block that defines it; 0: that has ended
	order    []*Value       // visible ones, in order of definition
	scope    Scope
	released map[*Value]bool
	bytes    map[*Value]sym.Expr // of storages
	places   bool                // something is placed in a storage
}

func (v *verifier) fail(r *Rule, s *Stmt, format string, args ...any) error {
	if v.fn != nil {
		format, args = "in @%s: "+format, append([]any{v.fn.Name}, args...)
	}
	e := broken(r, format, args...)
	if s != nil {
		_ = e.At(s.Place(), s.OpName())
	}
	return e
}

// label names a value in messages.
func label(x *Value) string {
	switch {
	case x.Name != "":
		return "%" + x.Name
	case x.Def != nil:
		return fmt.Sprintf("result %d of %s", x.Index, x.Def.OpName())
	}
	return fmt.Sprintf("parameter %d", x.Index)
}

// because is fail with what another check says.
func (v *verifier) because(r *Rule, s *Stmt, err error) error {
	return v.fail(r, s, "%s", diag.As(err, diag.Verifier).Msg)
}

// module checks what lies outside functions and programs.
func (v *verifier) module() error {
	m := v.m
	if m.Syms == nil {
		return v.fail(ruleComplete, nil, "the module has no symbols, not even an empty set of them")
	}
	taken := make(map[string]bool, len(m.Consts))
	own := func(kind, name string) error {
		if name == "" || taken[name] {
			return v.fail(ruleNames, nil, "%s name %q is empty or taken", kind, name)
		}
		taken[name] = true
		return nil
	}
	for _, f := range m.Funcs {
		if f == nil {
			return v.fail(ruleComplete, nil, "a function is missing")
		}
		if err := own("function", f.Name); err != nil {
			return err
		}
		v.callees[f] = true
	}
	for _, p := range m.Programs {
		if p == nil {
			return v.fail(ruleComplete, nil, "a program is missing")
		}
		if err := own("program", p.Name); err != nil {
			return err
		}
		v.callees[p] = true
	}
	for _, k := range m.Kernels {
		if k == nil {
			return v.fail(ruleComplete, nil, "a kernel is missing")
		}
		if err := own("kernel", k.Name); err != nil {
			return err
		}
		if !v.callees[k.Program] {
			return v.fail(ruleCallees, nil, "kernel @%s computes no program of the module", k.Name)
		}
		if err := checkAttrValues(k.Attrs); err != nil {
			return v.fail(ruleAttrs, nil, "kernel @%s: %v", k.Name, err)
		}
		if err := k.checkTogether(); err != nil {
			return v.fail(ruleAttrs, nil, "kernel @%s: %v", k.Name, err)
		}
		v.callees[k] = true
	}
	clear(taken)
	for _, c := range m.Consts {
		if c == nil || c.Tensor == nil {
			return v.fail(ruleComplete, nil, "a constant, or its tensor, is missing")
		}
		if err := own("constant", c.Name); err != nil {
			return err
		}
		if !SameType(c.Value().Type, TypeOf(c.Tensor)) {
			return v.fail(ruleConsts, nil, "constant @%s is %s, its value %s", c.Name, TypeOf(c.Tensor), c.Value().Type)
		}
		v.consts[c] = true
	}
	return nil
}

// recursion follows the calls that the functions were found to make.
func (v *verifier) recursion() error {
	const open, done = 1, 2
	state := map[*Func]int{}
	var visit func(f *Func) error
	visit = func(f *Func) error {
		if state[f] == open {
			v.fn = nil
			return v.fail(ruleRecurse, nil, "function @%s calls itself", f.Name)
		}
		if state[f] == done {
			return nil
		}
		state[f] = open
		for _, g := range v.calls[f] {
			if err := visit(g); err != nil {
				return err
			}
		}
		state[f] = done
		return nil
	}
	for _, f := range v.m.Funcs {
		if err := visit(f); err != nil {
			return err
		}
	}
	return nil
}

func (v *verifier) function(f *Func) error {
	v.fn, v.scope, v.order, v.places = f, Scope{}, nil, false
	values := len(f.Params)
	for _, s := range f.Stmts {
		if s != nil {
			values += len(s.Results)
		}
	}
	v.names, v.visible = make(map[string]bool, values), make(map[*Value]int, values)
	v.released, v.bytes = map[*Value]bool{}, map[*Value]sym.Expr{}
	if err := v.block(&f.Block); err != nil {
		return err
	}
	if len(f.ResultNames) > len(f.Results) {
		return v.fail(ruleNames, nil, "%d names for %d results", len(f.ResultNames), len(f.Results))
	}
	for i, name := range f.ResultNames {
		if slices.Contains(f.ResultNames[:i], name) {
			return v.fail(ruleNames, nil, "two results have the name %q", name)
		}
	}
	if v.places {
		return (&storageLives{v: v, shares: map[*Value][]*Value{}, gone: map[*Value]string{}, reads: map[Callee]map[*Buffer]int{}}).block(&f.Block)
	}
	return nil
}

// block checks a block; what it defines is not visible behind it.
func (v *verifier) block(b *Block) error {
	if b == nil {
		return v.fail(ruleComplete, nil, "a block is missing")
	}
	mark, before := v.scope.Mark(), len(v.order)
	v.depth++
	defer func() {
		v.depth--
		v.scope.Reset(mark)
		for _, x := range v.order[before:] {
			v.visible[x] = 0
		}
		v.order = v.order[:before]
	}()
	for i, p := range b.Params {
		if p == nil {
			return v.fail(ruleComplete, nil, "parameter %d is missing", i)
		}
		if err := v.typ(p.Type, nil, p); err != nil {
			return err
		}
		if err := v.define(p, nil, i); err != nil {
			return err
		}
	}
	v.scope.Params(b.Params)
	if err := v.told(nil, b.Params); err != nil {
		return err
	}
	for _, s := range b.Stmts {
		if s == nil {
			return v.fail(ruleComplete, nil, "a statement is missing")
		}
		if err := v.stmt(s); err != nil {
			return err
		}
	}
	for i, r := range b.Results {
		if r == nil {
			return v.fail(ruleComplete, nil, "result %d of a block is missing", i)
		}
		if err := v.use(r, nil); err != nil {
			return err
		}
	}
	return nil
}

// define checks a value where it is defined.
func (v *verifier) define(x *Value, def *Stmt, index int) error {
	if x.Const != nil || x.Def != def || x.Index != index {
		return v.fail(ruleDefined, def, "%s does not say that it is defined here", label(x))
	}
	if _, ok := v.visible[x]; ok {
		return v.fail(ruleDefined, def, "%s is defined twice", label(x))
	}
	if x.Name != "" {
		if v.names[x.Name] {
			return v.fail(ruleNames, def, "two values have the name %%%s", x.Name)
		}
		v.names[x.Name] = true
	}
	v.visible[x] = v.depth
	v.order = append(v.order, x)
	return nil
}

// told checks that all symbols of the types of values, which were just bound, have values.
func (v *verifier) told(s *Stmt, vals []*Value) error {
	for _, x := range vals {
		if x != nil {
			if err := v.sees(s, x.Type); err != nil {
				return err
			}
		}
	}
	return nil
}

// sees checks that the symbols of a type have values.
func (v *verifier) sees(s *Stmt, t Type) (err error) {
	EachOwnDim(t, func(e sym.Expr) {
		if missing := v.scope.Missing(e); missing != "" && err == nil {
			err = v.fail(ruleSymbols, s, "nothing tells the symbol %q of %s here", missing, t)
		}
	})
	return err
}

var dtypes = func() map[tensor.DType]bool {
	all := map[tensor.DType]bool{}
	for _, d := range tensor.DTypes() {
		all[d] = true
	}
	return all
}()

// typ checks a type of x by itself.
func (v *verifier) typ(t Type, s *Stmt, x *Value) error {
	switch t := t.(type) {
	case nil:
		return v.fail(ruleComplete, s, "%s has no type", label(x))
	case TensorType:
		if t.DType != tensor.Invalid && !dtypes[t.DType] {
			return v.fail(ruleTypes, s, "%s has an element type that there is not", label(x))
		}
		if t.Unranked && len(t.Dims) > 0 {
			return v.fail(ruleTypes, s, "%s has dims and no rank", label(x))
		}
		for i, d := range t.Dims {
			if err := checkDim(d); err != nil {
				return v.fail(ruleTypes, s, "dim %d of %s %v", i, label(x), err)
			}
		}
		return nil
	case SequenceType:
		return v.typ(t.Elem, s, x)
	case OptionalType:
		return v.typ(t.Elem, s, x)
	case OpaqueType:
		if t.Name != "" {
			return nil
		}
	}
	return v.fail(ruleTypes, s, "%s has a type that there is not: %T", label(x), t)
}

// checkDim says what is wrong with a dim.
func checkDim(d sym.Expr) error {
	if err := d.Err(); err != nil {
		return fmt.Errorf("has no value: %w", err)
	}
	if n, ok := d.Int(); ok && n < 0 {
		return fmt.Errorf("is %d", n)
	}
	return nil
}

// use checks a value where it is used; s is nil for a result of a block.
func (v *verifier) use(x *Value, s *Stmt) error {
	switch {
	case x.Const != nil && !v.consts[x.Const]:
		return v.fail(ruleVisible, s, "constant @%s is not in the module", x.Const.Name)
	case x.Const != nil && x != x.Const.Value():
		return v.fail(ruleConsts, s, "another value than its own stands for constant @%s", x.Const.Name)
	case x.Const != nil:
		return nil
	case v.released[x]:
		return v.fail(ruleReleased, s, "%s is used after its release", label(x))
	case v.visible[x] == 0:
		return v.fail(ruleVisible, s, "%s is used where it is not visible", label(x))
	}
	return nil
}

func (v *verifier) stmt(s *Stmt) error {
	if err := v.parts(s); err != nil {
		return err
	}
	for _, a := range s.Args {
		if a != nil {
			if err := v.use(a, s); err != nil {
				return err
			}
		}
	}
	for _, r := range s.Regions {
		if err := v.block(r); err != nil {
			return err
		}
	}
	for _, r := range s.Results {
		if r != nil {
			if err := v.typ(r.Type, s, r); err != nil {
				return err
			}
		}
	}
	if err := v.fits(s); err != nil {
		return err
	}
	for i, r := range s.Results {
		if r == nil {
			continue
		}
		if err := v.define(r, s, i); err != nil {
			return err
		}
		if _, ok := s.Callee.(*Func); s.Kind == CallStmt && !ok { // its symbols are those of the call
			if err := v.sees(s, r.Type); err != nil {
				return err
			}
		}
	}
	v.scope.Results(s.Results)
	if err := v.told(s, s.Results); err != nil {
		return err
	}
	return v.memory(s)
}

// mentions checks that symbols have values that executors ask for before there are results.
func (v *verifier) mentions(s *Stmt) error {
	if s.Kind == OpStmt && s.Op.IsView() {
		if t, ok := s.Attrs.Get("type").(Type); ok {
			return v.sees(s, t)
		}
	}
	for _, e := range s.Bind {
		if err := v.sees(s, TensorOf(tensor.I64, e)); err != nil {
			return err
		}
	}
	return nil
}

// fits checks that types of operands and results go together.
func (v *verifier) fits(s *Stmt) error {
	if s.Kind == OpStmt {
		if err := v.definition(s); err != nil {
			return err
		}
	}
	if !v.asBefore(s) {
		if err := v.types(s); err != nil {
			return err
		}
		v.settle(s)
	}
	return v.mentions(s)
}

func (v *verifier) types(s *Stmt) error {
	switch s.Kind {
	case OpStmt:
		return v.operator(s)
	case CallStmt:
		return v.call(s)
	}
	if !compatible(v.m.Syms, s.Args[0].Type, s.Results[0].Type) {
		return v.fail(ruleCast, s, "%s can not be %s", s.Args[0].Type, s.Results[0].Type)
	}
	return nil
}

// Check says how types of a statement's operands and results contradict each other: an
// error of Verify.
func (d *Deducer) Check(s *Stmt) error {
	return (&verifier{m: d.M, scope: d.scope, known: map[*OpDef]bool{}}).fits(s)
}

// parts checks that a statement has what its kind has, and nothing else.
func (v *verifier) parts(s *Stmt) error {
	bad := func(what string) error { return v.fail(ruleKind, s, "%s", what) }
	if s.Kind > CastStmt {
		return bad("a statement of a kind that there is not")
	}
	if s.Kind != OpStmt {
		if s.Op != nil || len(s.Attrs) > 0 || len(s.Regions) > 0 {
			return bad("no operator, and yet there are an operator, attributes or regions")
		}
		for i, a := range s.Args {
			if a == nil {
				return v.fail(ruleComplete, s, "operand %d is missing", i)
			}
		}
	}
	if s.Kind != CallStmt && (s.Callee != nil || len(s.Bind) > 0) {
		return bad("no call, and yet there are a callee or values for its symbols")
	}
	switch s.Kind {
	case OpStmt:
		if s.Op == nil {
			return v.fail(ruleComplete, s, "the operator is missing")
		}
		if want := len(s.Op.Regions); len(s.Regions) != want && !s.Op.IsUnknown() {
			return v.fail(ruleRegions, s, "%d regions, it takes %d", len(s.Regions), want)
		}
	case CallStmt:
		switch c := s.Callee.(type) {
		case nil:
			return v.fail(ruleComplete, s, "what is called is missing")
		case *Func:
			if len(s.Bind) > 0 {
				return bad("a function's symbols get their values from its operands alone")
			}
			v.calls[v.fn] = append(v.calls[v.fn], c)
		}
		if !v.callees[s.Callee] {
			return v.fail(ruleCallees, s, "what is called is not in the module")
		}
	case CastStmt:
		if len(s.Args) != 1 || len(s.Results) != 1 || s.Results[0] == nil {
			return bad("a match_cast has one operand and one result")
		}
	}
	return nil
}

// definition checks that an operator is one of the module's, and that its attributes are some.
func (v *verifier) definition(s *Stmt) error {
	if err := checkAttrValues(s.Attrs); err != nil {
		return v.because(ruleAttrs, s, err)
	}
	if s.Op.IsUnknown() {
		return nil
	}
	if !v.known[s.Op] {
		if v.m.Lookup(s.Op.Name) != s.Op {
			return v.fail(ruleOperator, s, "the module has another operator of this name, or none")
		}
		v.known[s.Op] = true
	}
	return nil
}

// operator checks what an operator's definition says, and the types of results against
// what follows from the operands.
func (v *verifier) operator(s *Stmt) error {
	if s.Op.IsUnknown() {
		return nil
	}
	c := (&Deducer{M: v.m}).Call(s)
	c.trial, c.Bound, c.Out = true, v.scope.Has, make([]Type, len(s.Results))
	if err := c.checkAttrs(); err != nil {
		return v.because(ruleAttrs, s, err)
	}
	vars, err := c.checkSignature()
	if err != nil {
		return v.because(ruleSignature, s, err)
	}
	if err := c.deduce(vars); err != nil {
		return v.because(ruleDeduced, s, err)
	}
	for i, r := range s.Results {
		if r != nil && c.Out[i] != nil && !compatible(c.Syms, r.Type, c.Out[i]) {
			return v.fail(ruleDeduced, s, "%s has type %s, but %s follows from the operands", label(r), r.Type, c.Out[i])
		}
	}
	return nil
}

func (v *verifier) call(s *Stmt) error {
	ctx := v.m.Syms
	types, err := callTypes(s)
	if err != nil {
		return v.because(ruleCall, s, err)
	}
	var params []Type
	if f, ok := s.Callee.(*Func); ok {
		ctx = ctx.Clone() // the function's symbols are its own: each of its sizes may be any
		apart := func(e sym.Expr) sym.Expr {
			if _, fixed := e.Int(); fixed {
				return e
			}
			return ctx.Fresh("u")
		}
		for _, p := range f.Params {
			params = append(params, MapDims(p.Type, apart))
		}
		for i, t := range types {
			types[i] = MapDims(t, apart)
		}
	} else {
		p := programOf(s.Callee)
		for _, b := range p.Params {
			params = append(params, MapDims(b.Passed(), func(e sym.Expr) sym.Expr { return p.bindDim(e, s.Bind) }))
		}
	}
	if len(s.Args) != len(params) {
		return v.fail(ruleCall, s, "%d operands, it takes %d", len(s.Args), len(params))
	}
	for i, t := range params {
		if !compatible(ctx, s.Args[i].Type, t) {
			return v.fail(ruleCall, s, "operand %d has type %s, the parameter is %s", i, s.Args[i].Type, t)
		}
	}
	for i, r := range s.Results {
		if r != nil && !compatible(ctx, r.Type, types[i]) {
			return v.fail(ruleCall, s, "%s has type %s, the callee gives %s", label(r), r.Type, types[i])
		}
	}
	return nil
}

// Compatible says whether a value may have both types, as far as it is known.
func (c *Call) Compatible(a, b Type) bool { return compatible(c.Syms, a, b) }

// Compatible says whether a value may have both types, as far as it is known.
func (d *Deducer) Compatible(a, b Type) bool { return compatible(d.M.Syms, a, b) }

// compatible says that a value may have both types: nothing proves otherwise.
func compatible(ctx *sym.Context, a, b Type) bool {
	switch a := a.(type) {
	case TensorType:
		b, ok := b.(TensorType)
		if !ok {
			return a.nothingKnown()
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
		if b, ok := b.(SequenceType); ok {
			return compatible(ctx, a.Elem, b.Elem)
		}
	case OptionalType:
		if b, ok := b.(OptionalType); ok {
			return compatible(ctx, a.Elem, b.Elem)
		}
		return compatible(ctx, a.Elem, b)
	}
	if t, ok := b.(TensorType); ok && t.nothingKnown() {
		return true
	}
	return SameType(a, b)
}
