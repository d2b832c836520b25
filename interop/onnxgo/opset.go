package onnxgo

import (
	"maps"
	"slices"

	"github.com/pitopt/pitopt/frontend/onnx"
	"github.com/pitopt/pitopt/frontend/onnx/wire"
)

// usual are the operator sets that a model is taken to be of where nothing tells. Of
// ONNX's own domain it is the last one in which an operator of a given form means what it
// means to onnx-go's own backends; in ai.onnx.ml form tells all, and it is the newest.
var usual = map[string]int64{"": 12, "ai.onnx.ml": 5}

// opsets are the operator sets of the domains that occur; own is that of ONNX's own domain,
// and 0 has it guessed.
func opsets(nodes []*wire.Node, own int64) []*wire.OperatorSet {
	byDomain := map[string][]*wire.Node{"": nil}
	for _, n := range nodes {
		byDomain[n.Domain] = append(byDomain[n.Domain], n)
	}
	var list []*wire.OperatorSet
	for _, domain := range slices.Sorted(maps.Keys(byDomain)) {
		version := own
		if domain != "" || own == 0 {
			version = guessOpset(byDomain[domain], usual[domain])
		}
		list = append(list, &wire.OperatorSet{Domain: domain, Version: version})
	}
	return list
}

// guessOpset finds the operator set that all nodes are of by their form: the newest one up
// to the usual one, else the oldest one after. Where there is none it is the usual one, and
// the importer tells what is wrong.
func guessOpset(nodes []*wire.Node, usual int64) int64 {
	fits := func(opset int64) bool {
		return !slices.ContainsFunc(nodes, func(n *wire.Node) bool { return !onnx.Fits(n, opset) })
	}
	for v := usual; v > 0; v-- {
		if fits(v) {
			return v
		}
	}
	for v := usual + 1; v <= onnx.MaxOpset; v++ {
		if fits(v) {
			return v
		}
	}
	return usual
}
