// Random definitions: every layer of the catalog with random fields on random inputs. Whatever a client sends is
// refused with words or runs, and what runs does the same by optimised plans, of one thread and of two, as by the
// reference.
#include <gtest/gtest.h>

#include <cmath>
#include <random>

#include "engine/nn/schema.h"
#include "engine/session.h"
#include "google/protobuf/descriptor.h"
#include "tests/engine/kernels_support.h"

namespace strata {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::OneofDescriptor;

constexpr int64_t kMostBytes = 4 << 20;
constexpr int64_t kBatch = 4;
constexpr v1::DataType kTypes[] = {v1::FLOAT32, v1::FLOAT32, v1::FLOAT32, v1::FLOAT32, v1::FLOAT32, v1::FLOAT32,
                                   v1::FLOAT64, v1::FLOAT16, v1::INT64,   v1::INT32,   v1::INT8,    v1::BOOL};

class RandomDefinition {
 public:
  explicit RandomDefinition(uint32_t seed) : rng_(seed) {}

  v1::Model Make() {
    v1::Model m;
    m.set_name("m");
    dialect_ = Draw(2) == 0 ? v1::PYTORCH : v1::KERAS;
    m.set_dialect(dialect_);
    v1::Layer* layer = m.add_layers();
    FillLayer(layer, 0);
    layer->set_name("layer");
    const int64_t inputs = Draw(3) > 0 ? 1 : 1 + Draw(4);
    v1::Call* call = m.add_calls();
    call->set_layer("layer");
    for (int64_t i = 0; i < inputs; ++i) {
      v1::Input* input = m.add_inputs();
      input->set_name(absl::StrCat("x", i));
      if (i > 0 && Draw(3) > 0) {
        *input->mutable_shape() = m.inputs(0).shape();
        input->set_dtype(m.inputs(0).dtype());
      } else {
        for (int64_t d = Draw(5); d > 0; --d) input->add_shape(Pick({1, 2, 3, 4, 5, 6, 8}));
        input->set_dtype(kTypes[Draw(std::size(kTypes))]);
      }
      call->add_args()->set_call(input->name());
    }
    return m;
  }

  // A training of a dense layer: random losses, metrics, optimizer and schedule.
  v1::TrainingConfig MakeConfig() {
    v1::TrainingConfig c;
    c.set_seed(1);
    Fill(c.add_objectives()->mutable_loss(), 1);
    for (int64_t i = Draw(3); i > 0; --i) Fill(c.add_metrics()->mutable_metric(), 1);
    Fill(c.mutable_optimizer(), 1);
    return c;
  }
  v1::Model MakeDense() {
    v1::Model m;
    m.set_name("m");
    dialect_ = Draw(2) == 0 ? v1::PYTORCH : v1::KERAS;
    m.set_dialect(dialect_);
    v1::Input* input = m.add_inputs();
    input->set_name("x0");
    for (int64_t d = 1 + Draw(3); d > 0; --d) input->add_shape(Pick({1, 2, 3, 4, 5}));
    m.add_layers()->mutable_linear()->set_units(static_cast<int32_t>(Pick({1, 1, 2, 3, 5})));
    if (Draw(2) == 0) Fill(m.add_layers()->mutable_activation(), 2);
    return m;
  }

  std::mt19937* rng() { return &rng_; }
  int64_t Draw(int64_t n) { return std::uniform_int_distribution<int64_t>(0, n - 1)(rng_); }

 private:
  int64_t Pick(std::initializer_list<int64_t> values) {
    return values.begin()[Draw(static_cast<int64_t>(values.size()))];
  }
  double Real() {
    constexpr double kValues[] = {0, 0.1, 0.25, 0.5, 1, 2, -0.3, 1e-3, 3};
    return kValues[Draw(std::size(kValues))];
  }

