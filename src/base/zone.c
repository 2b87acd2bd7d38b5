#include "base/zone.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

#include "base/map.h"
#include "base/mem.h"

enum { MAX_NAME = 64, MAX_FILE = 256 * 1024, HEADER = 44, DAY_S = 86400 };

/* When clocks change each year, by the rule at the end of a file: `M3.5.0/2`, `J60`, `59`. */
typedef struct {
    enum { RULE_MONTH, RULE_JULIAN, RULE_DAY } kind;
    int32_t month, week, day;
    int32_t time_s;
} yearly;

typedef struct {
    bool present, has_dst;
    int32_t std_s, dst_s;
    yearly start, end;
} rule;

typedef struct {
    int64_t at_s;
    int32_t offset_s;
} transition;

struct tt_zone {
    rule rule;       /* after the last transition */
    int32_t first_s; /* before the first one */
    size_t count;
    transition transitions[];
};

/* ---- the rule, as in the environment variable TZ ---- */

typedef struct {
    const char *p, *end;
    bool bad;
} scan;

static char peek(const scan *s) { return s->p < s->end ? *s->p : '\0'; }

static bool skip(scan *s, char c)
{
    if (peek(s) != c)
        return false;
    s->p++;
    return true;
}

static int32_t number(scan *s, int32_t max)
{
    int32_t value = 0;
    const char *from = s->p;
    while (isdigit((unsigned char)peek(s)) && value <= max)
        value = value * 10 + (*s->p++ - '0');
    s->bad |= s->p == from || value > max;
    return value;
}

static void zone_name(scan *s)
{
    const char *from = s->p;
    bool quoted = skip(s, '<');
    while (s->p < s->end && (quoted ? *s->p != '>' : isalpha((unsigned char)*s->p)))
        s->p++;
    s->bad |= s->p == from || (quoted && !skip(s, '>'));
}

static int32_t clock_s(scan *s)
{
    int32_t sign = skip(s, '-') ? -1 : 1;
    skip(s, '+');
    int32_t value = number(s, 167) * 3600;
    if (skip(s, ':'))
        value += number(s, 59) * 60;
    if (skip(s, ':'))
        value += number(s, 59);
    return sign * value;
}

static yearly one_change(scan *s)
{
    yearly y = {.time_s = 7200};
    s->bad |= !skip(s, ',');
    if (skip(s, 'M')) {
        y.month = number(s, 12);
        s->bad |= !skip(s, '.');
        y.week = number(s, 5);
        s->bad |= !skip(s, '.') || y.month == 0 || y.week == 0;
        y.day = number(s, 6);
    } else {
        y.kind = skip(s, 'J') ? RULE_JULIAN : RULE_DAY;
        y.day = number(s, 365);
    }
    if (skip(s, '/'))
        y.time_s = clock_s(s);
    return y;
}

static bool parse_rule(tt_str text, rule *ret)
{
    scan s = {text.ptr, text.ptr + text.len, false};
    rule r = {.present = true};
    zone_name(&s);
    r.std_s = r.dst_s = -clock_s(&s);
    if (!s.bad && s.p < s.end) {
        r.has_dst = true;
        zone_name(&s);
        r.dst_s = r.std_s + 3600;
        if (peek(&s) != ',')
            r.dst_s = -clock_s(&s);
        r.start = one_change(&s);
        r.end = one_change(&s);
    }
    if (s.bad || s.p != s.end)
        return false;
    *ret = r;
    return true;
}

/* Seconds since 1970 on a wall clock that shows the offset before the change. */
static int64_t change_in(const yearly *y, int32_t year)
{
    if (y->kind == RULE_MONTH) {
        tt_civil first = {.year = year, .month = y->month, .day = 1};
        int32_t sunday_based = (tt_civil_weekday(&first) + 1) % 7;
        int32_t day = 1 + (y->day - sunday_based + 7) % 7 + (y->week - 1) * 7;
        if (day > tt_month_days(year, y->month))
            day -= 7;
        return tt_civil_days(year, y->month, day) * DAY_S + y->time_s;
    }
    int32_t skips_leap_day = y->kind == RULE_JULIAN && y->day >= 60 && tt_month_days(year, 2) == 29;
    int64_t days = tt_civil_days(year, 1, 1) + y->day - (y->kind == RULE_JULIAN) + skips_leap_day;
    return days * DAY_S + y->time_s;
}

