#include "cli/transfer.h"

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "absl/strings/str_cat.h"
#include "engine/base/sha256.h"
#include "engine/base/status.h"

namespace strata::cli {
namespace {

constexpr size_t kChunkBytes = size_t{1} << 20;

}  // namespace

absl::StatusOr<v1::ImportResponse> SendFile(Client& client, v1::ImportStart start, const std::string& path) {
  std::ifstream in(path, std::ios::binary);
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  if (!in || error) return absl::NotFoundError(absl::StrCat(path, ": cannot be read"));
  start.set_size(static_cast<int64_t>(size));
  start.set_digest_follows(true);
  v1::ImportRequest request;
  *request.mutable_start() = std::move(start);
  grpc::ClientContext context;
  v1::ImportResponse response;
  const auto writer = client.models().Import(&context, &response);
  bool open = writer->Write(request);
  Sha256 hash;
  while (open) {
    std::string* chunk = request.mutable_chunk();
    chunk->resize(kChunkBytes);  // all but the first and the last one have this size already
    in.read(chunk->data(), static_cast<std::streamsize>(kChunkBytes));
    if (in.gcount() == 0) break;
    chunk->resize(static_cast<size_t>(in.gcount()));
    hash.Add(chunk->data(), chunk->size());
    open = writer->Write(request);
  }
  if (in.bad()) {
    context.TryCancel();
    writer->Finish();
    return absl::InternalError(absl::StrCat(path, ": cannot be read to its end"));
  }
  request.set_digest(hash.Hex());
  if (open) writer->Write(request);
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
  v1::ExportResponse response;
  v1::ExportHeader header;
  Sha256 hash;
  int64_t size = 0;
  while (reader->Read(&response)) {
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
    hash.Add(chunk.data(), chunk.size());
    out.write(chunk.data(), static_cast<std::streamsize>(chunk.size()));
  }
  absl::Status status = FromGrpc(reader->Finish());
  if (status.ok() && size != header.size()) {
    status = absl::DataLossError(absl::StrCat("export: must have ", header.size(), " bytes, got ", size));
  }
  if (const std::string digest = hash.Hex(); status.ok() && digest != header.digest()) {
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
