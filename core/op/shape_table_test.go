package op_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// shapeRules are the operators that compute sizes. TestMain finds out which those are, and
// fails where one is missing.
var shapeRules = []shapeRule{
	// What cuts and joins.
	{"Slice", func(r *rand.Rand) ([]string, ir.Attrs) {
		at := oneOf[any](r, -4, -1, 0, 1, 3, 1<<62, "n", "m-1", "-k")
		end := oneOf[any](r, -4, -1, 0, 2, 5, 1<<62, -1<<62, "n", "k+1", "-m", "n+m")
		return []string{f32Of(dim(r), 2), holds(r, at), holds(r, end), "= 0", fmt.Sprint("= ", oneOf(r, 1, 2, 3, -1, -2))}, nil
	}, func(x counted) [][]int64 {
		d, at, end, step := x.dims[0][0], x.ints[1][0], x.ints[2][0], x.ints[4][0]
		if at < 0 {
			at += d
		}
		if end < 0 {
			end += d
		}
		n := int64(0)
		if d == 0 {
			return one(0, 2)
		}
		if step > 0 {
			for i := between(at, 0, d); i < between(end, 0, d); i += step {
				n++
			}
		} else {
			for i := between(at, 0, d-1); i > between(end, -1, d-1); i += step {
				n++
			}
		}
		return one(n, 2)
	}},
	{"Pad", func(r *rand.Rand) ([]string, ir.Attrs) {
		return []string{f32Of(dim(r)), holds(r, oneOf[any](r, -2, 0, 1, 3, "n", "1-k"), oneOf[any](r, -1, 0, 2, "m"))}, nil
	}, func(x counted) [][]int64 {
		n := x.dims[0][0] + x.ints[1][0] + x.ints[1][1]
		if n < 0 {
			return nil
		}
		return one(n)
	}},
	{"CenterCropPad", func(r *rand.Rand) ([]string, ir.Attrs) {
		return []string{f32Of(dim(r), 2, dim(r)), holds(r, dim(r), oneOf[any](r, 0, 3, "m"))}, attrs("axes", []int64{oneOf[int64](r, 0, -3), oneOf[int64](r, 2, -1)})
	}, func(x counted) [][]int64 { return one(x.ints[1][0], 2, x.ints[1][1]) }},
	{"Concat", func(r *rand.Rand) ([]string, ir.Attrs) {
		return []string{f32Of(dim(r), "k"), f32Of(dim(r), dim(r))}, attrs("axis", oneOf(r, 0, -2))
	}, func(x counted) [][]int64 {
		if x.dims[0][1] != x.dims[1][1] {
			return nil
		}
		return one(x.dims[0][0]+x.dims[1][0], x.dims[0][1])
	}},
	{"vm.append", func(r *rand.Rand) ([]string, ir.Attrs) {
		return []string{f32Of(12, 2), f32Of(dim(r), 2), of("u8", oneOf(r, "n", "k", "m"), 0)}, attrs("axis", 0, "state", "s")
	}, func(x counted) [][]int64 {
		if x.dims[2][0]+x.dims[1][0] > 12 {
			return nil
		}
		return [][]int64{{12, 2}, {x.dims[2][0] + x.dims[1][0], 0}}
	}},
	{"Split", func(r *rand.Rand) ([]string, ir.Attrs) {
		switch d := dim(r); r.IntN(3) {
		case 0:
			return []string{f32Of(d, 3)}, attrs("num_outputs", 1+r.IntN(4))
		case 1:
			return []string{f32Of(d+"+2", 3), holds(r, 2, d)}, attrs("axis", oneOf(r, 0, -2))
		default:
			return []string{f32Of(3, "n+2*m"), holds(r, "m", "n", "m")}, attrs("axis", oneOf(r, 1, -1))
		}
	}, func(x counted) [][]int64 {
		axis := (x.attr("axis", 0) + 2) % 2
		whole := x.dims[0][axis]
		sizes := x.held(1)
		if sizes == nil { // one after the other takes as many, the last what is left
			parts := x.attr("num_outputs", 0)
			for range parts {
				n := int64(0)
				for n*parts < whole {
					n++
				}
				sizes = append(sizes, min(n, max(whole-n*int64(len(sizes)), 0)))
			}
			if sum(sizes) != whole {
				return nil
			}
		}
		var out [][]int64
		for _, n := range sizes {
			shape := slices.Clone(x.dims[0])
			shape[axis] = n
			out = append(out, shape)
		}
		return out
	}},
	{"Gather", func(r *rand.Rand) ([]string, ir.Attrs) {
		return []string{f32Of(3, dim(r)), "= 0 2"}, nil
	}, func(x counted) [][]int64 { return one(int64(len(x.ints[1])), x.dims[0][1]) }},
	{"ai.onnx.ml.ArrayFeatureExtractor", func(r *rand.Rand) ([]string, ir.Attrs) {
		if r.IntN(3) == 0 {
			return []string{f32Of(dim(r) + "+1"), of("i64", dim(r), dim(r))}, nil
		}
		return []string{f32Of(dim(r), dim(r)+"+1"), of("i64", dim(r), dim(r))}, nil
	}, func(x counted) [][]int64 {
		n := product(x.dims[1])
		if len(x.dims[0]) == 1 {
			return one(1, n)
		}
		return one(x.dims[0][0], n)
	}},
	{"ai.onnx.ml.FeatureVectorizer", func(r *rand.Rand) ([]string, ir.Attrs) {
		if r.IntN(3) == 0 {
			return []string{f32Of(dim(r)), f32Of(1, dim(r))}, nil
		}
		return []string{f32Of("m", dim(r)), f32Of(dim(r), dim(r))}, nil
	}, func(x counted) [][]int64 {
		rows := int64(1)
		if d := x.dims[0]; len(d) == 2 {
			rows = d[0]
		}
		if rows != x.dims[1][0] {
			return nil
		}
		return one(rows, x.dims[0][len(x.dims[0])-1]+x.dims[1][1])
	}},
	{"com.microsoft.GatherBlockQuantized", func(r *rand.Rand) ([]string, ir.Attrs) {
		d := dim(r)
		return []string{of("u8", 3, d), of("i64", dim(r), 2), f32Of(3, "(2*("+d+")+15)//16")}, attrs("block_size", 16, "bits", 4)
	}, func(x counted) [][]int64 { return one(x.dims[1][0], 2, 2*x.dims[0][1]) }},
	{"Tile", func(r *rand.Rand) ([]string, ir.Attrs) {
		return []string{f32Of(dim(r), dim(r)), holds(r, oneOf[any](r, 0, 1, 3, "m"), oneOf[any](r, 0, 2, "n+1"))}, nil
	}, func(x counted) [][]int64 { return one(x.dims[0][0]*x.ints[1][0], x.dims[0][1]*x.ints[1][1]) }},

	// Windows.
	{"com.microsoft.QLinearAveragePool", func(r *rand.Rand) ([]string, ir.Attrs) {
		return []string{of("u8", 1, 1, dim(r)), f32Of(), of("u8"), f32Of(), of("u8")}, attrs("kernel_shape", []int64{oneOf[int64](r, 1, 2, 3)}, "strides", []int64{oneOf[int64](r, 1, 2)})
	}, func(x counted) [][]int64 { return single(windows(x.dims[0][2], x.list("kernel_shape")[0], x, false)) }},
	poolRule("MaxPool", 2), poolRule("AveragePool", 1), poolRule("LpPool", 1),
	{"MaxUnpool", func(r *rand.Rand) ([]string, ir.Attrs) {
		d := dim(r)
		in := []string{f32Of(1, 1, d), of("i64", 1, 1, d)}
		if r.IntN(3) == 0 {
			in = append(in, holds(r, 1, 1, "n+12"))
		}
		return in, attrs("kernel_shape", []int64{oneOf[int64](r, 1, 2, 3)}, "strides", []int64{oneOf[int64](r, 1, 2, 3)}, "pads", []int64{0, oneOf[int64](r, 0, 1)})
	}, func(x counted) [][]int64 {
		if len(x.dims) > 2 {
			return one(1, 1, x.ints[2][2])
		}
		pads := x.list("pads")
		n := int64(-pads[0] - pads[1]) // positions that windows cover, up to the end of the last
		for i := range x.dims[0][2] {
			n = i*x.list("strides")[0] + x.list("kernel_shape")[0] - pads[0] - pads[1]
		}
		if n < 1 {
			return nil
		}
		return one(1, 1, n)
	}},
	convRule("Conv", "f32"), convRule("ConvInteger", "u8"),
	{"QLinearConv", func(r *rand.Rand) ([]string, ir.Attrs) {
		return []string{of("u8", 1, 1, dim(r)), f32Of(), of("u8"), of("u8", 1, 1, oneOf[any](r, 1, 3, "k")), f32Of(), of("u8"), f32Of(), of("u8")},
			attrs("strides", []int64{oneOf[int64](r, 1, 2, 3)}, "pads", []int64{oneOf[int64](r, 0, 1), oneOf[int64](r, 0, 2)})
	}, func(x counted) [][]int64 { return single(windows(x.dims[0][2], x.dims[3][2], x, false)) }},
	{"DeformConv", func(r *rand.Rand) ([]string, ir.Attrs) {
		d, k := oneOf(r, "n+m+2", "2*n+2", "k+3"), oneOf(r, 1, 3)
		return []string{f32Of(1, 1, d, 4), f32Of(1, 1, k, 1), f32Of(1, 2*k, fmt.Sprintf("%s-%d", d, k-1), 4)}, nil
	}, func(x counted) [][]int64 {
		h := windows(x.dims[0][2], x.dims[1][2], x, false)
		if h == nil {
			return nil
		}
		return one(1, 1, h[2], 4)
	}},
	{"ConvTranspose", func(r *rand.Rand) ([]string, ir.Attrs) {
		as := attrs("strides", []int64{oneOf[int64](r, 1, 2, 3)}, "dilations", []int64{oneOf[int64](r, 1, 2)}, "group", 2)
		switch r.IntN(4) {
		case 0:
			as = as.With("auto_pad", oneOf(r, "SAME_UPPER", "SAME_LOWER"))
		case 1:
			as = as.With("output_shape", []int64{oneOf[int64](r, 3, 5)})
		default:
			as = as.With("pads", []int64{oneOf[int64](r, 0, 1), oneOf[int64](r, 0, 2)})
		}
		return []string{f32Of(1, 2, dim(r)), f32Of(2, oneOf[any](r, 1, "n"), oneOf[any](r, 1, 2, 3, "k+1"))}, as
	}, func(x counted) [][]int64 {
		d, s, f := x.dims[0][2], x.list("strides")[0], 2*x.dims[1][1]
		switch {
		case d == 0:
			return nil
		case x.list("output_shape") != nil:
			return one(1, f, x.list("output_shape")[0])
		case x.str("auto_pad") != "":
			return one(1, f, d*s)
		}
		pads := x.list("pads")
		last := int64(-1) // position that something is written to
		for i := range d {
			for k := range x.dims[1][2] {
				last = max(last, i*s+k*x.list("dilations")[0])
			}
		}
		if last+1-pads[0]-pads[1] < 0 {
			return nil
		}
		return one(1, f, last+1-pads[0]-pads[1])
	}},
	{"Col2Im", func(r *rand.Rand) ([]string, ir.Attrs) {
		return []string{f32Of("m", 4, "(n+2)*(k+1)"), holds(r, "n+3", "k+1"), "= 2 1"}, nil
	}, func(x counted) [][]int64 { return one(x.dims[0][0], 2, x.ints[1][0], x.ints[1][1]) }},
	{"CausalConvWithState", func(r *rand.Rand) ([]string, ir.Attrs) {
		return []string{f32Of("m", 2, dim(r)), f32Of(2, 1, oneOf[any](r, 1, 3, "k"))}, nil
	}, func(x counted) [][]int64 {
		if x.dims[1][2] == 0 {
			return nil
		}
		return [][]int64{x.dims[0], {x.dims[0][0], 2, x.dims[1][2] - 1}}
	}},
	{"DepthToSpace", func(r *rand.Rand) ([]string, ir.Attrs) {
		return []string{f32Of(1, oneOf[any](r, 4, "4*n", "n+m", "36*k"), dim(r), dim(r))}, attrs("blocksize", oneOf(r, 1, 2, 3))
	}, func(x counted) [][]int64 {
		d, k := x.dims[0], x.attr("blocksize", 0)
		for c := int64(0); c <= d[1]; c++ {
			if c*k*k == d[1] {
				return one(1, c, d[2]*k, d[3]*k)
			}
		}
		return nil
	}},
	{"SpaceToDepth", func(r *rand.Rand) ([]string, ir.Attrs) {
		return []string{f32Of(1, dim(r), oneOf[any](r, "n+m", "6*n", 6), oneOf[any](r, 12, "6*k+6"))}, attrs("blocksize", oneOf(r, 1, 2, 3))
	}, func(x counted) [][]int64 {
		d, k := x.dims[0], x.attr("blocksize", 0)
		for h := int64(0); h <= d[2]; h++ {
			for w := int64(0); w <= d[3]; w++ {
				if h*k == d[2] && w*k == d[3] {
					return one(1, d[1]*k*k, h, w)
				}
			}
		}
		return nil
	}},

	// What broadcasts and multiplies.
	{"Expand", func(r *rand.Rand) ([]string, ir.Attrs) {
		return []string{f32Of(dim(r)), holds(r, oneOf[any](r, 0, 1, 2, "k"), oneOf[any](r, 1, 2, 4, "n", "m"))}, nil
	}, func(x counted) [][]int64 { return single(numpyBroadcast(x.dims[0], x.ints[1])) }},
	{"Max", func(r *rand.Rand) ([]string, ir.Attrs) { // and all that broadcasts as it does
		return []string{f32Of(dim(r), dim(r)), f32Of(dim(r)), f32Of(dim(r), 1, 1)}[:2+r.IntN(2)], nil
	}, func(x counted) [][]int64 {
		out := x.dims[0]
		for _, d := range x.dims[1:] {
			if out = numpyBroadcast(out, d); out == nil {
				return nil
			}
		}
		return one(out...)
	}},
	{"MatMul", func(r *rand.Rand) ([]string, ir.Attrs) {
		k := dim(r)
		return []string{f32Of([]any{dim(r), dim(r), k}[r.IntN(3):]...), f32Of([]any{dim(r), k, dim(r)}[r.IntN(2) : 2+r.IntN(2)]...)}, nil
	}, func(x counted) [][]int64 {
		a, b := slices.Clone(x.dims[0]), slices.Clone(x.dims[1])
		if len(a) == 1 {
			a = append([]int64{1}, a...)
		}
		if len(b) == 1 {
			b = append(b, 1)
		}
		if a[len(a)-1] != b[len(b)-2] {
			return nil
		}
		out := numpyBroadcast(a[:len(a)-2], b[:len(b)-2])
		if out == nil {
			return nil
		}
		if len(x.dims[0]) > 1 {
			out = append(out, a[len(a)-2])
		}
		if len(x.dims[1]) > 1 {
			out = append(out, b[len(b)-1])
		}
		return one(out...)
	}},
	{"Einsum", func(r *rand.Rand) ([]string, ir.Attrs) {
		d := dim(r)
		return []string{f32Of(dim(r), dim(r), d), f32Of(dim(r), d, dim(r))}, attrs("equation", "...ij,...jk->...ki")
	}, func(x counted) [][]int64 {
		out := numpyBroadcast(x.dims[0][:1], x.dims[1][:1])
		if out == nil {
			return nil
		}
		return one(out[0], x.dims[1][2], x.dims[0][1])
	}},
	attentionRule("Attention"), attentionRule("pit.Attention"),
	recurrentRule("RNN", 1, 2), recurrentRule("GRU", 3, 2), recurrentRule("LSTM", 4, 3),
	{"LinearAttention", func(r *rand.Rand) ([]string, ir.Attrs) {
		return []string{f32Of("m", "k", 8), f32Of("m", "k", 4), f32Of("m", "k", oneOf[any](r, 6, "2*n"))}, attrs("q_num_heads", 4, "kv_num_heads", 2, "update_rule", "linear")
	}, func(x counted) [][]int64 {
		q, v := x.dims[0], x.dims[2]
		return [][]int64{{q[0], q[1], 4 * (v[2] / 2)}, {q[0], 2, 2, v[2] / 2}}
	}},

	// Views.
	{"Reshape", func(r *rand.Rand) ([]string, ir.Attrs) {
		shape := oneOf(r, "0 -1", "-1 2", "2 -1", "-1", "0 0", "-1 0", "1 -1 1", "n -1", "m*n 1", "-1 k", "n+m 0", "0 k -1")
		kind := "= "
		if r.IntN(5) == 0 {
			kind = "? "
		}
		return []string{f32Of(dim(r), dim(r)), kind + shape}, attrs("allowzero", r.IntN(2))
	}, func(x counted) [][]int64 {
		out, rest, known := slices.Clone(x.ints[1]), -1, int64(1)
		if x.attr("allowzero", 0) != 0 && slices.Contains(out, 0) && slices.Contains(out, -1) {
			return nil
		}
		for i, d := range out {
			switch {
			case d == 0 && i < len(x.dims[0]) && x.attr("allowzero", 0) == 0:
				out[i] = x.dims[0][i]
				known *= out[i]
			case d == 0 && x.attr("allowzero", 0) == 0:
				return nil
			case d == -1:
				rest = i
			default:
				known *= d
			}
		}
		size := product(x.dims[0])
		if rest < 0 {
			if known != size {
				return nil
			}
			return one(out...)
		}
		for n := int64(0); n <= size; n++ { // the only size that fits
			if known != 0 && n*known == size {
				out[rest] = n
				return one(out...)
			}
		}
		return nil
	}},
	{"Flatten", func(r *rand.Rand) ([]string, ir.Attrs) {
		return []string{f32Of(dim(r), dim(r), dim(r))}, attrs("axis", r.IntN(7)-3)
	}, func(x counted) [][]int64 {
		axis := x.attr("axis", 0)
		if axis < 0 {
			axis += 3
		}
		return one(product(x.dims[0][:axis]), product(x.dims[0][axis:]))
	}},
	{"pit.GroupedMatMul", func(r *rand.Rand) ([]string, ir.Attrs) {
		rows, k, n, swap := dim(r), dim(r), dim(r), r.IntN(2)
		x, w := []any{rows, k}, []any{dim(r), k, n}
		if swap == 1 {
			w[1], w[2] = w[2], w[1]
		}
		if r.IntN(4) == 0 { // not always legal
			x[1], rows = dim(r), dim(r)
		}
		return []string{f32Of(x...), f32Of(w...), of("i64", rows)}, attrs("transB", swap)
	}, func(x counted) [][]int64 {
		w := x.dims[1]
		k, n := w[1], w[2]
		if x.attr("transB", 0) != 0 {
			k, n = n, k
		}
		if rows := x.dims[0][0]; x.dims[0][1] != k || rows != x.dims[2][0] || w[0] == 0 && rows*k*n > 0 {
			return nil // sizes that do not fit, or a row of no group
		}
		return one(x.dims[0][0], n)
	}},
	{"ReduceSum", func(r *rand.Rand) ([]string, ir.Attrs) { // and the other reductions
		return []string{f32Of(dim(r), dim(r), dim(r)), oneOf(r, "? 1", "= 1", "? 0 2", "= -1 -3")}, attrs("keepdims", r.IntN(2))
	}, func(x counted) [][]int64 {
		var out []int64
		for i, d := range x.dims[0] {
			switch gone := slices.Contains(x.ints[1], int64(i)) || slices.Contains(x.ints[1], int64(i)-3); {
			case !gone:
				out = append(out, d)
			case x.attr("keepdims", 1) != 0:
				out = append(out, 1)
			}
		}
		return one(out...)
	}},

	// What keeps the shape.
	sameRule("pit.RotaryEmbedding", func(r *rand.Rand) []string {
		d, f := dim(r), oneOf[any](r, 2, "2*k", "4*n")
		return []string{f32Of(dim(r), d, f), f32Of(d, f), f32Of(1, 1)}
	}),
	{"pit.RotaryEmbedding", func(r *rand.Rand) ([]string, ir.Attrs) {
		d := dim(r)
		return []string{f32Of(dim(r), d, "2*k"), f32Of(d, "k"), f32Of(1, 1)}, attrs("for_pairs", 1, "interleaved", r.IntN(2))
	}, func(x counted) [][]int64 { return one(x.dims[0]...) }},
	sameRule("com.microsoft.QLinearLeakyRelu", func(r *rand.Rand) []string {
		return []string{of("u8", dim(r), dim(r)), f32Of(), of("u8"), f32Of(), of("u8")}
	}),
	sameRule("com.microsoft.QLinearSigmoid", func(r *rand.Rand) []string {
		return []string{of("u8", dim(r), dim(r)), f32Of(), of("u8"), f32Of(), of("u8")}
	}),
	sameRule("com.microsoft.MoE", func(r *rand.Rand) []string {
		d := dim(r)
		return []string{f32Of(d, 2), f32Of(d, 2), f32Of(2, 3, 2), "", f32Of(2, 2, 3)}
	}),
	sameRule("com.microsoft.QMoE", func(r *rand.Rand) []string {
		d := dim(r)
		return []string{f32Of(d, 4), f32Of(d, 2), of("u8", 2, 4, 2), f32Of(2, 4), "", of("u8", 2, 4, 2), f32Of(2, 4)}
	}),

	// What makes tensors of sizes that operands hold.
	{"Range", func(r *rand.Rand) ([]string, ir.Attrs) {
		return []string{"# " + oneOf(r, "0", "2", "n", "k-1"), "# " + oneOf(r, "5", "n+m", "0", "2*m", "-n"), "# " + oneOf(r, "1", "2", "3", "-1", "-2", "k+1")}, nil
	}, func(x counted) [][]int64 {
		n, step := int64(0), x.ints[2][0]
		for i := x.ints[0][0]; step > 0 && i < x.ints[1][0] || step < 0 && i > x.ints[1][0]; i += step {
			n++
		}
		return one(n)
	}},
	{"Resize", func(r *rand.Rand) ([]string, ir.Attrs) {
		as := attrs("mode", "nearest")
		switch r.IntN(4) {
		case 0:
			return []string{f32Of(dim(r)), "", "", holds(r, oneOf[any](r, 1, 3, "n+1", "k"))}, as
		case 1:
			return []string{f32Of(dim(r)), "", "~ " + oneOf(r, "1", "2", "0.5", "1.5", "0.75", "0.33333334", "3", "0.1", "1.1")}, as
		case 2:
			return []string{f32Of(2, dim(r)), "", "~ " + oneOf(r, "2", "2.5", "0.25")}, as.With("axes", []int64{oneOf[int64](r, 1, -1)})
		default:
			return []string{f32Of(dim(r), dim(r)), "", "", holds(r, oneOf[any](r, 4, "n+1"), oneOf[any](r, 6, "m"))}, as.With("keep_aspect_ratio_policy", oneOf(r, "not_larger", "not_smaller"))
		}
	}, func(x counted) [][]int64 {
		out := slices.Clone(x.dims[0])
		if slices.Contains(out, 0) {
			return nil
		}
		at := len(out) - 1
		switch policy := x.str("keep_aspect_ratio_policy"); {
		case policy != "":
			scales := []float64{float64(x.ints[3][0]) / float64(out[0]), float64(x.ints[3][1]) / float64(out[1])}
			scale := slices.Min(scales)
			if policy == "not_smaller" {
				scale = slices.Max(scales)
			}
			if scale == 0 {
				return nil
			}
			for i, d := range out {
				out[i] = int64(math.Floor(scale*float64(d) + 0.5))
			}
		case len(x.dims) > 3:
			out[at] = x.ints[3][0]
		default:
			scaled, n := float64(out[at])*x.floats[2][0], int64(0)
			for float64(n+1) <= scaled {
				n++
			}
			out[at] = n
		}
		if slices.Contains(out, 0) {
			return nil
		}
		return one(out...)
	}},
	{"OneHot", func(r *rand.Rand) ([]string, ir.Attrs) {
		return []string{of("i64", dim(r), dim(r)), holds(r, oneOf[any](r, 3, "n", "m+1")), "= 0 1"}, attrs("axis", oneOf(r, 0, 1, 2, -1))
	}, func(x counted) [][]int64 {
		axis := x.attr("axis", 0)
		if axis < 0 {
			axis += 3
		}
		return one(slices.Insert(slices.Clone(x.dims[0]), int(axis), x.ints[1][0])...)
	}},
	{"TopK", func(r *rand.Rand) ([]string, ir.Attrs) {
		return []string{f32Of(dim(r), dim(r)), holds(r, oneOf[any](r, 0, 1, 3, "k"))}, nil
	}, func(x counted) [][]int64 {
		if x.ints[1][0] > x.dims[0][1] {
			return nil
		}
		return [][]int64{{x.dims[0][0], x.ints[1][0]}, {x.dims[0][0], x.ints[1][0]}}
	}},
	{"pit.Within", func(r *rand.Rand) ([]string, ir.Attrs) {
		return []string{f32Of(dim(r), dim(r)), f32Of(dim(r))}, ir.MakeAttrs("bounds", []float64{1, 2})
	}, func(counted) [][]int64 { return [][]int64{{}} }},
	{"pit.Norm", func(r *rand.Rand) ([]string, ir.Attrs) {
		axis := r.IntN(2)
		return []string{[]string{f32Of(dim(r), "6"), f32Of("6", dim(r))}[axis]}, attrs("axis", axis, "part", oneOf(r, 1, 2, 3, 6))
	}, func(counted) [][]int64 { return [][]int64{{}, {}} }},
	{"pit.Route", func(r *rand.Rand) ([]string, ir.Attrs) {
		return []string{f32Of(dim(r), dim(r))}, attrs("k", 1+r.IntN(3), "normalize", r.IntN(2), "softmax", oneOf(r, "all", "chosen"))
	}, func(x counted) [][]int64 {
		k := x.attrs.Get("k").(int64)
		if k > x.dims[0][1] {
			return nil
		}
		return [][]int64{{x.dims[0][0], k}, {x.dims[0][0], k}}
	}},
	{"MelWeightMatrix", func(r *rand.Rand) ([]string, ir.Attrs) {
		return []string{"# " + oneOf(r, "3", "m"), "# " + oneOf(r, "8", "n", "2*n+1"), "# 16", f32Of(), f32Of()}, nil
	}, func(x counted) [][]int64 { return one(bins(x.ints[1][0]), x.ints[0][0]) }},
	{"DFT", func(r *rand.Rand) ([]string, ir.Attrs) {
		in := []string{f32Of("m", dim(r), oneOf(r, 1, 2)), "", "# 1"}
		if r.IntN(2) == 0 {
			in[1] = "# " + oneOf(r, "4", "5", "n+1", "k+1")
		}
		return in, attrs("onesided", r.IntN(2), "inverse", r.IntN(2))
	}, func(x counted) [][]int64 {
		d, n := x.dims[0], x.dims[0][1]
		onesided, inverse := x.attr("onesided", 0) != 0, x.attr("inverse", 0) != 0
		if onesided && inverse == (d[2] == 1) || n == 0 {
			return nil
		}
		last := int64(2)
		switch given := x.held(1); {
		case given != nil:
			n = given[0]
		case onesided && inverse:
			n = 2 * (n - 1)
		}
		if n < 1 {
			return nil
		}
		if onesided && inverse {
			last = 1
		} else if onesided {
			n = bins(n)
		}
		return one(d[0], n, last)
	}},
	{"STFT", func(r *rand.Rand) ([]string, ir.Attrs) {
		in := []string{f32Of("m", oneOf[any](r, 7, "n+m", "4*n"), 1), "# " + oneOf(r, "1", "2", "3"), "", "# " + oneOf(r, "3", "4", "k")}
		if r.IntN(2) == 0 {
			in[2], in[3] = f32Of(oneOf[any](r, 3, "k", "n")), ""
		}
		return in, attrs("onesided", r.IntN(2))
	}, func(x counted) [][]int64 {
		var length int64
		if x.ints[3] != nil {
			length = x.ints[3][0]
		} else {
			length = x.dims[2][0]
		}
		n := int64(0)
		for at := int64(0); at+length <= x.dims[0][1]; at += x.ints[1][0] {
			n++
		}
		if length < 1 || n == 0 {
			return nil
		}
		if x.attr("onesided", 1) != 0 {
			length = bins(length)
		}
		return one(x.dims[0][0], n, length, 2)
	}},

	// What goes round: more about loops is in control_test.go.
	{"Loop", func(r *rand.Rand) ([]string, ir.Attrs) {
		return []string{"# " + oneOf(r, "3", "m", "n-1"), "", f32Of(dim(r), 2), f32Of(dim(r), 2)}, nil
	}, func(x counted) [][]int64 {
		rows, trips := x.dims[2][0], int64(0)
		for ; trips < x.ints[0][0]; trips++ {
			rows += x.dims[3][0]
		}
		return [][]int64{{rows, 2}, x.dims[3], {trips, x.dims[3][0], 2}}
	}},
	{"Scan", func(r *rand.Rand) ([]string, ir.Attrs) {
		return []string{f32Of(dim(r), 2), f32Of(dim(r), dim(r), 2)}, attrs("num_scan_inputs", 1)
	}, func(x counted) [][]int64 {
		rows := x.dims[0][0]
		for range x.dims[1][0] {
			rows += x.dims[1][1]
		}
		return [][]int64{{rows, 2}, x.dims[1]}
	}},

	// What the data tell.
	{"NonZero", func(r *rand.Rand) ([]string, ir.Attrs) { return []string{f32Of(dim(r), dim(r))}, nil },
		func(x counted) [][]int64 { return one(2, -1) }},
	{"Unique", func(r *rand.Rand) ([]string, ir.Attrs) {
		if r.IntN(2) == 0 {
			return []string{f32Of(dim(r), dim(r))}, attrs("axis", oneOf(r, 1, -1))
		}
		return []string{f32Of(dim(r), dim(r))}, nil
	}, func(x counted) [][]int64 {
		if x.attrs.Get("axis") != nil {
			return [][]int64{{x.dims[0][0], -1}, {-1}, {x.dims[0][1]}, {-1}}
		}
		return [][]int64{{-1}, {-1}, {product(x.dims[0])}, {-1}}
	}},
	{"Compress", func(r *rand.Rand) ([]string, ir.Attrs) {
		if r.IntN(3) == 0 {
			return []string{f32Of(dim(r), 2), of("bool", dim(r))}, nil
		}
		return []string{f32Of(dim(r), 2), of("bool", dim(r))}, attrs("axis", 0)
	}, func(x counted) [][]int64 {
		if x.attrs.Get("axis") == nil {
			return one(-1)
		}
		return one(-1, 2)
	}},
	{"NonMaxSuppression", func(r *rand.Rand) ([]string, ir.Attrs) {
		return []string{f32Of(1, "n", 4), f32Of(1, oneOf(r, "1", "k"), "n"), holds(r, oneOf[any](r, 0, 1, 3, "m"))}, nil
	}, func(x counted) [][]int64 { return one(-1, 3) }},
	{"StringSplit", func(r *rand.Rand) ([]string, ir.Attrs) {
		return []string{of("str", dim(r), dim(r))}, attrs("delimiter", oneOf(r, "", " "), "maxsplit", oneOf(r, 0, 1, 5))
	}, func(x counted) [][]int64 { return [][]int64{append(slices.Clone(x.dims[0]), -1), x.dims[0]} }},
	{"StringNormalizer", func(r *rand.Rand) ([]string, ir.Attrs) {
		in := []string{of("str", dim(r))}
		if r.IntN(2) == 0 {
			return in, attrs("stopwords", []string{"a"})
		}
		return in, nil
	}, func(x counted) [][]int64 {
		if x.attrs.Get("stopwords") != nil {
			return one(-1)
		}
		return one(max(x.dims[0][0], 1)) // an empty string where there is none
	}},
}

