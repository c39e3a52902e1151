#include "engine/expr/parser.h"

#include <algorithm>
#include <set>
#include <utility>
#include <vector>

#include "engine/base/status.h"
#include "engine/expr/lexer.h"

namespace strata::expr {
namespace {

bool IsReserved(const std::string& name) {
  return name == "and" || name == "or" || name == "not" || name == "if" || name == "else" || name == "return" ||
         name == "None" || name == "True" || name == "False" || name == "lambda" || name == "for" || name == "while" ||
         name == "def" || name == "import" || name == "in" || name == "is";
}

std::string Describe(const Token& t) {
  switch (t.kind) {
    case Token::Kind::kEnd:
      return "the end";
    case Token::Kind::kNewline:
      return "the end of the line";
    case Token::Kind::kString:
      return absl::StrCat("'", t.text, "'");
    default:
      return absl::StrCat("\"", t.text, "\"");
  }
}

class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  absl::StatusOr<Program> ParseProgram() {
    Program program;
    SkipLines();
    while (!Is(Token::Kind::kEnd)) {
      if (!program.statements.empty() && program.statements.back().targets.empty()) {
        return ErrorAt(program.statements.back().place, "only the last line may be without \"=\", got one before ",
                       Describe(Here()));
      }
      STRATA_ASSIGN_OR_RETURN(Statement statement, ParseStatement());
      program.statements.push_back(std::move(statement));
      if (!Is(Token::Kind::kEnd) && !Is(Token::Kind::kNewline) && !IsSymbol(";")) {
        return ErrorAt(Here().place, "must be an operator or the end of the line, got ", Describe(Here()));
      }
      SkipLines();
    }
    if (program.statements.empty() || !program.statements.back().targets.empty()) {
      return ErrorAt(Here().place, "the last line must be the result, got ", Describe(Here()));
    }
    return program;
  }

  absl::StatusOr<Node> ParseAlone() {
    SkipLines();
    STRATA_ASSIGN_OR_RETURN(Node node, Expression());
    SkipLines();
    if (!Is(Token::Kind::kEnd)) {
      return ErrorAt(Here().place, "must be an operator or the end, got ", Describe(Here()));
    }
    return node;
  }

 private:
  using Result = absl::StatusOr<Node>;

  const Token& Here() const { return tokens_[at_]; }
  const Token& Ahead(size_t n) const { return tokens_[std::min(at_ + n, tokens_.size() - 1)]; }
  bool Is(Token::Kind kind) const { return Here().kind == kind; }
  bool IsSymbol(const char* text) const { return Is(Token::Kind::kSymbol) && Here().text == text; }
  bool IsWord(const char* text) const { return Is(Token::Kind::kName) && Here().text == text; }
  bool Take(const char* symbol) {
    if (!IsSymbol(symbol)) return false;
    ++at_;
    return true;
  }
  absl::Status Expect(const char* symbol) {
    if (Take(symbol)) return absl::OkStatus();
    return ErrorAt(Here().place, "must be \"", symbol, "\", got ", Describe(Here()));
  }
  void SkipLines() {
    while (Is(Token::Kind::kNewline) || IsSymbol(";")) ++at_;
  }

  static absl::Status TooDeep(Place place) {
    return ErrorAt(place, "must be nested at most ", kMaxDepth, " deep, got more");
  }

  Result Make(Node::Kind kind, Place place, std::string text, std::vector<Node> children = {}) {
    if (++nodes_ > kMaxNodes)
      return ErrorAt(place, "must have at most ", kMaxNodes, " operations and values, got more");
    Node node;
    node.kind = kind;
    node.place = place;
    node.text = std::move(text);
    node.children = std::move(children);
    for (const Node& child : node.children) node.height = std::max(node.height, child.height + 1);
    if (node.height > kMaxDepth) return TooDeep(place);
    return node;
  }

