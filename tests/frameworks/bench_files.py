"""Time and memory of a state dict of 100 MB, in and out: bench_files.py BIN. Needs grpc and numpy."""
import hashlib
import json
import os
import struct
import sys
import tempfile
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import numpy as np
from google.protobuf import json_format

import strata

LAYERS, WIDTH = 6, 2048  # 6 x 2048 x 2048 x 4 bytes


def write(path):
    rng = np.random.default_rng(1)
    header, data, at = {}, [], 0
    for i in range(LAYERS):
        for name, shape in ((f"{i}.weight", (WIDTH, WIDTH)), (f"{i}.bias", (WIDTH,))):
            array = (rng.random(shape, np.float32) - 0.5) / WIDTH
            header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [at, at + array.nbytes]}
            at += array.nbytes
            data.append(array.tobytes())
    text = json.dumps(header).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(data))


def timed(function, times=5):
    best = float("inf")
    for _ in range(times):
        begin = time.time()
        function()
        best = min(best, time.time() - begin)
    return best


def main():
    with strata.Server(sys.argv[1]) as server, tempfile.TemporaryDirectory() as folder:
        client = strata.Client(server.address)
        path, out = os.path.join(folder, "in.safetensors"), os.path.join(folder, "out.safetensors")
        write(path)
        size = os.path.getsize(path) / 1e6

        def read_and_hash():
            with open(path, "rb") as f:
                hashlib.sha256(f.read()).hexdigest()
        model = json_format.ParseDict({"dialect": "PYTORCH", "inputs": [{"name": "x", "shape": [WIDTH]}], "layers": [
            {"linear": {"units": WIDTH}} for _ in range(LAYERS)]}, client.message("strata.v1.Model")())
        client.call("Models", "Create", "CreateModelRequest", "ModelInfo", name="big", model=model)
        before = server.peak_mb()
        client.import_file(path, name="big")
        peak = server.peak_mb()
        base = timed(read_and_hash)
        import_seconds = timed(lambda: client.import_file(path, name="big"))
        export_seconds = timed(lambda: client.export(out, model="big", format=2))
        print(f"{size:.0f} MB: read and hash {base:.3f} s; import {import_seconds:.3f} s ({import_seconds / base:.2f}x); "
              f"export {export_seconds:.3f} s ({export_seconds / base:.2f}x); peak {peak:.0f} MB after one import, "
              f"{before:.0f} MB before ({(peak - before) / size:.2f}x the file)")


if __name__ == "__main__":
    main()
