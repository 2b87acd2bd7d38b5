/* Sealed text and names of secrets. Input: any text. Properties: nothing that we did not seal opens; what we seal opens to the same; a
 * name that is taken has a fallback that is taken too. */
#include "vault/secret_name.h"
#include "vault/vault.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define KEY "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"

static tt_vault *vault_once(void)
{
    static tt_vault *v;
    if (!v)
        tt_assert(tt_vault_new(TT_STR("/nowhere"), TT_STR(KEY), &v, NULL) == TT_OK);
    return v;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tt_str text = {(const char *)data, size};
    TT_BUF_AUTO tt_buf sealed = {0}, out = {0}, forged = {0}, name = {0};
    tt_buf_cstr_put(&forged, "tv1.");
    tt_buf_str(&forged, text);
    tt_assert(tt_vault_open(vault_once(), TT_STR("c"), text, &out, NULL) != TT_OK);
    tt_assert(tt_vault_open(vault_once(), TT_STR("c"), tt_buf_view(&forged), &out, NULL) != TT_OK && out.len == 0);
    tt_assert(tt_vault_seal(vault_once(), TT_STR("c"), text, &sealed, NULL) == TT_OK);
    tt_assert(tt_vault_open(vault_once(), TT_STR("c"), tt_buf_view(&sealed), &out, NULL) == TT_OK);
    tt_assert(tt_str_eq(tt_buf_view(&out), text));
    if (tt_secret_name_check(text, NULL) == TT_OK && tt_secret_name_fallback(text, &name))
        tt_assert(name.len > TT_SECRET_NAME_BYTES || tt_secret_name_check(tt_buf_view(&name), NULL) == TT_OK);
    if (tt_secret_check_fields(TT_STR("dev/db/x/read"), text, NULL) == TT_OK)
        tt_assert(size > 0 && memchr(data, '{', size));
    return 0;
}
