#include "engine/plan/plan.h"

#include <algorithm>
#include <optional>

#include "engine/base/status.h"
#include "engine/passes/rewriter.h"
#include "engine/plan/arena.h"
#include "engine/plan/bands.h"

namespace strata {
namespace {

bool WritesVariable(const Node& node) {
  if (node.op == Op::kAssign) return true;
  if (const auto* fused = std::get_if<FusedAttrs>(&node.attrs)) {
    for (const auto& r : fused->results) {
      if (r.variable >= 0) return true;
    }
  }
  return false;
}

// Variables that some node writes.
std::vector<bool> WrittenVariables(const Graph& g) {
  std::vector<bool> written(g.variables().size(), false);
  for (const Node& node : g.nodes()) {
    if (node.op == Op::kAssign) written[node.as<VariableAttrs>().index] = true;
    if (const auto* fused = std::get_if<FusedAttrs>(&node.attrs)) {
      for (const auto& r : fused->results) {
        if (r.variable >= 0) written[r.variable] = true;
      }
    }
  }
  return written;
}

// An assignment that copies a variable which is itself written reads a copy made before all writes.
Graph DetachAssignments(Graph graph) {
  const std::vector<bool> written = WrittenVariables(graph);
  const auto reads_written = [&](ValueId v) {
    while (graph.producer(v).op == Op::kReshape) v = graph.producer(v).inputs[0];
    const Node& n = graph.producer(v);
    return n.op == Op::kVariable && written[n.as<VariableAttrs>().index];
  };
  bool any = false;
  for (const Node& n : graph.nodes()) any |= n.op == Op::kAssign && reads_written(n.inputs[0]);
  if (!any) return graph;
  Rewriter w(graph);
  return w.Run([&](const Node& node, std::span<const Value> in, std::vector<Value>* out) {
    if (node.op != Op::kAssign || !reads_written(node.inputs[0])) return false;
    const Shape& shape = in[0].shape();
    const SliceAttrs whole{Shape(shape.size(), 0), shape, Shape(shape.size(), 1)};
    const Value copy = w.graph().AddNode(Op::kSlice, whole, in, {{in[0].dtype(), shape}})[0];
    w.graph().Assign(node.as<VariableAttrs>().index, copy);
    out->clear();
    return true;
  });
}

// Where a slice begins in its operand, in elements, if it is one range of it.
std::optional<int64_t> RangeOf(const SliceAttrs& slice, const Shape& from) {
  const Shape strides = Strides(from);
  int64_t offset = 0;
  bool whole = true;  // from the next axis on
  for (size_t d = from.size(); d-- > 0;) {
    if (slice.size[d] > 1 && (slice.step[d] != 1 || !whole)) return std::nullopt;
    whole = whole && slice.size[d] == from[d];
    offset += slice.start[d] * strides[d];
  }
  return offset;
}

// The column that a slice begins with, if it leaves out nothing but columns, elements of the last axis.
std::optional<int64_t> ColumnOf(const SliceAttrs& slice, const Shape& from) {
  for (size_t d = 0; d < from.size(); ++d) {
    if (slice.step[d] != 1 || (d + 1 < from.size() && slice.size[d] != from[d])) return std::nullopt;
  }
  return from.empty() ? std::nullopt : std::optional(slice.start.back());
}

// How many times as large as a slice the value may be that it keeps alive by being a part of it.
constexpr int64_t kMostKept = 8;
// Columns from which rows that stand apart are as good as a copy of them: a line of the cache.
constexpr int64_t kLeastColumns = 16;

bool Contains(const std::vector<ValueId>& list, ValueId v) {
  return std::find(list.begin(), list.end(), v) != list.end();
}

class Planner {
 public:
  Planner(Graph graph, const PlanOptions& options) : options_(options), plan_(std::make_unique<Plan>()) {
    plan_->graph = DetachAssignments(std::move(graph));
    plan_->threads = options.threads;
  }

