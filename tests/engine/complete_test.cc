#include "engine/nn/complete.h"

#include "engine/session.h"
#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"

namespace strata {
namespace {

v1::Model Parse(const std::string& text) {
  v1::Model model;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &model)) << text;
  return model;
}

std::string Names(const v1::Model& model) {
  std::string s;
  for (const v1::Layer& layer : model.layers()) s += (s.empty() ? "" : " ") + layer.name();
  return s;
}

TEST(Complete, NamesLayersAsTheFrameworksDo) {
  const struct {
    const char *name, *given, *names;
  } cases[] = {
      {"Keras counts per class",
       "dialect: KERAS inputs {} layers { linear { units: 1 } } layers { relu {} } "
       "layers { linear { units: 1 } }",
       "dense re_lu dense_1"},
      {"Keras skips taken names",
       "dialect: KERAS inputs {} layers { linear { units: 1 } } "
       "layers { name: 'dense' linear { units: 1 } }",
       "dense_1 dense"},
      {"Keras image layers",
       "dialect: KERAS inputs {} layers { conv2d { filters: 1 kernel_size: 1 } } layers { max_pool2d {} } "
       "layers { global_avg_pool2d {} }",
       "conv2d max_pooling2d global_average_pooling2d"},
      {"PyTorch counts positions",
       "dialect: PYTORCH inputs {} layers { linear { units: 1 } } "
       "layers { name: 'act' relu {} } layers { linear { units: 1 } }",
       "0 act 2"},
      {"a nested model", "dialect: KERAS inputs {} layers { model { layers { tanh {} } } }", "model"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto model = Complete(Parse(c.given));
    ASSERT_TRUE(model.ok()) << model.status();
    EXPECT_EQ(Names(*model), c.names);
    const auto again = Complete(*model);
    ASSERT_TRUE(again.ok()) << again.status();
    EXPECT_EQ(again->DebugString(), model->DebugString());
  }
}

TEST(Complete, SnakeCaseIsKeras) {
  EXPECT_EQ(nn::SnakeCase("Conv2DTranspose"), "conv2d_transpose");
  EXPECT_EQ(nn::SnakeCase("PReLU"), "p_re_lu");
  EXPECT_EQ(nn::SnakeCase("LSTM"), "lstm");
  EXPECT_EQ(nn::SnakeCase("ConvLSTM2D"), "conv_lst_m2d");
  EXPECT_EQ(nn::SnakeCase("SimpleRNN"), "simple_rnn");
}

TEST(Complete, WritesOutCallsAndOutputs) {
  const auto model =
      Complete(Parse("dialect: PYTORCH inputs { shape: 4 } layers { linear { units: 2 } } layers { tanh {} }"));
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->inputs(0).name(), "input");
  EXPECT_EQ(model->inputs(0).dtype(), v1::FLOAT32);
  ASSERT_EQ(model->calls_size(), 2);
  EXPECT_EQ(model->calls(0).args(0).call(), "input");
  EXPECT_EQ(model->calls(1).args(0).call(), "0");
  EXPECT_EQ(model->calls(1).name(), "1");
  ASSERT_EQ(model->outputs_size(), 1);
  EXPECT_EQ(model->outputs(0).name(), "1");
  EXPECT_EQ(model->outputs(0).edge().call(), "1");
  EXPECT_TRUE(model->layers(0).linear().use_bias());
}

TEST(Complete, AModelMayHandItsInputOn) {
  const auto model = Complete(Parse("dialect: PYTORCH inputs {} outputs { edge { call: 'input' } }"));
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->outputs(0).name(), "input");
}

TEST(Complete, SharedLayersGetCallNames) {
  const auto model =
      Complete(Parse("dialect: KERAS inputs { name: 'a' } inputs { name: 'b' } layers { name: 'd' linear { units: 2 } "
                     "} layers { add {} } "
                     "calls { layer: 'd' args { call: 'a' } } calls { layer: 'd' args { call: 'b' } } "
                     "calls { layer: 'add' args { call: 'd' } args { call: 'd_1' } }"));
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->calls(1).name(), "d_1");
}

