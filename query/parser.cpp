#include "query/parser.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "query/duration.h"
#include "query/labels.h"
#include "query/lexer.h"
#include "query/matcher.h"
#include "query/number.h"
#include "query/signatures.h"

namespace lambda::query {
namespace {

std::string lower_case(std::string_view word) {
  std::string out(word);
  std::ranges::transform(out, out.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; });
  return out;
}

struct OperatorRank {
  BinaryOp op;
  int rank;  // higher binds tighter
};
constexpr int kRankLowest = 1;
constexpr int kRankPower = 6;

std::optional<OperatorRank> binary_operator(const Token& token) {
  switch (token.kind) {
    case TokenKind::kAdd:
      return OperatorRank{BinaryOp::kAdd, 4};
    case TokenKind::kSubtract:
      return OperatorRank{BinaryOp::kSubtract, 4};
    case TokenKind::kMultiply:
      return OperatorRank{BinaryOp::kMultiply, 5};
    case TokenKind::kDivide:
      return OperatorRank{BinaryOp::kDivide, 5};
    case TokenKind::kModulo:
      return OperatorRank{BinaryOp::kModulo, 5};
    case TokenKind::kPower:
      return OperatorRank{BinaryOp::kPower, kRankPower};
    case TokenKind::kEqual:
      return OperatorRank{BinaryOp::kEqual, 3};
    case TokenKind::kNotEqual:
      return OperatorRank{BinaryOp::kNotEqual, 3};
    case TokenKind::kLess:
      return OperatorRank{BinaryOp::kLess, 3};
    case TokenKind::kLessEqual:
      return OperatorRank{BinaryOp::kLessEqual, 3};
    case TokenKind::kGreater:
      return OperatorRank{BinaryOp::kGreater, 3};
    case TokenKind::kGreaterEqual:
      return OperatorRank{BinaryOp::kGreaterEqual, 3};
    case TokenKind::kWord: {
      const std::string word = lower_case(token.text);
      if (word == "and") return OperatorRank{BinaryOp::kAnd, 2};
      if (word == "unless") return OperatorRank{BinaryOp::kUnless, 2};
      if (word == "or") return OperatorRank{BinaryOp::kOr, kRankLowest};
      if (word == "atan2") return OperatorRank{BinaryOp::kAtan2, 5};
      return std::nullopt;
    }
    default:
      return std::nullopt;
  }
}

// Words that cannot be a metric's name where an expression begins.
bool is_reserved(std::string_view lower) {
  static constexpr std::string_view kReserved[] = {"bool", "on", "ignoring", "group_left", "group_right"};
  return std::ranges::find(kReserved, lower) != std::end(kReserved);
}

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
  const std::string& failure() const { return failure_; }

