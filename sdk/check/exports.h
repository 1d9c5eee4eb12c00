/*
 * exports.h: which symbols a shared object gives to others.
 */
#ifndef CHECK_EXPORTS_H
#define CHECK_EXPORTS_H

#include "base/base.h"

#define EXPORT_NAME_MAX 128

/* Calls on_name for each defined global or weak dynamic symbol of a 64-bit ELF file. Section marks
 * that old linkers export (_end, _edata, __bss_start, _init, _fini) are left out. MAAS_E_INVALID:
 * no such file, or its tables do not lie inside it. */
maas_status MUST_USE exports_read(const char *path, void (*on_name)(void *arg, const char *name),
                                  void *arg, maas_error *error);

#endif
