// The rules over HTTP:
//
//   GET    /api/v1/alerts, /api/v1/rules      as Prometheus' (what is a group there is a file here)
//   GET    /api/v1/lambda/rules               files, their rules and errors, what is counted
//   GET    /api/v1/lambda/rules/<name>        the text of a file: pumps.sql, limits.jsonl
//   PUT    /api/v1/lambda/rules/<name>        checked with all others, written, and running when this answers 200; 422
//                                             with {"errors":["pumps.sql:3:12: ..."]}: nothing was changed
//   DELETE /api/v1/lambda/rules/<name>        404 when there is none
//   POST   /api/v1/lambda/rules/reload        reads the folder again
//
// Loop thread.
#pragma once

#include <string_view>

#include "base/env/network.h"
#include "gateway/rules/rules.h"

namespace lambda::gateway {

bool serves_rules(std::string_view path);
void answer_rules(Rules& rules, const HttpRequest& request, HttpServer::Respond respond);

}  // namespace lambda::gateway
