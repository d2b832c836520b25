package ir

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
	"sync"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// Effect says what an operator does beside computing results from operands.
type Effect uint8

// Effects, weakest first. Random operators are never folded, merged, or reordered
// among themselves; ordered ones keep their place among all that are not pure.
const (
	Pure Effect = iota
	Random
	Ordered
)

func (e Effect) String() string { return [...]string{"pure", "random", "ordered"}[e] }

// OpDef defines an operator: its signature, how result types follow from operand
// types, and what it computes. What it computes is said once, by exactly one of
// Body, Expand, Fill and Kernel, or by Body with Kernel for what no program can say (an
// element type without arithmetic, a size that only the data tell).
type OpDef struct {
	Name    string // with its namespace: "onnx.Softmax"
	Doc     string
	Since   []int64 // the versions of the ONNX operator that mean this, or that the importer turns into it
	In, Out []Operand
	Attrs   []AttrDef
	Regions []string // names of the graph attributes, in order
	Effect  Effect

	// OptRegions: regions may be left out, and are nil then. Such an operator is written
	// out where a module is built.
	OptRegions bool

	// Control tells how the regions are run.
	Control Control

	// View: the result has the elements of operand 0 in the same order; a runtime
	// gives the same memory under another shape.
	View bool

	// AnyRank: Deduce also takes operands of unknown rank or element type. Without
	// it the results of such a call are unranked, of the element type that the
	// signature gives.
	AnyRank bool

	Deduce func(*Call) error                                          // sets the types of all wanted results
	Body   func(*Call, *Body) error                                   // the tensor program
	Expand func(c *Call, b *Builder, args []*Value) ([]*Value, error) // the same by other operators
	Kernel func(*KernelCall) ([]tensor.Value, error)                  // the reference implementation

	// Fill is a reference implementation whose results have the exact types that Deduce gives
	// for operands that are there: it writes them where they are to be. out has nil for those
	// that nobody asked for.
	Fill func(k *KernelCall, out []*tensor.Tensor) error

	// Count tells the dim that results have where Deduce can not say one, though operands are there: contents
	// alone do. Fill follows.
	Count func(k *KernelCall) (int64, error)
}

// Operand describes an operand or result.
type Operand struct {
	Name     string
	Types    []tensor.DType // allowed element types; nil: any, and not only tensors
	Var      string         // operands of one Var have one element type
	Optional bool
	Variadic bool // the last one: any number of them
}

// AttrDef describes an attribute. Default is nil where there is none; its Go type
// is the attribute's type otherwise, and Zero gives it for those without default.
type AttrDef struct {
	Name     string
	Zero     any // int64(0), float64(0), "", []int64(nil) ...: the kind of value
	Default  any
	Required bool
}

// ErrDynamic is what a Body returns where it needs the contents of an operand that
// only a run will tell. The statement then stays an operator, and is instantiated
// when it runs.
var ErrDynamic = errors.New("needs the contents of an operand that are known only at run time")

// ErrNoProgram is what a Body returns for a form that no tensor program can say.
var ErrNoProgram = errors.New("no tensor program says this")

// Call is one application of an operator: while a module is built, with symbolic
// types; at run time with exact ones.
type Call struct {
	Op      *OpDef
	Node    string
	Attrs   Attrs
	Regions []*Block
	In      []Type // nil: left out
	Out     []Type // what Deduce sets
	Want    []bool // which results are asked for

	Syms    *sym.Context
	Exact   bool                           // dims are as they are computed, however long they are written
	trial   bool                           // Fresh works on a copy of Syms: what is deduced is thrown away
	Bound   func(symbol string) bool       // whether a symbol is visible where the call stands; nil: all are
	Known   func(i int) ([]sym.Expr, bool) // contents of a small integer operand
	ConstOf func(i int) *tensor.Tensor     // contents of a constant operand, nil if it is none

	iterations []*sym.Expr // of the loops around, see Deducer
	deducing   bool        // local symbols may stand in contents: no program comes of them
}

// Has says whether operand i is there.
func (c *Call) Has(i int) bool { return i < len(c.In) && c.In[i] != nil }

// Wants says whether result i is asked for.
func (c *Call) Wants(i int) bool { return i < len(c.Want) && c.Want[i] }

