#include "cli/training_config.h"

#include <gtest/gtest.h>

#include <fstream>

namespace strata::cli {
namespace {

TEST(TrainingConfig, DefaultsFollowTheDialect) {
  const auto pytorch = MakeConfig({}, v1::PYTORCH);
  ASSERT_TRUE(pytorch.ok()) << pytorch.status();
  EXPECT_TRUE(pytorch->objectives(0).loss().has_cross_entropy());
  EXPECT_TRUE(pytorch->optimizer().has_adam());
  EXPECT_TRUE(pytorch->metrics(0).metric().has_accuracy());
  const auto keras = MakeConfig({}, v1::KERAS);
  ASSERT_TRUE(keras.ok()) << keras.status();
  EXPECT_TRUE(keras->objectives(0).loss().has_sparse_categorical_crossentropy());
}

TEST(TrainingConfig, FlagsOverrideTheFile) {
  const std::string path = testing::TempDir() + "/config.json";
  std::ofstream(path) << R"({"optimizer": {"sgd": {"learning_rate": 0.5, "momentum": 0.9}}, "seed": 3,
                            "objectives": [{"loss": {"mean_squared_error": {}}, "target": "y"}]})";
  const auto config = MakeConfig({.file = path, .learning_rate = 0.1, .clip_norm = 1.0, .seed = 4}, v1::PYTORCH);
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->optimizer().sgd().learning_rate(), 0.1);
  EXPECT_EQ(config->optimizer().sgd().momentum(), 0.9);
  EXPECT_EQ(config->optimizer().clipping().global_norm(), 1.0);
  EXPECT_EQ(config->objectives(0).target(), "y");
  EXPECT_TRUE(config->objectives(0).loss().has_mean_squared_error());
  EXPECT_EQ(config->seed(), 4u);
}

TEST(TrainingConfig, ErrorsNameTheFlag) {
  const struct {
    const char* name;
    ConfigFlags flags;
    const char* message;
  } kCases[] = {
      {"loss", {.loss = "nope"}, "--loss: must be one of mean_squared_error, "},
      {"optimizer", {.optimizer = "newton"}, "got \"newton\""},
      {"metric", {.metrics = {"f1"}}, "--metric: must be one of accuracy, "},
      {"momentum of adam", {.momentum = 0.9}, "--momentum: Adam has no momentum"},
  };
  for (const auto& c : kCases) {
    const auto config = MakeConfig(c.flags, v1::PYTORCH);
    EXPECT_EQ(config.status().code(), absl::StatusCode::kInvalidArgument) << c.name;
    EXPECT_NE(config.status().message().find(c.message), std::string::npos) << c.name << ": " << config.status();
  }
}

}  // namespace
}  // namespace strata::cli
