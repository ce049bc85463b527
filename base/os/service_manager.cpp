#include "base/os/service_manager.h"

#include <dlfcn.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <systemd/sd-bus.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <map>
#include <mutex>
#include <optional>
#include <thread>
#include <utility>

namespace lambda {
namespace {

constexpr const char* kSystemd = "org.freedesktop.systemd1";
constexpr const char* kManagerPath = "/org/freedesktop/systemd1";
constexpr const char* kManager = "org.freedesktop.systemd1.Manager";
constexpr size_t kTypesAskedMax = 64;      // at a time
constexpr uint32_t kTypeKeptAnswers = 60;  // then it is asked for again: it changes with a unit's file
constexpr size_t kNameBytesMax = 256;      // systemd's own bound

// systemd's library is where systemd is, and only there: it is loaded when there is a bus to talk to, so that other
// machines need neither have it nor pay for it.
struct Library {
  decltype(&::sd_bus_call_method_async) sd_bus_call_method_async = nullptr;
  decltype(&::sd_bus_close) sd_bus_close = nullptr;
  decltype(&::sd_bus_get_events) sd_bus_get_events = nullptr;
  decltype(&::sd_bus_get_fd) sd_bus_get_fd = nullptr;
  decltype(&::sd_bus_get_timeout) sd_bus_get_timeout = nullptr;
  decltype(&::sd_bus_message_enter_container) sd_bus_message_enter_container = nullptr;
  decltype(&::sd_bus_message_get_error) sd_bus_message_get_error = nullptr;
  decltype(&::sd_bus_message_is_method_error) sd_bus_message_is_method_error = nullptr;
  decltype(&::sd_bus_message_read) sd_bus_message_read = nullptr;
  decltype(&::sd_bus_new) sd_bus_new = nullptr;
  decltype(&::sd_bus_process) sd_bus_process = nullptr;
  decltype(&::sd_bus_set_address) sd_bus_set_address = nullptr;
  decltype(&::sd_bus_set_bus_client) sd_bus_set_bus_client = nullptr;
  decltype(&::sd_bus_start) sd_bus_start = nullptr;
  decltype(&::sd_bus_unref) sd_bus_unref = nullptr;

  // False: it cannot be loaded; `why` says so.
  bool load(std::string* why) {
    void* const library = dlopen("libsystemd.so.0", RTLD_NOW | RTLD_LOCAL);  // stays for the life of the process
    bool whole = library != nullptr;
    const auto find = [&](auto& function, const char* name) {
      void* const found = whole ? dlsym(library, name) : nullptr;
      std::memcpy(&function, &found, sizeof found);
      whole = whole && found != nullptr;
    };
    find(sd_bus_call_method_async, "sd_bus_call_method_async");
    find(sd_bus_close, "sd_bus_close");
    find(sd_bus_get_events, "sd_bus_get_events");
    find(sd_bus_get_fd, "sd_bus_get_fd");
    find(sd_bus_get_timeout, "sd_bus_get_timeout");
    find(sd_bus_message_enter_container, "sd_bus_message_enter_container");
    find(sd_bus_message_get_error, "sd_bus_message_get_error");
    find(sd_bus_message_is_method_error, "sd_bus_message_is_method_error");
    find(sd_bus_message_read, "sd_bus_message_read");
    find(sd_bus_new, "sd_bus_new");
    find(sd_bus_process, "sd_bus_process");
    find(sd_bus_set_address, "sd_bus_set_address");
    find(sd_bus_set_bus_client, "sd_bus_set_bus_client");
    find(sd_bus_start, "sd_bus_start");
    find(sd_bus_unref, "sd_bus_unref");
    if (!whole) {
      const char* const text = dlerror();
      *why = text == nullptr ? "libsystemd.so.0 is not whole" : text;
    }
    return whole;
  }
};

// Once, on the first thread that asks; then it does not change.
const Library* library(std::string* why) {
  static std::string failure;
  static Library loaded;
  static const bool good = loaded.load(&failure);
  *why = failure;
  return good ? &loaded : nullptr;
}

// Of one that is loaded: there is no connection otherwise.
const Library& lib() {
  static const Library* const loaded = [] {
    std::string ignored;
    return library(&ignored);
  }();
  LAMBDA_ASSERT(loaded != nullptr);
  return *loaded;
}

int64_t now_us() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::microseconds>(now).count();
}

struct CloseBus {
  void operator()(sd_bus* bus) const {
    lib().sd_bus_close(bus);
    lib().sd_bus_unref(bus);
  }
};
using Bus = std::unique_ptr<sd_bus, CloseBus>;

std::string error_text(int error) {
  return std::strerror(error < 0 ? -error : error);
}

// One question's way to its answer. On the thread only.
class Question {
 public:
  struct KnownType {
    std::string type;
    uint32_t answers_left = 0;
    bool seen = false;
  };
  using Types = std::map<std::string, KnownType, std::less<>>;

