// Functions that repeat, shift, part and choose elements.
#include <algorithm>

#include "engine/base/status.h"
#include "engine/expr/functions.h"
#include "engine/ops/ops.h"

namespace strata::expr {
namespace {

using Result = absl::StatusOr<Object>;

absl::StatusOr<int> AxisOr(const Call& c, size_t i, int rank, int otherwise) {
  if (c.has(i)) return c.Axis(i, rank);
  return otherwise;
}

// Whole copies, one after the other, as many as each axis says.
Result Tiled(const Call& c, Value x, const Shape& times) {
  while (x.rank() < static_cast<int>(times.size())) x = ExpandDims(x, 0);
  if (x.rank() != static_cast<int>(times.size())) {
    return c.Error("must have a number for each axis of ", Describe(Object(x)), ", got ", times.size());
  }
  // [2, 3] by [2, 2]: [1, 2, 1, 3] broadcast to [2, 2, 2, 3].
  Shape one, many, result;
  int64_t count = 1;
  for (int i = 0; i < x.rank(); ++i) {
    one.insert(one.end(), {1, x.dim(i)});
    many.insert(many.end(), {times[i], x.dim(i)});
    result.push_back(times[i] * x.dim(i));
    if (__builtin_mul_overflow(count, std::max<int64_t>(result.back(), 1), &count) || count > kMaxElements) {
      return c.Error("must have at most ", kMaxElements, " elements, got more");
    }
  }
  return Object(Reshape(Broadcast(Reshape(x, one), many), result));
}
Result CallTile(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Tensor(0));
  STRATA_ASSIGN_OR_RETURN(const Shape times, c.Sizes(1, false));
  return Tiled(c, x, times);
}

// Each element so many times in a row.
Result CallRepeatEach(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(Value x, c.Tensor(0));
  STRATA_ASSIGN_OR_RETURN(const int64_t times, c.Integer(1));
  if (!c.has(2)) x = Reshape(x, {x.num_elements()});
  STRATA_ASSIGN_OR_RETURN(const int axis, AxisOr(c, 2, x.rank(), 0));
  if (times < 0 || times > kMaxElements / std::max<int64_t>(x.num_elements(), 1)) {
    return c.Error("repeats must be >= 0 and leave at most ", kMaxElements, " elements, got ", times);
  }
  Shape many = x.shape(), result = x.shape();
  many.insert(many.begin() + axis + 1, times);
  result[axis] *= times;
  return Object(Reshape(Broadcast(ExpandDims(x, axis + 1), many), result));
}
// tf.repeat(x, n, axis); as a method, x.repeat(2, 1), PyTorch's tile.
Result CallRepeat(const Call& c) {
  if (!c.method()) return CallRepeatEach(c);
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Tensor(0));
  STRATA_ASSIGN_OR_RETURN(const Shape times, c.Sizes(1, false));
  return Tiled(c, x, times);
}

// Elements move by `shift` along an axis, round the end.
Value Rolled(Value x, int axis, int64_t shift) {
  const int64_t size = x.dim(axis);
  if (size == 0) return x;
  shift = (shift % size + size) % size;
  if (shift == 0) return x;
  const Value parts[] = {SliceAxis(x, axis, size - shift, shift), SliceAxis(x, axis, 0, size - shift)};
  return Concat(parts, axis);
}
Result CallRoll(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(Value x, c.Tensor(0));
  const auto as_list = [](const Object& o) { return o.list() != nullptr ? *o.list() : Object::List{o}; };
  const Object::List shifts = as_list(*c.argument(1));
  const Object::List axes = c.has(2) ? as_list(*c.argument(2)) : Object::List{Number::Int(0)};
  const Shape shape = x.shape();
  if (!c.has(2)) x = Reshape(x, {x.num_elements()});
  if (shifts.size() != axes.size()) return c.Error("must have a shift for each axis, got ", shifts.size());
  for (size_t i = 0; i < axes.size(); ++i) {
    const Number *s = shifts[i].number(), *a = axes[i].number();
    if (s == nullptr || a == nullptr || s->kind == Number::Kind::kFloat || a->kind == Number::Kind::kFloat ||
        a->integer < -x.rank() || a->integer >= x.rank()) {
      return c.Error("must have integers and axes of ", Describe(Object(x)), ", got ", Describe(shifts[i]), " and ",
                     Describe(axes[i]));
    }
    const int axis = static_cast<int>(a->integer < 0 ? a->integer + x.rank() : a->integer);
    x = Rolled(x, axis, c.evaluator().Use(*s).integer);
  }
  return Object(Reshape(x, shape));
}

