#include "cli/facts.h"

#include <ostream>

namespace lambda::cli {

void print_facts(Output& output, const nlohmann::ordered_json& facts) {
  using nlohmann::ordered_json;
  if (output.json) {
    output.out << facts.dump(-1, ' ', false, ordered_json::error_handler_t::replace) << "\n";
    return;
  }
  Table table({"FACT", "VALUE"});
  for (const auto& [name, value] : facts.items()) {
    if (!value.is_array()) {
      table.add({name, value.is_string() ? value.get<std::string>() : value.dump()});
    }
  }
  table.print(output.out);
  for (const auto& [name, value] : facts.items()) {
    for (const auto& found : value.is_array() ? value : ordered_json::array()) {
      output.out << name << ": " << (found.is_string() ? found.get<std::string>() : found.dump()) << "\n";
    }
  }
}

}  // namespace lambda::cli
