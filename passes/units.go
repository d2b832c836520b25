package passes

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/pass"
)

// sizeUnits are the units of sizes. An unknown one is answered with the nearest.
var sizeUnits = []string{"B", "KB", "KiB", "MB", "MiB", "GB", "GiB", "TB", "TiB"}

var sizeFactors = []int64{1, 1e3, 1 << 10, 1e6, 1 << 20, 1e9, 1 << 30, 1e12, 1 << 40}

// maxSize bounds every size, in bytes.
const maxSize = 1 << 50

// parseSize gives the bytes of a size: "64MiB", or an integer of bytes.
func parseSize(v any) (int64, error) {
	wrong := func() *diag.Error { return diag.New(diag.Pipeline, "%s is no size", shown(v)) }
	outOfRange := func() error {
		return diag.New(diag.Pipeline, "%s is out of range", shown(v)).Hint("sizes are 0B to %dTiB", maxSize>>40)
	}
	if n, ok := v.(int64); ok {
		if n < 0 || n > maxSize {
			return 0, outOfRange()
		}
		return n, nil
	}
	s, _ := v.(string)
	digits := s[:len(s)-len(strings.TrimLeft(s, "0123456789"))]
	unit := s[len(digits):]
	i := slices.Index(sizeUnits, unit)
	switch near := diag.Nearest(strings.TrimSpace(unit), sizeUnits); {
	case i < 0 && digits != "" && near != "":
		return 0, wrong().Hint("did you mean %q?", digits+near)
	case i < 0 || digits == "":
		return 0, wrong().Hint(`write a size such as "512MiB" or "4GiB"`)
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || n > maxSize/sizeFactors[i] {
		return 0, outOfRange()
	}
	return n * sizeFactors[i], nil
}

// ParseSize gives the bytes of a size as pipeline files write it: "64MiB".
func ParseSize(s string) (int64, error) { return parseSize(s) }

// parseDuration gives a duration that is not negative: "30s", "1m30s".
func parseDuration(v any) (time.Duration, error) {
	s, _ := v.(string)
	d, err := time.ParseDuration(s)
	if err != nil || d < 0 {
		return 0, diag.New(diag.Pipeline, "%s is no duration", shown(v)).Hint(`write a duration such as "30s" or "2m"`)
	}
	return d, nil
}

// DefaultText is the default of an option as a pipeline file writes it.
func DefaultText(o pass.Option) string {
	switch v := o.Default.(type) {
	case int64:
		if o.Kind == pass.Size {
			return sizeText(v)
		}
	case time.Duration:
		return quote(v.String())
	case []string:
		items := make([]string, len(v))
		for i, s := range v {
			items[i] = quote(s)
		}
		return "[" + strings.Join(items, ", ") + "]"
	}
	return valueText(o.Default)
}

// sizeText writes a size in the largest unit of which it is a multiple.
func sizeText(n int64) string {
	best := 0
	for i, f := range sizeFactors {
		if strings.HasSuffix(sizeUnits[i], "iB") && n > 0 && n%f == 0 {
			best = i
		}
	}
	return quote(strconv.FormatInt(n/sizeFactors[best], 10) + sizeUnits[best])
}
