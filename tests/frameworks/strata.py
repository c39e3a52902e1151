"""A Strata server and a client of it, without generated code: messages come from the protos' descriptors (protoc).

    with Server("build/bin") as server:
        client = Client(server.address)
        version = client.import_file("net.keras", name="net")
"""
import os
import re
import shutil
import subprocess
import tempfile
import time

import grpc
import numpy as np
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
CHUNK = 1 << 20
OIP = {"float32": "FP32", "float64": "FP64", "int32": "INT32", "int64": "INT64", "bool": "BOOL"}
WIRE = {"float32": "FLOAT32", "float64": "FLOAT64", "int32": "INT32", "int64": "INT64", "bool": "BOOL"}


def _messages():
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "all.pb")
        subprocess.run(["protoc", "-I", "protos", "--include_imports", "-o", out, "strata/v1/services.proto",
                        "inference/open_inference.proto"], cwd=ROOT, check=True)
        with open(out, "rb") as f:
            files = descriptor_pb2.FileDescriptorSet.FromString(f.read())
    pool = descriptor_pool.DescriptorPool()
    for file in files.file:
        pool.AddSerializedFile(file.SerializeToString())
    return lambda name: message_factory.GetMessageClass(pool.FindMessageTypeByName(name))


class Server:
    """A server of its own in a temporary data directory; `peak_mb` is its largest memory so far."""

    def __init__(self, bin_folder):
        self.folder = tempfile.mkdtemp(prefix="strata-frameworks-")
        self.log = open(os.path.join(self.folder, "log"), "w")
        self.process = subprocess.Popen(
            [os.path.join(bin_folder, "strata-server"), "--grpc_address=127.0.0.1:0", "--http_address=127.0.0.1:0",
             "--data_dir=" + os.path.join(self.folder, "data")], stdout=subprocess.PIPE, stderr=self.log, text=True)
        self.address = re.search(r"127\.0\.0\.1:\d+", self.process.stdout.readline()).group(0)

    def peak_mb(self):
        with open(f"/proc/{self.process.pid}/status") as f:
            return int(re.search(r"VmHWM:\s+(\d+)", f.read()).group(1)) / 1024

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(60)
        self.log.close()
        shutil.rmtree(self.folder)


class Client:
    def __init__(self, address):
        self.channel = grpc.insecure_channel(address, options=[("grpc.max_receive_message_length", 64 << 20),
                                                               ("grpc.max_send_message_length", 64 << 20)])
        self.message = _messages()

    def _call(self, kind, method, request_type, response_type):
        return getattr(self.channel, kind)(method, request_serializer=self.message(request_type).SerializeToString,
                                           response_deserializer=self.message(response_type).FromString)

    def call(self, service, method, request_type, response_type, **fields):
        function = self._call("unary_unary", f"/strata.v1.{service}/{method}", "strata.v1." + request_type,
                              "strata.v1." + response_type)
        return function(self.message("strata.v1." + request_type)(**fields))

    def import_bytes(self, data, **start):
        return self._import(len(data), (data[at:at + CHUNK] for at in range(0, len(data), CHUNK)), start)

    def import_file(self, path, **start):
        with open(path, "rb") as f:
            return self._import(os.path.getsize(path), iter(lambda: f.read(CHUNK), b""), start)

    def _import(self, size, chunks, start):
        Request = self.message("strata.v1.ImportRequest")

        def requests():
            yield Request(start=self.message("strata.v1.ImportStart")(size=size, **start))
            for chunk in chunks:
                yield Request(chunk=chunk)
        return self._call("stream_unary", "/strata.v1.Models/Import", "strata.v1.ImportRequest",
                          "strata.v1.ImportResponse")(requests())

    def export(self, path, **fields):
        function = self._call("unary_stream", "/strata.v1.Models/Export", "strata.v1.ExportRequest", "strata.v1.ExportResponse")
        with open(path, "wb") as f:
            for response in function(self.message("strata.v1.ExportRequest")(**fields)):
                f.write(response.chunk)

    def infer(self, model, inputs):
        """Outputs in the model's order."""
        request = self.message("inference.ModelInferRequest")(model_name=model)
        for name, array in inputs.items():
            request.inputs.add(name=name, datatype=OIP[array.dtype.name], shape=array.shape)
            request.raw_input_contents.append(np.ascontiguousarray(array).tobytes())
        response = self._call("unary_unary", "/inference.GRPCInferenceService/ModelInfer", "inference.ModelInferRequest",
                              "inference.ModelInferResponse")(request)
        names = {v: k for k, v in OIP.items()}
        return [np.frombuffer(raw, names[out.datatype]).reshape(list(out.shape))
                for out, raw in zip(response.outputs, response.raw_output_contents)]

    def train(self, batches, **start):
        """A run over one stream, then published: the losses, and the run's name."""
        Request = self.message("strata.v1.TrainRequest")
        losses = []
        pending = [Request(start=self.message("strata.v1.StartRun")(**start))]
        stream = self._call("stream_stream", "/strata.v1.Training/Train", "strata.v1.TrainRequest",
                            "strata.v1.TrainResponse")(_Turns(pending))
        attached = next(stream).attached
        for k, batch in enumerate(batches):
            request = Request()
            request.batch.sequence = attached.next_sequence + k
            for name, array in batch.items():
                request.batch.tensors[name].CopyFrom(self.tensor(array))
            pending.append(request)
            losses.append(next(stream).step.loss)
        publish = Request()
        publish.publish.weights = 1  # PRESENT
        pending.append(publish)
        next(stream)
        finish = Request()
        finish.finish.SetInParent()
        pending.append(finish)
        next(stream)
        pending.append(None)
        for _ in stream:
            pass
        return losses, attached.run

    def tensor(self, array):
        Tensor = self.message("strata.v1.Tensor")
        types = Tensor.DESCRIPTOR.fields_by_name["dtype"].enum_type.values_by_name
        array = np.ascontiguousarray(array)
        return Tensor(dtype=types[WIRE[array.dtype.name]].number, shape=array.shape, data=array.tobytes())


class _Turns:
    """Requests of a stream, one whenever there is one; None ends it."""

    def __init__(self, pending):
        self.pending, self.at = pending, 0

    def __iter__(self):
        return self

    def __next__(self):
        while self.at == len(self.pending):
            time.sleep(0.0005)
        self.at += 1
        request = self.pending[self.at - 1]
        if request is None:
            raise StopIteration
        return request
