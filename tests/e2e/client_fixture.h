// A server process and clients of all its services.
#pragma once

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "engine/base/text_bytes.h"
#include "inference/open_inference.grpc.pb.h"
#include "strata/v1/services.grpc.pb.h"
#include "tests/e2e/process.h"
#include "tests/messages.h"
#include "tests/service/temp_dir.h"

namespace strata::e2e {

class Client : public testing::Test {
 protected:
  explicit Client(const std::vector<std::string>& flags = {})
      : server_(dir_ / "data", dir_ / "server", "127.0.0.1:0", flags) {
    channel_ = grpc::CreateChannel(server_.grpc(), grpc::InsecureChannelCredentials());
    catalog_ = v1::Catalog::NewStub(channel_);
    models_ = v1::Models::NewStub(channel_);
    training_ = v1::Training::NewStub(channel_);
    inference_ = inference::GRPCInferenceService::NewStub(channel_);
  }
  // Whatever a test sent, the server ends in order.
  ~Client() override {
    server_.process().Signal(SIGTERM);
    EXPECT_EQ(server_.process().Wait(60), 0) << server_.process().Errors();
  }

  template <typename Stub, typename Request, typename Response>
  static grpc::Status Call(Stub& stub, grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                           const Request& request, Response* response) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    return (stub.*method)(&context, request, response);
  }

  grpc::Status Create(const v1::Model& model, v1::ModelInfo* info = nullptr) {
    v1::CreateModelRequest request;
    *request.mutable_model() = model;
    v1::ModelInfo ignored;
    return Call(*models_, &v1::Models::Stub::Create, request, info == nullptr ? &ignored : info);
  }

  // Sends each request of a Train stream after the answer to the one before; the last answer.
  grpc::Status Train(const std::vector<v1::TrainRequest>& requests, std::vector<v1::TrainResponse>* responses) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(120));
    const auto stream = training_->Train(&context);
    v1::TrainResponse response;
    for (const v1::TrainRequest& request : requests) {
      if (!stream->Write(request) || !stream->Read(&response)) break;
      responses->push_back(response);
    }
    stream->WritesDone();
    while (stream->Read(&response)) {
    }
    return stream->Finish();
  }

  // Starts a run, trains on the batches, publishes and finishes; the losses of the steps.
  grpc::Status TrainAndPublish(const std::string& model, const v1::TrainingConfig& config,
                               const std::vector<std::map<std::string, v1::Tensor>>& batches,
                               std::vector<double>* losses) {
    std::vector<v1::TrainRequest> requests(1);
    requests[0].mutable_start()->set_model(model);
    *requests[0].mutable_start()->mutable_config() = config;
    for (size_t i = 0; i < batches.size(); ++i) {
      v1::Batch* batch = requests.emplace_back().mutable_batch();
      batch->set_sequence(i + 1);
      for (const auto& [name, tensor] : batches[i]) (*batch->mutable_tensors())[name] = tensor;
    }
    requests.emplace_back().mutable_publish();
    requests.emplace_back().mutable_finish();
    std::vector<v1::TrainResponse> responses;
    const grpc::Status status = Train(requests, &responses);
    for (const v1::TrainResponse& r : responses) {
      if (r.has_step() && losses != nullptr) losses->push_back(r.step().loss());
    }
    return status;
  }

  service::TempDir dir_;
  ServerProcess server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::Catalog::Stub> catalog_;
  std::unique_ptr<v1::Models::Stub> models_;
  std::unique_ptr<v1::Training::Stub> training_;
  std::unique_ptr<inference::GRPCInferenceService::Stub> inference_;
};

inline v1::Tensor Floats(const std::vector<int64_t>& shape, const std::vector<float>& values) {
  v1::Tensor tensor;
  tensor.set_dtype(v1::FLOAT32);
  tensor.mutable_shape()->Add(shape.begin(), shape.end());
  tensor.set_data(values.data(), values.size() * sizeof(float));
  return tensor;
}

inline std::string TextBytes(const std::vector<std::string>& texts) {
  std::string bytes;
  for (const std::string& text : texts) AppendText(text, &bytes);
  return bytes;
}
inline v1::Tensor Texts(const std::vector<int64_t>& shape, const std::vector<std::string>& texts) {
  v1::Tensor tensor;
  tensor.set_dtype(v1::BYTES);
  tensor.mutable_shape()->Add(shape.begin(), shape.end());
  tensor.set_data(TextBytes(texts));
  return tensor;
}

inline void ExpectRefused(const grpc::Status& status, const std::string& words) {
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT) << status.error_message();
  EXPECT_TRUE(absl::StrContains(status.error_message(), words))
      << "\"" << status.error_message() << "\" must contain \"" << words << "\"";
}

}  // namespace strata::e2e
