// oneDNN, in this folder only: primitives are made with the plan's number of threads, memory objects belong to the
// execution context, scratch memory is the plan's. What oneDNN throws is caught where primitives are made; execution
// uses the C interface, which throws nothing and allocates nothing.
#pragma once

#include <omp.h>

#include <string>
#include <vector>

#include "engine/base/status.h"
#include "engine/kernels/kernel.h"
#include "oneapi/dnnl/dnnl.hpp"

namespace strata {

inline const dnnl::engine& CpuEngine() {
  static const dnnl::engine* const engine = new dnnl::engine(dnnl::engine::kind::cpu, 0);
  return *engine;
}

// Primitives are made for one thread: kernels cut their work into chunks of fixed sizes, one primitive call each.
class OneThreadScope {
 public:
  OneThreadScope() : before_(omp_get_max_threads()) { omp_set_num_threads(1); }
  ~OneThreadScope() { omp_set_num_threads(before_); }

 private:
  int before_;
};

// How many chunks (a power of two, at most 8) an amount of work is cut into: each at least `least` multiply-adds, and
// no more than `most` chunks.
inline int64_t CountChunks(int64_t work, int64_t least, int64_t most) {
  int64_t n = 1;
  while (n < 8 && 2 * n <= most && work / (2 * n) >= least) n *= 2;
  return n;
}

// The memory objects and argument list of one primitive in one context.
class DnnlArguments {
 public:
  explicit DnnlArguments(dnnl::primitive primitive) : primitive_(std::move(primitive)), stream_(CpuEngine()) {}

  void Add(int argument, const dnnl::memory::desc& desc) {
    memory_.emplace_back(desc, CpuEngine(), nullptr);
    pointers_.push_back(nullptr);
    list_.push_back({argument, memory_.back().get()});
  }
  void Point(size_t i, const void* data) {
    if (pointers_[i] == data) return;
    pointers_[i] = data;
    STRATA_CHECK(dnnl_memory_set_data_handle(memory_[i].get(), const_cast<void*>(data)) == dnnl_success);
  }
  void Execute() {
    STRATA_CHECK(dnnl_primitive_execute(primitive_.get(), stream_.get(), static_cast<int>(list_.size()),
                                        list_.data()) == dnnl_success);
  }

 private:
  dnnl::primitive primitive_;
  dnnl::stream stream_;
  std::vector<dnnl::memory> memory_;
  std::vector<const void*> pointers_;
  std::vector<dnnl_exec_arg_t> list_;
};

inline dnnl::primitive_attr UserScratchpad() {
  dnnl::primitive_attr attr;
  attr.set_scratchpad_mode(dnnl::scratchpad_mode::user);
  return attr;
}

inline int64_t RoundUp64(int64_t bytes) { return (bytes + 63) / 64 * 64; }

// Memory for a descriptor of f32.
inline Tensor BufferOf(const dnnl::memory::desc& d) {
  return Tensor(DType::kF32, {(static_cast<int64_t>(d.get_size()) + 3) / 4});
}

// `from`'s elements in the layout of another descriptor.
inline Tensor Reordered(const void* data, const dnnl::memory::desc& from, const dnnl::memory::desc& to) {
  Tensor out = BufferOf(to);
  dnnl::stream stream(CpuEngine());
  const dnnl::memory source(from, CpuEngine(), const_cast<void*>(data)), target(to, CpuEngine(), out.raw());
  dnnl::reorder(source, target).execute(stream, const_cast<dnnl::memory&>(source), const_cast<dnnl::memory&>(target));
  stream.wait();
  return out;
}

}  // namespace strata
