/* err: the table of err.def made into look-ups. */
#include "core/err.h"

#include <stdarg.h>
#include <stdio.h>

static const struct {
    const char *name, *text;
    int status;
    enum err_class cls;
    enum log_level level;
} table[ERR_COUNT] = {
#define X(name, status, cls, level, text)                                                          \
    [ERR_##name] = {#name, text, status, CLASS_##cls, LOG_##level},
#include "core/err.def"
#undef X
};

const char *err_name(enum err e)
{
    return table[e].name;
}

const char *err_text(enum err e)
{
    return table[e].text;
}

int err_status(enum err e)
{
    return table[e].status;
}

enum err_class err_class(enum err e)
{
    return table[e].cls;
}

enum log_level err_level(enum err e)
{
    return table[e].level;
}

const char *err_class_name(enum err_class c)
{
    static const char *const names[] = {"none", "request", "key", "throttle", "server", "client"};
    return names[c];
}

void err_info_init(struct err_info *info)
{
    info->text[0] = info->field[0] = 0;
    info->offset = -1;
    info->retry_ms = 0;
}

enum err err_set(struct err_info *info, enum err e, const char *fmt, ...)
{
    if (info) {
        va_list ap;
        va_start(ap, fmt);
        vsnprintf(info->text, sizeof info->text, fmt, ap);
        va_end(ap);
    }
    return e;
}
