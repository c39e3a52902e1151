// The table of all records.
#include <map>
#include <utility>

#include "absl/strings/str_cat.h"
#include "engine/convert/rule.h"
#include "engine/nn/schema.h"

namespace strata::convert {
namespace {

std::vector<Record> AllRecords() {
  std::vector<Record> all;
  for (std::vector<Record> (*records)() :
       {&LinearRecords, &ActivationRecords, &ShapeRecords, &ReduceRecords, &MergeRecords, &ConvRecords,
        &ConvTransposeRecords, &PoolRecords, &PadRecords, &NormRecords, &RecurrentRecords, &WrapperRecords,
        &AttentionRecords, &OtherRecords}) {
    for (Record& r : records()) all.push_back(std::move(r));
  }
  return all;
}

void RefuseNamed(Site& s) {
  s.Refuse("", absl::StrCat("its argument ", s.named().begin()->first, " has no counterpart in ", DialectWord(s.to())));
}

// A component whose fields are copied.
void Copied(const Record& record, Site& s) {
  const Made made = [&]() -> Made {
    const v1::Layer layer = s.Draft(record.to);
    std::vector<v1::Edge> args;
    for (int i = 0; i < s.num_args(); ++i) {
      args.push_back(record.axes == Axes::kEach      ? AsItStands(s, i)
                     : record.axes == Axes::kSpatial ? s.In(i, s.SpatialAxes(s.rank(i)))
                                                     : s.Plain(i));
    }
    return s.Main(layer, args);
  }();
  for (const WeightPair& w : record.weights) {
    const char* old = s.to_pytorch() ? w.keras : w.pytorch;
    for (const nn::ParamSpec& p : s.params()) {
      if (p.name != old) continue;
      s.Move(made, s.to_pytorch() ? w.pytorch : w.keras, {old}, s.to_pytorch() ? w.to_pytorch : w.to_keras);
    }
  }
  const Operand& x = s.arg(0);
  if (record.axes == Axes::kEach) return s.Put(made.edge, x.layout, x.non_negative);
  const int rank = static_cast<int>(s.results()[0].shape.size());
  s.Put(made.edge, record.axes == Axes::kSpatial ? Layout{s.SpatialAxes(rank), {}, {}} : Layout::Plain(rank),
        record.axes == Axes::kSpatial && x.non_negative);
}

}  // namespace

const std::vector<Record>& Records() {
  static const auto& all = *new std::vector<Record>(AllRecords());
  return all;
}

const Record* FindRecord(v1::Dialect from, const std::string& kind) {
  static const auto& index = *new auto([] {
    std::map<std::pair<v1::Dialect, std::string>, const Record*> map;
    for (const Record& r : Records()) {
      for (v1::Dialect d : {v1::PYTORCH, v1::KERAS}) {
        if (r.from == d || r.from == v1::DIALECT_UNSPECIFIED) map[{d, r.kind}] = &r;
      }
    }
    return map;
  }());
  const auto it = index.find({from, kind});
  return it == index.end() ? nullptr : it->second;
}

void Apply(const Record& record, Site& site) {
  if (record.rule != nullptr) {
    record.rule(site);
    // Only what is the same text in both dialects has the same arguments by name.
    if (!site.named().empty() && !site.failed() && !site.layer().has_custom()) RefuseNamed(site);
    return;
  }
  if (!site.named().empty()) RefuseNamed(site);
  if (record.to.empty()) {
    return site.Refuse("", absl::StrCat("has no counterpart in ", DialectWord(site.to()),
                                        record.reason.empty() ? "" : ": ", record.reason));
  }
  Copied(record, site);
}

v1::Edge AsItStands(Site& s, int i) {
  Operand& x = s.arg(i);
  return x.layout.flat.empty() ? s.In(i, x.layout.axes) : x.edge;
}

bool AllEqual(const std::vector<int64_t>& values, int64_t value) {
  for (int64_t v : values) {
    if (v != value) return false;
  }
  return true;
}

void SetList(const std::vector<int64_t>& values, google::protobuf::RepeatedField<int64_t>* list) {
  list->Clear();
  if (!values.empty() && AllEqual(values, values[0])) {
    list->Add(values[0]);
  } else {
    list->Add(values.begin(), values.end());
  }
}

}  // namespace strata::convert
