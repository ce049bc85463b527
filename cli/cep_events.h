// Events, tables and outputs of the rule engine as JSON lines.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/env/disk.h"
#include "cep/engine.h"
#include "cep/language/catalog.h"
#include "cep/stream/batch.h"
#include "cep/stream/output.h"

namespace lambda::cli {

// One line of an event file.
struct CepLine {
  // kNoRoom: a text of it is new, and the engine has room for no more; stream and t are set.
  enum class Kind : uint8_t { kEvent, kAdvance, kBad, kNoRoom } kind = Kind::kBad;
  std::string error;  // kBad, kNoRoom
  cep::StreamId stream = 0;
  int64_t t = 0;
  std::optional<int64_t> at;
  std::vector<cep::Value> columns;
};
CepLine read_cep_line(std::string_view line, const cep::Catalog& catalog, cep::Symbols& symbols);

// {"column":value,..}; kInvalid names the column.
Result<std::vector<cep::Value>> read_cep_row(std::string_view line, const cep::TableSchema& table,
                                             cep::Symbols& symbols);

// What a rule counted, and the engine, each as one line. `lines_dropped`: of the event file.
std::string write_cep_stats(const std::string& rule, const cep::RuleCounters& counters);
std::string write_cep_stats(const cep::EngineCounters& counters, uint64_t lines_dropped);

// One output as one line, without the line's end.
std::string write_cep_output(const cep::Output& output, const cep::RulePlan& rule, cep::Symbols& symbols);

// Calls `line(number, text)` for each line that is not blank, until it returns false. Numbers count from 1, blank lines
// included. An error is the disk's.
Status for_each_line(Disk& disk, const std::string& path, const std::function<bool(uint64_t, std::string_view)>& line);

}  // namespace lambda::cli