// Parts of the given sizes.
Result PartsOf(const Call& c, Value x, int axis, const Shape& sizes) {
  int64_t sum = 0;
  for (int64_t size : sizes) sum += size;
  if (sum != x.dim(axis) || sizes.size() > kMaxListLength) {
    return c.Error("sizes must add up to axis ", axis, " of ", Describe(Object(x)), ", got ", sum);
  }
  Object::List list;
  int64_t start = 0;
  for (int64_t size : sizes) {
    list.push_back(SliceAxis(x, axis, start, size));
    start += size;
  }
  return Object(std::move(list));
}
// Parts of one size, the last one smaller.
Result EvenParts(const Call& c, Value x, int axis, int64_t size) {
  if (size < 1) return c.Error("the size of a part must be >= 1, got ", size);
  Shape sizes;
  for (int64_t left = x.dim(axis); left > 0 && sizes.size() <= kMaxListLength; left -= sizes.back()) {
    sizes.push_back(std::min(size, left));
  }
  return PartsOf(c, x, axis, sizes);
}

// A number: of equal parts, in PYTORCH their size. A list: the parts' sizes.
Result CallSplit(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Tensor(0));
  STRATA_ASSIGN_OR_RETURN(const int axis, AxisOr(c, 2, x.rank(), 0));
  if (x.rank() == 0) return c.Error("x must have an axis, got ", Describe(Object(x)));
  if (c.argument(1)->list() != nullptr) {
    STRATA_ASSIGN_OR_RETURN(const Shape sizes, c.Sizes(1, false));
    return PartsOf(c, x, axis, sizes);
  }
  STRATA_ASSIGN_OR_RETURN(const int64_t parts, c.Integer(1));
  if (c.evaluator().pytorch()) return EvenParts(c, x, axis, parts);
  if (parts < 1 || parts > kMaxListLength || x.dim(axis) % parts != 0) {
    return c.Error("parts must divide axis ", axis, " of ", Describe(Object(x)), ", got ", parts);
  }
  Object::List list;
  for (const Value v : Split(x, axis, parts)) list.push_back(v);
  return Object(std::move(list));
}
// At most so many parts, all but the last of one size.
Result CallChunk(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Tensor(0));
  STRATA_ASSIGN_OR_RETURN(const int64_t parts, c.Integer(1));
  STRATA_ASSIGN_OR_RETURN(const int axis, AxisOr(c, 2, x.rank(), 0));
  if (x.rank() == 0 || parts < 1) return c.Error("chunks must be >= 1, got ", parts);
  return EvenParts(c, x, axis, std::max<int64_t>(1, (x.dim(axis) + parts - 1) / parts));
}
// One part for each place of an axis, without that axis.
Result CallUnstack(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Tensor(0));
  STRATA_ASSIGN_OR_RETURN(const int axis, AxisOr(c, 1, x.rank(), 0));
  if (x.rank() == 0 || x.dim(axis) > kMaxListLength) {
    return c.Error("x must have an axis of at most ", kMaxListLength, ", got ", Describe(Object(x)));
  }
  Object::List list;
  for (int64_t i = 0; i < x.dim(axis); ++i) list.push_back(Squeeze(SliceAxis(x, axis, i, 1), axis));
  return Object(std::move(list));
}

