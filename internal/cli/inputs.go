package cli

import (
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"strings"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/frontend/onnx"
)

// inputFlags say what a model is run on.
type inputFlags struct {
	files map[string]string
	dir   string
	dims  map[string]int64
}

func (a *app) inputFlags() *inputFlags {
	f := &inputFlags{files: map[string]string{}, dims: map[string]int64{}}
	a.flags.Func("input", "`NAME=FILE`, .npy or a TensorProto .pb; repeatable", func(s string) error {
		name, file, ok := strings.Cut(s, "=")
		if !ok || name == "" || file == "" {
			return fmt.Errorf("%q is not NAME=FILE", s)
		}
		f.files[name] = file
		return nil
	})
	a.flags.StringVar(&f.dir, "inputs", "", "`DIR` with input_0.pb ... in the model's order")
	a.flags.Func("dim", "`NAME=N`, size of a symbolic dim for drawn inputs; repeatable", func(s string) error {
		return f.setDim(s)
	})
	return f
}

func (f *inputFlags) setDim(s string) error {
	name, num, ok := cutLast(s, "=")
	n, err := strconv.ParseInt(num, 10, 64)
	if !ok || err != nil || n < 0 {
		return fmt.Errorf("%q is not NAME=N", s)
	}
	f.dims[name] = n
	return nil
}

func cutLast(s, sep string) (string, string, bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// maxNPY bounds what a .npy file may claim.
const maxNPY = 64 << 30

func readInput(path string, t ir.Type) (tensor.Value, error) {
	if strings.HasSuffix(path, ".npy") {
		f, err := os.Open(path)
		if err != nil {
			return nil, diag.New(diag.Run, "%v", err)
		}
		defer f.Close()
		st, err := f.Stat()
		if err != nil {
			return nil, diag.New(diag.Run, "%v", err)
		}
		x, err := tensor.ReadNPY(f, min(st.Size(), maxNPY))
		if err != nil {
			return nil, diag.New(diag.Run, "%v", err).In(path)
		}
		return x, nil
	}
	return onnx.ReadValue(path, t)
}

// values gives every input a value: from files where they are given, drawn otherwise.
func (f *inputFlags) values(m *ir.Module, seed uint64) (map[string]tensor.Value, []string, error) {
	out := map[string]tensor.Value{}
	for i, in := range m.Main().Params {
		path := f.files[in.Name]
		if path == "" && f.dir != "" {
			path = filepath.Join(f.dir, fmt.Sprintf("input_%d.pb", i))
			if _, err := os.Stat(path); err != nil {
				path = ""
			}
		}
		if path == "" {
			continue
		}
		v, err := readInput(path, in.Type)
		if err != nil {
			return nil, nil, err
		}
		out[in.Name] = v
	}
	for name := range f.files {
		if out[name] == nil {
			var names []string
			for _, in := range m.Main().Params {
				names = append(names, in.Name)
			}
			return nil, nil, diag.New(diag.Usage, "there is no input %q", name).Hint("%s", diag.DidYouMean(name, names))
		}
	}
	return draw(m, f.dims, out, seed)
}

// draw makes the inputs that have no value yet, and says what it made. Symbols that
// given inputs do not fix take the sizes of dims, else small ones.
func draw(m *ir.Module, dims map[string]int64, have map[string]tensor.Value, seed uint64) (map[string]tensor.Value, []string, error) {
	env := ir.NewEnv(nil)
	syms := m.Syms
	known := map[string]bool{}
	for _, in := range m.Main().Params {
		ir.EachDim(in.Type, func(e sym.Expr) {
			for _, s := range e.Symbols() {
				known[s] = true
			}
		})
	}
	var names []string
	for s := range known {
		names = append(names, s)
	}
	sort.Strings(names)
	for s, n := range dims {
		if !known[s] {
			return nil, nil, diag.New(diag.Usage, "-dim: there is no symbolic dim %q", s).Hint("%s", diag.DidYouMean(s, names))
		}
		env.Set(s, n, "-dim")
	}
	for _, in := range m.Main().Params {
		if v := have[in.Name]; v != nil {
			if err := env.Bind(in.Type, v, fmt.Sprintf("input %q", in.Name)); err != nil {
				return nil, nil, err
			}
		}
	}
	for i, s := range names {
		if _, ok := env.Lookup(s); ok {
			continue
		}
		n := int64(2 + 6*(i%3)) // different sizes, so that mixed-up dims are seen
		lo, hi := syms.Range(s)
		n = min(max(n, lo), hi)
		if k := syms.Multiple(s); n%k != 0 {
			n = (n/k + 1) * k
		}
		env.Set(s, n, "drawn")
	}
	bounds := idBounds(m)
	r := rand.New(rand.NewPCG(seed, 0x70697430))
	var said []string
	for _, in := range m.Main().Params {
		if have[in.Name] != nil {
			continue
		}
		t, ok := in.Type.(ir.TensorType)
		if !ok || t.Unranked {
			return nil, nil, diag.New(diag.Usage, "input %q of type %s can not be drawn", in.Name, in.Type).Hint("give it with -input %s=FILE", in.Name)
		}
		shape, err := env.Shape(t.Dims)
		if err != nil {
			return nil, nil, diag.New(diag.Usage, "input %q: %v", in.Name, err)
		}
		x, err := tensor.Make(t.DType, shape)
		if err != nil {
			return nil, nil, diag.New(diag.Usage, "input %q: %v", in.Name, err)
		}
		fill(x, in.Name, bounds[in.Name], r)
		have[in.Name] = x
		said = append(said, fmt.Sprintf("%s %s%v", in.Name, t.DType, shape))
	}
	return have, said, nil
}

// fill draws contents: masks ragged, ids within their table, numbers normal.
func fill(x *tensor.Tensor, name string, bound int64, r *rand.Rand) {
	d := x.DType()
	lower := strings.ToLower(name)
	switch {
	case strings.Contains(lower, "mask") && x.Rank() == 2 && (d.IsInt() || d == tensor.Bool || d == tensor.F32):
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
	case d == tensor.String:
		for i := range x.Len() {
			x.SetStr(i, fmt.Sprintf("s%d", r.IntN(100)))
		}
	case d == tensor.Bool:
		for i := range x.Len() {
			x.SetBool(i, r.IntN(2) == 1)
		}
	case d.IsInt():
		if bound <= 0 {
			bound = 2
		}
		for i := range x.Len() {
			x.SetInt(i, r.Int64N(bound))
		}
	default:
		for i := range x.Len() {
			x.SetFloat(i, r.NormFloat64())
		}
	}
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
