#include "engine/nn/types.h"

#include "absl/strings/str_cat.h"
#include "engine/nn/component.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

Value TakeType(Scope& s, const TypeRule& rule, const std::string& argument, Value x) {
  const DType t = x.dtype();
  if (IsFloat(t)) return s.pytorch() ? x : Cast(x, DType::kF32);
  if (t == DType::kText) return x;
  const Take take = t == DType::kBool ? rule.booleans : rule.integers;
  if (take == Take::kRefuse) {
    s.Fail(absl::StrCat(argument, ": must be floating-point",
                        t == DType::kBool && rule.integers != Take::kRefuse ? " or integers" : "", ", got ",
                        DTypeName(t)));
  }
  return take == Take::kCast ? Cast(x, DType::kF32) : x;
}

}  // namespace

Args TakeTypes(Scope& s, const Component& layer, Args args) {
  if (layer.takes_as_given()) return args;
  const TypeRule rule = layer.takes(s.dialect(), s.training());
  for (size_t i = 0; i < args.size(); ++i) {
    Value& x = args.positional[i].value;
    const bool named = s.pytorch() && i < layer.arguments().size();
    if (s.ok()) x = TakeType(s, rule, named ? layer.arguments()[i] : "input", x);
  }
  return args;
}

}  // namespace strata::nn
