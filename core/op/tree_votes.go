package op

import (
	"math"
	"slices"

	"github.com/pitopt/pitopt/core/ir"
	"github.com/pitopt/pitopt/core/sym"
	"github.com/pitopt/pitopt/core/tensor"
)

// Trees as ai.onnx.ml said them before TreeEnsemble: nodes by ids, and votes by the id of
// their leaf. They are TreeEnsembles; a tree whose leaves have several votes is as many
// trees.

var nodeAttrs = attrs(attrOpt("nodes_falsenodeids", []int64(nil)), attrOpt("nodes_featureids", []int64(nil)), attrOpt("nodes_hitrates", []float64(nil)),
	attrOpt("nodes_hitrates_as_tensor", (*tensor.Tensor)(nil)), attrOpt("nodes_missing_value_tracks_true", []int64(nil)), attrOpt("nodes_modes", []string(nil)),
	attrOpt("nodes_nodeids", []int64(nil)), attrOpt("nodes_treeids", []int64(nil)), attrOpt("nodes_truenodeids", []int64(nil)),
	attrOpt("nodes_values", []float64(nil)), attrOpt("nodes_values_as_tensor", (*tensor.Tensor)(nil)),
	attrOpt("base_values", []float64(nil)), attrOpt("base_values_as_tensor", (*tensor.Tensor)(nil)), attr("post_transform", "NONE"))

// votes are the attributes of leaves, by prefix.
func votes(prefix string) []ir.AttrDef {
	return attrs(attrOpt(prefix+"_ids", []int64(nil)), attrOpt(prefix+"_nodeids", []int64(nil)), attrOpt(prefix+"_treeids", []int64(nil)),
		attrOpt(prefix+"_weights", []float64(nil)), attrOpt(prefix+"_weights_as_tensor", (*tensor.Tensor)(nil)))
}

// TreeEnsembleRegressor combines what decision trees say for each target.
var TreeEnsembleRegressor = ir.Register(&ir.OpDef{
	Name: "ai.onnx.ml.TreeEnsembleRegressor", Since: since(1, 3, 5), Doc: "regression by decision trees",
	In: ops(in("X", "T", featureTypes)), Out: ops(in("Y", "", f32s)),
	Attrs: slices.Concat(attrs(attr("aggregate_function", "SUM"), attrOpt("n_targets", int64(0))), nodeAttrs, votes("target")),
	Deduce: func(c *call) error {
		if _, err := votesOf(c, "target", c.Int("n_targets")); err != nil {
			return err
		}
		c.SetOut(0, tensor.F32, c.Dims(0)[0], sym.Const(c.Int("n_targets")))
		return nil
	},
	Expand: func(c *call, b *ir.Builder, args []*ir.Value) ([]*ir.Value, error) {
		t, err := votesOf(c, "target", c.Int("n_targets"))
		if err != nil {
			return nil, err
		}
		f := feature{c, b}
		return []*ir.Value{f.cast(f.transformed(t.scores(f, args[0])), tensor.F32)}, nil
	},
})

// TreeEnsembleClassifier gives the label of the class with the best score, and all scores.
var TreeEnsembleClassifier = ir.Register(&ir.OpDef{
	Name: "ai.onnx.ml.TreeEnsembleClassifier", Since: since(1, 3, 5), Doc: "classification by decision trees",
	In: ops(in("X", "T1", featureTypes)), Out: ops(in("Y", "", labelTypes[:2]), in("Z", "", f32s)),
	Attrs: slices.Concat(attrs(attrOpt("classlabels_int64s", []int64(nil)), attrOpt("classlabels_strings", []string(nil))), nodeAttrs, votes("class")),
	Deduce: func(c *call) error {
		labels, err := treeLabels(c)
		if err != nil {
			return err
		}
		t, err := votesOf(c, "class", labels.Len())
		if err != nil {
			return err
		}
		if _, err := t.oneClass(c, labels.Len()); err != nil {
			return err
		}
		c.SetOut(0, labels.DType(), c.Dims(0)[0])
		c.SetOut(1, tensor.F32, c.Dims(0)[0], sym.Const(labels.Len()))
		return nil
	},
	Expand: func(c *call, b *ir.Builder, args []*ir.Value) ([]*ir.Value, error) {
		labels, err := treeLabels(c)
		if err != nil {
			return nil, err
		}
		t, err := votesOf(c, "class", labels.Len())
		if err != nil {
			return nil, err
		}
		one, err := t.oneClass(c, labels.Len())
		if err != nil {
			return nil, err
		}
		f := feature{c, b}
		x := t.scores(f, args[0])
		if one {
			score := b.Op("onnx.Gather", []*ir.Value{x, b.Ints(t.class)}, "axis", 1)
			other := f.op("Neg", score)
			if c.Str("post_transform") == "NONE" {
				other = f.op("Sub", f.floats([]float64{1}, t.dtype), score)
			}
			x = b.Op("onnx.Concat", []*ir.Value{other, score}, "axis", 1)
		}
		x = f.transformed(x)
		best := b.Op("onnx.ArgMax", []*ir.Value{x}, "axis", 1, "keepdims", 0)
		return []*ir.Value{f.op("Gather", b.Const(labels), best), f.cast(x, tensor.F32)}, nil
	},
})

