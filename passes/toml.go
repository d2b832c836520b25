package passes

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/pelletier/go-toml/v2/unstable"

	"github.com/pitopt/pitopt/core/diag"
)

// The parser comes from go-toml and not from the better known BurntSushi/toml because it
// gives the syntax tree, with comments and with the place of every key: messages need the
// places, Format needs the comments. Its package is called unstable for its API, which a
// pinned version settles. What TOML says beyond syntax (what may be defined twice, what
// extends what) is checked here while the tree of tables is built.

// document is a TOML file as a tree of tables.
type document struct {
	name  string
	src   []byte
	lines []int // offsets where lines start
	root  *table
	head  []string // comments set off from what follows at the start of the file
	foot  []string // comments at its end
}

// table is a table, however it was written.
type table struct {
	form    tableForm
	at      int // offset
	entries []*entry
	byKey   map[string]*entry
	tail    []string // comments after the last entry
}

// tableForm says how a table was written, which decides what may still be added to it.
type tableForm int

const (
	implicit tableForm = iota // by a longer header: [dims.batch] makes dims
	header                    // by its own header
	dotted                    // by a dotted key: dims.batch = {} makes dims
	inline                    // in braces, complete
)

// entry is a key with its value.
type entry struct {
	key string
	at  int // offset
	val *value
}

// value is a value with the comments around it. Its any is a string, int64, float64,
// bool, date, *table or *array.
type value struct {
	at    int // offset
	any   any
	lead  []string // comment lines before; "" is an empty line
	trail string   // comment behind, on the same line
}

// date is a date or a time. No key takes one.
type date string

// array is an array; one of tables with a header each can grow.
type array struct {
	headers bool
	items   []*value
	tail    []string // comments after the last item
}

// maxDepth bounds the nesting of values and the parts of a key.
const maxDepth = 16

func parseTOML(name string, src []byte) (*document, error) {
	src = bytes.TrimPrefix(src, []byte("\ufeff"))
	d := &document{name: name, src: src, root: newTable(header, 0)}
	if len(src) > maxFile {
		return nil, diag.New(diag.Pipeline, "the file is larger than %d KiB", maxFile>>10).In(name).
			Hint("a pipeline names passes, dims and values; it holds no data")
	}
	d.lines = append(d.lines, 0)
	for i, c := range src {
		if c == '\n' {
			d.lines = append(d.lines, i+1)
		}
	}
	b := &treeBuilder{document: d, current: d.root}
	b.parser.KeepComments = true
	b.parser.Reset(src)
	for b.parser.NextExpression() {
		if err := b.expression(b.parser.Expression()); err != nil {
			return nil, err
		}
	}
	if err := b.parser.Error(); err != nil {
		return nil, d.syntaxError(&b.parser, err)
	}
	tail, foot := splitTail(append(b.pending, ""))
	b.current.tail = append(b.current.tail, tail...)
	d.foot = trimBlank(foot)
	return d, nil
}

// place gives FILE:LINE:COL of an offset; columns count bytes from 1, as Go's tools do.
func (d *document) place(at int) string {
	line := d.line(at)
	return fmt.Sprintf("%s:%d:%d", d.name, line, at-d.lines[line-1]+1)
}

// line gives the line of an offset, from 1.
func (d *document) line(at int) int {
	line, found := slices.BinarySearch(d.lines, at)
	if found {
		line++
	}
	return line
}

func (d *document) errorf(at int, format string, args ...any) *diag.Error {
	return diag.New(diag.Pipeline, format, args...).In(d.place(at))
}

func (d *document) syntaxError(p *unstable.Parser, err error) error {
	var pe *unstable.ParserError
	if !errors.As(err, &pe) {
		return d.errorf(0, "not valid TOML: %v", err)
	}
	at := min(int(p.Range(pe.Highlight).Offset), len(d.src))
	e := d.errorf(at, "not valid TOML: %s", pe.Message)
	if m := unquoted.FindSubmatch(d.src[d.lines[d.line(at)-1]:]); m != nil {
		return e.Hint("text stands in double quotes: %q", m[1])
	}
	return e.Hint("see https://toml.io/en/v1.0.0")
}

