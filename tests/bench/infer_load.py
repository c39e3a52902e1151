"""One client that asks for predictions one after the other: infer_load.py ADDRESS MODEL SHAPE SECONDS.

Prints a JSON line with the latencies' percentiles in milliseconds. Needs the package tritonclient[grpc].
"""
import json
import sys
import time

import numpy as np
import tritonclient.grpc as triton


def main(address, model, shape, seconds):
    client = triton.InferenceServerClient(address)
    name = client.get_model_metadata(model).inputs[0].name
    shape = [int(size) for size in shape.split(",")]
    tensor = triton.InferInput(name, shape, "FP32")
    tensor.set_data_from_numpy(np.random.default_rng(0).random(shape, dtype=np.float32))
    times, end = [], time.perf_counter() + float(seconds)
    while not times or time.perf_counter() < end:
        begin = time.perf_counter()
        client.infer(model, [tensor])
        times.append((time.perf_counter() - begin) * 1e3)
    times.sort()
    at = lambda share: round(times[min(len(times) - 1, int(len(times) * share))], 4)
    print(json.dumps({"requests": len(times), "p50_ms": at(0.5), "p90_ms": at(0.9), "p99_ms": at(0.99), "max_ms": round(times[-1], 4)}))


main(*sys.argv[1:])
