package cpu

import (
	"context"
	"math/rand/v2"
	"testing"

	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/core/text"
)

const rowsProgram = `module {
program @rows[n, k](x: [n, k] f32) -> (y: [n, k] f32) {
  c[i < n, l < k] f32 = (x[i, l] * x[i, l])
  t[i < n] f32 = sum(l < k) c[i, l]
  y[i < n, l < k] = (c[i, l] / t[i])
}
}`

func rowsOf(t *testing.T) *ir.Program {
	t.Helper()
	m, err := text.Parse("test", []byte(rowsProgram), nil)
	if err != nil {
		t.Fatal(err)
	}
	return m.Programs[0]
}

// One plan serves all sizes.
func TestPlanOfAllSizes(t *testing.T) {
	d, p := New(1), rowsOf(t)
	defer d.Close()
	if d.machine.features == 0 {
		t.Skip("no machine code runs here")
	}
	var last *plan
	for _, n := range []int64{3, 40, 100} {
		c, err := d.codes.get(d, "", p, bindOf(p, n, 70))
		if err != nil {
			t.Fatal(err)
		}
		if c.kernels[0] == nil || c.kernels[0].count != 3 || last != nil && c.plans[0] != last {
			t.Fatalf("%d rows: %v, plan %p after %p", n, c.kernels, c.plans[0], last)
		}
		last = c.plans[0]
	}
}

// Rows that are so long that a call over one would take too long are computed stage by stage, each cut.
func TestLongRows(t *testing.T) {
	d, p := New(1), rowsOf(t)
	defer d.Close()
	if d.machine.features == 0 {
		t.Skip("no machine code runs here")
	}
	c, err := d.codes.get(d, "", p, bindOf(p, 2, 1<<20))
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range []int{0, 2} {
		if l := c.kernels[i]; l == nil || l.count != 1 || l.cut.Pieces() < 4 {
			t.Errorf("stage %d is %v", i, l)
		}
	}
}

// A result may lie where its program has read what it needs: over its operand at the very
// place, which loops over rows can do, and elsewhere, where only one stage after the other can.
func TestLoopsOverOperands(t *testing.T) {
	d, p := New(2), rowsOf(t)
	defer d.Close()
	const n, m = 70, 33
	r := rand.New(rand.NewPCG(1, 2))
	for _, shift := range []int{0, 1, m, 5 * m, n * m} {
		memory := tensor.New(tensor.F32, n*m+int64(shift))
		for i := range memory.Len() {
			memory.SetFloat(i, r.Float64()+0.5)
		}
		at := func(from int) *tensor.Tensor {
			x, err := tensor.FromBytes(tensor.F32, []int64{n, m}, memory.Bytes()[4*from:4*(from+n*m)])
			if err != nil {
				t.Fatal(err)
			}
			return x
		}
		want := tensor.New(tensor.F32, n, m)
		if err := d.Run(context.Background(), "", p, bindOf(p, n, m), []*tensor.Tensor{at(0).Clone()}, []*tensor.Tensor{want}, &heap{}); err != nil {
			t.Fatal(err)
		}
		got := at(shift)
		if err := d.Run(context.Background(), "", p, bindOf(p, n, m), []*tensor.Tensor{at(0)}, []*tensor.Tensor{got}, &heap{}); err != nil {
			t.Fatal(err)
		}
		if err := tensor.Compare(got, want, tensor.DefaultTolerance(tensor.F32)); err != nil {
			t.Errorf("%d elements on: %v", shift, err)
		}
	}
}

