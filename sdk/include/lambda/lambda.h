/* Lambda Edge for firmware, in C. A device declares series and appends numbers; the rest happens in lam_poll(): blocks
 * are sealed, packed into signed parcels of at most `parcel_bytes_max`, sent, sent again byte for byte until a gateway
 * has stored them, and the last minutes stay readable here. What memory could not hold is named to the gateway as a
 * gap.
 *
 * Everything lives in the one piece of memory given to lam_init(): no heap, no operating system, no globals, so several
 * devices may live side by side (a simulator does that). Not thread-safe and not for interrupts: sample into a ring of
 * your own there. None of the port's functions may call back into the device.
 *
 * After a reset a device is a new boot, with a new random number; what it had not sent is lost with the RAM, unless
 * lambda/flash.h keeps it, and what it sends again cannot count twice. The messages: proto/parcel.md.
 *
 *   lam_device* device;
 *   if (lam_init(memory, sizeof memory, &config, &port, &device) != LAM_OK) ...
 *   lam_declare(device, &kTemperature, &temperature);
 *   on connect:    subscribe to down and interest/all, then lam_connected(device)
 *   on a message:  lam_incoming(device, LAM_DOWN, bytes, size)
 *   each second:   lam_append_dec(device, temperature, 2153);      21.53 degrees with a scale of 2
 *   in the loop:   sleep_ms(lam_poll(device));
 *
 * On a new connection hellos go first, again and again; parcels follow once a gateway has answered one.
 */
