package cli

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pitopt/pitopt"
	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/pass"
)

// plugin lists the plugins of a pipeline.
func (a *app) plugin(args []string) error {
	a.begin("plugin", "list", "Lists the plugins of a pipeline with their passes and operators.")
	a.pipelineFlag()
	rest, err := a.parse(args)
	if err != nil {
		return err
	}
	if len(rest) == 0 {
		return diag.New(diag.Usage, "plugin does nothing by itself").Hint("`pitopt plugin list` lists plugins")
	}
	what := rest[0]
	switch {
	case what == "check" || what == "new":
		return diag.New(diag.Usage, "plugin %s: not in this version", what)
	case what != "list":
		return diag.New(diag.Usage, "plugin has no %q", what).Hint("%s", diag.DidYouMean(what, []string{"list"}))
	}
	if err := none(rest[1:]); err != nil {
		return err
	}
	plugins, err := a.plugins()
	if err != nil {
		return err
	}
	defer plugins.Close()
	for _, p := range plugins {
		var names []string
		for _, x := range p.Passes() {
			names = append(names, x.Name)
		}
		ops := slices.Sorted(maps.Keys(p.Ops()))
		if a.common.json {
			a.emit(map[string]any{"kind": "plugin", "name": p.Name(), "title": p.Title(), "version": p.Version(), "passes": names, "operators": ops})
			continue
		}
		fmt.Fprintf(a.out, "%s: %s %s\n", p.Name(), p.Title(), p.Version())
		for _, x := range p.Passes() {
			fmt.Fprintf(a.out, "  pass %s: %s\n", x.Name, firstSentence(x.Doc))
		}
		for _, name := range ops {
			fmt.Fprintf(a.out, "  operator %s: %s\n", name, p.Ops()[name].Doc)
		}
	}
	return nil
}

// plugins starts the plugins of the pipeline that the flags choose.
func (a *app) plugins() (pitopt.Plugins, error) {
	f, err := a.findPipeline("")
	if err != nil {
		return nil, err
	}
	return pitopt.OpenPlugins(a.ctx, f)
}

// registry has the built-in passes and those of the pipeline's plugins, which done ends.
func (a *app) registry() (r *pass.Registry, done func(), err error) {
	plugins, err := a.plugins()
	if err != nil {
		return nil, nil, err
	}
	if r, err = plugins.Registry(a.ownPasses()); err != nil {
		plugins.Close()
		return nil, nil, err
	}
	return r, plugins.Close, nil
}

// firstSentence is the first line of what a pass says of itself.
func firstSentence(doc string) string {
	line, _, _ := strings.Cut(doc, "\n")
	s, _, _ := strings.Cut(line, ". ")
	return strings.TrimSuffix(s, ".")
}