 private:
  // --- tokens ---
  const Token& peek(size_t ahead = 0) const { return tokens_[std::min(at_ + ahead, tokens_.size() - 1)]; }
  Token take() { return tokens_[at_ + 1 < tokens_.size() ? at_++ : at_]; }
  bool accept(TokenKind kind) {
    if (peek().kind != kind) {
      return false;
    }
    take();
    return true;
  }
  bool next_is_word(std::string_view lower, size_t ahead = 0) const {
    return peek(ahead).kind == TokenKind::kWord && lower_case(peek(ahead).text) == lower;
  }
  bool accept_word(std::string_view lower) {
    if (!next_is_word(lower)) {
      return false;
    }
    take();
    return true;
  }
  bool expect(TokenKind kind, const std::string& where) {
    if (!accept(kind)) {
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
};

ExpressionPtr Parser::parse_binary(int rank_min) {
  if (nesting_ >= kExpressionDepthMax) {
    return failed(peek().offset, "the expression is deeper than " + std::to_string(kExpressionDepthMax) + " levels");
  }
  ++nesting_;
  ExpressionPtr left = parse_unary();
  while (left) {
    const auto found = binary_operator(peek());
    if (!found || found->rank < rank_min) {
      break;
    }
    const size_t operator_offset = take().offset;
    Binary node{.op = found->op, .left = std::move(left), .right = nullptr, .labels = {}, .included = {}};
    if (!parse_binary_modifiers(node)) {
      left = nullptr;
      break;
    }
    // A power is right-associative: 2^3^2 = 2^(3^2).
    node.right = parse_binary(found->op == BinaryOp::kPower ? found->rank : found->rank + 1);
    left = node.right ? make_binary(operator_offset, std::move(node)) : nullptr;
  }
  --nesting_;
  return left;
}

bool Parser::parse_binary_modifiers(Binary& node) {
  const size_t bool_offset = peek().offset;
  if (accept_word("bool")) {
    if (!is_comparison(node.op)) {
      failed(bool_offset, "bool is for comparisons only");
      return false;
    }
    node.return_bool = true;
  }
  if (is_set_operation(node.op)) {
    node.cardinality = Binary::Cardinality::kManyToMany;
  }
  if (!next_is_word("on") && !next_is_word("ignoring")) {
    return true;
  }
  node.on = lower_case(take().text) == "on";
  auto labels = parse_names();
  if (!labels) {
    return false;
  }
  node.labels = std::move(*labels);
  if (!next_is_word("group_left") && !next_is_word("group_right")) {
    return true;
  }
  const Token group = take();
  if (is_set_operation(node.op)) {
    failed(group.offset, "no grouping is allowed for " + quoted(symbol(node.op)));
    return false;
  }
  node.cardinality =
      lower_case(group.text) == "group_left" ? Binary::Cardinality::kManyToOne : Binary::Cardinality::kOneToMany;
  if (peek().kind == TokenKind::kLeftParen) {
    auto included = parse_names();
    if (!included) {
      return false;
    }
    node.included = std::move(*included);
  }
  for (const std::string& name : node.included) {
    if (node.on && std::ranges::find(node.labels, name) != node.labels.end()) {
      failed(group.offset, "label " + quoted(name) + " must not be in both on and group clause");
      return false;
    }
  }
  return true;
}

ExpressionPtr Parser::make_binary(size_t offset, Binary node) {
  const ExpressionType left = node.left->type;
  const ExpressionType right = node.right->type;
  for (const Expression* side : {node.left.get(), node.right.get()}) {
    if (side->type != ExpressionType::kScalar && side->type != ExpressionType::kVector) {
      return failed(side->offset, "operator " + quoted(symbol(node.op)) + " takes scalars and instant vectors, not " +
                                      std::string(type_name(side->type)));
    }
  }
  const bool scalars = left == ExpressionType::kScalar && right == ExpressionType::kScalar;
  const bool vectors = left == ExpressionType::kVector && right == ExpressionType::kVector;
  if (scalars && is_comparison(node.op) && !node.return_bool) {
    return failed(offset, "comparisons between scalars must use bool");
  }
  if (!vectors && is_set_operation(node.op)) {
    return failed(offset, "operator " + quoted(symbol(node.op)) + " takes two instant vectors");
  }
  if (!vectors && (node.on || !node.labels.empty())) {
    return failed(offset, "vector matching is only allowed between instant vectors");
  }
  const uint32_t depth = 1 + std::max(node.left->depth, node.right->depth);
  const size_t start = node.left->offset;
  return make(start, scalars ? ExpressionType::kScalar : ExpressionType::kVector, depth, std::move(node));
}

ExpressionPtr Parser::parse_unary() {
  const size_t offset = peek().offset;
  const bool minus = peek().kind == TokenKind::kSubtract;
  if (!accept(TokenKind::kSubtract) && !accept(TokenKind::kAdd)) {
    return parse_postfix();
  }
  // Binds less tightly than a power, more tightly than a product: -2^2 = -4.
  ExpressionPtr inner = parse_binary(kRankPower);
  if (!inner) {
    return nullptr;
  }
  if (inner->type != ExpressionType::kScalar && inner->type != ExpressionType::kVector) {
    return failed(offset, "a sign takes a scalar or an instant vector, not " + std::string(type_name(inner->type)));
  }
  if (!minus) {
    return inner;
  }
  const ExpressionType type = inner->type;
  const uint32_t depth = inner->depth + 1;
  return make(offset, type, depth, Negation{std::move(inner)});
}

ExpressionPtr Parser::parse_postfix() {
  ExpressionPtr expression = parse_primary();
  while (expression) {
    if (peek().kind == TokenKind::kLeftBracket) {
      expression = parse_range(std::move(expression));
    } else if (next_is_word("offset")) {
      expression = parse_offset(std::move(expression));
    } else if (peek().kind == TokenKind::kAt) {
      expression = parse_at(std::move(expression));
    } else {
      break;
    }
  }
  return expression;
}

ExpressionPtr Parser::parse_range(ExpressionPtr inner) {
  const size_t bracket = take().offset;
  const auto range_ms = parse_duration(false);
  if (!range_ms) {
    return nullptr;
  }
  if (accept(TokenKind::kColon)) {
    int64_t step_ms = 0;
    if (peek().kind != TokenKind::kRightBracket) {
      const auto step = parse_duration(false);
      if (!step) {
        return nullptr;
      }
      step_ms = *step;
    }
    if (!expect(TokenKind::kRightBracket, "in a subquery")) {
      return nullptr;
    }
    if (inner->type != ExpressionType::kVector) {
      return failed(bracket, "a subquery takes an instant vector, not " + std::string(type_name(inner->type)));
    }
    const size_t offset = inner->offset;
    const uint32_t depth = inner->depth + 1;
    return make(offset, ExpressionType::kMatrix, depth, Subquery{std::move(inner), {}, *range_ms, step_ms});
  }
  if (!expect(TokenKind::kRightBracket, "in a range")) {
    return nullptr;
  }
  auto* selector = std::get_if<VectorSelector>(&inner->node);
  if (selector == nullptr) {
    return failed(bracket, "a range stands only behind a selector; use a subquery such as [5m:1m]");
  }
  if (selector->shift.offset_ms != 0 || selector->shift.anchor != TimeShift::Anchor::kNone) {
    return failed(bracket, "offset and @ stand behind the range");
  }
  return make(inner->offset, ExpressionType::kMatrix, 1, MatrixSelector{std::move(selector->matchers), {}, *range_ms});
}

TimeShift* Parser::shift_of(Expression& expression) {
  if (auto* vector = std::get_if<VectorSelector>(&expression.node)) return &vector->shift;
  if (auto* matrix = std::get_if<MatrixSelector>(&expression.node)) return &matrix->shift;
  if (auto* subquery = std::get_if<Subquery>(&expression.node)) return &subquery->shift;
  return nullptr;
}

ExpressionPtr Parser::parse_offset(ExpressionPtr inner) {
  const size_t offset = take().offset;
  const bool minus = accept(TokenKind::kSubtract);
  if (!minus) {
    accept(TokenKind::kAdd);
  }
  const auto duration_ms = parse_duration(true);
  if (!duration_ms) {
    return nullptr;
  }
  TimeShift* shift = shift_of(*inner);
  if (shift == nullptr) {
    return failed(offset, "offset stands only behind a selector or a subquery");
  }
  if (shift->offset_ms != 0) {
    return failed(offset, "offset may stand only once");
  }
  shift->offset_ms = minus ? -*duration_ms : *duration_ms;
  return inner;
}

ExpressionPtr Parser::parse_at(ExpressionPtr inner) {
  const size_t offset = take().offset;
  TimeShift* shift = shift_of(*inner);
  if (shift == nullptr) {
    return failed(offset, "@ stands only behind a selector or a subquery");
  }
  if (shift->anchor != TimeShift::Anchor::kNone) {
    return failed(offset, "@ may stand only once");
  }
  if ((next_is_word("start") || next_is_word("end")) && peek(1).kind == TokenKind::kLeftParen) {
    shift->anchor = next_is_word("start") ? TimeShift::Anchor::kStart : TimeShift::Anchor::kEnd;
    take();
    take();
    return expect(TokenKind::kRightParen, "behind @") ? std::move(inner) : nullptr;
  }
  const bool minus = accept(TokenKind::kSubtract);
  if (!minus) {
    accept(TokenKind::kAdd);
  }
  if (peek().kind != TokenKind::kNumber) {
    return unexpected("behind @, expected seconds since 1970, start() or end()");
  }
  const Token number = take();
  const auto time_ms = parse_time_ms(number.text);
  if (!time_ms) {
    return failed(number.offset, quoted(number.text) + " is out of the range of times");
  }
  shift->anchor = TimeShift::Anchor::kTime;
  shift->anchor_ms = minus ? -*time_ms : *time_ms;
  return inner;
}

std::optional<int64_t> Parser::parse_duration(bool zero_allowed) {
  const Token& token = peek();
  int64_t duration_ms = 0;
  if (token.kind == TokenKind::kDuration) {
    duration_ms = parse_duration_ms(token.text).value();
  } else if (token.kind == TokenKind::kNumber) {  // seconds
    const double ms = std::round(parse_number(token.text).value() * 1000);
    if (!(ms >= 0 && ms <= static_cast<double>(kDurationMsMax))) {
      failed(token.offset, quoted(token.text) + " is out of the range of durations");
      return std::nullopt;
    }
    duration_ms = static_cast<int64_t>(ms);
  } else {
    unexpected("where a duration is expected");
    return std::nullopt;
  }
  if (duration_ms == 0 && !zero_allowed) {
    failed(token.offset, "the duration must be greater than 0");
    return std::nullopt;
  }
  take();
  return duration_ms;
}

ExpressionPtr Parser::parse_primary() {
  const Token& token = peek();
  switch (token.kind) {
    case TokenKind::kNumber: {
      const size_t offset = token.offset;
      return make(offset, ExpressionType::kScalar, 1, NumberLiteral{parse_number(take().text).value()});
    }
    case TokenKind::kDuration: {  // 5m is 300
      const size_t offset = token.offset;
      const auto ms = static_cast<double>(parse_duration_ms(take().text).value());
      return make(offset, ExpressionType::kScalar, 1, NumberLiteral{ms / 1000});
    }
    case TokenKind::kString:
      return parse_string();
    case TokenKind::kLeftBrace:
      return parse_selector({}, token.offset);
    case TokenKind::kWord:
      return parse_word();
    case TokenKind::kLeftParen: {
      const size_t offset = take().offset;
      ExpressionPtr inner = parse_binary(kRankLowest);
      if (!inner || !expect(TokenKind::kRightParen, "in parentheses")) {
        return nullptr;
      }
      const ExpressionType type = inner->type;
      const uint32_t depth = inner->depth + 1;
      return make(offset, type, depth, Parentheses{std::move(inner)});
    }
    default:
      return unexpected("where an expression is expected");
  }
}

ExpressionPtr Parser::parse_word() {
  const Token& token = peek();
  const std::string lower = lower_case(token.text);
  const bool before_paren = peek(1).kind == TokenKind::kLeftParen;
  if (is_aggregation(lower) && (before_paren || next_is_word("by", 1) || next_is_word("without", 1))) {
    return parse_aggregation();
  }
  if (before_paren) {
    return parse_call();
  }
  if (lower == "inf" || lower == "nan") {
    const size_t offset = token.offset;
    return make(offset, ExpressionType::kScalar, 1, NumberLiteral{parse_number(take().text).value()});
  }
  if (is_reserved(lower)) {
    return unexpected("where an expression is expected");
  }
  const Token name = take();
  return parse_selector(std::string(name.text), name.offset);
}

ExpressionPtr Parser::parse_string() {
  const size_t offset = peek().offset;
  auto value = parse_string_value();
  if (!value) {
    return nullptr;
  }
  return make(offset, ExpressionType::kString, 1, StringLiteral{std::move(*value)});
}

std::optional<std::string> Parser::parse_string_value() {
  if (peek().kind != TokenKind::kString) {
    unexpected("where a string is expected");
    return std::nullopt;
  }
  const Token token = take();
  auto value = unquote(token.text);
  if (!value) {
    failed(token.offset + value.error().offset, value.error().what);
    return std::nullopt;
  }
  return std::move(*value);
}

bool Parser::parse_matcher(std::vector<Matcher>& matchers) {
  Matcher matcher;
  const Token name = peek();
  if (name.kind == TokenKind::kString) {
    auto value = parse_string_value();
    if (!value) {
      return false;
    }
    const bool alone = peek().kind == TokenKind::kComma || peek().kind == TokenKind::kRightBrace;
    if (alone) {  // {"metric.name", ...}
      matchers.push_back({std::string(kMetricName), MatchOp::kEqual, std::move(*value)});
      return true;
    }
    matcher.label = std::move(*value);
  } else if (name.kind == TokenKind::kWord) {
    take();
    matcher.label = name.text;
    if (!is_plain_label_name(matcher.label)) {
      failed(name.offset, quoted(matcher.label) + " is not a label name; put it in quotes");
      return false;
    }
  } else {
    unexpected("in a selector, expected a label name or \"}\"");
    return false;
  }
  switch (peek().kind) {
    case TokenKind::kAssign:
      matcher.op = MatchOp::kEqual;
      break;
    case TokenKind::kNotEqual:
      matcher.op = MatchOp::kNotEqual;
      break;
    case TokenKind::kMatch:
      matcher.op = MatchOp::kRegex;
      break;
    case TokenKind::kNotMatch:
      matcher.op = MatchOp::kNotRegex;
      break;
    default:
      unexpected("in a selector, expected one of = != =~ !~");
      return false;
  }
  take();
  const size_t value_offset = peek().offset;
  auto value = parse_string_value();
  if (!value) {
    return false;
  }
  matcher.value = std::move(*value);
  if (const auto valid = check_matchers({matcher}); !valid) {
    failed(value_offset, valid.error().text);
    return false;
  }
  matchers.push_back(std::move(matcher));
  return true;
}

ExpressionPtr Parser::parse_selector(std::string name, size_t offset) {
  std::vector<Matcher> matchers;
  if (!name.empty()) {
    matchers.push_back({std::string(kMetricName), MatchOp::kEqual, std::move(name)});
  }
  const bool named = !matchers.empty();
  if (accept(TokenKind::kLeftBrace)) {
    while (peek().kind != TokenKind::kRightBrace) {
      if (!parse_matcher(matchers)) {
        return nullptr;
      }
      if (!accept(TokenKind::kComma) && peek().kind != TokenKind::kRightBrace) {
        return unexpected("in a selector, expected \",\" or \"}\"");
      }
    }
    take();
  }
  for (size_t i = 1; named && i < matchers.size(); ++i) {
    if (matchers[i].label == kMetricName && matchers[i].op == MatchOp::kEqual) {
      return failed(
          offset, "the metric name is given twice: " + quoted(matchers[0].value) + " and " + quoted(matchers[i].value));
    }
  }
  if (std::ranges::all_of(matchers, matches_empty)) {
    return failed(offset, "a selector needs at least one matcher that does not match the empty string");
  }
  return make(offset, ExpressionType::kVector, 1, VectorSelector{std::move(matchers), {}});
}

bool Parser::parse_arguments(std::vector<ExpressionPtr>& arguments) {
  if (!expect(TokenKind::kLeftParen, "before arguments")) {
    return false;
  }
  if (accept(TokenKind::kRightParen)) {
    return true;
  }
  do {
    arguments.push_back(parse_binary(kRankLowest));
    if (!arguments.back()) {
      return false;
    }
  } while (accept(TokenKind::kComma));
  return expect(TokenKind::kRightParen, "in arguments");
}

bool Parser::check_call(const Signature& signature, size_t offset, const std::vector<ExpressionPtr>& arguments) {
  const size_t least = arguments_min(signature);
  const size_t most = arguments_max(signature);
  if (arguments.size() < least || arguments.size() > most) {
    const std::string wanted = least == most      ? std::to_string(least)
                               : most == SIZE_MAX ? "at least " + std::to_string(least)
                                                  : std::to_string(least) + " to " + std::to_string(most);
    failed(offset, "function " + std::string(signature.name) + " takes " + wanted + " arguments, not " +
                       std::to_string(arguments.size()));
    return false;
  }
  for (size_t i = 0; i < arguments.size(); ++i) {
    const ExpressionType wanted = argument_type(signature, i);
    if (arguments[i]->type != wanted) {
      failed(arguments[i]->offset, "function " + std::string(signature.name) + " takes " +
                                       std::string(type_name(wanted)) + " here, not " +
                                       std::string(type_name(arguments[i]->type)));
      return false;
    }
  }
  return true;
}

uint32_t depth_of(const std::vector<ExpressionPtr>& arguments) {
  uint32_t depth = 0;
  for (const ExpressionPtr& argument : arguments) {
    depth = std::max(depth, argument->depth);
  }
  return depth;
}

ExpressionPtr Parser::parse_call() {
  const Token name = take();
  const Signature* signature = find_function(name.text);
  if (signature == nullptr) {
    return failed(name.offset, "there is no function " + quoted(name.text));
  }
  std::vector<ExpressionPtr> arguments;
  if (!parse_arguments(arguments) || !check_call(*signature, name.offset, arguments)) {
    return nullptr;
  }
  const uint32_t depth = 1 + depth_of(arguments);
  return make(name.offset, result_type(*signature), depth, Call{std::string(name.text), std::move(arguments)});
}

std::optional<std::vector<std::string>> Parser::parse_names() {
  if (!expect(TokenKind::kLeftParen, "before label names")) {
    return std::nullopt;
  }
  std::vector<std::string> names;
  while (peek().kind != TokenKind::kRightParen) {
    if (peek().kind == TokenKind::kString) {
      auto value = parse_string_value();
      if (!value) {
        return std::nullopt;
      }
      names.push_back(std::move(*value));
    } else if (peek().kind == TokenKind::kWord && is_plain_label_name(peek().text)) {
      names.emplace_back(take().text);
    } else {
      unexpected("in a list of label names");
      return std::nullopt;
    }
    if (!accept(TokenKind::kComma) && peek().kind != TokenKind::kRightParen) {
      unexpected("in a list of label names, expected \",\" or \")\"");
      return std::nullopt;
    }
  }
  take();
  return names;
}

ExpressionPtr Parser::parse_aggregation() {
  const Token name = take();
  Aggregation node{.operation = lower_case(name.text), .parameter = nullptr, .inner = nullptr, .labels = {}};
  const auto parse_grouping = [&] {
    node.without = lower_case(take().text) == "without";
    auto labels = parse_names();
    if (labels) {
      node.labels = std::move(*labels);
    }
    return labels.has_value();
  };
  const auto grouping_follows = [&] { return next_is_word("by") || next_is_word("without"); };
  const bool grouped_first = grouping_follows();
  if (grouped_first && !parse_grouping()) {
    return nullptr;
  }
  std::vector<ExpressionPtr> arguments;
  if (!parse_arguments(arguments)) {
    return nullptr;
  }
  if (!grouped_first && grouping_follows() && !parse_grouping()) {
    return nullptr;
  }
  const auto parameter = aggregation_parameter(node.operation);
  const size_t wanted = parameter ? 2 : 1;
  if (arguments.size() != wanted) {
    return failed(name.offset, "aggregation " + node.operation + " takes " + std::to_string(wanted) +
                                   " arguments, not " + std::to_string(arguments.size()));
  }
  for (size_t i = 0; i < wanted; ++i) {
    const ExpressionType type = i + 1 == wanted ? ExpressionType::kVector : *parameter;
    if (arguments[i]->type != type) {
      return failed(arguments[i]->offset, "aggregation " + node.operation + " takes " + std::string(type_name(type)) +
                                              " here, not " + std::string(type_name(arguments[i]->type)));
    }
  }
  const uint32_t depth = 1 + depth_of(arguments);
  node.inner = std::move(arguments.back());
  if (parameter) {
    node.parameter = std::move(arguments.front());
  }
  return make(name.offset, ExpressionType::kVector, depth, std::move(node));
}

}  // namespace

Result<ExpressionPtr> parse_expression(std::string_view text) {
  if (text.size() > kExpressionBytesMax) {
    return fail(ErrorCode::kInvalid, "the expression has " + std::to_string(text.size()) + " bytes, at most " +
                                         std::to_string(kExpressionBytesMax) + " are read");
  }
  auto tokens = tokenize(text);
  if (!tokens) {
    return tl::unexpected(tokens.error());
  }
  Parser parser(std::move(*tokens));
  ExpressionPtr whole = parser.parse_all();
  if (!whole) {
    return parse_error(text, parser.failure_offset(), parser.failure());
  }
  return whole;
}

Result<std::vector<Matcher>> parse_selector(std::string_view text) {
  auto expression = parse_expression(text);
  if (!expression) {
    return tl::unexpected(expression.error());
  }
  auto* selector = std::get_if<VectorSelector>(&(*expression)->node);
  if (selector == nullptr || selector->shift.offset_ms != 0 || selector->shift.anchor != TimeShift::Anchor::kNone) {
    return parse_error(text, 0, "a plain selector such as up{job=\"a\"} is expected");
  }
  return std::move(selector->matchers);
}

}  // namespace lambda::query
