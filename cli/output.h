// How the commands speak: answers on `out`, complaints on `err`; with `json` everything is one JSON value on `out`.
#pragma once

#include <iosfwd>
#include <string>
#include <vector>

#include "base/result.h"

namespace lambda::cli {

// Exit statuses; also in README.md and in --help.
inline constexpr int kExitDone = 0;
inline constexpr int kExitFailed = 1;       // refused, malformed, damaged: the text says what and where
inline constexpr int kExitUsage = 2;        // the command line is wrong
inline constexpr int kExitUnreachable = 3;  // the program that was asked did not answer

struct Output {
  std::ostream& out;
  std::ostream& err;
  bool json = false;
};

// Text of another program, for a person's terminal: control characters, which could move its cursor or set its title,
// become '?'. Lines are kept.
std::string shown(std::string text);

// Prints the error, as {"error":"..."} or as "lambda: ..."; returns the exit status for it.
int report(Output& output, const Error& error);

// Columns of text, each as wide as its widest cell. Wide tables are not cut. Cells are shown().
class Table {
 public:
  explicit Table(std::vector<std::string> titles) : rows_{std::move(titles)} {}
  void add(std::vector<std::string> cells);
  void print(std::ostream& out) const;

 private:
  std::vector<std::vector<std::string>> rows_;
};

}  // namespace lambda::cli
