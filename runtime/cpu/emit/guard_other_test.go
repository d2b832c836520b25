//go:build !unix

package emit_test

import "testing"

func guarded(_ testing.TB, n int) ([]byte, func()) { return make([]byte, n), func() {} }
