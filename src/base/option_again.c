/* Settings once more, while a process runs: the same flags and environment, and the file as it is now. */
#include "base/option_impl.h"

tt_rc tt_options_load_again(const tt_options *o, tt_options **ret, tt_err *err)
{
    return tt_options_load(o->flags.ptr, o->flags.len, o->config_path, ret, err);
}

static bool is_same_list(const tt_option_value *a, const tt_option_value *b)
{
    bool same = a->list.len == b->list.len;
    for (size_t i = 0; i < a->list.len && same; i++)
        same = tt_str_eq(a->list.ptr[i], b->list.ptr[i]);
    return same;
}

bool tt_option_is_same(const tt_options *a, const tt_options *b, const tt_option *row)
{
    const tt_option_value *x = &a->values[tt_option_index(row)], *y = &b->values[tt_option_index(row)];
    if (!x->text || !y->text)
        return x->text == y->text;
    if (row->type == TT_OPT_LIST)
        return is_same_list(x, y);
    return x->number == y->number && (row->type == TT_OPT_INT || row->type == TT_OPT_DURATION || row->type == TT_OPT_SIZE ||
                                      row->type == TT_OPT_BOOL || strcmp(x->text, y->text) == 0);
}

static void copy_value(tt_options *o, tt_option_value *to, const tt_option_value *from)
{
    to->text = from->text ? tt_option_keep(o, tt_str_of(from->text)) : NULL;
    to->origin = tt_option_keep(o, tt_str_of(from->origin));
    to->factor = from->factor;
    to->number = from->number;
    to->list_separator = '\0'; /* the list is here already */
    to->list.len = 0;
    for (size_t i = 0; i < from->list.len; i++)
        if (!tt_vec_push(&to->list, ((tt_str){tt_option_keep(o, from->list.ptr[i]), from->list.ptr[i].len})))
            tt_option_must(NULL);
}

void tt_options_keep_fixed(tt_options *o, const tt_options *old)
{
    size_t count;
    const tt_option *rows = tt_option_rows(&count);
    for (size_t i = 0; i < count; i++)
        if (!rows[i].reload)
            copy_value(o, &o->values[i], &old->values[i]);
}

void tt_options_swap(tt_options *a, tt_options *b)
{
    tt_options kept = *a;
    *a = *b;
    *b = kept;
}
