package onnx

import (
	"slices"

	"github.com/pitopt/pitopt/core/diag"
	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/frontend/onnx/wire"
)

func functionKey(domain, name, overload string) string {
	return domainOf(domain) + "\x00" + name + "\x00" + overload
}

// inline puts a model-local function's body in the place of its call. Names from the
// body get the call's name in front; the function's outputs are called as the caller
// calls them.
func (im *importer) inline(fn *wire.Function, n *wire.Node, args []*ir.Value, sc *scope) error {
	key := functionKey(fn.Domain, fn.Name, fn.Overload)
	if slices.Contains(im.calls, key) {
		return diag.New(diag.Malformed, "function %s calls itself", fn.Name)
	}
	if len(im.calls) == maxCalls {
		return diag.New(diag.Malformed, "functions call each other more than %d deep", maxCalls)
	}
	if len(args) > len(fn.Inputs) || len(n.Outputs) > len(fn.Outputs) {
		return diag.New(diag.Malformed, "function %s is called with %d inputs and %d outputs, it has %d and %d",
			fn.Name, len(args), len(n.Outputs), len(fn.Inputs), len(fn.Outputs))
	}
	im.calls = append(im.calls, key)
	defer func() { im.calls = im.calls[:len(im.calls)-1] }()

	call := &inlined{path: sc.call.path + nodeName(n) + "/", attrs: map[string]given{}, opsets: map[string]int64{}}
	for _, o := range fn.OpsetImport {
		call.opsets[domainOf(o.Domain)] = o.Version
	}
	in := newScope(nil, call)
	for i, name := range fn.Inputs {
		in.vals[name] = nil
		if i < len(args) {
			in.vals[name] = args[i]
		}
	}
	for _, a := range fn.AttributeProtos {
		call.attrs[a.Name] = given{a, in}
	}
	for _, a := range n.Attributes {
		if a.RefAttrName == "" {
			call.attrs[a.Name] = given{a, sc}
		} else if outer, ok := sc.call.attrs[a.RefAttrName]; ok { // passed on from a function around this one
			call.attrs[a.Name] = outer
		}
	}
	in.declared = map[string]*wire.Type{}
	for _, info := range fn.ValueInfo {
		in.declared[info.Name] = info.Type
	}
	if err := im.nodesOf(&wire.Graph{Nodes: fn.Nodes, Name: fn.Name}, fn.Outputs, in); err != nil {
		return err
	}
	named := map[*ir.Value]bool{}
	for i, name := range n.Outputs {
		v, ok := in.lookup(fn.Outputs[i])
		if !ok && name != "" {
			return diag.New(diag.Malformed, "output %q of function %s is not defined", fn.Outputs[i], fn.Name)
		}
		if name == "" {
			continue
		}
		if err := im.define(sc, name, v); err != nil {
			return err
		}
		if v != nil && v.Def != nil && !named[v] && !slices.Contains(args, v) {
			im.b.Rename(v, sc.call.path+name)
			named[v] = true
		}
	}
	return nil
}
