// The engine's table of contents: from a definition to something that runs.
//
//   1. Complete(model)                        nn/complete.h    defaults, names, order of calls
//   2. BuildModel, BuildTrainStep             nn/build.h, train/step.h    a graph of ops for one batch's shapes
//   3. Gradients                              autodiff/gradients.h        more nodes (called by BuildTrainStep)
//   4. Optimize                               passes/passes.h  simplified, laid out, fused; verified after each pass
//   5. MakePlan                               plan/plan.h      kernels chosen, memory assigned
//   6. Context::Run                           exec/context.h   runs it
//
// Compile does 4 and 5 and caches nothing; PlanCache keeps what it makes, per signature.
#pragma once

#include <cstdint>
#include <list>
#include <memory>
#include <string>
#include <unordered_map>

#include "absl/status/statusor.h"
#include "engine/base/tensor.h"
#include "engine/exec/rows.h"
#include "engine/graph/graph.h"
#include "engine/plan/plan.h"

namespace strata {

struct CompileOptions {
  int threads = 1;
  bool bf16 = false;       // large products take bfloat16 operands, where the machine can
  bool reference = false;  // reference kernels, no passes but pruning
  int64_t max_value_bytes = int64_t{4} << 30;
};

// RESOURCE_EXHAUSTED if a value is larger than the limit.
absl::StatusOr<std::unique_ptr<const Plan>> Compile(Graph graph, const CompileOptions& options);

// The same in ranges of rows, one a thread, where `batched` inputs' rows are independent and enough work; else one
// part, the whole. The last `sums` outputs of the parts add up to the whole's.
absl::StatusOr<std::vector<RowPart>> CompileByRows(Graph graph, const std::vector<bool>& batched, size_t sums,
                                                   const CompileOptions& options);

// Text that names a signature: "input:f32[64, 784];target:i64[64]".
std::string SignatureKey(const NamedViews& tensors);

// Least-recently-used entries up to a number of bytes; the newest stays whatever its size. Thread-compatible.
template <typename Entry>
class PlanCache {
 public:
  explicit PlanCache(int64_t max_bytes) : max_bytes_(max_bytes) {}

  // Null if there is none.
  Entry* Find(const std::string& key) {
    const auto it = index_.find(key);
    if (it == index_.end()) return nullptr;
    if (it->second != order_.begin()) order_.splice(order_.begin(), order_, it->second);
    return &it->second->entry;
  }

  Entry* Add(const std::string& key, Entry entry, int64_t bytes) {
    order_.push_front({key, std::move(entry), bytes});
    index_[key] = order_.begin();
    bytes_ += bytes;
    while (bytes_ > max_bytes_ && order_.size() > 1) {
      bytes_ -= order_.back().bytes;
      index_.erase(order_.back().key);
      order_.pop_back();
    }
    return &order_.front().entry;
  }

  int64_t bytes() const { return bytes_; }
  size_t size() const { return order_.size(); }

 private:
  struct Item {
    std::string key;
    Entry entry;
    int64_t bytes;
  };
  int64_t max_bytes_;
  int64_t bytes_ = 0;
  std::list<Item> order_;
  std::unordered_map<std::string, typename std::list<Item>::iterator> index_;
};

}  // namespace strata
