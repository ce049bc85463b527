// Who stays and who goes when a server is full: its connections, in the order in which they began to wait for their
// client. A client that takes its time (sends nothing, sends slowly, does not read its answer) keeps its place while
// there is room for others, and loses it when there is none; good clients are quick and so never the oldest.
//
// Invariants
// - A member is gone for the counts at the moment of leave(), though its object may live on for a few callbacks more.
// - One whose request is being answered by the program is in no line: it cannot be made to leave, nor can its bytes.
// - Strangers, whom no request was answered well yet (with a token: who do not know it), leave before all others.
//
// Bounds: `connections_max` members; `held_bytes_max` bytes of requests and answers, of all members together. Only one
// answer that is larger by itself may pass it. The server's thread only; counters may be read from any.
#pragma once

#include <atomic>
#include <cstdint>
#include <list>

namespace lambda {

class HttpCrowd {
 public:
  class Member {
   public:
    virtual ~Member() = default;
    virtual void leave() = 0;  // closes the connection; what it waits for ends with an error, later

   private:
    friend class HttpCrowd;
    std::list<Member*>::iterator at_;  // in its line
    uint64_t bytes_ = 0;
    bool here_ = false, waiting_ = false, served_ = false;
  };

  HttpCrowd(uint32_t connections_max, uint64_t held_bytes_max)
      : connections_max_(connections_max), held_bytes_max_(held_bytes_max) {}
  HttpCrowd(const HttpCrowd&) = delete;
  HttpCrowd& operator=(const HttpCrowd&) = delete;

  // Whether one more may come: there is room, or somebody who waited left.
  bool make_room();
  // Somebody who waited leaves, if anybody does.
  void drop_one() { drop_oldest(false, nullptr); }
  void enter(Member& member);
  // Each member, before its end.
  void end(Member& member);

  // From now on it waits for its client, last in its line; or the program works for it. Of those who left: nothing.
  void waits(Member& member);
  void works(Member& member);
  // A request of it was answered well.
  void served(Member& member);
  // It holds `bytes` from now on. False: over `held_bytes_max`, and nobody else who waits holds anything.
  bool holds(Member& member, uint64_t bytes);

  uint32_t connections() const { return connections_; }
  uint64_t held_bytes() const { return held_bytes_; }
  uint64_t dropped() const { return dropped_; }  // left to make room

 private:
  using Line = std::list<Member*>;

  bool drop_oldest(bool with_bytes, const Member* but);

  const uint32_t connections_max_;
  const uint64_t held_bytes_max_;
  Line strangers_, known_;  // who wait, the oldest first
  std::atomic<uint32_t> connections_{0};
  std::atomic<uint64_t> held_bytes_{0}, dropped_{0};
};

}  // namespace lambda
