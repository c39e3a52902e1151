// Schedules and moving averages in the frameworks' words.
#include <gtest/gtest.h>

#include "engine/import/framework.h"
#include "engine/nn/schedules/schedule.h"

namespace strata {
namespace {

TEST(ImportSchedule, RefusesByTheFrameworksNames) {
  const struct {
    v1::Dialect dialect;
    const char* json;
    const char* words;
  } kRows[] = {
      {v1::PYTORCH, R"({"class_name": "StepLR", "config": {}})", "step_size: must be set"},
      {v1::PYTORCH, R"({"class_name": "StepLR", "config": {"step_size": 0}})", "step_size: must be >= 1, got 0"},
      {v1::PYTORCH, R"({"class_name": "StepLR", "config": {"step_size": 2, "power": 1}})", "power: unknown argument"},
      {v1::PYTORCH, R"({"class_name": "StepLR", "config": {"step_size": 2, "last_epoch": 3}})", "last_epoch: unknown"},
      {v1::PYTORCH, R"({"class_name": "CosineAnnealingLR", "config": {"T_max": 0}})", "T_max: must be >= 1, got 0"},
      {v1::PYTORCH, R"({"class_name": "CosineAnnealingWarmRestarts", "config": {"T_0": 2, "T_mult": 1.5}})",
       "T_mult: must be a whole number, got 1.5"},
      {v1::PYTORCH, R"({"class_name": "ConstantLR", "config": {"factor": 1.5}})", "factor: must be <= 1, got 1.5"},
      {v1::PYTORCH, R"({"class_name": "LinearLR", "config": {"start_factor": 0}})", "start_factor: must be > 0, got 0"},
      {v1::PYTORCH, R"({"class_name": "ReduceLROnPlateau", "config": {"factor": 1.0}})", "factor: must be < 1, got 1"},
      {v1::PYTORCH, R"({"class_name": "ReduceLROnPlateau", "config": {"mode": "least"}})", "mode: must be one of min"},
      {v1::PYTORCH, R"({"class_name": "OneCycleLR", "config": {"max_lr": 1}})", "total_steps|epochs|steps_per_epoch:"},
      {v1::PYTORCH, R"({"class_name": "OneCycleLR", "config": {"max_lr": [1, 2], "total_steps": 3}})",
       "max_lr: must be"},
      {v1::KERAS, R"({"class_name": "ExponentialDecay", "config": {"decay_steps": 3, "decay_rate": 0.5}})",
       "initial_learning_rate: must be set"},
      {v1::KERAS, R"({"class_name": "PiecewiseConstantDecay", "config": {"boundaries": [1, 2], "values": [1, 2]}})",
       "values|boundaries: must be one value more"},
      {v1::KERAS, R"({"class_name": "PiecewiseConstantDecay", "config": {"boundaries": [2, 1], "values": [1, 2, 3]}})",
       "boundaries: must grow, got 1 after 2"},
      {v1::KERAS, R"({"class_name": "CosineDecay", "config": {"initial_learning_rate": 1, "decay_steps": "x"}})",
       "decay_steps: must be"},
  };
  for (const auto& row : kRows) {
    const auto status = ImportSchedule(row.dialect, row.json).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << row.json << ": " << status;
    EXPECT_NE(status.message().find(row.words), std::string::npos) << row.json << ": " << status;
  }
}

TEST(ImportSchedule, OneRateForAllGroupsMayStandInAList) {
  const auto schedule = ImportSchedule(v1::PYTORCH, R"({"class_name": "OneCycleLR", "config": {"max_lr": [0.5, 0.5],
      "epochs": 2, "steps_per_epoch": 5, "verbose": false, "last_epoch": -1}})");
  ASSERT_TRUE(schedule.ok()) << schedule.status();
  const auto rule = nn::MakeSchedule(v1::PYTORCH, *schedule);
  ASSERT_TRUE(rule.ok()) << rule.status();
  EXPECT_EQ(rule->counts, nn::ScheduleRule::Counts::kUpdates);
  EXPECT_NEAR(rule->rate(0.1, 0), 0.5 / 25, 1e-12);
  EXPECT_NEAR(rule->rate(0.1, 2), 0.5, 1e-12);
  // Beyond the cycle the rate stays where it ended.
  EXPECT_NEAR(rule->rate(0.1, 9), 0.5 / 25 / 1e4, 1e-12);
  EXPECT_EQ(rule->rate(0.1, 9), rule->rate(0.1, 1000));
}

TEST(ImportOptimizer, SchedulesAndAveragesGoRoundTrip) {
  const char* text = R"({"class_name": "Adam", "config": {"use_ema": true, "ema_momentum": 0.5,
      "ema_overwrite_frequency": 7, "learning_rate": {"class_name": "CosineDecay", "config": {
      "initial_learning_rate": 0.25, "decay_steps": 10, "alpha": 0.5, "warmup_target": 0.75, "warmup_steps": 3}}}})";
  const auto first = ImportOptimizer(v1::KERAS, text);
  ASSERT_TRUE(first.ok()) << first.status();
  EXPECT_EQ(first->moving_average().overwrite_frequency(), 7);
  EXPECT_EQ(first->schedule().cosine().warmup_target(), 0.75);
  const auto written = ExportOptimizer(v1::KERAS, *first);
  ASSERT_TRUE(written.ok()) << written.status();
  const auto again = ImportOptimizer(v1::KERAS, *written);
  ASSERT_TRUE(again.ok()) << again.status() << *written;
  EXPECT_EQ(again->schedule().SerializeAsString(), first->schedule().SerializeAsString()) << *written;
  EXPECT_EQ(again->moving_average().SerializeAsString(), first->moving_average().SerializeAsString()) << *written;
}

TEST(ImportOptimizer, AveragesAreOffUnlessAskedFor) {
  const auto off =
      ImportOptimizer(v1::KERAS, R"({"class_name": "SGD", "config": {"use_ema": false, "ema_momentum": 0.5}})");
  ASSERT_TRUE(off.ok()) << off.status();
  EXPECT_FALSE(off->has_moving_average());
  // RMSprop overwrites every 100 updates, as Keras has it, unless it is told never to.
  const auto usual = ImportOptimizer(v1::KERAS, R"({"class_name": "RMSprop", "config": {"use_ema": true}})");
  ASSERT_TRUE(usual.ok()) << usual.status();
  EXPECT_EQ(usual->moving_average().overwrite_frequency(), 100);
  const auto never = ImportOptimizer(
      v1::KERAS, R"({"class_name": "RMSprop", "config": {"use_ema": true, "ema_overwrite_frequency": null}})");
  ASSERT_TRUE(never.ok()) << never.status();
  EXPECT_FALSE(never->moving_average().has_overwrite_frequency());
  const auto bad = ImportOptimizer(v1::KERAS, R"({"class_name": "SGD", "config": {"ema_momentum": 2}})").status();
  EXPECT_NE(bad.message().find("ema_momentum: must be <= 1, got 2"), std::string::npos) << bad;
}

}  // namespace
}  // namespace strata
