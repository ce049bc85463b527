#include "base/os/datagrams.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <vector>

#include "base/os/loop.h"

namespace lambda {
namespace {

// A loop, what came in, and a limit on each wait.
struct World {
  World() {
    std::string name = (std::filesystem::temp_directory_path() / "lambda-datagrams-XXXXXX").string();
    EXPECT_NE(mkdtemp(name.data()), nullptr);
    folder = name;
  }
  ~World() { std::filesystem::remove_all(folder); }

  Result<std::unique_ptr<DatagramReceiver>> receive(DatagramOptions options) {
    return datagrams.receive(std::move(options), [this](std::span<const std::string_view> packets) {
      for (const auto packet : packets) got.emplace_back(packet);
      if (got.size() >= wanted) loop.stop();
    });
  }
  // Runs the loop until so many packets came, or for ten seconds.
  void wait_for(size_t packets) {
    wanted = packets;
    if (got.size() >= wanted) return;
    const auto limit = loop.after(10'000, [this] { loop.stop(); });
    loop.run();
    loop.cancel(limit);
  }

  OsLoop loop;
  OsDatagrams datagrams{loop};
  std::string folder;
  std::vector<std::string> got;
  size_t wanted = 0;
};

class Sender {
 public:
  explicit Sender(uint16_t port) : fd_(socket(AF_INET, SOCK_DGRAM, 0)) {
    sockaddr_in to{};
    to.sin_family = AF_INET;
    to.sin_port = htons(port);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
  }
  explicit Sender(const std::string& path) : fd_(socket(AF_UNIX, SOCK_DGRAM, 0)) {
    sockaddr_un to{};
    to.sun_family = AF_UNIX;
    std::strcpy(to.sun_path, path.c_str());
    EXPECT_EQ(connect(fd_, reinterpret_cast<sockaddr*>(&to), sizeof to), 0);
  }
  ~Sender() { close(fd_); }
  bool send(const std::string& text) const {
    return ::send(fd_, text.data(), text.size(), 0) == static_cast<ssize_t>(text.size());
  }

