// What of a rule decides how its state looks: two rules of one shape can go on with each other's state.
#pragma once

#include <cstdint>

#include "cep/language/catalog.h"

namespace lambda::cep {

// The same for rules that read the same streams in the same way by the same keys, windows and steps. Names, actions,
// PRIORITY, bounds, and the constants of conditions may differ; so may the durations of alerts, whose running timers
// keep their ends. A hash: does not depend on the numbers of one engine, may be saved.
uint64_t shape_of(const RulePlan& plan, const Catalog& catalog, const Symbols& symbols);

}  // namespace lambda::cep
