package sym

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// Limits of what Parse reads.
const (
	maxText    = 1 << 16 // bytes
	maxNesting = 200
)

// ParseDim reads a dim_param of ONNX: an expression where it parses as one that may be
// a size, else the whole string is the name of one symbol. Exporters write both
// "past_seq + seq" and "batch size" or "?".
func ParseDim(s string) Expr {
	if e, err := Parse(s); err == nil {
		if n, ok := e.Int(); !ok || n >= 0 {
			return e
		}
	}
	return Var(s)
}

// Parse reads an expression.
//
// Operators are + - * // % ** with the precedence they have in Python; an exponent is a
// small constant. Functions, in any case, are min, max, floordiv, ceildiv, mod, floor,
// ceil, and the names that PyTorch and SymPy print for these. A bare / is exact
// division: it stands inside of floor or ceil, or where it leaves no remainder. Names
// are identifiers, which may have dots inside, or quoted as in Go.
func Parse(s string) (Expr, error) {
	p := &parser{s: s}
	if len(s) > maxText {
		return Expr{}, p.errorf("longer than %d bytes", maxText)
	}
	e, err := p.integer(p.sum())
	if err != nil {
		return Expr{}, err
	}
	if p.peek() != 0 || p.at < len(s) {
		return Expr{}, p.errorf("unexpected %.20q", s[p.at:])
	}
	if err := e.Err(); err != nil {
		return Expr{}, p.errorf("%w", err)
	}
	return e, nil
}

// ratio is a value on the way: only floor, ceil and exact division make integers of
// ratios.
type ratio struct{ num, den Expr }

func whole(e Expr) ratio { return ratio{e, Const(1)} }

func (x ratio) isWhole() bool { return x.den.IsInt(1) }

func (x ratio) add(y ratio) ratio {
	if x.den.Equal(y.den) {
		return ratio{x.num.Add(y.num), x.den}
	}
	return ratio{x.num.Mul(y.den).Add(y.num.Mul(x.den)), x.den.Mul(y.den)}
}

func (x ratio) mul(y ratio) ratio { return ratio{x.num.Mul(y.num), x.den.Mul(y.den)} }

func (x ratio) neg() ratio { return ratio{x.num.Neg(), x.den} }

func (x ratio) over(y ratio) ratio { return ratio{x.num.Mul(y.den), x.den.Mul(y.num)} }

func floorRatio(x, y ratio) Expr {
	q := x.over(y)
	return q.num.FloorDiv(q.den)
}

type parser struct {
	s     string
	at    int
	depth int
}

func (p *parser) errorf(format string, args ...any) error {
	return fmt.Errorf("symbolic expression %.60q, column %d: %w", p.s, p.at+1, fmt.Errorf(format, args...))
}

// peek is the byte after white space, 0 at the end.
func (p *parser) peek() byte {
	for p.at < len(p.s) {
		if c := p.s[p.at]; c != ' ' && c != '\t' && c != '\n' && c != '\r' {
			return c
		}
		p.at++
	}
	return 0
}

func (p *parser) take(token string) bool {
	p.peek()
	if !strings.HasPrefix(p.s[p.at:], token) {
		return false
	}
	p.at += len(token)
	return true
}

// integer accepts a ratio that is an integer for all values of its symbols.
func (p *parser) integer(x ratio, err error) (Expr, error) {
	if err != nil || x.isWhole() {
		return x.num, err
	}
	if d, ok := x.den.Int(); ok && d != 0 && commonFactor(x.num.terms())%d == 0 {
		if q := x.num.FloorDiv(x.den); q.Err() == nil {
			return q, nil
		}
	}
	return Expr{}, p.errorf("/ that may leave a remainder; write // or floor()")
}

func (p *parser) sum() (ratio, error) {
	x, err := p.product()
	for err == nil {
		minus := p.peek() == '-'
		if !minus && p.peek() != '+' {
			break
		}
		p.at++
		var y ratio
		if y, err = p.product(); minus {
			y = y.neg()
		}
		x = x.add(y)
	}
	return x, err
}

