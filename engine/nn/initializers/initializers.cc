#include "engine/nn/initializers/initializers.h"

#include <Eigen/QR>
#include <cmath>

#include "engine/base/philox.h"
#include "engine/base/status.h"
#include "engine/nn/schema.h"

namespace strata::nn {
namespace {

// Random numbers of one parameter, one after the other.
class Stream {
 public:
  Stream(uint64_t seed, uint64_t stream) : key_(stream ^ seed * 0x9E3779B97F4A7C15) {}

  double Uniform() {  // (0, 1)
    return (static_cast<double>(Next()) + 0.5) * 0x1p-32;
  }
  double Normal() {  // Box-Muller, one of the pair
    const double u = Uniform(), v = Uniform();
    return std::sqrt(-2 * std::log(u)) * std::cos(2 * M_PI * v);
  }
  double TruncatedNormal(double low, double high) {
    for (;;) {
      const double z = Normal();
      if (z >= low && z <= high) return z;
    }
  }

 private:
  uint32_t Next() {
    if (used_ == 4) {
      block_ = Philox::Block(key_, counter_++, ~uint64_t{0});
      used_ = 0;
    }
    return block_[used_++];
  }

  uint64_t key_;
  uint64_t counter_ = 0;
  std::array<uint32_t, 4> block_{};
  int used_ = 4;
};

template <typename F>
void Fill(Tensor* t, F f) {
  float* p = t->data<float>();
  for (int64_t i = 0, n = t->num_elements(); i < n; ++i) p[i] = static_cast<float>(f());
}

// Q of a normal matrix with the signs of R's diagonal, transposed if it is wide. PyTorch: rows = axis 0. Keras: columns
// = the last axis.
absl::Status Orthogonal(v1::Dialect dialect, double gain, Stream* random, Tensor* t) {
  if (t->shape().size() < 2)
    return InvalidArgument("shape: orthogonal needs two axes or more, got ", ShapeString(t->shape()));
  const int64_t n = t->num_elements();
  if (n == 0) return absl::OkStatus();
  const int64_t rows = dialect == v1::PYTORCH ? t->dim(0) : n / t->dim(-1), columns = n / rows;
  const int64_t tall = std::max(rows, columns), narrow = std::min(rows, columns);
  Eigen::MatrixXd a(tall, narrow);
  for (int64_t i = 0; i < tall; ++i) {
    for (int64_t j = 0; j < narrow; ++j) a(i, j) = random->Normal();
  }
  const Eigen::HouseholderQR<Eigen::MatrixXd> qr(a);
  Eigen::MatrixXd q = qr.householderQ() * Eigen::MatrixXd::Identity(tall, narrow);
  for (int64_t j = 0; j < narrow; ++j) {
    if (qr.matrixQR()(j, j) < 0) q.col(j) = -q.col(j);
  }
  float* p = t->data<float>();
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < columns; ++j)
      p[i * columns + j] = static_cast<float>(gain * (rows >= columns ? q(i, j) : q(j, i)));
  }
  return absl::OkStatus();
}

absl::Status VarianceScaling(v1::Dialect dialect, const v1::VarianceScalingInitializer& a, Stream* random, Tensor* t) {
  if (dialect == v1::PYTORCH && t->shape().size() < 2) {
    return InvalidArgument("shape: fans need two axes or more, got ", ShapeString(t->shape()));
  }
  const Fans fans = FansOf(dialect, t->shape());
  const double fan = a.mode() == v1::VarianceScalingInitializer::FAN_IN    ? fans.in
                     : a.mode() == v1::VarianceScalingInitializer::FAN_OUT ? fans.out
                                                                           : (fans.in + fans.out) / 2;
  const double variance = a.scale() / std::max(fan, 1.0), stddev = std::sqrt(variance);
  switch (a.distribution()) {
    case v1::VarianceScalingInitializer::UNIFORM: {
      const double bound = std::sqrt(3 * variance);
      Fill(t, [&] { return (2 * random->Uniform() - 1) * bound; });
      break;
    }
    case v1::VarianceScalingInitializer::NORMAL:
      Fill(t, [&] { return random->Normal() * stddev; });
      break;
    default:  // the standard deviation of a unit normal cut at two of its own
      Fill(t, [&] { return random->TruncatedNormal(-2, 2) * stddev / 0.87962566103423978; });
      break;
  }
  return absl::OkStatus();
}

