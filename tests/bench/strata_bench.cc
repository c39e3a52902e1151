// Times training steps and predictions in process; one JSON line for each figure, with the fields of the peers'
// scripts.
//
//   strata-bench --workload=mlp,tiny --kind=train --threads=1,2
//   strata-bench --kind=layer --layers=tests/bench/layers.json --workload="Conv2d 3x3,LSTM"
//   strata-bench --kind=overhead              what the executor adds to each kernel
//   strata-bench --quick                      a fraction of a second for each: that everything runs
#include <algorithm>
#include <cstdio>
#include <memory>

#include "absl/flags/flag.h"
#include "absl/flags/parse.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_split.h"
#include "engine/session.h"
#include "tests/bench/layers.h"
#include "tests/bench/measure.h"
#include "tests/bench/overhead.h"
#include "tests/bench/workloads.h"

ABSL_FLAG(std::string, workload, "", "Comma-separated workloads; empty: all.");
ABSL_FLAG(std::string, kind, "train,infer", "Any of train, infer, layer and overhead.");
ABSL_FLAG(std::string, layers, "tests/bench/layers.json", "The layers of --kind=layer.");
ABSL_FLAG(std::string, threads, "1,2", "Thread counts.");
ABSL_FLAG(std::string, batch, "", "Batch sizes; empty: the workload's own (training), 1 and 32 (inference).");
ABSL_FLAG(std::string, precision, "f32", "f32 or bf16: what training computes products and convolutions in.");
ABSL_FLAG(double, seconds, 3, "Seconds of quiet steps for each figure.");
ABSL_FLAG(std::string, data, "/usr/share/datasets/fashion-mnist", "Folder of the Fashion-MNIST files.");
ABSL_FLAG(bool, profile, false, "After each figure, the time of every step of the plan on standard error.");
ABSL_FLAG(bool, quick, false, "Short and noisy figures.");

