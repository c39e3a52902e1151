#include "engine/nn/rules.h"

#include <algorithm>
#include <cmath>
#include <set>

#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "engine/nn/schema.h"
#include "strata/v1/attention_layers.pb.h"
#include "strata/v1/basic_layers.pb.h"
#include "strata/v1/common.pb.h"
#include "strata/v1/convolution_layers.pb.h"
#include "strata/v1/losses.pb.h"
#include "strata/v1/metrics.pb.h"
#include "strata/v1/model.pb.h"
#include "strata/v1/normalization_layers.pb.h"
#include "strata/v1/optimizers.pb.h"
#include "strata/v1/recurrent_layers.pb.h"
#include "strata/v1/schedules.pb.h"

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

// Penalties on outputs are Keras'; a layer that has a field for them keeps them there.
absl::Status Check(const Context& c, const v1::Layer& a) {
  if (!a.has_activity_regularizer()) return absl::OkStatus();
  if (c.pytorch()) return c.Refuse("activity_regularizer: exists in KERAS only, got one in PYTORCH");
  if (a.has_model()) return c.Refuse("activity_regularizer: must be absent for a model, got one");
  const auto* kind = KindOf(a);
  if (kind != nullptr && kind->message_type()->FindFieldByName("activity_regularizer") != nullptr) {
    return c.Refuse("activity_regularizer: must be set in ", kind->name(), ", which has this field, got one here");
  }
  return absl::OkStatus();
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
  if (!a.has_norm() || !a.has_global_norm()) return absl::OkStatus();
  return c.Refuse("norm|global_norm: at most one may be set, got both");
}

absl::Status Check(const Context& c, const v1::Metric& a) {
  if (!a.has_loss() || !a.loss().has_custom()) return absl::OkStatus();
  return c.Refuse("loss.custom: must be a metric of its own (custom), got one in a loss");
}

absl::Status Check(const Context& c, const v1::Auc& a) {
  if (a.multi_label() || !a.has_num_labels()) return absl::OkStatus();
  return c.Refuse("num_labels: has a meaning with multi_label only, got ", a.num_labels());
}

// Of what predictions are probabilities for.
template <typename M>
absl::Status CheckThreshold(const Context& c, const M& a) {
  if (a.threshold() >= 0 && a.threshold() <= 1) return absl::OkStatus();
  return c.Refuse("threshold|thresholds: must be in [0, 1], got ", a.threshold());
}

absl::Status Check(const Context& c, const v1::AdaptiveLogSoftmax& a) {
  for (int i = 0; i < a.cutoffs_size(); ++i) {
    if (i > 0 && a.cutoffs(i) <= a.cutoffs(i - 1)) {
      return c.Refuse("cutoffs: must grow, got ", a.cutoffs(i), " after ", a.cutoffs(i - 1));
    }
    if (a.cutoffs(i) >= a.n_classes()) {
      return c.Refuse("cutoffs: must be < the number of classes, ", a.n_classes(), ", got ", a.cutoffs(i));
    }
  }
  return absl::OkStatus();
}

absl::Status Check(const Context& c, const v1::PiecewiseConstantSchedule& a) {
  if (a.values_size() != a.boundaries_size() + 1) {
    return c.Refuse("values|boundaries: must be one value more than boundaries, got ", a.values_size(), " and ",
                    a.boundaries_size());
  }
  for (int i = 1; i < a.boundaries_size(); ++i) {
    if (!(a.boundaries(i) > a.boundaries(i - 1))) {
      return c.Refuse("boundaries: must grow, got ", a.boundaries(i), " after ", a.boundaries(i - 1));
    }
  }
  return absl::OkStatus();
}

absl::Status Check(const Context& c, const v1::CosineRestartsSchedule& a) {
  if (!c.pytorch() || a.t_mul() == std::floor(a.t_mul())) return absl::OkStatus();
  return c.Refuse("t_mul: must be a whole number, got ", a.t_mul());
}

absl::Status Check(const Context& c, const v1::OneCycleSchedule& a) {
  if (a.has_total_steps() || (a.has_epochs() && a.has_steps_per_epoch())) return absl::OkStatus();
  return c.Refuse("total_steps|epochs|steps_per_epoch: total_steps must be set, or the two others, got neither");
}