// Tensor is the type of operand i, which must be a tensor.
func (c *Call) Tensor(i int) TensorType {
	if c.Has(i) {
		if t, ok := c.In[i].(TensorType); ok {
			return t
		}
	}
	return UnrankedOf(tensor.Invalid)
}

// Dims are the dims of operand i.
func (c *Call) Dims(i int) []sym.Expr { return c.Tensor(i).Dims }

// Rank is the rank of operand i.
func (c *Call) Rank(i int) int { return c.Tensor(i).Rank() }

// DType is the element type of operand i.
func (c *Call) DType(i int) tensor.DType { return c.Tensor(i).DType }

// Ints are the contents of integer operand i as symbolic integers; ok is false where
// they are not known yet.
func (c *Call) Ints(i int) (vals []sym.Expr, ok bool) {
	if !c.Has(i) {
		return nil, false
	}
	if t := c.Const(i); t != nil && t.DType().IsInt() && t.Len() <= MaxKnown {
		for _, n := range tensor.Ints(t) {
			vals = append(vals, sym.Const(n))
		}
		return vals, true
	}
	if c.Known == nil {
		return nil, false
	}
	if vals, ok = c.Known(i); ok && !c.deducing && usesLocal(vals...) {
		return nil, false
	}
	return vals, ok
}

// ConstInts are the contents of integer operand i as numbers.
func (c *Call) ConstInts(i int) ([]int64, bool) {
	vals, ok := c.Ints(i)
	if !ok {
		return nil, false
	}
	out := make([]int64, len(vals))
	for j, e := range vals {
		if out[j], ok = e.Int(); !ok {
			return nil, false
		}
	}
	return out, true
}

// Const is operand i where it is a constant, else nil.
func (c *Call) Const(i int) *tensor.Tensor {
	if !c.Has(i) || c.ConstOf == nil {
		return nil
	}
	return c.ConstOf(i)
}

// SetOut sets the type of a tensor result.
func (c *Call) SetOut(i int, d tensor.DType, dims ...sym.Expr) {
	c.SetOutType(i, TensorOf(d, dims...))
}

// SetOutType sets the type of a result. Results that nobody asked for are ignored.
func (c *Call) SetOutType(i int, t Type) {
	if i < len(c.Out) {
		c.Out[i] = t
	}
}

// Fresh is a symbol that this call defines, at most bound where that is not nil.
func (c *Call) Fresh(bound *sym.Expr) sym.Expr {
	if c.trial {
		c.Syms, c.trial = c.Syms.Clone(), false
	}
	e := c.Syms.Fresh("u")
	if bound != nil && usesLocal(*bound) {
		bound = c.withoutLocals(*bound)
	}
	if bound != nil {
		_ = c.Syms.AssumeLE(e, *bound) // the symbol is new, nothing can contradict
	}
	return e
}

// attr gives an attribute, or its default.
func (c *Call) attr(name string) any {
	if v := c.Attrs.Get(name); v != nil {
		return v
	}
	for _, d := range c.Op.Attrs {
		if d.Name == name {
			return d.Default
		}
	}
	return nil
}

// HasAttr says whether the attribute is given, or has a default.
func (c *Call) HasAttr(name string) bool { return c.attr(name) != nil }

// Int is an integer attribute, 0 when it is not given and has no default.
func (c *Call) Int(name string) int64 { v, _ := c.attr(name).(int64); return v }

// Flag is an integer attribute as a truth value.
func (c *Call) Flag(name string) bool { return c.Int(name) != 0 }

// Float is a float attribute.
func (c *Call) Float(name string) float64 { v, _ := c.attr(name).(float64); return v }

// Str is a string attribute.
func (c *Call) Str(name string) string { v, _ := c.attr(name).(string); return v }

// IntList is an integer list attribute.
func (c *Call) IntList(name string) []int64 { v, _ := c.attr(name).([]int64); return v }

// FloatList is a float list attribute.
func (c *Call) FloatList(name string) []float64 { v, _ := c.attr(name).([]float64); return v }

// StrList is a string list attribute.
func (c *Call) StrList(name string) []string { v, _ := c.attr(name).([]string); return v }

// TensorAttr is a tensor attribute.
func (c *Call) TensorAttr(name string) *tensor.Tensor {
	v, _ := c.attr(name).(*tensor.Tensor)
	return v
}

