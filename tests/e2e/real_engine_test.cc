// Bad input that only the real engine can judge: the words reach the client, and the server answers the next good
// request.

#include <google/protobuf/text_format.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <cmath>
#include <cstring>
#include <memory>

#include "inference/open_inference.grpc.pb.h"
#include "strata/v1/services.grpc.pb.h"
#include "tests/e2e/process.h"
#include "tests/messages.h"
#include "tests/service/temp_dir.h"

namespace strata::e2e {
namespace {

using grpc::StatusCode;

class RealEngine : public testing::Test {
 protected:
  RealEngine() : server_(dir_ / "data", dir_ / "server") { Connect(server_); }
  // What follows goes to this server.
  void Connect(const ServerProcess& server) {
    channel_ = grpc::CreateChannel(server.grpc(), grpc::InsecureChannelCredentials());
    models_ = v1::Models::NewStub(channel_);
    training_ = v1::Training::NewStub(channel_);
    inference_ = inference::GRPCInferenceService::NewStub(channel_);
  }
  ~RealEngine() override {
    // Still there, and still able to train.
    EXPECT_TRUE(
        Create("name: \"after\" dialect: PYTORCH inputs { name: \"x\" shape: 2 } layers { linear { units: 2 } }").ok());
    EXPECT_TRUE(Train("after", "after", kConfig, {Batch(1, {1, 2}, {0})}).ok());
    server_.process().Signal(SIGTERM);
    EXPECT_EQ(server_.process().Wait(30), 0) << server_.process().Errors();
  }

  grpc::Status Create(const std::string& model) {
    v1::CreateModelRequest request;
    *request.mutable_model() = Parse<v1::Model>(model);
    return CreateRequest(request);
  }
  grpc::Status CreateRequest(const v1::CreateModelRequest& request) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
    v1::ModelInfo info;
    return models_->Create(&context, request, &info);
  }

  static v1::TrainRequest Batch(uint64_t sequence, const std::vector<float>& x, const std::vector<int64_t>& target) {
    v1::TrainRequest request;
    request.mutable_batch()->set_sequence(sequence);
    const int64_t rows = static_cast<int64_t>(target.size());
    v1::Tensor& input = (*request.mutable_batch()->mutable_tensors())["x"];
    input.set_dtype(v1::FLOAT32);
    input.add_shape(rows);
    input.add_shape(static_cast<int64_t>(x.size()) / rows);
    input.set_data(x.data(), x.size() * sizeof(float));
    v1::Tensor& labels = (*request.mutable_batch()->mutable_tensors())["target"];
    labels.set_dtype(v1::INT64);
    labels.add_shape(rows);
    labels.set_data(target.data(), target.size() * sizeof(int64_t));
    return request;
  }
  // Starts a run, sends the requests one by one and finishes; how the stream ended.
  grpc::Status Train(const std::string& model, const std::string& run, const std::string& config,
                     const std::vector<v1::TrainRequest>& requests, v1::TrainResponse* last = nullptr) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    const auto stream = training_->Train(&context);
    v1::TrainRequest start;
    start.mutable_start()->set_model(model);
    start.mutable_start()->set_run(run);
    *start.mutable_start()->mutable_config() = Parse<v1::TrainingConfig>(config);
    v1::TrainResponse response;
    bool good = stream->Write(start) && stream->Read(&response);
    for (const v1::TrainRequest& request : requests) {
      good = good && stream->Write(request) && stream->Read(&response);
      if (good && last != nullptr) *last = response;
    }
    v1::TrainRequest finish;
    finish.mutable_finish();
    good = good && stream->Write(finish) && stream->Read(&response);
    while (stream->Read(&response)) {
    }
    return stream->Finish();
  }

  static constexpr const char* kConfig =
      "objectives { loss { cross_entropy {} } } optimizer { sgd { learning_rate: 0.1 } }";
  service::TempDir dir_;
  ServerProcess server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::Models::Stub> models_;
  std::unique_ptr<v1::Training::Stub> training_;
  std::unique_ptr<inference::GRPCInferenceService::Stub> inference_;
};

void Expect(const grpc::Status& status, StatusCode code, const std::string& words) {
  EXPECT_EQ(status.error_code(), code) << status.error_message();
  EXPECT_NE(status.error_message().find(words), std::string::npos)
      << "\"" << status.error_message() << "\" must contain \"" << words << "\"";
}

