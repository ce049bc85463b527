// What rules take of memory, estimated from their plans: before they run, and the same on every machine.
#pragma once

#include <cstddef>

#include "cep/language/catalog.h"

namespace lambda::cep {

// The rule itself, idle: plan, machine, tables of its engine.
size_t rule_bytes(const RulePlan& plan);
// How much more the rule can hold after one event than before it.
size_t event_bytes(const RulePlan& plan, const Catalog& catalog);

}  // namespace lambda::cep
