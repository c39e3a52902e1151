// Weights that a loss owns, through the real server: they are in a version, its files, and in runs that begin with it.

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "tests/e2e/client_fixture.h"
#include "tests/e2e/files_fixture.h"
#include "tests/messages.h"

namespace strata::e2e {
namespace {

class LossWeights : public Files {
 protected:
  // Sends the requests one after another and returns the evaluation's loss.
  double Run(const std::vector<v1::TrainRequest>& requests) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    const auto stream = training_->Train(&context);
    double loss = -1;
    v1::TrainResponse response;
    for (const v1::TrainRequest& request : requests) {
      if (!stream->Write(request) || !stream->Read(&response)) break;
      if (response.has_evaluate()) loss = response.evaluate().loss();
    }
    stream->WritesDone();
    while (stream->Read(&response)) {
    }
    const grpc::Status status = stream->Finish();
    EXPECT_TRUE(status.ok()) << status.error_message();
    return loss;
  }

  static v1::TrainRequest Data(bool evaluate, uint64_t sequence) {
    std::vector<float> x;
    for (int i = 0; i < 24; ++i) x.push_back(0.1f * static_cast<float>(i % 7) - 0.2f);
    std::vector<int64_t> classes{0, 3, 5, 2};
    v1::Tensor target;
    target.set_dtype(v1::INT64);
    target.add_shape(4);
    target.set_data(classes.data(), classes.size() * sizeof(int64_t));
    v1::TrainRequest request;
    if (!evaluate) request.mutable_batch()->set_sequence(sequence);
    auto& tensors =
        evaluate ? *request.mutable_evaluate()->mutable_tensors() : *request.mutable_batch()->mutable_tensors();
    if (evaluate) request.mutable_evaluate()->set_last(true);
    tensors["input"] = Floats({4, 6}, x);
    tensors["target"] = target;
    return request;
  }

  static v1::TrainRequest Start(const std::string& model, const std::string& config, bool from) {
    v1::TrainRequest request;
    request.mutable_start()->set_model(model);
    *request.mutable_start()->mutable_config() = Parse<v1::TrainingConfig>(config);
    if (from) request.mutable_start()->mutable_from();
    return request;
  }
};

TEST_F(LossWeights, AreInVersionsFilesAndRunsFromThem) {
  const std::string config =
      "objectives { loss { adaptive_log_softmax { in_features: 8 n_classes: 7 cutoffs: 2 cutoffs: 4 div_value: 2 } } } "
      "optimizer { adam { learning_rate: 0.05 } } seed: 4";
  v1::CreateModelRequest create;
  *create.mutable_model() = Parse<v1::Model>(
      "name: 'body' dialect: PYTORCH inputs { shape: 6 } layers { linear { units: 8 } } layers { relu {} }");
  grpc::ClientContext context;
  v1::ModelInfo info;
  ASSERT_TRUE(models_->Create(&context, create, &info).ok());
  std::vector<v1::TrainRequest> requests{Start("body", config, false)};
  for (uint64_t i = 1; i <= 20; ++i) requests.push_back(Data(false, i));
  requests.push_back(Data(true, 0));
  requests.emplace_back().mutable_publish();
  requests.emplace_back().mutable_finish();
  const double trained = Run(requests);
  ASSERT_GT(trained, 0);

  v1::TrainRequest finish;
  finish.mutable_finish();
  EXPECT_EQ(Run({Start("body", config, true), Data(true, 0), finish}), trained);
  // A loss without weights of its own begins with the version too.
  Run({Start("body", "objectives { loss { cross_entropy {} } } optimizer { sgd { learning_rate: 0.1 } }", true),
       Data(true, 0), finish});

  const std::string native = Export("body", v1::NATIVE);
  const Imported again = Import("again", native);
  ASSERT_TRUE(again.status.ok()) << again.status.error_message();
  EXPECT_EQ(Run({Start("again", config, true), Data(true, 0), finish}), trained);

  // A state dict is the module's alone.
  const std::string state = Export("body", v1::PYTORCH_STATE_DICT);
  EXPECT_TRUE(absl::StrContains(state, "0.weight"));
  EXPECT_FALSE(absl::StrContains(state, "objectives"));
  v1::ImportStart start;
  start.set_name("body");
  const Imported dict = Import(start, state);
  ASSERT_TRUE(dict.status.ok()) << dict.status.error_message();
  EXPECT_EQ(dict.response.unexpected_keys_size(), 0);
  EXPECT_EQ(dict.response.missing_keys_size(), 0);
}

}  // namespace
}  // namespace strata::e2e