TEST_F(RealEngine, Definitions) {
  const std::string x = "name: \"m\" inputs { name: \"x\" shape: 4 } ";
  std::string nested = "linear { units: 1 }";
  for (int i = 0; i < 40; ++i) nested = "model { inputs { name: \"x\" shape: 4 } layers { " + nested + " } }";
  const struct {
    const char* name;
    std::string model;
    StatusCode code;
    const char* words;
  } kCases[] = {
      {"no dialect", x + "layers { linear { units: 1 } }", StatusCode::INVALID_ARGUMENT, "dialect"},
      {"no layers", x + "dialect: PYTORCH", StatusCode::INVALID_ARGUMENT, "layers"},
      {"required field", x + "dialect: PYTORCH layers { linear {} }", StatusCode::INVALID_ARGUMENT,
       "layers[0].linear.units"},
      {"out of range", x + "dialect: PYTORCH layers { linear { units: 0 } }", StatusCode::INVALID_ARGUMENT,
       "layers[0].linear.units: must be >= 1, got 0"},
      {"negative", x + "dialect: PYTORCH layers { linear { units: -3 } }", StatusCode::INVALID_ARGUMENT, "got -3"},
      {"field of the other dialect", x + "dialect: PYTORCH layers { linear { units: 1 activation { relu {} } } }",
       StatusCode::INVALID_ARGUMENT, "layers[0].linear.activation"},
      {"layer of the other dialect", x + "dialect: KERAS layers { batch_norm1d {} }", StatusCode::INVALID_ARGUMENT,
       "layers[0]"},
      {"unknown edge",
       x + "dialect: PYTORCH layers { name: \"a\" linear { units: 1 } } calls { layer: \"a\" args { call: \"z\" } }",
       StatusCode::INVALID_ARGUMENT, "\"z\""},
      {"unknown layer",
       x + "dialect: PYTORCH layers { name: \"a\" linear { units: 1 } } calls { layer: \"b\" args { call: \"x\" } }",
       StatusCode::INVALID_ARGUMENT, "\"b\""},
      {"shapes that do not fit", x + "dialect: PYTORCH layers { conv2d { filters: 1 kernel_size: 3 } }",
       StatusCode::INVALID_ARGUMENT, "must have 4 axes"},
      {"a model bomb", x + "dialect: PYTORCH layers { linear { units: 1000000000000 } }",
       StatusCode::RESOURCE_EXHAUSTED, "parameters"},
      {"nesting too deep", x + "dialect: PYTORCH layers { " + nested + " }", StatusCode::INVALID_ARGUMENT, "32"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    Expect(Create(c.model), c.code, c.words);
  }
}

TEST_F(RealEngine, Batches) {
  ASSERT_TRUE(
      Create("name: \"m\" dialect: PYTORCH inputs { name: \"x\" shape: 2 } layers { linear { units: 3 } }").ok());
  const v1::TrainRequest good = Batch(1, {1, 2, 3, 4}, {0, 2});
  v1::TrainRequest missing = Batch(2, {1, 2}, {0});
  missing.mutable_batch()->mutable_tensors()->erase("target");
  v1::TrainRequest extra = Batch(2, {1, 2}, {0});
  (*extra.mutable_batch()->mutable_tensors())["z"] = extra.batch().tensors().at("x");
  v1::TrainRequest rows = Batch(2, {1, 2, 3, 4}, {0, 1});
  rows.mutable_batch()->mutable_tensors()->at("target").set_shape(0, 1);
  rows.mutable_batch()->mutable_tensors()->at("target").mutable_data()->resize(8);
  const struct {
    const char* name;
    v1::TrainRequest request;
    const char* words;
  } kCases[] = {
      {"target missing", missing, "target"},
      {"unknown tensor", extra, "z"},
      {"features", Batch(2, {1, 2, 3}, {0}), "x"},
      {"rows differ", rows, "rows"},
  };
  int i = 0;
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    Expect(Train("m", "bad" + std::to_string(++i), kConfig, {good, c.request}), StatusCode::INVALID_ARGUMENT, c.words);
  }
  v1::TrainResponse last;
  EXPECT_TRUE(Train("m", "nan", kConfig, {good, Batch(2, {NAN, 2}, {0})}, &last).ok());
  EXPECT_TRUE(last.step().skipped());
  Expect(Train("m", "fails", std::string(kConfig) + " non_finite: FAIL_RUN", {good, Batch(2, {INFINITY, 2}, {0})}),
         StatusCode::FAILED_PRECONDITION, "finite");
  Expect(Train("m", "no loss", "optimizer { sgd {} }", {}), StatusCode::INVALID_ARGUMENT, "start.run: must match");
  Expect(Train("m", "noloss", "optimizer { sgd {} }", {}), StatusCode::INVALID_ARGUMENT, "objectives");
  Expect(Train("m", "nooptimizer", "objectives { loss { cross_entropy {} } }", {}), StatusCode::INVALID_ARGUMENT,
         "optimizer");
  Expect(Train("m", "rate", "objectives { loss { cross_entropy {} } } optimizer { sgd { learning_rate: -1 } }", {}),
         StatusCode::INVALID_ARGUMENT, "learning_rate");
  Expect(Train("m", "output", "objectives { output: \"z\" loss { cross_entropy {} } } optimizer { sgd {} }", {}),
         StatusCode::INVALID_ARGUMENT, "");
}

