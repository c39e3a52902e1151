// Everything that the server tells Prometheus, in one class. Names begin with strata_, units are base units. Labels
// come from registered models and from runs only, both capped: what a client invents never makes a series.
#pragma once

#include <map>
#include <memory>
#include <string>
#include "absl/strings/string_view.h"

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace prometheus {
class Registry;
}

namespace strata::service {

// Thread-safe and quick: a hash lookup and an atomic each.
class Metrics {
 public:
  struct Options {
    std::string version = "unknown";
    // Models and runs with series of their own; those beyond share the label value "_other".
    size_t max_models = 100;
    size_t max_runs = 50;
  };
  explicit Metrics(const Options& options);
  ~Metrics();

  // What a scrape reads.
  std::shared_ptr<prometheus::Registry> registry() const;
  // The text that a scrape gets.
  std::string Text() const;

  // ---- RPCs. `method` is "Service/Method", `code` the name of a gRPC code.
  void RpcStarted(absl::string_view method);
  int64_t rpcs_in_flight() const;
  void RpcHandled(absl::string_view method, absl::string_view code, absl::Duration took);

  // ---- Training.
  struct Step {
    double loss = 0, learning_rate = 0, gradient_norm = 0, samples_per_second = 0;
    int64_t step = 0, samples = 0;
    double seconds = 0;
    bool skipped = false;
    std::map<std::string, double> metrics;
  };
  void StepDone(const std::string& model, const std::string& run, const Step& step, absl::Time now);
  void EvaluationDone(const std::string& model, const std::string& run, double loss,
                      const std::map<std::string, double>& metrics);
  void RunsActive(int64_t count);
  void CheckpointDone(bool ok, int64_t bytes, absl::Duration took, absl::Time now);

  // ---- Inference.
  void InferenceDone(const std::string& model, absl::string_view code, absl::Duration total, absl::Duration queued);
  void BatchRun(const std::string& model, int64_t rows);
  void InferenceQueue(int64_t requests);
  void Rejected(absl::string_view reason);
  void ModelsLoaded(int64_t versions, int64_t bytes);

  // The series of a model, and of its runs, end.
  void ModelGone(const std::string& model);

 private:
  struct Families;
  const std::unique_ptr<Families> families_;
};

// Serves GET /metrics with its own two threads.
class MetricsServer {
 public:
  // `address` is HOST:PORT; port 0 picks a free one. UNAVAILABLE if the address cannot be bound.
  static absl::StatusOr<std::unique_ptr<MetricsServer>> Start(const std::string& address, const Metrics& metrics);
  ~MetricsServer();
  // HOST:PORT with the port that was bound.
  const std::string& address() const { return address_; }

 private:
  MetricsServer();
  struct Impl;
  std::unique_ptr<Impl> impl_;
  std::string address_;
};

}  // namespace strata::service
