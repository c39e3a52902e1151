#include "engine/session.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "engine/kernels/kernel.h"
#include "tests/messages.h"

namespace strata {
namespace {

const char kMlp[] = R"(
  name: "xor" dialect: PYTORCH
  inputs { shape: 2 }
  layers { linear { units: 8 } } layers { tanh {} } layers { linear { units: 1 } } layers { sigmoid {} })";
const char kConfig[] = R"(
  objectives { loss { binary_cross_entropy_probabilities {} } }
  optimizer { adam { learning_rate: 0.05 } }
  metrics { metric { accuracy {} } }
  seed: 7)";

struct Batch {
  Tensor x, y;
  NamedViews views() const { return {{"input", x.view()}, {"target", y.view()}}; }
};

Batch MakeBatch(int64_t n, int seed) {
  std::mt19937 random(seed);
  std::uniform_real_distribution<float> uniform(0, 1);
  Batch b{Tensor(DType::kF32, {n, 2}), Tensor(DType::kF32, {n, 1})};
  for (int64_t i = 0; i < n; ++i) {
    const float p = uniform(random), q = uniform(random);
    b.x.data<float>()[2 * i] = p;
    b.x.data<float>()[2 * i + 1] = q;
    b.y.data<float>()[i] = (p > 0.5f) != (q > 0.5f);
  }
  return b;
}

std::unique_ptr<TrainSession> MakeSession(const std::string& model, const std::string& config,
                                          SessionOptions options = {}) {
  auto session = TrainSession::Create(Parse<v1::Model>(model), Parse<v1::TrainingConfig>(config), options);
  EXPECT_TRUE(session.ok()) << session.status();
  return session.ok() ? *std::move(session) : nullptr;
}

void ExpectEqual(const NamedTensors& a, const NamedTensors& b, double tolerance) {
  ASSERT_EQ(a.size(), b.size());
  for (const auto& [name, t] : a) {
    const Tensor& u = b.at(name);
    ASSERT_EQ(t.shape(), u.shape()) << name;
    for (int64_t i = 0; i < t.num_elements(); ++i) {
      if (tolerance == 0) {
        ASSERT_EQ(t.At(i), u.At(i)) << name << "[" << i << "]";
      } else {
        ASSERT_NEAR(t.At(i), u.At(i), tolerance * (1 + std::fabs(u.At(i)))) << name << "[" << i << "]";
      }
    }
  }
}

TEST(Session, LearnsXor) {
  auto session = MakeSession(kMlp, kConfig);
  double first = 0, last = 0;
  for (int i = 0; i < 500; ++i) {
    const Batch b = MakeBatch(32, i);
    auto out = session->Step(b.views());
    ASSERT_TRUE(out.ok()) << out.status();
    ASSERT_EQ(out->step, i + 1);
    (i == 0 ? first : last) = out->loss;
  }
  EXPECT_GT(first, 0.5);
  EXPECT_LT(last, 0.3);
  const Batch test = MakeBatch(256, 9999);
  auto evaluation = session->Evaluate(test.views(), true);
  ASSERT_TRUE(evaluation.ok()) << evaluation.status();
  EXPECT_GT(evaluation->metrics.at("accuracy"), 0.9);
  EXPECT_EQ(evaluation->samples, 256);
}

TEST(Session, OptimisedEqualsReference) {
  auto fast = MakeSession(kMlp, kConfig), exact = MakeSession(kMlp, kConfig, {.reference = true});
  for (int i = 0; i < 5; ++i) {
    const Batch b = MakeBatch(10 + i, i);
    auto f = fast->Step(b.views()), e = exact->Step(b.views());
    ASSERT_TRUE(f.ok() && e.ok()) << f.status() << e.status();
    EXPECT_NEAR(f->loss, e->loss, 1e-5);
    EXPECT_NEAR(f->gradient_norm, e->gradient_norm, 1e-5);
  }
  ExpectEqual(fast->Weights(), exact->Weights(), 1e-4);
}

