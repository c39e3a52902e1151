// Schedules, gradient accumulation, moving averages, early stopping and best weights in sessions; all of them across a
// checkpoint.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "absl/strings/str_cat.h"
#include "engine/session.h"
#include "tests/messages.h"

namespace strata {
namespace {

const char kTorch[] = R"(
  name: "m" dialect: PYTORCH inputs { shape: 3 }
  layers { linear { units: 4 } } layers { tanh {} } layers { linear { units: 1 } })";
const char kKeras[] = R"(
  name: "m" dialect: KERAS inputs { shape: 3 }
  layers { linear { units: 4 activation { tanh {} } } } layers { linear { units: 1 activation { sigmoid {} } } })";
const char kMse[] = "objectives { loss { mean_squared_error {} } } seed: 3 ";

struct Batch {
  Tensor x, y;
  NamedViews views() const { return {{"input", x.view()}, {"target", y.view()}}; }
  // Rows [begin, begin + n).
  NamedViews rows(int64_t begin, int64_t n) const {
    return {{"input", {DType::kF32, {n, 3}, x.data<float>() + begin * 3}},
            {"target", {DType::kF32, {n, 1}, y.data<float>() + begin}}};
  }
};

Batch MakeBatch(int64_t n, int seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(-1, 1);
  Batch b{Tensor(DType::kF32, {n, 3}), Tensor(DType::kF32, {n, 1})};
  for (int64_t i = 0; i < 3 * n; ++i) b.x.data<float>()[i] = uniform(random);
  for (int64_t i = 0; i < n; ++i) b.y.data<float>()[i] = b.x.data<float>()[3 * i] > 0;
  return b;
}

std::unique_ptr<TrainSession> MakeSession(const std::string& model, const std::string& config) {
  auto session = TrainSession::Create(Parse<v1::Model>(model), Parse<v1::TrainingConfig>(config), {});
  EXPECT_TRUE(session.ok()) << session.status();
  return session.ok() ? *std::move(session) : nullptr;
}

absl::Status Refusal(const std::string& config) {
  return TrainSession::Create(Parse<v1::Model>(kTorch), Parse<v1::TrainingConfig>(config), {}).status();
}

double Difference(const NamedTensors& a, const NamedTensors& b) {
  EXPECT_EQ(a.size(), b.size());
  double largest = 0;
  for (const auto& [name, t] : a) {
    const auto it = b.find(name);
    if (it == b.end() || it->second.shape() != t.shape()) {
      ADD_FAILURE() << name;
      continue;
    }
    for (int64_t i = 0; i < t.num_elements(); ++i) largest = std::max(largest, std::fabs(t.At(i) - it->second.At(i)));
  }
  return largest;
}

StepOutcome Step(TrainSession& session, const NamedViews& batch, bool end = false) {
  auto out = session.Step(batch, {.end_of_epoch = end});
  EXPECT_TRUE(out.ok()) << out.status();
  return out.ok() ? *out : StepOutcome();
}

TEST(Accumulation, EqualsOneBigBatch) {
  // Rows are split unevenly: each step counts by its rows.
  const std::string optimizer = "optimizer { adam { learning_rate: 0.1 } clipping { global_norm: 0.05 } } ";
  auto big = MakeSession(kTorch, kMse + optimizer);
  auto small = MakeSession(kTorch, kMse + optimizer + "accumulate_steps: 3");
  for (int k = 0; k < 4; ++k) {
    const Batch b = MakeBatch(12, k);
    const StepOutcome whole = Step(*big, b.views());
    EXPECT_TRUE(Step(*small, b.rows(0, 2)).accumulated);
    EXPECT_TRUE(Step(*small, b.rows(2, 7)).accumulated);
    const StepOutcome last = Step(*small, b.rows(9, 3));
    EXPECT_FALSE(last.accumulated);
    EXPECT_NEAR(last.gradient_norm, whole.gradient_norm, 1e-6);
    EXPECT_LT(Difference(big->Weights(), small->Weights()), 1e-6) << k;
  }
  EXPECT_EQ(small->step(), 12);
}

