// Whole components in a framework's words.
#include "engine/import/writer.h"

#include <nlohmann/json.hpp>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "engine/import/custom.h"
#include "engine/nn/complete.h"
#include "engine/nn/schema.h"
#include "strata/v1/attention_layers.pb.h"

namespace strata::framework {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;

// What get_config() writes beside the component's own fields, and which fields it leaves out.
struct Difference {
  const char* component;  // of the family's oneof; a prefix if it ends with '*'
  const char* key;
  const char* value;  // JSON; null: the key is left out
};
constexpr Difference kKerasDifferences[] = {
    {"spatial_dropout*", "data_format", nullptr},
    {"spatial_dropout*", "noise_shape", "null"},
    {"spatial_dropout*", "seed", "null"},
    {"alpha_dropout", "noise_shape", nullptr},
    {"batch_norm", "fused", nullptr},
    {"sparse_categorical_crossentropy", "axis", nullptr},
    {"separable_conv*", "groups", "1"},
    {"separable_conv*", "kernel_initializer",
     R"({"module": "keras.initializers", "class_name": "GlorotUniform", "config": {"seed": null}, "registered_name": null})"},
    {"separable_conv*", "kernel_regularizer", "null"},
    {"separable_conv*", "kernel_constraint", "null"},
    {"depthwise_conv*", "groups", "1"},
    {"conv_transpose*", "groups", "1"},
    {"conv_transpose3d", "dilation_rate", nullptr},
    {"up_sampling1d", "data_format", nullptr},
    {"up_sampling1d", "interpolation", nullptr},
    {"up_sampling3d", "interpolation", nullptr},
    {"zero_padding1d", "data_format", nullptr},
    {"cropping1d", "data_format", nullptr},
    {"conv_lstm*", "time_major", "false"},
    {"conv_lstm*", "unroll", "false"},
    {"keras_multi_head_attention", "query_shape", "null"},
    {"keras_multi_head_attention", "key_shape", "null"},
    {"keras_multi_head_attention", "value_shape", "null"},
    {"keras_multi_head_attention", "softmax_robust_masking", "false"},
    // Arguments of the call.
    {"keras_multi_head_attention", "use_causal_mask", nullptr},
    {"keras_multi_head_attention", "return_attention_scores", nullptr},
    {"attention", "return_attention_scores", nullptr},
    {"additive_attention", "return_attention_scores", nullptr},
};

bool Matches(const char* pattern, const std::string& name) {
  const absl::string_view p = pattern;
  return absl::EndsWith(p, "*") ? absl::StartsWith(name, p.substr(0, p.size() - 1)) : p == name;
}

// Whether leaving the argument out gives the same component.
bool IsDefault(v1::Dialect dialect, const Message& message, const FieldDescriptor* field) {
  const Reflection* r = message.GetReflection();
  const bool present =
      field->is_repeated() ? r->FieldSize(message, field) > 0 : !field->has_presence() || r->HasField(message, field);
  if (!present) return true;
  std::unique_ptr<Message> other(message.New());
  other->CopyFrom(message);
  r->ClearField(other.get(), field);
  if (!nn::Fill(dialect, "", other.get()).ok()) return false;
  return other->SerializeAsString() == message.SerializeAsString();
}

// Arguments that are written in another form than their field's.
absl::Status WriteSpecial(const WriteRules& rules, const std::string& component, Json* config) {
  if (absl::StartsWith(component, "max_pool") || absl::StartsWith(component, "avg_pool")) {
    if (rules.dialect == v1::KERAS && (*config)["strides"].is_null()) (*config)["strides"] = (*config)["pool_size"];
  }
  if (component == "bidirectional") {
    if ((*config)["merge_mode"] == "none") (*config)["merge_mode"] = nullptr;
    if (config->contains("backward_layer") && (*config)["backward_layer"].is_null()) config->erase("backward_layer");
  }
  const bool stacked = Member(*config, "stacked") == true;
  config->erase("stacked");
  if (component == "rnn" && (*config)["cell"].size() == 1 && !stacked) {
    (*config)["cell"] = Json((*config)["cell"][0]);
  } else if (component == "rnn") {
    Json cells = {{"cells", (*config)["cell"]}, {"name", "stacked_rnn_cells"}, {"trainable", true}};
    cells["dtype"] = "float32";
    (*config)["cell"] = KerasObject("keras.layers", "StackedRNNCells", std::move(cells));
  }
  if (component == "embedding" && rules.dialect == v1::KERAS) {
    const Json length = (*config)["input_length"];
    (*config)["batch_input_shape"] = {nullptr, length};
  }
  // Masks on the state need the form of one product for each gate.
  if (config->contains("implementation") && config->value("recurrent_dropout", 0.0) > 0) {
    (*config)["implementation"] = 1;
  }
  if (component == "keras_multi_head_attention" && (*config)["value_dim"].is_null()) {
    (*config)["value_dim"] = (*config)["key_dim"];
  }
  if (absl::StartsWith(component, "cropping") && (*config)["cropping"].is_null()) {
    const int cells = rules.spatial_axes == 2 ? 0 : 1;
    const Json pair = Json::array({cells, cells});
    (*config)["cropping"] = rules.spatial_axes == 1 ? pair : Json(static_cast<size_t>(rules.spatial_axes), pair);
  }
  if (component == "relu" && config->contains("alpha")) {
    // The function's argument; the layer's has a name of its own.
    (*config)["negative_slope"] = (*config)["alpha"];
    config->erase("alpha");
  }
  // Written only where they are used.
  for (const char* name : {"causal", "zero_output_for_mask", "robust_masking"}) {
    const Json& value = Member(*config, name);
    if (config->contains(name) && (value.is_null() || value == false)) config->erase(name);
  }
  if (component == "dense_features") (*config)["partitioner"] = nullptr;  // from_config() asks for it
  if (component == "dot" && (*config)["axes"].is_null()) return InvalidArgument("dot.axes: must be set, got nothing");
  // One axis, or several that stand in a field of their own.
  if ((component == "batch_norm" || component == "softmax") && config->contains("axes")) {
    if (!(*config)["axes"].is_null()) (*config)["axis"] = (*config)["axes"];
    config->erase("axes");
  }
  // An average over all batches is a momentum of None.
  if (config->contains("cumulative")) {
    config->erase("cumulative");
    (*config)["momentum"] = nullptr;
  }
  // A stack's final LayerNorm is held as three fields.
  if ((component == "transformer_encoder" || component == "transformer_decoder") && config->contains("norm_eps")) {
    const Json& layer = (*config)[component == "transformer_encoder" ? "encoder_layer" : "decoder_layer"];
    const Json shape = Json::array({Member(Member(layer, "config"), "d_model")});
    Json norm = {{"normalized_shape", shape}, {"eps", (*config)["norm_eps"]}};
    for (const auto& [ours, theirs] :
         {std::pair{"norm_affine", "elementwise_affine"}, std::pair{"norm_use_bias", "bias"}}) {
      if (config->contains(ours)) norm[theirs] = (*config)[ours];
      config->erase(ours);
    }
    (*config)["norm"] = {{"class_name", "LayerNorm"}, {"config", norm}};
    config->erase("norm_eps");
  }
  return absl::OkStatus();
}

// The class that a framework has for a layer; empty if it has none.
std::string ClassOf(v1::Dialect dialect, const FieldDescriptor* kind) {
  const v1::ComponentSchema& schema = nn::SchemaOfComponent(kind);
  const auto& names = dialect == v1::KERAS ? schema.keras() : schema.pytorch();
  return names.empty() ? "" : names[0];
}

// Keras has no class for some activations: Activation("swish").
absl::StatusOr<Json> AsActivation(const FieldDescriptor* kind, const Message& message) {
  const FieldDescriptor* member =
      v1::Activation::descriptor()->FindFieldByName(kind->name() == "identity" ? "linear" : kind->name());
  if (member == nullptr) return absl::UnimplementedError(absl::StrCat(kind->name(), ": keras has no such layer"));
  v1::Activation activation;
  activation.GetReflection()->MutableMessage(&activation, member)->CopyFrom(message);
  STRATA_ASSIGN_OR_RETURN(Json text, WriteActivation(activation));
  return Json{{"activation", std::move(text)}};
}

}  // namespace

