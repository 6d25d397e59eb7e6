/* secret_input: secrets from stdin or a file, never from the command line. Main thread. */
#ifndef LYSS_CLI_SECRET_INPUT_H
#define LYSS_CLI_SECRET_INPUT_H

#include "core/err.h"
#include "core/secret.h"

/* All of stdin (file NULL) or of the file; blanks and line ends around it are cut. On a terminal a
 * prompt is printed and what is typed is not shown. The caller releases *out. ERR_INVALID: empty or
 * over 8 KiB. ERR_IO. */
enum err secret_read(const char *file, struct secret *out, struct err_info *info) MUST_CHECK;

#endif
