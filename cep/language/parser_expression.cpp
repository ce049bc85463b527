// Expressions, tightest first: unary -, * / %, + -, comparisons, NOT, AND, OR.
#include <algorithm>

#include "cep/language/parser.h"
#include "cep/language/parser_state.h"

namespace lambda::cep {
namespace {

using ast::Expr;
using ast::ExprKind;
using ast::ExprPtr;

class ExpressionParser {
 public:
  explicit ExpressionParser(ParserState& in) : in_(in) {}

  ExprPtr disjunction() {
    return chain("OR", [this] { return conjunction(); });
  }

 private:
  ExprPtr node(ExprKind kind, Position at) {
    auto expr = std::make_unique<Expr>();
    expr->kind = kind;
    expr->at = at;
    return expr;
  }
  ExprPtr nothing() { return node(ExprKind::kNull, in_.token().at); }

  ExprPtr finish(ExprPtr expr, size_t first) {
    expr->text = in_.text_since(first);
    return expr;
  }

  template <class Next>
  ExprPtr chain(std::string_view word, const Next& next) {
    const size_t first = in_.index();
    ExprPtr left = next();
    for (int links = 0; !in_.failed() && in_.is_word(word); ++links) {
      if (links >= kChainMax) {
        in_.fail(in_.token().at, "too many parts in one expression");
        break;
      }
      ExprPtr both = node(ExprKind::kBinary, in_.token().at);
      in_.advance();
      both->op = word;
      both->args.push_back(std::move(left));
      both->args.push_back(next());
      left = finish(std::move(both), first);
    }
    return left;
  }

  ExprPtr conjunction() {
    return chain("AND", [this] { return negation(); });
  }

  ExprPtr negation() {
    const size_t first = in_.index();
    if (in_.is_word("NOT")) {
      ExprPtr expr = node(ExprKind::kUnary, in_.token().at);
      in_.advance();
      expr->op = "NOT";
      if (!enter()) {
        return nothing();
      }
      expr->args.push_back(negation());
      --in_.depth;
      return finish(std::move(expr), first);
    }
    return comparison();
  }

  bool enter() {
    if (in_.depth >= kNestingMax) {
      in_.fail(in_.token().at, "nested more than " + std::to_string(kNestingMax) + " deep");
      return false;
    }
    ++in_.depth;
    return true;
  }

  ExprPtr comparison() {
    const size_t first = in_.index();
    ExprPtr left = additive();
    if (in_.failed()) {
      return left;
    }
    for (const std::string_view op : {"=", "==", "!=", "<>", "<", "<=", ">", ">="}) {
      if (in_.is_symbol(op)) {
        ExprPtr expr = node(ExprKind::kBinary, in_.token().at);
        in_.advance();
        expr->op = op == "==" ? "=" : op == "<>" ? "!=" : op;
        expr->args.push_back(std::move(left));
        expr->args.push_back(additive());
        refuse_chain();
        return finish(std::move(expr), first);
      }
    }
    if (in_.is_word("IS")) {
      return is_null(std::move(left), first);
    }
    const bool negated =
        in_.is_word("NOT") && (in_.is_word("LIKE", 1) || in_.is_word("IN", 1) || in_.is_word("BETWEEN", 1));
    const Position at = in_.token().at;
    if (negated) {
      in_.advance();
    }
    if (in_.take_word("LIKE")) {
      ExprPtr expr = test(ExprKind::kLike, at, std::move(left), negated);
      expr->args.push_back(additive());
      return finish(std::move(expr), first);
    }
    if (in_.take_word("IN")) {
      ExprPtr expr = test(ExprKind::kIn, at, std::move(left), negated);
      in_.need_symbol("(", " and a list after IN");
      do {
        expr->args.push_back(additive());
      } while (!in_.failed() && in_.take_symbol(","));
      in_.need_symbol(")", " or \",\" in the list");
      return finish(std::move(expr), first);
    }
    if (in_.take_word("BETWEEN")) {
      ExprPtr expr = test(ExprKind::kBetween, at, std::move(left), negated);
      expr->args.push_back(additive());
      in_.need_word("AND");
      expr->args.push_back(additive());
      return finish(std::move(expr), first);
    }
    return left;
  }

  ExprPtr test(ExprKind kind, Position at, ExprPtr value, bool negated) {
    ExprPtr expr = node(kind, at);
    expr->negated = negated;
    expr->args.push_back(std::move(value));
    return expr;
  }

  ExprPtr is_null(ExprPtr value, size_t first) {
    const Position at = in_.token().at;
    in_.advance();
    const bool negated = in_.take_word("NOT");
    in_.need_word("NULL");
    return finish(test(ExprKind::kIsNull, at, std::move(value), negated), first);
  }

  void refuse_chain() {
    for (const std::string_view op : {"=", "==", "!=", "<>", "<", "<=", ">", ">="}) {
      if (in_.is_symbol(op)) {
        in_.fail(in_.token().at, "comparisons do not chain; join them with AND");
      }
    }
  }

