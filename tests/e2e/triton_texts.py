"""Sends texts to a Strata server through Triton's own client: triton_texts.py HOST:PORT WANTED WANTED, with model tabular."""

import sys

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException


def texts(name, values):
    array = np.array(values, dtype=np.object_)
    tensor = triton.InferInput(name, list(array.shape), "BYTES")
    tensor.set_data_from_numpy(array)
    return tensor


def main(address, wanted):
    client = triton.InferenceServerClient(address)
    metadata = client.get_model_metadata("tabular")
    types = {spec.name: (spec.datatype, list(spec.shape)) for spec in metadata.inputs}
    assert types == {"age": ("FP32", [-1, 1]), "city": ("BYTES", [-1, 1]), "tags": ("BYTES", [-1, -1])}, types

    age = triton.InferInput("age", [2, 1], "FP32")
    age.set_data_from_numpy(np.array([[0.1], [0.2]], np.float32))
    city = texts("city", [[b"rome"], [b"oslo"]])
    tags = texts("tags", [[b"x", b""], [b"a\0b", b"a\0"]])
    answer = client.infer("tabular", [age, city, tags])
    np.testing.assert_allclose(answer.as_numpy("out")[:, 0], wanted, rtol=1e-5, atol=1e-5)

    try:
        client.infer("tabular", [age, texts("city", [[b"rome"]]), tags])
        raise AssertionError("must be refused")
    except InferenceServerException as refused:
        assert refused.status() == "StatusCode.INVALID_ARGUMENT", refused


main(sys.argv[1], [float(value) for value in sys.argv[2:]])
