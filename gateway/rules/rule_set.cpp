#include "gateway/rules/rule_set.h"

#include <algorithm>
#include <cctype>
#include <map>
#include <optional>
#include <set>
#include <utility>

#include "cep/language/lexer.h"
#include "cep/language/parser.h"
#include "gateway/rules/rule_json.h"
#include "query/matcher.h"

namespace lambda::gateway {
namespace {

using cep::Diagnostic;
using cep::Position;
using cep::Type;
namespace ast = cep::ast;

std::string show(const std::vector<ast::Column>& columns) {
  std::string out = "(";
  for (const ast::Column& column : columns) {
    out += (out.size() > 1 ? ", " : "") + column.name.text + " " + cep::type_name(column.type) +
           (column.key ? " KEY" : "");
  }
  return out + ")";
}

// A stream or table as some file declares it.
struct Declaration {
  std::string file;
  bool table = false;
  std::string columns;
};
using Declarations = std::map<std::string, Declaration>;

ColumnFrom column_from(std::string_view name) {
  if (name == "value") return ColumnFrom::kValue;
  if (name == "dev" || name == "instance") return ColumnFrom::kDevice;
  return name == "site" ? ColumnFrom::kSite : ColumnFrom::kLabel;
}

void check_stream(const ast::CreateStream& stream, std::vector<Diagnostic>& errors) {
  for (const ast::Column& column : stream.columns) {
    const bool value = column_from(column.name.text) == ColumnFrom::kValue;
    if (value == (column.type == Type::kDouble) && (value || column.type == Type::kText)) continue;
    errors.push_back({column.name.at, column.name.text + " is " + cep::type_name(column.type) + ": on the gateway " +
                                          (value ? "value is DOUBLE" : "a label is TEXT")});
  }
}

bool is_topic_level(const std::string& text) {
  return !text.empty() && text.size() <= 64 &&
         text.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") ==
             std::string::npos;
}

bool is_http_url(const std::string& text) {
  const size_t scheme = text.rfind("http://", 0) == 0 ? 7 : text.rfind("https://", 0) == 0 ? 8 : 0;
  return scheme > 0 && text.size() > scheme && text[scheme] != '/' &&
         text.find_first_of(" \"<>#@\n\r\t") == std::string::npos;
}

// Below a site's folder of alerts, a device's own topics could be meant, were one called "alerts"; and whatever is
// published to them comes back to the gateway.
bool is_devices_topic(const std::string& level) {
  return level == "up" || level == "down" || level == "live" || level == "state";
}

void check_exec(const ast::Action& action, const RuleSetSettings& settings, std::vector<Diagnostic>& errors) {
  const auto wrong = [&](std::string text) { errors.push_back({action.name.at, std::move(text)}); };
  bool texts = !action.args.empty();
  for (const auto& arg : action.args) {
    texts = texts && arg->kind == ast::ExprKind::kText && arg->name.find('\0') == std::string::npos;
  }
  if (!texts || action.args[0]->name.rfind('/', 0) != 0) {
    return wrong("exec takes a program's whole path and texts: exec('/usr/bin/horn', 'loud')");
  }
  const std::string& program = action.args[0]->name;
  if (settings.exec_any) return;
  if (!settings.exec_allowed) {
    wrong("exec is off on this gateway; rules.exec = true and rules.exec_programs = [\"" + program +
          "\"] in its configuration would allow it");
  } else if (std::ranges::find(settings.exec_programs, program) == settings.exec_programs.end()) {
    wrong("exec may not run " + program + " on this gateway: it is not among rules.exec_programs");
  }
}

void check_action(const ast::Action& action, const std::string& rule, const RuleSetSettings& settings,
                  std::vector<Diagnostic>& errors) {
  const std::string& name = action.name.text;
  const auto is_text = [&action](size_t i) {
    return i < action.args.size() && action.args[i]->kind == ast::ExprKind::kText;
  };
  const auto wrong = [&](std::string text) { errors.push_back({action.name.at, std::move(text)}); };
  if (name == "log" && !action.args.empty()) {
    wrong("log takes nothing");
  } else if (name == "mqtt" && !action.args.empty() &&
             (action.args.size() > 1 || !is_text(0) || !is_topic_level(action.args[0]->name))) {
    wrong("mqtt takes the last level of a topic: mqtt('pumps')");
  } else if (name == "mqtt" && is_devices_topic(action.args.empty() ? rule : action.args[0]->name)) {
    wrong("mqtt may not publish to .../alerts/" + (action.args.empty() ? rule : action.args[0]->name) +
          ": up, down, live and state are the topics of a device");
  } else if (name == "webhook" && (action.args.size() != 1 || !is_text(0) || !is_http_url(action.args[0]->name))) {
    wrong("webhook takes an address: webhook('https://host:port/path')");
  } else if (name == "exec") {
    check_exec(action, settings, errors);
  } else if (name == "live" && (action.args.size() != 2 || !is_text(0) ||
                                action.args[1]->kind != ast::ExprKind::kDuration || action.args[1]->i <= 0)) {
    wrong("live takes a selector and a duration: live('{__name__=~\"pump_.*\"}', 5m)");
  }
}

// Which token stands there; tokens.size(): none. A file may hold thousands of rules, so it is not read from its begin.
size_t token_at(const std::vector<cep::Token>& tokens, const Position& at) {
  const auto place = [](const Position& p) { return std::pair(p.line, p.column); };
  const auto found = std::ranges::lower_bound(tokens, place(at), {}, [&](const cep::Token& t) { return place(t.at); });
  const bool there = found != tokens.end() && place(found->at) == place(at);
  return there ? static_cast<size_t>(found - tokens.begin()) : tokens.size();
}

// The bytes of the statement that begins at `at`, up to its ';'.
std::pair<size_t, size_t> span_of(const std::vector<cep::Token>& tokens, const Position& at) {
  size_t i = token_at(tokens, at);
  const size_t begin = i < tokens.size() ? tokens[i].begin : 0;
  while (i < tokens.size() && tokens[i].kind != cep::TokenKind::kEnd &&
         !(tokens[i].kind == cep::TokenKind::kSymbol && tokens[i].text == ";")) {
    ++i;
  }
  return {begin, i < tokens.size() ? tokens[i].end : begin};
}

bool is_word(const cep::Token& token, std::string_view word) {
  return token.kind == cep::TokenKind::kWord && std::ranges::equal(token.text, word, [](char a, char b) {
           return std::tolower(static_cast<unsigned char>(a)) == std::tolower(static_cast<unsigned char>(b));
         });
}

bool has_aggregate(const ast::Expr& expr) {
  static const std::set<std::string> kScalars = {"abs", "least", "greatest", "coalesce", "upper", "lower"};
  if (expr.kind == ast::ExprKind::kCall && kScalars.count(expr.name) == 0) return true;
  return std::ranges::any_of(expr.args, [](const ast::ExprPtr& arg) { return has_aggregate(*arg); });
}

// Does the rule keep nothing from event to event? Then it can take points that come too late.
bool is_stateless(const ast::CreateRule& rule) {
  return rule.source.kind == ast::SourceKind::kStream && !rule.window && rule.group_by.empty() && !rule.having &&
         !rule.alert && rule.order_by.empty() && !rule.limit &&
         std::ranges::none_of(rule.items, [](const ast::Item& item) { return has_aggregate(*item.expr); });
}

// Text that was put into a file, so that places behind it are others.
struct Insertion {
  size_t begin = 0;  // byte of the file
  Position at;
  std::string text;
};

// The gateway's defaults, where the rule does not say. Nothing to insert: no text.
Insertion default_options(const ast::CreateRule& rule, const std::vector<cep::Token>& tokens, int64_t block_delay_ms) {
  std::set<std::string> given;
  for (const ast::Option& option : rule.options) given.insert(option.name.text);
  std::string options;
  const auto add = [&](const char* name, const std::string& value) {
    if (given.count(name) == 0) options += (options.empty() ? "" : ", ") + std::string(name) + "=" + value;
  };
  add("idle", std::to_string(block_delay_ms) + "ms");
  add("max_delay", std::to_string(block_delay_ms) + "ms");
  if (is_stateless(rule)) add("late", "backfill");
  if (options.empty()) return {};
  size_t i = token_at(tokens, rule.name.at);
  for (++i; i + 1 < tokens.size() && !is_word(tokens[i], "AS"); ++i) {
    if (is_word(tokens[i], "OPTIONS")) {  // behind its parenthesis
      return {tokens[i + 1].end, {tokens[i + 1].at.line, tokens[i + 1].at.column + 1}, options + ", "};
    }
  }
  return {tokens[i].begin, tokens[i].at, "OPTIONS(" + options + ") "};
}

// Once through the text: it may be megabytes.
std::string with_insertions(std::string_view text, const std::vector<Insertion>& insertions) {
  std::string out;
  size_t begin = 0;
  for (const Insertion& one : insertions) {
    if (one.text.empty()) continue;
    out.append(text, begin, one.begin - begin).append(one.text);
    begin = one.begin;
  }
  return out.append(text, begin);
}

// Where something stands in the file that stands at `at` in the text with all insertions. They ascend.
Position place_in_file(Position at, const std::vector<Insertion>& insertions) {
  uint32_t before = 0;  // of insertions on the line so far
  for (const Insertion& one : insertions) {
    if (one.text.empty() || one.at.line != at.line) continue;
    if (one.at.column + before > at.column) break;
    before += static_cast<uint32_t>(one.text.size());
  }
  return {at.line, at.column > before ? at.column - before : 1};
}

const std::string& key_name(const ast::Key& key) {
  return key.as ? key.as->text : key.columns.front()->name;
}

// Where a key is among the SELECT items; nothing when it is not shown.
std::optional<size_t> item_of(const ast::CreateRule& rule, const std::string& key) {
  const auto shows = [&key](const ast::Item& item) {
    return item.expr->kind == ast::ExprKind::kColumn && item.expr->name == key;
  };
  const auto found = std::ranges::find_if(rule.items, shows);
  return found == rule.items.end() ? std::nullopt : std::optional(static_cast<size_t>(found - rule.items.begin()));
}

void check_keys(const ast::CreateRule& rule, std::vector<Diagnostic>& errors) {
  if (!rule.alert || rule.select_star) return;
  for (const auto* keys : {&rule.partition_by, &rule.group_by}) {
    for (const ast::Key& key : *keys) {
      if (item_of(rule, key_name(key))) continue;
      errors.push_back({key.at, "an alert must show whose it is: " + key_name(key) + " is missing in SELECT"});
    }
  }
}

// What is kept of a rule while its statement's tree is gone and its plan not there yet.
struct ReadRule {
  std::string name, text;
  // Where the keys of an alert are shown: SELECT items, or with SELECT * columns of these names.
  std::vector<size_t> key_items;
  std::vector<std::string> key_columns;
  bool texts_are_keys = false;  // ANTI JOIN has no keys of its own: its texts say whose the alert is
};

// A rule that passed check_keys().
ReadRule read_rule(const ast::CreateRule& rule, std::string text) {
  ReadRule read{rule.name.text, std::move(text), {}, {}, false};
  if (!rule.alert) return read;
  for (const auto* keys : {&rule.partition_by, &rule.group_by}) {
    for (const ast::Key& key : *keys) {
      if (const auto item = item_of(rule, key_name(key))) read.key_items.push_back(*item);
      if (rule.select_star) read.key_columns.push_back(key_name(key));
    }
  }
  read.texts_are_keys = rule.source.kind == ast::SourceKind::kAntiJoin;
  return read;
}

std::vector<size_t> key_items_of(const ReadRule& rule, const cep::RulePlan& plan) {
  std::vector<size_t> found = rule.key_items;
  for (size_t i = 0; i < plan.items.size(); ++i) {
    const bool named = std::ranges::count(rule.key_columns, plan.items[i].name) > 0;
    if (named || (rule.texts_are_keys && plan.items[i].type == Type::kText)) found.push_back(i);
  }
  std::ranges::sort(found);
  found.erase(std::unique(found.begin(), found.end()), found.end());
  return found;
}

// Blanks, so that what stands behind keeps its place.
void blank(std::string& text, std::pair<size_t, size_t> span) {
  for (size_t i = span.first; i < span.second && i < text.size(); ++i) {
    if (text[i] != '\n') text[i] = ' ';
  }
}

// Counted from 1; 0: all are.
uint32_t line_that_is_not_text(std::string_view text) {
  for (uint32_t line = 1; !text.empty(); ++line) {
    const size_t end = std::min(text.find('\n'), text.size());
    if (end > 0 && !query::is_label_name(text.substr(0, end))) return line;  // not empty, and valid UTF-8
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return 0;
}

class Loader {
 public:
  Loader(const RuleFolder& folder, const RuleSetSettings& settings, cep::BatchSink sink)
      : folder_(folder), settings_(settings), set_(std::make_unique<RuleSet>()) {
    set_->engine = std::make_unique<cep::Engine>(settings.engine, std::move(sink));
  }

  std::unique_ptr<RuleSet> load() {
    std::vector<const RuleText*> waiting;
    for (const RuleText& file : folder_.rules) {
      if (file.problem.empty()) waiting.push_back(&file);
    }
    // A file that another one's rules are missing in comes again after that one, as long as any gets in.
    std::map<std::string, std::vector<Diagnostic>> errors;
    for (bool progress = true; progress && !waiting.empty();) {
      progress = false;
      std::vector<const RuleText*> again;
      for (const RuleText* file : waiting) {
        errors[file->name] = take(*file);
        if (errors[file->name].empty()) {
          progress = true;
        } else {
          again.push_back(file);
        }
      }
      waiting = std::move(again);
    }
    for (const RuleText& file : folder_.rules) {
      if (!file.problem.empty()) errors[file.name] = {{{1, 1}, file.problem}};
      RuleFileState state{file.name, file.text.size(), rules_[file.name], std::move(errors[file.name]), {}};
      set_->files.push_back(std::move(state));
    }
    for (const RuleText& file : folder_.tables) read_table(file);
    note_streams();
    return std::move(set_);
  }

 private:
  // A file, before the engine gets it. Its trees and tokens are gone by then: the engine makes its own, and thousands
  // of rules' need not be there twice.
  struct ReadFile {
    std::string text;  // as the engine gets it: blanks kept every byte in its place, insertions did not
    std::vector<Insertion> insertions;
    Declarations fresh;
    std::vector<ReadRule> rules;
    std::vector<Diagnostic> errors;
  };

  // Empty: its rules run now.
  std::vector<Diagnostic> take(const RuleText& file) {
    if (const uint32_t line = line_that_is_not_text(file.text)) return {{{line, 1}, "this line is not UTF-8"}};
    ReadFile read = this->read(file);
    std::vector<Diagnostic> errors = std::move(read.errors);
    const cep::RuleId first_rule = static_cast<cep::RuleId>(set_->engine->rule_count());
    if (errors.empty()) {
      errors = set_->engine->create(read.text);
      for (Diagnostic& error : errors) error.at = place_in_file(error.at, read.insertions);
    }
    if (!errors.empty()) {
      std::ranges::stable_sort(errors, [](const Diagnostic& a, const Diagnostic& b) {
        return std::pair(a.at.line, a.at.column) < std::pair(b.at.line, b.at.column);
      });
      return errors;
    }
    declared_.merge(read.fresh);
    cep::RuleId id = first_rule;
    for (ReadRule& rule : read.rules) {
      set_->key_items.push_back(key_items_of(rule, set_->engine->rule(id++)));
      rules_[file.name].push_back({std::move(rule.name), std::move(rule.text)});
    }
    set_->file_of_rule.resize(set_->engine->rule_count(), file.name);
    return {};
  }

  ReadFile read(const RuleText& file) {
    ReadFile out;
    out.text = file.text;
    const auto tokens = cep::read_tokens(file.text).tokens;
    cep::parse_rules(
        file.text,
        [&](ast::Statement&& statement) {
          if (statement.kind != ast::StatementKind::kRule) {
            declare(statement, file, tokens, out);
            return;
          }
          for (const ast::Action& action : statement.rule.actions) {
            check_action(action, statement.rule.name.text, settings_, out.errors);
          }
          check_keys(statement.rule, out.errors);
          out.insertions.push_back(default_options(statement.rule, tokens, settings_.block_delay_ms));
          const auto [begin, end] = span_of(tokens, statement.at);
          out.rules.push_back(read_rule(statement.rule, file.text.substr(begin, end - begin)));
        },
        out.errors);
    out.text = with_insertions(out.text, out.insertions);
    return out;
  }

  // A stream or table; when another file declared the same, it is left out here.
  void declare(const ast::Statement& statement, const RuleText& file, const std::vector<cep::Token>& tokens,
               ReadFile& out) {
    const bool table = statement.kind == ast::StatementKind::kTable;
    const ast::Name& name = table ? statement.table.name : statement.stream.name;
    const std::string columns = show(table ? statement.table.columns : statement.stream.columns);
    if (!table) check_stream(statement.stream, out.errors);
    const auto known = declared_.find(name.text);
    if (known == declared_.end()) {
      out.fresh[name.text] = {file.name, table, columns};
    } else if (known->second.table == table && known->second.columns == columns) {
      blank(out.text, span_of(tokens, statement.at));
    } else {
      out.errors.push_back({name.at, name.text + " is declared otherwise in " + known->second.file + ": " +
                                         (known->second.table ? "table " : "stream ") + known->second.columns});
    }
  }

  void read_table(const RuleText& file) {
    RuleFileState state{file.name, file.text.size(), {}, {}, {}};
    if (!file.problem.empty()) {
      state.errors.push_back({{1, 1}, file.problem});
      set_->files.push_back(std::move(state));
      return;
    }
    const std::string name = file.name.substr(0, file.name.rfind('.'));
    const cep::TableSchema* table = set_->engine->catalog().find_table(name);
    if (table == nullptr) {
      state.notes.push_back("no rule file creates a table " + name);
      set_->files.push_back(std::move(state));
      return;
    }
    std::vector<std::vector<cep::Value>> rows;
    uint32_t line = 0;
    std::string_view rest = file.text;
    while (!rest.empty()) {
      const size_t end = std::min(rest.find('\n'), rest.size());
      const std::string_view text = rest.substr(0, end);
      rest.remove_prefix(std::min(end + 1, rest.size()));
      ++line;
      if (text.find_first_not_of(" \t\r") == std::string_view::npos) continue;
      auto row = read_table_row(text, *table, set_->engine->symbols());
      if (row) {
        rows.push_back(std::move(*row));
      } else if (state.notes.size() < kNotesMax) {
        state.notes.push_back("line " + std::to_string(line) + ": " + row.error().text + "; row left out");
      }
    }
    if (const size_t left_out = set_->engine->set_table(table->id, rows); left_out > 0) {
      state.notes.push_back(std::to_string(left_out) + " rows without a key, or past the bound, left out");
    }
    set_->files.push_back(std::move(state));
  }

  void note_streams() {
    const cep::Engine& engine = *set_->engine;
    std::set<cep::StreamId> read;
    for (cep::RuleId id = 0; id < engine.rule_count(); ++id) {
      for (const cep::StreamUse& use : engine.rule(id).streams) read.insert(use.stream);
    }
    for (const cep::StreamId id : read) {
      const cep::StreamSchema& schema = engine.catalog().stream(id);
      if (schema.rule) continue;
      StreamColumns columns{id, schema.name, {}};
      for (const cep::ColumnSchema& column : schema.columns) columns.from.push_back(column_from(column.name));
      set_->streams.push_back(std::move(columns));
    }
  }

  static constexpr size_t kNotesMax = 20;
  const RuleFolder& folder_;
  const RuleSetSettings& settings_;
  std::unique_ptr<RuleSet> set_;
  Declarations declared_;
  std::map<std::string, std::vector<RuleFileState::Rule>> rules_;  // by file
};

}  // namespace

size_t RuleSet::errors() const {
  size_t count = 0;
  for (const RuleFileState& file : files) count += file.errors.size();
  return count;
}

std::unique_ptr<RuleSet> make_rule_set(const RuleFolder& folder, const RuleSetSettings& settings, cep::BatchSink sink) {
  return Loader(folder, settings, std::move(sink)).load();
}

}  // namespace lambda::gateway
