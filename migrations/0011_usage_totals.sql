-- Totals of usage by the hour and by the tenant's day, kept in the transaction that takes events over, so that rows
-- and totals agree to the unit at every moment; and when a request was admitted, which is the period it counts to.

-- NULL in rows from before: then `at` stands for it.
ALTER TABLE maas.usage_events ADD COLUMN admitted_at timestamptz;

CREATE TABLE maas.usage_hourly (
    hour          timestamptz NOT NULL, -- in UTC
    tenant_id     uuid NOT NULL,
    key_id        uuid NOT NULL,
    deployment_id uuid NOT NULL,
    requests      bigint NOT NULL,
    rows          bigint NOT NULL,
    units         bigint NOT NULL,
    compute_us    bigint NOT NULL,
    PRIMARY KEY (tenant_id, hour, key_id, deployment_id)
);
CREATE TABLE maas.usage_daily (
    day           date NOT NULL, -- in the zone that the tenant had when the event was taken over
    tenant_id     uuid NOT NULL,
    key_id        uuid NOT NULL,
    deployment_id uuid NOT NULL,
    requests      bigint NOT NULL,
    rows          bigint NOT NULL,
    units         bigint NOT NULL,
    compute_us    bigint NOT NULL,
    PRIMARY KEY (tenant_id, day, key_id, deployment_id)
);
CREATE INDEX usage_hourly_by_hour ON maas.usage_hourly (hour);
CREATE INDEX usage_daily_by_day ON maas.usage_daily (day);

DO $$
DECLARE
    t text;
BEGIN
    FOREACH t IN ARRAY ARRAY['usage_hourly', 'usage_daily'] LOOP
        EXECUTE format('ALTER TABLE maas.%I OWNER TO maas_owner', t);
        EXECUTE format('ALTER TABLE maas.%I ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY', t);
        EXECUTE format('CREATE POLICY own ON maas.%I FOR SELECT TO maas_gateway USING (tenant_id = maas.current_tenant())', t);
        EXECUTE format('CREATE POLICY admin ON maas.%I FOR SELECT TO maas_admin USING (true)', t);
        EXECUTE format('GRANT SELECT ON maas.%I TO maas_gateway, maas_admin', t);
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON maas.%I TO maas_system', t);
    END LOOP;
END
$$;

-- What a quarter of an hour adds. No time zone cuts one in two, so hours and days both are sums of them.
CREATE TYPE maas.usage_quarter AS (
    quarter timestamptz, tenant_id uuid, key_id uuid, deployment_id uuid,
    requests bigint, rows bigint, units bigint, compute_us bigint);
ALTER TYPE maas.usage_quarter OWNER TO maas_owner;

CREATE FUNCTION maas.usage_quarter_of(p_at timestamptz) RETURNS timestamptz
    LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN to_timestamp(floor(extract(epoch FROM p_at) / 900) * 900);

-- Adds quarters to both totals. Rows are written in the order of their keys, hours first, by everybody: two that
-- write the same ones wait for each other and never in a circle.
CREATE FUNCTION maas.usage_total(p_quarters maas.usage_quarter[]) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO maas.usage_hourly AS u
    SELECT date_trunc('hour', q.quarter, 'UTC'), q.tenant_id, q.key_id, q.deployment_id,
           sum(q.requests), sum(q.rows), sum(q.units), sum(q.compute_us)
      FROM unnest(p_quarters) q GROUP BY 1, 2, 3, 4 ORDER BY 2, 1, 3, 4
        ON CONFLICT (tenant_id, hour, key_id, deployment_id)
        DO UPDATE SET requests = u.requests + excluded.requests, rows = u.rows + excluded.rows,
                      units = u.units + excluded.units, compute_us = u.compute_us + excluded.compute_us;
    INSERT INTO maas.usage_daily AS u
    SELECT (q.quarter AT TIME ZONE coalesce(t.time_zone, 'UTC'))::date, q.tenant_id, q.key_id, q.deployment_id,
           sum(q.requests), sum(q.rows), sum(q.units), sum(q.compute_us)
      FROM unnest(p_quarters) q LEFT JOIN maas.tenants t ON t.id = q.tenant_id GROUP BY 1, 2, 3, 4 ORDER BY 2, 1, 3, 4
        ON CONFLICT (tenant_id, day, key_id, deployment_id)
        DO UPDATE SET requests = u.requests + excluded.requests, rows = u.rows + excluded.rows,
                      units = u.units + excluded.units, compute_us = u.compute_us + excluded.compute_us;
END
$$;
ALTER FUNCTION maas.usage_quarter_of(timestamptz) OWNER TO maas_owner;
GRANT EXECUTE ON FUNCTION maas.usage_quarter_of(timestamptz) TO maas_system;
ALTER FUNCTION maas.usage_total(maas.usage_quarter[]) OWNER TO maas_system;

