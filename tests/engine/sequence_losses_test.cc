// CTC against a sum over all alignments, in training; adaptive softmax as a layer that trains and predicts.
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <random>

#include "engine/session.h"
#include "tests/messages.h"

namespace strata {
namespace {

// Minus the logarithm of the probability of `target`, by going through every path of `length` steps.
double ByAllPaths(const std::vector<std::vector<double>>& p, const std::vector<int64_t>& target, int64_t blank) {
  const int64_t classes = static_cast<int64_t>(p[0].size());
  double total = 0;
  std::vector<int64_t> path;
  const std::function<void(double)> walk = [&](double so_far) {
    if (path.size() == p.size()) {
      std::vector<int64_t> labels;
      for (size_t t = 0; t < path.size(); ++t) {
        if (path[t] != blank && (t == 0 || path[t] != path[t - 1])) labels.push_back(path[t]);
      }
      if (labels == target) total += so_far;
      return;
    }
    const size_t t = path.size();
    for (int64_t c = 0; c < classes; ++c) {
      path.push_back(c);
      walk(so_far * p[t][c]);
      path.pop_back();
    }
  };
  walk(1);
  return -std::log(total);
}

constexpr int64_t kTime = 5, kBatch = 3, kClasses = 4;
const char kTimeMajor[] = R"(
  name: "ctc" dialect: PYTORCH inputs { shape: 5 shape: 3 shape: 4 batched: false }
  layers { linear { units: 4 } } layers { log_softmax { axis: -1 } })";

TEST(Ctc, IsTheSumOverAllPaths) {
  std::mt19937 random(5);
  std::normal_distribution<float> normal;
  Tensor x(DType::kF32, {kTime, kBatch, kClasses});
  for (int64_t i = 0; i < x.num_elements(); ++i) x.data<float>()[i] = normal(random);
  // A repetition, one label, none; sequences of different length.
  const std::vector<std::vector<int64_t>> targets = {{2, 2}, {0}, {}};
  const int64_t lengths[] = {5, 4, 3};
  Tensor target(DType::kI64, {kBatch, 2}), input_lengths(DType::kI64, {kBatch}), target_lengths(DType::kI64, {kBatch});
  for (int64_t n = 0; n < kBatch; ++n) {
    input_lengths.Set(n, static_cast<double>(lengths[n]));
    target_lengths.Set(n, static_cast<double>(targets[n].size()));
    for (size_t k = 0; k < targets[n].size(); ++k) target.Set(2 * n + static_cast<int64_t>(k), targets[n][k]);
  }
  for (const bool reference : {true, false}) {
    auto session = TrainSession::Create(
        Parse<v1::Model>(kTimeMajor),
        Parse<v1::TrainingConfig>("objectives { loss { ctc { blank: 1 reduction: SUM } } arguments { key: "
                                  "\"input_lengths\" value: \"steps\" } } optimizer { sgd { learning_rate: 0.5 } }"),
        {.reference = reference});
    ASSERT_TRUE(session.ok()) << session.status();
    const NamedTensors weights = (*session)->Weights();
    double want = 0;
    for (int64_t n = 0; n < kBatch; ++n) {
      std::vector<std::vector<double>> p;
      for (int64_t t = 0; t < lengths[n]; ++t) {
        std::vector<double> row;
        double sum = 0;
        for (int64_t c = 0; c < kClasses; ++c) {
          double z = weights.at("0.bias").At(c);
          for (int64_t k = 0; k < kClasses; ++k) {
            z += weights.at("0.weight").At(c * kClasses + k) * x.At((t * kBatch + n) * kClasses + k);
          }
          row.push_back(std::exp(z));
          sum += row.back();
        }
        for (double& v : row) v /= sum;
        p.push_back(row);
      }
      want += ByAllPaths(p, targets[n], 1);
    }
    const NamedViews batch = {{"input", x.view()},
                              {"target", target.view()},
                              {"steps", input_lengths.view()},
                              {"target_lengths", target_lengths.view()}};
    double first = 0, last = 0;
    for (int k = 0; k < 20; ++k) {
      auto step = (*session)->Step(batch);
      ASSERT_TRUE(step.ok()) << step.status();
      (k == 0 ? first : last) = step->loss;
    }
    EXPECT_LT(last, first / 2);
    EXPECT_NEAR(first, want, 1e-4) << reference;
  }
}

TEST(Ctc, RefusesBadLengths) {
  auto session =
      TrainSession::Create(Parse<v1::Model>(kTimeMajor),
                           Parse<v1::TrainingConfig>("objectives { loss { ctc {} } } optimizer { sgd {} }"), {});
  ASSERT_TRUE(session.ok()) << session.status();
  const Tensor x(DType::kF32, {kTime, kBatch, kClasses});
  const auto ints = [](Shape shape, const std::vector<int64_t>& values) {
    return Tensor::Of(DType::kI64, shape, values);
  };
  const Tensor one = ints({3}, {1, 1, 1}), many = ints({3}, {9, 1, 1}), five = ints({3}, {5, 5, 5});
  const Tensor targets = ints({3, 1}, {1, 2, 3}), strange = ints({3, 1}, {1, 2, 4}), flat = ints({4}, {1, 2, 3, 1});
  const struct {
    const char* name;
    NamedViews batch;
    const char* words;
  } kRows[] = {
      {"missing",
       {{"target", targets.view()}, {"target_lengths", one.view()}},
       "tensors[\"input_lengths\"]: must be given"},
      {"steps",
       {{"target", targets.view()}, {"input_lengths", many.view()}, {"target_lengths", one.view()}},
       "input_lengths: must be in [0, 5]"},
      {"labels",
       {{"target", targets.view()}, {"input_lengths", five.view()}, {"target_lengths", five.view()}},
       "target_lengths: must be in [0, 1]"},
      {"class",
       {{"target", strange.view()}, {"input_lengths", five.view()}, {"target_lengths", one.view()}},
       "classes must be in [0, 4)"},
      {"sum",
       {{"target", flat.view()}, {"input_lengths", five.view()}, {"target_lengths", one.view()}},
       "target_lengths: must add up to the targets' length, 4"},
  };
  for (const auto& row : kRows) {
    NamedViews batch = row.batch;
    batch["input"] = x.view();
    const auto status = (*session)->Step(batch).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << row.name << ": " << status;
    EXPECT_NE(status.message().find(row.words), std::string::npos) << row.name << ": " << status;
  }
}

// Four samples of each of seven classes, told apart by six features.
std::pair<Tensor, Tensor> SevenClasses() {
  std::mt19937 random(1);
  std::normal_distribution<float> normal;
  Tensor x(DType::kF32, {28, 6}), t(DType::kI64, {28});
  for (int64_t n = 0; n < 28; ++n) {
    for (int64_t k = 0; k < 6; ++k) x.data<float>()[n * 6 + k] = normal(random) + (n % 7 == k ? 3.f : 0.f);
    t.data<int64_t>()[n] = n % 7;
  }
  return {std::move(x), std::move(t)};
}

TEST(AdaptiveLogSoftmax, TrainsAndPredictsAsALayer) {
  const char model[] = R"(
    name: "adaptive" dialect: PYTORCH inputs { shape: 6 }
    layers { name: "body" linear { units: 8 } } layers { name: "act" relu {} }
    layers { name: "loss" adaptive_log_softmax { in_features: 8 n_classes: 7 cutoffs: 2 cutoffs: 4 div_value: 2 } }
    outputs { name: "log_prob" edge { call: "loss" } } outputs { name: "predict" edge { call: "loss" output: 1 } })";
  const v1::Model definition = Parse<v1::Model>(model);
  const std::string rest = "optimizer { adam { learning_rate: 0.02 } } seed: 4";
  auto session = TrainSession::Create(
      definition,
      Parse<v1::TrainingConfig>("objectives { output: \"log_prob\" loss { negative_log_likelihood {} } } " + rest), {});
  ASSERT_TRUE(session.ok()) << session.status();
  const auto [x, t] = SevenClasses();
  double last = 0;
  for (int k = 0; k < 300; ++k) last = (*session)->Step({{"input", x.view()}, {"target", t.view()}})->loss;
  EXPECT_LT(last, 0.1);
  const NamedTensors weights = (*session)->Weights();
  for (const char* name :
       {"loss.head.weight", "loss.tail.0.0.weight", "loss.tail.0.1.weight", "loss.tail.1.1.weight"}) {
    EXPECT_EQ(weights.count(name), 1u) << name;
  }
  auto version = Version::Create(definition, weights, {});
  ASSERT_TRUE(version.ok()) << version.status();
  auto out = (*version)->Predict({{"input", x.view()}});
  ASSERT_TRUE(out.ok()) << out.status();
  for (int64_t n = 0; n < 28; ++n) {
    double sum = 0;
    for (int64_t c = 0; c < 7; ++c) sum += std::exp(out->at("log_prob").At(n * 7 + c));
    EXPECT_NEAR(sum, 1, 1e-5);
    EXPECT_EQ(out->at("predict").At(n), static_cast<double>(n % 7));
  }
}

