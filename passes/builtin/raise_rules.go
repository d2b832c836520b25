package builtin

import (
	"embed"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	_ "github.com/pitopt/pitopt/core/op" // patterns are of its operators
	"github.com/pitopt/pitopt/core/text"
)

// rule is a pattern and what takes its place.
type rule struct {
	name    string
	results []*term          // of the pattern
	outputs []*output        // what gives them
	names   map[string]*term // terms of the pattern by the names of its values
	// rewrite gives what takes the place of each result, nil where there is no match after
	// all. Those that are not wanted need none.
	rewrite func(m *match) []*ir.Value
}

// A file of rules is a module. A function @pattern is one, or @pattern_NAME where there
// are several: its parameters are holes, and what it computes is what is looked for.
// What takes its place is the function @replacement, or @replacement_NAME, of the same
// parameters and results, or what rewrites has for the file. It stands where the first of
// the results stood that are read elsewhere. Of types in a pattern,
//
//	[*] f32     is any tensor of floats; other element types are those alone, ? is all
//	[] f32      is a number that is known
//	[n, 4] f32  is a tensor with these dims; a symbol is the same dim wherever it stands
//
//go:embed rules/*.pit
var ruleFiles embed.FS

// rewrites are what takes the place of patterns where it is more than operators in a row.
var rewrites = map[string]func(m *match) []*ir.Value{
	"attention":           rewriteAttention,
	"batched-product":     one(rewriteBatchedProduct),
	"boolean-put":         one(rewriteBooleanPut),
	"grouped":             one(rewriteGrouped),
	"layer-normalization": one(rewriteLayerNormalization),
	"rms-normalization":   one(rewriteRMSNormalization),
	"rotary-embedding":    one(rewriteRotaryEmbedding),
	"route":               rewriteRoute,
	"swish":               one(rewriteSwish),
}

// one is a rewrite of patterns with one result.
func one(rewrite func(m *match) *ir.Value) func(m *match) []*ir.Value {
	return func(m *match) []*ir.Value { return []*ir.Value{rewrite(m)} }
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
		more, err := readRules(name, src, nil, rewrites[name])
		if err != nil {
			panic(fmt.Sprintf("builtin: %v", err)) // a mistake in a file of this package, seen by any test
		}
		list = append(list, more...)
	}
	return list
})

// CheckRules says what is wrong with a file of rules. Operators are looked up by lookup, nil
// for those that are registered.
func CheckRules(name string, src []byte, lookup func(string) *ir.OpDef) error {
	_, err := readRules(name, src, lookup, nil)
	return err
}

// readRules reads a file of rules. The function takes the place of replacements.
func readRules(name string, src []byte, lookup func(string) *ir.OpDef, rewrite func(*match) []*ir.Value) ([]*rule, error) {
	m, err := text.Parse(name, src, lookup)
	if err == nil {
		err = ir.Verify(m)
	}
	if err != nil {
		e := diag.As(err, diag.Pipeline).In(name)
		e.Code = diag.Pipeline // the rules are wrong, not the model
		return nil, e
	}
	known := points{}
	var list []*rule
	for _, f := range m.Funcs {
		suffix, ok := strings.CutPrefix(f.Name, "pattern")
		if !ok {
			continue
		}
		r := &rule{name: fmt.Sprintf("@%s of %s", f.Name, name), rewrite: rewrite}
		to := m.Func("replacement" + suffix)
		if to == nil {
			to = m.Func("replacement")
		}
		if to != nil {
			r.rewrite = func(m *match) []*ir.Value { return inlined(m, f, to) }
		}
		if err := checkRule(f, to, rewrite != nil); err != nil {
			return nil, err.In(name)
		}
		r.results, r.names = patternTerms(known, f)
		r.outputs = outputsOf(r.results)
		list = append(list, r)
	}
	if len(list) == 0 {
		return nil, diag.New(diag.Pipeline, "there is no function @pattern").In(name).Hint("write the rule as @pattern and @replacement")
	}
	return list, nil
}

// checkRule says what is wrong with a pattern and what takes its place.
func checkRule(f, to *ir.Func, hasRewrite bool) *diag.Error {
	bad := func(format string, args ...any) *diag.Error {
		return diag.New(diag.Pipeline, "@%s "+format, append([]any{f.Name}, args...)...)
	}
	if !givesComputed(f) {
		return bad("does not give results that it computes").Hint("a pattern is what computes values, each of which is one result")
	}
	for _, s := range f.Stmts {
		if s.Kind != ir.OpStmt || len(s.Regions) > 0 || s.Effect() != ir.Pure {
			return bad("has %s", s.OpName()).Hint("a pattern is of operators without regions that compute, and nothing else")
		}
	}
	if hasRewrite {
		return nil
	}
	if to == nil {
		return bad("has no replacement").Hint("add the function @%s", strings.Replace(f.Name, "pattern", "replacement", 1))
	}
	if len(to.Params) != len(f.Params) || len(to.Results) != len(f.Results) {
		return bad("has %d parameters and %d results, and @%s has %d and %d", len(f.Params), len(f.Results), to.Name, len(to.Params), len(to.Results)).
			Hint("what takes the place of a pattern has the same parameters, and a result for each of its results")
	}
	if !givesComputed(to) {
		return bad("has a replacement that does not compute each of its results").Hint("a value may not stand for itself, nor twice")
	}
	used := map[*ir.Value]bool{}
	var use func(v *ir.Value)
	use = func(v *ir.Value) {
		if !used[v] && v.Def != nil {
			v.Def.EachUse(use)
		}
		used[v] = true
	}
	for _, v := range f.Results {
		use(v)
	}
	for _, p := range f.Params {
		if !used[p] {
			return bad("does not use its parameter %%%s", p.Name).Hint("nothing would say what it stands for")
		}
	}
	return nil
}

// givesComputed says whether a function has results and computes them, each of them another value.
func givesComputed(f *ir.Func) bool {
	for i, v := range f.Results {
		if v.Def == nil || slices.Contains(f.Results[:i], v) {
			return false
		}
	}
	return len(f.Results) > 0
}

// inlined writes a replacement in the place of a match.
func inlined(m *match, pattern, to *ir.Func) []*ir.Value {
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
	return m.b.Inline(&to.Block, subst)
}
