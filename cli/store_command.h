// `lambda store check|repair|export`: a gateway's store while no gateway has it open.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "base/env/env.h"
#include "cli/output.h"
#include "gateway/store/store.h"

namespace lambda::cli {

struct StoreOptions {
  std::string directory;
  bool progress = false;  // check: per cents on `err`
  std::string selector = "{__name__!=\"\"}";
  std::string start, end;  // export: parse_moment_ms(); empty: no bound
  std::string format;      // export: "csv" or "jsonl"; empty: csv, jsonl with --json
};

// Every record is read, every block decoded, the index compared. kExitFailed when something is wrong.
int store_check(Output& output, const StoreOptions& options, Disk& disk);
// Mends what can be mended and says what it did; the damaged originals stay beside their good parts.
int store_repair(Output& output, const StoreOptions& options, Disk& disk);

// The loop of `env`, and what the user does to stop us.
struct ExportWorld {
  Env& env;
  std::function<void()> run;  // runs env.loop until `stop` was called
  std::function<void()> stop;
  std::function<bool()> interrupted;  // a signal came while the loop ran
};
// A store that no gateway has open, ready for questions. Its index is computed first where it is missing.
Result<std::unique_ptr<gateway::Store>> open_to_read(const std::string& directory, ExportWorld& world);
// The points of the series that match, on `out`. Opens the store, so the index is computed first where it is missing.
int store_export(Output& output, const StoreOptions& options, ExportWorld& world);

}  // namespace lambda::cli
