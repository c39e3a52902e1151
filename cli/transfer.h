// Files on their way to a server and back, in chunks, with their digests.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "cli/client.h"

namespace strata::cli {

// Sends the file at `path` as it is read; `start` says the rest. Its size and digest are those of the bytes.
absl::StatusOr<v1::ImportResponse> SendFile(Client& client, v1::ImportStart start, const std::string& path);

// Receives a file beside its name, then moves it there. DATA_LOSS if it has another size or digest than the server
// says; then, and after any other error, no file of that name is new.
absl::StatusOr<v1::ExportHeader> ReceiveFile(Client& client, const v1::ExportRequest& request, const std::string& path);

}  // namespace strata::cli
