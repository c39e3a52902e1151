#include "service/obs/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <atomic>
#include <functional>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"

namespace strata::service {
namespace {

using prometheus::Counter;
using prometheus::Family;
using prometheus::Gauge;
using prometheus::Histogram;
using Buckets = Histogram::BucketBoundaries;

const Buckets& LatencyBuckets() {
  static const auto& buckets =
      *new Buckets{0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10};
  return buckets;
}
const Buckets& RowBuckets() {
  static const auto& buckets = *new Buckets{1, 2, 4, 8, 16, 32, 64, 128, 256, 512};
  return buckets;
}

// Series that end together.
class Removers {
 public:
  template <typename T, typename... Args>
  T* Add(Family<T>& family, const prometheus::Labels& labels, Args&&... args) {
    T* series = &family.Add(labels, args...);
    removers_.push_back([&family, series] { family.Remove(series); });
    return series;
  }
  void RemoveAll() {
    for (const auto& remove : removers_) remove();
    removers_.clear();
  }

 private:
  std::vector<std::function<void()>> removers_;
};

struct ModelSeries {
  Removers series;
  Counter *steps, *samples, *skipped;
  Histogram *step_seconds, *infer_seconds, *queue_seconds, *batch_rows;
  std::map<std::string, Counter*, std::less<>> requests;
};

struct RunSeries {
  Removers series;
  std::string model;
  uint64_t used = 0;  // larger: more recently
  Gauge *loss, *learning_rate, *gradient_norm, *samples_per_second, *step, *timestamp;
  Gauge* validation_loss = nullptr;
  std::map<std::string, Gauge*> metrics, validation_metrics;
};

struct RpcSeries {
  Counter* started;
  Histogram* seconds;
  std::map<std::string, Counter*, std::less<>> handled;
};

constexpr size_t kMaxMetricsOfRun = 20;

}  // namespace

struct Metrics::Families {
  explicit Families(const Options& options) : options(options) {
    Make<Gauge>("strata_build_info", "Constant 1; the labels say what runs.")
        .Add({{"version", options.version}})
        .Set(1);
    rejected_of = [this](absl::string_view reason) { return &rejected.Add({{"reason", std::string(reason)}}); };
    for (const char* reason : {"queue_full", "queue_bytes", "deadline", "cancelled"}) rejected_of(reason);
    checkpoint_results.Add({{"result", "ok"}});
    checkpoint_results.Add({{"result", "error"}});
  }

  template <typename T>
  Family<T>& Make(const char* name, const char* help) {
    if constexpr (std::is_same_v<T, Counter>) {
      return prometheus::BuildCounter().Name(name).Help(help).Register(*registry);
    } else if constexpr (std::is_same_v<T, Gauge>) {
      return prometheus::BuildGauge().Name(name).Help(help).Register(*registry);
    } else {
      return prometheus::BuildHistogram().Name(name).Help(help).Register(*registry);
    }
  }

