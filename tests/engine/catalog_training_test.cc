// Every optimizer, schedule, initializer, constraint and regularizer, three samples or more each: the numbered
// properties of catalog_test.cc, as far as each has them.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "absl/strings/str_cat.h"
#include "engine/autodiff/gradients.h"
#include "engine/nn/initializers/initializers.h"
#include "engine/nn/optimizers/optimizer.h"
#include "engine/nn/schedules/schedule.h"
#include "engine/nn/schema.h"
#include "engine/nn/scope.h"
#include "engine/ops/ops.h"
#include "engine/session.h"
#include "google/protobuf/text_format.h"
#include "tests/engine/catalog_support.h"
#include "tests/messages.h"

namespace strata::nn {
namespace {

constexpr v1::Dialect kBoth[] = {v1::PYTORCH, v1::KERAS};

struct Part {
  const char* kind;
  std::vector<std::string> samples;
};

template <typename M>
M Parsed(const Part& part, const std::string& attrs) {
  M m;
  const std::string text = absl::StrCat(part.kind, " { ", attrs, " }");
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &m)) << text;
  return m;
}

// f(dialect, complete message, name) for every sample in the dialects that have it. Every kind must have three samples,
// each good in one dialect at least, and out-of-range fields must be refused.
template <typename M, typename F>
void ForEachSample(const std::vector<Part>& parts, F f) {
  const auto* kinds = M::descriptor()->FindOneofByName("kind");
  for (int i = 0; i < kinds->field_count(); ++i) {
    const auto* kind = kinds->field(i);
    const auto part = std::find_if(parts.begin(), parts.end(), [&](const Part& p) { return p.kind == kind->name(); });
    ASSERT_NE(part, parts.end()) << kind->name() << " has no samples";
    EXPECT_GE(part->samples.size(), 3u) << kind->name();
    for (const std::string& attrs : part->samples) {
      bool exists = false;
      for (const v1::Dialect dialect : kBoth) {
        M m = Parsed<M>(*part, attrs);
        if (!Fill(dialect, "part", &m).ok()) continue;
        exists = true;
        SCOPED_TRACE(absl::StrCat(v1::Dialect_Name(dialect), " ", part->kind, " { ", attrs, " }"));
        ExpectSurvivesJson(dialect, m);
        ExpectFieldsOutOfRangeRefused(kind, Parsed<M>(*part, attrs), dialect);
        f(dialect, m);
        if (::testing::Test::HasFatalFailure()) return;
      }
      EXPECT_TRUE(exists) << part->kind << " { " << attrs << " }";
    }
  }
}

Tensor Random(const Shape& shape, int seed) {
  std::mt19937 random(static_cast<unsigned>(seed));
  std::uniform_real_distribution<double> uniform(-1, 1);
  Tensor t(DType::kF32, shape);
  for (int64_t i = 0; i < t.num_elements(); ++i) t.Set(i, static_cast<float>(uniform(random)));
  return t;
}

// A small model trains with `optimizer`, in the middle of an epoch a checkpoint is taken, and another session goes on
// from it: bit for bit.
void ExpectResumes(v1::Dialect dialect, const v1::Optimizer& optimizer) {
  auto model =
      Parse<v1::Model>("name: 'm' inputs { shape: 3 } layers { linear { units: 4 } } layers { linear { units: 2 } }");
  model.set_dialect(dialect);
  auto config = Parse<v1::TrainingConfig>("objectives { loss { mean_squared_error {} } } seed: 5");
  *config.mutable_optimizer() = optimizer;
  const auto one = TrainSession::Create(model, config, {}), two = TrainSession::Create(model, config, {});
  ASSERT_TRUE(one.ok() && two.ok()) << one.status();
  const auto step = [](TrainSession* session, int seed, bool ends_epoch) {
    const Tensor x = Random({4, 3}, seed), y = Random({4, 2}, seed + 50);
    const auto out = session->Step({{"input", x.view()}, {"target", y.view()}}, {.end_of_epoch = ends_epoch});
    ASSERT_TRUE(out.ok()) << out.status();
  };
  for (int i = 0; i < 3; ++i) ASSERT_NO_FATAL_FAILURE(step(one->get(), i, i == 1));
  ASSERT_TRUE((*two)->Load((*one)->Save()).ok());
  for (int i = 3; i < 6; ++i) {
    for (const auto& session : {one->get(), two->get()}) ASSERT_NO_FATAL_FAILURE(step(session, i, i == 3));
  }
  const NamedTensors a = (*one)->Save(), b = (*two)->Save();
  ASSERT_EQ(a.size(), b.size());
  for (const auto& [name, t] : a) {
    for (int64_t i = 0; i < t.num_elements(); ++i) ASSERT_EQ(t.At(i), b.at(name).At(i)) << name << "[" << i << "]";
  }
}