#ifndef LAMBDA_LAMBDA_H
#define LAMBDA_LAMBDA_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#include "lambda/hash.h"
typedef lambda::HashState lam_hash_state;
namespace lambda {
struct BlockCoding;
struct DevicePressure;
struct Reorder;
}  // namespace lambda
typedef lambda::BlockCoding lam_codec;
typedef lambda::DevicePressure lam_pressure;
typedef lambda::Reorder lam_reorder;
extern "C" {
#else
typedef struct lam_hash_state {
  _Alignas(8) uint8_t opaque[256];
} lam_hash_state;
typedef struct lam_codec lam_codec;
typedef struct lam_pressure lam_pressure;
typedef struct lam_reorder lam_reorder;
#endif

typedef int32_t lam_status;
#define LAM_OK 0
#define LAM_E_INVALID (-1) /* an argument is wrong: nothing was done */
#define LAM_E_MEMORY (-2)  /* the memory given is too small, or too little of it is left: nothing was done */
#define LAM_E_FULL (-3)    /* series_max is reached */
#define LAM_E_NO_DATA (-4) /* no point lies there */
#define LAM_E_TYPE (-5)    /* the series has another type */

/* Where a message belongs. */
typedef enum lam_topic {
  LAM_UP = 0,      /* published: lambda/v1/<site>/<device>/up, QoS 1, not retained */
  LAM_DOWN = 1,    /* received:  lambda/v1/<site>/<device>/down */
  LAM_INTEREST = 2 /* received:  lambda/v1/<site>/interest/all */
} lam_topic;

/* What the device's firmware gives. All functions are needed but utc_ms and gateway_ms, which may be null. */
typedef struct lam_port {
  void* context;
  int64_t (*mono_ms)(void* context);              /* milliseconds since some start; never goes back */
  bool (*utc_ms)(void* context, int64_t* utc_ms); /* false: not known (yet) */
  uint64_t (*random)(void* context);              /* 64 bits nobody can foretell: boots and nonces are made of it */
  void (*sha256_start)(lam_hash_state* state);
  void (*sha256_update)(lam_hash_state* state, const uint8_t* bytes, size_t size);
  void (*sha256_finish)(lam_hash_state* state, uint8_t digest[32]);
  /* secp256k1, r || s, low s, deterministic. False: not now; it is tried again. */
  bool (*sign)(void* context, const uint8_t digest[32], uint8_t signature[64]);
  /* Hands a message to the transport. False: not now; it is tried again. `bytes` are valid inside the call only. */
  bool (*publish)(void* context, lam_topic topic, const uint8_t* bytes, size_t size);
  /* A gateway's clock when it answered, at every answer that tells it. May be null. Firmware without a clock may take
   * it from here and give it back by utc_ms(); the SDK by itself only places with it what it measured without one. */
  void (*gateway_ms)(void* context, int64_t utc_ms);
} lam_port;

/* How blocks may be written, beside what every device has: 64-bit floats by XOR and integers by difference. An image
 * holds those that are named in its configuration and no others. A device uses one as soon as the gateways have said
 * that they take it. Their cost is in sdk/SIZES.md, their form in proto/block.md. */
extern const lam_codec lam_codec_xor32;   /* LAM_F32, which needs it: its points wait until a gateway takes them */
extern const lam_codec lam_codec_slope64; /* integers of a LAM_COUNTER: a steady rate costs a bit a point */
extern const lam_codec lam_codec_runs64;  /* LAM_STATE64, integers of a LAM_STATE: cost per change, not per point */

/* What happens when memory is full of points that no gateway has taken. Null: the oldest of them go, and are named as
 * gaps. LAM_THIN: before anything goes, the oldest blocks of gauges that were in no parcel yet become half as many
 * points, the least, the greatest and the mean of each six; so what is held lasts about twice as long. Counters and
 * states go as without it. Only gateways that know of thinned points get them: others get all the rest, and those wait.
 * What lam_range() gives of such points has other ordinals than before. It takes block_bytes_max and about 100 bytes
 * more of memory, and is linked only when named. More: lambda/thinning.h. */
extern const lam_pressure lam_pressure_thin;
#define LAM_THIN (&lam_pressure_thin)

/* What happens with a point whose time is before the newest one's of its series. Null: it goes behind it. LAM_REORDER:
 * when it is late by one place only, it goes before the newest, and has its ordinal; that one has the next. So points
 * that are handed in shuffled by one place are stored and sent as if they had come in order. What lam_range(), a
 * gateway's question or a snapshot has read keeps its place. It takes 16 bytes of memory a series, and is linked only
 * when named. More: lambda/reorder.h. */
extern const lam_reorder lam_reorder_by_one;
#define LAM_REORDER (&lam_reorder_by_one)

/* Zero means the default. Times are at most 2^31 where nothing else is said. Texts and the list of codecs are not
 * copied: they must outlive the device. */
typedef struct lam_config {
  const char* site;           /* [a-z0-9-]{1,64} */
  const char* device;         /* [a-z0-9-]{1,64} */
  const char* software;       /* at most 64 bytes; may be null */
  uint32_t series_max;        /* needed, 1..4096 */
  uint32_t parcels_max;       /* parcels held until they are acked: 2..32, default 4. One is kept for declarations */
  uint32_t parcel_bytes_max;  /* 2048..65536, default 2048 */
  uint32_t block_bytes_max;   /* 256..parcel_bytes_max / 2, default 512 */
  uint32_t page_bytes;        /* memory for points is cut into pages: 128..4096, a multiple of 8, default 128 */
  uint32_t seal_age_ms;       /* a block is sent at the latest so long after it began: default 60000, at most 600000 */
  uint32_t parcel_age_ms;     /* and waits so long for others to fill a parcel: default 2000 */
  uint32_t retention_ms;      /* what was sent stays readable so long while memory lasts: default 600000 */
  uint32_t answer_timeout_ms; /* at most 2^30, default 5000 */
  const lam_codec* const* codecs; /* of those above; may be null when codec_count is 0 */
  uint32_t codec_count;           /* at most 8 */
  const lam_pressure* pressure;   /* null or LAM_THIN */
  const lam_reorder* reorder;     /* null or LAM_REORDER */
} lam_config;

typedef enum lam_kind { LAM_GAUGE = 1, LAM_COUNTER = 2, LAM_STATE = 3 } lam_kind;
typedef enum lam_type { LAM_F64 = 1, LAM_F32 = 2, LAM_I64 = 3, LAM_DEC = 4, LAM_STATE64 = 5 } lam_type;

typedef struct lam_label {
  const char* name;
  const char* value;
} lam_label;

#define LAM_LABELS_MAX 8

/* Kept by pointer: must outlive the device; usually const in flash. */
typedef struct lam_series_spec {
  const char* name;        /* a Prometheus metric name */
  const lam_label* labels; /* sorted by name, without `instance` and `site`; may be null when label_count is 0 */
  size_t label_count;      /* at most LAM_LABELS_MAX */
  lam_kind kind;
  lam_type type;
  uint8_t scale;    /* LAM_DEC: the value is n x 10^-scale, 0..18 */
  const char* unit; /* may be null */
} lam_series_spec;

typedef uint32_t lam_series; /* 1, 2, 3 ...; 0 is none */

typedef struct lam_point {
  int64_t time_ms; /* UTC, or since the boot as long as the device knows no better */
  uint64_t ordinal;
  double value;
} lam_point;

typedef struct lam_summary {
  uint64_t count;
  double min, max, sum, mean; /* of points that are numbers (NaN left out); NaN when there are none */
  lam_point first, last;
} lam_summary;

/* made = settled + refused + dropped + waiting, at any moment between calls. */
typedef struct lam_counters {
  uint64_t points_made;     /* taken by append */
  uint64_t points_settled;  /* a gateway has them */
  uint64_t points_refused;  /* a gateway refused them for good; named as gaps */
  uint64_t points_dropped;  /* no memory to keep them until they were sent; named as gaps */
  uint64_t points_waiting;  /* here, not settled yet */
  uint64_t points_rejected; /* append said LAM_E_MEMORY: never taken */
  uint64_t parcels_made, parcels_sent, parcels_resent, hellos_sent, acks, nacks, timeouts, answers_malformed,
      answers_foreign;
  uint64_t sign_failures, publish_failures;
  uint64_t points_thinned; /* among the dropped: half of what was thinned, named with the half that is left */
} lam_counters;

typedef struct lam_device lam_device;

/* The least memory lam_init() takes for this configuration. Points get what is above that minimum: ten minutes at 1 Hz
 * in blocks of a minute take 1.3 KB for a counter or a state, 2.5 KB for a decimal or a float. 0: the configuration is
 * not valid. */
size_t lam_memory_min(const lam_config* config);

/* Makes a device in `memory` (aligned to 8), which it uses up whole and which must outlive it, as must the texts of
 * `config`; the structures themselves are copied. A device needs no end: forget it and its memory. */
lam_status lam_init(void* memory, size_t size, const lam_config* config, const lam_port* port, lam_device** device);

uint64_t lam_boot(const lam_device* device);
int64_t lam_now_ms(lam_device* device); /* the time a point appended now would carry */

/* LAM_E_INVALID also for a LAM_F32 without lam_codec_xor32 in the configuration. */
lam_status lam_declare(lam_device* device, const lam_series_spec* spec, lam_series* series);

/* One point, now. LAM_E_MEMORY: everything is full of what no gateway has taken and not even a gap could be noted. */
lam_status lam_append_f64(lam_device* device, lam_series series, double value);
lam_status lam_append_f32(lam_device* device, lam_series series, float value);
lam_status lam_append_i64(lam_device* device, lam_series series, int64_t value);
lam_status lam_append_dec(lam_device* device, lam_series series, int64_t n);
lam_status lam_append_state(lam_device* device, lam_series series, int64_t state);
/* The same at a time of the caller's, on the clock of lam_now_ms(). `bits` are the value's 64 bits as the type has
 * them (f32: the lower 32). */
lam_status lam_append_at(lam_device* device, lam_series series, int64_t time_ms, uint64_t bits);

/* Does all work that is due; returns after how many milliseconds (at least 1) it wants to be called again. Call it too
 * after lam_connected() and lam_incoming(). */
uint32_t lam_poll(lam_device* device);
/* Seals all that is open, so that the next lam_poll() sends it. */
void lam_flush(lam_device* device);

void lam_connected(lam_device* device);
void lam_disconnected(lam_device* device);
void lam_incoming(lam_device* device, lam_topic topic, const uint8_t* bytes, size_t size);

/* Reading what is here, in this device's memory: open, waiting and sent points of all boots of this run. */
lam_status lam_last(const lam_device* device, lam_series series, lam_point* point);
/* Points with from_ms <= time <= to_ms in the order they were appended, at most `points_max`; `count` tells how many.
 * When there are more, LAM_E_FULL, and the first `points_max` of them are there. */
lam_status lam_range(const lam_device* device, lam_series series, int64_t from_ms, int64_t to_ms, lam_point* points,
                     size_t points_max, size_t* count);
lam_status lam_summarise(const lam_device* device, lam_series series, int64_t from_ms, int64_t to_ms,
                         lam_summary* summary);

void lam_get_counters(const lam_device* device, lam_counters* counters);

/* A gateway's questions about what is here (proto/question.md): answered by lam_poll() from now on, a block a turn, out
 * of the blocks as they lie. Firmware that does not call this links none of it. `memory` (aligned to 8) holds the
 * question and one piece of an answer and must outlive the device; LAM_E_MEMORY: it is less than
 * lam_questions_memory(). */
size_t lam_questions_memory(const lam_config* config); /* 0: the configuration is not valid */
lam_status lam_answer_questions(lam_device* device, void* memory, size_t size);

typedef struct lam_question_counters {
  uint32_t asked, answered, pieces;
  uint32_t refused; /* another one was being answered, or it was unknown, too long, or memory was damaged */
  uint32_t malformed;
  uint32_t expired; /* given up: nobody waits for the answer any more */
} lam_question_counters;
void lam_get_question_counters(const lam_device* device, lam_question_counters* counters);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif /* LAMBDA_LAMBDA_H */
