/* SFTP, over libssh. Nothing is taken from the configuration of ssh on this machine but its known hosts. */
#include <fcntl.h>
#include <libssh/libssh.h>
#include <libssh/sftp.h>
#include <sys/stat.h>

#include "base/mem.h"
#include "io/fd.h"
#include "io/library.h"
#include "io/remote_impl.h"

/* The functions of libssh that are used; one more needs a row. Types come from its own headers. */
#define SSH_FUNCTIONS(ROW)                                                                                                                     \
    ROW(ssh_new) ROW(ssh_free) ROW(ssh_options_set) ROW(ssh_connect) ROW(ssh_disconnect) ROW(ssh_get_error) ROW(ssh_session_is_known_server)   \
    ROW(ssh_get_server_publickey) ROW(ssh_get_publickey_hash) ROW(ssh_get_fingerprint_hash) ROW(ssh_clean_pubkey_hash)                         \
    ROW(ssh_string_free_char) ROW(ssh_key_free) ROW(ssh_pki_import_privkey_base64) ROW(ssh_userauth_publickey) ROW(ssh_userauth_password)      \
    ROW(ssh_userauth_kbdint) ROW(ssh_userauth_kbdint_getnprompts) ROW(ssh_userauth_kbdint_setanswer) ROW(sftp_new) ROW(sftp_init)              \
    ROW(sftp_free) ROW(sftp_get_error) ROW(sftp_opendir) ROW(sftp_readdir) ROW(sftp_dir_eof) ROW(sftp_closedir) ROW(sftp_stat)                 \
    ROW(sftp_attributes_free) ROW(sftp_open) ROW(sftp_close) ROW(sftp_seek64) ROW(sftp_read) ROW(sftp_write) ROW(sftp_rename)                  \
    ROW(sftp_unlink)

static struct {
#define ROW(name) __typeof__(name) *name;
    SSH_FUNCTIONS(ROW)
#undef ROW
} lib;
static bool lib_loaded;

enum { READ_BYTES = 128 * 1024, WRITE_BYTES = 32 * 1024 /* that every server takes */, MOST_QUESTIONS = 8 };

typedef struct {
    ssh_session ssh;
    sftp_session sftp;
    bool connected;
} session;

static tt_rc load(tt_err *err)
{
    static const char *const names[] = {"libssh.so.4", NULL};
    static const tt_library_symbol symbols[] = {
#define ROW(name) {#name, (void **)&lib.name},
        SSH_FUNCTIONS(ROW)
#undef ROW
    };
    return tt_library_load_once(names, symbols, TT_COUNT(symbols), "libssh-4", &lib_loaded, err);
}

/* ---- failures ---- */

static const struct {
    int status;
    tt_rc rc;
    const char *text;
} failures[] = {
    {SSH_FX_NO_SUCH_FILE, TT_NOT_FOUND, "there is no such file"}, {SSH_FX_NO_SUCH_PATH, TT_NOT_FOUND, "there is no such path"},
    {SSH_FX_PERMISSION_DENIED, TT_DENIED, "permission denied"},   {SSH_FX_FILE_ALREADY_EXISTS, TT_EXISTS, "it exists already"},
    {SSH_FX_WRITE_PROTECT, TT_DENIED, "it is write-protected"},   {SSH_FX_NO_CONNECTION, TT_UNAVAILABLE, "no connection"},
    {SSH_FX_CONNECTION_LOST, TT_UNAVAILABLE, "the connection is lost"},
};

static tt_rc failed(const tt_remote *r, const char *what, const char *path, tt_err *err)
{
    const session *s = r->own;
    int status = lib.sftp_get_error(s->sftp);
    for (size_t i = 0; i < TT_COUNT(failures); i++)
        if (failures[i].status == status)
            return tt_fail(err, failures[i].rc, "cannot %s `%.200s` of %s: %s", what, path, r->shown, failures[i].text);
    const char *said = lib.ssh_get_error(s->ssh);
    return tt_fail(err, status == SSH_FX_OK ? TT_UNAVAILABLE : TT_FAILED, "cannot %s `%.200s` of %s: %.200s", what, path, r->shown, said && *said ? said : "it failed there");
}

/* ---- who it is ---- */

