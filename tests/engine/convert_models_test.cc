// Whole models in the other dialect, and back; what is refused; what is warned of.
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/convert/convert.h"
#include "engine/session.h"
#include "google/protobuf/util/json_util.h"
#include "google/protobuf/util/message_differencer.h"
#include "tests/engine/convert_support.h"

namespace strata {
namespace {

struct ModelCase {
  const char* name;
  const char* text;
};

const ModelCase kKeras[] = {
    {"image",
     R"(dialect: KERAS name: "image" inputs { shape: [12, 10, 3] }
        layers { conv2d { filters: 4 kernel_size: 3 padding { mode: SAME } activation { relu {} } } }
        layers { batch_norm {} }
        layers { max_pool2d { pool_size: 3 stride: 2 padding { mode: SAME } } }
        layers { depthwise_conv2d { kernel_size: 3 depth_multiplier: 2 } }
        layers { separable_conv2d { filters: 6 kernel_size: 2 padding { mode: SAME } activation { elu {} } } }
        layers { avg_pool2d { padding { mode: SAME } } }
        layers { flatten {} }
        layers { linear { units: 7 activation { tanh {} } } }
        layers { dropout { rate: 0.3 } }
        layers { linear { units: 5 activation { softmax {} } } })"},
    {"strided_same",
     R"(dialect: KERAS inputs { shape: [11, 8, 2] }
        layers { conv2d { filters: 3 kernel_size: [3, 4] stride: 2 padding { mode: SAME } } }
        layers { conv_transpose2d { filters: 2 kernel_size: 3 stride: 2 padding { mode: SAME } activation { relu {} } } }
        layers { conv_transpose2d { filters: 2 kernel_size: 4 stride: 2 padding { mode: SAME } } }
        layers { conv_transpose2d { filters: 2 kernel_size: 1 stride: 3 } })"},
    {"flatten_then_many",
     R"(dialect: KERAS inputs { shape: [4, 3, 2] }
        layers { conv2d { filters: 3 kernel_size: 2 } }
        layers { flatten {} }
        layers { batch_norm {} }
        layers { activation { activation { relu {} } } }
        layers { dropout { rate: 0.5 } }
        layers { prelu {} }
        layers { linear { units: 4 } })"},
    {"flatten_out", R"(dialect: KERAS inputs { shape: [4, 3, 2] } layers { max_pool2d {} } layers { flatten {} })"},
    {"residual",
     R"(dialect: KERAS inputs { name: "x" shape: [8, 8, 3] } inputs { name: "s" shape: 4 }
        layers { name: "c1" conv2d { filters: 3 kernel_size: 3 padding { mode: SAME } } }
        layers { name: "add" add {} } layers { name: "gap" global_avg_pool2d {} }
        layers { name: "cat" concatenate {} } layers { name: "out" linear { units: 2 } }
        calls { layer: "c1" args { call: "x" } }
        calls { layer: "add" args { call: "c1" } args { call: "x" } }
        calls { layer: "gap" args { call: "add" } }
        calls { layer: "cat" args { call: "gap" } args { call: "s" } }
        calls { layer: "out" args { call: "cat" } }
        outputs { name: "y" edge { call: "out" } } outputs { name: "map" edge { call: "add" } })"},
    {"channel_axes",
     R"(dialect: KERAS inputs { name: "x" shape: [6, 5, 4] }
        layers { name: "a" conv2d { filters: 4 kernel_size: 1 } }
        layers { name: "n" group_norm { groups: 2 } } layers { name: "l" layer_norm {} }
        layers { name: "cat" concatenate {} } layers { name: "rows" concatenate { axis: 1 } }
        layers { name: "s" softmax {} } layers { name: "p" prelu { shared_axes: [1, 2] } }
        calls { layer: "a" args { call: "x" } } calls { layer: "n" args { call: "a" } }
        calls { layer: "l" args { call: "a" } }
        calls { layer: "cat" args { call: "n" } args { call: "l" } }
        calls { layer: "rows" args { call: "cat" } args { call: "cat" } }
        calls { layer: "s" args { call: "rows" } } calls { layer: "p" args { call: "s" } })"},
    {"channels_first",
     R"(dialect: KERAS inputs { shape: [3, 6, 5] }
        layers { conv2d { filters: 2 kernel_size: 2 data_format: CHANNELS_FIRST } }
        layers { batch_norm { axis: 1 } } layers { flatten { data_format: CHANNELS_FIRST } }
        layers { linear { units: 3 } })"},
    {"text",
     R"(dialect: KERAS inputs { shape: 9 dtype: INT64 }
        layers { embedding { input_dim: 11 output_dim: 6 } }
        layers { conv1d { filters: 5 kernel_size: 3 padding { mode: CAUSAL } dilation: 2 } }
        layers { bidirectional { layer { lstm { units: 4 return_sequences: true } } } }
        layers { bidirectional { layer { gru { units: 3 return_sequences: true } } merge_mode: "sum" } }
        layers { bidirectional { layer { simple_rnn { units: 3 } } merge_mode: "mul" } }
        layers { linear { units: 1 activation { sigmoid {} } } })"},
    {"float_ids", R"(dialect: KERAS inputs { shape: 4 } layers { embedding { input_dim: 5 output_dim: 3 } }
                     layers { gru { units: 2 dropout: 0.25 } })"},
    {"encoder_decoder",
     R"(dialect: KERAS inputs { name: "x" shape: [5, 3] } inputs { name: "z" shape: [4, 2] }
        layers { name: "enc" lstm { units: 3 return_state: true } }
        layers { name: "dec" lstm { units: 3 return_sequences: true } } layers { name: "td" time_distributed { layer { linear { units: 2 } } } }
        layers { name: "sum" add {} }
        calls { layer: "enc" args { call: "x" } }
        calls { layer: "dec" args { call: "z" } args { call: "enc" output: 1 } args { call: "enc" output: 2 } }
        calls { layer: "td" args { call: "dec" } }
        calls { layer: "sum" args { call: "enc" output: 1 } args { call: "enc" output: 2 } }
        outputs { edge { call: "td" } } outputs { edge { call: "sum" } })"},
    {"cells", R"(dialect: KERAS inputs { shape: [4, 3] }
                 layers { rnn { cells { lstm_cell { units: 2 } } cells { gru_cell { units: 3 } } cells { simple_rnn_cell { units: 4 activation { relu {} } } } return_sequences: true } }
                 layers { rnn { cells { gru_cell { units: 2 } } time_major: false } })"},
    {"nested",
     R"(dialect: KERAS inputs { name: "x" shape: [6, 6, 2] } inputs { name: "y" shape: [6, 6, 2] }
        layers { name: "tower" model { name: "tower" inputs { shape: [6, 6, 2] }
          layers { name: "c" conv2d { filters: 3 kernel_size: 3 activation { relu {} } } }
          layers { name: "inner" model { inputs {} layers { name: "p" max_pool2d {} } layers { name: "b" batch_norm {} } } }
          layers { name: "f" flatten {} } layers { name: "d" linear { units: 4 } } } }
        layers { name: "diff" subtract {} } layers { name: "out" linear { units: 1 } }
        calls { layer: "tower" args { call: "x" } } calls { name: "again" layer: "tower" args { call: "y" } }
        calls { layer: "diff" args { call: "tower" } args { call: "again" } } calls { layer: "out" args { call: "diff" } })"},
    {"shared",
     R"(dialect: KERAS inputs { name: "x" shape: [4, 4, 2] } inputs { name: "y" shape: 32 }
        layers { name: "c" conv2d { filters: 2 kernel_size: 3 padding { mode: SAME } } }
        layers { name: "f" flatten {} } layers { name: "d" linear { units: 3 activation { relu {} } } }
        layers { name: "add" add {} }
        calls { layer: "c" args { call: "x" } } calls { name: "c2" layer: "c" args { call: "c" } }
        calls { layer: "f" args { call: "c2" } } calls { layer: "d" args { call: "f" } }
        calls { name: "d2" layer: "d" args { call: "y" } }
        calls { layer: "add" args { call: "d" } args { call: "d2" } })"},
    {"attention",
     R"(dialect: KERAS inputs { name: "q" shape: [4, 6] } inputs { name: "v" shape: [5, 3] }
        layers { name: "self" keras_multi_head_attention { num_heads: 2 key_dim: 3 } }
        layers { name: "cross" keras_multi_head_attention { num_heads: 3 key_dim: 2 return_attention_scores: true } }
        layers { name: "norm" layer_norm {} }
        calls { layer: "self" args { call: "q" } args { call: "q" } }
        calls { layer: "norm" args { call: "self" } }
        calls { layer: "cross" args { call: "norm" } args { call: "v" } }
        outputs { edge { call: "cross" } } outputs { edge { call: "cross" output: 1 } })"},
    {"moves",
     R"(dialect: KERAS inputs { shape: [4, 6] }
        layers { conv1d { filters: 6 kernel_size: 1 } } layers { permute { dims: [2, 1] } }
        layers { reshape { target_shape: [2, 3, 4] } } layers { zero_padding2d { padding: [1, 0, 2, 1] } }
        layers { cropping2d { cropping: [0, 1, 1, 0] } } layers { up_sampling2d { size: [2, 3] interpolation: "bilinear" } }
        layers { global_max_pool2d { keepdims: true } } layers { flatten {} } layers { repeat_vector { n: 3 } }
        layers { global_avg_pool1d {} })"},
    {"volume",
     R"(dialect: KERAS inputs { shape: [6, 5, 4, 2] }
        layers { conv3d { filters: 3 kernel_size: 2 padding { mode: SAME } } } layers { batch_norm { scale: false } }
        layers { max_pool3d { padding { mode: SAME } } } layers { spatial_dropout3d { rate: 0.1 } }
        layers { global_avg_pool3d {} })"},
    {"free_sizes", R"(dialect: KERAS inputs { shape: [-1, 3] } layers { conv1d { filters: 4 kernel_size: 2 } }
                      layers { lstm { units: 2 return_sequences: true } } layers { linear { units: 2 } })"},
    {"relus", R"(dialect: KERAS inputs { shape: 40 } layers { relu { max_value: 2 } } layers { linear { units: 40 } }
                 layers { relu { negative_slope: 0.1 } } layers { linear { units: 40 } } layers { relu { max_value: 6 } }
                 layers { linear { units: 40 } } layers { relu { threshold: 0.5 } })"},
};

const ModelCase kPytorch[] = {
    {"lenet",
     R"(dialect: PYTORCH inputs { shape: [1, 14, 14] }
        layers { conv2d { filters: 4 kernel_size: 5 padding { size { values: 2 } } } } layers { relu {} }
        layers { max_pool2d { pool_size: 2 } } layers { conv2d { filters: 6 kernel_size: 3 } } layers { relu {} }
        layers { avg_pool2d { pool_size: 2 } } layers { flatten {} } layers { linear { units: 8 } } layers { tanh {} }
        layers { linear { units: 3 } } layers { softmax { axis: 1 } })"},
    {"resnet",
     R"(dialect: PYTORCH inputs { shape: [3, 15, 15] }
        layers { name: "conv" conv2d { filters: 4 kernel_size: 7 stride: 2 padding { size { values: 3 } } use_bias: false } }
        layers { name: "bn" batch_norm2d {} } layers { name: "relu" relu {} }
        layers { name: "pool" max_pool2d { pool_size: 3 stride: 2 padding { size { values: 1 } } } }
        layers { name: "block" model {
          layers { name: "c1" conv2d { filters: 4 kernel_size: 3 padding { size { values: 1 } } } }
          layers { name: "b1" batch_norm2d { affine: false } } layers { name: "act" leaky_relu {} }
          layers { name: "sum" add {} }
          inputs { name: "x" }
          calls { layer: "c1" args { call: "x" } } calls { layer: "b1" args { call: "c1" } }
          calls { layer: "act" args { call: "b1" } } calls { layer: "sum" args { call: "act" } args { call: "x" } } } }
        layers { name: "gap" adaptive_avg_pool2d { output_size: 1 } } layers { name: "flat" flatten {} }
        layers { name: "fc" linear { units: 5 } })"},
    {"mobile",
     R"(dialect: PYTORCH inputs { shape: [4, 8, 9] }
        layers { conv2d { filters: 8 kernel_size: 3 groups: 4 padding { size { values: 1 } } } } layers { relu6 {} }
        layers { conv2d { filters: 6 kernel_size: 1 } } layers { silu {} }
        layers { conv2d { filters: 6 kernel_size: 3 groups: 3 stride: [2, 1] padding { size { values: 1 } } } }
        layers { instance_norm2d { num_features: 6 affine: true } } layers { group_norm { groups: 3 } }
        layers { prelu { num_parameters: 6 } } layers { upsample { scale_factor: 2 mode: "bilinear" } }
        layers { avg_pool2d { pool_size: 3 stride: 2 padding { size { values: 1 } } } } layers { hardtanh { min_value: 0 max_value: 4 } }
        layers { zero_pad2d { padding: [1, -1, 0, 2] } } layers { constant_pad2d { padding: 1 value: 0 } }
        layers { adaptive_max_pool2d { output_size: 1 } } layers { flatten {} } layers { linear { units: 3 } })"},
    {"generator",
     R"(dialect: PYTORCH inputs { shape: [6, 2, 3] }
        layers { conv_transpose2d { filters: 4 kernel_size: 4 stride: 2 padding { size { values: 1 } } } }
        layers { batch_norm2d {} } layers { relu {} }
        layers { conv_transpose2d { filters: 3 kernel_size: 3 stride: 2 padding { size { values: 1 } } output_padding { values: 1 } } }
        layers { conv_transpose2d { filters: 2 kernel_size: 2 stride: 3 } } layers { tanh {} })"},
    {"rnn",
     R"(dialect: PYTORCH inputs { shape: 7 dtype: INT64 }
        layers { name: "emb" embedding { input_dim: 10 output_dim: 4 padding_idx: 0 } }
        layers { name: "lstm" lstm { units: 3 num_layers: 2 bidirectional: true batch_first: true dropout: 0.2 } }
        layers { name: "gru" gru { units: 3 num_layers: 2 batch_first: true } }
        layers { name: "rnn" simple_rnn { units: 3 nonlinearity: "relu" batch_first: true use_bias: false } }
        layers { name: "last" select { axis: 1 index: -1 } } layers { name: "fc" linear { units: 2 } })"},
    {"states",
     R"(dialect: PYTORCH inputs { name: "x" shape: [4, 3] } inputs { name: "z" shape: [5, 2] }
        layers { name: "enc" lstm { units: 3 batch_first: true num_layers: 2 } }
        layers { name: "dec" lstm { units: 3 batch_first: true num_layers: 2 } }
        layers { name: "top" select { axis: 0 index: -1 } } layers { name: "mean" mean { axis: 1 } } layers { name: "sum" add {} }
        calls { layer: "enc" args { call: "x" } }
        calls { layer: "dec" args { call: "z" } args { call: "enc" output: 1 } args { call: "enc" output: 2 } }
        calls { layer: "top" args { call: "enc" output: 1 } } calls { layer: "mean" args { call: "dec" } }
        calls { layer: "sum" args { call: "top" } args { call: "mean" } })"},
    {"time_first", R"(dialect: PYTORCH inputs { shape: [2, 3] batch_size: 4 }
                      layers { gru { units: 3 bidirectional: true } } layers { select { axis: 2 index: 0 } })"},
    {"attention",
     R"(dialect: PYTORCH inputs { name: "q" shape: [4, 6] } inputs { name: "k" shape: [5, 3] } inputs { name: "v" shape: [5, 2] }
        layers { name: "self" multihead_attention { embed_dim: 6 num_heads: 2 batch_first: true } }
        layers { name: "cross" multihead_attention { embed_dim: 6 num_heads: 3 kdim: 3 vdim: 2 batch_first: true } }
        layers { name: "ln" layer_norm { normalized_shape: [4, 6] } }
        calls { layer: "self" args { call: "q" } args { call: "q" } args { call: "q" } }
        calls { layer: "ln" args { call: "self" } }
        calls { layer: "cross" args { call: "ln" } args { call: "k" } args { call: "v" } }
        outputs { edge { call: "cross" } } outputs { edge { call: "cross" output: 1 } })"},
    {"partial_flatten",
     R"(dialect: PYTORCH inputs { shape: [4, 3, 5] } layers { conv2d { filters: 4 kernel_size: 2 } }
        layers { flatten { start_axis: 2 } } layers { linear { units: 3 } } layers { log_softmax { axis: 1 } }
        layers { mean { axis: [1, 2] keepdims: true } })"},
    {"steps_and_means",
     R"(dialect: PYTORCH inputs { name: "x" shape: [5, 4] } inputs { name: "image" shape: [3, 4, 6] }
        layers { name: "first" select { axis: 1 index: 0 } } layers { name: "feature" select { axis: -1 index: 2 } }
        layers { name: "over_steps" mean { axis: 1 } } layers { name: "over_features" mean { axis: -1 } }
        layers { name: "conv" conv2d { filters: 4 kernel_size: 2 } } layers { name: "row" select { axis: 2 index: 1 } }
        layers { name: "places" mean { axis: [2, 3] } } layers { name: "rows" mean { axis: 2 keepdims: true } }
        calls { layer: "first" args { call: "x" } } calls { layer: "feature" args { call: "x" } }
        calls { layer: "over_steps" args { call: "x" } } calls { layer: "over_features" args { call: "x" } }
        calls { layer: "conv" args { call: "image" } } calls { layer: "row" args { call: "conv" } }
        calls { layer: "places" args { call: "conv" } } calls { layer: "rows" args { call: "conv" } }
        outputs { edge { call: "first" } } outputs { edge { call: "feature" } } outputs { edge { call: "over_steps" } }
        outputs { edge { call: "over_features" } } outputs { edge { call: "row" } } outputs { edge { call: "places" } }
        outputs { edge { call: "rows" } })"},
    {"conv1d", R"(dialect: PYTORCH inputs { shape: [3, 9] } layers { conv1d { filters: 4 kernel_size: 3 } }
                  layers { batch_norm1d { epsilon: 1e-3 } } layers { relu {} } layers { max_pool1d { pool_size: 2 } }
                  layers { flatten {} } layers { batch_norm1d { use_bias: false } } layers { linear { units: 2 } })"},
    {"mlp", R"(dialect: PYTORCH inputs { shape: [1, 4, 4] } layers { flatten {} } layers { linear { units: 5 } }
               layers { gelu { approximate: TANH } } layers { layer_norm { normalized_shape: 5 } } layers { linear { units: 2 use_bias: false } })"},
};

std::vector<ModelCase> All() {
  std::vector<ModelCase> all(std::begin(kKeras), std::end(kKeras));
  all.insert(all.end(), std::begin(kPytorch), std::end(kPytorch));
  return all;
}

class ModelTest : public testing::TestWithParam<ModelCase> {};

TEST_P(ModelTest, PredictsTheSameThereAndBack) {
  const v1::Model model = ModelOf(GetParam().text);
  Conversion there;
  absl::Status status = Agrees(model, &there);
  ASSERT_TRUE(status.ok()) << status;
  EXPECT_EQ(there.model.dialect(), Other(model.dialect()));
  Conversion back;
  status = Agrees(there.model, &back);
  ASSERT_TRUE(status.ok()) << status << "\n" << there.model.DebugString();
  EXPECT_EQ(back.model.dialect(), model.dialect());
}

INSTANTIATE_TEST_SUITE_P(Convert, ModelTest, testing::ValuesIn(All()), [](const auto& info) {
  return absl::StrCat(info.param.name, info.index < std::size(kKeras) ? "_keras" : "_pytorch");
});

// -------------------------------------------------------------------------------------------------- exact forms

// The definition that a conversion gives, with defaults.
v1::Model Converted(const std::string& text) {
  const v1::Model model = ModelOf(text);
  const auto c = ConvertModel(model, Other(model.dialect()));
  EXPECT_TRUE(c.ok()) << c.status();
  return c.ok() ? c->model : v1::Model();
}

TEST(ConvertForm, ChainStaysAChainAndSharedDefaultsStayUnsaid) {
  const v1::Model got = Converted(R"(dialect: KERAS name: "m" inputs { name: "input" shape: [8, 8, 1] }
      layers { name: "c" conv2d { filters: 4 kernel_size: 3 activation { relu {} } } }
      layers { name: "bn" batch_norm {} } layers { name: "f" flatten {} } layers { name: "d" linear { units: 2 } })");
  const v1::Model want = ModelOf(R"(dialect: PYTORCH name: "m" inputs { name: "input" shape: [1, 8, 8] }
      layers { name: "c" conv2d { filters: 4 kernel_size: 3 } } layers { name: "c_relu" relu {} }
      layers { name: "bn" batch_norm2d { epsilon: 0.001 momentum: 0.01 } } layers { name: "f" flatten {} }
      layers { name: "d" linear { units: 2 } })");
  EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(got, want)) << got.DebugString();
}

TEST(ConvertForm, PositionsBecomeKerasNames) {
  const v1::Model got =
      Converted(R"(dialect: PYTORCH inputs { shape: 4 } layers { linear { units: 3 } } layers { relu {} }
                                     layers { linear { units: 2 } })");
  ASSERT_EQ(got.layers_size(), 3);
  EXPECT_EQ(got.layers(0).name(), "dense");
  EXPECT_EQ(got.layers(1).name(), "re_lu");
  EXPECT_EQ(got.layers(2).name(), "dense_1");
  EXPECT_EQ(got.calls_size(), 0);
}

// What was permuted for the one dialect is not permuted twice on the way back.
TEST(ConvertForm, NoLayersPileUp) {
  const v1::Model there = Converted(R"(dialect: KERAS inputs { shape: [9, 3] }
      layers { name: "c" conv1d { filters: 4 kernel_size: 2 } } layers { name: "l" lstm { units: 2 return_sequences: true } })");
  ASSERT_EQ(there.layers_size(), 3) << there.DebugString();  // with one permutation
  const auto back = ConvertModel(there, v1::KERAS);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(back->model.layers_size(), 2) << back->model.DebugString();
}

TEST(ConvertForm, AxesOfInputsAndOutputsAreNamed) {
  const auto c = ConvertModel(ModelOf(R"(dialect: KERAS inputs { name: "x" shape: [8, 8, 3] }
                                         layers { name: "c" conv2d { filters: 4 kernel_size: 3 } })"),
                              v1::PYTORCH);
  ASSERT_TRUE(c.ok()) << c.status();
  EXPECT_EQ(c->inputs[0].name, "x");
  EXPECT_EQ(c->inputs[0].axes, (std::vector<int64_t>{0, 3, 1, 2}));
  EXPECT_EQ(c->outputs[0].name, "c");
  EXPECT_EQ(c->outputs[0].axes, (std::vector<int64_t>{0, 3, 1, 2}));
}

v1::Model Example(const std::string& name) {
  std::ifstream file(absl::StrCat(STRATA_SOURCE_DIR, "/examples/both_dialects/", name, ".json"));
  std::stringstream text;
  text << file.rdbuf();
  v1::Model model;
  EXPECT_TRUE(google::protobuf::util::JsonStringToMessage(text.str(), &model).ok()) << name;
  return model;
}

TEST(ConvertForm, TheExamplesAreOneModel) {
  for (const auto& [from, to] : {std::pair("pytorch", "keras"), std::pair("keras", "pytorch")}) {
    SCOPED_TRACE(from);
    const v1::Model model = Example(from);
    Conversion c;
    const absl::Status status = Agrees(model, &c);
    ASSERT_TRUE(status.ok()) << status;
    const auto got = Complete(c.model), want = Complete(Example(to));
    ASSERT_TRUE(got.ok() && want.ok()) << got.status() << want.status();
    EXPECT_TRUE(google::protobuf::util::MessageDifferencer::Equals(*got, *want)) << c.model.DebugString();
  }
}

// ------------------------------------------------------------------------------------------------------ refusals

TEST(ConvertRefuses, AllComponentsAtOnceByPath) {
  const auto c = ConvertModel(ModelOf(R"(dialect: KERAS inputs { shape: [8, 6] }
      layers { gru { units: 2 reset_after: false return_sequences: true } }
      layers { model { layers { linear { units: 3 activation { hard_sigmoid {} } } } layers { locally_connected1d { filters: 2 kernel_size: 2 } } } }
      layers { lstm { units: 2 recurrent_dropout: 0.5 } })"),
                              v1::PYTORCH);
  ASSERT_EQ(c.status().code(), absl::StatusCode::kInvalidArgument) << c.status();
  for (const char* part : {"layers[0].gru.reset_after", "layers[1].model.layers[0].linear.hard_sigmoid",
                           "layers[1].model.layers[1].locally_connected1d", "layers[2].lstm.recurrent_dropout"}) {
    EXPECT_TRUE(absl::StrContains(c.status().message(), part)) << part << " in " << c.status();
  }
}

TEST(ConvertRefuses, ArgumentsByName) {
  const auto c = ConvertModel(
      ModelOf(R"(dialect: KERAS inputs { name: "x" shape: [3, 4] } inputs { name: "m" shape: 3 dtype: BOOL }
      layers { name: "f" flatten {} } calls { layer: "f" args { call: "x" } named_args { key: "mask" value { call: "m" } } })"),
      v1::PYTORCH);
  ASSERT_EQ(c.status().code(), absl::StatusCode::kInvalidArgument) << c.status();
  EXPECT_TRUE(absl::StrContains(c.status().message(), "layers[0].flatten: named_args[\"mask\"]")) << c.status();
}

TEST(ConvertRefuses, TheSameDialectAndNone) {
  const v1::Model model = ModelOf(R"(dialect: KERAS inputs { shape: 3 } layers { linear { units: 2 } })");
  for (v1::Dialect to : {v1::KERAS, v1::DIALECT_UNSPECIFIED}) {
    const auto c = ConvertModel(model, to);
    EXPECT_EQ(c.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_TRUE(absl::StartsWith(c.status().message(), "dialect:")) << c.status();
  }
}

TEST(ConvertRefuses, FreeSizesOnWhichTheCounterpartDepends) {
  const auto c = ConvertModel(ModelOf(R"(dialect: KERAS inputs { shape: [-1, -1, 3] }
      layers { name: "c" conv2d { filters: 2 kernel_size: 3 stride: 2 padding { mode: SAME } } })"),
                              v1::PYTORCH);
  ASSERT_EQ(c.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(absl::StrContains(c.status().message(), "inputs: sizes must be fixed")) << c.status();
}

TEST(ConvertRefuses, PaddingOfMinusInfinityUnlessNothingIsNegative) {
  const std::string pool =
      "layers { name: \"p\" max_pool2d { pool_size: 3 stride: 2 padding { size { values: 1 } } } }";
  const std::string head = "dialect: PYTORCH inputs { shape: [2, 8, 8] } ";
  EXPECT_EQ(ConvertModel(ModelOf(head + pool), v1::KERAS).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(ConvertModel(ModelOf(head + "layers { name: \"r\" relu {} } " + pool), v1::KERAS).ok());
}

TEST(ConvertWarns, OfWhatOnlyTrainingKnows) {
  const auto c = ConvertModel(ModelOf(R"(dialect: KERAS inputs { shape: 3 }
      layers { linear { units: 2 kernel_initializer { zeros {} } kernel_regularizer { l2: 0.1 } bias_constraint { non_neg {} } } })"),
                              v1::PYTORCH);
  ASSERT_TRUE(c.ok()) << c.status();
  ASSERT_EQ(c->warnings.size(), 3U);
  EXPECT_TRUE(absl::StartsWith(c->warnings[0], "layers[0].linear.kernel_initializer")) << c->warnings[0];
}

TEST(ConvertWarns, OfPenaltiesOnOutputs) {
  const auto c = ConvertModel(ModelOf(R"(dialect: KERAS inputs { shape: 3 }
      layers { name: "f" flatten {} activity_regularizer { l2: 0.1 } })"),
                              v1::PYTORCH);
  ASSERT_TRUE(c.ok()) << c.status();
  ASSERT_EQ(c->warnings.size(), 1U);
  EXPECT_TRUE(absl::StartsWith(c->warnings[0], "layers[0].activity_regularizer: has no counterpart in PyTorch"))
      << c->warnings[0];
}

// Keras has a pooling or cropping for each of these, and no mean or select.
TEST(ConvertForm, KerasHasNoMeanAndNoSelect) {
  const auto c = ConvertModel(ModelOf(R"(dialect: PYTORCH inputs { shape: [4, 3] }
      layers { lstm { units: 2 batch_first: true } } layers { select { axis: 1 index: -1 } })"),
                              v1::KERAS);
  ASSERT_TRUE(c.ok()) << c.status();
  for (const v1::Layer& layer : c->model.layers()) EXPECT_FALSE(layer.has_select() || layer.has_mean()) << layer.name();
  const struct {
    const char* text;
    const char* words;
  } kCases[] = {
      {R"(dialect: PYTORCH inputs { shape: [4, 3] } layers { mean { axis: [0, 1] } })", "layers[0].mean.axis"},
      {R"(dialect: PYTORCH inputs { shape: [4, 3, 2] } layers { mean { axis: [1, 2] } })", "neighbouring axes"},
      {R"(dialect: PYTORCH inputs { shape: 3 } layers { select { axis: 1 index: 0 } })", "layers[0].select.axis"},
  };
  for (const auto& [text, words] : kCases) {
    const auto refused = ConvertModel(ModelOf(text), v1::KERAS);
    EXPECT_EQ(refused.status().code(), absl::StatusCode::kInvalidArgument) << text;
    EXPECT_TRUE(absl::StrContains(refused.status().message(), words)) << refused.status();
  }
}

TEST(ConvertWeights, MissingOnesAreNamed) {
  const auto c = ConvertModel(ModelOf(R"(dialect: KERAS inputs { shape: 3 } layers { name: "d" linear { units: 2 } })"),
                              v1::PYTORCH);
  ASSERT_TRUE(c.ok());
  const auto weights = c->Weights({});
  EXPECT_EQ(weights.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(absl::StrContains(weights.status().message(), "d/")) << weights.status();
}

}  // namespace
}  // namespace strata
