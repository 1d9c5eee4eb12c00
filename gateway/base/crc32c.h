/*
 * crc32c.h: the way of crc32c() without the processor's instruction, for its test. Private to base.
 */
#ifndef MAAS_CRC32C_H
#define MAAS_CRC32C_H

#include "base/base.h"

uint32_t crc32c_plain(uint32_t crc, const void *data, size_t len);

#endif