absl::Status Check(const Context& c, const v1::Optimizer& a) {
  const bool cycles = a.schedule().has_one_cycle() && a.schedule().one_cycle().cycle_momentum();
  if (!cycles || a.has_sgd() || a.has_rmsprop() || a.has_adam() || a.has_adamw() || a.has_adamax()) {
    return absl::OkStatus();
  }
  return c.Refuse("schedule.one_cycle.cycle_momentum: must be false for this optimizer, got true");
}

template <typename M>
absl::Status CheckDepthwise(const Context& c, const M& a) {
  if (a.stride_size() > 1 && a.stride(0) != a.stride(1)) {
    return c.Refuse("strides|stride: must be equal along all axes, got ", a.stride(0), " and ", a.stride(1));
  }
  return absl::OkStatus();
}
absl::Status Check(const Context& c, const v1::DepthwiseConv& a) { return CheckDepthwise(c, a); }
absl::Status Check(const Context& c, const v1::SeparableConv& a) { return CheckDepthwise(c, a); }

absl::Status Check(const Context& c, const v1::ConvTranspose& a) {
  if (c.pytorch() && (a.filters() % a.groups() != 0 || (a.has_in_channels() && a.in_channels() % a.groups() != 0))) {
    return c.Refuse("groups|in_channels|out_channels: groups must divide the channels, got ", a.groups());
  }
  if (!c.pytorch() && AnyAbove(a.stride(), 1) && AnyAbove(a.dilation(), 1)) {
    return c.Refuse("dilation|stride: at most one may be > 1, got both");
  }
  for (int i = 0; i < a.output_padding().values_size(); ++i) {
    const auto of = [&](const auto& list) {
      return list.empty() ? 1 : list[list.size() == 1 ? 0 : std::min(i, list.size() - 1)];
    };
    const int64_t bound = c.pytorch() ? std::max(of(a.stride()), of(a.dilation())) : of(a.stride());
    if (a.output_padding().values(i) >= bound) {
      return c.Refuse("output_padding: must be smaller than ", bound, ", got ", a.output_padding().values(i));
    }
  }
  return absl::OkStatus();
}

absl::Status Check(const Context& c, const v1::LocallyConnected& a) {
  if (a.implementation() == 1 && a.padding().has_mode() && a.padding().mode() != v1::Padding::VALID) {
    return c.Refuse("padding: must be VALID with implementation 1, got ", v1::Padding::Mode_Name(a.padding().mode()));
  }
  return absl::OkStatus();
}

absl::Status Check(const Context& c, const v1::FractionalMaxPool& a) {
  if (a.output_size().empty() != a.output_ratio().empty()) return absl::OkStatus();
  return c.Refuse("output_size|output_ratio: exactly one must be set, got ", a.output_size().empty() ? "none" : "both");
}

absl::Status Check(const Context& c, const v1::Upsample& a) {
  if (a.size().empty() == a.scale_factor().empty()) {
    return c.Refuse("size|scale_factor|input: exactly one must be set, got ", a.size().empty() ? "none" : "both");
  }
  if (a.has_align_corners() && (a.mode() == "nearest" || a.mode() == "nearest-exact")) {
    return c.Refuse("align_corners|input: must be absent for ", a.mode(), ", got one");
  }
  if (a.recompute_scale_factor() && !a.size().empty()) {
    return c.Refuse("recompute_scale_factor|size|input: must be false beside a size, got true");
  }
  return absl::OkStatus();
}

absl::Status Check(const Context& c, const v1::ZeroPadding& a) {
  const int n = a.padding_size();
  if (c.axes == 0 || n <= 1 || n == c.axes || n == 2 * c.axes) return absl::OkStatus();
  return c.Refuse("padding: must have 1, ", c.axes, " or ", 2 * c.axes, " entries, got ", n);
}

absl::Status Check(const Context& c, const v1::GroupNorm& a) {
  if (c.pytorch() && a.has_groups() &&
      (a.groups() < 1 || (a.has_num_channels() && a.num_channels() % a.groups() != 0))) {
    return c.Refuse("num_channels|num_groups|groups: must divide the channels, got ", a.groups());
  }
  return absl::OkStatus();
}

