"""Asks a Strata server through Triton's own client: triton_client.py HOST:PORT, with model fashion_mlp published."""

import queue
import sys

import numpy as np
import tritonclient.grpc as triton
from tritonclient.utils import InferenceServerException


def main(address):
    client = triton.InferenceServerClient(address)
    assert client.is_server_live() and client.is_server_ready() and client.is_model_ready("fashion_mlp")
    assert client.get_server_metadata().name == "strata"
    metadata = client.get_model_metadata("fashion_mlp")
    assert list(metadata.inputs[0].shape) == [-1, 784] and metadata.inputs[0].datatype == "FP32"
    assert client.get_model_config("fashion_mlp").config.max_batch_size > 0

    pixels = np.random.default_rng(0).random((5, 784), dtype=np.float32)
    tensor = triton.InferInput("pixels", list(pixels.shape), "FP32")
    tensor.set_data_from_numpy(pixels)
    name = metadata.outputs[0].name
    whole = client.infer("fashion_mlp", [tensor], request_id="one", outputs=[triton.InferRequestedOutput(name)])
    assert whole.get_response().id == "one"
    assert whole.as_numpy(name).shape == (5, 10)

    answers = queue.Queue()
    for row in range(5):
        single = triton.InferInput("pixels", [1, 784], "FP32")
        single.set_data_from_numpy(pixels[row : row + 1])
        client.async_infer("fashion_mlp", [single], request_id=str(row),
                           callback=lambda result, error: answers.put((result, error)))
    for _ in range(5):
        result, error = answers.get(timeout=30)
        assert error is None, error
        row = int(result.get_response().id)
        np.testing.assert_allclose(result.as_numpy(name)[0], whole.as_numpy(name)[row], rtol=1e-4, atol=1e-5)

    for model, code in (("nobody", "StatusCode.NOT_FOUND"), ("fashion_mlp", "StatusCode.INVALID_ARGUMENT")):
        wrong = triton.InferInput("pixels", [1, 3], "FP32")
        wrong.set_data_from_numpy(np.zeros((1, 3), np.float32))
        try:
            client.infer(model, [wrong])
            raise AssertionError("must be refused")
        except InferenceServerException as refused:
            assert refused.status() == code, refused


main(sys.argv[1])
