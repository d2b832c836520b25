package onnx

import (
	"math"
	"slices"
	"strings"

	"github.com/pitopt/pitopt/frontend/onnx/wire"
)

// schema is one version of an operator.
type schema struct {
	version     int64
	least, most int32  // inputs
	attrs       string // attributes that are new in it, and with a minus those that are gone
}

// many is the most inputs of an operator that takes any number.
const many = math.MaxInt32

// DomainOf finds the domain that has an operator of the name: ONNX's own, which is "", or
// ai.onnx.ml. It is ONNX's own, too, when neither has it.
func DomainOf(op string) string {
	const ml = "ai.onnx.ml"
	if schemas[opName("", op)] == nil && schemas[opName(ml, op)] != nil {
		return ml
	}
	return ""
}

// Fits says whether an operator set of the node's domain has the node's operator in the
// form that the node has: as many inputs, and no attribute that other versions of the
// operator have and this one lacks. Of an operator that ONNX does not know it says yes.
func Fits(n *wire.Node, opset int64) bool {
	versions := schemas[opName(n.Domain, n.OpType)]
	if len(versions) == 0 {
		return true
	}
	at := -1 // of the version that the set has
	for at+1 < len(versions) && versions[at+1].version <= opset {
		at++
	}
	if at < 0 || len(n.Inputs) < int(versions[at].least) || len(n.Inputs) > int(versions[at].most) {
		return false
	}
	has := map[string]bool{} // for each attribute of any version, whether this one has it
	for i, v := range versions {
		for _, name := range strings.Fields(v.attrs) {
			name, gone := strings.CutPrefix(name, "-")
			has[name] = i <= at && !gone || i > at && has[name]
		}
	}
	return !slices.ContainsFunc(n.Attributes, func(a *wire.Attribute) bool {
		ok, known := has[a.Name]
		return known && !ok
	})
}
