#include "engine/base/status.h"
#include "engine/kernels/kernel.h"

namespace strata {
namespace {

// The candidates of an op, best first.
std::vector<Candidate> CandidatesOf(Op op) {
  switch (op) {
    case Op::kFused:
      return {MakeFusedKernel};
    case Op::kMatMul:
      return {MakeSmallMatMulKernel, MakePanelMatMulKernel, MakeDnnlMatMulKernel};
    case Op::kConv:
      return {MakeThinConvKernel, MakeWinogradKernel, MakeConvKernel};
    case Op::kConvGradInput:
    case Op::kConvGradWeight:
      return {MakeWinogradKernel, MakeConvKernel};
    case Op::kMaxPool:
    case Op::kMaxPoolGrad:
    case Op::kSumPool:
    case Op::kSumPoolGrad:
      return {MakePoolKernel};
    case Op::kReduceSum:
    case Op::kReduceMax:
    case Op::kReduceMin:
    case Op::kArgMax:
      return {MakeReduceKernel};
    case Op::kSoftmax:
    case Op::kLogSoftmax:
      return {MakeSoftmaxKernel};
    case Op::kTranspose:
    case Op::kPad:
    case Op::kSlice:
    case Op::kConcat:
    case Op::kBroadcast:
    case Op::kReverse:
      return {MakeCopyKernel};
    case Op::kGather:
    case Op::kScatterAdd:
      return {MakeGatherKernel};
    case Op::kRandom:
      return {MakeRandomKernel};
    case Op::kScan:
      return {MakeScanKernel};
    default:
      if (IsElementwise(op)) return {MakeElementwiseKernel, MakeIntegerKernel};
      return {};
  }
}

}  // namespace

bool CpuHasBf16() { return __builtin_cpu_supports("avx512bf16") != 0; }

std::string InstructionSet() {
  return CpuHasBf16() ? "avx512_bf16" : __builtin_cpu_supports("avx512bw") != 0 ? "avx512" : "avx2";
}

Selection SelectKernel(const Graph& graph, const Node& node, const KernelOptions& options) {
  Selection s;
  const KernelRequest request{graph, node, options.threads, options.steady, options.bf16, options.rows_apart};
  if (!options.reference_only || node.op == Op::kFused || node.op == Op::kScan) {
    for (const Candidate candidate : CandidatesOf(node.op)) {
      std::string why;
      s.kernel = candidate(request, &why);
      if (s.kernel != nullptr) return s;
      s.declined.push_back(std::move(why));
    }
  }
  std::string why;
  s.kernel = MakeReferenceKernel(request, &why);
  STRATA_CHECK(s.kernel != nullptr);
  return s;
}

bool ReadsRowsApart(const Graph& graph, const Node& node) {
  std::string why;
  return node.op == Op::kFused && MakeFusedKernel({graph, node, 1}, &why) != nullptr;
}

}  // namespace strata
