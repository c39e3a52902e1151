// What clients send wrong: the exact code, words that name the field, and a server that answers the next good request.

#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include <functional>

#include "absl/strings/str_cat.h"
#include "google/protobuf/text_format.h"
#include "tests/service/server_fixture.h"

namespace strata::service {
namespace {

using grpc::StatusCode;

class BadInput : public ServerTest {
 protected:
  BadInput() {
    CreateModel();
    TrainAndPublish("m", "done");
  }
  ~BadInput() override {
    // Whatever came before, the server still works.
    inference::ModelInferRequest request = Infer("");
    inference::ModelInferResponse response;
    const grpc::Status status =
        Call(*inference_, &inference::GRPCInferenceService::Stub::ModelInfer, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    TrainStream stream(*training_);
    EXPECT_TRUE(stream.Start("m", "", Config()).has_attached());
    EXPECT_TRUE(stream.Step(MakeBatch(1)).has_step());
  }

  template <typename Message>
  static Message Parse(const std::string& text) {
    Message message;
    EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &message)) << text;
    return message;
  }

  // A good request for [1, 2], with `text` merged into it.
  static inference::ModelInferRequest Infer(const std::string& text) {
    auto request = Parse<inference::ModelInferRequest>(
        R"(model_name: "m" inputs { name: "x" datatype: "FP32" shape: [1, 2] } raw_input_contents: "\0\0\0\0\0\0\0\0")");
    request.MergeFrom(Parse<inference::ModelInferRequest>(text));
    return request;
  }
};

TEST_P(BadInput, Infer) {
  const auto bare = [](const std::string& text) { return Parse<inference::ModelInferRequest>(text); };
  const std::string x = R"(model_name: "m" inputs { name: "x" datatype: "FP32" )";
  const struct {
    const char* name;
    inference::ModelInferRequest request;
    StatusCode code;
    const char* words;
  } kCases[] = {
      {"unknown model", bare(R"(model_name: "nobody")"), StatusCode::NOT_FOUND, "model: must exist, got \"nobody\""},
      {"no model", bare(""), StatusCode::NOT_FOUND, "model: must exist, got \"\""},
      {"version no number", Infer(R"(model_version: "one")"), StatusCode::INVALID_ARGUMENT,
       "model_version: must be a version number, got \"one\""},
      {"version negative", Infer(R"(model_version: "-1")"), StatusCode::INVALID_ARGUMENT, "model_version: must be"},
      {"version overflows", Infer(R"(model_version: "99999999999999999999")"), StatusCode::INVALID_ARGUMENT,
       "model_version: must be"},
      {"version unknown", Infer(R"(model_version: "7")"), StatusCode::NOT_FOUND, "must have it, got 7"},
      {"no inputs", bare(R"(model_name: "m")"), StatusCode::INVALID_ARGUMENT, "inputs[\"x\"]: must be given"},
      {"unknown input", bare(R"(model_name: "m" inputs { name: "z" datatype: "FP32" shape: [1, 2] })"),
       StatusCode::INVALID_ARGUMENT, "inputs[\"z\"]: must be an input of the model"},
      {"input twice",
       Infer(R"(inputs { name: "x" datatype: "FP32" shape: [1, 2] } raw_input_contents: "\0\0\0\0\0\0\0\0")"),
       StatusCode::INVALID_ARGUMENT, "inputs[\"x\"]: must be given once"},
      {"wrong type", bare(R"(model_name: "m" inputs { name: "x" datatype: "INT64" shape: [1, 2] })"),
       StatusCode::INVALID_ARGUMENT, "inputs[\"x\"].datatype: must be FP32, got \"INT64\""},
      {"unknown type", bare(R"(model_name: "m" inputs { name: "x" datatype: "\n" shape: [1, 2] })"),
       StatusCode::INVALID_ARGUMENT, "got \"\\n\""},
      {"rank", bare(x + "shape: [2] } raw_input_contents: \"\\0\\0\\0\\0\\0\\0\\0\\0\""), StatusCode::INVALID_ARGUMENT,
       "inputs[\"x\"].shape: must be [-1,2], got [2]"},
      {"size", bare(x + "shape: [1, 3] }"), StatusCode::INVALID_ARGUMENT, "must be [-1,2], got [1,3]"},
      {"negative size", bare(x + "shape: [-1, 2] }"), StatusCode::INVALID_ARGUMENT,
       "inputs[\"x\"].shape[0]: must be >= 0, got -1"},
      {"no rows", bare(x + "shape: [0, 2] } raw_input_contents: \"\""), StatusCode::INVALID_ARGUMENT,
       "shape: must have a row"},
      {"absurd size", bare(x + "shape: [4611686018427387904, 2] }"), StatusCode::INVALID_ARGUMENT,
       "must have fewer elements"},
      {"absurd rank", bare(x + "shape: [1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1,1] }"), StatusCode::INVALID_ARGUMENT,
       "must have at most 16 axes, got 20"},
      {"large shape without data", bare(x + "shape: [1000000000, 2] }"), StatusCode::INVALID_ARGUMENT,
       ".contents: must be given"},
      {"large shape with little data", bare(x + "shape: [1000000000, 2] contents { fp32_contents: 1 } }"),
       StatusCode::INVALID_ARGUMENT, "elements, got fewer"},
      {"truncated raw contents", bare(x + "shape: [1, 2] } raw_input_contents: \"\\0\\0\\0\\0\\0\\0\\0\""),
       StatusCode::INVALID_ARGUMENT, "needs 8 bytes for FP32 [1,2], got 7"},
      {"raw contents of two inputs", Infer(R"(raw_input_contents: "\0")"), StatusCode::INVALID_ARGUMENT,
       "raw_input_contents: must have one entry for each of 1 inputs, got 2"},
      {"raw and typed", bare(x + "shape: [1, 2] contents { fp32_contents: [1, 2] } } raw_input_contents: \"01234567\""),
       StatusCode::INVALID_ARGUMENT, "must be empty when raw_input_contents are given"},
      {"too few typed", bare(x + "shape: [1, 2] contents { fp32_contents: [1] } }"), StatusCode::INVALID_ARGUMENT,
       "inputs[\"x\"].contents: needs 2 elements, got 1"},
      {"typed in another field", bare(x + "shape: [1, 2] contents { int_contents: [1, 2] } }"),
       StatusCode::INVALID_ARGUMENT, "needs 2 elements, got 0"},
      {"unknown output", Infer(R"(outputs { name: "z" })"), StatusCode::INVALID_ARGUMENT,
       "outputs[\"z\"]: must be an output of the model"},
      {"output twice", Infer(R"(outputs { name: "y" } outputs { name: "y" })"), StatusCode::INVALID_ARGUMENT,
       "outputs[\"y\"]: must be given once"},
      {"shared memory",
       bare(x + R"(shape: [1, 2] parameters { key: "shared_memory_region" value { string_param: "a" } } })"),
       StatusCode::UNIMPLEMENTED, "parameters[\"shared_memory_region\"]: is not supported"},
      {"sequence", Infer(R"(parameters { key: "sequence_id" value { int64_param: 1 } })"), StatusCode::UNIMPLEMENTED,
       "sequence_id"},
      {"a long name", Infer(absl::StrCat("outputs { name: \"", std::string(5000, 'a'), "\" }")),
       StatusCode::INVALID_ARGUMENT, "(5000 bytes)"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    inference::ModelInferResponse response;
    ExpectStatus(Call(*inference_, &inference::GRPCInferenceService::Stub::ModelInfer, c.request, &response), c.code,
                 c.words);
  }
}

TEST_P(BadInput, Models) {
  const std::string good = R"(dialect: PYTORCH inputs { name: "x" shape: 2 })";
  const auto create = [&](const std::string& text) {
    v1::ModelInfo info;
    return Call(*models_, &v1::Models::Stub::Create, Parse<v1::CreateModelRequest>(text), &info);
  };
  const auto list = [&](const std::string& text) {
    v1::ListModelsResponse response;
    return Call(*models_, &v1::Models::Stub::List, Parse<v1::ListModelsRequest>(text), &response);
  };
  const auto validate = [&](const std::string& text) {
    v1::ValidateModelResponse response;
    return Call(*models_, &v1::Models::Stub::Validate, Parse<v1::ValidateModelRequest>(text), &response);
  };
  const auto summary = [&](const std::string& text) {
    v1::SummaryResponse response;
    return Call(*models_, &v1::Models::Stub::Summary, Parse<v1::SummaryRequest>(text), &response);
  };
  const auto publish = [&](const std::string& text) {
    v1::VersionInfo info;
    return Call(*models_, &v1::Models::Stub::Publish, Parse<v1::PublishRequest>(text), &info);
  };
  const auto rollback = [&](const std::string& text) {
    v1::VersionInfo info;
    return Call(*models_, &v1::Models::Stub::Rollback, Parse<v1::RollbackRequest>(text), &info);
  };
  CreateModel("other");
  const struct {
    const char* name;
    std::function<grpc::Status()> call;
    StatusCode code;
    std::string words;
  } kCases[] = {
      {"create nothing", [&] { return create(""); }, StatusCode::INVALID_ARGUMENT,
       "definition: must be given as model or framework"},
      {"create without a name", [&] { return create("model { " + good + " }"); }, StatusCode::INVALID_ARGUMENT,
       "name: must be given"},
      {"create with a path as name", [&] { return create("name: \"../m\" model { " + good + " }"); },
       StatusCode::INVALID_ARGUMENT, "name: must match"},
      {"create with a long name",
       [&] { return create("name: \"" + std::string(64, 'a') + "\" model { " + good + " }"); },
       StatusCode::INVALID_ARGUMENT, "name: must match"},
      {"create with a zero byte", [&] { return create("name: \"a\\0b\" model { " + good + " }"); },
       StatusCode::INVALID_ARGUMENT, "got \"a\\x00\\x62\""},
      {"create what the engine refuses", [&] { return create("name: \"n\" model { dialect: KERAS }"); },
       StatusCode::INVALID_ARGUMENT, "inputs: must be one vector"},
      {"create another under the name",
       [&] { return create("name: \"m\" model { dialect: KERAS inputs { name: \"x\" shape: 2 } }"); },
       StatusCode::ALREADY_EXISTS, "name: another definition has it, got \"m\""},
      {"import without a dialect", [&] { return create("name: \"n\" framework { json: \"{}\" }"); },
       StatusCode::INVALID_ARGUMENT, "framework.dialect: must be PYTORCH or KERAS"},
      {"import nothing", [&] { return create("name: \"n\" framework { dialect: KERAS }"); },
       StatusCode::INVALID_ARGUMENT, "framework.json: must be given"},
      {"list a negative page", [&] { return list("page_size: -1"); }, StatusCode::INVALID_ARGUMENT,
       "page_size: must be in [0, 1000], got -1"},
      {"list a huge page", [&] { return list("page_size: 1001"); }, StatusCode::INVALID_ARGUMENT, "got 1001"},
      {"validate nothing", [&] { return validate(""); }, StatusCode::INVALID_ARGUMENT, "definition: must be given"},
      {"validate a negative batch", [&] { return validate("batch_size: -5 model { " + good + " }"); },
       StatusCode::INVALID_ARGUMENT, "batch_size: must be >= 1, got -5"},
      {"validate a bad configuration", [&] { return validate("training {} model { " + good + " }"); },
       StatusCode::INVALID_ARGUMENT, "objectives: must not be empty"},
      {"summary of nothing", [&] { return summary(""); }, StatusCode::INVALID_ARGUMENT,
       "of: must be given as name or model"},
      {"summary of nobody", [&] { return summary("name: \"nobody\""); }, StatusCode::NOT_FOUND, "model: must exist"},
      {"publish to nobody", [&] { return publish("model: \"nobody\" run: \"done\""); }, StatusCode::NOT_FOUND,
       "model: must exist, got \"nobody\""},
      {"publish no run", [&] { return publish("model: \"m\" run: \"nobody\""); }, StatusCode::NOT_FOUND,
       "run: must exist, got \"nobody\""},
      {"publish another model's run", [&] { return publish("model: \"other\" run: \"done\""); },
       StatusCode::INVALID_ARGUMENT, "run: must train model \"other\", got \"done\" of model \"m\""},
      {"publish a novel",
       [&] { return publish("model: \"m\" run: \"done\" description: \"" + std::string(2000, 'a') + "\""); },
       StatusCode::INVALID_ARGUMENT, "description: must have at most 1024 bytes, got 2000"},
      {"roll back too far", [&] { return rollback("model: \"m\""); }, StatusCode::FAILED_PRECONDITION,
       "has no version before the one that serves"},
      {"roll back to nowhere", [&] { return rollback("model: \"m\" version: 9"); }, StatusCode::NOT_FOUND, "got 9"},
      {"roll back to a negative version", [&] { return rollback("model: \"m\" version: -9"); },
       StatusCode::INVALID_ARGUMENT, "version: must be >= 0, got -9"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    ExpectStatus(c.call(), c.code, c.words);
  }
  v1::ListComponentsRequest components;
  components.set_family("spells");
  v1::ListComponentsResponse listed;
  ExpectStatus(Call(*catalog_, &v1::Catalog::Stub::ListComponents, components, &listed), StatusCode::INVALID_ARGUMENT,
               "family: must be one of layer, got ");
}

TEST_P(BadInput, FirstMessagesOfATrainStream) {
  const std::string config = "config { objectives {} }";
  const struct {
    const char* name;
    std::string request;
    StatusCode code;
    const char* words;
  } kCases[] = {
      {"empty", "", StatusCode::INVALID_ARGUMENT, "kind: must be start or attach in the first message"},
      {"a batch", "batch { sequence: 1 }", StatusCode::INVALID_ARGUMENT,
       "kind: must be start or attach in the first message"},
      {"unknown model", "start { model: \"nobody\" " + config + " }", StatusCode::NOT_FOUND, "model: must exist"},
      {"no configuration", "start { model: \"m\" }", StatusCode::INVALID_ARGUMENT, "objectives: must not be empty"},
      {"bad name", "start { model: \"m\" run: \"a/b\" " + config + " }", StatusCode::INVALID_ARGUMENT,
       "start.run: must match"},
      {"taken name", "start { model: \"m\" run: \"done\" " + config + " }", StatusCode::ALREADY_EXISTS,
       "start.run: is taken, got \"done\""},
      {"negative checkpoints", "start { model: \"m\" config { objectives {} checkpoint_every_steps: -1 } }",
       StatusCode::INVALID_ARGUMENT, "start.config.checkpoint_every_steps: must be >= 0, got -1"},
      {"attach to nobody", "attach { run: \"nobody\" }", StatusCode::NOT_FOUND, "run: must exist, got \"nobody\""},
      {"attach to the past", "attach { run: \"done\" }", StatusCode::FAILED_PRECONDITION, "has ended: SUCCEEDED"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    TrainStream stream(*training_);
    stream.Send(Parse<v1::TrainRequest>(c.request));
    ExpectStatus(stream.End(), c.code, c.words);
  }
  TrainStream silent(*training_);
  silent.HalfClose();
  ExpectStatus(silent.End(), StatusCode::INVALID_ARGUMENT, "kind: must be start or attach in the first message");
}

TEST_P(BadInput, LaterMessagesOfATrainStream) {
  const std::string target = R"(tensors { key: "target" value { dtype: FLOAT32 shape: 1 data: "\0\0\0\0" } })";
  const auto batch = [&](const std::string& x) {
    return "batch { sequence: 2 " + target + " tensors { key: \"x\" value { " + x + " } } }";
  };
  const struct {
    const char* name;
    std::string request;
    StatusCode code;
    const char* words;
  } kCases[] = {
      {"nothing", "", StatusCode::INVALID_ARGUMENT, "kind: must be given"},
      {"start again", "start { model: \"m\" }", StatusCode::INVALID_ARGUMENT,
       "kind: must be start or attach only once"},
      {"no sequence", "batch {}", StatusCode::INVALID_ARGUMENT, "batch.sequence: must be >= 1, got 0"},
      {"a gap", "batch { sequence: 3 }", StatusCode::OUT_OF_RANGE, "batch.sequence: must be 2, got 3"},
      {"far ahead", "batch { sequence: 18446744073709551615 }", StatusCode::OUT_OF_RANGE, "must be 2"},
      {"no tensors", "batch { sequence: 2 }", StatusCode::INVALID_ARGUMENT, "batch.tensors: must not be empty"},
      {"no type", batch("shape: [1, 2]"), StatusCode::INVALID_ARGUMENT,
       "batch.tensors[\"x\"].dtype: must be a known type, got 0"},
      {"texts that are not there", batch("dtype: BYTES shape: [1, 2]"), StatusCode::INVALID_ARGUMENT,
       "batch.tensors[\"x\"].data: needs at least 2 times 4 bytes for BYTES [1,2], got 0"},
      {"a length cut short", batch(R"(dtype: BYTES shape: [1, 2] data: "\002\0\0\0ab\0\0")"),
       StatusCode::INVALID_ARGUMENT, "batch.tensors[\"x\"].data: must have 4 bytes of length before text 1, got 2"},
      {"a text cut short", batch(R"(dtype: BYTES shape: [1, 1] data: "\003\0\0\0ab")"), StatusCode::INVALID_ARGUMENT,
       "batch.tensors[\"x\"].data: text 0 must end within the data, 2 bytes further, got a length of 3"},
      {"texts left over", batch(R"(dtype: BYTES shape: [1, 1] data: "\001\0\0\0ab")"), StatusCode::INVALID_ARGUMENT,
       "batch.tensors[\"x\"].data: must end after 1 texts, BYTES [1,1], got 1 bytes more"},
      {"texts for numbers", batch(R"(dtype: BYTES shape: [1, 2] data: "\0\0\0\0\0\0\0\0")"),
       StatusCode::INVALID_ARGUMENT, "batch.x: must be f32"},
      {"negative size", batch("dtype: FLOAT32 shape: [-1, 2]"), StatusCode::INVALID_ARGUMENT,
       "batch.tensors[\"x\"].shape[0]: must be >= 0, got -1"},
      {"absurd size", batch("dtype: FLOAT32 shape: [4611686018427387904, 4]"), StatusCode::INVALID_ARGUMENT,
       "must have fewer elements"},
      {"truncated", batch("dtype: FLOAT32 shape: [1, 2] data: \"1234567\""), StatusCode::INVALID_ARGUMENT,
       "batch.tensors[\"x\"].data: needs 8 bytes for FLOAT32 [1,2], got 7"},
      {"the engine's rule", batch("dtype: FLOAT32 shape: [1, 3] data: \"123456789012\""), StatusCode::INVALID_ARGUMENT,
       "batch.x: must have shape"},
      {"evaluation label", "evaluate { name: \"a\\nb\" }", StatusCode::INVALID_ARGUMENT,
       "evaluate.name: must have no control character"},
      {"evaluation without tensors", "evaluate {}", StatusCode::INVALID_ARGUMENT,
       "evaluate.tensors: must not be empty"},
      {"publish a novel", "publish { description: \"" + std::string(2000, 'a') + "\" }", StatusCode::INVALID_ARGUMENT,
       "description: must have at most 1024 bytes"},
  };
  int i = 0;
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    const std::string run = absl::StrCat("bad-", ++i);
    TrainStream stream(*training_);
    ASSERT_TRUE(stream.Start("m", run, Config()).has_attached());
    ASSERT_TRUE(stream.Step(MakeBatch(1)).has_step());
    stream.Send(Parse<v1::TrainRequest>(c.request));
    ExpectStatus(stream.End(), c.code, c.words);
    // Nothing was applied, and the run goes on.
    TrainStream again(*training_);
    const v1::TrainResponse attached = again.Attach(run);
    EXPECT_EQ(attached.attached().next_sequence(), 2u);
    EXPECT_TRUE(again.Step(MakeBatch(2)).has_step());
  }
}

TEST_P(BadInput, PagesOfModels) {
  v1::ListModelsRequest list;
  v1::ListModelsResponse listed;
  for (const char* token : {"no name", "-1", "\x01"}) {
    list.set_page_token(token);
    ExpectStatus(Call(*models_, &v1::Models::Stub::List, list, &listed), StatusCode::INVALID_ARGUMENT,
                 "page_token: must come from an earlier answer");
  }
}

TEST_P(BadInput, Runs) {
  v1::GetRunRequest get;
  v1::RunInfo info;
  ExpectStatus(Call(*training_, &v1::Training::Stub::GetRun, get, &info), StatusCode::NOT_FOUND, "run: must exist");
  v1::CancelRunRequest cancel;
  cancel.set_run("done");
  ExpectStatus(Call(*training_, &v1::Training::Stub::CancelRun, cancel, &info), StatusCode::FAILED_PRECONDITION,
               "has ended: SUCCEEDED");
  v1::ListRunsRequest list;
  v1::ListRunsResponse listed;
  list.set_page_token("x");
  ExpectStatus(Call(*training_, &v1::Training::Stub::ListRuns, list, &listed), StatusCode::INVALID_ARGUMENT,
               "page_token: must come from an earlier answer");
  list.clear_page_token();
  list.set_model("nobody");
  ExpectStatus(Call(*training_, &v1::Training::Stub::ListRuns, list, &listed), StatusCode::NOT_FOUND,
               "model: must exist");
  v1::WatchRunRequest watch;
  watch.set_run("nobody");
  grpc::ClientContext context;
  const auto reader = training_->WatchRun(&context, watch);
  v1::RunEvent event;
  EXPECT_FALSE(reader->Read(&event));
  ExpectStatus(reader->Finish(), StatusCode::NOT_FOUND, "run: must exist");
}

// Bytes that are no message never reach a handler; the client learns what is wrong all the same.
TEST_P(BadInput, GarbageBytes) {
  const char* kMethods[] = {"/strata.v1.Models/Create", "/inference.GRPCInferenceService/ModelInfer",
                            "/strata.v1.Training/GetRun", "/strata.v1.Training/WatchRun"};
  for (const char* method : kMethods) {
    SCOPED_TRACE(method);
    grpc::GenericStub stub(channel_);
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    grpc::CompletionQueue queue;
    grpc::Slice slice("\xff\xff\xff\xff garbage");
    grpc::ByteBuffer request(&slice, 1), response;
    const auto call = stub.PrepareUnaryCall(&context, method, request, &queue);
    call->StartCall();
    grpc::Status status;
    call->Finish(&response, &status, nullptr);
    void* tag;
    bool ok;
    ASSERT_TRUE(queue.Next(&tag, &ok));
    ExpectStatus(status, StatusCode::INVALID_ARGUMENT, "request: must be the method's message");
  }
  // A method that does not exist is another matter.
  grpc::GenericStub stub(channel_);
  grpc::ClientContext context;
  grpc::CompletionQueue queue;
  const auto call = stub.PrepareUnaryCall(&context, "/strata.v1.Models/Dance", grpc::ByteBuffer(), &queue);
  call->StartCall();
  grpc::ByteBuffer response;
  grpc::Status status;
  call->Finish(&response, &status, nullptr);
  void* tag;
  bool ok;
  ASSERT_TRUE(queue.Next(&tag, &ok));
  EXPECT_EQ(status.error_code(), StatusCode::UNIMPLEMENTED);
}

// In a stream they end it as a bad message does: what came before counts, and the run goes on later.
TEST_P(BadInput, GarbageInATrainStream) {
  grpc::GenericStub stub(channel_);
  for (const bool begun : {false, true}) {
    SCOPED_TRACE(begun);
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
    grpc::CompletionQueue queue;
    void* tag;
    bool ok;
    const auto call = stub.PrepareCall(&context, "/strata.v1.Training/Train", &queue);
    call->StartCall(nullptr);
    ASSERT_TRUE(queue.Next(&tag, &ok));
    const auto write = [&](const std::string& bytes) {
      grpc::Slice slice(bytes);
      call->Write(grpc::ByteBuffer(&slice, 1), nullptr);
      queue.Next(&tag, &ok);
    };
    if (begun) {
      v1::TrainRequest request;
      request.mutable_start()->set_model("m");
      request.mutable_start()->set_run("garbled");
      *request.mutable_start()->mutable_config() = Config();
      write(request.SerializeAsString());
      request.Clear();
      *request.mutable_batch() = MakeBatch(1);
      write(request.SerializeAsString());
    }
    write("\xff\xff\xff\xff garbage");
    int answers = -1;
    do {
      ++answers;
      grpc::ByteBuffer response;
      call->Read(&response, nullptr);
      queue.Next(&tag, &ok);
    } while (ok);
    EXPECT_EQ(answers, begun ? 2 : 0);
    grpc::Status status;
    call->Finish(&status, nullptr);
    queue.Next(&tag, &ok);
    ExpectStatus(status, StatusCode::INVALID_ARGUMENT, "request: must be the method's message");
  }
  TrainStream again(*training_);
  EXPECT_EQ(again.Attach("garbled").attached().next_sequence(), 2u);
}

TEST_P(BadInput, ClientsThatVanish) {
  for (int i = 0; i < 20; ++i) {
    TrainStream stream(*training_);
    v1::TrainRequest request;
    request.mutable_start()->set_model("m");
    *request.mutable_start()->mutable_config() = Config();
    stream.Send(request);
    if (i % 2 == 0) {
      request.Clear();
      *request.mutable_batch() = MakeBatch(1);
      stream.Send(request);
    }
    stream.Cancel();
    EXPECT_EQ(stream.End().error_code(), StatusCode::CANCELLED);
  }
}

INSTANTIATE_TEST_SUITE_P(Transports, BadInput, testing::Values(Transport::kInProcess, Transport::kLoopback),
                         [](const auto& info) {
                           return info.param == Transport::kInProcess ? "InProcess" : "Loopback";
                         });

}  // namespace
}  // namespace strata::service
