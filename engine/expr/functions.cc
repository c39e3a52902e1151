#include "engine/expr/functions.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "absl/strings/str_split.h"
#include "engine/base/status.h"
#include "engine/expr/parser.h"
#include "engine/ops/ops.h"

namespace strata::expr {

using std::string_literals::operator""s;

namespace {

struct Parameter {
  std::vector<std::string> names;
  bool optional = false;
  bool many = false;
};

std::vector<Parameter> ParametersOf(const char* text) {
  std::vector<Parameter> list;
  for (absl::string_view part : absl::StrSplit(text, ' ', absl::SkipEmpty())) {
    Parameter p;
    p.optional = part.back() == '?';
    p.many = part.back() == '*';
    if (p.optional || p.many) part.remove_suffix(1);
    p.names = absl::StrSplit(part, '|');
    list.push_back(std::move(p));
  }
  return list;
}

const std::map<std::string, const Function*>& Table() {
  static const auto& table = *[] {
    auto* all = new std::map<std::string, const Function*>();
    for (auto family : {ActivationFunctions, LossFunctions, MakeFunctions, MathFunctions, MatrixFunctions,
                        MovementFunctions, ReduceFunctions, ShapeFunctions, SpecialFunctions}) {
      for (const Function& f : family()) {
        STRATA_CHECK(all->emplace(f.name, &f).second);
      }
    }
    return all;
  }();
  return table;
}

}  // namespace

const Function* FindFunction(const std::string& name) {
  const auto it = Table().find(name);
  return it == Table().end() ? nullptr : it->second;
}

std::vector<std::string> FunctionNames() {
  std::vector<std::string> names;
  for (const auto& [name, function] : Table()) names.push_back(name);
  return names;
}

const Object* FindConstant(const std::string& name) {
  static const auto& constants = *new std::map<std::string, Object>{{"pi", Number::Float(M_PI)},
                                                                    {"e", Number::Float(M_E)},
                                                                    {"inf", Number::Float(HUGE_VAL)},
                                                                    {"True", Number::Bool(true)},
                                                                    {"False", Number::Bool(false)},
                                                                    {"true", Number::Bool(true)},
                                                                    {"false", Number::Bool(false)},
                                                                    {"None", Object()},
                                                                    {"uint8", "uint8"s},
                                                                    {"int8", "int8"s},
                                                                    {"int16", "int16"s},
                                                                    {"int32", "int32"s},
                                                                    {"int64", "int64"s},
                                                                    {"float16", "float16"s},
                                                                    {"bfloat16", "bfloat16"s},
                                                                    {"float32", "float32"s},
                                                                    {"float64", "float64"s}};
  const auto it = constants.find(name);
  return it == constants.end() ? nullptr : &it->second;
}

namespace {

size_t NumPositional(const Node& call) { return call.children.size() - call.keywords.size(); }

}  // namespace

bool IsAttribute(const std::string& name) {
  return name == "shape" || name == "ndim" || name == "T" || name == "mT" || name == "values" || name == "indices";
}

bool GivesPair(const Node& node) {
  if (node.kind != Node::Kind::kCall || (node.text != "max" && node.text != "min")) return false;
  const bool dim = std::find(node.keywords.begin(), node.keywords.end(), "dim") != node.keywords.end();
  return dim || ((node.method || node.module == "torch") && NumPositional(node) > 1);
}

namespace {

// Index of the parameter that takes all arguments without a name from its own on; that of none where there is none.
size_t Gathering(const std::vector<Parameter>& parameters, const Node& call) {
  for (size_t i = 0; i < parameters.size(); ++i) {
    if (parameters[i].many && (call.method || i + 1 == parameters.size())) return i;
  }
  return parameters.size();
}

}  // namespace

absl::StatusOr<std::vector<int>> MatchArguments(const Function& function, const Node& call) {
  const std::vector<Parameter> parameters = ParametersOf(function.parameters);
  const size_t count = NumPositional(call), gathering = Gathering(parameters, call);
  const size_t positional = gathering < parameters.size() ? std::min(count, gathering + 1) : count;
  if (positional > parameters.size()) {
    return ErrorAt(call.place, call.text, "() takes at most ", parameters.size(), " arguments, got ", positional);
  }
  std::vector<int> from(parameters.size(), -1);
  for (size_t i = 0; i < positional; ++i) from[i] = static_cast<int>(i);
  for (size_t k = 0; k < call.keywords.size(); ++k) {
    const auto named = std::find_if(parameters.begin(), parameters.end(), [&](const Parameter& p) {
      return std::find(p.names.begin(), p.names.end(), call.keywords[k]) != p.names.end();
    });
    if (named == parameters.end()) {
      return ErrorAt(call.place, call.text, "() has no argument \"", call.keywords[k], "\"");
    }
    int& slot = from[named - parameters.begin()];
    if (slot >= 0) return ErrorAt(call.place, call.text, "() must get \"", named->names[0], "\" once, got two");
    slot = static_cast<int>(count + k);
  }
  for (size_t i = 0; i < parameters.size(); ++i) {
    if (from[i] < 0 && !parameters[i].optional) {
      return ErrorAt(call.place, call.text, "() must get \"", parameters[i].names[0], "\", got nothing");
    }
  }
  return from;
}

absl::StatusOr<Object> CallFunction(Evaluator& e, const Node& node, std::vector<Object> given) {
  const Function* function = FindFunction(node.text);
  if (function == nullptr) return ErrorAt(node.place, "no such function, got \"", node.text, "\"");
  STRATA_ASSIGN_OR_RETURN(const std::vector<int> from, MatchArguments(*function, node));
  // Several arguments of one parameter are a list.
  const size_t gathering = Gathering(ParametersOf(function->parameters), node), count = NumPositional(node);
  if (gathering < from.size() && count > gathering + 1) {
    given[gathering] = Object::List(given.begin() + gathering, given.begin() + count);
  }
  std::vector<const Object*> arguments;
  for (int i : from) arguments.push_back(i < 0 ? nullptr : &given[i]);
  return function->call(Call(e, node, std::move(arguments), function->parameters));
}

absl::StatusOr<Object> EvaluateAttribute(Evaluator&, const Node& node, const Object& x) {
  const Value* v = x.tensor();
  if (!IsAttribute(node.text)) return ErrorAt(node.place, "no such attribute, got \"", node.text, "\"");
  if (node.text == "values" || node.text == "indices") {
    if (x.list() != nullptr && x.list()->size() == 2) return (*x.list())[node.text == "values" ? 0 : 1];
    return ErrorAt(node.place, "must be of a pair of values and indices, got that of ", Describe(x));
  }
  if (v == nullptr) return ErrorAt(node.place, "only tensors have attributes, got ", Describe(x));
  if (node.text == "mT") {
    if (v->rank() < 2) return ErrorAt(node.place, "must have 2 axes to transpose, got ", Describe(x));
    return Object(SwapAxes(*v, -2, -1));
  }
  if (node.text == "shape") return ShapeOf(*v);
  if (node.text == "ndim") return Object(Number::Int(v->rank()));
  std::vector<int64_t> order;
  for (int i = v->rank(); i-- > 0;) order.push_back(i);
  return Object(Transpose(*v, order));
}

// ---------------------------------------------------------------------------------------------------------------- Call

std::string Call::Parameter(size_t i) const { return ParametersOf(parameters_)[i].names[0]; }

absl::StatusOr<Value> Call::Float(size_t i) const {
  STRATA_ASSIGN_OR_RETURN(const Value v, Tensor(i));
  return IsFloat(v.dtype()) ? v : Cast(v, DType::kF32);
}

bool Call::numbers() const {
  return std::all_of(arguments_.begin(), arguments_.end(),
                     [](const Object* o) { return o == nullptr || o->number() != nullptr; });
}

absl::StatusOr<double> Call::Real(size_t i) const {
  if (const Number* n = arguments_[i]->number(); n != nullptr) return e_.Use(*n).AsDouble();
  return Error(Parameter(i), " must be a number, got ", Describe(*arguments_[i]));
}

absl::StatusOr<int64_t> Call::Integer(size_t i) const {
  const Number* n = arguments_[i]->number();
  if (n == nullptr || n->kind == Number::Kind::kFloat) {
    return Error(Parameter(i), " must be an integer, got ", Describe(*arguments_[i]));
  }
  return e_.Use(*n).integer;
}

absl::StatusOr<bool> Call::Flag(size_t i) const {
  if (!has(i)) return false;
  return e_.Decide(place(), *arguments_[i]);
}

absl::StatusOr<int> Call::Axis(size_t i, int rank) const {
  STRATA_ASSIGN_OR_RETURN(const int64_t axis, Integer(i));
  if (axis < -rank || axis >= rank) {
    return Error(Parameter(i), " must be between ", -rank, " and ", rank - 1, ", got ", axis);
  }
  return static_cast<int>(axis < 0 ? axis + rank : axis);
}

absl::StatusOr<std::vector<int64_t>> Call::Axes(size_t i, int rank) const {
  std::vector<int64_t> axes;
  if (!has(i)) {
    for (int k = 0; k < rank; ++k) axes.push_back(k);
    return axes;
  }
  const Object::List one = {*arguments_[i]};
  const Object::List& list = arguments_[i]->list() != nullptr ? *arguments_[i]->list() : one;
  for (const Object& item : list) {
    const Number* n = item.number();
    if (n == nullptr || n->kind == Number::Kind::kFloat || n->integer < -rank || n->integer >= rank) {
      return Error(Parameter(i), " must be between ", -rank, " and ", rank - 1, ", got ", Describe(item));
    }
    const int64_t axis = e_.Use(*n).integer < 0 ? n->integer + rank : n->integer;
    if (std::find(axes.begin(), axes.end(), axis) != axes.end()) {
      return Error(Parameter(i), " must name an axis once, got ", axis, " twice");
    }
    axes.push_back(axis);
  }
  std::sort(axes.begin(), axes.end());
  return axes;
}

absl::StatusOr<Shape> Call::Sizes(size_t i, bool infer) const {
  const Object::List one = {*arguments_[i]};
  const Object::List& list = arguments_[i]->list() != nullptr ? *arguments_[i]->list() : one;
  Shape shape;
  int unknown = 0;
  int64_t count = 1;
  for (const Object& item : list) {
    const Number* n = item.number();
    if (n == nullptr || n->kind == Number::Kind::kFloat || n->integer < (infer ? -1 : 0)) {
      return Error(Parameter(i), " must be sizes", infer ? " and at most one -1" : "", ", got ", Describe(item));
    }
    shape.push_back(n->integer);
    unknown += n->integer == -1;
    if (n->integer > 0 && (__builtin_mul_overflow(count, n->integer, &count) || count > kMaxElements)) {
      return Error(Parameter(i), " must have at most ", kMaxElements, " elements, got more");
    }
  }
  if (unknown > 1) return Error(Parameter(i), " must have at most one -1, got ", unknown);
  if (static_cast<int>(shape.size()) > kMaxRank) {
    return Error(Parameter(i), " must have at most ", kMaxRank, " axes, got ", shape.size());
  }
  return shape;
}

absl::StatusOr<DType> Call::Type(size_t i) const {
  static const auto& types = *new std::map<std::string, DType>{
      {"bool", DType::kBool},   {"uint8", DType::kU8},    {"int8", DType::kI8},     {"int16", DType::kI16},
      {"int32", DType::kI32},   {"int64", DType::kI64},   {"float16", DType::kF16}, {"bfloat16", DType::kBF16},
      {"float32", DType::kF32}, {"float64", DType::kF64}, {"int", DType::kI64},     {"float", DType::kF32}};
  const std::string* text = arguments_[i]->text();
  const auto it = text == nullptr ? types.end() : types.find(*text);
  if (it != types.end()) return it->second;
  return Error(Parameter(i), " must be the name of a type, got ", Describe(*arguments_[i]));
}

absl::StatusOr<std::vector<Value>> Call::Tensors(size_t i) const {
  const Object::List* list = arguments_[i]->list();
  if (list == nullptr || list->empty()) {
    return Error(Parameter(i), " must be a list of tensors, got ", Describe(*arguments_[i]));
  }
  // All of one type: that of all of them together.
  Object all = (*list)[0];
  std::vector<Value> values;
  DType type = DType::kBool;
  bool first = true;
  for (const Object& item : *list) {
    STRATA_ASSIGN_OR_RETURN(const Value v, e_.AsTensor(place(), item));
    if (first) {
      type = v.dtype();
    } else if (type != v.dtype()) {
      // Promote joins the types of two scalars of them.
      STRATA_ASSIGN_OR_RETURN(const Pair pair, Promote(e_, place(), Object(Scalar(graph(), 0, type)),
                                                       Object(Scalar(graph(), 0, v.dtype()))));
      type = pair.a.dtype();
    }
    first = false;
    values.push_back(v);
  }
  for (Value& v : values) v = Cast(v, type);
  return values;
}

// --------------------------------------------------------------------------------------------------------------- Check

namespace {

absl::Status CheckNode(const Node& node, const std::set<std::string>& names) {
  if (node.kind == Node::Kind::kName && names.count(node.text) == 0 && FindConstant(node.text) == nullptr) {
    if (FindFunction(node.text) != nullptr) {
      return ErrorAt(node.place, "a function must be called, got \"", node.text, "\"");
    }
    return ErrorAt(node.place, "no such name, got \"", node.text, "\"");
  }
  if (node.kind == Node::Kind::kAttribute && !IsAttribute(node.text)) {
    return ErrorAt(node.place, "no such attribute, got \"", node.text, "\"");
  }
  // PyTorch's max(x, dim) gives values and indices: another index would take a row of the values.
  if (node.kind == Node::Kind::kIndex && GivesPair(node.children[0])) {
    const Node& item = node.children.back();
    if (node.children.size() != 2 || item.kind != Node::Kind::kInteger || item.integer > 1) {
      return ErrorAt(node.children[0].place, node.children[0].text, "() gives a pair; its index must be 0 or 1");
    }
  }
  if (node.kind == Node::Kind::kCall) {
    const Function* function = FindFunction(node.text);
    if (function == nullptr) return ErrorAt(node.place, "no such function, got \"", node.text, "\"");
    STRATA_RETURN_IF_ERROR(MatchArguments(*function, node).status());
  }
  for (const Node& child : node.children) STRATA_RETURN_IF_ERROR(CheckNode(child, names));
  return absl::OkStatus();
}

}  // namespace

absl::Status Check(const Node& expression, const std::set<std::string>& names) { return CheckNode(expression, names); }

absl::Status Check(const Program& program, std::set<std::string> names) {
  for (const Statement& s : program.statements) {
    for (const Node& value : s.values) STRATA_RETURN_IF_ERROR(CheckNode(value, names));
    names.insert(s.targets.begin(), s.targets.end());
  }
  return absl::OkStatus();
}

}  // namespace strata::expr
