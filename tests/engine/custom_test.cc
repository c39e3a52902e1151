// Custom components: definitions, names, blocks, and training with layers, cells, losses and metrics given as text.
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <cmath>

#include "engine/import/framework.h"
#include "engine/nn/complete.h"
#include "engine/nn/custom/custom.h"
#include "engine/nn/schema.h"
#include "engine/session.h"
#include "tests/messages.h"

namespace strata {
namespace {

// Definitions in JSON, as clients send them.
const char kLinear[] = R"j({"name": "Linear", "kind": "LAYER", "hyperparameters": [{"name": "units", "default": 3}],
  "weights": [{"name": "w", "shape": "[x.shape[-1], units]", "initializerExpression": "uniform(-1 / sqrt(units), 1)"},
              {"name": "b", "shape": "[units]", "initializer": {"zeros": {}}}],
  "body": "x @ w + b"})j";

std::string Model(const std::string& definitions, const std::string& layers, const std::string& dialect = "KERAS") {
  return R"j({"name": "m", "dialect": ")j" + dialect + R"j(", "inputs": [{"shape": [4]}], "customComponents": [)j" +
         definitions + R"j(], "layers": [)j" + layers + "]}";
}

TEST(Custom, NamesResolveAndCompletionIsIdempotent) {
  const auto model = Complete(FromJson<v1::Model>(Model(kLinear, R"j({"custom": {"component": "Linear"}}, {"tanh": {}},
                        {"custom": {"component": "Linear", "hyperparameters": {"units": 2}}})j")));
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->layers(0).name(), "linear");
  EXPECT_EQ(model->layers(2).name(), "linear_1");
  EXPECT_EQ(model->layers(0).custom().hyperparameters().fields().at("units").number_value(), 3);
  EXPECT_EQ(model->layers(2).custom().definition().body(), "x @ w + b");
  EXPECT_EQ(model->layers(0).custom().definition().version(), "1");
  const auto again = Complete(*model);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->DebugString(), model->DebugString());
  // The definition is in its uses: the list may go.
  v1::Model alone = *model;
  alone.clear_custom_components();
  const auto facts = Inspect(alone, nullptr, 1);
  ASSERT_TRUE(facts.ok()) << facts.status();
  EXPECT_EQ(facts->num_parameters, 4 * 3 + 3 + 3 * 2 + 2);
  EXPECT_EQ(facts->parameters[0].name, "linear/w");
}

// A definition with one hyper-parameter `n`, and a use that sets it.
std::string Ranged(const std::string& rest) {
  return R"j({"name": "A", "kind": "LAYER", "hyperparameters": [{"name": "n", )j" + rest + R"j(}], "body": "x"})j";
}
std::string UseOfN(const std::string& value) {
  return R"j({"custom": {"component": "A", "hyperparameters": {"n": )j" + value + "}}}";
}

TEST(Custom, ValuesInRangeAreTaken) {
  for (const auto& [range, value] :
       {std::pair{R"j("atLeast": 1, "atMost": 1)j", "1"}, std::pair{R"j("above": 0, "below": 1)j", "0.5"},
        std::pair{R"j("atLeast": 1)j", "null"}, std::pair{R"j("atLeast": 1, "type": "LIST")j", "[1, [2, 3]]"},
        std::pair{R"j("oneOf": ["sum", "mean"])j", R"j("mean")j"}}) {
    const auto model = Complete(FromJson<v1::Model>(Model(Ranged(range), UseOfN(value))));
    EXPECT_TRUE(model.ok()) << range << " " << value << ": " << model.status();
  }
}

