//go:build !linux

package tensor

import "math"

// There are no large pages to ask for.
const (
	hugePage = 2 << 20
	fewPages = math.MaxInt
)

func largePages([]byte) {}
