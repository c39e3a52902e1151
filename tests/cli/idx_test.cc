#include "cli/idx.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <cstdio>
#include <fstream>

#include "cli/dataset.h"

namespace strata::cli {
namespace {

std::string Path(const std::string& name) { return testing::TempDir() + "/" + name; }

const std::string kImages =
    std::string("\0\0\x08\x03\0\0\0\x02\0\0\0\x01\0\0\0\x03", 16) + std::string("\x00\x33\xff\x01\x02\x03", 6);
const std::string kLabels = std::string("\0\0\x08\x01\0\0\0\x02\x04\x01", 10);

void WritePlain(const std::string& path, const std::string& bytes) { std::ofstream(path, std::ios::binary) << bytes; }

void WriteGzip(const std::string& path, const std::string& bytes) {
  gzFile file = gzopen(path.c_str(), "wb");
  gzwrite(file, bytes.data(), static_cast<unsigned>(bytes.size()));
  gzclose(file);
}

TEST(Idx, ReadsPlainAndGzip) {
  WritePlain(Path("plain"), kImages);
  WriteGzip(Path("packed.gz"), kImages);
  for (const char* name : {"plain", "packed.gz"}) {
    const auto file = ReadIdx(Path(name));
    ASSERT_TRUE(file.ok()) << name << ": " << file.status();
    EXPECT_EQ(file->shape, (std::vector<int64_t>{2, 1, 3})) << name;
    EXPECT_EQ(file->data, (std::vector<uint8_t>{0, 0x33, 0xff, 1, 2, 3})) << name;
  }
}

TEST(Idx, RefusesWhatIsNoIdxFile) {
  const struct {
    const char* name;
    std::string bytes;
    const char* message;
  } kCases[] = {
      {"empty", "", "is no IDX file"},
      {"text", "hello, world", "is no IDX file"},
      {"floats", std::string("\0\0\x0d\x01\0\0\0\x01\0\0\0\0", 12), "must hold unsigned bytes"},
      {"short_header", std::string("\0\0\x08\x02\0\0\0\x01", 8), "ends within its header"},
      {"short_data", kImages.substr(0, kImages.size() - 1), "ends before its 6 elements"},
      {"huge", std::string("\0\0\x08\x02\xff\xff\xff\xff\xff\xff\xff\xff", 12), "must have at most"},
  };
  for (const auto& c : kCases) {
    WritePlain(Path(c.name), c.bytes);
    const auto file = ReadIdx(Path(c.name));
    EXPECT_EQ(file.status().code(), absl::StatusCode::kInvalidArgument) << c.name;
    EXPECT_NE(file.status().message().find(c.message), std::string::npos) << c.name << ": " << file.status();
    EXPECT_NE(file.status().message().find(c.name), std::string::npos) << "the path is named";
  }
  EXPECT_EQ(ReadIdx(Path("missing")).status().code(), absl::StatusCode::kNotFound);
}

TEST(Dataset, EncodesImagesAndLabels) {
  WriteGzip(Path("train-images-idx3-ubyte.gz"), kImages);
  WritePlain(Path("train-labels-idx1-ubyte"), kLabels);
  const auto data = LoadDataset(testing::TempDir(), Part::kTrain);
  ASSERT_TRUE(data.ok()) << data.status();
  EXPECT_EQ(data->num_samples(), 2);
  EXPECT_EQ(data->num_classes, 5);
  EXPECT_EQ(data->sample_shape, (std::vector<int64_t>{1, 3}));

  const int64_t rows[] = {1, 0};
  v1::Tensor images;
  EncodeImages(*data, rows, {.input_shape = {1, 1, 3}}, &images);
  EXPECT_EQ(images.dtype(), v1::FLOAT32);
  EXPECT_EQ(std::vector<int64_t>(images.shape().begin(), images.shape().end()), (std::vector<int64_t>{2, 1, 1, 3}));
  ASSERT_EQ(images.data().size(), 6 * sizeof(float));
  const float* pixels = reinterpret_cast<const float*>(images.data().data());
  EXPECT_FLOAT_EQ(pixels[0], 1 / 255.0f);
  EXPECT_FLOAT_EQ(pixels[4], 0.2f);
  EXPECT_FLOAT_EQ(pixels[5], 1.0f);

  v1::Tensor labels;
  EncodeLabels(*data, rows, {}, &labels);
  EXPECT_EQ(labels.dtype(), v1::INT64);
  EXPECT_EQ(labels.data(), std::string("\1\0\0\0\0\0\0\0\4\0\0\0\0\0\0\0", 16));

  EncodeLabels(*data, rows, {.one_hot = true}, &labels);
  EXPECT_EQ(labels.dtype(), v1::FLOAT32);
  ASSERT_EQ(labels.data().size(), 10 * sizeof(float));
  const float* one_hot = reinterpret_cast<const float*>(labels.data().data());
  EXPECT_EQ(std::vector<float>(one_hot, one_hot + 10), (std::vector<float>{0, 1, 0, 0, 0, 0, 0, 0, 0, 1}));
}

TEST(Dataset, NamesTheMissingFile) {
  const auto data = LoadDataset(Path("nowhere"), Part::kTest);
  EXPECT_EQ(data.status().code(), absl::StatusCode::kNotFound);
  EXPECT_NE(data.status().message().find("t10k-images-idx3-ubyte"), std::string::npos) << data.status();
}

TEST(BatchPlan, AnEpochHasEveryRowOnceAndABatchIsAlwaysTheSame) {
  const BatchPlan plan({.rows = 10, .batch = 4, .seed = 7});
  EXPECT_EQ(plan.batches_per_epoch(), 3);
  EXPECT_EQ(plan.Epoch(3), 1);
  EXPECT_EQ(plan.Epoch(4), 2);
  EXPECT_EQ(plan.NumRows(2), 4);
  EXPECT_EQ(plan.NumRows(3), 2) << "the last batch has what is left";

  const std::vector<int64_t> order = plan.Order(2);
  std::vector<int64_t> seen;
  for (uint64_t sequence : {4, 5, 6}) {
    for (int64_t row : plan.Slice(order, sequence)) seen.push_back(row);
  }
  EXPECT_EQ(seen, order);
  std::sort(seen.begin(), seen.end());
  EXPECT_EQ(seen, (std::vector<int64_t>{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}));
  EXPECT_EQ(BatchPlan({.rows = 10, .batch = 4, .seed = 7}).Order(2), order);
  EXPECT_NE(plan.Order(1), order);
  EXPECT_NE(BatchPlan({.rows = 10, .batch = 4, .seed = 8}).Order(2), order);
}

}  // namespace
}  // namespace strata::cli
