// The folder of rules: read, changed from outside, and swapped.
#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "gateway/rules/rules_job.h"

namespace lambda::gateway {
namespace {

constexpr size_t kChangesMax = 64;
constexpr int kReadRounds = 3;  // for files that change meanwhile

// "pumps.sql", "limits.jsonl"; nothing that leads elsewhere, and no hidden file.
bool is_rule_file(const std::string& name) {
  const size_t dot = name.rfind('.');
  if (dot == std::string::npos || dot == 0 || name.size() > 128 || name[0] == '.' || name[0] == '-') return false;
  const std::string suffix = name.substr(dot);
  return (suffix == ".sql" || suffix == ".jsonl") &&
         name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") ==
             std::string::npos;
}

// What its owner may have meant as one.
bool looks_like_rules(const std::string& name) {
  return name[0] != '.' && (name.ends_with(".sql") || name.ends_with(".jsonl"));
}

// Whatever it holds, a name is one line of plain text.
std::string shown_name(const std::string& name) {
  static const char* const kDigits = "0123456789abcdef";
  std::string shown;
  for (const char c : name) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7F) {
      shown += c;
    } else {
      shown += {'\\', 'x', kDigits[byte >> 4], kDigits[byte & 15]};
    }
  }
  return shown;
}

std::vector<RuleText>& list_of(RuleFolder& folder, const std::string& name) {
  return name.ends_with(".sql") ? folder.rules : folder.tables;
}

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

}  // namespace

RuleText Rules::read_text(const DirEntry& entry, uint64_t left_bytes) {
  RuleText file{shown_name(entry.name), "", ""};
  const std::string path = options_.directory + "/" + entry.name;
  if (!is_rule_file(entry.name)) {
    file.problem = "no name for a file of rules: letters, digits, - and _, then .sql or .jsonl";
  } else if (entry.bytes > left_bytes) {
    file.problem = "the folder holds more than " + std::to_string(options_.folder_bytes_max) + " bytes";
  } else if (auto text = env_.disk.read_all(path, options_.file_bytes_max); !text) {
    file.problem = text.error().text;
  } else {
    file.text = std::move(*text);
  }
  return file;
}

// What cannot be read, or is too large, is named and left out. The error is the folder's.
Result<RuleFolder> Rules::read_folder() {
  RuleFolder folder;
  auto entries = env_.disk.list(options_.directory);
  if (!entries) {
    counters_.files_refused++;
    return tl::unexpected(entries.error());
  }
  std::erase_if(*entries, [](const DirEntry& entry) { return !looks_like_rules(entry.name); });
  const size_t too_many = entries->size() - std::min<size_t>(entries->size(), options_.files_max);
  entries->resize(entries->size() - too_many);
  std::map<std::string, RuleText> texts;  // by the name in the folder
  uint64_t bytes = 0;
  for (int round = 0; round < kReadRounds; ++round) {
    for (const DirEntry& entry : *entries) {
      bytes -= std::min<uint64_t>(bytes, texts[entry.name].text.size());
      texts[entry.name] = read_text(entry, options_.folder_bytes_max - std::min(bytes, options_.folder_bytes_max));
      bytes += texts[entry.name].text.size();
    }
    // Whoever writes a file without renaming it may be in the middle of it.
    const auto now = env_.disk.list(options_.directory);
    if (!now) return tl::unexpected(now.error());
    std::erase_if(*entries, [&](DirEntry& entry) {
      const auto found = std::ranges::find(*now, entry.name, &DirEntry::name);
      if (found == now->end()) texts.erase(entry.name);
      if (found == now->end()) return true;
      const bool same = found->bytes == entry.bytes && found->modified_ms == entry.modified_ms;
      entry = *found;
      return same;
    });
    if (entries->empty()) break;
  }
  for (const DirEntry& entry : *entries) texts[entry.name] = {entry.name, "", "it changes while it is read"};
  if (too_many > 0) {
    const std::string why = std::to_string(too_many) + " more files than rules.files_max (" +
                            std::to_string(options_.files_max) + "): the last ones by name were not read";
    folder.rules.push_back({"...", "", why});
    counters_.files_refused += too_many;
  }
  for (auto& [name, file] : texts) {
    counters_.files_refused += file.problem.empty() ? 0 : 1;
    list_of(folder, name).push_back(std::move(file));
  }
  std::ranges::sort(folder.rules, {}, &RuleText::name);
  std::ranges::sort(folder.tables, {}, &RuleText::name);
  return folder;
}

void Rules::queue(Change change) {
  if (changes_.size() >= kChangesMax || stopping_) {
    if (change.done) {
      env_.loop.post([done = std::move(change.done)] { done(fail(ErrorCode::kUnavailable, "too many changes wait")); });
    }
    return;
  }
  changes_.push_back(std::move(change));
  pump();
}

