#include "cep/language/parser.h"

#include <algorithm>

#include "cep/language/lexer.h"
#include "cep/language/parser_state.h"

namespace lambda::cep {
namespace {

using namespace ast;

class StatementParser {
 public:
  explicit StatementParser(ParserState& in) : in_(in) {}

  Statement statement() {
    Statement out;
    out.at = in_.token().at;
    in_.need_word("CREATE");
    if (in_.take_word("STREAM")) {
      out.kind = StatementKind::kStream;
      out.stream.name = in_.need_name("the stream's name");
      out.stream.columns = columns();
    } else if (in_.take_word("TABLE")) {
      out.kind = StatementKind::kTable;
      out.table.name = in_.need_name("the table's name");
      out.table.columns = columns();
    } else if (in_.take_word("RULE")) {
      out.kind = StatementKind::kRule;
      out.rule = rule();
    } else if (!in_.failed()) {
      in_.fail_expected("STREAM, TABLE or RULE after CREATE");
    }
    if (!in_.failed() && !in_.is_symbol(";")) {
      in_.fail_expected(expected_next_);
    }
    return out;
  }

 private:
  std::vector<Column> columns() {
    expected_next_ = "\";\"";
    std::vector<Column> out;
    in_.need_symbol("(", " and the columns");
    do {
      Column column;
      column.name = in_.need_name("a column");
      column.type = type();
      column.key = in_.take_word("KEY");
      out.push_back(std::move(column));
    } while (in_.take_symbol(","));
    in_.need_symbol(")", " or \",\" after a column");
    return out;
  }

  Type type() {
    if (in_.failed()) {
      return Type::kNull;
    }
    for (const Type known : {Type::kText, Type::kInt, Type::kDouble, Type::kBool}) {
      if (in_.take_word(type_name(known))) {
        return known;
      }
    }
    in_.fail_expected("a type: TEXT, INT, DOUBLE or BOOL");
    return Type::kNull;
  }

  CreateRule rule() {
    CreateRule out;
    out.name = in_.need_name("the rule's name");
    if (in_.take_word("PRIORITY")) {
      const bool negative = in_.take_symbol("-");
      out.priority = in_.need_count("the priority", 0) * (negative ? -1 : 1);
    }
    if (in_.take_word("OPTIONS")) {
      out.options = options();
    }
    in_.need_word("AS");
    query(out);
    if (in_.take_word("DO")) {
      out.has_do = true;
      do {
        out.actions.push_back(action());
      } while (in_.take_symbol(","));
      expected_next_ = "\",\" and another action, or \";\"";
    }
    return out;
  }

  std::vector<Option> options() {
    std::vector<Option> out;
    in_.need_symbol("(", " after OPTIONS");
    do {
      Option option;
      option.name = in_.need_name("an option");
      in_.need_symbol("=");
      option.value_at = in_.token().at;
      const bool negative = in_.take_symbol("-");
      const Token& token = in_.token();
      option.is_duration = token.kind == TokenKind::kDuration;
      option.is_number = token.kind == TokenKind::kInt;
      option.number = negative ? -token.i : token.i;
      option.word = token.text;
      const bool word = token.kind == TokenKind::kWord || token.kind == TokenKind::kString;
      if (!in_.failed() && !option.is_duration && !option.is_number && (!word || negative)) {
        in_.fail_expected("the option's value");
      }
      if (!in_.failed()) {
        in_.advance();
      }
      out.push_back(std::move(option));
    } while (in_.take_symbol(","));
    in_.need_symbol(")", " or \",\" after an option");
    return out;
  }

  void query(CreateRule& out) {
    out.select_at = in_.token().at;
    in_.need_word("SELECT");
    if (in_.take_symbol("*")) {
      out.select_star = true;
    } else {
      do {
        Item item;
        item.expr = in_.expression();
        if (in_.take_word("AS") || (!in_.failed() && in_.is_name())) {
          item.as = in_.need_name("the item's name");
        }
        out.items.push_back(std::move(item));
      } while (in_.take_symbol(","));
    }
    if (!in_.failed() && !in_.is_word("FROM")) {
      in_.fail_expected("\",\" and another item, or FROM");
    }
    in_.advance();
    out.source = source();
    clauses(out);
  }

