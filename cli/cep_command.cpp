#include "cli/cep_command.h"

#include <latch>
#include <memory>
#include <nlohmann/json.hpp>
#include <ostream>

#include "base/os/workers.h"
#include "cep/engine.h"
#include "cep/explain.h"
#include "cep/language/mutant.h"
#include "cep/sharded_engine.h"
#include "cli/cep_events.h"

namespace lambda::cli {
namespace {

constexpr uint64_t kRulesBytesMax = 16 << 20;

int report_rules(Output& output, const std::string& file, const std::vector<cep::Diagnostic>& errors) {
  if (output.json) {
    auto list = nlohmann::ordered_json::array();
    for (const cep::Diagnostic& error : errors) {
      list.push_back({{"file", file}, {"line", error.at.line}, {"column", error.at.column}, {"error", error.text}});
    }
    output.out << nlohmann::ordered_json{{"errors", list}}.dump(-1, ' ', false,
                                                                nlohmann::json::error_handler_t::replace)
               << "\n";
    return kExitRules;
  }
  for (const cep::Diagnostic& error : errors) {
    output.err << format_diagnostic(file, error) << "\n";
  }
  return kExitRules;
}

// One run over a file of events.
class CepRun {
 public:
  CepRun(Output& output, const CepOptions& options, Disk& disk, std::string rules)
      : output_(output), options_(options), disk_(disk), rules_(std::move(rules)) {}

  int run() {
    engine_ = make_engine();
    if (const auto errors = engine_->create(rules_); !errors.empty()) {
      return report_rules(output_, options_.rules_file, errors);
    }
    if (const Status status = read_tables(*engine_); !status) {
      return report(output_, status.error());
    }
    Status failure;
    const Status read = for_each_line(disk_, options_.events_file, [&](uint64_t number, std::string_view text) {
      failure = take(number, text);
      return failure.has_value();
    });
    flush();
    if (cep::mutant(cep::Mutant::kEndFlushes)) {
      engine_->advance_to(cep::kEventTimeMax / 2);
    }
    const Status& status = failure ? read : failure;
    if (status && options_.stats) {
      print_stats();
    }
    return status ? kExitDone : report(output_, status.error());
  }

 private:
  void print_stats() {
    for (cep::RuleId id = 0; id < engine_->rule_count(); ++id) {
      output_.err << write_cep_stats(engine_->rule(id).name, engine_->counters(id)) << "\n";
    }
    output_.err << write_cep_stats(engine_->counters(), lines_dropped_) << "\n";
  }

  std::unique_ptr<cep::ShardedEngine> make_engine() {
    const auto run_all = [this](std::span<const std::function<void()>> tasks) { run_on_workers(tasks); };
    cep::EngineSettings settings;
    settings.text_bytes_max = options_.text_bytes_max;
    return std::make_unique<cep::ShardedEngine>(
        settings, static_cast<uint32_t>(options_.shards), run_all, [this](std::span<const cep::Output> outputs) {
          for (const cep::Output& out : outputs) {
            output_.out << write_cep_output(out, engine_->rule(out.rule), engine_->symbols()) << '\n';
          }
        });
  }

  // The first task on this thread, the others on one each.
  void run_on_workers(std::span<const std::function<void()>> tasks) {
    if (workers_ == nullptr) {
      workers_ = std::make_unique<Workers>(tasks.size() - 1);
    }
    std::latch done(static_cast<std::ptrdiff_t>(tasks.size() - 1));
    for (const auto& task : tasks.subspan(1)) {
      workers_->run([&task, &done] {
        task();
        done.count_down();
      });
    }
    tasks[0]();
    done.wait();
  }