TEST(Custom, Refuses) {
  const auto definition = [](const std::string& rest) { return R"j({"name": "A", "kind": "LAYER", )j" + rest + "}"; };
  const std::string use = R"j({"custom": {"component": "A"}})j";
  const std::string body = R"j("body": "x")j";
  const struct {
    const char* name;
    std::string model, want;
  } kCases[] = {
      {"unknown name", Model("", use),
       "layers[0].custom.component: must name a custom component of the model or of the catalog, got \"A\""},
      {"bad class name", Model(R"j({"name": "a b", "kind": "LAYER", "body": "x"})j", use),
       "custom_components[0].name: must be a letter, then letters, digits and underscores, got \"a b\""},
      {"no kind", Model(R"j({"name": "A", "body": "x"})j", use),
       "custom_components[0].kind: must be LAYER, CELL, LOSS, METRIC or BLOCK, got 0"},
      {"twice", Model(definition(body) + "," + definition(body), use),
       "custom_components[1].name: must be unique with its version, got \"A\" twice"},
      {"syntax", Model(definition(R"j("body": "x +\n")j"), use),
       "custom_components[0].body:1:4: must be a value, got the end of the line"},
      {"a line that goes on", Model(definition(R"j("body": "x * 2\n  + wieght")j"), use),
       "custom_components[0].body:1:1: only the last line may be without \"=\", got one before \"+\""},
      {"a name that is not declared", Model(definition(R"j("body": "y = x * 2\ny + wieght")j"), use),
       "custom_components[0].body:2:5: no such name, got \"wieght\""},
      {"shape text", Model(definition(R"j("weights": [{"name": "w", "shape": "[unit]"}], "body": "x")j"), use),
       "custom_components[0].weights[0].shape:1:2: no such name, got \"unit\""},
      {"initializer text",
       Model(definition(
                 R"j("weights": [{"name": "w", "shape": "[1]", "initializerExpression": "gauss()"}], "body": "x")j"),
             use),
       "custom_components[0].weights[0].initializer_expression:1:1: must be an initializer (zeros(), normal(0, 0.05), "
       "...), got \"gauss\""},
      {"two meanings of a name",
       Model(definition(R"j("hyperparameters": [{"name": "x", "default": 1}], "body": "x")j"), use),
       "custom_components[0].inputs: must be declared once, got \"x\" twice"},
      {"type of a default",
       Model(definition(R"j("hyperparameters": [{"name": "n", "type": "INT", "default": 2.5}], "body": "x")j"), use),
       "custom_components[0].hyperparameters[0].default: must be INT, got 2.5"},
      {"default out of range", Model(Ranged(R"j("default": 0, "atLeast": 1)j"), use),
       "custom_components[0].hyperparameters[0].default: must be >= 1, got 0"},
      {"default not in the list", Model(Ranged(R"j("default": "max", "oneOf": ["sum", "mean"])j"), use),
       "custom_components[0].hyperparameters[0].default: must be one of sum, mean, got \"max\""},
      {"range of a truth value", Model(Ranged(R"j("default": true, "type": "BOOL", "below": 1)j"), use),
       "custom_components[0].hyperparameters[0].at_least|above|at_most|below: belong to numbers and lists, got one for "
       "BOOL"},
      {"list for a number", Model(Ranged(R"j("default": 1, "type": "INT", "oneOf": ["1"])j"), use),
       "custom_components[0].hyperparameters[0].one_of: belongs to STRING, got one for INT"},
      {"empty range", Model(Ranged(R"j("default": 1, "above": 1, "atMost": 1)j"), use),
       "custom_components[0].hyperparameters[0].at_least|above|at_most|below: must leave a value, got 1 to 1"},
      {"range that is no number", Model(Ranged(R"j("default": 1, "above": "NaN")j"), use),
       "custom_components[0].hyperparameters[0].above: must be finite, got nan"},
      {"below", Model(Ranged(R"j("atLeast": 0, "below": 1)j"), UseOfN("1")),
       "layers[0].custom.hyperparameters.n: must be < 1, got 1"},
      {"above", Model(Ranged(R"j("above": 0)j"), UseOfN("0")),
       "layers[0].custom.hyperparameters.n: must be > 0, got 0"},
      {"at most, in a list", Model(Ranged(R"j("atMost": 4)j"), UseOfN("[1, [2, 5]]")),
       "layers[0].custom.hyperparameters.n[1][1]: must be <= 4, got 5"},
      {"name in a list", Model(Ranged(R"j("oneOf": ["a", "b"])j"), UseOfN(R"j(["a", "c"])j")),
       "layers[0].custom.hyperparameters.n[1]: must be one of a, b, got \"c\""},
      {"unknown argument",
       Model(definition(body), R"j({"custom": {"component": "A", "hyperparameters": {"units": 3}}})j"),
       "layers[0].custom.hyperparameters.units: unknown argument, got 3"},
      {"missing argument", Model(definition(R"j("hyperparameters": [{"name": "n"}], "body": "x")j"), use),
       "layers[0].custom.hyperparameters.n: must be set, got nothing"},
      {"a loss as a layer", Model(R"j({"name": "A", "kind": "LOSS", "body": "y_pred"})j", use),
       "layers[0].custom.component: must be of another kind, got LOSS \"A\""},
      {"weights of a metric",
       Model(R"j({"name": "A", "kind": "METRIC", "weights": [{"name": "w", "shape": "[1]"}], "body": "y_pred"})j", use),
       "custom_components[0].weights: belong to a LAYER, CELL or LOSS, got METRIC"},
      {"weights of a loss that follow the target",
       Model(R"j({"name": "A", "kind": "LOSS", "weights": [{"name": "w", "shape": "y_true.shape"}], "body": "w"})j",
             use),
       "custom_components[0].weights[0].shape:1:1: no such name, got \"y_true\""},
      {"a cell without states",
       Model(R"j({"name": "A", "kind": "CELL", "states": [{"name": "h", "shape": "[2]"}],
                                          "body": "x"})j",
             use),
       "custom_components[0].body: a CELL must have its output and 1 new states as results, got 1"},
      {"block text",
       Model(R"j({"name": "A", "kind": "BLOCK", "block": {"layers": [{"linear": {"units": "=n"}}]}})j", use),
       "custom_components[0].block.layers[0].linear.units:1:1: no such name, got \"n\""},
      {"block that is no model", Model(R"j({"name": "A", "kind": "BLOCK", "block": {"lairs": []}})j", use),
       "layers[0].custom.definition.block: must be a model, got "},
      {"a block of itself",
       Model(R"j({"name": "A", "kind": "BLOCK", "block": {"layers": [{"custom": {"component": "A"}}]}})j", use),
       "models may be nested 32 deep, got more"},
  };
  for (const auto& c : kCases) {
    const auto model = Complete(FromJson<v1::Model>(c.model));
    EXPECT_EQ(model.status().code(), absl::StatusCode::kInvalidArgument) << c.name;
    EXPECT_NE(model.status().message().find(c.want), std::string::npos) << c.name << ": " << model.status();
  }
}

