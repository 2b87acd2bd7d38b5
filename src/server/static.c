/* Files of one folder (server.static) for browsers: an older service's web pages beside its routes. What a route answers is not looked for here. Only plain files below the
 * folder, none whose path has a part that begins with a dot; `/` is index.html. With HEAD, If-Modified-Since, and ranges of bytes. Any thread. */
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/civil.h"
#include "io/fd.h"
#include "io/roots.h"
#include "server/inside.h"

enum { HTTP_DATE = 40 };

/* By the name's ending; to add one: a row. */
static const struct {
    const char *ending, *type;
} types[] = {
    {".html", "text/html; charset=utf-8"}, {".htm", "text/html; charset=utf-8"}, {".css", "text/css; charset=utf-8"}, {".js", "text/javascript; charset=utf-8"},
    {".mjs", "text/javascript; charset=utf-8"}, {".txt", "text/plain; charset=utf-8"}, {".csv", "text/csv; charset=utf-8"}, {".map", "application/json"},
    {".json", "application/json"}, {".xml", "application/xml"}, {".svg", "image/svg+xml"}, {".png", "image/png"}, {".jpg", "image/jpeg"}, {".jpeg", "image/jpeg"},
    {".gif", "image/gif"}, {".webp", "image/webp"}, {".ico", "image/vnd.microsoft.icon"}, {".woff", "font/woff"}, {".woff2", "font/woff2"}, {".ttf", "font/ttf"},
    {".wasm", "application/wasm"}, {".pdf", "application/pdf"},
};

static const char *type_of(tt_str path)
{
    for (size_t i = 0; i < TT_COUNT(types); i++) {
        size_t len = strlen(types[i].ending);
        if (path.len > len && tt_str_eq_nocase(tt_str_slice(path, path.len - len, path.len), tt_str_of(types[i].ending)))
            return types[i].type;
    }
    return "application/octet-stream";
}

/* ---- times ---- */

static const char *const days[] = {"Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"};
static const char *const months[] = {"Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"};

/* "Sun, 06 Nov 1994 08:49:37 GMT" (RFC 9110, section 5.6.7). */
static void put_date(int64_t utc_s, char out[HTTP_DATE])
{
    tt_civil c = tt_civil_of(utc_s);
    snprintf(out, HTTP_DATE, "%s, %02d %s %04d %02d:%02d:%02d GMT", days[tt_civil_weekday(&c)], c.day, months[c.month - 1], c.year, c.hour, c.minute, c.second);
}

/* False: another form, or none; such a header says nothing. */
static bool read_date(tt_str text, int64_t *ret)
{
    char line[HTTP_DATE], month[4];
    tt_civil c = {0};
    snprintf(line, sizeof line, "%.*s", TT_STR_ARG(tt_str_slice(text, 0, HTTP_DATE - 1)));
    if (sscanf(line, "%*3s, %2d %3s %4d %2d:%2d:%2d GMT", &c.day, month, &c.year, &c.hour, &c.minute, &c.second) != 6)
        return false;
    for (size_t i = 0; i < TT_COUNT(months); i++)
        if (strcmp(months[i], month) == 0)
            c.month = (int32_t)i + 1;
    if (!tt_civil_valid(&c))
        return false;
    *ret = tt_civil_seconds(&c);
    return true;
}

/* ---- ranges ---- */

typedef enum { WHOLE, PART, NONE } range_kind;

/* One range: "bytes=2-5", "bytes=2-", "bytes=-5". Anything else is answered with the whole file. */
static range_kind read_range(tt_str header, uint64_t size, uint64_t *ret_from, uint64_t *ret_len)
{
    tt_str rest = header, from;
    uint64_t first = 0, last = 0;
    if (!tt_str_starts(header, TT_STR("bytes=")) || tt_str_find(header, ',') >= 0)
        return WHOLE;
    rest = tt_str_trim(tt_str_slice(header, 6, header.len));
    if (tt_str_find(rest, '-') < 0 || !tt_str_cut(&rest, '-', &from) || (!from.len && !rest.len))
        return WHOLE;
    if ((from.len && tt_parse_u64(from, &first, NULL) != TT_OK) || (rest.len && tt_parse_u64(rest, &last, NULL) != TT_OK))
        return WHOLE;
    if (!from.len) { /* the last so many */
        first = last < size ? size - last : 0;
        last = last ? UINT64_MAX : 0;
    } else if (!rest.len) {
        last = UINT64_MAX;
    }
    if (from.len && last < first)
        return WHOLE;
    if (first >= size || (!from.len && last == 0))
        return NONE;
    *ret_from = first;
    *ret_len = last >= size ? size - first : last - first + 1;
    return PART;
}

