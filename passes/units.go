package passes

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/pitopt/pitopt/core/diag"
)

// sizeUnits are the units of sizes. An unknown one is answered with the nearest.
var sizeUnits = []string{"B", "KB", "KiB", "MB", "MiB", "GB", "GiB", "TB", "TiB"}

var sizeFactors = []int64{1, 1e3, 1 << 10, 1e6, 1 << 20, 1e9, 1 << 30, 1e12, 1 << 40}

// maxSize bounds every size, in bytes.
const maxSize = 1 << 50

// parseSize gives the bytes of a size: "64MiB", or an integer of bytes.
func parseSize(v any) (int64, error) {
	if n, ok := v.(int64); ok {
		if n < 0 || n > maxSize {
			return 0, fmt.Errorf("%d bytes is out of range", n)
		}
		return n, nil
	}
	s, ok := v.(string)
	if !ok {
		return 0, fmt.Errorf("%s is no size", kindOf(v))
	}
	digits := len(s) - len(strings.TrimLeft(s, "0123456789"))
	unit := strings.TrimSpace(s[digits:])
	if digits == 0 || unit == "" {
		return 0, fmt.Errorf("%q is no size", s)
	}
	for i, u := range sizeUnits {
		if s[digits:] != u {
			continue
		}
		n, err := strconv.ParseInt(s[:digits], 10, 64)
		if err != nil || n > maxSize/sizeFactors[i] {
			return 0, fmt.Errorf("%q is out of range: sizes end at 1024TiB", s)
		}
		return n * sizeFactors[i], nil
	}
	if near := diag.Nearest(unit, sizeUnits); near != "" {
		return 0, fmt.Errorf("%q is no size, %q is", s, s[:digits]+near)
	}
	return 0, fmt.Errorf("%q is no size", s)
}

// parseDuration gives a duration that is not negative: "30s", "1m30s".
func parseDuration(v any) (time.Duration, error) {
	s, ok := v.(string)
	if !ok {
		return 0, fmt.Errorf("%s is no duration", kindOf(v))
	}
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 || d == math.MaxInt64 {
		return 0, fmt.Errorf("%q is no duration", s)
	}
	return d, nil
}
