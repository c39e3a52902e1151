// strata train: streams a dataset to the server, epoch by epoch.

#include <unistd.h>

#include <algorithm>
#include <iostream>
#include <memory>
#include <numeric>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "cli/commands.h"
#include "cli/dataset.h"
#include "cli/progress.h"
#include "cli/terminal.h"
#include "cli/trainer.h"
#include "cli/training_config.h"
#include "engine/base/status.h"

namespace strata::cli {
namespace {

struct TrainFlags {
  std::string model;
  std::string data = "fashion-mnist";
  std::string run;
  bool resume = false;
  std::optional<int64_t> from;  // version; 0: the one that serves
  bool weights_only = false;
  bool publish = false;
  std::string weights;  // which are published
  std::string description;
  int64_t epochs = 3;
  int64_t batch = 64;
  int64_t validation = 5000;
  int64_t limit = 0;
  double give_up_after = 300;
  ConfigFlags config;
};

// Batches of a dataset: the first rows train, the rows after them validate.
class DatasetSource : public BatchSource {
 public:
  struct Options {
    Encoding encoding;
    std::string input_name, target_name;
    int64_t train_rows = 0;
    int64_t validation_rows = 0;
    int64_t batch = 1;
    int64_t evaluation_batch = 1;
    uint64_t seed = 0;
  };
  DatasetSource(const Dataset& data, const Options& options)
      : data_(data),
        options_(options),
        plan_({.rows = options.train_rows, .batch = options.batch, .seed = options.seed}) {}

  int64_t batches_per_epoch() const { return plan_.batches_per_epoch(); }
  int64_t evaluations_per_epoch() const {
    return (options_.validation_rows + options_.evaluation_batch - 1) / options_.evaluation_batch;
  }

  void FillBatch(const Item& item, v1::Batch* batch) override {
    if (item.epoch != order_epoch_) {
      order_ = plan_.Order(item.epoch);
      order_epoch_ = item.epoch;
    }
    batch->set_sequence(item.sequence);
    batch->set_end_of_epoch(item.last);
    Fill(plan_.Slice(order_, item.sequence), batch->mutable_tensors());
  }

  void FillEvaluate(const Item& item, v1::Evaluate* evaluate) override {
    const int64_t first = item.part * options_.evaluation_batch;
    std::vector<int64_t> rows(std::min(options_.evaluation_batch, options_.validation_rows - first));
    std::iota(rows.begin(), rows.end(), options_.train_rows + first);
    evaluate->set_last(item.last);
    evaluate->set_name("validation");
    Fill(rows, evaluate->mutable_tensors());
  }

 private:
  void Fill(std::span<const int64_t> rows, google::protobuf::Map<std::string, v1::Tensor>* tensors) {
    EncodeImages(data_, rows, options_.encoding, &(*tensors)[options_.input_name]);
    EncodeLabels(data_, rows, options_.encoding, &(*tensors)[options_.target_name]);
  }

