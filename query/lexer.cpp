#include "query/lexer.h"

#include <algorithm>
#include <optional>

#include "query/duration.h"
#include "query/labels.h"
#include "query/number.h"

namespace lambda::query {
namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_alpha(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}
bool is_space(char c) {
  return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

struct Failure {
  size_t offset;
  std::string what;
};

struct Symbol {
  std::string_view text;
  TokenKind kind;
};

// Longer ones first where one begins another.
constexpr Symbol kSymbols[] = {
    {"==", TokenKind::kEqual},     {"=~", TokenKind::kMatch},        {"=", TokenKind::kAssign},
    {"!=", TokenKind::kNotEqual},  {"!~", TokenKind::kNotMatch},     {"<=", TokenKind::kLessEqual},
    {"<", TokenKind::kLess},       {">=", TokenKind::kGreaterEqual}, {">", TokenKind::kGreater},
    {"+", TokenKind::kAdd},        {"-", TokenKind::kSubtract},      {"*", TokenKind::kMultiply},
    {"/", TokenKind::kDivide},     {"%", TokenKind::kModulo},        {"^", TokenKind::kPower},
    {"@", TokenKind::kAt},         {",", TokenKind::kComma},         {":", TokenKind::kColon},
    {"(", TokenKind::kLeftParen},  {")", TokenKind::kRightParen},    {"{", TokenKind::kLeftBrace},
    {"}", TokenKind::kRightBrace}, {"[", TokenKind::kLeftBracket},   {"]", TokenKind::kRightBracket},
};

class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) {}

  // The next token, kEnd at the end; nothing, with failure_ set, on an error.
  std::optional<Token> next() {
    skip_blank();
    if (at_ == text_.size()) {
      return Token{TokenKind::kEnd, at_, {}};
    }
    const char c = text_[at_];
    if (is_digit(c) || (c == '.' && at_ + 1 < text_.size() && is_digit(text_[at_ + 1]))) {
      return number_or_duration();
    }
    if (is_alpha(c) || (c == ':' && !in_brackets_)) {
      return word();
    }
    if (c == '"' || c == '\'' || c == '`') {
      return string();
    }
    for (const Symbol& symbol : kSymbols) {
      if (text_.substr(at_).starts_with(symbol.text)) {
        if (symbol.kind == TokenKind::kLeftBracket) in_brackets_ = true;
        if (symbol.kind == TokenKind::kRightBracket) in_brackets_ = false;
        return token(symbol.kind, at_ + symbol.text.size());
      }
    }
    return failed(at_, "unexpected character " + quoted(text_.substr(at_, 1)));
  }

  const Failure& failure() const { return failure_; }

 private:
  void skip_blank() {
    while (at_ < text_.size()) {
      if (is_space(text_[at_])) {
        ++at_;
      } else if (text_[at_] == '#') {
        at_ = std::min(text_.find('\n', at_), text_.size());
      } else {
        return;
      }
    }
  }

  Token token(TokenKind kind, size_t end) {
    const Token made{kind, at_, text_.substr(at_, end - at_)};
    at_ = end;
    return made;
  }

  std::optional<Token> failed(size_t offset, std::string what) {
    failure_ = {offset, std::move(what)};
    return std::nullopt;
  }

  Token word() {
    size_t end = at_;
    // A colon belongs to a name, but not in [5m:1m].
    while (end < text_.size() &&
           (is_alpha(text_[end]) || is_digit(text_[end]) || (text_[end] == ':' && !in_brackets_))) {
      ++end;
    }
    return token(TokenKind::kWord, end);
  }

  std::optional<Token> number_or_duration() {
    const bool hexadecimal = text_.substr(at_).starts_with("0x") || text_.substr(at_).starts_with("0X");
    bool digits_only = true;
    size_t end = at_;
    while (end < text_.size() && (is_alpha(text_[end]) || is_digit(text_[end]) || text_[end] == '.')) {
      const bool exponent = digits_only && !hexadecimal && end > at_ && (text_[end] | 0x20) == 'e';
      digits_only = digits_only && (is_digit(text_[end]) || text_[end] == '.' || text_[end] == '_');
      ++end;
      if (exponent && end + 1 < text_.size() && (text_[end] == '+' || text_[end] == '-') && is_digit(text_[end + 1])) {
        ++end;
      }
    }
    const std::string_view literal = text_.substr(at_, end - at_);
    if (parse_number(literal)) {
      return token(TokenKind::kNumber, end);
    }
    const auto duration = parse_duration_ms(literal);
    if (!duration) {
      return failed(at_, quoted(literal) + " is neither a number nor a duration");
    }
    return token(TokenKind::kDuration, end);
  }

  std::optional<Token> string() {
    const char quote = text_[at_];
    size_t end = at_ + 1;
    while (end < text_.size() && text_[end] != quote) {
      if (quote != '`' && text_[end] == '\n') {
        return failed(at_, "the string does not end on its line");
      }
      end += quote != '`' && text_[end] == '\\' && end + 1 < text_.size() ? 2 : 1;
    }
    if (end >= text_.size()) {
      return failed(at_, "the string does not end");
    }
    return token(TokenKind::kString, end + 1);
  }

  std::string_view text_;
  size_t at_ = 0;
  bool in_brackets_ = false;
  Failure failure_{0, {}};
};

