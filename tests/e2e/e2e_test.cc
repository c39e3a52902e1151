// The server and the client as users run them.

#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <functional>
#include <map>
#include <memory>

#include "absl/strings/str_cat.h"
#include "strata/v1/services.grpc.pb.h"
#include "tests/e2e/process.h"
#include "tests/e2e/python.h"
#include "tests/service/temp_dir.h"

namespace strata::e2e {
namespace {

using service::TempDir;

const char kModel[] = STRATA_SOURCE "/examples/fashion_mnist/mlp.json";

class Api {
 public:
  explicit Api(const std::string& address)
      : channel_(grpc::CreateChannel(address, grpc::InsecureChannelCredentials())),
        models_(v1::Models::NewStub(channel_)),
        training_(v1::Training::NewStub(channel_)) {}

  v1::RunInfo GetRun(const std::string& run) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    context.set_wait_for_ready(true);
    v1::GetRunRequest request;
    request.set_run(run);
    v1::RunInfo info;
    training_->GetRun(&context, request, &info);
    return info;
  }
  v1::ListVersionsResponse Versions(const std::string& model) {
    grpc::ClientContext context;
    v1::ListVersionsRequest request;
    request.set_model(model);
    v1::ListVersionsResponse response;
    models_->ListVersions(&context, request, &response);
    return response;
  }
  // Reads the history of a run until `done` says so or the stream ends.
  void Watch(const std::string& run, uint64_t from_step, const std::function<bool(const v1::RunEvent&)>& done) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(120));
    v1::WatchRunRequest request;
    request.set_run(run);
    request.set_from_step(from_step);
    const auto reader = training_->WatchRun(&context, request);
    v1::RunEvent event;
    while (reader->Read(&event)) {
      if (!done(event)) continue;
      context.TryCancel();
      while (reader->Read(&event)) {
      }
      break;
    }
    reader->Finish();
  }

 private:
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<v1::Models::Stub> models_;
  std::unique_ptr<v1::Training::Stub> training_;
};

std::vector<std::string> Client(const std::string& server, std::vector<std::string> words) {
  words.insert(words.begin(), {STRATA_BIN "/strata", "--server", server});
  return words;
}

class EndToEnd : public testing::Test {
 protected:
  // Runs a client command to its end.
  Process& Run(const std::string& server, const std::vector<std::string>& words, int want) {
    clients_.push_back(
        std::make_unique<Process>(Client(server, words), dir_ / ("client" + std::to_string(clients_.size()))));
    Process& process = *clients_.back();
    EXPECT_EQ(process.Wait(120), want) << process.Output() << process.Errors();
    return process;
  }
  std::vector<std::string> TrainCommand() {
    return {"train",    "fashion_mlp", "--limit", "7000", "--validation", "600", "--batch",   "64",
            "--epochs", "4",           "--seed",  "5",    "--run",        "r",   "--publish", "--checkpoint-every",
            "20"};
  }

  TempDir dir_;
  std::vector<std::unique_ptr<Process>> clients_;
};

constexpr int kSteps = 4 * 100;

