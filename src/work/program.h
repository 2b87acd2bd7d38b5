/* Programs: single files in the programs folders, each of which does one kind of work with typed settings. The name is the
 * file's, without its ending; names that begin with `_`, `.` or `base_` and names with other characters than letters, digits, - and _ are no programs. Where two
 * folders hold the same name the first folder wins. The kind follows from the ending: `.py`, `.ipynb`, `.c`, `.sql`, anything else that may be executed.
 *
 * An env is made once from the settings of tutti and is immutable; any thread. A described program is immutable and reference counted. */
#ifndef TT_WORK_PROGRAM_H
#define TT_WORK_PROGRAM_H

#include "base/option.h"
#include "base/vec.h"
#include "work/settings.h"

typedef struct tt_program_env tt_program_env;
tt_rc tt_program_env_new(const tt_options *options, tt_program_env **ret, tt_err *err) TT_MUST_CHECK;
void tt_program_env_free(tt_program_env *env);
/* The folders, in the order of their precedence; those of the settings first, then DIR/programs, then the built-in ones. Some may not exist. */
const tt_str *tt_program_dirs(const tt_program_env *env, size_t *ret_count);
const char *tt_program_data_dir(const tt_program_env *env);
const char *tt_program_own_dir(const tt_program_env *env);     /* DIR/programs */
const char *tt_program_cache_dir(const tt_program_env *env);   /* may not exist yet */
const char *tt_program_spool_dir(const tt_program_env *env);   /* DIR/cache */
const char *tt_program_maps_dir(const tt_program_env *env);    /* DIR/maps: conversion maps of Python programs */
const char *tt_program_state_dir(const tt_program_env *env);   /* DIR/state: what programs remember */
const char *const *tt_program_lake_env(const tt_program_env *env); /* TUTTI_LAKE=..., and what else `tutti` and a contract need inside a program; NULL-ended */
const char *tt_program_environment(const tt_program_env *env); /* the settings of contracts that do not say it; branch may be empty */
const char *tt_program_branch(const tt_program_env *env);
const char *tt_program_include_dir(const tt_program_env *env); /* holds tutti/program.h */
/* What [program.NAME] of the configuration file says about key; NULL: nothing. */
const char *tt_program_override(const tt_program_env *env, const char *name, const char *key);

enum { TT_PROGRAM_NAME_BYTES = 64, TT_PROGRAM_HASH_TEXT = 33, TT_PROGRAM_FILE_BYTES = 64 * 1024 * 1024 };

/* A kind of program. The table is in program.c; to add one: a row there, and a file that makes the argv. */
typedef struct tt_program_file tt_program_file;
typedef struct {
    const char *name;      /* "python" */
    const char *suffix;    /* ".py"; NULL: whatever may be executed */
    bool is_hosted;        /* runs inside a child of ours that is used again (program_host.h) */
    /* The command that runs it, NULL-ended, in the arena; whatever has to be made first (a compiled file) is made. */
    tt_rc (*prepare)(const tt_program_env *env, const tt_program_file *file, tt_arena *arena, const char *const **ret_argv, tt_err *err);
} tt_program_kind;

struct tt_program_file {
    char name[TT_PROGRAM_NAME_BYTES + 1];
    char path[4096];
    char hash[TT_PROGRAM_HASH_TEXT];  /* of the content */
    const tt_program_kind *kind;
};

/* TT_NOT_FOUND names what there is instead. */
tt_rc tt_program_locate(const tt_program_env *env, tt_str name, tt_program_file *ret, tt_err *err) TT_MUST_CHECK;
/* A file by its path, wherever it lies (for `check`). */
tt_rc tt_program_open(tt_str path, tt_program_file *ret, tt_err *err) TT_MUST_CHECK;
/* Calls fn for each program of all folders, by name, until it returns false. Files that cannot be read are left out. */
void tt_program_each(const tt_program_env *env, bool (*fn)(void *arg, const tt_program_file *file), void *arg);
bool tt_program_name_ok(tt_str name);

typedef struct {
    tt_program_file file;
    tt_rc rc;              /* not TT_OK: it is broken, and error says why; the rest is empty then */
    char error[640];
    const char *display_name, *description; /* description may be NULL */
    tt_settings settings;
    int64_t timeout_ms;    /* 0: none */
    uint64_t memory_bytes; /* 0: no limit */
    json_t *root;          /* owns the texts */
    _Atomic unsigned refs;
} tt_program;

/* Runs the program with --describe, with limits. Always a program; one that fails carries its error. */
tt_program *tt_program_describe(const tt_program_env *env, const tt_program_file *file);
/* The JSON that a program prints, into p (zeroed but for file); for the fuzzer too. */
tt_rc tt_program_parse(tt_program *p, tt_str json, tt_err *err) TT_MUST_CHECK;
tt_program *tt_program_ref(tt_program *p);
void tt_program_unref(tt_program *p); /* NULL is fine */

#endif
