// Models as files: Models.Import and Models.Export.
#pragma once

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "service/core/engine.h"
#include "service/core/file_tool.h"
#include "service/core/registry.h"
#include "strata/v1/services.pb.h"

namespace strata::service {

struct ExportedFile {
  v1::ExportHeader header;
  std::string bytes;
};

// Thread-safe. Functions block on the disk, the engine and the file tool.
class ModelFiles {
 public:
  struct Options {
    ModelRegistry* registry = nullptr;
    const Engine* engine = nullptr;
    std::string scratch_dir;
    // The configuration of a run, for files that hold one.
    std::function<absl::StatusOr<v1::TrainingConfig>(const std::string& run)> training;
    // Files beyond this are refused.
    int64_t max_bytes = int64_t{4} << 30;
  };
  explicit ModelFiles(const Options& options) : options_(options), tool_(options.scratch_dir) {}

  // Registers the model of a file and publishes its weights. Nothing is written unless the whole file fits.
  absl::StatusOr<v1::ImportResponse> Import(const v1::ImportStart& start, const std::string& bytes) const;
  absl::StatusOr<ExportedFile> Export(const v1::ExportRequest& request) const;

  // Whether more bytes may come; INVALID_ARGUMENT otherwise.
  absl::Status CheckSize(int64_t bytes) const;

 private:
  // What a file says, before anything is registered.
  struct Parsed {
    v1::Model definition;   // complete
    bool existing = false;  // the definition is a registered model's
    bool has_weights = false;
    NamedTensors weights;
    v1::ImportResponse response;
    std::string run;
    int64_t step = 0;
  };
  absl::StatusOr<v1::FileFormat> FormatOf(const v1::ImportStart& start, const std::string& bytes) const;
  absl::StatusOr<v1::Model> DefinitionFor(const v1::ImportStart& start, bool* existing) const;
  absl::StatusOr<Parsed> Parse(const v1::ImportStart& start, v1::FileFormat format, const std::string& bytes) const;
  absl::Status ParseDefinition(v1::FileFormat format, const v1::ImportStart& start, const std::string& bytes,
                               Parsed* parsed) const;
  absl::Status ParseNative(const std::string& bytes, Parsed* parsed) const;
  absl::Status ParseStateDict(const v1::ImportStart& start, const std::string& bytes, Parsed* parsed) const;
  absl::Status ParseKeras(const v1::ImportStart& start, const std::string& bytes, Parsed* parsed) const;
  absl::StatusOr<std::string> KerasBytes(v1::FileFormat format, const v1::Model& model, const NamedTensors& weights,
                                         const std::string& run) const;

  const Options options_;
  const FileTool tool_;
};

}  // namespace strata::service
