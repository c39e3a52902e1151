#include "cli/rows.h"

#include <gtest/gtest.h>

#include <cstring>

#include "absl/strings/match.h"
#include "google/protobuf/text_format.h"

namespace strata::cli {
namespace {

inference::ModelMetadataResponse Metadata(const std::string& text) {
  inference::ModelMetadataResponse metadata;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &metadata)) << text;
  return metadata;
}

TEST(Rows, EveryTypeBecomesItsBytes) {
  inference::ModelInferRequest request;
  const auto metadata = Metadata(
      "inputs { name: 'x' datatype: 'FP32' } inputs { name: 'n' datatype: 'INT16' } inputs { name: 'b' datatype: "
      "'BOOL' } "
      "inputs { name: 't' datatype: 'BYTES' }");
  const absl::Status status = AddRows(
      R"({"t": [["a\u0000"], [""]], "x": [[1, 2.5], [3, 4]], "n": [-2, 300], "b": [true, false]})", metadata, &request);
  ASSERT_TRUE(status.ok()) << status;
  ASSERT_EQ(request.inputs_size(), 4);
  EXPECT_EQ(request.inputs(0).shape_size(), 2);
  const float x[] = {1, 2.5f, 3, 4};
  EXPECT_EQ(request.raw_input_contents(0), std::string(reinterpret_cast<const char*>(x), sizeof(x)));
  EXPECT_EQ(request.raw_input_contents(1), std::string("\xfe\xff\x2c\x01", 4));
  EXPECT_EQ(request.raw_input_contents(2), std::string("\x01\x00", 2));
  EXPECT_EQ(request.raw_input_contents(3), std::string("\x02\0\0\0a\0\0\0\0\0", 10));
  inference::ModelInferRequest bare;
  EXPECT_TRUE(AddRows("[[1], [2]]", Metadata("inputs { name: 'x' datatype: 'FP32' }"), &bare).ok());
  EXPECT_EQ(bare.inputs(0).shape(0), 2);
}

TEST(Rows, RefusesWhatIsNoTensor) {
  const struct {
    const char *datatype, *json, *words;
  } kCases[] = {
      {"FP32", "{", "rows: must be JSON"},
      {"FP32", "{}", "rows[\"x\"]: must be given"},
      {"FP32", R"({"x": [1], "y": [1]})", "rows[\"y\"]: must be an input of the model"},
      {"FP32", "[[1, 2], [3]]", "lists of axis 1 must have one length, got 2 and 1"},
      {"FP32", "[1, [2]]", "got a list among values"},
      {"FP32", "[[1], 2]", "got a value among lists"},
      {"FP32", "[\"1\"]", "rows[\"x\"]: must be FP32, got \"1\""},
      {"BYTES", "[1]", "rows[\"x\"]: must be BYTES, got 1"},
      {"INT8", "[128]", "must be INT8, got 128"},
      {"INT8", "[-129]", "must be INT8, got -129"},
      {"UINT8", "[-1]", "must be UINT8, got -1"},
      {"INT32", "[1.5]", "must be INT32, got 1.5"},
      {"BOOL", "[1]", "must be BOOL, got 1"},
      {"FP16", "[1]", "FP16 has no form in JSON"},
      {"FP32", "[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]", "must have at most 16 axes"},
  };
  for (const auto& c : kCases) {
    inference::ModelInferRequest request;
    const absl::Status status =
        AddRows(c.json, Metadata(std::string("inputs { name: 'x' datatype: '") + c.datatype + "' }"), &request);
    EXPECT_TRUE(absl::StrContains(status.message(), c.words)) << c.json << ": " << status;
  }
}

TEST(Rows, OutputsHaveTheDigitsOfTheirType) {
  inference::ModelInferResponse response;
  auto* y = response.add_outputs();
  y->set_name("y");
  y->set_datatype("FP32");
  y->add_shape(2);
  y->add_shape(1);
  const float values[] = {0.1f, -2};
  response.add_raw_output_contents(values, sizeof(values));
  auto* id = response.add_outputs();
  id->set_name("id");
  id->set_datatype("INT64");
  id->add_shape(1);
  const int64_t big = int64_t{1} << 60;
  response.add_raw_output_contents(&big, sizeof(big));
  EXPECT_EQ(*RowsOf(response), R"({"y":[[0.1],[-2.0]],"id":[1152921504606846976]})");
  response.mutable_raw_output_contents(0)->pop_back();
  EXPECT_EQ(RowsOf(response).status().code(), absl::StatusCode::kInternal);
}

}  // namespace
}  // namespace strata::cli
