//go:build emu

package pitopt

import (
	"github.com/pitopt/pitopt/runtime"
	"github.com/pitopt/pitopt/runtime/cuda"
	"github.com/pitopt/pitopt/runtime/cuda/driver"
	"github.com/pitopt/pitopt/runtime/cuda/emu"
)

func init() {
	openers["cuda-emu"] = func(int) (runtime.Device, error) {
		return cuda.Open("cuda-emu", func() (driver.Driver, error) { return emu.New(emu.Options{}), nil })
	}
}
