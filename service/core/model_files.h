// Models as files: Models.Import and Models.Export.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "service/core/engine.h"
#include "service/core/file_tool.h"
#include "service/core/incoming_file.h"
#include "service/core/native_file.h"
#include "service/core/registry.h"
#include "service/core/run_manager.h"
#include "service/core/training_state.h"
#include "strata/v1/services.pb.h"

namespace strata::service {

// A file to send: `head`, then the tensors in order, which belong to `owner`. The header has its digest unless that may
// follow.
struct ExportedFile {
  v1::ExportHeader header;
  std::string head;
  std::vector<TensorView> tensors;
  std::shared_ptr<const void> owner;
};

// Thread-safe. Functions block on the disk, the engine and the file tool.
class ModelFiles {
 public:
  struct Options {
    ModelRegistry* registry = nullptr;
    const RunManager* runs = nullptr;
    const Engine* engine = nullptr;
    std::string scratch_dir;
    // Files beyond this are refused.
    int64_t max_bytes = int64_t{4} << 30;
    // Files on their way in, together.
    int64_t import_bytes = int64_t{4} << 30;
  };
  explicit ModelFiles(const Options& options)
      : options_(options),
        tool_(options.scratch_dir),
        budget_(std::make_unique<ByteBudget>(static_cast<uint64_t>(options.import_bytes))) {}

  // For the chunks of one import. INVALID_ARGUMENT for a file that is too large, RESOURCE_EXHAUSTED if it is too large
  // beside the others on their way.
  absl::StatusOr<IncomingFile> Begin(const v1::ImportStart& start) const;
  // Registers the model of a file and publishes its weights. Nothing is written unless the whole file fits.
  absl::StatusOr<v1::ImportResponse> Import(const v1::ImportStart& start, IncomingFile file) const;
  absl::StatusOr<ExportedFile> Export(const v1::ExportRequest& request) const;

 private:
  // What a file says, before anything is registered.
  struct Parsed {
    v1::Model definition;   // complete
    bool existing = false;  // the definition is a registered model's
    bool has_weights = false;
    NamedTensors weights;
    std::optional<TrainingState> training;
    v1::ImportResponse response;
    std::string run;
    int64_t step = 0;
  };
  CustomComponents CustomFor(const v1::ImportStart& start) const;
  // The file of the version that weights with this header will be, if they fit the model as they come.
  std::optional<GrowingPlan> PlanVersion(const v1::ImportStart& start, const TensorHeader& header) const;
  absl::StatusOr<v1::Model> DefinitionFor(const v1::ImportStart& start, bool* existing) const;
  absl::StatusOr<Parsed> Parse(const v1::ImportStart& start, v1::FileFormat format, IncomingFile* file) const;
  absl::Status ParseDefinition(v1::FileFormat format, const v1::ImportStart& start, const std::string& bytes,
                               Parsed* parsed) const;
  absl::Status ParseNative(TensorFile file, Parsed* parsed) const;
  absl::Status ParseStateDict(const v1::ImportStart& start, TensorFile file, Parsed* parsed) const;
  absl::Status ParseKeras(const v1::ImportStart& start, std::string bytes, Parsed* parsed) const;
  void ParseKerasTraining(const v1::ImportStart& start, const std::string& text,
                          const std::vector<ParameterSpec>& parameters, const TensorFile& file, Parsed* parsed) const;
  // The engine takes the weights, and the training goes on from its state. `parsed` is as before afterwards.
  absl::Status Check(Parsed* parsed) const;

  // What an export sends: a version or a run's checkpoint.
  struct Content {
    v1::Model definition;
    v1::VersionInfo version;  // its number is 0 for a run
    std::string run;
    int64_t step = 0;
    NamedTensors weights;
    std::shared_ptr<const Version> loaded;  // in place of `weights`: a version in memory, whose bytes need no reading
    std::optional<TrainingState> training;
    Metadata metadata;  // of a run's checkpoint
  };
  absl::Status ReadVersion(const v1::ExportRequest& request, Content* content) const;
  absl::StatusOr<Content> ContentOf(const v1::ExportRequest& request) const;
  void AddTrainingOfRun(Content* content) const;
  absl::StatusOr<std::string> KerasBytes(v1::FileFormat format, Content content) const;
  absl::Status PutNative(Content content, ExportedFile* out) const;

  const Options options_;
  const FileTool tool_;
  const std::unique_ptr<ByteBudget> budget_;
};

}  // namespace strata::service
