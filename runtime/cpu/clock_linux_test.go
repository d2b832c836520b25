package cpu

import (
	"time"

	"golang.org/x/sys/unix"
)

// clock is the time that this thread has run: what else runs on the machine does not count.
func clock() time.Duration {
	var t unix.Timespec
	if unix.ClockGettime(unix.CLOCK_THREAD_CPUTIME_ID, &t) != nil {
		return time.Since(began)
	}
	return time.Duration(t.Nano())
}
