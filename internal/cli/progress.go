package cli

import (
	"fmt"
	"os"

	"golang.org/x/term"
)

// terminal gives the width of the terminal on which a person sees progress; 0: there is
// none.
func (a *app) terminal() int {
	f, ok := a.err.(*os.File)
	if !ok || a.common.quiet || a.common.json || !term.IsTerminal(int(f.Fd())) {
		return 0
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil || width <= 0 {
		return 80
	}
	return width
}

// progress writes a line on the terminal that the next one replaces; elsewhere nothing.
func (a *app) progress(format string, args ...any) {
	width := a.terminal()
	if width == 0 {
		return
	}
	line := []rune(fmt.Sprintf(format, args...))
	fmt.Fprintf(a.err, "\r\033[K%s", string(line[:min(len(line), width-1)])) // one that wraps could not be replaced
	a.status = true
}

// clear takes the line of progress away.
func (a *app) clear() {
	if a.status {
		fmt.Fprint(a.err, "\r\033[K")
		a.status = false
	}
}
