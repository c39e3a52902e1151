// Definitions in the frameworks' words. The numbers behind them are the golden cases' (tests/parity).
#include <random>

#include "engine/import/framework.h"
#include "engine/nn/complete.h"
#include "engine/nn/schema.h"
#include "engine/session.h"
#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"

namespace strata {
namespace {

template <typename M>
M Parse(const std::string& text) {
  M message;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &message)) << text;
  return message;
}

struct LayerCase {
  const char* name;
  v1::Dialect dialect;
  const char* json;
  const char* layer;  // before defaults are filled in
};

TEST(ImportLayer, MapsArguments) {
  const LayerCase cases[] = {
      {"names of arguments", v1::PYTORCH,
       R"({"class_name": "Linear", "config": {"in_features": 3, "out_features": 2, "bias": false}})",
       "linear { units: 2 in_features: 3 use_bias: false }"},
      {"one number for all axes", v1::PYTORCH, R"({"class_name": "MaxPool2d", "config": {"kernel_size": 2}})",
       "max_pool2d { pool_size: 2 }"},
      {"None keeps a size", v1::PYTORCH, R"({"class_name": "AdaptiveAvgPool2d", "config": {"output_size": [null, 4]}})",
       "adaptive_avg_pool2d { output_size: [0, 4] }"},
      {"momentum None is a plain average", v1::PYTORCH,
       R"({"class_name": "BatchNorm1d", "config": {"num_features": 3, "momentum": null}})",
       "batch_norm1d { num_features: 3 cumulative: true }"},
      {"padding as a rule", v1::PYTORCH,
       R"({"class_name": "Conv1d", "config": {"in_channels": 1, "out_channels": 2, "kernel_size": 3, "padding": "same"}})",
       "conv1d { in_channels: 1 filters: 2 kernel_size: 3 padding { mode: SAME } }"},
      {"padding as numbers", v1::PYTORCH,
       R"({"class_name": "Conv2d", "config": {"in_channels": 1, "out_channels": 2, "kernel_size": 3, "padding": [1, 2]}})",
       "conv2d { in_channels: 1 filters: 2 kernel_size: 3 padding { size { values: [1, 2] } } }"},
      {"a function as a layer", v1::PYTORCH, R"({"class_name": "functional.gelu", "config": {"approximate": "tanh"}})",
       "gelu { approximate: TANH }"},
      {"harmless arguments", v1::PYTORCH, R"({"class_name": "ReLU", "config": {"inplace": true}, "name": "act"})",
       "name: 'act' inplace: true relu {}"},
      {"slope of the layer", v1::KERAS, R"({"class_name": "LeakyReLU", "config": {}})",
       "leaky_relu { negative_slope: 0.3 }"},
      {"slope of the function", v1::KERAS, R"({"function": "tf.nn.leaky_relu", "config": {}})",
       "leaky_relu { negative_slope: 0.2 }"},
      {"slope of the name", v1::KERAS, R"({"class_name": "Dense", "config": {"units": 1, "activation": "leaky_relu"}})",
       "linear { units: 1 activation { leaky_relu { negative_slope: 0.2 } } }"},
      {"activation None is linear", v1::KERAS, R"({"class_name": "LSTM", "config": {"units": 1, "activation": null}})",
       "lstm { units: 1 activation { linear {} } }"},
      {"activation by class", v1::KERAS,
       R"({"class_name": "Dense", "config": {"units": 1, "activation": {"class_name": "ReLU", "config": {"max_value": 6.0}}}})",
       "linear { units: 1 activation { relu { max_value: 6 } } }"},
      {"several axes", v1::KERAS, R"({"class_name": "Softmax", "config": {"axis": [1, 2]}})",
       "softmax { axes: [1, 2] }"},
      {"a list of one axis", v1::KERAS, R"({"class_name": "BatchNormalization", "config": {"axis": [3]}})",
       "batch_norm { axis: 3 }"},
      {"initializer by name", v1::KERAS,
       R"({"class_name": "Dense", "config": {"units": 1, "kernel_initializer": "he_normal"}})",
       "linear { units: 1 kernel_initializer { variance_scaling { scale: 2 mode: FAN_IN distribution: TRUNCATED_NORMAL "
       "} } }"},
      {"initializer by class", v1::KERAS,
       R"({"class_name": "Dense", "config": {"units": 1, "kernel_initializer": {"class_name": "LecunUniform", "config": {"seed": 4}}}})",
       "linear { units: 1 kernel_initializer { variance_scaling { scale: 1 mode: FAN_IN distribution: UNIFORM seed: 4 "
       "} } }"},
      {"the string l1_l2", v1::KERAS,
       R"({"class_name": "Dense", "config": {"units": 1, "kernel_regularizer": "l1_l2"}})",
       "linear { units: 1 kernel_regularizer { l1: 0.01 l2: 0.01 } }"},
      {"the class L1L2", v1::KERAS,
       R"({"class_name": "Dense", "config": {"units": 1, "kernel_regularizer": {"class_name": "L1L2", "config": {"l2": 0.5}}}})",
       "linear { units: 1 kernel_regularizer { l1: 0 l2: 0.5 } }"},
      {"no regularizer", v1::KERAS,
       R"({"class_name": "Dense", "config": {"units": 1, "kernel_regularizer": null, "bias_constraint": null}})",
       "linear { units: 1 }"},
      {"constraint", v1::KERAS,
       R"({"class_name": "Dense", "config": {"units": 1, "kernel_constraint": {"class_name": "MaxNorm", "config": {"max_value": 3, "axis": [0, 1]}}}})",
       "linear { units: 1 kernel_constraint { max_norm { max_value: 3 axis: [0, 1] } } }"},
      {"name and trainable", v1::KERAS,
       R"({"class_name": "Dense", "config": {"units": 1, "name": "d", "trainable": false, "dtype": "float32"}})",
       "name: 'd' trainable: false linear { units: 1 }"},
      {"mask shape", v1::KERAS, R"({"class_name": "Dropout", "config": {"rate": 0.5, "noise_shape": [null, 1]}})",
       "dropout { rate: 0.5 noise_shape { values: [-1, 1] } }"},
  };
  for (const LayerCase& c : cases) {
    SCOPED_TRACE(c.name);
    const auto got = ImportLayer(c.dialect, c.json);
    ASSERT_TRUE(got.ok()) << got.status();
    v1::Layer want = Parse<v1::Layer>(c.layer);
    ASSERT_TRUE(nn::Fill(c.dialect, "", &want).ok());
    EXPECT_EQ(got->DebugString(), want.DebugString());
  }
}

