/*
 * tls_private.h: the SSL_CTX behind a struct tls, for the file that accepts connections.
 */
#ifndef MAAS_NET_TLS_PRIVATE_H
#define MAAS_NET_TLS_PRIVATE_H

#include "net/server.h"

#include <openssl/ssl.h>

/* A reference to the present SSL_CTX; the caller gives it back with SSL_CTX_free. [any] */
SSL_CTX *tls_ref_ctx(struct tls *tls);

#endif
