package cli

import (
	"fmt"
	"strings"

	"github.com/pitopt/pitopt"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/pass"
	"github.com/pitopt/pitopt/passes/builtin"
	"github.com/pitopt/pitopt/runtime/cpu"
)

// inspectPadding tells of the masks of a model, as they stand before remove-padding, for the CPU.
func (a *app) inspectPadding(path string, opts []pitopt.Option) error {
	device := cpu.New(1)
	defer device.Close()
	var list []builtin.MaskUse
	looked := false
	m, err := pitopt.Load(path, append(opts, pitopt.Target("cpu"), pitopt.Observe(pitopt.Observer{
		Before: func(_ int, s pass.Step, m *ir.Module) error {
			if s.Pass == builtin.RemovePadding {
				looked = true
				masks, _ := s.Options["masks"].([]string)
				list = builtin.MaskUses(device.Target(), m, masks)
			}
			return nil
		},
	}))...)
	if err != nil {
		return err
	}
	defer m.Close()
	if !looked && !a.common.json {
		fmt.Fprintln(a.out, "the pipeline does not look for padding: it has no pass remove-padding")
		return nil
	}
	if a.common.json {
		rows := []map[string]any{}
		for _, x := range list {
			rows = append(rows, map[string]any{"mask": x.Mask, "declared": x.Declared, "products": x.Products, "of": x.Total, "from": x.From, "to": x.To, "checked": append([]string{}, x.Checked...), "why_not": x.Why})
		}
		a.emit(map[string]any{"kind": "padding", "masks": rows})
		return nil
	}
	shown := 0
	for _, x := range list {
		if x.Products == 0 && !x.Declared && x.Why == "" {
			continue
		}
		shown++
		if x.Total == 0 {
			fmt.Fprintf(a.out, "%s: there is nothing to leave out: %s\n", x.Mask, x.Why)
			continue
		}
		fmt.Fprintf(a.out, "%s: %d of %s of tokens leave padding out", x.Mask, x.Products, count(x.Total, "product"))
		if x.Products > 0 {
			fmt.Fprintf(a.out, ", from %s to %s\n    a run looks whether %s", x.From, x.To, strings.Join(x.Checked, ", "))
		}
		fmt.Fprintln(a.out)
		if x.Why != "" {
			fmt.Fprintf(a.out, "    rows of padding are computed: %s\n", x.Why)
		}
	}
	if shown == 0 {
		fmt.Fprintln(a.out, "no input is a mask of a padded batch")
	}
	return nil
}
