//go:build !linux

package cpu

import "time"

// clock is the time.
func clock() time.Duration { return time.Since(began) }
