/* http1_chunked: the chunked transfer coding (RFC 9112, 7.1), decoded in place. */
#include "net/http1.h"

enum { SIZE, EXTENSION, SIZE_LF, DATA, DATA_CR, DATA_LF, TRAILER, TRAILER_LF, END_LF };

#define EXTENSION_MAX 256
#define TRAILERS_MAX  8192

static int hex(char ch)
{
    if (ch >= '0' && ch <= '9')
        return ch - '0';
    ch = str_lower(ch);
    return ch >= 'a' && ch <= 'f' ? ch - 'a' + 10 : -1;
}

static enum err bad(struct err_info *info, const char *what)
{
    return err_set(info, ERR_BAD_REQUEST, "chunked body: %s", what);
}

static bool is_control(char ch)
{
    return ((unsigned char)ch < ' ' && ch != '\t') || ch == 0x7f;
}

/* A byte of the fields behind the last chunk, which are checked and dropped. */
static enum err trailer_byte(struct http_chunked *c, char ch, struct err_info *info)
{
    enum { START, NAME, VALUE }; /* c->digits: where in a field's line */
    if (ch == '\r' && c->digits != NAME) {
        c->state = c->digits == START ? END_LF : TRAILER_LF;
        return ERR_AGAIN;
    }
    bool ok = c->digits == VALUE ? !is_control(ch)
                                 : http_is_token(ch) || (ch == ':' && c->digits == NAME);
    if (!ok || ++c->line > TRAILERS_MAX)
        return bad(info, "the trailer is malformed or too long");
    if (c->digits != VALUE)
        c->digits = ch == ':' ? VALUE : NAME;
    return ERR_AGAIN;
}

/* One byte that is not data; ERR_OK at the very end of the body. */
static enum err framing_byte(struct http_chunked *c, char ch, struct err_info *info)
{
    switch (c->state) {
    case SIZE:
        if (hex(ch) >= 0) {
            if (++c->digits > 15)
                return bad(info, "a chunk size is too large");
            c->left = c->left << 4 | (unsigned)hex(ch);
        } else if (!c->digits) {
            return bad(info, "a chunk size is not a hexadecimal number");
        } else if (ch == '\r') {
            c->state = SIZE_LF;
        } else if (ch == ';') {
            c->state = EXTENSION;
            c->line = 0;
        } else {
            return bad(info, "a chunk size is not a hexadecimal number");
        }
        return ERR_AGAIN;
    case EXTENSION:
        if (ch == '\r')
            c->state = SIZE_LF;
        else if (is_control(ch))
            return bad(info, "a control character in a chunk extension");
        else if (++c->line > EXTENSION_MAX)
            return bad(info, "a chunk extension is too long");
        return ERR_AGAIN;
    case SIZE_LF:
        if (ch != '\n')
            return bad(info, "a CR stands alone");
        c->state = c->left ? DATA : TRAILER;
        c->digits = 0;
        c->line = 0;
        return ERR_AGAIN;
    case DATA_CR:
        if (ch != '\r')
            return bad(info, "a chunk is longer than its size");
        c->state = DATA_LF;
        return ERR_AGAIN;
    case DATA_LF:
        if (ch != '\n')
            return bad(info, "a chunk is longer than its size");
        c->state = SIZE;
        return ERR_AGAIN;
    case TRAILER:
        return trailer_byte(c, ch, info);
    case TRAILER_LF:
        if (ch != '\n')
            return bad(info, "a CR stands alone");
        c->state = TRAILER;
        c->digits = 0;
        return ERR_AGAIN;
    default: /* END_LF */
        return ch == '\n' ? ERR_OK : bad(info, "a CR stands alone");
    }
}

enum err http_chunked_decode(struct http_chunked *c, char *bytes, size_t *n, size_t *used,
                             struct err_info *info)
{
    size_t in = 0, out = 0, total = *n;
    enum err e = ERR_AGAIN;
    while (in < total && e == ERR_AGAIN) {
        if (c->state != DATA) {
            e = framing_byte(c, bytes[in++], info);
            continue;
        }
        size_t k = total - in < c->left ? total - in : (size_t)c->left;
        if (in != out)
            memmove(bytes + out, bytes + in, k);
        in += k;
        out += k;
        c->left -= k;
        if (!c->left)
            c->state = DATA_CR;
    }
    *n = out;
    *used = in;
    return e;
}
