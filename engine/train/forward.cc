#include "engine/train/forward.h"

#include <set>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/base/status.h"
#include "engine/nn/build.h"
#include "engine/nn/losses/loss.h"
#include "engine/nn/metrics/metric.h"
#include "engine/nn/optimizers/optimizer.h"
#include "engine/nn/schema.h"
#include "engine/ops/ops.h"

namespace strata {

std::string DefaultTarget(size_t index) { return index == 0 ? "target" : absl::StrCat("target_", index); }

std::vector<std::string> MetricNames(const v1::TrainingConfig& config) {
  std::vector<std::string> names;
  for (int i = 0; i < config.metrics_size(); ++i) {
    const std::string name = nn::MetricName(config.metrics(i).metric());
    const bool taken = std::find(names.begin(), names.end(), name) != names.end();
    names.push_back(taken ? absl::StrCat(name, "_", i) : name);
  }
  return names;
}

DType ElementType(v1::DataType type) {
  switch (type) {
    case v1::BOOL:
      return DType::kBool;
    case v1::UINT8:
      return DType::kU8;
    case v1::INT8:
      return DType::kI8;
    case v1::INT16:
      return DType::kI16;
    case v1::UINT16:
      return DType::kU16;
    case v1::INT32:
      return DType::kI32;
    case v1::UINT32:
      return DType::kU32;
    case v1::INT64:
      return DType::kI64;
    case v1::UINT64:
      return DType::kU64;
    case v1::FLOAT16:
      return DType::kF16;
    case v1::BFLOAT16:
      return DType::kBF16;
    case v1::FLOAT64:
      return DType::kF64;
    case v1::BYTES:
      return DType::kText;
    default:
      return DType::kF32;
  }
}

absl::Status CheckInput(const std::string& path, const v1::Input& input, const PortSpec& given) {
  const bool batched = !input.has_batched() || input.batched();
  const size_t lead = batched ? 1 : 0, rank = static_cast<size_t>(input.shape_size()) + lead;
  Shape want(input.shape().begin(), input.shape().end());
  if (batched) want.insert(want.begin(), input.has_batch_size() ? input.batch_size() : -1);
  bool fits = given.shape.size() == rank;
  for (size_t i = 0; fits && i < rank; ++i) fits = want[i] == -1 || want[i] == given.shape[i];
  if (!fits) return InvalidArgument(path, ".shape: must be ", ShapeString(want), ", got ", ShapeString(given.shape));
  const DType dtype = ElementType(input.dtype());
  if ((given.dtype == DType::kText) != (dtype == DType::kText)) {
    return InvalidArgument(path, ".dtype: must be ", DTypeName(dtype), ", got ", DTypeName(given.dtype));
  }
  if (IsFloat(given.dtype) && !IsFloat(dtype)) {
    return InvalidArgument(path, ".dtype: must be ", DTypeName(dtype), ", got ", DTypeName(given.dtype));
  }
  return absl::OkStatus();
}

namespace {

std::string TensorPath(const std::string& name) { return absl::StrCat("tensors[\"", name, "\"]"); }

template <typename M>
std::string KindName(const M& message) {
  const auto* kind = nn::KindOf(message);
  return kind == nullptr ? "kind" : kind->name();
}

}  // namespace

std::string ArgumentTensor(const v1::Objective& o, const std::string& argument) {
  const auto it = o.arguments().find(argument);
  return it == o.arguments().end() ? argument : it->second;
}

MetricPlace PlaceOf(const v1::NamedMetric& metric, const v1::TrainingConfig& config) {
  MetricPlace place{metric.output(), metric.target()};
  if (!config.objectives().empty()) {
    if (place.output.empty()) place.output = config.objectives(0).output();
    if (place.target.empty()) place.target = config.objectives(0).target();
  }
  if (place.target.empty()) place.target = DefaultTarget(0);
  return place;
}

absl::StatusOr<int> FindOutput(const std::string& path, const v1::Model& model, const std::string& name,
                               std::optional<int> position) {
  for (int i = 0; i < model.outputs_size(); ++i) {
    if (name.empty() ? i == position : model.outputs(i).name() == name) return i;
  }
  if (name.empty() && position.has_value() && model.outputs_size() == 1) return 0;
  const auto append_name = [](std::string* out, const v1::Output& output) { out->append(output.name()); };
  return InvalidArgument(path, ": must name one of the model's outputs, ",
                         absl::StrJoin(model.outputs(), ", ", append_name), ", got ",
                         name.empty() ? "nothing" : absl::StrCat("\"", name, "\""));
}

absl::Status ForwardBuilder::AddBatch(const Signature& batch) {
  std::set<std::string> known;
  for (const v1::Input& input : model_.inputs()) known.insert(input.name());
  std::set<std::string> first_axis;  // tensors with one row per sample
  for (const v1::Input& input : model_.inputs()) {
    if (!input.has_batched() || input.batched()) first_axis.insert(input.name());
  }
  size_t i = 0;
  const auto add = [&](const std::string& name) {
    known.insert(name);
    first_axis.insert(name);
  };
  std::set<std::string> arguments;  // of losses: with a row per sample, or scalars
  for (const v1::Objective& o : config_.objectives()) {
    const std::string target = o.target().empty() ? DefaultTarget(i) : o.target();
    // Targets of sequences may stand one after the other.
    if (nn::ArgumentsOf(o.loss()).empty()) {
      add(target);
    } else {
      known.insert(target);
    }
    for (const std::string& name : nn::ArgumentsOf(o.loss())) arguments.insert(ArgumentTensor(o, name));
    if (!o.sample_weight().empty()) add(o.sample_weight());
    ++i;
  }
  known.insert(arguments.begin(), arguments.end());
  for (const v1::NamedMetric& m : config_.metrics()) {
    if (!m.target().empty()) add(m.target());
    if (!m.sample_weight().empty()) add(m.sample_weight());
  }
  samples_ = -1;
  for (const PortSpec& t : batch) {
    const std::string path = TensorPath(t.name);
    if (known.count(t.name) == 0) {
      return InvalidArgument(path, ": must be one of ", absl::StrJoin(known, ", "), ", got \"", t.name, "\"");
    }
    if (t.dtype == DType::kText) return InvalidArgument(path, ".dtype: must be of numbers, got BYTES");
    int64_t count = 0;
    if (!CheckedNumElements(t.shape, &count))
      return InvalidArgument(path, ".shape: must have fewer elements, got ", ShapeString(t.shape));
    if (first_axis.count(t.name) > 0 || (arguments.count(t.name) > 0 && !t.shape.empty())) {
      if (t.shape.empty()) return InvalidArgument(path, ".shape: must have a batch axis, got []");
      if (samples_ >= 0 && t.shape[0] != samples_) {
        return InvalidArgument(path, ".shape: must have ", samples_, " rows like the other tensors, got ", t.shape[0]);
      }
      samples_ = t.shape[0];
    }
    tensors_[t.name] = graph_->AddInput(t.name, t.dtype, t.shape);
  }
  if (samples_ == 0) return InvalidArgument("tensors: must have at least one sample, got 0");
  samples_ = std::max<int64_t>(samples_, 1);
  for (const v1::Input& input : model_.inputs()) {
    const std::string path = TensorPath(input.name());
    const auto it = tensors_.find(input.name());
    if (it == tensors_.end()) return InvalidArgument(path, ": must be given, got nothing");
    STRATA_RETURN_IF_ERROR(CheckInput(path, input, {input.name(), it->second.dtype(), it->second.shape()}));
  }
  return absl::OkStatus();
}

Value ForwardBuilder::TensorOf(const std::string& path, const std::string& name) {
  const auto it = tensors_.find(name);
  if (it != tensors_.end()) return it->second;
  graph_->Fail(InvalidArgument(TensorPath(name), ": must be given for ", path, ", got nothing"));
  return {graph_, -1};
}

nn::Annotated ForwardBuilder::OutputOf(const std::string& path, const std::string& name, std::optional<int> position,
                                       const Forward& f) {
  const absl::StatusOr<int> index = FindOutput(path, model_, name, position);
  if (index.ok()) return f.outputs[static_cast<size_t>(*index)];
  graph_->Fail(index.status());
  return Value{graph_, -1};
}

nn::Scope ForwardBuilder::RootScope(bool training, Value random_state) {
  return nn::Scope(graph_, model_.dialect(), training, random_state, collected_);
}

// A factor for each sample, by its target's class.
Value ForwardBuilder::ClassFactors(Value target) {
  if (config_.class_weights().empty() || !target) return {};
  int64_t last = 0;
  for (const v1::ClassWeight& w : config_.class_weights()) last = std::max(last, w.class_());
  std::vector<double> table(last + 1, 1);
  for (const v1::ClassWeight& w : config_.class_weights()) table[w.class_()] = w.weight();
  Value label = target;
  if (label.rank() == 2 && label.dim(1) > 1) label = ArgMax(label, 1);
  label = Reshape(Cast(label, DType::kI32), {-1});
  if (!label || label.dim(0) != samples_) {
    graph_->Fail(
        InvalidArgument("class_weights: must be for targets of one class a sample, got ", ShapeString(target.shape())));
    return {graph_, -1};
  }
  const Value factor = Gather(Constant(graph_, Tensor::Of(DType::kF32, {last + 1}, table)), label);
  return Select(LessEqual(label, Like(label, static_cast<double>(last))), factor, Like(factor, 1));
}

Forward ForwardBuilder::Build(bool training, Value random_state) {
  Forward f;
  f.samples = samples_;
  f.training = training;
  nn::Scope s = RootScope(training, random_state);
  std::vector<nn::Annotated> inputs;
  for (const v1::Input& input : model_.inputs()) {
    const Value x = tensors_[input.name()];
    const DType dtype = ElementType(input.dtype());
    inputs.push_back(x.dtype() == dtype ? x : Cast(x, dtype));
  }
  f.outputs = nn::BuildModel(s, model_, inputs);
  if (!graph_->ok()) return f;
  for (int i = 0; i < config_.objectives_size(); ++i) {
    const v1::Objective& o = config_.objectives(i);
    const std::string path = absl::StrCat("objectives[", i, "]");
    nn::LossArgs args;
    args.prediction = OutputOf(path + ".output", o.output(), i, f);
    for (int k = 0; k < o.more_outputs_size(); ++k)
      args.more.push_back(OutputOf(absl::StrCat(path, ".more_outputs[", k, "]"), o.more_outputs(k), std::nullopt, f));
    // Triplets have no target.
    if (!o.loss().has_triplet_margin()) {
      args.target = TensorOf(path, o.target().empty() ? DefaultTarget(i) : o.target());
    }
    for (const std::string& name : nn::ArgumentsOf(o.loss()))
      args.named[name] = TensorOf(path, ArgumentTensor(o, name));
    if (!o.sample_weight().empty()) args.sample_weight = Cast(TensorOf(path, o.sample_weight()), DType::kF32);
    // Weights of classes belong to training: validation counts samples alike.
    if (const Value factors = training ? ClassFactors(args.target) : Value{}) {
      args.sample_weight = args.sample_weight ? args.sample_weight * factors : factors;
    }
    if (!graph_->ok()) return f;
    nn::Scope at = nn::ScopeOfObjective(s, o.loss(), i).At(absl::StrCat(path, ".loss")).At(KindName(o.loss()));
    Value loss = nn::BuildObjective(at, o.loss(), args);
    at.NameError();
    if (!graph_->ok()) return f;
    loss = Cast(loss, DType::kF32);  // of whatever type the model's outputs are
    if (o.has_weight()) loss = loss * o.weight();
    f.loss = f.loss ? f.loss + loss : loss;
  }
  for (const Value& p : collected_->penalties) {
    const Value term = Cast(p, DType::kF32);
    f.penalty = f.penalty ? f.penalty + term : term;
  }
  for (const v1::ParameterPenalty& penalty : config_.penalties()) {
    for (const nn::ParamSpec& p : collected_->params) {
      if (p.buffer || nn::Matches(p.name, penalty.exclude())) continue;
      v1::Regularizer r;
      r.set_l1(penalty.l1());
      r.set_l2(penalty.l2() / 2);
      const Value term = nn::Penalty(r, p.value);
      f.penalty = f.penalty ? f.penalty + term : term;
    }
  }
  if (f.loss && f.penalty) f.loss = f.loss + f.penalty;
  return f;
}

std::vector<RequirementSpec> ForwardBuilder::AddRequirements() { return MarkRequirements(*collected_, graph_); }

std::vector<RequirementSpec> MarkRequirements(const nn::Collected& collected, Graph* graph) {
  std::vector<RequirementSpec> specs;
  for (const nn::Requirement& r : collected.requirements) {
    specs.push_back({graph->outputs().size(), r.message});
    graph->MarkOutput(absl::StrCat("requirement:", specs.size()), r.violations);
  }
  return specs;
}

std::vector<MetricSpec> ForwardBuilder::AddMetrics(const Forward& f) {
  std::vector<MetricSpec> specs;
  const std::vector<std::string> names = MetricNames(config_);
  nn::Scope s = RootScope(false, {});
  for (int i = 0; i < config_.metrics_size() && graph_->ok(); ++i) {
    const v1::NamedMetric& m = config_.metrics(i);
    const std::string path = absl::StrCat("metrics[", i, "]");
    const MetricPlace place = PlaceOf(m, config_);
    const nn::Annotated prediction = OutputOf(path + ".output", place.output, 0, f);
    const Value truth = TensorOf(path, place.target);
    // What Keras' mask leaves out does not count.
    Value weight = prediction.mask;
    if (!m.sample_weight().empty()) {
      Value given = Cast(TensorOf(path, m.sample_weight()), DType::kF32);
      if (!graph_->ok()) break;
      // Weights of classes are weights of samples.
      if (const Value factors = f.training ? ClassFactors(truth) : Value{}) {
        if (given.rank() == 2 && given.dim(-1) == 1) given = Squeeze(given, -1);
        given = given * factors;
      }
      if (!graph_->ok()) break;
      if (weight) {
        if (given.rank() > weight.rank() && given.dim(-1) == 1) given = Squeeze(given, -1);
        while (given.rank() < weight.rank()) given = ExpandDims(given, -1);
        given = given * Cast(weight, given.dtype());
      }
      weight = given;
    }
    if (!graph_->ok()) break;
    nn::Scope at = s.At(absl::StrCat(path, ".metric")).At(KindName(m.metric()));
    const nn::MetricTerms terms = nn::BuildMetric(at, m.metric(), nn::AsCompiled(at, {truth, prediction, weight}));
    at.NameError();
    if (!graph_->ok()) break;
    MetricSpec spec{names[i], graph_->outputs().size(), {}, terms.result};
    for (const Value& sum : terms.sums) spec.sizes.push_back(sum.num_elements());
    for (const Value& sum : terms.sums) graph_->MarkOutput(spec.name, Cast(sum, DType::kF32));
    specs.push_back(std::move(spec));
  }
  return specs;
}

}  // namespace strata
