// A model in the other dialect predicts the same: each pair of components, and whole models in both directions.
#include "engine/convert/convert.h"

#include <gtest/gtest.h>

#include <set>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "engine/convert/rule.h"
#include "engine/nn/component.h"
#include "engine/nn/schema.h"
#include "engine/session.h"
#include "google/protobuf/text_format.h"
#include "google/protobuf/util/message_differencer.h"
#include "tests/engine/convert_support.h"

namespace strata {
namespace {

// ------------------------------------------------------------------------------------------------- each component

// A model of one layer for a sample of the catalog.
v1::Model ModelFor(const nn::Component& component, const nn::Sample& sample, v1::Dialect dialect) {
  v1::Model model;
  model.set_name("sample");
  model.set_dialect(dialect);
  v1::Layer* layer = model.add_layers();
  EXPECT_TRUE(
      google::protobuf::TextFormat::ParseFromString(absl::StrCat(component.name(), " { ", sample.attrs, " }"), layer));
  for (const Shape& shape : sample.inputs) {
    v1::Input* input = model.add_inputs();
    for (size_t d = 1; d < shape.size(); ++d) input->add_shape(shape[d]);
    if (sample.ids_below > 0) input->set_dtype(v1::INT64);
  }
  return model;
}

struct PairCase {
  std::string name;
  v1::Model model;
  std::string kind;
};

std::vector<PairCase> PairCases() {
  std::vector<PairCase> cases;
  for (const nn::Component& component : nn::Layers()) {
    int index = 0;
    for (const nn::Sample& sample : component.samples()) {
      for (v1::Dialect dialect : {v1::PYTORCH, v1::KERAS}) {
        if (sample.dialect != v1::DIALECT_UNSPECIFIED && sample.dialect != dialect) continue;
        v1::Model model = ModelFor(component, sample, dialect);
        if (!Complete(model).ok()) continue;
        cases.push_back({absl::StrCat(component.name(), "_", index, dialect == v1::KERAS ? "_keras" : "_pytorch"),
                         std::move(model), component.name()});
      }
      ++index;
    }
  }
  return cases;
}

class PairTest : public testing::TestWithParam<PairCase> {};

TEST_P(PairTest, PredictsTheSameOrSaysWhyNot) {
  const absl::Status status = Agrees(GetParam().model);
  if (absl::IsInvalidArgument(status)) {
    EXPECT_TRUE(absl::StrContains(status.message(), absl::StrCat("layers[0].", GetParam().kind))) << status;
    return;
  }
  EXPECT_TRUE(status.ok()) << status;
}

INSTANTIATE_TEST_SUITE_P(Convert, PairTest, testing::ValuesIn(PairCases()),
                         [](const auto& info) { return info.param.name; });

// A component without a record would be refused without a reason.
TEST(Convert, EveryComponentHasARecord) {
  for (const nn::Component& component : nn::Layers()) {
    const auto* member = v1::Layer::descriptor()->FindFieldByName(component.name());
    const v1::Dialect only = nn::SchemaOfComponent(member).only();
    for (v1::Dialect dialect : {v1::PYTORCH, v1::KERAS}) {
      if (only != v1::DIALECT_UNSPECIFIED && only != dialect) continue;
      const convert::Record* record = convert::FindRecord(dialect, component.name());
      ASSERT_NE(record, nullptr) << component.name() << " of " << v1::Dialect_Name(dialect);
      EXPECT_TRUE(record->rule != nullptr || !record->to.empty() || !record->reason.empty()) << component.name();
    }
  }
}

// Records that convert must do so for a sample at least: a rule that always refuses is no rule.
TEST(Convert, EveryRuleConvertsSomething) {
  std::set<std::string> converted, tried;
  for (const PairCase& c : PairCases()) {
    const convert::Record* record = convert::FindRecord(c.model.dialect(), c.kind);
    if (record == nullptr || (record->rule == nullptr && record->to.empty())) continue;
    const std::string key = absl::StrCat(c.kind, " of ", v1::Dialect_Name(c.model.dialect()));
    tried.insert(key);
    if (ConvertModel(c.model, Other(c.model.dialect())).ok()) converted.insert(key);
  }
  // Hard sigmoids differ between the frameworks. The others' samples have what the other dialect lacks; the models of
  // convert_models_test.cc do without.
  converted.insert({"hard_sigmoid of PYTORCH", "hard_sigmoid of KERAS", "hardtanh of PYTORCH",
                    "constant_pad1d of PYTORCH", "constant_pad2d of PYTORCH", "constant_pad3d of PYTORCH",
                    "multihead_attention of PYTORCH", "keras_multi_head_attention of KERAS"});
  for (const std::string& key : tried) EXPECT_EQ(converted.count(key), 1U) << key;
  EXPECT_GT(tried.size(), 100U);
}

}  // namespace
}  // namespace strata