// unquoted is a line whose value looks like text without quotes, the most common slip.
var unquoted = regexp.MustCompile(`^[^=#"'\n]*=[ \t]*([\w./-]{1,64})[ \t]*(?:#.*)?(?:\r?\n|$)`)

// treeBuilder puts the expressions of a file, one after the other, into the tree.
type treeBuilder struct {
	*document
	parser  unstable.Parser
	current *table   // where key = value goes
	pending []string // comments that wait for what follows them; "" is an empty line
	started bool     // a key or a header has been seen
}

func newTable(form tableForm, at int) *table {
	return &table{form: form, at: at, byKey: map[string]*entry{}}
}

func (t *table) add(e *entry) {
	t.entries = append(t.entries, e)
	t.byKey[e.key] = e
}

func (b *treeBuilder) expression(n *unstable.Node) error {
	switch n.Kind {
	case unstable.Comment:
		b.comment(int(n.Raw.Offset), n)
		return nil
	case unstable.KeyValue:
		b.blank(int(n.Raw.Offset))
		lead := b.take(false)
		v, err := b.keyValue(b.current, n, 0)
		if err != nil {
			return err
		}
		v.lead, v.trail = lead, trailing(n)
		return nil
	}
	keys, err := b.keys(n)
	if err != nil {
		return err
	}
	at := bytes.LastIndexByte(b.src[:keys[0].at], '[')
	if n.Kind == unstable.ArrayTable {
		at--
	}
	b.blank(at)
	lead := b.take(true)
	v, err := b.header(keys, at, n.Kind == unstable.ArrayTable)
	if err != nil {
		return err
	}
	v.lead, v.trail = lead, trailing(n)
	b.current = v.any.(*table)
	return nil
}

// keyAt is one part of a key.
type keyAt struct {
	name string
	at   int
	end  int
}

func (b *treeBuilder) keys(n *unstable.Node) ([]keyAt, error) {
	var keys []keyAt
	for it := n.Key(); it.Next(); {
		k := it.Node()
		at := int(k.Raw.Offset)
		if len(keys) == maxDepth {
			return nil, b.errorf(at, "a key of more than %d parts", maxDepth).Hint("no key of a pipeline has more than 3")
		}
		if k.Raw.Length > maxText {
			return nil, b.errorf(at, "a key of %d bytes", k.Raw.Length).Hint("keys have at most %d", maxText)
		}
		keys = append(keys, keyAt{string(k.Data), at, at + int(k.Raw.Length)})
	}
	return keys, nil
}

// header enters [a.b] or [[a.b]] and gives the table it opens.
func (b *treeBuilder) header(keys []keyAt, at int, list bool) (*value, error) {
	t := b.root
	for _, k := range keys[:len(keys)-1] {
		e := t.byKey[k.name]
		if e == nil {
			e = &entry{k.name, k.at, &value{at: at, any: newTable(implicit, at)}}
			t.add(e)
		}
		switch v := e.val.any.(type) {
		case *table:
			if v.form == inline {
				return nil, b.twice(k.at, e, "put all of its keys into the braces")
			}
			t = v
		case *array:
			if !v.headers {
				return nil, b.twice(k.at, e, "write [["+k.name+"]] throughout")
			}
			t = v.items[len(v.items)-1].any.(*table)
		default:
			return nil, b.twice(k.at, e, "keep one of the two")
		}
	}
	k := keys[len(keys)-1]
	e := t.byKey[k.name]
	v := &value{at: at, any: newTable(header, at)}
	switch {
	case list && e == nil:
		t.add(&entry{k.name, at, &value{at: at, any: &array{headers: true, items: []*value{v}}}})
		return v, nil
	case list:
		if a, ok := e.val.any.(*array); ok && a.headers {
			a.items = append(a.items, v)
			return v, nil
		}
		return nil, b.twice(at, e, "write [["+k.name+"]] throughout")
	case e == nil:
		t.add(&entry{k.name, at, v})
		return v, nil
	}
	if old, ok := e.val.any.(*table); ok && old.form == implicit {
		old.form, old.at, e.at, e.val.at = header, at, at, at
		return e.val, nil
	}
	if a, ok := e.val.any.(*array); ok && a.headers {
		return nil, b.errorf(at, "[%s] after [[%s]]", k.name, k.name).Hint("write [[%s]] throughout", k.name)
	}
	return nil, b.twice(at, e, "put its keys together")
}

