// `lambda`: the command line of a site. Reads the command line, builds the real world, calls one command.
#include <CLI/CLI.hpp>

#include <csignal>
#include <functional>
#include <iostream>
#include <memory>
#include <string>

#include "base/os/disk.h"
#include "base/os/environment.h"
#include "base/os/http_client.h"
#include "base/os/log.h"
#include "base/os/loop.h"
#include "base/os/network.h"
#include "base/os/processes.h"
#include "base/os/random.h"
#include "cli/block_command.h"
#include "cli/cep_command.h"
#include "cli/cep_replay.h"
#include "cli/output.h"
#include "cli/pack_command.h"
#include "cli/promql_test_command.h"
#include "cli/query_command.h"
#include "cli/rules_command.h"
#include "cli/server.h"
#include "cli/site_commands.h"
#include "cli/spool_command.h"
#include "cli/store_command.h"
#include "cli/top_command.h"

namespace {

using namespace lambda;

constexpr const char* kFooter =
    "Exit status: 0 done; 1 refused, malformed, damaged or failed; 2 the command line is wrong;\n"
    "3 the gateway or agent that was asked did not answer.";

// For commands that only make calls which act at once: they end on Ctrl-C like any filter.
class NoLoop final : public EventLoop {
 public:
  void post(Task) override { LAMBDA_ASSERT(false); }
  TimerId after(int64_t, Task) override { LAMBDA_ASSERT(false); }
  void cancel(TimerId) override { LAMBDA_ASSERT(false); }
};
struct Files {
  NoLoop loop;
  OsDisk disk{loop};
};

// Made by the commands that need it: the loop takes the signals over, and a plain question should end on Ctrl-C.
struct World {
  OsLoop loop;
  OsClock clock;
  std::unique_ptr<Log> log = make_log({.level = LogLevel::kWarn}, clock);
  OsDisk disk{loop};
  OsNetwork network{loop, *log};
  OsRandom random;
  OsProcesses processes{loop};
  Env env{clock, loop, disk, network, random, processes, *log};
  cli::SiteWorld site;

  World() : site{env, [this] { loop.run(); }, [this] { loop.stop(); }, std::cout, std::cerr} {}
};

// Waits that Ctrl-C ends.
class Pauses {
 public:
  Pauses() {
    for (const int number : {SIGINT, SIGTERM}) {
      loop_.on_signal(number, [this] {
        interrupted_ = true;
        loop_.stop();
      });
    }
  }
  bool wait(int64_t ms) {
    const auto timer = loop_.after(ms, [this] { loop_.stop(); });
    loop_.run();
    loop_.cancel(timer);
    return !interrupted_;
  }

 private:
  OsLoop loop_;
  bool interrupted_ = false;
};

// Whether the terminal shows more than ASCII, as the environment has it.
bool locale_is_utf8() {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const std::string value = os_environment(name).value_or("");
    if (value.empty()) continue;
    return value.find("UTF-8") != std::string::npos || value.find("utf8") != std::string::npos;
  }
  return false;
}

