// Parts of the service on their own.

#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>

#include <gtest/gtest.h>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/synchronization/notification.h"
#include "service/core/names.h"
#include "service/core/registry.h"
#include "service/core/wire.h"
#include "service/core/worker_pool.h"
#include "service/obs/metrics.h"
#include "service/store/history_writer.h"
#include "tests/service/temp_dir.h"

namespace strata::service {
namespace {

TEST(Names, QuoteEscapesAndCuts) {
  EXPECT_EQ(Quote("a\n\"b\""), "\"a\\n\\\"b\\\"\"");
  EXPECT_EQ(Quote(std::string(100, 'x')), absl::StrCat("\"", std::string(80, 'x'), "\"... (100 bytes)"));
}

TEST(Names, Check) {
  for (const char* good : {"a", "A.b-c_9", "0"}) EXPECT_TRUE(CheckName("name", good).ok()) << good;
  for (const char* bad : {"", "-a", ".a", "a/b", "a b", "ä", "a\n"}) EXPECT_FALSE(CheckName("name", bad).ok()) << bad;
}

TEST(Wire, EveryTypeHasANameOnBothWires) {
  for (int i = 0; i <= static_cast<int>(DType::kText); ++i) {
    const DType type = static_cast<DType>(i);
    EXPECT_EQ(FromWire(ToWire(type)), type);
    EXPECT_EQ(FromOipName(OipName(type)), type);
  }
  EXPECT_EQ(FromWire(v1::DATA_TYPE_UNSPECIFIED), std::nullopt);
  EXPECT_EQ(FromOipName(""), std::nullopt);
}

TEST(Registry, NumbersOnTheWire) {
  EXPECT_EQ(*ParseVersion("v", "12"), 12);
  for (const char* bad : {"0", "-1", "1.5", "", " 1", "1 ", "0x1", "9223372036854775808"}) {
    EXPECT_FALSE(ParseVersion("v", bad).ok()) << bad;
  }
  EXPECT_EQ(*PageSize(0), 100);
  EXPECT_EQ(*PageSize(1000), 1000);
  EXPECT_FALSE(PageSize(1001).ok());
}

TEST(WorkerPool, TheQueueIsBoundedAndEverythingInItRuns) {
  absl::Notification entered, leave;
  int ran = 0;
  {
    WorkerPool pool({.name = "test", .threads = 1, .max_queue = 2});
    ASSERT_TRUE(pool.TryAdd([&] {
      entered.Notify();
      leave.WaitForNotification();
    }));
    entered.WaitForNotification();
    EXPECT_TRUE(pool.TryAdd([&] { ++ran; }));
    EXPECT_TRUE(pool.TryAdd([&] { ++ran; }));
    EXPECT_FALSE(pool.TryAdd([&] { ++ran; }));
    pool.Add([&] { ++ran; });  // what the server owes itself is never refused
    leave.Notify();
  }
  EXPECT_EQ(ran, 3);
}

TEST(HistoryWriter, FlushMakesWhatCameBeforeDurableInOneTransaction) {
  TempDir dir;
  auto store = Store::Open(dir.path());
  ASSERT_TRUE(store.ok());
  ModelRecord model{.name = "m"};
  ASSERT_TRUE((*store)->AddModel(&model).ok());
  RunRecord run{.name = "r", .model_id = model.id};
  ASSERT_TRUE((*store)->AddRun(&run).ok());
  int commits = 0;
  HistoryWriter writer(store->get(), {.interval = absl::Hours(1), .on_commit = [&](const std::vector<int64_t>& runs) {
                                        EXPECT_EQ(runs, std::vector<int64_t>{run.id});
                                        ++commits;
                                      }});
  for (int64_t i = 1; i <= 100; ++i) writer.Add({run.id, i, i, false, "x"});
  ASSERT_TRUE(writer.Flush().ok());
  EXPECT_EQ((*store)->ReadHistory(run.id, 0, 0, 1000)->size(), 100u);
  ASSERT_TRUE(writer.Flush().ok());  // also after nothing
  EXPECT_EQ(commits, 1);
}

// A full disk (here: a limit on the size of files) is told once many rows wait, and forgotten when there is room again.
TEST(HistoryWriter, SaysThatTheDiskIsFullBeforeMemoryIs) {
  TempDir dir;
  const pid_t child = ::fork();
  if (child == 0) {
    auto store = Store::Open(dir.path());
    ModelRecord model{.name = "m"};
    RunRecord run{.name = "r"};
    if (!store.ok() || !(*store)->AddModel(&model).ok()) ::_exit(1);
    run.model_id = model.id;
    if (!(*store)->AddRun(&run).ok()) ::_exit(2);
    ::signal(SIGXFSZ, SIG_IGN);
    rlimit limit{};
    ::getrlimit(RLIMIT_FSIZE, &limit);
    const rlimit small{4096, limit.rlim_max};
    ::setrlimit(RLIMIT_FSIZE, &small);
    HistoryWriter writer(store->get(), {.max_rows = 100, .retry = absl::Hours(1), .on_commit = {}});
    int64_t i = 0;
    for (; i < 5; ++i) writer.Add({run.id, i + 1, i + 1, false, std::string(5000, 'x')});
    if (writer.Flush().ok()) ::_exit(3);
    if (!writer.Ready().ok()) ::_exit(4);  // few rows wait: training goes on
    for (; i < 20; ++i) writer.Add({run.id, i + 1, i + 1, false, std::string(5000, 'x')});
    if (writer.Ready().ok()) ::_exit(5);
    ::setrlimit(RLIMIT_FSIZE, &limit);
    if (!writer.Flush().ok() || !writer.Ready().ok()) ::_exit(6);
    ::_exit((*store)->ReadHistory(run.id, 0, 0, 1000)->size() == 20 ? 0 : 7);
  }
  int status = 0;
  ASSERT_EQ(::waitpid(child, &status, 0), child);
  ASSERT_TRUE(WIFEXITED(status));
  EXPECT_EQ(WEXITSTATUS(status), 0);
}

TEST(Metrics, SeriesAreCapped) {
  Metrics metrics({.max_models = 3, .max_runs = 2});
  for (int i = 0; i < 10; ++i) {
    const std::string name = absl::StrCat("n", i);
    metrics.InferenceDone(name, "OK", absl::Seconds(1), absl::ZeroDuration());
    metrics.StepDone(name, name, {.loss = 1}, absl::UnixEpoch());
  }
  const std::string text = metrics.Text();
  EXPECT_TRUE(absl::StrContains(text, "strata_inference_requests_total{code=\"OK\",model=\"n2\"} 1"));
  EXPECT_FALSE(absl::StrContains(text, "strata_inference_requests_total{code=\"OK\",model=\"n3\"}"));
  EXPECT_TRUE(absl::StrContains(text, "strata_inference_requests_total{code=\"OK\",model=\"_other\"} 7"));
  // The runs that trained last.
  EXPECT_FALSE(absl::StrContains(text, "run=\"n7\""));
  EXPECT_TRUE(absl::StrContains(text, "run=\"n8\""));
  EXPECT_TRUE(absl::StrContains(text, "run=\"n9\""));
  metrics.ModelGone("n0");
  EXPECT_FALSE(absl::StrContains(metrics.Text(), "model=\"n0\""));
}

}  // namespace
}  // namespace strata::service
