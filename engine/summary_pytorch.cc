// print(net): each class shows the arguments that its extra_repr shows.
#include <algorithm>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "engine/nn/schema.h"
#include "engine/summary.h"
#include "engine/summary_python.h"

namespace strata {

std::string PythonFloat(double v) {
  if (std::isinf(v)) return v > 0 ? "inf" : "-inf";
  for (int digits = 1; digits <= 17; ++digits) {
    std::string s = absl::StrFormat("%.*g", digits, v);
    if (std::strtod(s.c_str(), nullptr) != v) continue;
    const double size = std::fabs(v);
    if (size != 0 && (size < 1e-4 || size >= 1e16)) return s;
    if (s.find('e') != std::string::npos) s = absl::StrFormat("%.0f", v);
    return s.find('.') == std::string::npos ? s + ".0" : s;
  }
  return absl::StrFormat("%.17g", v);
}

namespace {

std::string ConvText(const v1::Conv& a, int axes) {
  std::string s =
      absl::StrCat(a.in_channels(), ", ", a.filters(), ", kernel_size=", PerAxisTuple(a.kernel_size(), axes),
                   ", stride=", PerAxisTuple(a.stride(), axes));
  if (a.padding().has_size()) {
    bool any = false;
    for (int64_t p : a.padding().size().values()) any |= p != 0;
    if (any) absl::StrAppend(&s, ", padding=", PerAxisTuple(a.padding().size().values(), axes));
  } else {
    absl::StrAppend(&s, ", padding=", a.padding().mode() == v1::Padding::SAME ? "same" : "valid");
  }
  bool dilated = false;
  for (int64_t d : a.dilation()) dilated |= d != 1;
  if (dilated) absl::StrAppend(&s, ", dilation=", PerAxisTuple(a.dilation(), axes));
  if (a.groups() != 1) absl::StrAppend(&s, ", groups=", a.groups());
  if (!a.use_bias()) absl::StrAppend(&s, ", bias=False");
  const char* const modes[] = {"zeros", "reflect", "replicate", "circular"};
  if (a.padding_mode() != v1::Conv::ZEROS) absl::StrAppend(&s, ", padding_mode=", modes[a.padding_mode()]);
  return s;
}

template <typename M>
std::string PoolText(const v1::Layer& l, const M& a) {
  const bool size = IsListed(l, "pool_size");
  return absl::StrCat(
      "kernel_size=", NumberOrTuple(a.pool_size(), size), ", stride=",
      a.stride().empty() ? NumberOrTuple(a.pool_size(), size) : NumberOrTuple(a.stride(), IsListed(l, "stride")),
      ", padding=", NumberOrTuple(a.padding().size().values(), IsListed(l, "padding")));
}

std::string MaxPoolText(const v1::Layer& l, const v1::MaxPool& a) {
  return absl::StrCat(PoolText(l, a), ", dilation=", NumberOrTuple(a.dilation(), IsListed(l, "dilation")),
                      ", ceil_mode=", PythonBool(a.ceil_mode()));
}

std::string AvgPool1dText(const v1::AvgPool& a) {
  return absl::StrCat("kernel_size=", PythonTuple(a.pool_size()),
                      ", stride=", PythonTuple(a.stride().empty() ? a.pool_size() : a.stride()),
                      ", padding=", PythonTuple(a.padding().size().values()));
}

std::string BatchNormText(const v1::BatchNorm& a) {
  return absl::StrCat(a.num_features(), ", eps=", PythonFloat(a.epsilon()),
                      ", momentum=", a.cumulative() ? "None" : PythonFloat(a.momentum()),
                      ", affine=", PythonBool(a.affine()), ", bias=", PythonBool(a.use_bias() && a.affine()),
                      ", track_running_stats=", PythonBool(a.track_running_stats()));
}

std::string EmbeddingText(const v1::Embedding& a) {
  std::string s = absl::StrCat(a.input_dim(), ", ", a.output_dim());
  if (a.has_padding_idx())
    absl::StrAppend(&s, ", padding_idx=", a.padding_idx() < 0 ? a.padding_idx() + a.input_dim() : a.padding_idx());
  if (a.has_max_norm()) absl::StrAppend(&s, ", max_norm=", PythonFloat(a.max_norm()));
  if (a.norm_type() != 2) absl::StrAppend(&s, ", norm_type=", PythonFloat(a.norm_type()));
  if (a.scale_grad_by_freq()) absl::StrAppend(&s, ", scale_grad_by_freq=True");
  if (a.sparse()) absl::StrAppend(&s, ", sparse=True");
  return s;
}

template <typename M>
std::string RecurrentText(const M& a) {
  std::string s = absl::StrCat(a.input_size(), ", ", a.units());
  if constexpr (std::is_same_v<M, v1::Lstm>) {
    if (a.proj_size() != 0) absl::StrAppend(&s, ", proj_size=", a.proj_size());
  }
  if (a.num_layers() != 1) absl::StrAppend(&s, ", num_layers=", a.num_layers());
  if (!a.use_bias()) absl::StrAppend(&s, ", bias=False");
  if (a.batch_first()) absl::StrAppend(&s, ", batch_first=True");
  if (a.dropout() != 0) absl::StrAppend(&s, ", dropout=", PythonFloat(a.dropout()));
  if (a.bidirectional()) absl::StrAppend(&s, ", bidirectional=True");
  return s;
}

template <typename M>
std::string CellText(const M& a) {
  return absl::StrCat(a.input_size(), ", ", a.units(), a.use_bias() ? "" : ", bias=False");
}

std::string GroupNormText(const v1::GroupNorm& a) {
  return absl::StrCat(a.groups(), ", ", a.num_channels(), ", eps=", PythonFloat(a.epsilon()),
                      ", affine=", PythonBool(a.affine()), ", bias=", PythonBool(a.use_bias() && a.affine()));
}

std::string LayerNormText(const v1::LayerNorm& a) {
  return absl::StrCat(PythonTuple(a.normalized_shape()), ", eps=", PythonFloat(a.epsilon()),
                      ", elementwise_affine=", PythonBool(a.affine()),
                      ", bias=", PythonBool(a.use_bias() && a.affine()));
}

std::string InstanceNormText(const v1::InstanceNorm& a) {
  return absl::StrCat(a.num_features(), ", eps=", PythonFloat(a.epsilon()), ", momentum=", PythonFloat(a.momentum()),
                      ", affine=", PythonBool(a.affine()), ", bias=", PythonBool(a.use_bias() && a.affine()),
                      ", track_running_stats=", PythonBool(a.track_running_stats()));
}

std::string ConvTransposeText(const v1::ConvTranspose& a, int axes) {
  std::string s =
      absl::StrCat(a.in_channels(), ", ", a.filters(), ", kernel_size=", PerAxisTuple(a.kernel_size(), axes),
                   ", stride=", PerAxisTuple(a.stride(), axes));
  const auto any = [](const auto& list, int64_t plain) {
    return std::any_of(list.begin(), list.end(), [&](int64_t v) { return v != plain; });
  };
  if (any(a.padding().size().values(), 0))
    absl::StrAppend(&s, ", padding=", PerAxisTuple(a.padding().size().values(), axes));
  if (any(a.dilation(), 1)) absl::StrAppend(&s, ", dilation=", PerAxisTuple(a.dilation(), axes));
  if (any(a.output_padding().values(), 0))
    absl::StrAppend(&s, ", output_padding=", PerAxisTuple(a.output_padding().values(), axes));
  if (a.groups() != 1) absl::StrAppend(&s, ", groups=", a.groups());
  if (!a.use_bias()) absl::StrAppend(&s, ", bias=False");
  return s;
}

std::string AxisText(bool has, int64_t axis) { return absl::StrCat("dim=", has ? absl::StrCat(axis) : "None"); }

// What stands between the parentheses.
std::string Arguments(const v1::Layer& l) {
  switch (l.kind_case()) {
    case v1::Layer::kLinear:
      return absl::StrCat("in_features=", l.linear().in_features(), ", out_features=", l.linear().units(),
                          ", bias=", PythonBool(l.linear().use_bias()));
    case v1::Layer::kConv1D:
      return ConvText(l.conv1d(), 1);
    case v1::Layer::kConv2D:
      return ConvText(l.conv2d(), 2);
    case v1::Layer::kConv3D:
      return ConvText(l.conv3d(), 3);
    case v1::Layer::kMaxPool1D:
      return MaxPoolText(l, l.max_pool1d());
    case v1::Layer::kMaxPool2D:
      return MaxPoolText(l, l.max_pool2d());
    case v1::Layer::kMaxPool3D:
      return MaxPoolText(l, l.max_pool3d());
    case v1::Layer::kAvgPool1D:
      return AvgPool1dText(l.avg_pool1d());
    case v1::Layer::kAvgPool2D:
      return PoolText(l, l.avg_pool2d());
    case v1::Layer::kAvgPool3D:
      return PoolText(l, l.avg_pool3d());
    case v1::Layer::kBatchNorm1D:
      return BatchNormText(l.batch_norm1d());
    case v1::Layer::kBatchNorm2D:
      return BatchNormText(l.batch_norm2d());
    case v1::Layer::kBatchNorm3D:
      return BatchNormText(l.batch_norm3d());
    case v1::Layer::kGroupNorm:
      return GroupNormText(l.group_norm());
    case v1::Layer::kLayerNorm:
      return LayerNormText(l.layer_norm());
    case v1::Layer::kInstanceNorm1D:
      return InstanceNormText(l.instance_norm1d());
    case v1::Layer::kInstanceNorm2D:
      return InstanceNormText(l.instance_norm2d());
    case v1::Layer::kInstanceNorm3D:
      return InstanceNormText(l.instance_norm3d());
    case v1::Layer::kConvTranspose1D:
      return ConvTransposeText(l.conv_transpose1d(), 1);
    case v1::Layer::kConvTranspose2D:
      return ConvTransposeText(l.conv_transpose2d(), 2);
    case v1::Layer::kConvTranspose3D:
      return ConvTransposeText(l.conv_transpose3d(), 3);
    case v1::Layer::kGru:
      return RecurrentText(l.gru());
    case v1::Layer::kEmbedding:
      return EmbeddingText(l.embedding());
    case v1::Layer::kLstm:
      return RecurrentText(l.lstm());
    case v1::Layer::kSimpleRnn:
      return RecurrentText(l.simple_rnn());
    case v1::Layer::kLeakyRelu:
      return absl::StrCat("negative_slope=", PythonFloat(l.leaky_relu().negative_slope()));
    case v1::Layer::kElu:
      return absl::StrCat("alpha=", PythonFloat(l.elu().alpha()));
    case v1::Layer::kGelu:
      return absl::StrCat("approximate='", l.gelu().approximate() == v1::Gelu::TANH ? "tanh" : "none", "'");
    case v1::Layer::kSoftmax:
      return AxisText(l.softmax().has_axis(), l.softmax().axis());
    case v1::Layer::kLogSoftmax:
      return AxisText(l.log_softmax().has_axis(), l.log_softmax().axis());
    case v1::Layer::kSoftplus:
      return absl::StrCat("beta=", PythonFloat(l.softplus().beta()),
                          ", threshold=", PythonFloat(l.softplus().threshold()));
    case v1::Layer::kHardtanh:
      return absl::StrCat("min_val=", PythonFloat(l.hardtanh().min_value()),
                          ", max_val=", PythonFloat(l.hardtanh().max_value()));
    case v1::Layer::kThreshold:
      return absl::StrCat("threshold=", PythonFloat(l.threshold().threshold()),
                          ", value=", PythonFloat(l.threshold().value()));
    case v1::Layer::kRmsNorm:
      return absl::StrCat(PythonTuple(l.rms_norm().normalized_shape()),
                          ", eps=", l.rms_norm().has_epsilon() ? PythonFloat(l.rms_norm().epsilon()) : "None",
                          ", elementwise_affine=", PythonBool(l.rms_norm().affine()));
    case v1::Layer::kLstmCell:
      return CellText(l.lstm_cell());
    case v1::Layer::kGruCell:
      return CellText(l.gru_cell());
    case v1::Layer::kSimpleRnnCell: {
      const v1::SimpleRnnCell& a = l.simple_rnn_cell();
      return absl::StrCat(CellText(a), a.nonlinearity() == "tanh" ? "" : ", nonlinearity=" + a.nonlinearity());
    }
    case v1::Layer::kPrelu:
      return absl::StrCat("num_parameters=", l.prelu().num_parameters());
    default:
      return MovementArguments(l);
  }
}

// Modules that print their inplace argument where it is set.
bool PrintsInplace(v1::Layer::KindCase kind) {
  switch (kind) {
    case v1::Layer::kRelu:
    case v1::Layer::kRelu6:
    case v1::Layer::kThreshold:
    case v1::Layer::kLeakyRelu:
    case v1::Layer::kElu:
    case v1::Layer::kSelu:
    case v1::Layer::kSilu:
    case v1::Layer::kMish:
    case v1::Layer::kHardtanh:
      return true;
    default:
      return false;
  }
}

std::string Indented(const std::string& text) { return absl::StrJoin(absl::StrSplit(text, '\n'), "\n  "); }

std::string PythonText(const google::protobuf::Value& v) {
  switch (v.kind_case()) {
    case google::protobuf::Value::kNumberValue:
      return absl::StrCat(v.number_value());
    case google::protobuf::Value::kBoolValue:
      return v.bool_value() ? "True" : "False";
    case google::protobuf::Value::kStringValue:
      return absl::StrCat("'", v.string_value(), "'");
    case google::protobuf::Value::kListValue: {
      const auto& items = v.list_value().values();
      return absl::StrCat("[", absl::StrJoin(items, ", ", [](std::string* s, const auto& i) { *s += PythonText(i); }),
                          "]");
    }
    default:
      return "None";
  }
}

// A custom component shows its hyper-parameters, in the order of their declaration.
std::string PrintCustom(const v1::CustomComponent& definition, const google::protobuf::Struct& values) {
  std::vector<std::string> arguments;
  for (const v1::Hyperparameter& h : definition.hyperparameters()) {
    const auto it = values.fields().find(h.name());
    const google::protobuf::Value& value = it == values.fields().end() ? h.default_() : it->second;
    arguments.push_back(absl::StrCat(h.name(), "=", PythonText(value)));
  }
  return absl::StrCat(definition.name(), "(", absl::StrJoin(arguments, ", "), ")");
}

}  // namespace

std::string PrintPytorch(const v1::Layer& layer) {
  if (layer.has_model()) return PrintPytorch(layer.model());
  if (std::string modules = PrintModules(layer); !modules.empty()) return modules;
  const auto* kind = nn::KindOf(layer);
  if (kind == nullptr) return "";
  if (layer.has_custom()) return PrintCustom(layer.custom().definition(), layer.custom().hyperparameters());
  const v1::ComponentSchema& schema = nn::SchemaOfComponent(kind);
  std::string arguments = Arguments(layer);
  if (layer.inplace() && PrintsInplace(layer.kind_case())) {
    absl::StrAppend(&arguments, arguments.empty() ? "" : ", ", "inplace=True");
  }
  return absl::StrCat(schema.pytorch().empty() ? kind->name() : schema.pytorch(0), "(", arguments, ")");
}

std::string PrintPytorch(const v1::Model& model) {
  if (model.layers().empty()) return "Sequential()";
  // Layers that do not follow each other need a class of the user's own, which pytorch_source.cc names so, too.
  std::string out = EachReadsTheLast(model) ? "Sequential(\n" : "Model(\n";
  for (const v1::Layer& layer : model.layers()) {
    absl::StrAppend(&out, "  (", layer.name(), "): ", Indented(PrintPytorch(layer)), "\n");
  }
  return out + ")";
}

std::string PrintPytorch(const v1::Loss& loss) {
  const auto* kind = nn::KindOf(loss);
  if (kind == nullptr) return "";
  if (loss.has_custom()) return PrintCustom(loss.custom().definition(), loss.custom().hyperparameters());
  if (loss.has_adaptive_log_softmax()) {
    v1::Layer layer;
    *layer.mutable_adaptive_log_softmax() = loss.adaptive_log_softmax();
    return PrintModules(layer);
  }
  const v1::ComponentSchema& schema = nn::SchemaOfComponent(kind);
  return absl::StrCat(schema.pytorch().empty() ? kind->name() : schema.pytorch(0), "()");
}

}  // namespace strata
