// What survives, and what is refused.

#include "service/store/store.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <fstream>

#include "absl/strings/match.h"
#include "strata/v1/services.pb.h"
#include "tests/service/temp_dir.h"

namespace strata::service {
namespace {

NamedTensors Weights(float value) {
  NamedTensors tensors;
  tensors.emplace("w", Tensor::Of<float>(DType::kF32, {2, 2}, {value, 2, 3, 4}));
  tensors.emplace("step", Tensor::Scalar(7, DType::kI64));
  return tensors;
}

std::unique_ptr<Store> MustOpen(const std::string& path) {
  auto store = Store::Open(path);
  EXPECT_TRUE(store.ok()) << store.status();
  return *std::move(store);
}

ModelRecord AddModel(Store& store, const std::string& name) {
  ModelRecord model{.name = name, .definition = "bytes\0of it", .digest = "d", .created = absl::FromUnixSeconds(5)};
  EXPECT_TRUE(store.AddModel(&model).ok());
  return model;
}

RunRecord AddRun(Store& store, int64_t model_id, const std::string& name) {
  RunRecord run{.name = name, .model_id = model_id, .config = "c", .state = v1::RUNNING};
  run.created = run.updated = absl::FromUnixSeconds(6);
  EXPECT_TRUE(store.AddRun(&run).ok());
  return run;
}

std::vector<int64_t> Steps(Store& store, int64_t run_id) {
  std::vector<int64_t> steps;
  const std::vector<HistoryRow> rows = *store.ReadHistory(run_id, 0, 0, 1000);
  for (const HistoryRow& row : rows) steps.push_back(row.step);
  return steps;
}

std::vector<std::string> Files(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) names.push_back(entry.path().filename());
  std::sort(names.begin(), names.end());
  return names;
}

TEST(Store, KeepsModelsVersionsRunsAndHistory) {
  TempDir dir;
  {
    auto store = MustOpen(dir.path());
    const ModelRecord model = AddModel(*store, "m");
    VersionRecord version{.model_id = model.id, .run = "r", .step = 3, .description = "first"};
    ASSERT_TRUE(store->AddVersion(&version, ViewsOf(Weights(1)), {{"k", "v"}}).ok());
    EXPECT_EQ(version.version, 1);
    RunRecord run = AddRun(*store, model.id, "r");
    run.state = v1::SUCCEEDED;
    ASSERT_TRUE(store->UpdateRun(run).ok());
    ASSERT_TRUE(store->Append({{run.id, 1, 1, false, "a"}, {run.id, 2, 1, true, "b"}}, {}).ok());
  }
  auto store = MustOpen(dir.path());
  const auto models = *store->Models();
  ASSERT_EQ(models.size(), 1u);
  EXPECT_EQ(models[0].serving_version, 1);
  EXPECT_EQ(models[0].created, absl::FromUnixSeconds(5));
  const auto versions = *store->Versions();
  ASSERT_EQ(versions.size(), 1u);
  EXPECT_EQ(versions[0].description, "first");
  const auto file = store->ReadVersion(versions[0]);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->tensors.at("w").At(0), 1);
  EXPECT_EQ(file->metadata.at("k"), "v");
  EXPECT_EQ(store->Runs()->at(0).state, v1::SUCCEEDED);
  EXPECT_EQ(store->ReadLast(1, true)->payload, "b");
  EXPECT_EQ(store->ReadStep(1, 1)->payload, "a");
  EXPECT_EQ(store->ReadStep(1, 2).status().code(), absl::StatusCode::kNotFound);
}

TEST(Store, NamesAreUnique) {
  TempDir dir;
  auto store = MustOpen(dir.path());
  const ModelRecord model = AddModel(*store, "m");
  ModelRecord again{.name = "m"};
  EXPECT_EQ(store->AddModel(&again).code(), absl::StatusCode::kAlreadyExists);
  AddRun(*store, model.id, "r");
  RunRecord run{.name = "r", .model_id = model.id};
  EXPECT_EQ(store->AddRun(&run).code(), absl::StatusCode::kAlreadyExists);
  RunRecord orphan{.name = "o", .model_id = 99};
  EXPECT_EQ(store->AddRun(&orphan).code(), absl::StatusCode::kNotFound);
}

