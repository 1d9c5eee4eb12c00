-- Does the bill add up? What is compared, and the reports.

CREATE TABLE maas.usage_reconciliations (
    id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    from_day    date NOT NULL,
    to_day      date NOT NULL,
    started_at  timestamptz NOT NULL,
    finished_at timestamptz NOT NULL,
    ok          boolean NOT NULL,
    report      jsonb NOT NULL,
    CHECK (from_day <= to_day)
);
CREATE INDEX usage_reconciliations_by_day ON maas.usage_reconciliations (to_day);
ALTER TABLE maas.usage_reconciliations OWNER TO maas_owner;
GRANT SELECT ON maas.usage_reconciliations TO maas_admin;
GRANT SELECT, INSERT ON maas.usage_reconciliations TO maas_system;

-- What does not add up in these days (UTC, by the time at which events were metered). One row each:
--   hourly, daily   a total says something else than the rows (daily: all days together, as a tenant's zone may have changed)
--   lost            numbers of a chain that are missing between others, and no cursor explains
--   cursor          a chain has rows beyond its cursor: they would be taken over again
--   twice           a request that was billed more than once
--   stranger        usage of a tenant or key that does not exist
--   quota           an account that is closed, or a pot, does not say what was billed
CREATE FUNCTION maas.usage_findings(p_from date, p_to date)
    RETURNS TABLE (kind text, tenant_id uuid, what text, expected text, found text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH events AS MATERIALIZED (
        SELECT e.spool, e.loop, e.seq, e.tenant_id, e.key_id, e.request_id, e.units, e.rows,
               coalesce(e.admitted_at, e.at) AS at
          FROM maas.usage_events e WHERE e.day BETWEEN p_from AND p_to),
    chains AS (
        SELECT e.spool, e.loop, count(*) AS n, min(e.seq) AS first, max(e.seq) AS last FROM events e WHERE e.loop >= 0
         GROUP BY 1, 2),
    by_hour AS ( -- of hours that lie wholly within what was read
        SELECT date_trunc('hour', e.at, 'UTC') AS hour, e.tenant_id, count(*)::numeric AS requests, sum(e.units)::numeric AS units,
               sum(e.rows)::numeric AS rows
          FROM events e GROUP BY 1, 2),
    hourly AS (
        SELECT u.hour, u.tenant_id, sum(u.requests) AS requests, sum(u.units) AS units, sum(u.rows) AS rows
          FROM maas.usage_hourly u
         WHERE u.hour >= (p_from::timestamp AT TIME ZONE 'UTC') + interval '1 hour'
           AND u.hour < ((p_to + 1)::timestamp AT TIME ZONE 'UTC') - interval '1 hour' GROUP BY 1, 2),
    whole AS (
        SELECT t.tenant_id, sum(t.requests) AS requests, sum(t.units) AS units, sum(t.rows) AS rows
          FROM maas.usage_hourly t GROUP BY 1),
    daily AS (
        SELECT t.tenant_id, sum(t.requests) AS requests, sum(t.units) AS units, sum(t.rows) AS rows
          FROM maas.usage_daily t GROUP BY 1)
    SELECT 'hourly', coalesce(e.tenant_id, h.tenant_id), coalesce(e.hour, h.hour)::text,
           format('%s requests, %s units', coalesce(e.requests, 0), coalesce(e.units, 0)),
           format('%s requests, %s units', coalesce(h.requests, 0), coalesce(h.units, 0))
      FROM (SELECT * FROM by_hour b
             WHERE b.hour >= (p_from::timestamp AT TIME ZONE 'UTC') + interval '1 hour'
               AND b.hour < ((p_to + 1)::timestamp AT TIME ZONE 'UTC') - interval '1 hour') e
      FULL JOIN hourly h ON h.hour = e.hour AND h.tenant_id = e.tenant_id
     WHERE (e.requests, e.units, e.rows) IS DISTINCT FROM (h.requests, h.units, h.rows)
    UNION ALL
    SELECT 'daily', coalesce(h.tenant_id, d.tenant_id), 'all days', format('%s requests, %s units', h.requests, h.units),
           format('%s requests, %s units', d.requests, d.units)
      FROM whole h FULL JOIN daily d ON d.tenant_id = h.tenant_id
     WHERE (h.requests, h.units, h.rows) IS DISTINCT FROM (d.requests, d.units, d.rows)
    UNION ALL
    SELECT 'lost', NULL, format('chain %s/%s', c.spool, c.loop), format('%s events', c.last - c.first + 1), format('%s events', c.n)
      FROM chains c WHERE c.n <> c.last - c.first + 1
    UNION ALL
    SELECT 'cursor', NULL, format('chain %s/%s', c.spool, c.loop), format('at least %s', c.last), coalesce(s.seq::text, 'none')
      FROM chains c LEFT JOIN maas.spool_cursors s ON s.spool = c.spool AND s.loop = c.loop
     WHERE s.seq IS NULL OR s.seq < c.last
    UNION ALL
    SELECT 'twice', min(e.tenant_id::text)::uuid, format('request %s', e.request_id), '1 row', format('%s rows', count(*))
      FROM events e GROUP BY e.request_id HAVING count(*) > 1
    UNION ALL
    SELECT 'stranger', e.tenant_id, format('key %s', e.key_id), 'a key of that tenant', format('%s requests', count(*))
      FROM events e LEFT JOIN maas.api_keys k ON k.id = e.key_id AND k.tenant_id = e.tenant_id
     WHERE k.id IS NULL GROUP BY e.tenant_id, e.key_id
    UNION ALL
    SELECT 'quota', p.tenant_id, format('account of %s in pot %s', a.lessee, p.pot), maas.quota_billed(a.lessee, p)::text,
           a.granted::text
      FROM maas.quota_pots p JOIN maas.quota_accounts a USING (pot)
     WHERE a.closed AND p.start_at < (p_to + 1)::timestamp AT TIME ZONE 'UTC' AND p.end_at > p_from::timestamp AT TIME ZONE 'UTC'
       AND a.granted <> maas.quota_billed(a.lessee, p)
    UNION ALL
    SELECT 'quota', p.tenant_id, format('pot %s', p.pot), sum(a.granted)::text, p.granted::text
      FROM maas.quota_pots p LEFT JOIN maas.quota_accounts a USING (pot)
     WHERE p.start_at < (p_to + 1)::timestamp AT TIME ZONE 'UTC' AND p.end_at > p_from::timestamp AT TIME ZONE 'UTC'
     GROUP BY p.pot, p.tenant_id, p.granted HAVING coalesce(sum(a.granted), 0) <> p.granted
$$;

-- Compares, and keeps a report: what was looked at, and the first 100 findings. Answers its row.
CREATE FUNCTION maas.usage_reconcile(p_from date, p_to date) RETURNS json
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    started timestamptz := clock_timestamp();
    looked jsonb;
    findings jsonb;
    n bigint;
    answer json;
BEGIN
    SELECT jsonb_build_object('events', count(*), 'units', coalesce(sum(e.units), 0), 'tenants', count(DISTINCT e.tenant_id),
                              'chains', count(DISTINCT (e.spool, e.loop)))
      INTO looked FROM maas.usage_events e WHERE e.day BETWEEN p_from AND p_to;
    SELECT count(*), coalesce(jsonb_agg(f) FILTER (WHERE f.i <= 100), '[]') INTO n, findings
      FROM (SELECT row_number() OVER () AS i, u.* FROM maas.usage_findings(p_from, p_to) u) f;
    INSERT INTO maas.usage_reconciliations AS r (from_day, to_day, started_at, finished_at, ok, report)
    VALUES (p_from, p_to, started, clock_timestamp(), n = 0,
            looked || jsonb_build_object('count', n, 'findings', findings))
    RETURNING row_to_json(r) INTO answer;
    RETURN answer;
END
$$;

-- Sets the totals of these days (UTC) to what the rows say.
CREATE FUNCTION maas.usage_rebuild(p_from date, p_to date) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    low timestamptz := p_from::timestamp AT TIME ZONE 'UTC';
    high timestamptz := (p_to + 1)::timestamp AT TIME ZONE 'UTC';
    was maas.usage_quarter[];
    is_now maas.usage_quarter[];
BEGIN
    LOCK TABLE maas.usage_hourly, maas.usage_daily IN SHARE ROW EXCLUSIVE MODE;
    -- what the rows say, less what the hours say, is added: to the hours, and to the days
    SELECT array_agg(ROW(h.hour, h.tenant_id, h.key_id, h.deployment_id, -h.requests, -h.rows, -h.units,
                         -h.compute_us)::maas.usage_quarter)
      INTO was FROM maas.usage_hourly h WHERE h.hour >= low AND h.hour < high;
    SELECT array_agg(ROW(q.quarter, q.tenant_id, q.key_id, q.deployment_id, q.requests, q.rows, q.units,
                         q.compute_us)::maas.usage_quarter)
      INTO is_now
      FROM (SELECT maas.usage_quarter_of(coalesce(e.admitted_at, e.at)) AS quarter, e.tenant_id, e.key_id, e.deployment_id,
                   count(*) AS requests, sum(e.rows) AS rows, sum(e.units) AS units, sum(e.compute_us) AS compute_us
              FROM maas.usage_events e
             WHERE e.day BETWEEN p_from - 1 AND p_to + 1 AND coalesce(e.admitted_at, e.at) >= low
               AND coalesce(e.admitted_at, e.at) < high GROUP BY 1, 2, 3, 4) q;
    DELETE FROM maas.usage_daily d WHERE d.day BETWEEN p_from - 1 AND p_to + 1;
    PERFORM maas.usage_total(was || is_now);
    -- days are sums of quarters, so they are made anew of all rows that fall into one of them
    DELETE FROM maas.usage_daily d WHERE d.day BETWEEN p_from - 1 AND p_to + 1;
    INSERT INTO maas.usage_daily
    SELECT (coalesce(e.admitted_at, e.at) AT TIME ZONE coalesce(t.time_zone, 'UTC'))::date, e.tenant_id, e.key_id,
           e.deployment_id, count(*), sum(e.rows), sum(e.units), sum(e.compute_us)
      FROM maas.usage_events e LEFT JOIN maas.tenants t ON t.id = e.tenant_id
     WHERE e.day BETWEEN p_from - 3 AND p_to + 3
       AND (coalesce(e.admitted_at, e.at) AT TIME ZONE coalesce(t.time_zone, 'UTC'))::date BETWEEN p_from - 1 AND p_to + 1
     GROUP BY 1, 2, 3, 4;
    DELETE FROM maas.usage_hourly h WHERE h.hour >= low AND h.hour < high AND h.requests = 0;
    RETURN coalesce(cardinality(is_now), 0);
END
$$;

-- What somebody must do now and then; one at a time, whoever calls. The day that ended is reconciled once, the next
-- month has its partition before it begins, and pots and lessees of long ago go.
CREATE FUNCTION maas.usage_maintain() RETURNS text
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    yesterday date := (now() AT TIME ZONE 'UTC')::date - 1;
    did text := '';
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtextextended('maas.usage_maintain', 0)) THEN
        RETURN 'busy';
    END IF;
    PERFORM maas.usage_partition((date_trunc('month', now() AT TIME ZONE 'UTC') + interval '1 month')::date);
    IF now() AT TIME ZONE 'UTC' > yesterday + interval '1 day 1 hour' -- spools had an hour to ship
       AND NOT EXISTS (SELECT FROM maas.usage_reconciliations r WHERE r.from_day = yesterday AND r.to_day = yesterday) THEN
        PERFORM maas.usage_reconcile(yesterday, yesterday);
        did := 'reconciled ' || yesterday;
    END IF;
    DELETE FROM maas.quota_pots q WHERE q.end_at < now() - interval '400 days';
    DELETE FROM maas.quota_lessees l WHERE l.closed AND l.opened_at < now() - interval '400 days'
       AND NOT EXISTS (SELECT FROM maas.quota_accounts a WHERE a.lessee = l.lessee);
    RETURN did;
END
$$;

-- Usage as operators read it: JSON, CSV or JSON lines with the same figures. p_tenant NULL: all.
CREATE FUNCTION maas.usage_report(p_tenant text, p_from date, p_to date, p_by text, p_model boolean, p_key boolean,
                                  p_format text) RETURNS text
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    WITH figures AS (
        SELECT CASE p_by WHEN 'month' THEN to_char(u.day, 'YYYY-MM') ELSE u.day::text END AS period, t.slug AS tenant,
               CASE WHEN p_model THEN coalesce(d.name, u.deployment_id::text) END AS model,
               CASE WHEN p_key THEN coalesce(k.key_id::text, u.key_id::text) END AS key,
               sum(u.requests) AS requests, sum(u.rows) AS rows, sum(u.units) AS units, sum(u.compute_us) AS compute_us
          FROM maas.usage_daily u JOIN maas.tenants t ON t.id = u.tenant_id
          LEFT JOIN maas.deployments d ON d.id = u.deployment_id LEFT JOIN maas.api_keys k ON k.id = u.key_id
         WHERE (p_tenant IS NULL OR t.slug = p_tenant)
           AND u.day BETWEEN coalesce(p_from, current_date - 30) AND coalesce(p_to, current_date + 1)
         GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4 LIMIT 100000)
    SELECT CASE p_format
           WHEN 'csv' THEN concat(p_by, ',tenant', CASE WHEN p_model THEN ',model' END, CASE WHEN p_key THEN ',key' END,
                                  E',requests,rows,units,compute_us\r\n',
                                  string_agg(concat_ws(',', f.period, f.tenant, f.model, f.key, f.requests, f.rows, f.units,
                                                       f.compute_us) || E'\r\n', '' ORDER BY f.period, f.tenant, f.model, f.key))
           WHEN 'jsonl' THEN coalesce(string_agg(json_strip_nulls(json_build_object(p_by, f.period, 'tenant', f.tenant, 'model',
                                  f.model, 'key', f.key, 'requests', f.requests, 'rows', f.rows, 'units', f.units, 'compute_us',
                                  f.compute_us))::text || E'\n', '' ORDER BY f.period, f.tenant, f.model, f.key), '')
           ELSE json_build_object('data', coalesce(json_agg(json_strip_nulls(json_build_object(p_by, f.period, 'tenant', f.tenant,
                                  'model', f.model, 'key', f.key, 'requests', f.requests, 'rows', f.rows, 'units', f.units,
                                  'compute_us', f.compute_us)) ORDER BY f.period, f.tenant, f.model, f.key), '[]'))::text END
      FROM figures f
$$;

DO $$
DECLARE
    f text;
BEGIN
    FOREACH f IN ARRAY ARRAY['usage_findings(date, date)', 'usage_reconcile(date, date)', 'usage_rebuild(date, date)',
                             'usage_maintain()'] LOOP
        EXECUTE format('ALTER FUNCTION maas.%s OWNER TO maas_system', f);
    END LOOP;
END
$$;
ALTER FUNCTION maas.usage_report(text, date, date, text, boolean, boolean, text) OWNER TO maas_owner;
GRANT EXECUTE ON FUNCTION maas.usage_reconcile(date, date), maas.usage_rebuild(date, date),
    maas.usage_report(text, date, date, text, boolean, boolean, text) TO maas_admin;
GRANT EXECUTE ON FUNCTION maas.usage_maintain() TO maas_gateway;
