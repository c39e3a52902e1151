#include "service/rpc/chunks.h"

#include <algorithm>

#include "google/protobuf/io/coded_stream.h"

namespace strata::service {
namespace {

// A tag of one byte, and a length.
constexpr size_t kMaxHeadBytes = 11;
constexpr int kLengthDelimited = 2;
// Bytes from here on are lent to gRPC, fewer are copied.
constexpr size_t kLentBytes = size_t{16} << 10;

void Free(void* owner) { delete static_cast<std::shared_ptr<const void>*>(owner); }

grpc::Slice Lent(absl::string_view bytes, const std::shared_ptr<const void>& owner) {
  return grpc::Slice(const_cast<char*>(bytes.data()), bytes.size(), &Free, new std::shared_ptr<const void>(owner));
}

uint8_t TagOf(int field) { return static_cast<uint8_t>(field << 3 | kLengthDelimited); }

}  // namespace

std::optional<std::vector<grpc::Slice>> ChunkOf(const grpc::ByteBuffer& message, int field) {
  std::vector<grpc::Slice> slices;
  if (!message.Dump(&slices).ok()) return std::nullopt;
  std::string head;
  for (const grpc::Slice& slice : slices) {
    head.append(reinterpret_cast<const char*>(slice.begin()), std::min(slice.size(), kMaxHeadBytes - head.size()));
    if (head.size() == kMaxHeadBytes) break;
  }
  if (head.empty() || static_cast<uint8_t>(head[0]) != TagOf(field)) return std::nullopt;
  google::protobuf::io::CodedInputStream in(reinterpret_cast<const uint8_t*>(head.data()) + 1,
                                            static_cast<int>(head.size()) - 1);
  uint64_t length = 0;
  if (!in.ReadVarint64(&length)) return std::nullopt;
  size_t skip = 1 + static_cast<size_t>(in.CurrentPosition());
  if (message.Length() - skip != length) return std::nullopt;
  std::vector<grpc::Slice> pieces;
  for (const grpc::Slice& slice : slices) {
    const size_t some = std::min(skip, slice.size());
    skip -= some;
    if (some < slice.size()) pieces.push_back(slice.sub(some, slice.size()));
  }
  return pieces;
}

grpc::ByteBuffer ChunkMessage(int field, const std::vector<absl::string_view>& bytes,
                              const std::shared_ptr<const void>& owner) {
  uint64_t length = 0;
  for (const absl::string_view piece : bytes) length += piece.size();
  uint8_t head[kMaxHeadBytes] = {TagOf(field)};
  const uint8_t* const begin = head;
  const uint8_t* const end = google::protobuf::io::CodedOutputStream::WriteVarint64ToArray(length, head + 1);
  std::string copied(begin, end);
  std::vector<grpc::Slice> slices;
  const auto flush = [&] {
    if (!copied.empty()) slices.emplace_back(copied);
    copied.clear();
  };
  for (const absl::string_view piece : bytes) {
    if (piece.size() < kLentBytes) {
      copied.append(piece.data(), piece.size());
      continue;
    }
    flush();
    slices.push_back(Lent(piece, owner));
  }
  flush();
  return grpc::ByteBuffer(slices.data(), slices.size());
}

}  // namespace strata::service