  void FillLayer(v1::Layer* layer, int depth) {
    const OneofDescriptor* kinds = v1::Layer::descriptor()->FindOneofByName("kind");
    for (;;) {
      const FieldDescriptor* kind = kinds->field(static_cast<int>(Draw(kinds->field_count())));
      const v1::Dialect only = kind->options().GetExtension(v1::component).only();
      if (kind->name() == "model" || kind->name() == "custom" || (only != 0 && only != dialect_)) continue;
      Fill(layer->GetReflection()->MutableMessage(layer, kind), depth + 1);
      return;
    }
  }

  void Fill(Message* m, int depth) {
    const Descriptor* d = m->GetDescriptor();
    if (d == v1::Layer::descriptor()) return FillLayer(static_cast<v1::Layer*>(m), depth);
    for (int i = 0; i < d->real_oneof_decl_count(); ++i) {
      const OneofDescriptor* one = d->oneof_decl(i);
      FillField(m, one->field(static_cast<int>(Draw(one->field_count()))), depth);
    }
    for (int i = 0; i < d->field_count(); ++i) {
      const FieldDescriptor* f = d->field(i);
      if (f->real_containing_oneof() != nullptr || f->is_map()) continue;
      const v1::FieldSchema& schema = f->options().GetExtension(v1::field);
      if (schema.only() != 0 && schema.only() != dialect_) continue;
      if (!schema.required() && Draw(10) < (depth > 1 ? 8 : 6)) continue;
      FillField(m, f, depth);
    }
  }

  void FillField(Message* m, const FieldDescriptor* f, int depth) {
    const auto* r = m->GetReflection();
    const v1::FieldSchema& schema = f->options().GetExtension(v1::field);
    const bool list = f->is_repeated();
    for (int64_t count = list ? 1 + Draw(3) : 1; count > 0; --count) {
      switch (f->cpp_type()) {
        case FieldDescriptor::CPPTYPE_INT32: {
          const auto v = static_cast<int32_t>(Pick({1, 2, 3, 4, 1, 2, 0, -1, 6}));
          list ? r->AddInt32(m, f, v) : r->SetInt32(m, f, v);
          break;
        }
        case FieldDescriptor::CPPTYPE_INT64: {
          const int64_t v = Pick({1, 2, 3, 4, 1, 2, 0, -1, 6, -2});
          list ? r->AddInt64(m, f, v) : r->SetInt64(m, f, v);
          break;
        }
        case FieldDescriptor::CPPTYPE_FLOAT:
          list ? r->AddFloat(m, f, static_cast<float>(Real())) : r->SetFloat(m, f, static_cast<float>(Real()));
          break;
        case FieldDescriptor::CPPTYPE_DOUBLE:
          list ? r->AddDouble(m, f, Real()) : r->SetDouble(m, f, Real());
          break;
        case FieldDescriptor::CPPTYPE_BOOL:
          list ? r->AddBool(m, f, Draw(2) == 0) : r->SetBool(m, f, Draw(2) == 0);
          break;
        case FieldDescriptor::CPPTYPE_ENUM: {
          const int v = f->enum_type()->value(static_cast<int>(Draw(f->enum_type()->value_count())))->number();
          list ? r->AddEnumValue(m, f, v) : r->SetEnumValue(m, f, v);
          break;
        }
        case FieldDescriptor::CPPTYPE_STRING: {
          const std::string v =
              schema.one_of().empty() ? "x0" : schema.one_of(static_cast<int>(Draw(schema.one_of_size())));
          list ? r->AddString(m, f, v) : r->SetString(m, f, v);
          break;
        }
        case FieldDescriptor::CPPTYPE_MESSAGE:
          if (depth < 4) Fill(list ? r->AddMessage(m, f) : r->MutableMessage(m, f), depth + 1);
          break;
        default:
          break;
      }
    }
  }

