// Samples of losses and metrics, and graphs over their tensors: what the tests of both share.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "engine/nn/losses/loss.h"
#include "engine/nn/schema.h"
#include "engine/ops/ops.h"
#include "google/protobuf/text_format.h"
#include "tests/engine/catalog_support.h"

namespace strata::nn {

// What a tensor is drawn from.
enum class Draw {
  kNone,
  kReal,          // -1.5 to 1.5
  kPositive,      // 0.1 to 2
  kUnit,          // 0.05 to 0.95
  kSign,          // -1 or 1
  kBinary,        // 0 or 1, as floats
  kClass,         // integers below the number of classes
  kOneHot,        // of the last axis
  kList,          // integers: classes, then -1
  kDistribution,  // positive, sums to one over the last axis
  kLogDistribution,
};

struct Part {
  const char* kind;
  Draw prediction, target;
  struct Sample {
    const char* attrs;
    Shape prediction;
    Shape target = {};  // empty: the prediction's
  };
  std::vector<Sample> samples;
  int predictions = 1;  // tensors that are compared
};

inline Tensor Drawn(Draw draw, const Shape& shape, int64_t classes, std::mt19937* random) {
  std::uniform_real_distribution<double> unit(0, 1);
  const bool whole = draw == Draw::kClass || draw == Draw::kList;
  Tensor t(whole ? DType::kI64 : DType::kF32, shape);
  const int64_t last = shape.empty() ? 1 : shape.back();
  for (int64_t i = 0; i < t.num_elements(); ++i) {
    const double u = unit(*random);
    switch (draw) {
      case Draw::kReal:
        t.Set(i, static_cast<float>(3 * u - 1.5));
        break;
      case Draw::kUnit:
        t.Set(i, static_cast<float>(0.05 + 0.9 * u));
        break;
      case Draw::kSign:
        t.Set(i, i % 3 == 0 ? -1 : 1);
        break;
      case Draw::kBinary:
        t.Set(i, u < 0.5 ? 0 : 1);
        break;
      case Draw::kClass:
        t.Set(i, std::floor(u * static_cast<double>(classes)));
        break;
      case Draw::kOneHot:
        t.Set(i, i % last == i / last % last ? 1 : 0);
        break;
      case Draw::kList:
        t.Set(i, i % last == 0 ? i / last % last : -1);
        break;
      default:
        t.Set(i, static_cast<float>(0.1 + 1.9 * u));
    }
  }
  for (int64_t row = 0; draw >= Draw::kDistribution && row < t.num_elements() / last; ++row) {
    double sum = 0;
    for (int64_t k = 0; k < last; ++k) sum += t.At(row * last + k);
    for (int64_t k = 0; k < last; ++k) {
      const double p = t.At(row * last + k) / sum;
      t.Set(row * last + k, static_cast<float>(draw == Draw::kDistribution ? p : std::log(p)));
    }
  }
  return t;
}

struct Case {
  const Part* part;
  const Part::Sample* sample;
  v1::Dialect dialect;
  std::string name;
};

// The complete message of a case.
template <typename M>
absl::Status Read(const Case& c, M* message) {
  const std::string text = absl::StrCat(c.part->kind, " { ", c.sample->attrs, " }");
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, message)) << text;
  return Fill(c.dialect, "part", message);
}

template <typename M>
std::vector<Case> CasesOf(const std::vector<Part>& parts) {
  std::vector<Case> cases;
  for (const Part& part : parts) {
    for (size_t i = 0; i < part.samples.size(); ++i) {
      for (const v1::Dialect dialect : {v1::PYTORCH, v1::KERAS}) {
        Case c{&part, &part.samples[i], dialect,
               absl::StrCat(part.kind, "_", i, dialect == v1::KERAS ? "_keras" : "_pytorch")};
        M message;
        if (Read(c, &message).ok()) cases.push_back(c);
      }
    }
  }
  return cases;
}

