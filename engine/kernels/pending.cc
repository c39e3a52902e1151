// Kernels that do not exist yet decline; the reference runs the node.
#include "engine/kernels/kernel.h"

namespace strata {

#define STRATA_PENDING(name)                                             \
  std::unique_ptr<Kernel> name(const KernelRequest&, std::string* why) { \
    *why = #name ": not written";                                        \
    return nullptr;                                                      \
  }
STRATA_PENDING(MakeConvKernel)
STRATA_PENDING(MakePoolKernel)
STRATA_PENDING(MakeReduceKernel)
STRATA_PENDING(MakeSoftmaxKernel)
STRATA_PENDING(MakeCopyKernel)
STRATA_PENDING(MakeGatherKernel)
STRATA_PENDING(MakeRandomKernel)

}  // namespace strata
