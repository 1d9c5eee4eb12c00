-- Limits: numbers for requests, units, concurrency and quotas at every scope; and the pots of quotas.

-- A quota's day begins at midnight here, unless the limit names a zone of its own.
ALTER TABLE maas.tenants ADD COLUMN IF NOT EXISTS time_zone text NOT NULL DEFAULT 'UTC';

-- One number. Whose it is follows from which ids are there:
--   none: all requests together · plan: each tenant or key of that plan (`scope`) · tenant · key (with its tenant) ·
--   deployment: all that use it · tenant and deployment: that tenant with that model.
-- A tenant's or key's own rows of a measure replace the plan's rows of that measure.
CREATE TABLE maas.limits (
    id            uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    scope         text NOT NULL CHECK (scope IN ('global', 'tenant', 'key', 'model', 'tenant_model')),
    plan_id       uuid REFERENCES maas.plans ON DELETE CASCADE,
    tenant_id     uuid REFERENCES maas.tenants,
    key_id        uuid REFERENCES maas.api_keys,
    deployment_id uuid REFERENCES maas.deployments ON DELETE CASCADE,
    measure       text NOT NULL CHECK (measure IN ('requests', 'units', 'concurrency', 'day', 'month')),
    amount        bigint NOT NULL CHECK (amount BETWEEN 1 AND 1000000000000000),
    window_ms     integer CHECK (window_ms BETWEEN 1 AND 86400000), -- of a rate
    burst         bigint CHECK (burst BETWEEN 1 AND 1000000000),    -- of a rate
    time_zone     text,                                             -- of a quota; NULL: the tenant's
    created_at    timestamptz NOT NULL DEFAULT now(),
    CHECK (CASE scope WHEN 'global' THEN num_nonnulls(plan_id, tenant_id, key_id, deployment_id) = 0
                      WHEN 'tenant' THEN num_nonnulls(plan_id, tenant_id) = 1
                                         AND num_nonnulls(key_id, deployment_id) = 0
                      WHEN 'key' THEN deployment_id IS NULL AND (key_id IS NULL) = (tenant_id IS NULL)
                                      AND num_nonnulls(plan_id, key_id) = 1
                      WHEN 'model' THEN deployment_id IS NOT NULL
                                        AND num_nonnulls(plan_id, tenant_id, key_id) = 0
                      ELSE num_nonnulls(tenant_id, deployment_id) = 2
                           AND num_nonnulls(plan_id, key_id) = 0 END),
    CHECK (CASE WHEN measure IN ('requests', 'units')
                THEN num_nonnulls(window_ms, burst) = 2 AND time_zone IS NULL AND amount <= 1000000000
                WHEN measure = 'concurrency'
                THEN num_nonnulls(window_ms, burst, time_zone) = 0 AND amount <= 1000000
                ELSE num_nonnulls(window_ms, burst) = 0 END),
    UNIQUE NULLS NOT DISTINCT (scope, plan_id, tenant_id, key_id, deployment_id, measure, window_ms)
);
CREATE INDEX limits_by_tenant ON maas.limits (tenant_id) WHERE tenant_id IS NOT NULL;
CREATE INDEX limits_by_key ON maas.limits (key_id) WHERE key_id IS NOT NULL;
CREATE INDEX limits_by_plan ON maas.limits (plan_id) WHERE plan_id IS NOT NULL;
CREATE INDEX limits_by_deployment ON maas.limits (deployment_id) WHERE deployment_id IS NOT NULL;
ALTER TABLE maas.limits OWNER TO maas_owner;
ALTER TABLE maas.limits ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON maas.limits FOR SELECT TO maas_gateway USING (tenant_id = maas.current_tenant());
CREATE POLICY admin ON maas.limits TO maas_admin USING (true) WITH CHECK (true);
GRANT SELECT ON maas.limits TO maas_gateway, maas_system;
GRANT SELECT, INSERT, DELETE ON maas.limits TO maas_admin;
GRANT UPDATE (amount, burst, time_zone) ON maas.limits TO maas_admin;

-- What happens to requests whose limits cannot be asked for: this gateway's share, refused, or admitted.
ALTER TABLE maas.plans ADD COLUMN away text NOT NULL DEFAULT 'local'
    CHECK (away IN ('local', 'closed', 'open'));

