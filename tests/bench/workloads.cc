#include "tests/bench/workloads.h"

#include <random>

#include "absl/strings/str_cat.h"
#include "cli/idx.h"
#include "engine/base/status.h"
#include "google/protobuf/text_format.h"

namespace strata::bench {
namespace {

constexpr char kMlp[] = R"(
  inputs { shape: 784 }
  layers { linear { units: 256 } } layers { relu {} }
  layers { linear { units: 128 } } layers { relu {} }
  layers { linear { units: 10 } })";
constexpr char kConvnet[] = R"(
  inputs { shape: [1, 28, 28] }
  layers { conv2d { filters: 32 kernel_size: 3 } } layers { relu {} } layers { max_pool2d { pool_size: 2 } }
  layers { conv2d { filters: 64 kernel_size: 3 } } layers { relu {} } layers { max_pool2d { pool_size: 2 } }
  layers { flatten {} } layers { linear { units: 128 } } layers { relu {} } layers { linear { units: 10 } })";
constexpr char kTiny[] = R"(
  inputs { shape: 2 }
  layers { linear { units: 4 } } layers { sigmoid {} } layers { linear { units: 8 } } layers { sigmoid {} }
  layers { linear { units: 1 } } layers { sigmoid {} })";
constexpr char kLstm[] = R"(
  inputs { shape: 64 dtype: INT64 }
  layers { embedding { input_dim: 10000 output_dim: 64 } } layers { lstm { units: 128 batch_first: true } }
  layers { select { axis: 1 index: -1 } } layers { linear { units: 1 } })";
constexpr char kEncoder[] = R"(
  inputs { shape: [64, 256] }
  layers { transformer_encoder { num_layers: 4 encoder_layer {
    d_model: 256 nhead: 4 dim_feedforward: 1024 dropout: 0.1 batch_first: true } } }
  layers { mean { axis: 1 } } layers { linear { units: 10 } })";
constexpr char kClassAdam[] = "objectives { loss { cross_entropy {} } } optimizer { adam { learning_rate: 1e-3 } }";

// Eight embeddings beside thirteen numbers.
std::string TabularText() {
  std::string text = "inputs { name: \"ids\" shape: 8 dtype: INT64 } inputs { name: \"numbers\" shape: 13 }";
  std::string concat = "calls { name: \"concat\" layer: \"concat\"";
  for (int i = 0; i < 8; ++i) {
    absl::StrAppend(&text, "layers { name: \"column", i, "\" select { axis: 1 index: ", i, " } }",
                    "layers { name: \"embedding", i, "\" embedding { input_dim: 1000 output_dim: 16 } }",
                    "calls { layer: \"column", i, "\" args { call: \"ids\" } }", "calls { layer: \"embedding", i,
                    "\" args { call: \"column", i, "\" } }");
    absl::StrAppend(&concat, " args { call: \"embedding", i, "\" }");
  }
  absl::StrAppend(&text, concat, " args { call: \"numbers\" } }", R"(
      layers { name: "concat" concatenate { axis: 1 } }
      layers { name: "fc1" linear { units: 256 } } layers { name: "relu1" relu {} }
      layers { name: "fc2" linear { units: 128 } } layers { name: "relu2" relu {} } layers { name: "out" linear { units: 1 } }
      calls { layer: "fc1" args { call: "concat" } } calls { layer: "relu1" args { call: "fc1" } }
      calls { layer: "fc2" args { call: "relu1" } } calls { layer: "relu2" args { call: "fc2" } }
      calls { layer: "out" args { call: "relu2" } } outputs { edge { call: "out" } })");
  return text;
}

// Builds the residual network's text: three stages of three basic blocks.
class Resnet20 {
 public:
  std::string Text() {
    text_ = "inputs { name: \"image\" shape: [3, 32, 32] }";
    last_ = "image";
    ConvNorm("stem", 3, 16, 3, 1);
    Apply("stem_relu", "relu {}", {last_});
    int64_t channels = 16;
    for (int stage = 1; stage <= 3; ++stage) {
      for (int block = 0; block < 3; ++block) {
        const int64_t width = 8 << stage;
        Block(absl::StrCat("layer", stage, "_", block), channels, width, stage > 1 && block == 0 ? 2 : 1);
        channels = width;
      }
    }
    Apply("pool", "adaptive_avg_pool2d { output_size: 1 }", {last_});
    Apply("flatten", "flatten {}", {last_});
    Apply("fc", "linear { units: 10 }", {last_});
    return text_ + "outputs { edge { call: \"fc\" } }";
  }

