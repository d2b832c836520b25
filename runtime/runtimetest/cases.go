package runtimetest

import (
	"embed"
	"fmt"
	"math"
	"math/rand/v2"
	"path"
	"strconv"
	"strings"
	"testing"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/core/text"
)

// A file has cases. A case begins with "== " and its name; a module follows, and calls of
// its @main, a line each:
//
//	run [2] f32 {1, 2}, [] i64 {3} => [2] f32 {3, 6}    inputs and results
//	fail [2] f32 {1, 2} => some words                  a failed run that says these words
//	draw n=3, m=0, ids<7, x?                           drawn inputs, results as the interpreter's
//
// draw gives symbols their sizes, inputs a bound (then floats are whole numbers, and sums of them exact; without
// one integers are from -5 to 5), and marks inputs among whose numbers are NaN, infinities, zeros of both signs, and
// the largest and smallest of their type. Values are tensors, seq(V, ...), optional(V) and
// optional().
//
//go:embed cases/*.txt
var caseFiles embed.FS

type file struct {
	name  string
	cases []testCase
}

type testCase struct {
	name   string
	module string
	calls  []string
}

func files(t testing.TB) []file {
	t.Helper()
	entries, err := caseFiles.ReadDir("cases")
	if err != nil {
		t.Fatal(err)
	}
	var out []file
	for _, e := range entries {
		b, err := caseFiles.ReadFile(path.Join("cases", e.Name()))
		if err != nil {
			t.Fatal(err)
		}
		f := file{name: strings.TrimSuffix(e.Name(), ".txt")}
		parts := strings.Split("\n"+string(b), "\n== ")
		for _, part := range parts[1:] { // before the first there are comments
			name, rest, _ := strings.Cut(part, "\n")
			c := testCase{name: name}
			for line := range strings.Lines(rest) {
				switch word, _, _ := strings.Cut(line, " "); word {
				case "run", "fail", "draw":
					c.calls = append(c.calls, strings.TrimSpace(line))
				default:
					c.module += line
				}
			}
			f.cases = append(f.cases, c)
		}
		out = append(out, f)
	}
	return out
}

func (c testCase) run(t *testing.T, load Load, drawn bool) {
	m := parse(t, c.name, c.module)
	var calls []call
	for _, line := range c.calls {
		word, rest, _ := strings.Cut(line, " ")
		if word == "draw" && !drawn {
			continue
		}
		x, err := readCall(m, word, rest)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		x.line = line
		calls = append(calls, x)
	}
	if len(calls) == 0 {
		t.Skip("its results are compared with those of the interpreter alone")
	}
	check(t, load(t, m), calls)
}

func readCall(m *ir.Module, word, rest string) (c call, err error) {
	if word == "draw" {
		if c.inputs, err = draw(m, rest); err == nil {
			c.want, err = reference(m, c.inputs)
		}
		return c, err
	}
	in, out, ok := strings.Cut(rest, "=>")
	if !ok {
		return c, fmt.Errorf("there is no =>")
	}
	if c.inputs, err = values(in); err != nil {
		return c, err
	}
	if word == "fail" {
		c.fails = strings.TrimSpace(out)
		return c, nil
	}
	c.want, err = values(out)
	return c, err
}

// values reads a list of values.
func values(s string) ([]tensor.Value, error) {
	var out []tensor.Value
	for _, part := range split(s) {
		v, err := value(part)
		if err != nil {
			return nil, err
		}
		out = append(out, v)
	}
	return out, nil
}

// split cuts at the commas that stand in no brackets and no string.
func split(s string) []string {
	var out []string
	depth, start, quoted := 0, 0, false
	for i := 0; i <= len(s); i++ {
		switch {
		case i == len(s) || s[i] == ',' && depth == 0 && !quoted:
			if part := strings.TrimSpace(s[start:i]); part != "" {
				out = append(out, part)
			}
			start = i + 1
		case s[i] == '\\' && quoted:
			i++
		case s[i] == '"':
			quoted = !quoted
		case quoted:
		case strings.IndexByte("([{", s[i]) >= 0:
			depth++
		case strings.IndexByte(")]}", s[i]) >= 0:
			depth--
		}
	}
	return out
}

func value(s string) (tensor.Value, error) {
	if inner, ok := strings.CutPrefix(s, "seq("); ok {
		elems, err := values(strings.TrimSuffix(inner, ")"))
		return &tensor.Sequence{Elems: elems}, err
	}
	if inner, ok := strings.CutPrefix(s, "optional("); ok {
		elems, err := values(strings.TrimSuffix(inner, ")"))
		if err != nil || len(elems) == 0 {
			return &tensor.Optional{}, err
		}
		return &tensor.Optional{Elem: elems[0]}, nil
	}
	typ, elems, _ := strings.Cut(s, "{")
	m, err := text.Parse(s, []byte("module { const @v: "+typ+"= {"+elems+" }"), nil)
	if err != nil {
		return nil, err
	}
	return m.Consts[0].Tensor, nil
}

// draw makes inputs for @main.
func draw(m *ir.Module, words string) ([]tensor.Value, error) {
	env := ir.NewEnv(nil)
	bound, special := map[string]int64{}, map[string]bool{}
	for _, w := range split(words) {
		if name, ok := strings.CutSuffix(w, "?"); ok {
			special[name] = true
			continue
		}
		i := strings.IndexAny(w, "=<")
		if i < 0 {
			return nil, fmt.Errorf("%q is neither a size, nor a bound, nor marked", w)
		}
		n, err := strconv.ParseInt(w[i+1:], 10, 64)
		if err != nil {
			return nil, err
		}
		if w[i] == '=' {
			env.Set(w[:i], n, words)
		} else {
			bound[w[:i]] = n
		}
	}
	r := rand.New(rand.NewPCG(seed(words), 1))
	var out []tensor.Value
	for _, p := range m.Main().Params {
		t, ok := p.Tensor()
		if !ok || t.Unranked {
			return nil, fmt.Errorf("input %q of type %s can not be drawn", p.Name, p.Type)
		}
		shape, err := env.Shape(t.Dims)
		if err != nil {
			return nil, err
		}
		x, err := tensor.Make(t.DType, shape)
		if err != nil {
			return nil, err
		}
		fill(x, r, bound[p.Name], special[p.Name])
		out = append(out, x)
	}
	return out, nil
}

// fill draws elements.
func fill(x *tensor.Tensor, r *rand.Rand, bound int64, special bool) {
	specials := []float64{math.NaN(), math.Inf(1), math.Inf(-1), 0, math.Copysign(0, -1), math.MaxFloat64, 5e-324, 1}
	for i := range x.Len() {
		switch d := x.DType(); {
		case d == tensor.String:
			x.SetStr(i, []string{"", "a", "b", "12", "-0.5"}[r.IntN(5)])
		case d == tensor.Bool:
			x.SetBool(i, r.IntN(2) == 0)
		case d.IsInt() && special:
			x.SetInt(i, int64(r.Uint64()))
		case d.IsInt() && bound > 0:
			x.SetInt(i, r.Int64N(bound))
		case d.IsInt():
			x.SetInt(i, r.Int64N(11)-5)
		case d.IsComplex():
			x.SetComplex(i, complex(r.NormFloat64(), r.NormFloat64()))
		case special && r.IntN(3) == 0:
			x.SetFloat(i, specials[r.IntN(len(specials))])
		case bound > 0: // sums are exact in any order
			x.SetFloat(i, float64(r.Int64N(bound)))
		default:
			x.SetFloat(i, r.NormFloat64())
		}
	}
}