TEST(Custom, ShapesAreCheckedWhenBuilt) {
  const auto inspect = [](const std::string& body) {
    const auto facts =
        Inspect(FromJson<v1::Model>(Model(R"j({"name": "A", "kind": "LAYER", "body": ")j" + body + R"j("})j",
                                          R"j({"custom": {"component": "A"}})j")),
                nullptr, 2);
    return std::string(facts.status().message());
  };
  EXPECT_EQ(inspect("x @ constant([1, 2])"),
            "layers[0].custom.body:1:3: \"@\" must join axes of one size, got f32[2, 4] and f32[2]");
  EXPECT_EQ(inspect("y = x\\ny + constant([1, 2, 3])"),
            "layers[0].custom.body:2:3: shapes: must broadcast, got [2, 4] and [3]");
  EXPECT_EQ(inspect("'text'"), "layers[0].custom.body:1:1: must be a tensor, got 'text'");
  EXPECT_EQ(inspect("zeros([100000, 100000])").substr(0, 27), "layers[0].custom.body:1:1: ");
}

TEST(Custom, BlocksBecomeModels) {
  const char* block = R"({"name": "Net", "kind": "BLOCK", "hyperparameters": [{"name": "width", "default": 2}],
    "block": {"layers": [{"name": "a", "linear": {"units": "=2 * width"}}, {"relu": {}},
                         {"name": "c", "custom": {"component": "Linear", "hyperparameters": {"units": "=width"}}}]}})";
  const auto model = Complete(FromJson<v1::Model>(
      Model(std::string(block) + "," + kLinear,
            R"({"name": "net", "custom": {"component": "Net", "hyperparameters": {"width": 3}}})", "PYTORCH")));
  ASSERT_TRUE(model.ok()) << model.status();
  const auto facts = Inspect(*model, nullptr, 1);
  ASSERT_TRUE(facts.ok()) << facts.status();
  ASSERT_EQ(facts->parameters.size(), 4u);
  EXPECT_EQ(facts->parameters[0].name, "net.a.weight");
  EXPECT_EQ(facts->parameters[0].shape, (Shape{6, 4}));
  EXPECT_EQ(facts->parameters[2].name, "net.c.w");
  EXPECT_EQ(facts->parameters[2].shape, (Shape{6, 3}));
}

TEST(Custom, CatalogsAddWhatIsNamed) {
  CustomComponents known;
  *known.Add() = FromJson<v1::CustomComponent>(kLinear);
  *known.Add() = FromJson<v1::CustomComponent>(
      R"({"name": "Net", "kind": "BLOCK", "block": {"layers": [{"custom": {"component": "Linear"}}]}})");
  *known.Add() =
      FromJson<v1::CustomComponent>(R"({"name": "Linear", "version": "2", "kind": "LAYER", "body": "x * 2"})");
  *known.Add() = FromJson<v1::CustomComponent>(R"({"name": "unused", "kind": "LAYER", "body": "x"})");
  v1::Model model = FromJson<v1::Model>(Model("", R"({"custom": {"component": "Net"}})"));
  AddComponents(known, &model);
  ASSERT_EQ(model.custom_components_size(), 2);
  const auto facts = Inspect(model, nullptr, 1);
  ASSERT_TRUE(facts.ok()) << facts.status();
  EXPECT_EQ(facts->num_parameters, 0) << "the newest Linear has no weights";

  v1::Model old = FromJson<v1::Model>(Model("", R"({"custom": {"component": "Linear", "version": "1"}})"));
  AddComponents(known, &old);
  const auto old_facts = Inspect(old, nullptr, 1);
  ASSERT_TRUE(old_facts.ok()) << old_facts.status();
  EXPECT_EQ(old_facts->num_parameters, 15);
}

