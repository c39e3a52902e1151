// Functions that move the elements of tensors and join them.
#include <algorithm>

#include "absl/strings/ascii.h"
#include "engine/base/status.h"
#include "engine/expr/functions.h"
#include "engine/ops/ops.h"

namespace strata::expr {
namespace {

using Result = absl::StatusOr<Object>;

Result CallShape(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Tensor(0));
  return ShapeOf(x);
}

// Of all axes, or of one. As a method without an axis, x.size(), the shape.
Result CallSize(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Tensor(0));
  if (c.has(1)) {
    STRATA_ASSIGN_OR_RETURN(const int axis, c.Axis(1, x.rank()));
    return (*ShapeOf(x).list())[axis];
  }
  if (c.method() && c.name() == "size") return ShapeOf(x);
  Number n = Number::Int(x.num_elements());
  n.batch = x.rank() > 0;
  return Object(n);
}

Result CallRank(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Tensor(0));
  return Object(Number::Int(x.rank()));
}

Result CallLen(const Call& c) {
  if (c.argument(0)->list() != nullptr) return Object(Number::Int(static_cast<int64_t>(c.argument(0)->list()->size())));
  if (const Value* v = c.argument(0)->tensor(); v != nullptr && v->rank() > 0) return (*ShapeOf(*v).list())[0];
  return c.Error("x must have a length, got ", Describe(*c.argument(0)));
}

Result CallReshape(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Tensor(0));
  STRATA_ASSIGN_OR_RETURN(Shape shape, c.Sizes(1, true));
  const auto unknown = std::find(shape.begin(), shape.end(), -1);
  if (unknown != shape.end()) {
    *unknown = 1;
    const int64_t rest = NumElements(shape);
    if (rest == 0 || x.num_elements() % rest != 0) {
      *unknown = -1;
      return c.Error(ShapeString(x.shape()), " does not reshape to ", ShapeString(shape));
    }
    *unknown = x.num_elements() / rest;
  }
  return Object(Reshape(x, shape));
}

// The axes from start_dim to end_dim become one; axis 0 stays by default, but not in K.flatten(x), torch.flatten(x) and
// PyTorch's x.flatten().
Result CallFlatten(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Tensor(0));
  if (x.rank() == 0) return c.Error("x must have an axis, got ", Describe(Object(x)));
  const bool whole = c.OfBackend() || c.module() == "torch" || (c.method() && c.evaluator().pytorch());
  const bool all = whole && c.name() == "flatten";  // and not batch_flatten
  int first = all ? 0 : 1, last = std::max(x.rank() - 1, first);
  if (c.has(1)) {
    STRATA_ASSIGN_OR_RETURN(first, c.Axis(1, x.rank()));
  }
  if (c.has(2)) {
    STRATA_ASSIGN_OR_RETURN(last, c.Axis(2, x.rank()));
  }
  if (last < first) return c.Error("end_dim must be >= start_dim, got ", last, " and ", first);
  Shape shape(x.shape().begin(), x.shape().begin() + first);
  shape.push_back(1);
  for (int i = first; i < x.rank(); ++i) {
    if (i <= last) shape.back() *= x.dim(i);
    if (i > last) shape.push_back(x.dim(i));
  }
  return Object(Reshape(x, shape));
}

Result CallSwapAxes(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Tensor(0));
  STRATA_ASSIGN_OR_RETURN(const int a, c.Axis(1, x.rank()));
  STRATA_ASSIGN_OR_RETURN(const int b, c.Axis(2, x.rank()));
  return Object(a == b ? x : SwapAxes(x, a, b));
}
Result CallMatrixTranspose(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Tensor(0));
  if (x.rank() < 2) return c.Error("x must have 2 axes, got ", Describe(Object(x)));
  return Object(SwapAxes(x, -2, -1));
}