func (p *parser) product() (ratio, error) {
	x, err := p.unary()
	for err == nil {
		var y ratio
		switch {
		case p.take("//"):
			if y, err = p.unary(); err == nil {
				x = whole(floorRatio(x, y))
			}
		case p.take("/"):
			if y, err = p.unary(); err == nil {
				x = x.over(y)
			}
		case p.take("%"):
			if y, err = p.unary(); err != nil {
				break
			}
			var a, b Expr
			if a, err = p.integer(x, nil); err == nil {
				b, err = p.integer(y, nil)
			}
			x = whole(a.Mod(b))
		case p.take("*"): // ** was taken by its base
			y, err = p.unary()
			x = x.mul(y)
		default:
			return x, nil
		}
	}
	return x, err
}

func (p *parser) unary() (ratio, error) {
	negative := false
	for {
		if p.take("-") {
			negative = !negative
		} else if !p.take("+") {
			break
		}
	}
	x, err := p.power()
	switch {
	case negative && x.num.p == twoTo63.p:
		x = whole(Const(math.MinInt64))
	case negative:
		x = x.neg()
	}
	return x, err
}

func (p *parser) power() (ratio, error) {
	if p.depth++; p.depth > maxNesting {
		return ratio{}, p.errorf("nested deeper than %d", maxNesting)
	}
	defer func() { p.depth-- }()
	base, err := p.primary()
	if err != nil || !p.take("**") {
		return base, err
	}
	exp, err := p.integer(p.unary())
	if err != nil {
		return ratio{}, err
	}
	return p.raise(base, exp)
}

func (p *parser) raise(base ratio, exp Expr) (ratio, error) {
	n, ok := exp.Int()
	if !ok || n < 0 || n > maxDegree {
		return ratio{}, p.errorf("exponent is not a constant from 0 to %d", maxDegree)
	}
	out := whole(Const(1))
	for range n {
		out = out.mul(base)
	}
	return out, nil
}

func (p *parser) primary() (ratio, error) {
	switch c := p.peek(); {
	case c == '(':
		p.at++
		x, err := p.sum()
		if err == nil && !p.take(")") {
			err = p.errorf("missing )")
		}
		return x, err
	case c == '"':
		q, err := strconv.QuotedPrefix(p.s[p.at:])
		if err != nil {
			return ratio{}, p.errorf("unfinished name in quotes")
		}
		name, err := strconv.Unquote(q)
		if err != nil || name == "" {
			return ratio{}, p.errorf("bad name %s in quotes", q)
		}
		p.at += len(q)
		return whole(Var(name)), nil
	case isDigit(c):
		return p.number()
	case isLetter(c):
		name := p.s[p.at:][:identPrefix(p.s[p.at:])]
		p.at += len(name)
		if p.at < len(p.s) && p.s[p.at] == '.' {
			return ratio{}, p.errorf("name ends in a dot")
		}
		if p.take("(") {
			return p.call(name)
		}
		return whole(Var(name)), nil
	case c == 0 && p.at == len(p.s):
		return ratio{}, p.errorf("unexpected end")
	}
	return ratio{}, p.errorf("unexpected %.20q", p.s[p.at:])
}