static tt_rc fingerprint(const tt_remote *r, session *s, tt_buf *out, tt_err *err)
{
    ssh_key key = NULL;
    unsigned char *hash = NULL;
    size_t len = 0;
    if (lib.ssh_get_server_publickey(s->ssh, &key) != SSH_OK)
        return tt_fail(err, TT_UNAVAILABLE, "%s shows no key: %.200s", r->shown, lib.ssh_get_error(s->ssh));
    bool ok = lib.ssh_get_publickey_hash(key, SSH_PUBLICKEY_HASH_SHA256, &hash, &len) == 0;
    char *text = ok ? lib.ssh_get_fingerprint_hash(SSH_PUBLICKEY_HASH_SHA256, hash, len) : NULL;
    tt_buf_cstr_put(out, text ? text : "");
    if (text)
        lib.ssh_string_free_char(text);
    lib.ssh_clean_pubkey_hash(&hash);
    lib.ssh_key_free(key);
    return out->len ? tt_buf_check(out, err) : tt_fail(err, TT_NOMEM, "out of memory");
}

static tt_rc check_host(const tt_remote *r, session *s, const tt_remote_spec *spec, tt_err *err)
{
    TT_BUF_AUTO tt_buf seen = {0};
    TT_TRY(fingerprint(r, s, &seen, err));
    if (spec->host_key.len) {
        if (tt_str_eq(tt_buf_view(&seen), tt_str_trim(spec->host_key)))
            return TT_OK;
        return tt_fail(err, TT_DENIED, "%s is not the host that was named: its key is %s, and `host_key` says %.*s", r->shown, tt_buf_cstr(&seen), TT_STR_ARG(tt_str_slice(spec->host_key, 0, 100)));
    }
    switch (lib.ssh_session_is_known_server(s->ssh)) {
    case SSH_KNOWN_HOSTS_OK:
        return TT_OK;
    case SSH_KNOWN_HOSTS_CHANGED:
    case SSH_KNOWN_HOSTS_OTHER:
        return tt_fail(err, TT_DENIED, "the key of %s is not the one that is known: somebody else may answer there; it shows %s", r->shown, tt_buf_cstr(&seen));
    default:
        return tt_fail(err, TT_DENIED, "%s is not known yet: it shows the key %s; if that is right, give it as `host_key`", r->shown, tt_buf_cstr(&seen));
    }
}

/* ---- who we are ---- */

static int with_key(const tt_remote *r, session *s, const tt_remote_spec *spec)
{
    ssh_key key = NULL;
    char *text = tt_str_dup(spec->key), *password = spec->key_password.len ? tt_str_dup(spec->key_password) : NULL;
    int status = text && lib.ssh_pki_import_privkey_base64(text, password, NULL, NULL, &key) == SSH_OK ? SSH_AUTH_DENIED : SSH_AUTH_ERROR;
    if (key)
        status = lib.ssh_userauth_publickey(s->ssh, NULL, key);
    lib.ssh_key_free(key);
    free(text);
    free(password);
    return status;
}

/* The password as the answer to whatever is asked. */
static int with_questions(const tt_remote *r, session *s)
{
    int status = lib.ssh_userauth_kbdint(s->ssh, NULL, NULL);
    for (int round = 0; status == SSH_AUTH_INFO && round < MOST_QUESTIONS; round++) {
        int count = lib.ssh_userauth_kbdint_getnprompts(s->ssh);
        for (int i = 0; i < count; i++)
            lib.ssh_userauth_kbdint_setanswer(s->ssh, (unsigned)i, r->password);
        status = lib.ssh_userauth_kbdint(s->ssh, NULL, NULL);
    }
    return status;
}

static tt_rc log_in(const tt_remote *r, session *s, const tt_remote_spec *spec, tt_err *err)
{
    int status = SSH_AUTH_DENIED;
    if (spec->key.len && (status = with_key(r, s, spec)) == SSH_AUTH_ERROR)
        return tt_fail(err, TT_INVALID, "the private key for %s cannot be used: it is no key, or its password is another", r->shown);
    if (status != SSH_AUTH_SUCCESS && *r->password)
        status = lib.ssh_userauth_password(s->ssh, NULL, r->password);
    if (status != SSH_AUTH_SUCCESS && *r->password)
        status = with_questions(r, s);
    if (status != SSH_AUTH_SUCCESS)
        return tt_fail(err, TT_DENIED, "%s refuses the login of `%s`", r->shown, *r->user ? r->user : "this user");
    return TT_OK;
}

/* ---- connecting ---- */

