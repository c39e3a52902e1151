"""Whole models of tf.keras 2 (golden cases) and Keras 3 (workloads) through Strata and back. Run by scripts/test --with-frameworks.
    keras_circle.py BIN [NAME...]      only these models, as K6/focal_closure_training"""
import glob
import json
import os
import sys
import tempfile

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [HERE, os.path.join(os.path.dirname(HERE), "peers")]
import grpc
import keras as keras3
import numpy as np
import tensorflow as tf
import tf_keras as keras
from safetensors.numpy import load_file

import circle
import keras_customs
import strata


def as_list(value):
    if isinstance(value, dict):
        return [np.asarray(v) for v in value.values()]
    return [np.asarray(v) for v in value] if isinstance(value, (list, tuple)) else [np.asarray(value)]


def needs_dropout(text):
    return "Dropout" in text or '"dropout": 0.' in text and '"dropout": 0.0' not in text


class Circle:
    """One model: files in, predictions, training, files out."""

    def __init__(self, client, library, name, model, inputs, targets, report):
        self.client, self.library, self.name, self.model, self.report = client, library, name, model, report
        self.inputs, self.targets = inputs, targets

    def predict(self, model):
        x = [self.inputs[k] for k in self.inputs]
        return as_list(model(x if len(x) > 1 else x[0], training=False))

    def predict_exactly(self):
        """The framework's own predictions in float64, or nothing where it has none: metrics of layers, operations of float32."""
        floats = self.library.backend.floatx()
        self.library.backend.set_floatx("float64")
        try:
            text = json.dumps(self.model.get_config()).replace('"float32"', '"float64"')
            with self.library.utils.custom_object_scope(keras_customs.OBJECTS):
                exact = type(self.model).from_config(json.loads(text))
            widen = lambda v: v.astype(np.float64) if v.dtype == np.float32 else v
            x = [widen(np.asarray(v)) for v in self.inputs.values()]
            x = x if len(x) > 1 else x[0]
            exact(x)  # models without an input layer have their weights from now on
            exact.set_weights([widen(w) for w in self.model.get_weights()])
            return as_list(exact(x, training=False))
        except Exception as e:
            print(f"{self.name}: no float64: {type(e).__name__}: {str(e).splitlines()[0][:100]}", flush=True)
            return None
        finally:
            self.library.backend.set_floatx(floats)

    def run(self, folder):
        # Keras 3 forgets what compile() was given once it has written an HDF5 file.
        paths = {ending: os.path.join(folder, "in" + ending) for ending in (".keras", ".h5")}
        for path in paths.values():
            self.model.save(path)
        wants, exact = self.predict(self.model), self.predict_exactly()
        losses = self.next_losses()
        trained = {}
        for ending, path in paths.items():
            after, files = self.through_strata(self.name + ending, path, wants, exact, losses, folder)
            for out, file in files.items():
                # What a second way here made as well is proved already.
                if trained.get(out) != file:
                    self.load(self.name + ending, out, file, after, folder)
                trained[out] = file

    def next_losses(self):
        """Those of Keras' next two steps, or nothing where its random numbers are its own."""
        if needs_dropout(self.model.to_json()):
            return None
        x, y = list(self.inputs.values()), self.targets if len(self.targets) > 1 else self.targets[0]
        if self.library is keras3 and len(self.targets) > 1:
            y = dict(zip(self.model.output_names, self.targets))
        losses = []
        for _ in range(2):
            self.model.reset_metrics()
            losses.append(float(np.ravel(self.model.train_on_batch(x if len(x) > 1 else x[0], y))[0]))
        return losses

    def through_strata(self, title, path, wants, exact, losses, folder):
        """Predictions after two steps, and the bytes of the files that then leave, by their endings."""
        name = circle.usable(title)
        info = self.client.import_file(path, name=name, custom_components=keras_customs.components(self.client))
        feed = dict(zip([i.name for i in info.model.definition.inputs], self.inputs.values()))
        self.report.judge(title, "predictions of the file", self.client.infer(name, feed), wants, exact, 1e-6)
        batch = dict(feed)
        for i, y in enumerate(self.targets):
            batch["target" if i == 0 else f"target_{i}"] = y
        got, _ = self.client.train([batch, batch], model=name, **{"from": {}})
        if losses is not None:
            # Adam's first step is as long for a gradient that is rounding as for any other.
            self.report.add(title, "losses of two steps", circle.difference([np.array(got)], [np.array(losses)]), 1e-5)
        # What leaves is tf.keras 2's form.
        files = {}
        for out in (".h5", ".keras"):
            path = os.path.join(folder, "out" + out)
            self.client.export(path, model=name, format=7 if out == ".h5" else 8, name="trained")
            with open(path, "rb") as f:
                files[out] = f.read()
        return self.client.infer(name, feed), files

    def load(self, title, out, file, after, folder):
        path = os.path.join(folder, "trained" + out)
        with open(path, "wb") as f:
            f.write(file)
        loaded = keras.models.load_model(path, custom_objects=keras_customs.OBJECTS)
        self.report.add(title, "predictions of the trained file " + out, circle.difference(self.predict(loaded), after), 1e-6)
        steps = int(loaded.optimizer.iterations.numpy()) if loaded.optimizer is not None else -1
        self.report.check(title, "the optimizer's state in " + out, steps >= 2, f"{steps} iterations")


