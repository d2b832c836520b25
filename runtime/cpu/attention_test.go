package cpu

import (
	"bytes"
	"context"
	"math"
	"math/rand/v2"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/pass"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/core/text"
	"github.com/pitopt/pitopt/passes/builtin"
	"github.com/pitopt/pitopt/runtime"
	"github.com/pitopt/pitopt/runtime/kernel"
)

// attentionForm is an attention in the text form, of what it does to scores.
type attentionForm struct {
	name   string
	params string // beside queries, keys and values
	x      string // of score, at batch i, key head j, head k in it, query l and key m
	safe   bool
	half   bool // queries, keys and values are f16
	last   bool // the sums are divided, instead of the weights
}

var attentionForms = []attentionForm{
	{name: "plain", x: "score"},
	{name: "scaled", x: "(score * f32 0.125)"},
	{name: "capped", x: "(tanh((score / f32 3)) * f32 3)"},
	{name: "additive", params: "mask: [b, 1, s, t] f32", x: "((score * f32 0.25) + mask[i, 0, l, m])", safe: true},
	{name: "of keys", params: "mask: [b, 1, 1, t] f32", x: "(score + mask[i, 0, 0, m])"},
	{name: "of heads", params: "mask: [b, h, g, s, t] f32", x: "(score + mask[i, j, k, l, m])", safe: true},
	{name: "transposed", params: "mask: [t, s] f32", x: "(score + mask[m, l])"},
	{name: "truth", params: "mask: [b, 1, s, t] bool", x: "select(mask[i, 0, l, m], (score * f32 0.25), f32 -inf)"},
	{name: "truth, safe", params: "mask: [b, 1, s, t] bool", x: "select(mask[i, 0, l, m], (score * f32 0.25), f32 -inf)", safe: true},
	{name: "f16", x: "(score * f32 0.25)", half: true},
	{name: "finite", params: "mask: [b, 1, s, t] bool", x: "select(mask[i, 0, l, m], score, f32 -1e9)"},
	{name: "causal", x: "select((m <= (l + {t - s})), score, f32 -inf)"},
	{name: "window", x: "select(((m <= (l + {t - s})) & ((m + 7) > l)), score, f32 -inf)", safe: true},
	{name: "up to a length", params: "length: [b] i64", x: "select((m < length[i]), (score * f32 0.25), f32 -inf)"},
	{name: "up to a length, finite", params: "length: [b] i32", x: "select((m >= i64(length[i])), f32 -3.4028235e38, score)"},
	{name: "sequences", params: "start: [b, s] i64, end: [b, s] i64", x: "select(((m >= start[i, l]) & (m < end[i, l])), (score * f32 0.25), f32 -inf)", safe: true},
	{name: "sequences, finite, causal", params: "start: [s] i64, end: [s] i64", x: "select((((m >= start[l]) & (m < end[l])) & (m <= (l + {t - s}))), score, f32 -1e9)"},
	{name: "sequences of any head", params: "start: [h, g, s] i32, end: [h, g, s] i64", x: "select(((m < i64(start[j, k, l])) | (m >= end[j, k, l])), f32 -inf, score)"},
	{name: "sequences, added", params: "start: [s] i64, end: [s] i64", x: "((score + select((m >= start[l]), f32 0, f32 -inf)) + select((m < end[l]), f32 0, f32 -1e30))"},
	{name: "truth of integers", params: "truth: [b, t] i64", x: "select((truth[i, m] != i64 0), score, f32 -inf)"},
	{name: "one position", params: "start: [b, s] i64", x: "select((m == start[i, l]), score, f32 -inf)"},
	{name: "divided last", x: "(score * f32 0.25)", last: true},
	{name: "divided last, truth", params: "mask: [b, 1, s, t] bool", x: "select(mask[i, 0, l, m], (score * f32 0.25), f32 -inf)", last: true},
	{name: "divided last, finite", params: "mask: [b, 1, s, t] bool", x: "select(mask[i, 0, l, m], score, f32 -1e9)", last: true},
	{name: "divided last, up to a length", params: "length: [b] i64", x: "select((m < length[i]), (score * f32 0.25), f32 -inf)", last: true},
	{name: "scaled by what is read, added", params: "scale: [h] f32, mask: [s, t] f32", x: "((score / scale[j]) + mask[l, m])"},
	{name: "relative", params: "bias: [h, 2*g*s + t] f32", x: "(score + bias[j, ((m - l) + {2*g*s})])"},
	{name: "relative, truth", params: "mask: [b, 1, s, t] bool, bias: [h, 2*g*s + t] f32", x: "(score + select(mask[i, 0, l, m], bias[j, ((m - l) + {2*g*s})], f32 -3.4028235e38))"},
	{name: "relative, near", params: "near: [2*g*s + t] bool", x: "select(near[((m - l) + {2*g*s})], score, f32 -1e9)"},
	{name: "relative, sequences", params: "start: [s] i64, end: [s] i64, bias: [2*g*s + t] f32", x: "(score + select(((m >= start[l]) & (m < end[l])), bias[((m - l) + {2*g*s})], f32 -3.4028235e38))"},
	{name: "slopes", params: "slope: [h] f32", x: "(score + (slope[j] * f32((m - l))))"},
}

