// Every layer of the catalog, every sample, every dialect, training and evaluation: what must hold for any component.
//  1 the graph verifies after every pass (Optimize does)      6 planned memory = memory without reuse
//  2 outputs have the inferred and the documented shapes      7 definitions survive JSON, and state a checkpoint
//  3 the optimised plan = the double-precision reference      8 every out-of-range field is refused by name
//  4 gradients = central differences, and are not all zero    9 the same seed gives the same bits
//  5 a batch of N = N batches of 1 where rows are independent 10 one thread = two threads
// The documented shapes are catalog_shapes_test.cc's, the checkpoints catalog_checkpoint_test.cc's.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "absl/strings/str_cat.h"
#include "engine/autodiff/gradients.h"
#include "engine/exec/context.h"
#include "engine/nn/build.h"
#include "engine/nn/component.h"
#include "engine/nn/initializers/initializers.h"
#include "engine/nn/schema.h"
#include "engine/ops/ops.h"
#include "engine/ops/reference.h"
#include "engine/passes/passes.h"
#include "google/protobuf/util/json_util.h"
#include "tests/engine/catalog_layers_support.h"
#include "tests/engine/catalog_support.h"

namespace strata::nn {
namespace {

constexpr int kSeed = 20;

struct Case {
  std::string name;
  const Component* component;
  const Sample* sample;
  v1::Dialect dialect;
  bool training;
  v1::Layer layer;  // complete
};

std::vector<Case> AllCases() {
  std::vector<Case> cases;
  for (const LayerCase& c : LayerCases()) {
    for (const bool training : {false, true}) {
      cases.push_back(
          {absl::StrCat(c.name, training ? "_train" : "_eval"), c.component, c.sample, c.dialect, training, c.layer});
    }
  }
  return cases;
}

// One case as a graph: float inputs and parameters, outputs, and gradients of sum(output * cotangent).
struct Built {
  Graph graph;
  Collected collected;
  std::vector<Value> inputs, outputs, gradients;
  std::vector<std::string> gradient_names;
  Value random;
};

std::vector<Shape> InputShapes(const Case& c, int64_t batch) {
  std::vector<Shape> shapes = c.sample->inputs;
  if (batch > 0) {
    for (Shape& s : shapes) s[0] = batch;
  }
  return shapes;
}

void Build(const Case& c, int64_t batch, bool gradients, Built* b) {
  Args args;
  int i = 0;
  for (const Shape& shape : InputShapes(c, batch)) {
    const DType dtype = c.sample->ids_below > 0 ? DType::kI64 : DType::kF32;
    b->inputs.push_back(b->graph.AddInput(absl::StrCat("x", i++), dtype, shape));
    args.positional.push_back(b->inputs.back());
  }
  b->random = b->graph.AddInput("random", DType::kI64, {2});
  Scope root(&b->graph, c.dialect, c.training, b->random, &b->collected);
  Scope scope = root.Enter("layer", "layer", true, std::nullopt);
  const Outputs out = BuildLayer(scope, c.layer, args);
  ASSERT_TRUE(b->graph.ok()) << b->graph.status();
  std::vector<Value> cotangents;
  std::mt19937 random(kSeed);
  std::uniform_real_distribution<double> uniform(-1, 1);
  for (const Annotated& o : out) {
    b->graph.MarkOutput(absl::StrCat("y", b->outputs.size()), o.value);
    b->outputs.push_back(o.value);
    Value cotangent;
    if (IsFloat(o.value.dtype())) {
      std::vector<double> values(o.value.num_elements());
      for (double& v : values) v = static_cast<float>(uniform(random));
      cotangent = Constant(&b->graph, Tensor::Of(DType::kF32, o.value.shape(), values));
    }
    cotangents.push_back(cotangent);
  }
  if (!gradients) return;
  std::vector<Value> wrt;
  for (size_t k = 0; k < b->inputs.size(); ++k) {
    if (!IsFloat(b->inputs[k].dtype())) continue;
    wrt.push_back(b->inputs[k]);
    b->gradient_names.push_back(absl::StrCat("x", k));
  }
  for (const ParamSpec& p : b->collected.params) {
    if (!p.trainable) continue;
    wrt.push_back(p.value);
    b->gradient_names.push_back(p.name);
  }
  b->gradients = Gradients(b->outputs, cotangents, wrt);
  for (size_t k = 0; k < wrt.size(); ++k) {
    if (!b->gradients[k]) b->gradients[k] = Full(&b->graph, 0, wrt[k].shape());
    b->graph.MarkOutput(absl::StrCat("d", b->gradient_names[k]), b->gradients[k]);
  }
  ASSERT_TRUE(b->graph.ok()) << b->graph.status();
}

// Numbers for every input and variable, equal for equal names and shapes.
Tensor NumbersFor(const Case& c, const std::string& name, DType dtype, const Shape& shape) {
  if (name == "random") return Tensor::Of(DType::kI64, {2}, std::vector<int64_t>{kSeed, 3});
  std::seed_seq seed{kSeed, static_cast<int>(std::hash<std::string>()(name) & 0xffff)};
  std::mt19937 random(seed);
  Tensor t(dtype, shape);
  for (int64_t i = 0; i < t.num_elements(); ++i) {
    const double u = static_cast<double>(random() % 20001) / 10000 - 1;  // -1 to 1
    if (dtype == DType::kI64) {
      t.Set(i, static_cast<double>(random() % std::max<int64_t>(c.sample->ids_below, 1)));
    } else {
      t.Set(i, name.find("var") != std::string::npos ? 1 + u / 2 : u + 0.01);
    }
  }
  return t;
}

Numbers NumbersOf(const Case& c, const Graph& g) {
  Numbers n;
  for (const NamedValue& in : g.inputs())
    n.inputs.push_back(NumbersFor(c, in.name, g.info(in.value).dtype, g.info(in.value).shape));
  for (const VariableInfo& v : g.variables()) {
    n.variables.push_back(v.dtype == DType::kI64 ? Tensor(v.dtype, v.shape) : NumbersFor(c, v.name, v.dtype, v.shape));
  }
  return n;
}

void PrintTo(const Case& c, std::ostream* out) { *out << c.name << ": " << c.sample->attrs; }

class CatalogTest : public ::testing::TestWithParam<Case> {};

TEST_P(CatalogTest, OptimisedPlanEqualsReference) {
  const Case& c = GetParam();
  Built b;
  ASSERT_NO_FATAL_FAILURE(Build(c, 0, true, &b));
  const Numbers n = NumbersOf(c, b.graph);
  ExpectPlanEqualsReference(b.graph, n);
}

TEST_P(CatalogTest, GradientsEqualCentralDifferences) {
  const Case& c = GetParam();
  if (!c.sample->no_gradient.empty()) return;
  Built b;
  ASSERT_NO_FATAL_FAILURE(Build(c, 0, true, &b));
  const Numbers n = NumbersOf(c, b.graph);
  std::vector<RefTensor> inputs = ToRefs(n.inputs), variables = ToRefs(n.variables);
  const std::vector<RefTensor> exact = RunExact(b.graph, inputs, variables);
  Built forward;
  ASSERT_NO_FATAL_FAILURE(Build(c, 0, false, &forward));
  std::mt19937 random(kSeed);
  std::uniform_real_distribution<double> uniform(-1, 1);
  std::vector<std::vector<double>> cotangents;
  for (const Value& o : b.outputs) {
    cotangents.emplace_back();
    if (!IsFloat(o.dtype())) continue;
    for (int64_t i = 0; i < o.num_elements(); ++i) cotangents.back().push_back(static_cast<float>(uniform(random)));
  }
  const auto loss = [&] {
    const std::vector<RefTensor> y = RunExact(forward.graph, inputs, variables);
    double sum = 0;
    for (size_t o = 0; o < cotangents.size(); ++o) {
      for (size_t i = 0; i < cotangents[o].size(); ++i) sum += cotangents[o][i] * y[o].data[i];
    }
    return sum;
  };
  bool any = b.gradients.empty();
  for (size_t g = 0; g < b.gradients.size(); ++g) {
    const std::string& name = b.gradient_names[g];
    RefTensor* tensor = nullptr;
    for (size_t i = 0; i < b.graph.inputs().size(); ++i) {
      if (b.graph.inputs()[i].name == name) tensor = &inputs[i];
    }
    if (tensor == nullptr) tensor = &variables[b.graph.FindVariable(name)];
    const std::vector<double>& gradient = exact[b.outputs.size() + g].data;
    const size_t step = std::max<size_t>(1, tensor->data.size() / 12);
    for (size_t i = 0; i < tensor->data.size(); i += step) {
      constexpr double kEpsilon = 1e-5;
      const double old = tensor->data[i];
      tensor->data[i] = old + kEpsilon;
      const double up = loss();
      tensor->data[i] = old - kEpsilon;
      const double down = loss();
      tensor->data[i] = old;
      const double want = (up - down) / (2 * kEpsilon);
      ASSERT_NEAR(gradient[i], want, 1e-5 * (1 + std::fabs(want))) << "d" << name << "[" << i << "]";
    }
    for (double v : gradient) any |= v != 0;
  }
  EXPECT_TRUE(any) << "all gradients are zero";
}

TEST_P(CatalogTest, RowsAreIndependentWhereTheComponentSaysSo) {
  const Case& c = GetParam();
  if (c.training) return;
  constexpr int64_t kRows = 3;
  for (const Shape& s : c.sample->inputs) {
    if (s.empty()) return;
  }
  Built whole, single;
  ASSERT_NO_FATAL_FAILURE(Build(c, kRows, false, &whole));
  ASSERT_NO_FATAL_FAILURE(Build(c, 1, false, &single));
  if (whole.collected.rows_mixed || !whole.collected.updates.empty()) return;
  for (const Value& o : whole.outputs) {
    if (o.rank() == 0 || o.dim(0) != kRows) return;  // the first axis is no batch
  }
  const Numbers n = NumbersOf(c, whole.graph);
  const std::vector<RefTensor> all = RunExact(whole.graph, ToRefs(n.inputs), ToRefs(n.variables));
  for (int64_t row = 0; row < kRows; ++row) {
    std::vector<RefTensor> inputs = ToRefs(n.inputs);
    for (size_t i = 0; i < whole.inputs.size(); ++i) {
      const int64_t size = NumElements(inputs[i].shape) / kRows;
      inputs[i].shape[0] = 1;
      inputs[i].data =
          std::vector<double>(inputs[i].data.begin() + row * size, inputs[i].data.begin() + (row + 1) * size);
    }
    const std::vector<RefTensor> one = RunExact(single.graph, inputs, ToRefs(n.variables));
    for (size_t o = 0; o < one.size(); ++o) {
      const size_t size = one[o].data.size();
      for (size_t i = 0; i < size; ++i) ASSERT_NEAR(one[o].data[i], all[o].data[row * size + i], 1e-9) << "row " << row;
    }
  }
}

TEST_P(CatalogTest, DefinitionsSurviveJson) {
  const Case& c = GetParam();
  std::string json;
  ASSERT_TRUE(google::protobuf::util::MessageToJsonString(c.layer, &json).ok());
  v1::Layer back;
  ASSERT_TRUE(google::protobuf::util::JsonStringToMessage(json, &back).ok()) << json;
  ASSERT_TRUE(Fill(c.dialect, "layer", &back).ok());
  EXPECT_EQ(back.DebugString(), c.layer.DebugString()) << json;
}

INSTANTIATE_TEST_SUITE_P(Layers, CatalogTest, ::testing::ValuesIn(AllCases()),
                         [](const ::testing::TestParamInfo<Case>& info) { return info.param.name; });

// Each field of each layer, just outside its range, alone.
TEST(Catalog, FieldsOutOfRangeAreRefusedByName) {
  int refused = 0;
  for (const Component& c : Layers()) {
    const auto* kind = v1::Layer::descriptor()->FindFieldByName(c.name());
    ASSERT_NE(kind, nullptr) << c.name();
    const Sample& sample = c.samples()[0];
    refused += ExpectFieldsOutOfRangeRefused(kind, ParseLayer(c.name(), sample.attrs), sample.dialect);
  }
  EXPECT_GT(refused, 50);
}

TEST(Catalog, EveryLayerOfTheProtoIsInTheList) {
  const auto* oneof = v1::Layer::descriptor()->FindOneofByName("kind");
  for (int i = 0; i < oneof->field_count(); ++i) {
    const std::string& name = oneof->field(i)->name();
    if (name == "model") continue;
    const Component* c = FindLayer(name);
    ASSERT_NE(c, nullptr) << name;
    EXPECT_GE(c->samples().size(), 3u) << name << " needs three samples";
    // A sample that no dialect takes would never run.
    for (const Sample& sample : c->samples()) {
      v1::Layer pytorch = ParseLayer(name, sample.attrs), keras = pytorch;
      EXPECT_TRUE(Fill(v1::PYTORCH, "layer", &pytorch).ok() || Fill(v1::KERAS, "layer", &keras).ok())
          << name << ": " << sample.attrs;
    }
    EXPECT_FALSE(c->shapes().empty()) << name;
  }
}

}  // namespace
}  // namespace strata::nn
