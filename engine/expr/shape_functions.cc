// Functions that make tensors and move their elements.
#include <algorithm>

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

Result CallSize(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Tensor(0));
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

// Axis 0 stays.
Result CallFlatten(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Tensor(0));
  if (x.rank() == 0) return c.Error("x must have an axis, got ", Describe(Object(x)));
  int64_t rest = 1;
  for (int i = 1; i < x.rank(); ++i) rest *= x.dim(i);
  return Object(Reshape(x, {x.dim(0), rest}));
}

// Without an order: the axes backwards.
Result CallTranspose(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Tensor(0));
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

Result CallSwapAxes(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Tensor(0));
  STRATA_ASSIGN_OR_RETURN(const int a, c.Axis(1, x.rank()));
  STRATA_ASSIGN_OR_RETURN(const int b, c.Axis(2, x.rank()));
  return Object(a == b ? x : SwapAxes(x, a, b));
}

Result CallConcat(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const std::vector<Value> xs, c.Tensors(0));
  int axis = 0;
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

// Equal parts.
Result CallSplit(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Tensor(0));
  STRATA_ASSIGN_OR_RETURN(const int64_t parts, c.Integer(1));
  int axis = 0;
  if (c.has(2)) {
    STRATA_ASSIGN_OR_RETURN(axis, c.Axis(2, x.rank()));
  }
  if (x.rank() == 0 || parts < 1 || parts > kMaxListLength || x.dim(axis) % parts != 0) {
    return c.Error("parts must divide axis ", axis, " of ", Describe(Object(x)), ", got ", parts);
  }
  Object::List list;
  for (const Value v : Split(x, axis, parts)) list.push_back(v);
  return Object(std::move(list));
}

Result CallExpandDims(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Tensor(0));
  STRATA_ASSIGN_OR_RETURN(const int axis, c.Axis(1, x.rank() + 1));
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
  STRATA_ASSIGN_OR_RETURN(const int axis, c.Axis(1, x.rank()));
  if (x.dim(axis) != 1) return c.Error("axis ", axis, " must have size 1, got ", Describe(Object(x)));
  return Object(Squeeze(x, axis));
}

Result CallBroadcast(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Tensor(0));
  STRATA_ASSIGN_OR_RETURN(const Shape shape, c.Sizes(1, false));
  return Object(Broadcast(x, shape));
}

Result CallReverse(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Tensor(0));
  STRATA_ASSIGN_OR_RETURN(const std::vector<int64_t> axes, c.Axes(1, x.rank()));
  return Object(Reverse(x, axes));
}

// pad(x, [[1, 1], [0, 2]]): one pair for each axis; negative numbers crop.
Result CallPad(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Tensor(0));
  STRATA_ASSIGN_OR_RETURN(const double value, c.Real(2, 0));
  const Object::List* pairs = c.argument(1)->list();
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
  return Object(Pad(x, sides[0], sides[1], value));
}

// Tensors of one number.
Result Filled(const Call& c, const Number& number, const Object* type) {
  if (c.graph() == nullptr) return c.Error("must be a number, got a tensor");
  STRATA_ASSIGN_OR_RETURN(const Shape shape, c.Sizes(0, false));
  DType dtype = number.kind == Number::Kind::kInt    ? DType::kI64
                : number.kind == Number::Kind::kBool ? DType::kBool
                                                     : DType::kF32;
  if (type != nullptr) {
    STRATA_ASSIGN_OR_RETURN(dtype, c.Type(type == c.argument(1) ? 1 : 2));
  }
  STRATA_ASSIGN_OR_RETURN(const Value v, c.evaluator().Materialize(c.place(), number, dtype));
  return Object(Broadcast(v, shape));
}
Result CallZeros(const Call& c) { return Filled(c, Number::Float(0), c.argument(1)); }
Result CallOnes(const Call& c) { return Filled(c, Number::Float(1), c.argument(1)); }
Result CallFull(const Call& c) {
  if (c.argument(1)->number() == nullptr) return c.Error("value must be a number, got ", Describe(*c.argument(1)));
  return Filled(c, *c.argument(1)->number(), c.argument(2));
}
Result CallZerosLike(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Tensor(0));
  return Object(Broadcast(Like(x, 0), x.shape()));
}
Result CallOnesLike(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Tensor(0));
  return Object(Broadcast(Like(x, 1), x.shape()));
}

// 0, 1, ..., n - 1.
Result CallArange(const Call& c) {
  if (c.graph() == nullptr) return c.Error("must be a number, got a tensor");
  STRATA_ASSIGN_OR_RETURN(const int64_t n, c.Integer(0));
  if (n < 0 || n > kMaxElements) return c.Error("n must be between 0 and ", kMaxElements, ", got ", n);
  DType dtype = DType::kI64;
  if (c.has(1)) {
    STRATA_ASSIGN_OR_RETURN(dtype, c.Type(1));
  }
  return Object(Cast(Iota(c.graph(), {n}, 0, DType::kI64), dtype));
}