absl::Status FillTensor(v1::Dialect dialect, const v1::Initializer& init, Stream random, Tensor* t) {
  switch (init.kind_case()) {
    case v1::Initializer::kZeros:
    case v1::Initializer::KIND_NOT_SET:
      return absl::OkStatus();
    case v1::Initializer::kOnes:
      Fill(t, [] { return 1.0; });
      return absl::OkStatus();
    case v1::Initializer::kConstant:
      Fill(t, [&] { return init.constant().value(); });
      return absl::OkStatus();
    case v1::Initializer::kUniform: {
      const auto& a = init.uniform();
      if (dialect == v1::PYTORCH && a.low() > a.high()) {
        return InvalidArgument("a|b: must be in order, got ", a.low(), " and ", a.high());
      }
      const auto draw = [&] { return a.low() + (a.high() - a.low()) * random.Uniform(); };
      Fill(t, draw);
      return absl::OkStatus();
    }
    case v1::Initializer::kNormal:
      Fill(t, [&] { return init.normal().mean() + init.normal().stddev() * random.Normal(); });
      return absl::OkStatus();
    case v1::Initializer::kTruncatedNormal: {
      const auto& a = init.truncated_normal();
      // PyTorch cuts at absolute bounds, Keras at two standard deviations.
      const double s = std::max(a.stddev(), 1e-300);
      const double low = dialect == v1::PYTORCH ? (a.low() - a.mean()) / s : -2;
      const double high = dialect == v1::PYTORCH ? (a.high() - a.mean()) / s : 2;
      if (!(low < high) || low > 6 || high < -6)
        return InvalidArgument("a|b: cuts must leave something of the distribution, got ", low, " and ", high,
                               " standard deviations from the mean");
      Fill(t, [&] { return a.mean() + a.stddev() * random.TruncatedNormal(low, high); });
      return absl::OkStatus();
    }
    case v1::Initializer::kVarianceScaling:
      return VarianceScaling(dialect, init.variance_scaling(), &random, t);
    case v1::Initializer::kOrthogonal:
      return Orthogonal(dialect, init.orthogonal().has_gain() ? init.orthogonal().gain() : 1, &random, t);
    case v1::Initializer::kIdentity: {
      if (t->shape().size() != 2)
        return InvalidArgument("shape: identity needs two axes, got ", ShapeString(t->shape()));
      for (int64_t i = 0; i < std::min(t->dim(0), t->dim(1)); ++i) {
        t->Set(i * t->dim(1) + i, init.identity().has_gain() ? init.identity().gain() : 1);
      }
      return absl::OkStatus();
    }
  }
  return absl::OkStatus();
}

// A Keras initializer may carry a seed of its own.
int64_t OwnSeed(const v1::Initializer& init, int64_t fallback) {
  const auto* kind = KindOf(init);
  if (kind == nullptr) return fallback;
  const google::protobuf::Message& m = init.GetReflection()->GetMessage(init, kind);
  const auto* field = m.GetDescriptor()->FindFieldByName("seed");
  if (field == nullptr || !m.GetReflection()->HasField(m, field)) return fallback;
  return m.GetReflection()->GetInt64(m, field);
}

}  // namespace

absl::StatusOr<Tensor> Initialize(v1::Dialect dialect, const v1::Initializer& initializer, const Shape& shape,
                                  uint64_t seed, uint64_t stream) {
  Tensor t(DType::kF32, shape);
  const Stream random(static_cast<uint64_t>(OwnSeed(initializer, static_cast<int64_t>(seed))), stream);
  STRATA_RETURN_IF_ERROR(FillTensor(dialect, initializer, random, &t));
  return t;
}

Fans FansOf(v1::Dialect dialect, const Shape& shape) {
  if (shape.empty()) return {1, 1};
  if (shape.size() == 1) return {static_cast<double>(shape[0]), static_cast<double>(shape[0])};
  double field = 1;
  if (dialect == v1::PYTORCH) {
    for (size_t i = 2; i < shape.size(); ++i) field *= static_cast<double>(shape[i]);
    return {static_cast<double>(shape[1]) * field, static_cast<double>(shape[0]) * field};
  }
  for (size_t i = 0; i + 2 < shape.size(); ++i) field *= static_cast<double>(shape[i]);
  return {static_cast<double>(shape[shape.size() - 2]) * field, static_cast<double>(shape.back()) * field};
}

v1::Initializer Uniform(double bound) {
  v1::Initializer i;
  i.mutable_uniform()->set_low(-bound);
  i.mutable_uniform()->set_high(bound);
  return i;
}

v1::Initializer Normal(double stddev) {
  v1::Initializer i;
  i.mutable_normal()->set_stddev(stddev);
  return i;
}

v1::Initializer ConstantValue(double value) {
  v1::Initializer i;
  i.mutable_constant()->set_value(value);
  return i;
}

}  // namespace strata::nn
