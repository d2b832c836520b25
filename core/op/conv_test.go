package op_test

import (
	"fmt"
	"math"
	"testing"

	"github.com/pitopt/pitopt/core/tensor"
)

// A transposed convolution adds x[i] w[k] at i*stride + k*dilation - pad. What is infinite or NaN stays where it is
// added, whether the stride divides the kernel or not.
func TestConvTranspose(t *testing.T) {
	for _, special := range []float64{2, math.Inf(1), math.NaN()} {
		for _, kernel := range []int64{1, 2, 3, 4, 5, 6} {
			for _, stride := range []int64{1, 2, 3} {
				for _, dilation := range []int64{1, 2} {
					for _, pad := range []int64{0, 1} {
						const n = 4
						out := (n-1)*stride + (kernel-1)*dilation + 1 - 2*pad
						if out < 1 {
							continue
						}
						x, w, y := tensor.New(tensor.F32, 1, 1, n), tensor.New(tensor.F32, 1, 1, kernel), tensor.New(tensor.F32, 1, 1, out)
						for i := range x.Len() {
							x.SetFloat(i, float64(i)-1)
						}
						x.SetFloat(1, special)
						for k := range kernel {
							w.SetFloat(k, float64(k+1))
						}
						for i := range x.Len() {
							for k := range kernel {
								if at := i*stride + k*dilation - pad; at >= 0 && at < out {
									y.SetFloat(at, y.Float(at)+x.Float(i)*w.Float(k))
								}
							}
						}
						t.Run(fmt.Sprintf("%g, kernel %d, stride %d, dilation %d, pad %d", special, kernel, stride, dilation, pad), func(t *testing.T) {
							check(t, "ConvTranspose", attrs("strides", []int64{stride}, "dilations", []int64{dilation}, "pads", []int64{pad, pad}), list(x, w), y)
						})
					}
				}
			}
		}
	}
}
