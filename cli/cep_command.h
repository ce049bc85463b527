// `lambda cep`: rules checked, and run over a file of events.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "base/env/disk.h"
#include "cep/engine.h"
#include "cli/output.h"

namespace lambda::cli {

inline constexpr int kExitRules = 2;  // the rules are wrong; each error is on standard error as file:line:column

// Has this build wrong readings planted (cep/mutant.h)?
#ifdef LAMBDA_CEP_MUTANTS
inline constexpr bool kCepMutants = true;
#else
inline constexpr bool kCepMutants = false;
#endif

struct CepOptions {
  std::string rules_file;
  std::string events_file;
  std::vector<std::string> tables;  // NAME=FILE
  uint64_t batch = 1024;            // lines that are handed over at once
  uint64_t shards = 1;
  std::optional<uint64_t> snapshot_at;  // save, drop, restore and go on after this event
  bool stats = false;                   // what was counted, on `err`, at the end: one JSON object a line
  uint64_t text_bytes_max = cep::EngineSettings{}.text_bytes_max;  // of the engine
  std::string mutant;                                              // of builds with LAMBDA_CEP_MUTANTS
};

// Prints the outputs of all rules with DO, one JSON object a line. Events that are wrong are dropped, with a line on
// `err`; 1: a file cannot be read.
int cep_run(Output& output, const CepOptions& options, Disk& disk);
int cep_check(Output& output, const CepOptions& options, Disk& disk);
// How each rule will be run: plan, index, bounds, what a key holds.
int cep_explain(Output& output, const CepOptions& options, Disk& disk);
// One name a line, and what is wrong about it.
int cep_list_mutants(Output& output);

}  // namespace lambda::cli
