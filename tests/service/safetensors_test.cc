#include "service/store/safetensors.h"

#include <gtest/gtest.h>

#include <cstring>

namespace strata::service {
namespace {

std::string File(const std::string& header, size_t data_bytes, int64_t length = -1) {
  const uint64_t n = length < 0 ? header.size() : static_cast<uint64_t>(length);
  std::string bytes(8, '\0');
  std::memcpy(bytes.data(), &n, 8);
  return bytes + header + std::string(data_bytes, '\1');
}

TEST(Safetensors, RoundTrip) {
  NamedTensors tensors;
  tensors.emplace("a\"\\\n", Tensor::Of<double>(DType::kF64, {2}, {1, 2}));
  tensors.emplace("b", Tensor::Of<int>(DType::kBool, {3}, {1, 0, 1}));
  tensors.emplace("empty", Tensor(DType::kF32, {0, 4}));
  tensors.emplace("scalar", Tensor::Scalar(5, DType::kI16));
  std::vector<std::string> order;
  std::string bytes = TensorFilePrefix(tensors, {{"key", "valu\te"}}, &order);
  EXPECT_EQ(bytes.size() % 8, 0u);
  for (const std::string& name : order) {
    bytes.append(static_cast<const char*>(tensors.at(name).raw()), tensors.at(name).size_bytes());
  }
  const auto file = ParseTensors(bytes);
  ASSERT_TRUE(file.ok()) << file.status();
  EXPECT_EQ(file->metadata.at("key"), "valu\te");
  ASSERT_EQ(file->tensors.size(), tensors.size());
  for (const auto& [name, tensor] : tensors) {
    EXPECT_EQ(file->tensors.at(name).shape(), tensor.shape()) << name;
    for (int64_t i = 0; i < tensor.num_elements(); ++i) EXPECT_EQ(file->tensors.at(name).At(i), tensor.At(i)) << name;
  }
}

TEST(Safetensors, RefusesEveryBrokenRule) {
  const std::string good = R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})";
  ASSERT_TRUE(ParseTensors(File(good, 2)).ok());
  const struct {
    const char* name;
    std::string bytes;
    absl::StatusCode want = absl::StatusCode::kDataLoss;
  } kCases[] = {
      {"nothing", ""},
      {"short length", "1234567"},
      {"header beyond the file", File(good, 2, 1000)},
      {"absurd header", File(good, 2, int64_t{1} << 62)},
      {"no object", File("[]", 0)},
      {"leading blank", File(" " + good, 2)},
      {"text after the object", File(good + "x", 2)},
      {"bytes after the data", File(good, 3)},
      {"data missing", File(good, 1)},
      {"not UTF-8", File("{\"\xff\":{\"dtype\":\"U8\",\"shape\":[2],\"data_offsets\":[0,2]}}", 2)},
      {"duplicate tensor",
       File(
           R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1]},"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})",
           2)},
      {"duplicate key", File(R"({"a":{"dtype":"U8","dtype":"U8","shape":[2],"data_offsets":[0,2]}})", 2)},
      {"unknown key", File(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2],"b":1}})", 2)},
      {"missing key", File(R"({"a":{"dtype":"U8","shape":[2]}})", 2)},
      {"negative size", File(R"({"a":{"dtype":"U8","shape":[-2],"data_offsets":[0,2]}})", 2)},
      {"fraction", File(R"({"a":{"dtype":"U8","shape":[2.0],"data_offsets":[0,2]}})", 2)},
      {"leading zero", File(R"({"a":{"dtype":"U8","shape":[02],"data_offsets":[0,2]}})", 2)},
      {"size overflows",
       File(R"({"a":{"dtype":"F64","shape":[281474976710656,281474976710656],"data_offsets":[0,2]}})", 2)},
      {"number overflows", File(R"({"a":{"dtype":"U8","shape":[99999999999999999999],"data_offsets":[0,2]}})", 2)},
      {"size differs", File(R"({"a":{"dtype":"U8","shape":[3],"data_offsets":[0,2]}})", 2)},
      {"offsets backwards", File(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[2,0]}})", 2)},
      {"three offsets", File(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2,2]}})", 2)},
      {"hole", File(R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[1,2]}})", 2)},
      {"overlap",
       File(
           R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},"b":{"dtype":"U8","shape":[2],"data_offsets":[1,3]}})",
           3)},
      {"metadata of numbers", File(R"({"__metadata__":{"a":1}})", 0)},
      {"lone surrogate", File(R"({"\ud800":{"dtype":"U8","shape":[2],"data_offsets":[0,2]}})", 2)},
      {"unfinished", File(R"({"a":{"dtype":"U8")", 0)},
      {"trailing comma", File(R"({"a":{"dtype":"U8","shape":[2],"data_offsets":[0,2]},})", 2)},
      {"other type", File(R"({"a":{"dtype":"F8_E5M2","shape":[2],"data_offsets":[0,2]}})", 2),
       absl::StatusCode::kUnimplemented},
  };
  for (const auto& c : kCases) EXPECT_EQ(ParseTensors(c.bytes).status().code(), c.want) << c.name;
}

}  // namespace
}  // namespace strata::service
