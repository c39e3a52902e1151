// strata infer: predictions for rows of JSON, or the accuracy of a published version on images, through the Open
// Inference Protocol like any other client would.

#include <algorithm>
#include <cstring>
#include <iostream>
#include <memory>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/commands.h"
#include "cli/dataset.h"
#include "cli/json.h"
#include "cli/rows.h"
#include "cli/terminal.h"
#include "engine/base/status.h"

namespace strata::cli {
namespace {

struct InferFlags {
  std::string model;
  std::string version;
  std::string data = "fashion-mnist";
  std::string json;
  int64_t batch = 100;
  int64_t limit = 0;
  int concurrency = 4;
};

// One request in flight. Its messages are used again for the next request.
struct Slot {
  inference::ModelInferRequest request;
  inference::ModelInferResponse response;
  std::unique_ptr<grpc::ClientContext> context;
  std::unique_ptr<grpc::ClientAsyncResponseReader<inference::ModelInferResponse>> call;
  grpc::Status status;
  std::vector<int64_t> rows;
  absl::Time sent;
};

struct Totals {
  int64_t samples = 0;
  int64_t correct = 0;
  std::vector<double> milliseconds;
};

// Compares the first output, FP32 [rows, classes] (or [rows, 1]: class 1 above 0.5), with the labels.
absl::Status Count(const Slot& slot, const Dataset& data, Totals& totals) {
  if (slot.response.outputs().empty() || slot.response.raw_output_contents().empty()) {
    return absl::InternalError("the server's answer has no raw output");
  }
  const std::string& raw = slot.response.raw_output_contents(0);
  const int64_t num_rows = static_cast<int64_t>(slot.rows.size());
  const int64_t classes = static_cast<int64_t>(raw.size() / sizeof(float)) / num_rows;
  if (slot.response.outputs(0).datatype() != "FP32" || classes == 0 ||
      raw.size() != static_cast<size_t>(num_rows * classes) * sizeof(float)) {
    return InvalidArgument("output ", slot.response.outputs(0).name(), ": must be FP32 scores of classes");
  }
  std::vector<float> scores(classes);
  for (int64_t row = 0; row < num_rows; ++row) {
    std::memcpy(scores.data(), raw.data() + row * classes * sizeof(float), classes * sizeof(float));
    const int64_t predicted =
        classes == 1 ? scores[0] > 0.5f : std::max_element(scores.begin(), scores.end()) - scores.begin();
    totals.correct += predicted == data.labels[slot.rows[row]];
  }
  totals.samples += num_rows;
  return absl::OkStatus();
}

absl::Status PrepareRequest(const InferFlags& flags, const inference::ModelMetadataResponse& metadata,
                            const Dataset& data, inference::ModelInferRequest* request) {
  if (metadata.inputs_size() != 1) {
    return InvalidArgument("model ", flags.model, ": must have one input to take images, got ", metadata.inputs_size());
  }
  const auto& spec = metadata.inputs(0);
  if (spec.datatype() != "FP32" && spec.datatype() != "UINT8") {
    return InvalidArgument("input ", spec.name(), ": must be FP32 or UINT8 to take images, got ", spec.datatype());
  }
  request->set_model_name(flags.model);
  request->set_model_version(flags.version);
  auto* input = request->add_inputs();
  input->set_name(spec.name());
  input->set_datatype(spec.datatype());
  *input->mutable_shape() = spec.shape();
  request->add_raw_input_contents();
  const int64_t size = std::accumulate(spec.shape().begin() + std::min(1, spec.shape_size()), spec.shape().end(),
                                       int64_t{1}, std::multiplies<>());
  if (size != data.sample_size()) {
    return InvalidArgument("input ", spec.name(), ": must have the ", data.sample_size(), " elements of an image");
  }
  return absl::OkStatus();
}

void Start(Client& client, const Dataset& data, int64_t first, int64_t num_rows, Slot& slot,
           grpc::CompletionQueue& queue) {
  slot.rows.resize(num_rows);
  std::iota(slot.rows.begin(), slot.rows.end(), first);
  auto* input = slot.request.mutable_inputs(0);
  input->set_shape(0, num_rows);
  EncodePixels(data, slot.rows, input->datatype() == "UINT8" ? v1::UINT8 : v1::FLOAT32,
               slot.request.mutable_raw_input_contents(0));
  slot.context = std::make_unique<grpc::ClientContext>();
  slot.context->set_deadline(absl::ToChronoTime(absl::Now() + absl::Seconds(60)));
  slot.sent = absl::Now();
  slot.call = client.inference().AsyncModelInfer(slot.context.get(), slot.request, &queue);
  slot.call->Finish(&slot.response, &slot.status, &slot);
}

// Keeps `concurrency` requests in flight until all rows are answered; stops sending at the first error.
absl::Status InferAll(Client& client, const InferFlags& flags, const Dataset& data, int64_t rows,
                      std::vector<Slot>& slots, Totals& totals) {
  grpc::CompletionQueue queue;
  int64_t next = 0;
  int in_flight = 0;
  absl::Status status;
  const auto start = [&](Slot& slot) {
    if (next >= rows || !status.ok()) return;
    const int64_t num_rows = std::min(flags.batch, rows - next);
    Start(client, data, next, num_rows, slot, queue);
    next += num_rows;
    ++in_flight;
  };
  for (Slot& slot : slots) start(slot);
  while (in_flight > 0) {
    void* tag;
    bool ok;
    if (!queue.Next(&tag, &ok)) break;
    --in_flight;
    Slot& slot = *static_cast<Slot*>(tag);
    totals.milliseconds.push_back(absl::ToDoubleMilliseconds(absl::Now() - slot.sent));
    if (!slot.status.ok()) status.Update(FromGrpc(slot.status));
    if (status.ok()) status.Update(Count(slot, data, totals));
    start(slot);
  }
  queue.Shutdown();
  return status;
}

double Percentile(std::vector<double>& sorted, double share) {
  return sorted[std::min(sorted.size() - 1, static_cast<size_t>(share * static_cast<double>(sorted.size())))];
}

// The outputs of the rows in a file, as JSON.
absl::Status Predict(Client& client, const InferFlags& flags, const inference::ModelMetadataResponse& metadata) {
  STRATA_ASSIGN_OR_RETURN(const std::string json, ReadFile(flags.json == "-" ? "/dev/stdin" : flags.json));
  inference::ModelInferRequest request;
  request.set_model_name(flags.model);
  request.set_model_version(flags.version);
  STRATA_RETURN_IF_ERROR(AddRows(json, metadata, &request));
  STRATA_ASSIGN_OR_RETURN(const auto response,
                          client.Call(client.inference(), &inference::GRPCInferenceService::Stub::ModelInfer, request));
  STRATA_ASSIGN_OR_RETURN(const std::string rows, RowsOf(response));
  std::cout << rows << "\n";
  return absl::OkStatus();
}

absl::Status Infer(Client& client, const InferFlags& flags) {
  inference::ModelMetadataRequest ask;
  ask.set_name(flags.model);
  ask.set_version(flags.version);
  STRATA_ASSIGN_OR_RETURN(const auto metadata,
                          client.Call(client.inference(), &inference::GRPCInferenceService::Stub::ModelMetadata, ask));
  if (!flags.json.empty()) return Predict(client, flags, metadata);
  STRATA_ASSIGN_OR_RETURN(const Dataset data, LoadDataset(flags.data, Part::kTest));
  const int64_t rows = flags.limit > 0 ? std::min(flags.limit, data.num_samples()) : data.num_samples();

  std::vector<Slot> slots(flags.concurrency);
  for (Slot& slot : slots) STRATA_RETURN_IF_ERROR(PrepareRequest(flags, metadata, data, &slot.request));
  Totals totals;
  const absl::Time started = absl::Now();
  STRATA_RETURN_IF_ERROR(InferAll(client, flags, data, rows, slots, totals));
  const double seconds = absl::ToDoubleSeconds(absl::Now() - started);

  std::sort(totals.milliseconds.begin(), totals.milliseconds.end());
  const std::string version = slots[0].response.model_version();
  std::cout << absl::StrFormat(
      "model %s%s: %s images in %.2f s, %s images/s; %d requests of up to %d, %d in flight, p50 %.2f ms, p99 %.2f ms\n",
      flags.model, version.empty() ? "" : " version " + version, Thousands(totals.samples), seconds,
      Thousands(static_cast<int64_t>(static_cast<double>(totals.samples) / seconds)), totals.milliseconds.size(),
      flags.batch, flags.concurrency, Percentile(totals.milliseconds, 0.5), Percentile(totals.milliseconds, 0.99));
  std::cout << absl::StrFormat("test accuracy %.4f\n",
                               static_cast<double>(totals.correct) / static_cast<double>(totals.samples));
  return absl::OkStatus();
}

}  // namespace

void AddInfer(CLI::App& app, Command& command) {
  auto flags = std::make_shared<InferFlags>();
  CLI::App* infer =
      app.add_subcommand("infer", "Predicts rows of JSON, or measures a published version's accuracy on images");
  infer->add_option("MODEL", flags->model, "Name of the model")->required();
  infer->add_option("--version", flags->version, "Version; default: the one that serves");
  infer->add_option("--json", flags->json,
                    "File of rows, {\"input\": [[...], ...], ...}; -: standard input; prints outputs");
  infer->add_option("--data", flags->data, "Folder of IDX files (t10k-images-idx3-ubyte[.gz], ...), or fashion-mnist");
  infer->add_option("--batch", flags->batch, "Images of a request")->check(AtLeast(1));
  infer->add_option("--concurrency", flags->concurrency, "Requests in flight")->check(AtLeast(1));
  infer->add_option("--limit", flags->limit, "Use the first images only; 0: all")->check(AtLeast(0));
  infer->callback([&command, flags] { command.run = [flags](Client& client) { return Infer(client, *flags); }; });
}

}  // namespace strata::cli
