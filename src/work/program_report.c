#include "work/program_report.h"

void tt_program_report_deinit(tt_program_report *r)
{
    json_t **const trees[] = {&r->progress, &r->counters, &r->datasets, &r->result, &r->storage, &r->remember};
    for (size_t i = 0; i < TT_COUNT(trees); i++) {
        json_decref(*trees[i]);
        *trees[i] = NULL;
    }
    tt_buf_deinit(&r->line);
}

/* A new or known entry of a bounded object that is made when needed. */
static bool has_room(json_t **object, const char *name)
{
    if (!*object)
        *object = json_object();
    return strlen(name) <= 200 && (json_object_get(*object, name) || json_object_size(*object) < TT_REPORT_ENTRIES);
}

/* ---- members ---- */

static bool is_dataset(const char *name) { return strcmp(name, "original") == 0 || strcmp(name, "processed") == 0; }

/* At most n bytes, not cut inside a character. */
static json_t *text_within(const char *text, size_t len, size_t n)
{
    tt_str cut = tt_utf8_slice((tt_str){text, len}, n);
    return json_stringn(cut.ptr, cut.len);
}

/* Messages are texts; anything else is shown as JSON. */
static json_t *message_of(const json_t *value, size_t limit)
{
    if (json_is_string(value))
        return text_within(json_string_value(value), json_string_length(value), limit);
    char *text = json_dumps(value, JSON_ENCODE_ANY | JSON_COMPACT);
    json_t *made = text ? text_within(text, strlen(text), limit) : json_null();
    free(text);
    return made;
}

static const char *take_progress(tt_program_report *r, json_t *value)
{
    const char *name;
    json_t *message;
    if (!json_is_object(value))
        return "`progress` is no object";
    json_object_foreach(value, name, message) {
        json_t **where = is_dataset(name) ? &r->datasets : &r->progress;
        if (!has_room(where, name))
            return "too many procedures, or a name that is too long";
        json_object_set_new(*where, name, message_of(message, is_dataset(name) ? TT_REPORT_LINE_BYTES : TT_REPORT_TEXT_BYTES));
    }
    r->revision++;
    return NULL;
}

static json_t *sum(const json_t *a, const json_t *b)
{
    json_int_t whole;
    if ((!a || json_is_integer(a)) && json_is_integer(b) && !__builtin_add_overflow(json_integer_value(a), json_integer_value(b), &whole))
        return json_integer(whole);
    return json_real(json_number_value(a) + json_number_value(b));
}

static const char *take_counters(tt_program_report *r, json_t *value)
{
    const char *name;
    json_t *more;
    if (!json_is_object(value))
        return "`counters` is no object";
    json_object_foreach(value, name, more) {
        if (!json_is_number(more))
            return "a counter is no number";
        if (!has_room(&r->counters, name))
            return "too many counters, or a name that is too long";
        json_t *total = sum(json_object_get(r->counters, name), more);
        if (!total)
            return "a counter is too large";
        json_object_set_new(r->counters, name, total);
    }
    r->revision++;
    return NULL;
}

static const char *take_result(tt_program_report *r, json_t *value)
{
    if (json_dumpb(value, NULL, 0, JSON_ENCODE_ANY | JSON_COMPACT) > TT_REPORT_RESULT_BYTES)
        return "the result is larger than 1 MiB";
    json_decref(r->result);
    r->result = json_incref(value);
    r->revision++;
    return NULL;
}

static const char *take_rows(tt_program_report *r, json_t *value)
{
    size_t i;
    json_t *row;
    if (!json_is_array(value))
        return "`rows` is no list";
    json_array_foreach(value, i, row)
        if (!json_is_object(row))
            return "a row is no object";
    if (!r->on_rows)
        return "rows, but nothing says where they are stored";
    if (r->rows_rc == TT_OK)
        r->rows_rc = r->on_rows(r->arg, value, &r->rows_err);
    return NULL;
}

static const char *take_storage(tt_program_report *r, json_t *value)
{
    if (!json_is_object(value))
        return "`storage` is no object";
    json_decref(r->storage);
    r->storage = json_incref(value);
    return NULL;
}

