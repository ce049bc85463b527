// Answers a gateway's questions about what is in memory, straight out of the blocks, the open ones too: their points in
// a range, the newest one, or count, extremes and sum. The conversation and its numbers: proto/question.md.
//
// Invariants
// - One question at a time; a further one is refused by name in the next turn, the last of several.
// - A turn (tick()) decodes at most one block and sends at most one piece, so a long answer holds nothing up.
// - Nothing is remembered of blocks but where in its order a series stands: blocks may be sealed, evicted and dropped
//   between two turns, and a boot may change.
// - A piece that the transport did not take is offered again, the same bytes, until the question's time is up.
//
// No heap; not thread-safe; times are monotonic milliseconds but where they say UTC.
#pragma once

#include <stddef.h>
#include <stdint.h>

#include <span>

#include "lambda/parcel.h"
#include "lambda/series_store.h"

namespace lambda {

inline constexpr size_t kQuestionBytesMax = 512;
inline constexpr size_t kAnswerBytesMax = 64 * 1024;  // of one piece
inline constexpr size_t kAnswerHeadBytesMax = 128;    // of a piece, beside its largest item
inline constexpr uint32_t kQuestionWaitMs = 10'000;   // of a question that does not say
inline constexpr uint32_t kQuestionWaitMsMax = 60'000;

enum class Asked : uint8_t { kOther = 0, kRange = 1, kLast = 2, kSummary = 3 };
enum class AnswerError : uint8_t { kAnswered = 0, kBusy = 1, kNotKnown = 2, kTooLong = 3, kDamaged = 4 };

// Whose series these are: what the desk asks of a device or an agent.
class QuestionSource {
 public:
  virtual const SeriesStore& store() const = 0;
  // False: nothing is said of this series. Views are good until the next call.
  virtual bool declaration(uint32_t ref, DeclarationView* declaration) = 0;
  // False: not known (any more); points of such a segment are left out.
  virtual bool clock(uint64_t boot, uint32_t segment, ClockView* clock) const = 0;

 protected:
  ~QuestionSource() = default;
};

struct QuestionPort {
  void* context;
  // Publishes to this device's `up` topic. False: not now; it is tried again.
  bool (*publish_up)(void* context, std::span<const uint8_t> message);
};

struct QuestionCounters {
  uint32_t asked, answered, pieces;
  uint32_t refused;    // answered with an error
  uint32_t malformed;  // no question of ours, though it said so
  uint32_t expired;    // given up: wait_ms passed, or the session ended
};

class QuestionDesk {
 public:
  // Room for a piece that can hold any one block or declaration.
  static constexpr size_t piece_bytes(size_t block_bytes_max, size_t declaration_bytes_max) {
    return kAnswerHeadBytesMax + (block_bytes_max > declaration_bytes_max ? block_bytes_max : declaration_bytes_max);
  }

  // `source`, `port.context` and `space` must outlive it; `space` is at least piece_bytes() long.
  QuestionDesk(QuestionSource& source, QuestionPort port, std::span<uint8_t> space);
  QuestionDesk(const QuestionDesk&) = delete;
  QuestionDesk& operator=(const QuestionDesk&) = delete;

  // A message on `down`. True: it is a question, and taken care of. Hostile bytes are counted and dropped.
  bool incoming(std::span<const uint8_t> message, int64_t now_ms);
  // One turn of work. Returns when it wants the next one; INT64_MAX: nobody asks.
  int64_t tick(int64_t now_ms);
  // The session ended: nobody hears the rest.
  void disconnected();
  const QuestionCounters& counters() const { return counters_; }

 private:
  // A block that has points in the range.
  struct Found {
    BlockInfo info;
    BlockId id;  // of a sealed one
    uint32_t bytes = 0;
    bool open = false;
    int64_t offset_ms = 0;
    ClockView clock;
  };
  // The points seen so far of a series, folded.
  struct Fold {
    uint64_t count;
    int64_t first_ms, last_ms;
    double first, last, min, max, sum, rest;
    uint64_t halves_low;  // of integers: exact sums of their halves of 32 bits
    int64_t halves_high;
    bool failed;
    Point newest;  // LAST: by the block's own time
    uint64_t newest_ordinal;
    bool has_newest;
  };
  struct Visit;  // what the visitors need

  bool work();
  bool matches(const DeclarationView& declaration) const;
  bool next_series();
  bool next_block(Found* found);
  bool in_range(const BlockInfo& info, Found* found);
  void find_floor();
  void fold(const Found& found);
  void fold_point(const Found& found, uint64_t ordinal, Point point);
  bool end_series();
  void finish_sum();
  void end(AnswerError error);
  bool send_refusal();
  void forget();

  void begin_piece();
  size_t room() const;
  bool put_declaration(const DeclarationView& declaration);
  bool open_boot(uint64_t boot, const Found& found, size_t bytes);
  bool put_block(const Found& found);
  bool put_newest();
  bool put_summary();
  bool put_unsummed();
  std::span<const uint8_t> close_piece();

  QuestionSource& source_;
  const QuestionPort port_;
  const std::span<uint8_t> space_;
  size_t size_ = 0;  // of the piece, its head's room included

  uint8_t question_[kQuestionBytesMax];  // the Question's own bytes; its texts are read again for each series
  size_t question_bytes_ = 0;
  uint64_t id_ = 0;  // 0: nobody asks
  Asked what_ = Asked::kOther;
  int64_t from_ms_ = 0;
  int64_t to_ms_ = 0;
  int64_t give_up_ms_ = 0;

  uint32_t ref_ = 0;       // the series being answered
  bool declared_ = false;  // its declaration is in this or an earlier piece
  bool started_ = false;   // at_ means something
  bool past_open_ = false;
  uint64_t thinned_ = 0;  // what the store had thinned when the series was begun
  BlockId at_;            // the last block that was done
  int64_t floor_ms_ = 0;  // LAST: blocks that end before cannot have the newest point
  Found last_found_;      // LAST: the block of the newest point so far
  Fold fold_ = {};
  uint64_t power_ = 1;  // of the series' scale

  uint64_t refused_id_ = 0;  // of a question that is not answered, until that was said; a later one takes its place
  AnswerError refused_error_ = AnswerError::kBusy;

  uint32_t piece_ = 0;
  bool blank_ = true;        // nothing is in the piece
  uint64_t piece_boot_ = 0;  // 0: nothing of any boot yet
  bool piece_has_clock_ = false;
  uint32_t piece_clock_ = 0;  // segment of the clock that was written last
  bool timeless_ = false;
  bool done_ = false;   // the piece is the last one
  bool ready_ = false;  // the piece waits for the transport
  std::span<const uint8_t> message_;
  AnswerError error_ = AnswerError::kAnswered;
  QuestionCounters counters_ = {};
};

}  // namespace lambda
