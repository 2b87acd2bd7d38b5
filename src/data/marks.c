#include "data/marks.h"

enum { MAX_KEPT = 4096 }; /* in a job's state; line numbers of later records are unknown after a restart */

void tt_marks_init(tt_marks *m)
{
    *m = (tt_marks){0};
    pthread_mutex_init(&m->lock, NULL);
}

void tt_marks_deinit(tt_marks *m)
{
    tt_vec_deinit(&m->list);
    pthread_mutex_destroy(&m->lock);
}

/* The last mark at or before id, or NULL. */
static const tt_mark *find(const tt_marks *m, uint64_t id)
{
    size_t low = 0, high = m->list.len;
    while (low < high) {
        size_t middle = low + (high - low) / 2;
        if (m->list.ptr[middle].first_id <= id)
            low = middle + 1;
        else
            high = middle;
    }
    return low ? &m->list.ptr[low - 1] : NULL;
}

static uint64_t line_of(const tt_marks *m, uint32_t file_no, uint64_t id)
{
    const tt_mark *mark = find(m, id);
    return mark && mark->file_no == file_no && mark->line ? mark->line + (id - mark->first_id) : 0;
}

void tt_marks_note(tt_marks *m, uint32_t file_no, uint64_t first_id, uint64_t line)
{
    pthread_mutex_lock(&m->lock);
    const tt_mark *last = m->list.len ? &m->list.ptr[m->list.len - 1] : NULL;
    if ((!last || (last->first_id < first_id && last->file_no <= file_no)) && line_of(m, file_no, first_id) != line &&
        !tt_vec_push(&m->list, (tt_mark){first_id, line, file_no}))
        tt_vec_clear(&m->list); /* out of memory: no line numbers rather than wrong ones */
    pthread_mutex_unlock(&m->lock);
}

uint64_t tt_marks_line(tt_marks *m, uint32_t file_no, uint64_t id)
{
    pthread_mutex_lock(&m->lock);
    uint64_t line = line_of(m, file_no, id);
    pthread_mutex_unlock(&m->lock);
    return line;
}

json_t *tt_marks_json(tt_marks *m)
{
    json_t *list = json_array();
    pthread_mutex_lock(&m->lock);
    for (size_t i = 0; i < m->list.len && i < MAX_KEPT; i++) {
        const tt_mark *mark = &m->list.ptr[i];
        json_array_append_new(list, json_pack("[I,I,I]", (json_int_t)mark->file_no, (json_int_t)mark->first_id, (json_int_t)mark->line));
    }
    if (m->list.len > MAX_KEPT) /* from here on nothing is known */
        json_array_append_new(list, json_pack("[I,I,I]", (json_int_t)m->list.ptr[MAX_KEPT].file_no,
                                              (json_int_t)m->list.ptr[MAX_KEPT].first_id, (json_int_t)0));
    pthread_mutex_unlock(&m->lock);
    return list;
}

void tt_marks_load(tt_marks *m, const json_t *list)
{
    size_t i;
    json_t *row;
    json_array_foreach(list, i, row) {
        json_int_t file_no = 0, first_id = 0, line = 0;
        if (json_unpack(row, "[I,I,I]", &file_no, &first_id, &line) != 0 || file_no < 0 || file_no > UINT32_MAX || first_id < 0 || line < 0)
            return;
        tt_marks_note(m, (uint32_t)file_no, (uint64_t)first_id, (uint64_t)line);
    }
}
