package text

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// Options say how much is printed.
type Options struct {
	Elide int // tensors of more elements are shown as {...}, which Parse does not take; 0: all are shown
}

// Print writes a module. The error is the writer's.
func Print(w io.Writer, m *ir.Module, o Options) error {
	p := &printer{w: bufio.NewWriter(w), elide: o.Elide}
	p.module(m)
	return p.w.Flush()
}

// String is the module in full.
func String(m *ir.Module) string {
	var b strings.Builder
	_ = Print(&b, m, Options{}) // a Builder takes everything
	return b.String()
}

type printer struct {
	w      *bufio.Writer
	elide  int
	indent int
	names  map[*ir.Value]string // numbers of the unnamed values of the function
}

func (p *printer) f(format string, args ...any) { fmt.Fprintf(p.w, format, args...) }

// line starts a line.
func (p *printer) line(format string, args ...any) {
	for range p.indent {
		_, _ = p.w.WriteString("  ")
	}
	p.f(format, args...)
}

func (p *printer) module(m *ir.Module) {
	p.f("module")
	if m.Name != "" {
		p.f(" %q", m.Name)
	}
	p.f(" {\n")
	p.indent++
	p.context(m.Syms)
	p.meta(&m.Meta)
	for i, c := range m.Consts {
		if i == 0 {
			p.f("\n")
		}
		p.line("const @%s: %s = ", ir.QuoteName(c.Name), typeText(ir.TypeOf(c.Tensor)))
		p.elements(c.Tensor)
		p.f("\n")
	}
	for _, f := range m.Funcs {
		p.f("\n")
		p.function(f)
	}
	for i, k := range m.Kernels {
		if i == 0 {
			p.f("\n")
		}
		p.line("kernel @%s = @%s", ir.QuoteName(k.Name), ir.QuoteName(k.Program.Name))
		p.attrs(k.Attrs)
		p.f("\n")
	}
	for _, g := range m.Programs {
		p.f("\n")
		for l := range strings.Lines(g.String()) {
			p.line("%s", l)
		}
	}
	p.indent--
	p.f("}\n")
}

func (p *printer) context(c *sym.Context) {
	var parts []string
	for _, s := range c.Symbols() {
		d := sym.Var(s).String()
		if lo, hi := c.Range(s); hi != sym.Inf {
			d += fmt.Sprintf(" in [%d, %d]", lo, hi)
		} else if lo != 0 {
			d += fmt.Sprintf(" in [%d, *]", lo)
		}
		if k := c.Multiple(s); k != 1 {
			d += fmt.Sprintf(" multiple %d", k)
		}
		parts = append(parts, d)
	}
	p.list("dims", parts)
	parts = nil
	for _, e := range c.Equalities() {
		parts = append(parts, fmt.Sprintf("%s == %s", e[0], e[1]))
	}
	for _, e := range c.LEs() {
		parts = append(parts, fmt.Sprintf("%s <= %s", e[0], e[1]))
	}
	p.list("where", parts)
}

// list is a line of parts, nothing when there are none.
func (p *printer) list(word string, parts []string) {
	if len(parts) > 0 {
		p.line("%s %s\n", word, strings.Join(parts, ", "))
	}
}

func (p *printer) meta(m *ir.Meta) {
	var parts []string
	for _, x := range metaStrings(m) {
		if *x.value != "" {
			parts = append(parts, x.key+" = "+strconv.Quote(*x.value))
		}
	}
	if m.IRVersion != 0 {
		parts = append(parts, fmt.Sprintf("ir_version = %d", m.IRVersion))
	}
	for _, o := range m.Opsets {
		parts = append(parts, fmt.Sprintf("opset %q = %d", o.Domain, o.Version))
	}
	for _, x := range m.Props {
		parts = append(parts, fmt.Sprintf("prop %q = %q", x[0], x[1]))
	}
	p.list("meta", parts)
}

type metaString struct {
	key   string
	value *string
}

func metaStrings(m *ir.Meta) []metaString {
	return []metaString{{"producer", &m.Producer}, {"producer_version", &m.ProducerVersion}, {"domain", &m.Domain}, {"doc", &m.Doc}}
}

func (p *printer) function(f *ir.Func) {
	p.names = map[*ir.Value]string{}
	p.line("func @%s", ir.QuoteName(f.Name))
	p.params(f.Params)
	parts := make([]string, len(f.Results))
	for i, r := range f.Results {
		parts[i] = typeText(typeOf(r))
		if i < len(f.ResultNames) {
			parts[i] = strconv.Quote(f.ResultNames[i]) + ": " + parts[i]
		}
	}
	p.f(" -> (%s) {\n", strings.Join(parts, ", "))
	p.body(&f.Block, "return")
	p.line("}\n")
}

func (p *printer) params(list []*ir.Value) {
	parts := make([]string, len(list))
	for i, v := range list {
		parts[i] = p.define(v)
	}
	p.f("(%s)", strings.Join(parts, ", "))
}

func (p *printer) body(b *ir.Block, last string) {
	p.indent++
	for _, s := range b.Stmts {
		p.stmt(s)
	}
	p.line("%s", last)
	if len(b.Results) > 0 {
		p.f(" %s", p.values(b.Results))
	}
	p.f("\n")
	p.indent--
}

func typeOf(v *ir.Value) ir.Type {
	if v == nil {
		return nil
	}
	return v.Type
}

// define is a value where it is defined.
func (p *printer) define(v *ir.Value) string {
	if v == nil {
		return "_"
	}
	return p.value(v) + ": " + typeText(v.Type)
}

