// What Linux knows of this process, read when Prometheus asks.
#pragma once

#include <prometheus/collectable.h>

#include <vector>

namespace strata::service {

// Thread-safe.
class ProcessMetrics final : public prometheus::Collectable {
 public:
  std::vector<prometheus::MetricFamily> Collect() const override;
};

}  // namespace strata::service
