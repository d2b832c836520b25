package runtimetest

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode"

	"github.com/pitopt/pitopt/core/tensor"
)

// contractions are matrix products of many layouts, as in Einstein's notation: a letter is
// a dim, those that the result lacks are summed over. A capital letter is a dim of 1 that
// is broadcast.
var contractions = []string{
	"mk,kn->mn", "km,kn->mn", "mk,nk->mn", "km,nk->nm", "mk,kn->nm",
	"bmk,bkn->bmn", "bmk,kn->bmn", "mk,bkn->bmn", "Bmk,bkn->bmn", "bmk,Bkn->bmn", "bmk,bkn->mbn",
	"bhmk,bhkn->bhmn", "bmhk,bnhk->bhmn", "bHmk,bhkn->bhmn",
	"k,kn->n", "mk,k->m", "k,k->", "bk,bk->b", "mkl,kln->mn", "mlk,kln->mn", "mK,kn->mn", "mk,mk->m", "bk,nk->bn", "mjk,kn->mjn",
}

// sizes around the edges of blocks.
var sizes = map[rune][]int64{
	'b': {0, 1, 2, 3}, 'h': {1, 2, 3}, 'j': {1, 2, 7}, 'l': {0, 1, 3},
	'm': {0, 1, 2, 3, 4, 5, 8, 63, 64, 65, 130},
	'n': {0, 1, 2, 3, 4, 5, 31, 32, 33, 100},
	'k': {0, 1, 2, 3, 8, 255, 256, 257},
}

// products checks each contraction with many sizes, for one executable.
func products(t *testing.T, load Load) {
	for _, d := range []tensor.DType{tensor.F32, tensor.F64, tensor.I32} {
		for _, c := range contractions {
			if d != tensor.F32 && len(c) > len("mk,kn->mn") {
				continue
			}
			t.Run(fmt.Sprint(d, " ", c), func(t *testing.T) {
				a, b, out := operandsOf(c)
				m := parse(t, c, contractionModule(d, a, b, out))
				r := rand.New(rand.NewPCG(seed(c), 0))
				var calls []call
				for _, size := range []map[rune]int64{ // more than one block of everything
					{'b': 1, 'h': 2, 'j': 1, 'l': 2, 'm': 5, 'n': 513, 'k': 129},
					{'b': 2, 'h': 1, 'j': 2, 'l': 1, 'm': 135, 'n': 13, 'k': 257},
				} {
					calls = append(calls, contractionCall(r, d, a, b, out, size, false))
				}
				many := 12
				if testing.Short() {
					many = 5
				}
				for len(calls) < many {
					size := map[rune]int64{}
					for _, l := range "bhjlmnk" {
						size[l] = sizes[l][r.IntN(len(sizes[l]))]
					}
					if work(size, a+b+out) < 1<<17 {
						calls = append(calls, contractionCall(r, d, a, b, out, size, len(calls)%4 == 3))
					}
				}
				check(t, load(t, m), calls)
			})
		}
	}
}

func operandsOf(c string) (a, b, out string) {
	in, out, _ := strings.Cut(c, "->")
	a, b, _ = strings.Cut(in, ",")
	return a, b, out
}

// letters gives the dims of a contraction, each once: those of the result first.
func letters(a, b, out string) (spatial, summed []rune) {
	seen := map[rune]bool{}
	for i, s := range []string{out, a + b} {
		for _, l := range strings.ToLower(s) {
			if !seen[l] {
				seen[l] = true
				if i == 0 {
					spatial = append(spatial, l)
				} else {
					summed = append(summed, l)
				}
			}
		}
	}
	return spatial, summed
}

func work(size map[rune]int64, letters string) int64 {
	n := int64(1)
	for l := range size {
		if strings.ContainsRune(strings.ToLower(letters), l) {
			n *= max(size[l], 1)
		}
	}
	return n
}