// Without an order: the axes backwards. Two axes by number are swapped.
Result CallTranspose(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Tensor(0));
  if (c.has(2)) return CallSwapAxes(c);
  std::vector<int64_t> order;
  if (!c.has(1)) {
    for (int i = x.rank(); i-- > 0;) order.push_back(i);
    return Object(Transpose(x, order));
  }
  const Object::List* list = c.argument(1)->list();
  if (list == nullptr || static_cast<int>(list->size()) != x.rank()) {
    return c.Error("axes must list every axis of ", Describe(Object(x)), " once, got ", Describe(*c.argument(1)));
  }
  for (const Object& item : *list) {
    const Number* n = item.number();
    const int64_t axis = n == nullptr || n->kind == Number::Kind::kFloat ? -100 : n->integer;
    if (axis < -x.rank() || axis >= x.rank()) {
      return c.Error("axes must list every axis of ", Describe(Object(x)), " once, got ", Describe(item));
    }
    order.push_back(axis < 0 ? axis + x.rank() : axis);
  }
  return Object(Transpose(x, order));
}

Result CallConcat(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const std::vector<Value> xs, c.Tensors(0));
  // K.concatenate joins the last axis.
  int axis = c.name() == "concatenate" && !c.evaluator().pytorch() ? std::max(xs[0].rank() - 1, 0) : 0;
  if (c.has(1)) {
    STRATA_ASSIGN_OR_RETURN(axis, c.Axis(1, xs[0].rank()));
  }
  return Object(Concat(xs, axis));
}

Result CallStack(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const std::vector<Value> xs, c.Tensors(0));
  int axis = 0;
  if (c.has(1)) {
    STRATA_ASSIGN_OR_RETURN(axis, c.Axis(1, xs[0].rank() + 1));
  }
  return Object(Stack(xs, axis));
}

Result CallExpandDims(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Tensor(0));
  int axis = x.rank();
  if (c.has(1)) {
    STRATA_ASSIGN_OR_RETURN(axis, c.Axis(1, x.rank() + 1));
  }
  return Object(ExpandDims(x, axis));
}

Result CallSqueeze(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Tensor(0));
  if (!c.has(1)) {
    Shape shape;
    for (int64_t d : x.shape()) {
      if (d != 1) shape.push_back(d);
    }
    return Object(Reshape(x, shape));
  }
  STRATA_ASSIGN_OR_RETURN(const std::vector<int64_t> axes, c.Axes(1, x.rank()));
  Shape shape = x.shape();
  for (size_t i = axes.size(); i-- > 0;) {
    if (shape[axes[i]] == 1) {
      shape.erase(shape.begin() + axes[i]);
    } else if (!c.evaluator().pytorch()) {  // PyTorch leaves other axes alone
      return c.Error("axis ", axes[i], " must have size 1, got ", Describe(Object(x)));
    }
  }
  return Object(Reshape(x, shape));
}

Result CallBroadcast(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Tensor(0));
  STRATA_ASSIGN_OR_RETURN(const Shape shape, c.Sizes(1, false));
  return Object(Broadcast(x, shape));
}

// Sizes of -1 stay as they are.
Result CallExpand(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Tensor(0));
  const Object::List one = {*c.argument(1)};
  Shape shape;
  const Object::List& sizes = c.argument(1)->list() != nullptr ? *c.argument(1)->list() : one;
  const int lead = static_cast<int>(sizes.size()) - x.rank();
  for (int i = 0; i < static_cast<int>(sizes.size()); ++i) {
    const Number* n = sizes[i].number();
    const bool keeps = n != nullptr && n->integer == -1 && i >= lead && lead >= 0;
    if (n == nullptr || n->kind == Number::Kind::kFloat || (n->integer < 0 && !keeps) || n->integer > kMaxElements) {
      return c.Error("sizes must be >= 0, or -1 for an axis that stays, got ", Describe(sizes[i]));
    }
    shape.push_back(keeps ? x.dim(i - lead) : c.evaluator().Use(*n).integer);
  }
  return Object(Broadcast(x, shape));
}

