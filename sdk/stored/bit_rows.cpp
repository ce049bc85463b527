// Each width has its own code, in which every shift is a constant: some 1 KB for each kind of processor.
#include "bit_rows.h"

namespace lambda::packed {
namespace {

template <unsigned kWidth>
void unpack_anywhere(const uint8_t* in, uint64_t more, uint64_t* out) {
  unpack_rows<kWidth>(in, more, out);
}

struct ByWidth {
  UnpackRows rows[kUnpackWidthMax + 1];
};

template <unsigned... kWidth>
constexpr ByWidth anywhere(std::integer_sequence<unsigned, kWidth...>) {
  return {{unpack_anywhere<kWidth>...}};
}
using Widths = std::make_integer_sequence<unsigned, kUnpackWidthMax + 1>;
constexpr ByWidth kAnywhere = anywhere(Widths());

#ifdef LAMBDA_AVX2
template <unsigned kWidth>
LAMBDA_AVX2 void unpack_avx2(const uint8_t* in, uint64_t more, uint64_t* out) {
  unpack_rows<kWidth>(in, more, out);
}

template <unsigned... kWidth>
constexpr ByWidth avx2(std::integer_sequence<unsigned, kWidth...>) {
  return {{unpack_avx2<kWidth>...}};
}
constexpr ByWidth kAvx2 = avx2(Widths());
#endif

}  // namespace

const UnpackRows* unpack_rows_here() {
#ifdef LAMBDA_AVX2
  if (has_avx2()) return kAvx2.rows;
#endif
  return kAnywhere.rows;
}

}  // namespace lambda::packed
