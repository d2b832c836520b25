package op

import (
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// Strings have no arithmetic, so what makes or reads them is a reference implementation.

var stringType = []tensor.DType{tensor.String}

// StringConcat joins the strings of its operands, broadcast.
var StringConcat = ir.Register(&ir.OpDef{
	Name: "onnx.StringConcat", Since: since(20), Doc: "strings, one behind the other",
	In: ops(in("X", "T", stringType), in("Y", "T", stringType)), Out: ops(in("Z", "T", stringType)),
	Deduce: broadcast,
	Kernel: func(k *ir.KernelCall) ([]tensor.Value, error) {
		shape, _ := k.Out[0].(ir.TensorType).Static()
		out, err := tensor.Make(tensor.String, shape)
		if err != nil {
			return nil, err
		}
		x, y := k.Arg(0), k.Arg(1)
		for i := range out.Len() {
			a, b := x.Str(broadcastAt(x, shape, i)), y.Str(broadcastAt(y, shape, i))
			if err := k.Need(int64(len(a) + len(b))); err != nil {
				return nil, err
			}
			out.SetStr(i, a+b)
		}
		return []tensor.Value{out}, nil
	},
})

// broadcastAt is the element of x that is read at element i of a shape it broadcasts to.
func broadcastAt(x *tensor.Tensor, shape []int64, i int64) int64 {
	at, stride := int64(0), int64(1)
	for d := 1; d <= x.Rank(); d++ {
		n, own := shape[len(shape)-d], x.Shape()[x.Rank()-d]
		if own != 1 {
			at += i % n * stride
		}
		i, stride = i/n, stride*own
	}
	return at
}

// StringSplit cuts every string at a delimiter, or, without one, at runs of white space,
// at most maxsplit times; strings with fewer parts than others are filled up with empty
// ones. Its second result is the number of parts.
var StringSplit = ir.Register(&ir.OpDef{
	Name: "onnx.StringSplit", Since: since(20), Doc: "the parts of strings between delimiters, and their number",
	In: ops(in("X", "", stringType)), Out: ops(in("Y", "", stringType), in("Z", "", i64s)),
	Attrs: attrs(attrOpt("delimiter", ""), attrOpt("maxsplit", int64(0))),
	Deduce: func(c *call) error {
		var bound *sym.Expr
		if n := c.Int("maxsplit"); c.HasAttr("maxsplit") && n >= 0 && n < math.MaxInt64 {
			most := sym.Const(n + 1)
			bound = &most
		}
		c.SetOut(0, tensor.String, append(slices.Clone(c.Dims(0)), c.Fresh(bound))...)
		c.SetOut(1, tensor.I64, c.Dims(0)...)
		return nil
	},
	Kernel: func(k *ir.KernelCall) ([]tensor.Value, error) {
		x := k.Arg(0)
		most := -1
		if n := k.Int("maxsplit"); k.HasAttr("maxsplit") && n >= 0 && n < math.MaxInt {
			most = int(n) + 1
		}
		parts := make([][]string, x.Len())
		width := 0
		for i := range parts {
			if s := x.Str(int64(i)); k.Str("delimiter") != "" {
				parts[i] = strings.SplitN(s, k.Str("delimiter"), most)
			} else {
				parts[i] = fields(s, most)
			}
			width = max(width, len(parts[i]))
		}
		y, err := k.Make(tensor.String, append(slices.Clone(x.Shape()), int64(width)))
		if err != nil {
			return nil, err
		}
		z, err := tensor.Make(tensor.I64, x.Shape())
		if err != nil {
			return nil, err
		}
		for i, p := range parts {
			copy(y.Strings()[i*width:], p)
			z.SetInt(int64(i), int64(len(p)))
		}
		return []tensor.Value{y, z}, nil
	},
})

// fields cuts s at runs of white space into at most n parts, n < 0: any number; the last
// one is what is left, without the space around it.
func fields(s string, n int) []string {
	var out []string
	for s = strings.TrimSpace(s); s != ""; {
		end := strings.IndexFunc(s, unicode.IsSpace)
		if end < 0 || len(out) == n-1 {
			return append(out, s)
		}
		out = append(out, s[:end])
		s = strings.TrimLeftFunc(s[end:], unicode.IsSpace)
	}
	return out
}

// StringNormalizer leaves stop words out of a list (or a matrix of one row) and changes
// case. Where nothing is left there is one empty string.
var StringNormalizer = ir.Register(&ir.OpDef{
	Name: "onnx.StringNormalizer", Since: since(10), Doc: "leaves stop words out, and changes case",
	In: ops(in("X", "", stringType)), Out: ops(in("Y", "", stringType)),
	Attrs: attrs(attr("case_change_action", "NONE"), attr("is_case_sensitive", 0), attrOpt("locale", ""), attrOpt("stopwords", []string(nil))),
	Deduce: func(c *call) error {
		d := c.Dims(0)
		if len(d) != 1 && (len(d) != 2 || c.Syms.Equal(d[0], sym.Const(1)) == sym.False) {
			return c.Errorf("an operand of shape %s, it takes a list or a matrix of one row", ir.ShapeString(d))
		}
		if _, err := casing(c); err != nil {
			return err
		}
		out := slices.Clone(d)
		n := &out[len(out)-1]
		if most := c.Syms.Simplify(n.Max(sym.Const(1))); len(c.StrList("stopwords")) > 0 {
			*n = c.Fresh(&most)
		} else {
			*n = most
		}
		if len(out) == 2 {
			out[0] = sym.Const(1)
		}
		c.SetOut(0, tensor.String, out...)
		return nil
	},
	Kernel: func(k *ir.KernelCall) ([]tensor.Value, error) {
		x := k.Arg(0)
		change, err := casing(k.Call)
		if err != nil {
			return nil, err
		}
		fold := strings.ToLower // how words are compared
		if k.Flag("is_case_sensitive") {
			fold = func(s string) string { return s }
		}
		stop := map[string]bool{}
		for _, w := range k.StrList("stopwords") {
			stop[fold(w)] = true
		}
		kept := []string{}
		for _, w := range x.Strings() {
			if !stop[fold(w)] {
				kept = append(kept, change(w))
			}
		}
		if len(kept) == 0 {
			kept = []string{""}
		}
		shape := slices.Clone(x.Shape())
		shape[len(shape)-1] = int64(len(kept))
		y, err := tensor.FromStrings(shape, kept)
		return []tensor.Value{y}, err
	},
})

// casing is what case_change_action does to a word in a locale.
func casing(c *call) (func(string) string, error) {
	special := unicode.SpecialCase{}
	switch language, _, _ := strings.Cut(strings.ReplaceAll(c.Str("locale"), "-", "_"), "_"); strings.ToLower(language) {
	case "tr", "az":
		special = unicode.TurkishCase
	case "lt":
		return nil, c.Unsupported("case in locale %q", c.Str("locale"))
	}
	switch action := c.Str("case_change_action"); action {
	case "NONE":
		return func(s string) string { return s }, nil
	case "LOWER":
		return func(s string) string { return strings.ToLowerSpecial(special, s) }, nil
	case "UPPER":
		return func(s string) string { return strings.ToUpperSpecial(special, s) }, nil
	default:
		return nil, c.Errorf("case_change_action %q is none of NONE, LOWER, UPPER", action)
	}
}

// RegexFullMatch says which strings a regular expression in RE2's syntax matches as a
// whole.
var RegexFullMatch = ir.Register(&ir.OpDef{
	Name: "onnx.RegexFullMatch", Since: since(20), Doc: "whether a regular expression matches the whole string",
	In: ops(in("X", "", stringType)), Out: ops(in("Y", "", bools)), Attrs: attrs(attrOpt("pattern", "")),
	Deduce: func(c *call) error {
		_, err := fullMatch(c)
		c.SetOut(0, tensor.Bool, c.Dims(0)...)
		return err
	},
	Kernel: func(k *ir.KernelCall) ([]tensor.Value, error) {
		re, err := fullMatch(k.Call)
		if err != nil {
			return nil, err
		}
		x := k.Arg(0)
		y, err := tensor.Make(tensor.Bool, x.Shape())
		if err != nil {
			return nil, err
		}
		for i, s := range x.Strings() {
			y.SetBool(int64(i), re.MatchString(s))
		}
		return []tensor.Value{y}, nil
	},
})

func fullMatch(c *call) (*regexp.Regexp, error) {
	p := c.Str("pattern")
	if _, err := regexp.Compile(p); err != nil { // by itself: what is put around it must not complete it
		return nil, c.Errorf("pattern %q: %v", p, err)
	}
	re, err := regexp.Compile(`\A(?:` + p + `)\z`)
	if err != nil {
		return nil, c.Errorf("pattern %q: %v", p, err)
	}
	return re, nil
}

// TfIdfVectorizer counts how often the n-grams of a pool occur in a list, or in each row
// of a matrix. An n-gram may skip up to max_skip_count elements between any two of its
// own, the same number each time.
var TfIdfVectorizer = ir.Register(&ir.OpDef{
	Name: "onnx.TfIdfVectorizer", Since: since(9), Doc: "counts of n-grams, perhaps weighted",
	In: ops(in("X", "", append(indices[:2:2], tensor.String))), Out: ops(in("Y", "", []tensor.DType{tensor.F32})),
	Attrs: attrs(attrReq("max_gram_length", int64(0)), attrReq("max_skip_count", int64(0)), attrReq("min_gram_length", int64(0)),
		attrReq("mode", ""), attrReq("ngram_counts", []int64(nil)), attrReq("ngram_indexes", []int64(nil)),
		attrOpt("pool_int64s", []int64(nil)), attrOpt("pool_strings", []string(nil)), attrOpt("weights", []float64(nil))),
	Deduce: func(c *call) error {
		if c.Rank(0) < 1 || c.Rank(0) > 2 {
			return c.Errorf("an operand of rank %d, it takes a list or a matrix", c.Rank(0))
		}
		g, err := grams(c)
		if err != nil {
			return err
		}
		d := slices.Clone(c.Dims(0))
		d[len(d)-1] = sym.Const(g.width)
		c.SetOut(0, tensor.F32, d...)
		return nil
	},
	Kernel: countGrams,
})

// ngrams is the pool of a TfIdfVectorizer: its n-grams by their length and elements.
type ngrams struct {
	ids   map[string]int // by key
	at    []int64        // the column of each
	width int64
}

// gramKey is the elements of an n-gram as the key of a map.
func gramKey(words []string) string {
	var b strings.Builder
	for _, w := range words {
		fmt.Fprintf(&b, "%d:%s", len(w), w) // with its length, so that no two lists look alike
	}
	return b.String()
}

func grams(c *call) (*ngrams, error) {
	numbers, words := c.IntList("pool_int64s"), c.StrList("pool_strings")
	if (numbers == nil) == (words == nil) || (words == nil) != (c.DType(0) != tensor.String) {
		return nil, c.Errorf("it takes one pool: pool_strings for strings, pool_int64s for integers")
	}
	if words == nil {
		words = texts(numbers)
	}
	lo, hi, skip := c.Int("min_gram_length"), c.Int("max_gram_length"), c.Int("max_skip_count")
	starts := c.IntList("ngram_counts")
	if lo < 1 || hi < lo || skip < 0 || hi > int64(len(starts)) {
		return nil, c.Errorf("n-grams of %d to %d elements with up to %d skipped, and a pool of %d lengths", lo, hi, skip, len(starts))
	}
	if m := c.Str("mode"); m != "TF" && m != "IDF" && m != "TFIDF" {
		return nil, c.Errorf("mode %q is none of TF, IDF, TFIDF", m)
	}
	g := &ngrams{ids: map[string]int{}, at: c.IntList("ngram_indexes")}
	id := 0
	for n, start := range starts {
		end := int64(len(words))
		if n+1 < len(starts) {
			end = starts[n+1]
		}
		if start < 0 || end < start || end > int64(len(words)) || (end-start)%int64(n+1) != 0 {
			return nil, c.Errorf("ngram_counts %v do not cut a pool of %d elements into n-grams", starts, len(words))
		}
		for ; start < end; start += int64(n + 1) {
			key := gramKey(words[start : start+int64(n+1)])
			if _, twice := g.ids[key]; twice {
				return nil, c.Errorf("n-gram %q is in the pool twice", words[start:start+int64(n+1)])
			}
			g.ids[key] = id
			id++
		}
	}
	if id != len(g.at) {
		return nil, c.Errorf("%d n-grams and %d ngram_indexes", id, len(g.at))
	}
	if w := c.FloatList("weights"); w != nil && len(w) != id {
		return nil, c.Errorf("%d n-grams and %d weights", id, len(w))
	}
	for _, i := range g.at {
		if i < 0 || i == math.MaxInt64 {
			return nil, c.Errorf("ngram_indexes has the entry %d", i)
		}
		g.width = max(g.width, i+1)
	}
	return g, nil
}

func countGrams(k *ir.KernelCall) ([]tensor.Value, error) {
	g, err := grams(k.Call)
	if err != nil {
		return nil, err
	}
	x := k.Arg(0)
	words := x.Strings()
	if x.DType() != tensor.String {
		words = texts(tensor.Ints(x))
	}
	shape := slices.Clone(x.Shape())
	n := shape[len(shape)-1]
	shape[len(shape)-1] = g.width
	y, err := tensor.Make(tensor.F32, shape)
	if err != nil {
		return nil, err
	}
	weights := k.FloatList("weights")
	lo, hi := k.Int("min_gram_length"), k.Int("max_gram_length")
	rows := int64(1)
	if len(shape) == 2 {
		rows = shape[0]
	}
	for row := range rows {
		line := words[row*n : (row+1)*n]
		counts := map[int]float64{}
		for length := lo; length <= min(hi, n); length++ {
			gram := make([]string, length)
			for skip := int64(0); skip <= k.Int("max_skip_count"); skip++ {
				step := skip + 1
				if length > 1 && step > (n-1)/(length-1) || length == 1 && skip > 0 {
					break // no gram reaches that far; a single element skips nothing
				}
				for start := int64(0); start+(length-1)*step < n; start++ {
					if start%4096 == 0 && k.Context.Err() != nil {
						return nil, k.Context.Err()
					}
					for i := range gram {
						gram[i] = line[start+int64(i)*step]
					}
					if id, ok := g.ids[gramKey(gram)]; ok {
						counts[id]++
					}
				}
			}
		}
		for id, column := range g.at {
			count, found := counts[id]
			if !found {
				continue
			}
			w := 1.0
			if weights != nil {
				w = weights[id]
			}
			switch k.Str("mode") {
			case "TFIDF":
				count *= w
			case "IDF":
				count = w
			}
			at := row*g.width + column
			y.SetFloat(at, y.Float(at)+count)
		}
	}
	return []tensor.Value{y}, nil
}

// texts are numbers as their decimal text, which tells them apart.
func texts(numbers []int64) []string {
	out := make([]string, len(numbers))
	for i, n := range numbers {
		out[i] = strconv.FormatInt(n, 10)
	}
	return out
}
