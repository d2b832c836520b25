package op

import (
	"math"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

var treeFloats = []tensor.DType{tensor.F32, tensor.F64, tensor.F16}

// TreeEnsemble sends each row of X down every tree, and combines the weights of the leaves
// where it ends for each target: mean, sum, smallest or largest. A tree's path depends on
// what is compared on the way, which no tensor program says.
var TreeEnsemble = ir.Register(&ir.OpDef{
	Name: "ai.onnx.ml.TreeEnsemble", Since: since(5), Doc: "what decision trees say, combined",
	In: ops(in("X", "T", treeFloats)), Out: ops(in("Y", "T", treeFloats)),
	Attrs: attrs(attr("aggregate_function", 1), attrReq("leaf_targetids", []int64(nil)), attrReq("leaf_weights", (*tensor.Tensor)(nil)),
		attrOpt("membership_values", (*tensor.Tensor)(nil)), attrOpt("n_targets", int64(0)), attrReq("nodes_falseleafs", []int64(nil)),
		attrReq("nodes_falsenodeids", []int64(nil)), attrReq("nodes_featureids", []int64(nil)), attrOpt("nodes_hitrates", (*tensor.Tensor)(nil)),
		attrOpt("nodes_missing_value_tracks_true", []int64(nil)), attrReq("nodes_modes", (*tensor.Tensor)(nil)), attrReq("nodes_splits", (*tensor.Tensor)(nil)),
		attrReq("nodes_trueleafs", []int64(nil)), attrReq("nodes_truenodeids", []int64(nil)), attr("post_transform", 0), attrReq("tree_roots", []int64(nil))),
	Deduce: func(c *call) error {
		f, err := forestOf(c)
		if err != nil {
			return err
		}
		if len(c.Dims(0)) != 2 || c.Syms.LE(sym.Const(f.features), c.Dims(0)[1]) == sym.False {
			return c.Errorf("an operand %s, it takes a matrix of at least %d features", c.Tensor(0), f.features)
		}
		c.SetOut(0, c.DType(0), c.Dims(0)[0], sym.Const(c.Int("n_targets")))
		return nil
	},
	Kernel: func(k *ir.KernelCall) ([]tensor.Value, error) {
		f, err := forestOf(k.Call)
		if err != nil {
			return nil, err
		}
		x, n := k.Arg(0), k.Int("n_targets")
		y, err := tensor.Make(x.DType(), []int64{x.Shape()[0], n})
		if err != nil {
			return nil, err
		}
		row, sums := make([]float64, x.Shape()[1]), make([]float64, n)
		for r := range x.Shape()[0] {
			if err := k.Context.Err(); err != nil {
				return nil, err
			}
			for i := range row {
				row[i] = x.Float(r*int64(len(row)) + int64(i))
			}
			f.combine(row, sums)
			for i, v := range sums {
				y.SetFloat(r*n+int64(i), v)
			}
		}
		return []tensor.Value{y}, nil
	},
})

// branch is a node of a tree: a comparison of a feature, and where each answer leads.
type branch struct {
	mode        int64
	feature     int64
	split       float64
	members     map[float64]bool // of mode branchMember
	missingTrue bool             // where NaN leads
	yes, no     int64            // a node; or -1-leaf
}

// Modes of a branch.
const (
	branchLE = iota
	branchLT
	branchGE
	branchGT
	branchEQ
	branchNE
	branchMember
)

type leaf struct {
	target int64
	weight float64
}

// forest is a TreeEnsemble's trees.
type forest struct {
	nodes    []branch
	leaves   []leaf
	roots    []int64 // as branch.yes
	features int64   // that a row must have
	combined int64   // 0 mean, 1 sum, 2 smallest, 3 largest
	none     float64 // what a target has before the first leaf
}

func forestOf(c *call) (*forest, error) {
	f := &forest{combined: c.Int("aggregate_function")}
	targets := c.Int("n_targets")
	if targets < 1 || f.combined < 0 || f.combined > 3 {
		return nil, c.Errorf("n_targets is %d, aggregate_function %d", targets, f.combined)
	}
	if p := c.Int("post_transform"); p != 0 {
		return nil, c.Unsupported("post_transform %d", p)
	}
	limit := math.MaxFloat32
	switch c.DType(0) {
	case tensor.F64:
		limit = math.MaxFloat64
	case tensor.F16:
		limit = 65504
	}
	f.none = []float64{0, 0, limit, -limit}[f.combined]

	weights, ids := c.TensorAttr("leaf_weights"), c.IntList("leaf_targetids")
	if !isList(weights, len(ids)) {
		return nil, c.Errorf("leaf_weights are no list of %d numbers, one for each of leaf_targetids", len(ids))
	}
	for i, id := range ids {
		if id < 0 || id >= targets {
			return nil, c.Errorf("leaf %d is of target %d, there are %d", i, id, targets)
		}
		f.leaves = append(f.leaves, leaf{id, weights.Float(int64(i))})
	}
	if err := f.readNodes(c); err != nil {
		return nil, err
	}
	for _, r := range c.IntList("tree_roots") {
		if r < 0 || r >= int64(len(f.nodes)) {
			return nil, c.Errorf("tree_roots has %d, there are %d nodes", r, len(f.nodes))
		}
		f.roots = append(f.roots, r)
	}
	return f, f.checkPaths(c)
}

func isList(t *tensor.Tensor, n int) bool {
	return t != nil && t.Rank() == 1 && t.Len() == int64(n) && (t.DType().IsFloat() || t.DType().IsInt())
}

func (f *forest) readNodes(c *call) error {
	modes, splits, features := c.TensorAttr("nodes_modes"), c.TensorAttr("nodes_splits"), c.IntList("nodes_featureids")
	n := len(features)
	yes, no := c.IntList("nodes_truenodeids"), c.IntList("nodes_falsenodeids")
	yesLeaf, noLeaf, missing := c.IntList("nodes_trueleafs"), c.IntList("nodes_falseleafs"), c.IntList("nodes_missing_value_tracks_true")
	if n == 0 || !isList(modes, n) || !modes.DType().IsInt() || !isList(splits, n) || len(yes) != n || len(no) != n || len(yesLeaf) != n || len(noLeaf) != n ||
		missing != nil && len(missing) != n {
		return c.Errorf("the lists of nodes are not all of one length")
	}
	members := c.TensorAttr("membership_values")
	if members != nil && !isList(members, int(members.Len())) {
		return c.Errorf("membership_values are no list of numbers")
	}
	next := int64(0) // of the members, those of a node end with NaN
	to := func(node, isLeaf int64) (int64, error) {
		count := int64(len(f.leaves))
		if isLeaf == 0 {
			count = int64(n)
		}
		if node < 0 || node >= count {
			return 0, c.Errorf("a branch leads to %d of %d", node, count)
		}
		if isLeaf != 0 {
			return -1 - node, nil
		}
		return node, nil
	}
	for i := range n {
		b := branch{mode: modes.Int(int64(i)), feature: features[i], split: splits.Float(int64(i)), missingTrue: missing != nil && missing[i] != 0}
		var err error
		if b.yes, err = to(yes[i], yesLeaf[i]); err != nil {
			return err
		}
		if b.no, err = to(no[i], noLeaf[i]); err != nil {
			return err
		}
		if b.mode < 0 || b.mode > branchMember || b.feature < 0 || b.feature == math.MaxInt64 {
			return c.Errorf("node %d has mode %d on feature %d", i, b.mode, b.feature)
		}
		if b.mode == branchMember {
			b.members = map[float64]bool{}
			ended := false
			for ; !ended; next++ {
				if members == nil || next >= members.Len() {
					return c.Errorf("membership_values end before the members of node %d do", i)
				}
				v := members.Float(next)
				if ended = v != v; !ended {
					b.members[v] = true
				}
			}
		}
		f.features = max(f.features, b.feature+1)
		f.nodes = append(f.nodes, b)
	}
	return nil
}

// checkPaths refuses trees whose paths come back to a node: they would not end.
func (f *forest) checkPaths(c *call) error {
	const (
		unseen = iota
		onPath
		done
	)
	state := make([]uint8, len(f.nodes))
	for _, root := range f.roots {
		stack := []int64{root}
		for len(stack) > 0 {
			n := stack[len(stack)-1]
			if n < 0 || state[n] == done {
				stack = stack[:len(stack)-1]
				continue
			}
			if state[n] == onPath { // all below it is done
				state[n] = done
				stack = stack[:len(stack)-1]
				continue
			}
			state[n] = onPath
			for _, to := range []int64{f.nodes[n].yes, f.nodes[n].no} {
				if to >= 0 && state[to] == onPath {
					return c.Errorf("node %d leads back to node %d", n, to)
				}
				stack = append(stack, to)
			}
		}
	}
	return nil
}

// combine gives what all trees say of a row, for each target.
func (f *forest) combine(row, out []float64) {
	for i := range out {
		out[i] = f.none
	}
	for _, at := range f.roots {
		for at >= 0 {
			n := &f.nodes[at]
			if at = n.no; n.holds(row[n.feature]) {
				at = n.yes
			}
		}
		l := f.leaves[-1-at]
		switch f.combined {
		case 2:
			out[l.target] = min(out[l.target], l.weight)
		case 3:
			out[l.target] = max(out[l.target], l.weight)
		default:
			out[l.target] += l.weight
		}
	}
	for i := range out {
		if f.combined == 0 && len(f.roots) > 0 {
			out[i] /= float64(len(f.roots))
		}
	}
}

func (b *branch) holds(x float64) bool {
	if x != x && b.missingTrue {
		return true
	}
	switch b.mode {
	case branchLE:
		return x <= b.split
	case branchLT:
		return x < b.split
	case branchGE:
		return x >= b.split
	case branchGT:
		return x > b.split
	case branchEQ:
		return x == b.split
	case branchNE:
		return x != b.split
	}
	return b.members[x]
}
