#include "agent/scrape/scraper.h"

#include <algorithm>
#include <utility>

#include "agent/scrape/exposition.h"

namespace lambda::agent {
namespace {

constexpr int64_t kLookMs = 1'000;          // a clock that is set is noticed at the latest after this
constexpr size_t kSliceBytes = 128u << 10;  // of a page, between two other tasks of the loop
constexpr size_t kErrorShownMax = 300;

constexpr const char* kAccept =
    "application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";

uint64_t hash_of(std::string_view text) {
  uint64_t hash = 0xcbf29ce484222325;  // FNV-1a
  for (const char c : text) hash = (hash ^ static_cast<uint8_t>(c)) * 0x100000001b3;
  return hash;
}

// An error may hold bytes of the page.
std::string shown(std::string text) {
  if (text.size() > kErrorShownMax) text.resize(kErrorShownMax);
  for (char& c : text) c = c >= ' ' && c <= '~' ? c : '?';
  return text;
}

}  // namespace

// A page that is being read.
struct Scraper::Page {
  std::string body;
  ExpositionFormat format;
  ExpositionReader reader;
  bool taking = false;  // it was checked
  uint64_t samples = 0, wanted = 0;
  // The metric that the lines are about, and whether its name is wanted.
  std::string_view family, type, unit, help;
  std::string_view name;
  bool name_wanted = false;

  Page(std::string text, ExpositionFormat form) : body(std::move(text)), format(form), reader(body, form) {}
  Page(const Page&) = delete;
};

struct Scraper::Target {
  const ScrapeOptions options;
  DeviceFilter filter;
  TargetSeries series;
  const int64_t shift_ms;
  int64_t due_ms = 0;
  bool busy = false;
  uint64_t rows_left = 0;  // of the last page, not decided yet
  int64_t moment_ms = 0, began_us = 0;
  std::unique_ptr<Page> page;
  ScrapeState state;
  bool told_down = false, told_refused = false;

