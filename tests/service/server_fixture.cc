#include "tests/service/server_fixture.h"

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace strata::service {

ServerTest::ServerTest() {
  options_ = {.grpc_address = "127.0.0.1:0",
              .http_address = "",
              .data_dir = dir_.path(),
              .threads = 1,
              .inference_threads = 1,
              .drain = absl::Seconds(30)};
  StartServer();
}

ServerTest::~ServerTest() {
  gate_->Set(true);
  channel_ = nullptr;
  server_ = nullptr;
}

void ServerTest::StartServer() {
  auto server = Server::Start(options_, std::make_unique<FakeEngine>(gate_));
  ASSERT_TRUE(server.ok()) << server.status();
  server_ = *std::move(server);
  channel_ = GetParam() == Transport::kInProcess
                 ? server_->InProcessChannel()
                 : grpc::CreateChannel(server_->grpc_address(), grpc::InsecureChannelCredentials());
  models_ = v1::Models::NewStub(channel_);
  training_ = v1::Training::NewStub(channel_);
  catalog_ = v1::Catalog::NewStub(channel_);
  inference_ = inference::GRPCInferenceService::NewStub(channel_);
}

void ServerTest::Restart() {
  channel_ = nullptr;
  server_ = nullptr;
  StartServer();
}

v1::Model ServerTest::Definition(const std::string& name, int64_t features) {
  v1::Model model;
  model.set_name(name);
  model.set_dialect(v1::PYTORCH);
  v1::Input* input = model.add_inputs();
  input->set_name("x");
  input->add_shape(features);
  return model;
}

v1::ModelInfo ServerTest::CreateModel(const std::string& name, int64_t features) {
  v1::CreateModelRequest request;
  *request.mutable_model() = Definition(name, features);
  v1::ModelInfo info;
  const grpc::Status status = Call(*models_, &v1::Models::Stub::Create, request, &info);
  EXPECT_TRUE(status.ok()) << status.error_message();
  return info;
}

v1::TrainingConfig ServerTest::Config(int64_t checkpoint_every) {
  v1::TrainingConfig config;
  config.add_objectives();
  config.set_checkpoint_every_steps(checkpoint_every);
  return config;
}

v1::Tensor ServerTest::TensorOf(const std::vector<int64_t>& shape, const std::vector<float>& values) {
  v1::Tensor tensor;
  tensor.set_dtype(v1::FLOAT32);
  tensor.mutable_shape()->Assign(shape.begin(), shape.end());
  tensor.set_data(values.data(), values.size() * sizeof(float));
  return tensor;
}

v1::Batch ServerTest::MakeBatch(uint64_t sequence, int64_t features) {
  constexpr int64_t kRows = 4;
  std::vector<float> x, target;
  for (int64_t row = 0; row < kRows; ++row) {
    float sum = 0;
    for (int64_t i = 0; i < features; ++i) {
      x.push_back(static_cast<float>((sequence * 7 + static_cast<uint64_t>(row * 3 + i * 5)) % 11) / 11.f);
      sum += x.back() * static_cast<float>(i + 1);
    }
    target.push_back(sum);
  }
  v1::Batch batch;
  batch.set_sequence(sequence);
  (*batch.mutable_tensors())["x"] = TensorOf({kRows, features}, x);
  (*batch.mutable_tensors())["target"] = TensorOf({kRows}, target);
  return batch;
}

void ServerTest::TrainAndPublish(const std::string& model, const std::string& run, int steps) {
  TrainStream stream(*training_);
  ASSERT_TRUE(stream.Start(model, run, Config()).has_attached());
  for (int i = 1; i <= steps; ++i) ASSERT_TRUE(stream.Step(MakeBatch(static_cast<uint64_t>(i))).has_step());
  v1::TrainRequest publish;
  publish.mutable_publish();
  ASSERT_TRUE(stream.Ask(publish).has_published());
  ASSERT_TRUE(stream.Finish().has_finished());
}

TrainStream::TrainStream(v1::Training::Stub& stub) {
  context_.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
  stream_ = stub.Train(&context_);
}

TrainStream::~TrainStream() {
  if (ended_) return;
  Cancel();
  End();
}

grpc::Status TrainStream::End() {
  ended_ = true;
  v1::TrainResponse ignored;
  while (stream_->Read(&ignored)) {
  }
  return stream_->Finish();
}

v1::TrainResponse TrainStream::Ask(const v1::TrainRequest& request) {
  v1::TrainResponse response;
  if (!stream_->Write(request) || !stream_->Read(&response)) response.Clear();
  return response;
}

v1::TrainResponse TrainStream::Start(const std::string& model, const std::string& run,
                                     const v1::TrainingConfig& config) {
  v1::TrainRequest request;
  request.mutable_start()->set_model(model);
  request.mutable_start()->set_run(run);
  *request.mutable_start()->mutable_config() = config;
  return Ask(request);
}

v1::TrainResponse TrainStream::Attach(const std::string& run) {
  v1::TrainRequest request;
  request.mutable_attach()->set_run(run);
  return Ask(request);
}

v1::TrainResponse TrainStream::Step(const v1::Batch& batch) {
  v1::TrainRequest request;
  *request.mutable_batch() = batch;
  return Ask(request);
}

v1::TrainResponse TrainStream::Checkpoint() {
  v1::TrainRequest request;
  request.mutable_checkpoint();
  return Ask(request);
}

v1::TrainResponse TrainStream::Finish() {
  v1::TrainRequest request;
  request.mutable_finish();
  return Ask(request);
}

void ExpectStatus(const grpc::Status& status, grpc::StatusCode code, const std::string& words) {
  EXPECT_EQ(status.error_code(), code) << status.error_message();
  EXPECT_TRUE(absl::StrContains(status.error_message(), words))
      << "\"" << status.error_message() << "\" must contain \"" << words << "\"";
}

}  // namespace strata::service
