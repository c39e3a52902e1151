// x[i], x[a:b:step], x[..., 0], x[:, None], table[ids]; the same on lists.
#include <algorithm>

#include "engine/base/status.h"
#include "engine/expr/evaluate.h"
#include "engine/expr/lexer.h"
#include "engine/ops/ops.h"

namespace strata::expr {
namespace {

// A slice resolved against an axis, by Python's rules.
struct Range {
  int64_t start = 0, size = 0, step = 1;
};

absl::StatusOr<int64_t> IntegerAt(Evaluator& e, const Node& node) {
  STRATA_ASSIGN_OR_RETURN(const Object value, e.Evaluate(node));
  if (value.number() == nullptr || value.number()->kind == Number::Kind::kFloat) {
    return ErrorAt(node.place, "an index must be an integer, got ", Describe(value));
  }
  return e.Use(*value.number()).integer;
}

absl::StatusOr<Range> RangeOf(Evaluator& e, const Node& slice, int64_t size) {
  int64_t part[3] = {0, 0, 1};
  bool given[3];
  for (size_t i = 0; i < 3; ++i) {
    given[i] = slice.children[i].kind != Node::Kind::kAbsent;
    if (!given[i]) continue;
    STRATA_ASSIGN_OR_RETURN(part[i], IntegerAt(e, slice.children[i]));
  }
  Range r;
  r.step = part[2];
  if (r.step == 0) return ErrorAt(slice.place, "the step must not be 0");
  // Larger steps than the axis take one element: bounded, so that nothing overflows.
  r.step = std::clamp<int64_t>(r.step, -std::max<int64_t>(size, 1), std::max<int64_t>(size, 1));
  const int64_t low = r.step > 0 ? 0 : -1, high = r.step > 0 ? size : size - 1;
  const auto bound = [&](int64_t v) { return std::clamp(v < 0 ? std::max(v, -size - 1) + size : v, low, high); };
  r.start = given[0] ? bound(part[0]) : (r.step > 0 ? low : high);
  const int64_t stop = given[1] ? bound(part[1]) : (r.step > 0 ? high : low);
  const int64_t span = r.step > 0 ? stop - r.start : r.start - stop, step = std::abs(r.step);
  r.size = span <= 0 ? 0 : (span + step - 1) / step;
  return r;
}

absl::StatusOr<int64_t> PositionOf(Place place, int64_t index, int64_t size, int axis) {
  if (index >= -size && index < size) return index < 0 ? index + size : index;
  return ErrorAt(place, "an index of axis ", axis, " must be between ", -size, " and ", size - 1, ", got ", index);
}

absl::StatusOr<Object> IndexList(Evaluator& e, const Node& node, const Object::List& list) {
  const int64_t size = static_cast<int64_t>(list.size());
  if (node.children.size() != 2 || node.children[1].kind == Node::Kind::kEllipsis) {
    return ErrorAt(node.place, "a list takes one index");
  }
  const Node& item = node.children[1];
  if (item.kind == Node::Kind::kSlice) {
    STRATA_ASSIGN_OR_RETURN(const Range r, RangeOf(e, item, size));
    Object::List part;
    for (int64_t i = 0; i < r.size; ++i) part.push_back(list[r.start + i * r.step]);
    return Object(std::move(part));
  }
  STRATA_ASSIGN_OR_RETURN(const int64_t index, IntegerAt(e, item));
  STRATA_ASSIGN_OR_RETURN(const int64_t at, PositionOf(item.place, index, size, 0));
  return list[at];
}

// What the items of an index ask of the axes of x.
struct Plan {
  std::vector<int64_t> start, size, step, reversed;
  Shape result;  // without the axes that an integer takes, with those that None adds
};

absl::Status AddItem(Evaluator& e, const Node& item, const Shape& x, Plan* plan) {
  const int axis = static_cast<int>(plan->start.size());
  Range r;
  if (item.kind == Node::Kind::kSlice) {
    STRATA_ASSIGN_OR_RETURN(r, RangeOf(e, item, x[axis]));
    plan->result.push_back(r.size);
  } else {
    STRATA_ASSIGN_OR_RETURN(const int64_t index, IntegerAt(e, item));
    STRATA_ASSIGN_OR_RETURN(r.start, PositionOf(item.place, index, x[axis], axis));
    r.size = 1;
  }
  if (r.step < 0) {
    // The same elements forwards, then turned round.
    r.step = -r.step;
    r.start -= std::max<int64_t>(r.size - 1, 0) * r.step;
    plan->reversed.push_back(axis);
  }
  plan->start.push_back(r.size == 0 ? 0 : r.start);
  plan->size.push_back(r.size);
  plan->step.push_back(r.step);
  return absl::OkStatus();
}

bool IsNone(const Node& item) { return item.kind == Node::Kind::kName && item.text == "None"; }

absl::StatusOr<Object> IndexTensor(Evaluator& e, const Node& node, Value x) {
  const int items = static_cast<int>(node.children.size()) - 1;
  int taken = 0, ellipses = 0;
  for (int i = 1; i <= items; ++i) {
    ellipses += node.children[i].kind == Node::Kind::kEllipsis;
    taken += node.children[i].kind != Node::Kind::kEllipsis && !IsNone(node.children[i]);
  }
  if (ellipses > 1) return ErrorAt(node.place, "an index must have at most one \"...\", got ", ellipses);
  if (taken > x.rank()) {
    return ErrorAt(node.place, "must have at most ", x.rank(), " indices for ", Describe(x), ", got ", taken);
  }
  Plan plan;
  const auto keep = [&](int count) {
    for (int k = 0; k < count; ++k) {
      const int64_t size = x.dim(static_cast<int>(plan.start.size()));
      plan.start.push_back(0);
      plan.size.push_back(size);
      plan.step.push_back(1);
      plan.result.push_back(size);
    }
  };
  for (int i = 1; i <= items; ++i) {
    const Node& item = node.children[i];
    if (item.kind == Node::Kind::kEllipsis) {
      keep(x.rank() - taken);
    } else if (IsNone(item)) {
      plan.result.push_back(1);
    } else {
      STRATA_RETURN_IF_ERROR(AddItem(e, item, x.shape(), &plan));
    }
  }
  keep(x.rank() - static_cast<int>(plan.start.size()));
  Value y = plan.size == x.shape() ? x : Slice(x, plan.start, plan.size, plan.step);
  if (!plan.reversed.empty()) y = Reverse(y, plan.reversed);
  return Object(y.shape() == plan.result ? y : Reshape(y, plan.result));
}

}  // namespace

absl::StatusOr<Object> ApplyIndex(Evaluator& e, const Node& node, const Object& x) {
  if (x.list() != nullptr) return IndexList(e, node, *x.list());
  if (x.tensor() == nullptr) return ErrorAt(node.place, "only tensors and lists have indices, got ", Describe(x));
  const Node& first = node.children[1];
  const bool single = node.children.size() == 2 && first.kind != Node::Kind::kSlice &&
                      first.kind != Node::Kind::kEllipsis && !IsNone(first);
  if (single) {
    // Integer ids choose rows.
    STRATA_ASSIGN_OR_RETURN(const Object ids, e.Evaluate(first));
    if (const Value* v = ids.tensor(); v != nullptr) {
      if (IsFloat(v->dtype()) || v->dtype() == DType::kBool) {
        return ErrorAt(first.place, "an index must be integers, got ", Describe(ids));
      }
      return Object(Gather(*x.tensor(), *v));
    }
  }
  return IndexTensor(e, node, *x.tensor());
}

Object ShapeOf(Value x) {
  Object::List sizes;
  for (int i = 0; i < x.rank(); ++i) {
    Number n = Number::Int(x.dim(i));
    n.batch = i == 0;
    sizes.push_back(n);
  }
  return Object(std::move(sizes));
}

}  // namespace strata::expr
