-- Requests that are done once: what an Idempotency-Key stands for, and which gateways are alive.
--
-- A row is `running` while a gateway works on the request and `done` with its answer afterwards. The
-- key itself is not here: `scope` is SHA-256 of whose it is and the key. The answer is sealed by
-- the gateway (auth/seal.h); this database can neither read nor make one.
--
-- Who finishes a request is decided under the lock of its row: `attempt` names the one try that
-- may. A try that was given up for dead has another's attempt in its row, and is refused.

CREATE TABLE maas.idempotency (
    scope       bytea PRIMARY KEY CHECK (octet_length(scope) = 32),
    tenant_id   uuid, -- NULL: an admin token's
    fingerprint bytea NOT NULL CHECK (octet_length(fingerprint) = 32), -- of the request
    state       text NOT NULL CHECK (state IN ('running', 'done')),
    owner       uuid NOT NULL,    -- the gateway: its spool
    attempt     uuid NOT NULL,    -- the try: its request id
    started_at  timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at  timestamptz NOT NULL, -- running: the try's last moment; done: the answer's
    status      integer,
    answer      bytea, -- sealed; NULL when done: too large to be kept
    CHECK ((status IS NOT NULL) = (state = 'done')),
    CHECK (answer IS NULL OR state = 'done')
);
ALTER TABLE maas.idempotency ALTER answer SET STORAGE EXTERNAL; -- what is sealed does not shrink
CREATE INDEX idempotency_by_expiry ON maas.idempotency (expires_at);

-- One row an incarnation. `gone_at`: its spool's lock was found free, it is dead for certain.
CREATE TABLE maas.gateways (
    id       uuid PRIMARY KEY,
    heard_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    gone_at  timestamptz
);

ALTER TABLE maas.idempotency OWNER TO maas_owner;
ALTER TABLE maas.gateways OWNER TO maas_owner;
ALTER TABLE maas.idempotency ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
-- The gateway works through the functions below and has no right on the table; the policy is for a
-- right given by mistake. The admin plane writes its own rows in the transactions they belong to.
CREATE POLICY own ON maas.idempotency FOR SELECT TO maas_gateway
    USING (tenant_id = maas.current_tenant());
CREATE POLICY admin ON maas.idempotency TO maas_admin
    USING (tenant_id IS NULL) WITH CHECK (tenant_id IS NULL);
GRANT SELECT, INSERT, UPDATE, DELETE ON maas.idempotency TO maas_admin, maas_system;
GRANT SELECT ON maas.gateways TO maas_admin;
GRANT SELECT, INSERT, UPDATE, DELETE ON maas.gateways TO maas_system;

-- Whether the gateway may still be at work. One that was never heard has 10 s to be.
CREATE FUNCTION maas.gateway_lives(p_id uuid, p_since timestamptz) RETURNS boolean
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce((SELECT g.gone_at IS NULL AND g.heard_at > clock_timestamp() - interval '10 s'
                       FROM maas.gateways g WHERE g.id = p_id),
                    p_since > clock_timestamp() - interval '10 s')
$$;

-- An incarnation says that it lives; what is long dead is forgotten. One that was found dead stays
-- so.
CREATE FUNCTION maas.gateway_heard(p_id uuid) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    DELETE FROM maas.gateways WHERE heard_at < clock_timestamp() - interval '2 days';
    INSERT INTO maas.gateways AS g (id) VALUES (p_id)
        ON CONFLICT (id) DO UPDATE SET heard_at = clock_timestamp() WHERE g.gone_at IS NULL
$$;

-- An incarnation ended, or its spool was adopted.
CREATE FUNCTION maas.gateway_gone(p_id uuid) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO maas.gateways AS g (id, gone_at) VALUES (p_id, clock_timestamp())
        ON CONFLICT (id) DO UPDATE SET gone_at = clock_timestamp() WHERE g.gone_at IS NULL
$$;

