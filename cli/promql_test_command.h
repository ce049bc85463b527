// `lambda promql test`: scripts of questions and expected answers (promql_script.h) against this program's evaluator.
#pragma once

#include <string>
#include <vector>

#include "base/env/disk.h"
#include "cli/output.h"

namespace lambda::cli {

struct PromqlTestOptions {
  std::vector<std::string> files;
};

// One line for each eval that fails, as FILE:LINE: TEXT; then {"evals":N,"passed":N,"unsupported":N,"failed":N}.
// Unsupported is what needs native histograms, start times, or a part of the language that is refused by name. A
// command that cannot be read counts as an eval that failed. An instant query is asked again as the middle of a range
// query, and must give the same. 1: something failed, or a file cannot be read.
int promql_test(Output& output, const PromqlTestOptions& options, Disk& disk);

}  // namespace lambda::cli
