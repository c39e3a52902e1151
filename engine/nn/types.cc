#include "engine/nn/types.h"

#include <algorithm>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
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

// Layers that multiply their input with weights, attention, and dropout in training, by the beginnings of their names:
// both frameworks refuse what is not floating-point.
bool IsFloatsOnly(const std::string& kind, bool training) {
  static constexpr const char* kBeginnings[] = {"conv",
                                                "separable_conv",
                                                "depthwise_conv",
                                                "locally_connected",
                                                "avg_pool",
                                                "lstm",
                                                "gru",
                                                "simple_rnn",
                                                "rnn",
                                                "bidirectional",
                                                "multihead",
                                                "transformer",
                                                "attention",
                                                "additive_attention",
                                                "keras_multi_head",
                                                "prelu"};
  static constexpr const char* kInTraining[] = {"dropout", "spatial_dropout", "alpha_dropout"};
  const auto begins = [&](const char* beginning) { return absl::StartsWith(kind, beginning); };
  return std::any_of(std::begin(kBeginnings), std::end(kBeginnings), begins) ||
         (training && std::any_of(std::begin(kInTraining), std::end(kInTraining), begins));
}

// The argument's name in PyTorch where it is not "input".
std::string ArgumentName(const Scope& s, const std::string& kind, size_t index) {
  static const auto* names = new std::vector<std::pair<std::string, std::vector<std::string>>>{
      {"multihead_attention", {"query", "key", "value"}},
      {"transformer_encoder", {"src"}},
      {"transformer_decoder", {"tgt", "memory"}},
      {"transformer", {"src", "tgt"}},
      {"cosine_similarity", {"x1", "x2"}}};
  for (const auto& [beginning, arguments] : *names) {
    if (s.pytorch() && absl::StartsWith(kind, beginning) && index < arguments.size()) return arguments[index];
  }
  return "input";
}

// As PyTorch 2.15 and tf.keras 2.21 were seen to do. Layers that are not here take what their operations take.
const Rules* FindRules(const std::string& kind, bool training) {
  static const Rules floats{{R, R}, {R, R}};
  if (IsFloatsOnly(kind, training)) return &floats;
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
      {"group_norm", {{R, R}, {R, R}}},
      {"rms_norm", {{R, R}, {C, C}}},
      {"layer_norm", {{R, R}, {C, C}}},
      {"cosine_similarity", {{R, R}, {R, R}}},
      {"max_pool1d", {{R, R}, {K, R}}},
      {"max_pool2d", {{K, R}, {K, R}}},
      {"max_pool3d", {{K, R}, {R, R}}},
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
      {"global_avg_pool1d", {{K, K}, {K, C}}},
      {"global_avg_pool2d", {{K, K}, {K, C}}},
      {"global_avg_pool3d", {{K, K}, {K, C}}},
      {"unfold", {{R, K}, {R, R}}},
      {"fold", {{R, K}, {R, R}}},
      {"up_sampling2d", {{K, K}, {K, R}}},
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

Value TakeType(Scope& s, const Rules* rules, const std::string& argument, Value x) {
  const DType t = x.dtype();
  if (IsFloat(t)) return s.pytorch() ? x : Cast(x, DType::kF32);
  if (rules == nullptr || t == DType::kText) return x;
  const Rule& rule = s.pytorch() ? rules->pytorch : rules->keras;
  const Take take = t == DType::kBool ? rule.booleans : rule.integers;
  if (take == Take::kRefuse) {
    s.Fail(absl::StrCat(argument, ": must be floating-point",
                        t == DType::kBool && rule.integers != Take::kRefuse ? " or integers" : "", ", got ",
                        DTypeName(t)));
  }
  return take == Take::kCast ? Cast(x, DType::kF32) : x;
}

}  // namespace

Args TakeTypes(Scope& s, const std::string& kind, Args args) {
  if (kind == "custom") return args;  // its operations say what they take
  const Rules* rules = FindRules(kind, s.training());
  for (size_t i = 0; i < args.size(); ++i) {
    Value& x = args.positional[i].value;
    if (s.ok()) x = TakeType(s, rules, ArgumentName(s, kind, i), x);
  }
  return args;
}

}  // namespace strata::nn
