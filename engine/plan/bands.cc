#include "engine/plan/bands.h"

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "engine/graph/program.h"
#include "engine/kernels/parallel.h"

namespace strata {
namespace {

// Rows larger than this leave the cache before the next step reads them.
constexpr int64_t kMostRowBytes = int64_t{1} << 20;
constexpr int64_t kLeastParts = 4;
// Threads share the parts; the fewer rows there are, the smaller are the parts.
constexpr int64_t kGoodParts = 16;
// All that a band makes lives while any of it does.
constexpr size_t kMostSteps = 32;
// Every part has sums of columns of its own, which are then added: they should be few beside what they are made of.
constexpr int64_t kColumnShare = 8;

using Store = FusedAttrs::Store;

// How a step's program falls into rows: along the first `depth` axes of its space, after those of one element.
struct Rows {
  FusedAttrs program;
  size_t axis = 0;  // the first one
  Shape sizes;

  int64_t count() const { return NumElements(sizes); }
  // Whether an operand's rows are the program's.
  bool Has(const Shape& operand) const {
    const size_t rank = program.space.size();
    return operand.size() >= rank - axis &&
           std::equal(sizes.begin(), sizes.end(), operand.end() - static_cast<std::ptrdiff_t>(rank - axis));
  }
};

std::optional<Rows> RowsOf(const Graph& g, const PlanStep& step, size_t depth) {
  std::optional<FusedAttrs> program = ProgramOf(g, g.nodes()[step.node]);
  if (step.kernel == nullptr || !program) return {};
  Rows r{*std::move(program)};
  const Shape& space = r.program.space;
  while (r.axis < space.size() && space[r.axis] == 1) ++r.axis;
  const size_t end = r.axis + depth;
  if (end > space.size()) return {};
  r.sizes.assign(space.begin() + static_cast<std::ptrdiff_t>(r.axis), space.begin() + static_cast<std::ptrdiff_t>(end));
  if (r.count() < kLeastParts || !step.kernel->CanCut(r.count())) return {};
  for (const auto& result : r.program.results) {
    const bool split = result.store == Store::kSumRows || result.store == Store::kSumColumns;
    if (result.variable >= 0 || (split && static_cast<size_t>(r.program.row_axes) < end)) return {};
  }
  return r;
}

// Steps that may become a band.
class Draft {
 public:
  Draft(const Graph& g, const std::vector<ValueId>& roots, size_t depth) : g_(g), roots_(roots), depth_(depth) {}

  // False, and nothing is changed, if the step needs more of the others' results than its own rows.
  bool Add(const PlanStep& step) {
    std::optional<Rows> rows = RowsOf(g_, step, depth_);
    if (!rows || count_ == kMostSteps || (count_ > 0 && rows->sizes != sizes_)) return false;
    for (const ValueId v : step.in) {
      const auto made = made_.find(roots_[v]);
      if (made != made_.end() && !(made->second && ReadsRows(v, *rows))) return false;
    }
    std::set<ValueId> mine;
    for (const ValueId v : step.in) {
      if (ReadsRows(v, *rows)) {
        mine.insert(roots_[v]);
      } else {
        whole_.insert(roots_[v]);
      }
    }
    for (size_t o = 0; o < step.out.size(); ++o) {
      const Store store = rows->program.results[o].store;
      const bool own = store == Store::kFull || store == Store::kSumRows;
      made_[step.out[o]] = own;
      if (own) mine.insert(step.out[o]);
      if (store == Store::kSumColumns) column_bytes_ += Bytes(step.out[o]);
    }
    for (const ValueId root : mine) ++touched_[root];
    sizes_ = rows->sizes;
    ++count_;
    return true;
  }

  size_t count() const { return count_; }
  size_t depth() const { return depth_; }
  int64_t rows() const { return NumElements(sizes_); }
  // That fall into rows.
  int64_t bytes() const {
    int64_t bytes = 0;
    for (const auto& [root, steps] : touched_) bytes += Bytes(root);
    return bytes;
  }
  // Of sums of columns.
  int64_t column_bytes() const { return column_bytes_; }
  // Whether two steps touch one value of so many bytes.
  bool Shares(int64_t least) const {
    return std::any_of(touched_.begin(), touched_.end(),
                       [&](const auto& t) { return t.second > 1 && Bytes(t.first) >= least; });
  }
  std::vector<ValueId> whole() const { return {whole_.begin(), whole_.end()}; }

 private:
  int64_t Bytes(ValueId v) const { return BytesOf(g_.info(v)); }

  // Whether the step reads of the value nothing but its own rows.
  bool ReadsRows(ValueId v, const Rows& rows) const {
    return Bytes(v) == Bytes(roots_[v]) && rows.Has(g_.info(v).shape);
  }

  const Graph& g_;
  const std::vector<ValueId>& roots_;
  size_t depth_;
  size_t count_ = 0;
  int64_t column_bytes_ = 0;
  Shape sizes_;
  std::map<ValueId, bool> made_;    // results, and whether they have rows
  std::map<ValueId, int> touched_;  // what lives in memory that falls into rows, and how many steps touch it
  std::set<ValueId> whole_;         // the rest
};

class Finder {
 public:
  Finder(const Graph& g, const std::vector<ValueId>& roots, int64_t cache_bytes, std::vector<PlanStep>* steps)
      : g_(g), roots_(roots), cache_bytes_(cache_bytes), steps_(*steps) {}

  std::vector<Band> Find(size_t end) {
    for (size_t first = 0; first < end;) {
      Draft draft(g_, roots_, 1);
      size_t next = first;
      while (next < end && draft.Add(steps_[next])) ++next;
      if (draft.count() > 1) MakeBand(first, draft);
      first = std::max(next, first + 1);
    }
    return std::move(bands_);
  }

 private:
  // If that pays.
  void MakeBand(size_t first, const Draft& draft) {
    const int64_t row = std::max<int64_t>(draft.bytes() / draft.rows(), 1);
    if (row > cache_bytes_) {  // rows of fewer elements, if all steps have such
      Draft deeper(g_, roots_, draft.depth() + 1);
      while (deeper.count() < draft.count() && deeper.Add(steps_[first + deeper.count()])) {
      }
      if (deeper.count() == draft.count()) return MakeBand(first, deeper);
    }
    const int64_t least_rows = std::max<int64_t>(kColumnShare * draft.column_bytes() / row, 1);
    const int64_t rows_a_part = std::max(std::min(cache_bytes_ / row, draft.rows() / kGoodParts), least_rows);
    const int64_t parts = (draft.rows() + rows_a_part - 1) / rows_a_part;
    if (!draft.Shares(cache_bytes_ / 2) || draft.bytes() < 2 * cache_bytes_ || row > kMostRowBytes ||
        parts < kLeastParts || parts >= WorkerPool::kMaxChunks) {
      return;
    }
    for (size_t i = 0; i < draft.count(); ++i) {
      steps_[first + i].kernel->Cut(draft.rows(), rows_a_part);
      steps_[first + i].band = static_cast<int32_t>(bands_.size());
    }
    bands_.push_back({first, draft.count(), parts, draft.whole()});
  }

  const Graph& g_;
  const std::vector<ValueId>& roots_;
  const int64_t cache_bytes_;
  std::vector<PlanStep>& steps_;
  std::vector<Band> bands_;
};

}  // namespace

std::vector<Band> CutIntoBands(const Graph& graph, const std::vector<ValueId>& roots, size_t end, int64_t cache_bytes,
                               std::vector<PlanStep>* steps) {
  return Finder(graph, roots, cache_bytes, steps).Find(end);
}

}  // namespace strata
