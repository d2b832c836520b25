package runtimetest

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/pitopt/pitopt/core/tensor"
)

// convolution is a form of onnx.Conv with the sizes of its calls.
type convolution struct {
	name                     string
	x, w                     []int64 // shapes: [n, c, spatial...] and [f, c/group, kernel...]
	group                    int64
	strides, dilations, pads []int64
	more                     [][]int64 // shapes of x of more calls
}

var convolutionList = []convolution{
	{name: "1-d", x: []int64{2, 3, 20}, w: []int64{5, 3, 3}, more: [][]int64{{1, 3, 3}, {0, 3, 5}, {3, 3, 300}}},
	{name: "1-d padded, strided, dilated", x: []int64{1, 4, 31}, w: []int64{6, 4, 5}, strides: []int64{2}, dilations: []int64{3}, pads: []int64{4, 2}},
	{name: "2-d", x: []int64{1, 3, 12, 14}, w: []int64{8, 3, 3, 3}, more: [][]int64{{2, 3, 3, 3}, {1, 3, 40, 3}}},
	{name: "2-d pointwise", x: []int64{2, 16, 9, 7}, w: []int64{20, 16, 1, 1}, more: [][]int64{{1, 16, 1, 1}, {1, 16, 0, 4}}},
	{name: "2-d padded", x: []int64{1, 3, 17, 13}, w: []int64{8, 3, 3, 3}, pads: []int64{1, 1, 1, 1}, more: [][]int64{{2, 3, 1, 1}, {1, 3, 5, 70}}},
	{name: "2-d padded on one side", x: []int64{1, 2, 9, 9}, w: []int64{6, 2, 4, 3}, pads: []int64{3, 0, 0, 2}},
	{name: "2-d padded by more than the image", x: []int64{1, 2, 3, 2}, w: []int64{4, 2, 3, 3}, pads: []int64{5, 6, 7, 8}},
	{name: "2-d strided", x: []int64{1, 3, 21, 18}, w: []int64{9, 3, 5, 4}, strides: []int64{2, 3}, pads: []int64{2, 1, 2, 1}},
	{name: "2-d dilated", x: []int64{1, 3, 16, 16}, w: []int64{8, 3, 3, 3}, dilations: []int64{2, 3}, pads: []int64{2, 3, 2, 3}},
	{name: "2-d grouped", x: []int64{2, 6, 10, 11}, w: []int64{12, 2, 3, 3}, group: 3, pads: []int64{1, 1, 1, 1}},
	{name: "2-d depthwise", x: []int64{1, 24, 14, 15}, w: []int64{24, 1, 3, 3}, group: 24, pads: []int64{1, 1, 1, 1}},
	{name: "2-d depthwise with a multiplier", x: []int64{1, 5, 8, 9}, w: []int64{20, 1, 3, 3}, group: 5, strides: []int64{2, 1}},
	{name: "2-d depthwise, wide", x: []int64{1, 3, 70, 300}, w: []int64{3, 1, 5, 5}, group: 3, pads: []int64{2, 2, 2, 2}, more: [][]int64{{2, 3, 5, 16}, {1, 3, 9, 129}, {1, 3, 1, 1}}},
	{name: "2-d depthwise, strided", x: []int64{2, 6, 31, 57}, w: []int64{6, 1, 3, 3}, group: 6, strides: []int64{2, 2}, pads: []int64{1, 1, 0, 1}, more: [][]int64{{1, 6, 2, 2}, {1, 6, 8, 200}}},
	{name: "2-d depthwise, dilated", x: []int64{1, 4, 20, 33}, w: []int64{4, 1, 3, 2}, group: 4, strides: []int64{1, 3}, dilations: []int64{3, 2}, pads: []int64{3, 1, 3, 0}},
	{name: "1-d depthwise", x: []int64{2, 7, 50}, w: []int64{7, 1, 4}, group: 7, pads: []int64{3, 0}, more: [][]int64{{1, 7, 40000}}},
	{name: "3-d depthwise", x: []int64{1, 5, 4, 6, 20}, w: []int64{5, 1, 2, 3, 3}, group: 5, pads: []int64{1, 1, 1, 0, 1, 1}, strides: []int64{1, 2, 1}},
	{name: "2-d in many groups", x: []int64{1, 32, 11, 19}, w: []int64{48, 2, 3, 3}, group: 16, pads: []int64{1, 1, 1, 1}},
	{name: "3-d", x: []int64{1, 2, 6, 7, 8}, w: []int64{7, 2, 2, 3, 3}, pads: []int64{0, 1, 1, 1, 1, 0}, strides: []int64{1, 2, 1}, more: [][]int64{{1, 2, 2, 3, 3}}},
}

