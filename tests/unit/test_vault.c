#include <criterion/criterion.h>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/sys.h"
#include "vault/secret_name.h"
#include "vault/vault.h"

static char dir[64];

static void make_dir(void)
{
    snprintf(dir, sizeof dir, "/tmp/tt-vault-XXXXXX");
    cr_assert(mkdtemp(dir));
}

static const char *key_path(void)
{
    static char path[96];
    snprintf(path, sizeof path, "%s/vault.key", dir);
    return path;
}

static void remove_dir(void)
{
    unlink(key_path());
    cr_assert_eq(rmdir(dir), 0, "something is left in %s", dir);
}

static tt_vault *new_vault(void)
{
    tt_vault *v = NULL;
    tt_err err = {0};
    cr_assert_eq(tt_vault_new(tt_str_of(dir), (tt_str){0}, &v, &err), TT_OK, "%s", err.text);
    return v;
}

static void seal(tt_vault *v, const char *context, tt_str plain, tt_buf *ret)
{
    tt_err err = {0};
    cr_assert_eq(tt_vault_seal(v, tt_str_of(context), plain, ret, &err), TT_OK, "%s", err.text);
}

static tt_rc open_text(tt_vault *v, const char *context, tt_str sealed, tt_buf *ret)
{
    return tt_vault_open(v, tt_str_of(context), sealed, ret, NULL);
}

TestSuite(vault, .init = make_dir, .fini = remove_dir);

Test(vault, what_is_sealed_opens)
{
    tt_vault *v = new_vault();
    static const char plain[] = "pa\0ss \"w\xC3\xB6rd\"";
    TT_BUF_AUTO tt_buf sealed = {0}, again = {0}, out = {0};
    struct stat st;
    seal(v, "settings", (tt_str){plain, sizeof plain}, &sealed);
    seal(v, "settings", (tt_str){plain, sizeof plain}, &again);
    cr_expect(tt_vault_is_sealed(tt_buf_view(&sealed)));
    cr_expect_not(tt_str_eq(tt_buf_view(&sealed), tt_buf_view(&again)), "the same text twice is sealed alike");
    cr_expect_eq(open_text(v, "settings", tt_buf_view(&sealed), &out), TT_OK);
    cr_expect(tt_str_eq(tt_buf_view(&out), (tt_str){plain, sizeof plain}));
    cr_expect_eq(open_text(v, "other", tt_buf_view(&sealed), &out), TT_CORRUPT);
    cr_assert_eq(stat(key_path(), &st), 0);
    cr_expect_eq(st.st_mode & 0777, 0600);
    tt_vault_free(v);
}

Test(vault, nothing_at_all_can_be_sealed)
{
    tt_vault *v = new_vault();
    TT_BUF_AUTO tt_buf sealed = {0}, out = {0};
    seal(v, "", (tt_str){0}, &sealed);
    cr_expect_eq(open_text(v, "", tt_buf_view(&sealed), &out), TT_OK);
    cr_expect_eq(out.len, 0);
    tt_vault_free(v);
}

Test(vault, every_changed_byte_is_found)
{
    tt_vault *v = new_vault();
    TT_BUF_AUTO tt_buf sealed = {0}, out = {0};
    seal(v, "c", TT_STR("secret"), &sealed);
    for (size_t i = 0; i < sealed.len; i++) {
        sealed.ptr[i] ^= 1;
        cr_expect_neq(open_text(v, "c", tt_buf_view(&sealed), &out), TT_OK, "byte %zu", i);
        sealed.ptr[i] ^= 1;
        cr_expect_neq(open_text(v, "c", tt_str_slice(tt_buf_view(&sealed), 0, i), &out), TT_OK, "%zu bytes", i);
    }
    cr_expect_eq(out.len, 0);
    cr_expect_eq(open_text(v, "c", tt_buf_view(&sealed), &out), TT_OK);
    tt_vault_free(v);
}

Test(vault, keys_change_under_another_process)
{
    tt_vault *a = new_vault(), *b = new_vault();
    TT_BUF_AUTO tt_buf first = {0}, second = {0}, out = {0};
    seal(a, "c", TT_STR("one"), &first);
    cr_expect_eq(open_text(b, "c", tt_buf_view(&first), &out), TT_OK);
    cr_assert_eq(tt_keys_add(tt_vault_keys(a), NULL), TT_OK);
    seal(a, "c", TT_STR("two"), &second);
    cr_expect_eq(open_text(b, "c", tt_buf_view(&second), &out), TT_OK);
    cr_expect_eq(open_text(b, "c", tt_buf_view(&first), &out), TT_OK);
    cr_expect_eq(tt_keys_count(tt_vault_keys(b)), 2);
    cr_assert_eq(tt_keys_forget_old(tt_vault_keys(b), NULL), TT_OK);
    cr_expect_eq(open_text(a, "c", tt_buf_view(&second), &out), TT_OK);
    cr_expect_eq(open_text(a, "c", tt_buf_view(&first), &out), TT_UNAVAILABLE);
    tt_vault_free(a);
    tt_vault_free(b);
}

