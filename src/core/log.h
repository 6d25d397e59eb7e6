/* log: one line per event, JSON or text, written by a thread of its own.
 *
 *   log_event(LOG_INFO, "server.listening", LOG_STR("address", address), LOG_I64("workers", n));
 *
 * Any thread.  A thread that called log_thread_init puts its lines into a ring
 * of its own and never waits: a line that does not fit is dropped and counted.
 * Other threads, and all of them before log_init, write straight to the file
 * descriptor.  Event names are constant; what varies is a field.  Secrets and
 * bodies are never fields. */
#ifndef LYSS_CORE_LOG_H
#define LYSS_CORE_LOG_H

#include <stdatomic.h>

#include "core/config.h"
#include "core/err.h"

enum log_type { LOG_TYPE_STR, LOG_TYPE_I64, LOG_TYPE_F64, LOG_TYPE_BOOL };

struct log_field {
    const char *name;
    enum log_type type;
    union {
        struct str s;
        int64_t i;
        double f;
        bool b;
    } value;
};

#define LOG_STR(k, v)  ((struct log_field){(k), LOG_TYPE_STR, {.s = (v)}})
#define LOG_CSTR(k, v) ((struct log_field){(k), LOG_TYPE_STR, {.s = str_c(v)}})
#define LOG_I64(k, v)  ((struct log_field){(k), LOG_TYPE_I64, {.i = (int64_t)(v)}})
#define LOG_F64(k, v)  ((struct log_field){(k), LOG_TYPE_F64, {.f = (v)}})
#define LOG_BOOL(k, v) ((struct log_field){(k), LOG_TYPE_BOOL, {.b = (v)}})

extern atomic_int log_level_now; /* read through log_enabled */

static inline bool log_enabled(enum log_level level)
{
    return (int)level >= atomic_load_explicit(&log_level_now, memory_order_relaxed);
}

/* The fields are evaluated only when the level is enabled, and lent for the call. */
#define log_event(level, event, ...)                                                               \
    do {                                                                                           \
        if (log_enabled(level)) {                                                                  \
            const struct log_field log_fields_[] = {LOG_STR("event", STR(event)), ##__VA_ARGS__};  \
            log_write((level), log_fields_, sizeof log_fields_ / sizeof *log_fields_);             \
        }                                                                                          \
    } while (0)

/* fields[0] is the event's name. Strings are cut at 4 KiB. */
void log_write(enum log_level level, const struct log_field *fields, size_t n);
void log_set_level(enum log_level level);

/* Starts the writer on fd (borrowed). Auto means text on a terminal, JSON elsewhere; colours only
 * on a terminal and without NO_COLOR. ring_bytes per thread, a power of two; 0: 256 KiB. Main
 * thread, once; ERR_NOMEM, ERR_IO. */
enum err log_init(int fd, enum config_log_format format, enum log_level level,
                  size_t ring_bytes) MUST_CHECK;
/* Writes out what is queued and ends the writer. Other threads have released theirs before. */
void log_release(void);

/* Names the calling thread (at most 15 characters) and gives it a ring; without memory, or past
 * 320 threads, it goes on without one. */
void log_thread_init(const char *name);
/* Before the thread ends; the writer frees the ring once it is empty. */
void log_thread_release(void);

/* Lines lost so far, all threads. */
uint64_t log_dropped(void);

#endif