  ModelSeries& Model(const std::string& name) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
  RunSeries& Run(const std::string& model, const std::string& name) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);
  RpcSeries& Rpc(absl::string_view method) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex);

  const Options options;
  const std::shared_ptr<prometheus::Registry> registry = std::make_shared<prometheus::Registry>();

  Family<Counter>& rpc_started = Make<Counter>("strata_rpc_started_total", "RPCs that began.");
  Family<Counter>& rpc_handled = Make<Counter>("strata_rpc_handled_total", "RPCs that ended, by their gRPC code.");
  Gauge& in_flight = Make<Gauge>("strata_rpc_in_flight", "RPCs that have begun and not ended.").Add({});
  std::atomic<int64_t> in_flight_count{0};
  Family<Histogram>& rpc_seconds = Make<Histogram>("strata_rpc_seconds", "Time from an RPC's arrival to its end.");

  Family<Gauge>& loss = Make<Gauge>("strata_training_loss", "Loss of the last step, with penalties.");
  Family<Gauge>& learning_rate = Make<Gauge>("strata_training_learning_rate", "Learning rate of the last step.");
  Family<Gauge>& gradient_norm = Make<Gauge>("strata_training_gradient_norm", "Norm of the last step's gradients.");
  Family<Gauge>& samples_per_second =
      Make<Gauge>("strata_training_samples_per_second", "Samples of the last step by the time between steps.");
  Family<Gauge>& step = Make<Gauge>("strata_training_step", "Steps that a run has made.");
  Family<Gauge>& timestamp =
      Make<Gauge>("strata_training_last_step_timestamp_seconds", "When the last step ended, since 1970.");
  Family<Gauge>& metric = Make<Gauge>("strata_training_metric", "A metric of the last step.");
  Family<Gauge>& validation_loss = Make<Gauge>("strata_validation_loss", "Loss of the last complete evaluation.");
  Family<Gauge>& validation_metric = Make<Gauge>("strata_validation_metric", "A metric of the last evaluation.");
  Family<Counter>& steps = Make<Counter>("strata_training_steps_total", "Steps made.");
  Family<Counter>& samples = Make<Counter>("strata_training_samples_total", "Samples trained on.");
  Family<Counter>& skipped =
      Make<Counter>("strata_training_skipped_steps_total", "Steps whose loss or gradients were not finite.");
  Family<Histogram>& step_seconds = Make<Histogram>("strata_training_step_seconds", "Time of a step in the engine.");
  Family<Gauge>& runs_active = Make<Gauge>("strata_training_runs_active", "Runs that are attached to a client.");

  Family<Counter>& checkpoint_results = Make<Counter>("strata_checkpoints_total", "Checkpoints, by result.");
  Family<Histogram>& checkpoint_seconds =
      Make<Histogram>("strata_checkpoint_seconds", "Time to make a checkpoint durable.");
  Family<Gauge>& checkpoint_bytes = Make<Gauge>("strata_checkpoint_bytes", "Size of the last checkpoint.");
  Family<Gauge>& checkpoint_timestamp =
      Make<Gauge>("strata_checkpoint_last_success_timestamp_seconds", "When the last checkpoint was durable.");

  Family<Counter>& requests = Make<Counter>("strata_inference_requests_total", "Predictions asked for, by gRPC code.");
  Family<Histogram>& infer_seconds = Make<Histogram>("strata_inference_seconds", "Time from request to answer.");
  Family<Histogram>& queue_seconds =
      Make<Histogram>("strata_inference_queue_seconds", "Time that a request waits for a worker.");
  Family<Histogram>& batch_rows = Make<Histogram>("strata_inference_batch_rows", "Rows that ran together.");
  Family<Gauge>& queue_length = Make<Gauge>("strata_inference_queue_length", "Requests that wait now.");
  Family<Counter>& rejected =
      Make<Counter>("strata_inference_rejected_total", "Requests that were not executed, by reason.");
  Family<Gauge>& versions_loaded = Make<Gauge>("strata_versions_loaded", "Versions in memory.");
  Family<Gauge>& version_bytes = Make<Gauge>("strata_versions_loaded_bytes", "Memory of loaded versions.");

  std::function<Counter*(absl::string_view)> rejected_of;

  absl::Mutex mutex;
  std::map<std::string, ModelSeries> models ABSL_GUARDED_BY(mutex);
  std::map<std::string, RunSeries> runs ABSL_GUARDED_BY(mutex);
  std::map<std::string, RpcSeries, std::less<>> rpcs ABSL_GUARDED_BY(mutex);
  uint64_t uses ABSL_GUARDED_BY(mutex) = 0;
};