func treeLabels(c *call) (*tensor.Tensor, error) {
	ints, strs := c.IntList("classlabels_int64s"), c.StrList("classlabels_strings")
	if (len(ints) == 0) == (len(strs) == 0) {
		return nil, c.Errorf("it takes one list of labels")
	}
	labels := tensorOf(ints)
	if len(strs) > 0 {
		labels = tensorOf(strs)
	}
	if labels.Len() == 1 {
		return nil, c.Unsupported("one class")
	}
	return labels, nil
}

// treeVotes is a forest for TreeEnsemble, and what is done with its sums.
type treeVotes struct {
	dtype    tensor.DType // of thresholds and weights
	forest   ir.Attrs
	trees    int
	base     []float64
	class    int64 // the only one that votes are for; -1 where there are several
	negative bool  // whether a vote is
}

// oneClass says whether the votes are all for one of two classes, so that the other one's
// score is what is left: 1 - score where these are probabilities, -score where a logistic
// function follows. Other forms runtimes take to mean different things.
func (t *treeVotes) oneClass(c *call, classes int64) (bool, error) {
	if t.class < 0 || classes != 2 {
		return false, nil
	}
	post := c.Str("post_transform")
	if post == "NONE" && !t.negative || post == "LOGISTIC" && t.negative {
		return true, nil
	}
	return false, c.Unsupported("votes for one of two classes with post_transform %s, negative ones: %t", post, t.negative)
}

// scores combines the votes, and adds the base values.
func (t *treeVotes) scores(f feature, x *ir.Value) *ir.Value {
	y := f.b.OpN(1, "ai.onnx.ml.TreeEnsemble", []*ir.Value{f.cast(x, t.dtype)}, t.forest)[0]
	if f.c.Str("aggregate_function") == "AVERAGE" {
		y = f.op("Div", y, f.floats([]float64{float64(t.trees)}, t.dtype))
	}
	if len(t.base) > 0 {
		y = f.op("Add", y, f.floats(t.base, t.dtype, int64(len(t.base))))
	}
	return y
}

// numbers are those of attribute name, or name_as_tensor.
func numbers(c *call, name string) ([]float64, error) {
	list, t := c.FloatList(name), c.TensorAttr(name+"_as_tensor")
	if t == nil {
		return list, nil
	}
	if list != nil || !isList(t, int(t.Len())) {
		return nil, c.Errorf("%s is given twice, or is no list of numbers", name)
	}
	for i := range t.Len() {
		list = append(list, t.Float(i))
	}
	return list, nil
}

// treeNode is the id of a node.
type treeNode struct{ tree, node int64 }

var branchModes = map[string]int64{"BRANCH_LEQ": branchLE, "BRANCH_LT": branchLT, "BRANCH_GTE": branchGE, "BRANCH_GT": branchGT, "BRANCH_EQ": branchEQ, "BRANCH_NEQ": branchNE}

func votesOf(c *call, prefix string, targets int64) (*treeVotes, error) {
	d := c.Dims(0)
	if len(d) != 2 || targets < 1 {
		return nil, c.Errorf("an operand %s for %d scores, it takes a matrix", c.Tensor(0), targets)
	}
	if err := checkTransform(c); err != nil {
		return nil, err
	}
	v := &treeVotes{dtype: wideOf(c.DType(0)), class: -1}
	how, ok := map[string]int64{"": 1, "SUM": 1, "AVERAGE": 1, "MIN": 2, "MAX": 3}[c.Str("aggregate_function")]
	if !ok {
		return nil, c.Errorf("aggregate_function %q is none of SUM, AVERAGE, MIN, MAX", c.Str("aggregate_function"))
	}
	var err error
	if v.base, err = numbers(c, "base_values"); err != nil {
		return nil, err
	}
	if n := int64(len(v.base)); n != 0 && n != targets {
		return nil, c.Errorf("%d base_values for %d scores", n, targets)
	}
	cast, weights, err := v.read(c, prefix, targets)
	if err != nil {
		return nil, err
	}
	b := &treeBuilder{c: c, dtype: v.dtype}
	if err := b.read(); err != nil {
		return nil, err
	}
	if err := b.build(cast, weights, how); err != nil {
		return nil, err
	}
	v.trees = len(b.roots)
	v.forest = b.attrs().With("aggregate_function", how).With("n_targets", targets)
	return v, nil
}

