// Every layer of the catalog through the real server: created, trained for a step, published, asked for a prediction.
#include <google/protobuf/text_format.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>
#include <signal.h>

#include <cstring>
#include <memory>

#include "absl/strings/str_cat.h"
#include "engine/nn/component.h"
#include "engine/nn/schema.h"
#include "inference/open_inference.grpc.pb.h"
#include "strata/v1/services.grpc.pb.h"
#include "tests/e2e/process.h"
#include "tests/service/temp_dir.h"

namespace strata::e2e {
namespace {

constexpr const char* kConfig =
    "objectives { loss { mean_squared_error {} } } optimizer { sgd { learning_rate: 0.01 } }";

// One layer as a model, with the numbers that its sample asks for.
struct Walk {
  v1::Model model;
  std::map<std::string, v1::Tensor> inputs;
};

v1::Tensor TensorOf(v1::DataType dtype, const std::vector<int64_t>& shape, int64_t ids_below) {
  v1::Tensor t;
  t.set_dtype(dtype);
  int64_t n = 1;
  for (const int64_t d : shape) n *= d;
  t.mutable_shape()->Add(shape.begin(), shape.end());
  for (int64_t i = 0; i < n; ++i) {
    if (dtype == v1::INT64) {
      const int64_t v = i % std::max<int64_t>(ids_below, 1);
      t.mutable_data()->append(reinterpret_cast<const char*>(&v), sizeof(v));
    } else {
      const float v = static_cast<float>(i * 37 % 101) / 50 - 1;
      t.mutable_data()->append(reinterpret_cast<const char*>(&v), sizeof(v));
    }
  }
  return t;
}

Walk WalkOf(const nn::Component& c, const nn::Sample& s, v1::Dialect dialect, const std::string& name) {
  Walk w;
  w.model.set_name(name);
  w.model.set_dialect(dialect);
  v1::Layer* layer = w.model.add_layers();
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(absl::StrCat(c.name(), " { ", s.attrs, " }"), layer));
  layer->set_name("layer");
  v1::Call* call = w.model.add_calls();
  call->set_layer("layer");
  // Sequences first in time have their batch on another axis: then no axis is the model's batch.
  bool batched = true;
  for (const Shape& shape : s.inputs) batched &= shape[0] == s.inputs[0][0];
  for (size_t i = 0; i < s.inputs.size(); ++i) {
    v1::Input* in = w.model.add_inputs();
    in->set_name(absl::StrCat("x", i));
    in->set_dtype(s.ids_below > 0 ? v1::INT64 : v1::FLOAT32);
    in->mutable_shape()->Add(s.inputs[i].begin() + (batched ? 1 : 0), s.inputs[i].end());
    if (!batched) in->set_batched(false);
    call->add_args()->set_call(in->name());
    Shape shape = s.inputs[i];
    if (batched) shape[0] = std::max<int64_t>(shape[0], 2);  // batch normalisation needs two rows
    w.inputs[in->name()] = TensorOf(in->dtype(), shape, s.ids_below);
  }
  return w;
}

class CatalogWalk : public testing::Test {
 protected:
  CatalogWalk() : server_(dir_ / "data", dir_ / "server") {
    const auto channel = grpc::CreateChannel(server_.grpc(), grpc::InsecureChannelCredentials());
    models_ = v1::Models::NewStub(channel);
    training_ = v1::Training::NewStub(channel);
    inference_ = inference::GRPCInferenceService::NewStub(channel);
  }

  // Creates the model; the shapes of its outputs.
  grpc::Status Create(const Walk& w, v1::ValidateModelResponse* facts) {
    v1::CreateModelRequest create;
    *create.mutable_model() = w.model;
    v1::ModelInfo info;
    grpc::ClientContext first, second;
    if (const grpc::Status s = models_->Create(&first, create, &info); !s.ok()) return s;
    v1::ValidateModelRequest validate;
    *validate.mutable_model() = w.model;
    return models_->Validate(&second, validate, facts);
  }

