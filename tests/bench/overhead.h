// What the executor adds to its kernels: a chain of products of one number each, as nodes of one plan and as steps of a
// scan.
#pragma once

#include <functional>

namespace strata::bench {

struct OverheadStep {
  std::function<void()> run;
  int count;  // nodes, or time steps
};

OverheadStep NodeOverhead();
OverheadStep ScanOverhead();

}  // namespace strata::bench
