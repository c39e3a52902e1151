#include "tests/parity/case.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <set>

#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "service/store/safetensors.h"

namespace strata::parity {
namespace {

namespace fs = std::filesystem;

absl::StatusOr<std::string> ReadFile(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::NotFoundError(absl::StrCat(path, ": cannot be read"));
  return std::string(std::istreambuf_iterator<char>(file), {});
}

// The members of `object` must be among `known`: a case with a member that we ignore would pass for the wrong reason.
absl::Status OnlyMembers(const std::string& what, const Json& object, const std::set<std::string>& known) {
  if (!object.is_object()) return InvalidArgument(what, ": must be an object");
  for (const auto& [key, value] : object.items()) {
    if (known.count(key) == 0) return InvalidArgument(what, ".", key, ": unknown member");
  }
  return absl::OkStatus();
}

absl::Status Names(const std::string& what, const Json& json, std::vector<std::string>* names) {
  if (json.is_null()) return absl::OkStatus();
  if (!json.is_array()) return InvalidArgument(what, ": must be a list of names");
  for (const Json& name : json) {
    if (!name.is_string() && !name.is_null()) return InvalidArgument(what, ": must be a list of names");
    names->push_back(name.is_null() ? "" : name.get<std::string>());
  }
  return absl::OkStatus();
}

const std::set<std::string>& CallMembers(const std::string& kind) {
  static const std::map<std::string, std::set<std::string>>& members =
      *new std::map<std::string, std::set<std::string>>{
          {"layer",
           {"as_list", "compute_mask", "initial_state", "mask", "statistics", "trainable", "method", "is_causal",
            "use_causal_mask", "return_attention_scores", "attention_mask", "strings", "average_attn_weights",
            "need_weights", "training"}},
          {"loss", {"sample_weight", "through_compile", "y_pred_activation", "y_pred_mask", "method"}},
          {"metric", {"batches", "reset_after"}},
          {"regularizer", {}},
          {"constraint", {}},
          {"initializer", {"shape", "expect", "param"}},
          {"optimizer", {"steps", "groups", "lr", "set_learning_rate", "exclude_from_weight_decay", "finalize"}},
          {"schedule", {"steps", "base_lr", "optimizer", "values", "initial_learning_rate"}},
          {"model", {"summary", "count_params", "predict_batch_size", "strings", "method", "summary_options"}},
          {"training",
           {"steps", "epochs", "batch_size", "class_weight", "evaluate", "frozen", "groups",
            "exclude_from_weight_decay", "reset_states"}},
          {"rejects", {"argument", "error", "of", "where", "shape", "symbolic", "as_list", "is_causal"}},
          {"text", {"text"}},
          {"parameters", {"expect", "frozen"}},
          {"config", {"of", "config", "compute_output_shape"}},
          {"clip", {}},
          {"calculate_gain", {}}};
  static const std::set<std::string>& none = *new std::set<std::string>();
  const auto it = members.find(kind);
  return it == members.end() ? none : it->second;
}

Json Nested(const Tensor& t, size_t axis, int64_t* next) {
  if (axis == t.shape().size()) {
    const double v = t.At((*next)++);
    if (std::isnan(v)) return "nan";
    if (std::isinf(v)) return v > 0 ? "inf" : "-inf";
    return v;
  }
  Json list = Json::array();
  for (int64_t i = 0; i < t.shape()[axis]; ++i) list.push_back(Nested(t, axis + 1, next));
  return list;
}

Json Resolve(const Json& json, const NamedTensors& tensors) {
  if (json.is_object() && json.size() == 1 && json.contains("tensor") && json["tensor"].is_string()) {
    const auto it = tensors.find("config." + json["tensor"].get<std::string>());
    if (it != tensors.end()) return ToJson(it->second);
  }
  Json out = json;
  if (json.is_structured()) {
    for (auto it = out.begin(); it != out.end(); ++it) *it = Resolve(*it, tensors);
  }
  return out;
}

absl::Status ReadMembers(const Json& json, Case* c) {
  static const std::set<std::string>& known = *new std::set<std::string>{
      "row",    "case",  "dialect", "binding", "kind",  "mode",      "component",   "call", "inputs",
      "params", "state", "outputs", "grads",   "after", "tolerance", "computed_in", "note"};
  STRATA_RETURN_IF_ERROR(OnlyMembers("case", json, known));
  for (const char* member : {"row", "case", "dialect", "kind", "computed_in"}) {
    if (!json.contains(member) || !json[member].is_string())
      return InvalidArgument("case.", member, ": must be a string");
  }
  if (!json.contains("component")) return InvalidArgument("case.component: must be set");
  c->row = json["row"];
  c->name = json["case"];
  c->kind = json["kind"];
  const std::string dialect = json["dialect"];
  if (dialect != "pytorch" && dialect != "keras")
    return InvalidArgument("case.dialect: must be pytorch or keras, got ", dialect);
  c->dialect = dialect == "pytorch" ? v1::PYTORCH : v1::KERAS;
  c->binding = json.value("binding", Json(true)) == true;
  const Json mode = json.value("mode", Json());
  if (!mode.is_null() && mode != "train" && mode != "eval") return InvalidArgument("case.mode: must be train or eval");
  c->train = mode == "train";
  c->component = json["component"];
  c->call = json.value("call", Json::object());
  if (c->call.is_null()) c->call = Json::object();
  STRATA_RETURN_IF_ERROR(OnlyMembers("case.call", c->call, CallMembers(c->kind)));
  for (const auto& [member, list] :
       {std::pair{"inputs", &c->inputs}, std::pair{"params", &c->params}, std::pair{"state", &c->state},
        std::pair{"outputs", &c->outputs}, std::pair{"grads", &c->grads}, std::pair{"after", &c->after}}) {
    STRATA_RETURN_IF_ERROR(Names(absl::StrCat("case.", member), json.value(member, Json()), list));
  }
  const Json tolerance = json.value("tolerance", Json::object());
  STRATA_RETURN_IF_ERROR(OnlyMembers("case.tolerance", tolerance, {"rtol", "atol"}));
  c->rtol = tolerance.value("rtol", 0.0);
  c->atol = tolerance.value("atol", 0.0);
  const std::string computed_in = json["computed_in"];
  if (computed_in != "float64" && computed_in != "float32") {
    return InvalidArgument("case.computed_in: must be float64 or float32, got ", computed_in);
  }
  c->computed_in_float32 = computed_in == "float32";
  return absl::OkStatus();
}

}  // namespace

Json ToJson(const Tensor& tensor) {
  int64_t next = 0;
  return Nested(tensor, 0, &next);
}

std::string Case::Text(const Json& part) const { return Resolve(part, tensors).dump(); }
std::string Case::ComponentText() const { return Text(component); }

absl::StatusOr<Case> ReadCase(const std::string& path) {
  Case c;
  c.path = path;
  STRATA_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  const Json json = Json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (json.is_discarded()) return InvalidArgument("case: must be JSON");
  STRATA_RETURN_IF_ERROR(ReadMembers(json, &c));
  const std::string tensors = fs::path(path).replace_extension(".safetensors").string();
  if (fs::exists(tensors)) {
    STRATA_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(tensors));
    STRATA_ASSIGN_OR_RETURN(service::TensorFile file, service::ParseTensors(bytes));
    c.tensors = std::move(file.tensors);
  }
  return c;
}

absl::StatusOr<std::vector<std::string>> FindCases(const std::string& directory) {
  std::error_code error;
  std::vector<std::string> paths;
  for (fs::recursive_directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    if (it->path().extension() == ".json") paths.push_back(it->path().string());
  }
  if (error) return absl::NotFoundError(absl::StrCat(directory, ": ", error.message()));
  std::sort(paths.begin(), paths.end());
  return paths;
}

}  // namespace strata::parity