static const char *take_remember(tt_program_report *r, json_t *value)
{
    const char *name;
    json_t *kept;
    if (!json_is_object(value))
        return "`remember` is no object";
    json_object_foreach(value, name, kept) {
        if (!has_room(&r->remember, name))
            return "too much to remember, or a name that is too long";
        json_object_set(r->remember, name, kept);
    }
    return NULL;
}

static const char *take_error(tt_program_report *r, json_t *value)
{
    if (!json_is_string(value))
        return "`error` is no text";
    json_t *cut = text_within(json_string_value(value), json_string_length(value), sizeof r->error - 1);
    snprintf(r->error, sizeof r->error, "%s", cut ? json_string_value(cut) : "");
    json_decref(cut);
    return NULL;
}

static const char *take_secret(tt_program_report *r, json_t *value)
{
    if (!json_is_string(value) || !r->on_secret)
        return "`secret` is for programs in C";
    r->on_secret(r->secret_arg, json_string_value(value));
    return NULL;
}

static const char *take_end(tt_program_report *r, json_t *value)
{
    if (!json_is_integer(value))
        return "`end` is no whole number";
    r->ended = true;
    r->end = json_integer_value(value);
    return NULL;
}

/* What a line may hold. To add a member: a function and a row here, a line in program_report.h and in docs/programs.md. */
static const struct {
    const char *name;
    const char *(*take)(tt_program_report *r, json_t *value); /* NULL: taken; else what is wrong */
} members[] = {
    {"progress", take_progress}, {"counters", take_counters}, {"result", take_result}, {"rows", take_rows},
    {"storage", take_storage},   {"error", take_error},       {"end", take_end},       {"remember", take_remember},
    {"secret", take_secret},
};

/* ---- lines ---- */

static void bad(tt_program_report *r, const char *why, tt_str line)
{
    if (r->bad_lines++ > 0)
        return;
    char shown[61] = "";
    for (size_t i = 0; i < line.len && i < sizeof shown - 1; i++)
        shown[i] = (char)(isascii((unsigned char)line.ptr[i]) && isprint((unsigned char)line.ptr[i]) ? line.ptr[i] : '.');
    snprintf(r->first_bad, sizeof r->first_bad, "%s: %s", why, shown);
}

static const char *take_member(tt_program_report *r, const char *name, json_t *value)
{
    for (size_t i = 0; i < TT_COUNT(members); i++)
        if (strcmp(name, members[i].name) == 0)
            return members[i].take(r, value);
    return "an unknown member";
}

static void take_line(tt_program_report *r, tt_str line)
{
    const char *name, *why = NULL;
    json_t *value;
    line = tt_str_trim(line);
    if (line.len == 0)
        return;
    json_t *root = json_loadb(line.ptr, line.len, 0, NULL);
    if (!json_is_object(root))
        why = "no JSON object";
    json_object_foreach(root, name, value)
        if (!why)
            why = take_member(r, name, value);
    if (why)
        bad(r, why, line);
    json_decref(root);
}

/* A piece without a line end. */
static void keep(tt_program_report *r, tt_str piece)
{
    if (r->skipping)
        return;
    if (r->line.len + piece.len <= TT_REPORT_LINE_BYTES) {
        tt_buf_str(&r->line, piece);
        if (!r->line.failed)
            return;
    }
    bad(r, "a line longer than 8 MiB", tt_buf_view(&r->line));
    tt_buf_deinit(&r->line);
    r->skipping = true;
}

static void end_line(tt_program_report *r)
{
    if (!r->skipping)
        take_line(r, tt_buf_view(&r->line));
    r->skipping = false;
    if (r->line.cap > 65536)
        tt_buf_deinit(&r->line);
    tt_buf_clear(&r->line);
}

void tt_program_report_feed(tt_program_report *r, tt_str bytes)
{
    while (bytes.len) {
        ptrdiff_t at = tt_str_find(bytes, '\n');
        size_t len = at < 0 ? bytes.len : (size_t)at;
        keep(r, tt_str_slice(bytes, 0, len));
        if (at >= 0)
            end_line(r);
        bytes = tt_str_slice(bytes, len + (at >= 0), bytes.len);
    }
}

void tt_program_report_end(tt_program_report *r)
{
    if (r->line.len || r->skipping)
        end_line(r);
}
