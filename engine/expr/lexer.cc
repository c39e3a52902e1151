#include "engine/expr/lexer.h"

#include <set>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"

namespace strata::expr {
namespace {

// Longest first.
constexpr std::string_view kSymbols[] = {"...", "**", "//", "==", "!=", "<=", ">=", "+", "-", "*",
                                         "/",   "%",  "^",  "@",  "<",  ">",  "=",  "&", "|", "~",
                                         "(",   ")",  "[",  "]",  ",",  ":",  ".",  ";", "{", "}"};

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(source) {}

  absl::StatusOr<std::vector<Token>> Run() {
    if (source_.size() > kMaxSourceBytes) {
      return absl::InvalidArgumentError(
          absl::StrCat("1:1: must have at most ", kMaxSourceBytes, " bytes, got ", source_.size()));
    }
    while (true) {
      SkipSpace();
      if (at_ >= source_.size()) break;
      if (absl::Status status = Next(); !status.ok()) return status;
    }
    Add(Token::Kind::kEnd, 0);
    return std::move(tokens_);
  }

 private:
  Place Here() const { return {line_, static_cast<int>(at_ - line_start_) + 1}; }
  char Peek(size_t ahead = 0) const { return at_ + ahead < source_.size() ? source_[at_ + ahead] : '\0'; }

  Token& Add(Token::Kind kind, size_t size) {
    tokens_.push_back({kind, Here(), std::string(source_.substr(at_, size))});
    at_ += size;
    return tokens_.back();
  }

  void SkipSpace() {
    while (at_ < source_.size()) {
      const char c = source_[at_];
      if (c == '#') {
        while (at_ < source_.size() && source_[at_] != '\n') ++at_;
      } else if (c == ' ' || c == '\t' || c == '\r' || (c == '\n' && brackets_ > 0)) {
        ++at_;
        if (c == '\n') NewLine();
      } else {
        return;
      }
    }
  }
  void NewLine() {
    ++line_;
    line_start_ = at_;
  }

  absl::Status Next() {
    const char c = Peek();
    if (c == '\n') {
      Add(Token::Kind::kNewline, 1);
      NewLine();
      return absl::OkStatus();
    }
    if (absl::ascii_isdigit(static_cast<unsigned char>(c)) ||
        (c == '.' && absl::ascii_isdigit(static_cast<unsigned char>(Peek(1))))) {
      return Number();
    }
    if (absl::ascii_isalpha(static_cast<unsigned char>(c)) || c == '_') {
      size_t size = 1;
      while (absl::ascii_isalnum(static_cast<unsigned char>(Peek(size))) || Peek(size) == '_') ++size;
      Add(Token::Kind::kName, size);
      return absl::OkStatus();
    }
    if (c == '"' || c == '\'') return String(c);
    for (std::string_view symbol : kSymbols) {
      if (source_.substr(at_, symbol.size()) != symbol) continue;
      if (c == '(' || c == '[') ++brackets_;
      if (c == ')' || c == ']') brackets_ = std::max(0, brackets_ - 1);
      Add(Token::Kind::kSymbol, symbol.size());
      return absl::OkStatus();
    }
    const unsigned char byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7f) return ErrorAt(Here(), "no such symbol, got \"", std::string(1, c), "\"");
    return ErrorAt(Here(), "must be printable ASCII, got byte ", static_cast<int>(byte));
  }

  absl::Status Number() {
    size_t size = 0;
    bool real = false;
    const auto digits = [&] {
      while (absl::ascii_isdigit(static_cast<unsigned char>(Peek(size)))) ++size;
    };
    digits();
    if (Peek(size) == '.' && Peek(size + 1) != '.') {
      real = true;
      ++size;
      digits();
    }
    if (Peek(size) == 'e' || Peek(size) == 'E') {
      const size_t sign = Peek(size + 1) == '+' || Peek(size + 1) == '-' ? 1 : 0;
      if (absl::ascii_isdigit(static_cast<unsigned char>(Peek(size + 1 + sign)))) {
        real = true;
        size += 1 + sign;
        digits();
      }
    }
    const Place place = Here();
    Token& token = Add(real ? Token::Kind::kFloat : Token::Kind::kInteger, size);
    if (real ? !absl::SimpleAtod(token.text, &token.real) : !absl::SimpleAtoi(token.text, &token.integer)) {
      return ErrorAt(place, "must be a number that fits 64 bits, got ", token.text);
    }
    if (absl::ascii_isalpha(static_cast<unsigned char>(Peek())) || Peek() == '_') {
      return ErrorAt(Here(), "must be an operator, got \"", std::string(1, Peek()), "\"");
    }
    return absl::OkStatus();
  }

  absl::Status String(char quote) {
    const size_t end = source_.find(quote, at_ + 1);
    if (end == std::string_view::npos || source_.substr(at_, end - at_).find('\n') != std::string_view::npos) {
      return ErrorAt(Here(), "a string must end on its line, got none");
    }
    const std::string text(source_.substr(at_ + 1, end - at_ - 1));
    Add(Token::Kind::kString, end + 1 - at_).text = text;
    return absl::OkStatus();
  }

  std::string_view source_;
  size_t at_ = 0, line_start_ = 0;
  int line_ = 1, brackets_ = 0;
  std::vector<Token> tokens_;
};

}  // namespace

absl::StatusOr<std::vector<Token>> Lex(std::string_view source) { return Lexer(source).Run(); }

bool IsModule(const std::string& name) {
  static const auto& modules = *new std::set<std::string>{
      "tf",  "K",          "torch", "F",       "np",     "jnp",         "math",  "nn",    "backend",
      "ops", "functional", "numpy", "special", "linalg", "activations", "keras", "losses"};
  return modules.count(name) != 0;
}

}  // namespace strata::expr
