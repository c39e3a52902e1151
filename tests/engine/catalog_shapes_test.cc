// The documented shapes of every layer (Component::Shapes) against the shapes that its samples have: property 2.
//
//   "x[N, C, L] -> y[N, filters, L'] (PyTorch); x[N, L, C] -> y[N, L', filters] (Keras)"
//
// A letter is one size wherever it stands, a field of the message its value, "name..." any sizes, "a or b" one of two
// tensors. Tensors without brackets, and those beyond the listed ones, are anything.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <optional>
#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "engine/base/shape.h"
#include "engine/nn/build.h"
#include "engine/nn/schema.h"
#include "tests/engine/catalog_layers_support.h"

namespace strata::nn {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

struct Bindings {
  std::map<std::string, int64_t> sizes;
  std::map<std::string, Shape> runs;  // of "name..."
  int checked = 0;                    // sizes that were compared and not only named
};

std::string Trim(absl::string_view text) { return std::string(absl::StripAsciiWhitespace(text)); }

// Splits at commas outside of brackets.
std::vector<std::string> Items(const std::string& text) {
  std::vector<std::string> items(1);
  int depth = 0;
  for (const char c : text) {
    depth += c == '[' ? 1 : c == ']' ? -1 : 0;
    if (c == ',' && depth == 0) {
      items.emplace_back();
    } else {
      items.back() += c;
    }
  }
  for (std::string& item : items) item = Trim(item);
  return items;
}

class Matcher {
 public:
  // The text of `dialect`, for a layer with these attributes.
  Matcher(const std::string& text, v1::Dialect dialect, const Message& attributes) : attributes_(attributes) {
    for (const absl::string_view part : absl::StrSplit(text, "; ")) {
      const bool pytorch = absl::EndsWith(part, " (PyTorch)"), keras = absl::EndsWith(part, " (Keras)");
      if ((pytorch && dialect != v1::PYTORCH) || (keras && dialect != v1::KERAS)) continue;
      text_ = Trim(part.substr(0, part.size() - (pytorch ? 10 : keras ? 8 : 0)));
    }
    const std::vector<std::string> sides = absl::StrSplit(text_, " -> ");
    if (sides.size() != 2) return;
    for (const std::string& item : Items(sides[0])) inputs_.push_back(item);
    for (const std::string& item : Items(sides[1])) outputs_.push_back(item);
  }

  bool exists() const { return !outputs_.empty(); }
  const std::string& text() const { return text_; }

  // How many sizes were compared; none if the shapes do not fit.
  std::optional<int> Match(const std::vector<Shape>& inputs, const std::vector<Shape>& outputs) const {
    std::vector<std::pair<std::string, Shape>> pairs;
    const auto add = [&](const std::vector<std::string>& items, const std::vector<Shape>& shapes) {
      for (size_t i = 0; i < std::min(items.size(), shapes.size()) && items[i] != "..."; ++i) {
        if (absl::StrContains(items[i], "[")) pairs.emplace_back(items[i], shapes[i]);
      }
    };
    add(inputs_, inputs);
    add(outputs_, outputs);
    Bindings b;
    return MatchTensors(pairs, 0, b);
  }

 private:
  std::optional<int> MatchTensors(const std::vector<std::pair<std::string, Shape>>& pairs, size_t i,
                                  const Bindings& b) const {
    if (i == pairs.size()) return b.checked;
    for (const absl::string_view alternative : absl::StrSplit(pairs[i].first, " or ")) {
      const size_t open = alternative.find('['), close = alternative.rfind(']');
      const std::vector<std::string> dims = Items(std::string(alternative.substr(open + 1, close - open - 1)));
      for (const Shape& shape : Layouts(pairs[i].second)) {
        const auto found =
            MatchDims(dims, 0, shape, 0, b, [&](const Bindings& next) { return MatchTensors(pairs, i + 1, next); });
        if (found.has_value()) return found;
      }
    }
    return std::nullopt;
  }