  // The order is fixed; the text after an error names what may still follow.
  void clauses(CreateRule& out) {
    if (in_.take_word("WHERE")) {
      out.where = in_.expression();
    }
    if (in_.take_word("PARTITION")) {
      out.partition_by = keys();
    }
    if (in_.take_word("GROUP")) {
      out.group_by = keys();
    }
    if (in_.is_word("WINDOW")) {
      out.window = window();
    }
    if (in_.take_word("HAVING")) {
      out.having = in_.expression();
    }
    if (in_.take_word("ORDER")) {
      in_.need_word("BY");
      do {
        OrderItem item;
        item.expr = in_.expression();
        item.descending = in_.take_word("DESC");
        if (!item.descending) {
          (void)in_.take_word("ASC");  // what is meant without it
        }
        out.order_by.push_back(std::move(item));
      } while (in_.take_symbol(","));
    }
    if (in_.is_word("ALERT")) {
      out.alert = alert();
    }
    if (in_.is_word("EMIT")) {
      out.emit = emit();
    }
    if (in_.is_word("LIMIT")) {
      Limit limit;
      limit.at = in_.token().at;
      in_.advance();
      limit.count = in_.need_count("the number of rows");
      if (in_.take_word("PER")) {
        limit.per = in_.need_name("a key after PER");
      }
      out.limit = std::move(limit);
    }
    expected_next_ =
        "one of WHERE, PARTITION BY, GROUP BY, WINDOW, HAVING, ORDER BY, ALERT, EMIT, LIMIT, DO in this order, or "
        "\";\"";
  }

  std::optional<Name> alias() {
    if (in_.take_word("AS") || (!in_.failed() && in_.is_name())) {
      return in_.need_name("an alias");
    }
    return std::nullopt;
  }

  Source source() {
    Source out;
    out.at = in_.token().at;
    if (in_.take_word("PATTERN")) {
      out.kind = SourceKind::kPattern;
      out.pattern = parse_pattern(in_);
      return out;
    }
    if (in_.take_word("TABLE")) {
      out.kind = SourceKind::kAntiJoin;
      out.table = in_.need_name("a table");
      out.table_alias = alias();
      in_.need_word("ANTI");
      in_.need_word("JOIN");
      out.stream = in_.need_name("the stream whose silence is meant");
      out.stream_alias = alias();
      if (in_.take_word("ON")) {
        out.on = in_.expression();
      }
      in_.need_word("WITHIN");
      out.within_ms = in_.need_duration("the time of WITHIN");
      return out;
    }
    out.stream = in_.need_name("a stream, PATTERN or TABLE");
    out.stream_alias = alias();
    if (in_.take_word("JOIN")) {
      in_.need_word("TABLE");
      out.table = in_.need_name("a table");
      out.table_alias = alias();
      in_.need_word("ON");
      out.on = in_.expression();
    }
    return out;
  }

  std::vector<Key> keys() {
    in_.need_word("BY");
    std::vector<Key> out;
    do {
      Key key;
      key.at = in_.token().at;
      do {
        key.columns.push_back(key_column());
      } while (in_.take_symbol("="));
      if (in_.take_word("AS")) {
        key.as = in_.need_name("the key's name");
      }
      out.push_back(std::move(key));
    } while (in_.take_symbol(","));
    return out;
  }

  ExprPtr key_column() {
    auto expr = std::make_unique<Expr>();
    expr->kind = ExprKind::kColumn;
    expr->at = in_.token().at;
    const size_t first = in_.index();
    expr->name = in_.need_name("a column").text;
    if (in_.take_symbol(".")) {
      expr->qualifier = std::move(expr->name);
      expr->name = in_.need_name("a column").text;
    }
    expr->text = in_.text_since(first);
    return expr;
  }

