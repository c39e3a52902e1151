// Tabular models: texts as BYTES in batches, evaluations and predictions.
#include <cmath>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <functional>
#include <thread>

#include "absl/strings/str_cat.h"
#include "tests/e2e/client_fixture.h"
#include "tests/e2e/python.h"

namespace strata::e2e {
namespace {

constexpr char kModel[] = R"(
    name: "tabular" dialect: KERAS
    inputs { name: "age" shape: 1 } inputs { name: "city" dtype: BYTES shape: 1 } inputs { name: "tags" dtype: BYTES shape: -1 }
    layers { name: "features" dense_features {
      feature_columns { numeric { key: "age" } }
      feature_columns { embedding { dimension: 2 categorical_column {
        vocabulary_list { key: "city" vocabulary_list: "rome" vocabulary_list: "oslo" num_oov_buckets: 1 } } } }
      feature_columns { indicator { categorical_column { hash_bucket { key: "tags" hash_bucket_size: 16 } } } }
      feature_columns { indicator { categorical_column { crossed {
        keys { key: "city" } keys { key: "tags" } hash_bucket_size: 8 } } } } } }
    layers { name: "out" linear { units: 1 } })";
constexpr char kConfig[] =
    "objectives { loss { mean_squared_error {} } } optimizer { adam { learning_rate: 0.05 } } seed: 1 "
    "metrics { metric { mean_absolute_error {} } }";

const std::string kZero("a\0b", 3), kLastZero("a\0", 2);

std::map<std::string, v1::Tensor> Batch() {
  return {{"age", Floats({4, 1}, {0.1f, 0.2f, 0.3f, 0.4f})},
          {"city", Texts({4, 1}, {"rome", "oslo", "", "a much longer name of a city"})},
          {"tags", Texts({4, 2}, {"x", "", kZero, kLastZero, "", "", "x", std::string(5000, 'y')})},
          {"target", Floats({4, 1}, {1, -1, 0.5f, 2})}};
}

class TextModels : public Client {
 protected:
  // As a client of whom we know nothing: a batch is held until another comes, so that both run together.
  TextModels() : Client({"--max_batch_delay=20ms", "--inference_threads=1"}) {}

  void Prepare() {
    ASSERT_TRUE(Create(Parse<v1::Model>(kModel)).ok());
    std::vector<double> losses;
    const grpc::Status status =
        TrainAndPublish("tabular", Parse<v1::TrainingConfig>(kConfig), std::vector(150, Batch()), &losses);
    ASSERT_TRUE(status.ok()) << status.error_message();
    ASSERT_EQ(losses.size(), 150u);
    EXPECT_LT(losses.back(), losses.front() / 50);
  }

  // Rows `first` to `last` of the batch; as raw contents or in the typed field.
  static inference::ModelInferRequest Request(int first, int last, bool raw) {
    const std::vector<float> ages = {0.1f, 0.2f, 0.3f, 0.4f};
    const std::vector<std::string> cities = {"rome", "oslo", "", "a much longer name of a city"};
    const std::vector<std::string> tags = {"x", "", kZero, kLastZero, "", "", "x", std::string(5000, 'y')};
    const auto part = [&](const auto& list, int width) {
      return std::decay_t<decltype(list)>(list.begin() + first * width, list.begin() + last * width);
    };
    inference::ModelInferRequest request;
    request.set_model_name("tabular");
    const auto add = [&](const char* name, const char* type, int64_t width) {
      auto* input = request.add_inputs();
      input->set_name(name);
      input->set_datatype(type);
      input->add_shape(last - first);
      input->add_shape(width);
      return input;
    };
    auto* age = add("age", "FP32", 1);
    for (const float v : part(ages, 1)) age->mutable_contents()->add_fp32_contents(v);
    auto* city = add("city", "BYTES", 1);
    for (const std::string& s : part(cities, 1)) city->mutable_contents()->add_bytes_contents(s);
    auto* tag = add("tags", "BYTES", 2);
    for (const std::string& s : part(tags, 2)) tag->mutable_contents()->add_bytes_contents(s);
    if (!raw) return request;
    for (auto& input : *request.mutable_inputs()) input.clear_contents();
    const std::vector<float> some = part(ages, 1);
    request.add_raw_input_contents(some.data(), some.size() * sizeof(float));
    request.add_raw_input_contents(TextBytes(part(cities, 1)));
    request.add_raw_input_contents(TextBytes(part(tags, 2)));
    return request;
  }