TEST(ImportLayer, Refuses) {
  const struct {
    const char* name;
    v1::Dialect dialect;
    const char *json, *error;
    absl::StatusCode code = absl::StatusCode::kInvalidArgument;
  } cases[] = {
      {"no JSON", v1::KERAS, "{", "json: must be a JSON text, got something else"},
      {"neither name nor object", v1::KERAS, "3", ": must be a name or an object with class_name and config, got 3"},
      {"unknown argument", v1::KERAS, R"({"class_name": "Dense", "config": {"units": 3, "colour": "red"}})",
       "colour: unknown argument, got \"red\""},
      {"the framework's name of the argument", v1::KERAS,
       R"({"class_name": "Conv2D", "config": {"filters": 1, "kernel_size": 1, "strides": 0}})",
       "strides[0]: must be >= 1, got 0"},
      {"missing argument", v1::PYTORCH, R"({"class_name": "Linear", "config": {"in_features": 3}})",
       "out_features: must be set, got nothing"},
      {"rule between arguments", v1::KERAS,
       R"({"class_name": "Conv1D", "config": {"filters": 1, "kernel_size": 1, "strides": 2, "dilation_rate": 2}})",
       "dilation_rate|strides: at most one may be > 1, got both"},
      {"wrong type", v1::KERAS, R"({"class_name": "Dense", "config": {"units": "three"}})",
       "units: must be a whole number, got \"three\""},
      {"fraction", v1::KERAS, R"({"class_name": "Dense", "config": {"units": 2.5}})",
       "units: must be a whole number, got 2.5"},
      {"None without meaning", v1::KERAS, R"({"class_name": "ELU", "config": {"alpha": null}})",
       "alpha: must be a number, got null"},
      {"unknown activation", v1::KERAS, R"({"class_name": "Dense", "config": {"units": 3, "activation": "rellu"}})",
       "activation: no component for keras rellu"},
      {"unknown rule", v1::KERAS,
       R"({"class_name": "Conv2D", "config": {"filters": 1, "kernel_size": 1, "padding": "full"}})",
       "padding: must be valid or same, got \"full\""},
      {"unknown class", v1::KERAS, R"({"class_name": "NoSuch", "config": {}})",
       "class_name: no component for keras NoSuch", absl::StatusCode::kUnimplemented},
      {"another type of weights", v1::KERAS, R"({"class_name": "Dense", "config": {"units": 3, "dtype": "float16"}})",
       "dtype: must be float32, got \"float16\"", absl::StatusCode::kUnimplemented},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto got = ImportLayer(c.dialect, c.json);
    EXPECT_EQ(got.status().code(), c.code);
    EXPECT_EQ(got.status().message(), c.error);
  }
}