// Rows of an axis; ids outside it read zeros.
Result Taken(const Call& c, Value x, int axis, const Object& which) {
  STRATA_ASSIGN_OR_RETURN(Value ids, c.evaluator().AsTensor(c.place(), which));
  if (IsFloat(ids.dtype()) || ids.dtype() == DType::kBool) {
    return c.Error("ids must be integers, got ", Describe(Object(ids)));
  }
  if (axis == 0) return Object(Gather(x, ids));
  // The axis comes first, then goes back behind those before it.
  std::vector<int64_t> first{axis}, back;
  for (int i = 0; i < x.rank(); ++i) {
    if (i != axis) first.push_back(i);
  }
  const Value y = Gather(Transpose(x, first), ids);
  for (int i = 0; i < axis; ++i) back.push_back(ids.rank() + i);
  for (int i = 0; i < ids.rank(); ++i) back.push_back(i);
  for (int i = ids.rank() + axis; i < y.rank(); ++i) back.push_back(i);
  return Object(Transpose(y, back));
}
Result CallGather(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Tensor(0));
  if (x.rank() == 0) return c.Error("x must have an axis, got ", Describe(Object(x)));
  STRATA_ASSIGN_OR_RETURN(const int axis, AxisOr(c, 2, x.rank(), 0));
  return Taken(c, x, axis, *c.argument(1));
}
Result CallIndexSelect(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Tensor(0));
  STRATA_ASSIGN_OR_RETURN(const int axis, c.Axis(1, x.rank()));
  return Taken(c, x, axis, *c.argument(2));
}
Result CallSelect(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Tensor(0));
  STRATA_ASSIGN_OR_RETURN(const int axis, c.Axis(1, x.rank()));
  STRATA_ASSIGN_OR_RETURN(int64_t at, c.Integer(2));
  if (at < -x.dim(axis) || at >= x.dim(axis)) {
    return c.Error("the index must be between ", -x.dim(axis), " and ", x.dim(axis) - 1, ", got ", at);
  }
  return Object(Squeeze(SliceAxis(x, axis, at < 0 ? at + x.dim(axis) : at, 1), axis));
}
Result CallNarrow(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Tensor(0));
  STRATA_ASSIGN_OR_RETURN(const int axis, c.Axis(1, x.rank()));
  STRATA_ASSIGN_OR_RETURN(const int64_t start, c.Integer(2));
  STRATA_ASSIGN_OR_RETURN(const int64_t length, c.Integer(3));
  if (start < 0 || length < 0 || start > x.dim(axis) || length > x.dim(axis) - start) {
    return c.Error("must stay within axis ", axis, " of ", Describe(Object(x)), ", got ", start, " and ", length);
  }
  return Object(SliceAxis(x, axis, start, length));
}

// tf.slice: a size of -1 takes the rest of its axis.
Result CallSlice(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(Value x, c.Tensor(0));
  STRATA_ASSIGN_OR_RETURN(const Shape begin, c.Sizes(1, false));
  const Object::List* sizes = c.argument(2)->list();
  if (static_cast<int>(begin.size()) != x.rank() || sizes == nullptr || sizes->size() != begin.size()) {
    return c.Error("must have a begin and a size for each axis of ", Describe(Object(x)), ", got ", begin.size());
  }
  for (int i = 0; i < x.rank(); ++i) {
    const Number* n = (*sizes)[i].number();
    const int64_t given = n == nullptr || n->kind == Number::Kind::kFloat ? -2 : c.evaluator().Use(*n).integer;
    const int64_t size = given == -1 ? x.dim(i) - begin[i] : given;
    if (size < 0 || begin[i] > x.dim(i) || size > x.dim(i) - begin[i]) {
      return c.Error("must stay within axis ", i, " of ", Describe(Object(x)), ", got ", begin[i], " and ", given);
    }
    x = SliceAxis(x, i, begin[i], size);
  }
  return Object(x);
}
// Zeros before and after the steps of [batch, steps, features].
Result CallTemporalPadding(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Tensor(0));
  Shape padding{1, 1};
  if (c.has(1)) {
    STRATA_ASSIGN_OR_RETURN(padding, c.Sizes(1, false));
  }
  if (x.rank() != 3 || padding.size() != 2) return c.Error("x must have 3 axes, got ", Describe(Object(x)));
  return Object(Pad(x, {0, padding[0], 0}, {0, padding[1], 0}, 0));
}
Result CallEnsureShape(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Tensor(0));
  const Object::List* sizes = c.argument(1)->list();
  bool fits = sizes != nullptr && static_cast<int>(sizes->size()) == x.rank();
  for (int i = 0; fits && i < x.rank(); ++i) {
    const Object& size = (*sizes)[i];
    fits = size.is_none() || (size.number() != nullptr && c.evaluator().Use(*size.number()).integer == x.dim(i));
  }
  if (!fits) return c.Error("the shape must fit ", Describe(Object(x)), ", got ", Describe(*c.argument(1)));
  return Object(x);
}