// number reads an integer, or a decimal fraction as SymPy prints it.
func (p *parser) number() (ratio, error) {
	digits := func() string {
		start := p.at
		for p.at < len(p.s) && isDigit(p.s[p.at]) {
			p.at++
		}
		return p.s[start:p.at]
	}
	text, den := digits(), int64(1)
	if p.at+1 < len(p.s) && p.s[p.at] == '.' && isDigit(p.s[p.at+1]) {
		p.at++
		fraction := strings.TrimRight(digits(), "0")
		if len(fraction) > 15 {
			return ratio{}, p.errorf("number %s.%s is too long", text, fraction)
		}
		for range fraction {
			den *= 10
		}
		text += fraction
	}
	if p.at < len(p.s) && (isLetter(p.s[p.at]) || p.s[p.at] == '.') {
		return ratio{}, p.errorf("unexpected %q in a number", p.s[p.at])
	}
	n, err := strconv.ParseUint(text, 10, 64)
	switch {
	case err == nil && n < 1<<63:
		g := max(int64(gcd(n, uint64(den))), 1)
		return ratio{Const(int64(n) / g), Const(den / g)}, nil
	case err == nil && n == 1<<63 && den == 1:
		return whole(twoTo63), nil
	}
	return ratio{}, p.errorf("number %s does not fit 64 bits", text)
}

// twoTo63 stands for a number that only its negative fits.
var twoTo63 = invalid(errOverflow)

// functions by name in lower case, with the number of arguments, -1 for any.
var functions = map[string]struct {
	arity int
	apply func(p *parser, x []ratio) (ratio, error)
}{
	"min":          {-1, integers(func(x []Expr) Expr { return extreme(minAtom, x) })},
	"max":          {-1, integers(func(x []Expr) Expr { return extreme(maxAtom, x) })},
	"mod":          {2, integers(func(x []Expr) Expr { return x[0].Mod(x[1]) })},
	"pythonmod":    {2, integers(func(x []Expr) Expr { return x[0].Mod(x[1]) })},
	"floor":        {1, floorCall},
	"floortoint":   {1, floorCall},
	"ceil":         {1, ceilCall},
	"ceiling":      {1, ceilCall},
	"ceiltoint":    {1, ceilCall},
	"floordiv":     {2, func(p *parser, x []ratio) (ratio, error) { return whole(floorRatio(x[0], x[1])), nil }},
	"cleandiv":     {2, func(p *parser, x []ratio) (ratio, error) { return whole(floorRatio(x[0], x[1])), nil }},
	"ceildiv":      {2, func(p *parser, x []ratio) (ratio, error) { return whole(floorRatio(x[0].neg(), x[1]).Neg()), nil }},
	"inttruediv":   {2, func(p *parser, x []ratio) (ratio, error) { return x[0].over(x[1]), nil }},
	"pow":          {2, powCall},
	"powbynatural": {2, powCall},
}

func integers(f func([]Expr) Expr) func(*parser, []ratio) (ratio, error) {
	return func(p *parser, x []ratio) (ratio, error) {
		args := make([]Expr, len(x))
		for i := range x {
			var err error
			if args[i], err = p.integer(x[i], nil); err != nil {
				return ratio{}, err
			}
		}
		return whole(f(args)), nil
	}
}

func floorCall(p *parser, x []ratio) (ratio, error) {
	return whole(x[0].num.FloorDiv(x[0].den)), nil
}

func ceilCall(p *parser, x []ratio) (ratio, error) {
	return whole(x[0].num.CeilDiv(x[0].den)), nil
}

func powCall(p *parser, x []ratio) (ratio, error) {
	exp, err := p.integer(x[1], nil)
	if err != nil {
		return ratio{}, err
	}
	return p.raise(x[0], exp)
}

// call reads the arguments of a function after the opening parenthesis.
func (p *parser) call(name string) (ratio, error) {
	f, ok := functions[strings.ToLower(name)]
	if !ok {
		return ratio{}, p.errorf("there is no function %.40q", name)
	}
	var args []ratio
	for {
		x, err := p.sum()
		if err != nil {
			return ratio{}, err
		}
		args = append(args, x)
		if !p.take(",") {
			break
		}
	}
	if !p.take(")") {
		return ratio{}, p.errorf("missing )")
	}
	if f.arity > 0 && len(args) != f.arity {
		return ratio{}, p.errorf("%s takes %d arguments, not %d", name, f.arity, len(args))
	}
	return f.apply(p, args)
}
