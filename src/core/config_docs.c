/* config_docs: .env.example and docs/configuration.md, written from the table so that they cannot
 * drift from it (a test compares). */
#include <ctype.h>

#include "core/config.h"

static const char *const type_names[] = {"text", "path", "secret", "number", "size",
                                         "time", "bool", "list",   "choice"};

static void put_upper(struct buf *out, const char *name)
{
    buf_lit(out, "LYSS_");
    for (; *name; name++)
        buf_char(out, (char)toupper((unsigned char)*name));
}

/* Text broken at spaces so that no line passes 98 columns, each line behind prefix. */
static void put_wrapped(struct buf *out, const char *prefix, struct str text)
{
    while (text.n) {
        size_t cut = text.n, room = 98 - strlen(prefix);
        if (cut > room)
            for (cut = room; cut > 0 && text.p[cut] != ' '; cut--)
                ;
        buf_printf(out, "%s%.*s\n", prefix, (int)cut, text.p);
        text = str_trim(str_from(text, cut));
    }
}

void config_env_example(struct buf *out)
{
    buf_lit(out, "# Settings of Lyss with their defaults. Generated from src/core/config.def by\n"
                 "# `make docs`; do not edit. The same names, without LYSS_ and in lower case,\n"
                 "# are the keys of lyss.conf.\n");
    for (int i = 0; i < CONFIG_COUNT; i++) {
        const struct config_setting *s = &config_settings[i];
        buf_char(out, '\n');
        put_wrapped(out, "# ", str_c(s->doc));
        if (s->type == CONFIG_ENUM)
            buf_printf(out, "# One of: %s\n", s->form);
        buf_lit(out, "#");
        put_upper(out, s->name);
        buf_printf(out, "=%s\n", s->def);
    }
}

static void put_flag(struct buf *out, const char *name)
{
    buf_lit(out, "--");
    for (; *name; name++)
        buf_char(out, *name == '_' ? '-' : *name);
}

static void put_range(struct buf *out, const struct config_setting *s)
{
    if (s->type == CONFIG_ENUM) {
        struct str rest = str_c(s->form), choice;
        for (bool first = true; str_split(&rest, '|', &choice); first = false)
            buf_printf(out, "%s`%.*s`", first ? "" : ", ", STR_FMT(choice));
    } else if (s->type == CONFIG_INT || s->type == CONFIG_BYTES || s->type == CONFIG_MS) {
        buf_printf(out, "%lld to %lld", (long long)s->min, (long long)s->max);
    } else {
        buf_str(out, str_c(type_names[s->type]));
    }
}

void config_markdown(struct buf *out)
{
    buf_lit(out,
            "# Configuration\n\n"
            "<!-- Generated from src/core/config.def by `make docs`; do not edit. -->\n\n"
            "These are the settings of the process. Everything above it (tenants, providers, "
            "channels,\nkeys, routes) lives in the database.\n\n"
            "A setting has one name and four places, the later of which wins: its default, a line\n"
            "`name = value` in `lyss.conf` (`#` starts a comment), the environment variable\n"
            "`LYSS_NAME`, and the flag `--name`, written with dashes. A wrong value ends the start "
            "with\na message that names the place; so does an unknown key in the file. An unknown "
            "`LYSS_`\nvariable is a warning.\n\n"
            "Sizes are bytes, or take `KiB`, `MiB`, `GiB`; times are milliseconds, or take `ms`, "
            "`s`,\n`m`, `h`; lists are separated by commas or spaces. Secrets have no flag, since "
            "everyone\non a machine can read the arguments of a process.\n");
    for (int i = 0; i < CONFIG_COUNT; i++) {
        const struct config_setting *s = &config_settings[i];
        buf_printf(out, "\n## %s\n\n", s->name);
        put_wrapped(out, "", str_c(s->doc));
        buf_lit(out, "\n| variable | flag | type | values | default | a change takes |\n"
                     "|---|---|---|---|---|---|\n| `");
        put_upper(out, s->name);
        buf_lit(out, "` | ");
        if (s->type == CONFIG_SECRET) {
            buf_lit(out, "none");
        } else {
            buf_char(out, '`');
            put_flag(out, s->name);
            buf_char(out, '`');
        }
        buf_printf(out, " | %s | ", type_names[s->type]);
        put_range(out, s);
        if (*s->def)
            buf_printf(out, " | `%s`", s->def);
        else
            buf_lit(out, " | empty");
        buf_printf(out, " | %s |\n", s->flags & CONFIG_RELOAD ? "SIGHUP" : "a restart");
    }
}
