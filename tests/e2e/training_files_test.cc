// Files that carry a training: what Keras' optimizer would do next, a run does that starts from the file; checkpoints
// leave as files and come back as the beginning of a run.

#include <filesystem>
#include <set>

#include "tests/e2e/files_fixture.h"

namespace strata::e2e {
namespace {

using grpc::StatusCode;

constexpr char kTrainings[] = STRATA_SOURCE "/tests/fixtures/keras_training/";

v1::Tensor ToWire(const Tensor& t) {
  v1::Tensor wire;
  wire.set_dtype(t.dtype() == DType::kI32 ? v1::INT32 : v1::FLOAT32);
  for (const int64_t d : t.shape()) wire.add_shape(d);
  wire.set_data(t.raw(), t.size_bytes());
  return wire;
}

// One run over one stream.
class Trainer {
 public:
  Trainer(v1::Training::Stub* stub, const v1::StartRun& start) {
    context_.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(120));
    stream_ = stub->Train(&context_);
    v1::TrainRequest request;
    *request.mutable_start() = start;
    const v1::TrainResponse response = Ask(request);
    run_ = response.attached().run();
    next_ = response.attached().next_sequence();
  }
  bool ok() const { return ok_; }
  const std::string& run() const { return run_; }
  uint64_t next() const { return next_; }
  grpc::Status Finish() {
    stream_->WritesDone();
    return stream_->Finish();
  }

  double Step(const std::map<std::string, const Tensor*>& batch) {
    v1::TrainRequest request;
    request.mutable_batch()->set_sequence(next_++);
    for (const auto& [name, tensor] : batch) (*request.mutable_batch()->mutable_tensors())[name] = ToWire(*tensor);
    return Ask(request).step().loss();
  }
  v1::VersionInfo Publish() {
    v1::TrainRequest request;
    request.mutable_publish()->set_weights(v1::PRESENT);
    return Ask(request).published();
  }
  void Checkpoint() {
    v1::TrainRequest request;
    request.mutable_checkpoint();
    Ask(request);
  }

