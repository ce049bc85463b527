// The parser's inside: recursive descent over the tokens. parser.cpp has operators and what stands behind an operand,
// parser_operand.cpp the operands: selectors, calls, aggregations, literals.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "query/expression.h"
#include "query/labels.h"
#include "query/lexer.h"
#include "query/parser.h"
#include "query/signatures.h"

namespace lambda::query {

inline constexpr int kRankLowest = 1;  // of operators: higher binds tighter
inline constexpr int kRankPower = 6;

std::string lower_case(std::string_view word);

// Recursive descent. Every method returns null (or false) after the first failure, which stays in failure_.
class Parser {
 public:
  explicit Parser(std::vector<Token> tokens) : tokens_(std::move(tokens)) {}

  ExpressionPtr parse_all() {
    if (peek().kind == TokenKind::kEnd) {
      return failed(0, "there is no expression");
    }
    ExpressionPtr whole = parse_binary(kRankLowest);
    if (whole && peek().kind != TokenKind::kEnd) {
      return unexpected("after the expression");
    }
    return whole;
  }

  size_t failure_offset() const { return failure_offset_; }
  bool unsupported() const { return unsupported_; }  // the failure is about what Prometheus can read
  const std::string& failure() const { return failure_; }

 private:
  // --- tokens ---
  const Token& peek(size_t ahead = 0) const { return tokens_[std::min(at_ + ahead, tokens_.size() - 1)]; }
  Token take() { return tokens_[at_ + 1 < tokens_.size() ? at_++ : at_]; }
  bool skip(TokenKind kind) {
    if (peek().kind != kind) {
      return false;
    }
    take();
    return true;
  }
  bool next_is_word(std::string_view lower, size_t ahead = 0) const {
    return peek(ahead).kind == TokenKind::kWord && lower_case(peek(ahead).text) == lower;
  }
  bool skip_word(std::string_view lower) {
    if (!next_is_word(lower)) {
      return false;
    }
    take();
    return true;
  }
  bool expect(TokenKind kind, const std::string& where) {
    if (!skip(kind)) {
      unexpected(where + ", expected " + quoted(token_name(kind)));
      return false;
    }
    return true;
  }

  // --- failures ---
  std::nullptr_t failed(size_t offset, std::string what) {
    if (failure_.empty()) {
      failure_offset_ = offset;
      failure_ = std::move(what);
    }
    return nullptr;
  }
  // Prometheus reads it, we do not: `what` is its name.
  std::nullptr_t refused(size_t offset, const std::string& what) {
    unsupported_ = unsupported_ || failure_.empty();
    return failed(offset, what + " is not supported");
  }
  std::nullptr_t unexpected(const std::string& where) {
    const Token& token = peek();
    const std::string what = token.kind == TokenKind::kEnd ? std::string(token_name(token.kind)) : quoted(token.text);
    return failed(token.offset, "unexpected " + what + " " + where);
  }

  // --- nodes ---
  template <class Node>
  ExpressionPtr make(size_t offset, ExpressionType type, uint32_t depth, Node node) {
    if (depth > kExpressionDepthMax) {
      return failed(offset, "the expression is deeper than " + std::to_string(kExpressionDepthMax) + " levels");
    }
    return std::make_unique<Expression>(Expression{offset, type, depth, std::move(node)});
  }

  ExpressionPtr parse_binary(int rank_min);
  ExpressionPtr parse_unary();
  ExpressionPtr parse_postfix();
  ExpressionPtr parse_primary();
  ExpressionPtr parse_word();
  ExpressionPtr parse_string();
  ExpressionPtr parse_call();
  ExpressionPtr parse_aggregation();
  ExpressionPtr parse_selector(std::string name, size_t offset);
  ExpressionPtr parse_range(ExpressionPtr inner);
  ExpressionPtr parse_offset(ExpressionPtr inner);
  ExpressionPtr parse_at(ExpressionPtr inner);
  ExpressionPtr make_binary(size_t offset, Binary node);
  bool parse_binary_modifiers(Binary& node);
  bool fill_follows();
  bool parse_matcher(std::vector<Matcher>& matchers);
  bool parse_arguments(std::vector<ExpressionPtr>& arguments);
  bool check_call(const Signature& signature, size_t offset, const std::vector<ExpressionPtr>& arguments);
  std::optional<std::vector<std::string>> parse_names();
  std::optional<std::string> parse_string_value();
  std::optional<int64_t> parse_duration(bool zero_allowed);
  TimeShift* shift_of(Expression& expression);

  std::vector<Token> tokens_;
  size_t at_ = 0;
  uint32_t nesting_ = 0;  // parse_binary() calls on the stack
  std::string failure_;
  size_t failure_offset_ = 0;
  bool unsupported_ = false;
};

}  // namespace lambda::query