// contractionModule writes a contraction as a program over symbols.
func contractionModule(d tensor.DType, a, b, out string) string {
	spatial, summed := letters(a, b, out)
	dims := func(s string) string {
		var list []string
		for _, l := range s {
			if unicode.IsUpper(l) {
				l = '1'
			}
			list = append(list, string(l))
		}
		return fmt.Sprintf("[%s] %s", strings.Join(list, ", "), d)
	}
	index := func(s string) string {
		var list []string
		for _, l := range s {
			if unicode.IsUpper(l) {
				list = append(list, "0")
			} else {
				list = append(list, "at_"+string(l))
			}
		}
		return "[" + strings.Join(list, ", ") + "]"
	}
	axes := func(list []rune) string {
		var s []string
		for _, l := range list {
			s = append(s, fmt.Sprintf("at_%c < %c", l, l))
		}
		return strings.Join(s, ", ")
	}
	var syms []string
	for _, l := range append(spatial, summed...) {
		syms = append(syms, string(l))
	}
	return fmt.Sprintf(`module {
  func @main(%%a: %s, %%b: %s) -> (%s) {
    %%c: %s = call @product[%s](%%a, %%b)
    return %%c
  }
  program @product[%s](A: %s, B: %s) -> (C: %s) {
    C[%s] = sum(%s) (A%s * B%s)
  }
}`, dims(a), dims(b), dims(out), dims(out), strings.Join(syms, ", "), strings.Join(syms, ", "), dims(a), dims(b), dims(out),
		axes(spatial), axes(summed), index(a), index(b))
}

// contractionCall draws operands, whole numbers so that every order of summation gives
// the same, and computes the result point by point. special puts infinities and NaN in.
func contractionCall(r *rand.Rand, d tensor.DType, a, b, out string, size map[rune]int64, special bool) call {
	spatial, summed := letters(a, b, out)
	shape := func(s string) []int64 {
		list := []int64{}
		for _, l := range s {
			n := int64(1)
			if unicode.IsLower(l) {
				n = size[l]
			}
			list = append(list, n)
		}
		return list
	}
	operand := func(s string) *tensor.Tensor {
		x := tensor.New(d, shape(s)...)
		for i := range x.Len() {
			x.SetInt(i, r.Int64N(9)-4)
		}
		if special && d.IsFloat() && x.Len() > 0 {
			x.SetFloat(r.Int64N(x.Len()), []float64{math.NaN(), math.Inf(1), math.Inf(-1)}[r.IntN(3)])
		}
		return x
	}
	x, y, z := operand(a), operand(b), tensor.New(d, shape(out)...)
	xs, ys := floats(x), floats(y)
	var nest []axis
	for _, l := range append(spatial, summed...) {
		nest = append(nest, axis{size[l], step(a, l, x), step(b, l, y), step(out, l, z)})
	}
	var each func(nest []axis, f func(px, py, pz int64), px, py, pz int64)
	each = func(nest []axis, f func(px, py, pz int64), px, py, pz int64) {
		if len(nest) == 0 {
			f(px, py, pz)
			return
		}
		for i := range nest[0].size {
			each(nest[1:], f, px+i*nest[0].x, py+i*nest[0].y, pz+i*nest[0].z)
		}
	}
	each(nest[:len(spatial)], func(px, py, pz int64) {
		sum := 0.0
		each(nest[len(spatial):], func(px, py, _ int64) { sum += xs[px] * ys[py] }, px, py, pz)
		z.SetFloat(pz, sum)
	}, 0, 0, 0)
	return call{line: fmt.Sprint(x.Shape(), " times ", y.Shape()), inputs: []tensor.Value{x, y}, want: []tensor.Value{z}}
}

// axis is a letter of a contraction: its size, and its steps through operands and result.
type axis struct{ size, x, y, z int64 }

// step is how far a letter's next position lies in a tensor.
func step(dims string, letter rune, t *tensor.Tensor) int64 {
	stride, out := int64(1), int64(0)
	for i := len(dims) - 1; i >= 0; i-- {
		if rune(dims[i]) == letter {
			out += stride
		}
		stride *= t.Shape()[i]
	}
	return out
}

func floats(t *tensor.Tensor) []float64 {
	out := make([]float64, t.Len())
	for i := range out {
		out[i] = t.Float(int64(i))
	}
	return out
}
