package cli

import (
	"fmt"
	"os"

	"golang.org/x/term"
)

// terminal says whether progress is seen by a person.
func (a *app) terminal() bool {
	f, ok := a.err.(*os.File)
	return ok && !a.common.quiet && !a.common.json && term.IsTerminal(int(f.Fd()))
}

// progress writes a line on the terminal that the next one replaces; elsewhere nothing.
func (a *app) progress(format string, args ...any) {
	if a.terminal() {
		fmt.Fprintf(a.err, "\r\033[K%s", fmt.Sprintf(format, args...))
		a.status = true
	}
}

// clear takes the line of progress away.
func (a *app) clear() {
	if a.status {
		fmt.Fprint(a.err, "\r\033[K")
		a.status = false
	}
}