 private:
  void Apply(const std::string& name, const std::string& kind, const std::vector<std::string>& args) {
    absl::StrAppend(&text_, "layers { name: \"", name, "\" ", kind, " } calls { layer: \"", name, "\"");
    for (const std::string& a : args) absl::StrAppend(&text_, " args { call: \"", a, "\" }");
    text_ += " }";
    last_ = name;
  }
  void ConvNorm(const std::string& name, int64_t, int64_t out, int64_t kernel, int64_t stride) {
    Apply(name + "_conv",
          absl::StrCat("conv2d { filters: ", out, " kernel_size: ", kernel, " stride: ", stride,
                       " padding { size { values: ", kernel / 2, " } } use_bias: false }"),
          {last_});
    Apply(name + "_norm", "batch_norm2d {}", {last_});
  }
  void Block(const std::string& name, int64_t in, int64_t out, int64_t stride) {
    const std::string input = last_;
    ConvNorm(name + "_a", in, out, 3, stride);
    Apply(name + "_relu", "relu {}", {last_});
    ConvNorm(name + "_b", out, out, 3, 1);
    const std::string main = last_;
    std::string shortcut = input;
    if (in != out) {
      last_ = input;
      ConvNorm(name + "_down", in, out, 1, stride);
      shortcut = last_;
    }
    Apply(name + "_add", "add {}", {main, shortcut});
    Apply(name + "_out", "relu {}", {last_});
  }

  std::string text_, last_;
};

struct Product {
  double multiply_adds;
  bool input_gradient;
};

std::vector<Product> ProductsOf(const std::string& name) {
  if (name == "mlp") return {{784 * 256, false}, {256 * 128, true}, {1280, true}};
  if (name == "convnet")
    return {{26 * 26 * 9 * 32, false}, {11 * 11 * 9 * 32 * 64, true}, {1600 * 128, true}, {1280, true}};
  if (name == "tabular") return {{141 * 256, true}, {256 * 128, true}, {128, true}};
  if (name == "lstm") return {{64.0 * 64 * 512, true}, {64.0 * 128 * 512, true}, {128, true}};
  if (name == "encoder") {
    const double qkv = 64.0 * 256 * 256 * 3, rest = 64.0 * 256 * 256 + 2 * 64.0 * 64 * 256 + 2 * 64.0 * 256 * 1024;
    return {{qkv, false}, {rest, true}, {qkv + rest, true}, {qkv + rest, true}, {qkv + rest, true}, {2560, true}};
  }
  if (name == "tiny") return {{8, false}, {32, true}, {8, true}};
  std::vector<Product> out{{32 * 32 * 27 * 16, false}};
  double in = 16, size = 32;
  for (double c : {16.0, 32.0, 64.0}) {
    for (int block = 0; block < 3; ++block) {
      const bool down = c != in;
      if (down) size /= 2;
      out.push_back({size * size * 9 * in * c, true});
      if (down) out.push_back({size * size * in * c, true});
      out.push_back({size * size * 9 * c * c, true});
      in = c;
    }
  }
  out.push_back({640, true});
  return out;
}

template <typename M>
absl::Status Parse(const std::string& text, M* message) {
  if (google::protobuf::TextFormat::ParseFromString(text, message)) return absl::OkStatus();
  return absl::InternalError("workload text does not parse");
}

absl::StatusOr<std::vector<NamedTensors>> ImageBatches(int64_t batch, int count, const std::string& data, bool flat) {
  STRATA_ASSIGN_OR_RETURN(const cli::IdxFile images, cli::ReadIdx(data + "/train-images-idx3-ubyte.gz"));
  STRATA_ASSIGN_OR_RETURN(const cli::IdxFile labels, cli::ReadIdx(data + "/train-labels-idx1-ubyte.gz"));
  std::vector<NamedTensors> out;
  const int64_t pixels = 784, batches = static_cast<int64_t>(labels.data.size()) / batch;
  for (int64_t b = 0; b < count; ++b) {
    const int64_t first = b % batches * batch;
    Tensor x(DType::kF32, flat ? Shape{batch, pixels} : Shape{batch, 1, 28, 28}), y(DType::kI64, {batch});
    for (int64_t i = 0; i < batch * pixels; ++i)
      x.data<float>()[i] = static_cast<float>(images.data[first * pixels + i]) / 255;
    for (int64_t i = 0; i < batch; ++i) y.data<int64_t>()[i] = labels.data[first + i];
    NamedTensors t;
    t["input"] = std::move(x);
    t["target"] = std::move(y);
    out.push_back(std::move(t));
  }
  return out;
}

}  // namespace

const std::vector<std::string>& WorkloadNames() {
  static const std::vector<std::string> names = {"mlp", "convnet", "resnet20", "lstm", "encoder", "tabular", "tiny"};
  return names;
}