// Axis normalises an axis of a rank-r operand to 0 .. r-1.
func (c *Call) Axis(axis int64, r int) (int, error) {
	if axis < -int64(r) || axis >= int64(r) {
		return 0, c.Errorf("axis %d of a rank-%d operand", axis, r).Hint("valid axes are %d to %d", -r, r-1)
	}
	if axis < 0 {
		axis += int64(r)
	}
	return int(axis), nil
}

// Axes normalises a list of axes; none may come twice.
func (c *Call) Axes(axes []int64, r int) ([]int, error) {
	out := make([]int, len(axes))
	for i, a := range axes {
		n, err := c.Axis(a, r)
		if err != nil {
			return nil, err
		}
		if slices.Contains(out[:i], n) {
			return nil, c.Errorf("axis %d is given twice", a)
		}
		out[i] = n
	}
	return out, nil
}

// Errorf is an error about this call: an operand or attribute that the operator does
// not take.
func (c *Call) Errorf(format string, args ...any) *diag.Error {
	return diag.New(diag.Malformed, format, args...).At(c.Node, strings.TrimPrefix(c.Op.Name, "onnx."))
}

// Unsupported is an error about a form of the operator that is not there.
func (c *Call) Unsupported(format string, args ...any) *diag.Error {
	return diag.New(diag.Unsupported, "unsupported: "+format, args...).At(c.Node, strings.TrimPrefix(c.Op.Name, "onnx."))
}

// Operand gives the description of operand i, a variadic one repeating.
func (d *OpDef) Operand(i int) (Operand, bool) { return nth(d.In, i) }

// Result gives the description of result i.
func (d *OpDef) Result(i int) (Operand, bool) { return nth(d.Out, i) }

func nth(list []Operand, i int) (Operand, bool) {
	if i < len(list) {
		return list[i], true
	}
	if n := len(list); n > 0 && list[n-1].Variadic {
		return list[n-1], true
	}
	return Operand{}, false
}

// Attr gives the description of an attribute.
func (d *OpDef) Attr(name string) (AttrDef, bool) {
	for _, a := range d.Attrs {
		if a.Name == name {
			return a, true
		}
	}
	return AttrDef{}, false
}

// Infer checks a call against the operator's signature and deduces result types.
func (c *Call) Infer() error {
	if err := c.checkAttrs(); err != nil {
		return err
	}
	vars, err := c.checkSignature()
	if err != nil {
		return err
	}
	return c.deduce(vars)
}

// deduce sets the types of results, given the element types that stand for the variables
// of the signature.
func (c *Call) deduce(vars map[string]tensor.DType) error {
	if len(c.Out) < len(c.Want) {
		c.Out = make([]Type, len(c.Want))
	}
	if !c.Op.AnyRank && !c.ranked() || c.Op.Deduce == nil {
		for i := range c.Out {
			o, _ := c.Op.Result(i)
			d := vars[o.Var]
			if len(o.Types) == 1 {
				d = o.Types[0]
			}
			c.Out[i] = UnrankedOf(d)
		}
		return nil
	}
	c.deducing = true
	err := c.Op.Deduce(c)
	c.deducing = false
	if err != nil {
		return diag.As(err, diag.Malformed).At(c.Node, c.Op.Name)
	}
	for i, t := range c.Out {
		c.Out[i] = MapDims(t, func(e sym.Expr) sym.Expr {
			if usesLocal(e) {
				return c.Fresh(&e)
			}
			return e
		})
		if t == nil && c.Wants(i) {
			return c.Errorf("result %d is not defined for these operands and attributes", i)
		}
	}
	return nil
}

func (c *Call) ranked() bool {
	for _, t := range c.In {
		if tt, ok := t.(TensorType); ok && (tt.Unranked || tt.DType == tensor.Invalid) {
			return false
		}
	}
	return true
}

