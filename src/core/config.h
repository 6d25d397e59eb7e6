/* config: the settings of the process, from one table (core/config.def).
 *
 * Loaded by the main thread at start, immutable and readable by any thread
 * afterwards.  A value comes from its default, then lyss.conf, then the
 * environment, then a flag; the last that speaks wins and is remembered.  Times
 * are milliseconds, sizes bytes. */
#ifndef LYSS_CORE_CONFIG_H
#define LYSS_CORE_CONFIG_H

#include "core/buf.h"
#include "core/err.h"
#include "core/secret.h"

/* In the order of their choices in config.def. */
enum config_environment { ENVIRONMENT_DEVELOPMENT, ENVIRONMENT_STAGING, ENVIRONMENT_PRODUCTION };
enum config_log_format { LOG_FORMAT_AUTO, LOG_FORMAT_JSON, LOG_FORMAT_TEXT };
enum config_log_requests { LOG_REQUESTS_ERRORS, LOG_REQUESTS_ALL, LOG_REQUESTS_OFF };
enum config_journal_sync { CONFIG_JOURNAL_SYNC_BATCH, CONFIG_JOURNAL_SYNC_ALWAYS };
enum config_journal_full { CONFIG_JOURNAL_FULL_CLOSED, CONFIG_JOURNAL_FULL_OPEN };

enum config_type {
    CONFIG_STRING,
    CONFIG_PATH,
    CONFIG_SECRET,
    CONFIG_INT,
    CONFIG_BYTES,
    CONFIG_MS,
    CONFIG_BOOL,
    CONFIG_LIST,
    CONFIG_ENUM
};

enum config_source { SOURCE_DEFAULT, SOURCE_FILE, SOURCE_ENV, SOURCE_FLAG };

#define CONFIG_RELOAD 1u /* takes effect while the process runs, by SIGHUP */

struct config_list {
    struct str *items; /* each NUL-terminated */
    size_t n;
};

enum config_id {
#define X(type, name, def, min, max, flags, form, doc) CONFIG_ID_##name,
#include "core/config.def"
#undef X
    CONFIG_COUNT
};

#define CONFIG_FIELD_STRING struct str
#define CONFIG_FIELD_PATH   struct str
#define CONFIG_FIELD_SECRET struct secret
#define CONFIG_FIELD_INT    int64_t
#define CONFIG_FIELD_BYTES  int64_t
#define CONFIG_FIELD_MS     int64_t
#define CONFIG_FIELD_BOOL   bool
#define CONFIG_FIELD_LIST   struct config_list
#define CONFIG_FIELD_ENUM   int

/* One field per row. Strings and paths are NUL-terminated and owned by the struct. */
struct config {
#define X(type, name, def, min, max, flags, form, doc) CONFIG_FIELD_##type name;
#include "core/config.def"
#undef X
    unsigned char sources[CONFIG_COUNT]; /* enum config_source */
    struct buf warnings;                 /* a line each, for the log once it is up */
};

/* A row of the table, for display, documentation and the command line. */
struct config_setting {
    const char *name;
    enum config_type type;
    size_t offset; /* of the field in struct config */
    const char *def;
    int64_t min, max;
    unsigned flags;
    const char *form, *doc;
};
extern const struct config_setting config_settings[CONFIG_COUNT];

/* Fills *c (no need to init it). file may be NULL: no file is read. Takes from argv[1..] the flags
 * of the table (--name value, --name=value; a bool also as --name), up to "--"; others are left to
 * the caller, see config_flag_args. On failure *c is released and info says what is wrong, where,
 * and how to mend it: ERR_INVALID, ERR_IO (file not readable), ERR_NOMEM. */
enum err config_load(struct config *c, const char *file, int argc, char **argv,
                     struct err_info *info) MUST_CHECK;
void config_release(struct config *c);

/* Sets one value; where names its place in the error message ("lyss.conf:3", "--listen"). Not
 * once other threads read *c. On failure the old value stays. */
enum err config_set(struct config *c, enum config_id id, struct str value,
                    enum config_source source, const char *where, struct err_info *info) MUST_CHECK;

/* How many arguments a flag of the table takes up, itself included: 0: not of the table. */
int config_flag_args(const char *arg);
/* By file key; CONFIG_COUNT when unknown. */
enum config_id config_find(struct str name);
/* The effective value as the file would spell it; a secret yields "(set)" or "". */
void config_show(const struct config *c, enum config_id id, struct buf *out);
const char *config_source_name(enum config_source s);

/* workers, with 0 resolved: the CPUs of the affinity mask. */
int config_workers(const struct config *c);
/* memory_budget, with 0 resolved: a quarter of the memory. */
int64_t config_memory_budget_bytes(const struct config *c);

/* "127.0.0.1:80", "[::1]:80" → host without brackets, port. False if it is not numeric. Pure. */
bool config_split_address(struct str s, struct str *host, uint16_t *port);

/* The generated files, from the table. */
void config_env_example(struct buf *out);
void config_markdown(struct buf *out);

/* "a,b,c", NUL-terminated; items that do not fit are left out. */
struct str config_join(const struct config_list *list, char *out, size_t cap);

#endif
