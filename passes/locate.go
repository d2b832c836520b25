package passes

import (
	"strconv"
	"strings"
)

// locate finds where keys stand: paths of keys joined by NUL, entries of arrays of tables
// by number, to line and column. The TOML library does not tell for keys it decoded.
// A key inside an inline table has the place of the key that holds the table, and one
// in a multi-line string that looks like a key may be taken for one; places serve
// messages alone.
func locate(src []byte) map[string][2]int {
	pos := map[string][2]int{}
	count := map[string]int{}
	table := ""
	for i, line := range strings.Split(string(src), "\n") {
		text := strings.TrimLeft(line, " \t")
		col := len(line) - len(text) + 1
		put := func(path string) {
			if _, ok := pos[path]; !ok {
				pos[path] = [2]int{i + 1, col}
			}
		}
		switch {
		case strings.HasPrefix(text, "[["):
			name := keyPath(strings.SplitN(strings.TrimPrefix(text, "[["), "]]", 2)[0])
			put(name)
			table = join(name, strconv.Itoa(count[name]))
			count[name]++
			put(table)
		case strings.HasPrefix(text, "["):
			table = keyPath(strings.SplitN(strings.TrimPrefix(text, "["), "]", 2)[0])
			put(table)
		case text == "" || text[0] == '#':
		default:
			if eq := strings.IndexByte(text, '='); eq > 0 {
				put(join(table, keyPath(text[:eq])))
			}
		}
	}
	return pos
}

// keyPath splits a dotted key; quoted parts are kept whole.
func keyPath(key string) string {
	var parts []string
	part := ""
	quote := byte(0)
	for i := range len(key) {
		switch c := key[i]; {
		case quote != 0 && c == quote:
			quote = 0
		case quote == 0 && (c == '"' || c == '\''):
			quote = c
		case quote == 0 && c == '.':
			parts = append(parts, part)
			part = ""
		case quote == 0 && (c == ' ' || c == '\t'):
		default:
			part += string(c)
		}
	}
	return strings.Join(append(parts, part), "\x00")
}