absl::Status Check(const Context& c, const v1::MultiheadAttention& a) {
  if (a.num_heads() > 0 && a.embed_dim() % a.num_heads() == 0) return absl::OkStatus();
  return c.Refuse("embed_dim|num_heads: the heads must divide the features ", a.embed_dim(), ", got ", a.num_heads());
}

template <typename M>
absl::Status CheckTransformer(const Context& c, const M& a) {
  if (a.nhead() > 0 && a.d_model() % a.nhead() == 0) return absl::OkStatus();
  return c.Refuse("d_model|nhead|embed_dim|num_heads: the heads must divide the features ", a.d_model(), ", got ",
                  a.nhead());
}
absl::Status Check(const Context& c, const v1::TransformerEncoderLayer& a) { return CheckTransformer(c, a); }
absl::Status Check(const Context& c, const v1::TransformerDecoderLayer& a) { return CheckTransformer(c, a); }
absl::Status Check(const Context& c, const v1::Transformer& a) { return CheckTransformer(c, a); }

absl::Status Check(const Context& c, const v1::Rnn& a) {
  for (const v1::Layer& cell : a.cells()) {
    const std::string kind = KindName(cell);
    if (kind != "lstm_cell" && kind != "gru_cell" && kind != "simple_rnn_cell" &&
        cell.custom().definition().kind() != v1::CustomComponent::CELL)
      return c.Refuse("cell|cells: must be cells, got ", kind);
  }
  return absl::OkStatus();
}

absl::Status Check(const Context& c, const v1::Bidirectional& a) {
  const std::set<std::string> recurrent = {"lstm",        "gru",         "simple_rnn", "rnn",
                                           "conv_lstm1d", "conv_lstm2d", "conv_lstm3d"};
  if (recurrent.count(KindName(a.layer())) == 0)
    return c.Refuse("layer: must be a recurrent layer, got ", KindName(a.layer()));
  if (!a.has_backward_layer()) return absl::OkStatus();
  const v1::Layer &forward = a.layer(), &backward = a.backward_layer();
  if (recurrent.count(KindName(backward)) == 0 || FlagOf(forward, "go_backwards") == FlagOf(backward, "go_backwards")) {
    return c.Refuse("backward_layer: must be a recurrent layer that reads the other way, got ", KindName(backward));
  }
  for (const char* name : {"return_sequences", "return_state", "stateful", "time_major"}) {
    if (FlagOf(forward, name) == FlagOf(backward, name)) continue;
    return c.Refuse("backward_layer.", name, ": must be layer's, got ", FlagOf(backward, name) ? "true" : "false");
  }
  return absl::OkStatus();
}

// The divergence alone divides by the batch.
absl::Status Check(const Context& c, const v1::Loss& a) {
  const auto* kind = KindOf(a);
  if (kind == nullptr || a.has_kl_div()) return absl::OkStatus();
  const Message& m = a.GetReflection()->GetMessage(a, kind);
  const auto* field = m.GetDescriptor()->FindFieldByName("reduction");
  if (field == nullptr || field->enum_type() != v1::Reduction_descriptor() ||
      m.GetReflection()->GetEnumValue(m, field) != v1::BATCH_MEAN) {
    return absl::OkStatus();
  }
  return c.Refuse(kind->name(), ".reduction: must be MEAN, SUM or NONE, got BATCH_MEAN");
}

template <typename M>
bool Is(const Message& message) {
  return message.GetDescriptor() == M::descriptor();
}

}  // namespace

