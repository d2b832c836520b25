package text

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/sym"
)

// Limits on what is read: far above what a model needs, low enough that a hostile file
// costs neither stack nor time.
const (
	maxNesting     = 200   // of regions and types
	maxScalarDepth = 10000 // of a scalar expression: a select for each input of a long Concat
)

// scanner reads tokens. The first error stays; after it everything reads as the end.
type scanner struct {
	file string
	src  string
	at   int
	err  *diag.Error
}

// fail records an error at the current place.
func (s *scanner) fail(format string, args ...any) { s.failAt(s.at, format, args...) }

func (s *scanner) failAt(at int, format string, args ...any) {
	if s.err == nil {
		s.err = diag.New(diag.Malformed, format, args...).In(s.place(at))
		s.at = len(s.src)
	}
}

// place is file, line and column, both from 1.
func (s *scanner) place(at int) string {
	before := s.src[:at]
	line := strings.Count(before, "\n") + 1
	return fmt.Sprintf("%s:%d:%d", s.file, line, at-strings.LastIndexByte(before, '\n'))
}

// space skips blanks and comments.
func (s *scanner) space() {
	for s.at < len(s.src) {
		switch s.src[s.at] {
		case ' ', '\t', '\n', '\r':
			s.at++
		case '#':
			if i := strings.IndexByte(s.src[s.at:], '\n'); i >= 0 {
				s.at += i
			} else {
				s.at = len(s.src)
			}
		default:
			return
		}
	}
}

// here is the place of the next token.
func (s *scanner) here() int {
	s.space()
	return s.at
}

// peek is the next byte after blanks, 0 at the end.
func (s *scanner) peek() byte {
	if s.space(); s.at < len(s.src) {
		return s.src[s.at]
	}
	return 0
}

// take skips a sign if it comes next.
func (s *scanner) take(sign string) bool {
	s.space()
	if strings.HasPrefix(s.src[s.at:], sign) {
		s.at += len(sign)
		return true
	}
	return false
}

// expect skips a sign that must come next.
func (s *scanner) expect(sign string) {
	if !s.take(sign) {
		s.fail("expected %s, found %s", sign, s.found())
	}
}

// found is what comes next, for messages.
func (s *scanner) found() string {
	if s.peek() == 0 {
		return "the end"
	}
	rest := s.src[s.at:min(len(s.src), s.at+40)]
	if i := strings.IndexAny(rest[1:], " \t\r\n,()[]{}"); i >= 0 {
		rest = rest[:i+1]
	}
	return strconv.Quote(rest)
}

func isLetter(c byte) bool { return c == '_' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' }
func isDigit(c byte) bool  { return c >= '0' && c <= '9' }

// ident is the identifier that comes next, "" when there is none; it is not skipped.
// A dot belongs to it when more of it follows.
func (s *scanner) ident() string {
	if !isLetter(s.peek()) {
		return ""
	}
	i := s.at
	for i < len(s.src) && (isLetter(s.src[i]) || isDigit(s.src[i]) || s.src[i] == '.') {
		i++
	}
	return strings.TrimRight(s.src[s.at:i], ".")
}

// word skips a keyword if it comes next.
func (s *scanner) word(w string) bool {
	if s.ident() != w {
		return false
	}
	s.at += len(w)
	return true
}

// name is an identifier or a quoted name, which must come next.
func (s *scanner) name() string {
	if s.peek() == '"' {
		return s.quoted()
	}
	id := s.ident()
	if id == "" {
		s.fail("expected a name, found %s", s.found())
	}
	s.at += len(id)
	return id
}

// quotedText is a quoted string, as it is written.
func (s *scanner) quotedText() string {
	s.space()
	q := ""
	if s.peek() == '"' {
		q, _ = strconv.QuotedPrefix(s.src[s.at:])
	}
	if q == "" {
		s.fail("expected a quoted string, found %s", s.found())
	}
	s.at += len(q)
	return q
}

func (s *scanner) quoted() string {
	v, _ := strconv.Unquote(s.quotedText()) // what QuotedPrefix gives can be unquoted
	return v
}

// number is the number that comes next, as it is written: digits, a decimal point, an
// exponent; 0x and bits; nan or inf.
func (s *scanner) number() string {
	s.space()
	i := s.at
	if i < len(s.src) && s.src[i] == '-' {
		i++
	}
	hex := strings.HasPrefix(s.src[i:], "0x")
	digits := i < len(s.src) && isDigit(s.src[i])
	for ; i < len(s.src); i++ {
		c := s.src[i]
		sign := (c == '+' || c == '-') && digits && !hex && (s.src[i-1] == 'e' || s.src[i-1] == 'E')
		if !isLetter(c) && !isDigit(c) && c != '.' && !sign {
			break
		}
	}
	t := s.src[s.at:i]
	if t == "" || t == "-" {
		s.fail("expected a number, found %s", s.found())
		return ""
	}
	s.at += len(t)
	return t
}

// int is an integer that must come next.
func (s *scanner) int() int64 {
	at := s.here()
	t := s.number()
	n, err := strconv.ParseInt(t, 10, 64)
	if err != nil && s.err == nil {
		s.failAt(at, "%q is no 64-bit integer", t)
	}
	return n
}

// expr is a symbolic expression, up to the comma, closing bracket, comparison or end
// of line behind it.
func (s *scanner) expr() sym.Expr {
	s.space()
	start, depth := s.at, 0
scan:
	for s.at < len(s.src) {
		switch s.src[s.at] {
		case '(':
			depth++
		case ')':
			if depth--; depth < 0 {
				break scan
			}
		case ',':
			if depth == 0 {
				break scan
			}
		case ']', '}', '{', '<', '=', '\n', '#':
			break scan
		case '"':
			_ = s.quotedText()
			continue
		}
		s.at++
	}
	if s.err != nil {
		return sym.Expr{}
	}
	text := strings.TrimSpace(s.src[start:s.at])
	e, err := sym.Parse(text) // which bounds the size of what it makes
	if err != nil {
		s.failAt(start, "%v", err)
	}
	return e
}

// list reads items separated by commas up to the closing sign, which it skips.
func (s *scanner) list(end string, item func()) {
	if s.take(end) {
		return
	}
	for s.err == nil {
		item()
		if s.take(end) {
			return
		}
		s.expect(",")
	}
}

// exprs is a list of symbolic expressions behind its opening bracket.
func (s *scanner) exprs() (out []sym.Expr) {
	s.list("]", func() { out = append(out, s.expr()) })
	return out
}