// The objective owns its weights: they are trained, saved and published, and a training without it does without them.
TEST(AdaptiveLogSoftmax, TrainsAsAnObjective) {
  const v1::Model model = Parse<v1::Model>(
      "name: \"body\" dialect: PYTORCH inputs { shape: 6 } layers { linear { units: 8 } } layers { relu {} }");
  const std::string rest = "optimizer { adam { learning_rate: 0.02 } } seed: 4";
  const v1::TrainingConfig config = Parse<v1::TrainingConfig>(
      "objectives { loss { adaptive_log_softmax { in_features: 8 n_classes: 7 cutoffs: 2 cutoffs: 4 div_value: 2 } } "
      "} " +
      rest);
  const auto facts = Inspect(model, &config, 4);
  ASSERT_TRUE(facts.ok()) << facts.status();
  EXPECT_EQ(facts->parameters.size(), 2u + 1 + 2 * 2);
  auto session = TrainSession::Create(model, config, {});
  ASSERT_TRUE(session.ok()) << session.status();
  const auto [x, t] = SevenClasses();
  const NamedViews batch = {{"input", x.view()}, {"target", t.view()}};
  const auto first = (*session)->Step(batch);
  ASSERT_TRUE(first.ok()) << first.status();
  const NamedTensors start = (*session)->Weights();
  double last = 0;
  for (int k = 0; k < 300; ++k) last = (*session)->Step(batch)->loss;
  EXPECT_LT(last, 0.1);
  const NamedTensors weights = (*session)->Weights();
  for (const char* name :
       {"objectives.0.head.weight", "objectives.0.tail.0.0.weight", "objectives.0.tail.1.1.weight"}) {
    ASSERT_EQ(weights.count(name), 1u) << name;
    EXPECT_NE(weights.at(name).At(0), start.at(name).At(0)) << name << " was not trained";
  }
  const auto evaluated = (*session)->Evaluate(batch, true);
  ASSERT_TRUE(evaluated.ok()) << evaluated.status();

  // Another session goes on from the checkpoint bit for bit.
  auto resumed = TrainSession::Create(model, config, {});
  ASSERT_TRUE((*resumed)->Load((*session)->Save()).ok());
  EXPECT_EQ((*resumed)->Step(batch)->loss, (*session)->Step(batch)->loss);
  // A version keeps them, and a session that begins with it judges as this one did.
  auto version = Version::Create(model, weights, {});
  ASSERT_TRUE(version.ok()) << version.status();
  NamedTensors published;
  for (const auto& [name, view] : (*version)->weights()) published[name] = Tensor::CopyOf(view);
  EXPECT_EQ(published.size(), weights.size());
  auto judge = TrainSession::Create(model, config, {});
  ASSERT_TRUE((*judge)->SetWeights(published, true).ok());
  EXPECT_EQ((*judge)->Evaluate(batch, true)->loss, evaluated->loss);
  published["objectives.0.head.weight"] = Tensor(DType::kF32, {1});
  EXPECT_FALSE((*judge)->SetWeights(published, false).ok());
  // From a published version: with its loss, and without.
  EXPECT_TRUE((*resumed)->SetWeights(weights, true).ok());
  auto other =
      TrainSession::Create(model, Parse<v1::TrainingConfig>("objectives { loss { cross_entropy {} } } " + rest), {});
  EXPECT_TRUE((*other)->SetWeights(weights, true).ok());
  EXPECT_TRUE((*resumed)->SetWeights((*other)->Weights(), true).ok());
}

