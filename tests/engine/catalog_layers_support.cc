#include "tests/engine/catalog_layers_support.h"

#include <gtest/gtest.h>

#include "absl/strings/str_cat.h"
#include "engine/nn/schema.h"
#include "google/protobuf/text_format.h"

namespace strata::nn {

v1::Layer ParseLayer(const std::string& kind, const std::string& attrs) {
  v1::Layer layer;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(absl::StrCat(kind, " { ", attrs, " }"), &layer))
      << kind << ": " << attrs;
  layer.set_name("layer");
  return layer;
}

std::vector<LayerCase> LayerCases() {
  std::vector<LayerCase> cases;
  for (const Component& c : Layers()) {
    int index = 0;
    for (const Sample& s : c.samples()) {
      for (const v1::Dialect dialect : {v1::PYTORCH, v1::KERAS}) {
        if (s.dialect != v1::DIALECT_UNSPECIFIED && s.dialect != dialect) continue;
        v1::Layer layer = ParseLayer(c.name(), s.attrs);
        const absl::Status filled = Fill(dialect, "layer", &layer);
        // A sample without a dialect runs in those that have the component.
        if (!filled.ok() && s.dialect == v1::DIALECT_UNSPECIFIED) continue;
        EXPECT_TRUE(filled.ok()) << c.name() << " " << s.attrs << ": " << filled;
        cases.push_back({absl::StrCat(c.name(), "_", index, dialect == v1::KERAS ? "_keras" : "_pytorch"), &c, &s,
                         dialect, std::move(layer)});
      }
      ++index;
    }
  }
  return cases;
}

}  // namespace strata::nn