TEST(Accumulation, GoesOnAfterACheckpointBetweenTwoSteps) {
  const std::string config = std::string(kMse) + "optimizer { sgd { momentum: 0.9 } } accumulate_steps: 2";
  auto one = MakeSession(kTorch, config), two = MakeSession(kTorch, config);
  const Batch b = MakeBatch(6, 1);
  for (int i = 0; i < 3; ++i) Step(*one, b.views());
  ASSERT_TRUE(two->Load(one->Save()).ok());
  for (int i = 0; i < 3; ++i) {
    Step(*one, b.views());
    Step(*two, b.views());
  }
  EXPECT_EQ(Difference(one->Save(), two->Save()), 0);
}

TEST(Accumulation, ASkippedStepAddsNothing) {
  const std::string config = std::string(kMse) + "optimizer { sgd {} } accumulate_steps: 2";
  auto one = MakeSession(kTorch, config), two = MakeSession(kTorch, config);
  const Batch b = MakeBatch(6, 1);
  Batch bad = MakeBatch(6, 2);
  bad.x.data<float>()[0] = NAN;
  for (TrainSession* s : {one.get(), two.get()}) Step(*s, b.views());
  EXPECT_TRUE(Step(*two, bad.views()).skipped);
  for (TrainSession* s : {one.get(), two.get()}) EXPECT_FALSE(Step(*s, b.views()).accumulated);
  EXPECT_EQ(Difference(one->Weights(), two->Weights()), 0);
}

TEST(MovingAverage, FollowsTheWeights) {
  for (const char* model : {kTorch, kKeras}) {
    auto session = MakeSession(model, std::string(kMse) +
                                          "optimizer { sgd { learning_rate: 0.5 } moving_average { "
                                          "momentum: 0.75 } }");
    NamedTensors average = session->Weights();
    int64_t step = -1;
    for (int k = 0; k < 3; ++k) {
      Step(*session, MakeBatch(6, k).views());
      const NamedTensors now = session->Weights();
      for (auto& [name, t] : average) {
        // PyTorch's average begins with the weights after the first update.
        const double keep = k == 0 && model == kTorch ? 0 : 0.75;
        for (int64_t i = 0; i < t.num_elements(); ++i) {
          t.Set(i, keep * t.At(i) + (1 - keep) * now.at(name).At(i));
        }
      }
    }
    const auto got = session->WeightsOf(WeightSet::kAveraged, &step);
    ASSERT_TRUE(got.ok()) << got.status();
    EXPECT_EQ(step, 3);
    EXPECT_LT(Difference(*got, average), 1e-6);
    EXPECT_GT(Difference(*got, session->Weights()), 1e-4);
  }
}

TEST(MovingAverage, OverwritesTheWeights) {
  auto session = MakeSession(kKeras, std::string(kMse) +
                                         "optimizer { sgd { learning_rate: 0.5 } moving_average { "
                                         "momentum: 0.5 overwrite_frequency: 2 } }");
  int64_t step = 0;
  for (int k = 1; k <= 4; ++k) {
    Step(*session, MakeBatch(6, k).views());
    const double d = Difference(session->Weights(), *session->WeightsOf(WeightSet::kAveraged, &step));
    if (k % 2 == 0) {
      EXPECT_EQ(d, 0) << k;
    } else {
      EXPECT_GT(d, 1e-5) << k;
    }
  }
}

TEST(MovingAverage, MustBeConfigured) {
  auto session = MakeSession(kTorch, std::string(kMse) + "optimizer { sgd {} }");
  int64_t step = 0;
  const auto status = session->WeightsOf(WeightSet::kAveraged, &step).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("moving_average"), std::string::npos) << status;
}

TEST(Schedules, PytorchCountsEpochsAndKerasUpdates) {
  auto torch = MakeSession(kTorch, std::string(kMse) +
                                       "optimizer { sgd { learning_rate: 1 } schedule { step { "
                                       "step_size: 2 gamma: 0.5 } } } steps_per_epoch: 2");
  std::vector<double> rates;
  for (int k = 0; k < 10; ++k) rates.push_back(Step(*torch, MakeBatch(4, k).views()).learning_rate);
  EXPECT_EQ(rates, (std::vector<double>{1, 1, 1, 1, 0.5, 0.5, 0.5, 0.5, 0.25, 0.25}));
  auto keras = MakeSession(kKeras, std::string(kMse) +
                                       "optimizer { sgd {} schedule { piecewise_constant { boundaries: "
                                       "1 values: 0.5 values: 0.25 } } }");
  rates.clear();
  for (int k = 0; k < 4; ++k) rates.push_back(Step(*keras, MakeBatch(4, k).views()).learning_rate);
  EXPECT_EQ(rates, (std::vector<double>{0.5, 0.5, 0.25, 0.25}));
}