  // Nesting is bounded where it begins: brackets, unary and right-hand operators.
  struct Deeper {
    explicit Deeper(int* depth) : depth(depth) { ++*depth; }
    ~Deeper() { --*depth; }
    Deeper(const Deeper&) = delete;
    Deeper& operator=(const Deeper&) = delete;
    int* depth;
  };

  absl::StatusOr<Statement> ParseStatement() {
    Statement s;
    s.place = Here().place;
    // name {"," name} "="
    size_t n = 0;
    while (Ahead(n).kind == Token::Kind::kName && Ahead(n + 1).kind == Token::Kind::kSymbol &&
           Ahead(n + 1).text == ",") {
      n += 2;
    }
    const bool assigns =
        Ahead(n).kind == Token::Kind::kName && Ahead(n + 1).kind == Token::Kind::kSymbol && Ahead(n + 1).text == "=";
    if (assigns) {
      for (size_t i = 0; i <= n; i += 2) {
        if (IsReserved(Ahead(i).text)) {
          return ErrorAt(Ahead(i).place, "must be a name of your own, got \"", Ahead(i).text, "\"");
        }
        s.targets.push_back(Ahead(i).text);
      }
      at_ += n + 2;
    } else if (IsWord("return")) {
      ++at_;
    }
    do {
      STRATA_ASSIGN_OR_RETURN(Node value, Expression());
      s.values.push_back(std::move(value));
    } while (!assigns && Take(","));
    return s;
  }

  // or_test ["if" or_test "else" expression]
  Result Expression() {
    const Deeper deeper(&depth_);
    if (depth_ > kMaxDepth) return TooDeep(Here().place);
    STRATA_ASSIGN_OR_RETURN(Node value, Binary(0));
    if (!IsWord("if")) return value;
    const Place place = Here().place;
    ++at_;
    STRATA_ASSIGN_OR_RETURN(Node condition, Binary(0));
    if (!IsWord("else")) return ErrorAt(Here().place, "must be \"else\", got ", Describe(Here()));
    ++at_;
    STRATA_ASSIGN_OR_RETURN(Node otherwise, Expression());
    std::vector<Node> parts;
    parts.push_back(std::move(condition));
    parts.push_back(std::move(value));
    parts.push_back(std::move(otherwise));
    return Make(Node::Kind::kConditional, place, "if", std::move(parts));
  }

  // Precedence: or, and, not, comparisons, |, &, + -, * / // % @, unary, **.
  static bool AtLevel(int level, const std::string& op) {
    switch (level) {
      case 0:
        return op == "or";
      case 1:
        return op == "and";
      case 3:
        return op == "<" || op == "<=" || op == ">" || op == ">=" || op == "==" || op == "!=";
      case 4:
        return op == "|";
      case 5:
        return op == "&";
      case 6:
        return op == "+" || op == "-";
      case 7:
        return op == "*" || op == "/" || op == "//" || op == "%" || op == "@";
      default:
        return false;
    }
  }

  Result Binary(int level) {
    if (level == 2) return Not();
    if (level > 7) return Unary();
    STRATA_ASSIGN_OR_RETURN(Node left, Binary(level + 1));
    int chain = 0;
    while ((Is(Token::Kind::kSymbol) || Is(Token::Kind::kName)) && AtLevel(level, Here().text)) {
      const Token op = Here();
      if (level == 3 && chain > 0)
        return ErrorAt(op.place, "a comparison must not follow another, got \"", op.text, "\"");
      ++chain;
      ++at_;
      STRATA_ASSIGN_OR_RETURN(Node right, Binary(level + 1));
      std::vector<Node> both;
      both.push_back(std::move(left));
      both.push_back(std::move(right));
      STRATA_ASSIGN_OR_RETURN(left, Make(Node::Kind::kBinary, op.place, op.text, std::move(both)));
    }
    return left;
  }

  Result Not() {
    if (!IsWord("not")) return Binary(3);
    return Prefix(&Parser::Not);
  }

