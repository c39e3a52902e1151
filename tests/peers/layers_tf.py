"""Keras' layers, one at a time: forward and backward in training mode, on the layers of ../bench/layers.json.

Modes: graph (tf.function), jit (XLA). tf.keras 2 (the package tf_keras).
"""
import os

import common

args = common.layer_arguments(__doc__, ["graph", "jit"])
os.environ.update(TF_USE_LEGACY_KERAS="1", OMP_NUM_THREADS=str(args.threads))
lock = common.Lock()
lock.__enter__()

import tensorflow as tf

tf.config.threading.set_intra_op_parallelism_threads(args.threads)
tf.config.threading.set_inter_op_parallelism_threads(1)


def tensor(spec):
    if "dtype" in spec:
        return tf.random.uniform(spec["shape"], 0, spec["below"], tf.int64)
    return tf.random.uniform(spec["shape"], -1, 1)


def make_step(case, mode):
    config = case["component"]["config"]
    nested = any(isinstance(value, dict) for value in config.values())
    layer = tf.keras.layers.deserialize(case["component"]) if nested else getattr(tf.keras.layers, case["component"]["class_name"])(**config)
    inputs = [tensor(spec) for spec in case["inputs"]]

    def forward():
        y = layer(inputs, training=True) if case.get("as_list") else call(layer, inputs)
        return y[0] if isinstance(y, (list, tuple)) else y

    cotangent = tf.random.uniform(forward().shape, -1, 1)
    wrt = [t for t in inputs if t.dtype.is_floating] + layer.trainable_variables

    @tf.function(jit_compile=mode == "jit")
    def step():
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(wrt)
            y = forward()
        return y, tape.gradient(y, wrt, cotangent)

    def run():
        y, _ = step()
        y.numpy()

    return run


def call(layer, inputs):
    try:
        return layer(*inputs, training=True)
    except TypeError:
        return layer(*inputs)


common.run_layers(args, "tf", tf.__version__, "keras", make_step)