CREATE FUNCTION maas.limits_note() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    r maas.limits := CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
    kind text := CASE WHEN r.plan_id IS NOT NULL THEN 'plan' WHEN r.key_id IS NOT NULL THEN 'key'
                      WHEN r.tenant_id IS NOT NULL THEN 'tenant' ELSE 'limits' END;
    noted bigint;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('maas.registry_changes', 0));
    INSERT INTO maas.registry_changes (kind, id)
    VALUES (kind, CASE kind WHEN 'plan' THEN r.plan_id::text
                            WHEN 'key' THEN (SELECT k.key_id::text FROM maas.api_keys k WHERE k.id = r.key_id)
                            WHEN 'tenant' THEN r.tenant_id::text ELSE r.id::text END)
        RETURNING seq INTO noted;
    PERFORM pg_notify('maas_registry', noted::text);
    RETURN NULL;
END
$$;
ALTER FUNCTION maas.limits_note() OWNER TO maas_system;
CREATE CONSTRAINT TRIGGER registry AFTER INSERT OR UPDATE OR DELETE ON maas.limits
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION maas.limits_note();

-- What the plan says of limits that cannot be asked for, the tenant's zone, and the limits in force for one key, a line each: "scope measure window_ms amount burst created_us deployment" with the
-- numbers of enum scope_of_limit and enum limit_measure, and 0 where there is none. A limit came into being when both
-- its number and whom it limits were there.
CREATE FUNCTION maas.limits_of(p_tenant uuid, p_key uuid, p_plan uuid) RETURNS TABLE (away text, time_zone text, limits text)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    WITH who AS (
        SELECT t.created_at AS tenant_at, k.created_at AS key_at, k.rate, k.window_ms, k.burst, p.rate AS plan_rate,
               p.window_ms AS plan_window, p.burst AS plan_burst, p.tenant_rate, p.tenant_window_ms, p.tenant_burst
          FROM maas.api_keys k JOIN maas.tenants t ON t.id = k.tenant_id JOIN maas.plans p ON p.id = p_plan
         WHERE k.id = p_key AND t.id = p_tenant),
    given AS ( -- rank 1: own, 2: of the key's columns, 3: of the plan's rows, 4: of the plan's columns
        SELECT l.scope, l.measure, l.window_ms, l.amount, l.burst, l.deployment_id, l.created_at AS at, 1 AS rank
          FROM maas.limits l WHERE l.tenant_id = p_tenant AND (l.key_id IS NULL OR l.key_id = p_key)
        UNION ALL
        SELECT 'key', 'requests', w.window_ms, w.rate, w.burst, NULL, w.key_at, 2 FROM who w WHERE w.rate IS NOT NULL
        UNION ALL
        SELECT l.scope, l.measure, l.window_ms, l.amount, l.burst, NULL,
               greatest(l.created_at, CASE l.scope WHEN 'key' THEN w.key_at ELSE w.tenant_at END), 3
          FROM maas.limits l, who w WHERE l.plan_id = p_plan
        UNION ALL
        SELECT 'key', 'requests', w.plan_window, w.plan_rate, w.plan_burst, NULL, w.key_at, 4 FROM who w
        UNION ALL
        SELECT 'tenant', 'requests', w.tenant_window_ms, w.tenant_rate, w.tenant_burst, NULL, w.tenant_at, 4
          FROM who w WHERE w.tenant_rate IS NOT NULL),
    best AS (
        SELECT g.*, min(g.rank) OVER (PARTITION BY g.scope, g.measure, g.deployment_id) AS first FROM given g)
    SELECT (SELECT p.away FROM maas.plans p WHERE p.id = p_plan),
           (SELECT t.time_zone FROM maas.tenants t WHERE t.id = p_tenant), string_agg(format('%s %s %s %s %s %s %s',
                             array_position(ARRAY['global', 'tenant', 'key', 'model', 'tenant_model'], b.scope) - 1,
                             array_position(ARRAY['requests', 'units', 'concurrency', 'day', 'month'], b.measure) - 1,
                             coalesce(b.window_ms, 0), b.amount, coalesce(b.burst, 0),
                             (extract(epoch FROM b.at) * 1000000)::bigint,
                             coalesce(b.deployment_id, '00000000-0000-0000-0000-000000000000')),
                      E'\n' ORDER BY b.scope, b.measure, b.window_ms)
      FROM best b WHERE b.rank = b.first