// Of matrices in the last two axes: elements whose column - row is within [low, high], others zero.
Result Band(const Call& c, Value x, int64_t low, int64_t high) {
  if (x.rank() < 2) return c.Error("x must have 2 axes, got ", Describe(Object(x)));
  const Shape shape{x.dim(-2), x.dim(-1)};
  const Value d = Iota(c.graph(), shape, 1, DType::kI64) - Iota(c.graph(), shape, 0, DType::kI64);
  const Value in =
      And(GreaterEqual(d, Like(d, static_cast<double>(low))), LessEqual(d, Like(d, static_cast<double>(high))));
  return Object(Select(in, x, Like(x, 0)));
}
constexpr int64_t kFar = int64_t{1} << 40;
Result CallTril(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Tensor(0));
  STRATA_ASSIGN_OR_RETURN(const double k, c.Real(1, 0));
  return Band(c, x, -kFar, static_cast<int64_t>(k));
}
Result CallTriu(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Tensor(0));
  STRATA_ASSIGN_OR_RETURN(const double k, c.Real(1, 0));
  return Band(c, x, static_cast<int64_t>(k), kFar);
}
Result CallBandPart(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value x, c.Tensor(0));
  STRATA_ASSIGN_OR_RETURN(const int64_t lower, c.Integer(1));
  STRATA_ASSIGN_OR_RETURN(const int64_t upper, c.Integer(2));
  return Band(c, x, lower < 0 ? -kFar : -lower, upper < 0 ? kFar : upper);
}

Result CallMaskedFill(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const Value mask, c.Tensor(1));
  STRATA_ASSIGN_OR_RETURN(const Pair p, Promote(c.evaluator(), c.place(), *c.argument(0), *c.argument(2)));
  if (mask.dtype() != DType::kBool) return c.Error("mask must be truth values, got ", Describe(Object(mask)));
  return Object(Select(mask, p.b, p.a));
}

Result CallAddN(const Call& c) {
  STRATA_ASSIGN_OR_RETURN(const std::vector<Value> xs, c.Tensors(0));
  Value sum = xs[0];
  for (size_t i = 1; i < xs.size(); ++i) sum = sum + xs[i];
  return Object(sum);
}

constexpr Function kMovementFunctions[] = {
    {"tile", "x multiples|dims|n|reps*", CallTile},
    {"repeat", "x repeats|sizes|rep* axis|dim?", CallRepeat},
    {"repeat_interleave", "x repeats axis|dim?", CallRepeatEach},
    {"repeat_elements", "x rep|repeats axis", CallRepeatEach},
    {"roll", "x shift|shifts axis|dims|dim?", CallRoll},
    {"split", "x parts|num_or_size_splits|split_size|split_size_or_sections axis|dim?", CallSplit},
    {"chunk", "x chunks axis|dim?", CallChunk},
    {"unstack", "x axis|dim?", CallUnstack},
    {"unbind", "x dim|axis?", CallUnstack},
    {"gather", "x|table|params ids|indices axis|dim?", CallGather},
    {"index_select", "x dim|axis index", CallIndexSelect},
    {"select", "x dim|axis index", CallSelect},
    {"narrow", "x dim|axis start length", CallNarrow},
    {"slice", "x|input_ begin size", CallSlice},
    {"temporal_padding", "x padding?", CallTemporalPadding},
    {"ensure_shape", "x shape", CallEnsureShape},
    {"tril", "x diagonal|k?", CallTril},
    {"triu", "x diagonal|k?", CallTriu},
    {"band_part", "x num_lower num_upper", CallBandPart},
    {"masked_fill", "x mask value", CallMaskedFill},
    {"add_n", "inputs", CallAddN},
};

}  // namespace

std::span<const Function> MovementFunctions() { return kMovementFunctions; }

}  // namespace strata::expr