  Result Prefix(Result (Parser::*operand)()) {
    const Deeper deeper(&depth_);
    const Token op = Here();
    if (depth_ > kMaxDepth) return TooDeep(op.place);
    ++at_;
    STRATA_ASSIGN_OR_RETURN(Node value, (this->*operand)());
    std::vector<Node> one;
    one.push_back(std::move(value));
    return Make(Node::Kind::kUnary, op.place, op.text, std::move(one));
  }

  Result Unary() {
    if (IsSymbol("-") || IsSymbol("+") || IsSymbol("~")) return Prefix(&Parser::Unary);
    return Power();
  }

  // postfix ["**" unary]: binds tighter than a minus before it, and to the right.
  Result Power() {
    STRATA_ASSIGN_OR_RETURN(Node base, Postfix());
    if (!IsSymbol("**") && !IsSymbol("^")) return base;
    const Deeper deeper(&depth_);
    const Place place = Here().place;
    if (depth_ > kMaxDepth) return TooDeep(place);
    ++at_;
    STRATA_ASSIGN_OR_RETURN(Node exponent, Unary());
    std::vector<Node> both;
    both.push_back(std::move(base));
    both.push_back(std::move(exponent));
    return Make(Node::Kind::kBinary, place, "**", std::move(both));
  }

  Result Postfix() {
    STRATA_ASSIGN_OR_RETURN(Node value, Primary());
    while (true) {
      const Place place = Here().place;
      if (!IsSymbol("[") && !IsSymbol(".")) return value;
      std::vector<Node> children;
      children.push_back(std::move(value));
      if (Take("[")) {
        STRATA_RETURN_IF_ERROR(Items(&children));
        STRATA_ASSIGN_OR_RETURN(value, Make(Node::Kind::kIndex, place, "[]", std::move(children)));
        continue;
      }
      ++at_;
      if (!Is(Token::Kind::kName)) return ErrorAt(Here().place, "must be a name, got ", Describe(Here()));
      const Token name = Here();
      ++at_;
      if (IsSymbol("(")) {
        // x.mean(1) is mean(x, 1).
        STRATA_ASSIGN_OR_RETURN(value, Call(name, std::move(children)));
        value.method = true;
      } else {
        STRATA_ASSIGN_OR_RETURN(value, Make(Node::Kind::kAttribute, name.place, name.text, std::move(children)));
      }
    }
  }

  Result Call(const Token& name, std::vector<Node> arguments) {
    STRATA_RETURN_IF_ERROR(Expect("("));
    std::vector<std::string> keywords;
    while (!IsSymbol(")")) {
      const bool named = Is(Token::Kind::kName) && Ahead(1).kind == Token::Kind::kSymbol && Ahead(1).text == "=";
      if (named) {
        keywords.push_back(Here().text);
        at_ += 2;
      } else if (!keywords.empty()) {
        return ErrorAt(Here().place, "an argument without a name must not follow one with a name, got ",
                       Describe(Here()));
      }
      STRATA_ASSIGN_OR_RETURN(Node argument, Expression());
      arguments.push_back(std::move(argument));
      if (!Take(",")) break;
    }
    STRATA_RETURN_IF_ERROR(Expect(")"));
    STRATA_ASSIGN_OR_RETURN(Node call, Make(Node::Kind::kCall, name.place, name.text, std::move(arguments)));
    call.keywords = std::move(keywords);
    return call;
  }

  // The items of an index, up to and with the closing bracket.
  absl::Status Items(std::vector<Node>* children) {
    do {
      if (IsSymbol("]") && children->size() > 1) break;
      STRATA_ASSIGN_OR_RETURN(Node item, Item());
      children->push_back(std::move(item));
    } while (Take(","));
    return Expect("]");
  }

