/* What a device keeps over a reset, in flash: the last minutes of its series, what no gateway has taken yet, and what
 * is needed to go on sending that. An image that calls none of this links none of it.
 *
 *   lam_init(..); lam_declare(..) for every series, in the same order as ever;
 *   lam_flash_start(flash_memory, sizeof flash_memory, device, &port, &config, &flash, &found);
 *   in the loop, in place of lam_poll(device):   sleep_ms(lam_flash_poll(flash));
 *   when power is about to fail, or before a restart on purpose:   lam_flash_save(flash);
 *
 * The flash given is cut into banks. A save writes the next bank, which was erased ahead, and its header last; only
 * then is the bank before it given up. So after a loss of power at any moment there is either the old snapshot or the
 * new one, whole; what is torn is refused by its checksum and counted. Bytes: proto/snapshot.md; why:
 * docs/decisions/0015.
 *
 * After a restore a device has begun a new boot, as after any reset. The points that came back belong to the boots they
 * were made in: they can be read, and what no gateway has acknowledged is sent, under the ordinals they always had.
 * What went into parcels after the last save and is gone is named to the gateways as a gap. No ordinal is given out
 * twice.
 *
 * Wear: with B banks every page is erased once in B saves. Saving once an hour to two banks is 12 erases a day for each
 * page, so 10,000 erases last two years; ten minutes and four banks are 36 a day.
 *
 * Threads and calls: as in lambda.h. A save blocks for as long as the flash takes to write it. */
#ifndef LAMBDA_FLASH_H
#define LAMBDA_FLASH_H

#include "lambda/lambda.h"

#ifdef __cplusplus
extern "C" {
#endif

/* NOR flash: erase() makes a page all ones, write() turns ones into zeros. Every write is a multiple of `write_bytes`
 * at a multiple of it, inside one page or over several, and no place is written twice between two erases. Addresses are
 * bytes from the start of the region. All return false when the hardware says that it did not work; what was written is
 * read back and compared in any case. */
typedef struct lam_flash_port {
  void* context;
  uint32_t page_bytes; /* what one erase takes: 64..131072, a power of two */
  uint32_t pages;
  uint32_t write_bytes; /* 1, 2, 4, 8, 16 or 32 */
  bool (*erase)(void* context, uint32_t page);
  bool (*write)(void* context, uint32_t address, const uint8_t* bytes, size_t size);
  bool (*read)(void* context, uint32_t address, uint8_t* bytes, size_t size);
} lam_flash_port;

#define LAM_FLASH_BANKS_MAX 16

typedef struct lam_flash_config {
  uint32_t banks;        /* 2..LAM_FLASH_BANKS_MAX, 0: 2. Each of pages / banks pages */
  uint32_t save_every_s; /* 0: 3600. UINT32_MAX: only lam_flash_save() and what must be saved (see lam_flash_poll) */
} lam_flash_config;

/* What lam_flash_start() found. In every case the device goes on; only after RESTORED with something of before. */
typedef enum lam_flash_found {
  LAM_FLASH_RESTORED = 0,
  LAM_FLASH_EMPTY = 1,         /* there is no snapshot */
  LAM_FLASH_DAMAGED = 2,       /* the newest one is not what was written; an older one would be false */
  LAM_FLASH_OTHER_VERSION = 3, /* of a format that this program does not know */
  LAM_FLASH_OTHER_DEVICE = 4,  /* of another device, or of this one at another site */
  LAM_FLASH_OTHER_SERIES = 5,  /* a ref stands for another series now. New ones go behind those of before */
  LAM_FLASH_OTHER_LIMITS = 6,  /* parcels or blocks are longer, or more, than the device's configuration allows now */
  LAM_FLASH_WORN = 7           /* it cannot be read, or that it is used once more not be written down: not safe */
} lam_flash_found;

typedef struct lam_flash_report {
  lam_flash_found found;
  uint32_t banks_torn;      /* whose writing was cut short by a loss of power; not used */
  uint32_t generation;      /* of the snapshot: they count 1, 2, 3 .. */
  uint64_t points_readable; /* brought back, settled ones too */
  uint64_t points_waiting;  /* of these: to be sent */
  uint64_t points_named;    /* by gaps: went into parcels after the snapshot. What a gateway has of them, it keeps */
  uint32_t boots_given_up;  /* memory knows four boots: more came back than there was room for */
  uint64_t points_given_up; /* of these, not settled */
} lam_flash_report;

typedef struct lam_flash_counters {
  uint64_t saves, saves_failed, saves_too_large, notes, notes_failed, erases, bytes_written;
  uint64_t blocks_left_out; /* settled ones, the oldest, that the bank had no room for */
  uint64_t gaps_forgotten;  /* for want of places: 2 x series_max are kept until they are named */
  uint32_t banks_worn;      /* failed since the start; not tried again before the next */
} lam_flash_counters;

typedef struct lam_flash lam_flash;

/* The memory that lam_flash_start() takes. 0: the port or the configuration is not valid. */
size_t lam_flash_memory(const lam_config* device, const lam_flash_port* port, const lam_flash_config* config);

/* Looks what is there and brings it back. To be called once, after every lam_declare() and before the first point, poll
 * and message. `config` and `report` may be null. The memory (aligned to 8) must outlive the device; the port's
 * structure is copied. LAM_E_INVALID, LAM_E_MEMORY: nothing was done. */
lam_status lam_flash_start(void* memory, size_t size, lam_device* device, const lam_flash_port* port,
                           const lam_flash_config* config, lam_flash** flash, lam_flash_report* report);

/* lam_poll(), and the flash's work: saves when it is due, notes what goes into parcels before it goes, erases ahead (at
 * most one page a call). It saves out of turn when the bank has no room for more notes, and when a boot began. */
uint32_t lam_flash_poll(lam_flash* flash);

/* A snapshot now: about as long as the flash takes to write it, as the bank was erased before. LAM_E_MEMORY: it does
 * not fit a bank, the old one stays. LAM_E_NO_DATA: no bank could be written; the old one stays. */
lam_status lam_flash_save(lam_flash* flash);

void lam_flash_get_counters(const lam_flash* flash, lam_flash_counters* counters);

/* "restored", "empty", "damaged", "other_version" ..: for a log. */
const char* lam_flash_found_name(lam_flash_found found);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* LAMBDA_FLASH_H */