-- What is there already.
SELECT maas.usage_total(array_agg(ROW(q.quarter, q.tenant_id, q.key_id, q.deployment_id, q.requests, q.rows, q.units,
                                      q.compute_us)::maas.usage_quarter))
  FROM (SELECT maas.usage_quarter_of(e.at) AS quarter, e.tenant_id, e.key_id, e.deployment_id, count(*) AS requests,
               sum(e.rows) AS rows, sum(e.units) AS units, sum(e.compute_us) AS compute_us
          FROM maas.usage_events e GROUP BY 1, 2, 3, 4) q
HAVING count(*) > 0;

DROP FUNCTION maas.usage_append(uuid, integer, bigint, bigint[], uuid[], uuid[], uuid[], uuid[], uuid[],
    integer[], integer[], bigint[], integer[], integer[], integer[], integer[]);
DROP FUNCTION maas.usage_rows(uuid, integer, bigint, bigint, date, bigint[], uuid[], uuid[], uuid[], uuid[], uuid[],
    integer[], integer[], bigint[], integer[], integer[], integer[], integer[]);

-- The events after p_taken as rows of usage_events. (Inlined into the queries that use it.)
CREATE FUNCTION maas.usage_rows(
    p_spool uuid, p_loop integer, p_first_seq bigint, p_taken bigint, p_today date,
    p_at_us bigint[], p_tenant uuid[], p_key uuid[], p_model uuid[], p_deployment uuid[],
    p_request uuid[], p_version integer[], p_rows integer[], p_units bigint[],
    p_compute_us integer[], p_latency_us integer[], p_http_status integer[], p_surface integer[],
    p_admitted_us bigint[])
    RETURNS SETOF maas.usage_events LANGUAGE sql STABLE
BEGIN ATOMIC
    SELECT maas.usage_day(e.at_us, p_today), p_spool, p_loop, p_first_seq + e.i - 1,
           maas.usage_at(e.at_us), e.tenant, e.key, e.model, e.deployment, e.request, e.version,
           e.rows, e.units, e.compute_us, e.latency_us, e.http_status, e.surface, maas.usage_at(e.admitted_us)
      FROM unnest(p_at_us, p_tenant, p_key, p_model, p_deployment, p_request, p_version, p_rows,
                  p_units, p_compute_us, p_latency_us, p_http_status, p_surface, p_admitted_us)
           WITH ORDINALITY
           AS e(at_us, tenant, key, model, deployment, request, version, rows, units, compute_us,
                latency_us, http_status, surface, admitted_us, i)
     WHERE p_first_seq + e.i - 1 > p_taken;
END;
ALTER FUNCTION maas.usage_rows(uuid, integer, bigint, bigint, date, bigint[], uuid[], uuid[], uuid[],
    uuid[], uuid[], integer[], integer[], bigint[], integer[], integer[], integer[], integer[], bigint[])
    OWNER TO maas_owner;
REVOKE ALL ON FUNCTION maas.usage_rows(uuid, integer, bigint, bigint, date, bigint[], uuid[], uuid[], uuid[],
    uuid[], uuid[], integer[], integer[], bigint[], integer[], integer[], integer[], integer[], bigint[])
    FROM PUBLIC;
GRANT EXECUTE ON FUNCTION maas.usage_rows(uuid, integer, bigint, bigint, date, bigint[], uuid[],
    uuid[], uuid[], uuid[], uuid[], integer[], integer[], bigint[], integer[], integer[], integer[],
    integer[], bigint[]) TO maas_system;

-- As before (0007): events p_first_seq, p_first_seq + 1, … of one chain; those at or before the cursor are skipped,
-- so a batch may be sent again. Answers the cursor afterwards. New: the times of admission, and the totals of what
-- was inserted.
CREATE FUNCTION maas.usage_append(
    p_spool uuid, p_loop integer, p_first_seq bigint, p_at_us bigint[], p_tenant uuid[],
    p_key uuid[], p_model uuid[], p_deployment uuid[], p_request uuid[], p_version integer[],
    p_rows integer[], p_units bigint[], p_compute_us integer[], p_latency_us integer[],
    p_http_status integer[], p_surface integer[], p_admitted_us bigint[]) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    n integer := cardinality(p_at_us);
    last_seq bigint := p_first_seq + n - 1;
    today date := (now() AT TIME ZONE 'UTC')::date;
    taken bigint;
    month date;
    quarters maas.usage_quarter[];
