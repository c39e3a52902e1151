#include "engine/convert/convert.h"

#include <algorithm>
#include <map>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/base/status.h"
#include "engine/convert/walk.h"
#include "engine/inspect.h"
#include "engine/session.h"
#include "engine/train/forward.h"

namespace strata {
namespace convert {
namespace {

struct Trial {
  Ledger ledger;
  Walked walked;
};

// With sizes of `free` where the model leaves them open.
Trial Try(const v1::Model& model, v1::Dialect to, int64_t free) {
  Trial trial;
  trial.ledger.from = model.dialect();
  trial.ledger.to = to;
  std::vector<Port> inputs;
  for (const v1::Input& input : model.inputs()) {
    Port port;
    port.dtype = ElementType(input.dtype());
    if (!input.has_batched() || input.batched()) port.shape.push_back(input.has_batch_size() ? input.batch_size() : 2);
    for (int64_t size : input.shape()) port.shape.push_back(size == -1 ? free : size);
    inputs.push_back(std::move(port));
  }
  const Place place;
  trial.walked = WalkModel(&trial.ledger, place, model, inputs);
  return trial;
}

bool AnyFree(const v1::Model& model) {
  for (const v1::Input& input : model.inputs()) {
    if (std::count(input.shape().begin(), input.shape().end(), -1) > 0) return true;
  }
  return false;
}

// Names the first layer in which two trials differ.
absl::Status CheckSame(const v1::Model& a, const v1::Model& b) {
  for (int i = 0; i < std::min(a.layers_size(), b.layers_size()); ++i) {
    if (a.layers(i).SerializeAsString() == b.layers(i).SerializeAsString()) continue;
    return InvalidArgument("inputs: sizes must be fixed where the counterpart depends on them, as that of layer ",
                           a.layers(i).name(), " does, got -1");
  }
  if (a.layers_size() == b.layers_size()) return absl::OkStatus();
  return InvalidArgument("inputs: sizes must be fixed, the counterpart depends on them, got -1");
}

// A chain says so by having no calls: one layer after the other, each called once under its own name.
void DropDefaultCalls(v1::Model* model) {
  for (v1::Layer& layer : *model->mutable_layers()) {
    if (layer.has_model()) DropDefaultCalls(layer.mutable_model());
  }
  const int n = model->calls_size();
  if (n == 0 || n != model->layers_size() || model->outputs_size() != 1) return;
  for (int i = 0; i < n; ++i) {
    const v1::Call& call = model->calls(i);
    if (call.layer() != model->layers(i).name() || call.name() != call.layer() || call.has_training() ||
        !call.named_args().empty()) {
      return;
    }
    if (i > 0 &&
        (call.args_size() != 1 || call.args(0).call() != model->layers(i - 1).name() || call.args(0).output() != 0)) {
      return;
    }
    if (i == 0) {
      if (call.args_size() != model->inputs_size()) return;
      for (int k = 0; k < call.args_size(); ++k) {
        if (call.args(k).call() != model->inputs(k).name()) return;
      }
    }
  }
  const v1::Output& output = model->outputs(0);
  const std::string last = model->calls(n - 1).name();
  if (output.edge().call() != last || output.edge().output() != 0) return;
  model->clear_calls();
  if (output.name().empty() || output.name() == last) model->clear_outputs();
}

std::vector<int64_t> Wide(const std::vector<int>& axes) { return {axes.begin(), axes.end()}; }

// The moves make every parameter and buffer of the new model, and nothing else: anything else is a wrong rule.
absl::Status CheckMoves(const Conversion& c) {
  STRATA_ASSIGN_OR_RETURN(const v1::Model complete, Complete(c.model));
  STRATA_ASSIGN_OR_RETURN(const Ports ports, PortsOf(complete));
  std::vector<std::string> want, have;
  for (const nn::ParamSpec& p : ports.params) want.push_back(p.name);
  for (const WeightMove& move : c.moves) have.push_back(move.target);
  std::sort(want.begin(), want.end());
  std::sort(have.begin(), have.end());
  if (want == have) return absl::OkStatus();
  return absl::InternalError(absl::StrCat("convert: the counterpart has parameters ", absl::StrJoin(want, ", "),
                                          ", the rules give ", absl::StrJoin(have, ", ")));
}

}  // namespace
}  // namespace convert

absl::StatusOr<Conversion> ConvertModel(const v1::Model& given, v1::Dialect to) {
  if (to != v1::PYTORCH && to != v1::KERAS) {
    return InvalidArgument("dialect: must be PYTORCH or KERAS, got ", static_cast<int>(to));
  }
  STRATA_ASSIGN_OR_RETURN(const v1::Model model, Complete(given));
  if (model.dialect() == to) {
    return InvalidArgument("dialect: must be the other one, got ", v1::Dialect_Name(to), " for a model in it");
  }
  const absl::StatusOr<Ports> ports = PortsOf(model);
  const int64_t free = ports.ok() ? ports->free : 32;
  convert::Trial trial = convert::Try(model, to, free);
  if (!trial.ledger.failures.empty()) {
    return InvalidArgument("model: has components without counterpart in ", convert::DialectWord(to), ": ",
                           absl::StrJoin(trial.ledger.failures, "; "));
  }
  if (convert::AnyFree(model)) {
    const convert::Trial other = convert::Try(model, to, 2 * free + 1);
    if (other.ledger.failures.empty()) {
      STRATA_RETURN_IF_ERROR(convert::CheckSame(trial.walked.model, other.walked.model));
    }
  }
  Conversion c;
  c.model = std::move(trial.walked.model);
  c.warnings = std::move(trial.ledger.warnings);
  c.moves = std::move(trial.ledger.moves);
  for (int i = 0; i < model.inputs_size(); ++i) {
    c.inputs.push_back({model.inputs(i).name(), convert::Wide(trial.walked.inputs[i].axes)});
  }
  convert::DropDefaultCalls(&c.model);
  STRATA_ASSIGN_OR_RETURN(const v1::Model complete, Complete(c.model));
  for (int i = 0; i < complete.outputs_size(); ++i) {
    c.outputs.push_back({complete.outputs(i).name(), convert::Wide(trial.walked.layouts[i].axes)});
  }
  STRATA_RETURN_IF_ERROR(convert::CheckMoves(c));
  return c;
}

}  // namespace strata
