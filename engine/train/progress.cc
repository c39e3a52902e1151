#include "engine/train/progress.h"

#include <algorithm>
#include <limits>
#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/strip.h"
#include "engine/base/checkpoint_names.h"
#include "engine/base/status.h"
#include "engine/train/forward.h"

namespace strata {
namespace {

using checkpoint::kCounters;  // i64, in Save's order
using checkpoint::kUpdates;

constexpr int64_t kNumCounters = 10;
constexpr char kRate[] = "session:learning_rate";     // f64: the optimizer's, before any schedule
constexpr char kWatched[] = "session:watched";        // f64: wait, observations, best of each
constexpr char kPlateau[] = "session:plateau";        // f64
constexpr char kEpochLoss[] = "session:epoch_loss";   // f64
constexpr char kEpochSums[] = "session:epoch_sums:";  // f64, then the metric's name
constexpr char kValidationPrefix[] = "val_";

// Names that a monitor may have: "loss" and the metrics', each with "val_" for those of an evaluation.
absl::Status CheckMonitor(const std::string& path, const std::string& monitor, const v1::TrainingConfig& config) {
  std::vector<std::string> names{"loss"};
  for (const std::string& name : MetricNames(config)) names.push_back(name);
  const std::string plain(absl::StripPrefix(monitor, kValidationPrefix));
  if (std::find(names.begin(), names.end(), plain) != names.end() ||
      std::find(names.begin(), names.end(), monitor) != names.end()) {
    return absl::OkStatus();
  }
  return InvalidArgument(path, ".monitor: must be one of ", absl::StrJoin(names, ", "), ", with or without ",
                         kValidationPrefix, ", got \"", monitor, "\"");
}

Tensor Doubles(const std::vector<double>& values) {
  return Tensor::Of(DType::kF64, {static_cast<int64_t>(values.size())}, values);
}

std::vector<double> ValuesOf(const Tensor& t) {
  std::vector<double> values;
  for (int64_t i = 0; i < t.num_elements(); ++i) values.push_back(t.At(i));
  return values;
}

}  // namespace

Best::Best(const std::string& mode, const std::string& monitor, double min_delta)
    : more_(mode == "max" ||
            (mode == "auto" && (absl::EndsWith(monitor, "acc") || absl::EndsWith(monitor, "accuracy") ||
                                absl::EndsWith(monitor, "auc")))),
      min_delta_(min_delta),
      best_(more_ ? -std::numeric_limits<double>::infinity() : std::numeric_limits<double>::infinity()) {}

bool Best::Improves(double value, double reference) const {
  return more_ ? value - min_delta_ > reference : value + min_delta_ < reference;
}

absl::StatusOr<Progress> Progress::Create(v1::Dialect dialect, const v1::TrainingConfig& config, double rate) {
  Progress p;
  p.configured_rate_ = p.base_rate_ = rate;
  if (config.optimizer().has_schedule()) {
    const v1::Schedule& schedule = config.optimizer().schedule();
    STRATA_ASSIGN_OR_RETURN(p.schedule_, nn::MakeSchedule(dialect, schedule));
    if (schedule.has_plateau()) {
      p.plateau_monitor_ = schedule.plateau().monitor();
      STRATA_RETURN_IF_ERROR(CheckMonitor("optimizer.schedule.plateau", p.plateau_monitor_, config));
      p.plateau_.emplace(dialect, schedule.plateau());
    }
  }
  if (config.has_early_stopping()) {
    p.stopping_ = config.early_stopping();
    STRATA_RETURN_IF_ERROR(CheckMonitor("early_stopping", p.stopping_->monitor(), config));
    p.stopping_best_.emplace(p.stopping_->mode(), p.stopping_->monitor(), p.stopping_->min_delta());
  }
  if (config.has_keep_best()) {
    p.kept_monitor_ = config.keep_best().monitor();
    STRATA_RETURN_IF_ERROR(CheckMonitor("keep_best", p.kept_monitor_, config));
    p.kept_best_.emplace(config.keep_best().mode(), p.kept_monitor_, 0);
  }
  return p;
}

int64_t Progress::Count() const {
  switch (schedule_->counts) {
    case nn::ScheduleRule::Counts::kUpdates:
      return updates;
    case nn::ScheduleRule::Counts::kEpochs:
      return epochs;
    default:
      return plateau_->reductions();
  }
}

double Progress::RateOf(double base) const {
  const double now = configured_rate_ > 0 ? base * (base_rate_ / configured_rate_) : base_rate_;
  return schedule_.has_value() ? schedule_->rate(now, Count()) : now;
}

nn::UpdateNumbers Progress::NumbersOf(double base, int64_t samples) const {
  nn::UpdateNumbers n{.t = updates + 1, .learning_rate = RateOf(base), .samples = pending_samples + samples};
  if (schedule_.has_value() && schedule_->momentum) n.momentum = schedule_->momentum(Count());
  return n;
}

// Keras' EarlyStopping.
Progress::Verdict Progress::ObserveStopping(double value) {
  Verdict v;
  const int64_t observation = observations_++;
  if (stopped || observation < stopping_->start_from_epoch()) return v;
  // The first observation's weights are those to come back to if nothing is ever better.
  if (observation == stopping_->start_from_epoch()) v.candidate = true;
  ++wait_;
  if (stopping_best_->Improves(value)) {
    stopping_best_->Set(value);
    v.candidate = true;
    // Patience begins anew only beyond the baseline.
    if (!stopping_->has_baseline() || stopping_best_->Improves(value, stopping_->baseline())) wait_ = 0;
    return v;
  }
  v.stop = stopped = wait_ >= stopping_->patience() && observation > 0;
  return v;
}

Progress::Verdict Progress::Observe(const std::map<std::string, double>& values) {
  Verdict verdict;
  const auto find = [&](const std::string& name) {
    const auto it = values.find(name);
    return it == values.end() ? std::optional<double>() : it->second;
  };
  if (plateau_.has_value()) {
    if (const auto value = find(plateau_monitor_)) plateau_->Observe(*value);
  }
  if (stopping_.has_value()) {
    if (const auto value = find(stopping_->monitor())) verdict = ObserveStopping(*value);
  }
  if (kept_best_.has_value()) {
    if (const auto value = find(kept_monitor_); value.has_value() && kept_best_->Improves(*value)) {
      kept_best_->Set(*value);
      verdict.best = true;
    }
  }
  return verdict;
}

void Progress::EndEpoch() {
  ++epochs;
  epoch_steps = 0;
  epoch = {};
}

bool Progress::IsOwn(const std::string& name) { return absl::StartsWith(name, checkpoint::kSession); }

void Progress::Save(NamedTensors* checkpoint) const {
  const std::vector<int64_t> counters{steps,         updates,         static_cast<int64_t>(seed),
                                      pending_steps, pending_samples, epochs,
                                      epoch_steps,   epoch.samples,   stopped ? 1 : 0,
                                      best_step};
  Tensor t(DType::kI64, {static_cast<int64_t>(counters.size())});
  std::copy(counters.begin(), counters.end(), t.data<int64_t>());
  (*checkpoint)[kCounters] = std::move(t);
  (*checkpoint)[kRate] = Tensor::Scalar(base_rate_, DType::kF64);
  (*checkpoint)[kEpochLoss] = Tensor::Scalar(epoch.loss, DType::kF64);
  for (const auto& [name, sums] : epoch.sums) (*checkpoint)[kEpochSums + name] = Doubles(sums);
  if (plateau_.has_value()) (*checkpoint)[kPlateau] = Doubles(plateau_->State());
  (*checkpoint)[kWatched] = Doubles({static_cast<double>(wait_), static_cast<double>(observations_),
                                     stopping_best_.has_value() ? stopping_best_->best() : 0,
                                     kept_best_.has_value() ? kept_best_->best() : 0});
}

absl::Status Progress::Load(const NamedTensors& checkpoint) {
  for (const auto& [name, tensor] : checkpoint) {
    if (!IsOwn(name)) continue;
    const bool counts = name == kCounters || name == kUpdates;
    if (tensor.dtype() != (counts ? DType::kI64 : DType::kF64)) {
      return InvalidArgument("checkpoint.", name, ": must be ", counts ? "i64" : "f64", ", got ",
                             DTypeName(tensor.dtype()));
    }
  }
  const auto elsewhere = checkpoint.find(kUpdates);
  if (elsewhere != checkpoint.end()) {
    if (elsewhere->second.num_elements() != 1 || elsewhere->second.data<int64_t>()[0] < 0) {
      return InvalidArgument("checkpoint.", kUpdates, ": must be one number >= 0, got ",
                             elsewhere->second.num_elements() == 1
                                 ? absl::StrCat(elsewhere->second.data<int64_t>()[0])
                                 : absl::StrCat(elsewhere->second.num_elements(), " numbers"));
    }
    steps = updates = elsewhere->second.data<int64_t>()[0];
  }
  const auto counters = checkpoint.find(kCounters), rate = checkpoint.find(kRate);
  if (counters == checkpoint.end() && rate == checkpoint.end()) return absl::OkStatus();
  if (counters == checkpoint.end() || counters->second.num_elements() < 3 || rate == checkpoint.end() ||
      rate->second.num_elements() != 1) {
    return InvalidArgument("checkpoint: must have a session's ", kCounters, " and ", kRate,
                           ", got other or shorter ones");
  }
  std::vector<int64_t> c(kNumCounters, 0);
  const Tensor& saved = counters->second;
  std::copy_n(saved.data<int64_t>(), std::min<int64_t>(saved.num_elements(), kNumCounters), c.begin());
  steps = c[0];
  updates = c[1];
  seed = static_cast<uint64_t>(c[2]);
  pending_steps = c[3];
  pending_samples = c[4];
  epochs = c[5];
  epoch_steps = c[6];
  epoch = {.samples = c[7]};
  stopped = c[8] != 0;
  best_step = c[9];
  base_rate_ = rate->second.At(0);
  for (const auto& [name, tensor] : checkpoint) {
    if (name == kEpochLoss && tensor.num_elements() == 1) epoch.loss = tensor.At(0);
    if (absl::StartsWith(name, kEpochSums))
      epoch.sums[std::string(absl::StripPrefix(name, kEpochSums))] = ValuesOf(tensor);
    if (name == kPlateau && plateau_.has_value() && tensor.num_elements() == nn::Plateau::kStateSize) {
      plateau_->SetState(ValuesOf(tensor));
    }
    if (name == kWatched && tensor.num_elements() == 4) {
      wait_ = static_cast<int64_t>(tensor.At(0));
      observations_ = static_cast<int64_t>(tensor.At(1));
      if (stopping_best_.has_value()) stopping_best_->Set(tensor.At(2));
      if (kept_best_.has_value()) kept_best_->Set(tensor.At(3));
    }
  }
  return absl::OkStatus();
}

}  // namespace strata
