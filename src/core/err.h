/* err: every error has a name, an HTTP status, a failure class and a sentence, from one table.
 *
 * Fallible functions return enum err and put detail into a trailing struct
 * err_info (which may be NULL).  Handlers never write error JSON: they return
 * an error, and the dialect renders it. */
#ifndef LYSS_CORE_ERR_H
#define LYSS_CORE_ERR_H

#include <stdint.h>

#include "core/str.h"

enum err {
#define X(name, status, cls, level, text) ERR_##name,
#include "core/err.def"
#undef X
    ERR_COUNT
};

enum err_class { CLASS_NONE, CLASS_REQUEST, CLASS_KEY, CLASS_THROTTLE, CLASS_SERVER, CLASS_CLIENT };
enum log_level { LOG_DEBUG, LOG_INFO, LOG_WARN, LOG_ERROR };

#define MUST_CHECK __attribute__((warn_unused_result))
/* Seldom called: it, and the branches that lead to it, are kept out of the way of what is. */
#define COLD __attribute__((cold))

/* Detail beside an enum err: what, where, how to mend it. Plain data, no ownership. */
struct err_info {
    char text[512];   /* a sentence; empty: the table's sentence holds */
    char field[96];   /* which field, in the caller's terms; may be empty */
    int64_t offset;   /* byte offset in the body, -1: none */
    int64_t retry_ms; /* when to try again, 0: unknown */
};

const char *err_name(enum err e);
const char *err_text(enum err e);
int err_status(enum err e);
enum err_class err_class(enum err e);
enum log_level err_level(enum err e);
const char *err_class_name(enum err_class c);

void err_info_init(struct err_info *info);
/* Fills info->text (when info is not NULL) and returns e, so that `return err_set(info, ERR_X,
 * ...)` reads as one step. */
COLD enum err err_set(struct err_info *info, enum err e, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

#endif
