// A server and its clients for tests of model files.
#pragma once

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <cmath>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "inference/open_inference.grpc.pb.h"
#include "service/store/safetensors.h"
#include "strata/v1/services.grpc.pb.h"
#include "tests/e2e/process.h"
#include "tests/service/temp_dir.h"

namespace strata::e2e {

inline constexpr char kFixtures[] = STRATA_SOURCE "/tests/fixtures/";

inline std::string Bytes(const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::stringstream buffer;
  buffer << in.rdbuf();
  EXPECT_TRUE(static_cast<bool>(in)) << path;
  return buffer.str();
}

struct Imported {
  grpc::Status status;
  v1::ImportResponse response;
};

// Sends a whole file in chunks.
inline Imported ImportFile(v1::Models::StubInterface& models, const v1::ImportStart& start, const std::string& bytes,
                           size_t chunk = 1 << 20, std::chrono::seconds patience = std::chrono::seconds(120)) {
  Imported result;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + patience);
  const auto writer = models.Import(&context, &result.response);
  v1::ImportRequest request;
  *request.mutable_start() = start;
  bool open = writer->Write(request);
  for (size_t at = 0; open && at < bytes.size(); at += chunk) {
    request.set_chunk(bytes.substr(at, chunk));
    open = writer->Write(request);
  }
  writer->WritesDone();
  result.status = writer->Finish();
  return result;
}

class Files : public testing::Test {
 protected:
  Files() : server_(dir_ / "data", dir_ / "server") {
    channel_ = grpc::CreateChannel(server_.grpc(), grpc::InsecureChannelCredentials());
    models_ = v1::Models::NewStub(channel_);
    inference_ = inference::GRPCInferenceService::NewStub(channel_);
    training_ = v1::Training::NewStub(channel_);
  }
  ~Files() override {
    server_.process().Signal(SIGTERM);
    EXPECT_EQ(server_.process().Wait(30), 0) << server_.process().Errors();
  }

  Imported Import(const v1::ImportStart& start, const std::string& bytes, size_t chunk = 7000) {
    return ImportFile(*models_, start, bytes, chunk, std::chrono::seconds(60));
  }
  Imported Import(const std::string& name, const std::string& bytes) {
    v1::ImportStart start;
    start.set_name(name);
    return Import(start, bytes);
  }

  std::string Export(const std::string& model, v1::FileFormat format) {
    v1::ExportRequest request;
    request.set_model(model);
    request.set_format(format);
    return Export(request);
  }
  std::string Export(const v1::ExportRequest& request) {
    grpc::ClientContext context;
    const auto reader = models_->Export(&context, request);
    v1::ExportResponse response;
    std::string bytes;
    int64_t size = -1;
    while (reader->Read(&response)) {
      if (response.has_header()) size = response.header().size();
      bytes += response.chunk();
    }
    const grpc::Status status = reader->Finish();
    EXPECT_TRUE(status.ok()) << request.model() << " " << v1::FileFormat_Name(request.format()) << ": "
                             << status.error_message();
    EXPECT_EQ(size, static_cast<int64_t>(bytes.size()));
    return bytes;
  }

  // Predicts on `inputs` and compares with `outputs`, in the order in which the model lists its own.
  void ExpectPredictions(const std::string& model, const std::map<std::string, const Tensor*>& inputs,
                         const std::vector<const Tensor*>& outputs, double tolerance = 2e-6) {
    inference::ModelInferRequest request;
    request.set_model_name(model);
    for (const auto& [name, tensor] : inputs) {
      auto* input = request.add_inputs();
      input->set_name(name);
      input->set_datatype(tensor->dtype() == DType::kI32 ? "INT32" : "FP32");
      for (int64_t d : tensor->shape()) input->add_shape(d);
      request.add_raw_input_contents(tensor->raw(), tensor->size_bytes());
    }
    grpc::ClientContext context;
    inference::ModelInferResponse response;
    const grpc::Status status = inference_->ModelInfer(&context, request, &response);
    ASSERT_TRUE(status.ok()) << model << ": " << status.error_message();
    ASSERT_EQ(response.raw_output_contents_size(), static_cast<int>(outputs.size())) << model;
    for (size_t i = 0; i < outputs.size(); ++i) {
      const std::string& raw = response.raw_output_contents(static_cast<int>(i));
      ASSERT_EQ(raw.size(), outputs[i]->size_bytes()) << model;
      for (int64_t k = 0; k < outputs[i]->num_elements(); ++k) {
        float got;
        std::memcpy(&got, raw.data() + k * sizeof(float), sizeof(float));
        const double want = outputs[i]->At(k);
        ASSERT_NEAR(got, want, tolerance * std::max(1.0, std::abs(want)))
            << model << " output " << i << " element " << k;
      }
    }
  }

  void ExpectKeras(const std::string& model, const service::TensorFile& file) {
    std::map<std::string, const Tensor*> inputs;
    std::vector<const Tensor*> outputs;
    for (const auto& [name, tensor] : file.tensors) {
      if (absl::StartsWith(name, "input.")) inputs[name.substr(6)] = &tensor;
      if (absl::StartsWith(name, "output.")) outputs.push_back(&tensor);
    }
    ExpectPredictions(model, inputs, outputs);
  }

  int NumModels() {
    grpc::ClientContext context;
    v1::ListModelsResponse response;
    EXPECT_TRUE(models_->List(&context, v1::ListModelsRequest(), &response).ok());
    return response.models_size();
  }

  service::TempDir dir_;
  ServerProcess server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::Models::Stub> models_;
  std::unique_ptr<inference::GRPCInferenceService::Stub> inference_;
  std::unique_ptr<v1::Training::Stub> training_;
};

}  // namespace strata::e2e
