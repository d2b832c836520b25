package passes

import (
	"bytes"
	"strings"

	"github.com/BurntSushi/toml"

	"github.com/pitopt/pitopt/core/diag"
)

// Format writes a pipeline file in canonical form: one space around =, no space at the
// ends of lines, one empty line before each table, comments where they were. What it
// says stays the same; that is checked before the text is given out.
func Format(name string, src []byte) ([]byte, error) {
	var out []string
	open := "" // of a multi-line string: its quotes
	depth := 0 // of a multi-line array
	for _, line := range strings.Split(strings.ReplaceAll(string(src), "\r\n", "\n"), "\n") {
		if open != "" || depth > 0 {
			open, depth = scan(line, open, depth)
			out = append(out, line)
			continue
		}
		text := strings.TrimSpace(line)
		switch {
		case text == "":
			if len(out) > 0 && out[len(out)-1] != "" {
				out = append(out, "")
			}
			continue
		case text[0] == '[':
			out = spaceTable(out)
		case text[0] != '#':
			text = spaceEquals(text)
		}
		out = append(out, text)
		open, depth = scan(text, "", 0)
	}
	for len(out) > 0 && out[len(out)-1] == "" {
		out = out[:len(out)-1]
	}
	res := []byte(strings.Join(out, "\n") + "\n")
	if !sameTOML(src, res) {
		return nil, diag.New(diag.Pipeline, "can not be written in canonical form without changing what it says").In(name)
	}
	return res, nil
}

// spaceTable makes an empty line before a table, in front of the comments that belong
// to it.
func spaceTable(out []string) []string {
	i := len(out)
	for i > 0 && strings.HasPrefix(out[i-1], "#") {
		i--
	}
	if i == 0 || out[i-1] == "" {
		return out
	}
	return append(out[:i:i], append([]string{""}, out[i:]...)...)
}

// spaceEquals puts one space on each side of the first = that is not in a quoted key.
func spaceEquals(line string) string {
	quote := byte(0)
	for i := range len(line) {
		switch c := line[i]; {
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case quote == 0 && c == '=':
			return strings.TrimSpace(line[:i]) + " = " + strings.TrimSpace(line[i+1:])
		}
	}
	return line
}

// scan follows a line through strings and brackets: which multi-line string, and how
// deep a bracket, is open at its end.
func scan(line, open string, depth int) (string, int) {
	for i := 0; i < len(line); {
		rest := line[i:]
		switch {
		case open != "":
			switch {
			case open[0] == '"' && rest[0] == '\\':
				i++
			case strings.HasPrefix(rest, open):
				i += len(open) - 1
				open = ""
			}
			i++
		case strings.HasPrefix(rest, `"""`), strings.HasPrefix(rest, "'''"):
			open = rest[:3]
			i += 3
		case rest[0] == '"' || rest[0] == '\'':
			open = rest[:1]
			i++
		case rest[0] == '#':
			return "", depth
		default:
			switch rest[0] {
			case '[', '{':
				depth++
			case ']', '}':
				depth--
			}
			i++
		}
	}
	if len(open) == 1 { // a string of one quote ends with its line
		open = ""
	}
	return open, max(depth, 0)
}

// sameTOML says whether two texts decode to the same document.
func sameTOML(a, b []byte) bool {
	var x, y map[string]any
	if _, err := toml.Decode(string(a), &x); err != nil {
		return false
	}
	if _, err := toml.Decode(string(b), &y); err != nil {
		return false
	}
	var p, q bytes.Buffer
	if toml.NewEncoder(&p).Encode(x) != nil || toml.NewEncoder(&q).Encode(y) != nil {
		return false
	}
	return p.String() == q.String()
}