func sameRule(op string, draw func(r *rand.Rand) []string) shapeRule {
	return shapeRule{op, func(r *rand.Rand) ([]string, ir.Attrs) { return draw(r), nil },
		func(x counted) [][]int64 { return one(x.dims[0]...) }}
}

func poolRule(op string, results int) shapeRule {
	return shapeRule{op, func(r *rand.Rand) ([]string, ir.Attrs) {
		return []string{f32Of(1, 1, dim(r))}, attrs("kernel_shape", []int64{oneOf[int64](r, 1, 2, 3)}, "strides", []int64{oneOf[int64](r, 1, 2, 3)},
			"dilations", []int64{oneOf[int64](r, 1, 2)}, "pads", []int64{oneOf[int64](r, 0, 1), oneOf[int64](r, 0, 1)}, "ceil_mode", oneOf(r, 0, 1))
	}, func(x counted) [][]int64 {
		out := windows(x.dims[0][2], x.list("kernel_shape")[0], x, x.attr("ceil_mode", 0) != 0)
		if out == nil {
			return nil
		}
		return slices.Repeat([][]int64{out}, results)
	}}
}

func convRule(op, d string) shapeRule {
	return shapeRule{op, func(r *rand.Rand) ([]string, ir.Attrs) {
		as := attrs("strides", []int64{oneOf[int64](r, 1, 2, 3)}, "dilations", []int64{oneOf[int64](r, 1, 2)})
		if auto := oneOf(r, "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"); auto == "NOTSET" {
			as = as.With("pads", []int64{oneOf[int64](r, 0, 1), oneOf[int64](r, 0, 2)})
		} else {
			as = as.With("auto_pad", auto)
		}
		return []string{of(d, 1, 1, dim(r)), of(d, 1, 1, oneOf[any](r, 1, 2, 3, "k"))}, as
	}, func(x counted) [][]int64 { return single(windows(x.dims[0][2], x.dims[1][2], x, false)) }}
}

