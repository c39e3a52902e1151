// Messages as text, for tests.
#pragma once

#include <gtest/gtest.h>

#include <string>

#include "google/protobuf/text_format.h"

namespace strata::e2e {

template <typename Message>
Message Parse(const std::string& text) {
  Message message;
  EXPECT_TRUE(google::protobuf::TextFormat::ParseFromString(text, &message)) << text;
  return message;
}

}  // namespace strata::e2e