Tensor Ramp(Shape shape, double scale) {
  Tensor t(DType::kF32, std::move(shape));
  for (int64_t i = 0; i < t.num_elements(); ++i) t.Set(i, std::sin(static_cast<double>(i)) * scale);
  return t;
}

TEST(Custom, LayersLossesAndMetricsTrain) {
  const auto model = FromJson<v1::Model>(Model(
      std::string(kLinear) + R"j(, {"name": "mse", "kind": "LOSS", "hyperparameters": [{"name": "scale", "default": 1}],
          "body": "scale * mean((y_true - y_pred) ** 2, axis=-1)"},
        {"name": "far", "kind": "METRIC", "hyperparameters": [{"name": "limit"}],
          "body": "cast(abs(y_pred - y_true) > limit, 'float32')"},
        {"name": "ratio", "kind": "METRIC", "body": "sum(y_pred * 0 + 3), sum(y_true * 0 + 6)"},
        {"name": "Count", "kind": "LAYER", "states": [{"name": "seen", "shape": "[1]", "start": 5}],
          "body": "x + 0 * seen, seen + 1"})j",
      R"j({"custom": {"component": "Linear"}}, {"tanh": {}}, {"name": "count", "custom": {"component": "Count"}},
         {"custom": {"component": "Linear", "hyperparameters": {"units": 1}}})j"));
  const auto config = FromJson<v1::TrainingConfig>(R"j({
    "objectives": [{"loss": {"custom": {"component": "mse", "hyperparameters": {"scale": 2}}}}],
    "optimizer": {"adam": {"learningRate": 0.05}}, "seed": 3,
    "metrics": [{"metric": {"custom": {"component": "far", "hyperparameters": {"limit": 0.5}}}},
                {"metric": {"custom": {"component": "ratio"}, "name": "half"}}]})j");
  auto session = TrainSession::Create(model, config, {});
  ASSERT_TRUE(session.ok()) << session.status();
  const Tensor x = Ramp({8, 4}, 1), y = Ramp({8, 1}, 0.5);
  double first = 0, last = 0;
  for (int i = 0; i < 200; ++i) {
    const auto step = (*session)->Step({{"input", x.view()}, {"target", y.view()}});
    ASSERT_TRUE(step.ok()) << step.status();
    (i == 0 ? first : last) = step->loss;
    ASSERT_EQ(step->metrics.count("far"), 1u);
    ASSERT_NEAR(step->metrics.at("half"), 3.0 / 6, 1e-6);
  }
  EXPECT_LT(last, first / 20);
  const NamedTensors weights = (*session)->Weights();
  EXPECT_EQ(weights.at("count/seen").At(0), 205);

  auto version = Version::Create(model, weights, {});
  ASSERT_TRUE(version.ok()) << version.status();
  EXPECT_TRUE((*version)->rows_independent());
  const auto out = (*version)->Predict({{"input", x.view()}});
  ASSERT_TRUE(out.ok()) << out.status();
  double error = 0;
  for (int64_t i = 0; i < 8; ++i) error += std::pow(out->begin()->second.At(i) - y.At(i), 2) / 8;
  EXPECT_NEAR(2 * error, last, 0.01);

  // A checkpoint goes on bit for bit.
  auto copy = TrainSession::Create(model, config, {});
  ASSERT_TRUE((*copy)->Load((*session)->Save()).ok());
  const auto a = (*session)->Step({{"input", x.view()}, {"target", y.view()}});
  const auto b = (*copy)->Step({{"input", x.view()}, {"target", y.view()}});
  EXPECT_EQ(a->loss, b->loss);
}

