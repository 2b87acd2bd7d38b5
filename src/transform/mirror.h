/* The program sftp_mirror: files of another machine's directory become files of the raw state, each as it is, with its time. One of the same size and time
 * that is there already is not fetched again; one that has changed takes the place of the one before; one that was cut off goes on where it stopped. In the process in which C programs run. */
#ifndef TT_TRANSFORM_MIRROR_H
#define TT_TRANSFORM_MIRROR_H

#include "tutti/program.h"

extern const tutti_program tt_program_sftp_mirror;

#endif
