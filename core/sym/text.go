package sym

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// String gives e in the text form that Parse reads: batch*seq + 2*n - 1, n // 4,
// n % 4, min(a, b), max(a, b).
func (e Expr) String() string {
	if e.p == nil {
		return "0"
	}
	if e.p.bad != nil {
		return "invalid(" + e.p.bad.Error() + ")"
	}
	var b strings.Builder
	for i, t := range e.p.terms {
		c := t.coef
		switch {
		case i > 0 && c < 0:
			b.WriteString(" - ")
		case i > 0:
			b.WriteString(" + ")
		case c < 0:
			b.WriteString("-")
		}
		u := abs(c)
		if u != 1 || len(t.mono) == 0 {
			b.WriteString(strconv.FormatUint(u, 10))
			if len(t.mono) > 0 {
				b.WriteByte('*')
			}
		}
		for j, a := range t.mono {
			if j > 0 {
				b.WriteByte('*')
			}
			a.write(&b, len(t.mono) > 1 || u != 1 || i > 0 || len(e.p.terms) > 1 || c < 0)
		}
	}
	return b.String()
}

func (a *atom) write(b *strings.Builder, nested bool) {
	switch a.kind {
	case symbolAtom:
		b.WriteString(quoteName(a.name))
	case minAtom, maxAtom:
		b.WriteString(map[atomKind]string{minAtom: "min(", maxAtom: "max("}[a.kind])
		for i, x := range a.args {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(x.String())
		}
		b.WriteByte(')')
	default:
		if nested {
			b.WriteByte('(')
		}
		operand := func(x Expr) {
			_, lone := x.loneAtom()
			n, isInt := x.Int()
			if s, ok := x.Symbol(); ok {
				b.WriteString(quoteName(s))
			} else if isInt && n >= 0 {
				b.WriteString(x.String())
			} else if a, _ := x.loneAtom(); lone && (a.kind == minAtom || a.kind == maxAtom) {
				b.WriteString(x.String())
			} else {
				b.WriteString("(" + x.String() + ")")
			}
		}
		operand(a.args[0])
		b.WriteString(map[atomKind]string{floorDivAtom: " // ", modAtom: " % "}[a.kind])
		operand(a.args[1])
		if nested {
			b.WriteByte(')')
		}
	}
}

var functions = map[string]bool{"min": true, "max": true, "floor": true, "ceil": true, "ceiling": true, "floordiv": true,
	"ceildiv": true, "mod": true, "floortoint": true, "ceiltoint": true, "invalid": true}

func quoteName(s string) string {
	if isIdent(s) && !functions[strings.ToLower(s)] {
		return s
	}
	return strconv.Quote(s)
}

func isIdent(s string) bool {
	if s == "" || s[len(s)-1] == '.' {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if !(c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || i > 0 && (c >= '0' && c <= '9' || c == '.')) {
			return false
		}
	}
	return true
}

// ParseDim reads a dim_param of ONNX: an expression where it parses as one, else the
// whole string is the name of a symbol.
func ParseDim(s string) Expr {
	if e, err := Parse(s); err == nil {
		return e
	}
	return Var(s)
}

// Parse reads an expression. Operators are + - * // % ** with Python's precedence;
// functions min, max, floor, ceil, floordiv, ceildiv, mod in any case. A bare / is
// taken inside floor and ceil alone.
func Parse(s string) (Expr, error) {
	p := &parser{s: s}
	e, err := p.sum(0)
	if err != nil {
		return Expr{}, err
	}
	p.space()
	if p.at < len(s) {
		return Expr{}, p.errorf("unexpected %q", s[p.at:])
	}
	if err := e.bad(); err != nil {
		return Expr{}, err
	}
	return e, nil
}

type parser struct {
	s  string
	at int
}

const maxDepth = 200

func (p *parser) errorf(format string, args ...any) error {
	return fmt.Errorf("symbolic expression %.60q, column %d: %s", p.s, p.at+1, fmt.Sprintf(format, args...))
}

func (p *parser) space() {
	for p.at < len(p.s) && (p.s[p.at] == ' ' || p.s[p.at] == '\t') {
		p.at++
	}
}

func (p *parser) take(tok string) bool {
	p.space()
	if strings.HasPrefix(p.s[p.at:], tok) {
		p.at += len(tok)
		return true
	}
	return false
}

func (p *parser) peek() byte {
	p.space()
	if p.at < len(p.s) {
		return p.s[p.at]
	}
	return 0
}

func (p *parser) sum(depth int) (Expr, error) {
	e, err := p.product(depth)
	for err == nil {
		var f Expr
		switch p.peek() {
		case '+':
			p.at++
			if f, err = p.product(depth); err == nil {
				e = e.Add(f)
			}
		case '-':
			p.at++
			if f, err = p.product(depth); err == nil {
				e = e.Sub(f)
			}
		default:
			return e, nil
		}
	}
	return e, err
}

