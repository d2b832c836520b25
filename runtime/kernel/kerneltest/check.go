// Package kerneltest is what tests of every way to run kernels share: programs as models have them,
// random ones, and a check of what comes out against the evaluator of kernels and the interpreter.
package kerneltest

import (
	"context"
	"maps"
	"math"
	"math/rand/v2"
	"testing"

	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/core/text"
	"github.com/pitopt/pitopt/runtime/kernel"
)

// Machine is a way to run kernels beside the evaluator.
type Machine struct {
	Name    string
	Options kernel.Options // of the schedules
	// Run computes a whole box, cut in pieces, in memory of each buffer of the kernel, and says whether it has
	// failed, as kernel.OpMust has it.
	Run func(t testing.TB, c *kernel.Cut, memory [][]byte) (failed bool)
}

// Program is a program in the text form.
func Program(t testing.TB, src string) *ir.Program {
	t.Helper()
	m, err := text.Parse("test", []byte("module {\n"+src+"\n}\n"), nil)
	if err != nil {
		t.Fatal(err)
	}
	return m.Programs[0]
}

// Draw fills a tensor with numbers, one in so many of them a special one.
func Draw(r *rand.Rand, t *tensor.Tensor, special int) {
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

// symbols gives the values of a program's symbols.
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

// Check runs the kernels of a program on the evaluator and on machines: the results of both are the same
// bits, and close to those of the interpreter. special and whole are what the parameters hold: one in so
// many is NaN or the like, or all are small whole numbers.
func Check(t testing.TB, p *ir.Program, bind []int64, r *rand.Rand, special int, whole bool, machines []Machine) (groups, refused, compared int) {
	t.Helper()
	value := symbols(p, bind)
	args := arguments(t, p, value, r, special, whole)
	all := stages(t, p, bind, args)
	comparable := p.Name != "rounded" && (p.Name != "random" || whole && exact(all)) // else sums that cancel differ by their order
	for _, m := range machines {
		o := m.Options
		o.Repeats = repeats(p, bind)
		s := kernel.New(p, o)
		for i, st := range p.Stages {
			why, is := s.Refused[i]
			if is != (kernel.Why(st) != "") && (o.Scatters || st.Kind != ir.ScatterStage) {
				t.Errorf("%s: stage %s: %q, Why says %q", m.Name, st.Out().Name, why, kernel.Why(st))
			}
			if is {
				refused++
			}
		}
		for _, g := range s.Groups {
			groups++
			own := maps.Clone(all)
			for _, k := range g.Before {
				m.check(t, k, value, own, r, false)
			}
			compared += m.check(t, g.Kernel, value, own, r, comparable)
		}
	}
	return groups, refused, compared
}

// arguments draws the parameters of a program.
func arguments(t testing.TB, p *ir.Program, value func(string) (int64, bool), r *rand.Rand, special int, whole bool) (args []*tensor.Tensor) {
	for _, b := range p.Params {
		var shape []int64
		for _, d := range b.RoomDims() {
			n, err := d.Eval(value)
			if err != nil {
				t.Fatal(err)
			}
			shape = append(shape, n)
		}
		a := tensor.New(b.DType, shape...)
		Draw(r, a, special)
		if whole {
			for i := range a.Len() {
				a.SetFloat(i, float64(r.IntN(7)-3))
			}
		}
		args = append(args, a)
	}
	return args
}

// check runs a kernel in both ways; all is what the buffers hold on the interpreter.
func (m Machine) check(t testing.TB, k *kernel.Kernel, value func(string) (int64, bool), all map[*ir.Buffer]*tensor.Tensor, r *rand.Rand, comparable bool) (compared int) {
	t.Helper()
	if err := k.Verify(nil); err != nil {
		t.Fatal(err)
	}
	b, err := k.Bind(value)
	if err != nil {
		t.Logf("kernel %s: %v", k.Name, err)
		return 0
	}
	if b.Empty() {
		return 0
	}
	for _, o := range k.Buffers { // beside the program's
		if all[o.Of] == nil && !o.Scratch {
			n, err := o.Len.Eval(value)
			if err != nil {
				t.Fatal(err)
			}
			all[o.Of] = tensor.New(o.DType, n)
		}
	}
	var memory [2][][]byte
	for way := range memory {
		for i, o := range k.Buffers {
			n := b.Scratch[i]
			if !o.Scratch {
				n = int64(len(all[o.Of].Bytes()))
			}
			mem, free := Guarded(t, int(n))
			defer free()
			if o.Base != nil {
				copy(mem, all[o.Base].Bytes())
			} else if o.Written {
				for j := range mem {
					mem[j] = 0xA5
				}
			} else {
				copy(mem, all[o.Of].Bytes())
			}
			memory[way] = append(memory[way], mem)
		}
	}
	failed := false
	cut := b.Cut(float64(1 + r.IntN(3000)))
	ranges := make([]int64, 2*len(b.Extents))
	for i := range cut.Pieces() {
		cut.Piece(i, ranges)
		f, err := b.Run(memory[0], ranges)
		if err != nil {
			t.Fatalf("%v\n%s", err, k)
		}
		failed = failed || f
	}
	if f := m.Run(t, cut, memory[1]); f != failed {
		t.Fatalf("it has failed on the evaluator: %v, on %s: %v\n%s", failed, m.Name, f, k)
	}
	for i, o := range k.Buffers {
		if !o.Written || o.Scratch {
			continue
		}
		want := all[o.Of]
		var got [2]*tensor.Tensor
		for way := range got {
			got[way], _ = tensor.FromBytes(o.DType, want.Shape(), memory[way][i])
		}
		for j := range want.Len() {
			x, y := got[1].Float(j), got[0].Float(j)
			if math.Float64bits(x) != math.Float64bits(y) && (x == x || y == y) {
				t.Fatalf("element %d of %s is %g on %s, %g on the evaluator\n%s", j, o.Of.Name, x, m.Name, y, k)
			}
		}
		if !comparable {
			copy(want.Bytes(), memory[0][i]) // for the kernels that read it, where it is none of the program's
			continue
		}
		compared++
		if err := tensor.Compare(got[0], want, tensor.DefaultTolerance(o.DType)); err != nil {
			t.Fatalf("the evaluator against the interpreter: %s: %v\n%s", o.Of.Name, err, k)
		}
	}
	return compared
}
