#include "io/taken.h"

#include <pthread.h>
#include <sys/stat.h>

#include "base/map.h"

typedef struct {
    uint64_t dev, ino;
} file_id;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* guards paths */
static tt_map paths; /* file_id -> its path, as it was given */

static tt_str key_of(const file_id *id) { return (tt_str){(const char *)id, sizeof *id}; }

/* A file that was deleted leaves its number to others. */
static bool is_still(const char *path, const file_id *id)
{
    struct stat st;
    return lstat(path, &st) == 0 && st.st_dev == id->dev && st.st_ino == id->ino;
}

tt_rc tt_taken_add(uint64_t dev, uint64_t ino, const char *path, tt_err *err)
{
    file_id id = {dev, ino};
    pthread_mutex_lock(&lock);
    const char *other = tt_map_get(&paths, key_of(&id));
    bool is_taken = other && is_still(other, &id);
    bool added = !is_taken && tt_map_put(&paths, key_of(&id), (void *)(uintptr_t)path, NULL);
    pthread_mutex_unlock(&lock);
    if (is_taken)
        return tt_fail(err, TT_LOCKED, "the output '%.256s' is in use by another job", path);
    return added ? TT_OK : tt_fail(err, TT_NOMEM, "out of memory for the list of outputs");
}

void tt_taken_remove(uint64_t dev, uint64_t ino, const char *path)
{
    file_id id = {dev, ino};
    pthread_mutex_lock(&lock);
    if (tt_map_get(&paths, key_of(&id)) == (void *)(uintptr_t)path) /* else its number went to another */
        tt_map_remove(&paths, key_of(&id));
    if (paths.len == 0)
        tt_map_deinit(&paths);
    pthread_mutex_unlock(&lock);
}
