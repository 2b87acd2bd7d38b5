#include "items/definition.h"

#include "base/mem.h"
#include "items/state.h"

static const char *const mode_names[] = {"read-write", "read", "write"};

const char *tt_job_mode_name(tt_job_mode mode) { return mode_names[mode]; }

tt_rc tt_job_mode_parse(tt_str text, tt_job_mode *ret, tt_err *err)
{
    for (size_t i = 0; i < TT_COUNT(mode_names); i++)
        if (tt_str_is(text, mode_names[i]))
            return *ret = (tt_job_mode)i, TT_OK;
    return tt_fail(err, TT_INVALID, "`%.*s` is not a mode: use read-write, read or write", TT_STR_ARG(tt_str_slice(text, 0, 80)));
}

void tt_definition_deinit(tt_definition *d)
{
    for (size_t i = 0; i < d->inputs.len; i++)
        free(d->inputs.ptr[i].path);
    tt_vec_deinit(&d->inputs);
    free(d->name);
    free(d->metadata);
    free(d->reader_name);
    free(d->writer_name);
    free(d->output);
    free(d->output_real);
    free(d->journal);
    free(d->spool);
    tt_rules_deinit(&d->rules);
    *d = (tt_definition){0};
}

tt_rc tt_job_name_check(tt_str name, tt_err *err)
{
    if (name.len == 0)
        return tt_fail(err, TT_INVALID, "the job has no name: give job_name");
    if (name.len > 200)
        return tt_fail(err, TT_INVALID, "the job's name has %zu bytes: at most 200 are allowed", name.len);
    if (tt_str_is(name, "JOB") || tt_str_is(name, "TOKEN"))
        return tt_fail(err, TT_INVALID, "`%.*s` is a reserved name: choose another one", TT_STR_ARG(name));
    for (size_t i = 0; i < name.len; i++)
        if ((unsigned char)name.ptr[i] < 0x20 || name.ptr[i] == 0x7F || strchr("*?[]\\/", name.ptr[i]))
            return tt_fail(err, TT_INVALID, "the job's name has a character that is not allowed at position %zu: "
                           "none of * ? [ ] \\ / and no control characters", i);
    if (!tt_utf8_valid(name.ptr, name.len))
        return tt_fail(err, TT_INVALID, "the job's name is not UTF-8");
    return TT_OK;
}

/* ---- metadata: one row per member that means something here ---- */

static tt_rc read_output(tt_definition *d, json_t *value, tt_err *err)
{
    const char *text = json_string_value(value);
    if (!text || strlen(text) != json_string_length(value))
        return tt_fail(err, TT_INVALID, "metadata: output_file_path must be a path (text)");
    d->output = tt_dup_cstr(text);
    return TT_OK;
}

static tt_rc read_lease(tt_definition *d, json_t *value, tt_err *err)
{
    if (json_is_number(value) && json_number_value(value) > 0 && json_number_value(value) < 1e9)
        return d->lease_ms = (int64_t)(json_number_value(value) * 1000), TT_OK;
    if (json_is_string(value) && tt_parse_duration_ms(tt_str_of(json_string_value(value)), &d->lease_ms, err) == TT_OK && d->lease_ms > 0)
        return TT_OK;
    return tt_fail(err, TT_INVALID, "metadata: lease must be a duration like \"10m\" or a number of seconds above 0");
}

static tt_rc read_attempts(tt_definition *d, json_t *value, tt_err *err)
{
    json_int_t n = json_integer_value(value);
    if (n < 1 || n > TT_ITEM_MAX_ATTEMPTS)
        return tt_fail(err, TT_INVALID, "metadata: max_attempts must be a whole number from 1 to %d", TT_ITEM_MAX_ATTEMPTS);
    d->max_attempts = (unsigned)n;
    return TT_OK;
}

static tt_rc read_order(tt_definition *d, json_t *value, tt_err *err)
{
    tt_str word = {json_string_value(value), json_string_length(value)};
    d->ordered = tt_str_is(word, "input");
    return d->ordered || tt_str_is(word, "arrival") ? TT_OK : tt_fail(err, TT_INVALID, "metadata: order must be \"input\" or \"arrival\"");
}

static const struct {
    const char *name;
    tt_rc (*read)(tt_definition *d, json_t *value, tt_err *err); /* NULL: read where it is used */
} members[] = {
    {"input_file_path", NULL},   {"output_file_path", read_output}, {"chunk_size", NULL}, {"overwrite", NULL},
    {"lease", read_lease},       {"max_attempts", read_attempts},   {"types", NULL},      {"na", NULL},
    {"json", NULL},              {"separator", NULL},               {"retry_errors", NULL},
    {"order", read_order},
};