  Question(sd_bus* bus, const std::function<bool(std::string_view)>& wants, Types& types)
      : bus_(bus), wants_(wants), types_(types) {}

  void begin() {
    call(lib().sd_bus_call_method_async(bus_, nullptr, kSystemd, kManagerPath, kManager, "ListUnits", on_units, this,
                                        ""));
    for (const char* property : {"SystemState", "Version"}) {
      const bool state = std::strcmp(property, "SystemState") == 0;
      call(lib().sd_bus_call_method_async(bus_, nullptr, kSystemd, kManagerPath, "org.freedesktop.DBus.Properties",
                                          "Get", state ? on_system : on_version, this, "ss", kManager, property));
    }
  }
  bool ended() const { return !failure_.empty() || (open_ == 0 && next_type_ == wanted_types_.size()); }
  const std::string& failure() const { return failure_; }
  ServiceStates take() {
    for (ServiceUnit& unit : states_.units) {
      if (const auto known = types_.find(unit.name); known != types_.end()) unit.type = known->second.type;
    }
    for (auto at = types_.begin(); at != types_.end();) {
      KnownType& known = at->second;
      const bool keep = known.seen && known.answers_left > 0;
      if (keep) {
        known.answers_left--;
        known.seen = false;
      }
      at = keep ? std::next(at) : types_.erase(at);
    }
    return std::move(states_);
  }

 private:
  struct TypeAsked {
    Question* question;
    std::string name, path;
  };

  void call(int result) {
    if (result < 0) return fail("the question could not be sent: " + error_text(result));
    ++open_;
  }
  void fail(std::string why) {
    if (failure_.empty()) failure_ = std::move(why);
  }
  // Whether it is an answer and no error.
  bool good(sd_bus_message* message) {
    --open_;
    if (lib().sd_bus_message_is_method_error(message, nullptr) == 0) return true;
    const sd_bus_error* error = lib().sd_bus_message_get_error(message);
    fail(error != nullptr && error->name != nullptr
             ? std::string(error->name) + ": " + (error->message != nullptr ? error->message : "")
             : "an error without a name");
    return false;
  }

  static int on_units(sd_bus_message* message, void* self, sd_bus_error*) {
    return static_cast<Question*>(self)->units(message);
  }
  static int on_system(sd_bus_message* message, void* self, sd_bus_error*) {
    auto* question = static_cast<Question*>(self);
    return question->text(message, &question->states_.system);
  }
  static int on_version(sd_bus_message* message, void* self, sd_bus_error*) {
    auto* question = static_cast<Question*>(self);
    return question->text(message, &question->states_.version);
  }
  // Of a unit that is gone meanwhile there is none: no reason to fail.
  static int on_type(sd_bus_message* message, void* asked, sd_bus_error*) {
    auto* of = static_cast<TypeAsked*>(asked);
    Question& question = *of->question;
    --question.open_;
    const char* type = nullptr;
    if (lib().sd_bus_message_is_method_error(message, nullptr) == 0 &&
        lib().sd_bus_message_read(message, "v", "s", &type) > 0) {
      question.types_[of->name] = {std::string(type).substr(0, kNameBytesMax), kTypeKeptAnswers, true};
    }
    question.ask_types();
    return 0;
  }

  int text(sd_bus_message* message, std::string* out) {
    if (!good(message)) return 0;
    const char* value = nullptr;
    if (lib().sd_bus_message_read(message, "v", "s", &value) <= 0) {
      fail("a property is no text");
    } else {
      *out = std::string(value).substr(0, kNameBytesMax);
    }
    return 0;
  }

