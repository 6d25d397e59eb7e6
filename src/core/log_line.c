/* log_line: JSON for machines, `time LEVEL event key=value …` for people.
 *
 * Both escape control characters, so that no field can forge a line. */
#include "core/log_line.h"

#include "core/clock.h"
#include "core/json_write.h"

#define STRING_MAX_BYTES 4096

static const char *const names[] = {"debug", "info", "warn", "error"};
static const char *const marks[] = {"DEBUG", "INFO ", "WARN ", "ERROR"};
static const char *const colors[] = {"\033[2m", "\033[32m", "\033[33m", "\033[31m"};

static struct str cut(struct str s)
{
    if (!s.p)
        return STR("");
    return str_make(s.p, s.n < STRING_MAX_BYTES ? s.n : STRING_MAX_BYTES);
}

static void json_line(struct buf *b, enum log_level level, const char *time,
                      const struct log_field *fields, size_t n)
{
    struct json_writer w;
    json_writer_init(&w, b);
    json_open_object(&w);
    json_field_string(&w, "time", str_c(time));
    json_field_string(&w, "level", str_c(names[level]));
    for (const struct log_field *f = fields; f < fields + n; f++) {
        json_key(&w, str_c(f->name));
        switch (f->type) {
        case LOG_TYPE_STR:
            json_put_string(&w, cut(f->value.s));
            break;
        case LOG_TYPE_I64:
            json_put_i64(&w, f->value.i);
            break;
        case LOG_TYPE_F64:
            json_put_double(&w, f->value.f);
            break;
        case LOG_TYPE_BOOL:
            json_put_bool(&w, f->value.b);
            break;
        }
    }
    json_close_object(&w);
}

/* A bare word stays bare; anything else is quoted as JSON. */
static void text_string(struct buf *b, struct str s)
{
    bool bare = s.n > 0;
    for (size_t i = 0; i < s.n && bare; i++)
        bare = (unsigned char)s.p[i] > ' ' && s.p[i] != '"' && s.p[i] != '=' && s.p[i] != '\\' &&
               (unsigned char)s.p[i] < 0x7f;
    if (bare) {
        buf_str(b, s);
        return;
    }
    buf_char(b, '"');
    json_escape(b, s);
    buf_char(b, '"');
}

static void text_line(struct buf *b, bool color, enum log_level level, const char *time,
                      const struct log_field *fields, size_t n)
{
    buf_printf(b, "%s %s%s%s %.*s", time, color ? colors[level] : "", marks[level],
               color ? "\033[0m" : "", STR_FMT(fields[0].value.s));
    for (const struct log_field *f = fields + 1; f < fields + n; f++) {
        buf_printf(b, " %s=", f->name);
        switch (f->type) {
        case LOG_TYPE_STR:
            text_string(b, cut(f->value.s));
            break;
        case LOG_TYPE_I64:
            buf_i64(b, f->value.i);
            break;
        case LOG_TYPE_F64:
            buf_printf(b, "%.6g", f->value.f);
            break;
        case LOG_TYPE_BOOL:
            buf_str(b, f->value.b ? STR("true") : STR("false"));
            break;
        }
    }
}

void log_line(struct buf *b, const struct log_style *style, enum log_level level,
              const struct log_field *fields, size_t n)
{
    char time[25];
    clock_iso(clock_wall_ms(), time);
    if (style->text)
        text_line(b, style->color, level, time, fields, n);
    else
        json_line(b, level, time, fields, n);
    buf_char(b, '\n');
}
