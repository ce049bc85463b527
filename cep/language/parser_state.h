// What the parts of the parser share: the tokens, the place, the first error. Not for others than parser*.cpp.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cep/language/ast.h"
#include "cep/language/lexer.h"

namespace lambda::cep {

std::string upper_case(std::string_view text);

// Every method may be called after an error: it then returns something empty and reads nothing, so that callers need
// not look after each step.
class ParserState {
 public:
  ParserState(std::string_view text, const std::vector<Token>& tokens) : text_(text), tokens_(tokens) {}

  bool failed() const { return error_.has_value(); }
  const std::optional<Diagnostic>& error() const { return error_; }
  void clear_error() { error_.reset(); }
  void fail(Position at, std::string text) {
    if (!error_) {
      error_ = Diagnostic{at, std::move(text)};
    }
  }
  void fail_expected(std::string_view what);

  const Token& token(size_t ahead = 0) const { return tokens_[std::min(next_ + ahead, tokens_.size() - 1)]; }
  bool at_end() const { return token().kind == TokenKind::kEnd; }
  void advance() { next_ += next_ + 1 < tokens_.size() ? 1 : 0; }

  bool is_symbol(std::string_view symbol, size_t ahead = 0) const {
    return token(ahead).kind == TokenKind::kSymbol && token(ahead).text == symbol;
  }
  // `word` in capitals.
  bool is_word(std::string_view word, size_t ahead = 0) const {
    return token(ahead).kind == TokenKind::kWord && upper_case(token(ahead).text) == word;
  }
  bool take_symbol(std::string_view symbol);
  bool take_word(std::string_view word);
  void need_symbol(std::string_view symbol, std::string_view why = "");
  void need_word(std::string_view word);

  // A name that is not reserved, or any between quotes.
  bool is_name(size_t ahead = 0) const;
  ast::Name need_name(std::string_view what);
  int64_t need_duration(std::string_view what);                // > 0 ms
  int64_t need_count(std::string_view what, int64_t min = 1);  // a whole number

  // From token `first` to before the next one, without blanks.
  std::string text_since(size_t first) const;
  size_t index() const { return next_; }

  ast::ExprPtr expression();

  int depth = 0;  // of nesting, at most kNestingMax

 private:
  std::string_view text_;
  const std::vector<Token>& tokens_;
  size_t next_ = 0;
  std::optional<Diagnostic> error_;
};

// `FROM PATTERN` has been read.
ast::Pattern parse_pattern(ParserState& in);

}  // namespace lambda::cep
