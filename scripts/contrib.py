"""Cases of com.microsoft operators in ONNX's test layout: random inputs, and what ONNX Runtime makes of them.

    python scripts/contrib.py DIR        then   pitopt test -atol 1e-4 DIR

Needs PyPI onnx, onnxruntime and numpy. Attributes, forms and element types are those that exporters and optimizers write.
"""
import pathlib
import sys

import numpy as np
import onnx
import onnxruntime as ort
from onnx import helper, numpy_helper

rng = np.random.default_rng(7)
f = lambda *shape: rng.standard_normal(shape).astype(np.float32)
u8 = lambda *shape: rng.integers(0, 256, shape).astype(np.uint8)
i8 = lambda *shape: rng.integers(-128, 128, shape).astype(np.int8)
i32 = lambda *v: np.array(v, np.int32)
s = lambda v: np.array(v, np.float32)
z = lambda v: np.array(v, np.uint8)


def case(out, name, op, inputs, outputs=(0,), domain="com.microsoft", **attrs):
    """Writes a case with some of the operator's outputs; inputs that are None are left out. Quantized results may differ by 1: what lies between two integers rounds either way."""
    names = [f"x{i}" if x is not None else "" for i, x in enumerate(inputs)]
    ys = [f"y{i}" for i in outputs]
    node = helper.make_node(op, names, [f"y{i}" if i in outputs else "" for i in range(max(outputs) + 1)], domain=domain, **attrs)
    infos = [helper.make_tensor_value_info(n, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape) for n, x in zip(names, inputs) if n]
    graph = helper.make_graph([node], name, infos, [onnx.ValueInfoProto(name=y) for y in ys])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)], ir_version=8)
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 4
    feed = {n: x for n, x in zip(names, inputs) if n}
    try:
        results = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"]).run(None, feed)
    except Exception as e:
        print(f"{name}: ONNX Runtime refuses it: {str(e)[:300]}")
        return
    for y, r in zip(graph.output, results):
        y.CopyFrom(helper.make_tensor_value_info(y.name, helper.np_dtype_to_tensor_dtype(r.dtype), r.shape))
    del model.graph.output[:]
    model.graph.output.extend(graph.output)
    d = out / name
    data = d / "test_data_set_0"
    data.mkdir(parents=True, exist_ok=True)
    onnx.save(model, d / "model.onnx")
    if op.startswith("QLinear"):
        (d / "tolerance.toml").write_text("atol = 1.0\n")
    for i, (n, x) in enumerate(feed.items()):
        (data / f"input_{i}.pb").write_bytes(numpy_helper.from_array(x, n).SerializeToString())
    for i, (y, r) in enumerate(zip(ys, results)):
        (data / f"output_{i}.pb").write_bytes(numpy_helper.from_array(r, y).SerializeToString())


