#include "engine/nn/scope.h"

#include "engine/base/philox.h"
#include "engine/base/status.h"
#include "engine/ops/ops.h"

namespace strata::nn {

Value Scope::Fail(const std::string& what) {
  graph_->Fail(InvalidArgument(layer_path_, layer_path_.empty() ? "" : ".", what));
  return {graph_, -1};
}

std::string Scope::FullName(std::string_view name) const {
  const char* separator = pytorch() ? "." : "/";
  return absl::StrCat(layer_path_, layer_path_.empty() ? "" : separator, std::string(name));
}

Value Scope::Param(std::string_view name, Shape shape, ParamOptions options) {
  const std::string full = FullName(name);
  for (const ParamSpec& p : collected_->params) {
    if (p.name == full) return p.value;  // another call of the same layer
  }
  if (!ok()) return {graph_, -1};
  int64_t count = 0;
  if (!CheckedNumElements(shape, &count))
    return Fail(absl::StrCat(std::string(name), ": shape ", ShapeString(shape), " is too large"));
  const bool trainable = options.trainable && trainable_;
  const Value v = graph_->AddVariable({full, DType::kF32, shape, VariableInfo::Kind::kParameter, trainable});
  collected_->params.push_back({full, DType::kF32, shape, options.initializer, std::move(options.adjust), trainable,
                                false, v, options.constraint ? *options.constraint : v1::Constraint()});
  if (options.regularizer != nullptr) AddPenalty(Penalty(*options.regularizer, v));
  return v;
}

Value Scope::State(std::string_view name, Shape shape, double start, DType dtype) {
  const std::string full = FullName(name);
  for (const ParamSpec& p : collected_->params) {
    if (p.name == full) return p.value;
  }
  if (!ok()) return {graph_, -1};
  v1::Initializer initializer;
  initializer.mutable_constant()->set_value(start);
  const Value v = graph_->AddVariable({full, dtype, shape, VariableInfo::Kind::kBuffer, false});
  collected_->params.push_back({full, dtype, shape, initializer, nullptr, false, true, v, {}});
  return v;
}

Value Scope::State(std::string_view name, Shape shape, const v1::Initializer& initializer) {
  const Value v = State(name, std::move(shape), 0);
  if (v) collected_->params.back().initializer = initializer;
  return v;
}

void Scope::SetState(Value state, Value next) {
  if (!state || !next) return;
  const int32_t index = graph_->producer(state.id).as<VariableAttrs>().index;
  for (StateUpdate& u : collected_->updates) {
    if (u.variable == index) {  // a later call of the same layer wins
      u.next = next;
      return;
    }
  }
  collected_->updates.push_back({index, next});
}

Value Scope::Random(std::string_view purpose, const Shape& shape) {
  if (!random_state_) return Fail("needs random numbers outside training");
  return RandomUniform(random_state_, StreamHash(absl::StrCat(call_path_, ":", std::string(purpose))), shape);
}

void Scope::Require(Value holds, const std::string& rule) {
  if (!holds || !ok()) return;
  const Value violations = SumAll(Cast(Not(holds), DType::kF32));
  collected_->requirements.push_back({violations, absl::StrCat(layer_path_, layer_path_.empty() ? "" : ".", rule)});
}

void Scope::PenalizeActivity(bool has, const v1::Regularizer& regularizer, Value output) {
  if (!has || !output) return;
  AddPenalty(Penalty(regularizer, output) / static_cast<double>(std::max<int64_t>(output.dim(0), 1)));
}

Scope Scope::Enter(std::string_view layer, std::string_view call, bool trainable, std::optional<bool> training) const {
  Scope s = *this;
  if (!layer.empty()) s.layer_path_ = FullName(layer);
  s.call_path_ = absl::StrCat(call_path_, "/", std::string(call));
  s.trainable_ = trainable_ && trainable;
  if (training.has_value()) s.training_ = *training && training_;
  return s;
}

Scope Scope::InBody(Graph* body) const {
  Scope s = *this;
  s.graph_ = body;
  s.random_state_ = {};
  return s;
}

Value Penalty(const v1::Regularizer& r, Value w) {
  Value sum;
  if (r.l1() != 0) sum = SumAll(Abs(w)) * r.l1();
  if (r.l2() != 0) {
    const Value l2 = SumAll(Square(w)) * r.l2();
    sum = sum ? sum + l2 : l2;
  }
  return sum ? sum : Scalar(w.graph, 0);
}

namespace {

template <typename Axes>
Value Norm(Value w, const Axes& axis) {
  return Sqrt(ReduceSum(Square(w), std::vector<int64_t>(axis.begin(), axis.end()), true));
}

}  // namespace

Value Project(const v1::Constraint& c, Value w) {
  switch (c.kind_case()) {
    case v1::Constraint::kMaxNorm: {
      const Value n = Norm(w, c.max_norm().axis());
      return w * (Min(n, c.max_norm().max_value()) / (n + 1e-7));
    }
    case v1::Constraint::kNonNeg:
      return Max(w, 0);
    case v1::Constraint::kUnitNorm:
      return w / (Norm(w, c.unit_norm().axis()) + 1e-7);
    case v1::Constraint::KIND_NOT_SET:
      break;
  }
  return w;
}

}  // namespace strata::nn