// States go from batch to batch until a batch resets them; a summary takes what Keras' takes.
TEST_F(RealEngine, StatefulLayersAndSummaries) {
  const std::string model = R"(name: "s" dialect: KERAS inputs { name: "x" shape: 1 batch_size: 2 }
      layers { reshape { target_shape: [1, 1] } } layers { lstm { units: 2 stateful: true } }
      layers { name: "head" model { layers { linear { units: 1 } } } })";
  ASSERT_TRUE(Create(model).ok());
  const std::string config = "objectives { loss { mean_squared_error {} } } optimizer { sgd { learning_rate: 0 } }";
  const auto loss_of = [&](const char* run, int batches, bool reset) {
    std::vector<v1::TrainRequest> requests;
    for (int i = 1; i <= batches; ++i) requests.push_back(Batch(static_cast<uint64_t>(i), {1, 2}, {0, 1}));
    requests.back().mutable_batch()->set_reset_states(reset);
    v1::TrainResponse last;
    EXPECT_TRUE(Train("s", run, config, requests, &last).ok());
    return last.step().loss();
  };
  const double first = loss_of("first", 1, false), second = loss_of("second", 2, false);
  EXPECT_NE(first, second);
  EXPECT_EQ(loss_of("reset", 2, true), first);

  const auto summary = [&](const std::string& fields, v1::SummaryResponse* response) {
    grpc::ClientContext context;
    return models_->Summary(&context, Parse<v1::SummaryRequest>("name: \"s\" " + fields), response);
  };
  v1::SummaryResponse response;
  ASSERT_TRUE(summary("line_length: 60 expand_nested: true show_trainable: true", &response).ok());
  EXPECT_NE(response.text().find("| dense (Dense)"), std::string::npos) << response.text();
  EXPECT_NE(response.text().find(std::string(71, '_') + "\n"), std::string::npos) << response.text();
  Expect(summary("positions: 1", &response), StatusCode::INVALID_ARGUMENT, "positions: must be 3");
  Expect(summary("style: PYTORCH_PRINT show_trainable: true", &response), StatusCode::INVALID_ARGUMENT,
         "show_trainable");
}

