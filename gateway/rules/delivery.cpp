#include "gateway/rules/delivery.h"

#include <algorithm>
#include <csignal>
#include <nlohmann/json.hpp>
#include <utility>

#include "gateway/rules/alertmanager.h"

namespace lambda::gateway {
namespace {

constexpr int64_t kRetryMs = 1'000;
constexpr uint64_t kAnswerBytesMax = 1u << 20;

bool takes(int status) {
  return status >= 200 && status < 300;
}
bool may_take_later(int status) {
  return status < 400 || status >= 500 || status == 408 || status == 429;
}

}  // namespace

Delivery::Delivery(Env& env, HttpPoster* http, DeliverySettings settings, Outbox& outbox, Publish publish)
    : env_(env), http_(http), settings_(std::move(settings)), outbox_(outbox), publish_(std::move(publish)) {}

Delivery::~Delivery() {
  *alive_ = false;
  for (auto& [name, receiver] : receivers_) env_.loop.cancel(receiver.timer);
  for (auto& [number, running] : running_) env_.loop.cancel(running.timer);
}

void Delivery::wake() {
  if (woken_) return;
  woken_ = true;
  env_.loop.post([this, alive = alive_] {
    if (!*alive) return;
    woken_ = false;
    for (const std::string& name : outbox_.receivers()) work(name);
  });
}

void Delivery::work(const std::string& name) {
  Receiver& receiver = receivers_[name];
  if (receiver.busy || receiver.timer != 0) return;
  const OutboxItem* item = outbox_.front(name);
  if (item == nullptr) {
    receivers_.erase(name);
    return;
  }
  const size_t space = name.find(' ');
  const std::string kind = name.substr(0, space);
  const std::string where = space == std::string::npos ? "" : name.substr(space + 1);
  if (kind == "webhook") {
    ask(name, *item, where, item->body);
  } else if (kind == "alertmanager") {
    ask(name, *item, where + "/api/v2/alerts", alertmanager_body(item->body, env_.clock.utc_ms()));
  } else if (kind == "mqtt") {
    publish(name, *item, where);
  } else if (kind == "exec") {
    run(name, *item, where);
  } else {
    counters_.refused++;  // of a later version
    done(name, item->number);
  }
}

void Delivery::ask(const std::string& name, const OutboxItem& item, const std::string& url, std::string body) {
  if (http_ == nullptr) return later(name, "this gateway asks nobody");
  HttpFetch fetch;
  fetch.url = url;
  fetch.headers = {{"Idempotency-Key", item.id}};
  fetch.timeout_ms = settings_.timeout_ms;
  fetch.body_bytes_max = kAnswerBytesMax;
  if (url.rfind("https://", 0) == 0) fetch.ca_file = settings_.ca_file;
  receivers_[name].busy = true;
  http_->post(std::move(fetch), "application/json", std::move(body),
              [this, alive = alive_, name, number = item.number](const Result<HttpPage>& answer) {
                if (*alive) answered(name, number, answer);
              });
}

void Delivery::answered(const std::string& name, uint64_t number, const Result<HttpPage>& answer) {
  receivers_[name].busy = false;
  if (!answer) {
    if (answer.error().code != ErrorCode::kInvalid) return later(name, answer.error().text);
    counters_.refused++;
    env_.log.warn("event_refused", {{"receiver", name}, {"why", answer.error().text}});
    done(name, number);
  } else if (takes(answer->status)) {
    counters_.delivered++;
    done(name, number);
  } else if (may_take_later(answer->status)) {
    later(name, "it answered " + std::to_string(answer->status));
  } else {
    counters_.refused++;
    env_.log.warn("event_refused", {{"receiver", name}, {"status", answer->status}});
    done(name, number);
  }
}

void Delivery::publish(const std::string& name, const OutboxItem& item, const std::string& topic) {
  const uint64_t number = item.number;
  if (auto sent = publish_("lambda/v1/" + settings_.site + "/alerts/" + topic, item.body); !sent) {
    return later(name, sent.error().text);
  }
  counters_.delivered++;
  done(name, number);
}

// The event's JSON is the last argument. No shell: nothing in it is read as anything else.
void Delivery::run(const std::string& name, const OutboxItem& item, const std::string& arguments) {
  if (running_.size() >= settings_.exec_count_max) return later(name, "too many programs run");
  const uint64_t number = item.number;
  const auto parsed = nlohmann::json::parse(arguments, nullptr, false);
  std::vector<std::string> command;
  for (const auto& argument : parsed) {
    if (argument.is_string()) command.push_back(argument.get<std::string>());
  }
  if (!settings_.exec || command.empty()) {
    counters_.refused++;
    return done(name, number);
  }
  command.push_back(item.body);
  const uint64_t run = next_running_++;
  auto child = env_.processes.spawn(command, [this, alive = alive_, run](int status) {
    if (*alive) exited(run, status);
  });
  if (!child) {
    counters_.exec_failed++;
    env_.log.warn("program_not_started", {{"program", command[0]}, {"why", child.error().text}});
  } else {
    counters_.exec_started++;
    Running& running = running_[run];
    running.child = std::move(*child);
    running.timer = env_.loop.after(settings_.exec_ms_max, [this, run, program = command[0]] {
      running_[run].timer = 0;
      counters_.exec_ended_late++;
      env_.log.warn("program_ended", {{"program", program}, {"after_ms", settings_.exec_ms_max}});
      running_[run].child->signal(SIGKILL);
    });
    counters_.delivered++;
  }
  done(name, number);
}

void Delivery::exited(uint64_t number, int status) {
  const auto found = running_.find(number);
  if (found == running_.end()) return;
  if (status != 0) counters_.exec_failed++;
  env_.loop.cancel(found->second.timer);
  running_.erase(found);
  wake();
}

void Delivery::done(const std::string& name, uint64_t number) {
  outbox_.finish(name, number);
  receivers_[name].delay_ms = 0;
  wake();  // the next one, from the loop
}

void Delivery::later(const std::string& name, const std::string& why) {
  Receiver& receiver = receivers_[name];
  counters_.failed_attempts++;
  if (receiver.delay_ms == 0) env_.log.warn("receiver_not_reached", {{"receiver", name}, {"why", why}});
  receiver.delay_ms = std::clamp(receiver.delay_ms * 2, kRetryMs, std::max(kRetryMs, settings_.retry_ms_max));
  const int64_t spread = receiver.delay_ms / 2;
  const int64_t delay_ms =
      receiver.delay_ms - spread + static_cast<int64_t>(env_.random.below(static_cast<uint64_t>(spread) + 1));
  receiver.timer = env_.loop.after(delay_ms, [this, name] {
    receivers_[name].timer = 0;
    work(name);
  });
}

}  // namespace lambda::gateway
