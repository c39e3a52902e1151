// Data directories and checkpoints that older servers wrote.

#include <gtest/gtest.h>

#include <fstream>

#include "service/core/native_file.h"
#include "service/core/training_state.h"
#include "service/store/schema.h"
#include "service/store/store.h"
#include "strata/v1/services.pb.h"
#include "tests/service/temp_dir.h"

namespace strata::service {
namespace {

// A file in the store's folder, as it was written before checkpoints had definitions.
FileStamp WriteOldFile(const TempDir& dir, const std::string& name, const NamedTensors& tensors) {
  const std::string bytes = TensorFileBytes(
      tensors, {{"model", "m"}, {"run", "r"}, {"step", "3"}, {"position", "4"}, {"threads", "2"}, {"build", "old"}});
  std::ofstream(dir / name, std::ios::binary) << bytes;
  return {.digest = Sha256Hex(bytes), .bytes = bytes.size()};
}

NamedTensors OldCheckpoint() {
  NamedTensors tensors;
  tensors["weight:w"] = Tensor::Of<float>(DType::kF32, {2}, {1, 2});
  tensors["optimizer:w/momentum"] = Tensor::Of<float>(DType::kF32, {2}, {3, 4});
  tensors["session:counters"] = Tensor::Of<double>(DType::kI64, {3}, {3, 3, 9});
  tensors["session:learning_rate"] = Tensor::Scalar(0.1, DType::kF64);
  return tensors;
}

// The registry of the first release: no components, no trainings of versions.
void WriteSchema1(const TempDir& dir, const FileStamp& version, const FileStamp& checkpoint) {
  auto db = Database::Open(dir / "registry.sqlite", /*read_only=*/false);
  ASSERT_TRUE(db.ok()) << db.status();
  ASSERT_TRUE(db->Execute(kSchema).ok());
  ASSERT_TRUE(db->Execute("PRAGMA user_version = 1").ok());
  ASSERT_TRUE(db->Execute("INSERT INTO models(name, definition, digest, created, serving_version, last_version) "
                          "VALUES('m', 'bytes', 'd', 5, 1, 1)")
                  .ok());
  ASSERT_TRUE(db->Prepare("INSERT INTO versions(model_id, version, run, step, created, description, digest, bytes) "
                          "VALUES(1, 1, 'r', 3, 5, 'old', ?, ?)")
                  .Bind(1, version.digest)
                  .Bind(2, static_cast<int64_t>(version.bytes))
                  .Run()
                  .ok());
  ASSERT_TRUE(db->Prepare("INSERT INTO runs(name, model_id, config, state, created, updated, durable_through, digest, "
                          "bytes) VALUES('r', 1, '', 2, 5, 5, 3, ?, ?)")
                  .Bind(1, checkpoint.digest)
                  .Bind(2, static_cast<int64_t>(checkpoint.bytes))
                  .Run()
                  .ok());
  ASSERT_TRUE(db->Execute("INSERT INTO history VALUES(1, 4, 3, 0, 'row')").ok());
}

TEST(Migration, SchemaOneBecomesTheNewest) {
  TempDir dir;
  ASSERT_TRUE(DataDir::Open(dir.path()).ok());
  NamedTensors weights;
  weights["w"] = Tensor::Of<float>(DType::kF32, {2}, {1, 2});
  const FileStamp version = WriteOldFile(dir, "versions/1-1.safetensors", weights);
  const FileStamp checkpoint = WriteOldFile(dir, "checkpoints/1-3.safetensors", OldCheckpoint());
  WriteSchema1(dir, version, checkpoint);
  for (int opened = 0; opened < 2; ++opened) {
    auto store = Store::Open(dir.path());
    ASSERT_TRUE(store.ok()) << store.status();
    const auto versions = *(*store)->Versions();
    ASSERT_EQ(versions.size(), opened == 0 ? 1u : 2u);
    EXPECT_FALSE(versions[0].HasTraining());
    EXPECT_EQ((*store)->ReadVersion(versions[0])->tensors.at("w").At(1), 2);
    const auto runs = *(*store)->Runs();
    ASSERT_EQ(runs.size(), 1u);
    EXPECT_EQ(runs[0].state, v1::INTERRUPTED);
    ASSERT_TRUE(runs[0].HasCheckpoint());
    const auto file = (*store)->ReadCheckpoint(runs[0]);
    ASSERT_TRUE(file.ok()) << file.status();
    EXPECT_EQ(file->tensors.at("optimizer:w/momentum").At(0), 3);
    EXPECT_EQ((*store)->ReadStep(1, 3)->payload, "row");
    EXPECT_TRUE((*store)->Components()->empty());
    if (opened == 1) {
      const auto training = TrainingFrom(*(*store)->ReadVersionTraining(versions[1]));
      ASSERT_TRUE(training.ok()) << training.status();
      EXPECT_EQ(training->config.seed(), 7u);
      EXPECT_EQ(training->step(), 3);
      break;
    }
    // What is new works in the old directory.
    ComponentRecord component{.name = "c", .version = "1", .definition = "d"};
    ASSERT_TRUE((*store)->AddComponent(&component).ok());
    ASSERT_TRUE((*store)->DeleteComponent(component.id).ok());
    TrainingState training;
    training.config.set_seed(7);
    NamedTensors ignored;
    SplitCheckpoint(OldCheckpoint(), &ignored, &training.tensors);
    const TensorFile training_file = ToFile(std::move(training));
    VersionRecord newer{.model_id = 1};
    ASSERT_TRUE((*store)->AddVersion(&newer, ViewsOf(weights), {}, &training_file).ok());
  }
}

// A checkpoint of today is a file that models are imported from; one of earlier servers holds the same tensors.
TEST(Migration, CheckpointsAreNativeFiles) {
  v1::Model model;
  model.set_name("m");
  v1::TrainingConfig config;
  config.set_seed(3);
  const NamedTensors tensors = OldCheckpoint();
  const Metadata metadata = CheckpointMetadata({.definition = &model,
                                                .training = &config,
                                                .model = "m",
                                                .run = "r",
                                                .build = "b",
                                                .step = 3,
                                                .position = 4,
                                                .threads = 2},
                                               tensors);
  const std::string bytes = TensorFileBytes(tensors, metadata);
  EXPECT_EQ(bytes, TensorFileBytes(OldCheckpoint(), metadata)) << "equal content, equal bytes";
  const auto native = ReadNative(*ParseTensors(bytes));
  ASSERT_TRUE(native.ok()) << native.status();
  EXPECT_EQ(native->definition.name(), "m");
  EXPECT_EQ(native->training->seed(), 3u);
  EXPECT_EQ(native->run, "r");
  EXPECT_EQ(native->step, 3);
  EXPECT_EQ(native->weights.at("w").At(1), 2);
  EXPECT_EQ(native->state.at("optimizer:w/momentum").At(1), 4);
  EXPECT_EQ(native->state.count("weight:w"), 0u);
  EXPECT_EQ(metadata.at("strata.cursor"), R"({"epoch":1,"epoch_steps":0,"next_sequence":4})");

  // One bit of a slot is told from its digest, a later form is refused.
  std::string bad = bytes;
  bad.back() = static_cast<char>(bad.back() ^ 1);
  EXPECT_EQ(ReadNative(*ParseTensors(bad)).status().code(), absl::StatusCode::kDataLoss);
  Metadata later = metadata;
  later["strata.version"] = "3";
  EXPECT_EQ(ReadNative(*ParseTensors(TensorFileBytes(tensors, later))).status().code(),
            absl::StatusCode::kUnimplemented);
}

// A run and the checkpoint that it begins with are there together or not at all.
TEST(Migration, ARunThatBeginsWithACheckpoint) {
  TempDir dir;
  auto store = *Store::Open(dir.path());
  ModelRecord model{.name = "m", .definition = "x", .digest = "d"};
  ASSERT_TRUE(store->AddModel(&model).ok());
  const TensorFile start{.tensors = OldCheckpoint(), .metadata = {}};
  RunRecord run{.name = "r", .model_id = model.id, .state = v1::QUEUED, .durable_through = 0};
  ASSERT_TRUE(store->AddRun(&run, &start).ok());
  EXPECT_TRUE(run.HasCheckpoint());
  RunRecord taken{.name = "r", .model_id = model.id, .state = v1::QUEUED};
  EXPECT_EQ(store->AddRun(&taken, &start).code(), absl::StatusCode::kAlreadyExists);
  store = nullptr;
  store = *Store::Open(dir.path());
  const auto runs = *store->Runs();
  ASSERT_EQ(runs.size(), 1u);
  ASSERT_TRUE(runs[0].HasCheckpoint());
  EXPECT_EQ(store->ReadCheckpoint(runs[0])->tensors.size(), start.tensors.size());
  // The next checkpoint takes the first one's place.
  run = runs[0];
  ASSERT_TRUE(store->SaveCheckpoint(&run, 5, OldCheckpoint(), {}).ok());
  EXPECT_TRUE(store->ReadCheckpoint(run).ok());
}

}  // namespace
}  // namespace strata::service
