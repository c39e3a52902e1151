#include "engine/nn/reference.h"

#include <algorithm>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "engine/base/status.h"
#include "engine/nn/component.h"
#include "engine/nn/examples.h"
#include "engine/nn/framework_names.h"
#include "engine/nn/schema.h"
#include "google/protobuf/text_format.h"
#include "google/protobuf/util/json_util.h"

namespace strata::nn {
namespace {

template <typename Names>
std::string Listed(const Names& names) {
  return absl::StrJoin(names, ", ", [](std::string* s, const auto& n) { absl::StrAppend(s, "`", n, "`"); });
}

std::string Cell(const std::string& text) { return absl::StrReplaceAll(text, {{"|", "\\|"}, {"\n", " "}}); }

std::string Number(double v) { return absl::StrCat(v); }

// "required", "0.9; Keras 0.99" or nothing.
std::string DefaultOf(const v1::FieldSchema& s) {
  if (s.required()) return "required";
  std::vector<std::string> parts;
  if (!s.default_().empty()) parts.push_back(absl::StrCat("`", s.default_(), "`"));
  if (!s.pytorch_default().empty()) parts.push_back(absl::StrCat("PyTorch `", s.pytorch_default(), "`"));
  if (!s.keras_default().empty()) parts.push_back(absl::StrCat("Keras `", s.keras_default(), "`"));
  return absl::StrJoin(parts, "; ");
}

std::string RangeOf(const v1::FieldSchema& s) {
  std::vector<std::string> parts;
  if (s.has_at_least()) parts.push_back(absl::StrCat(">= ", Number(s.at_least())));
  if (s.has_above()) parts.push_back(absl::StrCat("> ", Number(s.above())));
  if (s.has_at_most()) parts.push_back(absl::StrCat("<= ", Number(s.at_most())));
  if (s.has_below()) parts.push_back(absl::StrCat("< ", Number(s.below())));
  if (s.one_of_size() > 0) parts.push_back(Listed(s.one_of()));
  return absl::StrJoin(parts, ", ");
}

// What the frameworks call the argument, where they have it.
std::string NamesOf(const v1::FieldInfo& f, v1::Dialect component_only) {
  if (f.schema().doc().empty()) return "";  // ours alone
  std::vector<std::string> parts;
  const std::vector<std::string> own{f.name()};
  const auto add = [&](const char* framework, v1::Dialect dialect, const auto& names) {
    for (const v1::Dialect only : {f.schema().only(), component_only}) {
      if (only != v1::DIALECT_UNSPECIFIED && only != dialect) return;
    }
    parts.push_back(absl::StrCat(framework, " ", names.empty() ? Listed(own) : Listed(names)));
  };
  add("PyTorch", v1::PYTORCH, f.schema().pytorch_name());
  add("Keras", v1::KERAS, f.schema().keras_name());
  return absl::StrJoin(parts, "; ");
}

std::string FieldTable(const v1::ComponentInfo& c) {
  if (c.fields().empty()) return "No fields.\n";
  std::string out =
      "| field | type | default | range | in the frameworks | what |\n| --- | --- | --- | --- | --- | --- |\n";
  for (const v1::FieldInfo& f : c.fields()) {
    const std::string type = absl::StrCat(f.type(), f.repeated() ? " list" : "");
    absl::StrAppend(&out, "| `", f.name(), "` | ", type, " | ", Cell(DefaultOf(f.schema())), " | ",
                    Cell(RangeOf(f.schema())), " | ", NamesOf(f, c.schema().only()), " | ", Cell(f.schema().doc()),
                    " |\n");
  }
  return out;
}

std::string MaskText(MaskRule rule) {
  switch (rule) {
    case MaskRule::kStop:
      return "the output has none";
    case MaskRule::kPass:
      return "the output has the first input's";
    case MaskRule::kConsume:
      return "read by the layer";
  }
  return "";
}

// "1 to 3 by position; in Keras by name: mask".
std::string ArgumentsText(const Component& layer) {
  const int min = layer.min_inputs(), max = layer.max_inputs();
  std::string text = absl::StrCat(min,
                                  max < 0     ? " or more"
                                  : max > min ? absl::StrCat(" to ", max)
                                              : "",
                                  " by position");
  for (const v1::Dialect dialect : {v1::PYTORCH, v1::KERAS}) {
    const std::vector<std::string> names = layer.named(dialect);
    if (names.empty()) continue;
    absl::StrAppend(&text, "; in ", dialect == v1::PYTORCH ? "PyTorch" : "Keras",
                    " by name: ", absl::StrJoin(names, ", "));
  }
  return text;
}

void DescribeLayer(const Component& layer, v1::ComponentInfo* info) {
  info->set_shapes(layer.shapes());
  info->set_arguments(ArgumentsText(layer));
  info->set_mask(MaskText(layer.mask()));
  v1::Layer message;
  STRATA_CHECK(!layer.samples().empty());
  STRATA_CHECK(google::protobuf::TextFormat::ParseFromString(
      absl::StrCat(layer.name(), " { ", layer.samples().front().attrs, " }"), &message));
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  STRATA_CHECK(google::protobuf::util::MessageToJsonString(message, info->mutable_example(), options).ok());
  info->set_example_message(message.GetDescriptor()->full_name());
}

// What the example is, and what it takes.
std::string ExampleTitle(const v1::ComponentInfo& c, const Component* layer) {
  if (layer == nullptr) {
    return absl::StrCat(c.example_message() == "strata.v1.Layer" ? "In a layer" : "In a training configuration", ":");
  }
  const Sample& sample = layer->samples().front();
  const std::string shapes = absl::StrJoin(
      sample.inputs, ", ", [](std::string* s, const Shape& shape) { absl::StrAppend(s, ShapeString(shape)); });
  const char* dialect = sample.dialect == v1::PYTORCH ? " in PyTorch's dialect"
                        : sample.dialect == v1::KERAS ? " in Keras'"
                                                      : "";
  return absl::StrCat("For inputs ", shapes, dialect, ":");
}

std::string Page(const v1::ComponentInfo& c) {
  const v1::ComponentSchema& s = c.schema();
  std::string out = absl::StrCat("# ", c.name(), "\n\n", s.doc().empty() ? "" : absl::StrCat(s.doc(), "\n\n"));
  if (!s.formula().empty()) absl::StrAppend(&out, "    ", s.formula(), "\n\n");
  absl::StrAppend(&out, "Message `", c.message(), "`, family ", c.family());
  if (s.only() != v1::DIALECT_UNSPECIFIED)
    absl::StrAppend(&out, ", ", s.only() == v1::PYTORCH ? "PyTorch" : "Keras", " only");
  absl::StrAppend(&out, ".\n");
  const auto names = [&](const char* title, const auto& classes, const auto& functions) {
    if (classes.empty() && functions.empty()) return;
    absl::StrAppend(&out, "In ", title, ": ", Listed(classes),
                    !classes.empty() && !functions.empty() ? "; as a function " : "", Listed(functions), ".\n");
  };
  names("PyTorch", s.pytorch(), s.pytorch_function());
  names("Keras", s.keras(), s.keras_function());
  if (!s.gotcha().empty()) absl::StrAppend(&out, "\nWhat surprises:\n\n");
  for (const std::string& text : s.gotcha()) absl::StrAppend(&out, "* ", text, "\n");
  const Component* layer = c.family() == "layer" ? FindLayer(c.name()) : nullptr;
  if (!c.shapes().empty()) absl::StrAppend(&out, "\nShapes: ", c.shapes(), "\n");
  if (!c.arguments().empty()) absl::StrAppend(&out, "\nArguments of a call: ", c.arguments(), ".\n");
  if (!c.mask().empty()) absl::StrAppend(&out, "\nKeras' mask: ", c.mask(), ".\n");
  absl::StrAppend(&out, "\n", FieldTable(c), "\n", ExampleTitle(c, layer), "\n\n```json\n", c.example(), "\n```\n");
  return out;
}

std::string PathOf(const v1::ComponentInfo& c) { return absl::StrCat(c.family(), "/", c.name(), ".md"); }

}  // namespace

std::vector<v1::ComponentInfo> DescribeComponents() {
  std::vector<v1::ComponentInfo> all = ListComponents("");
  for (v1::ComponentInfo& info : all) {
    if (info.family() == "layer") {
      const Component* layer = FindLayer(info.name());
      STRATA_CHECK(layer != nullptr);
      DescribeLayer(*layer, &info);
      continue;
    }
    Example example = ExampleOf(info.family(), info.name());
    info.set_example(std::move(example.json));
    info.set_example_message(std::move(example.message));
  }
  return all;
}

std::map<std::string, std::string> ReferencePages() {
  std::map<std::string, std::string> pages;
  std::string index =
      "# Components\n\nGenerated from the protos' options; `STRATA_UPDATE_DOCS=1 build/bin/engine_tests "
      "--gtest_filter='Reference*'` writes these pages anew.\n\n| component | family | PyTorch | Keras |\n| --- | --- "
      "| --- | --- |\n";
  for (const v1::ComponentInfo& c : DescribeComponents()) {
    pages[PathOf(c)] = Page(c);
    std::vector<std::string> pytorch(c.schema().pytorch().begin(), c.schema().pytorch().end());
    pytorch.insert(pytorch.end(), c.schema().pytorch_function().begin(), c.schema().pytorch_function().end());
    std::vector<std::string> keras(c.schema().keras().begin(), c.schema().keras().end());
    keras.insert(keras.end(), c.schema().keras_function().begin(), c.schema().keras_function().end());
    absl::StrAppend(&index, "| [", c.name(), "](", PathOf(c), ") | ", c.family(), " | ", Listed(pytorch), " | ",
                    Listed(keras), " |\n");
  }
  pages["README.md"] = absl::StrCat(index,
                                    "\n## Names that stand for no component\n\n| message | PyTorch | Keras |\n| --- "
                                    "| --- | --- |\n",
                                    OtherFrameworkNames());
  return pages;
}

}  // namespace strata::nn