 private:
  const int fd_;
};

TEST(OsDatagrams, PacketsComeWholeAndInOrder) {
  World world;
  auto receiver = world.receive({});
  ASSERT_TRUE(receiver.has_value()) << receiver.error().text;
  ASSERT_NE((*receiver)->port(), 0);
  const Sender sender((*receiver)->port());
  std::vector<std::string> sent;
  for (int i = 0; i < 150; ++i)
    sent.push_back("packet " + std::to_string(i) + std::string(static_cast<size_t>(i), '.'));
  sent.emplace_back();  // an empty one is one, too
  for (const auto& packet : sent) ASSERT_TRUE(sender.send(packet));
  world.wait_for(sent.size());
  EXPECT_EQ(world.got, sent);
  const DatagramCounters counters = (*receiver)->counters();
  EXPECT_EQ(counters.packets, sent.size());
  EXPECT_EQ(counters.packets_dropped, 0u);
  EXPECT_GT(counters.kernel_bytes_granted, 0u);
}

TEST(OsDatagrams, AUnixSocketReceivesBesideUdpAndIsGoneAfterwards) {
  World world;
  const std::string path = world.folder + "/statsd.sock";
  {
    auto receiver = world.receive({.socket = path});
    ASSERT_TRUE(receiver.has_value()) << receiver.error().text;
    ASSERT_TRUE(Sender(path).send("by path"));
    world.wait_for(1);
    ASSERT_TRUE(Sender((*receiver)->port()).send("by port"));
    world.wait_for(2);
    EXPECT_EQ(world.got, (std::vector<std::string>{"by path", "by port"}));
  }
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST(OsDatagrams, ASocketThatNobodyReadsIsReplacedAndNothingElseIs) {
  World world;
  const std::string path = world.folder + "/s";
  {
    const int left = socket(AF_UNIX, SOCK_DGRAM, 0);
    sockaddr_un at{};
    at.sun_family = AF_UNIX;
    std::strcpy(at.sun_path, path.c_str());
    ASSERT_EQ(bind(left, reinterpret_cast<sockaddr*>(&at), sizeof at), 0);
    close(left);
  }
  auto first = world.receive({.address = "", .socket = path});
  ASSERT_TRUE(first.has_value()) << first.error().text;
  EXPECT_EQ((*first)->port(), 0);
  const auto second = world.receive({.address = "", .socket = path});
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().text, path + ": another process receives there");
  ASSERT_EQ(mkdir((world.folder + "/d").c_str(), 0700), 0);
  const auto folder = world.receive({.address = "", .socket = world.folder + "/d"});
  ASSERT_FALSE(folder.has_value());
  EXPECT_EQ(folder.error().text, world.folder + "/d: is there already and is no socket");
  ASSERT_TRUE(Sender(path).send("still here"));
  world.wait_for(1);
  EXPECT_EQ(world.got.size(), 1u);
}

TEST(OsDatagrams, APortThatIsTakenAndAnAddressThatIsNoneAreNamed) {
  World world;
  auto first = world.receive({});
  ASSERT_TRUE(first.has_value());
  const uint16_t port = (*first)->port();
  const auto second = world.receive({.port = port});
  ASSERT_FALSE(second.has_value());
  EXPECT_EQ(second.error().text, "udp 127.0.0.1 port " + std::to_string(port) + ": Address already in use");
  const auto third = world.receive({.address = "localhost"});
  ASSERT_FALSE(third.has_value());
  EXPECT_EQ(third.error().code, ErrorCode::kInvalid);
}

TEST(OsDatagrams, APacketThatIsTooLongIsDroppedWholeAndCounted) {
  World world;
  auto receiver = world.receive({.packet_bytes_max = 100});
  ASSERT_TRUE(receiver.has_value());
  const Sender sender((*receiver)->port());
  ASSERT_TRUE(sender.send(std::string(101, 'x')));
  ASSERT_TRUE(sender.send(std::string(100, 'y')));
  world.wait_for(1);
  EXPECT_EQ(world.got, std::vector<std::string>{std::string(100, 'y')});
  EXPECT_EQ((*receiver)->counters().packets_too_long, 1u);
}

// The loop does not run while they are sent: the bound holds, the kernel's queue fills, and what it drops is counted.
TEST(OsDatagrams, EachPacketIsHandledOrCountedAsDropped) {
  World world;
  auto receiver = world.receive({.waiting_bytes_max = 20'000, .kernel_bytes_max = 4'096});
  ASSERT_TRUE(receiver.has_value());
  const Sender sender((*receiver)->port());
  size_t sent = 0;
  DatagramCounters now;
  // Until both bounds were met: the thread may take its time to run.
  for (; sent < 5'000'000 && (now.waits_for_handler == 0 || now.packets_dropped == 0); ++sent) {
    ASSERT_TRUE(sender.send(std::string(100, 'x')));
    now = (*receiver)->counters();
  }
  ASSERT_GT(now.waits_for_handler, 0u);
  ASSERT_GT(now.packets_dropped, 0u);
  EXPECT_EQ(now.packets, 0u);
  world.wait_for(sent - now.packets_dropped);
  EXPECT_EQ(world.got.size() + now.packets_dropped, sent);
  EXPECT_LT(world.got.size(), 1'000u);
  ASSERT_TRUE(sender.send("it goes on"));
  world.wait_for(world.got.size() + 1);
  EXPECT_EQ(world.got.back(), "it goes on");
}

TEST(OsDatagrams, EmptyPacketsTakeRoomAsWell) {
  World world;
  auto receiver = world.receive({.waiting_bytes_max = 8'000, .kernel_bytes_max = 4'096});
  ASSERT_TRUE(receiver.has_value());
  const Sender sender((*receiver)->port());
  size_t sent = 0;
  for (; sent < 5'000'000 && (*receiver)->counters().waits_for_handler == 0; ++sent) ASSERT_TRUE(sender.send(""));
  ASSERT_GT((*receiver)->counters().waits_for_handler, 0u) << sent << " packets were taken and wait";
}

TEST(OsDatagrams, EndsWhileItsThreadWaitsForRoom) {
  World world;
  auto receiver = world.receive({.waiting_bytes_max = 1'000, .kernel_bytes_max = 4'096});
  ASSERT_TRUE(receiver.has_value());
  const Sender sender((*receiver)->port());
  for (int i = 0; i < 100; ++i) ASSERT_TRUE(sender.send(std::string(100, 'x')));
  receiver->reset();
  world.loop.post([&] { world.loop.stop(); });
  world.loop.run();
  EXPECT_TRUE(world.got.empty());
}

}  // namespace
}  // namespace lambda
