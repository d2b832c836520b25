package ir

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// String is the program in the text form.
func (p *Program) String() string {
	w := &programWriter{expr: sym.Expr.String}
	w.program(p)
	return w.String()
}

// Key is equal for programs that compute the same in the same way: they are written
// alike once names are replaced by their order of appearance.
func (p *Program) Key() string {
	names := map[string]sym.Expr{}
	for i, s := range p.Syms {
		names[s] = sym.Var("$" + strconv.Itoa(i))
	}
	bufs := map[*Buffer]string{}
	name := func(b *Buffer) string {
		if bufs[b] == "" {
			bufs[b] = "b" + strconv.Itoa(len(bufs))
		}
		return bufs[b]
	}
	axes := map[*Axis]string{}
	w := &programWriter{
		expr: func(e sym.Expr) string {
			return e.Subst(func(s string) (sym.Expr, bool) { x, ok := names[s]; return x, ok }).String()
		},
		buf: name,
		axis: func(a *Axis) string {
			if axes[a] == "" {
				axes[a] = "a" + strconv.Itoa(len(axes))
			}
			return axes[a]
		},
	}
	q := *p
	q.Name = ""
	q.Syms = nil
	w.program(&q)
	return fmt.Sprintf("%d %s", len(p.Syms), &w.Builder) // also symbols that nothing mentions are bound
}

// String is the expression in the text form, for messages: what lies deep in it is "..".
func (x *Scalar) String() string {
	w := &programWriter{expr: sym.Expr.String, deep: 4}
	return w.scalar(x)
}

// programWriter prints a program. expr prints symbolic integers; buf and axis name
// buffers and axes, by their own names where they are nil.
type programWriter struct {
	strings.Builder
	expr func(sym.Expr) string
	buf  func(*Buffer) string
	axis func(*Axis) string
	deep int // levels of an expression that are printed; 0: all
}

func (w *programWriter) name(b *Buffer) string {
	if w.buf != nil {
		return w.buf(b)
	}
	return QuoteName(b.Name)
}

func (w *programWriter) ax(a *Axis) string {
	if w.axis != nil {
		return w.axis(a)
	}
	if _, ok := tensor.ParseDType(a.Name); ok { // would read as a literal of that type
		return strconv.Quote(a.Name)
	}
	return QuoteName(a.Name)
}

// QuoteName writes a name as the text form does: as it is where it is an identifier,
// quoted otherwise.
func QuoteName(s string) string {
	for i := range len(s) {
		c := s[i]
		if !(c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || i > 0 && (c >= '0' && c <= '9' || c == '.')) {
			return strconv.Quote(s)
		}
	}
	if s == "" || s[len(s)-1] == '.' {
		return strconv.Quote(s)
	}
	return s
}

