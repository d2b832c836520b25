package builtin

import (
	"embed"
	"fmt"
	"path"
	"strings"
	"sync"

	"github.com/pitopt/pitopt/core/ir"
	_ "github.com/pitopt/pitopt/core/op" // patterns are of its operators
	"github.com/pitopt/pitopt/core/text"
)

// rule is a pattern and what takes its place.
type rule struct {
	name    string
	pattern *term
	names   map[string]*term // terms of the pattern by the names of its values
	kind    termKind         // of the statements that it may start at
	op      string
	// rewrite gives what takes the place of a match, nil where it is none after all.
	rewrite func(m *match) *ir.Value
}

// A file of rules is a module. A function @pattern is one, or @pattern_NAME where there
// are several: its parameters are holes, and what it computes is what is looked for.
// What takes its place is the function @replacement, or @replacement_NAME, of the same
// parameters, or what rewrites has for the file. Of types in a pattern,
//
//	[*] f32     is any tensor of floats; other element types are those alone, ? is all
//	[] f32      is a number that is known
//	[n, 4] f32  is a tensor with these dims; a symbol is the same dim wherever it stands
//
//go:embed rules/*.pit
var ruleFiles embed.FS

// rewrites are what takes the place of patterns where it is more than operators in a row.
var rewrites = map[string]func(m *match) *ir.Value{
	"append":              rewriteAppend,
	"attention":           rewriteAttention,
	"layer-normalization": rewriteLayerNormalization,
	"rms-normalization":   rewriteRMSNormalization,
	"rotary-embedding":    rewriteRotaryEmbedding,
	"swish":               rewriteSwish,
}

// rules are the rules of this package, in the order in which they are tried.
var rules = sync.OnceValue(func() (list []*rule) {
	files, err := ruleFiles.ReadDir("rules")
	if err != nil {
		panic(err)
	}
	for _, f := range files {
		src, err := ruleFiles.ReadFile(path.Join("rules", f.Name()))
		if err != nil {
			panic(err)
		}
		name := strings.TrimSuffix(f.Name(), ".pit")
		more, err := readRules(name, src, rewrites[name])
		if err != nil {
			panic(fmt.Sprintf("builtin: %v", err)) // a mistake in a file of this package, seen by any test
		}
		list = append(list, more...)
	}
	return list
})

// readRules reads a file of rules. The function takes the place of replacements.
func readRules(name string, src []byte, rewrite func(*match) *ir.Value) ([]*rule, error) {
	m, err := text.Parse(name, src, nil)
	if err != nil {
		return nil, err
	}
	known := points{}
	var list []*rule
	for _, f := range m.Funcs {
		suffix, ok := strings.CutPrefix(f.Name, "pattern")
		if !ok {
			continue
		}
		r := &rule{name: name + suffix, rewrite: rewrite}
		to := m.Func("replacement" + suffix)
		if to == nil {
			to = m.Func("replacement")
		}
		if to != nil {
			r.rewrite = func(m *match) *ir.Value { return inlined(m, f, to) }
		}
		if r.rewrite == nil {
			return nil, fmt.Errorf("%s: @%s without @replacement%s", name, f.Name, suffix)
		}
		r.pattern, r.names = patternTerms(known, f)
		r.kind, r.op = r.pattern.kind, r.pattern.op
		if r.kind == operatorTerm {
			r.kind = leafTerm
		}
		list = append(list, r)
	}
	return list, nil
}

// inlined writes a replacement in the place of a match.
func inlined(m *match, pattern, to *ir.Func) *ir.Value {
	subst := map[*ir.Value]*ir.Value{}
	for i, p := range to.Params {
		v := m.value(pattern.Params[i].Name)
		if v == nil {
			return nil
		}
		subst[p] = v
	}
	for _, s := range to.Stmts {
		s.EachUse(func(v *ir.Value) {
			if v.Const != nil && subst[v] == nil {
				subst[v] = m.b.Const(v.Const.Tensor)
			}
		})
	}
	return m.b.Inline(&to.Block, subst)[0]
}