// An index that is out of its dim is the interpreter's error, and one that nobody asks for is none.
func TestIndexErrors(t *testing.T) {
	m, err := text.Parse("test", []byte(`module {
program @look[n, m](x: [9, m] f32, at: [n] i64, by: [m] i64) -> (y: [n, m] f32, z: [n, m] f32) {
  y[i < n, j < m] = x[at[i], j]
  z[i < n, j < m] = guard(((by[j] >= 0) & (at[i] < 9)), x[at[i], by[j]], f32 7)
}
}`), nil)
	if err != nil {
		t.Fatal(err)
	}
	p := m.Programs[0]
	d := New(2)
	defer d.Close()
	const n, k = 20, 40
	for _, c := range []struct{ row, at, by int64 }{{0, 0, 0}, {19, 8, 39}, {3, 9, 0}, {19, -1, 0}, {5, 3, 40}, {5, 3, -1}, {0, 1 << 62, 1}, {7, 2, 1 << 40}} {
		x, at, by := tensor.New(tensor.F32, 9, k), tensor.New(tensor.I64, n), tensor.New(tensor.I64, k)
		for i := range x.Len() {
			x.SetFloat(i, float64(i))
		}
		at.SetInt(c.row, c.at)
		by.SetInt(2*c.row, c.by)
		args := []*tensor.Tensor{x, at, by}
		want, failed := interp.RunProgram(context.Background(), p, bindOf(p, n, k), args)
		got := make([]*tensor.Tensor, 2)
		err := d.Run(context.Background(), "", p, bindOf(p, n, k), args, got, &heap{})
		if (err == nil) != (failed == nil) || err != nil && err.Error() != failed.Error() {
			t.Errorf("%v: %v, on the interpreter %v", c, err, failed)
		}
		for i := range want {
			if failed != nil {
				break
			}
			if err := tensor.Compare(got[i], want[i], tensor.Tolerance{}); err != nil {
				t.Errorf("%v: %v", c, err)
			}
		}
	}
}

const scatterProgram = `module {
program @put[m, n, r](zeros: [n, m] f32, x: [r, m] f32, w: [n] f32, at: [r] i64) -> (y: [n, m] f32) {
  y[i < r, j < m] = scatter sum(zeros, [select((at[i] < 0), (at[i] + {n}), at[i]), j]) (x[i, j] * w[select((at[i] < 0), (at[i] + {n}), at[i])])
}
}`

// Rows that are added somewhere are so by machine code, in order, whatever the threads: the bits are the interpreter's, as
// are errors. So many rows that a call would take too long are not.
func TestScatters(t *testing.T) {
	m, err := text.Parse("test", []byte(scatterProgram), nil)
	if err != nil {
		t.Fatal(err)
	}
	p := m.Programs[0]
	for _, tier := range tiers(t) {
		for _, d := range []*Device{tier.device(1), tier.inParts(3)} {
			defer d.Close()
			r := rand.New(rand.NewPCG(3, 5))
			for _, size := range [][3]int64{{5, 40, 70}, {9, 200, 33}, {3, 1, 300}, {1, 90, 1}, {7, 0, 20}} {
				n, rows, cols := size[0], size[1], size[2]
				args := []*tensor.Tensor{tensor.New(tensor.F32, n, cols), tensor.New(tensor.F32, rows, cols), tensor.New(tensor.F32, n), tensor.New(tensor.I64, rows)}
				for _, a := range args[:3] {
					for i := range a.Len() {
						a.SetFloat(i, r.NormFloat64())
					}
				}
				for i := range rows {
					args[3].SetInt(i, r.Int64N(2*n)-n)
				}
				for _, wrong := range []int64{0, n, -n - 1} {
					if wrong != 0 && rows > 0 {
						args[3].SetInt(rows/2, wrong)
					}
					want, failed := interp.RunProgram(context.Background(), p, []int64{cols, n, rows}, args)
					got := make([]*tensor.Tensor, 1)
					err := d.Run(context.Background(), "", p, []int64{cols, n, rows}, args, got, &heap{})
					switch {
					case (failed != nil) != (wrong != 0 && rows > 0) || (err == nil) != (failed == nil) || err != nil && err.Error() != failed.Error():
						t.Fatalf("%s, %v, with %d: %v, on the interpreter %v", tier.name, size, wrong, err, failed)
					case err == nil && !tensor.Equal(got[0], want[0]):
						t.Fatalf("%s, %v: other bits", tier.name, size)
					}
				}
			}
			for rows, machine := range map[int64]bool{512: true, 1 << 20: false} {
				c, err := d.codes.get(d, "", p, []int64{768, 512, rows})
				if err != nil {
					t.Fatal(err)
				}
				if l := c.kernels[0]; (l != nil) != (machine && tier.features != 0) {
					t.Errorf("%s, %d rows: machine code: %v", tier.name, rows, l != nil)
				}
			}
		}
	}
}
