#include "cli/transfer.h"

#include <array>
#include <cstdio>
#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "engine/base/background_hash.h"
#include "engine/base/status.h"

namespace strata::cli {
namespace {

constexpr size_t kChunkBytes = size_t{1} << 20;

// A few messages take turns: some are hashed while another one is read, sent or received.
template <typename Message>
class Turns {
 public:
  // The next one, which nobody reads any more.
  Message& Next() {
    at_ = (at_ + 1) % kMessages;
    hash_.Await(messages_[at_].hashed);
    return messages_[at_].message;
  }
  // `chunk` is the one of the message that Next returned.
  void Hash(const std::string& chunk) { messages_[at_].hashed = hash_.Add(chunk); }
  // SHA-256 of all chunks. Call once.
  std::string Hex() { return hash_.Hex(); }

 private:
  static constexpr size_t kMessages = 8;
  struct Turn {
    Message message;
    uint64_t hashed = 0;  // how far the hash is when it has read it
  };
  std::array<Turn, kMessages> messages_;
  size_t at_ = 0;
  BackgroundHash hash_;  // reads the messages: goes first
};

}  // namespace

absl::StatusOr<v1::ImportResponse> SendFile(Client& client, v1::ImportStart start, const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  if (!in || error) return absl::NotFoundError(absl::StrCat(path, ": cannot be read"));
  start.set_size(static_cast<int64_t>(size));
  start.set_digest_follows(true);
  v1::ImportRequest first, last;
  *first.mutable_start() = std::move(start);
  grpc::ClientContext context;
  v1::ImportResponse response;
  const auto writer = client.models().Import(&context, &response);
  bool open = writer->Write(first);
  Turns<v1::ImportRequest> turns;
  while (open) {
    v1::ImportRequest& request = turns.Next();
    std::string* chunk = request.mutable_chunk();
    chunk->resize(kChunkBytes);  // what had a turn before has this size already
    in.read(chunk->data(), static_cast<std::streamsize>(kChunkBytes));
    if (in.gcount() == 0) break;
    chunk->resize(static_cast<size_t>(in.gcount()));
    turns.Hash(*chunk);
    open = writer->Write(request);
  }
  if (in.bad()) {
    context.TryCancel();
    writer->Finish();
    return absl::InternalError(absl::StrCat(path, ": cannot be read to its end"));
  }
  last.set_digest(turns.Hex());
  if (open) writer->Write(last);
  writer->WritesDone();
  STRATA_RETURN_IF_ERROR(FromGrpc(writer->Finish()));
  return response;
}

absl::StatusOr<v1::ExportHeader> ReceiveFile(Client& client, const v1::ExportRequest& request,
                                             const std::string& path) {
  const std::string temporary = absl::StrCat(path, ".part");
  std::ofstream out(temporary, std::ios::binary | std::ios::trunc);
  if (!out) return InvalidArgument("FILE: must be a file that can be written, got ", path);
  grpc::ClientContext context;
  v1::ExportRequest asked = request;
  asked.set_digest_follows(true);
  const auto reader = client.models().Export(&context, asked);
  v1::ExportHeader header;
  Turns<v1::ExportResponse> turns;
  int64_t size = 0;
  for (;;) {
    v1::ExportResponse& response = turns.Next();
    if (!reader->Read(&response)) break;
    if (response.has_header()) {
      header = response.header();
      continue;
    }
    if (response.has_digest()) {
      header.set_digest(response.digest());
      continue;
    }
    const std::string& chunk = response.chunk();
    size += static_cast<int64_t>(chunk.size());
    turns.Hash(chunk);
    out.write(chunk.data(), static_cast<std::streamsize>(chunk.size()));
  }
  absl::Status status = FromGrpc(reader->Finish());
  if (status.ok() && size != header.size()) {
    status = absl::DataLossError(absl::StrCat("export: must have ", header.size(), " bytes, got ", size));
  }
  if (const std::string digest = turns.Hex(); status.ok() && digest != header.digest()) {
    status = absl::DataLossError(
        absl::StrCat("export: must have the digest ", header.digest(), ", as the server says, got ", digest));
  }
  if (status.ok() && !out.flush()) status = absl::InternalError(absl::StrCat(path, ": cannot be written"));
  out.close();
  if (status.ok() && std::rename(temporary.c_str(), path.c_str()) != 0) {
    status = absl::InternalError(absl::StrCat(path, ": cannot be written"));
  }
  if (status.ok()) return header;
  std::remove(temporary.c_str());
  return status;
}

}  // namespace strata::cli
