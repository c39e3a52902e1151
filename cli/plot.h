// Line charts for the terminal, drawn with braille dots (two by four in a character).
//
//   std::cout << DrawPlot({{"loss", points, 36}}, {.width = 80, .height = 16, .colour = true});
#pragma once

#include <string>
#include <utility>
#include <vector>

namespace strata::cli {

struct Series {
  std::string name;
  std::vector<std::pair<double, double>> points;  // by rising x; points that are not finite are left out
  int colour = 36;                                // ANSI code of the foreground
  bool markers = false;                           // a cross at each point, so that few points are seen
};

struct PlotOptions {
  int width = 80;   // characters, with the axis
  int height = 16;  // lines of the chart itself
  bool colour = false;
};

// The chart with its axes and a line that names the series. A series with later position is drawn on top. "" without
// points.
std::string DrawPlot(const std::vector<Series>& series, const PlotOptions& options);

// Exponential moving average of y, corrected for its start; `keep` is the share of the old value.
std::vector<std::pair<double, double>> Smooth(const std::vector<std::pair<double, double>>& points, double keep);

}  // namespace strata::cli
