// Every metric, three samples or more each: the numbered properties of catalog_test.cc.
#include <gtest/gtest.h>

#include <cmath>
#include <deque>

#include "absl/strings/str_cat.h"
#include "engine/nn/metrics/metric.h"
#include "engine/ops/ops.h"
#include "engine/ops/reference.h"
#include "tests/engine/catalog_values_support.h"

namespace strata::nn {
namespace {

// Samples of a metric that needs a rate named `field`.
std::vector<Part::Sample> AtRates(const std::string& field) {
  static std::deque<std::string>& texts = *new std::deque<std::string>;
  std::vector<Part::Sample> samples;
  for (const auto& [attrs, shape] : {std::pair<const char*, Shape>{"", {3, 5}},
                                     {"num_thresholds: 7", {1, 1}},
                                     {"num_thresholds: 1 class_id: 1", {7, 2}}}) {
    texts.push_back(absl::StrCat(field, ": 0.5 ", attrs));
    samples.push_back({texts.back().c_str(), shape});
  }
  return samples;
}

const std::vector<Part>& MetricParts() {
  using D = Draw;
  const std::vector<Part::Sample> plain = {{"", {3, 5}}, {"", {1, 1}}, {"", {2, 3, 4}}};
  const std::vector<Part::Sample> classes = {{"", {3, 5}}, {"", {1, 2}}, {"", {2, 3, 4}}};
  const std::vector<Part::Sample> binary = {{"", {3, 5}}, {"threshold: 0.2", {1, 1}}, {"", {7, 1}, {7}}};
  static const std::vector<Part>& parts = *new std::vector<Part>{
      {"accuracy", D::kReal, D::kClass, {{"", {3, 5}, {3}}, {"", {1, 2}, {1, 1}}, {"", {2, 3, 4}, {2, 3}}}},
      {"binary_accuracy", D::kUnit, D::kBinary, {{"", {3, 5}}, {"threshold: 0.3", {1, 1}}, {"", {7, 1}, {7}}}},
      {"categorical_accuracy", D::kReal, D::kOneHot, classes},
      {"sparse_categorical_accuracy",
       D::kReal,
       D::kClass,
       {{"", {3, 5}, {3}}, {"", {1, 2}, {1, 1}}, {"", {2, 3, 4}, {2, 3}}}},
      {"top_k_categorical_accuracy", D::kReal, D::kOneHot, {{"k: 2", {3, 5}}, {"k: 1", {1, 2}}, {"", {2, 3, 7}}}},
      {"sparse_top_k_categorical_accuracy",
       D::kReal,
       D::kClass,
       {{"k: 2", {3, 5}, {3}}, {"k: 1", {1, 2}, {1, 1}}, {"", {2, 3, 7}, {2, 3}}}},
      {"precision", D::kUnit, D::kBinary, {{"", {3, 5}}, {"threshold: 0.2", {1, 1}}, {"", {7, 1}, {7}}}},
      {"recall", D::kUnit, D::kBinary, {{"", {3, 5}}, {"threshold: 0.2", {1, 1}}, {"", {7, 1}, {7}}}},
      {"fbeta_score",
       D::kUnit,
       D::kBinary,
       {{"beta: 2 average: 'macro'", {3, 5}},
        {"average: 'micro'", {1, 1}},
        {"threshold: 0.4 average: 'weighted'", {7, 2}}}},
      {"f1_score",
       D::kUnit,
       D::kBinary,
       {{"average: 'weighted'", {3, 5}}, {"average: 'micro'", {1, 1}}, {"threshold: 0.4 average: 'macro'", {7, 2}}}},
      {"true_positives", D::kUnit, D::kBinary, binary},
      {"true_negatives", D::kUnit, D::kBinary, binary},
      {"false_positives", D::kUnit, D::kBinary, binary},
      {"false_negatives", D::kUnit, D::kBinary, binary},
      {"sensitivity_at_specificity", D::kUnit, D::kBinary, AtRates("specificity")},
      {"specificity_at_sensitivity", D::kUnit, D::kBinary, AtRates("sensitivity")},
      {"precision_at_recall", D::kUnit, D::kBinary, AtRates("recall")},
      {"recall_at_precision", D::kUnit, D::kBinary, AtRates("precision")},
      {"mean_iou",
       D::kBinary,
       D::kBinary,
       {{"num_classes: 2", {3, 5}}, {"num_classes: 3 ignore_class: 0", {7, 1}}, {"num_classes: 2", {1, 1}}}},
      {"r2_score",
       D::kReal,
       D::kReal,
       {{"", {5, 2}}, {"multioutput: 'variance_weighted_average'", {4, 3}}, {"", {7, 1}}}},
      {"crossentropy", D::kUnit, D::kBinary, {{"", {3, 1}}, {"", {1, 1}}, {"", {7, 1}, {7}}}},
      {"mean_squared_error", D::kReal, D::kReal, plain},
      {"mean_absolute_error", D::kReal, D::kReal, plain},
      {"root_mean_squared_error", D::kReal, D::kReal, plain},
      {"auc",
       D::kUnit,
       D::kBinary,
       {{"", {3, 5}}, {"num_thresholds: 3 curve: 'PR'", {7, 1}}, {"multi_label: true num_thresholds: 11", {5, 2}}}},
      {"cosine_similarity", D::kReal, D::kReal, {{"", {3, 5}}, {"", {1, 2}}, {"axis: 1", {2, 3, 4}}}},
      {"exact_accuracy", D::kBinary, D::kBinary, plain},
      {"loss",
       D::kReal,
       D::kSign,
       {{"hinge {}", {3, 5}}, {"squared_hinge {}", {1, 1}}, {"huber { delta: 0.5 }", {2, 3, 4}}}},
      {"custom",
       D::kReal,
       D::kReal,
       {{"definition { name: 'A' kind: METRIC body: 'mean(abs(y_pred - y_true), -1)' }", {3, 5}},
        {"definition { name: 'B' kind: METRIC body: 'y_pred * y_true, y_true * y_true' }", {1, 1}},
        {"definition { name: 'C' kind: METRIC body: 'maximum(y_pred, y_true)' }", {2, 3, 4}}}},
  };
  return parts;
}

class MetricCatalogTest : public ::testing::TestWithParam<Case> {};

TEST_P(MetricCatalogTest, PlanAndJson) {
  const Case& c = GetParam();
  v1::Metric metric;
  ASSERT_TRUE(Read(c, &metric).ok());
  ExpectSurvivesJson(c.dialect, metric);
  Built b(c);
  Scope s = b.MakeScope(c.dialect);
  const MetricTerms terms = BuildMetric(s, metric, {b.args.target, b.args.prediction});
  ASSERT_TRUE(b.graph.ok()) << b.graph.status();
  ASSERT_FALSE(terms.sums.empty());
  for (const Value& sum : terms.sums) b.graph.MarkOutput("sum", sum);
  ExpectPlanEqualsReference(b.graph, b.numbers);
}

// The sums of a batch are the sums of its rows' sums.
TEST_P(MetricCatalogTest, SumsAddUpOverBatches) {
  const Case& c = GetParam();
  v1::Metric metric;
  ASSERT_TRUE(Read(c, &metric).ok());
  std::function<double(std::span<const double>)> result;
  const auto sums = [&](Built* b) {
    Scope s = b->MakeScope(c.dialect);
    const MetricTerms terms = BuildMetric(s, metric, {b->args.target, b->args.prediction});
    EXPECT_TRUE(b->graph.ok()) << b->graph.status();
    for (const Value& sum : terms.sums) b->graph.MarkOutput("sum", sum);
    result = terms.result;
    std::vector<double> flat;
    for (const RefTensor& t : RunExact(b->graph, ToRefs(b->numbers.inputs), {})) {
      flat.insert(flat.end(), t.data.begin(), t.data.end());
    }
    return flat;
  };
  Built whole(c);
  const std::vector<double> all = sums(&whole);
  std::vector<double> added(all.size(), 0);
  for (int64_t row = 0; row < c.sample->prediction[0]; ++row) {
    Built one(c, row, 1);
    const std::vector<double> part = sums(&one);
    ASSERT_EQ(part.size(), all.size());
    for (size_t i = 0; i < part.size(); ++i) added[i] += part[i];
  }
  EXPECT_NEAR(result(added), result(all), 1e-9);
  EXPECT_TRUE(std::isfinite(result(std::vector<double>(all.size(), 0)))) << "nothing was counted";
}

INSTANTIATE_TEST_SUITE_P(Metrics, MetricCatalogTest, ::testing::ValuesIn(CasesOf<v1::Metric>(MetricParts())), NameOf);

// PyTorch's scores of every cell are [N, C, ...], as its cross entropy takes them.
TEST(MetricCatalog, AccuracyOfCellsFollowsThePytorchAxis) {
  Graph g;
  Collected collected;
  Scope s(&g, v1::PYTORCH, false, {}, &collected);
  // [1, 2, 3]: class 1 wins in the first and the last of three cells.
  const Value p = Constant(&g, Tensor::Of(DType::kF32, {1, 2, 3}, std::vector<double>{0, 5, 1, 2, 3, 4}));
  const Value t = Constant(&g, Tensor::Of(DType::kI64, {1, 3}, std::vector<int64_t>{1, 1, 1}));
  v1::Metric metric;
  metric.mutable_accuracy();
  const MetricTerms terms = BuildMetric(s, metric, {t, p});
  ASSERT_TRUE(g.ok()) << g.status();
  g.MarkOutput("right", terms.sums[0]);
  g.MarkOutput("all", terms.sums[1]);
  const std::vector<RefTensor> sums = EvaluateReference(g, {});
  EXPECT_EQ(sums[0].data[0], 2);
  EXPECT_EQ(sums[1].data[0], 3);
}

TEST(MetricCatalog, EveryMetricHasSamplesAndRanges) { ExpectComplete<v1::Metric>(MetricParts()); }

}  // namespace
}  // namespace strata::nn