Result CallReverse(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Tensor(0));
  STRATA_ASSIGN_OR_RETURN(const std::vector<int64_t> axes, c.Axes(1, x.rank()));
  return Object(Reverse(x, axes));
}

// Cells before and after an axis, taken from the axis itself: "reflect" without the edge, "symmetric" with it,
// "replicate" the edge alone, "circular" from the other end.
Result PadWithCells(const Call& c, Value x, const std::string& mode, int axis, int64_t lo, int64_t hi) {
  const int64_t size = x.dim(axis), most = mode == "reflect" ? size - 1 : size;
  if (lo < 0 || hi < 0 || size == 0 || (mode != "replicate" && std::max(lo, hi) > most)) {
    return c.Error("paddings of mode ", mode, " must be from 0 to ", most, ", got ", lo, " and ", hi);
  }
  const auto edge = [&](int64_t at, int64_t count) {
    Shape shape = x.shape();
    shape[axis] = count;
    return Broadcast(SliceAxis(x, axis, at, 1), shape);
  };
  const int64_t skip = mode == "reflect" ? 1 : 0;
  std::vector<Value> parts;
  if (lo > 0) {
    parts.push_back(mode == "replicate"  ? edge(0, lo)
                    : mode == "circular" ? SliceAxis(x, axis, size - lo, lo)
                                         : Reverse(SliceAxis(x, axis, skip, lo), {axis}));
  }
  parts.push_back(x);
  if (hi > 0) {
    parts.push_back(mode == "replicate"  ? edge(size - 1, hi)
                    : mode == "circular" ? SliceAxis(x, axis, 0, hi)
                                         : Reverse(SliceAxis(x, axis, size - skip - hi, hi), {axis}));
  }
  return Object(parts.size() == 1 ? x : Concat(parts, axis));
}

// The value or the mode may come first: F.pad(x, p, mode, value), tf.pad(x, p, mode, constant_values).
absl::StatusOr<std::string> PadMode(const Call& c) {
  std::string mode = "constant";
  for (const size_t i : {2, 3}) {
    if (c.has(i) && c.argument(i)->text() != nullptr) mode = absl::AsciiStrToLower(*c.argument(i)->text());
  }
  for (const char* known : {"constant", "reflect", "symmetric", "replicate", "circular"}) {
    if (mode == known) return mode;
  }
  return c.Error("mode must be one of constant, reflect, symmetric, replicate, circular, got '", mode, "'");
}

// pad(x, [[1, 1], [0, 2]]): one pair for each axis; negative numbers crop. pad(x, (1, 1, 0, 2)): PyTorch's form.
Result CallPad(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(Value x, c.Tensor(0));
  STRATA_ASSIGN_OR_RETURN(const std::string mode, PadMode(c));
  double value = 0;
  for (const size_t i : {2, 3}) {
    if (!c.has(i) || c.argument(i)->text() != nullptr) continue;
    STRATA_ASSIGN_OR_RETURN(value, c.Real(i));
  }
  const Object::List* pairs = c.argument(1)->list();
  Object::List by_axis;
  if (pairs != nullptr && !pairs->empty() && pairs->size() % 2 == 0 && (*pairs)[0].number() != nullptr) {
    // PyTorch's: the last axis first.
    if (static_cast<int>(pairs->size()) > 2 * x.rank()) {
      return c.Error("paddings must be at most 2 for each axis of ", Describe(Object(x)), ", got ", pairs->size());
    }
    const Object none = Object::List{Number::Int(0), Number::Int(0)};
    by_axis.assign(x.rank(), none);
    for (size_t i = 0; i < pairs->size(); i += 2) {
      by_axis[x.rank() - 1 - i / 2] = Object::List{(*pairs)[i], (*pairs)[i + 1]};
    }
    pairs = &by_axis;
  }
  if (pairs == nullptr || static_cast<int>(pairs->size()) != x.rank()) {
    return c.Error("paddings must be a pair for each axis of ", Describe(Object(x)), ", got ",
                   Describe(*c.argument(1)));
  }
  std::vector<int64_t> sides[2];
  for (const Object& pair : *pairs) {
    const Object::List* two = pair.list();
    for (size_t k = 0; k < 2; ++k) {
      const Number* n = two != nullptr && two->size() == 2 ? (*two)[k].number() : nullptr;
      if (n == nullptr || n->kind == Number::Kind::kFloat || std::abs(n->AsDouble()) > kMaxElements) {
        return c.Error("paddings must be pairs of integers, got ", Describe(pair));
      }
      sides[k].push_back(c.evaluator().Use(*n).integer);
    }
  }
  if (mode == "constant") return Object(Pad(x, sides[0], sides[1], value));
  for (int i = 0; i < x.rank(); ++i) {
    STRATA_ASSIGN_OR_RETURN(const Object padded, PadWithCells(c, x, mode, i, sides[0][i], sides[1][i]));
    x = *padded.tensor();
  }
  return Object(x);
}

