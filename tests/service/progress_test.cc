// What a training knows besides its weights, over the wire: epochs, early stopping, other weights to publish.

#include <gtest/gtest.h>

#include "tests/service/server_fixture.h"

namespace strata::service {
namespace {

using grpc::StatusCode;

class Progress : public ServerTest {};

// Evaluates on one batch as a whole validation.
v1::EvaluateResult Validate(TrainStream& stream, const v1::Batch& batch) {
  v1::TrainRequest request;
  *request.mutable_evaluate()->mutable_tensors() = batch.tensors();
  request.mutable_evaluate()->set_last(true);
  return stream.Ask(request).evaluate();
}

TEST_P(Progress, EpochsAreCounted) {
  CreateModel();
  TrainStream stream(*training_);
  ASSERT_TRUE(stream.Start("m", "r", Config()).has_attached());
  v1::Batch batch = MakeBatch(1);
  EXPECT_FALSE(stream.Step(batch).step().epoch().ended());
  batch = MakeBatch(2);
  batch.set_end_of_epoch(true);
  const v1::StepResult last = stream.Step(batch).step();
  EXPECT_TRUE(last.epoch().ended());
  EXPECT_EQ(last.epoch().epoch(), 1u);
  EXPECT_EQ(last.epoch().samples(), 8);
  EXPECT_EQ(stream.Step(MakeBatch(3)).step().epoch().epoch(), 2u);
  // The history keeps the epoch's numbers.
  v1::WatchRunRequest request;
  request.set_run("r");
  request.set_from_step(2);
  grpc::ClientContext context;
  const auto reader = training_->WatchRun(&context, request);
  v1::RunEvent event;
  while (reader->Read(&event) && !event.has_step()) {
  }
  EXPECT_EQ(event.step().step(), 2u);
  EXPECT_EQ(event.step().epoch().loss(), last.epoch().loss());
  context.TryCancel();
}

TEST_P(Progress, EarlyStoppingEndsTheBatches) {
  CreateModel();
  v1::TrainingConfig config = Config();
  config.mutable_early_stopping()->set_patience(1);
  TrainStream stream(*training_);
  ASSERT_TRUE(stream.Start("m", "r", config).has_attached());
  ASSERT_TRUE(stream.Step(MakeBatch(1)).has_step());
  EXPECT_FALSE(Validate(stream, MakeBatch(7)).stop());
  EXPECT_TRUE(Validate(stream, MakeBatch(7)).stop());  // no better than before
  // What is on its way is answered and not applied; its numbers are not used up.
  for (const uint64_t sequence : {uint64_t{2}, uint64_t{3}}) {
    const v1::TrainResponse response = stream.Step(MakeBatch(sequence));
    ASSERT_TRUE(response.has_step());
    EXPECT_TRUE(response.step().stopped());
    EXPECT_EQ(response.step().applied_through(), 1u);
  }
  // A batch of before is answered as ever.
  EXPECT_FALSE(stream.Step(MakeBatch(1)).step().stopped());
  const v1::TrainResponse finished = stream.Finish();
  ASSERT_TRUE(finished.has_finished());
  EXPECT_EQ(finished.finished().step(), 1u);
}

// The evaluation comes after the checkpoint of its step: what it changed is made again from the history.
TEST_P(Progress, EvaluationsAfterTheCheckpointCount) {
  CreateModel();
  v1::TrainingConfig config = Config();
  config.mutable_early_stopping()->set_patience(1);
  config.mutable_keep_best();
  {
    TrainStream stream(*training_);
    ASSERT_TRUE(stream.Start("m", "r", config).has_attached());
    ASSERT_TRUE(stream.Step(MakeBatch(1)).has_step());
    ASSERT_EQ(stream.Checkpoint().checkpoint().durable_through(), 1u);
    EXPECT_TRUE(Validate(stream, MakeBatch(7)).best());
    EXPECT_TRUE(Validate(stream, MakeBatch(7)).stop());
  }
  Restart();
  TrainStream stream(*training_);
  ASSERT_EQ(stream.Attach("r").attached().next_sequence(), 2u);
  EXPECT_TRUE(stream.Step(MakeBatch(2)).step().stopped());
  v1::TrainRequest publish;
  publish.mutable_publish()->set_weights(v1::BEST);
  EXPECT_EQ(stream.Ask(publish).published().step(), 1);
}

TEST_P(Progress, VersionsTakeOtherWeights) {
  CreateModel();
  v1::TrainingConfig config = Config();
  config.mutable_keep_best();
  config.mutable_optimizer()->mutable_moving_average();
  TrainStream stream(*training_);
  ASSERT_TRUE(stream.Start("m", "r", config).has_attached());
  ASSERT_TRUE(stream.Step(MakeBatch(1)).has_step());
  EXPECT_TRUE(Validate(stream, MakeBatch(1)).best());
  ASSERT_TRUE(stream.Step(MakeBatch(2)).has_step());
  const auto publish = [&](v1::WeightChoice choice) {
    v1::TrainRequest request;
    request.mutable_publish()->set_weights(choice);
    return stream.Ask(request).published();
  };
  const v1::VersionInfo best = publish(v1::BEST), present = publish(v1::PRESENT), averaged = publish(v1::AVERAGED);
  EXPECT_EQ(best.step(), 1);
  EXPECT_EQ(present.step(), 2);
  EXPECT_NE(present.digest(), averaged.digest());
  EXPECT_NE(present.digest(), best.digest());
  // A run with a moving average publishes it unless told otherwise, from outside of the stream, too.
  EXPECT_EQ(publish(v1::WEIGHT_CHOICE_UNSPECIFIED).digest(), averaged.digest());
  v1::PublishRequest request;
  request.set_model("m");
  request.set_run("r");
  request.set_weights(v1::PRESENT);
  v1::VersionInfo info;
  ASSERT_TRUE(Call(*models_, &v1::Models::Stub::Publish, request, &info).ok());
  EXPECT_EQ(info.digest(), present.digest());
  request.set_weights(static_cast<v1::WeightChoice>(77));
  ExpectStatus(Call(*models_, &v1::Models::Stub::Publish, request, &info), StatusCode::INVALID_ARGUMENT,
               "weights: must be a value of WeightChoice, got 77");
}

INSTANTIATE_TEST_SUITE_P(Transports, Progress, testing::Values(Transport::kInProcess, Transport::kLoopback),
                         [](const auto& info) {
                           return info.param == Transport::kInProcess ? "InProcess" : "Loopback";
                         });

}  // namespace
}  // namespace strata::service