  Window window() {
    Window out;
    in_.advance();
    out.at = in_.token().at;
    if (in_.take_word("TUMBLE")) {
      out.kind = WindowKind::kTumble;
      out.size = in_.need_duration("the window's length");
    } else if (in_.take_word("HOP")) {
      out.kind = WindowKind::kHop;
      out.size = in_.need_duration("the window's length");
      in_.need_symbol(",", " and the step after the length");
      out.step = in_.need_duration("the window's step");
    } else if (in_.take_word("SLIDE")) {
      out.kind = WindowKind::kSlide;
      out.size = in_.need_duration("the window's length");
    } else if (in_.take_word("SESSION")) {
      out.kind = WindowKind::kSession;
      out.size = in_.need_duration("the gap that ends a session");
      if (in_.take_word("MAX")) {
        out.size_max = in_.need_duration("the longest session");
      }
    } else if (in_.take_word("ROWS")) {
      out.kind = WindowKind::kRows;
      out.size = in_.need_count("the number of rows");
      if (in_.take_word("STEP")) {
        out.step = in_.need_count("the step in rows");
      }
    } else if (!in_.failed()) {
      in_.fail_expected("a window: TUMBLE, HOP, SLIDE, SESSION or ROWS");
    }
    return out;
  }

  Alert alert() {
    Alert out;
    out.at = in_.token().at;
    in_.advance();
    if (in_.take_word("ON")) {
      out.on = in_.expression();
      if (in_.take_word("FOR")) {
        if (in_.token().kind == TokenKind::kInt) {
          out.for_samples = in_.need_count("the number of samples");
          in_.need_word("SAMPLES");
        } else {
          out.for_ms = in_.need_duration("the time of FOR");
        }
      }
    }
    if (in_.take_word("CLEAR")) {
      out.clear = in_.expression();
      if (in_.take_word("FOR")) {
        out.clear_for_ms = in_.need_duration("the time of FOR");
      }
    }
    if (in_.take_word("REMIND")) {
      out.remind_ms = in_.need_duration("the time of REMIND");
    }
    return out;
  }

  Emit emit() {
    Emit out;
    out.at = in_.token().at;
    in_.advance();
    if (in_.take_word("FINAL")) {
      out.kind = EmitKind::kFinal;
    } else if (in_.take_word("EARLY")) {
      out.kind = EmitKind::kEarly;
      in_.need_word("EVERY");
      out.every_ms = in_.need_duration("the time of EARLY");
    } else if (in_.take_word("FIRST")) {
      out.kind = EmitKind::kFirst;
      in_.need_word("PER");
      out.every_ms = in_.need_duration("the time of FIRST PER");
    } else if (in_.take_word("CHANGES")) {
      out.kind = EmitKind::kChanges;
    } else if (!in_.failed()) {
      in_.fail_expected("FINAL, EARLY EVERY, FIRST PER or CHANGES after EMIT");
    }
    return out;
  }

  Action action() {
    Action out;
    out.name = in_.need_name("an action: log, mqtt, webhook, exec or live");
    in_.need_symbol("(", " after the action's name");
    if (!in_.take_symbol(")")) {
      do {
        out.args.push_back(in_.expression());
      } while (in_.take_symbol(","));
      in_.need_symbol(")", " or \",\" after an argument");
    }
    return out;
  }

  ParserState& in_;
  std::string expected_next_ = "\";\"";
};

}  // namespace

void parse_rules(std::string_view text, const std::function<void(Statement&&)>& take, std::vector<Diagnostic>& errors) {
  if (text.size() > kRuleTextBytesMax) {
    errors.push_back({{}, "the text is longer than " + std::to_string(kRuleTextBytesMax) + " bytes"});
    return;
  }
  const Tokens tokens = read_tokens(text);
  errors.insert(errors.end(), tokens.errors.begin(), tokens.errors.end());
  ParserState in(text, tokens.tokens);
  while (!in.at_end()) {
    if (in.take_symbol(";")) {
      continue;
    }
    Statement statement = StatementParser(in).statement();
    if (in.failed()) {
      errors.push_back(*in.error());
      in.clear_error();
      in.depth = 0;
      while (!in.at_end() && !in.is_symbol(";")) {
        in.advance();
      }
    } else {
      take(std::move(statement));
    }
    in.take_symbol(";");
  }
}

Parsed parse_rules(std::string_view text) {
  Parsed out;
  parse_rules(
      text, [&](Statement&& statement) { out.statements.push_back(std::move(statement)); }, out.errors);
  std::ranges::stable_sort(out.errors, [](const Diagnostic& a, const Diagnostic& b) {
    return std::pair(a.at.line, a.at.column) < std::pair(b.at.line, b.at.column);
  });
  return out;
}

}  // namespace lambda::cep
