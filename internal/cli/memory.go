package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pitopt/pitopt"
	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/runtime"
)

// memoryFigures are the figures of a plan for some sizes.
type memoryFigures struct {
	Dims    map[string]int64 `json:"dims"` // null: all symbols at their bounds
	Naive   int64            `json:"naive"`
	Equal   int64            `json:"equal_sizes"`
	Planned int64            `json:"planned"`
	Largest int64            `json:"largest_live_set"`
	Device  int64            `json:"workspace"`
}

// inspectMemory tells what the plan of a compiled model takes.
func (a *app) inspectMemory(path string, opts []pitopt.Option, dims map[string]int64) error {
	m, err := pitopt.Load(path, opts...)
	if err != nil {
		return err
	}
	defer m.Close()
	names := inputSymbols(m.Module())
	for _, s := range slices.Sorted(maps.Keys(dims)) {
		if !slices.Contains(names, s) && !slices.Contains(m.Module().Syms.Symbols(), s) { // else a size that the run tells
			return diag.New(diag.Usage, "-dim: there is no symbolic dim %q", s).Hint("%s", diag.DidYouMean(s, names))
		}
	}
	storages, err := m.Storages()
	if err != nil {
		return err
	}
	var rows []memoryFigures
	row := func(dims map[string]int64) error {
		use, err := m.Memory(dims)
		if err == nil {
			rows = append(rows, memoryFigures{dims, use.Naive, use.Equal, use.Planned, use.Largest, use.Workspace})
		}
		return err
	}
	if len(dims) > 0 {
		if err := row(dims); err != nil {
			return err
		}
	}
	if err := row(nil); err != nil && len(dims) == 0 {
		return err
	}
	if a.common.json {
		a.emit(memoryJSON(rows, storages))
		return nil
	}
	fmt.Fprintf(a.out, "%-32s %14s %14s %14s %14s %14s\n", "bytes", "each its own", "equal sizes", "this plan", "live at once", "workspace")
	for _, r := range rows {
		at := "at the bounds"
		if r.Dims != nil {
			var list []string
			for _, s := range slices.Sorted(maps.Keys(r.Dims)) {
				list = append(list, fmt.Sprintf("%s=%d", s, r.Dims[s]))
			}
			at = strings.Join(list, " ")
		} else if len(names) == 0 {
			at = "always"
		}
		fmt.Fprintf(a.out, "%-32s %14d %14d %14d %14d %14d\n", at, r.Naive, r.Equal, r.Planned, r.Largest, r.Device)
	}
	fmt.Fprintf(a.out, "\n%-32s %8s %12s  %s\n", count(len(storages), "storage"), "steps", "offset", "holds")
	for _, s := range storages {
		offset := "by call"
		if s.Offset >= 0 {
			offset = fmt.Sprint(s.Offset)
		}
		fmt.Fprintf(a.out, "%-32s %8s %12s  %s\n", s.Bytes, fmt.Sprintf("%d-%d", s.From, s.To), offset, strings.Join(s.Holds, ", "))
	}
	return nil
}

func memoryJSON(rows []memoryFigures, storages []runtime.Storage) map[string]any {
	list := []map[string]any{}
	for _, s := range storages {
		item := map[string]any{"bytes": s.Bytes.String(), "from": s.From, "to": s.To, "holds": s.Holds, "offset": nil}
		if s.Offset >= 0 {
			item["offset"] = s.Offset
		}
		list = append(list, item)
	}
	return map[string]any{"kind": "memory", "figures": append([]memoryFigures{}, rows...), "storages": list}
}
