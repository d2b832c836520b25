package diag

import (
	"fmt"
	"strings"
)

// maxWord bounds the words that are compared: nobody mistypes a longer one, and the
// time to compare two grows with the product of their lengths.
const maxWord = 64

// Nearest gives the candidate spelled most like word, the first of several; "" when none
// is close: one slip in three letters is allowed, and case does not count.
func Nearest(word string, candidates []string) string {
	if len(word) > maxWord {
		return ""
	}
	best, limit := "", max(1, (len(word)+1)/3)
	for _, c := range candidates {
		if len(c) > maxWord {
			continue
		}
		d := distance(strings.ToLower(word), strings.ToLower(c))
		if d <= limit && d < len(c) {
			best, limit = c, d-1
		}
	}
	return best
}

// DidYouMean is a way out for an unknown word: the nearest right one, or all there are.
func DidYouMean(word string, candidates []string) string {
	if n := Nearest(word, candidates); n != "" {
		return fmt.Sprintf("did you mean %q?", n)
	}
	switch len(candidates) {
	case 0:
		return "there are none"
	case 1:
		return fmt.Sprintf("there is only %q", candidates[0])
	}
	quoted := make([]string, len(candidates))
	for i, c := range candidates {
		quoted[i] = fmt.Sprintf("%q", c)
	}
	last := len(quoted) - 1
	return "there are " + strings.Join(quoted[:last], ", ") + " and " + quoted[last]
}

// distance counts the insertions, deletions, replacements and swaps of neighbours that
// make b from a: the restricted form of Damerau's and Levenshtein's distance.
func distance(a, b string) int {
	before, prev, row := make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		before, prev, row = prev, row, before
		row[0] = i
		for j := 1; j <= len(b); j++ {
			replace := prev[j-1]
			if a[i-1] != b[j-1] {
				replace++
			}
			row[j] = min(prev[j]+1, row[j-1]+1, replace)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
	}
	return row[len(b)]
}
