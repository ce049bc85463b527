// What became of a rule: how it will be run, what it is found by, what it may hold.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "cep/language/catalog.h"

namespace lambda::cep {

// Pairs of what and how, in a fixed order, for people to read.
std::vector<std::pair<std::string, std::string>> explain_rule(const RulePlan& plan, const Catalog& catalog,
                                                              const Symbols& symbols);

}  // namespace lambda::cep