ModelSeries& Metrics::Families::Model(const std::string& name) {
  auto it = models.find(name);
  if (it != models.end()) return it->second;
  const bool room = models.size() < options.max_models;
  const std::string label = room ? name : "_other";
  it = models.find(label);
  if (it != models.end()) return it->second;
  ModelSeries& m = models[label];
  const prometheus::Labels labels{{"model", label}};
  m.steps = m.series.Add(steps, labels);
  m.samples = m.series.Add(samples, labels);
  m.skipped = m.series.Add(skipped, labels);
  m.step_seconds = m.series.Add(step_seconds, labels, LatencyBuckets());
  m.infer_seconds = m.series.Add(infer_seconds, labels, LatencyBuckets());
  m.queue_seconds = m.series.Add(queue_seconds, labels, LatencyBuckets());
  m.batch_rows = m.series.Add(batch_rows, labels, RowBuckets());
  return m;
}

RunSeries& Metrics::Families::Run(const std::string& model, const std::string& name) {
  auto it = runs.find(name);
  if (it == runs.end()) {
    if (runs.size() >= options.max_runs) {
      auto oldest = runs.begin();
      for (auto r = runs.begin(); r != runs.end(); ++r) {
        if (r->second.used < oldest->second.used) oldest = r;
      }
      oldest->second.series.RemoveAll();
      runs.erase(oldest);
    }
    it = runs.try_emplace(name).first;
    RunSeries& r = it->second;
    r.model = model;
    const prometheus::Labels labels{{"model", model}, {"run", name}};
    r.loss = r.series.Add(loss, labels);
    r.learning_rate = r.series.Add(learning_rate, labels);
    r.gradient_norm = r.series.Add(gradient_norm, labels);
    r.samples_per_second = r.series.Add(samples_per_second, labels);
    r.step = r.series.Add(step, labels);
    r.timestamp = r.series.Add(timestamp, labels);
  }
  it->second.used = ++uses;
  return it->second;
}

RpcSeries& Metrics::Families::Rpc(absl::string_view method) {
  auto it = rpcs.find(method);
  if (it != rpcs.end()) return it->second;
  const prometheus::Labels labels{{"method", std::string(method)}};
  return rpcs
      .emplace(std::string(method), RpcSeries{&rpc_started.Add(labels), &rpc_seconds.Add(labels, LatencyBuckets()), {}})
      .first->second;
}

Metrics::Metrics(const Options& options) : families_(std::make_unique<Families>(options)) {}
Metrics::~Metrics() = default;

std::shared_ptr<prometheus::Registry> Metrics::registry() const { return families_->registry; }

std::string Metrics::Text() const { return prometheus::TextSerializer().Serialize(families_->registry->Collect()); }

int64_t Metrics::rpcs_in_flight() const { return families_->in_flight_count; }

void Metrics::RpcStarted(absl::string_view method) {
  families_->in_flight.Set(static_cast<double>(++families_->in_flight_count));
  absl::MutexLock lock(&families_->mutex);
  families_->Rpc(method).started->Increment();
}

void Metrics::RpcHandled(absl::string_view method, absl::string_view code, absl::Duration took) {
  absl::MutexLock lock(&families_->mutex);
  RpcSeries& rpc = families_->Rpc(method);
  auto it = rpc.handled.find(code);
  if (it == rpc.handled.end()) {
    const prometheus::Labels labels{{"method", std::string(method)}, {"code", std::string(code)}};
    it = rpc.handled.emplace(std::string(code), &families_->rpc_handled.Add(labels)).first;
  }
  it->second->Increment();
  rpc.seconds->Observe(absl::ToDoubleSeconds(took));
  families_->in_flight.Set(static_cast<double>(--families_->in_flight_count));
}

void Metrics::StepDone(const std::string& model, const std::string& run, const Step& step, absl::Time now) {
  absl::MutexLock lock(&families_->mutex);
  ModelSeries& m = families_->Model(model);
  m.steps->Increment();
  m.samples->Increment(static_cast<double>(step.samples));
  if (step.skipped) m.skipped->Increment();
  m.step_seconds->Observe(step.seconds);
  RunSeries& r = families_->Run(model, run);
  r.loss->Set(step.loss);
  r.learning_rate->Set(step.learning_rate);
  r.gradient_norm->Set(step.gradient_norm);
  r.samples_per_second->Set(step.samples_per_second);
  r.step->Set(static_cast<double>(step.step));
  r.timestamp->Set(absl::ToDoubleSeconds(now - absl::UnixEpoch()));
  for (const auto& [name, value] : step.metrics) {
    Gauge*& gauge = r.metrics[name];
    if (gauge == nullptr) {
      if (r.metrics.size() > kMaxMetricsOfRun) continue;
      gauge = r.series.Add(families_->metric, {{"model", model}, {"run", run}, {"metric", name}});
    }
    gauge->Set(value);
  }
}

