/*
 * tls.c: the TLS context of a listener.
 *
 * TLS 1.2 (ECDHE with AEAD ciphers only) and 1.3; ALPN h2, then http/1.1; a client that offers ALPN
 * without either is refused, one without ALPN speaks HTTP/1.1. Sessions resume by tickets whose key
 * lives and dies with the SSL_CTX, bound to the listener by the session id context. Renegotiation,
 * compression and early data are off.
 *
 * A reload builds a new SSL_CTX and swaps it in; connections hold a reference to theirs, so the old
 * one goes with its last connection. Rejected: h2o_ssl_register_alpn_protocols, which also offers
 * the draft versions of HTTP/2.
 */
#include "net/tls_private.h"

#include <openssl/err.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct tls {
    pthread_mutex_t mutex; /* guards ctx, nothing else is changed after birth */
    SSL_CTX *ctx;
    char *cert_file, *key_file, *session_id_context;
    bool allow_h2;
};

static int on_alpn(SSL *ssl, const unsigned char **out, unsigned char *out_len,
                   const unsigned char *in, unsigned int in_len, void *arg)
{
    static const unsigned char both[] = "\x02h2\x08http/1.1";
    static const unsigned char old[] = "\x08http/1.1";
    const struct tls *tls = arg;
    (void)ssl;
    const unsigned char *ours = tls->allow_h2 ? both : old;
    const unsigned int ours_len = (unsigned int)(tls->allow_h2 ? sizeof(both) : sizeof(old)) - 1;
    unsigned char *chosen = NULL; /* points into `ours` or `in` */
    if (SSL_select_next_proto(&chosen, out_len, ours, ours_len, in, in_len) !=
        OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    *out = chosen;
    return SSL_TLSEXT_ERR_OK;
}

static maas_status ssl_failed(const char *what, const char *subject, maas_error *error)
{
    char text[160];
    ERR_error_string_n(ERR_peek_last_error(), text, sizeof(text));
    ERR_clear_error();
    return fail(error, MAAS_E_INVALID, "%s '%s': %s", what, subject, text);
}

static maas_status load_identity(const struct tls *tls, SSL_CTX *ctx, maas_error *error)
{
    ERR_clear_error();
    if (SSL_CTX_use_certificate_chain_file(ctx, tls->cert_file) != 1)
        return ssl_failed("cannot use certificate", tls->cert_file, error);
    if (SSL_CTX_use_PrivateKey_file(ctx, tls->key_file, SSL_FILETYPE_PEM) != 1)
        return ssl_failed("cannot use private key", tls->key_file, error);
    if (SSL_CTX_check_private_key(ctx) != 1)
        return ssl_failed("certificate does not match private key", tls->key_file, error);
    return MAAS_OK;
}

static bool set_policy(struct tls *tls, SSL_CTX *ctx)
{
    const char *sid = tls->session_id_context;
    SSL_CTX_set_options(ctx, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                 SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_session_cache_mode(ctx,
                                   SSL_SESS_CACHE_OFF); /* tickets only: no memory per client */
    SSL_CTX_set_num_tickets(ctx, 1);
    SSL_CTX_set_alpn_select_cb(ctx, on_alpn, tls);
    return SSL_CTX_set_min_proto_version(ctx, TLS1_2_VERSION) == 1 &&
           SSL_CTX_set_cipher_list(ctx, "ECDHE+AESGCM:ECDHE+CHACHA20") == 1 &&
           SSL_CTX_set_session_id_context(ctx, (const unsigned char *)sid,
                                          (unsigned int)strlen(sid)) == 1;
}

static maas_status make_ctx(struct tls *tls, SSL_CTX **out, maas_error *error)
{
    maas_status status;
    SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
    if (ctx == NULL || !set_policy(tls, ctx))
        status = ssl_failed("cannot set up TLS for", tls->session_id_context, error);
    else
        status = load_identity(tls, ctx, error);
    if (status != MAAS_OK) {
        SSL_CTX_free(ctx);
        return status;
    }
    *out = ctx;
    return MAAS_OK;
}

maas_status tls_new(const char *cert_file, const char *key_file, const char *session_id_context,
                    bool allow_h2, struct tls **out, maas_error *error)
{
    if (strlen(session_id_context) > SSL_MAX_SID_CTX_LENGTH)
        return fail(error, MAAS_E_INVALID, "session id context '%s' is longer than %d bytes",
                    session_id_context, SSL_MAX_SID_CTX_LENGTH);
    struct tls *tls = calloc(1, sizeof(*tls));
    if (tls == NULL)
        return fail(error, MAAS_E_INTERNAL, "no memory for a TLS context");
    pthread_mutex_init(&tls->mutex, NULL);
    tls->cert_file = strdup(cert_file);
    tls->key_file = strdup(key_file);
    tls->session_id_context = strdup(session_id_context);
    tls->allow_h2 = allow_h2;
    CHECK(tls->cert_file != NULL && tls->key_file != NULL && tls->session_id_context != NULL);
    const maas_status status = make_ctx(tls, &tls->ctx, error);
    if (status != MAAS_OK) {
        tls_free(tls);
        return status;
    }
    *out = tls;
    return MAAS_OK;
}

maas_status tls_reload(struct tls *tls, maas_error *error)
{
    SSL_CTX *ctx;
    const maas_status status = make_ctx(tls, &ctx, error);
    if (status != MAAS_OK)
        return status;
    pthread_mutex_lock(&tls->mutex);
    SSL_CTX *old = tls->ctx;
    tls->ctx = ctx;
    pthread_mutex_unlock(&tls->mutex);
    SSL_CTX_free(old);
    return MAAS_OK;
}

SSL_CTX *tls_ref_ctx(struct tls *tls)
{
    pthread_mutex_lock(&tls->mutex);
    SSL_CTX *ctx = tls->ctx;
    SSL_CTX_up_ref(ctx);
    pthread_mutex_unlock(&tls->mutex);
    return ctx;
}

void tls_free(struct tls *tls)
{
    if (tls == NULL)
        return;
    SSL_CTX_free(tls->ctx);
    pthread_mutex_destroy(&tls->mutex);
    free(tls->cert_file);
    free(tls->key_file);
    free(tls->session_id_context);
    free(tls);
}
