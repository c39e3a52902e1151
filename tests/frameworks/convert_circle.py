"""Models.Convert judged by the frameworks: what one framework predicts, the other predicts of the converted model's files.

  convert_circle.py BIN PYTHON_WITH_TORCH

PyTorch's models arrive as state dicts with their definitions, are converted, exported as .h5 and .keras and loaded by
tf.keras; Keras' models arrive as .keras, are converted, and PyTorch runs the exported source text with the exported state
dict. Models with a component that has no counterpart, or (text of ours) no form in the other framework, are counted with
the server's reasons.
"""
import glob
import json
import os
import sys
import tempfile

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
import grpc
import numpy as np
from safetensors.numpy import load_file, save_file

import circle
import keras_circle
import keras_customs
import strata
import torch_circle

keras = keras_circle.keras
PYTORCH, KERAS = 1, 2
LIMIT = 1e-5


def turned(array, axes):
    """An array of the old model as the new one has it."""
    return np.ascontiguousarray(np.transpose(array, list(axes.axes)) if len(axes.axes) else array)


def converted(client, name, dialect, report):
    """The converted model's name and the answer, or None where there is no counterpart."""
    new = name[:60] + (".k" if dialect == KERAS else ".p")
    try:
        answer = client.call("Models", "Convert", "ConvertRequest", "ConvertResponse", model=name, name=new, dialect=dialect)
    except grpc.RpcError as e:
        if e.code() != grpc.StatusCode.INVALID_ARGUMENT:
            raise
        report.skip(name, "no counterpart: " + e.details()[:160].replace("\n", " "))
        return None, None
    return new, answer


def exports(client, name, new, files, report):
    """Whether all of [(path, format)] were written; a component that the framework lacks is named by the server."""
    for path, format in files:
        try:
            client.export(path, model=new, format=format)
        except grpc.RpcError as e:
            if e.code() != grpc.StatusCode.UNIMPLEMENTED:
                raise
            report.skip(name, "no form in the other framework: " + e.details()[:160].replace("\n", " "))
            return False
    return True


def to_keras(client, base, folder, report):
    name, feed, wants, _ = torch_circle.imported(client, base)
    new, answer = converted(client, name, KERAS, report)
    if new is None:
        return
    x = [turned(v, axes) for v, axes in zip(feed.values(), answer.inputs)]
    wants = [turned(v, axes) for v, axes in zip(wants, answer.outputs)]
    paths = [os.path.join(folder, "converted" + ending) for ending in (".h5", ".keras")]
    if not exports(client, name, new, list(zip(paths, (7, 8))), report):
        return
    for path, ending in zip(paths, (".h5", ".keras")):
        model = keras.models.load_model(path)
        got = keras_circle.as_list(model(x if len(x) > 1 else x[0], training=False))
        report.add(name, "PyTorch's model in tf.keras " + ending, circle.difference(got, wants), LIMIT)
    report.covered += 1


def to_pytorch(client, name, model, inputs, folder, index, report):
    """Leaves what PyTorch runs in `folder`."""
    x = list(inputs.values())
    wants = keras_circle.as_list(model(x if len(x) > 1 else x[0], training=False))
    path = os.path.join(folder, "in.keras")
    model.save(path)
    client.import_file(path, name=name, custom_components=keras_customs.components(client))
    new, answer = converted(client, name, PYTORCH, report)
    if new is None:
        return
    base = os.path.join(folder, str(index))
    if not exports(client, name, new, [(base + ".py", 3), (base + ".state.safetensors", 2)], report):
        return
    save_file({**{f"x.{i}": turned(v, axes) for i, (v, axes) in enumerate(zip(x, answer.inputs))},
               **{f"y.{i}": turned(v, axes) for i, (v, axes) in enumerate(zip(wants, answer.outputs))}}, base + ".case.safetensors")
    with open(base + ".json", "w") as f:
        json.dump({"name": name}, f)


def guarded(report, name, function):
    try:
        function()
    except grpc.RpcError as e:
        report.check(name, "the way", False, e.details())
    except Exception as e:  # what the framework cannot load
        report.check(name, "the way", False, f"{type(e).__name__}: {str(e).splitlines()[0][:200]}")


def main():
    report = circle.Report()
    with strata.Server(sys.argv[1]) as server, tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as back:
        client = strata.Client(server.address)
        torch_circle.torch_side(sys.argv[2], "write", folder, torch_circle.CASES)
        for path in sorted(glob.glob(os.path.join(folder, "*.json"))):
            base = path[:-5]
            with open(path) as f:
                name = json.load(f)["name"]
            guarded(report, name, lambda: to_keras(client, base, folder, report))
        for index, (name, _, make) in enumerate(keras_circle.jobs()):
            try:
                model, inputs, _ = make()
            except Exception as e:  # what the framework itself cannot build from the case
                report.skip(name, f"{type(e).__name__}: {str(e).splitlines()[0][:120]}")
                continue
            strata_name = circle.usable("keras-" + name)
            guarded(report, name, lambda: to_pytorch(client, strata_name, model, inputs, back, index, report))
        for line in torch_circle.torch_side(sys.argv[2], "run", back):
            if "why" in line:
                report.check(line["name"], "the converted source runs", False, line["why"])
            else:
                report.add(line["name"], "Keras' model in PyTorch", line["difference"], LIMIT)
                report.covered += 1
    return report.finish("convert")


if __name__ == "__main__":
    sys.exit(main())
