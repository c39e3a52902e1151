// Chunks of files as gRPC carries them: a message that holds bytes and nothing else is neither parsed nor printed, so
// that its bytes are copied once less on each way.
#pragma once

#include <grpcpp/grpcpp.h>
#include <grpcpp/impl/codegen/proto_utils.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/strings/string_view.h"

namespace strata::service {

// The pieces of the bytes that a message has in its field `field`, if it has nothing else.
std::optional<std::vector<grpc::Slice>> ChunkOf(const grpc::ByteBuffer& message, int field);

// A message with `bytes`, one piece after the other, in its field `field`. They live as long as `owner`.
grpc::ByteBuffer ChunkMessage(int field, const std::vector<absl::string_view>& bytes,
                              const std::shared_ptr<const void>& owner);

template <typename Message>
bool ParseMessage(grpc::ByteBuffer* bytes, Message* message) {
  return grpc::SerializationTraits<Message>::Deserialize(bytes, message).ok();
}

template <typename Message>
grpc::ByteBuffer PrintMessage(const Message& message) {
  grpc::ByteBuffer bytes;
  bool own = false;
  grpc::SerializationTraits<Message>::Serialize(message, &bytes, &own);
  return bytes;
}

}  // namespace strata::service