  int units(sd_bus_message* message) {
    if (!good(message)) return 0;
    if (lib().sd_bus_message_enter_container(message, 'a', "(ssssssouso)") <= 0) {
      fail("ListUnits answers something else than units");
      return 0;
    }
    for (;;) {
      const char *name, *text, *load, *active, *sub, *follows, *path, *job, *job_path;
      uint32_t job_number;
      const int read = lib().sd_bus_message_read(message, "(ssssssouso)", &name, &text, &load, &active, &sub, &follows,
                                                 &path, &job_number, &job, &job_path);
      if (read == 0) break;
      if (read < 0) {
        fail("ListUnits answers something else than units");
        return 0;
      }
      unit(name, load, active, path);
    }
    ask_types();
    return 0;
  }

  void unit(const std::string& name, std::string_view load, const char* active, const char* path) {
    states_.states_of_all.emplace_back(active);
    if (load != "loaded" || name.size() > kNameBytesMax || (wants_ != nullptr && !wants_(name))) return;
    if (states_.units.size() >= kServiceUnitsMax) {
      states_.units_left_out++;
      return;
    }
    states_.units.push_back({name, active, ""});
    if (!name.ends_with(".service") && !name.ends_with(".mount")) return;
    if (const auto known = types_.find(name); known != types_.end()) {
      known->second.seen = true;
      if (known->second.answers_left > 0) return;
    }
    wanted_types_.push_back({this, name, path});
  }

  void ask_types() {
    while (next_type_ < wanted_types_.size() && open_ < kTypesAskedMax && failure_.empty()) {
      TypeAsked& asked = wanted_types_[next_type_++];
      const char* interface =
          asked.name.ends_with(".mount") ? "org.freedesktop.systemd1.Mount" : "org.freedesktop.systemd1.Service";
      call(lib().sd_bus_call_method_async(bus_, nullptr, kSystemd, asked.path.c_str(),
                                          "org.freedesktop.DBus.Properties", "Get", on_type, &asked, "ss", interface,
                                          "Type"));
    }
  }

  sd_bus* const bus_;
  const std::function<bool(std::string_view)>& wants_;
  Types& types_;
  ServiceStates states_;
  std::vector<TypeAsked> wanted_types_;  // does not grow once the first is asked for
  size_t next_type_ = 0;
  size_t open_ = 0;
  std::string failure_;
};

class Systemd final : public ServiceManager {
 public:
  Systemd(EventLoop& loop, ServiceManagerOptions options)
      : loop_(loop), options_(std::move(options)), wake_fd_(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)) {
    LAMBDA_ASSERT(wake_fd_ >= 0);
  }
  ~Systemd() override {
    ended_ = true;
    wake();
    if (thread_.joinable()) thread_.join();
    ::close(wake_fd_);
  }

  void ask(Done done) override {
    LAMBDA_ASSERT(done_ == nullptr && done != nullptr);
    done_ = std::move(done);
    struct stat found {};
    if (::stat(options_.socket.c_str(), &found) != 0 || !S_ISSOCK(found.st_mode)) {
      return answer(fail(ErrorCode::kNotFound, options_.socket + ": there is no such socket"));
    }
    if (!thread_.joinable()) thread_ = std::thread([this] { run(); });
    asked_ = true;
    wake();
  }

 private:
  void wake() const {
    const uint64_t one = 1;
    [[maybe_unused]] const auto written = ::write(wake_fd_, &one, sizeof one);
  }

  // Any thread.
  void answer(Result<ServiceStates> states) {
    loop_.post([this, living = std::weak_ptr<bool>(alive_), states = std::move(states)]() mutable {
      if (living.expired()) return;
      std::exchange(done_, nullptr)(std::move(states));
    });
  }

  // ---- The thread

  void run() {
    while (!ended_) {
      if (asked_.exchange(false)) {
        answer(find_out());
        continue;
      }
      // Between two questions nothing is read: what a bus says by itself waits, or it ends the connection.
      pollfd waited{wake_fd_, POLLIN, 0};
      (void)::poll(&waited, 1, -1);
      clear_wake();
    }
  }

