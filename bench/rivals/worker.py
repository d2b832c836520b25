"""Runs models with ONNX Runtime or OpenVINO, as the driver says (see protocol/protocol.go), or the
product that a model is with a library of sparse matrices.

    worker.py ort|ort-opt|openvino|torch-csr|scipy-csr THREADS

Inputs and results are bound before a run is timed: ONNX Runtime's IoBinding, an OpenVINO infer
request. All compute in f32.
"""
import json
import os
import sys
import time

import numpy as np

now = time.perf_counter_ns


class Ort:
    def __init__(self, threads, optimised):
        import onnxruntime
        self.ort, self.threads, self.optimised = onnxruntime, threads, optimised
        self.name = f"ONNX Runtime {onnxruntime.__version__}" + (", transformer optimiser" if optimised else "")
        onnxruntime.set_default_logger_severity(3)

    def load(self, path):
        if self.optimised:
            path = self.optimise(path)
        o = self.ort.SessionOptions()
        o.intra_op_num_threads, o.inter_op_num_threads = self.threads, 1
        start = now()
        session = self.ort.InferenceSession(path, o, providers=["CPUExecutionProvider"])
        return now() - start, OrtModel(self.ort, session)

    def optimise(self, path):
        """What optimize_model does, without its first step's need of torch."""
        import logging
        import tempfile
        from onnxruntime.transformers import optimizer
        logging.disable(logging.CRITICAL)
        dir = tempfile.mkdtemp(dir=os.environ.get("BENCH_DIR"))
        basic, out = os.path.join(dir, "basic.onnx"), os.path.join(dir, "model.onnx")
        o = self.ort.SessionOptions()
        o.graph_optimization_level = self.ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        o.optimized_model_filepath = basic
        o.add_session_config_entry("session.optimized_model_external_initializers_file_name", "basic.data")
        self.ort.InferenceSession(path, o, providers=["CPUExecutionProvider"], disabled_optimizers=["ConstantSharing"])
        m = optimizer.optimize_model(basic, "bert", num_heads=0, hidden_size=0, opt_level=0)
        m.save_model_to_file(out, use_external_data_format=True)
        print("fused:", m.get_fused_operator_statistics(), file=sys.stderr)
        return out


class OrtModel:
    def __init__(self, ort, session):
        self.ort, self.session, self.sets = ort, session, {}
        self.call = session._sess.run_with_iobinding  # what run_with_iobinding of the session calls

    def inputs(self, key, arrays):
        io = self.session.io_binding()
        for i in self.session.get_inputs():
            io.bind_ortvalue_input(i.name, self.ort.OrtValue.ortvalue_from_numpy(arrays[i.name]))
        for o in self.session.get_outputs():
            io.bind_output(o.name, "cpu")
        self.sets[key] = [io, False]

    def first(self, key):
        """The first run allocates results; later ones write there again."""
        io, bound = self.sets[key]
        if bound:
            return 0
        start = now()
        self.session.run_with_iobinding(io)
        took = now() - start
        for o, v in zip(self.session.get_outputs(), io.get_outputs()):
            io.bind_ortvalue_output(o.name, v)
        self.sets[key][1] = True
        return took

    def run(self, key, n):
        io = self.sets[key][0]._iobinding
        call = self.call
        start = now()
        for _ in range(n):
            call(io, None)
        return now() - start

    def results(self, key):
        return [v.numpy() for v in self.sets[key][0].get_outputs()]

    def begin(self, s):
        value = self.ort.OrtValue.ortvalue_from_numpy
        self.io, self.past, self.s = self.session.io_binding(), 0, s
        self.io.bind_ortvalue_input(s["token"], value(np.full((1, 1), 17, np.int64)))
        self.masks = [value(np.ones((1, n + 1), np.int64)) for n in range(s["capacity"])]
        empty = np.zeros((1, s["heads"], 0, s["features"]), np.float32)
        self.states = [value(empty) for _ in s["states"]]
        self.names = [o.name for o in self.session.get_outputs()]
        self.carried = [self.names.index(out) for _, out in s["states"]]

    def decode(self, n):
        io, raw, s = self.io, self.io._iobinding, self.s
        start = now()
        for _ in range(n):
            io.bind_ortvalue_input(s["mask"], self.masks[self.past])
            for (name, _), v in zip(s["states"], self.states):
                io.bind_ortvalue_input(name, v)
            for name in self.names:
                io.bind_output(name, "cpu")
            self.call(raw, None)
            out = io.get_outputs()
            self.states = [out[i] for i in self.carried]
            self.past += 1
        return now() - start


class OpenVino:
    def __init__(self, threads):
        import openvino
        self.ov, self.core = openvino, openvino.Core()
        self.name = "OpenVINO " + openvino.__version__.split("-")[0]
        self.config = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY",
                       "INFERENCE_PRECISION_HINT": "f32", "ENABLE_CPU_PINNING": False}

    def load(self, path):
        start = now()
        model = self.core.compile_model(self.core.read_model(path), "CPU", self.config)
        return now() - start, OpenVinoModel(self.ov, model)


