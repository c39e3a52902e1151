#include "cli/progress.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <iostream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "cli/terminal.h"

namespace strata::cli {
namespace {

constexpr absl::Duration kRedraw = absl::Milliseconds(100);
constexpr absl::Duration kLogEvery = absl::Seconds(10);
constexpr int kBarWidth = 24;

std::string MetricsText(const std::map<std::string, double>& metrics, const std::string& prefix) {
  std::string text;
  for (const auto& [name, value] : metrics) absl::StrAppendFormat(&text, "  %s%s %.4f", prefix, name, value);
  return text;
}

}  // namespace

void TrainProgress::Means::Add(const v1::StepResult& result, double num_samples) {
  if (result.skipped() || !std::isfinite(result.loss())) return;
  samples += num_samples;
  loss += (result.loss() - loss) * num_samples / samples;
  for (const auto& [name, value] : result.metrics()) {
    double& mean = metrics[name];
    mean += (value - mean) * num_samples / samples;
  }
}

std::string TrainProgress::Means::Text() const {
  return absl::StrFormat("loss %.4f%s", loss, MetricsText(metrics, ""));
}

TrainProgress::TrainProgress(const Options& options) : options_(options), interactive_(Interactive()) {}

double TrainProgress::NumSamples(uint64_t sequence) const {
  const int64_t first = static_cast<int64_t>(sequence - 1) % options_.batches_per_epoch * options_.batch;
  return static_cast<double>(std::min(options_.batch, options_.rows - first));
}

void TrainProgress::Note(const std::string& line) {
  if (interactive_) std::cout << "\r\033[K";
  std::cout << line << std::endl;
}

void TrainProgress::StartEpoch(int64_t epoch) {
  epoch_ = epoch;
  epoch_started_ = absl::Now();
  epoch_samples_ = 0;
  epoch_steps_.clear();
  means_ = Means();
  drawn_ = epoch_started_;
}

void TrainProgress::OnAttached(const v1::Attached& attached, bool again) {
  for (const std::string& warning : attached.warnings()) Note(absl::StrCat("warning: ", warning));
  if (!again && attached.next_sequence() == 1) return;
  Note(absl::StrFormat("run %s: attached%s, going on with batch %d (the last checkpoint has batch %d)", attached.run(),
                       again ? " again" : "", attached.next_sequence(), attached.durable_through()));
  // Steps after the checkpoint will be done again: forget them.
  std::erase_if(epoch_steps_, [&](const v1::StepResult& step) { return step.step() >= attached.next_sequence(); });
  means_ = Means();
  for (const v1::StepResult& step : epoch_steps_) means_.Add(step, NumSamples(step.step()));
  epoch_started_ = absl::Now();
  epoch_samples_ = 0;
}

void TrainProgress::OnStep(const Item& item, const v1::StepResult& result) {
  if (item.epoch != epoch_) StartEpoch(item.epoch);
  epoch_steps_.push_back(result);
  means_.Add(result, NumSamples(item.sequence));
  epoch_samples_ += NumSamples(item.sequence);
  skipped_ += result.skipped();
  if (result.epoch().ended()) {
    // The server's numbers are of the epoch's rows together: areas and ratios are no means of batches.
    means_.loss = result.epoch().loss();
    means_.metrics = {result.epoch().metrics().begin(), result.epoch().metrics().end()};
  }
  if (item.last) epoch_seconds_ = absl::ToDoubleSeconds(absl::Now() - epoch_started_);
  if (item.last && !options_.evaluates) {
    FinishEpoch("");
  } else if (absl::Now() - drawn_ >= (interactive_ ? kRedraw : kLogEvery)) {
    DrawBar(item.sequence);
  }
  if (result.stopped()) Note("early stopping: the training ends with this epoch");
}

void TrainProgress::DrawBar(uint64_t sequence) {
  drawn_ = absl::Now();
  const int64_t done = static_cast<int64_t>(sequence - 1) % options_.batches_per_epoch + 1;
  const double seconds = absl::ToDoubleSeconds(drawn_ - epoch_started_);
  const double rate = epoch_samples_ / std::max(1e-9, seconds);
  const double left = static_cast<double>(options_.batches_per_epoch - done) * options_.batch / std::max(1e-9, rate);
  const std::string bar =
      interactive_ ? Bar(static_cast<double>(done) / options_.batches_per_epoch, kBarWidth) + " " : "";
  const std::string line = absl::StrFormat("epoch %d/%d %s%d/%d  %s  %s samples/s  %s left", epoch_, options_.epochs,
                                           bar, done, options_.batches_per_epoch, means_.Text(),
                                           Thousands(std::llround(rate)), Clock(absl::Seconds(left)));
  if (interactive_) {
    std::cout << "\r\033[K" << line << std::flush;
  } else {
    std::cout << line << std::endl;
  }
}

void TrainProgress::FinishEpoch(const std::string& evaluation) {
  Note(absl::StrFormat("epoch %d/%d  %s%s  %.1f s  %s samples/s", epoch_, options_.epochs, means_.Text(), evaluation,
                       epoch_seconds_, Thousands(std::llround(epoch_samples_ / std::max(1e-9, epoch_seconds_)))));
}

void TrainProgress::OnEvaluate(const Item& item, const v1::EvaluateResult& result) {
  if (item.epoch != epoch_) StartEpoch(item.epoch);
  if (!item.last) return;
  const std::map<std::string, double> metrics(result.metrics().begin(), result.metrics().end());
  FinishEpoch(absl::StrFormat("  validation loss %.4f%s", result.loss(), MetricsText(metrics, "validation ")));
  if (result.stop()) Note("early stopping: the training ends with this epoch");
}

void TrainProgress::OnPublished(const v1::VersionInfo& version) {
  Note(absl::StrFormat("model %s: version %d published from step %d", version.model(), version.version(),
                       version.step()));
}

void TrainProgress::OnFinished(const v1::RunInfo& run) {
  if (skipped_ > 0) Note(absl::StrFormat("%d steps were skipped: loss or gradients were not finite", skipped_));
  Note(absl::StrFormat("run %s: %s after %d steps in %s", run.run(), v1::RunState_Name(run.state()), run.step(),
                       Clock(absl::Now() - started_)));
}

void TrainProgress::OnLost(const absl::Status& why, absl::Duration wait) {
  Note(absl::StrFormat("connection lost (%s); attaching again in %.1f s", OneLine(why), absl::ToDoubleSeconds(wait)));
}

}  // namespace strata::cli