  // Texts are about channels last in Keras: with channels first the channels' axis moves to the end.
  std::vector<Shape> Layouts(const Shape& shape) const {
    std::vector<Shape> all{shape};
    const FieldDescriptor* format = attributes_.GetDescriptor()->FindFieldByName("data_format");
    if (format == nullptr || attributes_.GetReflection()->GetEnumValue(attributes_, format) != v1::CHANNELS_FIRST) {
      return all;
    }
    all.clear();
    for (size_t axis = 1; axis < std::min<size_t>(shape.size(), 3); ++axis) {
      Shape moved = shape;
      std::rotate(moved.begin() + static_cast<int64_t>(axis), moved.begin() + static_cast<int64_t>(axis) + 1,
                  moved.end());
      all.push_back(moved);
    }
    return all;
  }

  template <typename Then>
  std::optional<int> MatchDims(const std::vector<std::string>& dims, size_t d, const Shape& shape, size_t axis,
                               const Bindings& b, const Then& then) const {
    if (d == dims.size()) return axis == shape.size() ? then(b) : std::nullopt;
    if (absl::EndsWith(dims[d], "...")) {
      for (size_t count = 0; axis + count <= shape.size(); ++count) {
        Bindings next = b;
        const Shape run(shape.begin() + static_cast<int64_t>(axis), shape.begin() + static_cast<int64_t>(axis + count));
        if (!BindRun(dims[d], run, &next)) continue;
        const auto found = MatchDims(dims, d + 1, shape, axis + count, next, then);
        if (found.has_value()) return found;
      }
      return std::nullopt;
    }
    if (axis == shape.size()) return std::nullopt;
    Bindings next = b;
    return BindSize(dims[d], shape[axis], &next) ? MatchDims(dims, d + 1, shape, axis + 1, next, then) : std::nullopt;
  }

  // A repeated field stands for its elements, of which -1 is any.
  bool BindRun(const std::string& name, const Shape& run, Bindings* b) const {
    const FieldDescriptor* field = attributes_.GetDescriptor()->FindFieldByName(name.substr(0, name.size() - 3));
    if (field != nullptr && field->is_repeated()) {
      if (attributes_.GetReflection()->FieldSize(attributes_, field) != static_cast<int>(run.size())) return false;
      for (size_t i = 0; i < run.size(); ++i) {
        const int64_t want = attributes_.GetReflection()->GetRepeatedInt64(attributes_, field, static_cast<int>(i));
        if (want != -1 && want != run[i]) return false;
        ++b->checked;
      }
      return true;
    }
    const auto [it, is_new] = b->runs.emplace(name, run);
    if (!is_new) b->checked += static_cast<int>(run.size());
    return it->second == run;
  }

  bool BindSize(const std::string& text, int64_t size, Bindings* b) const {
    const std::optional<int64_t> known = Product(text, *b);
    if (known.has_value()) {
      ++b->checked;
      return *known == size;
    }
    if (!absl::StrContains(text, "*")) b->sizes[text] = size;  // what no size is known of is anything
    return true;
  }

  std::optional<int64_t> Product(const std::string& text, const Bindings& b) const {
    int64_t product = 1;
    for (const absl::string_view factor : absl::StrSplit(text, " * ")) {
      const std::optional<int64_t> value = Known(std::string(factor), b);
      if (!value.has_value()) return std::nullopt;
      product *= *value;
    }
    return product;
  }

  // A number, a letter that has its size, or a field of one integer.
  std::optional<int64_t> Known(const std::string& name, const Bindings& b) const {
    int64_t number = 0;
    if (absl::SimpleAtoi(name, &number)) return number;
    if (const auto it = b.sizes.find(name); it != b.sizes.end()) return it->second;
    const FieldDescriptor* field = attributes_.GetDescriptor()->FindFieldByName(name);
    if (field == nullptr || field->cpp_type() != FieldDescriptor::CPPTYPE_INT64) return std::nullopt;
    const auto* r = attributes_.GetReflection();
    if (field->is_repeated()) {
      if (r->FieldSize(attributes_, field) != 1) return std::nullopt;
      return r->GetRepeatedInt64(attributes_, field, 0);
    }
    if (!r->HasField(attributes_, field)) return std::nullopt;
    return r->GetInt64(attributes_, field);
  }

