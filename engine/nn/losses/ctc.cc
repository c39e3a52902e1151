// PyTorch's connectionist temporal classification. Lengths of inputs and targets are further targets of the objective.
#include "absl/strings/str_cat.h"
#include "engine/nn/losses/component.h"
#include "engine/ops/ops.h"

namespace strata::nn {
namespace {

// The logarithm of nothing: finite, so that differences of two are numbers. Alignments of such a probability do not
// exist.
constexpr double kNever = -1e30, kImpossible = -1e29;

// One alignment problem for each of n sequences, padded.
struct Problem {
  int64_t length = 0, n = 0, classes = 0, labels = 0;  // T, N, C, S
  Value log_p;                                         // [T, N, C]
  Value targets;                                       // [N, S], i64; what follows a target is anything
  Value input_lengths, target_lengths;                 // [N], i64
};

Value Int(Value v, double value) { return Like(v, value); }

// A vector of lengths, one for each sequence.
Value Lengths(Scope& s, const LossArgs& args, const char* name, int64_t n) {
  const auto it = args.named.find(name);
  if (it == args.named.end() || !it->second) return s.Fail(absl::StrCat(name, ": must be given, got nothing"));
  if (IsFloat(it->second.dtype()) || it->second.num_elements() != n) {
    return s.Fail(absl::StrCat(name, ": must be ", n, " whole numbers, got ", DTypeName(it->second.dtype()),
                               ShapeString(it->second.shape())));
  }
  return Reshape(Cast(it->second, DType::kI64), {n});
}

// Targets one after the other become rows: row n begins after the lengths before it.
Value Unpack(Scope& s, Value flat, Value lengths, int64_t n) {
  const int64_t total = flat.dim(0);
  s.Require(
      Equal(Reshape(ReduceSum(Cast(lengths, DType::kF32), {0}), {}), Scalar(s.graph(), static_cast<double>(total))),
      absl::StrCat("target_lengths: must add up to the targets' length, ", total));
  const Value before = Less(Iota(s.graph(), {n, n}, 1, DType::kI32), Iota(s.graph(), {n, n}, 0, DType::kI32));
  const Value lengths_f = Reshape(Cast(lengths, DType::kF32), {1, n});
  const Value offsets = ReduceSum(Select(before, Broadcast(lengths_f, {n, n}), Full(s.graph(), 0, {n, n})), {1}, true);
  const Value places = Cast(offsets, DType::kI64) + Iota(s.graph(), {n, total}, 1, DType::kI64);
  return Reshape(Gather(Reshape(flat, {total, 1}), places), {n, total});
}

bool ReadProblem(Scope& s, const v1::Ctc& a, const LossArgs& args, Problem* p) {
  Value x = args.prediction;
  if (x.rank() != 2 && x.rank() != 3) {
    s.Fail(absl::StrCat("log_probs|input: must be [T, N, C] or [T, C], got ", ShapeString(x.shape())));
    return false;
  }
  const bool alone = x.rank() == 2;
  if (alone) x = ExpandDims(x, 1);
  *p = {.length = x.dim(0), .n = x.dim(1), .classes = x.dim(2), .log_p = x};
  if (a.blank() >= p->classes) {
    s.Fail(absl::StrCat("blank|log_probs: must be in [0, ", p->classes, "), got ", a.blank()));
    return false;
  }
  Value t = args.target;
  if (IsFloat(t.dtype()) || (t.rank() != 1 && (t.rank() != 2 || t.dim(0) != p->n))) {
    s.Fail(absl::StrCat("target|targets: must be whole numbers [N, S] or all in one axis, N = ", p->n, ", got ",
                        DTypeName(t.dtype()), ShapeString(t.shape())));
    return false;
  }
  p->input_lengths = Lengths(s, args, "input_lengths", p->n);
  p->target_lengths = Lengths(s, args, "target_lengths", p->n);
  if (!s.ok()) return false;
  t = Cast(t, DType::kI64);
  p->targets = t.rank() == 2 ? t : alone ? ExpandDims(t, 0) : Unpack(s, t, p->target_lengths, p->n);
  p->labels = p->targets.dim(1);
  const auto within = [](Value v, int64_t high) {
    return And(GreaterEqual(v, Int(v, 0)), LessEqual(v, Int(v, static_cast<double>(high))));
  };
  s.Require(within(p->input_lengths, p->length), absl::StrCat("input_lengths: must be in [0, ", p->length, "]"));
  s.Require(within(p->target_lengths, p->labels), absl::StrCat("target_lengths: must be in [0, ", p->labels, "]"));
  if (p->labels > 0) {
    const Value place = Iota(s.graph(), {p->n, p->labels}, 1, DType::kI64);
    const Value beyond = GreaterEqual(place, ExpandDims(p->target_lengths, 1));
    s.Require(Or(within(p->targets, p->classes - 1), beyond),
              absl::StrCat("target|targets: classes must be in [0, ", p->classes, ")"));
  }
  return s.ok();
}

// The targets with a blank before, between and after: [N, 2 S + 1].
Value WithBlanks(Scope& s, const Problem& p, int64_t blank) {
  const Value first = Full(s.graph(), static_cast<double>(blank), {p.n, 1}, DType::kI64);
  if (p.labels == 0) return first;
  const Value blanks = Full(s.graph(), static_cast<double>(blank), {p.n, p.labels}, DType::kI64);
  const Value pairs[] = {p.targets, blanks};
  const Value parts[] = {first, Reshape(Stack(pairs, 2), {p.n, 2 * p.labels})};
  return Concat(parts, 1);
}

// log(sum e^x); x are of one shape and at least kNever.
Value LogSum(std::span<const Value> x) {
  Value largest = x[0];
  for (size_t i = 1; i < x.size(); ++i) largest = Max(largest, x[i]);
  largest = Detach(largest);
  Value sum;
  for (const Value& v : x) sum = sum ? sum + Exp(v - largest) : Exp(v - largest);
  return largest + Log(sum);
}

// Moves the states of each sequence to the right.
Value Shift(Value alpha, int64_t by) {
  const int64_t states = alpha.dim(1);
  if (by >= states) return Full(alpha.graph, kNever, alpha.shape());
  return Pad(SliceAxis(alpha, 1, 0, states - by), {0, by}, {0, 0}, kNever);
}

// The forward variables after each sequence's last step: [N, states]. alpha[s] sums all alignments of the steps so far
// that end in state s (Graves et al. 2006, section 4.1).
Value Forward(Scope& s, const Problem& p, Value labels, Value emissions) {
  const int64_t states = labels.dim(1);
  Graph* g = s.graph();
  // A state is reached from the one two before only across a blank, between different labels.
  Value skips = Full(g, 0, {p.n, states}, DType::kBool);
  if (states > 2) {
    const Value different = Not(Equal(SliceAxis(labels, 1, 2, states - 2), SliceAxis(labels, 1, 0, states - 2)));
    const Value parts[] = {Full(g, 0, {p.n, 2}, DType::kBool), different};
    skips = Concat(parts, 1);
  }
  const Value state = Iota(g, {p.n, states}, 1, DType::kI32);
  const Value start = Less(state, Int(state, 2));
  Value alpha = Select(start, Reshape(SliceAxis(emissions, 0, 0, 1), {p.n, states}), Full(g, kNever, {p.n, states}));
  if (p.length < 2) return alpha;

  Graph body;
  const Value before = body.AddInput("alpha", DType::kF32, {p.n, states});
  const Value emission = body.AddInput("emission", DType::kF32, {p.n, states});
  const Value time = body.AddInput("time", DType::kI64, {p.n});
  const Value may_skip = body.AddInput("skips", DType::kBool, {p.n, states});
  const Value lengths = body.AddInput("lengths", DType::kI64, {p.n});
  const Value ways[] = {before, Shift(before, 1), Select(may_skip, Shift(before, 2), Like(before, kNever))};
  const Value next = Max(LogSum(ways) + emission, kNever);
  body.MarkOutput("alpha", Select(ExpandDims(Less(time, lengths), 1), next, before));
  const Value carry[] = {alpha};
  const Value sequences[] = {SliceAxis(emissions, 0, 1, p.length - 1),
                             Iota(g, {p.length - 1, p.n}, 0, DType::kI64) + Scalar(g, 1, DType::kI64)};
  const Value constants[] = {skips, p.input_lengths};
  return Scan(g, std::move(body), carry, sequences, constants, false, p.length - 1).carry[0];
}

// PyTorch's gradient is the one before a log_softmax: e^log_p minus the posterior. This is zero with the gradient
// e^log_p at the steps of each sequence: [N].
Value SoftmaxPart(const Problem& p) {
  const Value e = Exp(p.log_p);
  const Value time = Iota(e.graph, {p.length, p.n, 1}, 0, DType::kI64);
  const Value inside = Less(time, Reshape(p.input_lengths, {1, p.n, 1}));
  return ReduceSum(Select(inside, e - Detach(e), Like(e, 0)), {0, 2});
}

// Infinite where `possible` is false, with the gradient that PyTorch's kernel has there: no number at the steps of the
// sequence. The square's derivative is zero times infinity; possible rows must not come near it.
Value Infinite(const Problem& p, Value possible) {
  const Value zero = SoftmaxPart(p);
  return -Log(Square(Select(possible, Like(zero, 1), zero)));
}

LossTerms Build(Scope& s, const v1::Ctc& a, const LossArgs& args) {
  Problem p;
  if (!ReadProblem(s, a, args, &p)) return {};
  Graph* g = s.graph();
  const Value labels = WithBlanks(s, p, a.blank());
  const int64_t states = labels.dim(1);
  // Emissions [T, N, states] from the flat table of log-probabilities.
  const Value row = Iota(g, {p.length, p.n, 1}, 0, DType::kI64) * Scalar(g, static_cast<double>(p.n), DType::kI64) +
                    Iota(g, {p.length, p.n, 1}, 1, DType::kI64);
  const Value place = row * Scalar(g, static_cast<double>(p.classes), DType::kI64) + ExpandDims(labels, 0);
  const Value table = Reshape(p.log_p, {p.length * p.n * p.classes, 1});
  const Value emissions = Max(Reshape(Gather(table, place), {p.length, p.n, states}), kNever);
  const Value alpha = Forward(s, p, labels, emissions);
  if (!s.ok()) return {};

  // An alignment ends in the last label or in the blank after it.
  const Value end = p.target_lengths * Scalar(g, 2, DType::kI64), zero = Int(end, 0);
  const Value label = PickLast(alpha, end - Scalar(g, 1, DType::kI64));
  const Value ends[] = {PickLast(alpha, end), Select(Greater(end, zero), label, Like(label, kNever))};
  Value log_likelihood = LogSum(ends);
  // Without a step there is one alignment, of nothing.
  const Value never = Like(log_likelihood, kNever), nothing = Like(log_likelihood, 0);
  log_likelihood = Select(Greater(p.input_lengths, zero), log_likelihood, Select(Equal(end, zero), nothing, never));
  const Value possible = Greater(log_likelihood, Like(log_likelihood, kImpossible));
  Value values = Select(possible, SoftmaxPart(p) - log_likelihood, a.zero_infinity() ? nothing : Infinite(p, possible));
  if (a.reduction() == v1::MEAN) values = values / Max(Cast(p.target_lengths, DType::kF32), 1);
  return {args.prediction.value.rank() == 2 ? Reshape(values, {}) : values, {}};
}

}  // namespace

LossComponents CtcLoss() { return Loss<v1::Ctc>("ctc", &Build).Arguments({"input_lengths", "target_lengths"}); }

}  // namespace strata::nn
