// Rates by an expression, which the host evaluates over numbers.
#include <limits>
#include <memory>
#include <set>

#include "engine/base/status.h"
#include "engine/expr/evaluate.h"
#include "engine/expr/parser.h"
#include "engine/nn/schedules/schedule.h"

namespace strata::nn {
namespace {

// A function of `epoch` (and in Keras of `lr`, the rate before). Thread-compatible.
class Formula {
 public:
  // Checks the text, and that it gives a number at the start.
  static absl::StatusOr<std::shared_ptr<const Formula>> Make(const std::string& kind, const std::string& text,
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

  // NaN where the expression has no value, as for a division by zero: the session refuses the step.
  double At(int64_t epoch, double rate) const {
    return Compute(epoch, rate).value_or(std::numeric_limits<double>::quiet_NaN());
  }

 private:
  absl::StatusOr<double> Compute(int64_t epoch, double rate) const {
    expr::Environment environment;
    environment.names["epoch"] = expr::Number::Int(epoch);
    if (has_rate_) environment.names["lr"] = expr::Number::Float(rate);
    expr::Evaluator evaluator(nullptr, std::move(environment));
    STRATA_ASSIGN_OR_RETURN(const std::vector<expr::Object> results, evaluator.Run(program_));
    if (results.size() != 1 || results[0].number() == nullptr) {
      return InvalidArgument("must give one number, got ",
                             results.size() == 1 ? expr::Describe(results[0]) : "several");
    }
    return results[0].number()->AsDouble();
  }

  expr::Program program_;
  bool has_rate_ = false;
};

// Values that follow from the one before: computed once for growing e, anew when e falls (a checkpoint was loaded).
struct Last {
  double base = 0, value = 0;
  int64_t e = -1;
};

}  // namespace

absl::StatusOr<ScheduleRule> MakeLambda(v1::Dialect dialect, const v1::LambdaSchedule& a) {
  const bool keras = dialect == v1::KERAS;
  STRATA_ASSIGN_OR_RETURN(const std::shared_ptr<const Formula> f,
                          Formula::Make("lambda", a.expression(),
                                        keras ? std::set<std::string>{"epoch", "lr"} : std::set<std::string>{"epoch"}));
  ScheduleRule r;
  if (!keras) {
    r.rate = [f](double base, int64_t e) { return base * f->At(e, base); };
    return r;
  }
  // Keras' callback is called before each epoch and replaces the rate.
  r.counts = ScheduleRule::Counts::kEpochs;
  r.rate = [f, last = std::make_shared<Last>()](double base, int64_t e) {
    if (last->e < 0 || e < last->e || base != last->base) *last = {base, f->At(0, base), 0};
    while (last->e < e) last->value = f->At(++last->e, last->value);
    return last->value;
  };
  return r;
}

absl::StatusOr<ScheduleRule> MakeMultiplicative(const v1::MultiplicativeSchedule& a) {
  STRATA_ASSIGN_OR_RETURN(const std::shared_ptr<const Formula> f,
                          Formula::Make("multiplicative", a.expression(), {"epoch"}));
  ScheduleRule r;
  r.rate = [f, last = std::make_shared<Last>()](double base, int64_t e) {
    if (last->e < 0 || e < last->e) *last = {0, 1, 0};
    while (last->e < e) last->value *= f->At(++last->e, 0);
    return base * last->value;
  };
  return r;
}

}  // namespace strata::nn