namespace strata::bench {
namespace {

std::vector<std::string> List(const std::string& text) { return absl::StrSplit(text, ',', absl::SkipEmpty()); }

std::vector<int64_t> Numbers(const std::string& text) {
  std::vector<int64_t> out;
  for (const std::string& s : List(text)) {
    int64_t v = 0;
    if (absl::SimpleAtoi(s, &v)) out.push_back(v);
  }
  return out;
}

void Fail(const absl::Status& status) {
  std::fprintf(stderr, "strata-bench: %s\n", status.ToString().c_str());
  std::exit(1);
}

void Print(const std::string& kind, const std::string& workload, int64_t batch, int threads, const Figures& f,
           double first, double last) {
  std::printf(
      "{\"framework\": \"strata\", \"version\": \"0.1.0\", \"kind\": \"%s\", \"workload\": \"%s\", \"batch\": %ld, "
      "\"threads\": %d, "
      "\"precision\": \"%s\", \"mode\": \"%s\", \"step_ms\": %.5g, \"p10\": %.5g, \"p90\": %.5g, \"samples_per_s\": "
      "%.6g, "
      "\"peak_rss_mb\": %.1f, \"loss_first\": %.5g, \"loss_last\": %.5g, \"steps\": %ld, \"load1\": %.2f, "
      "\"other_cpu\": %.3f, "
      "\"own_cpu\": %.2f, \"dropped_chunks\": %d, \"first_step_ms\": %.5g, \"gflops\": %.4g, \"cpu\": \"%s\"}\n",
      kind.c_str(), workload.c_str(), static_cast<long>(batch), threads,
      kind == "train" ? absl::GetFlag(FLAGS_precision).c_str() : "f32", kind == "train" ? "session" : "version",
      f.step_ms, f.p10, f.p90, static_cast<double>(batch) / f.step_ms * 1e3, PeakRssMb(), first, last,
      static_cast<long>(f.steps), f.load1, f.other_cpu, f.own_cpu, f.dropped_chunks, f.first_step_ms,
      Flops(workload, batch, kind == "train") / f.step_ms * 1e-6, CpuText().c_str());
  std::fflush(stdout);
}

Options TimingOptions(int threads) {
  Options o{.min_seconds = absl::GetFlag(FLAGS_seconds), .threads = threads};
  if (absl::GetFlag(FLAGS_quick)) o = {.min_seconds = 0.05, .warm_seconds = 0.02, .patience = 1, .threads = threads};
  return o;
}

std::vector<NamedViews> ViewsOf(const std::vector<NamedTensors>& batches, bool with_target) {
  std::vector<NamedViews> out;
  for (const NamedTensors& batch : batches) {
    NamedViews views;
    for (const auto& [name, t] : batch) {
      if (with_target || name != "target") views[name] = t.view();
    }
    out.push_back(std::move(views));
  }
  return out;
}

void Train(const Workload& w, int64_t batch, int threads) {
  auto batches = MakeBatches(w.name, batch, w.name == "mlp" || w.name == "convnet" ? 32 : 8, absl::GetFlag(FLAGS_data));
  if (!batches.ok()) Fail(batches.status());
  const std::vector<NamedViews> views = ViewsOf(*batches, true);
  ResetPeakRss();
  v1::TrainingConfig config = w.config;
  if (absl::GetFlag(FLAGS_precision) == "bf16") config.set_precision(v1::BF16_MIXED);
  auto session = TrainSession::Create(w.model, config, {.threads = threads, .profile = absl::GetFlag(FLAGS_profile)});
  if (!session.ok()) Fail(session.status());
  double first = 0, last = 0;
  size_t next = 0;
  const Figures f = Measure(
      [&] {
        auto out = (*session)->Step(views[next++ % views.size()]);
        if (!out.ok()) Fail(out.status());
        last = out->loss;
        if (next == 1) first = last;
      },
      TimingOptions(threads));
  Print("train", w.name, batch, threads, f, first, last);
  std::fputs((*session)->Profile().c_str(), stderr);
}

void Infer(const Workload& w, int64_t batch, int threads) {
  auto batches = MakeBatches(w.name, batch, 8, absl::GetFlag(FLAGS_data));
  if (!batches.ok()) Fail(batches.status());
  const std::vector<NamedViews> views = ViewsOf(*batches, false);
  auto session = TrainSession::Create(w.model, w.config, {});
  if (!session.ok()) Fail(session.status());
  ResetPeakRss();
  auto version =
      Version::Create(w.model, (*session)->Weights(), {.threads = threads, .profile = absl::GetFlag(FLAGS_profile)});
  if (!version.ok()) Fail(version.status());
  session->reset();
  double last = 0;
  size_t next = 0;
  const Figures f = Measure(
      [&] {
        auto out = (*version)->Predict(views[next++ % views.size()]);
        if (!out.ok()) Fail(out.status());
        last = out->begin()->second.At(0);
      },
      TimingOptions(threads));
  Print("infer", w.name, batch, threads, f, last, last);
  std::fputs((*version)->Profile().c_str(), stderr);
}

// Forward and backward of single layers.
void Layers(const std::vector<std::string>& names, int threads) {
  const auto cases = ReadLayerCases(absl::GetFlag(FLAGS_layers));
  if (!cases.ok()) Fail(cases.status());
  for (const LayerCase& c : *cases) {
    if (!names.empty() && std::find(names.begin(), names.end(), c.name) == names.end()) continue;
    const auto step = LayerStep::Create(c, threads);
    if (!step.ok()) {
      std::fprintf(stderr, "strata-bench: %s: %s\n", c.name.c_str(), step.status().ToString().c_str());
      continue;
    }
    if (absl::GetFlag(FLAGS_profile)) (*step)->StartProfile();
    Print("layer", c.name, 1, threads, Measure([&] { (*step)->Run(); }, TimingOptions(threads)), 0, 0);
    if (absl::GetFlag(FLAGS_profile)) std::fputs((*step)->Profile().c_str(), stderr);
  }
}

// Microseconds of one node of a plan, and of one step of a scan, whose kernels do next to nothing.
void Overhead() {
  for (const auto& [name, step] : {std::pair("node", NodeOverhead()), std::pair("scan_step", ScanOverhead())}) {
    const Figures f = Measure(step.run, TimingOptions(1));
    std::printf("{\"framework\": \"strata\", \"kind\": \"overhead\", \"workload\": \"%s\", \"us\": %.4g}\n", name,
                f.step_ms * 1e3 / step.count);
  }
}

}  // namespace

int Main(int argc, char** argv) {
  absl::ParseCommandLine(argc, argv);
  TakeLock();
  const std::vector<std::string> workloads = List(absl::GetFlag(FLAGS_workload));
  const std::vector<int64_t> given = Numbers(absl::GetFlag(FLAGS_batch));
  for (const std::string& kind : List(absl::GetFlag(FLAGS_kind))) {
    if (kind == "layer") {
      for (int64_t threads : Numbers(absl::GetFlag(FLAGS_threads))) Layers(workloads, static_cast<int>(threads));
      continue;
    }
    if (kind == "overhead") {
      Overhead();
      continue;
    }
    for (const std::string& name : workloads.empty() ? WorkloadNames() : workloads) {
      const auto w = MakeWorkload(name);
      if (!w.ok()) Fail(w.status());
      for (int64_t threads : Numbers(absl::GetFlag(FLAGS_threads))) {
        const std::vector<int64_t> own = kind == "train" ? w->train_batches : std::vector<int64_t>{1, 32};
        for (int64_t batch : given.empty() ? own : given) {
          kind == "train" ? Train(*w, batch, static_cast<int>(threads)) : Infer(*w, batch, static_cast<int>(threads));
        }
      }
    }
  }
  return 0;
}

}  // namespace strata::bench

int main(int argc, char** argv) { return strata::bench::Main(argc, argv); }