TEST(ImportInitializer, Kaiming) {
  const auto got = ImportInitializer(
      v1::PYTORCH, R"({"class_name": "kaiming_normal_", "config": {"mode": "fan_out", "nonlinearity": "relu"}})");
  ASSERT_TRUE(got.ok()) << got.status();
  EXPECT_NEAR(got->variance_scaling().scale(), 2, 1e-12);
  EXPECT_EQ(got->variance_scaling().mode(), v1::VarianceScalingInitializer::FAN_OUT);
  EXPECT_EQ(got->variance_scaling().distribution(), v1::VarianceScalingInitializer::NORMAL);
  EXPECT_EQ(ImportInitializer(v1::PYTORCH, R"({"class_name": "kaiming_normal_", "config": {"mode": "fan"}})")
                .status()
                .message(),
            "mode: must be fan_in or fan_out, got \"fan\"");
}

TEST(ImportLoss, Forms) {
  const auto by_class =
      ImportLoss(v1::KERAS, R"({"class_name": "Huber", "config": {"delta": 2.0, "reduction": "sum"}})");
  ASSERT_TRUE(by_class.ok()) << by_class.status();
  EXPECT_FALSE(by_class->function_form());
  EXPECT_EQ(by_class->huber().reduction(), v1::SUM);
  const auto by_name = ImportLoss(v1::KERAS, "\"mse\"");
  ASSERT_TRUE(by_name.ok()) << by_name.status();
  EXPECT_TRUE(by_name->function_form());
  const auto weighted = ImportLoss(v1::PYTORCH, R"({"class_name": "BCELoss", "config": {"weight": [[1, 2], [3, 4]]}})");
  ASSERT_TRUE(weighted.ok()) << weighted.status();
  EXPECT_EQ(weighted->binary_cross_entropy_probabilities().weight().values_size(), 4);
  EXPECT_EQ(weighted->binary_cross_entropy_probabilities().weight_shape_size(), 2);
  EXPECT_EQ(
      ImportLoss(v1::PYTORCH, R"({"class_name": "BCELoss", "config": {"weight": [[1, 2], [3]]}})").status().message(),
      "weight[1]: must be a list as long as its siblings, got [3]");
  EXPECT_EQ(ImportLoss(v1::KERAS, "\"no_such_loss\"").status().message(), "loss: no component for keras no_such_loss");
}

