/* Any bytes as a journal: what is given back lies where it says, in order, and the end or a damage is found. */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "items/journal.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char dir[] = "/tmp/fuzz-journal-XXXXXX";
static char path[sizeof dir + 4];
static tt_roots *roots;

static void set_up(void)
{
    tt_assert(mkdtemp(dir));
    snprintf(path, sizeof path, "%s/j", dir);
    tt_str root = tt_str_of(dir);
    tt_assert(tt_roots_new(&root, 1, &roots, NULL) == TT_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tt_journal_reader *r = NULL;
    uint64_t id, before = 0;
    tt_str value;
    bool end = false;
    if (!roots)
        set_up();
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    tt_assert(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    close(fd);
    tt_assert(tt_journal_open(roots, tt_str_of(path), 0, size, 1 << 20, &r, NULL) == TT_OK);
    while (tt_journal_next(r, &id, &value, &end, NULL) == TT_OK && !end) {
        uint64_t at = tt_journal_at(r);
        tt_assert(at > before && at <= size && value.len + 1 < at - before);
        tt_assert(value.len == 0 || memcmp(data + at - 1 - value.len, value.ptr, value.len) == 0);
        before = at;
    }
    tt_assert(!end || before == size);
    tt_journal_close(r);
    return 0;
}
