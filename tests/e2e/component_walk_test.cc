// Every component that is no layer (those are catalog_test.cc's), in each dialect that has it, through the real server:
// a model that uses it is created, trained, published and asked for a prediction. The server's own catalog says what
// there is, so that a new component cannot be forgotten: one without a sample fails.
#include <cmath>
#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/substitute.h"
#include "tests/e2e/client_fixture.h"
#include "tests/e2e/component_samples.h"

namespace strata::e2e {
namespace {

constexpr char kInput[] = "inputs { name: 'x' shape: 2 } ";
constexpr char kNet[] = "inputs { name: 'x' shape: 2 } layers { name: 'a' linear { units: 3 } } ";
constexpr char kSquares[] = "objectives { loss { mean_squared_error {} } } ";
constexpr char kSgd[] = "optimizer { sgd { learning_rate: 0.05 } } ";

v1::Tensor Int64s(const std::vector<int64_t>& shape, const std::vector<int64_t>& values) {
  v1::Tensor t;
  t.set_dtype(v1::INT64);
  t.mutable_shape()->Add(shape.begin(), shape.end());
  t.set_data(values.data(), values.size() * sizeof(int64_t));
  return t;
}

v1::Tensor MakeTarget(Target target) {
  switch (target) {
    case Target::kPositive:
      return Floats({4, 3}, {0.5f, 1, 2, 1, 3, 0.2f, 0.7f, 1, 1, 2, 0.1f, 1});
    case Target::kProbabilities:
      return Floats({4, 3}, {0.5f, 0.25f, 0.25f, 0.1f, 0.1f, 0.8f, 0.3f, 0.3f, 0.4f, 0.2f, 0.6f, 0.2f});
    case Target::kBinary:
      return Floats({4, 3}, {1, 0, 1, 0, 0, 1, 1, 1, 0, 0, 1, 0});
    case Target::kOneHot:
      return Floats({4, 3}, {1, 0, 0, 0, 1, 0, 0, 0, 1, 0, 1, 0});
    case Target::kSigns:
      return Floats({4, 3}, {1, -1, 1, -1, -1, 1, 1, 1, -1, -1, 1, -1});
    case Target::kRowSigns:
      return Floats({4}, {1, -1, 1, -1});
    case Target::kClasses:
      return Int64s({4}, {0, 1, 2, 1});
    case Target::kLabels:
      return Int64s({4, 3}, {0, -1, -1, 1, 2, -1, 2, -1, -1, 0, 1, -1});
    case Target::kAlignment:
      return Int64s({2}, {1, 2});
    default:
      return Floats({4, 3}, {0.5f, -1, 2, 1, -3, 0.2f, 0.7f, 1, -1, 2, -0.1f, 1});
  }
}

const v1::Tensor& Input() {
  static const v1::Tensor kX = Floats({4, 2}, {0.3f, -1, 1, 0.5f, -0.7f, 0.2f, 0.9f, -0.4f});
  return kX;
}

// A weight of its own, so that PyTorch's layers, which take none, can have an initializer, penalty or constraint.
std::string CustomWeight(const std::string& shape, const std::string& what, const std::string& body) {
  return absl::StrCat("layers { name: 'w' custom { definition { name: 'Own' kind: LAYER weights { name: 'w' shape: '",
                      shape, "' ", what, " } body: '", body, "' } } } ");
}

class ComponentWalk : public Client {
 protected:
  // Calls f(info, dialect) for every component of a family in every dialect that has it; how often.
  template <typename F>
  int ForEach(const std::string& family, F f) {
    v1::ListComponentsRequest request;
    request.set_family(family);
    v1::ListComponentsResponse response;
    const grpc::Status status = Call(*catalog_, &v1::Catalog::Stub::ListComponents, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    int count = 0;
    for (const v1::ComponentInfo& info : response.components()) {
      for (const v1::Dialect dialect : {v1::PYTORCH, v1::KERAS}) {
        if (info.schema().only() != v1::DIALECT_UNSPECIFIED && info.schema().only() != dialect) continue;
        SCOPED_TRACE(absl::StrCat(family, " ", info.name(), " in ", v1::Dialect_Name(dialect)));
        f(info.name(), dialect);
        ++count;
      }
    }
    EXPECT_GT(count, 0) << family;
    return count;
  }

  // Creates, trains, publishes and infers; the answers of the steps.
  std::vector<v1::StepResult> Walk(v1::Dialect dialect, const std::string& definition, const std::string& config,
                                   const std::map<std::string, v1::Tensor>& batch, int steps = 2) {
    v1::Model model = Parse<v1::Model>(definition);
    model.set_dialect(dialect);
    model.set_name(absl::StrCat("m", ++models_made_));
    const grpc::Status created = Create(model);
    EXPECT_TRUE(created.ok()) << created.error_message() << "\n" << definition;
    if (!created.ok()) return {};
    std::vector<v1::TrainRequest> requests(1);
    requests[0].mutable_start()->set_model(model.name());
    *requests[0].mutable_start()->mutable_config() = Parse<v1::TrainingConfig>(config);
    for (int i = 1; i <= steps; ++i) {
      v1::Batch* b = requests.emplace_back().mutable_batch();
      b->set_sequence(static_cast<uint64_t>(i));
      b->set_end_of_epoch(true);
      v1::Evaluate* e = requests.emplace_back().mutable_evaluate();
      e->set_last(true);
      for (const auto& [name, tensor] : batch) (*b->mutable_tensors())[name] = (*e->mutable_tensors())[name] = tensor;
    }
    requests.emplace_back().mutable_publish();
    requests.emplace_back().mutable_finish();
    std::vector<v1::TrainResponse> responses;
    const grpc::Status trained = Train(requests, &responses);
    EXPECT_TRUE(trained.ok()) << trained.error_message() << "\n" << config;
    std::vector<v1::StepResult> results;
    for (const v1::TrainResponse& r : responses) {
      if (!r.has_step()) continue;
      results.push_back(r.step());
      EXPECT_TRUE(std::isfinite(r.step().loss())) << r.step().ShortDebugString();
      EXPECT_FALSE(r.step().skipped());
    }
    EXPECT_EQ(static_cast<int>(results.size()), steps);
    Infer(model, batch);
    return results;
  }

  void Infer(const v1::Model& model, const std::map<std::string, v1::Tensor>& batch) {
    inference::ModelInferRequest request;
    request.set_model_name(model.name());
    for (const v1::Input& in : model.inputs()) {
      auto* input = request.add_inputs();
      input->set_name(in.name());
      input->set_datatype("FP32");
      *input->mutable_shape() = batch.at(in.name()).shape();
      request.add_raw_input_contents(batch.at(in.name()).data());
    }
    inference::ModelInferResponse response;
    const grpc::Status status =
        Call(*inference_, &inference::GRPCInferenceService::Stub::ModelInfer, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    EXPECT_GT(response.outputs_size(), 0);
  }

  int models_made_ = 0;
};

TEST_F(ComponentWalk, EveryLoss) {
  ForEach("loss", [&](const std::string& name, v1::Dialect dialect) {
    const LossSample* s = FindLoss(name);
    ASSERT_NE(s, nullptr) << "has no sample in component_samples.cc";
    std::string model = absl::StrCat(kNet, dialect == v1::KERAS ? s->keras_head : s->pytorch_head);
    std::map<std::string, v1::Tensor> batch = {{"x", Input()}};
    if (s->target != Target::kNone) batch["target"] = MakeTarget(s->target);
    std::string objective = absl::Substitute("objectives { loss { $0 { $1 } } ", name, s->attributes);
    if (s->further_outputs > 0) {
      absl::StrAppend(&model, "calls { layer: 'a' args { call: 'x' } } outputs { edge { call: 'a' } } ");
      absl::StrAppend(&objective, "output: 'a' ");
    }
    for (int i = 0; i < s->further_outputs; ++i) {
      absl::StrAppend(&model, absl::Substitute("layers { name: 'b$0' linear { units: 3 } } calls { layer: 'b$0' args { "
                                               "call: 'x' } } outputs { edge { call: 'b$0' } } ",
                                               i));
      absl::StrAppend(&objective, "more_outputs: 'b", i, "' ");
    }
    if (s->target == Target::kAlignment) {
      // One sequence of four steps, without a batch.
      model = absl::StrCat("inputs { name: 'x' batched: false shape: 4 shape: 2 } layers { linear { units: 5 } } ",
                           s->pytorch_head);
      batch["input_lengths"] = Int64s({}, {4});
      batch["target_lengths"] = Int64s({}, {2});
    }
    const std::string config = absl::StrCat(objective, "} ", kSgd);
    const auto steps = Walk(dialect, model, config, batch);
    ASSERT_EQ(steps.size(), 2u);
    EXPECT_NE(steps[0].loss(), steps[1].loss()) << "nothing was learned";
  });
}

TEST_F(ComponentWalk, EveryMetric) {
  ForEach("metric", [&](const std::string& name, v1::Dialect dialect) {
    const MetricSample* s = FindMetric(name);
    ASSERT_NE(s, nullptr) << "has no sample in component_samples.cc";
    const std::string config = absl::StrCat(
        kSquares, kSgd,
        absl::Substitute("metrics { metric { name: 'm' $0 { $1 } } target: 'truth' }", name, s->attributes));
    const auto steps = Walk(dialect, absl::StrCat(kNet, "layers { softmax { axis: -1 } }"), config,
                            {{"x", Input()}, {"target", MakeTarget(Target::kReals)}, {"truth", MakeTarget(s->target)}});
    for (const v1::StepResult& step : steps) {
      ASSERT_EQ(step.metrics().count("m"), 1u);
      EXPECT_TRUE(std::isfinite(step.metrics().at("m")));
    }
  });
}

TEST_F(ComponentWalk, EveryOptimizer) {
  ForEach("optimizer", [&](const std::string& name, v1::Dialect dialect) {
    const PlainSample* s = FindPlain("optimizer", name);
    ASSERT_NE(s, nullptr) << "has no sample in component_samples.cc";
    const auto steps = Walk(dialect, kNet,
                            absl::StrCat(kSquares, "optimizer { ", name, " { ",
                                         dialect == v1::KERAS ? s->keras : s->pytorch, " } } seed: 1"),
                            {{"x", Input()}, {"target", MakeTarget(Target::kReals)}}, 6);
    ASSERT_EQ(steps.size(), 6u);
    EXPECT_LT(steps[5].loss(), steps[0].loss());
  });
}

TEST_F(ComponentWalk, EverySchedule) {
  ForEach("schedule", [&](const std::string& name, v1::Dialect dialect) {
    const PlainSample* s = FindPlain("schedule", name);
    ASSERT_NE(s, nullptr) << "has no sample in component_samples.cc";
    const std::string config = absl::Substitute("$0 optimizer { sgd { learning_rate: 0.1 } schedule { $1 { $2 } } }",
                                                kSquares, name, dialect == v1::KERAS ? s->keras : s->pytorch);
    std::set<double> rates;
    for (const v1::StepResult& step :
         Walk(dialect, kNet, config, {{"x", Input()}, {"target", MakeTarget(Target::kReals)}}, 5)) {
      rates.insert(step.learning_rate());
    }
    EXPECT_GT(rates.size(), 1u) << "the rate stood still";
  });
}

TEST_F(ComponentWalk, EveryInitializer) {
  ForEach("initializer", [&](const std::string& name, v1::Dialect dialect) {
    const PlainSample* s = FindPlain("initializer", name);
    ASSERT_NE(s, nullptr) << "has no sample in component_samples.cc";
    const std::string initializer =
        absl::Substitute("initializer { $0 { $1 } }", name, dialect == v1::KERAS ? s->keras : s->pytorch);
    const std::string model = dialect == v1::KERAS
                                  ? absl::Substitute("$0 layers { linear { units: 3 kernel_$1 } }", kInput, initializer)
                                  : absl::StrCat(kInput, CustomWeight("[2, 3]", initializer, "x @ w"));
    Walk(dialect, model, absl::StrCat(kSquares, kSgd), {{"x", Input()}, {"target", MakeTarget(Target::kReals)}});
  });
}

TEST_F(ComponentWalk, EveryConstraint) {
  ForEach("constraint", [&](const std::string& name, v1::Dialect dialect) {
    const PlainSample* s = FindPlain("constraint", name);
    ASSERT_NE(s, nullptr) << "has no sample in component_samples.cc";
    const std::string constraint =
        absl::Substitute("constraint { $0 { $1 } }", name, dialect == v1::KERAS ? s->keras : s->pytorch);
    const bool kernel = name == "radial";  // of convolutions
    std::string model;
    if (dialect == v1::KERAS) {
      model = kernel ? absl::StrCat(
                           "inputs { name: 'x' shape: [3, 3, 2] } layers { conv2d { filters: 3 kernel_size: 3 kernel_",
                           constraint, " } } layers { flatten {} }")
                     : absl::Substitute("$0 layers { linear { units: 3 kernel_$1 } }", kInput, constraint);
    } else {
      model = kernel ? absl::StrCat("inputs { name: 'x' shape: [3, 3, 2] } ",
                                    CustomWeight("[3, 3, 2, 3]", constraint,
                                                 "reshape(x, [x.shape[0], 18]) @ reshape(w, [18, 3])"))
                     : absl::StrCat(kInput, CustomWeight("[2, 3]", constraint, "x @ w"));
    }
    const v1::Tensor image = Floats({4, 3, 3, 2}, std::vector<float>(72, 0.25f));
    Walk(dialect, model, absl::StrCat(kSquares, kSgd),
         {{"x", kernel ? image : Input()}, {"target", MakeTarget(Target::kReals)}});
  });
}

// Regularizers are one message with three members; each must cost something.
TEST_F(ComponentWalk, EveryRegularizer) {
  const std::map<std::string, std::string> samples = {
      {"l1", "l1: 0.1"}, {"l2", "l2: 0.1"}, {"orthogonal", "orthogonal { factor: 1 }"}};
  const auto* message = v1::Regularizer::descriptor();
  for (int i = 0; i < message->field_count(); ++i) {
    const std::string& name = message->field(i)->name();
    const auto sample = samples.find(name);
    ASSERT_NE(sample, samples.end()) << name << " has no sample";
    const v1::Dialect only = message->field(i)->options().GetExtension(v1::field).only();
    for (const v1::Dialect dialect : {v1::PYTORCH, v1::KERAS}) {
      if (only != v1::DIALECT_UNSPECIFIED && only != dialect) continue;
      SCOPED_TRACE(absl::StrCat(name, " in ", v1::Dialect_Name(dialect)));
      const std::string model =
          dialect == v1::KERAS
              ? absl::Substitute("$0 layers { linear { units: 3 kernel_regularizer { $1 } } }", kInput, sample->second)
              : absl::StrCat(
                    kInput, CustomWeight("[2, 3]",
                                         absl::Substitute("initializer { ones {} } regularizer { $0 }", sample->second),
                                         "x @ w"));
      const auto steps =
          Walk(dialect, model, absl::StrCat(kSquares, kSgd), {{"x", Input()}, {"target", MakeTarget(Target::kReals)}});
      for (const v1::StepResult& step : steps) EXPECT_GT(step.penalty(), 0);
    }
  }
}

TEST_F(ComponentWalk, EveryActivation) {
  ForEach("activation", [&](const std::string& name, v1::Dialect dialect) {
    const PlainSample* s = FindPlain("activation", name);
    ASSERT_NE(s, nullptr) << "has no sample in component_samples.cc";
    // PyTorch's are layers: catalog_test.cc walks them.
    if (dialect == v1::PYTORCH) return;
    const std::string activation = absl::Substitute("activation { $0 { $1 } }", name, s->keras);
    Walk(dialect, absl::StrCat(kNet, "layers { activation { ", activation, " } }"), absl::StrCat(kSquares, kSgd),
         {{"x", Input()}, {"target", MakeTarget(Target::kReals)}});
  });
}

// Whoever adds a family of components adds its walk.
TEST_F(ComponentWalk, KnowsEveryFamily) {
  v1::ListComponentsResponse response;
  ASSERT_TRUE(Call(*catalog_, &v1::Catalog::Stub::ListComponents, v1::ListComponentsRequest(), &response).ok());
  std::set<std::string> families;
  for (const v1::ComponentInfo& info : response.components()) families.insert(info.family());
  EXPECT_EQ(families, (std::set<std::string>{"activation", "constraint", "initializer", "layer", "loss", "metric",
                                             "optimizer", "schedule"}));
}

}  // namespace
}  // namespace strata::e2e
