// A real systemd, when one can be had, and buses that are none.
#include "base/os/service_manager.h"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <optional>
#include <thread>

#include "base/os/loop.h"
#include "base/os/processes.h"

namespace lambda {
namespace {

struct World {
  World() {
    std::string name = (std::filesystem::temp_directory_path() / "lambda-services-XXXXXX").string();
    EXPECT_NE(mkdtemp(name.data()), nullptr);
    folder = name;
  }
  ~World() {
    manager.reset();
    std::error_code ignored;
    std::filesystem::remove_all(folder, ignored);
  }
  Result<ServiceStates> ask() {
    std::optional<Result<ServiceStates>> answer;
    manager->ask([&](Result<ServiceStates> states) {
      EXPECT_FALSE(answer.has_value()) << "answered twice";
      answer = std::move(states);
      loop.stop();
    });
    EXPECT_FALSE(answer.has_value()) << "inside the call";
    const auto limit = loop.after(20'000, [this] { loop.stop(); });
    loop.run();
    loop.cancel(limit);
    if (!answer) return fail(ErrorCode::kIo, "the test waited for 20 s");
    return *answer;
  }
  void make(const std::string& socket, int64_t answer_ms_max = 5'000,
            std::function<bool(std::string_view)> wants = {}) {
    manager = make_service_manager(loop, {socket, answer_ms_max, std::move(wants)});
  }

  OsLoop loop;
  std::string folder;
  std::unique_ptr<ServiceManager> manager;
};

// Takes each connection, says `text` and then nothing; with `ends` it closes.
class WrongBus {
 public:
  WrongBus(const std::string& path, std::string text, bool ends) : fd_(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0)) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::strncpy(address.sun_path, path.c_str(), sizeof address.sun_path - 1);
    EXPECT_EQ(bind(fd_, reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    EXPECT_EQ(listen(fd_, 8), 0);
    thread_ = std::thread([this, text = std::move(text), ends] {
      for (int peer; (peer = accept(fd_, nullptr, nullptr)) >= 0;) {
        (void)!send(peer, text.data(), text.size(), MSG_NOSIGNAL);
        ++connections;
        ends ? (void)close(peer) : peers_.push_back(peer);
      }
    });
  }
  ~WrongBus() {
    shutdown(fd_, SHUT_RDWR);
    thread_.join();
    close(fd_);
    for (const int peer : peers_) close(peer);
  }
  std::atomic<int> connections{0};

 private:
  const int fd_;
  std::vector<int> peers_;
  std::thread thread_;
};

TEST(ServiceManager, WithoutASocketThereIsNoneAndThatIsSaidAtOnce) {
  World world;
  world.make(world.folder + "/bus");
  for (int i = 0; i < 2; ++i) {
    const auto answer = world.ask();
    ASSERT_FALSE(answer.has_value());
    EXPECT_EQ(answer.error().code, ErrorCode::kNotFound);
  }
}

TEST(ServiceManager, ABusThatHangsAnswersNonsenseOrEndsIsAnErrorAndIsAskedAgain) {
  const std::string auth = "OK 0123456789abcdef0123456789abcdef\r\nAGREE_UNIX_FD\r\n";
  const struct {
    const char* what;
    std::string text;
    bool ends;
  } cases[] = {
      {"says nothing", "", false},
      {"ends", "", true},
      {"says no D-Bus", "HTTP/1.1 200 OK\r\n\r\n", false},
      {"says zeros", std::string(100'000, '\0'), false},
      {"says nonsense behind the greeting", auth + std::string(10'000, 'l'), false},
      {"says nothing behind the greeting", auth, false},
      {"claims a message of two gigabytes", auth + std::string("l\2\1\1\xff\xff\xff\x7f\1\0\0\0\0\0\0\0", 16), false}};
  for (const bool direct : {true, false}) {
    for (const auto& [what, text, ends] : cases) {
      SCOPED_TRACE(what);
      World world;
      std::filesystem::create_directories(world.folder + "/systemd");
      const std::string socket = world.folder + (direct ? "/systemd/private" : "/bus");
      WrongBus bus(socket, text, ends);
      world.make(socket, 100);
      for (int i = 0; i < 2; ++i) {
        const auto answer = world.ask();
        ASSERT_FALSE(answer.has_value());
        EXPECT_EQ(answer.error().code, ErrorCode::kUnavailable) << answer.error().text;
        EXPECT_NE(answer.error().text.find(socket), std::string::npos) << answer.error().text;
      }
      EXPECT_GE(bus.connections, 2);
    }
  }
}

TEST(ServiceManager, EndsWhileAQuestionIsOpen) {
  World world;
  WrongBus bus(world.folder + "/bus", "", false);
  world.make(world.folder + "/bus", 600'000);
  bool answered = false;
  world.manager->ask([&](const Result<ServiceStates>&) { answered = true; });
  while (bus.connections == 0) std::this_thread::yield();
  world.manager.reset();
  world.loop.post([&] { world.loop.stop(); });
  world.loop.run();
  EXPECT_FALSE(answered);
}

// systemd as a user's own manager, in a mount namespace of its own in which it finds what it asks of a machine.
class UserManager {
 public:
  explicit UserManager(World& world) : loop_(world.loop), processes_(world.loop) {
    const std::string script =
        "mount -t tmpfs tmpfs /run && mkdir -p /run/systemd/system && exec env XDG_RUNTIME_DIR=" + world.folder +
        " DBUS_SESSION_BUS_ADDRESS= SYSTEMD_LOG_LEVEL=err SYSTEMD_UNIT_PATH=" + world.folder +
        "/units: /lib/systemd/systemd --user";
    std::filesystem::create_directories(world.folder + "/units");
    write(world.folder + "/units/lambda-good.service", "exec sleep 100", "exec");
    write(world.folder + "/units/lambda-bad.service", "exit 3", "oneshot");
    write(world.folder + "/units/default.target", "", "");
    std::filesystem::create_directories(world.folder + "/units/default.target.wants");
    for (const char* name : {"lambda-good.service", "lambda-bad.service"}) {
      std::filesystem::create_symlink(world.folder + "/units/" + name,
                                      world.folder + "/units/default.target.wants/" + name);
    }
    auto spawned = processes_.spawn({"unshare", "--mount", "--propagation", "private", "sh", "-c", script},
                                    [this](int) { ended_ = true; });
    if (spawned) child_ = std::move(*spawned);
  }
  bool there(const std::string& socket) {
    for (int i = 0; i < 1'000 && child_ != nullptr && !ended_; ++i) {
      if (std::filesystem::exists(socket)) return true;
      loop_.after(10, [this] { loop_.stop(); });
      loop_.run();
    }
    return false;
  }

 private:
  static void write(const std::string& path, const std::string& command, const std::string& type) {
    FILE* file = fopen(path.c_str(), "w");
    ASSERT_NE(file, nullptr);
    if (command.empty()) {
      fputs("[Unit]\nDescription=d\n", file);
    } else {
      fprintf(file, "[Service]\nType=%s\nExecStart=/bin/sh -c '%s'\n", type.c_str(), command.c_str());
    }
    fclose(file);
  }
  OsLoop& loop_;
  OsProcesses processes_;
  bool ended_ = false;
  std::unique_ptr<ChildProcess> child_;
};

TEST(ServiceManager, TellsTheUnitsOfARealSystemd) {
  World world;
  UserManager systemd(world);
  const std::string socket = world.folder + "/systemd/private";
  if (!systemd.there(socket)) GTEST_SKIP() << "systemd --user does not start here: nothing is known of a real one";
  world.make(socket, 5'000, [](std::string_view name) { return !name.ends_with(".mount"); });
  Result<ServiceStates> states = world.ask();
  const auto unit = [&](const char* name) -> ServiceUnit {
    const auto found = std::find_if(states->units.begin(), states->units.end(),
                                    [&](const ServiceUnit& one) { return one.name == name; });
    return found == states->units.end() ? ServiceUnit() : *found;
  };
  // Until it has started what it should; at most ten seconds.
  for (int i = 0; i < 200; ++i) {
    ASSERT_TRUE(states.has_value()) << states.error().text;
    if (unit("lambda-good.service").state == "active" && unit("lambda-bad.service").state == "failed" &&
        states->system == "degraded") {
      break;
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    states = world.ask();
  }
  EXPECT_EQ(unit("lambda-good.service").state, "active");
  EXPECT_EQ(unit("lambda-good.service").type, "exec");
  EXPECT_EQ(unit("lambda-bad.service").state, "failed");
  EXPECT_EQ(unit("lambda-bad.service").type, "oneshot");
  EXPECT_EQ(states->system, "degraded");
  EXPECT_FALSE(states->version.empty());
  EXPECT_EQ(states->units_left_out, 0u);
  EXPECT_GT(states->states_of_all.size(), states->units.size()) << "mounts are counted and not told of";
  EXPECT_TRUE(std::none_of(states->units.begin(), states->units.end(),
                           [](const ServiceUnit& one) { return one.name.ends_with(".mount"); }));
}

}  // namespace
}  // namespace lambda