// text is the program of a form; of some layouts, one.
func (f attentionForm) text(layout int) string {
	q, load := "q: [b, h, g, s, d] f32, k: [b, h, t, d] f32, v: [b, h, t, e] f32", [3]string{"q[i, j, k, l, n]", "k[i, j, m, n]", "v[i, j, n, m]"}
	if layout == 1 {
		q, load = "q: [b, s, h, g, d] f32, k: [b, t, h, d] f32, v: [b, t, h, e] f32", [3]string{"q[i, l, j, k, n]", "k[i, m, j, n]", "v[i, n, j, m]"}
	}
	if f.half {
		q = strings.ReplaceAll(q, "f32", "f16")
		for i, x := range load {
			load[i] = "f32(" + x + ")"
		}
	}
	if f.params != "" {
		q += ", " + f.params
	}
	score := "t1[i, j, k, l, m]"
	x := ""
	for rest := f.x; ; {
		at := len(rest)
		for i := range rest {
			if i+5 <= len(rest) && rest[i:i+5] == "score" {
				at = i
				break
			}
		}
		x += rest[:at]
		if at == len(rest) {
			break
		}
		x, rest = x+score, rest[at+5:]
	}
	w := "(t4[i, j, k, l, m] / t5[i, j, k, l])"
	if f.safe {
		w = "select(isnan(" + w + "), f32 0, " + w + ")"
	}
	out, axes, at := "[b, h, g, s, e]", "i < b, j < h, k < g, l < s, m < e", ""
	result := "y"
	if layout == 2 { // heads side by side, and features of a head
		result, out = "t7", "[b, s, h*g, e]"
		at = "\n  y[i < b, j < s, k < h*g, l < e] = t7[i, (k // {g}), (k % {g}), j, l]"
	}
	typed := ""
	if result != "y" {
		typed = " f32"
	}
	if layout == 1 {
		out, axes = "[b, s, h, g, e]", "i < b, l < s, j < h, k < g, m < e"
	}
	w = `
  t6[i < b, j < h, k < g, l < s, m < t] f32 = ` + w
	weight := "t6"
	if f.last { // by an inverse, and what moves it divides it
		weight, w = "t4", ""
		switch layout {
		case 0:
			at = "\n  y[" + axes + "] = (t6[i, j, k, l, m] / t5[i, j, k, l])"
		case 1:
			at = "\n  t7[i < b, j < h, k < g, l < s] f32 = (f32 1 / t5[i, j, k, l])\n  y[" + axes + "] = (t6[i, l, j, k, m] * t7[i, j, k, l])"
		default:
			at = "\n  y[i < b, s1 < s, k < h*g, l < e] = (t6[i, (k // {g}), (k % {g}), s1, l] / t5[i, (k // {g}), (k % {g}), s1])"
		}
		result, typed = "t6", " f32"
	}
	return `module {
program @attention[b, h, g, s, t, d, e](` + q + `) -> (y: ` + out + ` f32) {
  t1[i < b, j < h, k < g, l < s, m < t] f32 = sum(n < d) (` + load[0] + ` * ` + load[1] + `)
  t2[i < b, j < h, k < g, l < s, m < t] f32 = ` + x + `
  t3[i < b, j < h, k < g, l < s] f32 = max(m < t) t2[i, j, k, l, m]
  t4[i < b, j < h, k < g, l < s, m < t] f32 = exp((t2[i, j, k, l, m] - t3[i, j, k, l]))
  t5[i < b, j < h, k < g, l < s] f32 = sum(m < t) t4[i, j, k, l, m]` + w + `
  ` + result + `[` + axes + `]` + typed + ` = sum(n < t) (` + weight + `[i, j, k, l, n] * ` + load[2] + `)` + at + `
}
}`
}

