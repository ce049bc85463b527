// Cuts the text of an expression into tokens. Knows the whole of PromQL, not only what is evaluated today.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace lambda::query {

enum class TokenKind {
  kEnd,
  kWord,  // a name or a keyword; the parser knows which by where it stands
  kNumber,
  kDuration,
  kString,  // `text` holds the quotes too; see unquote()
  kComma,
  kColon,
  kLeftParen,
  kRightParen,
  kLeftBrace,
  kRightBrace,
  kLeftBracket,
  kRightBracket,
  kAssign,
  kEqual,
  kNotEqual,
  kMatch,
  kNotMatch,
  kLess,
  kLessEqual,
  kGreater,
  kGreaterEqual,
  kAdd,
  kSubtract,
  kMultiply,
  kDivide,
  kModulo,
  kPower,
  kAt,
};

// "end of input", "word", "','": for error texts.
std::string_view token_name(TokenKind kind);

struct Token {
  TokenKind kind;
  size_t offset;          // in bytes
  std::string_view text;  // of the input
};

// All tokens, the last one kEnd. Comments (# to the end of the line) and white space fall away.
// kInvalid: text as in parse_error().
Result<std::vector<Token>> tokenize(std::string_view text);

// The value of a kString token: 'a', "a" with escapes as in Go, `a` without.
// kInvalid: `offset` in the text is relative to the token's start.
struct UnquoteError {
  size_t offset;
  std::string what;
};
tl::expected<std::string, UnquoteError> unquote(std::string_view literal);

// "LINE:COLUMN: parse error: WHAT", both from 1, the column in bytes.
tl::unexpected<Error> parse_error(std::string_view text, size_t offset, const std::string& what);

}  // namespace lambda::query