func (w *programWriter) dims(dims []sym.Expr) string {
	parts := make([]string, len(dims))
	for i, d := range dims {
		parts[i] = w.expr(d)
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

func (w *programWriter) buffers(list []*Buffer) string {
	parts := make([]string, len(list))
	for i, b := range list {
		parts[i] = fmt.Sprintf("%s: %s %s", w.name(b), w.dims(b.Dims), b.DType)
		if b.Room != nil {
			parts[i] += " in " + w.dims(b.Room)
		}
	}
	return "(" + strings.Join(parts, ", ") + ")"
}

func (w *programWriter) program(p *Program) {
	fmt.Fprintf(w, "program @%s", QuoteName(p.Name))
	if len(p.Syms) > 0 {
		syms := make([]string, len(p.Syms))
		for i, s := range p.Syms {
			syms[i] = sym.Var(s).String()
		}
		fmt.Fprintf(w, "[%s]", strings.Join(syms, ", "))
	}
	fmt.Fprintf(w, "%s -> %s {\n", w.buffers(p.Params), w.buffers(p.Results))
	result := map[*Buffer]bool{}
	for _, b := range p.Results {
		result[b] = true
	}
	for _, s := range p.Stages {
		w.stage(s, result)
	}
	w.WriteString("}\n")
}

func (w *programWriter) stage(s *Stage, result map[*Buffer]bool) {
	w.WriteString("  ")
	for i, b := range s.Outs {
		if i > 0 {
			w.WriteString(", ")
		}
		w.WriteString(w.name(b))
	}
	loops := func(axes []*Axis) string {
		parts := make([]string, len(axes))
		for i, a := range axes {
			parts[i] = fmt.Sprintf("%s < %s", w.ax(a), w.expr(a.Extent))
		}
		return strings.Join(parts, ", ")
	}
	fmt.Fprintf(w, "[%s]", loops(s.Axes))
	if slices.ContainsFunc(s.Outs, func(b *Buffer) bool { return !result[b] }) {
		types := make([]string, len(s.Outs))
		for i, b := range s.Outs {
			types[i] = b.DType.String()
			if s.Kind == ScatterStage || !SameDims(b.Dims, extents(s.Axes)) {
				types[i] = w.dims(b.Dims) + " " + types[i]
			}
		}
		fmt.Fprintf(w, " %s", strings.Join(types, ", "))
	}
	w.WriteString(" = ")
	switch s.Kind {
	case ReduceStage:
		fmt.Fprintf(w, "%s(%s) ", s.Monoid, loops(s.Red))
	case ScanStage:
		fmt.Fprintf(w, "scan %s(%s", s.Monoid, w.ax(s.ScanAxis))
		if s.Exclusive {
			w.WriteString(", exclusive")
		}
		if s.Reverse {
			w.WriteString(", reverse")
		}
		w.WriteString(") ")
	case ScatterStage:
		fmt.Fprintf(w, "scatter %s(%s, [%s]) ", s.Monoid, w.name(s.Base), w.list(s.Index))
	}
	w.WriteString(w.list(s.Exprs))
	w.hints(s)
	w.WriteByte('\n')
}

// hints stand behind a stage's expressions: sparse(X finite, W) wanted(M[i, j] any).
func (w *programWriter) hints(s *Stage) {
	if len(s.Sparse) > 0 {
		parts := make([]string, len(s.Sparse))
		for i, h := range s.Sparse {
			if parts[i] = w.name(h.Buffer); h.Finite {
				parts[i] += " finite"
			}
		}
		fmt.Fprintf(w, " sparse(%s)", strings.Join(parts, ", "))
	}
	if s.Wanted != nil {
		text := w.scalar(s.Wanted)
		switch {
		case s.Any:
			text = "(" + text + " any)"
		case infix[s.Wanted.Op] == "": // others are in parentheses already
			text = "(" + text + ")"
		}
		w.WriteString(" wanted" + text)
	}
}

func (w *programWriter) list(list []*Scalar) string {
	parts := make([]string, len(list))
	for i, x := range list {
		parts[i] = w.scalar(x)
	}
	return strings.Join(parts, ", ")
}

// infix operators are printed between their operands, always in parentheses.
var infix = map[ScalarOp]string{OpAdd: "+", OpSub: "-", OpMul: "*", OpDiv: "/", OpFloorDiv: "//", OpMod: "%", OpEq: "==", OpNe: "!=",
	OpLt: "<", OpLe: "<=", OpGt: ">", OpGe: ">=", OpAnd: "&", OpOr: "|", OpXor: "^"}

func (w *programWriter) scalar(x *Scalar) string {
	if w.deep > 0 {
		if w.deep == 1 && len(x.Args) > 0 {
			return ".."
		}
		w.deep--
		defer func() { w.deep++ }()
	}
	switch x.Op {
	case OpLit:
		return literal(x.Lit)
	case OpAxis:
		return w.ax(x.Axis)
	case OpSym:
		return "{" + w.expr(x.Sym) + "}"
	case OpLoad:
		return w.name(x.Buf) + "[" + w.list(x.Args) + "]"
	case OpCast:
		opts := ""
		if x.Cast.NoSaturate {
			opts += ", wrap"
		}
		if x.Cast.RoundMode != "" && x.Cast.RoundMode != "up" {
			opts += ", " + x.Cast.RoundMode
		}
		return x.DType.String() + "(" + w.scalar(x.Args[0]) + opts + ")"
	}
	if s := infix[x.Op]; s != "" {
		return "(" + w.scalar(x.Args[0]) + " " + s + " " + w.scalar(x.Args[1]) + ")"
	}
	return x.Op.String() + "(" + w.list(x.Args) + ")"
}

// literal writes a scalar constant: an i64 as a number, anything else with its type.
func literal(t *tensor.Tensor) string {
	v := string(t.AppendText(nil, 0))
	switch {
	case t.DType() == tensor.I64:
		return v
	case t.DType().IsComplex(): // in braces, or it would look like a cast
		v = "{" + v + "}"
	}
	return t.DType().String() + " " + v
}