func (f attentionForm) program(t testing.TB, layout int) *ir.Program {
	t.Helper()
	m, err := text.Parse("test", []byte(f.text(layout)), nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, f.text(layout))
	}
	return m.Programs[0]
}

// Attentions of all forms and ragged sizes, between guards, equal the interpreter's stages.
func TestAttentions(t *testing.T) {
	t.Parallel()
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	rounds := 18
	if testing.Short() {
		rounds = 6
	}
	for _, tier := range tiers(t) {
		t.Run(tier.name, func(t *testing.T) {
			device := tier.inParts(2)
			r := rand.New(rand.NewPCG(5, 6))
			for _, f := range attentionForms {
				t.Run(f.name, func(t *testing.T) {
					taken := 0
					for round := range rounds {
						t.Run("", func(t *testing.T) {
							if oneAttention(t, r, f, round, device) {
								taken++
							}
						})
					}
					if 4*taken < 3*rounds {
						t.Errorf("%d of %d were computed by tiles", taken, rounds)
					}
				})
			}
		})
	}
}

// oneAttention draws one, and says whether tiles compute it.
func oneAttention(t *testing.T, r *rand.Rand, f attentionForm, round int, d *Device) bool {
	p := f.program(t, round%3)
	mem := &fence{heap{}, t}
	size := func(list ...int64) int64 { return list[r.IntN(len(list))] }
	s := size(1, 2, 3, 5, 14, 15, 57, 90)
	if d.machine.features == 0 && round%6 > 0 { // fewer rows are stages one by one
		s += stageRows
	}
	sizes := map[string]int64{"b": size(1, 2), "h": size(1, 2, 3), "g": size(1, 1, 3), "s": s, "t": s + size(0, 0, 1, 30, 128, 300), "d": size(1, 8, 16, 33, 64), "e": size(1, 5, 16, 32, 40, 64)}
	if f.name == "causal" && r.IntN(3) == 0 {
		sizes["t"] = max(2, s-size(1, 4, 20)) // rows of which all is masked
	}
	var bind []int64
	for _, n := range p.Syms {
		bind = append(bind, sizes[n])
	}
	get := func(n string) (int64, bool) { v, ok := sizes[n]; return v, ok }
	var args []*tensor.Tensor
	for i, b := range p.Params {
		var shape []int64
		for _, e := range b.Dims {
			n, err := e.Eval(get)
			if err != nil {
				t.Fatal(err)
			}
			shape = append(shape, n)
		}
		x := mem.tensor(b.DType, shape...)
		last := shape[len(shape)-1]
		for j := range x.Len() {
			switch {
			case b.Name == "near":
				at := j - 2*sizes["g"]*sizes["s"]
				x.SetBool(j, -3 < at && at < 3)
			case b.DType == tensor.Bool:
				x.SetBool(j, r.IntN(3) > 0 && j/last%7 != 3)
			case b.Name == "truth":
				x.SetInt(j, r.Int64N(3)-1)
			case b.Name == "length" || b.Name == "start" && b.DType == tensor.I64 && f.name == "one position":
				x.SetInt(j, r.Int64N(sizes["t"]+2)-1)
			case b.Name == "start" || b.Name == "end": // of sequences of a length
				n := int64(1 + round*round)
				at := j % last / n * n
				if at -= r.Int64N(2); b.Name == "end" {
					at += n
				}
				if round%9 == 4 && j%5 == 1 {
					at = []int64{-1 << 31, 1<<31 - 1, 0, sizes["t"]}[r.IntN(4)]
				}
				x.SetInt(j, at)
			case b.Name == "mask":
				x.SetFloat(j, r.NormFloat64())
				if r.IntN(3) == 0 || j/last%7 == 3 {
					x.SetFloat(j, math.Inf(-1))
				}
			default:
				x.SetFloat(j, r.NormFloat64())
				if round%6 == 5 && r.IntN(int(x.Len()))/2 == 0 {
					x.SetFloat(j, []float64{math.NaN(), math.Inf(1), math.Inf(-1), 1e30, -1e30, math.Copysign(0, -1), 1e-40}[r.IntN(7)])
				}
				if i == 2 && x.Float(j) > 1e20 && round%12 != 5 {
					x.SetFloat(j, 1) // sums of these may be too large
				}
			}
		}
		args = append(args, x)
	}
	want, err := interp.RunProgram(context.Background(), p, bind, args)
	if err != nil {
		t.Fatal(err)
	}
	got := mem.tensor(tensor.F32, want[0].Shape()...)
	for i := range got.Len() {
		got.SetFloat(i, 77)
	}
	if err := d.Run(context.Background(), kernelProduct, p, bind, args, []*tensor.Tensor{got}, mem); err != nil {
		t.Fatal(err)
	}
	if err := tensor.Compare(got, want[0], tensor.Tolerance{RTol: 2e-5, ATol: 2e-5}); err != nil {
		t.Errorf("%s %v: %v", f.name, sizes, err)
	}
	if n := mem.live.Load(); n != 0 {
		t.Errorf("%d tensors are not given back", n)
	}
	c, err := d.codes.get(d, kernelProduct, p, bind)
	if err != nil {
		t.Fatal(err)
	}
	return c.attentions[0] != nil
}

