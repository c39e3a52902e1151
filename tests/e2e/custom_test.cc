// Custom components over the wire: registered once, used by models in our words and in Keras', trained, published and
// served; and they survive the server.
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

const char kLinear[] = R"j({"component": {"name": "Linear", "kind": "LAYER",
  "hyperparameters": [{"name": "units", "default": 32}],
  "weights": [{"name": "w", "shape": "[x.shape[-1], units]", "initializerExpression": "normal(0, 0.5)"
},
              {"name": "b", "shape": "[units]", "initializerExpression": "zeros()"}],
  "body": "x @ w + b"
}
})j";
const char kLoss[] =
    R"j({"component": {"name": "squared", "kind": "LOSS", "hyperparameters": [{"name": "k", "default": 1}],
  "body": "k * mean((y_true - y_pred) ** 2, axis=-1)"
}
})j";
const char kKeras[] = R"j({"class_name": "Sequential", "config": {"name": "net", "layers": [
  {"class_name": "InputLayer", "config": {"batch_input_shape": [null, 2], "dtype": "float32", "name": "x"}},
  {"class_name": "Linear", "config": {"name": "first", "units": 8}},
  {"class_name": "Lambda", "config": {"name": "bend", "function": "tanh(x * gain)", "arguments": {
  "gain" : 1.5
}
}
},
  {"class_name": "Linear", "config": {"name": "last", "units": 1}}]
}
})j";

class Custom : public testing::Test {
 protected:
  void Start() {
    server_ = std::make_unique<ServerProcess>(dir_ / "data", dir_ / ("server" + std::to_string(starts_++)));
    ASSERT_FALSE(server_->grpc().empty()) << server_->process().Errors();
    const auto channel = grpc::CreateChannel(server_->grpc(), grpc::InsecureChannelCredentials());
    catalog_ = v1::Catalog::NewStub(channel);
    models_ = v1::Models::NewStub(channel);
    training_ = v1::Training::NewStub(channel);
    inference_ = inference::GRPCInferenceService::NewStub(channel);
  }
  void Stop() {
    server_->process().Signal(SIGTERM);
    EXPECT_EQ(server_->process().Wait(30), 0) << server_->process().Errors();
  }

  template <typename Stub, typename Request, typename Response>
  static grpc::Status Call(Stub& stub, grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&, Response*),
                           const Request& request, Response* response) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
    context.set_wait_for_ready(true);
    return (stub.*method)(&context, request, response);
  }
  grpc::Status Register(const std::string& json, v1::CustomComponentInfo* info) {
    return Call(*catalog_, &v1::Catalog::Stub::RegisterComponent, FromJson<v1::RegisterComponentRequest>(json), info);
  }
  grpc::Status CreateKeras(const std::string& json, v1::ModelInfo* info) {
    v1::CreateModelRequest request;
    request.mutable_framework()->set_dialect(v1::KERAS);
    request.mutable_framework()->set_json(json);
    return Call(*models_, &v1::Models::Stub::Create, request, info);
  }

  // Trains on y = x0 - x1; the losses of all steps.
  std::vector<double> Train(int steps) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    const auto stream = training_->Train(&context);
    v1::TrainRequest request;
    request.mutable_start()->set_model("net");
    request.mutable_start()->set_run("r");
    *request.mutable_start()->mutable_config() = FromJson<v1::TrainingConfig>(
        R"j({"objectives": [{"loss": {"custom": {"component": "squared", "hyperparameters": {"k": 2}}}}],
            "optimizer": {"adam": {"learningRate": 0.05}}, "seed": 1})j");
    v1::TrainResponse response;
    std::vector<double> losses;
    bool good = stream->Write(request) && stream->Read(&response);
    for (int i = 1; good && i <= steps; ++i) {
      v1::TrainRequest batch;
      batch.mutable_batch()->set_sequence(i);
      auto& tensors = *batch.mutable_batch()->mutable_tensors();
      std::vector<float> x, y;
      for (int k = 0; k < 8; ++k) {
        const float a = std::sin(static_cast<float>(3 * k + i)), b = std::cos(static_cast<float>(5 * k));
        x.insert(x.end(), {a, b});
        y.push_back(a - b);
      }
      Put({8, 2}, x, &tensors["x"]);
      Put({8, 1}, y, &tensors["target"]);
      good = stream->Write(batch) && stream->Read(&response);
      if (good) losses.push_back(response.step().loss());
    }
    v1::TrainRequest finish;
    finish.mutable_finish();
    stream->Write(finish);
    while (stream->Read(&response)) {
    }
    const grpc::Status status = stream->Finish();
    EXPECT_TRUE(status.ok()) << status.error_message();
    return losses;
  }
  static void Put(const std::vector<int64_t>& shape, const std::vector<float>& values, v1::Tensor* tensor) {
    tensor->set_dtype(v1::FLOAT32);
    tensor->mutable_shape()->Assign(shape.begin(), shape.end());
    tensor->set_data(values.data(), values.size() * sizeof(float));
  }

  float Infer(float a, float b) {
    inference::ModelInferRequest request;
    request.set_model_name("net");
    auto* input = request.add_inputs();
    input->set_name("x");
    input->set_datatype("FP32");
    input->add_shape(1);
    input->add_shape(2);
    const float values[] = {a, b};
    request.add_raw_input_contents(values, sizeof(values));
    inference::ModelInferResponse response;
    const grpc::Status status =
        Call(*inference_, &inference::GRPCInferenceService::Stub::ModelInfer, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    float y = NAN;
    if (status.ok()) std::memcpy(&y, response.raw_output_contents(0).data(), sizeof(y));
    return y;
  }

  service::TempDir dir_;
  int starts_ = 0;
  std::unique_ptr<ServerProcess> server_;
  std::unique_ptr<v1::Catalog::Stub> catalog_;
  std::unique_ptr<v1::Models::Stub> models_;
  std::unique_ptr<v1::Training::Stub> training_;
  std::unique_ptr<inference::GRPCInferenceService::Stub> inference_;
};

