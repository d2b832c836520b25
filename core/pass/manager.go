package pass

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/target"
)

// Manager runs steps over a module. After each step the module is verified, after the last one
// with nothing taken for granted that held before (ir.Verifier); the hooks see it before and after.
type Manager struct {
	Target *target.Target
	// Verifier has seen the module, or is new.
	Verifier ir.Verifier
	// Before and After are called around each step, when they are set. An error ends the
	// run.
	Before func(i int, s Step, m *ir.Module) error
	After  func(i int, s Step, m *ir.Module, took time.Duration) error
	// Note gets what passes say to the user.
	Note func(pass, msg string)
}

// Run runs the steps in order. A pass that fails, panics, or leaves an invalid module is
// an error that names it; the module is then in an undefined state.
func (mg *Manager) Run(ctx context.Context, m *ir.Module, steps []Step) error {
	if err := CheckOrder(steps); err != nil {
		return err
	}
	for i, s := range steps {
		if err := ctx.Err(); err != nil {
			return diag.New(diag.Interrupted, "interrupted: %v", err).During(s.Ref())
		}
		if mg.Before != nil {
			if err := mg.Before(i, s, m); err != nil {
				return err
			}
		}
		start := time.Now()
		if err := mg.step(ctx, m, s); err != nil {
			e := diag.As(err, diag.Run).During(s.Ref())
			if e.Code == diag.Pipeline && s.Where != "" { // it is about what the pipeline says of the pass
				e.In(s.Where)
			}
			return e
		}
		took := time.Since(start)
		if err := mg.Verifier.Verify(m); err != nil {
			e := diag.As(err, diag.Verifier)
			return e.During(s.Ref()).Hint("the pass left an invalid module; run with -print-before %s to see what it got", s.Ref())
		}
		if i == len(steps)-1 {
			if err := ir.Verify(m); err != nil {
				e := diag.As(err, diag.Verifier)
				return e.During(s.Ref()).Hint("this pass or one before it left an invalid module, by changing something where it lies; run with -print-changed to see which")
			}
		}
		if mg.After != nil {
			if err := mg.After(i, s, m, took); err != nil {
				return err
			}
		}
	}
	return nil
}

func (mg *Manager) step(ctx context.Context, m *ir.Module, s Step) (err error) {
	defer func() {
		if r := recover(); r != nil {
			e := diag.New(diag.Run, "the pass panicked: %v", r)
			e.Detail = string(debug.Stack())
			err = e
		}
	}()
	opts := map[string]any{}
	for _, o := range s.Pass.Options {
		opts[o.Name] = o.Default
	}
	for k, v := range s.Options {
		opts[k] = v
	}
	c := &Context{Context: ctx, Target: mg.Target, Options: opts, Note: func(format string, args ...any) {
		if mg.Note != nil {
			mg.Note(s.Ref(), fmt.Sprintf(format, args...))
		}
	}}
	if err = s.Pass.Run(c, m); err != nil && ctx.Err() != nil && errors.Is(err, ctx.Err()) {
		return diag.New(diag.Interrupted, "interrupted: %v", err)
	}
	return err
}