// Bits are the same on any number of threads, and a run that is stopped ends.
func TestAttentionThreads(t *testing.T) {
	threads := []int{1, 2, 3, 8}
	if testing.Short() {
		threads = []int{1, 3}
	}
	var devices []*Device // each makes its machine code once for all forms
	for _, n := range threads {
		d := New(n)
		defer d.Close()
		d.alone = 0
		devices = append(devices, d)
	}
	for _, f := range attentionForms {
		p := f.program(t, 1)
		sizes := map[string]int64{"b": 1, "h": 2, "g": 2, "s": 200, "t": 290, "d": 24, "e": 40}
		r := rand.New(rand.NewPCG(8, 9))
		var bind []int64
		for _, n := range p.Syms {
			bind = append(bind, sizes[n])
		}
		var args []*tensor.Tensor
		for _, b := range p.Params {
			var shape []int64
			for _, e := range b.Dims {
				n, _ := e.Eval(func(n string) (int64, bool) { v, ok := sizes[n]; return v, ok })
				shape = append(shape, n)
			}
			x := tensor.New(b.DType, shape...)
			for j := range x.Len() {
				if b.DType == tensor.Bool {
					x.SetBool(j, r.IntN(4) > 0)
				} else if b.DType.IsInt() {
					x.SetInt(j, map[string]int64{"start": j / 30 * 30, "end": j/30*30 + 30, "length": 77, "truth": j % 2}[b.Name])
				} else {
					x.SetFloat(j, r.NormFloat64())
				}
			}
			args = append(args, x)
		}
		var first *tensor.Tensor
		for i, d := range devices {
			out := tensor.New(tensor.F32, 1, 200, 2, 2, 40)
			if err := d.Run(context.Background(), kernelProduct, p, bind, args, []*tensor.Tensor{out}, &heap{}); err != nil {
				t.Fatal(err)
			}
			if first == nil {
				first = out
			} else if !bytes.Equal(first.Bytes(), out.Bytes()) {
				t.Errorf("%s: %d threads give other bits", f.name, threads[i])
			}
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			if err := d.Run(ctx, kernelProduct, p, bind, args, []*tensor.Tensor{out}, &heap{}); err == nil {
				t.Errorf("%s: a run that was stopped has no error", f.name)
			}
		}
	}
}