TEST(Session, ResumesBitForBit) {
  auto one = MakeSession(kMlp, kConfig);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(one->Step(MakeBatch(8, i).views()).ok());
  auto two = MakeSession(kMlp, kConfig);
  ASSERT_TRUE(two->Load(one->Save()).ok());
  EXPECT_EQ(two->step(), 3);
  for (int i = 3; i < 6; ++i) {
    ASSERT_TRUE(one->Step(MakeBatch(8, i).views()).ok());
    ASSERT_TRUE(two->Step(MakeBatch(8, i).views()).ok());
  }
  ExpectEqual(one->Save(), two->Save(), 0);
}

TEST(Session, SkipsNonFiniteSteps) {
  auto session = MakeSession(kMlp, kConfig);
  ASSERT_TRUE(session->Step(MakeBatch(8, 0).views()).ok());
  const NamedTensors before = session->Weights();
  Batch bad = MakeBatch(8, 1);
  bad.x.data<float>()[3] = NAN;
  auto out = session->Step(bad.views());
  ASSERT_TRUE(out.ok()) << out.status();
  EXPECT_TRUE(out->skipped);
  EXPECT_EQ(out->step, 2);
  ExpectEqual(session->Weights(), before, 0);

  auto failing = MakeSession(kMlp, std::string(kConfig) + " non_finite: FAIL_RUN");
  auto failed = failing->Step(bad.views());
  EXPECT_EQ(failed.status().code(), absl::StatusCode::kFailedPrecondition);
}

TEST(Session, VersionPredictsWhatTheSessionEvaluates) {
  auto session = MakeSession(kMlp, kConfig);
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(session->Step(MakeBatch(8, i).views()).ok());
  auto version = Version::Create(Parse<v1::Model>(kMlp), session->Weights(), {});
  ASSERT_TRUE(version.ok()) << version.status();
  EXPECT_TRUE((*version)->rows_independent());
  EXPECT_EQ((*version)->outputs()[0].shape, (Shape{-1, 1}));
  const Batch b = MakeBatch(5, 3);
  auto all = (*version)->Predict({{"input", b.x.view()}});
  ASSERT_TRUE(all.ok()) << all.status();
  const Tensor& y = all->begin()->second;
  ASSERT_EQ(y.shape(), (Shape{5, 1}));
  double loss = 0;
  for (int i = 0; i < 5; ++i) {
    const double p = y.At(i), t = b.y.At(i);
    loss -= (t * std::log(p) + (1 - t) * std::log(1 - p)) / 5;
  }
  auto evaluation = session->Evaluate(b.views(), true);
  ASSERT_TRUE(evaluation.ok());
  EXPECT_NEAR(evaluation->loss, loss, 1e-5);
}

// Mixed precision follows float32 closely and trains to the same loss.
TEST(Session, MixedPrecisionFollowsFloat32) {
  const char kWide[] = R"(
    name: "wide" dialect: PYTORCH
    inputs { shape: 2 }
    layers { linear { units: 128 } } layers { tanh {} } layers { linear { units: 128 } } layers { tanh {} }
    layers { linear { units: 1 } } layers { sigmoid {} })";
  auto mixed = MakeSession(kWide, absl::StrCat(kConfig, " precision: BF16_MIXED"));
  auto full = MakeSession(kWide, kConfig);
  EXPECT_EQ(mixed->warnings().empty(), CpuHasBf16());
  EXPECT_TRUE(full->warnings().empty());
  double first = 0, last_mixed = 0, last_full = 0;
  for (int i = 0; i < 60; ++i) {
    const Batch b = MakeBatch(128, i);
    const auto x = mixed->Step(b.views()), y = full->Step(b.views());
    ASSERT_TRUE(x.ok() && y.ok()) << x.status() << y.status();
    if (i < 2) {
      EXPECT_NEAR(x->loss, y->loss, 0.02 * y->loss) << "step " << i;
    }
    if (i == 0) {
      first = x->loss;
      EXPECT_EQ(x->loss == y->loss, !CpuHasBf16());  // it is another precision
    }
    if (i >= 50) {
      last_mixed += x->loss / 10;
      last_full += y->loss / 10;
    }
  }
  EXPECT_LT(last_mixed, 0.6 * first);
  EXPECT_LT(last_mixed, 1.3 * last_full);
}

