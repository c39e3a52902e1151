#include "engine/nn/types.h"

#include <unordered_map>

#include "absl/strings/str_cat.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

enum class Take : uint8_t { kKeep, kCast, kRefuse };
constexpr Take K = Take::kKeep, C = Take::kCast, R = Take::kRefuse;

struct Rule {
  Take integers, booleans;
};
struct Rules {
  Rule pytorch, keras;
};

// As PyTorch 2.15 and tf.keras 2.21 were seen to do. Layers that are not here take what their operations take.
const Rules* FindRules(const std::string& kind) {
  static const auto* rules = new std::unordered_map<std::string, Rules>{
      {"relu", {{K, R}, {K, R}}},
      {"relu6", {{K, R}, {K, R}}},
      {"hardtanh", {{K, R}, {K, R}}},
      {"threshold", {{K, R}, {K, R}}},
      {"sigmoid", {{C, C}, {R, R}}},
      {"tanh", {{C, C}, {R, R}}},
      {"softsign", {{C, R}, {R, R}}},
      {"exponential", {{C, C}, {R, R}}},
      {"leaky_relu", {{R, R}, {C, R}}},
      {"thresholded_relu", {{R, R}, {R, R}}},
      {"elu", {{R, R}, {R, R}}},
      {"selu", {{R, R}, {R, R}}},
      {"silu", {{R, R}, {R, R}}},
      {"gelu", {{R, R}, {R, R}}},
      {"mish", {{R, R}, {R, R}}},
      {"softplus", {{R, R}, {R, R}}},
      {"hardswish", {{R, R}, {R, R}}},
      {"hard_sigmoid", {{R, R}, {R, R}}},
      {"log_sigmoid", {{R, R}, {R, R}}},
      {"softmax", {{R, R}, {R, R}}},
      {"log_softmax", {{R, R}, {R, R}}},
      {"instance_norm1d", {{R, R}, {R, R}}},
      {"instance_norm2d", {{R, R}, {R, R}}},
      {"instance_norm3d", {{R, R}, {R, R}}},
      {"batch_norm1d", {{R, R}, {R, R}}},
      {"batch_norm2d", {{R, R}, {R, R}}},
      {"batch_norm3d", {{R, R}, {R, R}}},
      {"batch_norm", {{R, R}, {C, C}}},
      {"group_norm", {{R, R}, {C, C}}},
      {"rms_norm", {{R, R}, {C, C}}},
      {"layer_norm", {{R, R}, {C, C}}},
      {"cosine_similarity", {{R, R}, {R, R}}},
      {"max_pool1d", {{R, R}, {K, R}}},
      {"max_pool2d", {{R, R}, {K, R}}},
      {"max_pool3d", {{R, R}, {K, R}}},
      {"global_max_pool1d", {{R, R}, {K, R}}},
      {"global_max_pool2d", {{R, R}, {K, R}}},
      {"global_max_pool3d", {{R, R}, {K, R}}},
      {"adaptive_max_pool1d", {{R, R}, {R, R}}},
      {"adaptive_max_pool2d", {{R, R}, {R, R}}},
      {"adaptive_max_pool3d", {{R, R}, {R, R}}},
      {"adaptive_avg_pool1d", {{R, R}, {R, R}}},
      {"adaptive_avg_pool2d", {{R, R}, {R, R}}},
      {"adaptive_avg_pool3d", {{R, R}, {R, R}}},
      {"fractional_max_pool2d", {{R, R}, {R, R}}},
      {"fractional_max_pool3d", {{R, R}, {R, R}}},
      {"reflection_pad1d", {{K, R}, {K, R}}},
      {"reflection_pad2d", {{K, R}, {K, R}}},
      {"reflection_pad3d", {{K, R}, {K, R}}},
      {"replication_pad1d", {{K, R}, {K, R}}},
      {"replication_pad2d", {{K, R}, {K, R}}},
      {"replication_pad3d", {{K, R}, {K, R}}},
      {"masking", {{R, R}, {R, R}}},
      {"add", {{K, K}, {K, R}}},
      {"subtract", {{K, R}, {K, R}}},
      {"maximum", {{K, K}, {K, R}}},
      {"minimum", {{K, K}, {K, R}}},
      {"average", {{C, C}, {C, R}}},
      {"dot", {{K, R}, {K, R}}},
  };
  const auto it = rules->find(kind);
  return it == rules->end() ? nullptr : &it->second;
}

Value TakeType(Scope& s, const Rules* rules, Value x) {
  const DType t = x.dtype();
  if (IsFloat(t)) return s.pytorch() ? x : Cast(x, DType::kF32);
  if (rules == nullptr || t == DType::kText) return x;
  const Rule& rule = s.pytorch() ? rules->pytorch : rules->keras;
  const Take take = t == DType::kBool ? rule.booleans : rule.integers;
  if (take == Take::kRefuse) {
    s.Fail(absl::StrCat("input: must be floating-point",
                        t == DType::kBool && rule.integers != Take::kRefuse ? " or integers" : "", ", got ",
                        DTypeName(t)));
  }
  return take == Take::kCast ? Cast(x, DType::kF32) : x;
}

}  // namespace

Args TakeTypes(Scope& s, const std::string& kind, Args args) {
  if (kind == "custom") return args;  // its operations say what they take
  const Rules* rules = FindRules(kind);
  for (Annotated& a : args.positional) {
    if (s.ok()) a.value = TakeType(s, rules, a.value);
  }
  return args;
}

}  // namespace strata::nn
