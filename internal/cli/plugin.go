package cli

import "github.com/pitopt/pitopt/core/diag"

func (a *app) plugin(args []string) error {
	return diag.New(diag.Usage, "plugin: not in this version")
}