TEST(Store, AnOpenRunIsInterruptedAndLosesWhatItsCheckpointDoesNotHave) {
  TempDir dir;
  {
    auto store = MustOpen(dir.path());
    RunRecord run = AddRun(*store, AddModel(*store, "m").id, "r");
    std::vector<HistoryRow> rows;
    for (int64_t i = 1; i <= 10; ++i) rows.push_back({run.id, i, i, false, "x"});
    ASSERT_TRUE(store->Append(rows, {}).ok());
    ASSERT_TRUE(store->SaveCheckpoint(&run, 6, Weights(6), {}).ok());
  }
  auto store = MustOpen(dir.path());
  const RunRecord run = store->Runs()->at(0);
  EXPECT_EQ(run.state, v1::INTERRUPTED);
  EXPECT_EQ(run.durable_through, 6);
  EXPECT_EQ(Steps(*store, run.id), (std::vector<int64_t>{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(store->ReadCheckpoint(run)->tensors.at("w").At(0), 6);
}

TEST(Store, ANewCheckpointReplacesTheOldOne) {
  TempDir dir;
  auto store = MustOpen(dir.path());
  RunRecord run = AddRun(*store, AddModel(*store, "m").id, "r");
  ASSERT_TRUE(store->SaveCheckpoint(&run, 1, Weights(1), {}).ok());
  ASSERT_TRUE(store->SaveCheckpoint(&run, 2, Weights(2), {}).ok());
  EXPECT_EQ(Files(dir / "checkpoints"), std::vector<std::string>{"1-2.safetensors"});
}

// A process that dies between any two steps of writing a file leaves the old state.
TEST(Store, AKilledWriterLeavesTheOldCheckpoint) {
  TempDir dir;
  {
    auto store = MustOpen(dir.path());
    RunRecord run = AddRun(*store, AddModel(*store, "m").id, "r");
    ASSERT_TRUE(store->SaveCheckpoint(&run, 1, Weights(1), {}).ok());
  }
  const struct {
    const char* name;
    const char* left_over;
  } kCases[] = {
      {"before the rename", "checkpoints/1-2.safetensors.tmp"},
      {"between the rename and the commit", "checkpoints/1-2.safetensors"},
      {"a version before its commit", "versions/1-1.safetensors"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    std::ofstream(dir / c.left_over) << "half a file";
    auto store = MustOpen(dir.path());
    const RunRecord run = store->Runs()->at(0);
    EXPECT_EQ(run.durable_through, 1);
    EXPECT_EQ(store->ReadCheckpoint(run)->tensors.at("w").At(0), 1);
    EXPECT_FALSE(std::filesystem::exists(dir / c.left_over));
  }
}

// The same with a real process and a real SIGKILL at a random moment.
TEST(Store, SigkillAtAnyMomentLosesNothingThatWasAcknowledged) {
  TempDir dir;
  const unsigned seed = static_cast<unsigned>(::getpid());
  SCOPED_TRACE(testing::Message() << "seed " << seed);
  srand(seed);
  {
    auto store = MustOpen(dir.path());
    AddRun(*store, AddModel(*store, "m").id, "r");
  }
  int64_t acknowledged = 0;
  for (int round = 0; round < 10; ++round) {
    int fds[2];
    ASSERT_EQ(::pipe(fds), 0);
    const pid_t child = ::fork();
    if (child == 0) {
      auto store = Store::Open(dir.path());
      if (!store.ok()) ::_exit(1);
      RunRecord run = (*store)->Runs()->at(0);
      for (int64_t step = run.durable_through + 1;; ++step) {
        if (!(*store)->SaveCheckpoint(&run, step, Weights(static_cast<float>(step)), {}).ok()) ::_exit(2);
        if (::write(fds[1], &step, sizeof(step)) != sizeof(step)) ::_exit(3);
      }
    }
    ::close(fds[1]);
    int64_t step = 0;
    const int wanted = 1 + rand() % 5;
    for (int i = 0; i < wanted && ::read(fds[0], &step, sizeof(step)) == sizeof(step); ++i) acknowledged = step;
    ::usleep(static_cast<useconds_t>(rand() % 3000));
    ::kill(child, SIGKILL);
    int status = 0;
    ::waitpid(child, &status, 0);
    while (::read(fds[0], &step, sizeof(step)) == sizeof(step)) acknowledged = step;
    ::close(fds[0]);
    auto store = MustOpen(dir.path());
    const RunRecord run = store->Runs()->at(0);
    ASSERT_GE(run.durable_through, acknowledged);
    ASSERT_LE(run.durable_through, acknowledged + 1);
    const auto file = store->ReadCheckpoint(run);
    ASSERT_TRUE(file.ok()) << file.status();
    ASSERT_EQ(file->tensors.at("w").At(0), static_cast<double>(run.durable_through));
    ASSERT_EQ(Files(dir / "checkpoints").size(), 1u);
  }
}

// A full disk (here: a limit on the size of files) fails that save and nothing else.
TEST(Store, AFullDiskLeavesTheOldCheckpoint) {
  TempDir dir;
  const pid_t child = ::fork();
  if (child == 0) {
    auto store = MustOpen(dir.path());
    RunRecord run = AddRun(*store, AddModel(*store, "m").id, "r");
    if (!store->SaveCheckpoint(&run, 1, Weights(1), {}).ok()) ::_exit(1);
    ::signal(SIGXFSZ, SIG_IGN);
    const rlimit limit{1 << 20, 1 << 20};
    ::setrlimit(RLIMIT_FSIZE, &limit);
    NamedTensors large;
    large.emplace("w", Tensor(DType::kF32, {1 << 20}));
    const absl::Status full = store->SaveCheckpoint(&run, 2, large, {});
    if (full.code() != absl::StatusCode::kResourceExhausted) ::_exit(2);
    if (run.durable_through != 1 || Files(dir / "checkpoints").size() != 1) ::_exit(3);
    if (!store->ReadCheckpoint(run).ok()) ::_exit(4);
    if (!store->SaveCheckpoint(&run, 3, Weights(3), {}).ok()) ::_exit(5);  // there is room again
    ::_exit(0);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(Store, OneProcessOwnsADirectory) {
  TempDir dir;
  auto store = MustOpen(dir.path());
  const pid_t child = ::fork();
  if (child == 0) {
    const auto second = Store::Open(dir.path());
    const bool refused = second.status().code() == absl::StatusCode::kFailedPrecondition &&
                         absl::StrContains(second.status().message(), "is in use by another strata-server");
    ::_exit(refused ? 0 : 1);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 0);
  store = nullptr;
  MustOpen(dir.path());  // free again
}

TEST(Store, ADamagedFileIsNeverRead) {
  TempDir dir;
  auto store = MustOpen(dir.path());
  RunRecord run = AddRun(*store, AddModel(*store, "m").id, "r");
  ASSERT_TRUE(store->SaveCheckpoint(&run, 1, Weights(1), {}).ok());
  const std::string path = dir / run.File();
  std::string bytes;
  {
    std::ifstream in(path, std::ios::binary);
    bytes.assign(std::istreambuf_iterator<char>(in), {});
  }
  ASSERT_EQ(bytes.size(), run.checkpoint.bytes);
  const auto write = [&](const std::string& content) { std::ofstream(path, std::ios::binary) << content; };
  for (size_t i = 0; i < bytes.size(); ++i) {
    std::string flipped = bytes;
    flipped[i] = static_cast<char>(flipped[i] ^ 1);
    write(flipped);
    const absl::Status status = store->ReadCheckpoint(run).status();
    ASSERT_EQ(status.code(), absl::StatusCode::kDataLoss) << "byte " << i << ": " << status;
  }
  for (const size_t length : {size_t{0}, size_t{7}, size_t{8}, bytes.size() - 1, bytes.size() + 1}) {
    std::string resized = bytes;
    resized.resize(length);
    write(resized);
    ASSERT_EQ(store->ReadCheckpoint(run).status().code(), absl::StatusCode::kDataLoss) << "length " << length;
    EXPECT_TRUE(std::filesystem::exists(path + ".broken"));
  }
  write(bytes);
  EXPECT_TRUE(store->ReadCheckpoint(run).ok());
}

TEST(Store, DeletingAModelTakesItsFiles) {
  TempDir dir;
  auto store = MustOpen(dir.path());
  const ModelRecord model = AddModel(*store, "m");
  VersionRecord version{.model_id = model.id};
  ASSERT_TRUE(store->AddVersion(&version, ViewsOf(Weights(1)), {}).ok());
  RunRecord run = AddRun(*store, model.id, "r");
  ASSERT_TRUE(store->SaveCheckpoint(&run, 1, Weights(1), {}).ok());
  ASSERT_TRUE(store->Append({{run.id, 1, 1, false, "a"}}, {}).ok());
  ASSERT_TRUE(store->DeleteModel(model.id).ok());
  EXPECT_TRUE(Files(dir / "checkpoints").empty());
  EXPECT_TRUE(Files(dir / "versions").empty());
  EXPECT_TRUE(store->Runs()->empty());
  EXPECT_TRUE(Steps(*store, run.id).empty());
  // Rows of a run that is gone are dropped, not an error.
  EXPECT_TRUE(store->Append({{run.id, 2, 2, false, "late"}}, {}).ok());
  EXPECT_TRUE(Steps(*store, run.id).empty());
  EXPECT_EQ(store->SaveCheckpoint(&run, 5, Weights(1), {}).code(), absl::StatusCode::kNotFound);
  EXPECT_TRUE(Files(dir / "checkpoints").empty());
}

TEST(Store, ARegistryOfANewerServerIsRefused) {
  TempDir dir;
  MustOpen(dir.path());
  {
    auto db = Database::Open(dir / "registry.sqlite", false);
    ASSERT_TRUE(db->Execute("PRAGMA user_version = 99").ok());
  }
  EXPECT_EQ(Store::Open(dir.path()).status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST(Store, ARegistryThatIsNoneIsDataLoss) {
  TempDir dir;
  std::ofstream(dir / "registry.sqlite") << std::string(5000, 'x');
  EXPECT_EQ(Store::Open(dir.path()).status().code(), absl::StatusCode::kDataLoss);
}

}  // namespace
}  // namespace strata::service
