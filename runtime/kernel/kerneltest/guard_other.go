//go:build !unix

package kerneltest

import "testing"

// Guarded gives memory, which nothing guards on this system.
func Guarded(_ testing.TB, n int) ([]byte, func()) { return make([]byte, n), func() {} }
