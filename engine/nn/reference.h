// The reference pages: the catalog as Markdown, generated from the protos' options and the components' own samples.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "strata/v1/services.pb.h"

namespace strata::nn {

// Every component of every family, with all that the reference has of it: ListComponents (schema.h), shapes, arguments,
// an example.
std::vector<v1::ComponentInfo> DescribeComponents();

// Pages by path below the reference's folder: "layer/conv2d.md" and so on, one per component, and "README.md", the
// table of every framework name.
std::map<std::string, std::string> ReferencePages();

}  // namespace strata::nn