// checkSignature checks number and element types of the operands. It gives the element
// types that stand for the variables of the signature.
func (c *Call) checkSignature() (map[string]tensor.DType, error) {
	vars := map[string]tensor.DType{}
	for i, t := range c.In {
		o, ok := c.Op.Operand(i)
		if !ok {
			return nil, c.Errorf("%d operands, it takes %d", len(c.In), len(c.Op.In))
		}
		if t == nil {
			if !o.Optional && !o.Variadic {
				return nil, c.Errorf("operand %d (%s) is missing", i, o.Name)
			}
			continue
		}
		tt, ok := t.(TensorType)
		if !ok {
			if o.Types != nil {
				return nil, c.Errorf("operand %d (%s) is a %s, it takes a tensor", i, o.Name, t)
			}
			continue
		}
		if tt.DType == tensor.Invalid {
			continue
		}
		if o.Types != nil && !slices.Contains(o.Types, tt.DType) {
			return nil, c.Errorf("operand %d (%s) has element type %s, it takes %s", i, o.Name, tt.DType, anyOf(o.Types))
		}
		if o.Var != "" {
			if was, ok := vars[o.Var]; ok && was != tt.DType {
				return nil, c.Errorf("operand %d (%s) has element type %s, another of the same kind has %s", i, o.Name, tt.DType, was)
			}
			vars[o.Var] = tt.DType
		}
	}
	for i := len(c.In); i < len(c.Op.In); i++ {
		if o := c.Op.In[i]; !o.Optional && !o.Variadic {
			return nil, c.Errorf("operand %d (%s) is missing", i, o.Name)
		}
	}
	if len(c.Want) > len(c.Op.Out) && (len(c.Op.Out) == 0 || !c.Op.Out[len(c.Op.Out)-1].Variadic) {
		return nil, c.Errorf("%d results, it has %d", len(c.Want), len(c.Op.Out))
	}
	return vars, nil
}

// anyOf names element types: all of few, some of many.
func anyOf(list []tensor.DType) string {
	const few = 6
	names := make([]string, 0, len(list))
	for _, d := range list[:min(len(list), few)] {
		names = append(names, d.String())
	}
	if len(list) > few {
		names = append(names, "...")
	}
	return strings.Join(names, ", ")
}

// checkAttrs checks that every attribute is one of the operator's and of its kind, and
// that those it must have are there.
func (c *Call) checkAttrs() error {
	if c.Op.IsUnknown() {
		return nil
	}
	for _, a := range c.Attrs {
		d, ok := c.Op.Attr(a.Name)
		if !ok {
			return c.Errorf("attribute %q is not one of its attributes", a.Name)
		}
		if is, takes := kindOf(a.Value), kindOf(d.Zero); takes != "" && is != takes {
			return c.Errorf("attribute %q is a %s, it takes a %s", a.Name, is, takes)
		}
	}
	for _, d := range c.Op.Attrs {
		if d.Required && c.Attrs.Get(d.Name) == nil {
			return c.Errorf("attribute %q is missing", d.Name)
		}
	}
	return nil
}

// KernelCall is a call of a reference implementation.
type KernelCall struct {
	*Call
	Context context.Context
	Args    []tensor.Value // nil: left out
	Rand    *rand.Rand     // for random operators without a seed of their own
	// Room says whether the budget of the run has room for so many bytes beside what was
	// alive before the call; nil: there is no budget.
	Room func(bytes int64) error

	needed int64 // bytes so far
}

// Shape gives the shape of a result of a type, in the memory of to: where a dim of it is not known, the operator counts.
func (k *KernelCall) Shape(to []int64, t TensorType) ([]int64, error) {
	for _, d := range t.Dims {
		n, ok := d.Int()
		if !ok && k.Op.Count == nil {
			return nil, diag.New(diag.Run, "a result has type %s when all operands are known", t)
		}
		if !ok {
			var err error
			if n, err = k.Op.Count(k); err != nil {
				return nil, runTime(err)
			}
		}
		to = append(to, n)
	}
	return to, nil
}

// Fill runs a reference implementation that writes results of exact types, where anybody asked for one.
func (k *KernelCall) Fill(out []*tensor.Tensor) error {
	if !slices.ContainsFunc(out, func(t *tensor.Tensor) bool { return t != nil }) {
		return nil
	}
	if err := k.Op.Fill(k, out); err != nil {
		return runTime(err)
	}
	return nil
}

// Run runs a reference implementation that makes its results. What it does not take came with the run, and no
// model is malformed by it.
func (k *KernelCall) Run() ([]tensor.Value, error) {
	out, err := k.Op.Kernel(k)
	if err != nil {
		return nil, runTime(err)
	}
	return out, nil
}