TEST_F(Custom, RegisteredTrainedPublishedServed) {
  Start();
  v1::ModelInfo model;
  EXPECT_FALSE(CreateKeras(kKeras, &model).ok()) << "nobody has said what Linear is";

  v1::CustomComponentInfo info;
  ASSERT_TRUE(Register(kLinear, &info).ok());
  EXPECT_EQ(info.component().version(), "1");
  ASSERT_TRUE(Register(kLinear, &info).ok()) << "the same again is no error";
  ASSERT_TRUE(Register(kLoss, &info).ok());
  std::string other = kLinear;
  other.replace(other.find("x @ w + b"), 9, "x @ w - b");
  EXPECT_EQ(Register(other, &info).error_code(), StatusCode::ALREADY_EXISTS);
  std::string wrong = kLinear;
  wrong.replace(wrong.find("x @ w + b"), 9, "x @ w + c");
  const grpc::Status refused = Register(wrong, &info);
  EXPECT_EQ(refused.error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(refused.error_message(), "component.body:1:9: no such name, got \"c\"");

  grpc::Status status = CreateKeras(kKeras, &model);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(model.definition().layers(0).custom().definition().body(), "x @ w + b");
  EXPECT_EQ(model.definition().layers(1).custom().definition().name(), "Lambda");

  const std::vector<double> losses = Train(300);
  ASSERT_EQ(losses.size(), 300u);
  EXPECT_LT(losses.back(), losses.front() / 50);
  v1::PublishRequest publish;
  publish.set_model("net");
  publish.set_run("r");
  v1::VersionInfo version;
  status = Call(*models_, &v1::Models::Stub::Publish, publish, &version);
  ASSERT_TRUE(status.ok()) << status.error_message();
  // A row of the last batch.
  const float a = std::sin(309.0f), b = std::cos(15.0f);
  const float y = Infer(a, b);
  EXPECT_NEAR(y, a - b, 0.15f);

  v1::SummaryRequest summary;
  summary.set_name("net");
  v1::SummaryResponse text;
  ASSERT_TRUE(Call(*models_, &v1::Models::Stub::Summary, summary, &text).ok());
  EXPECT_NE(text.text().find("first (Linear)"), std::string::npos) << text.text();
  EXPECT_NE(text.text().find("bend (Lambda)"), std::string::npos) << text.text();
  Stop();

  // The catalog and the model are still there; the model needs the catalog no more.
  Start();
  v1::GetComponentRequest get;
  get.set_name("Linear");
  ASSERT_TRUE(Call(*catalog_, &v1::Catalog::Stub::GetComponent, get, &info).ok());
  EXPECT_EQ(info.component().body(), "x @ w + b");
  v1::ListComponentsRequest list;
  v1::ListComponentsResponse listed;
  ASSERT_TRUE(Call(*catalog_, &v1::Catalog::Stub::ListComponents, list, &listed).ok());
  EXPECT_EQ(listed.custom_size(), 2);
  v1::DeleteComponentRequest remove;
  remove.set_name("Linear");
  v1::DeleteComponentResponse removed;
  ASSERT_TRUE(Call(*catalog_, &v1::Catalog::Stub::DeleteComponent, remove, &removed).ok());
  EXPECT_EQ(Call(*catalog_, &v1::Catalog::Stub::DeleteComponent, remove, &removed).error_code(), StatusCode::NOT_FOUND);
  EXPECT_EQ(Call(*catalog_, &v1::Catalog::Stub::GetComponent, get, &info).error_code(), StatusCode::NOT_FOUND);
  EXPECT_EQ(Infer(a, b), y);
  Stop();
}

// Definitions may also come with the model, and go before registered ones.
TEST_F(Custom, SentWithTheModel) {
  Start();
  v1::CreateModelRequest request;
  request.mutable_framework()->set_dialect(v1::KERAS);
  request.mutable_framework()->set_json(kKeras);
  *request.mutable_framework()->add_custom_components() = FromJson<v1::RegisterComponentRequest>(kLinear).component();
  v1::ModelInfo model;
  const grpc::Status status = Call(*models_, &v1::Models::Stub::Create, request, &model);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(model.definition().layers(0).custom().hyperparameters().fields().at("units").number_value(), 8);
  Stop();
}

}  // namespace
}  // namespace strata::e2e
