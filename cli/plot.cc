#include "cli/plot.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdlib>
#include <limits>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace strata::cli {
namespace {

constexpr int kLabelWidth = 8;

struct Range {
  double low = std::numeric_limits<double>::infinity();
  double high = -std::numeric_limits<double>::infinity();

  void Add(double value) {
    low = std::min(low, value);
    high = std::max(high, value);
  }
  bool empty() const { return low > high; }
  // Never of zero size.
  void Widen() {
    if (high - low > 1e-12 * std::max(std::fabs(low), std::fabs(high)) && high > low) return;
    low -= 0.5;
    high += 0.5;
  }
  // Position of a value among `steps` dots.
  int Place(double value, int steps) const {
    return std::clamp(static_cast<int>(std::lround((value - low) / (high - low) * (steps - 1))), 0, steps - 1);
  }
};

// Dots and colours, a byte of each per character.
class Canvas {
 public:
  Canvas(int columns, int lines)
      : columns_(columns), lines_(lines), dots_(columns * lines), colours_(columns * lines) {}

  int dots_wide() const { return 2 * columns_; }
  int dots_high() const { return 4 * lines_; }

  // y counts from the bottom.
  void Set(int x, int y, int colour) {
    if (x < 0 || x >= dots_wide() || y < 0 || y >= dots_high()) return;
    // Unicode numbers the dots of a character 1 2 3 7 down the left side and 4 5 6 8 down the right.
    static constexpr uint8_t kBits[4][2] = {{0x01, 0x08}, {0x02, 0x10}, {0x04, 0x20}, {0x40, 0x80}};
    const int row = dots_high() - 1 - y;
    const int cell = row / 4 * columns_ + x / 2;
    dots_[cell] |= kBits[row % 4][x % 2];
    colours_[cell] = colour;
  }

  void Line(int x0, int y0, int x1, int y1, int colour) {
    const int steps = std::max({std::abs(x1 - x0), std::abs(y1 - y0), 1});
    for (int i = 0; i <= steps; ++i) {
      Set(x0 + static_cast<int>(std::lround(static_cast<double>(x1 - x0) * i / steps)),
          y0 + static_cast<int>(std::lround(static_cast<double>(y1 - y0) * i / steps)), colour);
    }
  }

  std::string Row(int line, bool with_colour) const {
    std::string text;
    int colour = 0;
    for (int column = 0; column < columns_; ++column) {
      const int cell = line * columns_ + column;
      if (dots_[cell] == 0) {
        text += ' ';
        continue;
      }
      if (with_colour && colours_[cell] != colour) {
        colour = colours_[cell];
        absl::StrAppend(&text, "\033[", colour, "m");
      }
      // U+2800 and on, in UTF-8.
      text += '\xe2';
      text += static_cast<char>(0xa0 | dots_[cell] >> 6);
      text += static_cast<char>(0x80 | (dots_[cell] & 0x3f));
    }
    if (colour != 0) text += "\033[0m";
    while (!text.empty() && text.back() == ' ') text.pop_back();
    return text;
  }

 private:
  int columns_;
  int lines_;
  std::vector<uint8_t> dots_;
  std::vector<int> colours_;
};

bool Finite(const std::pair<double, double>& point) {
  return std::isfinite(point.first) && std::isfinite(point.second);
}

void Draw(const Series& series, const Range& x, const Range& y, Canvas& canvas) {
  bool has_last = false;
  int last_x = 0, last_y = 0;
  for (const auto& point : series.points) {
    if (!Finite(point)) continue;
    const int px = x.Place(point.first, canvas.dots_wide());
    const int py = y.Place(point.second, canvas.dots_high());
    canvas.Line(has_last ? last_x : px, has_last ? last_y : py, px, py, series.colour);
    if (series.markers) {
      canvas.Line(px - 1, py - 1, px + 1, py + 1, series.colour);
      canvas.Line(px - 1, py + 1, px + 1, py - 1, series.colour);
    }
    has_last = true;
    last_x = px;
    last_y = py;
  }
}

std::string Number(double value) { return absl::StrFormat("%.4g", value); }

}  // namespace

std::string DrawPlot(const std::vector<Series>& series, const PlotOptions& options) {
  Range x, y;
  for (const Series& s : series) {
    for (const auto& point : s.points) {
      if (!Finite(point)) continue;
      x.Add(point.first);
      y.Add(point.second);
    }
  }
  if (x.empty()) return "";
  const Range x_seen = x;
  x.Widen();
  y.Widen();

  const int columns = std::max(10, options.width - kLabelWidth - 2);
  const int lines = std::max(3, options.height);
  Canvas canvas(columns, lines);
  for (const Series& s : series) Draw(s, x, y, canvas);

  std::string text;
  for (int line = 0; line < lines; ++line) {
    const bool labelled = line % 4 == 0 || line == lines - 1;
    const double value = y.high - (y.high - y.low) * line / (lines - 1);
    absl::StrAppendFormat(&text, "%*s %s%s\n", kLabelWidth, labelled ? Number(value) : "", labelled ? "┤" : "│",
                          canvas.Row(line, options.colour));
  }
  absl::StrAppendFormat(&text, "%*s └", kLabelWidth, "");
  for (int i = 0; i < columns; ++i) text += "─";
  const std::string left = Number(x_seen.low), right = Number(x_seen.high);
  absl::StrAppendFormat(&text, "\n%*s  %s%*s\n", kLabelWidth, "", left, columns - static_cast<int>(left.size()), right);

  absl::StrAppendFormat(&text, "%*s ", kLabelWidth, "");
  for (const Series& s : series) {
    if (options.colour) {
      absl::StrAppend(&text, " \033[", s.colour, "m", s.markers ? "×" : "━", "\033[0m ", s.name, " ");
    } else {
      absl::StrAppend(&text, " ", s.markers ? "×" : "━", " ", s.name, " ");
    }
  }
  text += '\n';
  return text;
}

std::vector<std::pair<double, double>> Smooth(const std::vector<std::pair<double, double>>& points, double keep) {
  std::vector<std::pair<double, double>> result;
  result.reserve(points.size());
  double mean = 0, weight = 0;
  for (const auto& point : points) {
    if (!Finite(point)) continue;
    mean = keep * mean + (1 - keep) * point.second;
    weight = keep * weight + (1 - keep);
    result.emplace_back(point.first, mean / weight);
  }
  return result;
}

}  // namespace strata::cli
