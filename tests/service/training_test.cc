// Runs over the wire: exactly once, attachments, checkpoints, watching.

#include <gtest/gtest.h>

#include <atomic>
#include <thread>

#include "absl/strings/str_cat.h"
#include "tests/service/server_fixture.h"

namespace strata::service {
namespace {

using grpc::StatusCode;

class Training : public ServerTest {
 protected:
  v1::RunInfo GetRun(const std::string& run) {
    v1::GetRunRequest request;
    request.set_run(run);
    v1::RunInfo info;
    EXPECT_TRUE(Call(*training_, &v1::Training::Stub::GetRun, request, &info).ok());
    return info;
  }
  // Waits for a state by watching: no polling.
  v1::RunInfo AwaitState(const std::string& run, v1::RunState state) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
    v1::WatchRunRequest request;
    request.set_run(run);
    request.set_from_step(1000000);
    const auto reader = training_->WatchRun(&context, request);
    v1::RunEvent event;
    while (reader->Read(&event)) {
      if (event.has_state() && event.state().state() == state) {
        context.TryCancel();
        break;
      }
    }
    v1::RunEvent ignored;
    while (reader->Read(&ignored)) {
    }
    reader->Finish();
    EXPECT_EQ(event.state().state(), state);
    return event.state();
  }
  // The weights of a run, through a version.
  std::string PublishedDigest(const std::string& model, const std::string& run) {
    v1::PublishRequest request;
    request.set_model(model);
    request.set_run(run);
    v1::VersionInfo info;
    const grpc::Status status = Call(*models_, &v1::Models::Stub::Publish, request, &info);
    EXPECT_TRUE(status.ok()) << status.error_message();
    inference::ModelInferRequest infer;
    infer.set_model_name(model);
    infer.set_model_version(absl::StrCat(info.version()));
    auto* input = infer.add_inputs();
    input->set_name("x");
    input->set_datatype("FP32");
    input->add_shape(2);
    input->add_shape(2);
    for (const float v : {1.f, 0.f, 0.f, 1.f}) input->mutable_contents()->add_fp32_contents(v);
    inference::ModelInferResponse response;
    EXPECT_TRUE(Call(*inference_, &inference::GRPCInferenceService::Stub::ModelInfer, infer, &response).ok());
    return response.raw_output_contents(1);
  }
  std::string Undisturbed(uint64_t steps) {
    CreateModel("reference");
    TrainStream stream(*training_);
    EXPECT_TRUE(stream.Start("reference", "undisturbed", Config()).has_attached());
    for (uint64_t i = 1; i <= steps; ++i) EXPECT_TRUE(stream.Step(MakeBatch(i)).has_step());
    EXPECT_TRUE(stream.Finish().has_finished());
    return PublishedDigest("reference", "undisturbed");
  }
};

TEST_P(Training, ARunFromStartToFinish) {
  CreateModel();
  TrainStream stream(*training_);
  v1::TrainRequest start;
  start.mutable_start()->set_model("m");
  *start.mutable_start()->mutable_config() = Config();
  start.set_request_id(77);
  v1::TrainResponse response = stream.Ask(start);
  EXPECT_EQ(response.request_id(), 77u);
  ASSERT_TRUE(response.has_attached());
  EXPECT_EQ(response.attached().next_sequence(), 1u);
  EXPECT_EQ(response.attached().window(), 8);
  const std::string run = response.attached().run();
  EXPECT_EQ(run.substr(0, 2), "m-");
  double first_loss = 0;
  for (uint64_t i = 1; i <= 50; ++i) {
    response = stream.Step(MakeBatch(i));
    ASSERT_TRUE(response.has_step());
    EXPECT_EQ(response.step().step(), i);
    EXPECT_EQ(response.step().applied_through(), i);
    EXPECT_GT(response.step().samples_per_second(), 0);
    if (i == 1) first_loss = response.step().loss();
  }
  EXPECT_LT(response.step().loss(), first_loss / 2);
  v1::TrainRequest evaluate;
  *evaluate.mutable_evaluate()->mutable_tensors() = MakeBatch(1).tensors();
  EXPECT_EQ(stream.Ask(evaluate).evaluate().samples(), 4);
  evaluate.mutable_evaluate()->set_last(true);
  response = stream.Ask(evaluate);
  EXPECT_EQ(response.evaluate().samples(), 8);
  EXPECT_EQ(response.evaluate().name(), "validation");
  EXPECT_EQ(response.evaluate().step(), 50u);
  EXPECT_EQ(stream.Checkpoint().checkpoint().durable_through(), 50u);
  response = stream.Finish();
  ASSERT_TRUE(response.has_finished());
  EXPECT_EQ(response.finished().state(), v1::SUCCEEDED);
  EXPECT_EQ(response.finished().durable_through(), 50u);
  EXPECT_EQ(response.finished().last_evaluation().samples(), 8);
  EXPECT_TRUE(stream.End().ok());
  TrainStream again(*training_);
  again.Attach(run);
  ExpectStatus(again.End(), StatusCode::FAILED_PRECONDITION, "has ended: SUCCEEDED");
}

TEST_P(Training, ABatchSentTwiceIsAppliedOnce) {
  CreateModel();
  TrainStream stream(*training_);
  ASSERT_TRUE(stream.Start("m", "r", Config()).has_attached());
  std::vector<double> losses;
  for (uint64_t i = 1; i <= 10; ++i) losses.push_back(stream.Step(MakeBatch(i)).step().loss());
  for (const uint64_t i : {uint64_t{10}, uint64_t{1}, uint64_t{7}}) {
    const v1::TrainResponse response = stream.Step(MakeBatch(i));
    ASSERT_TRUE(response.has_step());
    EXPECT_EQ(response.step().step(), i);
    EXPECT_EQ(response.step().loss(), losses[i - 1]);
    EXPECT_EQ(response.step().applied_through(), 10u);
  }
  ASSERT_TRUE(stream.Finish().has_finished());
  EXPECT_EQ(PublishedDigest("m", "r"), Undisturbed(10));
}

TEST_P(Training, TheWindowMayBeFilled) {
  CreateModel();
  TrainStream stream(*training_);
  ASSERT_TRUE(stream.Start("m", "r", Config()).has_attached());
  constexpr uint64_t kWindow = 8, kBatches = 40;
  const auto send = [&](uint64_t i) {
    v1::TrainRequest request;
    *request.mutable_batch() = MakeBatch(i);
    request.set_request_id(i);
    ASSERT_TRUE(stream.Send(request));
  };
  for (uint64_t i = 1; i <= kWindow; ++i) send(i);
  v1::TrainResponse response;
  for (uint64_t i = 1; i <= kBatches; ++i) {
    ASSERT_TRUE(stream.Read(&response));
    EXPECT_EQ(response.step().step(), i);
    EXPECT_EQ(response.request_id(), i);
    if (i + kWindow <= kBatches) send(i + kWindow);
  }
}

TEST_P(Training, AnOlderAttachmentIsAborted) {
  CreateModel();
  TrainStream first(*training_);
  const uint64_t epoch = first.Start("m", "r", Config()).attached().epoch();
  ASSERT_TRUE(first.Step(MakeBatch(1)).has_step());
  TrainStream second(*training_);
  const v1::TrainResponse attached = second.Attach("r");
  ASSERT_TRUE(attached.has_attached());
  EXPECT_GT(attached.attached().epoch(), epoch);
  EXPECT_EQ(attached.attached().next_sequence(), 2u);
  ExpectStatus(first.End(), StatusCode::ABORTED, "another client attached");
  EXPECT_TRUE(second.Step(MakeBatch(2)).has_step());
}

TEST_P(Training, ABrokenStreamInterruptsTheRunAndAttachingGoesOn) {
  const std::string want = Undisturbed(20);
  CreateModel();
  uint64_t next = 1;
  for (const uint64_t until : {uint64_t{7}, uint64_t{8}, uint64_t{20}}) {
    TrainStream stream(*training_);
    const v1::TrainResponse attached = next == 1 ? stream.Start("m", "r", Config(5)) : stream.Attach("r");
    ASSERT_TRUE(attached.has_attached());
    ASSERT_EQ(attached.attached().next_sequence(), next);
    for (; next <= until; ++next) ASSERT_TRUE(stream.Step(MakeBatch(next)).has_step());
    stream.Cancel();
    stream.End();
    const v1::RunInfo info = AwaitState("r", v1::INTERRUPTED);
    EXPECT_EQ(info.durable_through(), until);
  }
  EXPECT_EQ(PublishedDigest("m", "r"), want);
}

TEST_P(Training, AClientThatStopsSendingHasItsBatchesApplied) {
  CreateModel();
  TrainStream stream(*training_);
  ASSERT_TRUE(stream.Start("m", "r", Config()).has_attached());
  for (uint64_t i = 1; i <= 5; ++i) {
    v1::TrainRequest request;
    *request.mutable_batch() = MakeBatch(i);
    ASSERT_TRUE(stream.Send(request));
  }
  stream.HalfClose();
  v1::TrainResponse response;
  for (uint64_t i = 1; i <= 5; ++i) ASSERT_TRUE(stream.Read(&response));
  EXPECT_TRUE(stream.End().ok());
  EXPECT_EQ(AwaitState("r", v1::INTERRUPTED).durable_through(), 5u);
}

TEST_P(Training, StepsThatAreNotFinite) {
  CreateModel();
  v1::Batch bad = MakeBatch(2);
  (*bad.mutable_tensors())["x"] = TensorOf({4, 2}, {NAN, 0, 0, 0, 0, 0, 0, 0});
  {
    TrainStream stream(*training_);
    ASSERT_TRUE(stream.Start("m", "skips", Config()).has_attached());
    ASSERT_TRUE(stream.Step(MakeBatch(1)).has_step());
    const v1::TrainResponse skipped = stream.Step(bad);
    EXPECT_TRUE(skipped.step().skipped());
    EXPECT_EQ(skipped.step().step(), 2u);
    EXPECT_FALSE(stream.Step(MakeBatch(3)).step().skipped());
  }
  v1::TrainingConfig config = Config();
  config.set_non_finite(v1::FAIL_RUN);
  TrainStream stream(*training_);
  ASSERT_TRUE(stream.Start("m", "fails", config).has_attached());
  ASSERT_TRUE(stream.Step(MakeBatch(1)).has_step());
  EXPECT_FALSE(stream.Step(bad).has_step());
  ExpectStatus(stream.End(), StatusCode::FAILED_PRECONDITION, "must be finite");
  const v1::RunInfo info = GetRun("fails");
  EXPECT_EQ(info.state(), v1::FAILED);
  EXPECT_EQ(info.error(), "step: loss must be finite");
}

TEST_P(Training, CancelledRunsEnd) {
  CreateModel();
  TrainStream stream(*training_);
  ASSERT_TRUE(stream.Start("m", "r", Config()).has_attached());
  ASSERT_TRUE(stream.Step(MakeBatch(1)).has_step());
  v1::CancelRunRequest request;
  request.set_run("r");
  v1::RunInfo info;
  ASSERT_TRUE(Call(*training_, &v1::Training::Stub::CancelRun, request, &info).ok());
  EXPECT_EQ(info.state(), v1::CANCELLED);
  ExpectStatus(stream.End(), StatusCode::ABORTED, "was cancelled");
  EXPECT_TRUE(Call(*training_, &v1::Training::Stub::CancelRun, request, &info).ok());
  TrainStream again(*training_);
  again.Attach("r");
  ExpectStatus(again.End(), StatusCode::FAILED_PRECONDITION, "has ended: CANCELLED");
}

TEST_P(Training, WatchingGivesTheHistoryThenWhatHappens) {
  CreateModel();
  TrainStream stream(*training_);
  ASSERT_TRUE(stream.Start("m", "r", Config()).has_attached());
  for (uint64_t i = 1; i <= 600; ++i) ASSERT_TRUE(stream.Step(MakeBatch(i)).has_step());
  grpc::ClientContext context;
  v1::WatchRunRequest request;
  request.set_run("r");
  request.set_from_step(4);
  const auto reader = training_->WatchRun(&context, request);
  v1::RunEvent event;
  ASSERT_TRUE(reader->Read(&event));
  EXPECT_EQ(event.state().state(), v1::RUNNING);
  uint64_t step = 4;
  for (; step <= 600; ++step) {
    ASSERT_TRUE(reader->Read(&event));
    ASSERT_EQ(event.step().step(), step);
  }
  ASSERT_TRUE(stream.Step(MakeBatch(601)).has_step());
  ASSERT_TRUE(reader->Read(&event));
  EXPECT_EQ(event.step().step(), 601u);
  ASSERT_TRUE(stream.Finish().has_finished());
  v1::RunState last = v1::RUN_STATE_UNSPECIFIED;
  while (reader->Read(&event)) {
    ASSERT_TRUE(event.has_state());
    last = event.state().state();
  }
  EXPECT_EQ(last, v1::SUCCEEDED);
  EXPECT_TRUE(reader->Finish().ok());
}

TEST_P(Training, ARestartKeepsEverything) {
  CreateModel();
  TrainAndPublish("m", "done");
  {
    TrainStream stream(*training_);
    ASSERT_TRUE(stream.Start("m", "open", Config()).has_attached());
    for (uint64_t i = 1; i <= 5; ++i) ASSERT_TRUE(stream.Step(MakeBatch(i)).has_step());
    // The server stops in order while the stream is open.
    server_->Shutdown();
    ExpectStatus(stream.End(), StatusCode::UNAVAILABLE, "");
  }
  Restart();
  EXPECT_EQ(GetRun("done").state(), v1::SUCCEEDED);
  EXPECT_EQ(GetRun("done").last().step(), 3u);
  const v1::RunInfo open = GetRun("open");
  EXPECT_EQ(open.state(), v1::INTERRUPTED);
  EXPECT_EQ(open.durable_through(), 5u);
  EXPECT_EQ(open.last().step(), 5u);
  v1::ListVersionsRequest versions;
  versions.set_model("m");
  v1::ListVersionsResponse listed;
  ASSERT_TRUE(Call(*models_, &v1::Models::Stub::ListVersions, versions, &listed).ok());
  ASSERT_EQ(listed.versions_size(), 1);
  EXPECT_TRUE(listed.versions(0).serving());
  TrainStream stream(*training_);
  EXPECT_EQ(stream.Attach("open").attached().next_sequence(), 6u);
  EXPECT_TRUE(stream.Step(MakeBatch(6)).has_step());
}

TEST_P(Training, WatchersOfAnOpenRunDoNotHoldUpTheServer) {
  CreateModel();
  {
    TrainStream stream(*training_);
    ASSERT_TRUE(stream.Start("m", "r", Config()).has_attached());
  }
  AwaitState("r", v1::INTERRUPTED);
  grpc::ClientContext context;
  v1::WatchRunRequest request;
  request.set_run("r");
  const auto reader = training_->WatchRun(&context, request);
  v1::RunEvent event;
  ASSERT_TRUE(reader->Read(&event));
  const absl::Time began = absl::Now();
  server_->Shutdown();
  EXPECT_LT(absl::Now() - began, absl::Seconds(15));  // the drain's deadline is 30
  EXPECT_FALSE(reader->Read(&event));
  ExpectStatus(reader->Finish(), StatusCode::UNAVAILABLE, "");
}

TEST_P(Training, ARunThatTrainsProtectsItsModel) {
  CreateModel();
  v1::DeleteModelRequest remove;
  remove.set_name("m");
  v1::DeleteModelResponse removed;
  {
    TrainStream stream(*training_);
    ASSERT_TRUE(stream.Start("m", "r", Config()).has_attached());
    ExpectStatus(Call(*models_, &v1::Models::Stub::Delete, remove, &removed), StatusCode::FAILED_PRECONDITION,
                 "trains it");
  }
  AwaitState("r", v1::INTERRUPTED);
  EXPECT_TRUE(Call(*models_, &v1::Models::Stub::Delete, remove, &removed).ok());
  v1::GetRunRequest get;
  get.set_run("r");
  v1::RunInfo info;
  ExpectStatus(Call(*training_, &v1::Training::Stub::GetRun, get, &info), StatusCode::NOT_FOUND, "run: must exist");
}

TEST_P(Training, OneRunDoesNotHoldUpAnother) {
  CreateModel();
  TrainStream a(*training_), b(*training_);
  ASSERT_TRUE(a.Start("m", "a", Config()).has_attached());
  ASSERT_TRUE(b.Start("m", "b", Config()).has_attached());
  for (uint64_t i = 1; i <= 10; ++i) {
    ASSERT_TRUE(a.Step(MakeBatch(i)).has_step());
    ASSERT_TRUE(b.Step(MakeBatch(i)).has_step());
  }
  v1::ListRunsRequest request;
  request.set_page_size(1);
  v1::ListRunsResponse response;
  ASSERT_TRUE(Call(*training_, &v1::Training::Stub::ListRuns, request, &response).ok());
  ASSERT_EQ(response.runs_size(), 1);
  EXPECT_EQ(response.runs(0).run(), "a");
  request.set_page_token(response.next_page_token());
  ASSERT_TRUE(Call(*training_, &v1::Training::Stub::ListRuns, request, &response).ok());
  EXPECT_EQ(response.runs(0).run(), "b");
  EXPECT_TRUE(response.next_page_token().empty());
}

// Many clients that find the last place free at the same time: as many get one as there are.
TEST_P(Training, PlacesAreNotGivenTwice) {
  options_.max_active_runs = 3;
  Restart();
  CreateModel();
  constexpr int kClients = 24;
  std::vector<std::unique_ptr<TrainStream>> streams;
  for (int i = 0; i < kClients; ++i) streams.push_back(std::make_unique<TrainStream>(*training_));
  std::atomic<int> attached{0};
  std::vector<std::thread> threads;
  for (int i = 0; i < kClients; ++i) {
    threads.emplace_back([&, i] {
      if (streams[static_cast<size_t>(i)]->Start("m", absl::StrCat("r", i), Config()).has_attached()) {
        ++attached;
      } else {
        ExpectStatus(streams[static_cast<size_t>(i)]->End(), StatusCode::RESOURCE_EXHAUSTED, "runs: ");
      }
    });
  }
  for (std::thread& thread : threads) thread.join();
  EXPECT_EQ(attached, 3);
}

INSTANTIATE_TEST_SUITE_P(Transports, Training, testing::Values(Transport::kInProcess, Transport::kLoopback),
                         [](const auto& info) {
                           return info.param == Transport::kInProcess ? "InProcess" : "Loopback";
                         });

}  // namespace
}  // namespace strata::service
