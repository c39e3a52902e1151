"""The golden cases' own classes in tf.keras, as their users write them; Strata has them as text (tests/parity/custom)."""
import glob
import json
import os

import tensorflow as tf
import tf_keras as keras
from google.protobuf import json_format

import strata


class Linear(keras.layers.Layer):
    def __init__(self, units=32, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, shape):
        self.w = self.add_weight("w", (shape[-1], self.units), initializer="random_normal")
        self.b = self.add_weight("b", (self.units,), initializer="random_normal")

    def call(self, x):
        return tf.matmul(x, self.w) + self.b

    def get_config(self):
        return {**super().get_config(), "units": self.units}


def focal_loss(y_true, y_pred, gamma=2.0, alpha=0.75, literal=False):
    assert not literal
    y_true = tf.cast(y_true, y_pred.dtype)
    p = tf.clip_by_value(y_pred, 1e-7, 1 - 1e-7)
    bce = -(y_true * tf.math.log(p + 1e-7) + (1 - y_true) * tf.math.log(1 - p + 1e-7))
    p_t = y_true * y_pred + (1 - y_true) * (1 - y_pred)
    alpha_t = y_true * alpha + (1 - y_true) * (1 - alpha)
    return tf.reduce_sum(alpha_t * (1 - p_t) ** gamma * bce, axis=-1)


class FocalLoss(keras.losses.Loss):
    def __init__(self, gamma=2.0, alpha=0.75, reduction="auto", name="FocalLoss"):
        super().__init__(reduction, name)
        self.gamma, self.alpha = gamma, alpha

    def call(self, y_true, y_pred):
        return focal_loss(y_true, y_pred, self.gamma, self.alpha)

    def get_config(self):
        return {**super().get_config(), "gamma": self.gamma, "alpha": self.alpha}


OBJECTS = {"Linear": Linear, "FocalLoss": FocalLoss, "focal_loss": focal_loss}


def components(client):
    """What the class names mean, to be sent with an import."""
    out = []
    for path in sorted(glob.glob(os.path.join(strata.ROOT, "tests", "parity", "custom", "*.json"))):
        with open(path) as f:
            out.append(json_format.ParseDict(json.load(f), client.message("strata.v1.CustomComponent")()))
    return out
