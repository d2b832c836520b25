//go:build cu && !cuda

package pitopt

import (
	"github.com/pitopt/pitopt/runtime"
	"github.com/pitopt/pitopt/runtime/cuda"
	"github.com/pitopt/pitopt/runtime/cuda/driver/gorgonia"
)

func init() {
	openers["cuda"] = func(int) (runtime.Device, error) { return cuda.Open("cuda", gorgonia.Open) }
}