  grpc::Status Infer(const inference::ModelInferRequest& request, std::vector<float>* values) {
    inference::ModelInferResponse response;
    const grpc::Status status =
        Call(*inference_, &inference::GRPCInferenceService::Stub::ModelInfer, request, &response);
    if (!status.ok()) return status;
    values->resize(response.raw_output_contents(0).size() / sizeof(float));
    std::memcpy(values->data(), response.raw_output_contents(0).data(), values->size() * sizeof(float));
    return status;
  }
};

TEST_F(TextModels, TrainEvaluateAndPredict) {
  Prepare();
  inference::ModelMetadataRequest ask;
  ask.set_name("tabular");
  inference::ModelMetadataResponse metadata;
  ASSERT_TRUE(Call(*inference_, &inference::GRPCInferenceService::Stub::ModelMetadata, ask, &metadata).ok());
  EXPECT_EQ(metadata.inputs(1).datatype(), "BYTES");
  EXPECT_EQ(metadata.inputs(1).shape_size(), 2);
  EXPECT_EQ(metadata.inputs(1).shape(1), 1);
  EXPECT_EQ(metadata.inputs(2).shape(1), -1);

  std::vector<float> raw, typed;
  ASSERT_TRUE(Infer(Request(0, 4, true), &raw).ok());
  ASSERT_TRUE(Infer(Request(0, 4, false), &typed).ok());
  EXPECT_EQ(raw, typed);
  const float want[] = {1, -1, 0.5f, 2};
  for (int i = 0; i < 4; ++i) EXPECT_NEAR(raw[static_cast<size_t>(i)], want[i], 0.3) << i;

  // Requests whose texts have other lengths run together and give what they give alone.
  std::vector<std::vector<float>> rows(4);
  std::vector<std::thread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back(
        [this, i, &rows] { EXPECT_TRUE(Infer(Request(i, i + 1, i % 2 == 0), &rows[static_cast<size_t>(i)]).ok()); });
  }
  for (std::thread& thread : threads) thread.join();
  for (size_t i = 0; i < 4; ++i) {
    ASSERT_EQ(rows[i].size(), 1u);
    EXPECT_NEAR(rows[i][0], raw[i], 1e-5) << i;
  }

  v1::TrainRequest start, evaluate;
  start.mutable_start()->set_model("tabular");
  start.mutable_start()->mutable_from();
  *start.mutable_start()->mutable_config() = Parse<v1::TrainingConfig>(kConfig);
  evaluate.mutable_evaluate()->set_last(true);
  for (const auto& [name, tensor] : Batch()) (*evaluate.mutable_evaluate()->mutable_tensors())[name] = tensor;
  std::vector<v1::TrainResponse> responses;
  Train({start, evaluate}, &responses);
  ASSERT_EQ(responses.size(), 2u);
  EXPECT_EQ(responses[1].evaluate().samples(), 4);
  EXPECT_LT(responses[1].evaluate().metrics().at("mean_absolute_error"), 0.2);
}

