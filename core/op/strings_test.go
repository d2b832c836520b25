package op_test

import (
	"testing"

	"github.com/pitopt/pitopt/core/tensor"
)

func words(s ...string) *tensor.Tensor { return tensor.Of(append([]string{}, s...), int64(len(s))) }

func wordTable(rows int64, s ...string) *tensor.Tensor {
	t, err := words(s...).View(rows, int64(len(s))/max(rows, 1))
	if err != nil {
		panic(err)
	}
	return t
}

func TestStringConcat(t *testing.T) {
	equals(t, "StringConcat", nil, list(words("a", ""), words("", "b")), words("a", "b"))
	equals(t, "StringConcat", nil, list(wordTable(2, "a", "b"), words("x", "y", "z")), wordTable(2, "ax", "ay", "az", "bx", "by", "bz"))
	equals(t, "StringConcat", nil, list(tensor.Scalar("a"), words()), words())
	refuse(t, "StringConcat", nil, list(words("a", "b"), words("a", "b", "c")), "do not broadcast")
}

func TestStringSplit(t *testing.T) {
	split := func(x, y, z tensor.Value, as ...any) {
		t.Helper()
		got := each(t, "StringSplit", attrs(as...), 2, x)
		if !tensor.Equal(got[0], y) || !tensor.Equal(got[1], z) {
			t.Errorf("%v %v: got %v and %v, want %v and %v", x, as, got[0], got[1], y, z)
		}
	}
	split(words(" a  b ", "c", "  "), wordTable(3, "a", "b", "c", "", "", ""), ints(2, 1, 0))
	split(words("a,,b", "", ","), wordTable(3, "a", "", "b", "", "", "", "", "", ""), ints(3, 1, 2), "delimiter", ",")
	split(words(" a  b  c "), wordTable(1, "a", "b  c"), ints(2), "maxsplit", 1)
	split(words("a,b,c"), wordTable(1, "a,b,c"), ints(1), "maxsplit", 0, "delimiter", ",")
	split(words("a,b,c"), wordTable(1, "a", "b", "c"), ints(3), "maxsplit", 1<<40, "delimiter", ",")
	split(words("a\u00a0b"), wordTable(1, "a", "b"), ints(2))
	split(words(), shapedWords(0, 0), ints())
	split(tensor.Scalar("a b"), words("a", "b"), tensor.Scalar(int64(2)))
}

func shapedWords(shape ...int64) *tensor.Tensor { return tensor.New(tensor.String, shape...) }

func TestStringNormalizer(t *testing.T) {
	stop := []string{"Mon", ""}
	equals(t, "StringNormalizer", attrs("stopwords", stop), list(words("mon", "Tue", "", "MON")), words("Tue"))
	equals(t, "StringNormalizer", attrs("stopwords", stop, "is_case_sensitive", 1, "case_change_action", "UPPER"),
		list(wordTable(1, "mon", "Mon", "é")), wordTable(1, "MON", "É"))
	equals(t, "StringNormalizer", nil, list(words("a", "")), words("a", ""))
	equals(t, "StringNormalizer", attrs("stopwords", []string{"a"}), list(words("a", "A")), words(""))
	equals(t, "StringNormalizer", nil, list(words()), words(""))
	equals(t, "StringNormalizer", attrs("case_change_action", "LOWER", "locale", "tr_TR"), list(words("I")), words("ı"))
	refuse(t, "StringNormalizer", attrs("locale", "lt_LT"), list(words("I")), "unsupported")
	refuse(t, "StringNormalizer", attrs("case_change_action", "lower"), list(words("I")), "none of NONE, LOWER, UPPER")
	refuse(t, "StringNormalizer", nil, list(wordTable(2, "a", "b")), "a list or a matrix of one row")
	refuse(t, "StringNormalizer", nil, list(tensor.Scalar("a")), "a list or a matrix of one row")
}