$$;
ALTER FUNCTION maas.limits_of(uuid, uuid, uuid) OWNER TO maas_system;
GRANT EXECUTE ON FUNCTION maas.limits_of(uuid, uuid, uuid) TO maas_gateway, maas_admin;

-- The same lines for what is limited whoever asks: all together, and each deployment.
CREATE FUNCTION maas.registry_limits() RETURNS SETOF text
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT format('%s %s %s %s %s %s %s', CASE l.scope WHEN 'global' THEN 0 ELSE 3 END,
                  array_position(ARRAY['requests', 'units', 'concurrency', 'day', 'month'], l.measure) - 1,
                  coalesce(l.window_ms, 0), l.amount, coalesce(l.burst, 0),
                  (extract(epoch FROM l.created_at) * 1000000)::bigint,
                  coalesce(l.deployment_id, '00000000-0000-0000-0000-000000000000'))
      FROM maas.limits l WHERE l.scope IN ('global', 'model')
     ORDER BY l.deployment_id, l.measure, l.window_ms
$$;
ALTER FUNCTION maas.registry_limits() OWNER TO maas_system;
GRANT EXECUTE ON FUNCTION maas.registry_limits() TO maas_gateway;

-- ---- quotas: docs/limits.md has the argument why none is exceeded

-- An incarnation of a gateway, by the id of its spool. Closed: it gets nothing more.
CREATE TABLE maas.quota_lessees (
    lessee    uuid PRIMARY KEY,
    closed    boolean NOT NULL DEFAULT false,
    opened_at timestamptz NOT NULL DEFAULT now()
);
-- What was handed out of one quota in one period: the sum of its accounts.
CREATE TABLE maas.quota_pots (
    pot       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    scope     integer NOT NULL,
    id        uuid NOT NULL,
    id2       uuid NOT NULL,
    measure   integer NOT NULL,
    start_at  timestamptz NOT NULL,
    end_at    timestamptz NOT NULL,
    tenant_id uuid, -- whose it is; NULL: of a model or of all
    granted   bigint NOT NULL DEFAULT 0 CHECK (granted >= 0),
    extra     bigint NOT NULL DEFAULT 0 CHECK (extra >= 0), -- beside the limit, in this period only
    UNIQUE (scope, id, id2, measure, start_at)
);
-- What one lessee holds or has spent of a pot. It ignores calls with a serial that is not above the last.
CREATE TABLE maas.quota_accounts (
    pot     bigint NOT NULL REFERENCES maas.quota_pots ON DELETE CASCADE,
    lessee  uuid NOT NULL REFERENCES maas.quota_lessees,
    granted bigint NOT NULL CHECK (granted >= 0),
    serial  bigint NOT NULL,
    closed  boolean NOT NULL DEFAULT false, -- granted is what was spent
    PRIMARY KEY (lessee, pot)
);
CREATE INDEX quota_accounts_by_pot ON maas.quota_accounts (pot);
ALTER TABLE maas.quota_lessees OWNER TO maas_owner;
ALTER TABLE maas.quota_pots OWNER TO maas_owner;
ALTER TABLE maas.quota_accounts OWNER TO maas_owner;
ALTER TABLE maas.quota_pots ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
CREATE POLICY own ON maas.quota_pots FOR SELECT TO maas_gateway USING (tenant_id = maas.current_tenant());
CREATE POLICY admin ON maas.quota_pots TO maas_admin USING (true) WITH CHECK (true);
GRANT SELECT ON maas.quota_pots TO maas_gateway, maas_admin;
GRANT UPDATE (extra) ON maas.quota_pots TO maas_admin;
GRANT SELECT ON maas.quota_lessees, maas.quota_accounts TO maas_admin;
GRANT SELECT, INSERT, UPDATE, DELETE ON maas.quota_lessees, maas.quota_pots, maas.quota_accounts TO maas_system;

