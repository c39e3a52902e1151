#include "service/obs/process.h"

#include <dirent.h>
#include <prometheus/metric_family.h>
#include <sys/resource.h>
#include <unistd.h>

#include <fstream>
#include <sstream>
#include <string>

namespace strata::service {
namespace {

prometheus::MetricFamily One(const char* name, const char* help, prometheus::MetricType type, double value) {
  prometheus::ClientMetric metric;
  if (type == prometheus::MetricType::Counter) {
    metric.counter.value = value;
  } else {
    metric.gauge.value = value;
  }
  return {name, help, type, {metric}};
}

double CountEntries(const char* path) {
  DIR* dir = opendir(path);
  if (dir == nullptr) return 0;
  double count = -3;  // ".", ".." and the descriptor of this listing
  while (readdir(dir) != nullptr) ++count;
  closedir(dir);
  return count;
}

// Seconds since 1970 at which the machine started.
double BootTime() {
  std::ifstream file("/proc/stat");
  std::string word;
  double value = 0;
  while (file >> word) {
    if (word == "btime" && file >> value) break;
  }
  return value;
}

}  // namespace

std::vector<prometheus::MetricFamily> ProcessMetrics::Collect() const {
  using prometheus::MetricType;
  std::ifstream file("/proc/self/stat");
  std::string line;
  std::getline(file, line);
  // The second field is the program's name in parentheses and may hold blanks.
  std::istringstream rest(line.substr(line.rfind(')') + 1));
  std::vector<double> fields(3);  // counted from 1 as proc(5) does; the first that follows is number 3
  std::string word;
  while (rest >> word) fields.push_back(std::atof(word.c_str()));
  if (fields.size() < 25) return {};
  const double ticks = static_cast<double>(sysconf(_SC_CLK_TCK));
  const double page = static_cast<double>(sysconf(_SC_PAGESIZE));
  rlimit files{};
  getrlimit(RLIMIT_NOFILE, &files);
  return {
      One("process_cpu_seconds_total", "User and system time.", MetricType::Counter, (fields[14] + fields[15]) / ticks),
      One("process_threads", "Threads.", MetricType::Gauge, fields[20]),
      One("process_start_time_seconds", "When the process started, since 1970.", MetricType::Gauge,
          BootTime() + fields[22] / ticks),
      One("process_virtual_memory_bytes", "Address space.", MetricType::Gauge, fields[23]),
      One("process_resident_memory_bytes", "Memory in RAM.", MetricType::Gauge, fields[24] * page),
      One("process_open_fds", "Open file descriptors.", MetricType::Gauge, CountEntries("/proc/self/fd")),
      One("process_max_fds", "Most file descriptors that may be open.", MetricType::Gauge,
          static_cast<double>(files.rlim_cur)),
  };
}

}  // namespace strata::service
