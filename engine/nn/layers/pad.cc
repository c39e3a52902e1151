#include "engine/nn/layers/pad.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "engine/ops/ops.h"

namespace strata::nn {

Value CropAxis(Scope& s, Value x, int axis, int64_t lo, int64_t hi, int64_t least) {
  const int64_t size = x.dim(axis) - lo - hi;
  if (size < least || lo < 0 || hi < 0) {
    s.Fail(absl::StrCat("padding|cropping|input: must leave something of axis ", axis, " of ", ShapeString(x.shape()),
                        ", got ", lo, " and ", hi));
    return {s.graph(), -1};
  }
  return SliceAxis(x, axis, lo, size);
}

namespace {

Value Edge(Value x, int axis, int64_t at, int64_t count) {
  const Value one = SliceAxis(x, axis, at, 1);
  Shape shape = one.shape();
  shape[axis] = count;
  return Broadcast(one, shape);
}

}  // namespace

Value PadAxis(Scope& s, PadKind kind, Value x, int axis, int64_t lo, int64_t hi, double value) {
  if (!x) return x;
  if (kind == PadKind::kZero) {
    // The front is cut before the back.
    const int64_t rest = x.dim(axis) + std::min<int64_t>(lo, 0);
    if (x.dim(axis) + lo + hi < 0 || rest < 0 || rest + std::min<int64_t>(hi, 0) < 0)
      return s.Fail(absl::StrCat("padding|input: must leave something of axis ", axis, " of ", ShapeString(x.shape()),
                                 ", got ", lo, " and ", hi));
    std::vector<int64_t> los(x.rank(), 0), his(x.rank(), 0);
    los[axis] = lo;
    his[axis] = hi;
    return Pad(x, los, his, value);
  }
  if (kind == PadKind::kCircular && (lo < 0 || hi < 0)) {  // the cells that wrap are those of the cropped axis
    x = CropAxis(s, x, axis, std::max<int64_t>(-lo, 0), std::max<int64_t>(-hi, 0), 0);
    return PadAxis(s, kind, x, axis, std::max<int64_t>(lo, 0), std::max<int64_t>(hi, 0), value);
  }
  const int64_t size = x.dim(axis);
  const int64_t limit = kind == PadKind::kReflect ? size - 1 : kind == PadKind::kCircular ? size : std::max(lo, hi);
  if (std::max(lo, hi) > limit || (size == 0 && kind != PadKind::kCircular)) {
    return s.Fail(absl::StrCat("padding|input: must be at most ", limit, " for an axis of ", size, " cells, got ",
                               std::max(lo, hi)));
  }
  std::vector<Value> parts;
  if (lo > 0) {
    parts.push_back(kind == PadKind::kReflect     ? Reverse(SliceAxis(x, axis, 1, lo), {axis})
                    : kind == PadKind::kReplicate ? Edge(x, axis, 0, lo)
                                                  : SliceAxis(x, axis, size - lo, lo));
  }
  parts.push_back(x);
  if (hi > 0) {
    parts.push_back(kind == PadKind::kReflect     ? Reverse(SliceAxis(x, axis, size - 1 - hi, hi), {axis})
                    : kind == PadKind::kReplicate ? Edge(x, axis, size - 1, hi)
                                                  : SliceAxis(x, axis, 0, hi));
  }
  const Value padded = parts.size() == 1 ? x : Concat(parts, axis);
  return lo < 0 || hi < 0 ? CropAxis(s, padded, axis, std::max<int64_t>(-lo, 0), std::max<int64_t>(-hi, 0)) : padded;
}

Outputs PadPairs(Scope& s, const google::protobuf::RepeatedField<int64_t>& padding, const Args& args, int axes,
                 PadKind kind, double value) {
  Value x = args[0];
  // Constants go round any axes of any tensor, whatever the layer's name says; cells round those of one with channels
  // in front and perhaps a batch.
  const bool constant = kind == PadKind::kZero;
  if (constant && padding.size() > 1) axes = padding.size() / 2;
  if (constant ? x.rank() < axes : x.rank() != axes + 1 && x.rank() != axes + 2) {
    return {s.Fail(absl::StrCat("input: must have ",
                                constant ? absl::StrCat(axes, " or more") : absl::StrCat(axes + 1, " or ", axes + 2),
                                " axes, got ", ShapeString(x.shape())))};
  }
  if (x.rank() == axes) s.MixRows();
  if (padding.size() != 1 && padding.size() != 2 * axes) {
    return {s.Fail(constant ? absl::StrCat("padding: must have 1 entry or pairs of them, got ", padding.size())
                            : absl::StrCat("padding: must have 1 or ", 2 * axes, " entries, got ", padding.size()))};
  }
  for (int i = 0; i < axes; ++i) {
    const int64_t lo = padding.size() == 1 ? padding[0] : padding[2 * i];
    const int64_t hi = padding.size() == 1 ? padding[0] : padding[2 * i + 1];
    x = PadAxis(s, kind, x, x.rank() - 1 - i, lo, hi, value);
    if (!s.ok()) return {Value{s.graph(), -1}};
  }
  return {x};
}

bool KerasPairs(Scope& s, const char* name, const google::protobuf::RepeatedField<int64_t>& given, int axes,
                std::vector<int64_t>* lo, std::vector<int64_t>* hi) {
  const int count = static_cast<int>(given.size());
  for (int i = 0; i < axes; ++i) {
    const bool pairs = count == 2 * axes;
    if (!pairs && count != 1 && count != axes) {
      s.Fail(absl::StrCat(name, ": must have 1, ", axes, " or ", 2 * axes, " entries, got ", count));
      return false;
    }
    lo->push_back(pairs ? given[2 * i] : given[count == 1 ? 0 : i]);
    hi->push_back(pairs ? given[2 * i + 1] : lo->back());
  }
  return true;
}

Shape PadSampleShape(int axes, bool channels_last) {
  Shape shape{2};
  if (!channels_last) shape.push_back(3);
  for (int i = 0; i < axes; ++i) shape.push_back(4 - i % 2);
  if (channels_last) shape.push_back(3);
  return shape;
}

std::string PadSamplePairs(int first, int second, int axes) {
  std::string pairs = absl::StrCat("[", first, ", ", second);
  for (int i = 1; i < axes; ++i) pairs += ", 0, 1";
  return pairs + "]";
}

}  // namespace strata::nn
