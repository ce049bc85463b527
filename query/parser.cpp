#include "query/parser.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "query/duration.h"
#include "query/labels.h"
#include "query/lexer.h"
#include "query/number.h"
#include "query/parser_state.h"
#include "query/support.h"

namespace lambda::query {
namespace {

struct OperatorRank {
  BinaryOp op;
  int rank;  // higher binds tighter
};

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

}  // namespace

std::string lower_case(std::string_view word) {
  std::string out(word);
  std::ranges::transform(out, out.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c | 0x20) : c; });
  return out;
}

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
  if (skip_word("bool")) {
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
    return !fill_follows();
  }
  node.on = lower_case(take().text) == "on";
  auto labels = parse_names();
  if (!labels) {
    return false;
  }
  node.labels = std::move(*labels);
  if (!next_is_word("group_left") && !next_is_word("group_right")) {
    return !fill_follows();
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
  return !fill_follows();
}

// fill(0) and its kin, of Prometheus 3.9: values for what has no match. A failure when they are there.
bool Parser::fill_follows() {
  for (const std::string_view word : {"fill", "fill_left", "fill_right"}) {
    if (next_is_word(word) && peek(1).kind == TokenKind::kLeftParen) {
      refused(peek().offset, "the modifier " + std::string(word));
      return true;
    }
  }
  return false;
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
  if (!skip(TokenKind::kSubtract) && !skip(TokenKind::kAdd)) {
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
    } else if (next_is_word("anchored") || next_is_word("smoothed")) {
      return refused(peek().offset, "the modifier " + lower_case(peek().text));
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
  if (skip(TokenKind::kColon)) {
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
  const bool minus = skip(TokenKind::kSubtract);
  if (!minus) {
    skip(TokenKind::kAdd);
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
  const bool minus = skip(TokenKind::kSubtract);
  if (!minus) {
    skip(TokenKind::kAdd);
  }
  if (peek().kind != TokenKind::kNumber && peek().kind != TokenKind::kDuration) {
    return unexpected("behind @, expected seconds since 1970, start() or end()");
  }
  const Token number = take();  // or a duration, since then
  const auto time_ms =
      number.kind == TokenKind::kDuration ? parse_duration_ms(number.text) : parse_time_ms(number.text);
  if (!time_ms) {
    return failed(number.offset, quoted(number.text) + " is out of the range of times");
  }
  shift->anchor = TimeShift::Anchor::kTime;
  shift->anchor_ms = minus ? -*time_ms : *time_ms;
  return inner;
}

std::optional<int64_t> Parser::parse_duration(bool zero_allowed) {
  const bool in_brackets = !zero_allowed;  // behind offset an operator is one between vectors
  const Token token = peek();
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
  } else if (token.kind == TokenKind::kLeftParen ||
             (token.kind == TokenKind::kWord && peek(1).kind == TokenKind::kLeftParen) ||
             (in_brackets && (token.kind == TokenKind::kAdd || token.kind == TokenKind::kSubtract))) {
    refused(token.offset, "arithmetic with durations");
    return std::nullopt;
  } else {
    unexpected("where a duration is expected");
    return std::nullopt;
  }
  if (duration_ms == 0 && !zero_allowed) {
    failed(token.offset, "the duration must be greater than 0");
    return std::nullopt;
  }
  take();
  switch (peek().kind) {
    case TokenKind::kAdd:
    case TokenKind::kSubtract:
    case TokenKind::kMultiply:
    case TokenKind::kDivide:
    case TokenKind::kModulo:
    case TokenKind::kPower:
      if (in_brackets) {
        refused(token.offset, "arithmetic with durations");
        return std::nullopt;
      }
      break;
    default:
      break;
  }
  return duration_ms;
}

namespace {

void place(Expression& expression, const std::vector<size_t>& line_starts) {
  const auto behind = std::ranges::upper_bound(line_starts, expression.offset);
  expression.line = static_cast<uint32_t>(behind - line_starts.begin());
  expression.column = static_cast<uint32_t>(expression.offset - *(behind - 1) + 1);
  for (Expression* child : children(expression)) {
    place(*child, line_starts);
  }
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
    auto error = parse_error(text, parser.failure_offset(), parser.failure());
    if (parser.unsupported()) {
      error.value().code = ErrorCode::kUnsupported;
    }
    return error;
  }
  std::vector<size_t> line_starts{0};
  for (size_t at = text.find('\n'); at != std::string_view::npos; at = text.find('\n', at + 1)) {
    line_starts.push_back(at + 1);
  }
  place(*whole, line_starts);
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
