// Cuts a computation whose rows are independent into ranges of rows, each of which one thread can run from beginning to
// end. Every value either counts rows along one axis, each row a block of equal size, or has none and is the same for
// all, or is a sum over all rows, which nothing reads.
#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/ops/ops.h"
#include "engine/ops/record.h"
#include "engine/passes/passes.h"
#include "engine/passes/rewriter.h"

namespace strata {
namespace {

// Which axis of a value counts rows, and how many of its elements make one row: [N S, D] has S a row.
struct RowAxis {
  int at = -1;
  int64_t per = 1;

  explicit operator bool() const { return at >= 0; }
  bool operator==(const RowAxis&) const = default;
};

class RowCutter {
 public:
  RowCutter(const Graph& from, int64_t batch, int64_t rows)
      : from_(from),
        batch_(batch),
        rows_(rows),
        map_(from.values().size()),
        axis_(from.values().size()),
        summed_(from.values().size()) {}

  std::optional<Graph> Run(const std::vector<bool>& batched, size_t sums) {
    for (size_t i = 0; i < from_.inputs().size(); ++i) {
      const auto& [name, v] = from_.inputs()[i];
      const ValueInfo& info = from_.info(v);
      Shape shape = info.shape;
      if (batched[i]) shape[0] = rows_;
      map_[v] = out_.AddInput(name, info.dtype, std::move(shape));
      if (batched[i]) axis_[v] = {0};
    }
    for (const Node& node : from_.nodes()) {
      if (node.op != Op::kInput && !Copy(node)) return std::nullopt;
    }
    for (size_t i = 0; i < from_.outputs().size(); ++i) {
      const auto& [name, v] = from_.outputs()[i];
      const bool sum = i + sums >= from_.outputs().size();
      if (sum != summed_[v] || (!sum && axis_[v] != RowAxis{0} && !Spread(v, {0}))) {
        why_ = absl::StrCat("output ", name, " has no rows of its own");
        return std::nullopt;
      }
      out_.MarkOutput(name, map_[v]);
    }
    if (!out_.ok()) return std::nullopt;
    return std::move(out_);
  }
  std::string why() const { return why_; }

 private:
  int64_t Size(const RowAxis& a) const { return rows_ * a.per; }
  int64_t WholeSize(const RowAxis& a) const { return batch_ * a.per; }
  const Shape& ShapeOf(ValueId v) const { return from_.info(v).shape; }
  int RankOf(ValueId v) const { return static_cast<int>(ShapeOf(v).size()); }

  bool Copy(const Node& node) {
    Attrs attrs = node.attrs;
    std::vector<RowAxis> axes(node.outputs.size());  // of the results
    bool any = false, of_sums = false;
    for (ValueId v : node.inputs) {
      any |= static_cast<bool>(axis_[v]);
      of_sums |= summed_[v];
    }
    if (of_sums || (any && !Cut(node, &attrs, &axes))) {
      why_ = absl::StrCat("rows meet in ", OpName(node.op));
      return false;
    }
    std::vector<Value> in;
    std::vector<const ValueInfo*> infos;
    for (ValueId v : node.inputs) {
      in.push_back(map_[v]);
      infos.push_back(&out_.info(map_[v].id));
    }
    std::vector<ValueInfo> results;
    if (any) {
      auto inferred = RecordOf(node.op).infer(attrs, infos);
      if (!inferred.ok()) {
        why_ = std::string(inferred.status().message());
        return false;
      }
      results = *std::move(inferred);
    } else {
      if (node.op == Op::kVariable || node.op == Op::kRandom || node.op == Op::kAssign) {
        why_ = absl::StrCat(OpName(node.op), " belongs to the whole batch");
        return false;
      }
      for (ValueId v : node.outputs) results.push_back({from_.info(v).dtype, from_.info(v).shape});
    }
    const std::vector<Value> out = out_.AddNode(node.op, std::move(attrs), in, std::move(results));
    for (size_t i = 0; i < out.size(); ++i) {
      map_[node.outputs[i]] = out[i];
      axis_[node.outputs[i]] = axes[i];
    }
    return true;
  }