TEST(ImportOptimizer, Pytorch) {
  const auto adam = ImportOptimizer(
      v1::PYTORCH,
      R"({"class_name": "Adam", "config": {"lr": 0.1, "betas": [0.5, 0.6], "weight_decay": 0.2, "foreach": null}})");
  ASSERT_TRUE(adam.ok()) << adam.status();
  EXPECT_EQ(adam->adam().learning_rate(), 0.1);
  EXPECT_EQ(adam->adam().beta_2(), 0.6);
  EXPECT_EQ(adam->weight_decay(), 0.2);
  const auto adamw = ImportOptimizer(v1::PYTORCH, R"({"class_name": "AdamW", "config": {}})");
  ASSERT_TRUE(adamw.ok()) << adamw.status();
  EXPECT_EQ(adamw->weight_decay(), 0.01);
  EXPECT_EQ(
      ImportOptimizer(v1::PYTORCH, R"({"class_name": "Adam", "config": {"betas": [1.0, 0.9]}})").status().message(),
      "betas[0]: must be < 1, got 1");
  const auto group = ImportParameterGroup(*adam, R"({"params": ["a"], "lr": 0.05, "eps": 0.001})");
  ASSERT_TRUE(group.ok()) << group.status();
  EXPECT_EQ(group->learning_rate(), 0.05);
  EXPECT_EQ(group->options().adam().epsilon(), 0.001);
  EXPECT_FALSE(group->options().adam().has_beta_1());
}

TEST(ImportOptimizer, Keras) {
  const auto sgd = ImportOptimizer(
      v1::KERAS, R"({"class_name": "SGD", "config": {"learning_rate": 0.1, "clipnorm": 0.5, "weight_decay": null}})");
  ASSERT_TRUE(sgd.ok()) << sgd.status();
  EXPECT_EQ(sgd->clipping().norm(), 0.5);
  EXPECT_FALSE(sgd->has_weight_decay());
  EXPECT_EQ(ImportOptimizer(v1::KERAS, R"({"class_name": "SGD", "config": {"clipnorm": 1.0, "global_clipnorm": 1.0}})")
                .status()
                .message(),
            "clipnorm|global_clipnorm: at most one may be set, got both");
  EXPECT_EQ(ImportOptimizer(v1::KERAS, "\"sgdd\"").status().message(), "optimizer: no component for keras sgdd");
  const auto text = ExportOptimizer(v1::KERAS, *sgd);
  ASSERT_TRUE(text.ok()) << text.status();
  const auto again = ImportOptimizer(v1::KERAS, *text);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(again->clipping().norm(), 0.5);
}

constexpr char kShared[] = R"({"class_name": "Functional", "config": {"name": "twice", "trainable": true, "layers": [
  {"class_name": "InputLayer", "config": {"batch_input_shape": [null, 3], "dtype": "float32", "name": "x"}, "name": "x", "inbound_nodes": []},
  {"class_name": "Sequential", "config": {"name": "inner", "layers": [
     {"class_name": "InputLayer", "config": {"batch_input_shape": [null, 3], "name": "i"}},
     {"class_name": "Dense", "config": {"name": "d", "units": 3}}]},
   "name": "inner", "inbound_nodes": [[["x", 0, 0, {}]], [["inner", 1, 0, {}]]]},
  {"class_name": "Add", "config": {"name": "add"}, "name": "add", "inbound_nodes": [[["inner", 1, 0, {}], ["inner", 2, 0, {}]]]}],
  "input_layers": [["x", 0, 0]], "output_layers": [["add", 0, 0]]}, "keras_version": "2.21.0", "backend": "tensorflow"})";

TEST(ImportKeras, SharedNestedModel) {
  const auto imported = ImportKeras(kShared);
  ASSERT_TRUE(imported.ok()) << imported.status();
  const auto model = Complete(*imported);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->name(), "twice");
  ASSERT_EQ(model->layers_size(), 2);
  EXPECT_TRUE(model->layers(0).has_model());
  ASSERT_EQ(model->calls_size(), 3);
  EXPECT_EQ(model->calls(0).name(), "inner");
  EXPECT_EQ(model->calls(1).name(), "inner_1");
  EXPECT_EQ(model->calls(1).args(0).call(), "inner");
  EXPECT_EQ(model->calls(2).args(1).call(), "inner_1");
  EXPECT_EQ(model->outputs(0).name(), "add");
}

