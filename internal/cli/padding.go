package cli

import (
	"slices"
	"strings"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/passes/builtin"
	"github.com/pitopt/pitopt/runtime"
)

// padding tells whether padding was left out, by the branches that a run took.
func (a *app) padding(t *runtime.Timeline, inputs map[string]tensor.Value) {
	spans, _ := t.Spans()
	for _, s := range spans {
		name, ok := strings.CutPrefix(s.Name, builtin.PaddingNode)
		if !ok || s.Track != runtime.Calls {
			continue
		}
		name, out := strings.CutSuffix(name, " (onnx.If, then)")
		name = strings.TrimSuffix(name, " (onnx.If, else)")
		mask, ok := inputs[name].(*tensor.Tensor)
		if !ok {
			continue
		}
		if !out {
			a.note("%s: padding is computed, as what was looked at does not allow to leave it out; `pitopt inspect -padding` tells what that is", name)
			continue
		}
		tokens := int64(0)
		for i := range mask.Len() {
			if masked(mask, i) {
				tokens++
			}
		}
		a.note("%s: padding is left out: %d of %s are tokens", name, tokens, count(int(mask.Len()), "position"))
	}
}

// withoutPadding is a result with zeros in rows of padding, where the pipeline says of a mask that
// they do not matter: results are compared so.
func withoutPadding(masks []string, f *ir.Func, inputs map[string]tensor.Value, result int, v tensor.Value) tensor.Value {
	t, ok := v.(*tensor.Tensor)
	is, known := f.Results[result].Tensor()
	if !ok || !known || is.Unranked || t.DType() == tensor.String {
		return v
	}
	for _, p := range f.Params {
		mask, ok := inputs[p.Name].(*tensor.Tensor)
		mt, known := p.Tensor()
		if !ok || !known || !slices.Contains(masks, p.Name) || mt.Unranked || len(mt.Dims) != 2 {
			continue
		}
		for i := range len(is.Dims) - 1 { // batch and seq side by side
			if !is.Dims[i].Equal(mt.Dims[0]) || !is.Dims[i+1].Equal(mt.Dims[1]) {
				continue
			}
			t = t.Clone()
			inner := int64(1)
			for _, n := range t.Shape()[i+2:] {
				inner *= n
			}
			for j := range t.Len() {
				if row := j / inner % mask.Len(); !masked(mask, row) {
					zero(t, j)
				}
			}
			return t
		}
	}
	return v
}

func masked(mask *tensor.Tensor, i int64) bool {
	if mask.DType().IsFloat() {
		return mask.Float(i) != 0
	}
	return mask.Int(i) != 0
}

func zero(t *tensor.Tensor, i int64) {
	switch d := t.DType(); {
	case d == tensor.Bool:
		t.SetBool(i, false)
	case d.IsComplex():
		t.SetComplex(i, 0)
	case d.IsInt():
		t.SetInt(i, 0)
	default:
		t.SetFloat(i, 0)
	}
}
