// Uniform numbers, the bits of the reference.
#include "engine/base/philox.h"
#include "engine/kernels/kernel.h"
#include "engine/kernels/parallel.h"
#include "engine/kernels/vector_ops.h"

namespace strata {
namespace {

class RandomKernel : public Kernel {
 public:
  explicit RandomKernel(const KernelRequest& r)
      : stream_(r.node.as<RandomAttrs>().stream), count_(NumElements(r.out(0).shape)), threads_(r.threads) {}
  const char* name() const override { return "philox"; }

  void Run(const KernelArgs& args) const override {
    const int64_t* state = static_cast<const int64_t*>(args.in[0]);
    const uint64_t key = stream_ ^ static_cast<uint64_t>(state[0]) * 0x9E3779B97F4A7C15;
    const uint64_t step = static_cast<uint64_t>(state[1]);
    float* y = static_cast<float*>(args.out[0]);
    const VectorOps& v = GetVectorOps();
    ParallelChunks(threads_, count_, 16384, [&](int64_t from, int64_t to) {
      v.uniform(y + from, key, static_cast<uint64_t>(from / 4), step, static_cast<size_t>(to - from));
    });
  }

 private:
  uint64_t stream_;
  int64_t count_;
  int threads_;
};

}  // namespace

std::unique_ptr<Kernel> MakeRandomKernel(const KernelRequest& r, std::string*) {
  return std::make_unique<RandomKernel>(r);
}

}  // namespace strata
