package cli

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// drawn tells what was drawn: of each input what it is, and the sizes that were chosen.
type drawn struct {
	inputs []string
	sizes  []string
	states []string // that begin as a session has it
}

func (a *app) noteDrawn(d drawn) {
	for _, in := range d.inputs {
		a.note("drawn input %s", in)
	}
	for _, s := range d.states {
		a.note("state %s", s)
	}
	if len(d.sizes) > 0 {
		a.note("drawn sizes: %s; -dim changes them", strings.Join(d.sizes, " "))
	}
}

// blame adds to the error of a run that its sizes were drawn, which may be what is wrong.
func (d drawn) blame(err error) error {
	if err == nil || len(d.sizes) == 0 || diag.CodeOf(err) != diag.Run {
		return err
	}
	return diag.As(err, diag.Run).Hint("sizes were drawn (%s); choose others with -dim", strings.Join(d.sizes, " "))
}

// draw makes the inputs that have no value yet, and says what it made. Symbols that given
// inputs, which come from paths, do not fix take the sizes of the flags, else small ones.
// budget bounds the bytes that are drawn; 0: none.
func (f *inputFlags) draw(m *ir.Module, have map[string]tensor.Value, paths map[string]string, seed uint64, budget int64) (map[string]tensor.Value, drawn, error) {
	var said drawn
	env := ir.NewEnv(nil)
	names := inputSymbols(m)
	for _, s := range slices.Sorted(maps.Keys(f.dims)) {
		if !slices.Contains(names, s) {
			return nil, said, diag.New(diag.Usage, "-dim: there is no symbolic dim %q", s).Hint("%s", diag.DidYouMean(s, names))
		}
		env.Set(s, f.dims[s], "-dim")
	}
	for _, in := range m.Main().Params {
		if v := have[in.Name]; v != nil {
			if err := env.Bind(in.Type, v, fmt.Sprintf("input %q", in.Name)); err != nil {
				return nil, said, diag.As(err, diag.Run).In(paths[in.Name])
			}
		}
	}
	begins := f.begin(m, have, env)
	for i, s := range names {
		if _, ok := env.Lookup(s); ok {
			continue
		}
		n := chooseSize(m, s, i)
		env.Set(s, n, "drawn")
		said.sizes = append(said.sizes, fmt.Sprintf("%s=%d", s, n))
	}
	bounds := idBounds(m)
	r := rand.New(rand.NewPCG(seed, 0x70697430))
	total := int64(0)
	for _, in := range m.Main().Params {
		if have[in.Name] != nil {
			continue
		}
		t, ok := in.Type.(ir.TensorType)
		if !ok || t.Unranked {
			return nil, said, diag.New(diag.Usage, "input %q of type %s can not be drawn", in.Name, in.Type).Hint("give it with -input %s=FILE", in.Name)
		}
		shape, err := env.Shape(t.Dims)
		if err != nil {
			return nil, said, diag.New(diag.Usage, "input %q: %v", in.Name, err)
		}
		n, fits := tensor.Count(shape)
		size, fits2 := t.DType.ByteLen(n)
		if total += size; !fits || !fits2 || budget > 0 && (size > budget || total > budget) {
			return nil, said, diag.New(diag.Usage, "drawn input %q of shape %s does not fit the budget of a run, %d bytes", in.Name, shapeText(shape), budget).
				Hint("choose smaller sizes with -dim, or raise `memory` in [target] of the pipeline")
		}
		x, err := tensor.Make(t.DType, shape)
		if err != nil {
			return nil, said, diag.New(diag.Usage, "input %q: %v", in.Name, err)
		}
		have[in.Name] = x
		if begins[in.Name] {
			how := "begins with zeros"
			if x.Len() == 0 {
				how = "begins empty"
			}
			said.states = append(said.states, fmt.Sprintf("%s %s %s", in.Name, typeText(x), how))
			continue
		}
		what := fill(x, in.Name, bounds[in.Name], r)
		said.inputs = append(said.inputs, fmt.Sprintf("%s %s: %s", in.Name, typeText(x), what))
	}
	return have, said, nil
}

// Sizes that are drawn, one after the other, so that neighbours differ and mixed-up dims are
// seen: of any dim, of the height and width of images, and of signals. The larger ones are
// for models with windows and strides.
var (
	smallSizes  = []int64{2, 8, 14}
	imageSizes  = []int64{64, 96, 128}
	signalSizes = []int64{512, 576}
)

// chooseSize is a size that the symbol may have, the i-th of the model's.
func chooseSize(m *ir.Module, s string, i int) int64 {
	sizes := drawnSizes(m, s)
	lo, hi := m.Syms.Range(s)
	n := min(max(sizes[i%len(sizes)], lo), hi)
	if k := m.Syms.Multiple(s); n%k != 0 {
		up := n + k - n%k
		if up <= hi {
			return up
		}
		return n - n%k
	}
	return n
}