// What an attention takes grows with the number of keys, not with its square.
func TestAttentionMemory(t *testing.T) {
	d := New(1)
	defer d.Close()
	p := attentionForms[0].program(t, 0)
	bytesOf := func(n int64) (all int64) {
		sizes := map[string]int64{"b": 1, "h": 12, "g": 1, "s": n, "t": n, "d": 64, "e": 64}
		var bind []int64
		for _, s := range p.Syms {
			bind = append(bind, sizes[s])
		}
		needs, err := d.Workspace(kernelProduct, p, bind, func(int) bool { return false })
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range needs {
			all += n
		}
		return all
	}
	if a, b := bytesOf(2048), bytesOf(8192); a == 0 || b > 5*a {
		t.Errorf("%d bytes for 2048 keys, %d for 8192", a, b)
	}
	r := p.Inside(kernel.Attentions(p)[0].Range)
	if len(r) != len(p.Stages)-1 {
		t.Errorf("inside are %d buffers of %d stages", len(r), len(p.Stages))
	}
}

// A module whose memory was planned for stages one by one, for another target, gives the same where they
// are computed together.
func TestAttentionPlannedElsewhere(t *testing.T) {
	src := strings.TrimSuffix(strings.TrimSpace(attentionForms[0].text(0)), "}") + `
program @twice[b, h, g, s, e](x: [b, h, g, s, e] f32) -> (y: [b, h, g, s, e] f32) {
  y[i < b, j < h, k < g, l < s, m < e] = (x[i, j, k, l, m] + x[i, j, k, l, m])
}
func @main(%q: [b, h, g, s, d] f32, %k: [b, h, t, d] f32, %v: [b, h, t, e] f32) -> ([b, h, g, s, e] f32) {
  %a: [b, h, g, s, e] f32 = call @attention[b, h, g, s, t, d, e](%q, %k, %v)
  %y: [b, h, g, s, e] f32 = call @twice[b, h, g, s, e](%a)
  return %y
}
}`
	m, err := text.Parse("test", []byte(src), nil)
	if err != nil {
		t.Fatal(err)
	}
	plain := newDevice(1, 0).Target()
	plain.Kernels[0].Together = nil
	mg := pass.Manager{Target: plain}
	if err := mg.Run(context.Background(), m, []pass.Step{{Pass: builtin.Dispatch}, {Pass: builtin.PlanMemory}}); err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	var in []tensor.Value
	for _, shape := range [][]int64{{1, 2, 1, 60, 32}, {1, 2, 300, 32}, {1, 2, 300, 48}} {
		x := tensor.New(tensor.F32, shape...)
		for i := range x.Len() {
			x.SetFloat(i, r.NormFloat64())
		}
		in = append(in, x)
	}
	var want *tensor.Tensor
	for _, tier := range tiers(t) {
		x, err := runtime.Load(m, tier.device(2), runtime.Options{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := x.Run(context.Background(), in)
		if err != nil {
			t.Fatal(err)
		}
		if want == nil {
			want = got[0].(*tensor.Tensor)
		} else if err := tensor.Compare(got[0].(*tensor.Tensor), want, tensor.Tolerance{RTol: 2e-5, ATol: 2e-5}); err != nil {
			t.Errorf("%s: %v", tier.name, err)
		}
	}
}