// The client goes on by itself after the server was killed, twice, and the weights are the same bytes as those of a run
// that nothing disturbed.
TEST_F(EndToEnd, SigkillDuringTrainingChangesNoBitOfTheResult) {
  std::string undisturbed;
  {
    ServerProcess server(dir_ / "a", dir_ / "server-a");
    ASSERT_FALSE(server.grpc().empty()) << server.process().Errors();
    Run(server.grpc(), {"models", "create", kModel}, 0);
    Run(server.grpc(), TrainCommand(), 0);
    const auto versions = Api(server.grpc()).Versions("fashion_mlp");
    ASSERT_EQ(versions.versions_size(), 1);
    EXPECT_EQ(versions.versions(0).step(), kSteps);
    undisturbed = versions.versions(0).digest();
    server.process().Signal(SIGTERM);
    EXPECT_EQ(server.process().Wait(30), 0);
  }
  auto server = std::make_unique<ServerProcess>(dir_ / "b", dir_ / "server-b0");
  const std::string address = server->grpc();
  ASSERT_FALSE(address.empty());
  Run(address, {"models", "create", kModel}, 0);
  Process client(Client(address, TrainCommand()), dir_ / "trainer");
  client.AwaitLine("run r:", 30);
  for (const uint64_t kill_at : {uint64_t{50}, uint64_t{230}}) {
    uint64_t step = 0;
    for (int attempt = 0; attempt < 100 && step < kill_at; ++attempt) {
      // The run may not exist yet.
      Api(address).Watch("r", 1, [&](const v1::RunEvent& event) {
        if (event.has_step()) step = event.step().step();
        return step >= kill_at;
      });
    }
    ASSERT_GE(step, kill_at);
    server->process().Signal(SIGKILL);
    ASSERT_EQ(server->process().Wait(10), 128 + SIGKILL);
    server = std::make_unique<ServerProcess>(dir_ / "b", dir_ / ("server-b" + std::to_string(kill_at)), address);
    ASSERT_EQ(server->grpc(), address) << server->process().Errors();
  }
  ASSERT_EQ(client.Wait(120), 0) << client.Output() << client.Errors();
  const auto versions = Api(address).Versions("fashion_mlp");
  ASSERT_EQ(versions.versions_size(), 1);
  EXPECT_EQ(versions.versions(0).step(), kSteps);
  EXPECT_EQ(versions.versions(0).digest(), undisturbed);
  // Every step is in the history once, in order.
  std::vector<uint64_t> steps;
  int evaluations = 0;
  Api(address).Watch("r", 1, [&](const v1::RunEvent& event) {
    if (event.has_step()) steps.push_back(event.step().step());
    if (event.has_evaluation()) ++evaluations;
    return false;
  });
  ASSERT_EQ(steps.size(), static_cast<size_t>(kSteps));
  for (size_t i = 0; i < steps.size(); ++i) ASSERT_EQ(steps[i], i + 1);
  EXPECT_EQ(evaluations, 4);
}

TEST_F(EndToEnd, ARestartInOrderKeepsNamesVersionsAndHistory) {
  std::string digest, address;
  {
    ServerProcess server(dir_ / "data", dir_ / "server");
    address = server.grpc();
    Run(address, {"models", "create", kModel}, 0);
    Run(address, TrainCommand(), 0);
    digest = Api(address).Versions("fashion_mlp").versions(0).digest();
    server.process().Signal(SIGTERM);
    ASSERT_EQ(server.process().Wait(30), 0) << server.process().Errors();
  }
  ServerProcess server(dir_ / "data", dir_ / "again");
  Api api(server.grpc());
  EXPECT_EQ(api.Versions("fashion_mlp").versions(0).digest(), digest);
  EXPECT_TRUE(api.Versions("fashion_mlp").versions(0).serving());
  EXPECT_EQ(api.GetRun("r").state(), v1::SUCCEEDED);
  EXPECT_EQ(api.GetRun("r").step(), static_cast<uint64_t>(kSteps));
  uint64_t next = 395;
  api.Watch("r", next, [&](const v1::RunEvent& event) {
    if (event.has_step()) {
      EXPECT_EQ(event.step().step(), next++);
    }
    return false;
  });
  EXPECT_EQ(next, kSteps + 1u);
  EXPECT_NE(Run(server.grpc(), {"infer", "fashion_mlp", "--limit", "1000"}, 0).Output().find("test accuracy 0."),
            std::string::npos);
}

