// Imports and exports of files: how many at a time, how long a client may be silent, digests at the end.
#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/base/sha256.h"
#include "google/protobuf/util/json_util.h"
#include "service/core/byte_budget.h"
#include "tests/service/server_fixture.h"

namespace strata::service {
namespace {

using grpc::StatusCode;

std::string HexOf(const std::string& bytes) {
  Sha256 hash;
  hash.Add(bytes.data(), bytes.size());
  return hash.Hex();
}

class TransfersTest : public ServerTest {
 protected:
  struct Stream {
    explicit Stream(v1::Models::Stub& stub) {
      context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
      writer = stub.Import(&context, &response);
    }
    bool Start(const std::string& name) {
      v1::ImportRequest request;
      request.mutable_start()->set_name(name);
      return writer->Write(request);
    }
    bool Chunk(const std::string& bytes) {
      v1::ImportRequest request;
      request.set_chunk(bytes);
      return writer->Write(request);
    }
    bool Digest(const std::string& digest) {
      v1::ImportRequest request;
      request.set_digest(digest);
      return writer->Write(request);
    }
    grpc::Status End() {
      writer->WritesDone();
      return writer->Finish();
    }
    grpc::ClientContext context;
    v1::ImportResponse response;
    std::unique_ptr<grpc::ClientWriter<v1::ImportRequest>> writer;
  };

