// Tabular models: named features, texts among them, through sessions and versions.
#include <google/protobuf/text_format.h>
#include <gtest/gtest.h>

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

// Texts as rows of bytes.
Tensor Texts(const std::vector<std::string>& texts, int64_t width) {
  Tensor t(DType::kU8, {static_cast<int64_t>(texts.size()), 1, width});
  for (size_t i = 0; i < texts.size(); ++i) {
    std::copy(texts[i].begin(), texts[i].end(), t.data<char>() + static_cast<int64_t>(i) * width);
  }
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
  const Tensor city = Texts({"rome", "oslo", "paris", ""}, 6);
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
  EXPECT_EQ((*version)->inputs()[1].dtype, DType::kU8);
  const auto one = (*version)->Predict({{"age", age.view()}, {"city", city.view()}});
  ASSERT_TRUE(one.ok()) << one.status();
  // Wider rows of bytes are the same texts.
  const Tensor wide = Texts({"rome", "oslo", "paris", ""}, 11);
  const auto two = (*version)->Predict({{"age", age.view()}, {"city", wide.view()}});
  ASSERT_TRUE(two.ok()) << two.status();
  for (int64_t i = 0; i < 4; ++i) EXPECT_EQ(one->at("out").At(i), two->at("out").At(i));
  EXPECT_NEAR(one->at("out").At(0), 1, 0.3);
  EXPECT_NEAR(one->at("out").At(1), -1, 0.3);

  const absl::Status missing = (*version)->Predict({{"age", age.view()}}).status();
  EXPECT_EQ(missing.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(missing.message(), "city: must be given, got nothing");
}

TEST(FeatureModels, VocabularyFilesAreAssets) {
  v1::Model model;
  ASSERT_TRUE(google::protobuf::TextFormat::ParseFromString(R"(
      name: "m" dialect: KERAS inputs { name: "city" dtype: BYTES shape: -1 }
      layers { name: "f" dense_features { feature_columns { indicator { categorical_column {
        vocabulary_file { key: "city" vocabulary_file: "cities.txt" } } } } } })",
                                                            &model));
  EXPECT_EQ(Version::Create(model, {}, {}).status().message(),
            "vocabulary_file: must be an asset of the model, got \"cities.txt\"");
  v1::Asset* asset = model.add_assets();
  asset->set_name("cities.txt");
  asset->set_content("rome\noslo\r\nlima\n");
  const auto version = Version::Create(model, {}, {});
  ASSERT_TRUE(version.ok()) << version.status();
  const Tensor city = Texts({"oslo", "lima", "x"}, 4);
  const auto out = (*version)->Predict({{"city", city.view()}});
  ASSERT_TRUE(out.ok()) << out.status();
  const std::vector<double> want = {0, 1, 0, 0, 0, 1, 0, 0, 0};
  const Tensor& y = out->begin()->second;
  ASSERT_EQ(y.shape(), (Shape{3, 3}));
  for (int64_t i = 0; i < 9; ++i) EXPECT_EQ(y.At(i), want[static_cast<size_t>(i)]) << i;
}

}  // namespace
}  // namespace strata
