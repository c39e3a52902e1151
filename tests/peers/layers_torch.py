"""PyTorch's layers, one at a time: forward and backward in training mode, on the layers of ../bench/layers.json.

Modes: eager, compile (torch.compile of the forward pass).
"""
import os

import common

args = common.layer_arguments(__doc__, ["eager", "compile"])
os.environ["OMP_NUM_THREADS"] = str(args.threads)
lock = common.Lock()
lock.__enter__()

import torch

torch.set_num_threads(args.threads)
torch.set_num_interop_threads(1)
torch.manual_seed(1)


def tensor(spec):
    if "dtype" in spec:
        return torch.randint(0, spec["below"], spec["shape"])
    return (torch.rand(spec["shape"]) * 2 - 1).requires_grad_()


def make_step(case, mode):
    component = case["component"]
    layer = getattr(torch.nn, component["class_name"])(**component["config"]).train()
    inputs = [tensor(spec) for spec in case["inputs"]]

    def forward(*inputs):
        y = layer(*inputs)
        return y[0] if isinstance(y, tuple) else y

    if mode == "compile":
        forward = torch.compile(forward)
    wrt = [t for t in inputs if t.requires_grad] + list(layer.parameters())
    cotangent = torch.rand_like(forward(*inputs)) * 2 - 1
    if not wrt:
        return lambda: forward(*inputs)
    return lambda: torch.autograd.grad(forward(*inputs), wrt, cotangent, allow_unused=True)


common.run_layers(args, "torch", torch.__version__, "pytorch", make_step)