absl::StatusOr<Json> WriteConfig(v1::Dialect dialect, const FieldDescriptor* kind, const Message& message) {
  const WriteRules rules{dialect, nn::SpatialAxes(kind->name())};
  Json config = Json::object();
  for (int i = 0; i < message.GetDescriptor()->field_count(); ++i) {
    const FieldDescriptor* field = message.GetDescriptor()->field(i);
    const v1::FieldSchema& schema = nn::SchemaOfField(field);
    if (schema.only() != v1::DIALECT_UNSPECIFIED && schema.only() != dialect) continue;
    // The shape of a list of numbers is written with the list.
    if (absl::EndsWith(field->name(), "_shape") &&
        message.GetDescriptor()->FindFieldByName(field->name().substr(0, field->name().size() - 6)) != nullptr) {
      continue;
    }
    if (dialect == v1::PYTORCH && IsDefault(dialect, message, field)) continue;
    STRATA_ASSIGN_OR_RETURN(config[nn::ArgumentName(field, dialect)], WriteValue(rules, message, field));
  }
  STRATA_RETURN_IF_ERROR(WriteSpecial(rules, kind->name(), &config));
  if (dialect != v1::KERAS) return config;
  for (const Difference& d : kKerasDifferences) {
    if (!Matches(d.component, kind->name())) continue;
    if (d.value == nullptr) {
      config.erase(d.key);
    } else if (!config.contains(d.key)) {
      config[d.key] = Json::parse(d.value);
    }
  }
  return config;
}