  Status read_tables(cep::ShardedEngine& engine) {
    for (const std::string& option : options_.tables) {
      const size_t equals = option.find('=');
      const std::string name = option.substr(0, equals);
      const cep::TableSchema* table = engine.catalog().find_table(name);
      if (equals == std::string::npos || table == nullptr) {
        return fail(ErrorCode::kInvalid, "--table " + option + ": " +
                                             (table == nullptr && equals != std::string::npos
                                                  ? "the rules create no table " + name +
                                                        cep::name_hint(name, engine.catalog().table_names())
                                                  : "expected NAME=FILE"));
      }
      const std::string path = option.substr(equals + 1);
      std::vector<std::vector<cep::Value>> rows;
      const Status read = for_each_line(disk_, path, [&](uint64_t number, std::string_view text) {
        auto row = read_cep_row(text, *table, engine.symbols());
        if (row) {
          rows.push_back(std::move(*row));
        } else {
          output_.err << path << ":" << number << ": " << row.error().text << "; row left out\n";
        }
        return true;
      });
      if (!read) {
        return read;
      }
      if (const size_t left_out = engine.set_table(table->id, rows); left_out > 0) {
        output_.err << path << ": " << left_out << " rows without a key left out\n";
      }
      if (rows.empty()) {
        output_.err << path << ": no rows for the table " << name << "\n";
      }
    }
    return {};
  }

  Status take(uint64_t number, std::string_view text) {
    CepLine line = read_cep_line(text, engine_->catalog(), engine_->symbols());
    if (line.kind == CepLine::Kind::kAdvance) {
      flush();
      engine_->advance_to(line.t);
      return {};
    }
    const uint64_t index = next_index_++;
    if (line.kind == CepLine::Kind::kBad || line.kind == CepLine::Kind::kNoRoom) {
      flush();
      output_.err << options_.events_file << ":" << number << ": " << line.error << "; event dropped\n";
      ++lines_dropped_;
      if (line.kind == CepLine::Kind::kNoRoom) {
        engine_->text_refused(line.stream, line.t, index, line.at);
      }
    } else {
      add(line, index);
    }
    return options_.snapshot_at == index ? save_and_restore() : Status{};
  }

  void add(const CepLine& line, uint64_t index) {
    const bool fits = t_.empty() || (batch_.stream == line.stream && at_.empty() == !line.at);
    if (!fits || t_.size() >= options_.batch) {
      flush();
    }
    if (t_.empty()) {
      batch_.stream = line.stream;
      batch_.first_index = index;
      columns_.assign(line.columns.size(), {});
    }
    t_.push_back(line.t);
    if (line.at) {
      at_.push_back(*line.at);
    }
    for (size_t c = 0; c < columns_.size(); ++c) {
      columns_[c].add(line.columns[c], engine_->catalog().stream(line.stream).columns[c].type);
    }
    if (t_.size() >= options_.batch) {
      flush();
    }
  }

  void flush() {
    if (t_.empty()) {
      return;
    }
    batch_.rows = t_.size();
    batch_.t = t_.data();
    batch_.at = at_.empty() ? nullptr : at_.data();
    batch_.columns.clear();
    const auto& schema = engine_->catalog().stream(batch_.stream).columns;
    for (size_t c = 0; c < columns_.size(); ++c) {
      batch_.columns.push_back(columns_[c].view(schema[c].type));
    }
    engine_->push(batch_);
    t_.clear();
    at_.clear();
  }

  Status save_and_restore() {
    flush();
    const std::string state = engine_->snapshot();
    engine_ = make_engine();
    if (const auto errors = engine_->create(rules_); !errors.empty()) {
      return fail(ErrorCode::kInvalid, format_diagnostic(options_.rules_file, errors[0]));
    }
    if (Status status = read_tables(*engine_); !status) {
      return status;
    }
    return engine_->restore(state);
  }

  struct Column {
    std::vector<int64_t> ints;
    std::vector<double> doubles;
    std::vector<cep::Symbol> texts;
    std::vector<uint8_t> bools;
    std::vector<uint8_t> nulls;

