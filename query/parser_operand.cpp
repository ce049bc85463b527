// Operands of an expression: see parser_state.h.
#include <algorithm>
#include <optional>
#include <utility>

#include "query/duration.h"
#include "query/labels.h"
#include "query/matcher.h"
#include "query/number.h"
#include "query/parser_state.h"

namespace lambda::query {
namespace {

// Words that cannot be a metric's name where an expression begins.
bool is_reserved(std::string_view lower) {
  static constexpr std::string_view kReserved[] = {"bool", "on", "ignoring", "group_left", "group_right"};
  return std::ranges::find(kReserved, lower) != std::end(kReserved);
}

uint32_t depth_of(const std::vector<ExpressionPtr>& arguments) {
  uint32_t depth = 0;
  for (const ExpressionPtr& argument : arguments) {
    depth = std::max(depth, argument->depth);
  }
  return depth;
}

}  // namespace

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
    case TokenKind::kDivide:
      if (at_ > 0 && (tokens_[at_ - 1].kind == TokenKind::kLess || tokens_[at_ - 1].kind == TokenKind::kGreater)) {
        return refused(tokens_[at_ - 1].offset, "the operator " + std::string(tokens_[at_ - 1].text) + "/");
      }
      return unexpected("where an expression is expected");
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
  if (skip(TokenKind::kLeftBrace)) {
    while (peek().kind != TokenKind::kRightBrace) {
      if (!parse_matcher(matchers)) {
        return nullptr;
      }
      if (!skip(TokenKind::kComma) && peek().kind != TokenKind::kRightBrace) {
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
  if (skip(TokenKind::kRightParen)) {
    return true;
  }
  do {
    arguments.push_back(parse_binary(kRankLowest));
    if (!arguments.back()) {
      return false;
    }
  } while (skip(TokenKind::kComma));
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

ExpressionPtr Parser::parse_call() {
  const Token name = take();
  if (name.text == "info" || name.text == "start_timestamp") {  // info() takes selectors that nothing else takes
    return refused(name.offset, "function " + std::string(name.text));
  }
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
    if (!skip(TokenKind::kComma) && peek().kind != TokenKind::kRightParen) {
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

}  // namespace lambda::query
