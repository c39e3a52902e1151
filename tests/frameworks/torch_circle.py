"""State dicts of PyTorch (golden cases and workloads) through Strata and back.

  torch_circle.py BIN PYTHON_WITH_TORCH    (itself in an environment with grpc and safetensors)
"""
import glob
import json
import os
import subprocess
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import grpc
import numpy as np
from google.protobuf import json_format
from safetensors.numpy import load_file, save_file

import circle
import strata

CASES = os.path.join(strata.ROOT, "tests", "parity", "cases")


def torch_side(python, *arguments):
    out = subprocess.run([python, os.path.join(HERE, "torch_side.py"), *arguments], check=True, stdout=subprocess.PIPE, text=True)
    return [json.loads(line) for line in out.stdout.splitlines() if line.startswith("{")]


def imported(client, base):
    """The model of one of torch_side.py's state dicts: its name, the inputs by name, PyTorch's predictions in float32 and float64."""
    with open(base + ".json") as f:
        job = json.load(f)
    name, case = circle.usable(job["name"]), load_file(base + ".case.safetensors")
    x = case["x"]
    integers = x.dtype.kind == "i"
    wants = [case[f"y.{k}"] for k in range(sum(key.startswith("y.") for key in case))]
    exact = [case[f"exact.{k}"] for k in range(len(wants))] if "exact.0" in case else None
    if "model" in job:
        model = json_format.ParseDict(job["model"], client.message("strata.v1.Model")())
        client.call("Models", "Create", "CreateModelRequest", "ModelInfo", name=name, model=model)
        info = client.import_file(base + ".state.safetensors", name=name)
    else:
        kind = client.message("strata.v1.Tensor").DESCRIPTOR.fields_by_name["dtype"].enum_type.values_by_name
        definition = {"dialect": 1, "json": json.dumps(job["framework"]),
                      "inputs": [{"name": "input", "shape": x.shape[1:], "dtype": kind["INT64" if integers else "FLOAT32"].number}]}
        info = client.import_file(base + ".state.safetensors", name=name, definition=definition)
    return name, {info.model.definition.inputs[0].name: x}, wants, exact


def one(client, base, report):
    name, feed, wants, exact = imported(client, base)
    report.judge(name, "predictions of the state dict", client.infer(name, feed), wants, exact, 1e-6)
    config = {"optimizer": {"adam": {"learning_rate": 0.001}}, "objectives": [{"loss": {"mean_squared_error": {}}}]}
    target = np.random.default_rng(1).standard_normal(wants[0].shape).astype(np.float32)
    client.train([{**feed, "target": target}] * 3, model=name, config=config, **{"from": {}})
    after = client.infer(name, feed)
    save_file({f"y.{k}": np.ascontiguousarray(v) for k, v in enumerate(after)}, base + ".after.safetensors")
    client.export(base + ".out.safetensors", model=name, format=2)
    if os.path.getsize(base + ".state.safetensors") > 100:  # there are weights
        report.check(name, "three steps change the predictions", circle.difference(after, wants) > 0, "equal")


def main():
    report = circle.Report()
    with strata.Server(sys.argv[1]) as server, tempfile.TemporaryDirectory() as folder:
        client = strata.Client(server.address)
        for line in torch_side(sys.argv[2], "write", folder, CASES):
            report.skip(line["skip"], line["why"])
        for i in range(len(glob.glob(os.path.join(folder, "*.json")))):
            base = os.path.join(folder, str(i))
            try:
                one(client, base, report)
            except grpc.RpcError as e:
                with open(base + ".json") as f:
                    report.check(json.load(f)["name"], "the circle", False, e.details())
        for line in torch_side(sys.argv[2], "check", folder, CASES):
            if "name" in line:
                report.add(line["name"], "predictions of the trained state dict", line["difference"], 1e-6)
                report.covered += 1
    return report.finish("pytorch")


if __name__ == "__main__":
    sys.exit(main())