-- Takes a request on, or says what is there:
--   begun     the caller works on it, as p_attempt, for p_patience_ms at most
--   done      with status and answer (NULL: it was not kept)
--   reused    the key stands for another request
--   running   somebody works on it
-- It waits for nobody but an insertion of the same key that is not committed yet: a row that is
-- locked is `running`. (Inserting first would wait for who updates the row: ON CONFLICT does.)
CREATE FUNCTION maas.idempotency_begin(
    p_scope bytea, p_tenant uuid, p_fingerprint bytea, p_owner uuid, p_attempt uuid,
    p_patience_ms integer, OUT verdict text, OUT status integer, OUT answer bytea)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    t timestamptz := clock_timestamp();
    until timestamptz := t + p_patience_ms * interval '1 ms';
    r maas.idempotency;
BEGIN
    -- No wait for the disk: a row that a crash of the server takes along lets the request be begun
    -- anew, and the first try's finish finds its attempt gone.
    PERFORM set_config('synchronous_commit', 'off', true);
    SELECT * INTO r FROM maas.idempotency i WHERE i.scope = p_scope FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        verdict := 'running'; -- it is locked, or inserted by another just now
        IF NOT EXISTS (SELECT FROM maas.idempotency i WHERE i.scope = p_scope) THEN
            INSERT INTO maas.idempotency (scope, tenant_id, fingerprint, state, owner, attempt,
                   expires_at)
            VALUES (p_scope, p_tenant, p_fingerprint, 'running', p_owner, p_attempt, until)
                ON CONFLICT DO NOTHING;
            IF FOUND THEN
                verdict := 'begun';
            END IF;
        END IF;
    ELSIF r.expires_at <= t
          OR (r.state = 'running' AND NOT maas.gateway_lives(r.owner, r.started_at)) THEN
        UPDATE maas.idempotency i
           SET tenant_id = p_tenant, fingerprint = p_fingerprint, state = 'running',
               owner = p_owner, attempt = p_attempt, started_at = t, expires_at = until,
               status = NULL, answer = NULL
         WHERE i.scope = p_scope;
        verdict := 'begun';
    ELSIF r.fingerprint <> p_fingerprint THEN
        verdict := 'reused';
    ELSIF r.state = 'running' THEN
        verdict := 'running';
    ELSE
        verdict := 'done';
        status := r.status;
        answer := r.answer;
    END IF;
END
$$;

-- Ends a try with its answer and its bill, both or neither:
--   done      now, or by an earlier call for the same attempt whose outcome was in doubt
--   wait      another transaction holds the row: ask again
--   lost      the row is not this attempt's any more: nothing was stored, nothing was billed
-- The bill is the gateway's own event, beside those of its spool: loop -1 - n.
CREATE FUNCTION maas.idempotency_finish(
    p_scope bytea, p_owner uuid, p_attempt uuid, p_status integer, p_answer bytea, p_loop integer,
    p_seq bigint, p_at_us bigint, p_tenant uuid, p_key uuid, p_model uuid, p_deployment uuid,
    p_version integer, p_rows integer, p_units bigint, p_compute_us integer, p_latency_us integer,
    p_surface integer, p_admitted_us bigint) RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    today date := (now() AT TIME ZONE 'UTC')::date;
    r maas.idempotency;
    is_dead boolean;
