// What is wrong with a definition or a training configuration is named by its path in the message that the client sent,
// with the rule and the value, whatever part of the engine finds it.
#include "absl/strings/str_cat.h"
#include "tests/e2e/client_fixture.h"

namespace strata::e2e {
namespace {

class Errors : public Client {
 protected:
  grpc::Status Validate(const std::string& model, const std::string& config = "") {
    v1::ValidateModelRequest request;
    *request.mutable_model() = Parse<v1::Model>(model);
    if (!config.empty()) *request.mutable_training() = Parse<v1::TrainingConfig>(config);
    v1::ValidateModelResponse response;
    return Call(*models_, &v1::Models::Stub::Validate, request, &response);
  }
};

TEST_F(Errors, OfDefinitions) {
  const std::string torch = "dialect: PYTORCH inputs { name: 'x' shape: [3, 8, 8] } ";
  const std::string keras = "dialect: KERAS inputs { name: 'x' shape: [4, 6] } ";
  const struct {
    const char* name;
    std::string model;
    const char* words;
  } kCases[] = {
      {"no dialect", "inputs { shape: 2 } layers { relu {} }", "dialect: must be PYTORCH or KERAS, got 0"},
      {"input size", "dialect: KERAS inputs { shape: [2, 0] } layers { relu {} }",
       "inputs[0].shape[1]: must be -1 or >= 1, got 0"},
      {"input too large", "dialect: KERAS inputs { shape: [1000000000, 1000000000] } layers { relu {} }",
       "inputs[0].shape: must have fewer elements, got ["},
      {"batch size", "dialect: KERAS inputs { shape: 2 batch_size: 0 } layers { relu {} }",
       "inputs[0].batch_size: must be >= 1, got 0"},
      {"texts without a column", "dialect: KERAS inputs { shape: 2 dtype: BYTES } layers { relu {} }",
       "inputs[0].dtype: must be of numbers where no categorical column alone reads it, got BYTES"},
      {"precision of an input", "dialect: PYTORCH inputs { shape: 4 dtype: FLOAT64 } layers { linear { units: 2 } }",
       "layers[0].linear: matmul: operands must be of one type, got f64 and f32"},
      {"no kind", torch + "layers {}", "layers[0].kind: must be set"},
      {"range", torch + "layers { relu {} } layers { conv2d { filters: 2 kernel_size: 3 stride: 0 } }",
       "layers[1].conv2d.stride[0]: must be >= 1, got 0"},
      {"rule of fields", torch + "layers { conv2d { filters: 3 kernel_size: 1 groups: 2 } }",
       "layers[0].conv2d.groups|filters: groups must divide the filters, got 2 and 3"},
      {"shape", torch + "layers { relu {} } layers { linear { units: 2 in_features: 5 } }",
       "layers[1].linear.in_features|input"},
      {"kernel does not fit", torch + "layers { name: 'c' conv2d { filters: 2 kernel_size: 9 } }", "layers[0].conv2d"},
      {"rank", "dialect: PYTORCH inputs { shape: 2 } layers { conv2d { filters: 2 kernel_size: 1 } }",
       "layers[0].conv2d.input"},
      {"name of a layer", torch + "layers { name: 'a.b' relu {} }",
       "layers[0].name: must not contain a dot, got \"a.b\""},
      {"nested shape",
       torch + "layers { name: 'outer' model { layers { relu {} } layers { linear { units: 2 in_features: 5 } } } }",
       "layers[0].model.layers[1].linear.in_features|input"},
      {"nested twice", torch + "layers { model { layers { model { layers { max_pool2d { pool_size: 20 } } } } } }",
       "layers[0].model.layers[0].model.layers[0].max_pool2d"},
      {"wrapped", keras + "layers { bidirectional { layer { name: 'w' dense_features {} } } }",
       "layers[0].bidirectional.layer"},
      {"inside a wrapper", keras + "layers { time_distributed { layer { conv2d { filters: 1 kernel_size: 1 } } } }",
       "layers[0].time_distributed.layer.conv2d.input"},
      {"too few inputs", keras + "layers { subtract {} }",
       "calls[0].args: must be the 2 inputs of layers[0].subtract, got 1"},
      {"too many inputs",
       "dialect: KERAS inputs { name: 'a' shape: 2 } inputs { name: 'b' shape: 2 } layers { linear { units: 2 } }",
       "calls[0].args: must be the 1 input of layers[0].linear, got 2"},
      {"name of an argument",
       keras + "layers { name: 'l' lstm { units: 2 } } calls { layer: 'l' args { call: 'x' } "
               "named_args { key: 'masks' value { call: 'x' } } }",
       "calls[0].named_args[\"masks\"]: must be one of mask for layers[0].lstm, got \"masks\""},
      {"unknown call", keras + "layers { name: 'l' relu {} } calls { layer: 'l' args { call: 'y' } }",
       "calls[0].args[0].call: must name a call or an input, got \"y\""},
      {"unknown layer", keras + "layers { name: 'l' relu {} } calls { layer: 'm' args { call: 'x' } }",
       "calls[0].layer: must name a layer, got \"m\""},
      {"output of a call",
       keras + "layers { name: 'l' relu {} } layers { name: 'k' relu {} } calls { layer: 'l' args { call: 'x' } } "
               "calls { layer: 'k' args { call: 'l' output: 3 } }",
       "calls[1].args[0].output: must be < 1, the number of outputs of \"l\", got 3"},
      {"output of the model", keras + "layers { name: 'l' relu {} } outputs { edge { call: 'l' output: 2 } }",
       "outputs[0].edge.output: must be < 1, the number of outputs of \"l\", got 2"},
      {"which call",
       "dialect: PYTORCH inputs { name: 'a' shape: 2 } inputs { name: 'b' shape: 3 } layers { name: 'l' linear { "
       "units: 2 } } "
       "calls { name: 'one' layer: 'l' args { call: 'a' } } calls { name: 'two' layer: 'l' args { call: 'b' } }",
       "(call \"two\")"},
      {"call before the one that it reads",
       keras + "layers { name: 'k' subtract {} } layers { name: 'l' relu {} } calls { layer: 'k' args { call: 'l' } } "
               "calls { layer: 'l' args { call: 'x' } } outputs { edge { call: 'k' } }",
       "calls[0].args: must be the 2 inputs of layers[0].subtract, got 1"},
      {"call before the one that it reads, nested",
       keras + "layers { name: 'm' model { inputs { name: 'z' } layers { name: 'k' subtract {} } "
               "layers { name: 'l' relu {} } calls { layer: 'k' args { call: 'l' } } "
               "calls { layer: 'l' args { call: 'z' } } outputs { edge { call: 'k' } } } }",
       "layers[0].model.calls[0].args: must be the 2 inputs of layers[0].model.layers[0].subtract, got 1"},
      {"vocabulary without an asset",
       "dialect: KERAS inputs { name: 'city' dtype: BYTES shape: 1 } layers { dense_features { feature_columns { "
       "indicator { categorical_column { vocabulary_file { key: 'city' vocabulary_file: 'f' } } } } } }",
       "layers[0].dense_features.feature_columns[0].indicator.categorical_column.vocabulary_file.vocabulary_file: "
       "must be an asset of the model, got \"f\""},
      {"column twice",
       "dialect: KERAS inputs { name: 'a' shape: 1 } layers { dense_features { feature_columns { numeric { key: 'a' } "
       "} "
       "feature_columns { numeric { key: 'a' } } } }",
       "layers[0].dense_features.feature_columns[1]: must have a name of its own"},
      {"text of a component", keras + "layers { custom { definition { name: 'C' kind: LAYER body: 'x @@ 2' } } }",
       "layers[0].custom"},
      {"digest", keras + "layers { relu {} } assets { name: 'f' content: 'a' digest: '00' }",
       "assets[0].digest: must be the content's SHA-256, "
       "ca978112ca1bbdcafac231b39a23dc4da786eff8147c4e72b9807785afee48bb, got \"00\""},
      {"asset twice", keras + "layers { relu {} } assets { name: 'f' } assets { name: 'f' }",
       "assets[1].name: must be unique, got \"f\""},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    ExpectRefused(Validate(c.model), c.words);
    v1::Model named = Parse<v1::Model>(c.model);
    named.set_name("n");
    ExpectRefused(Create(named), c.words);
  }
}

TEST_F(Errors, OfTrainingConfigurations) {
  const std::string model =
      "dialect: PYTORCH inputs { name: 'x' shape: 4 } layers { name: 'a' linear { units: 3 } } "
      "layers { name: 'b' linear { units: 2 } } calls { layer: 'a' args { call: 'x' } } "
      "calls { layer: 'b' args { call: 'x' } } outputs { name: 'first' edge { call: 'a' } } "
      "outputs { name: 'second' edge { call: 'b' } } ";
  const std::string sgd = "optimizer { sgd { learning_rate: 0.1 } } ";
  const std::string mse = "objectives { loss { mean_squared_error {} } } ";
  const struct {
    const char* name;
    std::string config;
    const char* words;
  } kCases[] = {
      {"no objectives", sgd, "objectives: must not be empty, got none"},
      {"no loss", sgd + "objectives {}", "objectives[0].loss.kind: must be set"},
      {"no optimizer", mse, "optimizer.kind: must be set"},
      {"range of a loss", sgd + "objectives { loss { huber { delta: -1 } } }",
       "objectives[0].loss.huber.delta: must be"},
      {"output", sgd + "objectives { loss { mean_squared_error {} } output: 'third' }",
       "objectives[0].output: must name one of the model's outputs, first, second, got \"third\""},
      {"output at a position", sgd + mse + mse + mse,
       "objectives[2].output: must name one of the model's outputs, first, second, got nothing"},
      {"further output", sgd + "objectives { loss { margin_ranking {} } output: 'first' more_outputs: 'third' }",
       "objectives[0].more_outputs[0]: must name one of the model's outputs, first, second, got \"third\""},
      {"too few further outputs", sgd + "objectives { loss { triplet_margin {} } more_outputs: 'second' }",
       "objectives[0].more_outputs: must name the 2 further outputs that the loss compares, got 1"},
      {"further outputs of a loss without",
       sgd + "objectives { loss { mean_squared_error {} } more_outputs: 'second' }",
       "objectives[0].more_outputs: must name the 0 further outputs that the loss compares, got 1"},
      {"argument", sgd + "objectives { loss { mean_squared_error {} } arguments { key: 'z' value: 'q' } }",
       "objectives[0].arguments[\"z\"]: must be absent: the loss takes no further argument, got \"z\""},
      {"output of a metric", sgd + mse + "metrics { metric { accuracy {} } output: 'third' }",
       "metrics[0].output: must name one of the model's outputs, first, second, got \"third\""},
      {"metric", sgd + mse + "metrics { metric {} }", "metrics[0].metric.kind: must be set"},
      {"frozen", sgd + mse + "frozen: 'a.weight' frozen: 'c.weight'",
       "frozen[1]: must name a parameter, got \"c.weight\""},
      {"group", mse + "optimizer { sgd {} groups { parameters: 'a.weight' parameters: 'q' } }",
       "optimizer.groups[0].parameters[1]: must name a parameter, got \"q\""},
      {"rate", mse + "optimizer { sgd { learning_rate: -1 } }", "optimizer.sgd.learning_rate: must be"},
      {"schedule", mse + "optimizer { sgd {} schedule { step { step_size: 0 } } }",
       "optimizer.schedule.step.step_size: must be"},
      {"monitor", sgd + mse + "early_stopping { monitor: 'accuracy' }", "early_stopping.monitor: must be one of"},
      {"accumulation", sgd + mse + "accumulate_steps: -1", "accumulate_steps: must be >= 0, got -1"},
      {"class weight", sgd + mse + "class_weights { class: -1 weight: 2 }", "class_weights[0].class: must be between"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    ExpectRefused(Validate(model, c.config), c.words);
  }
}

// What only a batch can show: shapes of targets, values, tensors that are missing.
TEST_F(Errors, OfBatches) {
  v1::Model model = Parse<v1::Model>(
      "name: 'net' dialect: PYTORCH inputs { name: 'ids' dtype: INT64 shape: 2 } layers { embedding { input_dim: 5 "
      "output_dim: 3 } } layers { flatten {} } layers { linear { units: 2 } }");
  ASSERT_TRUE(Create(model).ok());
  const auto config = Parse<v1::TrainingConfig>(
      "objectives { loss { mean_squared_error {} } } optimizer { sgd {} } metrics { metric { accuracy {} } target: 't' "
      "}");
  const auto ids = [](const std::vector<int64_t>& values) {
    v1::Tensor t;
    t.set_dtype(v1::INT64);
    t.add_shape(static_cast<int64_t>(values.size()) / 2);
    t.add_shape(2);
    t.set_data(values.data(), values.size() * sizeof(int64_t));
    return t;
  };
  const v1::Tensor good = ids({1, 2}), target = Floats({1, 2}, {0, 0});
  const struct {
    const char* name;
    std::map<std::string, v1::Tensor> tensors;
    const char* words;
  } kCases[] = {
      {"no input", {{"target", target}, {"t", target}}, "batch.tensors[\"ids\"]: must be given, got nothing"},
      {"no target", {{"ids", good}, {"t", target}}, "batch.tensors[\"target\"]: must be given for objectives[0]"},
      {"no target of a metric",
       {{"ids", good}, {"target", target}},
       "batch.tensors[\"t\"]: must be given for metrics[0]"},
      {"stranger",
       {{"ids", good}, {"target", target}, {"t", target}, {"z", target}},
       "batch.tensors[\"z\"]: must be one of ids, t, target, got \"z\""},
      {"texts",
       {{"ids", good}, {"target", Texts({1, 2}, {"a", "b"})}, {"t", target}},
       "batch.tensors[\"target\"].dtype: must be of numbers, got BYTES"},
      {"texts as an input",
       {{"ids", Texts({1, 2}, {"a", "b"})}, {"target", target}, {"t", target}},
       "batch.tensors[\"ids\"].dtype: must be "},
      {"rows", {{"ids", good}, {"target", Floats({2, 2}, {0, 0, 0, 0})}, {"t", target}}, "batch.tensors["},
      {"shape of a target",
       {{"ids", good}, {"target", Floats({1, 3}, {0, 0, 0})}, {"t", target}},
       "objectives[0].loss.mean_squared_error.target|input"},
      {"value",
       {{"ids", ids({1, 5})}, {"target", target}, {"t", target}},
       "layers[0].embedding.input: ids must be in [0, 5)"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    ExpectRefused(TrainAndPublish("net", config, {c.tensors}, nullptr), c.words);
  }
  std::vector<double> losses;
  const grpc::Status status =
      TrainAndPublish("net", config, {{{"ids", good}, {"target", target}, {"t", target}}}, &losses);
  EXPECT_TRUE(status.ok()) << status.error_message();
}

// Three outputs under one loss, with weights that all of them share.
TEST_F(Errors, TripletsTrain) {
  ASSERT_TRUE(Create(Parse<v1::Model>(
                         "name: 'triplet' dialect: PYTORCH inputs { name: 'a' shape: 3 } inputs { name: 'p' shape: 3 } "
                         "inputs { name: 'n' shape: 3 } layers { name: 'embed' linear { units: 2 } } "
                         "calls { name: 'anchor' layer: 'embed' args { call: 'a' } } "
                         "calls { name: 'positive' layer: 'embed' args { call: 'p' } } "
                         "calls { name: 'negative' layer: 'embed' args { call: 'n' } } "
                         "outputs { edge { call: 'anchor' } } outputs { edge { call: 'positive' } } "
                         "outputs { edge { call: 'negative' } }"))
                  .ok());
  const auto config = Parse<v1::TrainingConfig>(
      "objectives { loss { triplet_margin { margin: 1 } } output: 'anchor' more_outputs: 'positive' "
      "more_outputs: 'negative' } optimizer { adam { learning_rate: 0.05 } } seed: 3");
  // The classes differ in one coordinate; the others are noise.
  const std::map<std::string, v1::Tensor> batch = {{"a", Floats({2, 3}, {1, 0.3f, -0.4f, -1, 0.2f, 0.6f})},
                                                   {"p", Floats({2, 3}, {1, -0.5f, 0.7f, -1, 0.9f, -0.1f})},
                                                   {"n", Floats({2, 3}, {-1, 0.3f, -0.4f, 1, 0.2f, 0.6f})}};
  std::vector<double> losses;
  const grpc::Status status = TrainAndPublish("triplet", config, std::vector(60, batch), &losses);
  ASSERT_TRUE(status.ok()) << status.error_message();
  ASSERT_EQ(losses.size(), 60u);
  EXPECT_LT(losses.back(), losses.front() / 4);
  inference::ModelInferRequest request;
  request.set_model_name("triplet");
  for (const auto& [name, tensor] : batch) {
    auto* input = request.add_inputs();
    input->set_name(name);
    input->set_datatype("FP32");
    *input->mutable_shape() = tensor.shape();
    request.add_raw_input_contents(tensor.data());
  }
  inference::ModelInferResponse response;
  const grpc::Status inferred =
      Call(*inference_, &inference::GRPCInferenceService::Stub::ModelInfer, request, &response);
  ASSERT_TRUE(inferred.ok()) << inferred.error_message();
  EXPECT_EQ(response.outputs_size(), 3);
}

}  // namespace
}  // namespace strata::e2e
