package cpu

import (
	"context"
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"
	"unsafe"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/runtime/cpu/x86"
)

// matmul is Y[m, n] = sum(k) X[m, k] * W[k, n].
func matmul(m, k, n int64) *ir.Program {
	p, i, j, l := &ir.Program{Name: "matmul"}, &ir.Axis{Extent: sym.Const(m)}, &ir.Axis{Extent: sym.Const(n)}, &ir.Axis{Extent: sym.Const(k)}
	buffer := func(name string, dims ...int64) *ir.Buffer {
		return &ir.Buffer{Name: name, DType: tensor.F32, Dims: ir.Consts(dims)}
	}
	x, w, y := buffer("x", m, k), buffer("w", k, n), buffer("y", m, n)
	p.Params, p.Results = []*ir.Buffer{x, w}, []*ir.Buffer{y}
	p.Stages = []*ir.Stage{{Kind: ir.ReduceStage, Monoid: ir.Sum, Axes: []*ir.Axis{i, j}, Red: []*ir.Axis{l},
		Outs: []*ir.Buffer{y}, Exprs: []*ir.Scalar{ir.Load(x, i.Ix(), l.Ix()).Mul(ir.Load(w, l.Ix(), j.Ix()))}}}
	p.Finish()
	return p
}

func random(shape ...int64) *tensor.Tensor {
	t := tensor.New(tensor.F32, shape...)
	for i := range tensor.Data[float32](t) {
		tensor.Data[float32](t)[i] = rand.Float32() - 0.5
	}
	return t
}

var began = time.Now()

// planned is memory with the workspace that the device asks for.
type planned struct {
	heap
	work []byte
}

func (p *planned) Workspace(int) ([]byte, error) { return p.work, nil }

// peak is code that multiplies and adds in registers alone, and how many operations a call
// does.
func peak(b *testing.B, f x86.Features) (run func(), flops float64) {
	const turns, sums = 2000, 10
	kind, lanes := x86.YMM, 8
	if f&x86.V4 != 0 {
		kind, lanes = x86.ZMM, 16
	}
	p := x86.NewProg("peak")
	var regs [sums]x86.Reg
	for i := range regs {
		regs[i] = p.New(kind)
		p.Emit(x86.VXORPS, regs[i], regs[i], regs[i])
	}
	x := p.New(kind)
	p.Emit(x86.VXORPS, x, x, x)
	n, loop := p.New(x86.GP64), p.Label("loop")
	p.Emit(x86.MOV, n, x86.Imm(turns))
	p.Bind(loop)
	for range 4 {
		for _, r := range regs {
			p.Emit(x86.VFMADD231PS, r, x, x)
		}
	}
	p.Emit(x86.DEC, n)
	p.Emit(x86.JNE, loop)
	p.Emit(x86.RET)
	c, err := x86.Compile(p, f)
	if err != nil {
		b.Fatal(err)
	}
	var arena x86.Arena
	fs, err := arena.Load(c)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { arena.Close() })
	var args [8]int64
	return func() { fs[0].Call(unsafe.Pointer(&args)) }, turns * 4 * sums * 2 * float64(lanes)
}

// BenchmarkProducts gives GFLOP/s of products on one thread, with weights that are constants and
// with those that come with the call, and the share of what the same core does in
// registers alone at the same time: both are the best of many tries, in turns, in time of the
// thread where the system tells that.
func BenchmarkProducts(b *testing.B) {
	for _, tier := range tiers(b) {
		sizes := [][3]int64{{1024, 1024, 1024}}
		for _, kn := range [][2]int64{{768, 768}, {768, 3072}, {3072, 768}, {384, 384}, {384, 1536}} {
			for _, m := range []int64{1, 8, 64, 128, 512} {
				sizes = append(sizes, [3]int64{m, kn[0], kn[1]})
			}
		}
		for _, s := range sizes {
			for _, constant := range []bool{true, false} {
				b.Run(fmt.Sprintf("%s/%dx%dx%d/constant=%v", tier.name, s[0], s[1], s[2], constant), func(b *testing.B) {
					d := tier.device(1)
					defer d.Close()
					p, h := matmul(s[0], s[1], s[2]), &planned{heap: heap{constant: map[int]bool{1: constant}, room: 1 << 30}}
					sizes, err := d.Workspace(kernelProduct, p, nil, func(i int) bool { return h.constant[i] })
					if err != nil {
						b.Fatal(err)
					}
					h.work = make([]byte, sizes[0])
					args, results := []*tensor.Tensor{random(s[0], s[1]), random(s[1], s[2])}, []*tensor.Tensor{random(s[0], s[2])}
					run := func() {
						if err := d.Run(context.Background(), kernelProduct, p, nil, args, results, h); err != nil {
							b.Fatal(err)
						}
					}
					run()
					flops := 2 * float64(s[0]) * float64(s[1]) * float64(s[2])
					top, topFlops := func() {}, 0.0
					if tier.features != 0 {
						top, topFlops = peak(b, tier.features)
					}
					runtime.LockOSThread()
					defer runtime.UnlockOSThread()
					least, leastTop := time.Hour, time.Hour
					for b.Loop() {
						start := clock()
						run()
						mid := clock()
						top()
						least, leastTop = min(least, mid-start), min(leastTop, clock()-mid)
					}
					ns, nsTop := float64(least.Nanoseconds()), float64(leastTop.Nanoseconds())
					b.ReportMetric(flops/ns, "GFLOP/s")
					if s[0] == 1 {
						b.ReportMetric(4*float64(s[1]*s[2])/ns, "GB/s")
					}
					if topFlops > 0 {
						b.ReportMetric(100*flops/ns/(topFlops/nsTop), "%peak")
					}
				})
			}
		}
	}
}
