// Kind `rejects`: what a framework refuses must be INVALID_ARGUMENT that names the argument.
#include <algorithm>
#include <cctype>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "engine/base/philox.h"
#include "engine/base/status.h"
#include "engine/import/component.h"
#include "engine/import/framework.h"
#include "engine/nn/build.h"
#include "engine/nn/initializers/initializers.h"
#include "engine/nn/losses/loss.h"
#include "engine/nn/schema.h"
#include "engine/session.h"
#include "tests/parity/custom.h"
#include "tests/parity/facts.h"
#include "tests/parity/forward.h"

namespace strata::parity {
namespace {

// Whether `word` stands in `text`, not inside a longer word.
bool HasWord(const std::string& text, const std::string& word) {
  const auto part = [&](size_t i) {
    return i < text.size() && (std::isalnum(static_cast<unsigned char>(text[i])) || text[i] == '_');
  };
  for (size_t at = text.find(word); at != std::string::npos; at = text.find(word, at + 1)) {
    if ((at == 0 || !part(at - 1)) && !part(at + word.size())) return true;
  }
  return false;
}

// Strata's words for a call's argument.
std::vector<std::string> Synonyms(const std::string& argument) {
  if (argument == "x" || argument == "input") return {"input", "inputs"};
  if (argument == "inputs") return {"input"};
  if (argument == "y_pred") return {"prediction", "input"};
  if (argument == "y_true") return {"target"};
  if (argument == "betas") return {"beta_1", "beta_2"};
  return {};
}

// A message names an argument in the framework's spelling, or by the field that the argument sets.
bool Names(const Case& c, const std::string& message, const google::protobuf::Descriptor* component) {
  for (const absl::string_view part : absl::StrSplit(c.call["argument"].get<std::string>(), '|')) {
    const std::string argument(part.data(), part.size());
    if (HasWord(message, argument)) return true;
    for (const std::string& word : Synonyms(argument)) {
      if (HasWord(message, word)) return true;
    }
    if (component == nullptr) continue;
    const auto* field = nn::FindArgument(component, c.dialect, argument);
    if (field != nullptr && HasWord(message, field->name())) return true;
  }
  return false;
}

// The outcome of whatever the case asks for: the first error, or OK.
class Attempt {
 public:
  explicit Attempt(const Case& c) : case_(c), built_(c) {}

  absl::Status Run() {
    const std::string of = case_.call.value("of", std::string());
    if (of == "layer") return Layer();
    if (of == "loss") return Loss();
    if (of == "optimizer") return ImportOptimizer(case_.dialect, case_.ComponentText()).status();
    if (of == "metric")
      return ImportMetric(case_.dialect, case_.ComponentText(), CustomObjects(case_.dialect)).status();
    if (of == "initializer") return Initializer();
    if (of == "schedule") return ImportSchedule(case_.dialect, case_.ComponentText()).status();
    if (of == "constraint" || of == "regularizer") return LayerArgument(of == "constraint");
    if (!of.empty()) return absl::UnimplementedError(absl::StrCat("call.of: nothing is tried for ", of));
    // PyTorch's cases do not say what the class is: the first family that knows it.
    absl::Status status = Layer();
    if (!framework::IsNoComponent(status)) return status;
    if (status = Loss(); !framework::IsNoComponent(status)) return status;
    if (status = ImportOptimizer(case_.dialect, case_.ComponentText()).status(); !framework::IsNoComponent(status)) {
      return status;
    }
    if (status = ImportSchedule(case_.dialect, case_.ComponentText()).status(); !framework::IsNoComponent(status)) {
      return status;
    }
    return Initializer();
  }

  const google::protobuf::Descriptor* component() const { return component_; }

 private:
  absl::Status Layer() {
    STRATA_ASSIGN_OR_RETURN(v1::Layer layer,
                            ImportLayer(case_.dialect, case_.ComponentText(), CustomObjects(case_.dialect)));
    component_ = nn::KindOf(layer)->message_type();
    if (case_.inputs.empty()) return absl::OkStatus();
    // Several inputs are one list; a single one is a list only if the case says so.
    const bool as_list = case_.inputs.size() > 1 || case_.call.value("as_list", false);
    if (case_.dialect == v1::KERAS) STRATA_RETURN_IF_ERROR(CheckCallForm(layer, as_list));
    STRATA_RETURN_IF_ERROR(SetCallAttributes(case_, &layer));
    nn::Scope scope = built_.MakeScope(case_.train);
    const nn::Args args = ArgsOf(case_, layer, &built_);
    nn::Scope inner = scope.Enter("layer", "layer", true, std::nullopt);
    nn::BuildLayer(inner, layer, args);
    if (!built_.graph()->ok()) return built_.graph()->status();
    return Predict(layer, args);
  }

