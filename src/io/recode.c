#include "io/recode.h"

#include <errno.h>
#include <iconv.h>
#include <strings.h>

#include "base/mem.h"

enum { UNPACKED_BYTES = 64 << 10, CHARACTER_BYTES = 16 };

typedef struct {
    iconv_t cd;
    const tt_unpacker *inner;      /* NULL: none */
    void *inner_state;
    bool inner_complete;
    unsigned char *unpacked;       /* by inner, not converted yet: from at, len bytes */
    size_t at, len;
    unsigned char cut[CHARACTER_BYTES]; /* the beginning of a character whose end is to come */
    size_t cut_len;
    unsigned char held[CHARACTER_BYTES]; /* what had no room in the output */
    size_t held_at, held_len;
    bool is_bad;                   /* behind held no text follows */
} recode;

tt_rc tt_recode_find(const char *word, const char **ret, tt_err *err)
{
    static const struct { const char *word, *name; } words[] = {
        {"utf-8", NULL}, {"utf8", NULL}, {"utf-8-sig", NULL}, {"utf_8", NULL}, {"utf_8_sig", NULL}, {"ascii", NULL}, {"us-ascii", NULL},
        {"latin-1", "ISO-8859-1"}, {"latin_1", "ISO-8859-1"}, {"latin-9", "ISO-8859-15"}, {"mac-roman", "MACINTOSH"}, {"mac_roman", "MACINTOSH"},
    };
    for (size_t i = 0; i < TT_COUNT(words); i++)
        if (strcasecmp(words[i].word, word) == 0)
            return *ret = words[i].name, TT_OK;
    iconv_t cd = strchr(word, '/') ? (iconv_t)-1 : iconv_open("UTF-8", word);
    if (cd == (iconv_t)-1)
        return tt_fail(err, TT_INVALID, "there is no encoding `%.40s`: there are utf-8, utf-16, latin-1, cp1252, and what `iconv --list` names", word);
    iconv_close(cd);
    *ret = word;
    return TT_OK;
}

void tt_recode_stop(void *state)
{
    recode *r = state;
    if (r->inner_state)
        r->inner->stop(r->inner_state);
    if (r->cd != (iconv_t)-1)
        iconv_close(r->cd);
    free(r->unpacked);
    free(r);
}

void *tt_recode_start(const char *name, const tt_unpacker *inner)
{
    recode *r = TT_NEW(recode);
    r->inner = inner;
    r->cd = iconv_open("UTF-8", name);
    r->inner_state = inner ? inner->start() : NULL;
    r->unpacked = inner ? tt_malloc(UNPACKED_BYTES) : NULL;
    if (r->cd != (iconv_t)-1 && (!inner || (r->inner_state && r->unpacked)))
        return r;
    tt_recode_stop(r);
    return NULL;
}

static void give_held(recode *r, tt_unpack_io *io)
{
    size_t len = r->held_len < io->out_len ? r->held_len : io->out_len;
    memcpy(io->out, r->held + r->held_at, len);
    io->out += len;
    io->out_len -= len;
    r->held_at += len;
    r->held_len -= len;
}

/* What iconv makes of in goes to out, as far as either reaches: 0, or its errno. */
static int convert(const recode *r, const unsigned char **in, size_t *in_len, unsigned char **out, size_t *out_len)
{
    char *from = (char *)(uintptr_t)*in, *to = (char *)*out; /* iconv only reads from */
    int failed = iconv(r->cd, &from, in_len, &to, out_len) == (size_t)-1 ? errno : 0;
    *in = (const unsigned char *)from;
    *out = (unsigned char *)to;
    return failed;
}

/* One character, or a few, by way of held. */
static int convert_into_held(recode *r, const unsigned char **in, size_t *in_len)
{
    unsigned char *out = r->held;
    size_t room = sizeof r->held;
    int failed = convert(r, in, in_len, &out, &room);
    r->held_at = 0;
    r->held_len = sizeof r->held - room;
    return failed == E2BIG ? 0 : failed;
}

/* What is held still goes out. */
static tt_rc no_text(recode *r, tt_unpack_io *io)
{
    r->is_bad = true;
    if (r->held_len)
        return TT_OK;
    io->why = "these bytes are no text in this encoding";
    return TT_CORRUPT;
}

/* A character that was cut gets its next bytes, until it is whole. */
static tt_rc mend_cut(recode *r, const unsigned char **in, size_t *in_len, tt_unpack_io *io)
{
    while (r->cut_len && *in_len) { /* held is empty */
        r->cut[r->cut_len++] = *(*in)++;
        --*in_len;
        const unsigned char *from = r->cut;
        size_t left = r->cut_len;
        int failed = convert_into_held(r, &from, &left);
        if (failed == EILSEQ || (failed == EINVAL && r->cut_len == sizeof r->cut))
            return no_text(r, io);
        if (failed == 0)
            r->cut_len = 0;
    }
    return TT_OK;
}

static tt_rc convert_some(recode *r, const unsigned char **in, size_t *in_len, tt_unpack_io *io)
{
    give_held(r, io);
    if (r->held_len || r->is_bad)
        return r->held_len ? TT_OK : no_text(r, io);
    TT_TRY(mend_cut(r, in, in_len, io));
    give_held(r, io);
    if (r->held_len || r->cut_len || r->is_bad || *in_len == 0)
        return TT_OK;
    int failed = convert(r, in, in_len, &io->out, &io->out_len);
    if (failed == E2BIG && io->out_len < CHARACTER_BYTES) {
        failed = convert_into_held(r, in, in_len);
        give_held(r, io);
    }
    if (failed == EINVAL && *in_len < sizeof r->cut) {
        memcpy(r->cut, *in, *in_len);
        r->cut_len = *in_len;
        *in += *in_len;
        *in_len = 0;
        failed = 0;
    }
    return failed == 0 || failed == E2BIG ? TT_OK : no_text(r, io);
}

/* More of what inner gives, when all of it is converted. */
static tt_rc unpack_some(recode *r, tt_unpack_io *io)
{
    if (r->len || (io->in_len == 0 && r->inner_complete))
        return TT_OK;
    tt_unpack_io own = {.in = io->in, .in_len = io->in_len, .out = r->unpacked, .out_len = UNPACKED_BYTES};
    tt_rc rc = r->inner->step(r->inner_state, &own);
    io->in = own.in;
    io->in_len = own.in_len;
    io->why = own.why;
    r->inner_complete = own.complete;
    r->at = 0;
    r->len = UNPACKED_BYTES - own.out_len;
    return rc;
}

tt_rc tt_recode_step(void *state, tt_unpack_io *io)
{
    recode *r = state;
    if (!r->inner) {
        TT_TRY(convert_some(r, &io->in, &io->in_len, io));
        io->complete = io->in_len == 0 && !r->cut_len && !r->held_len && !r->is_bad;
        return TT_OK;
    }
    TT_TRY(unpack_some(r, io));
    const unsigned char *in = r->unpacked + r->at;
    TT_TRY(convert_some(r, &in, &r->len, io));
    r->at = (size_t)(in - r->unpacked);
    io->complete = io->in_len == 0 && r->inner_complete && !r->len && !r->cut_len && !r->held_len && !r->is_bad;
    return TT_OK;
}
