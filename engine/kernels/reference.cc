// The last candidate of every op: the double-precision reference, with conversions around it.
#include "engine/ops/reference.h"
#include "engine/kernels/kernel.h"
#include "engine/ops/record.h"

namespace strata {
namespace {

class ReferenceKernel : public Kernel {
 public:
  ReferenceKernel(const KernelRequest& r) : op_(r.node.op), attrs_(r.node.attrs) {
    for (ValueId v : r.node.inputs) in_.push_back(r.graph.info(v));
    for (ValueId v : r.node.outputs) {
      out_.push_back(r.graph.info(v));
      types_.push_back(r.graph.info(v).dtype);
    }
  }
  const char* name() const override { return "reference"; }

  void Run(const KernelArgs& args) const override {
    std::vector<RefTensor> in, out;
    std::vector<const RefTensor*> pointers;
    for (size_t i = 0; i < in_.size(); ++i) in.push_back(ToRef({in_[i].dtype, in_[i].shape, args.in[i]}));
    for (const RefTensor& t : in) pointers.push_back(&t);
    for (const ValueInfo& v : out_) out.push_back({v.shape, std::vector<double>(NumElements(v.shape), 0.0)});
    RecordOf(op_).reference(attrs_, pointers, out, types_);
    for (size_t i = 0; i < out_.size(); ++i) {
      const Tensor t = FromRef(out[i], out_[i].dtype);
      std::copy_n(static_cast<const char*>(t.raw()), t.size_bytes(), static_cast<char*>(args.out[i]));
    }
  }

 private:
  Op op_;
  Attrs attrs_;
  std::vector<ValueInfo> in_, out_;
  std::vector<DType> types_;
};

}  // namespace

std::unique_ptr<Kernel> MakeReferenceKernel(const KernelRequest& r, std::string*) {
  return std::make_unique<ReferenceKernel>(r);
}

}  // namespace strata