Result CallEye(const Call& c) {
  if (c.graph() == nullptr) return c.Error("must be a number, got a tensor");
  STRATA_ASSIGN_OR_RETURN(const int64_t n, c.Integer(0));
  if (n < 0 || n > (int64_t{1} << 15)) return c.Error("n must be between 0 and 32768, got ", n);
  return Object(
      Cast(Equal(Iota(c.graph(), {n, n}, 0, DType::kI64), Iota(c.graph(), {n, n}, 1, DType::kI64)), DType::kF32));
}

Result CallConstant(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Tensor(0));
  if (!c.has(1)) return Object(x);
  STRATA_ASSIGN_OR_RETURN(const DType dtype, c.Type(1));
  return Object(Cast(x, dtype));
}

absl::StatusOr<Value> Ids(const Call& c, size_t i) {
  STRATA_ASSIGN_OR_RETURN(const Value ids, c.Tensor(i));
  if (!IsFloat(ids.dtype()) && ids.dtype() != DType::kBool) return ids;
  return c.Error("ids must be integers, got ", Describe(Object(ids)));
}

Result CallOneHot(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value ids, Ids(c, 0));
  STRATA_ASSIGN_OR_RETURN(const int64_t depth, c.Integer(1));
  if (depth < 1 || depth > kMaxElements) return c.Error("depth must be between 1 and ", kMaxElements, ", got ", depth);
  DType dtype = DType::kF32;
  if (c.has(2)) {
    STRATA_ASSIGN_OR_RETURN(dtype, c.Type(2));
  }
  return Object(OneHot(ids, depth, dtype));
}

// Rows of axis 0; ids outside it read zeros.
Result CallGather(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value table, c.Tensor(0));
  STRATA_ASSIGN_OR_RETURN(const Value ids, Ids(c, 1));
  return Object(Gather(table, ids));
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

Result CallRandomUniform(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Shape shape, c.Sizes(0, false));
  STRATA_ASSIGN_OR_RETURN(const double low, c.Real(1, 0));
  STRATA_ASSIGN_OR_RETURN(const double high, c.Real(2, 1));
  STRATA_ASSIGN_OR_RETURN(const Value u, c.evaluator().Random(c.place(), shape));
  return Object(low == 0 && high == 1 ? u : u * (high - low) + low);
}

constexpr Function kFunctions[] = {
    {"shape", "x", CallShape},
    {"size", "x", CallSize},
    {"rank", "x", CallRank},
    {"len", "x", CallLen},
    {"reshape", "x shape", CallReshape},
    {"flatten", "x", CallFlatten},
    {"transpose", "x axes|perm?", CallTranspose},
    {"permute", "x axes|dims|pattern", CallTranspose},
    {"swapaxes", "x axis1|dim0 axis2|dim1", CallSwapAxes},
    {"concat", "values|tensors axis|dim?", CallConcat},
    {"concatenate", "values|tensors axis|dim?", CallConcat},
    {"cat", "values|tensors dim|axis?", CallConcat},
    {"stack", "values|tensors axis|dim?", CallStack},
    {"split", "x parts|num_or_size_splits axis|dim?", CallSplit},
    {"expand_dims", "x axis|dim", CallExpandDims},
    {"unsqueeze", "x dim|axis", CallExpandDims},
    {"squeeze", "x axis|dim?", CallSqueeze},
    {"broadcast_to", "x shape", CallBroadcast},
    {"reverse", "x axis|dim?", CallReverse},
    {"flip", "x axis|dims|dim?", CallReverse},
    {"pad", "x paddings|pad_width value|constant_values?", CallPad},
    {"zeros", "shape dtype?", CallZeros},
    {"ones", "shape dtype?", CallOnes},
    {"full", "shape value|fill_value dtype?", CallFull},
    {"zeros_like", "x", CallZerosLike},
    {"ones_like", "x", CallOnesLike},
    {"arange", "n dtype?", CallArange},
    {"eye", "n", CallEye},
    {"constant", "value dtype?", CallConstant},
    {"tensor", "value dtype?", CallConstant},
    {"one_hot", "ids|indices depth|num_classes dtype?", CallOneHot},
    {"gather", "x|table ids|indices", CallGather},
    {"pick", "x labels", CallPick},
    {"random_uniform", "shape low|minval? high|maxval?", CallRandomUniform},
};

}  // namespace

std::span<const Function> ShapeFunctions() { return kFunctions; }

}  // namespace strata::expr