-- The number in force of one quota, in the zone in which its periods begin. No row: there is no such limit.
CREATE FUNCTION maas.quota_limit(p_scope integer, p_id uuid, p_id2 uuid, p_measure text)
    RETURNS TABLE (amount bigint, zone text, tenant uuid)
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT l.amount, coalesce(l.time_zone, t.time_zone, 'UTC'), t.id
      FROM (SELECT CASE p_scope WHEN 1 THEN p_id WHEN 4 THEN p_id
                                WHEN 2 THEN (SELECT k.tenant_id FROM maas.api_keys k WHERE k.id = p_id) END AS id) who
      LEFT JOIN maas.tenants t ON t.id = who.id
      JOIN maas.limits l ON l.measure = p_measure AND CASE p_scope
           WHEN 0 THEN l.scope = 'global'
           WHEN 1 THEN l.scope = 'tenant' AND (l.tenant_id = p_id OR l.plan_id = t.plan_id)
           WHEN 2 THEN l.scope = 'key' AND (l.key_id = p_id OR l.plan_id = t.plan_id)
           WHEN 3 THEN l.scope = 'model' AND l.deployment_id = p_id
           ELSE l.scope = 'tenant_model' AND l.tenant_id = p_id AND l.deployment_id = p_id2 END
     ORDER BY l.plan_id NULLS FIRST LIMIT 1
$$;

-- Leases units of a quota: see quota_lease() in gateway/limits/quota.c, which is the same in C. The period is that of
-- p_at_us, the caller's clock, which must be within five minutes of ours. p_keep NULL: the caller does not know.
CREATE FUNCTION maas.quota_lease(
    p_lessee uuid, p_serial bigint, p_scope integer, p_id uuid, p_id2 uuid, p_measure integer, p_at_us bigint,
    p_keep bigint, p_start_us bigint, p_want bigint, p_least bigint)
    RETURNS TABLE (done boolean, start_us bigint, end_us bigint, account bigint, granted bigint, rest bigint,
                   amount bigint)
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    unit text := CASE p_measure WHEN 3 THEN 'day' ELSE 'month' END;
    moment timestamptz := to_timestamp(p_at_us / 1000000.0::double precision);
    l record;
    p maas.quota_pots;
    a maas.quota_accounts;
    starts timestamptz;
    base bigint;
    held bigint;
    spare bigint;
    n bigint;
BEGIN
    IF p_at_us NOT BETWEEN (extract(epoch FROM clock_timestamp()) * 1000000)::bigint - 300000000
                       AND (extract(epoch FROM clock_timestamp()) * 1000000)::bigint + 300000000 THEN
        RAISE EXCEPTION 'the clock of lessee % is off by more than five minutes', p_lessee
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    done := false; start_us := 0; end_us := 0; account := 0; granted := 0; rest := 0; amount := 0;
    SELECT * INTO l FROM maas.quota_limit(p_scope, p_id, p_id2, unit);
    IF NOT FOUND THEN
        RETURN NEXT;
        RETURN;
    END IF;
    INSERT INTO maas.quota_lessees (lessee) VALUES (p_lessee) ON CONFLICT DO NOTHING;
    PERFORM FROM maas.quota_lessees q WHERE q.lessee = p_lessee AND NOT q.closed FOR SHARE;
    IF NOT FOUND THEN
        RETURN NEXT;
        RETURN;
    END IF;
    starts := date_trunc(unit, moment AT TIME ZONE l.zone) AT TIME ZONE l.zone;
    SELECT * INTO p FROM maas.quota_pots q WHERE q.scope = p_scope AND q.id = p_id AND q.id2 = p_id2
        AND q.measure = p_measure AND q.start_at = starts FOR UPDATE;
    IF NOT FOUND THEN
        INSERT INTO maas.quota_pots (scope, id, id2, measure, start_at, end_at, tenant_id)
        VALUES (p_scope, p_id, p_id2, p_measure, starts,
                (date_trunc(unit, moment AT TIME ZONE l.zone) + ('1 ' || unit)::interval) AT TIME ZONE l.zone, l.tenant)
            ON CONFLICT DO NOTHING;
        SELECT * INTO p FROM maas.quota_pots q WHERE q.scope = p_scope AND q.id = p_id AND q.id2 = p_id2
            AND q.measure = p_measure AND q.start_at = starts FOR UPDATE;
    END IF;
    SELECT * INTO a FROM maas.quota_accounts q WHERE q.pot = p.pot AND q.lessee = p_lessee;
    start_us := (extract(epoch FROM p.start_at) * 1000000)::bigint;
    end_us := (extract(epoch FROM p.end_at) * 1000000)::bigint;
    amount := l.amount + p.extra;
    IF a.serial >= p_serial OR a.closed THEN
        RETURN NEXT;
        RETURN;
    END IF;
    base := CASE WHEN p_keep IS NOT NULL AND p_start_us = start_us THEN p_keep ELSE coalesce(a.granted, 0) END;
    held := p.granted - coalesce(a.granted, 0) + base;
    spare := greatest(amount - held, 0);
    n := greatest(least(p_want, (spare + 63) / 64), p_least);
    IF n > spare THEN
        n := 0;
    END IF;
    IF a.pot IS NULL THEN
        INSERT INTO maas.quota_accounts (pot, lessee, granted, serial) VALUES (p.pot, p_lessee, base + n, p_serial);
    ELSE
        UPDATE maas.quota_accounts q SET granted = base + n, serial = p_serial
         WHERE q.pot = p.pot AND q.lessee = p_lessee;
    END IF;
    UPDATE maas.quota_pots q SET granted = held + n WHERE q.pot = p.pot;
    done := true; account := base + n; granted := n; rest := spare - n;
    RETURN NEXT;