// A graph over the case's tensors.
struct Built {
  Graph graph;
  Collected collected;
  Numbers numbers;
  LossArgs args;
  std::vector<Value> predictions;

  explicit Built(const Case& c, int64_t first_row = 0, int64_t rows = -1) {
    std::mt19937 random(20);
    const Part& p = *c.part;
    const auto add = [&](const std::string& name, Draw draw, const Shape& shape, int64_t classes) {
      const Tensor whole = Drawn(draw, shape, classes, &random);
      Shape part = shape;
      if (rows >= 0) part[0] = rows;
      Tensor t(whole.dtype(), part);
      const int64_t from = first_row * (t.num_elements() / std::max<int64_t>(part[0], 1));
      for (int64_t i = 0; i < t.num_elements(); ++i) t.Set(i, whole.At(rows >= 0 ? from + i : i));
      numbers.inputs.push_back(std::move(t));
      return graph.AddInput(name, whole.dtype(), part);
    };
    const Shape& shape = c.sample->prediction;
    for (int i = 0; i < p.predictions; ++i) {
      predictions.push_back(add(absl::StrCat("prediction", i), p.prediction, shape, 0));
    }
    args.prediction = predictions[0];
    args.more.assign(predictions.begin() + 1, predictions.end());
    if (p.target == Draw::kNone) return;
    const Shape& target = c.sample->target.empty() ? shape : c.sample->target;
    // Classes that every axis has.
    int64_t classes = shape.back();
    if (c.dialect == v1::PYTORCH && shape.size() > 1) classes = std::min(classes, shape[1]);
    const bool ctc = std::string(p.kind) == "ctc";
    args.target = add("target", p.target, target, ctc ? shape.back() - 1 : classes);
    if (!ctc) return;
    args.target = args.target + Scalar(&graph, 1, DType::kI64);  // class 0 is the blank
    const auto lengths = [&](int64_t length) {
      return Full(&graph, static_cast<double>(length), {shape[1]}, DType::kI64);
    };
    args.named = {{"input_lengths", lengths(shape[0])}, {"target_lengths", lengths(target[1])}};
  }

  Scope MakeScope(v1::Dialect dialect) { return Scope(&graph, dialect, false, {}, &collected); }
  // Numbers for the parameters, which exist after building.
  void DrawVariables() {
    std::mt19937 random(21);
    for (const VariableInfo& v : graph.variables()) {
      numbers.variables.push_back(Drawn(Draw::kReal, v.shape, 0, &random));
    }
  }
};

inline void PrintTo(const Case& c, std::ostream* out) { *out << c.name << ": " << c.sample->attrs; }
inline std::string NameOf(const ::testing::TestParamInfo<Case>& info) { return info.param.name; }

template <typename M>
void ExpectComplete(const std::vector<Part>& parts) {
  const auto* kinds = M::descriptor()->FindOneofByName("kind");
  int refused = 0;
  for (int i = 0; i < kinds->field_count(); ++i) {
    const auto* kind = kinds->field(i);
    const auto part = std::find_if(parts.begin(), parts.end(), [&](const Part& p) { return p.kind == kind->name(); });
    ASSERT_NE(part, parts.end()) << kind->name() << " has no samples";
    EXPECT_GE(part->samples.size(), 3u) << kind->name();
    // A sample that no dialect takes would never run.
    for (const Part::Sample& sample : part->samples) {
      M pytorch, keras;
      const bool runs = Read(Case{&*part, &sample, v1::PYTORCH, ""}, &pytorch).ok() ||
                        Read(Case{&*part, &sample, v1::KERAS, ""}, &keras).ok();
      EXPECT_TRUE(runs) << kind->name() << ": " << sample.attrs;
    }
    M whole;
    const std::string text = absl::StrCat(part->kind, " { ", part->samples[0].attrs, " }");
    ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &whole));
    refused += ExpectFieldsOutOfRangeRefused(kind, whole, v1::DIALECT_UNSPECIFIED);
  }
  EXPECT_GT(refused, 5);
}

}  // namespace strata::nn
