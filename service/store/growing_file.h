// A tensor file that is written while its bytes arrive, so that it is on the disk soon after the last of them.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/strings/string_view.h"
#include "absl/synchronization/mutex.h"
#include "service/store/files.h"
#include "service/store/safetensors.h"

namespace strata::service {

// What is written of tensors that come in the order of some header: `prefix`, then those of its entries that `order`
// lists, whole.
struct GrowingPlan {
  std::string prefix;
  std::vector<size_t> order;
};

// Writes and hashes on a thread of its own; nothing but Written and Holds blocks. Thread-safe.
class GrowingFile {
 public:
  // Called once, on the thread of the file. Nothing: no file is made.
  using Planner = std::function<std::optional<GrowingPlan>(const TensorHeader&)>;

  // `path` is temporary and goes with this object.
  GrowingFile(std::string path, Planner planner);
  ~GrowingFile();
  GrowingFile(const GrowingFile&) = delete;

  // Which tensors will come. Called once, before Grown.
  void Begin(TensorHeader header);
  // The first `filled` bytes of an entry are in `tensor`, which is always the same one. They are held: the tensor may
  // go, but nobody may write them.
  void Grown(size_t entry, const Tensor& tensor, uint64_t filled);
  // No more bytes will arrive.
  void End();

  // Waits until all is durable, or nothing more is done. False if there is no file, or some of it did not arrive. After
  // End.
  bool Written();
  // Whether the file is Written, and one of these tensors, which stand where they arrived.
  bool Holds(absl::string_view prefix, const std::vector<std::string>& order, const NamedViews& tensors);
  // What the disk said: the file is durable under the temporary path. After Written.
  absl::StatusOr<FileStamp> Finish() const;
  const std::string& path() const { return path_; }

 private:
  struct Arrived {
    std::shared_ptr<const void> data;
    uint64_t filled = 0;
  };
  enum class State { kGrowing, kDeclined, kEnded };

  void Run();
  absl::Status Write(const TensorHeader& header, const GrowingPlan& plan);
  // What has arrived of an entry beyond `done`; empty if nothing more will, or nobody wants the file any more.
  absl::string_view Await(size_t entry, uint64_t done);
  void Set(State state, absl::Status status = absl::OkStatus());

  const std::string path_;
  const Planner planner_;
  mutable absl::Mutex mutex_;
  std::optional<TensorHeader> header_ ABSL_GUARDED_BY(mutex_);
  std::vector<Arrived> arrived_ ABSL_GUARDED_BY(mutex_);
  GrowingPlan plan_ ABSL_GUARDED_BY(mutex_);
  State state_ ABSL_GUARDED_BY(mutex_) = State::kGrowing;
  absl::Status status_ ABSL_GUARDED_BY(mutex_);
  FileStamp stamp_ ABSL_GUARDED_BY(mutex_);
  bool end_ ABSL_GUARDED_BY(mutex_) = false;       // nothing more arrives
  bool unwanted_ ABSL_GUARDED_BY(mutex_) = false;  // this object goes
  std::thread thread_;                             // the last member: it begins when the others are there
};

}  // namespace strata::service