 private:
  v1::TrainResponse Ask(const v1::TrainRequest& request) {
    v1::TrainResponse response;
    ok_ = ok_ && stream_->Write(request) && stream_->Read(&response);
    return response;
  }
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::TrainRequest, v1::TrainResponse>> stream_;
  bool ok_ = true;
  std::string run_;
  uint64_t next_ = 0;
};

// The tensors that tests/fixtures/keras_training.py writes beside each file.
struct Case {
  explicit Case(const std::string& base) {
    auto parsed = service::ParseTensors(Bytes(base + ".safetensors"));
    EXPECT_TRUE(parsed.ok()) << parsed.status();
    if (parsed.ok()) file = *std::move(parsed);
    for (const auto& [name, tensor] : file.tensors) {
      if (absl::StartsWith(name, "predicted.")) predicted.push_back(&tensor);
    }
  }
  std::map<std::string, const Tensor*> Batch(const std::string& input) const {
    std::map<std::string, const Tensor*> batch{{input, &file.tensors.at("x")}};
    for (size_t i = 0; i < predicted.size(); ++i) {
      batch[i == 0 ? "target" : absl::StrCat("target_", i)] = &file.tensors.at(absl::StrCat("y.", i));
    }
    return batch;
  }
  service::TensorFile file;
  std::vector<const Tensor*> predicted;
};

class TrainingFiles : public Files {
 protected:
  v1::StartRun From(const std::string& model) {
    v1::StartRun start;
    start.set_model(model);
    start.mutable_from();
    return start;
  }
  // Two steps from the model's newest version give Keras' losses and predictions.
  void ExpectGoesOn(const std::string& model, const Case& c, const v1::ImportResponse& imported) {
    ASSERT_TRUE(imported.version().resumable()) << model;
    EXPECT_EQ(imported.warnings_size(), 0) << model << ": " << imported.warnings(0);
    Trainer trainer(training_.get(), From(model));
    ASSERT_TRUE(trainer.ok()) << model << ": " << trainer.Finish().error_message();
    const std::string input = imported.model().definition().inputs(0).name();
    for (int k = 0; k < 2; ++k) {
      const double want = c.file.tensors.at("losses").At(k), got = trainer.Step(c.Batch(input));
      ASSERT_TRUE(trainer.ok()) << model << ": " << trainer.Finish().error_message();
      EXPECT_NEAR(got, want, 1e-5 * std::max(1.0, std::abs(want))) << model << " step " << k;
    }
    trainer.Publish();
    ASSERT_TRUE(trainer.ok()) << model << ": " << trainer.Finish().error_message();
    ExpectPredictions(model, {{input, &c.file.tensors.at("x")}}, c.predicted, 1e-5);
  }
};

TEST_F(TrainingFiles, KerasTrainingsGoOn) {
  int files = 0;
  for (const auto& entry : std::filesystem::directory_iterator(kTrainings)) {
    const std::string ending = entry.path().extension();
    if (ending != ".h5" && ending != ".keras") continue;
    const std::string stem = entry.path().stem();
    const std::string model = absl::StrCat(stem, ending);
    SCOPED_TRACE(model);
    const Case c(absl::StrCat(kTrainings, stem));
    const Imported imported = Import(model, Bytes(entry.path()));
    ASSERT_TRUE(imported.status.ok()) << model << ": " << imported.status.error_message();
    ExpectGoesOn(model, c, imported.response);
    ++files;
  }
  EXPECT_GT(files, 20);
}

// What Keras writes leaves again as it came, in both containers.
TEST_F(TrainingFiles, KerasTrainingsComeBackAsTheyWent) {
  for (const std::string stem : {"adam", "rmsprop", "sgd", "heads", "adamw"}) {
    const Case c(kTrainings + stem);
    ASSERT_TRUE(Import(stem, Bytes(absl::StrCat(kTrainings, stem, ".h5"))).status.ok()) << stem;
    for (const v1::FileFormat format : {v1::KERAS_HDF5, v1::KERAS_ARCHIVE, v1::NATIVE}) {
      const std::string model = absl::StrCat(stem, "-", format);
      SCOPED_TRACE(model);
      const Imported again = Import(model, Export(stem, format));
      ASSERT_TRUE(again.status.ok()) << model << ": " << again.status.error_message();
      ExpectGoesOn(model, c, again.response);
    }
  }
}

// tf.keras 2 keeps Nadam's product in no file, and multiplies it otherwise in each kind of step.
TEST_F(TrainingFiles, NadamGoesOnAsTheContainerMakesIt) {
  const struct {
    const char *stem, *ending;
    v1::FileFormat format;
    int64_t traces;
    bool eager;
  } kCases[] = {{"nadam", ".h5", v1::KERAS_HDF5, 1, false},
                {"nadam_archive", ".keras", v1::KERAS_ARCHIVE, 2, false},
                {"nadam_eager", ".keras", v1::KERAS_ARCHIVE, 1, true}};
  for (const auto& c : kCases) {
    const Imported imported = Import(c.stem, Bytes(absl::StrCat(kTrainings, c.stem, c.ending)));
    ASSERT_TRUE(imported.status.ok()) << c.stem << ": " << imported.status.error_message();
    const v1::NadamProduct& product = imported.response.training().optimizer().nadam_product();
    EXPECT_EQ(product.weights_size(), 6) << c.stem;
    EXPECT_EQ(product.since(), 4) << c.stem;
    EXPECT_EQ(product.traces(), c.traces) << c.stem;
    EXPECT_EQ(product.eager(), c.eager) << c.stem;
    for (const v1::FileFormat format : {c.format, v1::NATIVE}) {
      const std::string model = absl::StrCat(c.stem, "-", format);
      const Imported again = Import(model, Export(c.stem, format));
      ASSERT_TRUE(again.status.ok()) << model << ": " << again.status.error_message();
      ExpectGoesOn(model, Case(absl::StrCat(kTrainings, c.stem)), again.response);
    }
  }
}

TEST_F(TrainingFiles, FunctionalChainsStayFunctional) {
  const Imported plain = Import("plain", Bytes(absl::StrCat(kTrainings, "adagrad.h5")));
  const Imported chain = Import("chain", Bytes(absl::StrCat(kTrainings, "sgd.h5")));
  ASSERT_TRUE(plain.status.ok() && chain.status.ok());
  EXPECT_TRUE(absl::StrContains(Export("plain", v1::KERAS_DEFINITION), R"("class_name":"Functional")"));
  EXPECT_FALSE(absl::StrContains(Export("chain", v1::KERAS_DEFINITION), R"("class_name":"Functional")"));
}

// A run's checkpoint leaves as a file, and a run that starts from the file makes the same steps bit for bit.
TEST_F(TrainingFiles, CheckpointsLeaveAndComeBack) {
  const Case c(absl::StrCat(kTrainings, "adam"));
  const Imported imported = Import("model", Bytes(absl::StrCat(kTrainings, "adam.h5")));
  ASSERT_TRUE(imported.status.ok());
  const auto batch = c.Batch(imported.response.model().definition().inputs(0).name());
  v1::StartRun start = From("model");
  start.set_run("first");
  Trainer first(training_.get(), start);
  for (int k = 0; k < 3; ++k) first.Step(batch);
  first.Checkpoint();
  ASSERT_TRUE(first.ok()) << first.Finish().error_message();
  v1::ExportRequest request;
  request.set_run("first");
  const std::string file = Export(request);
  EXPECT_EQ(file, Export(request)) << "equal content, equal bytes";
  const auto parsed = service::ParseTensors(file);
  ASSERT_TRUE(parsed.ok());
  for (const char* key : {"strata.definition", "strata.training", "strata.digest", "strata.cursor"}) {
    EXPECT_EQ(parsed->metadata.count(key), 1u) << key;
  }
  EXPECT_EQ(parsed->tensors.count("optimizer:a/kernel/v_max"), 1u);

  const Imported back = Import("again", file);
  ASSERT_TRUE(back.status.ok()) << back.status.error_message();
  EXPECT_EQ(back.response.version().run(), "first");
  start = From("again");
  start.set_run("second");
  Trainer second(training_.get(), start);
  ASSERT_TRUE(second.ok()) << second.Finish().error_message();
  EXPECT_EQ(second.next(), first.next());
  for (int k = 0; k < 3; ++k) EXPECT_EQ(first.Step(batch), second.Step(batch)) << k;
  first.Checkpoint();
  second.Checkpoint();
  request.set_run("first");
  const auto one = service::ParseTensors(Export(request));
  request.set_run("second");
  const auto two = service::ParseTensors(Export(request));
  ASSERT_TRUE(one.ok() && two.ok());
  EXPECT_EQ(one->metadata.at("strata.digest"), two->metadata.at("strata.digest"));
  EXPECT_EQ(one->metadata.at("strata.cursor"), two->metadata.at("strata.cursor"));
}

TEST_F(TrainingFiles, WeightsOnlyBeginAnew) {
  const Case c(absl::StrCat(kTrainings, "sgd"));
  const Imported imported = Import("model", Bytes(absl::StrCat(kTrainings, "sgd.h5")));
  v1::StartRun start = From("model");
  start.mutable_from()->set_weights_only(true);
  Trainer trainer(training_.get(), start);
  ASSERT_TRUE(trainer.ok()) << trainer.Finish().error_message();
  EXPECT_EQ(trainer.next(), 1u);
  // The first loss is that of the same weights, the second is not: the velocity began anew.
  const auto batch = c.Batch(imported.response.model().definition().inputs(0).name());
  EXPECT_NEAR(trainer.Step(batch), c.file.tensors.at("losses").At(0), 1e-5);
  EXPECT_GT(std::abs(trainer.Step(batch) - c.file.tensors.at("losses").At(1)), 1e-4);
  // Another optimizer cannot take the state.
  start.mutable_from()->set_weights_only(false);
  *start.mutable_config() = imported.response.training();
  start.mutable_config()->mutable_optimizer()->mutable_adam();
  Trainer refused(training_.get(), start);
  const grpc::Status status = refused.Finish();
  EXPECT_EQ(status.error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_TRUE(absl::StartsWith(status.error_message(), "start.config.optimizer: must be of the kind"))
      << status.error_message();
}

TEST_F(TrainingFiles, EveryUnknownClassIsNamedWithItsPath) {
  v1::ImportStart start;
  start.set_name("custom");
  const std::string text =
      R"({"class_name":"Sequential","keras_version":"2.15.0","config":{"name":"s","layers":[
          {"class_name":"Swirl","config":{"name":"one","batch_input_shape":[null,4]}},
          {"class_name":"Dense","config":{"name":"two","units":2}},
          {"class_name":"Functional","config":{"name":"inner","layers":[
              {"class_name":"InputLayer","name":"i","config":{"name":"i","batch_input_shape":[null,2]},"inbound_nodes":[]},
              {"class_name":"Custom>Twirl","name":"t","config":{"name":"t"},"inbound_nodes":[[["i",0,0,{}]]]}],
            "input_layers":[["i",0,0]],"output_layers":[["t",0,0]]}}]}})";
  const Imported refused = Import(start, text);
  EXPECT_EQ(refused.status.error_code(), StatusCode::UNIMPLEMENTED);
  for (const char* part : {"config.layers[0]: no component for keras Swirl",
                           "config.layers[2].config.layers[1]: no component for keras Custom>Twirl"}) {
    EXPECT_TRUE(absl::StrContains(refused.status.error_message(), part)) << refused.status.error_message();
  }
  // Sent along, they mean something.
  for (const char* name : {"Swirl", "Twirl"}) {
    v1::CustomComponent* d = start.add_custom_components();
    d->set_name(name);
    d->set_kind(v1::CustomComponent::LAYER);
    d->add_inputs("x");
    d->set_body("x * 2");
  }
  const Imported good = Import(start, text);
  EXPECT_TRUE(good.status.ok()) << good.status.error_message();
}

}  // namespace
}  // namespace strata::e2e
