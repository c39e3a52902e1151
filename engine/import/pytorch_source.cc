// A PyTorch model as Python text: a class whose parameters have the names of the state dict, and whose forward makes
// the model's calls.
#include <algorithm>
#include <cctype>
#include <cmath>
#include <iterator>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/base/status.h"
#include "engine/import/framework.h"
#include "engine/import/writer.h"
#include "engine/nn/schema.h"
#include "engine/summary.h"
#include "strata/v1/attention_layers.pb.h"
#include "strata/v1/custom.pb.h"

namespace strata {
namespace {

using framework::WriteLayer;

std::string PythonString(const std::string& text) { return Json(text).dump(); }

// A JSON value as Python: lists become tuples, "inf" a float, nested components constructors.
std::string PythonValue(const Json& value);

std::string Constructor(const Json& component) {
  std::vector<std::string> arguments;
  for (const auto& [key, value] : component["config"].items()) {
    arguments.push_back(absl::StrCat(key, "=", PythonValue(value)));
  }
  return absl::StrCat("nn.", component["class_name"].get<std::string>(), "(", absl::StrJoin(arguments, ", "), ")");
}

std::string PythonValue(const Json& value) {
  if (value.is_null()) return "None";
  if (value.is_boolean()) return value.get<bool>() ? "True" : "False";
  if (value == "inf" || value == "-inf" || value == "nan") return absl::StrCat("float(", PythonString(value), ")");
  if (value.is_object()) return Constructor(value);
  if (!value.is_array()) return value.dump();
  std::vector<std::string> parts;
  for (const Json& v : value) parts.push_back(PythonValue(v));
  return absl::StrCat("(", absl::StrJoin(parts, ", "), parts.size() == 1 ? ",)" : ")");
}

constexpr const char* kKeywords[] = {
    "False", "None",   "True", "and",      "as",    "assert",  "async",  "await", "break",  "class", "def",     "del",
    "elif",  "else",   "from", "except",   "for",   "finally", "global", "if",    "import", "in",    "is",      "not",
    "or",    "lambda", "pass", "nonlocal", "raise", "return",  "try",    "while", "with",   "yield", "continue"};

// A name that Python takes.
std::string Identifier(const std::string& name) {
  std::string out;
  for (const char c : name) out += std::isalnum(static_cast<unsigned char>(c)) ? c : '_';
  const auto taken = [&](const char* keyword) { return out == keyword; };
  if (std::any_of(std::begin(kKeywords), std::end(kKeywords), taken)) out += "_";
  if (out.empty() || std::isdigit(static_cast<unsigned char>(out[0]))) out = "_" + out;
  return out;
}

// Layers that torch.nn has no class for, as an expression of their arguments.
absl::StatusOr<std::string> Expression(const v1::Layer& layer, const std::vector<std::string>& x) {
  const auto joined = [&](const char* op) { return absl::StrJoin(x, absl::StrCat(" ", op, " ")); };
  const auto folded = [&](const char* f) {
    std::string out = x[0];
    for (size_t i = 1; i < x.size(); ++i) out = absl::StrCat("torch.", f, "(", out, ", ", x[i], ")");
    return out;
  };
  switch (layer.kind_case()) {
    case v1::Layer::kAdd:
      return joined("+");
    case v1::Layer::kSubtract:
      return joined("-");
    case v1::Layer::kMultiply:
      return joined("*");
    case v1::Layer::kAverage:
      return absl::StrCat("(", joined("+"), ") / ", x.size());
    case v1::Layer::kMaximum:
      return folded("maximum");
    case v1::Layer::kMinimum:
      return folded("minimum");
    case v1::Layer::kConcatenate:
      return absl::StrCat("torch.cat((", absl::StrJoin(x, ", "), ",), dim=", layer.concatenate().axis(), ")");
    case v1::Layer::kReshape:
      return absl::StrCat(x[0], ".reshape(", x[0], ".shape[0], ", absl::StrJoin(layer.reshape().target_shape(), ", "),
                          ")");
    case v1::Layer::kPermute:
      return absl::StrCat(x[0], ".permute(0, ", absl::StrJoin(layer.permute().dims(), ", "), ")");
    case v1::Layer::kRepeatVector:
      return absl::StrCat(x[0], ".unsqueeze(1).repeat(1, ", layer.repeat_vector().n(), ", 1)");
    case v1::Layer::kSelect:
      return absl::StrCat(x[0], ".select(", layer.select().axis(), ", ", layer.select().index(), ")");
    case v1::Layer::kMean:
      return absl::StrCat(x[0], ".mean(dim=(", absl::StrJoin(layer.mean().axis(), ", "),
                          ",), keepdim=", layer.mean().keepdims() ? "True" : "False", ")");
    case v1::Layer::kExponential:
      return absl::StrCat("torch.exp(", x[0], ")");
    case v1::Layer::kCustom:
      return absl::UnimplementedError(
          absl::StrCat(layer.name(), ": a custom component is text, which torch.nn has no class for, got ",
                       layer.custom().component()));
    default:
      return absl::UnimplementedError(absl::StrCat(layer.name(), ": torch.nn has no form of this layer"));
  }
}

bool IsExpression(const v1::Layer& layer) {
  const auto* kind = nn::KindOf(layer);
  if (kind == nullptr) return true;
  if (layer.has_select() || layer.has_mean()) return true;
  return nn::SchemaOfComponent(kind).pytorch().empty();
}

// Fields of an attention that are arguments of its calls in PyTorch, at whose defaults nothing is said.
constexpr const char* kAttentionCall[] = {"need_weights", "average_attn_weights", "is_causal"};

void AddAttentionCall(const v1::MultiheadAttention& a, std::vector<std::string>* arguments) {
  if (!a.need_weights()) arguments->push_back("need_weights=False");
  if (!a.average_attn_weights()) arguments->push_back("average_attn_weights=False");
  if (a.is_causal()) arguments->push_back("is_causal=True");
}

// Writes one class for each model, inner ones first.
class Source {
 public:
  absl::StatusOr<std::string> ClassOf(const v1::Model& model, const std::string& wanted) {
    std::string name = wanted;
    for (int i = 2; !classes_.insert(name).second; ++i) name = absl::StrCat(wanted, i);
    std::vector<std::string> members;
    for (const v1::Layer& layer : model.layers()) {
      if (layer.has_model()) {
        STRATA_ASSIGN_OR_RETURN(const std::string inner, ClassOf(layer.model(), "Block"));
        members.push_back(absl::StrCat("self.add_module(", PythonString(layer.name()), ", ", inner, "())"));
      } else if (!IsExpression(layer)) {
        STRATA_ASSIGN_OR_RETURN(Json json, WriteLayer(v1::PYTORCH, layer));
        if (layer.has_multihead_attention()) {
          for (const char* argument : kAttentionCall) json["config"].erase(argument);
        }
        members.push_back(absl::StrCat("self.add_module(", PythonString(layer.name()), ", ", Constructor(json), ")"));
      }
    }
    STRATA_ASSIGN_OR_RETURN(const std::string forward, Forward(model));
    absl::StrAppend(&text_, "\n\nclass ", name, "(nn.Module):\n    def __init__(self):\n        super().__init__()\n");
    for (const std::string& member : members) absl::StrAppend(&text_, "        ", member, "\n");
    absl::StrAppend(&text_, "\n", forward);
    return name;
  }
  const std::string& text() const { return text_; }

