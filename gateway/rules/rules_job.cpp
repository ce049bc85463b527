#include "gateway/rules/rules_job.h"

namespace lambda::gateway {

void Rules::Job::run() {
  if (check_only) {
    files = feed->check(*folder);
    return;
  }
  if (folder) {
    feed->set_rules(*folder);
    if (position) feed->set_position(*position);
    if (!restore.empty()) restored = feed->restore(restore);
    files = feed->rules().files;
    facts = feed->facts();
    for (const StreamColumns& stream : feed->rules().streams) metrics.push_back(stream.metric);
  } else if (position) {
    feed->set_position(*position);
  }
  if (anew) feed->begin_anew();
  for (const SeriesAnswer& answer : answers) feed->answer(answer);
  if (!pieces.empty()) {
    auto left = feed->read(pieces);
    if (left) {
      question = std::move(*left);
    } else {
      read = tl::unexpected(left.error());
    }
  }
  if (tick_ms != INT64_MIN && read && feed->position() >= end) {
    feed->tick(tick_ms);
    ticked = true;
  }
  if (!live.empty()) feed->live(live, live_ms);
  outputs = feed->take_outputs();
  position_after = feed->position();
  release_at = feed->release_at();
  clock_ms = feed->clock_ms();
  feed_counters = feed->counters();
  const cep::Engine& engine = *feed->rules().engine;
  counted = ticked || folder;
  for (cep::RuleId id = 0; counted && id < engine.rule_count(); ++id) rule_counters.push_back(engine.counters(id));
  if (save) state = feed->save();
}

}  // namespace lambda::gateway
