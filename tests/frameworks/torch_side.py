"""The PyTorch side of the circle, in PyTorch's own environment.

  torch_side.py write FOLDER CASES    state dicts, definitions, inputs and predictions of every model
  torch_side.py check FOLDER CASES    loads what Strata exported; prints one line of JSON for each model
  torch_side.py run FOLDER            runs source texts that Strata wrote, with their state dicts; prints likewise
"""
import copy
import glob
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "peers")]
import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import circle
import torch_definitions


class TakeOutput(nn.Module):
    def __init__(self, index):
        super().__init__()
        self.index = index

    def forward(self, x):
        return x[self.index]


class TakeStep(nn.Module):
    def __init__(self, dim, index):
        super().__init__()
        self.dim, self.index = dim, index

    def forward(self, x):
        return x.select(self.dim, self.index)


class MeanOver(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.dim = dim

    def forward(self, x):
        return x.mean(self.dim)


class Functional(nn.Module):
    def __init__(self, function, **config):
        super().__init__()
        self.function, self.config = function, config

    def forward(self, x):
        return self.function(x, **self.config)


# "seed.Linear" is a class of the case's user that computes what PyTorch's does.
OWN = {"seed.Linear": nn.Linear, "TakeOutput": TakeOutput, "TakeStep": TakeStep, "MeanOver": MeanOver}


def built(component):
    """A module of its {"class_name", "config"} form."""
    name, config = component["class_name"], dict(component.get("config", {}))
    if name == "Sequential":
        module = nn.Sequential()
        for i, layer in enumerate(config["layers"]):
            module.add_module(layer.get("name", str(i)), built(layer))
        return module
    for key, value in config.items():
        if isinstance(value, dict) and "class_name" in value:
            config[key] = built(value)
        elif isinstance(value, list):
            config[key] = tuple(value)
    if name.startswith("functional."):
        return Functional(getattr(nn.functional, name[11:]), **config)
    return OWN[name](**config) if name in OWN else getattr(nn, name)(**config)


def golden(folder):
    for path in sorted(glob.glob(os.path.join(folder, "pytorch", "*", "*.json"))):
        with open(path) as f:
            case = json.load(f)
        if case["kind"] not in ("model", "training"):
            continue
        component = case["component"] if case["kind"] == "model" else case["component"]["model"]
        tensors = load_file(path[:-5] + ".safetensors")
        keys = [k for k in tensors if k in ("input.x.0", "input.input")] or [k for k in tensors if k.startswith("input.")]
        if len(keys) != 1:
            yield case, component, None
        else:
            yield case, component, tensors[keys[0]]


def models(cases):
    """(name, definition of a state dict as a FrameworkDefinition or a Model, module, input)"""
    for case, component, x in golden(cases):
        name = f"{case['row']}/{case['case']}"
        try:
            torch.manual_seed(3)
            if x is None:
                raise ValueError("several inputs")
            module = built(component)
            module.eval()(x)
        except Exception as e:
            print(json.dumps({"skip": name, "why": f"{type(e).__name__}: {str(e).splitlines()[0][:100]}"}))
            continue
        yield name, {"framework": component}, module, x
    import torch_models
    for name in ("convnet", "resnet20", "lstm", "encoder"):
        module = torch_models.build(name)
        if name == "convnet":
            x = torch.from_numpy(circle.images(channels_last=False)[0].copy())
        else:
            x = torch_models.tensors(name, 8, None, 1)[0][0][0]
        yield name, {"model": torch_definitions.MODELS[name]}, module, x


def exactly(module, x):
    """What the module says in float64; nothing where it computes in float32 whatever comes."""
    try:
        with torch.no_grad():
            y = copy.deepcopy(module).double()(x.double() if x.is_floating_point() else x)
    except RuntimeError as e:
        print(f"no float64: {str(e).splitlines()[0][:100]}", file=sys.stderr)
        return []
    return list(y) if isinstance(y, (list, tuple)) else [y]


def write(folder, cases):
    for i, (name, definition, module, x) in enumerate(models(cases)):
        module.eval()
        with torch.no_grad():
            y = module(x)
        base = os.path.join(folder, f"{i}")
        outputs = list(y) if isinstance(y, (list, tuple)) else [y]
        tensors = {"x": x, **{f"y.{k}": v for k, v in enumerate(outputs)}, **{f"exact.{k}": v for k, v in enumerate(exactly(module, x))}}
        save_file({k: v.contiguous().clone() for k, v in tensors.items()}, base + ".case.safetensors")
        save_file({k: v.contiguous().clone() for k, v in module.state_dict().items()}, base + ".state.safetensors")
        with open(base + ".json", "w") as f:
            json.dump({"name": name, **definition}, f)


def check(folder, cases):
    for i, (name, _, module, x) in enumerate(models(cases)):
        base = os.path.join(folder, f"{i}")
        if not os.path.exists(base + ".out.safetensors"):
            continue
        module.load_state_dict(load_file(base + ".out.safetensors"), strict=True)
        module.eval()
        with torch.no_grad():
            y = module(x)
        outputs = list(y) if isinstance(y, (list, tuple)) else [y]
        want = load_file(base + ".after.safetensors")
        print(json.dumps({"name": name, "difference": circle.difference(
            [o.numpy() for o in outputs], [want[f"y.{k}"].numpy() for k in range(len(want))])}))


def run(folder):
    for path in sorted(glob.glob(os.path.join(folder, "*.json"))):
        base = path[:-5]
        with open(path) as f:
            name = json.load(f)["name"]
        try:
            with open(base + ".py") as f:
                scope = {}
                exec(compile(f.read(), base + ".py", "exec"), scope)
            module, case = scope["Model"](), load_file(base + ".case.safetensors")
            x = [case[f"x.{k}"] for k in range(sum(k.startswith("x.") for k in case))]
            module.eval()
            with torch.no_grad():
                module(*x)  # lazy modules take their sizes
                module.load_state_dict(load_file(base + ".state.safetensors"), strict=True)
                y = module(*x)
        except Exception as e:
            print(json.dumps({"name": name, "why": f"{type(e).__name__}: {str(e).splitlines()[0][:200]}"}))
            continue
        outputs = list(y) if isinstance(y, (list, tuple)) else [y]
        wants = [case[f"y.{k}"].numpy() for k in range(sum(k.startswith("y.") for k in case))]
        print(json.dumps({"name": name, "difference": circle.difference([o.numpy() for o in outputs], wants)}))


if __name__ == "__main__":
    {"write": write, "check": check, "run": run}[sys.argv[1]](*sys.argv[2:])
