// Rule text to tokens. Keywords are recognised by the parser, whatever their case; here a word is a word.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "cep/language/diagnostic.h"

namespace lambda::cep {

enum class TokenKind : uint8_t {
  kWord,      // a name or keyword: letters, digits, _
  kQuoted,    // "name": never a keyword
  kString,    // 'text', quotes taken off
  kInt,       // 42
  kDouble,    // 4.2, 1e3
  kDuration,  // 500ms, 1.5s, 2m, 1h, 1d; `i` is milliseconds
  kSymbol,    // one of -> == != <> <= >= ( ) [ ] { } , ; . = < > + - * / % ?
  kEnd,
};

struct Token {
  TokenKind kind = TokenKind::kEnd;
  Position at;
  uint32_t begin = 0;  // bytes of the text
  uint32_t end = 0;
  std::string text;  // kWord, kQuoted, kString: the content; kSymbol: itself; numbers: as written
  int64_t i = 0;
  double d = 0;
};

struct Tokens {
  std::vector<Token> tokens;  // ends with kEnd
  std::vector<Diagnostic> errors;
};

// Reads to the end whatever it meets: a wrong character becomes an error and is left out.
Tokens read_tokens(std::string_view text);

}  // namespace lambda::cep
