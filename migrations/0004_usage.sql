-- What was delivered and is billed. One row per answer, unique by its place in a gateway's spool.
-- No foreign keys: a row that arrived is never refused because something else was deleted.

CREATE TABLE maas.usage_events (
    day           date NOT NULL, -- of `at` in UTC, kept within [today - 400, today + 1]
    spool         uuid NOT NULL,
    loop          integer NOT NULL,
    seq           bigint NOT NULL,
    at            timestamptz NOT NULL,
    tenant_id     uuid NOT NULL,
    key_id        uuid NOT NULL, -- api_keys.id
    model_id      uuid NOT NULL,
    deployment_id uuid NOT NULL,
    request_id    uuid NOT NULL,
    version       integer NOT NULL,
    rows          integer NOT NULL,
    units         bigint NOT NULL,
    compute_us    integer NOT NULL,
    latency_us    integer NOT NULL,
    http_status   integer NOT NULL,
    surface       integer NOT NULL,
    PRIMARY KEY (day, spool, loop, seq)
) PARTITION BY RANGE (day);
CREATE INDEX usage_events_by_tenant ON maas.usage_events (tenant_id, day);

-- How far each chain of each spool has been taken over; moves in the transaction that inserts.
CREATE TABLE maas.spool_cursors (
    spool      uuid NOT NULL,
    loop       integer NOT NULL,
    seq        bigint NOT NULL,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (spool, loop)
);

ALTER TABLE maas.usage_events OWNER TO maas_owner;
ALTER TABLE maas.spool_cursors OWNER TO maas_owner;
ALTER TABLE maas.usage_events ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON maas.usage_events FOR SELECT TO maas_gateway
    USING (tenant_id = maas.current_tenant());
CREATE POLICY admin ON maas.usage_events FOR SELECT TO maas_admin USING (true);
GRANT SELECT ON maas.usage_events TO maas_gateway, maas_admin;
GRANT SELECT ON maas.spool_cursors TO maas_admin;
GRANT SELECT, INSERT ON maas.usage_events TO maas_system;
GRANT SELECT, INSERT, UPDATE ON maas.spool_cursors TO maas_system;

-- Makes the partition of p_day's month when it is missing. ATTACH, not CREATE … PARTITION OF: it
-- does not wait for those who read or insert. The lock serialises two that find it missing.
-- Nobody has rights on a partition itself; its row security is for a right given by mistake.
CREATE FUNCTION maas.usage_partition(p_day date) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    first date := date_trunc('month', p_day)::date;
    part text := 'usage_events_' || to_char(first, 'YYYY_MM');
BEGIN
    IF to_regclass('maas.' || part) IS NOT NULL THEN
        RETURN;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtextextended('maas.usage_partition', 0));
    IF to_regclass('maas.' || part) IS NOT NULL THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE TABLE maas.%I (LIKE maas.usage_events INCLUDING ALL)', part);
    EXECUTE format('ALTER TABLE maas.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', part);
    EXECUTE format('CREATE POLICY own ON maas.%I FOR SELECT TO maas_gateway '
                   'USING (tenant_id = maas.current_tenant())', part);
    EXECUTE format('ALTER TABLE maas.usage_events ATTACH PARTITION maas.%I FOR VALUES FROM (%L) TO (%L)',
                   part, first, (first + interval '1 month')::date);
END
$$;
ALTER FUNCTION maas.usage_partition(date) OWNER TO maas_owner;
GRANT EXECUTE ON FUNCTION maas.usage_partition(date) TO maas_system;

-- Takes over events p_first_seq, p_first_seq + 1, … of one chain; element i of every array is one
-- event. Those at or before the cursor are skipped, so a batch may be sent again. Answers the
-- cursor afterwards. A clock that is far off must not stop billing or make partitions without end:
-- `at` is kept within the calendar, `day` within the last 400 days and tomorrow.
CREATE FUNCTION maas.usage_append(
    p_spool uuid, p_loop integer, p_first_seq bigint, p_at_us bigint[], p_tenant uuid[],
    p_key uuid[], p_model uuid[], p_deployment uuid[], p_request uuid[], p_version integer[],
    p_rows integer[], p_units bigint[], p_compute_us integer[], p_latency_us integer[],
    p_http_status integer[], p_surface integer[]) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    n integer := cardinality(p_at_us);
    last_seq bigint := p_first_seq + n - 1;
    today date := (now() AT TIME ZONE 'UTC')::date;
    taken bigint;
    month date;
