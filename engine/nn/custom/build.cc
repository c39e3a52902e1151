// Custom components in a graph.
#include <cmath>

#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "engine/expr/lexer.h"
#include "engine/expr/parser.h"
#include "engine/expr/rows.h"
#include "engine/nn/component.h"
#include "engine/nn/custom/custom.h"

namespace strata::nn {
namespace {

using expr::Number;
using expr::Object;

constexpr int kMaxLevels = 4;  // of lists in a hyper-parameter

Object ObjectOf(const google::protobuf::Value& v, v1::Hyperparameter::Type type, int level = 0) {
  switch (v.kind_case()) {
    case google::protobuf::Value::kNumberValue: {
      const double d = v.number_value();
      const bool whole = d == std::floor(d) && std::fabs(d) <= 9007199254740992.0;
      if (whole && type != v1::Hyperparameter::FLOAT) return Number::Int(static_cast<int64_t>(d));
      return Number::Float(d);
    }
    case google::protobuf::Value::kBoolValue:
      return Number::Bool(v.bool_value());
    case google::protobuf::Value::kStringValue:
      return v.string_value();
    case google::protobuf::Value::kListValue: {
      Object::List items;
      for (const auto& item : v.list_value().values()) {
        items.push_back(level < kMaxLevels ? ObjectOf(item, v1::Hyperparameter::TYPE_UNSPECIFIED, level + 1)
                                           : Object());
      }
      return items;
    }
    default:
      return Object();
  }
}

// Puts "body:" or the like and the scope's place before an error of the language.
void FailText(Scope& s, const std::string& field, const absl::Status& status) {
  if (s.ok()) {
    s.Fail(absl::StrCat(field, ":", status.message()));
  } else {
    s.graph()->PrefixError(absl::StrCat(s.place(), s.place().empty() ? "" : ".", field, ":"));
  }
}

// One use while it is built.
class Builder {
 public:
  Builder(Scope& s, const v1::CustomComponent& d, const google::protobuf::Struct& values) : s_(s), definition_(d) {
    environment_.names = HyperparameterValues(d, values);
    environment_.pytorch = s.pytorch();
  }

  void Bind(const std::string& name, Object value, bool batched) {
    environment_.names[name] = std::move(value);
    if (batched) batched_.insert(name);
  }

  // A list of sizes from text.
  Shape Sizes(const std::string& field, const std::string& text) {
    const absl::StatusOr<Shape> shape = SizesFrom(text);
    if (!shape.ok()) FailText(s_, field, shape.status());
    return shape.ok() ? *shape : Shape{};
  }

  void AddWeights() {
    for (int i = 0; i < definition_.weights_size() && s_.ok(); ++i) {
      const v1::CustomWeight& w = definition_.weights(i);
      const std::string field = absl::StrCat("weights.", w.name());
      if (!w.when().empty()) {
        const absl::StatusOr<bool> exists = Condition(w.when());
        if (!exists.ok()) FailText(s_, field + ".when", exists.status());
        if (!exists.ok() || !*exists) continue;
      }
      const Shape shape = Sizes(field + ".shape", w.shape());
      if (!s_.ok()) return;
      ParamOptions options;
      options.initializer = w.initializer();
      if (w.has_initializer_expression()) {
        expr::Evaluator e(s_.graph(), environment_);
        auto initializer = InitializerFrom(s_.dialect(), w.initializer_expression(), e);
        if (!initializer.ok()) return FailText(s_, field + ".initializer_expression", initializer.status());
        options.initializer = *std::move(initializer);
      }
      options.trainable = !w.has_trainable() || w.trainable();
      if (w.has_regularizer()) options.regularizer = &w.regularizer();
      if (w.has_constraint()) options.constraint = &w.constraint();
      Bind(w.name(), s_.Param(w.name(), shape, options), false);
    }
  }

  // The results as tensors; empty after an error.
  std::vector<Value> Run() {
    if (!s_.ok()) return {};
    Bind("training", Number::Bool(s_.training()), false);
    const auto program = expr::Parse(definition_.body());
    if (!program.ok()) {
      FailText(s_, "body", program.status());
      return {};
    }
    environment_.random = [this](int n, const Shape& shape) { return s_.Random(absl::StrCat("draw", n), shape); };
    expr::Evaluator evaluator(s_.graph(), environment_);
    auto results = evaluator.Run(*program);
    if (!results.ok()) {
      FailText(s_, "body", results.status());
      return {};
    }
    const auto& nodes = program->statements.back().values;
    std::vector<Value> values;
    for (size_t i = 0; i < results->size(); ++i) {
      // One result may be a list: it stands for its items.
      const Object& result = (*results)[i];
      const Object::List one = {result};
      for (const Object& item : result.list() != nullptr ? *result.list() : one) {
        auto value = evaluator.AsTensor(nodes[i].place, item);
        if (!value.ok()) {
          FailText(s_, "body", value.status());
          return {};
        }
        values.push_back(*value);
      }
    }
    // In training nothing asks. A layer's states are no rows.
    const size_t states = definition_.kind() == v1::CustomComponent::LAYER ? definition_.states_size() : 0;
    if (!s_.training() && !expr::RowsIndependent(*program, environment_, batched_, states)) s_.MixRows();
    return values;
  }

