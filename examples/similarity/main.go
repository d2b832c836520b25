// Similarity finds the sentences that mean the same.
//
//	go run ./examples/similarity -models DIR                # sentences of its own
//	go run ./examples/similarity -models DIR 'One.' 'Two.'  # yours
//
// DIR holds minilm_l6/model.onnx and minilm_l6/vocab.txt. Pairs whose embeddings have a
// cosine above -threshold are printed, the closest first.
//
// All sentences run in one batch, padded to the longest: batch size and length are known
// only then.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"

	"github.com/pitopt/pitopt"
	"github.com/pitopt/pitopt/core/tensor"
)

// examples are compared where no sentences are given.
var examples = []string{
	"A man is playing a guitar.",
	"How do I reset my password?",
	"The stock market fell sharply on Monday.",
	"Someone plays an instrument on the stage.",
	"The train to Berlin leaves from platform nine at noon.",
	"I forgot my login credentials and cannot sign in.",
	"Share prices dropped steeply at the beginning of the week.",
	"Cats sleep for most of the day.",
	"At twelve o'clock the Berlin train departs from track nine.",
	"Add two eggs and a cup of flour, then stir.",
}

func main() {
	models := flag.String("models", "", "the `folder` with minilm_l6")
	target := flag.String("target", "auto", "the device")
	threshold := flag.Float64("threshold", 0.5, "the smallest cosine of sentences that mean the same")
	flag.Parse()
	sentences := flag.Args()
	if len(sentences) == 0 {
		sentences = examples
	}
	if *models == "" {
		fmt.Fprintln(os.Stderr, "usage: similarity -models DIR [sentence...]")
		os.Exit(2)
	}
	if err := run(*models, *target, *threshold, sentences); err != nil {
		fmt.Fprintln(os.Stderr, "similarity:", err)
		os.Exit(1)
	}
}

func run(models, target string, threshold float64, sentences []string) error {
	e, err := open(filepath.Join(models, "minilm_l6"), target)
	if err != nil {
		return err
	}
	defer e.model.Close()
	embeddings, err := e.embed(context.Background(), sentences)
	if err != nil {
		return err
	}
	for _, p := range similar(embeddings, threshold) {
		fmt.Printf("%.2f  %s\n      %s\n", p.cosine, sentences[p.a], sentences[p.b])
	}
	return nil
}

// embedder turns sentences into vectors of length 1.
type embedder struct {
	model  *pitopt.Model
	tokens *tokenizer
}

// open reads vocab.txt and compiles model.onnx.
func open(dir, target string) (*embedder, error) {
	tokens, err := readVocabulary(filepath.Join(dir, "vocab.txt"))
	if err != nil {
		return nil, err
	}
	model, err := pitopt.Load(filepath.Join(dir, "model.onnx"), pitopt.Target(target))
	if err != nil {
		return nil, err
	}
	return &embedder{model, tokens}, nil
}

// embed gives a vector for each sentence.
func (e *embedder) embed(ctx context.Context, sentences []string) ([][]float32, error) {
	out, err := e.model.Run(ctx, e.inputs(sentences))
	if err != nil {
		return nil, err
	}
	all := tensor.Data[float32](out["sentence_embedding"])
	return slices.Collect(slices.Chunk(all, len(all)/len(sentences))), nil
}

// inputs are the token ids of sentences, padded to the longest, and a mask that is 1
// where there are any: [sentences, longest].
func (e *embedder) inputs(sentences []string) map[string]*tensor.Tensor {
	ids := make([][]int64, len(sentences))
	longest := 0
	for i, s := range sentences {
		ids[i] = e.tokens.encode(s)
		longest = max(longest, len(ids[i]))
	}
	shape := []int64{int64(len(sentences)), int64(longest)}
	padded, mask := tensor.New(tensor.I64, shape...), tensor.New(tensor.I64, shape...)
	for i, row := range ids {
		copy(tensor.Data[int64](padded)[i*longest:], row)
		for j := range row {
			tensor.Data[int64](mask)[i*longest+j] = 1
		}
	}
	return map[string]*tensor.Tensor{
		"input_ids":      padded,
		"attention_mask": mask,
		"token_type_ids": tensor.New(tensor.I64, shape...),
	}
}

// pair is two sentences by their numbers.
type pair struct {
	a, b   int
	cosine float64
}

// similar gives the pairs of vectors of length 1 whose cosine is above threshold, the
// largest first.
func similar(vectors [][]float32, threshold float64) []pair {
	var pairs []pair
	for a := range vectors {
		for b := a + 1; b < len(vectors); b++ {
			dot := 0.0
			for i, v := range vectors[a] {
				dot += float64(v) * float64(vectors[b][i])
			}
			if dot > threshold {
				pairs = append(pairs, pair{a, b, dot})
			}
		}
	}
	slices.SortFunc(pairs, func(p, q pair) int { return cmp.Compare(q.cosine, p.cosine) })
	return pairs
}
