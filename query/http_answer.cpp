#include "query/http_answer.h"

#include "query/json.h"

namespace lambda::query {
namespace {

std::string_view result_type_word(ExpressionType type) {
  switch (type) {
    case ExpressionType::kScalar:
      return "scalar";
    case ExpressionType::kString:
      return "string";
    case ExpressionType::kVector:
      return "vector";
    case ExpressionType::kMatrix:
      return "matrix";
  }
  return "?";
}

void append_list(std::string& out, std::string_view name, const std::vector<std::string>& texts) {
  if (texts.empty()) {
    return;
  }
  out += ",\"";
  out += name;
  out += "\":[";
  for (size_t i = 0; i < texts.size(); ++i) {
    out += i == 0 ? "" : ",";
    append_json_string(out, texts[i]);
  }
  out += ']';
}

void append_matrix_series(std::string& out, const ResultSeries& series) {
  out += "{\"metric\":";
  append_json_labels(out, series.labels);
  out += ",\"values\":[";
  for (size_t i = 0; i < series.samples.size(); ++i) {
    if (i > 0) {
      out += ',';
    }
    append_json_sample(out, series.samples[i]);
  }
  out += "]}";
}

void append_vector_series(std::string& out, const ResultSeries& series) {
  out += "{\"metric\":";
  append_json_labels(out, series.labels);
  out += ",\"value\":";
  append_json_sample(out, series.samples.front());
  out += '}';
}

}  // namespace

Result<std::string> result_body(const QueryResult& result, uint64_t bytes_max) {
  std::string out = "{\"status\":\"success\",\"data\":{\"resultType\":\"";
  out += result_type_word(result.type);
  out += "\",\"result\":";
  switch (result.type) {
    case ExpressionType::kScalar:
      append_json_sample(out, result.scalar);
      break;
    case ExpressionType::kString: {
      out += '[';
      std::string sample;
      append_json_sample(sample, result.scalar);
      out += sample.substr(1, sample.find(','));  // the time and the comma
      append_json_string(out, result.string);
      out += ']';
      break;
    }
    case ExpressionType::kVector:
    case ExpressionType::kMatrix:
      out += '[';
      for (size_t i = 0; i < result.series.size(); ++i) {
        if (i > 0) {
          out += ',';
        }
        if (result.type == ExpressionType::kVector) {
          append_vector_series(out, result.series[i]);
        } else {
          append_matrix_series(out, result.series[i]);
        }
        if (out.size() > bytes_max) {
          break;
        }
      }
      out += ']';
      break;
  }
  if (out.size() > bytes_max) {
    return fail(ErrorCode::kFull, "the answer is longer than " + std::to_string(bytes_max) +
                                      " bytes: ask for fewer series, a shorter time or a larger step");
  }
  out += '}';
  append_list(out, "warnings", result.warnings);
  append_list(out, "infos", result.infos);
  out += '}';
  return out;
}

std::string data_body(std::string_view data, const std::vector<std::string>& warnings) {
  std::string out = "{\"status\":\"success\",\"data\":";
  out += data;
  append_list(out, "warnings", warnings);
  return out + '}';
}

HttpResponse error_response(int status, std::string_view type, std::string_view text) {
  std::string body = "{\"status\":\"error\",\"errorType\":\"";
  body += type;
  body += "\",\"error\":";
  append_json_string(body, text);
  return {status, "application/json", body + '}'};
}

HttpResponse bad_parameter(std::string_view name, std::string_view text) {
  return error_response(400, "bad_data", "invalid parameter \"" + std::string(name) + "\": " + std::string(text));
}

}  // namespace lambda::query
