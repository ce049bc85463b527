#include "gateway/rules/rules_api.h"

#include <nlohmann/json.hpp>
#include <string>
#include <utility>

namespace lambda::gateway {
namespace {

constexpr std::string_view kAlerts = "/api/v1/alerts";
constexpr std::string_view kRules = "/api/v1/rules";
constexpr std::string_view kFiles = "/api/v1/lambda/rules";

HttpResponse json_answer(int status, const nlohmann::ordered_json& body) {
  return {status, "application/json",
          body.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n"};
}

HttpResponse error_answer(const Error& error) {
  const int status = error.code == ErrorCode::kNotFound      ? 404
                     : error.code == ErrorCode::kInvalid     ? 400
                     : error.code == ErrorCode::kFull        ? 413
                     : error.code == ErrorCode::kUnavailable ? 503
                                                             : 500;
  return json_answer(status, {{"error", error.text}});
}

HttpResponse not_allowed(std::string methods) {
  HttpResponse response = json_answer(405, {{"error", "only " + methods}});
  response.headers.emplace_back("Allow", std::move(methods));
  return response;
}

void answer_file(Rules& rules, const std::string& name, const HttpRequest& request, HttpServer::Respond respond) {
  if (request.method == "GET") {
    auto text = rules.read_file(name);
    return respond(text ? HttpResponse{200, "text/plain; charset=utf-8", std::move(*text)}
                        : error_answer(text.error()));
  }
  if (request.method == "DELETE") {
    return rules.remove_file(name, [respond = std::move(respond)](const Status& status) {
      respond(status ? json_answer(200, {{"status", "removed"}}) : error_answer(status.error()));
    });
  }
  if (request.method != "PUT") return respond(not_allowed("GET, PUT, DELETE"));
  rules.put_file(name, request.body, [respond = std::move(respond)](const Result<Rules::Checked>& checked) {
    if (!checked) return respond(error_answer(checked.error()));
    if (!checked->errors.empty()) return respond(json_answer(422, {{"errors", checked->errors}}));
    respond(json_answer(200, {{"status", "running"}}));
  });
}

}  // namespace

bool serves_rules(std::string_view path) {
  return path == kAlerts || path == kRules || path == kFiles ||
         (path.starts_with(kFiles) && path.size() > kFiles.size() && path[kFiles.size()] == '/');
}

void answer_rules(Rules& rules, const HttpRequest& request, HttpServer::Respond respond) {
  const std::string_view path = request.path;
  if (path.size() > kFiles.size() && path.starts_with(kFiles)) {
    const std::string name(path.substr(kFiles.size() + 1));
    if (name == "reload") {
      if (request.method != "POST") return respond(not_allowed("POST"));
      rules.reload();
      return respond(json_answer(202, {{"status", "reading"}}));
    }
    return answer_file(rules, name, request, std::move(respond));
  }
  if (request.method != "GET") return respond(not_allowed("GET"));
  if (path == kFiles) return respond({200, "application/json", rules.files_json() + "\n"});
  const std::string data = path == kAlerts ? rules.alerts_json() : rules.rules_json();
  respond({200, "application/json", "{\"status\":\"success\",\"data\":" + data + "}"});
}

}  // namespace lambda::gateway