static bool set_options(const tt_remote *r, session *s, const tt_remote_spec *spec)
{
    int process_config = 0;
    unsigned port = (unsigned)r->port;
    long timeout_s = (long)(r->timeout_ms / 1000) + 1; /* libssh's own type */
    char *known = spec->known_hosts.len ? tt_str_dup(spec->known_hosts) : NULL;
    bool ok = lib.ssh_options_set(s->ssh, SSH_OPTIONS_PROCESS_CONFIG, &process_config) == 0 && lib.ssh_options_set(s->ssh, SSH_OPTIONS_HOST, r->host) == 0 &&
              lib.ssh_options_set(s->ssh, SSH_OPTIONS_PORT, &port) == 0 && lib.ssh_options_set(s->ssh, SSH_OPTIONS_TIMEOUT, &timeout_s) == 0 &&
              (!*r->user || lib.ssh_options_set(s->ssh, SSH_OPTIONS_USER, r->user) == 0) &&
              (!known || (lib.ssh_options_set(s->ssh, SSH_OPTIONS_KNOWNHOSTS, known) == 0 && lib.ssh_options_set(s->ssh, SSH_OPTIONS_GLOBAL_KNOWNHOSTS, known) == 0));
    free(known);
    return ok;
}

static tt_rc connect_to(tt_remote *r, session *s, const tt_remote_spec *spec, tt_err *err)
{
    s->ssh = lib.ssh_new();
    if (!s->ssh)
        return tt_fail(err, TT_NOMEM, "out of memory for a connection");
    if (!set_options(r, s, spec))
        return tt_fail(err, TT_INVALID, "%s cannot be reached so: %.200s", r->shown, lib.ssh_get_error(s->ssh));
    if (lib.ssh_connect(s->ssh) != SSH_OK)
        return tt_fail(err, TT_UNAVAILABLE, "%s cannot be reached: %.300s", r->shown, lib.ssh_get_error(s->ssh));
    s->connected = true;
    TT_TRY(check_host(r, s, spec, err));
    TT_TRY(log_in(r, s, spec, err));
    s->sftp = lib.sftp_new(s->ssh);
    if (!s->sftp || lib.sftp_init(s->sftp) != SSH_OK)
        return tt_fail(err, TT_FAILED, "%s lets us in, and gives no files: %.200s", r->shown, lib.ssh_get_error(s->ssh));
    return TT_OK;
}

static tt_rc open_sftp(tt_remote *r, const tt_remote_spec *spec, tt_err *err)
{
    TT_TRY(load(err));
    r->own = TT_NEW(session);
    return connect_to(r, r->own, spec, err);
}

static void close_sftp(tt_remote *r)
{
    session *s = r->own;
    if (s->sftp)
        lib.sftp_free(s->sftp);
    if (s->connected)
        lib.ssh_disconnect(s->ssh);
    if (s->ssh)
        lib.ssh_free(s->ssh);
    free(s);
}

/* ---- files ---- */

/* `/~/x` is x below the home, where the server starts. */
static const char *place(const char *path)
{
    if (strncmp(path, "/~/", 3) != 0 && strcmp(path, "/~") != 0)
        return path;
    return path[2] && path[3] ? path + 3 : ".";
}

/* Links are followed: they are what they lead to. False: neither file nor directory. */
static bool describe(session *s, const char *dir, sftp_attributes a, tt_remote_entry *ret)
{
    TT_BUF_AUTO tt_buf path = {0};
    sftp_attributes target = NULL;
    if (a->type == SSH_FILEXFER_TYPE_SYMLINK) {
        tt_buf_printf(&path, "%s/%s", dir, a->name);
        target = lib.sftp_stat(s->sftp, tt_buf_cstr(&path));
    }
    const struct sftp_attributes_struct *known = target ? target : a;
    *ret = (tt_remote_entry){.name = tt_str_of(a->name), .is_dir = known->type == SSH_FILEXFER_TYPE_DIRECTORY, .size_bytes = known->size, .changed_s = known->mtime};
    bool ok = known->type == SSH_FILEXFER_TYPE_REGULAR || ret->is_dir;
    if (target)
        lib.sftp_attributes_free(target);
    return ok;
}

static tt_rc list_open(tt_remote *r, const char *path, sftp_dir dir, tt_remote_entry_fn *fn, void *arg, tt_err *err)
{
    session *s = r->own;
    tt_rc rc = TT_OK;
    for (sftp_attributes a; rc == TT_OK && (a = lib.sftp_readdir(s->sftp, dir)); lib.sftp_attributes_free(a)) {
        tt_remote_entry entry;
        if (a->name && tt_remote_name_ok(tt_str_of(a->name)) && describe(s, path, a, &entry))
            rc = fn(arg, &entry, err);
    }
    return rc != TT_OK || lib.sftp_dir_eof(dir) ? rc : failed(r, "list", path, err);
}

