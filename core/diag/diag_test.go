package diag_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/pitopt/pitopt/core/diag"
)

// What a context ended is interrupted, whoever passes its error on; a diagnostic keeps
// its code.
func TestAs(t *testing.T) {
	for _, c := range []struct {
		err  error
		want diag.Code
	}{
		{nil, 0},
		{errors.New("other"), diag.Run},
		{context.Canceled, diag.Interrupted},
		{fmt.Errorf("reading: %w", context.DeadlineExceeded), diag.Interrupted},
		{fmt.Errorf("of: %w", diag.New(diag.Plugin, "it hung: %v", context.DeadlineExceeded)), diag.Plugin},
	} {
		if got := diag.CodeOf(c.err); got != c.want {
			t.Errorf("%v: code %d instead of %d", c.err, got, c.want)
		}
		if e := diag.As(c.err, diag.Run); e != nil && !errors.Is(e, c.err) && !errors.Is(c.err, e) {
			t.Errorf("%v: lost in %v", c.err, e)
		}
	}
}
