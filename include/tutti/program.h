/* Programs of tutti in C: one file, compiled by tutti when it is first used, and again when it changes.
 *
 *     #include <tutti/program.h>
 *
 *     static const tutti_setting settings[] = {{"name", TUTTI_STR}, {"times", TUTTI_INT, "1"}, {0}};
 *
 *     static int run(const tutti_host *t)
 *     {
 *         for (int64_t i = 0; i < t->integer(t, "times"); i++)
 *             t->log(t, "hello %s", t->text(t, "name"));
 *         t->update(t, "greeting", "completed");
 *         return 0;
 *     }
 *     TUTTI_PROGRAM(.settings = settings, .run = run);
 *
 * The program is loaded into a process that runs one C program after the other. A crash, a limit and a cancel end that process and
 * nothing else; static variables may keep their values from one run to the next, or not. Standard output and error are the log. */
#ifndef TUTTI_PROGRAM_H
#define TUTTI_PROGRAM_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    TUTTI_STR = 1,
    TUTTI_INT,
    TUTTI_FLOAT,
    TUTTI_BOOL,
    TUTTI_DATETIME, /* the program gets `2026-01-31T10:30:00` */
    TUTTI_LIST,     /* as JSON */
    TUTTI_DICT,     /* as JSON */
    TUTTI_ENUM,
    TUTTI_SECRET,
} tutti_type;

/* A setting. fallback is its default as text (JSON for lists and dicts); NULL: it is required, unless optional is set. */
typedef struct {
    const char *name; /* NULL ends the list */
    tutti_type type;
    const char *fallback;
    const char *description;
    const char *choices; /* of an enum: "fast|full" */
    int optional;
} tutti_setting;

/* What tutti does for a running program. Texts that it gives live until run() returns. One thread at a time.
 * Members keep their places for ever, and later versions add some at the end: a program that runs with an older tutti as well asks TUTTI_HAS(t, publish) first. */
typedef struct tutti_host tutti_host;
#define TUTTI_HAS(t, member) (offsetof(tutti_host, member) < (t)->size)
struct tutti_host {
    uint32_t size; /* of this struct */
    /* Settings: as text (JSON for lists and dicts; "" when there is none), and as numbers (0 when it is none). */
    const char *(*text)(const tutti_host *t, const char *name);
    int64_t (*integer)(const tutti_host *t, const char *name);
    double (*number)(const tutti_host *t, const char *name);
    int (*flag)(const tutti_host *t, const char *name);
    const char *(*id)(const tutti_host *t); /* of the execution */
    /* The latest message of a procedure. */
    void (*update)(const tutti_host *t, const char *procedure, const char *message);
    /* Adds to a counter. */
    void (*count)(const tutti_host *t, const char *name, int64_t more);
    /* A line of the log. */
    void (*log)(const tutti_host *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
    /* Why it is about to fail. */
    void (*fail)(const tutti_host *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
    /* Records for the storage: a JSON list of objects. 0, or -1 when it is not that. */
    int (*store)(const tutti_host *t, const char *rows);
    /* The result: any JSON. 0, or -1 when it is none. */
    int (*result)(const tutti_host *t, const char *json);
    /* A secret, or a field of one: "shop/login#password". It is kept out of the log, the progress and the result. NULL when there is none; the log says why. */
    const char *(*secret)(const tutti_host *t, const char *name);
    /* About the task of a pipeline's run that this is: "run_id", "run_timestamp", "id", "name", "transformation", "state", "company", "brand", "branch", "environment", "pipeline",
     * "contract". "" when it is none. */
    const char *(*task)(const tutti_host *t, const char *name);
    /* The data lake. contract: as `tutti lake` takes it, "acme/shop/ingest/orders", in a task "ingest/orders"; "" or NULL: the task's own. What fails is said in the log.
     * publish: rows, a JSON list of objects, become one run of a data set, all or nothing: the task's run, else a new one; a run that is there is replaced. 0, or -1.
     * publish_file: likewise the rows of a file (.parquet, .csv, .jsonl); a contract of the state raw takes the file as it is. 0, or -1. */
    int (*publish)(const tutti_host *t, const char *contract, const char *rows);
    int (*publish_file)(const tutti_host *t, const char *contract, const char *path);
    /* The rows for which where is true ("amount > 5 and __metadata_run_id = 42"; "" or NULL: all), as a JSON list of at most 256 MiB; NULL when it failed. */
    const char *(*fetch)(const tutti_host *t, const char *contract, const char *where);
    /* Likewise into a file, of any size, whose ending says what it is; of the state raw the file itself, without where. 0, or -1. */
    int (*fetch_file)(const tutti_host *t, const char *contract, const char *where, const char *path);
};

/* A program. run gives 0 when all went well; any other value is a failure. */
typedef struct {
    uint32_t size;
    const char *display_name, *description; /* may be NULL */
    const tutti_setting *settings;          /* may be NULL */
    int (*run)(const tutti_host *t);
    int64_t timeout_s, memory_mb;           /* 0: as the configuration says */
} tutti_program;

/* Once in a program's file. */
#define TUTTI_PROGRAM(...)                                                                 \
    __attribute__((visibility("default"))) extern const tutti_program tutti_program_1;     \
    const tutti_program tutti_program_1 = {.size = sizeof(tutti_program), __VA_ARGS__}

#ifdef __cplusplus
}
#endif

#endif