func attentionRule(op string) shapeRule {
	return shapeRule{op, func(r *rand.Rand) ([]string, ir.Attrs) {
		past := dim(r)
		if r.IntN(2) == 0 {
			return []string{f32Of("m", 4, dim(r), 2), f32Of("m", 2, "k+1", 2), f32Of("m", 2, "k+1", 3), "", f32Of("m", 2, past, 2), f32Of("m", 2, past, 3)}, nil
		}
		return []string{f32Of("m", dim(r), oneOf[any](r, 8, "4*n")), f32Of("m", "k+1", oneOf[any](r, 4, "2*n")), f32Of("m", "k+1", oneOf[any](r, 6, "2*k"))},
			attrs("q_num_heads", 4, "kv_num_heads", 2)
	}, func(x counted) [][]int64 {
		q, k, v := x.dims[0], x.dims[1], x.dims[2]
		if len(q) == 4 {
			total := x.dims[4][2] + k[2]
			return [][]int64{{q[0], 4, q[2], v[3]}, {q[0], 2, total, k[3]}, {q[0], 2, total, v[3]}, {q[0], 4, q[2], total}}
		}
		if q[2] != 2*k[2] || q[2]%4 != 0 || k[2]%2 != 0 || v[2]%2 != 0 {
			return nil
		}
		return [][]int64{{q[0], q[1], 4 * (v[2] / 2)}, {q[0], 2, k[1], k[2] / 2}, {q[0], 2, k[1], v[2] / 2}, {q[0], 4, q[1], k[1]}}
	}}
}

