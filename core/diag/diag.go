// Package diag holds the one error type that users see: it knows the file, the
// node and the pass it is about, what is wrong, and what to do about it.
package diag

import (
	"context"
	"errors"
	"fmt"
	"strings"
)

// Code classifies an error for the exit status and for programs that embed pitopt.
type Code int

// The codes are the exit codes of the command line.
const (
	Run         Code = 1 // a run failed
	Usage       Code = 2 // the command line is wrong
	Pipeline    Code = 3 // the pipeline file is wrong
	Unsupported Code = 4 // an operator, or a version of it, is not there
	Verifier    Code = 5 // a module breaks a rule of the IR
	Plugin      Code = 6 // a plugin is missing, died, hung, or answered rubbish
	Differ      Code = 7 // results differ from the reference
	Malformed   Code = 8 // the model file is not what it claims to be
	Interrupted Code = 130
)

// Error is a diagnostic. Its text is
//
//	FILE: node "NAME" (Op): PASS: what is wrong; what to do
//	    detail
//
// with the parts that are not known left out.
type Error struct {
	Code   Code
	File   string // model, pipeline or text file, with ":line:column" where that is known
	Node   string // name of the node in the model, or of the value it defines
	Op     string // operator of that node
	Pass   string
	Msg    string
	Way    string // the way out
	Detail string // lines that say more: a stack, or what another program printed
	Err    error  // what it wraps, if anything
}

// New makes an error of the given code.
func New(code Code, format string, args ...any) *Error {
	e := &Error{Code: code, Msg: fmt.Sprintf(format, args...)}
	for _, a := range args {
		if err, ok := a.(error); ok {
			e.Err = err
		}
	}
	return e
}

// At adds the node the error is about, unless a closer place is known already.
func (e *Error) At(node, op string) *Error {
	if e.Node == "" && e.Op == "" {
		e.Node, e.Op = node, op
	}
	return e
}

// In adds the file, unless it is known already.
func (e *Error) In(file string) *Error {
	if e.File == "" {
		e.File = file
	}
	return e
}

// During adds the pass, unless it is known already.
func (e *Error) During(pass string) *Error {
	if e.Pass == "" {
		e.Pass = pass
	}
	return e
}

// Hint says what the user can do.
func (e *Error) Hint(format string, args ...any) *Error {
	if e.Way == "" {
		e.Way = fmt.Sprintf(format, args...)
	}
	return e
}

func (e *Error) Error() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File + ": ")
	}
	switch {
	case e.Node != "" && e.Op != "":
		fmt.Fprintf(&b, "node %q (%s): ", e.Node, e.Op)
	case e.Node != "":
		fmt.Fprintf(&b, "node %q: ", e.Node)
	case e.Op != "":
		fmt.Fprintf(&b, "%s: ", e.Op)
	}
	if e.Pass != "" {
		b.WriteString(e.Pass + ": ")
	}
	b.WriteString(e.Msg)
	if e.Way != "" {
		b.WriteString("; " + e.Way)
	}
	if e.Detail != "" {
		b.WriteString("\n    " + strings.ReplaceAll(e.Detail, "\n", "\n    "))
	}
	return b.String()
}

// Unwrap gives the error this one was made from.
func (e *Error) Unwrap() error { return e.Err }

// Stopped is the diagnostic of a run that its context ended.
func Stopped(err error) *Error {
	return &Error{Code: Interrupted, Msg: "the run was stopped: " + err.Error(), Err: err}
}

// As turns any error into a diagnostic; one that is none yet gets the code, or is
// Stopped if it comes from a context. Nil stays nil.
func As(err error, code Code) *Error {
	if err == nil {
		return nil
	}
	var e *Error
	if errors.As(err, &e) {
		return e
	}
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return Stopped(err)
	}
	return &Error{Code: code, Msg: err.Error(), Err: err}
}

// CodeOf gives the code of an error: Run for one that carries none, 0 for nil.
func CodeOf(err error) Code {
	if err == nil {
		return 0
	}
	return As(err, Run).Code
}
