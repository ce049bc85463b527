#include "base/config/config.h"

#define TOML_EXCEPTIONS 0
#define TOML_ENABLE_WINDOWS_COMPAT 0
#include <toml++/toml.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <map>

namespace lambda {
namespace {

constexpr uint64_t kFileBytesMax = 1u << 20;
constexpr uint64_t kSecretBytesMax = 64u << 10;
constexpr size_t kProblemsNamedMax = 20;

enum class Kind { kText, kSecret, kFlag, kNumber, kInteger, kTextList, kTables };

const char* kind_name(Kind kind) {
  switch (kind) {
    case Kind::kText:
      return "string";
    case Kind::kSecret:
      return "secret";
    case Kind::kFlag:
      return "boolean";
    case Kind::kNumber:
      return "number";
    case Kind::kInteger:
      return "integer";
    case Kind::kTextList:
      return "array of strings";
    case Kind::kTables:
      return "array of tables";
  }
  return "";
}

std::string found_name(const toml::node& node) {
  switch (node.type()) {
    case toml::node_type::table:
      return "a table";
    case toml::node_type::array:
      return "an array";
    case toml::node_type::string:
      return "a string";
    case toml::node_type::integer:
      return "an integer";
    case toml::node_type::floating_point:
      return "a floating-point number";
    case toml::node_type::boolean:
      return "a boolean";
    default:
      return "a date or time";
  }
}

std::string show(double value) {
  char text[64];
  return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

std::string quoted(const std::string& text) {
  return '"' + text + '"';
}

// Levenshtein's distance, for names of a few dozen characters.
size_t distance(std::string_view a, std::string_view b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = std::exchange(row[0], i);
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] == b[j - 1] ? 0 : 1)});
      diagonal = above;
    }
  }
  return row.back();
}

// The node at a path of keys, or null.
const toml::node* find(const toml::table& root, std::string_view name) {
  const toml::table* table = &root;
  while (true) {
    const auto dot = name.find('.');
    const toml::node* node = table->get(name.substr(0, dot));
    if (node == nullptr || dot == std::string_view::npos) return node;
    table = node->as_table();
    if (table == nullptr) return nullptr;
    name = name.substr(dot + 1);
  }
}

Result<std::string> expand(const std::string& text, const Environment& environment) {
  std::string out;
  for (size_t i = 0; i < text.size();) {
    if (text.compare(i, 3, "$${") == 0) {
      out += "${";
      i += 3;
    } else if (text.compare(i, 2, "${") == 0) {
      const auto end = text.find('}', i);
      if (end == std::string::npos)
        return fail(ErrorCode::kInvalid, "\"${\" has no \"}\"; for the characters themselves write $${");
      const std::string name = text.substr(i + 2, end - i - 2);
      const auto value = environment ? environment(name) : std::nullopt;
      if (!value) return fail(ErrorCode::kInvalid, "the environment has no variable " + name);
      out += *value;
      i = end + 1;
    } else {
      out += text[i++];
    }
  }
  return out;
}

}  // namespace

struct ConfigTable::Entry {
  std::string name;
  Kind kind = Kind::kText;
  std::string help;
  std::string default_text;
  std::string range_text;
  bool is_required = false;
  double number_min = 0, number_max = 0;
  int64_t integer_min = 0, integer_max = 0;
  size_t count_max = 0;
  TextCheck check{};
  std::string* text = nullptr;
  bool* flag = nullptr;
  double* number = nullptr;
  std::vector<std::string>* list = nullptr;
  std::function<void(int64_t)> set_integer{};
  std::function<void()> clear_rows{};
  std::function<void(ConfigTable&)> add_row{};
  std::function<void(ConfigTable&, const std::function<void()>&)> sample_row{};
};

// One reading of one file.
struct ConfigTable::Parse {
  const std::string& file;
  Disk& disk;
  const Environment& environment;
  std::vector<std::pair<uint32_t, std::string>> problems;  // line, text

  void problem(uint32_t line, const std::string& name, const std::string& text) {
    problems.emplace_back(line, (name.empty() ? "" : name + ": ") + text);
  }