const std::vector<Part> kOptimizers = {
    {"sgd", {"", "learning_rate: 0.1 momentum: 0.9 nesterov: true", "momentum: 0.5"}},
    {"adam", {"", "amsgrad: true beta_1: 0.5", "epsilon: 0.1 learning_rate: 0.3"}},
    {"adamw", {"", "amsgrad: true", "beta_2: 0.9 learning_rate: 0.02"}},
    {"rmsprop", {"", "momentum: 0.9 centered: true", "rho: 0.5 epsilon: 0.01"}},
    {"adagrad", {"", "initial_accumulator_value: 0.3", "lr_decay: 0.1 learning_rate: 0.5"}},
    {"adadelta", {"", "rho: 0.5", "learning_rate: 0.3 epsilon: 0.01"}},
    {"adamax", {"", "beta_1: 0.5", "epsilon: 0.01 learning_rate: 0.3"}},
    {"nadam", {"", "beta_1: 0.5", "momentum_decay: 0.1 learning_rate: 0.3"}},
    {"lion", {"", "beta_1: 0.5", "learning_rate: 0.3 beta_2: 0.5"}},
};

// Three updates in a row, by plan and by reference, for weights of several shapes.
TEST(TrainingCatalog, Optimizers) {
  ForEachSample<v1::Optimizer>(kOptimizers, [](v1::Dialect dialect, const v1::Optimizer& optimizer) {
    for (const Shape& shape : {Shape{3, 5}, Shape{1}, Shape{2, 1, 7}}) {
      const auto rule = MakeOptimizer(dialect, optimizer, true);
      ASSERT_TRUE(rule.ok()) << rule.status();
      Graph g;
      Numbers n;
      const auto add = [&](const std::string& name, Tensor t) {
        n.inputs.push_back(std::move(t));
        return g.AddInput(name, DType::kF32, n.inputs.back().shape());
      };
      const Tensor start = Random(shape, 1);
      Value w = add("w", start.Clone());
      std::vector<Value> slots;
      for (const OptimizerRule::Slot& slot : rule->slots) {
        Tensor t(DType::kF32, shape);
        for (int64_t i = 0; i < t.num_elements(); ++i) t.Set(i, slot.copies_weight ? start.At(i) : slot.start);
        slots.push_back(add(absl::StrCat("slot ", slot.name), std::move(t)));
      }
      for (int t = 1; t <= 3; ++t) {
        const Value gradient = add(absl::StrCat("g", t), Random(shape, 10 + t));
        std::vector<Value> scalars;
        for (double v : rule->scalars({.t = t, .learning_rate = rule->learning_rate, .samples = 2})) {
          scalars.push_back(Scalar(&g, v));
        }
        w = rule->update(w, gradient, slots, scalars);
      }
      ASSERT_TRUE(g.ok()) << g.status();
      g.MarkOutput("w", w);
      for (const Value& slot : slots) g.MarkOutput("slot", slot);
      ASSERT_NO_FATAL_FAILURE(ExpectPlanEqualsReference(g, n));
      const std::vector<RefTensor> after = RunExact(g, ToRefs(n.inputs), {});
      EXPECT_NE(after[0].data[0], start.At(0)) << "nothing was updated";
    }
    ExpectResumes(dialect, optimizer);
  });
}