  const Dataset& data_;
  const Options options_;
  const BatchPlan plan_;
  std::vector<int64_t> order_;
  int64_t order_epoch_ = 0;
};

// Shape and type that the model's only input asks for.
absl::StatusOr<Encoding> EncodingFor(const v1::TensorSpec& input, const Dataset& data) {
  Encoding encoding;
  encoding.input_dtype = input.dtype();
  if (input.dtype() != v1::FLOAT32 && input.dtype() != v1::UINT8) {
    return InvalidArgument("input ", input.name(), ": must be FLOAT32 or UINT8 to take images");
  }
  encoding.input_shape.assign(input.shape().begin() + std::min(1, input.shape_size()), input.shape().end());
  const int64_t size =
      std::accumulate(encoding.input_shape.begin(), encoding.input_shape.end(), int64_t{1}, std::multiplies<>());
  if (size != data.sample_size()) {
    return InvalidArgument("input ", input.name(), ": must have the ", data.sample_size(),
                           " elements of an image, got [", absl::StrJoin(encoding.input_shape, ", "), "]");
  }
  return encoding;
}

// Whether a version, 0: the one that serves, came from a training whose configuration the server knows. True, too, for
// one that does not exist: the server then says so.
absl::StatusOr<bool> HasTraining(Client& client, const std::string& model, int64_t version) {
  v1::ListVersionsRequest request;
  request.set_model(model);
  STRATA_ASSIGN_OR_RETURN(const v1::ListVersionsResponse list,
                          client.Call(client.models(), &v1::Models::Stub::ListVersions, request));
  for (const v1::VersionInfo& v : list.versions()) {
    if (version == 0 ? v.serving() : v.version() == version) return v.resumable() || !v.run().empty();
  }
  return true;
}

absl::Status Train(Client& client, const TrainFlags& flags) {
  v1::GetModelRequest get;
  get.set_name(flags.model);
  STRATA_ASSIGN_OR_RETURN(const v1::ModelInfo model, client.Call(client.models(), &v1::Models::Stub::Get, get));
  STRATA_ASSIGN_OR_RETURN(const v1::TrainingConfig config, MakeConfig(flags.config, model.definition().dialect()));
  v1::ValidateModelRequest validate;
  *validate.mutable_model() = model.definition();
  *validate.mutable_training() = config;
  validate.set_batch_size(flags.batch);
  STRATA_ASSIGN_OR_RETURN(const v1::ValidateModelResponse facts,
                          client.Call(client.models(), &v1::Models::Stub::Validate, validate));
  if (facts.inputs_size() != 1) {
    return InvalidArgument("model ", flags.model, ": must have one input to train on images, got ",
                           facts.inputs_size());
  }

  STRATA_ASSIGN_OR_RETURN(const Dataset data, LoadDataset(flags.data, Part::kTrain));
  const int64_t rows = flags.limit > 0 ? std::min(flags.limit, data.num_samples()) : data.num_samples();
  if (flags.validation >= rows) {
    return InvalidArgument("--validation: must leave samples to train on, got ", flags.validation, " of ", rows);
  }
  DatasetSource::Options source_options{.input_name = facts.inputs(0).name(),
                                        .train_rows = rows - flags.validation,
                                        .validation_rows = flags.validation,
                                        .batch = flags.batch,
                                        .evaluation_batch = std::max<int64_t>(flags.batch, 250),
                                        .seed = config.seed()};
  STRATA_ASSIGN_OR_RETURN(source_options.encoding, EncodingFor(facts.inputs(0), data));
  const v1::Objective& objective = config.objectives(0);
  source_options.target_name = objective.target().empty() ? "target" : objective.target();
  source_options.encoding.one_hot = objective.loss().has_categorical_crossentropy();
  DatasetSource source(data, source_options);

  TrainerOptions options{.resume = flags.resume,
                         .schedule = {.batches_per_epoch = source.batches_per_epoch(),
                                      .evaluations_per_epoch = source.evaluations_per_epoch(),
                                      .epochs = flags.epochs,
                                      .publish = flags.publish},
                         .publish_description = flags.description,
                         .publish_weights = WeightChoiceOf(flags.weights),
                         .give_up_after = absl::Seconds(flags.give_up_after)};
  options.start.set_model(flags.model);
  if (flags.from.has_value()) {
    options.start.mutable_from()->set_version(*flags.from);
    options.start.mutable_from()->set_weights_only(flags.weights_only);
  }
  // Without a word about it the version's own configuration goes on, if it has one.
  bool own = flags.from.has_value() && !flags.config.given();
  if (own) {
    STRATA_ASSIGN_OR_RETURN(own, HasTraining(client, flags.model, *flags.from));
  }
  if (!own) *options.start.mutable_config() = config;
  options.start.set_run(!flags.run.empty()
                            ? flags.run
                            : absl::StrCat(flags.model, "-",
                                           absl::FormatTime("%Y%m%d-%H%M%S", absl::Now(), absl::UTCTimeZone()), "-",
                                           getpid()));

  std::cout << "run " << options.start.run() << ": model " << flags.model << ", "
            << Thousands(facts.num_trainable_parameters()) << " trainable parameters; "
            << Thousands(source_options.train_rows) << " samples in batches of " << flags.batch << ", "
            << Thousands(flags.validation) << " held out for validation" << std::endl;
  TrainProgress progress({.epochs = flags.epochs,
                          .batches_per_epoch = source.batches_per_epoch(),
                          .batch = flags.batch,
                          .rows = source_options.train_rows,
                          .evaluates = flags.validation > 0});
  return Train(client, options, source, progress);
}

}  // namespace

void AddTrain(CLI::App& app, Command& command) {
  auto flags = std::make_shared<TrainFlags>();
  CLI::App* train = app.add_subcommand("train", "Trains a model on a dataset that is streamed to the server");
  train->add_option("MODEL", flags->model, "Name of the model")->required();
  train->add_option("--data", flags->data, "Folder of IDX files (train-images-idx3-ubyte[.gz], ...), or fashion-mnist");
  train->add_option("--epochs", flags->epochs, "Times that all samples are seen")->check(AtLeast(1));
  train->add_option("--batch", flags->batch, "Samples of a step")->check(AtLeast(1));
  train->add_option("--validation", flags->validation, "Samples held out, and evaluated after each epoch")
      ->check(AtLeast(0));
  train->add_option("--limit", flags->limit, "Use the first samples only; 0: all")->check(AtLeast(0));
  train->add_option("--run", flags->run, "Name of the run; default: the model's name and the time");
  train->add_flag("--resume", flags->resume, "Go on with the run of that name where it stands, if there is one");
  train->add_option("--from", flags->from,
                    "Begin with the weights of this version (0: the one that serves), and go on with the training that "
                    "it came with, if it came with one");
  train->add_flag("--weights-only", flags->weights_only, "With --from: leave the training that the version came with");
  train->add_flag("--publish", flags->publish, "Publish the trained weights as a version");
  AddWeightChoice(*train, &flags->weights);
  train->add_option("--description", flags->description, "Kept with the version");
  train->add_option("--give-up-after", flags->give_up_after, "Seconds without a server before a training is given up");

  ConfigFlags& config = flags->config;
  train->add_option("--config", config.file, "Training configuration (JSON); the flags below override it")
      ->check(CLI::ExistingFile);
  train->add_option("--loss", config.loss, "Loss; see strata components list loss");
  train->add_option("--optimizer", config.optimizer, "Optimizer; see strata components list optimizer. Default adam");
  train->add_option("--lr", config.learning_rate, "Learning rate");
  train->add_option("--momentum", config.momentum, "Momentum of sgd or rmsprop");
  train->add_option("--weight-decay", config.weight_decay, "Weight decay");
  train->add_option("--clip-norm", config.clip_norm, "Largest norm of all gradients together");
  train->add_option("--metric", config.metrics, "Metrics; see strata components list metric. Default accuracy");
  train->add_option("--seed", config.seed, "Seed of weights, dropout and the order of samples");
  train->add_option("--checkpoint-every", config.checkpoint_every, "Steps between checkpoints");
  train->callback([&command, flags] { command.run = [flags](Client& client) { return Train(client, *flags); }; });
}

}  // namespace strata::cli