 private:
  absl::StatusOr<std::string> Forward(const v1::Model& model) {
    std::map<std::string, std::string> values;  // of inputs and calls
    std::set<std::string> taken = {"self", "torch", "nn"};
    const auto variable = [&](const std::string& name) {
      std::string id = Identifier(name);
      while (!taken.insert(id).second) id += "_";
      return values[name] = id;
    };
    std::vector<std::string> parameters = {"self"};
    for (const v1::Input& input : model.inputs()) parameters.push_back(variable(input.name()));
    std::string out = absl::StrCat("    def forward(", absl::StrJoin(parameters, ", "), "):\n");
    std::map<std::string, const v1::Layer*> layers;
    for (const v1::Layer& layer : model.layers()) layers[layer.name()] = &layer;
    for (const v1::Call& call : model.calls()) {
      std::vector<std::string> arguments;
      for (const v1::Edge& edge : call.args()) arguments.push_back(Value(values, layers, model, edge));
      const v1::Layer& layer = *layers.at(call.layer());
      std::string expression;
      if (!layer.has_model() && IsExpression(layer)) {
        STRATA_ASSIGN_OR_RETURN(expression, Expression(layer, arguments));
      } else {
        // Recurrent layers take their states as one argument.
        if ((layer.has_lstm() || layer.has_lstm_cell()) && arguments.size() == 3) {
          arguments = {arguments[0], absl::StrCat("(", arguments[1], ", ", arguments[2], ")")};
        }
        std::map<std::string, v1::Edge> named(call.named_args().begin(), call.named_args().end());
        for (const auto& [name, edge] : named) {
          arguments.push_back(absl::StrCat(name, "=", Value(values, layers, model, edge)));
        }
        if (layer.has_multihead_attention()) AddAttentionCall(layer.multihead_attention(), &arguments);
        expression =
            absl::StrCat("self.get_submodule(", PythonString(layer.name()), ")(", absl::StrJoin(arguments, ", "), ")");
      }
      absl::StrAppend(&out, "        ", variable(call.name()), " = ", expression, "\n");
    }
    std::vector<std::string> results;
    for (const v1::Output& output : model.outputs()) results.push_back(Value(values, layers, model, output.edge()));
    absl::StrAppend(&out, "        return ", absl::StrJoin(results, ", "), "\n");
    return out;
  }

  // One of a call's results. PyTorch's recurrent layers nest them: (output, (h_n, c_n)).
  static std::string Value(const std::map<std::string, std::string>& values,
                           const std::map<std::string, const v1::Layer*>& layers, const v1::Model& model,
                           const v1::Edge& edge) {
    const std::string& name = values.at(edge.call());
    for (const v1::Call& call : model.calls()) {
      if (call.name() != edge.call()) continue;
      const v1::Layer& layer = *layers.at(call.layer());
      if (layer.has_lstm()) {
        return edge.output() == 0 ? absl::StrCat(name, "[0]") : absl::StrCat(name, "[1][", edge.output() - 1, "]");
      }
      const bool tuple = layer.has_gru() || layer.has_simple_rnn() || layer.has_lstm_cell() ||
                         layer.has_multihead_attention() || (layer.has_model() && layer.model().outputs_size() > 1) ||
                         edge.output() > 0;
      return tuple ? absl::StrCat(name, "[", edge.output(), "]") : name;
    }
    return name;
  }

  std::string text_ = "import torch\nfrom torch import nn\n";
  std::set<std::string> classes_;
};

}  // namespace

absl::StatusOr<std::string> ExportPytorchSource(const v1::Model& given) {
  STRATA_ASSIGN_OR_RETURN(const v1::Model model, WithInputSizes(given));
  if (model.dialect() != v1::PYTORCH) {
    return InvalidArgument("dialect: must be PYTORCH, got ", v1::Dialect_Name(model.dialect()));
  }
  Source source;
  STRATA_RETURN_IF_ERROR(source.ClassOf(model, "Model").status());
  return absl::StrCat(source.text(), "\n\nmodel = Model()\n");
}

}  // namespace strata
