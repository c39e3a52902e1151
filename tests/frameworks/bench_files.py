"""Time and memory of a state dict of 100 MB, in and out: bench_files.py BIN. Needs grpc and numpy.

The measures stand beside each other in every round, so that a busy machine slows all of them: reading the file (from the
page cache) and hashing it (SHA-256, one thread); the same with a copy that is written and fsynced, which an import does too;
an import and an export over gRPC by this client, and by `strata`, whose transfers carry digests.
"""
import hashlib
import json
import os
import struct
import subprocess
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
        for name, shape in ((f"{i}.bias", (WIDTH,)), (f"{i}.weight", (WIDTH, WIDTH))):  # as safetensors orders them
            array = (rng.random(shape, np.float32) - 0.5) / WIDTH
            header[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [at, at + array.nbytes]}
            at += array.nbytes
            data.append(array.tobytes())
    text = json.dumps(header).encode()
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text + b"".join(data))


def best_of(rounds, functions):
    """The least time of each, all of them in every round."""
    best = {name: float("inf") for name in functions}
    for _ in range(rounds):
        for name, function in functions.items():
            begin = time.time()
            function()
            best[name] = min(best[name], time.time() - begin)
    return best


def main():
    with strata.Server(sys.argv[1]) as server, tempfile.TemporaryDirectory() as folder:
        client = strata.Client(server.address)
        path, out = os.path.join(folder, "in.safetensors"), os.path.join(folder, "out.safetensors")
        write(path)
        size = os.path.getsize(path) / 1e6

        def read_and_hash():
            with open(path, "rb") as f:
                data = f.read()
            hashlib.sha256(data).hexdigest()
            return data

        def and_write():
            with open(out, "wb") as f:
                f.write(read_and_hash())
                f.flush()
                os.fsync(f.fileno())

        def cli(*arguments):
            subprocess.run([os.path.join(sys.argv[1], "strata"), "--server", server.address, *arguments], check=True,
                           stdout=subprocess.DEVNULL)
        model = json_format.ParseDict({"dialect": "PYTORCH", "inputs": [{"name": "x", "shape": [WIDTH]}], "layers": [
            {"linear": {"units": WIDTH}} for _ in range(LAYERS)]}, client.message("strata.v1.Model")())
        client.call("Models", "Create", "CreateModelRequest", "ModelInfo", name="big", model=model)
        before = server.peak_mb()
        client.import_file(path, name="big")
        peak = server.peak_mb()
        best = best_of(5, {
            "read and hash": read_and_hash,
            "read, hash, write and fsync": and_write,
            "import": lambda: client.import_file(path, name="big"),
            "export": lambda: client.export(out, model="big", format=2),
            "strata import": lambda: cli("import", path, "--name", "big"),
            "strata export": lambda: cli("export", "big", out),
        })
        for name, seconds in best.items():
            print(f"{size:.0f} MB: {name} {seconds:.3f} s ({seconds / best['read and hash']:.2f}x)")
        print(f"peak {peak:.0f} MB after one import, {before:.0f} MB before ({(peak - before) / size:.2f}x the file)")


if __name__ == "__main__":
    main()
