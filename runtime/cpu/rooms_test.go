package cpu

import (
	"context"
	"math"
	"math/rand/v2"
	"runtime/debug"
	"sync/atomic"
	"testing"

	"github.com/pitopt/pitopt/core/interp"
	"github.com/pitopt/pitopt/core/tensor"
)

// What workers have from an attention of many keys does for one of fewer, with a mask of which bits tell, and the other way round.
func TestAttentionsOfSeveralSizes(t *testing.T) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	plain := attentionForm{x: "score"}
	masked := attentionForm{params: "mask: [s, t] f32", x: "(score + mask[l, m])"}
	for _, tier := range tiers(t) {
		t.Run(tier.name, func(t *testing.T) {
			d := tier.inParts(2)
			defer d.Close()
			r := rand.New(rand.NewPCG(1, 2))
			for i, c := range []struct {
				form attentionForm
				s, t int64
			}{{masked, 130, 150}, {plain, 70, 2100}, {masked, 130, 150}, {masked, 200, 1100}, {masked, 90, 2100}, {masked, 200, 590}, {masked, 130, 150}} {
				p, mem := c.form.program(t, 1), &fence{heap{}, t}
				sizes := map[string]int64{"b": 1, "h": 2, "g": 1, "s": c.s, "t": c.t, "d": 8, "e": 8}
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
					x := mem.tensor(b.DType, shape...)
					for j := range x.Len() {
						x.SetFloat(j, r.NormFloat64())
						if l, m := j/c.t, j%c.t; b.Name == "mask" {
							x.SetFloat(j, 0)
							if max(l-m, m-l) > 25+l/20 {
								x.SetFloat(j, math.Inf(-1))
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
				if err := d.Run(context.Background(), kernelProduct, p, bind, args, []*tensor.Tensor{got}, mem); err != nil {
					t.Fatal(err)
				}
				if err := tensor.Compare(got, want[0], tensor.Tolerance{RTol: 3e-5, ATol: 3e-5}); err != nil {
					t.Errorf("%d: %v: %v", i, sizes, err)
				}
			}
		})
	}
}

// What a worker looked at when it failed is looked at by the next one, which does not wait for it.
func TestLookThatFails(t *testing.T) {
	w := &attender{hidden: &hidden{known: make([]atomic.Uint32, 1), panels: 1}}
	for range 2 {
		func() {
			defer func() {
				if recover() == nil {
					t.Error("a look without an attention does not fail")
				}
			}()
			w.look(&rowsBlock{})
		}()
	}
}

// Of tiles that all have something that counts, a mask of finite numbers hides nothing of which scores are higher than it is low.
func TestScoresAboveHalfHiddenTiles(t *testing.T) {
	f := attentionForm{params: "mask: [s, t] f32", x: "(score + mask[l, m])"}
	const rows, keys = 130, 150
	for _, tier := range tiers(t) {
		d := tier.inParts(2)
		defer d.Close()
		p := f.program(t, 1)
		sizes := map[string]int64{"b": 1, "h": 2, "g": 1, "s": rows, "t": keys, "d": 8, "e": 8}
		var bind []int64
		for _, n := range p.Syms {
			bind = append(bind, sizes[n])
		}
		args := []*tensor.Tensor{random(1, rows, 2, 1, 8), random(1, keys, 2, 8), random(1, keys, 2, 8), tensor.New(tensor.F32, rows, keys)}
		for j := range args[0].Len() {
			args[0].SetFloat(j, args[0].Float(j)*1e9)
		}
		for j := range args[3].Len() {
			if l, m := j/keys, j%keys; (l*m+l+3*m)%7 > 1 { // all rows and keys are connected, so they stay where they are
				args[3].SetFloat(j, -1e9)
			}
		}
		want, err := interp.RunProgram(context.Background(), p, bind, args)
		if err != nil {
			t.Fatal(err)
		}
		got := tensor.New(tensor.F32, want[0].Shape()...)
		if err := d.Run(context.Background(), kernelProduct, p, bind, args, []*tensor.Tensor{got}, &heap{}); err != nil {
			t.Fatal(err)
		}
		if err := tensor.Compare(got, want[0], tensor.Tolerance{RTol: 3e-5, ATol: 3e-5}); err != nil {
			t.Errorf("%s: %v", tier.name, err)
		}
	}
}
