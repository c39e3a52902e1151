#include "engine/nn/schema.h"

#include <cmath>
#include <limits>

#include "absl/strings/match.h"
#include "google/protobuf/text_format.h"
#include "gtest/gtest.h"
#include "strata/v1/losses.pb.h"
#include "strata/v1/model.pb.h"
#include "strata/v1/optimizers.pb.h"

namespace strata::nn {
namespace {

using google::protobuf::TextFormat;

template <typename M>
M Parse(const std::string& text) {
  M message;
  EXPECT_TRUE(TextFormat::ParseFromString(text, &message)) << text;
  return message;
}

struct FillCase {
  const char* name;
  v1::Dialect dialect;
  const char* given;
  const char* filled;
};

TEST(Fill, Defaults) {
  const FillCase cases[] = {
      {"number differs by dialect, PyTorch", v1::PYTORCH, "leaky_relu {}", "leaky_relu { negative_slope: 0.01 }"},
      {"number differs by dialect, Keras", v1::KERAS, "leaky_relu {}", "leaky_relu { negative_slope: 0.3 }"},
      {"what is set stays", v1::KERAS, "leaky_relu { negative_slope: 0 }", "leaky_relu { negative_slope: 0 }"},
      {"no default in the other dialect", v1::PYTORCH, "relu {}", "relu {}"},
      {"bool", v1::PYTORCH, "linear { units: 2 }", "linear { units: 2 use_bias: true }"},
      {"enum", v1::KERAS, "flatten {}", "flatten { data_format: CHANNELS_LAST }"},
      {"an unspecified enum counts as absent", v1::KERAS, "flatten { data_format: DATA_FORMAT_UNSPECIFIED }",
       "flatten { data_format: CHANNELS_LAST }"},
      {"list and message", v1::PYTORCH, "conv1d { filters: 2 kernel_size: 3 }",
       "conv1d { filters: 2 kernel_size: 3 stride: 1 padding { size { values: 0 } } dilation: 1 groups: 1 use_bias: "
       "true "
       "padding_mode: ZEROS }"},
      {"messages inside messages", v1::KERAS,
       "linear { units: 2 kernel_initializer { normal {} } activation { elu {} } kernel_regularizer { l2: 1 } "
       "kernel_constraint { max_norm {} } }",
       "linear { units: 2 use_bias: true kernel_initializer { normal { mean: 0 stddev: 0.05 } } bias_initializer { "
       "zeros {} } "
       "activation { elu { alpha: 1 } } kernel_regularizer { l1: 0 l2: 1 } "
       "kernel_constraint { max_norm { max_value: 2 axis: 0 } } }"},
      {"an activation without a kind is linear", v1::KERAS, "activation { activation {} }",
       "activation { activation { linear {} } }"},
  };
  for (const FillCase& c : cases) {
    SCOPED_TRACE(c.name);
    v1::Layer layer = Parse<v1::Layer>(c.given);
    const absl::Status status = Fill(c.dialect, "layer", &layer);
    ASSERT_TRUE(status.ok()) << status;
    EXPECT_EQ(layer.DebugString(), Parse<v1::Layer>(c.filled).DebugString());
    v1::Layer again = layer;
    ASSERT_TRUE(Fill(c.dialect, "layer", &again).ok());
    EXPECT_EQ(again.DebugString(), layer.DebugString());
  }
}

struct RejectCase {
  const char* name;
  v1::Dialect dialect;
  const char* given;
  const char* error;
};

TEST(Fill, Refuses) {
  const RejectCase cases[] = {
      {"at_least of a list", v1::PYTORCH, "conv2d { filters: 1 kernel_size: 3 stride: 0 }",
       "layers[3].conv2d.stride[0]: must be >= 1, got 0"},
      {"at_least", v1::KERAS, "linear { units: 0 }", "layers[3].linear.units: must be >= 1, got 0"},
      {"at_most", v1::KERAS, "dropout { rate: 1.5 }", "layers[3].dropout.rate: must be <= 1, got 1.5"},
      {"above", v1::KERAS, "linear { units: 1 kernel_constraint { max_norm { max_value: 0 } } }",
       "layers[3].linear.kernel_constraint.max_norm.max_value: must be > 0, got 0"},
      {"wrapped list", v1::PYTORCH, "conv1d { filters: 1 kernel_size: 1 padding { size { values: -1 } } }",
       "layers[3].conv1d.padding.size[0]: must be >= 0, got -1"},
      {"required", v1::KERAS, "linear {}", "layers[3].linear.units: must be set, got nothing"},
      {"required list", v1::KERAS, "conv2d { filters: 1 }", "layers[3].conv2d.kernel_size: must be set, got nothing"},
      {"required dropout rate in one dialect", v1::KERAS, "dropout {}",
       "layers[3].dropout.rate: must be set, got nothing"},
      {"field of the other dialect", v1::PYTORCH, "linear { units: 1 activation { relu {} } }",
       "layers[3].linear.activation: exists in KERAS only, got one in PYTORCH"},
      {"component of the other dialect", v1::PYTORCH, "attention {}",
       "layers[3].attention: exists in KERAS only, got one in PYTORCH"},
      {"name from a list", v1::PYTORCH, "simple_rnn { units: 1 nonlinearity: \"gelu\" }",
       "layers[3].simple_rnn.nonlinearity: must be one of tanh, relu, got \"gelu\""},
      {"not a number", v1::PYTORCH, "elu { alpha: nan }", "layers[3].elu.alpha: must be a number, got nan"},
      {"elements per axis", v1::PYTORCH, "conv2d { filters: 1 kernel_size: [1, 2, 3] }",
       "layers[3].conv2d.kernel_size: must have 1 or 2 elements, got 3"},
      {"padding per axis", v1::PYTORCH, "conv3d { filters: 1 kernel_size: 1 padding { size { values: [1, 2] } } }",
       "layers[3].conv3d.padding: must have 1 or 3 elements, got 2"},
      {"groups and filters", v1::KERAS, "conv2d { filters: 3 kernel_size: 2 groups: 2 }",
       "layers[3].conv2d.groups|filters: groups must divide the filters, got 2 and 3"},
      {"stride and dilation", v1::KERAS, "conv1d { filters: 2 kernel_size: 2 stride: 2 dilation: 2 }",
       "layers[3].conv1d.dilation|stride: at most one may be > 1, got both"},
      {"same padding with a stride", v1::PYTORCH,
       "conv1d { filters: 2 kernel_size: 2 stride: 2 padding { mode: SAME } }",
       "layers[3].conv1d.padding|stride: SAME needs a stride of 1, got more"},
      {"causal padding of images", v1::KERAS, "conv2d { filters: 2 kernel_size: 2 padding { mode: CAUSAL } }",
       "layers[3].conv2d.padding: must be VALID or SAME here, got CAUSAL"},
      {"numbers as padding in Keras", v1::KERAS, "max_pool1d { padding { size { values: 1 } } }",
       "layers[3].max_pool1d.padding: must be a rule in KERAS, got numbers"},
      {"padding row of an embedding", v1::PYTORCH, "embedding { input_dim: 7 output_dim: 1 padding_idx: 7 }",
       "layers[3].embedding.padding_idx: must name one of 7 rows, got 7"},
      {"projection of an LSTM", v1::PYTORCH, "lstm { units: 4 proj_size: 4 }",
       "layers[3].lstm.proj_size: must be < units (4), got 4"},
      {"two inferred sizes", v1::KERAS, "reshape { target_shape: [-1, -1] }",
       "layers[3].reshape.target_shape: at most one size may be -1, got 2"},
      {"an order that is none", v1::KERAS, "permute { dims: [1, 1] }",
       "layers[3].permute.dims: must be an order of the axes 1 to 2, got something else"},
      {"no kind", v1::KERAS, "name: 'a'", "layers[3].kind: must be set, got nothing"},
      {"no kind inside", v1::KERAS, "linear { units: 1 kernel_initializer {} }",
       "layers[3].linear.kernel_initializer.kind: must be set, got nothing"},
  };
  for (const RejectCase& c : cases) {
    SCOPED_TRACE(c.name);
    v1::Layer layer = Parse<v1::Layer>(c.given);
    const absl::Status status = Fill(c.dialect, "layers[3]", &layer);
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(status.message(), c.error);
  }
}

TEST(Fill, RefusesUnknownEnumValues) {
  v1::Layer layer;
  layer.mutable_flatten()->set_data_format(static_cast<v1::DataFormat>(9));
  EXPECT_EQ(Fill(v1::KERAS, "l", &layer).message(), "l.flatten.data_format: must be a value of DataFormat, got 9");
}

TEST(Fill, NeedsADialect) {
  v1::Layer layer;
  layer.mutable_tanh();
  EXPECT_EQ(Fill(v1::DIALECT_UNSPECIFIED, "l", &layer).code(), absl::StatusCode::kInvalidArgument);
}

TEST(Fill, RefusesOptimizers) {
  const struct {
    const char* given;
    const char* error;
    v1::Dialect dialect;
  } cases[] = {
      {"sgd { nesterov: true }",
       "o.sgd.nesterov|momentum|dampening: nesterov needs momentum > 0 and dampening 0, got 0 and 0", v1::PYTORCH},
      {"sgd { momentum: 1.5 }", "o.sgd.momentum: must be <= 1, got 1.5", v1::KERAS},
      {"sgd {} clipping { norm: 1 global_norm: 1 }", "o.clipping.norm|global_norm: at most one may be set, got both",
       v1::KERAS},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.given);
    auto optimizer = Parse<v1::Optimizer>(c.given);
    EXPECT_EQ(Fill(c.dialect, "o", &optimizer).message(), c.error);
  }
}

TEST(Fill, LeavesAGroupsAbsentOptionsAbsent) {
  auto optimizer = Parse<v1::Optimizer>("adam {} groups { parameters: 'a' options { adam { beta_1: 0.5 } } }");
  ASSERT_TRUE(Fill(v1::PYTORCH, "optimizer", &optimizer).ok());
  EXPECT_EQ(optimizer.adam().beta_1(), 0.9);
  EXPECT_EQ(optimizer.groups(0).options().adam().beta_1(), 0.5);
  EXPECT_FALSE(optimizer.groups(0).options().adam().has_beta_2());
  optimizer.mutable_groups(0)->mutable_options()->mutable_adam()->set_beta_2(1);
  EXPECT_EQ(Fill(v1::PYTORCH, "optimizer", &optimizer).message(),
            "optimizer.groups[0].options.adam.beta_2: must be < 1, got 1");
}

// Every default of every component parses (a wrong text aborts) and lies in its own range.
TEST(Catalog, EveryDefaultIsValid) {
  int filled = 0;
  for (const std::string& family : Families()) {
    const auto* kind = FamilyDescriptor(family)->FindOneofByName("kind");
    ASSERT_NE(kind, nullptr) << family;
    for (int i = 0; i < kind->field_count(); ++i) {
      for (const v1::Dialect dialect : {v1::PYTORCH, v1::KERAS}) {
        std::unique_ptr<google::protobuf::Message> message(
            google::protobuf::MessageFactory::generated_factory()->GetPrototype(FamilyDescriptor(family))->New());
        message->GetReflection()->MutableMessage(message.get(), kind->field(i));
        const absl::Status status = Fill(dialect, "x", message.get());
        const bool expected = status.ok() || absl::StrContains(status.message(), "must be set") ||
                              absl::StrContains(status.message(), "exists in");
        EXPECT_TRUE(expected) << kind->field(i)->name() << ": " << status;
        filled += status.ok();
      }
    }
  }
  EXPECT_GT(filled, 100);
}

TEST(Catalog, ListsFamilies) {
  const auto losses = ListComponents("loss");
  ASSERT_FALSE(losses.empty());
  EXPECT_EQ(losses[0].name(), "mean_squared_error");
  EXPECT_EQ(losses[0].message(), "strata.v1.MeanSquaredError");
  EXPECT_EQ(losses[0].fields(0).name(), "reduction");
  EXPECT_EQ(losses[0].fields(0).type(), "Reduction");
  EXPECT_GT(ListComponents("").size(), ListComponents("layer").size());
  EXPECT_TRUE(ListComponents("no such family").empty());
  for (const auto& layer : ListComponents("layer")) EXPECT_NE(layer.name(), "model");
}

TEST(Catalog, FindsFrameworkNames) {
  const auto* layers = FamilyDescriptor("layer");
  EXPECT_EQ(FindClass(layers, v1::KERAS, "MaxPool2D")->name(), "max_pool2d");
  EXPECT_EQ(FindClass(layers, v1::PYTORCH, "MaxPool2d")->name(), "max_pool2d");
  EXPECT_EQ(FindClass(layers, v1::KERAS, "MaxPool2d"), nullptr);
  EXPECT_EQ(FindFunction(FamilyDescriptor("loss"), v1::KERAS, "mse")->name(), "mean_squared_error");
  const auto* conv = FindClass(layers, v1::KERAS, "Conv2D")->message_type();
  EXPECT_EQ(FindArgument(conv, v1::KERAS, "strides")->name(), "stride");
  EXPECT_EQ(FindArgument(conv, v1::KERAS, "stride"), nullptr);
  EXPECT_EQ(FindArgument(conv, v1::PYTORCH, "data_format"), nullptr);
  EXPECT_EQ(FindArgument(conv, v1::PYTORCH, "bias")->name(), "use_bias");
  EXPECT_EQ(ArgumentName(conv->FindFieldByName("stride"), v1::KERAS), "strides");
}

}  // namespace
}  // namespace strata::nn
