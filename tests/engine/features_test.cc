// Tabular models: named features, texts among them, through sessions and versions.
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

#include <string_view>

#include "engine/import/framework.h"
#include "engine/session.h"

namespace strata {
namespace {

constexpr char kModel[] = R"({"class_name": "Sequential", "config": {"name": "tabular", "layers": [
  {"class_name": "DenseFeatures", "config": {"name": "features", "feature_columns": [
    {"class_name": "numeric_column", "config": {"key": "age"}},
    {"class_name": "bucketized_column", "config": {"source_column": {"class_name": "numeric_column", "config": {"key": "age"}},
                                                   "boundaries": [18.0, 65.0]}},
    {"class_name": "embedding_column", "config": {"dimension": 2, "categorical_column":
      {"class_name": "categorical_column_with_vocabulary_list", "config": {"key": "city", "vocabulary_list": ["rome", "oslo"]}}}},
    {"class_name": "indicator_column", "config": {"categorical_column":
      {"class_name": "categorical_column_with_hash_bucket", "config": {"key": "city", "hash_bucket_size": 5}}}}]}},
  {"class_name": "Dense", "config": {"name": "out", "units": 1}}]}})";

// One text a row; the texts must outlive the tensor.
Tensor Texts(const std::vector<std::string_view>& texts) {
  Tensor t(DType::kText, {static_cast<int64_t>(texts.size()), 1});
  std::copy(texts.begin(), texts.end(), t.data<std::string_view>());
  return t;
}

TEST(FeatureModels, TrainAndPredictWithNamedFeatures) {
  const auto model = ImportKeras(kModel);
  ASSERT_TRUE(model.ok()) << model.status();
  v1::TrainingConfig config;
  ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(
      "objectives { loss { mean_squared_error {} } } optimizer { sgd { learning_rate: 0.05 } }", &config));
  const auto session = TrainSession::Create(*model, config, {});
  ASSERT_TRUE(session.ok()) << session.status();
  const Tensor age = Tensor::Of<double>(DType::kF32, {4, 1}, {0.1, 0.2, 0.3, 0.4});
  const Tensor city = Texts({"rome", "oslo", "paris", ""});
  const Tensor target = Tensor::Of<double>(DType::kF32, {4, 1}, {1, -1, 0.5, 0});
  const NamedViews batch = {{"age", age.view()}, {"city", city.view()}, {"target", target.view()}};
  double first = 0, last = 0;
  for (int i = 0; i < 200; ++i) {
    const auto step = (*session)->Step(batch);
    ASSERT_TRUE(step.ok()) << step.status();
    (i == 0 ? first : last) = step->loss;
  }
  EXPECT_LT(last, first / 20);

  const auto version = Version::Create(*model, (*session)->Weights(), {});
  ASSERT_TRUE(version.ok()) << version.status();
  ASSERT_EQ((*version)->inputs().size(), 2u);
  EXPECT_EQ((*version)->inputs()[1].dtype, DType::kText);
  EXPECT_EQ((*version)->inputs()[1].shape, (Shape{-1, -1}));
  const auto one = (*version)->Predict({{"age", age.view()}, {"city", city.view()}});
  ASSERT_TRUE(one.ok()) << one.status();
  // A zero byte is a byte like any other: at the end, too.
  const std::string_view zero("rome\0", 5), inside("ro\0me", 5);
  const Tensor odd = Texts({zero, "oslo", inside, ""});
  const auto two = (*version)->Predict({{"age", age.view()}, {"city", odd.view()}});
  ASSERT_TRUE(two.ok()) << two.status();
  EXPECT_NE(one->at("out").At(0), two->at("out").At(0));
  EXPECT_EQ(one->at("out").At(1), two->at("out").At(1));
  EXPECT_NE(one->at("out").At(2), two->at("out").At(2));
  EXPECT_NEAR(one->at("out").At(0), 1, 0.3);
  EXPECT_NEAR(one->at("out").At(1), -1, 0.3);

  const Tensor three = Texts({"a", "b", "c"});
  const struct {
    NamedViews inputs;
    const char* message;
  } kBad[] = {
      {{{"age", age.view()}}, "inputs[\"city\"]: must be given, got nothing"},
      {{{"age", age.view()}, {"city", age.view()}}, "inputs[\"city\"].dtype: must be BYTES, got f32"},
      {{{"age", city.view()}, {"city", city.view()}}, "inputs[\"age\"].dtype: must be f32, got BYTES"},
      {{{"age", age.view()}, {"city", three.view()}},
       "inputs[\"city\"].shape: must have 4 rows like the other inputs, got 3"},
  };
  for (const auto& bad : kBad) {
    const absl::Status status = (*version)->Predict(bad.inputs).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(status.message(), bad.message);
  }
}

TEST(FeatureModels, VocabularyFilesAreAssets) {
  v1::Model model;
  ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(R"(
      name: "m" dialect: KERAS inputs { name: "city" dtype: BYTES shape: -1 }
      layers { name: "f" dense_features { feature_columns { indicator { categorical_column {
        vocabulary_file { key: "city" vocabulary_file: "cities.txt" } } } } } })",
                                                            &model));
  EXPECT_EQ(Version::Create(model, {}, {}).status().message(),
            "layers[0].dense_features.feature_columns[0].indicator.categorical_column.vocabulary_file.vocabulary_file: "
            "must be an asset of the model, got \"cities.txt\"");
  v1::Asset* asset = model.add_assets();
  asset->set_name("cities.txt");
  asset->set_content("rome\noslo\r\nlima\n");
  const auto version = Version::Create(model, {}, {});
  ASSERT_TRUE(version.ok()) << version.status();
  const Tensor city = Texts({"oslo", "lima", "x"});
  const auto out = (*version)->Predict({{"city", city.view()}});
  ASSERT_TRUE(out.ok()) << out.status();
  const std::vector<double> want = {0, 1, 0, 0, 0, 1, 0, 0, 0};
  const Tensor& y = out->begin()->second;
  ASSERT_EQ(y.shape(), (Shape{3, 3}));
  for (int64_t i = 0; i < 9; ++i) EXPECT_EQ(y.At(i), want[static_cast<size_t>(i)]) << i;
}

TEST(FeatureModels, TextsAreForCategoricalColumnsOnly) {
  v1::Model model;
  ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(R"(
      name: "m" dialect: KERAS inputs { name: "x" shape: 2 } inputs { name: "city" dtype: BYTES shape: 1 }
      layers { name: "join" concatenate {} })",
                                                            &model));
  EXPECT_EQ(Inspect(model, nullptr, 1).status().message(),
            "inputs[1].dtype: must be of numbers where no categorical column alone reads it, got BYTES");
}

}  // namespace
}  // namespace strata
