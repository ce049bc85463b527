// The series of one boot: names and labels, and how far each has come. Compact, because there are ten thousand: about
// 40 bytes and the text of each; tables with the same series share the text. Refs count from 1, as in the SDK's series
// store. A series that has ended leaves with the boot, see next_boot(). Not thread-safe.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "agent/source/source.h"
#include "base/result.h"
#include "lambda/parcel.h"

namespace lambda::v1 {
class Declaration;
}

namespace lambda::agent {

inline constexpr uint32_t kSeriesMaxDefault = 10'000;

struct Series {
  uint64_t next_ordinal = 0;  // points made in this boot
  uint64_t covered = 0;       // ordinals below are in parcels of the spool, or in gaps
  uint32_t text_offset = 0;
  uint32_t key_bytes = 0;
  uint32_t text_bytes = 0;  // 0: no series of this ref is known
  Kind kind = Kind::kGauge;
  ValueType type = ValueType::kF64;
  uint8_t scale = 0;
  bool declared = false;  // in a parcel of the spool
};

class SeriesTable {
 public:
  explicit SeriesTable(uint32_t series_max = kSeriesMaxDefault) : series_max_(series_max) {}

  // The ref of the series with this name and these labels, in whatever order. New ones are added: kFull at
  // `series_max` or if they may not be, kInvalid if a name, label, type or scale is not allowed, or differs in type
  // from the first time, kDenied if it was added for another owner.
  Result<SeriesRef> find_or_add(const SeriesSpec& spec, bool may_add = true, SeriesOwner owner = kOwnerCollectors);

  // Puts a declaration at its own ref, as read from a file or parcel. kInvalid if it is not allowed or disagrees.
  Status put(const v1::Declaration& declaration);

  uint32_t size() const { return static_cast<uint32_t>(series_.size()); }  // refs are below; not all need be known
  uint32_t known_count() const { return names_->known; }
  bool known(SeriesRef ref) const { return ref < series_.size() && series_[ref].text_bytes > 0; }
  Series& at(SeriesRef ref);
  const Series& at(SeriesRef ref) const;
  // Room for what a file says of a ref whose declaration is elsewhere or lost. kInvalid past the largest ref.
  Status reach(SeriesRef ref);

  // Views into the table, until the next series is added; `labels` is room that the caller keeps.
  DeclarationView declaration(SeriesRef ref, std::vector<LabelView>& labels) const;
  void write(SeriesRef ref, v1::Declaration& out) const;

  // The same series at the same refs, nothing made yet: for the next boot of this process. Those that `gone` says, by
  // ref, are left out, and later series take their refs: within a boot a ref never changes its series.
  SeriesTable next_boot(const std::vector<bool>& gone = {}) const;
  // Refs below size() that series took since the table was made, in that order.
  const std::vector<SeriesRef>& refs_retaken() const { return retaken_; }
  // Who added it; of series that a file brought nothing is known.
  SeriesOwner owner(SeriesRef ref) const { return ref < owners_.size() ? owners_[ref] : kOwnerCollectors; }
  // Boots of one device mostly have the same series at the same refs: then this one takes over the names of `other`,
  // and what is left of its own is 32 bytes a series. Either may get more series later. False: they differ.
  bool share_names(const SeriesTable& other);

 private:
  struct Names {
    std::string text;               // of each: name, labels (the key), unit; see series_table.cpp
    std::vector<uint32_t> buckets;  // ref + 1, open addressing over the key's hash
    uint32_t known = 0;
  };
  Names& own_names();  // to be changed: no other table has them
  void add_text(Series& series, std::string_view unit);
  SeriesRef add(const SeriesSpec& spec, SeriesOwner owner);
  void leave_out(const std::vector<bool>& gone);
  void index(SeriesRef ref);
  void grow_index();
  std::string_view key(const Series& series) const {
    return std::string_view(names_->text).substr(series.text_offset, series.key_bytes);
  }

  uint32_t series_max_;
  std::vector<Series> series_;
  std::vector<SeriesOwner> owners_;  // by ref, as far as series were added here
  std::vector<SeriesRef> free_;      // refs of no series, the least one last
  std::vector<SeriesRef> retaken_;
  std::shared_ptr<Names> names_ = std::make_shared<Names>();
  std::string scratch_;
};

// Whether a source may make such a series; the text names what is wrong.
Status check_series(std::string_view name, const LabelList& labels, ValueType type, uint8_t scale,
                    std::string_view unit);

}  // namespace lambda::agent
