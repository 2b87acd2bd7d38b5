/* Is the input still the one that the job started with, to its last byte? The hash of each whole file is taken while the plan reads it, and kept with the
 * job. Where the time stamp of a file is another one than recorded (size, beginning and end being the same), nothing more is served until the hash of the
 * whole file has been compared, in steps on the pool: a `touch` or a copy costs that time, and a file that was changed in its middle breaks the job.
 * Where no hash is known yet (the plan was interrupted by a restart, or the job is older than the hashes) it is learnt in the same way. */
#ifndef TT_ITEMS_VERIFY_H
#define TT_ITEMS_VERIFY_H

#include "items/job.h"

/* Begin with what there is to learn or to compare; nothing happens when there is nothing, or it is under way. here: the first step is taken before it returns
 * (on the pool only). */
void tt_verify_start(tt_job *j, bool here);
/* The same with the lock held, never here. */
void tt_verify_kick(tt_job *j);
/* At once, as far as hashes are to be learnt: when the plan has just been made in one go. */
tt_rc tt_verify_learn(tt_job *j, tt_err *err) TT_MUST_CHECK;
/* With the lock held: this file's time stamp is not the recorded one. tt_verify_start must follow. */
void tt_verify_doubt(tt_job *j, size_t file_no);

#endif
