// The folder of rules: read, changed from outside, and swapped.
#include <algorithm>
#include <set>
#include <utility>

#include "gateway/rules/rules_job.h"

namespace lambda::gateway {
namespace {

constexpr size_t kChangesMax = 64;

// "pumps.sql", "limits.jsonl"; nothing that leads elsewhere, and no hidden file.
bool is_rule_file(const std::string& name) {
  const size_t dot = name.rfind('.');
  if (dot == std::string::npos || dot == 0 || name.size() > 128 || name[0] == '.' || name[0] == '-') return false;
  const std::string suffix = name.substr(dot);
  return (suffix == ".sql" || suffix == ".jsonl") &&
         name.find_first_not_of("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.") ==
             std::string::npos;
}

std::vector<RuleText>& list_of(RuleFolder& folder, const std::string& name) {
  return name.ends_with(".sql") ? folder.rules : folder.tables;
}

std::span<const std::byte> bytes_of(const std::string& text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

}  // namespace

// What cannot be read, or is too large, is named and left out.
RuleFolder Rules::read_folder() {
  RuleFolder folder;
  const auto entries = env_.disk.list(options_.directory);
  if (!entries) {
    counters_.files_refused++;
    env_.log.error("rules_not_read", {{"why", entries.error().text}});
    return folder;
  }
  uint64_t count = 0;
  for (const DirEntry& entry : *entries) {
    if (!is_rule_file(entry.name)) continue;
    const std::string path = options_.directory + "/" + entry.name;
    if (++count > options_.files_max) {
      counters_.files_refused++;
      env_.log.error("rules_too_many_files", {{"file", path}, {"files_max", options_.files_max}});
      break;
    }
    auto text = env_.disk.read_all(path, options_.file_bytes_max);
    if (!text) {
      counters_.files_refused++;
      env_.log.error("rules_file_not_read", {{"file", path}, {"why", text.error().text}});
      continue;
    }
    list_of(folder, entry.name).push_back({entry.name, std::move(*text)});
  }
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

void Rules::reload() {
  queue({"", std::make_shared<RuleFolder>(read_folder()), {}, false});
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
  auto folder = std::make_shared<RuleFolder>(read_folder());
  auto& list = list_of(*folder, name);
  const auto at = std::ranges::lower_bound(list, name, {}, &RuleText::name);
  if (at != list.end() && at->name == name) {
    at->text = std::move(text);
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
  queue({"", std::make_shared<RuleFolder>(read_folder()),
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
      if (written) {
        // Others may have changed the folder while this one was checked.
        change.folder = std::make_shared<RuleFolder>(read_folder());
        change.checked = true;
        return;
      }
      result = tl::unexpected(written.error());
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
