/* hash: seeded hash for tables, CRC-32C for records. Any thread. */
#ifndef LYSS_CORE_HASH_H
#define LYSS_CORE_HASH_H

#include "core/str.h"

/* SipHash-1-3 (Aumasson and Bernstein) under a key drawn at process start. */
uint64_t hash_str(struct str s);
/* CRC-32C (Castagnoli, RFC 3720 B.4), continuing from crc (0 to begin). */
uint32_t hash_crc32c(uint32_t crc, const void *p, size_t n);

#endif
