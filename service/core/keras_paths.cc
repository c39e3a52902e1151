#include "service/core/keras_paths.h"

#include <cctype>
#include <map>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "engine/chain.h"
#include "google/protobuf/descriptor.h"

namespace strata::service {
namespace {

using Parameters = std::vector<const ParameterSpec*>;

const google::protobuf::FieldDescriptor* KindOf(const v1::Layer& layer) {
  const auto* oneof = v1::Layer::descriptor()->FindOneofByName("kind");
  return layer.GetReflection()->GetOneofFieldDescriptor(layer, oneof);
}

// "MaxPooling2D" -> "max_pooling2d", as Keras makes names: a word begins with a capital that follows or precedes a
// small letter.
std::string Snake(const std::string& name) {
  const auto upper = [&](size_t i) {
    return i < name.size() && std::isupper(static_cast<unsigned char>(name[i])) != 0;
  };
  const auto lower = [&](size_t i) {
    return i < name.size() && std::islower(static_cast<unsigned char>(name[i])) != 0;
  };
  std::string out;
  for (size_t i = 0; i < name.size(); ++i) {
    if (i > 0 && upper(i) && (lower(i - 1) || lower(i + 1))) out += '_';
    out += static_cast<char>(std::tolower(static_cast<unsigned char>(name[i])));
  }
  return out;
}

std::string ClassOf(const v1::Layer& layer) {
  if (layer.has_model()) return IsSequential(layer.model()) ? "Sequential" : "Functional";
  if (layer.has_custom()) return layer.custom().definition().name();
  const auto* kind = KindOf(layer);
  if (kind == nullptr) return "Layer";
  const v1::ComponentSchema& schema = kind->options().GetExtension(v1::component);
  return schema.keras().empty() ? "Activation" : schema.keras(0);
}

bool IsRecurrent(const v1::Layer& layer) {
  return layer.has_lstm() || layer.has_gru() || layer.has_simple_rnn() || layer.has_conv_lstm1d() ||
         layer.has_conv_lstm2d() || layer.has_conv_lstm3d();
}

// Gives each name a counter of its own: dense, dense_1.
std::string Numbered(const std::string& name, std::map<std::string, int>* counts) {
  const int n = (*counts)[name]++;
  return n == 0 ? name : absl::StrCat(name, "_", n);
}

absl::Status AddModel(const v1::Model& model, const std::string& model_path, const std::string& prefix,
                      const Parameters& parameters, std::vector<WeightPath>* out);

void AddVars(const std::string& path, const Parameters& parameters, std::vector<WeightPath>* out) {
  for (size_t i = 0; i < parameters.size(); ++i) out->push_back({absl::StrCat(path, "/vars/", i), parameters[i]});
}

// Parameters whose name, after `prefix`, begins with `start`.
Parameters Starting(const Parameters& parameters, const std::string& prefix, const std::string& start) {
  Parameters some;
  for (const ParameterSpec* p : parameters) {
    if (absl::StartsWith(absl::string_view(p->name).substr(prefix.size()), start)) some.push_back(p);
  }
  return some;
}

// `prefix` ends with a slash; what follows it in a parameter's name is the layer's own.
absl::Status AddLayer(const v1::Layer& layer, const std::string& path, const std::string& prefix,
                      const Parameters& parameters, std::vector<WeightPath>* out) {
  if (layer.has_model()) return AddModel(layer.model(), path, prefix, parameters, out);
  if (IsRecurrent(layer)) return AddVars(path + "/cell", parameters, out), absl::OkStatus();
  if (layer.has_time_distributed()) {
    return AddLayer(layer.time_distributed().layer(), path + "/layer", prefix, parameters, out);
  }
  if (layer.has_bidirectional()) {
    for (const auto& [start, name] :
         {std::pair<const char*, const char*>{"forward_", "/forward_layer"}, {"backward_", "/backward_layer"}}) {
      STRATA_RETURN_IF_ERROR(
          AddLayer(layer.bidirectional().layer(), path + name, prefix, Starting(parameters, prefix, start), out));
    }
    return absl::OkStatus();
  }
  if (layer.has_keras_multi_head_attention()) {
    for (const auto& [start, name] : {std::pair<const char*, const char*>{"query/", "/_query_dense"},
                                      {"key/", "/_key_dense"},
                                      {"value/", "/_value_dense"},
                                      {"attention_output/", "/_output_dense"}}) {
      AddVars(path + name, Starting(parameters, prefix, start), out);
    }
    return absl::OkStatus();
  }
  if (layer.has_rnn() && layer.rnn().cells_size() == 1 && !layer.rnn().stacked()) {
    return AddVars(path + "/cell", parameters, out), absl::OkStatus();
  }
  if (layer.has_rnn()) {
    std::map<std::string, int> counts;
    for (int i = 0; i < layer.rnn().cells_size(); ++i) {
      const std::string name = Numbered(Snake(ClassOf(layer.rnn().cells(i))), &counts);
      AddVars(absl::StrCat(path, "/cell/cells/", name), Starting(parameters, prefix, absl::StrCat("cells.", i, ".")),
              out);
    }
    return absl::OkStatus();
  }
  AddVars(path, parameters, out);
  return absl::OkStatus();
}

absl::Status AddModel(const v1::Model& model, const std::string& model_path, const std::string& prefix,
                      const Parameters& parameters, std::vector<WeightPath>* out) {
  std::map<std::string, int> counts;
  for (const v1::Layer& layer : model.layers()) {
    const std::string name = Numbered(Snake(ClassOf(layer)), &counts);
    const std::string inside = absl::StrCat(prefix, layer.name(), "/");
    const std::string path = absl::StrCat(model_path, model_path.empty() ? "" : "/", "layers/", name);
    STRATA_RETURN_IF_ERROR(AddLayer(layer, path, inside, Starting(parameters, "", inside), out));
  }
  return absl::OkStatus();
}

}  // namespace

std::vector<LayerParameters> ParametersByLayer(const v1::Model& model, const std::vector<ParameterSpec>& parameters) {
  std::vector<LayerParameters> layers;
  for (const v1::Layer& layer : model.layers()) {
    LayerParameters& own = layers.emplace_back();
    own.layer = &layer;
    for (const ParameterSpec& p : parameters) {
      if (absl::StartsWith(p.name, layer.name() + "/")) own.parameters.push_back(&p);
    }
  }
  return layers;
}

absl::StatusOr<std::vector<WeightPath>> PathsOf(const v1::Model& model, const std::vector<ParameterSpec>& parameters) {
  Parameters all;
  for (const ParameterSpec& p : parameters) all.push_back(&p);
  std::vector<WeightPath> paths;
  STRATA_RETURN_IF_ERROR(AddModel(model, "", "", all, &paths));
  if (paths.size() != parameters.size()) {
    return InvalidArgument("layers: must describe ", parameters.size(), " weights, got ", paths.size());
  }
  return paths;
}

}  // namespace strata::service
