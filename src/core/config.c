/* config: where settings come from, and in which order they win.
 *
 * A wrong value ends the start with one sentence that says what is wrong, where
 * it stands and what is expected.  An unknown key in the file is an error, too;
 * an unknown LYSS_ variable is only a warning, since environments are shared. */
#include "core/config.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/config_value.h"

#define FILE_MAX_BYTES  (1 << 20)
#define WARN_MAX_BYTES  8192
#define NAME_MAX_LENGTH 64

extern char **environ;

const struct config_setting config_settings[CONFIG_COUNT] = {
#define X(type, name, def, min, max, flags, form, doc)                                             \
    {#name, CONFIG_##type, offsetof(struct config, name), def, min, max, flags, form, doc},
#include "core/config.def"
#undef X
};

static void *field_of(const struct config *c, const struct config_setting *s)
{
    return (char *)c + s->offset;
}

enum config_id config_find(struct str name)
{
    int i = 0;
    while (i < CONFIG_COUNT && !str_eq(name, str_c(config_settings[i].name)))
        i++;
    return (enum config_id)i;
}

const char *config_source_name(enum config_source s)
{
    static const char *const names[] = {"default", "file", "environment", "flag"};
    return names[s];
}

void config_show(const struct config *c, enum config_id id, struct buf *out)
{
    config_value_show(&config_settings[id], field_of(c, &config_settings[id]), out);
}

enum err config_set(struct config *c, enum config_id id, struct str value,
                    enum config_source source, const char *where, struct err_info *info)
{
    const struct config_setting *s = &config_settings[id];
    char why[256] = "";
    if (memchr(value.p ? value.p : "", 0, value.n))
        return err_set(info, ERR_INVALID, "%s: %s: the value holds a NUL byte", where, s->name);
    enum err e = config_value_parse(s, value, field_of(c, s), why, sizeof why);
    if (e == ERR_INVALID)
        return err_set(info, e, "%s: %s: \"%.*s\" is not valid: %s", where, s->name,
                       (int)(value.n < 80 ? value.n : 80), value.p, why);
    if (e)
        return err_set(info, e, "%s: %s: out of memory", where, s->name);
    c->sources[id] = (unsigned char)source;
    return ERR_OK;
}

/* Levenshtein distance of two short names. */
static size_t distance(struct str a, struct str b)
{
    size_t row[NAME_MAX_LENGTH + 1];
    for (size_t j = 0; j <= b.n; j++)
        row[j] = j;
    for (size_t i = 1; i <= a.n; i++) {
        size_t diagonal = row[0];
        row[0] = i;
        for (size_t j = 1; j <= b.n; j++) {
            size_t best = diagonal + (a.p[i - 1] != b.p[j - 1]);
            diagonal = row[j];
            if (row[j] + 1 < best)
                best = row[j] + 1;
            if (row[j - 1] + 1 < best)
                best = row[j - 1] + 1;
            row[j] = best;
        }
    }
    return row[b.n];
}

/* The setting that a mistyped name was probably meant to be, or NULL. */
static const char *nearest(struct str name)
{
    size_t best = 4;
    const char *found = NULL;
    for (int i = 0; i < CONFIG_COUNT && name.n <= NAME_MAX_LENGTH; i++) {
        size_t d = distance(name, str_c(config_settings[i].name));
        if (d < best) {
            best = d;
            found = config_settings[i].name;
        }
    }
    return found;
}

static enum err load_line(struct config *c, struct str line, const char *where, bool *seen,
                          struct err_info *info)
{
    for (size_t i = 0; i < line.n; i++)
        if (line.p[i] == '#' && (i == 0 || line.p[i - 1] == ' ' || line.p[i - 1] == '\t'))
            line.n = i;
    line = str_trim(line);
    if (!line.n)
        return ERR_OK;
    ptrdiff_t eq = str_chr(line, '=');
    if (eq <= 0)
        return err_set(info, ERR_INVALID, "%s: expected a line \"key = value\"", where);
    struct str key = str_trim(str_make(line.p, (size_t)eq));
    struct str value = str_trim(str_from(line, (size_t)eq + 1));
    if (value.n >= 2 && value.p[0] == '"' && value.p[value.n - 1] == '"')
        value = str_make(value.p + 1, value.n - 2);
    enum config_id id = config_find(key);
    if (id == CONFIG_COUNT) {
        const char *guess = nearest(key);
        return err_set(info, ERR_INVALID, "%s: unknown setting \"%.*s\"; %s%s%s", where,
                       (int)(key.n < 80 ? key.n : 80), key.p,
                       guess ? "did you mean \"" : "docs/configuration.md lists them all",
                       guess ? guess : "", guess ? "\"?" : "");
    }
    if (seen[id])
        return err_set(info, ERR_INVALID, "%s: %s is set twice; remove one of the lines", where,
                       config_settings[id].name);
    seen[id] = true;
    return config_set(c, id, value, SOURCE_FILE, where, info);
}

static enum err read_file(const char *file, struct buf *text, struct config *c,
                          struct err_info *info)
{
    int fd = open(file, O_RDONLY | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) != 0) {
        int why = errno;
        if (fd >= 0)
            close(fd);
        return err_set(info, ERR_IO, "%s: cannot be read: %s", file, strerror(why));
    }
    ssize_t n = 0;
    for (char *to; (to = buf_reserve(text, 4096)) && (n = read(fd, to, 4096)) > 0;)
        buf_advance(text, (size_t)n);
    int why = errno;
    close(fd);
    if (n < 0)
        return err_set(info, ERR_IO, "%s: cannot be read: %s", file, strerror(why));
    if (buf_failed(text))
        return err_set(info, ERR_INVALID, "%s: larger than 1 MiB", file);
    if (st.st_mode & 0077)
        buf_printf(&c->warnings, "%s can be read by others; if it holds a secret: chmod 600\n",
                   file);
    return ERR_OK;
}

