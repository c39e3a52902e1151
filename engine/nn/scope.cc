#include "engine/nn/scope.h"

#include "engine/base/philox.h"
#include "engine/base/status.h"
#include "engine/ops/ops.h"

namespace strata::nn {

Value Scope::Fail(const std::string& what) {
  graph_->Fail(InvalidArgument(place_, place_.empty() ? "" : ".", what));
  return {graph_, -1};
}

void Scope::NameError() {
  if (ok() || place_.empty() || graph_->status().code() == absl::StatusCode::kInternal) return;
  const std::string_view message(graph_->status().message().data(), graph_->status().message().size());
  if (message.substr(0, place_.size()) != place_) graph_->PrefixError(absl::StrCat(place_, ": "));
}

Scope Scope::At(std::string_view part) const {
  Scope s = *this;
  s.place_ = absl::StrCat(place_, place_.empty() ? "" : ".", std::string(part));
  return s;
}

std::string Scope::FullName(std::string_view name) const {
  const char* separator = pytorch() ? "." : "/";
  return absl::StrCat(layer_path_, layer_path_.empty() ? "" : separator, prefix_, std::string(name));
}

Value Scope::Param(std::string_view name, Shape shape, ParamOptions options) {
  if (captures_ != nullptr) return Capture(Outside().Param(name, std::move(shape), std::move(options)));
  const std::string full = FullName(name);
  if (const ParamSpec* p = collected_->Find(full)) return p->value;  // another call of the same layer
  if (!ok()) return {graph_, -1};
  int64_t count = 0;
  if (!CheckedNumElements(shape, &count))
    return Fail(absl::StrCat(std::string(name), ": must have fewer elements, got ", ShapeString(shape)));
  const bool trainable = options.trainable && trainable_;
  const Value v = graph_->AddVariable({full, DType::kF32, shape, VariableInfo::Kind::kParameter, trainable});
  std::string stream = full;
  const bool matrix = shape.size() >= 2 && matrices_.has_value();
  if (const size_t at = mine_.empty() || matrix ? std::string::npos : stream.rfind(mine_); at != std::string::npos) {
    stream.replace(at, mine_.size(), other_);
  }
  collected_->Add({full, std::move(stream), DType::kF32, shape, matrix ? *matrices_ : options.initializer,
                   std::move(options.adjust), trainable, false, v,
                   options.constraint ? *options.constraint : v1::Constraint()});
  if (options.regularizer != nullptr) AddPenalty(Penalty(*options.regularizer, v));
  return v;
}

Value Scope::State(std::string_view name, Shape shape, double start, DType dtype) {
  if (captures_ != nullptr) return Fail(absl::StrCat("cell: must not keep state of its own, got ", std::string(name)));
  const std::string full = FullName(name);
  if (const ParamSpec* p = collected_->Find(full)) {
    // What an earlier call of the same layer leaves.
    const int32_t index = graph_->producer(p->value.id).as<VariableAttrs>().index;
    for (const StateUpdate& u : collected_->updates) {
      if (u.variable == index) return Detach(u.next);
    }
    return p->value;
  }
  if (!ok()) return {graph_, -1};
  v1::Initializer initializer;
  initializer.mutable_constant()->set_value(start);
  const Value v = graph_->AddVariable({full, dtype, shape, VariableInfo::Kind::kBuffer, false});
  collected_->Add({full, full, dtype, shape, initializer, nullptr, false, true, v, {}});
  return v;
}

Value Scope::State(std::string_view name, Shape shape, const v1::Initializer& initializer) {
  const bool known = collected_->Find(FullName(name)) != nullptr;
  const Value v = State(name, std::move(shape), 0);
  if (v && !known) collected_->params.back().initializer = initializer;
  return v;
}

void Scope::SetState(Value state, Value next) {
  if (!state || !next) return;
  const Node& source = graph_->producer(state.id);
  if (source.op == Op::kDetach) {  // State() gave what an earlier call leaves, and this call goes on from there
    for (StateUpdate& u : collected_->updates) {
      if (u.next.id == source.inputs[0]) u.next = next;
    }
    return;
  }
  const int32_t index = source.as<VariableAttrs>().index;
  for (StateUpdate& u : collected_->updates) {
    if (u.variable == index) {  // a later call of the same layer wins
      u.next = next;
      return;
    }
  }
  collected_->updates.push_back({index, next});
}

Value Scope::Random(std::string_view purpose, const Shape& shape) {
  if (captures_ != nullptr) return Capture(Outside().Random(purpose, shape));
  // Without a random state (evaluation, published versions) the numbers are the same in every run.
  const Value state = random_state_ ? random_state_ : Constant(graph_, Tensor(DType::kI64, {2}));
  return RandomUniform(state, StreamHash(absl::StrCat(call_path_, ":", std::string(purpose))), shape);
}

void Scope::Require(Value holds, const std::string& rule) {
  if (!holds || !ok()) return;
  const Value violations = SumAll(Cast(Not(holds), DType::kF32));
  collected_->requirements.push_back({violations, absl::StrCat(place_, place_.empty() ? "" : ".", rule)});
}

void Scope::PenalizeActivity(bool has, const v1::Regularizer& regularizer, Value output) {
  if (has && captures_ != nullptr) Fail("activity_regularizer: must be absent in a cell, got one");
  if (!has || !output) return;
  AddPenalty(Penalty(regularizer, output) / static_cast<double>(std::max<int64_t>(output.dim(0), 1)));
}

Scope Scope::Enter(std::string_view layer, std::string_view call, bool trainable, std::optional<bool> training) const {
  Scope s = *this;
  if (!layer.empty()) {
    s.layer_path_ = FullName(layer);
    s.prefix_.clear();
  }
  s.call_path_ = absl::StrCat(call_path_, "/", std::string(call));
  s.trainable_ = trainable_ && trainable;
  if (training.has_value()) s.training_ = *training && training_;
  return s;
}

Scope Scope::InBody(Graph* body, BodyCaptures* captures) const {
  Scope s = *this;
  *captures = {graph_, random_state_, captures_, {}, {}};
  s.graph_ = body;
  s.random_state_ = {};
  s.captures_ = captures;
  return s;
}

Scope Scope::WithPrefix(std::string_view prefix) const {
  Scope s = *this;
  s.prefix_ = absl::StrCat(prefix_, std::string(prefix));
  s.call_path_ = absl::StrCat(call_path_, "/", std::string(prefix));
  return s;
}

void Scope::InitializeLike(std::string_view mine, std::string_view other) {
  mine_ = mine;
  other_ = other;
}

Scope Scope::Outside() const {
  Scope s = *this;
  s.graph_ = captures_->outer_graph;
  s.random_state_ = captures_->outer_random_state;
  s.captures_ = captures_->outer_captures;
  return s;
}

Value Scope::Capture(Value outer) {
  if (!captures_->outer_graph->ok()) {
    graph_->Fail(captures_->outer_graph->status());
    return {graph_, -1};
  }
  for (size_t i = 0; i < captures_->outer.size(); ++i) {
    if (captures_->outer[i] == outer) return captures_->inner[i];
  }
  captures_->outer.push_back(outer);
  captures_->inner.push_back(graph_->AddInput("captured", outer.dtype(), outer.shape()));
  return captures_->inner.back();
}

}  // namespace strata::nn