absl::StatusOr<Json> WriteLayer(v1::Dialect dialect, const v1::Layer& layer) {
  const FieldDescriptor* kind = nn::KindOf(layer);
  if (kind == nullptr) return InvalidArgument("layer.kind: must be set, got nothing");
  const Message& message = layer.GetReflection()->GetMessage(layer, kind);
  std::string class_name = ClassOf(dialect, kind);
  Json config;
  if (layer.has_custom()) {
    class_name = layer.custom().definition().name();
    config = WriteCustom(layer.custom().definition(), layer.custom().hyperparameters());
  } else if (class_name.empty() && dialect == v1::KERAS) {
    class_name = "Activation";
    STRATA_ASSIGN_OR_RETURN(config, AsActivation(kind, message));
  } else if (class_name.empty()) {
    return absl::UnimplementedError(absl::StrCat(kind->name(), ": torch.nn has no such class"));
  } else {
    STRATA_ASSIGN_OR_RETURN(config, WriteConfig(dialect, kind, message));
    for (const std::string& name : layer.one_entry_lists()) {
      const FieldDescriptor* field = message.GetDescriptor()->FindFieldByName(name);
      if (field == nullptr) continue;
      const std::string argument = nn::ArgumentName(field, dialect);
      if (const Json& value = Member(config, argument.c_str()); value.is_number())
        config[argument] = Json::array({value});
    }
  }
  if (dialect == v1::PYTORCH) {
    if (layer.inplace()) config["inplace"] = true;
    Json json = {{"class_name", class_name}, {"config", std::move(config)}};
    if (!layer.name().empty()) json["name"] = layer.name();
    return json;
  }
  config["name"] = layer.name().empty() ? nn::AutomaticName(dialect, layer) : layer.name();
  config["trainable"] = !layer.has_trainable() || layer.trainable();
  config["dtype"] = "float32";
  if (!layer.has_custom() || class_name == "Lambda") return KerasObject("keras.layers", class_name, std::move(config));
  Json json = KerasObject("custom", class_name, std::move(config));
  json["registered_name"] = class_name;
  return json;
}

}  // namespace strata::framework