  absl::StatusOr<std::unique_ptr<const Plan>> Make() {
    const Graph& g = plan_->graph;
    plan_->places.resize(g.values().size());
    views_.resize(g.values().size());
    for (size_t i = 0; i < views_.size(); ++i) views_[i].of = static_cast<ValueId>(i);
    PlaceLeaves();
    FindViews();
    FindColumns();
    FindSteady();
    // Readers first, then fused updates in place, then copies: a copy's source may still read what a fused update has
    // not written, and no reader comes after a writer.
    AddSteps([](const Node& n) { return !WritesVariable(n); });
    plan_->first_write = plan_->steps.size();
    AddSteps([](const Node& n) { return n.op != Op::kAssign && WritesVariable(n); });
    AddSteps([](const Node& n) { return n.op == Op::kAssign; });
    if (!options_.reference_only) FindBands();
    PlaceInArena();
    for (const NamedValue& o : g.outputs()) {
      if (o.name == "commit") plan_->commit = o.value;
    }
    return std::unique_ptr<const Plan>(std::move(plan_));
  }

 private:
  // A value in the memory of another, itself in nobody's.
  struct View {
    ValueId of = -1;
    int64_t offset = 0;  // bytes
  };
  ValueId Root(ValueId v) const { return views_[v].of; }

  // A variable is written while slices of it may still be read; a large value should not live on for a small one.
  bool MayBePartOf(ValueId root, ValueId v) const {
    return plan_->places[root].kind != Place::Kind::kVariable &&
           BytesOf(plan_->graph.info(root)) <= kMostKept * BytesOf(plan_->graph.info(v));
  }

  void PlaceLeaves() {
    int64_t next_input = 0;
    for (const Node& node : plan_->graph.nodes()) {
      if (node.op == Op::kInput) plan_->places[node.outputs[0]] = {Place::Kind::kInput, next_input++};
      if (node.op == Op::kVariable) {
        plan_->places[node.outputs[0]] = {Place::Kind::kVariable, node.as<VariableAttrs>().index};
      }
      if (node.op == Op::kConstant) {
        plan_->places[node.outputs[0]] = {Place::Kind::kConstant, 0, node.as<LiteralAttrs>().value->raw()};
      }
    }
  }

  // Reshapes, and slices that are one range, share their operand's memory.
  void FindViews() {
    const Graph& g = plan_->graph;
    // Outputs of their own size, for the caller's memory.
    std::vector<bool> output(g.values().size(), false);
    for (const NamedValue& o : g.outputs()) {
      ValueId v = o.value;
      while (g.producer(v).op == Op::kReshape) v = g.producer(v).inputs[0];
      output[v] = true;
    }
    for (const Node& node : g.nodes()) {
      if (node.op != Op::kReshape && node.op != Op::kSlice) continue;
      const ValueId v = node.outputs[0], from = node.inputs[0], root = Root(from);
      if (node.op == Op::kReshape) {
        views_[v] = views_[from];
      } else if (const auto start = RangeOf(node.as<SliceAttrs>(), g.info(from).shape);
                 start && !output[v] && MayBePartOf(root, v)) {
        views_[v] = {root, views_[from].offset + *start * static_cast<int64_t>(SizeOf(g.info(v).dtype))};
      }
    }
  }

  // Slices of columns that fused programs alone read are no copies: the gates of a recurrent cell.
  void FindColumns() {
    const Graph& g = plan_->graph;
    rows_apart_.assign(g.values().size(), 0);
    std::vector<bool> read(g.values().size(), true);  // by readers that all take it
    for (const NamedValue& o : g.outputs()) read[o.value] = false;
    for (const Node& node : g.nodes()) {
      const bool slices = std::any_of(node.inputs.begin(), node.inputs.end(),
                                      [&](ValueId v) { return g.producer(v).op == Op::kSlice; });
      if (!slices || ReadsRowsApart(g, node)) continue;
      for (ValueId v : node.inputs) read[v] = false;
    }
    for (const Node& node : g.nodes()) {
      if (node.op != Op::kSlice) continue;
      const ValueId v = node.outputs[0], from = node.inputs[0], root = Root(from);
      const ValueInfo &info = g.info(v), &whole = g.info(from);
      const std::optional<int64_t> column = ColumnOf(node.as<SliceAttrs>(), whole.shape);
      if (!column || !read[v] || Root(v) != v || rows_apart_[from] > 0 || info.dtype != DType::kF32 ||
          info.shape.size() < 2 || info.shape.back() < kLeastColumns || NumElements(info.shape) == 0 ||
          !MayBePartOf(root, v)) {
        continue;
      }
      views_[v] = {root, views_[from].offset + *column * static_cast<int64_t>(sizeof(float))};
      rows_apart_[v] = whole.shape.back();
    }
  }

