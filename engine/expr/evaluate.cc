#include "engine/expr/evaluate.h"

#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "engine/expr/functions.h"
#include "engine/expr/lexer.h"
#include "engine/ops/ops.h"

namespace strata::expr {

std::string Describe(const Object& object) {
  if (const Number* n = object.number(); n != nullptr) {
    if (n->kind == Number::Kind::kBool) return n->integer != 0 ? "True" : "False";
    return n->kind == Number::Kind::kInt ? absl::StrCat(n->integer) : absl::StrCat(n->real);
  }
  if (const Value* v = object.tensor(); v != nullptr) {
    return absl::StrCat(DTypeName(v->dtype()), ShapeString(v->shape()));
  }
  if (object.text() != nullptr) return absl::StrCat("'", *object.text(), "'");
  if (object.list() != nullptr) return absl::StrCat("a list of ", object.list()->size());
  return "None";
}

absl::StatusOr<std::vector<Object>> Evaluator::Run(const Program& program) {
  for (const Statement& s : program.statements) {
    if (s.targets.empty()) {
      std::vector<Object> results;
      for (const Node& value : s.values) {
        STRATA_ASSIGN_OR_RETURN(Object result, Evaluate(value));
        results.push_back(std::move(result));
      }
      return results;
    }
    STRATA_ASSIGN_OR_RETURN(Object value, Evaluate(s.values[0]));
    if (s.targets.size() == 1) {
      environment_.names[s.targets[0]] = std::move(value);
      continue;
    }
    const Object::List* parts = value.list();
    if (parts == nullptr || parts->size() != s.targets.size()) {
      return ErrorAt(s.place, "must be a list of ", s.targets.size(), ", one for each name, got ", Describe(value));
    }
    const Object keep = value;
    for (size_t i = 0; i < s.targets.size(); ++i) environment_.names[s.targets[i]] = (*parts)[i];
  }
  return absl::InvalidArgumentError("1:1: the last line must be the result, got none");
}

absl::StatusOr<Object> Evaluator::Evaluate(const Node& node) {
  if (first_node_ < 0 && graph_ != nullptr) first_node_ = static_cast<int64_t>(graph_->nodes().size());
  absl::StatusOr<Object> result = EvaluateNode(node);
  if (!result.ok()) return result;
  if (absl::Status status = CheckResult(node, *result); !status.ok()) return status;
  return result;
}

absl::Status Evaluator::CheckResult(const Node& node, const Object& result) {
  if (graph_ != nullptr && !graph_->ok()) {
    graph_->PrefixError(absl::StrCat(node.place.line, ":", node.place.column, ": "));
    return graph_->status();
  }
  if (const Object::List* list = result.list(); list != nullptr && list->size() > kMaxListLength) {
    return ErrorAt(node.place, "a list must have at most ", kMaxListLength, " items, got ", list->size());
  }
  if (graph_ != nullptr && static_cast<int64_t>(graph_->nodes().size()) - first_node_ > kMaxGraphNodes) {
    return ErrorAt(node.place, "must need at most ", kMaxGraphNodes, " operations, got more");
  }
  const Value* v = result.tensor();
  if (v == nullptr) return absl::OkStatus();
  if (v->rank() > kMaxRank) {
    return ErrorAt(node.place, "must have at most ", kMaxRank, " axes, got ", ShapeString(v->shape()));
  }
  if (v->num_elements() > kMaxElements) {
    return ErrorAt(node.place, "must have at most ", kMaxElements, " elements, got ", ShapeString(v->shape()));
  }
  return absl::OkStatus();
}

absl::StatusOr<Object> Evaluator::EvaluateNode(const Node& node) {
  switch (node.kind) {
    case Node::Kind::kInteger:
      return Object(Number::Int(node.integer));
    case Node::Kind::kFloat:
      return Object(Number::Float(node.real));
    case Node::Kind::kString:
      return Object(node.text);
    case Node::Kind::kName: {
      const auto it = environment_.names.find(node.text);
      if (it != environment_.names.end()) return it->second;
      if (const Object* constant = FindConstant(node.text); constant != nullptr) return *constant;
      return ErrorAt(node.place, "no such name, got \"", node.text, "\"");
    }
    case Node::Kind::kUnary: {
      STRATA_ASSIGN_OR_RETURN(const Object x, Evaluate(node.children[0]));
      return ApplyUnary(*this, node.place, node.text, x);
    }
    case Node::Kind::kBinary: {
      STRATA_ASSIGN_OR_RETURN(const Object a, Evaluate(node.children[0]));
      STRATA_ASSIGN_OR_RETURN(const Object b, Evaluate(node.children[1]));
      return ApplyBinary(*this, node.place, node.text, a, b);
    }
    case Node::Kind::kConditional: {
      // The other branch is not evaluated: it may read a weight that does not exist.
      STRATA_ASSIGN_OR_RETURN(const Object condition, Evaluate(node.children[0]));
      STRATA_ASSIGN_OR_RETURN(const bool holds, Decide(node.place, condition));
      return Evaluate(node.children[holds ? 1 : 2]);
    }
    case Node::Kind::kCall:
      return EvaluateCall(node);
    case Node::Kind::kAttribute: {
      STRATA_ASSIGN_OR_RETURN(const Object x, EvaluateWhole(node.children[0]));
      return EvaluateAttribute(*this, node, x);
    }
    case Node::Kind::kIndex: {
      STRATA_ASSIGN_OR_RETURN(const Object x, EvaluateWhole(node.children[0]));
      return ApplyIndex(*this, node, x);
    }
    case Node::Kind::kList: {
      Object::List items;
      for (const Node& child : node.children) {
        STRATA_ASSIGN_OR_RETURN(Object item, Evaluate(child));
        items.push_back(std::move(item));
      }
      return Object(std::move(items));
    }
    default:
      return ErrorAt(node.place, "has a meaning only in an index, got \"", node.text, "\"");
  }
}

absl::StatusOr<Object> Evaluator::EvaluateWhole(const Node& node) {
  STRATA_ASSIGN_OR_RETURN(const Object values, Evaluate(node));
  if (!GivesPair(node)) return values;
  Node places = node;
  places.text = node.text == "max" ? "argmax" : "argmin";
  STRATA_ASSIGN_OR_RETURN(const Object indices, Evaluate(places));
  return Object(Object::List{values, indices});
}

absl::StatusOr<Object> Evaluator::EvaluateCall(const Node& node) {
  std::vector<Object> given;
  for (const Node& child : node.children) {
    STRATA_ASSIGN_OR_RETURN(Object value, Evaluate(child));
    given.push_back(std::move(value));
  }
  return CallFunction(*this, node, std::move(given));
}

absl::StatusOr<bool> Evaluator::Decide(Place place, const Object& condition) {
  if (const Number* n = condition.number(); n != nullptr) return Use(*n).IsTrue();
  if (condition.is_none()) return false;
  if (condition.text() != nullptr) return !condition.text()->empty();
  if (condition.list() != nullptr) return !condition.list()->empty();
  return ErrorAt(place, "the condition must be known before the run (use where() for tensors), got ",
                 Describe(condition));
}

absl::StatusOr<Value> Evaluator::Materialize(Place place, const Number& number, DType dtype) {
  if (graph_ == nullptr) return ErrorAt(place, "must be a number, got a tensor");
  const double value = Use(number).AsDouble();
  // Integers of an i64 tensor beyond 2^53 are not exact in a double: a literal stays exact.
  if (dtype == DType::kI64 && number.kind != Number::Kind::kFloat) {
    Tensor literal(DType::kI64, {});
    *literal.data<int64_t>() = number.integer;
    return Constant(graph_, std::move(literal));
  }
  return Scalar(graph_, value, dtype);
}

namespace {

// A list of numbers, or of lists of numbers, as a constant. Floats if one is a float.
absl::StatusOr<Value> ConstantOf(Evaluator& e, Place place, const Object::List& rows) {
  if (e.graph() == nullptr) return ErrorAt(place, "must be a number, got a list");
  std::vector<Number> numbers;
  Shape shape = {static_cast<int64_t>(rows.size())};
  bool real = false;
  const auto add = [&](const Object& item) {
    if (item.number() == nullptr) return false;
    numbers.push_back(e.Use(*item.number()));
    real |= item.number()->kind == Number::Kind::kFloat;
    return true;
  };
  for (size_t i = 0; i < rows.size(); ++i) {
    const Object::List* row = rows[i].list();
    if (row == nullptr ? shape.size() == 2 : i > 0 && (shape.size() < 2 || shape[1] != int64_t(row->size()))) {
      return ErrorAt(place, "must be a list of numbers, or of lists of one length, got ", Describe(rows[i]));
    }
    if (row != nullptr && i == 0) shape.push_back(static_cast<int64_t>(row->size()));
    bool ok = row != nullptr || add(rows[i]);
    for (size_t k = 0; row != nullptr && k < row->size(); ++k) ok &= add((*row)[k]);
    if (!ok) return ErrorAt(place, "must be a list of numbers, got ", Describe(rows[i]));
  }
  Tensor t(real ? DType::kF32 : DType::kI64, shape);
  for (size_t i = 0; i < numbers.size(); ++i) t.Set(static_cast<int64_t>(i), numbers[i].AsDouble());
  return Constant(e.graph(), std::move(t));
}

}  // namespace

absl::StatusOr<Value> Evaluator::AsTensor(Place place, const Object& object) {
  if (const Value* v = object.tensor(); v != nullptr) return *v;
  if (const Number* n = object.number(); n != nullptr) {
    return Materialize(place, *n,
                       n->kind == Number::Kind::kBool  ? DType::kBool
                       : n->kind == Number::Kind::kInt ? DType::kI64
                                                       : DType::kF32);
  }
  if (object.list() != nullptr) return ConstantOf(*this, place, *object.list());
  return ErrorAt(place, "must be a tensor, got ", Describe(object));
}

absl::StatusOr<Value> Evaluator::Random(Place place, const Shape& shape) {
  if (!environment_.random) return ErrorAt(place, "random numbers have no place here");
  return environment_.random(draws_++, shape);
}

}  // namespace strata::expr