TEST_F(TextModels, RefuseWhatIsNoText) {
  Prepare();
  const std::string good = TextBytes({"rome", "oslo", "", "x"});
  const auto city = [](const std::vector<int64_t>& shape, const std::string& data) {
    v1::Tensor t = Texts(shape, {});
    t.set_data(data);
    return t;
  };
  const auto numbers = Floats({4, 1}, {1, 2, 3, 4});
  const struct {
    const char* name;
    v1::Tensor tensor;
    const char* words;
  } kCases[] = {
      {"a length cut short", city({4, 1}, good.substr(0, good.size() - 2)),
       "[\"city\"].data: must have 4 bytes of length before text 3, got 3"},
      {"a text cut short", city({4, 1}, good.substr(0, good.size() - 1)),
       "[\"city\"].data: text 3 must end within the data, 0 bytes further, got a length of 1"},
      {"a length beyond the data", city({1, 1}, std::string("\xff\xff\xff\xff") + "ab"),
       "text 0 must end within the data, 2 bytes further, got a length of 4294967295"},
      {"fewer than the shape says", city({5, 1}, good), "[\"city\"].data: "},
      {"more than the shape says", city({3, 1}, good), "must end after 3 texts, BYTES [3,1], got 5 bytes more"},
      {"a large shape without data", city({int64_t{1} << 40, 1}, ""), "needs at least 1099511627776 times 4 bytes"},
      {"a negative size", city({-1, 1}, good), "[\"city\"].shape[0]: must be >= 0, got -1"},
      {"another shape", city({2, 2}, good), "[\"city\"].shape: must be [?, 1], got [2, 2]"},
      {"numbers", numbers, "[\"city\"].dtype: must be BYTES"},
  };
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    auto batch = Batch();
    batch["city"] = c.tensor;
    ExpectRefused(TrainAndPublish("tabular", Parse<v1::TrainingConfig>(kConfig), {batch}, nullptr),
                  absl::StrCat(absl::StartsWith(c.words, "[") ? "batch.tensors" : "", c.words));
  }
  auto batch = Batch();
  batch["age"] = Texts({4, 1}, {"1", "2", "3", "4"});
  ExpectRefused(TrainAndPublish("tabular", Parse<v1::TrainingConfig>(kConfig), {batch}, nullptr),
                "batch.tensors[\"age\"].dtype: must be ");

  const struct {
    const char* name;
    std::function<void(inference::ModelInferRequest*)> spoil;
    const char* words;
  } kRequests[] = {
      {"cut short", [](auto* r) { r->mutable_raw_input_contents(1)->pop_back(); }, "inputs[\"city\"]"},
      {"too long", [](auto* r) { r->mutable_raw_input_contents(1)->push_back('x'); }, "must end after 4 texts"},
      {"numbers", [](auto* r) { r->mutable_inputs(1)->set_datatype("FP32"); },
       "inputs[\"city\"].datatype: must be BYTES, got \"FP32\""},
      {"texts for numbers", [](auto* r) { r->mutable_inputs(0)->set_datatype("BYTES"); },
       "inputs[\"age\"].datatype: must be FP32, got \"BYTES\""},
      {"another shape", [](auto* r) { r->mutable_inputs(1)->set_shape(1, 2); },
       "inputs[\"city\"].shape: must be [-1,1]"},
  };
  for (const auto& c : kRequests) {
    SCOPED_TRACE(c.name);
    inference::ModelInferRequest request = Request(0, 4, true);
    c.spoil(&request);
    std::vector<float> values;
    ExpectRefused(Infer(request, &values), c.words);
  }
  inference::ModelInferRequest few = Request(0, 4, false);
  few.mutable_inputs(1)->mutable_contents()->mutable_bytes_contents()->RemoveLast();
  std::vector<float> values;
  ExpectRefused(Infer(few, &values), "inputs[\"city\"].contents: needs 4 elements, got 3");
}

// Our own command, and a client of another project.
TEST_F(TextModels, OtherClientsPredict) {
  Prepare();
  std::vector<float> want;
  ASSERT_TRUE(Infer(Request(0, 2, true), &want).ok());
  const std::string file = dir_ / "rows.json";
  std::ofstream(file)
      << R"({"age": [[0.1], [0.2]], "city": [["rome"], ["oslo"]], "tags": [["x", ""], ["a\u0000b", "a\u0000"]]})";
  Process command({STRATA_BIN "/strata", "--server", server_.grpc(), "infer", "tabular", "--json", file},
                  dir_ / "infer");
  ASSERT_EQ(command.Wait(60), 0) << command.Errors();
  float got[2] = {};
  ASSERT_EQ(std::sscanf(command.Output().c_str(), R"({"out":[[%f],[%f]]})", &got[0], &got[1]), 2) << command.Output();
  for (int i = 0; i < 2; ++i) EXPECT_NEAR(got[i], want[static_cast<size_t>(i)], 1e-5);

  Process triton({PythonWithTriton(), STRATA_SOURCE "/tests/e2e/triton_texts.py", server_.grpc(), absl::StrCat(want[0]),
                  absl::StrCat(want[1])},
                 dir_ / "triton");
  EXPECT_EQ(triton.Wait(120), 0) << triton.Output() << triton.Errors();
}

}  // namespace
}  // namespace strata::e2e
