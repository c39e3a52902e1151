// Models.Convert through the real binaries: definition, weights of runs and versions, what is refused, the command
// line.

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <chrono>
#include <cmath>
#include <cstring>
#include <filesystem>
#include <memory>
#include <random>

#include "absl/strings/str_cat.h"
#include "inference/open_inference.grpc.pb.h"
#include "strata/v1/services.grpc.pb.h"
#include "tests/e2e/files_fixture.h"
#include "tests/messages.h"

namespace strata::e2e {
namespace {

using grpc::StatusCode;

constexpr int kRows = 4, kHeight = 8, kWidth = 6, kChannels = 2, kClasses = 3;

class Convert : public Files {
 protected:
  Convert() {
    std::mt19937 random(5);
    std::normal_distribution<float> draw;
    for (int i = 0; i < kRows * kHeight * kWidth * kChannels; ++i) pixels_.push_back(draw(random));
  }

  void Create(const std::string& name) {
    v1::CreateModelRequest request;
    *request.mutable_model() = Parse<v1::Model>(R"(
        dialect: KERAS inputs { name: "x" shape: [8, 6, 2] }
        layers { name: "c" conv2d { filters: 4 kernel_size: 3 activation { relu {} } } }
        layers { name: "b" batch_norm {} } layers { name: "f" flatten {} }
        layers { name: "d" linear { units: 3 kernel_regularizer { l2: 0.01 } } })");
    request.set_name(name);
    grpc::ClientContext context;
    v1::ModelInfo info;
    const grpc::Status status = models_->Create(&context, request, &info);
    ASSERT_TRUE(status.ok()) << status.error_message();
  }

  // Two steps; the run succeeds.
  void Train(const std::string& model, const std::string& run) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    const auto stream = training_->Train(&context);
    v1::TrainRequest request;
    request.mutable_start()->set_model(model);
    request.mutable_start()->set_run(run);
    *request.mutable_start()->mutable_config() = Parse<v1::TrainingConfig>(
        "objectives { loss { sparse_categorical_crossentropy { from_logits: true } } } optimizer { sgd { "
        "learning_rate: 0.1 } }");
    v1::TrainResponse response;
    bool good = stream->Write(request) && stream->Read(&response);
    for (uint64_t sequence : {1, 2}) {
      v1::TrainRequest step;
      step.mutable_batch()->set_sequence(sequence);
      v1::Tensor& x = (*step.mutable_batch()->mutable_tensors())["x"];
      x.set_dtype(v1::FLOAT32);
      for (int64_t d : {kRows, kHeight, kWidth, kChannels}) x.add_shape(d);
      x.set_data(pixels_.data(), pixels_.size() * sizeof(float));
      v1::Tensor& target = (*step.mutable_batch()->mutable_tensors())["target"];
      target.set_dtype(v1::INT64);
      target.add_shape(kRows);
      const int64_t labels[kRows] = {0, 2, 1, 0};
      target.set_data(labels, sizeof(labels));
      good = good && stream->Write(step) && stream->Read(&response);
    }
    v1::TrainRequest finish;
    finish.mutable_finish();
    good = good && stream->Write(finish);
    while (stream->Read(&response)) {
    }
    const grpc::Status status = stream->Finish();
    EXPECT_TRUE(good && status.ok()) << status.error_message();
  }

  grpc::Status Call(const std::string& text, v1::ConvertResponse* response) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    response->Clear();
    return models_->Convert(&context, Parse<v1::ConvertRequest>(text), response);
  }
  void Refused(const std::string& text, StatusCode code, const std::string& words) {
    v1::ConvertResponse response;
    const grpc::Status status = Call(text, &response);
    EXPECT_EQ(status.error_code(), code) << text << ": " << status.error_message();
    EXPECT_NE(status.error_message().find(words), std::string::npos) << status.error_message();
  }