static enum err load_file(struct config *c, const char *file, struct err_info *info)
{
    struct buf text;
    bool seen[CONFIG_COUNT] = {false};
    buf_init(&text, FILE_MAX_BYTES);
    size_t warned = c->warnings.n;
    enum err e = read_file(file, &text, c, info);
    struct str rest = buf_view(&text), line;
    for (int number = 1; !e && str_split(&rest, '\n', &line); number++) {
        char where[512];
        snprintf(where, sizeof where, "%.480s:%d", file, number);
        e = load_line(c, line, where, seen, info);
    }
    bool secret = false;
    for (int i = 0; i < CONFIG_COUNT; i++)
        secret |= seen[i] && config_settings[i].type == CONFIG_SECRET;
    if (!secret && c->warnings.n > warned)
        c->warnings.n = warned;
    if (text.p)
        explicit_bzero(text.p, text.n);
    buf_release(&text);
    return e;
}

static enum err load_env(struct config *c, struct err_info *info)
{
    for (char **at = environ; at && *at; at++) {
        struct str rest = str_c(*at), variable;
        if (!str_starts(rest, STR("LYSS_")) || !str_split(&rest, '=', &variable))
            continue;
        struct str value = rest.p ? rest : STR("");
        char name[NAME_MAX_LENGTH + 1], where[NAME_MAX_LENGTH + 16];
        str_copy(name, sizeof name, str_from(variable, 5));
        for (char *p = name; *p; p++)
            *p = str_lower(*p);
        enum config_id id = config_find(str_c(name));
        snprintf(where, sizeof where, "LYSS_%.*s", STR_FMT(str_from(variable, 5)));
        if (id < CONFIG_COUNT) {
            enum err e = config_set(c, id, str_trim(value), SOURCE_ENV, where, info);
            if (e)
                return e;
        } else if (!str_starts(variable, STR("LYSS_TEST_"))) {
            buf_printf(&c->warnings, "%s: unknown variable, ignored; see docs/configuration.md\n",
                       where);
        }
    }
    return ERR_OK;
}

/* The setting that a flag names, its inline value (p NULL without "=") in *value. */
static enum config_id flag_setting(const char *arg, struct str *value)
{
    char name[NAME_MAX_LENGTH + 1];
    if (strncmp(arg, "--", 2) != 0)
        return CONFIG_COUNT;
    struct str rest = str_c(arg + 2), flag;
    if (!str_split(&rest, '=', &flag) || flag.n >= sizeof name || str_chr(flag, '_') >= 0)
        return CONFIG_COUNT;
    str_copy(name, sizeof name, flag);
    for (char *p = name; *p; p++)
        if (*p == '-')
            *p = '_';
    *value = rest;
    return config_find(str_c(name));
}

