// Statements to schemas and plans: names found or a near one suggested, types checked, what could grow without bound
// refused. The last stage that knows the text.
#pragma once

#include <optional>

#include "cep/language/ast.h"
#include "cep/language/catalog.h"
#include "cep/language/plan.h"
#include "cep/language/scope.h"

namespace lambda::cep {

// Adds a stream or table to the catalog; false and `errors` when it is wrong.
bool bind_stream(const ast::CreateStream& statement, Catalog& catalog, Diagnostics& errors);
bool bind_table(const ast::CreateTable& statement, Catalog& catalog, Diagnostics& errors);

// The rule's plan, without id and output stream; nothing and `errors` when it is wrong. The catalog is not changed.
std::optional<RulePlan> bind_rule(const ast::CreateRule& statement, const Catalog& catalog, Symbols& symbols,
                                  Diagnostics& errors);

// The stream that other rules read of this one (41).
StreamSchema output_schema(const RulePlan& plan);

}  // namespace lambda::cep
