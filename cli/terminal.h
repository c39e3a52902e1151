// What the commands print: tables, bars, numbers for people.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "google/protobuf/timestamp.pb.h"

namespace strata::cli {

// Standard output is a terminal (and TERM is not "dumb"): lines may be redrawn.
bool Interactive();
// Interactive, and NO_COLOR is not set.
bool Colour();
// Columns of the terminal; 80 where there is none.
int Width();

// "━━━━━╸    " of `width` characters; a share outside [0, 1] is clamped.
std::string Bar(double share, int width);

// 12345 -> "12 345".
std::string Thousands(int64_t value);
// "0:07", "12:34", "1:02:03".
std::string Clock(absl::Duration duration);
std::string LocalTime(const google::protobuf::Timestamp& time);

// A table with a header line; the last column wraps at the terminal's edge. Columns that start with '>' are
// right-aligned.
std::string Table(const std::vector<std::string>& columns, const std::vector<std::vector<std::string>>& rows);

}  // namespace strata::cli