void append_utf8(std::string& out, uint32_t rune) {
  if (rune < 0x80) {
    out += static_cast<char>(rune);
  } else if (rune < 0x800) {
    out += static_cast<char>(0xC0 | rune >> 6);
    out += static_cast<char>(0x80 | (rune & 0x3F));
  } else if (rune < 0x10000) {
    out += static_cast<char>(0xE0 | rune >> 12);
    out += static_cast<char>(0x80 | (rune >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (rune & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | rune >> 18);
    out += static_cast<char>(0x80 | (rune >> 12 & 0x3F));
    out += static_cast<char>(0x80 | (rune >> 6 & 0x3F));
    out += static_cast<char>(0x80 | (rune & 0x3F));
  }
}

// `count` digits of `base` at `at`, which moves behind them.
std::optional<uint32_t> take_code(std::string_view text, size_t& at, size_t count, uint32_t base) {
  uint32_t value = 0;
  for (size_t i = 0; i < count; ++i, ++at) {
    if (at >= text.size()) {
      return std::nullopt;
    }
    const char c = text[at];
    const char lower = static_cast<char>(c | 0x20);
    uint32_t digit = 99;
    if (is_digit(c)) {
      digit = static_cast<uint32_t>(c - '0');
    } else if (lower >= 'a' && lower <= 'f') {
      digit = static_cast<uint32_t>(lower - 'a' + 10);
    }
    if (digit >= base) {
      return std::nullopt;
    }
    value = value * base + digit;
  }
  return value;
}

// One escape; `at` stands behind the backslash and moves behind the escape. Empty on success, else what is wrong.
std::string append_escape(std::string_view inside, char quote, size_t& at, std::string& out) {
  static constexpr std::string_view kLetters = "abfnrtv\\";
  static constexpr std::string_view kMeanings = "\a\b\f\n\r\t\v\\";
  const char c = inside[at];
  if (const size_t letter = kLetters.find(c); letter != std::string_view::npos) {
    out += kMeanings[letter];
    ++at;
    return {};
  }
  if (c == quote) {
    out += c;
    ++at;
    return {};
  }
  if (c >= '0' && c <= '7') {
    const auto byte = take_code(inside, at, 3, 8);
    if (!byte || *byte > 255) {
      return "an octal escape has three digits, at most \\377";
    }
    out += static_cast<char>(*byte);
    return {};
  }
  if (c == 'x') {
    const auto byte = take_code(inside, ++at, 2, 16);
    if (!byte) {
      return "\\x takes two hexadecimal digits";
    }
    out += static_cast<char>(*byte);
    return {};
  }
  if (c == 'u' || c == 'U') {
    const auto rune = take_code(inside, ++at, c == 'u' ? 4 : 8, 16);
    if (!rune || *rune > 0x10FFFF || (*rune >= 0xD800 && *rune < 0xE000)) {
      return std::string("\\") + c + " takes " + (c == 'u' ? "4" : "8") + " hexadecimal digits of a Unicode character";
    }
    append_utf8(out, *rune);
    return {};
  }
  return "unknown escape \\" + std::string(1, c);
}

}  // namespace

std::string_view token_name(TokenKind kind) {
  switch (kind) {
    case TokenKind::kEnd:
      return "end of input";
    case TokenKind::kWord:
      return "a name";
    case TokenKind::kNumber:
      return "a number";
    case TokenKind::kDuration:
      return "a duration";
    case TokenKind::kString:
      return "a string";
    default:
      for (const Symbol& symbol : kSymbols) {
        if (symbol.kind == kind) {
          return symbol.text;
        }
      }
      return "?";
  }
}

Result<std::vector<Token>> tokenize(std::string_view text) {
  Lexer lexer(text);
  std::vector<Token> tokens;
  do {
    const auto token = lexer.next();
    if (!token) {
      return parse_error(text, lexer.failure().offset, lexer.failure().what);
    }
    tokens.push_back(*token);
  } while (tokens.back().kind != TokenKind::kEnd);
  return tokens;
}

tl::expected<std::string, UnquoteError> unquote(std::string_view literal) {
  LAMBDA_ASSERT(literal.size() >= 2);
  const char quote = literal[0];
  const std::string_view inside = literal.substr(1, literal.size() - 2);
  if (quote == '`') {
    return std::string(inside);
  }
  std::string out;
  for (size_t at = 0; at < inside.size();) {
    if (inside[at] != '\\') {
      out += inside[at++];
      continue;
    }
    const size_t start = at++;
    LAMBDA_ASSERT(at < inside.size());  // a backslash before the closing quote would have escaped it
    if (std::string what = append_escape(inside, quote, at, out); !what.empty()) {
      return tl::unexpected(UnquoteError{start + 1, std::move(what)});
    }
  }
  return out;
}

tl::unexpected<Error> parse_error(std::string_view text, size_t offset, const std::string& what) {
  const std::string_view before = text.substr(0, offset);
  const auto line = 1 + std::count(before.begin(), before.end(), '\n');
  const size_t newline = before.rfind('\n');
  const size_t column = newline == std::string_view::npos ? offset + 1 : offset - newline;
  return fail(ErrorCode::kInvalid, std::to_string(line) + ":" + std::to_string(column) + ": parse error: " + what);
}

}  // namespace lambda::query