  const Message& attributes_;
  std::string text_;
  std::vector<std::string> inputs_, outputs_;
};

std::string Text(const std::vector<Shape>& shapes) {
  return absl::StrJoin(shapes, ", ", [](std::string* out, const Shape& s) { *out += ShapeString(s); });
}

TEST(CatalogShapes, DocumentedShapesAreTheActualOnes) {
  int checked = 0;
  std::set<std::string> unchecked, silent, telling;
  for (const LayerCase& c : LayerCases()) {
    const Message& attributes = AttributesOf(c.layer, c.component->name());
    const Matcher matcher(c.component->shapes(), c.dialect, attributes);
    if (!matcher.exists()) {
      unchecked.insert(c.component->name());
      continue;
    }
    Graph g;
    Collected collected;
    Args args;
    for (size_t i = 0; i < c.sample->inputs.size(); ++i) {
      args.positional.push_back(g.AddInput(absl::StrCat("x", i), c.input_type(), c.sample->inputs[i]));
    }
    Scope s = Scope(&g, c.dialect, false, {}, &collected).Enter("layer", "layer", true, std::nullopt);
    std::vector<Shape> outputs;
    for (const Annotated& out : BuildLayer(s, c.layer, args)) {
      if (out.value) outputs.push_back(out.value.shape());
    }
    ASSERT_TRUE(g.ok()) << c.name << ": " << g.status();
    const std::optional<int> found = matcher.Match(c.sample->inputs, outputs);
    EXPECT_TRUE(found.has_value()) << c.name << " { " << c.sample->attrs << " }: " << Text(c.sample->inputs) << " -> "
                                   << Text(outputs) << " is not " << matcher.text();
    (found.value_or(1) > 0 ? telling : silent).insert(c.component->name());
    checked += found.value_or(0);
  }
  EXPECT_EQ(unchecked, std::set<std::string>{"custom"}) << "layers whose text gives no shapes";
  for (const std::string& name : telling) silent.erase(name);
  EXPECT_EQ(silent, (std::set<std::string>{"cosine_similarity", "dense_features", "mean"}))
      << "layers whose text names sizes and compares none";
  EXPECT_GT(checked, 800);
}

// The comparison itself: what fits, and what does not.
TEST(CatalogShapes, TextsAreComparedSizeBySize) {
  v1::Linear linear;
  linear.set_units(3);
  const struct Row {
    const char* text;
    std::vector<Shape> inputs, outputs;
    bool fits;
  } rows[] = {
      {"x[..., I] -> y[..., units]", {{2, 5, 4}}, {{2, 5, 3}}, true},
      {"x[..., I] -> y[..., units]", {{2, 5, 4}}, {{2, 5, 4}}, false},
      {"x[..., I] -> y[..., units]", {{2, 5, 4}}, {{5, 2, 3}}, false},
      {"x[N, C] -> y[N, C * units]", {{2, 4}}, {{2, 12}}, true},
      {"x[N, C] -> y[N, C * units]", {{2, 4}}, {{2, 11}}, false},
      {"x[N, C] or x[N, C, L] -> y[C] or y[N, L]", {{2, 4, 6}}, {{2, 6}}, true},
      {"x[N, C] or x[N, C, L] -> y[C] or y[N, L]", {{2, 4, 6}}, {{2, 4}}, false},
      {"x[a..., A, b...] -> y[a..., b...]", {{2, 4, 6}}, {{2, 6}}, true},
      {"x[a..., A, b...] -> y[a..., b...]", {{2, 4, 6}}, {{4, 2}}, false},
      {"x[N, C] -> y[C] (PyTorch); x[N, C] -> y[N] (Keras)", {{2, 4}}, {{4}}, true},
      {"x[N, C] -> y[C] (PyTorch); x[N, C] -> y[N] (Keras)", {{2, 4}}, {{2}}, false},
  };
  for (const Row& row : rows) {
    EXPECT_EQ(Matcher(row.text, v1::PYTORCH, linear).Match(row.inputs, row.outputs).has_value(), row.fits) << row.text;
  }
}

}  // namespace
}  // namespace strata::nn
