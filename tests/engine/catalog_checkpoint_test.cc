// Every layer of the catalog, every sample: property 7 for what training makes of it. Weights, buffers, states and
// optimizer slots go into a checkpoint and come back bit for bit, and training goes on as if nothing had happened.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "engine/session.h"
#include "tests/engine/catalog_layers_support.h"
#include "tests/messages.h"

namespace strata {
namespace {

const char kConfig[] = R"(
  objectives { loss { mean_squared_error {} } }
  optimizer { adam { learning_rate: 0.01 } }
  seed: 3)";

// Categorical columns find their input by the key.
std::string InputName(const nn::LayerCase& c, size_t i) {
  return c.component->name() == "dense_features" && c.sample->ids_below > 0 ? "k" : absl::StrCat("x", i);
}

// A model of one layer. Sequences whose batch is not on axis 0 have no axis of the batch.
v1::Model ModelOf(const nn::LayerCase& c) {
  v1::Model model;
  model.set_name("one");
  model.set_dialect(c.dialect);
  *model.add_layers() = nn::ParseLayer(c.component->name(), c.sample->attrs);
  v1::Call* call = model.add_calls();
  call->set_layer("layer");
  for (size_t i = 0; i < c.sample->inputs.size(); ++i) {
    const Shape& shape = c.sample->inputs[i];
    v1::Input* in = model.add_inputs();
    in->set_name(InputName(c, i));
    in->set_dtype(c.input_type() == DType::kI64 ? v1::INT64 : v1::FLOAT32);
    in->mutable_shape()->Add(shape.begin(), shape.end());
    in->set_batched(false);
    call->add_args()->set_call(in->name());
  }
  return model;
}

Tensor Numbers(DType dtype, const Shape& shape, int64_t below, int seed) {
  Tensor t(dtype, shape);
  for (int64_t i = 0; i < t.num_elements(); ++i) {
    t.Set(i, dtype == DType::kI64 ? static_cast<double>((i + seed) % std::max<int64_t>(below, 1))
                                  : static_cast<double>((i * 37 + seed * 11) % 101) / 50 - 1);
  }
  return t;
}

NamedTensors BatchOf(const nn::LayerCase& c, const PortSpec& output, int seed) {
  NamedTensors batch;
  for (size_t i = 0; i < c.sample->inputs.size(); ++i) {
    batch[InputName(c, i)] = Numbers(c.input_type(), c.sample->inputs[i], c.sample->ids_below, seed);
  }
  Shape target = output.shape;
  for (int64_t& size : target)
    size = size < 0 ? c.sample->inputs[0][0] : size;  // feature columns have a batch of any size
  batch["target"] = Numbers(DType::kF32, target, 0, seed + 5);
  return batch;
}

NamedViews ViewsOf(const NamedTensors& tensors) {
  NamedViews views;
  for (const auto& [name, t] : tensors) views[name] = t.view();
  return views;
}

void ExpectEqualBits(const NamedTensors& a, const NamedTensors& b) {
  ASSERT_EQ(a.size(), b.size());
  for (const auto& [name, t] : a) {
    const auto it = b.find(name);
    ASSERT_NE(it, b.end()) << name;
    ASSERT_EQ(t.dtype(), it->second.dtype()) << name;
    ASSERT_EQ(t.shape(), it->second.shape()) << name;
    EXPECT_EQ(std::memcmp(t.raw(), it->second.raw(), t.num_elements() * SizeOf(t.dtype())), 0) << name;
  }
}

class CheckpointTest : public ::testing::TestWithParam<nn::LayerCase> {};

TEST_P(CheckpointTest, ResumesBitForBit) {
  const nn::LayerCase& c = GetParam();
  const v1::Model model = ModelOf(c);
  const auto facts = Inspect(model, nullptr, 1);
  ASSERT_TRUE(facts.ok()) << facts.status();
  const auto config = Parse<v1::TrainingConfig>(kConfig);
  const auto one = TrainSession::Create(model, config, {}), two = TrainSession::Create(model, config, {});
  ASSERT_TRUE(one.ok() && two.ok()) << one.status();
  for (int step = 0; step < 2; ++step) {
    const auto out = (*one)->Step(ViewsOf(BatchOf(c, facts->outputs[0], step)));
    ASSERT_TRUE(out.ok()) << out.status();
  }
  const NamedTensors saved = (*one)->Save();
  ASSERT_TRUE((*two)->Load(saved).ok());
  ExpectEqualBits(saved, (*two)->Save());
  for (int step = 2; step < 4; ++step) {
    const NamedTensors batch = BatchOf(c, facts->outputs[0], step);
    const auto a = (*one)->Step(ViewsOf(batch)), b = (*two)->Step(ViewsOf(batch));
    ASSERT_TRUE(a.ok() && b.ok()) << a.status() << b.status();
    EXPECT_EQ(a->loss, b->loss);
  }
  ExpectEqualBits((*one)->Save(), (*two)->Save());
}

INSTANTIATE_TEST_SUITE_P(Layers, CheckpointTest, ::testing::ValuesIn(nn::LayerCases()),
                         [](const ::testing::TestParamInfo<nn::LayerCase>& info) { return info.param.name; });

}  // namespace
}  // namespace strata
