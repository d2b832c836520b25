package pitopt

import (
	"context"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/pass"
	"github.com/pitopt/pitopt/passes"
	"github.com/pitopt/pitopt/plugins/host"
)

// Plugins are the plugins of a pipeline, which run until Close. A Load has its own.
type Plugins []*host.Plugin

// OpenPlugins starts the plugins that a pipeline names.
func OpenPlugins(ctx context.Context, f *passes.File) (Plugins, error) {
	var list []host.Config
	for _, p := range f.Plugins {
		list = append(list, host.Config{Name: p.Name, Path: f.PluginPath(p), SHA256: p.SHA256, Timeout: p.Timeout, Where: p.Where})
	}
	return host.OpenAll(ctx, list)
}

// Registry is a registry with the passes of r and those of the plugins.
func (l Plugins) Registry(r *pass.Registry) (*pass.Registry, error) {
	all := r.Passes()
	for _, p := range l {
		all = append(all, p.Passes()...)
	}
	out, err := pass.NewRegistry(all...)
	if err != nil {
		return nil, diag.New(diag.Plugin, "%v", err).Hint("`pitopt passes` lists the passes and the order they need")
	}
	return out, nil
}

// Close ends the plugins.
func (l Plugins) Close() { host.CloseAll(l) }

func (l Plugins) ops() (out []*ir.OpDef) {
	for _, p := range l {
		for _, op := range p.Ops() {
			out = append(out, op)
		}
	}
	return out
}
