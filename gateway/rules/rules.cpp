#include "gateway/rules/rules.h"

#include <algorithm>
#include <utility>

#include "gateway/rules/rules_job.h"
#include "gateway/rules/rules_state.h"
#include "gateway/rules/told_alert.h"
#include "query/duration.h"

namespace lambda::gateway {
namespace {

constexpr int64_t kTickMs = 1'000;
constexpr int64_t kBeginMs = 10;  // what is stored before the rules are there, rules that are new do not see
constexpr uint32_t kReadTries = 3;
constexpr int64_t kAlertSaveMs = 500;  // after an alert the state is saved as soon as this
constexpr int64_t kSaveShare = 20;     // and saving takes a twentieth of the time at most
constexpr int64_t kDoubtMs = 30'000;   // for agents to come back after a restart

RuleFeedSettings feed_settings(const RulesOptions& options) {
  RuleFeedSettings settings;
  settings.site = options.site;
  settings.gather_ms = options.gather_ms;
  settings.rules.exec_allowed = options.exec;
  settings.rules.exec_programs = options.exec_programs;
  settings.rules.engine.text_bytes_max = options.text_bytes_max;
  settings.rules.block_delay_ms = options.block_delay_ms;
  return settings;
}

DeliverySettings delivery_settings(const RulesOptions& options) {
  DeliverySettings settings;
  settings.site = options.site;
  settings.timeout_ms = options.webhook_timeout_ms;
  settings.retry_ms_max = options.retry_ms_max;
  settings.event_age_ms_max = options.event_age_ms_max;
  if (options.exec) settings.programs = options.exec_programs;
  settings.exec_ms_max = options.exec_ms_max;
  settings.exec_count_max = options.exec_count_max;
  settings.ca_file = options.ca_file;
  return settings;
}

}  // namespace

Rules::Rules(Env& env, RulesOptions options, Store& store, HttpPoster* http, Port port, Executor executor)
    : env_(env),
      options_(std::move(options)),
      store_(store),
      follow_(follow(store)),
      http_(http),
      port_(std::move(port)),
      executor_(std::move(executor)),
      feed_(std::make_shared<RuleFeed>(env.disk, feed_settings(options_))),
      book_(options_.alerts_max) {}

Rules::~Rules() {
  *alive_ = false;
  env_.loop.cancel(timer_);
  env_.loop.cancel(gather_timer_);
  follow_.when_stored({});
}

Status Rules::start() {
  if (auto made = env_.disk.make_dirs(options_.directory); !made) return made;
  follow_.hold_arrivals({});  // until begin() knows from where on
  follow_.when_stored([this] { pump(); });
  timer_ = env_.loop.after(0, [this] { tick(); });
  return {};
}

// When the store's index is complete: reads the files and the state of the process before.
void Rules::begin() {
  auto read = read_folder();
  if (!read) {  // a fault of the disk, perhaps: not the end of all rules, and of what they know
    if (!folder_failed_) env_.log.error("rules_not_read", {{"why", read.error().text}, {"until_then", "no rules"}});
    folder_failed_ = true;
    return;
  }
  auto folder = std::make_shared<RuleFolder>(std::move(*read));
  auto state = read_rules_state(env_.disk, state_path());
  if (!state && state.error().code != ErrorCode::kNotFound) {
    counters_.snapshot_errors++;
    env_.log.error("rules_state_not_read", {{"why", state.error().text}, {"goes_on_with", "no state"}});
    (void)env_.disk.rename(state_path(), state_path() + ".damaged");
  }
  // Rules see what comes from now on, unless they were here before.
  position_ = follow_.arrivals({}).end;
  begun_ = true;
  if (folder->rules.empty() && !state) return follow_.hold_arrivals({UINT64_MAX, 0});
  auto job = std::make_shared<Job>();
  job->folder = folder;
  job->position = position_;
  if (state) {
    if (auto restored = book_.restore(state->book); !restored) {
      env_.log.error("alerts_not_restored", {{"why", restored.error().text}});
    }
    job->restore = std::move(state->feed);
  }
  submit(job);
}

void Rules::tick() {
  if (!begun_ && store_.ready()) begin();
  timer_ = env_.loop.after(begun_ || folder_failed_ ? kTickMs : kBeginMs, [this] { tick(); });
  book_.forget_pending(env_.clock.utc_ms());
  if (active_ && !busy_ && behind_bytes_ == 0) {
    for (const RuleEvent& event : book_.withdraw(env_.clock.utc_ms())) tell(event);
    let_go();
  }
  resend();
  pump();
}

void Rules::connected() {
  if (delivery_) delivery_->broker_back();
}

void Rules::live(std::vector<LivePoint> points) {
  if (!active_) return;
  const uint64_t room = options_.live_points_max - std::min<uint64_t>(live_.size(), options_.live_points_max);
  if (points.size() > room) {
    counters_.live_dropped += points.size() - room;
    if (!live_full_told_) env_.log.warn("rules_live_full", {{"points_max", options_.live_points_max}});
    live_full_told_ = true;
    points.resize(room);
  } else {
    live_full_told_ = false;
  }
  live_.insert(live_.end(), std::make_move_iterator(points.begin()), std::make_move_iterator(points.end()));
  pump();
}

// ---- one job after the other

void Rules::pump() {
  if (busy_ || final_saved_) return;
  if (stopping_ && !active_) return finish_stop();  // there is nothing to save
  if (!begun_) return;
  auto job = std::make_shared<Job>();
  if (fill(*job)) submit(job);
}

// False: there is nothing to do.
bool Rules::fill(Job& job) {
  if (!changes_.empty() && !stopping_) {
    const Change& change = changes_.front();
    job.folder = change.folder;
    job.check_only = !change.file.empty() && !change.checked;
    job.change = true;
    if (!active_) {
      job.position = position_ = follow_.arrivals(position_).end;
    }
    return true;
  }
  // Further back than clocks are slewed: until it is that late again, no timer of a rule would run.
  if (active_ && clock_ms_ > env_.clock.utc_ms() + kClockBackMs) {
    job.anew = true;
    ticked_ms_ = INT64_MIN;
    return true;
  }
  bool work = active_ && fill_input(job);
  if (!active_ && store_.ready()) position_ = follow_.arrivals(position_).end;
  if (!question_.refs.empty() || !question_.device.empty()) {
    SeriesAnswer answer{question_.device, question_.boot, {}, follow_.clocks_of(question_.device, question_.boot)};
    for (const uint32_t ref : question_.refs) {
      answer.series.emplace_back(ref, follow_.series_of(question_.device, question_.boot, ref));
    }
    question_ = {};
    job.answers.push_back(std::move(answer));
    work = true;
  }
  if (!live_.empty()) {
    job.live = std::exchange(live_, {});
    job.live_ms = env_.clock.utc_ms();
    work = true;
  }
  // Soon after an alert: what the live lane brought is another time's when it is said again after a crash.
  const int64_t soon_ms = std::max(kAlertSaveMs, kSaveShare * save_took_ms_);
  const int64_t wait_ms =
      alert_said_ ? std::min(soon_ms, options_.snapshot_interval_ms) : options_.snapshot_interval_ms;
  const bool due = env_.clock.mono_ms() - saved_mono_ms_ >= wait_ms;
  if (active_ && !saving_ && (save_wanted_ || stopping_ || (due && unsaved_))) {
    job.save = true;
    save_wanted_ = unsaved_ = alert_said_ = false;
    work = true;
  }
  return work;
}

bool Rules::fill_input(Job& job) {
  if (!store_.ready()) return false;
  Arrivals arrivals = follow_.arrivals(position_);
  if (arrivals.missed) note_missed(arrivals);
  missed_told_ = missed_told_ && arrivals.missed;
  if (arrivals.end < position_) job.position = position_ = arrivals.end;
  // Too far behind: what is oldest is passed over.
  if (arrivals.bytes > options_.input_bytes_max && arrivals.pieces.size() > 1) {
    if (!skipping_) env_.log.warn("rules_too_slow", {{"behind_bytes", arrivals.bytes}});
    skipping_ = true;
    counters_.input_skips++;
    while (arrivals.bytes > options_.input_bytes_max && arrivals.pieces.size() > 1) {
      const ArrivalsPiece& oldest = arrivals.pieces.front();
      arrivals.bytes -= oldest.end - oldest.begin;
      counters_.input_skipped_bytes += oldest.end - oldest.begin;
      arrivals.pieces.erase(arrivals.pieces.begin());
    }
    job.position = position_ = {arrivals.pieces.front().segment, arrivals.pieces.front().begin};
  } else if (arrivals.bytes < options_.input_bytes_max / 2) {
    skipping_ = false;
  }
  behind_bytes_ = arrivals.bytes;
  job.end = arrivals.end;
  const int64_t now_ms = env_.clock.utc_ms();
  const int64_t tick_ms = std::min(now_ms, arrivals.complete_ms);
  const bool ticks = ticked_ms_ == INT64_MIN || tick_ms / kTickMs > ticked_ms_ / kTickMs || tick_ms >= release_at_ms_;
  if (ticks) job.tick_ms = tick_ms;
  job.pieces = std::move(arrivals.pieces);
  return ticks || !job.pieces.empty();
}

void Rules::note_missed(const Arrivals& arrivals) {
  if (missed_told_) return;
  missed_told_ = true;
  counters_.input_missed++;
  env_.log.warn("rules_input_missed", {{"why", "segments were deleted before rules read them"},
                                       {"from_segment", position_.segment},
                                       {"to_segment", arrivals.pieces.empty() ? 0 : arrivals.pieces.front().segment}});
}

void Rules::submit(const std::shared_ptr<Job>& job) {
  busy_ = true;
  job->feed = feed_;
  auto task = [this, job, &loop = env_.loop, alive = alive_] {
    job->run();
    loop.post([this, job, alive] {
      if (*alive) finished(job);
    });
  };
  executor_ ? executor_(std::move(task)) : task();
}

void Rules::finished(const std::shared_ptr<Job>& job) {
  busy_ = false;
  if (!job->check_only) {
    unsaved_ = unsaved_ || position_ != job->position_after || !job->live.empty() || !job->outputs.empty();
    position_ = job->position_after;
    question_ = std::move(job->question);
    feed_counters_ = job->feed_counters;
    if (job->counted) rule_counters_ = std::move(job->rule_counters);
    release_at_ms_ = job->release_at;
    if (job->folder) open_outbox(*job);
    if (job->ticked) ticked_ms_ = job->tick_ms;
    for (const RuleOutput& output : job->outputs) {
      if (output.kind == cep::OutputKind::kLimit) log_limit(output);
      if (const auto event = book_.apply(output, env_.clock.utc_ms())) tell(*event);  // of the rules before a change
    }
    if (book_.counters().refused > 0 && !alerts_full_told_) {
      alerts_full_told_ = true;
      env_.log.warn("rules_alerts_full", {{"alerts_max", options_.alerts_max}});
    }
    clock_ms_ = job->clock_ms;
    if (job->anew) begin_anew();
    if (job->folder) take_rules(*job);
    let_go();
  }
  if (job->read) {
    read_failures_ = 0;
  } else {
    read_failed(*job);
  }
  if (job->change) change_finished(*job);
  if (job->save) save(std::move(job->state));
  // Deliveries and answers come between two jobs.
  pump();
  if (!busy_ && release_at_ms_ != INT64_MAX && gather_timer_ == 0) {
    const int64_t wait_ms = std::clamp<int64_t>(release_at_ms_ - env_.clock.utc_ms(), 10, options_.gather_ms + 10);
    gather_timer_ = env_.loop.after(wait_ms, [this] {
      gather_timer_ = 0;
      pump();
    });
  }
}

// What fires is found to fire again, or not, by what comes next.
void Rules::begin_anew() {
  env_.log.error("rules_begin_anew", {{"why", "the clock was set back"}});
  for (const RuleEvent& event : book_.end_all("the gateway's clock was set back", env_.clock.utc_ms())) tell(event);
  save_wanted_ = true;
}

// The same file a few times; then its rest is passed over, or nothing would ever be read again.
void Rules::read_failed(const Job& job) {
  if (++read_failures_ < kReadTries) return;
  read_failures_ = 0;
  counters_.input_missed++;
  for (const ArrivalsPiece& piece : job.pieces) {
    const StorePlace end{piece.segment, piece.end};
    if (end <= position_) continue;
    env_.log.error("rules_input_not_read", {{"why", job.read.error().text}, {"passed_over_to", piece.end}});
    position_ = end;
    feed_->set_position(end);  // no job is under way
    return;
  }
}

// ---- state

void Rules::save(std::string feed) {
  saving_ = true;
  auto state = std::make_shared<RulesState>(RulesState{std::move(feed), book_.save()});
  // What is said from now on is of a later state: a crash would have the engine say it again.
  const Mark mark{position_, outbox_->next_number()};
  saved_mono_ms_ = env_.clock.mono_ms();
  // First what was said, then that it was said.
  outbox_->sync([this, state, mark, alive = alive_](const Status& synced) {
    if (!*alive) return;
    if (!synced) return saved(mark, synced);
    (void)env_.disk.make_dirs(options_.directory + "/state");
    write_rules_state(env_, state_path(), *state, [this, mark, alive](const Status& status) {
      if (*alive) saved(mark, status);
    });
  });
}

void Rules::saved(const Mark& mark, const Status& status) {
  saving_ = false;
  save_took_ms_ = env_.clock.mono_ms() - saved_mono_ms_;
  if (status) {
    counters_.snapshots++;
    save_failed_told_ = false;
    follow_.hold_arrivals(mark.place);
    outbox_->forget(mark.event);
  } else {
    unsaved_ = true;
    counters_.snapshot_errors++;
    if (!save_failed_told_) env_.log.error("rules_state_not_saved", {{"why", status.error().text}});
    save_failed_told_ = true;
  }
  if (stopping_ && (!status || !unsaved_)) return finish_stop();
  pump();
}

void Rules::stop(std::function<void()> done) {
  LAMBDA_ASSERT(!stopping_);
  stopping_ = true;
  stopped_ = std::move(done);
  env_.loop.cancel(timer_);
  timer_ = 0;
  follow_.when_stored({});
  env_.loop.post([this, alive = alive_] {
    if (*alive) pump();
  });
}

void Rules::finish_stop() {
  final_saved_ = true;
  delivery_.reset();
  for (Change& change : std::exchange(changes_, {})) {
    if (change.done) change.done(fail(ErrorCode::kUnavailable, "the gateway stops"));
  }
  if (stopped_) std::exchange(stopped_, nullptr)();
}

bool Rules::idle() const {
  return begun_ && !busy_ && !saving_ && changes_.empty() && live_.empty() && question_.device.empty() &&
         follow_.arrivals(position_).bytes == 0;
}

// ---- the engine's room

// With the first rule, and before anything that rules said is told.
void Rules::open_outbox(const Job& job) {
  if (outbox_ || (job.facts.empty() && job.restore.empty())) return;
  std::map<std::string, int64_t> for_ms;
  for (const auto& rule : job.facts) for_ms[rule->name] = rule->for_ms;
  // What is still true is said again when the blocks of that time have come.
  const int64_t until_ms = env_.clock.utc_ms() + options_.block_delay_ms + kDoubtMs;
  if (!job.restored) {
    int64_t longest_ms = 0;
    for (const auto& [rule, ms] : for_ms) longest_ms = std::max(longest_ms, ms);
    book_.doubt_all(until_ms + longest_ms);
  }
  auto outbox =
      Outbox::open(env_, options_.directory + "/state", options_.outbox_bytes_max, [&](const std::string& note) {
        if (auto told = read_told(note)) book_.recall(*told, until_ms + for_ms[told->rule]);
      });
  if (!outbox) {
    env_.log.error("outbox_not_opened", {{"why", outbox.error().text}, {"rules", "wait for it"}});
    return;
  }
  outbox_ = std::move(*outbox);
  delivery_ = std::make_unique<Delivery>(env_, http_, delivery_settings(options_), *outbox_, port_.publish);
  delivery_->wake();
}

// What alerts asked of devices before a restart, for the rest of its time.
void Rules::resume_live() {
  const int64_t now_ms = env_.clock.utc_ms();
  for (const auto& [name, alert] : book_.alerts()) {
    const auto* actions = alert.firing ? book_.actions_of(alert.rule) : nullptr;
    if (actions == nullptr) continue;
    for (const cep::ActionPlan& action : *actions) {
      if (action.name != "live" || action.args.size() != 2) continue;
      const auto duration_ms = query::parse_duration_ms(action.args[1]);
      const int64_t left_ms = duration_ms ? std::min(*duration_ms, alert.fired_ms + *duration_ms - now_ms) : 0;
      if (port_.live && left_ms > 0) port_.live(action.args[0], left_ms);
    }
  }
}

void Rules::take_rules(const Job& job) {
  folder_ = job.folder;
  files_ = job.files;
  facts_ = job.facts;
  if (metrics_ != job.metrics && port_.reads) port_.reads(job.metrics);
  metrics_ = job.metrics;
  name_errors(files_);
  const bool first = !active_ && outbox_;
  if (first) {
    active_ = true;
    follow_.hold_arrivals(job.position_after);
  }
  if (!job.restored) env_.log.error("rules_begin_anew", {{"why", job.restored.error().text}});
  for (const RuleEvent& event : book_.set_rules(facts_, env_.clock.utc_ms())) tell(event);
  if (first) resume_live();
  save_wanted_ = active_;
  uint64_t errors = 0;
  for (const RuleFileState& file : files_) errors += file.errors.size();
  env_.log.info("rules_loaded", {{"files", static_cast<uint64_t>(files_.size())},
                                 {"rules", static_cast<uint64_t>(facts_.size())},
                                 {"errors", errors}});
}

}  // namespace lambda::gateway
