// Values as Python prints them, for print(net).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"

namespace strata {

// Python's repr of a float: the shortest digits that read back, with an exponent below 1e-4 and from 1e16 on.
std::string PythonFloat(double v);

inline std::string PythonBool(bool b) { return b ? "True" : "False"; }

template <typename List>
std::string PythonTuple(const List& values) {
  return absl::StrCat("(", absl::StrJoin(values, ", "), values.size() == 1 ? ",)" : ")");
}

// One number, or one for each axis.
template <typename List>
std::string NumberOrTuple(const List& values) {
  return values.size() == 1 ? absl::StrCat(*values.begin()) : PythonTuple(values);
}

// One for each axis, even if one was given for all.
template <typename List>
std::string PerAxisTuple(const List& values, int axes) {
  if (values.size() != 1) return PythonTuple(values);
  return PythonTuple(std::vector<int64_t>(axes, *values.begin()));
}

}  // namespace strata
