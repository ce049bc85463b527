#include "gateway/rules/delivery.h"

#include <algorithm>
#include <csignal>
#include <nlohmann/json.hpp>
#include <utility>

#include "gateway/rules/alertmanager.h"

namespace lambda::gateway {
namespace {

constexpr int64_t kRetryMs = 1'000;
constexpr int64_t kPublishMsMin = 5'000;  // a broker of a full site may take a while
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
  for (auto& [name, receiver] : receivers_) {
    env_.loop.cancel(receiver.timer);
    env_.loop.cancel(receiver.limit);
  }
  for (auto& [name, running] : running_) {
    env_.loop.cancel(running.timer);
    // All at once: nobody waits for one after the other. They are run again, by the next process.
    running.child->signal(SIGKILL);
  }
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

void Delivery::broker_back() {
  for (auto& [name, receiver] : receivers_) {
    if (!name.starts_with("mqtt ")) continue;
    env_.loop.cancel(std::exchange(receiver.timer, 0));
    receiver.delay_ms = 0;
  }
  wake();
}

void Delivery::work(const std::string& name) {
  Receiver& receiver = receivers_[name];
  if (receiver.busy || receiver.timer != 0) return;
  const OutboxItem* item = outbox_.front(name);
  if (item == nullptr) {
    receivers_.erase(name);
    return;
  }
  if (settings_.event_age_ms_max > 0 && env_.clock.utc_ms() - item->at_ms > settings_.event_age_ms_max) {
    counters_.too_old++;
    if (!receiver.late)
      env_.log.warn("events_too_old", {{"receiver", name}, {"age_ms_max", settings_.event_age_ms_max}});
    receiver.late = true;
    return done(name, item->number);
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
  const uint64_t number = item.number, attempt = ++attempts_;
  auto sent = publish_("lambda/v1/" + settings_.site + "/alerts/" + topic, item.body,
                       [this, alive = alive_, name, number, attempt](const Status& status) {
                         if (*alive) published(name, number, attempt, status);
                       });
  if (!sent) return later(name, sent.error().text);
  Receiver& receiver = receivers_[name];
  receiver.busy = true;
  receiver.attempt = attempt;
  // A connection that is dead is noticed by its keepalive; a broker that answers pings alone, by this.
  receiver.limit = env_.loop.after(std::max(settings_.timeout_ms, kPublishMsMin), [this, name, number, attempt] {
    published(name, number, attempt, fail(ErrorCode::kUnavailable, "the broker acknowledges nothing"));
  });
}

// `name` by value: the one that was handed in may be of the timer that is cancelled.
void Delivery::published(std::string name, uint64_t number, uint64_t attempt, const Status& status) {
  const auto found = receivers_.find(name);
  if (found == receivers_.end() || found->second.attempt != attempt) return;
  found->second.busy = false;
  found->second.attempt = 0;
  env_.loop.cancel(std::exchange(found->second.limit, 0));
  if (!status) return later(name, status.error().text);
  counters_.delivered++;
  done(name, number);
}

bool Delivery::may_run(const std::vector<std::string>& command) const {
  return !command.empty() && std::ranges::find(settings_.programs, command[0]) != settings_.programs.end();
}

// No shell: nothing in the event is read as anything else.
void Delivery::run(const std::string& name, const OutboxItem& item, const std::string& arguments) {
  if (running_.size() >= settings_.exec_count_max) {
    if (std::ranges::find(waiting_, name) == waiting_.end()) waiting_.push_back(name);
    return;
  }
  const uint64_t number = item.number;
  const auto parsed = nlohmann::json::parse(arguments, nullptr, false);
  std::vector<std::string> command;
  for (const auto& argument : parsed) {
    if (argument.is_string()) command.push_back(argument.get<std::string>());
  }
  if (!may_run(command)) {
    counters_.refused++;
    env_.log.warn("event_refused", {{"receiver", name}, {"why", "it is not among rules.exec_programs"}});
    return done(name, number);
  }
  auto child = env_.processes.spawn_apart(command, item.body, [this, alive = alive_, name](int status) {
    if (*alive) exited(name, status);
  });
  if (!child && child.error().code == ErrorCode::kUnavailable) return later(name, child.error().text);
  if (!child) {
    counters_.exec_failed++;
    env_.log.warn("program_not_started", {{"program", command[0]}, {"why", child.error().text}});
    return done(name, number);
  }
  counters_.exec_started++;
  receivers_[name].busy = true;
  Running& running = running_[name];
  running.number = number;
  running.child = std::move(*child);
  running.timer = env_.loop.after(settings_.exec_ms_max, [this, name, program = command[0]] {
    Running& late = running_[name];
    late.timer = 0;
    late.late = true;
    counters_.exec_ended_late++;
    env_.log.warn("program_ended", {{"program", program}, {"after_ms", settings_.exec_ms_max}});
    late.child->signal(SIGKILL);
  });
}

// `name` by value: the one that was handed in goes with the child.
void Delivery::exited(std::string name, int status) {
  const auto found = running_.find(name);
  if (found == running_.end()) return;
  const Running ended = std::move(found->second);
  running_.erase(found);
  env_.loop.cancel(ended.timer);
  Receiver& receiver = receivers_[name];
  receiver.busy = false;
  if (status == 0) {
    receiver.failing = false;
  } else if (!ended.late) {
    counters_.exec_failed++;
    if (!receiver.failing) env_.log.warn("program_failed", {{"receiver", name}, {"status", status}});
    receiver.failing = true;
  }
  counters_.delivered++;
  done(name, ended.number);
  start_waiting();  // before wake() lets the same receiver take its place again
}

void Delivery::start_waiting() {
  while (!waiting_.empty() && running_.size() < settings_.exec_count_max) {
    const std::string name = std::move(waiting_.front());
    waiting_.pop_front();
    work(name);
  }
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
