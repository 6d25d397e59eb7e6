/* group: the commands about one kind of thing: `lyss channel add|set|list|show|rm` and their like.
 *
 * A group is a const table; its flags, defaults, help and JSON fields come from
 * the thing's columns (store/rows.h), the rest from what is said here.  A verb is
 * called with the database open and the tenant chosen.  Main thread. */
#ifndef LYSS_CLI_GROUP_H
#define LYSS_CLI_GROUP_H

#include "cli/args.h"
#include "core/json_write.h"
#include "ops/ops.h"

struct group;
struct verb;

/* One command being carried out. */
struct call {
    const struct group *group;
    const struct verb *verb;
    struct args args;
    struct config config;
    struct ops ops;
    int64_t tenant;
    struct str name; /* of the thing; empty where the verb takes none */
    struct buf out;  /* what goes to stdout */
    int status;      /* exit status of a verb that was carried out */
    struct err_info *info;
    union {
        struct row row;
        struct tenant_row tenant_row;
        struct user_row user_row;
        struct key_row key_row;
        struct provider_row provider_row;
        struct channel_row channel_row;
        struct route_row route_row;
    } u; /* columns from the command line */
};

enum verb_flags {
    VERB_NAMED = 1,   /* a name must be given */
    VERB_COLUMNS = 2, /* the thing's columns are flags */
    VERB_OPTIONS = 4, /* the group's options are, too */
    VERB_CREATES = 8, /* may make the data directory and the database */
    VERB_CHANGES = 16 /* at least one flag must say what */
};

struct verb {
    const char *name, *summary;
    unsigned flags; /* enum verb_flags */
    enum err (*run)(struct call *c);
    const struct option *options; /* in place of the group's; may be NULL */
};

struct group {
    const struct thing *thing;
    const char *summary, *examples;
    bool of_tenant;
    const struct option *options;
    const struct verb *verbs;  /* ends with a row without name */
    const char *table_columns; /* of `list`, separated by blanks: columns, or words for cell() */
    /* A cell that is no column; may be NULL. */
    void (*cell)(struct call *c, struct str word, const void *row, struct buf *out);
    /* Members of the row's JSON that are no columns; may be NULL. */
    void (*json)(struct call *c, const void *row, struct json_writer *w);
};

extern const struct group group_tenant, group_user, group_key, group_provider, group_channel,
    group_route;

/* Parses, opens, runs the verb, prints; the exit status. */
int group_run(const struct group *g, int argc, char **argv);

/* For verbs. The row as JSON, or a sentence "channel "x" added". */
void group_done(struct call *c, const void *row, const char *done);
/* Rows as a table or a JSON array. */
void group_list(struct call *c, const void *rows, size_t n);
/* One row in full. */
void group_show(struct call *c, const void *row);
/* "channel "x" removed", or {"removed":"x"}. */
void group_removed(struct call *c);
/* Copies the columns' default-free name of the command line into the row, as `add NAME` means it.
 */
enum err group_take_name(struct call *c) MUST_CHECK;

/* For commands outside of groups, too: prints an error with what to do next; the exit status. */
int cli_failed(enum err e, const struct err_info *info, const struct thing *thing,
               const char *command);

#endif