END
$$;

-- Sets the account of a pot to what was spent, for good. The pot's lock is taken first, as everywhere.
CREATE FUNCTION maas.quota_settle(p_pot bigint, p_lessee uuid, p_spent bigint) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    a maas.quota_accounts;
BEGIN
    PERFORM FROM maas.quota_pots q WHERE q.pot = p_pot FOR UPDATE;
    SELECT * INTO a FROM maas.quota_accounts q WHERE q.pot = p_pot AND q.lessee = p_lessee;
    IF a.pot IS NULL OR a.closed THEN
        RETURN;
    END IF;
    UPDATE maas.quota_accounts q SET granted = p_spent, closed = true WHERE q.pot = p_pot AND q.lessee = p_lessee;
    UPDATE maas.quota_pots q SET granted = q.granted - a.granted + p_spent WHERE q.pot = p_pot;
END
$$;

-- A lessee that ends says what it spent …
CREATE FUNCTION maas.quota_return(p_lessee uuid, p_scope integer, p_id uuid, p_id2 uuid, p_measure integer,
                                  p_start_us bigint, p_spent bigint) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT maas.quota_settle(q.pot, p_lessee, p_spent) FROM maas.quota_pots q
     WHERE q.scope = p_scope AND q.id = p_id AND q.id2 = p_id2 AND q.measure = p_measure
       AND (extract(epoch FROM q.start_at) * 1000000)::bigint = p_start_us
$$;

-- … and gets nothing more.
CREATE FUNCTION maas.quota_end(p_lessee uuid) RETURNS void
    LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE maas.quota_lessees q SET closed = true WHERE q.lessee = p_lessee
$$;

-- Units that one spool billed to one pot.
CREATE FUNCTION maas.quota_billed(p_spool uuid, p maas.quota_pots) RETURNS bigint
    LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(sum(e.units), 0)::bigint FROM maas.usage_events e
     WHERE e.spool = p_spool AND e.day BETWEEN (p.start_at AT TIME ZONE 'UTC')::date - 1
                                            AND (p.end_at AT TIME ZONE 'UTC')::date + 1
       AND e.at >= p.start_at AND e.at < p.end_at
       AND CASE p.scope WHEN 0 THEN true WHEN 1 THEN e.tenant_id = p.id WHEN 2 THEN e.key_id = p.id
                        WHEN 3 THEN e.deployment_id = p.id
                        ELSE e.tenant_id = p.id AND e.deployment_id = p.id2 END
$$;

-- A lessee that is dead, and whose spool was taken over to its last event: what it did not bill comes free. Called by
-- whoever adopted the spool; again without effect.
CREATE FUNCTION maas.quota_close(p_lessee uuid) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    p maas.quota_pots;
    n bigint := 0;
BEGIN
    UPDATE maas.quota_lessees q SET closed = true WHERE q.lessee = p_lessee;
    FOR p IN SELECT q.* FROM maas.quota_pots q JOIN maas.quota_accounts a USING (pot)
              WHERE a.lessee = p_lessee AND NOT a.closed ORDER BY q.pot
    LOOP
        PERFORM maas.quota_settle(p.pot, p_lessee, maas.quota_billed(p_lessee, p));
        n := n + 1;
    END LOOP;
    RETURN n;
END
$$;