 private:
  absl::StatusOr<Shape> SizesFrom(const std::string& text) {
    STRATA_ASSIGN_OR_RETURN(const expr::Node node, expr::ParseExpression(text));
    expr::Evaluator e(s_.graph(), environment_);
    STRATA_ASSIGN_OR_RETURN(const Object value, e.Evaluate(node));
    const Object::List one = {value};
    Shape shape;
    int64_t count = 0;
    for (const Object& item : value.list() != nullptr ? *value.list() : one) {
      const Number* n = item.number();
      if (n == nullptr || n->kind != Number::Kind::kInt || n->integer < 1) {
        return expr::ErrorAt(node.place, "the sizes of \"", text, "\" must be >= 1, got ", expr::Describe(item));
      }
      shape.push_back(n->integer);
    }
    if (static_cast<int>(shape.size()) > expr::kMaxRank || !CheckedNumElements(shape, &count)) {
      return expr::ErrorAt(node.place, "a shape must have at most ", expr::kMaxRank, " axes and 2^48 elements, got ",
                           ShapeString(shape));
    }
    return shape;
  }

  absl::StatusOr<bool> Condition(const std::string& text) {
    STRATA_ASSIGN_OR_RETURN(const expr::Node node, expr::ParseExpression(text));
    expr::Evaluator e(s_.graph(), environment_);
    STRATA_ASSIGN_OR_RETURN(const Object value, e.Evaluate(node));
    return e.Decide(node.place, value);
  }

