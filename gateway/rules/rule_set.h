// The rules of a gateway: the texts of a folder made into one engine.
//
// A file NAME.sql holds CREATE STREAM, TABLE and RULE statements; NAME.jsonl holds the rows of table NAME, one JSON
// object a line. What is wrong with a file keeps that file out, and no other. A stream or table may stand in several
// files if it is declared alike; where they differ, the file that comes first by name is right and the other one is
// kept out. Files may read each other's rules, whatever their names.
//
// On the gateway a stream is a metric: `value DOUBLE` is the number, `dev` and `instance` are the device's name, `site`
// is the site's, and every other column is the label of its name, null where a series has none.
//
// The gateway's defaults for OPTIONS are written into each rule's text before the engine reads it; places in errors are
// those of the file. An alert's keys must be among its SELECT items: whoever is told of it must know whose it is.
//
// Pure functions: any thread.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "cep/engine.h"

namespace lambda::gateway {

struct RuleText {
  std::string name;  // "pumps.sql", "limits.jsonl"
  std::string text;
  std::string problem = {};  // why it could not be read; empty: it was
};

// Ascending by name.
struct RuleFolder {
  std::vector<RuleText> rules;
  std::vector<RuleText> tables;
};

struct RuleSetSettings {
  cep::EngineSettings engine;
  bool exec_allowed = false;
  std::vector<std::string> exec_programs;  // that exec may name, if it is allowed
  bool exec_any = false;                   // whatever it names: for a replay, which runs nothing
  int64_t block_delay_ms = 90'000;         // idle and max_delay of rules that do not set them
};

// What became of a file.
struct RuleFileState {
  std::string name;
  uint64_t bytes = 0;
  struct Rule {
    std::string name, text;
  };
  std::vector<Rule> rules;              // that run
  std::vector<cep::Diagnostic> errors;  // with one, none of its rules run
  std::vector<std::string> notes;       // rows of a table that were left out, and the like
};

// Where a column of a stream comes from.
enum class ColumnFrom : uint8_t { kValue, kDevice, kSite, kLabel };
struct StreamColumns {
  cep::StreamId stream = 0;
  std::string metric;
  std::vector<ColumnFrom> from;
};

struct RuleSet {
  std::unique_ptr<cep::Engine> engine;
  std::vector<RuleFileState> files;
  std::vector<std::string> file_of_rule;  // by RuleId
  // By RuleId, of alerts: which items are their keys, ascending.
  std::vector<std::vector<size_t>> key_items;
  std::vector<StreamColumns> streams;  // that some rule reads

  size_t errors() const;
};

// Never fails as a whole: see RuleFileState::errors.
std::unique_ptr<RuleSet> make_rule_set(const RuleFolder& folder, const RuleSetSettings& settings, cep::BatchSink sink);

}  // namespace lambda::gateway
