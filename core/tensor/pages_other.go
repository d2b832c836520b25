//go:build !linux

package tensor

import "math"

// There are no large pages to ask for.
const (
	hugePage = 2 << 20
	fewPages = math.MaxInt
)

func largePages([]byte) {}

// LargePages is for systems that have some.
func LargePages([]byte) bool { return false }

// Touch is for systems that find pages when they are asked to.
func Touch([]byte) {}

// Outside gives memory that Go's collector does not know of; nil: there is none.
func Outside(int64) ([]byte, func()) { return nil, nil }