tt_rc tt_definition_read_metadata(tt_definition *d, json_t *metadata, tt_buf *unknown, tt_err *err)
{
    const char *name;
    json_t *value;
    json_object_foreach(metadata, name, value) {
        size_t row = 0;
        while (row < TT_COUNT(members) && strcmp(members[row].name, name) != 0)
            row++;
        if (row == TT_COUNT(members) && tt_rules_knows(name))
            TT_TRY(tt_rules_read(&d->rules, name, value, err));
        else if (row == TT_COUNT(members))
            tt_buf_printf(unknown, "%s%s", unknown->len ? ", " : "", name);
        else if (members[row].read && !json_is_null(value))
            TT_TRY(members[row].read(d, value, err));
    }
    char *text = json_dumps(metadata, JSON_COMPACT);
    if (!text)
        return tt_fail(err, TT_INVALID, "the metadata cannot be kept as JSON");
    d->metadata = text;
    return TT_OK;
}

static tt_rc add_pattern(const tt_roots *roots, json_t *value, tt_paths *ret, tt_err *err)
{
    const char *text = json_string_value(value);
    if (!text)
        return tt_fail(err, TT_INVALID, "metadata: input_file_path must be a path, a pattern, or a list of them");
    tt_paths found = {0};
    TT_TRY(tt_roots_glob(roots, (tt_str){text, json_string_length(value)}, &found, err));
    for (size_t i = 0; i < found.len; i++)
        if (!tt_vec_push(ret, found.ptr[i]))
            free(found.ptr[i]);
    tt_vec_deinit(&found);
    return TT_OK;
}

tt_rc tt_definition_find_inputs(const tt_definition *d, const tt_roots *roots, tt_paths *ret, tt_err *err)
{
    json_t *metadata = json_loads(d->metadata, JSON_ALLOW_NUL, NULL);
    json_t *input = json_object_get(metadata, "input_file_path");
    tt_rc rc = TT_OK;
    if (d->spool) {
        json_decref(metadata);
        return tt_vec_push(ret, tt_dup_cstr(d->spool)) ? TT_OK : tt_fail(err, TT_NOMEM, "out of memory for an input");
    }
    if (!input)
        rc = tt_fail(err, TT_INVALID, "metadata: input_file_path is missing: it names the file that the job reads");
    else if (json_is_array(input))
        for (size_t i = 0; i < json_array_size(input) && rc == TT_OK; i++)
            rc = add_pattern(roots, json_array_get(input, i), ret, err);
    else
        rc = add_pattern(roots, input, ret, err);
    if (rc == TT_OK && ret->len == 0)
        rc = tt_fail(err, TT_INVALID, "metadata: input_file_path is an empty list");
    json_decref(metadata);
    return rc;
}

static const char *const path_members[] = {"input_file_path", "output_file_path"};

static bool same_text(const char *a, const char *b) { return strcmp(a ? a : "", b ? b : "") == 0; }

static bool same_metadata(const char *a, const char *b, bool with_paths)
{
    json_t *left = json_loads(a, JSON_ALLOW_NUL, NULL), *right = json_loads(b, JSON_ALLOW_NUL, NULL);
    for (size_t i = 0; !with_paths && i < TT_COUNT(path_members); i++) {
        json_object_del(left, path_members[i]);
        json_object_del(right, path_members[i]);
    }
    bool same = left && right && json_equal(left, right);
    json_decref(left);
    json_decref(right);
    return same;
}

bool tt_definition_same(const tt_definition *a, const tt_definition *b)
{
    return a->mode == b->mode && same_text(a->reader_name, b->reader_name) && same_text(a->writer_name, b->writer_name) &&
           same_metadata(a->metadata, b->metadata, true);
}

static bool open_or_same(const char *a, const char *b) { return !a || !*a || !b || !*b || strcmp(a, b) == 0; }

bool tt_definition_same_but_paths(const tt_definition *a, const tt_definition *b)
{
    return a->mode == b->mode && open_or_same(a->reader_name, b->reader_name) && open_or_same(a->writer_name, b->writer_name) &&
           same_metadata(a->metadata, b->metadata, false);
}

/* ---- the ledger's form ---- */

static json_t *print_to_json(const tt_input *in)
{
    return json_pack("{s:s, s:I, s:I, s:s, s:s}", "path", in->path, "size", (json_int_t)in->print.size_bytes,
                     "mtime_ns", (json_int_t)in->print.mtime_ns, "head", "", "tail", "");
}

static void set_hash(json_t *object, const char *name, uint64_t hash)
{
    char hex[17];
    snprintf(hex, sizeof hex, "%016llx", (unsigned long long)hash);
    json_object_set_new(object, name, json_string(hex));
}

static uint64_t get_hash(const json_t *object, const char *name)
{
    const char *hex = json_string_value(json_object_get(object, name));
    return hex ? strtoull(hex, NULL, 16) : 0;
}