const std::vector<Part> kSchedules = {
    {"exponential",
     {"decay_rate: 0.5", "decay_rate: 0.9 initial_learning_rate: 0.2 decay_steps: 3",
      "decay_rate: 0.9 initial_learning_rate: 1 decay_steps: 2 staircase: true"}},
    {"step", {"step_size: 2", "step_size: 1 gamma: 0.9", "step_size: 5 gamma: 2"}},
    {"multi_step", {"milestones: [2, 3]", "milestones: [1, 1] gamma: 0.5", "milestones: 7"}},
    {"piecewise_constant", {"boundaries: 2 values: [1, 0.5]", "values: 0.1", "boundaries: [1, 3] values: [1, 2, 3]"}},
    {"polynomial",
     {"decay_steps: 4", "decay_steps: 3 power: 2 initial_learning_rate: 1",
      "decay_steps: 2 initial_learning_rate: 1 cycle: true"}},
    {"linear", {"", "start_factor: 0.5 total_iters: 2", "total_iters: 0"}},
    {"constant", {"", "factor: 0.5 total_iters: 2", "factor: 0"}},
    {"inverse_time",
     {"initial_learning_rate: 1 decay_steps: 2 decay_rate: 0.5",
      "initial_learning_rate: 0.1 decay_steps: 1 decay_rate: 3",
      "initial_learning_rate: 1 decay_steps: 3 decay_rate: 1 staircase: true"}},
    {"cosine",
     {"decay_steps: 4", "decay_steps: 3 initial_learning_rate: 1 alpha: 0.1",
      "decay_steps: 3 initial_learning_rate: 0.1 warmup_target: 1 warmup_steps: 2"}},
    {"cosine_restarts",
     {"first_decay_steps: 2", "first_decay_steps: 1 t_mul: 2 eta_min: 0.01",
      "first_decay_steps: 3 initial_learning_rate: 1 m_mul: 0.5"}},
    {"plateau", {"", "factor: 0.5 patience: 0", "mode: 'max' monitor: 'accuracy' cooldown: 2"}},
    {"one_cycle",
     {"max_learning_rate: 1 total_steps: 10", "max_learning_rate: 0.1 epochs: 3 steps_per_epoch: 4",
      "max_learning_rate: 1 total_steps: 7 three_phase: true anneal_strategy: 'linear'"}},
    {"lambda", {"expression: '0.9 ^ epoch'", "expression: '1 / (1 + epoch)'", "expression: '1 if epoch < 2 else 0.1'"}},
    {"multiplicative",
     {"expression: '0.9'", "expression: '0.5 if epoch % 2 == 0 else 1'", "expression: '1 / (1 + epoch)'"}},
};

// Rates are finite, no less than zero, the same each time, and do not depend on what was asked before.
TEST(TrainingCatalog, Schedules) {
  ForEachSample<v1::Schedule>(kSchedules, [](v1::Dialect dialect, const v1::Schedule& schedule) {
    const auto rule = MakeSchedule(dialect, schedule), other = MakeSchedule(dialect, schedule);
    ASSERT_TRUE(rule.ok()) << rule.status();
    std::vector<double> rates;
    for (int64_t e = 0; e < 7; ++e) rates.push_back(rule->rate(0.1, e));
    for (int64_t e = 6; e >= 0; --e) {
      EXPECT_TRUE(std::isfinite(rates[e]) && rates[e] >= 0) << "rate(" << e << ") = " << rates[e];
      EXPECT_EQ(other->rate(0.1, e), rates[e]) << "rate(" << e << ")";
    }
    if (schedule.has_plateau()) return;  // it watches values of evaluations: progress_test.cc
    v1::Optimizer optimizer;
    optimizer.mutable_sgd()->set_momentum(0.9);
    *optimizer.mutable_schedule() = schedule;
    ExpectResumes(dialect, optimizer);
  });
}

const std::vector<Part> kInitializers = {
    {"zeros", {"", "", ""}},
    {"ones", {"", "", ""}},
    {"constant", {"value: 2", "value: -0.5", "value: 0"}},
    {"uniform", {"", "low: -2 high: -1", "low: 1 high: 1"}},
    {"normal", {"", "mean: 3 stddev: 0", "stddev: 2"}},
    {"truncated_normal", {"", "mean: 1 stddev: 0.5", "low: -1 high: 0.5"}},
    {"variance_scaling", {"", "scale: 2 mode: FAN_OUT distribution: UNIFORM", "mode: FAN_AVG distribution: NORMAL"}},
    {"orthogonal", {"", "gain: 2", "gain: -1"}},
    {"identity", {"", "gain: 3", "gain: -1"}},
};

