-- Taking over usage at a third of the cost. Measured per row: ON CONFLICT as much as the insert itself, the
-- conversions through a time zone half of it. So rows go in plainly, and only when one is there already (a cursor
-- was lost) once more with ON CONFLICT; and days are counted, not converted.

CREATE OR REPLACE FUNCTION maas.usage_at(p_us bigint) RETURNS timestamptz
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN to_timestamp(least(greatest(p_us, 0), 253402300799000000) / 1000000.0::double precision);
CREATE OR REPLACE FUNCTION maas.usage_day(p_us bigint, p_today date) RETURNS date
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN least(greatest(date '1970-01-01'
                          + (least(greatest(p_us, 0), 253402300799000000) / 86400000000)::integer,
                          p_today - 400), p_today + 1);

-- The events after p_taken as rows of usage_events. (Inlined into the queries that use it.)
CREATE FUNCTION maas.usage_rows(
    p_spool uuid, p_loop integer, p_first_seq bigint, p_taken bigint, p_today date,
    p_at_us bigint[], p_tenant uuid[], p_key uuid[], p_model uuid[], p_deployment uuid[],
    p_request uuid[], p_version integer[], p_rows integer[], p_units bigint[],
    p_compute_us integer[], p_latency_us integer[], p_http_status integer[], p_surface integer[])
    RETURNS SETOF maas.usage_events LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT maas.usage_day(e.at_us, p_today), p_spool, p_loop, p_first_seq + e.i - 1,
           maas.usage_at(e.at_us), e.tenant, e.key, e.model, e.deployment, e.request, e.version,
           e.rows, e.units, e.compute_us, e.latency_us, e.http_status, e.surface
      FROM unnest(p_at_us, p_tenant, p_key, p_model, p_deployment, p_request, p_version, p_rows,
                  p_units, p_compute_us, p_latency_us, p_http_status, p_surface)
           WITH ORDINALITY
           AS e(at_us, tenant, key, model, deployment, request, version, rows, units, compute_us,
                latency_us, http_status, surface, i)
     WHERE p_first_seq + e.i - 1 > p_taken;
END;
ALTER FUNCTION maas.usage_rows(uuid, integer, bigint, bigint, date, bigint[], uuid[], uuid[], uuid[],
    uuid[], uuid[], integer[], integer[], bigint[], integer[], integer[], integer[], integer[])
    OWNER TO maas_owner;
REVOKE ALL ON FUNCTION maas.usage_rows(uuid, integer, bigint, bigint, date, bigint[], uuid[], uuid[],
    uuid[], uuid[], uuid[], integer[], integer[], bigint[], integer[], integer[], integer[],
    integer[]) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION maas.usage_rows(uuid, integer, bigint, bigint, date, bigint[], uuid[],
    uuid[], uuid[], uuid[], uuid[], integer[], integer[], bigint[], integer[], integer[], integer[],
    integer[]) TO maas_system;

-- As before (0004): events p_first_seq, p_first_seq + 1, … of one chain; those at or before the cursor are skipped,
-- so a batch may be sent again. Answers the cursor afterwards.
CREATE OR REPLACE FUNCTION maas.usage_append(
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
        SELECT DISTINCT date_trunc('month', d)::date
          FROM (SELECT DISTINCT maas.usage_day(a, today) AS d FROM unnest(p_at_us) AS a) AS days
         ORDER BY 1
    LOOP
        PERFORM maas.usage_partition(month);
    END LOOP;

    BEGIN
        INSERT INTO maas.usage_events
        SELECT * FROM maas.usage_rows(p_spool, p_loop, p_first_seq, taken, today, p_at_us, p_tenant,
                      p_key, p_model, p_deployment, p_request, p_version, p_rows, p_units,
                      p_compute_us, p_latency_us, p_http_status, p_surface);
    EXCEPTION WHEN unique_violation THEN
        INSERT INTO maas.usage_events
        SELECT * FROM maas.usage_rows(p_spool, p_loop, p_first_seq, taken, today, p_at_us, p_tenant,
                      p_key, p_model, p_deployment, p_request, p_version, p_rows, p_units,
                      p_compute_us, p_latency_us, p_http_status, p_surface)
            ON CONFLICT DO NOTHING;
    END;

    UPDATE maas.spool_cursors SET seq = last_seq, updated_at = now()
     WHERE spool = p_spool AND loop = p_loop;
    RETURN last_seq;
END
$$;
