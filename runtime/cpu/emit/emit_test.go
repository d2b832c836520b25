package emit_test

import (
	"context"
	"math"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/core/text"
	"github.com/pitopt/pitopt/runtime/cpu/emit"
	"github.com/pitopt/pitopt/runtime/cpu/x86"
	"github.com/pitopt/pitopt/runtime/kernel"
)

// tiers are those that this machine can run.
func tiers(t testing.TB) (out []x86.Features) {
	f, err := x86.Usable()
	if err != nil {
		t.Fatal(err)
	}
	if f&x86.V4 != 0 {
		out = append(out, f)
	}
	if f&x86.V3 != 0 {
		out = append(out, f&(x86.V3|x86.AVXVNNI))
	}
	if len(out) == 0 {
		t.Skip("no machine code runs here")
	}
	return out
}

func programOf(t testing.TB, src string) *ir.Program {
	t.Helper()
	m, err := text.Parse("test", []byte("module {\n"+src+"\n}\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	return m.Programs[0]
}

// draw fills a tensor with numbers, one in so many of them a special one.
func draw(r *rand.Rand, t *tensor.Tensor, special int) {
	list := []float64{math.NaN(), math.Inf(1), math.Inf(-1), math.Copysign(0, -1), 0, 1e-40, -1e-42, 3e38, -3e38, 88.7, -103, 1}
	for i := range t.Len() {
		switch {
		case t.DType() == tensor.Bool:
			t.SetBool(i, r.IntN(2) == 0)
		case t.DType().IsInt():
			t.SetInt(i, int64(r.IntN(7))-2)
		case special > 0 && r.IntN(special) == 0:
			t.SetFloat(i, list[r.IntN(len(list))])
		default:
			t.SetFloat(i, r.NormFloat64()*2)
		}
	}
}

// stages runs a program on the interpreter and gives every buffer.
func stages(t testing.TB, p *ir.Program, bind []int64, args []*tensor.Tensor) map[*ir.Buffer]*tensor.Tensor {
	t.Helper()
	c, err := interp.Compile(p, bind)
	if err != nil {
		t.Fatal(err)
	}
	all := map[*ir.Buffer]*tensor.Tensor{}
	for i, b := range p.Params {
		all[b] = args[i]
	}
	err = c.Run(context.Background(), args, make([]*tensor.Tensor, len(p.Results)), heap{}, func(x *interp.Execution, i int) error {
		err := x.Stage(i, 0, 1)
		for _, b := range p.Stages[i].Outs {
			all[b] = x.Tensor(b).Clone()
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

type heap struct{}

func (heap) Alloc(d tensor.DType, shape []int64) (*tensor.Tensor, error) {
	return tensor.Make(d, shape)
}
func (heap) Free(*tensor.Tensor) {}

// repeats decides broadcasts by sizes.
func repeats(p *ir.Program, bind []int64) func(*ir.Scalar) bool {
	value := symbols(p, bind)
	return func(x *ir.Scalar) bool {
		dim, _ := x.Args[1].Symbolic()
		extent, _ := x.Args[2].Symbolic()
		n, _ := dim.Eval(value)
		m, _ := extent.Eval(value)
		return n == 1 && m != 1
	}
}

func symbols(p *ir.Program, bind []int64) func(string) (int64, bool) {
	return func(name string) (int64, bool) {
		for i, s := range p.Syms {
			if s == name {
				return bind[i], true
			}
		}
		return 0, false
	}
}

// exact says whether all sums in a run are of whole numbers that f32 has.
func exact(all map[*ir.Buffer]*tensor.Tensor) bool {
	for _, x := range all {
		for i := range x.Len() {
			if v := x.Float(i); !(math.Abs(v) < 1<<23) || v != math.Trunc(v) {
				return false
			}
		}
	}
	return true
}

// check runs the kernels of a program on the evaluator and on machine code: the
// results of both are the same bits, and close to those of the interpreter.
func check(t testing.TB, p *ir.Program, bind []int64, r *rand.Rand, special int, whole bool) (groups, refused, compared int) {
	t.Helper()
	var args []*tensor.Tensor
	value := symbols(p, bind)
	shape := func(dims []sym.Expr) (out []int64) {
		for _, d := range dims {
			n, err := d.Eval(value)
			if err != nil {
				t.Fatal(err)
			}
			out = append(out, n)
		}
		return out
	}
	for _, b := range p.Params {
		a := tensor.New(b.DType, shape(b.RoomDims())...)
		draw(r, a, special)
		if whole {
			for i := range a.Len() {
				a.SetFloat(i, float64(r.IntN(7)-3))
			}
		}
		args = append(args, a)
	}
	all := stages(t, p, bind, args)
	comparable := p.Name != "random" || whole && exact(all) // else sums that cancel differ by their order
	for _, f := range tiers(t) {
		s := kernel.New(p, kernel.Options{Lanes: emit.Lanes(f), All: emit.All(f), Repeats: repeats(p, bind)})
		for i, st := range p.Stages {
			why, is := s.Refused[i]
			if is != (kernel.Why(st, emit.All(f)) != "") {
				t.Errorf("%s: stage %s: %q, Why says %q", f, st.Out().Name, why, kernel.Why(st, emit.All(f)))
			}
			if is && emit.All(f) {
				refused++
			}
		}
		for _, g := range s.Groups {
			groups++
			if err := g.Kernel.Verify(nil); err != nil {
				t.Fatal(err)
			}
			b, err := g.Kernel.Bind(value)
			if err != nil {
				t.Logf("kernel %s: %v", g.Kernel.Name, err)
				continue
			}
			if b.Empty() {
				continue
			}
			fn := codes.of(t, g.Kernel, f)
			var memory [2][][]byte
			for way := range memory {
				for i, m := range g.Kernel.Buffers {
					n := b.Scratch[i]
					if !m.Scratch {
						n = int64(len(all[m.Of].Bytes()))
					}
					mem, free := guarded(t, int(n))
					defer free()
					if m.Written {
						for j := range mem {
							mem[j] = 0xA5
						}
					} else {
						copy(mem, all[m.Of].Bytes())
					}
					memory[way] = append(memory[way], mem)
				}
			}
			cut := b.Cut(float64(1 + r.IntN(3000)))
			ranges := make([]int64, 2*len(b.Extents))
			for i := range cut.Pieces() {
				cut.Piece(i, ranges)
				if err := b.Run(memory[0], ranges); err != nil {
					t.Fatalf("%v\n%s", err, g.Kernel)
				}
				block := make([]uint64, 0, emit.Words(g.Kernel)+1)
				for _, m := range memory[1] {
					block = append(block, uint64(uintptr(unsafe.Pointer(unsafe.SliceData(m)))))
				}
				for _, n := range append(append([]int64(nil), b.Numbers...), ranges...) {
					block = append(block, uint64(n))
				}
				block = append(block, 0)
				fn.Call(unsafe.Pointer(&block[0]))
			}
			for i, m := range g.Kernel.Buffers {
				if !m.Written || m.Scratch {
					continue
				}
				want := all[m.Of]
				var got [2]*tensor.Tensor
				for way := range got {
					got[way], _ = tensor.FromBytes(m.DType, want.Shape(), memory[way][i])
				}
				for j := range want.Len() {
					x, y := got[1].Float(j), got[0].Float(j)
					if math.Float64bits(x) != math.Float64bits(y) && (x == x || y == y) {
						t.Fatalf("%s: element %d of %s is %g on machine code (%s), %g on the evaluator\n%s", p.Name, j, m.Of.Name, x, f, y, g.Kernel)
					}
				}
				if !comparable {
					continue
				}
				compared++
				if err := tensor.Compare(got[0], want, tensor.DefaultTolerance(m.DType)); err != nil {
					t.Fatalf("%s: the evaluator against the interpreter: %s: %v\n%s", p.Name, m.Of.Name, err, g.Kernel)
				}
			}
		}
	}
	return groups, refused, compared
}

// machine keeps code of kernels by their text, which is all that it depends on.
type machine struct {
	arena x86.Arena
	funcs map[string]x86.Func
}

var codes = machine{funcs: map[string]x86.Func{}}

func (c *machine) of(t testing.TB, k *kernel.Kernel, f x86.Features) x86.Func {
	t.Helper()
	fn, ok := c.funcs[k.String()]
	if ok {
		return fn
	}
	prog, err := emit.Program(k, f)
	if err != nil {
		t.Fatalf("%v\n%s", err, k)
	}
	code, err := x86.Compile(prog, f)
	if err != nil {
		t.Fatalf("%v\n%s", err, k)
	}
	fs, err := c.arena.Load(code)
	if err != nil {
		t.Fatal(err)
	}
	c.funcs[k.String()] = fs[0]
	return fs[0]
}

// Programs as they come from models.
var examples = map[string]string{
	"gelu": `program @gelu[n, m](x: [n, m] f32, a: [m] f32, b: [m] f32, r: [n, m] f32) -> (y: [n, m] f32) {
    y[i < n, j < m] = (((((x[i, j] * a[j]) + b[j]) * f32 0.5) * (f32 1 + erf((((x[i, j] * a[j]) + b[j]) * f32 0.70710677)))) + r[i, j])
  }`,
	"flat": `program @flat[n, m](x: [n, m] f32, r: [n, m] f32) -> (y: [n, m] f32) {
    t[i < n, j < m] f32 = max((x[i, j] * f32 2), f32 0)
    y[i < n, j < m] = select((t[i, j] < r[i, j]), min(t[i, j], r[i, j]), (x[i, j] - r[i, j]))
  }`,
	"layernorm": `program @layernorm[n, m](C: [n, m] f32, Scale: [m] f32, B: [m] f32) -> (Y: [n, m] f32) {
    t1[i < n] f32 = sum(k < m) C[i, k]
    t2[i < n] f32 = (t1[i] / f32({m}))
    t3[i < n] f32 = sum(k < m) ((C[i, k] - t2[i]) * (C[i, k] - t2[i]))
    t4[i < n] f32 = (t3[i] / f32({m}))
    Y[i < n, k < m] = ((((C[i, k] - t2[i]) * (f32 1 / sqrt((t4[i] + f32 1e-12)))) * Scale[k]) + B[k])
  }`,
	"residual": `program @residual[n, m](A: [m] f32, P: [1, n, m] f32, R: [1, n, m] f32, Scale: [m] f32) -> (Y: [1, n, m] f32) {
    C[h < 1, i < n, k < m] f32 = ((A[k] + P[h, i, k]) + R[h, i, k])
    t1[h < 1, i < n] f32 = sum(k < m) C[h, i, k]
    t2[h < 1, i < n] f32 = (t1[h, i] / f32({m}))
    Y[h < 1, i < n, k < m] = ((C[h, i, k] - t2[h, i]) * Scale[k])
  }`,
	"softmax": `program @softmax[b, h, n, m](x: [b, h, n, m] f32, mask: [b, 1, n, m] f32) -> (y: [b, h, n, m] f32) {
    t2[i < b, j < h, k < n, l < m] f32 = ((x[i, j, k, l] * f32 0.17677669) + mask[i, 0, k, l])
    t3[i < b, j < h, k < n] f32 = max(l < m) t2[i, j, k, l]
    t4[i < b, j < h, k < n, l < m] f32 = exp((t2[i, j, k, l] - t3[i, j, k]))
    t5[i < b, j < h, k < n] f32 = sum(l < m) t4[i, j, k, l]
    y[i < b, j < h, k < n, l < m] = (t4[i, j, k, l] / t5[i, j, k])
  }`,
	"pool": `program @pool[b, s, m](x: [b, s, m] f32, w: [b, s, m] f32, least: [] f32) -> (y: [b, m] f32) {
    r[i < b, j < m] f32 = sum(k < s) (x[i, k, j] * w[i, k, j])
    q[i < b, j < m] f32 = sum(k < s) w[i, k, j]
    y[i < b, j < m] = (r[i, j] / max(q[i, j], least[]))
  }`,
	"norm": `program @norm[b, m](x: [b, m] f32, least: [] f32) -> (y: [b, m] f32) {
    t[i < b, j < 1] f32 = sum(k < m) (x[i, k] * x[i, k])
    o[i < b, j < 1] f32 = max(sqrt(t[i, j]), least[])
    y[i < b, j < m] = (x[i, j] / o[i, 0])
  }`,
	"transpose": `program @transpose[n, m](x: [n, m] f32) -> (y: [m, n] f32) {
    y[i < m, j < n] = (x[j, i] + f32 1)
  }`,
	"heads": `program @heads[b, s, h](x: [b, s, h, 32] f32) -> (y: [b, h, s, 32] f32) {
    y[i < b, j < h, k < s, l < 32] = x[i, k, j, l]
  }`,
	"both": `program @both[n, m](x: [n, m] f32) -> (y: [] f32, z: [] f32) {
    y[] = sum(i < n, j < m) x[i, j]
    z[] = max(i < n, j < m) tanh(x[i, j])
  }`,
	"half": `program @half[n, m](x: [n, m] f16, b: [m] f16, s: [] bf16) -> (y: [n, m] f16, z: [n, m] bf16, c: [n, m] bool) {
    y[i < n, j < m] = f16((f32(x[i, j]) * f32(b[j])))
    z[i < n, j < m] = bf16((f32(y[i, j]) * f32(s[])))
    c[i < n, j < m] = (f32(x[i, j]) < f32(z[i, j]))
  }`,
	"quantize": `program @quantize[n, m](x: [n, m] f32, scale: [] f32, zero: [] u8, w: [n, m] i8, s: [n] f32) -> (y: [n, m] u8, z: [n, m] f32, v: [n, m] i8) {
    y[i < n, j < m] = u8(max(min((round((x[i, j] / scale[])) + f32(zero[])), f32 255), f32 0))
    z[i < n, j < m] = ((f32(y[i, j]) - f32(zero[])) * (f32(w[i, j]) * s[i]))
    v[i < n, j < m] = i8((x[i, j] * f32 200))
  }`,
	"mask": `program @mask[n, m](c: [n, m] bool, d: [m] bool, e: [] bool, x: [n, m] f32, q: [n, m] i8, u: [m] u8, k: [n, m] i64, l: [n] i32) -> (y: [n, m] f32, r: [n] bf16) {
    y[i < n, j < m] = select((c[i, j] & (d[j] | e[])), (x[i, j] + (f32(q[i, j]) - f32(u[j]))), (f32(k[i, j]) * f32(l[i])))
    r[i < n] = bf16(f32(l[i]))
  }`,
	"functions": `program @functions[n](x: [n] f32) -> (e: [n] f32, l: [n] f32, t: [n] f32, f: [n] f32, g: [n] f32) {
    e[i < n] = exp(x[i])
    l[i < n] = log(x[i])
    t[i < n] = tanh(x[i])
    f[i < n] = erf(x[i])
    g[i < n] = ((floor(x[i]) + ceil(neg(x[i]))) + (round(x[i]) * trunc(abs(x[i]))))
  }`,
}

// All kinds of ragged and empty sizes.
func TestExamples(t *testing.T) {
	for name, src := range examples {
		t.Run(name, func(t *testing.T) {
			p := programOf(t, src)
			r := rand.New(rand.NewPCG(1, 2))
			sizes := []int64{1, 2, 3, 7, 15, 16, 17, 31, 33, 64, 65, 100, 130, 0}
			for range 40 {
				bind := make([]int64, len(p.Syms))
				for {
					points := int64(1)
					for i := range bind {
						bind[i] = sizes[r.IntN(len(sizes))]
						points *= bind[i]
					}
					if points < 1<<15 {
						break
					}
				}
				special := 0
				if r.IntN(2) == 0 && name != "layernorm" && name != "residual" && name != "norm" {
					special = 20
				}
				groups, refused, _ := check(t, p, bind, r, special, false)
				if name == "half" || name == "mask" || name == "quantize" {
					if !emit.All(tiers(t)[0]) {
						t.Skip("AVX2 has no loads of these elements")
					}
				}
				if refused > 0 || groups == 0 {
					t.Fatalf("%v: %d kernels, %d stages refused", bind, groups, refused)
				}
			}
		})
	}
}

// What goes over the same rows is one kernel.
func TestFused(t *testing.T) {
	for _, name := range []string{"layernorm", "residual", "softmax", "pool", "norm", "gelu", "flat"} {
		s := kernel.New(programOf(t, examples[name]), kernel.Options{Lanes: 16})
		if len(s.Groups) != 1 {
			t.Errorf("%s is %d kernels: %v", name, len(s.Groups), s.Refused)
		}
	}
}