// Arg is operand i as a tensor, nil when it is left out.
func (k *KernelCall) Arg(i int) *tensor.Tensor {
	if i >= len(k.Args) || k.Args[i] == nil {
		return nil
	}
	t, _ := k.Args[i].(*tensor.Tensor)
	return t
}

// Need asks for so many bytes more. A kernel asks before it makes what its result types do
// not tell: results whose size only it knows, and lists as long as an operand.
func (k *KernelCall) Need(bytes int64) error {
	if bytes > math.MaxInt64-k.needed {
		bytes = math.MaxInt64 - k.needed
	}
	k.needed += bytes
	if k.Room == nil {
		return nil
	}
	return k.Room(k.needed)
}

// Make makes a tensor of a size that only the kernel tells. What the budget has no room for
// is an error before memory is touched.
func (k *KernelCall) Make(d tensor.DType, shape []int64) (*tensor.Tensor, error) {
	if err := k.Need(denseBytes(d, shape)); err != nil {
		return nil, err
	}
	return tensor.Make(d, shape)
}

// NeedResults asks for the memory of results of exact types; the machine does, before it
// calls a kernel.
func (k *KernelCall) NeedResults() error {
	for _, t := range k.Out {
		tt, _ := t.(TensorType)
		if shape, ok := tt.Static(); ok {
			if err := k.Need(denseBytes(tt.DType, shape)); err != nil {
				return err
			}
		}
	}
	return nil
}

// denseBytes is the memory of a tensor; of strings, that of their headers.
func denseBytes(d tensor.DType, shape []int64) int64 {
	const header = 16
	n, ok := tensor.Count(shape)
	size, ok2 := d.ByteLen(n)
	if d == tensor.String {
		size, ok2 = n*header, n <= math.MaxInt64/header
	}
	if !ok || !ok2 {
		return math.MaxInt64
	}
	return size
}

var registry struct {
	sync.RWMutex
	ops map[string]*OpDef
}

// Register makes an operator known by its name. It panics when the name is taken or
// the definition is incomplete: both are mistakes in the program.
func Register(d *OpDef) *OpDef {
	registry.Lock()
	defer registry.Unlock()
	if registry.ops == nil {
		registry.ops = map[string]*OpDef{}
	}
	if d.Name == "" || d.Doc == "" || registry.ops[d.Name] != nil {
		panic("ir: operator " + d.Name + " is registered twice or lacks name or doc")
	}
	registry.ops[d.Name] = d
	return d
}

// Lookup finds a registered operator, nil when there is none.
func Lookup(name string) *OpDef {
	registry.RLock()
	defer registry.RUnlock()
	return registry.ops[name]
}

// Registered gives all registered operators by name.
func Registered() []*OpDef {
	registry.RLock()
	defer registry.RUnlock()
	out := make([]*OpDef, 0, len(registry.ops))
	for _, d := range registry.ops {
		out = append(out, d)
	}
	sort.Slice(out, func(i, j int) bool { return out[i].Name < out[j].Name })
	return out
}

// Unknown stands in for an operator that is not there, so that a module with it can
// be read, printed and inspected. Running it is an error that names it.
func Unknown(name string, version int64) *OpDef {
	return &OpDef{
		Name:    name,
		Doc:     "An operator that this version does not have.",
		Since:   []int64{version},
		In:      []Operand{{Name: "in", Optional: true, Variadic: true}},
		Out:     []Operand{{Name: "out", Variadic: true}},
		Effect:  Ordered,
		AnyRank: true,
	}
}

// Reference says whether there is a reference implementation.
func (d *OpDef) Reference() bool { return d.Kernel != nil || d.Fill != nil }

// IsUnknown says whether the operator is a stand-in.
func (d *OpDef) IsUnknown() bool {
	return d.Deduce == nil && d.Body == nil && d.Expand == nil && !d.Reference()
}

// Operators that executors run themselves, since they speak of symbols and memory.
const (
	ViewName    = "vm.view"    // op: the operand's elements in the shape of the result's type
	AppendName  = "vm.append"  // op: writes what is new of a state behind what is in its storage
	AllocName   = "vm.alloc"   // op: memory of as many bytes as its attribute evaluates to
	ReleaseName = "vm.release" // op: ends the life of its operands
)

// IsView says whether this is the view that executors run themselves.
func (d *OpDef) IsView() bool { return d.Name == ViewName }
