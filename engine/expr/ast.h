// Programs of the expression language as trees. engine/expr/README.md has the grammar.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace strata::expr {

// Bounds on what a text may ask for. A program within them is evaluated in time proportional to its nodes: there are no
// loops and no recursion.
constexpr int kMaxSourceBytes = 16384;
constexpr int kMaxNodes = 4096;
constexpr int kMaxDepth = 100;  // of nesting, and of the tree
constexpr int kMaxRank = 8;
constexpr int kMaxListLength = 1024;
constexpr int kMaxGraphNodes = 20000;  // that one program adds
// Elements of one tensor: 4 GiB of f32, as ModelLimits.
constexpr int64_t kMaxElements = int64_t{1} << 30;

// Where a node begins; both count from 1.
struct Place {
  int line = 1;
  int column = 1;
};

struct Node {
  enum class Kind : uint8_t {
    kInteger,
    kFloat,
    kString,       // text
    kName,         // text; None, True and False are names
    kUnary,        // text: "-", "+", "~", "not"
    kBinary,       // text: the operator
    kConditional,  // condition, then, else
    kCall,         // text: the function; children: arguments, the last `keywords.size()` of them by name
    kAttribute,    // child.text
    kIndex,        // child[items...]
    kSlice,        // an item of kIndex: start, stop, step; absent ones are kAbsent
    kEllipsis,     // an item of kIndex
    kAbsent,
    kList,
  };
  Kind kind = Kind::kAbsent;
  Place place;
  std::string text;
  int64_t integer = 0;
  double real = 0;
  std::vector<Node> children;
  std::vector<std::string> keywords;
  bool method = false;  // of kCall: x.f(...), and not f(x, ...)
  std::string module;   // of kCall: what stands right before the name, "K" of K.f(...)
  int height = 1;       // of the tree
};

// Targets are empty for the results, which come last.
struct Statement {
  std::vector<std::string> targets;
  Place place;
  std::vector<Node> values;  // one, but for the results
};

struct Program {
  std::vector<Statement> statements;
};

}  // namespace strata::expr