  std::mt19937 rng_;
  v1::Dialect dialect_ = v1::PYTORCH;
};

// The batch for a model's inputs, and a target for its first output.
NamedTensors MakeBatch(const ModelFacts& facts, RandomDefinition* random) {
  NamedTensors batch;
  const auto add = [&](const std::string& name, const PortSpec& port, DType dtype, int64_t limit) {
    Shape shape = port.shape;
    for (int64_t& d : shape) d = d < 0 ? kBatch : d;
    batch[name] = RandomTensor(dtype, shape, random->rng(), {.limit = limit});
  };
  for (const PortSpec& p : facts.inputs) add(p.name, p, p.dtype, 1 + random->Draw(4));
  add("target", facts.outputs[0], DType::kF32, 2);
  return batch;
}

// A target that may fit: numbers like the output, classes of its rows, or of all but one of its axes.
Tensor MakeTarget(const PortSpec& output, RandomDefinition* random) {
  Shape shape = output.shape;
  shape[0] = kBatch;
  const int64_t form = random->Draw(4);
  const int64_t classes = std::max<int64_t>(shape.back(), 1);
  if (form == 1) shape.pop_back();
  if (form == 2) shape = {kBatch};
  if (form == 3 && shape.size() > 2) shape.erase(shape.begin() + 1);
  return RandomTensor(random->Draw(2) == 0 ? DType::kF32 : DType::kI64, shape, random->rng(),
                      {.limit = classes, .low = 0, .high = 1});
}

NamedViews ViewsOf(const NamedTensors& tensors) {
  NamedViews views;
  for (const auto& [name, t] : tensors) views[name] = t.view();
  return views;
}

// Rounding of float32, and of float16 where that is the type.
constexpr double kTolerance = 2e-3;

bool Differ(double a, double b, double tolerance = kTolerance) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) != std::isnan(b);
  if (std::isinf(a) || std::isinf(b) || std::fabs(a) > 1e30) return false;
  return std::fabs(a - b) > tolerance * (1 + std::fabs(b));
}

struct Counts {
  int valid = 0, trained = 0;
};

void Try(uint32_t seed, Counts* counts) {
  RandomDefinition random(seed);
  const v1::Model model = random.Make();
  const auto facts = Inspect(model, nullptr, kBatch);
  if (!facts.ok()) {
    EXPECT_FALSE(facts.status().message().empty()) << model.DebugString();
    EXPECT_NE(facts.status().code(), absl::StatusCode::kInternal) << facts.status() << model.DebugString();
    return;
  }
  if (facts->activation_bytes > kMostBytes || facts->weight_bytes > kMostBytes) return;
  ++counts->valid;
  const std::string where = absl::StrCat("seed ", seed, "\n", model.DebugString());
  NamedTensors batch = MakeBatch(*facts, &random);
  v1::TrainingConfig config;
  config.set_seed(seed + 1);
  config.add_objectives()->mutable_loss()->mutable_mean_squared_error();
  config.mutable_optimizer()->mutable_sgd()->set_learning_rate(0.01);
  NamedTensors weights;
  auto reference = TrainSession::Create(model, config, {.reference = true});
  if (reference.ok()) {
    weights = (*reference)->Weights();
    const auto want = (*reference)->Step(ViewsOf(batch));
    for (const int threads : {1, 2}) {
      auto session = TrainSession::Create(model, config, {.threads = threads});
      ASSERT_TRUE(session.ok()) << session.status() << where;
      const auto got = (*session)->Step(ViewsOf(batch));
      ASSERT_EQ(got.status().code(), want.status().code()) << got.status() << want.status() << where;
      EXPECT_NE(got.status().code(), absl::StatusCode::kInternal) << got.status() << where;
      if (!got.ok()) continue;
      EXPECT_FALSE(Differ(got->loss, want->loss)) << got->loss << " for " << want->loss << " " << where;
      EXPECT_FALSE(Differ(got->gradient_norm, want->gradient_norm))
          << "gradient norm " << got->gradient_norm << " for " << want->gradient_norm << " " << where;
      ++counts->trained;
    }
  } else {
    EXPECT_NE(reference.status().code(), absl::StatusCode::kInternal) << reference.status() << where;
  }
  batch.erase("target");
  if (!reference.ok()) return;
  const auto exact = Version::Create(model, weights, {.reference = true});
  ASSERT_TRUE(exact.ok()) << exact.status() << where;
  const auto want = (*exact)->Predict(ViewsOf(batch));
  for (const int threads : {1, 2}) {
    const auto version = Version::Create(model, weights, {.threads = threads});
    ASSERT_TRUE(version.ok()) << version.status() << where;
    const auto got = (*version)->Predict(ViewsOf(batch));
    ASSERT_EQ(got.status().code(), want.status().code()) << got.status() << want.status() << where;
    if (!got.ok()) continue;
    for (const auto& [name, t] : *got) {
      ASSERT_EQ(t.shape(), want->at(name).shape()) << where;
      for (int64_t i = 0; i < t.num_elements(); ++i) {
        ASSERT_FALSE(Differ(t.At(i), want->at(name).At(i), SizeOf(t.dtype()) == 2 ? 0.05 : kTolerance))
            << name << " at " << i << ": " << t.At(i) << " for " << want->at(name).At(i) << " " << where;
      }
    }
  }
}