TEST(Schedules, ABatchMayEndTheEpoch) {
  auto session = MakeSession(kTorch, std::string(kMse) +
                                         "optimizer { sgd { learning_rate: 1 } schedule { exponential { "
                                         "decay_rate: 0.5 } } }");
  std::vector<double> rates;
  for (int k = 0; k < 5; ++k) rates.push_back(Step(*session, MakeBatch(4, k).views(), k == 1 || k == 2).learning_rate);
  EXPECT_EQ(rates, (std::vector<double>{1, 1, 0.5, 0.25, 0.25}));
}

TEST(Schedules, GroupsHaveRatesOfTheirOwn) {
  const std::string optimizer =
      "optimizer { sgd { learning_rate: 0.5 } groups { parameters: \"0.bias\" learning_rate: 0.25 }";
  auto plain = MakeSession(kTorch, kMse + optimizer + " }");
  auto halved = MakeSession(kTorch, kMse + optimizer + " schedule { constant { factor: 0.5 total_iters: 9 } } }");
  const NamedTensors start = plain->Weights();
  const Batch b = MakeBatch(6, 1);
  Step(*plain, b.views());
  Step(*halved, b.views());
  const NamedTensors p = plain->Weights(), h = halved->Weights();
  for (const auto& [name, t] : start) {
    for (int64_t i = 0; i < t.num_elements(); ++i) {
      EXPECT_NEAR(2 * (h.at(name).At(i) - t.At(i)), p.at(name).At(i) - t.At(i), 1e-6) << name;
    }
  }
}