int config_flag_args(const char *arg)
{
    struct str value;
    enum config_id id = flag_setting(arg, &value);
    if (id == CONFIG_COUNT)
        return 0;
    return value.p || config_settings[id].type == CONFIG_BOOL ? 1 : 2;
}

static enum err load_flags(struct config *c, int argc, char **argv, struct err_info *info)
{
    for (int i = 1; i < argc && strcmp(argv[i], "--") != 0;) {
        struct str value;
        enum config_id id = flag_setting(argv[i], &value);
        int args = config_flag_args(argv[i]);
        if (!args) {
            i++;
            continue;
        }
        const struct config_setting *s = &config_settings[id];
        char where[NAME_MAX_LENGTH + 16];
        struct str flag = str_c(argv[i]);
        ptrdiff_t eq = str_chr(flag, '=');
        str_copy(where, sizeof where, eq < 0 ? flag : str_make(flag.p, (size_t)eq));
        if (s->type == CONFIG_SECRET)
            return err_set(info, ERR_INVALID,
                           "%s: a secret on the command line can be seen by everyone on the "
                           "machine; use the environment or a file",
                           where);
        if (!value.p && s->type == CONFIG_BOOL)
            value = STR("true");
        else if (!value.p && i + 1 >= argc)
            return err_set(info, ERR_INVALID, "%s: a value must follow", where);
        else if (!value.p)
            value = str_c(argv[i + 1]);
        enum err e = config_set(c, id, value, SOURCE_FLAG, where, info);
        if (e)
            return e;
        i += args;
    }
    return ERR_OK;
}

/* What no single row can know. */
static enum err check_together(const struct config *c, struct err_info *info)
{
    if (!c->tls_cert_file.n != !c->tls_key_file.n)
        return err_set(info, ERR_INVALID,
                       "tls_cert_file and tls_key_file go together: set both or neither");
    if (!secret_empty(&c->encryption_key) && c->encryption_key_file.n)
        return err_set(info, ERR_INVALID,
                       "encryption_key and encryption_key_file are both set: remove one");
    if (c->environment != ENVIRONMENT_PRODUCTION)
        return ERR_OK;
    if (!c->upstream_tls_verify)
        return err_set(info, ERR_INVALID,
                       "upstream_tls_verify=false is refused while environment is production; give "
                       "the upstream's authority in upstream_ca_file instead");
    for (size_t i = 0; i < c->cors_origins.n; i++)
        if (str_eq(c->cors_origins.items[i], STR("*")))
            return err_set(info, ERR_INVALID,
                           "cors_origins: \"*\" is refused while environment is production; list "
                           "the origins");
    return ERR_OK;
}

enum err config_load(struct config *c, const char *file, int argc, char **argv,
                     struct err_info *info)
{
    enum err e = ERR_OK;
    memset(c, 0, sizeof *c);
    buf_init(&c->warnings, WARN_MAX_BYTES);
    for (int i = 0; i < CONFIG_COUNT && !e; i++)
        e = config_set(c, (enum config_id)i, str_c(config_settings[i].def), SOURCE_DEFAULT,
                       "default", info);
    if (!e && file)
        e = load_file(c, file, info);
    if (!e)
        e = load_env(c, info);
    if (!e)
        e = load_flags(c, argc, argv, info);
    if (!e)
        e = check_together(c, info);
    if (e)
        config_release(c);
    return e;
}

void config_release(struct config *c)
{
    for (int i = 0; i < CONFIG_COUNT; i++)
        config_value_release(&config_settings[i], field_of(c, &config_settings[i]));
    buf_release(&c->warnings);
}

int config_workers(const struct config *c)
{
    cpu_set_t set;
    if (c->workers)
        return (int)c->workers;
    int n = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
    return n < 1 ? 1 : n > 256 ? 256 : n;
}

int64_t config_memory_budget_bytes(const struct config *c)
{
    if (c->memory_budget)
        return c->memory_budget;
    return (int64_t)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE) / 4;
}

struct str config_join(const struct config_list *list, char *out, size_t cap)
{
    size_t n = 0;
    out[0] = 0;
    for (size_t i = 0; i < list->n; i++) {
        int k = snprintf(out + n, cap - n, "%s%.*s", n ? "," : "", STR_FMT(list->items[i]));
        if (k < 0 || (size_t)k >= cap - n)
            break;
        n += (size_t)k;
    }
    return str_make(out, n);
}