void TryConfig(uint32_t seed, Counts* counts) {
  RandomDefinition random(seed);
  const v1::Model model = random.MakeDense();
  const v1::TrainingConfig config = random.MakeConfig();
  const auto facts = Inspect(model, nullptr, kBatch);
  if (!facts.ok()) return;
  const auto session = TrainSession::Create(model, config, {.threads = 2});
  const std::string where = absl::StrCat("seed ", seed, "\n", model.DebugString(), config.DebugString());
  if (!session.ok()) {
    EXPECT_FALSE(session.status().message().empty()) << where;
    EXPECT_NE(session.status().code(), absl::StatusCode::kInternal) << session.status() << where;
    return;
  }
  ++counts->valid;
  const auto exact = TrainSession::Create(model, config, {.reference = true});
  ASSERT_TRUE(exact.ok()) << exact.status() << where;
  NamedTensors batch = MakeBatch(*facts, &random);
  batch["target"] = MakeTarget(facts->outputs[0], &random);
  for (int step = 0; step < 3; ++step) {
    const auto got = (*session)->Step(ViewsOf(batch)), want = (*exact)->Step(ViewsOf(batch));
    ASSERT_EQ(got.status().code(), want.status().code()) << got.status() << want.status() << where;
    EXPECT_NE(got.status().code(), absl::StatusCode::kInternal) << got.status() << where;
    if (!got.ok() || !std::isfinite(want->loss)) return;
    ASSERT_FALSE(Differ(got->loss, want->loss)) << step << ": " << got->loss << " for " << want->loss << " " << where;
    for (const auto& [name, value] : want->metrics) {
      ASSERT_FALSE(Differ(got->metrics.at(name), value))
          << step << ": " << name << " " << got->metrics.at(name) << " for " << value << " " << where;
    }
    ++counts->trained;
  }
}

Counts TryAll(void (*attempt)(uint32_t seed, Counts* counts)) {
  Counts counts;
  for (uint32_t seed = 1; seed <= 1500; ++seed) {
    try {
      attempt(seed, &counts);
    } catch (const std::exception& e) {
      ADD_FAILURE() << "seed " << seed << " throws " << e.what();
    }
  }
  return counts;
}

TEST(RandomDefinitions, ConfigurationsAreRefusedOrTrainAlike) {
  const Counts counts = TryAll(&TryConfig);
  EXPECT_GT(counts.valid, 100);
  EXPECT_GT(counts.trained, 100);
}

TEST(RandomDefinitions, AreRefusedOrRunAlike) {
  const Counts counts = TryAll(&Try);
  EXPECT_GT(counts.valid, 300);
  EXPECT_GT(counts.trained, 300);
}

}  // namespace
}  // namespace strata