func recurrentRule(op string, gates, results int) shapeRule {
	return shapeRule{op, func(r *rand.Rand) ([]string, ir.Attrs) {
		return []string{f32Of(dim(r), dim(r), 2), f32Of(2, gates*3, 2), f32Of(2, gates*3, 3)}, attrs("hidden_size", 3, "direction", "bidirectional", "layout", r.IntN(2))
	}, func(x counted) [][]int64 {
		seq, batch := x.dims[0][0], x.dims[0][1]
		out := [][]int64{{seq, 2, batch, 3}, {2, batch, 3}, {2, batch, 3}}
		if x.attr("layout", 0) != 0 {
			out = [][]int64{{seq, batch, 2, 3}, {seq, 2, 3}, {seq, 2, 3}}
		}
		return out[:results]
	}}
}

// ruleRegions are the regions of operators that have some.
var ruleRegions = map[string]func(c *ruleCall) []*ir.Block{
	"Loop": func(c *ruleCall) []*ir.Block {
		return []*ir.Block{c.Region(func() []*ir.Value {
			c.Param("i", ir.TensorOf(tensor.I64))
			on := c.Param("on", ir.TensorOf(tensor.Bool))
			x, y := c.Param("x", ir.TensorOf(tensor.F32, sym.Var("r"), sym.Const(2))), c.Param("y", ir.TensorOf(tensor.F32, sym.Var("s"), sym.Const(2)))
			return []*ir.Value{on, c.Op("onnx.Concat", []*ir.Value{x, y}, "axis", 0), y, c.Op("onnx.Relu", []*ir.Value{y})}
		})}
	},
	"Scan": func(c *ruleCall) []*ir.Block {
		slice := c.args[1].Type.(ir.TensorType)
		return []*ir.Block{c.Region(func() []*ir.Value {
			x, y := c.Param("x", ir.TensorOf(tensor.F32, sym.Var("r"), sym.Const(2))), c.Param("y", ir.TensorOf(tensor.F32, slice.Dims[1:]...))
			return []*ir.Value{c.Op("onnx.Concat", []*ir.Value{x, y}, "axis", 0), c.Op("onnx.Relu", []*ir.Value{y})}
		})}
	},
}

