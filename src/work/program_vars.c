#include "work/program_vars.h"

/* Variables that pipelines do not set: ours, some of which say where built-in programs may read and write, and those by which a program is made to load other code than its
 * own, which is for the machine's own configuration. `*` at the end: all that begin so. To add one: a row here, and a word in docs/pipelines.md. */
static const struct {
    const char *name, *why;
} barred[] = {
#define LOADS "makes programs load other code than their own: what runs is for the machine's configuration to say"
    {"TUTTI_*", "is set by tutti itself: give it another name"},
    {"LD_*", LOADS}, {"GCONV_PATH", LOADS}, {"PATH", LOADS}, {"HOME", LOADS}, {"ENV", LOADS}, {"BASH_*", LOADS}, {"SHELLOPTS", LOADS}, {"IFS", LOADS}, {"PYTHON*", LOADS},
    {"PERL*", LOADS}, {"RUBY*", LOADS}, {"NODE_*", LOADS}, {"JAVA_TOOL_OPTIONS", LOADS}, {"JDK_JAVA_OPTIONS", LOADS}, {"_JAVA_OPTIONS", LOADS}, {"CLASSPATH", LOADS},
    {"R_*", LOADS}, {"GIT_*", LOADS},
#undef LOADS
};

tt_rc tt_program_vars_check(const char *name, tt_err *err)
{
    for (size_t i = 0; i < TT_COUNT(barred); i++) {
        size_t len = strcspn(barred[i].name, "*");
        if (barred[i].name[len] ? strncmp(name, barred[i].name, len) == 0 : strcmp(name, barred[i].name) == 0)
            return tt_fail(err, TT_INVALID, "%s", barred[i].why);
    }
    return TT_OK;
}
