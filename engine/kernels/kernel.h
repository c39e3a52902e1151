// Kernels: what runs a node. A kernel is immutable and thread-safe; what it needs per run stands in the caller's
// context.
//
// For each op there is an ordered list of candidates, the reference last. A candidate that declines says why:
//
//   Selection s = SelectKernel(graph, node, {.threads = 2});
//   s.kernel->name();   // "onednn_conv"
//   s.declined;         // {"small_matmul: 64x784x256 is too large"}
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/base/status.h"
#include "engine/graph/graph.h"

namespace strata {

// Objects that one execution context keeps for one kernel between runs (oneDNN's memory objects, a scan's own context).
struct KernelState {
  virtual ~KernelState() = default;
  // Of kernels that run steps of their own: see Context.
  virtual void StartProfile() {}
  virtual std::string Profile() const { return {}; }
};

struct KernelArgs {
  const void* const* in;
  void* const* out;
  void* const* variables;  // of the session, by index: for results that are written in place
  void* scratch;           // scratch_bytes(), 64-byte aligned
  KernelState* state;      // made by MakeState of the same kernel
};

class Kernel {
 public:
  virtual ~Kernel() = default;
  virtual void Run(const KernelArgs& args) const = 0;
  virtual const char* name() const = 0;
  virtual int64_t scratch_bytes() const { return 0; }
  // Bytes of constant operands that the kernel holds in a layout of its own.
  virtual int64_t packed_bytes() const { return 0; }
  virtual std::unique_ptr<KernelState> MakeState() const { return nullptr; }
  // Called when steady operands have changed, before the runs that read them: brings them to a layout of the kernel's
  // own, in the state.
  virtual void Pack(const KernelArgs& /*args*/) const {}
  // The work by ranges of rows, where results (but for sums of all rows) fall into `rows` equal rows along their first
  // axes, and operands likewise or not at all. After Cut, before which nothing asks for scratch_bytes(), Run is RunRows
  // for every part, in any order: part p is rows [p rows_a_part, (p + 1) rows_a_part); then FinishRows.
  virtual bool CanCut(int64_t /*rows*/) const { return false; }
  virtual void Cut(int64_t /*rows*/, int64_t /*rows_a_part*/) { STRATA_CHECK(false); }
  virtual void RunRows(const KernelArgs& /*args*/, int64_t /*part*/) const { STRATA_CHECK(false); }
  virtual void FinishRows(const KernelArgs& /*args*/) const { STRATA_CHECK(false); }
  // Output `output` may share the memory of input `input` (same size).
  virtual bool CanOverwrite(int /*input*/, int /*output*/) const { return false; }
};

struct KernelOptions {
  int threads = 1;
  // Large products and convolutions take bfloat16 copies of their operands. Needs CpuHasBf16().
  bool bf16 = false;
  bool reference_only = false;
  // By value: whether it stays the same over many runs (a scan's weights).
  const std::vector<bool>* steady = nullptr;
  // By value: elements from one row, along the last axis, to the next, where they do not follow each other; else 0.
  const std::vector<int64_t>* rows_apart = nullptr;
};

bool CpuHasBf16();
// The widest vectors that kernels use here: "avx2", "avx512" or "avx512_bf16". Equal bits need an equal one.
std::string InstructionSet();

struct Selection {
  std::unique_ptr<Kernel> kernel;
  std::vector<std::string> declined;
};

Selection SelectKernel(const Graph& graph, const Node& node, const KernelOptions& options);
// Whether the node's kernel can read f32 operands whose rows do not follow each other.
bool ReadsRowsApart(const Graph& graph, const Node& node);

// A candidate returns null and a reason if it cannot run the node.
struct KernelRequest {
  const Graph& graph;
  const Node& node;
  int threads;
  const std::vector<bool>* steady = nullptr;
  bool bf16 = false;
  const std::vector<int64_t>* rows_apart = nullptr;

  // The value of an operand that never changes; null if it may. It lives as long as the plan's graph.
  const Tensor* Constant(int i) const {
    const Node& n = graph.producer(node.inputs[i]);
    return n.op == Op::kConstant ? n.as<LiteralAttrs>().value.get() : nullptr;
  }
  bool IsSteady(int i) const { return steady != nullptr && (*steady)[node.inputs[i]]; }
  // See KernelOptions: for nodes of which ReadsRowsApart() is true.
  int64_t RowsApart(int i) const { return rows_apart == nullptr ? 0 : (*rows_apart)[node.inputs[i]]; }
  const ValueInfo& in(int i) const { return graph.info(node.inputs[i]); }
  const ValueInfo& out(int i) const { return graph.info(node.outputs[i]); }
};
using Candidate = std::unique_ptr<Kernel> (*)(const KernelRequest& request, std::string* why);

// Candidates, by file.
std::unique_ptr<Kernel> MakeReferenceKernel(const KernelRequest& r, std::string* why);
std::unique_ptr<Kernel> MakeFusedKernel(const KernelRequest& r, std::string* why);
// The kernel of a fused program over the operands of any node.
std::unique_ptr<Kernel> MakeProgramKernel(const KernelRequest& r, const FusedAttrs& program, const char* name,
                                          std::string* why);
std::unique_ptr<Kernel> MakeElementwiseKernel(const KernelRequest& r, std::string* why);  // fused, of one instruction
std::unique_ptr<Kernel> MakeIntegerKernel(const KernelRequest& r, std::string* why);
std::unique_ptr<Kernel> MakeSmallMatMulKernel(const KernelRequest& r, std::string* why);
std::unique_ptr<Kernel> MakePanelMatMulKernel(const KernelRequest& r, std::string* why);
std::unique_ptr<Kernel> MakeDnnlMatMulKernel(const KernelRequest& r, std::string* why);
std::unique_ptr<Kernel> MakeThinConvKernel(const KernelRequest& r, std::string* why);
std::unique_ptr<Kernel> MakeWinogradKernel(const KernelRequest& r, std::string* why);
std::unique_ptr<Kernel> MakeConvKernel(const KernelRequest& r, std::string* why);
std::unique_ptr<Kernel> MakePoolKernel(const KernelRequest& r, std::string* why);
std::unique_ptr<Kernel> MakeReduceKernel(const KernelRequest& r, std::string* why);
std::unique_ptr<Kernel> MakeSoftmaxKernel(const KernelRequest& r, std::string* why);
std::unique_ptr<Kernel> MakeCopyKernel(const KernelRequest& r, std::string* why);
std::unique_ptr<Kernel> MakeGatherKernel(const KernelRequest& r, std::string* why);
std::unique_ptr<Kernel> MakeRandomKernel(const KernelRequest& r, std::string* why);
// Defined in exec/scan.cc: it runs the plan of the body.
std::unique_ptr<Kernel> MakeScanKernel(const KernelRequest& r, std::string* why);

}  // namespace strata
