// One record for each component: what becomes of it in the other dialect. The records stand beside their rules, in
// rules/, and table.cc puts them together.
#pragma once

#include <string>
#include <vector>

#include "engine/convert/site.h"

namespace strata::convert {

// How a component looks at the axes of its inputs: decides in which order a model's inputs are taken, and what Apply
// does.
enum class Axes : uint8_t {
  kEach,     // element by element: any order, and the output has it too
  kPlain,    // axes have meanings of their own: the old order
  kSpatial,  // a channel axis and spatial axes
  kNormal,   // a channel axis that the other dialect may want elsewhere; says nothing of an input's order
};

struct WeightPair {
  const char* pytorch;
  const char* keras;
  Recipe to_pytorch = Copy();
  Recipe to_keras = Copy();
};

struct Record {
  std::string kind;  // member of Layer.kind in the old model
  v1::Dialect from;  // DIALECT_UNSPECIFIED: both
  Axes axes = Axes::kPlain;
  // Either: the component that it becomes, whose fields are copied, and its weights where it has them.
  std::string to;
  std::vector<WeightPair> weights = {};
  // Or: its rule.
  void (*rule)(Site&) = nullptr;
  // Or: why there is no counterpart.
  std::string reason = {};
};

// The record of a layer's kind; null if there is none (nested models).
const Record* FindRecord(v1::Dialect from, const std::string& kind);
const std::vector<Record>& Records();

void Apply(const Record& record, Site& site);

// The records of each file in rules/.
std::vector<Record> LinearRecords();
std::vector<Record> ActivationRecords();
std::vector<Record> ShapeRecords();
std::vector<Record> ReduceRecords();
std::vector<Record> MergeRecords();
std::vector<Record> ConvRecords();
std::vector<Record> ConvTransposeRecords();
std::vector<Record> PoolRecords();
std::vector<Record> PadRecords();
std::vector<Record> NormRecords();
std::vector<Record> RecurrentRecords();
std::vector<Record> WrapperRecords();
std::vector<Record> AttentionRecords();
std::vector<Record> OtherRecords();

// ---- what rules share

// The argument as it stands, for components that work on each element: its edge, without a new order.
v1::Edge AsItStands(Site& s, int i);
// The activation field of Keras' layers, after `edge`: identity adds nothing. Returns what the layer puts out.
struct Activated {
  v1::Edge edge;
  bool non_negative = false;
};
Activated Activate(Site& s, const v1::Activation& activation, const v1::Edge& edge, const Layout& layout);

// Windows of spatial layers, one entry for each spatial axis.
struct Window {
  std::vector<int64_t> size, stride, dilation;
  std::vector<int64_t> lo, hi;  // padding
  int64_t reach(size_t i) const { return dilation[i] * (size[i] - 1) + 1; }
};
template <typename List>
std::vector<int64_t> PerAxis(const List& list, size_t axes, const std::vector<int64_t>& otherwise) {
  if (list.empty()) return otherwise;
  std::vector<int64_t> out(list.begin(), list.end());
  if (out.size() == 1) out.assign(axes, out[0]);
  return out;
}
// Sizes of the spatial axes of argument 0 in the old model.
std::vector<int64_t> SpatialSizes(Site& s);
// Padding of each axis, by numbers or by Keras' rules; PyTorch's "same" is Keras' at stride 1.
void FillPadding(const v1::Padding& padding, const std::vector<int64_t>& sizes, Window* window);
// New cells of zero (negative: cropped) around the spatial axes of a value in the new model.
v1::Edge PadSpatial(Site& s, const v1::Edge& edge, const std::vector<int64_t>& lo, const std::vector<int64_t>& hi);
// One number if all are equal.
void SetList(const std::vector<int64_t>& values, google::protobuf::RepeatedField<int64_t>* list);
bool AllEqual(const std::vector<int64_t>& values, int64_t value);

}  // namespace strata::convert
