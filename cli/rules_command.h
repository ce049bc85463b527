// `lambda rules`: the rules of a running gateway.
#pragma once

#include <string>

#include "base/env/disk.h"
#include "cli/output.h"
#include "cli/server.h"

namespace lambda::cli {

struct RulesOptions {
  Server server;
  std::string name;  // of a file: "pumps.sql"; ".sql" may be left out
  std::string file;  // its text, on this machine
};

// Files, their rules, and what is wrong with them.
int rules_list(Output& output, const RulesOptions& options, const Ask& ask);
// The text of a file.
int rules_show(Output& output, const RulesOptions& options, const Ask& ask);
// Hands `file` to the gateway as `name` (empty: the file's own name). Errors of the rules are on standard error, one a
// line, and the exit status is kExitRules; then nothing has changed. `add`: only if there is no such file; else only
// if there is one.
int rules_put(Output& output, const RulesOptions& options, bool add, Disk& disk, const Ask& ask);
int rules_remove(Output& output, const RulesOptions& options, const Ask& ask);
// What is pending and what fires.
int rules_alerts(Output& output, const RulesOptions& options, const Ask& ask);

}  // namespace lambda::cli
