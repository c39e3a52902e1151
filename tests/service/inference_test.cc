// The Open Inference Protocol over the wire.

#include <gtest/gtest.h>

#include <cstring>
#include <thread>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "grpc/health/v1/health.grpc.pb.h"
#include "tests/service/server_fixture.h"

namespace strata::service {
namespace {

using grpc::StatusCode;
using Stub = inference::GRPCInferenceService::Stub;

class Inference : public ServerTest {
 protected:
  static inference::ModelInferRequest Request(const std::string& model, const std::vector<float>& x) {
    inference::ModelInferRequest request;
    request.set_model_name(model);
    auto* input = request.add_inputs();
    input->set_name("x");
    input->set_datatype("FP32");
    input->add_shape(static_cast<int64_t>(x.size() / 2));
    input->add_shape(2);
    request.add_raw_input_contents(x.data(), x.size() * sizeof(float));
    return request;
  }
  grpc::Status Infer(const inference::ModelInferRequest& request, inference::ModelInferResponse* response) {
    return Call(*inference_, &Stub::ModelInfer, request, response);
  }
  static std::vector<float> Floats(const std::string& raw) {
    std::vector<float> values(raw.size() / sizeof(float));
    std::memcpy(values.data(), raw.data(), raw.size());
    return values;
  }
};

TEST_P(Inference, ServerAndModelReadiness) {
  inference::ServerLiveResponse live;
  ASSERT_TRUE(Call(*inference_, &Stub::ServerLive, inference::ServerLiveRequest(), &live).ok());
  EXPECT_TRUE(live.live());
  inference::ServerReadyResponse ready;
  ASSERT_TRUE(Call(*inference_, &Stub::ServerReady, inference::ServerReadyRequest(), &ready).ok());
  EXPECT_TRUE(ready.ready());
  CreateModel();
  inference::ModelReadyRequest ask;
  ask.set_name("m");
  inference::ModelReadyResponse model;
  ASSERT_TRUE(Call(*inference_, &Stub::ModelReady, ask, &model).ok());
  EXPECT_FALSE(model.ready());
  TrainAndPublish("m", "r");
  ASSERT_TRUE(Call(*inference_, &Stub::ModelReady, ask, &model).ok());
  EXPECT_TRUE(model.ready());
  ask.set_version("2");
  ASSERT_TRUE(Call(*inference_, &Stub::ModelReady, ask, &model).ok());
  EXPECT_FALSE(model.ready());
  inference::ServerMetadataResponse server;
  ASSERT_TRUE(Call(*inference_, &Stub::ServerMetadata, inference::ServerMetadataRequest(), &server).ok());
  EXPECT_EQ(server.name(), "strata");
}

TEST_P(Inference, HealthFollowsTheModels) {
  using grpc::health::v1::HealthCheckResponse;
  const auto stub = grpc::health::v1::Health::NewStub(channel_);
  const auto check = [&](const std::string& service) {
    grpc::health::v1::HealthCheckRequest request;
    request.set_service(service);
    HealthCheckResponse response;
    grpc::ClientContext context;
    const grpc::Status status = stub->Check(&context, request, &response);
    return status.ok() ? static_cast<int>(response.status()) : -static_cast<int>(status.error_code());
  };
  grpc::ClientContext context;
  grpc::health::v1::HealthCheckRequest watched;
  watched.set_service("m");
  const auto watch = stub->Watch(&context, watched);
  HealthCheckResponse seen;
  const auto next = [&] { return watch->Read(&seen) ? static_cast<int>(seen.status()) : -1; };
  EXPECT_EQ(check(""), HealthCheckResponse::SERVING);
  EXPECT_EQ(check("strata.v1.Training"), HealthCheckResponse::SERVING);
  EXPECT_EQ(check("m"), -StatusCode::NOT_FOUND);
  EXPECT_EQ(next(), HealthCheckResponse::SERVICE_UNKNOWN);
  CreateModel();
  TrainAndPublish("m", "r");
  EXPECT_EQ(check("m"), HealthCheckResponse::SERVING);
  EXPECT_EQ(next(), HealthCheckResponse::SERVING);
  v1::DeleteModelRequest remove;
  remove.set_name("m");
  v1::DeleteModelResponse removed;
  ASSERT_TRUE(Call(*models_, &v1::Models::Stub::Delete, remove, &removed).ok());
  EXPECT_EQ(check("m"), -StatusCode::NOT_FOUND);
  EXPECT_EQ(next(), HealthCheckResponse::SERVICE_UNKNOWN);
  // A model that is called like a service does not speak for it.
  CreateModel("strata.v1.Training");
  remove.set_name("strata.v1.Training");
  ASSERT_TRUE(Call(*models_, &v1::Models::Stub::Delete, remove, &removed).ok());
  EXPECT_EQ(check("strata.v1.Training"), HealthCheckResponse::SERVING);
  context.TryCancel();
  EXPECT_EQ(next(), -1);
}

TEST_P(Inference, HealthSaysNoBeforeTheServerStops) {
  options_.lame_duck = absl::Seconds(1);
  Restart();
  const auto stub = grpc::health::v1::Health::NewStub(channel_);
  grpc::ClientContext context;
  const auto watch = stub->Watch(&context, grpc::health::v1::HealthCheckRequest());
  grpc::health::v1::HealthCheckResponse seen;
  ASSERT_TRUE(watch->Read(&seen));
  EXPECT_EQ(seen.status(), grpc::health::v1::HealthCheckResponse::SERVING);
  std::thread stop([&] { server_->Shutdown(); });
  EXPECT_TRUE(watch->Read(&seen));
  EXPECT_EQ(seen.status(), grpc::health::v1::HealthCheckResponse::NOT_SERVING);
  EXPECT_FALSE(watch->Read(&seen));  // the stream does not hold the server up
  stop.join();
}

TEST_P(Inference, MetadataAndConfig) {
  CreateModel();
  TrainAndPublish("m", "a");
  TrainAndPublish("m", "b");
  inference::ModelMetadataRequest request;
  request.set_name("m");
  inference::ModelMetadataResponse metadata;
  ASSERT_TRUE(Call(*inference_, &Stub::ModelMetadata, request, &metadata).ok());
  EXPECT_EQ(absl::StrJoin(metadata.versions(), ","), "1,2");
  ASSERT_EQ(metadata.inputs_size(), 1);
  EXPECT_EQ(metadata.inputs(0).datatype(), "FP32");
  EXPECT_EQ(absl::StrJoin(metadata.inputs(0).shape(), ","), "-1,2");
  EXPECT_EQ(metadata.outputs(1).datatype(), "FP64");
  inference::ModelConfigRequest ask;
  ask.set_name("m");
  inference::ModelConfigResponse config;
  ASSERT_TRUE(Call(*inference_, &Stub::ModelConfig, ask, &config).ok());
  EXPECT_EQ(config.config().max_batch_size(), 128);
  EXPECT_EQ(absl::StrJoin(config.config().input(0).dims(), ","), "2");
  EXPECT_EQ(config.config().input(0).data_type(), inference::TYPE_FP32);
}

TEST_P(Inference, RawAndTypedContentsGiveTheSameAnswer) {
  CreateModel();
  TrainAndPublish("m", "r", 30);
  inference::ModelInferRequest request = Request("m", {1, 2, 3, 4, 5, 6});
  request.set_id("my id");
  inference::ModelInferResponse raw, typed;
  ASSERT_TRUE(Infer(request, &raw).ok());
  EXPECT_EQ(raw.id(), "my id");
  EXPECT_EQ(raw.model_version(), "1");
  ASSERT_EQ(raw.outputs_size(), 2);
  EXPECT_EQ(raw.outputs(0).name(), "y");
  EXPECT_EQ(absl::StrJoin(raw.outputs(0).shape(), ","), "3,1");
  request.clear_raw_input_contents();
  for (int i = 1; i <= 6; ++i) request.mutable_inputs(0)->mutable_contents()->add_fp32_contents(static_cast<float>(i));
  ASSERT_TRUE(Infer(request, &typed).ok());
  EXPECT_EQ(typed.raw_output_contents(0), raw.raw_output_contents(0));
  request.add_outputs()->set_name("twice");
  ASSERT_TRUE(Infer(request, &typed).ok());
  ASSERT_EQ(typed.outputs_size(), 1);
  EXPECT_EQ(typed.raw_output_contents(0), raw.raw_output_contents(1));
}

TEST_P(Inference, VersionsAreIsolatedFromTrainingAndFromEachOther) {
  CreateModel();
  TrainStream stream(*training_);
  ASSERT_TRUE(stream.Start("m", "r", Config()).has_attached());
  v1::TrainRequest publish;
  publish.mutable_publish()->set_description("early");
  ASSERT_TRUE(stream.Step(MakeBatch(1)).has_step());
  EXPECT_EQ(stream.Ask(publish).published().version(), 1);
  inference::ModelInferResponse first, again, second;
  ASSERT_TRUE(Infer(Request("m", {1, 1}), &first).ok());
  for (uint64_t i = 2; i <= 20; ++i) ASSERT_TRUE(stream.Step(MakeBatch(i)).has_step());
  ASSERT_TRUE(Infer(Request("m", {1, 1}), &again).ok());
  EXPECT_EQ(again.raw_output_contents(0), first.raw_output_contents(0));
  EXPECT_EQ(stream.Ask(publish).published().version(), 2);
  ASSERT_TRUE(Infer(Request("m", {1, 1}), &second).ok());
  EXPECT_EQ(second.model_version(), "2");
  EXPECT_NE(second.raw_output_contents(0), first.raw_output_contents(0));
  inference::ModelInferRequest old = Request("m", {1, 1});
  old.set_model_version("1");
  ASSERT_TRUE(Infer(old, &again).ok());
  EXPECT_EQ(again.raw_output_contents(0), first.raw_output_contents(0));
  v1::RollbackRequest rollback;
  rollback.set_model("m");
  v1::VersionInfo info;
  ASSERT_TRUE(Call(*models_, &v1::Models::Stub::Rollback, rollback, &info).ok());
  EXPECT_EQ(info.version(), 1);
  EXPECT_TRUE(info.serving());
  ASSERT_TRUE(Infer(Request("m", {1, 1}), &again).ok());
  EXPECT_EQ(again.model_version(), "1");
  ExpectStatus(Call(*models_, &v1::Models::Stub::Rollback, rollback, &info), StatusCode::FAILED_PRECONDITION,
               "has no version before");
  // After a restart the same version serves the same bytes.
  stream.Cancel();
  stream.End();
  Restart();
  ASSERT_TRUE(Infer(Request("m", {1, 1}), &again).ok());
  EXPECT_EQ(again.model_version(), "1");
  EXPECT_EQ(again.raw_output_contents(0), first.raw_output_contents(0));
  old.set_model_version("2");  // not in memory: loaded by the request
  ASSERT_TRUE(Infer(old, &again).ok());
  EXPECT_EQ(again.raw_output_contents(0), second.raw_output_contents(0));
}

TEST_P(Inference, ManyClientsGetTheirOwnAnswers) {
  CreateModel();
  TrainAndPublish("m", "r", 10);
  inference::ModelInferResponse one;
  ASSERT_TRUE(Infer(Request("m", {1, 0, 0, 1}), &one).ok());
  const std::vector<float> w = Floats(one.raw_output_contents(0));
  std::vector<std::thread> clients;
  for (int c = 0; c < 8; ++c) {
    clients.emplace_back([&, c] {
      for (int i = 0; i < 30; ++i) {
        inference::ModelInferResponse response;
        const float a = static_cast<float>(c), b = static_cast<float>(i);
        ASSERT_TRUE(Infer(Request("m", {a, b}), &response).ok());
        ASSERT_FLOAT_EQ(Floats(response.raw_output_contents(0))[0], w[0] * a + w[1] * b);
      }
    });
  }
  for (std::thread& client : clients) client.join();
}

TEST_P(Inference, ADeadlineIsHonouredBeforeTheModelRuns) {
  CreateModel("slow");
  TrainAndPublish("slow", "r");
  gate_->Set(false);
  std::thread first([&] {
    inference::ModelInferResponse response;
    EXPECT_TRUE(Infer(Request("slow", {1, 1}), &response).ok());
  });
  gate_->AwaitWaiting(1);
  inference::ModelInferRequest hurried = Request("slow", {1, 1});
  (*hurried.mutable_parameters())["timeout"].set_int64_param(1);  // a microsecond
  grpc::Status status;
  std::thread second([&] {
    inference::ModelInferResponse response;
    status = Infer(hurried, &response);
  });
  // A third request behind them is answered, so both had their turn.
  gate_->Set(true);
  inference::ModelInferResponse response;
  EXPECT_TRUE(Infer(Request("slow", {1, 1}), &response).ok());
  first.join();
  second.join();
  ExpectStatus(status, StatusCode::DEADLINE_EXCEEDED, "deadline passed");
}

TEST_P(Inference, MetricsSayWhatHappened) {
  CreateModel();
  TrainAndPublish("m", "r", 5);
  inference::ModelInferResponse response;
  ASSERT_TRUE(Infer(Request("m", {1, 1}), &response).ok());
  ASSERT_FALSE(Infer(Request("invented", {1, 1}), &response).ok());
  const std::string text = server_->MetricsText();
  for (const char* line :
       {"strata_training_steps_total{model=\"m\"} 5", "strata_training_step{model=\"m\",run=\"r\"} 5",
        "strata_inference_requests_total{code=\"OK\",model=\"m\"} 1",
        "strata_rpc_handled_total{code=\"NOT_FOUND\",method=\"GRPCInferenceService/ModelInfer\"} 1",
        "strata_build_info{version=\"0.1.0\"} 1", "strata_versions_loaded 1"}) {
    EXPECT_NE(text.find(line), std::string::npos) << line << " is missing in\n" << text;
  }
  EXPECT_EQ(text.find("invented"), std::string::npos);
  v1::DeleteModelRequest remove;
  remove.set_name("m");
  v1::DeleteModelResponse removed;
  ASSERT_TRUE(Call(*models_, &v1::Models::Stub::Delete, remove, &removed).ok());
  EXPECT_EQ(server_->MetricsText().find("model=\"m\""), std::string::npos);
}

INSTANTIATE_TEST_SUITE_P(Transports, Inference, testing::Values(Transport::kInProcess, Transport::kLoopback),
                         [](const auto& info) {
                           return info.param == Transport::kInProcess ? "InProcess" : "Loopback";
                         });

}  // namespace
}  // namespace strata::service
