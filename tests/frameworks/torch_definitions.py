"""The workloads of tests/peers/torch_models.py as Strata definitions, with PyTorch's names of parameters."""


def _conv(name, units, kernel, stride=1, padding=0):
    return {"name": name, "conv2d": {"filters": units, "kernel_size": [kernel], "stride": [stride],
                                     "padding": {"size": {"values": [padding]}}, "use_bias": False}}


def _input(shape, dtype="FLOAT32"):
    return [{"name": "x", "shape": shape, "dtype": dtype}]


def _block(name, c, stride):
    layers = [_conv("c1", c, 3, stride, 1), {"name": "b1", "batch_norm2d": {}}, {"name": "r1", "relu": {}},
              _conv("c2", c, 3, 1, 1), {"name": "b2", "batch_norm2d": {}}, {"name": "sum", "add": {}}, {"name": "r2", "relu": {}}]
    calls = [("c1", "x"), ("b1", "c1"), ("r1", "b1"), ("c2", "r1"), ("b2", "c2")]
    if stride != 1:
        layers.append({"name": "short", "model": {"inputs": [{"name": "i"}], "layers": [
            _conv("0", c, 1, stride), {"name": "1", "batch_norm2d": {}}]}})
        calls.append(("short", "x"))
    calls += [("sum", "b2", "short" if stride != 1 else "x"), ("r2", "sum")]
    return {"name": name, "model": {"inputs": [{"name": "x"}], "layers": layers, "calls": [
        {"name": c[0], "layer": c[0], "args": [{"call": a} for a in c[1:]]} for c in calls]}}


def _resnet20():
    layers = [_conv("0", 16, 3, 1, 1), {"name": "1", "batch_norm2d": {}}, {"name": "2", "relu": {}}]
    cin = 16
    for c in (16, 32, 64):
        for _ in range(3):
            layers.append(_block(str(len(layers)), c, 1 if c == cin else 2))
            cin = c
    layers += [{"name": "12", "adaptive_avg_pool2d": {"output_size": [1]}}, {"name": "13", "flatten": {}},
               {"name": "14", "linear": {"units": 10}}]
    return {"dialect": "PYTORCH", "inputs": _input([3, 32, 32]), "layers": layers}


def _plain(name, units, kernel):
    layer = _conv(name, units, kernel)
    layer["conv2d"]["use_bias"] = True
    return layer


MODELS = {
    "convnet": {"dialect": "PYTORCH", "inputs": _input([1, 28, 28]), "layers": [
        _plain("0", 32, 3), {"name": "1", "relu": {}}, {"name": "2", "max_pool2d": {"pool_size": [2]}},
        _plain("3", 64, 3), {"name": "4", "relu": {}}, {"name": "5", "max_pool2d": {"pool_size": [2]}},
        {"name": "6", "flatten": {}}, {"name": "7", "linear": {"units": 128}}, {"name": "8", "relu": {}},
        {"name": "9", "linear": {"units": 10}}]},
    "resnet20": _resnet20(),
    "lstm": {"dialect": "PYTORCH", "inputs": _input([64], "INT64"), "layers": [
        {"name": "emb", "embedding": {"input_dim": 10000, "output_dim": 64}},
        {"name": "rnn", "lstm": {"units": 128, "batch_first": True}},
        {"name": "last", "select": {"axis": 1, "index": -1}}, {"name": "out", "linear": {"units": 1}}]},
    "encoder": {"dialect": "PYTORCH", "inputs": _input([64, 256]), "layers": [
        {"name": "enc", "transformer_encoder": {"num_layers": 4, "encoder_layer": {
            "d_model": 256, "nhead": 4, "dim_feedforward": 1024, "dropout": 0.1, "batch_first": True}}},
        {"name": "mean", "mean": {"axis": [1]}}, {"name": "out", "linear": {"units": 10}}]},
}