  // Where the rows of the results stand, and attributes for fewer of them; false if rows meet.
  bool Cut(const Node& node, Attrs* attrs, std::vector<RowAxis>* axes) {
    const RowAxis a = axis_[node.inputs[0]];
    switch (node.op) {
      case Op::kFused:
        return CutFused(node, &std::get<FusedAttrs>(*attrs), axes);
      case Op::kScan:
        return CutScan(node, &std::get<ScanAttrs>(*attrs), axes);
      case Op::kMatMul:
        return CutMatMul(node, axes);
      case Op::kConcat:
        (*axes)[0] = AlignedAxis(node, RankOf(node.outputs[0]));
        return node.as<AxesAttrs>().axes[0] != (*axes)[0].at && Align(node, RankOf(node.outputs[0]), (*axes)[0]);
      case Op::kConv:
      case Op::kConvGradInput:
        (*axes)[0] = a;
        if (auto& result = std::get<ConvAttrs>(*attrs).result; !result.empty()) result[0] = Size(a);
        return a.at == 0 && !axis_[node.inputs[1]] && (!node.as<ConvAttrs>().bias || !axis_[node.inputs[2]]) &&
               (!node.as<ConvAttrs>().residual || axis_[node.inputs.back()] == a);
      case Op::kMaxPool:
      case Op::kMaxPoolGrad:
      case Op::kSumPool:
      case Op::kSumPoolGrad:
        axes->assign(axes->size(), a);
        if (auto& input = std::get<PoolAttrs>(*attrs).input; !input.empty()) input[0] = Size(a);
        return a.at == 0 &&
               std::all_of(node.inputs.begin(), node.inputs.end(), [&](ValueId v) { return axis_[v] == a; });
      case Op::kGather:
        (*axes)[0] = axis_[node.inputs[1]];
        return !a;
      default:
        break;
    }
    if (IsElementwise(node.op)) {
      const int rank = RankOf(node.outputs[0]);
      (*axes)[0] = AlignedAxis(node, rank);
      return Align(node, rank, (*axes)[0]);
    }
    return a && node.inputs.size() == 1 && CutMovement(node, a, attrs, &(*axes)[0]);
  }

  // Ops of one operand whose rows stand along `a`.
  bool CutMovement(const Node& node, RowAxis a, Attrs* attrs, RowAxis* axis) {
    const auto in_axes = [&] {
      const auto& list = node.as<AxesAttrs>().axes;
      return std::find(list.begin(), list.end(), a.at) != list.end();
    };
    *axis = a;
    switch (node.op) {
      case Op::kDetach:
        return true;
      case Op::kReverse:
        return !in_axes();
      case Op::kSoftmax:
      case Op::kLogSoftmax:
        return a.at != RankOf(node.inputs[0]) - 1;
      case Op::kReduceSum:
        if (ShapeOf(node.outputs[0]).empty()) {
          *axis = {};
          return summed_[node.outputs[0]] = true;
        }
        [[fallthrough]];
      case Op::kReduceMax:
      case Op::kReduceMin:
      case Op::kArgMax:
        for (const int64_t x : node.as<AxesAttrs>().axes) axis->at -= x < a.at ? 1 : 0;
        return !in_axes();
      case Op::kTranspose: {
        const auto& order = node.as<AxesAttrs>().axes;
        axis->at = static_cast<int>(std::find(order.begin(), order.end(), a.at) - order.begin());
        return true;
      }
      case Op::kPad:
        return node.as<PadAttrs>().lo[a.at] == 0 && node.as<PadAttrs>().hi[a.at] == 0;
      case Op::kSlice: {
        auto& at = std::get<SliceAttrs>(*attrs);
        const bool whole = at.start[a.at] == 0 && at.size[a.at] == WholeSize(a) && at.step[a.at] == 1;
        at.size[a.at] = Size(a);
        return whole;
      }
      case Op::kBroadcast: {
        Shape& shape = std::get<ShapeAttrs>(*attrs).shape;
        axis->at += static_cast<int>(shape.size()) - RankOf(node.inputs[0]);
        shape[axis->at] = Size(a);
        return true;
      }
      case Op::kReshape:
        return CutReshape(ShapeOf(node.inputs[0]), a, &std::get<ShapeAttrs>(*attrs).shape, axis);
      default:
        return false;
    }
  }

  // Some axis of the result begins where the axis of rows began and holds whole rows.
  bool CutReshape(const Shape& from, RowAxis a, Shape* to, RowAxis* axis) const {
    const int64_t before = NumElements(std::span(from).first(a.at));
    int64_t seen = 1;
    for (size_t d = 0; d < to->size(); ++d) {
      if (seen == before && (*to)[d] % batch_ == 0) {
        *axis = {static_cast<int>(d), (*to)[d] / batch_};
        (*to)[d] = Size(*axis);
        return true;
      }
      seen *= (*to)[d];
    }
    return false;
  }

  bool CutMatMul(const Node& node, std::vector<RowAxis>* axes) {
    const auto& at = node.as<MatMulAttrs>();
    const int rank = RankOf(node.inputs[0]);
    const RowAxis a = axis_[node.inputs[0]], b = axis_[node.inputs[1]];
    if (!a || (at.bias && axis_[node.inputs[2]])) return false;
    (*axes)[0] = {std::min(a.at, rank - 2), a.per};
    if (at.residual && axis_[node.inputs[2]] != (*axes)[0]) return false;
    if (a.at < rank - 2) return a == b || (!b && Spread(node.inputs[1], a));  // entries of a batch of products
    return !b && a.at == (at.transpose_a ? rank - 1 : rank - 2);
  }

