#include "engine/nn/schedules/formula.h"

#include <limits>
#include <utility>

#include "engine/base/status.h"
#include "engine/expr/evaluate.h"

namespace strata::nn {

absl::StatusOr<std::shared_ptr<const Formula>> Formula::Make(const std::string& kind, const std::string& text,
                                                             std::set<std::string> names) {
  auto formula = std::make_shared<Formula>();
  const std::string path = "optimizer.schedule." + kind + ".expression: ";
  absl::StatusOr<expr::Program> program = expr::Parse(text);
  if (!program.ok()) return InvalidArgument(path, program.status().message());
  formula->program_ = *std::move(program);
  formula->has_rate_ = names.count("lr") > 0;
  if (const absl::Status status = expr::Check(formula->program_, std::move(names)); !status.ok()) {
    return InvalidArgument(path, status.message());
  }
  const absl::StatusOr<double> first = formula->Compute(0, 0);
  if (!first.ok()) return InvalidArgument(path, first.status().message());
  return formula;
}

double Formula::At(int64_t epoch, double rate) const {
  return Compute(epoch, rate).value_or(std::numeric_limits<double>::quiet_NaN());
}

absl::StatusOr<double> Formula::Compute(int64_t epoch, double rate) const {
  expr::Environment environment;
  environment.names["epoch"] = expr::Number::Int(epoch);
  if (has_rate_) environment.names["lr"] = expr::Number::Float(rate);
  expr::Evaluator evaluator(nullptr, std::move(environment));
  STRATA_ASSIGN_OR_RETURN(const std::vector<expr::Object> results, evaluator.Run(program_));
  if (results.size() != 1 || results[0].number() == nullptr) {
    return InvalidArgument("must give one number, got ", results.size() == 1 ? expr::Describe(results[0]) : "several");
  }
  return results[0].number()->AsDouble();
}

}  // namespace strata::nn
