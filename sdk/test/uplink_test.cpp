#include "lambda/uplink.h"

#include <functional>

#include "lambda/codecs.h"
#include "uplink_world.h"

namespace lambda::test {
namespace {

// A machine, its shelf, and a transport that notes what was published.
struct World {
  explicit World(UplinkOptions options = {}) : uplink(shelf, {this, publish, draw}, options) { shelf.boots = {1}; }

  static bool publish(void* context, std::span<const uint8_t> message) {
    World& world = *static_cast<World*>(context);
    if (world.full) return false;
    world.sent.push_back(read_sent(message));
    return true;
  }
  static uint64_t draw(void* context) { return static_cast<World*>(context)->random(); }

  void tick() { wake = uplink.tick(now); }
  void pass(int64_t ms) {
    now += ms;
    tick();
  }
  void down(const std::string& message) { uplink.down(bytes_of(message), now); }
  void answer(const std::string& message) {
    down(message);
    tick();
  }
  // The nonce of the last hello of `boot`.
  uint64_t nonce(uint64_t boot = 1) const {
    for (auto it = sent.rbegin(); it != sent.rend(); ++it) {
      if (it->kind == 'H' && it->boot == boot) return it->number;
    }
    ADD_FAILURE() << "no hello of boot " << boot;
    return 0;
  }
  // Connects and lets a gateway that has nothing answer every hello.
  void connect() {
    uplink.connected(now);
    tick();
    for (const Sent& one : std::vector<Sent>(sent)) {
      if (one.kind == 'H') down(AckOf{.boot = one.boot, .nonce = one.number}.write());
    }
    sent.clear();
    tick();
  }
  std::vector<uint64_t> seqs_sent(uint64_t boot = 1) const {
    std::vector<uint64_t> seqs;
    for (const Sent& one : sent) {
      if (one.kind == 'P' && one.boot == boot) seqs.push_back(one.number);
    }
    return seqs;
  }
  size_t hellos() const {
    return static_cast<size_t>(
        std::count_if(sent.begin(), sent.end(), [](const Sent& one) { return one.kind == 'H'; }));
  }