// A folder that cannot be read for a moment is none without rules: what runs goes on.
void Rules::reload() {
  auto folder = read_folder();
  if (!folder) {
    env_.log.error("rules_not_read", {{"why", folder.error().text}, {"goes_on_with", "the rules that run"}});
    return;
  }
  queue({"", std::make_shared<RuleFolder>(std::move(*folder)), {}, false});
}

void Rules::put_file(const std::string& name, std::string text, FileDone done) {
  const auto refuse = [this, &done](ErrorCode code, std::string why) {
    env_.loop.post([done = std::move(done), code, why = std::move(why)] { done(fail(code, why)); });
  };
  if (!is_rule_file(name)) {
    return refuse(ErrorCode::kInvalid, "\"" + name +
                                           "\" cannot be a file of rules: NAME.sql or NAME.jsonl, of letters, "
                                           "digits, - and _");
  }
  if (text.size() > options_.file_bytes_max) {
    return refuse(ErrorCode::kFull, name + " is longer than " + std::to_string(options_.file_bytes_max) + " bytes");
  }
  auto read = read_folder();
  if (!read) return refuse(read.error().code, read.error().text);
  auto folder = std::make_shared<RuleFolder>(std::move(*read));
  auto& list = list_of(*folder, name);
  const auto at = std::ranges::lower_bound(list, name, {}, &RuleText::name);
  if (at != list.end() && at->name == name) {
    *at = {name, std::move(text)};
  } else if (folder->rules.size() + folder->tables.size() >= options_.files_max) {
    return refuse(ErrorCode::kFull, "there are " + std::to_string(options_.files_max) + " files already");
  } else {
    list.insert(at, {name, std::move(text)});
  }
  queue({name, std::move(folder), std::move(done), false});
}

void Rules::remove_file(const std::string& name, std::function<void(Status)> done) {
  const Status removed = !is_rule_file(name) ? Status(fail(ErrorCode::kNotFound, name + ": no such file"))
                                             : env_.disk.remove(options_.directory + "/" + name);
  if (!removed) {
    env_.loop.post([done = std::move(done), removed] { done(removed); });
    return;
  }
  env_.disk.sync_dir(options_.directory, [](const Status&) {});
  auto folder = read_folder();
  if (!folder) {
    env_.loop.post([done = std::move(done), error = folder.error()] { done(tl::unexpected(error)); });
    return;
  }
  queue({"", std::make_shared<RuleFolder>(std::move(*folder)),
         [done = std::move(done)](const Result<Checked>& result) {
           done(result ? Status() : Status(tl::unexpected(result.error())));
         },
         false});
}

Result<std::string> Rules::read_file(const std::string& name) const {
  if (!is_rule_file(name)) return fail(ErrorCode::kNotFound, name + ": no such file");
  return env_.disk.read_all(options_.directory + "/" + name, options_.file_bytes_max);
}

// A file that came by HTTP is tried first; when it is good it is written, and only then runs.
void Rules::change_finished(const Job& job) {
  LAMBDA_ASSERT(!changes_.empty());
  Change& change = changes_.front();
  Result<Checked> result = Checked{};
  if (job.check_only) {
    std::set<std::string> bad_before;
    for (const RuleFileState& file : files_) {
      if (!file.errors.empty()) bad_before.insert(file.name);
    }
    for (const RuleFileState& file : job.files) {
      if (file.name != change.file && bad_before.count(file.name) != 0) continue;
      for (const cep::Diagnostic& error : file.errors) result->errors.push_back(format_diagnostic(file.name, error));
    }
    if (result->errors.empty()) {
      const auto& list = list_of(*change.folder, change.file);
      const auto at = std::ranges::find(list, change.file, &RuleText::name);
      const Status written = env_.disk.replace(options_.directory + "/" + change.file, bytes_of(at->text));
      // Others may have changed the folder while this one was checked.
      auto folder = written ? read_folder() : tl::unexpected(written.error());
      if (folder) {
        change.folder = std::make_shared<RuleFolder>(std::move(*folder));
        change.checked = true;
        return;
      }
      result = tl::unexpected(folder.error());
    }
  }
  const FileDone done = std::move(change.done);
  changes_.pop_front();
  if (done) done(std::move(result));
}

void Rules::name_errors(const std::vector<RuleFileState>& files) {
  for (const RuleFileState& file : files) {
    for (const cep::Diagnostic& error : file.errors) {
      env_.log.error("rules_file_refused", {{"at", format_diagnostic(options_.directory + "/" + file.name, error)},
                                            {"goes_on_without", file.name}});
    }
    for (const std::string& note : file.notes) {
      env_.log.warn("rules_table_note", {{"file", options_.directory + "/" + file.name}, {"note", note}});
    }
  }
}

}  // namespace lambda::gateway