BEGIN
    IF p_loop >= 0 THEN
        RAISE EXCEPTION 'a loop below 0 is expected' USING ERRCODE = 'invalid_parameter_value';
    END IF;
    PERFORM maas.usage_partition(maas.usage_day(p_at_us, today)); -- before any lock of ours
    SELECT * INTO r FROM maas.idempotency i WHERE i.scope = p_scope FOR UPDATE SKIP LOCKED;
    IF NOT FOUND THEN
        RETURN CASE WHEN EXISTS (SELECT FROM maas.idempotency i WHERE i.scope = p_scope
                                    AND i.attempt = p_attempt)
                    THEN 'wait' ELSE 'lost' END;
    ELSIF r.attempt <> p_attempt OR r.owner <> p_owner OR r.tenant_id IS DISTINCT FROM p_tenant THEN
        RETURN 'lost';
    ELSIF r.state = 'done' THEN
        RETURN 'done';
    END IF;
    -- An incarnation whose quota leases were settled is dead: a bill that comes late would be beyond them.
    SELECT q.closed INTO is_dead FROM maas.quota_lessees q WHERE q.lessee = p_owner FOR SHARE;
    IF is_dead THEN
        RETURN 'lost';
    END IF;
    UPDATE maas.idempotency i
       SET state = 'done', expires_at = clock_timestamp() + interval '24 h', status = p_status,
           answer = p_answer
     WHERE i.scope = p_scope;
    -- The one place where such an answer is billed.
    INSERT INTO maas.usage_events (day, spool, loop, seq, at, tenant_id, key_id, model_id,
           deployment_id, request_id, version, rows, units, compute_us, latency_us, http_status,
           surface, admitted_at)
    VALUES (maas.usage_day(p_at_us, today), p_owner, p_loop, p_seq, maas.usage_at(p_at_us), p_tenant,
            p_key, p_model, p_deployment, p_attempt, p_version, p_rows, p_units, p_compute_us,
            p_latency_us, p_status, p_surface, maas.usage_at(p_admitted_us));
    PERFORM maas.usage_total(ARRAY[ROW(maas.usage_quarter_of(maas.usage_at(p_admitted_us)), p_tenant, p_key,
            p_deployment, 1, p_rows, p_units, p_compute_us)::maas.usage_quarter]);
    RETURN 'done';
END
$$;

-- A try that ended without an answer worth keeping: the next one begins anew. No wait for the disk.
CREATE FUNCTION maas.idempotency_release(p_scope bytea, p_attempt uuid) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT set_config('synchronous_commit', 'off', true);
    DELETE FROM maas.idempotency
     WHERE scope = p_scope AND attempt = p_attempt AND state = 'running'
$$;

-- Removes up to p_most rows that expired over a minute ago and says how many.
CREATE FUNCTION maas.idempotency_purge(p_most integer) RETURNS integer
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    n integer;
BEGIN
    DELETE FROM maas.idempotency i WHERE i.scope IN (
        SELECT j.scope FROM maas.idempotency j
         WHERE j.expires_at < clock_timestamp() - interval '1 min'
         ORDER BY j.expires_at LIMIT p_most FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS n = ROW_COUNT;
    RETURN n;
END
$$;

ALTER FUNCTION maas.gateway_lives(uuid, timestamptz) OWNER TO maas_system;
ALTER FUNCTION maas.gateway_heard(uuid) OWNER TO maas_system;
ALTER FUNCTION maas.gateway_gone(uuid) OWNER TO maas_system;
ALTER FUNCTION maas.idempotency_begin(bytea, uuid, bytea, uuid, uuid, integer) OWNER TO maas_system;
ALTER FUNCTION maas.idempotency_finish(bytea, uuid, uuid, integer, bytea, integer, bigint, bigint,
    uuid, uuid, uuid, uuid, integer, integer, bigint, integer, integer, integer, bigint)
    OWNER TO maas_system;
ALTER FUNCTION maas.idempotency_release(bytea, uuid) OWNER TO maas_system;
ALTER FUNCTION maas.idempotency_purge(integer) OWNER TO maas_system;
GRANT EXECUTE ON FUNCTION maas.gateway_heard(uuid), maas.gateway_gone(uuid),
    maas.idempotency_begin(bytea, uuid, bytea, uuid, uuid, integer),
    maas.idempotency_finish(bytea, uuid, uuid, integer, bytea, integer, bigint, bigint, uuid, uuid,
        uuid, uuid, integer, integer, bigint, integer, integer, integer, bigint),
    maas.idempotency_release(bytea, uuid), maas.idempotency_purge(integer) TO maas_gateway;
