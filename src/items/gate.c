#include "items/gate.h"

#include "items/job.h"

static double capacity(const tt_rules *r) { return r->rate_per_s > 1 ? r->rate_per_s : 1; }

static void refill(tt_gate *g, const tt_rules *r, int64_t now_ms)
{
    double most = capacity(r);
    g->tokens = g->filled_ms ? g->tokens + (double)(now_ms - g->filled_ms) * r->rate_per_s / 1000 : most;
    if (g->tokens > most)
        g->tokens = most;
    g->filled_ms = now_ms;
}

/* A client that waits gets a tenth of a second's worth at once. */
static uint64_t worth_waiting_for(const tt_rules *r, uint64_t want)
{
    uint64_t tenth = (uint64_t)(r->rate_per_s / 10);
    tenth = tenth ? tenth : 1;
    return want < tenth ? want : tenth;
}

static uint64_t room_of_bucket(tt_gate *g, const tt_rules *r, uint64_t want, bool patient, int64_t now_ms, int64_t *ret_due_ms)
{
    refill(g, r, now_ms);
    uint64_t have = (uint64_t)(g->tokens + 1e-6), need = patient ? worth_waiting_for(r, want) : 1;
    if (have >= need)
        return have < want ? have : want;
    *ret_due_ms = now_ms + 1 + (int64_t)(((double)need - g->tokens) * 1000 / r->rate_per_s);
    return 0;
}

uint64_t tt_gate_room(tt_job *j, uint64_t want, bool patient, int64_t now_ms, int64_t *ret_due_ms)
{
    const tt_rules *r = &j->def.rules;
    uint64_t in_flight = j->blocks.counts.in_flight;
    *ret_due_ms = 0;
    if (j->gate.paused)
        return 0;
    if (r->max_in_flight) {
        uint64_t left = r->max_in_flight > in_flight ? r->max_in_flight - in_flight : 0;
        want = want < left ? want : left;
    }
    return r->rate_per_s > 0 && want ? room_of_bucket(&j->gate, r, want, patient, now_ms, ret_due_ms) : want;
}

void tt_gate_pass(tt_job *j, uint64_t count) { j->gate.tokens -= (double)count; }

bool tt_gate_follows_commits(const tt_job *j) { return j->def.rules.max_in_flight > 0 || j->blocks.answers || j->lanes; }