// A schedule, accumulation, an average of weights and best weights in one run, interrupted by the death of the server.
TEST_F(RealEngine, WhatATrainingRemembersSurvivesTheServer) {
  auto mortal = std::make_unique<ServerProcess>(dir_ / "mortal", dir_ / "mortal-server");
  Connect(*mortal);
  ASSERT_TRUE(
      Create("name: \"m\" dialect: PYTORCH inputs { name: \"x\" shape: 2 } layers { linear { units: 3 } }").ok());
  const std::string config =
      "objectives { loss { cross_entropy {} } } optimizer { sgd { learning_rate: 0.5 momentum: 0.9 } schedule { "
      "plateau "
      "{ patience: 0 factor: 0.5 threshold: 0 } } moving_average { momentum: 0.5 } } accumulate_steps: 2 "
      "keep_best {} early_stopping { patience: 9 } checkpoint_every_steps: 1 seed: 5";
  const auto evaluate = [](const std::vector<float>& x, const std::vector<int64_t>& target) {
    v1::TrainRequest request;
    *request.mutable_evaluate()->mutable_tensors() = Batch(1, x, target).batch().tensors();
    request.mutable_evaluate()->set_last(true);
    return request;
  };
  // Each pair of steps makes an update; evaluations on another label never get better after the first.
  std::vector<v1::TrainRequest> all;
  for (uint64_t i = 1; i <= 6; ++i) {
    all.push_back(Batch(i, {1, 2, 3, 4}, {0, 2}));
    if (i % 2 == 0) all.push_back(evaluate({1, 2}, {1}));
  }
  // What each choice of weights predicts, bit for bit.
  const auto predictions = [&](const std::string& run) {
    std::vector<std::string> out;
    for (const v1::WeightChoice choice : {v1::PRESENT, v1::AVERAGED, v1::BEST}) {
      v1::PublishRequest request;
      request.set_model("m");
      request.set_run(run);
      request.set_weights(choice);
      grpc::ClientContext publish, predict;
      v1::VersionInfo info;
      const grpc::Status status = models_->Publish(&publish, request, &info);
      EXPECT_TRUE(status.ok()) << status.error_message();
      inference::ModelInferRequest infer;
      infer.set_model_name("m");
      infer.set_model_version(std::to_string(info.version()));
      auto* input = infer.add_inputs();
      input->set_name("x");
      input->set_datatype("FP32");
      input->add_shape(2);
      input->add_shape(2);
      for (const float v : {1.f, 0.f, 0.5f, -1.f}) input->mutable_contents()->add_fp32_contents(v);
      inference::ModelInferResponse response;
      EXPECT_TRUE(inference_->ModelInfer(&predict, infer, &response).ok());
      out.push_back(response.raw_output_contents_size() > 0 ? response.raw_output_contents(0) : "");
    }
    return out;
  };
  v1::TrainResponse last;
  ASSERT_TRUE(Train("m", "whole", config, all, &last).ok());
  EXPECT_EQ(last.evaluate().learning_rate(), 0.125);
  const std::vector<std::string> expected = predictions("whole");
  EXPECT_NE(expected[0], expected[1]);
  EXPECT_NE(expected[0], expected[2]);
  EXPECT_EQ(expected[0].size(), 2 * 3 * sizeof(float));

  // The same in two attachments, with a killed server between a step and its update.
  {
    grpc::ClientContext context;
    const auto stream = training_->Train(&context);
    v1::TrainRequest start;
    start.mutable_start()->set_model("m");
    start.mutable_start()->set_run("parts");
    *start.mutable_start()->mutable_config() = Parse<v1::TrainingConfig>(config);
    v1::TrainResponse response;
    ASSERT_TRUE(stream->Write(start) && stream->Read(&response));
    for (int i = 0; i < 4; ++i) ASSERT_TRUE(stream->Write(all[i]) && stream->Read(&response));
    v1::TrainRequest checkpoint;
    checkpoint.mutable_checkpoint();
    ASSERT_TRUE(stream->Write(checkpoint) && stream->Read(&response));
    ASSERT_EQ(response.checkpoint().durable_through(), 3u);
    mortal->process().Signal(SIGKILL);
    EXPECT_EQ(mortal->process().Wait(30), 128 + SIGKILL);
  }
  mortal = std::make_unique<ServerProcess>(dir_ / "mortal", dir_ / "mortal-again");
  Connect(*mortal);
  grpc::ClientContext context;
  const auto stream = training_->Train(&context);
  v1::TrainRequest attach;
  attach.mutable_attach()->set_run("parts");
  v1::TrainResponse response;
  ASSERT_TRUE(stream->Write(attach) && stream->Read(&response));
  EXPECT_EQ(response.attached().next_sequence(), 4u);
  for (size_t i = 4; i < all.size(); ++i) ASSERT_TRUE(stream->Write(all[i]) && stream->Read(&response)) << i;
  EXPECT_EQ(response.evaluate().learning_rate(), 0.125);
  v1::TrainRequest finish;
  finish.mutable_finish();
  ASSERT_TRUE(stream->Write(finish) && stream->Read(&response));
  while (stream->Read(&response)) {
  }
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_EQ(predictions("parts"), expected);
  Connect(server_);
}

}  // namespace
}  // namespace strata::e2e
