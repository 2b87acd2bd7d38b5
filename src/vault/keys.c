#include "vault/keys.h"

#include <errno.h>
#include <fcntl.h>
#include <libgen.h>
#include <pthread.h>
#include <sodium.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/reference.h"
#include "base/sys.h"
#include "io/fd.h"

enum { FILE_LIMIT_BYTES = 4096, LINE_BYTES = 2 * TT_KEY_BYTES + 1 };

struct tt_keys {
    char *path;
    bool set;             /* from the setting: no file */
    pthread_mutex_t lock; /* guards what follows */
    tt_key ptr[TT_KEYS_MAX];
    size_t len;
    struct timespec changed; /* of the file that was read */
    ino_t inode;
};

/* ---- text ---- */

static void name_key(tt_key *key) { crypto_generichash(key->id, sizeof key->id, key->bytes, sizeof key->bytes, (const unsigned char *)"tutti key id", 12); }

static bool is_blank(char c) { return c == ' ' || c == ',' || (c >= '\t' && c <= '\r'); }

static tt_rc parse(tt_str text, const char *where, tt_key keys[TT_KEYS_MAX], size_t *ret_len, tt_err *err)
{
    *ret_len = 0;
    for (size_t i = 0; i < text.len;) {
        size_t from = i;
        while (i < text.len && !is_blank(text.ptr[i]))
            i++;
        size_t len = 0;
        if (i == from) {
            i++;
            continue;
        }
        if (*ret_len == TT_KEYS_MAX)
            return tt_fail(err, TT_INVALID, "%s has more than %d keys: take the oldest away", where, TT_KEYS_MAX);
        tt_key *key = &keys[*ret_len];
        if (i - from != 2 * TT_KEY_BYTES || sodium_hex2bin(key->bytes, sizeof key->bytes, text.ptr + from, i - from, NULL, &len, NULL) != 0 || len != TT_KEY_BYTES)
            return tt_fail(err, TT_INVALID, "%s is no vault key: a key is 64 hexadecimal digits", where);
        name_key(key);
        ++*ret_len;
    }
    return *ret_len ? TT_OK : tt_fail(err, TT_INVALID, "%s has no key: restore it from a backup", where);
}

/* ---- the file ---- */

static tt_rc check_file(const char *path, const struct stat *st, tt_err *err)
{
    if (!S_ISREG(st->st_mode))
        return tt_fail(err, TT_INVALID, "`%s` is not a file", path);
    if (st->st_mode & 077)
        return tt_fail(err, TT_DENIED, "`%s` can be read by others (mode %03o): chmod 600 it", path, st->st_mode & 0777);
    return TT_OK;
}

/* Locked. Reads the file when it is another than before. TT_NOT_FOUND: there is none. */
static tt_rc refresh(tt_keys *k, tt_err *err)
{
    TT_BUF_AUTO tt_buf text = {0};
    struct stat st;
    tt_key keys[TT_KEYS_MAX];
    size_t len;
    if (k->set)
        return TT_OK;
    if (stat(k->path, &st) != 0)
        return tt_fail_errno(err, errno, "cannot read the vault's key `%s`", k->path);
    if (k->len && st.st_ino == k->inode && st.st_mtim.tv_sec == k->changed.tv_sec && st.st_mtim.tv_nsec == k->changed.tv_nsec)
        return TT_OK;
    TT_TRY(tt_file_read_whole(k->path, FILE_LIMIT_BYTES, &text, &st, err));
    tt_rc rc = check_file(k->path, &st, err);
    if (rc == TT_OK)
        rc = parse(tt_buf_view(&text), k->path, keys, &len, err);
    if (rc == TT_OK) {
        memcpy(k->ptr, keys, sizeof k->ptr);
        k->len = len;
        k->changed = st.st_mtim;
        k->inode = st.st_ino;
    }
    sodium_memzero(keys, sizeof keys);
    sodium_memzero(text.ptr, text.len);
    return rc;
}