// The same seed gives the same bits, another one others (where there is chance), and all numbers are finite.
TEST(TrainingCatalog, Initializers) {
  ForEachSample<v1::Initializer>(kInitializers, [](v1::Dialect dialect, const v1::Initializer& initializer) {
    const bool square = initializer.has_identity();
    for (const Shape& shape : {Shape{3, 3}, Shape{7, 5}, square ? Shape{1, 4} : Shape{2, 3, 5}}) {
      const auto a = Initialize(dialect, initializer, shape, 1, 2), b = Initialize(dialect, initializer, shape, 1, 2);
      const auto other = Initialize(dialect, initializer, shape, 3, 2);
      ASSERT_TRUE(a.ok() && b.ok() && other.ok()) << a.status();
      ASSERT_EQ(a->shape(), shape);
      bool differs = false;
      for (int64_t i = 0; i < a->num_elements(); ++i) {
        ASSERT_TRUE(std::isfinite(a->At(i)));
        ASSERT_EQ(a->At(i), b->At(i));
        differs |= a->At(i) != other->At(i);
      }
      const bool chance = initializer.has_variance_scaling() || initializer.has_orthogonal() ||
                          initializer.has_truncated_normal() ||
                          (initializer.has_uniform() && initializer.uniform().low() < initializer.uniform().high()) ||
                          (initializer.has_normal() && initializer.normal().stddev() > 0);
      EXPECT_EQ(differs, chance);
    }
  });
}

const std::vector<Part> kConstraints = {
    {"max_norm", {"", "max_value: 0.5", "max_value: 0.3 axis: [0, 1]"}},
    {"non_neg", {"", "", ""}},
    {"unit_norm", {"", "axis: 1", "axis: [0, 1]"}},
    {"min_max_norm", {"", "min_value: 0.5 max_value: 0.7", "rate: 0.5 max_value: 0.2 axis: 1"}},
    {"radial", {"", "", ""}},
};

// Two projections differ from one by no more than rounding, and plans agree with the reference.
TEST(TrainingCatalog, Constraints) {
  ForEachSample<v1::Constraint>(kConstraints, [](v1::Dialect, const v1::Constraint& constraint) {
    const bool kernel = constraint.has_radial();
    for (const Shape& shape : {kernel ? Shape{3, 3, 2, 1} : Shape{3, 5}, kernel ? Shape{5, 5, 1, 2} : Shape{1, 7},
                               kernel ? Shape{7, 7, 1, 1} : Shape{2, 3, 5}}) {
      Graph g;
      Numbers n;
      n.inputs.push_back(Random(shape, 5));
      const Value once = Project(constraint, g.AddInput("w", DType::kF32, shape)), twice = Project(constraint, once);
      ASSERT_TRUE(g.ok()) << g.status();
      g.MarkOutput("once", once);
      g.MarkOutput("twice", twice);
      ASSERT_NO_FATAL_FAILURE(ExpectPlanEqualsReference(g, n));
      // One goes part of the way, the other turns the kernel.
      if (kernel || (constraint.has_min_max_norm() && constraint.min_max_norm().rate() != 1)) continue;
      const std::vector<RefTensor> out = RunExact(g, ToRefs(n.inputs), {});
      for (size_t i = 0; i < out[0].data.size(); ++i) ASSERT_NEAR(out[0].data[i], out[1].data[i], 1e-5);
    }
  });
}

// A regularizer is one message: l1, l2, both, and the one of rows.
TEST(TrainingCatalog, Regularizers) {
  for (const char* text : {"l1: 0.1", "l2: 0.3", "l1: 0.2 l2: 0.1", "orthogonal { factor: 0.5 }",
                           "orthogonal { factor: 0.1 mode: 'columns' }"}) {
    v1::Regularizer r;
    ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &r));
    ASSERT_TRUE(Fill(v1::KERAS, "part", &r).ok());
    SCOPED_TRACE(text);
    ExpectSurvivesJson(v1::KERAS, r);
    for (const Shape& shape : {Shape{3, 5}, Shape{4, 2}, Shape{3, 7}}) {
      Graph g;
      Numbers n;
      n.inputs.push_back(Random(shape, 6));
      const Value w = g.AddInput("w", DType::kF32, shape), penalty = Penalty(r, w), wrt[] = {w};
      g.MarkOutput("penalty", penalty);
      g.MarkOutput("gradient", Gradients(penalty, {wrt, wrt + 1})[0]);
      ASSERT_TRUE(g.ok()) << g.status();
      ASSERT_NO_FATAL_FAILURE(ExpectPlanEqualsReference(g, n));
      ASSERT_NO_FATAL_FAILURE(ExpectGradientsEqualDifferences(g, n, 1));
    }
  }
  for (const char* text : {"l1: -1", "l2: -0.5", "orthogonal { factor: -1 }"}) {
    v1::Regularizer r;
    ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &r));
    EXPECT_EQ(Fill(v1::KERAS, "part", &r).code(), absl::StatusCode::kInvalidArgument) << text;
  }
}

}  // namespace
}  // namespace strata::nn
