package main

import (
	"fmt"
	"math/rand/v2"

	"github.com/pitopt/pitopt/core/tensor"
)

// seeded are numbers drawn alike every time.
func seeded(dims ...int64) *tensor.Tensor { return normal(rand.New(rand.NewPCG(7, 8)), 1, dims...) }

const features, heads = 768, 12

// attention is com.microsoft.MultiHeadAttention alone, with and without a mask of keys: a quarter
// of them is padding.
func attention(b *bench, _ *group) ([]workload, error) {
	lengths := []int64{128, 512, 2048}
	if b.quick {
		lengths = []int64{20}
	}
	var out []workload
	for _, masked := range []bool{false, true} {
		x := newBuilder()
		in := []string{x.input("q", tensor.F32, "batch", "seq", features), x.input("k", tensor.F32, "batch", "seq", features), x.input("v", tensor.F32, "batch", "seq", features)}
		name := "no mask"
		if masked {
			name = "mask"
			in = append(in, "", x.input("mask", tensor.I32, "batch", "seq"))
		}
		x.node("MultiHeadAttention", "out", in, integer("num_heads", heads))
		x.output("out", "batch", "seq", features)
		file, err := b.save("attention-"+name, x)
		if err != nil {
			return nil, err
		}
		for _, l := range lengths {
			out = append(out, workload{name: fmt.Sprintf("%s, seq %d", name, l), model: file, flops: 4 * float64(l) * float64(l) * features,
				draw: func() (tensors, error) { return attended(l, masked), nil }})
		}
	}
	return out, nil
}

func attended(l int64, masked bool) tensors {
	out := tensors{"q": seeded(1, l, features), "k": seeded(1, l, features), "v": seeded(1, l, features)}
	if masked {
		m := tensor.New(tensor.I32, 1, l)
		for i := range l * 3 / 4 {
			m.SetInt(i, 1)
		}
		out["mask"] = m
	}
	return out
}

// rowsOf are the numbers of rows that small operators get.
func (b *bench) rowsOf() []int64 {
	if b.quick {
		return []int64{5}
	}
	return []int64{4096, 64}
}

// elementwise are chains of operators, of which none looks at more than a point.
func elementwise(b *bench, _ *group) ([]workload, error) {
	chains := []struct {
		name   string
		inputs []string
		ops    [][]string // operator, operands: inputs, or the numbers of results before
	}{
		{"Mul, Add, Relu", []string{"x", "y", "z"}, [][]string{{"Mul", "x", "y"}, {"Add", "0", "z"}, {"Relu", "1"}}},
		{"Sub, Mul, Sigmoid, Mul", []string{"x", "y"}, [][]string{{"Sub", "x", "y"}, {"Mul", "0", "y"}, {"Sigmoid", "1"}, {"Mul", "2", "x"}}},
		{"Mul, Add, Tanh, Mul, Add", []string{"x", "y", "z"}, [][]string{{"Mul", "x", "y"}, {"Add", "0", "z"}, {"Tanh", "1"}, {"Mul", "2", "x"}, {"Add", "3", "y"}}},
		{"Abs, Sqrt, Mul, Exp, Sub, Max", []string{"x", "y"}, [][]string{{"Abs", "x"}, {"Sqrt", "0"}, {"Mul", "1", "y"}, {"Exp", "2"}, {"Sub", "3", "x"}, {"Max", "4", "y"}}},
	}
	var out []workload
	for i, c := range chains {
		x := newBuilder()
		for _, in := range c.inputs {
			x.input(in, tensor.F32, "n", features)
		}
		for j, op := range c.ops {
			args := append([]string(nil), op[1:]...)
			for k, a := range args {
				if a[0] < 'a' {
					args[k] = "r" + a
				}
			}
			x.node(op[0], fmt.Sprint("r", j), args)
		}
		x.output(fmt.Sprint("r", len(c.ops)-1), "n", features)
		file, err := b.save(fmt.Sprint("chain-", i), x)
		if err != nil {
			return nil, err
		}
		for _, n := range b.rowsOf() {
			out = append(out, workload{name: fmt.Sprintf("%s, %d x %d", c.name, n, features), model: file, bytes: 4 * float64(n) * features * float64(len(c.inputs)+1),
				draw: func() (tensors, error) {
					in := tensors{}
					for i, name := range c.inputs {
						in[name] = normal(rand.New(rand.NewPCG(7, uint64(i))), 1, n, features)
					}
					return in, nil
				}})
		}
	}
	return out, nil
}

// normalisations are operators that reduce rows.
func normalisations(b *bench, _ *group) ([]workload, error) {
	var out []workload
	for _, op := range []string{"LayerNormalization", "Softmax"} {
		x := newBuilder()
		in := []string{x.input("x", tensor.F32, "n", features)}
		if op == "LayerNormalization" {
			in = append(in, x.weights("scale", features), x.weights("bias", features))
		}
		x.node(op, "y", in, integer("axis", -1))
		x.output("y", "n", features)
		file, err := b.save(op, x)
		if err != nil {
			return nil, err
		}
		for _, n := range b.rowsOf() {
			out = append(out, workload{name: fmt.Sprintf("%s, %d x %d", op, n, features), model: file, bytes: 8 * float64(n) * features,
				draw: func() (tensors, error) { return tensors{"x": seeded(n, features)}, nil }})
		}
	}
	return out, nil
}