static int32_t rule_offset(const rule *r, int64_t utc_s)
{
    tt_civil c = tt_civil_of(utc_s + r->std_s);
    if (!r->has_dst || !tt_civil_valid(&c))
        return r->std_s;
    int64_t start = change_in(&r->start, c.year) - r->std_s, end = change_in(&r->end, c.year) - r->dst_s;
    bool is_dst = start < end ? utc_s >= start && utc_s < end : utc_s >= start || utc_s < end;
    return is_dst ? r->dst_s : r->std_s;
}

/* ---- the file ---- */

typedef struct {
    uint32_t utc_count, std_count, leap_count, time_count, type_count, char_count;
    char version;
} header;

static uint32_t be32(const char *p)
{
    const unsigned char *b = (const unsigned char *)p;
    return (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
}

static int64_t be64(const char *p) { return (int64_t)((uint64_t)be32(p) << 32 | be32(p + 4)); }

static bool read_header(tt_str file, header *h)
{
    if (file.len < HEADER || memcmp(file.ptr, "TZif", 4) != 0)
        return false;
    uint32_t *counts[] = {&h->utc_count, &h->std_count, &h->leap_count, &h->time_count, &h->type_count, &h->char_count};
    for (size_t i = 0; i < TT_COUNT(counts); i++) {
        *counts[i] = be32(file.ptr + 20 + 4 * i);
        if (*counts[i] > MAX_FILE)
            return false;
    }
    h->version = file.ptr[4];
    return h->type_count > 0;
}

/* Of the block behind the header, with times of time_bytes. */
static size_t block_bytes(const header *h, size_t time_bytes)
{
    return h->time_count * (time_bytes + 1) + h->type_count * (size_t)6 + h->char_count + h->leap_count * (time_bytes + 4) + h->std_count + h->utc_count;
}

static tt_zone *read_block(tt_str block, const header *h)
{
    tt_zone *z = tt_calloc(1, sizeof *z + h->time_count * sizeof z->transitions[0]);
    const char *types = block.ptr + h->time_count * (size_t)8, *infos = types + h->time_count;
    if (!z)
        return NULL;
    z->first_s = (int32_t)be32(infos);
    z->count = h->time_count;
    bool good = z->first_s > -DAY_S * 2 && z->first_s < DAY_S * 2;
    for (size_t i = 0; i < z->count && good; i++) {
        size_t type = (unsigned char)types[i];
        good = type < h->type_count;
        if (!good)
            break;
        z->transitions[i] = (transition){be64(block.ptr + i * 8), (int32_t)be32(infos + type * 6)};
        good = z->transitions[i].offset_s > -DAY_S * 2 && z->transitions[i].offset_s < DAY_S * 2 &&
               (i == 0 || z->transitions[i].at_s > z->transitions[i - 1].at_s);
    }
    if (good)
        return z;
    free(z);
    return NULL;
}

tt_rc tt_zone_parse(tt_str file, tt_zone **ret, tt_err *err)
{
    header h = {0};
    tt_str rest = file;
    if (!read_header(rest, &h) || h.version < '2' || rest.len < HEADER + block_bytes(&h, 4))
        return tt_fail(err, TT_CORRUPT, "not a file of the time zone database (version 2 or later)");
    rest = tt_str_slice(rest, HEADER + block_bytes(&h, 4), rest.len);
    if (!read_header(rest, &h) || rest.len < HEADER + block_bytes(&h, 8))
        return tt_fail(err, TT_CORRUPT, "a file of the time zone database is cut short");
    tt_zone *z = read_block(tt_str_slice(rest, HEADER, rest.len), &h);
    if (!z)
        return tt_fail(err, TT_CORRUPT, "a file of the time zone database is damaged");
    rest = tt_str_trim(tt_str_slice(rest, HEADER + block_bytes(&h, 8), rest.len));
    if (rest.len && !parse_rule(rest, &z->rule)) {
        free(z);
        return tt_fail(err, TT_CORRUPT, "a file of the time zone database ends with a rule that cannot be read");
    }
    *ret = z;
    return TT_OK;
}

/* ---- use ---- */

int32_t tt_zone_offset_s(const tt_zone *z, int64_t utc_s)
{
    if (z->count == 0 || utc_s < z->transitions[0].at_s)
        return z->count == 0 && z->rule.present ? rule_offset(&z->rule, utc_s) : z->first_s;
    if (utc_s >= z->transitions[z->count - 1].at_s && z->rule.present)
        return rule_offset(&z->rule, utc_s);
    size_t low = 0, high = z->count; /* the last transition that is not later */
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (z->transitions[middle].at_s <= utc_s)
            low = middle;
        else
            high = middle;
    }
    return z->transitions[low].offset_s;
}