// held is what operand i holds, nil where it is left out.
func (x counted) held(i int) []int64 {
	if i < len(x.ints) {
		return x.ints[i]
	}
	return nil
}

// windows counts where a window fits; rounding up the last one may reach beyond, and none
// starts behind the data. With padding that is chosen for it, one starts at every stride.
func windows(d, kernel int64, x counted, up bool) []int64 {
	stride, pads := x.list("strides", 1)[0], x.list("pads", 0, 0)
	extent := x.list("dilations", 1)[0]*(kernel-1) + 1
	n := int64(0)
	if auto := x.str("auto_pad"); auto == "SAME_UPPER" || auto == "SAME_LOWER" {
		for at := int64(0); at < d; at += stride {
			n++
		}
		if n == 0 || kernel == 0 {
			return nil
		}
		return []int64{1, 1, n}
	}
	end := d + pads[0] + pads[1]
	if d == 0 || kernel == 0 || end < extent {
		return nil
	}
	for at := int64(0); ; at += stride {
		whole := at+extent <= end
		if !whole && (!up || at-stride+extent >= end) || up && at >= d+pads[0] {
			return []int64{1, 1, n}
		}
		n++
	}
}

// bins are the frequencies from 0 to half of n.
func bins(n int64) int64 {
	count := int64(0)
	for f := int64(0); 2*f <= n; f++ {
		count++
	}
	return count
}

func sum(list []int64) int64 {
	n := int64(0)
	for _, v := range list {
		n += v
	}
	return n
}

func numpyBroadcast(a, b []int64) []int64 {
	out := make([]int64, max(len(a), len(b)))
	at := func(s []int64, i int) int64 {
		if i -= len(out) - len(s); i < 0 {
			return 1
		}
		return s[i]
	}
	for i := range out {
		x, y := at(a, i), at(b, i)
		switch {
		case x == y || y == 1:
			out[i] = x
		case x == 1:
			out[i] = y
		default:
			return nil
		}
	}
	return out
}

func product(shape []int64) int64 {
	n := int64(1)
	for _, d := range shape {
		n *= d
	}
	return n
}