absl::StatusOr<Workload> MakeWorkload(const std::string& name) {
  Workload w{name, {}, {}, {64}};
  std::string model, config = kClassAdam;
  if (name == "mlp") {
    model = kMlp;
    w.train_batches = {64, 512};
  } else if (name == "convnet") {
    model = kConvnet;
  } else if (name == "resnet20") {
    model = Resnet20().Text();
    config = "objectives { loss { cross_entropy {} } } optimizer { sgd { learning_rate: 0.1 momentum: 0.9 } }";
  } else if (name == "tabular") {
    model = TabularText();
    config = "objectives { loss { binary_cross_entropy_logits {} } } optimizer { adagrad { learning_rate: 0.01 } }";
    w.train_batches = {256};
  } else if (name == "lstm") {
    model = kLstm;
    config =
        "objectives { loss { binary_cross_entropy_logits {} } } "
        "optimizer { rmsprop { learning_rate: 1e-3 rho: 0.9 epsilon: 1e-7 } }";
    w.train_batches = {32};
  } else if (name == "encoder") {
    model = kEncoder;
    config = "objectives { loss { cross_entropy {} } } optimizer { adamw { learning_rate: 1e-3 } weight_decay: 0.01 }";
    w.train_batches = {16};
  } else if (name == "tiny") {
    model = kTiny;
    config = "objectives { loss { binary_cross_entropy_probabilities {} } } optimizer { sgd { learning_rate: 0.1 } }";
    w.train_batches = {10};
  } else {
    return InvalidArgument("workload: unknown, got ", name);
  }
  STRATA_RETURN_IF_ERROR(Parse(absl::StrCat("name: \"", name, "\" dialect: PYTORCH ", model), &w.model));
  STRATA_RETURN_IF_ERROR(Parse(config, &w.config));
  w.config.set_seed(1);
  return w;
}

absl::StatusOr<std::vector<NamedTensors>> MakeBatches(const std::string& name, int64_t batch, int count,
                                                      const std::string& data) {
  if (name == "mlp" || name == "convnet") return ImageBatches(batch, count, data, name == "mlp");
  std::mt19937 random(7);
  std::normal_distribution<float> normal;
  std::uniform_real_distribution<float> uniform;
  std::vector<NamedTensors> out;
  const auto floats = [&](Shape shape, auto& distribution) {
    Tensor t(DType::kF32, std::move(shape));
    for (int64_t i = 0; i < t.num_elements(); ++i) t.data<float>()[i] = distribution(random);
    return t;
  };
  const auto ids = [&](Shape shape, int64_t below) {
    Tensor t(DType::kI64, std::move(shape));
    for (int64_t i = 0; i < t.num_elements(); ++i) t.data<int64_t>()[i] = static_cast<int64_t>(random() % below);
    return t;
  };
  for (int b = 0; b < count; ++b) {
    NamedTensors t;
    if (name == "resnet20") {
      t["image"] = floats({batch, 3, 32, 32}, normal);
      t["target"] = ids({batch}, 10);
    } else if (name == "lstm") {
      t["input"] = ids({batch, 64}, 10000);
      Tensor y(DType::kF32, {batch, 1});
      for (int64_t i = 0; i < batch; ++i) y.data<float>()[i] = static_cast<float>(random() % 2);
      t["target"] = std::move(y);
    } else if (name == "encoder") {
      t["input"] = floats({batch, 64, 256}, normal);
      t["target"] = ids({batch}, 10);
    } else if (name == "tabular") {
      t["ids"] = ids({batch, 8}, 1000);
      t["numbers"] = floats({batch, 13}, normal);
      Tensor y(DType::kF32, {batch, 1});
      for (int64_t i = 0; i < batch; ++i) y.data<float>()[i] = static_cast<float>(random() % 2);
      t["target"] = std::move(y);
    } else {
      t["input"] = floats({batch, 2}, uniform);
      Tensor y(DType::kF32, {batch, 1});
      const float* x = t["input"].data<float>();
      for (int64_t i = 0; i < batch; ++i) y.data<float>()[i] = (x[2 * i] > 0.5f) != (x[2 * i + 1] > 0.5f);
      t["target"] = std::move(y);
    }
    out.push_back(std::move(t));
  }
  return out;
}

double Flops(const std::string& name, int64_t batch, bool train) {
  double sum = 0;
  for (const Product& p : ProductsOf(name)) sum += p.multiply_adds * (train ? (p.input_gradient ? 3 : 2) : 1);
  return 2 * static_cast<double>(batch) * sum;
}

}  // namespace strata::bench
