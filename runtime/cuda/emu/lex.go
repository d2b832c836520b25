package emu

import (
	"fmt"
	"strconv"
	"strings"
)

// token is a word of PTX.
type token struct {
	kind tokenKind
	text string // of a dotted word without the dot
	val  uint64 // of a number: its bits
	typ  typ    // of a number: s64, u64, f32 (0f...) or f64 (0d... and decimals)
	line int
	glue bool // nothing lies before it
}

type tokenKind uint8

const (
	endOfText tokenKind = iota
	word                // a name: letters, digits, _, $, %
	dotted              // .name
	number
	quoted
	sign // one character of punctuation
)

// parseError is what is wrong with a module, and where.
type parseError struct {
	line int
	msg  string
}

func (e *parseError) Error() string { return fmt.Sprintf("line %d: %s", e.line, e.msg) }

func errorf(line int, format string, args ...any) error {
	return &parseError{line, fmt.Sprintf(format, args...)}
}

func isLetter(c byte) bool { return c|0x20 >= 'a' && c|0x20 <= 'z' }
func isDigit(c byte) bool  { return c >= '0' && c <= '9' }
func isFollow(c byte) bool { return isLetter(c) || isDigit(c) || c == '_' || c == '$' }

// lex cuts text to tokens.
func lex(text string) ([]token, error) {
	out := make([]token, 0, len(text)/4)
	line := 1
	last := -1 // where the last token ended
	for i := 0; i < len(text); {
		c := text[i]
		switch {
		case c == '\n':
			line++
			i++
		case c == ' ' || c == '\t' || c == '\r' || c == '\f' || c == '\v':
			i++
		case c == 0:
			i++ // the end of a C string
		case strings.HasPrefix(text[i:], "//"):
			n := strings.IndexByte(text[i:], '\n')
			if n < 0 {
				n = len(text) - i
			}
			i += n
		case strings.HasPrefix(text[i:], "/*"):
			n := strings.Index(text[i+2:], "*/")
			if n < 0 {
				return nil, errorf(line, "a comment has no end")
			}
			line += strings.Count(text[i:i+2+n], "\n")
			i += n + 4
		default:
			t, n, err := lexOne(text[i:], line)
			if err != nil {
				return nil, err
			}
			t.line, t.glue = line, last == i
			out = append(out, t)
			i += n
			last = i
		}
	}
	return append(out, token{kind: endOfText, line: line}), nil
}

func lexOne(s string, line int) (token, int, error) {
	c := s[0]
	follow := func(from int) int {
		for from < len(s) && isFollow(s[from]) {
			from++
		}
		return from
	}
	switch {
	case isLetter(c) || (c == '_' || c == '$' || c == '%'):
		n := follow(1)
		return token{kind: word, text: s[:n]}, n, nil
	case c == '.' && len(s) > 1 && (isFollow(s[1]) || s[1] == '%'):
		n := follow(1)
		for strings.HasPrefix(s[n:], "::") {
			n = follow(n + 2)
		}
		return token{kind: dotted, text: s[1:n]}, n, nil
	case isDigit(c):
		return lexNumber(s, line)
	case c == '"':
		n := strings.IndexAny(s[1:], "\"\n")
		if n < 0 || s[1+n] == '\n' {
			return token{}, 0, errorf(line, "a string has no end")
		}
		return token{kind: quoted, text: s[1 : 1+n]}, n + 2, nil
	case strings.IndexByte("{}[]()<>,;:@!|+-=&~*/?", c) >= 0:
		return token{kind: sign, text: s[:1]}, 1, nil
	}
	return token{}, 0, errorf(line, "a character that is none of PTX's: %q", rune(c))
}

func lexNumber(s string, line int) (token, int, error) {
	n := 0
	for n < len(s) && (isFollow(s[n]) || s[n] == '.' && n+1 < len(s) && isDigit(s[n+1]) ||
		(s[n] == '-' || s[n] == '+') && (s[n-1]|0x20) == 'e' && !strings.HasPrefix(s, "0x") && !strings.HasPrefix(s, "0X")) {
		n++
	}
	t := s[:n]
	low := strings.ToLower(t)
	bad := func() (token, int, error) { return token{}, 0, errorf(line, "%.40q is no number", t) }
	switch {
	case strings.HasPrefix(low, "0f") && len(t) == 10:
		v, err := strconv.ParseUint(t[2:], 16, 32)
		if err != nil {
			return bad()
		}
		return token{kind: number, text: t, val: v, typ: f32}, n, nil
	case strings.HasPrefix(low, "0d") && len(t) == 18:
		v, err := strconv.ParseUint(t[2:], 16, 64)
		if err != nil {
			return bad()
		}
		return token{kind: number, text: t, val: v, typ: f64}, n, nil
	case !strings.HasPrefix(low, "0x") && strings.ContainsAny(low, ".e"):
		v, err := strconv.ParseFloat(t, 64)
		if err != nil {
			return bad()
		}
		return token{kind: number, text: t, val: float64bits(v), typ: f64}, n, nil
	}
	digits, unsigned := low, false
	if strings.HasSuffix(low, "u") {
		digits, unsigned = low[:len(low)-1], true
	}
	v, err := strconv.ParseUint(digits, 0, 64)
	if err != nil {
		return bad()
	}
	k := s64
	if unsigned || v > 1<<63-1 {
		k = u64
	}
	return token{kind: number, text: t, val: v, typ: k}, n, nil
}