  void clear_wake() const {
    uint64_t count = 0;
    [[maybe_unused]] const auto got = ::read(wake_fd_, &count, sizeof count);
  }

  Result<ServiceStates> find_out() {
    // A connection that was lost since the last answer is noticed by asking: then once more with a new one.
    const bool kept = bus_ != nullptr;
    deadline_us_ = now_us() + options_.answer_ms_max * 1000;
    auto states = ask_bus();
    if (!states) bus_.reset();
    if (!states && kept && !ended_ && now_us() < deadline_us_) {
      states = ask_bus();
      if (!states) bus_.reset();
    }
    return states;
  }

  Result<ServiceStates> ask_bus() {
    const auto wrong = [this](const std::string& what) {
      return fail(ErrorCode::kUnavailable, "systemd at " + options_.socket + ": " + what);
    };
    if (bus_ == nullptr) {
      std::string why;
      if (library(&why) == nullptr) return wrong("its library cannot be used: " + why);
      if (const int result = open(); result < 0) return wrong("no connection: " + error_text(result));
    }
    Question question(bus_.get(), options_.wants, types_);
    question.begin();
    while (!question.ended()) {
      if (ended_) return wrong("the program ends");
      const int64_t left_us = deadline_us_ - now_us();
      if (left_us <= 0) return wrong("no answer within " + std::to_string(options_.answer_ms_max) + " ms");
      const int result = lib().sd_bus_process(bus_.get(), nullptr);
      if (result < 0) return wrong(error_text(result));
      if (result == 0 && !question.ended()) wait(left_us);
    }
    if (!question.failure().empty()) return wrong(question.failure());
    return question.take();
  }

  int open() {
    sd_bus* made = nullptr;
    if (const int result = lib().sd_bus_new(&made); result < 0) return result;
    Bus bus(made);
    const bool direct = options_.socket.ends_with("/systemd/private");
    const std::string address = "unix:path=" + escaped(options_.socket);
    int result = lib().sd_bus_set_address(made, address.c_str());
    if (result >= 0) result = lib().sd_bus_set_bus_client(made, direct ? 0 : 1);
    if (result >= 0) result = lib().sd_bus_start(made);
    if (result >= 0) bus_ = std::move(bus);
    return result;
  }

  // As D-Bus wants addresses.
  static std::string escaped(const std::string& path) {
    std::string out;
    for (const char c : path) {
      const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                         std::strchr("-_/.\\", c) != nullptr;
      char hex[4];
      std::snprintf(hex, sizeof hex, "%%%02x", static_cast<unsigned>(static_cast<unsigned char>(c)));
      out += plain ? std::string(1, c) : hex;
    }
    return out;
  }

  void wait(int64_t left_us) const {
    const int events = lib().sd_bus_get_events(bus_.get());
    pollfd waited[2] = {{wake_fd_, POLLIN, 0},
                        {lib().sd_bus_get_fd(bus_.get()), static_cast<short>(events < 0 ? 0 : events), 0}};
    uint64_t until_us = 0;  // of CLOCK_MONOTONIC
    if (lib().sd_bus_get_timeout(bus_.get(), &until_us) > 0 && until_us != UINT64_MAX) {
      left_us = std::clamp<int64_t>(static_cast<int64_t>(until_us) - now_us(), 0, left_us);
    }
    const int ready = ::poll(waited, 2, static_cast<int>(std::min<int64_t>(left_us / 1000 + 1, 1'000)));
    if (ready > 0 && waited[0].revents != 0) clear_wake();
  }

  EventLoop& loop_;
  const ServiceManagerOptions options_;
  const int wake_fd_;
  std::atomic<bool> asked_{false}, ended_{false};
  Done done_;  // loop thread
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
  std::thread thread_;

  // The thread's own.
  Bus bus_;
  Question::Types types_;
  int64_t deadline_us_ = 0;
};

}  // namespace

std::unique_ptr<ServiceManager> make_service_manager(EventLoop& loop, ServiceManagerOptions options) {
  return std::make_unique<Systemd>(loop, std::move(options));
}

}  // namespace lambda
