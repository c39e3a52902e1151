#include "tests/bench/measure.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <fstream>
#include <sstream>
#include <vector>

namespace strata::bench {
namespace {

constexpr double kNoisy = 0.12, kChunk = 0.3;

double Now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

// Seconds of processor time that the whole machine has spent, and this process.
double SystemBusy() {
  std::ifstream stat("/proc/stat");
  std::string cpu;
  double value[8] = {};
  stat >> cpu;
  for (double& v : value) stat >> v;
  double sum = 0;
  for (double v : value) sum += v;
  return (sum - value[3] - value[4]) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

double OwnBusy() {
  rusage usage;
  getrusage(RUSAGE_SELF, &usage);
  const auto seconds = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return seconds(usage.ru_utime) + seconds(usage.ru_stime);
}

struct Chunk {
  double other = 0, own = 0, wall = 0;
  std::vector<double> times;
};

Chunk RunChunk(const std::function<void()>& step) {
  Chunk c;
  const double busy = SystemBusy(), own = OwnBusy(), begin = Now();
  for (double a = begin; a < begin + kChunk;) {
    step();
    const double b = Now();
    c.times.push_back(b - a);
    a = b;
  }
  c.wall = Now() - begin;
  c.own = (OwnBusy() - own) / c.wall;
  c.other = std::max(0.0, (SystemBusy() - busy) / c.wall - c.own);
  return c;
}

double Percentile(const std::vector<double>& sorted, double p) {
  return sorted[std::min(sorted.size() - 1, static_cast<size_t>(p * static_cast<double>(sorted.size())))];
}

}  // namespace

Figures Measure(const std::function<void()>& step, const Options& options) {
  Figures f;
  double start = Now();
  step();
  f.first_step_ms = (Now() - start) * 1e3;
  start = Now();
  for (int n = 0; n < 3 || Now() - start < options.warm_seconds; ++n) step();
  const double idle_cores = std::max(0.0, static_cast<double>(sysconf(_SC_NPROCESSORS_ONLN)) - options.threads);
  const double limit = kNoisy + 0.9 * idle_cores;
  std::vector<Chunk> quiet, noisy;
  double quiet_seconds = 0;
  const double begin = Now();
  while (quiet_seconds < options.min_seconds) {
    Chunk c = RunChunk(step);
    if (c.other <= limit) {
      quiet_seconds += c.wall;
      quiet.push_back(std::move(c));
    } else {
      noisy.push_back(std::move(c));
    }
    if (Now() - begin > options.patience * options.min_seconds) break;
  }
  f.dropped_chunks = static_cast<int>(noisy.size());
  std::sort(noisy.begin(), noisy.end(), [](const Chunk& a, const Chunk& b) { return a.other < b.other; });
  for (Chunk& c : noisy) {
    if (quiet_seconds >= options.min_seconds) break;
    quiet_seconds += c.wall;
    quiet.push_back(std::move(c));
    --f.dropped_chunks;
  }
  std::vector<double> times;
  double wall = 0;
  for (const Chunk& c : quiet) {
    times.insert(times.end(), c.times.begin(), c.times.end());
    f.other_cpu += c.other * c.wall;
    f.own_cpu += c.own * c.wall;
    wall += c.wall;
  }
  f.other_cpu /= wall;
  f.own_cpu /= wall;
  std::sort(times.begin(), times.end());
  f.steps = static_cast<int64_t>(times.size());
  f.step_ms = Percentile(times, 0.5) * 1e3;
  f.p10 = Percentile(times, 0.1) * 1e3;
  f.p90 = Percentile(times, 0.9) * 1e3;
  double load[1] = {0};
  if (getloadavg(load, 1) == 1) f.load1 = load[0];
  return f;
}

void TakeLock() {
  const char* locked = std::getenv("STRATA_BENCH_LOCKED");
  if (locked != nullptr && std::string(locked) == "1") return;
  const char* path = std::getenv("STRATA_BENCH_LOCK");
  const char* tmp = std::getenv("TMPDIR");
  const std::string file = path != nullptr ? path : std::string(tmp != nullptr ? tmp : "/tmp") + "/bench.lock";
  const int fd = open(file.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0666);
  if (fd >= 0) flock(fd, LOCK_EX);
}

void ResetPeakRss() { std::ofstream("/proc/self/clear_refs") << "5"; }

double PeakRssMb() {
  std::ifstream status("/proc/self/status");
  for (std::string line; std::getline(status, line);) {
    if (line.rfind("VmHWM:", 0) == 0) return std::strtod(line.c_str() + 6, nullptr) / 1024;
  }
  return 0;
}

std::string CpuText() {
  std::ifstream info("/proc/cpuinfo");
  std::string name, features;
  for (std::string line; std::getline(info, line);) {
    if (name.empty() && line.rfind("model name", 0) == 0) name = line.substr(line.find(':') + 2);
    if (line.rfind("flags", 0) == 0) {
      for (const char* f : {"avx2", "avx512f", "avx512_bf16", "avx512_vnni", "amx_bf16"}) {
        if (line.find(std::string(" ") + f) != std::string::npos) features += std::string(" ") + f;
      }
      break;
    }
  }
  std::ostringstream out;
  out << name << " (" << sysconf(_SC_NPROCESSORS_ONLN) << " cores," << features << ")";
  return out.str();
}

}  // namespace strata::bench