void tt_definition_write(const tt_definition *d, tt_buf *out)
{
    json_t *inputs = json_array();
    for (size_t i = 0; i < d->inputs.len; i++) {
        json_t *in = print_to_json(&d->inputs.ptr[i]);
        set_hash(in, "head", d->inputs.ptr[i].print.head_hash);
        set_hash(in, "tail", d->inputs.ptr[i].print.tail_hash);
        set_hash(in, "whole", d->inputs.ptr[i].print.whole_hash);
        json_array_append_new(inputs, in);
    }
    json_t *root = json_pack("{s:i, s:s, s:s, s:s, s:s, s:o, s:s?, s:s?, s:b, s:s?, s:s?, s:s, s:I, s:i, s:I, s:I}", "schema", 1,
                             "metadata", d->metadata, "reader", d->reader_name, "writer", d->writer_name,
                             "mode", mode_names[d->mode], "inputs", inputs, "output", d->output, "output_real", d->output_real,
                             "ordered", d->ordered, "journal", d->journal, "spool", d->spool,
                             "token_hash", d->token_hash, "lease_ms", (json_int_t)d->lease_ms,
                             "max_attempts", (int)d->max_attempts, "created_ms", (json_int_t)d->created_ms,
                             "owner", (json_int_t)d->owner);
    char *text = root ? json_dumps(root, JSON_COMPACT) : NULL;
    tt_assert(text); /* every text in it came through jansson or is ours */
    tt_buf_cstr_put(out, text);
    free(text);
    json_decref(root);
}

static tt_rc parse_inputs(json_t *inputs, tt_definition *d, tt_err *err)
{
    for (size_t i = 0; i < json_array_size(inputs); i++) {
        json_t *in = json_array_get(inputs, i);
        const char *path = json_string_value(json_object_get(in, "path"));
        if (!path)
            return tt_fail(err, TT_CORRUPT, "the record of job `%s` has an input without a path", d->name);
        tt_fingerprint print = {
            .size_bytes = (uint64_t)json_integer_value(json_object_get(in, "size")),
            .mtime_ns = json_integer_value(json_object_get(in, "mtime_ns")),
            .head_hash = get_hash(in, "head"),
            .tail_hash = get_hash(in, "tail"),
            .whole_hash = get_hash(in, "whole"), /* 0 in older records, which have none */
        };
        if (!tt_vec_push(&d->inputs, ((tt_input){.path = tt_dup_cstr(path), .print = print})))
            return tt_fail(err, TT_NOMEM, "out of memory for the inputs of job `%s`", d->name);
    }
    return TT_OK;
}

tt_rc tt_definition_parse(tt_str name, tt_str text, tt_definition *ret, tt_err *err)
{
    tt_definition d = {.name = tt_str_dup(name)};
    json_t *root = json_loadb(text.ptr, text.len, JSON_ALLOW_NUL, NULL), *inputs = NULL;
    const char *metadata, *reader, *writer, *mode, *hash;
    json_t *output = NULL, *output_real = NULL;
    json_int_t lease_ms, created_ms, owner;
    int schema, max_attempts;
    tt_rc rc = TT_OK;
    if (!root || json_unpack(root, "{s:i, s:s, s:s, s:s, s:s, s:o, s?o, s?o, s:s, s:I, s:i, s:I, s:I}", "schema", &schema,
                             "metadata", &metadata, "reader", &reader, "writer", &writer, "mode", &mode, "inputs", &inputs,
                             "output", &output, "output_real", &output_real, "token_hash", &hash, "lease_ms", &lease_ms,
                             "max_attempts", &max_attempts, "created_ms", &created_ms, "owner", &owner) != 0)
        rc = tt_fail(err, TT_CORRUPT, "the record of job `%.*s` cannot be read", TT_STR_ARG(name));
    else {
        d.metadata = tt_dup_cstr(metadata);
        d.reader_name = tt_dup_cstr(reader);
        d.writer_name = tt_dup_cstr(writer);
        d.output = tt_dup_cstr(json_string_value(output));
        d.output_real = tt_dup_cstr(json_string_value(output_real));
        d.ordered = json_is_true(json_object_get(root, "ordered"));
        d.spool = tt_dup_cstr(json_string_value(json_object_get(root, "spool")));
        d.journal = tt_dup_cstr(json_string_value(json_object_get(root, "journal")));
        snprintf(d.token_hash, sizeof d.token_hash, "%s", hash);
        d.lease_ms = lease_ms;
        d.max_attempts = (unsigned)max_attempts;
        d.created_ms = created_ms;
        d.owner = (uint64_t)owner;
        rc = tt_job_mode_parse(tt_str_of(mode), &d.mode, err);
    }
    if (rc == TT_OK)
        rc = parse_inputs(inputs, &d, err);
    if (rc == TT_OK)
        rc = tt_rules_parse(&d.rules, d.metadata, err);
    json_decref(root);
    if (rc == TT_OK)
        *ret = d;
    else
        tt_definition_deinit(&d);
    return rc;
}