tt_civil tt_zone_civil(const tt_zone *z, int64_t utc_s) { return tt_civil_of(utc_s + tt_zone_offset_s(z, utc_s)); }

int64_t tt_zone_instant(const tt_zone *z, const tt_civil *c)
{
    int64_t wall = tt_civil_seconds(c);
    int64_t before = wall - tt_zone_offset_s(z, wall - DAY_S), after = wall - tt_zone_offset_s(z, wall + DAY_S);
    if (before == after || before + tt_zone_offset_s(z, before) == wall)
        return before;
    return after + tt_zone_offset_s(z, after) == wall ? after : before;
}

/* ---- finding ---- */

static pthread_mutex_t known_lock = PTHREAD_MUTEX_INITIALIZER; /* guards the two below */
static tt_map known;
static const tt_zone *own;

static bool is_name(tt_str name)
{
    for (size_t i = 0; i < name.len; i++)
        if (!isalnum((unsigned char)name.ptr[i]) && !strchr("_+-/", name.ptr[i]))
            return false;
    return name.len > 0 && name.len <= MAX_NAME && name.ptr[0] != '/';
}

static tt_rc read_zone(const char *path, tt_zone **ret, tt_err *err)
{
    tt_rc rc;
    size_t len = 0;
    ssize_t n = 1;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (fd < 0)
        return tt_fail_errno(err, errno, "cannot open `%s`", path);
    char *bytes = tt_malloc(MAX_FILE);
    while (bytes && n > 0 && len < MAX_FILE) {
        n = read(fd, bytes + len, MAX_FILE - len);
        len += n > 0 ? (size_t)n : 0;
    }
    close(fd);
    if (!bytes)
        rc = tt_fail(err, TT_NOMEM, "no memory for a time zone");
    else
        rc = tt_zone_parse((tt_str){bytes, len}, ret, err);
    free(bytes);
    return rc;
}

static tt_rc read_named(tt_str name, tt_zone **ret, tt_err *err)
{
    char path[512];
    const char *dir = getenv("TZDIR");
    tt_err why = {0};
    snprintf(path, sizeof path, "%s/%.*s", dir && *dir ? dir : "/usr/share/zoneinfo", TT_STR_ARG(name));
    if (is_name(name) && read_zone(path, ret, &why) == TT_OK)
        return TT_OK;
    if (why.code == TT_NOMEM)
        return tt_fail(err, TT_NOMEM, "%s", why.text);
    return tt_fail(err, TT_INVALID, "no time zone is called `%.*s`%s%s: use a name like Europe/Berlin or UTC (see `timedatectl list-timezones`)",
                   TT_STR_ARG(tt_str_slice(name, 0, MAX_NAME)), why.text[0] ? ": " : "", why.text);
}

static tt_rc zone_of_rule(tt_str text, tt_zone **ret, tt_err *err)
{
    rule r;
    if (!parse_rule(text, &r))
        return tt_fail(err, TT_INVALID, "the environment's TZ=%.*s is no time zone", TT_STR_ARG(tt_str_slice(text, 0, MAX_NAME)));
    *ret = TT_NEW(tt_zone);
    (*ret)->rule = r;
    return TT_OK;
}

static tt_rc read_own(tt_zone **ret, tt_err *err)
{
    tt_str tz = tt_str_of(getenv("TZ"));
    if (tz.len && tz.ptr[0] == ':')
        tz = tt_str_slice(tz, 1, tz.len);
    if (tz.len && tz.ptr[0] == '/')
        return read_zone(tz.ptr, ret, err);
    if (tz.len)
        return read_named(tz, ret, NULL) == TT_OK ? TT_OK : zone_of_rule(tz, ret, err);
    if (tz.ptr || read_zone("/etc/localtime", ret, NULL) != TT_OK)
        return zone_of_rule(TT_STR("UTC0"), ret, err); /* as libc does */
    return TT_OK;
}

tt_rc tt_zone_find(tt_str name, const tt_zone **ret, tt_err *err)
{
    tt_zone *z = NULL;
    tt_rc rc = TT_OK;
    pthread_mutex_lock(&known_lock);
    const tt_zone *found = name.len ? tt_map_get(&known, name) : own;
    if (!found && (rc = name.len ? read_named(name, &z, err) : read_own(&z, err)) == TT_OK) {
        found = z;
        if (name.len == 0)
            own = z;
        else if (!tt_map_put(&known, name, z, NULL))
            rc = tt_fail(err, TT_NOMEM, "no memory for a time zone");
        if (rc != TT_OK)
            free(z);
    }
    pthread_mutex_unlock(&known_lock);
    if (rc == TT_OK)
        *ret = found;
    return rc;
}