  std::string Json(const std::string& name) {
    std::string text;
    EXPECT_TRUE(google::protobuf::util::MessageToJsonString(Definition(name, 2), &text).ok());
    return text;
  }
  grpc::Status Export(const std::string& model) {
    grpc::ClientContext context;
    v1::ExportRequest request;
    request.set_model(model);
    const auto reader = models_->Export(&context, request);
    v1::ExportResponse response;
    while (reader->Read(&response)) {
    }
    return reader->Finish();
  }
};

TEST_P(TransfersTest, ASilentClientIsLeftAndItsPlaceIsFree) {
  options_.transfer_silence = absl::Milliseconds(100);
  options_.max_transfers = 1;
  Restart();
  for (const bool started : {false, true}) {
    Stream silent(*models_);
    if (started) {
      ASSERT_TRUE(silent.Start("m") && silent.Chunk("{"));
    }
    const grpc::Status status = silent.writer->Finish();  // without WritesDone
    EXPECT_EQ(status.error_code(), StatusCode::DEADLINE_EXCEEDED) << status.error_message();
    EXPECT_TRUE(absl::StrContains(status.error_message(), "within 100ms")) << status.error_message();
  }
  Stream good(*models_);
  ASSERT_TRUE(good.Start("m") && good.Chunk(Json("m")));
  EXPECT_TRUE(good.End().ok());
}

TEST_P(TransfersTest, AClientThatSendsAByteNowAndThenIsLeftInTheEnd) {
  options_.transfer_longest = absl::Milliseconds(200);
  Restart();
  Stream slow(*models_);
  ASSERT_TRUE(slow.Start("m"));
  while (slow.Chunk(" ")) absl::SleepFor(absl::Milliseconds(5));
  const grpc::Status status = slow.End();
  EXPECT_EQ(status.error_code(), StatusCode::DEADLINE_EXCEEDED) << status.error_message();
  EXPECT_TRUE(absl::StrContains(status.error_message(), "must end within 200ms")) << status.error_message();
}

TEST_P(TransfersTest, ChunksBeyondTheAnnouncedSizeAreRefusedAtOnce) {
  Stream s(*models_);
  v1::ImportRequest request;
  request.mutable_start()->set_size(10);
  ASSERT_TRUE(s.writer->Write(request));
  s.Chunk("12345678901");
  const grpc::Status status = s.writer->Finish();  // without WritesDone
  EXPECT_EQ(status.error_code(), StatusCode::DATA_LOSS) << status.error_message();
  EXPECT_TRUE(absl::StrContains(status.error_message(), "size: must be that of the chunks, 11, got 10"));
}

TEST_P(TransfersTest, BeyondTheLimitTransfersAreRefused) {
  options_.max_transfers = 2;
  Restart();
  CreateModel("m");
  TrainAndPublish("m", "r");
  EXPECT_TRUE(Export("m").ok());
  Stream first(*models_), second(*models_);
  ASSERT_TRUE(first.Start("a") && first.Chunk(Json("a")) && second.Start("b") && second.Chunk(Json("b")));
  while (!absl::StrContains(server_->MetricsText(), "strata_rpc_in_flight 2")) {
  }
  const grpc::Status status = Export("m");
  EXPECT_EQ(status.error_code(), StatusCode::RESOURCE_EXHAUSTED) << status.error_message();
  EXPECT_TRUE(absl::StrContains(status.error_message(), "at most 2 at a time")) << status.error_message();
  Stream third(*models_);
  third.Start("c");
  EXPECT_EQ(third.End().error_code(), StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_TRUE(first.End().ok());
  EXPECT_TRUE(Export("m").ok());
  EXPECT_TRUE(second.End().ok());
}

// Whether its size is announced or not.
TEST_P(TransfersTest, AnImportBeyondTheMemoryOfAllIsRefused) {
  options_.import_memory_bytes = 1000;
  Restart();
  for (const bool announced : {false, true}) {
    SCOPED_TRACE(announced);
    const std::string bytes = Json("m");
    for (const size_t size : {size_t{1001}, size_t{1000}}) {
      Stream s(*models_);
      v1::ImportRequest request;
      request.mutable_start()->set_name("m");
      if (announced) request.mutable_start()->set_size(static_cast<int64_t>(size));
      s.writer->Write(request);
      s.Chunk(std::string(size - bytes.size(), ' '));
      s.Chunk(bytes);
      const grpc::Status status = s.End();
      EXPECT_EQ(status.error_code(), size > 1000 ? StatusCode::RESOURCE_EXHAUSTED : StatusCode::OK)
          << status.error_message();
      EXPECT_EQ(absl::StrContains(status.error_message(), "imports: must have at most 1000 bytes together, got 0 and"),
                size > 1000)
          << status.error_message();
    }
  }
}

TEST(ByteBudget, IsWhatItsHoldersShare) {
  ByteBudget budget(10);
  ByteBudget::Share a(&budget);
  EXPECT_TRUE(a.Reach(6).ok());
  {
    ByteBudget::Share b(&budget);
    EXPECT_TRUE(b.Reach(4).ok());
    EXPECT_TRUE(b.Reach(3).ok()) << "it has them";
    EXPECT_EQ(b.Reach(5).message(), "imports: must have at most 10 bytes together, got 6 and 5");
    EXPECT_TRUE(absl::IsResourceExhausted(a.Reach(7)));
  }
  EXPECT_TRUE(a.Reach(10).ok());
  EXPECT_TRUE(absl::IsResourceExhausted(a.Reach(~uint64_t{0})));
}

TEST_P(TransfersTest, DigestsAtTheEnd) {
  const std::string bytes = Json("m"), digest = HexOf(bytes);
  {
    Stream s(*models_);
    ASSERT_TRUE(s.Start("m") && s.Chunk(bytes) && s.Digest(digest));
    const grpc::Status status = s.End();
    EXPECT_TRUE(status.ok()) << status.error_message();
    EXPECT_EQ(s.response.name_in_file(), "m");
  }
  const struct {
    const char* name;
    std::string start, end;
    bool more;
    StatusCode code;
    const char* words;
  } kCases[] = {
      {"of other bytes", "", HexOf("other"), false, StatusCode::DATA_LOSS, "digest: must be that of the bytes"},
      {"no digest", "", "zz", false, StatusCode::DATA_LOSS, "digest: must be that of the bytes"},
      {"two that differ", digest, HexOf("other"), false, StatusCode::INVALID_ARGUMENT, "the one that start has"},
      {"a text that is no digest", "", std::string(100000, 'z'), false, StatusCode::DATA_LOSS, "... (100000 bytes)"},
      {"bytes behind it", "", digest, true, StatusCode::INVALID_ARGUMENT, "nothing after the digest"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    Stream s(*models_);
    v1::ImportRequest request;
    request.mutable_start()->set_name("n");
    request.mutable_start()->set_digest(c.start);
    ASSERT_TRUE(s.writer->Write(request) && s.Chunk(bytes));
    s.Digest(c.end);
    if (c.more) s.Chunk(" ");
    const grpc::Status status = s.End();
    EXPECT_EQ(status.error_code(), c.code) << status.error_message();
    EXPECT_TRUE(absl::StrContains(status.error_message(), c.words)) << status.error_message();
  }
  v1::ListModelsResponse models;
  EXPECT_TRUE(Call(*models_, &v1::Models::Stub::List, v1::ListModelsRequest(), &models).ok());
  EXPECT_EQ(models.models_size(), 1);
}

TEST_P(TransfersTest, ADigestThatWasSaidToFollowMust) {
  for (const bool sent : {false, true}) {
    Stream s(*models_);
    v1::ImportRequest request;
    request.mutable_start()->set_name("m");
    request.mutable_start()->set_digest_follows(true);
    ASSERT_TRUE(s.writer->Write(request) && s.Chunk(Json("m")));
    if (sent) {
      ASSERT_TRUE(s.Digest(HexOf(Json("m"))));
    }
    const grpc::Status status = s.End();
    EXPECT_EQ(status.error_code(), sent ? StatusCode::OK : StatusCode::DATA_LOSS) << status.error_message();
    EXPECT_EQ(absl::StrContains(status.error_message(), "digest: must follow"), !sent) << status.error_message();
  }
}

// A chunk beside a field that this server does not know, as a later client may send it.
TEST_P(TransfersTest, ChunksInOtherEncodings) {
  Stream s(*models_);
  ASSERT_TRUE(s.Start("m"));
  for (const char c : Json("m")) {
    v1::ImportRequest request;
    request.set_chunk(std::string(1, c));
    if (c == '{') request.GetReflection()->MutableUnknownFields(&request)->AddVarint(1000, 1);
    ASSERT_TRUE(s.writer->Write(request));
  }
  const grpc::Status status = s.End();
  EXPECT_TRUE(status.ok()) << status.error_message();
}

TEST_P(TransfersTest, AnExportsDigestFollowsIfItMay) {
  CreateModel("m");
  TrainAndPublish("m", "r");
  for (const bool follows : {false, true}) {
    SCOPED_TRACE(follows);
    grpc::ClientContext context;
    v1::ExportRequest request;
    request.set_model("m");
    request.set_digest_follows(follows);
    const auto reader = models_->Export(&context, request);
    v1::ExportResponse response;
    v1::ExportHeader header;
    std::string bytes, digest;
    while (reader->Read(&response)) {
      EXPECT_TRUE(digest.empty()) << "something came after the digest";
      if (response.has_header()) header = response.header();
      bytes += response.chunk();
      digest = response.digest();
    }
    ASSERT_TRUE(reader->Finish().ok());
    EXPECT_EQ(static_cast<int64_t>(bytes.size()), header.size());
    EXPECT_EQ(follows ? digest : header.digest(), HexOf(bytes));
    EXPECT_EQ(follows ? header.digest() : digest, "");
  }
}

INSTANTIATE_TEST_SUITE_P(Both, TransfersTest, testing::Values(Transport::kInProcess, Transport::kLoopback),
                         [](const auto& info) {
                           return info.param == Transport::kInProcess ? "InProcess" : "Loopback";
                         });

}  // namespace
}  // namespace strata::service
