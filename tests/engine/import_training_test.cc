// compile()'s arguments in Keras' words, and what depends on which file they came in.
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "engine/import/framework.h"
#include "engine/nn/optimizers/optimizer.h"
#include "engine/session.h"
#include "tests/messages.h"

namespace strata {
namespace {

v1::Model Heads(int count) {
  v1::Model model = Parse<v1::Model>("name: 'm' dialect: KERAS inputs { name: 'x' shape: 3 }");
  for (int i = 0; i < count; ++i) {
    const std::string name = i == 0 ? "a" : "b";
    v1::Layer* layer = model.add_layers();
    layer->set_name(name);
    layer->mutable_linear()->set_units(2);
    v1::Call* call = model.add_calls();
    call->set_name(name);
    call->set_layer(name);
    call->add_args()->set_call("x");
    v1::Output* output = model.add_outputs();
    output->set_name(name);
    output->mutable_edge()->set_call(name);
  }
  const auto complete = Complete(model);
  EXPECT_TRUE(complete.ok()) << complete.status();
  return *complete;
}

TEST(ImportTraining, WeightedMetricsAreWeighedAsTheirLossIs) {
  const v1::Model one = Heads(1), two = Heads(2);
  const auto plain = ImportKerasTraining(
      one, R"({"optimizer_config": {"class_name": "SGD", "config": {"is_legacy_optimizer": false}}, "loss": "mse",
               "metrics": ["mae"], "weighted_metrics": ["mse", "mae"]})");
  ASSERT_TRUE(plain.ok()) << plain.status();
  ASSERT_EQ(plain->metrics_size(), 3);
  EXPECT_EQ(plain->objectives(0).sample_weight(), "sample_weight");
  EXPECT_EQ(plain->metrics(0).sample_weight(), "");
  EXPECT_EQ(plain->metrics(1).sample_weight(), "sample_weight");
  EXPECT_EQ(plain->metrics(2).sample_weight(), "sample_weight");
  // By name: only the second output is weighed.
  const auto named =
      ImportKerasTraining(two, R"({"optimizer": {"class_name": "SGD", "config": {"is_legacy_optimizer": false}},
               "loss": {"a": "mse", "b": "mse"}, "metrics": null, "weighted_metrics": {"b": ["mae"]}})");
  ASSERT_TRUE(named.ok()) << named.status();
  EXPECT_EQ(named->objectives(0).sample_weight(), "");
  EXPECT_EQ(named->objectives(1).sample_weight(), "sample_weight_1");
  ASSERT_EQ(named->metrics_size(), 1);
  EXPECT_EQ(named->metrics(0).sample_weight(), "sample_weight_1");
  EXPECT_EQ(named->metrics(0).target(), "target_1");
  for (const auto* config : {&*plain, &*named}) {
    const v1::Model& model = config == &*plain ? one : two;
    for (const KerasContainer container : {KerasContainer::kHdf5, KerasContainer::kArchive}) {
      const auto written = ExportKerasTraining(model, *config, container);
      ASSERT_TRUE(written.ok()) << written.status();
      EXPECT_FALSE(nlohmann::json::parse(*written)["weighted_metrics"].is_null()) << *written;
      const auto again = ImportKerasTraining(model, *written);
      ASSERT_TRUE(again.ok()) << again.status() << *written;
      ASSERT_EQ(again->metrics_size(), config->metrics_size()) << *written;
      for (int i = 0; i < config->metrics_size(); ++i) {
        EXPECT_EQ(again->metrics(i).sample_weight(), config->metrics(i).sample_weight()) << *written;
        EXPECT_EQ(again->metrics(i).metric().kind_case(), config->metrics(i).metric().kind_case()) << *written;
      }
      for (int i = 0; i < config->objectives_size(); ++i) {
        EXPECT_EQ(again->objectives(i).sample_weight(), config->objectives(i).sample_weight()) << *written;
      }
    }
  }
}