absl::Status CheckRules(v1::Dialect dialect, int axes, const std::string& path, const Message& m) {
  const Context c{dialect, axes, path};
  if (Is<v1::Layer>(m)) return Check(c, static_cast<const v1::Layer&>(m));
  if (Is<v1::Loss>(m)) return Check(c, static_cast<const v1::Loss&>(m));
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
  if (Is<v1::DepthwiseConv>(m)) return Check(c, static_cast<const v1::DepthwiseConv&>(m));
  if (Is<v1::SeparableConv>(m)) return Check(c, static_cast<const v1::SeparableConv&>(m));
  if (Is<v1::ConvTranspose>(m)) return Check(c, static_cast<const v1::ConvTranspose&>(m));
  if (Is<v1::LocallyConnected>(m)) return Check(c, static_cast<const v1::LocallyConnected&>(m));
  if (Is<v1::FractionalMaxPool>(m)) return Check(c, static_cast<const v1::FractionalMaxPool&>(m));
  if (Is<v1::Upsample>(m)) return Check(c, static_cast<const v1::Upsample&>(m));
  if (Is<v1::ZeroPadding>(m)) return Check(c, static_cast<const v1::ZeroPadding&>(m));
  if (Is<v1::GroupNorm>(m)) return Check(c, static_cast<const v1::GroupNorm&>(m));
  if (Is<v1::MultiheadAttention>(m)) return Check(c, static_cast<const v1::MultiheadAttention&>(m));
  if (Is<v1::TransformerEncoderLayer>(m)) return Check(c, static_cast<const v1::TransformerEncoderLayer&>(m));
  if (Is<v1::TransformerDecoderLayer>(m)) return Check(c, static_cast<const v1::TransformerDecoderLayer&>(m));
  if (Is<v1::Transformer>(m)) return Check(c, static_cast<const v1::Transformer&>(m));
  if (Is<v1::Rnn>(m)) return Check(c, static_cast<const v1::Rnn&>(m));
  if (Is<v1::Bidirectional>(m)) return Check(c, static_cast<const v1::Bidirectional&>(m));
  if (Is<v1::Sgd>(m)) return Check(c, static_cast<const v1::Sgd&>(m));
  if (Is<v1::Metric>(m)) return Check(c, static_cast<const v1::Metric&>(m));
  if (Is<v1::Auc>(m)) return Check(c, static_cast<const v1::Auc&>(m));
  if (Is<v1::Precision>(m)) return CheckThreshold(c, static_cast<const v1::Precision&>(m));
  if (Is<v1::Recall>(m)) return CheckThreshold(c, static_cast<const v1::Recall&>(m));
  if (Is<v1::TruePositives>(m)) return CheckThreshold(c, static_cast<const v1::TruePositives&>(m));
  if (Is<v1::TrueNegatives>(m)) return CheckThreshold(c, static_cast<const v1::TrueNegatives&>(m));
  if (Is<v1::FalsePositives>(m)) return CheckThreshold(c, static_cast<const v1::FalsePositives&>(m));
  if (Is<v1::FalseNegatives>(m)) return CheckThreshold(c, static_cast<const v1::FalseNegatives&>(m));
  if (Is<v1::FBetaScore>(m)) return CheckThreshold(c, static_cast<const v1::FBetaScore&>(m));
  if (Is<v1::F1Score>(m)) return CheckThreshold(c, static_cast<const v1::F1Score&>(m));
  if (Is<v1::AdaptiveLogSoftmax>(m)) return Check(c, static_cast<const v1::AdaptiveLogSoftmax&>(m));
  if (Is<v1::PiecewiseConstantSchedule>(m)) return Check(c, static_cast<const v1::PiecewiseConstantSchedule&>(m));
  if (Is<v1::CosineRestartsSchedule>(m)) return Check(c, static_cast<const v1::CosineRestartsSchedule&>(m));
  if (Is<v1::OneCycleSchedule>(m)) return Check(c, static_cast<const v1::OneCycleSchedule&>(m));
  if (Is<v1::Optimizer>(m)) return Check(c, static_cast<const v1::Optimizer&>(m));
  if (Is<v1::Clipping>(m)) return Check(c, static_cast<const v1::Clipping&>(m));
  return absl::OkStatus();
}

bool FlagOf(const v1::Layer& layer, const char* name) {
  const auto* kind = KindOf(layer);
  const auto* field = kind == nullptr ? nullptr : kind->message_type()->FindFieldByName(name);
  if (field == nullptr) return false;
  const Message& m = layer.GetReflection()->GetMessage(layer, kind);
  return m.GetReflection()->GetBool(m, field);
}

}  // namespace strata::nn