TEST(Complete, SortsCalls) {
  const auto model =
      Complete(Parse("dialect: PYTORCH inputs {} layers { name: 'a' tanh {} } layers { name: 'b' relu {} } "
                     "calls { layer: 'b' args { call: 'a' } } calls { layer: 'a' args { call: 'input' } } outputs { "
                     "edge { call: 'b' } }"));
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_EQ(model->calls(0).layer(), "a");
  EXPECT_EQ(model->calls(1).layer(), "b");
}

TEST(Complete, CompletesNestedModels) {
  const auto model = Complete(Parse(
      "dialect: KERAS inputs {} layers { model { layers { linear { units: 1 } } } } layers { linear { units: 1 } }"));
  ASSERT_TRUE(model.ok()) << model.status();
  const v1::Model& nested = model->layers(0).model();
  EXPECT_EQ(nested.dialect(), v1::KERAS);
  EXPECT_EQ(nested.layers(0).name(), "dense");
  EXPECT_TRUE(nested.layers(0).linear().has_kernel_initializer());
  EXPECT_EQ(nested.inputs(0).name(), "input");
  EXPECT_EQ(model->layers(1).name(), "dense");
}

TEST(Complete, Refuses) {
  const struct {
    const char *name, *given, *error;
  } cases[] = {
      {"no dialect", "inputs {} layers { tanh {} }", "dialect: must be PYTORCH or KERAS, got 0"},
      {"no layers", "dialect: KERAS inputs {}", "layers: must not be empty, got none"},
      {"no inputs", "dialect: KERAS layers { tanh {} }", "inputs: must not be empty, got none"},
      {"no layers inside", "dialect: KERAS inputs {} layers { model {} }",
       "layers[0].model.layers: must not be empty, got none"},
      {"duplicate layer", "dialect: KERAS inputs {} layers { name: 'a' tanh {} } layers { name: 'a' relu {} }",
       "layers[1].name: must be unique, got \"a\""},
      {"duplicate input", "dialect: KERAS inputs { name: 'a' } inputs { name: 'a' } layers { add {} }",
       "inputs[1].name: must be unique, got \"a\""},
      {"dot in a PyTorch name", "dialect: PYTORCH inputs {} layers { name: 'a.b' tanh {} }",
       "layers[0].name: must not contain a dot, got \"a.b\""},
      {"paths that collide",
       "dialect: KERAS inputs {} layers { name: 'a' model { layers { name: 'b' tanh {} } } } "
       "layers { name: 'a/b' tanh {} }",
       "layers: no name may begin with another's and \"/\", got \"a/b\" and \"a\""},
      {"unknown layer",
       "dialect: KERAS inputs {} layers { name: 'a' tanh {} } calls { layer: 'b' args { call: 'input' } }",
       "calls[0].layer: must name a layer, got \"b\""},
      {"unknown edge", "dialect: KERAS inputs {} layers { name: 'a' tanh {} } calls { layer: 'a' args { call: 'x' } }",
       "calls[0].args[0].call: must name a call or an input, got \"x\""},
      {"unknown named edge",
       "dialect: KERAS inputs {} layers { name: 'a' tanh {} } calls { layer: 'a' args { call: 'input' } "
       "named_args { key: 'mask' value { call: 'x' } } }",
       "calls[0].named_args[\"mask\"].call: must name a call or an input, got \"x\""},
      {"second output of an input",
       "dialect: KERAS inputs {} layers { name: 'a' tanh {} } "
       "calls { layer: 'a' args { call: 'input' output: 1 } }",
       "calls[0].args[0].output: must be 0 for an input, got 1"},
      {"call without arguments", "dialect: KERAS inputs {} layers { name: 'a' tanh {} } calls { layer: 'a' }",
       "calls[0].args: must not be empty, got none"},
      {"unused layer",
       "dialect: KERAS inputs {} layers { name: 'a' tanh {} } layers { name: 'b' tanh {} } "
       "calls { layer: 'a' args { call: 'input' } }",
       "layers[1].name: must be used by a call, got \"b\""},
      {"cycle",
       "dialect: KERAS inputs {} layers { name: 'a' tanh {} } layers { name: 'b' tanh {} } "
       "calls { layer: 'a' args { call: 'b' } } calls { layer: 'b' args { call: 'a' } }",
       "calls[0].args: calls must not form a cycle, got one before \"a\""},
      {"call named like an input",
       "dialect: KERAS inputs { name: 'a' } layers { name: 'b' tanh {} } "
       "calls { name: 'a' layer: 'b' args { call: 'a' } }",
       "calls[0].name: must be unique among inputs and calls, got \"a\""},
      {"unknown output", "dialect: KERAS inputs {} layers { tanh {} } outputs { edge { call: 'z' } }",
       "outputs[0].edge.call: must name a call or an input, got \"z\""},
      {"duplicate output",
       "dialect: KERAS inputs {} layers { tanh {} } outputs { name: 'o' edge { call: 'tanh' } } "
       "outputs { name: 'o' edge { call: 'tanh' } }",
       "outputs[1].name: must be unique, got \"o\""},
      {"attribute inside a nested model",
       "dialect: KERAS inputs {} layers { model { layers { linear { units: 0 } } } }",
       "layers[0].model.layers[0].linear.units: must be >= 1, got 0"},
      {"another dialect inside", "dialect: KERAS inputs {} layers { model { dialect: PYTORCH layers { tanh {} } } }",
       "layers[0].model.dialect: must be the outer model's, KERAS, got PYTORCH"},
      {"shape", "dialect: KERAS inputs { shape: 0 } layers { tanh {} }",
       "inputs[0].shape[0]: must be -1 or >= 1, got 0"},
      {"batch size", "dialect: KERAS inputs { batch_size: 0 } layers { tanh {} }",
       "inputs[0].batch_size: must be >= 1, got 0"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto model = Complete(Parse(c.given));
    EXPECT_EQ(model.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(model.status().message(), c.error);
  }
}

TEST(Complete, LimitsDepth) {
  v1::Model model;
  model.add_layers()->mutable_tanh();
  for (int i = 0; i < 40; ++i) {
    v1::Model outer;
    *outer.add_layers()->mutable_model() = model;
    model = outer;
  }
  model.set_dialect(v1::KERAS);
  model.add_inputs();
  const auto complete = Complete(model);
  EXPECT_EQ(complete.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(complete.status().message().find("models may be nested 32 deep"), absl::string_view::npos)
      << complete.status();
}

TEST(Complete, LimitsLayers) {
  v1::Model model;
  model.set_dialect(v1::PYTORCH);
  model.add_inputs();
  for (int i = 0; i < 10001; ++i) model.add_layers()->mutable_tanh();
  EXPECT_EQ(Complete(model).status().message(), "layers: must be <= 10000 in all, got 10001");
}

TEST(Complete, LimitsCallsOfNestedModels) {
  v1::Model model;
  model.add_layers()->mutable_tanh();
  for (int i = 0; i < 20; ++i) {  // every model calls the one inside twice
    v1::Model outer;
    outer.add_inputs()->set_name("x");
    v1::Layer* layer = outer.add_layers();
    layer->set_name("inner");
    *layer->mutable_model() = model;
    for (const char* from : {"x", "inner"}) {
      v1::Call* call = outer.add_calls();
      call->set_layer("inner");
      call->add_args()->set_call(from);
    }
    model = outer;
  }
  model.set_dialect(v1::KERAS);
  const auto complete = Complete(model);
  EXPECT_EQ(complete.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(complete.status().message().find("with nested models written out"), absl::string_view::npos)
      << complete.status();
}

// The second call of a layer with states declares nothing, so it must not touch what was declared last.
TEST(Complete, SecondCallOfBatchNormKeepsOtherInitializers) {
  const v1::Model model = Parse(R"(dialect: KERAS inputs { name: "x" shape: 3 }
      layers { name: "bn" batch_norm {} } layers { name: "d" linear { units: 3 use_bias: false } }
      calls { name: "a" layer: "bn" args { call: "x" } } calls { name: "b" layer: "d" args { call: "a" } }
      calls { name: "c" layer: "bn" args { call: "b" } } outputs { edge { call: "c" } })");
  v1::TrainingConfig config;
  config.add_objectives()->mutable_loss()->mutable_mean_squared_error();
  config.mutable_optimizer()->mutable_sgd();
  const auto session = TrainSession::Create(model, config, {});
  ASSERT_TRUE(session.ok()) << session.status();
  const NamedTensors weights = (*session)->Weights();
  const Tensor& kernel = weights.at("d/kernel");
  EXPECT_NE(kernel.At(0), kernel.At(1));
  EXPECT_EQ(weights.at("bn/moving_variance").At(0), 1);
}

}  // namespace
}  // namespace strata
