package interp_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pitopt/pitopt/core/interp"
	_ "github.com/pitopt/pitopt/core/op"
	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/core/text"
)

// A result whose size only the operator tells is held against the budget before it is made,
// and within a budget that has room it comes out.
func TestBudgetOfKernels(t *testing.T) {
	const n = 1000
	ones := tensor.New(tensor.I64, n)
	yes := tensor.New(tensor.Bool, n)
	words := tensor.New(tensor.String, n)
	for i := range int64(n) {
		ones.SetInt(i, 1+i)
		yes.SetBool(i, true)
		words.SetStr(i, strings.Repeat("ab ", 10))
	}
	for name, c := range map[string]struct {
		in   []tensor.Value
		body string
	}{
		"NonZero":            {[]tensor.Value{ones}, `(%x: [n] i64) -> ([1, k] i64) { %y: [1, k] i64 = onnx.NonZero(%x) return %y }`},
		"Compress":           {[]tensor.Value{ones, yes}, `(%x: [n] i64, %c: [n] bool) -> ([k] i64) { %y: [k] i64 = onnx.Compress(%x, %c) return %y }`},
		"Unique":             {[]tensor.Value{ones}, `(%x: [n] i64) -> ([k] i64) { %y: [k] i64 = onnx.Unique(%x) return %y }`},
		"SplitToSequence":    {[]tensor.Value{ones}, `(%x: [n] i64) -> (seq([1] i64)) { %y: seq([1] i64) = onnx.SplitToSequence(%x) return %y }`},
		"ConcatFromSequence": {[]tensor.Value{ones}, `(%x: [n] i64) -> ([k] i64) { %s: seq([n] i64) = onnx.SequenceConstruct(%x, %x) %y: [k] i64 = onnx.ConcatFromSequence(%s) {axis = 0} return %y }`},
		"StringSplit":        {[]tensor.Value{words}, `(%x: [n] str) -> ([n, k] str) { %y: [n, k] str, %z: [n] i64 = onnx.StringSplit(%x) return %y }`},
		"StringConcat":       {[]tensor.Value{words}, `(%x: [n] str) -> ([n] str) { %y: [n] str = onnx.StringConcat(%x, %x) return %y }`},
		"Expand of strings":  {[]tensor.Value{tensor.Of([]string{"x"}), tensor.Of([]int64{n})}, `(%x: [1] str, %s: [1] i64) -> ([k] str) { %y: [k] str = onnx.Expand(%x, %s) return %y }`},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := text.Parse(name, []byte("module { func @main"+c.body+" }"), nil)
			if err != nil {
				t.Fatal(err)
			}
			for budget, fails := range map[int64]bool{4000: true, 10 << 20: false} {
				_, err := interp.Run(t.Context(), m, c.in, interp.Options{MaxBytes: budget})
				if refused := err != nil && strings.Contains(err.Error(), fmt.Sprintf("more than its budget of %d bytes", budget)); refused != fails || !fails && err != nil {
					t.Errorf("with %d bytes: %v", budget, err)
				}
			}
		})
	}
}