absl::StatusOr<Value> Ids(const Call& c, size_t i) {
  STRATA_ASSIGN_OR_RETURN(const Value ids, c.Tensor(i));
  if (!IsFloat(ids.dtype()) && ids.dtype() != DType::kBool) return ids;
  return c.Error("ids must be integers, got ", Describe(Object(ids)));
}

// x[..., label]: the element of the last axis that each label names.
Result CallPick(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Tensor(0));
  STRATA_ASSIGN_OR_RETURN(const Value labels, Ids(c, 1));
  const Shape rows(x.shape().begin(), x.shape().end() - (x.rank() > 0 ? 1 : 0));
  if (x.rank() == 0 || labels.shape() != rows) {
    return c.Error("labels must have x's shape without its last axis, got ", Describe(Object(labels)), " for ",
                   Describe(Object(x)));
  }
  return Object(PickLast(x, labels));
}

constexpr Function kShapeFunctions[] = {
    {"shape", "x", CallShape},
    {"int_shape", "x", CallShape},
    {"size", "x dim|axis?", CallSize},
    {"numel", "x", CallSize},
    {"rank", "x", CallRank},
    {"ndim", "x", CallRank},
    {"dim", "x", CallRank},
    {"len", "x", CallLen},
    {"reshape", "x shape*", CallReshape},
    {"view", "x shape|size*", CallReshape},
    {"flatten", "x start_dim? end_dim?", CallFlatten},
    {"batch_flatten", "x", CallFlatten},
    {"transpose", "x axes|perm|dim0? dim1?", CallTranspose},
    {"t", "x", CallTranspose},
    {"matrix_transpose", "x", CallMatrixTranspose},
    {"permute", "x axes|dims|pattern*", CallTranspose},
    {"permute_dimensions", "x pattern", CallTranspose},
    {"swapaxes", "x axis1|dim0 axis2|dim1", CallSwapAxes},
    {"concat", "values|tensors axis|dim?", CallConcat},
    {"concatenate", "values|tensors axis|dim?", CallConcat},
    {"cat", "values|tensors dim|axis?", CallConcat},
    {"stack", "values|tensors axis|dim?", CallStack},
    {"expand_dims", "x axis|dim?", CallExpandDims},
    {"unsqueeze", "x dim|axis", CallExpandDims},
    {"squeeze", "x axis|dim?", CallSqueeze},
    {"broadcast_to", "x shape", CallBroadcast},
    {"expand", "x sizes|size*", CallExpand},
    {"reverse", "x axis|axes|dim?", CallReverse},
    {"flip", "x axis|dims|dim?", CallReverse},
    {"pad", "x paddings|pad_width|pad value|constant_values? mode?", CallPad},
    {"pick", "x labels", CallPick},
};

}  // namespace

std::span<const Function> ShapeFunctions() { return kShapeFunctions; }

}  // namespace strata::expr