DO $$
DECLARE
    f text;
BEGIN
    FOREACH f IN ARRAY ARRAY['quota_limit(integer, uuid, uuid, text)',
        'quota_lease(uuid, bigint, integer, uuid, uuid, integer, bigint, bigint, bigint, bigint, bigint)',
        'quota_settle(bigint, uuid, bigint)', 'quota_return(uuid, integer, uuid, uuid, integer, bigint, bigint)',
        'quota_end(uuid)', 'quota_billed(uuid, maas.quota_pots)', 'quota_close(uuid)'] LOOP
        EXECUTE format('ALTER FUNCTION maas.%s OWNER TO maas_system', f);
    END LOOP;
END
$$;
GRANT EXECUTE ON FUNCTION
    maas.quota_lease(uuid, bigint, integer, uuid, uuid, integer, bigint, bigint, bigint, bigint, bigint),
    maas.quota_return(uuid, integer, uuid, uuid, integer, bigint, bigint), maas.quota_end(uuid),
    maas.quota_close(uuid) TO maas_gateway;
GRANT EXECUTE ON FUNCTION maas.quota_limit(integer, uuid, uuid, text), maas.quota_close(uuid) TO maas_admin;
GRANT SELECT ON maas.deployments TO maas_system;

-- ---- what operators set and see: run by maas_admin, under its own rights

-- The ids of whom a list of limits is for; no row: there is no such thing. p_name is of the plan, tenant, key (its
-- public id) or deployment; p_second of the tenant that owns a deployment ('': the platform), or of the deployment that
-- a tenant's list is about.
CREATE FUNCTION maas.limits_owner(p_scope text, p_name text, p_second text)
    RETURNS TABLE (scope text, plan_id uuid, tenant_id uuid, key_id uuid, deployment_id uuid)
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT 'global', NULL::uuid, NULL::uuid, NULL::uuid, NULL::uuid WHERE p_scope = 'global'
    UNION ALL SELECT 'tenant', p.id, NULL, NULL, NULL FROM maas.plans p WHERE p_scope = 'plan_tenant' AND p.name = p_name
    UNION ALL SELECT 'key', p.id, NULL, NULL, NULL FROM maas.plans p WHERE p_scope = 'plan_key' AND p.name = p_name
    UNION ALL SELECT 'tenant', NULL, t.id, NULL, NULL FROM maas.tenants t WHERE p_scope = 'tenant' AND t.slug = p_name
    UNION ALL SELECT 'key', NULL, k.tenant_id, k.id, NULL FROM maas.api_keys k
               WHERE p_scope = 'key' AND k.key_id = p_name::bpchar COLLATE "C"
    UNION ALL SELECT 'model', NULL, NULL, NULL, d.id FROM maas.deployments d LEFT JOIN maas.tenants t ON t.id = d.tenant_id
               WHERE p_scope = 'model' AND d.state = 'active' AND d.name = p_name AND coalesce(t.slug, '') = p_second
    UNION ALL SELECT 'tenant_model', NULL, t.id, NULL, d.id FROM maas.tenants t
               JOIN LATERAL (SELECT e.id FROM maas.deployments e WHERE e.state = 'active' AND e.name = p_second
                                AND (e.tenant_id = t.id OR e.tenant_id IS NULL)
                              ORDER BY e.tenant_id NULLS LAST LIMIT 1) d ON true
               WHERE p_scope = 'tenant_model' AND t.slug = p_name
$$;

-- The list of one owner. Of a quota also what was handed out of the running period and what is left of it.
CREATE FUNCTION maas.limits_get(p_scope text, p_name text, p_second text) RETURNS json
    LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp
