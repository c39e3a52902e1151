// Files on their way, against a server that lies.
#include "cli/transfer.h"

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "cli/reference.h"
#include "engine/base/sha256.h"

namespace strata::cli {
namespace {

std::string HexOf(const std::string& bytes) {
  Sha256 hash;
  hash.Add(bytes.data(), bytes.size());
  return hash.Hex();
}

// Keeps what it is sent; sends what it is told.
class FakeModels final : public v1::Models::Service {
 public:
  grpc::Status Import(grpc::ServerContext*, grpc::ServerReader<v1::ImportRequest>* reader,
                      v1::ImportResponse* response) override {
    v1::ImportRequest request;
    while (reader->Read(&request)) {
      if (request.has_start()) start = request.start();
      if (request.has_digest()) digest = request.digest();
      bytes += request.chunk();
    }
    response->set_name_in_file("kept");
    return grpc::Status::OK;
  }
  grpc::Status Export(grpc::ServerContext*, const v1::ExportRequest*,
                      grpc::ServerWriter<v1::ExportResponse>* writer) override {
    v1::ExportResponse response;
    *response.mutable_header() = header;
    writer->Write(response);
    for (const char c : bytes) {
      response.set_chunk(std::string(1, c));
      writer->Write(response);
    }
    return end;
  }
  v1::ImportStart start;
  std::string digest, bytes;
  v1::ExportHeader header;
  grpc::Status end;
};

class Transfer : public testing::Test {
 protected:
  Transfer() {
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddListeningPort("127.0.0.1:0", grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(&models_);
    server_ = builder.BuildAndStart();
    client_ = std::make_unique<Client>(Client::Options{.address = absl::StrCat("127.0.0.1:", port)});
    folder_ = absl::StrCat(testing::TempDir(), "/transfer-", ::getpid());
    std::filesystem::create_directories(folder_);
  }
  ~Transfer() override { std::filesystem::remove_all(folder_); }

  std::string Path(const std::string& name) { return absl::StrCat(folder_, "/", name); }
  std::string Read(const std::string& name) {
    std::stringstream text;
    text << std::ifstream(Path(name), std::ios::binary).rdbuf();
    return text.str();
  }

  FakeModels models_;
  std::unique_ptr<grpc::Server> server_;
  std::unique_ptr<Client> client_;
  std::string folder_;
};

TEST_F(Transfer, SendsAllBytesWithTheirSizeAndDigest) {
  for (const size_t size : {size_t{0}, size_t{1}, size_t{1} << 20, (size_t{5} << 19) + 3}) {
    std::string bytes(size, '\0');
    for (size_t i = 0; i < size; ++i) bytes[i] = static_cast<char>(i * 7 + i / 251);
    std::ofstream(Path("in"), std::ios::binary) << bytes;
    models_.bytes.clear();
    v1::ImportStart start;
    start.set_name("net");
    const auto response = SendFile(*client_, start, Path("in"));
    ASSERT_TRUE(response.ok()) << response.status();
    EXPECT_EQ(response->name_in_file(), "kept");
    EXPECT_EQ(models_.start.name(), "net");
    EXPECT_EQ(models_.start.size(), static_cast<int64_t>(size));
    EXPECT_TRUE(models_.bytes == bytes) << size;
    EXPECT_EQ(models_.digest, HexOf(bytes)) << size;
  }
  EXPECT_EQ(SendFile(*client_, {}, Path("nothing")).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(Transfer, KeepsOnlyWhatTheServerSaysItSent) {
  models_.bytes = "the file";
  const struct {
    const char* name;
    int64_t size;
    std::string digest;
    grpc::Status end;
    absl::StatusCode code;
  } kCases[] = {
      {"good", 8, HexOf("the file"), grpc::Status::OK, absl::StatusCode::kOk},
      {"another digest", 8, HexOf("the fire"), grpc::Status::OK, absl::StatusCode::kDataLoss},
      {"no digest", 8, "", grpc::Status::OK, absl::StatusCode::kDataLoss},
      {"another size", 9, HexOf("the file"), grpc::Status::OK, absl::StatusCode::kDataLoss},
      {"broken off", 8, HexOf("the file"), grpc::Status(grpc::UNAVAILABLE, "gone"), absl::StatusCode::kUnavailable},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    std::ofstream(Path("out")) << "old";
    models_.header.set_size(c.size);
    models_.header.set_digest(c.digest);
    models_.end = c.end;
    const auto header = ReceiveFile(*client_, {}, Path("out"));
    EXPECT_EQ(header.status().code(), c.code) << header.status();
    EXPECT_EQ(Read("out"), c.code == absl::StatusCode::kOk ? "the file" : "old");
    EXPECT_FALSE(std::filesystem::exists(Path("out.part")));
  }
}

TEST(Reference, IsANameAndPerhapsMore) {
  const auto whole = ParseReference("MODEL", "NAME or NAME@VERSION", "net@3");
  ASSERT_TRUE(whole.ok());
  EXPECT_EQ(whole->name, "net");
  EXPECT_EQ(whole->which, "3");
  EXPECT_EQ(ParseReference("MODEL", "NAME", "net")->which, "");
  for (const char* bad : {"", "@", "net@", "@3", "net@3@4"}) {
    const auto refused = ParseReference("MODEL", "NAME or NAME@VERSION", bad);
    EXPECT_EQ(refused.status().message(), absl::StrCat("MODEL: must be NAME or NAME@VERSION, got \"", bad, "\""));
  }
}

}  // namespace
}  // namespace strata::cli
