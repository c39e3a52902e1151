// Chunks that are neither parsed nor printed say what protobuf would have said.
#include "service/rpc/chunks.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "strata/v1/services.pb.h"

namespace strata::service {
namespace {

constexpr int kField = v1::ImportRequest::kChunkFieldNumber;

std::string Counting(size_t size) {
  std::string bytes(size, 0);
  std::iota(bytes.begin(), bytes.end(), 1);
  return bytes;
}

// In slices of `step` bytes.
grpc::ByteBuffer Sliced(const std::string& bytes, size_t step) {
  std::vector<grpc::Slice> slices;
  for (size_t at = 0; at < bytes.size(); at += step) slices.emplace_back(bytes.substr(at, step));
  return grpc::ByteBuffer(slices.data(), slices.size());
}

std::string Joined(const std::vector<grpc::Slice>& slices) {
  std::string bytes;
  for (const grpc::Slice& s : slices) bytes.append(reinterpret_cast<const char*>(s.begin()), s.size());
  return bytes;
}

TEST(Chunks, HaveTheirBytesHoweverTheyAreSliced) {
  for (const size_t size : {1, 127, 128, 5000, 100000}) {
    v1::ImportRequest request;
    request.set_chunk(Counting(size));
    const std::string message = request.SerializeAsString();
    for (const size_t step : {1, 2, 7, 16384, 200000}) {
      const auto pieces = ChunkOf(Sliced(message, step), kField);
      ASSERT_TRUE(pieces.has_value()) << size << " in slices of " << step;
      EXPECT_EQ(Joined(*pieces), request.chunk()) << size << " in slices of " << step;
    }
  }
}

TEST(Chunks, OtherMessagesAreNone) {
  v1::ImportRequest start, digest, extended;
  start.mutable_start()->set_name("m");
  digest.set_digest("abc");
  extended.set_chunk("bytes");
  extended.GetReflection()->MutableUnknownFields(&extended)->AddVarint(1000, 1);
  const std::string tag(1, static_cast<char>(kField << 3 | 2));
  for (const std::string& message : {std::string(), start.SerializeAsString(), digest.SerializeAsString(),
                                     extended.SerializeAsString(), tag, tag + "\x05" + "abcd", tag + "\x03" + "abcd",
                                     tag + std::string(10, '\xff'), tag + std::string(9, '\xff') + "\x01"}) {
    for (const size_t step : {1, 3, 100}) EXPECT_FALSE(ChunkOf(Sliced(message, step), kField).has_value()) << message;
  }
}

TEST(Chunks, ProtobufReadsWhatIsLent) {
  // Large pieces are lent, small ones are copied; the owner lives as long as the message needs it.
  for (const std::vector<size_t>& sizes : std::vector<std::vector<size_t>>{
           {5}, {100000}, {3, 100000, 0, 7, 20000}, {16383, 16384}, std::vector<size_t>(1000, 12)}) {
    auto owner = std::make_shared<std::vector<std::string>>();
    std::vector<absl::string_view> views;
    std::string whole;
    for (const size_t size : sizes) {
      owner->push_back(Counting(size));
      whole += owner->back();
    }
    for (const std::string& piece : *owner) views.push_back(piece);
    grpc::ByteBuffer message = ChunkMessage(v1::ExportResponse::kChunkFieldNumber, views, owner);
    const std::weak_ptr<const void> watch = owner;
    owner.reset();
    const bool lends = std::any_of(sizes.begin(), sizes.end(), [](size_t size) { return size >= 16384; });
    EXPECT_EQ(watch.expired(), !lends);
    v1::ExportResponse response;
    ASSERT_TRUE(ParseMessage(&message, &response));
    EXPECT_EQ(response.chunk(), whole);
    message.Clear();
    EXPECT_TRUE(watch.expired());
  }
}

}  // namespace
}  // namespace strata::service