AS $$
    SELECT json_build_object('data', coalesce((SELECT json_agg(json_strip_nulls(json_build_object(
               'measure', l.measure, 'amount', l.amount, 'window_ms', l.window_ms, 'burst', l.burst,
               'time_zone', l.time_zone, 'period',
               CASE WHEN l.measure IN ('day', 'month') AND l.plan_id IS NULL THEN
                 (SELECT json_build_object('start', q.start_at, 'end', q.end_at, 'granted', q.granted, 'extra', q.extra,
                                           'left', greatest(l.amount + q.extra - q.granted, 0))
                    FROM maas.quota_pots q
                   WHERE q.scope = array_position(ARRAY['global', 'tenant', 'key', 'model', 'tenant_model'], l.scope) - 1
                     AND q.id = coalesce(l.key_id, l.tenant_id, l.deployment_id, '00000000-0000-0000-0000-000000000000')
                     AND q.id2 = CASE l.scope WHEN 'tenant_model' THEN l.deployment_id
                                              ELSE '00000000-0000-0000-0000-000000000000' END
                     AND q.measure = array_position(ARRAY['day', 'month'], l.measure) + 2
                     AND q.start_at <= now() AND q.end_at > now() ORDER BY q.start_at DESC LIMIT 1) END))
               ORDER BY l.measure, l.window_ms)
             FROM maas.limits l
            WHERE (l.scope, l.plan_id, l.tenant_id, l.key_id, l.deployment_id)
                  IS NOT DISTINCT FROM (o.scope, o.plan_id, o.tenant_id, o.key_id, o.deployment_id)), '[]'))
      FROM maas.limits_owner(p_scope, p_name, p_second) o
$$;

-- Replaces the list. Rows that stay keep when they came into being, so a limit that is said again does not start full.
CREATE FUNCTION maas.limits_put(p_scope text, p_name text, p_second text, p_limits jsonb) RETURNS json
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    o record;
BEGIN
    SELECT * INTO o FROM maas.limits_owner(p_scope, p_name, p_second);
    IF NOT FOUND THEN
        RETURN NULL;
    END IF;
    DELETE FROM maas.limits l
     WHERE (l.scope, l.plan_id, l.tenant_id, l.key_id, l.deployment_id)
           IS NOT DISTINCT FROM (o.scope, o.plan_id, o.tenant_id, o.key_id, o.deployment_id)
       AND NOT EXISTS (SELECT FROM jsonb_to_recordset(p_limits) AS n(measure text, window_ms integer)
                        WHERE n.measure = l.measure AND n.window_ms IS NOT DISTINCT FROM l.window_ms);
    INSERT INTO maas.limits (scope, plan_id, tenant_id, key_id, deployment_id, measure, amount, window_ms, burst, time_zone)
    SELECT o.scope, o.plan_id, o.tenant_id, o.key_id, o.deployment_id, n.measure, n.amount, n.window_ms, n.burst, n.time_zone
      FROM jsonb_to_recordset(p_limits)
           AS n(measure text, amount bigint, window_ms integer, burst bigint, time_zone text)
        ON CONFLICT (scope, plan_id, tenant_id, key_id, deployment_id, measure, window_ms)
        DO UPDATE SET amount = excluded.amount, burst = excluded.burst, time_zone = excluded.time_zone;
    RETURN maas.limits_get(p_scope, p_name, p_second);
END
$$;

-- More units in the running period of one quota, once.
CREATE FUNCTION maas.quota_extra(p_scope text, p_name text, p_second text, p_measure text, p_units bigint) RETURNS json
    LANGUAGE sql SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE maas.quota_pots q SET extra = q.extra + p_units
      FROM maas.limits_owner(p_scope, p_name, p_second) o
     WHERE q.scope = array_position(ARRAY['global', 'tenant', 'key', 'model', 'tenant_model'], o.scope) - 1
       AND q.id = coalesce(o.key_id, o.tenant_id, o.deployment_id, '00000000-0000-0000-0000-000000000000')
       AND q.id2 = CASE o.scope WHEN 'tenant_model' THEN o.deployment_id
                                ELSE '00000000-0000-0000-0000-000000000000' END
       AND q.measure = array_position(ARRAY['day', 'month'], p_measure) + 2
       AND q.start_at <= now() AND q.end_at > now()
    RETURNING json_build_object('measure', p_measure, 'start', q.start_at, 'end', q.end_at, 'granted', q.granted,
                                'extra', q.extra)
$$;

DO $$
DECLARE
    f text;
BEGIN
    FOREACH f IN ARRAY ARRAY['limits_owner(text, text, text)', 'limits_get(text, text, text)',
                             'limits_put(text, text, text, jsonb)', 'quota_extra(text, text, text, text, bigint)'] LOOP
        EXECUTE format('ALTER FUNCTION maas.%s OWNER TO maas_owner', f);
        EXECUTE format('GRANT EXECUTE ON FUNCTION maas.%s TO maas_admin', f);
    END LOOP;
END
$$;
