#include "cep/language/parser_state.h"

#include <algorithm>

#include "cep/language/parser.h"

namespace lambda::cep {
namespace {

std::string describe(const Token& token) {
  switch (token.kind) {
    case TokenKind::kEnd:
      return "the end";
    case TokenKind::kString:
      return "'" + token.text + "'";
    case TokenKind::kQuoted:
      return "\"" + token.text + "\"";
    default:
      return token.text;
  }
}

constexpr std::string_view kReserved[] = {
    "ALERT", "AND",     "ANTI",    "AS",     "BETWEEN",   "BY",    "CLEAR",   "CREATE", "DESC",     "DO",
    "EARLY", "EMIT",    "EVERY",   "FALSE",  "FINAL",     "FOR",   "FROM",    "GROUP",  "HAVING",   "HOP",
    "IN",    "IS",      "JOIN",    "KEY",    "LIKE",      "LIMIT", "NEXT",    "NO",     "NOT",      "NULL",
    "ON",    "OPTIONS", "OR",      "ORDER",  "PARTITION", "PAST",  "PATTERN", "PER",    "PRIORITY", "REMIND",
    "ROWS",  "RULE",    "SAMPLES", "SELECT", "SESSION",   "SKIP",  "SLIDE",   "STEP",   "STREAM",   "TABLE",
    "TRUE",  "TUMBLE",  "WHERE",   "WINDOW", "WITHIN"};

}  // namespace

std::string upper_case(std::string_view text) {
  std::string out(text);
  for (char& c : out) {
    c = c >= 'a' && c <= 'z' ? static_cast<char>(c - 'a' + 'A') : c;
  }
  return out;
}

bool is_reserved(std::string_view word) {
  const std::string upper = upper_case(word);
  return std::ranges::find(kReserved, upper) != std::end(kReserved);
}

void ParserState::fail_expected(std::string_view what) {
  std::string near;
  if (token().kind == TokenKind::kWord) {
    std::vector<std::string> words;
    for (size_t begin = 0; begin < what.size();) {  // the capitals in `what` are the words that could stand here
      size_t end = begin;
      while (end < what.size() && what[end] >= 'A' && what[end] <= 'Z') {
        ++end;
      }
      if (end > begin + 1) {
        words.emplace_back(what.substr(begin, end - begin));
      }
      begin = end + 1;
    }
    near = near_name(token().text, words);
  }
  fail(token().at, "found " + describe(token()) + ", expected " + std::string(what) + near);
}

bool ParserState::take_symbol(std::string_view symbol) {
  if (failed() || !is_symbol(symbol)) {
    return false;
  }
  advance();
  return true;
}

bool ParserState::take_word(std::string_view word) {
  if (failed() || !is_word(word)) {
    return false;
  }
  advance();
  return true;
}

void ParserState::need_symbol(std::string_view symbol, std::string_view why) {
  if (!take_symbol(symbol) && !failed()) {
    fail_expected("\"" + std::string(symbol) + "\"" + std::string(why));
  }
}

void ParserState::need_word(std::string_view word) {
  if (!take_word(word) && !failed()) {
    fail_expected(word);
  }
}

bool ParserState::is_name(size_t ahead) const {
  const Token& t = token(ahead);
  return t.kind == TokenKind::kQuoted || (t.kind == TokenKind::kWord && !is_reserved(t.text));
}

ast::Name ParserState::need_name(std::string_view what) {
  if (failed()) {
    return {};
  }
  if (!is_name()) {
    if (token().kind == TokenKind::kWord) {
      fail(token().at, token().text + " is a word of the language, expected " + std::string(what) + "; write \"" +
                           token().text + "\" to use it as a name");
    } else {
      fail_expected(what);
    }
    return {};
  }
  ast::Name name{token().text, token().at};
  advance();
  return name;
}

int64_t ParserState::need_duration(std::string_view what) {
  if (failed()) {
    return 1;
  }
  if (token().kind != TokenKind::kDuration) {
    fail_expected(std::string(what) + ", a duration such as 30s");
    return 1;
  }
  if (token().i <= 0) {
    fail(token().at, std::string(what) + " must be longer than nothing");
    return 1;
  }
  const int64_t ms = token().i;
  advance();
  return ms;
}

int64_t ParserState::need_count(std::string_view what, int64_t min) {
  if (failed()) {
    return min;
  }
  if (token().kind != TokenKind::kInt) {
    fail_expected(std::string(what) + ", a whole number");
    return min;
  }
  constexpr int64_t kCountMax = 1'000'000'000;
  if (token().i < min || token().i > kCountMax) {
    fail(token().at, std::string(what) + " must be from " + std::to_string(min) + " to " + std::to_string(kCountMax));
    return min;
  }
  const int64_t count = token().i;
  advance();
  return count;
}

std::string ParserState::text_since(size_t first) const {
  std::string out;
  for (size_t i = first; i < next_; ++i) {
    out += text_.substr(tokens_[i].begin, tokens_[i].end - tokens_[i].begin);
  }
  return out;
}

}  // namespace lambda::cep