  grpc::Status Train(const Walk& w, const v1::TensorSpec& output) {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(60));
    const auto stream = training_->Train(&context);
    v1::TrainRequest start, batch, publish, finish;
    start.mutable_start()->set_model(w.model.name());
    start.mutable_start()->set_run(w.model.name());
    EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(kConfig, start.mutable_start()->mutable_config()));
    batch.mutable_batch()->set_sequence(1);
    for (const auto& [name, t] : w.inputs) (*batch.mutable_batch()->mutable_tensors())[name] = t;
    std::vector<int64_t> shape(output.shape().begin(), output.shape().end());
    if (shape[0] < 0) shape[0] = w.inputs.begin()->second.shape(0);
    (*batch.mutable_batch()->mutable_tensors())["target"] = TensorOf(v1::FLOAT32, shape, 0);
    publish.mutable_publish();
    finish.mutable_finish();
    v1::TrainResponse response;
    bool good = stream->Write(start) && stream->Read(&response);
    good = good && stream->Write(batch) && stream->Read(&response);
    EXPECT_TRUE(!good || response.has_step()) << response.ShortDebugString();
    good = good && stream->Write(publish) && stream->Read(&response);
    good = good && stream->Write(finish) && stream->Read(&response);
    while (stream->Read(&response)) {
    }
    return stream->Finish();
  }

  grpc::Status Infer(const Walk& w, inference::ModelInferResponse* response) {
    inference::ModelInferRequest request;
    request.set_model_name(w.model.name());
    for (const auto& [name, t] : w.inputs) {
      auto* in = request.add_inputs();
      in->set_name(name);
      in->set_datatype(t.dtype() == v1::INT64 ? "INT64" : "FP32");
      *in->mutable_shape() = t.shape();
      request.add_raw_input_contents(t.data());
    }
    grpc::ClientContext context;
    return inference_->ModelInfer(&context, request, response);
  }

  service::TempDir dir_;
  ServerProcess server_;
  std::unique_ptr<v1::Models::Stub> models_;
  std::unique_ptr<v1::Training::Stub> training_;
  std::unique_ptr<inference::GRPCInferenceService::Stub> inference_;
};

TEST_F(CatalogWalk, EveryLayerTrainsAndPredicts) {
  int walked = 0;
  for (const nn::Component& c : nn::Layers()) {
    for (const v1::Dialect dialect : {v1::PYTORCH, v1::KERAS}) {
      for (size_t i = 0; i < c.samples().size(); ++i) {
        const nn::Sample& s = c.samples()[i];
        if (s.dialect != v1::DIALECT_UNSPECIFIED && s.dialect != dialect) continue;
        const std::string name = absl::StrCat(c.name(), "_", i, dialect == v1::KERAS ? "_keras" : "_pytorch");
        const Walk w = WalkOf(c, s, dialect, name);
        v1::Layer filled = w.model.layers(0);
        // A sample without a dialect is for those that have the component.
        if (s.dialect == v1::DIALECT_UNSPECIFIED && !nn::Fill(dialect, "layer", &filled).ok()) continue;
        SCOPED_TRACE(absl::StrCat(name, ": ", s.attrs));
        v1::ValidateModelResponse facts;
        const grpc::Status created = Create(w, &facts);
        EXPECT_TRUE(created.ok()) << created.error_message();
        if (!created.ok()) break;
        const grpc::Status trained = Train(w, facts.outputs(0));
        EXPECT_TRUE(trained.ok()) << trained.error_message();
        if (!trained.ok()) break;
        inference::ModelInferResponse response;
        const grpc::Status inferred = Infer(w, &response);
        EXPECT_TRUE(inferred.ok()) << inferred.error_message();
        if (!inferred.ok()) break;
        EXPECT_FALSE(response.raw_output_contents(0).empty());
        ++walked;
        break;
      }
    }
  }
  RecordProperty("layers", walked);
  EXPECT_GE(walked, static_cast<int>(nn::Layers().size()));
  server_.process().Signal(SIGTERM);
  EXPECT_EQ(server_.process().Wait(60), 0) << server_.process().Errors();
}

}  // namespace
}  // namespace strata::e2e