    void add(const cep::Value& value, cep::Type type) {
      nulls.push_back(value.is_null() ? 1 : 0);
      switch (type) {
        case cep::Type::kText:
          texts.push_back(value.is_null() ? 0 : value.text);
          break;
        case cep::Type::kBool:
          bools.push_back(value.is_true() ? 1 : 0);
          break;
        case cep::Type::kDouble:
          doubles.push_back(value.is_null() ? 0 : value.d);
          break;
        default:
          ints.push_back(value.is_null() ? 0 : value.i);
          break;
      }
    }
    cep::ColumnView view(cep::Type type) const {
      const void* data = type == cep::Type::kText     ? static_cast<const void*>(texts.data())
                         : type == cep::Type::kBool   ? static_cast<const void*>(bools.data())
                         : type == cep::Type::kDouble ? static_cast<const void*>(doubles.data())
                                                      : static_cast<const void*>(ints.data());
      return {type, data, nulls.data()};
    }
  };

  Output& output_;
  const CepOptions& options_;
  Disk& disk_;
  const std::string rules_;
  std::unique_ptr<Workers> workers_;  // with shards
  std::unique_ptr<cep::ShardedEngine> engine_;
  uint64_t next_index_ = 0;
  uint64_t lines_dropped_ = 0;
  cep::Batch batch_;
  std::vector<int64_t> t_;
  std::vector<int64_t> at_;
  std::vector<Column> columns_;
};

bool set_mutant([[maybe_unused]] const std::string& name) {
#ifdef LAMBDA_CEP_MUTANTS
#define LAMBDA_CEP_SET_MUTANT(enumerator, known, reading) \
  if (name == known) {                                    \
    cep::active_mutant = cep::Mutant::enumerator;         \
    return true;                                          \
  }
  LAMBDA_CEP_MUTANT_LIST(LAMBDA_CEP_SET_MUTANT)
#undef LAMBDA_CEP_SET_MUTANT
#endif
  return false;
}

}  // namespace

int cep_run(Output& output, const CepOptions& options, Disk& disk) {
  if (!options.mutant.empty() && !set_mutant(options.mutant)) {
    return report(output, {ErrorCode::kInvalid, "this build has no mutant " + options.mutant});
  }
  auto rules = disk.read_all(options.rules_file, kRulesBytesMax);
  if (!rules) {
    return report(output, rules.error());
  }
  return CepRun(output, options, disk, std::move(*rules)).run();
}

int cep_check(Output& output, const CepOptions& options, Disk& disk) {
  const auto rules = disk.read_all(options.rules_file, kRulesBytesMax);
  if (!rules) {
    return report(output, rules.error());
  }
  cep::Engine engine({}, [](const cep::Output&) {});
  const auto errors = engine.create(*rules);
  return errors.empty() ? kExitDone : report_rules(output, options.rules_file, errors);
}

int cep_explain(Output& output, const CepOptions& options, Disk& disk) {
  const auto rules = disk.read_all(options.rules_file, kRulesBytesMax);
  if (!rules) {
    return report(output, rules.error());
  }
  cep::Engine engine({}, [](const cep::Output&) {});
  if (const auto errors = engine.create(*rules); !errors.empty()) {
    return report_rules(output, options.rules_file, errors);
  }
  auto list = nlohmann::ordered_json::array();
  for (cep::RuleId id = 0; id < engine.rule_count(); ++id) {
    const auto facts = explain_rule(engine.rule(id), engine.catalog(), engine.symbols());
    nlohmann::ordered_json rule{{"rule", engine.rule(id).name}};
    for (const auto& [what, how] : facts) {
      rule[what] = how;
    }
    list.push_back(std::move(rule));
    if (!output.json) {
      output.out << engine.rule(id).name << "\n";
      for (const auto& [what, how] : facts) {
        output.out << "  " << what << std::string(13 - what.size(), ' ') << how << "\n";
      }
    }
  }
  if (output.json) {
    output.out << list.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << "\n";
  }
  return kExitDone;
}

int cep_list_mutants(Output& output) {
#ifdef LAMBDA_CEP_MUTANTS
#define LAMBDA_CEP_PRINT_MUTANT(enumerator, name, reading) output.out << name << "  " << reading << "\n";
  LAMBDA_CEP_MUTANT_LIST(LAMBDA_CEP_PRINT_MUTANT)
#undef LAMBDA_CEP_PRINT_MUTANT
  return kExitDone;
#else
  return report(output, {ErrorCode::kInvalid, "this build has no mutants"});
#endif
}

}  // namespace lambda::cli
