/* Questions to the mirror from those who start jobs: they wait, for a while, until its thread has looked. */
#include "items/mirror_inner.h"

#include <errno.h>

enum { LOOK_MS = 2000, LOOK_ALL_MS = 5000 };

static tt_rc look_at_items(tt_mirror *m, tt_mirrored *mj, tt_job *j, tt_err *err)
{
    for (size_t at = 0;; at += m->moment->count) {
        if (!tt_mirror_take_rows(mj, j, at, SIZE_MAX, m->moment) || m->moment->count == 0)
            return TT_OK;
        TT_TRY(tt_mirror_sync(mj, j, m->moment, true, err));
    }
}

static tt_rc view_job(tt_mirror *m, tt_mirrored *mj, tt_job *j, bool all_items, tt_mirror_view *ret, tt_err *err)
{
    TT_TRY(tt_mirror_check_texts(mj, j, err));
    pthread_mutex_lock(&m->lock);
    ret->has_record = !mj->is_forgotten;
    pthread_mutex_unlock(&m->lock);
    ret->is_ours = true;
    if (all_items || !ret->has_record)
        TT_TRY(look_at_items(m, mj, j, err));
    ret->is_known = !m->is_refilling;
    return TT_OK;
}

static tt_rc view_stranger(tt_mirror *m, const char *name, tt_mirror_view *ret, tt_err *err)
{
    TT_REPLY_AUTO tt_reply *record = NULL;
    TT_REPLY_AUTO tt_reply *ours = NULL;
    TT_BUF_AUTO tt_buf set = {0};
    TT_TRY(tt_redis_call(m->redis, &record, err, TT_STR("EXISTS"), tt_mirror_name_key(m, "JOB:", name)));
    tt_buf_str(&set, tt_mirror_name_key(m, "tutti:jobs:", m->id));
    TT_TRY(tt_redis_call(m->redis, &ours, err, TT_STR("SISMEMBER"), tt_buf_view(&set), tt_str_of(name)));
    *ret = (tt_mirror_view){.is_known = true, .has_record = record->integer == 1, .is_ours = ours->integer == 1};
    return TT_OK;
}

static tt_rc view(tt_mirror *m, const tt_look *l, tt_mirror_view *ret, tt_err *err)
{
    TT_TRY(tt_mirror_lock(m, err));
    tt_mirrored *mj = tt_map_get(&m->by_name, tt_str_of(l->name));
    tt_job *j = mj ? tt_job_ref(mj->job) : NULL;
    pthread_mutex_unlock(&m->lock);
    if (!mj)
        return view_stranger(m, l->name, ret, err);
    tt_rc rc = view_job(m, mj, j, l->all_items, ret, err);
    tt_job_unref(j);
    return rc;
}

static tt_look *take_look(tt_mirror *m)
{
    pthread_mutex_lock(&m->lock);
    tt_look *l = m->looks;
    if (l) {
        m->looks = l->next;
        l->is_taken = true;
    }
    pthread_mutex_unlock(&m->lock);
    return l;
}

static void free_look(tt_look *l)
{
    free((char *)(uintptr_t)l->name);
    free(l);
}

/* Whoever asked may have gone by now; then it is ours to free. */
static void answer_look(tt_mirror *m, tt_look *l, const tt_mirror_view *view)
{
    pthread_mutex_lock(&m->lock);
    bool is_left = l->is_done;
    l->view = *view;
    l->is_done = true;
    pthread_cond_broadcast(&m->answered);
    pthread_mutex_unlock(&m->lock);
    if (is_left)
        free_look(l);
}

tt_rc tt_mirror_answer(tt_mirror *m, bool is_away, tt_err *err)
{
    for (tt_look *l; (l = take_look(m));) {
        tt_mirror_view v = {0};
        tt_rc rc = is_away ? TT_OK : view(m, l, &v, err);
        if (rc != TT_OK)
            v.is_known = false;
        answer_look(m, l, &v);
        TT_TRY(rc);
    }
    return TT_OK;
}

static bool is_away(tt_mirror *m)
{
    pthread_mutex_lock(&m->lock);
    bool away = !m->status.online || m->stopping;
    pthread_mutex_unlock(&m->lock);
    return away;
}

void tt_mirror_look(tt_mirror *m, tt_str name, bool all_items, tt_mirror_view *ret)
{
    struct timespec until;
    *ret = (tt_mirror_view){0};
    if (!m || is_away(m))
        return;
    tt_look *l = TT_NEW(tt_look);
    l->name = tt_str_dup(name);
    l->all_items = all_items;
    clock_gettime(CLOCK_MONOTONIC, &until);
    until.tv_sec += (all_items ? LOOK_ALL_MS : LOOK_MS) / 1000;
    pthread_mutex_lock(&m->lock);
    l->next = m->looks;
    m->looks = l;
    pthread_cond_signal(&m->wake);
    while (!l->is_done && pthread_cond_timedwait(&m->answered, &m->lock, &until) != ETIMEDOUT)
        continue;
    bool is_done = l->is_done, is_taken = l->is_taken;
    *ret = l->view;
    l->is_done = true; /* nobody waits for it */
    for (tt_look **at = &m->looks; *at; at = &(*at)->next)
        if (*at == l) {
            *at = l->next;
            break;
        }
    pthread_mutex_unlock(&m->lock);
    if (is_done || !is_taken)
        free_look(l);
}
