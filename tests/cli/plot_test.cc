#include "cli/plot.h"

#include <gtest/gtest.h>

#include <cmath>

#include "absl/strings/str_split.h"
#include "cli/terminal.h"

namespace strata::cli {
namespace {

std::vector<std::string> Lines(const std::string& text) { return absl::StrSplit(text, '\n'); }

TEST(Plot, DrawsAFallingLineFromTopLeftToBottomRight) {
  const auto lines = Lines(DrawPlot({{.name = "loss", .points = {{1, 2.0}, {10, 0.5}}}}, {.width = 20, .height = 5}));
  ASSERT_GE(lines.size(), 8u);
  EXPECT_EQ(lines[0], "       2 ┤⠑⢄") << "first line";
  EXPECT_EQ(lines[4], "     0.5 ┤        ⠑⢄") << "last line";
  EXPECT_EQ(lines[5], "         └──────────");
  EXPECT_EQ(lines[6], "          1       10");
  EXPECT_EQ(lines[7], "          ━ loss ");
}

TEST(Plot, OnePointAndAFlatLineHaveARange) {
  EXPECT_NE(DrawPlot({{.name = "loss", .points = {{5, 1.0}}, .markers = true}}, {}), "");
  EXPECT_NE(DrawPlot({{.name = "loss", .points = {{1, 0.0}, {2, 0.0}}}}, {}), "");
}

TEST(Plot, LeavesOutWhatIsNotFinite) {
  EXPECT_EQ(DrawPlot({{.name = "loss", .points = {}}}, {}), "");
  EXPECT_EQ(DrawPlot({{.name = "loss", .points = {{1, std::nan("")}}}}, {}), "");
  const std::string with = DrawPlot({{.name = "l", .points = {{1, 1.0}, {2, INFINITY}, {3, 2.0}}}}, {});
  EXPECT_EQ(with, DrawPlot({{.name = "l", .points = {{1, 1.0}, {3, 2.0}}}}, {}));
}

TEST(Plot, ColourIsOptional) {
  const std::vector<Series> series = {{.name = "loss", .points = {{1, 1.0}, {2, 2.0}}, .colour = 36}};
  EXPECT_EQ(DrawPlot(series, {}).find('\033'), std::string::npos);
  EXPECT_NE(DrawPlot(series, {.colour = true}).find("\033[36m"), std::string::npos);
}

TEST(Smooth, StartsAtTheFirstValue) {
  const auto mean = Smooth({{1, 4.0}, {2, 4.0}, {3, std::nan("")}, {4, 0.0}}, 0.5);
  ASSERT_EQ(mean.size(), 3u);
  EXPECT_DOUBLE_EQ(mean[0].second, 4.0);
  EXPECT_DOUBLE_EQ(mean[1].second, 4.0);
  EXPECT_NEAR(mean[2].second, 1.5 / 0.875, 1e-12);
}

TEST(Terminal, NumbersForPeople) {
  EXPECT_EQ(Thousands(0), "0");
  EXPECT_EQ(Thousands(999), "999");
  EXPECT_EQ(Thousands(1000), "1 000");
  EXPECT_EQ(Thousands(-1234567), "-1 234 567");
  EXPECT_EQ(Clock(absl::Seconds(7)), "0:07");
  EXPECT_EQ(Clock(absl::Seconds(3723)), "1:02:03");
  EXPECT_EQ(Bar(0, 4), "    ");
  EXPECT_EQ(Bar(0.5, 4), "━━  ");
  EXPECT_EQ(Bar(2, 3), "━━━");
}

}  // namespace
}  // namespace strata::cli
