package emit_test

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"unsafe"

	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/runtime/cpu/emit"
	"github.com/pitopt/pitopt/runtime/cpu/x86"
	"github.com/pitopt/pitopt/runtime/kernel"
	"github.com/pitopt/pitopt/runtime/kernel/kerneltest"
)

// What making a kernel and its code takes.
func BenchmarkMake(b *testing.B) {
	for _, name := range []string{"gelu", "layernorm", "softmax", "transpose"} {
		p := kerneltest.Program(b, kerneltest.Examples[name])
		f := tiers(b)[0]
		b.Run(name+"/schedule", func(b *testing.B) {
			for range b.N {
				kernel.New(p, kernel.Options{Lanes: emit.Lanes(f), Blocked: true, Squares: true})
			}
		})
		k := kernel.New(p, kernel.Options{Lanes: emit.Lanes(f), Blocked: true, Squares: true}).Groups[0].Kernel
		b.Run(name+"/code", func(b *testing.B) {
			for range b.N {
				prog, err := emit.Program(k, f)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := x86.Compile(prog, f); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// Kernels over rows of 768, in and out of the caches; GB/s count what is read and written once.
func BenchmarkKernels(b *testing.B) {
	for _, name := range []string{"gelu", "layernorm", "softmax768"} {
		src := kerneltest.Examples[name]
		if name == "softmax768" {
			src = `program @softmax[n, m](x: [n, m] f32) -> (y: [n, m] f32) {
			  a[i < n] f32 = max(l < m) x[i, l]
			  e[i < n, l < m] f32 = exp((x[i, l] - a[i]))
			  s[i < n] f32 = sum(l < m) e[i, l]
			  y[i < n, l < m] = (e[i, l] / s[i])
			}`
		}
		p := kerneltest.Program(b, src)
		for _, f := range tiers(b) {
			k := kernel.New(p, kernel.Options{Lanes: emit.Lanes(f)}).Groups[0].Kernel
			fn := codes.of(b, k, f)
			for _, rows := range []int64{64, 4096} {
				b.Run(fmt.Sprintf("%s/%d_lanes/%dx768", name, k.Lanes, rows), func(b *testing.B) {
					bound, err := k.Bind(func(s string) (int64, bool) {
						if s == "n" {
							return rows, true
						}
						return 768, true
					})
					if err != nil {
						b.Fatal(err)
					}
					var block []int64
					var keep []*tensor.Tensor
					bytes := int64(0)
					for i, m := range k.Buffers {
						n, _ := m.Len.Eval(func(s string) (int64, bool) {
							if s == "n" {
								return rows, true
							}
							return 768, true
						})
						x := tensor.New(m.DType, n)
						kerneltest.Draw(rand.New(rand.NewPCG(1, 1)), x, 0)
						keep = append(keep, x)
						block = append(block, int64(uintptr(unsafe.Pointer(unsafe.SliceData(x.Bytes())))))
						if bound.Scratch[i] == 0 {
							bytes += int64(len(x.Bytes()))
						}
					}
					at := len(block) + len(bound.Numbers)
					block = append(append(block, bound.Numbers...), make([]int64, 2*len(bound.Extents)+1)...)
					cut := bound.Cut(1 << 15)
					b.SetBytes(bytes)
					for range b.N {
						for i := range cut.Pieces() {
							cut.Piece(i, block[at:])
							fn.Call(unsafe.Pointer(&block[0]))
						}
					}
					_ = keep
				})
			}
		}
	}
}
