// Versions whose file is written while their weights arrive.
#include "service/store/growing_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <numeric>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "service/core/native_file.h"
#include "service/store/store.h"
#include "service/store/tensor_reader.h"
#include "tests/service/temp_dir.h"

namespace strata::service {
namespace {

constexpr uint64_t kMax = uint64_t{1} << 30;

Tensor Counting(Shape shape, DType dtype, double first) {
  Tensor t(dtype, std::move(shape));
  for (int64_t i = 0; i < t.num_elements(); ++i) t.Set(i, first + static_cast<double>(i % 1000));
  return t;
}

NamedTensors Weights() {
  NamedTensors tensors;
  tensors["a"] = Counting({300, 70}, DType::kF32, 1);
  tensors["b"] = Counting({0, 4}, DType::kF32, 0);
  tensors["c"] = Counting({}, DType::kI64, 9);
  tensors["d"] = Counting({400, 900}, DType::kF32, 5);
  return tensors;
}

// Of the whole header, in our order.
GrowingFile::Planner PlanFor(const Metadata& metadata) {
  return [metadata](const TensorHeader& header) {
    NamedViews views;
    std::map<std::string, size_t> entries;
    for (size_t i = 0; i < header.entries.size(); ++i) {
      const TensorEntry& e = header.entries[i];
      views[e.name] = {e.dtype, e.shape, nullptr};
      entries[e.name] = i;
    }
    GrowingPlan plan;
    std::vector<std::string> order;
    plan.prefix = TensorFilePrefix(views, metadata, &order);
    for (const std::string& name : order) plan.order.push_back(entries.at(name));
    return std::optional<GrowingPlan>(std::move(plan));
  };
}

// A file with its tensors in the reverse of our order.
std::string Reversed(const NamedTensors& tensors) {
  std::string header = "{", data;
  for (auto it = tensors.rbegin(); it != tensors.rend(); ++it) {
    const Tensor& t = it->second;
    absl::StrAppend(&header, header.size() == 1 ? "" : ",", "\"", it->first, "\":{\"dtype\":\"",
                    t.dtype() == DType::kI64 ? "I64" : "F32", "\",\"shape\":[", absl::StrJoin(t.shape(), ","),
                    "],\"data_offsets\":[", data.size(), ",", data.size() + t.size_bytes(), "]}");
    data.append(static_cast<const char*>(t.raw()), t.size_bytes());
  }
  header += "}";
  std::string bytes(8, '\0');
  const uint64_t length = header.size();
  std::memcpy(bytes.data(), &length, 8);
  return bytes + header + data;
}

struct Fixture {
  Fixture() {
    store = *Store::Open(dir.path());
    model.name = "m";
    EXPECT_TRUE(store->AddModel(&model).ok());
  }
  // Takes all of `bytes`, in pieces.
  absl::StatusOr<TensorFile> Read(const std::string& bytes, GrowingFile* growing) {
    TensorReader reader(bytes.size(), kMax, growing);
    for (size_t at = 0; at < bytes.size(); at += 10007) {
      if (const absl::Status status = reader.Add(absl::string_view(bytes).substr(at, 10007)); !status.ok())
        return status;
    }
    return reader.Finish();
  }
  int NumFiles() {
    const std::filesystem::directory_iterator folder(std::string(dir / "versions"));
    return static_cast<int>(std::distance(begin(folder), end(folder)));
  }
  TempDir dir;
  std::unique_ptr<Store> store;
  ModelRecord model;
};

ino_t Inode(const std::string& path) {
  struct stat info {};
  EXPECT_EQ(::stat(path.c_str(), &info), 0) << path;
  return info.st_ino;
}

TEST(GrowingFile, IsTheVersionsFileInWhateverOrderTensorsCame) {
  const Metadata metadata = {{"k", "v"}};
  Fixture f;
  VersionRecord plain{.model_id = f.model.id};
  ASSERT_TRUE(f.store->AddVersion(&plain, ViewsOf(Weights()), metadata).ok());
  for (const std::string& bytes : {TensorFileBytes(Weights(), {{"other", "words"}}), Reversed(Weights())}) {
    auto growing = f.store->GrowVersion(PlanFor(metadata));
    auto file = f.Read(bytes, growing.get());
    ASSERT_TRUE(file.ok()) << file.status();
    growing->End();
    ASSERT_TRUE(growing->Written());
    const ino_t inode = Inode(growing->path());
    VersionRecord version{.model_id = f.model.id};
    ASSERT_TRUE(f.store->AddVersion(&version, ViewsOf(file->tensors), metadata, nullptr, growing.get()).ok());
    EXPECT_EQ(version.stamp.digest, plain.stamp.digest);
    EXPECT_EQ(version.stamp.bytes, plain.stamp.bytes);
    EXPECT_EQ(Inode(f.dir / version.File()), inode) << "the file was written again";
    const auto read = f.store->ReadVersion(version);
    ASSERT_TRUE(read.ok()) << read.status();
    growing.reset();
    EXPECT_TRUE(f.store->ReadVersion(version).ok());
  }
  EXPECT_EQ(f.NumFiles(), 3);
}

TEST(TensorReader, HashesWhileItReads) {
  const std::string bytes = TensorFileBytes(Weights(), {{"k", "v"}});
  for (const bool hashes : {false, true}) {
    TensorReader reader(bytes.size(), kMax, nullptr, hashes);
    for (size_t at = 0; at < bytes.size(); at += 10007) {
      ASSERT_TRUE(reader.Add(absl::string_view(bytes).substr(at, 10007)).ok());
    }
    EXPECT_EQ(reader.Digest(), Sha256Hex(bytes));
    EXPECT_TRUE(reader.Finish().ok());
  }
  // Its tensors may go while it hashes.
  for (const bool finish : {false, true}) {
    TensorReader reader(bytes.size(), kMax, nullptr, /*hashes=*/true);
    ASSERT_TRUE(reader.Add(bytes).ok());
    if (finish) {
      EXPECT_TRUE(reader.Finish().ok());
    }
  }
}

// What is published is another thing than what was written: the version gets a file of its own.
TEST(GrowingFile, IsNotUsedForOtherContent) {
  Fixture f;
  const struct {
    const char* name;
    Metadata metadata;
    bool copy;
  } kCases[] = {{"other metadata", {{"k", "w"}}, false}, {"other memory", {{"k", "v"}}, true}};
  for (const auto& c : kCases) {
    SCOPED_TRACE(c.name);
    auto growing = f.store->GrowVersion(PlanFor({{"k", "v"}}));
    auto file = f.Read(TensorFileBytes(Weights(), {}), growing.get());
    growing->End();
    ASSERT_TRUE(file.ok() && growing->Written());
    NamedTensors other;
    for (const auto& [name, tensor] : file->tensors) other[name] = tensor.Clone();
    other["d"].Set(7, -1);
    VersionRecord version{.model_id = f.model.id};
    const NamedViews views = ViewsOf(c.copy ? other : file->tensors);
    ASSERT_TRUE(f.store->AddVersion(&version, views, c.metadata, nullptr, growing.get()).ok());
    const auto read = f.store->ReadVersion(version);
    ASSERT_TRUE(read.ok()) << read.status();
    EXPECT_EQ(read->tensors.at("d").At(7), c.copy ? -1 : file->tensors.at("d").At(7));
    EXPECT_EQ(read->metadata, c.metadata);
  }
  EXPECT_EQ(f.NumFiles(), 2);
}

TEST(GrowingFile, LeavesNothingOfAFileThatDoesNotEndOrIsNotPlanned) {
  Fixture f;
  const std::string bytes = TensorFileBytes(Weights(), {});
  for (const size_t cut : {size_t{0}, size_t{7}, size_t{60}, bytes.size() / 2, bytes.size() - 1}) {
    auto growing = f.store->GrowVersion(PlanFor({}));
    TensorReader reader(bytes.size(), kMax, growing.get());
    ASSERT_TRUE(reader.Add(absl::string_view(bytes).substr(0, cut)).ok());
    growing->End();
    EXPECT_FALSE(growing->Written()) << cut;
  }
  {
    auto growing = f.store->GrowVersion([](const TensorHeader&) { return std::nullopt; });
    EXPECT_TRUE(f.Read(bytes, growing.get()).ok());
    growing->End();
    EXPECT_FALSE(growing->Written());
  }
  {  // gone while it waits
    auto growing = f.store->GrowVersion(PlanFor({}));
  }
  EXPECT_EQ(f.NumFiles(), 0);
}

// Nobody has to keep the tensors, or to wait for the file.
TEST(GrowingFile, HoldsWhatItWrites) {
  Fixture f;
  for (const bool wanted : {true, false}) {
    auto growing = f.store->GrowVersion(PlanFor({}));
    EXPECT_TRUE(f.Read(TensorFileBytes(Weights(), {}), growing.get()).ok());  // and the tensors are gone
    growing->End();
    if (!wanted) continue;
    ASSERT_TRUE(growing->Written());
    const auto stamp = growing->Finish();
    ASSERT_TRUE(stamp.ok()) << stamp.status();
    EXPECT_EQ(stamp->digest, Sha256Hex(TensorFileBytes(Weights(), {})));
  }
  EXPECT_EQ(f.NumFiles(), 0);
}

// A disk that takes no file is told of where the version would get it.
TEST(GrowingFile, SaysWhatTheDiskSaid) {
  Fixture f;
  auto growing = f.store->GrowVersion(PlanFor({}));
  std::filesystem::remove_all(std::string(f.dir / "versions"));
  const auto file = f.Read(TensorFileBytes(Weights(), {}), growing.get());
  ASSERT_TRUE(file.ok());
  growing->End();
  EXPECT_TRUE(growing->Written());
  EXPECT_EQ(growing->Finish().status().code(), absl::StatusCode::kInternal);
}

}  // namespace
}  // namespace strata::service