  Result Item() {
    const Place place = Here().place;
    if (Take("...")) return Make(Node::Kind::kEllipsis, place, "...");
    std::vector<Node> parts(3);
    bool slice = false;
    for (size_t i = 0; i < 3; ++i) {
      if (!IsSymbol(":") && !IsSymbol(",") && !IsSymbol("]")) {
        STRATA_ASSIGN_OR_RETURN(parts[i], Expression());
      }
      if (!IsSymbol(":") || i == 2) break;
      slice = true;
      ++at_;
    }
    if (slice) return Make(Node::Kind::kSlice, place, ":", std::move(parts));
    if (parts[0].kind == Node::Kind::kAbsent) return ErrorAt(place, "must be an index, got ", Describe(Here()));
    return std::move(parts[0]);
  }

  Result Primary() {
    const Token token = Here();
    switch (token.kind) {
      case Token::Kind::kInteger:
      case Token::Kind::kFloat: {
        ++at_;
        STRATA_ASSIGN_OR_RETURN(Node node,
                                Make(token.kind == Token::Kind::kInteger ? Node::Kind::kInteger : Node::Kind::kFloat,
                                     token.place, token.text));
        node.integer = token.integer;
        node.real = token.real;
        return node;
      }
      case Token::Kind::kString:
        ++at_;
        return Make(Node::Kind::kString, token.place, token.text);
      case Token::Kind::kName:
        return Name();
      default:
        break;
    }
    if (Take("(")) {
      STRATA_ASSIGN_OR_RETURN(Node node, Expression());
      if (!IsSymbol(",")) {
        STRATA_RETURN_IF_ERROR(Expect(")"));
        return node;
      }
      // A tuple is a list.
      std::vector<Node> items;
      items.push_back(std::move(node));
      while (Take(",") && !IsSymbol(")")) {
        STRATA_ASSIGN_OR_RETURN(Node item, Expression());
        items.push_back(std::move(item));
      }
      STRATA_RETURN_IF_ERROR(Expect(")"));
      return Make(Node::Kind::kList, token.place, "[]", std::move(items));
    }
    if (Take("[")) {
      std::vector<Node> items;
      while (!IsSymbol("]")) {
        STRATA_ASSIGN_OR_RETURN(Node item, Expression());
        items.push_back(std::move(item));
        if (!Take(",")) break;
      }
      STRATA_RETURN_IF_ERROR(Expect("]"));
      return Make(Node::Kind::kList, token.place, "[]", std::move(items));
    }
    return ErrorAt(token.place, "must be a value, got ", Describe(token));
  }

  // A name, or a function's call with or without its module.
  Result Name() {
    Token token = Here();
    if (IsReserved(token.text) && token.text != "None" && token.text != "True" && token.text != "False") {
      return ErrorAt(token.place, "must be a value, got \"", token.text, "\"");
    }
    ++at_;
    std::string module;
    while (IsModule(token.text) && IsSymbol(".") && Ahead(1).kind == Token::Kind::kName) {
      module = token.text;
      token.text = Ahead(1).text;
      at_ += 2;
    }
    if (IsSymbol("(")) {
      STRATA_ASSIGN_OR_RETURN(Node call, Call(token, {}));
      call.module = std::move(module);
      return call;
    }
    if (token.text == "newaxis") token.text = "None";
    return Make(Node::Kind::kName, token.place, token.text);
  }

  std::vector<Token> tokens_;
  size_t at_ = 0;
  int nodes_ = 0, depth_ = 0;
};

}  // namespace

absl::StatusOr<Program> Parse(std::string_view source) {
  STRATA_ASSIGN_OR_RETURN(std::vector<Token> tokens, Lex(source));
  return Parser(std::move(tokens)).ParseProgram();
}

absl::StatusOr<Node> ParseExpression(std::string_view source) {
  STRATA_ASSIGN_OR_RETURN(std::vector<Token> tokens, Lex(source));
  return Parser(std::move(tokens)).ParseAlone();
}

}  // namespace strata::expr