TEST_F(EndToEnd, SigtermDuringTrainingIsACheckpointAndTheClientGoesOn) {
  auto server = std::make_unique<ServerProcess>(dir_ / "data", dir_ / "server");
  const std::string address = server->grpc();
  Run(address, {"models", "create", kModel}, 0);
  Process client(Client(address, TrainCommand()), dir_ / "trainer");
  client.AwaitLine("run r:", 30);
  uint64_t step = 0;
  for (int attempt = 0; attempt < 100 && step < 50; ++attempt) {
    Api(address).Watch("r", 1, [&](const v1::RunEvent& event) {
      if (event.has_step()) step = event.step().step();
      return step >= 50;
    });
  }
  server->process().Signal(SIGTERM);
  ASSERT_EQ(server->process().Wait(30), 0) << server->process().Errors();
  server = std::make_unique<ServerProcess>(dir_ / "data", dir_ / "again", address);
  ASSERT_EQ(client.Wait(120), 0) << client.Output() << client.Errors();
  EXPECT_EQ(Api(address).GetRun("r").step(), static_cast<uint64_t>(kSteps));
}

// A balancer learns that the server goes before the server goes.
TEST_F(EndToEnd, TheLameDuckAnswers) {
  ServerProcess server(dir_ / "data", dir_ / "server", "127.0.0.1:0", {"--lame_duck=3s"});
  Run(server.grpc(), {"models", "create", kModel}, 0);
  Run(server.grpc(), {"health"}, 0);
  server.process().Signal(SIGTERM);
  while (server.process().Errors().find("stopping") == std::string::npos) ASSERT_EQ(server.process().Wait(0), -1);
  // Health says no within the three seconds, and requests are answered.
  int health = 0;
  for (int i = 0; i < 100 && health == 0; ++i) {
    Process process(Client(server.grpc(), {"health"}), dir_ / "health");
    health = process.Wait(10);
  }
  EXPECT_EQ(health, 1);
  Run(server.grpc(), {"models", "get", "fashion_mlp"}, 0);
  EXPECT_EQ(server.process().Wait(30), 0) << server.process().Errors();
}

