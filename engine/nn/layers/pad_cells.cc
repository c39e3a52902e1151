// PyTorch's padding with zeros or with cells of the input: one message and one body, where the kind says which cells.
#include "absl/strings/str_cat.h"
#include "engine/nn/component.h"
#include "engine/nn/layers/pad.h"

namespace strata::nn {
namespace {

template <int kAxes, PadKind kKind>
Outputs Build(Scope& s, const v1::PadCells& a, const Args& args) {
  return PadPairs(s, a.padding(), args, kAxes, kKind, 0);
}

template <int kAxes, PadKind kKind>
Component Make(const char* name, TypeRule takes) {
  return Layer<v1::PadCells>(absl::StrCat(name, kAxes, "d"), &Build<kAxes, kKind>)
      .Shapes("x[N, C, spatial...] -> y[N, C, spatial'...]")
      .Takes(takes)
      .With({"padding: 1", {PadSampleShape(kAxes, false)}, v1::PYTORCH})
      .With({"padding: " + PadSamplePairs(2, 1, kAxes), {PadSampleShape(kAxes, false)}, v1::PYTORCH})
      .With({"padding: -1", {PadSampleShape(kAxes, false)}, v1::PYTORCH});
}

template <PadKind kKind>
void Add(const char* name, TypeRule takes, Components* list) {
  list->push_back(Make<1, kKind>(name, takes));
  list->push_back(Make<2, kKind>(name, takes));
  list->push_back(Make<3, kKind>(name, takes));
}

}  // namespace

Components PadCells() {
  Components list;
  Add<PadKind::kCircular>("circular_pad", kAnyType, &list);
  Add<PadKind::kReflect>("reflection_pad", kNumbers, &list);
  Add<PadKind::kReplicate>("replication_pad", kNumbers, &list);
  Add<PadKind::kZero>("zero_pad", kAnyType, &list);
  return list;
}

}  // namespace strata::nn