  Target(ScrapeOptions settings, DeviceFilter wanted, LabelList labels, ScrapeLimits limits, uint64_t seed,
         TargetSeries::FindSeries find)
      : options(std::move(settings)),
        filter(std::move(wanted)),
        series(options, std::move(labels), limits, seed, std::move(find)),
        shift_ms(static_cast<int64_t>(hash_of(options.name) % static_cast<uint64_t>(options.interval_ms))) {
    state.options = &options;
  }
  bool wants(Page& of, std::string_view name) {
    if (name != of.name || of.name.empty()) {
      of.name = name;
      of.name_wanted = filter.wants(name);
    }
    return of.name_wanted;
  }
  // The first moment after `now_ms`.
  int64_t next_moment(int64_t now_ms) const {
    return (now_ms - shift_ms) / options.interval_ms * options.interval_ms + options.interval_ms + shift_ms;
  }
};

Scraper::Scraper(Env& env, std::unique_ptr<HttpFetcher> fetcher, Ports ports)
    : env_(env), ports_(std::move(ports)), fetcher_(std::move(fetcher)) {}

Scraper::~Scraper() {
  *alive_ = false;
  env_.loop.cancel(timer_);
}

Result<std::unique_ptr<Scraper>> Scraper::make(Env& env, std::vector<ScrapeOptions> targets, ScrapeLimits limits,
                                               std::unique_ptr<HttpFetcher> fetcher, Ports ports) {
  std::unique_ptr<Scraper> made(new Scraper(env, std::move(fetcher), std::move(ports)));
  for (ScrapeOptions& options : targets) {
    const std::string setting = "scrape." + options.name;
    auto filter = DeviceFilter::make(setting, options.include, options.exclude);
    if (!filter) return tl::unexpected(filter.error());
    auto labels = scrape_labels(options);
    if (!labels) return fail(ErrorCode::kInvalid, setting + ".labels: " + labels.error().text);
    const auto owner = static_cast<SeriesOwner>(kOwnerTargets + made->targets_.size());
    auto find = [find = made->ports_.series, owner](const SeriesSpec& spec, bool* fresh) {
      return find(spec, owner, fresh);
    };
    made->targets_.push_back(std::make_unique<Target>(std::move(options), std::move(*filter), std::move(*labels),
                                                      limits, env.random.u64(), std::move(find)));
  }
  return made;
}

void Scraper::start() {
  const int64_t now = ports_.now_ms();
  for (auto& target : targets_) target->due_ms = target->next_moment(now);
  schedule();
}

void Scraper::schedule() {
  if (targets_.empty() || fetcher_ == nullptr) return;
  int64_t next = INT64_MAX;
  for (const auto& target : targets_) next = std::min(next, target->due_ms);
  timer_ = env_.loop.after(std::clamp<int64_t>(next - ports_.now_ms(), 0, kLookMs), [this] {
    timer_ = 0;
    fire();
  });
}

void Scraper::fire() {
  const int64_t now = ports_.now_ms();
  for (auto& target : targets_) {
    const int64_t interval = target->options.interval_ms;
    if (target->due_ms - now > interval) target->due_ms = target->next_moment(now);  // the clock was set back
    if (target->due_ms > now) continue;
    if (now - target->due_ms >= interval) {
      const int64_t skipped = (now - target->due_ms) / interval;
      counters_.missed += static_cast<uint64_t>(skipped);
      target->due_ms += skipped * interval;
    }
    const int64_t moment = std::exchange(target->due_ms, target->due_ms + interval);
    if (target->busy) {
      counters_.missed++;
    } else {
      ask(*target, moment);
    }
  }
  schedule();
}

void Scraper::ask(Target& target, int64_t moment_ms) {
  const ScrapeOptions& options = target.options;
  counters_.scrapes++;
  target.busy = true;
  target.moment_ms = moment_ms;
  target.began_us = env_.clock.mono_us();
  target.series.begin(moment_ms, ports_.segment());
  HttpFetch fetch;
  fetch.url = options.url;
  fetch.headers = {
      {"Accept", kAccept},
      {"X-Prometheus-Scrape-Timeout-Seconds", std::to_string(static_cast<double>(options.timeout()) / 1000)}};
  fetch.token = options.token;
  fetch.ca_file = options.ca_file;
  fetch.certificate_file = options.certificate_file;
  fetch.key_file = options.key_file;
  fetch.timeout_ms = options.timeout();
  fetch.body_bytes_max = options.body_bytes_max;
  fetcher_->get(std::move(fetch), [this, &target](Result<HttpPage> page) { answered(target, std::move(page)); });
}

void Scraper::answered(Target& target, Result<HttpPage> page) {
  if (!page) {
    const ErrorCode code = page.error().code;
    const auto reason = code == ErrorCode::kFull      ? &ScrapeCounters::too_long
                        : code == ErrorCode::kInvalid ? &ScrapeCounters::malformed
                                                      : &ScrapeCounters::unreachable;
    return refuse(target, reason, page.error().text);
  }
  if (page->status != 200) {
    return refuse(target, &ScrapeCounters::bad_status, "the answer has status " + std::to_string(page->status));
  }
  const auto format = exposition_format(page->content_type);
  if (!format) return refuse(target, &ScrapeCounters::malformed, format.error().text);
  target.page = std::make_unique<Page>(std::move(page->body), *format);
  read_slice(target);
}

void Scraper::read_slice(Target& target) {
  Page& page = *target.page;
  const size_t left = page.reader.bytes_left();
  const size_t until = left > kSliceBytes ? left - kSliceBytes : 0;
  for (;;) {
    const auto item = page.reader.next();
    if (!item) return refuse(target, &ScrapeCounters::malformed, item.error().text);
    if (*item == ExpositionReader::Item::kEnd) {
      if (page.taking) return finish(target);
      page.taking = true;
      page.reader = ExpositionReader(page.body, page.format);
      page.name = {};
      break;
    }
    if (page.taking) {
      take(target, page, *item);
    } else if (*item == ExpositionReader::Item::kSample) {
      page.samples++;
      page.wanted += target.wants(page, page.reader.sample().name) ? 1 : 0;
      if (page.wanted > target.options.sample_max) {
        return refuse(target, &ScrapeCounters::too_many_samples,
                      "more than sample_max = " + std::to_string(target.options.sample_max) + " samples");
      }
    }
    if (page.reader.bytes_left() < until) break;
  }
  env_.loop.post([this, alive = alive_, &target] {
    if (*alive) read_slice(target);
  });
}

// A line of a page that is known to be good.
void Scraper::take(Target& target, Page& page, ExpositionReader::Item item) {
  if (item == ExpositionReader::Item::kSample) {
    const ExpositionSample& sample = page.reader.sample();
    if (!target.wants(page, sample.name)) return;
    const bool known = exposition_belongs(page.family, sample.name);
    const Kind kind = known ? exposition_kind(page.type, page.family, sample.name) : Kind::kGauge;
    target.series.take(sample, kind, known ? page.unit : std::string_view());
    return;
  }
  if (page.reader.family() != page.family) {
    tell_facts(target, page);
    page.family = page.reader.family();
    page.type = page.unit = page.help = {};
  }
  std::string_view& part = item == ExpositionReader::Item::kType   ? page.type
                           : item == ExpositionReader::Item::kUnit ? page.unit
                                                                   : page.help;
  part = page.reader.words();
}

void Scraper::tell_facts(Target& target, Page& page) {
  if (page.family.empty() || ports_.facts == nullptr || !target.filter.wants(page.family)) return;
  ports_.facts({page.family, page.type, page.unit, page.help});
}

void Scraper::refuse(Target& target, uint64_t ScrapeCounters::*reason, std::string why) {
  (counters_.*reason)++;
  // Of a page that was being taken nothing is wrong: it was checked.
  target.series.fail();
  target.state.error = shown(std::move(why));
  if (!std::exchange(target.told_down, true)) {
    env_.log.warn("scrape_failed",
                  {{"target", target.options.name}, {"url", target.options.url}, {"why", target.state.error}});
  }
  tell(target, false);
}

void Scraper::finish(Target& target) {
  Page& page = *target.page;
  tell_facts(target, page);
  target.series.end();
  const ScrapeTally& tally = target.series.tally();
  counters_.samples += tally.samples;
  counters_.tally.series_added += tally.series_added;
  counters_.tally.series_refused += tally.series_refused;
  counters_.tally.samples_twice += tally.samples_twice;
  counters_.tally.samples_out_of_bounds += tally.samples_out_of_bounds;
  if (tally.series_refused > 0 && !std::exchange(target.told_refused, true)) {
    env_.log.warn("scrape_series_refused", {{"target", target.options.name},
                                            {"samples", tally.series_refused},
                                            {"first", shown(target.series.refused())},
                                            {"more", "are counted"}});
  }
  target.state.error.clear();
  if (std::exchange(target.told_down, false)) env_.log.info("scrape_works_again", {{"target", target.options.name}});
  tell(target, true);
}

void Scraper::tell(Target& target, bool up) {
  ScrapeState& state = target.state;
  state.asked = true;
  state.up = up;
  state.last_ms = target.moment_ms;
  state.duration_s = static_cast<double>(env_.clock.mono_us() - target.began_us) / 1e6;
  state.samples = up ? target.page->samples : 0;
  const ScrapeTally tally = target.series.tally();
  target.series.report("up", up ? 1 : 0);
  target.series.report("scrape_duration_seconds", state.duration_s, "seconds");
  target.series.report("scrape_samples_scraped", static_cast<double>(state.samples));
  target.series.report("scrape_samples_post_metric_relabeling", static_cast<double>(tally.samples));
  target.series.report("scrape_series_added", static_cast<double>(tally.series_added));
  target.page.reset();
  for (Row& row : target.series.rows()) {
    target.rows_left++;
    rows_.push_back({&target, std::move(row)});
  }
  target.busy = target.rows_left > 0;
  hand_over();
}

void Scraper::hand_over() {
  while (!rows_.empty() && rows_out_ < kScrapeRowsOutMax) {
    Waiting next = std::move(rows_.front());
    rows_.pop_front();
    next.row.clock = ports_.segment();  // the clock may have been set meanwhile
    rows_out_++;
    ports_.row(std::move(next.row), [this, alive = alive_, target = next.target] {
      if (!*alive) return;
      rows_out_--;
      target->busy = --target->rows_left > 0;
      hand_over();
    });
  }
}

std::vector<ScrapeState> Scraper::states() const {
  std::vector<ScrapeState> out;
  for (const auto& target : targets_) out.push_back(target->state);
  return out;
}

void Scraper::each_in_use(const std::function<void(SeriesRef)>& in_use) const {
  for (const auto& target : targets_) target->series.each_in_use(in_use);
  for (const Waiting& waiting : rows_) {
    for (const RowPoint& point : waiting.row.points) in_use(point.ref);
  }
}

void Scraper::forget(const std::vector<bool>& gone) {
  for (const auto& target : targets_) target->series.forget(gone);
}

std::vector<Places> Scraper::places(const std::function<bool(SeriesRef)>& ended) const {
  std::vector<Places> out;
  for (const auto& target : targets_) out.push_back(target->series.places(ended));
  return out;
}

}  // namespace lambda::agent
