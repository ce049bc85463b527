#include "cli/output.h"

#include <algorithm>
#include <nlohmann/json.hpp>
#include <ostream>

namespace lambda::cli {
namespace {

// Characters, not bytes: labels may hold any UTF-8.
size_t width_of(const std::string& text) {
  return static_cast<size_t>(std::ranges::count_if(text, [](char c) { return (c & 0xC0) != 0x80; }));
}

}  // namespace

std::string shown(std::string text) {
  for (size_t i = 0; i < text.size(); ++i) {
    const auto c = static_cast<unsigned char>(text[i]);
    const bool control = (c < ' ' && c != '\n') || c == 0x7F;
    // U+0080 to U+009F, which terminals take for controls too, are two bytes.
    const bool second_set =
        c == 0xC2 && i + 1 < text.size() && (static_cast<unsigned char>(text[i + 1]) & 0xE0) == 0x80;
    if (control || second_set) text[i] = '?';
    if (second_set) text.erase(i + 1, 1);
  }
  return text;
}

int report(Output& output, const Error& error) {
  if (output.json) {
    output.out << nlohmann::json{{"error", error.text}}.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace)
               << "\n";
  } else {
    output.err << "lambda: " << shown(error.text) << "\n";
  }
  return error.code == ErrorCode::kUnavailable ? kExitUnreachable : kExitFailed;
}

void Table::add(std::vector<std::string> cells) {
  for (std::string& cell : cells) {
    cell = shown(std::move(cell));
    std::ranges::replace(cell, '\n', ' ');  // a row is a line
  }
  rows_.push_back(std::move(cells));
}

void Table::print(std::ostream& out) const {
  std::vector<size_t> widths;
  for (const auto& row : rows_) {
    widths.resize(std::max(widths.size(), row.size()));
    for (size_t i = 0; i < row.size(); ++i) {
      widths[i] = std::max(widths[i], width_of(row[i]));
    }
  }
  for (const auto& row : rows_) {
    for (size_t i = 0; i < row.size(); ++i) {
      out << row[i];
      if (i + 1 < row.size()) {
        out << std::string(widths[i] - width_of(row[i]) + 2, ' ');
      }
    }
    out << "\n";
  }
}

}  // namespace lambda::cli