// A constraint that came with this file's neighbours holds after every update.
TEST(Constraints, MinMaxNormHoldsAfterUpdates) {
  auto session = TrainSession::Create(
      Parse<v1::Model>(
          "name: \"m\" dialect: KERAS inputs { shape: 3 } layers { linear { units: 4 kernel_constraint { "
          "min_max_norm { min_value: 0.5 max_value: 0.75 } } kernel_regularizer { orthogonal { factor: 0.1 } "
          "} } }"),
      Parse<v1::TrainingConfig>("objectives { loss { mean_squared_error {} } } optimizer { sgd { learning_rate: 1 } }"),
      {});
  ASSERT_TRUE(session.ok()) << session.status();
  Tensor x(DType::kF32, {2, 3}), y(DType::kF32, {2, 4});
  for (int64_t i = 0; i < 6; ++i) x.Set(i, 0.3 * static_cast<double>(i) - 1);
  for (int k = 0; k < 3; ++k) {
    const auto step = (*session)->Step({{"input", x.view()}, {"target", y.view()}});
    ASSERT_TRUE(step.ok()) << step.status();
    EXPECT_GT(step->penalty, 0);
    const NamedTensors weights = (*session)->Weights();
    const Tensor& w = weights.at("dense/kernel");
    for (int64_t c = 0; c < 4; ++c) {
      double norm = 0;
      for (int64_t r = 0; r < 3; ++r) norm += w.At(r * 4 + c) * w.At(r * 4 + c);
      EXPECT_GT(std::sqrt(norm), 0.5 - 1e-5);
      EXPECT_LT(std::sqrt(norm), 0.75 + 1e-5);
    }
  }
}

}  // namespace
}  // namespace strata
