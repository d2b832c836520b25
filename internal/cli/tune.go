package cli

import (
	"fmt"

	"github.com/pitopt/pitopt/runtime/cpu"
)

// tune measures the tile table of this machine and stores it.
func (a *app) tune(args []string) error {
	a.begin("tune", "", "Measures what tiles of products cost on this machine, and stores that in the user's cache folder. By it a\n"+
		"run chooses how it leaves out zeros that it finds; without it a table that is built in serves. It takes a few\n"+
		"seconds, in which the machine should have nothing else to do. Results' last bits may depend on the table.\n"+
		"To remove the file is to go back to what is built in; `pitopt version` tells which one is used.")
	rest, err := a.parse(args)
	if err != nil {
		return err
	}
	if err := none(rest); err != nil {
		return err
	}
	d := cpu.New(1)
	defer d.Close()
	if err := d.Storable(); err != nil { // before it takes seconds
		return err
	}
	a.progress("measuring tiles")
	t, err := d.Tune()
	if err != nil {
		return err
	}
	file, err := d.Store(t)
	if err != nil {
		return err
	}
	a.clear()
	if a.common.json {
		a.emit(map[string]any{"kind": "tune", "cpu": cpuName(), "file": file, "table": t})
		return nil
	}
	fmt.Fprintf(a.out, "%s, in nanoseconds\n\na tile, for each step along the sum; one that finds the rows of its second factor by a list:\n", cpuName())
	fmt.Fprintf(a.out, "%6s %10s %10s\n", "rows", "step", "by a list")
	for i, n := range t.Rows {
		fmt.Fprintf(a.out, "%6d %10.3f %10.3f\n", n, t.Step[i], t.List[i])
	}
	fmt.Fprintln(a.out)
	for _, x := range []struct {
		name string
		ns   float64
		of   string
	}{
		{"wide", t.Wide, "a step of a single row, for as many columns as a tile has"},
		{"call", t.Call, "a tile beside its steps"},
		{"start", t.Start, "one with a list beside its steps"},
		{"pack", t.Pack, "an element that is packed, row by row"},
		{"gather", t.Gather, "an element that is looked up by its place"},
		{"sum", t.Sum, "an element of the result that is summed up elsewhere first"},
		{"far", t.Far, "a byte that comes from beyond the second-level cache"},
	} {
		fmt.Fprintf(a.out, "%6s %10.3f  %s\n", x.name, x.ns, x.of)
	}
	fmt.Fprintf(a.out, "stored in %s\n", file)
	return nil
}
