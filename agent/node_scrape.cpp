// A node's scraped targets: how they feed it, and what is told about them.
#include <nlohmann/json.hpp>

#include "agent/node_parts.h"
#include "query/number.h"

namespace lambda::agent {

Status Node::Parts::make_scraper() {
  if (config.scrape.empty()) return {};
  auto fetcher = env.network.http_fetcher();
  if (fetcher == nullptr) return fail(ErrorCode::kUnsupported, "scrape: there is no network to ask others over");
  Scraper::Ports ports{
      [this](const SeriesSpec& spec, SeriesOwner owner, bool* fresh) {
        return sampler->add_series(spec, owner, true, fresh);
      },
      [this](Row row, std::function<void()> done) {
        take_row(std::move(row), [done = std::move(done)](const Status&, std::span<const Row>) { done(); });
      },
      [this] { return env.clock.mono_ms() + sampler->offset_ms(); }, [this] { return sampler->segment(); },
      [this](const ScrapedFacts& facts) {
        metric_book.note(facts.metric, facts.type, exposition_help(facts.help, query::MetricBook::kHelpBytesMax),
                         facts.unit);
      }};
  auto made = Scraper::make(env, config.scrape, {config.doors.feed.past_ms_max, config.doors.feed.future_ms_max},
                            std::move(fetcher), std::move(ports));
  if (!made) return tl::unexpected(made.error());
  scraper = std::move(*made);
  return {};
}

// As Prometheus tells of its targets, as far as there is something to tell.
std::string Node::Parts::targets_text() const {
  nlohmann::ordered_json active = nlohmann::ordered_json::array();
  if (scraper != nullptr) {
    for (const ScrapeState& state : scraper->states()) {
      nlohmann::ordered_json labels = {{"job", state.options->name}, {"instance", config.device}};
      active.push_back({{"labels", std::move(labels)},
                        {"scrapePool", state.options->name},
                        {"scrapeUrl", state.options->url},
                        {"lastError", state.error},
                        {"lastScrape", state.asked ? query::format_time(state.last_ms) : ""},
                        {"lastScrapeDuration", state.duration_s},
                        {"health", !state.asked ? "unknown"
                                   : state.up   ? "up"
                                                : "down"},
                        {"scrapeInterval", std::to_string(state.options->interval_ms) + "ms"},
                        {"scrapeTimeout", std::to_string(state.options->timeout()) + "ms"},
                        {"samples", state.samples}});
    }
  }
  const nlohmann::ordered_json answer = {
      {"status", "success"},
      {"data", {{"activeTargets", std::move(active)}, {"droppedTargets", nlohmann::json::array()}}}};
  return answer.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

// As a client over HTTP says it: a name that no series has, or a text that is not UTF-8, would break an answer.
void Node::Parts::note_metric(const MetricSaid& said) {
  std::string_view help = said.help;
  if (help.size() > query::MetricBook::kHelpBytesMax) {
    size_t end = query::MetricBook::kHelpBytesMax;
    while (end > 0 && (static_cast<uint8_t>(help[end]) >> 6) == 2) --end;  // not within a character
    help = help.substr(0, end);
  }
  for (const std::string_view text : {said.unit, help}) {
    if (!check_series(said.metric, {}, ValueType::kF64, 0, text)) return;
  }
  metric_book.note(said.metric, said.type, help, said.unit);
}

// What pages say of their metrics, and what the declarations say of the other ones.
query::MetricFactsByName Node::Parts::metric_facts() const {
  query::MetricFactsByName facts = metric_book.facts();
  std::vector<LabelView> labels;
  for (SeriesRef ref = 1; ref < table->size(); ++ref) {
    if (!table->known(ref)) continue;
    const DeclarationView series = table->declaration(ref, labels);
    if (metric_book.covers(series.name)) continue;
    query::add_declared(facts, series.name, series.kind == Kind::kCounter, series.unit);
  }
  return facts;
}

void Node::Parts::register_scrape_metrics() {
  const auto count = [this](const char* name, const char* help, const Metrics::Labels& labels,
                            uint64_t ScrapeCounters::*value) {
    metrics.counter_callback(name, help, labels, [this, value] {
      return scraper == nullptr ? 0.0 : static_cast<double>(scraper->counters().*value);
    });
  };
  const auto tally = [this](const char* reason, uint64_t ScrapeTally::*value) {
    metrics.counter_callback(
        "lambda_agent_scrape_samples_refused_total", "Samples of good pages that made no point.", {{"reason", reason}},
        [this, value] { return scraper == nullptr ? 0.0 : static_cast<double>(scraper->counters().tally.*value); });
  };
  count("lambda_agent_scrapes_total", "Times that a target was asked.", {}, &ScrapeCounters::scrapes);
  count("lambda_agent_scrapes_missed_total",
        "Moments at which a target was still being asked, or that were slept "
        "through.",
        {}, &ScrapeCounters::missed);
  count("lambda_agent_scrape_samples_total", "Wanted samples on good pages.", {}, &ScrapeCounters::samples);
  const char* failed = "lambda_agent_scrapes_failed_total";
  const char* why = "Scrapes without a page that could be taken, by reason.";
  count(failed, why, {{"reason", "unreachable"}}, &ScrapeCounters::unreachable);
  count(failed, why, {{"reason", "status"}}, &ScrapeCounters::bad_status);
  count(failed, why, {{"reason", "body_bytes_max"}}, &ScrapeCounters::too_long);
  count(failed, why, {{"reason", "malformed"}}, &ScrapeCounters::malformed);
  count(failed, why, {{"reason", "sample_max"}}, &ScrapeCounters::too_many_samples);
  tally("series", &ScrapeTally::series_refused);
  tally("twice", &ScrapeTally::samples_twice);
  tally("out_of_bounds", &ScrapeTally::samples_out_of_bounds);
}

}  // namespace lambda::agent