static tt_rc sync_dir(const char *path, tt_err *err)
{
    char copy[4096];
    snprintf(copy, sizeof copy, "%s", path);
    TT_FD_AUTO int fd = tt_sys.open(dirname(copy), O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    return fd >= 0 && tt_sys.fsync(fd) == 0 ? TT_OK : tt_fail_errno(err, errno, "cannot sync the directory of `%s`", path);
}

static tt_rc write_temporary(const char *path, const tt_key *keys, size_t len, tt_err *err)
{
    char text[TT_KEYS_MAX * LINE_BYTES + 1];
    for (size_t i = 0; i < len; i++) {
        sodium_bin2hex(text + i * LINE_BYTES, LINE_BYTES, keys[i].bytes, TT_KEY_BYTES);
        text[(i + 1) * LINE_BYTES - 1] = '\n';
    }
    (void)tt_sys.unlink(path); /* of an earlier try */
    TT_FD_AUTO int fd = tt_sys.open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    int errnum = fd < 0 ? errno : tt_fd_write_at(fd, 0, text, len * LINE_BYTES);
    if (errnum == 0 && tt_sys.fsync(fd) != 0)
        errnum = errno;
    sodium_memzero(text, sizeof text);
    return errnum == 0 ? TT_OK : tt_fail_errno(err, errnum, "cannot write the vault's key `%s`", path);
}

/* Locked. The keys become the file: in the place of the one that is there (replace), or TT_EXISTS when there is one. */
static tt_rc write_file(tt_keys *k, const tt_key *keys, size_t len, bool replace, tt_err *err)
{
    char temporary[4096];
    snprintf(temporary, sizeof temporary, "%s.%d", k->path, (int)getpid());
    TT_TRY(write_temporary(temporary, keys, len, err));
    int errnum = (replace ? tt_sys.rename(temporary, k->path) : link(temporary, k->path)) == 0 ? 0 : errno;
    if (errnum || !replace)
        (void)tt_sys.unlink(temporary);
    if (errnum == EEXIST)
        return TT_EXISTS;
    if (errnum)
        return tt_fail_errno(err, errnum, "cannot write the vault's key `%s`", k->path);
    return sync_dir(k->path, err);
}

static tt_rc make_file(tt_keys *k, tt_err *err)
{
    tt_key key;
    randombytes_buf(key.bytes, sizeof key.bytes);
    tt_rc rc = write_file(k, &key, 1, false, err);
    sodium_memzero(&key, sizeof key);
    return rc == TT_EXISTS ? TT_OK : rc; /* another process was faster */
}

/* ---- use ---- */

tt_rc tt_keys_new(const char *path, tt_str text, tt_keys **ret, tt_err *err)
{
    tt_assert(sodium_init() >= 0);
    tt_keys *k = TT_NEW(tt_keys);
    k->path = tt_dup_cstr(path);
    k->set = text.len > 0;
    pthread_mutex_init(&k->lock, NULL);
    tt_rc rc = k->set ? parse(text, "the setting vault.key", k->ptr, &k->len, err) : TT_OK;
    if (rc == TT_OK)
        *ret = k;
    else
        tt_keys_free(k);
    return rc;
}

void tt_keys_free(tt_keys *k)
{
    if (!k)
        return;
    pthread_mutex_destroy(&k->lock);
    free(k->path);
    sodium_memzero(k, sizeof *k);
    free(k);
}

tt_rc tt_keys_current(tt_keys *k, tt_key *ret, tt_err *err)
{
    pthread_mutex_lock(&k->lock);
    tt_rc rc = refresh(k, err);
    if (rc == TT_NOT_FOUND && (rc = make_file(k, err)) == TT_OK)
        rc = refresh(k, err);
    if (rc == TT_OK)
        *ret = k->ptr[0];
    pthread_mutex_unlock(&k->lock);
    return rc;
}

tt_rc tt_keys_find(tt_keys *k, const unsigned char id[TT_KEY_ID_BYTES], tt_key *ret, tt_err *err)
{
    pthread_mutex_lock(&k->lock);
    tt_rc rc = refresh(k, err);
    bool found = false;
    for (size_t i = 0; i < k->len && rc == TT_OK && !found; i++)
        if (memcmp(k->ptr[i].id, id, TT_KEY_ID_BYTES) == 0) {
            *ret = k->ptr[i];
            found = true;
        }
    pthread_mutex_unlock(&k->lock);
    if ((rc == TT_OK && !found) || rc == TT_NOT_FOUND)
        return tt_fail(err, TT_UNAVAILABLE, "the key %02x%02x%02x%02x is not in %s: put it back from a backup", id[0], id[1], id[2], id[3],
                       k->set ? "the setting vault.key" : k->path);
    return rc;
}

static tt_rc refuse_set(const tt_keys *k, tt_err *err)
{
    return k->set ? tt_fail(err, TT_CONFLICT, "the vault's key comes from the setting vault.key: put the new key before the old one there, and restart") : TT_OK;
}

tt_rc tt_keys_add(tt_keys *k, tt_err *err)
{
    tt_key keys[TT_KEYS_MAX] = {0};
    TT_TRY(refuse_set(k, err));
    TT_TRY(tt_keys_current(k, &keys[0], err));
    pthread_mutex_lock(&k->lock);
    tt_rc rc = k->len < TT_KEYS_MAX ? TT_OK : tt_fail(err, TT_CONFLICT, "there are %d keys: rotate with --forget-old first", TT_KEYS_MAX);
    if (rc == TT_OK) {
        randombytes_buf(keys[0].bytes, TT_KEY_BYTES);
        memcpy(keys + 1, k->ptr, k->len * sizeof keys[0]);
        rc = write_file(k, keys, k->len + 1, true, err);
    }
    if (rc == TT_OK)
        rc = refresh(k, err);
    pthread_mutex_unlock(&k->lock);
    sodium_memzero(keys, sizeof keys);
    return rc;
}

tt_rc tt_keys_forget_old(tt_keys *k, tt_err *err)
{
    TT_TRY(refuse_set(k, err));
    pthread_mutex_lock(&k->lock);
    tt_rc rc = refresh(k, err);
    if (rc == TT_OK && k->len > 1)
        rc = write_file(k, k->ptr, 1, true, err);
    if (rc == TT_OK)
        rc = refresh(k, err);
    pthread_mutex_unlock(&k->lock);
    return rc;
}

size_t tt_keys_count(tt_keys *k)
{
    pthread_mutex_lock(&k->lock);
    (void)!refresh(k, NULL);
    size_t len = k->len;
    pthread_mutex_unlock(&k->lock);
    return len;
}

bool tt_keys_are_set(const tt_keys *k) { return k->set; }
