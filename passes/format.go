package passes

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// lineWidth is how long a line with brackets or braces may get before it is broken up.
const lineWidth = 100

// Format gives the canonical text of a pipeline file: keys of a table in the order of its
// documentation, one table of the file under one header, small ones inside in braces,
// one way to write each value. Comments stay with what they stood at. The text means what
// src means, and formatting it again changes nothing. A file that Parse refuses is
// refused with the same error.
func Format(name string, src []byte) ([]byte, error) {
	doc, err := parseTOML(name, src)
	if err != nil {
		return nil, err
	}
	if _, err := checkFile(doc); err != nil { // and puts the keys in order
		return nil, err
	}
	p := &printer{}
	if len(doc.head) > 0 {
		p.lines(doc.head)
		p.blank()
	}
	p.table("", doc.root)
	if len(doc.foot) > 0 {
		p.blank()
		p.lines(doc.foot)
	}
	return []byte(p.text.String()), nil
}

// printer writes a document. What it wrote last decides whether an empty line is due.
type printer struct {
	text strings.Builder
	last written
}

type written int

const (
	nothing written = iota
	someLine
	headerLine
	emptyLine
)

func (p *printer) line(kind written, s string) {
	p.text.WriteString(s + "\n")
	p.last = kind
}

// blank writes an empty line between lines that are no headers.
func (p *printer) blank() {
	if p.last == someLine {
		p.line(emptyLine, "")
	}
}

// lines writes comments; "" is an empty line.
func (p *printer) lines(lines []string) {
	for _, l := range lines {
		if l == "" {
			p.blank()
			continue
		}
		p.line(someLine, l)
	}
}

// table writes the content of a table: first what stands in it, then what has a header
// of its own.
func (p *printer) table(path string, t *table) {
	isSub := func(e *entry) bool { return ownHeader(path, e) }
	for _, e := range t.entries {
		if !isSub(e) {
			p.entry(e)
		}
	}
	p.lines(t.tail)
	for _, e := range t.entries {
		if isSub(e) {
			p.sub(path, e)
		}
	}
}

// ownHeader says whether an entry is written under a header: tables of the file are,
// and those inside them that do not fit into braces.
func ownHeader(path string, e *entry) bool {
	switch x := e.val.any.(type) {
	case *table:
		return path == "" || commented(e.val.any) || len(oneLine(e)) > lineWidth
	case *array:
		return len(x.items) > 0 && isTable(x.items[0])
	}
	return false
}

func isTable(v *value) bool { _, ok := v.any.(*table); return ok }

// commented says whether there are comments inside a table or an array.
func commented(v any) bool {
	inside := func(v *value) bool { return len(trimBlank(v.lead)) > 0 || v.trail != "" || commented(v.any) }
	switch x := v.(type) {
	case *table:
		return len(x.tail) > 0 || slices.ContainsFunc(x.entries, func(e *entry) bool { return inside(e.val) })
	case *array:
		return len(x.tail) > 0 || slices.ContainsFunc(x.items, inside)
	}
	return false
}

func (p *printer) entry(e *entry) {
	lead := e.val.lead
	if t, ok := e.val.any.(*table); ok && t.form == header {
		lead = trimBlank(lead) // the empty line was the header's
	}
	p.lines(lead)
	text := oneLine(e)
	if a, ok := e.val.any.(*array); ok && (commented(a) || len(text) > lineWidth) {
		p.line(someLine, keyText(e.key)+" = [")
		for _, item := range a.items {
			for _, c := range trimBlank(item.lead) {
				p.line(someLine, "  "+c)
			}
			p.line(someLine, "  "+withComment(valueText(item.any)+",", item.trail))
		}
		for _, c := range a.tail {
			p.line(someLine, "  "+c)
		}
		text = "]"
	}
	p.line(someLine, withComment(text, e.val.trail))
}

// sub writes an entry under a header, or one header for each table of a list.
func (p *printer) sub(path string, e *entry) {
	path = strings.TrimPrefix(path+"."+keyText(e.key), ".")
	a, ok := e.val.any.(*array)
	if !ok {
		p.headed(path, "["+path+"]", e.val)
		return
	}
	for i, item := range a.items {
		if i == 0 { // comments around a list in brackets
			item.lead = slices.Concat(e.val.lead, nonEmpty(e.val.trail), item.lead)
		}
		if t := item.any.(*table); i == len(a.items)-1 {
			t.tail = slices.Concat(t.tail, a.tail)
		}
		p.headed(path, "[["+path+"]]", item)
	}
}

func nonEmpty(comment string) []string {
	if comment == "" {
		return nil
	}
	return []string{comment}
}

func (p *printer) headed(path, head string, v *value) {
	t := v.any.(*table)
	under := func(e *entry) bool { return ownHeader(path, e) }
	onlySubs := len(t.entries) > 0 && !slices.ContainsFunc(t.entries, func(e *entry) bool { return !under(e) })
	if onlySubs && head[1] != '[' && len(trimBlank(v.lead)) == 0 && v.trail == "" && len(t.tail) == 0 {
		p.table(path, t) // the headers inside say it all
		return
	}
	if p.last == someLine || p.last == headerLine {
		p.line(emptyLine, "")
	}
	p.lines(v.lead)
	p.line(headerLine, withComment(head, v.trail))
	p.table(path, t)
}

func withComment(text, comment string) string {
	if comment == "" {
		return text
	}
	return text + "  " + comment
}

func oneLine(e *entry) string { return keyText(e.key) + " = " + valueText(e.val.any) }

func valueText(v any) string {
	switch x := v.(type) {
	case string:
		return quote(x)
	case bool:
		return strconv.FormatBool(x)
	case int64:
		return strconv.FormatInt(x, 10)
	case float64:
		return floatText(x)
	case *array:
		items := make([]string, len(x.items))
		for i, item := range x.items {
			items[i] = valueText(item.any)
		}
		return "[" + strings.Join(items, ", ") + "]"
	case *table:
		entries := make([]string, len(x.entries))
		for i, e := range x.entries {
			entries[i] = oneLine(e)
		}
		if len(entries) == 0 {
			return "{}"
		}
		return "{ " + strings.Join(entries, ", ") + " }"
	}
	return string(v.(date))
}

func floatText(x float64) string {
	s := strings.ToLower(strconv.FormatFloat(x, 'g', -1, 64))
	if strings.Trim(s, "-0123456789") == "" {
		s += ".0" // or it would be an integer
	}
	return s
}

func keyText(key string) string {
	bare := func(r rune) bool {
		return r == '-' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z'
	}
	if key != "" && strings.TrimLeftFunc(key, bare) == "" {
		return key
	}
	return quote(key)
}

// quote writes a TOML basic string.
func quote(s string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range s {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r < ' ' || r == 0x7f:
			fmt.Fprintf(&b, `\u%04X`, r)
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}