def golden(folder):
    for path in sorted(glob.glob(os.path.join(folder, "keras", "*", "*.json"))):
        with open(path) as f:
            case = json.load(f)
        if case["kind"] in ("model", "training"):
            yield case, load_file(path[:-5] + ".safetensors")


def loss_of(loss):
    """From a case: a name, a configuration, or a function of the cases' own."""
    if isinstance(loss, dict) and "function" in loss:
        loss = loss["function"]
    with keras.utils.custom_object_scope(keras_customs.OBJECTS):
        return keras.losses.get(loss)


def golden_model(case, tensors):
    component = case["component"]
    text = component if case["kind"] == "model" else component["model"]
    keras.utils.set_random_seed(3)
    model = keras.models.model_from_json(json.dumps(text), custom_objects=keras_customs.OBJECTS)
    names = [t.name for t in model.inputs]
    inputs = {}
    for name, spec in zip(names, model.inputs):
        for key in (f"input.{name}", f"input.x_{name}.0", "input.x.0", "input.x"):
            if key in tensors:
                inputs[name] = tensors[key].astype(spec.dtype.as_numpy_dtype)
                break
    rows = len(next(iter(inputs.values())))
    outputs = as_list(model(list(inputs.values()) if len(inputs) > 1 else next(iter(inputs.values()))))
    rng = np.random.default_rng(2)
    targets = [rng.random(o.shape).astype(np.float32) for o in outputs]
    loss, optimizer = "mse", keras.optimizers.Adam(0.01)
    if case["kind"] == "training" and len(outputs) == 1 and isinstance(component.get("loss"), (str, dict)):
        loss = loss_of(component["loss"])
        targets = [tensors["input.y.0"] if "input.y.0" in tensors else tensors["input.y"]]
        # Without the flag the configuration would mean a legacy optimizer, whose RMSprop has its epsilon elsewhere.
        optimizer = component["optimizer"]
        optimizer = keras.optimizers.get({**optimizer, "config": {**optimizer["config"], "is_legacy_optimizer": False}}
                                         if isinstance(optimizer, dict) else optimizer)
    assert rows == len(targets[0])
    same = len(outputs) == 1 and targets[0].shape == outputs[0].shape
    # Two steps are not worth a graph, which takes seconds to trace.
    model.compile(optimizer, loss, metrics=["mae"] if same else None, run_eagerly=True)
    x = list(inputs.values())
    model.test_on_batch(x if len(x) > 1 else x[0], targets if len(targets) > 1 else targets[0])
    return model, inputs, targets


def workload(name):
    import tf_models
    model = tf_models.build(name)
    model.compile(tf_models.optimizer(name), tf_models.loss(name))
    x, y = tf_models.tensors(name, 8, None, 1)[0] if name != "convnet" else circle.images(channels_last=True)
    x = x if isinstance(x, (list, tuple)) else [x]
    return model, {f"x{i}": np.asarray(v) for i, v in enumerate(x)}, [np.asarray(y)]


def jobs():
    """(name, library, function that makes (model, inputs, targets))"""
    for c, t in golden(os.path.join(strata.ROOT, "tests", "parity", "cases")):
        yield f"{c['row']}/{c['case']}", keras, lambda c=c, t=t: golden_model(c, t)
    for name in ("convnet", "resnet20", "lstm", "encoder"):
        yield name, keras3, lambda n=name: workload(n)


def main():
    report = circle.Report()
    with strata.Server(sys.argv[1]) as server, tempfile.TemporaryDirectory() as folder:
        client = strata.Client(server.address)
        chosen = sys.argv[2:]
        for name, library, make in jobs():
            if chosen and name not in chosen:
                continue
            try:
                model, inputs, targets = make()
            except Exception as e:  # what the framework itself cannot build from the case
                report.skip(name, f"{type(e).__name__}: {str(e).splitlines()[0][:120]}")
                continue
            try:
                Circle(client, library, name, model, inputs, targets, report).run(folder)
                report.covered += 1
            except grpc.RpcError as e:
                report.check(name, "the circle", False, e.details())
            except Exception as e:  # what the framework cannot load
                report.check(name, "the circle", False, f"{type(e).__name__}: {str(e).splitlines()[0][:200]}")
            keras.backend.clear_session()
    return report.finish("keras")


if __name__ == "__main__":
    sys.exit(main())
