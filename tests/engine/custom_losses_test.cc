// Losses given as text: which argument is which.
#include <gtest/gtest.h>
#include <cmath>

#include "absl/strings/str_cat.h"
#include "engine/session.h"
#include "tests/messages.h"

namespace strata {
namespace {

std::string Model(const std::string& definitions, const std::string& layers, const std::string& dialect = "KERAS") {
  return R"j({"name": "m", "dialect": ")j" + dialect + R"j(", "inputs": [{"shape": [4]}], "customComponents": [)j" +
         definitions + R"j(], "layers": [)j" + layers + "]}";
}

Tensor Ramp(Shape shape, double scale) {
  Tensor t(DType::kF32, std::move(shape));
  for (int64_t i = 0; i < t.num_elements(); ++i) t.Set(i, std::sin(static_cast<double>(i)) * scale);
  return t;
}

TEST(CustomLosses, BothOrdersOfArguments) {
  for (const char* dialect : {"KERAS", "PYTORCH"}) {
    for (const bool first : {false, true}) {
      const auto model = FromJson<v1::Model>(Model(
          R"j({"name": "Zero", "kind": "LAYER", "weights": [{"name": "z", "shape": "[1]", "initializer": {"zeros": {}}}],
                    "body": "x * 0 + z"})j",
          R"j({"custom": {"component": "Zero"}})j", dialect));
      v1::TrainingConfig config = FromJson<v1::TrainingConfig>(R"j({"optimizer": {"sgd": {"learningRate": 0}}})j");
      v1::CustomLoss* loss = config.add_objectives()->mutable_loss()->mutable_custom();
      // The prediction is 0 and the target 3: a - 2 b tells which is which.
      *loss->mutable_definition() = FromJson<v1::CustomComponent>(
          R"j({"name": "l", "kind": "LOSS", "inputs": ["a", "b"], "body": "mean(a - 2 * b)"})j");
      loss->mutable_definition()->set_target_first(first);
      auto session = TrainSession::Create(model, config, {});
      ASSERT_TRUE(session.ok()) << session.status();
      const Tensor x = Ramp({2, 4}, 1);
      Tensor y(DType::kF32, {2, 4});
      for (int64_t i = 0; i < 8; ++i) y.Set(i, 3);
      const auto step = (*session)->Step({{"input", x.view()}, {"target", y.view()}});
      ASSERT_TRUE(step.ok()) << step.status();
      EXPECT_NEAR(step->loss, first ? 3 : -6, 1e-6) << dialect << first;
    }
  }
}

// Further predictions follow the first; the target is before all of them or behind them.
TEST(CustomLosses, TwoPredictions) {
  for (const char* dialect : {"KERAS", "PYTORCH"}) {
    SCOPED_TRACE(dialect);
    const std::string constant =
        R"j({"name": "Z", "kind": "LAYER", "hyperparameters": [{"name": "c"}], "body": "x * 0 + c"})j";
    auto model = FromJson<v1::Model>(Model(constant,
                                           R"j({"name": "p", "custom": {"component": "Z", "hyperparameters": {"c": 1}}},
                      {"name": "q", "custom": {"component": "Z", "hyperparameters": {"c": 10}}},
                      {"name": "w", "linear": {"units": 1}})j",
                                           dialect));
    for (const char* name : {"p", "q", "w"}) {
      v1::Call* call = model.add_calls();
      call->set_layer(name);
      call->add_args()->set_call("input");
      model.add_outputs()->mutable_edge()->set_call(name);
    }
    model.mutable_inputs(0)->set_name("input");
    auto config = FromJson<v1::TrainingConfig>(
        R"j({"optimizer": {"sgd": {"learningRate": 0}}, "objectives": [{"output": "p", "moreOutputs": ["q"]}]})j");
    const bool target_first = std::string(dialect) == "KERAS";
    v1::CustomLoss* loss = config.mutable_objectives(0)->mutable_loss()->mutable_custom();
    *loss->mutable_definition() = FromJson<v1::CustomComponent>(absl::StrCat(
        R"j({"name": "l", "kind": "LOSS", "inputs": [)j", target_first ? R"j("t", "a", "b")j" : R"j("a", "b", "t")j",
        R"j(], "body": "mean(a + 2 * b) + 100 * mean(t)"})j"));
    auto session = TrainSession::Create(model, config, {});
    ASSERT_TRUE(session.ok()) << session.status();
    Tensor t(DType::kF32, {2});
    t.Set(0, 3);
    t.Set(1, 3);
    const auto step = (*session)->Step({{"input", Ramp({2, 4}, 1).view()}, {"target", t.view()}});
    ASSERT_TRUE(step.ok()) << step.status();
    EXPECT_NEAR(step->loss, 321, 1e-4);
  }
}

}  // namespace
}  // namespace strata
