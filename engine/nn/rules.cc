#include "engine/nn/rules.h"

#include <set>

#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "strata/v1/basic_layers.pb.h"
#include "strata/v1/common.pb.h"
#include "strata/v1/convolution_layers.pb.h"
#include "strata/v1/optimizers.pb.h"
#include "strata/v1/recurrent_layers.pb.h"

namespace strata::nn {
namespace {

using google::protobuf::Message;

struct Context {
  v1::Dialect dialect;
  int axes;
  const std::string& path;

  bool pytorch() const { return dialect == v1::PYTORCH; }
  template <typename... Args>
  absl::Status Refuse(const Args&... what) const {
    return InvalidArgument(path, path.empty() ? "" : ".", what...);
  }
};

template <typename List>
bool AnyAbove(const List& values, int64_t bound) {
  for (int64_t v : values) {
    if (v > bound) return true;
  }
  return false;
}

// Keras pads by rule, PyTorch's pooling by numbers.
absl::Status CheckPadding(const Context& c, const v1::Padding& padding, bool pooling) {
  if (!c.pytorch() && padding.has_size()) return c.Refuse("padding: must be a rule in KERAS, got numbers");
  if (!padding.has_mode()) return absl::OkStatus();
  const std::string& mode = v1::Padding::Mode_Name(padding.mode());
  if (c.pytorch() && pooling) return c.Refuse("padding: must be numbers, got ", mode);
  if (padding.mode() != v1::Padding::CAUSAL) return absl::OkStatus();
  if (c.pytorch() || pooling || c.axes > 1) return c.Refuse("padding: must be VALID or SAME here, got ", mode);
  return absl::OkStatus();
}

absl::Status Check(const Context& c, const v1::Conv& a) {
  STRATA_RETURN_IF_ERROR(CheckPadding(c, a.padding(), false));
  if (a.filters() % a.groups() != 0) {
    return c.Refuse("groups|filters: groups must divide the filters, got ", a.groups(), " and ", a.filters());
  }
  if (c.pytorch()) {
    if (a.has_in_channels() && a.in_channels() % a.groups() != 0) {
      return c.Refuse("groups|in_channels: groups must divide the channels, got ", a.groups(), " and ",
                      a.in_channels());
    }
    if (a.padding().has_mode() && a.padding().mode() == v1::Padding::SAME && AnyAbove(a.stride(), 1)) {
      return c.Refuse("padding|stride: SAME needs a stride of 1, got more");
    }
  } else if (AnyAbove(a.stride(), 1) && AnyAbove(a.dilation(), 1)) {
    return c.Refuse("dilation|stride: at most one may be > 1, got both");
  }
  return absl::OkStatus();
}

template <typename Pool>
absl::Status CheckPool(const Context& c, const Pool& a) {
  return CheckPadding(c, a.padding(), true);
}

absl::Status Check(const Context& c, const v1::BatchNorm& a) {
  std::set<int64_t> seen;
  for (int64_t axis : a.axes()) {
    if (!seen.insert(axis).second) return c.Refuse("axes|axis: must differ, got ", axis, " twice");
  }
  return absl::OkStatus();
}

absl::Status Check(const Context& c, const v1::Embedding& a) {
  if (a.has_padding_idx() && (a.padding_idx() >= a.input_dim() || a.padding_idx() < -a.input_dim())) {
    return c.Refuse("padding_idx: must name one of ", a.input_dim(), " rows, got ", a.padding_idx());
  }
  return absl::OkStatus();
}

absl::Status Check(const Context& c, const v1::Lstm& a) {
  if (a.proj_size() >= a.units() && a.proj_size() > 0) {
    return c.Refuse("proj_size: must be < units (", a.units(), "), got ", a.proj_size());
  }
  return absl::OkStatus();
}

absl::Status Check(const Context& c, const v1::Reshape& a) {
  int inferred = 0;
  for (int64_t size : a.target_shape()) inferred += size == -1;
  return inferred > 1 ? c.Refuse("target_shape: at most one size may be -1, got ", inferred) : absl::OkStatus();
}

absl::Status Check(const Context& c, const v1::Permute& a) {
  std::set<int64_t> seen(a.dims().begin(), a.dims().end());
  if (static_cast<int>(seen.size()) == a.dims_size() && (seen.empty() || *seen.rbegin() == a.dims_size())) {
    return absl::OkStatus();
  }
  return c.Refuse("dims: must be an order of the axes 1 to ", a.dims_size(), ", got something else");
}

absl::Status Check(const Context& c, const v1::Dot& a) {
  return a.axes_size() <= 2 ? absl::OkStatus() : c.Refuse("axes: must be 1 or 2, got ", a.axes_size());
}

absl::Status Check(const Context& c, const v1::Hardtanh& a) {
  if (a.max_value() > a.min_value()) return absl::OkStatus();
  return c.Refuse("max_value|min_value: the maximum must be > the minimum, got ", a.max_value(), " and ",
                  a.min_value());
}

absl::Status Check(const Context& c, const v1::Sgd& a) {
  if (!c.pytorch() && a.momentum() > 1) return c.Refuse("momentum: must be <= 1, got ", a.momentum());
  if (c.pytorch() && a.nesterov() && (a.momentum() <= 0 || a.dampening() != 0)) {
    return c.Refuse("nesterov|momentum|dampening: nesterov needs momentum > 0 and dampening 0, got ", a.momentum(),
                    " and ", a.dampening());
  }
  return absl::OkStatus();
}

absl::Status Check(const Context& c, const v1::Clipping& a) {
  if (a.has_norm() + a.has_global_norm() + a.has_value() <= 1) return absl::OkStatus();
  return c.Refuse("norm|global_norm|value: at most one may be set, got more");
}

template <typename M>
bool Is(const Message& message) {
  return message.GetDescriptor() == M::descriptor();
}

}  // namespace

absl::Status CheckRules(v1::Dialect dialect, int axes, const std::string& path, const Message& m) {
  const Context c{dialect, axes, path};
  if (Is<v1::Conv>(m)) return Check(c, static_cast<const v1::Conv&>(m));
  if (Is<v1::MaxPool>(m)) return CheckPool(c, static_cast<const v1::MaxPool&>(m));
  if (Is<v1::AvgPool>(m)) return CheckPool(c, static_cast<const v1::AvgPool&>(m));
  if (Is<v1::BatchNorm>(m)) return Check(c, static_cast<const v1::BatchNorm&>(m));
  if (Is<v1::Embedding>(m)) return Check(c, static_cast<const v1::Embedding&>(m));
  if (Is<v1::Lstm>(m)) return Check(c, static_cast<const v1::Lstm&>(m));
  if (Is<v1::Reshape>(m)) return Check(c, static_cast<const v1::Reshape&>(m));
  if (Is<v1::Permute>(m)) return Check(c, static_cast<const v1::Permute&>(m));
  if (Is<v1::Dot>(m)) return Check(c, static_cast<const v1::Dot&>(m));
  if (Is<v1::Hardtanh>(m)) return Check(c, static_cast<const v1::Hardtanh&>(m));
  if (Is<v1::Sgd>(m)) return Check(c, static_cast<const v1::Sgd&>(m));
  if (Is<v1::Clipping>(m)) return Check(c, static_cast<const v1::Clipping&>(m));
  return absl::OkStatus();
}

}  // namespace strata::nn
