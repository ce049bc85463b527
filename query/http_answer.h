// The bodies of answers to questions: Prometheus' envelope around results and errors.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/env/network.h"
#include "base/result.h"
#include "query/evaluator.h"

namespace lambda::query {

// {"status":"success","data":{"resultType":...,"result":...}}. kFull past `bytes_max`.
Result<std::string> result_body(const QueryResult& result, uint64_t bytes_max);
// `data` is JSON.
std::string data_body(std::string_view data, const std::vector<std::string>& warnings);

// `type` is Prometheus' word: "bad_data", "execution" ...
HttpResponse error_response(int status, std::string_view type, std::string_view text);
HttpResponse bad_parameter(std::string_view name, std::string_view text);

}  // namespace lambda::query