void Metrics::EvaluationDone(const std::string& model, const std::string& run, double loss,
                             const std::map<std::string, double>& metrics) {
  absl::MutexLock lock(&families_->mutex);
  RunSeries& r = families_->Run(model, run);
  if (r.validation_loss == nullptr) {
    r.validation_loss = r.series.Add(families_->validation_loss, {{"model", model}, {"run", run}});
  }
  r.validation_loss->Set(loss);
  for (const auto& [name, value] : metrics) {
    Gauge*& gauge = r.validation_metrics[name];
    if (gauge == nullptr) {
      if (r.validation_metrics.size() > kMaxMetricsOfRun) continue;
      gauge = r.series.Add(families_->validation_metric, {{"model", model}, {"run", run}, {"metric", name}});
    }
    gauge->Set(value);
  }
}

void Metrics::RunsActive(int64_t count) { families_->runs_active.Add({}).Set(static_cast<double>(count)); }

void Metrics::CheckpointDone(bool ok, int64_t bytes, absl::Duration took, absl::Time now) {
  families_->checkpoint_results.Add({{"result", ok ? "ok" : "error"}}).Increment();
  families_->checkpoint_seconds.Add({}, LatencyBuckets()).Observe(absl::ToDoubleSeconds(took));
  if (!ok) return;
  families_->checkpoint_bytes.Add({}).Set(static_cast<double>(bytes));
  families_->checkpoint_timestamp.Add({}).Set(absl::ToDoubleSeconds(now - absl::UnixEpoch()));
}

void Metrics::InferenceDone(const std::string& model, absl::string_view code, absl::Duration total,
                            absl::Duration queued) {
  absl::MutexLock lock(&families_->mutex);
  ModelSeries& m = families_->Model(model);
  auto it = m.requests.find(code);
  if (it == m.requests.end()) {
    // A model beyond the cap counts under the label that all of them share.
    const std::string label = families_->models.count(model) != 0 ? model : "_other";
    const prometheus::Labels labels{{"model", label}, {"code", std::string(code)}};
    it = m.requests.emplace(std::string(code), m.series.Add(families_->requests, labels)).first;
  }
  it->second->Increment();
  m.infer_seconds->Observe(absl::ToDoubleSeconds(total));
  m.queue_seconds->Observe(absl::ToDoubleSeconds(queued));
}

void Metrics::BatchRun(const std::string& model, int64_t rows) {
  absl::MutexLock lock(&families_->mutex);
  families_->Model(model).batch_rows->Observe(static_cast<double>(rows));
}

void Metrics::InferenceQueue(int64_t requests) { families_->queue_length.Add({}).Set(static_cast<double>(requests)); }

void Metrics::Rejected(absl::string_view reason) { families_->rejected_of(reason)->Increment(); }

void Metrics::ModelsLoaded(int64_t versions, int64_t bytes) {
  families_->versions_loaded.Add({}).Set(static_cast<double>(versions));
  families_->version_bytes.Add({}).Set(static_cast<double>(bytes));
}

void Metrics::ModelGone(const std::string& model) {
  absl::MutexLock lock(&families_->mutex);
  if (auto it = families_->models.find(model); it != families_->models.end()) {
    it->second.series.RemoveAll();
    families_->models.erase(it);
  }
  for (auto it = families_->runs.begin(); it != families_->runs.end();) {
    if (it->second.model != model) {
      ++it;
      continue;
    }
    it->second.series.RemoveAll();
    it = families_->runs.erase(it);
  }
}

}  // namespace strata::service