func TestRegexFullMatch(t *testing.T) {
	match := func(pattern string, want ...bool) {
		t.Helper()
		equals(t, "RegexFullMatch", attrs("pattern", pattern), list(words("ab", "a", "ab\n", "")), tensor.Of(want, 4))
	}
	match("a|ab", true, true, false, false)
	match("(?i)A.?", true, true, false, false)
	match("(?s)a.*", true, true, true, false)
	match("", false, false, false, true)
	match("^ab$", true, false, false, false)
	refuse(t, "RegexFullMatch", attrs("pattern", "a)(b"), list(words("ab")), "pattern")
	refuse(t, "RegexFullMatch", attrs("pattern", `(a)\1`), list(words("aa")), "pattern")
}

func TestTfIdfVectorizer(t *testing.T) {
	pool := func(extra ...any) []any {
		return append([]any{"mode", "TF", "min_gram_length", 1, "max_gram_length", 2, "max_skip_count", 1,
			"ngram_counts", []int64{0, 2}, "ngram_indexes", []int64{0, 1, 3, 2}, "pool_int64s", []int64{1, 2, 1, 1, 1, 2}}, extra...)
	}
	x := tensor.Of([]int64{1, 2, 1, 1}, 4)
	// 1 three times, 2 once; pairs 1 1 without and with one skipped; pairs 1 2; column 3 is the first pair's.
	equals(t, "TfIdfVectorizer", attrs(pool()...), list(x), f32(3, 1, 1, 2))
	equals(t, "TfIdfVectorizer", attrs(pool("max_skip_count", 0)...), list(x), f32(3, 1, 1, 1))
	equals(t, "TfIdfVectorizer", attrs(pool("max_skip_count", int64(1)<<62)...), list(x), f32(3, 1, 1, 3))
	equals(t, "TfIdfVectorizer", attrs(pool("min_gram_length", 2)...), list(x), f32(0, 0, 1, 2))
	// Weights are those of n-grams, not of columns.
	w := []float64{1, 10, 100, 1000}
	equals(t, "TfIdfVectorizer", attrs(pool("weights", w, "mode", "TFIDF")...), list(x), f32(3, 10, 1000, 200))
	equals(t, "TfIdfVectorizer", attrs(pool("weights", w, "mode", "IDF")...), list(x), f32(1, 10, 1000, 100))
	equals(t, "TfIdfVectorizer", attrs(pool()...), list(tensor.Of([]int32{}, 2, 0)), shaped(f32(0, 0, 0, 0, 0, 0, 0, 0), 2, 4))
	equals(t, "TfIdfVectorizer", attrs("mode", "TF", "min_gram_length", 2, "max_gram_length", 2, "max_skip_count", 0, "ngram_counts", []int64{0, 0},
		"ngram_indexes", []int64{0, 0}, "pool_strings", []string{"a", "bc", "ab", "c"}), list(words("a", "bc", "ab", "c", "abc")), f32(2))
	refuse(t, "TfIdfVectorizer", attrs(pool("ngram_indexes", []int64{0, 1, 2})...), list(x), "4 n-grams and 3 ngram_indexes")
	refuse(t, "TfIdfVectorizer", attrs(pool("ngram_indexes", []int64{0, 1, 2, -1})...), list(x), "the entry -1")
	refuse(t, "TfIdfVectorizer", attrs(pool("ngram_counts", []int64{0, 1})...), list(x), "do not cut")
	refuse(t, "TfIdfVectorizer", attrs(pool("pool_int64s", []int64{1, 1, 1, 1, 1, 2})...), list(x), "twice")
	refuse(t, "TfIdfVectorizer", attrs(pool("weights", []float64{1})...), list(x), "1 weights")
	refuse(t, "TfIdfVectorizer", attrs(pool("mode", "tf")...), list(x), "none of TF")
	refuse(t, "TfIdfVectorizer", attrs(pool()...), list(words("a")), "it takes one pool")
	refuse(t, "TfIdfVectorizer", attrs(pool("ngram_indexes", []int64{0, 1, 2, 1 << 60})...), list(x), "2^62 bits")
}
