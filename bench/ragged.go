package main

import (
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode"

	"github.com/pitopt/pitopt/bench/protocol"
	"github.com/pitopt/pitopt/core/tensor"
)

// law says how long sentences are: it draws the words of one.
type law struct {
	name string
	cut  int // the longest that there is
	draw func(r *rand.Rand) []int64
}

// logNormal is the law of lengths with a mean, before it is cut, of words from 50 on.
func logNormal(mean float64, cut int, words int64) law {
	const sigma = .6
	return law{fmt.Sprintf("log-normal, mean %g", mean), cut, func(r *rand.Rand) []int64 {
		n := math.Round(mean * math.Exp(sigma*r.NormFloat64()-sigma*sigma/2))
		out := make([]int64, int(min(max(n, 1), float64(cut))))
		for i := range out {
			out[i] = 50 + r.Int64N(words)
		}
		return out
	}}
}

// written is the law of the sentences of a file, cut into the words of a vocabulary.
func written(file, vocabulary string) (law, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return law{}, err
	}
	var sentences []string
	if err := json.Unmarshal(b, &sentences); err != nil {
		return law{}, fmt.Errorf("%s: %w", file, err)
	}
	if b, err = os.ReadFile(vocabulary); err != nil {
		return law{}, err
	}
	ids := map[string]int64{}
	for i, w := range strings.Split(strings.TrimRight(string(b), "\n"), "\n") {
		ids[w] = int64(i)
	}
	l := law{name: fmt.Sprintf("%d sentences", len(sentences))}
	lists := make([][]int64, len(sentences))
	for i, s := range sentences {
		lists[i] = pieces(ids, s)
		l.cut = max(l.cut, len(lists[i]))
	}
	l.draw = func(r *rand.Rand) []int64 { return lists[r.IntN(len(lists))] }
	return l, nil
}

// pieces cuts a sentence into words and marks, and these into the longest pieces that the
// vocabulary has.
func pieces(ids map[string]int64, sentence string) []int64 {
	out := []int64{ids["[CLS]"]}
	var words []string
	word := false
	for _, c := range strings.ToLower(sentence) {
		letter := unicode.IsLetter(c) || unicode.IsDigit(c)
		switch {
		case unicode.IsSpace(c):
		case letter && word:
			words[len(words)-1] += string(c)
		default:
			words = append(words, string(c))
		}
		word = letter
	}
	for _, w := range words {
		first := len(out)
		for at := 0; at < len(w); {
			end, mark := len(w), ""
			if at > 0 {
				mark = "##"
			}
			for end > at && ids[mark+w[at:end]] == 0 {
				end--
			}
			if end == at {
				out = append(out[:first], ids["[UNK]"])
				break
			}
			out = append(out, ids[mark+w[at:end]])
			at = end
		}
	}
	return append(out, ids["[SEP]"])
}

// batchOf are inputs for some sentences, padded to a length.
func batchOf(names []string, sentences [][]int64, length int) tensors {
	out := tensors{}
	for _, name := range names {
		t := tensor.New(tensor.I64, int64(len(sentences)), int64(length))
		for i, s := range sentences {
			for j, id := range s {
				switch name {
				case "input_ids":
					t.SetInt(int64(i*length+j), id)
				case "attention_mask":
					t.SetInt(int64(i*length+j), 1)
				}
			}
		}
		out[name] = t
	}
	return out
}

func longest(list [][]int64) int {
	most := 0
	for _, s := range list {
		most = max(most, len(s))
	}
	return most
}

// way is how an engine gets the sentences of a stream: batches that it runs one after the other.
type way struct {
	key, engine string
	sizes       [][2]int // of the batches: sentences and positions
	sets        []string
	as          *way // an earlier one of the engine that has batches of the same sizes, and takes as long; nil: none
}

// Streams of long batches have fewer rounds than others, once they have taken so long.
const (
	longRounds   = 3
	longMeasured = 15 * time.Second
)