TEST(ImportTraining, NadamGoesOnAsTheFileSaysItsStepsAreMade) {
  const struct {
    const char* name;
    const char* json;
    bool has;
    int64_t traces;
    bool eager;
  } kCases[] = {
      {"HDF5", R"({"optimizer_config": OPT, "loss": "mse", "metrics": ["mae"]})", true, 1, false},
      {"archive", R"({"optimizer": OPT, "loss": "mse", "metrics": null})", true, 1, false},
      {"metrics by name", R"({"optimizer": OPT, "loss": "mse", "metrics": ["mae"]})", true, 2, false},
      {"a metric that is an object",
       R"({"optimizer": OPT, "loss": "mse", "metrics": [{"class_name": "MeanSquaredError", "config": {}}]})", true, 1,
       false},
      {"weighted metrics", R"({"optimizer": OPT, "loss": "mse", "weighted_metrics": [["mae"]]})", true, 2, false},
      {"eager", R"({"optimizer": OPT, "loss": "mse", "metrics": ["mae"], "run_eagerly": true})", true, 1, true},
      {"Keras 3", R"({"optimizer": {"class_name": "Nadam", "config": {"use_ema": false}}, "loss": "mse"})", false, 0,
       false},
      {"legacy", R"({"optimizer_config": {"class_name": "Nadam", "config": {"decay": 0.004}}, "loss": "mse"})", false,
       0, false},
  };
  const v1::Model model = Heads(1);
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    std::string json = c.json;
    if (const size_t at = json.find("OPT"); at != std::string::npos) {
      json.replace(at, 3, R"({"class_name": "Nadam", "config": {"is_legacy_optimizer": false}})");
    }
    const auto config = ImportKerasTraining(model, json);
    ASSERT_TRUE(config.ok()) << config.status();
    const v1::Optimizer& o = config->optimizer();
    ASSERT_EQ(o.has_nadam_product(), c.has);
    if (!c.has) continue;
    EXPECT_EQ(o.nadam_product().traces(), c.traces);
    EXPECT_EQ(o.nadam_product().eager(), c.eager);
    const auto written = ExportKerasTraining(model, *config, KerasContainer::kArchive);
    ASSERT_TRUE(written.ok()) << written.status();
    EXPECT_EQ(nlohmann::json::parse(*written).value("run_eagerly", false), c.eager);
  }
}

// `_u_product` of tf.keras 2.21's Nadam after each step of a model with five weights that was loaded after `since`
// steps, and of a fresh one.
TEST(NadamProduct, IsTfKerass) {
  const struct {
    const char* name;
    const char* product;
    std::vector<double> want;
  } kCases[] = {
      {"compiled, loaded after 4",
       "since: 4 traces: 1 eager: false",
       {0.04304981604218483, 0.002122847829014063, 0.0001188544774777256}},
      {"eager, loaded after 4",
       "since: 4 traces: 1 eager: true",
       {0.04304981604218483, 0.023580923676490784, 0.013248910196125507}},
      {"compiled, fresh",
       "since: 0 traces: 2 eager: false",
       {0.022450659424066544, 0.0006042144377715886, 1.923720628838055e-05, 7.160241466408479e-07}},
      {"eager, fresh",
       "since: 0 traces: 1 eager: true",
       {0.46799996495246887, 0.22711102664470673, 0.11397993564605713, 0.05901814252138138}},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    auto o = Parse<v1::Optimizer>(
        std::string("nadam { learning_rate: 1 beta_1: 0.9 beta_2: 0.999 epsilon: 1e-7 schedule_decay: 1 } "
                    "nadam_product { ") +
        c.product + " weights: ['a', 'b', 'c', 'd', 'e'] }");
    const auto rule = nn::MakeOptimizer(v1::KERAS, o, true);
    ASSERT_TRUE(rule.ok()) << rule.status();
    const int64_t since = o.nadam_product().since();
    for (int again = 0; again < 2; ++again) {  // as a resumed run asks
      for (size_t i = 0; i < c.want.size(); ++i) {
        const int64_t t = since + 1 + static_cast<int64_t>(i);
        const double now = 0.9 * (1 - 0.5 * std::pow(0.96, static_cast<double>(t)));
        // The last weight takes the product that the step leaves: (1 - mu_t) / (1 - product).
        const double scale = rule->scalars({.t = t, .learning_rate = 1, .turn = 4})[2];
        EXPECT_NEAR(1 - (1 - now) / scale, c.want[i], 2e-7) << t;
      }
    }
  }
}

TEST(NadamProduct, MustNameParameters) {
  auto config = Parse<v1::TrainingConfig>(
      "objectives { loss { mean_squared_error {} } } optimizer { nadam {} nadam_product { weights: 'a/kernel' weights: "
      "'a/no' } }");
  const Tensor x(DType::kF32, {2, 3}), y(DType::kF32, {2, 2});
  auto session = TrainSession::Create(Heads(1), config, {});
  ASSERT_TRUE(session.ok()) << session.status();
  const absl::Status status = (*session)->Step({{"x", x.view()}, {"target", y.view()}}).status();
  EXPECT_EQ(status.message(), "optimizer.nadam_product.weights[1]: must name a parameter, got \"a/no\"");
}

}  // namespace
}  // namespace strata