TEST(ImportKeras, SequentialWithoutInputLayer) {
  const auto model = ImportKeras(R"({"class_name": "Sequential", "config": {"name": "s", "layers": [
      {"class_name": "Dense", "config": {"name": "d", "units": 2, "batch_input_shape": [null, 4]}}]}})");
  ASSERT_TRUE(model.ok()) << model.status();
  ASSERT_EQ(model->inputs_size(), 1);
  EXPECT_EQ(model->inputs(0).name(), "d_input");
  EXPECT_EQ(model->inputs(0).shape(0), 4);
}

TEST(ImportKeras, KeywordTensors) {
  const auto model = ImportKeras(R"({"class_name": "Functional", "config": {"name": "m", "layers": [
      {"class_name": "InputLayer", "config": {"batch_input_shape": [null, 5, 3], "name": "x"}, "name": "x", "inbound_nodes": []},
      {"class_name": "InputLayer", "config": {"batch_input_shape": [null, 2], "name": "h"}, "name": "h", "inbound_nodes": []},
      {"class_name": "SimpleRNN", "config": {"name": "r", "units": 2}, "name": "r",
       "inbound_nodes": [[["x", 0, 0, {"initial_state": [["h", 0, 0]], "training": false}]]]}],
      "input_layers": [["x", 0, 0], ["h", 0, 0]], "output_layers": [["r", 0, 0]]}})");
  ASSERT_TRUE(model.ok()) << model.status();
  ASSERT_EQ(model->calls(0).args_size(), 2);
  EXPECT_EQ(model->calls(0).args(1).call(), "h");
  EXPECT_TRUE(model->calls(0).has_training());
}

// Features go to their layer, and to its model, by name.
TEST(ImportKeras, FeaturesOfAFunctionalModel) {
  const auto model = ImportKeras(R"json({"class_name": "Functional", "config": {"name": "df", "layers": [
      {"class_name": "InputLayer", "config": {"batch_input_shape": [null, 1], "dtype": "float32", "name": "age"}, "name": "age", "inbound_nodes": []},
      {"class_name": "InputLayer", "config": {"batch_input_shape": [null, 1], "dtype": "string", "name": "city"}, "name": "city", "inbound_nodes": []},
      {"class_name": "DenseFeatures", "config": {"name": "f", "feature_columns": [
         {"class_name": "NumericColumn", "config": {"key": "age", "shape": [1], "default_value": null, "dtype": "float32", "normalizer_fn": null}},
         {"class_name": "IndicatorColumn", "config": {"categorical_column": {"class_name": "VocabularyListCategoricalColumn",
            "config": {"key": "city", "vocabulary_list": ["a", "b"], "dtype": "string", "default_value": -1, "num_oov_buckets": 0}}}}], "partitioner": null},
       "name": "f", "inbound_nodes": [{"age": ["age", 0, 0, {}], "city": ["city", 0, 0, {}]}]},
      {"class_name": "Dense", "config": {"name": "d", "units": 1, "activation": "linear"}, "name": "d", "inbound_nodes": [[["f", 0, 0, {}]]]}],
    "input_layers": {"age": ["age", 0, 0], "city": ["city", 0, 0]}, "output_layers": [["d", 0, 0]]}})json");
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->calls(0).named_args().at("city").call(), "city");
  EXPECT_EQ(model->inputs(1).dtype(), v1::BYTES);
  ASSERT_TRUE(Inspect(*model, nullptr, 1).ok()) << Inspect(*model, nullptr, 1).status();
  const auto text = ExportKeras(*model);
  ASSERT_TRUE(text.ok()) << text.status();
  EXPECT_NE(text->find(R"("inbound_nodes":[{"age":["age",0,0,{}],"city":["city",0,0,{}]}])"), std::string::npos)
      << *text;
  EXPECT_NE(text->find(R"("input_layers":{"age":["age",0,0],"city":["city",0,0]})"), std::string::npos) << *text;
  EXPECT_NE(text->find(R"("partitioner":null)"), std::string::npos) << *text;
  const auto again = ImportKeras(*text);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(Complete(*again)->DebugString(), Complete(*model)->DebugString());
}

