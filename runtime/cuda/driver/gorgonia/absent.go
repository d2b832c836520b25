//go:build !(cu && cgo && linux)

package gorgonia

import (
	"errors"

	"github.com/pitopt/pitopt/runtime/cuda/driver"
)

// Built says whether this binary can open libcuda.
const Built = false

// Open fails: the binary was built without the tag.
func Open() (driver.Driver, error) {
	return nil, errors.New("this pitopt was built without gorgonia.org/cu: build it for Linux with scripts/cu go build -tags cu")
}