// Recurrent steps computed again give the gradients of steps saved, and take less memory.
TEST(Session, RecomputedScansTrainAlike) {
  const struct {
    const char* layer;
    bool spares_memory;  // or keeps the products of the input in place of the sums that it would save
  } kModels[] = {{"lstm { units: 24 }", true},
                 {"gru { units: 24 }", true},
                 {"simple_rnn { units: 24 activation { relu {} } }", false}};
  for (const auto& [layer, spares_memory] : kModels) {
    SCOPED_TRACE(layer);
    const std::string model = absl::StrCat("name: \"r\" dialect: KERAS inputs { shape: 50 shape: 3 } layers { ", layer,
                                           " } layers { linear { units: 1 activation { sigmoid {} } } }");
    const std::string config =
        "objectives { loss { mean_squared_error {} } } optimizer { adam { learning_rate: 0.01 } } seed: 7 ";
    auto saved = MakeSession(model, config), again = MakeSession(model, absl::StrCat(config, "recompute_scans: true"));
    ASSERT_TRUE(saved && again);
    Batch b{Tensor(DType::kF32, {8, 50, 3}), Tensor(DType::kF32, {8, 1})};
    for (int64_t i = 0; i < b.x.num_elements(); ++i) b.x.data<float>()[i] = std::sin(static_cast<float>(i * i % 97));
    for (int64_t i = 0; i < 8; ++i) b.y.data<float>()[i] = static_cast<float>(i % 2);
    for (int i = 0; i < 5; ++i) {
      const auto x = saved->Step(b.views()), y = again->Step(b.views());
      ASSERT_TRUE(x.ok() && y.ok()) << x.status() << y.status();
      EXPECT_NEAR(x->loss, y->loss, 1e-4);
      EXPECT_NEAR(x->gradient_norm, y->gradient_norm, 1e-3);
    }
    ExpectEqual(saved->Weights(), again->Weights(), 1e-3);
    EXPECT_LE(again->memory_bytes(), saved->memory_bytes());
    EXPECT_EQ(again->memory_bytes() < saved->memory_bytes(), spares_memory);
  }
}

// Two threads take ranges of rows where there is enough to do: of this model from 8 rows on.
TEST(Session, VersionPredictsTheSameWithThreads) {
  const std::string wide =
      absl::StrReplaceAll(kMlp, {{"layers { tanh {} }", "layers { linear { units: 1600 } } layers { tanh {} }"}});
  auto session = MakeSession(wide, kConfig);
  ASSERT_TRUE(session->Step(MakeBatch(8, 1).views()).ok());
  const auto one = Version::Create(Parse<v1::Model>(wide), session->Weights(), {});
  const auto two = Version::Create(Parse<v1::Model>(wide), session->Weights(), {.threads = 2});
  ASSERT_TRUE(one.ok() && two.ok());
  for (const int64_t rows : {1, 2, 7, 8, 9, 33}) {
    const Batch b = MakeBatch(rows, static_cast<int>(rows));
    const auto x = (*one)->Predict({{"input", b.x.view()}}), y = (*two)->Predict({{"input", b.x.view()}});
    ASSERT_TRUE(x.ok() && y.ok()) << x.status() << y.status();
    ExpectEqual(*x, *y, 1e-6);
  }
}

