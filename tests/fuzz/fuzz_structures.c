/* What rows of the configuration may have as text: variable_structures, values, a site's migration. What is taken is printed and read again as the same. */
#include "base/mem.h"
#include "pipeline/load.h"
#include "pipeline/migration.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void try_rules(tt_str text, tt_arena *arena)
{
    tt_template a = {.name = TT_STR("a")}, b = {.name = TT_STR("b")};
    TT_BUF_AUTO tt_buf first = {0}, second = {0};
    if (tt_rules_of_text(text, arena, &a, NULL) != TT_OK)
        return;
    tt_rules_put_text(&a, &first);
    tt_assert(tt_rules_of_text(tt_buf_view(&first), arena, &b, NULL) == TT_OK && b.rule_count == a.rule_count);
    tt_rules_put_text(&b, &second);
    tt_assert(tt_str_eq(tt_buf_view(&first), tt_buf_view(&second)));
}

static void try_value(const tt_variable_rule *rule, tt_str text, tt_arena *arena)
{
    TT_BUF_AUTO tt_buf again = {0};
    tt_str json, twice;
    if (tt_value_of_text(rule, text, arena, &json, NULL) != TT_OK)
        return;
    tt_value_put_text(rule, json, &again);
    tt_assert(tt_value_of_text(rule, tt_buf_view(&again), arena, &twice, NULL) == TT_OK);
    tt_assert(tt_str_eq(json, twice));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const tt_variable_rule text_rule = {.type = TT_VARIABLE_TEXT}, list_rule = {.type = TT_VARIABLE_LIST};
    tt_arena arena = {0};
    TT_BUF_AUTO tt_buf up = {0}, down = {0};
    tt_str text = {(const char *)data, size};
    bool has_up, has_down;
    if (size > 64 * 1024)
        return 0;
    try_rules(text, &arena);
    try_value(NULL, text, &arena);
    try_value(&text_rule, text, &arena);
    try_value(&list_rule, text, &arena);
    tt_migration_section(text, "up", "sqlite", &up, &has_up);
    tt_migration_section(text, "down", "sqlite", &down, &has_down);
    tt_assert(up.len + down.len <= size + 2 && (has_up || up.len == 0) && (has_down || down.len == 0));
    tt_arena_deinit(&arena);
    return 0;
}
