// Values as Python prints them, for print(net).
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "strata/v1/model.pb.h"

namespace strata {

// Python's repr of a float: the shortest digits that read back, with an exponent below 1e-4 and from 1e16 on.
std::string PythonFloat(double v);

inline std::string PythonBool(bool b) { return b ? "True" : "False"; }

template <typename List>
std::string PythonTuple(const List& values) {
  return absl::StrCat("(", absl::StrJoin(values, ", "), values.size() == 1 ? ",)" : ")");
}

// One number, or one for each axis; `listed` tells (2,) from 2.
template <typename List>
std::string NumberOrTuple(const List& values, bool listed = false) {
  return values.size() == 1 && !listed ? absl::StrCat(*values.begin()) : PythonTuple(values);
}

// Whether `field` of the layer was given as a list of one.
inline bool IsListed(const v1::Layer& layer, const std::string& field) {
  const auto& listed = layer.one_entry_lists();
  return std::find(listed.begin(), listed.end(), field) != listed.end();
}

// One for each axis, even if one was given for all.
template <typename List>
std::string PerAxisTuple(const List& values, int axes) {
  if (values.size() != 1) return PythonTuple(values);
  return PythonTuple(std::vector<int64_t>(axes, *values.begin()));
}

}  // namespace strata
