#include "cep/language/lexer.h"

#include <charconv>
#include <cmath>

namespace lambda::cep {
namespace {

bool is_digit(char c) {
  return c >= '0' && c <= '9';
}
bool is_letter(char c) {
  return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (c & 0x80) != 0;
}

struct Unit {
  std::string_view name;
  int64_t ms;
};
constexpr Unit kUnits[] = {{"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}, {"d", 86'400'000}};
constexpr double kDurationMsMax = 1e15;  // 30,000 years: sums with times stay far from the ends of 64 bits

class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) {}

  Tokens run() {
    while (skip_blanks(), at_ < text_.size()) {
      begin_ = at_;
      begin_position_ = here();
      next();
    }
    begin_ = at_;
    begin_position_ = here();
    add(TokenKind::kEnd, "");
    return std::move(out_);
  }

 private:
  Position here() const { return {line_, static_cast<uint32_t>(at_ - line_begin_ + 1)}; }
  char peek(size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }
  void step() {
    if (text_[at_++] == '\n') {
      ++line_;
      line_begin_ = at_;
    }
  }
  void fail(std::string text) { out_.errors.push_back({begin_position_, std::move(text)}); }

  Token& add(TokenKind kind, std::string content) {
    Token token;
    token.kind = kind;
    token.at = begin_position_;
    token.begin = static_cast<uint32_t>(begin_);
    token.end = static_cast<uint32_t>(at_);
    token.text = std::move(content);
    out_.tokens.push_back(std::move(token));
    return out_.tokens.back();
  }

  void skip_blanks() {
    while (at_ < text_.size()) {
      if (peek() == '-' && peek(1) == '-') {
        while (at_ < text_.size() && peek() != '\n') {
          step();
        }
      } else if (peek() == ' ' || peek() == '\t' || peek() == '\n' || peek() == '\r') {
        step();
      } else {
        return;
      }
    }
  }

  void next() {
    const char c = peek();
    if (c == '\'' || c == '"') {
      quoted(c);
    } else if (is_digit(c) || (c == '.' && is_digit(peek(1)))) {
      number();
    } else if (is_letter(c)) {
      while (is_letter(peek()) || is_digit(peek())) {
        step();
      }
      add(TokenKind::kWord, std::string(text_.substr(begin_, at_ - begin_)));
    } else {
      symbol();
    }
  }

  void quoted(char quote) {
    std::string content;
    step();
    for (;;) {
      if (at_ >= text_.size()) {
        fail(std::string("the ") + (quote == '"' ? "name" : "text") + " that begins here has no closing " + quote);
        return;
      }
      const char c = peek();
      step();
      if (c == quote) {
        if (peek() != quote) {
          break;
        }
        step();
      }
      content += c;
    }
    if (quote == '"' && content.empty()) {
      fail("a name between \" must not be empty");
      return;
    }
    add(quote == '"' ? TokenKind::kQuoted : TokenKind::kString, std::move(content));
  }

  void number() {
    bool whole = true;
    while (is_digit(peek())) {
      step();
    }
    if (peek() == '.' && is_digit(peek(1))) {
      whole = false;
      step();
      while (is_digit(peek())) {
        step();
      }
    }
    const bool sign = peek(1) == '-' || peek(1) == '+';
    if ((peek() == 'e' || peek() == 'E') && is_digit(peek(sign ? 2 : 1))) {
      whole = false;
      step();
      step();
      while (is_digit(peek())) {
        step();
      }
    }
    const size_t digits_end = at_;
    while (is_letter(peek()) || is_digit(peek())) {
      step();
    }
    const std::string_view digits = text_.substr(begin_, digits_end - begin_);
    const std::string_view unit = text_.substr(digits_end, at_ - digits_end);
    double d = 0;
    const bool fits = std::from_chars(digits.data(), digits.data() + digits.size(), d).ec == std::errc();
    if (!unit.empty()) {
      duration(d, unit);
      return;
    }
    Token& token = add(whole ? TokenKind::kInt : TokenKind::kDouble, std::string(digits));
    token.d = d;
    if (whole && std::from_chars(digits.data(), digits.data() + digits.size(), token.i).ec != std::errc()) {
      fail("the number " + std::string(digits) + " does not fit in 64 bits");
    }
    if (!whole && !fits) {
      fail("the number " + std::string(digits) + " is too large");
    }
  }

  void duration(double count, std::string_view unit) {
    for (const Unit& known : kUnits) {
      if (unit == known.name) {
        const double ms = count * static_cast<double>(known.ms);
        if (ms > kDurationMsMax) {
          fail("the duration is too long");
        } else if (ms != std::floor(ms)) {
          fail("a duration is a whole number of milliseconds");
        }
        Token& token = add(TokenKind::kDuration, std::string(text_.substr(begin_, at_ - begin_)));
        token.i = ms > kDurationMsMax ? 0 : static_cast<int64_t>(ms);
        return;
      }
    }
    fail("\"" + std::string(unit) + "\" is not a unit of time; expected ms, s, m, h or d");
  }

  void symbol() {
    static constexpr std::string_view kLong[] = {"->", "==", "!=", "<>", "<=", ">="};
    static constexpr std::string_view kShort = "()[]{},;.=<>+-*/%?";
    for (const std::string_view two : kLong) {
      if (text_.substr(at_, 2) == two) {
        step();
        step();
        add(TokenKind::kSymbol, std::string(two));
        return;
      }
    }
    const char c = peek();
    step();
    if (kShort.find(c) == std::string_view::npos) {
      const bool printable = c > ' ' && c < 127;
      fail(printable ? std::string("'") + c + "' has no meaning here" : "this byte has no meaning here");
      return;
    }
    add(TokenKind::kSymbol, std::string(1, c));
  }

  std::string_view text_;
  size_t at_ = 0;
  size_t begin_ = 0;
  Position begin_position_;
  uint32_t line_ = 1;
  size_t line_begin_ = 0;
  Tokens out_;
};

}  // namespace

Tokens read_tokens(std::string_view text) {
  return Lexer(text).run();
}

}  // namespace lambda::cep