// ragged runs streams of batches whose sentences are of different lengths: each batch padded to the
// law's cut or to its longest; one sentence after the other; and, with all of the stream at hand, in
// batches of similar lengths. No batch comes twice.
func ragged(b *bench, g *group, threads int) error {
	file, ok := b.real("PITOPT_MODELS", "minilm_l6")
	if !ok {
		return nil
	}
	names, err := inputNames(file)
	if err != nil {
		return err
	}
	laws, sizes := []law{logNormal(32, 128, 8000), logNormal(219, 512, 8000)}, []int{8, 32}
	if b.quick {
		laws, sizes = []law{logNormal(5, 9, 50)}, []int{3}
	} else {
		l, err := written(filepath.Join(os.Getenv("PITOPT_MODELS"), "sentences200.json"), filepath.Join(filepath.Dir(file), "vocab.txt"))
		if err != nil {
			return err
		}
		laws = append([]law{l}, laws...)
	}
	p, err := b.newPool(threads, append([]string{"pitopt"}, g.rivals...))
	if err != nil {
		return err
	}
	defer p.close()
	for _, e := range p.engines {
		if _, err := e.ask(protocol.Request{Op: "load", Model: "m", Path: file}); err != nil {
			return err
		}
		e.hold()
	}
	for _, l := range laws {
		for _, size := range sizes {
			name := fmt.Sprintf("%s cut at %d, batch %d", l.name, l.cut, size)
			if b.match != nil && !b.match.MatchString(name) {
				continue
			}
			if err := p.ragged(g, names, name, l, size); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
	return nil
}

func (p *pool) ragged(g *group, names []string, name string, l law, size int) error {
	batches := 2
	if l.cut > 128 {
		batches = max(1, 8/size)
	}
	r := rand.New(rand.NewPCG(uint64(size), uint64(l.cut)))
	stream := make([][][]int64, batches)
	var flat [][]int64
	tokens, positions := 0, 0
	for i := range stream {
		for range size {
			stream[i] = append(stream[i], l.draw(r))
		}
		for _, s := range stream[i] {
			tokens += len(s)
		}
		positions += size * longest(stream[i])
		flat = append(flat, stream[i]...)
	}
	slices.SortFunc(flat, func(a, b []int64) int { return len(a) - len(b) })
	res := &result{Group: g.name, Name: name, Threads: p.threads, Samples: map[string][]float64{}, Failed: map[string]string{},
		Values: map[string]float64{"tokens": float64(tokens), "positions": float64(positions), "cut": float64(batches * size * l.cut)}}
	ways := []*way{{key: "pitopt", engine: "pitopt"}, {key: "pitopt-cut", engine: "pitopt"}, {key: "ort", engine: "ort"}, {key: "ort-cut", engine: "ort"}, {key: "ort-one", engine: "ort"}, {key: "ort-sorted", engine: "ort"}}
	for _, w := range ways {
		e := p.engine(w.engine)
		if e == nil {
			continue
		}
		var list [][][]int64
		length := 0 // the batch's longest
		switch w.key {
		case "ort-one":
			for _, s := range flat {
				list = append(list, [][]int64{s})
			}
		case "ort-sorted":
			for c := range slices.Chunk(flat, size) {
				list = append(list, c)
			}
		case "pitopt-cut", "ort-cut":
			list, length = stream, l.cut
		default:
			list = stream
		}
		for _, s := range list {
			w.sizes = append(w.sizes, [2]int{len(s), max(length, longest(s))})
		}
		for _, o := range ways {
			if o != w && o.engine == w.engine && o.as == nil && len(o.sets) > 0 && slices.Equal(o.sizes, w.sizes) {
				w.as = o
			}
		}
		if w.as != nil {
			continue
		}
		for i, s := range list {
			files, err := p.b.write(batchOf(names, s, w.sizes[i][1]))
			if err != nil {
				return err
			}
			set := fmt.Sprintf("%s, %s %d", name, strings.TrimPrefix(strings.TrimPrefix(w.key, "ort"), "pitopt"), i)
			if _, err := p.prepare(e, "m", set, files, 1); err != nil {
				return err
			}
			w.sets = append(w.sets, set)
		}
		e.hold()
	}
	for _, w := range ways[:2] { // what pitopt gives is what the rival gives
		for _, set := range w.sets {
			d, _, err := p.compare(p.engines, set)
			if err != nil {
				return err
			}
			res.Distance = max(res.Distance, d)
		}
	}
	start := time.Now()
	for round := 0; round < p.b.fewest && (round < longRounds || time.Since(start) < longMeasured); round++ {
		order := slices.Clone(ways)
		if round%2 == 1 {
			slices.Reverse(order)
		}
		for _, w := range order {
			total := 0.
			for _, set := range w.sets {
				ns, err := p.sample(p.engine(w.engine), protocol.Request{Op: "run", Model: "m", Set: set, N: 1}, res)
				if err != nil {
					return err
				}
				total += ns
			}
			if len(w.sets) > 0 {
				res.Samples[w.key] = append(res.Samples[w.key], total)
			}
		}
	}
	for _, w := range ways {
		if w.as != nil {
			res.Samples[w.key] = res.Samples[w.as.key]
		}
	}
	p.b.add(res)
	for _, w := range ways[2:] {
		if x := againstPadded(w.key)(res); len(x) > 0 {
			p.b.say("    %s: %s", w.key, medianOf(x))
		}
	}
	return nil
}

func (p *pool) engine(key string) *engine {
	for _, e := range p.engines {
		if e.key == key {
			return e
		}
	}
	return nil
}

// againstPadded are ratios to a rival's way, round by round; where it pads to the cut, so does
// pitopt.
func againstPadded(key string) func(*result) []float64 {
	return func(r *result) (out []float64) {
		own := r.Samples["pitopt"]
		if key == "ort-cut" {
			own = r.Samples["pitopt-cut"]
		}
		for i := range min(len(own), len(r.Samples[key])) {
			out = append(out, r.Samples[key][i]/own[i])
		}
		return out
	}
}

// paddedWays are the ways of a rival.
var paddedWays = []series{{"ort-cut", "to the cut", againstPadded("ort-cut")}, {"ort", "to the longest", againstPadded("ort")},
	{"ort-one", "one by one", againstPadded("ort-one")}, {"ort-sorted", "sorted", againstPadded("ort-sorted")}}

// showRagged shows ways beside each other.
func showRagged(say sayer, list []*result) {
	say("minilm_l6 over streams of batches, no two of which are alike, and all of which have padding; nothing is said of the mask to pitopt. A ratio is ONNX")
	say("Runtime's time / pitopt's for the whole stream: with each batch padded to the cut (pitopt's, too), to its longest sentence, with sentences run one by one without")
	say("padding, and with the whole stream at hand sorted by length, in batches padded to their longest. Finding the tokens is in pitopt's time. Ways that have")
	say("batches of the same sizes are measured once, and streams that take long have fewer rounds, three at least.\n")
	say("| lengths | tokens of positions | pitopt | to the cut | to the longest | one by one | sorted |\n|---|---|---|---|---|---|---|")
	for _, r := range list {
		row := fmt.Sprintf("| %s | %.0f %% | %s |", r.Name, 100*r.Values["tokens"]/r.Values["positions"], duration(median(r.Samples["pitopt"])))
		for _, w := range paddedWays {
			if x := w.of(r); len(x) > 0 {
				row += fmt.Sprintf(" %s |", medianOf(x))
			} else {
				row += " |"
			}
		}
		say("%s", row)
	}
	say("")
}

// ofLaw chooses streams by what their names have.
func ofLaw(has bool, part string) func(*result) bool {
	return func(r *result) bool { return strings.Contains(r.Name, part) == has }
}
