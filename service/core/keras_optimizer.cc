#include "service/core/keras_optimizer.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/base/status.h"
#include "service/core/keras_file.h"
#include "service/core/keras_paths.h"
#include "service/core/training_state.h"
#include "service/files/containers.h"

namespace strata::service {
namespace {

constexpr char kGroupName[] = "optimizer_weights", kVars[] = "optimizer/vars/";
constexpr char kAverage[] = "average";

// One variable of each parameter: our slot, and the name that tf.keras 2 gives it. Without a slot of ours its value
// means nothing.
struct Slot {
  const char* ours;
  const char* keras;
  double start = 0;
};
// Slots of one block take turns: m and v of the first parameter, then of the second.
using Block = std::vector<Slot>;

enum class Generation { kKeras2, kLegacy, kKeras3 };

std::vector<Block> BlocksOf(const v1::Optimizer& o, Generation generation) {
  const bool legacy = generation == Generation::kLegacy;
  std::vector<Block> blocks;
  switch (o.kind_case()) {
    case v1::Optimizer::kSgd:
      // tf.keras 2 has the variable whether there is a momentum or not.
      if (o.sgd().momentum() != 0) {
        blocks = {{{"momentum", "m"}}};
      } else if (generation == Generation::kKeras2) {
        blocks = {{{nullptr, "m"}}};
      }
      break;
    case v1::Optimizer::kAdam:
    case v1::Optimizer::kAdamw: {
      blocks = {{{"m", "m"}, {"v", "v"}}};
      const v1::Adam& a = o.has_adam() ? o.adam() : o.adamw();
      if (a.amsgrad()) blocks.push_back({{"v_max", "vhat"}});
      break;
    }
    case v1::Optimizer::kRmsprop:
      blocks = {{{"square", "velocity"}}};
      if (o.rmsprop().momentum() > 0) blocks.push_back({{"momentum", "momentum"}});
      if (o.rmsprop().centered()) blocks.push_back({{"mean", "average_gradient"}});
      break;
    case v1::Optimizer::kAdagrad:
      blocks = {{{"sum", "accumulator", o.adagrad().initial_accumulator_value()}}};
      break;
    case v1::Optimizer::kAdadelta:
      blocks = {{{"square", "accumulated_grad"}, {"delta", "accumulated_delta_var"}}};
      break;
    case v1::Optimizer::kAdamax:
      blocks = {{{"m", "m"}, {"u", "u"}}};
      break;
    case v1::Optimizer::kNadam:
      blocks = {{{"m", "m"}, {"v", "v"}}};
      break;
    case v1::Optimizer::kLion:
      blocks = {{{"m", "m"}}};
      break;
    case v1::Optimizer::KIND_NOT_SET:
      break;
  }
  if (!legacy) return blocks;
  // Legacy optimizers make one slot after the other.
  std::vector<Block> single;
  for (const Block& block : blocks) {
    for (const Slot& slot : block) single.push_back({slot});
  }
  return single;
}

// A variable of the list.
struct Entry {
  enum Kind { kIterations, kRate, kProduct, kSlot } kind = kSlot;
  Slot slot{};
  const ParameterSpec* parameter = nullptr;
};

std::vector<Entry> OrderOf(const std::vector<const ParameterSpec*>& parameters, const v1::TrainingConfig& config,
                           Generation generation, bool rate) {
  const v1::Optimizer& o = config.optimizer();
  std::vector<Entry> order{{Entry::kIterations}};
  if (rate) order.push_back({Entry::kRate});
  if (generation == Generation::kLegacy && o.has_nadam()) order.push_back({Entry::kProduct});
  std::vector<Block> blocks;
  if (o.has_moving_average()) blocks.push_back({{kAverage, "average"}});
  if (generation == Generation::kKeras3 && config.accumulate_steps() > 1) {
    blocks.push_back({{nullptr, "gradient_accumulator"}});
  }
  for (Block& block : BlocksOf(o, generation)) blocks.push_back(std::move(block));
  for (const Block& block : blocks) {
    for (const ParameterSpec* p : parameters) {
      for (const Slot& slot : block) order.push_back({Entry::kSlot, slot, p});
    }
  }
  if (generation == Generation::kKeras3 && o.has_nadam()) order.push_back({Entry::kProduct});
  return order;
}

// Keras' trainable_variables.
std::vector<const ParameterSpec*> Trained(const v1::Model& model, const std::vector<ParameterSpec>& parameters) {
  std::vector<const ParameterSpec*> trained;
  for (const LayerParameters& layer : ParametersByLayer(model, parameters)) {
    for (const ParameterSpec* p : layer.parameters) {
      if (p->trainable && !p->buffer) trained.push_back(p);
    }
  }
  return trained;
}

std::vector<const Tensor*> ListOf(const TensorFile& file, bool* legacy) {
  std::vector<const Tensor*> list;
  bool found = false;
  for (const std::string& name : TextList(file, kGroupName, "weight_names", &found)) {
    const auto it = file.tensors.find(absl::StrCat(kGroupName, "/", name));
    if (it == file.tensors.end()) return {};
    *legacy = *legacy || absl::EndsWith(name, "/iter:0");
    list.push_back(&it->second);
  }
  for (int i = 0; !found; ++i) {
    const auto it = file.tensors.find(absl::StrCat(kVars, i));
    if (it == file.tensors.end()) break;
    list.push_back(&it->second);
  }
  return list;
}

bool Fits(const std::vector<Entry>& order, const std::vector<const Tensor*>& list) {
  if (order.size() != list.size()) return false;
  for (size_t i = 0; i < order.size(); ++i) {
    const Shape& want = order[i].kind == Entry::kSlot ? order[i].parameter->shape : Shape{};
    if (list[i]->shape() != want) return false;
  }
  return !IsFloat(list[0]->dtype());
}

// What Keras keeps of Nadam's momenta: their product through `updates`.
double MomentumProduct(const v1::Nadam& nadam, int64_t updates) {
  double product = 1;
  for (int64_t t = 1; t <= updates && product > 0; ++t) {
    product *= nadam.beta_1() * (1 - 0.5 * std::pow(0.96, static_cast<double>(t) * nadam.schedule_decay()));
  }
  return product;
}

std::string SlotOf(const Entry& entry) {
  return absl::StrCat(checkpoint::kSlot, entry.parameter->name, "/", entry.slot.ours);
}

}  // namespace

absl::StatusOr<NamedTensors> KerasOptimizerState(const v1::Model& model, const std::vector<ParameterSpec>& parameters,
                                                 const v1::TrainingConfig& config, const TensorFile& file) {
  bool legacy = false;
  const std::vector<const Tensor*> list = ListOf(file, &legacy);
  NamedTensors state;
  if (list.empty()) return state;
  const std::vector<const ParameterSpec*> trained = Trained(model, parameters);
  std::vector<Generation> generations{Generation::kKeras2, Generation::kKeras3};
  if (legacy) generations = {Generation::kLegacy};
  std::vector<Entry> order;
  for (const Generation generation : generations) {
    for (const bool rate : {false, true}) {
      if (order.empty()) order = OrderOf(trained, config, generation, rate);
      if (!Fits(order, list)) order.clear();
    }
  }
  if (order.empty()) {
    return InvalidArgument("optimizer: must have the variables of its kind for ", trained.size(),
                           " trained weights, got ", list.size(), " variables that fit none of Keras' orders");
  }
  const auto iterations = static_cast<int64_t>(list[0]->At(0));
  const int64_t every = std::max<int64_t>(1, config.accumulate_steps());
  if (iterations < 0) return InvalidArgument("optimizer: iterations must be >= 0, got ", iterations);
  if (iterations % every != 0) {
    return InvalidArgument("optimizer: gradients must not wait for an update, got ", iterations % every, " steps' of ",
                           every);
  }
  // A legacy optimizer counts from its own start, as the others do.
  Tensor updates(DType::kI64, {1});
  updates.Set(0, static_cast<double>(iterations / every));
  state[checkpoint::kUpdates] = std::move(updates);
  for (size_t i = 0; i < order.size(); ++i) {
    if (order[i].kind != Entry::kSlot || order[i].slot.ours == nullptr) continue;
    state[SlotOf(order[i])] = Cast(list[i]->view(), DType::kF32);
  }
  return state;
}

void CompleteNadamProduct(const v1::Model& model, const std::vector<ParameterSpec>& parameters,
                          const NamedTensors& state, v1::TrainingConfig* config) {
  if (!config->optimizer().has_nadam_product()) return;
  v1::NadamProduct* product = config->mutable_optimizer()->mutable_nadam_product();
  product->set_since(UpdatesOf(state));
  product->clear_weights();
  for (const ParameterSpec* p : Trained(model, parameters)) product->add_weights(p->name);
}

void AddKerasOptimizer(const v1::Model& model, const std::vector<ParameterSpec>& parameters,
                       const v1::TrainingConfig& config, const NamedTensors& weights, const NamedTensors& state,
                       bool archive, TensorFile* file) {
  const auto* kind = v1::Optimizer::descriptor()->FindOneofByName("kind");
  const auto* field = config.optimizer().GetReflection()->GetOneofFieldDescriptor(config.optimizer(), kind);
  if (field == nullptr) return;
  const v1::ComponentSchema& schema = field->options().GetExtension(v1::component);
  const std::string class_name = schema.keras().empty() ? field->name() : schema.keras(0);
  nlohmann::json names = nlohmann::json::array();
  const bool legacy = config.optimizer().legacy();
  if (legacy && archive) return;  // tf.keras keeps no state of these
  const std::vector<Entry> order =
      OrderOf(Trained(model, parameters), config, legacy ? Generation::kLegacy : Generation::kKeras2, false);
  for (size_t i = 0; i < order.size(); ++i) {
    const Entry& entry = order[i];
    Tensor value;
    std::string name = legacy ? absl::StrCat("training/", class_name, "/iter:0") : "iteration:0";
    if (entry.kind == Entry::kIterations) {
      value = Tensor::Scalar(static_cast<double>(UpdatesOf(state)), DType::kI64);
    } else if (entry.kind == Entry::kProduct) {
      name = absl::StrCat("training/", class_name, "/momentum_cache:0");
      value = Tensor::Scalar(MomentumProduct(config.optimizer().nadam(), UpdatesOf(state)));
    } else {
      name = absl::StrCat(class_name, "/", entry.slot.keras, "/", entry.parameter->name, ":0");
      const auto it = entry.slot.ours == nullptr ? state.end() : state.find(SlotOf(entry));
      if (it != state.end()) {
        value = it->second.Clone();
      } else if (entry.slot.ours == kAverage) {
        value = weights.at(entry.parameter->name).Clone();
      } else {
        value = Tensor(DType::kF32, entry.parameter->shape);
        std::fill_n(value.data<float>(), value.num_elements(), static_cast<float>(entry.slot.start));
      }
    }
    file->tensors[archive ? absl::StrCat(kVars, i) : absl::StrCat(kGroupName, "/", name)] = std::move(value);
    names.push_back(name);
  }
  if (!archive) file->metadata[absl::StrCat(kAttribute, kGroupName, "@weight_names")] = names.dump();
}

}  // namespace strata::service