  std::vector<float> Predict(const std::string& model, bool channels_first) {
    inference::ModelInferRequest request;
    request.set_model_name(model);
    auto* input = request.add_inputs();
    input->set_name("x");
    input->set_datatype("FP32");
    std::vector<float> x = pixels_;
    if (channels_first) {
      for (int n = 0; n < kRows; ++n) {
        for (int cell = 0; cell < kHeight * kWidth; ++cell) {
          for (int c = 0; c < kChannels; ++c) {
            x[(n * kChannels + c) * kHeight * kWidth + cell] = pixels_[(n * kHeight * kWidth + cell) * kChannels + c];
          }
        }
      }
      for (int64_t d : {kRows, kChannels, kHeight, kWidth}) input->add_shape(d);
    } else {
      for (int64_t d : {kRows, kHeight, kWidth, kChannels}) input->add_shape(d);
    }
    request.add_raw_input_contents(x.data(), x.size() * sizeof(float));
    grpc::ClientContext context;
    inference::ModelInferResponse response;
    const grpc::Status status = inference_->ModelInfer(&context, request, &response);
    EXPECT_TRUE(status.ok()) << model << ": " << status.error_message();
    std::vector<float> y(kRows * kClasses);
    if (!status.ok() || response.raw_output_contents(0).size() != y.size() * sizeof(float)) return {};
    std::memcpy(y.data(), response.raw_output_contents(0).data(), y.size() * sizeof(float));
    return y;
  }

  void Strata(const std::vector<std::string>& arguments, int want, std::string* output = nullptr) {
    std::vector<std::string> command = {STRATA_BIN "/strata", "--server", server_.grpc()};
    command.insert(command.end(), arguments.begin(), arguments.end());
    Process process(command, dir_ / absl::StrCat("cli", ++commands_));
    EXPECT_EQ(process.Wait(60), want) << arguments[0] << ": " << process.Output() << process.Errors();
    if (output != nullptr) *output = process.Output();
  }

  std::vector<float> pixels_;
  int commands_ = 0;
};

