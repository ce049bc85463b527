#include "cli/rules_command.h"

#include <nlohmann/json.hpp>
#include <optional>
#include <ostream>
#include <utility>

#include "cli/cep_command.h"

namespace lambda::cli {
namespace {

using nlohmann::json;

constexpr const char* kFiles = "/api/v1/lambda/rules";
constexpr uint64_t kRulesBytesMax = 16 << 20;

std::string text_at(const json& value, const char* key) {
  const auto found = value.is_object() ? value.find(key) : value.end();
  if (!value.is_object() || found == value.end() || found->is_null()) {
    return "";
  }
  return found->is_string() ? found->get<std::string>() : found->dump();
}

json list_at(const json& value, const char* key) {
  return value.is_object() && value.contains(key) && value[key].is_array() ? value[key] : json::array();
}

std::string with_suffix(const std::string& name) {
  return name.ends_with(".sql") || name.ends_with(".jsonl") ? name : name + ".sql";
}

// What the gateway says when it does not do what it was asked.
int refused(Output& output, const std::string& url, const HttpResponse& response) {
  const json body = json::parse(response.body, nullptr, false);
  const json errors = list_at(body, "errors");
  if (!errors.empty()) {
    if (output.json) {
      output.out << json{{"errors", errors}}.dump() << "\n";
    } else {
      for (const json& error : errors) {
        output.err << (error.is_string() ? error.get<std::string>() : error.dump()) << "\n";
      }
    }
    return kExitRules;
  }
  const std::string why = text_at(body, "error");
  return report(output, {ErrorCode::kDenied,
                         url + " answered " + std::to_string(response.status) + (why.empty() ? "" : ": " + why)});
}

// The answer when it is a good one; else its exit status.
struct Answer {
  std::optional<HttpResponse> good;
  int status = kExitDone;
};
Answer get(Output& output, const RulesOptions& options, const std::string& path, const Ask& ask) {
  const HttpCall call = make_call(options.server, path, {}, false);
  auto response = ask(call);
  if (!response) {
    return {std::nullopt, report(output, response.error())};
  }
  if (response->status != 200) {
    return {std::nullopt, refused(output, call.url, *response)};
  }
  return {std::move(*response), kExitDone};
}

}  // namespace

int rules_list(Output& output, const RulesOptions& options, const Ask& ask) {
  const Answer answer = get(output, options, kFiles, ask);
  if (!answer.good) {
    return answer.status;
  }
  if (output.json) {
    output.out << answer.good->body;
    return kExitDone;
  }
  const json body = json::parse(answer.good->body, nullptr, false);
  Table table({"FILE", "RULE", "EVENTS", "OUTPUTS", "LATE", "DO"});
  for (const json& file : list_at(body, "files")) {
    const std::string name = text_at(file, "file");
    for (const json& rule : list_at(file, "rules")) {
      std::string actions;
      for (const json& action : list_at(rule, "actions")) {
        actions += (actions.empty() ? "" : ",") + (action.is_string() ? action.get<std::string>() : "?");
      }
      table.add({name, text_at(rule, "rule"), text_at(rule, "events"), text_at(rule, "outputs"),
                 text_at(rule, "late_dropped"), actions});
    }
    if (list_at(file, "rules").empty()) {
      table.add({name, list_at(file, "errors").empty() ? "-" : "(refused)", "", "", "", ""});
    }
  }
  table.print(output.out);
  for (const json& file : list_at(body, "files")) {
    for (const json& error : list_at(file, "errors")) {
      output.err << text_at(file, "file") << ":" << text_at(error, "line") << ":" << text_at(error, "column") << ": "
                 << text_at(error, "error") << "\n";
    }
    for (const json& note : list_at(file, "notes")) {
      output.err << text_at(file, "file") << ": " << (note.is_string() ? note.get<std::string>() : "") << "\n";
    }
  }
  return kExitDone;
}

int rules_show(Output& output, const RulesOptions& options, const Ask& ask) {
  const Answer answer = get(output, options, std::string(kFiles) + "/" + with_suffix(options.name), ask);
  if (!answer.good) {
    return answer.status;
  }
  if (output.json) {
    output.out << json{{"file", with_suffix(options.name)}, {"text", answer.good->body}}.dump(
                      -1, ' ', false, json::error_handler_t::replace)
               << "\n";
  } else {
    output.out << answer.good->body;
  }
  return kExitDone;
}

int rules_put(Output& output, const RulesOptions& options, bool add, Disk& disk, const Ask& ask) {
  auto text = disk.read_all(options.file, kRulesBytesMax);
  if (!text) {
    return report(output, text.error());
  }
  const std::string own_name = options.file.substr(options.file.rfind('/') + 1);
  const std::string name = with_suffix(options.name.empty() ? own_name : options.name);
  const std::string path = std::string(kFiles) + "/" + name;
  const HttpCall question = make_call(options.server, path, {}, false);
  const auto there = ask(question);
  if (!there) {
    return report(output, there.error());
  }
  if (there->status != 200 && there->status != 404) {
    return refused(output, question.url, *there);
  }
  if (add == (there->status == 200)) {
    return report(output, {ErrorCode::kInvalid, name + (add ? " is there already; see: lambda rules replace"
                                                            : " is not there; see: lambda rules add")});
  }
  HttpCall call = question;
  call.method = "PUT";
  call.content_type = "text/plain; charset=utf-8";
  call.body = std::move(*text);
  const auto response = ask(call);
  if (!response) {
    return report(output, response.error());
  }
  if (response->status != 200) {
    return refused(output, call.url, *response);
  }
  output.out << (output.json ? json{{"file", name}, {"status", "running"}}.dump() : name + " runs") << "\n";
  return kExitDone;
}

int rules_remove(Output& output, const RulesOptions& options, const Ask& ask) {
  const std::string name = with_suffix(options.name);
  HttpCall call = make_call(options.server, std::string(kFiles) + "/" + name, {}, false);
  call.method = "DELETE";
  const auto response = ask(call);
  if (!response) {
    return report(output, response.error());
  }
  if (response->status != 200) {
    return refused(output, call.url, *response);
  }
  output.out << (output.json ? json{{"file", name}, {"status", "removed"}}.dump() : name + " is removed") << "\n";
  return kExitDone;
}

int rules_alerts(Output& output, const RulesOptions& options, const Ask& ask) {
  const Answer answer = get(output, options, "/api/v1/alerts", ask);
  if (!answer.good) {
    return answer.status;
  }
  if (output.json) {
    output.out << answer.good->body << "\n";
    return kExitDone;
  }
  const json body = json::parse(answer.good->body, nullptr, false);
  Table table({"STATE", "RULE", "SINCE", "KEY", "FIELDS"});
  const auto pairs = [](const json& object, bool names) {
    std::string out;
    if (!object.is_object()) {
      return out;
    }
    for (const auto& [name, value] : object.items()) {
      if (!names || (name != "alertname" && name != "site")) {
        out += (out.empty() ? "" : " ") + name + "=" + (value.is_string() ? value.get<std::string>() : value.dump());
      }
    }
    return out;
  };
  const json data = body.is_object() && body.contains("data") ? body["data"] : json::object();
  for (const json& alert : list_at(data, "alerts")) {
    const auto object_at = [&alert](const char* key) {
      return alert.is_object() && alert.contains(key) ? alert[key] : json::object();
    };
    const json labels = object_at("labels");
    table.add({text_at(alert, "state"), text_at(labels, "alertname"), text_at(alert, "activeAt"), pairs(labels, true),
               pairs(object_at("annotations"), false)});
  }
  table.print(output.out);
  return kExitDone;
}

}  // namespace lambda::cli