func (p *parser) product(depth int) (Expr, error) {
	e, err := p.unary(depth)
	for err == nil {
		var f Expr
		switch {
		case p.take("//"):
			if f, err = p.unary(depth); err == nil {
				e = e.FloorDiv(f)
			}
		case p.peek() == '*' && !strings.HasPrefix(p.s[p.at:], "**"):
			p.at++
			if f, err = p.unary(depth); err == nil {
				e = e.Mul(f)
			}
		case p.peek() == '%':
			p.at++
			if f, err = p.unary(depth); err == nil {
				e = e.Mod(f)
			}
		default:
			return e, nil
		}
	}
	return e, err
}

func (p *parser) unary(depth int) (Expr, error) {
	if depth > maxDepth {
		return Expr{}, p.errorf("nested deeper than %d", maxDepth)
	}
	switch p.peek() {
	case '-':
		p.at++
		e, err := p.unary(depth + 1)
		return e.Neg(), err
	case '+':
		p.at++
		return p.unary(depth + 1)
	}
	base, err := p.primary(depth)
	if err != nil || !p.take("**") {
		return base, err
	}
	exp, err := p.unary(depth + 1)
	if err != nil {
		return Expr{}, err
	}
	n, ok := exp.Int()
	if !ok || n < 0 || n > 16 {
		return Expr{}, p.errorf("exponent %s is not a number from 0 to 16", exp)
	}
	out := Const(1)
	for range n {
		out = out.Mul(base)
	}
	return out, nil
}

func (p *parser) primary(depth int) (Expr, error) {
	c := p.peek()
	start := p.at
	switch {
	case c == '(':
		p.at++
		e, err := p.sum(depth + 1)
		if err == nil && !p.take(")") {
			err = p.errorf("missing )")
		}
		return e, err
	case c == '"':
		q, err := strconv.QuotedPrefix(p.s[p.at:])
		if err != nil {
			return Expr{}, p.errorf("bad quoted name")
		}
		p.at += len(q)
		name, _ := strconv.Unquote(q)
		if name == "" || !utf8.ValidString(name) {
			return Expr{}, p.errorf("bad quoted name")
		}
		return Var(name), nil
	case c >= '0' && c <= '9':
		for p.at < len(p.s) && p.s[p.at] >= '0' && p.s[p.at] <= '9' {
			p.at++
		}
		u, err := strconv.ParseUint(p.s[start:p.at], 10, 64)
		if err != nil || u > 1<<63 {
			return Expr{}, p.errorf("number %s is out of range", p.s[start:p.at])
		}
		if u == 1<<63 {
			return Const(-1 << 63), nil // only right under the minus that prints it
		}
		return Const(int64(u)), nil
	case c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z':
		for p.at < len(p.s) && isIdent(p.s[start:p.at+1]+"x") {
			p.at++
		}
		name := p.s[start:p.at]
		if p.peek() == '(' {
			return p.call(strings.ToLower(name), depth)
		}
		if !isIdent(name) || functions[strings.ToLower(name)] {
			return Expr{}, p.errorf("%q is no name", name)
		}
		return Var(name), nil
	case c == 0:
		return Expr{}, p.errorf("unexpected end")
	}
	return Expr{}, p.errorf("unexpected %q", c)
}

func (p *parser) call(fn string, depth int) (Expr, error) {
	if !functions[fn] || fn == "invalid" {
		return Expr{}, p.errorf("%q is no function", fn)
	}
	p.at++
	var args []Expr
	for {
		e, err := p.sum(depth + 1)
		if err != nil {
			return Expr{}, err
		}
		if p.peek() == '/' && len(args) == 0 && strings.HasPrefix(fn, "floor") != strings.HasPrefix(fn, "ceil") {
			p.at++
			d, err := p.unary(depth + 1)
			if err != nil {
				return Expr{}, err
			}
			if strings.HasPrefix(fn, "floor") {
				e = e.FloorDiv(d)
			} else {
				e = e.CeilDiv(d)
			}
		}
		args = append(args, e)
		if p.take(",") {
			continue
		}
		break
	}
	if !p.take(")") {
		return Expr{}, p.errorf("missing )")
	}
	want := 2
	switch fn {
	case "min", "max":
		want = len(args)
	case "floor", "ceil", "ceiling", "floortoint", "ceiltoint":
		want = 1
	}
	if len(args) != want {
		return Expr{}, p.errorf("%s takes %d arguments", fn, want)
	}
	switch fn {
	case "min":
		return extreme(minAtom, args...), nil
	case "max":
		return extreme(maxAtom, args...), nil
	case "floordiv":
		return args[0].FloorDiv(args[1]), nil
	case "ceildiv":
		return args[0].CeilDiv(args[1]), nil
	case "mod":
		return args[0].Mod(args[1]), nil
	}
	return args[0], nil
}
