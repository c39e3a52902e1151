// Files that mean harm, sent to the real server: each is refused with a clear status, nothing is registered, and the
// server goes on.
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <filesystem>
#include <map>
#include <memory>
#include <random>
#include <tuple>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "strata/v1/services.grpc.pb.h"
#include "tests/e2e/files_fixture.h"
#include "tests/e2e/hostile_files.h"
#include "tests/e2e/process.h"
#include "tests/service/temp_dir.h"

namespace strata::e2e {
namespace {

using grpc::StatusCode;

constexpr char kKeras[] = STRATA_SOURCE "/tests/fixtures/keras/";

class Hostile : public testing::Test {
 protected:
  Hostile() : server_(dir_ / "data", dir_ / "server") {
    models_ = v1::Models::NewStub(grpc::CreateChannel(server_.grpc(), grpc::InsecureChannelCredentials()));
    // What weights alone go to.
    v1::ImportStart start;
    start.set_name("good");
    const grpc::Status status = Import(start, Bytes(absl::StrCat(kKeras, "nested.h5")));
    EXPECT_TRUE(status.ok()) << status.error_message();
  }
  ~Hostile() override {
    // Still there, and nothing is left of what came.
    v1::ImportStart start;
    start.set_name("after");
    const grpc::Status status = Import(start, Bytes(absl::StrCat(kKeras, "nested.h5")));
    EXPECT_TRUE(status.ok()) << status.error_message();
    server_.process().Signal(SIGTERM);
    EXPECT_EQ(server_.process().Wait(30), 0) << server_.process().Errors();
    for (const auto& entry : std::filesystem::recursive_directory_iterator(std::string(dir_ / "data"))) {
      EXPECT_FALSE(absl::StrContains(entry.path().filename().string(), "files")) << entry.path();
    }
  }

  grpc::Status Import(const v1::ImportStart& start, const std::string& bytes, v1::ImportResponse* response = nullptr) {
    Imported imported = ImportFile(*models_, start, bytes);
    if (response != nullptr) *response = std::move(imported.response);
    return imported.status;
  }

  // Models, the versions of "good", and the files of the store with their sizes.
  std::tuple<int, int, std::map<std::string, uintmax_t>> Registered() {
    grpc::ClientContext a, b;
    v1::ListModelsResponse models;
    v1::ListVersionsResponse versions;
    v1::ListVersionsRequest request;
    request.set_model("good");
    EXPECT_TRUE(models_->List(&a, v1::ListModelsRequest(), &models).ok());
    EXPECT_TRUE(models_->ListVersions(&b, request, &versions).ok());
    std::map<std::string, uintmax_t> files;
    for (const char* folder : {"data/versions", "data/checkpoints"}) {
      for (const auto& entry : std::filesystem::directory_iterator(std::string(dir_ / folder))) {
        files[entry.path()] = entry.file_size();
      }
    }
    return {models.models_size(), versions.versions_size(), files};
  }

  void ExpectRefused(const std::string& name, const std::string& bytes, const std::string& words) {
    SCOPED_TRACE(name);
    const auto before = Registered();
    v1::ImportStart start;
    start.set_name("good");
    const grpc::Status status = Import(start, bytes);
    const StatusCode code = status.error_code();
    EXPECT_TRUE(code == StatusCode::INVALID_ARGUMENT || code == StatusCode::DATA_LOSS)
        << code << " " << status.error_message();
    EXPECT_NE(status.error_message().find(words), std::string::npos) << status.error_message();
    EXPECT_EQ(status.error_message().find(std::string(dir_ / "")), std::string::npos)
        << "names a path of the server: " << status.error_message();
    EXPECT_LT(status.error_message().size(), 4096U);
    EXPECT_EQ(Registered(), before);
  }
  void ExpectAllRefused(const std::vector<HostileFile>& files) {
    for (const HostileFile& file : files) ExpectRefused(file.name, file.bytes, file.words);
  }

  // Every prefix whose length is one of many, and single bits turned over. Whether a damaged file is refused depends on
  // where the damage is: what is taken must be a whole file.
  void Damage(const std::string& file, int cuts, int flips) {
    constexpr int kSeed = 11;
    std::mt19937 random(kSeed);
    for (int i = 0; i < cuts; ++i) {
      const size_t size = i < 40 ? static_cast<size_t>(i) : random() % (file.size() - 1);
      ExpectRefused(absl::StrCat("cut to ", size, " of ", file.size()), file.substr(0, size), ": ");
    }
    for (int i = 0; i < flips; ++i) {
      std::string bad = file;
      const size_t at = random() % bad.size();
      bad[at] ^= static_cast<char>(1 << (random() % 8));
      SCOPED_TRACE(absl::StrCat("a bit of byte ", at, ", seed ", kSeed));
      const auto before = Registered();
      v1::ImportStart start;
      start.set_name("good");
      const grpc::Status status = Import(start, bad);
      const StatusCode code = status.error_code();
      EXPECT_TRUE(status.ok() || code == StatusCode::INVALID_ARGUMENT || code == StatusCode::DATA_LOSS ||
                  code == StatusCode::UNIMPLEMENTED || code == StatusCode::ALREADY_EXISTS)
          << code << " " << status.error_message();
      EXPECT_EQ(std::get<0>(Registered()), std::get<0>(before));
      if (!status.ok()) {
        EXPECT_EQ(Registered(), before);
      }
    }
  }

  service::TempDir dir_;
  ServerProcess server_;
  std::unique_ptr<v1::Models::Stub> models_;
};

TEST_F(Hostile, SafetensorsFiles) { ExpectAllRefused(HostileSafetensors()); }

TEST_F(Hostile, Hdf5Files) { ExpectAllRefused(HostileHdf5(dir_ / "")); }

TEST_F(Hostile, Archives) {
  const std::string weights = Bytes(absl::StrCat(kKeras, "nested.weights.h5"));
  const std::string config = Bytes(absl::StrCat(kKeras, "nested.json"));
  // The writer of archives here makes good ones, too.
  v1::ImportStart start;
  start.set_name("archive");
  const grpc::Status status = Import(start, Zip({{"config.json", config}, {"model.weights.h5", weights}}));
  EXPECT_TRUE(status.ok()) << status.error_message();
  ExpectAllRefused(HostileArchives(weights, config));
}

TEST_F(Hostile, Texts) { ExpectAllRefused(HostileTexts()); }

TEST_F(Hostile, DamagedHdf5) { Damage(Bytes(absl::StrCat(kKeras, "nested.h5")), 120, 60); }
TEST_F(Hostile, DamagedWeights) { Damage(Bytes(absl::StrCat(kKeras, "nested.weights.h5")), 80, 60); }
TEST_F(Hostile, DamagedArchive) { Damage(Bytes(absl::StrCat(kKeras, "nested.keras")), 120, 60); }

TEST_F(Hostile, AWrongDigestIsRefused) {
  const std::string bytes = Bytes(absl::StrCat(kKeras, "nested.h5"));
  const auto before = Registered();
  for (const std::string& digest : {std::string(64, 'a'), std::string("abc"), std::string(64, 'x')}) {
    v1::ImportStart start;
    start.set_name("bad");
    start.set_digest(digest);
    const grpc::Status status = Import(start, bytes);
    EXPECT_EQ(status.error_code(), StatusCode::DATA_LOSS) << status.error_message();
    EXPECT_NE(status.error_message().find("digest:"), std::string::npos) << status.error_message();
  }
  EXPECT_EQ(Registered(), before);
}

}  // namespace
}  // namespace strata::e2e