// Ids out of range are counted over the ranges of all threads.
TEST(Session, VersionChecksIdsWithThreads) {
  const v1::Model model = Parse<v1::Model>(R"(
    name: "m" dialect: PYTORCH
    inputs { name: "ids" dtype: INT64 shape: 8 }
    layers { embedding { input_dim: 50 output_dim: 16 } }
    layers { flatten {} }
    layers { linear { units: 512 } })");
  auto session = TrainSession::Create(
      model,
      Parse<v1::TrainingConfig>(
          "objectives { loss { mean_squared_error {} } } optimizer { sgd { learning_rate: 0.1 } }"),
      {});
  ASSERT_TRUE(session.ok()) << session.status();
  const auto one = Version::Create(model, (*session)->Weights(), {});
  const auto two = Version::Create(model, (*session)->Weights(), {.threads = 2});
  ASSERT_TRUE(one.ok() && two.ok()) << one.status() << two.status();
  Tensor ids(DType::kI64, {16, 8});
  for (int64_t i = 0; i < 128; ++i) ids.data<int64_t>()[i] = i * 7 % 50;
  const auto x = (*one)->Predict({{"ids", ids.view()}}), y = (*two)->Predict({{"ids", ids.view()}});
  ASSERT_TRUE(x.ok() && y.ok()) << x.status() << y.status();
  ExpectEqual(*x, *y, 1e-6);
  for (const int64_t i : {3, 70, 127}) ids.data<int64_t>()[i] = i % 2 == 0 ? 50 : -1;
  for (const Version* v : {one->get(), two->get()}) {
    const absl::Status status = v->Predict({{"ids", ids.view()}}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_NE(status.message().find("ids must be in [0, 50), got 3 elements that are not"), std::string::npos)
        << status;
  }
}

struct BadBatch {
  const char* name;
  std::vector<std::pair<std::string, Shape>> tensors;
  const char* message;
};

// A stateful layer goes on from the last batch, unless its states are reset; a refused batch resets nothing.
TEST(Session, ResetsStates) {
  const auto session =
      MakeSession(R"(name: "s" dialect: KERAS inputs { shape: [3, 1] batch_size: 2 }
      layers { lstm { units: 2 stateful: true } } layers { linear { units: 1 } })",
                  R"(objectives { loss { mean_squared_error {} } } optimizer { sgd { learning_rate: 0 } } seed: 1)");
  ASSERT_NE(session, nullptr);
  Tensor x(DType::kF32, {2, 3, 1}), y(DType::kF32, {2, 1});
  for (int i = 0; i < 6; ++i) x.data<float>()[i] = 0.5f * static_cast<float>(i) - 1;
  const NamedViews batch{{"input", x.view()}, {"target", y.view()}};
  const auto loss = [&](bool reset) {
    const auto step = session->Step(batch, {.reset_states = reset});
    EXPECT_TRUE(step.ok()) << step.status();
    return step.ok() ? step->loss : 0;
  };
  const double first = loss(false), second = loss(false);
  EXPECT_NE(first, second);
  const NamedTensors before = session->Weights();
  EXPECT_FALSE(session->Step({{"input", x.view()}}, {.reset_states = true}).ok());
  ExpectEqual(session->Weights(), before, 0);
  EXPECT_EQ(loss(true), first);
  EXPECT_EQ(loss(false), second);
}

// A metric has weights only where it names them.
TEST(Session, WeighsMetricsThatNameTheirWeights) {
  const auto session = MakeSession(R"(name: "m" dialect: KERAS inputs { shape: 1 } layers { linear { units: 1 } })", R"(
      objectives { loss { mean_squared_error {} } } optimizer { sgd { learning_rate: 0 } } seed: 1
      metrics { metric { name: "plain" mean_absolute_error {} } }
      metrics { metric { name: "weighted" mean_absolute_error {} } sample_weight: "w" })");
  ASSERT_NE(session, nullptr);
  Tensor x(DType::kF32, {2, 1}), y(DType::kF32, {2, 1}), w(DType::kF32, {2});
  y.data<float>()[0] = 1;
  y.data<float>()[1] = 3;
  w.data<float>()[0] = 3;
  w.data<float>()[1] = 1;
  const auto step = session->Step({{"input", x.view()}, {"target", y.view()}, {"w", w.view()}});
  ASSERT_TRUE(step.ok()) << step.status();
  EXPECT_FLOAT_EQ(step->metrics.at("plain"), 2);
  EXPECT_FLOAT_EQ(step->metrics.at("weighted"), 1.5);
  const auto without = session->Step({{"input", x.view()}, {"target", y.view()}});
  EXPECT_EQ(without.status().message(), "tensors[\"w\"]: must be given for metrics[1], got nothing");
}