// The loss' own weights train with the model's: here the scale of a Gaussian.
TEST(Custom, LossesOwnWeights) {
  const std::string definition = R"j({"name": "Gaussian", "kind": "LOSS",
      "weights": [{"name": "log_scale", "shape": "[y_pred.shape[-1]]", "initializer": {"zeros": {}}}],
      "body": "mean(((y_pred - y_true) / exp(log_scale)) ^ 2 / 2 + log_scale, -1)"})j";
  const auto model = FromJson<v1::Model>(R"j({"name": "m", "dialect": "KERAS", "inputs": [{"shape": [4]}],
      "layers": [{"linear": {"units": 2}}]})j");
  const auto config = FromJson<v1::TrainingConfig>(R"j({"customComponents": [)j" + definition + R"j(],
      "objectives": [{"loss": {"custom": {"component": "Gaussian"}}}],
      "optimizer": {"sgd": {"learningRate": 0.01}}, "seed": 3})j");
  auto session = TrainSession::Create(model, config, {});
  ASSERT_TRUE(session.ok()) << session.status();
  const std::string name = "objectives/0/Gaussian/log_scale";
  ASSERT_EQ((*session)->Weights().count(name), 1u);
  Tensor x(DType::kF32, {4, 4}), y(DType::kF32, {4, 2});
  for (int64_t i = 0; i < 16; ++i) x.Set(i, static_cast<double>(i * 7 % 5) / 5);
  for (int64_t i = 0; i < 8; ++i) y.Set(i, 0.01 * static_cast<double>(i % 3));
  double first = 0, last = 0;
  for (int i = 0; i < 200; ++i) {
    const auto out = (*session)->Step({{"input", x.view()}, {"target", y.view()}});
    ASSERT_TRUE(out.ok()) << out.status();
    (i == 0 ? first : last) = out->loss;
  }
  EXPECT_LT(last, first - 0.5);
  for (int64_t i = 0; i < 2; ++i) EXPECT_LT((*session)->Weights().at(name).At(i), -0.5);
}

TEST(Custom, FrameworkWords) {
  Definitions custom;
  *custom.Add() = FromJson<v1::CustomComponent>(kLinear);
  const struct {
    v1::Dialect dialect;
    const char* json;
    const char* want;  // its own words, or the error
  } kLayers[] = {
      {v1::KERAS, R"j({"class_name": "Linear", "config": {"units": 8}})j", R"j("units":8)j"},
      {v1::KERAS, R"j({"class_name": "Custom>Linear", "config": {}})j", R"j("units":3)j"},
      {v1::KERAS, R"j({"class_name": "Linear", "config": {"uints": 8}})j", "uints: unknown argument, got 8"},
      {v1::KERAS, R"j({"class_name": "Lambda", "config": {"function": "x * k", "arguments": {"k": 2.0}}})j",
       R"j({"arguments":{"k":2.0})j"},
      {v1::KERAS, R"j({"class_name": "Lambda", "config": {"function": "lambda t: t ** 2"}})j", "lambda t:  t ** 2"},
      {v1::KERAS, R"j({"class_name": "Lambda", "config": {"function": "tf.square"}})j", R"j("function":"square(x)")j"},
      {v1::KERAS, R"j({"class_name": "Lambda", "config": {"function": [1]}})j",
       "function: must be an expression in x, got [1]"},
      {v1::KERAS, R"j({"class_name": "Lambda", "config": {"function": "x +"}})j",
       "body:1:4: must be a value, got the end"},
      {v1::PYTORCH, R"j({"class_name": "Linear", "config": {"units": 8}})j", R"j("units":8)j"},
      {v1::PYTORCH, R"j({"class_name": "Expression", "config": {"args": ["a"], "body": "a * 2"}})j",
       R"j({"args":["a"],"body":"a * 2"})j"},
      {v1::PYTORCH,
       R"j({"class_name": "Twice", "config": {}, "custom_component": {"name": "Twice", "kind": "LAYER", "body": "x * 2"}})j",
       R"j("class_name":"Twice")j"},
      {v1::KERAS,
       R"j({"class_name": "TimeDistributed", "config": {"layer": {"class_name": "Linear", "config": {"units": 5}}}})j",
       R"j("units":5)j"},
  };
  for (const auto& c : kLayers) {
    const auto layer = ImportLayer(c.dialect, c.json, custom);
    if (!layer.ok()) {
      EXPECT_EQ(layer.status().message(), c.want) << c.json;
      continue;
    }
    const auto text = ExportLayer(c.dialect, *layer);
    ASSERT_TRUE(text.ok()) << text.status();
    EXPECT_NE(text->find(c.want), std::string::npos) << *text;
  }
  EXPECT_FALSE(ImportLayer(v1::KERAS, R"j({"class_name": "Linear", "config": {}})j").ok());
}

}  // namespace
}  // namespace strata