/* ---- answering ---- */

/* fd goes to the response. */
static void send_file(tt_req *req, const char *type, int status, int *fd, uint64_t from, uint64_t len)
{
    struct MHD_Response *response = tt_mhd.MHD_create_response_from_fd_at_offset64(len, *fd, from);
    if (response)
        *fd = -1;
    req->answer_bytes = len;
    tt_req_set_response(req, status, type, response);
    tt_req_publish(req);
}

static void answer_empty(tt_req *req, int status) { tt_req_answer_static(req, status, "text/plain; charset=utf-8", TT_STR("")); }

static void answer_file(tt_req *req, tt_str path, int *fd, const struct stat *st)
{
    char date[HTTP_DATE];
    uint64_t size = (uint64_t)st->st_size, from = 0, len = size;
    int64_t known;
    put_date(st->st_mtim.tv_sec, date);
    tt_req_add_header(req, "Last-Modified", date);
    tt_req_add_header(req, "Accept-Ranges", "bytes");
    if (read_date(tt_req_header(req, "If-Modified-Since"), &known) && known >= st->st_mtim.tv_sec) {
        answer_empty(req, 304);
        return;
    }
    range_kind kind = read_range(tt_req_header(req, "Range"), size, &from, &len);
    const char *said = kind == NONE ? tt_arena_printf(&req->arena, "bytes */%" PRIu64, size)
                                    : tt_arena_printf(&req->arena, "bytes %" PRIu64 "-%" PRIu64 "/%" PRIu64, from, from + len - 1, size);
    if (kind != WHOLE && said)
        tt_req_add_header(req, "Content-Range", said);
    if (kind == NONE)
        answer_empty(req, 416);
    else
        send_file(req, type_of(path), kind == PART ? 206 : 200, fd, from, len);
}

static bool is_hidden(tt_str path)
{
    for (tt_str part; tt_str_cut(&path, '/', &part);)
        if (part.len && part.ptr[0] == '.' && !tt_str_is(part, ".."))
            return true;
    return false;
}

/* A path that tries to leave the folder is refused as one (403), what is not there is left to whoever asks. */
bool tt_static_answer(tt_req *req)
{
    TT_FD_AUTO int fd = -1;
    struct stat st;
    tt_err err = {0};
    tt_str path = tt_params_decode(&req->arena, req->path, false);
    if (!req->server->static_files || req->local || !(tt_str_is(req->method, "GET") || tt_str_is(req->method, "HEAD")) || path.len == 0)
        return false;
    path = path.len == 1 ? TT_STR("index.html") : tt_str_slice(path, 1, path.len);
    if (is_hidden(path))
        return false;
    tt_rc rc = tt_roots_open(req->server->static_files, path, O_RDONLY | O_NONBLOCK, 0, &fd, NULL, &err);
    if (rc == TT_DENIED) {
        tt_req_problem(req, TT_DENIED, "this path leads out of the folder", NULL);
        return true;
    }
    if (rc != TT_OK || fstat(fd, &st) != 0)
        return false;
    answer_file(req, path, &fd, &st);
    return true;
}

tt_rc tt_static_open(tt_server *s, tt_str dir, tt_err *err)
{
    tt_err why = {0};
    if (dir.len && tt_roots_new(&dir, 1, &s->static_files, &why) != TT_OK)
        return tt_fail(err, TT_INVALID, "server.static: %s", why.text);
    return TT_OK;
}

void tt_static_close(tt_server *s) { tt_roots_free(s->static_files); }