  Scope& s_;
  const v1::CustomComponent& definition_;
  expr::Environment environment_;
  std::set<std::string> batched_;
};

// Binds arguments to names, in order. One name for several arguments gets their list.
bool BindInputs(Scope& s, Builder& builder, const std::vector<std::string>& names, const std::vector<Annotated>& args) {
  if (names.size() == 1 && args.size() > 1) {
    Object::List list;
    for (const Annotated& a : args) list.push_back(a.value);
    builder.Bind(names[0], std::move(list), true);
    return true;
  }
  if (names.size() != args.size()) {
    s.Fail(absl::StrCat("inputs: must be ", names.size(), ", got ", args.size()));
    return false;
  }
  for (size_t i = 0; i < names.size(); ++i) builder.Bind(names[i], args[i].value, true);
  return true;
}

}  // namespace

std::map<std::string, Object> HyperparameterValues(const v1::CustomComponent& d,
                                                   const google::protobuf::Struct& values) {
  std::map<std::string, Object> names;
  for (const v1::Hyperparameter& h : d.hyperparameters()) {
    const auto it = values.fields().find(h.name());
    names[h.name()] = ObjectOf(it == values.fields().end() ? h.default_() : it->second, h.type());
  }
  return names;
}

Outputs BuildCustomLayer(Scope& s, const v1::CustomLayer& use, const Args& args) {
  const v1::CustomComponent& d = use.definition();
  const bool cell = d.kind() == v1::CustomComponent::CELL;
  if (!cell && d.kind() != v1::CustomComponent::LAYER) {
    return {s.Fail(
        absl::StrCat("component: must be a LAYER or CELL here, got ", v1::CustomComponent::Kind_Name(d.kind())))};
  }
  Builder builder(s, d, use.hyperparameters());
  std::vector<std::string> names = InputNames(s.dialect(), d);
  if (cell) {
    for (const v1::CustomState& state : d.states()) names.push_back(state.name());
  }
  if (!BindInputs(s, builder, names, args.positional)) return {Value{s.graph(), -1}};
  std::vector<Value> states;
  for (int i = 0; !cell && i < d.states_size() && s.ok(); ++i) {
    const v1::CustomState& state = d.states(i);
    const Shape shape = builder.Sizes(absl::StrCat("states.", state.name(), ".shape"), state.shape());
    if (!s.ok()) return {Value{s.graph(), -1}};
    states.push_back(s.State(state.name(), shape, state.start()));
    builder.Bind(state.name(), states.back(), false);
  }
  builder.AddWeights();
  std::vector<Value> results = builder.Run();
  if (!s.ok() || results.size() <= states.size()) {
    if (s.ok()) s.Fail(absl::StrCat("body: must have outputs and ", states.size(), " states, got ", results.size()));
    return {Value{s.graph(), -1}};
  }
  const size_t outputs = results.size() - states.size();
  for (size_t i = 0; i < states.size(); ++i) {
    const Value next = results[outputs + i];
    if (next.shape() != states[i].shape() || next.dtype() != states[i].dtype()) {
      const std::string& name = d.states(static_cast<int>(i)).name();
      return {s.Fail(absl::StrCat("body: the new state ", name, " must be ", expr::Describe(Object(states[i])),
                                  ", got ", expr::Describe(Object(next))))};
    }
    if (s.training()) s.SetState(states[i], next);
  }
  return Outputs(results.begin(), results.begin() + static_cast<int64_t>(outputs));
}

std::vector<Value> BuildCustomValues(Scope& s, const v1::CustomComponent& d,
                                     const google::protobuf::Struct& hyperparameters, Value target, Value prediction,
                                     const std::vector<Annotated>& more) {
  if (!s.ok()) return {};
  std::vector<Annotated> args = {prediction};
  args.insert(args.end(), more.begin(), more.end());
  args.insert(TargetFirst(s.dialect(), d) ? args.begin() : args.end(), target);
  Builder builder(s, d, hyperparameters);
  const std::vector<std::string> names = InputNames(s.dialect(), d);
  if (names.size() != args.size()) {
    s.Fail(absl::StrCat("inputs: must be ", names.size(), ", got ", args.size()));
    return {};
  }
  if (!BindInputs(s, builder, names, args)) return {};
  builder.AddWeights();
  return builder.Run();
}

void DeclareCustomWeights(Scope& s, const v1::CustomLoss& use, Value prediction, const std::vector<Annotated>& more) {
  const v1::CustomComponent& d = use.definition();
  Scope named = s.Enter(d.name(), d.name(), true, std::nullopt);
  Builder builder(named, d, use.hyperparameters());
  // Weights do not see the target.
  const std::vector<std::string> names = InputNames(s.dialect(), d);
  const size_t first = TargetFirst(s.dialect(), d) ? 1 : 0;
  for (size_t i = 0; i <= more.size() && first + i < names.size() && names.size() > 1; ++i) {
    builder.Bind(names[first + i], i == 0 ? prediction : more[i - 1].value, true);
  }
  builder.AddWeights();
}

std::vector<Shape> CustomStateShapes(const v1::CustomLayer& use, int64_t batch) {
  const v1::CustomComponent& d = use.definition();
  std::vector<Shape> shapes;
  if (d.kind() != v1::CustomComponent::CELL) return {};
  // Sizes follow hyper-parameters alone: a graph of its own has nothing to see.
  Graph g;
  Collected collected;
  Scope scope(&g, v1::KERAS, false, {}, &collected);
  Builder builder(scope, d, use.hyperparameters());
  for (const v1::CustomState& state : d.states()) {
    shapes.push_back(builder.Sizes("shape", state.shape()));
    shapes.back().insert(shapes.back().begin(), batch);
  }
  return g.ok() ? shapes : std::vector<Shape>{};
}

Components Custom() {
  const char* dense =
      "definition { name: 'Dense2' kind: LAYER "
      "hyperparameters { name: 'units' type: INT } "
      "hyperparameters { name: 'use_bias' default { bool_value: true } } "
      "weights { name: 'w' shape: '[x.shape[-1], units]' initializer_expression: 'normal(0, 0.5)' } "
      "weights { name: 'b' shape: '[units]' initializer_expression: 'normal(0, 0.5)' when: 'use_bias' } "
      "body: 'y = x @ w\\ny + b if use_bias else y' } "
      "hyperparameters { fields { key: 'units' value { number_value: ";
  return Layer<v1::CustomLayer>("custom", &BuildCustomLayer)
      .Shapes("as the body computes")
      .Inputs(1, -1)
      .TakesAsGiven()
      .States([](const v1::Layer& cell, int64_t batch) { return CustomStateShapes(cell.custom(), batch); })
      .With(absl::StrCat(dense, "3 } } }"), {{2, 4}})
      .With(absl::StrCat(dense, "2 } } fields { key: 'use_bias' value { bool_value: false } } }"), {{3, 1, 5}})
      .With(
          "definition { name: 'Scale' kind: LAYER hyperparameters { name: 'a' default { number_value: 2.5 } } "
          "weights { name: 'g' shape: '[1]' initializer { ones {} } } "
          "body: 'tanh(x * g) * a - softmax(x, axis=-1)' }",
          {{1, 3, 2}})
      .With("definition { name: 'Gate' kind: LAYER inputs: 'a' inputs: 'b' body: 'sigmoid(a) * b[:, ::-1], a + b' }",
            {{2, 3}, {2, 3}})
      .Reject("definition { name: 'Bad' kind: LAYER body: 'x @ v' }", {{2, 3}}, "body")
      .Reject("definition { name: 'Bad' kind: LAYER body: 'x[:, 7]' }", {{2, 3}}, "body")
      .Reject("definition { name: 'Dense3' kind: LAYER hyperparameters { name: 'units' } body: 'x' }", {{2, 3}},
              "hyperparameters.units");
}

}  // namespace strata::nn
