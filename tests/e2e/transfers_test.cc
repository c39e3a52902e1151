// Transfers of files that do not come to their end: the server stops or is killed, the model goes, another client wants
// the same name.
#include <sys/resource.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <thread>

#include "engine/base/sha256.h"
#include "tests/e2e/files_fixture.h"

namespace strata::e2e {
namespace {

using grpc::StatusCode;

constexpr int64_t kWidth = 1500;  // 9 MB

v1::ImportStart StartOf(const std::string& name, size_t size) {
  v1::ImportStart start;
  start.set_name(name);
  start.set_size(static_cast<int64_t>(size));
  start.mutable_definition()->set_dialect(v1::PYTORCH);
  start.mutable_definition()->set_json(
      absl::StrCat(R"({"class_name": "Sequential", "config": {"layers": [{"class_name": "Linear", "config": )",
                   "{\"in_features\": ", kWidth, ", \"out_features\": ", kWidth, "}}]}}"));
  start.mutable_definition()->add_inputs()->add_shape(kWidth);
  start.mutable_definition()->mutable_inputs(0)->set_name("x");
  return start;
}

std::string StateDict(int64_t width) {
  NamedTensors weights;
  weights["0.weight"] = Tensor(DType::kF32, {width, width});
  weights["0.bias"] = Tensor(DType::kF32, {width});
  std::vector<std::string> order;
  std::string bytes = service::TensorFilePrefix(weights, {{"format", "pt"}}, &order);
  for (const std::string& name : order) {
    bytes.append(static_cast<const char*>(weights.at(name).raw()), weights.at(name).size_bytes());
  }
  return bytes;
}
std::string LargeStateDict() { return StateDict(kWidth); }

// An import whose client has sent a part of its file.
struct Half {
  Half(v1::Models::Stub& models, const std::string& bytes) {
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    writer = models.Import(&context, &response);
    v1::ImportRequest request;
    *request.mutable_start() = StartOf("half", bytes.size());
    EXPECT_TRUE(writer->Write(request));
    for (size_t at = 0; at < bytes.size() / 2; at += 1 << 20) {
      request.set_chunk(bytes.substr(at, 1 << 20));
      EXPECT_TRUE(writer->Write(request));
    }
  }
  grpc::ClientContext context;
  v1::ImportResponse response;
  std::unique_ptr<grpc::ClientWriter<v1::ImportRequest>> writer;
};

int NumEntries(const std::string& folder) {
  return static_cast<int>(
      std::distance(std::filesystem::directory_iterator(folder), std::filesystem::directory_iterator()));
}
void AwaitEntries(const std::string& folder, int count) {
  for (int i = 0; i < 2000 && NumEntries(folder) != count; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  ASSERT_EQ(NumEntries(folder), count) << folder;
}

class Transfers : public testing::Test {
 protected:
  std::unique_ptr<ServerProcess> Start() {
    auto server = std::make_unique<ServerProcess>(dir_ / "data", dir_ / "server", "127.0.0.1:0",
                                                  std::vector<std::string>{"--drain=500ms"});
    models_ = v1::Models::NewStub(grpc::CreateChannel(server->grpc(), grpc::InsecureChannelCredentials()));
    return server;
  }
  service::TempDir dir_;
  std::unique_ptr<v1::Models::Stub> models_;
};

TEST_F(Transfers, AreCutWhenTheServerStops) {
  const auto server = Start();
  Half half(*models_, LargeStateDict());
  AwaitEntries(dir_ / "data/versions", 1);
  server->process().Signal(SIGTERM);
  EXPECT_EQ(server->process().Wait(20), 0) << server->process().Errors();
  EXPECT_FALSE(half.writer->Finish().ok());
  EXPECT_EQ(NumEntries(dir_ / "data/versions"), 0);
}

TEST_F(Transfers, LeaveNothingWhenTheServerIsKilled) {
  {
    const auto server = Start();
    Half half(*models_, LargeStateDict());
    AwaitEntries(dir_ / "data/versions", 1);
    server->process().Signal(SIGKILL);
    EXPECT_EQ(server->process().Wait(20), 128 + SIGKILL);
    EXPECT_FALSE(half.writer->Finish().ok());
  }
  // What the reader of containers had in hand, and what was not its.
  std::filesystem::create_directories(std::string(dir_ / "data/filesAbCdEf"));
  std::ofstream(std::string(dir_ / "data/filesAbCdEf/in")) << "bytes";
  const auto server = Start();
  EXPECT_EQ(NumEntries(dir_ / "data/versions"), 0);
  EXPECT_FALSE(std::filesystem::exists(std::string(dir_ / "data/filesAbCdEf")));
  server->process().Signal(SIGTERM);
  EXPECT_EQ(server->process().Wait(20), 0) << server->process().Errors();
}

// A limit of the size of files stands for a full disk: it fails writes as one does.
TEST_F(Transfers, AFullDiskRefusesWhatDoesNotFitAndNothingElse) {
  ::signal(SIGXFSZ, SIG_IGN);  // the server inherits it
  const auto server = Start();
  ::signal(SIGXFSZ, SIG_DFL);
  rlimit whole{};
  ASSERT_EQ(::prlimit(server->process().pid(), RLIMIT_FSIZE, nullptr, &whole), 0);
  const std::string large = LargeStateDict();
  const auto import = [&](const v1::ImportStart& start, const std::string& bytes) {
    return ImportFile(*models_, start, bytes).status;
  };
  const auto models = [&] {
    grpc::ClientContext context;
    v1::ListModelsResponse response;
    EXPECT_TRUE(models_->List(&context, v1::ListModelsRequest(), &response).ok());
    return response.models_size();
  };
  rlimit tight = whole;
  tight.rlim_cur = 4 << 20;
  ASSERT_EQ(::prlimit(server->process().pid(), RLIMIT_FSIZE, &tight, nullptr), 0);
  const grpc::Status full = import(StartOf("large", large.size()), large);
  EXPECT_EQ(full.error_code(), StatusCode::RESOURCE_EXHAUSTED) << full.error_message();
  EXPECT_TRUE(absl::StrContains(full.error_message(), "store: ")) << full.error_message();
  AwaitEntries(dir_ / "data/versions", 0);
  EXPECT_EQ(models(), 0);
  v1::ImportStart start = StartOf("small", 0);
  start.mutable_definition()->set_json(
      R"({"class_name": "Sequential", "config": {"layers": [{"class_name": "Linear", "config": {"in_features": 2, )"
      R"("out_features": 2}}]}})");
  start.mutable_definition()->mutable_inputs(0)->set_shape(0, 2);
  const grpc::Status fits = import(start, StateDict(2));
  EXPECT_TRUE(fits.ok()) << fits.error_message();
  ASSERT_EQ(::prlimit(server->process().pid(), RLIMIT_FSIZE, &whole, nullptr), 0);
  const grpc::Status later = import(StartOf("large", large.size()), large);
  EXPECT_TRUE(later.ok()) << later.error_message();
  EXPECT_EQ(models(), 2);
  server->process().Signal(SIGTERM);
  EXPECT_EQ(server->process().Wait(20), 0) << server->process().Errors();
}

TEST(FileTool, SaysThatTheDiskIsFull) {
  const service::TempDir dir;
  const std::string tool = STRATA_BIN "/strata-file", keras = std::string(kFixtures) + "keras_training/";
  const auto run = [&](const std::vector<std::string>& command) {
    Process process(command, dir / "log");
    return process.Wait(20);
  };
  EXPECT_EQ(run({tool, "unpack", keras + "heads.h5", "/dev/full"}), 3);
  for (const char* file : {"heads.h5", "heads.keras"}) {
    const std::string flat = dir / (std::string(file) + ".flat");
    ASSERT_EQ(run({tool, "unpack", keras + file, flat}), 0) << file;
    EXPECT_EQ(run({tool, "pack", flat, dir / "packed"}), 0) << file;
    const std::string limited = "trap '' XFSZ; ulimit -f 16; exec \"$0\" \"$@\"";
    EXPECT_EQ(run({"/bin/bash", "-c", limited, tool, "pack", flat, dir / "packed"}), 3) << file;
  }
}

class TransfersOfModels : public Files {};

TEST_F(TransfersOfModels, AnExportGoesOnWhenItsModelGoes) {
  const std::string bytes = LargeStateDict();
  ASSERT_TRUE(Import(StartOf("m", bytes.size()), bytes, 1 << 20).status.ok());
  for (const bool deleted : {false, true}) {
    grpc::ClientContext context;
    v1::ExportRequest request;
    request.set_model("m");
    request.set_format(v1::PYTORCH_STATE_DICT);
    request.set_digest_follows(true);
    const auto reader = models_->Export(&context, request);
    v1::ExportResponse response;
    ASSERT_TRUE(reader->Read(&response));
    if (deleted) {
      grpc::ClientContext other;
      v1::DeleteModelRequest remove;
      v1::DeleteModelResponse ignored;
      remove.set_name("m");
      ASSERT_TRUE(models_->Delete(&other, remove, &ignored).ok());
    } else {
      ASSERT_TRUE(Import(StartOf("m", bytes.size()), bytes, 1 << 20).status.ok());  // another version serves
    }
    Sha256 hash;
    size_t size = 0;
    std::string digest;
    while (reader->Read(&response)) {
      hash.Add(response.chunk().data(), response.chunk().size());
      size += response.chunk().size();
      digest = response.digest();
    }
    EXPECT_TRUE(reader->Finish().ok());
    EXPECT_EQ(size, bytes.size());
    EXPECT_EQ(digest, hash.Hex());
  }
}

// Imports of one name at a time, good and broken ones: every good one is a version, and none of the others takes the
// model away.
TEST_F(TransfersOfModels, ManyOfOneName) {
  const std::string bytes = LargeStateDict();
  constexpr int kClients = 4, kTimes = 3;
  std::vector<std::thread> clients;
  for (int k = 0; k < kClients; ++k) {
    clients.emplace_back([&, k] {
      for (int i = 0; i < kTimes; ++i) {
        const bool good = k % 2 == 0;
        const Imported imported =
            Import(StartOf("m", bytes.size()), good ? bytes : bytes.substr(0, bytes.size() - 1), 1 << 20);
        EXPECT_EQ(imported.status.error_code(), good ? StatusCode::OK : StatusCode::DATA_LOSS)
            << imported.status.error_message();
      }
    });
  }
  for (std::thread& client : clients) client.join();
  grpc::ClientContext context;
  v1::ListVersionsRequest request;
  v1::ListVersionsResponse versions;
  request.set_model("m");
  ASSERT_TRUE(models_->ListVersions(&context, request, &versions).ok());
  ASSERT_EQ(versions.versions_size(), kClients / 2 * kTimes);
  for (const v1::VersionInfo& v : versions.versions()) EXPECT_EQ(v.digest(), versions.versions(0).digest());
  AwaitEntries(dir_ / "data/versions", versions.versions_size());
}

}  // namespace
}  // namespace strata::e2e
