// Models as files, through the real binaries: files that the frameworks wrote (tests/fixtures) predict what the
// frameworks predicted, every kind comes back as it went, and damaged files harm nothing.

#include <chrono>
#include <filesystem>
#include <random>
#include <thread>

#include "tests/e2e/files_fixture.h"

namespace strata::e2e {
namespace {

using grpc::StatusCode;

constexpr const char* kKerasModels[] = {"cnn", "tokens", "nested", "attention", "chains"};

TEST_F(Files, KerasFilesPredictWhatKerasPredicted) {
  for (const std::string name : kKerasModels) {
    const std::string base = absl::StrCat(kFixtures, "keras/", name);
    const auto expected = service::ParseTensors(Bytes(base + ".safetensors"));
    ASSERT_TRUE(expected.ok()) << expected.status();
    for (const std::string ending : {".h5", ".keras"}) {
      const std::string model = name + "-" + ending.substr(1);
      const Imported imported = Import(model, Bytes(base + ending));
      ASSERT_TRUE(imported.status.ok()) << model << ": " << imported.status.error_message();
      EXPECT_TRUE(imported.response.training().has_optimizer()) << model;
      ExpectKeras(model, *expected);
    }
    // A definition, then weights alone, in both layouts.
    ASSERT_TRUE(Import(name, Bytes(base + ".json")).status.ok()) << name;
    for (const std::string ending : {".weights.h5", ".legacy.h5"}) {
      const Imported imported = Import(name, Bytes(base + ending));
      ASSERT_TRUE(imported.status.ok()) << name << ending << ": " << imported.status.error_message();
      ExpectKeras(name, *expected);
    }
  }
}

// Weights alone of Keras 3, after its definition.
TEST_F(Files, WeightsOfKeras3) {
  for (const std::string name : kKerasModels) {
    const std::string base = absl::StrCat(kFixtures, "keras/keras3_", name);
    const auto expected = service::ParseTensors(Bytes(base + ".safetensors"));
    ASSERT_TRUE(expected.ok()) << expected.status();
    const Imported definition = Import(name, Bytes(base + ".json"));
    ASSERT_TRUE(definition.status.ok()) << name << ": " << definition.status.error_message();
    const Imported imported = Import(name, Bytes(base + ".weights.h5"));
    ASSERT_TRUE(imported.status.ok()) << name << ": " << imported.status.error_message();
    EXPECT_EQ(imported.response.format(), v1::KERAS_WEIGHTS) << name;
    ExpectKeras(name, *expected);
  }
}

// A version's digest is that of weights and definition: not of when, from which file and under which name they came.
TEST_F(Files, EqualContentHasEqualDigests) {
  const std::string base = absl::StrCat(kFixtures, "keras/nested");
  const Imported first = Import("first", Bytes(base + ".h5")), again = Import("first", Bytes(base + ".keras")),
                 other = Import("other", Bytes(base + ".h5"));
  ASSERT_TRUE(first.status.ok() && again.status.ok() && other.status.ok());
  EXPECT_EQ(first.response.version().digest(), again.response.version().digest());
  EXPECT_EQ(again.response.version().version(), 2);
  EXPECT_EQ(first.response.version().digest(), other.response.version().digest());
  // The same weights of another model.
  std::string changed = Bytes(base + ".json");
  for (size_t at; (at = changed.find("tanh")) != std::string::npos;) changed.replace(at, 4, "relu");
  ASSERT_TRUE(Import("relu", changed).status.ok());
  const Imported relu = Import("relu", Bytes(base + ".weights.h5"));
  ASSERT_TRUE(relu.status.ok()) << relu.status.error_message();
  EXPECT_NE(first.response.version().digest(), relu.response.version().digest());
}

TEST_F(Files, EveryKindComesBackAsItWent) {
  for (const std::string name : kKerasModels) {
    const Imported first = Import(name, Bytes(absl::StrCat(kFixtures, "keras/", name, ".h5")));
    ASSERT_TRUE(first.status.ok()) << name << ": " << first.status.error_message();
    for (const v1::FileFormat format : {v1::NATIVE, v1::KERAS_HDF5, v1::KERAS_ARCHIVE}) {
      const std::string bytes = Export(name, format);
      // Nor does the second in which it is made show.
      if (name == "cnn") std::this_thread::sleep_for(std::chrono::milliseconds(1100));
      EXPECT_TRUE(bytes == Export(name, format)) << "equal content, equal bytes";
      const Imported again = Import(absl::StrCat(name, format), bytes);
      ASSERT_TRUE(again.status.ok()) << name << " " << v1::FileFormat_Name(format) << ": "
                                     << again.status.error_message();
      const auto expected = service::ParseTensors(Bytes(absl::StrCat(kFixtures, "keras/", name, ".safetensors")));
      ExpectKeras(absl::StrCat(name, format), *expected);
    }
    const Imported weights = Import(name, Export(name, v1::KERAS_WEIGHTS));
    ASSERT_TRUE(weights.status.ok()) << name << ": " << weights.status.error_message();
  }
}

TEST_F(Files, StateDicts) {
  for (const std::string name : {"convnet", "recurrent", "encoder"}) {
    const std::string base = absl::StrCat(kFixtures, "pytorch/", name);
    v1::ImportStart start;
    start.set_name(name);
    start.mutable_definition()->set_dialect(v1::PYTORCH);
    start.mutable_definition()->set_json(Bytes(base + ".json"));
    v1::Input* input = start.mutable_definition()->add_inputs();
    input->set_name("input");
    const auto expected = service::ParseTensors(Bytes(base + ".case.safetensors"));
    ASSERT_TRUE(expected.ok());
    const Tensor& x = expected->tensors.at("input");
    for (size_t d = 1; d < x.shape().size(); ++d) input->add_shape(x.shape()[d]);
    const std::string state = Bytes(base + ".state.safetensors");
    const Imported imported = Import(start, state);
    ASSERT_TRUE(imported.status.ok()) << name << ": " << imported.status.error_message();
    ExpectPredictions(name, {{"input", &x}}, {&expected->tensors.at("output")});
    // Out again, with the framework's names and shapes.
    const auto out = service::ParseTensors(Export(name, v1::PYTORCH_STATE_DICT));
    const auto in = service::ParseTensors(state);
    ASSERT_TRUE(out.ok() && in.ok());
    ASSERT_EQ(out->tensors.size(), in->tensors.size());
    for (const auto& [key, tensor] : in->tensors) {
      ASSERT_EQ(out->tensors.count(key), 1u) << key;
      EXPECT_EQ(out->tensors.at(key).shape(), tensor.shape()) << key;
    }
    EXPECT_TRUE(absl::StrContains(Export(name, v1::PYTORCH_SOURCE), "class Model(nn.Module)"));
    EXPECT_TRUE(Import(start, state).status.ok());
  }
}

TEST_F(Files, StrictReportsKeysAsPytorchDoes) {
  const std::string base = absl::StrCat(kFixtures, "pytorch/convnet");
  v1::ImportStart start;
  start.set_name("convnet");
  start.mutable_definition()->set_dialect(v1::PYTORCH);
  start.mutable_definition()->set_json(
      R"({"class_name": "Sequential", "config": {"layers": [{"class_name": "Linear", "config": {"in_features": 4, "out_features": 2}}]}})");
  start.mutable_definition()->add_inputs()->set_name("input");
  start.mutable_definition()->mutable_inputs(0)->add_shape(4);
  const Imported strict = Import(start, Bytes(base + ".state.safetensors"));
  EXPECT_EQ(strict.status.error_code(), StatusCode::INVALID_ARGUMENT);
  EXPECT_TRUE(absl::StrContains(strict.status.error_message(), "Error(s) in loading state_dict for convnet:"))
      << strict.status.error_message();
  EXPECT_EQ(NumModels(), 0);
}

// A header of 640 bytes begins as a pickle of protocol 2 does.
TEST_F(Files, HeaderLengthThatLooksLikeAPickle) {
  std::string header =
      R"({"0.weight":{"dtype":"F32","shape":[1,2],"data_offsets":[0,8]},"0.bias":{"dtype":"F32","shape":[1],"data_offsets":[8,12]}})";
  header.resize(0x280, ' ');
  std::string bytes = std::string("\x80\x02\0\0\0\0\0\0", 8) + header + std::string(12, '\0');
  v1::ImportStart start;
  start.set_name("small");
  start.mutable_definition()->set_dialect(v1::PYTORCH);
  start.mutable_definition()->set_json(
      R"({"class_name": "Sequential", "config": {"layers": [{"class_name": "Linear", "config": {"in_features": 2, "out_features": 1}}]}})");
  start.mutable_definition()->add_inputs()->set_name("x");
  start.mutable_definition()->mutable_inputs(0)->add_shape(2);
  const Imported imported = Import(start, bytes);
  EXPECT_TRUE(imported.status.ok()) << imported.status.error_message();
}

TEST_F(Files, PickledFilesAreRefusedWithTheConversion) {
  std::string archive("PK\x03\x04", 4);
  archive.append(26, '\0').append("archive/data.pkl");
  for (const std::string& bytes : {std::string("\x80\x02}q\x00.", 6), archive}) {
    const Imported imported = Import("pickled", bytes);
    EXPECT_EQ(imported.status.error_code(), StatusCode::INVALID_ARGUMENT);
    EXPECT_TRUE(absl::StrContains(imported.status.error_message(), "execute code")) << imported.status.error_message();
    EXPECT_TRUE(absl::StrContains(imported.status.error_message(), "save_file")) << imported.status.error_message();
  }
}

TEST_F(Files, DamagedFilesLeaveNothingBehind) {
  std::mt19937 random(20260101);
  const std::string state = Bytes(absl::StrCat(kFixtures, "keras/nested.h5"));
  ASSERT_TRUE(Import("good", state).status.ok());
  std::vector<std::string> files = {state, Bytes(absl::StrCat(kFixtures, "keras/nested.keras")),
                                    Export("good", v1::NATIVE)};
  int refused = 0;
  for (const std::string& file : files) {
    for (int i = 0; i < 25; ++i) {
      std::string bad = file;
      if (i < 8) {
        bad.resize(file.size() * static_cast<size_t>(i) / 8);
      } else {
        for (int k = 0; k < 8; ++k) bad[random() % bad.size()] ^= static_cast<char>(1 << (random() % 8));
      }
      const int before = NumModels();
      const Imported imported = Import("bad", bad);
      if (imported.status.ok()) {  // the bits were numbers or padding
        grpc::ClientContext context;
        v1::DeleteModelRequest remove;
        remove.set_name("bad");
        v1::DeleteModelResponse response;
        EXPECT_TRUE(models_->Delete(&context, remove, &response).ok());
        continue;
      }
      ++refused;
      const StatusCode code = imported.status.error_code();
      EXPECT_TRUE(code == StatusCode::INVALID_ARGUMENT || code == StatusCode::DATA_LOSS ||
                  code == StatusCode::UNIMPLEMENTED)
          << code << " " << imported.status.error_message();
      EXPECT_EQ(NumModels(), before);
    }
  }
  EXPECT_GT(refused, 30);
  EXPECT_TRUE(Import("good", state).status.ok());
}

// A large state dict is written while it arrives: what is kept is the same as of one that is not.
TEST_F(Files, LargeStateDictsAreTheSameWhicheverWayTheyCame) {
  constexpr char kDefinition[] = R"({"class_name": "Sequential", "config": {"layers": [
      {"class_name": "Linear", "config": {"in_features": 1100, "out_features": 1000}},
      {"class_name": "Linear", "config": {"in_features": 1000, "out_features": 3}}]}})";
  NamedTensors weights;
  for (const auto& [name, shape] : {std::pair<const char*, Shape>("0.weight", {1000, 1100}),
                                    {"0.bias", {1000}},
                                    {"1.weight", {3, 1000}},
                                    {"1.bias", {3}}}) {
    Tensor& t = weights[name] = Tensor(DType::kF32, shape);
    for (int64_t i = 0; i < t.num_elements(); ++i) t.Set(i, std::sin(static_cast<double>(i)));
  }
  std::vector<std::string> order;
  std::string bytes = service::TensorFilePrefix(weights, {{"format", "pt"}}, &order);
  for (const std::string& name : order) {
    bytes.append(static_cast<const char*>(weights.at(name).raw()), weights.at(name).size_bytes());
  }
  v1::ImportStart start;
  start.mutable_definition()->set_dialect(v1::PYTORCH);
  start.mutable_definition()->set_json(kDefinition);
  start.mutable_definition()->add_inputs()->add_shape(1100);
  start.mutable_definition()->mutable_inputs(0)->set_name("x");
  std::string digest;
  for (const auto& [name, size] : {std::pair("unannounced", size_t{0}), {"announced", bytes.size()}}) {
    start.set_name(name);
    start.set_size(static_cast<int64_t>(size));
    const Imported imported = Import(start, bytes, 500000);
    ASSERT_TRUE(imported.status.ok()) << name << ": " << imported.status.error_message();
    if (digest.empty()) digest = imported.response.version().digest();
    EXPECT_EQ(imported.response.version().digest(), digest) << name;
    EXPECT_EQ(Export(name, v1::PYTORCH_STATE_DICT), bytes) << name;
  }
  // Again, for a model that exists; and broken.
  start.clear_definition();
  const Imported again = Import(start, bytes, 500000);
  ASSERT_TRUE(again.status.ok()) << again.status.error_message();
  EXPECT_EQ(again.response.version().version(), 2);
  EXPECT_EQ(again.response.version().digest(), digest);
  start.set_digest(std::string(64, '0'));
  EXPECT_EQ(Import(start, bytes, 500000).status.error_code(), StatusCode::DATA_LOSS);
  start.clear_digest();
  EXPECT_EQ(Import(start, bytes.substr(0, bytes.size() - 100), 500000).status.error_code(), StatusCode::DATA_LOSS);
  // What is left once the last call's memory has gone: three versions.
  EXPECT_TRUE(Import("announced", bytes).status.ok());
  const auto files = [&] {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::directory_iterator(std::string(dir_ / "data/versions"))) {
      names.push_back(entry.path().filename());
    }
    return names;
  };
  for (int i = 0; i < 1000 && files().size() > 4; ++i) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  EXPECT_EQ(files().size(), 4u);
}

TEST_F(Files, WrongDigestAndSizeAreDataLoss) {
  const std::string bytes = Bytes(absl::StrCat(kFixtures, "keras/nested.h5"));
  v1::ImportStart start;
  start.set_name("nested");
  start.set_digest(std::string(64, '0'));
  EXPECT_EQ(Import(start, bytes).status.error_code(), StatusCode::DATA_LOSS);
  start.clear_digest();
  start.set_size(static_cast<int64_t>(bytes.size()) + 1);
  EXPECT_EQ(Import(start, bytes).status.error_code(), StatusCode::DATA_LOSS);
  EXPECT_EQ(NumModels(), 0);
}

}  // namespace
}  // namespace strata::e2e
