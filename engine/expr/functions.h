// The functions of the language: a table of names, arguments and implementations. README.md lists them for users.
#pragma once

#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/expr/evaluate.h"
#include "engine/expr/lexer.h"

namespace strata::expr {

// Whether a call is PyTorch's max(x, dim) or min(x, dim), which gives values and their places to an index or attribute.
bool GivesPair(const Node& node);

// A call with its arguments in the order of the function's parameters; null where one is left out.
class Call {
 public:
  Call(Evaluator& e, const Node& node, std::vector<const Object*> arguments, const char* parameters)
      : e_(e), node_(node), arguments_(std::move(arguments)), parameters_(parameters) {}

  Evaluator& evaluator() const { return e_; }
  Graph* graph() const { return e_.graph(); }
  Place place() const { return node_.place; }
  const std::string& name() const { return node_.text; }
  const Object* argument(size_t i) const { return arguments_[i]; }
  // "K" of K.f(...); empty without one.
  const std::string& module() const { return node_.module; }
  // Whether it was written x.f(...).
  bool method() const { return node_.method; }
  // Whether it is a function of keras.backend.
  bool OfBackend() const { return module() == "K" || module() == "backend"; }
  // Whether it is PyTorch's max(x, dim) or min(x, dim).
  bool GivesPair() const { return e_.pytorch() && expr::GivesPair(node_); }
  // False for a parameter that the function does not have.
  bool has(size_t i) const { return i < arguments_.size() && arguments_[i] != nullptr && !arguments_[i]->is_none(); }

  template <typename... Parts>
  absl::Status Error(const Parts&... parts) const {
    return ErrorAt(place(), name(), "(): ", parts...);
  }

  absl::StatusOr<Value> Tensor(size_t i) const { return e_.AsTensor(place(), *arguments_[i]); }
  // As a float: integers and truth values become f32.
  absl::StatusOr<Value> Float(size_t i) const;
  // Whether every argument is a number, so that the result is one.
  bool numbers() const;
  absl::StatusOr<double> Real(size_t i) const;
  absl::StatusOr<double> Real(size_t i, double otherwise) const { return has(i) ? Real(i) : otherwise; }
  absl::StatusOr<int64_t> Integer(size_t i) const;
  absl::StatusOr<bool> Flag(size_t i) const;
  // An axis of a tensor with `rank` axes; counts from 0.
  absl::StatusOr<int> Axis(size_t i, int rank) const;
  // Axes to reduce: one, a list, or all if there is no argument.
  absl::StatusOr<std::vector<int64_t>> Axes(size_t i, int rank) const;
  // Sizes; checked to be >= 0 (>= -1 with `infer`) and small enough.
  absl::StatusOr<Shape> Sizes(size_t i, bool infer) const;
  absl::StatusOr<DType> Type(size_t i) const;
  absl::StatusOr<std::vector<Value>> Tensors(size_t i) const;

 private:
  // Name of the i-th parameter.
  std::string Parameter(size_t i) const;

  Evaluator& e_;
  const Node& node_;
  std::vector<const Object*> arguments_;
  const char* parameters_;
};

struct Function {
  const char* name;
  // Separated by spaces; other names of a parameter follow it after a bar, and a question mark ends an optional one:
  // "x axis|dim? keepdims|keepdim?". A star ends one that takes several arguments as a list: where it is the last, and
  // in a method (x.reshape(2, 3)).
  const char* parameters;
  absl::StatusOr<Object> (*call)(const Call& call);
};

// An operator under a name.
absl::StatusOr<Object> CallOperator(const Call& c, const char* op);

// The tables, by file.
std::span<const Function> ActivationFunctions();
std::span<const Function> LossFunctions();
std::span<const Function> MakeFunctions();
std::span<const Function> MathFunctions();
std::span<const Function> MatrixFunctions();
std::span<const Function> MovementFunctions();
std::span<const Function> ReduceFunctions();
std::span<const Function> ShapeFunctions();
std::span<const Function> SpecialFunctions();

// Null if there is none.
const Function* FindFunction(const std::string& name);
// pi, e, inf, True, False, None, and types, which are texts (tf.float32); null if there is none.
const Object* FindConstant(const std::string& name);
// Whether tensors have an attribute of this name.
bool IsAttribute(const std::string& name);
// Every name of a function, sorted.
std::vector<std::string> FunctionNames();

// Which argument goes to which parameter: positions in `call.children`, -1 for those left out; the first one for a
// parameter that takes several. Says what is wrong with the arguments of a call of an existing function.
absl::StatusOr<std::vector<int>> MatchArguments(const Function& function, const Node& call);

absl::StatusOr<Object> CallFunction(Evaluator& e, const Node& node, std::vector<Object> given);
absl::StatusOr<Object> EvaluateAttribute(Evaluator& e, const Node& node, const Object& x);

}  // namespace strata::expr