class OpenVinoModel:
    def __init__(self, ov, model):
        from openvino._pyopenvino import InferRequest
        self.ov, self.model, self.sets, self.kept = ov, model, {}, {}
        self.call = InferRequest.infer  # what infer of a request calls; results are not copied

    def inputs(self, key, arrays):
        r = self.model.create_infer_request()
        for i in self.model.inputs:
            r.set_tensor(i, self.ov.Tensor(arrays[i.any_name], shared_memory=True))
        self.sets[key] = r
        self.kept[key] = arrays  # the tensors are views of them

    def first(self, key):
        return 0

    def run(self, key, n):
        r, call, nothing = self.sets[key], self.call, {}
        start = now()
        for _ in range(n):
            call(r, nothing, True, False)
        return now() - start

    def results(self, key):
        return [self.sets[key].get_tensor(o).data for o in self.model.outputs]


class Csr:
    """Makes CSR of a factor in each run, and multiplies that by constant weights."""
    def load(self, path):
        import onnx
        graph = onnx.load(path).graph
        if [n.op_type for n in graph.node] != ["MatMul"] or graph.node[0].input[1] != graph.initializer[0].name:
            raise ValueError("it is no product with constant weights")
        start = now()
        model = CsrModel(self, graph.node[0].input[0], self.weights(onnx.numpy_helper.to_array(graph.initializer[0])))
        return now() - start, model


class TorchCsr(Csr):
    def __init__(self, threads):
        import torch
        import warnings
        warnings.filterwarnings("ignore", "Sparse CSR")  # it is beta
        torch.set_num_threads(threads)
        self.torch, self.name = torch, f"torch {torch.__version__.split('+')[0]} CSR"

    def weights(self, w):
        return self.torch.from_numpy(w.copy())

    def factor(self, x, w):
        return self.torch.from_numpy(x), self.torch.empty(x.shape[0], w.shape[1])

    def multiply(self, x, w, y):
        self.torch.mm(x.to_sparse_csr(), w, out=y)
        return y


class ScipyCsr(Csr):
    def __init__(self, threads):
        import scipy.sparse
        self.csr, self.name = scipy.sparse.csr_array, f"SciPy {scipy.__version__} CSR"

    def weights(self, w):
        return w.copy()

    def factor(self, x, w):
        return x, None

    def multiply(self, x, w, y):  # it takes no memory for its result
        return self.csr(x) @ w


class CsrModel:
    def __init__(self, lib, name, w):
        self.lib, self.name, self.w, self.sets = lib, name, w, {}

    def inputs(self, key, arrays):
        self.sets[key] = list(self.lib.factor(arrays[self.name], self.w))

    def first(self, key):
        return 0

    def run(self, key, n):
        s, w, multiply = self.sets[key], self.w, self.lib.multiply
        start = now()
        for _ in range(n):
            s[1] = multiply(s[0], w, s[1])
        return now() - start

    def results(self, key):
        return [np.asarray(self.sets[key][1])]


def memory():
    out = {}
    for line in open("/proc/self/status"):
        k, _, v = line.partition(":")
        if k in ("VmHWM", "VmRSS"):
            out["peak" if k == "VmHWM" else "resident"] = int(v.split()[0]) << 10
    return out


def main():
    kind, threads = sys.argv[1], int(sys.argv[2])
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print goes to stderr
    say = lambda a: (out.write(json.dumps(a) + "\n"), out.flush())
    kinds = {"openvino": OpenVino, "torch-csr": TorchCsr, "scipy-csr": ScipyCsr}
    engine = kinds[kind](threads) if kind in kinds else Ort(threads, kind == "ort-opt")
    say({"engine": engine.name})
    models = {}
    for line in sys.stdin:
        r = json.loads(line)
        try:
            say(answer(engine, models, r))
        except Exception as e:
            say({"error": f"{type(e).__name__}: {e}"[:2000]})


def answer(engine, models, r):
    op, name, key = r["op"], r.get("model"), r.get("set")
    if op == "load":
        took, models[name] = engine.load(r["path"])
        return {"ns": took}
    if op == "memory":
        return memory()
    m = models[name]
    if op == "inputs":
        m.inputs(key, {n: np.load(f) for n, f in r["files"].items()})
    elif op == "run":
        first = m.first(key)
        if first and r.get("warm", 0) == 0 and r["n"] == 1:
            return {"ns": first}
        keys = [key] + r.get("more", [])
        if len(keys) == 1:
            m.run(key, r.get("warm", 0))
            return {"ns": m.run(key, r["n"])}
        for _ in range(r.get("warm", 0)):
            for k in keys:
                m.run(k, 1)
        return {"ns": sum(m.run(k, 1) for _ in range(r["n"]) for k in keys)}
    elif op == "write":
        results = m.results(key)
        for i, x in enumerate(results):
            np.save(os.path.join(r["dir"], f"{i}.npy"), x)
        return {"outputs": len(results)}
    elif op == "session":
        m.begin(r["session"])
    elif op == "decode":
        return {"ns": m.decode(r["n"])}
    elif op == "drop":
        del models[name]
    else:
        raise ValueError(f"there is no request {op!r}")
    return {}


main()
