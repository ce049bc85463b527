// What is wrong with a rule's text, and where. Lines and columns count from 1; a column is a byte.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace lambda::cep {

struct Position {
  uint32_t line = 1;
  uint32_t column = 1;
};

struct Diagnostic {
  Position at;
  std::string text;  // what was found, what was expected, the near name
};

// "file:line:col: text"
std::string format_diagnostic(std::string_view file, const Diagnostic& diagnostic);

// As near_name(), but when none is near it names them all, as long as they are few.
std::string name_hint(std::string_view name, std::vector<std::string> candidates);

// "; did you mean \"x\"?" for the candidate that is nearest to `name`, when one is near enough; else empty.
std::string near_name(std::string_view name, const std::vector<std::string>& candidates);

}  // namespace lambda::cep