// value is a value where it is used.
func (p *printer) value(v *ir.Value) string {
	switch {
	case v == nil:
		return "_"
	case v.Const != nil:
		return "@" + ir.QuoteName(v.Const.Name)
	case v.Name != "":
		return "%" + ir.QuoteName(v.Name)
	}
	if p.names[v] == "" {
		p.names[v] = "%" + strconv.Itoa(len(p.names))
	}
	return p.names[v]
}

func (p *printer) values(list []*ir.Value) string {
	parts := make([]string, len(list))
	for i, v := range list {
		parts[i] = p.value(v)
	}
	return strings.Join(parts, ", ")
}

func (p *printer) stmt(s *ir.Stmt) {
	p.line("")
	for i, r := range s.Results {
		if i > 0 {
			p.f(", ")
		}
		p.f("%s", p.define(r))
	}
	if len(s.Results) > 0 {
		p.f(" = ")
	}
	switch {
	case s.Kind == ir.CastStmt:
		p.f("match_cast")
	case s.Kind == ir.CallStmt:
		p.callee(s.Callee)
		if len(s.Bind) > 0 {
			p.f("%s", ir.ShapeString(s.Bind))
		}
	case s.Op.IsUnknown():
		version := int64(0)
		if len(s.Op.Since) > 0 {
			version = s.Op.Since[0]
		}
		p.f("unknown %d %s", version, ir.QuoteName(s.Op.Name))
	default:
		p.f("%s", opName(s.Op.Name))
	}
	p.f("(%s)", p.values(s.Args))
	p.attrs(s.Attrs)
	for _, r := range s.Regions {
		p.f(" { ")
		p.params(r.Params)
		p.f("\n")
		p.body(r, "yield")
		p.line("}")
	}
	if results := min(len(s.Results), len(s.Into)); results > 0 {
		p.f(" in %s", p.values(s.Into[:results]))
		if results < len(s.Into) {
			p.f(" with %s", p.values(s.Into[results:]))
		}
	}
	if s.Node != "" {
		p.f(" @ %q", s.Node)
	}
	p.f("\n")
}

func (p *printer) callee(c ir.Callee) {
	p.f("call ")
	if _, ok := c.(*ir.Kernel); ok {
		p.f("kernel ")
	}
	p.f("@%s", ir.QuoteName(c.CalleeName()))
}

// words begin statements that apply no operator.
var words = map[string]bool{"_": true, "return": true, "yield": true, "call": true, "match_cast": true, "unknown": true}

func opName(s string) string {
	if words[s] {
		return strconv.Quote(s)
	}
	return ir.QuoteName(s)
}

func (p *printer) attrs(list ir.Attrs) {
	if len(list) == 0 {
		return
	}
	p.f(" {")
	for i, a := range list {
		if i > 0 {
			p.f(", ")
		}
		p.f("%s = ", ir.QuoteName(a.Name))
		p.attr(a.Value)
	}
	p.f("}")
}

func (p *printer) attr(v any) {
	switch v := v.(type) {
	case int64:
		p.f("%d", v)
	case float64:
		p.f("%s", floatText(v))
	case string:
		p.f("%q", v)
	case []int64:
		printList(p, "ints", v, func(n int64) string { return strconv.FormatInt(n, 10) })
	case []float64:
		printList(p, "floats", v, floatText)
	case []string:
		printList(p, "strings", v, strconv.Quote)
	case *tensor.Tensor:
		p.f("%s%s ", v.DType(), ir.ShapeString(ir.Consts(v.Shape())))
		p.elements(v)
	case ir.Type:
		p.f("type %s", typeText(v))
	default:
		p.f("invalid(%T)", v)
	}
}

func printList[T any](p *printer, kind string, list []T, text func(T) string) {
	if len(list) == 0 {
		p.f("%s[]", kind)
		return
	}
	parts := make([]string, len(list))
	for i, x := range list {
		parts[i] = text(x)
	}
	p.f("[%s]", strings.Join(parts, ", "))
}

// floatText writes a float so that it is no integer. One that is an f32 is written as
// the shortest number that is nearest to that f32, with an f behind it.
func floatText(v float64) string {
	s := string(tensor.AppendFloatText(nil, v))
	if short := strconv.FormatFloat(v, 'g', -1, 32); float64(float32(v)) == v && len(short)+1 < len(s) {
		return short + "f"
	}
	if v == v && !math.IsInf(v, 0) && !strings.ContainsAny(s, ".e") {
		s += ".0"
	}
	return s
}

func (p *printer) elements(t *tensor.Tensor) {
	if p.elide > 0 && t.Len() > int64(p.elide) {
		p.f("{...}")
		return
	}
	_ = p.w.WriteByte('{')
	var b []byte
	for i := range t.Len() {
		b = b[:0]
		if i > 0 {
			b = append(b, ", "...)
		}
		_, _ = p.w.Write(t.AppendText(b, i))
	}
	_ = p.w.WriteByte('}')
}

// typeText is Type.String with names of opaque types quoted where they need it.
func typeText(t ir.Type) string {
	switch t := t.(type) {
	case nil:
		return "_"
	case ir.SequenceType:
		return "seq(" + typeText(t.Elem) + ")"
	case ir.OptionalType:
		return "optional(" + typeText(t.Elem) + ")"
	case ir.OpaqueType:
		return ir.QuoteName(t.Name)
	}
	return t.String()
}
