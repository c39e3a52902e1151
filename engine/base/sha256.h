// SHA-256 of a stream of bytes.
#pragma once

#include <memory>
#include <string>

#include "absl/strings/escaping.h"
#include "engine/base/status.h"
#include "openssl/evp.h"

namespace strata {

// Thread-compatible.
class Sha256 {
 public:
  Sha256() : ctx_(EVP_MD_CTX_new(), &EVP_MD_CTX_free) {
    STRATA_CHECK(EVP_DigestInit_ex(ctx_.get(), EVP_sha256(), nullptr) == 1);
  }
  void Add(const void* data, size_t size) { STRATA_CHECK(EVP_DigestUpdate(ctx_.get(), data, size) == 1); }
  // Call once.
  std::string Hex() {
    unsigned char digest[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    STRATA_CHECK(EVP_DigestFinal_ex(ctx_.get(), digest, &size) == 1);
    return absl::BytesToHexString(absl::string_view(reinterpret_cast<char*>(digest), size));
  }

 private:
  std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> ctx_;
};

}  // namespace strata
