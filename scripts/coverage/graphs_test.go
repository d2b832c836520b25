package coverage_test

// things are what a model is made of, beside matrix products and elementwise steps.
type things struct {
	attention int // softmax-weighted sums of values
	norms     int // normalisations by statistics of what they normalise: LayerNorm, RMSNorm
	gates     int // GELU and SiLU
	rotary    int // rotary embeddings, of queries and of keys
	routing   int // routers: which experts a token goes to, and with which weight
	dispatch  int // mixtures: tokens to experts and back
	caches    int // tensors of keys or values that new ones are appended to
}

// graph is a graph that is measured: its name in its folder, exporters that made it (none:
// the name is whole), how often its main block is repeated, and what it is made of, counted
// by hand from the architecture (per layer, and beside the layers), not from the graph.
type graph struct {
	name      string
	exporters []string
	layers    int
	has       things
	quantized bool
	dims      []string // for inputs that are drawn, where data sets are large
}

// Sizes of drawn inputs.
var (
	text   = []string{"batch=2", "seq=4"}
	images = []string{"batch=1"}
)

var both = []string{"ts", "dyn"}

// encoder: attention and GELU in each layer, LayerNorm behind the embedding, the attention
// and the feed-forward part.
func encoder(layers int) things { return things{attention: layers, norms: 1 + 2*layers, gates: layers} }

// vit: LayerNorm in front of attention and feed-forward part, and at the end.
func vit(layers int) things { return encoder(layers) }

// opt: LayerNorm in front of attention and feed-forward part, and at the end; ReLU.
func opt(layers, caches int) things {
	return things{attention: layers, norms: 1 + 2*layers, caches: caches}
}

// llama: RMSNorm as opt has LayerNorm, SwiGLU, rotary queries and keys.
func llama(layers, caches int) things {
	return things{attention: layers, norms: 1 + 2*layers, gates: layers, rotary: 2 * layers, caches: caches}
}

// switchEncoder: T5's, of two layers: RMSNorm in front of attention and feed-forward part,
// and at the end; ReLU; the second layer's feed-forward part is a mixture.
var switchEncoder = things{attention: 2, norms: 5, routing: 1, dispatch: 1}

// zoo are the exports of real architectures that $PITOPT_ZOO has.
var zoo = []graph{
	{name: "bert-base-4l", exporters: both, layers: 4, has: encoder(4), dims: text},
	{name: "bert-base-12l", exporters: []string{"ts"}, layers: 12, has: encoder(12), dims: text},
	{name: "minilm-l6-h384", exporters: both, layers: 6, has: encoder(6), dims: text},
	{name: "distilbert-2l", exporters: both, layers: 2, has: encoder(2), dims: text},
	{name: "opt-125m-4l-prefill", exporters: both, layers: 4, has: opt(4, 0), dims: text},
	{name: "opt-125m-4l-decode", exporters: both, layers: 4, has: opt(4, 8)},
	{name: "llama-4l-prefill", exporters: []string{"dyn"}, layers: 4, has: llama(4, 0), dims: text},
	{name: "llama-4l-decode", exporters: both, layers: 4, has: llama(4, 8)},
	{name: "llama-4l-decode-op23", exporters: []string{"dyn"}, layers: 4, has: llama(4, 8)},
	{name: "switch-8-allexperts", exporters: both, layers: 2, has: switchEncoder, dims: text},
	{name: "switch-8-masked", exporters: both, layers: 2, has: switchEncoder, dims: text},
	{name: "switch-8-boolput", exporters: both, layers: 2, has: switchEncoder, dims: text},
	// One layer of llama's, whose feed-forward part is eight experts with SwiGLU, one for all of them.
	{name: "mixtral-1l-allexperts", exporters: both, layers: 1, has: things{attention: 1, norms: 3, gates: 1, rotary: 2, routing: 1, dispatch: 1}, dims: text},
	{name: "moe-gshard", exporters: []string{"dyn"}, layers: 1, has: things{routing: 1, dispatch: 1}, dims: text},
	{name: "moe-dense-top2", exporters: both, layers: 1, has: things{routing: 1, dispatch: 1}, dims: text},
	{name: "moe-script", exporters: []string{"ts"}, layers: 1, has: things{routing: 1, dispatch: 1}},
	// Forward parts: backward ones are other formulas. The MLP has ReLU and GELU, the block
	// attention, two LayerNorms and ReLU.
	{name: "train-mlp-sgd-makefx", exporters: []string{"dyn"}, layers: 1, has: things{gates: 1}},
	{name: "train-block-sgd-makefx", exporters: []string{"dyn"}, layers: 1, has: things{attention: 1, norms: 2}},
	{name: "resnet50", exporters: []string{"ts"}, layers: 16, dims: images}, // batch normalisation is in the weights
	{name: "vit-base-3l", exporters: both, layers: 3, has: vit(3), dims: images},
	{name: "lstm-tagger", exporters: both, layers: 2, dims: text},
	{name: "minilm-l6-int8-dynamic", exporters: both, layers: 6, has: encoder(6), quantized: true, dims: text},
	{name: "minilm-l6-int8-qdq", exporters: both, layers: 6, has: encoder(6), quantized: true, dims: text},
	{name: "minilm-l6-int8-qoperator", exporters: []string{"ts"}, layers: 6, has: encoder(6), quantized: true, dims: text},
	{name: "minilm-l6-int4", exporters: []string{"ts"}, layers: 6, has: encoder(6), quantized: true, dims: text},
}

// models are the models that $PITOPT_MODELS has. Their tolerances stand beside them.
var models = []graph{
	{name: "minilm_l6", layers: 6, has: encoder(6), dims: text},
	{name: "encoder_tiny", layers: 3, has: encoder(3)},
	{name: "encoder_tiny_int8", layers: 3, has: encoder(3)},
	{name: "silero_vad", layers: 1},
	{name: "silero_vad_op18", layers: 1},
	{name: "ppocr_v3_det", layers: 1},
	{name: "crnn_rec", layers: 1},
	{name: "yunet_dynamic", layers: 1},
	{name: "yunet_qdq", layers: 1},
}

// files are the names of a graph's folders.
func (g graph) files() []string {
	if g.exporters == nil {
		return []string{g.name}
	}
	var out []string
	for _, e := range g.exporters {
		out = append(out, g.name+"-"+e)
	}
	return out
}
