#include "cli/progress.h"

#include "base/clock.h"
#include "cli/cli.h"
#include "cli/output.h"

enum { EVERY_MS = 10000 };

const char *tt_grouped(int64_t value, char out[32])
{
    char digits[24];
    int n = snprintf(digits, sizeof digits, "%lld", (long long)value);
    size_t at = 0;
    for (int i = 0; i < n; i++) {
        out[at++] = digits[i];
        int left = n - 1 - i;
        if (left && left % 3 == 0 && digits[i] != '-')
            out[at++] = ',';
    }
    out[at] = '\0';
    return out;
}

static int64_t failed_of(const json_t *job) { return tt_json_member_int(job, "errors") + tt_json_member_int(job, "dead"); }
int64_t tt_job_done(const json_t *job) { return tt_json_member_int(job, "received") + failed_of(job); }

static void put_rate(const json_t *job, bool complete, tt_buf *out)
{
    char text[TT_TIME_TEXT], grouped[32];
    double rate = tt_json_member_num(job, "rate");
    const json_t *eta = json_object_get(job, "eta_s");
    if (complete)
        return;
    tt_buf_printf(out, "  %s/s", tt_grouped((int64_t)(rate + 0.5), grouped));
    if (json_is_number(eta))
        tt_buf_printf(out, "  ETA %s", tt_duration_text((int64_t)(json_number_value(eta) * 1000), text));
}

void tt_job_line(const json_t *job, tt_buf *out)
{
    char done_text[32], total_text[32];
    const json_t *total = json_object_get(job, "total");
    int64_t done = tt_job_done(job), failed = failed_of(job);
    bool complete = tt_str_is(tt_json_member_str(job, "status"), "COMPLETE");
    size_t workers = json_array_size(json_object_get(job, "workers"));
    tt_buf_printf(out, "%.*s: %s", TT_STR_ARG(tt_json_member_str(job, "name")), tt_grouped(done, done_text));
    if (json_is_integer(total)) {
        int64_t all = json_integer_value(total);
        tt_buf_printf(out, "/%s (%d %%)", tt_grouped(all, total_text), all > 0 ? (int)(100.0 * (double)done / (double)all) : 100);
    }
    put_rate(job, complete, out);
    if (failed)
        tt_buf_printf(out, "  %s error%s", tt_grouped(failed, total_text), TT_S(failed));
    if (!complete)
        tt_buf_printf(out, "  %zu worker%s", workers, TT_S(workers));
}

static void draw(tt_progress *p, tt_str line)
{
    unsigned columns = tt_term_columns(2);
    fprintf(stderr, "\r%.*s\x1b[K", TT_STR_ARG(tt_str_slice(line, 0, columns - 1)));
    fflush(stderr);
    p->open = true;
}

void tt_progress_show(tt_progress *p, const json_t *job, bool last)
{
    TT_BUF_AUTO tt_buf line = {0};
    int64_t now = tt_mono_ms();
    if (p->cli->quiet || p->cli->json)
        return;
    if (!p->cli->stderr_tty && !last && p->shown_ms && now - p->shown_ms < EVERY_MS)
        return;
    tt_job_line(job, &line);
    for (size_t i = 0; i < line.len; i++)
        if ((unsigned char)line.ptr[i] < ' ' || line.ptr[i] == 0x7F)
            line.ptr[i] = ' ';
    if (p->cli->stderr_tty)
        draw(p, tt_buf_view(&line));
    else
        fprintf(stderr, "%s\n", tt_buf_cstr(&line));
    p->shown_ms = now;
}

void tt_progress_end(tt_progress *p)
{
    if (p->open)
        fputc('\n', stderr);
    p->open = false;
}

void tt_cli_count(tt_cli *cli, const char *what, uint64_t done, uint64_t total)
{
    uint64_t shown = 1 + (what ? done : total ? done * 100 / total : 0);
    if (!cli->stderr_tty || cli->quiet || total < 2)
        return;
    if (done >= total)
        tt_cli_count_end(cli);
    else if (shown != cli->counted && what)
        fprintf(stderr, "\r%llu of %llu %s", (unsigned long long)done, (unsigned long long)total, what);
    else if (shown != cli->counted)
        fprintf(stderr, "\r%llu %%", (unsigned long long)(shown - 1));
    cli->counted = done >= total ? 0 : shown;
}

void tt_cli_count_end(tt_cli *cli)
{
    if (cli->counted)
        fputs("\r\033[K", stderr);
    cli->counted = 0;
}
