#include "engine/nn/framework_names.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "engine/nn/schema.h"
#include "google/protobuf/descriptor.h"
#include "strata/v1/feature_columns.pb.h"

namespace strata::nn {
namespace {

struct Row {
  const char *message, *pytorch, *keras;
};

// The importer (engine/import) is what makes these true.
constexpr Row kRows[] = {
    {"`Initializer.variance_scaling`, fan average", "`xavier_uniform_`, `xavier_normal_`",
     "`GlorotUniform`, `glorot_uniform`, `GlorotNormal`, `glorot_normal`"},
    {"`Initializer.variance_scaling`, fan in or out", "`kaiming_uniform_`, `kaiming_normal_`",
     "`HeUniform`, `he_uniform`, `HeNormal`, `he_normal`, `LecunUniform`, `lecun_uniform`, `LecunNormal`, "
     "`lecun_normal`"},
    {"`Regularizer`", "", "`L1`, `l1`, `L2`, `l2`, `L1L2`, `l1_l2`, `OrthogonalRegularizer`, `orthogonal_regularizer`"},
    {"`TrainingConfig.penalties`", "`seed.L1Loss`, `seed.L2Loss`", ""},
    {"`Optimizer.weight_decay`, `ParameterGroup`", "`weight_decay`, parameter groups",
     "`weight_decay`, `exclude_from_weight_decay`"},
    {"`Clipping`", "`clip_grad_norm_`, `clip_grad_value_`", "`clipnorm`, `global_clipnorm`, `clipvalue`"},
    {"`MovingAverage`", "`AveragedModel`", "`use_ema`"},
    {"`TrainingConfig.accumulate_steps`", "", "`gradient_accumulation_steps`"},
    {"`EarlyStopping`, `KeepBest`", "", "`EarlyStopping`, `ModelCheckpoint`"},
    {"`TrainingConfig.class_weights`", "", "`class_weight`"},
    {"`Model`", "`Sequential`", "`Sequential`, `Functional`, `Model`"},
    {"`Input`", "", "`Input`, `InputLayer`"},
    {"`Rnn.cells`", "", "`StackedRNNCells`"},
    {"`CustomLayer`", "a `Module` of the user's own", "`Lambda`, a `Layer` or `AbstractRNNCell` of the user's own"},
    {"`CustomLoss`, `CustomMetric`", "`Expression`", "a `Loss`, a `Metric` or a function of the user's own"},
};

}  // namespace

std::string OtherFrameworkNames() {
  std::string out;
  for (const Row& row : kRows) absl::StrAppend(&out, "| ", row.message, " | ", row.pytorch, " | ", row.keras, " |\n");
  const auto* columns = v1::FeatureColumn::descriptor()->FindOneofByName("kind");
  for (int i = 0; i < columns->field_count(); ++i) {
    absl::StrAppend(&out, "| `FeatureColumn.", columns->field(i)->name(), "` | | `",
                    absl::StrJoin(SchemaOfComponent(columns->field(i)).keras(), "`, `"), "` |\n");
  }
  return out;
}

}  // namespace strata::nn