  // Values, not shapes: ids out of range are found when a request comes.
  absl::Status Predict(const v1::Layer& layer, const nn::Args& args) {
    v1::Model model;
    v1::Call* call = model.add_calls();
    call->set_layer("0");
    model.set_dialect(case_.dialect);
    NamedViews views;
    for (const std::string& name : case_.inputs) {
      const Tensor* t = case_.Find("input." + name);
      if (t == nullptr || t->shape().empty()) return absl::OkStatus();
      v1::Input* input = model.add_inputs();
      input->set_name(name);
      v1::Edge* edge = args.named.count(name) > 0 ? &(*call->mutable_named_args())[name] : call->add_args();
      edge->set_call(name);
      for (size_t d = 1; d < t->shape().size(); ++d) input->add_shape(t->shape()[d]);
      if (t->dtype() == DType::kI32) input->set_dtype(v1::INT32);
      if (t->dtype() == DType::kI64) input->set_dtype(v1::INT64);
      views[name] = t->view();
    }
    *model.add_layers() = layer;
    NamedTensors weights;
    for (const nn::ParamSpec& p : built_.collected().params) {
      weights[absl::StrCat("0", p.name.substr(5))] = Tensor(p.dtype, p.shape);
    }
    model.mutable_layers(0)->set_name("0");
    STRATA_ASSIGN_OR_RETURN(const auto version, Version::Create(model, weights, {}));
    return version->Predict(views).status();
  }

  absl::Status Loss() {
    STRATA_ASSIGN_OR_RETURN(const v1::Loss loss,
                            ImportLoss(case_.dialect, case_.ComponentText(), CustomObjects(case_.dialect)));
    component_ = nn::KindOf(loss)->message_type();
    if (case_.inputs.empty()) return absl::OkStatus();
    nn::Scope scope = built_.MakeScope(false);
    nn::LossArgs args;
    const std::vector<std::string> named = nn::ArgumentsOf(loss);
    for (const std::string& name : case_.inputs) {
      const Value v = built_.Input(name);
      if (std::find(named.begin(), named.end(), name) != named.end()) {
        args.named[name] = v;
      } else if (name == "target" || name == "y_true") {
        args.target = v;
      } else if (!args.prediction.value) {
        args.prediction = v;
      } else {
        args.more.push_back(v);
      }
    }
    nn::BuildLoss(scope, loss, args);
    STRATA_RETURN_IF_ERROR(built_.graph()->status());
    return TrainOnce(loss);
  }

  // Labels and probabilities out of range are found when a batch comes.
  absl::Status TrainOnce(const v1::Loss& loss) {
    v1::Model model;
    model.set_dialect(case_.dialect);
    v1::TrainingConfig config;
    *config.add_objectives()->mutable_loss() = loss;
    config.mutable_optimizer()->mutable_sgd();
    NamedViews batch;
    for (const std::string& name : case_.inputs) {
      const Tensor* t = case_.Find("input." + name);
      if (t == nullptr) return absl::OkStatus();
      if (name == "target" || name == "y_true") {
        batch["target"] = t->view();
        continue;
      }
      const std::vector<std::string> named = nn::ArgumentsOf(loss);
      if (std::find(named.begin(), named.end(), name) != named.end()) {
        batch[name] = t->view();
        continue;
      }
      if (t->shape().empty()) return absl::OkStatus();
      v1::Input* input = model.add_inputs();
      input->set_name("input");
      // Log-probabilities over time have no batch in front.
      if (!named.empty()) input->set_batched(false);
      for (size_t d = named.empty() ? 1 : 0; d < t->shape().size(); ++d) input->add_shape(t->shape()[d]);
      batch["input"] = t->view();
    }
    model.add_layers()->mutable_identity();
    STRATA_ASSIGN_OR_RETURN(const auto session, TrainSession::Create(model, config, {}));
    return session->Step(batch).status();
  }

  // As the argument of a layer.
  absl::Status LayerArgument(bool constraint) {
    const Json json = Json::parse(case_.ComponentText());
    const std::string path = case_.component.is_string() ? case_.call["argument"].get<std::string>() : "";
    bool set = false;
    if (constraint) {
      v1::Constraint projection;
      STRATA_RETURN_IF_ERROR(framework::SetConstraint(path, json, &projection, &set));
      return nn::Fill(case_.dialect, path, &projection);
    }
    v1::Regularizer penalty;
    return framework::SetRegularizer(path, json, &penalty, &set);
  }

  absl::Status Initializer() {
    STRATA_ASSIGN_OR_RETURN(const v1::Initializer initializer, ImportInitializer(case_.dialect, case_.ComponentText()));
    if (!case_.call.contains("shape")) return absl::OkStatus();
    return nn::Initialize(case_.dialect, initializer, case_.call["shape"].get<Shape>(), 1, StreamHash("kernel"))
        .status();
  }

  const Case& case_;
  CaseGraph built_;
  const google::protobuf::Descriptor* component_ = nullptr;
};

}  // namespace

Result RunRejects(const Case& c) {
  Result result;
  Attempt attempt(c);
  const absl::Status status = attempt.Run();
  if (status.code() == absl::StatusCode::kUnimplemented) {
    result.Unsupported(std::string(status.message()));
    return result;
  }
  result.Check(!status.ok(), "was accepted");
  if (!result.passed()) return result;
  const std::string message(status.message());
  result.Check(status.code() == absl::StatusCode::kInvalidArgument,
               absl::StrCat("must be INVALID_ARGUMENT, is ", absl::StatusCodeToString(status.code()), ": ", message));
  result.Check(Names(c, message, attempt.component()),
               absl::StrCat("must name ", c.call["argument"].get<std::string>(), ", says: ", message));
  return result;
}

}  // namespace strata::parity