// read gives the votes of each leaf, as positions of the list of weights.
func (v *treeVotes) read(c *call, prefix string, targets int64) (map[treeNode][]int, []leaf, error) {
	weights, err := numbers(c, prefix+"_weights")
	if err != nil {
		return nil, nil, err
	}
	ids, nodes, trees := c.IntList(prefix+"_ids"), c.IntList(prefix+"_nodeids"), c.IntList(prefix+"_treeids")
	n := len(weights)
	if n == 0 || len(ids) != n || len(nodes) != n || len(trees) != n {
		return nil, nil, c.Errorf("%d weights, %d ids, %d nodes and %d trees of leaves", n, len(ids), len(nodes), len(trees))
	}
	cast := map[treeNode][]int{}
	list := make([]leaf, n)
	v.class = ids[0]
	for i, w := range weights {
		if ids[i] < 0 || ids[i] >= targets {
			return nil, nil, c.Errorf("a vote is for %d, there are %d", ids[i], targets)
		}
		if ids[i] != ids[0] {
			v.class = -1
		}
		v.negative = v.negative || w < 0
		at := treeNode{trees[i], nodes[i]}
		cast[at] = append(cast[at], i)
		list[i] = leaf{ids[i], w}
	}
	return cast, list, nil
}

// treeBuilder writes trees as TreeEnsemble's lists.
type treeBuilder struct {
	c     *call
	dtype tensor.DType

	tree, id, feature, yes, no, missing []int64 // of nodes
	mode                                []string
	value                               []float64
	index                               map[treeNode]int
	roots                               []int

	outMode, outFeature, outYes, outNo, outYesLeaf, outNoLeaf, outMissing, outRoots, target []int64
	outSplit, weight                                                                        []float64
}

func (t *treeBuilder) read() error {
	c := t.c
	var err error
	if t.value, err = numbers(c, "nodes_values"); err != nil {
		return err
	}
	t.tree, t.id, t.feature = c.IntList("nodes_treeids"), c.IntList("nodes_nodeids"), c.IntList("nodes_featureids")
	t.yes, t.no, t.mode = c.IntList("nodes_truenodeids"), c.IntList("nodes_falsenodeids"), c.StrList("nodes_modes")
	t.missing = c.IntList("nodes_missing_value_tracks_true")
	n := len(t.tree)
	if t.missing == nil {
		t.missing = make([]int64, n)
	}
	for _, l := range []int{len(t.id), len(t.feature), len(t.yes), len(t.no), len(t.mode), len(t.value), len(t.missing)} {
		if l != n || n == 0 {
			return c.Errorf("the lists of nodes are not all of one length")
		}
	}
	t.index = make(map[treeNode]int, n)
	for i := range n {
		at := treeNode{t.tree[i], t.id[i]}
		if _, twice := t.index[at]; twice {
			return c.Errorf("node %d of tree %d is there twice", at.node, at.tree)
		}
		t.index[at] = i
	}
	child := make([]bool, n)
	for i := range n {
		if t.mode[i] == "LEAF" {
			continue
		}
		for _, to := range []int64{t.yes[i], t.no[i]} {
			j, ok := t.index[treeNode{t.tree[i], to}]
			if !ok {
				return c.Errorf("node %d of tree %d leads to node %d, which is not there", t.id[i], t.tree[i], to)
			}
			child[j] = true
		}
	}
	rooted := map[int64]bool{}
	for i := range n {
		if !child[i] {
			if rooted[t.tree[i]] {
				return c.Errorf("tree %d has two roots", t.tree[i])
			}
			rooted[t.tree[i]] = true
			t.roots = append(t.roots, i)
		}
	}
	return t.reach()
}