Test(vault, a_key_file_must_be_ours_alone_and_whole)
{
    static const struct { const char *text; mode_t mode; tt_rc rc; } rows[] = {
        {"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n", 0600, TT_OK},
        {"00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff\n", 0640, TT_DENIED},
        {"00112233445566778899aabbccddeeff\n", 0600, TT_INVALID}, {"", 0600, TT_INVALID}, {"no key\n", 0600, TT_INVALID},
        {"0011223344556677889gaabbccddeeff00112233445566778899aabbccddeeff\n", 0600, TT_INVALID},
    };
    for (size_t i = 0; i < TT_COUNT(rows); i++) {
        TT_BUF_AUTO tt_buf sealed = {0};
        int fd = open(key_path(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
        cr_assert(fd >= 0 && write(fd, rows[i].text, strlen(rows[i].text)) == (ssize_t)strlen(rows[i].text) && fchmod(fd, rows[i].mode) == 0);
        close(fd);
        tt_vault *v = new_vault();
        cr_expect_eq(tt_vault_seal(v, TT_STR("c"), TT_STR("x"), &sealed, NULL), rows[i].rc, "row %zu", i);
        tt_vault_free(v);
    }
}

Test(vault, keys_from_the_setting)
{
    static const char keys[] = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff, ff112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";
    tt_vault *both = NULL, *old = NULL, *bad = NULL;
    TT_BUF_AUTO tt_buf sealed = {0}, out = {0};
    cr_assert_eq(tt_vault_new(tt_str_of(dir), tt_str_of(keys), &both, NULL), TT_OK);
    cr_assert_eq(tt_vault_new(tt_str_of(dir), tt_str_slice(tt_str_of(keys), 66, sizeof keys - 1), &old, NULL), TT_OK);
    cr_assert_eq(tt_vault_new(tt_str_of(dir), TT_STR("short"), &bad, NULL), TT_INVALID);
    seal(old, "c", TT_STR("x"), &sealed);
    cr_expect_eq(open_text(both, "c", tt_buf_view(&sealed), &out), TT_OK);
    tt_buf_clear(&sealed);
    seal(both, "c", TT_STR("x"), &sealed);
    cr_expect_eq(open_text(old, "c", tt_buf_view(&sealed), &out), TT_UNAVAILABLE);
    cr_expect_eq(tt_keys_add(tt_vault_keys(both), NULL), TT_CONFLICT);
    tt_vault_free(both);
    tt_vault_free(old);
}

/* Each system call of a rotation fails in turn: what was sealed before opens afterwards, and the file is never broken. */
Test(vault, a_rotation_that_fails_loses_no_key)
{
    static const char *const calls[] = {"open", "pwrite", "fsync", "rename", "read"};
    tt_vault *v = new_vault();
    TT_BUF_AUTO tt_buf sealed = {0}, out = {0};
    seal(v, "c", TT_STR("x"), &sealed);
    for (size_t i = 0; i < TT_COUNT(calls); i++) {
        tt_rc rc = TT_FAILED;
        for (unsigned nth = 1; rc != TT_OK; nth++) {
            char fault[48];
            snprintf(fault, sizeof fault, "%s:%u:EIO", calls[i], nth);
            cr_assert(nth < 20, "%s", calls[i]);
            cr_assert_eq(tt_sys_fault_arm(fault, NULL), TT_OK);
            rc = tt_keys_add(tt_vault_keys(v), NULL);
            cr_assert(rc != TT_OK || tt_sys_fault_hits() == 0, "a failure of %s is not noticed", calls[i]);
            cr_assert_eq(tt_sys_fault_arm("", NULL), TT_OK);
            tt_vault *fresh = new_vault();
            cr_expect_eq(open_text(fresh, "c", tt_buf_view(&sealed), &out), TT_OK, "%s", fault);
            tt_vault_free(fresh);
        }
    }
    tt_vault_free(v);
    char left[128];
    snprintf(left, sizeof left, "%s.%d", key_path(), (int)getpid());
    unlink(left);
}

/* ---- names ---- */

Test(secret_name, what_is_a_name)
{
    static const char *const good[] = {"x", "dev/db/warehouse/read", "a.b-c_d", "1/2/3/4/5/6/7/8"};
    static const char *const bad[] = {"", "/", "a/", "/a", "a//b", "..", "a/../b", ".a", "a b", "a#b", "a:b", "\xC3\xA4", "1/2/3/4/5/6/7/8/9"};
    for (size_t i = 0; i < TT_COUNT(good); i++)
        cr_expect_eq(tt_secret_name_check(tt_str_of(good[i]), NULL), TT_OK, "%s", good[i]);
    for (size_t i = 0; i < TT_COUNT(bad); i++)
        cr_expect_eq(tt_secret_name_check(tt_str_of(bad[i]), NULL), TT_INVALID, "%s", bad[i]);
}

Test(secret_name, types_have_fields)
{
    tt_str name = TT_STR("dev/db/x/read");
    cr_expect_eq(tt_secret_check_fields(name, TT_STR("{\"user\":\"u\",\"host\":\"h\",\"port\":1}"), NULL), TT_OK);
    cr_expect_eq(tt_secret_check_fields(name, TT_STR("{\"user\":\"u\",\"host\":\"h\",\"port\":\"1\"}"), NULL), TT_INVALID);
    cr_expect_eq(tt_secret_check_fields(name, TT_STR("{\"user\":\"u\"}"), NULL), TT_INVALID);
    cr_expect_eq(tt_secret_check_fields(name, TT_STR("text"), NULL), TT_INVALID);
    cr_expect_eq(tt_secret_check_fields(TT_STR("dev/other/x/read"), TT_STR("text"), NULL), TT_OK);
    cr_expect_eq(tt_secret_check_fields(TT_STR("db/x"), TT_STR("text"), NULL), TT_OK);
    cr_expect(tt_secret_field_hidden(name, "password"));
    cr_expect_not(tt_secret_field_hidden(name, "host"));
    cr_expect(tt_secret_field_hidden(TT_STR("x"), "host"));
}

/* ---- references ---- */

static tt_rc two_secrets(void *arg, tt_str name, tt_buf *ret, tt_err *err)
{
    if (tt_str_is(name, "all/db/x/read"))
        tt_buf_cstr_put(ret, "{\"user\":\"etl\",\"password\":\"hunter2!\",\"port\":5432,\"host\":\"h\"}");
    else if (tt_str_is(name, "token"))
        tt_buf_cstr_put(ret, "abc-123-def");
    else
        return TT_NOT_FOUND;
    return tt_buf_check(ret, err);
}

static void check_reference(tt_vault *v, const char *reference, tt_refer what, tt_rc rc, const char *expected)
{
    TT_BUF_AUTO tt_buf out = {0};
    cr_expect_eq(tt_vault_resolve(v, tt_str_of(reference), what, &out, NULL), rc, "%s", reference);
    cr_expect_str_eq(tt_buf_cstr(&out), expected, "%s", reference);
}

Test(vault, references)
{
    tt_vault *v = new_vault();
    tt_vault_add_store(v, &(tt_vault_store){.get = two_secrets, .is_plain = true});
    setenv("TT_TEST_SECRET", "from the environment", 1);
    check_reference(v, "secret:token", TT_REFER_SECRETS, TT_OK, "abc-123-def");
    check_reference(v, "secret:dev/db/x/read#password", TT_REFER_SECRETS, TT_OK, "hunter2!");
    check_reference(v, "secret:all/db/x/read#port", TT_REFER_SECRETS, TT_OK, "5432");
    check_reference(v, "secret:dev/db/x/read#nothing", TT_REFER_SECRETS, TT_NOT_FOUND, "");
    check_reference(v, "secret:token#field", TT_REFER_SECRETS, TT_NOT_FOUND, "");
    check_reference(v, "secret:dev/db/y/read", TT_REFER_SECRETS, TT_NOT_FOUND, "");
    check_reference(v, "secret:../x", TT_REFER_SECRETS, TT_INVALID, "");
    check_reference(v, "env:TT_TEST_SECRET", TT_REFER_ANYTHING, TT_OK, "from the environment");
    check_reference(v, "env:TT_TEST_SECRET", TT_REFER_SECRETS, TT_INVALID, "");
    check_reference(v, "file:/etc/passwd", TT_REFER_SECRETS, TT_INVALID, "");
    check_reference(v, "file:/etc/passwd", TT_REFER_ANYTHING, TT_DENIED, "");
    check_reference(v, "plain", TT_REFER_ANYTHING, TT_INVALID, "");
    check_reference(NULL, "secret:token", TT_REFER_ANYTHING, TT_INVALID, "");
    tt_vault_free(v);
}

Test(vault, what_a_reference_stood_for_is_masked)
{
    tt_vault *v = new_vault();
    TT_BUF_AUTO tt_buf value = {0}, text = {0};
    tt_vault_add_store(v, &(tt_vault_store){.get = two_secrets, .is_plain = true});
    cr_assert_eq(tt_vault_resolve(v, TT_STR("secret:dev/db/x/read#user"), TT_REFER_SECRETS, &value, NULL), TT_OK);
    cr_assert_eq(tt_vault_resolve(v, TT_STR("secret:token"), TT_REFER_SECRETS, &value, NULL), TT_OK);
    tt_buf_cstr_put(&text, "etl hunter2! abc-123-def");
    tt_log_mask_text(&text);
    cr_expect_str_eq(tt_buf_cstr(&text), "etl *** ***"); /* the user of a database is no secret, its password is */
    tt_vault_free(v);
}

Test(mask, also_inside_of_json_and_line_by_line)
{
    TT_BUF_AUTO tt_buf text = {0};
    tt_log_mask(TT_STR("with \"quotes\"\nand a second long line"));
    tt_log_mask(TT_STR("long line"));
    tt_log_mask(TT_STR("abc"));
    tt_buf_cstr_put(&text, "1 {\"x\":\"with \\\"quotes\\\"\\nand a second long line\"} 2 and a second long line 3 long line 4 abc");
    tt_log_mask_text(&text);
    cr_expect_str_eq(tt_buf_cstr(&text), "1 {\"x\":\"***\"} 2 *** 3 *** 4 abc");
}
