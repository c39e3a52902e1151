// The expression language: values, types, errors word for word, bounds, and which programs keep rows apart.
#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <numeric>
#include <sstream>

#include "absl/strings/str_cat.h"
#include "engine/autodiff/gradients.h"
#include "engine/expr/evaluate.h"
#include "engine/expr/functions.h"
#include "engine/expr/parser.h"
#include "engine/expr/rows.h"
#include "engine/ops/ops.h"
#include "engine/ops/reference.h"

namespace strata::expr {
namespace {

// What a program gives for x = 0, 1, ..., 5 as [2, 3], i = the same as i32, v = [1, 2, 3], b = x > 2.
struct Outcome {
  absl::Status status;
  std::string text;  // "f32[2, 3] 0 1 2 3 4 5", "7", "'mean'", "[2, 3]"
};

std::string NumberText(double v) { return absl::StrCat(v == 0 ? 0.0 : v); }

Outcome RunProgram(const std::string& source) {
  Outcome out;
  const auto program = Parse(source);
  if (!program.ok()) return {program.status(), ""};
  out.status = Check(*program, {"x", "i", "v", "b", "xs"});
  if (!out.status.ok()) return out;
  Graph g;
  RefTensor six{{2, 3}, {0, 1, 2, 3, 4, 5}}, three{{3}, {1, 2, 3}}, truth{{2, 3}, {0, 0, 0, 1, 1, 1}};
  Environment environment;
  const Value x = g.AddInput("x", DType::kF32, {2, 3});
  environment.names["x"] = x;
  environment.names["i"] = g.AddInput("i", DType::kI32, {2, 3});
  environment.names["v"] = g.AddInput("v", DType::kF32, {3});
  environment.names["b"] = g.AddInput("b", DType::kBool, {2, 3});
  environment.names["xs"] = Object::List{x, x * 2};
  Evaluator evaluator(&g, environment);
  const auto results = evaluator.Run(*program);
  if (!results.ok()) return {results.status(), ""};
  for (const Object& r : *results) {
    if (r.tensor() != nullptr) g.MarkOutput("y", *r.tensor());
  }
  EXPECT_TRUE(Verify(g).ok()) << Verify(g);
  const RefTensor inputs[] = {six, six, three, truth};
  const auto values = EvaluateReference(g, inputs);
  size_t next = 0;
  for (const Object& r : *results) {
    absl::StrAppend(&out.text, out.text.empty() ? "" : "; ", Describe(r));
    if (r.tensor() == nullptr) continue;
    for (const double v : values[next].data) absl::StrAppend(&out.text, " ", NumberText(v));
    ++next;
  }
  return out;
}

struct Row {
  const char* source;
  const char* want;
};

void ExpectTexts(std::span<const Row> rows) {
  for (const Row& row : rows) {
    const Outcome got = RunProgram(row.source);
    EXPECT_TRUE(got.status.ok()) << row.source << ": " << got.status;
    EXPECT_EQ(got.text, row.want) << row.source;
  }
}

TEST(Expr, NumbersAreComputedAtOnce) {
  constexpr Row kRows[] = {
      {"1 + 2 * 3", "7"},
      {"-2 ** 2", "-4"},
      {"2 ** 3 ** 2", "512"},
      {"2 ** -1", "0.5"},
      {"7 // 2, -7 // 2, 7 // -2", "3; -4; -4"},
      {"7 % 3, -7 % 3, 7 % -3, 7.5 % 2", "1; 2; -2; 1.5"},
      {"7 / 2, 4 / 2", "3.5; 2"},
      {"1 < 2, 2 <= 1, 1 == 1.0, 1 != 1", "True; False; True; False"},
      {"not 1 < 2 or 3 > 2 and True", "True"},
      {"1 if 2 > 1 else v[99]", "1"},
      {"'a' == 'a', 'a' == 'b', None == None", "True; False; True"},
      {"sqrt(16), exp(0), log(1), abs(-3), max(v) if False else 2", "4; 1; 0; 3; 2"},
      {"max(2, 0.5), min(2, 0.5), max(1, 1)", "2; 0.5; 1"},
      {"maximum(2, 3), minimum(2.5, 3), clip(7, 0, 5)", "3; 2.5; 5"},
      {"x.shape, x.ndim, len(x), size(x), shape(x)[1:]", "a list of 2; 2; 2; 6; a list of 1"},
      {"x.shape[-1] * 2", "6"},
      {"a = 3\nb2 = a * a  # squared\n\nb2 + 1", "10"},
      {"a, c = [1, 2]; a - c", "-1"},
      {"float(3), int(2.9), int(-2.9)", "3; 2; -2"},
      {"len((1, 2, 3)), ([1, 2] + [3])[2]", "3; 3"},
      {".5 + 1e-1 + 2.", "2.6"},
  };
  ExpectTexts(kRows);
}

TEST(Expr, TensorsFollowNumPy) {
  constexpr Row kRows[] = {
      {"x", "f32[2, 3] 0 1 2 3 4 5"},
      {"x + v", "f32[2, 3] 1 3 5 4 6 8"},
      {"x @ v", "f32[2] 8 26"},
      {"v @ v", "f32[] 14"},
      {"v @ x.T", "f32[2] 8 26"},
      {"x[1], x[-1, 0]", "f32[3] 3 4 5; f32[] 3"},
      {"x[:, 1:]", "f32[2, 2] 1 2 4 5"},
      {"x[..., 0], x[::-1, ::2]", "f32[2] 0 3; f32[2, 2] 3 5 0 2"},
      {"x[:, None, 5:]", "f32[2, 1, 0]"},
      {"x[:, ::-2], x[:, 1:0:-1]", "f32[2, 2] 2 0 5 3; f32[2, 1] 1 4"},
      {"sum(x), sum(x, axis=0), sum(x, -1, keepdims=True)", "f32[] 15; f32[3] 3 5 7; f32[2, 1] 3 12"},
      {"x.mean(1), mean(x, dim=[0, 1])", "f32[2] 1 4; f32[] 2.5"},
      {"var(x, 1), std(v * 0)", "f32[2] 0.666667 0.666667; f32[] 0"},
      {"max(x, 0), min(x)", "f32[3] 3 4 5; f32[] 0"},
      {"argmax(x, 1), argmin(x)", "i64[2] 2 2; i64[] 0"},
      {"K.argmax(x), tf.argmax(x), argmax(x, 1, keepdims=True)", "i64[2] 2 2; i64[3] 1 1 1; i64[2, 1] 2 2"},
      {"max(x, dim=1)[0], torch.min(x, 0).indices", "f32[2] 2 5; i64[3] 0 0 0"},
      {"einsum('ij,j->i', x, v), einsum('ij,kj', x, x), einsum('ij->j', x)",
       "f32[2] 8 26; f32[2, 2] 5 14 14 50; f32[3] 3 5 7"},
      {"tensordot(x, x, axes=[[1], [1]]), K.batch_dot(x, x)", "f32[2, 2] 5 14 14 50; f32[2, 1] 5 50"},
      {"sort(-v), topk(v, 2)[0], topk(v, 1).indices, argsort(-v)",
       "f32[3] -3 -2 -1; f32[2] 3 2; i64[1] 2; i64[3] 2 1 0"},
      {"trace(x[:, :2]), diag_part(x), outer(v, v)[1], linear(x, x)",
       "f32[] 4; f32[2] 0 4; f32[3] 2 4 6; f32[2, 2] 5 14 14 50"},
      {"pad(v, [[1, 1]], mode='REFLECT'), pad(v, [[2, 1]], mode='symmetric')", "f32[5] 2 1 2 3 2; f32[6] 2 1 1 2 3 3"},
      {"pad(v, (1, 1), 'replicate'), pad(v, (1, 1), mode='circular')", "f32[5] 1 1 2 3 3; f32[5] 3 1 2 3 1"},
      {"atan2(v, -v), atan2(v * 0, v), add(v, v, alpha=2)",
       "f32[3] 2.35619 2.35619 2.35619; f32[3] 0 0 0; f32[3] 3 6 9"},
      {"div(-v, 2, rounding_mode='floor'), div(-v, 2, rounding_mode='trunc'), frac(v / 2)",
       "f32[3] -1 -1 -2; f32[3] 0 -1 -1; f32[3] 0.5 0 0.5"},
      {"K.flatten(x), torch.flatten(x, 1), slice(x, [0, 1], [-1, 2])",
       "f32[6] 0 1 2 3 4 5; f32[2, 3] 0 1 2 3 4 5; f32[2, 2] 1 2 4 5"},
      {"F.mse_loss(x, v), F.l1_loss(x, v, reduction='sum'), tf.keras.losses.mse(v, x)",
       "f32[] 2.5; f32[] 9; f32[2] 1 4"},
      {"K.binary_crossentropy(v - v, v * 0 + 0.5), tf.losses.binary_crossentropy(v - v, v * 0 + 0.5)",
       "f32[3] 0.693147 0.693147 0.693147; f32[] 0.693147"},
      {"F.cross_entropy(x, constant([2, 2])), F.huber_loss(x, v), F.kl_div(v - v, v)",
       "f32[] 0.407606; f32[] 1; f32[] 1.56071"},
      {"where(x > 2, x, -1)", "f32[2, 3] -1 -1 -1 3 4 5"},
      {"clip(x, 1, 3)", "f32[2, 3] 1 1 2 3 3 3"},
      {"relu(x - 3), x * (x > 3)", "f32[2, 3] 0 0 0 0 1 2; f32[2, 3] 0 0 0 0 4 5"},
      {"reshape(x, [3, -1]), x.flatten()", "f32[3, 2] 0 1 2 3 4 5; f32[2, 3] 0 1 2 3 4 5"},
      {"transpose(x), permute(x, (1, 0))", "f32[3, 2] 0 3 1 4 2 5; f32[3, 2] 0 3 1 4 2 5"},
      {"concat([x, x], axis=1)", "f32[2, 6] 0 1 2 0 1 2 3 4 5 3 4 5"},
      {"stack([v, v]), split(x, 3, axis=1)[2]", "f32[2, 3] 1 2 3 1 2 3; f32[2, 1] 2 5"},
      {"xs[0] * xs[1]", "f32[2, 3] 0 2 8 18 32 50"},
      {"p, q = xs; q - p", "f32[2, 3] 0 1 2 3 4 5"},
      {"zeros([2]), ones([1, 2]), full([2], 7), eye(2)", "f32[2] 0 0; f32[1, 2] 1 1; i64[2] 7 7; f32[2, 2] 1 0 0 1"},
      {"arange(3) * 2, one_hot(constant([1, 0]), 2)", "i64[3] 0 2 4; f32[2, 2] 0 1 1 0"},
      {"gather(x, constant([1, 1]))[0], x[constant([0])]", "f32[3] 3 4 5; f32[1, 3] 0 1 2"},
      {"pick(x, constant([2, 0]))", "f32[2] 2 3"},
      {"pad(v, [[1, 0]]), reverse(v, 0)", "f32[4] 0 1 2 3; f32[3] 3 2 1"},
      {"expand_dims(v, 0), squeeze(v[None]), broadcast_to(v, [2, 3])[1]",
       "f32[1, 3] 1 2 3; f32[3] 1 2 3; f32[3] 1 2 3"},
      {"tf.math.square(v), torch.abs(-v), K.sum(v)", "f32[3] 1 4 9; f32[3] 1 2 3; f32[] 6"},
      {"any(x > 4), all(x > 4, axis=0)", "bool[] 1; bool[3] 0 0 0"},
      {"softmax(v * 0)", "f32[3] 0.333333 0.333333 0.333333"},
      {"logsumexp(v * 0 + 1000) - 1000 - log(3) < 1e-6", "bool[] 1"},
      {"x ** 2, 2 ** v, x ** 0", "f32[2, 3] 0 1 4 9 16 25; f32[3] 2 4 8; f32[2, 3] 1 1 1 1 1 1"},
      {"round(v * 0.5), round(-v * 0.5), trunc(-v * 0.5)", "f32[3] 0 1 2; f32[3] 0 -1 -2; f32[3] 0 -1 -1"},
      {"sinh(x[0]), cosh(x[0])", "f32[3] 0 1.1752 3.62686; f32[3] 1 1.54308 3.7622"},
      {"sin(x), cos(x)",
       "f32[2, 3] 0 0.841471 0.909297 0.14112 -0.756802 -0.958924; f32[2, 3] 1 0.540302 -0.416147 -0.989992 -0.653644 "
       "0.283662"},
      {"max(abs(sin(x * 30 - 70) ** 2 + cos(x * 30 - 70) ** 2 - 1)) < 1e-7", "bool[] 1"},
      {"logaddexp(v, v) - v", "f32[3] 0.693147 0.693147 0.693147"},
      {"v ^ 3", "f32[3] 1 8 27"},
      {"norm(v * 0 + 2), isfinite(v / 0)", "f32[] 3.4641; bool[3] 0 0 0"},
      {"norm(v, 1), norm(x, 2, 1), norm(x, inf, axis=0, keepdims=True)",
       "f32[] 6; f32[2] 2.23607 7.07107; f32[1, 3] 3 4 5"},
      {"prod(v), prod(x + 1, 0), reduce_prod(x + 1, [0, 1], keepdims=True)", "f32[] 6; f32[3] 4 10 18; f32[1, 1] 720"},
      {"cumsum(x, 1), x.cumsum(0)", "f32[2, 3] 0 1 3 3 7 12; f32[2, 3] 0 1 2 3 5 7"},
      {"cumprod(v), cumsum(v, 0, True), cumsum(v, reverse=True)", "f32[3] 1 2 6; f32[3] 0 1 3; f32[3] 6 5 3"},
      {"tile(v, [2]), tile(x[:, :1], [1, 2])", "f32[6] 1 2 3 1 2 3; f32[2, 2] 0 0 3 3"},
      {"repeat(v, 2), repeat(x, 2, axis=0)[1], x.repeat(1, 2)[0]",
       "f32[6] 1 1 2 2 3 3; f32[3] 0 1 2; f32[6] 0 1 2 0 1 2"},
      {"roll(v, 1), roll(x, [1, -1], [0, 1])", "f32[3] 3 1 2; f32[2, 3] 4 5 3 1 2 0"},
      {"split(x, [1, 2], axis=1)[1], chunk(v, 2)[1], unstack(x, axis=1)[2]", "f32[2, 2] 1 2 4 5; f32[1] 3; f32[2] 2 5"},
      {"gather(x, [2, 0], axis=1), index_select(x, 0, [1])", "f32[2, 2] 2 0 5 3; f32[1, 3] 3 4 5"},
      {"gather(x, 1, axis=1), x.select(1, -1), narrow(x, 1, 1, 2)", "f32[2] 1 4; f32[2] 2 5; f32[2, 2] 1 2 4 5"},
      {"tril(x), triu(x, 1), band_part(x, 0, 0)",
       "f32[2, 3] 0 0 0 3 4 0; f32[2, 3] 0 1 2 0 0 5; f32[2, 3] 0 0 0 0 4 0"},
      {"x.reshape(3, 2).size(0), x.size(), x.view(-1, 2).permute(1, 0).shape", "3; a list of 2; a list of 2"},
      {"x.transpose(0, 1), matmul(x, x, transpose_b=True)", "f32[3, 2] 0 3 1 4 2 5; f32[2, 2] 5 14 14 50"},
      {"pad(x, (1, 0)), pad(v, (0, 1), value=9)", "f32[2, 4] 0 0 1 2 0 3 4 5; f32[4] 1 2 3 9"},
      {"x[:1].expand(2, -1), v[tf.newaxis]", "f32[2, 3] 0 1 2 0 1 2; f32[1, 3] 1 2 3"},
      {"arange(1, 6, 2), arange(3.), linspace(0, 1, 3)", "i64[3] 1 3 5; f32[3] 0 1 2; f32[3] 0 0.5 1"},
      {"atan(v), asin(v / 3), acos(-v / 4)",
       "f32[3] 0.785398 1.10715 1.24905; f32[3] 0.339837 0.729728 1.5708; f32[3] 1.82348 2.0944 2.41886"},
      {"atan(-v * 1e12), asinh(-v), acosh(v), atanh(v / 4)",
       "f32[3] -1.5708 -1.5708 -1.5708; f32[3] -0.881374 -1.44364 -1.81845; f32[3] 0 1.31696 1.76275; f32[3] 0.255413 "
       "0.549306 0.972955"},
      {"tan(v), erfc(v), logit(v / 4)",
       "f32[3] 1.55741 -2.18504 -0.142547; f32[3] 0.157299 0.00467773 2.20905e-05; f32[3] -1.09861 0 1.09861"},
      {"divide_no_nan(v, v - 2), xlogy(x[0], x[0])", "f32[3] -1 0 3; f32[3] 0 0 1.38629"},
      {"fmod(-v, 2), mod(-v, 2), squared_difference(v, 3)", "f32[3] -1 0 -1; f32[3] 1 0 1; f32[3] 4 1 0"},
      {"relu6(v * 3), hard_sigmoid(v), hardsigmoid(v)", "f32[3] 3 6 6; f32[3] 0.7 0.9 1; f32[3] 0.666667 0.833333 1"},
      {"relu(v, max_value=2), relu(v - 2, alpha=0.5), relu(v, threshold=1.5)",
       "f32[3] 1 2 2; f32[3] -0.5 0 1; f32[3] 0 2 3"},
      {"softshrink(v, 1), hardshrink(v, 1), hardtanh(v, 0, 2)", "f32[3] 0 1 2; f32[3] 0 2 3; f32[3] 1 2 2"},
      {"l2_normalize(x, 1)[1] * 5 * sqrt(2), normalize(x)[0] * sqrt(5)", "f32[3] 3 4 5; f32[3] 0 1 2"},
      {"masked_fill(x, x > 2, -1), add_n([v, v]), lerp(v, v * 2, 0.5)",
       "f32[2, 3] 0 1 2 -1 -1 -1; f32[3] 2 4 6; f32[3] 1.5 3 4.5"},
      {"leaky_relu(-v), softplus(v * 0, beta=2), selu(v)",
       "f32[3] -0.2 -0.4 -0.6; f32[3] 0.346574 0.346574 0.346574; f32[3] 1.0507 2.1014 3.1521"},
      {"cast(x, tf.int32), epsilon(), std(v, unbiased=True)", "i32[2, 3] 0 1 2 3 4 5; 1e-07; f32[] 1"},
  };
  ExpectTexts(kRows);
}

// Of equal elements PyTorch's max(x, dim) has the first, amax and Keras' all of them.
TEST(Expr, GradientsOfEqualExtrema) {
  const auto gradient = [](bool pytorch, const char* source) {
    Graph g;
    Environment environment;
    environment.pytorch = pytorch;
    const Value x = g.AddInput("x", DType::kF32, {2, 3});
    environment.names["x"] = x;
    Evaluator evaluator(&g, environment);
    const auto results = evaluator.Run(*Parse(source));
    EXPECT_TRUE(results.ok()) << results.status();
    const Value d = Gradients(SumAll(*results->at(0).tensor()), std::span(&x, 1))[0];
    g.MarkOutput("dx", d);
    EXPECT_TRUE(g.ok()) << g.status();
    const RefTensor input[] = {{{2, 3}, {1, 4, 4, 2, 2, 2}}};
    return EvaluateReference(g, input)[0].data;
  };
  using Row = std::vector<double>;
  const double third = 1.0 / 3;
  EXPECT_EQ(gradient(true, "max(x, dim=1)[0]"), (Row{0, 1, 0, 1, 0, 0}));
  EXPECT_EQ(gradient(true, "x.min(1).values"), (Row{1, 0, 0, 1, 0, 0}));
  EXPECT_EQ(gradient(true, "amax(x, dim=1)"), (Row{0, 0.5, 0.5, third, third, third}));
  EXPECT_EQ(gradient(false, "tf.reduce_max(x, axis=1)"), (Row{0, 0.5, 0.5, third, third, third}));
}

TEST(Expr, TypesAreKept) {
  constexpr Row kRows[] = {
      {"i ** 2", "i32[2, 3] 0 1 4 9 16 25"},
      {"i * 2 + 1", "i32[2, 3] 1 3 5 7 9 11"},
      {"-i, abs(i - 3), sign(i - 1)", "i32[2, 3] 0 -1 -2 -3 -4 -5; i32[2, 3] 3 2 1 0 1 2; i32[2, 3] -1 0 1 1 1 1"},
      {"i // 2, i % 2", "i32[2, 3] 0 0 1 1 2 2; i32[2, 3] 0 1 0 1 0 1"},
      {"(i - 5) // 2, (i - 5) % 3", "i32[2, 3] -3 -2 -2 -1 -1 0; i32[2, 3] 1 2 0 1 2 0"},
      {"i / 2", "f32[2, 3] 0 0.5 1 1.5 2 2.5"},
      {"i * 0.5, i + x", "f32[2, 3] 0 0.5 1 1.5 2 2.5; f32[2, 3] 0 2 4 6 8 10"},
      {"sum(i), max(i), mean(i)", "i32[] 15; i32[] 5; f32[] 2.5"},
      {"sum(b), b + b, b * 2", "i64[] 3; i64[2, 3] 0 0 0 2 2 2; i64[2, 3] 0 0 0 2 2 2"},
      {"b & (i > 3), (i < 1) | b, ~b", "bool[2, 3] 0 0 0 0 1 1; bool[2, 3] 1 0 0 1 1 1; bool[2, 3] 1 1 1 0 0 0"},
      {"b and i > 3, not b", "bool[2, 3] 0 0 0 0 1 1; bool[2, 3] 1 1 1 0 0 0"},
      {"cast(x + 0.7, 'int32'), cast(i, 'bool')", "i32[2, 3] 0 1 2 3 4 5; bool[2, 3] 0 1 1 1 1 1"},
      {"maximum(i, 2), clip(i, 1, 3)", "i32[2, 3] 2 2 2 3 4 5; i32[2, 3] 1 1 2 3 3 3"},
      {"where(b, i, 0), i == 3", "i32[2, 3] 0 0 0 3 4 5; bool[2, 3] 0 0 0 1 0 0"},
      {"exp(i * 0)", "f32[2, 3] 1 1 1 1 1 1"},
      {"i + cast(i, 'int64')", "i64[2, 3] 0 2 4 6 8 10"},
      {"cast(i, 'uint8') + cast(i, 'int8')", "i16[2, 3] 0 2 4 6 8 10"},
  };
  ExpectTexts(kRows);
}

TEST(Expr, ErrorsHaveTheirPlace) {
  constexpr Row kRows[] = {
      {"", "1:1: the last line must be the result, got the end"},
      {"a = 1", "1:6: the last line must be the result, got the end"},
      {"x\nx", "1:1: only the last line may be without \"=\", got one before \"x\""},
      {"x +", "1:4: must be a value, got the end"},
      {"x $ 2", "1:3: no such symbol, got \"$\""},
      {"x {", "1:3: must be an operator or the end of the line, got \"{\""},
      {"(x", "1:3: must be \")\", got the end"},
      {"x[", "1:3: must be a value, got the end"},
      {"x[]", "1:3: must be an index, got \"]\""},
      {"'abc", "1:1: a string must end on its line, got none"},
      {"2x", "1:2: must be an operator, got \"x\""},
      {"99999999999999999999", "1:1: must be a number that fits 64 bits, got 99999999999999999999"},
      {"1 < 2 < 3", "1:7: a comparison must not follow another, got \"<\""},
      {"x if b", "1:7: must be \"else\", got the end"},
      {"for k in x: k", "1:1: must be a value, got \"for\""},
      {"if = 3\nx", "1:1: must be a name of your own, got \"if\""},
      {"clip(x, min=1, 2)", "1:16: an argument without a name must not follow one with a name, got \"2\""},
      {"\n  nope + x", "2:3: no such name, got \"nope\""},
      {"open('file')", "1:1: no such function, got \"open\""},
      {"x.__class__", "1:3: no such attribute, got \"__class__\""},
      {"exp + 1", "1:1: a function must be called, got \"exp\""},
      {"exp()", "1:1: exp() must get \"x\", got nothing"},
      {"exp(x, x)", "1:1: exp() takes at most 1 arguments, got 2"},
      {"sum(x, axes=1)", "1:1: sum() has no argument \"axes\""},
      {"sum(x, 1, axis=1)", "1:1: sum() must get \"axis\" once, got two"},
      {"y = x\ny + v[:2]", "2:3: shapes: must broadcast, got [2, 3] and [2]"},
      {"x @ x", "1:3: \"@\" must join axes of one size, got f32[2, 3] and f32[2, 3]"},
      {"x[2]", "1:3: an index of axis 0 must be between -2 and 1, got 2"},
      {"x[0, 0, 0]", "1:2: must have at most 2 indices for f32[2, 3], got 3"},
      {"x[0.5]", "1:3: an index must be an integer, got 0.5"},
      {"sum(x, 2)", "1:1: sum(): axis must be between -2 and 1, got 2"},
      {"reshape(x, [4, -1])", "1:1: reshape(): [2, 3] does not reshape to [4, ?]"},
      {"max(x, v)", "1:1: max(): axis must be an integer (maximum() and minimum() compare two tensors), got f32[3]"},
      {"x if b else v", "1:3: the condition must be known before the run (use where() for tensors), got bool[2, 3]"},
      {"i ** -1", "1:3: the power of an integer must be >= 0, got -1"},
      {"i + 5000000000", "1:3: must fit the other operand's type i32, got 5000000000"},
      {"9223372036854775807 + 1", "1:21: must fit 64 bits, got an overflow of \"+\""},
      {"10 ** 30", "1:4: must fit 64 bits, got an overflow of \"**\""},
      {"1 // 0", "1:3: the divisor must not be 0"},
      {"x + 'a'", "1:3: \"+\" must stand between numbers or tensors, got f32[2, 3] and 'a'"},
      {"cast(x, 'complex')", "1:1: cast(): dtype must be the name of a type, got 'complex'"},
      {"a, c = [1, 2, 3]\na", "1:1: must be a list of 2, one for each name, got a list of 3"},
      {"random_uniform([2])", "1:1: random numbers have no place here"},
      {"max(x, dim=1)[2]", "1:1: max() gives a pair; its index must be 0 or 1"},
      {"x.min(1)[3]", "1:3: min() gives a pair; its index must be 0 or 1"},
      {"i & 1", "1:3: \"&\" must stand between truth values, got i32[2, 3] and 1"},
      {"~x", "1:1: \"~\" must stand before truth values, got f32[2, 3]"},
      {"norm(x, -1)", "1:1: norm(): ord must be > 0, got -1"},
      {"tile(x, [2])", "1:1: tile(): must have a number for each axis of f32[2, 3], got 1"},
      {"tile(x, [10000, 100000])", "1:1: tile(): must have at most 1073741824 elements, got more"},
      {"split(x, [1, 1], 1)", "1:1: split(): sizes must add up to axis 1 of f32[2, 3], got 2"},
      {"pad(x, [[0, 0], [1, 1]], mode='wrap')",
       "1:1: pad(): mode must be one of constant, reflect, symmetric, replicate, circular, got 'wrap'"},
      {"pad(x, [[2, 0], [0, 0]], mode='reflect')",
       "1:1: pad(): paddings of mode reflect must be from 0 to 1, got 2 and 0"},
  };
  for (const Row& row : kRows) {
    const Outcome got = RunProgram(row.source);
    EXPECT_EQ(got.status.code(), absl::StatusCode::kInvalidArgument) << row.source;
    EXPECT_EQ(got.status.message(), row.want) << row.source;
  }
}

std::string Repeat(const std::string& text, int n) {
  std::string all;
  for (int i = 0; i < n; ++i) all += text;
  return all;
}

TEST(Expr, NothingGrowsWithoutBound) {
  std::string doubled = "a = x\n", lists = "a = [1]\n", products = "a = v[:, None]\n";
  for (int i = 0; i < 70; ++i) {
    doubled += "a = concat([a, a])\n";
    lists += "a = a + a\n";
    products += "a = reshape(a, [-1, 1]) * reshape(a, [1, -1])\n";
  }
  const struct {
    std::string source, want;
  } kRows[] = {
      {std::string(20000, ' ') + "x", "must have at most 16384 bytes"},
      {Repeat("(", 2000) + "x" + Repeat(")", 2000), "must be nested at most 100 deep"},
      {Repeat("-", 2000) + "x", "must be nested at most 100 deep"},
      {Repeat("not ", 2000) + "b", "must be nested at most 100 deep"},
      {absl::StrCat("x", Repeat("**2", 2000)), "must be nested at most 100 deep"},
      {absl::StrCat("x", Repeat("+x", 2000)), "must be nested at most 100 deep"},
      {absl::StrCat("x", Repeat("[0]", 2000)), "must be nested at most 100 deep"},
      {Repeat("a = x * x\n", 1600) + "a", "must have at most 4096 operations and values"},
      {doubled + "a", "must have at most 1073741824 elements"},
      {products + "a", "must have at most 1073741824 elements"},
      {lists + "a", "a list must have at most 1024 items"},
      {"zeros([100000, 100000])", "must have at most 1073741824 elements"},
      {"broadcast_to(x[0, 0], [4611686018427387904, 4])", "must have at most 1073741824 elements"},
      {"one_hot(arange(1000000), 1000000)", "must have at most 1073741824 elements"},
      {"arange(1000000)[:, None, None] + arange(1000000)[None, :, None]", "must have at most 1073741824 elements"},
      {"x[None, None, None, None, None, None, None]", "must have at most 8 axes"},
      {absl::StrCat("a = broadcast_to(v[:, None], [3, 1024])\n", Repeat("c = split(a, 1024, 1)\n", 30), "a"),
       "must need at most 20000 operations"},
      {"pad(v, [[9000000000000000000, 0]])", "paddings must be pairs of integers"},
  };
  for (const auto& row : kRows) {
    const Outcome got = RunProgram(row.source);
    EXPECT_EQ(got.status.code(), absl::StatusCode::kInvalidArgument) << row.source.substr(0, 60);
    EXPECT_NE(got.status.message().find(row.want), std::string::npos) << row.source.substr(0, 60) << got.status;
  }
}

TEST(Expr, RowsOfABatch) {
  const struct {
    const char* source;
    bool independent;
  } kRows[] = {
      {"x", true},
      {"x * 2 + v", true},
      {"x @ reshape(v, [3, 1])", true},
      {"softmax(x, 1)", true},
      {"softmax(x, 0)", false},
      {"x - mean(x)", false},
      {"x - mean(x, axis=1, keepdims=True)", true},
      {"x - mean(x, axis=0)", false},
      {"x[::-1]", false},
      {"x[:, ::-1]", true},
      {"x[0]", false},
      {"x.T", false},
      {"x.T.T", true},
      {"x.T @ x", false},
      {"x @ x.T", false},
      {"sum(x, 1)", true},
      {"sum(x)", false},
      {"concat([x, x])", false},
      {"concat([x, x * 2], axis=1)", true},
      {"reshape(x, [-1, 1, 3])", true},
      {"reshape(x, [x.shape[0], 3, 1])", true},
      {"reshape(x, [1, -1])", false},
      {"x / x.shape[0]", false},
      {"x / x.shape[1]", true},
      {"x + arange(x.shape[0])[:, None]", false},
      {"x * zeros([x.shape[0], 1])", true},
      {"v", false},
      {"x, v", false},
      {"pad(x, [[0, 0], [1, 1]])", true},
      {"pad(x, [[1, 0], [0, 0]])", false},
      {"x[0] + x", false},
      {"gather(x, constant([0, 1]))", false},
      {"where(x > 0, x, x * v)", true},
      {"x if x.shape[0] > 4 else -x", false},
  };
  Graph g;
  Environment environment;
  environment.names["x"] = g.AddInput("x", DType::kF32, {2, 3});
  environment.names["v"] = g.AddInput("v", DType::kF32, {3});
  for (const auto& row : kRows) {
    const auto program = Parse(row.source);
    ASSERT_TRUE(program.ok()) << row.source << program.status();
    EXPECT_EQ(RowsIndependent(*program, environment, {"x"}), row.independent) << row.source;
  }
}

TEST(Expr, TheHostEvaluatesSchedules) {
  Environment environment;
  environment.names["epoch"] = Number::Int(3);
  const auto node = ParseExpression("0.9 ** epoch");
  ASSERT_TRUE(node.ok());
  const auto value = Evaluator(nullptr, environment).Evaluate(*node);
  ASSERT_TRUE(value.ok()) << value.status();
  EXPECT_DOUBLE_EQ(value->number()->AsDouble(), std::pow(0.9, 3));
  const auto tensor = ParseExpression("zeros([2])");
  EXPECT_EQ(Evaluator(nullptr, {}).Evaluate(*tensor).status().message(),
            "1:1: zeros(): must be a number, got a tensor");
}

TEST(Expr, TheReadmeListsEveryFunction) {
  std::ifstream file(std::string(STRATA_SOURCE_DIR) + "/engine/expr/README.md");
  std::stringstream text;
  text << file.rdbuf();
  for (const std::string& name : FunctionNames()) {
    EXPECT_NE(text.str().find(absl::StrCat("`", name, "`")), std::string::npos) << name;
  }
}

}  // namespace
}  // namespace strata::expr