TEST(Schedules, ExpressionsFollowEpochs) {
  auto session = MakeSession(kTorch, std::string(kMse) +
                                         "optimizer { sgd { learning_rate: 1 } schedule { lambda { "
                                         "expression: \"1 / (2 - epoch)\" } } } steps_per_epoch: 1");
  EXPECT_EQ(Step(*session, MakeBatch(4, 0).views()).learning_rate, 0.5);
  EXPECT_EQ(Step(*session, MakeBatch(4, 1).views()).learning_rate, 1);
  // No number: no step.
  const NamedTensors before = session->Save();
  const auto status = session->Step(MakeBatch(4, 2).views()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(status.message().find("optimizer.schedule: must give a number"), std::string::npos) << status;
  EXPECT_EQ(Difference(session->Save(), before), 0);
  const auto bad = Refusal(std::string(kMse) + "optimizer { sgd {} schedule { lambda { expression: \"epoch +\" } } }");
  EXPECT_EQ(bad.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(bad.message().find("optimizer.schedule.lambda.expression: 1:8"), std::string::npos) << bad;
}

// Momentum 0.95 before the top and 0.85 at it: the velocities show it.
TEST(Schedules, OneCycleMovesMomentum) {
  for (const char* kind : {"sgd { momentum: 0.5 }", "rmsprop {}", "adam {}", "adamw {}", "adamax {}"}) {
    const std::string start = absl::StrCat(kMse, "optimizer { ", kind,
                                           " schedule { one_cycle { max_learning_rate: 0.1 "
                                           "total_steps: 6 ");
    auto cycles = MakeSession(kTorch, start + "} } }");
    auto still = MakeSession(kTorch, start + "cycle_momentum: false } } }");
    for (int k = 0; k < 4; ++k) {
      const double a = Step(*cycles, MakeBatch(6, k).views()).learning_rate;
      EXPECT_EQ(a, Step(*still, MakeBatch(6, k).views()).learning_rate);
    }
    EXPECT_GT(Difference(cycles->Weights(), still->Weights()), 1e-5) << kind;
  }
  const auto status = Refusal(std::string(kMse) +
                              "optimizer { adagrad {} schedule { one_cycle { max_learning_rate: 1 "
                              "total_steps: 6 } } }");
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(status.message().find("optimizer.schedule.one_cycle.cycle_momentum"), std::string::npos) << status;
}

EvalOutcome Values(double loss, double accuracy = 0) {
  return {.samples = 1, .loss = loss, .metrics = {{"accuracy", accuracy}}};
}

TEST(Schedules, PlateauFollowsTheValidation) {
  const std::string config = std::string(kMse) +
                             "optimizer { sgd { learning_rate: 1 } schedule { plateau { patience: 1 "
                             "factor: 0.5 } } }";
  auto session = MakeSession(kTorch, config);
  session->EndEvaluation("validation", Values(1));
  session->EndEvaluation("test", Values(9));  // another evaluation counts nothing
  session->EndEvaluation("validation", Values(1));
  EXPECT_EQ(session->learning_rate(), 1);
  // A checkpoint in between.
  auto other = MakeSession(kTorch, config);
  ASSERT_TRUE(other->Load(session->Save()).ok());
  for (TrainSession* s : {session.get(), other.get()}) {
    s->EndEvaluation("validation", Values(1));
    EXPECT_EQ(s->learning_rate(), 0.5);
    EXPECT_EQ(Step(*s, MakeBatch(4, 1).views()).learning_rate, 0.5);
  }
  EXPECT_EQ(Difference(session->Save(), other->Save()), 0);
}

TEST(EpochMetrics, AreOverAllRows) {
  // The area over an epoch is the one of all its rows, not a mean of areas.
  const std::string config = std::string(kMse) +
                             "optimizer { sgd { learning_rate: 0 } } metrics { metric { auc {} } } "
                             "metrics { metric { precision {} } }";
  auto session = MakeSession(kKeras, config);
  const Batch b = MakeBatch(11, 5);
  for (int epoch = 1; epoch <= 2; ++epoch) {
    Step(*session, b.rows(0, 4));
    Step(*session, b.rows(4, 4));
    const StepOutcome last = Step(*session, b.rows(8, 3), true);
    EXPECT_TRUE(last.epoch.ended);
    EXPECT_EQ(last.epoch.epoch, epoch);
    EXPECT_EQ(last.epoch.samples, 11);
    const auto all = session->Evaluate(b.views(), true);
    ASSERT_TRUE(all.ok());
    EXPECT_NEAR(last.epoch.metrics.at("auc"), all->metrics.at("auc"), 1e-12);
    EXPECT_NEAR(last.epoch.metrics.at("precision"), all->metrics.at("precision"), 1e-12);
    EXPECT_NEAR(last.epoch.loss, all->loss, 1e-6);
  }
}

TEST(EpochMetrics, SurviveACheckpoint) {
  const std::string config =
      std::string(kMse) + "optimizer { sgd {} } metrics { metric { auc {} } } steps_per_epoch: 3";
  auto one = MakeSession(kKeras, config), two = MakeSession(kKeras, config);
  Step(*one, MakeBatch(5, 0).views());
  ASSERT_TRUE(two->Load(one->Save()).ok());
  for (int k = 1; k < 4; ++k) {
    const StepOutcome a = Step(*one, MakeBatch(5, k).views()), b = Step(*two, MakeBatch(5, k).views());
    EXPECT_EQ(a.epoch.samples, b.epoch.samples);
    EXPECT_EQ(a.epoch.loss, b.epoch.loss);
    EXPECT_EQ(a.epoch.metrics.at("auc"), b.epoch.metrics.at("auc"));
    EXPECT_EQ(a.epoch.ended, k == 2);
  }
}

TEST(EarlyStopping, RestoresTheBestWeights) {
  const std::string config = std::string(kMse) +
                             "optimizer { sgd { learning_rate: 0.5 } } early_stopping { patience: 2 "
                             "restore_best_weights: true }";
  auto session = MakeSession(kTorch, config);
  NamedTensors best;
  const double losses[] = {0.5, 0.4, 0.45, 0.41};
  for (int k = 0; k < 4; ++k) {
    Step(*session, MakeBatch(6, k).views());
    if (k == 1) best = session->Weights();
    EXPECT_FALSE(session->stopped());
    if (k == 2) {  // the patience and the best weights are part of a checkpoint
      auto other = MakeSession(kTorch, config);
      ASSERT_TRUE(other->Load(session->Save()).ok());
      session = std::move(other);
    }
    EXPECT_EQ(session->EndEvaluation("validation", Values(losses[k])).stop, k == 3);
  }
  EXPECT_TRUE(session->stopped());
  EXPECT_EQ(Difference(session->Weights(), best), 0);
}

TEST(EarlyStopping, WatchesTraining) {
  auto session = MakeSession(kTorch, std::string(kMse) +
                                         "optimizer { sgd { learning_rate: 0 } } early_stopping { "
                                         "monitor: \"loss\" patience: 1 } steps_per_epoch: 2");
  const Batch b = MakeBatch(6, 1);
  for (int k = 1; k <= 4; ++k) EXPECT_EQ(Step(*session, b.views()).verdict.stop, k == 4) << k;
  EXPECT_TRUE(session->stopped());
}

TEST(KeepBest, KeepsTheWeightsOfTheBestObservation) {
  const std::string config = std::string(kMse) +
                             "optimizer { sgd { learning_rate: 0.5 } } metrics { metric { accuracy {} "
                             "} } keep_best { monitor: \"val_accuracy\" }";
  auto session = MakeSession(kTorch, config);
  int64_t step = 0;
  EXPECT_EQ(session->WeightsOf(WeightSet::kBest, &step).status().code(), absl::StatusCode::kFailedPrecondition);
  NamedTensors best;
  const double accuracies[] = {0.5, 0.9, 0.7};
  for (int k = 0; k < 3; ++k) {
    Step(*session, MakeBatch(6, k).views());
    EXPECT_EQ(session->EndEvaluation("validation", Values(0, accuracies[k])).best, k < 2);
    if (k == 1) best = session->Weights();
  }
  auto other = MakeSession(kTorch, config);
  ASSERT_TRUE(other->Load(session->Save()).ok());
  const auto kept = other->WeightsOf(WeightSet::kBest, &step);
  ASSERT_TRUE(kept.ok()) << kept.status();
  EXPECT_EQ(step, 2);
  EXPECT_EQ(Difference(*kept, best), 0);
  EXPECT_GT(Difference(*kept, other->Weights()), 1e-5);
}

TEST(Progress, RefusesWhatCannotBe) {
  const struct {
    const char* name;
    const char* config;
    const char* words;
  } kRows[] = {
      {"monitor", "early_stopping { monitor: \"val_recall\" }", "early_stopping.monitor: must be one of loss"},
      {"keep_best", "keep_best { monitor: \"x\" }", "keep_best.monitor: must be one of loss"},
      {"plateau", "optimizer { sgd {} schedule { plateau { monitor: \"y\" } } }", "optimizer.schedule.plateau.monitor"},
      {"patience", "early_stopping { patience: -1 }", "early_stopping.patience: must be >= 0, got -1"},
      {"mode", "keep_best { mode: \"most\" }", "keep_best.mode: must be one of min, max, auto"},
      {"accumulation", "accumulate_steps: -2", "accumulate_steps: must be >= 0, got -2"},
      {"epoch", "steps_per_epoch: -1", "steps_per_epoch: must be >= 0, got -1"},
      {"momentum", "optimizer { sgd {} moving_average { momentum: 1.5 } }",
       "optimizer.moving_average.momentum: must be <= 1"},
      {"frequency", "optimizer { sgd {} moving_average { overwrite_frequency: 0 } }",
       "overwrite_frequency: must be >= 1"},
      {"kind", "optimizer { sgd {} schedule {} }", "optimizer.schedule.kind: must be set"},
      {"dialect", "optimizer { sgd {} schedule { inverse_time {} } }", "exists in KERAS only"},
      {"factor", "optimizer { sgd {} schedule { plateau { factor: 1 } } }", "plateau.factor: must be < 1, got 1"},
  };
  for (const auto& row : kRows) {
    const bool whole = std::string(row.config).find("optimizer") == 0;
    const auto status = Refusal(absl::StrCat(kMse, whole ? "" : "optimizer { sgd {} } ", row.config));
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << row.name;
    EXPECT_NE(status.message().find(row.words), std::string::npos) << row.name << ": " << status;
  }
}

}  // namespace
}  // namespace strata