  FakeShelf shelf;
  std::vector<Sent> sent;
  bool full = false;
  int64_t now = 1000, wake = 0;
  std::mt19937_64 random{7};
  Uplink uplink;
};

using Seqs = std::vector<uint64_t>;

TEST(Uplink, SaysHelloForEachBootAndSendsNothingOfABootBeforeItsAnswer) {
  World world;
  world.shelf.boots = {1, 2};
  world.shelf.put(1, 5, Lane::kBacklog);
  world.shelf.put(2, 1);
  world.tick();
  EXPECT_TRUE(world.sent.empty()) << "not connected";
  world.uplink.connected(world.now);
  world.tick();
  EXPECT_EQ(world.hellos(), 2u);
  EXPECT_EQ(world.sent.size(), 2u);
  EXPECT_FALSE(world.uplink.answered());
  const uint64_t nonce = world.nonce(1);
  world.sent.clear();
  world.answer(AckOf{.boot = 1, .nonce = nonce}.write());
  EXPECT_TRUE(world.uplink.answered());
  ASSERT_EQ(world.sent.size(), 1u);
  EXPECT_EQ(world.sent[0], (Sent{'P', 1, 5}));
}

TEST(Uplink, FreesOnlyWhatAnAckCovers) {
  World world;
  for (uint64_t seq = 1; seq <= 6; ++seq) world.shelf.put(1, seq);
  world.connect();
  EXPECT_EQ(world.seqs_sent(), (Seqs{1, 2, 3, 4, 5, 6}));
  EXPECT_EQ(world.uplink.in_flight_parcels(), 6u);
  world.answer(AckOf{.boot = 1, .contiguous = 2, .ranges = {{4, 5}}}.write());
  EXPECT_EQ(world.uplink.in_flight_parcels(), 2u);
  EXPECT_EQ(world.uplink.in_flight_bytes(), 200u);
  EXPECT_TRUE(world.shelf.has(1, 3));
  EXPECT_TRUE(world.shelf.has(1, 6));
  EXPECT_EQ(world.shelf.parcels.size(), 2u);
}

TEST(Uplink, ARangeThatTouchesTheContiguousPartIsTakenWhole) {
  World world;
  for (uint64_t seq = 1; seq <= 3; ++seq) world.shelf.put(1, seq);
  world.connect();
  world.answer(AckOf{.boot = 1, .contiguous = 0, .ranges = {{1, 2}}}.write());
  EXPECT_EQ(world.shelf.parcels.size(), 1u);
}

TEST(Uplink, AnAckOfAWeakerPolicySettlesNothingAndStopsNeedlessSending) {
  World world({.policy = Policy::kFog, .answer_timeout_ms = 1000});
  world.shelf.put(1, 1);
  world.connect();
  world.answer(AckOf{.boot = 1, .contiguous = 1, .policy = v1::LOCAL}.write());
  EXPECT_TRUE(world.shelf.has(1, 1));
  world.sent.clear();
  world.pass(1000);
  ASSERT_EQ(world.hellos(), 1u);
  world.answer(AckOf{.boot = 1, .contiguous = 1, .nonce = world.nonce(), .policy = v1::LOCAL}.write());
  EXPECT_EQ(world.seqs_sent(), Seqs{}) << "the gateway has it";
  EXPECT_TRUE(world.shelf.has(1, 1));
  world.answer(AckOf{.boot = 1, .contiguous = 1, .policy = v1::RING}.write());
  EXPECT_FALSE(world.shelf.has(1, 1));
}

TEST(Uplink, AHelloAnswerFreesWhatAnEarlierConnectionSentAndTheRestGoesAgain) {
  World world;
  for (uint64_t seq = 1; seq <= 5; ++seq) world.shelf.put(1, seq, Lane::kBacklog);
  world.uplink.connected(world.now);
  world.tick();
  const uint64_t nonce = world.nonce();
  world.answer(AckOf{.boot = 1, .contiguous = 1, .nonce = nonce, .ranges = {{3, 3}, {5, 9}}}.write());
  EXPECT_EQ(world.seqs_sent(), (Seqs{2, 4}));
}

TEST(Uplink, AsksAfterTheTimeoutAndSendsAgainOnlyWhatTheAnswerDoesNotSettle) {
  World world({.answer_timeout_ms = 1000});
  for (uint64_t seq = 1; seq <= 3; ++seq) world.shelf.put(1, seq);
  world.connect();
  world.sent.clear();
  world.pass(999);
  EXPECT_TRUE(world.sent.empty());
  EXPECT_LE(world.wake, world.now + 1);
  world.pass(1);
  ASSERT_EQ(world.sent.size(), 1u) << "a question, no parcel";
  EXPECT_EQ(world.uplink.counters().timeouts, 1u);
  world.shelf.put(1, 4);
  world.tick();
  EXPECT_EQ(world.sent.size(), 1u) << "nothing goes while the question is open";
  world.answer(AckOf{.boot = 1, .contiguous = 1, .nonce = world.nonce(), .ranges = {{3, 3}}}.write());
  EXPECT_EQ(world.seqs_sent(), (Seqs{2, 4}));
  EXPECT_EQ(world.uplink.counters().parcels_resent, 1u);
}

TEST(Uplink, AStaleAnswerStillSettlesButEndsNoQuestion) {
  World world({.answer_timeout_ms = 1000});
  world.shelf.put(1, 1);
  world.shelf.put(1, 2);
  world.uplink.connected(world.now);
  world.tick();
  const uint64_t first = world.nonce();
  world.answer(AckOf{.boot = 1, .nonce = first}.write());
  world.pass(1000);
  ASSERT_NE(world.nonce(), first);
  world.sent.clear();
  world.answer(AckOf{.boot = 1, .contiguous = 1, .nonce = first}.write());
  EXPECT_FALSE(world.shelf.has(1, 1));
  EXPECT_TRUE(world.sent.empty()) << "the open question is another one";
}

TEST(Uplink, ADoubledAnswerDoesNotMakeParcelsGoTwice) {
  World world;
  world.shelf.put(1, 1);
  world.uplink.connected(world.now);
  world.tick();
  const std::string answer = AckOf{.boot = 1, .nonce = world.nonce()}.write();
  world.answer(answer);
  world.answer(answer);
  EXPECT_EQ(world.seqs_sent(), Seqs{1});
}

TEST(Uplink, AsksLessAndLessOftenWhileNobodyAnswersAndNeverStops) {
  World world({.answer_timeout_ms = 1000, .answer_timeout_ms_max = 16'000});
  world.uplink.connected(world.now);
  std::vector<int64_t> asked;
  for (int64_t end = world.now + 3'600'000; world.now < end;) {
    world.tick();
    if (!world.sent.empty()) asked.push_back(world.now);
    world.sent.clear();
    ASSERT_GT(world.wake, world.now);
    world.now = world.wake;
  }
  ASSERT_GT(asked.size(), 3600u / 16);
  EXPECT_LT(asked.size(), 3600u / 4);
  EXPECT_EQ(asked[1] - asked[0], 1000);
  for (size_t i = 1; i < asked.size(); ++i) {
    EXPECT_GE(asked[i] - asked[i - 1], 1000);
    EXPECT_LE(asked[i] - asked[i - 1], 16'000);
  }
}

TEST(Uplink, ANewStartOfAGatewayMakesItAskThoughItWasSilentForLong) {
  World world({.answer_timeout_ms = 1000, .answer_timeout_ms_max = 3'600'000});
  world.uplink.interest(bytes_of(write_interest(1)), world.now);
  world.uplink.connected(world.now);
  for (int i = 0; i < 15; ++i) {
    world.tick();
    world.now = world.wake;
  }
  world.sent.clear();
  world.tick();
  world.sent.clear();
  world.uplink.interest(bytes_of(write_interest(2)), world.now);
  world.pass(250);
  EXPECT_EQ(world.hellos(), 1u) << "within a quarter of the first timeout";
  world.sent.clear();
  world.uplink.interest(bytes_of(write_interest(2)), world.now);
  world.uplink.interest(bytes_of(write_interest(1)), world.now);
  world.pass(250);
  EXPECT_EQ(world.hellos(), 0u) << "no news, and a late message of the start before";
}

TEST(Uplink, ANewStartOfAGatewayInAnAckMakesItAsk) {
  World world({.answer_timeout_ms = 1000});
  world.shelf.put(1, 1);
  world.shelf.put(1, 2);
  world.connect();
  world.sent.clear();
  world.answer(AckOf{.boot = 1, .contiguous = 1, .incarnation = 2}.write());
  world.pass(250);
  ASSERT_EQ(world.hellos(), 1u);
  world.answer(AckOf{.boot = 1, .contiguous = 1, .nonce = world.nonce(), .incarnation = 2}.write());
  EXPECT_EQ(world.seqs_sent(), Seqs{2}) << "what the restart lost goes again at once";
}

TEST(Uplink, GatewaysThatTakeTurnsAreEachAskedOnce) {
  World world({.answer_timeout_ms = 20'000});
  for (uint64_t seq = 1; seq <= 50; ++seq) world.shelf.put(1, seq);
  world.connect();
  for (uint64_t seq = 1; seq <= 50; ++seq) {
    AckOf ack{.boot = 1, .contiguous = seq, .incarnation = 100 + seq % 3, .gateway = "fog-" + std::to_string(seq % 3)};
    world.answer(ack.write());
    world.pass(200);
    if (world.hellos() == 0) continue;
    ack.nonce = world.nonce();
    world.answer(ack.write());
  }
  EXPECT_TRUE(world.shelf.parcels.empty());
  EXPECT_LE(world.hellos(), 3u);
}

TEST(Uplink, CountsForeignAndMalformedAnswersAndDoesNothing) {
  World world;
  world.shelf.put(1, 1);
  world.connect();
  world.down(AckOf{.boot = 99, .contiguous = 100}.write());
  world.down(write(nack_of(1, 77)));
  world.down("\xff\xff");
  world.uplink.interest(bytes_of("\xff\xff"), world.now);
  EXPECT_EQ(world.uplink.counters().answers_foreign, 2u);
  EXPECT_EQ(world.uplink.counters().answers_malformed, 2u);
  EXPECT_EQ(world.uplink.in_flight_parcels(), 1u);
  EXPECT_TRUE(world.shelf.has(1, 1));
}

TEST(Uplink, RetryAfterKeepsTheParcelForTheDelayAndHoldsUpNoOther) {
  World world({.window_parcels_max = 2});
  for (uint64_t seq = 1; seq <= 4; ++seq) world.shelf.put(1, seq);
  world.connect();
  EXPECT_EQ(world.seqs_sent(), (Seqs{1, 2}));
  v1::Nack nack = nack_of(1, 1);
  nack.mutable_retry_after()->set_delay_ms(3000);
  world.answer(write(nack));
  world.answer(write(nack));  // doubled on the way
  EXPECT_EQ(world.seqs_sent(), (Seqs{1, 2, 3}));
  world.answer(AckOf{.boot = 1, .ranges = {{2, 3}}}.write());
  EXPECT_EQ(world.seqs_sent(), (Seqs{1, 2, 3, 4}));
  world.answer(AckOf{.boot = 1, .ranges = {{2, 4}}}.write());
  EXPECT_GE(world.wake, world.now + 3000);
  EXPECT_LE(world.wake, world.now + 4500);
  world.pass(2999);
  EXPECT_EQ(world.seqs_sent(), (Seqs{1, 2, 3, 4}));
  world.pass(1502);
  EXPECT_EQ(world.seqs_sent(), (Seqs{1, 2, 3, 4, 1}));
  EXPECT_EQ(world.uplink.counters().nacks_retry, 2u);
}

TEST(Uplink, AWaitThatEndedLongAgoIsOverAndOneThatBeginsThenIsAsLong) {
  World world;
  world.shelf.put(1, 1);
  world.shelf.put(1, 2);
  world.connect();
  v1::Nack nack = nack_of(1, 1);
  nack.mutable_retry_after()->set_delay_ms(3000);
  world.answer(write(nack));
  world.uplink.disconnected(world.now);
  for (int day = 0; day < 30; ++day) world.pass(86'400'000);  // more than 31 bits of milliseconds
  world.connect();
  EXPECT_EQ(world.seqs_sent(), (Seqs{1, 2}));
  world.answer(write(nack));
  world.pass(2999);
  EXPECT_EQ(world.seqs_sent(), (Seqs{1, 2}));
  world.pass(1502);
  EXPECT_EQ(world.seqs_sent(), (Seqs{1, 2, 1}));
}

TEST(Uplink, ParcelsNoGatewayTakesNeverStopAllOthers) {
  World world({.window_parcels_max = 4});
  for (uint64_t seq = 1; seq <= 400; ++seq) world.shelf.put(1, seq);
  world.connect();
  // Every seq up to 300 is put off for ever; those above are taken.
  for (int64_t end = world.now + 7'200'000; world.now < end;) {
    const std::vector<Sent> sent = std::move(world.sent);
    world.sent.clear();
    for (const Sent& one : sent) {
      if (one.kind == 'H') {
        world.answer(AckOf{.boot = 1, .nonce = one.number}.write());
      } else if (one.number <= 300) {
        v1::Nack nack = nack_of(1, one.number);
        nack.mutable_retry_after()->set_delay_ms(60'000);
        world.answer(write(nack));
      } else {
        world.answer(AckOf{.boot = 1, .ranges = {{one.number, one.number}}}.write());
      }
    }
    if (world.sent.empty()) {
      world.now = world.wake;
      world.tick();
    }
  }
  EXPECT_EQ(world.shelf.parcels.size(), 300u);
  EXPECT_GT(world.uplink.counters().retries_forgotten, 0u);
}

TEST(Uplink, PermanentGivesTheParcelUp) {
  World world;
  world.shelf.put(1, 1);
  world.shelf.put(1, 2);
  world.connect();
  v1::Nack nack = nack_of(1, 1);
  nack.mutable_permanent()->set_code(v1::CONFLICT);
  world.answer(write(nack));
  world.answer(write(nack));
  ASSERT_EQ(world.shelf.refusals.size(), 1u);
  EXPECT_EQ(world.shelf.refusals[0].first, key_of(1, 1));
  EXPECT_EQ(world.shelf.refusals[0].second, RefusalCode::kConflict);
  EXPECT_EQ(world.uplink.in_flight_parcels(), 1u);
}

TEST(Uplink, DeclareSendsTheDeclaringParcelBeforeTheRefusedOne) {
  World world;
  world.shelf.put(1, 1, Lane::kBacklog);
  world.shelf.on_declare = [&](uint64_t boot) { world.shelf.put(boot, 50); };
  world.connect();
  v1::Nack nack = nack_of(1, 1);
  nack.mutable_declare()->add_refs(7);
  nack.mutable_declare()->add_refs(9);
  world.sent.clear();
  world.answer(write(nack));
  ASSERT_EQ(world.shelf.declares.size(), 1u);
  EXPECT_EQ(world.shelf.declares[0].second, (std::vector<uint32_t>{7, 9}));
  EXPECT_EQ(world.seqs_sent(), Seqs{50});
  world.pass(751);
  EXPECT_EQ(world.seqs_sent(), (Seqs{50, 1}));
}

TEST(Uplink, ADeclareThatNeverHelpsIsAskedForLessAndLessOften) {
  World world;
  world.shelf.put(1, 1);
  world.connect();
  for (int64_t end = world.now + 3'600'000; world.now < end;) {
    const std::vector<Sent> sent = std::move(world.sent);
    world.sent.clear();
    for (const Sent& one : sent) {
      if (one.kind == 'H') {
        world.answer(AckOf{.boot = 1, .nonce = one.number}.write());
        continue;
      }
      v1::Nack nack = nack_of(1, 1);
      nack.mutable_declare()->add_refs(7);
      world.answer(write(nack));
    }
    world.pass(100);
  }
  EXPECT_GT(world.shelf.declares.size(), 30u);
  EXPECT_LT(world.shelf.declares.size(), 80u);
}

TEST(Uplink, NewBootIsToldOnceHoweverManyParcelsAreAnsweredSo) {
  World world;
  for (uint64_t seq = 1; seq <= 10; ++seq) world.shelf.put(1, seq);
  world.connect();
  for (uint64_t seq = 1; seq <= 10; ++seq) {
    v1::Nack nack = nack_of(1, seq);
    nack.mutable_new_boot()->set_text("another device has this boot");
    world.answer(write(nack));
  }
  EXPECT_EQ(world.shelf.new_boots, 1u);
  world.sent.clear();
  world.shelf.put(2, 1);  // the shelf began one
  world.tick();
  EXPECT_EQ(world.nonce(2), world.sent.back().number);
}

TEST(Uplink, AVerdictOfANewerGatewayKeepsTheParcel) {
  World world({.answer_timeout_ms = 1000});
  world.shelf.put(1, 1);
  world.connect();
  world.answer(write(nack_of(1, 1)));
  world.sent.clear();
  world.pass(1500);
  EXPECT_EQ(world.seqs_sent(), Seqs{1});
}

TEST(Uplink, AHelloThatIsPutOffIsAskedAgainAfterTheDelay) {
  World world;
  world.uplink.connected(world.now);
  world.tick();
  v1::Nack nack = nack_of(1, 0);
  nack.mutable_retry_after()->set_delay_ms(2000);
  world.answer(write(nack));
  world.pass(1999);
  EXPECT_EQ(world.hellos(), 1u);
  world.pass(1);
  EXPECT_EQ(world.hellos(), 2u);
}

TEST(Uplink, TriesAgainSoonWhenTheTransportTakesNoMore) {
  World world;
  world.shelf.put(1, 1);
  world.connect();
  world.shelf.put(1, 2);
  world.full = true;
  world.sent.clear();
  world.tick();
  EXPECT_GT(world.wake, world.now);
  EXPECT_LE(world.wake, world.now + 100);
  EXPECT_EQ(world.uplink.in_flight_parcels(), 1u) << "what was not published is not in flight";
  world.full = false;
  world.pass(world.wake - world.now);
  EXPECT_EQ(world.seqs_sent(), Seqs{2});
}

TEST(Uplink, KeepsTheWindowInParcelsAndBytes) {
  World world({.window_parcels_max = 8, .window_bytes_max = 1000});
  for (uint64_t seq = 1; seq <= 20; ++seq) world.shelf.put(1, seq, Lane::kFresh, 300);
  world.connect();
  EXPECT_EQ(world.uplink.in_flight_parcels(), 3u);
  EXPECT_EQ(world.uplink.in_flight_bytes(), 900u);
}

TEST(Uplink, AParcelLargerThanTheWindowStillGoes) {
  World world({.window_parcels_max = 8, .window_bytes_max = 1000});
  for (uint64_t seq = 1; seq <= 3; ++seq) world.shelf.put(1, seq, Lane::kBacklog, 5000);
  world.connect();
  for (uint64_t seq = 1; seq <= 3; ++seq) {
    ASSERT_GE(world.seqs_sent().size(), seq);
    EXPECT_LE(world.uplink.in_flight_bytes(), 1000u);
    world.answer(AckOf{.boot = 1, .contiguous = seq}.write());
  }
  EXPECT_TRUE(world.shelf.parcels.empty());
}

// Feeds both lanes without end and acks in order of sending; returns how many of each were settled.
std::pair<size_t, size_t> serve(UplinkOptions options, size_t fresh_bytes, size_t backlog_bytes, int rounds) {
  World world(options);
  uint64_t next_fresh = 1;
  for (uint64_t seq = 1; seq <= 320; ++seq) world.shelf.put(9, seq, Lane::kBacklog, backlog_bytes);
  world.shelf.put(1, next_fresh++, Lane::kFresh, fresh_bytes);
  world.shelf.boots = {9, 1};
  world.connect();
  size_t read = 0;
  std::pair<size_t, size_t> settled{0, 0};
  for (int round = 0; round < rounds; ++round) {
    while (next_fresh < static_cast<uint64_t>(round) + 40) world.shelf.put(1, next_fresh++, Lane::kFresh, fresh_bytes);
    world.tick();
    EXPECT_LE(world.uplink.in_flight_parcels(), options.window_parcels_max);
    EXPECT_LE(world.uplink.in_flight_bytes(), options.window_bytes_max);
    if (read == world.sent.size()) continue;
    const Sent one = world.sent[read++];
    world.answer(AckOf{.boot = one.boot, .ranges = {{one.number, one.number}}}.write());
    ++(one.boot == 1 ? settled.first : settled.second);
  }
  return settled;
}

TEST(Uplink, FreshGoesFirstAndNeitherLaneStarves) {
  for (const uint32_t window : {2u, 3u, 32u}) {
    for (const auto& [fresh, backlog] :
         std::vector<std::pair<size_t, size_t>>{{100, 100}, {100, 900}, {900, 100}, {5000, 10}, {10, 5000}}) {
      const auto [of_fresh, of_backlog] =
          serve({.window_parcels_max = window, .window_bytes_max = 1000}, fresh, backlog, 300);
      EXPECT_GE(of_fresh, 8u) << window << " " << fresh << " " << backlog;
      EXPECT_GE(of_backlog, 8u) << window << " " << fresh << " " << backlog;
    }
  }
}

TEST(Uplink, ALostBacklogLeavesRoomForWhatIsFresh) {
  World world({.window_parcels_max = 8});
  world.shelf.boots = {9, 1};
  for (uint64_t seq = 1; seq <= 100; ++seq) world.shelf.put(9, seq, Lane::kBacklog);
  world.connect();
  for (uint64_t seq = 1; seq <= 20; ++seq) world.answer(AckOf{.boot = 9, .contiguous = seq}.write());
  EXPECT_EQ(world.uplink.in_flight_parcels(), 6u) << "a quarter of the window is kept, however quick the answers";
  world.shelf.put(1, 1);
  world.tick();
  EXPECT_EQ(world.seqs_sent(1), Seqs{1});
}

TEST(Uplink, ServesMoreBootsThanItHasPlacesFor) {
  for (const bool present_first : {true, false}) {
    World world;
    world.shelf.present_first = present_first;
    world.shelf.boots.clear();
    for (uint64_t boot = 1; boot <= 30; ++boot) {
      for (uint64_t seq = 1; seq <= 3; ++seq) world.shelf.put(boot, seq, boot == 30 ? Lane::kFresh : Lane::kBacklog);
    }
    world.uplink.connected(world.now);
    world.tick();
    EXPECT_EQ(world.hellos(), kUplinkBootsMax);
    std::map<uint64_t, uint64_t> stored;
    bool fresh_done = false;
    for (int round = 0; round < 3000 && !world.shelf.parcels.empty(); ++round) {
      const std::vector<Sent> sent = std::move(world.sent);
      world.sent.clear();
      for (const Sent& one : sent) {
        if (one.kind == 'P') stored[one.boot] = std::max(stored[one.boot], one.number);
        world.answer(
            AckOf{.boot = one.boot, .contiguous = stored[one.boot], .nonce = one.kind == 'H' ? one.number : 0}.write());
      }
      if (!fresh_done && !world.shelf.has(30, 3)) {
        fresh_done = true;
        EXPECT_GT(world.shelf.parcels.size(), 40u) << "fresh parcels do not wait for all the old boots";
      }
      world.pass(1);
    }
    EXPECT_TRUE(world.shelf.parcels.empty());
    EXPECT_TRUE(fresh_done);
  }
}

TEST(Uplink, PassesOverWhatCannotBeRead) {
  World world;
  for (uint64_t seq = 1; seq <= 3; ++seq) world.shelf.put(1, seq);
  world.shelf.parcels[1].readable = false;
  world.connect();
  EXPECT_EQ(world.seqs_sent(), (Seqs{1, 3}));
  world.shelf.parcels[1].readable = true;
  world.answer(AckOf{.boot = 1, .ranges = {{3, 3}, {1, 1}}}.write());
  world.pass(60'000);
  EXPECT_EQ(world.seqs_sent(), (Seqs{1, 3, 2})) << "it comes up again";
}

TEST(Uplink, AShelfThatGivesOneParcelAgainAndAgainDoesNotHoldItForEver) {
  World world;
  world.shelf.put(1, 0);  // no number: what is asked for next begins at the start
  world.shelf.put(1, 1);
  world.shelf.parcels[0].readable = false;
  world.connect();
  EXPECT_LT(world.shelf.calls, 100u);
  EXPECT_GT(world.wake, world.now);
}

TEST(Uplink, AParcelNumberedLikeAnAckedOneIsFreedToo) {
  // A restored copy makes a parcel whose number the gateway has seen: no endless sending.
  World world;
  world.shelf.put(1, 1);
  world.uplink.connected(world.now);
  world.tick();
  world.answer(AckOf{.boot = 1, .contiguous = 80, .nonce = world.nonce()}.write());
  world.shelf.put(1, 2);
  world.tick();
  EXPECT_EQ(world.seqs_sent(), Seqs{2});
  world.answer(AckOf{.boot = 1, .contiguous = 80}.write());
  EXPECT_TRUE(world.shelf.parcels.empty());
}

TEST(Uplink, TimeThatGoesBackNeverWedgesIt) {
  World world({.answer_timeout_ms = 1000});
  world.now = 1'000'000'000;
  world.shelf.put(1, 1);
  world.connect();
  world.sent.clear();
  world.now -= 500'000'000;
  world.tick();
  EXPECT_GT(world.wake, world.now);
  EXPECT_LE(world.wake, world.now + 1000);
  world.pass(1000);
  EXPECT_EQ(world.hellos(), 1u);
  for (const int64_t now : {INT64_MIN, INT64_MAX, int64_t{0}, INT64_MAX, INT64_MIN}) {
    EXPECT_GE(world.uplink.tick(now), now);
  }
}

TEST(Uplink, ADisconnectForgetsWhatWasInFlightAndTheNextHelloTells) {
  World world;
  for (uint64_t seq = 1; seq <= 3; ++seq) world.shelf.put(1, seq);
  world.connect();
  world.uplink.disconnected(world.now);
  EXPECT_EQ(world.uplink.in_flight_parcels(), 0u);
  EXPECT_EQ(world.uplink.in_flight_bytes(), 0u);
  world.sent.clear();
  world.pass(100'000);
  EXPECT_TRUE(world.sent.empty());
  world.uplink.connected(world.now);
  world.tick();
  world.answer(AckOf{.boot = 1, .contiguous = 2, .nonce = world.nonce()}.write());
  EXPECT_EQ(world.seqs_sent(), Seqs{3});
}

TEST(Uplink, TellsTheCodecsThatAllGatewaysTakeWhichAnsweredLately) {
  World world;
  const auto ack = [&](const char* gateway, uint32_t codecs) {
    AckOf answer{.boot = 1, .gateway = gateway, .codecs = codecs};
    world.down(answer.write());
    return world.shelf.codecs;
  };
  world.connect();
  EXPECT_EQ(ack("fog-1", 0xB6), 0xB6u);
  EXPECT_EQ(ack("fog-2", 0x36), 0x36u) << "what both take";
  EXPECT_EQ(ack("fog-1", 0xB6), 0x36u);
  EXPECT_EQ(ack("fog-3", 0), kCodecsOfEverybody) << "one that says nothing is an older one";
  world.pass(599'000);
  EXPECT_EQ(ack("fog-1", 0xB6), kCodecsOfEverybody);
  world.pass(2'000);
  EXPECT_EQ(ack("fog-1", 0xB6), 0xB6u) << "the others are silent for long";
}

TEST(Uplink, TellsTheGatewaysTime) {
  World world;
  world.connect();
  world.down(AckOf{.boot = 1, .gateway_ms = 1'700'000'000'000}.write());
  EXPECT_EQ(world.shelf.time_ms, 1'700'000'000'000);
}

TEST(Uplink, WithNothingToDoItSleepsAndAsksTheShelfAlmostNothing) {
  World world;
  world.connect();
  world.tick();
  EXPECT_GE(world.wake, world.now + 10'000);
  world.sent.clear();
  const uint64_t calls = world.shelf.calls;
  for (int i = 0; i < 1'000'000; ++i) world.tick();
  EXPECT_LE(world.shelf.calls - calls, 2'000'000u) << "one question for each lane";
  EXPECT_TRUE(world.sent.empty());
}

}  // namespace
}  // namespace lambda::test