// reach checks that all nodes are reached from the roots: none lies on a path that leads
// back to itself.
func (t *treeBuilder) reach() error {
	reached := make([]bool, len(t.tree))
	stack := slices.Clone(t.roots)
	for len(stack) > 0 {
		i := stack[len(stack)-1]
		stack = stack[:len(stack)-1]
		if reached[i] {
			continue
		}
		reached[i] = true
		if t.mode[i] != "LEAF" {
			stack = append(stack, t.index[treeNode{t.tree[i], t.yes[i]}], t.index[treeNode{t.tree[i], t.no[i]}])
		}
	}
	if i := slices.Index(reached, false); i >= 0 {
		return t.c.Errorf("node %d of tree %d is not reached from its root", t.id[i], t.tree[i])
	}
	return nil
}

// build writes every tree as often as its leaves have votes; a leaf that has less votes
// for what changes nothing.
func (t *treeBuilder) build(cast map[treeNode][]int, votes []leaf, how int64) error {
	most := map[int64]int{} // votes of a leaf, by tree
	for at, list := range cast {
		if i, ok := t.index[at]; !ok || t.mode[i] != "LEAF" {
			return t.c.Errorf("a vote is of node %d of tree %d, which is no leaf", at.node, at.tree)
		}
		most[at.tree] = max(most[at.tree], len(list))
	}
	none := leaf{0, []float64{0, 0, math.Inf(1), math.Inf(-1)}[how]}
	members := map[int64][]int{}
	for i, tree := range t.tree {
		members[tree] = append(members[tree], i)
	}
	for _, root := range t.roots {
		nodes := members[t.tree[root]]
		for copy := range max(1, most[t.tree[root]]) {
			place := make(map[int]int64, len(nodes)) // of a node or leaf in its list
			next := int64(len(t.outMode))
			for _, i := range nodes {
				if t.mode[i] != "LEAF" {
					place[i] = next
					next++
					continue
				}
				l := none
				if list := cast[treeNode{t.tree[i], t.id[i]}]; copy < len(list) {
					l = votes[list[copy]]
				}
				place[i] = int64(len(t.target))
				t.target, t.weight = append(t.target, l.target), append(t.weight, l.weight)
			}
			for _, i := range nodes {
				if t.mode[i] == "LEAF" {
					continue
				}
				mode, ok := branchModes[t.mode[i]]
				if !ok {
					return t.c.Errorf("mode %q of node %d is none that it knows", t.mode[i], t.id[i])
				}
				yes, no := t.index[treeNode{t.tree[i], t.yes[i]}], t.index[treeNode{t.tree[i], t.no[i]}]
				t.add(mode, t.feature[i], t.value[i], t.missing[i], place[yes], place[no], t.mode[yes] == "LEAF", t.mode[no] == "LEAF")
			}
			if t.mode[root] == "LEAF" { // a node that leads there either way
				t.outRoots = append(t.outRoots, int64(len(t.outMode)))
				t.add(branchLE, 0, 0, 0, place[root], place[root], true, true)
			} else {
				t.outRoots = append(t.outRoots, place[root])
			}
		}
	}
	return nil
}

func (t *treeBuilder) add(mode, feature int64, split float64, missing, yes, no int64, yesLeaf, noLeaf bool) {
	flag := map[bool]int64{true: 1}
	t.outMode, t.outFeature, t.outSplit = append(t.outMode, mode), append(t.outFeature, feature), append(t.outSplit, split)
	t.outMissing, t.outYes, t.outNo = append(t.outMissing, missing), append(t.outYes, yes), append(t.outNo, no)
	t.outYesLeaf, t.outNoLeaf = append(t.outYesLeaf, flag[yesLeaf]), append(t.outNoLeaf, flag[noLeaf])
}

func (t *treeBuilder) attrs() ir.Attrs {
	floats := func(v []float64) *tensor.Tensor {
		out := tensor.New(t.dtype, int64(len(v)))
		for i, x := range v {
			out.SetFloat(int64(i), x)
		}
		return out
	}
	modes := tensor.New(tensor.U8, int64(len(t.outMode)))
	for i, m := range t.outMode {
		modes.SetInt(int64(i), m)
	}
	return ir.MakeAttrs("leaf_targetids", t.target, "leaf_weights", floats(t.weight), "nodes_modes", modes, "nodes_splits", floats(t.outSplit),
		"nodes_featureids", t.outFeature, "nodes_truenodeids", t.outYes, "nodes_falsenodeids", t.outNo, "nodes_trueleafs", t.outYesLeaf,
		"nodes_falseleafs", t.outNoLeaf, "nodes_missing_value_tracks_true", t.outMissing, "tree_roots", t.outRoots)
}
