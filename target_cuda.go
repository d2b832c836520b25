//go:build cuda

package pitopt

import (
	"github.com/pitopt/pitopt/runtime"
	"github.com/pitopt/pitopt/runtime/cuda"
	"github.com/pitopt/pitopt/runtime/cuda/driver/libcuda"
)

func init() {
	openers["cuda"] = func(int) (runtime.Device, error) { return cuda.Open("cuda", libcuda.Open) }
}
