/* `tutti doctor`: the data directory, its disk and the ledger in it. */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/clock.h"
#include "cli/doctor.h"
#include "ledger/examine.h"

void tt_doctor_dir(tt_doctor *d)
{
    struct stat st;
    if (!d->dir)
        return tt_doctor_report(d, TT_SKIPPED, NULL, "the configuration is wrong");
    if (stat(d->dir, &st) != 0) {
        bool absent = errno == ENOENT;
        return tt_doctor_report(d, absent ? TT_SKIPPED : TT_BAD, absent ? "`tutti up` makes it" : "check the path and who may enter it", "%s: %s", d->dir, absent ? "not there yet" : "cannot be entered");
    }
    d->dir_exists = S_ISDIR(st.st_mode);
    if (!d->dir_exists)
        tt_doctor_report(d, TT_BAD, "move that file away, or name another directory with --data", "%s is no directory", d->dir);
    else if (access(d->dir, R_OK | W_OK | X_OK) != 0)
        tt_doctor_report(d, TT_BAD, "run as the user that owns it", "%s belongs to user %u and cannot be written", d->dir, st.st_uid);
    else if (st.st_mode & 022)
        tt_doctor_report(d, TT_WARN, "others may change the ledger: chmod go-w", "%s (mode %03o)", d->dir, st.st_mode & 0777);
    else
        tt_doctor_report(d, TT_GOOD, NULL, "%s (mode %03o)", d->dir, st.st_mode & 0777);
}

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

/* The median of some small synced writes, in microseconds; -1 with errno. */
static int64_t sync_us(const char *path)
{
    enum { WRITES = 9 };
    static const char block[4096];
    int64_t took[WRITES];
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return -1;
    bool ok = true;
    for (size_t i = 0; i < WRITES && ok; i++) {
        int64_t start = tt_mono_us();
        ok = pwrite(fd, block, sizeof block, (off_t)(i * sizeof block)) == sizeof block && fdatasync(fd) == 0;
        took[i] = tt_mono_us() - start;
    }
    int why = errno;
    close(fd);
    unlink(path);
    errno = why;
    qsort(took, WRITES, sizeof took[0], by_size);
    return ok ? took[WRITES / 2] : -1;
}

void tt_doctor_disk(tt_doctor *d)
{
    enum { SLOW_US = 20000 };
    char path[4200], why[96];
    if (!d->dir_exists)
        return tt_doctor_report(d, TT_SKIPPED, NULL, "no data directory");
    snprintf(path, sizeof path, "%s/.doctor-%d", d->dir, (int)getpid());
    int64_t us = sync_us(path);
    if (us < 0)
        return tt_doctor_report(d, TT_BAD, "make room, or mend the disk", "a write was refused: %s", strerror_r(errno, why, sizeof why));
    tt_doctor_report(d, us > SLOW_US ? TT_WARN : TT_GOOD, us > SLOW_US ? "every answer waits for it: a faster disk helps, larger batches too" : NULL, "a synced write takes %.2f ms", (double)us / 1000);
}

/* The process that holds a lock on the file, 0: nobody. */
static int lock_holder(const char *path)
{
    struct stat st;
    char wanted[64], line[256];
    int holder = 0;
    FILE *locks = stat(path, &st) == 0 ? fopen("/proc/locks", "re") : NULL;
    if (!locks)
        return 0;
    snprintf(wanted, sizeof wanted, "%02x:%02x:%llu ", major(st.st_dev), minor(st.st_dev), (unsigned long long)st.st_ino);
    while (!holder && fgets(line, sizeof line, locks)) {
        int pid;
        char *at = strstr(line, wanted);
        if (at && at[-1] == ' ' && sscanf(line, "%*s %*s %*s %*s %d", &pid) == 1)
            holder = pid;
    }
    fclose(locks);
    return holder;
}

void tt_doctor_lock(tt_doctor *d)
{
    char path[4200];
    if (!d->dir_exists)
        return tt_doctor_report(d, TT_SKIPPED, NULL, "no data directory");
    snprintf(path, sizeof path, "%s/lock", d->dir);
    int pid = lock_holder(path);
    if (pid > 0)
        tt_doctor_report(d, TT_GOOD, NULL, "held by process %d", pid);
    else
        tt_doctor_report(d, TT_SKIPPED, NULL, "%s", pid ? "held by a process elsewhere" : "free: no tutti runs on this directory");
}

void tt_doctor_report_space(tt_doctor *d, const char *what, const char *path)
{
    struct statvfs fs;
    const uint64_t mib = 1 << 20;
    if (statvfs(path, &fs) != 0)
        return tt_doctor_report(d, TT_WARN, "does it still exist, and may you enter it?", "%s: %s cannot be looked at", what, path);
    uint64_t free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    bool no_files = fs.f_files > 0 && fs.f_favail < 100;
    tt_verdict v = free_bytes < 64 * mib || no_files ? TT_BAD : free_bytes < 1024 * mib ? TT_WARN : TT_GOOD;
    tt_doctor_report(d, v, v == TT_GOOD ? NULL : no_files ? "delete files: the file system can hold no more of them" : "make room before the disk is full: results are refused then, and none is lost",
                     "%s: %.1f GiB free in %s", what, (double)free_bytes / (1024.0 * 1024 * 1024), path);
}

void tt_doctor_space(tt_doctor *d)
{
    if (!d->dir_exists)
        return tt_doctor_report(d, TT_SKIPPED, NULL, "no data directory");
    tt_doctor_report_space(d, "data", d->dir);
}

void tt_doctor_ledger(tt_doctor *d)
{
    enum { LIMIT_MS = 5000 };
    char path[4200];
    tt_examination found;
    tt_err err = {0};
    snprintf(path, sizeof path, "%s/ledger.db", d->dir ? d->dir : "");
    if (!d->dir_exists || access(path, F_OK) != 0)
        return tt_doctor_report(d, TT_SKIPPED, NULL, "not there yet");
    tt_rc rc = tt_ledger_examine(path, LIMIT_MS, &found, &err);
    if (rc != TT_OK)
        return tt_doctor_report(d, TT_BAD, rc == TT_CORRUPT ? "stop tutti, and restore ledger.db from a backup (docs/operations.md, Backup)" : NULL, "%s", err.text);
    if (found.problem[0])
        return tt_doctor_report(d, TT_BAD, "stop tutti, and restore ledger.db from a backup (docs/operations.md, Backup)", "%s: unsound: %s", path, found.problem);
    tt_doctor_report(d, TT_GOOD, NULL, "schema version %lld, %s", (long long)found.schema, found.complete ? "sound" : "nothing unsound found in the 5 s that were given to it");
}