  void FindSteady() {
    const Graph& g = plan_->graph;
    steady_.assign(g.values().size(), false);
    for (size_t i = g.inputs().size() - options_.steady_inputs; i < g.inputs().size(); ++i) {
      steady_[g.inputs()[i].value] = true;
    }
    for (size_t v = 0; v < steady_.size(); ++v) steady_[v] = steady_[Root(static_cast<ValueId>(v))];
  }

  template <typename Filter>
  void AddSteps(Filter filter) {
    const Graph& g = plan_->graph;
    for (size_t n = 0; n < g.nodes().size(); ++n) {
      const Node& node = g.nodes()[n];
      const bool leaf = node.op == Op::kInput || node.op == Op::kVariable || node.op == Op::kConstant;
      const bool view = node.outputs.size() == 1 && Root(node.outputs[0]) != node.outputs[0];
      if (leaf || view || !filter(node)) continue;
      PlanStep step{static_cast<NodeId>(n), nullptr, {}, {}};
      step.in = node.inputs;
      step.out = node.outputs;
      if (node.op == Op::kAssign) {
        step.variable = node.as<VariableAttrs>().index;
        step.bytes = BytesOf(g.info(node.inputs[0]));
      } else {
        Selection s = SelectKernel(g, node,
                                   {.threads = options_.threads,
                                    .bf16 = options_.bf16,
                                    .reference_only = options_.reference_only,
                                    .steady = &steady_,
                                    .rows_apart = &rows_apart_});
        step.kernel = std::move(s.kernel);
        step.declined = std::move(s.declined);
      }
      plan_->steps.push_back(std::move(step));
    }
  }

  void FindBands() {
    std::vector<ValueId> roots;
    for (const View& view : views_) roots.push_back(view.of);
    plan_->bands = CutIntoBands(plan_->graph, roots, plan_->first_write, options_.cache_bytes, &plan_->steps);
  }

  // Steps of a band run at the same time.
  int32_t TimeOf(int32_t step) const {
    if (step < 0 || step >= static_cast<int32_t>(plan_->steps.size()) || plan_->steps[step].band < 0) return step;
    return static_cast<int32_t>(plan_->bands[plan_->steps[step].band].first);
  }

  void PlaceInArena() {
    const Graph& g = plan_->graph;
    const int32_t end = static_cast<int32_t>(plan_->steps.size());
    std::vector<int32_t> last(g.values().size(), -1);
    for (int32_t s = 0; s < end; ++s) {
      for (ValueId v : plan_->steps[s].in) last[Root(v)] = s;
      for (ValueId v : plan_->steps[s].out) last[v] = std::max(last[v], s);
    }
    for (const NamedValue& o : g.outputs()) last[Root(o.value)] = end;

    FindPlacedOutputs();

    std::vector<Buffer> buffers;
    std::vector<int32_t> buffer_of(g.values().size(), -1);
    std::vector<int32_t> scratch_of(plan_->steps.size(), -1);
    for (int32_t s = 0; s < end; ++s) {
      const PlanStep& step = plan_->steps[s];
      for (size_t o = 0; o < step.out.size(); ++o) {
        const ValueId v = step.out[o];
        const int64_t bytes = BytesOf(g.info(v));
        plan_->value_bytes += bytes;
        if (plan_->places[v].kind == Place::Kind::kOutput) continue;
        const int32_t reused =
            options_.in_place && options_.reuse ? Overwritten(step, o, s, bytes, last, buffer_of) : -1;
        if (reused >= 0) {
          buffer_of[v] = reused;
          buffers[reused].last = std::max(buffers[reused].last, TimeOf(last[v]));
          continue;
        }
        buffer_of[v] = static_cast<int32_t>(buffers.size());
        buffers.push_back({bytes, TimeOf(s), TimeOf(last[v])});
      }
      if (step.kernel != nullptr) plan_->packed_bytes += step.kernel->packed_bytes();
      if (step.kernel != nullptr && step.kernel->scratch_bytes() > 0) {
        scratch_of[s] = static_cast<int32_t>(buffers.size());
        buffers.push_back({step.kernel->scratch_bytes(), TimeOf(s), TimeOf(s)});
      }
    }
    plan_->arena_bytes = AssignOffsets(&buffers, options_.reuse);
    for (size_t v = 0; v < buffer_of.size(); ++v) {
      if (buffer_of[v] >= 0) plan_->places[v] = {Place::Kind::kArena, buffers[buffer_of[v]].offset};
    }
    for (size_t v = 0; v < views_.size(); ++v) {
      plan_->places[v] = plan_->places[Root(static_cast<ValueId>(v))];
      plan_->places[v].offset = views_[v].offset;
    }
    for (size_t s = 0; s < scratch_of.size(); ++s) {
      if (scratch_of[s] >= 0) plan_->steps[s].scratch = buffers[scratch_of[s]].offset;
    }
  }

