package main

import (
	"fmt"
	"os"
	"strings"
	"unicode"
)

const (
	longestText = 256 // tokens; the model was trained on shorter texts
	longestWord = 100 // letters; a longer word is unknown
)

// tokenizer splits text as the uncased BERT models do (Devlin et al. 2018).
type tokenizer struct {
	ids                 map[string]int64
	start, end, unknown int64
}

// readVocabulary reads a vocab.txt, one token a line.
func readVocabulary(path string) (*tokenizer, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	t, err := newTokenizer(strings.Split(strings.TrimSuffix(string(text), "\n"), "\n"))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

func newTokenizer(tokens []string) (*tokenizer, error) {
	t := &tokenizer{ids: make(map[string]int64, len(tokens))}
	for i, token := range tokens {
		t.ids[strings.TrimSuffix(token, "\r")] = int64(i)
	}
	for name, id := range map[string]*int64{"[CLS]": &t.start, "[SEP]": &t.end, "[UNK]": &t.unknown} {
		var ok bool
		if *id, ok = t.ids[name]; !ok {
			return nil, fmt.Errorf("the vocabulary has no %s", name)
		}
	}
	return t, nil
}

// encode gives the ids of a text between those of start and end. A text that is too long
// is cut.
func (t *tokenizer) encode(text string) []int64 {
	ids := []int64{t.start}
	for _, word := range words(text) {
		ids = append(ids, t.pieces(word)...)
	}
	return append(ids[:min(len(ids), longestText-1)], t.end)
}

// pieces splits a word into the longest tokens from the left; those inside the word are
// written with ## in the vocabulary. Where no token fits, the whole word is unknown.
func (t *tokenizer) pieces(word string) []int64 {
	letters := []rune(word)
	if len(letters) > longestWord {
		return []int64{t.unknown}
	}
	var ids []int64
	for start, mark := 0, ""; start < len(letters); mark = "##" {
		end := len(letters)
		for ; end > start; end-- {
			if id, ok := t.ids[mark+string(letters[start:end])]; ok {
				ids = append(ids, id)
				break
			}
		}
		if end == start {
			return []int64{t.unknown}
		}
		start = end
	}
	return ids
}

// words splits a text at spaces and around punctuation and Chinese characters, in small
// letters without accents.
func words(text string) []string {
	var b strings.Builder
	for _, r := range accents.Replace(strings.ToLower(text)) {
		switch {
		case r == 0 || r == unicode.ReplacementChar || unicode.Is(unicode.Mn, r):
		case unicode.IsSpace(r):
			b.WriteByte(' ')
		case unicode.Is(unicode.C, r):
		case isPunctuation(r) || isHan(r):
			b.WriteString(" " + string(r) + " ")
		default:
			b.WriteRune(r)
		}
	}
	return strings.Fields(b.String())
}

// isPunctuation counts every ASCII sign that is no letter or digit.
func isPunctuation(r rune) bool {
	return r > ' ' && r < unicode.MaxASCII && !unicode.IsLetter(r) && !unicode.IsDigit(r) || unicode.IsPunct(r)
}

// isHan says whether r is in one of the blocks of unified and compatibility ideographs.
func isHan(r rune) bool {
	for _, block := range [][2]rune{
		{0x4e00, 0x9fff}, {0x3400, 0x4dbf}, {0x20000, 0x2a6df}, {0x2a700, 0x2b73f},
		{0x2b740, 0x2b81f}, {0x2b820, 0x2ceaf}, {0xf900, 0xfaff}, {0x2f800, 0x2fa1f},
	} {
		if block[0] <= r && r <= block[1] {
			return true
		}
	}
	return false
}

// accents takes the accents off the small letters of Latin-1 and Latin Extended-A. Other
// scripts lose them where they are written as marks of their own.
var accents = func() *strings.Replacer {
	var list []string
	for plain, accented := range map[string]string{
		"a": "àáâãäåāăą", "c": "çćĉċč", "d": "ď", "e": "èéêëēĕėęě", "g": "ĝğġģ", "h": "ĥ",
		"i": "ìíîïĩīĭį", "j": "ĵ", "k": "ķ", "l": "ĺļľ", "n": "ñńņň", "o": "òóôõöōŏő",
		"r": "ŕŗř", "s": "śŝşš", "t": "ţť", "u": "ùúûüũūŭůűų", "w": "ŵ", "y": "ýÿŷ", "z": "źżž",
	} {
		for _, r := range accented {
			list = append(list, string(r), plain)
		}
	}
	return strings.NewReplacer(list...)
}()
