package ir

import (
	"fmt"
	"slices"

	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// Module is a whole program at any mixture of levels: operators, tensor programs,
// kernels. The function named "main" is what a caller runs.
type Module struct {
	Name     string
	Syms     *sym.Context // the symbols of all functions and what is known of them
	Funcs    []*Func
	Programs []*Program
	Kernels  []*Kernel
	Consts   []*Const
	Ops      map[string]*OpDef // operators that came with the module, from a plugin
	Meta     Meta

	constNames map[string]bool
}

// Meta is what a model says about itself; no pass depends on it.
type Meta struct {
	Producer, ProducerVersion, Domain, Doc string
	IRVersion                              int64
	Opsets                                 []Opset
	Props                                  [][2]string
	Outputs                                []Type // the declared types of @main's results
}

// Opset is an operator set that a model imports.
type Opset struct {
	Domain  string // "" is ai.onnx
	Version int64
}

// NewModule makes an empty module.
func NewModule(name string) *Module {
	return &Module{Name: name, Syms: sym.NewContext()}
}

// Block is a list of statements in dependency order, with parameters and results.
// It is the body of a function, or a region of a statement; a region also sees the
// values of the blocks around it.
type Block struct {
	Params  []*Value
	Stmts   []*Stmt
	Results []*Value
}

// Func is a function: a named block.
type Func struct {
	Name string
	Block
	ResultNames []string // what a caller knows the results by; nil: the values' names
}

// ResultName is the name of result i.
func (f *Func) ResultName(i int) string {
	if i < len(f.ResultNames) {
		return f.ResultNames[i]
	}
	return f.Results[i].Name
}

// Walk visits every statement, those of regions included, in order.
func (b *Block) Walk(visit func(*Stmt)) {
	for _, s := range b.Stmts {
		visit(s)
		for _, r := range s.Regions {
			r.Walk(visit)
		}
	}
}

// Value is defined once: as a block's parameter, by a statement, or as a constant.
type Value struct {
	Name  string // unique in its function where it is not empty
	Type  Type
	Def   *Stmt  // the statement that defines it, nil for parameters and constants
	Index int    // which result of Def, or which parameter
	Const *Const // the constant it is, if it is one
}

// Tensor gives the value's type as a tensor type; ok is false for other values.
func (v *Value) Tensor() (t TensorType, ok bool) {
	t, ok = v.Type.(TensorType)
	return
}

// Const is a constant tensor of the module.
type Const struct {
	Name   string
	Tensor *tensor.Tensor
	Source *Source // where its bytes lie in a file; nil for one that a pass made
	value  *Value
}

// Source is a place in a file.
type Source struct {
	File           string
	Offset, Length int64
}

// Value is the constant as an operand. There is one for each constant.
func (c *Const) Value() *Value {
	if c.value == nil {
		c.value = &Value{Name: c.Name, Type: TypeOf(c.Tensor), Const: c}
	}
	return c.value
}

// AddConst adds a constant and gives it as an operand. A name that is taken, or
// empty, is made unique.
func (m *Module) AddConst(name string, t *tensor.Tensor, src *Source) *Value {
	if name == "" {
		name = "c"
	}
	if m.constNames == nil || len(m.constNames) != len(m.Consts) { // a pass took constants away or put some in
		m.constNames = make(map[string]bool, len(m.Consts))
		for _, c := range m.Consts {
			m.constNames[c.Name] = true
		}
	}
	base := name
	for i := len(m.Consts); m.constNames[name]; i++ {
		name = fmt.Sprintf("%s_%d", base, i)
	}
	m.constNames[name] = true
	c := &Const{Name: name, Tensor: t, Source: src}
	m.Consts = append(m.Consts, c)
	return c.Value()
}

// Main gives the function named "main", nil when there is none.
func (m *Module) Main() *Func { return m.Func("main") }

// Func gives a function by name, nil when there is none.
func (m *Module) Func(name string) *Func {
	for _, f := range m.Funcs {
		if f.Name == name {
			return f
		}
	}
	return nil
}

// Program gives a program by name, nil when there is none.
func (m *Module) Program(name string) *Program {
	for _, p := range m.Programs {
		if p.Name == name {
			return p
		}
	}
	return nil
}

// Kernel gives a kernel by name, nil when there is none.
func (m *Module) Kernel(name string) *Kernel {
	for _, k := range m.Kernels {
		if k.Name == name {
			return k
		}
	}
	return nil
}

// AddProgram adds a program under a name made unique.
func (m *Module) AddProgram(p *Program) *Program {
	base := p.Name
	for i := 1; m.Program(p.Name) != nil; i++ {
		p.Name = fmt.Sprintf("%s_%d", base, i)
	}
	m.Programs = append(m.Programs, p)
	return p
}

// Lookup finds an operator by its full name: one that came with the module, else a
// registered one; nil when there is none.
func (m *Module) Lookup(name string) *OpDef {
	if d := m.Ops[name]; d != nil {
		return d
	}
	return Lookup(name)
}

// Callee is what a call statement calls: *Program, *Kernel or *Func.
type Callee interface{ CalleeName() string }

// CalleeName is the program's name.
func (p *Program) CalleeName() string { return p.Name }

// CalleeName is the kernel's name.
func (k *Kernel) CalleeName() string { return k.Name }

// CalleeName is the function's name.
func (f *Func) CalleeName() string { return f.Name }

// Kernel is a kernel of a target. What it computes is its program, so the reference
// interpreter runs it as that.
type Kernel struct {
	Name    string // with its target: "cpu.gemm"
	Program *Program
	Attrs   Attrs // how the target is to run it; no influence on the result but for StagedAttr
}

// programOf is the program that a callee computes; nil for a function.
func programOf(c Callee) *Program {
	switch c := c.(type) {
	case *Program:
		return c
	case *Kernel:
		return c.Program
	}
	return nil
}

// StmtKind says which of the three statements a Stmt is.
type StmtKind uint8

// The statements.
const (
	OpStmt   StmtKind = iota // an operator applied to operands
	CallStmt                 // a call of a program, kernel or function
	CastStmt                 // match_cast: asserts a type, may bind symbols
)

// Stmt is a statement. It defines its results.
type Stmt struct {
	Kind    StmtKind
	Op      *OpDef     // of an OpStmt
	Callee  Callee     // of a CallStmt
	Bind    []sym.Expr // values of the program's symbols, in the order of Program.Syms
	Args    []*Value   // nil entry: an optional operand that is left out
	Results []*Value   // nil entry: an optional result that nobody asked for
	Attrs   Attrs
	Regions []*Block
	Into    []*Value // storages of the results, and of Temps, in their order; nil, or one for each result, or one for each of both (nil entry: the machine's choice)
	Node    string   // name of the model's node this comes from, for messages
}

// OpName is what the statement does, for messages: the operator's or callee's name.
func (s *Stmt) OpName() string {
	switch {
	case s.Op != nil:
		return s.Op.Name
	case s.Callee != nil:
		return "call @" + s.Callee.CalleeName()
	}
	return "match_cast"
}

// Place names the statement for messages: the model's node, or its first result.
func (s *Stmt) Place() string {
	if s.Node != "" {
		return s.Node
	}
	for _, r := range s.Results {
		if r != nil {
			return r.Name
		}
	}
	return ""
}

// EachUse visits the operands of a statement and of what its regions hold, and what the
// regions give. A value may be visited more than once; left-out operands are not.
func (s *Stmt) EachUse(visit func(*Value)) {
	for _, a := range s.Args {
		if a != nil {
			visit(a)
		}
	}
	for _, r := range s.Regions {
		for _, t := range r.Stmts {
			t.EachUse(visit)
		}
		for _, v := range r.Results {
			visit(v)
		}
	}
}

// Captured gives the values from around the statement that its regions read, each once.
// Constants are none: they are visible everywhere.
func (s *Stmt) Captured() []*Value {
	var out []*Value
	own := map[*Value]bool{}
	var block func(b *Block)
	use := func(v *Value) {
		if v != nil && v.Const == nil && !own[v] {
			own[v] = true // it is in the list
			out = append(out, v)
		}
	}
	block = func(b *Block) {
		for _, p := range b.Params {
			own[p] = true
		}
		for _, t := range b.Stmts {
			for _, a := range t.Args {
				use(a)
			}
			for _, r := range t.Regions {
				block(r)
			}
			for _, r := range t.Results {
				own[r] = true
			}
		}
		for _, v := range b.Results {
			use(v)
		}
	}
	for _, r := range s.Regions {
		if r != nil {
			block(r)
		}
	}
	return out
}

// MayHandOn says whether a result may be an operand itself, or hold one: what no program
// computes may, unless its kernel fills what it is given. Views and casts do it openly and are not meant.
func (s *Stmt) MayHandOn() bool {
	switch s.Kind {
	case OpStmt:
		return !s.Op.View && s.Op.Fill == nil && (s.Op.Body == nil || s.Op.Kernel != nil)
	case CallStmt:
		_, isFunc := s.Callee.(*Func)
		return isFunc
	}
	return false
}

// Placeable says whether results may be placed in storages: a program computes them, or
// will when operands are known, or a kernel fills them, whose sizes are known before.
func (s *Stmt) Placeable() bool {
	if s.Kind == OpStmt {
		return !s.Op.View && (s.Op.Fill != nil && s.Op.Count == nil || s.Op.Body != nil && s.Op.Kernel == nil && len(s.Regions) == 0)
	}
	return programOf(s.Callee) != nil
}

// StagedAttr is the attribute of a kernel that runs its program stage after stage, each of
// which writes what it defines and nothing else. What a kernel without it does, and in which
// order, only its target knows.
const StagedAttr = "staged"

// TogetherAttr is the attribute of a staged kernel that computes some stages together: the first one
// and the number of them, of each such range. Until the last of them is done, all that one of them
// reads is read, and all that one writes is written; what a range defines for itself alone
// ([Program.Inside]) may never be in memory.
const TogetherAttr = "together"

// Range is stages from First to Last.
type Range struct{ First, Last int }

// Together gives for each stage of a staged call the range that it is computed in: mostly it alone.
func (s *Stmt) Together() []Range {
	p, ok := s.Staged()
	if !ok {
		return nil
	}
	out := make([]Range, len(p.Stages))
	for i := range out {
		out[i] = Range{i, i}
	}
	k, ok := s.Callee.(*Kernel)
	if !ok {
		return out
	}
	list, _ := k.Attrs.Get(TogetherAttr).([]int64)
	for ; len(list) > 1; list = list[2:] {
		r := Range{int(list[0]), int(list[0] + list[1] - 1)}
		for i := max(0, r.First); i <= min(r.Last, len(out)-1); i++ {
			out[i] = r
		}
	}
	return out
}

// checkTogether checks that ranges are some, of a staged kernel's stages, one behind the other.
func (k *Kernel) checkTogether() error {
	v := k.Attrs.Get(TogetherAttr)
	if v == nil {
		return nil
	}
	list, ok := v.([]int64)
	if !ok || len(list)%2 != 0 || k.Attrs.Get(StagedAttr) == nil {
		return fmt.Errorf("%s is %v: it is the first and the number of some stages, in pairs, of a staged kernel", TogetherAttr, v)
	}
	end, stages := int64(0), int64(len(k.Program.Stages))
	for i := 0; i < len(list); i += 2 {
		if first, n := list[i], list[i+1]; first < end || n < 1 || n > stages-first {
			return fmt.Errorf("%s has %d stages from %d on, behind stage %d of %d", TogetherAttr, n, first, end, stages)
		}
		end = list[i] + list[i+1]
	}
	return nil
}

// Inside gives the temporaries that a range of stages defines and that no other stage reads.
func (p *Program) Inside(r Range) (out []*Buffer) {
	for _, s := range p.Stages[r.First : r.Last+1] {
		for _, b := range s.Outs {
			outside := slices.Contains(p.Results, b)
			for i, other := range p.Stages {
				outside = outside || (i < r.First || i > r.Last) && slices.Contains(other.Reads(), b)
			}
			if !outside {
				out = append(out, b)
			}
		}
	}
	return out
}

// Staged gives the program of a call whose stages run one after the other: one that no
// kernel computes, or one that says so.
func (s *Stmt) Staged() (*Program, bool) {
	if k, ok := s.Callee.(*Kernel); ok && k.Attrs.Get(StagedAttr) != nil {
		return k.Program, true
	}
	p, ok := s.Callee.(*Program)
	return p, ok
}

// AllocBytes is the size that an allocation asks for; ok is false for other statements,
// and where the size is no expression.
func (s *Stmt) AllocBytes() (bytes sym.Expr, ok bool) {
	if s.Kind != OpStmt || s.Op.Name != AllocName {
		return bytes, false
	}
	text, ok := s.Attrs.Get("bytes").(string)
	bytes, err := sym.Parse(text)
	return bytes, ok && err == nil
}

// Effect is what a statement does beside computing its results; a call or a region
// has the strongest effect of what is inside.
func (s *Stmt) Effect() Effect {
	e := Pure
	if s.Op != nil {
		e = s.Op.Effect
	}
	if f, ok := s.Callee.(*Func); ok {
		e = max(e, f.effect())
	}
	for _, r := range s.Regions {
		e = max(e, r.effect())
	}
	return e
}

func (b *Block) effect() Effect {
	e := Pure
	for _, s := range b.Stmts {
		e = max(e, s.Effect())
	}
	return e
}

// ReplaceUses makes the statements from index from on, their regions, and the block's
// results use b in the place of a.
func (b *Block) ReplaceUses(from int, old, new *Value) {
	swap := func(list []*Value) {
		for i, v := range list {
			if v == old {
				list[i] = new
			}
		}
	}
	for _, s := range b.Stmts[from:] {
		swap(s.Args)
		swap(s.Into)
		for _, r := range s.Regions {
			r.ReplaceUses(0, old, new)
		}
	}
	swap(b.Results)
}