// How the program shows who it is, and how long it waits.
void add_identity_options(CLI::App& command, cli::Server& server) {
  command.add_option("--token", server.token, "Token to show; better in the environment than on the command line")
      ->envname("LAMBDA_TOKEN");
  command.add_option("--ca", server.ca_file, "https: certificates to trust (PEM)")->type_name("FILE");
  auto* certificate =
      command.add_option("--cert", server.certificate_file, "https: certificate to show (PEM)")->type_name("FILE");
  command.add_option("--key", server.key_file, "https: its key (PEM)")->type_name("FILE")->needs(certificate);
  command.add_option("--timeout", server.timeout_s, "Seconds to wait for the answer")
      ->check(CLI::Range(int64_t{1}, int64_t{86'400}))
      ->capture_default_str();
}

void add_server_options(CLI::App& command, cli::Server& server) {
  auto* gateway =
      command.add_option("--gateway", server.url, "Gateway to ask (default " + std::string(cli::kGatewayUrl) + ")")
          ->envname("LAMBDA_GATEWAY")
          ->type_name("URL");
  command.add_option("--agent", server.url, "Agent to ask instead, as " + std::string(cli::kAgentUrl))
      ->type_name("URL")
      ->excludes(gateway);
  add_identity_options(command, server);
}

// The whole command line. A command sets `run`; main() calls it.
class CommandLine {
 public:
  CommandLine() {
    app.set_version_flag("--version", std::string("lambda ") + LAMBDA_VERSION);
    app.add_flag("--json", output.json, "Answer with JSON, errors too");
    app.require_subcommand(1);
    app.fallthrough();  // --json may stand behind a command's name
    app.footer(kFooter);
    add_query();
    add_top();
    add_devices();
    add_enroll();
    add_revoke();
    add_block();
    add_store();
    add_spool();
    add_cep();
    add_rules();
    add_promql();
  }

  CLI::App app{"Asks and looks after a Lambda Edge site."};
  cli::Output output{std::cout, std::cerr, false};
  std::function<int()> run;

 private:
  void add_query() {
    auto* command = app.add_subcommand("query", "Ask a gateway or an agent a PromQL expression");
    command->add_option("expression", query_.expression, "For example 'up{site=\"hall\"}[5m]'")->required();
    command->add_option("--time", query_.time, "Moment: RFC 3339, seconds since 1970, now, now-1h30m");
    command->add_option("--start", query_.start, "First moment of a range query");
    command->add_option("--end", query_.end, "Last moment of a range query (default now)");
    command->add_option("--step", query_.step, "Between two moments: 15s, 0.5 (default: about 250 points)");
    command
        ->add_option("--last", query_.last,
                     "The points of a selector as they are, of so long until now (or --time): 5m, 90s")
        ->type_name("DURATION");
    auto* blocks = command
                       ->add_option("--blocks", query_.blocks,
                                    "Ask files instead: segments, spool files, files of one block, or folders of them; "
                                    "may stand several times. Times not given are the data's: its last moment, its "
                                    "last ten minutes")
                       ->type_name("FILE|DIR")
                       ->allow_extra_args(false);
    add_server_options(*command, query_.server);
    for (const char* other : {"--gateway", "--agent"}) blocks->excludes(command->get_option(other));
    command
        ->add_option("--device", query_.device,
                     "Let the gateway ask this device itself: the minutes in its memory, sent or not")
        ->type_name("DEVICE")
        ->excludes(blocks)
        ->excludes(command->get_option("--agent"));
    command->add_option("--watch", watch_s_, "Ask again every so many seconds, until Ctrl-C")
        ->check(CLI::Range(1, 86'400))
        ->type_name("SECONDS")
        ->excludes(blocks);
    command->callback([this] {
      run = [this] {
        if (!query_.blocks.empty()) {
          Files files;
          return cli::query_blocks(output, query_, OsClock().utc_ms(), files.disk);
        }
        return watch_s_ == 0 ? cli::query(output, query_, OsClock().utc_ms(), call_http) : run_watch();
      };
    });
  }

  void add_top() {
    auto* command =
        app.add_subcommand("top", "Show a machine, by its agent, or a site, by a gateway; each second anew");
    auto* agent =
        command->add_option("--agent", top_agent_, "Agent to ask (default " + std::string(cli::kAgentUrl) + ")")
            ->type_name("URL");
    command->add_option("--gateway", top_gateway_, "Gateway to ask instead: the devices of a site")
        ->type_name("URL")
        ->excludes(agent);
    command->add_flag("--once", top_.once, "One frame, without escape codes");
    command->add_flag("--ascii", top_ascii_, "Draw with ASCII only");
    top_.server.timeout_s = 5;
    add_identity_options(*command, top_.server);
    command->callback([this] { run = [this] { return run_top(); }; });
  }

  void add_devices() {
    auto* command = app.add_subcommand("devices", "List the devices a gateway knows: last seen, lag, backlog, gaps");
    add_server_options(*command, devices_server_);
    command->callback([this] {
      run = [this] {
        const auto response = call_http(cli::make_call(devices_server_, "/api/v1/lambda/devices", {}, false));
        if (!response) {
          return cli::report(output, response.error());
        }
        if (response->status != 200) {
          return cli::report(output, {ErrorCode::kDenied, devices_server_.url + " answered with status " +
                                                              std::to_string(response->status)});
        }
        World world;
        return cli::devices(world.site, {output.json}, response->body);
      };
    });
  }

  void add_enroll() {
    auto* command = app.add_subcommand("enroll", "Let a device in: sign what its own request asks for");
    command->add_option("request", enroll_.request_file, "The request the device made")->required()->type_name("FILE");
    command->add_option("--site", enroll_.site_directory, "Directory of the site")->capture_default_str();
    command->add_option("--out", enroll_.bundle_file, "Where the device's bundle goes")->type_name("FILE");
    command->add_option("--days", enroll_.days, "How long the certificate is good")
        ->check(CLI::Range(1, 3650))
        ->capture_default_str();
    command->add_option("--gateway", enroll_.gateways, "Gateway the device will use; may stand several times")
        ->type_name("URL");
    command->add_flag("--replace", enroll_.replace, "The device has new keys: its old ones become worthless");
    command->callback([this] {
      run = [this] {
        World world;
        enroll_.json = output.json;
        return cli::enroll(world.site, enroll_);
      };
    });
  }

  void add_revoke() {
    auto* command = app.add_subcommand("revoke", "Shut a device out, at once");
    command->add_option("device", revoke_.device, "Its name")->required();
    command->add_option("--site", revoke_.site_directory, "Directory of the site")->capture_default_str();
    command->callback([this] {
      run = [this] {
        World world;
        revoke_.json = output.json;
        return cli::revoke(world.site, revoke_);
      };
    });
  }

  void add_block() {
    auto* command = app.add_subcommand("block", "Pack a series into blocks, look into a file of them");
    command->require_subcommand(1);
    const auto add = [&](const char* name, const char* help,
                         int (*show)(cli::Output&, const cli::BlockOptions&, Disk&)) {
      auto* action = command->add_subcommand(name, help);
      action->add_option("file", block_.file, "The block")->required()->type_name("FILE");
      action->add_flag("--hex", block_.hex, "The file holds hexadecimal digits");
      action->callback([this, show] {
        run = [this, show] {
          Files files;
          return show(output, block_, files.disk);
        };
      });
      return action;
    };
    add("cat", "Its points as CSV: timestamp_ms,value", cli::block_cat)
        ->add_flag("--ordinals", block_.ordinals, "Each point's ordinal before it");
    add("stat", "What its header says and its points come to; of many blocks: points, bytes, encodings",
        cli::block_stat);
    auto* pack = command->add_subcommand("pack", "Write a series from CSV (timestamp_ms,value) as a file of blocks");
    pack->add_option("in", pack_.in, "CSV, or CSV packed with gzip")->required()->type_name("IN.csv[.gz]");
    pack->add_option("out", pack_.out, "The file to write; one that is there is replaced")
        ->required()
        ->type_name("OUT");
    pack->add_option("--type", pack_.type,
                     "f64, f32, i64, dec:K (K decimals), state, or auto: the smallest that is exact")
        ->capture_default_str();
    pack->add_flag("--seal", pack_.seal, "In the smallest form that a gateway writes, not as a device does");
    pack->callback([this] {
      run = [this] {
        Files files;
        return cli::block_pack(output, pack_, files.disk);
      };
    });
    auto* unpack = command->add_subcommand("unpack", "Its points as CSV, each value so that it reads back bit for bit");
    unpack->add_option("file", block_.file, "A file of blocks, or one block")->required()->type_name("FILE");
    unpack->callback([this] {
      run = [this] {
        Files files;
        return cli::block_unpack(output, block_.file, files.disk);
      };
    });
  }

  void add_store() {
    auto* command = app.add_subcommand("store", "Look into a gateway's store while no gateway runs on it");
    command->require_subcommand(1);
    const auto add = [&](const char* name, const char* help) {
      auto* action = command->add_subcommand(name, help);
      action->add_option("directory", store_.directory, "The store")->required()->type_name("DIR");
      return action;
    };
    auto* check = add("check", "Read every record, decode every block, compare the index");
    check->add_flag("--progress", store_.progress, "Per cents on standard error");
    check->callback([this] {
      run = [this] {
        Files files;
        return cli::store_check(output, store_, files.disk);
      };
    });
    add("repair", "Cut torn ends, set damaged files aside, drop the index")->callback([this] {
      run = [this] {
        Files files;
        return cli::store_repair(output, store_, files.disk);
      };
    });
    auto* dump = add("export", "Print the points");
    dump->add_option("--match", store_.selector, "Series, for example 'up{site=\"hall\"}'")->capture_default_str();
    dump->add_option("--start", store_.start, "First moment, as in query");
    dump->add_option("--end", store_.end, "Last moment");
    dump->add_option("--format", store_.format, "csv (default), or jsonl (default with --json)")
        ->check(CLI::IsMember({"csv", "jsonl"}));
    dump->callback([this] { run = [this] { return run_export(); }; });
  }

  void add_spool() {
    auto* command = app.add_subcommand("spool", "Look into an agent's spool");
    command->require_subcommand(1);
    const auto add = [&](const char* name, const char* help,
                         int (*show)(cli::Output&, const cli::SpoolOptions&, Disk&)) {
      auto* action = command->add_subcommand(name, help);
      action->add_option("directory", spool_.directory, "The agent's state directory")->required()->type_name("DIR");
      action->callback([this, show] {
        run = [this, show] {
          Files files;
          return show(output, spool_, files.disk);
        };
      });
      return action;
    };
    add("check", "Read every record of its spool and journal files", cli::spool_check);
    add("dump", "Its parcels, one a line", cli::spool_dump)
        ->add_flag("--unsettled", spool_.unsettled, "Only those that no gateway has acknowledged");
  }

  void add_cep() {
    auto* command = app.add_subcommand("cep", "Check rules, and run them over a file of events");
    command->require_subcommand(1);
    auto* run_rules = command->add_subcommand("run", "Print what the rules say of the events, one JSON object a line");
    auto* rules = run_rules->add_option("--rules", cep_.rules_file, "CREATE statements")->type_name("FILE");
    auto* events = run_rules->add_option("--events", cep_.events_file, "Events in order of arrival, JSON lines")
                       ->type_name("FILE");
    run_rules->add_option("--table", cep_.tables, "Rows of a table, JSON lines; may stand several times")
        ->type_name("NAME=FILE");
    run_rules->add_option("--batch", cep_.batch, "Events handed over at once")
        ->check(CLI::Range(uint64_t{1}, uint64_t{1'000'000}))
        ->capture_default_str();
    run_rules->add_option("--shards", cep_.shards, "Threads that the devices are divided over; the output is the same")
        ->check(CLI::Range(uint64_t{1}, uint64_t{64}))
        ->capture_default_str();
    run_rules->add_option("--snapshot-at", cep_.snapshot_at, "Save, drop and restore the state after this event")
        ->type_name("INDEX");
    run_rules->add_flag("--stats", cep_.stats, "At the end, what was counted, on standard error");
    if (cli::kCepMutants) {
      run_rules->add_option("--mutant", cep_.mutant, "Run with a planted wrong reading of the language");
      run_rules->add_flag("--list-mutants", cep_list_, "Name them");
    }
    run_rules->callback([this, rules, events] {
      if (!cep_list_ && (rules->empty() || events->empty())) {
        throw CLI::RequiredError(rules->empty() ? "--rules" : "--events");
      }
      run = [this] {
        Files files;
        return cep_list_ ? cli::cep_list_mutants(output) : cli::cep_run(output, cep_, files.disk);
      };
    });
    auto* replay =
        command->add_subcommand("replay", "What rules say of points that are stored already; nothing is told");
    replay->add_option("--rules", replay_.rules_file, "CREATE statements")->required()->type_name("FILE");
    replay->add_option("--from", replay_.from, "First moment, as in query")->required();
    replay->add_option("--to", replay_.to, "Last moment (default now)");
    replay->add_option("--table", replay_.tables, "Rows of a table, JSON lines; may stand several times")
        ->type_name("NAME=FILE");
    replay->add_option("--store", replay_store_, "A store while no gateway runs on it; else a gateway is asked")
        ->type_name("DIR");
    add_server_options(*replay, replay_server_);
    replay->callback([this] { run = [this] { return replay_store_.empty() ? replay_gateway() : replay_store(); }; });
    auto* explain = command->add_subcommand("explain", "How each rule will be run, and what it may hold");
    explain->add_option("rules", cep_.rules_file, "CREATE statements")->required()->type_name("FILE");
    explain->callback([this] {
      run = [this] {
        Files files;
        return cli::cep_explain(output, cep_, files.disk);
      };
    });
    auto* check = command->add_subcommand("check", "Complain about a file of rules; exit 2 if there is an error in it");
    check->add_option("rules", cep_.rules_file, "CREATE statements")->required()->type_name("FILE");
    check->callback([this] {
      run = [this] {
        Files files;
        return cli::cep_check(output, cep_, files.disk);
      };
    });
  }

  void add_rules() {
    auto* command = app.add_subcommand("rules", "Look after the rules of a running gateway");
    command->require_subcommand(1);
    const auto add = [&](const char* name, const char* help, const std::function<int()>& action) {
      auto* made = command->add_subcommand(name, help);
      add_server_options(*made, rules_.server);
      made->callback([this, action] { run = action; });
      return made;
    };
    add("list", "Files, rules, what they counted, and what is wrong with them",
        [this] { return cli::rules_list(output, rules_, call_http); });
    add("alerts", "What is pending and what fires", [this] { return cli::rules_alerts(output, rules_, call_http); });
    add("show", "Print a file", [this] { return cli::rules_show(output, rules_, call_http); })
        ->add_option("name", rules_.name, "pumps or pumps.sql")
        ->required();
    add("remove", "Remove a file; its alerts are resolved",
        [this] { return cli::rules_remove(output, rules_, call_http); })
        ->add_option("name", rules_.name, "pumps or pumps.sql")
        ->required();
    for (const bool fresh : {true, false}) {
      auto* put = add(fresh ? "add" : "replace",
                      fresh ? "Check a file and run it; exit 2 if there is an error in it"
                            : "The same for a file that is there; rules of the same shape keep their state",
                      [this, fresh] {
                        Files files;
                        return cli::rules_put(output, rules_, fresh, files.disk, call_http);
                      });
      put->add_option("file", rules_.file, "CREATE statements, or rows of a table (.jsonl)")
          ->required()
          ->type_name("FILE");
      put->add_option("--name", rules_.name, "What the gateway calls it (default: the file's name)");
    }
    auto* check =
        command->add_subcommand("check", "Complain about a file of rules, without a gateway; exit 2 on errors");
    check->add_option("file", cep_.rules_file, "CREATE statements")->required()->type_name("FILE");
    check->callback([this] {
      run = [this] {
        Files files;
        return cli::cep_check(output, cep_, files.disk);
      };
    });
  }

  void add_promql() {
    auto* command = app.add_subcommand("promql", "Check what this program makes of PromQL");
    command->require_subcommand(1);
    auto* test = command->add_subcommand("test", "Run scripts in the form of Prometheus' promqltest");
    test->add_option("files", promql_test_.files, "Scripts")->required()->type_name("FILE");
    test->callback([this] {
      run = [this] {
        Files files;
        return cli::promql_test(output, promql_test_, files.disk);
      };
    });
  }

  int replay_gateway() {
    Files files;
    const auto source = [this](const std::string& metric, int64_t from_ms,
                               int64_t to_ms) -> Result<std::vector<cli::ReplaySeries>> {
      auto call = cli::replay_question(replay_server_, metric, from_ms, to_ms);
      const auto response = call_http(call);
      if (!response) {
        return tl::unexpected(response.error());
      }
      return cli::read_matrix(response->body);
    };
    return cli::cep_replay(output, replay_, OsClock().utc_ms(), files.disk, source);
  }

  int replay_store() {
    World world;
    bool interrupted = false;
    for (const int number : {SIGINT, SIGTERM}) {
      world.loop.on_signal(number, [&] {
        interrupted = true;
        world.loop.stop();
      });
    }
    cli::ExportWorld site{world.env, world.site.run, world.site.stop, [&] { return interrupted; }};
    auto store = cli::open_to_read(replay_store_, site);
    if (!store) {
      return cli::report(output, store.error());
    }
    const auto source = [&store](const std::string& metric, int64_t from_ms, int64_t to_ms) {
      return cli::read_series(**store, metric, from_ms, to_ms);
    };
    return cli::cep_replay(output, replay_, OsClock().utc_ms(), world.disk, source);
  }

  int run_watch() {
    Pauses pauses;
    const bool terminal = output_is_terminal() && !output.json;
    return cli::watch(
        output, query_,
        {terminal, [&] { return pauses.wait(int64_t{watch_s_} * 1000); }, [] { return OsClock().utc_ms(); }},
        call_http);
  }

  int run_top() {
    top_.site = !top_gateway_.empty();
    top_.server.url = top_.site ? top_gateway_ : top_agent_;
    const bool terminal = output_is_terminal();
    const auto style = [&] {
      const TerminalSize size = terminal_size();
      return cli::TopStyle{size.columns, size.lines, terminal, top_ascii_ || !locale_is_utf8()};
    };
    const auto now_ms = [] { return OsClock().utc_ms(); };
    if (top_.once) return cli::top(output, top_, {now_ms, style, terminal, {}}, call_http);
    Pauses pauses;
    return cli::top(output, top_, {now_ms, style, terminal, [&] { return pauses.wait(1'000); }}, call_http);
  }

  int run_export() {
    World world;
    bool interrupted = false;
    for (const int number : {SIGINT, SIGTERM}) {
      world.loop.on_signal(number, [&] {
        interrupted = true;
        world.loop.stop();
      });
    }
    cli::ExportWorld site{world.env, world.site.run, world.site.stop, [&] { return interrupted; }};
    return cli::store_export(output, store_, site);
  }

  cli::StoreOptions store_;
  cli::SpoolOptions spool_;
  cli::QueryOptions query_;
  int watch_s_ = 0;  // 0: once
  cli::TopOptions top_;
  std::string top_agent_ = cli::kAgentUrl, top_gateway_;
  bool top_ascii_ = false;
  cli::Server devices_server_;
  cli::EnrollOptions enroll_;
  cli::RevokeOptions revoke_;
  cli::BlockOptions block_;
  cli::PackOptions pack_;
  cli::CepOptions cep_;
  bool cep_list_ = false;
  cli::RulesOptions rules_;
  cli::ReplayOptions replay_;
  cli::Server replay_server_;
  std::string replay_store_;
  cli::PromqlTestOptions promql_test_;
};

}  // namespace

int main(int argc, char** argv) {
  std::ios::sync_with_stdio(false);
  CommandLine line;
  try {
    line.app.parse(argc, argv);
  } catch (const CLI::ParseError& error) {  // --help and --version come this way too, with status 0
    return line.app.exit(error) == 0 ? cli::kExitDone : cli::kExitUsage;
  }
  const int status = line.run();
  std::cout.flush();
  return std::cout ? status : cli::kExitFailed;  // a full disk behind > must not look like success
}