BEGIN
    IF (n, n, n, n, n, n, n, n, n, n, n, n) IS DISTINCT FROM
       (cardinality(p_tenant), cardinality(p_key), cardinality(p_model), cardinality(p_deployment),
        cardinality(p_request), cardinality(p_version), cardinality(p_rows), cardinality(p_units),
        cardinality(p_compute_us), cardinality(p_latency_us), cardinality(p_http_status),
        cardinality(p_surface)) OR p_first_seq < 1 THEN
        RAISE EXCEPTION 'arrays of different lengths or a sequence below 1'
            USING ERRCODE = 'invalid_parameter_value';
    END IF;

    INSERT INTO maas.spool_cursors (spool, loop, seq) VALUES (p_spool, p_loop, 0)
        ON CONFLICT DO NOTHING;
    SELECT seq INTO taken FROM maas.spool_cursors
     WHERE spool = p_spool AND loop = p_loop FOR UPDATE;
    IF n = 0 OR last_seq <= taken THEN
        RETURN taken;
    END IF;

    -- Partitions first: attaching one after a row was inserted could deadlock with another's.
    FOR month IN
        SELECT DISTINCT date_trunc('month', maas.usage_day(a, today))::date
          FROM unnest(p_at_us) AS a ORDER BY 1
    LOOP
        PERFORM maas.usage_partition(month);
    END LOOP;

    INSERT INTO maas.usage_events
    SELECT maas.usage_day(e.at_us, today), p_spool, p_loop, p_first_seq + e.i - 1,
           maas.usage_at(e.at_us), e.tenant, e.key, e.model, e.deployment, e.request, e.version,
           e.rows, e.units, e.compute_us, e.latency_us, e.http_status, e.surface
      FROM unnest(p_at_us, p_tenant, p_key, p_model, p_deployment, p_request, p_version, p_rows,
                  p_units, p_compute_us, p_latency_us, p_http_status, p_surface)
           WITH ORDINALITY
           AS e(at_us, tenant, key, model, deployment, request, version, rows, units, compute_us,
                latency_us, http_status, surface, i)
     WHERE p_first_seq + e.i - 1 > taken
        ON CONFLICT DO NOTHING;

    UPDATE maas.spool_cursors SET seq = last_seq, updated_at = now()
     WHERE spool = p_spool AND loop = p_loop;
    RETURN last_seq;
END
$$;

CREATE FUNCTION maas.usage_at(p_us bigint) RETURNS timestamptz
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN timestamptz 'epoch'
           + least(greatest(p_us, 0), 253402300799000000) * interval '1 microsecond';
CREATE FUNCTION maas.usage_day(p_us bigint, p_today date) RETURNS date
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN least(greatest((maas.usage_at(p_us) AT TIME ZONE 'UTC')::date, p_today - 400), p_today + 1);

-- The cursors of one spool; a chain that never sent anything has no row.
CREATE FUNCTION maas.usage_cursor(p_spool uuid) RETURNS TABLE (loop integer, seq bigint)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT loop, seq FROM maas.spool_cursors WHERE spool = p_spool ORDER BY loop
$$;

ALTER FUNCTION maas.usage_at(bigint) OWNER TO maas_owner;
ALTER FUNCTION maas.usage_day(bigint, date) OWNER TO maas_owner;
GRANT EXECUTE ON FUNCTION maas.usage_at(bigint), maas.usage_day(bigint, date) TO maas_system;
ALTER FUNCTION maas.usage_append(uuid, integer, bigint, bigint[], uuid[], uuid[], uuid[], uuid[],
    uuid[], integer[], integer[], bigint[], integer[], integer[], integer[], integer[])
    OWNER TO maas_system;
ALTER FUNCTION maas.usage_cursor(uuid) OWNER TO maas_system;
GRANT EXECUTE ON FUNCTION maas.usage_append(uuid, integer, bigint, bigint[], uuid[], uuid[], uuid[],
    uuid[], uuid[], integer[], integer[], bigint[], integer[], integer[], integer[], integer[])
    TO maas_gateway;
GRANT EXECUTE ON FUNCTION maas.usage_cursor(uuid) TO maas_gateway;
