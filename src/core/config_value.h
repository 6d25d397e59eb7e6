/* config_value: text of a setting to its typed value and back. Private to core/config. */
#ifndef LYSS_CORE_CONFIG_VALUE_H
#define LYSS_CORE_CONFIG_VALUE_H

#include "core/config.h"

/* Parses text into *field (of the row's type), replacing and freeing what it held; on failure
 * *field is untouched and why[cap] says what is expected. ERR_INVALID, ERR_NOMEM. */
enum err config_value_parse(const struct config_setting *s, struct str text, void *field, char *why,
                            size_t cap) MUST_CHECK;
void config_value_release(const struct config_setting *s, void *field);
void config_value_show(const struct config_setting *s, const void *field, struct buf *out);

#endif
