/*
 * keys.h: the key ring from its two files (auth itself reads none).
 */
#ifndef MAAS_API_KEYS_H
#define MAAS_API_KEYS_H

#include "auth/key.h"

/* auth.id_key_file and auth.pepper_file; their texts are wiped. [control] */
maas_status MUST_USE key_ring_from_files(const char *id_key_file, const char *pepper_file,
                                         struct key_ring **out, maas_error *error);

#endif
