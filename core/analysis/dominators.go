package analysis

// PostDominators gives, for each node of an acyclic graph, the node that every way from it
// to the end goes through first: its immediate post-dominator. next gives the nodes that
// edges of a node lead to; all of them have higher numbers, and len(next) is the end. A
// node without edges leads to the end.
func PostDominators(next [][]int) []int {
	end := len(next)
	dom, depth := make([]int, end+1), make([]int, end+1)
	dom[end] = end
	for i := end - 1; i >= 0; i-- {
		at := -1
		for _, j := range next[i] {
			if at < 0 {
				at = j
				continue
			}
			for at != j {
				if depth[at] >= depth[j] {
					at = dom[at]
				} else {
					j = dom[j]
				}
			}
		}
		if at < 0 {
			at = end
		}
		dom[i], depth[i] = at, depth[at]+1
	}
	return dom[:end]
}
