// StatsD metrics a second that the agent's receiver and its gathering take on one core without a drop, beside a bare
// loop of recvmmsg on the same packets in the same run.
//
// Both run on the first core this process may use; a child sends from another, at a given rate. Packets as clients
// make them that buffer (1,400 bytes, about 24 metrics), and of one metric each. A thousand series: half counters, a
// fifth gauges, a quarter timers, the rest sets; two tags. What was gathered is told once a second, ten times as often
// as the agent does.
//
// The last line is JSON. Exit status 1 if 300,000 metrics a second in buffered packets cost a drop.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <chrono>
#include <cmath>
#include <csignal>
#include <cstdio>
#include <functional>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <thread>
#include <vector>

#include "agent/source/statsd_source.h"
#include "base/os/datagrams.h"
#include "base/os/loop.h"

namespace {

using namespace lambda;
using namespace lambda::agent;

constexpr double kMustMetrics = 300'000;
constexpr size_t kAtOnce = 32;
constexpr int64_t kQuietMs = 300;  // after the sender ended: what has not come by then was dropped

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

double cpu_seconds() {
  rusage used{};
  getrusage(RUSAGE_SELF, &used);
  const auto of = [](const timeval& t) { return static_cast<double>(t.tv_sec) + static_cast<double>(t.tv_usec) / 1e6; };
  return of(used.ru_utime) + of(used.ru_stime);
}

struct Packets {
  std::vector<std::string> packets;
  size_t metrics = 0;  // in all of them
};

std::string metric(size_t i) {
  const size_t series = i % 1'000;
  const std::string tags = "|#env:production,shard:" + std::to_string(series % 50);
  const std::string name = "service.module." + std::to_string(series / 50);
  if (series % 20 < 10) return name + ".requests:" + std::to_string(1 + i % 7) + "|c" + tags;
  if (series % 20 < 14) return name + ".queue:" + std::to_string(i % 977) + "|g" + tags;
  if (series % 20 < 19) return name + ".latency:" + std::to_string(i * 31 % 5'003) + ".25|ms" + tags;
  return name + ".users:user-" + std::to_string(i % 200) + "|s" + tags;
}

Packets make_packets(bool buffered) {
  Packets out;
  for (size_t i = 0; i < 20'000; ++i) {
    std::string line = metric(i);
    if (!buffered || out.packets.empty() || out.packets.back().size() + 1 + line.size() > 1'400) {
      out.packets.push_back(std::move(line));
    } else {
      out.packets.back() += "\n" + line;
    }
    ++out.metrics;
  }
  return out;
}

// The child: sends `packets` again and again, `rate` metrics a second for `for_s`. Reports how many packets it sent.
[[noreturn]] void send_all(const Packets& packets, uint16_t port, double rate, double for_s, int report) {
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  const int fd = socket(AF_INET, SOCK_DGRAM, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(port);
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  if (connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) != 0) _exit(1);
  const double packet_rate = rate * static_cast<double>(packets.packets.size()) / static_cast<double>(packets.metrics);
  std::array<iovec, kAtOnce> parts{};
  std::array<mmsghdr, kAtOnce> messages{};
  uint64_t sent = 0;
  const double start = seconds();
  for (double now = start; now - start < for_s; now = seconds()) {
    const auto due = static_cast<uint64_t>((now - start) * packet_rate);
    if (due <= sent) {
      std::this_thread::sleep_for(std::chrono::microseconds(100));
      continue;
    }
    const size_t count = std::min<uint64_t>(kAtOnce, due - sent);
    for (size_t i = 0; i < count; ++i) {
      const std::string& packet = packets.packets[(sent + i) % packets.packets.size()];
      parts[i] = {const_cast<char*>(packet.data()), packet.size()};
      messages[i].msg_hdr.msg_iov = &parts[i];
      messages[i].msg_hdr.msg_iovlen = 1;
    }
    const int got = sendmmsg(fd, messages.data(), static_cast<unsigned>(count), 0);
    if (got > 0) sent += static_cast<uint64_t>(got);
  }
  const std::array<double, 2> told = {static_cast<double>(sent), seconds() - start};
  if (write(report, told.data(), sizeof told) != sizeof told) _exit(1);
  _exit(0);
}

struct Sender {
  pid_t pid = -1;
  int report = -1;
};

// Other threads may exist: until it ends the child calls nothing that takes a lock.
Sender start_sender(const Packets& packets, uint16_t port, double rate, double for_s, int core) {
  int ends[2];
  if (pipe(ends) != 0) std::exit(1);
  const pid_t pid = fork();
  if (pid == 0) {
    if (core >= 0) {
      cpu_set_t set;
      CPU_ZERO(&set);
      CPU_SET(core, &set);
      sched_setaffinity(0, sizeof set, &set);
    }
    send_all(packets, port, rate, for_s, ends[1]);
  }
  close(ends[1]);
  return {pid, ends[0]};
}

struct Run {
  double sent_packets = 0, sent_s = 0;
  double got_packets = 0, cpu_s = 0;
  double lost() const { return sent_packets - got_packets; }
};

void end_sender(const Sender& sender, Run& run) {
  std::array<double, 2> told{};
  if (read(sender.report, told.data(), sizeof told) != sizeof told) {
    std::fprintf(stderr, "bench_statsd: the sender failed\n");
    std::exit(1);
  }
  close(sender.report);
  waitpid(sender.pid, nullptr, 0);
  run.sent_packets = told[0];
  run.sent_s = told[1];
}

class NoLog final : public Log {
 public:
  void write(LogLevel, std::string_view, Fields) override {}
};

class CountingSink final : public Sink {
 public:
  Result<SeriesRef> series(const SeriesSpec&) override { return ++refs_; }
  void append(SeriesRef, uint64_t) override { ++points; }
  uint64_t points = 0;

 private:
  SeriesRef refs_ = 0;
};

Run run_ours(const Packets& packets, double rate, double for_s, int sender_core) {
  Run run;
  OsClock clock;
  OsLoop loop;
  NoLog log;
  OsDatagrams datagrams(loop);
  StatsdOptions options;
  options.port = 0;
  const auto statsd = std::make_shared<Statsd>(options, clock, log, 1);
  if (auto status = statsd->open(datagrams); !status) {
    std::fprintf(stderr, "bench_statsd: %s\n", status.error().text.c_str());
    std::exit(1);
  }
  StatsdSource source(statsd);
  CountingSink sink;
  const Sender sender = start_sender(packets, statsd->port(), rate, for_s, sender_core);
  const double before = cpu_seconds();
  uint64_t seen = 0;
  std::function<void()> tell = [&] {
    (void)source.collect(sink, 0);
    loop.after(1'000, tell);
  };
  std::function<void()> look = [&] {
    const uint64_t now = statsd->datagrams().packets;
    if (now == seen && now > 0) return loop.stop();
    seen = now;
    loop.after(kQuietMs, look);
  };
  loop.after(1'000, tell);
  loop.after(static_cast<int64_t>(for_s * 1'000) + kQuietMs, look);
  loop.run();
  run.cpu_s = cpu_seconds() - before;
  run.got_packets = static_cast<double>(statsd->datagrams().packets);
  end_sender(sender, run);
  return run;
}

Run run_bare(const Packets& packets, double rate, double for_s, int sender_core) {
  Run run;
  const int fd = socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK, 0);
  const int room = static_cast<int>(StatsdOptions{}.kernel_bytes_max);
  if (setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room) != 0) {
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
  }
  sockaddr_in at{};
  at.sin_family = AF_INET;
  at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof at;
  if (bind(fd, reinterpret_cast<sockaddr*>(&at), size) != 0) std::exit(1);
  getsockname(fd, reinterpret_cast<sockaddr*>(&at), &size);
  constexpr size_t kPacketBytes = 8'193, kPackets = 64;
  std::vector<char> space(kPacketBytes * kPackets);
  std::array<iovec, kPackets> parts{};
  std::array<mmsghdr, kPackets> messages{};
  for (size_t i = 0; i < kPackets; ++i) {
    parts[i] = {space.data() + i * kPacketBytes, kPacketBytes};
    messages[i].msg_hdr.msg_iov = &parts[i];
    messages[i].msg_hdr.msg_iovlen = 1;
  }
  const Sender sender = start_sender(packets, ntohs(at.sin_port), rate, for_s, sender_core);
  const double before = cpu_seconds(), end = seconds() + for_s;
  for (;;) {
    pollfd waited{fd, POLLIN, 0};
    if (poll(&waited, 1, static_cast<int>(kQuietMs)) == 0 && seconds() > end) break;
    const int got = recvmmsg(fd, messages.data(), kPackets, MSG_DONTWAIT, nullptr);
    if (got > 0) run.got_packets += got;
  }
  run.cpu_s = cpu_seconds() - before;
  close(fd);
  end_sender(sender, run);
  return run;
}

struct Figures {
  double metrics_per_s = 0;  // sent, of the fastest run without a loss
  double ns_per_metric = 0;  // of processor time, in that run
};

nlohmann::json measure(const char* shape, bool buffered, double for_s, int sender_core, bool* must) {
  const Packets packets = make_packets(buffered);
  const double per_packet = static_cast<double>(packets.metrics) / static_cast<double>(packets.packets.size());
  Figures ours, bare;
  *must = false;
  for (double rate = kMustMetrics; rate <= 64 * kMustMetrics; rate *= 2) {
    bool any_good = false;
    for (const bool is_ours : {true, false}) {
      const Run run = (is_ours ? run_ours : run_bare)(packets, rate, for_s, sender_core);
      const double metrics = run.sent_packets * per_packet, per_s = metrics / run.sent_s;
      const double ns = run.cpu_s * 1e9 / std::max(1.0, run.got_packets * per_packet);
      const bool reached = per_s >= 0.95 * rate;
      std::printf(
          "%-8s %-8s %9.0f metrics/s in %7.0f packets/s: %6.0f packets lost, %5.0f ns of processor a metric%s\n", shape,
          is_ours ? "ours" : "bare", per_s, run.sent_packets / run.sent_s, run.lost(), ns,
          reached ? "" : " (the sender was not faster)");
      if (run.lost() > 0) continue;
      (is_ours ? ours : bare) = {per_s, ns};
      if (is_ours && rate == kMustMetrics) *must = reached;
      any_good = any_good || reached;
    }
    std::fflush(stdout);
    if (!any_good) break;
  }
  return {{"metrics_per_s", std::round(ours.metrics_per_s)},
          {"bare_metrics_per_s", std::round(bare.metrics_per_s)},
          {"ns_per_metric", std::round(ours.ns_per_metric)},
          {"bare_ns_per_metric", std::round(bare.ns_per_metric)}};
}

}  // namespace

int main(int argc, char** argv) {
  CLI::App app("StatsD metrics a second on one core");
  double for_s = 2;
  app.add_option("--seconds", for_s, "of each run")->check(CLI::Range(0.5, 60.0));
  CLI11_PARSE(app, argc, argv);
  // All of ours, threads to come among it, on the first core; the sender on the last.
  cpu_set_t allowed;
  sched_getaffinity(0, sizeof allowed, &allowed);
  int first = -1, last = -1;
  for (int core = 0; core < CPU_SETSIZE; ++core) {
    if (!CPU_ISSET(core, &allowed)) continue;
    first = first < 0 ? core : first;
    last = core;
  }
  if (first == last) std::printf("only one core: the sender shares it, and the figures are of both\n");
  cpu_set_t one;
  CPU_ZERO(&one);
  CPU_SET(first, &one);
  sched_setaffinity(0, sizeof one, &one);
  bool must = false, single_must = false;
  nlohmann::json out;
  out["buffered"] = measure("buffered", true, for_s, last, &must);
  out["single"] = measure("single", false, for_s, last, &single_must);
  out["must"] = must;
  out["single_300k_without_a_loss"] = single_must;
  std::printf("%s\n", out.dump().c_str());
  return must ? 0 : 1;
}