TEST(ImportKeras, NamesTheLayer) {
  EXPECT_EQ(
      ImportKeras(
          R"({"class_name": "Sequential", "config": {"layers": [{"class_name": "Dense", "config": {"units": 0}}]}})")
          .status()
          .message(),
      "config.layers[0].units: must be >= 1, got 0");
  EXPECT_EQ(ImportKeras(R"({"class_name": "Sequential", "config": {"layers": [{"class_name": "Nope", "config": {}}]}})")
                .status()
                .message(),
            "config.layers[0]: no component for keras Nope");
}

TEST(ImportKeras, RefusesAFunctionOfKeras3) {
  const std::string text = R"({"class_name": "Sequential", "config": {"layers": [{"class_name": "Dense", "config": {
      "units": 1, "activation": "hard_sigmoid", "dtype": {"class_name": "DTypePolicy", "config": {"name": "float32"}}
      }}]}})";
  const absl::Status status = ImportKeras(text).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_NE(status.message().find("config.layers[0].config.activation: must be no hard_sigmoid"), std::string::npos)
      << status;
}

TEST(ImportPytorch, TakesOutputsAsEdges) {
  const auto model = ImportPytorch(R"({"class_name": "Sequential", "config": {"layers": [
      {"class_name": "LSTM", "config": {"input_size": 4, "hidden_size": 5, "batch_first": true}},
      {"class_name": "TakeOutput", "config": {"index": 1}},
      {"class_name": "TakeStep", "config": {"dim": 0, "index": -1}},
      {"class_name": "Linear", "config": {"in_features": 5, "out_features": 2}, "name": "head"}]}})",
                                   {});
  ASSERT_TRUE(model.ok()) << model.status();
  ASSERT_EQ(model->layers_size(), 3);
  EXPECT_EQ(model->layers(0).name(), "0");
  EXPECT_EQ(model->layers(1).name(), "2");  // torch's position
  EXPECT_EQ(model->layers(2).name(), "head");
  EXPECT_EQ(model->calls(1).args(0).call(), "0");
  EXPECT_EQ(model->calls(1).args(0).output(), 1);
  EXPECT_TRUE(Complete(*model).ok()) << Complete(*model).status();
}

TEST(ImportPytorch, EmptySequentialHandsItsInputOn) {
  const auto model = ImportPytorch(R"({"class_name": "Sequential", "config": {"layers": []}})", {});
  ASSERT_TRUE(model.ok()) << model.status();
  const auto complete = Complete(*model);
  ASSERT_TRUE(complete.ok()) << complete.status();
  EXPECT_EQ(complete->outputs(0).edge().call(), "input");
}

// Whatever a client sends is answered by a status: no crash, no exception.
TEST(Import, SurvivesDamagedText) {
  const unsigned seed = 20261125;
  SCOPED_TRACE(seed);
  std::mt19937 random(seed);
  const std::string good = kShared;
  const std::string tokens[] = {
      "null", "[]", "{}", "0", "-1", "\"x\"", "true", "1e99", "[null]", "[[]]", "[[[\"x\",0,0,{}]]]"};
  int accepted = 0;
  for (int round = 0; round < 4000; ++round) {
    std::string text = good;
    const int changes = 1 + static_cast<int>(random() % 3);
    for (int k = 0; k < changes; ++k) {
      // Replace a value: from behind a colon, comma or bracket to the next separator.
      const size_t at = text.find_first_of(":,[", random() % text.size());
      if (at == std::string::npos) continue;
      const size_t end = text.find_first_of(",]}", at + 1);
      if (end == std::string::npos) continue;
      text.replace(at + 1, end - at - 1, tokens[random() % std::size(tokens)]);
    }
    const auto model = ImportKeras(text);
    if (model.ok()) accepted += Complete(*model).ok();
    ImportPytorch(text, {}).status().IgnoreError();
    ImportLayer(v1::KERAS, text).status().IgnoreError();
    ImportOptimizer(v1::KERAS, text).status().IgnoreError();
  }
  EXPECT_GT(accepted, 0);
  std::string deep;
  for (int i = 0; i < 100000; ++i) deep += "[";
  EXPECT_FALSE(ImportKeras(deep).ok());
}

}  // namespace
}  // namespace strata