func convolutions(t *testing.T, load Load) {
	for _, c := range convolutionList {
		t.Run(c.name, func(t *testing.T) {
			m := parse(t, c.name, c.module())
			r := rand.New(rand.NewPCG(seed(c.name), 0))
			calls := []call{}
			for _, shape := range append([][]int64{c.x}, c.more...) {
				calls = append(calls, c.call(r, shape))
			}
			check(t, load(t, m), calls)
		})
	}
}

// module has the batch and the spatial dims as symbols.
func (c convolution) module() string {
	in, out := []string{"n", fmt.Sprint(c.x[1])}, []string{"n", fmt.Sprint(c.w[0])}
	for i := range c.x[2:] {
		in, out = append(in, fmt.Sprintf("s%d", i)), append(out, fmt.Sprintf("o%d", i))
	}
	kernel := strings.ReplaceAll(fmt.Sprint(c.w), " ", ", ")
	attrs := fmt.Sprintf("group = %d", max(c.group, 1))
	for _, a := range []struct {
		name string
		list []int64
	}{{"strides", c.strides}, {"dilations", c.dilations}, {"pads", c.pads}} {
		if a.list != nil {
			attrs += fmt.Sprintf(", %s = %s", a.name, strings.ReplaceAll(fmt.Sprint(a.list), " ", ", "))
		}
	}
	return fmt.Sprintf(`module {
  func @main(%%x: [%s] f32, %%w: %s f32, %%b: [%d] f32) -> ([%s] f32) {
    %%y: [%s] f32 = onnx.Conv(%%x, %%w, %%b) {%s}
    return %%y
  }
}`, strings.Join(in, ", "), kernel, c.w[0], strings.Join(out, ", "), strings.Join(out, ", "), attrs)
}

func nth(list []int64, i int, without int64) int64 {
	if i < len(list) {
		return list[i]
	}
	return without
}

// call draws operands of whole numbers and computes the result point by point.
func (c convolution) call(r *rand.Rand, shape []int64) call {
	whole := func(shape ...int64) *tensor.Tensor {
		t := tensor.New(tensor.F32, shape...)
		for i := range t.Len() {
			t.SetInt(i, r.Int64N(9)-4)
		}
		return t
	}
	x, w, b := whole(shape...), whole(c.w...), whole(c.w[0])
	rank, group := len(shape)-2, max(c.group, 1)
	out := []int64{shape[0], c.w[0]}
	for i := range rank {
		reach := (c.w[2+i]-1)*nth(c.dilations, i, 1) + 1
		out = append(out, max(0, shape[2+i]+nth(c.pads, i, 0)+nth(c.pads, rank+i, 0)-reach)/nth(c.strides, i, 1)+1)
		if shape[2+i]+nth(c.pads, i, 0)+nth(c.pads, rank+i, 0) < reach {
			out[2+i] = 0
		}
	}
	y := tensor.New(tensor.F32, out...)
	for p := range y.Len() {
		at := unflatten(p, out)
		sum := b.Float(at[1])
		for q := range w.Len() / c.w[0] {
			k := unflatten(q, c.w[1:])
			ix := []int64{at[0], at[1]/(c.w[0]/group)*c.w[1] + k[0]}
			inside := true
			for i := range rank {
				s := at[2+i]*nth(c.strides, i, 1) + k[1+i]*nth(c.dilations, i, 1) - nth(c.pads, i, 0)
				inside = inside && s >= 0 && s < shape[2+i]
				ix = append(ix, s)
			}
			if inside {
				sum += x.Float(x.At(ix...)) * w.Float(at[1]*(w.Len()/c.w[0])+q)
			}
		}
		y.SetFloat(p, sum)
	}
	return call{line: fmt.Sprint(shape), inputs: []tensor.Value{x, w, b}, want: []tensor.Value{y}}
}

// unflatten gives the index of a position.
func unflatten(p int64, shape []int64) []int64 {
	ix := make([]int64, len(shape))
	for i := len(shape) - 1; i >= 0; i-- {
		ix[i] = p % shape[i]
		p /= shape[i]
	}
	return ix
}