static tt_rc list_sftp(tt_remote *r, const char *path, tt_remote_entry_fn *fn, void *arg, tt_err *err)
{
    session *s = r->own;
    sftp_dir dir = lib.sftp_opendir(s->sftp, place(path));
    if (!dir)
        return failed(r, "list", path, err);
    tt_rc rc = list_open(r, place(path), dir, fn, arg, err);
    lib.sftp_closedir(dir);
    return rc;
}

static tt_rc stat_sftp(tt_remote *r, const char *path, tt_remote_entry *ret, tt_err *err)
{
    session *s = r->own;
    sftp_attributes a = lib.sftp_stat(s->sftp, place(path));
    if (!a)
        return failed(r, "look at", path, err);
    ret->is_dir = a->type == SSH_FILEXFER_TYPE_DIRECTORY;
    ret->size_bytes = a->size;
    ret->changed_s = a->mtime;
    lib.sftp_attributes_free(a);
    return TT_OK;
}

static tt_rc read_all(tt_remote *r, const char *path, sftp_file file, int fd, uint64_t *at, tt_err *err)
{
    char *piece = tt_malloc(READ_BYTES);
    tt_rc rc = piece ? TT_OK : tt_fail(err, TT_NOMEM, "out of memory");
    for (ssize_t n; rc == TT_OK && (n = lib.sftp_read(file, piece, READ_BYTES)) != 0;) {
        int errnum = n > 0 ? tt_fd_write_at(fd, *at, piece, (size_t)n) : 0;
        rc = n < 0 ? failed(r, "read", path, err) : errnum ? tt_fail_errno(err, errnum, "cannot keep `%.200s` of %s", path, r->shown) : TT_OK;
        *at += n > 0 ? (uint64_t)n : 0;
    }
    free(piece);
    return rc;
}

static tt_rc get_sftp(tt_remote *r, const char *path, uint64_t at, int fd, uint64_t *ret_bytes, tt_err *err)
{
    session *s = r->own;
    sftp_file file = lib.sftp_open(s->sftp, place(path), O_RDONLY, 0);
    *ret_bytes = at;
    if (!file)
        return failed(r, "read", path, err);
    tt_rc rc = lib.sftp_seek64(file, at) == 0 ? read_all(r, path, file, fd, ret_bytes, err) : failed(r, "read", path, err);
    lib.sftp_close(file);
    return rc;
}

static tt_rc write_all(tt_remote *r, const char *path, sftp_file file, int fd, uint64_t at, tt_err *err)
{
    char *piece = tt_malloc(WRITE_BYTES);
    size_t len = 0;
    tt_rc rc = piece ? TT_OK : tt_fail(err, TT_NOMEM, "out of memory");
    for (int errnum; rc == TT_OK; at += len) {
        if ((errnum = tt_fd_read_at(fd, at, piece, WRITE_BYTES, &len)) != 0)
            rc = tt_fail_errno(err, errnum, "cannot read what goes to `%.200s` of %s", path, r->shown);
        else if (len == 0)
            break;
        else if (lib.sftp_write(file, piece, len) != (ssize_t)len)
            rc = failed(r, "write", path, err);
    }
    free(piece);
    return rc;
}

static tt_rc put_sftp(tt_remote *r, const char *path, uint64_t at, int fd, tt_err *err)
{
    session *s = r->own;
    sftp_file file = lib.sftp_open(s->sftp, place(path), at ? O_WRONLY : O_WRONLY | O_CREAT | O_TRUNC, 0644);
    if (!file)
        return failed(r, "write", path, err);
    tt_rc rc = lib.sftp_seek64(file, at) == 0 ? write_all(r, path, file, fd, at, err) : failed(r, "write", path, err);
    if (lib.sftp_close(file) != SSH_OK && rc == TT_OK)
        rc = failed(r, "write", path, err);
    return rc;
}

static tt_rc rename_sftp(tt_remote *r, const char *from, const char *to, tt_err *err)
{
    session *s = r->own;
    return lib.sftp_rename(s->sftp, place(from), place(to)) == 0 ? TT_OK : failed(r, "rename a file to", to, err);
}

static tt_rc remove_sftp(tt_remote *r, const char *path, tt_err *err)
{
    session *s = r->own;
    return lib.sftp_unlink(s->sftp, place(path)) == 0 ? TT_OK : failed(r, "remove", path, err);
}

const tt_remote_protocol tt_remote_sftp = {
    .scheme = "sftp", .port = 22, .open = open_sftp, .close = close_sftp, .list = list_sftp, .stat = stat_sftp, .get = get_sftp, .put = put_sftp,
    .rename = rename_sftp, .remove = remove_sftp,
};