// keyValue enters key = value into a table.
func (b *treeBuilder) keyValue(t *table, n *unstable.Node, depth int) (*value, error) {
	keys, err := b.keys(n)
	if err != nil {
		return nil, err
	}
	for _, k := range keys[:len(keys)-1] {
		e := t.byKey[k.name]
		if e == nil {
			e = &entry{k.name, k.at, &value{at: k.at, any: newTable(dotted, k.at)}}
			t.add(e)
		}
		next, ok := e.val.any.(*table)
		if !ok || next.form != dotted {
			return nil, b.twice(k.at, e, "put its keys together")
		}
		t = next
	}
	k := keys[len(keys)-1]
	if e := t.byKey[k.name]; e != nil {
		return nil, b.twice(k.at, e, "keep one of the two")
	}
	at := k.end // the value follows the key, "=" and spaces
	for at < len(b.src) && strings.IndexByte(" \t=", b.src[at]) >= 0 {
		at++
	}
	v, err := b.value(n.Value(), at, depth)
	if err != nil {
		return nil, err
	}
	t.add(&entry{k.name, k.at, v})
	return v, nil
}

// twice says that a key is there already.
func (b *treeBuilder) twice(at int, first *entry, hint string) error {
	return b.errorf(at, "%q is set again; it was set in line %d", first.key, b.line(first.at)).Hint("%s", hint)
}

// value converts a value that starts at the given offset.
func (b *treeBuilder) value(n *unstable.Node, at, depth int) (*value, error) {
	if n.Raw.Length > 0 {
		at = int(n.Raw.Offset)
	}
	if depth == maxDepth {
		return nil, b.errorf(at, "values nested more than %d deep", maxDepth).Hint("no key of a pipeline needs more than 2")
	}
	v := &value{at: at}
	text := string(n.Data)
	var err error
	switch n.Kind {
	case unstable.String:
		v.any = text
	case unstable.Bool:
		v.any = text == "true"
	case unstable.Integer:
		v.any, err = strconv.ParseInt(strings.ReplaceAll(text, "_", ""), 0, 64)
	case unstable.Float:
		v.any, err = strconv.ParseFloat(strings.ReplaceAll(text, "_", ""), 64)
	case unstable.Array:
		return v, b.array(v, n, depth)
	case unstable.InlineTable:
		return v, b.inlineTable(v, n, depth)
	default:
		v.any = date(text)
	}
	if err != nil {
		return nil, b.errorf(at, "the number %.64s does not fit 64 bits", text).Hint("write a smaller one")
	}
	return v, nil
}

func (b *treeBuilder) array(v *value, n *unstable.Node, depth int) error {
	a := &array{}
	v.any = a
	c := container{b: b}
	for it := n.Children(); it.Next(); {
		if it.Node().Kind == unstable.Comment {
			c.comments(it.Node())
			continue
		}
		item, err := b.value(it.Node(), v.at, depth+1)
		if err != nil {
			return err
		}
		c.item(item)
		a.items = append(a.items, item)
	}
	a.tail = c.pending
	return nil
}

