// One task of the rules' worker. For rules.cpp and its neighbours only.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "gateway/rules/rules.h"

namespace lambda::gateway {

struct Rules::Job {
  // ---- in
  std::shared_ptr<RuleFeed> feed;
  std::shared_ptr<RuleFolder> folder;  // new rules; null: those there are
  bool change = false;                 // it is changes_.front()
  bool check_only = false;             // of `folder`: nothing is done
  bool anew = false;                   // RuleFeed::begin_anew(), and nothing else
  std::string restore;                 // RuleFeed::save()
  std::optional<StorePlace> position;  // go on there
  std::vector<SeriesAnswer> answers;
  std::vector<ArrivalsPiece> pieces;
  StorePlace end;
  int64_t tick_ms = INT64_MIN;  // all that arrived before is in `pieces`
  std::vector<LivePoint> live;
  int64_t live_ms = 0;
  bool save = false;
  // ---- out
  Status restored, read;
  bool ticked = false;
  SeriesQuestion question;
  StorePlace position_after;
  int64_t release_at = INT64_MAX;
  int64_t clock_ms = INT64_MIN;
  std::vector<RuleOutput> outputs;
  std::vector<RuleFileState> files;
  std::vector<std::shared_ptr<const RuleFacts>> facts;
  std::vector<std::string> metrics;
  bool counted = false;  // `rule_counters` are there: with a tick, not with each batch
  std::vector<cep::RuleCounters> rule_counters;
  RuleFeedCounters feed_counters;
  std::string state;

  // On the worker.
  void run();
};

}  // namespace lambda::gateway