  // The caller's memory holds what a step makes of an output; of several outputs of one value, the first one's.
  void FindPlacedOutputs() {
    if (!options_.place_outputs) return;
    for (size_t i = 0; i < plan_->graph.outputs().size(); ++i) {
      Place& place = plan_->places[Root(plan_->graph.outputs()[i].value)];
      if (place.kind == Place::Kind::kNone) place = {Place::Kind::kOutput, static_cast<int64_t>(i)};
    }
  }

  // The buffer of an input that dies here and that output `o` may take over; -1 if there is none.
  int32_t Overwritten(const PlanStep& step, size_t o, int32_t s, int64_t bytes, const std::vector<int32_t>& last,
                      const std::vector<int32_t>& buffer_of) const {
    if (step.kernel == nullptr) return -1;
    for (size_t i = 0; i < step.in.size(); ++i) {
      const ValueId v = Root(step.in[i]);
      if (buffer_of[v] < 0 || last[v] != s || BytesOf(plan_->graph.info(v)) != bytes) continue;
      if (!step.kernel->CanOverwrite(static_cast<int>(i), static_cast<int>(o))) continue;
      if (step.band >= 0 && Contains(plan_->bands[step.band].whole, v)) continue;
      bool taken = false;  // by an earlier output, by an operand that is another part, or by a value that lives on
      for (ValueId other : step.in) taken |= Root(other) == v && BytesOf(plan_->graph.info(other)) != bytes;
      for (size_t p = 0; p < o; ++p) taken |= buffer_of[step.out[p]] == buffer_of[v];
      for (size_t u = 0; u < buffer_of.size(); ++u) {
        taken |= buffer_of[u] == buffer_of[v] && static_cast<ValueId>(u) != v && last[u] >= s;
      }
      if (!taken) return buffer_of[v];
    }
    return -1;
  }

  PlanOptions options_;
  std::unique_ptr<Plan> plan_;
  std::vector<View> views_;
  std::vector<bool> steady_;         // by value: the same in many runs
  std::vector<int64_t> rows_apart_;  // by value: see KernelOptions
};

}  // namespace

absl::StatusOr<std::unique_ptr<const Plan>> MakePlan(Graph graph, const PlanOptions& options) {
  return Planner(std::move(graph), options).Make();
}

std::string ToText(const Plan& plan) {
  std::string out;
  for (size_t s = 0; s < plan.steps.size(); ++s) {
    const PlanStep& step = plan.steps[s];
    const Node& node = plan.graph.nodes()[step.node];
    if (s == plan.first_write) absl::StrAppend(&out, "-- writes --\n");
    if (step.band >= 0 && plan.bands[step.band].first == s) {
      absl::StrAppend(&out, "-- ", plan.bands[step.band].count, " steps in ", plan.bands[step.band].parts,
                      " parts --\n");
    }
    absl::StrAppend(&out, step.band >= 0 ? "  " : "", OpName(node.op), " [", step.kernel ? step.kernel->name() : "copy",
                    "]");
    for (ValueId v : step.out) {
      absl::StrAppend(&out, " %", v, " ", ShapeString(plan.graph.info(v).shape), " @", plan.places[v].index);
    }
    if (step.variable >= 0) absl::StrAppend(&out, " -> ", plan.graph.variables()[step.variable].name);
    for (const std::string& why : step.declined) absl::StrAppend(&out, "  (", why, ")");
    absl::StrAppend(&out, "\n");
  }
  absl::StrAppend(&out, "arena ", plan.arena_bytes, " bytes; ", plan.value_bytes, " without reuse\n");
  return out;
}

}  // namespace strata
