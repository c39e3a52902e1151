// A server with the tiny engine, reached over a channel within the process and over the loopback interface: the same
// test bodies run over both.
#pragma once

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <vector>

#include "inference/open_inference.grpc.pb.h"
#include "service/server.h"
#include "strata/v1/services.grpc.pb.h"
#include "tests/service/fake_engine.h"
#include "tests/service/temp_dir.h"

namespace strata::service {

enum class Transport { kInProcess, kLoopback };

class ServerTest : public testing::TestWithParam<Transport> {
 protected:
  ServerTest();
  ~ServerTest() override;

  void StartServer();
  // Stops the server in order and starts another on the same directory.
  void Restart();

  // "m" with `features` inputs; OK is expected.
  v1::ModelInfo CreateModel(const std::string& name = "m", int64_t features = 2);
  static v1::Model Definition(const std::string& name, int64_t features);
  static v1::TrainingConfig Config(int64_t checkpoint_every = 0);
  static v1::Tensor TensorOf(const std::vector<int64_t>& shape, const std::vector<float>& values);
  // Batch number `sequence`: values follow from the number, so that it can be made again.
  static v1::Batch MakeBatch(uint64_t sequence, int64_t features = 2);
  // Trains `steps` steps and publishes.
  void TrainAndPublish(const std::string& model, const std::string& run, int steps = 3);

  // Calls a unary method; the status says how it ended.
  template <typename Stub, typename Request, typename Response>
  grpc::Status Call(Stub& stub, grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                    const Request& request, Response* response) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
    return (stub.*method)(&context, request, response);
  }

  TempDir dir_;
  std::shared_ptr<FakeEngine::Gate> gate_ = std::make_shared<FakeEngine::Gate>();
  ServerOptions options_;
  std::unique_ptr<Server> server_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::Models::Stub> models_;
  std::unique_ptr<v1::Training::Stub> training_;
  std::unique_ptr<v1::Catalog::Stub> catalog_;
  std::unique_ptr<inference::GRPCInferenceService::Stub> inference_;
};

// One Train stream, used step by step.
class TrainStream {
 public:
  explicit TrainStream(v1::Training::Stub& stub);
  ~TrainStream();

  bool Send(const v1::TrainRequest& request) { return stream_->Write(request); }
  // Sends and reads the answer; empty if the stream ended.
  v1::TrainResponse Ask(const v1::TrainRequest& request);
  v1::TrainResponse Start(const std::string& model, const std::string& run, const v1::TrainingConfig& config);
  v1::TrainResponse Attach(const std::string& run);
  v1::TrainResponse Step(const v1::Batch& batch);
  v1::TrainResponse Checkpoint();
  v1::TrainResponse Finish();
  bool Read(v1::TrainResponse* response) { return stream_->Read(response); }
  void HalfClose() { stream_->WritesDone(); }
  void Cancel() { context_.TryCancel(); }
  // How the stream ended; reads what is left.
  grpc::Status End();

 private:
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::TrainRequest, v1::TrainResponse>> stream_;
  bool ended_ = false;
};

// EXPECTs code and a part of the words.
void ExpectStatus(const grpc::Status& status, grpc::StatusCode code, const std::string& words);

}  // namespace strata::service