def quantized(c):
    for k, n, block, bits in ((64, 24, 32, 4), (40, 3, 16, 4), (96, 8, 32, 8), (64, 5, 64, 2)):
        blocks = -(-k // block)
        b = u8(n, blocks, block * bits // 8)
        a, scales = f(2, 3, k), f(n, blocks)
        common = dict(K=k, N=n, bits=bits, block_size=block)
        c(f"nbits_{k}_{bits}", "MatMulNBits", [a, b, scales], **common)
        c(f"nbits_{k}_{bits}_zero", "MatMulNBits", [a, b, scales, u8(n, -(-blocks * bits // 8))], **common)
        c(f"nbits_{k}_{bits}_float_zero", "MatMulNBits", [a, b, scales, 8 * f(n, blocks)], **common)
        c(f"nbits_{k}_{bits}_bias", "MatMulNBits", [a, b, scales, None, None, f(n)], **common)
    index = (np.arange(64) * 7 % 2).astype(np.int32)
    c("nbits_index", "MatMulNBits", [f(2, 64), u8(6, 2, 16), f(6, 2), None, index], K=64, N=6, bits=4, block_size=32)
    at = np.array([[4, 0], [-1, 2]])
    c("gatherblock", "GatherBlockQuantized", [u8(5, 32), at, f(5, 4)], block_size=16)
    c("gatherblock_zero", "GatherBlockQuantized", [u8(5, 32), at, f(5, 4), u8(5, 2)], block_size=16)
    c("gatherblock_8", "GatherBlockQuantized", [u8(5, 32), at, f(5, 2), u8(5, 2)], block_size=16, bits=8)
    x, y = [u8(2, 3, 4), s(0.1), z(120)], [u8(3, 1), s(0.02), z(3)]
    for op in ("QLinearAdd", "QLinearMul"):
        c(op.lower(), op, x + y + [s(0.15), z(100)])
        c(op.lower() + "_signed", op, [i8(4), s(0.1), i8(), i8(4), s(0.3), i8(), s(0.4), i8()])
    c("qlinearsoftmax", "QLinearSoftmax", x + [s(1 / 256), z(0)], axis=-1, opset=17)
    c("qlinearsoftmax_axis", "QLinearSoftmax", x + [s(1 / 256), z(0)], axis=1, opset=13)
    c("qlinearsigmoid", "QLinearSigmoid", x + [s(1 / 256), z(0)])
    c("qlinearleakyrelu", "QLinearLeakyRelu", x + [s(0.1), z(10)], alpha=0.2)
    c("qlinearconcat", "QLinearConcat", [s(0.2), z(3)] + x + [u8(2, 1, 4), s(0.3), z(9)], axis=1)
    image = [u8(1, 3, 7, 6), s(0.1), z(120), s(0.05), z(100)]
    c("qlinearglobalaveragepool", "QLinearGlobalAveragePool", image)
    c("qlinearaveragepool", "QLinearAveragePool", image, kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 1])
    c("qlinearwhere", "QLinearWhere", [rng.random((3, 4)) > 0.5, u8(3, 4), s(0.1), z(1), u8(3, 4), s(0.2), z(9), s(0.15), z(4)])
    c("matmulintegertofloat", "MatMulIntegerToFloat", [u8(2, 3, 8), u8(8, 5), s(0.1), s(0.2), z(7), z(9), f(5)])
    c("matmulintegertofloat_columns", "MatMulIntegerToFloat", [u8(3, 8), i8(8, 5), s(0.1), np.abs(f(5)), z(7), i8(5)])
    c("dynamicquantizematmul", "DynamicQuantizeMatMul", [f(2, 3, 8), i8(8, 5), s(0.02)])
    c("dynamicquantizematmul_bias", "DynamicQuantizeMatMul", [f(3, 8), u8(8, 5), s(0.02), z(3), f(5)])


def fused(c):
    x, b = f(2, 3, 8), f(8)
    c("fastgelu", "FastGelu", [x])
    c("fastgelu_bias", "FastGelu", [x, b])
    c("biasgelu", "BiasGelu", [x, b])
    c("gelu", "Gelu", [x])
    c("quickgelu", "QuickGelu", [x], alpha=1.5)
    c("skiplayernorm", "SkipLayerNormalization", [x, f(2, 3, 8), b, f(8)], epsilon=1e-5)
    c("skiplayernorm_sum", "SkipLayerNormalization", [x, f(1, 3, 8), b, f(8), f(8)], outputs=(0, 3))
    c("skiplayernorm_2d", "SkipLayerNormalization", [x, f(3, 8), b])
    c("skiprmsnorm", "SkipSimplifiedLayerNormalization", [x, f(2, 3, 8), b])
    c("skiprmsnorm_sum", "SkipSimplifiedLayerNormalization", [x, f(2, 3, 8), b, f(8)], outputs=(0, 3), epsilon=1e-5)
    c("rmsnorm", "SimplifiedLayerNormalization", [x, b], domain="", outputs=(0, 1))
    c("rmsnorm_axis", "SimplifiedLayerNormalization", [x, f(3, 8)], domain="", axis=1, epsilon=1e-3)
    ids = lambda n, *shape: rng.integers(0, n, shape).astype(np.int32)
    words, positions, segments = f(20, 8), f(10, 8), f(2, 8)
    mask = np.array([[1, 1, 0, 0], [1, 1, 1, 0]], np.int32)
    c("embedlayernorm", "EmbedLayerNormalization", [ids(20, 2, 4), ids(2, 2, 4), words, positions, segments, b, f(8), mask], outputs=(0, 1, 2))
    c("embedlayernorm_positions", "EmbedLayerNormalization", [ids(20, 2, 4), None, words, positions, None, b, f(8), None, ids(10, 2, 4)], outputs=(0, 1))
    c("fusedmatmul", "FusedMatMul", [f(2, 4, 3), f(2, 4, 5)], transA=1, alpha=0.5)
    c("fusedmatmul_b", "FusedMatMul", [f(2, 3, 4), f(5, 4)], transB=1)
    c("fusedmatmul_batch", "FusedMatMul", [f(3, 2, 4), f(5, 2, 4)], transBatchA=1, transBatchB=1, transB=1)
    for a, extra in (("Relu", {}), ("LeakyRelu", dict(activation_alpha=0.2)), ("Tanh", {})):
        c(f"fusedgemm_{a.lower()}", "FusedGemm", [f(3, 4), f(4, 5), f(5)], activation=a, **extra)
    for a, p in (("Relu", None), ("Clip", [0.0, 0.5]), ("HardSigmoid", [0.3, 0.4])):
        c(f"fusedconv_{a.lower()}", "FusedConv", [f(1, 3, 6, 6), f(4, 3, 3, 3), f(4)], activation=a, pads=[1, 1, 1, 1], **({"activation_params": p} if p else {}))
    c("fusedconv_z", "FusedConv", [f(1, 3, 6, 6), f(4, 3, 3, 3), f(4), f(1, 4, 4, 4)], activation="Relu")
    c("quantizelinear_16", "QuantizeLinear", [x, s(0.01), np.array(3, np.int16)])
    c("dequantizelinear_16", "DequantizeLinear", [rng.integers(0, 999, (2, 3)).astype(np.uint16), f(3), np.array([1, 2, 3], np.uint16)], axis=1)


def attention(c):
    q, k, v = f(2, 3, 8), f(2, 5, 8), f(2, 5, 12)
    c("mha", "MultiHeadAttention", [q, k, f(2, 5, 8)], num_heads=2)
    c("mha_scale", "MultiHeadAttention", [q, k, v], num_heads=4, scale=0.3)
    c("mha_bias", "MultiHeadAttention", [q, k, v, f(28)], num_heads=2)
    c("mha_mask", "MultiHeadAttention", [q, k, v, None, np.array([[1, 1, 0, 0, 1], [1, 1, 1, 0, 0]], np.int32)], num_heads=2)
    c("mha_mask3", "MultiHeadAttention", [q, k, v, None, rng.integers(0, 2, (2, 3, 5)).astype(np.int32)], num_heads=2, mask_filter_value=-5.0)
    c("mha_lengths", "MultiHeadAttention", [q, k, v, None, i32(2, 5)], num_heads=2)
    c("mha_attention_bias", "MultiHeadAttention", [q, k, v, None, np.array([[1, 1, 0, 0, 1], [1, 1, 1, 0, 0]], np.int32), f(1, 2, 3, 5)], num_heads=2)
    c("mha_past", "MultiHeadAttention", [q, f(2, 3, 8), f(2, 3, 8), None, None, None, f(2, 2, 4, 4), f(2, 2, 4, 4)], num_heads=2, outputs=(0, 1, 2), unidirectional=1)
    c("mha_present", "MultiHeadAttention", [q, k, v], num_heads=2, outputs=(0, 1, 2))
    c("mha_packed", "MultiHeadAttention", [f(2, 3, 2, 3, 4)], num_heads=2)
    c("mha_packed_kv", "MultiHeadAttention", [q, f(2, 5, 2, 2, 4)], num_heads=2)
    c("mha_crossed", "MultiHeadAttention", [q, f(2, 2, 5, 4), f(2, 2, 5, 4)], num_heads=2)
    x, w, b = f(2, 3, 6), f(6, 24), f(24)
    c("attention", "Attention", [x, w, b], num_heads=2)
    c("attention_causal", "Attention", [x, w, b], num_heads=2, unidirectional=1)
    c("attention_mask", "Attention", [x, w, b, np.array([[1, 1, 0], [1, 1, 1]], np.int32)], num_heads=4)
    c("attention_lengths", "Attention", [x, w, b, i32(1, 3)], num_heads=2)
    c("attention_past", "Attention", [x, w, b, None, f(2, 2, 2, 5, 4)], num_heads=2, outputs=(0, 1), unidirectional=1)
    c("attention_sizes", "Attention", [x, f(6, 28), f(28)], num_heads=2, qkv_hidden_sizes=[8, 8, 12])
    q = [u8(2, 3, 6), i8(6, 24), b, s(0.02), s(0.01)]
    c("qattention", "QAttention", q + [None, z(120), np.array(3, np.int8)], num_heads=2)
    c("qattention_past", "QAttention", q + [np.array([[1] * 8, [0] * 3 + [1] * 5], np.int32), z(120), np.array(3, np.int8), f(2, 2, 2, 5, 4)], num_heads=2, outputs=(0, 1), unidirectional=1)
    cos, sin = f(10, 2), f(10, 2)
    at = np.array([[1, 2, 3], [4, 5, 6]])
    c("rotary", "RotaryEmbedding", [f(2, 3, 8), at, cos, sin])
    c("rotary_first", "RotaryEmbedding", [f(2, 3, 8), np.array([4]), cos, sin])
    c("rotary_heads", "RotaryEmbedding", [f(2, 4, 3, 4), at, cos, sin], interleaved=1)
    c("rotary_part", "RotaryEmbedding", [f(2, 3, 12), at, cos, sin], num_heads=2, rotary_embedding_dim=4)

    def gqa(name, words, past, room, lengths, total, packed=False, rotary=False, inputs=(), **attrs):
        b, n, kv, h = len(lengths), 4, 2, 16
        qkv = [f(b, words, (n + 2 * kv) * h), None, None] if packed else [f(b, words, n * h), f(b, words, kv * h), f(b, words, kv * h)]
        cache = [f(b, kv, room, h), f(b, kv, room, h)] if past else [None, None]
        for i, k in enumerate(lengths):  # what lies behind the words has no meaning
            for x in cache if past else []:
                x[i, :, k - words:] = 0
        turns = [f(32, h // 2), f(32, h // 2)] if rotary else [None, None]
        x = qkv + cache + [i32(*[k - 1 for k in lengths]), np.array(total, np.int32)] + turns + list(inputs)
        c(f"gqa_{name}", "GroupQueryAttention", x, outputs=(0, 1, 2), num_heads=n, kv_num_heads=kv, do_rotary=int(rotary), **attrs)

    gqa("first", 5, False, 0, [5, 5], 5)
    gqa("first_packed_rotary", 5, False, 0, [5, 5], 5, packed=True, rotary=True)
    gqa("next", 1, True, 6, [7, 7], 7, scale=0.2)
    gqa("next_ragged", 1, True, 6, [7, 4], 7, rotary=True)
    gqa("next_room", 1, True, 9, [7, 4], 7, rotary=True, rotary_interleaved=1)
    gqa("next_words", 3, True, 4, [7], 7)
    gqa("window", 5, False, 0, [5, 5], 5, local_window_size=2)
    gqa("softcap", 1, True, 6, [7, 7], 7, softcap=3.0)
    gqa("bias", 1, True, 6, [7, 7], 7, inputs=[None, f(1, 1, 1, 7)])


def experts(c):
    def moe(name, tokens, kind, gated=False, bias=False, wide=1, **attrs):
        e, h, inner = 4, 16, 32
        w = lambda a, b: f(e, a, b) / 4
        b = lambda n: f(e, n) if bias else None
        x = [f(*tokens, h), f(int(np.prod(tokens)), e), w(wide * inner, h), b(wide * inner), w(h, inner), b(h)]
        c(f"moe_{name}", "MoE", x + ([w(inner, h), b(inner)] if gated else []), activation_type=kind, **attrs)

    moe("relu", (5,), "relu")
    moe("top2", (2, 3), "gelu", bias=True, k=2)
    moe("top2_normalized", (2, 3), "silu", k=2, normalize_routing_weights=1)
    moe("gated", (7,), "silu", gated=True, k=2)
    moe("swiglu", (7,), "swiglu", wide=2, bias=True, k=2, swiglu_fusion=1, activation_alpha=1.702, activation_beta=1.0, swiglu_limit=1.5)
    moe("swiglu_behind", (7,), "swiglu", wide=2, k=1, swiglu_fusion=2)

    def qmoe(name, bits, block=0, zeros=False, kind="relu", gated=False, **attrs):
        e, h, inner = 3, 32, 64
        packed = lambda a, b: u8(e, a, b * bits // 8)
        scale = lambda a, b: np.abs(f(*((e, a, b // block) if block else (e, a)))) / 50
        points = lambda a, b: u8(*((e, a, max(1, (b // block) * bits // 8)) if block else (e, a * bits // 8))) if zeros else None
        layer = lambda a, b: [packed(a, b), scale(a, b), f(e, a)]
        x = [f(6, h), f(6, e)] + layer(inner, h) + layer(h, inner) + (layer(inner, h) if gated else [None] * 3)
        x += [points(inner, h), points(h, inner), points(inner, h) if gated else None]
        c(f"qmoe_{name}", "QMoE", x, activation_type=kind, expert_weight_bits=bits, **({"block_size": block} if block else {}), **attrs)

    qmoe("4bits", 4)
    qmoe("8bits_top2", 8, kind="silu", k=2, normalize_routing_weights=1)
    qmoe("4bits_blocks", 4, block=16, k=2)
    qmoe("8bits_blocks", 8, block=32)
    qmoe("4bits_zeros", 4, block=16, zeros=True)
    qmoe("8bits_zeros", 8, block=16, zeros=True)
    qmoe("4bits_row_zeros", 4, zeros=True)
    qmoe("8bits_row_zeros", 8, zeros=True)


def main():
    out = pathlib.Path(sys.argv[1])
    only = sys.argv[2:]
    for family in (quantized, fused, attention, experts):
        if not only or family.__name__ in only:
            family(lambda name, op, inputs, *a, **k: case(out, name, op, inputs, *a, **k))


if __name__ == "__main__":
    main()
