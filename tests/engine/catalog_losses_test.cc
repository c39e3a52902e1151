// Every loss, three samples or more each: the numbered properties of catalog_test.cc.
#include <gtest/gtest.h>

#include <cmath>

#include "absl/strings/str_cat.h"
#include "engine/autodiff/gradients.h"
#include "tests/engine/catalog_values_support.h"

namespace strata::nn {
namespace {

const std::vector<Part>& LossParts() {
  using D = Draw;
  const std::vector<Part::Sample> plain = {{"", {3, 5}}, {"reduction: SUM", {1, 1}}, {"reduction: NONE", {2, 3, 4}}};
  static const std::vector<Part>& parts = *new std::vector<Part>{
      {"mean_squared_error", D::kReal, D::kReal, plain},
      {"mean_absolute_error", D::kReal, D::kReal, plain},
      {"smooth_l1", D::kReal, D::kReal, {{"", {3, 5}}, {"beta: 0.3", {1, 1}}, {"beta: 2 reduction: SUM", {2, 3, 4}}}},
      {"huber", D::kReal, D::kReal, {{"", {3, 5}}, {"delta: 0.3", {1, 1}}, {"delta: 2 reduction: SUM", {2, 3, 4}}}},
      {"binary_cross_entropy_probabilities",
       D::kUnit,
       D::kUnit,
       {{"", {3, 5}}, {"reduction: SUM", {1, 1}}, {"weight { values: [1, 2, 3] }", {2, 3}}}},
      {"binary_cross_entropy_logits",
       D::kReal,
       D::kUnit,
       {{"", {3, 5}}, {"reduction: SUM", {1, 1}}, {"pos_weight { values: [1, 2, 3] }", {2, 3}}}},
      {"binary_crossentropy",
       D::kUnit,
       D::kBinary,
       {{"", {3, 5}}, {"label_smoothing: 0.2", {1, 1}}, {"axis: 1 from_logits: true", {2, 3, 4}}}},
      {"cross_entropy",
       D::kReal,
       D::kClass,
       {{"", {3, 5}, {3}},
        {"label_smoothing: 0.1", {1, 3}, {1}},
        {"weight { values: [1, 2, 0.5] } reduction: SUM", {2, 3, 4}, {2, 4}}}},
      {"negative_log_likelihood",
       D::kLogDistribution,
       D::kClass,
       {{"", {3, 5}, {3}},
        {"reduction: SUM", {1, 3}, {1}},
        {"weight { values: [1, 2, 0.5] } ignore_index: 1", {2, 3, 4}, {2, 4}}}},
      {"categorical_crossentropy",
       D::kDistribution,
       D::kOneHot,
       {{"", {3, 5}}, {"label_smoothing: 0.2", {1, 2}}, {"from_logits: true reduction: NONE", {2, 3, 4}}}},
      {"sparse_categorical_crossentropy",
       D::kDistribution,
       D::kClass,
       {{"", {3, 5}, {3}}, {"from_logits: true", {1, 2}, {1, 1}}, {"ignore_class: 1", {2, 3, 4}, {2, 3}}}},
      {"mean_squared_logarithmic_error", D::kPositive, D::kPositive, plain},
      {"log_cosh", D::kReal, D::kReal, plain},
      {"binary_focal_crossentropy",
       D::kUnit,
       D::kBinary,
       {{"", {3, 5}},
        {"gamma: 1.5 label_smoothing: 0.2", {1, 1}},
        {"from_logits: true apply_class_balancing: true", {2, 3, 4}}}},
      {"focal", D::kUnit, D::kBinary, {{"", {3, 5}}, {"gamma: 1.5", {1, 1}}, {"alpha: 0.4 reduction: SUM", {2, 3, 4}}}},
      {"mean_absolute_percentage_error", D::kReal, D::kPositive, plain},
      {"hinge", D::kReal, D::kSign, plain},
      {"squared_hinge", D::kReal, D::kSign, plain},
      {"categorical_hinge",
       D::kReal,
       D::kOneHot,
       {{"", {3, 5}}, {"reduction: SUM", {1, 2}}, {"reduction: NONE", {2, 3, 4}}}},
      {"kl_divergence",
       D::kDistribution,
       D::kDistribution,
       {{"", {3, 5}}, {"reduction: SUM", {1, 2}}, {"reduction: NONE", {2, 3, 4}}}},
      {"poisson", D::kPositive, D::kPositive, plain},
      {"cosine_similarity", D::kReal, D::kReal, {{"", {3, 5}}, {"reduction: SUM", {1, 2}}, {"axis: 1", {2, 3, 4}}}},
      {"poisson_nll",
       D::kPositive,
       D::kPositive,
       {{"", {3, 5}}, {"log_input: false", {1, 1}}, {"full: true reduction: SUM", {2, 3, 4}}}},
      {"hinge_embedding", D::kReal, D::kSign, {{"", {3, 5}}, {"margin: 3", {1, 1}}, {"reduction: SUM", {2, 3, 4}}}},
      {"kl_div",
       D::kLogDistribution,
       D::kDistribution,
       {{"", {3, 5}}, {"reduction: BATCH_MEAN", {1, 2}}, {"reduction: SUM", {2, 3, 4}}}},
      {"margin_ranking", D::kReal, D::kSign, {{"", {3, 5}}, {"margin: 2.1", {1, 1}}, {"reduction: SUM", {4}}}, 2},
      {"multi_label_margin",
       D::kReal,
       D::kList,
       {{"", {3, 5}}, {"reduction: SUM", {1, 3}}, {"reduction: NONE", {2, 4}}}},
      {"soft_margin", D::kReal, D::kSign, plain},
      {"multi_label_soft_margin",
       D::kReal,
       D::kBinary,
       {{"", {3, 5}}, {"weight { values: [1, 2] }", {1, 2}}, {"reduction: SUM", {2, 4}}}},
      {"cosine_embedding",
       D::kReal,
       D::kSign,
       {{"", {3, 5}, {3}}, {"margin: 0.2", {5, 2}, {5}}, {"reduction: SUM", {2, 4}, {2}}},
       2},
      {"multi_margin",
       D::kReal,
       D::kClass,
       {{"", {3, 5}, {3}}, {"p: 2 margin: 0.5", {1, 3}, {1}}, {"weight { values: [1, 2, 3, 4] }", {2, 4}, {2}}}},
      {"triplet_margin", D::kReal, D::kNone, {{"", {3, 5}}, {"p: 1 swap: true", {4, 2}}, {"margin: 3", {1, 7}}}, 3},
      {"ctc",
       D::kLogDistribution,
       D::kClass,
       {{"", {5, 2, 3}, {2, 2}}, {"reduction: SUM", {4, 1, 4}, {1, 1}}, {"reduction: NONE", {7, 3, 3}, {3, 2}}}},
      {"adaptive_log_softmax",
       D::kReal,
       D::kClass,
       {{"in_features: 5 n_classes: 5 cutoffs: 2", {3, 5}, {3}},
        {"in_features: 4 n_classes: 4 cutoffs: 1 cutoffs: 3 div_value: 2 head_bias: true", {1, 4}, {1}},
        {"in_features: 7 n_classes: 7 cutoffs: 4 cutoffs: 5", {2, 7}, {2}}}},
      {"custom",
       D::kReal,
       D::kReal,
       {{"definition { name: 'A' kind: LOSS body: 'mean((y_pred - y_true) ^ 2, -1)' }", {3, 5}},
        {"definition { name: 'B' kind: LOSS body: 'mean(exp(y_pred) * y_true)' }", {1, 1}},
        {"definition { name: 'C' kind: LOSS body: 'sum(sigmoid(y_pred) * y_true, -1)' } reduction: SUM", {2, 3, 4}}}},
  };
  return parts;
}

class LossCatalogTest : public ::testing::TestWithParam<Case> {};

TEST_P(LossCatalogTest, PlanGradientsAndJson) {
  const Case& c = GetParam();
  v1::Loss loss;
  ASSERT_TRUE(Read(c, &loss).ok());
  ExpectSurvivesJson(c.dialect, loss);
  Built b(c);
  Scope s = b.MakeScope(c.dialect);
  const Value total = SumAll(BuildLoss(s, loss, b.args));
  ASSERT_TRUE(b.graph.ok()) << b.graph.status();
  b.graph.MarkOutput("loss", total);
  std::vector<Value> wrt = b.predictions;
  for (const ParamSpec& p : b.collected.params) wrt.push_back(p.value);
  const std::vector<Value> gradients = Gradients(total, wrt);
  for (size_t i = 0; i < wrt.size(); ++i) {
    b.graph.MarkOutput(absl::StrCat("gradient", i), gradients[i] ? gradients[i] : Full(&b.graph, 0, wrt[i].shape()));
  }
  b.DrawVariables();
  ASSERT_NO_FATAL_FAILURE(ExpectPlanEqualsReference(b.graph, b.numbers));
  // The gradient is that of the logits before a log_softmax, as PyTorch's is: no difference shows it.
  if (loss.has_ctc()) return;
  ExpectGradientsEqualDifferences(b.graph, b.numbers, b.predictions.size());
}

// A batch gives the values of its rows, one after the other.
TEST_P(LossCatalogTest, RowsAreIndependent) {
  const Case& c = GetParam();
  v1::Loss loss;
  ASSERT_TRUE(Read(c, &loss).ok());
  google::protobuf::Message* m = loss.GetReflection()->MutableMessage(&loss, KindOf(loss));
  const auto* reduction = m->GetDescriptor()->FindFieldByName("reduction");
  if (reduction == nullptr || loss.has_ctc()) return;
  m->GetReflection()->SetEnumValue(m, reduction, v1::NONE);
  const auto values = [&](Built* b) -> std::vector<double> {
    Scope s = b->MakeScope(c.dialect);
    const Value v = BuildLoss(s, loss, b->args);
    EXPECT_TRUE(b->graph.ok()) << b->graph.status();
    b->graph.MarkOutput("values", v);
    return RunExact(b->graph, ToRefs(b->numbers.inputs), {})[0].data;
  };
  Built whole(c);
  const std::vector<double> all = values(&whole);
  const int64_t rows = c.sample->prediction[0];
  // A loss of one number for the batch has no rows.
  if (all.size() % static_cast<size_t>(rows) != 0 || (all.size() == 1 && rows > 1)) return;
  const size_t size = all.size() / static_cast<size_t>(rows);
  for (int64_t row = 0; row < rows; ++row) {
    Built one(c, row, 1);
    const std::vector<double> got = values(&one);
    ASSERT_EQ(got.size(), size);
    for (size_t i = 0; i < size; ++i) EXPECT_NEAR(got[i], all[row * size + i], 1e-9) << "row " << row;
  }
}

INSTANTIATE_TEST_SUITE_P(Losses, LossCatalogTest, ::testing::ValuesIn(CasesOf<v1::Loss>(LossParts())), NameOf);

TEST(LossCatalog, EveryLossHasSamplesAndRanges) { ExpectComplete<v1::Loss>(LossParts()); }

}  // namespace
}  // namespace strata::nn