TEST(Session, RefusesBadBatches) {
  auto session = MakeSession(kMlp, kConfig);
  const BadBatch rows[] = {
      {"missing input", {{"target", {4, 1}}}, "tensors[\"input\"]: must be given"},
      {"missing target", {{"input", {4, 2}}}, "tensors[\"target\"]: must be given"},
      {"wrong width", {{"input", {4, 3}}, {"target", {4, 1}}}, "tensors[\"input\"].shape: must be [?, 2], got [4, 3]"},
      {"wrong rank", {{"input", {4}}, {"target", {4, 1}}}, "tensors[\"input\"].shape: must be [?, 2], got [4]"},
      {"rows differ", {{"input", {4, 2}}, {"target", {3, 1}}}, "tensors[\"target\"].shape: must have 4 rows"},
      {"no rows", {{"input", {0, 2}}, {"target", {0, 1}}}, "tensors: must have at least one sample"},
      {"stranger",
       {{"input", {4, 2}}, {"target", {4, 1}}, {"z", {4}}},
       "tensors[\"z\"]: must be one of input, target, got \"z\""},
      {"target shape",
       {{"input", {4, 2}}, {"target", {4, 2}}},
       "objectives[0].loss.binary_cross_entropy_probabilities."},
  };
  for (const BadBatch& row : rows) {
    std::vector<Tensor> owned;
    NamedViews views;
    for (const auto& [name, shape] : row.tensors) owned.emplace_back(DType::kF32, shape);
    for (size_t i = 0; i < owned.size(); ++i) views[row.tensors[i].first] = owned[i].view();
    auto out = session->Step(views);
    EXPECT_EQ(out.status().code(), absl::StatusCode::kInvalidArgument) << row.name;
    EXPECT_NE(out.status().message().find(row.message), std::string::npos) << row.name << ": " << out.status();
  }
  EXPECT_TRUE(session->Step(MakeBatch(4, 0).views()).ok());
}

TEST(Session, RefusesArgumentsOfOtherNames) {
  struct Row {
    const char *layer, *name, *message;  // empty: taken
  };
  const Row rows[] = {
      {"lstm { units: 2 }", "mask", ""},
      {"lstm { units: 2 }", "masks",
       "calls[0].named_args[\"masks\"]: must be one of mask for layers[0].lstm, got \"masks\""},
      {"linear { units: 2 }", "mask",
       "calls[0].named_args[\"mask\"]: must be absent: layers[0].linear takes no argument by name, got \"mask\""},
      {"keras_multi_head_attention { num_heads: 1 key_dim: 2 }", "mask",
       "calls[0].named_args[\"mask\"]: must be one of attention_mask for layers[0].keras_multi_head_attention, got "
       "\"mask\""},
      {"model { inputs { name: \"i\" } layers { linear { units: 2 } } }", "mask",
       "calls[0].named_args[\"mask\"]: must be absent: layers[0].model takes no argument by name, got \"mask\""},
  };
  for (const Row& row : rows) {
    const bool attention = std::string(row.layer).find("attention") != std::string::npos;
    const auto model = Parse<v1::Model>(
        absl::StrCat("dialect: KERAS inputs { name: 'x' shape: [3, 4] } inputs { name: 'm' shape: 3 dtype: BOOL } "
                     "layers { name: 'a' ",
                     row.layer, " } calls { layer: 'a' args { call: 'x' } ", attention ? "args { call: 'x' } " : "",
                     "named_args { key: '", row.name, "' value { call: 'm' } } }"));
    const absl::Status status = Inspect(model, nullptr, 2).status();
    EXPECT_EQ(std::string(status.message()), row.message) << row.layer;
    EXPECT_EQ(status.code(), *row.message == '\0' ? absl::StatusCode::kOk : absl::StatusCode::kInvalidArgument);
  }
}

TEST(Session, InspectCountsParametersAndBytes) {
  const v1::TrainingConfig config = Parse<v1::TrainingConfig>(kConfig);
  auto facts = Inspect(Parse<v1::Model>(kMlp), &config, 4);
  ASSERT_TRUE(facts.ok()) << facts.status();
  EXPECT_EQ(facts->num_parameters, 2 * 8 + 8 + 8 + 1);
  EXPECT_EQ(facts->weight_bytes, 4 * 33);
  EXPECT_EQ(facts->optimizer_bytes, 2 * 4 * 33);
  EXPECT_GE(facts->flops, 2 * 4 * (16 + 8));
  EXPECT_GT(facts->activation_bytes, 0);
}

}  // namespace
}  // namespace strata