  ExprPtr additive() {
    return arithmetic({"+", "-"}, [this] { return arithmetic({"*", "/", "%"}, [this] { return unary(); }); });
  }

  template <class Next>
  ExprPtr arithmetic(std::initializer_list<std::string_view> ops, const Next& next) {
    const size_t first = in_.index();
    ExprPtr left = next();
    for (int links = 0; !in_.failed(); ++links) {
      const auto op = std::ranges::find_if(ops, [this](std::string_view o) { return in_.is_symbol(o); });
      if (op == ops.end()) {
        break;
      }
      if (links >= kChainMax) {
        in_.fail(in_.token().at, "too many parts in one expression");
        break;
      }
      ExprPtr both = node(ExprKind::kBinary, in_.token().at);
      in_.advance();
      both->op = *op;
      both->args.push_back(std::move(left));
      both->args.push_back(next());
      left = finish(std::move(both), first);
    }
    return left;
  }

  ExprPtr unary() {
    const size_t first = in_.index();
    if (in_.is_symbol("-")) {
      ExprPtr expr = node(ExprKind::kUnary, in_.token().at);
      in_.advance();
      expr->op = "-";
      if (!enter()) {
        return nothing();
      }
      expr->args.push_back(unary());
      --in_.depth;
      return finish(std::move(expr), first);
    }
    return finish(primary(), first);
  }

  ExprPtr primary() {
    if (in_.failed()) {
      return nothing();
    }
    const Token& token = in_.token();
    switch (token.kind) {
      case TokenKind::kInt:
      case TokenKind::kDouble:
      case TokenKind::kString:
      case TokenKind::kDuration:
        return literal(token);
      case TokenKind::kWord:
        if (in_.is_word("NULL") || in_.is_word("TRUE") || in_.is_word("FALSE")) {
          return literal(token);
        }
        break;
      case TokenKind::kSymbol:
        if (in_.is_symbol("(")) {
          return parenthesis();
        }
        break;
      default:
        break;
    }
    if (!in_.is_name()) {
      in_.fail_expected("a value");
      return nothing();
    }
    return token.kind == TokenKind::kWord && in_.is_symbol("(", 1) ? call() : column();
  }

  ExprPtr literal(const Token& token) {
    ExprPtr expr = node(ExprKind::kNull, token.at);
    switch (token.kind) {
      case TokenKind::kInt:
        expr->kind = ExprKind::kInt;
        break;
      case TokenKind::kDouble:
        expr->kind = ExprKind::kDouble;
        break;
      case TokenKind::kString:
        expr->kind = ExprKind::kText;
        break;
      case TokenKind::kDuration:
        expr->kind = ExprKind::kDuration;
        break;
      default:
        expr->kind = in_.is_word("NULL") ? ExprKind::kNull : ExprKind::kBool;
        expr->b = in_.is_word("TRUE");
        break;
    }
    expr->i = token.i;
    expr->d = token.d;
    expr->name = token.text;
    in_.advance();
    return expr;
  }

  ExprPtr parenthesis() {
    in_.advance();
    if (!enter()) {
      return nothing();
    }
    ExprPtr expr = disjunction();
    --in_.depth;
    in_.need_symbol(")");
    return expr;
  }

  ExprPtr call() {
    ExprPtr expr = node(ExprKind::kCall, in_.token().at);
    expr->name = in_.token().text;
    in_.advance();
    in_.advance();
    if (in_.take_symbol(")")) {
      return expr;
    }
    if (in_.take_symbol("*")) {
      expr->star = true;
    } else if (enter()) {
      do {
        expr->args.push_back(disjunction());
      } while (!in_.failed() && in_.take_symbol(","));
      --in_.depth;
    }
    in_.need_symbol(")", " or \",\" after an argument");
    return expr;
  }

  // v, t.v, a[last].v, a[0].v
  ExprPtr column() {
    ExprPtr expr = node(ExprKind::kColumn, in_.token().at);
    expr->name = in_.token().text;
    in_.advance();
    if (in_.take_symbol("[")) {
      expr->qualifier = std::move(expr->name);
      if (in_.take_word("LAST")) {
        expr->index = ast::Index::kLast;
      } else {
        expr->index = ast::Index::kNumber;
        expr->index_number = in_.need_count("\"last\" or the element's number", 0);
      }
      in_.need_symbol("]");
      in_.need_symbol(".", " and a column after the element");
      expr->name = in_.need_name("a column").text;
    } else if (in_.take_symbol(".")) {
      expr->qualifier = std::move(expr->name);
      expr->name = in_.need_name("a column").text;
    }
    return expr;
  }

  static constexpr int kChainMax = 1000;  // trees are walked by recursion

  ParserState& in_;
};

}  // namespace

ast::ExprPtr ParserState::expression() {
  return ExpressionParser(*this).disjunction();
}

}  // namespace lambda::cep