  Status status() {
    if (problems.empty()) return {};
    std::stable_sort(problems.begin(), problems.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
    std::string text;
    for (size_t i = 0; i < problems.size() && i < kProblemsNamedMax; ++i) {
      if (i > 0) text += '\n';
      text += file;
      if (problems[i].first > 0) text += ":" + std::to_string(problems[i].first);
      text += ": " + problems[i].second;
    }
    if (problems.size() > kProblemsNamedMax) {
      text += "\n" + file + ": and " + std::to_string(problems.size() - kProblemsNamedMax) + " more problems";
    }
    return fail(ErrorCode::kInvalid, text);
  }

  Result<std::string> text_value(const Entry& entry, const std::string& raw) const {
    auto value = expand(raw, environment);
    if (!value) return value;
    if (entry.kind == Kind::kSecret && value->rfind("file:", 0) == 0) {
      value = disk.read_all(value->substr(5), kSecretBytesMax);
      if (!value) return value;
      if (!value->empty() && value->back() == '\n') value->pop_back();
      if (!value->empty() && value->back() == '\r') value->pop_back();
    }
    if (entry.check) {
      if (auto status = entry.check(*value); !status) return tl::unexpected(status.error());
    }
    return value;
  }

  void wrong_type(const Entry& entry, const std::string& name, const toml::node& node) {
    problem(
        node.source().begin.line, name,
        "is " + found_name(node) + "; " + (entry.kind == Kind::kSecret ? "string" : kind_name(entry.kind)) + " wanted");
  }

  void fill_integer(const Entry& entry, const std::string& name, const toml::node& node) {
    const auto* value = node.as_integer();
    if (value == nullptr) return wrong_type(entry, name, node);
    if (value->get() < entry.integer_min || value->get() > entry.integer_max) {
      return problem(node.source().begin.line, name,
                     std::to_string(value->get()) + " is not within " + entry.range_text);
    }
    entry.set_integer(value->get());
  }

  void fill_number(const Entry& entry, const std::string& name, const toml::node& node) {
    if (!node.is_number()) return wrong_type(entry, name, node);
    const double value =
        node.is_integer() ? static_cast<double>(node.as_integer()->get()) : node.as_floating_point()->get();
    if (!(value >= entry.number_min && value <= entry.number_max)) {
      return problem(node.source().begin.line, name, show(value) + " is not within " + entry.range_text);
    }
    *entry.number = value;
  }

  void fill_list(const Entry& entry, const std::string& name, const toml::node& node) {
    const auto* array = node.as_array();
    if (array == nullptr) return wrong_type(entry, name, node);
    if (array->size() > entry.count_max) {
      return problem(
          node.source().begin.line, name,
          std::to_string(array->size()) + " elements; at most " + std::to_string(entry.count_max) + " are allowed");
    }
    entry.list->clear();
    for (size_t i = 0; i < array->size(); ++i) {
      const toml::node& element = *array->get(i);
      const std::string element_name = name + "[" + std::to_string(i) + "]";
      const auto* text = element.as_string();
      if (text == nullptr) {
        problem(element.source().begin.line, element_name, "is " + found_name(element) + "; string wanted");
        continue;
      }
      auto value = text_value(entry, text->get());
      if (value) {
        entry.list->push_back(std::move(*value));
      } else {
        problem(element.source().begin.line, element_name, value.error().text);
      }
    }
  }
};

ConfigTable::ConfigTable(std::string program) : program_(std::move(program)) {}
ConfigTable::~ConfigTable() = default;

ConfigTable& ConfigTable::add(Entry entry) {
  for (const auto& other : entries_) LAMBDA_ASSERT(other.name != entry.name);
  entries_.push_back(std::move(entry));
  return *this;
}

ConfigTable& ConfigTable::text(std::string name, std::string& field, std::string help, TextCheck check) {
  Entry entry{std::move(name), Kind::kText, std::move(help), quoted(field), ""};
  entry.text = &field;
  entry.check = std::move(check);
  return add(std::move(entry));
}

ConfigTable& ConfigTable::secret(std::string name, std::string& field, std::string help, TextCheck check) {
  Entry entry{std::move(name), Kind::kSecret, std::move(help), "\"\"", "may be \"file:PATH\""};
  entry.text = &field;
  entry.check = std::move(check);
  return add(std::move(entry));
}

ConfigTable& ConfigTable::flag(std::string name, bool& field, std::string help) {
  Entry entry{std::move(name), Kind::kFlag, std::move(help), field ? "true" : "false", ""};
  entry.flag = &field;
  return add(std::move(entry));
}

ConfigTable& ConfigTable::number(std::string name, double& field, double min, double max, std::string help) {
  Entry entry{std::move(name), Kind::kNumber, std::move(help), show(field), show(min) + " .. " + show(max)};
  entry.number = &field;
  entry.number_min = min;
  entry.number_max = max;
  return add(std::move(entry));
}

ConfigTable& ConfigTable::text_list(std::string name, std::vector<std::string>& field, size_t count_max,
                                    std::string help, TextCheck check) {
  std::string shown = "[";
  for (const auto& value : field) shown += (shown.size() > 1 ? ", " : "") + quoted(value);
  Entry entry{std::move(name), Kind::kTextList, std::move(help), shown + "]", "at most " + std::to_string(count_max)};
  entry.list = &field;
  entry.count_max = count_max;
  entry.check = std::move(check);
  return add(std::move(entry));
}

ConfigTable& ConfigTable::add_integer(std::string name, int64_t now, int64_t min, int64_t max, std::string help,
                                      std::function<void(int64_t)> set) {
  Entry entry{std::move(name), Kind::kInteger, std::move(help), std::to_string(now),
              std::to_string(min) + " .. " + std::to_string(max)};
  entry.integer_min = min;
  entry.integer_max = max;
  entry.set_integer = std::move(set);
  return add(std::move(entry));
}

ConfigTable& ConfigTable::add_tables(std::string name, size_t count_max, std::string help, std::function<void()> clear,
                                     std::function<void(ConfigTable&)> row,
                                     std::function<void(ConfigTable&, const std::function<void()>&)> sample) {
  Entry entry{std::move(name), Kind::kTables, std::move(help), "none", "at most " + std::to_string(count_max)};
  entry.count_max = count_max;
  entry.clear_rows = std::move(clear);
  entry.add_row = std::move(row);
  entry.sample_row = std::move(sample);
  return add(std::move(entry));
}

ConfigTable& ConfigTable::required() {
  LAMBDA_ASSERT(!entries_.empty());
  entries_.back().is_required = true;
  return *this;
}

ConfigTable& ConfigTable::rule(std::string name, std::function<Status()> check) {
  rules_.emplace_back(std::move(name), std::move(check));
  return *this;
}

void ConfigTable::fill(Parse& parse, const void* toml_table, const std::string& prefix) {
  const auto& root = *static_cast<const toml::table*>(toml_table);
  for (const Entry& entry : entries_) {
    const std::string name = prefix + entry.name;
    const toml::node* node = find(root, entry.name);
    if (node == nullptr) {
      if (entry.is_required)
        parse.problem(prefix.empty() ? 0 : root.source().begin.line, name, "is missing: " + entry.help);
      continue;
    }
    const uint32_t line = node->source().begin.line;
    switch (entry.kind) {
      case Kind::kText:
      case Kind::kSecret: {
        const auto* text = node->as_string();
        if (text == nullptr) {
          parse.wrong_type(entry, name, *node);
          break;
        }
        auto value = parse.text_value(entry, text->get());
        if (value) {
          *entry.text = std::move(*value);
        } else {
          parse.problem(line, name, value.error().text);
        }
        break;
      }
      case Kind::kFlag:
        if (const auto* value = node->as_boolean()) {
          *entry.flag = value->get();
        } else {
          parse.wrong_type(entry, name, *node);
        }
        break;
      case Kind::kNumber:
        parse.fill_number(entry, name, *node);
        break;
      case Kind::kInteger:
        parse.fill_integer(entry, name, *node);
        break;
      case Kind::kTextList:
        parse.fill_list(entry, name, *node);
        break;
      case Kind::kTables: {
        const auto* array = node->as_array();
        if (array == nullptr) {
          parse.wrong_type(entry, name, *node);
          break;
        }
        if (array->size() > entry.count_max) {
          parse.problem(
              line, name,
              std::to_string(array->size()) + " tables; at most " + std::to_string(entry.count_max) + " are allowed");
          break;
        }
        entry.clear_rows();
        for (size_t i = 0; i < array->size(); ++i) {
          const std::string row_name = name + "[" + std::to_string(i) + "]";
          const auto* row = array->get(i)->as_table();
          if (row == nullptr) {
            parse.problem(array->get(i)->source().begin.line, row_name,
                          "is " + found_name(*array->get(i)) + "; table wanted");
            continue;
          }
          ConfigTable row_table(program_);
          entry.add_row(row_table);
          row_table.fill(parse, row, row_name + ".");
          row_table.unknown_keys(parse, row, "", row_name + ".");
        }
        break;
      }
    }
  }
}

void ConfigTable::unknown_keys(Parse& parse, const void* toml_table, const std::string& path,
                               const std::string& prefix) const {
  const auto& table = *static_cast<const toml::table*>(toml_table);
  for (const auto& [key, node] : table) {
    const std::string name = path + std::string(key.str());
    const bool known = std::any_of(entries_.begin(), entries_.end(), [&](const Entry& e) { return e.name == name; });
    if (known) continue;
    const bool inner =
        std::any_of(entries_.begin(), entries_.end(), [&](const Entry& e) { return e.name.rfind(name + ".", 0) == 0; });
    if (inner && node.is_table()) {
      unknown_keys(parse, node.as_table(), name + ".", prefix);
      continue;
    }
    if (inner) {
      parse.problem(key.source().begin.line, prefix + name, "is " + found_name(node) + "; table wanted");
      continue;
    }
    // The nearest known key, or the nearest known table when a whole table is unknown.
    std::string nearest;
    size_t best = std::max<size_t>(2, name.size() / 3) + 1;
    for (const Entry& entry : entries_) {
      std::string candidate = entry.name;
      if (node.is_table()) {
        const auto dots = static_cast<size_t>(std::count(name.begin(), name.end(), '.'));
        size_t end = candidate.find('.');
        for (size_t i = 0; i < dots && end != std::string::npos; ++i) end = candidate.find('.', end + 1);
        if (end == std::string::npos) continue;
        candidate.resize(end);
      }
      if (const size_t far = distance(name, candidate); far < best) {
        best = far;
        nearest = candidate;
      }
    }
    parse.problem(key.source().begin.line, prefix + name,
                  nearest.empty() ? "is not known" : "is not known; did you mean " + prefix + nearest + "?");
  }
}

Status ConfigTable::load(Disk& disk, const Environment& environment, const std::string& path) {
  const auto text = disk.read_all(path, kFileBytesMax);
  if (!text) return tl::unexpected(text.error());
  return parse(*text, path, disk, environment);
}

Status ConfigTable::parse(std::string_view text, const std::string& file, Disk& disk, const Environment& environment) {
  Parse parse{file, disk, environment, {}};
  const toml::parse_result parsed = toml::parse(text);
  if (!parsed) {
    parse.problem(parsed.error().source().begin.line, "", std::string(parsed.error().description()));
    return parse.status();
  }
  const toml::table& root = parsed.table();
  fill(parse, &root, "");
  unknown_keys(parse, &root, "", "");
  if (parse.problems.empty()) {
    for (const auto& [name, check] : rules_) {
      auto status = check();
      if (status) continue;
      const toml::node* node = find(root, name);
      parse.problem(node == nullptr ? 0 : node->source().begin.line, name, status.error().text);
    }
  }
  return parse.status();
}

std::string ConfigTable::help() const {
  std::string out;
  for (const Entry& entry : entries_) {
    out += "  " + entry.name + " (" + kind_name(entry.kind);
    out += entry.is_required ? ", required" : ", default " + entry.default_text;
    if (!entry.range_text.empty()) out += ", " + entry.range_text;
    out += ")\n      " + entry.help + "\n";
    if (entry.kind == Kind::kTables) {
      ConfigTable row(program_);
      entry.sample_row(row, [&] {
        for (Entry& inner : row.entries_) inner.name = entry.name + "[]." + inner.name;
        out += row.help();
      });
    }
  }
  return out;
}

std::string ConfigTable::reference() const {
  const auto cell = [](std::string text) {
    for (size_t i = 0; (i = text.find('|', i)) != std::string::npos; i += 2) text.insert(i, 1, '\\');
    return text;
  };
  std::string out =
      "# " + program_ +
      ": configuration\n\n| key | type | default | allowed | meaning |\n| --- | --- | --- | --- | --- |\n";
  const std::function<void(const ConfigTable&)> rows = [&](const ConfigTable& table) {
    for (const Entry& entry : table.entries_) {
      out += "| `" + entry.name + "` | " + kind_name(entry.kind) + " | " +
             (entry.is_required ? "required" : "`" + cell(entry.default_text) + "`") + " | " + cell(entry.range_text) +
             " | " + cell(entry.help) + " |\n";
      if (entry.kind != Kind::kTables) continue;
      ConfigTable row(program_);
      entry.sample_row(row, [&] {
        for (Entry& inner : row.entries_) inner.name = entry.name + "[]." + inner.name;
        rows(row);
      });
    }
  };
  rows(*this);
  return out;
}

}  // namespace lambda