TEST_F(Convert, DefinitionThenRunThenVersion) {
  Create("k");
  v1::ConvertResponse response;
  // Nobody has trained it: the definition alone.
  grpc::Status status = Call(R"(model: "k" name: "p0" dialect: PYTORCH)", &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_FALSE(response.has_version());
  EXPECT_EQ(response.model().definition().dialect(), v1::PYTORCH);
  ASSERT_EQ(response.inputs_size(), 1);
  EXPECT_EQ(std::vector<int64_t>(response.inputs(0).axes().begin(), response.inputs(0).axes().end()),
            (std::vector<int64_t>{0, 3, 1, 2}));
  ASSERT_EQ(response.warnings_size(), 1);
  EXPECT_NE(response.warnings(0).find("kernel_regularizer"), std::string::npos) << response.warnings(0);

  // Nothing is published: the newest run's weights.
  Train("k", "r");
  status = Call(R"(model: "k" name: "p1" dialect: PYTORCH)", &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.version().run(), "r");
  EXPECT_EQ(response.version().step(), 2);

  v1::PublishRequest publish;
  publish.set_model("k");
  publish.set_run("r");
  grpc::ClientContext context;
  v1::VersionInfo info;
  ASSERT_TRUE(models_->Publish(&context, publish, &info).ok());
  const std::vector<float> want = Predict("k", false);
  ASSERT_EQ(want.size(), static_cast<size_t>(kRows * kClasses));
  const auto agrees = [&](const std::string& model, bool channels_first) {
    const std::vector<float> got = Predict(model, channels_first);
    ASSERT_EQ(got.size(), want.size()) << model;
    for (size_t i = 0; i < want.size(); ++i) {
      EXPECT_NEAR(got[i], want[i], 1e-5 * std::max(1.0F, std::abs(want[i]))) << model << " element " << i;
    }
  };
  agrees("p1", true);
  ASSERT_TRUE(Call(R"(model: "k" name: "p2" dialect: PYTORCH version: 1)", &response).ok());
  agrees("p2", true);
  ASSERT_TRUE(Call(R"(model: "k" name: "p3" dialect: PYTORCH run: "r")", &response).ok());
  agrees("p3", true);
  // And back.
  ASSERT_TRUE(Call(R"(model: "p2" name: "k2" dialect: KERAS)", &response).ok());
  agrees("k2", false);
  ASSERT_TRUE(Call(R"(model: "k" name: "p4" dialect: PYTORCH none: true)", &response).ok());
  EXPECT_FALSE(response.has_version());
}

TEST_F(Convert, RefusalsRegisterNothing) {
  Create("k");
  Create("other");
  Refused(R"(model: "k" name: "other" dialect: PYTORCH)", StatusCode::ALREADY_EXISTS, "name: a model has it");
  Refused(R"(model: "k" name: "n" dialect: KERAS)", StatusCode::INVALID_ARGUMENT, "dialect: must be the other one");
  Refused(R"(model: "k" name: "n")", StatusCode::INVALID_ARGUMENT, "dialect: must be PYTORCH or KERAS");
  Refused(R"(model: "nobody" name: "n" dialect: PYTORCH)", StatusCode::NOT_FOUND, "nobody");
  Refused(R"(model: "k" name: "a/b" dialect: PYTORCH)", StatusCode::INVALID_ARGUMENT, "name:");
  Refused(R"(model: "k" name: "n" dialect: PYTORCH run: "nobody")", StatusCode::NOT_FOUND, "nobody");
  Refused(R"(model: "k" name: "n" dialect: PYTORCH version: 7)", StatusCode::NOT_FOUND, "got 7");
  Refused(R"(model: "k" name: "n" dialect: PYTORCH version: -1)", StatusCode::INVALID_ARGUMENT, "version:");
  v1::CreateModelRequest request;
  *request.mutable_model() = Parse<v1::Model>(R"(name: "odd" dialect: KERAS inputs { shape: [6, 4] }
      layers { gru { units: 2 reset_after: false return_sequences: true } } layers { locally_connected1d { filters: 2 kernel_size: 2 } })");
  grpc::ClientContext context;
  v1::ModelInfo info;
  ASSERT_TRUE(models_->Create(&context, request, &info).ok());
  Refused(R"(model: "odd" name: "n" dialect: PYTORCH)", StatusCode::INVALID_ARGUMENT, "layers[0].gru.reset_after");
  Refused(R"(model: "odd" name: "n" dialect: PYTORCH)", StatusCode::INVALID_ARGUMENT, "layers[1].locally_connected1d");
  EXPECT_EQ(NumModels(), 3);
}

TEST_F(Convert, TheCommandLine) {
  Strata({"models", "create", STRATA_SOURCE "/examples/both_dialects/pytorch.json"}, 0);
  std::string output;
  Strata({"models", "convert", "digits", "digits_keras", "--dialect", "keras"}, 0, &output);
  EXPECT_NE(output.find("model digits_keras: Keras, 10 layers"), std::string::npos) << output;
  EXPECT_NE(output.find("input image: axes 0, 2, 3, 1 of the old one"), std::string::npos) << output;
  Strata({"models", "convert", "digits", "digits_keras", "--dialect", "keras"}, 1);
  Strata({"models", "convert", "digits", "x", "--dialect", "latin"}, 2);
  // A file of Keras' with its weights becomes a state dict and comes back.
  const std::string state = dir_ / "cnn.safetensors", again = dir_ / "cnn.strata";
  Strata({"convert", STRATA_SOURCE "/tests/fixtures/keras/cnn.h5", state, "--dialect", "pytorch"}, 0);
  EXPECT_TRUE(std::filesystem::exists(state));
  Strata({"inspect", state}, 0, &output);
  EXPECT_NE(output.find("weight"), std::string::npos) << output;
  Strata({"convert", STRATA_SOURCE "/tests/fixtures/keras/cnn.h5", again, "--dialect", "pytorch"}, 0);
  EXPECT_TRUE(std::filesystem::exists(again));
  Strata({"convert", again, dir_ / "cnn.keras", "--dialect", "keras"}, 0);
  EXPECT_TRUE(std::filesystem::exists(dir_ / "cnn.keras"));
  EXPECT_EQ(NumModels(), 2);  // what was in between is gone
}

}  // namespace
}  // namespace strata::e2e