// drawnSizes are the sizes to take one of: those of an image or a signal where the symbol is
// a dim of one, and of no input of integers, such as the ids of tokens.
func drawnSizes(m *ir.Module, s string) []int64 {
	sizes := smallSizes
	for _, p := range m.Main().Params {
		t, ok := p.Tensor()
		if !ok || t.Unranked {
			continue
		}
		first, last := 2, t.Rank()-1 // of an image whose channels come first
		switch {
		case t.Rank() == 4 && isChannels(t.Dims[3]):
			first, last = 1, 2
		case t.Rank() < 4:
			first = last
		}
		for axis, d := range t.Dims {
			name, ok := d.Symbol()
			switch {
			case !ok || name != s:
			case !t.DType.IsFloat() && t.DType != tensor.U8:
				return smallSizes
			case axis < first || axis > last:
			case t.Rank() == 4:
				sizes = imageSizes
			case t.Rank() == 2 || t.Rank() == 3:
				sizes = signalSizes
			}
		}
	}
	return sizes
}

// isChannels says whether a dim is that of the channels of an image.
func isChannels(d sym.Expr) bool {
	n, ok := d.Int()
	return ok && n <= 4
}

// inputSymbols are the symbols of the model's inputs, sorted.
func inputSymbols(m *ir.Module) []string {
	seen := map[string]bool{}
	for _, p := range m.Main().Params {
		ir.EachDim(p.Type, func(e sym.Expr) {
			for _, s := range e.Symbols() {
				seen[s] = true
			}
		})
	}
	out := make([]string, 0, len(seen))
	for s := range seen {
		out = append(out, s)
	}
	sort.Strings(out)
	return out
}

// fill draws contents, and says of which kind: masks are ragged, ids are within their
// table, numbers normal. bound is the size of the table that an input picks from; 0:
// none is known.
func fill(x *tensor.Tensor, name string, bound int64, r *rand.Rand) string {
	switch d := x.DType(); {
	case strings.Contains(strings.ToLower(name), "mask") && x.Rank() == 2 && (d.IsInt() || d == tensor.Bool || d == tensor.F32):
		rows, cols := x.Shape()[0], x.Shape()[1]
		for i := range rows {
			n := cols
			if i > 0 && cols > 0 {
				n = 1 + r.Int64N(cols)
			}
			for j := range n {
				x.SetInt(i*cols+j, 1)
			}
		}
		return "a ragged mask"
	case d == tensor.String:
		for i := range x.Len() {
			x.SetStr(i, fmt.Sprintf("s%d", r.IntN(100)))
		}
		return "s0 to s99"
	case d == tensor.Bool:
		for i := range x.Len() {
			x.SetBool(i, r.IntN(2) == 1)
		}
		return "true and false"
	case d.IsInt() && bound > 0:
		for i := range x.Len() {
			x.SetInt(i, r.Int64N(bound))
		}
		return fmt.Sprintf("ids below %d", bound)
	case d.IsInt() && d.Bits() <= 8: // pixels and quantized numbers: all there are
		all := int64(1) << d.Bits()
		for i := range x.Len() {
			v := r.Int64N(all)
			if d.IsSigned() {
				v -= all / 2
			}
			x.SetInt(i, v)
		}
		return "all values"
	case d.IsInt(): // may be positions in what is not known: small ones fit most
		for i := range x.Len() {
			x.SetInt(i, r.Int64N(2))
		}
		return "0 and 1"
	case d.IsComplex():
		for i := range x.Len() {
			x.SetComplex(i, complex(r.NormFloat64(), r.NormFloat64()))
		}
	default:
		for i := range x.Len() {
			x.SetFloat(i, r.NormFloat64())
		}
	}
	return "normal"
}

// idBounds finds integer inputs that pick from a constant table, and how many entries
// it has.
func idBounds(m *ir.Module) map[string]int64 {
	out := map[string]int64{}
	param := map[*ir.Value]string{}
	for _, p := range m.Main().Params {
		param[p] = p.Name
	}
	note := func(ids *ir.Value, n int64) {
		for ids.Def != nil && ids.Def.Op != nil && ids.Def.Op.View {
			ids = ids.Def.Args[0]
		}
		if name := param[ids]; name != "" && (out[name] == 0 || n < out[name]) {
			out[name] = n
		}
	}
	m.Main().Walk(func(s *ir.Stmt) {
		if p, ok := s.Callee.(*ir.Program); ok {
			byBuf := map[*ir.Buffer]*ir.Value{}
			for i, b := range p.Params {
				byBuf[b] = s.Args[i]
			}
			for _, st := range p.Stages {
				st.Walk(func(x *ir.Scalar) bool {
					if x.Op == ir.OpLoad && byBuf[x.Buf] != nil && byBuf[x.Buf].Const != nil {
						for i, ix := range x.Args {
							ix.Walk(func(y *ir.Scalar) bool {
								if y.Op == ir.OpLoad && byBuf[y.Buf] != nil {
									note(byBuf[y.Buf], byBuf[x.Buf].Const.Tensor.Shape()[i])
								}
								return true
							})
						}
					}
					return true
				})
			}
		}
		if s.Op != nil && s.Op.Name == "onnx.Gather" && s.Args[0].Const != nil {
			axis, _ := s.Attrs.Get("axis").(int64)
			if sh := s.Args[0].Const.Tensor.Shape(); axis >= 0 && int(axis) < len(sh) {
				note(s.Args[1], sh[axis])
			}
		}
	})
	return out
}
