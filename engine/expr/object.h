// What an expression gives: a number known while the graph is built, a tensor, a text, a list, or nothing.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include "engine/graph/graph.h"

namespace strata::expr {

// Takes the type of the tensor that it meets, as Python's numbers do.
struct Number {
  enum class Kind : uint8_t { kBool, kInt, kFloat };
  Kind kind = Kind::kInt;
  int64_t integer = 0;  // of kBool and kInt
  double real = 0;      // of kFloat
  // Depends on the size of the batch.
  bool batch = false;

  double AsDouble() const { return kind == Kind::kFloat ? real : static_cast<double>(integer); }
  bool IsTrue() const { return kind == Kind::kFloat ? real != 0 : integer != 0; }

  static Number Bool(bool v) { return {Kind::kBool, v, 0, false}; }
  static Number Int(int64_t v) { return {Kind::kInt, v, 0, false}; }
  static Number Float(double v) { return {Kind::kFloat, 0, v, false}; }
};

class Object {
 public:
  using List = std::vector<Object>;

  Object() = default;
  Object(Number v) : content_(v) {}                  // NOLINT: what a function computes is its result
  Object(Value v) : content_(v) {}                   // NOLINT
  Object(std::string v) : content_(std::move(v)) {}  // NOLINT
  Object(List v) : content_(std::make_shared<const List>(std::move(v))) {}  // NOLINT

  bool is_none() const { return std::holds_alternative<std::monostate>(content_); }
  const Number* number() const { return std::get_if<Number>(&content_); }
  // Null if this is no tensor.
  const Value* tensor() const { return std::get_if<Value>(&content_); }
  const std::string* text() const { return std::get_if<std::string>(&content_); }
  const List* list() const {
    const auto* p = std::get_if<std::shared_ptr<const List>>(&content_);
    return p == nullptr ? nullptr : p->get();
  }

 private:
  // Lists are shared: a list of lists of lists costs what its text costs.
  std::variant<std::monostate, Number, Value, std::string, std::shared_ptr<const List>> content_;
};

// As an error names it: "3", "f32[2, 3]", "'mean'", "a list of 2", "None".
std::string Describe(const Object& object);

}  // namespace strata::expr