BEGIN
    IF (n, n, n, n, n, n, n, n, n, n, n, n, n) IS DISTINCT FROM
       (cardinality(p_tenant), cardinality(p_key), cardinality(p_model), cardinality(p_deployment),
        cardinality(p_request), cardinality(p_version), cardinality(p_rows), cardinality(p_units),
        cardinality(p_compute_us), cardinality(p_latency_us), cardinality(p_http_status),
        cardinality(p_surface), cardinality(p_admitted_us)) OR p_first_seq < 1 THEN
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
                      p_compute_us, p_latency_us, p_http_status, p_surface, p_admitted_us);
        -- Microseconds are divided, not dates: a quarter of the cost.
        quarters := ARRAY(
            SELECT ROW(to_timestamp(least(greatest(e.admitted_us, 0), 253402300799000000) / 900000000 * 900), e.tenant,
                       e.key, e.deployment, count(*), sum(e.rows), sum(e.units), sum(e.compute_us))::maas.usage_quarter
              FROM unnest(p_admitted_us, p_tenant, p_key, p_deployment, p_rows, p_units, p_compute_us) WITH ORDINALITY
                   AS e(admitted_us, tenant, key, deployment, rows, units, compute_us, i)
             WHERE p_first_seq + e.i - 1 > taken
             GROUP BY least(greatest(e.admitted_us, 0), 253402300799000000) / 900000000, e.tenant, e.key, e.deployment);
    EXCEPTION WHEN unique_violation THEN
        WITH new AS (
            INSERT INTO maas.usage_events
            SELECT * FROM maas.usage_rows(p_spool, p_loop, p_first_seq, taken, today, p_at_us, p_tenant,
                          p_key, p_model, p_deployment, p_request, p_version, p_rows, p_units,
                          p_compute_us, p_latency_us, p_http_status, p_surface, p_admitted_us)
                ON CONFLICT DO NOTHING
            RETURNING maas.usage_quarter_of(admitted_at) AS quarter, tenant_id, key_id, deployment_id, rows, units,
                      compute_us)
        SELECT array_agg(ROW(s.quarter, s.tenant_id, s.key_id, s.deployment_id, s.requests, s.rows, s.units,
                             s.compute_us)::maas.usage_quarter)
          INTO quarters
          FROM (SELECT x.quarter, x.tenant_id, x.key_id, x.deployment_id, count(*) AS requests, sum(x.rows) AS rows,
                       sum(x.units) AS units, sum(x.compute_us) AS compute_us
                  FROM new x GROUP BY 1, 2, 3, 4) s;
    END;
    PERFORM maas.usage_total(quarters);

    UPDATE maas.spool_cursors SET seq = last_seq, updated_at = now()
     WHERE spool = p_spool AND loop = p_loop;
    RETURN last_seq;
END
$$;

-- For a gateway of the version before, which does not say when it admitted.
CREATE FUNCTION maas.usage_append(
    p_spool uuid, p_loop integer, p_first_seq bigint, p_at_us bigint[], p_tenant uuid[],
    p_key uuid[], p_model uuid[], p_deployment uuid[], p_request uuid[], p_version integer[],
    p_rows integer[], p_units bigint[], p_compute_us integer[], p_latency_us integer[],
    p_http_status integer[], p_surface integer[]) RETURNS bigint
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT maas.usage_append(p_spool, p_loop, p_first_seq, p_at_us, p_tenant, p_key, p_model, p_deployment, p_request,
                             p_version, p_rows, p_units, p_compute_us, p_latency_us, p_http_status, p_surface, p_at_us)
$$;

-- As before (0010), by the time of admission.
CREATE OR REPLACE FUNCTION maas.quota_billed(p_spool uuid, p maas.quota_pots) RETURNS bigint
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(sum(e.units), 0)::bigint FROM maas.usage_events e
     WHERE e.spool = p_spool AND e.day BETWEEN (p.start_at AT TIME ZONE 'UTC')::date - 1
                                            AND (p.end_at AT TIME ZONE 'UTC')::date + 1
       AND coalesce(e.admitted_at, e.at) >= p.start_at AND coalesce(e.admitted_at, e.at) < p.end_at
       AND CASE p.scope WHEN 0 THEN true WHEN 1 THEN e.tenant_id = p.id WHEN 2 THEN e.key_id = p.id
                        WHEN 3 THEN e.deployment_id = p.id
                        ELSE e.tenant_id = p.id AND e.deployment_id = p.id2 END
$$;

DO $$
DECLARE
    f text;
BEGIN
    FOR f IN SELECT p.oid::regprocedure FROM pg_proc p
              WHERE p.pronamespace = 'maas'::regnamespace AND p.proname = 'usage_append' LOOP
        EXECUTE format('ALTER FUNCTION %s OWNER TO maas_system', f);
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO maas_gateway', f);
    END LOOP;
END
$$;