TEST_F(EndToEnd, WhatCannotStartSaysWhy) {
  ServerProcess server(dir_ / "data", dir_ / "server");
  ASSERT_FALSE(server.grpc().empty());
  const std::string bin = STRATA_BIN "/strata-server";
  const struct {
    const char* name;
    std::vector<std::string> flags;
    int code;
    std::string words;
  } kCases[] = {
      {"directory in use", {"--data_dir=" + (dir_ / "data")}, 1, "is in use by another strata-server"},
      {"port in use",
       {"--data_dir=" + (dir_ / "other"), "--grpc_address=" + server.grpc(), "--http_address="},
       1,
       "--grpc_address: cannot listen on " + server.grpc()},
      {"metrics port in use",
       {"--data_dir=" + (dir_ / "other"), "--grpc_address=127.0.0.1:0", "--http_address=" + server.http()},
       1,
       "--http_address: cannot listen on"},
      {"metrics on IPv6",
       {"--data_dir=" + (dir_ / "other"), "--grpc_address=127.0.0.1:0", "--http_address=[::1]:0"},
       1,
       "--http_address: cannot listen on [::1]:0: the HTTP library may know IPv4 alone"},
      {"no directory", {}, 2, "--data_dir must be given"},
      {"bad number", {"--data_dir=x", "--window=0"}, 2, "--window must be in [1, 4096], got 0"},
      {"too many threads",
       {"--data_dir=x", "--inference_threads=100000"},
       2,
       "--inference_threads must be in [0, 1024], got 100000"},
      {"no number", {"--data_dir=x", "--threads=two"}, 2, "--threads must be a whole number of 32 bits, got \"two\""},
      {"no unit", {"--data_dir=x", "--drain=5"}, 2, "--drain must be a duration such as 5s or 250ms, got \"5\""},
      {"negative duration", {"--data_dir=x", "--lame_duck=-5s"}, 2, "--lame_duck must be >= 0s and finite, got -5s"},
      {"unknown flag", {"--data_dir=x", "--bogus=1"}, 2, "--bogus is no flag; see --help"},
      {"no value", {"--data_dir"}, 2, "--data_dir must have a value, got nothing"},
      {"argument", {"--data_dir=x", "y"}, 2, "takes no arguments but flags, got \"y\""},
      {"address without a port",
       {"--data_dir=" + (dir_ / "other"), "--grpc_address=127.0.0.1"},
       1,
       "--grpc_address: must be HOST:PORT, got \"127.0.0.1\""},
      {"port too large",
       {"--data_dir=" + (dir_ / "other"), "--grpc_address=127.0.0.1:65536"},
       1,
       "--grpc_address: must be HOST:PORT, got \"127.0.0.1:65536\""},
      {"directory that cannot be made", {"--data_dir=/proc/strata"}, 1, "data_dir: cannot create"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    std::vector<std::string> command{bin};
    command.insert(command.end(), c.flags.begin(), c.flags.end());
    Process process(command, dir_ / "refused");
    EXPECT_EQ(process.Wait(30), c.code) << process.Errors();
    EXPECT_NE(process.Errors().find(c.words), std::string::npos) << process.Errors();
  }
}

TEST_F(EndToEnd, TheServerExplainsItsFlags) {
  Process help({STRATA_BIN "/strata-server", "--help"}, dir_ / "help");
  EXPECT_EQ(help.Wait(30), 0) << help.Errors();
  for (const char* words : {"--data_dir", "--max_message_mb\n", "default 256", "--drain\n", "default 20s"}) {
    EXPECT_NE(help.Output().find(words), std::string::npos) << words << " in\n" << help.Output();
  }
  EXPECT_EQ(help.Output().find("--flagfile"), std::string::npos);  // the library's own
  Process version({STRATA_BIN "/strata-server", "--version"}, dir_ / "version");
  EXPECT_EQ(version.Wait(30), 0);
  EXPECT_EQ(version.Output().rfind("strata-server ", 0), 0u) << version.Output();
}

TEST_F(EndToEnd, TheClientsExitCodes) {
  ServerProcess server(dir_ / "data", dir_ / "server");
  Run(server.grpc(), {"health"}, 0);
  Run(server.grpc(), {"models", "get", "nobody"}, 1);
  Run(server.grpc(), {"no", "such", "command"}, 2);
  Process number(Client(server.grpc(), {"train", "m", "--epochs", "0"}), dir_ / "number");
  EXPECT_EQ(number.Wait(30), 2);
  EXPECT_EQ(number.Errors(), "strata: --epochs: must be a whole number >= 1, got \"0\"; see strata train --help\n");
  Process full({"/bin/sh", "-c", absl::StrCat(STRATA_BIN "/strata --server ", server.grpc(), " health > /dev/full")},
               dir_ / "full");
  EXPECT_EQ(full.Wait(30), 1);
  EXPECT_EQ(full.Errors(), "strata: standard output: could not be written\n");
  Run("127.0.0.1:1", {"models", "list"}, 3);
}

// An unmodified client of another project asks a model that is training.
TEST_F(EndToEnd, TritonsPythonClientWhileTheModelTrains) {
  const std::string python = PythonWithTriton();
  ServerProcess server(dir_ / "data", dir_ / "server");
  Run(server.grpc(), {"models", "create", kModel}, 0);
  Run(server.grpc(), TrainCommand(), 0);
  Process trainer(Client(server.grpc(), {"train", "fashion_mlp", "--epochs", "1000", "--run", "long"}),
                  dir_ / "trainer");
  Api api(server.grpc());
  uint64_t before = 0;
  // The trainer needs a moment to start the run.
  for (int i = 0; i < 60 && before == 0 && trainer.Wait(1) == -1; ++i) {
    api.Watch("long", 1, [&](const v1::RunEvent& event) { return (before = event.step().step()) > 0; });
  }
  ASSERT_GT(before, 0u) << trainer.Errors();
  Process client({python, STRATA_SOURCE "/tests/e2e/triton_client.py", server.grpc()}, dir_ / "triton");
  EXPECT_EQ(client.Wait(120), 0) << client.Output() << client.Errors();
  const v1::RunInfo after = api.GetRun("long");
  EXPECT_EQ(after.state(), v1::RUNNING);
  EXPECT_GT(after.step(), before);
  Run(server.grpc(), {"runs", "cancel", "long"}, 0);
}

TEST_F(EndToEnd, ComponentsOfTheCommandLine) {
  ServerProcess server(dir_ / "data", dir_ / "server");
  const auto write = [&](const std::string& name, const std::string& text) {
    std::ofstream(dir_ / name) << text;
    return dir_ / name;
  };
  const std::string one =
      write("one.json", R"({"name": "Twice", "kind": "LAYER", "doc": "Two of it.", "body": "x * 2"})");
  const std::string two = write("two.json", R"({"name": "Twice", "version": "2", "kind": "LAYER", "body": "x + x"})");
  const auto says = [&](const std::vector<std::string>& words, const std::string& want) {
    const std::string output = Run(server.grpc(), words, 0).Output();
    EXPECT_NE(output.find(want), std::string::npos) << output;
    return output;
  };
  says({"components", "list", "loss"}, "cross_entropy");
  says({"components", "get", "mean_squared_error"}, "metric mean_squared_error");
  says({"components", "get", "mean_squared_error", "--family", "loss"}, "MSELoss");
  says({"components", "register", one}, "registered layer Twice@1");
  says({"components", "register", two}, "registered layer Twice@2");
  EXPECT_NE(says({"components", "list", "layer"}, "Twice@1").find("Twice@2"), std::string::npos);
  EXPECT_EQ(says({"components", "list", "loss"}, "huber").find("Twice"), std::string::npos);
  says({"components", "get", "Twice"}, "x + x");
  says({"components", "get", "Twice@1"}, "x * 2");
  says({"components", "delete", "Twice@2"}, "deleted component Twice@2");
  says({"components", "get", "Twice"}, "x * 2");
  says({"components", "delete", "Twice"}, "deleted component Twice");
  Run(server.grpc(), {"components", "get", "Twice"}, 1);
  Run(server.grpc(), {"components", "delete", "Twice@1@2"}, 1);
  Run(server.grpc(),
      {"components", "register", write("bad.json", R"({"name": "Bad", "kind": "LAYER", "body": "x @@"})")}, 1);
  Run(server.grpc(), {"components"}, 2);
}

// oneDNN's Debian build would make a pool of threads for each of ours that opens a parallel region, and they spin. None
// does: the threads of training and inference are as many as the flags say, however many OpenMP may make.
TEST_F(EndToEnd, NoThreadOpensAParallelRegion) {
  ASSERT_EQ(setenv("OMP_NUM_THREADS", "16", 1), 0);
  ServerProcess server(dir_ / "data", dir_ / "server", "127.0.0.1:0", {"--threads=2", "--inference_threads=2"});
  unsetenv("OMP_NUM_THREADS");
  Run(server.grpc(), {"models", "create", STRATA_SOURCE "/examples/fashion_mnist/convnet.json"}, 0);
  Run(server.grpc(), {"train", "fashion_convnet", "--limit", "640", "--validation", "64", "--epochs", "1", "--publish"},
      0);
  Run(server.grpc(), {"infer", "fashion_convnet", "--limit", "200"}, 0);
  std::map<std::string, int> threads;
  for (const auto& task :
       std::filesystem::directory_iterator("/proc/" + std::to_string(server.process().pid()) + "/task")) {
    std::ifstream comm(task.path() / "comm");
    std::string name;
    std::getline(comm, name);
    ++threads[name];
  }
  // A pool's threads have the name of the one that made it.
  EXPECT_EQ(threads["inference"], 2);
  EXPECT_LE(threads["train"], 2);
  EXPECT_EQ(threads["requests"], 2);
}

}  // namespace
}  // namespace strata::e2e
