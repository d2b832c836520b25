package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/pitopt/pitopt/core/tensor"
	"github.com/pitopt/pitopt/frontend/onnx"
)

// models gives the folder of minilm_l6, or skips.
func models(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("PITOPT_MODELS")
	if dir == "" {
		t.Skip("PITOPT_MODELS does not name the folder of models")
	}
	return filepath.Join(dir, "minilm_l6")
}

// cases are the sentences of the model's own test data.
var cases = [][]string{
	{"A man is playing a guitar.", "Someone plays an instrument on the stage.", "The stock market fell sharply on Monday."},
	{
		"Ships.",
		"The permutation of rows does not change the result of a matrix product as long as it is undone on the output, which is why scattered rows may be gathered into dense tiles before they are multiplied.",
		"How do I reset my password?", "I forgot my login credentials and cannot sign in", "Cats sleep.",
	},
	{"Hello world"},
}

// TestTokens: the inputs are those of the model's test data.
func TestTokens(t *testing.T) {
	dir := models(t)
	tokens, err := readVocabulary(filepath.Join(dir, "vocab.txt"))
	if err != nil {
		t.Fatal(err)
	}
	for k, sentences := range cases {
		got := (&embedder{tokens: tokens}).inputs(sentences)
		for i, name := range []string{"input_ids", "attention_mask", "token_type_ids"} {
			want, err := onnx.ReadValue(filepath.Join(dir, fmt.Sprintf("test_data_set_%d/input_%d.pb", k, i)), nil)
			if err != nil {
				t.Fatal(err)
			}
			if !tensor.Equal(got[name], want) {
				t.Errorf("case %d: %s is %v, not %v", k, name, got[name], want)
			}
		}
	}
}

// TestPairs: just the pairs that mean the same are found.
func TestPairs(t *testing.T) {
	e, err := open(models(t), "auto")
	if err != nil {
		t.Fatal(err)
	}
	defer e.model.Close()
	for _, c := range []struct {
		sentences []string
		want      [][2]int
	}{
		{examples, [][2]int{{0, 3}, {1, 5}, {2, 6}, {4, 8}}},
		{cases[0], [][2]int{{0, 1}}},
		{cases[1], [][2]int{{2, 3}}},
	} {
		vectors, err := e.embed(context.Background(), c.sentences)
		if err != nil {
			t.Fatal(err)
		}
		var got [][2]int
		for _, p := range similar(vectors, 0.5) {
			got = append(got, [2]int{p.a, p.b})
		}
		slices.SortFunc(got, func(p, q [2]int) int { return p[0] - q[0] })
		if !slices.Equal(got, c.want) {
			t.Errorf("%q: pairs %v, not %v", c.sentences, got, c.want)
		}
	}
}

func TestWordPiece(t *testing.T) {
	tokens := []string{"[UNK]", "[CLS]", "[SEP]", "un", "##aff", "##able", "cafe", ",", "!", "中", "文", "$", "5"}
	tok, err := newTokenizer(tokens)
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string][]string{
		"":                   {},
		" UNaffable,\tcafé!": {"un", "##aff", "##able", ",", "cafe", "!"},
		"cafe\u0301 unaffed": {"cafe", "[UNK]"},
		"中文\u200b$5\x00":     {"中", "文", "$", "5"},
		"unable ununable":    {"un", "##able", "[UNK]"},
	} {
		var got []string
		for _, id := range tok.encode(text) {
			got = append(got, tokens[id])
		}
		if want := append(append([]string{"[CLS]"}, want...), "[SEP]"); !slices.Equal(got, want) {
			t.Errorf("%q: %q, not %q", text, got, want)
		}
	}
	if _, err := newTokenizer([]string{"[CLS]", "[UNK]"}); err == nil {
		t.Error("a vocabulary without [SEP] is accepted")
	}
}

// TestCut: a long text keeps its start and end.
func TestCut(t *testing.T) {
	tok, err := newTokenizer([]string{"[UNK]", "[CLS]", "[SEP]", "!"})
	if err != nil {
		t.Fatal(err)
	}
	text := make([]byte, 1000)
	for i := range text {
		text[i] = '!'
	}
	ids := tok.encode(string(text))
	if len(ids) != longestText || ids[0] != tok.start || ids[len(ids)-1] != tok.end {
		t.Errorf("%d tokens, from %d to %d", len(ids), ids[0], ids[len(ids)-1])
	}
}
