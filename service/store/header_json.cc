#include "service/store/header_json.h"

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "engine/base/status.h"

namespace strata::service {
namespace {

void AppendUtf8(uint32_t code, std::string* out) {
  if (code < 0x80) {
    out->push_back(static_cast<char>(code));
  } else if (code < 0x800) {
    out->push_back(static_cast<char>(0xc0 | (code >> 6)));
    out->push_back(static_cast<char>(0x80 | (code & 0x3f)));
  } else if (code < 0x10000) {
    out->push_back(static_cast<char>(0xe0 | (code >> 12)));
    out->push_back(static_cast<char>(0x80 | ((code >> 6) & 0x3f)));
    out->push_back(static_cast<char>(0x80 | (code & 0x3f)));
  } else {
    out->push_back(static_cast<char>(0xf0 | (code >> 18)));
    out->push_back(static_cast<char>(0x80 | ((code >> 12) & 0x3f)));
    out->push_back(static_cast<char>(0x80 | ((code >> 6) & 0x3f)));
    out->push_back(static_cast<char>(0x80 | (code & 0x3f)));
  }
}

}  // namespace

absl::Status HeaderJson::Error(absl::string_view what) const {
  return absl::DataLossError(absl::StrCat("safetensors header: ", what, " at byte ", pos_));
}

void HeaderJson::SkipBlanks() {
  while (pos_ < text_.size() &&
         (text_[pos_] == ' ' || text_[pos_] == '\t' || text_[pos_] == '\n' || text_[pos_] == '\r'))
    ++pos_;
}

bool HeaderJson::Take(char c) {
  SkipBlanks();
  if (pos_ >= text_.size() || text_[pos_] != c) return false;
  ++pos_;
  return true;
}

absl::Status HeaderJson::Expect(char c) {
  if (Take(c)) return absl::OkStatus();
  return Error(absl::StrCat("expected '", absl::string_view(&c, 1), "'"));
}

absl::Status HeaderJson::Hex4(uint32_t* out) {
  *out = 0;
  for (int i = 0; i < 4; ++i, ++pos_) {
    if (pos_ >= text_.size() || !absl::ascii_isxdigit(text_[pos_])) return Error("bad \\u escape");
    const char c = absl::ascii_tolower(text_[pos_]);
    *out = *out * 16 + static_cast<uint32_t>(c <= '9' ? c - '0' : c - 'a' + 10);
  }
  return absl::OkStatus();
}

absl::Status HeaderJson::Escape(std::string* out) {
  if (pos_ >= text_.size()) return Error("unfinished escape");
  const char c = text_[pos_++];
  constexpr absl::string_view kFrom = "\"\\/bfnrt", kTo = "\"\\/\b\f\n\r\t";
  if (const size_t i = kFrom.find(c); i != absl::string_view::npos) {
    out->push_back(kTo[i]);
    return absl::OkStatus();
  }
  if (c != 'u') return Error("unknown escape");
  uint32_t code = 0;
  STRATA_RETURN_IF_ERROR(Hex4(&code));
  if (code >= 0xd800 && code < 0xdc00) {
    uint32_t low = 0;
    if (text_.substr(pos_, 2) != "\\u") return Error("lone surrogate");
    pos_ += 2;
    STRATA_RETURN_IF_ERROR(Hex4(&low));
    if (low < 0xdc00 || low > 0xdfff) return Error("lone surrogate");
    code = 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00);
  } else if (code >= 0xdc00 && code <= 0xdfff) {
    return Error("lone surrogate");
  }
  AppendUtf8(code, out);
  return absl::OkStatus();
}

absl::Status HeaderJson::String(std::string* out) {
  out->clear();
  STRATA_RETURN_IF_ERROR(Expect('"'));
  while (pos_ < text_.size()) {
    const char c = text_[pos_++];
    if (c == '"') return absl::OkStatus();
    if (static_cast<unsigned char>(c) < 0x20) return Error("control character in a string");
    if (c == '\\') {
      STRATA_RETURN_IF_ERROR(Escape(out));
    } else {
      out->push_back(c);
    }
  }
  return Error("unfinished string");
}

absl::Status HeaderJson::Unsigned(uint64_t* out) {
  SkipBlanks();
  const size_t start = pos_;
  *out = 0;
  for (; pos_ < text_.size() && absl::ascii_isdigit(text_[pos_]); ++pos_) {
    uint64_t next = 0;
    if (__builtin_mul_overflow(*out, uint64_t{10}, &next) ||
        __builtin_add_overflow(next, static_cast<uint64_t>(text_[pos_] - '0'), out)) {
      return Error("number too large");
    }
  }
  if (pos_ == start) return Error("expected an unsigned integer");
  if (text_[start] == '0' && pos_ - start > 1) return Error("number with a leading zero");
  return absl::OkStatus();
}

absl::Status HeaderJson::UnsignedList(std::vector<uint64_t>* out) {
  out->clear();
  STRATA_RETURN_IF_ERROR(Expect('['));
  if (Take(']')) return absl::OkStatus();
  do {
    out->emplace_back();
    STRATA_RETURN_IF_ERROR(Unsigned(&out->back()));
  } while (Take(','));
  return Expect(']');
}

absl::Status HeaderJson::End() {
  while (pos_ < text_.size() && text_[pos_] == ' ') ++pos_;
  return pos_ == text_.size() ? absl::OkStatus() : Error("bytes after the object");
}

bool IsUtf8(absl::string_view text) {
  for (size_t i = 0; i < text.size();) {
    const auto byte = [&](size_t k) { return static_cast<unsigned char>(text[k]); };
    const unsigned char c = byte(i);
    if (c < 0x80) {
      ++i;
      continue;
    }
    const size_t length = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : 2;
    if (c < 0xc2 || c > 0xf4 || i + length > text.size()) return false;
    for (size_t k = 1; k < length; ++k) {
      if ((byte(i + k) & 0xc0) != 0x80) return false;
    }
    const unsigned char second = byte(i + 1);
    if ((c == 0xe0 && second < 0xa0) || (c == 0xed && second > 0x9f) || (c == 0xf0 && second < 0x90) ||
        (c == 0xf4 && second > 0x8f)) {
      return false;
    }
    i += length;
  }
  return true;
}

}  // namespace strata::service
