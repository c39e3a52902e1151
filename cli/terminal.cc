#include "cli/terminal.h"

#include <libsmartcols.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <memory>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"

namespace strata::cli {

bool Interactive() {
  const char* term = std::getenv("TERM");
  return isatty(STDOUT_FILENO) != 0 && term != nullptr && std::string_view(term) != "dumb";
}

bool Colour() { return Interactive() && std::getenv("NO_COLOR") == nullptr; }

int Width() {
  winsize size{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0) return size.ws_col;
  return 80;
}

std::string Bar(double share, int width) {
  const int halves = static_cast<int>(std::clamp(share, 0.0, 1.0) * 2 * width);
  std::string bar;
  for (int i = 0; i < width; ++i) {
    if (2 * i + 1 < halves) {
      bar += "━";
    } else if (2 * i < halves) {
      bar += "╸";
    } else {
      bar += ' ';
    }
  }
  return bar;
}

std::string Thousands(int64_t value) {
  const std::string digits = absl::StrCat(value < 0 ? -value : value);
  std::string text = value < 0 ? "-" : "";
  for (size_t i = 0; i < digits.size(); ++i) {
    if (i > 0 && (digits.size() - i) % 3 == 0) text += ' ';
    text += digits[i];
  }
  return text;
}

std::string Clock(absl::Duration duration) {
  const int64_t s = std::max<int64_t>(0, absl::ToInt64Seconds(duration));
  return s < 3600 ? absl::StrFormat("%d:%02d", s / 60, s % 60)
                  : absl::StrFormat("%d:%02d:%02d", s / 3600, s / 60 % 60, s % 60);
}

std::string LocalTime(const google::protobuf::Timestamp& time) {
  if (time.seconds() == 0) return "-";
  return absl::FormatTime("%Y-%m-%d %H:%M:%S", absl::FromUnixSeconds(time.seconds()), absl::LocalTimeZone());
}

std::string Table(const std::vector<std::string>& columns, const std::vector<std::vector<std::string>>& rows) {
  const std::unique_ptr<libscols_table, void (*)(libscols_table*)> table(scols_new_table(), scols_unref_table);
  for (size_t i = 0; i < columns.size(); ++i) {
    const bool right = columns[i].starts_with('>');
    int flags = right ? SCOLS_FL_RIGHT : 0;
    if (i + 1 == columns.size() && Interactive()) flags |= SCOLS_FL_WRAP;
    scols_table_new_column(table.get(), columns[i].c_str() + (right ? 1 : 0), 0, flags);
  }
  scols_table_enable_maxout(table.get(), 0);
  if (Interactive()) {
    scols_table_set_termforce(table.get(), SCOLS_TERMFORCE_ALWAYS);
    scols_table_set_termwidth(table.get(), Width());
  } else {
    scols_table_set_termforce(table.get(), SCOLS_TERMFORCE_NEVER);
  }
  for (const auto& row : rows) {
    libscols_line* line = scols_table_new_line(table.get(), nullptr);
    for (size_t i = 0; i < row.size(); ++i) scols_line_set_data(line, i, row[i].c_str());
  }
  char* text = nullptr;
  if (scols_print_table_to_string(table.get(), &text) != 0 || text == nullptr) return "";
  std::string result(text);
  std::free(text);
  if (!result.empty() && result.back() != '\n') result += '\n';
  return result;
}

}  // namespace strata::cli
