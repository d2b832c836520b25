package sym

import (
	"math"
	"strconv"
	"strings"
)

// String gives e in the text form that Parse reads, in the order of the normal form:
//
//	batch*seq + 2*n - 1    n // 4    n % 4    ceildiv(a, b)    max(a, b, 1)
//
// Names that are not identifiers or that a function has are quoted. An expression
// without value prints as invalid(why), which Parse does not read.
func (e Expr) String() string {
	if err := e.Err(); err != nil {
		return "invalid(" + err.Error() + ")"
	}
	if e.p == nil {
		return "0"
	}
	if name, ok := e.Symbol(); ok {
		return quoteName(name)
	}
	var b strings.Builder
	e.write(&b)
	return b.String()
}

func (e Expr) write(b *strings.Builder) {
	if e.p == nil {
		b.WriteByte('0')
	}
	for i, t := range e.terms() {
		ceil := t.ceilFactor()
		negative := (t.coef < 0) != (ceil >= 0)
		lowest := t.coef == math.MinInt64 // a number only with its sign
		switch {
		case i > 0 && negative && !lowest:
			b.WriteString(" - ")
		case i > 0:
			b.WriteString(" + ")
		}
		if negative && (i == 0 || lowest) {
			b.WriteByte('-')
		}
		t.write(b, ceil, i == 0 && negative)
	}
}

// ceilFactor is the place of the factor -((-a) // b) that reads better as
// ceildiv(a, b), -1 if there is none.
func (t term) ceilFactor() int {
	for i, a := range t.mono {
		if a.kind == floorDivAtom && t.coef != math.MinInt64 {
			if ts := a.args[0].terms(); len(ts) > 0 && ts[0].coef < 0 && a.args[0].Neg().Err() == nil {
				return i
			}
		}
	}
	return -1
}

// write prints a term without its sign.
func (t term) write(b *strings.Builder, ceil int, afterMinus bool) {
	n := magnitude(t.coef)
	if n != 1 || len(t.mono) == 0 {
		b.WriteString(strconv.FormatUint(n, 10))
	}
	bare := n == 1 && len(t.mono) == 1 && !afterMinus // a division needs no parentheses
	for i := 0; i < len(t.mono); {
		a, power := t.mono[i], 1
		if i != ceil {
			for i+power < len(t.mono) && i+power != ceil && compareAtom(a, t.mono[i+power]) == 0 {
				power++
			}
		}
		if i > 0 || n != 1 {
			b.WriteByte('*')
		}
		if i == ceil {
			writeCall(b, "ceildiv", a.args[0].Neg(), a.args[1])
		} else {
			a.write(b, bare)
		}
		if power > 1 {
			b.WriteString("**" + strconv.Itoa(power))
		}
		i += power
	}
}

func (a *atom) write(b *strings.Builder, bare bool) {
	switch a.kind {
	case symbolAtom:
		b.WriteString(quoteName(a.name))
	case minAtom:
		writeCall(b, "min", a.args...)
	case maxAtom:
		writeCall(b, "max", a.args...)
	default:
		if !bare {
			b.WriteByte('(')
		}
		writeOperand(b, a.args[0])
		if a.kind == modAtom {
			b.WriteString(" % ")
		} else {
			b.WriteString(" // ")
		}
		writeOperand(b, a.args[1])
		if !bare {
			b.WriteByte(')')
		}
	}
}

func writeCall(b *strings.Builder, name string, args ...Expr) {
	b.WriteString(name)
	for i, x := range args {
		if i == 0 {
			b.WriteByte('(')
		} else {
			b.WriteString(", ")
		}
		x.write(b)
	}
	b.WriteByte(')')
}

// writeOperand prints an operand of a division, in parentheses unless it is a name, a
// call or a number.
func writeOperand(b *strings.Builder, e Expr) {
	n, isConst := e.Int()
	a := e.loneAtom()
	if isConst && n >= 0 || a != nil && a.kind != floorDivAtom && a.kind != modAtom {
		e.write(b)
		return
	}
	b.WriteByte('(')
	e.write(b)
	b.WriteByte(')')
}

func quoteName(s string) string {
	if isIdent(s) && functions[strings.ToLower(s)].arity == 0 {
		return s
	}
	return strconv.Quote(s)
}

// isIdent says whether a name can stand without quotes. A dot may be in it but not end
// it.
func isIdent(s string) bool {
	return s != "" && identPrefix(s) == len(s)
}

// identPrefix is the length of the identifier that s begins with.
func identPrefix(s string) int {
	n := 0
	for n < len(s) && (isLetter(s[n]) || n > 0 && (isDigit(s[n]) || s[n] == '.')) {
		n++
	}
	for n > 0 && s[n-1] == '.' {
		n--
	}
	return n
}

func isLetter(c byte) bool { return c == '_' || c|0x20 >= 'a' && c|0x20 <= 'z' }
func isDigit(c byte) bool  { return c >= '0' && c <= '9' }

func (t Truth) String() string { return [...]string{"unknown", "true", "false"}[t] }