func (b *treeBuilder) inlineTable(v *value, n *unstable.Node, depth int) error {
	t := newTable(dotted, v.at) // until it is complete
	v.any = t
	c := container{b: b}
	for it := n.Children(); it.Next(); {
		if it.Node().Kind == unstable.Comment {
			c.comments(it.Node())
			continue
		}
		item, err := b.keyValue(t, it.Node(), depth+1)
		if err != nil {
			return err
		}
		c.item(item)
	}
	t.tail = c.pending
	t.complete()
	return nil
}

// complete closes a table in braces and those its dotted keys made.
func (t *table) complete() {
	t.form = inline
	for _, e := range t.entries {
		if sub, ok := e.val.any.(*table); ok && sub.form == dotted {
			sub.complete()
		}
	}
}

// container sorts the comments inside brackets and braces to the items around them.
type container struct {
	b       *treeBuilder
	last    *value
	pending []string
}

func (c *container) item(v *value) {
	v.lead, c.pending, c.last = c.pending, nil, v
}

// comments takes a run of comments, which the parser hangs onto the first of them.
func (c *container) comments(n *unstable.Node) {
	at := int(n.Raw.Offset)
	start := c.b.lines[c.b.line(at)-1]
	if c.last != nil && len(c.pending) == 0 && len(bytes.TrimSpace(c.b.src[start:at])) > 0 {
		c.last.trail = commentText(n)
	} else {
		c.pending = append(c.pending, commentText(n))
	}
	for it := n.Children(); it.Next(); {
		c.pending = append(c.pending, commentText(it.Node()))
	}
}

func commentText(n *unstable.Node) string { return strings.TrimRight(string(n.Data), " \t\r") }

// trailing is the comment on the line of an expression.
func trailing(n *unstable.Node) string {
	if c := n.Next(); c.Valid() && c.Kind == unstable.Comment {
		return commentText(c)
	}
	return ""
}

func (b *treeBuilder) comment(at int, n *unstable.Node) {
	b.blank(at)
	b.pending = append(b.pending, commentText(n))
}

// blank notes an empty line before the line of an offset.
func (b *treeBuilder) blank(at int) {
	line := b.line(at)
	if line < 2 || len(bytes.TrimSpace(b.src[b.lines[line-2]:b.lines[line-1]])) > 0 {
		return
	}
	b.pending = append(b.pending, "")
}

// take gives the comments that belong to what comes now. Before the first key, those set
// off by an empty line are about the file; before a header, those that follow the last
// key at once and are set off from the header are about the table that ends.
func (b *treeBuilder) take(header bool) []string {
	lead := b.pending
	b.pending = nil
	if !b.started {
		b.started = true
		if i := lastIndex(lead, ""); i >= 0 {
			b.head, lead = trimBlank(lead[:i]), lead[i+1:]
		}
		return lead
	}
	if header {
		var tail []string
		tail, lead = splitTail(lead)
		b.current.tail = append(b.current.tail, tail...)
	}
	return lead
}

// splitTail splits off the comments before the first empty line, if there is one.
func splitTail(lines []string) (tail, rest []string) {
	if i := slices.Index(lines, ""); i > 0 {
		return lines[:i], lines[i:]
	}
	return nil, lines
}

func lastIndex(lines []string, line string) int {
	for i := len(lines) - 1; i >= 0; i-- {
		if lines[i] == line {
			return i
		}
	}
	return -1
}

// trimBlank takes empty lines off both ends.
func trimBlank(lines []string) []string {
	for len(lines) > 0 && lines[0] == "" {
		lines = lines[1:]
	}
	for len(lines) > 0 && lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	return lines
}

// sortBy puts entries into the order of keys; others keep their order behind them.
func (t *table) sortBy(keys []string) {
	rank := func(e *entry) int {
		if i := slices.Index(keys, e.key); i >= 0 {
			return i
		}
		return len(keys)
	}
	slices.SortStableFunc(t.entries, func(a, b *entry) int { return cmp.Compare(rank(a), rank(b)) })
}
