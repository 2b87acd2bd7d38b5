#include "items/notes.h"

#include <inttypes.h>

#include "base/clock.h"
#include "items/job.h"
#include "ledger/records.h"

const char *tt_errors_kind(uint64_t owner, char out[32])
{
    snprintf(out, 32, "errors/%" PRIu64, owner);
    return out;
}

void tt_job_note(tt_notes *notes, uint64_t id, tt_item_state state, unsigned attempts, tt_str reason, tt_str worker)
{
    tt_note note = {.id = id, .state = state, .attempts = attempts, .time_ms = tt_wall_ms()};
    note.reason = tt_str_dup(tt_str_slice(reason, 0, 4096));
    note.worker = tt_str_dup(tt_str_slice(worker, 0, 256));
    if (!tt_vec_push(notes, note)) { /* the state itself is kept; only its line in the list is lost */
        free(note.reason);
        free(note.worker);
    }
}

void tt_notes_clear(tt_notes *notes)
{
    for (size_t i = 0; i < notes->len; i++) {
        free(notes->ptr[i].reason);
        free(notes->ptr[i].worker);
    }
    tt_vec_clear(notes);
}

void tt_notes_move(tt_notes *to, tt_notes *from)
{
    for (size_t i = 0; i < from->len; i++)
        if (!tt_vec_push(to, from->ptr[i])) {
            free(from->ptr[i].reason);
            free(from->ptr[i].worker);
        }
    tt_vec_clear(from);
}

tt_rc tt_notes_store(tt_job *j, tt_txn *txn, const tt_notes *notes, tt_err *err)
{
    char kind[32], name[24];
    TT_BUF_AUTO tt_buf text = {0};
    tt_str kind_view = tt_str_of(tt_errors_kind(j->def.owner, kind));
    for (size_t i = 0; i < notes->len; i++) {
        const tt_note *n = &notes->ptr[i];
        snprintf(name, sizeof name, "%020" PRIu64, n->id);
        if (n->state == TT_ITEM_PENDING) {
            TT_TRY(tt_record_delete(txn, kind_view, tt_str_of(name), err));
            continue;
        }
        char when[TT_TIME_TEXT];
        tt_buf_clear(&text);
        tt_buf_printf(&text, "{\"id\":%" PRIu64 ",\"state\":\"%s\",\"attempts\":%u,\"time\":\"%s\",\"reason\":", n->id,
                      tt_item_state_name(n->state), n->attempts, tt_time_text(n->time_ms, when));
        tt_buf_json_str(&text, tt_str_of(n->reason));
        tt_buf_cstr_put(&text, ",\"worker\":");
        tt_buf_json_str(&text, tt_str_of(n->worker));
        tt_buf_char(&text, '}');
        TT_TRY(tt_buf_check(&text, err));
        TT_TRY(tt_record_put(txn, kind_view, tt_str_of(name), TT_ANY_VERSION, tt_buf_view(&text), NULL, err));
    }
    return TT_OK;
}