  bool CutFused(const Node& node, FusedAttrs* at, std::vector<RowAxis>* axes) {
    const int rank = static_cast<int>(at->space.size());
    const RowAxis axis = AlignedAxis(node, rank);
    if (axis.at != 0 || !Align(node, rank, axis)) return false;
    at->space[0] = Size(axis);
    for (size_t i = 0; i < at->results.size(); ++i) {
      const auto store = at->results[i].store;
      if (store == FusedAttrs::Store::kSumAll && at->results[i].variable < 0) {
        summed_[node.outputs[i]] = true;
        continue;
      }
      const bool own = store == FusedAttrs::Store::kFull || (store == FusedAttrs::Store::kSumRows && at->row_axes > 0);
      Shape& shape = at->shapes[i];
      if (!own || at->results[i].variable >= 0 || shape.empty() || shape[0] % batch_ != 0) return false;
      (*axes)[i] = {0, shape[0] / batch_};
      shape[0] = Size((*axes)[i]);
    }
    return true;
  }

  bool CutScan(const Node& node, ScanAttrs* at, std::vector<RowAxis>* axes) {
    const int carries = at->num_carry, steps = carries + at->num_sequences;
    std::vector<bool> batched;
    for (int i = 0; i < static_cast<int>(node.inputs.size()); ++i) {
      const ValueId v = node.inputs[i];
      const RowAxis want{i < carries ? 0 : 1};
      if (axis_[v] && (i >= steps || axis_[v] != want)) return false;
      if (!axis_[v] && i < carries && !Spread(v, want)) return false;
      batched.push_back(static_cast<bool>(axis_[v]));
    }
    std::string why;
    std::optional<Graph> body = CutRows(*at->body, batched, 0, rows_, &why);
    if (!body) return false;
    at->body = std::make_shared<const Graph>(*std::move(body));
    for (int i = 0; i < static_cast<int>(axes->size()); ++i) (*axes)[i] = {i < carries ? 0 : 1};
    return true;
  }

  // Where rows stand in a result of `rank` axes to which the operands broadcast; nowhere if operands disagree.
  RowAxis AlignedAxis(const Node& node, int rank) const {
    RowAxis axis;
    for (ValueId v : node.inputs) {
      if (!axis_[v]) continue;
      const RowAxis here{axis_[v].at + rank - RankOf(v), axis_[v].per};
      if (axis && axis != here) return {};
      axis = here;
    }
    return axis;
  }

  // Brings operands without rows that have the whole batch's size along `axis` down to fewer.
  bool Align(const Node& node, int rank, RowAxis axis) {
    if (!axis) return false;
    for (ValueId v : node.inputs) {
      const RowAxis here{axis.at - (rank - RankOf(v)), axis.per};
      if (!axis_[v] && here && ShapeOf(v)[here.at] != 1 && !Spread(v, here)) return false;
    }
    return true;
  }

  // A value that a broadcast spread over the batch is spread over fewer rows.
  bool Spread(ValueId v, RowAxis axis) {
    const Node& node = from_.producer(v);
    if (axis_[v] || node.op != Op::kBroadcast || ShapeOf(v)[axis.at] != WholeSize(axis)) return false;
    const Shape& from = ShapeOf(node.inputs[0]);
    const int lead = RankOf(v) - static_cast<int>(from.size());
    if (axis.at >= lead && from[axis.at - lead] != 1) return false;
    Shape shape = ShapeOf(v);
    shape[axis.at] = Size(axis);
    map_[v] = Broadcast(map_[node.inputs[0]], shape);
    axis_[v] = axis;
    return true;
  }

  const Graph& from_;
  int64_t batch_, rows_;
  Graph out_;
  std::vector<Value> map_;
  std::vector<RowAxis> axis_;
  std::vector<bool> summed_;  // over all rows
  std::string why_;
};

}  // namespace

std::optional<Graph> CutRows(const Graph& graph, const std::vector<bool>& batched, size_t sums, int64_t rows,
                             std::string* why) {
  int64_t batch = -1;
  for (size_t i = 0; i < batched.size(); ++i) {
    if (!batched[i]) continue;
    const Shape& shape = graph.info(graph.inputs()[i].value).shape;
    if (shape.empty() || (batch >= 0 && shape[0] != batch)) {
      *why = "inputs have different numbers of rows";
      return std::nullopt;
    }
    batch = shape[0];
  }
  RowCutter cutter(graph, batch, rows);
  std::optional<Graph> out = cutter.Run(batched, sums);
  if (!out) *why = cutter.why();
  return out;
}

}  // namespace strata
